//! A recording as a trace of Perfetto: threads on CPUs as scheduler events, what Perfetto has no events for as tracks.
//! Place in the flow: a [`Timeline`] in, bytes out; docs/perfetto.md says what is where.
//!
//! Streaming: records are read once and become packets as they come. A turn is told when it ends, and so its beginning and its
//! wait lie in the past; packets need no order, so nothing is held back for that. Memory is that of the model, of
//! 16 KiB a CPU (`cpus.rs`) and about 250 bytes a thread (`threads.rs`).

mod convert;
mod counters;
mod cpus;
mod ends;
mod head;
mod packets;
pub mod schema;
mod threads;
mod tracks;
mod waits;

use std::io::{self, Write};

use thiserror::Error;

use self::convert::Converter;
use crate::recording::Timeline;
use crate::source::{SourceError, SourceStatus};

/// Why there is no trace.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The recording cannot be read.
    #[error(transparent)]
    Read(#[from] SourceError),
    /// The trace cannot be written.
    #[error("cannot write the Perfetto trace")]
    Write(#[source] io::Error),
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Bytes of the trace.
    pub bytes: u64,
    /// Threads, lives of one id counted each.
    pub threads: u64,
    /// Turns on a CPU that ended, as slices of the CPUs.
    pub turns: u64,
    /// Waits that ended, as slices of the threads.
    pub waits: u64,
    /// Migrations, as instants of the threads.
    pub migrations: u64,
    /// Turns on another node than the turn before.
    pub node_moves: u64,
    /// Turns that contradict the turn before them on the same CPU, and were cut.
    pub cut: u64,
    /// Turns on CPUs with a number of 1,024 or more, which Perfetto has no place for.
    pub without_cpu: u64,
    /// Times that a thread was met for which there was no place: its waits and migrations are missing.
    pub refused: u64,
    /// What of the recording could not be read, in a sentence.
    pub incomplete: Option<String>,
}

impl From<Summary> for super::Summary {
    fn from(made: Summary) -> super::Summary {
        let several = [
            (made.cut, "turns contradict the turn before them on the same CPU, and were cut"),
            (made.without_cpu, "turns are on CPUs with a number of 1,024 or more, for which Perfetto has no track"),
            (made.refused, "times a thread was met for which there was no place: its waits and migrations are missing"),
        ];
        let told = several.into_iter().filter(|(count, _)| *count > 0);
        super::Summary {
            rows: made.turns,
            bytes: made.bytes,
            incomplete: made.incomplete,
            notes: told.map(|(count, what)| format!("{} {what}", crate::text::count(count))).collect(),
            ..super::Summary::default()
        }
    }
}

/// Writes a recording to `out` as a trace of Perfetto. `progress` is called now and then.
///
/// # Errors
/// [`ExportError`]: the recording cannot be read, or the trace cannot be written.
pub fn write<T: Timeline>(
    mut timeline: T,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(&T),
) -> Result<Summary, ExportError> {
    let mut converter = Converter::new(timeline.head(), out);
    loop {
        let before = timeline.undecodable();
        let status = timeline.next_batch(&mut |record| converter.record(record))?;
        converter.undecodable(timeline.undecodable().saturating_sub(before));
        converter.check().map_err(ExportError::Write)?;
        if status == SourceStatus::Ended {
            break;
        }
        progress(&timeline);
    }
    converter.finish(timeline.incomplete()).map_err(ExportError::Write)
}
