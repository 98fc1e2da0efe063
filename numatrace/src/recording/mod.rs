//! Recordings: the records of a run in a file, and the same records out of it again. Place in the flow: the writer takes
//! what a [`Source`] gives, before it is decoded; the reader is a [`Source`].
//!
//! docs/recording-format.md describes the bytes.

mod anonymize;
mod columns;
pub mod create;
mod file;
pub mod flight;
mod format;
mod frames;
mod pack;
pub mod reader;
pub mod roster;
mod scan;
pub mod writer;

use numatrace_common::abi::{Task, kind, task_event};
use serde::{Deserialize, Serialize};

use crate::model::Meta;
use crate::source::{Source, SourceError};
use crate::topology::Topology;
use zerocopy::FromBytes;

pub use self::format::{Reason, VERSION};

/// Kind of a record that stands for a piece of input that was no record, so that it counts as not decodable wherever the
/// recording is read. No record of the ABI has this kind.
pub const PIECE: u16 = u16::MAX;

/// Whether a record belongs to the tick right before it: what was looked up then, and pieces that were no records. What is
/// known at a tick includes these.
#[inline]
pub fn belongs_to_tick(record: &[u8]) -> bool {
    let Some(bytes) = record.get(..2) else { return false };
    match u16::from_le_bytes([bytes[0], bytes[1]]) {
        kind::ATTRIBUTES
        | kind::CGROUP
        | kind::CGROUP_PATH
        | kind::CONTAINER_NAMES
        | kind::NAMESPACE_IDS
        | kind::QUOTA
        | kind::NODE_MEMORY
        | PIECE => true,
        kind::TASK => Task::read_from_bytes(record).is_ok_and(|task| task.event == task_event::NAME),
        _ => false,
    }
}

/// Everything about a recording that is no record. Stands at the start of the file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// Version of the program that recorded.
    pub tool: String,
    /// Names, paths and cgroups were replaced.
    pub anonymized: bool,
    /// Why a flight recorder wrote it, in a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// What the model is to know.
    pub meta: Meta,
    /// The machine.
    pub topology: Topology,
}

impl Head {
    /// For a run; with `anonymized`, without what people named its target by.
    pub fn new(meta: Meta, topology: Topology, anonymized: bool) -> Head {
        let target = if anonymized { anonymize::without_names(&meta.target) } else { meta.target };
        let tool = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).into();
        Head { tool, anonymized, cause: None, meta: Meta { target, ..meta }, topology }
    }
}

/// A place in a recording from which it can be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Of the first record from here on, ns of `CLOCK_MONOTONIC`.
    pub first_ts: u64,
    /// Of the last record before the next place.
    pub last_ts: u64,
    /// The longest wait that ended in between, ns; 0 for none.
    pub worst_wait_ns: u64,
    /// When that wait ended.
    pub worst_ts: u64,
}

/// A source that can be read from other places than its start.
pub trait Timeline: Source {
    /// What is no record.
    fn head(&self) -> &Head;

    /// Where it can be read from, in order of time; bounded, however long it is. Empty where there is no record.
    fn places(&self) -> &[Place];

    /// The next batch begins with the first record of the place with this number.
    ///
    /// # Errors
    /// When the source cannot be read there.
    fn go_to(&mut self, place: usize) -> Result<(), SourceError>;

    /// Where the next record is: the number of its place, and how many records of that place come before it. So one can
    /// come back to the middle of a place: go to it, and read so many records.
    fn at(&self) -> (usize, u64);

    /// What of the part that was read so far could not be read, in a sentence.
    fn incomplete(&self) -> Option<String>;
}
