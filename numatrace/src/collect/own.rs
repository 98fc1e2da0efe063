//! What numatrace itself takes, and what it leaves out for that: measured, decided, carried out, and told as a record.

use numatrace_common::abi::{SelfCost, shed_flags};

use super::{
    load::{LoadError, Plan, Probes},
    self_cost::Meter,
    shedder::{LOOK_NS, MaxOverhead, Rung, Seen, Shedder},
    system::{self, monotonic_ns},
};
use crate::{snapshot::Source, topology::Topology};

/// See the module.
pub(super) struct Own {
    pub(super) meter: Meter,
    shedder: Shedder,
    rung: Rung,
    looked_ns: u64,
    /// Turns that were to have a record, and lost ones, when it was decided last.
    before: (u64, u64),
    overhead: f64,
    /// What can be left out: bits of `shed_flags`.
    there: u64,
}

impl Own {
    /// Also the record that all others count from, and what is to be said about it.
    pub(super) fn start(now: u64, plan: &Plan, topology: &Topology, probes: &Probes) -> (Own, SelfCost, Source) {
        let limited = matches!(plan.max_overhead, MaxOverhead::Share(_));
        let cpus = topology.cpus.iter().filter(|cpu| cpu.online).count();
        let (meter, source) = Meter::start(now, cpus, limited, plan.statistics, probes);
        let there = [
            (probes.pages.can_be_lean(), shed_flags::SAMPLES),
            (probes.has_wakers(), shed_flags::WAKERS),
            (probes.pages.can_pause_touches(), shed_flags::TOUCHES),
        ];
        let shedder = Shedder::new(plan.max_overhead);
        let first = SelfCost {
            header: SelfCost::header(now, 0, 0),
            cpu_ns: system::own_cpu_ns(),
            memory_bytes: system::resident_bytes().unwrap_or(0),
            every: 1,
            max_overhead_ppm: shedder.limit().map_or(0, ppm),
            ..SelfCost::default()
        };
        let there = bits(&there);
        let own = Own { meter, shedder, rung: Rung::ALL, looked_ns: now, before: (0, 0), overhead: 0.0, there };
        (own, first, source)
    }

    /// What to leave out is to be decided anew.
    pub(super) const fn is_due(&self, now: u64) -> bool {
        now >= self.looked_ns + LOOK_NS
    }

    /// What was taken so far; with `decide`, what to leave out is decided anew where that is due.
    pub(super) fn look(&mut self, probes: &mut Probes, ring_fill: u32, decide: bool) -> Result<SelfCost, LoadError> {
        let now = monotonic_ns();
        let taken = self.meter.taken(now, probes);
        let counted = probes.counters()?.sum;
        let mut ts = now;
        if decide && self.is_due(now) {
            self.looked_ns = now;
            self.overhead = self.meter.share_since(now, &taken);
            let (wanted, lost) = (counted.slices.saturating_sub(counted.shed), probes.turns_lost());
            let (wanted_before, lost_before) = std::mem::replace(&mut self.before, (wanted, lost));
            let rung = self.shedder.look(Seen {
                overhead: self.overhead,
                wanted: wanted.saturating_sub(wanted_before),
                lost: lost.saturating_sub(lost_before),
            });
            ts = self.go_to(rung, probes)?;
        }
        Ok(SelfCost {
            header: SelfCost::header(ts, 0, 0),
            cpu_ns: taken.cpu_ns,
            probes_ns: taken.probes_ns,
            window_ns: taken.window_ns,
            memory_bytes: taken.memory_bytes,
            shed: counted.shed,
            ring_fill,
            every: self.rung.every,
            overhead_ppm: ppm(self.overhead),
            max_overhead_ppm: self.shedder.limit().map_or(0, ppm),
            flags: self.flags(),
        })
    }

    /// Returns since when each record stands for as many turns as that says.
    fn go_to(&mut self, mut rung: Rung, probes: &mut Probes) -> Result<u64, LoadError> {
        if rung.every != self.rung.every {
            probes.keep_one_in(rung.every);
        }
        let since = monotonic_ns();
        if rung.no_samples != self.rung.no_samples {
            probes.pages.set_lean(rung.no_samples)?;
        }
        if rung.no_wakers != self.rung.no_wakers && self.there & shed_flags::WAKERS != 0 {
            let watched = probes.watch_wakers(!rung.no_wakers);
            // Where it cannot be attached again, it is left out still.
            rung.no_wakers |= !watched;
        }
        if rung.no_touches != self.rung.no_touches {
            probes.pages.pause_touches(rung.no_touches);
        }
        self.rung = rung;
        Ok(since)
    }

    fn flags(&self) -> u64 {
        let left_out = [
            (self.rung.no_samples, shed_flags::SAMPLES),
            (self.rung.no_wakers, shed_flags::WAKERS),
            (self.rung.no_touches, shed_flags::TOUCHES),
        ];
        let how =
            [(self.shedder.is_not_held(), shed_flags::NOT_HELD), (self.shedder.is_for_loss(), shed_flags::FOR_LOSS)];
        bits(&left_out) & self.there | bits(&how)
    }
}

fn bits(bits: &[(bool, u64)]) -> u64 {
    bits.iter().filter(|(is_set, _)| *is_set).fold(0, |all, (_, bit)| all | bit)
}

/// A share in millionths.
fn ppm(share: f64) -> u32 {
    (share * 1e6) as u32
}
