//! One number before and after, and which of many such changes are more than noise.

use serde::Serialize;

use super::Options;
use super::bootstrap::{Estimate, scaled};
use super::metric::{METRICS, Metric, Unit};
use super::student;
use crate::snapshot::Snapshot;
use crate::words;

/// Times change by more than this, ns, or not at all: a bucket of short waits is 512 ns wide.
const LEAST_NS: f64 = 1_000.0;
/// Shares by a point.
const LEAST_SHARE: f64 = 0.01;
/// CPUs by a hundredth of one.
const LEAST_CPUS: f64 = 0.01;

/// What can be said of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is lower, by more than noise.
    Lower,
    /// It is higher, by more than noise.
    Higher,
    /// There is no change beyond noise.
    NoChange,
    /// There is one beyond noise, which is smaller than what was asked for.
    Small,
    /// A recording has too few intervals to tell.
    TooShort,
    /// There were too few events to tell.
    TooFew,
    /// There were no events in either recording.
    Nothing,
    /// A source was off.
    Absent,
}

impl Verdict {
    /// Something changed.
    pub fn is_change(self) -> bool {
        matches!(self, Verdict::Lower | Verdict::Higher)
    }

    /// In words, few enough for a table.
    pub fn words(self) -> &'static str {
        match self {
            Verdict::Lower => "lower",
            Verdict::Higher => "higher",
            Verdict::NoChange => "within noise",
            Verdict::Small => "small",
            Verdict::TooShort => "too short",
            Verdict::TooFew => "too few",
            Verdict::Nothing => "no events",
            Verdict::Absent => "not measured",
        }
    }
}

/// A number before and after.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Its name.
    pub metric: &'static str,
    /// `ns`, `per_second`, `share` or `cpus`.
    pub unit: &'static str,
    /// In the first recording; `None` where it is not known.
    pub before: Option<f64>,
    /// In the second.
    pub after: Option<f64>,
    /// Of times a part of what was before, of all others the difference.
    pub change: Option<f64>,
    /// Where the change lies, with the confidence that was asked for.
    pub interval: Option<[f64; 2]>,
    /// How likely a change at least as large is where there is none.
    pub p: Option<f64>,
    /// What can be said of it.
    pub verdict: Verdict,
    /// Why it is not known.
    pub reason: Option<String>,
    /// Large enough to be told, and there from beginning to end.
    #[serde(skip)]
    large: bool,
    /// It is smaller than what was asked for, from beginning to end.
    #[serde(skip)]
    is_small: bool,
    /// Which number it is.
    #[serde(skip)]
    pub about: &'static Metric,
}

impl Change {
    pub(super) fn of(
        metric: &'static Metric,
        before: &Estimate,
        after: &Estimate,
        missing: Option<&str>,
        options: &Options,
    ) -> Change {
        let (old, new) = (value(before), value(after));
        let mut made = Change {
            metric: metric.name,
            unit: match metric.unit {
                Unit::Time => "ns",
                Unit::Rate => "per_second",
                Unit::Share => "share",
                Unit::Cpus => "cpus",
            },
            before: old,
            after: new,
            change: None,
            interval: None,
            p: None,
            verdict: verdict(before, after),
            reason: None,
            large: false,
            is_small: false,
            about: metric,
        };
        if let Some(reason) = missing {
            made.verdict = Verdict::Absent;
            made.reason = Some(reason.to_owned());
            return made;
        }
        if old == Some(0.0) && new == Some(0.0) {
            made.verdict = Verdict::Nothing;
        }
        if let Some((old, new)) = old.zip(new) {
            made.change = Some(told(metric, scaled(metric, new) - scaled(metric, old)));
            made.large = is_large(metric, old, new, options.min_change);
            made.is_small = !made.large;
        }
        if let (
            Estimate::Value { value: old, error: e, df: d, halves: olds },
            Estimate::Value { value: new, error: f, df: g, halves: news },
        ) = (before, after)
        {
            made.large &= is_in_all_halves(old, new, olds, news);
            let (away, error) = (scaled(metric, *new) - scaled(metric, *old), (e * e + f * f).sqrt());
            let df = freedom(*e, *d, *f, *g);
            let reach = student::quantile(options.confidence, df) * error;
            made.interval = Some([told(metric, away - reach), told(metric, away + reach)]);
            // A change without any spread is certain, none is none.
            made.p = Some(if away == 0.0 { 1.0 } else { student::p_value(away / error, df) });
        }
        made
    }
}

fn value(estimate: &Estimate) -> Option<f64> {
    match estimate {
        Estimate::Value { value, .. } | Estimate::TooShort(value) => Some(*value),
        Estimate::TooFew | Estimate::Nothing => None,
    }
}

fn verdict(before: &Estimate, after: &Estimate) -> Verdict {
    use Estimate::{Nothing, TooFew, TooShort};
    match (before, after) {
        (Nothing, Nothing) => Verdict::Nothing,
        (TooFew | Nothing, _) | (_, TooFew | Nothing) => Verdict::TooFew,
        (TooShort(_), _) | (_, TooShort(_)) => Verdict::TooShort,
        _ => Verdict::NoChange,
    }
}

/// From the scale on which changes are looked at to what is told.
fn told(metric: &Metric, away: f64) -> f64 {
    if metric.is_relative() { away.exp_m1() } else { away }
}

/// Degrees of freedom of a difference (Welch 1947).
fn freedom(e: f64, d: f64, f: f64, g: f64) -> f64 {
    let (e, f) = (e * e, f * f);
    let df = (e + f) * (e + f) / (e * e / d + f * f / g);
    if df.is_finite() { df } else { d.min(g) }
}

/// Whether anybody would call it a change, noise or not: the same for a change and for its opposite.
fn is_large(metric: &Metric, before: f64, after: f64, min_change: f64) -> bool {
    let least = match metric.unit {
        Unit::Time => LEAST_NS,
        Unit::Share => LEAST_SHARE,
        Unit::Cpus => LEAST_CPUS,
        Unit::Rate => 0.0,
    };
    let (low, high) = (before.min(after), before.max(after));
    // From 90% to 99% is no small step: shares are looked at from both sides, as odds.
    let size =
        |value: f64| if metric.unit == Unit::Share { value / (1.0 - value).max(f64::MIN_POSITIVE) } else { value };
    high - low >= least && high > low && size(high) >= size(low) * (1.0 + min_change)
}

/// Whether each half of the one is higher than each half of the other: a change that is not there from beginning to end came and
/// went by itself, for all that is known.
fn is_in_all_halves(before: &f64, after: &f64, olds: &[Option<f64>; 2], news: &[Option<f64>; 2]) -> bool {
    let sign = after.total_cmp(before);
    olds.iter().flatten().all(|old| news.iter().flatten().all(|new| new.total_cmp(old) == sign))
}

/// Decides which changes are more than noise: Benjamini and Hochberg (1995), over all numbers for which it can be told, so that
/// of all claimed changes at most a share of 1 - confidence is false, on average. Returns how many there were, and how many of
/// them changed.
pub(super) fn decide(mut all: Vec<&mut Change>, options: &Options) -> (u64, u64) {
    all.retain(|change| change.verdict == Verdict::NoChange && change.p.is_some());
    let chance = |change: &Change| change.p.unwrap_or(1.0);
    all.sort_by(|a, b| chance(a).total_cmp(&chance(b)));
    let step = (1.0 - options.confidence) / all.len().max(1) as f64;
    let within = |(nth, change): &(usize, &&mut Change)| chance(change) <= step * (nth + 1) as f64;
    let sure = all.iter().enumerate().rfind(within).map_or(0, |(last, _)| last + 1);
    let mut claimed = 0;
    for change in all.iter_mut().take(sure) {
        if change.is_small {
            change.verdict = Verdict::Small;
        }
        if !change.large {
            continue;
        }
        change.verdict = if change.after < change.before { Verdict::Lower } else { Verdict::Higher };
        claimed += 1;
    }
    (all.len() as u64, claimed)
}

/// Why each number is not known in one of two recordings; `None` where it is in both.
pub(super) fn missing(before: &Snapshot, after: &Snapshot) -> Vec<Option<String>> {
    let why = |snapshot: &Snapshot, metric: &Metric| {
        metric.missing(snapshot).map(|sources| words::not_measured(snapshot, sources))
    };
    let both = METRICS.iter().map(|metric| match (why(before, metric), why(after, metric)) {
        (Some(old), Some(new)) if old == new => Some(old),
        (Some(old), Some(new)) => Some(format!("before {old}; after {new}")),
        (Some(old), None) => Some(format!("before {old}")),
        (None, Some(new)) => Some(format!("after {new}")),
        (None, None) => None,
    });
    both.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff::intervals::Grouping;
    use crate::snapshot::GroupBy;

    fn options() -> Options {
        let grouping = Grouping { by: GroupBy::Comm, exact: false };
        Options { grouping, top: 0, confidence: 0.95, min_change: 0.1, seed: 1, resamples: 200 }
    }

    fn metric(name: &str) -> &'static Metric {
        METRICS.iter().find(|metric| metric.name == name).expect("a metric")
    }

    fn value(value: f64, error: f64) -> Estimate {
        Estimate::Value { value, error, df: 20.0, halves: [Some(value); 2] }
    }

    fn one(name: &str, before: Estimate, after: Estimate) -> Change {
        let mut change = Change::of(metric(name), &before, &after, None, &options());
        decide(vec![&mut change], &options());
        change
    }

    #[test]
    fn a_change_is_one_where_it_is_sure_and_large() {
        let told = |change: &Change| change.verdict;
        let (ms, sure) = (1e6, 0.01);
        assert_eq!(told(&one("runq.p99", value(ms, sure), value(0.5 * ms, sure))), Verdict::Lower);
        assert_eq!(told(&one("runq.p99", value(ms, sure), value(2.0 * ms, sure))), Verdict::Higher);
        assert_eq!(told(&one("runq.p99", value(ms, 0.5), value(2.0 * ms, 0.5))), Verdict::NoChange, "not sure");
        assert_eq!(told(&one("runq.p99", value(ms, sure), value(1.08 * ms, sure))), Verdict::Small, "not large");
        assert_eq!(
            told(&one("runq.p50", value(2_000.0, sure), value(2_900.0, sure))),
            Verdict::Small,
            "less than a microsecond"
        );
        assert_eq!(told(&one("migrations.cross_node", value(90.0, 3.0), value(0.0, 0.1))), Verdict::Lower);
        assert_eq!(told(&one("remote_share", value(0.501, 1e-4), value(0.509, 1e-4))), Verdict::Small);
        assert_eq!(told(&one("wait_share", value(0.85, 1e-3), value(0.93, 1e-3))), Verdict::Higher);
        assert_eq!(told(&one("wait_share", value(1.0, 1e-3), value(0.93, 1e-3))), Verdict::Lower);
        assert_eq!(told(&one("remote_share", value(0.5, 1e-3), value(0.9, 1e-3))), Verdict::Higher);
        assert_eq!(told(&one("runq.p99", Estimate::TooShort(ms), value(2.0 * ms, sure))), Verdict::TooShort);
        assert_eq!(told(&one("runq.p99", Estimate::TooFew, value(2.0 * ms, sure))), Verdict::TooFew);
        assert_eq!(told(&one("runq.p99", Estimate::Nothing, Estimate::Nothing)), Verdict::Nothing);
        assert_eq!(told(&one("node_moves", value(0.0, 0.0), value(0.0, 0.0))), Verdict::Nothing);
    }

    #[test]
    fn a_change_that_came_in_the_middle_is_none() {
        let late = Estimate::Value { value: 40.0, error: 0.1, df: 20.0, halves: [Some(9.0), Some(71.0)] };
        assert_eq!(one("node_moves", value(10.0, 0.1), late).verdict, Verdict::NoChange);
        let few = Estimate::Value { value: 40.0, error: 0.1, df: 20.0, halves: [None, Some(71.0)] };
        assert_eq!(one("node_moves", value(10.0, 0.1), few).verdict, Verdict::Higher);
    }

    #[test]
    fn times_change_by_a_part_and_all_others_by_a_difference() {
        let change = one("runq.p99", value(1e6, 0.05), value(2e6, 0.05));
        let [low, high] = change.interval.expect("an interval");
        assert!((change.change.expect("a change") - 1.0).abs() < 1e-9 && low > 0.5 && low < 1.0 && high > 1.0);
        let change = one("node_moves", value(10.0, 1.0), value(4.0, 1.0));
        let [low, high] = change.interval.expect("an interval");
        assert!((change.change.expect("a change") + 6.0).abs() < 1e-9 && low < -6.0 && high < 0.0);
    }

    #[test]
    fn the_opposite_change_is_the_opposite_verdict() {
        for name in ["runq.p99", "node_moves", "wait_share", "cpus"] {
            for (a, b) in [(0.2, 0.5), (3e6, 4e6), (0.0, 9.0), (1e5, 1.1e5)] {
                for error in [0.0, 1e-3, 0.2, 1e5] {
                    let (there, back) =
                        (one(name, value(a, error), value(b, error)), one(name, value(b, error), value(a, error)));
                    let flipped = match there.verdict {
                        Verdict::Lower => Verdict::Higher,
                        Verdict::Higher => Verdict::Lower,
                        same => same,
                    };
                    assert_eq!((back.verdict, back.p), (flipped, there.p), "{name} {a} {b} {error}");
                }
            }
        }
    }

    #[test]
    fn of_many_chances_some_are_small() {
        // Twenty changes of nothing, one with p = 0.04: alone it would be one.
        let error = 1.0;
        let mut all: Vec<Change> = (0..20)
            .map(|nth| {
                let after = value(if nth == 0 { 103.5 } else { 101.0 }, error);
                let mut change = Change::of(metric("node_moves"), &value(100.0, error), &after, None, &options());
                change.large = true;
                change
            })
            .collect();
        assert!(all[0].p.is_some_and(|p| p < 0.05), "{:?}", all[0].p);
        assert_eq!(decide(all.iter_mut().collect(), &options()), (20, 0));
        assert_eq!(decide(vec![&mut all[0]], &options()), (1, 1));
    }
}
