//! Some of the threads: a snapshot made of a snapshot.

use super::groups::sum_of;
use super::{Depth, stats_since, without_threads};
use crate::snapshot::{Selection, Snapshot, Thread, ThreadStats};
use crate::units::Tid;

/// The threads with one of these ids or names (as they are shown), and their sums in place of the totals; all of them where
/// neither ids nor names are given.
///
/// Percentiles of the sums are as coarse as those of threads. Lost records, sources and refused threads stay those of the
/// whole run, and placement and gaps those of all. Of migrations by node and of threads that were evicted it is not known
/// which threads they belong to: the matrix is empty, and evicted threads are in [`Selection::dropped_threads`] alone.
/// Findings are about the whole: none are left.
pub fn select(snapshot: Snapshot, tids: &[Tid], comms: &[String]) -> Snapshot {
    if tids.is_empty() && comms.is_empty() {
        return snapshot;
    }
    let wanted = |thread: &&Thread| tids.contains(&thread.tid) || comms.iter().any(|comm| **comm == *thread.comm);
    let threads: Vec<&Thread> = snapshot.threads.iter().filter(wanted).collect();
    let mut made = without_threads(&snapshot);
    let distances = &snapshot.host.distances;
    // Also of no thread there is time by node, and what is measured is 0.
    let nothing = stats_since(&snapshot.totals, &snapshot.totals, distances, Depth::All);
    let sum = sum_of(&threads, distances);
    made.totals = ThreadStats {
        touches: sum.touches.or(nothing.touches),
        touches_by_node: sum.touches_by_node.or(nothing.touches_by_node),
        hint_faults: sum.hint_faults.or(nothing.hint_faults),
        hint_fault_ns: sum.hint_fault_ns.or(nothing.hint_fault_ns),
        pages_migrated: sum.pages_migrated.or(nothing.pages_migrated),
        locations: sum.locations.or(nothing.locations),
        throttled_wait_ns: sum.throttled_wait_ns.or(nothing.throttled_wait_ns),
        behind: sum.behind.or(nothing.behind),
        preempted_by: sum.preempted_by.or(nothing.preempted_by),
        ..sum
    };
    made.totals.residency_ns.resize(snapshot.host.nodes.len(), 0);
    made.threads = threads.into_iter().cloned().collect();
    made.selection = Some(Selection {
        tids: tids.to_vec(),
        comms: comms.to_vec(),
        of_threads: snapshot.threads.len() as u64,
        dropped_threads: snapshot.dropped_threads,
    });
    made.dropped_threads = 0;
    made.matrices.migrations.clear();
    made.matrices.page_touches.clone_from(&made.totals.touches_by_node);
    made.findings.clear();
    made
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Matrices, TouchCount, Touches};

    #[test]
    fn those_with_an_id_or_a_name_are_kept_and_summed() {
        let thread = |tid, comm: &str| Thread {
            tid: Tid(tid),
            comm: comm.into(),
            stats: ThreadStats { cpu_ns: 1 << tid, wait_ns: u64::from(tid), ..ThreadStats::default() },
            ..Thread::default()
        };
        let threads = vec![thread(1, "a"), thread(2, "b"), thread(3, "a"), thread(4, "aa")];
        let matrices = Matrices { migrations: vec![vec![7]], page_touches: None };
        let snapshot = Snapshot { threads, matrices, dropped_threads: 5, ..Snapshot::nothing_yet("pid 1") };
        let told = |tids: &[u32], comms: &[&str]| {
            let tids: Vec<Tid> = tids.iter().map(|tid| Tid(*tid)).collect();
            let comms: Vec<String> = comms.iter().map(|comm| (*comm).to_owned()).collect();
            let made = select(snapshot.clone(), &tids, &comms);
            let kept: Vec<u32> = made.threads.iter().map(|thread| thread.tid.0).collect();
            (kept, made.totals.cpu_ns, made.totals.wait_ns, made)
        };
        let (kept, cpu_ns, wait_ns, made) = told(&[4], &["a"]);
        assert_eq!((kept, cpu_ns, wait_ns), (vec![1, 3, 4], 2 + 8 + 16, 8));
        assert_eq!((made.dropped_threads, made.matrices.migrations.len()), (0, 0));
        let selection = made.selection.expect("a selection");
        assert_eq!((selection.of_threads, selection.dropped_threads), (4, 5));
        let (kept, cpu_ns, ..) = told(&[9], &["A"]);
        assert_eq!((kept, cpu_ns), (vec![], 0));
        let (.., all) = told(&[], &[]);
        assert_eq!(all, snapshot, "nothing was asked for");
    }

    #[test]
    fn page_touches_are_those_of_the_selected_also_where_there_are_none() {
        let stats = |local, remote| ThreadStats {
            touches: Some(Touches { file: TouchCount { local, remote, unknown: 0 }, ..Touches::default() }),
            touches_by_node: Some(vec![vec![local, 0], vec![remote, 0]]),
            ..ThreadStats::default()
        };
        let thread = |tid, stats| Thread { tid: Tid(tid), stats, ..Thread::default() };
        let mut snapshot = Snapshot {
            threads: vec![thread(1, stats(1, 3)), thread(2, stats(5, 0))],
            totals: stats(9, 9),
            ..Snapshot::nothing_yet("pid 1")
        };
        snapshot.matrices.page_touches = Some(vec![vec![9, 0], vec![9, 0]]);
        snapshot.host.distances = vec![vec![10, 20], vec![20, 10]];
        let of = |tid| {
            let made = select(snapshot.clone(), &[Tid(tid)], &[]);
            let total = made.totals.touches.map(|touches| touches.total());
            (made.matrices.page_touches, total.map(|total| (total.local, total.remote)), made.totals.cost_factor)
        };
        assert_eq!(of(1), (Some(vec![vec![1, 0], vec![3, 0]]), Some((1, 3)), Some(1.75)));
        assert_eq!(of(9), (Some(vec![vec![0, 0], vec![0, 0]]), Some((0, 0)), None));
    }
}
