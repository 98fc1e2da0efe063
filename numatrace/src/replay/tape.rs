//! A model that moves along a recording, from tick to tick.
//!
//! Whether a tick is the last one up to some time is known only when the next one is: so the records up to the next tick
//! are read ahead and kept as bytes. Beyond [`MOST_AHEAD`] they go into the model at once, and what is known of the
//! position is put aside as a snapshot before.

use std::sync::Arc;

use numatrace_common::abi::kind;

use super::checkpoints::Checkpoints;
use crate::decode::{Event, decode};
use crate::model::{Limits, Model};
use crate::recording::Timeline;
use crate::snapshot::Snapshot;
use crate::source::{SourceError, SourceStatus, apply};

/// Bytes of records that are kept at most.
const MOST_AHEAD: usize = 8 << 20;

/// The records up to the next tick.
#[derive(Debug, Default)]
struct Ahead {
    /// They were read.
    known: bool,
    bytes: Vec<u8>,
    /// Where each record ends.
    ends: Vec<usize>,
    /// They were too many, and the model has them already.
    applied: bool,
    /// Time of the tick; `None` where there is none any more.
    tick: Option<u64>,
    /// Pieces between them that were no records.
    undecodable: u64,
}

impl Ahead {
    fn take(&mut self, record: &[u8], model: &mut Model, put_aside: &mut Option<Arc<Snapshot>>) {
        if record.starts_with(&kind::TICK.to_le_bytes())
            && let Ok(Event::Tick(tick)) = decode(record)
        {
            self.tick = Some(tick.header.ts);
        }
        if self.applied {
            return apply(record, model);
        }
        self.bytes.extend_from_slice(record);
        self.ends.push(self.bytes.len());
        if self.bytes.len() > MOST_AHEAD {
            *put_aside = Some(Arc::new(model.snapshot()));
            self.apply(model);
            self.applied = true;
        }
    }

    /// Gives what is kept to the model.
    fn apply(&mut self, model: &mut Model) {
        let mut from = 0;
        for end in self.ends.drain(..) {
            apply(&self.bytes[from..end], model);
            from = end;
        }
        self.bytes.clear();
    }

    /// Forgets all, and keeps the memory.
    fn clear(&mut self) {
        (self.known, self.applied, self.tick, self.undecodable) = (false, false, None, 0);
        self.bytes.clear();
        self.ends.clear();
    }
}

/// See the module.
#[derive(Debug)]
pub struct Tape<T> {
    timeline: T,
    model: Model,
    /// Time of the tick that it is at; `None` before the first.
    at: Option<u64>,
    ahead: Ahead,
    /// The timeline has no more batches.
    ended: bool,
    /// What is known at the position, where the model has gone on from it.
    put_aside: Option<Arc<Snapshot>>,
    checkpoints: Checkpoints,
}

impl<T: Timeline> Tape<T> {
    /// Stands before the first tick.
    pub fn new(timeline: T) -> Tape<T> {
        let model = new_model(&timeline);
        let (ahead, checkpoints) = (Ahead::default(), Checkpoints::default());
        Tape { timeline, model, at: None, ahead, ended: false, put_aside: None, checkpoints }
    }

    /// The recording.
    pub fn timeline(&self) -> &T {
        &self.timeline
    }

    /// The model, right after [`Tape::advance`] or [`Tape::rest`]; before the next tick is looked for it can go on from there.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Time of the tick that it is at; `None` before the first.
    pub fn at(&self) -> Option<u64> {
        self.at
    }

    /// Time of the next tick; `None` where this is the last one.
    ///
    /// # Errors
    /// When the recording cannot be read.
    pub fn next_ts(&mut self) -> Result<Option<u64>, SourceError> {
        let Tape { timeline, model, ahead, put_aside, .. } = self;
        if !ahead.known {
            while ahead.tick.is_none() && !self.ended {
                let before = timeline.undecodable();
                let status = timeline.next_batch(&mut |record| ahead.take(record, model, put_aside))?;
                ahead.undecodable += timeline.undecodable().saturating_sub(before);
                self.ended = status == SourceStatus::Ended;
            }
            ahead.known = true;
        }
        Ok(ahead.tick)
    }

    /// The same, as far as it was read already.
    pub fn known_next(&self) -> Option<u64> {
        self.ahead.tick
    }

    /// Whether this is known to be the last tick.
    pub fn is_last(&self) -> bool {
        self.ahead.known && self.ahead.tick.is_none()
    }

    /// Goes on to the next tick; `false` where there is none. Leaves a checkpoint there, unless one is less than
    /// `spacing_ns` away.
    ///
    /// # Errors
    /// When the recording cannot be read.
    pub fn advance(&mut self, spacing_ns: u64) -> Result<bool, SourceError> {
        let Some(ts) = self.next_ts()? else { return Ok(false) };
        self.ahead.apply(&mut self.model);
        self.model.note_undecodable(self.ahead.undecodable);
        self.ahead.clear();
        (self.at, self.put_aside) = (Some(ts), None);
        self.checkpoints.offer(ts, self.timeline.at(), &self.model, spacing_ns);
        Ok(true)
    }

    /// Takes in what comes behind the last tick, which a recording that was cut short can have.
    ///
    /// # Errors
    /// When the recording cannot be read.
    pub fn rest(&mut self) -> Result<(), SourceError> {
        if self.next_ts()?.is_none() {
            self.ahead.apply(&mut self.model);
            self.model.note_undecodable(std::mem::take(&mut self.ahead.undecodable));
            self.put_aside = None;
        }
        Ok(())
    }

    /// Everything at the position.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.put_aside.clone().unwrap_or_else(|| Arc::new(self.model.snapshot()))
    }

    /// The newest position up to `ts` that can be gone to at once; `None` for the start.
    pub fn nearest(&self, ts: u64) -> Option<u64> {
        self.checkpoints.newest(ts).map(|checkpoint| checkpoint.ts)
    }

    /// Goes to that position.
    ///
    /// # Errors
    /// When the recording cannot be read there.
    pub fn go_to_nearest(&mut self, ts: u64) -> Result<(), SourceError> {
        self.ahead.clear();
        (self.ended, self.put_aside) = (false, None);
        let Some(checkpoint) = self.checkpoints.newest(ts) else {
            (self.model, self.at) = (new_model(&self.timeline), None);
            return if self.timeline.places().is_empty() { Ok(()) } else { self.timeline.go_to(0) };
        };
        (self.model, self.at) = (checkpoint.model.clone(), Some(checkpoint.ts));
        let (place, mut left) = checkpoint.mark;
        self.timeline.go_to(place)?;
        // They end with a tick, and so with a batch.
        while left > 0 && !self.ended {
            self.ended = self.timeline.next_batch(&mut |_| left = left.saturating_sub(1))? == SourceStatus::Ended;
        }
        Ok(())
    }
}

fn new_model(timeline: &impl Timeline) -> Model {
    let head = timeline.head();
    Model::new(head.meta.clone(), head.topology.clone(), Limits::default())
}
