//! What is said of two recordings beside their numbers: what each is, what makes them hard to compare, and which findings came
//! and went.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Recorded;
use crate::findings::{Settings, look_once};
use crate::snapshot::{Finding, Host, Loss, Snapshot, Source, SourceState};
use crate::text::{count, display_str, duration, share};

/// One of the two recordings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Side {
    /// Its file.
    pub file: String,
    /// What was traced, in words.
    pub target: String,
    /// When the stretch begins, RFC 3339.
    pub start: String,
    /// How long it is, ns.
    pub duration_ns: u64,
    /// Intervals that it was cut into.
    pub intervals: u64,
    /// The longest of them, ns.
    pub longest_interval_ns: f64,
    /// Intervals that are drawn together.
    pub block: u64,
    /// The kernel.
    pub kernel: String,
    /// Records that the probes wanted to write, and those of them that were lost.
    pub records_wanted: u64,
    /// Lost.
    pub records_lost: u64,
    /// What of it could not be read.
    pub incomplete: Option<String>,
}

impl Side {
    pub(super) fn of(recorded: &Recorded, block: usize) -> Side {
        let (intervals, whole) = (&recorded.intervals, &recorded.intervals.whole);
        Side {
            file: recorded.file.clone(),
            target: whole.target.label.clone(),
            start: whole.start.clone(),
            duration_ns: whole.duration_ns,
            intervals: intervals.lengths.len() as u64,
            longest_interval_ns: intervals.lengths.iter().copied().fold(0.0, f64::max),
            block: block as u64,
            kernel: whole.host.kernel.clone(),
            records_wanted: whole.loss.records_wanted,
            records_lost: whole.loss.records_lost,
            incomplete: whole.incomplete.clone(),
        }
    }
}

/// How bad a finding was, and what it said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Severe {
    /// As in a report.
    pub severity: String,
    /// As in a report.
    pub title: String,
}

/// Whether a finding is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Before, and not after.
    Gone,
    /// Before and after.
    StillThere,
    /// After, and not before.
    New,
}

/// A finding, before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FindingChange {
    /// Name of its rule.
    pub id: String,
    /// Whether it is there.
    pub status: Status,
    /// What it said before.
    pub before: Option<Severe>,
    /// What it says after.
    pub after: Option<Severe>,
}

/// What the numbers of each recording say is wrong: gone, still there, new.
pub(super) fn findings(before: &Snapshot, after: &Snapshot, settings: &Settings) -> Vec<FindingChange> {
    let [old, new] = [before, after].map(|snapshot| look_once(snapshot, settings));
    let severe = |finding: &Finding| Severe { severity: finding.severity.clone(), title: finding.title.clone() };
    let of = |all: &[Finding], id: &str| all.iter().find(|finding| finding.id == id).map(severe);
    let ids = old.iter().chain(new.iter().filter(|finding| old.iter().all(|old| old.id != finding.id)));
    let told = ids.map(|finding| {
        let (before, after) = (of(&old, &finding.id), of(&new, &finding.id));
        let status = match (&before, &after) {
            (Some(_), None) => Status::Gone,
            (Some(_), Some(_)) => Status::StillThere,
            (None, _) => Status::New,
        };
        FindingChange { id: finding.id.clone(), status, before, after }
    });
    told.collect()
}

/// What makes them hard to compare, each in a sentence.
pub(super) fn warnings(before: &Recorded, after: &Recorded) -> Vec<String> {
    let (old, new) = (&before.intervals.whole, &after.intervals.whole);
    let mut all = Vec::new();
    hosts(&old.host, &new.host, &mut all);
    if old.target.kind != new.target.kind {
        let shown = [&old.target.label, &new.target.label].map(|label| display_str(label));
        all.push(format!("The targets are of different kinds: {} before, {} after.", shown[0], shown[1]));
    }
    if before.anonymized || after.anonymized {
        all.push("A recording is anonymized: its words stand for names in the order in which they came, so groups of one name may be other threads.".into());
    }
    sources(&old.sources, &new.sources, &mut all);
    for (side, recorded) in [("before", before), ("after", after)] {
        let whole = &recorded.intervals.whole;
        lost(side, &whole.loss, &mut all);
        if let Some(sentence) = &whole.incomplete {
            all.push(format!("Of the recording {side} something is missing: {sentence}."));
        }
        if whole.refused_threads > 0 {
            all.push(format!(
                "{} threads could not be tracked {side}: their numbers are nowhere.",
                count(whole.refused_threads)
            ));
        }
        if !whole.gaps.is_empty() {
            all.push(format!("A source saw nothing of a CPU for some time {side}: page touches are too few."));
        }
        if recorded.intervals.more_groups {
            all.push(format!(
                "There were more groups of threads {side} than are kept: the rest is in the totals alone."
            ));
        }
    }
    let (short, long) = (old.duration_ns.min(new.duration_ns), old.duration_ns.max(new.duration_ns));
    if long > short.saturating_mul(2) {
        all.push(format!(
            "One recording is more than twice as long as the other ({} and {}): numbers are rates and shares, but what happens rarely is seen in the longer one alone.",
            duration(old.duration_ns),
            duration(new.duration_ns)
        ));
    }
    all
}

fn hosts(before: &Host, after: &Host, all: &mut Vec<String>) {
    let mut differ = |what: &str, old: String, new: String| {
        if old != new {
            all.push(format!(
                "The machines differ in their {what}: {} before, {} after.",
                display_str(&old),
                display_str(&new)
            ));
        }
    };
    differ("kernel", before.kernel.clone(), after.kernel.clone());
    differ("architecture", before.arch.clone(), after.arch.clone());
    differ("number of CPUs", before.cpus.to_string(), after.cpus.to_string());
    differ("number of nodes", before.nodes.len().to_string(), after.nodes.len().to_string());
    if before.nodes.len() == after.nodes.len() && before.distances != after.distances {
        all.push("The machines differ in the distances between their nodes.".into());
    }
}

/// Sources that do not work alike.
fn sources(before: &[Source], after: &[Source], all: &mut Vec<String>) {
    let states = |sources: &[Source]| -> BTreeMap<String, SourceState> {
        sources.iter().map(|source| (source.name.clone(), source.state)).collect()
    };
    let words = |state: Option<&SourceState>| match state {
        None | Some(SourceState::Off) => "off",
        Some(SourceState::On) => "on",
        Some(SourceState::BestEffort) => "best effort",
        Some(SourceState::Sampled) => "sampled",
    };
    let (old, new) = (states(before), states(after));
    let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        let (old, new) = (words(old.get(name)), words(new.get(name)));
        if old != new {
            all.push(format!("The source {} was {old} before and {new} after.", display_str(name)));
        }
    }
}

fn lost(side: &str, loss: &Loss, all: &mut Vec<String>) {
    if loss.records_lost > 0 {
        all.push(format!(
            "{} of {} records were lost {side} ({}): percentiles, migrations and node moves miss them.",
            count(loss.records_lost),
            count(loss.records_wanted),
            share(loss.records_lost, loss.records_wanted)
        ));
    }
}
