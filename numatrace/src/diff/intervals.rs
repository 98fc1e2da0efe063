//! A recording, or a stretch of it, as a series of intervals. Place in the flow: from a [`Timeline`] through the model to
//! [`Part`]s.
//!
//! Numbers are known at ticks, so an interval lies between two of them; where ticks are closer than the length of the stretch by
//! [`MOST`], several are one. Where there are still more intervals, or so many threads that reading each interval takes long,
//! neighbours are merged, two and two. What comes behind the last tick is left out.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::names::alike;
use super::part::Part;
use crate::model::Active;
use crate::recording::Timeline;
use crate::replay::tape::Tape;
use crate::replay::up_to;
use crate::report::offline::Stretch;
use crate::snapshot::{GroupBy, Snapshot, Thread, ThreadStats};
use crate::source::SourceError;
use crate::whatif::Demand;
use crate::window;

/// Intervals that are kept at most.
pub const MOST: usize = 512;
/// Of so many threads that this would be many at each, fewer: so many threads are looked at in all, more or less.
const THREADS: usize = 100_000;
/// But intervals enough to tell something.
const LEAST: usize = 64;
/// Groups that are kept: the first, and of those the ones that did most.
pub const MOST_GROUPS: usize = 128;

/// How threads are put into groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grouping {
    /// What those of a group have in common.
    pub by: GroupBy,
    /// Names that differ in numbers alone are different.
    pub exact: bool,
}

/// A group of threads, or all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// One for each interval; `None` where none of its threads did anything.
    pub parts: Vec<Option<Part>>,
    /// Its threads at most, in one interval.
    pub threads: u64,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Intervals {
    /// How long each is, ns.
    pub lengths: Vec<f64>,
    /// All threads.
    pub totals: Series,
    /// By name.
    pub groups: BTreeMap<String, Series>,
    /// There were more groups than are kept.
    pub more_groups: bool,
    /// Everything in the stretch.
    pub whole: Snapshot,
    /// How many CPUs were wanted.
    pub demand: Demand,
}

/// Reads a stretch of a recording. `None` where it has no two moments of which numbers are known. `progress` is called now and
/// then.
///
/// # Errors
/// When the recording cannot be read.
pub fn read<T: Timeline>(
    timeline: T,
    stretch: Stretch,
    grouping: Grouping,
    progress: &mut dyn FnMut(&T),
) -> Result<Option<Intervals>, SourceError> {
    let start_ns = timeline.head().meta.start_ns;
    let from_ts = stretch.from_ns.map(|ns| up_to(start_ns, ns));
    let to_ts = stretch.to_ns.map_or(u64::MAX, |ns| up_to(start_ns, ns));
    let last_ts = timeline.places().iter().map(|place| place.last_ts).max().unwrap_or(0).min(to_ts);
    let mut tape = Tape::new(timeline);
    let mut demand = Demand::default();
    demand.begin(start_ns, Active::default());
    let mut advance = |tape: &mut Tape<T>, demand: &mut Demand| -> Result<(), SourceError> {
        tape.advance(u64::MAX)?;
        demand.tick(tape.model().now_ns(), tape.model().active());
        progress(tape.timeline());
        Ok(())
    };
    if let Some(from_ts) = from_ts {
        while tape.next_ts()?.is_some_and(|ts| ts <= from_ts) {
            advance(&mut tape, &mut demand)?;
        }
        demand.begin_here();
    }
    let length_ns = last_ts.saturating_sub(from_ts.unwrap_or(start_ns));
    let mut made = Builder::new(tape.snapshot(), grouping, length_ns, from_ts.is_some());
    while let Some(ts) = tape.next_ts()?.filter(|ts| *ts <= to_ts) {
        advance(&mut tape, &mut demand)?;
        made.tick(ts, || tape.snapshot());
    }
    let incomplete = tape.timeline().incomplete();
    Ok(made.finish(&tape.snapshot(), incomplete, demand))
}

/// The same from snapshots of one run, in order of time.
pub fn of_snapshots(all: impl IntoIterator<Item = Arc<Snapshot>>, grouping: Grouping) -> Option<Intervals> {
    let mut all = all.into_iter();
    let begin = all.next()?;
    let (mut made, mut last) = (Builder::new(Arc::clone(&begin), grouping, 0, true), begin);
    for snapshot in all {
        last = snapshot;
        made.tick(last.duration_ns, || Arc::clone(&last));
    }
    made.finish(&last, None, Demand::default())
}

/// Intervals that grow while a recording is read.
struct Builder {
    grouping: Grouping,
    /// Where the stretch begins; the start of the recording is none.
    begin: Arc<Snapshot>,
    cut: bool,
    /// The end of the last interval.
    last: Arc<Snapshot>,
    /// Ticks that are closer to the last interval's end are within the next one.
    spacing_ns: u64,
    last_ts: Option<u64>,
    most: usize,
    lengths: Vec<f64>,
    totals: Series,
    groups: BTreeMap<String, Series>,
    more_groups: bool,
}

impl Builder {
    fn new(begin: Arc<Snapshot>, grouping: Grouping, length_ns: u64, cut: bool) -> Builder {
        Builder {
            grouping,
            last: Arc::clone(&begin),
            begin,
            cut,
            spacing_ns: length_ns / MOST as u64,
            last_ts: None,
            most: MOST,
            lengths: Vec::new(),
            totals: Series::default(),
            groups: BTreeMap::new(),
            more_groups: false,
        }
    }

    fn tick(&mut self, ts: u64, snapshot: impl FnOnce() -> Arc<Snapshot>) {
        if self.last_ts.is_some_and(|last| ts.saturating_sub(last) < self.spacing_ns) {
            return;
        }
        let now = snapshot();
        if now.duration_ns > self.last.duration_ns {
            self.last_ts = Some(ts);
            self.interval(now);
        }
    }

    fn interval(&mut self, now: Arc<Snapshot>) {
        self.most = self.most.min((THREADS / now.threads.len().max(1)).max(LEAST));
        while self.lengths.len() >= self.most {
            self.merge();
        }
        let between = window::since(&now, &self.last);
        self.last = now;
        let before = self.lengths.len();
        self.lengths.push(between.duration_ns as f64);
        let part = Part::of(&between.totals);
        self.totals.threads = self.totals.threads.max(between.threads.len() as u64);
        self.totals.parts.push(Some(part));
        for (name, group) in self.grouped(between) {
            // One that only slept so far is none yet; one that is known also sleeps in its time.
            let active = did_anything(&group.stats);
            let known = self.groups.contains_key(&name) || active && self.groups.len() < MOST_GROUPS;
            if !known {
                self.more_groups |= active;
                continue;
            }
            let series = self.groups.entry(name).or_default();
            series.threads = series.threads.max(u64::from(group.members));
            series.parts.resize(before, None);
            series.parts.push(Some(Part::of(&group.stats)));
        }
        self.groups.values_mut().for_each(|series| series.parts.resize(before + 1, None));
    }

    /// Groups with anybody who lived, those first that did most.
    fn grouped(&self, mut between: Snapshot) -> Vec<(String, Thread)> {
        between.threads.retain(|thread| did_anything(&thread.stats) || thread.stats.blocked_ns > 0);
        if !self.grouping.exact {
            for thread in &mut between.threads {
                thread.comm = alike(&thread.comm).into();
                thread.cgroup = thread.cgroup.as_deref().map(|path| alike(path).into());
            }
        }
        let Some(groups) = window::grouped(between, self.grouping.by).groups else { return Vec::new() };
        let names: Vec<String> = groups.all.iter().map(|group| groups.name(group).to_owned()).collect();
        let mut named: Vec<(String, Thread)> = names.into_iter().zip(groups.all).collect();
        named.sort_by_key(|(_, group)| Reverse(group.stats.cpu_ns.saturating_add(group.stats.wait_ns)));
        named
    }

    /// Makes one of each two that follow each other, and all that come as long.
    fn merge(&mut self) {
        self.spacing_ns = self.spacing_ns.saturating_mul(2);
        if let Some(typical) = self.lengths.get(self.lengths.len() / 2) {
            // Ticks may be further apart than was asked for.
            self.spacing_ns = self.spacing_ns.max((typical * 1.5) as u64);
        }
        self.lengths = self.lengths.chunks(2).map(|pair| pair.iter().sum()).collect();
        for series in self.groups.values_mut().chain([&mut self.totals]) {
            let mut parts = std::mem::take(&mut series.parts).into_iter();
            while let Some(first) = parts.next() {
                let pair = match (first, parts.next().flatten()) {
                    (Some(mut first), Some(second)) => {
                        first.add(&second);
                        Some(first)
                    }
                    (first, second) => first.or(second),
                };
                series.parts.push(pair);
            }
        }
    }

    fn finish(mut self, now: &Arc<Snapshot>, incomplete: Option<String>, demand: Demand) -> Option<Intervals> {
        if now.duration_ns > self.last.duration_ns {
            self.interval(Arc::clone(now));
        }
        if self.lengths.is_empty() {
            return None;
        }
        let mut whole = if self.cut { window::stretch(now, &self.begin) } else { Snapshot::clone(now) };
        whole.incomplete = incomplete;
        let Builder { lengths, totals, groups, more_groups, .. } = self;
        Some(Intervals { lengths, totals, groups, more_groups, whole, demand })
    }
}

fn did_anything(stats: &ThreadStats) -> bool {
    let touched = stats.touches.map_or(0, |touches| touches.total().all());
    let hints = stats.hint_faults.unwrap_or_default();
    let counts = [stats.cpu_ns, stats.wait_ns, stats.runq.all.count, stats.migrations.total(), touched];
    counts.iter().chain([&hints.local, &hints.remote]).any(|count| *count > 0)
}
