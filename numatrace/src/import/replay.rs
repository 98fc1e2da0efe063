//! Events of a perf.data file to a [`Kernel`], and from there to records.

use numatrace_common::abi::{Counters, Header, task_event};
use numatrace_common::cause::{Cause, Seen};
use numatrace_common::wait::phase;
use zerocopy::FromBytes;

use super::events::{Event, Has, What};
use crate::source::kernel::{Kernel, Leaves, MOST_TASKS, Move, Output};
use crate::units::TidMap;

/// `TASK_WAKING` and `TASK_ON_RQ_MIGRATING`, which the probes would have seen.
const TASK_WAKING: u32 = 0x200;
const ON_RQ_MIGRATING: u32 = 2;
/// Stands for a thread that has ended in samples.
pub(super) const GONE: u32 = u32::MAX;

/// Records that wait to be given out. None is ever lost here.
#[derive(Debug, Default)]
struct Out(Vec<u8>);

impl Output for Out {
    #[inline]
    fn emit(&mut self, counters: &mut Counters, _: u16, record: &[u8]) -> bool {
        counters.wanted = counters.wanted.saturating_add(1);
        counters.received = counters.received.saturating_add(1);
        self.0.extend_from_slice(record);
        true
    }

    fn tell(&mut self, record: &[u8]) {
        self.0.extend_from_slice(record);
    }

    fn drain(&mut self, _: &mut Counters) {}
}

/// A thread that was named, and had no event yet.
#[derive(Clone, Copy, Debug)]
struct Named {
    tgid: u32,
    comm: [u8; 16],
}

/// What is known of a CPU beside who is on it.
#[derive(Clone, Copy, Debug, Default)]
struct Cpu {
    /// Who is on it was told since events were lost last.
    known: bool,
    /// The thread whose wakeup began here, until anything else happens here; 0 for none.
    waking: u32,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Replay {
    kernel: Kernel<Out>,
    cpus: Vec<Cpu>,
    named: TidMap<Named>,
    refused: TidMap<()>,
    now: u64,
    start_ns: u64,
    interval_ns: u64,
    next_tick: Option<u64>,
    begin_at_waking: bool,
    /// Events that did not fit into perf's buffers: as told one after the other, and in all.
    lost: [u64; 2],
    pub(super) events: u64,
    pub(super) late: u64,
}

impl Replay {
    pub(super) fn new(start_ns: u64, start_wall_ns: u64, interval_ns: u64, has: Has) -> Replay {
        let interval_ns = interval_ns.max(1);
        Replay {
            kernel: Kernel::new(start_ns, start_wall_ns, Out::default()),
            cpus: Vec::new(),
            named: TidMap::default(),
            refused: TidMap::default(),
            now: start_ns,
            start_ns,
            interval_ns,
            next_tick: start_ns.checked_add(interval_ns),
            begin_at_waking: has.waking && !has.wakeup,
            lost: [0; 2],
            events: 0,
            late: 0,
        }
    }

    /// Bytes of records that wait.
    pub(super) const fn waiting(&self) -> usize {
        self.kernel.out.0.len()
    }

    /// Gives them out.
    pub(super) fn give(&mut self, sink: &mut dyn FnMut(&[u8])) {
        let mut bytes = self.kernel.out.0.as_slice();
        while let Ok((header, _)) = Header::read_from_prefix(bytes) {
            // Records that were written here are as long as they say.
            let Some((record, rest)) = bytes.split_at_checked(usize::from(header.size)) else { break };
            sink(record);
            bytes = rest;
        }
        self.kernel.out.0.clear();
    }

    /// Makes the tick that is due before an event of this time, if one is.
    pub(super) fn tick_before(&mut self, ts: u64) -> bool {
        let Some(tick) = self.next_tick.filter(|tick| *tick <= ts) else { return false };
        self.kernel.tick(tick, |_| {});
        self.now = self.now.max(tick);
        // In a time without events one more tick is enough, at its end.
        let after = tick.checked_add(self.interval_ns);
        let whole = ts.saturating_sub(self.start_ns) / self.interval_ns * self.interval_ns;
        let last = self.start_ns.saturating_add(whole);
        self.next_tick = after.map(|after| after.max(last));
        true
    }

    /// The tick at the end.
    pub(super) fn last_tick(&mut self) {
        self.kernel.tick(self.now, |_| {});
        self.next_tick = None;
    }

    /// Takes in an event.
    pub(super) fn take(&mut self, event: &Event) {
        if event.ts == 0 {
            return self.was_so(&event.what);
        }
        if event.ts < self.now {
            self.late = self.late.saturating_add(1);
        }
        self.now = self.now.max(event.ts);
        self.events = self.events.saturating_add(1);
        let (now, cpu) = (self.now, event.cpu);
        match event.what {
            What::Switch { prev, next, state, preempt } => {
                let tgid = if event.tid == prev { event.tgid } else { GONE };
                self.is_on(cpu, prev, tgid, false);
                self.see(next, GONE);
                self.cpu(cpu).waking = 0;
                self.kernel.switch(now, cpu, prev, next, Leaves { preempt, prev_state: state, state_now: state });
            }
            What::Waking { tid, cpu: queue } => {
                self.is_on(cpu, event.tid, event.tgid, true);
                self.see(tid, GONE);
                let by = if event.tid == GONE { self.kernel.current(cpu) } else { event.tid };
                if let Some(task) = self.kernel.task(tid) {
                    task.state.waking(by);
                }
                self.cpu(cpu).waking = tid;
                if self.begin_at_waking {
                    self.kernel.wakeup(now, tid, queue, false);
                }
            }
            What::Wakeup { tid, cpu: queue, new } => {
                self.is_on(cpu, event.tid, event.tgid, true);
                self.see(tid, GONE);
                self.kernel.wakeup(now, tid, queue, new);
            }
            What::Migrate { tid, from, to } => {
                self.is_on(cpu, event.tid, event.tgid, true);
                self.see(tid, GONE);
                self.migrate(now, cpu, tid, (from, to));
            }
            What::Fork { tid, tgid, parent } => self.fork(now, tid, tgid, parent),
            What::Comm { tid, tgid, comm, exec } => self.comm(now, cpu, (tid, tgid), comm, exec),
            What::Name { .. } => self.was_so(&event.what),
            What::Lost(events) => {
                self.lose(events.into(), 0);
                self.kernel.lose_track();
                self.cpus.iter_mut().for_each(|cpu| *cpu = Cpu::default());
            }
            What::LostInAll(events) => self.lose(0, events.into()),
        }
    }

    /// What was so before the first event.
    fn was_so(&mut self, what: &What) {
        let (tid, tgid, comm) = match *what {
            What::Comm { tid, tgid, comm, .. } => (tid, tgid, comm),
            What::Name { tid, comm } => (tid, 0, comm),
            What::Fork { tid, tgid, .. } => (tid, tgid, [0; 16]),
            What::LostInAll(events) => return self.lose(0, events.into()),
            // When is not known.
            What::Lost(events) => {
                if self.events > 0 {
                    self.kernel.lose_track();
                    self.cpus.iter_mut().for_each(|cpu| *cpu = Cpu::default());
                }
                return self.lose(events.into(), 0);
            }
            _ => return,
        };
        if let Some(task) = self.kernel.task(tid) {
            if task.comm == [0; 16] && comm != [0; 16] {
                self.kernel.named(self.now, tid, comm, task_event::RENAME);
            }
        } else if self.named.len() < MOST_TASKS || self.named.contains_key(&tid) {
            let named = self.named.entry(tid).or_insert(Named { tgid, comm });
            if comm != [0; 16] {
                named.comm = comm;
            }
            if tgid != 0 {
                named.tgid = tgid;
            }
        }
    }

    #[inline]
    fn cpu(&mut self, cpu: u16) -> &mut Cpu {
        let at = usize::from(cpu);
        if self.cpus.len() <= at {
            self.cpus.resize(at + 1, Cpu::default());
        }
        &mut self.cpus[at]
    }

    /// Tracks a thread from now on, where it is not tracked yet. The idle thread never is.
    #[inline]
    fn see(&mut self, tid: u32, tgid: u32) {
        if tid != 0 && tid != GONE && self.kernel.task(tid).is_none() {
            self.first_seen(tid, tgid);
        }
    }

    #[cold]
    fn first_seen(&mut self, tid: u32, tgid: u32) {
        let named = self.named.remove(&tid).unwrap_or(Named { tgid: 0, comm: [0; 16] });
        let tgid = match (named.tgid, tgid) {
            (0, 0 | GONE) => tid,
            (0, tgid) => tgid,
            (tgid, _) => tgid,
        };
        if self.kernel.create(tid, tgid, named.comm, 0).is_some() {
            self.kernel.tell_life(self.now, tid, task_event::SEEN);
        } else if self.refused.len() < MOST_TASKS {
            self.refused.insert(tid, ());
            self.kernel.counters.tasks_refused = self.refused.len() as u64;
        }
    }

    /// An event says that this thread is on this CPU. Where that was not known, its turn counts from now on, if it stays.
    #[inline]
    fn is_on(&mut self, cpu: u16, tid: u32, tgid: u32, stays: bool) {
        if tid == GONE || (self.kernel.current(cpu) == tid && self.cpu(cpu).known) {
            return;
        }
        self.comes_to_light(cpu, tid, tgid, stays);
    }

    #[cold]
    fn comes_to_light(&mut self, cpu: u16, tid: u32, tgid: u32, stays: bool) {
        self.see(tid, tgid);
        let (now, before) = (self.now, self.kernel.current(cpu));
        if before != tid {
            // One left, the other came, and no switch was seen.
            self.was_elsewhere(before);
            self.was_elsewhere(tid);
        }
        // Also where it was there before: how long is not known.
        self.kernel.takes_cpu(now, cpu, tid);
        *self.cpu(cpu) = Cpu { known: true, waking: 0 };
        if let Some(task) = self.kernel.task(tid).filter(|_| stays) {
            if before != tid && task.state.phase != phase::UNKNOWN {
                task.state.phase = phase::UNKNOWN;
                task.state.turn_blocked_ns = 0;
                task.state.resyncs = task.state.resyncs.wrapping_add(1);
            }
            task.state.seed(phase::RUNNING, now, cpu);
        }
    }

    /// Since when a thread that was last seen on a CPU is there no longer is not known.
    fn was_elsewhere(&mut self, tid: u32) {
        if let Some(task) = self.kernel.task(tid).filter(|task| task.state.phase == phase::RUNNING) {
            task.state.phase = phase::UNKNOWN;
            task.state.resyncs = task.state.resyncs.wrapping_add(1);
        }
    }

    fn migrate(&mut self, now: u64, by_cpu: u16, tid: u32, (from, to): (u16, u16)) {
        let by = self.kernel.current(by_cpu);
        let is_waking = std::mem::take(&mut self.cpu(by_cpu).waking) == tid;
        let by_stopper = self.kernel.task(by).is_some_and(|task| task.comm.starts_with(b"migration/"));
        let queued = self.kernel.task(tid).is_some_and(|task| task.state.phase == phase::QUEUED);
        let seen = Seen {
            state: if is_waking { TASK_WAKING } else { 0 },
            on_rq: if queued { ON_RQ_MIGRATING } else { 0 },
            by_stopper,
            numa: false,
            leaving_offline: false,
        };
        let cause = self.kernel.migrate(now, Move { tid, from, to, by, by_cpu, seen });
        // A wait that begins at sched_waking begins before its CPU is chosen.
        if cause == Some(Cause::Wakeup) && self.begin_at_waking {
            self.kernel.queued_on(tid, to);
        }
    }

    fn fork(&mut self, now: u64, tid: u32, tgid: u32, parent: u32) {
        if tid == 0 {
            return;
        }
        let comm = match self.kernel.task(parent) {
            Some(parent) => parent.comm,
            None => self.named.get(&parent).map_or([0; 16], |parent| parent.comm),
        };
        // An owner of the id before it ended unseen.
        self.kernel.remove(tid);
        self.named.remove(&tid);
        self.kernel.fork(now, (tid, tgid), comm, now);
        if self.kernel.task(tid).is_none() {
            self.first_seen(tid, tgid);
        }
    }

    fn comm(&mut self, now: u64, cpu: u16, (tid, tgid): (u32, u32), comm: [u8; 16], exec: bool) {
        let runs = self.kernel.current(cpu);
        if exec && tid == tgid && runs != tid {
            // A thread that was not the first of its process takes the id of the first.
            let is_of_it = self.kernel.task(runs).is_some_and(|task| task.state.tgid == tgid);
            if is_of_it {
                return self.kernel.exec(now, tid, comm, Some(runs));
            }
        }
        match self.kernel.task(tid) {
            Some(_) if exec => self.kernel.exec(now, tid, comm, None),
            Some(task) if task.comm != comm => self.kernel.named(now, tid, comm, task_event::RENAME),
            Some(_) => {}
            None => self.was_so(&What::Comm { tid, tgid, comm, exec }),
        }
    }

    /// Both numbers tell of the same events: the larger one counts.
    fn lose(&mut self, events: u64, in_all: u64) {
        let before = self.lost[0].max(self.lost[1]);
        self.lost = [self.lost[0].saturating_add(events), self.lost[1].saturating_add(in_all)];
        let more = self.lost[0].max(self.lost[1]) - before;
        let counters = &mut self.kernel.counters;
        counters.lost_ring_full = counters.lost_ring_full.saturating_add(more);
        counters.wanted = counters.wanted.saturating_add(more);
    }
}

#[cfg(test)]
mod tests;
