//! The events of a part of a recording, in order, with a model that knows names at that moment.
//!
//! A part begins and ends at ticks, by the rule of [`offline`](crate::report::offline), so that sums over its events are those
//! of a report of the same part.

use crate::decode::{Event, decode};
use crate::model::{Limits, Model};
use crate::recording::Timeline;
use crate::replay::up_to;
use crate::report::offline::Stretch;
use crate::source::SourceStatus;

use super::{ExportError, Progress, Summary};

/// Which events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Of this time.
    pub stretch: Stretch,
    /// Of threads with these ids,
    pub tids: Vec<u32>,
    /// and of those that had one of these names, as it is shown, at that moment. Of all where both are empty.
    pub comms: Vec<String>,
}

impl Part {
    /// Only some threads are wanted.
    pub const fn is_selective(&self) -> bool {
        !self.tids.is_empty() || !self.comms.is_empty()
    }

    fn wants(&self, event: &Event, model: &Model) -> bool {
        if !self.is_selective() {
            return true;
        }
        let tid = match event {
            Event::Slice(slice) => slice.tid,
            Event::Migrate(migrate) => migrate.tid,
            Event::Task(task) => task.tid,
            Event::Touches(touches) => touches.tid,
            Event::Where(place) => place.tid,
            // Time passes for everybody.
            _ => return true,
        };
        let named = || model.name_of(tid).is_some_and(|name| self.comms.iter().any(|wanted| wanted == name));
        self.tids.contains(&tid) || (!self.comms.is_empty() && named())
    }
}

/// Ticks before the part, and ticks up to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ticks {
    skipped: u64,
    up_to: u64,
}

/// What comes along the way.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step<'a> {
    /// The part begins, at this time: the first of all steps.
    Begin(u64),
    /// An event of it, which the model has taken in.
    Event(&'a Event),
}

/// Gives `take` each step of the part. Says what is not there.
pub(super) fn walk<T: Timeline>(
    mut timeline: T,
    part: &Part,
    progress: Progress<'_, T>,
    take: &mut dyn FnMut(&Model, Step<'_>) -> Result<(), ExportError>,
) -> Result<Summary, ExportError> {
    let ticks = ticks(&mut timeline, part.stretch, progress)?;
    let head = timeline.head();
    let mut model = Model::new(head.meta.clone(), head.topology.clone(), Limits::default());
    let (mut seen, mut lost_before, mut failed) = (0, 0, None);
    if ticks.skipped == 0 {
        take(&model, Step::Begin(head.meta.start_ns))?;
    }
    loop {
        let before = timeline.undecodable();
        let status = timeline.next_batch(&mut |record| {
            let Ok(event) = decode(record) else { return model.note_undecodable(1) };
            model.apply(&event);
            if seen >= ticks.skipped && seen < ticks.up_to && failed.is_none() && part.wants(&event, &model) {
                failed = take(&model, Step::Event(&event)).err();
            }
            if let Event::Tick(tick) = event {
                seen += 1;
                if seen == ticks.skipped {
                    failed = take(&model, Step::Begin(tick.header.ts)).err();
                }
            }
        })?;
        model.note_undecodable(timeline.undecodable().saturating_sub(before));
        if let Some(error) = failed.take() {
            return Err(error);
        }
        if ticks.skipped > 0 && seen <= ticks.skipped {
            lost_before = model.records_lost();
        }
        if status == SourceStatus::Ended || seen >= ticks.up_to {
            let lost = model.records_lost().saturating_sub(lost_before);
            return Ok(Summary { lost, incomplete: timeline.incomplete(), ..Summary::default() });
        }
        progress(&timeline);
    }
}

/// Counts the ticks, where that is needed, and goes back to the start: a batch tells its time only when it ends, and is not
/// kept.
fn ticks<T: Timeline>(timeline: &mut T, stretch: Stretch, progress: Progress<'_, T>) -> Result<Ticks, ExportError> {
    let mut found = Ticks { skipped: 0, up_to: u64::MAX };
    if stretch == Stretch::default() {
        return Ok(found);
    }
    let start = timeline.head().meta.start_ns;
    let from = stretch.from_ns.map(|ns| up_to(start, ns));
    let to = stretch.to_ns.map(|ns| up_to(start, ns));
    let (mut seen, mut in_front, mut inside) = (0, from.is_some(), true);
    loop {
        let status = timeline.next_batch(&mut |record| {
            if let Ok(Event::Tick(tick)) = decode(record) {
                in_front &= from.is_some_and(|from| tick.header.ts <= from);
                inside &= to.is_none_or(|to| tick.header.ts <= to);
                seen += 1;
                if in_front {
                    found.skipped = seen;
                }
                if inside && to.is_some() {
                    found.up_to = seen;
                }
            }
        })?;
        if status == SourceStatus::Ended || !(in_front || (inside && to.is_some())) {
            break;
        }
        progress(timeline);
    }
    if to.is_some() && found.up_to == u64::MAX {
        return Err(ExportError::NoTick);
    }
    if !timeline.places().is_empty() {
        timeline.go_to(0)?;
    }
    Ok(found)
}
