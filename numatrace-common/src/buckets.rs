//! The buckets of the histograms that the probes keep for `serve`: those of Prometheus' native histograms with schema 2, which
//! are bounded by powers of the fourth root of two, in seconds.
//!
//! ```text
//! bucket   0                 1                        ...   80            ...   100                     101
//! seconds  up to 2^-20       2^-20 to 2^-19.75              2^-0.25 to 1        2^4.75 to 2^5 = 32      more
//! ```
//!
//! Upper bounds belong to their bucket. See <https://prometheus.io/docs/specs/native_histograms/>, "Schema".

/// Buckets of a doubling: schema 2 has 2^2.
pub const PER_OCTAVE: usize = 4;
/// The lowest bound is 2 to the power of this, in seconds: 0.95 us.
pub const LOWEST_EXPONENT: i32 = -20;
/// The highest finite bound is 2 to the power of this, in seconds: 32 s.
pub const HIGHEST_EXPONENT: i32 = 5;
/// Buckets in all, the one below the lowest and the one above the highest bound among them.
pub const BUCKETS: usize = (HIGHEST_EXPONENT - LOWEST_EXPONENT) as usize * PER_OCTAVE + 2;

/// Bits behind the point of seconds in which durations are looked up: 2^-30 s is 0.93 ns.
const FRACTION: u32 = 30;
/// 2^62 / 10^9, so that nanoseconds times this are seconds with 62 bits behind the point.
const SCALE: u64 = 4_611_686_018;
/// Where a quarter of an octave begins, of a number between 1 and 2 with 16 bits behind the point: 2^(1/4), 2^(2/4), 2^(3/4).
const QUARTERS: [u64; 3] = [77_936, 92_682, 110_218];

/// The bucket of a duration in ns. Bounds are exact to 2 ns below 2 s, and to 2^-15 of themselves everywhere.
#[inline(always)]
pub const fn bucket(ns: u64) -> usize {
    // 32 s are 2^35 ns; four times that fit into the product when a few bits are left out.
    let (ns, shift) = if ns < 1 << 31 { (ns, 0) } else { (ns >> 10, 10) };
    if ns >= 1 << 31 {
        return BUCKETS - 1;
    }
    let seconds = (ns * SCALE) >> 32 << shift;
    if seconds <= 1 << (FRACTION as i32 + LOWEST_EXPONENT) {
        return 0;
    }
    // Upper bounds belong to their bucket.
    let inside = seconds - 1;
    let octave = 63 - inside.leading_zeros();
    let part = if octave >= 16 { inside >> (octave - 16) } else { inside << (16 - octave) };
    let quarter = (part >= QUARTERS[0]) as usize + (part >= QUARTERS[1]) as usize + (part >= QUARTERS[2]) as usize;
    let lowest = (FRACTION as i32 + LOWEST_EXPONENT) as u32;
    let at = 1 + (octave - lowest) as usize * PER_OCTAVE + quarter;
    if at < BUCKETS { at } else { BUCKETS - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Upper bound of a finite bucket, in ns.
    fn bound(bucket: usize) -> f64 {
        let exponent = f64::from(LOWEST_EXPONENT) + bucket as f64 / PER_OCTAVE as f64;
        1e9 * exponent.exp2()
    }

    #[test]
    fn a_duration_is_between_the_bounds_of_its_bucket() {
        for bucket_at in 0..BUCKETS - 1 {
            let bound = bound(bucket_at);
            let slack = 2.0_f64.max(bound / 32_768.0);
            assert_eq!(bucket((bound - slack) as u64), bucket_at, "below {bound}");
            assert_eq!(bucket((bound + slack) as u64 + 1), bucket_at + 1, "above {bound}");
        }
    }

    #[test]
    fn whole_powers_of_two_seconds_are_upper_bounds() {
        assert_eq!(bucket(1_000_000_000), (1 + 19) * PER_OCTAVE);
        assert_eq!(bucket(1_000_000_002), (1 + 19) * PER_OCTAVE + 1);
        assert_eq!(bucket(0), 0);
        assert_eq!(bucket(32_000_000_000), BUCKETS - 2);
        assert_eq!(bucket(33_000_000_000), BUCKETS - 1);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn buckets_never_go_back() {
        let mut last = 0;
        let mut ns = 1;
        while ns < 40_000_000_000 {
            let at = bucket(ns);
            assert!(at >= last);
            last = at;
            ns += 1 + ns / 1_000;
        }
    }
}
