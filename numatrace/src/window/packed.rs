//! Snapshots whose threads are packed: what is kept of the past, and rates, which are a number or two of each thread.

use super::{
    Depth, ThreadKey, counts_since, key, keyed, rest_of_difference, since, stats_since, with_stats, without_threads,
};
use crate::snapshot::{PackedThreads, Snapshot, Thread, ThreadStats};

/// A snapshot whose threads are packed. It has no groups and no events.
#[derive(Clone, Debug)]
pub struct Packed {
    /// All but the threads.
    head: Snapshot,
    threads: PackedThreads,
    /// In order of [`ThreadKey`], each once, as a model tells them.
    in_order: bool,
}

impl Packed {
    /// Packs a snapshot.
    pub fn of(snapshot: &Snapshot) -> Packed {
        Packed {
            head: Snapshot { totals: snapshot.totals.clone(), ..without_threads(snapshot) },
            threads: snapshot.threads.iter().collect(),
            in_order: is_in_order(snapshot),
        }
    }

    /// The counts of what happened after `before` and up to `now`, as [`counts_since`] makes them.
    pub fn counts_since(now: &Snapshot, before: &Packed) -> Packed {
        if !(before.in_order && is_in_order(now)) {
            return Packed::of(&counts_since(now, &before.whole()));
        }
        Packed {
            head: rest_of_difference(now, &before.head, Depth::Counts),
            threads: before.difference(now, Depth::Counts).collect(),
            in_order: true,
        }
    }

    /// The snapshot without its threads.
    pub const fn head(&self) -> &Snapshot {
        &self.head
    }

    /// Its threads.
    pub fn threads(&self) -> impl Iterator<Item = Thread> + '_ {
        self.threads.iter()
    }

    /// One of its threads.
    pub fn thread(&self, wanted: ThreadKey) -> Option<Thread> {
        if self.in_order {
            return self.threads.find(wanted.tid, wanted.born);
        }
        self.threads().find(|thread| key(thread) == wanted)
    }

    /// The snapshot.
    pub fn whole(&self) -> Snapshot {
        Snapshot { threads: self.threads.iter().collect(), ..self.head.clone() }
    }

    /// Bytes that its threads take, but for texts and what else is shared with other snapshots.
    pub fn bytes(&self) -> usize {
        self.threads.bytes()
    }

    /// What happened after this and up to `now`, as [`since`] makes it.
    pub fn until(&self, now: &Snapshot) -> Snapshot {
        if !(self.in_order && is_in_order(now)) {
            return since(now, &self.whole());
        }
        Snapshot {
            threads: self.difference(now, Depth::All).collect(),
            ..rest_of_difference(now, &self.head, Depth::All)
        }
    }

    /// Both are in order: one thread after the other is unpacked, and none is kept.
    fn difference<'a>(&'a self, now: &'a Snapshot, depth: Depth) -> impl Iterator<Item = Thread> + 'a {
        let mut old = self.threads().map(|thread| (key(&thread), thread.stats)).peekable();
        let nothing = ThreadStats::default();
        keyed(&now.threads).map(move |(key, thread)| {
            while old.next_if(|(other, _): &(ThreadKey, ThreadStats)| *other < key).is_some() {}
            let before = old.next_if(|(other, _)| *other == key);
            let before = before.as_ref().map_or(&nothing, |(_, stats)| stats);
            with_stats(thread, stats_since(&thread.stats, before, &now.host.distances, depth), depth)
        })
    }
}

/// Each thread after the one before it; two that nothing tells apart, which a made-up recording can have, are in none, nor are groups.
fn is_in_order(snapshot: &Snapshot) -> bool {
    let threads = &snapshot.threads;
    threads.iter().all(|thread| thread.members == 0) && threads.is_sorted_by(|one, next| key(one) < key(next))
}
