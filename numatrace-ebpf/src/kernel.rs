//! The one place that knows kernel struct layout: member reads at offsets that the loader took from BTF.
//!
//! Two ways to read, chosen at compile time of a program. [`Btf`]: the argument of a `tp_btf` hook is a typed
//! pointer, and the verifier checks a plain load against the kernel's own type information; a load that faults
//! gives 0. [`Raw`]: `bpf_probe_read_kernel`.

pub mod memory;
pub mod quota;

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_get_smp_processor_id, bpf_ktime_get_ns, bpf_probe_read_kernel};
use numatrace_common::config::{Config, MISSING};

/// The loader's configuration. Read-only and frozen: the verifier sees constants.
#[unsafe(no_mangle)]
static CONFIG: Config = Config::EMPTY;

/// Reads one member of the configuration in a way that the compiler does not fold.
macro_rules! config {
    ($($member:ident).+) => {{
        // SAFETY: a static of this type; volatile because the loader changes the bytes after compilation.
        unsafe { core::ptr::read_volatile(&raw const $crate::kernel::config_ref().$($member).+) }
    }};
}
pub(crate) use config;

#[inline(always)]
pub fn config_ref() -> &'static Config {
    &CONFIG
}

/// How kernel memory is read.
pub trait Access: Copy {
    /// Arguments are typed pointers.
    const BTF: bool;
}

/// Plain loads, checked by the verifier.
#[derive(Clone, Copy)]
pub struct Btf;
impl Access for Btf {
    const BTF: bool = true;
}

/// Helper calls.
#[derive(Clone, Copy)]
pub struct Raw;
impl Access for Raw {
    const BTF: bool = false;
}

/// A `struct task_struct *`.
#[derive(Clone, Copy)]
pub struct Task<A> {
    ptr: *const u8,
    access: core::marker::PhantomData<A>,
}

/// Reads a `T` at `ptr + offset`; a missing member or a failed read is `None` (for [`Btf`], a failed read is 0).
#[inline(always)]
fn read<A: Access, T: Copy>(ptr: *const u8, offset: u32) -> Option<T> {
    if offset == MISSING {
        return None;
    }
    if A::BTF {
        // SAFETY: the verifier checks that this is a member of the pointer's type; faults read as zero.
        Some(unsafe { core::ptr::read_volatile(ptr.add(offset as usize).cast::<T>()) })
    } else {
        // SAFETY: the helper checks the address.
        unsafe { bpf_probe_read_kernel(ptr.wrapping_add(offset as usize).cast::<T>()) }.ok()
    }
}

/// Reads through a helper, whatever kind of pointer it is; for cold paths that walk far.
#[inline(always)]
pub fn probe<T: Copy>(ptr: *const u8, offset: u32) -> Option<T> {
    read::<Raw, T>(ptr, offset)
}

impl<A: Access> Task<A> {
    #[inline(always)]
    pub fn new(ptr: *const u8) -> Self {
        Task { ptr, access: core::marker::PhantomData }
    }

    #[inline(always)]
    pub fn ptr(self) -> *const u8 {
        self.ptr
    }

    /// The thread id.
    #[inline(always)]
    pub fn pid(self) -> u32 {
        read::<A, u32>(self.ptr, config!(offsets.pid)).unwrap_or(0)
    }

    /// The process id.
    #[inline(always)]
    pub fn tgid(self) -> u32 {
        read::<A, u32>(self.ptr, config!(offsets.tgid)).unwrap_or(0)
    }

    /// `__state`: 0 is running or runnable.
    #[inline(always)]
    pub fn state(self) -> u32 {
        read::<A, u32>(self.ptr, config!(offsets.state)).unwrap_or(0)
    }

    /// Not 0 once the thread is a zombie or dead.
    #[inline(always)]
    pub fn exit_state(self) -> u32 {
        read::<A, u32>(self.ptr, config!(offsets.exit_state)).unwrap_or(0)
    }

    /// It is on a CPU at this moment.
    #[inline(always)]
    pub fn on_cpu(self) -> bool {
        read::<A, u32>(self.ptr, config!(offsets.on_cpu)).unwrap_or(0) != 0
    }

    /// 1 when queued, 2 while it is moved between queues.
    #[inline(always)]
    pub fn on_rq(self) -> u32 {
        read::<A, u32>(self.ptr, config!(offsets.on_rq)).unwrap_or(0)
    }

    /// The CPU whose queue it belongs to.
    #[inline(always)]
    pub fn cpu(self) -> u32 {
        read::<A, u32>(self.ptr, config!(offsets.cpu)).unwrap_or(0)
    }

    #[inline(always)]
    pub fn policy(self) -> u32 {
        read::<A, u32>(self.ptr, config!(offsets.policy)).unwrap_or(0)
    }

    #[inline(always)]
    pub fn static_prio(self) -> u32 {
        read::<A, u32>(self.ptr, config!(offsets.static_prio)).unwrap_or(0)
    }

    /// `CLOCK_MONOTONIC` at its start.
    #[inline(always)]
    pub fn start_time(self) -> u64 {
        read::<A, u64>(self.ptr, config!(offsets.start_time)).unwrap_or(0)
    }

    /// Command name, by helper: it is an array, and every caller is cold.
    #[inline(always)]
    pub fn comm(self) -> [u8; 16] {
        probe::<[u8; 16]>(self.ptr, config!(offsets.comm)).unwrap_or([0; 16])
    }

    /// The kernel's count of voluntary switches, its low half.
    #[inline(always)]
    pub fn nvcsw(self) -> Option<u32> {
        read::<A, u64>(self.ptr, config!(offsets.nvcsw)).map(|count| count as u32)
    }

    /// `CLOCK_MONOTONIC` at the start of its process: a leader keeps it when another thread takes its place at exec.
    #[inline(always)]
    pub fn process_start_time(self) -> u64 {
        let Some(leader) = probe::<*const u8>(self.ptr, config!(offsets.group_leader)) else { return 0 };
        probe::<u64>(leader, config!(offsets.start_time)).unwrap_or(0)
    }

    /// Name of its process: that of its first thread.
    #[inline(always)]
    pub fn process_comm(self) -> [u8; 16] {
        let Some(leader) = probe::<*const u8>(self.ptr, config!(offsets.group_leader)) else { return [0; 16] };
        probe::<[u8; 16]>(leader, config!(offsets.comm)).unwrap_or([0; 16])
    }

    /// Id of its own cgroup: the inode number of its directory, in v2 or in the v1 hierarchy that the configuration names.
    #[inline(always)]
    pub fn cgroup_id(self) -> Option<u64> {
        probe::<u64>(probe::<*const u8>(self.cgroup()?, config!(offsets.cgroup_kn))?, config!(offsets.kn_id))
    }

    /// `task->cgroups->dfl_cgrp` (v2), or `task->cgroups->subsys[cpu]->cgroup` (v1).
    #[inline(always)]
    pub fn cgroup(self) -> Option<*const u8> {
        let css_set = probe::<*const u8>(self.ptr, config!(offsets.cgroups))?;
        let cgroup = probe::<*const u8>(css_set, config!(offsets.css))?;
        if config!(cgroup_v1) != 0 { probe::<*const u8>(cgroup, config!(offsets.css_cgroup)) } else { Some(cgroup) }
    }

    /// The process id of its parent.
    #[inline(always)]
    pub fn parent_tgid(self) -> u32 {
        let Some(parent) = read::<A, *const u8>(self.ptr, config!(offsets.real_parent)) else {
            return 0;
        };
        read::<A, u32>(parent, config!(offsets.tgid)).unwrap_or(0)
    }

    /// No BPF program keeps anything for this task: a load instead of a helper call for all that are no targets.
    #[inline(always)]
    pub fn has_no_storage(self) -> bool {
        match read::<A, *const u8>(self.ptr, config!(offsets.bpf_storage)) {
            Some(storage) => storage.is_null(),
            None => false,
        }
    }

    /// `struct rq *` of the CPU whose queue it belongs to.
    #[inline(always)]
    fn rq(self) -> Option<*const u8> {
        let cfs_rq = read::<A, *const u8>(self.ptr, config!(offsets.cfs_rq))?;
        read::<A, *const u8>(cfs_rq, config!(offsets.cfs_rq_rq))
    }

    /// The scheduler's own clock of the CPU whose queue it belongs to. Current only where the kernel has just
    /// brought it up to date, as in `sched_wakeup` of a thread that is not on a CPU.
    #[inline(always)]
    pub fn rq_clock(self) -> Option<u64> {
        if !A::BTF {
            return None;
        }
        read::<A, u64>(self.rq()?, config!(offsets.rq_clock))
    }

    /// The thread that holds the CPU whose queue this task is in, and its process: `rq->curr`. Right under the queue's
    /// lock.
    #[inline(always)]
    pub fn holder(self) -> Option<(u32, u32)> {
        let curr = read::<A, *const u8>(self.rq()?, config!(offsets.rq_curr))?;
        Some((read::<A, u32>(curr, config!(offsets.pid))?, read::<A, u32>(curr, config!(offsets.tgid))?))
    }

    /// Its CPU is on the way to being offline.
    #[inline(always)]
    pub fn cpu_going_offline(self) -> bool {
        match self.rq() {
            Some(rq) => read::<A, u32>(rq, config!(offsets.rq_online)) == Some(0),
            None => false,
        }
    }

    /// How long it has been on its CPU, by the scheduler's own clock: `rq->clock - sched_info.last_arrival`.
    #[inline(always)]
    pub fn ran_for(self) -> Option<u64> {
        let arrival = read::<A, u64>(self.ptr, config!(offsets.last_arrival))?;
        let clock = read::<A, u64>(self.rq()?, config!(offsets.rq_clock))?;
        if arrival == 0 || clock < arrival { None } else { Some(clock - arrival) }
    }

    /// How long it has been queued, by the scheduler's own clock: `rq->clock - sched_info.last_queued`.
    #[inline(always)]
    pub fn queued_for(self) -> Option<u64> {
        let queued = read::<A, u64>(self.ptr, config!(offsets.last_queued))?;
        let clock = read::<A, u64>(self.rq()?, config!(offsets.rq_clock))?;
        if queued == 0 || clock < queued { None } else { Some(clock - queued) }
    }
}

/// Nanoseconds of `CLOCK_MONOTONIC`.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_ns() }
}

/// The CPU this runs on.
#[inline(always)]
pub fn this_cpu() -> u32 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_get_smp_processor_id() }
}

/// The thread that is current on this CPU; 0 is the idle task.
#[inline(always)]
pub fn current_tid() -> u32 {
    bpf_get_current_pid_tgid() as u32
}
