//! A recording as a [`Source`]: the same records in the same order, and in the same batches. Nothing in the file is
//! trusted; what cannot be read is counted and said.
//!
//! A thread reads, unpacks and decodes ahead, by two frames; so memory is that of a few frames, however long the file is.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use numatrace_common::abi::kind;
use thiserror::Error;

use super::columns::first_record;
use super::frames::{Frames, Item};
use super::scan::{Contents, HeadError, contents, head};
use super::{Head, Place, Reason, Timeline, belongs_to_tick};
use crate::source::{Source, SourceError, SourceStatus};
use crate::text;

/// Frames that are decoded ahead.
const AHEAD: usize = 2;
/// Damaged places that are told apart.
const MOST_DAMAGES: usize = 4096;

/// Why a file cannot be read as a recording.
#[derive(Debug, Error)]
pub enum RecordingError {
    /// The system refuses.
    #[error("cannot read {path}")]
    Read {
        /// Which file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// It is something else, or of a newer version, or there is nothing left of it.
    #[error("{path} {why}")]
    Unfit {
        /// Which file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
}

/// The thread that decodes ahead. It ends when nobody takes any more.
#[derive(Debug)]
struct Ahead {
    items: Receiver<io::Result<Item>>,
    used: SyncSender<Vec<u8>>,
}

/// The frame whose records are given out.
#[derive(Debug, Default)]
struct Current {
    raw: Vec<u8>,
    at: usize,
}

/// An open recording. See the module.
#[derive(Debug)]
pub struct Reader {
    path: String,
    file: Arc<File>,
    bytes: u64,
    read: Arc<AtomicU64>,
    head: Head,
    contents: Contents,
    places: Vec<Place>,
    ahead: Option<Ahead>,
    current: Current,
    place: usize,
    given: u64,
    /// The last record was a tick, or belongs to one.
    ticked: bool,
    ended: bool,
    undecodable: u64,
    /// Records that are missing, by what number the first of them has.
    missing: BTreeMap<u64, u64>,
}

impl Reader {
    /// Opens a recording, and finds its frames.
    ///
    /// # Errors
    /// [`RecordingError`], one sentence.
    pub fn open(path: &Path) -> Result<Reader, RecordingError> {
        let shown = text::display_str(&path.to_string_lossy());
        let failed = |source| RecordingError::Read { path: shown.clone(), source };
        let unfit = |why: &str| RecordingError::Unfit { path: shown.clone(), why: why.into() };
        // Asked before it is opened: opening a pipe waits for a writer.
        let about = fs::metadata(path).map_err(failed)?;
        if about.is_dir() {
            return Err(unfit("is a directory: name a recording in it"));
        }
        if !about.is_file() {
            return Err(unfit(
                "is no regular file, and a recording is read from several places: save it to a file first",
            ));
        }
        let file = File::open(path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        let (head, start) = head(&file, bytes).map_err(|error| match error {
            HeadError::Io(source) => failed(source),
            HeadError::Unfit(why) => unfit(&why),
        })?;
        let contents = contents(&file, start, bytes).map_err(failed)?;
        let place = |entry: &super::format::Entry| Place {
            first_ts: entry.first_ts,
            last_ts: entry.last_ts,
            worst_wait_ns: entry.worst_wait_ns,
            worst_ts: entry.worst_ts,
        };
        let places = contents.entries.iter().map(place).collect();
        Ok(Reader {
            path: shown,
            file: Arc::new(file),
            bytes,
            read: Arc::new(AtomicU64::new(start)),
            head,
            contents,
            places,
            ahead: None,
            current: Current::default(),
            place: 0,
            given: 0,
            ticked: false,
            ended: false,
            undecodable: 0,
            missing: BTreeMap::new(),
        })
    }

    /// Size of the file in bytes, when it was opened.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of the file that were read so far.
    pub fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Why the recording ended; `None` when it was cut short.
    pub fn reason(&self) -> Option<Reason> {
        self.contents.closed.and_then(|end| Reason::of_code(end.reason))
    }

    fn source_error(&self, cause: io::Error) -> SourceError {
        SourceError { operation: format!("read {}", self.path), cause: Box::new(cause) }
    }

    fn start(&self) -> io::Result<Ahead> {
        let entry = self.contents.entries.get(self.place);
        let from = match entry {
            Some(entry) if self.place > 0 => (entry.offset, entry.first_record),
            _ => (self.contents.start, 0),
        };
        let total = self.contents.closed.map(|end| end.records);
        let mut frames = Frames::new(Arc::clone(&self.file), from, self.contents.end, total)?;
        let (sender, items) = sync_channel(AHEAD);
        let (used, free) = sync_channel(AHEAD + 2);
        let read = Arc::clone(&self.read);
        thread::Builder::new().name("numatrace-read".into()).spawn(move || {
            loop {
                let item = frames.next(free.try_recv().unwrap_or_default()).transpose();
                read.store(frames.at(), Ordering::Relaxed);
                let Some(item) = item else { return };
                let failed = item.is_err();
                if sender.send(item).is_err() || failed {
                    return;
                }
            }
        })?;
        Ok(Ahead { items, used })
    }

    /// Goes on to the next frame; `false` where there is none.
    fn next_frame(&mut self) -> io::Result<bool> {
        let ahead = match self.ahead.take() {
            Some(ahead) => ahead,
            None => self.start()?,
        };
        let ahead = self.ahead.insert(ahead);
        let used = std::mem::take(&mut self.current);
        // There is room for all that there are; a thread that has ended needs none.
        let _ = ahead.used.try_send(used.raw);
        loop {
            // A thread that has ended has sent everything before.
            let Ok(item) = ahead.items.recv() else { return Ok(false) };
            match item? {
                Item::Missing { after, records } => {
                    if self.missing.len() < MOST_DAMAGES {
                        self.missing.insert(after, records);
                    }
                    self.undecodable = self.undecodable.saturating_add(records);
                }
                Item::Frame { seq, raw } => {
                    let entries = &self.contents.entries;
                    while entries.get(self.place + 1).is_some_and(|next| next.seq <= seq) {
                        (self.place, self.given) = (self.place + 1, 0);
                    }
                    self.current = Current { raw, at: 0 };
                    return Ok(true);
                }
            }
        }
    }

    /// Since the start, in words.
    fn shown(&self, ts: u64) -> String {
        text::duration(ts.saturating_sub(self.head.meta.start_ns))
    }

    fn last_ts(&self) -> u64 {
        self.places.iter().map(|place| place.last_ts).max().unwrap_or(self.head.meta.start_ns)
    }
}

impl Source for Reader {
    fn next_batch(&mut self, sink: &mut dyn FnMut(&[u8])) -> Result<SourceStatus, SourceError> {
        while !self.ended {
            let Current { raw, at } = &mut self.current;
            while let Some(record) = raw.get(*at..).and_then(first_record) {
                if self.ticked && !belongs_to_tick(record) {
                    self.ticked = false;
                    return Ok(SourceStatus::More);
                }
                *at += record.len();
                self.given += 1;
                self.ticked |= record.starts_with(&kind::TICK.to_le_bytes());
                sink(record);
            }
            let more = self.next_frame().map_err(|cause| self.source_error(cause))?;
            self.ended = !more;
        }
        Ok(SourceStatus::Ended)
    }

    fn undecodable(&self) -> u64 {
        self.undecodable
    }
}

impl Timeline for Reader {
    fn head(&self) -> &Head {
        &self.head
    }

    fn places(&self) -> &[Place] {
        &self.places
    }

    fn go_to(&mut self, place: usize) -> Result<(), SourceError> {
        // The thread ends by itself when it has something to give.
        self.ahead = None;
        self.current = Current::default();
        (self.place, self.given, self.ticked, self.ended) = (place, 0, false, false);
        Ok(())
    }

    fn at(&self) -> (usize, u64) {
        (self.place, self.given)
    }

    fn incomplete(&self) -> Option<String> {
        let end = self.shown(self.last_ts());
        let ended = match self.contents.closed {
            None => Some(format!("the recording was cut short: it reaches to {end}")),
            Some(_) => match self.reason() {
                Some(Reason::WriteFailed) => {
                    Some(format!("the recording ends at {end}, where its file could not be written any further"))
                }
                Some(Reason::TraceFailed) => Some(format!("the recording ends at {end}, where tracing failed")),
                _ => None,
            },
        };
        let damaged = (!self.missing.is_empty()).then(|| {
            let records: u64 = self.missing.values().fold(0, |sum, records| sum.saturating_add(*records));
            let places = self.missing.len();
            let plural = if places == 1 { "place" } else { "places" };
            let what = match records {
                0 => "what it held there is left out".to_owned(),
                n => format!("{} records are missing there", text::count(n)),
            };
            format!("the file is damaged in {places} {plural}: {what}")
        });
        let all: Vec<String> = ended.into_iter().chain(damaged).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}
