//! How a CPU's scheduler clock is set against `CLOCK_MONOTONIC`: pure, inlined by the probes.
//!
//! In each window of [`WINDOW_NS`] the first [`SAMPLES`] events read both clocks. They use what `CLOCK_MONOTONIC` said;
//! the events after them add the least difference of these samples to the scheduler's clock. A difference is too
//! large by the time that passed since the kernel read its clock, so the least one is the best. Each window begins
//! anew. Where the difference has changed by more than 2,000 in a million since the window before (a clock that is
//! being set, or a counter that leapt), the clock is read at every event of the window.

/// Length of a window, ns.
pub const WINDOW_NS: u64 = 1_000_000;

/// Events of a window that read both clocks.
pub const SAMPLES: u32 = 4;

/// How far two measurements of one difference can be apart by themselves, ns.
const NOISE_NS: u64 = 1_000;

/// How one CPU's clock stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Clock {
    /// What to add to the scheduler's clock (modulo 2^64).
    pub offset: u64,
    /// The scheduler's clock at the beginning of the window.
    pub since: u64,
    /// `offset` of the window before.
    pub before: u64,
    /// How far `offset` may be from `before`, ns.
    pub slack: u64,
    /// Samples in this window.
    pub samples: u32,
    /// Fills the cache line.
    pub reserved: [u32; 7],
}

impl Clock {
    /// Nothing known: the first event begins a window.
    pub const ZERO: Clock = Clock { offset: 0, since: 0, before: 0, slack: 0, samples: 0, reserved: [0; 7] };

    /// Time of an event at which the scheduler's clock says `clock`, ns of `CLOCK_MONOTONIC`, which `now` reads.
    #[inline(always)]
    pub fn time(&mut self, clock: u64, now: impl FnOnce() -> u64) -> u64 {
        let elapsed = clock.wrapping_sub(self.since);
        if elapsed >= WINDOW_NS {
            self.before = self.offset;
            self.slack = (elapsed >> 9) + NOISE_NS;
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
        // The last sample counts only when the two clocks go on together.
        let apart = self.offset.wrapping_sub(self.before).wrapping_add(self.slack);
        if self.samples + 1 < SAMPLES || apart <= 2 * self.slack {
            self.samples += 1;
        }
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

    /// A window that begins at `clock`, all of whose samples say `ahead`.
    fn window(state: &mut Clock, clock: u64, ahead: i64) {
        (0..u64::from(SAMPLES)).for_each(|n| _ = at(state, clock + n, ahead));
    }

    #[test]
    fn the_first_events_of_a_window_read_the_clock_and_the_rest_use_the_least_difference() {
        let mut state = Clock::ZERO;
        window(&mut state, 4_000_000, 400);
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
        window(&mut state, 9_000_000, -2_000_000);
        window(&mut state, 10_000_000, -2_000_000);
        assert_eq!(at(&mut state, 10_500_000, 0), (8_500_000, false));
    }

    #[test]
    fn clocks_that_part_are_not_extrapolated_until_they_go_together_again() {
        let mut state = Clock::ZERO;
        window(&mut state, 1_000_000, 500);
        window(&mut state, 2_000_000, 500);
        assert!(!at(&mut state, 2_000_010, 500).1);
        // One is being set: 100 us in a millisecond.
        window(&mut state, 3_000_000, 100_500);
        assert_eq!(at(&mut state, 3_000_010, 100_500), (3_100_510, true));
        // Back to its own pace.
        window(&mut state, 4_000_000, 100_600);
        assert_eq!(at(&mut state, 4_000_010, 0), (4_100_610, false));
        // A leap back of the scheduler's clock begins a window.
        assert_eq!(at(&mut state, 3_900_000, 250_000), (4_150_000, true));
    }
}
