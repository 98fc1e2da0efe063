//! The few that matter most, in bounded memory: who woke a thread, and who ran while it waited.
//!
//! Space-saving: with more than [`SLOTS`] distinct threads the least heavy one gives its place to the newcomer,
//! which takes over its rank so that heavy ones are not pushed out by a stream of one-timers. What is shown is only
//! what was counted since a thread got its place: exact while at most [`SLOTS`] distinct threads were seen, and
//! never more than the truth after that.

use std::collections::HashMap;

/// Distinct threads that are kept.
pub(super) const SLOTS: usize = 16;

#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    /// By what the least heavy one is found: `weight` and what was taken over.
    rank: u64,
    weight: u64,
    count: u64,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct TopK {
    /// Apart from the cells, so that a search touches one cache line.
    tids: [u32; SLOTS],
    /// Grows to [`SLOTS`] entries and not beyond.
    cells: Vec<Cell>,
}

/// Weight and number of times of one thread, in a sum over many [`TopK`].
pub(super) type Heavy = HashMap<u32, (u64, u64)>;

impl TopK {
    /// Adds `weight`, which came in `count` times.
    #[inline]
    pub(super) fn add(&mut self, tid: u32, weight: u64, count: u64) {
        let used = self.cells.len();
        if let Some(at) = self.tids.iter().take(used).position(|&known| known == tid) {
            let cell = &mut self.cells[at];
            cell.rank = cell.rank.saturating_add(weight);
            cell.weight = cell.weight.saturating_add(weight);
            cell.count = cell.count.saturating_add(count);
        } else {
            self.admit(tid, weight, count);
        }
    }

    #[cold]
    fn admit(&mut self, tid: u32, weight: u64, count: u64) {
        if self.cells.len() < SLOTS {
            self.tids[self.cells.len()] = tid;
            self.cells.push(Cell { rank: weight, weight, count });
            return;
        }
        let lightest = self.cells.iter().enumerate().min_by_key(|(_, cell)| cell.rank).map_or(0, |(at, _)| at);
        let rank = self.cells[lightest].rank.saturating_add(weight);
        self.tids[lightest] = tid;
        self.cells[lightest] = Cell { rank, weight, count };
    }

    /// `(tid, weight, count)` of everyone kept, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, u64, u64)> + '_ {
        self.tids.iter().zip(&self.cells).map(|(&tid, cell)| (tid, cell.weight, cell.count))
    }

    /// Adds everyone to a sum over many.
    pub(super) fn add_to(&self, sum: &mut Heavy) {
        for (tid, weight, count) in self.iter() {
            let entry = sum.entry(tid).or_default();
            *entry = (entry.0.saturating_add(weight), entry.1.saturating_add(count));
        }
    }

    /// Adds everyone to another one.
    pub(super) fn merge_into(&self, other: &mut TopK) {
        for (tid, weight, count) in self.iter() {
            other.add(tid, weight, count);
        }
    }
}

/// The heaviest `max`, heaviest first; equal ones in order of thread id.
pub(super) fn heaviest(all: impl Iterator<Item = (u32, u64, u64)>, max: usize) -> Vec<(u32, u64, u64)> {
    let mut all: Vec<_> = all.collect();
    all.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    all.truncate(max);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn up_to_the_number_of_slots_everything_is_exact() {
        let mut top = TopK::default();
        for round in 1..=3u64 {
            for tid in 0..SLOTS as u32 {
                top.add(tid, round * u64::from(tid), 1);
            }
        }
        let mut all: Vec<_> = top.iter().collect();
        all.sort_unstable();
        let expected: Vec<_> = (0..SLOTS as u32).map(|tid| (tid, 6 * u64::from(tid), 3)).collect();
        assert_eq!(all, expected);
    }

    #[test]
    fn a_heavy_one_survives_a_stream_of_one_timers_and_nothing_is_overstated() {
        let mut top = TopK::default();
        for stranger in 1000..6000 {
            top.add(7, 10, 1);
            top.add(stranger, 1, 1);
        }
        let best = heaviest(top.iter(), 1);
        assert_eq!(best, [(7, 50_000, 5000)]);
        assert!(top.iter().filter(|(tid, ..)| *tid != 7).all(|(_, weight, count)| weight == 1 && count == 1));
    }
}
