//! `sched_swap_numa`: automatic NUMA balancing is about to swap two threads.
//!
//! ```c
//! void sched_swap_numa(struct task_struct *src_tsk, int src_cpu, struct task_struct *dst_tsk, int dst_cpu);
//! ```

use aya_ebpf::{
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};

use crate::{
    kernel::{Btf, Raw, Task},
    sched_move_numa::mark_numa,
};

#[btf_tracepoint(function = "sched_swap_numa")]
pub fn sched_swap_numa(ctx: BtfTracePointContext) -> i32 {
    mark_numa::<Btf>(Task::new(ctx.arg(0)));
    mark_numa::<Btf>(Task::new(ctx.arg(2)));
    0
}

#[raw_tracepoint(tracepoint = "sched_swap_numa")]
pub fn raw_sched_swap_numa(ctx: RawTracePointContext) -> i32 {
    mark_numa::<Raw>(Task::new(ctx.arg(0)));
    mark_numa::<Raw>(Task::new(ctx.arg(2)));
    0
}
