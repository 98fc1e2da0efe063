//! The rows of the threads table: rates, weights, sorting and filtering. Pure.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::layout::Column;
use super::page::Role;
use crate::snapshot::{Latency, Snapshot, Thread, ThreadState, ThreadStats};
use crate::window::{ThreadKey, keyed};

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
}

/// One row for each thread of `numbers`, in its order, with the rates of `rates`: what happened in some stretch of
/// time. A thread that is not in there has no rates.
pub fn rows(numbers: &Snapshot, rates: &Snapshot) -> Vec<Row> {
    let seconds = (rates.duration_ns > 0).then(|| rates.duration_ns as f64 / 1e9);
    let by_key: HashMap<ThreadKey, &ThreadStats> =
        keyed(&rates.threads).map(|(key, thread)| (key, &thread.stats)).collect();
    let of = |key: &ThreadKey| by_key.get(key).copied().zip(seconds);
    keyed(&numbers.threads).map(|(key, thread)| row(key, &thread.stats, of(&key))).collect()
}

fn row(key: ThreadKey, now: &ThreadStats, rates: Option<(&ThreadStats, f64)>) -> Row {
    let lifetime = now.cpu_ns as f64 + now.wait_ns as f64 + now.blocked_ns as f64;
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

/// Positions of the threads that match `filter`, sorted. Threads that ended come last in any order, and before them
/// those without a value; equal ones come in order of thread id, so that rows do not dance.
pub fn order(snapshot: &Snapshot, rows: &[Row], sort: Sort, filter: &str) -> Vec<usize> {
    let needle = filter.to_lowercase();
    let mut order: Vec<usize> = snapshot
        .threads
        .iter()
        .zip(rows)
        .enumerate()
        .filter(|(_, (thread, _))| matches(thread, &needle))
        .map(|(at, _)| at)
        .collect();
    order.sort_by(|a, b| {
        let value = |at: usize| value(sort.column, &snapshot.threads[at], &rows[at]);
        // Threads that ended come last in any order: they would bury the living.
        let ended = |at: usize| snapshot.threads[at].exited;
        ended(*a)
            .cmp(&ended(*b))
            .then_with(|| compare(value(*a), value(*b), sort.descending))
            .then_with(|| rows[*a].key.cmp(&rows[*b].key))
    });
    order
}

fn matches(thread: &Thread, needle: &str) -> bool {
    let by_id = || thread.members == 0 && thread.tid.to_string().contains(needle);
    needle.is_empty() || thread.comm.to_lowercase().contains(needle) || by_id()
}

/// What a column is sorted by.
#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    Number(Option<f64>),
    Count(Option<u64>),
    Text(&'a str),
}

fn value<'a>(column: Column, thread: &'a Thread, row: &Row) -> Value<'a> {
    let all = &thread.stats.runq.all;
    match column {
        Column::Tid if thread.members > 0 => Value::Count(Some(u64::from(thread.members))),
        Column::Tid => Value::Count(Some(u64::from(thread.tid.0))),
        Column::Name => Value::Text(&thread.comm),
        Column::State => Value::Count(Some(thread.state as u64)),
        Column::Cpu => Value::Number(row.cpu),
        Column::P50 => Value::Count(known_latency(all, all.p50_ns)),
        Column::P99 => Value::Count(known_latency(all, all.p99_ns)),
        Column::Max => Value::Count(known_latency(all, all.max_ns)),
        Column::Wait => Value::Number(row.wait),
        Column::Voluntary => Value::Number(row.voluntary),
        Column::Involuntary => Value::Number(row.involuntary),
        Column::Migrations => Value::Number(row.migrations),
        Column::CrossNode => Value::Number(row.cross_node),
        Column::NodeMoves => Value::Count(Some(thread.stats.node_moves)),
        Column::Touches => Value::Number(row.touches),
        Column::Remote => Value::Number(thread.stats.remote_share),
        Column::Running => Value::Count(Some(thread.stats.cpu_ns)),
        Column::Waited => Value::Count(Some(thread.stats.wait_ns)),
        Column::Blocked => Value::Count(Some(thread.stats.blocked_ns)),
        Column::WaitingNow => Value::Count(thread.stats.waiting_now_ns),
        Column::Residency => Value::Number(largest_share(&thread.stats.residency_ns)),
    }
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
        (Value::Text(a), Value::Text(b)) => (a.cmp(b), false),
        // One column has one kind of value.
        _ => (Ordering::Equal, true),
    };
    if descending && !absent { ordering.reverse() } else { ordering }
}
