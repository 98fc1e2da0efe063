//! What the probes count while they write no records (`serve`): sums of threads, of groups of threads, and of CPUs.
//!
//! ```text
//! end of a turn, migration -> ThreadSums (beside the thread's state) -> GroupSums, when the thread is visited or dies
//!                          -> CpuSums, at once
//! ```
//!
//! A thread has memory of its own, so that threads of one process do not contend. The task iterator visits threads when
//! user space is about to read, and moves what they have into their group.

use crate::buckets::BUCKETS;
use crate::wait::TaskState;

/// What [`Config::counting`](crate::config::Config::counting) says.
pub mod counting {
    /// Nothing is counted: turns are records.
    pub const OFF: u32 = 0;
    /// Groups are processes, in each cgroup apart.
    pub const PROCESSES: u32 = 1;
    /// Groups are threads of one name in a process.
    pub const THREAD_GROUPS: u32 = 2;
}

/// Levels of migrations: within a core, a last-level cache, a node, across nodes, and where the topology does not say.
pub const LEVELS: usize = 5;
/// Of [`LEVELS`].
pub mod level {
    /// Within a core.
    pub const SMT: usize = 0;
    /// Within a last-level cache.
    pub const LLC: usize = 1;
    /// Within a node.
    pub const NODE: usize = 2;
    /// To another node.
    pub const CROSS_NODE: usize = 3;
    /// Not known.
    pub const UNKNOWN: usize = 4;
}

/// In [`CpuPlace`]: not known.
pub const NO_PLACE: u16 = u16::MAX;

/// Where a CPU is, in numbers that only have to differ: its core and its last-level cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct CpuPlace {
    /// Its core.
    pub core: u16,
    /// Its last-level cache.
    pub llc: u16,
}

/// Groups that can be counted between two reads.
pub const MAX_GROUPS: u32 = 8_192;

/// What a thread has counted and its group has not yet. The CPU that it runs on adds to `buckets`, the one that moves it to
/// `levels`, and whoever moves them to the group takes them out: each with one atomic instruction.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ThreadSums {
    /// The kernel's start time of the process.
    pub process_start: u64,
    /// What the group knows of [`TaskState::cpu_ns`], and of the turn that goes on.
    pub told_cpu_ns: u64,
    /// What it knows of the waits.
    pub told_wait_ns: u64,
    /// What it knows of [`TaskState::throttled_ns`].
    pub told_throttled_ns: u64,
    /// [`TaskState::seq`], as it was then.
    pub told_seq: u32,
    /// [`TaskState::migrations`], as it was then.
    pub told_migrations: u32,
    /// [`TaskState::resyncs`], as it was then.
    pub told_resyncs: u32,
    /// Always 0.
    pub reserved: u32,
    /// Not 0: somebody is moving the sums to the group.
    pub busy: u64,
    /// Migrations by [`level`].
    pub levels: [u64; LEVELS],
    /// Waits by [`bucket`](crate::buckets::bucket), two in a word, the even one in its low half.
    pub buckets: [u64; BUCKETS / 2],
}

/// The state of a thread with its sums.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Counted {
    /// As without sums.
    pub task: TaskState,
    /// Its sums.
    pub sums: ThreadSums,
}

/// A group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct GroupKey {
    /// The kernel's start time of the process.
    pub start_ns: u64,
    /// Id of the cgroup, 0 where it cannot be read.
    pub cgroup: u64,
    /// The process.
    pub tgid: u32,
    /// Always 0.
    pub reserved: u32,
    /// Name of the threads, where they are grouped by it.
    pub comm: [u8; 16],
}

/// Sums of a group since they were read last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct GroupSums {
    /// Name of the process.
    pub comm: [u8; 16],
    /// Time on CPU.
    pub cpu_ns: u64,
    /// Sum of the waits.
    pub wait_ns: u64,
    /// Throttled part of them.
    pub throttled_ns: u64,
    /// Transitions that were not seen.
    pub unseen: u64,
    /// Migrations by [`level`].
    pub levels: [u64; LEVELS],
    /// Waits by [`bucket`](crate::buckets::bucket).
    pub buckets: [u64; BUCKETS],
}

impl GroupSums {
    /// Nothing counted.
    pub const ZERO: GroupSums = GroupSums {
        comm: [0; 16],
        cpu_ns: 0,
        wait_ns: 0,
        throttled_ns: 0,
        unseen: 0,
        levels: [0; LEVELS],
        buckets: [0; BUCKETS],
    };
}

/// Sums of a CPU since tracing began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct CpuSums {
    /// Time of turns that ended here.
    pub cpu_ns: u64,
    /// Sum of the waits before them.
    pub wait_ns: u64,
    /// Throttled part of these.
    pub throttled_ns: u64,
    /// Threads whose sums found no room for their group.
    pub no_group: u64,
    /// Migrations from here, by [`level`]: other CPUs add too.
    pub levels: [u64; LEVELS],
    /// Waits by [`bucket`](crate::buckets::bucket).
    pub buckets: [u64; BUCKETS],
    /// Fills the cache line.
    pub reserved: [u64; 1],
}

impl CpuSums {
    /// Nothing counted.
    pub const ZERO: CpuSums = CpuSums {
        cpu_ns: 0,
        wait_ns: 0,
        throttled_ns: 0,
        no_group: 0,
        levels: [0; LEVELS],
        buckets: [0; BUCKETS],
        reserved: [0; 1],
    };
}

const _: () = {
    assert!(core::mem::size_of::<CpuSums>().is_multiple_of(64));
    assert!(core::mem::size_of::<GroupSums>() == 16 + 8 * (4 + LEVELS + BUCKETS));
    assert!(core::mem::size_of::<GroupKey>() == 40);
    assert!(BUCKETS.is_multiple_of(2));
    // With the kernel's own bookkeeping it is a block of 1 KiB.
    assert!(core::mem::size_of::<Counted>() <= 900);
};
