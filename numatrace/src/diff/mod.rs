//! Two recordings side by side: what changed, by how much, and whether that is more than the noise. Place in the flow: from two
//! [`Timeline`](crate::recording::Timeline)s through the model to a [`Diff`], which reports show. docs/diff.md says how it is
//! reckoned, and why.
//!
//! [`intervals`] reads a recording as a series of intervals, of all threads and of each group of them. [`bootstrap`] estimates
//! how far each [`metric`] of such a series may be off. [`compare`] holds two of them against each other and decides, over all
//! numbers together, which changes are more than noise.

mod bootstrap;
mod buckets;
mod compare;
mod expected;
pub mod intervals;
pub mod metric;
mod names;
mod part;
mod sides;
mod student;

use std::collections::BTreeSet;

use serde::Serialize;

pub use self::bootstrap::MOST_RESAMPLES;
use self::bootstrap::{Estimate, Resamples, affordable, block_length, estimates};
pub use self::compare::{Change, Verdict};
pub use self::expected::{Expected, Measured};
use self::intervals::{Grouping, Intervals, Series};
use self::metric::METRICS;
pub use self::names::alike;
use self::part::Tally;
pub use self::sides::{FindingChange, Severe, Side, Status};
use crate::findings::Settings;
use crate::snapshot::Tool;

/// Version of the JSON.
pub const SCHEMA: u32 = 1;

/// How two recordings are compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// What groups of threads are.
    pub grouping: Grouping,
    /// How many groups are compared: those that ran and waited most. 0 is all that are kept.
    pub top: usize,
    /// Of intervals, and one less the share of claimed changes that may be false.
    pub confidence: f64,
    /// A change that is smaller than this part of what was before is none.
    pub min_change: f64,
    /// Of the draws.
    pub seed: u64,
    /// How many there are at most.
    pub resamples: usize,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Diff {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Who made this.
    pub tool: Tool,
    /// How it was reckoned.
    pub method: Method,
    /// The first recording.
    pub before: Side,
    /// The second.
    pub after: Side,
    /// What makes them hard to compare, each in a sentence.
    pub warnings: Vec<String>,
    /// All threads.
    pub totals: Vec<Change>,
    /// Groups of threads: those first that changed, then those that ran and waited most.
    pub groups: Vec<Group>,
    /// Groups that are in the totals alone.
    pub groups_left_out: u64,
    /// What the numbers said was wrong, before and after.
    pub findings: Vec<FindingChange>,
    /// What binding the target was to do, beside what came; none where nobody asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub what_if: Vec<Expected>,
}

/// How it was reckoned.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Method {
    /// Its name.
    pub name: &'static str,
    /// Draws.
    pub resamples: u64,
    /// Their seed.
    pub seed: u64,
    /// As in [`Options`].
    pub confidence: f64,
    /// As in [`Options`].
    pub min_change: f64,
    /// Numbers that were held against each other.
    pub comparisons: u64,
    /// How many of them changed beyond noise.
    pub changes: u64,
}

/// A group of threads.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// What its threads have in common.
    pub name: String,
    /// In the first recording; `None` where it is not there.
    pub before: Option<Size>,
    /// In the second.
    pub after: Option<Size>,
    /// Its numbers; none where it is in one recording alone.
    pub metrics: Vec<Change>,
    /// Share of the time that all threads ran and waited, where it had more of it.
    #[serde(skip)]
    pub weight: f64,
}

/// How much a group is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Size {
    /// Its threads at most at one time.
    pub threads: u64,
    /// Time on CPU, ns.
    pub cpu_ns: f64,
    /// Time waiting, ns.
    pub wait_ns: f64,
}

/// A recording that was read, and what is said of it beside its numbers.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// How its file is shown.
    pub file: String,
    /// Names were replaced by words.
    pub anonymized: bool,
    /// Its numbers.
    pub intervals: Intervals,
}

/// Holds two recordings against each other.
pub fn diff(before: &Recorded, after: &Recorded, options: &Options, settings: &Settings) -> Diff {
    let (names, left_out) = chosen(&before.intervals, &after.intervals, options.top);
    let times = [before, after].map(|side| affordable(side.intervals.lengths.len(), names.len(), options.resamples));
    let times = times[0].min(times[1]);
    let drawn = [before, after].map(|side| {
        let n = side.intervals.lengths.len();
        Resamples::draw(n, block_length(&side.intervals.totals), times, options.seed)
    });
    let missing = compare::missing(&before.intervals.whole, &after.intervals.whole);
    let pair = |old: &Series, new: &Series| {
        let old = estimates(&before.intervals.lengths, old, &drawn[0]);
        let new = estimates(&after.intervals.lengths, new, &drawn[1]);
        changes(&old, &new, &missing, options)
    };
    let mut totals = pair(&before.intervals.totals, &after.intervals.totals);
    let mut groups: Vec<Group> = names
        .into_iter()
        .map(|(name, weight)| {
            let [old, new] = [before, after].map(|side| side.intervals.groups.get(&name));
            let metrics = old.zip(new).map(|(old, new)| pair(old, new)).unwrap_or_default();
            Group { before: old.map(size), after: new.map(size), metrics, weight, name }
        })
        .collect();
    let all = totals.iter_mut().chain(groups.iter_mut().flat_map(|group| &mut group.metrics));
    let (comparisons, claimed) = compare::decide(all.collect(), options);
    groups.sort_by(|a, b| (b.changed() > 0).cmp(&(a.changed() > 0)).then(b.weight.total_cmp(&a.weight)));
    Diff {
        schema: SCHEMA,
        tool: before.intervals.whole.tool.clone(),
        method: Method {
            name: "circular block bootstrap of intervals, t interval, Benjamini-Hochberg",
            resamples: times as u64,
            seed: options.seed,
            confidence: options.confidence,
            min_change: options.min_change,
            comparisons,
            changes: claimed,
        },
        before: Side::of(before, drawn[0].block),
        after: Side::of(after, drawn[1].block),
        warnings: sides::warnings(before, after),
        totals,
        groups,
        groups_left_out: left_out,
        findings: sides::findings(&before.intervals.whole, &after.intervals.whole, settings),
        what_if: Vec::new(),
    }
}

fn changes(before: &[Estimate], after: &[Estimate], missing: &[Option<String>], options: &Options) -> Vec<Change> {
    let pairs = METRICS.iter().zip(before.iter().zip(after)).zip(missing);
    pairs.map(|((metric, (old, new)), missing)| Change::of(metric, old, new, missing.as_deref(), options)).collect()
}

/// Groups that are compared, with their weight: those with most; and how many are not.
fn chosen(before: &Intervals, after: &Intervals, top: usize) -> (Vec<(String, f64)>, u64) {
    let weight = |side: &Intervals, name: &str| {
        let all = active(&side.totals);
        side.groups.get(name).map_or(0.0, |series| if all > 0.0 { active(series) / all } else { 0.0 })
    };
    let names: BTreeSet<&String> = before.groups.keys().chain(after.groups.keys()).collect();
    let heavier = |name: &&String| weight(before, name).max(weight(after, name));
    let mut all: Vec<(String, f64)> = names.iter().map(|name| ((*name).clone(), heavier(name))).collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    // Of one that a recording had no place for it is not known whether it was there.
    let known = |name: &String| [before, after].iter().all(|side| !side.more_groups || side.groups.contains_key(name));
    let found = all.len();
    all.retain(|(name, _)| known(name));
    let kept = if top == 0 { all.len() } else { top.min(all.len()) };
    let left_out = found - kept;
    all.truncate(kept);
    (all, left_out as u64)
}

/// Time on CPU and waiting, ns.
fn active(series: &Series) -> f64 {
    total(series, Tally::Cpu) + total(series, Tally::Wait)
}

fn total(series: &Series, of: Tally) -> f64 {
    series.parts.iter().flatten().map(|part| part.tally(of)).sum()
}

fn size(series: &Series) -> Size {
    Size { threads: series.threads, cpu_ns: total(series, Tally::Cpu), wait_ns: total(series, Tally::Wait) }
}

impl Group {
    /// Numbers that changed beyond noise.
    pub fn changed(&self) -> usize {
        changed(&self.metrics)
    }
}

/// How many of them changed beyond noise.
pub fn changed(metrics: &[Change]) -> usize {
    metrics.iter().filter(|change| change.verdict.is_change()).count()
}
