//! How fast a recording is played.

use std::fmt;
use std::str::FromStr;

/// Hundredths of the speed at which it was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Speed(u32);

/// What the keys go through.
const STEPS: [u32; 10] = [10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000];

impl Speed {
    /// The next greater one of the steps, or this one where there is none.
    #[must_use]
    pub fn faster(self) -> Speed {
        STEPS.into_iter().find(|step| *step > self.0).map_or(self, Speed)
    }

    /// The next smaller one.
    #[must_use]
    pub fn slower(self) -> Speed {
        STEPS.into_iter().rfind(|step| *step < self.0).map_or(self, Speed)
    }

    /// Hundredths of recorded time that pass in so many ns, in ns.
    pub(super) fn recorded(self, wall_ns: u128) -> u128 {
        wall_ns * u128::from(self.0)
    }

    /// The time in which so many hundredths of recorded time pass.
    pub(super) fn wall(self, recorded: u128) -> u128 {
        recorded.div_ceil(u128::from(self.0))
    }
}

impl Default for Speed {
    fn default() -> Self {
        Speed(100)
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x", f64::from(self.0) / 100.0)
    }
}

impl FromStr for Speed {
    type Err = String;

    /// `2`, `0.5` or `10x`.
    fn from_str(text: &str) -> Result<Speed, String> {
        let number = text.trim().trim_end_matches('x').parse().ok().map(|speed: f64| (speed * 100.0).round());
        match number {
            // Within these bounds it is a whole number that fits.
            Some(hundredths @ 10.0..=10_000.0) => Ok(Speed(hundredths as u32)),
            _ => Err("a speed is a number from 0.1 to 100".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_are_read_written_and_gone_through() {
        let shown = |text: &str| text.parse::<Speed>().map(|speed| speed.to_string());
        assert_eq!(
            ["1", "0.5", "10x", " 2.5 "].map(|text| shown(text).expect("a speed")),
            ["1x", "0.5x", "10x", "2.5x"]
        );
        for wrong in ["", "x", "0", "0.05", "101", "-1", "NaN", "inf", "1e9"] {
            assert!(shown(wrong).is_err(), "{wrong}");
        }
        let mut speed = Speed::default();
        (0..20).for_each(|_| speed = speed.faster());
        assert_eq!(speed.to_string(), "100x");
        (0..20).for_each(|_| speed = speed.slower());
        assert_eq!(speed.to_string(), "0.1x");
        assert_eq!("3".parse::<Speed>().map(|speed| (speed.slower(), speed.faster())), Ok((Speed(200), Speed(500))));
    }
}
