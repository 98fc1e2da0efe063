//! `task_numa_fault`: automatic NUMA balancing takes note of a hint fault.
//!
//! ```c
//! void task_numa_fault(int last_cpupid, int mem_node, int pages, int flags);
//! ```
//!
//! Called by the fault handlers in the thread that faulted, after the page was moved if it was; `mem_node` is where it is
//! then. `flags` says where it was before. One call a hint fault, as /proc/vmstat counts them, however many pages it is.

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};
use numatrace_common::{
    abi::{TouchSample, sample_flags, touch as kinds},
    config::{CellKey, NO_NODE_BYTE, resolve},
    wait::fault_bits,
};

use crate::{
    emit::emit,
    kernel::{Access, Btf, Raw, Task, config, memory, now, this_cpu},
    shared::Path,
    state, touch,
};

/// The page was on the node of the CPU (`TNF_FAULT_LOCAL`).
const LOCAL: u32 = 0x08;

#[fentry(function = "task_numa_fault")]
pub fn task_numa_fault(ctx: FEntryContext) -> i32 {
    let (node, flags): (i32, i32) = (ctx.arg(1), ctx.arg(3));
    try_task_numa_fault::<Btf>(node, flags as u32);
    0
}

#[fentry(function = "task_numa_fault")]
pub fn raw_task_numa_fault(ctx: FEntryContext) -> i32 {
    let (node, flags): (i32, i32) = (ctx.arg(1), ctx.arg(3));
    try_task_numa_fault::<Raw>(node, flags as u32);
    0
}

#[kprobe]
pub fn kprobe_task_numa_fault(ctx: ProbeContext) -> u32 {
    if let (Some(node), Some(flags)) = (ctx.arg::<i32>(1), ctx.arg::<i32>(3)) {
        try_task_numa_fault::<Btf>(node, flags as u32);
    }
    0
}

#[kprobe]
pub fn kprobe_raw_task_numa_fault(ctx: ProbeContext) -> u32 {
    if let (Some(node), Some(flags)) = (ctx.arg::<i32>(1), ctx.arg::<i32>(3)) {
        try_task_numa_fault::<Raw>(node, flags as u32);
    }
    0
}

#[inline(always)]
fn try_task_numa_fault<A: Access>(node: i32, flags: u32) {
    let task: Task<A> = memory::current();
    let Some(state) = state::lookup(task) else { return };
    state.fault |= fault_bits::HINT;
    let cpu = this_cpu();
    let cpu_node = touch::node_of_cpu(cpu);
    let kind = touch::hint_kind(flags & LOCAL == 0);
    touch::add(task, CellKey::cell(kind, cpu_node, touch::position_of(node)), 1);
    if config!(resolve) == resolve::ENTRY {
        // It was counted as a page touch when it began.
        touch::take_back(task, state.locality[0]);
        let record = TouchSample {
            header: TouchSample::header(now(), cpu as u16, u16::from(NO_NODE_BYTE)),
            tid: task.pid(),
            tgid: task.tgid(),
            kind: u16::from(kinds::HINT_LOCAL),
            flags: sample_flags::ENTRY,
            ..ZERO
        };
        emit(Path::Cold, cpu, record);
    }
}

/// `Default` is no constant, and this is BPF.
const ZERO: TouchSample = TouchSample {
    header: TouchSample::header(0, 0, 0),
    tid: 0,
    tgid: 0,
    address: 0,
    ip: 0,
    map_start: 0,
    map_end: 0,
    weight: 0,
    kind: 0,
    flags: 0,
    policy: 0,
    cpu_node: 0,
    reserved: 0,
    policy_nodes: 0,
};
