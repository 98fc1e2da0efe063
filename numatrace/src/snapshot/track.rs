//! Where a thread ran in the last ten seconds, in few bytes: up to 40 slots for each of tens of thousands of threads.

use std::fmt;

use prost::encoding::{decode_varint, encode_varint};
use smallvec::SmallVec;

/// Length of a slot of a thread's track, ns.
pub const TRACK_SLOT_NS: u64 = 250_000_000;
/// Slots of a thread's track at most: ten seconds.
pub const TRACK_SLOTS: usize = 40;
/// CPUs of a slot at most.
pub const TRACK_CPUS: usize = 4;
/// Of a slot that is over, times are rounded up to this, ns.
pub const TRACK_UNIT_NS: u64 = 4_096;

/// On-CPU time of a thread within one slot of [`TRACK_SLOT_NS`], the current turn included. Of a slot that is over, times
/// are rounded up to [`TRACK_UNIT_NS`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrackSlot {
    /// Start of the slot since the start of tracing, ns: a multiple of [`TRACK_SLOT_NS`].
    pub start_ns: u64,
    /// `(cpu, ns on it)`, heaviest first, at most [`TRACK_CPUS`]: of more CPUs in a slot the lightest gave way.
    pub cpus: SmallVec<[(u32, u64); TRACK_CPUS]>,
}

/// Slots in order of time. What is written down of each is how many slots it comes after the one before, its number of CPUs, and
/// the number and the time of each, in units where there are no fractions: 6 bytes or so a slot with one CPU.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Track(pub(super) Box<[u8]>);

impl Track {
    /// There are no slots.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes that they take.
    pub const fn bytes(&self) -> usize {
        self.0.len()
    }

    /// Each slot, in order of time.
    pub const fn iter(&self) -> TrackIter<'_> {
        TrackIter { rest: &self.0, number: 0 }
    }
}

/// See [`Track::iter`].
#[derive(Clone, Debug)]
pub struct TrackIter<'a> {
    rest: &'a [u8],
    /// Of the slot before.
    number: u64,
}

impl TrackIter<'_> {
    /// Nobody else writes the bytes: it cannot fail.
    fn number(&mut self) -> u64 {
        decode_varint(&mut self.rest).unwrap_or(0)
    }
}

impl Iterator for TrackIter<'_> {
    type Item = TrackSlot;

    fn next(&mut self) -> Option<TrackSlot> {
        if self.rest.is_empty() {
            return None;
        }
        self.number = self.number.wrapping_add(self.number());
        let cpus = (0..self.number()).map(|_| {
            let (cpu, time) = (self.number(), self.number());
            let ns = if time & 1 == 1 { (time >> 1).saturating_mul(TRACK_UNIT_NS) } else { time >> 1 };
            (u32::try_from(cpu).unwrap_or(u32::MAX), ns)
        });
        let cpus = cpus.collect();
        Some(TrackSlot { start_ns: self.number.saturating_mul(TRACK_SLOT_NS), cpus })
    }
}

impl FromIterator<TrackSlot> for Track {
    /// Of slots in order of time.
    fn from_iter<I: IntoIterator<Item = TrackSlot>>(slots: I) -> Track {
        let (mut bytes, mut last) = (Vec::new(), 0);
        for slot in slots {
            let number = slot.start_ns / TRACK_SLOT_NS;
            encode_varint(number.wrapping_sub(last), &mut bytes);
            encode_varint(slot.cpus.len() as u64, &mut bytes);
            for (cpu, ns) in slot.cpus {
                encode_varint(cpu.into(), &mut bytes);
                // At most the length of a slot.
                let whole = ns.is_multiple_of(TRACK_UNIT_NS);
                encode_varint(if whole { 2 * (ns / TRACK_UNIT_NS) + 1 } else { 2 * ns }, &mut bytes);
            }
            last = number;
        }
        Track(bytes.into())
    }
}

impl<'a> IntoIterator for &'a Track {
    type Item = TrackSlot;
    type IntoIter = TrackIter<'a>;

    fn into_iter(self) -> TrackIter<'a> {
        self.iter()
    }
}

impl fmt::Debug for Track {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn few_bytes_hold_them() {
        let slot = |number: u64| TrackSlot {
            start_ns: (1_000 + number) * TRACK_SLOT_NS,
            cpus: [(100, 61_036 * TRACK_UNIT_NS)].into_iter().collect(),
        };
        let track: Track = (0..TRACK_SLOTS as u64).map(slot).collect();
        assert!(track.bytes() <= 6 * TRACK_SLOTS + 1, "{}", track.bytes());
        assert!(track.iter().eq((0..TRACK_SLOTS as u64).map(slot)));
        assert!(Track::default().is_empty() && Track::default().iter().next().is_none());
    }

    proptest! {
        #[test]
        fn what_went_in_comes_out(all in vec((1..50u64, vec((any::<u16>(), 0..TRACK_SLOT_NS), 0..6)), 0..45)) {
            let mut number = 0;
            let slots: Vec<TrackSlot> = all
                .into_iter()
                .map(|(more, cpus)| {
                    number += more;
                    let cpus = cpus.into_iter().map(|(cpu, ns)| (u32::from(cpu), ns)).collect();
                    TrackSlot { start_ns: number * TRACK_SLOT_NS, cpus }
                })
                .collect();
            let track: Track = slots.iter().cloned().collect();
            prop_assert!(track.iter().eq(slots));
        }
    }
}
