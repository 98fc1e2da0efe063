//! The kernel side of numatrace: one hook, one file, named after the hook.
//!
//! ```text
//! hook file -> kernel.rs (struct layout) -> state.rs (per-thread state) -> wait state machine -> emit.rs -> ring
//! ```
//!
//! Every probe is a thin shell around a `try_*` function that is generic over [`kernel::Access`]: `Btf` for
//! `tp_btf` programs, which read kernel structs by plain loads and keep their state in task storage, and `Raw` for
//! `raw_tp` programs, which use helpers and a hash. Hot hooks look state up and never create it.
#![no_std]
#![no_main]
// Atomic addition: a BPF instruction that `core::sync::atomic` does not offer for this target.
#![feature(core_intrinsics)]
#![allow(internal_features)]

mod clock;
mod emit;
mod empty;
mod filter;
mod iter_pids;
mod iter_task;
mod kernel;
mod mm_migrate_pages;
mod page_fault_user;
mod page_faults;
mod page_faults_entry;
mod sched_migrate_task;
mod sched_move_numa;
mod sched_process_exec;
mod sched_process_fork;
mod sched_swap_numa;
mod sched_switch;
mod sched_wakeup;
mod sched_wakeup_new;
mod sched_waking;
mod shared;
mod state;
mod sums;
mod synthetic;
mod task_numa_fault;
mod task_record;
mod task_rename;
mod touch;
mod wakers;

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier refuses a program in which this can be reached.
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
