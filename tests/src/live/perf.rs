//! `perf sched` beside numatrace: a second opinion on the same run.

use std::{
    collections::HashMap,
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::eventually;

/// A running `perf sched record` of the whole machine.
#[derive(Debug)]
pub struct Recorder {
    child: Child,
    file: std::path::PathBuf,
}

/// What `perf sched timehist` says of one thread.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timehist {
    /// Turns on a CPU.
    pub turns: u64,
    /// Its 'sch delay', which is run-queue latency after wakeups, ns.
    pub delay_ns: u64,
    /// Its 'run time', ns.
    pub run_ns: u64,
}

/// What perf prints of a recording.
#[derive(Clone, Debug, Default)]
pub struct Printed {
    /// `perf script`
    pub script: String,
    /// `perf sched timehist`
    pub timehist: String,
    /// Events that were lost.
    pub lost: u64,
}

impl Printed {
    /// How often `perf sched timehist` saw this thread leave a CPU.
    pub fn turns(&self, tid: u32) -> u64 {
        read(&self.timehist, tid).turns
    }

    /// The same of all threads, those without an id included.
    pub fn all_turns(&self) -> u64 {
        let of_threads = self.timehist.lines().filter(|line| line.contains("]  ") && !line.contains("<idle>"));
        of_threads.filter(|line| line.trim_start().starts_with(|c: char| c.is_ascii_digit())).count() as u64
    }
}

impl Recorder {
    /// Starts it, and returns when it records.
    ///
    /// # Errors
    /// A sentence why perf does not work here.
    pub fn start(dir: &Path, flags: &[&str]) -> Result<Recorder> {
        mount_tracefs()?;
        let file = dir.join("perf.data");
        let (mut control, mut answers) = (fifo(&dir.join("control"))?, fifo(&dir.join("answers"))?);
        let mut command = Command::new("perf");
        command
            .args(["sched", "record"])
            .args(flags)
            .args(["-q", "-a", "-D", "-1", "--control", "fifo:control,answers", "-o"])
            .arg(&file);
        command.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut recorder = Recorder { child: command.spawn().context("perf cannot be started")?, file };
        // It starts disabled, and answers when it has enabled its events.
        control.write_all(b"enable\n")?;
        let mut answer = [0; 16];
        eventually("perf records", Duration::from_secs(20), || {
            ensure!(recorder.child.try_wait()?.is_none(), "perf sched record ended at once");
            Ok(answers.read(&mut answer).is_ok_and(|length| length > 0))
        })?;
        Ok(recorder)
    }

    /// Ends the recording and reads how many events there were, and how many of these were lost.
    ///
    /// # Errors
    /// When perf cannot read its own file.
    pub fn loss(mut self) -> Result<(u64, u64)> {
        self.end()?;
        let output =
            Command::new("perf").args(["sched", "latency", "-i"]).arg(&self.file).stdin(Stdio::null()).output()?;
        ensure!(output.status.success(), "perf sched latency failed: {}", String::from_utf8_lossy(&output.stderr));
        let kept =
            Command::new("perf").args(["report", "--stats", "-i"]).arg(&self.file).stdin(Stdio::null()).output()?;
        let kept = samples(&String::from_utf8_lossy(&kept.stdout)).context("perf report says no number of samples")?;
        let lost = lost_events(&String::from_utf8_lossy(&output.stdout));
        Ok((kept + lost, lost))
    }

    /// Ends the recording and counts how often each thread was switched out.
    ///
    /// # Errors
    /// When perf cannot read its own file.
    pub fn switches(mut self) -> Result<HashMap<u32, u64>> {
        self.end()?;
        let output = Command::new("perf")
            .args(["script", "-F", "event,trace", "-i"])
            .arg(&self.file)
            .stdin(Stdio::null())
            .output()?;
        ensure!(output.status.success(), "perf script failed: {}", String::from_utf8_lossy(&output.stderr));
        let mut counts = HashMap::new();
        for tid in String::from_utf8_lossy(&output.stdout).lines().filter_map(switched_out) {
            *counts.entry(tid).or_default() += 1;
        }
        Ok(counts)
    }

    /// Ends the recording, and has it printed: as its events, for [`crate::perf_script`], and as `perf sched timehist` does.
    /// Tells how many events were lost as well.
    ///
    /// # Errors
    /// When perf cannot read its own file.
    pub fn print(mut self) -> Result<Printed> {
        self.end()?;
        let run = |args: &[&str]| {
            let output = Command::new("perf").args(args).arg("-i").arg(&self.file).stdin(Stdio::null()).output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "perf {} failed: {said}", args.join(" "));
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        };
        Ok(Printed {
            script: run(&["script", "--ns", "-F", "tid,cpu,time,event,trace"])?,
            timehist: run(&["sched", "timehist"])?,
            lost: lost_events(&run(&["sched", "latency"])?),
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the recording; the file is whole then.
    ///
    /// # Errors
    /// When perf is gone already.
    pub fn end(&mut self) -> Result<()> {
        // SAFETY: the child has not been waited for, so the id is its own.
        crate::workload::os::check(unsafe { libc::kill(self.child.id() as libc::pid_t, libc::SIGINT) })?;
        self.child.wait()?;
        Ok(())
    }

    /// Ends the recording and reads what it says of a thread.
    ///
    /// # Errors
    /// When perf cannot read its own file.
    pub fn stop(mut self, tid: u32) -> Result<Timehist> {
        self.end()?;
        let output =
            Command::new("perf").args(["sched", "timehist", "-i"]).arg(&self.file).stdin(Stdio::null()).output()?;
        ensure!(output.status.success(), "perf sched timehist failed: {}", String::from_utf8_lossy(&output.stderr));
        Ok(read(&String::from_utf8_lossy(&output.stdout), tid))
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A named pipe, opened so that neither opening nor reading ever blocks.
fn fifo(path: &Path) -> Result<fs::File> {
    let made = Command::new("mkfifo").arg(path).status().context("cannot run mkfifo")?;
    ensure!(made.success(), "cannot make the named pipe {}", path.display());
    Ok(fs::OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path)?)
}

/// `SAMPLE events:  303117`, of `perf report --stats`.
fn samples(stats: &str) -> Option<u64> {
    stats.lines().find_map(|line| line.trim().strip_prefix("SAMPLE events:")?.split_whitespace().next()?.parse().ok())
}

/// `INFO: 84.3% lost events (1634625 out of 324999, in 7216 chunks)`, of `perf sched latency`; 0 without such a line.
pub fn lost_events(latency: &str) -> u64 {
    let lost = latency.lines().find_map(|line| line.split_once("lost events (")?.1.split(' ').next()?.parse().ok());
    lost.unwrap_or(0)
}

/// Who was switched out, in a line of `perf script`: `sched:sched_switch: NAME:TID [PRIO] STATE ==> ...`, or with
/// `prev_pid=TID`, as libtraceevent is told or not.
fn switched_out(line: &str) -> Option<u32> {
    let rest = line.split_once("sched:sched_switch:")?.1;
    if let Some((_, tid)) = rest.split_once("prev_pid=") {
        return tid.split(' ').next()?.parse().ok();
    }
    let before = rest.split_once(" ==> ")?.0;
    before.rsplit_once(" [")?.0.rsplit_once(':')?.1.parse().ok()
}

/// perf finds tracepoints by tracefs, which small systems do not mount.
///
/// # Errors
/// When it cannot be mounted.
pub fn mount_tracefs() -> Result<()> {
    let at = Path::new("/sys/kernel/tracing");
    if at.join("events/sched").is_dir() {
        return Ok(());
    }
    let mounted =
        Command::new("mount").args(["-t", "tracefs", "tracefs"]).arg(at).status().context("cannot run mount")?;
    ensure!(mounted.success() && at.join("events/sched").is_dir(), "tracefs cannot be mounted at {}", at.display());
    Ok(())
}

/// Sums the lines of a thread: `TIME [CPU]  NAME[TID/PID]  WAIT  DELAY  RUN`, times in ms.
fn read(text: &str, tid: u32) -> Timehist {
    let (alone, of_process) = (format!("[{tid}]"), format!("[{tid}/"));
    let mut sum = Timehist::default();
    for line in text.lines().filter(|line| line.contains(&alone) || line.contains(&of_process)) {
        let mut from_end = line.split_whitespace().rev().map(|word| word.parse::<f64>().ok());
        if let (Some(Some(run)), Some(Some(delay))) = (from_end.next(), from_end.next()) {
            sum.turns += 1;
            sum.run_ns += (run * 1e6) as u64;
            sum.delay_ns += (delay * 1e6) as u64;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
           time    cpu  task name                       wait time  sch delay   run time
    2147.936880 [0000]  sleeper[27501/27498]                0.000      0.007      0.049 
    2147.936967 [0001]  hog[27500/27498]                    0.000      0.000      0.319 
    2147.941196 [0001]  sleeper[27501/27498]                4.207      3.789      0.021 
    2147.941200 [0001]  other[2750]                         4.207      3.789      0.021 
";

    #[test]
    fn loss_is_read_from_what_perf_prints() {
        assert_eq!(lost_events("  INFO: 502.963% lost events (1634625 out of 324999, in 7216 chunks)"), 1_634_625);
        assert_eq!(lost_events("  TOTAL: |   654.071 ms |\n"), 0);
        assert_eq!(
            samples(
                "Aggregated stats:\n          TOTAL events:     310455\n         SAMPLE events:     303117  (97.6%)\n"
            ),
            Some(303_117)
        );
    }

    #[test]
    fn switches_are_read_in_both_forms() {
        let line = "  sched:sched_switch: prev_comm=a b prev_pid=42 prev_prio=120 prev_state=S ==> next_comm=x";
        assert_eq!(switched_out(line), Some(42));
        assert_eq!(switched_out(" sched:sched_switch: kworker/u4:1:27 [120] I ==> swapper/0:0 [120]"), Some(27));
        assert_eq!(switched_out(" sched:sched_wakeup: sleeper:42 [120] success=1"), None);
    }

    #[test]
    fn a_threads_lines_are_summed() {
        assert_eq!(read(TEXT, 27501), Timehist { turns: 2, delay_ns: 3_796_000, run_ns: 70_000 });
        assert_eq!(read(TEXT, 2750).turns, 1);
        assert_eq!(read(TEXT, 27498).turns, 0);
    }
}
