//! Distributions of run-queue latency.
//!
//! A thread's two have one significant digit from 1 us to 137 s, and are kept as `buckets.rs` says. Those over all threads
//! have three digits from 1 ns, 0.2 MB each. Longer waits fall into the last bucket; the largest wait itself is kept exactly.

use hdrhistogram::{Counter, Histogram};
use numatrace_common::abi::slice_flags;

use crate::snapshot::Latency;

/// Longest wait with a bucket of its own: 137 s.
pub const LONGEST_NS: u64 = 1 << 37;

/// How a wait began, as reports tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitKind {
    /// A wakeup, that of a new thread included.
    Wakeup,
    /// Switched out while runnable.
    Preempted,
}

impl WaitKind {
    /// From `slice_flags`; `None` when there was no wait.
    #[inline]
    pub(super) const fn of(flags: u16) -> Option<WaitKind> {
        match flags & slice_flags::WAIT_MASK {
            slice_flags::WAIT_NONE => None,
            slice_flags::WAIT_PREEMPTED => Some(WaitKind::Preempted),
            _ => Some(WaitKind::Wakeup),
        }
    }
}

/// How fine a distribution is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fineness {
    lowest_ns: u64,
    digits: u8,
}

/// For one thread: `buckets.rs` is held to it.
#[cfg(test)]
pub(super) const COARSE: Fineness = Fineness { lowest_ns: 1_000, digits: 1 };
/// For all threads.
pub(super) const FINE: Fineness = Fineness { lowest_ns: 1, digits: 3 };

/// Waits of one kind.
#[derive(Clone, Debug)]
pub(super) struct Waits<C: Counter> {
    fineness: Fineness,
    histogram: Option<Histogram<C>>,
    max_ns: u64,
}

impl<C: Counter> Waits<C> {
    pub(super) const fn new(fineness: Fineness) -> Self {
        Waits { fineness, histogram: None, max_ns: 0 }
    }

    /// Adds a wait that stands for `times` ones.
    #[inline]
    pub(super) fn record(&mut self, wait_ns: u64, times: u64) {
        self.max_ns = self.max_ns.max(wait_ns);
        match &mut self.histogram {
            Some(histogram) if times == 1 => histogram.saturating_record(wait_ns),
            // At most 64 times: every counter holds that.
            _ => self.record_many(wait_ns, C::from_u64(times).unwrap_or_else(C::one)),
        }
    }

    #[cold]
    fn record_many(&mut self, wait_ns: u64, count: C) {
        let Fineness { lowest_ns, digits } = self.fineness;
        if self.histogram.is_none() {
            // The bounds are constants that hdrhistogram accepts: always `Some` from here on.
            self.histogram = Histogram::new_with_bounds(lowest_ns, LONGEST_NS, digits).ok();
        }
        if let Some(histogram) = &mut self.histogram {
            histogram.saturating_record_n(wait_ns, count);
        }
    }

    /// Adds all waits of another one.
    pub(super) fn add(&mut self, other: &Waits<C>) {
        self.max_ns = self.max_ns.max(other.max_ns);
        match (&mut self.histogram, &other.histogram) {
            (Some(mine), Some(theirs)) => {
                // Both have the same bounds, so nothing can be out of range.
                let _ = mine.add(theirs);
            }
            (None, Some(theirs)) => self.histogram = Some(theirs.clone()),
            (_, None) => {}
        }
    }

    /// Takes off waits that are in this one.
    pub(super) fn take_off(&mut self, other: &Waits<C>) {
        if let (Some(mine), Some(theirs)) = (&mut self.histogram, &other.histogram) {
            // Both have the same bounds, and what is taken off was added before.
            let _ = mine.subtract(theirs);
            self.max_ns = self.max_ns.min(mine.max());
        }
    }

    /// As reports show it; `count` and `total_ns` come from the kernel's counters.
    pub(super) fn latency(&self, count: u64, total_ns: u64) -> Latency {
        let mut latency = Latency { count, total_ns, max_ns: self.max_ns, ..Latency::default() };
        let Some(histogram) = &self.histogram else { return latency };
        // The upper edge of the last bucket can lie above the largest wait there was.
        let at = |quantile| histogram.value_at_quantile(quantile).min(self.max_ns);
        latency.p50_ns = at(0.5);
        latency.p90_ns = at(0.9);
        latency.p99_ns = at(0.99);
        latency.p999_ns = at(0.999);
        latency.buckets = histogram
            .iter_recorded()
            .map(|bucket| (histogram.highest_equivalent(bucket.value_iterated_to()), bucket.count_at_value().as_u64()))
            .collect();
        latency
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_upper_edges_and_the_maximum_is_exact() {
        let mut waits = Waits::<u32>::new(COARSE);
        for _ in 0..99 {
            waits.record(100_000, 1);
        }
        waits.record(1_234_567, 1);
        let latency = waits.latency(100, 7);
        // One digit: 16 buckets for each doubling, so an edge is at most a 16th above what is in its bucket.
        assert!((100_000..106_250).contains(&latency.p50_ns), "{}", latency.p50_ns);
        assert_eq!(latency.p50_ns, latency.p99_ns);
        assert_eq!((latency.p999_ns, latency.max_ns), (1_234_567, 1_234_567));
        assert_eq!(latency.buckets.iter().map(|b| b.1).sum::<u64>(), 100);
        assert_eq!((latency.count, latency.total_ns), (100, 7));
    }

    #[test]
    fn a_wait_beyond_the_range_stays_and_keeps_its_length() {
        let mut waits = Waits::<u64>::new(FINE);
        waits.record(u64::MAX, 1);
        let latency = waits.latency(1, 1);
        assert_eq!(latency.max_ns, u64::MAX);
        assert!(latency.p50_ns >= LONGEST_NS);
    }

    #[test]
    fn sums_hold_the_waits_of_both() {
        let (mut a, mut b) = (Waits::<u32>::new(COARSE), Waits::<u32>::new(COARSE));
        a.record(5_000, 1);
        b.record(90_000, 1);
        let mut sum = Waits::<u32>::new(COARSE);
        sum.add(&a);
        sum.add(&b);
        let latency = sum.latency(2, 0);
        assert_eq!((latency.buckets.len(), latency.max_ns), (2, 90_000));
    }
}
