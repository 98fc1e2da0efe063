//! How the scheduler's clock is set against `CLOCK_MONOTONIC`: pure, inlined by the probes.
//!
//! An offset is what to add to the scheduler's clock (modulo 2^64; 0: not known yet). A measurement of it is too large
//! by the time that passed since the kernel read its clock: the least one is the best, within the rate at which the
//! two clocks can part.

/// How one CPU's clock stands.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Clock {
    /// The offset.
    pub offset: u64,
    /// What the clock said when it was last measured.
    pub measured_at: u64,
}

impl Clock {
    /// Not known yet.
    pub const ZERO: Clock = Clock { offset: 0, measured_at: 0 };
}

/// Time between two measurements, ns.
pub const COMPARE_NS: u64 = 1_000_000;

/// How much an offset may grow from one to the next, ns: the kernel steers `CLOCK_MONOTONIC` by at most 500 in a million (`MAXFREQ`
/// in `include/linux/timex.h`).
pub const MOST_DRIFT_NS: u64 = COMPARE_NS / 2_000;

/// The offset from here on.
#[inline(always)]
pub const fn next_offset(known: u64, measured: u64) -> u64 {
    let most = known.wrapping_add(MOST_DRIFT_NS);
    if known != 0 && measured.wrapping_sub(most) as i64 > 0 { most } else { measured }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_measurement_is_taken_as_it_is() {
        assert_eq!(next_offset(0, 5_000), 5_000);
        assert_eq!(next_offset(0, 5_000u64.wrapping_neg()), 5_000u64.wrapping_neg());
    }

    #[test]
    fn a_measurement_that_something_delayed_moves_the_offset_by_the_drift_at_most() {
        assert_eq!(next_offset(5_000, 900_000), 5_000 + MOST_DRIFT_NS);
        assert_eq!(next_offset(5_000, 5_300), 5_300);
    }

    #[test]
    fn a_lower_measurement_is_the_better_one_also_across_zero() {
        assert_eq!(next_offset(5_000, 4_700), 4_700);
        assert_eq!(next_offset(100, 50u64.wrapping_neg()), 50u64.wrapping_neg());
        assert_eq!(next_offset(50u64.wrapping_neg(), 900), MOST_DRIFT_NS - 50);
    }
}
