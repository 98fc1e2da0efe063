//! Throttled time: against the wait that a run without a quota does not have, and against the kernel's cpu.stat.

use std::path::Path;

use anyhow::{Result, ensure};
use numatrace_tests::live::{
    Report, Tracer, Workload,
    quota::{Limited, busy_in},
    within,
};
use numatrace_tests::workload::os::allowed_cpus;

use crate::Case;

pub const CASES: &[Case] = &[
    ("throttled_time_is_the_wait_that_a_run_without_quota_does_not_have", by_a_quota),
    ("a_cgroup_without_quota_is_throttled_by_the_one_above_it", by_the_one_above),
    ("a_quota_that_is_lifted_is_not_told_any_more_and_what_it_did_is", lifted),
];

/// How long the threads are busy.
const MILLIS: &str = "3000";
/// Share of one CPU that they get together.
const QUOTA: f64 = 0.4;

/// Such threads, one on each CPU.
fn busy(cgroup: &Path) -> Result<(Vec<Workload>, Vec<String>)> {
    busy_in(cgroup, &allowed_cpus()?, MILLIS)
}

/// Runs them in the cgroup and returns the report, which has what cpu.stat says where there is a quota.
fn run_in(limited: &Limited, cgroup: &Path) -> Result<Report> {
    let (mut workloads, flags) = busy(cgroup)?;
    limited.settle()?;
    let before = limited.stat()?;
    let mut tracer = Tracer::start(&flags.iter().map(String::as_str).collect::<Vec<_>>())?;
    let after = limited.stat()?;
    workloads.iter_mut().try_for_each(Workload::go)?;
    workloads.iter_mut().try_for_each(|workload| workload.done().map(drop))?;
    limited.settle()?;
    let report = tracer.stop()?;
    limited.equals(&report, before, after)?;
    workloads.into_iter().try_for_each(Workload::finish)?;
    Ok(report)
}

/// The free run meets whatever else the machine does; one that met too much says nothing.
const ATTEMPTS: usize = 3;

fn compare(cgroup_of: fn(&Limited) -> Result<&Path>) -> Result<()> {
    for attempt in 1..=ATTEMPTS {
        match compare_once(cgroup_of) {
            Err(error) if attempt < ATTEMPTS => println!("{error:#}"),
            result => return result,
        }
    }
    Ok(())
}

fn compare_once(cgroup_of: fn(&Limited) -> Result<&Path>) -> Result<()> {
    let limited = Limited::new(QUOTA)?;
    let cgroup = cgroup_of(&limited)?.to_owned();
    let with = run_in(&limited, &cgroup)?;
    let waited = |report: &Report| report.number("/totals/wait_ns");
    let throttled = with.number("/totals/throttled_wait_ns")?;
    drop(limited);
    // A run without a quota, in a cgroup of the same kind.
    let free = Limited::new(QUOTA)?;
    free.lift()?;
    let (mut workloads, flags) = busy(cgroup_of(&free)?)?;
    let mut tracer = Tracer::start(&flags.iter().map(String::as_str).collect::<Vec<_>>())?;
    workloads.iter_mut().try_for_each(Workload::go)?;
    workloads.iter_mut().try_for_each(|workload| workload.done().map(drop))?;
    let without = tracer.stop()?;
    workloads.into_iter().try_for_each(Workload::finish)?;
    ensure!(without.number("/totals/throttled_wait_ns")? == 0, "throttled without a quota: {}", without.0["totals"]);
    let more = waited(&with)?.saturating_sub(waited(&without)?);
    println!("throttled {throttled} ns, {more} ns more wait than without quota");
    within(0.05, "throttled time, against the wait that a run without quota does not have", throttled, more)?;
    // Each wait is told apart, not only their sum.
    let (p99, rest) = (with.number("/totals/runq/all/p99_ns")?, with.number("/totals/runq/unthrottled/p99_ns")?);
    ensure!(rest < p99 / 2, "p99 of {p99} ns would be {rest} ns without the quota: most of it was throttled");
    Ok(())
}

fn by_a_quota() -> Result<()> {
    compare(|limited| Ok(&limited.with_quota))
}

fn by_the_one_above() -> Result<()> {
    compare(Limited::below)
}

fn lifted() -> Result<()> {
    let limited = Limited::new(QUOTA)?;
    let (mut workloads, flags) = busy(limited.below()?)?;
    let mut tracer = Tracer::start(&flags.iter().map(String::as_str).collect::<Vec<_>>())?;
    workloads.iter_mut().try_for_each(Workload::go)?;
    let entry = |report: &Report| report.0["throttle"][0].clone();
    while entry(tracer.next_report()?)["throttled_periods"].as_u64().is_none_or(|periods| periods < 3) {}
    limited.lift()?;
    let mut told = serde_json::Value::Null;
    while told["quota_cpus"].is_null() == told["cgroup"].is_null() {
        told = entry(tracer.next_report()?);
    }
    let periods = told["throttled_periods"].as_u64();
    ensure!(told["quota_cpus"].is_null() && periods.is_some_and(|periods| periods >= 3), "{told}");
    workloads.iter_mut().try_for_each(|workload| workload.done().map(drop))?;
    tracer.stop()?;
    workloads.into_iter().try_for_each(Workload::finish)
}
