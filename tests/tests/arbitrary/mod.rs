//! Any snapshot, for properties.

use numatrace::mempolicy;
use numatrace::snapshot::{
    Causes, Host, HostNode, LocalRemote, Location, Migrations, NodeMemory, Sched, Snapshot, Switches, Thread,
    ThreadStats, TouchCount, Touches,
};
use numatrace::units::{NodeId, Pid, Tid};
use proptest::collection::vec;
use proptest::prelude::*;

/// Small numbers, so that limits are met, and such that overflow.
fn any_number() -> impl Strategy<Value = u64> {
    prop_oneof![3 => 0..50_000u64, 2 => Just(0), 1 => any::<u64>(), 1 => Just(u64::MAX)]
}

fn any_numbers() -> impl Strategy<Value = Vec<u64>> {
    vec(any_number(), 0..5)
}

fn any_counts() -> impl Strategy<Value = TouchCount> {
    (any_number(), any_number(), any_number()).prop_map(|(local, remote, unknown)| TouchCount {
        local,
        remote,
        unknown,
    })
}

fn any_share() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![Just(None), (0.0..1.0).prop_map(Some), Just(Some(f64::NAN)), Just(Some(f64::INFINITY))]
}

fn any_places() -> impl Strategy<Value = Option<Vec<Location>>> {
    let mapping = prop_oneof![
        (0..9u16, any::<u64>())
            .prop_map(|(mode, nodes)| mempolicy::with_mapping("heap", &mempolicy::words(mode, nodes))),
        Just("heap, bound to 99999".to_owned()),
        ".{0,12}",
    ];
    let place = (mapping, any_number(), any_number()).prop_map(|(mapping, local, remote)| Location {
        mapping: mapping.into(),
        local,
        remote,
        ..Location::default()
    });
    proptest::option::of(vec(place, 0..4))
}

prop_compose! {
    fn any_stats()(
        times in (any_number(), any_number(), any_number(), any_number()),
        residency_ns in any_numbers(),
        matrix in proptest::option::of(vec(any_numbers(), 0..5)),
        kinds in proptest::option::of((any_counts(), any_counts(), proptest::option::of(any_counts()))),
        hints in proptest::option::of((any_number(), any_number())),
        pages_migrated in proptest::option::of(any_number()),
        causes in vec(any_number(), 6),
        shares in (any_share(), any_share()),
        locations in any_places(),
    ) -> ThreadStats {
        ThreadStats {
            cpu_ns: times.0,
            wait_ns: times.1,
            node_moves: times.2,
            switches: Switches { voluntary: times.3, involuntary: times.0 },
            residency_ns,
            touches_by_node: matrix,
            touches: kinds.map(|(first_touch, file, huge)| Touches { first_touch, file, huge, ..Touches::default() }),
            hint_faults: hints.map(|(local, remote)| LocalRemote { local, remote }),
            hint_fault_ns: pages_migrated.map(|pages| pages.rotate_left(7)),
            pages_migrated,
            migrations: Migrations {
                cross_node: causes[0],
                llc: causes[1],
                causes: Causes {
                    wakeup: causes[0],
                    load_balance: causes[1],
                    active_balance_or_affinity: causes[2],
                    numa_balancing: causes[3],
                    hotplug: causes[4],
                    other: causes[5],
                },
                ..Migrations::default()
            },
            expected_remote_share: shares.0,
            cost_factor: shares.1,
            locations,
            ..ThreadStats::default()
        }
    }
}

prop_compose! {
    fn any_thread()(
        tid in 0..5u32,
        pid in 0..3u32,
        exited in any::<bool>(),
        cpus in prop_oneof![Just(None), "[0-9,-]{0,6}".prop_map(Some), Just(Some("0-7".to_owned()))],
        stats in any_stats(),
    ) -> Thread {
        let sched = cpus.map(|allowed_cpus| Sched { allowed_cpus: allowed_cpus.into(), ..Sched::default() }.into());
        Thread { tid: Tid(tid), pid: Pid(pid), exited, sched, stats, ..Thread::default() }
    }
}

prop_compose! {
    fn any_memory()(n in vec(any_number(), 6)) -> NodeMemory {
        NodeMemory { total_bytes: n[0], free_bytes: n[1], file_bytes: n[2], hit: n[3], miss: n[4], foreign: n[5] }
    }
}

prop_compose! {
    /// Anything that a recording that somebody made up could lead to: numbers that contradict each other, lists of any length.
    pub fn any_snapshot()(
        duration_ns in any_number(),
        cpus in vec(vec(0..16u32, 0..4), 0..5),
        distances in vec(vec(prop_oneof![Just(10u32), Just(21), any::<u32>()], 0..5), 0..5),
        totals in any_stats(),
        threads in vec(any_thread(), 0..4),
        placement_pages in proptest::option::of(any_numbers()),
        node_memory in proptest::option::of(vec(any_memory(), 0..5)),
        x86 in any::<bool>(),
    ) -> Snapshot {
        let node = |(at, cpus): (usize, &Vec<u32>)| HostNode { id: NodeId(at as u32 * 2), cpus: cpus.clone(), memory_bytes: 7 };
        let nodes = cpus.iter().enumerate().map(node).collect();
        let arch = if x86 { "x86_64" } else { "aarch64" }.to_owned();
        let host = Host { nodes, distances, arch, ..Host::default() };
        Snapshot { host, duration_ns, totals, threads, placement_pages, node_memory, ..Snapshot::nothing_yet("pid 1") }
    }
}
