//! What numatrace itself takes, and what it leaves out: from its own records, by time.

use std::collections::VecDeque;

use numatrace_common::abi::{self, shed_flags};
use numatrace_common::shed::MOST_EVERY;
use zerocopy::IntoBytes;

use crate::snapshot::{SelfCost, Shed, ShedInterval};

/// Bits of [`shed_flags`] for what is not looked at, and what it is called.
const LEFT_OUT: [(u64, &str); 3] = [
    (shed_flags::SAMPLES, "samples of page touches and scans of placement"),
    (shed_flags::WAKERS, "who wakes whom"),
    (shed_flags::TOUCHES, "page touches"),
];
const ALL_LEFT_OUT: u64 = shed_flags::SAMPLES | shed_flags::WAKERS | shed_flags::TOUCHES;

/// A stretch of time in which the same was left out.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    start_ns: u64,
    end_ns: u64,
    every: u32,
    turns: u64,
    flags: u64,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct SelfCosts {
    start_ns: u64,
    max_stretches: usize,
    /// The first of all: sums count from there.
    base: Option<abi::SelfCost>,
    last: abi::SelfCost,
    fill_max: u32,
    stretches: VecDeque<Stretch>,
}

impl SelfCosts {
    pub(super) fn new(start_ns: u64, max_stretches: usize) -> SelfCosts {
        SelfCosts {
            start_ns,
            max_stretches: max_stretches.max(1),
            base: None,
            last: abi::SelfCost::default(),
            fill_max: 0,
            stretches: VecDeque::new(),
        }
    }

    /// Turns for which a record stands that comes now.
    #[inline]
    pub(super) fn every(&self) -> u64 {
        u64::from(self.last.every.clamp(1, MOST_EVERY))
    }

    /// Turns were left out, at some time.
    pub(super) const fn has_left_out(&self) -> bool {
        self.last.shed > 0
    }

    /// Sums only grow; what is older than what is known changes nothing.
    pub(super) fn take(&mut self, record: &abi::SelfCost) {
        let Some(base) = &self.base else {
            self.base = Some(*record);
            self.last = *record;
            return;
        };
        if record.header.ts < self.last.header.ts || record.header.ts < base.header.ts {
            return;
        }
        let (before, flags) = (self.last, self.last.flags & ALL_LEFT_OUT);
        if before.every > 1 || flags != 0 {
            let turns = record.shed.saturating_sub(before.shed);
            self.went_on(before.header.ts, record.header.ts, before.every, turns, flags);
        }
        self.fill_max = self.fill_max.max(record.ring_fill.min(1024));
        self.last = *record;
    }

    fn went_on(&mut self, start_ns: u64, end_ns: u64, every: u32, turns: u64, flags: u64) {
        if let Some(last) = self.stretches.back_mut()
            && (last.end_ns, last.every, last.flags) == (start_ns, every, flags)
        {
            last.end_ns = end_ns;
            last.turns = last.turns.saturating_add(turns);
            return;
        }
        self.stretches.push_back(Stretch { start_ns, end_ns, every, turns, flags });
        while self.stretches.len() > self.max_stretches {
            let Some(oldest) = self.stretches.pop_front() else { break };
            if let Some(next) = self.stretches.front_mut() {
                next.start_ns = oldest.start_ns;
                next.every = next.every.max(oldest.every);
                next.turns = next.turns.saturating_add(oldest.turns);
                next.flags |= oldest.flags;
            }
        }
    }

    /// For a recording that begins now: its sums count from here.
    pub(super) fn tell(&self, now_ns: u64, sink: &mut dyn FnMut(&[u8])) {
        if self.base.is_some() {
            let header = abi::SelfCost::header(now_ns, 0, 0);
            sink(abi::SelfCost { header, ..self.last }.as_bytes());
        }
    }

    /// As snapshots show it; nothing where nobody measured.
    pub(super) fn view(&self) -> Option<SelfCost> {
        let base = self.base?;
        let since = |now: u64, before: u64| now.saturating_sub(before);
        let share = |ppm: u32| f64::from(ppm) / 1e6;
        let filled = |fill: u32| f64::from(fill.min(1024)) / 1024.0;
        let from_start = |ts: u64| ts.saturating_sub(self.start_ns);
        let intervals = self.stretches.iter().map(|stretch| ShedInterval {
            start_ns: from_start(stretch.start_ns),
            end_ns: from_start(stretch.end_ns),
            every: stretch.every,
            turns: stretch.turns,
            left_out: left_out(stretch.flags),
        });
        Some(SelfCost {
            cpu_ns: since(self.last.cpu_ns, base.cpu_ns),
            probes_ns: (self.last.window_ns > 0).then(|| since(self.last.probes_ns, base.probes_ns)),
            memory_bytes: self.last.memory_bytes,
            ring_fill: filled(self.last.ring_fill),
            ring_fill_max: filled(self.fill_max),
            overhead: share(self.last.overhead_ppm),
            max_overhead: (self.last.max_overhead_ppm > 0).then(|| share(self.last.max_overhead_ppm)),
            shed: Shed {
                every: self.last.every.clamp(1, MOST_EVERY),
                turns: since(self.last.shed, base.shed),
                left_out: left_out(self.last.flags),
                for_loss: self.last.flags & shed_flags::FOR_LOSS != 0,
                not_held: self.last.flags & shed_flags::NOT_HELD != 0,
                intervals: intervals.collect(),
            },
        })
    }
}

fn left_out(flags: u64) -> Vec<&'static str> {
    LEFT_OUT.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ts: u64, every: u32, shed: u64, flags: u64) -> abi::SelfCost {
        let header = abi::SelfCost::header(ts, 0, 0);
        abi::SelfCost { header, cpu_ns: ts / 10, every, shed, flags, ..abi::SelfCost::default() }
    }

    #[test]
    fn sums_count_from_the_first_record_and_stretches_are_timed() {
        let mut costs = SelfCosts::new(1000, 256);
        assert!(costs.view().is_none() && costs.every() == 1);
        costs.take(&at(1000, 1, 7, 0));
        costs.take(&abi::SelfCost { ring_fill: 512, ..at(2000, 4, 7, shed_flags::SAMPLES) });
        assert_eq!(costs.every(), 4);
        costs.take(&at(3000, 4, 37, shed_flags::SAMPLES));
        costs.take(&at(4000, 1, 57, 0));
        // Late, and about the past.
        costs.take(&at(3500, 8, 40, 0));
        costs.take(&at(5000, 1, 57, 0));
        let view = costs.view().unwrap();
        assert_eq!((view.cpu_ns, view.probes_ns, view.ring_fill, view.ring_fill_max), (400, None, 0.0, 0.5));
        assert_eq!((view.shed.every, view.shed.turns, view.shed.is_on()), (1, 50, false));
        let only = ShedInterval {
            start_ns: 1000,
            end_ns: 3000,
            every: 4,
            turns: 50,
            left_out: vec!["samples of page touches and scans of placement"],
        };
        assert_eq!(view.shed.intervals, [only]);
    }

    #[test]
    fn the_oldest_stretches_are_merged_and_no_turn_is_forgotten() {
        let mut costs = SelfCosts::new(0, 3);
        for n in 0..20u32 {
            costs.take(&at(u64::from(n) * 10, 2 << (n % 3), u64::from(n) * 5, 0));
        }
        let view = costs.view().unwrap();
        assert_eq!(view.shed.intervals.len(), 3);
        assert_eq!(view.shed.intervals.iter().map(|interval| interval.turns).sum::<u64>(), view.shed.turns);
        assert_eq!(view.shed.intervals[0].start_ns, 0);
    }

    #[test]
    fn a_recording_that_begins_later_counts_from_there() {
        let mut whole = SelfCosts::new(0, 8);
        whole.take(&at(0, 1, 0, 0));
        whole.take(&at(100, 8, 40, 0));
        let mut part = SelfCosts::new(100, 8);
        whole.tell(100, &mut |record| {
            use zerocopy::FromBytes;
            part.take(&abi::SelfCost::read_from_bytes(record).unwrap());
        });
        part.take(&at(200, 8, 90, 0));
        let view = part.view().unwrap();
        assert_eq!((part.every(), view.shed.turns, view.cpu_ns), (8, 50, 10));
        assert_eq!((view.shed.intervals[0].start_ns, view.shed.intervals[0].turns), (0, 50));
    }

    #[test]
    fn hostile_numbers_are_bounded() {
        let mut costs = SelfCosts::new(u64::MAX, 1);
        for every in [0, u32::MAX, 3] {
            costs.take(&abi::SelfCost { ring_fill: u32::MAX, ..at(u64::MAX, every, u64::MAX, u64::MAX) });
            assert!((1..=u64::from(MOST_EVERY)).contains(&costs.every()));
        }
        assert!(costs.view().unwrap().ring_fill <= 1.0);
    }
}
