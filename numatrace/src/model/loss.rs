//! Lost records: how many, why and when.

use std::collections::VecDeque;

use numatrace_common::abi::{Counters, Header, kind};

use crate::snapshot::{Loss, LossInterval, LossReasons};

/// Counts loss and remembers in which interval it came.
#[derive(Clone, Debug)]
pub(super) struct LossLedger {
    start_ns: u64,
    max_intervals: usize,
    /// What the kernel side had counted when a recording began in the middle of a trace: all else counts from there.
    base: Counters,
    wanted: u64,
    received: u64,
    reasons: LossReasons,
    refused: u64,
    /// Waits that ended and their sum, as the kernel counts them whatever is lost.
    waits: (u64, u64),
    /// Lost up to the end of the last interval, and that end.
    settled: u64,
    settled_ns: u64,
    intervals: VecDeque<LossInterval>,
}

impl LossLedger {
    pub(super) fn new(start_ns: u64, max_intervals: usize) -> Self {
        LossLedger {
            start_ns,
            max_intervals: max_intervals.max(1),
            base: Counters::default(),
            wanted: 0,
            received: 0,
            reasons: LossReasons::default(),
            refused: 0,
            waits: (0, 0),
            settled: 0,
            settled_ns: start_ns,
            intervals: VecDeque::new(),
        }
    }

    /// The kernel's own counters, which only grow.
    pub(super) fn counters(&mut self, counters: &Counters) {
        let grow = |ours: &mut u64, all: u64, base: u64| *ours = (*ours).max(all.saturating_sub(base));
        grow(&mut self.wanted, counters.wanted, self.base.wanted);
        grow(&mut self.received, counters.received, self.base.received);
        grow(&mut self.reasons.ring_full, counters.lost_ring_full, self.base.lost_ring_full);
        grow(&mut self.reasons.no_ring, counters.lost_no_ring, self.base.lost_no_ring);
        grow(&mut self.waits.0, counters.waits, self.base.waits);
        grow(&mut self.waits.1, counters.wait_ns, self.base.wait_ns);
        // A number of threads at one moment.
        self.refused = self.refused.max(counters.tasks_refused);
    }

    /// A recording begins with these. They come before all others, or change nothing.
    pub(super) fn begin_with(&mut self, counters: &Counters) {
        let counted = (self.wanted, self.received, self.waits) != (0, 0, (0, 0)) || self.lost() != 0;
        if !counted && self.base == Counters::default() {
            self.base = *counters;
        }
    }

    /// The same for a recording that begins at `now`.
    pub(super) fn base_counters(&self, now: u64) -> Counters {
        Counters {
            header: Header { kind: kind::COUNTERS_BASE, ..Counters::header(now, 0, 0) },
            wanted: self.wanted.saturating_add(self.base.wanted),
            lost_ring_full: self.reasons.ring_full.saturating_add(self.base.lost_ring_full),
            lost_no_ring: self.reasons.no_ring.saturating_add(self.base.lost_no_ring),
            tasks_refused: 0,
            slices: 0,
            waits: self.waits.0.saturating_add(self.base.waits),
            wait_ns: self.waits.1.saturating_add(self.base.wait_ns),
            received: self.received.saturating_add(self.base.received),
        }
    }

    /// Records that came but could not be read.
    pub(super) fn undecodable(&mut self, records: u64) {
        self.reasons.undecodable = self.reasons.undecodable.saturating_add(records);
    }

    /// Threads that the kernel side could not track.
    pub(super) const fn refused(&self) -> u64 {
        self.refused
    }

    /// Number and sum of the waits that ended, where records were lost and threads may be missing; else nothing, for
    /// then the threads hold them all.
    pub(super) fn waits_under_loss(&self) -> Option<(u64, u64)> {
        (self.lost() > 0).then_some(self.waits)
    }

    /// Records that were lost, and that the probes wanted to write.
    pub(super) fn lost_of(&self) -> (u64, u64) {
        (self.lost(), self.wanted)
    }

    /// All of them.
    pub(super) fn lost(&self) -> u64 {
        self.reasons.ring_full.saturating_add(self.reasons.no_ring).saturating_add(self.reasons.undecodable)
    }

    /// An interval ends with the tick at `ts`: what was lost since the last one belongs to it. Says how much that is.
    pub(super) fn settle(&mut self, ts: u64) -> u64 {
        let ts = ts.max(self.settled_ns);
        let lost = self.lost().saturating_sub(self.settled);
        if lost > 0 {
            self.intervals.push_back(LossInterval {
                start_ns: self.settled_ns.saturating_sub(self.start_ns),
                end_ns: ts.saturating_sub(self.start_ns),
                lost,
            });
            self.settled = self.lost();
        }
        self.settled_ns = ts;
        while self.intervals.len() > self.max_intervals {
            let Some(oldest) = self.intervals.pop_front() else { break };
            if let Some(next) = self.intervals.front_mut() {
                next.start_ns = oldest.start_ns;
                next.lost = next.lost.saturating_add(oldest.lost);
            }
        }
        lost
    }

    /// As reports show it.
    pub(super) fn snapshot(&self) -> Loss {
        Loss {
            records_wanted: self.wanted,
            records_received: self.received.saturating_sub(self.reasons.undecodable),
            records_lost: self.lost(),
            by_reason: self.reasons,
            intervals: self.intervals.iter().copied().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(ts: u64, wanted: u64, full: u64) -> Counters {
        Counters { header: Counters::header(ts, 0, 0), wanted, lost_ring_full: full, ..Counters::default() }
    }

    #[test]
    fn loss_is_timed_to_the_interval_in_which_it_grew() {
        let mut ledger = LossLedger::new(1000, 256);
        ledger.counters(&counters(1100, 10, 0));
        ledger.settle(1100);
        ledger.counters(&counters(1190, 20, 1));
        ledger.counters(&counters(1200, 20, 3));
        ledger.settle(1200);
        ledger.undecodable(2);
        ledger.counters(&counters(1300, 30, 3));
        ledger.settle(1300);
        let loss = ledger.snapshot();
        assert_eq!((loss.records_wanted, loss.records_lost), (30, 5));
        assert_eq!(
            loss.intervals,
            [
                LossInterval { start_ns: 100, end_ns: 200, lost: 3 },
                LossInterval { start_ns: 200, end_ns: 300, lost: 2 }
            ]
        );
    }

    #[test]
    fn the_oldest_intervals_are_merged_and_no_loss_is_forgotten() {
        let mut ledger = LossLedger::new(0, 3);
        for i in 1..=10 {
            ledger.counters(&counters(i * 10, i, i));
            ledger.settle(i * 10);
        }
        let loss = ledger.snapshot();
        assert_eq!(loss.intervals.len(), 3);
        assert_eq!(loss.intervals[0], LossInterval { start_ns: 0, end_ns: 80, lost: 8 });
        assert_eq!(loss.intervals.iter().map(|i| i.lost).sum::<u64>(), loss.records_lost);
    }

    #[test]
    fn a_recording_counts_from_its_beginning_and_that_comes_first_or_not_at_all() {
        let mut trace = LossLedger::new(0, 256);
        trace.counters(&Counters { received: 90, waits: 7, ..counters(1000, 100, 8) });
        let mut recording = LossLedger::new(1000, 256);
        recording.begin_with(&trace.base_counters(1000));
        assert_eq!(recording.base_counters(1000), trace.base_counters(1000));
        // A second beginning, and one after other counters.
        recording.begin_with(&counters(1000, 5, 5));
        recording.counters(&Counters { received: 110, waits: 9, ..counters(1100, 120, 9) });
        recording.begin_with(&counters(1100, 120, 9));
        recording.settle(1100);
        let loss = recording.snapshot();
        assert_eq!((loss.records_wanted, loss.records_received, loss.records_lost), (20, 20, 1));
        assert_eq!(loss.intervals, [LossInterval { start_ns: 0, end_ns: 100, lost: 1 }]);
        assert_eq!(recording.waits_under_loss(), Some((2, 0)));
        // Counters from before it.
        recording.counters(&counters(900, 10, 0));
        assert_eq!(recording.snapshot().records_wanted, 20);
    }
}
