//! For how long a CPU quota has stopped the queue of a thread: `cfs_rq`, the queue of a cgroup on a CPU.
//!
//! No tracepoint tells when a quota stops a queue. The kernel sums it up in the queue itself, for cpu.stat.local and for
//! its averages of load (`tg_throttle_down` and `tg_unthrottle_up` in kernel/sched/fair.c), and what a queue was stopped
//! between the two ends of a wait is the throttled part of that wait. The queue's own clock goes beside, which stands
//! still on a CPU that is idle: what is read while a wait goes on is up to the last moment that it was set.

use numatrace_common::{config::throttle, wait::Stopped};

use super::{Access, Raw, Task, config, probe, read};

/// `SCHED_NORMAL` (0), `SCHED_BATCH` (3) and `SCHED_IDLE` (5), a bit each: a CPU quota stops these alone.
const FAIR: u32 = 1 << 0 | 1 << 3 | 1 << 5;

impl<A: Access> Task<A> {
    /// The queue on which a wait of this task begins; none where a quota cannot be what it waits for.
    #[inline(always)]
    pub fn stopped_from_now(self) -> Stopped {
        if config!(throttle) == throttle::OFF || !self.can_be_throttled() {
            return Stopped::NOT;
        }
        self.stopped()
    }

    /// The queue that it is in, up to now.
    #[inline(always)]
    pub fn stopped(self) -> Stopped {
        match read::<A, *const u8>(self.ptr, config!(offsets.cfs_rq)) {
            Some(queue) => stopped::<A>(queue),
            None => Stopped::NOT,
        }
    }

    /// The queue of its cgroup on another CPU.
    #[inline(always)]
    pub fn stopped_on(self, cpu: u32) -> Stopped {
        if !self.can_be_throttled() {
            return Stopped::NOT;
        }
        let queue = || {
            let here = read::<A, *const u8>(self.ptr, config!(offsets.cfs_rq))?;
            let group = probe::<*const u8>(here, config!(offsets.cfs_rq_tg))?;
            let queues = probe::<*const u8>(group, config!(offsets.tg_cfs_rq))?;
            probe::<*const u8>(queues, cpu * size_of::<u64>() as u32)
        };
        match queue() {
            Some(queue) => stopped::<Raw>(queue),
            None => Stopped::NOT,
        }
    }

    /// Since 6.18 a quota stops a thread when it leaves the kernel, and not before: then `throttled` is set. Until then it
    /// is in its queue as any other, stopped or not.
    #[inline(always)]
    fn can_be_throttled(self) -> bool {
        if config!(throttle) == throttle::THREAD {
            return read::<A, u8>(self.ptr, config!(offsets.task_throttled)).unwrap_or(0) != 0;
        }
        FAIR >> (self.policy() & 31) & 1 != 0
    }
}

#[inline(always)]
fn stopped<A: Access>(queue: *const u8) -> Stopped {
    let ns =
        if config!(throttle) == throttle::LOAD { stopped_by_load::<A>(queue) } else { stopped_by_queue::<A>(queue) };
    match ns {
        Some(ns) => Stopped { queue: queue as u64, ns },
        None => Stopped::NOT,
    }
}

#[inline(always)]
fn stopped_by_queue<A: Access>(queue: *const u8) -> Option<u64> {
    let sum = read::<A, u64>(queue, config!(offsets.throttled_self_time))?;
    let since = read::<A, u64>(queue, config!(offsets.throttled_self))?;
    if since == 0 {
        return Some(sum);
    }
    let rq = read::<A, *const u8>(queue, config!(offsets.cfs_rq_rq))?;
    Some(with_open(sum, since, read::<A, u64>(rq, config!(offsets.rq_clock))?))
}

#[inline(always)]
fn stopped_by_load<A: Access>(queue: *const u8) -> Option<u64> {
    let sum = read::<A, u64>(queue, config!(offsets.throttled_pelt_time))?;
    if read::<A, u32>(queue, config!(offsets.throttle_count))? == 0 {
        return Some(sum);
    }
    let since = read::<A, u64>(queue, config!(offsets.throttled_pelt))?;
    let rq = read::<A, *const u8>(queue, config!(offsets.cfs_rq_rq))?;
    let clock = read::<A, u64>(rq, config!(offsets.rq_clock_pelt))?;
    // `rq_clock_pelt()`
    let now = clock.wrapping_sub(read::<A, u64>(rq, config!(offsets.rq_lost_idle))?);
    Some(with_open(sum, since, now))
}

/// The stop that goes on counts as well.
#[inline(always)]
fn with_open(sum: u64, since: u64, now: u64) -> u64 {
    sum.wrapping_add(now.saturating_sub(since))
}
