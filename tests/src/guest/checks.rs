//! Checks that need no second node: attach, detach, counts, what doctor and the report say of the machine.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::live::{Done, Report, Tracer, Workload, bpf, equal_to_proc, numatrace, trace};

/// Switches and waits as the kernel counts them, all of them seen, and no record lost.
pub fn complete(done: &Done, report: &Report) -> Result<()> {
    equal_to_proc(done, report)?;
    ensure!(report.number("/totals/unseen_events")? == 0, "not everything was seen");
    ensure!(report.number("/loss/records_lost")? == 0, "records were lost: {}", report.0["loss"]);
    Ok(())
}

/// Three runs after one another, each seeing its target, none leaving anything.
pub fn attach() -> Result<()> {
    let before = bpf::programs()?;
    for _ in 0..3 {
        let (done, report) = trace(&["sleeper", "--seconds", "0"], &[])?;
        complete(&done, &report)?;
    }
    bpf::nothing_left(&before)
}

/// SIGKILL leaves no program.
pub fn nothing_left() -> Result<()> {
    let workload = Workload::start(&["sleeper", "--seconds", "600"])?;
    let before = bpf::programs()?;
    let mut tracer = Tracer::start(&["--pid", &workload.pid.to_string()])?;
    let held = bpf::held_by(tracer.pid())?;
    ensure!(!held.is_empty(), "it holds no programs: how would one see that they are gone?");
    tracer.signal(libc::SIGKILL)?;
    tracer.end_within(Duration::from_secs(60))?;
    bpf::nothing_left(&before)
}

/// `doctor` runs, and says of each of the scheduler's hooks whether it is on.
pub fn doctor() -> Result<()> {
    let text = numatrace(&["doctor"])?;
    ensure!(text.status.success(), "{}: {}", text.status, text.stderr);
    for hook in ["sched_switch", "sched_wakeup", "sched_wakeup_new", "sched_waking", "sched_migrate_task"] {
        ensure!(text.stdout.contains(hook), "{hook} is not in: {}", text.stdout);
    }
    let json = numatrace(&["doctor", "--format", "json"])?;
    ensure!(json.status.success(), "{}: {}", json.status, json.stderr);
    serde_json::from_str::<serde_json::Value>(&json.stdout).context("doctor's JSON")?;
    Ok(())
}

/// For checks that page touches have no part in: a kernel that is emulated takes seconds to verify the programs of those.
pub const WITHOUT_PAGES: [&str; 2] = ["--page-source", "off"];

/// Every child is there, has run, and is gone.
pub fn forks() -> Result<()> {
    const CHILDREN: usize = 20;
    let (done, report) = trace(&["forkstorm", &CHILDREN.to_string()], &WITHOUT_PAGES)?;
    let children: Vec<u32> = serde_json::from_value(done.facts["forker"]["children"].clone())?;
    ensure!(children.len() == CHILDREN);
    for child in children {
        let thread = report.thread(child)?;
        ensure!(thread.0["exited"] == true, "child {child} is gone but not said to be");
        ensure!(thread.number("/runq/wakeup/count")? >= 1, "child {child} has not waited once");
    }
    Ok(())
}

/// N waits a side.
pub fn ping_pong(flags: &[&str]) -> Result<()> {
    const ROUNDS: u64 = 300;
    let (done, report) = trace(&["pingpong", &ROUNDS.to_string(), "--cpu", "1"], flags)?;
    complete(&done, &report)?;
    ensure!(done.facts["exact"] == true, "a guest of ours has realtime scheduling: {}", done.facts);
    for side in ["a", "b"] {
        let waits = report.thread(done.threads[side].tid)?.number("/runq/wakeup/count")?;
        ensure!(waits == ROUNDS + 1, "{side}: {waits} waits in {ROUNDS} round trips and one gate");
    }
    Ok(())
}

/// Each sort of switch.
pub fn switches() -> Result<()> {
    let (done, report) = trace(&["switches", "--cpu", "1", "--millis", "1000"], &WITHOUT_PAGES)?;
    complete(&done, &report)
}

/// The report's host is the machine that QEMU was told to be.
pub fn topology_is(name: &str) -> Result<()> {
    let machine = xtask::vm::Topology::by_name(name)?;
    let (_, report) = trace(&["sleeper", "--seconds", "0"], &WITHOUT_PAGES)?;
    ensure!(report.number("/host/cpus")? == u64::from(machine.cpus), "cpus: {}", report.0["host"]["cpus"]);
    let nodes = report.0["host"]["nodes"].as_array().context("no nodes")?;
    ensure!(nodes.len() == machine.nodes.len(), "{} nodes", nodes.len());
    for (id, (ours, truth)) in nodes.iter().zip(machine.nodes).enumerate() {
        ensure!(ours["id"] == id, "node {id} is {ours}");
        let cpus: Vec<usize> = serde_json::from_value(ours["cpus"].clone())?;
        ensure!(cpus == crate::workload::os::cpu_list(truth.cpus), "node {id} has CPUs {cpus:?}");
        let memory = ours["memory_bytes"].as_u64().unwrap_or_default() >> 20;
        let most = u64::from(truth.memory_mib);
        // The kernel keeps some for itself.
        ensure!(memory <= most && memory * 2 > most, "node {id} has {memory} MiB of {most}");
    }
    let distances: Vec<Vec<u32>> = serde_json::from_value(report.0["host"]["distances"].clone())?;
    let all = 0..machine.nodes.len();
    let truth: Vec<Vec<u32>> =
        all.clone().map(|from| all.clone().map(|to| machine.distance(from, to)).collect()).collect();
    ensure!(distances == truth, "distances {distances:?}");
    Ok(())
}
