//! numatrace in guests with NUMA nodes; `cargo xtask test --leg numa` prepares what they boot from.
//!
//! Each guest is booted once and runs a whole suite ([`numatrace_tests::guest`]); each of its checks is a test here. A
//! test runner that starts a process for each test would boot as often as there are tests: the first test of a guest
//! boots it and leaves the output in a file, the others read that.

use std::{
    env,
    fs::{self, File},
    os::fd::AsRawFd as _,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, bail};
use libtest_mimic::{Arguments, Failed, Trial};
use numatrace_tests::{
    compatibility::check_told,
    guest::{EVERY_PROGRAM, SUITES, Suite, result_of},
};
use xtask::vm::{Arch, KERNEL_SERIES, Topology, VmDir};

/// A suite takes some minutes; an emulated machine on a busy host some times that.
const LIMIT: Duration = Duration::from_secs(1_500);

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let in_ci = env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"));
    let mut skipped = Vec::new();
    if !in_ci {
        for arch in Arch::ALL {
            if let Some(reason) = cannot_boot(arch) {
                eprintln!("guests of {} are skipped: {reason}", arch.name());
                skipped.push(arch);
            }
        }
    }
    let mut trials = Vec::new();
    for suite in &SUITES {
        let skip = skipped.contains(&suite.arch);
        // Emulating another architecture takes some times as long: one kernel, the newest.
        let newest = if suite.arch == Arch::X86_64 { 0 } else { KERNEL_SERIES.len() - 1 };
        for series in &KERNEL_SERIES[newest..] {
            for check in suite.checks_on(series) {
                let check = check.name;
                // The check comes first, so that tests sorted by name boot different guests side by side.
                let name = format!("{check}::{}::linux_{series}", suite.name);
                let test = move || outcome(series, suite, check).map_err(|error| Failed::from(format!("{error:#}")));
                trials.push(Trial::test(name, test).with_ignored_flag(skip));
            }
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Why guests cannot be booted here, if so.
fn cannot_boot(arch: Arch) -> Option<String> {
    let dir = VmDir::open();
    let missing = Some(dir.initramfs(arch)).filter(|path| !path.is_file());
    dir.cannot_boot(arch).or_else(|| missing.map(|path| format!("there is no {}", path.display())))
}

/// The result of one check in one guest.
fn outcome(series: &str, suite: &Suite, check: &str) -> Result<()> {
    let output = output_of(series, suite)?;
    match result_of(check, &output) {
        Some(Ok(())) if check == EVERY_PROGRAM => check_told(&output),
        Some(Ok(())) => Ok(()),
        Some(Err(reason)) => bail!("{reason}"),
        None => bail!("the guest did not come to this check:\n{output}"),
    }
}

/// What the guest printed: from the file, or by booting it.
fn output_of(series: &str, suite: &Suite) -> Result<String> {
    let (dir, name) = (results_dir()?, suite.name);
    let lock = File::create(dir.join(format!("{series}-{name}.lock")))?;
    // SAFETY: the descriptor is open.
    numatrace_tests::workload::os::check(unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX) })?;
    let path = dir.join(format!("{series}-{name}.out"));
    if let Ok(output) = fs::read_to_string(&path) {
        return Ok(output);
    }
    let guest = VmDir::open().guest_of(suite.arch, series, Topology::by_name(suite.topology)?)?;
    let text = match guest.boot(&format!("guest-check {name}"), LIMIT) {
        Ok(output) => match output.exit_code {
            Some(_) => output.stdout,
            // What the kernel said last is why.
            None => format!("{}\n--- console\n{}", output.stdout, output.console),
        },
        // The others need not wait for the same failure.
        Err(error) => format!("it could not be booted: {error:#}"),
    };
    fs::write(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(text)
}

/// A folder that the tests of this run share. Those of earlier runs are removed.
fn results_dir() -> Result<PathBuf> {
    let all = VmDir::open().path().join("results");
    // nextest runs each test in a process of its own and says which run it is.
    let run = env::var("NEXTEST_RUN_ID").unwrap_or_else(|_| std::process::id().to_string());
    let own = all.join(run);
    fs::create_dir_all(&own).with_context(|| format!("cannot make {}", own.display()))?;
    for entry in fs::read_dir(&all)?.flatten() {
        let age = entry
            .metadata()
            .and_then(|meta| meta.modified())
            .ok()
            .and_then(|time| SystemTime::now().duration_since(time).ok());
        if age.is_some_and(|age| age > Duration::from_secs(24 * 3600)) {
            // Another test may have removed it already.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    Ok(own)
}
