//! Which cgroup a thread is in.

use std::sync::Arc;

/// A thread's cgroup, as it was told last.
#[derive(Clone, Debug)]
pub(super) struct Membership {
    /// Display-safe, shared by all threads of the cgroup.
    pub(super) path: Arc<str>,
    /// The first record that said so.
    since_ns: u64,
}

impl Membership {
    pub(super) const fn new(path: Arc<str>, since_ns: u64) -> Membership {
        Membership { path, since_ns }
    }

    /// It was told before `end`, when the thread ended, so it is its own, as for attributes.
    pub(super) const fn is_from_before(&self, end: u64) -> bool {
        self.since_ns <= end
    }
}
