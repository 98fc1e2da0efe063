//! The perf software event `PERF_COUNT_SW_PAGE_FAULTS`: a page fault begins. Stands in for `page_fault_user` where a
//! kernel has no such tracepoint.
//!
//! The architecture's fault handler calls `perf_sw_event` before `handle_mm_fault`, with the address alone.

use core::ffi::c_void;

use crate::{
    kernel::{Access, Btf, Raw, Task, memory},
    page_fault_user::begin,
    state,
};

#[unsafe(no_mangle)]
#[unsafe(link_section = "perf_event")]
pub extern "C" fn page_faults_entry(ctx: *mut c_void) -> u32 {
    try_page_fault_begin::<Btf>(ctx);
    0
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "perf_event")]
pub extern "C" fn raw_page_faults_entry(ctx: *mut c_void) -> u32 {
    try_page_fault_begin::<Raw>(ctx);
    0
}

#[inline(always)]
fn try_page_fault_begin<A: Access>(ctx: *mut c_void) {
    let task: Task<A> = memory::current();
    let Some(state) = state::lookup(task) else { return };
    state.fault = 0;
    state.locality[0] = begin(task, memory::fault_address(ctx), 0);
}
