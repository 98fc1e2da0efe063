//! What an operator or a clock does to the machine while it is traced: CPUs go and come, and the wall clock is set.

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, ensure};

use super::checks::complete;
use crate::{
    live::{PATIENCE, Report, Tracer, Workload, equal_to_proc, eventually, numatrace, program},
    workload::os,
};

/// A CPU that is off while this lives; on again when dropped.
pub(super) struct Offline(usize);

impl Offline {
    pub(super) fn take(cpu: usize) -> Result<Offline> {
        fs::write(online(cpu), "0").with_context(|| format!("CPU {cpu} cannot be taken off"))?;
        Ok(Offline(cpu))
    }
}

impl Drop for Offline {
    fn drop(&mut self) {
        // What comes after sees a CPU that is not there.
        let _ = fs::write(online(self.0), "1");
    }
}

pub(super) fn online(cpu: usize) -> String {
    format!("/sys/devices/system/cpu/cpu{cpu}/online")
}

/// The last CPU; the first of a machine cannot be taken off.
fn last_cpu() -> Result<usize> {
    os::allowed_cpus()?.last().copied().filter(|cpu| *cpu > 0).context("the machine has but one CPU")
}

/// The CPU of busy threads goes off and comes back: they move, and every count goes on exactly.
pub fn cpu_hotplug() -> Result<()> {
    let cpu = last_cpu()?;
    let mut hogs = Workload::start(&["hogs", "2", "--cpu", &cpu.to_string(), "--millis", "30000"])?;
    let tids: Vec<u32> = hogs.tids.values().copied().collect();
    let mut tracer = Tracer::start(&["--pid", &hogs.pid.to_string()])?;
    hogs.go()?;
    let ran = |report: &Report| -> Result<u64> { tids.iter().map(|tid| report.thread(*tid)?.number("/cpu_ns")).sum() };
    let runs = |tracer: &mut Tracer, when: &str| -> Result<()> {
        let before = ran(tracer.next_report()?)?;
        eventually(when, PATIENCE, || Ok(ran(tracer.next_report()?)? > before + 50_000_000))
    };
    runs(&mut tracer, "they run")?;
    let off = Offline::take(cpu)?;
    runs(&mut tracer, "they run elsewhere")?;
    drop(off);
    ensure!(fs::read_to_string(online(cpu))?.trim() == "1", "CPU {cpu} does not come back");
    runs(&mut tracer, "they run after it came back")?;
    let done = hogs.done()?;
    let report = tracer.stop()?;
    hogs.finish()?;
    equal_to_proc(&done, &report)?;
    // The kernel's stopper pushes threads away before their queue is marked as going offline, so most of such migrations are
    // told as what else the stopper does.
    let cause = |name: &str| report.number(&format!("/totals/migrations/causes/{name}"));
    let moved = cause("hotplug")? + cause("active_balance_or_affinity")?;
    ensure!(moved >= 2, "two threads were pushed away: {}", report.0["totals"]["migrations"]);
    ensure!(report.number("/loss/records_lost")? == 0, "records were lost: {}", report.0["loss"]);
    Ok(())
}

/// A CPU that is off when tracing begins has no lane; when it comes, what runs there is counted all the same.
pub fn cpu_comes_later() -> Result<()> {
    const ROUNDS: u64 = 200;
    let cpu = last_cpu()?;
    let off = Offline::take(cpu)?;
    let mut tracer = Tracer::start(&["--all"])?;
    drop(off);
    ensure!(fs::read_to_string(online(cpu))?.trim() == "1", "CPU {cpu} does not come");
    let mut workload = Workload::start(&["pingpong", &ROUNDS.to_string(), "--cpu", &cpu.to_string()])?;
    let done = workload.run()?;
    // Of threads that came after it began it has the whole life, whose counts the kernel has from the beginning, too.
    tracer.next_report()?;
    let report = tracer.stop()?;
    workload.finish()?;
    ensure!(report.number("/loss/records_lost")? == 0, "records were lost: {}", report.0["loss"]);
    for (name, facts) in &done.threads {
        let thread = report.thread(facts.tid)?;
        let (voluntary, truth) = (thread.number("/switches/voluntary")?, facts.after.voluntary);
        ensure!(
            voluntary == truth && truth >= ROUNDS,
            "{name}: {voluntary} voluntary switches, the kernel says {truth}"
        );
    }
    Ok(())
}

/// The wall clock, moved by so many seconds from what it was; moved back when dropped.
struct Moved(i64);

impl Moved {
    fn by(seconds: i64) -> Result<Moved> {
        set_clock(seconds)?;
        Ok(Moved(seconds))
    }
}

impl Drop for Moved {
    fn drop(&mut self) {
        // The guest has no use for it any more, but for the checks after this.
        let _ = set_clock(-self.0);
    }
}

fn set_clock(by_seconds: i64) -> Result<()> {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the timespec lives across both calls.
    unsafe {
        os::check(libc::clock_gettime(libc::CLOCK_REALTIME, &mut now))?;
        now.tv_sec += by_seconds;
        os::check(libc::clock_settime(libc::CLOCK_REALTIME, &now))?;
    }
    Ok(())
}

/// The wall clock leaps an hour forth, two back and one forth again while it is traced and recorded: no time that is told
/// leaps with it, and the recording's beginning is what the clock said then.
pub fn clock_steps() -> Result<()> {
    const HOUR: i64 = 3_600;
    let path = format!("/tmp/clock-{}.numatrace", std::process::id());
    let notes = format!("{path}.notes");
    let mut workload = Workload::start(&["pingpong", "300", "--cpu", "1"])?;
    let target = workload.pid.to_string();
    let before = SystemTime::now();
    let mut tracer = Tracer::start(&["--pid", &target])?;
    let mut recorder = Command::new(program("numatrace")?)
        .args(["record", "-i", "200ms", "-o", &path, "--pid", &target])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(&notes)?)
        .spawn()?;
    eventually("it records", PATIENCE, || Ok(fs::read_to_string(&notes)?.contains("recording pid")))?;
    let began = SystemTime::now();
    let forth = Moved::by(HOUR)?;
    tracer.next_report()?;
    let done = workload.run()?;
    drop(forth);
    let back = Moved::by(-HOUR)?;
    (0..3).try_for_each(|_| tracer.next_report().map(drop))?;
    drop(back);
    let report = tracer.stop()?;
    // SAFETY: kill has no memory effect; the child has not been waited for, so the id is its own.
    os::check(unsafe { libc::kill(recorder.id().cast_signed(), libc::SIGINT) })?;
    let status = recorder.wait()?;
    ensure!(status.success(), "the recorder ended with {status}");
    workload.finish()?;
    let told = numatrace(&["report", &path, "-f", "json"])?;
    [&path, &notes].into_iter().for_each(|path| drop(fs::remove_file(path)));
    ensure!(told.status.success(), "{}: {}", told.status, told.stderr);
    let recorded = Report(serde_json::from_str(&told.stdout)?);
    let (first, last) = (seconds(before)?, seconds(began)?);
    for (what, report) in [("live", &report), ("recorded", &recorded)] {
        complete(&done, report).with_context(|| what.to_owned())?;
        let lasted = Duration::from_nanos(report.number("/duration_ns")?);
        ensure!(lasted < Duration::from_secs(HOUR as u64 / 2), "{what}: it lasted {lasted:?}");
        let waited = Duration::from_nanos(report.number("/totals/runq/all/max_ns")?);
        ensure!(waited < lasted, "{what}: a wait of {waited:?} in {lasted:?}");
        let start: jiff::Timestamp = report.0["start"].as_str().context("no start")?.parse()?;
        let start = start.as_second();
        ensure!((first..=last).contains(&start), "{what}: it began at {start}, not between {first} and {last}");
    }
    Ok(())
}

fn seconds(time: SystemTime) -> Result<i64> {
    Ok(time.duration_since(SystemTime::UNIX_EPOCH)?.as_secs().cast_signed())
}
