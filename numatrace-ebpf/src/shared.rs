//! What the probes write and the loader reads back: counters, and the clocks of the CPUs.
//!
//! Counters are one cache line a CPU. Hot hooks run with interrupts off and add plainly; cold ones can be
//! interrupted by them on the same CPU, so they add with one atomic instruction.

use core::{
    cell::UnsafeCell,
    intrinsics::{AtomicOrdering, atomic_xadd},
};

use numatrace_common::{
    clock::Clock,
    config::{CpuCounters, MAX_CPUS, Shared, TouchCounters},
};

use crate::kernel::this_cpu;

#[repr(transparent)]
struct SharedCell(UnsafeCell<Shared>);

// SAFETY: each CPU writes its own counters; clocks are written under run-queue locks; the rest is atomic.
unsafe impl Sync for SharedCell {}

#[unsafe(no_mangle)]
static SHARED: SharedCell = SharedCell(UnsafeCell::new(Shared::ZERO));

/// The place of a CPU in arrays of [`MAX_CPUS`].
#[inline(always)]
pub fn slot(cpu: u32) -> usize {
    if (cpu as usize) < MAX_CPUS { cpu as usize } else { MAX_CPUS - 1 }
}

/// The counters of a CPU.
#[inline(always)]
pub fn counters(cpu: u32) -> *mut CpuCounters {
    // SAFETY: the slot is in bounds; the pointer is into a static.
    unsafe { (&raw mut (*SHARED.0.get()).counters).cast::<CpuCounters>().add(slot(cpu)) }
}

/// How a CPU's scheduler clock stands; see `clock.rs`.
#[inline(always)]
pub fn clock(cpu: u32) -> *mut Clock {
    // SAFETY: the slot is in bounds; the pointer is into a static.
    unsafe { (&raw mut (*SHARED.0.get()).clocks).cast::<Clock>().add(slot(cpu)) }
}

/// Page touches of a CPU.
#[inline(always)]
pub fn touch_counters(cpu: u32) -> *mut TouchCounters {
    // SAFETY: the slot is in bounds; the pointer is into a static.
    unsafe { (&raw mut (*SHARED.0.get()).touches).cast::<TouchCounters>().add(slot(cpu)) }
}

#[inline(always)]
fn add_hot(counter: *mut u64, n: u64) {
    // SAFETY: a counter of this CPU; interrupts are off, so nothing on this CPU comes between.
    unsafe { core::ptr::write_volatile(counter, core::ptr::read_volatile(counter).wrapping_add(n)) };
}

#[inline(always)]
fn add_cold(counter: *mut u64, n: u64) {
    // SAFETY: an aligned counter in a static. The intrinsic, because `core` offers no `fetch_add` for this target.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, n) };
}

/// Whether a hook runs with interrupts off.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Path {
    Hot,
    Cold,
}

/// Adds to a counter of this CPU.
#[inline(always)]
pub fn add(path: Path, counter: *mut u64, n: u64) {
    match path {
        Path::Hot => add_hot(counter, n),
        Path::Cold => add_cold(counter, n),
    }
}

/// Threads tracked now.
#[inline(always)]
pub fn tracked() -> u64 {
    // SAFETY: a member of a live static, which other CPUs change.
    unsafe { core::ptr::read_volatile(&raw const (*SHARED.0.get()).tracked) }
}

/// One thread more is tracked.
#[inline(always)]
pub fn count_tracked() {
    // SAFETY: a member of a live static.
    add_cold(unsafe { &raw mut (*SHARED.0.get()).tracked }, 1);
}

/// One thread less is tracked.
#[inline(always)]
pub fn count_untracked() {
    // SAFETY: a member of a live static. Adding the two's complement of 1 subtracts it.
    add_cold(unsafe { &raw mut (*SHARED.0.get()).tracked }, u64::MAX);
}

/// A thread that matches the filter cannot be tracked.
#[inline(always)]
pub fn count_refused_task() {
    let counters = counters(this_cpu());
    // SAFETY: a member of a live static.
    add_cold(unsafe { &raw mut (*counters).tasks_refused }, 1);
}
