//! Throttled time by a CPU quota of cgroup v2. Time is uneven in a guest, so what the kernel itself says of the same run is
//! the truth: a thread that is alone in its cgroup on its CPU is throttled for as long as the cgroup is there.

use anyhow::{Result, ensure};

use crate::live::{
    Tracer, Workload,
    quota::{Limited, busy_in},
    within,
};

/// A busy thread on each of two CPUs, in a cgroup without a quota below one that has one.
pub fn throttled(source: &str, state: &str) -> Result<()> {
    let limited = Limited::new(0.4)?;
    let (mut workloads, flags) = busy_in(limited.below()?, &[0, 1], "4000")?;
    limited.settle()?;
    let before = limited.stat()?;
    let mut tracer = Tracer::start(&flags.iter().map(String::as_str).collect::<Vec<_>>())?;
    let after = limited.stat()?;
    workloads.iter_mut().try_for_each(Workload::go)?;
    workloads.iter_mut().try_for_each(|workload| workload.done().map(drop))?;
    limited.settle()?;
    let report = tracer.stop()?;
    limited.equals(&report, before, after)?;
    let (throttled, truth) = (report.number("/totals/throttled_wait_ns")?, limited.stat()?.2 - before.2);
    workloads.into_iter().try_for_each(Workload::finish)?;
    ensure!(truth > 1_000_000_000, "the quota stopped it for {truth} ns only: nothing to compare");
    within(0.05, "throttled time, against cpu.stat", throttled, truth)?;
    let named = |entry: &&serde_json::Value| entry["name"] == source;
    let told = report.0["sources"].as_array().into_iter().flatten().find(named).cloned().unwrap_or_default();
    ensure!(told["state"] == state, "the source {source} is {told}");
    Ok(())
}

/// Which source this kernel has, and how good it is.
pub fn throttled_here() -> Result<()> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    if release.starts_with("6.1.") {
        throttled("cfs_rq->throttled_clock_pelt_time", "best_effort")
    } else {
        throttled("cfs_rq->throttled_clock_self_time", "on")
    }
}
