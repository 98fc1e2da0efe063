//! Where a thread ran in the last ten seconds: on-CPU time by CPU, in slots of a quarter of a second. Place in the flow:
//! each turn comes in as it ends, [`TrackSlot`]s go out.
//!
//! The slot of the newest turns is exact and lies in the thread itself, so that a turn that stays within it costs a
//! comparison and an addition. When a later turn begins another slot it is packed, 16 bytes with times in units of
//! 4,096 ns, rounded up, and joins the 40 before it: 640 bytes, allocated when the first slot is packed.
//!
//! A slot has room for [`PLACES`] CPUs. In the newest one the lightest gives its place to a newcomer, which takes over
//! its rank, as in `topk.rs`: what is kept was counted, the heaviest stay, the light ones beyond are not in the track.

use std::ops::Range;

use numatrace_common::abi::NO_CPU;
use smallvec::SmallVec;

use crate::snapshot::{self, TRACK_CPUS, TRACK_SLOT_NS, TRACK_SLOTS, TRACK_UNIT_NS, TrackSlot};

/// CPUs of a slot.
const PLACES: usize = TRACK_CPUS;
/// Unit of time in a packed slot: 61,036 of them are a slot, so 16 bits hold any.
const UNIT_NS: u64 = TRACK_UNIT_NS;

/// The turn that has not ended, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OpenTurn {
    pub(super) cpu: u16,
    /// When it began and up to when it counts, ns of `CLOCK_MONOTONIC`.
    pub(super) time: Range<u64>,
}

/// The slot of the newest turns.
#[derive(Clone, Copy, Debug)]
struct Newest {
    /// [`NO_CPU`] where a place is free.
    cpus: [u16; PLACES],
    ns: [u32; PLACES],
    /// Taken over from those that had the place before: with `ns` it is the rank.
    inherited: [u32; PLACES],
}

impl Newest {
    const EMPTY: Newest = Newest { cpus: [NO_CPU; PLACES], ns: [0; PLACES], inherited: [0; PLACES] };

    #[inline]
    fn add(&mut self, cpu: u16, ns: u32) {
        match self.cpus.iter().position(|known| *known == cpu) {
            Some(at) => self.ns[at] = self.ns[at].saturating_add(ns),
            None => self.admit(cpu, ns),
        }
    }

    /// A free place has rank 0, so it is taken first.
    #[inline]
    fn admit(&mut self, cpu: u16, ns: u32) {
        if ns == 0 {
            return;
        }
        let rank = |at: usize| self.ns[at].saturating_add(self.inherited[at]);
        let (mut lightest, mut least) = (0, rank(0));
        for at in 1..PLACES {
            if rank(at) < least {
                (lightest, least) = (at, rank(at));
            }
        }
        (self.cpus[lightest], self.ns[lightest], self.inherited[lightest]) = (cpu, ns, least);
    }

    fn iter(&self) -> impl Iterator<Item = (u16, u64)> {
        self.cpus.into_iter().zip(self.ns).filter(|(_, ns)| *ns > 0).map(|(cpu, ns)| (cpu, ns.into()))
    }

    fn is_empty(&self) -> bool {
        self.ns == [0; PLACES]
    }
}

/// An older slot.
#[derive(Clone, Copy, Debug)]
struct Packed {
    cpus: [u16; PLACES],
    /// 0 where a place is free.
    units: [u16; PLACES],
}

impl Packed {
    const EMPTY: Packed = Packed { cpus: [NO_CPU; PLACES], units: [0; PLACES] };

    fn of(slot: &Newest) -> Packed {
        Packed { cpus: slot.cpus, units: slot.ns.map(|ns| units(ns.into())) }
    }

    /// A turn that came late. Of five CPUs the lightest is left out, which may be this one.
    fn add(&mut self, cpu: u16, ns: u64) {
        let more = units(ns);
        if let Some(at) = (0..PLACES).find(|at| self.cpus[*at] == cpu && self.units[*at] > 0) {
            self.units[at] = self.units[at].saturating_add(more);
            return;
        }
        let lightest = (0..PLACES).min_by_key(|at| self.units[*at]).unwrap_or(0);
        if self.units[lightest] < more {
            (self.cpus[lightest], self.units[lightest]) = (cpu, more);
        }
    }

    fn iter(&self) -> impl Iterator<Item = (u16, u64)> {
        self.cpus.into_iter().zip(self.units).filter(|(_, n)| *n > 0).map(|(cpu, n)| (cpu, u64::from(n) * UNIT_NS))
    }
}

/// Rounded up, so that no time on a CPU becomes none.
fn units(ns: u64) -> u16 {
    u16::try_from(ns.min(TRACK_SLOT_NS).div_ceil(UNIT_NS)).unwrap_or(u16::MAX)
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Track {
    /// Number of the newest slot since the start of tracing.
    number: u64,
    /// When it begins, ns of `CLOCK_MONOTONIC`.
    begins: u64,
    newest: Newest,
    /// Slot `n` of those from `number - 40` to `number - 1` at `n % 40`. One more than is shown: turns that end while a
    /// tick reads the counters can begin a slot that is after the tick.
    older: Option<Box<[Packed; TRACK_SLOTS]>>,
}

impl Track {
    /// Nothing yet, of a trace that began at `start`.
    pub(super) const fn new(start: u64) -> Track {
        Track { number: 0, begins: start, newest: Newest::EMPTY, older: None }
    }

    /// Adds a turn that ended at `end` after `ns` on a CPU.
    #[inline]
    pub(super) fn add(&mut self, cpu: u16, end: u64, ns: u64) {
        let begin = end.saturating_sub(ns);
        if begin >= self.begins && end - self.begins <= TRACK_SLOT_NS {
            // At most the length of a slot.
            self.newest.add(cpu, ns as u32);
        } else {
            self.spread(cpu, begin, end);
        }
    }

    /// The rare cases of [`Track::add`]: over several slots, a new one, an old one.
    #[cold]
    fn spread(&mut self, cpu: u16, begin: u64, end: u64) {
        let start = self.start();
        let end = end.saturating_sub(start);
        // What is older would be forgotten at once.
        let oldest = end.saturating_sub(TRACK_SLOT_NS * (TRACK_SLOTS as u64 + 1));
        let mut at = begin.saturating_sub(start).max(oldest);
        while at < end {
            let number = at / TRACK_SLOT_NS;
            let until = end.min((number + 1).saturating_mul(TRACK_SLOT_NS));
            self.put(number, cpu, until - at);
            at = until;
        }
    }

    /// When tracing began.
    const fn start(&self) -> u64 {
        self.begins - self.number * TRACK_SLOT_NS
    }

    /// Adds time within one slot.
    fn put(&mut self, number: u64, cpu: u16, ns: u64) {
        if number > self.number {
            self.go_on_to(number);
        }
        if number == self.number {
            self.newest.add(cpu, ns as u32);
        } else if self.number - number <= TRACK_SLOTS as u64 {
            self.older_slots()[index(number)].add(cpu, ns);
        }
    }

    /// Packs the newest slot and begins a later one.
    fn go_on_to(&mut self, number: u64) {
        if self.older.is_some() || !self.newest.is_empty() {
            let (newest, packed) = (self.number, Packed::of(&self.newest));
            let older = self.older_slots();
            older[index(newest)] = packed;
            // Those in between, in which it did not run; beyond 40 they are all of them.
            for skipped in (newest + 1..number).take(TRACK_SLOTS) {
                older[index(skipped)] = Packed::EMPTY;
            }
        }
        self.begins += (number - self.number) * TRACK_SLOT_NS;
        self.number = number;
        self.newest = Newest::EMPTY;
    }

    fn older_slots(&mut self) -> &mut [Packed; TRACK_SLOTS] {
        self.older.get_or_insert_with(|| Box::new([Packed::EMPTY; TRACK_SLOTS]))
    }

    /// The slots of the ten seconds before `duration` in which it ran, in order of time, the open turn laid over them.
    pub(super) fn slots(&self, duration: u64, open: Option<&OpenTurn>) -> snapshot::Track {
        let shown = shown(duration);
        if open.is_none() && self.number < shown.start {
            return snapshot::Track::default();
        }
        shown.filter_map(|number| self.slot(number, open)).collect()
    }

    fn slot(&self, number: u64, open: Option<&OpenTurn>) -> Option<TrackSlot> {
        let mut cpus: SmallVec<[(u32, u64); PLACES]> = SmallVec::new();
        if number == self.number {
            cpus.extend(self.newest.iter().map(|(cpu, ns)| (cpu.into(), ns)));
        } else if number < self.number && self.number - number <= TRACK_SLOTS as u64 {
            let packed = self.older.as_ref().map(|older| older[index(number)]);
            cpus.extend(packed.iter().flat_map(Packed::iter).map(|(cpu, ns)| (cpu.into(), ns)));
        }
        let start_ns = number * TRACK_SLOT_NS;
        if let Some(open) = open {
            let slot = self.start().saturating_add(start_ns);
            let ns = open.time.end.min(slot.saturating_add(TRACK_SLOT_NS)).saturating_sub(open.time.start.max(slot));
            match cpus.iter_mut().find(|(cpu, _)| *cpu == u32::from(open.cpu)) {
                Some((_, sum)) => *sum += ns,
                None if ns > 0 => cpus.push((open.cpu.into(), ns)),
                None => {}
            }
        }
        if cpus.is_empty() {
            return None;
        }
        // Rounding, and records that contradict each other, can make more of it than there is.
        cpus.iter_mut().for_each(|(_, ns)| *ns = (*ns).min(TRACK_SLOT_NS));
        cpus.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        cpus.truncate(PLACES);
        Some(TrackSlot { start_ns, cpus })
    }
}

/// Numbers of the slots that begin within the ten seconds before `duration`: 40 at most.
fn shown(duration: u64) -> Range<u64> {
    let first = duration.saturating_sub(TRACK_SLOT_NS * TRACK_SLOTS as u64);
    first.div_ceil(TRACK_SLOT_NS)..duration.div_ceil(TRACK_SLOT_NS)
}

const fn index(number: u64) -> usize {
    (number % TRACK_SLOTS as u64) as usize
}

#[cfg(test)]
mod tests;
