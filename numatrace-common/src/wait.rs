//! The wait state machine: when a thread's wait for a CPU begins, when it ends, and who is to blame.
//!
//! ```text
//!              wakeup (on_cpu == 0)             switch-in
//!   BLOCKED ------------------------> QUEUED ----------------> RUNNING
//!      ^                                ^                        |  |
//!      |                                +------------------------+  |
//!      |                                 switch-out, still runnable |
//!      +------------------------------------------------------------+
//!                         switch-out, not runnable
//! ```
//!
//! The probes inline this and keep one [`TaskState`] per traced thread; scenario tests drive the same code. One
//! *turn* is blocked time, then a wait, then time on the CPU; it is emitted as one [`Slice`] when it ends, and the
//! counters grow at that moment only, so `seq` says exactly which turns they cover.
//!
//! Impossible transitions (a hook was off, or tracking began in the middle) never guess: the state is taken anew
//! from what the hook says, the unknown part is left out and `resyncs` counts it.

use core::sync::atomic::{Ordering, compiler_fence};

use crate::abi::{NO_CPU, NO_TID, Slice, Throttled, Totals, slice_flags};

/// What a thread is doing.
pub mod phase {
    /// Not known yet.
    pub const UNKNOWN: u16 = 0;
    /// On a CPU.
    pub const RUNNING: u16 = 1;
    /// Runnable, waiting for a CPU.
    pub const QUEUED: u16 = 2;
    /// Neither.
    pub const BLOCKED: u16 = 3;
}

/// State of one traced thread. Lives in task storage; all zeroes is a valid start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TaskState {
    /// Odd while the state is being changed: a reader on another CPU takes it again.
    pub version: u32,
    /// One of [`phase`].
    pub phase: u16,
    /// How the wait of this turn began, as [`slice_flags`].
    pub wait_flags: u16,
    /// When the phase began.
    pub since: u64,
    /// Run-queue latency of the current turn (while running).
    pub wait_ns: u64,
    /// Blocked time of the current turn.
    pub turn_blocked_ns: u64,
    /// Thread id.
    pub tid: u32,
    /// Process id.
    pub tgid: u32,
    /// Who woke it last, plus 1; 0 when nobody is known (so that zeroed storage means nobody).
    pub waker_plus_1: u32,
    /// Who held the CPU when it was queued.
    pub holder: u32,
    /// Who ran before it was switched in.
    pub prev: u32,
    /// How long that had run, in units of 1,024 ns.
    pub prev_ran: u32,
    /// CPU of the current or last turn, plus 1; 0 when none is known.
    pub cpu_plus_1: u16,
    /// CPU of the turn before, plus 1; 0 when none is known.
    pub last_cpu_plus_1: u16,
    /// CPU on which it was queued.
    pub queued_cpu: u16,
    /// Not 0: `sched_move_numa` or `sched_swap_numa` named it; its next migration is theirs.
    pub numa_pending: u16,
    /// Turns emitted.
    pub seq: u32,
    /// Migrations.
    pub migrations: u32,
    /// Records that did not fit.
    pub lost: u32,
    /// Impossible transitions.
    pub resyncs: u32,
    /// Time on CPU of ended turns.
    pub cpu_ns: u64,
    /// Blocked time of ended turns.
    pub blocked_ns: u64,
    /// Waits after wakeup, of ended turns.
    pub wakeup_ns: u64,
    /// Their number.
    pub wakeup_count: u64,
    /// Waits after preemption, of ended turns.
    pub preempted_ns: u64,
    /// Their number.
    pub preempted_count: u64,
    /// Voluntary switches.
    pub voluntary: u64,
    /// Involuntary switches.
    pub involuntary: u64,
    /// `version` when the last totals were emitted; odd when none were.
    pub told_version: u32,
    /// Not 0: the record of its birth, or of its being seen, went into a ring.
    pub life_told: u32,
    /// The kernel's own count of voluntary switches at its last switch-out, its low half.
    pub nvcsw: u32,
    /// The page fault that it is in, or was in last: [`fault_bits`]. Only the thread itself changes it.
    pub fault: u32,
    /// `task_struct.numa_faults_locality` at the last page fault: remote and local.
    pub locality: [u32; 2],
    /// While queued: the kernel's queue whose stopped time counts ([`Stopped::queue`]); 0 when none does.
    pub stopped_queue: u64,
    /// While queued: [`Stopped::ns`] of that queue when the wait began, or when the thread came onto it.
    pub stopped_before: u64,
    /// Throttled part of the wait of this turn: while queued on queues that it left, while running all of it.
    pub throttled_open: u64,
    /// Throttled part of the waits of ended turns.
    pub throttled_ns: u64,
    /// When the page fault began that it is in, while hint faults are timed; 0 when that was not seen.
    pub fault_began: u64,
}

/// A run queue that a CPU quota can stop (`cfs_rq` of a cgroup on a CPU), and for how long it has been stopped so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stopped {
    /// What tells it from all others; 0: none, no quota stops the thread there.
    pub queue: u64,
    /// Its stopped time up to this moment, since any moment that stays the same.
    pub ns: u64,
}

impl Stopped {
    /// No quota can stop the thread, or it is not known.
    pub const NOT: Stopped = Stopped { queue: 0, ns: 0 };
}

/// Bits of [`TaskState::fault`].
pub mod fault_bits {
    /// The page was there, and may not be accessed like this (`X86_PF_PROT`).
    pub const PRESENT: u32 = 1;
    /// It was a write (`X86_PF_WRITE`).
    pub const WRITE: u32 = 2;
    /// The other bits are of a fault that has begun.
    pub const KNOWN: u32 = 1 << 31;
    /// Automatic NUMA balancing had planted it.
    pub const HINT: u32 = 1 << 30;
}

/// How a thread left its CPU, as `sched_switch` says it.
#[derive(Clone, Copy, Debug)]
pub struct SwitchOut {
    /// The hook's `preempt` argument.
    pub preempt: bool,
    /// The hook's `prev_state` argument.
    pub prev_state: u32,
    /// `task_struct.__state` at the hook: a signal may have made it runnable again after `prev_state` was read
    /// (`__schedule`: `signal_pending_state`).
    pub state_now: u32,
    /// The thread that takes the CPU over: it is the first to run instead when this one stays runnable
    /// ([`NO_TID`]: not known).
    pub next: u32,
    /// That thread is of the same process.
    pub next_own: bool,
    /// The queue on which it waits when it stays runnable.
    pub stopped: Stopped,
    /// The kernel counts this switch as voluntary. `__schedule` counts `nvcsw` when the thread was not preempted
    /// and its state was not running, even where a pending signal then kept it runnable.
    pub voluntary: bool,
}

/// How a thread became runnable.
#[derive(Clone, Copy, Debug)]
pub struct Wakeup {
    /// For the first time (`sched_wakeup_new`).
    pub new: bool,
    /// The CPU on which it is queued.
    pub cpu: u16,
    /// Who holds that CPU ([`NO_TID`]: not known, 0: idle).
    pub holder: u32,
    /// That is a thread of the same process.
    pub holder_own: bool,
    /// Its queue.
    pub stopped: Stopped,
}

/// How a thread took over a CPU.
#[derive(Clone, Copy, Debug)]
pub struct SwitchIn {
    /// The thread that it takes over from ([`NO_TID`]: not known, 0: idle).
    pub prev: u32,
    /// How long that had been there, in units of 1,024 ns.
    pub prev_ran: u32,
    /// That is a thread of the same process.
    pub prev_own: bool,
    /// The queue from which it comes.
    pub stopped: Stopped,
}

/// `TASK_DEAD` in `prev_state`: the last switch of a thread.
pub const TASK_DEAD: u32 = 0x80;

impl SwitchOut {
    /// Still runnable, so a wait begins.
    #[inline(always)]
    pub const fn runnable(self) -> bool {
        self.preempt || self.prev_state == 0 || self.state_now == 0
    }

    /// [`slice_flags`] of how the turn ended.
    #[inline(always)]
    const fn flags(self) -> u16 {
        let mut flags = 0;
        if self.runnable() {
            flags |= slice_flags::OUT_RUNNABLE;
        }
        if self.preempt {
            flags |= slice_flags::OUT_PREEMPT;
        }
        if self.dead() {
            flags |= slice_flags::OUT_DEAD;
        }
        if self.voluntary {
            flags |= slice_flags::OUT_VOLUNTARY;
        }
        flags
    }

    /// The thread will never run again.
    #[inline(always)]
    pub const fn dead(self) -> bool {
        self.prev_state & TASK_DEAD != 0
    }
}

/// A turn on a CPU that has just ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// How long it was.
    pub ran: u64,
    /// [`slice_flags`]: how its wait began and how it ended.
    pub flags: u16,
}

impl Turn {
    /// A wait led to it.
    #[inline(always)]
    pub const fn waited(self) -> bool {
        self.flags & slice_flags::WAIT_MASK != slice_flags::WAIT_NONE
    }

    /// A wakeup led to it.
    #[inline(always)]
    pub const fn woken(self) -> bool {
        matches!(self.flags & slice_flags::WAIT_MASK, slice_flags::WAIT_WAKEUP | slice_flags::WAIT_NEW)
    }
}

impl TaskState {
    /// Nothing known and nothing counted.
    pub const EMPTY: TaskState = TaskState {
        version: 0,
        phase: phase::UNKNOWN,
        wait_flags: 0,
        since: 0,
        wait_ns: 0,
        turn_blocked_ns: 0,
        tid: 0,
        tgid: 0,
        waker_plus_1: 0,
        holder: 0,
        prev: 0,
        prev_ran: 0,
        cpu_plus_1: 0,
        last_cpu_plus_1: 0,
        queued_cpu: 0,
        numa_pending: 0,
        seq: 0,
        migrations: 0,
        lost: 0,
        resyncs: 0,
        cpu_ns: 0,
        blocked_ns: 0,
        wakeup_ns: 0,
        wakeup_count: 0,
        preempted_ns: 0,
        preempted_count: 0,
        voluntary: 0,
        involuntary: 0,
        told_version: 0,
        life_told: 0,
        nvcsw: 0,
        fault: 0,
        locality: [0; 2],
        fault_began: 0,
        stopped_queue: 0,
        stopped_before: 0,
        throttled_open: 0,
        throttled_ns: 0,
    };

    /// Makes `version` odd before the first change. Volatile, and a fence for the compiler, because two plain
    /// additions would be merged into one. Other CPUs see the stores in this order on x86-64; where the hardware may
    /// reorder them, a reader can take a mixed state until it reads again.
    #[inline(always)]
    fn begin_change(&mut self) {
        let next = self.version.wrapping_add(1);
        // SAFETY: a member of a live reference.
        unsafe { core::ptr::write_volatile(&raw mut self.version, next) };
        compiler_fence(Ordering::SeqCst);
    }

    /// Makes `version` even after the last change.
    #[inline(always)]
    fn end_change(&mut self) {
        compiler_fence(Ordering::SeqCst);
        let next = self.version.wrapping_add(1);
        // SAFETY: a member of a live reference.
        unsafe { core::ptr::write_volatile(&raw mut self.version, next) };
    }

    /// Tracking begins for an existing thread that is in `phase` since `since` (or about to be born, blocked).
    /// For a queued thread `since` is the kernel's own stamp and the wait is marked as seeded; for a running one
    /// the turn counts from `since` on.
    #[inline(always)]
    pub fn seed(&mut self, phase: u16, since: u64, cpu: u16) {
        if self.phase != phase::UNKNOWN {
            return;
        }
        self.since = since;
        self.holder = NO_TID;
        self.prev = NO_TID;
        self.queued_cpu = NO_CPU;
        self.wait_flags = match phase {
            phase::QUEUED => slice_flags::WAIT_PREEMPTED | slice_flags::WAIT_SEEDED,
            phase::RUNNING => slice_flags::SLICE_CLIPPED,
            _ => slice_flags::WAIT_NONE,
        };
        if phase == phase::RUNNING {
            self.cpu_plus_1 = cpu.wrapping_add(1);
        }
        self.phase = phase;
    }

    /// `sched_waking`: `waker` is about to wake this thread ([`NO_TID`]: not known).
    #[inline(always)]
    pub fn waking(&mut self, waker: u32) {
        self.waker_plus_1 = waker.wrapping_add(1);
    }

    /// Whether a `sched_wakeup` would begin a wait, so that a caller can avoid reading the clock.
    #[inline(always)]
    pub const fn wakeup_begins_wait(&self, on_cpu: bool) -> bool {
        !on_cpu && self.phase != phase::QUEUED
    }

    /// `sched_wakeup` or `sched_wakeup_new`: the thread is runnable from `now` on. Ignored while it is still on a CPU
    /// (it never left), and while it is already queued (the first stamp counts).
    #[inline(always)]
    pub fn wakeup(&mut self, now: u64, on_cpu: bool, how: Wakeup) {
        if !self.wakeup_begins_wait(on_cpu) {
            return;
        }
        self.begin_change();
        let mut now = now;
        if self.phase == phase::BLOCKED {
            // The time of a wakeup can come from another clock than that of a switch: no time passes backwards.
            if now < self.since {
                now = self.since;
            }
            self.turn_blocked_ns = self.turn_blocked_ns.wrapping_add(now.saturating_sub(self.since));
        } else if self.phase == phase::RUNNING {
            // Its switch-out was not seen: what it ran since then is unknown.
            self.resyncs = self.resyncs.wrapping_add(1);
        }
        self.since = now;
        self.holder = how.holder;
        self.queued_cpu = how.cpu;
        self.wait_flags = if how.new { slice_flags::WAIT_NEW } else { slice_flags::WAIT_WAKEUP };
        if how.holder_own {
            self.wait_flags |= slice_flags::HOLDER_OWN;
        }
        self.queue_on(how.stopped);
        self.phase = phase::QUEUED;
        self.end_change();
    }

    /// A wait begins on this queue.
    #[inline(always)]
    fn queue_on(&mut self, stopped: Stopped) {
        self.stopped_queue = stopped.queue;
        self.stopped_before = stopped.ns;
        self.throttled_open = 0;
    }

    /// For how long the queue on which it waits has been stopped since it came there. Of another queue than that (it
    /// changed its cgroup) nothing is known.
    #[inline(always)]
    const fn stopped_for(&self, stopped: Stopped) -> u64 {
        if self.stopped_queue == 0 || self.stopped_queue != stopped.queue {
            return 0;
        }
        stopped.ns.saturating_sub(self.stopped_before)
    }

    /// `sched_migrate_task`: it goes from one queue to another. Of meaning while it waits.
    #[inline(always)]
    pub fn moves_queue(&mut self, from: Stopped, to: Stopped) {
        self.begin_change();
        self.throttled_open = self.throttled_open.wrapping_add(self.stopped_for(from));
        self.stopped_queue = to.queue;
        self.stopped_before = to.ns;
        self.end_change();
    }

    /// `sched_switch`, this thread is next: its wait, if it had one, ends at `now` on `cpu`.
    #[inline(always)]
    pub fn switch_in(&mut self, now: u64, cpu: u16, how: SwitchIn) {
        self.begin_change();
        if self.phase == phase::QUEUED {
            self.wait_ns = now.saturating_sub(self.since);
            let throttled = self.throttled_open.wrapping_add(self.stopped_for(how.stopped));
            self.throttled_open = if throttled > self.wait_ns { self.wait_ns } else { throttled };
            self.wait_flags |= slice_flags::throttled(self.throttled_open, self.wait_ns);
            if how.prev_own {
                self.wait_flags |= slice_flags::PREV_OWN;
            }
            // As above: what was counted as blocked beyond this moment was not.
            let ahead = self.since.saturating_sub(now);
            self.turn_blocked_ns = self.turn_blocked_ns.saturating_sub(ahead);
        } else {
            self.wait_ns = 0;
            self.throttled_open = 0;
            self.wait_flags = slice_flags::WAIT_NONE;
            if self.phase == phase::BLOCKED {
                // Its wakeup was not seen: the gap is blocked time and wait in unknown parts, so neither grows.
                self.turn_blocked_ns = 0;
            }
            if self.phase != phase::UNKNOWN {
                self.resyncs = self.resyncs.wrapping_add(1);
            }
        }
        // A NUMA move that was announced has happened by now, or has failed.
        self.numa_pending = 0;
        self.prev = how.prev;
        self.prev_ran = how.prev_ran;
        self.stopped_queue = 0;
        self.last_cpu_plus_1 = self.cpu_plus_1;
        self.cpu_plus_1 = cpu.wrapping_add(1);
        self.since = now;
        self.phase = phase::RUNNING;
        self.end_change();
    }

    /// `sched_switch`, this thread is prev: its turn ends at `now` on `cpu`. Returns the record of the turn, or
    /// nothing when the start of the turn was not seen. The counters include the turn from here on.
    #[inline(always)]
    pub fn switch_out(&mut self, now: u64, cpu: u16, how: SwitchOut) -> Option<Slice> {
        let mut slice = None;
        self.switch_out_with(now, cpu, how, |task, turn| slice = Some(task.slice(now, cpu, turn)));
        slice
    }

    /// As [`TaskState::switch_out`], but hands the ended turn to `emit` while the state still holds it: the record
    /// can be written from the state straight to where it goes, without a copy in between.
    #[inline(always)]
    pub fn switch_out_with(&mut self, now: u64, cpu: u16, how: SwitchOut, emit: impl FnOnce(&mut Self, Turn)) {
        self.begin_change();
        if how.voluntary {
            self.voluntary = self.voluntary.wrapping_add(1);
        } else {
            self.involuntary = self.involuntary.wrapping_add(1);
        }
        if self.phase == phase::RUNNING {
            let turn = Turn { ran: now.saturating_sub(self.since), flags: self.wait_flags | how.flags() };
            self.count_turn(turn);
            emit(self, turn);
        } else if self.phase != phase::UNKNOWN {
            self.resyncs = self.resyncs.wrapping_add(1);
        }
        self.cpu_plus_1 = cpu.wrapping_add(1);
        self.turn_blocked_ns = 0;
        self.wait_ns = 0;
        self.since = now;
        if how.runnable() {
            // It queues on the CPU it leaves, behind whoever takes over.
            self.phase = phase::QUEUED;
            self.wait_flags = slice_flags::WAIT_PREEMPTED;
            if how.next_own {
                self.wait_flags |= slice_flags::HOLDER_OWN;
            }
            self.holder = how.next;
            self.queued_cpu = cpu;
            self.queue_on(how.stopped);
        } else {
            self.phase = phase::BLOCKED;
            self.wait_flags = slice_flags::WAIT_NONE;
        }
        self.end_change();
    }

    /// Adds an ended turn to the counters.
    #[inline(always)]
    fn count_turn(&mut self, turn: Turn) {
        self.cpu_ns = self.cpu_ns.wrapping_add(turn.ran);
        self.throttled_ns = self.throttled_ns.wrapping_add(self.throttled_open);
        self.throttled_open = 0;
        self.blocked_ns = self.blocked_ns.wrapping_add(self.turn_blocked_ns);
        match turn.flags & slice_flags::WAIT_MASK {
            slice_flags::WAIT_NONE => {}
            slice_flags::WAIT_PREEMPTED => {
                self.preempted_ns = self.preempted_ns.wrapping_add(self.wait_ns);
                self.preempted_count = self.preempted_count.wrapping_add(1);
            }
            _ => {
                self.wakeup_ns = self.wakeup_ns.wrapping_add(self.wait_ns);
                self.wakeup_count = self.wakeup_count.wrapping_add(1);
            }
        }
        self.seq = self.seq.wrapping_add(1);
    }

    /// The record of a turn that ends at `now`; only while [`TaskState::switch_out_with`] hands it out.
    #[inline(always)]
    pub fn slice(&self, now: u64, cpu: u16, turn: Turn) -> Slice {
        Slice {
            header: Slice::header(now, cpu, self.last_cpu_plus_1.wrapping_sub(1)),
            wait_ns: self.wait_ns,
            slice_ns: turn.ran,
            tid: self.tid,
            tgid: self.tgid,
            waker: if turn.woken() { self.waker_plus_1.wrapping_sub(1) } else { NO_TID },
            seq: self.seq,
            holder: self.holder,
            prev: self.prev,
            prev_ran: self.prev_ran,
            queued_cpu: self.queued_cpu,
            flags: turn.flags,
        }
    }

    /// Everything counted so far and what the thread is doing, for a totals record made at `now`.
    #[inline(always)]
    pub fn totals(&self, now: u64) -> Totals {
        let running = self.phase == phase::RUNNING;
        Totals {
            header: Totals::header(now, self.cpu_plus_1.wrapping_sub(1), 0),
            tid: self.tid,
            tgid: self.tgid,
            seq: self.seq,
            phase: self.phase,
            flags: self.wait_flags,
            since: self.since,
            open_wait_ns: if running { self.wait_ns } else { 0 },
            open_blocked_ns: self.turn_blocked_ns,
            waker: self.waker_plus_1.wrapping_sub(1),
            holder: self.holder,
            prev: if running { self.prev } else { NO_TID },
            prev_ran: if running { self.prev_ran } else { 0 },
            cpu_ns: self.cpu_ns,
            blocked_ns: self.blocked_ns,
            wakeup_ns: self.wakeup_ns,
            wakeup_count: self.wakeup_count,
            preempted_ns: self.preempted_ns,
            preempted_count: self.preempted_count,
            voluntary: self.voluntary,
            involuntary: self.involuntary,
            migrations: self.migrations,
            lost: self.lost,
            resyncs: self.resyncs,
            last_cpu: self.last_cpu_plus_1.wrapping_sub(1),
            queued_cpu: self.queued_cpu,
        }
    }

    /// A quota stopped it once, or did so where it waits now: [`TaskState::throttled`] has something to tell.
    #[inline(always)]
    pub const fn was_throttled(&self, stopped: Stopped) -> bool {
        self.throttled_ns | self.throttled_open | self.stopped_for(stopped) != 0
    }

    /// What belongs to [`TaskState::totals`] of the same moment. `stopped` is the queue on which it waits, where it waits.
    #[inline(always)]
    pub fn throttled(&self, now: u64, stopped: Stopped) -> Throttled {
        let mut open_ns = self.throttled_open;
        if self.phase == phase::QUEUED {
            let (throttled, wait) = (open_ns.wrapping_add(self.stopped_for(stopped)), now.saturating_sub(self.since));
            open_ns = if throttled > wait { wait } else { throttled };
        }
        Throttled {
            header: Throttled::header(now, self.cpu_plus_1.wrapping_sub(1), 0),
            tid: self.tid,
            tgid: self.tgid,
            seq: self.seq,
            reserved: 0,
            throttled_ns: self.throttled_ns,
            open_ns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREEMPTED: SwitchOut = SwitchOut {
        preempt: true,
        prev_state: 0,
        state_now: 0,
        next: 11,
        next_own: false,
        stopped: Stopped::NOT,
        voluntary: false,
    };
    const SLEEPS: SwitchOut = SwitchOut {
        preempt: false,
        prev_state: 1,
        state_now: 1,
        next: 0,
        next_own: false,
        stopped: Stopped::NOT,
        voluntary: true,
    };

    fn task() -> TaskState {
        let mut task = TaskState { tid: 7, tgid: 5, ..TaskState::default() };
        task.seed(phase::BLOCKED, 0, 0);
        task
    }

    fn wake(task: &mut TaskState, now: u64, on_cpu: bool, cpu: u16, holder: u32) {
        task.wakeup(now, on_cpu, Wakeup { new: false, cpu, holder, holder_own: false, stopped: Stopped::NOT });
    }

    fn enter(task: &mut TaskState, now: u64, cpu: u16, prev: u32, prev_ran: u32) {
        task.switch_in(now, cpu, SwitchIn { prev, prev_ran, prev_own: false, stopped: Stopped::NOT });
    }

    // time:    0........100.......150........400.......450...
    // task 7:  blocked  | queued  | running  | queued  | running
    #[test]
    fn a_turn_is_blocked_then_queued_then_running() {
        let mut t = task();
        t.waking(42);
        wake(&mut t, 100, false, 3, 9);
        enter(&mut t, 150, 3, 9, 2);
        let first = t.switch_out(400, 3, PREEMPTED).expect("a whole turn");
        assert_eq!((first.wait_ns, first.slice_ns, first.header.ts), (50, 250, 400));
        assert_eq!((first.waker, first.holder, first.prev, first.prev_ran), (42, 9, 9, 2));
        assert_eq!((first.header.cpu, first.header.cpu2, first.seq), (3, NO_CPU, 1));
        assert_eq!(t.blocked_ns, 100);
        enter(&mut t, 450, 2, 11, 0);
        let second = t.switch_out(460, 2, SLEEPS).expect("a whole turn");
        assert_eq!((second.wait_ns, second.slice_ns, second.waker), (50, 10, NO_TID));
        assert_eq!(second.holder, 11);
        assert_eq!((second.header.cpu, second.header.cpu2), (2, 3));
        assert_eq!(second.flags & slice_flags::WAIT_MASK, slice_flags::WAIT_PREEMPTED);
        assert_eq!((t.wakeup_count, t.preempted_count, t.voluntary, t.involuntary), (1, 1, 1, 1));
        assert_eq!(t.resyncs, 0);
    }

    #[test]
    fn a_wakeup_while_on_cpu_changes_nothing() {
        let mut t = task();
        wake(&mut t, 100, false, 0, 0);
        enter(&mut t, 150, 0, 0, 0);
        let before = t;
        wake(&mut t, 160, true, 0, 7);
        assert_eq!(t, before);
    }

    #[test]
    fn time_is_neither_made_nor_lost_where_the_clock_of_wakeups_is_off() {
        for wakeup in [60, 95, 100, 130, 150, 170, 400] {
            let mut t = task();
            wake(&mut t, 10, false, 0, 0);
            enter(&mut t, 20, 0, 0, 0);
            t.switch_out(100, 0, SLEEPS);
            wake(&mut t, wakeup, false, 0, 0);
            enter(&mut t, 150, 0, 0, 0);
            let turn = t.switch_out(400, 0, SLEEPS).expect("a whole turn");
            assert_eq!(turn.slice_ns, 250);
            assert_eq!(t.blocked_ns - 10 + t.wakeup_ns - 10, 50, "woken at {wakeup}");
        }
    }

    #[test]
    fn the_first_stamp_of_a_wait_counts() {
        let mut t = task();
        wake(&mut t, 100, false, 0, 1);
        wake(&mut t, 120, false, 1, 2);
        assert_eq!((t.since, t.holder, t.queued_cpu), (100, 1, 0));
    }

    #[test]
    fn a_signal_that_keeps_a_sleeper_runnable_begins_a_wait_and_counts_as_voluntary() {
        let mut t = task();
        wake(&mut t, 100, false, 0, 1);
        enter(&mut t, 110, 0, 1, 0);
        let how = SwitchOut {
            preempt: false,
            prev_state: 1,
            state_now: 0,
            next: 0,
            next_own: false,
            stopped: Stopped::NOT,
            voluntary: true,
        };
        let turn = t.switch_out(120, 0, how).expect("a whole turn");
        assert_eq!(turn.flags & slice_flags::OUT_RUNNABLE, slice_flags::OUT_RUNNABLE);
        assert_eq!((t.voluntary, t.phase), (1, phase::QUEUED));
    }

    #[test]
    fn an_unseen_wakeup_invents_no_wait() {
        let mut t = task();
        enter(&mut t, 500, 0, 1, 0);
        let turn = t.switch_out(600, 0, SLEEPS).expect("the turn itself was seen");
        assert_eq!((turn.wait_ns, turn.flags & slice_flags::WAIT_MASK), (0, slice_flags::WAIT_NONE));
        assert_eq!((t.resyncs, t.wakeup_count, t.blocked_ns), (1, 0, 0));
    }

    #[test]
    fn an_unseen_switch_in_emits_no_turn() {
        let mut t = task();
        assert_eq!(t.switch_out(600, 0, SLEEPS), None);
        assert_eq!((t.resyncs, t.seq, t.phase), (1, 0, phase::BLOCKED));
    }

    #[test]
    fn seeding_never_overwrites_what_a_hook_saw() {
        let mut t = TaskState::default();
        wake(&mut t, 100, false, 0, 1);
        t.seed(phase::BLOCKED, 50, 0);
        assert_eq!((t.phase, t.since), (phase::QUEUED, 100));
    }

    #[test]
    fn totals_hold_the_open_wait_apart_from_the_counters() {
        let mut t = task();
        wake(&mut t, 100, false, 0, 1);
        enter(&mut t, 150, 0, 1, 0);
        let totals = t.totals(200);
        assert_eq!((totals.open_wait_ns, totals.open_blocked_ns), (50, 100));
        assert_eq!((totals.wakeup_count, totals.cpu_ns, totals.seq), (0, 0, 0));
        assert_eq!(totals.phase, phase::RUNNING);
    }

    /// Enters from a queue that was stopped for `ns` so far, and leaves after 100.
    fn turn_from(task: &mut TaskState, now: u64, queue: u64, ns: u64) -> Slice {
        let how = SwitchIn { prev: 9, prev_ran: 0, prev_own: true, stopped: Stopped { queue, ns } };
        task.switch_in(now, 0, how);
        task.switch_out(
            now + 100,
            0,
            SwitchOut { next_own: true, stopped: Stopped { queue: 5, ns: 1_000 }, ..PREEMPTED },
        )
        .expect("a whole turn")
    }

    // time:     0......1000........................11000
    // task 7:   wakes  | queued, its queue stopped for 4000 | running
    #[test]
    fn the_throttled_part_of_a_wait_is_what_its_queue_was_stopped_meanwhile() {
        let mut t = task();
        let stopped = Stopped { queue: 5, ns: 700 };
        t.wakeup(1_000, false, Wakeup { new: false, cpu: 0, holder: 9, holder_own: true, stopped });
        assert!(!t.was_throttled(Stopped { queue: 5, ns: 700 }) && t.was_throttled(Stopped { queue: 5, ns: 701 }));
        let open = t.throttled(9_000, Stopped { queue: 5, ns: 4_700 });
        assert_eq!((open.throttled_ns, open.open_ns, open.seq), (0, 4_000, 0));
        let turn = turn_from(&mut t, 11_000, 5, 4_700);
        let told = slice_flags::throttled_ns(turn.flags, turn.wait_ns);
        assert!(turn.wait_ns == 10_000 && (3_900..=4_700).contains(&told), "{told}");
        let own = slice_flags::HOLDER_OWN | slice_flags::PREV_OWN;
        assert_eq!((turn.flags & own, t.throttled_ns), (own, 4_000));
        // Preempted, and not stopped: the next wait has no throttled part, and the sum stays.
        let turn = turn_from(&mut t, 12_000, 5, 1_000);
        assert_eq!((turn.flags >> slice_flags::THROTTLED_SHIFT, t.throttled_ns), (0, 4_000));
        let kept = t.throttled(12_200, Stopped::NOT);
        assert_eq!((kept.throttled_ns, kept.open_ns, kept.seq), (4_000, 0, 2));
    }

    #[test]
    fn a_wait_on_two_queues_was_throttled_on_both_and_never_longer_than_it_was() {
        let mut t = task();
        let on = |queue, ns| Stopped { queue, ns };
        t.wakeup(0, false, Wakeup { new: false, cpu: 0, holder: 0, holder_own: false, stopped: on(5, 100) });
        t.moves_queue(on(5, 400), on(6, 9_000));
        turn_from(&mut t, 10_000, 6, 9_500);
        assert_eq!(t.throttled_ns, 800);
        // A queue that it was not seen to come to says nothing.
        turn_from(&mut t, 20_000, 7, 1 << 40);
        assert_eq!(t.throttled_ns, 800);
        // The kernel's clocks are not ours: a wait of 9,900.
        turn_from(&mut t, 30_000, 5, 1 << 40);
        assert_eq!(t.throttled_ns, 800 + 9_900);
        // Nothing stops it where there is no quota.
        t.moves_queue(on(5, 0), Stopped::NOT);
        turn_from(&mut t, 40_000, 5, 1 << 50);
        assert_eq!(t.throttled_ns, 10_700);
    }
}
