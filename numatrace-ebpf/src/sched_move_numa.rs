//! `sched_move_numa`: automatic NUMA balancing is about to move a thread.
//!
//! ```c
//! void sched_move_numa(struct task_struct *tsk, int src_cpu, int dst_cpu);
//! ```

use aya_ebpf::{
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};

use crate::{
    kernel::{Access, Btf, Raw, Task},
    state,
};

#[btf_tracepoint(function = "sched_move_numa")]
pub fn sched_move_numa(ctx: BtfTracePointContext) -> i32 {
    mark_numa::<Btf>(Task::new(ctx.arg(0)));
    0
}

#[raw_tracepoint(tracepoint = "sched_move_numa")]
pub fn raw_sched_move_numa(ctx: RawTracePointContext) -> i32 {
    mark_numa::<Raw>(Task::new(ctx.arg(0)));
    0
}

/// The next migration of this thread is NUMA balancing's.
#[inline(always)]
pub fn mark_numa<A: Access>(task: Task<A>) {
    // The verifier takes the swapped task for one that can be null.
    if task.ptr().is_null() {
        return;
    }
    if let Some(state) = state::lookup(task) {
        state.numa_pending = 1;
    }
}
