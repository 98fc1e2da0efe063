//! `sched_process_fork`: a thread or process is made, and does not run yet.
//!
//! ```c
//! void sched_process_fork(struct task_struct *parent, struct task_struct *child);
//! ```
//!
//! Called by `kernel_clone` without locks, so state can be created here.

use aya_ebpf::{
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};
use numatrace_common::{abi::task_event, config::filter, wait::phase};

use crate::{
    filter::{inherits, is_own},
    kernel::{Access, Btf, Raw, Task, config, now, this_cpu},
    state, task_record,
};

#[btf_tracepoint(function = "sched_process_fork")]
pub fn sched_process_fork(ctx: BtfTracePointContext) -> i32 {
    try_sched_process_fork::<Btf>(Task::new(ctx.arg(0)), Task::new(ctx.arg(1)));
    0
}

#[raw_tracepoint(tracepoint = "sched_process_fork")]
pub fn raw_sched_process_fork(ctx: RawTracePointContext) -> i32 {
    try_sched_process_fork::<Raw>(Task::new(ctx.arg(0)), Task::new(ctx.arg(1)));
    0
}

#[inline(always)]
fn try_sched_process_fork<A: Access>(parent: Task<A>, child: Task<A>) {
    let wanted = config!(filter) == filter::ALL || (inherits() && state::lookup(parent).is_some());
    if !wanted || is_own(child) {
        return;
    }
    let now = now();
    if let Some(state) = state::create(child, phase::BLOCKED, now) {
        task_record::tell(child, state, task_event::NEW, now, this_cpu());
    }
}
