//! A report of one stretch of time: as [`since`], and also the start, lost records, gaps and the list of threads are those of
//! the stretch.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};

use super::{ThreadKey, key, keyed, since};
use crate::snapshot::{Gap, Loss, LossInterval, LossReasons, Snapshot};

/// What happened after `before` and up to `now`, two snapshots of one run, as if tracing had begun at `before`. Threads that
/// had ended by then are left out. Threads that were refused stay those of the whole run; findings are about the whole, and
/// none are left.
pub fn stretch(now: &Snapshot, before: &Snapshot) -> Snapshot {
    let mut made = since(now, before);
    let ended: HashSet<ThreadKey> =
        keyed(&before.threads).filter(|(_, thread)| thread.exited).map(|(key, _)| key).collect();
    made.threads.retain(|thread| !ended.contains(&key(thread)));
    // They count from the start of tracing, and no report has them.
    made.threads.iter_mut().for_each(|thread| thread.track = Default::default());
    // Of those that were evicted meanwhile some had ended before.
    let still: HashSet<ThreadKey> = keyed(&now.threads).map(|(key, _)| key).collect();
    let long_gone = ended.difference(&still).count() as u64;
    made.dropped_threads = now.dropped_threads.saturating_sub(before.dropped_threads).saturating_sub(long_gone);
    made.start = later(&now.start, before.duration_ns);
    made.loss = loss_since(&now.loss, &before.loss, before.duration_ns);
    made.self_cost = now.self_cost.as_ref().map(|cost| cost.since(before.self_cost.as_ref(), before.duration_ns));
    made.gaps = gaps_since(&now.gaps, before.duration_ns);
    made.findings.clear();
    made
}

/// A time so much later; as it is where it is none.
fn later(start: &str, by_ns: u64) -> String {
    let by = i64::try_from(by_ns).map(SignedDuration::from_nanos).unwrap_or(SignedDuration::MAX);
    let time = start.parse::<Timestamp>().and_then(|start| start.checked_add(by));
    time.map_or_else(|_| start.to_owned(), |time| time.to_string())
}

/// Intervals are in order of time, and their sum is what was lost: so what was lost before is in the first of them. One that
/// began before and went on is cut.
fn loss_since(now: &Loss, before: &Loss, start_ns: u64) -> Loss {
    let less = u64::saturating_sub;
    let mut lost_before = before.records_lost;
    let left = now.intervals.iter().filter_map(|interval| {
        let known = interval.lost.min(lost_before);
        lost_before -= known;
        let start_ns = (interval.start_ns.saturating_sub(start_ns), interval.end_ns.saturating_sub(start_ns));
        let left = LossInterval { start_ns: start_ns.0, end_ns: start_ns.1, lost: interval.lost - known };
        (left.lost > 0).then_some(left)
    });
    Loss {
        intervals: left.collect(),
        records_wanted: less(now.records_wanted, before.records_wanted),
        records_received: less(now.records_received, before.records_received),
        records_lost: less(now.records_lost, before.records_lost),
        by_reason: LossReasons {
            ring_full: less(now.by_reason.ring_full, before.by_reason.ring_full),
            no_ring: less(now.by_reason.no_ring, before.by_reason.no_ring),
            undecodable: less(now.by_reason.undecodable, before.by_reason.undecodable),
        },
    }
}

/// Those that reach into the stretch, cut to it.
fn gaps_since(gaps: &[Gap], start_ns: u64) -> Vec<Gap> {
    let shift = |gap: &Gap| Gap {
        start_ns: gap.start_ns.saturating_sub(start_ns),
        end_ns: gap.end_ns.saturating_sub(start_ns),
        ..gap.clone()
    };
    gaps.iter().filter(|gap| gap.end_ns > start_ns).map(shift).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Thread;
    use crate::units::Tid;

    #[test]
    fn it_begins_where_it_begins_and_has_the_threads_of_its_time() {
        let thread = |tid, exited| Thread { tid: Tid(tid), exited, ..Thread::default() };
        let snapshot = |duration_ns, dropped_threads, threads| Snapshot {
            duration_ns,
            dropped_threads,
            threads,
            start: "2026-11-21T08:21:46.5Z".into(),
            ..Snapshot::nothing_yet("pid 1")
        };
        let before =
            snapshot(600_000_000, 10, vec![thread(1, true), thread(2, true), thread(3, false), thread(4, false)]);
        // 2 and 3 were evicted, and one that came and went meanwhile.
        let now = snapshot(2_000_000_000, 13, vec![thread(1, true), thread(4, true), thread(5, true)]);
        let made = stretch(&now, &before);
        let tids: Vec<u32> = made.threads.iter().map(|thread| thread.tid.0).collect();
        assert_eq!((tids, made.dropped_threads), (vec![4, 5], 2));
        assert_eq!((made.start.as_str(), made.duration_ns), ("2026-11-21T08:21:47.1Z", 1_400_000_000));
        assert_eq!(later("", 7), "");
    }

    #[test]
    fn what_was_lost_before_is_not_lost_in_it() {
        let loss = |wanted, intervals: &[(u64, u64, u64)]| {
            let intervals: Vec<LossInterval> = intervals
                .iter()
                .map(|(start_ns, end_ns, lost)| LossInterval { start_ns: *start_ns, end_ns: *end_ns, lost: *lost })
                .collect();
            let lost = intervals.iter().map(|interval| interval.lost).sum();
            Loss {
                records_wanted: wanted,
                records_received: wanted - lost,
                records_lost: lost,
                by_reason: LossReasons { ring_full: lost, ..LossReasons::default() },
                intervals,
            }
        };
        let before = loss(100, &[(0, 10, 3), (40, 51, 4)]);
        let made = loss_since(&loss(300, &[(0, 10, 3), (40, 51, 4), (60, 71, 5)]), &before, 50);
        assert_eq!(made, loss(200, &[(10, 21, 5)]));
        // The oldest were merged meanwhile.
        let made = loss_since(&loss(300, &[(0, 71, 12), (90, 100, 1)]), &before, 50);
        assert_eq!(made, loss(200, &[(0, 21, 5), (40, 50, 1)]));
        assert_eq!(loss_since(&before, &before, 50), loss(0, &[]));
    }

    #[test]
    fn gaps_that_reach_into_it_are_cut_to_it() {
        let gap = |start_ns, end_ns| Gap { source: "x".into(), cpu: 3, start_ns, end_ns };
        assert_eq!(gaps_since(&[gap(0, 50), gap(40, 60), gap(70, 90)], 50), [gap(0, 10), gap(20, 40)]);
    }
}
