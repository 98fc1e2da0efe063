//! What holds at every tick of every scenario, whatever happened.

use std::collections::HashMap;

use numatrace::snapshot::{Latency, Snapshot, ThreadStats};

use crate::file::Machine;

pub fn check(snapshot: &Snapshot, before: Option<&Snapshot>, machine: &Machine, wrong: &mut Vec<String>) {
    let at = snapshot.duration_ns;
    let mut fail = |what: String| wrong.push(format!("at {at}, invariant: {what}"));
    let loss = &snapshot.loss;
    let reasons = loss.by_reason;
    if loss.records_lost != reasons.ring_full + reasons.no_ring + reasons.undecodable
        || loss.records_lost != loss.intervals.iter().map(|interval| interval.lost).sum::<u64>()
    {
        fail(format!("{loss:?} does not add up"));
    }
    // Records that are still in a ring are neither here nor lost.
    let whole = loss.records_lost == 0 && loss.records_received == loss.records_wanted;
    for thread in &snapshot.threads {
        for problem in numbers(&thread.stats, whole) {
            fail(format!("thread {}: {problem}", thread.tid));
        }
    }
    // Finer histograms, same rules.
    for problem in numbers(&snapshot.totals, whole) {
        fail(format!("totals: {problem}"));
    }
    if snapshot.dropped_threads == 0 {
        sums(snapshot, &mut fail);
    }
    let in_matrix: u64 = snapshot.matrices.migrations.iter().flatten().sum();
    let moved = snapshot.totals.migrations;
    if snapshot.dropped_threads == 0 && in_matrix != moved.total() - moved.unclassified {
        fail(format!("{in_matrix} migrations in the matrix, {moved:?} in all"));
    }
    if snapshot.host.nodes.len() != machine.topology().nodes.len() {
        fail("a node is missing".into());
    }
    if let Some(before) = before
        && whole
    {
        forward(before, snapshot, &mut fail);
    }
}

fn numbers(stats: &ThreadStats, whole: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    let migrations = stats.migrations;
    let causes = migrations.causes;
    let by_cause = causes.wakeup
        + causes.load_balance
        + causes.active_balance_or_affinity
        + causes.numa_balancing
        + causes.hotplug
        + causes.other;
    if by_cause != migrations.total() - migrations.unclassified {
        wrong.push(format!("levels and causes differ: {migrations:?}"));
    }
    let runq = &stats.runq;
    let parts = (runq.wakeup.count + runq.preempted.count, runq.wakeup.total_ns + runq.preempted.total_ns);
    // Under loss the totals have the kernel's own sums, with the waits of threads that are missing.
    let all = (runq.all.count, runq.all.total_ns);
    if (whole && all != parts) || all.0 < parts.0 || all.1 < parts.1 {
        wrong.push(format!("both parts are not all: {runq:?}"));
    }
    let attributed: u64 = stats.waited_behind.iter().map(|culprit| culprit.total_ns).sum();
    if attributed > runq.all.total_ns {
        wrong.push(format!("{attributed} ns are attributed, {} were waited", runq.all.total_ns));
    }
    if let Some(behind) = stats.behind
        && behind.own_ns + behind.others_ns < attributed
    {
        wrong.push(format!("{behind:?} is less than the {attributed} ns of the heaviest"));
    }
    // A share of a received turn is known to a 63rd of its wait, until the kernel's sum comes.
    if let (Some(throttled), Some(behind)) = (stats.throttled_wait_ns, stats.behind)
        && throttled + behind.own_ns + behind.others_ns > stats.wait_ns + stats.wait_ns / 63 + 63
    {
        wrong.push(format!("{throttled} ns throttled and {behind:?} are more than the {} ns waited", stats.wait_ns));
    }
    for latency in [&runq.wakeup, &runq.preempted, &runq.all] {
        let rising = [latency.p50_ns, latency.p90_ns, latency.p99_ns, latency.p999_ns, latency.max_ns];
        if !rising.is_sorted() {
            wrong.push(format!("percentiles do not rise: {rising:?}"));
        }
        if whole && recorded(latency) != latency.count {
            wrong.push(format!("{} waits, {} in the histogram", latency.count, recorded(latency)));
        }
        if recorded(latency) > latency.count {
            wrong.push(format!("{} waits in the histogram, only {} counted", recorded(latency), latency.count));
        }
    }
    let by_cpu: u64 = stats.residency_cpu_ns.iter().map(|(_, ns)| ns).sum();
    let by_node: u64 = stats.residency_ns.iter().sum();
    if by_cpu != by_node || by_cpu > stats.cpu_ns || (whole && by_cpu != stats.cpu_ns) {
        wrong.push(format!("cpu_ns {}, by CPU {by_cpu}, by node {by_node}", stats.cpu_ns));
    }
    wrong
}

fn recorded(latency: &Latency) -> u64 {
    latency.buckets.iter().map(|(_, count)| count).sum()
}

fn sums(snapshot: &Snapshot, fail: &mut impl FnMut(String)) {
    type Field = (&'static str, fn(&ThreadStats) -> u64);
    let fields: [Field; 10] = [
        ("cpu_ns", |s| s.cpu_ns),
        ("wait_ns", |s| s.wait_ns),
        ("blocked_ns", |s| s.blocked_ns),
        ("voluntary", |s| s.switches.voluntary),
        ("involuntary", |s| s.switches.involuntary),
        ("wakeup count", |s| s.runq.wakeup.count),
        ("preempted total", |s| s.runq.preempted.total_ns),
        ("migrations", |s| s.migrations.total()),
        ("node moves", |s| s.node_moves),
        ("residency", |s| s.residency_ns.iter().sum()),
    ];
    for (name, field) in fields {
        let sum: u64 = snapshot.threads.iter().map(|thread| field(&thread.stats)).sum();
        if sum != field(&snapshot.totals) {
            fail(format!("{name} of all threads is {sum}, in totals {}", field(&snapshot.totals)));
        }
    }
}

/// Nothing that only grows goes back while nothing is lost.
fn forward(before: &Snapshot, now: &Snapshot, fail: &mut impl FnMut(String)) {
    type Growing = [u64; 6];
    let growing = |s: &ThreadStats| -> Growing {
        [s.cpu_ns, s.wait_ns, s.blocked_ns, s.runq.all.count, s.migrations.total(), s.switches.voluntary]
    };
    let mut earlier: HashMap<(u32, usize), Growing> = HashMap::new();
    let mut nth: HashMap<u32, usize> = HashMap::new();
    for thread in &before.threads {
        let nth = nth.entry(thread.tid.0).or_default();
        earlier.insert((thread.tid.0, *nth), growing(&thread.stats));
        *nth += 1;
    }
    if now.dropped_threads == before.dropped_threads {
        nth.clear();
        for thread in &now.threads {
            let nth = nth.entry(thread.tid.0).or_default();
            let after = growing(&thread.stats);
            if earlier.get(&(thread.tid.0, *nth)).is_some_and(|was| was.iter().zip(after).any(|(a, b)| *a > b)) {
                fail(format!("thread {} went back: {earlier:?} -> {after:?}", thread.tid));
            }
            *nth += 1;
        }
    }
    if growing(&before.totals).iter().zip(growing(&now.totals)).any(|(a, b)| *a > b) {
        fail("totals went back".into());
    }
}
