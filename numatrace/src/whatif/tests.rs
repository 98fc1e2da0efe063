use super::*;
use crate::model::Active;
use crate::snapshot::{Host, HostNode, LocalRemote, NodeMemory, Thread, ThreadStats};
use crate::units::{Pid, Tid};

const S: u64 = 1_000_000_000;
const GIB: u64 = 1 << 30;

/// Two nodes of two CPUs and 8 GiB, and one with memory alone. 3/4 of the time on node 0, and 1/5 of 1,000,000 pages there.
fn snapshot() -> Snapshot {
    let node = |id: u32, cpus: &[u32]| HostNode { id: NodeId(id), cpus: cpus.to_vec(), memory_bytes: 8 * GIB };
    let host = Host {
        arch: "x86_64".into(),
        cpus: 4,
        nodes: vec![node(0, &[0, 1]), node(2, &[2, 3]), node(5, &[])],
        distances: vec![vec![10, 21, 17], vec![21, 10, 28], vec![17, 28, 10]],
        ..Host::default()
    };
    let totals = ThreadStats {
        wait_ns: 2 * S,
        residency_ns: vec![3 * S, S, 0],
        remote_share: Some(0.1),
        expected_remote_share: Some(0.65),
        hint_faults: Some(LocalRemote { local: 30, remote: 10 }),
        cost_factor: Some(1.11),
        ..ThreadStats::default()
    };
    let thread = |tid| Thread { tid: Tid(tid), pid: Pid(7), cgroup: Some("/app/web".into()), ..Thread::default() };
    Snapshot {
        host,
        totals,
        threads: vec![thread(7), thread(8)],
        placement_pages: Some(vec![200_000, 800_000, 0]),
        ..Snapshot::nothing_yet("pid 7")
    }
}

/// Four seconds with so much time on CPU in each.
fn demand(seconds: [u64; 4]) -> Demand {
    let mut demand = Demand::default();
    let mut active = Active::default();
    for (at, cpu) in (1..).zip(seconds) {
        active.cpu_ns += cpu * S;
        demand.tick(at * S, active);
    }
    demand
}

fn close(found: Option<f64>, expected: f64) {
    assert!(found.is_some_and(|found| (found - expected).abs() < 1e-9), "{found:?} is not {expected}");
}

#[test]
fn accesses_by_hand() {
    let snapshot = snapshot();
    let first = estimate(&snapshot, &Demand::default(), 0).expect("a node").access;
    // Now 3/4 x 4/5 + 1/4 x 1/5 of accesses are remote, 2.1 times as far; bound to node 0 4/5 are.
    close(first.expected_remote_share, 0.65);
    close(first.expected_cost, 1.0 + 0.65 * 1.1);
    close(first.bound_remote_share, 0.8);
    close(first.bound_cost, 1.0 + 0.8 * 1.1);
    close(first.bound_change, 1.88 / 1.715 - 1.0);
    close(first.moved_remote_share, 0.0);
    close(first.moved_cost, 1.0);
    close(first.moved_change, 1.0 / 1.715 - 1.0);
    close(first.hint_remote_share, 0.25);
    assert_eq!((first.remote_share, first.cost_factor), (Some(0.1), Some(1.11)));
    let second = estimate(&snapshot, &Demand::default(), 1).expect("a node");
    close(second.access.bound_remote_share, 0.2);
    close(second.access.bound_change, 1.22 / 1.715 - 1.0);
    assert_eq!((second.node, second.pressure), (NodeId(2), None), "of no time");
}

#[test]
fn pressure_by_hand() {
    // Two CPUs of the node, four of the machine: see the queue's own tests for the waits.
    let pressure = estimate(&snapshot(), &demand([4, 1, 0, 1]), 1).and_then(|made| made.pressure).expect("some time");
    close(Some(pressure.average_cpus), 1.5);
    close(Some(pressure.peak_cpus), 4.0);
    close(Some(pressure.utilisation), 0.75);
    assert_eq!((pressure.above_ns, pressure.above_share), (S, 0.25));
    assert_eq!((pressure.waited_ns, pressure.model_wait_all_ns), (2 * S, 0));
    assert_eq!((pressure.model_wait_ns, pressure.added_wait_ns, pressure.undone_ns), (3 * S, 3 * S, 0));
    assert_eq!((pressure.intervals, pressure.longest_interval_ns), (4, S));
    // More than the machine has: waits that it has anyway are not added.
    let pressure = estimate(&snapshot(), &demand([6, 6, 6, 6]), 1).and_then(|made| made.pressure).expect("some time");
    // Six want: on four CPUs two wait, on two four.
    assert_eq!((pressure.model_wait_all_ns, pressure.model_wait_ns, pressure.added_wait_ns), (8 * S, 16 * S, 8 * S));
    assert_eq!(pressure.undone_ns, 16 * S);
}

#[test]
fn a_quota_counts_where_it_holds_all_of_the_target() {
    let with = |cgroup: &str, quota| {
        let mut snapshot = snapshot();
        snapshot.throttle =
            Some(vec![Throttle { cgroup: cgroup.into(), quota_cpus: Some(quota), ..Throttle::default() }]);
        snapshot
    };
    for (cgroup, expected) in
        [("/app", Some(1.0)), ("/", Some(1.0)), ("/app/web", Some(1.0)), ("/app/we", None), ("/app/web/x", None)]
    {
        assert_eq!(quota(&with(cgroup, 1.0)), expected, "{cgroup}");
    }
    assert_eq!(quota(&with("/app", f64::NAN)), None);
    let mut two = with("/app", 1.5);
    two.threads[1].cgroup = None;
    assert_eq!(quota(&two), Some(1.5), "one of them is not known");
    two.threads[1].cgroup = Some("/other".into());
    assert_eq!(quota(&two), None);
    // One CPU may be used: two threads of which one runs want no more than that.
    let mut demand = Demand::default();
    demand.tick(S, Active { cpu_ns: S, wait_ns: S });
    let pressure = estimate(&with("/app", 1.0), &demand, 0).and_then(|made| made.pressure).expect("some time");
    assert_eq!((pressure.average_cpus, pressure.model_wait_ns, pressure.quota_cpus), (1.0, 0, Some(1.0)));
}

#[test]
fn memory_fits_or_not() {
    let mut snapshot = snapshot();
    let room = |snapshot: &Snapshot| estimate(snapshot, &Demand::default(), 0).and_then(|made| made.room);
    // 3.8 GiB in 8 GiB; what is left there now is not known.
    let made = room(&snapshot).expect("placement");
    assert_eq!((made.pages, made.pages_there, made.fits, made.fits_now), (1_000_000, 200_000, Some(true), None));
    // 800,000 pages are to come: 3.05 GiB.
    let memory = |gib: u64| NodeMemory { free_bytes: gib * GIB, file_bytes: GIB, ..NodeMemory::default() };
    for (gib, fits) in [(1, false), (3, true)] {
        snapshot.node_memory = Some(vec![memory(gib)]);
        assert_eq!(room(&snapshot).and_then(|made| made.fits_now), Some(fits), "{gib}");
    }
    snapshot.host.nodes[0].memory_bytes = 3 * GIB;
    assert_eq!(room(&snapshot).and_then(|made| made.fits), Some(false));
    snapshot.host.arch = "aarch64".into();
    assert_eq!(room(&snapshot).map(|made| (made.fits, made.fits_now)), Some((None, None)), "pages of some size");
    snapshot.placement_pages = None;
    assert_eq!(room(&snapshot), None);
}

#[test]
fn what_is_not_measured_stays_absent() {
    let mut snapshot = snapshot();
    snapshot.placement_pages = None;
    snapshot.totals = ThreadStats { residency_ns: vec![S, 0, 0], ..ThreadStats::default() };
    let made = estimate(&snapshot, &demand([1; 4]), 0).expect("a node");
    assert_eq!(made.access, Access::default());
    assert!(made.pressure.is_some() && made.room.is_none());
    assert!(assumptions(&snapshot, &demand([1; 4])).iter().any(|line| line.contains("is not known: none is taken")));
}

#[test]
fn nodes_without_cpus_are_no_choice() {
    let snapshot = snapshot();
    assert_eq!(choices(&snapshot), [0, 1]);
    assert_eq!(estimate(&snapshot, &Demand::default(), 2), None);
    assert_eq!(estimate(&snapshot, &Demand::default(), 9), None);
    assert_eq!(choices(&Snapshot::nothing_yet("")), [0; 0]);
}
