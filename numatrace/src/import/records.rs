//! The records of a perf.data file as events in order of time.
//!
//! perf writes the buffers of all CPUs one after the other, again and again, with a record after each round: what comes later
//! than the end of a round is no older than all that came before its start. So events are held until the round after theirs
//! has ended, then sorted and given out.
//!
//! Memory: 48 bytes an event of two rounds, up to [`MOST_HELD`] events; beyond, the older half goes out early.

use std::fs::File;
use std::io::Read;

use zstd::stream::raw::{Decoder as Unpack, Operation};

use super::ImportError;
use super::bytes::{u16_at, u32_at, u64_at};
use super::events::{Decoder, Event};

/// Events that are held: 384 MiB, and about as much again while they are put in order.
const MOST_HELD: usize = 8 << 20;
/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;
/// Bytes before the body of a record.
const HEADER: usize = 8;

/// Types of records that perf itself writes (`enum perf_user_event_type`).
mod record {
    pub(super) const FINISHED_ROUND: u32 = 68;
    pub(super) const AUXTRACE: u32 = 71;
    pub(super) const COMPRESSED: u32 = 81;
    pub(super) const COMPRESSED2: u32 = 83;
}

/// A record: its type, its flags and its body.
type Frame<'a> = (u32, u16, &'a [u8]);

/// The first record in these bytes and how long it is; `None` where there is not all of it. An error when it is none.
fn first(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, &'static str> {
    let (Some(kind), Some(misc), Some(size)) = (u32_at(bytes, 0), u16_at(bytes, 4), u16_at(bytes, 6)) else {
        return Ok(None);
    };
    let size = usize::from(size);
    if size < HEADER {
        return Err("a record is shorter than its header");
    }
    Ok(bytes.get(HEADER..size).map(|body| ((kind, misc, body), size)))
}

/// The bytes of the records.
#[derive(Debug)]
struct Input {
    file: File,
    /// Where in the file `buffer` ends.
    at: u64,
    /// Bytes of records behind that.
    left: u64,
    buffer: Vec<u8>,
    /// What of it is not yet read.
    from: usize,
}

impl Input {
    /// Moves what is left to the front, and reads on.
    fn fill(&mut self) -> Result<(), ImportError> {
        self.buffer.drain(..self.from);
        self.from = 0;
        let wanted = self.left.min(CHUNK as u64);
        let read = Read::by_ref(&mut self.file).take(wanted).read_to_end(&mut self.buffer)? as u64;
        self.at += read;
        // The file was cut off since it was opened.
        self.left = if read < wanted { 0 } else { self.left - read };
        Ok(())
    }

    fn damaged(&self, what: &'static str) -> ImportError {
        ImportError::Record { at: self.at - (self.buffer.len() - self.from) as u64, what }
    }

    /// The next record.
    fn next(&mut self) -> Result<Option<Frame<'_>>, ImportError> {
        if self.whole()?.is_none() {
            if self.left > 0 {
                self.fill()?;
            }
            if self.whole()?.is_none() {
                return if self.from == self.buffer.len() {
                    Ok(None)
                } else {
                    Err(self.damaged("a record is longer than what is left"))
                };
            }
        }
        let from = self.from;
        let Ok(Some((frame, size))) = first(&self.buffer[from..]) else { return Ok(None) };
        self.from = from + size;
        Ok(Some(frame))
    }

    fn whole(&self) -> Result<Option<usize>, ImportError> {
        first(&self.buffer[self.from..]).map(|found| found.map(|(_, size)| size)).map_err(|what| self.damaged(what))
    }

    /// Passes over bytes that belong to no record.
    fn skip(&mut self, mut bytes: u64) -> Result<(), ImportError> {
        loop {
            let here = (self.buffer.len() - self.from) as u64;
            let now = here.min(bytes);
            // No more than is in the buffer.
            self.from += now as usize;
            bytes -= now;
            if bytes == 0 {
                return Ok(());
            }
            if self.left == 0 {
                return Err(self.damaged("a record is longer than what is left"));
            }
            self.fill()?;
        }
    }
}

/// Records that perf packed with zstd: one stream over all of them, in which records do not end with the pieces.
struct Packed {
    unpack: Unpack<'static>,
    unpacked: Vec<u8>,
    piece: Vec<u8>,
}

/// Bytes that come out of one packed record at most: 256 of the largest records.
const MOST_UNPACKED: usize = 16 << 20;

impl Packed {
    fn new() -> Result<Packed, ImportError> {
        Ok(Packed { unpack: Unpack::new()?, unpacked: Vec::new(), piece: vec![0; 1 << 16] })
    }

    /// Gives all records that are whole to `each`. No more than a piece and a record are held, however much comes out.
    fn take(&mut self, mut bytes: &[u8], mut each: impl FnMut(Frame<'_>)) -> Result<(), &'static str> {
        let mut out = 0;
        loop {
            let status = self.unpack.run_on_buffers(bytes, &mut self.piece);
            let status = status.map_err(|_| "what was packed with zstd cannot be unpacked")?;
            out += status.bytes_written;
            if out > MOST_UNPACKED {
                return Err("a packed record unpacks to more than perf writes");
            }
            bytes = bytes.get(status.bytes_read..).unwrap_or_default();
            self.unpacked.extend_from_slice(self.piece.get(..status.bytes_written).unwrap_or_default());
            let mut from = 0;
            while let Some((frame, size)) = first(&self.unpacked[from..])? {
                each(frame);
                from += size;
            }
            self.unpacked.drain(..from);
            let is_full = status.bytes_written == self.piece.len();
            if !is_full && (bytes.is_empty() || status.bytes_read == 0) {
                return Ok(());
            }
        }
    }
}

/// See the module.
pub(super) struct Records {
    input: Input,
    packed: Option<Packed>,
    pub(super) decoder: Decoder,
    held: Vec<Event>,
    ready: Vec<Event>,
    next: usize,
    /// The greatest time of the rounds before this one, and of all.
    before: u64,
    greatest: u64,
    ended: bool,
    /// Told when all that came before is given out.
    failed: Option<ImportError>,
}

impl Records {
    /// Of a file that stands at its first record.
    pub(super) fn new(file: File, at: u64, bytes: u64, decoder: Decoder) -> Records {
        let input = Input { file, at, left: bytes, buffer: Vec::new(), from: 0 };
        Records {
            input,
            packed: None,
            decoder,
            held: Vec::new(),
            ready: Vec::new(),
            next: 0,
            before: 0,
            greatest: 0,
            ended: false,
            failed: None,
        }
    }

    /// Bytes of the file up to which it was read.
    pub(super) const fn at(&self) -> u64 {
        self.input.at
    }

    /// The next event, `None` after the last.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<Event>, ImportError> {
        loop {
            if let Some(event) = self.ready.get(self.next) {
                self.next += 1;
                return Ok(Some(*event));
            }
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            if self.ended {
                return Ok(None);
            }
            self.round();
        }
    }

    /// Reads to the end of a round, and makes ready what is in order then. What came before damage still comes.
    fn round(&mut self) {
        let from = self.held.len();
        let limit = self.read_round().unwrap_or_else(|error| {
            (self.failed, self.ended) = (Some(error), true);
            Some(u64::MAX)
        });
        self.greatest = self.held[from..].iter().fold(self.greatest, |most, event| most.max(event.ts));
        // Stable: at one time in the order of the file, which is that of the CPU.
        self.held.sort_by_key(|event| event.ts);
        let limit = match limit {
            Some(limit) => {
                self.before = self.greatest;
                limit
            }
            // Too many: the older half.
            None => self.held.get(self.held.len() / 2).map_or(u64::MAX, |event| event.ts),
        };
        let out = self.held.partition_point(|event| event.ts <= limit);
        self.ready.clear();
        self.ready.extend(self.held.drain(..out));
        self.next = 0;
    }

    /// Up to which time events are in order now; `None` when too many are held.
    fn read_round(&mut self) -> Result<Option<u64>, ImportError> {
        let Records { input, packed, decoder, held, .. } = self;
        while held.len() < MOST_HELD {
            let Some((kind, misc, body)) = input.next()? else {
                self.ended = true;
                return Ok(Some(u64::MAX));
            };
            match kind {
                record::FINISHED_ROUND => return Ok(Some(self.before)),
                record::AUXTRACE => {
                    let bytes = u64_at(body, 0).unwrap_or_default();
                    input.skip(bytes)?;
                }
                record::COMPRESSED | record::COMPRESSED2 => {
                    let bytes = if kind == record::COMPRESSED { Some(body) } else { sized(body) };
                    let packed = match packed {
                        Some(packed) => packed,
                        None => packed.insert(Packed::new()?),
                    };
                    let each = |(kind, misc, body): Frame<'_>| decoder.take(kind, misc, body, held);
                    let done = bytes.ok_or("a packed record is too short").and_then(|bytes| packed.take(bytes, each));
                    if let Err(what) = done {
                        return Err(input.damaged(what));
                    }
                }
                _ => decoder.take(kind, misc, body, held),
            }
        }
        Ok(None)
    }
}

/// The bytes after a 64-bit number, as many as it says.
fn sized(body: &[u8]) -> Option<&[u8]> {
    let length = usize::try_from(u64_at(body, 0)?).ok()?;
    body.get(8..)?.get(..length)
}
