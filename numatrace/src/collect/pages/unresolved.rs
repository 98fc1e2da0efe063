//! Page touches that were seen when they began: counted at once, and given to a node when it is known where the page came to
//! lie. What is not known by the tick after is unknown. Pure.

use std::collections::HashMap;

use numatrace_common::config::{CellKey, NO_NODE_BYTE};

/// A thread, the node of its CPU, and a kind of touch.
pub(super) type Group = (u32, u8, u8);

/// Counted and not given to a node.
#[derive(Clone, Copy, Debug, Default)]
struct Waiting {
    tgid: u32,
    /// Counted before the last tick.
    old: u64,
    /// Counted since.
    new: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Unresolved {
    waiting: HashMap<CellKey, Waiting>,
    /// Nodes by group, and whether they were there at the tick before.
    found: HashMap<Group, Vec<(u8, u64, bool)>>,
}

impl Unresolved {
    /// So many more were counted in this cell.
    pub(super) fn counted(&mut self, key: &CellKey, tgid: u32, more: u64) {
        let waiting = self.waiting.entry(*key).or_default();
        waiting.tgid = tgid;
        waiting.new = waiting.new.saturating_add(more);
    }

    /// So many touches of a group were found on a node.
    pub(super) fn found(&mut self, all: &[(Group, u8, u64)]) {
        for (group, node, count) in all {
            self.found.entry(*group).or_default().push((*node, *count, false));
        }
    }

    /// A tick: gives what is known to `emit`, and what is unknown by now; all of it where this is the `last` tick.
    pub(super) fn settle(&mut self, last: bool, mut emit: impl FnMut(&CellKey, u32, u8, u64)) {
        let Unresolved { waiting, found } = self;
        waiting.retain(|key, waiting| {
            let (kind, cpu_node, _) = key.parts();
            for (node, count, _) in found.get_mut(&(key.tid, cpu_node, kind)).into_iter().flatten() {
                let taken = (*count).min(waiting.old.saturating_add(waiting.new));
                if taken > 0 {
                    let of_old = taken.min(waiting.old);
                    waiting.old -= of_old;
                    waiting.new -= taken - of_old;
                    *count -= taken;
                    emit(key, waiting.tgid, *node, taken);
                }
            }
            let over = if last { waiting.old.saturating_add(waiting.new) } else { waiting.old };
            if over > 0 {
                emit(key, waiting.tgid, NO_NODE_BYTE, over);
            }
            waiting.old = if last { 0 } else { std::mem::take(&mut waiting.new) };
            waiting.old > 0
        });
        // Counts are read before answers are asked for: what is left over after two ticks belongs to nothing.
        found.retain(|_, nodes| {
            nodes.retain_mut(|(_, count, seen)| *count > 0 && !std::mem::replace(seen, true));
            !nodes.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(unresolved: &mut Unresolved, last: bool) -> Vec<(u8, u64)> {
        let mut all = Vec::new();
        unresolved.settle(last, |_, _, node, count| all.push((node, count)));
        all
    }

    #[test]
    fn each_touch_is_on_its_node_or_unknown_once() {
        let key = CellKey { start_ns: 1, tid: 7, cell: CellKey::cell(0, 1, NO_NODE_BYTE) };
        let mut unresolved = Unresolved::default();
        unresolved.counted(&key, 7, 10);
        unresolved.found(&[((7, 1, 0), 1, 4), ((7, 1, 0), 0, 3), ((8, 1, 0), 0, 5)]);
        assert_eq!(settle(&mut unresolved, false), [(1, 4), (0, 3)]);
        unresolved.counted(&key, 7, 5);
        unresolved.found(&[((7, 1, 0), 1, 2)]);
        // Of the first ten one is left, of the others nothing is known yet.
        assert_eq!(settle(&mut unresolved, false), [(1, 2), (NO_NODE_BYTE, 1)]);
        unresolved.found(&[((7, 1, 0), 0, 4)]);
        assert_eq!(settle(&mut unresolved, true), [(0, 4), (NO_NODE_BYTE, 1)]);
        assert!(unresolved.waiting.is_empty());
    }

    #[test]
    fn an_answer_that_comes_too_late_changes_nothing() {
        let key = CellKey { start_ns: 1, tid: 7, cell: CellKey::cell(2, 0, NO_NODE_BYTE) };
        let mut unresolved = Unresolved::default();
        unresolved.counted(&key, 7, 2);
        assert_eq!(settle(&mut unresolved, false), []);
        assert_eq!(settle(&mut unresolved, false), [(NO_NODE_BYTE, 2)]);
        unresolved.found(&[((7, 0, 2), 0, 2)]);
        assert_eq!(settle(&mut unresolved, false), []);
        assert_eq!(settle(&mut unresolved, false), []);
        assert!(unresolved.found.is_empty());
    }
}
