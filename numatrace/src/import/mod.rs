//! `perf sched record` files as a source: what happened on a machine on which eBPF is not allowed, through the same state
//! machine as everything else. Place in the flow: a [`Source`], as a live kernel is one.
//!
//! `header.rs`, `formats.rs` and `machine.rs` read what comes before the records, `records.rs` brings those in order,
//! `events.rs` and `sample.rs` say what they mean, and this hands them to [`Kernel`]. All of it is total: any bytes are an
//! import or an error. docs/import.md says what the numbers mean.
//!
//! Memory: two rounds of events as `records.rs` bounds them, and what [`Kernel`] keeps.

mod bytes;
mod error;
mod events;
mod formats;
mod header;
mod machine;
mod records;
mod replay;
mod sample;
mod sources;

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::Path;
use std::time::UNIX_EPOCH;

pub use self::error::ImportError;
use self::events::{Decoder, Event};
use self::header::Header;
use self::machine::Machine;
use self::records::Records;
use self::replay::Replay;
use crate::model::{Meta, Pages, Waiting};
use crate::snapshot::Target;
use crate::source::kernel::MOST_TASKS;
use crate::source::{Source, SourceError, SourceStatus};
use crate::text::display_str;
use crate::topology::Topology;

/// Records are given out when there are so many bytes of them.
const GIVEN_OUT: usize = 1 << 16;

/// Names and births before the first event at most: two of each thread.
const MOST_BEFORE: usize = 2 * MOST_TASKS;

/// See the module.
pub struct Import {
    records: Records,
    replay: Replay,
    /// Read, and not yet taken in.
    next: Option<Event>,
    meta: Meta,
    topology: Topology,
    bytes: u64,
    ended: bool,
}

impl Import {
    /// Opens a file, and reads up to its first event. There will be a tick each `interval_ns` of its time.
    ///
    /// # Errors
    /// What is wrong with the file, as a sentence that follows its name.
    pub fn open(path: &Path, interval_ns: u64) -> Result<Import, ImportError> {
        let mut file = File::open(path)?;
        let header = Header::read(&file)?;
        let found = file.metadata()?;
        let decoder = Decoder::new(&header)?;
        let has = decoder.has;
        file.seek(SeekFrom::Start(header.data))?;
        let mut records = Records::new(file, header.data, header.data_bytes, decoder);
        // Names and births before the scheduler's first event are how it was then.
        let mut before = Vec::new();
        let first = loop {
            match records.next()? {
                Some(event) if event.ts > 0 && event.what.is_traced() => break event,
                Some(event) if before.len() < MOST_BEFORE => before.push(Event { ts: 0, ..event }),
                Some(_) => {}
                None => return Err(ImportError::Empty),
            }
        };
        if records.decoder.has_other_ids() {
            return Err(ImportError::OtherIds);
        }
        let machine = Machine::of(&header);
        let modified = found.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let modified_ns = u64::try_from(modified.as_nanos()).unwrap_or_default();
        let (start_wall_ns, wall) = sources::wall_time(&header, first.ts, modified_ns);
        let sources = sources::all(&header, has, &machine, wall);
        let mut replay = Replay::new(first.ts, start_wall_ns, interval_ns, has);
        before.iter().for_each(|event| replay.take(event));
        let meta = Meta {
            host: machine.topology.host(&machine.kernel, &machine.arch),
            target: target(path, machine.hostname.as_deref()),
            sources,
            start_ns: first.ts,
            start_wall_ns,
            pages: Pages::default(),
            waits: Waiting { owners: true, ..Waiting::default() },
        };
        let bytes = header.data.saturating_add(header.data_bytes);
        Ok(Import { records, replay, next: Some(first), meta, topology: machine.topology, bytes, ended: false })
    }

    /// What the model is to know.
    pub const fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The machine.
    pub const fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Bytes up to the end of the records, and how far it was read.
    pub const fn bytes(&self) -> (u64, u64) {
        (self.bytes, self.records.at())
    }

    /// Events that were taken in so far.
    pub const fn events(&self) -> u64 {
        self.replay.events
    }

    /// Events that came after newer ones: they count as of the time of those.
    pub const fn late(&self) -> u64 {
        self.replay.late
    }

    fn step(&mut self, sink: &mut dyn FnMut(&[u8])) -> Result<SourceStatus, ImportError> {
        loop {
            let event = match self.next.take() {
                Some(event) => event,
                None => match self.records.next()? {
                    Some(event) => event,
                    None => break,
                },
            };
            if self.replay.tick_before(event.ts) {
                self.next = Some(event);
                self.replay.give(sink);
                return Ok(SourceStatus::More);
            }
            self.replay.take(&event);
            if self.replay.waiting() >= GIVEN_OUT {
                self.replay.give(sink);
            }
        }
        if !std::mem::replace(&mut self.ended, true) {
            self.replay.last_tick();
            self.replay.give(sink);
        }
        Ok(SourceStatus::Ended)
    }
}

impl Source for Import {
    fn next_batch(&mut self, sink: &mut dyn FnMut(&[u8])) -> Result<SourceStatus, SourceError> {
        let stepped = self.step(sink);
        if stepped.is_err() {
            // What came before is as good as if the file ended here.
            self.replay.last_tick();
            self.replay.give(sink);
        }
        stepped.map_err(|cause| SourceError { operation: "read the perf.data file".into(), cause: cause.into() })
    }

    /// Records of perf that could not be read. They are no records of ours, but what they told is as lost.
    fn undecodable(&self) -> u64 {
        self.records.decoder.unreadable
    }
}

fn target(path: &Path, host: Option<&str>) -> Target {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let of = host.map_or_else(String::new, |host| format!(" of {host}"));
    Target { kind: "all".into(), label: format!("all threads{of}, from {}", display_str(&file)), ids: Vec::new() }
}
