//! What the loader tells the probes, as one read-only global that the verifier sees as constants.
//!
//! The kernel turns reads of a frozen `.rodata` map into known values while it verifies, so an offset costs
//! nothing at run time and a branch on a switched-off feature is removed.

use crate::clock::Clock;
use crate::wait::TaskState;

/// Largest number of CPUs with counters, a clock and a lane of their own. Higher CPU numbers share the last entry of
/// counters, read the clock anew, and write into a ring.
pub const MAX_CPUS: usize = 1024;

/// Largest number of rings.
pub const MAX_RINGS: usize = 64;

/// In [`CpuRings`]: this CPU has no ring.
pub const NO_RING: u8 = u8::MAX;

/// The ring each CPU writes to.
pub type CpuRings = [u8; MAX_CPUS];

/// A struct member that this kernel does not have.
pub const MISSING: u32 = u32::MAX;

/// Which tasks are targets.
pub mod filter {
    /// Every task but the tracer's own.
    pub const ALL: u32 = 0;
    /// Processes of the `TARGETS` map, and what they fork.
    pub const PROCESS: u32 = 1;
    /// Threads of the `TARGETS` map, nothing else.
    pub const THREAD: u32 = 2;
    /// Threads whose command name equals `comm`.
    pub const COMM: u32 = 3;
    /// Threads in the cgroup with id `cgroup`, or below it.
    pub const CGROUP: u32 = 4;
}

/// Byte offsets of kernel struct members, from BTF; [`MISSING`] where the kernel has no such member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Offsets {
    /// `task_struct.pid`
    pub pid: u32,
    /// `task_struct.tgid`
    pub tgid: u32,
    /// `task_struct.comm`
    pub comm: u32,
    /// `task_struct.__state`
    pub state: u32,
    /// `task_struct.on_cpu`
    pub on_cpu: u32,
    /// `task_struct.on_rq`
    pub on_rq: u32,
    /// `task_struct.thread_info.cpu`, or `task_struct.cpu` before it moved
    pub cpu: u32,
    /// `task_struct.policy`
    pub policy: u32,
    /// `task_struct.static_prio`
    pub static_prio: u32,
    /// `task_struct.start_time`
    pub start_time: u32,
    /// `task_struct.real_parent`
    pub real_parent: u32,
    /// `task_struct.bpf_storage`
    pub bpf_storage: u32,
    /// `task_struct.sched_info.last_queued`
    pub last_queued: u32,
    /// `task_struct.sched_info.last_arrival`
    pub last_arrival: u32,
    /// `task_struct.se.cfs_rq`
    pub cfs_rq: u32,
    /// `cfs_rq.rq`
    pub cfs_rq_rq: u32,
    /// `rq.clock`
    pub rq_clock: u32,
    /// `rq.curr`
    pub rq_curr: u32,
    /// `rq.online`
    pub rq_online: u32,
    /// `task_struct.cgroups`
    pub cgroups: u32,
    /// `css_set.dfl_cgrp` (v2), or the offset of `css_set.subsys[cpu]` (v1)
    pub css: u32,
    /// `cgroup_subsys_state.cgroup`
    pub css_cgroup: u32,
    /// `cgroup.kn`
    pub cgroup_kn: u32,
    /// `kernfs_node.id`
    pub kn_id: u32,
    /// `cgroup.self.parent`, the parent's state
    pub cgroup_parent: u32,
    /// `task_struct.exit_state`
    pub exit_state: u32,
    /// `task_struct.group_leader`
    pub group_leader: u32,
    /// `task_struct.nvcsw`
    pub nvcsw: u32,
}

impl Offsets {
    /// Nothing known: every member is missing.
    pub const NONE: Offsets = Offsets {
        pid: MISSING,
        tgid: MISSING,
        comm: MISSING,
        state: MISSING,
        on_cpu: MISSING,
        on_rq: MISSING,
        cpu: MISSING,
        policy: MISSING,
        static_prio: MISSING,
        start_time: MISSING,
        real_parent: MISSING,
        bpf_storage: MISSING,
        last_queued: MISSING,
        last_arrival: MISSING,
        cfs_rq: MISSING,
        cfs_rq_rq: MISSING,
        rq_clock: MISSING,
        rq_curr: MISSING,
        rq_online: MISSING,
        cgroups: MISSING,
        css: MISSING,
        css_cgroup: MISSING,
        cgroup_kn: MISSING,
        kn_id: MISSING,
        cgroup_parent: MISSING,
        exit_state: MISSING,
        group_leader: MISSING,
        nvcsw: MISSING,
    };
}

/// The probes' configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Config {
    /// Where kernel struct members lie.
    pub offsets: Offsets,
    /// One of [`filter`].
    pub filter: u32,
    /// The tracer's own process, never a target.
    pub own_tgid: u32,
    /// Most threads tracked at one time.
    pub max_tasks: u32,
    /// Not 0: name who held the CPU while a thread waited.
    pub culprits: u32,
    /// Not 0: the cgroup is one of the v1 hierarchy of the cpu controller.
    pub cgroup_v1: u32,
    /// Slots of each lane, a power of two.
    pub lane_slots: u32,
    /// Not 0: the scheduler's clock goes as evenly as the kernel's own clock source.
    pub steady_clock: u32,
    /// Always 0.
    pub reserved: u32,
    /// When tracing began, ns of `CLOCK_MONOTONIC`: a process or thread that started later and has an id that was
    /// asked for is another one, which got the id anew.
    pub began: u64,
    /// For [`filter::CGROUP`]: the id of the cgroup (the inode number of its directory).
    pub cgroup: u64,
    /// For [`filter::COMM`]: the name, NUL-padded.
    pub comm: [u8; 16],
}

impl Config {
    /// A configuration that tracks nothing it should not: no offsets, no target.
    pub const EMPTY: Config = Config {
        offsets: Offsets::NONE,
        filter: filter::PROCESS,
        own_tgid: 0,
        max_tasks: 0,
        culprits: 0,
        cgroup_v1: 0,
        lane_slots: 1,
        steady_clock: 0,
        reserved: 0,
        began: u64::MAX,
        cgroup: 0,
        comm: [0; 16],
    };
}

/// Counters of one CPU, written by the probes alone. On its own cache lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct CpuCounters {
    /// Records the probes wanted to write.
    pub wanted: u64,
    /// Of these, lost because the ring refused.
    pub lost_ring_full: u64,
    /// Of these, lost because this CPU has no ring.
    pub lost_no_ring: u64,
    /// Threads that could not be tracked.
    pub tasks_refused: u64,
    /// Turns that ended.
    pub slices: u64,
    /// Waits that ended.
    pub waits: u64,
    /// Sum of these waits in ns.
    pub wait_ns: u64,
    /// Always 0.
    pub reserved: u64,
}

impl CpuCounters {
    /// Nothing counted.
    pub const ZERO: CpuCounters = CpuCounters {
        wanted: 0,
        lost_ring_full: 0,
        lost_no_ring: 0,
        tasks_refused: 0,
        slices: 0,
        waits: 0,
        wait_ns: 0,
        reserved: 0,
    };
}

/// How far the lane of one CPU is written and read: counts of turns since the start, of which the low bits are the
/// slot. Memory that the probes and the drain thread see at once; each side writes to cache lines of its own.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct LaneEnds {
    /// Turns written. The probes write it, after the turn itself.
    pub written: u64,
    /// `taken`, as the probes last saw it: they look only when the lane seems full.
    pub taken_seen: u64,
    /// Fills the cache line.
    pub probes_line: [u64; 6],
    /// Turns that user space has copied. User space writes it.
    pub taken: u64,
    /// Fills the cache line.
    pub reader_line: [u64; 7],
}

/// What the probes write and the loader reads back: the whole of the object's `.bss`.
#[repr(C)]
pub struct Shared {
    /// One entry a CPU.
    pub counters: [CpuCounters; MAX_CPUS],
    /// How the scheduler's clock of each CPU stands to `CLOCK_MONOTONIC`.
    pub clocks: [Clock; MAX_CPUS],
    /// Threads tracked now.
    pub tracked: u64,
    /// Fills the last cache line.
    pub reserved: [u64; 7],
}

impl Shared {
    /// Nothing counted.
    pub const ZERO: Shared = Shared {
        counters: [CpuCounters::ZERO; MAX_CPUS],
        clocks: [Clock::ZERO; MAX_CPUS],
        tracked: 0,
        reserved: [0; 7],
    };
}

const _: () = {
    assert!(core::mem::size_of::<Shared>() == MAX_CPUS * (64 + 64) + 64);
    assert!(core::mem::size_of::<CpuCounters>() == 64);
    assert!(core::mem::size_of::<LaneEnds>() == 128);
    assert!(core::mem::size_of::<Config>() == 28 * 4 + 8 * 4 + 8 + 8 + 16);
    assert!(core::mem::size_of::<TaskState>() <= 256);
};
