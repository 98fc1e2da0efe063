//! Rules about nodes and memory: each fires on a machine that has its problem, with the right evidence, and on none that
//! almost has it or is healthy.

mod arbitrary;

use std::collections::BTreeSet;

use numatrace::findings::{self, Findings, Settings};
use numatrace::mempolicy;
use numatrace::snapshot::{
    Causes, Finding, GroupBy, Host, HostNode, LocalRemote, Location, Migrations, NodeMemory, Sched, Snapshot, Switches,
    Thread, ThreadStats, TouchCount, Touches, Waker,
};
use numatrace::units::{Pid, Tid};
use numatrace::window;
use numatrace_tests::fixture::{snapshot_many_nodes, snapshot_two_nodes, snapshot_with_memory};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use serde_json::Value;

use arbitrary::any_snapshot;

const MS: u64 = 1_000_000;
const S: u64 = 1_000 * MS;
/// The rules that this file is about.
const RULES: [&str; 6] =
    ["cross-node-hops", "remote-memory", "first-touch", "memory-policy", "numa-balancing", "node-full"];

/// A thread of process 4711 that ran so many milliseconds on each node, stays where it is, and touched nothing.
fn thread(tid: u32, ms_by_node: &[u64]) -> Thread {
    let residency_ns: Vec<u64> = ms_by_node.iter().map(|ms| ms * MS).collect();
    let stats = ThreadStats {
        cpu_ns: residency_ns.iter().sum(),
        residency_ns,
        switches: Switches { voluntary: 4_000, involuntary: 1_000 },
        touches: Some(Touches {
            cow: Some(TouchCount::default()),
            huge: Some(TouchCount::default()),
            ..Touches::default()
        }),
        touches_by_node: Some(Vec::new()),
        hint_faults: None,
        hint_fault_ns: None,
        pages_migrated: None,
        locations: Some(Vec::new()),
        ..ThreadStats::default()
    };
    Thread { tid: Tid(tid), pid: Pid(4711), comm: format!("worker-{tid}").into(), stats, ..Thread::default() }
}

/// The same after first touches from nodes of the CPU (rows) on nodes of the page.
fn touching(mut thread: Thread, by_node: &[&[u64]]) -> Thread {
    let matrix: Vec<Vec<u64>> = by_node.iter().map(|row| row.to_vec()).collect();
    let local: u64 = matrix.iter().enumerate().map(|(at, row)| row.get(at).copied().unwrap_or(0)).sum();
    let remote = matrix.iter().flatten().sum::<u64>() - local;
    let first_touch = TouchCount { local, remote, unknown: 0 };
    thread.stats.touches = thread.stats.touches.map(|touches| Touches { first_touch, ..touches });
    thread.stats.touches_by_node = Some(matrix);
    thread
}

/// The same, whose touches come from this mapping.
fn at(mut thread: Thread, mapping: &str, local: u64, remote: u64) -> Thread {
    let place = Location { mapping: mapping.into(), symbol: "fill_table".into(), stack: Vec::new(), local, remote };
    thread.stats.locations.get_or_insert_default().push(place);
    thread
}

/// The same with hint faults and pages moved.
fn hinted(mut thread: Thread, local: u64, remote: u64, moved: u64) -> Thread {
    thread.stats.hint_faults = Some(LocalRemote { local, remote });
    thread.stats.pages_migrated = Some(moved);
    thread
}

/// The same after so many turns on another node than the one before, all caused by wakeups.
fn hopping(mut thread: Thread, moves: u64) -> Thread {
    thread.stats.node_moves = moves;
    thread.stats.migrations = Migrations {
        cross_node: moves,
        causes: Causes { wakeup: moves, ..Causes::default() },
        ..Migrations::default()
    };
    thread
}

/// Ten seconds of these threads on a machine with as many nodes as there are numbers of resident pages. Sums are those of the
/// threads.
fn machine(pages: &[u64], threads: Vec<Thread>) -> Snapshot {
    let nodes = pages.len();
    let base = if nodes == 2 { snapshot_with_memory() } else { snapshot_many_nodes(nodes as u32) };
    let mut snapshot = Snapshot { threads, placement_pages: Some(pages.to_vec()), duration_ns: 10 * S, ..base };
    let all: u64 = pages.iter().sum();
    for stats in snapshot.threads.iter_mut().map(|thread| &mut thread.stats) {
        let elsewhere = |at: usize| (all - pages[at]) as f64 / all as f64;
        let away: f64 = stats.residency_ns.iter().enumerate().map(|(at, ns)| *ns as f64 * elsewhere(at)).sum();
        stats.expected_remote_share = (all > 0 && stats.cpu_ns > 0).then(|| away / stats.cpu_ns as f64);
    }
    let members: Vec<&Thread> = snapshot.threads.iter().collect();
    let sum = window::group(&members, GroupBy::Comm, &snapshot.host.distances).expect("threads").stats;
    let mut totals = ThreadStats { locations: sum.locations.clone(), ..sum };
    totals.residency_ns.resize(nodes, 0);
    let matrix = totals.touches_by_node.get_or_insert_default();
    matrix.resize(nodes, Vec::new());
    matrix.iter_mut().for_each(|row| row.resize(nodes, 0));
    snapshot.matrices.page_touches = totals.touches_by_node.clone();
    snapshot.totals = totals;
    snapshot
}

/// What the rules of this file say.
fn found(snapshot: &Snapshot) -> Vec<Finding> {
    let all = findings::look_once(snapshot, &Settings::default());
    all.into_iter().filter(|finding| RULES.contains(&finding.id.as_str())).collect()
}

fn ids(snapshot: &Snapshot) -> Vec<String> {
    found(snapshot).into_iter().map(|finding| finding.id).collect()
}

fn the(snapshot: &Snapshot, rule: &str) -> Finding {
    let all = found(snapshot);
    let wanted = all.iter().find(|finding| finding.id == rule);
    wanted.cloned().unwrap_or_else(|| panic!("{rule} is not among {all:#?}"))
}

fn number(finding: &Finding, name: &str) -> u64 {
    finding.evidence[name].as_u64().unwrap_or_else(|| panic!("no {name} in {:#}", finding.evidence))
}

fn ratio(finding: &Finding, name: &str) -> f64 {
    finding.evidence[name].as_f64().unwrap_or_else(|| panic!("no {name} in {:#}", finding.evidence))
}

/// Two nodes, four threads that stay on theirs, memory beside them.
fn healthy() -> Snapshot {
    let threads = [(1, [8_000, 0]), (2, [8_000, 0]), (3, [0, 8_000]), (4, [0, 8_000])].map(|(tid, ms)| {
        let rows: [&[u64]; 2] = if ms[0] > 0 { [&[40_000, 200], &[]] } else { [&[], &[150, 40_000]] };
        hinted(hopping(touching(thread(tid, &ms), &rows), 3), 2_000, 60, 40)
    });
    machine(&[500_000, 500_000], threads.into())
}

#[test]
fn on_healthy_machines_nothing_is_found() {
    assert_eq!(ids(&healthy()), [""; 0]);
    // Sixteen nodes, threads on all of them, memory beside each: what is expected of accesses that were uniform would be
    // almost all remote.
    let ms = |node: u32| -> Vec<u64> { (0..16).map(|at| if at == node { 9_000 } else { 0 }).collect() };
    let threads = (0..16).map(|node| {
        let mut rows = vec![vec![0; 16]; 16];
        rows[node as usize][node as usize] = 20_000;
        let rows: Vec<&[u64]> = rows.iter().map(Vec::as_slice).collect();
        touching(thread(node, &ms(node)), &rows)
    });
    let wide = machine(&[100_000; 16], threads.collect());
    assert!(wide.totals.expected_remote_share.is_some_and(|share| share > 0.9));
    assert_eq!(ids(&wide), [""; 0]);
    // A small program: its pages are those of libraries, which others have placed.
    let mut small = at(touching(thread(7, &[0, 6_000]), &[&[], &[300, 0]]), "/usr/lib/libc.so.6", 10, 1_700);
    let file = TouchCount { local: 10, remote: 3_000, unknown: 0 };
    small.stats.touches = small.stats.touches.map(|touches| Touches { file, ..touches });
    assert_eq!(ids(&machine(&[1_800, 320], vec![small])), [""; 0]);
    // One that hardly runs.
    let idle = touching(thread(7, &[0, 40]), &[&[], &[0, 90_000]]);
    assert_eq!(ids(&machine(&[90_000, 0], vec![idle])), [""; 0]);
}

#[test]
fn a_machine_with_one_node_has_no_such_problem() {
    let mut busy = hinted(hopping(touching(thread(1, &[9_000]), &[&[90_000]]), 50_000), 9_000, 9_000_000, 90_000_000);
    busy.stats.migrations.causes.numa_balancing = 9_000;
    assert_eq!(ids(&machine(&[100_000], vec![at(busy, "heap, bound to 0", 1, 9_000)])), [""; 0]);
    let nothing = Snapshot { host: Host::default(), ..snapshot_two_nodes() };
    assert_eq!(ids(&nothing), [""; 0]);
}

#[test]
fn nothing_is_found_before_there_are_numbers() {
    assert_eq!(ids(&Snapshot::nothing_yet("pid 1")), [""; 0]);
    let mut empty = machine(&[0, 0], vec![thread(1, &[0, 0])]);
    empty.duration_ns = 0;
    assert_eq!(ids(&empty), [""; 0]);
}

/// Two threads that wakeups throw from node to node.
fn hoppers(moves: u64) -> Snapshot {
    let mut first = hopping(thread(1, &[2_000, 1_000]), moves);
    first.stats.wakers = vec![
        Waker { tid: Tid(0), comm: "".into(), count: 9 },
        Waker { tid: Tid(99), comm: "dispatcher".into(), count: 4_000 },
    ];
    machine(&[200_000, 200_000], vec![first, hopping(thread(2, &[1_000, 2_000]), moves / 2)])
}

#[test]
fn threads_that_hop_between_nodes_are_told_with_who_moves_them() {
    let snapshot = hoppers(800);
    let finding = the(&snapshot, "cross-node-hops");
    assert_eq!(finding.severity, "warn");
    for part in ["120 times a second", "200 times for each second on a CPU", "1,200 of 10,000 turns", "12.0%"] {
        assert!(finding.title.contains(part), "{part}: {}", finding.title);
    }
    assert!(finding.title.contains("worker-1 (tid 1) 800 times, worker-2 (tid 2) 400 times"), "{}", finding.title);
    assert!(finding.title.contains("moved mostly by wakeups"), "{}", finding.title);
    assert!(finding.advice.contains("woken most by dispatcher (tid 99)"), "{}", finding.advice);
    assert_eq!(number(&finding, "node_moves"), snapshot.totals.node_moves);
    assert_eq!(number(&finding, "migrations_by_wakeup"), snapshot.totals.migrations.causes.wakeup);
    assert!((ratio(&finding, "share_of_turns") - 0.12).abs() < 1e-9);
    // Memory lies on both: where it ran is equal, too, and the first node is taken.
    assert_eq!(finding.command.as_deref(), Some("taskset -acp 0-3 4711 && migratepages 4711 1 0"));
    assert_eq!(the(&hoppers(8_000), "cross-node-hops").severity, "critical");
}

#[test]
fn few_hops_are_no_finding() {
    // 24 a second of CPU time, but 14.4 a second: told. A little less of one of them: not.
    assert_eq!(ids(&hoppers(96)), ["cross-node-hops"]);
    assert_eq!(ids(&hoppers(78)), [""; 0], "19.5 for each second on a CPU");
    let mut short = hoppers(96);
    short.duration_ns = 200 * MS;
    short.totals.node_moves = 49;
    assert_eq!(ids(&short), [""; 0], "too few to say so");
    let mut slow = hoppers(96);
    slow.duration_ns = 15 * S;
    assert_eq!(ids(&slow), [""; 0], "9.6 a second");
}

#[test]
fn a_target_that_hardly_runs_is_not_slow_by_hops() {
    let idle = |ms: u64| machine(&[200_000, 200_000], vec![hopping(thread(1, &[ms, ms]), 9_000), thread(2, &[0, 0])]);
    assert_eq!(ids(&idle(240)), [""; 0], "0.048 CPUs");
    assert_eq!(the(&idle(260), "cross-node-hops").severity, "warn");
    assert_eq!(the(&idle(2_600), "cross-node-hops").severity, "critical");
}

#[test]
fn what_moves_threads_decides_what_to_do() {
    let by = |causes: Causes| {
        let mut snapshot = hoppers(800);
        snapshot.threads.iter_mut().for_each(|thread| thread.stats.migrations.causes = causes);
        snapshot.totals.migrations.causes = causes;
        the(&snapshot, "cross-node-hops")
    };
    let balanced = by(Causes { load_balance: 700, wakeup: 100, ..Causes::default() });
    assert!(balanced.title.contains("by the load balancer") && balanced.advice.contains("cpuset"), "{balanced:?}");
    let sampled = by(Causes { numa_balancing: 700, ..Causes::default() });
    assert!(sampled.title.contains("by automatic NUMA balancing"), "{sampled:?}");
    // The program would undo the command.
    let set = by(Causes { active_balance_or_affinity: 700, ..Causes::default() });
    assert!(set.advice.contains("sched_setaffinity") && set.command.is_none(), "{set:?}");
    // A cause of threads that stay on their nodes is not the cause.
    let mut snapshot = hoppers(800);
    let mut stays = thread(3, &[1_000, 0]);
    stays.stats.migrations = Migrations {
        llc: 90_000,
        causes: Causes { load_balance: 90_000, ..Causes::default() },
        ..Migrations::default()
    };
    snapshot.totals.migrations.llc += 90_000;
    snapshot.totals.migrations.causes.load_balance += 90_000;
    snapshot.threads.push(stays);
    assert!(the(&snapshot, "cross-node-hops").title.contains("moved mostly by wakeups"));
}

#[test]
fn commands_bind_only_what_fits_and_may_run_there() {
    let command = |change: &dyn Fn(&mut Snapshot)| {
        let mut snapshot = hoppers(800);
        change(&mut snapshot);
        the(&snapshot, "cross-node-hops").command
    };
    // Five threads wanted a CPU all the time, and a node has four.
    assert_eq!(command(&|snapshot| snapshot.threads[0].stats.wait_ns = 47 * S), None);
    let allow = |snapshot: &mut Snapshot, cpus: &str| {
        for thread in &mut snapshot.threads {
            thread.sched = Some(Sched { allowed_cpus: cpus.into(), ..Sched::default() }.into());
        }
    };
    assert_eq!(
        command(&|snapshot| allow(snapshot, "2-5")).as_deref(),
        Some("taskset -acp 2-3 4711 && migratepages 4711 1 0")
    );
    // It may run on the other node alone.
    assert_eq!(
        command(&|snapshot| allow(snapshot, "4-7")).as_deref(),
        Some("taskset -acp 4-7 4711 && migratepages 4711 0 1")
    );
    // Three CPUs are wanted, and two may be used.
    let wants = |snapshot: &mut Snapshot| {
        allow(snapshot, "2-5");
        snapshot.threads[0].stats.wait_ns = 24 * S;
    };
    assert_eq!(command(&wants), None);
    // Other threads of the process are not traced: they and its memory are left alone.
    let kind = |snapshot: &mut Snapshot| snapshot.target.kind = "comm".into();
    assert_eq!(command(&kind).as_deref(), Some("for t in 1 2; do taskset -cp 0-3 $t; done"));
    let one = |snapshot: &mut Snapshot| {
        snapshot.target.kind = "tid".into();
        snapshot.threads[1].exited = true;
    };
    assert_eq!(command(&one).as_deref(), Some("taskset -cp 0-3 1"));
    // Where memory lies is not known.
    assert_eq!(command(&|snapshot| snapshot.placement_pages = None).as_deref(), Some("taskset -acp 0-3 4711"));
    // Most memory lies on node 1, and little elsewhere.
    let there = |snapshot: &mut Snapshot| snapshot.placement_pages = Some(vec![1_000, 399_000]);
    assert_eq!(command(&there).as_deref(), Some("taskset -acp 4-7 4711"));
    // There is no room for what lies on node 1.
    let full = |snapshot: &mut Snapshot| {
        snapshot.node_memory = Some(vec![NodeMemory { free_bytes: 100 << 20, file_bytes: 600 << 20, ..memory() }; 2]);
    };
    assert_eq!(command(&full).as_deref(), Some("taskset -acp 0-3 4711"));
    // All have ended.
    let ended = |snapshot: &mut Snapshot| snapshot.threads.iter_mut().for_each(|thread| thread.exited = true);
    assert_eq!(command(&ended).as_deref(), Some("numactl --cpunodebind=0 --membind=0 CMD"));
}

/// A process on node 0 whose memory lies on node 1.
fn misplaced() -> Snapshot {
    machine(&[2_000, 98_000], vec![thread(1, &[7_000, 0]), thread(2, &[6_000, 500])])
}

#[test]
fn memory_that_lies_where_nobody_runs_is_told_by_placement() {
    let snapshot = misplaced();
    let finding = the(&snapshot, "remote-memory");
    // 13.0 s on node 0 with 98% elsewhere, 0.5 s on node 1 with 2%: 94.4%; at least 1 - 2% - 3.7% = 94.3%.
    assert!(finding.title.contains("94.4% of accesses are expected to be remote, 94.3% at least"), "{}", finding.title);
    assert_eq!(finding.evidence["stands_on"], "placement: an estimate, as if all pages were used alike");
    assert!((ratio(&finding, "estimated_cost") - (1.0 + 0.942_96 * 1.1)).abs() < 1e-4, "{:#}", finding.evidence);
    assert_eq!(finding.severity, "critical");
    assert_eq!(number(&finding, "pages_node_0") + number(&finding, "pages_node_1"), 100_000);
    assert_eq!(number(&finding, "cpu_ns_node_0") + number(&finding, "cpu_ns_node_1"), snapshot.totals.cpu_ns);
    assert_eq!(finding.command.as_deref(), Some("migratepages 4711 1 0"));
    assert!(finding.advice.contains("numactl --cpunodebind=0 --membind=0"), "{}", finding.advice);
}

#[test]
fn memory_that_is_almost_misplaced_is_no_finding() {
    assert_eq!(ids(&machine(&[2_000, 6_000], vec![thread(1, &[7_000, 0])])), [""; 0], "less than caches hold");
    // 29% elsewhere.
    assert_eq!(ids(&machine(&[71_000, 29_000], vec![thread(1, &[7_000, 0])])), [""; 0]);
    // Half of uniform accesses would be remote, but each node has what its threads need.
    assert_eq!(ids(&machine(&[50_000, 50_000], vec![thread(1, &[7_000, 0]), thread(2, &[0, 7_000])])), [""; 0]);
    // Hint faults are measured, and say that what is used is local.
    let known = vec![hinted(thread(1, &[7_000, 0]), 900, 100, 0), thread(2, &[6_000, 500])];
    assert_eq!(ids(&machine(&[2_000, 98_000], known)), [""; 0]);
    // Two processes, each beside its memory, and one thread that has none of it known.
    let mut two = machine(&[50_000, 50_000], vec![thread(1, &[7_000, 0]), thread(2, &[0, 7_000])]);
    two.threads[1].pid = Pid(5_000);
    two.threads.iter_mut().for_each(|thread| thread.stats.expected_remote_share = Some(0.02));
    two.totals.expected_remote_share = Some(0.02);
    assert_eq!(ids(&two), [""; 0]);
}

#[test]
fn of_several_processes_those_that_run_on_one_node_are_known_apart() {
    let mut two = machine(&[50_000, 50_000], vec![thread(1, &[7_000, 0]), thread(2, &[0, 7_000])]);
    two.threads[1].pid = Pid(5_000);
    // Each has its memory where the other runs.
    two.threads.iter_mut().for_each(|thread| thread.stats.expected_remote_share = Some(0.98));
    two.totals.expected_remote_share = Some(0.98);
    let finding = the(&two, "remote-memory");
    assert!((ratio(&finding, "misplaced_share") - 0.98).abs() < 1e-9);
    // Which pages are whose is not known: none are moved.
    assert_eq!(finding.command.as_deref(), Some("taskset -acp 0-3 4711"));
}

#[test]
fn pages_are_those_of_the_one_process_that_lives() {
    // Others came and went: placement is of those that live.
    let mut snapshot = misplaced();
    snapshot.dropped_threads = 12;
    snapshot.threads.push(Thread { pid: Pid(9_000), exited: true, ..thread(9, &[100, 0]) });
    assert_eq!(the(&snapshot, "remote-memory").command.as_deref(), Some("migratepages 4711 1 0"));
    // Of two that live it is not known whose they are.
    snapshot.threads[2].exited = false;
    assert_eq!(the(&snapshot, "remote-memory").command.as_deref(), Some("taskset -acp 0-3 4711"));
}

#[test]
fn hint_faults_tell_what_is_used_all_the_time() {
    let spread = |remote| {
        let first = at(hinted(thread(1, &[4_000, 3_000]), 1_000 - remote, remote, 10), "heap, default policy", 10, 400);
        machine(&[50_000, 50_000], vec![first])
    };
    let snapshot = spread(700);
    let finding = the(&snapshot, "remote-memory");
    assert!(finding.title.contains("70.0% of 1,000 NUMA hint faults were remote"), "{}", finding.title);
    assert!(finding.title.contains("in heap, default policy, by fill_table"), "{}", finding.title);
    assert_eq!(finding.evidence["stands_on"], "hint faults: samples of steady use");
    assert_eq!(number(&finding, "local_hint_faults") + number(&finding, "remote_hint_faults"), 1_000);
    // 1 + 0.7 x (2.1 - 1).
    assert!((ratio(&finding, "estimated_cost") - 1.77).abs() < 1e-9);
    assert_eq!(finding.command.as_deref(), Some("taskset -acp 0-3 4711 && migratepages 4711 1 0"));
    assert_eq!(ids(&spread(290)), [""; 0]);
    assert_eq!(the(&spread(310), "remote-memory").severity, "warn", "1.34 times");
}

#[test]
fn page_touches_alone_tell_where_memory_is_placed_and_never_more_than_that() {
    let filled = |remote: u64, mapping: &str| {
        let first = touching(thread(1, &[7_000, 0]), &[&[10_000 - remote, remote], &[]]);
        let mut snapshot = machine(&[50_000, 50_000], vec![at(first, mapping, 10_000 - remote, remote)]);
        // Nothing is known of where memory lies.
        snapshot.placement_pages = None;
        snapshot.totals.expected_remote_share = None;
        snapshot
    };
    let finding = the(&filled(9_000, "heap, default policy"), "remote-memory");
    assert_eq!(finding.evidence["stands_on"], "page touches: first uses alone");
    assert!(finding.title.contains("90.0% of page touches outside of files"), "{}", finding.title);
    assert!(finding.title.contains("touched mostly from node 0 on node 1"), "{}", finding.title);
    assert_eq!((number(&finding, "local_touches"), number(&finding, "remote_touches")), (1_000, 9_000));
    assert_eq!(number(&finding, "worst_pair_touches"), 9_000);
    assert_eq!(finding.severity, "warn");
    assert_eq!(ids(&filled(2_900, "heap, default policy")), [""; 0]);
    // Interleaved on purpose is not this rule's.
    assert!(!ids(&filled(9_000, "heap, interleaved on 0-1")).contains(&"remote-memory".to_owned()));
}

/// One thread filled memory on node 0, the others use it on node 1.
fn filled(pages: u64, others_ms: &[[u64; 2]]) -> Snapshot {
    let init =
        at(touching(thread(1, &[1_500, 0]), &[&[pages, 20], &[]]), "anon 0x1000-0x2000, default policy", 40_000, 3);
    let others = others_ms.iter().zip(2..).map(|(ms, tid)| touching(thread(tid, ms), &[&[50, 0], &[0, 60]]));
    let threads: Vec<Thread> = std::iter::once(init).chain(others).collect();
    machine(&[90_000, 10_000], threads)
}

#[test]
fn memory_that_one_thread_filled_for_others_is_told_with_thread_node_and_place() {
    let snapshot = filled(40_000, &[[100, 6_000], [200, 5_000]]);
    let finding = the(&snapshot, "first-touch");
    assert!(
        finding.title.starts_with("worker-1 (tid 1) touched 40,000 of 40,240 pages first, on node 0"),
        "{}",
        finding.title
    );
    assert!(finding.title.contains("in anon 0x1000-0x2000, default policy, by fill_table"), "{}", finding.title);
    assert_eq!((number(&finding, "pages_of_thread"), number(&finding, "pages_of_process")), (40_000, 40_240));
    assert_eq!(number(&finding, "cpu_ns_of_others_node_0") + number(&finding, "cpu_ns_of_others_node_1"), 11_300 * MS);
    assert!((ratio(&finding, "elsewhere_share") - 11.0 / 11.3).abs() < 1e-9);
    assert_eq!(finding.command.as_deref(), Some("migratepages 4711 0 1"));
    // A huge page is many.
    let mut huge = filled(0, &[[100, 6_000]]);
    let pages = Some(TouchCount { local: 100, remote: 0, unknown: 0 });
    let touches = huge.threads[0].stats.touches.as_mut().expect("measured");
    touches.huge = pages;
    huge.threads[0].stats.touches_by_node = Some(vec![vec![100, 0], vec![]]);
    assert_eq!(number(&the(&huge, "first-touch"), "pages_of_thread"), 51_200);
}

#[test]
fn memory_that_is_used_where_it_was_filled_is_no_finding() {
    let told = |snapshot: &Snapshot| ids(snapshot).contains(&"first-touch".to_owned());
    assert!(!told(&filled(4_000, &[[100, 6_000]])), "too little");
    assert!(!told(&filled(40_000, &[[6_000, 5_000]])), "most use it there");
    assert!(!told(&filled(40_000, &[[0, 400]])), "nobody else runs");
    // The thread itself uses it, and others do a little elsewhere.
    let mut own = filled(40_000, &[[0, 1_200]]);
    own.threads[0].stats.cpu_ns = 7_000 * MS;
    assert!(!told(&own));
    // All fill their own.
    let both = [(1, [6_000, 0], [&[40_000, 0][..], &[]]), (2, [0, 6_000], [&[][..], &[0, 40_000]])];
    let threads = both.map(|(tid, ms, rows)| touching(thread(tid, &ms), &rows));
    assert!(!told(&machine(&[50_000, 50_000], threads.into())));
    // It was moved since, or is used little: hint faults say that it is local.
    let mut moved = filled(40_000, &[[100, 6_000]]);
    moved.totals.hint_faults = Some(LocalRemote { local: 900, remote: 100 });
    assert!(!told(&moved));
    let mut moved = filled(40_000, &[[100, 6_000]]);
    moved.placement_pages = Some(vec![20_000, 80_000]);
    assert!(!told(&moved));
}

/// A process on node 0 with memory of this policy.
fn with_policy(mode: u16, nodes: u64, ms: [u64; 2], local: u64, remote: u64) -> Snapshot {
    let mapping = mempolicy::with_mapping("anon 0x7f31c0000000-0x7f31e0000000", &mempolicy::words(mode, nodes));
    machine(&[30_000, 30_000], vec![at(thread(1, &ms), &mapping, local, remote)])
}

#[test]
fn policies_that_do_not_suit_where_a_process_runs_are_told() {
    let finding = the(&with_policy(3, 0b11, [6_000, 300], 5_000, 5_200), "memory-policy");
    assert!(
        finding.title.contains("by the policy 'interleaved on 0-1', although it runs on node 0 for 95.2%"),
        "{}",
        finding.title
    );
    assert!(finding.title.contains("5,200 of 10,200 page touches in it were remote"), "{}", finding.title);
    assert_eq!((number(&finding, "sampled_local_touches"), number(&finding, "sampled_remote_touches")), (5_000, 5_200));
    assert_eq!(finding.command.as_deref(), Some("migratepages 4711 1 0"));
    let finding = the(&with_policy(2, 0b10, [6_000, 300], 10, 9_000), "memory-policy");
    assert!(
        finding.title.contains("by the policy 'bound to 1', although it runs elsewhere for 95.2%"),
        "{}",
        finding.title
    );
    assert_eq!(finding.command.as_deref(), Some("taskset -acp 4-7 4711"));
    assert_eq!(number(&finding, "cpu_ns_off_its_nodes") + number(&finding, "cpu_ns_on_its_nodes"), 6_300 * MS);
    let finding = the(&with_policy(1, 0b10, [6_000, 300], 10, 9_000), "memory-policy");
    assert!(finding.title.contains("by the policy 'preferred 1'"), "{}", finding.title);
}

#[test]
fn policies_that_suit_are_no_finding() {
    let told = |snapshot: &Snapshot| ids(snapshot).contains(&"memory-policy".to_owned());
    assert!(!told(&with_policy(3, 0b11, [4_000, 3_000], 5_000, 5_200)), "it runs on both");
    assert!(!told(&with_policy(3, 0b11, [6_000, 300], 480, 490)), "too few");
    assert!(!told(&with_policy(3, 0b1, [6_000, 300], 5_000, 5_200)), "on one node");
    assert!(!told(&with_policy(2, 0b1, [6_000, 300], 9_000, 500)), "where it runs");
    assert!(!told(&with_policy(2, 0b10, [3_000, 3_300], 4_000, 5_000)), "it runs there, too");
    assert!(!told(&with_policy(0, 0, [6_000, 300], 10, 9_000)), "no policy");
}

#[test]
fn memory_that_is_bound_to_a_full_node_is_told() {
    let bound = |left: u64| {
        let mut snapshot = with_policy(2, 0b1, [6_000, 0], 9_000, 0);
        let full = NodeMemory { free_bytes: left, file_bytes: left, ..memory() };
        snapshot.node_memory = Some(vec![full, memory()]);
        snapshot
    };
    let finding = the(&bound(1 << 30), "memory-policy");
    assert!(
        finding.title.contains("by the policy 'bound to 0', where only 3.1% of the memory is left"),
        "{}",
        finding.title
    );
    assert_eq!(
        (number(&finding, "bytes_left_on_its_nodes"), number(&finding, "bytes_of_its_nodes")),
        (2 << 30, 64 << 30)
    );
    assert_eq!(finding.command, None);
    assert!(!ids(&bound(2 << 30)).contains(&"memory-policy".to_owned()), "6.25% is left");
}

/// Balancing that makes so many faults, local and remote, and moves so many pages.
fn balanced(local: u64, remote: u64, moved: u64) -> Snapshot {
    machine(&[30_000, 30_000], vec![hinted(thread(1, &[5_000, 5_000]), local, remote, moved)])
}

#[test]
fn balancing_that_does_not_come_to_rest_is_told() {
    let finding = the(&balanced(30_000, 9_000, 120_000), "numa-balancing");
    assert!(
        finding.title.contains("120,000 pages, 12,000 a second, 2.0 times as many as there are resident"),
        "{}",
        finding.title
    );
    assert_eq!((number(&finding, "pages_migrated"), number(&finding, "resident_pages")), (120_000, 60_000));
    assert_eq!(
        number(&finding, "local_hint_faults") + number(&finding, "remote_hint_faults"),
        number(&finding, "hint_faults")
    );
    assert_eq!(finding.severity, "warn");
    assert_eq!(finding.command.as_deref(), Some("taskset -acp 0-3 4711 && migratepages 4711 1 0"));
    assert_eq!(the(&balanced(30_000, 9_000, 300_000), "numa-balancing").severity, "critical", "30,000 a second");
    let finding = the(&balanced(30_000, 40_000, 400), "numa-balancing");
    assert!(
        finding.title.contains("7,000 faults a second and settles nothing: 57.1% of them are remote"),
        "{}",
        finding.title
    );
    let mut threads = balanced(0, 0, 0);
    threads.totals.migrations.causes.numa_balancing = 60;
    assert!(the(&threads, "numa-balancing").title.contains("moves threads 6.0 times a second, 60 times in all"));
    // A process that needs more than a node.
    let mut large = balanced(30_000, 9_000, 120_000);
    large.threads[0].stats.wait_ns = 40 * S;
    let finding = the(&large, "numa-balancing");
    assert_eq!(finding.command.as_deref(), Some("sysctl kernel.numa_balancing=0"));
    assert!(finding.advice.contains("for the whole machine"), "{}", finding.advice);
}

#[test]
fn balancing_that_does_its_work_is_no_finding() {
    let told = |snapshot: &Snapshot| ids(snapshot).contains(&"numa-balancing".to_owned());
    // Each page was moved once, after many faults.
    assert!(!told(&balanced(30_000, 60_000, 60_000)));
    assert!(!told(&balanced(30_000, 9_000, 89_000)), "1.48 times");
    assert!(!told(&balanced(48_000, 1_900, 10)), "4,990 a second");
    assert!(!told(&balanced(60_000, 20_000, 10)), "a quarter is remote");
    let mut threads = balanced(0, 0, 0);
    threads.totals.migrations.causes.numa_balancing = 40;
    assert!(!told(&threads));
    let mut begins = balanced(30_000, 9_000, 120_000);
    begins.duration_ns = 2 * S;
    assert!(!told(&begins));
    // Little memory that moved now and then in a long time.
    let mut long = balanced(300, 90, 120_000);
    long.duration_ns = 3_600 * S;
    assert!(!told(&long));
}

/// Memory of a node of 64 GiB with room.
fn memory() -> NodeMemory {
    NodeMemory { total_bytes: 64 << 30, free_bytes: 30 << 30, file_bytes: 8 << 30, hit: 900_000, miss: 10, foreign: 10 }
}

fn spilling(full: NodeMemory, touches: &[u64]) -> Snapshot {
    let other = NodeMemory { miss: full.foreign, ..memory() };
    let threads = vec![touching(thread(1, &[7_000, 0]), &[touches, &[]])];
    let mut snapshot = machine(&[90_000, 10_000], threads);
    snapshot.node_memory = Some(vec![full, other]);
    snapshot
}

/// Full of programs' memory: nothing that could be given away.
fn full() -> NodeMemory {
    NodeMemory { free_bytes: 1 << 30, file_bytes: 1 << 30, hit: 60_000, foreign: 40_000, ..memory() }
}

#[test]
fn a_node_that_spills_is_told_with_what_it_costs_the_target() {
    let snapshot = spilling(full(), &[6_000, 4_000]);
    let finding = the(&snapshot, "node-full");
    assert!(finding.title.starts_with("Node 0 is full, 1.00GiB of 64.0GiB free"), "{}", finding.title);
    assert!(finding.title.contains("40.0% of the pages that anybody wanted there, 40,000,"), "{}", finding.title);
    assert!(finding.title.contains("40.0% of the target's page touches"), "{}", finding.title);
    assert_eq!(number(&finding, "pages_as_wanted_of_machine") + number(&finding, "pages_spilled_of_machine"), 100_000);
    assert_eq!(number(&finding, "local_touches_from_node") + number(&finding, "remote_touches_from_node"), 10_000);
    assert_eq!(number(&finding, "touches_from_node"), 10_000);
    assert!(finding.advice.contains("Node 1 has most free memory, 30.0GiB"), "{}", finding.advice);
    assert_eq!((finding.severity.as_str(), finding.command), ("warn", None));
    assert_eq!(the(&spilling(full(), &[4_000, 6_000]), "node-full").severity, "critical");
    // Cached files fill it: the kernel goes elsewhere rather than reclaim them.
    let cached = NodeMemory { file_bytes: 40 << 30, ..full() };
    let finding = the(&spilling(cached, &[6_000, 4_000]), "node-full");
    assert_eq!(finding.command.as_deref(), Some("sysctl vm.zone_reclaim_mode=1"));
}

#[test]
fn a_node_with_room_or_a_target_that_is_not_hit_is_no_finding() {
    let told = |full, touches: &[u64]| ids(&spilling(full, touches)).contains(&"node-full".to_owned());
    let free = NodeMemory { free_bytes: 9 << 30, file_bytes: 9 << 30, ..full() };
    assert!(!told(free, &[6_000, 4_000]), "there is room");
    assert!(!told(NodeMemory { foreign: 900, ..full() }, &[6_000, 4_000]), "few");
    assert!(!told(NodeMemory { hit: 9_000_000, ..full() }, &[6_000, 4_000]), "few of many");
    assert!(!told(full(), &[6_000, 150]), "others are hit");
    assert!(!told(full(), &[60_000, 4_000]), "hardly hit");
    assert!(!told(NodeMemory::default(), &[6_000, 4_000]), "nothing is known");
    let mut unknown = spilling(full(), &[6_000, 4_000]);
    unknown.node_memory = None;
    assert!(!ids(&unknown).contains(&"node-full".to_owned()));
}

#[test]
fn what_is_shown_stays_while_it_is_almost_there() {
    let mut findings = Findings::new(Settings::default());
    let mut told = |snapshot: &Snapshot, now_s: u64| {
        let all = findings.look(snapshot, now_s * S);
        all.iter().any(|finding| ["cross-node-hops", "node-full"].contains(&finding.id.as_str()))
    };
    assert!(!told(&hoppers(78), 10));
    assert!(told(&hoppers(96), 11));
    // Ten seconds later, when it would be held no longer.
    assert!(told(&hoppers(78), 21));
    assert!(!told(&hoppers(40), 31));
    // Upper limits are eased upwards: a node with 3.5% free.
    let almost = NodeMemory { free_bytes: (64 << 30) * 35 / 1_000, file_bytes: 20 << 30, ..full() };
    assert!(!told(&spilling(almost, &[6_000, 4_000]), 41));
    assert!(told(&spilling(full(), &[6_000, 4_000]), 42));
    assert!(told(&spilling(almost, &[6_000, 4_000]), 52));
}

/// Every rule as talkative as can be.
fn loosest() -> Settings {
    let mut settings = Settings::default();
    for rule in findings::RULES.iter().filter(|rule| RULES.contains(&rule.id)) {
        for limit in rule.limits {
            let (least, most) = limit.range;
            let upper = ["left-share", "free-share", "moved-share"].contains(&limit.name);
            settings.set(rule.id, limit.name, if upper { most } else { least }).expect("within its range");
        }
    }
    settings
}

#[test]
fn every_limit_is_documented_with_its_default() {
    let docs = include_str!("../../docs/findings.md");
    for rule in findings::RULES.iter().filter(|rule| RULES.contains(&rule.id)) {
        let from = docs.find(&format!("### `{}`", rule.id)).unwrap_or_else(|| panic!("{} is not documented", rule.id));
        let section = docs[from + 4..].split("\n### ").next().expect("a section");
        for limit in rule.limits {
            let row = format!("| `{}` | {} |", limit.name, limit.default);
            assert!(section.contains(&row), "{}: {row}", rule.id);
        }
    }
}

/// What of the evidence is a part of the target's numbers adds up to them.
fn adds_up(finding: &Finding, snapshot: &Snapshot) {
    let evidence = finding.evidence.as_object().expect("names and values");
    let known = |name: &str| evidence.get(name).and_then(Value::as_u64);
    let totals = &snapshot.totals;
    if let (Some(local), Some(remote)) = (known("local_touches"), known("remote_touches")) {
        let total = totals.touches.expect("measured").total();
        assert_eq!((local, remote, known("unknown_touches")), (total.local, total.remote, Some(total.unknown)));
    }
    if let (Some(local), Some(remote)) = (known("local_hint_faults"), known("remote_hint_faults")) {
        assert_eq!(Some(LocalRemote { local, remote }), totals.hint_faults);
        assert!(known("hint_faults").is_none_or(|all| all == local.saturating_add(remote)));
    }
    if finding.id == "cross-node-hops" {
        let causes = ["wakeup", "load_balance", "active_balance_or_affinity", "numa_balancing", "hotplug", "other"];
        let told = causes.map(|cause| known(&format!("migrations_by_{cause}")).expect("a cause"));
        let of = totals.migrations.causes;
        let all = [of.wakeup, of.load_balance, of.active_balance_or_affinity, of.numa_balancing, of.hotplug, of.other];
        assert_eq!(told, all);
        assert_eq!(known("node_moves"), Some(totals.node_moves));
    }
    if finding.id == "node-full" {
        let (local, remote) = (known("local_touches_from_node"), known("remote_touches_from_node"));
        let all = local.zip(remote).map(|(local, remote)| local.saturating_add(remote));
        assert_eq!(all, known("touches_from_node"));
    }
    let by_node = |prefix: &str| -> Vec<u64> {
        let name = |node: &HostNode| format!("{prefix}_node_{}", node.id);
        snapshot.host.nodes.iter().map(|node| known(&name(node)).unwrap_or(0)).collect()
    };
    if ["remote-memory", "numa-balancing"].contains(&finding.id.as_str()) {
        let nodes = snapshot.host.nodes.len();
        let padded = |numbers: &[u64]| -> Vec<u64> { numbers.iter().copied().chain([0; 5]).take(nodes).collect() };
        assert_eq!(by_node("cpu_ns"), padded(&totals.residency_ns));
        assert_eq!(by_node("pages"), padded(snapshot.placement_pages.as_deref().unwrap_or_default()));
    }
    // Rule, share, part, whole as a sum.
    let shares: [(&str, &str, &str, &[&str]); 9] = [
        ("cross-node-hops", "share_of_turns", "node_moves", &["turns"]),
        ("cross-node-hops", "cross_node_share", "cross_node_migrations", &["migrations"]),
        ("first-touch", "share", "pages_of_thread", &["pages_of_process"]),
        ("memory-policy", "share", "sampled_remote_touches", &["sampled_remote_touches", "sampled_local_touches"]),
        ("numa-balancing", "remote_share", "remote_hint_faults", &["hint_faults"]),
        ("numa-balancing", "moved_for_each_resident_page", "pages_migrated", &["resident_pages"]),
        (
            "node-full",
            "spilled_share",
            "pages_spilled_of_machine",
            &["pages_spilled_of_machine", "pages_as_wanted_of_machine"],
        ),
        ("node-full", "remote_share", "remote_touches_from_node", &["touches_from_node"]),
        ("node-full", "free_share", "free_bytes", &["total_bytes"]),
    ];
    for (_, share, part, whole) in shares.into_iter().filter(|(rule, ..)| finding.id == *rule) {
        let Some(told) = evidence.get(share).and_then(Value::as_f64) else { continue };
        let whole = whole.iter().fold(0u64, |sum, name| sum.saturating_add(known(name).expect("a part of the whole")));
        let expected = known(part).expect("a part") as f64 / whole as f64;
        assert!((told - expected).abs() <= 1e-9 * expected, "{share} is {told}, not {expected}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1_500, ..ProptestConfig::default() })]

    #[test]
    fn no_snapshot_makes_a_rule_panic_and_evidence_adds_up(snapshot in any_snapshot()) {
        let settings = loosest();
        let mut findings = Findings::new(settings.clone());
        for _ in 0..2 {
            for finding in findings.look(&snapshot, 1).iter().filter(|finding| RULES.contains(&finding.id.as_str())) {
                adds_up(finding, &snapshot);
                prop_assert!(finding.title.ends_with('.') && !finding.advice.is_empty());
                let plain = |c: char| c.is_ascii_alphanumeric() || " -=,&_.;$".contains(c);
                prop_assert!(finding.command.iter().all(|command| command.chars().all(plain)), "{:?}", finding.command);
            }
        }
    }
}

#[test]
fn the_property_meets_every_rule() {
    let mut seen = BTreeSet::new();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..3_000 {
        let snapshot = any_snapshot().new_tree(&mut runner).expect("a snapshot").current();
        seen.extend(findings::look_once(&snapshot, &loosest()).into_iter().map(|finding| finding.id));
    }
    assert!(RULES.iter().all(|rule| seen.contains(*rule)), "{seen:?}");
}
