//! Sums for `serve`, made up: two nodes, two cgroups, one of them a pod's container, hostile names.

use numatrace::{
    container::Container,
    serve::sums::{Bound, Cgroup, Cost, Latency, Levels, Lost, Node, Numbers, Process, Sums, ThreadGroup},
    snapshot::{Source, SourceState},
};
use numatrace_common::buckets::bucket;

/// When serving began: 2023-11-14T22:13:20.5Z.
pub const STARTED_NS: u64 = 1_700_000_000_500_000_000;
/// The path of the pod's container.
pub const POD: &[u8] =
    b"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0b1c_2d.slice/cri-containerd-aa11.scope";

/// Waits of these lengths, in ns.
pub fn latency(waits: &[u64]) -> Latency {
    let mut latency = Latency::default();
    for wait in waits {
        latency.buckets[bucket(*wait)] += 1;
        latency.sum_ns += wait;
    }
    latency
}

/// Numbers that differ by `seed` in every part.
pub fn numbers(seed: u64) -> Numbers {
    Numbers {
        runq: latency(&[500, 3_000 * seed, 1_000_000 * seed, 40_000_000_000]),
        cpu_ns: 1_500_000_000 * seed,
        throttled_ns: Some(2_000_000 * seed),
        migrations: Some(Levels { smt: seed, llc: 2 * seed, node: 3 * seed, cross_node: 4 * seed, unknown: 0 }),
        touches: Some(vec![vec![10 * seed, seed, 0], vec![2 * seed, 20 * seed, 3 * seed]]),
        hint_faults: Some((5 * seed, 6 * seed)),
    }
}

/// See the module.
pub fn sums() -> Sums {
    let cgroup = |path: &[u8], seed| Cgroup { path: path.to_vec(), numbers: numbers(seed) };
    let process = |pid, comm: &[u8], cgroup, seed| Process { pid, comm: comm.to_vec(), cgroup, numbers: numbers(seed) };
    let source =
        |name: &str, state, reason: Option<&str>| Source { name: name.into(), state, reason: reason.map(Into::into) };
    Sums {
        started_ns: STARTED_NS,
        total: numbers(7),
        nodes: vec![
            Node { id: 0, numbers: numbers(2) },
            Node { id: 1, numbers: Numbers { hint_faults: None, ..numbers(5) } },
        ],
        cgroups: vec![cgroup(br"/system.slice/system-serial\x2dgetty.slice", 3), cgroup(POD, 4)],
        processes: vec![
            process(4711, b"server", Some(1), 4),
            process(12, b"evil\"\n\x1b[2J\xff", Some(0), 1),
            process(13, b"back\\slash", None, 2),
        ],
        thread_groups: vec![ThreadGroup {
            pid: 4711,
            process: b"server".to_vec(),
            comm: b"worker".to_vec(),
            cgroup: Some(1),
            numbers: numbers(3),
        }],
        process_bound: Bound { most: 200, hidden: 17 },
        cgroup_bound: Bound { most: 500, hidden: 0 },
        thread_group_bound: Some(Bound { most: 500, hidden: 1 }),
        tracked_threads: 321,
        lost: Lost { refused_threads: 1, no_group: 2, no_cell: 3, unseen_events: 4 },
        cost: Cost {
            cpu_ns: 123_456_789,
            memory_bytes: 20 << 20,
            probes_ns: Some(98_000_000),
            probes_runs: Some(10_000),
            maps_bytes: Some(30 << 20),
        },
        sources: vec![
            source("sched_switch", SourceState::On, None),
            source("task_numa_fault", SourceState::Off, Some("one node: there are none")),
        ],
    }
}

/// The container of [`POD`].
pub fn container(path: &[u8]) -> Option<Container> {
    (path == POD).then(|| {
        let container = Container::new("containerd", "aa11", Some("0b1c-2d".into()));
        container.called(Some("web".into()), Some("shop-7f9c".into()), Some("prod".into()))
    })
}
