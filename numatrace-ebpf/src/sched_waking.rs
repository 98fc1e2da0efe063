//! `sched_waking`: somebody begins to wake a thread.
//!
//! ```c
//! void sched_waking(struct task_struct *p);
//! ```
//!
//! Called by `try_to_wake_up` on the waker's CPU, so `current` is the waker. In `sched_wakeup` it need not be: a
//! wakeup across caches is queued on a list and finished by the other CPU.

use aya_ebpf::{
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};

use crate::{
    kernel::{Access, Btf, Raw, Task, current_tid},
    wakers,
};

#[btf_tracepoint(function = "sched_waking")]
pub fn sched_waking(ctx: BtfTracePointContext) -> i32 {
    try_sched_waking::<Btf>(Task::new(ctx.arg(0)));
    0
}

#[raw_tracepoint(tracepoint = "sched_waking")]
pub fn raw_sched_waking(ctx: RawTracePointContext) -> i32 {
    try_sched_waking::<Raw>(Task::new(ctx.arg(0)));
    0
}

#[inline(always)]
fn try_sched_waking<A: Access>(task: Task<A>) {
    if A::BTF && task.has_no_storage() {
        return;
    }
    wakers::note(task.pid(), current_tid());
}
