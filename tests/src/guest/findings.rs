//! Findings from end to end: a problem is made, the finding says it, what it advises is done, and it is gone.

use std::{process::Command, time::Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::touches::Tuned;
use crate::live::{PATIENCE, Tracer, Workload};

/// How long numatrace has looked, ns, when what it does not say by then is not there.
const LOOK_NS: u64 = 6_000_000_000;

/// The finding with this name, if there is one.
fn find(report: &Value, id: &str) -> Option<Value> {
    report["findings"].as_array()?.iter().find(|finding| finding["id"] == id).cloned()
}

/// The numbers that findings stand on, to be said where there is none.
fn numbers(report: &Value) -> String {
    let names = ["residency_ns", "touches", "hint_faults", "pages_migrated", "expected_remote_share", "node_moves"];
    let told: Vec<String> = names.iter().map(|name| format!("{name} {}", report["totals"][*name])).collect();
    let (pages, memory, found) = (&report["placement_pages"], &report["node_memory"], &report["findings"]);
    format!("{}, pages {pages}, memory {memory}, findings {found}", told.join(", "))
}

/// Waits until it is found.
fn found(id: &str, tracer: &mut Tracer) -> Result<Value> {
    found_so(id, tracer, |_| true)
}

/// Waits until it is found and says this.
fn found_so(id: &str, tracer: &mut Tracer, says: impl Fn(&Value) -> bool) -> Result<Value> {
    let begun = Instant::now();
    loop {
        let report = &tracer.next_report()?.0;
        if let Some(finding) = find(report, id).filter(&says) {
            return Ok(finding);
        }
        ensure!(begun.elapsed() < PATIENCE, "no such finding {id}: {}", numbers(report));
    }
}

/// Waits until there is enough to find it by, and it is not found. Returns the report.
fn not_found(id: &str, tracer: &mut Tracer, enough: impl Fn(&Value) -> bool) -> Result<Value> {
    let begun = Instant::now();
    loop {
        let report = tracer.next_report()?.0.clone();
        if report["duration_ns"].as_u64().is_some_and(|ns| ns >= LOOK_NS) && enough(&report) {
            let still = find(&report, id);
            ensure!(still.is_none(), "it is said: {}", still.unwrap_or_default());
            return Ok(report);
        }
        ensure!(begun.elapsed() < PATIENCE, "not enough to find {id} by: {}", numbers(&report));
    }
}

fn trace(workload: &Workload, flags: &[&str]) -> Result<Tracer> {
    Tracer::start(&[&["--pid", &workload.pid.to_string()], flags].concat())
}

/// First touches of all threads.
fn first_touches(report: &Value) -> u64 {
    let of = |place: &str| report["totals"]["touches"]["first_touch"][place].as_u64().unwrap_or(0);
    of("local") + of("remote")
}

/// Runs the command that a finding names, as somebody who pastes it into a shell does.
fn run_its_command(finding: &Value) -> Result<String> {
    let command = finding["command"].as_str().with_context(|| format!("no command in {finding}"))?;
    let output = Command::new("sh").args(["-c", command]).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{command}` ended with {}: {said}", output.status);
    Ok(command.to_owned())
}

/// The memory of a process lies where it does not run; its command moves one to the other.
pub fn remote_memory() -> Result<()> {
    let _off = Tuned::balancing(false)?;
    let mut workload = Workload::start(&["owned", "20000", "--nodes", "1,0", "--millis", "600000"])?;
    let mut before = trace(&workload, &[])?;
    workload.go()?;
    // Who filled it ran on the other node, and for a while that was much of all.
    let finding = found_so("remote-memory", &mut before, |finding| finding["command"].is_string())?;
    before.stop()?;
    ensure!(finding["severity"] != "info", "{finding}");
    let command = run_its_command(&finding)?;
    ensure!(command.contains("migratepages") || command.contains("taskset"), "{command}");
    let share = |report: &Value| report["totals"]["expected_remote_share"].as_f64();
    let after = not_found("remote-memory", &mut trace(&workload, &[])?, |report| share(report).is_some())?;
    ensure!(share(&after).is_some_and(|share| share < 0.1), "after `{command}`: {}", numbers(&after));
    Ok(())
}

/// One thread fills what others use on another node; where it fills it on theirs, nothing is said.
pub fn first_touch() -> Result<()> {
    let _off = Tuned::balancing(false)?;
    for (nodes, expected) in [("1,0", true), ("0,0", false)] {
        let mut workload = Workload::start(&["owned", "20000", "--nodes", nodes, "--millis", "600000"])?;
        let mut tracer = trace(&workload, &[])?;
        workload.go()?;
        if expected {
            let finding = found("first-touch", &mut tracer)?;
            ensure!(finding["title"].as_str().is_some_and(|title| title.contains("owner")), "{finding}");
        } else {
            let enough = |report: &Value| first_touches(report) >= 20_000 && !report["placement_pages"].is_null();
            let report = not_found("first-touch", &mut tracer, enough)?;
            ensure!(find(&report, "remote-memory").is_none(), "{}", report["findings"]);
        }
    }
    Ok(())
}

/// Memory that is bound to a node on which its thread does not run.
pub fn memory_policy() -> Result<()> {
    let _off = Tuned::balancing(false)?;
    for (nodes, expected) in [("0,1", true), ("0,0", false)] {
        let args = ["touch", "2000", "--kind", "rounds", "--nodes", nodes, "--millis", "600000"];
        let mut workload = Workload::start(&args)?;
        let mut tracer = trace(&workload, &[])?;
        workload.go()?;
        if expected {
            found("memory-policy", &mut tracer)?;
        } else {
            not_found("memory-policy", &mut tracer, |report| first_touches(report) >= 10_000)?;
        }
    }
    Ok(())
}

/// More memory on a node than it has.
pub fn node_full() -> Result<()> {
    let _off = Tuned::balancing(false)?;
    for (pages, expected) in [("300000", true), ("20000", false)] {
        let mut workload = Workload::start(&["fill", pages, "--node", "0", "--millis", "600000"])?;
        let mut tracer = trace(&workload, &[])?;
        workload.go()?;
        if expected {
            found("node-full", &mut tracer)?;
        } else {
            not_found("node-full", &mut tracer, |report| first_touches(report) >= 20_000)?;
        }
    }
    Ok(())
}

/// Threads that wake each other across nodes, until its command binds them to one.
pub fn cross_node_hops() -> Result<()> {
    let _off = Tuned::balancing(false)?;
    // An emulated machine does in a second what a real one does in some milliseconds.
    let flags: Vec<&str> =
        ["cross-node-hops.moves=5", "cross-node-hops.per-second=0.1", "cross-node-hops.per-cpu-second=0.1"]
            .iter()
            .flat_map(|limit| ["--limit", limit])
            .collect();
    let (workload, finding) = hopping(&flags)?;
    let command = run_its_command(&finding)?;
    ensure!(command.contains("taskset"), "{command}");
    let after = not_found("cross-node-hops", &mut trace(&workload, &flags)?, |_| true)?;
    ensure!(after["totals"]["node_moves"] == 0, "it still moves between nodes: {}", after["totals"]["node_moves"]);
    Ok(())
}

/// One pair, since what it wants one node has, and what is said of its hops. It is the kernel that moves its threads between the
/// nodes, or leaves them where it put them first for as long as they live: then another pair is started.
fn hopping(flags: &[&str]) -> Result<(Workload, Value)> {
    const PAIRS: usize = 4;
    let mut pairs = 0;
    loop {
        pairs += 1;
        let mut workload = Workload::start(&["pipes", "1", "--millis", "600000"])?;
        let mut before = trace(&workload, flags)?;
        workload.go()?;
        let begun = Instant::now();
        loop {
            let report = before.next_report()?.0.clone();
            let found = find(&report, "cross-node-hops").filter(|finding| finding["command"].is_string());
            if let Some(finding) = found {
                before.stop()?;
                return Ok((workload, finding));
            }
            let moves = report["totals"]["node_moves"].as_u64().unwrap_or(0);
            let stays = pairs < PAIRS && moves < 5 && begun.elapsed() > PATIENCE / 4;
            ensure!(stays || begun.elapsed() < PATIENCE, "no such finding cross-node-hops: {}", numbers(&report));
            if stays {
                break;
            }
        }
    }
}

/// Two threads on different nodes that use the same pages: wherever balancing moves a page, it is remote to one of them. Its
/// command switches balancing off.
pub fn numa_balancing() -> Result<()> {
    let _eager = Tuned::eager()?;
    let flags: Vec<&str> = [
        "numa-balancing.moved-per-second=20",
        "numa-balancing.faults-per-cpu-second=50",
        "numa-balancing.moved-share=100",
        "numa-balancing.cpu-seconds=0.1",
    ]
    .iter()
    .flat_map(|limit| ["--limit", limit])
    .collect();
    let mut workload = Workload::start(&["owned", "2000", "--nodes", "0,0", "--apart", "--millis", "600000"])?;
    let mut before = trace(&workload, &flags)?;
    workload.go()?;
    let switches_off =
        |finding: &Value| finding["command"].as_str().is_some_and(|command| command.starts_with("sysctl"));
    let finding = found_so("numa-balancing", &mut before, switches_off)?;
    before.stop()?;
    let command = run_its_command(&finding)?;
    ensure!(command.contains("kernel.numa_balancing=0"), "{command}");
    let after = not_found("numa-balancing", &mut trace(&workload, &flags)?, |_| true)?;
    ensure!(after["totals"]["hint_faults"].is_null(), "balancing is off: {}", after["totals"]["hint_faults"]);
    Ok(())
}
