//! Records to a file. The engine copies them into a buffer and goes on; a thread makes columns of full buffers, packs them
//! and writes them. What has no room waits in the rings, whose loss is counted: nothing here grows.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use numatrace_common::abi::Header;
use thiserror::Error;
use zerocopy::IntoBytes;

use super::anonymize::Anonymizer;
use super::file::FrameFile;
use super::format::{MOST_RAW, Reason};
use super::pack::{Buffer, Packing, time_of};
use super::{Head, PIECE};
use crate::rights::{self, Role};

/// A frame is closed at a tick when its first record is older than this, ns: so much is lost when we are killed.
const FRAME_NS: u64 = 5_000_000_000;
/// Frames that wait to be written; one more is being written, one more is being filled.
const WAITING: usize = 2;
/// Room that is left for the last frames when a recording has a largest size: what the largest one so far took, so
/// many times. Some wait already, one is being filled, and the totals of all threads come last.
const LAST_FRAMES: u64 = WAITING as u64 + 3;
/// And so many bytes beside, up to an eighth of all.
const LAST_BYTES: u64 = 64 << 10;

/// The smallest `--max-size` that makes sense: head, a few frames, index and end.
pub const SMALLEST: u64 = 256 << 10;

/// Writing failed.
#[derive(Debug, Error)]
pub enum WriteError {
    /// The head is larger than readers take.
    #[error("what is known of this machine and target takes {bytes} bytes, more than a recording can hold")]
    Head {
        /// Bytes of it.
        bytes: usize,
    },
    /// The file system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// How to write.
#[derive(Clone, Debug)]
pub struct Options {
    /// The file becomes no larger than this, bytes.
    pub max_size: Option<u64>,
    /// Bytes of records in a frame, unless it is closed by time, up to 4 MiB. Larger ones are packed better, and more is
    /// lost when we are killed.
    pub frame_bytes: usize,
    /// Set when it is time to end: the file is about to reach its largest size, or cannot be written any further.
    pub halt: Arc<AtomicBool>,
}

impl Options {
    /// For a file that becomes no larger than this, whose frames are smaller where it is small.
    pub fn up_to(max_size: Option<u64>, halt: Arc<AtomicBool>) -> Options {
        let whole = Options::default().frame_bytes;
        let frame_bytes =
            max_size.map_or(whole, |size| usize::try_from(size / 8).map_or(whole, |part| part.min(whole)));
        Options { max_size, frame_bytes, halt }
    }
}

impl Default for Options {
    fn default() -> Self {
        Options { max_size: None, frame_bytes: 2 << 20, halt: Arc::default() }
    }
}

/// What a recording has become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Bytes of the file.
    pub bytes: u64,
    /// Records in it.
    pub records: u64,
    /// Greatest time of these, ns of `CLOCK_MONOTONIC`; 0 without any.
    pub last_ts: u64,
}

/// What both sides know.
#[derive(Debug, Default)]
struct Shared {
    bytes: AtomicU64,
    records: AtomicU64,
    /// The file is about to reach its largest size.
    full: AtomicBool,
    /// Set when it is full, or could not be written.
    halt: Arc<AtomicBool>,
    failed: OnceLock<String>,
}

/// A recording that is being written.
#[derive(Debug)]
pub struct Recorder {
    full: Option<SyncSender<Buffer>>,
    empty: Receiver<Buffer>,
    filling: Buffer,
    frame_bytes: usize,
    anonymizer: Option<Anonymizer>,
    shared: Arc<Shared>,
    worker: Option<JoinHandle<Option<Packer>>>,
}

impl Recorder {
    /// Writes the head into an empty file, and starts the thread that writes the rest.
    ///
    /// # Errors
    /// When the head cannot be written, or there can be no thread.
    pub fn new(file: File, head: &Head, options: Options) -> Result<Recorder, WriteError> {
        let anonymizer = head.anonymized.then(Anonymizer::default);
        let file = FrameFile::begin(file, head)?;
        let shared = Arc::new(Shared { halt: options.halt, ..Shared::default() });
        shared.bytes.store(file.written().bytes, Ordering::Relaxed);
        let (full, to_pack) = sync_channel(WAITING);
        let (to_fill, empty) = sync_channel(WAITING + 2);
        let packer = Packer::new(file, options.max_size, Arc::clone(&shared))?;
        let worker = rights::spawn("numatrace-write", Role::Write, move || packer.run(&to_pack, &to_fill))
            .map_err(WriteError::Io)?;
        let mut filling = Buffer::default();
        filling.clear();
        let frame_bytes = options.frame_bytes.min(MOST_RAW / 2);
        Ok(Recorder { full: Some(full), empty, filling, frame_bytes, anonymizer, shared, worker: Some(worker) })
    }

    /// Takes a record, which is as long as its header says; anything else is left out.
    #[inline]
    pub fn push(&mut self, record: &[u8]) {
        match self.anonymizer.take() {
            None => self.take(record),
            Some(mut anonymizer) => {
                anonymizer.without_names(record, |record| self.take(record));
                self.anonymizer = Some(anonymizer);
            }
        }
    }

    #[inline]
    fn take(&mut self, record: &[u8]) {
        let Some(ts) = time_of(record) else { return };
        self.filling.push(record, ts);
        if self.filling.is_full(self.frame_bytes) {
            self.close_frame();
        }
    }

    /// Takes note of pieces that were no records, at this time.
    pub fn push_pieces(&mut self, pieces: u64, ts: u64) {
        let piece = Header { kind: PIECE, size: size_of::<Header>() as u16, cpu: 0, cpu2: 0, ts };
        (0..pieces).for_each(|_| self.take(piece.as_bytes()));
    }

    /// Everything up to this time was taken: an old frame is closed.
    pub fn up_to(&mut self, ts: u64) {
        let fields = &self.filling.fields;
        if fields.records > 0 && ts.saturating_sub(fields.first_ts) >= FRAME_NS {
            self.close_frame();
        }
    }

    /// Gives the frame away. Waits where the file is slower than the records: then the rings fill, which is counted.
    fn close_frame(&mut self) {
        if self.filling.fields.records == 0 {
            return;
        }
        let mut next = self.empty.try_recv().unwrap_or_default();
        next.clear();
        let full = std::mem::replace(&mut self.filling, next);
        if let Some(sender) = &self.full {
            // When the thread is gone, so is the file: `failed` tells.
            let _ = sender.send(full);
        }
    }

    /// The file is about to reach its largest size: it is time to finish.
    pub fn is_full(&self) -> bool {
        self.shared.full.load(Ordering::Relaxed)
    }

    /// Why no more could be written.
    pub fn failed(&self) -> Option<&str> {
        self.shared.failed.get().map(String::as_str)
    }

    /// Bytes and records that are in the file.
    pub fn written(&self) -> (u64, u64) {
        (self.shared.bytes.load(Ordering::Relaxed), self.shared.records.load(Ordering::Relaxed))
    }

    /// Writes what is left, the index and the end. Also where writing had failed: then the file ends with the last frame
    /// that is whole.
    ///
    /// # Errors
    /// What had failed before, or fails now, with what the file holds all the same.
    pub fn finish(mut self, reason: Reason) -> Result<Written, (WriteError, Written)> {
        self.close_frame();
        self.full = None;
        let packer = match self.worker.take().map(JoinHandle::join) {
            Some(Ok(Some(packer))) => packer,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            // It is taken here only, and this takes the recorder; one that did not begin was never handed out.
            None | Some(Ok(None)) => return Ok(Written::default()),
        };
        packer.finish(reason)
    }
}

/// The thread that writes.
struct Packer {
    file: FrameFile,
    packing: Packing,
    /// A frame as it is written.
    packed: Vec<u8>,
    max_size: u64,
    largest: u64,
    failed: Option<io::Error>,
    shared: Arc<Shared>,
}

impl Packer {
    fn new(file: FrameFile, max_size: Option<u64>, shared: Arc<Shared>) -> io::Result<Packer> {
        let max_size = max_size.unwrap_or(u64::MAX);
        Ok(Packer { file, packing: Packing::new()?, packed: Vec::new(), max_size, largest: 0, failed: None, shared })
    }

    fn run(mut self, full: &Receiver<Buffer>, empty: &SyncSender<Buffer>) -> Packer {
        while let Ok(buffer) = full.recv() {
            if self.failed.is_none()
                && let Err(error) = self.write(&buffer)
            {
                // Said once: nothing is written after it.
                let _ = self.shared.failed.set(error.to_string());
                self.shared.halt.store(true, Ordering::Relaxed);
                self.failed = Some(error);
            }
            // There is room for all that there are; a recorder that is gone needs none.
            let _ = empty.try_send(buffer);
        }
        self
    }

    fn write(&mut self, buffer: &Buffer) -> io::Result<()> {
        let fields = self.packing.pack(buffer, &mut self.packed)?;
        let bytes = self.file.written().bytes;
        let closing = self.file.closing();
        if bytes.saturating_add(fields.len()).saturating_add(closing) > self.max_size {
            // Only where the last frames are larger than those before: the rest is not in the recording.
            self.max_size = 0;
            self.note_full();
            return Ok(());
        }
        self.file.append(&fields, &self.packed)?;
        let written = self.file.written();
        self.largest = self.largest.max(fields.len());
        self.shared.bytes.store(written.bytes, Ordering::Relaxed);
        self.shared.records.store(written.records, Ordering::Relaxed);
        let reserve = LAST_FRAMES * self.largest + LAST_BYTES.min(self.max_size / 8) + closing;
        if written.bytes.saturating_add(reserve) > self.max_size {
            self.note_full();
        }
        Ok(())
    }

    fn note_full(&self) {
        self.shared.full.store(true, Ordering::Relaxed);
        self.shared.halt.store(true, Ordering::Relaxed);
    }

    fn finish(mut self, reason: Reason) -> Result<Written, (WriteError, Written)> {
        let reason = if self.failed.is_some() { Reason::WriteFailed } else { reason };
        let closed = self.file.close(reason);
        match (self.failed, closed) {
            (None, Ok(())) => Ok(self.file.written()),
            (Some(error), _) | (None, Err(error)) => Err((error.into(), self.file.written())),
        }
    }
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packer").field("written", &self.file.written()).finish_non_exhaustive()
    }
}
