//! `mm_migrate_pages`: pages were moved to other places in memory.
//!
//! ```c
//! void mm_migrate_pages(unsigned long succeeded, unsigned long failed, unsigned long thp_succeeded,
//!                       unsigned long thp_failed, unsigned long thp_split, enum migrate_mode mode, int reason);
//! ```
//!
//! Newer kernels have `unsigned long large_folio_split` before `mode`: a program for each number of arguments.
//! For a hint fault it is called in the thread that faulted;
//! `succeeded` counts base pages, as `numa_pages_migrated` in /proc/vmstat does.

use aya_ebpf::{
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};
use numatrace_common::{
    abi::touch as kinds,
    config::{CellKey, NO_NODE_BYTE},
};

use crate::{
    kernel::{Access, Btf, Raw, Task, config, memory, this_cpu},
    state, touch,
};

#[btf_tracepoint(function = "mm_migrate_pages")]
pub fn mm_migrate_pages_7(ctx: BtfTracePointContext) -> i32 {
    let (succeeded, reason): (u64, u64) = (ctx.arg(0), ctx.arg(6));
    try_mm_migrate_pages::<Btf>(succeeded, reason as u32);
    0
}

#[btf_tracepoint(function = "mm_migrate_pages")]
pub fn mm_migrate_pages_8(ctx: BtfTracePointContext) -> i32 {
    let (succeeded, reason): (u64, u64) = (ctx.arg(0), ctx.arg(7));
    try_mm_migrate_pages::<Btf>(succeeded, reason as u32);
    0
}

#[raw_tracepoint(tracepoint = "mm_migrate_pages")]
pub fn raw_mm_migrate_pages_7(ctx: RawTracePointContext) -> i32 {
    let (succeeded, reason): (u64, u64) = (ctx.arg(0), ctx.arg(6));
    try_mm_migrate_pages::<Raw>(succeeded, reason as u32);
    0
}

#[raw_tracepoint(tracepoint = "mm_migrate_pages")]
pub fn raw_mm_migrate_pages_8(ctx: RawTracePointContext) -> i32 {
    let (succeeded, reason): (u64, u64) = (ctx.arg(0), ctx.arg(7));
    try_mm_migrate_pages::<Raw>(succeeded, reason as u32);
    0
}

#[inline(always)]
fn try_mm_migrate_pages<A: Access>(succeeded: u64, reason: u32) {
    if reason != config!(numa_misplaced) || succeeded == 0 {
        return;
    }
    let task: Task<A> = memory::current();
    if state::lookup(task).is_none() {
        return;
    }
    let node = touch::node_of_cpu(this_cpu());
    // It comes to the node of the CPU; from which is not told.
    touch::add(task, CellKey::cell(kinds::MIGRATED, node, NO_NODE_BYTE), succeeded);
}
