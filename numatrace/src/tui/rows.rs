//! The rows of the threads table: rates, weights, and what a column is sorted by. Pure.

use std::cmp::Ordering;

use super::cells::ratio;
use super::layout::Column;
use super::page::Role;
use super::rates::Rates;
use crate::container::Container;
use crate::snapshot::{Host, Latency, Snapshot, Thread, ThreadState, ThreadStats};
use crate::units::sum;
use crate::window::ThreadKey;

/// What the table shows of a thread and the snapshot does not hold as such. Absent is not known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// Which thread.
    pub key: ThreadKey,
    /// CPUs used: 1.0 is one CPU all the time.
    pub cpu: Option<f64>,
    /// Share of its time waiting for a CPU.
    pub wait: Option<f64>,
    /// Voluntary switches a second.
    pub voluntary: Option<f64>,
    /// Involuntary switches a second.
    pub involuntary: Option<f64>,
    /// Migrations a second.
    pub migrations: Option<f64>,
    /// Cross-node migrations a second.
    pub cross_node: Option<f64>,
    /// Page touches a second.
    pub touches: Option<f64>,
    /// Waits that ended, a second.
    pub waits: Option<f64>,
    /// NUMA hint faults a second.
    pub hint_faults: Option<f64>,
    /// The kernel's number of the node of its current or last turn.
    pub node: Option<u32>,
}

/// One row for each thread of `numbers`, in its order, with the rates of `rates`: what happened in some stretch of
/// time. A thread that is not in there has no rates.
pub fn rows(numbers: &Snapshot, rates: &Rates) -> Vec<Row> {
    let nodes = nodes(&numbers.host);
    let stretch_ns = rates.head().duration_ns;
    let mut rows = Vec::with_capacity(numbers.threads.len());
    rates.each(&numbers.threads, |key, thread, rates| {
        let node = thread.cpu.and_then(|cpu| nodes.get(cpu as usize).copied().flatten());
        rows.push(Row { node, ..row(key, &thread.stats, rates, stretch_ns) });
    });
    rows
}

/// The kernel's number of the node of each CPU, by number of the CPU.
fn nodes(host: &Host) -> Vec<Option<u32>> {
    /// The kernel has fewer CPUs; a recording that somebody made up can name any.
    const MOST: usize = 1 << 16;
    let mut nodes = Vec::new();
    for node in &host.nodes {
        for cpu in node.cpus.iter().map(|cpu| *cpu as usize).filter(|cpu| *cpu < MOST) {
            if cpu >= nodes.len() {
                nodes.resize(cpu + 1, None);
            }
            nodes[cpu] = Some(node.id.0);
        }
    }
    nodes
}

/// The row of somebody with these numbers, and these in the stretch of time that rates are over.
pub(super) fn row(key: ThreadKey, now: &ThreadStats, rates: Option<&ThreadStats>, stretch_ns: u64) -> Row {
    let lifetime = now.cpu_ns as f64 + now.wait_ns as f64 + now.blocked_ns as f64;
    let rates = rates.filter(|_| stretch_ns > 0).map(|stats| (stats, stretch_ns as f64 / 1e9));
    let rate = |count: fn(&ThreadStats) -> u64| rates.map(|(stats, seconds)| count(stats) as f64 / seconds);
    Row {
        key,
        cpu: rate(|stats| stats.cpu_ns).map(|ns| ns / 1e9),
        wait: (lifetime > 0.0).then(|| now.wait_ns as f64 / lifetime),
        voluntary: rate(|stats| stats.switches.voluntary),
        involuntary: rate(|stats| stats.switches.involuntary),
        migrations: rate(|stats| stats.migrations.total()),
        cross_node: rate(|stats| stats.migrations.cross_node),
        touches: rates.and_then(|(stats, seconds)| stats.touches.map(|touches| touches.total().all() as f64 / seconds)),
        waits: rate(|stats| stats.runq.all.count),
        hint_faults: rates.and_then(|(stats, seconds)| {
            stats.hint_faults.map(|faults| sum([&faults.local, &faults.remote]) as f64 / seconds)
        }),
        node: None,
    }
}

/// Waits and latencies from here on are worth a look, or bad.
const WARN_NS: u64 = 10_000_000;
const BAD_NS: u64 = 100_000_000;
/// Shares of time waiting from here on are worth a look, or bad.
const WARN_SHARE: f64 = 0.1;
const BAD_SHARE: f64 = 0.3;
/// Cross-node migrations a second from here on are worth a look, or bad.
const WARN_HOPS: f64 = 1.0;
const BAD_HOPS: f64 = 100.0;

/// Shares of remote page touches from here on are worth a look, or bad.
const WARN_REMOTE: f64 = 0.2;
const BAD_REMOTE: f64 = 0.5;

/// The weight of a share of remote page touches.
pub fn weigh_remote(share: Option<f64>) -> Role {
    weigh(share, WARN_REMOTE, BAD_REMOTE)
}

/// The weight of a latency.
pub fn weigh_latency(ns: Option<u64>) -> Role {
    weigh(ns, WARN_NS, BAD_NS)
}

/// The weight of a share of time waiting.
pub fn weigh_share(share: Option<f64>) -> Role {
    weigh(share, WARN_SHARE, BAD_SHARE)
}

/// The weight of a rate of cross-node migrations.
pub fn weigh_hops(rate: Option<f64>) -> Role {
    weigh(rate, WARN_HOPS, BAD_HOPS)
}

fn weigh<T: PartialOrd + Copy>(value: Option<T>, warn: T, bad: T) -> Role {
    match value {
        Some(value) if value >= bad => Role::Bad,
        Some(value) if value >= warn => Role::Warn,
        Some(_) => Role::Plain,
        None => Role::Dim,
    }
}

/// What a thread is doing, in a word.
pub const fn state_name(thread: &Thread) -> &'static str {
    match thread.state {
        _ if thread.exited => "exited",
        ThreadState::Unknown => "-",
        ThreadState::Running => "running",
        ThreadState::Waiting => "waiting",
        ThreadState::Blocked => "blocked",
        ThreadState::Exited => "exited",
    }
}

/// A percentile that is known: a wait of 0 ns does not happen, so 0 means that no record of a wait arrived.
pub fn known_latency(latency: &Latency, ns: u64) -> Option<u64> {
    (latency.count > 0 && latency.max_ns > 0).then_some(ns)
}

/// Which rows, and in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    /// By what.
    pub column: Column,
    /// Largest first.
    pub descending: bool,
}

impl Sort {
    /// By this column, in the direction that it is first sorted in.
    pub fn by(column: Column) -> Sort {
        Sort { column, descending: column.spec().descending }
    }
}

impl Default for Sort {
    fn default() -> Sort {
        Sort::by(Column::Wait)
    }
}

/// What a column is sorted by, and compared with in a filter.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// A ratio or a rate.
    Number(Option<f64>),
    /// A count, or ns.
    Count(Option<u64>),
    /// Text.
    Text(&'a str),
}

impl Value<'_> {
    /// As a number, where it is one and known.
    pub fn number(self) -> Option<f64> {
        match self {
            Value::Number(number) => number,
            Value::Count(count) => count.map(|count| count as f64),
            Value::Text(_) => None,
        }
    }
}

/// What a thread, or a group of threads, has in a column.
pub fn value<'a>(column: Column, thread: &'a Thread, row: &Row) -> Value<'a> {
    let stats = &thread.stats;
    let known = |latency: &Latency, ns: u64| Value::Count(known_latency(latency, ns));
    let all = &stats.runq.all;
    let sched = thread.sched.as_ref();
    match column {
        Column::Tid if thread.members > 0 => Value::Count(Some(u64::from(thread.members))),
        Column::Tid => Value::Count(Some(u64::from(thread.tid.0))),
        Column::Name => Value::Text(name(thread)),
        Column::State => Value::Count(Some(thread.state as u64)),
        Column::Cpu => Value::Number(row.cpu),
        Column::P50 => known(all, all.p50_ns),
        Column::P90 => known(all, all.p90_ns),
        Column::P99 => known(all, all.p99_ns),
        Column::P999 => known(all, all.p999_ns),
        Column::Max => known(all, all.max_ns),
        Column::WakeupP99 => known(&stats.runq.wakeup, stats.runq.wakeup.p99_ns),
        Column::PreemptedP99 => known(&stats.runq.preempted, stats.runq.preempted.p99_ns),
        Column::Wait => Value::Number(row.wait),
        Column::Waits => Value::Number(row.waits),
        Column::Voluntary => Value::Number(row.voluntary),
        Column::Involuntary => Value::Number(row.involuntary),
        Column::Migrations => Value::Number(row.migrations),
        Column::CrossNode => Value::Number(row.cross_node),
        Column::NodeMoves => Value::Count(Some(stats.node_moves)),
        Column::Touches => Value::Number(row.touches),
        Column::Remote => Value::Number(stats.remote_share),
        Column::Running => Value::Count(Some(stats.cpu_ns)),
        Column::Waited => Value::Count(Some(stats.wait_ns)),
        Column::Blocked => Value::Count(Some(stats.blocked_ns)),
        Column::WaitingNow => Value::Count(stats.waiting_now_ns),
        Column::Residency => Value::Number(largest_share(&stats.residency_ns)),
        // Of a group its first member's would be: none has one of its own.
        Column::Pid if thread.members > 0 => Value::Count(None),
        Column::Pid => Value::Count(Some(u64::from(thread.pid.0))),
        Column::HintFaults => Value::Number(row.hint_faults),
        Column::HintRemote => Value::Number(hint_remote(stats)),
        Column::PagesMoved => Value::Count(stats.pages_migrated),
        Column::Expected => Value::Number(stats.expected_remote_share),
        Column::Cost => Value::Number(stats.cost_factor),
        Column::LastCpu => Value::Count(thread.cpu.map(u64::from)),
        Column::Node => Value::Count(row.node.map(u64::from)),
        Column::Nice => Value::Number(sched.and_then(|sched| sched.nice).map(f64::from)),
        Column::Policy => Value::Text(sched.map_or("", |sched| &sched.policy)),
        Column::Allowed => Value::Text(sched.map_or("", |sched| &sched.allowed_cpus)),
        Column::Cgroup => Value::Text(thread.cgroup.as_deref().unwrap_or_default()),
        Column::Container => Value::Text(thread.container.as_deref().map_or("", Container::title)),
        Column::Throttled => Value::Number(throttled(stats)),
        Column::Strangers => Value::Number(strangers(stats)),
    }
}

/// What a thread or a group is called; empty where it is not known. A group of a cgroup has the path.
pub fn name(thread: &Thread) -> &str {
    match &thread.cgroup {
        Some(path) if thread.members > 0 => path,
        _ => &thread.comm,
    }
}

/// remote / (local + remote) of NUMA hint faults; `None` where there are none, or nothing measures them.
pub fn hint_remote(stats: &ThreadStats) -> Option<f64> {
    let faults = stats.hint_faults?;
    let all = sum([&faults.local, &faults.remote]);
    (all > 0).then(|| faults.remote as f64 / all as f64)
}

/// The share of its time that a CPU quota kept it waiting; `None` where nothing measures it.
pub fn throttled(stats: &ThreadStats) -> Option<f64> {
    ratio(stats.throttled_wait_ns?, stats.life_ns())
}

/// The share of its time that it waited while others than its own process ran; `None` where nothing tells.
pub fn strangers(stats: &ThreadStats) -> Option<f64> {
    ratio(stats.behind?.others_ns, stats.life_ns())
}

/// What a row is sorted by: what is costly to find out is found out once.
struct SortKey<'a> {
    ended: bool,
    is_thread: bool,
    value: Value<'a>,
    key: ThreadKey,
    at: usize,
}

/// Sorts `rows`, positions of threads and groups that `of` finds. Threads that ended come last in any order, and before them
/// those without a value; equal ones come in order of thread id, so that rows do not dance. Groups come before threads.
pub fn sort<'a>(rows: &mut [usize], sort: Sort, of: impl Fn(usize) -> Option<(&'a Thread, &'a Row)>) {
    let key = |at: &usize| {
        of(*at).map(|(thread, row)| SortKey {
            ended: thread.exited,
            is_thread: thread.members == 0,
            value: value(sort.column, thread, row),
            key: row.key,
            at: *at,
        })
    };
    let mut keys: Vec<SortKey<'_>> = rows.iter().filter_map(key).collect();
    debug_assert_eq!(keys.len(), rows.len());
    // No two are equal: the key of a thread is its own, and the position tells the rest apart.
    keys.sort_unstable_by(|a, b| {
        (a.ended, a.is_thread)
            .cmp(&(b.ended, b.is_thread))
            .then_with(|| compare(a.value, b.value, sort.descending))
            .then_with(|| (a.key, a.at).cmp(&(b.key, b.at)))
    });
    rows.iter_mut().zip(keys).for_each(|(row, key)| *row = key.at);
}

fn largest_share(times: &[u64]) -> Option<f64> {
    let total: f64 = times.iter().map(|ns| *ns as f64).sum();
    let largest = times.iter().max()?;
    (total > 0.0).then(|| *largest as f64 / total)
}

fn compare(a: Value<'_>, b: Value<'_>, descending: bool) -> Ordering {
    let (ordering, absent) = match (a, b) {
        (Value::Number(Some(a)), Value::Number(Some(b))) => (a.total_cmp(&b), false),
        (Value::Number(a), Value::Number(b)) => (b.is_some().cmp(&a.is_some()), true),
        (Value::Count(Some(a)), Value::Count(Some(b))) => (a.cmp(&b), false),
        (Value::Count(a), Value::Count(b)) => (b.is_some().cmp(&a.is_some()), true),
        (Value::Text(a), Value::Text(b)) if a.is_empty() || b.is_empty() => (a.is_empty().cmp(&b.is_empty()), true),
        (Value::Text(a), Value::Text(b)) => (a.cmp(b), false),
        // One column has one kind of value.
        _ => (Ordering::Equal, true),
    };
    if descending && !absent { ordering.reverse() } else { ordering }
}
