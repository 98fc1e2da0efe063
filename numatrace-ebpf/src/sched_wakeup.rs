//! `sched_wakeup`: a thread is runnable again.
//!
//! ```c
//! void sched_wakeup(struct task_struct *p);
//! ```
//!
//! Called by `ttwu_do_wakeup` on the CPU that queues the thread, under that queue's lock, except where the thread
//! is still on its CPU: then no wait begins.

use aya_ebpf::{
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};
use numatrace_common::{abi::NO_TID, wait::Wakeup};

use crate::{
    clock,
    kernel::{Access, Btf, Raw, Task, config},
    state, wakers,
};

#[btf_tracepoint(function = "sched_wakeup")]
pub fn sched_wakeup(ctx: BtfTracePointContext) -> i32 {
    try_wakeup::<Btf>(Task::new(ctx.arg(0)), false);
    0
}

#[raw_tracepoint(tracepoint = "sched_wakeup")]
pub fn raw_sched_wakeup(ctx: RawTracePointContext) -> i32 {
    try_wakeup::<Raw>(Task::new(ctx.arg(0)), false);
    0
}

/// Shared by `sched_wakeup` and `sched_wakeup_new`.
#[inline(always)]
pub fn try_wakeup<A: Access>(task: Task<A>, new: bool) {
    let Some(state) = state::lookup(task) else { return };
    let on_cpu = task.on_cpu();
    if !state.wakeup_begins_wait(on_cpu) {
        return;
    }
    let cpu = task.cpu();
    // First of all: the verifier of 6.1 forgets the bounds of a CPU's number that is kept on the stack.
    let time = clock::queue_time(task, cpu);
    let (mut holder, mut holder_own) = (NO_TID, false);
    if config!(culprits) != 0
        && let Some((tid, tgid)) = task.holder()
    {
        holder = tid;
        holder_own = tgid == state.tgid;
    }
    // Nobody wakes a new thread, and its id may have been another's.
    let waker = if new { None } else { wakers::of(task.pid()) };
    state.waking(waker.unwrap_or(NO_TID));
    let how = Wakeup { new, cpu: cpu as u16, holder, holder_own, stopped: task.stopped_from_now() };
    state.wakeup(time, on_cpu, how);
}
