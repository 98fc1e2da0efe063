//! How a CPU's scheduler clock is set against `CLOCK_MONOTONIC`: pure, inlined by the probes.
//!
//! In each window of [`WINDOW_NS`] the first [`SAMPLES`] events read both clocks. They use what `CLOCK_MONOTONIC` said;
//! the events after them add the least difference of these samples to the scheduler's clock. A difference is too
//! large by the time that passed since the kernel read its clock, so the least one is the best. Each window begins
//! anew: the two clocks part by 500 in a million at most (`MAXFREQ` in `include/linux/timex.h`), half a microsecond.

/// Length of a window, ns.
pub const WINDOW_NS: u64 = 1_000_000;

/// Events of a window that read both clocks.
pub const SAMPLES: u64 = 4;

/// How one CPU's clock stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Clock {
    /// What to add to the scheduler's clock (modulo 2^64).
    pub offset: u64,
    /// The scheduler's clock at the beginning of the window.
    pub since: u64,
    /// Samples in this window.
    pub samples: u64,
    /// Always 0.
    pub reserved: u64,
}

impl Clock {
    /// Nothing known: the first event begins a window.
    pub const ZERO: Clock = Clock { offset: 0, since: 0, samples: 0, reserved: 0 };

    /// Time of an event at which the scheduler's clock says `clock`, ns of `CLOCK_MONOTONIC`, which `now` reads.
    #[inline(always)]
    pub fn time(&mut self, clock: u64, now: impl FnOnce() -> u64) -> u64 {
        if clock.wrapping_sub(self.since) >= WINDOW_NS {
            self.since = clock;
            self.samples = 0;
        }
        if self.samples >= SAMPLES {
            return clock.wrapping_add(self.offset);
        }
        let now = now();
        let difference = now.wrapping_sub(clock);
        if self.samples == 0 || (difference.wrapping_sub(self.offset) as i64) < 0 {
            self.offset = difference;
        }
        self.samples += 1;
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The time that is told at `clock` when `CLOCK_MONOTONIC` is ahead by `ahead`, and whether it was read.
    fn at(state: &mut Clock, clock: u64, ahead: i64) -> (u64, bool) {
        let mut read = false;
        let time = state.time(clock, || {
            read = true;
            clock.wrapping_add_signed(ahead)
        });
        (time, read)
    }

    #[test]
    fn the_first_events_of_a_window_read_the_clock_and_the_rest_use_the_least_difference() {
        let mut state = Clock::ZERO;
        for (clock, ahead) in [(5_000_000, 900), (5_000_100, 300), (5_000_200, 4_000), (5_000_300, 350)] {
            assert_eq!(at(&mut state, clock, ahead), (clock + ahead as u64, true));
        }
        assert_eq!(at(&mut state, 5_000_400, 7_777), (5_000_700, false));
        // A new window forgets the old one.
        assert_eq!(at(&mut state, 6_000_000, 500), (6_000_500, true));
        assert_eq!((state.offset, state.samples), (500, 1));
    }

    #[test]
    fn a_scheduler_clock_that_is_ahead_is_set_back() {
        let mut state = Clock::ZERO;
        (0..SAMPLES).for_each(|n| _ = at(&mut state, 9_000_000 + n, -2_000_000));
        assert_eq!(at(&mut state, 9_500_000, 0), (7_500_000, false));
    }
}
