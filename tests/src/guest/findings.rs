//! Findings from end to end: a problem is made, the finding says it, what it advises is done, and it is gone.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::touches::Tuned;
use crate::live::{Workload, numatrace};

/// How long numatrace looks at a time.
const LOOK: &str = "6s";

/// What it finds about a process within a while, and the whole report.
fn look(pid: u32, flags: &[&str]) -> Result<(Vec<Value>, Value)> {
    let pid = pid.to_string();
    let args = ["live", "-q", "-f", "json", "-i", "2s", "-d", LOOK, "--pid", &pid];
    let ended = numatrace(&[&args, flags].concat())?;
    ensure!(ended.status.success(), "{}: {}", ended.status, ended.stderr);
    let last = ended.stdout.lines().last().context("it printed nothing")?;
    let report: Value = serde_json::from_str(last)?;
    Ok((report["findings"].as_array().cloned().unwrap_or_default(), report))
}

/// The finding with this name; what there is instead is said, with the numbers that it would stand on.
fn found(id: &str, (findings, report): &(Vec<Value>, Value)) -> Result<Value> {
    let names: Vec<&str> = findings.iter().filter_map(|finding| finding["id"].as_str()).collect();
    let finding = findings.iter().find(|finding| finding["id"] == id);
    finding.cloned().with_context(|| {
        let totals = &report["totals"];
        let about = ["residency_ns", "touches", "hint_faults", "pages_migrated", "expected_remote_share", "node_moves"];
        let told: Vec<String> = about.iter().map(|name| format!("{name} {}", totals[*name])).collect();
        let (pages, memory) = (&report["placement_pages"], &report["node_memory"]);
        format!("no finding {id}, only {names:?}: {}, pages {pages}, memory {memory}", told.join(", "))
    })
}

fn gone(id: &str, (findings, _): &(Vec<Value>, Value)) -> Result<()> {
    let still = findings.iter().find(|finding| finding["id"] == id);
    ensure!(still.is_none(), "it is still said: {}", still.cloned().unwrap_or_default());
    Ok(())
}

/// Runs the command that a finding names, as somebody who pastes it into a shell does.
fn run_its_command(finding: &Value) -> Result<String> {
    let command = finding["command"].as_str().with_context(|| format!("no command in {finding}"))?;
    let output = Command::new("sh").args(["-c", command]).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{command}` ended with {}: {said}", output.status);
    Ok(command.to_owned())
}

/// The memory of a process lies where it does not run; its command moves it.
pub fn remote_memory() -> Result<()> {
    let _off = Tuned::balancing(false)?;
    let mut workload = Workload::start(&["owned", "20000", "--nodes", "1,0", "--millis", "120000"])?;
    workload.go()?;
    let before = look(workload.pid, &[])?;
    let finding = found("remote-memory", &before)?;
    ensure!(finding["severity"] != "info", "{finding}");
    let command = run_its_command(&finding)?;
    ensure!(command.contains("migratepages"), "{command}");
    let after = look(workload.pid, &[])?;
    gone("remote-memory", &after)?;
    let pages: Vec<u64> = serde_json::from_value(after.1["placement_pages"].clone())?;
    ensure!(pages[0] > 20_000 && pages[1] < 2_000, "its pages are at {pages:?}");
    Ok(())
}

/// One thread fills what others use on another node; where it fills it on theirs, nothing is said.
pub fn first_touch() -> Result<()> {
    let _off = Tuned::balancing(false)?;
    for (nodes, expected) in [("1,0", true), ("0,0", false)] {
        let mut workload = Workload::start(&["owned", "20000", "--nodes", nodes, "--millis", "120000"])?;
        let pid = workload.pid;
        // It is to be seen from its first page on.
        let going = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_secs(2));
            workload.go().map(|()| workload)
        });
        let seen = look(pid, &[])?;
        drop(going.join().map_err(|_| anyhow::anyhow!("it panicked"))??);
        if expected {
            let finding = found("first-touch", &seen)?;
            ensure!(finding["title"].as_str().is_some_and(|title| title.contains("owner")), "{finding}");
        } else {
            gone("first-touch", &seen)?;
            gone("remote-memory", &seen)?;
        }
    }
    Ok(())
}

/// Memory that is bound to a node on which its thread does not run.
pub fn memory_policy() -> Result<()> {
    let _off = Tuned::balancing(false)?;
    for (nodes, expected) in [("0,1", true), ("0,0", false)] {
        let args = ["touch", "2000", "--kind", "rounds", "--nodes", nodes, "--millis", "60000"];
        let mut workload = Workload::start(&args)?;
        workload.go()?;
        let seen = look(workload.pid, &[])?;
        if expected { found("memory-policy", &seen).map(drop)? } else { gone("memory-policy", &seen)? }
    }
    Ok(())
}

/// More memory on a node than it has.
pub fn node_full() -> Result<()> {
    let _off = Tuned::balancing(false)?;
    for (pages, expected) in [("300000", true), ("2000", false)] {
        let mut workload = Workload::start(&["fill", pages, "--node", "0", "--millis", "120000"])?;
        let pid = workload.pid;
        let going = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_secs(1));
            workload.go().map(|()| workload)
        });
        let seen = look(pid, &["-d", "15s"])?;
        drop(going.join().map_err(|_| anyhow::anyhow!("it panicked"))??);
        if expected { found("node-full", &seen).map(drop)? } else { gone("node-full", &seen)? }
    }
    Ok(())
}

/// Pairs of threads that wake each other across nodes, until its command binds them to one.
pub fn cross_node_hops() -> Result<()> {
    let _off = Tuned::balancing(false)?;
    let mut workload = Workload::start(&["pipes", "3", "--millis", "120000"])?;
    workload.go()?;
    let before = look(workload.pid, &[])?;
    let finding = found("cross-node-hops", &before)?;
    let command = run_its_command(&finding)?;
    ensure!(command.contains("taskset"), "{command}");
    let after = look(workload.pid, &[])?;
    gone("cross-node-hops", &after)?;
    ensure!(after.1["totals"]["node_moves"] == 0, "it still moves between nodes: {}", after.1["totals"]["node_moves"]);
    Ok(())
}
