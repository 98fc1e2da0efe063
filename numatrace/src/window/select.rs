//! Some of the threads: a snapshot made of a snapshot.

use super::groups::sum_of;
use super::without_threads;
use crate::snapshot::{Selection, Snapshot, Thread};
use crate::units::Tid;

/// The threads with one of these ids or names (as they are shown), and their sums in place of the totals; all of them where
/// neither ids nor names are given.
///
/// Percentiles of the sums are as coarse as those of threads. Lost records, sources and refused threads stay those of the
/// whole run. Of migrations by node and of threads that were evicted it is not known which threads they belong to: the
/// matrix is empty, and evicted threads are in [`Selection::dropped_threads`] alone. Findings are about the whole: none are
/// left.
pub fn select(snapshot: Snapshot, tids: &[Tid], comms: &[String]) -> Snapshot {
    if tids.is_empty() && comms.is_empty() {
        return snapshot;
    }
    let wanted = |thread: &&Thread| tids.contains(&thread.tid) || comms.contains(&thread.comm);
    let threads: Vec<&Thread> = snapshot.threads.iter().filter(wanted).collect();
    let mut made = without_threads(&snapshot);
    made.totals = sum_of(&threads);
    // Also of no thread there is time by node.
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
    made.matrices.page_touches = None;
    made.findings.clear();
    made
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Matrices, ThreadStats};

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
}
