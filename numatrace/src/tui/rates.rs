//! What happened in the stretch of time that rates are over: counts of each thread, which are looked at once for the table.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use crate::snapshot::{Snapshot, Thread, ThreadStats};
use crate::window::{self, Packed, ThreadKey, keyed};

/// See the module.
#[derive(Clone, Debug)]
pub enum Rates {
    /// The very numbers that are shown.
    Shown(Arc<Snapshot>),
    /// Counts of another stretch, which only rates need.
    Counts(Arc<Packed>),
}

impl Rates {
    /// All but the threads.
    pub fn head(&self) -> &Snapshot {
        match self {
            Rates::Shown(snapshot) => snapshot,
            Rates::Counts(packed) => packed.head(),
        }
    }

    /// The counts of each of these threads, in their order; `None` for one that has none.
    pub fn each(&self, threads: &[Thread], mut tell: impl FnMut(ThreadKey, &Thread, Option<&ThreadStats>)) {
        match self {
            Rates::Shown(snapshot) if std::ptr::eq(&*snapshot.threads, threads) => {
                keyed(threads).for_each(|(key, thread)| tell(key, thread, Some(&thread.stats)));
            }
            Rates::Shown(snapshot) => {
                let by_key: HashMap<ThreadKey, &ThreadStats> =
                    keyed(&snapshot.threads).map(|(key, thread)| (key, &thread.stats)).collect();
                keyed(threads).for_each(|(key, thread)| tell(key, thread, by_key.get(&key).copied()));
            }
            Rates::Counts(packed) => {
                let mut counts = packed.threads().map(|thread| (window::key(&thread), thread.stats)).peekable();
                for (key, thread) in keyed(threads) {
                    // They were made of the very threads that are shown, in their order.
                    let found = counts.next_if(|(other, _)| *other == key);
                    tell(key, thread, found.as_ref().map(|(_, stats)| stats));
                }
            }
        }
    }

    /// The counts of one thread.
    pub fn of(&self, key: ThreadKey) -> Option<Cow<'_, ThreadStats>> {
        match self {
            Rates::Shown(snapshot) => keyed(&snapshot.threads)
                .find(|(other, _)| *other == key)
                .map(|(_, thread)| Cow::Borrowed(&thread.stats)),
            Rates::Counts(packed) => packed.thread(key).map(|thread| Cow::Owned(thread.stats)),
        }
    }

    /// All of it.
    pub fn whole(&self) -> Cow<'_, Snapshot> {
        match self {
            Rates::Shown(snapshot) => Cow::Borrowed(snapshot),
            Rates::Counts(packed) => Cow::Owned(packed.whole()),
        }
    }
}

impl From<Snapshot> for Rates {
    fn from(snapshot: Snapshot) -> Rates {
        Rates::Shown(Arc::new(snapshot))
    }
}
