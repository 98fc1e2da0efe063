//! Numbers that must be exact: waits, switches, migrations.

use anyhow::{Result, ensure};
use numatrace_tests::live::{equal_to_proc, trace, within};

use crate::{Case, busy_cpu, two_cpus};

pub const CASES: &[Case] = &[
    ("ping_pong_of_n_round_trips_is_n_waits_a_side", ping_pong),
    ("ping_pong_by_raw_tracepoints", ping_pong_raw),
    ("ping_pong_between_two_cpus_has_a_wait_for_each_sleep", ping_pong_apart),
    ("k_hops_are_k_migrations", hops),
    ("k_hops_by_raw_tracepoints", hops_raw),
    ("switches_equal_those_of_proc", switches),
    ("time_on_cpu_equals_schedstat", cpu_time),
    ("totals_are_the_sum_of_threads", totals),
];

fn check_ping_pong(flags: &[&str]) -> Result<()> {
    const ROUNDS: u64 = 5_000;
    let cpu = busy_cpu()?;
    let (done, report) = trace(&["pingpong", &ROUNDS.to_string(), "--cpu", &cpu], flags)?;
    equal_to_proc(&done, &report)?;
    for (side, other) in [("a", "b"), ("b", "a")] {
        let thread = report.thread(done.threads[side].tid)?;
        let waits = thread.number("/runq/wakeup/count")?;
        // One more than round trips: the gate before the counted part. Where the machine has no realtime for us a
        // preemption can save a sleep; the comparison with /proc has told the exact number then.
        if done.facts["exact"] == true {
            thread.counts("waits", waits, ROUNDS + 1)?;
            let by_other = thread.0["wakers"].as_array().into_iter().flatten();
            let by_other =
                by_other.filter(|waker| waker["tid"] == done.threads[other].tid).map(|waker| &waker["count"]);
            let by_other: Vec<_> = by_other.collect();
            ensure!(by_other == [&ROUNDS], "{side}: woken {by_other:?} times by {other}: {}", thread.0["wakers"]);
        }
    }
    ensure!(report.number("/loss/records_lost")? == 0, "records were lost: {}", report.0["loss"]);
    Ok(())
}

fn ping_pong() -> Result<()> {
    check_ping_pong(&[])
}

fn ping_pong_raw() -> Result<()> {
    check_ping_pong(&["--hooks", "raw_tp"])
}

fn ping_pong_apart() -> Result<()> {
    let Some(cpus) = two_cpus()? else { return Ok(()) };
    let (a, b) = cpus.split_once(',').unwrap_or_default();
    let (done, report) = trace(&["pingpong", "3000", "--cpu", a, "--cpu-b", b], &[])?;
    equal_to_proc(&done, &report)?;
    for side in ["a", "b"] {
        let facts = &done.threads[side];
        let sleeps = facts.after.since(&facts.before).voluntary;
        let waits = report.thread(facts.tid)?.number("/runq/wakeup/count")?;
        // Wakeups that come before the sleeper has left its CPU are none.
        ensure!(waits <= sleeps, "{side}: {waits} waits after wakeups, but {sleeps} sleeps");
    }
    Ok(())
}

fn check_hops(flags: &[&str]) -> Result<()> {
    const HOPS: u64 = 501;
    let Some(cpus) = two_cpus()? else { return Ok(()) };
    let (done, report) = trace(&["hops", &HOPS.to_string(), "--cpus", &cpus], flags)?;
    equal_to_proc(&done, &report)?;
    let hopper = report.thread(done.threads["hopper"].tid)?;
    ensure!(hopper.migrations()? == HOPS, "{} migrations in {HOPS} hops", hopper.0["migrations"]);
    hopper.caused_by_affinity(HOPS)?;
    let matrix: u64 = report.migration_matrix()?.iter().flatten().sum();
    let total: u64 = ["smt", "llc", "node", "cross_node"]
        .iter()
        .map(|level| report.number(&format!("/totals/migrations/{level}")))
        .sum::<Result<u64>>()?;
    ensure!(matrix == total, "the matrix holds {matrix} of {total} migrations");
    Ok(())
}

fn hops() -> Result<()> {
    check_hops(&[])
}

fn hops_raw() -> Result<()> {
    check_hops(&["--hooks", "raw_tp"])
}

fn switches() -> Result<()> {
    let cpu = busy_cpu()?;
    let (done, report) = trace(&["switches", "--cpu", &cpu, "--millis", "1500"], &[])?;
    equal_to_proc(&done, &report)?;
    let sleeps = done.facts["sleeper"]["sleeps"].as_u64().unwrap_or_default();
    let waits = report.thread(done.threads["sleeper"].tid)?.number("/runq/wakeup/count")?;
    // Each sleep and the gate; but a sleeper that is preempted on its way to sleep and woken meanwhile has not slept.
    ensure!(waits <= sleeps + 1, "{waits} waits after wakeups in {sleeps} sleeps and one gate");
    within(0.02, "waits of the sleeper after wakeups", waits, sleeps + 1)
}

fn cpu_time() -> Result<()> {
    let cpu = busy_cpu()?;
    let (done, report) = trace(&["hogs", "2", "--cpu", &cpu, "--millis", "1500"], &[])?;
    for (name, facts) in &done.threads {
        let thread = report.thread(facts.tid)?;
        // Kernels leave out of schedstat what interrupts and, in a virtual machine, the host took.
        within(0.1, &format!("{name}: cpu_ns"), thread.number("/cpu_ns")?, facts.after.since(&facts.before).cpu_ns)?;
        // Blocked at the end, so no turn is open, and the residency is all of it.
        let residency: u64 = thread.residency()?.iter().sum();
        ensure!(residency == thread.number("/cpu_ns")?, "{name}: residency {residency} of {}", thread.0["cpu_ns"]);
    }
    Ok(())
}

fn totals() -> Result<()> {
    let cpu = busy_cpu()?;
    let (_, report) = trace(&["switches", "--cpu", &cpu, "--millis", "500"], &[])?;
    for field in [
        "/cpu_ns",
        "/switches/voluntary",
        "/switches/involuntary",
        "/runq/all/count",
        "/runq/wakeup/total_ns",
        "/node_moves",
    ] {
        let sum = report.threads().map(|thread| thread.number(field)).sum::<Result<u64>>()?;
        let total = report.number(&format!("/totals{field}"))?;
        ensure!(sum == total, "{field}: threads have {sum}, totals {total}");
    }
    Ok(())
}
