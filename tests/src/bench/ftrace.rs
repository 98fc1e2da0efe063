//! The kernel's own trace buffers, recorded as trace-cmd does: an instance of ours, the scheduler's events on, a reader
//! for each CPU that copies whole pages to a file. For machines where trace-cmd itself cannot run, since it insists on
//! function tracing.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    live::perf::mount_tracefs,
    workload::os::{allowed_cpus, pin, set_policy},
};

/// The events that numatrace's hooks are on.
pub const EVENTS: [&str; 5] =
    ["sched_switch", "sched_waking", "sched_wakeup", "sched_wakeup_new", "sched_migrate_task"];

/// A running recording.
pub struct Ftrace {
    instance: PathBuf,
    stop: Arc<AtomicBool>,
    readers: Vec<JoinHandle<std::io::Result<()>>>,
}

impl Ftrace {
    /// Makes the instance and starts the readers.
    pub fn start(scratch: &Path, realtime: bool) -> Result<Ftrace> {
        mount_tracefs()?;
        let instance =
            Path::new("/sys/kernel/tracing/instances").join(format!("numatrace-bench-{}", std::process::id()));
        fs::create_dir(&instance).with_context(|| format!("cannot make {}", instance.display()))?;
        let mut ftrace = Ftrace { instance, stop: Arc::default(), readers: Vec::new() };
        for cpu in allowed_cpus()? {
            let pipe = ftrace.instance.join(format!("per_cpu/cpu{cpu}/trace_pipe_raw"));
            let mut from = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&pipe)?;
            let mut to = File::create(scratch.join(format!("cpu{cpu}")))?;
            let stop = Arc::clone(&ftrace.stop);
            ftrace.readers.push(thread::spawn(move || {
                pin(cpu)?;
                if realtime {
                    set_policy(libc::SCHED_FIFO, 1)?;
                }
                let mut pages = vec![0; 64 << 10];
                while !stop.load(Ordering::Relaxed) {
                    match from.read(&mut pages) {
                        Ok(length) if length > 0 => to.write_all(&pages[..length])?,
                        // As often as trace-cmd looks.
                        _ => thread::sleep(Duration::from_millis(1)),
                    }
                }
                Ok(())
            }));
        }
        for event in EVENTS {
            fs::write(ftrace.instance.join(format!("events/sched/{event}/enable")), "1")?;
        }
        Ok(ftrace)
    }

    /// Ends it: events that were to be recorded, and of these the lost ones.
    pub fn stop(mut self) -> Result<(u64, u64)> {
        fs::write(self.instance.join("tracing_on"), "0")?;
        let mut stats = String::new();
        for cpu in allowed_cpus()? {
            stats += &fs::read_to_string(self.instance.join(format!("per_cpu/cpu{cpu}/stats")))?;
        }
        self.stop.store(true, Ordering::Relaxed);
        for reader in self.readers.drain(..) {
            reader.join().map_err(|_| anyhow::anyhow!("a reader panicked"))??;
        }
        kept_and_lost(&stats)
    }
}

impl Drop for Ftrace {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        // Its files vanish with it, as do its events.
        let _ = fs::remove_dir(&self.instance);
    }
}

/// Sums `per_cpu/cpuN/stats`: events in all, and those overwritten or dropped.
pub fn kept_and_lost(stats: &str) -> Result<(u64, u64)> {
    let sum = |name: &str| -> u64 {
        let value = |line: &str| line.trim().strip_prefix(name)?.strip_prefix(':')?.trim().parse::<u64>().ok();
        stats.lines().filter_map(value).sum()
    };
    ensure!(stats.contains("overrun"), "no statistics: {stats}");
    let lost = sum("overrun") + sum("commit overrun") + sum("dropped events");
    Ok((sum("entries") + sum("read events") + lost, lost))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_of_all_cpus_are_summed() {
        let one = "entries: 5\noverrun: 7\ncommit overrun: 1\nbytes: 220\ndropped events: 2\nread events: 100\n";
        assert_eq!(kept_and_lost(&one.repeat(2)).unwrap(), (230, 20));
        assert!(kept_and_lost("").is_err());
    }
}
