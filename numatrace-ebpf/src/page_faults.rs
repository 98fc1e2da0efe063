//! The perf software events `PERF_COUNT_SW_PAGE_FAULTS_MIN` and `_MAJ`: a page fault has ended with a page.
//!
//! ```c
//! static inline void mm_account_fault(struct mm_struct *mm, struct pt_regs *regs, unsigned long address,
//!                                     unsigned int flags, vm_fault_t ret);
//! ```
//!
//! It calls `perf_sw_event` at the end of `handle_mm_fault`, for faults of user space and for those of the kernel on its
//! behalf, once each, not for those that are tried again. One event a CPU, period 1, with a program; the program runs with
//! preemption off. Nothing is sampled by perf itself: the program returns 0.

use core::ffi::c_void;

use numatrace_common::{
    config::{CellKey, NO_NODE_BYTE, hints, resolve},
    touch::{Ended, kind},
    wait::{TaskState, fault_bits},
};

use crate::{
    kernel::{
        Access, Btf, Raw, Task, config,
        memory::{self, Fault},
        this_cpu,
    },
    state,
    touch::{self, Touch},
};

#[unsafe(no_mangle)]
#[unsafe(link_section = "perf_event")]
pub extern "C" fn page_faults_min(ctx: *mut c_void) -> u32 {
    try_page_fault::<Btf>(ctx, false);
    0
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "perf_event")]
pub extern "C" fn page_faults_maj(ctx: *mut c_void) -> u32 {
    try_page_fault::<Btf>(ctx, true);
    0
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "perf_event")]
pub extern "C" fn raw_page_faults_min(ctx: *mut c_void) -> u32 {
    try_page_fault::<Raw>(ctx, false);
    0
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "perf_event")]
pub extern "C" fn raw_page_faults_maj(ctx: *mut c_void) -> u32 {
    try_page_fault::<Raw>(ctx, true);
    0
}

#[inline(always)]
fn try_page_fault<A: Access>(ctx: *mut c_void, major: bool) {
    let task: Task<A> = memory::current();
    let Some(state) = state::lookup(task) else { return };
    let fault = state.fault;
    state.fault = 0;
    let cpu = this_cpu();
    let cpu_node = touch::node_of_cpu(cpu);
    if was_hint(task, state, fault, cpu_node) {
        touch::end_hint(task, state, cpu_node);
        return;
    }
    let Some(mm) = task.mm() else { return };
    let seen = if config!(resolve) == resolve::WALK {
        let address = memory::fault_address(ctx);
        let mapped = memory::walk(mm, address);
        Fault { address, physical: mapped.physical, page_bytes: mapped.page_bytes }
    } else {
        memory::fault(ctx)
    };
    let mapping = memory::find_mapping(mm, seen.address);
    let (file, shared) = touch::file_and_shared(mapping);
    let huge = seen.page_bytes >= config!(huge_page_bytes);
    let write = fault & fault_bits::KNOWN != 0 && fault & fault_bits::WRITE != 0;
    let zero = !write && (seen.physical == 0 || huge && !file && is_huge_zero(fault, seen));
    let kind = kind(Ended { fault, major, huge, zero, found: mapping.is_some(), file, shared });
    let page_node = if zero && !file { NO_NODE_BYTE } else { touch::node_of_page(seen.physical) };
    touch::count(task, cpu, CellKey::cell(kind, cpu_node, page_node));
    touch::sample(ctx, Touch { task, mm, mapping, address: seen.address, kind, cpu, cpu_node, page_node, flags: 0 });
}

/// Whether the huge page that a read ended with is the huge zero page.
#[inline(always)]
fn is_huge_zero(fault: u32, seen: Fault) -> bool {
    match memory::huge_zero_frame() {
        Some(frame) => frame == seen.physical >> 12 & !0x1ff,
        None => fault & fault_bits::KNOWN != 0 && config!(huge_zero_reads) != 0,
    }
}

/// Whether automatic NUMA balancing had planted the fault. Where no hook told so, it shows in what the kernel counts for
/// itself, which it sets back to 0 now and then.
#[inline(always)]
fn was_hint<A: Access>(task: Task<A>, state: &mut TaskState, fault: u32, cpu_node: u8) -> bool {
    match config!(hints) {
        hints::HOOK => fault & fault_bits::HINT != 0,
        hints::DELTAS => {
            let Some(now) = task.numa_faults_locality() else { return false };
            let before = state.locality;
            if now == before {
                return false;
            }
            state.locality = now;
            let grew = now[0] >= before[0] && now[1] >= before[1];
            let remote = if grew { now[0] > before[0] } else { now[0] > 0 };
            touch::add(task, CellKey::cell(touch::hint_kind(remote), cpu_node, NO_NODE_BYTE), 1);
            true
        }
        _ => false,
    }
}
