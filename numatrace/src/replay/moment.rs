//! A time that somebody types: since the start of a recording, or of a clock on a wall.

use std::str::FromStr;
use std::time::Duration;

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};

use crate::text;

const SECOND_NS: u64 = 1_000_000_000;
const FORMS: &str = "a time is 12s, 1m 30s, plain seconds, 10:21:46 or 2026-11-21T10:21:46Z";

/// When and for how long was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// When the recording began, ns since the epoch.
    pub start_wall_ns: u64,
    /// From there to its last record, ns.
    pub length_ns: u64,
    /// What times of day are meant in.
    pub zone: TimeZone,
}

/// What was typed.
#[derive(Clone, Debug, PartialEq)]
pub enum Moment {
    /// Since the start.
    Since(Duration),
    /// Of any day, the first time that it comes.
    TimeOfDay(Time),
    /// Date and time.
    At(Timestamp),
}

impl FromStr for Moment {
    type Err = String;

    /// `12s`, `1m 30s`, `90`, `10:21:46`, or RFC 3339.
    fn from_str(text: &str) -> Result<Moment, String> {
        let text = text.trim();
        let moment = if text.is_empty() {
            None
        } else if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).map(Moment::Since)
        } else if text.contains('-') {
            text.parse().ok().map(Moment::At)
        } else if text.contains(':') {
            text.parse().ok().filter(|_| text.matches(':').count() == 2).map(Moment::TimeOfDay)
        } else {
            humantime::parse_duration(text).ok().map(Moment::Since)
        };
        moment.ok_or_else(|| FORMS.into())
    }
}

impl Moment {
    /// The same as ns since the start of the recording.
    ///
    /// # Errors
    /// When it is outside of the recording, in a sentence without its point. As far as times that are shown are rounded
    /// it is still inside.
    pub fn in_recording(&self, span: &Span) -> Result<u64, String> {
        let latest = span.length_ns.saturating_add(SECOND_NS).saturating_add(span.length_ns / 100);
        match self {
            Moment::Since(time) => u64::try_from(time.as_nanos())
                .ok()
                .filter(|ns| *ns <= latest)
                .ok_or_else(|| format!("the recording is {} long", text::duration(span.length_ns))),
            Moment::TimeOfDay(time) => {
                span.first(*time).filter(|ns| *ns <= latest).ok_or_else(|| span.times("%H:%M:%S"))
            }
            Moment::At(at) => {
                span.since_start(*at).filter(|ns| *ns <= latest).ok_or_else(|| span.times("%Y-%m-%dT%H:%M:%S%:z"))
            }
        }
    }
}

impl Span {
    fn start(&self) -> Zoned {
        Timestamp::from_nanosecond(self.start_wall_ns.into()).unwrap_or_default().to_zoned(self.zone.clone())
    }

    /// `None` where it is before the start. Whole seconds are typed, and the recording begins within one.
    fn since_start(&self, at: Timestamp) -> Option<u64> {
        let ns = at.as_nanosecond() - i128::from(self.start_wall_ns);
        if ns > -i128::from(SECOND_NS) { u64::try_from(ns.max(0)).ok() } else { None }
    }

    /// The first time in the recording, or after it, that clocks show this time of day.
    fn first(&self, time: Time) -> Option<u64> {
        let mut day = self.start().date();
        // Tomorrow at the latest, and one more for clocks that are put forward over it.
        (0..3).find_map(|_| {
            let at = day.to_datetime(time).to_zoned(self.zone.clone()).ok()?;
            day = day.tomorrow().ok()?;
            self.since_start(at.timestamp())
        })
    }

    fn times(&self, format: &str) -> String {
        let start = self.start();
        let length = SignedDuration::from_nanos(i64::try_from(self.length_ns).unwrap_or(i64::MAX));
        let end = start.checked_add(length).unwrap_or_else(|_| start.clone());
        format!("the recording is from {} to {}", start.strftime(format), end.strftime(format))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: &str, length_s: u64) -> Span {
        let start: Timestamp = start.parse().expect("a timestamp");
        let start_wall_ns = u64::try_from(start.as_nanosecond()).expect("after 1970");
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        Span { start_wall_ns, length_ns: length_s * SECOND_NS, zone }
    }

    fn found(text: &str, span: &Span) -> Result<f64, String> {
        let ns = text.parse::<Moment>()?.in_recording(span)?;
        Ok(ns as f64 / SECOND_NS as f64)
    }

    #[test]
    fn every_form_is_understood() {
        let span = span("2026-11-21T21:59:30.5Z", 120);
        let seconds = |text| found(text, &span).unwrap_or_else(|why| panic!("{text}: {why}"));
        assert_eq!(["12s", "1m 30s", "90", "0.25", " 0 ", "121"].map(seconds), [12.0, 90.0, 90.0, 0.25, 0.0, 121.0]);
        // In the zone it is 23:59:30 and a half, and midnight comes.
        assert_eq!(["23:59:31", "23:59:30", "00:00:00", "00:01:30.5"].map(seconds), [0.5, 0.0, 29.5, 120.0]);
        assert_eq!(["2026-11-21T21:59:40Z", "2026-11-22T00:00:10.5+02:00"].map(seconds), [9.5, 40.0]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let span = span("2026-11-21T08:21:46Z", 60);
        let why = |text| found(text, &span).expect_err("a wrong time");
        for text in
            ["", "x", "12:30", "1:2:3:4", "25:00:00", "2026-11-21", "2026-11-21T10:00:00", "-5", "5 parsecs", "."]
        {
            assert_eq!(why(text), FORMS, "{text}");
        }
        assert_eq!(why("2m"), "the recording is 60.0s long");
        assert_eq!(why("999999999999999999"), "the recording is 60.0s long");
        assert_eq!(why("10:21:40"), "the recording is from 10:21:46 to 10:22:46");
        let dated = "the recording is from 2026-11-21T10:21:46+02:00 to 2026-11-21T10:22:46+02:00";
        assert_eq!(why("2026-11-20T10:21:40Z"), dated);
    }
}
