//! The only place that writes records, and that counts: everything wanted, and every drop with its reason.
//!
//! Turns, by far the most records, go into the *lane* of their CPU: slots that one CPU fills and user space reads
//! from memory that both see, without a lock. Everything else goes into the BPF
//! ring of the CPU's node. Neither wakes the reader: it comes on a timer (a wakeup for each record would make most
//! of the records the tracer's own).

use core::{
    ptr,
    sync::atomic::{Ordering, compiler_fence},
};

use aya_ebpf::{
    bindings::{BPF_F_INNER_MAP, BPF_F_MMAPABLE, BPF_RB_NO_WAKEUP, bpf_map_type::BPF_MAP_TYPE_ARRAY},
    btf_maps::{Array, ArrayOfMaps, RingBuf},
    helpers::generated::bpf_map_lookup_elem,
    macros::btf_map,
};
use numatrace_common::abi::Slice;
use numatrace_common::config::{CpuCounters, CpuRings, LaneEnds, MAX_CPUS, MAX_RINGS, NO_RING};
use numatrace_common::shed;

use crate::{
    kernel::config,
    shared::{Path, add, counters, slot},
    sums,
};

/// The rings: one for each group of CPUs that share a node. The loader puts them in; the inner size is a stand-in.
#[btf_map]
static RINGS: ArrayOfMaps<RingBuf<u64, 4096>, MAX_RINGS> = ArrayOfMaps::new();

/// Which ring each CPU writes to. Set by the loader.
#[unsafe(no_mangle)]
static CPU_RINGS: CpuRings = [NO_RING; MAX_CPUS];

const LANE_FLAGS: usize = (BPF_F_MMAPABLE | BPF_F_INNER_MAP) as usize;

/// An array of slices that is described by sizes alone. With types, kernels before 6.2 take only maps into [`LANES`]
/// that name the types of this very object (`bpf_map_meta_equal` compares `timer_off`), which the loader cannot.
#[repr(C)]
struct Lane {
    r#type: *const [i32; BPF_MAP_TYPE_ARRAY as usize],
    key_size: *const [i32; size_of::<u32>()],
    value_size: *const [i32; Slice::SIZE],
    max_entries: *const [i32; 1],
    map_flags: *const [i32; LANE_FLAGS],
}

impl Lane {
    #[inline(always)]
    fn slot(&self, at: u32) -> *mut Slice {
        // SAFETY: the verifier checks that this is a map, whose key is 4 bytes long; null where there is no such slot.
        unsafe { bpf_map_lookup_elem(ptr::from_ref(self).cast_mut().cast(), (&raw const at).cast()).cast() }
    }
}

/// The lane of each CPU. The loader puts them in; the inner size is a stand-in.
#[btf_map]
static LANES: ArrayOfMaps<Lane, MAX_CPUS> = ArrayOfMaps::new();

/// How far each lane is written and read.
#[btf_map]
static LANE_ENDS: Array<LaneEnds, MAX_CPUS, { BPF_F_MMAPABLE as usize }> = Array::new();

/// Writes one record into the ring. Says whether it went in; a drop is counted with its reason. Where the probes sum up there
/// are no records.
#[inline(always)]
pub fn emit<T: Copy + 'static>(path: Path, cpu: u32, record: T) -> bool {
    if sums::on() {
        return true;
    }
    let counters = counters(cpu);
    count_wanted(path, counters);
    write_ring(path, cpu, counters, || record)
}

/// As [`emit`], for a record that is made in place: a large one has no room on the stack of a large program.
#[inline(always)]
pub fn emit_in_place<T: Copy + 'static>(path: Path, cpu: u32, record: impl FnOnce() -> T) -> bool {
    let counters = counters(cpu);
    count_wanted(path, counters);
    write_ring(path, cpu, counters, record)
}

/// Writes one record into the ring, made in place from what another CPU may be changing meanwhile: made again, up to
/// `attempts` times, while `version` says that it changed or is being changed. Returns the version that went in.
#[inline(always)]
pub fn emit_steady<T: Copy + 'static>(
    cpu: u32,
    attempts: u32,
    version: impl Fn() -> u32,
    make: impl Fn() -> T,
) -> Option<u32> {
    let counters = counters(cpu);
    // SAFETY: members of a live static.
    let (wanted, full, no_ring) = unsafe {
        (&raw mut (*counters).wanted, &raw mut (*counters).lost_ring_full, &raw mut (*counters).lost_no_ring)
    };
    let Some(ring) = ring_of(cpu) else {
        add(Path::Cold, wanted, 1);
        add(Path::Cold, no_ring, 1);
        return None;
    };
    let Some(mut entry) = ring.reserve_untyped::<T>(0) else {
        add(Path::Cold, wanted, 1);
        add(Path::Cold, full, 1);
        return None;
    };
    let mut attempt = 0;
    while attempt < attempts {
        let before = version();
        compiler_fence(Ordering::SeqCst);
        entry.write(make());
        compiler_fence(Ordering::SeqCst);
        if before == version() && before & 1 == 0 {
            add(Path::Cold, wanted, 1);
            entry.submit(u64::from(BPF_RB_NO_WAKEUP));
            return Some(before);
        }
        attempt += 1;
    }
    // Nothing was wanted: the next visit tells.
    entry.discard(u64::from(BPF_RB_NO_WAKEUP));
    None
}

/// Which turn.
#[derive(Clone, Copy)]
pub struct TurnOf {
    pub tid: u32,
    pub seq: u32,
}

/// Counts a turn and the wait before it, and writes its record, which is made in place, into the lane. Only from
/// `sched_switch`: interrupts are off. A CPU without a lane (one that came online later) writes into the ring. Where user space
/// asked for fewer records, those of most turns are not wanted.
#[inline(always)]
pub fn emit_turn(cpu: u32, turn: TurnOf, waited: bool, wait_ns: u64, record: impl Fn() -> Slice) -> bool {
    let counters = counters(cpu);
    count_turn(Path::Hot, counters, waited, wait_ns);
    let ends = LANE_ENDS.get_ptr_mut(cpu);
    if let Some(ends) = ends {
        // SAFETY: a member of a map's value, which user space writes.
        let mask = unsafe { ptr::read_volatile(&raw const (*ends).shed_mask) };
        if mask != 0 && !shed::keeps(turn.tid, turn.seq, mask as u32) {
            // SAFETY: a member of a live static.
            add(Path::Hot, unsafe { &raw mut (*counters).shed }, 1);
            return true;
        }
    }
    count_wanted(Path::Hot, counters);
    match write_lane(cpu, ends, counters, &record) {
        Some(written) => written,
        None => write_ring(Path::Hot, cpu, counters, record),
    }
}

/// As [`emit_turn`], for the last turn of a thread: it goes into the ring, ahead of the thread's last words, which
/// have the same time.
#[inline(always)]
pub fn emit_last_turn(path: Path, cpu: u32, waited: bool, wait_ns: u64, record: impl FnOnce() -> Slice) -> bool {
    let counters = counters(cpu);
    count_turn(path, counters, waited, wait_ns);
    count_wanted(path, counters);
    write_ring(path, cpu, counters, record)
}

#[inline(always)]
fn count_turn(path: Path, counters: *mut CpuCounters, waited: bool, wait_ns: u64) {
    // SAFETY: members of a live static.
    unsafe {
        add(path, &raw mut (*counters).slices, 1);
        if waited {
            add(path, &raw mut (*counters).waits, 1);
            add(path, &raw mut (*counters).wait_ns, wait_ns);
        }
    }
}

#[inline(always)]
fn count_wanted(path: Path, counters: *mut CpuCounters) {
    // SAFETY: a member of a live static.
    add(path, unsafe { &raw mut (*counters).wanted }, 1);
}

/// Writes into the lane of this CPU; nothing when it has none.
#[inline(always)]
fn write_lane(
    cpu: u32,
    ends: Option<*mut LaneEnds>,
    counters: *mut CpuCounters,
    record: impl Fn() -> Slice,
) -> Option<bool> {
    let ends = ends?;
    let slots = config!(lane_slots);
    // SAFETY: members of a map's value; only this CPU writes the first two, user space the third.
    unsafe {
        let written = (*ends).written;
        if written.wrapping_sub((*ends).taken_seen) >= u64::from(slots) {
            (*ends).taken_seen = ptr::read_volatile(&raw const (*ends).taken);
            if written.wrapping_sub((*ends).taken_seen) >= u64::from(slots) {
                add(Path::Hot, &raw mut (*counters).lost_ring_full, 1);
                add(Path::Hot, &raw mut (*ends).lost, 1);
                return Some(false);
            }
        }
        let slot = LANES.get(cpu)?.slot(written as u32 & (slots - 1));
        if slot.is_null() {
            return None;
        }
        slot.write(record());
        publish(&raw mut (*ends).written, written.wrapping_add(1));
    }
    Some(true)
}

/// Stores a count after everything that was stored before it: x86 does not reorder stores.
///
/// # Safety
/// `count` must be valid for a store.
#[cfg(bpf_target_arch = "x86_64")]
#[inline(always)]
unsafe fn publish(count: *mut u64, value: u64) {
    core::sync::atomic::compiler_fence(core::sync::atomic::Ordering::Release);
    // SAFETY: as above.
    unsafe { ptr::write_volatile(count, value) };
}

/// Stores a count after everything that was stored before it. An exchange is BPF's only store that is a barrier on
/// every kernel that is supported.
///
/// # Safety
/// `count` must be valid for a store.
#[cfg(not(bpf_target_arch = "x86_64"))]
#[inline(always)]
unsafe fn publish(count: *mut u64, value: u64) {
    // SAFETY: as above.
    unsafe { core::intrinsics::atomic_xchg::<u64, { core::intrinsics::AtomicOrdering::SeqCst }>(count, value) };
}

#[inline(always)]
fn ring_of(cpu: u32) -> Option<&'static RingBuf<u64, 4096>> {
    // SAFETY: in bounds; volatile because the loader changes the bytes after compilation.
    let ring = unsafe { ptr::read_volatile((&raw const CPU_RINGS).cast::<u8>().add(slot(cpu))) };
    RINGS.get(u32::from(ring))
}

#[inline(always)]
fn write_ring<T: Copy + 'static>(path: Path, cpu: u32, counters: *mut CpuCounters, record: impl FnOnce() -> T) -> bool {
    // SAFETY: members of a live static.
    let (full, no_ring) = unsafe { (&raw mut (*counters).lost_ring_full, &raw mut (*counters).lost_no_ring) };
    let Some(ring) = ring_of(cpu) else {
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
