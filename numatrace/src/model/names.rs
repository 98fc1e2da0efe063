//! Names of threads that are no targets but are spoken of: wakers, and those who ran while a target waited.

use std::sync::Arc;

use numatrace_common::abi::COMM_LEN;

use crate::text::display_comm;
use crate::units::TidMap;

/// A command name: as the kernel told it, so that it can be told again, and display-safe. Empty while not known.
#[derive(Clone, Debug, Default)]
pub(super) struct Comm {
    raw: [u8; COMM_LEN],
    /// Shared with every snapshot that speaks of it.
    shown: Arc<str>,
}

impl Comm {
    pub(super) fn new(raw: [u8; COMM_LEN]) -> Comm {
        Comm { raw, shown: display_comm(&raw).into() }
    }

    pub(super) const fn raw(&self) -> [u8; COMM_LEN] {
        self.raw
    }

    pub(super) const fn shown(&self) -> &Arc<str> {
        &self.shown
    }
}

/// Names by thread id, as they were looked up. Bounded: when full, everything is forgotten and looked up again.
#[derive(Clone, Debug)]
pub(super) struct Names {
    by_tid: TidMap<Comm>,
    max: usize,
    /// What the idle task is called, and who is not known.
    idle: Arc<str>,
    nobody: Arc<str>,
}

impl Names {
    pub(super) fn new(max: usize) -> Names {
        Names { by_tid: TidMap::default(), max: max.max(1), idle: "idle".into(), nobody: "".into() }
    }

    pub(super) fn insert(&mut self, tid: u32, name: Comm) {
        if self.by_tid.len() >= self.max && !self.by_tid.contains_key(&tid) {
            self.by_tid.clear();
        }
        self.by_tid.insert(tid, name);
    }

    /// An empty name says that nobody with this id could be found: it is not looked up again.
    pub(super) fn get(&self, tid: u32) -> Option<&Arc<str>> {
        self.by_tid.get(&tid).map(Comm::shown)
    }

    /// Of thread 0.
    pub(super) const fn idle(&self) -> &Arc<str> {
        &self.idle
    }

    /// No name.
    pub(super) const fn nobody(&self) -> &Arc<str> {
        &self.nobody
    }

    /// All of them, in order of thread id.
    pub(super) fn sorted(&self) -> Vec<(u32, &Comm)> {
        let mut all: Vec<_> = self.by_tid.iter().map(|(tid, name)| (*tid, name)).collect();
        all.sort_unstable_by_key(|(tid, _)| *tid);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_table_forgets_and_stays_bounded() {
        let mut names = Names::new(2);
        let name = |letter: u8| {
            let mut raw = [0; COMM_LEN];
            raw[0] = letter;
            Comm::new(raw)
        };
        for tid in 1..=5 {
            names.insert(tid, name(b'a'));
            assert_eq!(names.get(tid).map(|name| &**name), Some("a"));
            assert!(names.by_tid.len() <= 2);
        }
        names.insert(5, name(b'b'));
        assert_eq!(names.get(5).map(|name| &**name), Some("b"));
        assert!(names.sorted().is_sorted_by_key(|(tid, _)| *tid));
    }
}
