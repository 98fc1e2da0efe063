//! Rows of a scope whose labels are the same become one: Prometheus refuses an answer with the same series twice.

use std::{
    borrow::Cow,
    collections::{HashMap, hash_map::Entry},
    rc::Rc,
};

use super::labels::Labels;
use crate::serve::sums::{Levels, Numbers};

/// What has series of its own: its labels and what was counted of it.
pub(super) type Row<'a> = (Rc<Labels>, Cow<'a, Numbers>);

/// The rows, each with labels of its own.
pub(super) fn distinct<'a>(rows: impl Iterator<Item = (Labels, &'a Numbers)>) -> Vec<Row<'a>> {
    let mut known: HashMap<Rc<Labels>, usize> = HashMap::new();
    let mut out: Vec<Row<'a>> = Vec::new();
    for (labels, numbers) in rows {
        let labels = Rc::new(labels);
        match known.entry(Rc::clone(&labels)) {
            Entry::Vacant(entry) => {
                entry.insert(out.len());
                out.push((labels, Cow::Borrowed(numbers)));
            }
            Entry::Occupied(entry) => add(out[*entry.get()].1.to_mut(), numbers),
        }
    }
    out
}

fn add(sum: &mut Numbers, more: &Numbers) {
    for (bucket, count) in sum.runq.buckets.iter_mut().zip(more.runq.buckets.iter()) {
        *bucket = bucket.saturating_add(*count);
    }
    sum.runq.sum_ns = sum.runq.sum_ns.saturating_add(more.runq.sum_ns);
    sum.cpu_ns = sum.cpu_ns.saturating_add(more.cpu_ns);
    sum.throttled_ns = both(sum.throttled_ns, more.throttled_ns, u64::saturating_add);
    sum.migrations = both(sum.migrations, more.migrations, levels);
    sum.hint_faults = both(sum.hint_faults, more.hint_faults, |(local, remote), (more_local, more_remote)| {
        (local.saturating_add(more_local), remote.saturating_add(more_remote))
    });
    sum.touches = both(sum.touches.take(), more.touches.clone(), |mut sum, more| {
        for (row, more) in sum.iter_mut().zip(more) {
            for (cell, more) in row.iter_mut().zip(more) {
                *cell = cell.saturating_add(more);
            }
        }
        sum
    });
}

fn levels(one: Levels, other: Levels) -> Levels {
    Levels {
        smt: one.smt.saturating_add(other.smt),
        llc: one.llc.saturating_add(other.llc),
        node: one.node.saturating_add(other.node),
        cross_node: one.cross_node.saturating_add(other.cross_node),
        unknown: one.unknown.saturating_add(other.unknown),
    }
}

fn both<T>(one: Option<T>, other: Option<T>, add: impl FnOnce(T, T) -> T) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(add(one, other)),
        (one, other) => one.or(other),
    }
}
