//! What waits were for, CPU quotas and the memory of nodes, of a stretch of time and of several threads together. A number
//! whose source is off stays absent.

use super::Depth;
use super::latency_since;
use crate::snapshot::{Behind, Latency, NodeMemory, PreemptedBy, Snapshot, ThreadStats, Throttle, Waited};

/// What came after `before` and up to `now`, in `made`.
pub(super) fn since(now: &ThreadStats, before: &ThreadStats, depth: Depth, made: ThreadStats) -> ThreadStats {
    let less = u64::saturating_sub;
    let mut made = made;
    // What a wait was for is known as a whole when it ends: no more than was waited in the stretch.
    let waited_ns = made.wait_ns;
    made.throttled_wait_ns =
        now.throttled_wait_ns.map(|ns| less(ns, before.throttled_wait_ns.unwrap_or(0)).min(waited_ns));
    made.behind = now.behind.map(|now| {
        let before = before.behind.unwrap_or_default();
        let own_ns = less(now.own_ns, before.own_ns).min(waited_ns);
        Behind { own_ns, others_ns: less(now.others_ns, before.others_ns).min(waited_ns - own_ns) }
    });
    made.preempted_by = now.preempted_by.map(|now| {
        let before = before.preempted_by.unwrap_or_default();
        let waits = |now: Waited, before: Waited| Waited {
            count: less(now.count, before.count),
            total_ns: less(now.total_ns, before.total_ns),
        };
        PreemptedBy { own: waits(now.own, before.own), others: waits(now.others, before.others) }
    });
    let nothing = Latency::default();
    let unthrottled = now.runq.unthrottled.as_ref().filter(|_| depth == Depth::All);
    made.runq.unthrottled =
        unthrottled.map(|now| Box::new(latency_since(now, before.runq.unthrottled.as_deref().unwrap_or(&nothing))));
    made
}

/// Adds those of one thread to a sum.
pub(super) fn add(sum: &mut ThreadStats, part: &ThreadStats) {
    if let Some(ns) = part.throttled_wait_ns {
        super::groups::add(sum.throttled_wait_ns.get_or_insert_default(), ns);
    }
    if let Some(part) = part.behind {
        let sum = sum.behind.get_or_insert_default();
        super::groups::add(&mut sum.own_ns, part.own_ns);
        super::groups::add(&mut sum.others_ns, part.others_ns);
    }
    if let Some(part) = part.preempted_by {
        let sum = sum.preempted_by.get_or_insert_default();
        for (sum, part) in [(&mut sum.own, part.own), (&mut sum.others, part.others)] {
            super::groups::add(&mut sum.count, part.count);
            super::groups::add(&mut sum.total_ns, part.total_ns);
        }
    }
}

/// What the cgroups and the nodes of `now` counted after `before`, in `made`.
pub(super) fn of_machine(now: &Snapshot, before: &Snapshot, made: &mut Snapshot) {
    let quota = |now: &Throttle| {
        let old = before.throttle.iter().flatten().find(|old| old.cgroup == now.cgroup);
        let less = |of: fn(&Throttle) -> u64| of(now).saturating_sub(old.map_or(0, of));
        Throttle {
            periods: less(|cgroup| cgroup.periods),
            throttled_periods: less(|cgroup| cgroup.throttled_periods),
            throttled_ns: less(|cgroup| cgroup.throttled_ns),
            ..now.clone()
        }
    };
    made.throttle = now.throttle.as_ref().map(|all| all.iter().map(quota).collect());
    let memory = |(at, now): (usize, &NodeMemory)| {
        let old = before.node_memory.as_ref().and_then(|all| all.get(at)).copied().unwrap_or_default();
        NodeMemory {
            hit: now.hit.saturating_sub(old.hit),
            miss: now.miss.saturating_sub(old.miss),
            foreign: now.foreign.saturating_sub(old.foreign),
            ..*now
        }
    };
    made.node_memory = now.node_memory.as_ref().map(|all| all.iter().enumerate().map(memory).collect());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_before_is_taken_off_and_what_is_absent_stays_so() {
        let stats = |n: u64| ThreadStats {
            throttled_wait_ns: Some(n),
            behind: Some(Behind { own_ns: n, others_ns: 2 * n }),
            preempted_by: Some(PreemptedBy {
                own: Waited { count: n, total_ns: n },
                others: Waited { count: 2 * n, total_ns: 2 * n },
            }),
            wait_ns: 100,
            ..ThreadStats::default()
        };
        let nothing = ThreadStats::default();
        let waited = |wait_ns| ThreadStats { wait_ns, ..ThreadStats::default() };
        let made = since(&stats(10), &stats(4), Depth::Counts, waited(100));
        assert_eq!(made, stats(6));
        assert_eq!(since(&stats(10), &nothing, Depth::All, waited(100)), stats(10));
        // A wait that began before the stretch tells all that it was for when it ends.
        let made = since(&stats(10), &nothing, Depth::All, waited(15));
        assert_eq!((made.throttled_wait_ns, made.behind), (Some(10), Some(Behind { own_ns: 10, others_ns: 5 })));
        assert_eq!(since(&nothing, &stats(4), Depth::All, nothing.clone()), nothing);
        let mut sum = nothing.clone();
        [&stats(1), &nothing, &stats(3)].into_iter().for_each(|part| add(&mut sum, part));
        assert_eq!(ThreadStats { wait_ns: 100, ..sum }, stats(4));
    }

    #[test]
    fn quotas_are_told_apart_by_their_cgroup_and_memory_by_its_node() {
        let quota = |name: &str, n| Throttle {
            cgroup: name.into(),
            periods: n,
            throttled_periods: n,
            throttled_ns: n,
            ..Throttle::default()
        };
        let memory = |n, free_bytes| NodeMemory { hit: n, miss: n, foreign: n, free_bytes, ..NodeMemory::default() };
        let snapshot = |throttle, node_memory| Snapshot { throttle, node_memory, ..Snapshot::nothing_yet("") };
        let before = snapshot(Some(vec![quota("/a", 3)]), Some(vec![memory(1, 9)]));
        let now = snapshot(Some(vec![quota("/b", 5), quota("/a", 10)]), Some(vec![memory(7, 5), memory(2, 6)]));
        let mut made = now.clone();
        of_machine(&now, &before, &mut made);
        assert_eq!(made.throttle, Some(vec![quota("/b", 5), quota("/a", 7)]));
        assert_eq!(made.node_memory, Some(vec![memory(6, 5), memory(2, 6)]));
        of_machine(&snapshot(None, None), &before, &mut made);
        assert_eq!((made.throttle, made.node_memory), (None, None));
    }
}
