//! A recording in the forms of other programs, one file a format. Place in the flow: from a
//! [`Timeline`] to bytes; what a row says is told once, in [`events`] and in [`crate::report::cells`].
//!
//! ```text
//! Timeline -> walk (the part, the threads, names) -> events -> table { csv | json | parquet }
//!                                                 -> hlog | folded
//! Snapshot of the part -> cells -> threads -> table { csv | json | parquet }
//! ```
//!
//! Everything streams: memory is that of the model ([`crate::model`]), of the recording's reader, and what each format says
//! of itself.

pub mod csv;
pub mod events;
pub mod folded;
pub mod hlog;
pub mod json;
#[cfg(feature = "parquet")]
pub mod parquet;
pub mod perfetto;
pub mod table;
pub mod threads;
mod time;
mod walk;

use std::io;

use thiserror::Error;

pub use self::walk::Part;
use crate::recording::Timeline;
use crate::source::SourceError;

/// Why there is no export.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The recording cannot be read.
    #[error(transparent)]
    Read(#[from] SourceError),
    /// What comes of it cannot be written.
    #[error("cannot write the export")]
    Write(#[from] io::Error),
    /// The part has no tick, so there is no moment that anything counts up to.
    #[error("the recording has no tick up to then, so there is nothing to export: give --to a later time")]
    NoTick,
    /// Nobody was selected.
    #[error(
        "the selected threads have nothing to export in this part of the recording: see who is in it with numatrace report"
    )]
    Nobody,
    /// Nothing says where page touches come from.
    #[error("{0}")]
    NoPlaces(String),
}

/// What an export has become.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Rows, lines of stacks, or intervals.
    pub rows: u64,
    /// Bytes that were written.
    pub bytes: u64,
    /// Records that were lost while this part was recorded, or cannot be read: what they would have told is not there.
    pub lost: u64,
    /// What of the recording could not be read, in a sentence.
    pub incomplete: Option<String>,
    /// What a reader of the export has to know, in sentences.
    pub notes: Vec<String>,
}

/// What of the recording is exported, and what it is called.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    /// Which part of it, and whose events.
    pub part: Part,
    /// Stands in each row of a table, so that tables of many recordings can be one.
    pub label: String,
}

/// Called now and then while a recording is read.
pub type Progress<'a, T> = &'a mut dyn FnMut(&T);

/// What is known of a recording's circumstances: names and values, for formats that have a place for them.
pub fn circumstances(timeline: &impl Timeline, subject: &Subject) -> Vec<(&'static str, String)> {
    let head = timeline.head();
    let host = &head.meta.host;
    vec![
        ("recording", subject.label.clone()),
        ("recorded_by", crate::text::visible(&head.tool)),
        ("target", head.meta.target.label.clone()),
        ("kernel", host.kernel.clone()),
        ("arch", host.arch.clone()),
        ("cpus", host.cpus.to_string()),
        ("nodes", host.nodes.iter().map(|node| node.id.to_string()).collect::<Vec<_>>().join(",")),
        ("start", time::Rfc3339::default().text(i64::try_from(head.meta.start_wall_ns).ok()).to_owned()),
    ]
}

/// A writer that knows how much went through it.
pub struct Counted<W> {
    inner: W,
    bytes: u64,
}

impl<W: io::Write> Counted<W> {
    /// Nothing yet.
    pub const fn new(inner: W) -> Counted<W> {
        Counted { inner, bytes: 0 }
    }

    /// Bytes so far.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl<W: io::Write> io::Write for Counted<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buf)?;
        self.bytes = self.bytes.saturating_add(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
