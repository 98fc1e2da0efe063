//! Threads: who they are, their waits and migrations, and what they were doing when the recording ended.
//!
//! A thread costs about 250 bytes here, and there are at most [`MOST`]; of further ones the turns are told, and nothing else.

use numatrace_common::abi::{Task, Totals};

use super::packets::{Packets, sequence, time};
use super::schema::{Process, ProcessTree, Thread, TracePacket};
use super::tracks::{describe_thread, push_description, track};
use crate::units::TidMap;

/// Threads that are known at once.
const MOST: usize = 131_072;

/// What is known of a thread.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// Number of this life of the id: each has a track of its own.
    pub(super) life: u64,
    pub(super) tgid: u32,
    /// It was made while recorded and has not run yet: Perfetto counts it as runnable from then on.
    pub(super) made: bool,
    /// It has a track.
    described: bool,
    /// End and number of its newest turn; 0 before the first.
    pub(super) last_end: u64,
    pub(super) last_seq: u32,
    pub(super) last_cpu: u16,
    /// Beginning and end of the newest wait that was told: slices of a track must not overlap.
    pub(super) waited: (u64, u64),
    /// Ties its next turn to the turn before and the migrations since; 0 for none.
    pub(super) flow: u64,
    /// What it does since then, and at which tick that was told.
    pub(super) open: Option<(Box<Totals>, u64)>,
}

impl Known {
    /// Its track.
    pub(super) const fn track(&self) -> u64 {
        track::thread(self.life)
    }

    /// When a wait begins on the track. Waits of a thread do not overlap, and one that a record told late comes before the
    /// newest; what a file says that somebody made up is cut.
    pub(super) fn wait_begins(&self, (began, ended): (u64, u64)) -> u64 {
        if ended <= self.waited.0 { began } else { began.max(self.waited.1) }
    }

    /// Whether this turn is newer than all that are known.
    pub(super) fn is_newer(&self, seq: u32) -> bool {
        self.last_seq == 0 || (seq.wrapping_sub(self.last_seq) as i32) > 0
    }
}

/// All of them.
#[derive(Default)]
pub(super) struct Threads {
    known: TidMap<Known>,
    /// How many of each process live.
    alive: TidMap<u32>,
    lives: u64,
    /// Threads for which there was no place.
    pub(super) refused: u64,
}

impl Threads {
    /// The thread that has this id; made where it was not known, and then Perfetto is told of it.
    pub(super) fn get(
        &mut self,
        (tid, tgid): (u32, u32),
        ts: u64,
        comm: &str,
        packets: &mut Packets<'_>,
    ) -> Option<&mut Known> {
        if !self.known.contains_key(&tid) && self.meet(tid, tgid).is_some() {
            name(ts, tid, tgid, comm, packets);
        }
        self.known.get_mut(&tid)
    }

    /// The thread that a record of lives tells of; made where it was not known.
    pub(super) fn meet(&mut self, tid: u32, tgid: u32) -> Option<&mut Known> {
        if !self.known.contains_key(&tid) {
            if self.known.len() >= MOST {
                self.refused = self.refused.saturating_add(1);
                return None;
            }
            self.lives += 1;
            self.known.insert(tid, Known { life: self.lives, tgid, ..Known::default() });
            *self.alive.entry(tgid).or_default() += 1;
        }
        let before = self.known.get(&tid)?.tgid;
        if before != tgid {
            self.left(before);
            *self.alive.entry(tgid).or_default() += 1;
        }
        let known = self.known.get_mut(&tid)?;
        known.tgid = tgid;
        Some(known)
    }

    /// The same of one that is known.
    pub(super) fn known(&mut self, tid: u32) -> Option<&mut Known> {
        self.known.get_mut(&tid)
    }

    /// It is no more.
    pub(super) fn remove(&mut self, tid: u32) -> Option<Known> {
        let gone = self.known.remove(&tid)?;
        self.left(gone.tgid);
        Some(gone)
    }

    fn left(&mut self, tgid: u32) {
        if let Some(alive) = self.alive.get_mut(&tgid) {
            *alive = alive.saturating_sub(1);
            if *alive == 0 {
                self.alive.remove(&tgid);
            }
        }
    }

    /// Threads of this process live.
    pub(super) fn has_others(&self, tgid: u32) -> bool {
        self.alive.contains_key(&tgid)
    }

    /// How many there were.
    pub(super) const fn lives(&self) -> u64 {
        self.lives
    }

    /// Those that are left, in order of id.
    pub(super) fn take(&mut self) -> Vec<(u32, Known)> {
        let mut all: Vec<(u32, Known)> = std::mem::take(&mut self.known).into_iter().collect();
        all.sort_unstable_by_key(|(tid, _)| *tid);
        all
    }
}

/// Describes the track of a thread before something is put on it.
pub(super) fn with_track(tid: u32, known: &mut Known, packets: &mut Packets<'_>) -> u64 {
    if !known.described {
        known.described = true;
        push_description(describe_thread(known.track(), tid, known.tgid), packets);
    }
    known.track()
}

/// Tells of a thread that was born, seen or renamed at `ts`.
pub(super) fn name_task(ts: u64, task: &Task, comm: &str, packets: &mut Packets<'_>) {
    name(ts, task.tid, task.tgid, comm, packets);
}

/// Parents are left out: they are not known of all lives, and Perfetto takes a process with another parent than before for
/// another process.
fn name(ts: u64, tid: u32, tgid: u32, comm: &str, packets: &mut Packets<'_>) {
    let name = (!comm.is_empty()).then(|| comm.to_owned());
    // A process is called as its first thread. Of a command line in one piece Perfetto takes what stands before the first
    // space, so a name with a space gets a second piece.
    let spaced = comm.contains(' ');
    let process = (tid == tgid).then(|| Process {
        pid: Some(tgid as i32),
        ppid: None,
        cmdline: name.iter().cloned().chain(spaced.then(String::new)).collect(),
        cmdline_is_comm: Some(!spaced),
    });
    let thread = Thread { tid: Some(tid as i32), name, tgid: Some(tgid as i32) };
    let tree = ProcessTree { processes: process.into_iter().collect(), threads: vec![thread] };
    packets.push(&TracePacket {
        timestamp: time(ts),
        trusted_packet_sequence_id: Some(sequence::SCHED),
        process_tree: Some(tree),
        ..TracePacket::default()
    });
}
