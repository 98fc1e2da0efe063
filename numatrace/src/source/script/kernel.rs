//! The kernel side of a script: tracked threads, CPUs, rings, counters. Mirrors `numatrace-ebpf`, hook by hook.

use std::collections::BTreeMap;

use numatrace_common::abi::{Counters, Migrate, NO_TID, Slice, Task, Tick, slice_flags, task_event};
use numatrace_common::cause::{Seen, classify};
use numatrace_common::wait::{Stopped, SwitchIn, SwitchOut, TASK_DEAD, TaskState, Wakeup, phase};
use zerocopy::{Immutable, IntoBytes};

use super::{Doing, KernelEvent, ScriptError, Setup};
use crate::merge::Merger;

/// The task iterator runs on this CPU.
const ITERATOR_CPU: u16 = 0;

/// A tracked thread.
#[derive(Debug)]
struct Tracked {
    state: TaskState,
    start_ns: u64,
    comm: [u8; 16],
}

/// Who is on a CPU since when.
#[derive(Clone, Copy, Debug, Default)]
struct Current {
    tid: u32,
    since: u64,
}

/// For how long a CPU quota has stopped the queues of a CPU.
#[derive(Clone, Copy, Debug, Default)]
struct Stops {
    sum_ns: u64,
    since: Option<u64>,
}

#[derive(Debug, Default)]
struct Ring {
    bytes: Vec<u8>,
    /// Where each record begins.
    starts: Vec<usize>,
    stalled: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Kernel {
    setup: Setup,
    tasks: BTreeMap<u32, Tracked>,
    cpus: BTreeMap<u16, Current>,
    stops: BTreeMap<u16, Stops>,
    rings: Vec<Ring>,
    counters: Counters,
    /// Records that the rings take before they refuse `lose`.
    skip: u32,
    lose: u32,
    pub(super) merger: Merger,
}

impl Kernel {
    pub(super) fn new(setup: Setup) -> Kernel {
        let rings = setup.rings.len();
        Kernel {
            tasks: BTreeMap::new(),
            cpus: BTreeMap::new(),
            stops: BTreeMap::new(),
            rings: (0..rings).map(|_| Ring::default()).collect(),
            counters: Counters::default(),
            skip: 0,
            lose: 0,
            // One more for the records that user space makes: at equal times they come last.
            merger: Merger::new(rings + 1, 0, usize::MAX),
            setup,
        }
    }

    /// One event.
    pub(super) fn run(&mut self, event: &KernelEvent) -> Result<(), ScriptError> {
        use KernelEvent as E;
        let at = event.at();
        let now = self.setup.start_ns.saturating_add(at);
        match event {
            E::Attach { .. } => self.attach(now, event),
            E::Fork { parent, tid, tgid, comm, start, .. } => {
                self.fork(now, *parent, (*tid, *tgid), comm.as_ref().map(super::Comm::bytes), *start);
            }
            E::Waking { tid, by, .. } => self.with(*tid, |task| task.state.waking(*by)),
            E::Wakeup { tid, cpu, .. } => self.wakeup(now, *tid, *cpu, false),
            E::WakeupNew { tid, cpu, .. } => self.wakeup(now, *tid, *cpu, true),
            E::Switch { cpu, prev, next, prev_state, state_now, preempt, .. } => {
                let runs = self.current(*cpu).tid;
                if runs != *prev {
                    return Err(ScriptError::NotThere { at, cpu: *cpu, prev: *prev, runs });
                }
                let state_now = state_now.unwrap_or(*prev_state);
                let how = SwitchOut {
                    preempt: *preempt,
                    prev_state: *prev_state,
                    state_now,
                    next: *next,
                    next_own: self.is_own(*prev, *next),
                    stopped: self.stopped(now, *cpu),
                    voluntary: !*preempt && *prev_state != 0,
                };
                self.switch(now, *cpu, *prev, *next, how);
            }
            E::Stop { cpu, stopped, .. } => self.stop(now, *cpu, *stopped),
            E::MoveNuma { tid, .. } => self.with(*tid, |task| task.state.numa_pending = 1),
            E::Migrate { .. } => self.migrate(now, event),
            E::Exec { tid, comm, old_tid, .. } => self.exec(now, *tid, comm.bytes(), *old_tid),
            E::Rename { tid, comm, .. } => {
                self.with(*tid, |task| task.comm = comm.bytes());
                self.tell_life(now, *tid, task_event::RENAME);
            }
            E::Untrack { tid, .. } => self.untrack(now, *tid),
            E::Name { tid, comm, .. } => self.name(now, *tid, comm.bytes()),
            E::Tick { totals, .. } => self.tick(now, *totals),
            E::Lose { records, skip, .. } => (self.skip, self.lose) = (*skip, *records),
            E::Stall { ring, stalled, .. } => self.ring(at, *ring)?.stalled = *stalled,
            E::Swap { ring, .. } => self.ring(at, *ring)?.swap_last_two(),
            E::Garbage { ring, bytes, .. } => self.ring(at, *ring)?.push(bytes),
        }
        Ok(())
    }

    /// Gives out everything up to the tick at `at`.
    pub(super) fn deliver(&mut self, at: u64, sink: &mut dyn FnMut(&[u8])) {
        self.merger.drain_until(self.setup.start_ns.saturating_add(at), sink);
    }

    /// Gives out everything, from stalled rings too.
    pub(super) fn finish(&mut self, sink: &mut dyn FnMut(&[u8])) {
        self.rings.iter_mut().for_each(|ring| ring.stalled = false);
        self.drain();
        self.merger.flush(sink);
    }

    fn with(&mut self, tid: u32, change: impl FnOnce(&mut Tracked)) {
        if let Some(task) = self.tasks.get_mut(&tid) {
            change(task);
        }
    }

    fn current(&self, cpu: u16) -> Current {
        self.cpus.get(&cpu).copied().unwrap_or(Current { tid: 0, since: self.setup.start_ns })
    }

    /// The CPU that this thread is on.
    fn cpu_of(&self, tid: u32) -> Option<u16> {
        self.cpus.iter().find(|(_, current)| current.tid == tid).map(|(cpu, _)| *cpu)
    }

    fn create(&mut self, tid: u32, tgid: u32, comm: [u8; 16], start_ns: u64) -> &mut Tracked {
        let state = TaskState { tid, tgid, ..TaskState::EMPTY };
        self.tasks.entry(tid).insert_entry(Tracked { state, start_ns, comm }).into_mut()
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
        self.create(*tid, tgid.unwrap_or(*tid), comm, start).state.seed(phase, since, *cpu);
        if *state == Doing::Running {
            self.cpus.insert(*cpu, Current { tid: *tid, since: now });
        }
        self.tell_life(now, *tid, task_event::SEEN);
        self.tell_totals(now, *tid, ITERATOR_CPU);
    }

    fn fork(&mut self, now: u64, parent: u32, ids: (u32, Option<u32>), comm: Option<[u8; 16]>, start: Option<u64>) {
        let Some(parent) = self.tasks.get(&parent) else { return };
        let (tgid, comm) = (ids.1.unwrap_or(parent.state.tgid), comm.unwrap_or(parent.comm));
        self.create(ids.0, tgid, comm, start.unwrap_or(now)).state.seed(phase::BLOCKED, now, 0);
        self.tell_life(now, ids.0, task_event::NEW);
    }

    fn wakeup(&mut self, now: u64, tid: u32, cpu: u16, new: bool) {
        let (on_cpu, holder) = (self.cpu_of(tid).is_some(), self.current(cpu).tid);
        let how = Wakeup { new, cpu, holder, holder_own: self.is_own(tid, holder), stopped: self.stopped(now, cpu) };
        self.with(tid, |task| task.state.wakeup(now, on_cpu, how));
    }

    /// Both are threads of one process.
    fn is_own(&self, tid: u32, other: u32) -> bool {
        let tgid = |tid: u32| self.tasks.get(&tid).map(|task| task.state.tgid);
        tgid(tid).is_some_and(|mine| tgid(other) == Some(mine))
    }

    fn stop(&mut self, now: u64, cpu: u16, stopped: bool) {
        let stops = self.stops.entry(cpu).or_default();
        if let Some(since) = stops.since.take() {
            stops.sum_ns += now.saturating_sub(since);
        }
        stops.since = stopped.then_some(now);
    }

    /// The queue of all threads on this CPU, where a quota ever stopped it.
    fn stopped(&self, now: u64, cpu: u16) -> Stopped {
        let Some(stops) = self.stops.get(&cpu) else { return Stopped::NOT };
        let open = stops.since.map_or(0, |since| now.saturating_sub(since));
        Stopped { queue: u64::from(cpu) + 1, ns: stops.sum_ns + open }
    }

    /// The queue on which this thread waits.
    fn stopped_where(&self, now: u64, tid: u32) -> Stopped {
        let queue = self.tasks.get(&tid).map_or(0, |task| task.state.stopped_queue);
        match u16::try_from(queue) {
            Ok(queue @ 1..) => self.stopped(now, queue - 1),
            _ => Stopped::NOT,
        }
    }

    /// `prev` leaves, then `next` enters, at one moment.
    fn switch(&mut self, now: u64, cpu: u16, prev: u32, next: u32, how: SwitchOut) {
        let mut ran = now.saturating_sub(self.current(cpu).since);
        if let Some(slice) = self.tasks.get_mut(&prev).and_then(|task| task.state.switch_out(now, cpu, how)) {
            ran = slice.slice_ns;
            self.turn_ended(cpu, slice);
        }
        self.cpus.insert(cpu, Current { tid: next, since: now });
        if how.dead() {
            self.tell_totals(now, prev, cpu);
            self.tell_life_on(now, prev, task_event::EXIT, cpu);
            self.tasks.remove(&prev);
        }
        let units = u32::try_from(ran >> 10).unwrap_or(u32::MAX);
        let (prev_own, stopped) = (self.is_own(next, prev), self.stopped_where(now, next));
        self.with(next, |task| {
            task.state.switch_in(now, cpu, SwitchIn { prev, prev_ran: units, prev_own, stopped });
        });
    }

    fn turn_ended(&mut self, cpu: u16, slice: Slice) {
        self.counters.slices += 1;
        if slice.flags & slice_flags::WAIT_MASK != slice_flags::WAIT_NONE {
            self.counters.waits += 1;
            self.counters.wait_ns += slice.wait_ns;
        }
        if !self.emit(cpu, &slice) {
            self.with(slice.tid, |task| task.state.lost += 1);
        }
    }

    fn migrate(&mut self, now: u64, event: &KernelEvent) {
        let KernelEvent::Migrate { tid, from, to, state, on_rq, by, by_cpu, stopper, offline, .. } = event else {
            return;
        };
        let queues = (self.stopped_where(now, *tid), self.stopped(now, *to));
        let Some(task) = self.tasks.get_mut(tid) else { return };
        if from == to {
            return;
        }
        let cause = classify(Seen {
            state: *state,
            on_rq: *on_rq,
            by_stopper: *stopper,
            numa: task.state.numa_pending != 0,
            leaving_offline: *offline,
        });
        task.state.numa_pending = 0;
        if task.state.phase == phase::QUEUED {
            task.state.moves_queue(queues.0, queues.1);
        }
        task.state.migrations = task.state.migrations.wrapping_add(1);
        let record = Migrate {
            header: Migrate::header(now, *from, *to),
            tid: *tid,
            tgid: task.state.tgid,
            by: *by,
            seq: task.state.migrations,
            cause: cause as u16,
            by_cpu: *by_cpu,
            reserved: 0,
        };
        if !self.emit(*by_cpu, &record) {
            self.with(*tid, |task| task.state.lost += 1);
        }
    }

    fn exec(&mut self, now: u64, tid: u32, comm: [u8; 16], old_tid: Option<u32>) {
        if let Some(mut task) = old_tid.and_then(|old| self.tasks.remove(&old)) {
            let old = task.state.tid;
            let cpu = self.cpu_of(old).unwrap_or(ITERATOR_CPU);
            let how = SwitchOut {
                preempt: false,
                prev_state: TASK_DEAD,
                state_now: TASK_DEAD,
                next: NO_TID,
                next_own: false,
                stopped: Stopped::NOT,
                voluntary: true,
            };
            if let Some(slice) = task.state.switch_out(now, cpu, how) {
                self.emit(cpu, &slice);
            }
            // It did not switch: only its id did.
            task.state.voluntary = task.state.voluntary.wrapping_sub(1);
            self.emit(cpu, &task.state.totals(now));
            if task.state.was_throttled(Stopped::NOT) {
                self.emit(cpu, &task.state.throttled(now, Stopped::NOT));
            }
            self.emit(cpu, &life(&task, task_event::EXIT, now, cpu));
            task.state = TaskState { tid, tgid: task.state.tgid, ..TaskState::EMPTY };
            task.state.seed(phase::RUNNING, now, cpu);
            self.tasks.insert(tid, task);
            self.cpus.insert(cpu, Current { tid, since: self.current(cpu).since });
        }
        self.with(tid, |task| task.comm = comm);
        self.tell_life(now, tid, task_event::EXEC);
    }

    fn untrack(&mut self, now: u64, tid: u32) {
        self.tell_totals(now, tid, ITERATOR_CPU);
        self.tell_life_on(now, tid, task_event::UNTRACKED, ITERATOR_CPU);
        self.tasks.remove(&tid);
    }

    fn name(&mut self, now: u64, tid: u32, comm: [u8; 16]) {
        let header = Task::header(now, 0, 0);
        let record = Task { header, tid, event: task_event::NAME, comm, ..Task::default() };
        self.merger.push(self.rings.len(), record.as_bytes());
    }

    /// As the iterator does it: threads that changed, or run or wait now. Rings are drained before and after.
    fn tick(&mut self, now: u64, totals: bool) {
        self.drain();
        self.tell_counters(now);
        let changed: Vec<(u32, u32)> = self
            .tasks
            .values()
            .map(|task| &task.state)
            .filter(|state| state.phase != phase::BLOCKED || state.told_version != state.version)
            .map(|state| (state.tid, state.version))
            .collect();
        for (tid, version) in changed {
            if !totals {
                (self.skip, self.lose) = (0, 1);
            }
            if self.tell_totals(now, tid, ITERATOR_CPU) {
                self.with(tid, |task| task.state.told_version = version);
            }
        }
        self.drain();
        self.tell_counters(now);
        let wall_ns = self.setup.start_wall_ns.saturating_add(now.saturating_sub(self.setup.start_ns));
        let tick = Tick { header: Tick::header(now, 0, 0), wall_ns };
        self.merger.push(self.rings.len(), tick.as_bytes());
    }

    fn tell_counters(&mut self, now: u64) {
        self.counters.header = Counters::header(now, 0, 0);
        self.merger.push(self.rings.len(), self.counters.as_bytes());
    }

    /// On the CPU the thread is on, else on the iterator's.
    fn tell_life(&mut self, now: u64, tid: u32, event: u16) {
        let cpu = self.cpu_of(tid).unwrap_or(ITERATOR_CPU);
        self.tell_life_on(now, tid, event, cpu);
    }

    fn tell_life_on(&mut self, now: u64, tid: u32, event: u16, cpu: u16) {
        if let Some(record) = self.tasks.get(&tid).map(|task| life(task, event, now, cpu)) {
            self.emit(cpu, &record);
        }
    }

    fn tell_totals(&mut self, now: u64, tid: u32, cpu: u16) -> bool {
        let stopped = self.stopped_where(now, tid);
        let Some(state) = self.tasks.get(&tid).map(|task| task.state) else { return false };
        let told = self.emit(cpu, &state.totals(now));
        told & (!state.was_throttled(stopped) || self.emit(cpu, &state.throttled(now, stopped)))
    }

    fn emit<T: IntoBytes + Immutable>(&mut self, cpu: u16, record: &T) -> bool {
        self.counters.wanted += 1;
        let Some(ring) = self.setup.rings.iter().position(|cpus| cpus.contains(&cpu)) else {
            self.counters.lost_no_ring += 1;
            return false;
        };
        let room = self.setup.ring_bytes.unwrap_or(usize::MAX);
        let fits = self.rings[ring].bytes.len() + record.as_bytes().len() <= room;
        let refused = self.skip == 0 && self.lose > 0;
        if refused {
            self.lose -= 1;
        }
        self.skip = self.skip.saturating_sub(1);
        if refused || !fits {
            self.counters.lost_ring_full += 1;
            return false;
        }
        self.rings[ring].push(record.as_bytes());
        true
    }

    fn ring(&mut self, at: u64, ring: usize) -> Result<&mut Ring, ScriptError> {
        self.rings.get_mut(ring).ok_or(ScriptError::NoRing { at, ring })
    }

    fn drain(&mut self) {
        for (number, ring) in self.rings.iter_mut().enumerate().filter(|(_, ring)| !ring.stalled) {
            self.counters.received += ring.starts.len() as u64;
            self.merger.push(number, &ring.bytes);
            ring.bytes.clear();
            ring.starts.clear();
        }
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

fn life(task: &Tracked, event: u16, now: u64, cpu: u16) -> Task {
    Task {
        header: Task::header(now, cpu, 0),
        tid: task.state.tid,
        tgid: task.state.tgid,
        parent: NO_TID,
        event,
        policy: 0,
        start_ns: task.start_ns,
        static_prio: 120,
        reserved: 0,
        comm: task.comm,
    }
}
