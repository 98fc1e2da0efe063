//! `page_fault_user` and `page_fault_kernel`: a page fault begins, in user mode, or in the kernel.
//!
//! ```c
//! void page_fault_user(unsigned long address, struct pt_regs *regs, unsigned long error_code);
//! ```
//!
//! x86 only. `error_code` says what no later hook does: whether the page was there, and whether it was a write. Where page
//! touches are taken at their beginning, they are taken here.

use core::ptr;

use aya_ebpf::{
    macros::{btf_tracepoint, raw_tracepoint},
    programs::{BtfTracePointContext, RawTracePointContext},
};
use numatrace_common::{
    abi::sample_flags,
    config::{CellKey, NO_NODE_BYTE, hints, resolve},
    touch::{Ended, kind},
    wait::fault_bits,
};

use crate::{
    kernel::{Access, Btf, Raw, Task, config, memory, now, this_cpu},
    state,
    touch::{self, Touch},
};

#[btf_tracepoint(function = "page_fault_user")]
pub fn page_fault_user(ctx: BtfTracePointContext) -> i32 {
    let (address, code): (u64, u64) = (ctx.arg(0), ctx.arg(2));
    try_page_fault_begin::<Btf>(address, code);
    0
}

#[raw_tracepoint(tracepoint = "page_fault_user")]
pub fn raw_page_fault_user(ctx: RawTracePointContext) -> i32 {
    let (address, code): (u64, u64) = (ctx.arg(0), ctx.arg(2));
    try_page_fault_begin::<Raw>(address, code);
    0
}

#[btf_tracepoint(function = "page_fault_kernel")]
pub fn page_fault_kernel(ctx: BtfTracePointContext) -> i32 {
    let (address, code): (u64, u64) = (ctx.arg(0), ctx.arg(2));
    try_page_fault_begin::<Btf>(address, code);
    0
}

#[raw_tracepoint(tracepoint = "page_fault_kernel")]
pub fn raw_page_fault_kernel(ctx: RawTracePointContext) -> i32 {
    let (address, code): (u64, u64) = (ctx.arg(0), ctx.arg(2));
    try_page_fault_begin::<Raw>(address, code);
    0
}

/// User addresses end here on every x86.
const USER_END: u64 = 1 << 56;

#[inline(always)]
fn try_page_fault_begin<A: Access>(address: u64, code: u64) {
    let task: Task<A> = memory::current();
    let Some(state) = state::lookup(task) else { return };
    let known = fault_bits::KNOWN | code as u32 & (fault_bits::PRESENT | fault_bits::WRITE);
    state.fault = known;
    if config!(hint_time) != 0 {
        state.fault_began = now();
    }
    if config!(resolve) == resolve::ENTRY && address < USER_END {
        let cell = begin(task, address, known);
        if config!(hints) == hints::HOOK {
            state.locality[0] = cell;
        }
    }
}

/// Takes a touch at its beginning. Which page it will be is asked for by user space; how large it is, is not known.
#[inline(always)]
pub fn begin<A: Access>(task: Task<A>, address: u64, fault: u32) -> u32 {
    let cpu = this_cpu();
    let cpu_node = touch::node_of_cpu(cpu);
    let mm = task.mm().unwrap_or(ptr::null());
    let mapping = memory::find_mapping(mm, address);
    let (file, shared) = touch::file_and_shared(mapping);
    let kind = kind(Ended { fault, found: mapping.is_some(), file, shared, ..Ended::default() });
    let cell = CellKey::cell(kind, cpu_node, NO_NODE_BYTE);
    touch::count(task, cpu, cell);
    let seen =
        Touch { task, mm, mapping, address, kind, cpu, cpu_node, page_node: NO_NODE_BYTE, flags: sample_flags::ENTRY };
    touch::tell(ptr::null_mut(), seen, now(), 1);
    cell
}
