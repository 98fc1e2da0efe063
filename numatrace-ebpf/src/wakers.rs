//! Who wakes whom, carried from `sched_waking` to the `sched_wakeup` that follows, which another CPU can call.
//!
//! One cell holds both thread ids, written and read as one word: a look-up of the thread's own state, which costs
//! more than all the rest of `sched_waking`, is not needed. Threads whose ids have the same low bits share a cell. When
//! two of them are woken within the microseconds between the two hooks, the first one's waker is lost, not mistaken:
//! the cell names the thread that it is about.

use aya_ebpf::{btf_maps::Array, macros::btf_map};

/// Cells, a power of two.
const CELLS: usize = 4096;

#[btf_map]
static WAKERS: Array<u64, CELLS> = Array::new();

#[inline(always)]
fn cell(tid: u32) -> Option<*mut u64> {
    WAKERS.get_ptr_mut(tid & (CELLS as u32 - 1))
}

/// `waker` is about to wake `tid`.
#[inline(always)]
pub fn note(tid: u32, waker: u32) {
    if let Some(cell) = cell(tid) {
        // SAFETY: a value of the map; volatile because other CPUs write to it. A word is written as a whole.
        unsafe { cell.write_volatile(u64::from(tid) << 32 | u64::from(waker)) };
    }
}

/// Who is waking `tid`, where it is known: once, since the next wakeup is another one, which `sched_waking` may not see.
#[inline(always)]
pub fn of(tid: u32) -> Option<u32> {
    let cell = cell(tid)?;
    // SAFETY: as above.
    let note = unsafe { cell.read_volatile() };
    if (note >> 32) as u32 != tid {
        return None;
    }
    // SAFETY: as above.
    unsafe { cell.write_volatile(0) };
    Some(note as u32)
}
