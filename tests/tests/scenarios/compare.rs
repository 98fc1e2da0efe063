//! Holds a snapshot against what a scenario expects of it.

use std::fmt::Debug;

use numatrace::snapshot::{Latency, Loss, Migrations, Snapshot, Thread, ThreadState, ThreadStats, Waited};

use crate::file::{Expect, LossNumbers, MigrationNumbers, Numbers, Waits};

struct Wrong<'a> {
    place: String,
    list: &'a mut Vec<String>,
}

impl Wrong<'_> {
    /// Compares where something is expected.
    fn same<T: PartialEq + Debug>(&mut self, what: &str, actual: &T, expected: Option<&T>) {
        if let Some(expected) = expected
            && actual != expected
        {
            self.list.push(format!("{}: {what} is {actual:?}, expected {expected:?}", self.place));
        }
    }
}

pub fn check(expect: &Expect, snapshot: &Snapshot, late: u64, undecodable: u64, wrong: &mut Vec<String>) {
    let mut here = Wrong { place: format!("at {}", expect.at), list: wrong };
    here.same("start", &snapshot.start, expect.start.as_ref());
    here.same("number of threads", &snapshot.threads.len(), expect.threads.as_ref());
    here.same("dropped_threads", &snapshot.dropped_threads, expect.dropped_threads.as_ref());
    here.same("late", &late, expect.late.as_ref());
    here.same("migration matrix", &snapshot.matrices.migrations, expect.matrix.as_ref());
    if let Some(expected) = &expect.loss {
        loss(&mut here, &snapshot.loss, expected, undecodable);
    }
    if let Some(expected) = &expect.totals {
        here.place = format!("at {}, totals", expect.at);
        numbers(&mut here, &snapshot.totals, expected);
    }
    for expected in &expect.thread {
        here.place = format!("at {}, thread {} ({})", expect.at, expected.tid, expected.nth);
        match snapshot.threads.iter().filter(|thread| thread.tid.0 == expected.tid).nth(expected.nth) {
            Some(actual) => thread(&mut here, actual, expected),
            None => here.list.push(format!("{}: not there", here.place)),
        }
    }
}

fn thread(here: &mut Wrong<'_>, actual: &Thread, expected: &Numbers) {
    let state = match actual.state {
        ThreadState::Unknown => "unknown",
        ThreadState::Running => "running",
        ThreadState::Waiting => "waiting",
        ThreadState::Blocked => "blocked",
        ThreadState::Exited => "exited",
    };
    here.same("state", &state.to_owned(), expected.state.as_ref());
    here.same("pid", &actual.pid.0, expected.pid.as_ref());
    here.same("comm", &actual.comm.to_string(), expected.comm.as_ref());
    here.same("exited", &actual.exited, expected.exited.as_ref());
    here.same("cpu", &actual.cpu, expected.cpu.map(Some).as_ref());
    numbers(here, &actual.stats, expected);
}

fn numbers(here: &mut Wrong<'_>, actual: &ThreadStats, expected: &Numbers) {
    here.same("cpu_ns", &actual.cpu_ns, expected.cpu_ns.as_ref());
    here.same("wait_ns", &actual.wait_ns, expected.wait_ns.as_ref());
    here.same("blocked_ns", &actual.blocked_ns, expected.blocked_ns.as_ref());
    let lifetime = actual.cpu_ns + actual.wait_ns + actual.blocked_ns;
    here.same("lifetime", &lifetime, expected.lifetime_ns.as_ref());
    here.same("waiting_now_ns", &actual.waiting_now_ns, expected.waiting_now_ns.map(Some).as_ref());
    here.same("waiting", &actual.waiting_now_ns.is_some(), expected.waiting.as_ref());
    here.same("voluntary", &actual.switches.voluntary, expected.voluntary.as_ref());
    here.same("involuntary", &actual.switches.involuntary, expected.involuntary.as_ref());
    waits_of(here, "wakeup", &actual.runq.wakeup, expected.wakeup.as_ref());
    waits_of(here, "preempted", &actual.runq.preempted, expected.preempted.as_ref());
    waits_of(here, "all", &actual.runq.all, expected.all.as_ref());
    if let Some(expected) = &expected.migrations {
        migrations(here, &actual.migrations, expected);
    }
    here.same("node_moves", &actual.node_moves, expected.node_moves.as_ref());
    here.same("residency_ns", &actual.residency_ns, expected.residency_ns.as_ref());
    here.same("residency by CPU", &actual.residency_cpu_ns.iter().collect(), expected.residency_cpu.as_ref());
    let wakers = actual.wakers.iter().map(|waker| (waker.tid.0, waker.count)).collect();
    here.same("wakers", &wakers, expected.wakers.as_ref());
    let names = actual.wakers.iter().map(|waker| waker.comm.to_string()).collect();
    here.same("waker names", &names, expected.waker_names.as_ref());
    let behind = actual.waited_behind.iter().map(|c| (c.tid.0, c.total_ns, c.count)).collect();
    here.same("waited_behind", &behind, expected.waited_behind.as_ref());
    here.same("throttled_wait_ns", &actual.throttled_wait_ns, expected.throttled_wait_ns.map(Some).as_ref());
    let behind = actual.behind.map(|behind| (behind.own_ns, behind.others_ns));
    here.same("behind", &behind, expected.behind.map(Some).as_ref());
    let waits = |waits: Waited| (waits.count, waits.total_ns);
    let by = actual.preempted_by.map(|by| (waits(by.own), waits(by.others)));
    here.same("preempted_by", &by, expected.preempted_by.map(Some).as_ref());
    if let Some(unthrottled) = &actual.runq.unthrottled {
        waits_of(here, "unthrottled", unthrottled, expected.unthrottled.as_ref());
    }
}

fn waits_of(here: &mut Wrong<'_>, kind: &str, actual: &Latency, expected: Option<&Waits>) {
    let Some(expected) = expected else { return };
    here.same(&format!("{kind} count"), &actual.count, expected.count.as_ref());
    here.same(&format!("{kind} total_ns"), &actual.total_ns, expected.total_ns.as_ref());
    here.same(&format!("{kind} max_ns"), &actual.max_ns, expected.max_ns.as_ref());
    let recorded = actual.buckets.iter().map(|(_, count)| count).sum();
    here.same(&format!("{kind} recorded"), &recorded, expected.recorded.as_ref());
    for (name, actual, expected) in
        [("p50_ns", actual.p50_ns, expected.p50_ns), ("p99_ns", actual.p99_ns, expected.p99_ns)]
    {
        if let Some(expected) = expected
            && !(expected..=expected + (expected / 14).max(1024)).contains(&actual)
        {
            here.list.push(format!("{}: {kind} {name} is {actual}, expected about {expected}", here.place));
        }
    }
}

fn migrations(here: &mut Wrong<'_>, actual: &Migrations, expected: &MigrationNumbers) {
    let levels = |m: &MigrationNumbers| [m.smt, m.llc, m.node, m.cross_node, m.unclassified];
    let actual_levels = [actual.smt, actual.llc, actual.node, actual.cross_node, actual.unclassified];
    here.same("[smt, llc, node, cross-node, unclassified]", &actual_levels, Some(&levels(expected)));
    let causes = &actual.causes;
    let actual_causes = [
        causes.wakeup,
        causes.load_balance,
        causes.active_balance_or_affinity,
        causes.numa_balancing,
        causes.hotplug,
        causes.other,
    ];
    let expected_causes = [
        expected.wakeup,
        expected.load_balance,
        expected.active_balance_or_affinity,
        expected.numa_balancing,
        expected.hotplug,
        expected.other,
    ];
    here.same("causes", &actual_causes, Some(&expected_causes));
}

fn loss(here: &mut Wrong<'_>, actual: &Loss, expected: &LossNumbers, undecodable: u64) {
    let lost = expected.ring_full + expected.no_ring + expected.undecodable;
    here.same("records wanted", &actual.records_wanted, Some(&expected.wanted));
    here.same("records received", &actual.records_received, Some(&expected.received));
    here.same("records lost", &actual.records_lost, Some(&lost));
    here.same("lost: ring full", &actual.by_reason.ring_full, Some(&expected.ring_full));
    here.same("lost: no ring", &actual.by_reason.no_ring, Some(&expected.no_ring));
    here.same("lost: undecodable", &actual.by_reason.undecodable, Some(&expected.undecodable));
    here.same("undecodable pieces", &undecodable, Some(&expected.undecodable));
    let intervals = actual.intervals.iter().map(|i| (i.start_ns, i.end_ns, i.lost)).collect();
    here.same("loss intervals", &intervals, Some(&expected.intervals));
}
