//! Distributions of one thread's waits, in as little memory as they need: the buckets of hdrhistogram with one significant digit from
//! 1 us (`latency.rs`), but only those that have something in them, 8 bytes each. A thread's waits are in 5 to 60 of the 416 mostly.

use super::latency::LONGEST_NS;
use crate::snapshot::Latency;
use crate::window::with_percentiles;

/// A bucket is as wide as this, a power of two, or wider: 512 ns.
const UNIT_SHIFT: u32 = 9;
/// Each doubling has 16 buckets from here on: the bits of the first wide one.
const FIRST_BITS: u32 = UNIT_SHIFT + 5;
/// Waits of more bits count as [`LONGEST_NS`].
const LAST_BITS: u32 = 38;
/// Room is made for so many buckets at a time: there are tens of thousands of these lists.
const ROOM: usize = 4;

/// Waits of one kind of a thread.
#[derive(Clone, Debug, Default)]
pub(super) struct Buckets {
    /// Ends of buckets in units, and how many waits are in each; in order.
    counts: Vec<(u32, u32)>,
    max_ns: u64,
}

/// End of the bucket that a wait is in, in units: the first one that is not in it any more.
#[inline]
const fn end(wait_ns: u64) -> u32 {
    let wait_ns = if wait_ns >> LAST_BITS != 0 { LONGEST_NS } else { wait_ns };
    let bits = u64::BITS - wait_ns.leading_zeros();
    let shift = if bits > FIRST_BITS { UNIT_SHIFT + bits - FIRST_BITS } else { UNIT_SHIFT };
    ((((wait_ns >> shift) + 1) << shift) >> UNIT_SHIFT) as u32
}

impl Buckets {
    /// Adds a wait that stands for `times` ones, 64 at most.
    #[inline]
    pub(super) fn record(&mut self, wait_ns: u64, times: u64) {
        self.max_ns = self.max_ns.max(wait_ns);
        let end = end(wait_ns);
        match self.counts.binary_search_by_key(&end, |bucket| bucket.0) {
            Ok(at) => self.counts[at].1 = self.counts[at].1.saturating_add(times as u32),
            Err(at) => self.insert(at, end, times as u32),
        }
    }

    #[cold]
    fn insert(&mut self, at: usize, end: u32, times: u32) {
        if self.counts.len() == self.counts.capacity() {
            self.counts.reserve_exact(ROOM);
        }
        self.counts.insert(at, (end, times));
    }

    /// As reports show it; `count` and `total_ns` come from the kernel's counters.
    pub(super) fn latency(&self, count: u64, total_ns: u64) -> Latency {
        let buckets = self.counts.iter().map(|(end, count)| (edge(*end), u64::from(*count))).collect();
        with_percentiles(Latency { count, total_ns, max_ns: self.max_ns, buckets, ..Latency::default() })
    }

    /// The waits of both, as [`Buckets::latency`] shows them.
    pub(super) fn latency_of_both(&self, other: &Buckets, count: u64, total_ns: u64) -> Latency {
        let max_ns = self.max_ns.max(other.max_ns);
        let (mut one, mut two) = (self.counts.iter().peekable(), other.counts.iter().peekable());
        let next = || {
            let end = match (one.peek(), two.peek()) {
                (Some((one, _)), Some((two, _))) => *one.min(two),
                (Some((end, _)), None) | (None, Some((end, _))) => *end,
                (None, None) => return None,
            };
            let parts = [one.next_if(|(other, _)| *other == end), two.next_if(|(other, _)| *other == end)];
            Some((edge(end), parts.into_iter().flatten().map(|(_, count)| u64::from(*count)).sum()))
        };
        let buckets = std::iter::from_fn(next).collect();
        with_percentiles(Latency { count, total_ns, max_ns, buckets, ..Latency::default() })
    }
}

/// The longest wait that is in the bucket with this end.
const fn edge(end: u32) -> u64 {
    ((end as u64) << UNIT_SHIFT) - 1
}

#[cfg(test)]
mod tests {
    use super::super::latency::Waits;
    use super::*;

    /// One significant digit from 1 us.
    fn full() -> Waits<u32> {
        Waits::new(super::super::latency::COARSE)
    }

    #[test]
    fn they_are_the_buckets_of_hdrhistogram() {
        let mut all: Vec<u64> =
            (0..40).flat_map(|bits| [(1 << bits) - 1, 1 << bits, (1 << bits) + 1, 3 << bits]).collect();
        all.extend((0..20_000u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (20 + n % 40)));
        all.extend([u64::MAX, u64::MAX - 1, 1 << 63]);
        for wait_ns in all.iter().copied() {
            let (mut few, mut full) = (Buckets::default(), full());
            few.record(wait_ns, 3);
            full.record(wait_ns, 3);
            assert_eq!(few.latency(1, 7), full.latency(1, 7), "{wait_ns}");
        }
        let (mut few, mut full) = (Buckets::default(), full());
        let (mut even, mut odd) = (Buckets::default(), Buckets::default());
        for (nth, wait_ns) in all.into_iter().enumerate() {
            few.record(wait_ns, 1);
            full.record(wait_ns, 1);
            if nth % 3 == 0 { &mut odd } else { &mut even }.record(wait_ns, 1);
        }
        assert_eq!(few.latency(9, 7), full.latency(9, 7));
        assert_eq!(even.latency_of_both(&odd, 9, 7), full.latency(9, 7));
        assert_eq!(few.latency_of_both(&Buckets::default(), 9, 7), full.latency(9, 7));
        assert!(few.counts.is_sorted() && few.counts.len() <= 416, "{}", few.counts.len());
        assert_eq!(Buckets::default().latency_of_both(&Buckets::default(), 0, 0), Latency::default());
    }
}
