//! numatrace on this machine's kernel, against what the kernel itself counts. Needs root; `cargo xtask test --leg live`.
//!
//! Each trial runs a workload that does a known number of things beside numatrace, and compares. One at a time: they
//! bind threads to the same CPUs.

mod attributes;
mod behind;
mod cgroups;
mod containers;
mod counting;
mod counts;
mod diff;
mod filters;
mod flight;
mod given_up;
mod hostile;
mod imports;
mod kernel;
mod lifetimes;
mod loss;
mod overload;
mod places;
mod pressure;
mod recordings;
mod refused;
mod rights;
mod second_opinion;
mod self_cost;
mod serve;
mod surroundings;
mod throttled;
mod touches;
mod waits;

use std::{env, process::ExitCode};

use anyhow::Result;
use numatrace_tests::live::{Case, cannot_trace, run_cases};

fn main() -> ExitCode {
    let cases = [
        counting::CASES,
        kernel::CASES,
        counts::CASES,
        attributes::CASES,
        cgroups::CASES,
        containers::CASES,
        waits::CASES,
        throttled::CASES,
        touches::CASES,
        places::CASES,
        loss::CASES,
        self_cost::CASES,
        pressure::CASES,
        surroundings::CASES,
        overload::CASES,
        lifetimes::CASES,
        filters::CASES,
        diff::CASES,
        hostile::CASES,
        rights::CASES,
        given_up::CASES,
        refused::CASES,
        recordings::CASES,
        flight::CASES,
        behind::CASES,
        second_opinion::CASES,
        serve::CASES,
        imports::CASES,
    ];
    run_cases("live tests", &cases.concat(), cannot_trace().as_deref())
}

/// The CPU that pinned workloads use: the last, since the first has most of a small machine's interrupts.
fn busy_cpu() -> Result<String> {
    let cpus = numatrace_tests::workload::os::allowed_cpus()?;
    Ok(cpus.last().copied().unwrap_or(0).to_string())
}

/// Two CPUs as `A,B`, `None` on a machine with one.
fn two_cpus() -> Result<Option<String>> {
    let cpus = numatrace_tests::workload::os::allowed_cpus()?;
    Ok(cpus.first().zip(cpus.last()).filter(|(a, b)| a != b).map(|(a, b)| format!("{a},{b}")))
}

/// A folder of this test's own, removed at the end.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new(name: &str) -> Result<Scratch> {
        use std::os::unix::fs::PermissionsExt as _;
        let path = env::temp_dir().join(format!("numatrace-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        // Programs that have dropped their rights must get in.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777))?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
