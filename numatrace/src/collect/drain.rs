//! Drain threads: one for each ring and its lanes, on their node, at real-time priority where the kernel allows it.
//!
//! They come on a timer, never on a wakeup for each record, copy what is there into buffers that go round between
//! them and the engine, and do nothing else. They run ahead of everything they trace, so their time is bounded:
//! after [`BUDGET`] of copying they sleep as long. What the engine has not taken yet is bounded too: beyond
//! its part of [`IN_FLIGHT`] a ring's records stay in the ring, where the kernel counts what no longer fits. While
//! little comes they sleep for as long as no lane can become full ([`longest_nap`]); the engine wakes them for a tick.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    lanes::Lane,
    rings::{self, Ring},
    system,
};
use crate::rights::{self, RightsError, Role};

/// Longest time a drain thread copies before it yields, and then the time it yields.
const BUDGET: Duration = Duration::from_millis(2);
/// Shortest sleep between two looks at a ring, and the longest of all: see [`longest_nap`].
const NAP: Duration = Duration::from_micros(500);
const LONGEST_NAP: Duration = Duration::from_millis(50);
/// The time of a turn when a CPU does nothing but switch: two threads that only wake each other take a little more.
const FASTEST_TURN: Duration = Duration::from_micros(1);
/// Bytes of a record in a ring, with the ring's own header: most are migrations and totals.
const RECORD: u64 = 100;
/// Bytes of all rings that may be on the way to the engine, and the least of one ring.
const IN_FLIGHT: (usize, usize) = (64 << 20, 2 << 20);
/// Records between two looks at the clock and the limits.
const BATCH: u64 = 1024;
/// Buffers are handed over when they reach this size, or when the ring is empty.
const CHUNK: usize = 1 << 20;
/// Buffers of a ring that wait to be used again; others are freed, else they would stay as many as they once were.
const SPARE: usize = 8;

/// Records of one ring and its lanes, whole and back to back, each padded to 8 bytes.
pub struct Chunk {
    /// Which ring.
    pub ring: usize,
    /// The records. Send it back through [`Drains::recycle`].
    pub bytes: Vec<u8>,
}

struct Shared {
    stop: AtomicBool,
    /// Bytes of one ring that may be on the way.
    most_in_flight: usize,
    in_flight: Vec<AtomicUsize>,
    /// How full the fullest ring or lane was found, in 1,024ths, since this was asked last.
    fullest: AtomicU64,
    /// For each ring: everything written before this moment (ns of `CLOCK_MONOTONIC`) has been handed over.
    seen: Vec<AtomicU64>,
}

/// All drain threads.
pub struct Drains {
    shared: Arc<Shared>,
    chunks: Receiver<Chunk>,
    spare: Vec<SyncSender<Vec<u8>>>,
    threads: Vec<JoinHandle<()>>,
    realtime: bool,
    records: Arc<AtomicU64>,
}

impl Drains {
    /// Starts a thread for each ring; each ring has `ring_bytes`.
    ///
    /// # Errors
    /// When a thread cannot be started, or cannot give up its rights.
    pub fn start(rings: Vec<Ring>, ring_bytes: u32) -> std::io::Result<Drains> {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            most_in_flight: (IN_FLIGHT.0 / rings.len().max(1)).max(IN_FLIGHT.1),
            in_flight: rings.iter().map(|_| AtomicUsize::new(0)).collect(),
            fullest: AtomicU64::new(0),
            seen: rings.iter().map(|_| AtomicU64::new(0)).collect(),
        });
        let records = Arc::new(AtomicU64::new(0));
        let (sender, chunks) = channel();
        let (ready, readiness) = channel::<Result<bool, RightsError>>();
        let mut drains = Drains { shared, chunks, spare: Vec::new(), threads: Vec::new(), realtime: true, records };
        for (index, mut ring) in rings.into_iter().enumerate() {
            let (give_back, spare) = sync_channel(SPARE);
            let worker = Worker {
                ring: index,
                shared: Arc::clone(&drains.shared),
                records: Arc::clone(&drains.records),
                out: sender.clone(),
                spare,
                buffer: Vec::new(),
                ring_bytes: u64::from(ring_bytes),
            };
            let ready = ready.clone();
            let home = mem::take(&mut ring.home);
            let thread = thread::Builder::new().name(format!("numatrace-drain{index}")).spawn(move || {
                rings::pin_current_thread(&home);
                system::block_signals();
                let realtime = system::become_realtime();
                let settled = rights::settle(Role::Drain);
                let go = settled.is_ok();
                // The receiver waits for exactly one message of each thread.
                let _ = ready.send(settled.map(|()| realtime));
                if go {
                    worker.run(ring);
                }
            })?;
            drains.spare.push(give_back);
            drains.threads.push(thread);
        }
        drop(ready);
        let mut realtime = true;
        for _ in &drains.threads {
            // A thread that ended without an answer was not granted anything.
            realtime &= readiness.recv().unwrap_or(Ok(false))?;
        }
        drains.realtime = realtime;
        Ok(drains)
    }

    /// Whether every drain thread got real-time priority.
    pub fn realtime(&self) -> bool {
        self.realtime
    }

    /// How full the fullest ring or lane was found since this was asked last, in 1,024ths.
    pub fn fullest(&self) -> u32 {
        self.shared.fullest.swap(0, Ordering::Relaxed).min(1024) as u32
    }

    /// Records taken from the rings so far.
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// The next chunk, if there is one.
    pub fn next(&self) -> Option<Chunk> {
        self.chunks.try_recv().ok()
    }

    /// Gives a chunk's buffer back for reuse.
    pub fn recycle(&self, mut chunk: Chunk) {
        self.shared.in_flight[chunk.ring].fetch_sub(chunk.bytes.len(), Ordering::Relaxed);
        chunk.bytes.clear();
        // A thread that has enough or has ended needs no buffer.
        let _ = self.spare[chunk.ring].try_send(chunk.bytes);
    }

    /// Wakes the threads for a look at their rings, however long they meant to sleep.
    pub fn look(&self) {
        self.threads.iter().for_each(|thread| thread.thread().unpark());
    }

    /// Every record with a timestamp before this has been handed over as a chunk (ns of `CLOCK_MONOTONIC`).
    pub fn seen_until(&self) -> u64 {
        self.shared.seen.iter().map(|seen| seen.load(Ordering::Acquire)).min().unwrap_or(0)
    }

    /// Empties the rings once more and ends the threads. The chunks can still be taken with [`Drains::next`].
    pub fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

impl Drop for Drains {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

struct Worker {
    ring: usize,
    shared: Arc<Shared>,
    records: Arc<AtomicU64>,
    out: Sender<Chunk>,
    spare: Receiver<Vec<u8>>,
    buffer: Vec<u8>,
    ring_bytes: u64,
}

/// What one look at a ring and its lanes found.
#[derive(Clone, Copy, Default)]
struct Look {
    records: u64,
    /// How full the fullest was, in 1,024ths.
    fullness: u64,
    /// Something may be left.
    more: bool,
}

impl Worker {
    fn run(mut self, mut ring: Ring) {
        let (mut nap, longest) = (NAP, longest_nap(&ring));
        loop {
            // Read before the last look at the ring, so that nothing written before the stop is left behind.
            let stopping = self.shared.stop.load(Ordering::Acquire);
            let started = system::monotonic_ns();
            let found = self.drain(&mut ring, stopping);
            self.shared.fullest.fetch_max(found.fullness, Ordering::Relaxed);
            if !found.more {
                self.shared.seen[self.ring].store(started, Ordering::Release);
            }
            if stopping {
                return;
            }
            // Rarely enough to leave the CPUs alone, often enough that no more than a quarter of a ring is ever full.
            nap = if found.more {
                BUDGET
            } else if found.fullness > 1024 / 4 {
                nap / 2
            } else if found.fullness < 1024 / 16 {
                nap * 2
            } else {
                nap
            };
            nap = nap.clamp(NAP, longest);
            thread::park_timeout(nap);
        }
    }

    /// Copies what is in the ring and its lanes, until nothing is left, or time or room is used up.
    fn drain(&mut self, ring: &mut Ring, stopping: bool) -> Look {
        let started = Instant::now();
        let fullest = ring.lanes.iter().map(Lane::fullness).max().unwrap_or(0);
        let mut found = Look { fullness: fullest, ..Look::default() };
        let mut of_ring = 0;
        loop {
            // First, for an engine that gets no CPU must not make this grow with each look.
            if !stopping && self.is_full() {
                found.more = true;
                break;
            }
            // The clock and the limits are looked at once for each batch.
            let of_lanes = ring.lanes.iter_mut().map(|lane| lane.take(BATCH, &mut self.buffer));
            let (sum, most) = of_lanes.fold((0, 0), |(sum, most), taken| (sum + taken, most.max(taken)));
            let taken = self.copy_ring(ring);
            of_ring += taken;
            found.records += sum + taken;
            found.more = most.max(taken) == BATCH;
            if self.buffer.len() >= CHUNK {
                self.hand_over();
            }
            if !found.more || !stopping && started.elapsed() > BUDGET {
                break;
            }
        }
        found.fullness = found.fullness.max(of_ring * RECORD * 1024 / self.ring_bytes);
        self.records.fetch_add(found.records, Ordering::Relaxed);
        self.hand_over();
        found
    }

    /// The engine has to take chunks before there can be more.
    fn is_full(&self) -> bool {
        self.shared.in_flight[self.ring].load(Ordering::Relaxed) > self.shared.most_in_flight
    }

    /// Copies at most [`BATCH`] records of the ring.
    fn copy_ring(&mut self, ring: &mut Ring) -> u64 {
        for copied in 0..BATCH {
            let Some(record) = ring.buffer.next() else { return copied };
            self.buffer.extend_from_slice(&record);
            let padding = record.len().next_multiple_of(8) - record.len();
            self.buffer.extend_from_slice(&[0; 8][..padding]);
        }
        BATCH
    }

    fn hand_over(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let next = self.spare.try_recv().unwrap_or_default();
        let bytes = mem::replace(&mut self.buffer, next);
        self.shared.in_flight[self.ring].fetch_add(bytes.len(), Ordering::Relaxed);
        // The engine that receives outlives the threads, or is gone with all interest in records.
        let _ = self.out.send(Chunk { ring: self.ring, bytes });
    }
}

/// How long a ring can be left alone when nothing came for a while: its shortest lane is not full after that, even if
/// its CPU begins to do nothing but switch.
fn longest_nap(ring: &Ring) -> Duration {
    nap_of(ring.lanes.iter().map(Lane::slots).min().unwrap_or(0))
}

fn nap_of(slots: u64) -> Duration {
    let fills = FASTEST_TURN * u32::try_from(slots).unwrap_or(u32::MAX);
    // The rest is for a timer that comes late.
    (fills * 3 / 4).clamp(NAP, LONGEST_NAP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::lanes;

    #[test]
    fn no_lane_fills_up_while_its_drain_thread_sleeps() {
        for bytes in [64 << 10, 4 << 20, 32 << 20, 1 << 30] {
            for cpus in 1..=16 {
                let slots = lanes::slots(bytes, cpus);
                assert!(nap_of(u64::from(slots)) < FASTEST_TURN * slots, "{bytes} bytes, {cpus} CPUs");
            }
        }
    }
}
