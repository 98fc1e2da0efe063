//! Recorded time that passes while a recording is played. Pure: whoever calls knows what time it is.

use std::time::Duration;

use super::Speed;

/// More than this between two looks at the clock is no playing: the program was stopped, or the machine was.
const LONGEST: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    speed: Speed,
    /// Recorded time, hundredths of ns of `CLOCK_MONOTONIC`.
    at: u128,
    /// The last look; `None` while time stands still.
    looked: Option<Duration>,
}

impl Clock {
    /// A clock that stands still.
    pub fn new(speed: Speed) -> Clock {
        Clock { speed, at: 0, looked: None }
    }

    /// How fast it goes.
    pub fn speed(&self) -> Speed {
        self.speed
    }

    /// Goes at another speed from now on.
    pub fn set_speed(&mut self, speed: Speed, now: Duration) {
        if self.looked.is_some() {
            self.look(now);
        }
        self.speed = speed;
    }

    /// Stands at this recorded time, and goes on from there at the next look.
    pub fn set(&mut self, ts: u64) {
        (self.at, self.looked) = (u128::from(ts) * 100, None);
    }

    /// The recorded time now.
    pub fn look(&mut self, now: Duration) -> u64 {
        let passed = now.saturating_sub(self.looked.unwrap_or(now)).min(LONGEST);
        self.looked = Some(now);
        self.at += self.speed.recorded(passed.as_nanos());
        u64::try_from(self.at / 100).unwrap_or(u64::MAX)
    }

    /// Does not run ahead of this recorded time by more than a second of playing: what cannot be played so fast is played
    /// later, and not all at once when it can be again.
    pub fn hold_back(&mut self, ts: u64) {
        let second = self.speed.recorded(Duration::from_secs(1).as_nanos());
        self.at = self.at.min(u128::from(ts) * 100 + second);
    }

    /// How long it takes until this recorded time.
    pub fn until(&self, ts: u64) -> Duration {
        let left = (u128::from(ts) * 100).saturating_sub(self.at);
        Duration::from_nanos(u64::try_from(self.speed.wall(left)).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn time_passes_at_its_speed_and_stands_still_while_nobody_looks() {
        let mut clock = Clock::new(Speed::default());
        clock.set(1_000);
        assert_eq!([clock.look(ms(5)), clock.look(ms(6))], [1_000, 1_001_000]);
        clock.set_speed("10".parse().expect("a speed"), ms(7));
        assert_eq!(clock.look(ms(8)), 12_001_000);
        assert_eq!(clock.until(22_001_000), ms(1));
        // Stopped for an hour.
        assert_eq!(clock.look(ms(3_600_008)), 12_001_000 + 20_000_000_000);
        clock.hold_back(1_000);
        assert_eq!(clock.look(ms(3_600_008)), 10_000_001_000);
        clock.set(7);
        assert_eq!(clock.look(ms(4_000_000)), 7);
    }
}
