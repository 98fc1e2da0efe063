//! What of memory on the wrong node is known, and how well.

use super::super::nodes::{self, Process};
use crate::findings::Case;
use crate::mempolicy::{self, Kind};
use crate::numa;
use crate::snapshot::{Location, Snapshot, TouchCount};
use crate::units::sum;

/// A process that runs that much of its time on one node is at home there.
pub(super) const AT_HOME: f64 = 0.8;

/// What the finding stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum On {
    /// Samples of who uses which page, all the time.
    HintFaults,
    /// Where pages lie and where threads run; how often each page is used is not known.
    Placement,
    /// Where pages were placed when they were used first.
    Touches,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Stands {
    pub(super) on: On,
    /// Remote share of it.
    pub(super) share: f64,
    /// Part that is certainly remote, where that is less.
    pub(super) certain: f64,
}

impl Stands {
    /// Time of an access against a local one.
    pub(super) fn cost(&self, numbers: &Snapshot) -> Option<f64> {
        if self.on == On::Touches {
            return numbers.totals.cost_factor;
        }
        Some(1.0 + self.certain * (remote_distance(numbers)? - 1.0))
    }
}

/// Mean distance/10 of remote memory: of where it lies, else of all other nodes alike.
fn remote_distance(numbers: &Snapshot) -> Option<f64> {
    let (residency, distances) = (&numbers.totals.residency_ns, &numbers.host.distances);
    let pages = numbers.placement_pages.as_deref().unwrap_or_default();
    let alike = vec![1; numbers.host.nodes.len()];
    numa::remote_distance(residency, pages, distances).or_else(|| numa::remote_distance(residency, &alike, distances))
}

/// The first of these that is known well enough decides, one way or the other; page touches say nothing of memory that is
/// interleaved on purpose.
pub(super) fn stands(case: &Case<'_>) -> Option<Stands> {
    let totals = &case.numbers.totals;
    let share = case.limit("share");
    let hints = totals.hint_faults.unwrap_or_default();
    let hinted = sum([&hints.local, &hints.remote]);
    if hinted as f64 >= case.limit("hint-faults") {
        let remote = numa::ratio(hints.remote, hinted)?;
        return (remote >= share).then_some(Stands { on: On::HintFaults, share: remote, certain: remote });
    }
    let pages = case.numbers.placement_pages.as_deref().unwrap_or_default();
    if let (Some(expected), Some(certain)) = (totals.expected_remote_share, misplaced(case.numbers))
        && sum(pages) as f64 >= case.limit("pages")
    {
        let much = expected >= share && certain >= case.limit("misplaced-share");
        return much.then_some(Stands { on: On::Placement, share: expected, certain: certain.min(expected) });
    }
    let own = own_touches(case.numbers)?;
    let remote = own.remote_share()?;
    let enough = sum([&own.local, &own.remote]) as f64 >= case.limit("touches") && remote >= share;
    enough.then_some(Stands { on: On::Touches, share: remote, certain: remote })
}

/// Part of accesses that is remote even if each thread uses memory of its own node as far as there is any. Of a process
/// whose pages are not known apart it is known where it runs on one node: all that lies elsewhere. Others count as if nothing
/// were misplaced.
pub(super) fn misplaced(numbers: &Snapshot) -> Option<f64> {
    let (mut away, mut time) = (0.0, 0.0);
    for process in nodes::processes(numbers, |_| 0) {
        let ran = sum(&process.residency_ns) as f64;
        let share = match process.pages {
            Some(pages) => numa::misplaced(&process.residency_ns, pages).unwrap_or(0.0),
            None => elsewhere(&process),
        };
        (away, time) = (away + ran * share, time + ran);
    }
    (time > 0.0).then(|| away / time)
}

/// Expected remote share of a process that runs on one node, else 0.
fn elsewhere(process: &Process<'_>) -> f64 {
    let ran = sum(&process.residency_ns) as f64;
    if ran <= 0.0 || process.main_node().is_none_or(|(_, share)| share < AT_HOME) {
        return 0.0;
    }
    let remote = process.threads.iter().map(|thread| &thread.stats);
    let remote = remote.map(|stats| sum(&stats.residency_ns) as f64 * stats.expected_remote_share.unwrap_or(0.0));
    remote.sum::<f64>() / ran
}

/// Page touches without those of files and shared memory, which others have placed, and without what samples say is
/// interleaved.
fn own_touches(numbers: &Snapshot) -> Option<TouchCount> {
    let touches = numbers.totals.touches?;
    let (all, file) = (touches.total(), touches.file);
    let places = numbers.totals.locations.as_deref().unwrap_or_default();
    let interleaved = |place: &&Location| {
        mempolicy::of_mapping(&place.mapping).is_some_and(|policy| policy.kind == Kind::Interleaved)
    };
    let share_of = |of: fn(&Location) -> &u64| {
        let on_purpose = sum(places.iter().filter(interleaved).map(of));
        1.0 - numa::ratio(on_purpose, sum(places.iter().map(of))).unwrap_or(0.0)
    };
    let rest = |all: u64, file: u64, share: f64| (all.saturating_sub(file) as f64 * share) as u64;
    Some(TouchCount {
        local: rest(all.local, file.local, share_of(|place| &place.local)),
        remote: rest(all.remote, file.remote, share_of(|place| &place.remote)),
        unknown: 0,
    })
}
