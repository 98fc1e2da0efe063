//! Conditions that say that a moment is worth a file: `runq.p99>50ms`. Place in the flow: reads the numbers of one interval
//! between ticks; who asks decides what to do.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

use crate::numa::ratio;
use crate::snapshot::{Latency, RunQueue, Snapshot, ThreadStats};
use crate::text;
use crate::units::sum;

/// Page touches or hint faults in an interval, below which a share of them says nothing.
pub const LEAST: u64 = 100;

/// What a number is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// Nanoseconds.
    Time,
    /// From 0 to 1.
    Share,
    /// How many.
    Count,
}

/// What can be asked for.
struct Metric {
    name: &'static str,
    unit: Unit,
    about: &'static str,
    /// Of the numbers of an interval; `None` where there is none.
    of: fn(&Interval<'_>) -> Option<f64>,
}

/// An interval between two ticks.
#[derive(Clone, Copy, Debug)]
pub struct Interval<'a> {
    /// What happened in it.
    pub numbers: &'a Snapshot,
    /// Records that were lost in it.
    pub lost: u64,
}

fn latency(all: &RunQueue, of: fn(&RunQueue) -> &Latency, value: fn(&Latency) -> u64) -> Option<f64> {
    let latency = of(all);
    (latency.count > 0).then(|| value(latency) as f64)
}

macro_rules! latencies {
    ($($name:literal, $which:ident, $field:ident, $about:literal;)+) => {
        [$(Metric {
            name: $name,
            unit: Unit::Time,
            about: $about,
            of: |interval| latency(&interval.numbers.totals.runq, |all| &all.$which, |waits| waits.$field),
        }),+]
    };
}

const LATENCIES: [Metric; 7] = latencies! {
    "runq.p50", all, p50_ns, "run-queue latency of the waits that ended in the interval: the median";
    "runq.p90", all, p90_ns, "the 90th percentile";
    "runq.p99", all, p99_ns, "the 99th percentile";
    "runq.p999", all, p999_ns, "the 99.9th percentile";
    "runq.max", all, max_ns, "the longest";
    "wakeup.p99", wakeup, p99_ns, "the 99th percentile of waits after wakeups";
    "preempted.p99", preempted, p99_ns, "the 99th percentile of waits after preemption";
};

const OTHERS: [Metric; 7] = [
    Metric {
        name: "waiting_now",
        unit: Unit::Time,
        about: "the longest wait that goes on at the end of the interval",
        of: |interval| interval.numbers.totals.waiting_now_ns.map(|ns| ns as f64),
    },
    Metric {
        name: "throttled",
        unit: Unit::Time,
        about: "time a second that threads waited because of a CPU quota, summed over them",
        of: |interval| per_second(interval, interval.numbers.totals.throttled_wait_ns?),
    },
    Metric {
        name: "remote_share",
        unit: Unit::Share,
        about: "remote share of page touches, where there were at least 100",
        of: |interval| {
            let touches = interval.numbers.totals.touches?.total();
            share(touches.remote, sum([&touches.local, &touches.remote]))
        },
    },
    Metric {
        name: "hint_remote_share",
        unit: Unit::Share,
        about: "remote share of NUMA hint faults, where there were at least 100",
        of: |interval| {
            let hints = interval.numbers.totals.hint_faults?;
            share(hints.remote, sum([&hints.local, &hints.remote]))
        },
    },
    Metric {
        name: "migrations",
        unit: Unit::Count,
        about: "migrations a second",
        of: |interval| per_second(interval, migrations(&interval.numbers.totals)),
    },
    Metric {
        name: "cross_node",
        unit: Unit::Count,
        about: "migrations between nodes a second",
        of: |interval| per_second(interval, interval.numbers.totals.migrations.cross_node),
    },
    Metric {
        name: "lost",
        unit: Unit::Count,
        about: "records lost in the interval",
        of: |interval| Some(interval.lost as f64),
    },
];

fn metrics() -> impl Iterator<Item = &'static Metric> {
    LATENCIES.iter().chain(&OTHERS)
}

/// Name and meaning of all that can be asked for.
pub fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    metrics().map(|metric| (metric.name, metric.about))
}

fn migrations(stats: &ThreadStats) -> u64 {
    let moves = &stats.migrations;
    sum([&moves.smt, &moves.llc, &moves.node, &moves.cross_node])
}

fn per_second(interval: &Interval<'_>, count: u64) -> Option<f64> {
    ratio(count, interval.numbers.duration_ns).map(|per_ns| per_ns * 1e9)
}

fn share(part: u64, all: u64) -> Option<f64> {
    if all < LEAST { None } else { ratio(part, all) }
}

/// How a number is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Than {
    More,
    AtLeast,
    Less,
    AtMost,
}

impl Than {
    /// Longer ones first, since they begin with the others.
    const ALL: [(&'static str, Than); 4] =
        [(">=", Than::AtLeast), ("<=", Than::AtMost), (">", Than::More), ("<", Than::Less)];

    fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Than::More => value > limit,
            Than::AtLeast => value >= limit,
            Than::Less => value < limit,
            Than::AtMost => value <= limit,
        }
    }
}

/// A condition.
#[derive(Clone)]
pub struct Trigger {
    what: What,
    text: String,
}

#[derive(Clone)]
enum What {
    /// The run ends.
    End,
    Number {
        metric: &'static Metric,
        than: Than,
        limit: f64,
    },
}

impl fmt::Debug for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trigger({})", self.text)
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// No condition.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Bad {
    /// It is nothing of that form.
    #[error("a trigger is a number, >, >=, < or <=, and a value, such as runq.p99>50ms or remote_share>0.3; or end")]
    Form,
    /// There is no such number.
    #[error("there is no number {0}: there are {names}", names = names().map(|(name, _)| name).collect::<Vec<_>>().join(", "))]
    Name(String),
    /// It is no value of that kind.
    #[error("{name} is compared with {wanted}, not with {found}")]
    Value {
        /// Which number.
        name: &'static str,
        /// What would do.
        wanted: &'static str,
        /// What there is.
        found: String,
    },
}

impl FromStr for Trigger {
    type Err = Bad;

    fn from_str(text: &str) -> Result<Trigger, Bad> {
        let text = text.trim();
        if text == "end" {
            return Ok(Trigger { what: What::End, text: text.into() });
        }
        let at = text.find(['<', '>']).ok_or(Bad::Form)?;
        let (name, rest) = text.split_at(at);
        let name = name.trim();
        let (sign, than) = Than::ALL.into_iter().find(|(sign, _)| rest.starts_with(sign)).ok_or(Bad::Form)?;
        let value = rest[sign.len()..].trim();
        let metric = metrics().find(|metric| metric.name == name).ok_or_else(|| Bad::Name(text::display_str(name)))?;
        let limit = metric.unit.parse(value).ok_or_else(|| Bad::Value {
            name: metric.name,
            wanted: metric.unit.wanted(),
            found: text::display_str(value),
        })?;
        Ok(Trigger { what: What::Number { metric, than, limit }, text: format!("{name}{sign}{value}") })
    }
}

impl Unit {
    const fn wanted(self) -> &'static str {
        match self {
            Unit::Time => "a time, such as 50ms",
            Unit::Share => "a share, such as 0.3 or 30%",
            Unit::Count => "a number, such as 1000",
        }
    }

    fn parse(self, text: &str) -> Option<f64> {
        let number = |text: &str| text.trim().parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
        match self {
            Unit::Time => humantime::parse_duration(text).ok().map(|time: Duration| time.as_nanos() as f64),
            Unit::Share => match text.strip_suffix('%') {
                Some(percents) => number(percents).map(|percents| percents / 100.0),
                None => number(text),
            }
            .filter(|share| *share <= 1.0),
            Unit::Count => number(text),
        }
    }

    fn show(self, value: f64) -> String {
        match self {
            // Saturates.
            Unit::Time => text::duration(value as u64),
            Unit::Share => text::percent(value),
            Unit::Count => text::count(value.round() as u64),
        }
    }
}

impl Trigger {
    /// It waits for the end of the run.
    pub fn is_end(&self) -> bool {
        matches!(self.what, What::End)
    }

    /// What an interval says to it: a few words with the number, where it holds. A number that is not measured, or of which
    /// there is too little, never holds.
    pub fn fires(&self, interval: &Interval<'_>) -> Option<String> {
        let What::Number { metric, than, limit } = self.what else { return None };
        let value = (metric.of)(interval)?;
        than.holds(value, limit).then(|| format!("{} ({})", self.text, metric.unit.show(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Migrations, TouchCount, Touches};

    fn trigger(text: &str) -> Trigger {
        text.parse().unwrap_or_else(|bad| panic!("{text}: {bad}"))
    }

    fn fires(text: &str, numbers: &Snapshot, lost: u64) -> Option<String> {
        trigger(text).fires(&Interval { numbers, lost })
    }

    #[test]
    fn a_number_is_compared_with_its_limit() {
        let mut numbers = Snapshot { duration_ns: 2_000_000_000, ..Snapshot::nothing_yet("") };
        assert_eq!(fires("runq.p99>50ms", &numbers, 0), None, "there was no wait");
        numbers.totals.runq.all = Latency { count: 7, p99_ns: 60_000_000, ..Latency::default() };
        numbers.totals.migrations = Migrations { cross_node: 3_000, ..Migrations::default() };
        assert_eq!(fires("runq.p99 > 50ms", &numbers, 0).as_deref(), Some("runq.p99>50ms (60.0ms)"));
        assert_eq!(fires("runq.p99>60ms", &numbers, 0), None);
        assert_eq!(fires("runq.p99>=60ms", &numbers, 0).as_deref(), Some("runq.p99>=60ms (60.0ms)"));
        assert_eq!(fires("cross_node>1000", &numbers, 0).as_deref(), Some("cross_node>1000 (1,500)"));
        assert_eq!(fires("cross_node<1000", &numbers, 0), None);
        assert_eq!(fires("lost>0", &numbers, 5).as_deref(), Some("lost>0 (5)"));
    }

    #[test]
    fn a_share_of_little_says_nothing() {
        let mut numbers = Snapshot { duration_ns: 1_000_000_000, ..Snapshot::nothing_yet("") };
        assert_eq!(fires("remote_share>0.3", &numbers, 0), None, "it is not measured");
        let mut touch = |local, remote| {
            let first_touch = TouchCount { local, remote, unknown: 0 };
            numbers.totals.touches = Some(Touches { first_touch, ..Touches::default() });
            (fires("remote_share>0.3", &numbers, 0), fires("remote_share>30%", &numbers, 0).is_some())
        };
        assert_eq!(touch(49, 50), (None, false));
        assert_eq!(touch(50, 50), (Some("remote_share>0.3 (50.0%)".into()), true));
    }

    #[test]
    fn what_is_no_trigger_says_what_would_be_one() {
        let why = |text: &str| text.parse::<Trigger>().expect_err(text).to_string();
        assert!(why("").starts_with("a trigger is a number"));
        assert!(why("runq.p99").starts_with("a trigger is a number"));
        assert!(why("p98>1ms").starts_with("there is no number p98: there are runq.p50,"));
        assert_eq!(why("runq.p99>50"), "runq.p99 is compared with a time, such as 50ms, not with 50");
        assert_eq!(why("remote_share>40"), "remote_share is compared with a share, such as 0.3 or 30%, not with 40");
        assert_eq!(why("lost>-1"), "lost is compared with a number, such as 1000, not with -1");
        assert!(why("\u{1b}[2J>1").starts_with(r"there is no number \x1b[2J"));
        assert!(trigger("end").is_end());
    }
}
