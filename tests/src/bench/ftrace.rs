//! The kernel's own trace buffers, recorded as trace-cmd does: an instance of ours, the scheduler's events on, a reader
//! for each CPU that moves whole pages to a file. For machines where trace-cmd itself cannot run, since it insists on
//! function tracing.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::fs::OpenOptionsExt as _,
    },
    path::{Path, PathBuf},
    ptr,
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
    workload::os::{allowed_cpus, check, pin, set_policy},
};

/// The events that numatrace's hooks are on.
pub const EVENTS: [&str; 5] =
    ["sched_switch", "sched_waking", "sched_wakeup", "sched_wakeup_new", "sched_migrate_task"];

/// A running recording.
pub struct Ftrace {
    instance: PathBuf,
    stop: Arc<AtomicBool>,
    readers: Vec<JoinHandle<io::Result<()>>>,
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
            let from = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&pipe)?;
            let to = File::create(scratch.join(format!("cpu{cpu}")))?;
            let stop = Arc::clone(&ftrace.stop);
            ftrace.readers.push(thread::spawn(move || {
                pin(cpu)?;
                if realtime {
                    set_policy(libc::SCHED_FIFO, 1)?;
                }
                let mut pages = Pages { from, to, through: Pipe::new()? };
                while !stop.load(Ordering::Relaxed) {
                    if pages.take_whole()? == 0 {
                        // As often as trace-cmd looks.
                        thread::sleep(Duration::from_millis(1));
                    }
                }
                pages.take_rest()
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

/// Pages on their way to a file.
struct Pages {
    from: File,
    to: File,
    through: Pipe,
}

impl Pages {
    /// Moves the pages that are full, as trace-cmd does. Returns how many bytes.
    fn take_whole(&mut self) -> io::Result<usize> {
        let moved = splice(self.from.as_raw_fd(), self.through.write.as_raw_fd(), 64 << 10)?;
        let mut left = moved;
        while left > 0 {
            left -= splice(self.through.read.as_raw_fd(), self.to.as_raw_fd(), left)?;
        }
        Ok(moved)
    }

    /// The rest, when nothing is traced any more: also a page that is not full.
    fn take_rest(&mut self) -> io::Result<()> {
        while self.take_whole()? > 0 {}
        let mut page = vec![0; 64 << 10];
        // Nothing there is an error of a file that does not wait.
        while let Ok(length @ 1..) = self.from.read(&mut page) {
            self.to.write_all(&page[..length])?;
        }
        Ok(())
    }
}

/// Both ends of a pipe.
struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl Pipe {
    fn new() -> io::Result<Pipe> {
        let mut fds = [0; 2];
        // SAFETY: the array has room for both.
        check(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) })?;
        // SAFETY: the kernel has just made them, and nobody else knows them.
        let [read, write] = fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
        Ok(Pipe { read, write })
    }
}

/// Moves at most so many bytes; 0 where there are none.
fn splice(from: libc::c_int, to: libc::c_int, most: usize) -> io::Result<usize> {
    let flags = libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK;
    // SAFETY: without offsets nothing of this program's memory is touched.
    let moved = unsafe { libc::splice(from, ptr::null_mut(), to, ptr::null_mut(), most, flags) };
    match usize::try_from(moved) {
        Ok(moved) => Ok(moved),
        Err(_) => match io::Error::last_os_error() {
            nothing if nothing.kind() == io::ErrorKind::WouldBlock => Ok(0),
            error => Err(error),
        },
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
