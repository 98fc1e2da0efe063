//! How many CPUs the target wanted, interval by interval, in bounded memory.

use crate::model::Active;
use crate::numa;

/// Intervals that are kept; of more, neighbours are merged.
pub const MOST_INTERVALS: usize = 4_096;

/// What the target did between two ticks, or over several such times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interval {
    /// How long it is, ns.
    pub length_ns: u64,
    /// Time on CPU of all threads, ns.
    pub cpu_ns: u64,
    /// Time waiting of all threads, ns.
    pub wait_ns: u64,
}

impl Interval {
    /// CPUs that threads wanted on average, those that ran and those that waited; with a quota no more than that, but what
    /// ran. 0 of no time.
    pub fn wanted(&self, quota_cpus: Option<f64>) -> f64 {
        let of = |ns: u64| numa::ratio(ns, self.length_ns).unwrap_or(0.0);
        let wanted = of(self.cpu_ns.saturating_add(self.wait_ns));
        quota_cpus.map_or(wanted, |quota| wanted.min(quota).max(of(self.cpu_ns)))
    }

    fn add(&mut self, other: Interval) {
        self.length_ns = self.length_ns.saturating_add(other.length_ns);
        self.cpu_ns = self.cpu_ns.saturating_add(other.cpu_ns);
        self.wait_ns = self.wait_ns.saturating_add(other.wait_ns);
    }
}

/// A series of intervals that grows while a recording is read. Their sums are exact, however many are merged.
#[derive(Clone, Debug, Default)]
pub struct Demand {
    intervals: Vec<Interval>,
    /// Ticks in the last interval.
    last: u32,
    /// Ticks in each of the others, less one.
    merged: u32,
    now_ns: u64,
    before: Active,
}

impl Demand {
    /// Forgets all; numbers count from here on.
    pub fn begin(&mut self, now_ns: u64, active: Active) {
        *self = Demand { now_ns, before: active, ..Demand::default() };
    }

    /// Forgets the intervals; numbers count from the last tick on.
    pub fn begin_here(&mut self) {
        self.begin(self.now_ns, self.before);
    }

    /// Takes in what was counted up to a tick.
    pub fn tick(&mut self, now_ns: u64, active: Active) {
        let length_ns = now_ns.saturating_sub(self.now_ns);
        if length_ns == 0 && self.intervals.is_empty() {
            // It is counted with the first interval.
            return;
        }
        let interval = Interval {
            length_ns,
            cpu_ns: active.cpu_ns.saturating_sub(self.before.cpu_ns),
            wait_ns: active.wait_ns.saturating_sub(self.before.wait_ns),
        };
        (self.now_ns, self.before) = (self.now_ns.max(now_ns), active);
        match self.intervals.last_mut() {
            // What comes behind the last tick belongs to the time before it.
            Some(last) if length_ns == 0 => last.add(interval),
            Some(last) if self.last <= self.merged => {
                last.add(interval);
                self.last += 1;
            }
            _ => {
                self.make_room();
                self.intervals.push(interval);
                self.last = 1;
            }
        }
    }

    /// Merges each with its neighbour when there are too many.
    fn make_room(&mut self) {
        if self.intervals.len() < MOST_INTERVALS {
            return;
        }
        let pairs = self.intervals.chunks(2).map(|pair| {
            pair.iter().fold(Interval::default(), |mut sum, interval| {
                sum.add(*interval);
                sum
            })
        });
        self.intervals = pairs.collect();
        self.merged = self.merged.saturating_mul(2).saturating_add(1);
    }

    /// In order of time.
    pub fn intervals(&self) -> &[Interval] {
        &self.intervals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(ticks: u64) -> Demand {
        let mut demand = Demand::default();
        demand.begin(1_000, Active { cpu_ns: 50, wait_ns: 7 });
        for tick in 1..=ticks {
            demand.tick(1_000 + tick * 10, Active { cpu_ns: 50 + tick * 4, wait_ns: 7 + tick });
        }
        demand
    }

    #[test]
    fn each_tick_is_an_interval_until_there_are_too_many() {
        assert_eq!(after(3).intervals(), [Interval { length_ns: 10, cpu_ns: 4, wait_ns: 1 }; 3]);
        assert_eq!(after(4_096).intervals().len(), 4_096);
        for ticks in [4_097, 9_000, 100_003] {
            let demand = after(ticks);
            let sum = |of: fn(&Interval) -> u64| demand.intervals().iter().map(of).sum::<u64>();
            let sums = (sum(|i| i.length_ns), sum(|i| i.cpu_ns), sum(|i| i.wait_ns));
            assert_eq!(sums, (ticks * 10, ticks * 4, ticks), "{ticks}");
            let len = demand.intervals().len();
            assert!((MOST_INTERVALS / 2..=MOST_INTERVALS).contains(&len), "{ticks} are {len}");
            let (last, all) = demand.intervals().split_last().expect("intervals");
            assert!(all.iter().all(|interval| interval.length_ns == all[0].length_ns), "all alike but the last");
            assert!(last.length_ns <= all[0].length_ns);
        }
    }

    #[test]
    fn what_comes_behind_the_last_tick_is_counted_and_time_does_not_go_back() {
        let mut demand = after(2);
        demand.tick(1_020, Active { cpu_ns: 68, wait_ns: 9 });
        assert_eq!(demand.intervals().last(), Some(&Interval { length_ns: 10, cpu_ns: 14, wait_ns: 1 }));
        demand.tick(900, Active { cpu_ns: 60, wait_ns: 9 });
        demand.tick(1_030, Active { cpu_ns: 61, wait_ns: 9 });
        assert_eq!(demand.intervals().len(), 3);
        assert_eq!(demand.intervals().last(), Some(&Interval { length_ns: 10, cpu_ns: 1, wait_ns: 0 }));
    }

    #[test]
    fn what_comes_before_the_first_tick_is_counted_with_it() {
        let mut demand = Demand::default();
        demand.tick(0, Active { cpu_ns: 5, wait_ns: 0 });
        demand.tick(10, Active { cpu_ns: 9, wait_ns: 1 });
        assert_eq!(demand.intervals(), [Interval { length_ns: 10, cpu_ns: 9, wait_ns: 1 }]);
        demand.begin_here();
        demand.tick(20, Active { cpu_ns: 10, wait_ns: 1 });
        assert_eq!(demand.intervals(), [Interval { length_ns: 10, cpu_ns: 1, wait_ns: 0 }]);
    }

    #[test]
    fn a_quota_caps_what_is_wanted_but_not_what_ran() {
        let interval = Interval { length_ns: 100, cpu_ns: 200, wait_ns: 600 };
        assert_eq!((interval.wanted(None), interval.wanted(Some(3.0)), interval.wanted(Some(1.0))), (8.0, 3.0, 2.0));
        assert_eq!(Interval { cpu_ns: 5, ..Interval::default() }.wanted(None), 0.0);
    }
}
