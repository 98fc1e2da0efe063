//! The time of a scheduler event, reading the clock once a switch.
//!
//! In `sched_wakeup` the kernel has just brought the clock of the thread's run queue up to date (`update_rq_clock` in
//! `ttwu_queue`), so that clock is taken instead of reading another. It is not `CLOCK_MONOTONIC`: it starts elsewhere
//! and is not steered by NTP, and where the hardware's counter is not trusted it differs between CPUs. So each CPU
//! compares the two at a switch every millisecond. In `sched_switch` itself the run queue's clock does not
//! do: when a wakeup preempts, the kernel leaves it as the wakeup set it (`rq_clock_skip_update`).

use numatrace_common::clock::{COMPARE_NS, next_offset};

use crate::{
    kernel::{Access, Task, now},
    shared::{clock_offset, counters},
};

/// Now, ns of `CLOCK_MONOTONIC`, in `sched_switch` on `cpu`, of which `task` is one of the two.
#[inline(always)]
pub fn switch_time<A: Access>(task: Task<A>, cpu: u32) -> u64 {
    let now = now();
    // SAFETY: members of a live static that only this CPU writes, with interrupts off.
    unsafe {
        let compared = &raw mut (*counters(cpu)).clock_compared;
        if now.wrapping_sub(compared.read_volatile()) >= COMPARE_NS
            && let Some(clock) = task.rq_clock()
        {
            compared.write_volatile(now);
            let offset = clock_offset(cpu);
            offset.write_volatile(next_offset(offset.read_volatile(), now.wrapping_sub(clock)));
        }
    }
    now
}

/// Now, ns of `CLOCK_MONOTONIC`, in `sched_wakeup` of `task`, which is being queued on `cpu`.
#[inline(always)]
pub fn queue_time<A: Access>(task: Task<A>, cpu: u32) -> u64 {
    let Some(clock) = task.rq_clock() else { return now() };
    // SAFETY: a member of a live static, which another CPU may write.
    match unsafe { clock_offset(cpu).read_volatile() } {
        0 => now(),
        offset => clock.wrapping_add(offset),
    }
}
