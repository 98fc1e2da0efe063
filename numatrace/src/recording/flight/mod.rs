//! A flight recorder: the last seconds of a run, packed and in memory, until somebody wants them in a file. Place in the
//! flow: as `writer`, beside the model, but for the file.
//!
//! Time is cut into segments. Each begins at a tick with what the model knew then (`Model::opening`), so that a recording can
//! begin there; the oldest go when they are too old, or when all take more than [`MOST_BYTES`]. What is told only once, such
//! as the path of a cgroup, is kept beside (`told`) when its segment goes. A thread packs and holds; another one writes a
//! file, of frames that both share, so that nothing waits for a disk.

mod hold;
mod told;

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::{self, JoinHandle};

use numatrace_common::abi::Header;
use zerocopy::IntoBytes;

use self::hold::{Cut, Hold};
use super::anonymize::Anonymizer;
use super::file::FrameFile;
use super::format::Reason;
use super::pack::{Buffer, time_of};
use super::writer::{WriteError, Written};
use super::{Head, PIECE};
use crate::model::{Meta, Model};
use crate::rights::{self, Role};

/// Bytes that are held at most. While a file is being written, what it takes can be held beside.
pub const MOST_BYTES: u64 = 64 << 20;

/// Segments in the time that is asked for: so much more of it is held at most.
const SEGMENTS: u64 = 8;
/// Bytes of records in a frame.
const FRAME_BYTES: usize = 2 << 20;
/// Buffers that wait to be packed.
const WAITING: usize = 2;

/// What is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// From when on, ns of `CLOCK_MONOTONIC`; `None` where nothing is.
    pub since: Option<u64>,
    /// Bytes.
    pub bytes: u64,
}

/// What both sides know.
#[derive(Debug, Default)]
struct Shared {
    /// 0 for nothing.
    since: AtomicU64,
    bytes: AtomicU64,
    newest_bytes: AtomicU64,
}

/// For the thread that packs.
enum Work {
    /// A segment begins, at this time of `CLOCK_MONOTONIC` and of the wall.
    Begin((u64, u64)),
    /// Records; what was known when the segment began, or what came since.
    Records(Buffer, bool),
    /// What is held is wanted in a file.
    Write(File, Box<Head>),
}

/// A file came to its end.
pub type Done = Result<Written, WriteError>;

/// See the module.
pub struct Flight {
    to_pack: Option<SyncSender<Work>>,
    empty: Receiver<Buffer>,
    done: Receiver<Done>,
    filling: Buffer,
    anonymizer: Option<Anonymizer>,
    segment_ns: u64,
    segment_since: u64,
    writing: bool,
    shared: Arc<Shared>,
    worker: Option<JoinHandle<Option<io::Result<()>>>>,
}

impl Flight {
    /// Holds the last `last_ns` at least, once so much time has gone by, of a run that begins with `meta`.
    ///
    /// # Errors
    /// When there can be no thread, or no memory for packing.
    pub fn begin(last_ns: u64, meta: &Meta, anonymized: bool) -> io::Result<Flight> {
        let shared = Arc::new(Shared::default());
        let (to_pack, work) = sync_channel(WAITING);
        let (to_fill, empty) = sync_channel(WAITING + 2);
        let (told, done) = sync_channel(1);
        let hold = Hold::new(last_ns, MOST_BYTES)?;
        let known = Arc::clone(&shared);
        let packer = Packer { hold, shared: known, done: told };
        let worker = rights::spawn("numatrace-write", Role::Write, move || packer.run(&work, &to_fill))?;
        let mut filling = Buffer::default();
        filling.clear();
        let flight = Flight {
            to_pack: Some(to_pack),
            empty,
            done,
            filling,
            anonymizer: anonymized.then(Anonymizer::default),
            segment_ns: (last_ns / SEGMENTS).max(1),
            segment_since: meta.start_ns,
            writing: false,
            shared,
            worker: Some(worker),
        };
        flight.send(Work::Begin((meta.start_ns, meta.start_wall_ns)));
        Ok(flight)
    }

    fn send(&self, work: Work) {
        if let Some(sender) = &self.to_pack {
            // A thread that is gone has failed: `end` tells.
            let _ = sender.send(work);
        }
    }

    /// Takes a record, which is as long as its header says; anything else is left out.
    #[inline]
    pub fn push(&mut self, record: &[u8]) {
        self.take(record, false);
    }

    fn take(&mut self, record: &[u8], is_opening: bool) {
        match self.anonymizer.take() {
            None => self.fill(record, is_opening),
            Some(mut anonymizer) => {
                anonymizer.without_names(record, |record| self.fill(record, is_opening));
                self.anonymizer = Some(anonymizer);
            }
        }
    }

    #[inline]
    fn fill(&mut self, record: &[u8], is_opening: bool) {
        let Some(ts) = time_of(record) else { return };
        self.filling.push(record, ts);
        if self.filling.is_full(FRAME_BYTES) {
            self.close_frame(is_opening);
        }
    }

    /// Takes note of pieces that were no records, at this time.
    pub fn push_pieces(&mut self, pieces: u64, ts: u64) {
        let piece = Header { kind: PIECE, size: size_of::<Header>() as u16, cpu: 0, cpu2: 0, ts };
        (0..pieces).for_each(|_| self.fill(piece.as_bytes(), false));
    }

    fn close_frame(&mut self, is_opening: bool) {
        if self.filling.fields.records == 0 {
            return;
        }
        let mut next = self.empty.try_recv().unwrap_or_default();
        next.clear();
        let full = std::mem::replace(&mut self.filling, next);
        self.send(Work::Records(full, is_opening));
    }

    /// A tick came, and what is looked up after it was: from here on a recording can begin. So it does once a part of the
    /// time that is asked for has gone by, or much has come.
    pub fn tick(&mut self, model: &Model) {
        let now_ns = model.now_ns();
        let is_long = now_ns.saturating_sub(self.segment_since) >= self.segment_ns;
        let is_large = self.shared.newest_bytes.load(Ordering::Relaxed) >= MOST_BYTES / SEGMENTS;
        let is_none = self.held().since.is_none();
        if !is_long && !is_large && !is_none {
            return;
        }
        self.close_frame(false);
        self.segment_since = now_ns;
        self.send(Work::Begin((now_ns, model.wall_ns(now_ns))));
        model.opening(&mut |record| self.take(record, true));
        self.close_frame(true);
    }

    /// What is held, without what came since the last frame.
    pub fn held(&self) -> Held {
        let since = self.shared.since.load(Ordering::Relaxed);
        Held { since: (since > 0).then_some(since), bytes: self.shared.bytes.load(Ordering::Relaxed) }
    }

    /// A file is being written.
    pub const fn is_writing(&self) -> bool {
        self.writing
    }

    /// Writes all that is held, up to now, to an empty file, with a head like this one but for its start. Returns at once:
    /// [`Flight::done`] tells when it is written. To be asked for only while none is being written.
    pub fn write(&mut self, file: File, head: Head) {
        self.close_frame(false);
        self.writing = true;
        self.send(Work::Write(file, Box::new(head)));
    }

    /// What came of a file, once it is written.
    pub fn done(&mut self) -> Option<Done> {
        if !self.writing {
            return None;
        }
        let done = match self.done.try_recv() {
            Ok(done) => done,
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => Err(io::Error::other("the thread that writes is gone").into()),
        };
        self.writing = false;
        Some(done)
    }

    /// What came of a file that is being written, when it is.
    pub fn wait(&mut self) -> Option<Done> {
        if !self.writing {
            return None;
        }
        self.writing = false;
        let gone = |_| io::Error::other("the thread that writes is gone");
        Some(self.done.recv().map_err(gone).map_err(WriteError::Io).and_then(|done| done))
    }

    /// Why nothing is held any more; `Ok` while all goes well.
    ///
    /// # Errors
    /// When packing failed, which only a lack of memory brings about.
    pub fn check(&mut self) -> io::Result<()> {
        match &self.worker {
            Some(worker) if worker.is_finished() => {
                self.to_pack = None;
                match self.worker.take().map(JoinHandle::join) {
                    Some(Ok(Some(ended))) => ended,
                    Some(Err(panic)) => std::panic::resume_unwind(panic),
                    // One that did not begin was never handed out.
                    None | Some(Ok(None)) => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}

/// The thread that packs.
struct Packer {
    hold: Hold,
    shared: Arc<Shared>,
    done: SyncSender<Done>,
}

impl Packer {
    fn run(mut self, work: &Receiver<Work>, empty: &SyncSender<Buffer>) -> io::Result<()> {
        let mut writers: Option<JoinHandle<()>> = None;
        while let Ok(work) = work.recv() {
            match work {
                Work::Begin(start) => self.hold.begin(start),
                Work::Records(buffer, is_opening) => {
                    self.hold.take(&buffer, is_opening)?;
                    // There is room for all that there are.
                    let _ = empty.try_send(buffer);
                }
                Work::Write(file, head) => {
                    if let Some(before) = writers.take() {
                        // It has told already that it is done.
                        let _ = before.join();
                    }
                    match self.write(file, head) {
                        Ok(writer) => writers = Some(writer),
                        Err(error) => drop(self.done.send(Err(error.into()))),
                    }
                }
            }
            self.tell();
        }
        if let Some(writer) = writers {
            let _ = writer.join();
        }
        Ok(())
    }

    fn tell(&self) {
        self.shared.since.store(self.hold.since().unwrap_or(0), Ordering::Relaxed);
        self.shared.bytes.store(self.hold.bytes(), Ordering::Relaxed);
        self.shared.newest_bytes.store(self.hold.newest_bytes(), Ordering::Relaxed);
    }

    /// On a thread of its own, so that packing goes on.
    fn write(&mut self, file: File, mut head: Box<Head>) -> io::Result<JoinHandle<()>> {
        let Some(cut) = self.hold.cut()? else {
            return Err(io::Error::other("nothing is held: more came between two ticks than there is room for"));
        };
        (head.meta.start_ns, head.meta.start_wall_ns) = cut.start;
        let done = self.done.clone();
        thread::Builder::new().name("numatrace-write".into()).spawn(move || {
            // Somebody waits for an answer, whatever happens.
            let written = catch_unwind(AssertUnwindSafe(|| write(file, &head, cut)));
            let written = written.unwrap_or_else(|_| Err(io::Error::other("writing it went wrong").into()));
            // Nobody listens any more when the run was ended by force.
            let _ = done.send(written);
        })
    }
}

fn write(file: File, head: &Head, cut: Cut) -> Done {
    let mut file = FrameFile::begin(file, head)?;
    // Each frame is given back once it is in the file.
    for frame in cut.frames {
        file.append(&frame.fields, &frame.packed)?;
    }
    file.close(Reason::Cut)?;
    Ok(file.written())
}
