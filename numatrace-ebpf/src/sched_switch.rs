//! `sched_switch`: one thread leaves the CPU, another takes it.
//!
//! ```c
//! void sched_switch(bool preempt, struct task_struct *prev, struct task_struct *next, unsigned int prev_state);
//! ```
//!
//! Called by `__schedule` with interrupts off, under the run-queue lock. `prev_state` is an argument since 5.18.

use aya_ebpf::{
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};
use numatrace_common::{
    abi::{NO_TID, task_event},
    wait::{Stopped, SwitchIn, SwitchOut, TaskState},
};

use crate::{
    emit::{TurnOf, emit, emit_in_place, emit_last_turn, emit_turn},
    kernel::{Access, Btf, Raw, Task, config, now, this_cpu},
    shared::Path,
    state, sums, task_record,
};

#[btf_tracepoint(function = "sched_switch")]
pub fn sched_switch(ctx: BtfTracePointContext) -> i32 {
    let (preempt, state): (u64, u64) = (ctx.arg(0), ctx.arg(3));
    try_sched_switch::<Btf>(preempt & 1 != 0, Task::new(ctx.arg(1)), Task::new(ctx.arg(2)), state as u32);
    0
}

#[raw_tracepoint(tracepoint = "sched_switch")]
pub fn raw_sched_switch(ctx: RawTracePointContext) -> i32 {
    let (preempt, state): (u64, u64) = (ctx.arg(0), ctx.arg(3));
    try_sched_switch::<Raw>(preempt & 1 != 0, Task::new(ctx.arg(1)), Task::new(ctx.arg(2)), state as u32);
    0
}

#[inline(always)]
fn try_sched_switch<A: Access>(preempt: bool, prev: Task<A>, next: Task<A>, prev_state: u32) {
    // One after the other, each null test apart: the verifier refuses the two pointers merged into one test.
    let mut left = None;
    if let Some(task) = state::lookup(prev) {
        left = Some(leave(preempt, prev, next, task, prev_state));
    }
    if let Some(task) = state::lookup(next) {
        enter(prev, next, task, left);
    }
}

/// The moment of a switch, where `prev` was a target: when, and how long its turn was.
#[derive(Clone, Copy)]
struct Left {
    ended: u64,
    ran: u64,
}

#[inline(always)]
fn leave<A: Access>(preempt: bool, prev: Task<A>, next: Task<A>, task: &mut TaskState, prev_state: u32) -> Left {
    let now = now();
    let cpu = this_cpu();
    let (mut taker, mut own) = (NO_TID, false);
    if config!(culprits) != 0 {
        taker = next.pid();
        own = next.tgid() == task.tgid;
    }
    // Counted before the hook is called. On 6.18 a pending signal clears `prev_state`, and it counts all the same.
    let voluntary = match prev.nvcsw() {
        Some(count) => {
            let grown = count != task.nvcsw;
            task.nvcsw = count;
            grown
        }
        None => !preempt && prev_state != 0,
    };
    let mut how = SwitchOut {
        preempt,
        prev_state,
        state_now: prev.state(),
        next: taker,
        next_own: own,
        stopped: Stopped::NOT,
        voluntary,
    };
    if how.runnable() {
        how.stopped = prev.stopped_from_now();
    }
    let mut ran = 0;
    let throttled_before = task.throttled_ns;
    task.switch_out_with(now, cpu as u16, how, |task, turn| {
        ran = turn.ran;
        if sums::on() {
            sums::turn(task, cpu, turn, task.throttled_ns.wrapping_sub(throttled_before));
            return;
        }
        let record = || task.slice(now, cpu as u16, turn);
        let written = if how.dead() {
            emit_last_turn(Path::Hot, cpu, turn.waited(), task.wait_ns, record)
        } else {
            emit_turn(cpu, TurnOf { tid: task.tid, seq: task.seq }, turn.waited(), task.wait_ns, record)
        };
        if !written {
            task.lost = task.lost.wrapping_add(1);
        }
    });
    if how.dead() {
        last_words(prev, task, now, cpu);
    }
    Left { ended: now, ran }
}

#[inline(always)]
fn enter<A: Access>(prev: Task<A>, next: Task<A>, task: &mut TaskState, left: Option<Left>) {
    let now = match left {
        Some(left) => left.ended,
        None => now(),
    };
    let (mut who, mut own) = (NO_TID, false);
    let mut ran = 0;
    if config!(culprits) != 0 {
        who = prev.pid();
        own = prev.tgid() == task.tgid;
        ran = match left {
            Some(left) => left.ran,
            None => prev.ran_for().unwrap_or(0),
        };
    }
    let stopped = if task.stopped_queue != 0 { next.stopped() } else { Stopped::NOT };
    task.switch_in(now, this_cpu() as u16, SwitchIn { prev: who, prev_ran: units(ran), prev_own: own, stopped });
}

/// Nanoseconds in units of 1,024, saturating.
#[inline(always)]
fn units(ns: u64) -> u32 {
    let units = ns >> 10;
    if units > u64::from(u32::MAX) { u32::MAX } else { units as u32 }
}

/// A thread's last switch: everything it ever counted, then its end.
#[inline(always)]
fn last_words<A: Access>(prev: Task<A>, task: &mut TaskState, now: u64, cpu: u32) {
    if sums::on() {
        sums::flush(prev, task);
        state::forget_dead(prev, task);
        return;
    }
    emit_in_place(Path::Hot, cpu, || task.totals(now));
    if task.was_throttled(Stopped::NOT) {
        emit_in_place(Path::Hot, cpu, || task.throttled(now, Stopped::NOT));
    }
    let mut record = task_record::new(prev, task_event::EXIT, now, cpu);
    // A leader that another thread replaces at exec has the other's id by now.
    record.tid = task.tid;
    record.tgid = task.tgid;
    emit(Path::Hot, cpu, record);
    state::forget_dead(prev, task);
}
