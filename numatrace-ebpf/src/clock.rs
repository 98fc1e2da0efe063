//! The time of a wakeup, mostly without reading a clock.
//!
//! In `sched_wakeup` the kernel has just brought the clock of the thread's run queue up to date (`update_rq_clock` in
//! `ttwu_queue`), so that clock is taken instead of reading another. It is not `CLOCK_MONOTONIC`: it starts elsewhere
//! and is not steered by NTP. So the two are set against each other all the time, see [`numatrace_common::clock`]. Where
//! the hardware's counter is not trusted it can leap, and is not used. Threads that a remote CPU woke together get the
//! time at which their queue took them in. (Before 6.7 the kernel leaves the clock alone once in a long while, when a
//! queue's lock was dropped in the middle of a switch: such a wakeup is some microseconds too early.)
//!
//! In `sched_switch` the run queue's clock does not do: when a wakeup preempts, the kernel leaves it as the wakeup set
//! it (`rq_clock_skip_update`).

use numatrace_common::config::MAX_CPUS;

use crate::{
    kernel::{Access, Task, config, now},
    shared,
};

/// Now, ns of `CLOCK_MONOTONIC`, in `sched_wakeup` of `task`, which is being queued on `cpu`, under that queue's lock.
#[inline(always)]
pub fn queue_time<A: Access>(task: Task<A>, cpu: u32) -> u64 {
    if config!(steady_clock) == 0 || cpu as usize >= MAX_CPUS {
        return now();
    }
    match task.rq_clock() {
        // SAFETY: a member of a live static; who uses it holds the lock of that CPU's queue.
        Some(clock) => unsafe { &mut *shared::clock(cpu) }.time(clock, now),
        None => now(),
    }
}
