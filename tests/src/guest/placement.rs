//! Checks of where threads run and move: the reason why there are guests with several nodes.

use anyhow::{Result, ensure};

use super::checks::{WITHOUT_PAGES, complete};
use crate::live::{Report, Tracer, Workload};

/// Traces one thread of a workload.
fn trace_thread(args: &[&str], name: &str, flags: &[&str]) -> Result<(u32, Report)> {
    let mut workload = Workload::start(args)?;
    let tid = workload.tid(name)?;
    let mut tracer = Tracer::start(&[&["--tid", &tid.to_string()], flags].concat())?;
    let done = workload.run()?;
    let report = tracer.stop()?;
    workload.finish()?;
    complete(&done, &report)?;
    Ok((tid, report))
}

/// K round trips between two nodes are K in one cell, K in the other, and none elsewhere.
pub fn bounce(from: usize, to: usize, flags: &[&str]) -> Result<()> {
    const ROUNDS: u64 = 60;
    let nodes = format!("{from},{to}");
    let (tid, report) = trace_thread(&["bounce", &ROUNDS.to_string(), "--nodes", &nodes], "hopper", flags)?;
    let matrix = report.migration_matrix()?;
    for (row, cells) in matrix.iter().enumerate() {
        for (column, count) in cells.iter().enumerate() {
            let moved = (row, column) == (from, to) || (row, column) == (to, from);
            let expected = if moved { ROUNDS } else { 0 };
            ensure!(*count == expected, "({row}, {column}) is {count} instead of {expected}: {matrix:?}");
        }
    }
    let hopper = report.thread(tid)?;
    let crossings = hopper.number("/migrations/cross_node")?;
    ensure!(crossings == 2 * ROUNDS && hopper.migrations()? == crossings, "{}", hopper.0["migrations"]);
    let moves = hopper.number("/node_moves")?;
    ensure!(moves == 2 * ROUNDS, "{moves} node moves in {ROUNDS} round trips");
    let residency = hopper.residency()?;
    for (node, ns) in residency.iter().enumerate() {
        ensure!((*ns > 0) == (node == from || node == to), "residency {residency:?}");
    }
    sums_up(&report, tid)
}

/// A thread that may not leave a node's CPU has all of its time there.
pub fn pinned(node: usize) -> Result<()> {
    let cpu = crate::workload::os::cpu_of_node(node)?.to_string();
    let (tid, report) = trace_thread(&["pin", "--cpu", &cpu, "--millis", "1500"], "hog-0", &WITHOUT_PAGES)?;
    let thread = report.thread(tid)?;
    let (residency, cpu_ns) = (thread.residency()?, thread.number("/cpu_ns")?);
    ensure!(cpu_ns > 0 && residency[node] == cpu_ns, "{cpu_ns} ns on CPU, by node {residency:?}");
    ensure!(thread.migrations()? == 0 && thread.number("/node_moves")? == 0, "{}", thread.0["migrations"]);
    sums_up(&report, tid)
}

/// Time on CPU is the sum over nodes, also in the totals.
fn sums_up(report: &Report, tid: u32) -> Result<()> {
    let thread = report.thread(tid)?;
    let sum: u64 = thread.residency()?.iter().sum();
    ensure!(sum == thread.number("/cpu_ns")?, "nodes sum to {sum} of {}", thread.0["cpu_ns"]);
    ensure!(report.0["totals"]["residency_ns"] == thread.0["residency_ns"], "totals: {}", report.0["totals"]);
    Ok(())
}

/// K hops between two CPUs are K migrations of that level.
pub fn hop(level: &str, from: usize, to: usize) -> Result<()> {
    const HOPS: u64 = 80;
    let cpus = format!("{from},{to}");
    let (tid, report) = trace_thread(&["hops", &HOPS.to_string(), "--cpus", &cpus], "hopper", &WITHOUT_PAGES)?;
    let hopper = report.thread(tid)?;
    for name in ["smt", "llc", "node", "cross_node"] {
        let (count, expected) = (hopper.number(&format!("/migrations/{name}"))?, if name == level { HOPS } else { 0 });
        ensure!(count == expected, "{name} is {count} instead of {expected}: {}", hopper.0["migrations"]);
    }
    hopper.caused_by_affinity(HOPS)
}
