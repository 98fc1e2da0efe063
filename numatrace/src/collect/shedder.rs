//! What to leave out, so that numatrace takes no more of the machine than it may, and so that what does not fit is left out
//! evenly instead of in bursts. Pure: a look at what was measured in, a rung of the ladder out.

use numatrace_common::shed::MOST_EVERY;

/// Time between two decisions, at least: in less, one scan or one visit of all threads is what is measured.
pub(super) const LOOK_NS: u64 = 1_000_000_000;
/// Beyond this share of the records lost, twice in a row, fewer are asked for: one in so many.
const LOST: u64 = 1000;
/// Below this share of the limit something is taken back.
const CALM: f64 = 0.5;
/// Calm looks before that; doubled each time that it was a mistake, up to the second.
const PATIENCE: (u32, u32) = (10, 320);

/// What the cost of tracing is to stay below.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum MaxOverhead {
    /// Nothing was said: only what is lost leads to fewer records.
    #[default]
    Unsaid,
    /// A share of all CPU time of the machine.
    Share(f64),
    /// Nothing is ever left out.
    Off,
}

/// What is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rung {
    /// Turns for which one record stands.
    pub(super) every: u32,
    /// Page touches are not sampled, and placement is not scanned.
    pub(super) no_samples: bool,
    /// Nobody looks who wakes whom.
    pub(super) no_wakers: bool,
    /// Nobody looks at page touches.
    pub(super) no_touches: bool,
}

impl Rung {
    /// Everything is there.
    pub(super) const ALL: Rung = Rung { every: 1, no_samples: false, no_wakers: false, no_touches: false };
}

/// The last rung that only leaves out records.
const THINNEST: usize = 1 + MOST_EVERY.ilog2() as usize;
const LAST: usize = THINNEST + 2;

/// In order of what they take away: first what is an estimate anyway, then records, whose distributions stay right, and last
/// what is then not known at all.
const fn rung(at: usize) -> Rung {
    let thin = if at > THINNEST { THINNEST } else { at };
    Rung {
        every: if thin == 0 { 1 } else { 1 << (thin - 1) },
        no_samples: at > 0,
        no_wakers: at > THINNEST,
        no_touches: at > THINNEST + 1,
    }
}

/// What was measured since the last look.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// Share of all CPU time of the machine that tracing took.
    pub(super) overhead: f64,
    /// Turns that were to have a record.
    pub(super) wanted: u64,
    /// Of these, how many found no room.
    pub(super) lost: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Shedder {
    limit: MaxOverhead,
    at: usize,
    /// Looks in a row at which records were lost.
    losing: u32,
    /// Looks in a row at which there was room for more.
    calm: u32,
    patience: u32,
    /// Looks since something was taken back.
    since_back: u32,
    /// It is because of what was lost.
    for_loss: bool,
    /// The limit led there: samples take their part of it.
    no_samples: bool,
    not_held: bool,
}

impl Shedder {
    pub(super) const fn new(limit: MaxOverhead) -> Shedder {
        Shedder {
            limit,
            at: 0,
            losing: 0,
            calm: 0,
            patience: PATIENCE.0,
            since_back: u32::MAX,
            for_loss: false,
            no_samples: false,
            not_held: false,
        }
    }

    /// What to leave out from now on.
    pub(super) fn look(&mut self, seen: Seen) -> Rung {
        if self.limit == MaxOverhead::Off {
            return Rung::ALL;
        }
        let limit = if let MaxOverhead::Share(limit) = self.limit { limit } else { f64::INFINITY };
        let over = seen.overhead > limit;
        let losing = seen.lost > 0 && seen.lost.saturating_mul(LOST) > seen.wanted;
        self.losing = if losing { self.losing.saturating_add(1) } else { 0 };
        self.since_back = self.since_back.saturating_add(1);
        self.not_held = over && self.at == LAST;
        if over {
            // Far above it, faster.
            let steps = if seen.overhead > 2.0 * limit { 2 } else { 1 };
            self.down((self.at + steps).min(LAST), false);
        } else if self.losing >= 2 && self.at < THINNEST {
            self.down(self.at.max(1) + 1, true);
        } else if self.at == 0 {
            // What was a mistake long ago is none any more.
            if self.since_back > 2 * self.patience {
                self.patience = PATIENCE.0;
            }
            self.calm = 0;
        } else if losing || seen.overhead > CALM * limit {
            self.calm = 0;
        } else {
            self.calm += 1;
            if self.calm >= self.patience {
                self.at -= 1;
                (self.calm, self.since_back) = (0, 0);
            }
        }
        let rung = rung(self.at);
        // Samples take no room from turns.
        self.no_samples &= self.at > 0;
        Rung { no_samples: self.no_samples, ..rung }
    }

    fn down(&mut self, to: usize, for_loss: bool) {
        if self.at == to {
            return;
        }
        if self.since_back < self.patience {
            self.patience = (self.patience * 2).min(PATIENCE.1);
            self.since_back = u32::MAX;
        }
        self.no_samples |= !for_loss;
        (self.at, self.calm, self.losing, self.for_loss) = (to, 0, 0, for_loss);
    }

    /// What is left out, or was left out last, is because records were lost.
    pub(super) const fn is_for_loss(&self) -> bool {
        self.for_loss
    }

    /// Everything that can be left out is, and it is still too much.
    pub(super) const fn is_not_held(&self) -> bool {
        self.not_held
    }

    /// The limit, where there is one.
    pub(super) const fn limit(&self) -> Option<f64> {
        match self.limit {
            MaxOverhead::Share(limit) => Some(limit),
            MaxOverhead::Unsaid | MaxOverhead::Off => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine on which tracing costs `fixed`, and `records` more when every turn has a record.
    fn run(shedder: &mut Shedder, looks: u32, fixed: f64, records: f64) -> Rung {
        let mut rung = rung(shedder.at);
        for _ in 0..looks {
            rung = shedder.look(Seen { overhead: fixed + records / f64::from(rung.every), wanted: 1000, lost: 0 });
        }
        rung
    }

    #[test]
    fn rungs_take_away_more_and_more() {
        let all: Vec<Rung> = (0..=LAST).map(rung).collect();
        assert_eq!((all[0], all[1].every, all[1].no_samples), (Rung::ALL, 1, true));
        assert_eq!(all.iter().map(|rung| rung.every).collect::<Vec<_>>(), [1, 1, 2, 4, 8, 16, 32, 64, 64, 64]);
        assert_eq!(all.iter().filter(|rung| rung.no_wakers).count(), 2);
        assert_eq!(all.iter().filter(|rung| rung.no_touches).count(), 1);
    }

    #[test]
    fn it_sheds_until_it_holds_and_no_more() {
        let mut shedder = Shedder::new(MaxOverhead::Share(0.02));
        assert_eq!(run(&mut shedder, 30, 0.001, 0.018), Rung::ALL);
        let rung = run(&mut shedder, 60, 0.004, 0.1);
        assert!(0.004 + 0.1 / f64::from(rung.every) <= 0.02 && rung.every <= 16 && !rung.no_wakers, "{rung:?}");
        assert!(!shedder.is_not_held() && !shedder.is_for_loss());
    }

    #[test]
    fn what_cannot_be_held_is_said() {
        let mut shedder = Shedder::new(MaxOverhead::Share(0.02));
        let rung = run(&mut shedder, 30, 0.05, 0.1);
        assert!(rung.no_touches && rung.no_wakers && shedder.is_not_held());
        run(&mut shedder, 1, 0.001, 0.0);
        assert!(!shedder.is_not_held());
    }

    #[test]
    fn when_the_load_goes_everything_comes_back() {
        let mut shedder = Shedder::new(MaxOverhead::Share(0.02));
        run(&mut shedder, 30, 0.05, 0.1);
        assert_eq!(run(&mut shedder, 10 * LAST as u32 + 10, 0.001, 0.002), Rung::ALL);
    }

    #[test]
    fn a_load_that_stays_is_tried_ever_more_seldom() {
        let mut shedder = Shedder::new(MaxOverhead::Share(0.02));
        let (mut changes, mut before) = ([0; 2], Rung::ALL);
        for look in 0..2000 {
            // Half of the limit or less with 1 in 8, above it with 1 in 4.
            let overhead = if before.every >= 8 { 0.009 } else { 0.021 };
            let rung = shedder.look(Seen { overhead, wanted: 1000, lost: 0 });
            changes[usize::from(look >= 1000)] += u32::from(rung != before);
            before = rung;
        }
        assert!(changes[1] <= 8 && changes[1] < changes[0], "{changes:?}");
    }

    #[test]
    fn loss_that_goes_on_leads_to_fewer_records_a_burst_does_not() {
        let mut shedder = Shedder::new(MaxOverhead::Unsaid);
        let lossy = Seen { overhead: 0.9, wanted: 1000, lost: 100 };
        let fine = Seen { lost: 0, ..lossy };
        assert_eq!((shedder.look(lossy), shedder.look(fine), shedder.look(lossy)), (Rung::ALL, Rung::ALL, Rung::ALL));
        assert_eq!(shedder.look(lossy).every, 2);
        assert!(shedder.is_for_loss());
        for _ in 0..100 {
            shedder.look(lossy);
        }
        let rung = shedder.look(lossy);
        assert!(rung.every == MOST_EVERY && !rung.no_wakers && !shedder.is_not_held());
        // Without a limit calm is that nothing is lost.
        for _ in 0..20 * LAST {
            shedder.look(fine);
        }
        assert_eq!(shedder.look(fine), Rung::ALL);
        // A little of it is no reason.
        let little = Seen { overhead: 0.0, wanted: 1_000_000, lost: 10 };
        assert_eq!((0..10).map(|_| shedder.look(little)).last(), Some(Rung::ALL));
    }

    #[test]
    fn loss_brings_back_nothing_that_the_limit_took() {
        let mut shedder = Shedder::new(MaxOverhead::Share(0.02));
        let over = Seen { overhead: 0.03, wanted: 1000, lost: 0 };
        assert!(shedder.look(over).no_samples);
        let lossy = Seen { overhead: 0.019, wanted: 1000, lost: 100 };
        shedder.look(lossy);
        let rung = shedder.look(lossy);
        assert!(rung.no_samples && rung.every == 2 && shedder.is_for_loss(), "{rung:?}");
        let calm = Seen { overhead: 0.001, wanted: 1000, lost: 0 };
        assert_eq!((0..20 * LAST).map(|_| shedder.look(calm)).last(), Some(Rung::ALL));
        // Loss alone leaves samples there, until the limit asks for more.
        let mut shedder = Shedder::new(MaxOverhead::Share(0.02));
        shedder.look(lossy);
        assert!(!shedder.look(lossy).no_samples);
        assert!(shedder.look(over).no_samples);
    }

    #[test]
    fn switched_off_it_leaves_everything() {
        let mut shedder = Shedder::new(MaxOverhead::Off);
        let worst = Seen { overhead: 1.0, wanted: 10, lost: 10 };
        assert_eq!((0..10).map(|_| shedder.look(worst)).last(), Some(Rung::ALL));
    }
}
