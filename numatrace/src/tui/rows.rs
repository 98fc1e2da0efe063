//! The rows of the threads table: rates between two snapshots, sorting and filtering. Pure.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::layout::Column;
use crate::snapshot::{Latency, Snapshot, Thread, ThreadStats};
use crate::units::Tid;

/// What tells a thread from all others of a snapshot: its id, and which one it is among those that had the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ThreadKey {
    /// Thread id.
    pub tid: Tid,
    /// 0 for the first thread with this id, 1 for the second one.
    pub nth: u32,
}

/// What the table shows of a thread and the snapshot does not hold as such. Absent is not known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// Which thread.
    pub key: ThreadKey,
    /// CPUs used, last interval: 1.0 is one CPU all the time.
    pub cpu: Option<f64>,
    /// Share of its time waiting for a CPU, since the start.
    pub wait: Option<f64>,
    /// Voluntary switches a second, last interval.
    pub voluntary: Option<f64>,
    /// Involuntary switches a second, last interval.
    pub involuntary: Option<f64>,
    /// Migrations a second, last interval.
    pub migrations: Option<f64>,
    /// Cross-node migrations a second, last interval.
    pub cross_node: Option<f64>,
}

/// One row for each thread of `now`, in its order. Rates are over the time since `before`, or since the start of
/// tracing without it; a thread that was not there before counts from 0.
pub fn rows(now: &Snapshot, before: Option<&Snapshot>) -> Vec<Row> {
    let seconds = seconds_between(now, before);
    let old: HashMap<ThreadKey, &ThreadStats> = before
        .map(|snapshot| keyed(&snapshot.threads).map(|(key, thread)| (key, &thread.stats)).collect())
        .unwrap_or_default();
    let nothing = ThreadStats::default();
    keyed(&now.threads)
        .map(|(key, thread)| row(key, &thread.stats, old.get(&key).copied().unwrap_or(&nothing), seconds))
        .collect()
}

/// Records a second that the probes wanted to write, in the last interval.
pub fn record_rate(now: &Snapshot, before: Option<&Snapshot>) -> Option<f64> {
    let old = before.map_or(0, |snapshot| snapshot.loss.records_wanted);
    per_second(now.loss.records_wanted, old, seconds_between(now, before))
}

fn keyed(threads: &[Thread]) -> impl Iterator<Item = (ThreadKey, &Thread)> {
    let mut last: Option<ThreadKey> = None;
    threads.iter().map(move |thread| {
        let nth = last.filter(|key| key.tid == thread.tid).map_or(0, |key| key.nth + 1);
        let key = ThreadKey { tid: thread.tid, nth };
        last = Some(key);
        (key, thread)
    })
}

fn row(key: ThreadKey, now: &ThreadStats, old: &ThreadStats, seconds: Option<f64>) -> Row {
    let lifetime = now.cpu_ns as f64 + now.wait_ns as f64 + now.blocked_ns as f64;
    let rate = |new: u64, old: u64| per_second(new, old, seconds);
    Row {
        key,
        cpu: rate(now.cpu_ns, old.cpu_ns).map(|ns| ns / 1e9),
        wait: (lifetime > 0.0).then(|| now.wait_ns as f64 / lifetime),
        voluntary: rate(now.switches.voluntary, old.switches.voluntary),
        involuntary: rate(now.switches.involuntary, old.switches.involuntary),
        migrations: rate(now.migrations.total(), old.migrations.total()),
        cross_node: rate(now.migrations.cross_node, old.migrations.cross_node),
    }
}

fn seconds_between(now: &Snapshot, before: Option<&Snapshot>) -> Option<f64> {
    let ns = now.duration_ns.checked_sub(before.map_or(0, |snapshot| snapshot.duration_ns))?;
    (ns > 0).then(|| ns as f64 / 1e9)
}

/// `None` without time between, and when the counter went back: then it is another thread's.
fn per_second(now: u64, before: u64, seconds: Option<f64>) -> Option<f64> {
    Some(now.checked_sub(before)? as f64 / seconds?)
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
    needle.is_empty() || thread.comm.to_lowercase().contains(needle) || thread.tid.to_string().contains(needle)
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
