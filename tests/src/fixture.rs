//! Fixed snapshots, as a model would make them, for tests of what is drawn and written.

mod events;
mod healthy;
mod memory;
mod scheduling;
mod throttled;
mod wide;

pub use events::snapshot_with_events;
pub use healthy::{Spent, snapshot_healthy, snapshot_spent, thread_spent};
pub use memory::{
    snapshot_many_nodes, snapshot_with_gaps, snapshot_with_memory, snapshot_with_memory_after, snapshot_without_memory,
};
pub use throttled::{snapshot_throttled, snapshot_throttled_after, snapshot_without_quota, throttle};
pub use wide::snapshot_wide;

use std::collections::BTreeMap;

use numatrace::snapshot::{
    Causes, Culprit, Host, HostNode, Latency, Loss, LossInterval, LossReasons, Matrices, Migrations, Pairs, RunQueue,
    SCHEMA, SelfCost, Shed, ShedInterval, Snapshot, Source, SourceState, Switches, Target, Thread, ThreadState,
    ThreadStats, Tool, Waker,
};
use numatrace::units::{NodeId, Pid, Tid};

const MS: u64 = 1_000_000;
const S: u64 = 1_000 * MS;

/// A service on two nodes, ten seconds in: it waits, hops, and nothing was lost. Six threads, one of them exited,
/// one waiting at this moment, one that never ran.
pub fn snapshot_two_nodes() -> Snapshot {
    let mut snapshot = snapshot(
        10 * S,
        vec![
            thread(
                4711,
                "redis-server",
                ThreadState::Running,
                Numbers {
                    cpu: [6 * S, 2 * S],
                    wait: S / 2,
                    blocked: 3 * S / 2,
                    switches: (24_000, 1_800),
                    latency: [12_000, 180_000, 4 * MS],
                    migrations: [40, 25, 12, 6],
                    node_moves: 7,
                    waiting_now: None,
                },
            ),
            thread(4712, "bio_close_file", ThreadState::Blocked, Numbers { blocked: 10 * S, ..Numbers::default() }),
            thread(
                4713,
                "io_thd_1",
                ThreadState::Waiting,
                Numbers {
                    cpu: [2 * S, 3 * S],
                    wait: 4 * S,
                    blocked: S,
                    switches: (9_000, 14_000),
                    latency: [240_000, 31 * MS, 212 * MS],
                    migrations: [310, 120, 55, 480],
                    node_moves: 466,
                    waiting_now: Some(118 * MS),
                },
            ),
            thread(
                4714,
                "io_thd_2",
                ThreadState::Blocked,
                Numbers {
                    cpu: [S, 0],
                    wait: 3 * MS,
                    blocked: 9 * S - 3 * MS,
                    switches: (900, 4),
                    latency: [3_000, 11_000, 120_000],
                    migrations: [0; 4],
                    node_moves: 0,
                    waiting_now: None,
                },
            ),
            thread(
                4720,
                "jemalloc_bg_thd",
                ThreadState::Blocked,
                Numbers {
                    cpu: [40 * MS, 960 * MS],
                    wait: 1_200 * MS,
                    blocked: 7_800 * MS,
                    switches: (70, 12),
                    latency: [9 * MS, 45 * MS, 88 * MS],
                    migrations: [0, 1, 0, 2],
                    node_moves: 3,
                    waiting_now: None,
                },
            ),
            thread(
                4801,
                "rdb-bgsave",
                ThreadState::Exited,
                Numbers {
                    cpu: [0, 700 * MS],
                    wait: 60 * MS,
                    blocked: 20 * MS,
                    switches: (11, 35),
                    latency: [80_000, 2 * MS, 12 * MS],
                    migrations: [0, 0, 1, 1],
                    node_moves: 1,
                    waiting_now: None,
                },
            ),
        ],
    );
    for thread in &mut snapshot.threads {
        scheduling::tell(thread);
        scheduling::track(thread, 10 * S);
        if thread.tid == Tid(4713) {
            // The one that hops.
            thread.stats.residency_cpu_ns = vec![(1, 2 * S), (4, 1_200 * MS), (5, 1_800 * MS)].into();
        }
    }
    snapshot
}

/// The same a second later: everybody did a little more.
pub fn snapshot_two_nodes_later() -> Snapshot {
    snapshot_two_nodes_after(1)
}

/// The same some seconds later: everybody did a little more in each.
pub fn snapshot_two_nodes_after(seconds: u32) -> Snapshot {
    let mut snapshot = snapshot_two_nodes();
    for _ in 0..seconds {
        snapshot = a_second_after(snapshot);
    }
    snapshot
}

fn a_second_after(before: Snapshot) -> Snapshot {
    let mut later = snapshot(before.duration_ns + S, before.threads);
    later.loss = before.loss;
    later.loss.records_wanted += 61_500;
    later.loss.records_received += 61_500;
    for (at, thread) in
        later.threads.iter_mut().enumerate().filter(|(_, thread)| !thread.exited && thread.stats.cpu_ns > 0)
    {
        let (at, stats) = (at as u64, &mut thread.stats);
        stats.cpu_ns += 800 * MS / (at + 1);
        stats.residency_ns[0] += 800 * MS / (at + 1);
        let first = stats.residency_cpu_ns.iter().enumerate();
        let more = |nth: usize| if nth == 0 { 800 * MS / (at + 1) } else { 0 };
        stats.residency_cpu_ns = first.map(|(nth, (cpu, ns))| (cpu, ns + more(nth))).collect();
        stats.wait_ns += 100 * MS;
        stats.blocked_ns += 900 * MS - 800 * MS / (at + 1);
        for (latency, waits) in [(&mut stats.runq.wakeup, 2_400 / (at + 1)), (&mut stats.runq.preempted, 30 * at)] {
            wait_more(latency, waits, 50 * MS);
        }
        wait_more(&mut stats.runq.all, 2_400 / (at + 1) + 30 * at, 100 * MS);
        stats.switches.voluntary += 2_400 / (at + 1);
        stats.switches.involuntary += 30 * at;
        stats.migrations.llc += 5 * at;
        stats.migrations.cross_node += 12 * at;
        stats.node_moves += 12 * at;
    }
    later.threads.iter_mut().for_each(|thread| scheduling::track(thread, later.duration_ns));
    let threads = std::mem::take(&mut later.threads);
    Snapshot { loss: later.loss, ..snapshot(later.duration_ns, threads) }
}

/// So many more waits, between the median and the 99th percentile.
fn wait_more(latency: &mut Latency, waits: u64, total_ns: u64) {
    let edge = latency.p50_ns.midpoint(latency.p99_ns);
    latency.count += waits;
    latency.total_ns += total_ns;
    if waits > 0 {
        let mut buckets: BTreeMap<u64, u64> = latency.buckets.iter().collect();
        *buckets.entry(edge).or_default() += waits;
        latency.buckets = buckets.into_iter().collect();
    }
}

/// [`snapshot_two_nodes`] with lost records.
pub fn snapshot_with_loss() -> Snapshot {
    let mut snapshot = snapshot_two_nodes();
    snapshot.loss.records_lost = 12_345;
    snapshot.loss.records_received -= 12_345;
    snapshot.loss.by_reason = LossReasons { ring_full: 12_340, no_ring: 0, undecodable: 5 };
    snapshot.loss.intervals = vec![LossInterval { start_ns: 4 * S, end_ns: 5 * S, lost: 12_345 }];
    snapshot
}

/// Nothing has been seen yet.
pub fn snapshot_without_threads() -> Snapshot {
    let mut snapshot = snapshot(0, Vec::new());
    snapshot.loss = Loss::default();
    snapshot
}

/// As many threads as asked for on two nodes, all different, in order of thread id.
pub fn snapshot_of_threads(count: u32) -> Snapshot {
    let threads = (0..count).map(|n| {
        let share = u64::from(n * 7919 % 1000);
        thread(
            1000 + n,
            &format!("worker-{n}"),
            ThreadState::Blocked,
            Numbers {
                cpu: [share * MS, (1000 - share) * MS],
                wait: u64::from(n * 104_729 % 500) * MS,
                blocked: S,
                switches: (u64::from(n), u64::from(n % 13)),
                latency: [1_000 * (share + 1), 20_000 * (share + 1), 300_000 * (share + 1)],
                migrations: [1, 2, 3, u64::from(n % 5)],
                node_moves: u64::from(n % 5),
                waiting_now: None,
            },
        )
    });
    snapshot(2 * S, threads.collect())
}

/// What tells one thread from another in these fixtures; times in nanoseconds.
#[derive(Clone, Copy, Default)]
struct Numbers {
    /// On CPU, by node.
    cpu: [u64; 2],
    wait: u64,
    blocked: u64,
    /// Voluntary, involuntary.
    switches: (u64, u64),
    /// Median, 99th percentile, largest.
    latency: [u64; 3],
    /// SMT, LLC, node, cross-node.
    migrations: [u64; 4],
    node_moves: u64,
    waiting_now: Option<u64>,
}

fn thread(tid: u32, comm: &str, state: ThreadState, n: Numbers) -> Thread {
    let cpu_ns: u64 = n.cpu.iter().sum();
    let count = n.switches.0 + n.switches.1;
    let part = |count: u64, total_ns: u64| {
        let [p50_ns, p99_ns, max_ns] = if count > 0 { n.latency } else { [0; 3] };
        let p90_ns = p50_ns.midpoint(p99_ns);
        let p999_ns = p99_ns.midpoint(max_ns);
        Latency { count, total_ns, p50_ns, p90_ns, p99_ns, p999_ns, max_ns, buckets: buckets(count, n.latency) }
    };
    let waited = n.wait - n.waiting_now.unwrap_or(0);
    let [smt, llc, node, cross_node] = n.migrations;
    let moves = smt + llc + node + cross_node;
    Thread {
        tid: Tid(tid),
        pid: Pid(4711),
        ns_pid: None,
        comm: comm.into(),
        exited: state == ThreadState::Exited,
        state,
        cpu: Some(tid % 8),
        stats: ThreadStats {
            cpu_ns,
            wait_ns: n.wait,
            blocked_ns: n.blocked,
            waiting_now_ns: n.waiting_now,
            switches: Switches { voluntary: n.switches.0, involuntary: n.switches.1 },
            runq: RunQueue {
                unthrottled: None,
                wakeup: part(n.switches.0, waited / 3),
                preempted: part(n.switches.1, waited - waited / 3),
                all: part(count, waited),
            },
            migrations: Migrations {
                smt,
                llc,
                node,
                cross_node,
                causes: Causes { wakeup: moves - moves / 4, load_balance: moves / 4, ..Causes::default() },
                ..Migrations::default()
            },
            node_moves: n.node_moves,
            residency_ns: n.cpu.to_vec(),
            residency_cpu_ns: vec![(tid % 4, n.cpu[0]), (4 + tid % 4, n.cpu[1])].into(),
            wakers: waker(count),
            waited_behind: culprit(waited),
            ..ThreadStats::default()
        },
        ..Thread::default()
    }
}

/// A histogram that fits to a median, a 99th percentile and a maximum.
fn buckets(count: u64, [p50, p99, max]: [u64; 3]) -> Pairs<u64> {
    let middle = p50.midpoint(p99);
    let mut buckets = vec![
        (p50 / 3, count / 8),
        (p50 / 2, count / 5),
        (p50, count - count / 8 - count / 5 - count / 4 - count / 7 - count / 90),
        (middle / 3 + p50, count / 7),
        (p99, count / 4),
        (max, count / 90),
    ];
    buckets.retain(|(_, count)| *count > 0);
    buckets.sort_unstable();
    buckets.into()
}

fn waker(count: u64) -> Vec<Waker> {
    if count == 0 { Vec::new() } else { vec![Waker { tid: Tid(0), comm: "".into(), count }] }
}

fn culprit(waited: u64) -> Vec<Culprit> {
    if waited == 0 {
        return Vec::new();
    }
    vec![Culprit { tid: Tid(977), comm: "stress-ng-cpu".into(), pid: None, total_ns: waited / 2, count: 10 }]
}

fn snapshot(duration_ns: u64, threads: Vec<Thread>) -> Snapshot {
    let mut totals = ThreadStats { residency_ns: vec![0, 0], ..ThreadStats::default() };
    for stats in threads.iter().map(|thread| &thread.stats) {
        totals.cpu_ns += stats.cpu_ns;
        totals.wait_ns += stats.wait_ns;
        totals.blocked_ns += stats.blocked_ns;
        totals.waiting_now_ns = totals.waiting_now_ns.max(stats.waiting_now_ns);
        totals.switches.voluntary += stats.switches.voluntary;
        totals.switches.involuntary += stats.switches.involuntary;
        totals.migrations.smt += stats.migrations.smt;
        totals.migrations.llc += stats.migrations.llc;
        totals.migrations.node += stats.migrations.node;
        totals.migrations.cross_node += stats.migrations.cross_node;
        totals.migrations.causes.wakeup += stats.migrations.causes.wakeup;
        totals.migrations.causes.load_balance += stats.migrations.causes.load_balance;
        totals.node_moves += stats.node_moves;
        totals.wakers = stats.wakers.clone();
        totals.waited_behind = stats.waited_behind.iter().chain(&totals.waited_behind).take(1).cloned().collect();
        for (sum, ns) in totals.residency_ns.iter_mut().zip(&stats.residency_ns) {
            *sum += ns;
        }
        let parts = [
            (&mut totals.runq.wakeup, &stats.runq.wakeup),
            (&mut totals.runq.preempted, &stats.runq.preempted),
            (&mut totals.runq.all, &stats.runq.all),
        ];
        parts.into_iter().for_each(|(sum, part)| add(sum, part));
    }
    totals.runq.wakeup.buckets = all_buckets(&threads, |runq| &runq.wakeup);
    totals.runq.preempted.buckets = all_buckets(&threads, |runq| &runq.preempted);
    totals.runq.all.buckets = all_buckets(&threads, |runq| &runq.all);
    let crossed = totals.migrations.cross_node;
    let stayed = totals.migrations.total() - crossed;
    Snapshot {
        schema: SCHEMA,
        tool: Tool { name: "numatrace".into(), version: "0.1.0".into() },
        host: Host {
            kernel: "6.12.9".into(),
            arch: "x86_64".into(),
            cpus: 8,
            nodes: vec![
                HostNode { id: NodeId(0), cpus: vec![0, 1, 2, 3], memory_bytes: 64 << 30 },
                HostNode { id: NodeId(1), cpus: vec![4, 5, 6, 7], memory_bytes: 64 << 30 },
            ],
            distances: vec![vec![10, 21], vec![21, 10]],
            llcs: [vec![0, 1, 2, 3], vec![4, 5, 6, 7]].into(),
        },
        target: Target { kind: "pid".into(), label: "pid 4711 (redis-server)".into(), ids: vec![4711] },
        selection: None,
        start: "2026-01-02T03:04:05.678Z".into(),
        duration_ns,
        sources: sources(),
        loss: Loss { records_wanted: 615_000, records_received: 615_000, ..Loss::default() },
        self_cost: None,
        totals,
        threads,
        groups: None,
        dropped_threads: 0,
        refused_threads: 0,
        matrices: Matrices {
            migrations: vec![vec![stayed - stayed / 3, crossed / 2], vec![crossed - crossed / 2, stayed / 3]],
            page_touches: None,
        },
        placement_pages: None,
        placement_age_ns: None,
        gaps: Vec::new(),
        events: Vec::new(),
        throttle: None,
        node_memory: None,
        findings: Vec::new(),
        incomplete: None,
    }
}

/// Sums are exact; for percentiles the larger one stands in.
fn add(sum: &mut Latency, part: &Latency) {
    sum.count += part.count;
    sum.total_ns += part.total_ns;
    sum.p50_ns = sum.p50_ns.max(part.p50_ns);
    sum.p90_ns = sum.p90_ns.max(part.p90_ns);
    sum.p99_ns = sum.p99_ns.max(part.p99_ns);
    sum.p999_ns = sum.p999_ns.max(part.p999_ns);
    sum.max_ns = sum.max_ns.max(part.max_ns);
}

/// Those of all threads.
fn all_buckets(threads: &[Thread], of: fn(&RunQueue) -> &Latency) -> Pairs<u64> {
    let mut buckets: BTreeMap<u64, u64> = BTreeMap::new();
    for (edge, count) in threads.iter().flat_map(|thread| &of(&thread.stats.runq).buckets) {
        *buckets.entry(edge).or_default() += count;
    }
    buckets.into_iter().collect()
}

fn sources() -> Vec<Source> {
    let on = ["sched_switch", "sched_wakeup", "sched_wakeup_new", "sched_migrate_task", "sched_process_fork"];
    let mut sources: Vec<Source> =
        on.iter().map(|name| Source { name: (*name).into(), state: SourceState::On, reason: None }).collect();
    sources.push(Source {
        name: "sched_waking".into(),
        state: SourceState::BestEffort,
        reason: Some("attached as raw_tp: wakers inside interrupts are not told apart".into()),
    });
    sources.push(Source {
        name: "cpu.stat".into(),
        state: SourceState::Off,
        reason: Some("the target's cgroup has no CPU quota, so no throttled time is shown".into()),
    });
    sources
}

/// What numatrace itself takes, where it leaves out turns and wakers to take less.
pub fn self_cost() -> SelfCost {
    let interval =
        |start_ns, end_ns, every, turns| ShedInterval { start_ns, end_ns, every, turns, left_out: Vec::new() };
    SelfCost {
        cpu_ns: 1_234_000_000,
        probes_ns: Some(321_000_000),
        memory_bytes: 40 << 20,
        ring_fill: 0.05,
        ring_fill_max: 0.12,
        overhead: 0.006,
        max_overhead: Some(0.02),
        shed: Shed {
            every: 8,
            turns: 12_345,
            left_out: vec!["wakers"],
            for_loss: false,
            not_held: false,
            intervals: vec![
                interval(1_000_000_000, 2_000_000_000, 4, 12_000),
                interval(3_000_000_000, 4_000_000_000, 8, 345),
            ],
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracks_and_time_on_cpus_are_the_same_story() {
        for thread in &snapshot_two_nodes().threads {
            let mut by_cpu: Vec<(u32, u64)> = thread.stats.residency_cpu_ns.iter().collect();
            for (cpu, ns) in thread.track.iter().flat_map(|slot| slot.cpus) {
                by_cpu.iter_mut().filter(|(known, _)| *known == cpu).for_each(|(_, left)| *left -= ns);
            }
            assert!(by_cpu.iter().all(|(_, left)| *left == 0), "thread {}: {by_cpu:?} is in no slot", thread.tid);
        }
        let later = snapshot_two_nodes_after(3);
        assert_eq!(later.threads[0].track.iter().last().map(|slot| slot.start_ns), Some(later.duration_ns - S / 4));
        assert!(later.threads.iter().flat_map(|thread| &thread.track).all(|slot| slot.start_ns >= 3 * S));
    }
}
