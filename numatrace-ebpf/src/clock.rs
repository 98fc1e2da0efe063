//! The time of a wakeup without reading a clock.
//!
//! In `sched_wakeup` the kernel has just brought the clock of the thread's run queue up to date (`update_rq_clock` in
//! `ttwu_queue`), so that clock is taken instead of reading another. It is not `CLOCK_MONOTONIC`: it starts elsewhere
//! and is not steered by NTP, and where the hardware's counter is not trusted it differs between CPUs. So the two are
//! compared once a millisecond for each CPU, in the same hook. In `sched_switch` the run queue's clock does not do:
//! when a wakeup preempts, the kernel leaves it as the wakeup set it (`rq_clock_skip_update`).

use numatrace_common::clock::{COMPARE_NS, next_offset};

use crate::{
    kernel::{Access, Task, now},
    shared,
};

/// Now, ns of `CLOCK_MONOTONIC`, in `sched_wakeup` of `task`, which is being queued on `cpu`, under that queue's lock.
#[inline(always)]
pub fn queue_time<A: Access>(task: Task<A>, cpu: u32) -> u64 {
    let Some(clock) = task.rq_clock() else { return now() };
    let known = shared::clock(cpu);
    // SAFETY: members of a live static; who writes them holds the lock of that CPU's queue.
    unsafe {
        let (offset, measured_at) = (&raw mut (*known).offset, &raw mut (*known).measured_at);
        if clock.wrapping_sub(measured_at.read_volatile()) >= COMPARE_NS {
            let now = now();
            measured_at.write_volatile(clock);
            offset.write_volatile(next_offset(offset.read_volatile(), now.wrapping_sub(clock)));
            return now;
        }
        clock.wrapping_add(offset.read_volatile())
    }
}
