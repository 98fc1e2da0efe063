//! Counts instead of writing records: see `numatrace_common::sums`. Alone in adding to the sums of threads, groups and CPUs.
//!
//! Groups are in one of two hashes, and user space says in which: the other one is at rest, so that it can be read and
//! emptied while nobody adds to it.

use core::{
    intrinsics::{AtomicOrdering, atomic_cxchg, atomic_xadd, atomic_xchg},
    ptr,
};

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    btf_maps::Array,
    helpers::generated::bpf_map_update_elem,
    macros::{btf_map, map},
    maps::HashMap,
};
use numatrace_common::{
    buckets::{BUCKETS, bucket},
    config::{MAX_CPUS, NO_NODE_BYTE},
    sums::{Counted, CpuPlace, CpuSums, GroupKey, GroupSums, LEVELS, NO_PLACE, ThreadSums, counting, level},
    wait::{TaskState, Turn, phase},
};

use crate::{
    kernel::{Access, Task, config, now, this_cpu},
    shared::slot,
    touch::node_of_cpu,
};

/// Groups, while the low bit of [`TURN`] is 0. The loader makes both small where nothing is counted.
#[map]
static GROUPS_0: HashMap<GroupKey, GroupSums> = HashMap::with_max_entries(1, 0);

/// Groups, while it is 1.
#[map]
static GROUPS_1: HashMap<GroupKey, GroupSums> = HashMap::with_max_entries(1, 0);

/// Which of the two is added to. User space writes it.
#[btf_map]
static TURN: Array<u32, 1> = Array::new();

/// Sums of CPUs, by their number.
#[map]
static CPU_SUMS: aya_ebpf::maps::Array<CpuSums> = aya_ebpf::maps::Array::with_max_entries(1, 0);

/// Where each CPU is. Set by the loader.
#[unsafe(no_mangle)]
static CPU_PLACES: [CpuPlace; MAX_CPUS] = [CpuPlace { core: NO_PLACE, llc: NO_PLACE }; MAX_CPUS];

/// A new group: too large for the stack.
#[unsafe(no_mangle)]
static NEW_GROUP: GroupSums = GroupSums::ZERO;

/// How often the sums are moved, or it is tried to.
const ROUNDS: u32 = 4;

/// Whether the probes sum up instead of writing records.
#[inline(always)]
pub fn on() -> bool {
    config!(counting) != counting::OFF
}

/// The sums beside a state. Only while [`on`]: only then the state has them.
#[inline(always)]
fn beside(state: &mut TaskState) -> *mut ThreadSums {
    // SAFETY: the state is the first member of `Counted`; the verifier checks the bounds.
    unsafe { &raw mut (*ptr::from_mut(state).cast::<Counted>()).sums }
}

#[inline(always)]
fn of_cpu(cpu: u32) -> Option<*mut CpuSums> {
    CPU_SUMS.get_ptr_mut(slot(cpu) as u32)
}

/// Adds to a number that other CPUs add to as well.
///
/// # Safety
/// A valid, aligned number.
#[inline(always)]
unsafe fn add(number: *mut u64, n: u64) {
    // SAFETY: as promised.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(number, n) };
}

/// Tracking begins.
#[inline(always)]
pub fn begin<A: Access>(task: Task<A>, state: &mut TaskState) {
    if !on() {
        return;
    }
    let start = task.process_start_time();
    // SAFETY: the sums of this state.
    unsafe { (*beside(state)).process_start = start };
}

/// A turn ended on this CPU, while the state still holds it. `throttled` is what a quota took of its wait. Interrupts are off.
#[inline(always)]
pub fn turn(state: &mut TaskState, cpu: u32, turn: Turn, throttled: u64) {
    let wait_ns = state.wait_ns;
    let at = bucket(wait_ns);
    let waited = turn.waited();
    if waited && at < BUCKETS {
        // SAFETY: in bounds; see `ThreadSums` for who else changes it.
        unsafe {
            let word = (&raw mut (*beside(state)).buckets).cast::<u64>().add(at / 2);
            add(word, 1 << (32 * (at as u64 & 1)));
        }
    }
    let Some(sums) = of_cpu(cpu) else { return };
    // SAFETY: a value of the map, which only this CPU changes here, with interrupts off.
    unsafe {
        (*sums).cpu_ns = (*sums).cpu_ns.wrapping_add(turn.ran);
        (*sums).throttled_ns = (*sums).throttled_ns.wrapping_add(throttled);
        if waited && at < BUCKETS {
            (*sums).wait_ns = (*sums).wait_ns.wrapping_add(wait_ns);
            let number = (&raw mut (*sums).buckets).cast::<u64>().add(at);
            *number = (*number).wrapping_add(1);
        }
    }
}

/// A thread is moved from one CPU to another.
#[inline(always)]
pub fn migration(state: &mut TaskState, from: u32, to: u32) {
    let at = level_of(from, to);
    // SAFETY: in bounds; see `ThreadSums` for who else changes it.
    unsafe {
        add((&raw mut (*beside(state)).levels).cast::<u64>().add(at), 1);
    }
    let Some(sums) = of_cpu(from) else { return };
    // SAFETY: in bounds of a value of the map.
    unsafe { add((&raw mut (*sums).levels).cast::<u64>().add(at), 1) };
}

#[inline(always)]
fn place(cpu: u32) -> CpuPlace {
    // SAFETY: in bounds; volatile because the loader changes the bytes after compilation.
    unsafe { ptr::read_volatile((&raw const CPU_PLACES).cast::<CpuPlace>().add(slot(cpu))) }
}

#[inline(always)]
fn level_of(from: u32, to: u32) -> usize {
    let (from_node, to_node) = (node_of_cpu(from), node_of_cpu(to));
    if from_node == NO_NODE_BYTE || to_node == NO_NODE_BYTE {
        return level::UNKNOWN;
    }
    if from_node != to_node {
        return level::CROSS_NODE;
    }
    let (from, to) = (place(from), place(to));
    if from.core == NO_PLACE || to.core == NO_PLACE {
        level::UNKNOWN
    } else if from.core == to.core {
        level::SMT
    } else if from.llc == to.llc {
        level::LLC
    } else {
        level::NODE
    }
}

/// Nobody is moving the sums of this thread.
const IDLE: u64 = 0;
/// Somebody is.
const BUSY: u64 = 1;
/// Somebody is, and has to do it once more.
const AGAIN: u64 = 2;

/// Moves what a thread has into its group: when it is visited, and when it dies.
///
/// The visit and the thread's death can come at once. Whoever is first does it, and once more when the other one came
/// meanwhile.
#[inline(always)]
pub fn flush<A: Access>(task: Task<A>, state: &mut TaskState) {
    let sums = beside(state);
    // SAFETY: a member of the sums of this state.
    let busy = unsafe { &raw mut (*sums).busy };
    if !enter(busy) {
        return;
    }
    let group = group(task, state, sums);
    let mut round = 0;
    while round < ROUNDS {
        if let Some(group) = group {
            // SAFETY: a value of the map, and the sums of this state.
            unsafe { move_to(group, state, sums) };
        }
        if change(busy, BUSY, IDLE) {
            return;
        }
        set(busy, BUSY);
        round += 1;
    }
    set(busy, IDLE);
}

/// Whether it is this one's turn; where it is not, it will be done for it.
#[inline(always)]
fn enter(busy: *mut u64) -> bool {
    let mut attempt = 0;
    while attempt < ROUNDS {
        if change(busy, IDLE, BUSY) {
            return true;
        }
        if change(busy, BUSY, AGAIN) || !change(busy, IDLE, IDLE) {
            return false;
        }
        attempt += 1;
    }
    false
}

#[inline(always)]
fn change(word: *mut u64, from: u64, to: u64) -> bool {
    // SAFETY: a valid, aligned word.
    unsafe { atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(word, from, to).1 }
}

#[inline(always)]
fn set(word: *mut u64, to: u64) {
    // SAFETY: a valid, aligned word.
    unsafe { atomic_xchg::<u64, { AtomicOrdering::SeqCst }>(word, to) };
}

/// The group of a thread; where there is no room for it the one that stands for all others, and then it is counted.
#[inline(always)]
fn group<A: Access>(task: Task<A>, state: &TaskState, sums: *mut ThreadSums) -> Option<*mut GroupSums> {
    let mut key = GroupKey {
        // SAFETY: the sums of this state.
        start_ns: unsafe { (*sums).process_start },
        cgroup: task.cgroup_id().unwrap_or(0),
        tgid: state.tgid,
        reserved: 0,
        comm: [0; 16],
    };
    if config!(counting) == counting::THREAD_GROUPS {
        key.comm = task.comm();
    }
    // Once: user space may change it meanwhile, and waits until this program has ended before it reads the other one.
    let odd = turn_is_odd();
    let found = find(odd, &key).or_else(|| {
        create(odd, &key);
        let group = find(odd, &key)?;
        // SAFETY: a value of the map.
        unsafe { (*group).comm = task.process_comm() };
        Some(group)
    });
    if found.is_some() {
        return found;
    }
    if let Some(sums) = of_cpu(this_cpu()) {
        // SAFETY: a value of the map.
        unsafe { add(&raw mut (*sums).no_group, 1) };
    }
    find(odd, &GroupKey { start_ns: 0, cgroup: 0, tgid: 0, reserved: 0, comm: [0; 16] })
}

#[inline(always)]
fn turn_is_odd() -> bool {
    // SAFETY: a value of the map, which user space writes.
    TURN.get_ptr(0).is_some_and(|turn| unsafe { turn.read_volatile() } & 1 != 0)
}

#[inline(always)]
fn find(odd: bool, key: &GroupKey) -> Option<*mut GroupSums> {
    if odd { GROUPS_1.get_ptr_mut(key) } else { GROUPS_0.get_ptr_mut(key) }
}

/// One that is there already, because another CPU was faster, stays.
#[inline(always)]
fn create(odd: bool, key: &GroupKey) {
    let map = if odd { &raw const GROUPS_1 } else { &raw const GROUPS_0 };
    // SAFETY: a map, and a key and a value of its sizes.
    unsafe {
        bpf_map_update_elem(
            map.cast_mut().cast(),
            ptr::from_ref(key).cast(),
            (&raw const NEW_GROUP).cast(),
            u64::from(BPF_NOEXIST),
        )
    };
}

/// # Safety
/// A group, and the sums of this state, which nobody else is moving.
#[inline(always)]
unsafe fn move_to(group: *mut GroupSums, state: &TaskState, sums: *mut ThreadSums) {
    // SAFETY: as promised; the state may change meanwhile on the thread's CPU, and then the next visit has the rest.
    unsafe {
        let now = now();
        let read = |number: *const u64| number.read_volatile();
        // First of all, so that whatever comes after this is news to the next visit; a turn that is being counted is, too.
        let changing = u32::from((&raw const state.version).read_volatile() & 1 != 0);
        let seq = (&raw const state.seq).read_volatile().wrapping_sub(changing);
        let migrations = (&raw const state.migrations).read_volatile();
        // Before the beginning of the turn that goes on: it must not be counted twice.
        let mut cpu_ns = read(&raw const state.cpu_ns);
        let since = read(&raw const state.since);
        if (&raw const state.phase).read_volatile() == phase::RUNNING && now > since {
            // A thread that never leaves its CPU grows as well.
            cpu_ns = cpu_ns.wrapping_add(now - since);
        }
        let wait_ns = read(&raw const state.wakeup_ns).wrapping_add(read(&raw const state.preempted_ns));
        let throttled_ns = read(&raw const state.throttled_ns);
        grow(&raw mut (*group).cpu_ns, &raw mut (*sums).told_cpu_ns, cpu_ns);
        grow(&raw mut (*group).wait_ns, &raw mut (*sums).told_wait_ns, wait_ns);
        grow(&raw mut (*group).throttled_ns, &raw mut (*sums).told_throttled_ns, throttled_ns);
        let resyncs = state.resyncs;
        let unseen = resyncs.wrapping_sub((*sums).told_resyncs);
        if unseen != 0 {
            (*sums).told_resyncs = resyncs;
            add(&raw mut (*group).unseen, u64::from(unseen));
        }
        (*sums).told_seq = seq;
        (*sums).told_migrations = migrations;
        take_levels((&raw mut (*sums).levels).cast(), (&raw mut (*group).levels).cast());
        take_buckets((&raw mut (*sums).buckets).cast(), (&raw mut (*group).buckets).cast());
    }
}

/// Adds to a group by how much a sum has grown since it was told. One that was read while it changed can be less than what was
/// told: it is made good later.
///
/// # Safety
/// Valid, aligned numbers.
#[inline(always)]
unsafe fn grow(of_group: *mut u64, told: *mut u64, sum: u64) {
    // SAFETY: as promised.
    unsafe {
        let before = *told;
        if sum > before {
            *told = sum;
            add(of_group, sum - before);
        }
    }
}

/// Takes a number out of a thread's sums.
///
/// # Safety
/// A valid, aligned number.
#[inline(always)]
unsafe fn take(number: *mut u64) -> u64 {
    // SAFETY: as promised. Mostly there is nothing, and looking is cheaper than taking.
    unsafe { if number.read_volatile() == 0 { 0 } else { atomic_xchg::<u64, { AtomicOrdering::Relaxed }>(number, 0) } }
}

/// # Safety
/// [`LEVELS`] valid, aligned numbers each.
#[inline(always)]
unsafe fn take_levels(from: *mut u64, to: *mut u64) {
    let mut at = 0;
    while at < LEVELS {
        // SAFETY: as promised.
        unsafe {
            let taken = take(from.add(at));
            if taken != 0 {
                add(to.add(at), taken);
            }
        }
        at += 1;
    }
}

/// # Safety
/// Half of [`BUCKETS`] valid, aligned words, and so many numbers.
#[inline(always)]
unsafe fn take_buckets(from: *mut u64, to: *mut u64) {
    let mut at = 0;
    while at < BUCKETS / 2 {
        // SAFETY: as promised.
        unsafe {
            let taken = take(from.add(at));
            if taken != 0 {
                add(to.add(2 * at), taken & 0xffff_ffff);
                add(to.add(2 * at + 1), taken >> 32);
            }
        }
        at += 1;
    }
}

/// Whether a visit has anything to move.
#[inline(always)]
pub fn is_news(state: &mut TaskState) -> bool {
    let sums = beside(state);
    // SAFETY: the sums of this state.
    unsafe {
        state.phase == phase::RUNNING
            || (*sums).told_seq != state.seq
            || (*sums).told_migrations != state.migrations
            || (*sums).told_resyncs != state.resyncs
    }
}
