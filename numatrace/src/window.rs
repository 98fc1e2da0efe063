//! Numbers of a stretch of time, and of groups of threads: snapshots made of snapshots. Place in the flow: between a
//! snapshot and what shows it.
//!
//! Every number of a snapshot counts since the start, so the difference of two is what happened between them, also of
//! histograms. Two things are not exact, and say so: the largest wait of a stretch is the upper edge of its bucket
//! where it is not the largest since the start; wakers and culprits are the first few of longer lists, so one that
//! has just come onto the list brings all that it ever did.

use std::collections::{BTreeMap, HashMap};

use crate::snapshot::{
    Causes, Culprit, Latency, Matrices, Migrations, RunQueue, Snapshot, Switches, Thread, ThreadState, ThreadStats,
    Waker,
};
use crate::units::Tid;

/// What tells a thread from all others of a snapshot: its id, and which one it is among those that had the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ThreadKey {
    /// Thread id.
    pub tid: Tid,
    /// 0 for the first thread with this id, 1 for the second one.
    pub nth: u32,
}

/// Each thread with its key, in the order of the snapshot, where owners of one id follow each other.
pub fn keyed(threads: &[Thread]) -> impl Iterator<Item = (ThreadKey, &Thread)> {
    let mut last: Option<ThreadKey> = None;
    threads.iter().map(move |thread| {
        let nth = last.filter(|key| key.tid == thread.tid).map_or(0, |key| key.nth + 1);
        let key = ThreadKey { tid: thread.tid, nth };
        last = Some(key);
        (key, thread)
    })
}

/// What happened after `before` and up to `now`, two snapshots of one run. All threads of `now` stay, also those that
/// did nothing; loss and evicted threads stay those of the whole run.
pub fn since(now: &Snapshot, before: &Snapshot) -> Snapshot {
    let old: HashMap<ThreadKey, &ThreadStats> =
        keyed(&before.threads).map(|(key, thread)| (key, &thread.stats)).collect();
    let threads = keyed(&now.threads)
        .map(|(key, thread)| match old.get(&key) {
            Some(old) => Thread { stats: stats_since(&thread.stats, old), ..thread.clone() },
            None => thread.clone(),
        })
        .collect();
    Snapshot {
        duration_ns: now.duration_ns.saturating_sub(before.duration_ns),
        totals: stats_since(&now.totals, &before.totals),
        threads,
        matrices: Matrices {
            migrations: matrix_since(&now.matrices.migrations, &before.matrices.migrations),
            page_touches: None,
        },
        tool: now.tool.clone(),
        host: now.host.clone(),
        target: now.target.clone(),
        start: now.start.clone(),
        sources: now.sources.clone(),
        loss: now.loss.clone(),
        placement_pages: now.placement_pages.clone(),
        throttle: now.throttle.clone(),
        findings: now.findings.clone(),
        schema: now.schema,
        dropped_threads: now.dropped_threads,
        refused_threads: now.refused_threads,
    }
}

fn stats_since(now: &ThreadStats, before: &ThreadStats) -> ThreadStats {
    let less = u64::saturating_sub;
    ThreadStats {
        cpu_ns: less(now.cpu_ns, before.cpu_ns),
        wait_ns: less(now.wait_ns, before.wait_ns),
        blocked_ns: less(now.blocked_ns, before.blocked_ns),
        waiting_now_ns: now.waiting_now_ns,
        switches: Switches {
            voluntary: less(now.switches.voluntary, before.switches.voluntary),
            involuntary: less(now.switches.involuntary, before.switches.involuntary),
        },
        unseen_events: less(now.unseen_events, before.unseen_events),
        runq: RunQueue {
            wakeup: latency_since(&now.runq.wakeup, &before.runq.wakeup),
            preempted: latency_since(&now.runq.preempted, &before.runq.preempted),
            all: latency_since(&now.runq.all, &before.runq.all),
        },
        migrations: migrations_since(&now.migrations, &before.migrations),
        wakers: wakers_since(&now.wakers, &before.wakers),
        node_moves: less(now.node_moves, before.node_moves),
        residency_ns: list_since(&now.residency_ns, &before.residency_ns),
        residency_cpu_ns: by_cpu_since(&now.residency_cpu_ns, &before.residency_cpu_ns),
        waited_behind: culprits_since(&now.waited_behind, &before.waited_behind),
        ..ThreadStats::default()
    }
}

/// The waits that came after `before`; percentiles from the buckets.
pub fn latency_since(now: &Latency, before: &Latency) -> Latency {
    // Both are in order of their edges; an edge that is new was empty before.
    let old: HashMap<u64, u64> = before.buckets.iter().copied().collect();
    let buckets: Vec<(u64, u64)> = now
        .buckets
        .iter()
        .map(|(edge, count)| (*edge, count.saturating_sub(old.get(edge).copied().unwrap_or(0))))
        .filter(|(_, count)| *count > 0)
        .collect();
    let max_ns = match buckets.last() {
        Some(_) if now.max_ns > before.max_ns => now.max_ns,
        Some((edge, _)) => (*edge).min(now.max_ns),
        None => 0,
    };
    let count = now.count.saturating_sub(before.count);
    with_percentiles(Latency {
        count,
        total_ns: now.total_ns.saturating_sub(before.total_ns),
        max_ns,
        buckets,
        ..Latency::default()
    })
}

/// Fills in the percentiles from the buckets: the upper edge of the bucket in which each lies, as in the model.
fn with_percentiles(mut latency: Latency) -> Latency {
    let recorded: u64 = latency.buckets.iter().map(|(_, count)| count).sum();
    let at = |share: f64| {
        let rank = ((recorded as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let found = latency.buckets.iter().find(|(_, count)| {
            seen += count;
            seen >= rank
        });
        found.map_or(0, |(edge, _)| (*edge).min(latency.max_ns))
    };
    let [p50_ns, p90_ns, p99_ns, p999_ns] = [0.5, 0.9, 0.99, 0.999].map(at);
    (latency.p50_ns, latency.p90_ns, latency.p99_ns, latency.p999_ns) = (p50_ns, p90_ns, p99_ns, p999_ns);
    latency
}

fn migrations_since(now: &Migrations, before: &Migrations) -> Migrations {
    let less = u64::saturating_sub;
    let (new, old) = (&now.causes, &before.causes);
    Migrations {
        smt: less(now.smt, before.smt),
        llc: less(now.llc, before.llc),
        node: less(now.node, before.node),
        cross_node: less(now.cross_node, before.cross_node),
        unclassified: less(now.unclassified, before.unclassified),
        causes: Causes {
            wakeup: less(new.wakeup, old.wakeup),
            load_balance: less(new.load_balance, old.load_balance),
            active_balance_or_affinity: less(new.active_balance_or_affinity, old.active_balance_or_affinity),
            numa_balancing: less(new.numa_balancing, old.numa_balancing),
            hotplug: less(new.hotplug, old.hotplug),
            other: less(new.other, old.other),
        },
    }
}

fn wakers_since(now: &[Waker], before: &[Waker]) -> Vec<Waker> {
    let mut wakers: Vec<Waker> = now
        .iter()
        .map(|waker| {
            let old = before.iter().find(|old| old.tid == waker.tid).map_or(0, |old| old.count);
            Waker { count: waker.count.saturating_sub(old), ..waker.clone() }
        })
        .filter(|waker| waker.count > 0)
        .collect();
    wakers.sort_by_key(|waker| (std::cmp::Reverse(waker.count), waker.tid));
    wakers
}

fn culprits_since(now: &[Culprit], before: &[Culprit]) -> Vec<Culprit> {
    let mut culprits: Vec<Culprit> = now
        .iter()
        .map(|culprit| {
            let old = before.iter().find(|old| old.tid == culprit.tid);
            let (total_ns, count) = old.map_or((0, 0), |old| (old.total_ns, old.count));
            Culprit {
                total_ns: culprit.total_ns.saturating_sub(total_ns),
                count: culprit.count.saturating_sub(count),
                ..culprit.clone()
            }
        })
        .filter(|culprit| culprit.count > 0)
        .collect();
    culprits.sort_by_key(|culprit| (std::cmp::Reverse(culprit.total_ns), culprit.tid));
    culprits
}

fn list_since(now: &[u64], before: &[u64]) -> Vec<u64> {
    let old = before.iter().copied().chain(std::iter::repeat(0));
    now.iter().zip(old).map(|(now, old)| now.saturating_sub(old)).collect()
}

fn by_cpu_since(now: &[(u32, u64)], before: &[(u32, u64)]) -> Vec<(u32, u64)> {
    let old: HashMap<u32, u64> = before.iter().copied().collect();
    let spent = now.iter().map(|(cpu, ns)| (*cpu, ns.saturating_sub(old.get(cpu).copied().unwrap_or(0))));
    spent.filter(|(_, ns)| *ns > 0).collect()
}

fn matrix_since(now: &[Vec<u64>], before: &[Vec<u64>]) -> Vec<Vec<u64>> {
    let nothing = Vec::new();
    let old = before.iter().chain(std::iter::repeat(&nothing));
    now.iter().zip(old).map(|(now, old)| list_since(now, old)).collect()
}

/// Threads with the same name as one, in place of themselves: sums, the longest open wait, and the id of the first
/// of them. How many each stands for is in `Thread::members`.
pub fn by_name(snapshot: &Snapshot) -> Snapshot {
    let mut groups: BTreeMap<&str, Vec<&Thread>> = BTreeMap::new();
    for thread in &snapshot.threads {
        groups.entry(&thread.comm).or_default().push(thread);
    }
    let mut threads: Vec<Thread> = groups.into_values().filter_map(|members| group(&members)).collect();
    threads.sort_by_key(|thread| thread.tid);
    Snapshot { threads, ..snapshot.clone() }
}

fn group(members: &[&Thread]) -> Option<Thread> {
    let first = *members.first()?;
    let mut sum = Thread {
        members: members.len() as u32,
        sched: None,
        track: Vec::new(),
        cpu: None,
        ns_pid: None,
        exited: members.iter().all(|thread| thread.exited),
        state: members.iter().map(|thread| thread.state).min_by_key(|state| busyness(*state)).unwrap_or_default(),
        ..first.clone()
    };
    for thread in &members[1..] {
        add(&mut sum.stats, &thread.stats);
    }
    let runq = &mut sum.stats.runq;
    for latency in [&mut runq.wakeup, &mut runq.preempted, &mut runq.all] {
        if members.len() > 1 {
            *latency = with_percentiles(std::mem::take(latency));
        }
    }
    sum.stats.wakers.truncate(crate::snapshot::MAX_WAKERS);
    sum.stats.waited_behind.truncate(crate::snapshot::MAX_CULPRITS);
    Some(sum)
}

/// A group does what the member does that needs a CPU most.
const fn busyness(state: ThreadState) -> u8 {
    match state {
        ThreadState::Waiting => 0,
        ThreadState::Running => 1,
        ThreadState::Blocked => 2,
        ThreadState::Unknown => 3,
        ThreadState::Exited => 4,
    }
}

fn add(sum: &mut ThreadStats, part: &ThreadStats) {
    sum.cpu_ns += part.cpu_ns;
    sum.wait_ns += part.wait_ns;
    sum.blocked_ns += part.blocked_ns;
    sum.waiting_now_ns = sum.waiting_now_ns.max(part.waiting_now_ns);
    sum.switches.voluntary += part.switches.voluntary;
    sum.switches.involuntary += part.switches.involuntary;
    sum.unseen_events += part.unseen_events;
    add_latency(&mut sum.runq.wakeup, &part.runq.wakeup);
    add_latency(&mut sum.runq.preempted, &part.runq.preempted);
    add_latency(&mut sum.runq.all, &part.runq.all);
    add_migrations(&mut sum.migrations, &part.migrations);
    sum.node_moves += part.node_moves;
    for (sum, ns) in sum.residency_ns.iter_mut().zip(&part.residency_ns) {
        *sum += ns;
    }
    let mut by_cpu: BTreeMap<u32, u64> = sum.residency_cpu_ns.iter().copied().collect();
    part.residency_cpu_ns.iter().for_each(|(cpu, ns)| *by_cpu.entry(*cpu).or_default() += ns);
    sum.residency_cpu_ns = by_cpu.into_iter().collect();
    for waker in &part.wakers {
        match sum.wakers.iter_mut().find(|known| known.tid == waker.tid) {
            Some(known) => known.count += waker.count,
            None => sum.wakers.push(waker.clone()),
        }
    }
    sum.wakers.sort_by_key(|waker| (std::cmp::Reverse(waker.count), waker.tid));
    for culprit in &part.waited_behind {
        match sum.waited_behind.iter_mut().find(|known| known.tid == culprit.tid) {
            Some(known) => {
                known.total_ns += culprit.total_ns;
                known.count += culprit.count;
            }
            None => sum.waited_behind.push(culprit.clone()),
        }
    }
    sum.waited_behind.sort_by_key(|culprit| (std::cmp::Reverse(culprit.total_ns), culprit.tid));
}

fn add_latency(sum: &mut Latency, part: &Latency) {
    sum.count += part.count;
    sum.total_ns += part.total_ns;
    sum.max_ns = sum.max_ns.max(part.max_ns);
    let mut buckets: BTreeMap<u64, u64> = sum.buckets.iter().copied().collect();
    part.buckets.iter().for_each(|(edge, count)| *buckets.entry(*edge).or_default() += count);
    sum.buckets = buckets.into_iter().collect();
}

fn add_migrations(sum: &mut Migrations, part: &Migrations) {
    sum.smt += part.smt;
    sum.llc += part.llc;
    sum.node += part.node;
    sum.cross_node += part.cross_node;
    sum.unclassified += part.unclassified;
    let (sum, part) = (&mut sum.causes, &part.causes);
    sum.wakeup += part.wakeup;
    sum.load_balance += part.load_balance;
    sum.active_balance_or_affinity += part.active_balance_or_affinity;
    sum.numa_balancing += part.numa_balancing;
    sum.hotplug += part.hotplug;
    sum.other += part.other;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latency(buckets: &[(u64, u64)], max_ns: u64) -> Latency {
        let count = buckets.iter().map(|(_, count)| count).sum();
        let total_ns = buckets.iter().map(|(edge, count)| edge * count).sum();
        with_percentiles(Latency { count, total_ns, max_ns, buckets: buckets.to_vec(), ..Latency::default() })
    }

    #[test]
    fn the_waits_of_a_stretch_are_those_that_the_histogram_gained() {
        let before = latency(&[(10, 90), (1_000, 10)], 990);
        let now = latency(&[(10, 90), (100, 6), (1_000, 14)], 990);
        let between = latency_since(&now, &before);
        assert_eq!(between.buckets, [(100, 6), (1_000, 4)]);
        assert_eq!((between.count, between.p50_ns, between.p99_ns, between.max_ns), (10, 100, 990, 990));
        // A new largest one is known exactly.
        assert_eq!(latency_since(&latency(&[(10, 90), (1_000, 11)], 999), &before).max_ns, 999);
        // Nothing happened.
        let nothing = latency_since(&now, &now);
        assert_eq!((nothing.count, nothing.p99_ns, nothing.max_ns, nothing.buckets.len()), (0, 0, 0, 0));
    }

    #[test]
    fn wakers_and_culprits_are_those_of_the_stretch_in_order() {
        let waker = |tid, count| Waker { tid: Tid(tid), comm: String::new(), count };
        let now = [waker(1, 50), waker(2, 40), waker(3, 7)];
        assert_eq!(wakers_since(&now, &[waker(1, 49), waker(2, 10), waker(3, 7)]), [waker(2, 30), waker(1, 1)]);
        let culprit = |tid, total_ns, count| Culprit { tid: Tid(tid), comm: String::new(), total_ns, count };
        let spent = culprits_since(&[culprit(1, 900, 9), culprit(2, 800, 8)], &[culprit(1, 890, 8)]);
        assert_eq!(spent, [culprit(2, 800, 8), culprit(1, 10, 1)]);
    }

    #[test]
    fn threads_of_one_name_are_one() {
        let thread = |tid, comm: &str, state, latency| Thread {
            tid: Tid(tid),
            comm: comm.into(),
            state,
            stats: ThreadStats {
                cpu_ns: 10,
                residency_ns: vec![4, 6],
                residency_cpu_ns: vec![(tid % 2, 10)],
                runq: RunQueue { all: latency, ..RunQueue::default() },
                ..ThreadStats::default()
            },
            ..Thread::default()
        };
        let group = group(&[
            &thread(7, "io", ThreadState::Blocked, latency(&[(10, 99)], 10)),
            &thread(8, "io", ThreadState::Waiting, latency(&[(1_000, 1)], 900)),
        ]);
        let group = group.expect("two members");
        assert_eq!((group.tid, group.members, group.state), (Tid(7), 2, ThreadState::Waiting));
        assert_eq!((group.stats.cpu_ns, &group.stats.residency_ns), (20, &vec![8, 12]));
        assert_eq!(group.stats.residency_cpu_ns, [(0, 10), (1, 10)]);
        let all = &group.stats.runq.all;
        assert_eq!((all.count, all.p50_ns, all.p99_ns, all.p999_ns, all.max_ns), (100, 10, 10, 900, 900));
    }
}
