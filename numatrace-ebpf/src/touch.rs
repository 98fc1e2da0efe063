//! Counts page touches, by thread, nodes and kind, and samples some with their addresses.
//!
//! Cells are kept in a hash that user space reads at each tick, so that nothing is lost on the way, also of threads that
//! have ended meanwhile. A cell belongs to one thread, which is on one CPU at a time: adding to it needs no lock.

use core::{
    ffi::c_void,
    intrinsics::{AtomicOrdering, atomic_xadd},
};

use aya_ebpf::{
    bindings::{BPF_F_USER_STACK, BPF_NOEXIST},
    btf_maps::Array,
    helpers::generated::{bpf_get_prandom_u32, bpf_get_stack},
    macros::{btf_map, map},
    maps::HashMap,
};
use numatrace_common::{
    abi::{NO_NODE, STACK_DEPTH, TouchSample, TouchStack, sample_flags, touch},
    config::{
        CellCount, CellKey, CpuNodes, MAX_CPUS, MAX_NODE_IDS, MAX_STEPS, NO_NODE_BYTE, NodeMap, NodePositions,
        SAMPLE_STRETCH_SHIFT, Sampling, TouchCounters,
    },
    wait::TaskState,
};

use crate::{
    emit::emit,
    kernel::{
        Access, Task, config,
        memory::{self, Mapping, VM_SHARED},
        now, this_cpu,
    },
    shared::{Path, slot, touch_counters},
    sums,
};

/// What was counted. The loader makes it small where page touches are off.
#[map]
static CELLS: HashMap<CellKey, CellCount> = HashMap::with_max_entries(1, 0);

/// Which node a page frame belongs to.
#[btf_map]
static NODE_MAP: Array<NodeMap, 1> = Array::new();

/// How densely to sample.
#[btf_map]
static SAMPLING: Array<Sampling, 1> = Array::new();

/// Position of the node of each CPU. Set by the loader.
#[unsafe(no_mangle)]
static CPU_NODES: CpuNodes = [NO_NODE_BYTE; MAX_CPUS];

/// Position of each node by the kernel's number. Set by the loader.
#[unsafe(no_mangle)]
static NODE_POSITIONS: NodePositions = [NO_NODE_BYTE; MAX_NODE_IDS];

/// Position of the node of a CPU.
#[inline(always)]
pub fn node_of_cpu(cpu: u32) -> u8 {
    // SAFETY: in bounds; volatile because the loader changes the bytes after compilation.
    unsafe { core::ptr::read_volatile((&raw const CPU_NODES).cast::<u8>().add(slot(cpu))) }
}

/// Position of a node.
#[inline(always)]
pub fn position_of(node: i32) -> u8 {
    if node < 0 || node as usize >= MAX_NODE_IDS {
        return NO_NODE_BYTE;
    }
    // SAFETY: in bounds; volatile because the loader changes the bytes after compilation.
    unsafe { core::ptr::read_volatile((&raw const NODE_POSITIONS).cast::<u8>().add(node as usize)) }
}

/// Position of the node of a page, by its physical address; 0 is no page.
#[inline(always)]
pub fn node_of_page(physical: u64) -> u8 {
    if physical == 0 {
        return NO_NODE_BYTE;
    }
    if config!(nodes) == 1 {
        return 0;
    }
    let Some(map) = NODE_MAP.get_ptr(0) else { return NO_NODE_BYTE };
    let frame = physical >> 12;
    let mut at = 0;
    let mut half = MAX_STEPS / 2;
    while half > 0 {
        let middle = (at + half) & (MAX_STEPS - 1);
        // SAFETY: in bounds of a map's value.
        if unsafe { (*map).starts[middle] } <= frame {
            at = middle;
        }
        half /= 2;
    }
    // SAFETY: as above.
    unsafe { (*map).nodes[at & (MAX_STEPS - 1)] }
}

/// Adds to a cell of a thread. `false` where there is no room for it.
#[inline(always)]
pub fn add<A: Access>(task: Task<A>, cell: u32, count: u64) -> bool {
    if sums::on() {
        // Of a process, whose threads are on many CPUs, and all kinds of touches as one.
        let (kind, ..) = CellKey { start_ns: 0, tid: 0, cell }.parts();
        let cell = if (kind as usize) < touch::KINDS { cell & !0xff } else { cell };
        let (start_ns, tgid) = (task.process_start_time(), task.tgid());
        let stored = add_to_cell(start_ns, tgid, cell, tgid, count) != 0;
        if !stored && kind as usize >= touch::KINDS {
            // Touches are counted by whoever adds them.
            let counters = touch_counters(this_cpu());
            // SAFETY: as in `count`.
            unsafe { (*counters).no_cell = (*counters).no_cell.wrapping_add(1) };
        }
        return stored;
    }
    add_to_cell(task.start_time(), task.pid(), cell, task.tgid(), count) != 0
}

/// A function of its own: programs that add to several cells would have no room on their stack for several keys. Its name is
/// as it stands here, since a mangled one depends on the folder in which it was compiled.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn add_to_cell(start_ns: u64, tid: u32, cell: u32, tgid: u32, count: u64) -> u32 {
    let key = CellKey { start_ns, tid, cell };
    if let Some(found) = CELLS.get_ptr_mut(&key) {
        grow(found, count);
        return 1;
    }
    let first = CellCount { count, tgid, reserved: 0 };
    if CELLS.insert(&key, &first, u64::from(BPF_NOEXIST)).is_ok() {
        return 1;
    }
    if sums::on()
        && let Some(found) = CELLS.get_ptr_mut(&key)
    {
        // Another thread of the process was faster.
        grow(found, count);
        return 1;
    }
    0
}

#[inline(always)]
fn grow(cell: *mut CellCount, count: u64) {
    // SAFETY: a value of the map; see the module.
    unsafe {
        if sums::on() {
            atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(&raw mut (*cell).count, count);
        } else {
            (*cell).count = (*cell).count.wrapping_add(count);
        }
    }
}

/// A hint fault ended: the time since it began, which is told only once.
#[inline(always)]
pub fn end_hint<A: Access>(task: Task<A>, state: &mut TaskState, cpu_node: u8) {
    let began = state.fault_began;
    if config!(hint_time) == 0 || began == 0 {
        return;
    }
    state.fault_began = 0;
    add(task, CellKey::cell(touch::HINT_TIME, cpu_node, NO_NODE_BYTE), now().saturating_sub(began));
}

/// Takes one away from a cell of a thread.
#[inline(always)]
pub fn take_back<A: Access>(task: Task<A>, cell: u32) {
    let key = CellKey { start_ns: task.start_time(), tid: task.pid(), cell };
    if let Some(found) = CELLS.get_ptr_mut(&key) {
        // SAFETY: a value of the map; see the module.
        unsafe { (*found).count = (*found).count.saturating_sub(1) };
    }
}

/// Counts a page touch.
#[inline(always)]
pub fn count<A: Access>(task: Task<A>, cpu: u32, cell: u32) {
    let counters = touch_counters(cpu);
    let stored = add(task, cell, 1);
    // SAFETY: counters of this CPU, which only page faults change: they come with preemption off and do not nest.
    unsafe {
        (*counters).touches = (*counters).touches.wrapping_add(1);
        if !stored {
            (*counters).no_cell = (*counters).no_cell.wrapping_add(1);
        }
    }
}

/// A page touch that may be sampled.
#[derive(Clone, Copy)]
pub struct Touch<A> {
    pub task: Task<A>,
    pub mm: *const u8,
    pub mapping: Option<Mapping>,
    pub address: u64,
    pub kind: u8,
    pub cpu: u32,
    pub cpu_node: u8,
    pub page_node: u8,
    /// More of [`sample_flags`].
    pub flags: u16,
}

/// How many touches of this CPU a sample of this one would stand for; nothing where it is not its turn.
#[inline(always)]
fn turn(counters: *mut TouchCounters, remote: bool) -> Option<(u32, u64)> {
    let sampling = SAMPLING.get_ptr_mut(0)?;
    let index = usize::from(remote);
    // SAFETY: a map's value and counters of this CPU. Two CPUs that begin a stretch at once can let some more samples
    // through, no more than there are CPUs.
    unsafe {
        let every = (*sampling).every[index];
        if every == 0 {
            return None;
        }
        let since = (*counters).since_sample[index].wrapping_add(1);
        (*counters).since_sample[index] = since;
        // Beyond the first it is left to chance: a program may alternate.
        if since < every || every > 1 && bpf_get_prandom_u32() & 1 == 0 {
            return None;
        }
        let at = now();
        let stretch = at >> SAMPLE_STRETCH_SHIFT;
        if (*sampling).stretch != stretch {
            (*sampling).stretch = stretch;
            (*sampling).taken = 0;
        }
        // Remote ones are what people look for: half of the room is for them alone.
        let most = if remote { u64::from((*sampling).most) } else { u64::from((*sampling).most / 2) };
        if (*sampling).taken >= most {
            (*counters).rate_limited = (*counters).rate_limited.wrapping_add(1);
            return None;
        }
        atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(&raw mut (*sampling).taken, 1);
        (*counters).since_sample[index] = 0;
        Some((since, at))
    }
}

/// Samples a touch where it is its turn.
#[inline(always)]
pub fn sample<A: Access>(ctx: *mut c_void, seen: Touch<A>) {
    if seen.page_node == NO_NODE_BYTE {
        // Neither local nor remote: where it comes from is not asked.
        return;
    }
    let remote = seen.page_node != seen.cpu_node;
    let Some((weight, at)) = turn(touch_counters(seen.cpu), remote) else { return };
    tell(ctx, seen, at, weight);
}

/// Writes a sample, and its callers where they were asked for.
#[inline(always)]
pub fn tell<A: Access>(ctx: *mut c_void, seen: Touch<A>, at: u64, weight: u32) {
    let Touch { task, mm, mapping, address, kind, cpu, cpu_node, page_node, flags } = seen;
    let mut record = TouchSample {
        header: TouchSample::header(at, cpu as u16, wide(page_node)),
        tid: task.pid(),
        tgid: task.tgid(),
        address,
        ip: memory::user_ip(),
        map_start: 0,
        map_end: 0,
        weight,
        kind: u16::from(kind),
        flags,
        policy: 0,
        cpu_node: wide(cpu_node),
        reserved: 0,
        policy_nodes: 0,
    };
    if let Some(mapping) = mapping {
        (record.map_start, record.map_end) = mapping.range();
        record.flags |= sample_flags::MAPPING;
        if mapping.has_file() {
            record.flags |= sample_flags::FILE;
        } else {
            let (start_brk, brk, start_stack) = memory::heap_and_stack(mm);
            if record.map_start <= brk && record.map_end >= start_brk {
                record.flags |= sample_flags::HEAP;
            } else if record.map_start <= start_stack && record.map_end >= start_stack {
                record.flags |= sample_flags::STACK;
            }
        }
        (record.policy, record.policy_nodes) = mapping.policy(task);
    }
    let (tid, tgid) = (record.tid, record.tgid);
    emit(Path::Cold, cpu, record);
    if config!(stacks) != 0 && !ctx.is_null() {
        stack(ctx, cpu, at, tid, tgid);
    }
}

#[inline(always)]
fn stack(ctx: *mut c_void, cpu: u32, at: u64, tid: u32, tgid: u32) {
    let mut record = TouchStack {
        header: TouchStack::header(at, cpu as u16, 0),
        tid,
        tgid,
        depth: 0,
        reserved: 0,
        frames: [0; STACK_DEPTH],
    };
    let bytes = (STACK_DEPTH * 8) as u32;
    // SAFETY: the context of a program that may call this, and as much room as it is told. The first frame is the place
    // itself: it is left out.
    let got = unsafe { bpf_get_stack(ctx, record.frames.as_mut_ptr().cast(), bytes, u64::from(BPF_F_USER_STACK) | 1) };
    if got > 0 {
        record.depth = (got as u32) / 8;
        emit(Path::Cold, cpu, record);
    }
}

/// A position as records have it.
#[inline(always)]
fn wide(node: u8) -> u16 {
    if node == NO_NODE_BYTE { NO_NODE } else { u16::from(node) }
}

/// Whether the mapping is of a file, and whether writes go there.
#[inline(always)]
pub fn file_and_shared(mapping: Option<Mapping>) -> (bool, bool) {
    match mapping {
        Some(mapping) => (mapping.has_file(), mapping.flags() & VM_SHARED != 0),
        None => (false, false),
    }
}

/// Whether a hint fault's page was on another node.
#[inline(always)]
pub const fn hint_kind(remote: bool) -> u8 {
    if remote { touch::HINT_REMOTE } else { touch::HINT_LOCAL }
}
