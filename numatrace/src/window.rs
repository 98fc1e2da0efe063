//! Numbers of a stretch of time: the difference of two snapshots, which is a snapshot again. Place in the flow: between a
//! snapshot and what shows it.
//!
//! Every number of a snapshot counts since the start, so the difference of two is what happened between them, also of
//! histograms. Two things are not exact, and say so: the largest wait of a stretch is the upper edge of its bucket
//! where it is not the largest since the start; wakers, culprits and locations of page touches are the first few of longer
//! lists, so of one that has just come onto a full list only what it did for certain is counted.

mod groups;
mod packed;
mod quota;
mod select;
mod stretch;
mod touches;

use std::collections::HashMap;

pub use self::groups::{group, grouped};
pub use self::packed::Packed;
pub use self::select::select;
pub use self::stretch::stretch;
pub(crate) use self::touches::cost_factor;

use crate::snapshot::{
    Causes, Culprit, Key, Latency, MAX_CULPRITS, MAX_WAKERS, Migrations, Pairs, RunQueue, Snapshot, Switches, Thread,
    ThreadStats, Waker,
};
use crate::units::Tid;

/// What tells a thread from all others of a run: its id, and when it was first heard of, for ids are reused. Threads
/// that stand for a group are told apart by their name, or their cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ThreadKey {
    /// Thread id.
    pub tid: Tid,
    /// When it was first heard of; a hash of the name or the cgroup of a group.
    pub born: u64,
}

/// The key of a thread.
pub fn key(thread: &Thread) -> ThreadKey {
    if thread.members == 0 {
        return ThreadKey { tid: thread.tid, born: thread.born_ns };
    }
    // FNV-1a.
    let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    // No text has a byte 0xff.
    let cgroup = thread.cgroup.iter().flat_map(|path| std::iter::once(0xff).chain(path.bytes()));
    ThreadKey { tid: Tid(u32::MAX), born: thread.comm.bytes().chain(cgroup).fold(0xcbf2_9ce4_8422_2325, hash) }
}

/// Each thread with its key, in the order of the snapshot.
pub fn keyed(threads: &[Thread]) -> impl Iterator<Item = (ThreadKey, &Thread)> {
    threads.iter().map(|thread| (key(thread), thread))
}

/// What is kept of a difference.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// Everything.
    All,
    /// Counts and times; no distributions, no lists.
    Counts,
}

/// What happened after `before` and up to `now`, two snapshots of one run. All threads of `now` stay, also those that
/// did nothing; loss, gaps and evicted threads stay those of the whole run.
pub fn since(now: &Snapshot, before: &Snapshot) -> Snapshot {
    difference(now, before, Depth::All)
}

/// As [`since`], but only counts and times: distributions and lists are left empty.
pub fn counts_since(now: &Snapshot, before: &Snapshot) -> Snapshot {
    difference(now, before, Depth::Counts)
}

fn difference(now: &Snapshot, before: &Snapshot, depth: Depth) -> Snapshot {
    let old: HashMap<ThreadKey, &ThreadStats> =
        keyed(&before.threads).map(|(key, thread)| (key, &thread.stats)).collect();
    let nothing = ThreadStats::default();
    let threads = keyed(&now.threads).map(|(key, thread)| {
        let before = old.get(&key).copied().unwrap_or(&nothing);
        let stats = stats_since(&thread.stats, before, &now.host.distances, depth);
        with_stats(thread, stats, depth)
    });
    Snapshot { threads: threads.collect(), ..rest_of_difference(now, before, depth) }
}

/// All but the threads.
fn rest_of_difference(now: &Snapshot, before: &Snapshot, depth: Depth) -> Snapshot {
    let mut made = without_threads(now);
    made.duration_ns = now.duration_ns.saturating_sub(before.duration_ns);
    made.totals = stats_since(&now.totals, &before.totals, &now.host.distances, depth);
    made.matrices.migrations = matrix_since(&now.matrices.migrations, &before.matrices.migrations);
    let touches = |now: &Vec<Vec<u64>>| matrix_since(now, before.matrices.page_touches.as_deref().unwrap_or_default());
    made.matrices.page_touches = now.matrices.page_touches.as_ref().map(touches);
    quota::of_machine(now, before, &mut made);
    made
}

/// A thread with other numbers; its own are not copied, and with counts alone neither is what is no number.
fn with_stats(thread: &Thread, stats: ThreadStats, depth: Depth) -> Thread {
    let all = depth == Depth::All;
    Thread {
        tid: thread.tid,
        pid: thread.pid,
        ns_pid: thread.ns_pid,
        comm: thread.comm.clone(),
        exited: thread.exited,
        state: thread.state,
        cpu: thread.cpu,
        members: thread.members,
        born_ns: thread.born_ns,
        sched: thread.sched.clone().filter(|_| all),
        cgroup: thread.cgroup.clone(),
        container: thread.container.clone(),
        track: if all { thread.track.clone() } else { Default::default() },
        stats,
    }
}

/// Everything but the threads and the totals.
fn without_threads(snapshot: &Snapshot) -> Snapshot {
    Snapshot {
        schema: snapshot.schema,
        tool: snapshot.tool.clone(),
        host: snapshot.host.clone(),
        target: snapshot.target.clone(),
        selection: snapshot.selection.clone(),
        start: snapshot.start.clone(),
        duration_ns: snapshot.duration_ns,
        sources: snapshot.sources.clone(),
        loss: snapshot.loss.clone(),
        self_cost: snapshot.self_cost.clone(),
        totals: ThreadStats::default(),
        threads: Vec::new(),
        groups: None,
        dropped_threads: snapshot.dropped_threads,
        refused_threads: snapshot.refused_threads,
        matrices: snapshot.matrices.clone(),
        placement_pages: snapshot.placement_pages.clone(),
        placement_age_ns: snapshot.placement_age_ns,
        gaps: snapshot.gaps.clone(),
        events: Vec::new(),
        throttle: snapshot.throttle.clone(),
        node_memory: snapshot.node_memory.clone(),
        findings: snapshot.findings.clone(),
        incomplete: snapshot.incomplete.clone(),
    }
}

fn stats_since(now: &ThreadStats, before: &ThreadStats, distances: &[Vec<u32>], depth: Depth) -> ThreadStats {
    let less = u64::saturating_sub;
    let latency = |now: &Latency, before: &Latency| match depth {
        Depth::All => latency_since(now, before),
        Depth::Counts => Latency {
            count: less(now.count, before.count),
            total_ns: less(now.total_ns, before.total_ns),
            ..Latency::default()
        },
    };
    let lists = depth == Depth::All;
    let wait_ns = less(now.wait_ns, before.wait_ns);
    let made = ThreadStats {
        cpu_ns: less(now.cpu_ns, before.cpu_ns),
        wait_ns,
        blocked_ns: less(now.blocked_ns, before.blocked_ns),
        waiting_now_ns: now.waiting_now_ns,
        switches: Switches {
            voluntary: less(now.switches.voluntary, before.switches.voluntary),
            involuntary: less(now.switches.involuntary, before.switches.involuntary),
        },
        unseen_events: less(now.unseen_events, before.unseen_events),
        runq: RunQueue {
            wakeup: latency(&now.runq.wakeup, &before.runq.wakeup),
            preempted: latency(&now.runq.preempted, &before.runq.preempted),
            all: latency(&now.runq.all, &before.runq.all),
            unthrottled: None,
        },
        migrations: migrations_since(&now.migrations, &before.migrations),
        wakers: if lists { wakers_since(&now.wakers, &before.wakers) } else { Vec::new() },
        node_moves: less(now.node_moves, before.node_moves),
        residency_ns: list_since(&now.residency_ns, &before.residency_ns),
        residency_cpu_ns: if lists {
            pairs_since(&now.residency_cpu_ns, &before.residency_cpu_ns)
        } else {
            Pairs::default()
        },
        waited_behind: if lists {
            culprits_since(&now.waited_behind, &before.waited_behind, wait_ns)
        } else {
            Vec::new()
        },
        ..ThreadStats::default()
    };
    touches::since(now, before, distances, lists, quota::since(now, before, depth, made))
}

/// The waits that came after `before`; percentiles from the buckets.
pub fn latency_since(now: &Latency, before: &Latency) -> Latency {
    let buckets = pairs_since(&now.buckets, &before.buckets);
    let max_ns = match buckets.last() {
        Some(_) if now.max_ns > before.max_ns => now.max_ns,
        Some((edge, _)) => edge.min(now.max_ns),
        None => 0,
    };
    with_percentiles(Latency {
        count: now.count.saturating_sub(before.count),
        total_ns: now.total_ns.saturating_sub(before.total_ns),
        max_ns,
        buckets,
        ..Latency::default()
    })
}

/// Fills in the percentiles from the buckets: the upper edge of the bucket in which each lies, no longer than the longest.
pub(crate) fn with_percentiles(mut latency: Latency) -> Latency {
    let recorded = latency.buckets.iter().fold(0u64, |sum, (_, count)| sum.saturating_add(count));
    let mut buckets = latency.buckets.iter();
    let (mut seen, mut edge) = (0u64, 0);
    // From the lowest to the highest: one goes on where the one before ended.
    let [p50_ns, p90_ns, p99_ns, p999_ns] = [0.5, 0.9, 0.99, 0.999].map(|share| {
        let rank = ((recorded as f64 * share).ceil() as u64).max(1);
        while seen < rank
            && let Some((next, count)) = buckets.next()
        {
            seen = seen.saturating_add(count);
            edge = next.min(latency.max_ns);
        }
        edge
    });
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

/// What somebody on the list had before: who was not on a full list had at most what its last one had.
fn had_before<T>(list: &[T], most: usize, found: Option<u64>, weight: impl Fn(&T) -> u64) -> u64 {
    let least = list.iter().map(weight).min().filter(|_| list.len() >= most);
    found.or(least).unwrap_or(0)
}

fn wakers_since(now: &[Waker], before: &[Waker]) -> Vec<Waker> {
    let gained = |waker: &Waker| {
        let old = before.iter().find(|old| old.tid == waker.tid).map(|old| old.count);
        let count = waker.count.saturating_sub(had_before(before, MAX_WAKERS, old, |waker| waker.count));
        (count > 0).then(|| Waker { count, ..waker.clone() })
    };
    let mut wakers: Vec<Waker> = now.iter().filter_map(gained).collect();
    wakers.sort_by_key(|waker| (std::cmp::Reverse(waker.count), waker.tid));
    wakers
}

/// Nobody ran instead for longer than was waited: a wait counts for its culprits as a whole when it ends.
fn culprits_since(now: &[Culprit], before: &[Culprit], waited_ns: u64) -> Vec<Culprit> {
    let gained = |culprit: &Culprit| {
        let old = before.iter().find(|old| old.tid == culprit.tid);
        let weight = |culprit: &Culprit| culprit.total_ns;
        let had = had_before(before, MAX_CULPRITS, old.map(weight), weight);
        let total_ns = culprit.total_ns.saturating_sub(had).min(waited_ns);
        let count = culprit.count.saturating_sub(old.map_or(0, |old| old.count));
        (total_ns > 0).then(|| Culprit { total_ns, count, ..culprit.clone() })
    };
    let mut culprits: Vec<Culprit> = now.iter().filter_map(gained).collect();
    culprits.sort_by_key(|culprit| (std::cmp::Reverse(culprit.total_ns), culprit.tid));
    culprits
}

fn list_since(now: &[u64], before: &[u64]) -> Vec<u64> {
    let old = before.iter().copied().chain(std::iter::repeat(0));
    now.iter().zip(old).map(|(now, old)| now.saturating_sub(old)).collect()
}

/// What each had more; those that had no more are left out.
fn pairs_since<K: Key + PartialOrd>(now: &Pairs<K>, before: &Pairs<K>) -> Pairs<K> {
    // Both are in order of their first numbers; one that is new had nothing before.
    let mut old = before.iter().peekable();
    let gained = now.iter().filter_map(|(key, count)| {
        while old.next_if(|(other, _)| *other < key).is_some() {}
        let known = old.next_if(|(other, _)| *other == key).map_or(0, |(_, count)| count);
        Some((key, count.saturating_sub(known))).filter(|(_, count)| *count > 0)
    });
    gained.collect()
}

fn matrix_since(now: &[Vec<u64>], before: &[Vec<u64>]) -> Vec<Vec<u64>> {
    let nothing = Vec::new();
    let old = before.iter().chain(std::iter::repeat(&nothing));
    now.iter().zip(old).map(|(now, old)| list_since(now, old)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latency(buckets: &[(u64, u64)], max_ns: u64) -> Latency {
        let count = buckets.iter().map(|(_, count)| count).sum();
        let total_ns = buckets.iter().map(|(edge, count)| edge * count).sum();
        with_percentiles(Latency { count, total_ns, max_ns, buckets: buckets.to_vec().into(), ..Latency::default() })
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
        let waker = |tid, count| Waker { tid: Tid(tid), comm: "".into(), count };
        let now = [waker(1, 50), waker(2, 40), waker(3, 7)];
        assert_eq!(wakers_since(&now, &[waker(1, 49), waker(2, 10), waker(3, 7)]), [waker(2, 30), waker(1, 1)]);
        let culprit = |tid, total_ns, count| Culprit { tid: Tid(tid), total_ns, count, ..Culprit::default() };
        let spent = culprits_since(&[culprit(1, 900, 9), culprit(2, 800, 8)], &[culprit(1, 890, 8)], 5_000);
        assert_eq!(spent, [culprit(2, 800, 8), culprit(1, 10, 1)]);
        // A wait that began before the stretch counts whole when it ends: no more than was waited in the stretch.
        assert_eq!(culprits_since(&[culprit(2, 800, 8)], &[], 300), [culprit(2, 300, 8)]);
        // One that is new on a full list may have had as much as the last one on it.
        let full: Vec<Waker> = (0..MAX_WAKERS as u32).map(|tid| waker(tid, 100)).collect();
        assert_eq!(wakers_since(&[waker(99, 130)], &full), [waker(99, 30)]);
    }

    #[test]
    fn a_stretch_has_the_counts_of_each_thread_also_of_one_with_a_reused_id() {
        let thread = |born_ns, cpu_ns, cross_node| Thread {
            tid: Tid(7),
            born_ns,
            stats: ThreadStats {
                cpu_ns,
                residency_ns: vec![cpu_ns, 0],
                residency_cpu_ns: vec![(3, cpu_ns)].into(),
                migrations: Migrations { cross_node, ..Migrations::default() },
                ..ThreadStats::default()
            },
            ..Thread::default()
        };
        let snapshot = |duration_ns, threads| Snapshot { duration_ns, threads, ..Snapshot::nothing_yet("pid 1") };
        let before = snapshot(100, vec![thread(1, 50, 5), thread(60, 30, 2)]);
        // The first owner of the id was evicted meanwhile, and a third one came.
        let now = snapshot(300, vec![thread(60, 90, 6), thread(150, 4, 1)]);
        for (made, lists) in [(since(&now, &before), 1), (counts_since(&now, &before), 0)] {
            let told: Vec<(u64, u64)> =
                made.threads.iter().map(|t| (t.stats.cpu_ns, t.stats.migrations.cross_node)).collect();
            assert_eq!((made.duration_ns, told), (200, vec![(60, 4), (4, 1)]));
            assert_eq!(made.threads[0].stats.residency_ns, [60, 0]);
            assert_eq!(made.threads[0].stats.residency_cpu_ns.len(), lists);
        }
    }
}
