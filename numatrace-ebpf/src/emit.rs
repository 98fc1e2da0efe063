//! The only place that writes to rings, and that counts: everything wanted, and every drop with its reason.
//!
//! Records never wake the reader: it comes on a timer (a wakeup for each record would make most of the records
//! the tracer's own). Counters are one cache line a CPU. Hot hooks run with interrupts off and add plainly; cold
//! ones can be interrupted by them on the same CPU, so they add with one atomic instruction.

use core::{
    cell::UnsafeCell,
    intrinsics::{AtomicOrdering, atomic_xadd},
};

use aya_ebpf::{
    bindings::BPF_RB_NO_WAKEUP,
    btf_maps::{ArrayOfMaps, RingBuf},
    macros::btf_map,
};
use numatrace_common::abi::Slice;
use numatrace_common::config::{CpuCounters, CpuRings, MAX_CPUS, MAX_RINGS, NO_RING, Shared};

use crate::kernel::this_cpu;

/// The rings: one for each group of CPUs that share a node. The loader puts them in; the inner size is a stand-in.
#[btf_map]
static RINGS: ArrayOfMaps<RingBuf<u64, 4096>, MAX_RINGS> = ArrayOfMaps::new();

/// Which ring each CPU writes to. Set by the loader.
#[unsafe(no_mangle)]
static CPU_RINGS: CpuRings = [NO_RING; MAX_CPUS];

/// What the loader reads back.
#[repr(transparent)]
struct SharedCell(UnsafeCell<Shared>);

// SAFETY: each CPU writes its own counters; the rest is atomic.
unsafe impl Sync for SharedCell {}

#[unsafe(no_mangle)]
static SHARED: SharedCell = SharedCell(UnsafeCell::new(Shared::ZERO));

#[inline(always)]
fn slot(cpu: u32) -> usize {
    if (cpu as usize) < MAX_CPUS { cpu as usize } else { MAX_CPUS - 1 }
}

#[inline(always)]
fn counters(cpu: u32) -> *mut CpuCounters {
    // SAFETY: the slot is in bounds; the pointer is into a static.
    unsafe { (&raw mut (*SHARED.0.get()).counters).cast::<CpuCounters>().add(slot(cpu)) }
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

#[inline(always)]
fn add(path: Path, counter: *mut u64, n: u64) {
    match path {
        Path::Hot => add_hot(counter, n),
        Path::Cold => add_cold(counter, n),
    }
}

/// Writes one record. Says whether it went into the ring; a drop is counted with its reason.
#[inline(always)]
pub fn emit<T: Copy + 'static>(path: Path, cpu: u32, record: T) -> bool {
    write(path, cpu, counters(cpu), || record)
}

/// Counts a turn and the wait before it, and writes its record, which is made in place.
#[inline(always)]
pub fn emit_turn(path: Path, cpu: u32, waited: bool, wait_ns: u64, record: impl FnOnce() -> Slice) -> bool {
    let counters = counters(cpu);
    // SAFETY: members of a live static.
    unsafe {
        add(path, &raw mut (*counters).slices, 1);
        if waited {
            add(path, &raw mut (*counters).waits, 1);
            add(path, &raw mut (*counters).wait_ns, wait_ns);
        }
    }
    write(path, cpu, counters, record)
}

#[inline(always)]
fn write<T: Copy + 'static>(path: Path, cpu: u32, counters: *mut CpuCounters, record: impl FnOnce() -> T) -> bool {
    // SAFETY: members of a live static.
    let (wanted, full, no_ring) = unsafe {
        (&raw mut (*counters).wanted, &raw mut (*counters).lost_ring_full, &raw mut (*counters).lost_no_ring)
    };
    add(path, wanted, 1);
    // SAFETY: in bounds; volatile because the loader changes the bytes after compilation.
    let ring = unsafe { core::ptr::read_volatile((&raw const CPU_RINGS).cast::<u8>().add(slot(cpu))) };
    let Some(ring) = RINGS.get(u32::from(ring)) else {
        add(path, no_ring, 1);
        return false;
    };
    let Some(mut entry) = ring.reserve_untyped::<T>(0) else {
        add(path, full, 1);
        return false;
    };
    entry.write(record());
    entry.submit(u64::from(BPF_RB_NO_WAKEUP));
    true
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
