//! The kernel side of a script: what its events are to [`Kernel`](super::super::kernel::Kernel), and rings that can be full,
//! stalled or out of order.

use numatrace_common::abi::{Counters, Task, task_event};
use numatrace_common::cause::Seen;
use numatrace_common::wait::phase;
use zerocopy::IntoBytes;

use super::{Doing, KernelEvent, ScriptError, Setup};
use crate::merge::Merger;
use crate::source::kernel::{self, ITERATOR_CPU, Leaves, Move, Output};

#[derive(Debug, Default)]
struct Ring {
    bytes: Vec<u8>,
    /// Where each record begins.
    starts: Vec<usize>,
    stalled: bool,
}

/// The rings of a machine, and who drains them.
#[derive(Debug)]
struct Rings {
    setup: Setup,
    rings: Vec<Ring>,
    /// Records that the rings take before they refuse `lose`.
    skip: u32,
    lose: u32,
    merger: Merger,
}

impl Output for Rings {
    fn emit(&mut self, counters: &mut Counters, cpu: u16, record: &[u8]) -> bool {
        counters.wanted += 1;
        let Some(ring) = self.setup.rings.iter().position(|cpus| cpus.contains(&cpu)) else {
            counters.lost_no_ring += 1;
            return false;
        };
        let room = self.setup.ring_bytes.unwrap_or(usize::MAX);
        let fits = self.rings[ring].bytes.len() + record.len() <= room;
        let refused = self.skip == 0 && self.lose > 0;
        if refused {
            self.lose -= 1;
        }
        self.skip = self.skip.saturating_sub(1);
        if refused || !fits {
            counters.lost_ring_full += 1;
            return false;
        }
        self.rings[ring].push(record);
        true
    }

    fn tell(&mut self, record: &[u8]) {
        self.merger.push(self.rings.len(), record);
    }

    fn drain(&mut self, counters: &mut Counters) {
        for (number, ring) in self.rings.iter_mut().enumerate().filter(|(_, ring)| !ring.stalled) {
            counters.received += ring.starts.len() as u64;
            self.merger.push(number, &ring.bytes);
            ring.bytes.clear();
            ring.starts.clear();
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Kernel {
    start_ns: u64,
    inner: kernel::Kernel<Rings>,
}

impl Kernel {
    pub(super) fn new(setup: Setup) -> Kernel {
        let rings = setup.rings.len();
        let (start_ns, start_wall_ns) = (setup.start_ns, setup.start_wall_ns);
        let out = Rings {
            rings: (0..rings).map(|_| Ring::default()).collect(),
            skip: 0,
            lose: 0,
            // One more for the records that user space makes: at equal times they come last.
            merger: Merger::new(rings + 1, 0, usize::MAX),
            setup,
        };
        Kernel { start_ns, inner: kernel::Kernel::new(start_ns, start_wall_ns, out) }
    }

    pub(super) const fn merger(&self) -> &Merger {
        &self.inner.out.merger
    }

    /// One event.
    pub(super) fn run(&mut self, event: &KernelEvent) -> Result<(), ScriptError> {
        use KernelEvent as E;
        let at = event.at();
        let now = self.start_ns.saturating_add(at);
        let kernel = &mut self.inner;
        match event {
            E::Attach { .. } => self.attach(now, event),
            E::Fork { parent, tid, tgid, comm, start, .. } => {
                let Some(parent) = kernel.task(*parent) else { return Ok(()) };
                let tgid = tgid.unwrap_or(parent.state.tgid);
                let comm = comm.as_ref().map_or(parent.comm, super::Comm::bytes);
                kernel.fork(now, (*tid, tgid), comm, start.unwrap_or(now));
            }
            E::Waking { tid, by, .. } => {
                if let Some(task) = kernel.task(*tid) {
                    task.state.waking(*by);
                }
            }
            E::Wakeup { tid, cpu, .. } => kernel.wakeup(now, *tid, *cpu, false),
            E::WakeupNew { tid, cpu, .. } => kernel.wakeup(now, *tid, *cpu, true),
            E::Switch { cpu, prev, next, prev_state, state_now, preempt, .. } => {
                let runs = kernel.current(*cpu);
                if runs != *prev {
                    return Err(ScriptError::NotThere { at, cpu: *cpu, prev: *prev, runs });
                }
                let state_now = state_now.unwrap_or(*prev_state);
                let leaves = Leaves { preempt: *preempt, prev_state: *prev_state, state_now };
                kernel.switch(now, *cpu, *prev, *next, leaves);
            }
            E::Keep { every, .. } => kernel.keep_one_in(now, *every),
            E::Stop { cpu, stopped, .. } => kernel.stop(now, *cpu, *stopped),
            E::MoveNuma { tid, .. } => {
                if let Some(task) = kernel.task(*tid) {
                    task.state.numa_pending = 1;
                }
            }
            E::Migrate { tid, from, to, state, on_rq, by, by_cpu, stopper, offline, .. } => {
                let seen =
                    Seen { state: *state, on_rq: *on_rq, by_stopper: *stopper, numa: false, leaving_offline: *offline };
                kernel.migrate(now, Move { tid: *tid, from: *from, to: *to, by: *by, by_cpu: *by_cpu, seen });
            }
            E::Exec { tid, comm, old_tid, .. } => kernel.exec(now, *tid, comm.bytes(), *old_tid),
            E::Rename { tid, comm, .. } => kernel.named(now, *tid, comm.bytes(), task_event::RENAME),
            E::Untrack { tid, .. } => kernel.untrack(now, *tid),
            E::Name { tid, comm, .. } => self.name(now, *tid, comm.bytes()),
            E::Tick { totals, .. } => kernel.tick(now, |out| {
                if !totals {
                    (out.skip, out.lose) = (0, 1);
                }
            }),
            E::Lose { records, skip, .. } => (kernel.out.skip, kernel.out.lose) = (*skip, *records),
            E::Stall { ring, stalled, .. } => self.ring(at, *ring)?.stalled = *stalled,
            E::Swap { ring, .. } => self.ring(at, *ring)?.swap_last_two(),
            E::Garbage { ring, bytes, .. } => self.ring(at, *ring)?.push(bytes),
        }
        Ok(())
    }

    /// Gives out everything up to the tick at `at`.
    pub(super) fn deliver(&mut self, at: u64, sink: &mut dyn FnMut(&[u8])) {
        self.inner.out.merger.drain_until(self.start_ns.saturating_add(at), sink);
    }

    /// Gives out everything, from stalled rings too.
    pub(super) fn finish(&mut self, sink: &mut dyn FnMut(&[u8])) {
        let kernel::Kernel { out, counters, .. } = &mut self.inner;
        out.rings.iter_mut().for_each(|ring| ring.stalled = false);
        out.drain(counters);
        out.merger.flush(sink);
    }

    fn attach(&mut self, now: u64, event: &KernelEvent) {
        let KernelEvent::Attach { tid, tgid, comm, state, cpu, queued_for, start, .. } = event else { return };
        let (phase, since) = match state {
            Doing::Running => (phase::RUNNING, now),
            Doing::Queued => (phase::QUEUED, now.saturating_sub(*queued_for)),
            Doing::Blocked => (phase::BLOCKED, now),
        };
        let comm = comm.as_ref().map_or([0; 16], super::Comm::bytes);
        let start = start.unwrap_or_else(|| u64::from(*tid));
        if let Some(task) = self.inner.create(*tid, tgid.unwrap_or(*tid), comm, start) {
            task.state.seed(phase, since, *cpu);
        }
        if *state == Doing::Running {
            self.inner.takes_cpu(now, *cpu, *tid);
        }
        self.inner.tell_life(now, *tid, task_event::SEEN);
        self.inner.tell_totals(now, *tid, ITERATOR_CPU);
    }

    fn name(&mut self, now: u64, tid: u32, comm: [u8; 16]) {
        let header = Task::header(now, 0, 0);
        let record = Task { header, tid, event: task_event::NAME, comm, ..Task::default() };
        self.inner.out.tell(record.as_bytes());
    }

    fn ring(&mut self, at: u64, ring: usize) -> Result<&mut Ring, ScriptError> {
        self.inner.out.rings.get_mut(ring).ok_or(ScriptError::NoRing { at, ring })
    }
}

impl Ring {
    fn push(&mut self, record: &[u8]) {
        self.starts.push(self.bytes.len());
        self.bytes.extend_from_slice(record);
    }

    fn swap_last_two(&mut self) {
        if let [.., first, second] = self.starts.as_mut_slice()
            && let Some(both) = self.bytes.get_mut(*first..)
        {
            let first_len = *second - *first;
            both.rotate_left(first_len);
            *second = *first + (both.len() - first_len);
        }
    }
}
