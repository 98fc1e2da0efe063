//! What the probes keep of a kernel, for sources that are told its events in order: tracked threads, who is on which CPU,
//! counters. Drives [`TaskState`] hook by hook, as `numatrace-ebpf` does. Scripts and imports use it; what becomes of the
//! records is the [`Output`]'s.
//!
//! Nothing is allocated for an event of a thread and a CPU that are known. Memory: about 300 bytes a thread that lives, up
//! to [`MOST_TASKS`], and 16 bytes a CPU.

use numatrace_common::abi::{Counters, Migrate, NO_TID, SelfCost, Slice, Task, Tick, slice_flags, task_event};
use numatrace_common::cause::{Cause, Seen, classify};
use numatrace_common::shed;
use numatrace_common::wait::{Stopped, SwitchIn, SwitchOut, TASK_DEAD, TaskState, Wakeup, phase};
use zerocopy::IntoBytes;

use crate::units::TidMap;

/// Records about a thread that is on no CPU come from here: there the task iterator runs.
pub(super) const ITERATOR_CPU: u16 = 0;
/// Threads that are tracked at one time, as on the kernel side.
pub(crate) const MOST_TASKS: usize = 131_072;

/// Takes the records.
pub(crate) trait Output {
    /// A record of a hook on this CPU. Counts it as wanted, and tells whether there was room.
    fn emit(&mut self, counters: &mut Counters, cpu: u16, record: &[u8]) -> bool;

    /// A record that user space makes.
    fn tell(&mut self, record: &[u8]);

    /// User space takes what is there, and counts it as received.
    fn drain(&mut self, counters: &mut Counters);
}

/// A tracked thread.
#[derive(Debug)]
pub(crate) struct Tracked {
    pub(crate) state: TaskState,
    start_ns: u64,
    pub(crate) comm: [u8; 16],
    /// The CPU that it was seen on last; it is there still where that CPU says so.
    seen_on: u16,
}

/// Who is on a CPU since when.
#[derive(Clone, Copy, Debug)]
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

/// How a thread leaves its CPU; the rest of [`SwitchOut`] is known here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaves {
    pub(crate) preempt: bool,
    pub(crate) prev_state: u32,
    pub(crate) state_now: u32,
}

/// A `sched_migrate_task`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Move {
    pub(crate) tid: u32,
    pub(crate) from: u16,
    pub(crate) to: u16,
    /// Current on the CPU that moves it.
    pub(crate) by: u32,
    pub(crate) by_cpu: u16,
    /// As the hook sees it, but for `numa`, which is known here.
    pub(crate) seen: Seen,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Kernel<O> {
    start_ns: u64,
    start_wall_ns: u64,
    tasks: TidMap<Tracked>,
    cpus: Vec<Current>,
    stops: Vec<Stops>,
    pub(crate) counters: Counters,
    /// Turns for which one record stands, and those that have none for that.
    every: u32,
    shed: u64,
    pub(crate) out: O,
}

impl<O: Output> Kernel<O> {
    /// Nobody is tracked, and all CPUs are idle since the start.
    pub(crate) fn new(start_ns: u64, start_wall_ns: u64, out: O) -> Kernel<O> {
        Kernel {
            start_ns,
            start_wall_ns,
            tasks: TidMap::default(),
            cpus: Vec::new(),
            stops: Vec::new(),
            counters: Counters::default(),
            every: 1,
            shed: 0,
            out,
        }
    }

    /// A tracked thread.
    #[inline]
    pub(crate) fn task(&mut self, tid: u32) -> Option<&mut Tracked> {
        self.tasks.get_mut(&tid)
    }

    /// Who is on this CPU; 0 for nobody.
    #[inline]
    pub(crate) fn current(&self, cpu: u16) -> u32 {
        self.on(cpu).tid
    }

    #[inline]
    fn on(&self, cpu: u16) -> Current {
        self.cpus.get(usize::from(cpu)).copied().unwrap_or(Current { tid: 0, since: self.start_ns })
    }

    /// From now on this thread is on this CPU.
    #[inline]
    pub(crate) fn takes_cpu(&mut self, now: u64, cpu: u16, tid: u32) {
        let at = usize::from(cpu);
        if self.cpus.len() <= at {
            self.cpus.resize(at + 1, Current { tid: 0, since: self.start_ns });
        }
        self.cpus[at] = Current { tid, since: now };
        if let Some(task) = self.tasks.get_mut(&tid) {
            task.seen_on = cpu;
        }
    }

    /// The CPU that this tracked thread is on.
    #[inline]
    pub(crate) fn cpu_of(&self, tid: u32) -> Option<u16> {
        let cpu = self.tasks.get(&tid)?.seen_on;
        (self.on(cpu).tid == tid).then_some(cpu)
    }

    /// Tracks a thread; `None` where there are too many.
    pub(crate) fn create(&mut self, tid: u32, tgid: u32, comm: [u8; 16], start_ns: u64) -> Option<&mut Tracked> {
        if self.tasks.len() >= MOST_TASKS && !self.tasks.contains_key(&tid) {
            return None;
        }
        let state = TaskState { tid, tgid, ..TaskState::EMPTY };
        let seen_on = self.cpus.iter().position(|current| current.tid == tid).unwrap_or_default() as u16;
        Some(self.tasks.entry(tid).insert_entry(Tracked { state, start_ns, comm, seen_on }).into_mut())
    }

    /// It is no longer tracked.
    pub(crate) fn remove(&mut self, tid: u32) {
        self.tasks.remove(&tid);
    }

    /// What every thread is doing is no longer known: events of it were lost.
    pub(crate) fn lose_track(&mut self) {
        for task in self.tasks.values_mut() {
            task.state.phase = phase::UNKNOWN;
            task.state.turn_blocked_ns = 0;
        }
    }

    /// `sched_process_fork`.
    pub(crate) fn fork(&mut self, now: u64, (tid, tgid): (u32, u32), comm: [u8; 16], start_ns: u64) {
        if let Some(task) = self.create(tid, tgid, comm, start_ns) {
            task.state.seed(phase::BLOCKED, now, 0);
            self.tell_life(now, tid, task_event::NEW);
        }
    }

    /// `sched_wakeup` or `sched_wakeup_new`.
    #[inline]
    pub(crate) fn wakeup(&mut self, now: u64, tid: u32, cpu: u16, new: bool) {
        let (on_cpu, holder) = (self.cpu_of(tid).is_some(), self.current(cpu));
        let how = Wakeup { new, cpu, holder, holder_own: self.is_own(tid, holder), stopped: self.stopped(now, cpu) };
        if let Some(task) = self.tasks.get_mut(&tid) {
            task.state.wakeup(now, on_cpu, how);
        }
    }

    /// The wait that has just begun is on the queue of this CPU.
    pub(crate) fn queued_on(&mut self, tid: u32, cpu: u16) {
        let holder = self.current(cpu);
        let own = self.is_own(tid, holder);
        let Some(task) = self.tasks.get_mut(&tid).filter(|task| task.state.phase == phase::QUEUED) else { return };
        (task.state.queued_cpu, task.state.holder) = (cpu, holder);
        task.state.wait_flags &= !slice_flags::HOLDER_OWN;
        if own {
            task.state.wait_flags |= slice_flags::HOLDER_OWN;
        }
    }

    /// Both are threads of one process.
    #[inline]
    pub(crate) fn is_own(&self, tid: u32, other: u32) -> bool {
        let tgid = |tid: u32| self.tasks.get(&tid).map(|task| task.state.tgid);
        tgid(tid).is_some_and(|mine| tgid(other) == Some(mine))
    }

    /// A CPU quota stops the queue of all threads on this CPU, or lets it go on.
    pub(crate) fn stop(&mut self, now: u64, cpu: u16, stopped: bool) {
        let at = usize::from(cpu);
        if self.stops.len() <= at {
            self.stops.resize(at + 1, Stops::default());
        }
        let stops = &mut self.stops[at];
        if let Some(since) = stops.since.take() {
            stops.sum_ns = stops.sum_ns.saturating_add(now.saturating_sub(since));
        }
        stops.since = stopped.then_some(now);
    }

    /// The queue of all threads on this CPU, where a quota ever stopped any.
    #[inline]
    fn stopped(&self, now: u64, cpu: u16) -> Stopped {
        let Some(stops) = self.stops.get(usize::from(cpu)) else { return Stopped::NOT };
        let open = stops.since.map_or(0, |since| now.saturating_sub(since));
        Stopped { queue: u64::from(cpu) + 1, ns: stops.sum_ns + open }
    }

    /// The queue on which this thread waits.
    #[inline]
    fn stopped_where(&self, now: u64, tid: u32) -> Stopped {
        if self.stops.is_empty() {
            return Stopped::NOT;
        }
        let queue = self.tasks.get(&tid).map_or(0, |task| task.state.stopped_queue);
        match u16::try_from(queue) {
            Ok(queue @ 1..) => self.stopped(now, queue - 1),
            _ => Stopped::NOT,
        }
    }

    /// `sched_switch`: `prev` leaves, then `next` enters, at one moment.
    #[inline]
    pub(crate) fn switch(&mut self, now: u64, cpu: u16, prev: u32, next: u32, leaves: Leaves) {
        let Leaves { preempt, prev_state, state_now } = leaves;
        let own = self.is_own(prev, next);
        let how = SwitchOut {
            preempt,
            prev_state,
            state_now,
            next,
            next_own: own,
            stopped: self.stopped(now, cpu),
            voluntary: !preempt && prev_state != 0,
        };
        let mut ran = now.saturating_sub(self.on(cpu).since);
        if let Some(slice) = self.tasks.get_mut(&prev).and_then(|task| task.state.switch_out(now, cpu, how)) {
            ran = slice.slice_ns;
            self.turn_ended(cpu, slice);
        }
        self.takes_cpu(now, cpu, next);
        if how.dead() {
            self.tell_totals(now, prev, cpu);
            self.tell_life_on(now, prev, task_event::EXIT, cpu);
            self.tasks.remove(&prev);
        }
        let prev_ran = u32::try_from(ran >> 10).unwrap_or(u32::MAX);
        let stopped = self.stopped_where(now, next);
        if let Some(task) = self.tasks.get_mut(&next) {
            task.state.switch_in(now, cpu, SwitchIn { prev, prev_ran, prev_own: own && !how.dead(), stopped });
        }
    }

    fn turn_ended(&mut self, cpu: u16, slice: Slice) {
        self.counters.slices = self.counters.slices.wrapping_add(1);
        if slice.flags & slice_flags::WAIT_MASK != slice_flags::WAIT_NONE {
            self.counters.waits = self.counters.waits.wrapping_add(1);
            self.counters.wait_ns = self.counters.wait_ns.wrapping_add(slice.wait_ns);
        }
        let is_last = slice.flags & slice_flags::OUT_DEAD != 0;
        if !is_last && !shed::keeps(slice.tid, slice.seq, self.every.saturating_sub(1)) {
            self.shed = self.shed.wrapping_add(1);
            return;
        }
        if !self.emit(cpu, slice.as_bytes()) {
            self.lost_one(slice.tid);
        }
    }

    /// From now on one turn in `every` gets a record, a power of two.
    pub(crate) fn keep_one_in(&mut self, now: u64, every: u32) {
        self.every = every;
        self.tell_own(now);
    }

    /// What was left out, where ever something was.
    fn tell_own(&mut self, now: u64) {
        if self.every == 1 && self.shed == 0 {
            return;
        }
        let header = SelfCost::header(now, 0, 0);
        let record = SelfCost { header, every: self.every, shed: self.shed, ..SelfCost::default() };
        self.out.tell(record.as_bytes());
    }

    fn lost_one(&mut self, tid: u32) {
        if let Some(task) = self.tasks.get_mut(&tid) {
            task.state.lost = task.state.lost.wrapping_add(1);
        }
    }

    /// `sched_migrate_task`. Tells why, where a tracked thread goes anywhere.
    pub(crate) fn migrate(&mut self, now: u64, how: Move) -> Option<Cause> {
        let Move { tid, from, to, by, by_cpu, seen } = how;
        let queues = (self.stopped_where(now, tid), self.stopped(now, to));
        let task = self.tasks.get_mut(&tid).filter(|_| from != to)?;
        let cause = classify(Seen { numa: task.state.numa_pending != 0, ..seen });
        task.state.numa_pending = 0;
        if task.state.phase == phase::QUEUED {
            task.state.moves_queue(queues.0, queues.1);
        }
        task.state.migrations = task.state.migrations.wrapping_add(1);
        let record = Migrate {
            header: Migrate::header(now, from, to),
            tid,
            tgid: task.state.tgid,
            by,
            seq: task.state.migrations,
            cause: cause as u16,
            by_cpu,
            reserved: 0,
        };
        if !self.emit(by_cpu, record.as_bytes()) {
            self.lost_one(tid);
        }
        Some(cause)
    }

    /// `sched_process_exec`; with `old_tid` when a thread that was not the leader became it.
    pub(crate) fn exec(&mut self, now: u64, tid: u32, comm: [u8; 16], old_tid: Option<u32>) {
        if let Some((old, cpu)) = old_tid.map(|old| (old, self.cpu_of(old).unwrap_or(ITERATOR_CPU)))
            && let Some(mut task) = self.tasks.remove(&old)
        {
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
                self.emit(cpu, slice.as_bytes());
            }
            // It did not switch: only its id did.
            task.state.voluntary = task.state.voluntary.wrapping_sub(1);
            self.emit(cpu, task.state.totals(now).as_bytes());
            if task.state.was_throttled(Stopped::NOT) {
                self.emit(cpu, task.state.throttled(now, Stopped::NOT).as_bytes());
            }
            self.emit(cpu, life(&task, task_event::EXIT, now, cpu).as_bytes());
            task.state = TaskState { tid, tgid: task.state.tgid, ..TaskState::EMPTY };
            task.state.seed(phase::RUNNING, now, cpu);
            self.tasks.insert(tid, task);
            let since = self.on(cpu).since;
            self.takes_cpu(since, cpu, tid);
        }
        self.named(now, tid, comm, task_event::EXEC);
    }

    /// It has this name now, after this event.
    pub(crate) fn named(&mut self, now: u64, tid: u32, comm: [u8; 16], event: u16) {
        if let Some(task) = self.tasks.get_mut(&tid) {
            task.comm = comm;
            self.tell_life(now, tid, event);
        }
    }

    /// It no longer matches the filter.
    pub(crate) fn untrack(&mut self, now: u64, tid: u32) {
        self.tell_totals(now, tid, ITERATOR_CPU);
        self.tell_life_on(now, tid, task_event::UNTRACKED, ITERATOR_CPU);
        self.tasks.remove(&tid);
    }

    /// As the iterator does it: threads that changed, or run or wait now. All is taken before and after. `before` comes
    /// before each thread.
    pub(crate) fn tick(&mut self, now: u64, mut before: impl FnMut(&mut O)) {
        self.out.drain(&mut self.counters);
        self.tell_counters(now);
        let mut changed: Vec<(u32, u32)> = self
            .tasks
            .values()
            .map(|task| &task.state)
            .filter(|state| state.phase != phase::BLOCKED || state.told_version != state.version)
            .map(|state| (state.tid, state.version))
            .collect();
        changed.sort_unstable();
        for (tid, version) in changed {
            before(&mut self.out);
            if self.tell_totals(now, tid, ITERATOR_CPU)
                && let Some(task) = self.tasks.get_mut(&tid)
            {
                task.state.told_version = version;
            }
        }
        self.out.drain(&mut self.counters);
        self.tell_own(now);
        self.tell_counters(now);
        let wall_ns = self.start_wall_ns.saturating_add(now.saturating_sub(self.start_ns));
        let tick = Tick { header: Tick::header(now, 0, 0), wall_ns };
        self.out.tell(tick.as_bytes());
    }

    fn tell_counters(&mut self, now: u64) {
        self.counters.header = Counters::header(now, 0, 0);
        self.out.tell(self.counters.as_bytes());
    }

    /// On the CPU the thread is on, else on the iterator's.
    pub(crate) fn tell_life(&mut self, now: u64, tid: u32, event: u16) {
        let cpu = self.cpu_of(tid).unwrap_or(ITERATOR_CPU);
        self.tell_life_on(now, tid, event, cpu);
    }

    fn tell_life_on(&mut self, now: u64, tid: u32, event: u16, cpu: u16) {
        if let Some(record) = self.tasks.get(&tid).map(|task| life(task, event, now, cpu)) {
            self.emit(cpu, record.as_bytes());
        }
    }

    pub(crate) fn tell_totals(&mut self, now: u64, tid: u32, cpu: u16) -> bool {
        let stopped = self.stopped_where(now, tid);
        let Some(state) = self.tasks.get(&tid).map(|task| task.state) else { return false };
        let told = self.emit(cpu, state.totals(now).as_bytes());
        told & (!state.was_throttled(stopped) || self.emit(cpu, state.throttled(now, stopped).as_bytes()))
    }

    #[inline]
    fn emit(&mut self, cpu: u16, record: &[u8]) -> bool {
        self.out.emit(&mut self.counters, cpu, record)
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
