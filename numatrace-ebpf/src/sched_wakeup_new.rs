//! `sched_wakeup_new`: a forked thread is runnable for the first time.
//!
//! ```c
//! void sched_wakeup_new(struct task_struct *p);
//! ```
//!
//! Called by `wake_up_new_task`, after `sched_process_fork`, under the queue's lock.

use aya_ebpf::{
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};

use crate::{
    kernel::{Btf, Raw, Task},
    sched_wakeup::try_wakeup,
};

#[btf_tracepoint(function = "sched_wakeup_new")]
pub fn sched_wakeup_new(ctx: BtfTracePointContext) -> i32 {
    try_wakeup::<Btf>(Task::new(ctx.arg(0)), true);
    0
}

#[raw_tracepoint(tracepoint = "sched_wakeup_new")]
pub fn raw_sched_wakeup_new(ctx: RawTracePointContext) -> i32 {
    try_wakeup::<Raw>(Task::new(ctx.arg(0)), true);
    0
}
