//! The numbers of a recording, or of a stretch of it. Place in the flow: from a [`Timeline`] to a [`Snapshot`], through the
//! same model as live.

use crate::model::{Active, Limits, Model};
use crate::recording::Timeline;
use crate::replay::tape::Tape;
use crate::replay::up_to;
use crate::snapshot::Snapshot;
use crate::source::{SourceError, SourceStatus, apply};
use crate::whatif::Demand;
use crate::window;

/// A stretch of a recording, ns since its start; `None` is its start or its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stretch {
    /// From the last tick up to this time.
    pub from_ns: Option<u64>,
    /// Up to the last tick up to this time.
    pub to_ns: Option<u64>,
}

/// Reads what is needed of a recording, and tells what happened in the stretch. `None` where it has no tick. `progress` is
/// called now and then.
///
/// # Errors
/// When the recording cannot be read.
pub fn numbers<T: Timeline>(
    timeline: T,
    stretch: Stretch,
    progress: &mut dyn FnMut(&T),
) -> Result<Option<Snapshot>, SourceError> {
    numbers_and_demand(timeline, stretch, progress, None)
}

/// The same, and how many CPUs were wanted in each interval between ticks of the stretch, where that is asked for.
///
/// # Errors
/// When the recording cannot be read.
pub fn numbers_and_demand<T: Timeline>(
    timeline: T,
    stretch: Stretch,
    progress: &mut dyn FnMut(&T),
    mut demand: Option<&mut Demand>,
) -> Result<Option<Snapshot>, SourceError> {
    let start_ns = timeline.head().meta.start_ns;
    if let Some(demand) = &mut demand {
        demand.begin(start_ns, Active::default());
    }
    if stretch == Stretch::default() {
        return all(timeline, progress, demand).map(Some);
    }
    let start_ts = start_ns;
    let mut tape = Tape::new(timeline);
    let mut go_to = |tape: &mut Tape<T>, ns: u64, demand: &mut Option<&mut Demand>| -> Result<(), SourceError> {
        while tape.next_ts()?.is_some_and(|ts| ts <= up_to(start_ts, ns)) {
            tape.advance(u64::MAX)?;
            if let Some(demand) = demand {
                demand.tick(tape.model().now_ns(), tape.model().active());
            }
            progress(tape.timeline());
        }
        Ok(())
    };
    let before = match stretch.from_ns {
        Some(from_ns) => {
            go_to(&mut tape, from_ns, &mut demand)?;
            if let Some(demand) = &mut demand {
                demand.begin_here();
            }
            Some(tape.snapshot())
        }
        None => None,
    };
    go_to(&mut tape, stretch.to_ns.unwrap_or(u64::MAX), &mut demand)?;
    if stretch.to_ns.is_none() {
        tape.rest()?;
        if let Some(demand) = &mut demand {
            demand.tick(tape.model().now_ns(), tape.model().active());
        }
    } else if tape.at().is_none() {
        return Ok(None);
    }
    let now = tape.snapshot();
    let mut made = match before {
        Some(before) => window::stretch(&now, &before),
        None => Snapshot::clone(&now),
    };
    made.incomplete = tape.timeline().incomplete();
    Ok(Some(made))
}

fn all<T: Timeline>(
    mut timeline: T,
    progress: &mut dyn FnMut(&T),
    mut demand: Option<&mut Demand>,
) -> Result<Snapshot, SourceError> {
    let head = timeline.head();
    let mut model = Model::new(head.meta.clone(), head.topology.clone(), Limits::default());
    loop {
        let before = timeline.undecodable();
        let status = timeline.next_batch(&mut |record| apply(record, &mut model))?;
        model.note_undecodable(timeline.undecodable().saturating_sub(before));
        if let Some(demand) = &mut demand {
            demand.tick(model.now_ns(), model.active());
        }
        if status == SourceStatus::Ended {
            break;
        }
        progress(&timeline);
    }
    Ok(Snapshot { incomplete: timeline.incomplete(), ..model.snapshot() })
}
