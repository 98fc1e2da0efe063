//! Running numatrace and a workload beside each other, for tests on this kernel and inside guests.
//!
//! The order is always the same: the workload is ready, numatrace is attached (it has printed its first document),
//! the workload does its counted part and says what the kernel counted, numatrace is stopped and has told all, and
//! only then the workload exits. So nothing is counted that the test did not ask for.

pub mod bpf;
pub mod counting;
pub mod credentials;
pub mod memory;
pub mod perf;
pub mod quota;
mod report;
pub mod serve;
pub mod touches;
mod tracer;
mod workload;

use std::{
    env,
    fs::File,
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use xtask::shell::in_ci;

pub use self::{
    report::{Report, ThreadReport},
    tracer::{Ended, Tracer, numatrace},
    workload::{Done, Workload},
};

/// How long anything may take before a test gives up. Emulated guests are slow.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Runs a workload to its end under numatrace.
///
/// # Errors
/// When either of them fails.
pub fn trace(workload: &[&str], flags: &[&str]) -> Result<(Done, Report)> {
    let mut workload = Workload::start(workload)?;
    let pid = workload.pid.to_string();
    let mut tracer = Tracer::start(&[&["--pid", &pid], flags].concat())?;
    let done = workload.run()?;
    let report = tracer.stop()?;
    workload.finish()?;
    Ok((done, report))
}

/// Every thread of a workload has the switches that the kernel counted, and a wait for each turn: workers are blocked
/// before and after, so that they were switched in as often as away, and each turn began with a wait.
///
/// # Errors
/// When a count differs.
pub fn equal_to_proc(done: &Done, report: &Report) -> Result<()> {
    for (name, facts) in &done.threads {
        let (thread, truth) = (report.thread(facts.tid)?, facts.after.since(&facts.before));
        let ours = (thread.number("/switches/voluntary")?, thread.number("/switches/involuntary")?);
        ensure!(ours == (truth.voluntary, truth.involuntary), "{name}: switches {ours:?}, the kernel says {truth:?}");
        let waits = (thread.number("/runq/wakeup/count")?, thread.number("/runq/preempted/count")?);
        thread.counts("waits", waits.0 + waits.1, truth.voluntary + truth.involuntary)?;
        ensure!(thread.number("/runq/all/count")? == waits.0 + waits.1, "{name}: both parts are not all: {waits:?}");
    }
    Ok(())
}

/// The path of one of the programs that are built beside the tests, or lie beside them in a guest.
pub fn program(name: &str) -> Result<PathBuf> {
    if let Some(path) = env::var_os(format!("NUMATRACE_TEST_{}", name.to_uppercase())) {
        return Ok(path.into());
    }
    let here = env::current_exe().context("where is this program?")?;
    let places = here.ancestors().skip(1).take(2).map(|dir| dir.join(name));
    let found = places.into_iter().find(|path| path.is_file());
    found.with_context(|| format!("there is no {name} beside {}: `cargo build --workspace` makes it", here.display()))
}

/// Why tests of tracing cannot run here, if so.
pub fn cannot_trace() -> Option<String> {
    // SAFETY: geteuid has no argument and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        return Some("tracing needs root".into());
    }
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Some("this kernel has no BTF (/sys/kernel/btf/vmlinux)".into());
    }
    program("numatrace").err().map(|error| error.to_string())
}

/// Makes tests run one at a time, also when each is a process of its own: they bind threads to the same CPUs.
#[derive(Debug)]
pub struct Alone(#[expect(dead_code, reason = "held, not read: closing it ends the lock")] File);

impl Alone {
    /// Waits for its turn.
    ///
    /// # Errors
    /// When the lock file cannot be made.
    pub fn wait() -> Result<Alone> {
        let path = env::temp_dir().join("numatrace-live-tests.lock");
        let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        // SAFETY: the descriptor is open.
        crate::workload::os::check(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) })?;
        Ok(Alone(file))
    }
}

/// Looks again and again until it is true.
///
/// # Errors
/// When it is not in time.
pub fn eventually(what: &str, limit: Duration, mut reached: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + limit;
    while !reached()? {
        if Instant::now() > deadline {
            bail!("waited {} s in vain until {what}", limit.as_secs());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Two numbers that must not differ by more than a share of the second.
///
/// # Errors
/// When they do, saying by how much.
pub fn within(share: f64, what: &str, ours: u64, truth: u64) -> Result<()> {
    let off = (ours as f64 - truth as f64).abs() / (truth as f64).max(1.0);
    ensure!(off <= share, "{what}: {ours} instead of {truth}, off by {:.1}%", off * 100.0);
    Ok(())
}

/// A test that needs this kernel: its name, and what it runs.
pub type Case = (&'static str, fn() -> Result<()>);

/// Runs the cases one at a time, and none while another such program does. With a `reason` why none can run they are
/// skipped, which is said; in continuous integration, which must not be green for testing less, they fail.
pub fn run_cases(what: &str, cases: &[Case], reason: Option<&str>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let skip = reason.is_some() && !in_ci();
    if let Some(reason) = reason.filter(|_| skip) {
        eprintln!("{what} are skipped: {reason}");
    }
    let trial = |(name, case): &Case| {
        let (case, reason) = (*case, reason.map(str::to_owned));
        Trial::test(*name, move || match reason {
            Some(reason) => Err(Failed::from(reason)),
            None => run_alone(case).map_err(|error| Failed::from(format!("{error:#}"))),
        })
        .with_ignored_flag(skip)
    };
    libtest_mimic::run(&arguments, cases.iter().map(trial).collect()).exit_code()
}

fn run_alone(case: fn() -> Result<()>) -> Result<()> {
    let _alone = Alone::wait()?;
    case()
}
