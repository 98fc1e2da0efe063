//! What other processes use: CPU time, and memory at its peak.

use std::{
    env, io, mem,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::workload::os::check;

/// CPU time of a living process so far, of all its threads, user and system.
pub fn cpu_of(pid: u32) -> io::Result<Duration> {
    let (mut clock, mut time) = (0, libc::timespec { tv_sec: 0, tv_nsec: 0 });
    // SAFETY: `clock` outlives the call.
    let error = unsafe { libc::clock_getcpuclockid(pid.cast_signed(), &mut clock) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    // SAFETY: `time` outlives the call.
    check(unsafe { libc::clock_gettime(clock, &mut time) })?;
    Ok(Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0)))
}

/// CPU time of all children that have been waited for, and of theirs.
pub fn cpu_of_children() -> io::Result<Duration> {
    let mut usage = none();
    // SAFETY: `usage` outlives the call.
    check(unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage) })?;
    Ok(cpu(&usage))
}

/// A program that ran to its end.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Ran {
    pub elapsed: Duration,
    pub cpu: Duration,
    /// Resident bytes at its peak.
    pub peak: u64,
}

/// The argument with which the benchmark program does nothing but [`run_and_tell`].
pub const TELL: &str = "measured";

/// Runs a program to its end, which must be a good one; what it prints goes nowhere. The kernel lets a program begin with
/// the peak of the one that started it, so a small process does that: this program once more.
pub fn run(command: &[String]) -> Result<Ran> {
    let output = Command::new(env::current_exe()?).arg(TELL).args(command).stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Runs a program and prints what it used.
pub fn run_and_tell(mut words: impl Iterator<Item = String>) -> Result<()> {
    let mut command = Command::new(words.next().context("nothing to run")?);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let started = Instant::now();
    let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
    let (mut status, mut usage) = (0, none());
    // SAFETY: both outlive the call; nobody else waits for this child, so the id is its own.
    check(unsafe { libc::wait4(child.id().cast_signed(), &mut status, 0, &mut usage) })?;
    let elapsed = started.elapsed();
    ensure!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "it ended with wait status {status}");
    let ran = Ran { elapsed, cpu: cpu(&usage), peak: usage.ru_maxrss.unsigned_abs() * 1024 };
    println!("{}", serde_json::to_string(&ran)?);
    Ok(())
}

fn none() -> libc::rusage {
    // SAFETY: a struct of integers, for which zeros are a value.
    unsafe { mem::zeroed() }
}

fn cpu(usage: &libc::rusage) -> Duration {
    let of = |time: libc::timeval| {
        Duration::from_micros(time.tv_sec.unsigned_abs() * 1_000_000 + time.tv_usec.unsigned_abs())
    };
    of(usage.ru_utime) + of(usage.ru_stime)
}
