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

/// Turns that one run of the benchmarks' producer writes at most.
pub const SYNTHETIC_BURST: u32 = 128;

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

/// How the page of a touch is found.
pub mod resolve {
    /// Page touches are not looked at.
    pub const OFF: u32 = 0;
    /// The kernel has looked up its address in memory before the program runs (`PERF_SAMPLE_PHYS_ADDR`, since 6.3).
    pub const PHYS_ADDR: u32 = 1;
    /// The program walks the page tables.
    pub const WALK: u32 = 2;
    /// Not by the program: it sees the fault before there is a page, and tells the address.
    pub const ENTRY: u32 = 3;
}

/// How the probes know which part of a wait a CPU quota caused.
pub mod throttle {
    /// They do not.
    pub const OFF: u32 = 0;
    /// By the time for which the queue's average load stood still (`throttled_clock_pelt_time`, before 6.6): also while
    /// nobody waited there, so it is too much where the thread came to a stopped queue.
    pub const LOAD: u32 = 1;
    /// By the time for which the queue was stopped with threads in it (`throttled_clock_self_time`).
    pub const QUEUE: u32 = 2;
    /// The same, of threads that the quota stopped themselves (`task_struct.throttled`, since 6.18): others run on until
    /// they leave the kernel.
    pub const THREAD: u32 = 3;
}

/// How hint faults are told from other faults.
pub mod hints {
    /// There are none.
    pub const OFF: u32 = 0;
    /// By a program at `task_numa_fault`.
    pub const HOOK: u32 = 1;
    /// By what that function adds to `task_struct.numa_faults_locality`.
    pub const DELTAS: u32 = 2;
}

/// Where the node of a CPU is not known, or has a position of its own no more, in tables of one byte.
pub const NO_NODE_BYTE: u8 = u8::MAX;

/// Position of the node of each CPU.
pub type CpuNodes = [u8; MAX_CPUS];

/// Kernel's numbers of nodes that are told apart.
pub const MAX_NODE_IDS: usize = 1024;

/// Position of each node, by the kernel's number.
pub type NodePositions = [u8; MAX_NODE_IDS];

/// Steps of [`NodeMap`], at most: a power of two.
pub const MAX_STEPS: usize = 1024;

/// Which node a page frame belongs to: a step function. Written by user space, again when memory comes or goes.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct NodeMap {
    /// First frame of each step, in order; unused ones are at the greatest number.
    pub starts: [u64; MAX_STEPS],
    /// Position of its node, or [`NO_NODE_BYTE`].
    pub nodes: [u8; MAX_STEPS],
}

/// Counted apart by the probes: a thread, the node of its CPU, the node of the page, and the kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct CellKey {
    /// The kernel's start time of the thread.
    pub start_ns: u64,
    /// The thread.
    pub tid: u32,
    /// One of [`touch`](crate::abi::touch), then the positions of the nodes of CPU and page, a byte each, from the lowest.
    pub cell: u32,
}

impl CellKey {
    /// The cell of a kind and two nodes.
    #[inline(always)]
    pub const fn cell(kind: u8, cpu_node: u8, page_node: u8) -> u32 {
        kind as u32 | (cpu_node as u32) << 8 | (page_node as u32) << 16
    }

    /// Kind, node of the CPU and node of the page.
    pub const fn parts(self) -> (u8, u8, u8) {
        (self.cell as u8, (self.cell >> 8) as u8, (self.cell >> 16) as u8)
    }
}

/// How often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct CellCount {
    /// Since tracing began.
    pub count: u64,
    /// The thread's process.
    pub tgid: u32,
    /// Always 0.
    pub reserved: u32,
}

/// Cells, at most: beyond, what is counted has no thread.
pub const MAX_CELLS: u32 = 131_072;

/// Page touches of one CPU, and where its sampling stands. On its own cache line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct TouchCounters {
    /// Page touches of targets.
    pub touches: u64,
    /// Of these, in no cell for want of room.
    pub no_cell: u64,
    /// Samples left out because there were enough in that stretch of time.
    pub rate_limited: u64,
    /// Touches since the last sample: local ones and others, remote ones.
    pub since_sample: [u32; 2],
    /// Always 0.
    pub reserved: [u64; 4],
}

impl TouchCounters {
    /// Nothing counted.
    pub const ZERO: TouchCounters =
        TouchCounters { touches: 0, no_cell: 0, rate_limited: 0, since_sample: [0; 2], reserved: [0; 4] };
}

/// How densely page touches are sampled, in a map of its own. Written by user space, but for the last two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Sampling {
    /// One in so many of a CPU's: local ones and others, remote ones; 0 for none.
    pub every: [u32; 2],
    /// Samples of all CPUs in a stretch of [`SAMPLE_STRETCH_SHIFT`], at most.
    pub most: u32,
    /// Always 0.
    pub reserved: u32,
    /// Number of the current stretch.
    pub stretch: u64,
    /// Samples in it.
    pub taken: u64,
    /// Fills the cache line.
    pub fill: [u64; 4],
}

impl Sampling {
    /// No samples.
    pub const NONE: Sampling = Sampling { every: [0; 2], most: 0, reserved: 0, stretch: 0, taken: 0, fill: [0; 4] };
}

/// A stretch of time in which samples are counted: 2^27 ns, about 134 ms.
pub const SAMPLE_STRETCH_SHIFT: u32 = 27;

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
    /// `task_struct.mm`
    pub mm: u32,
    /// `task_struct.mempolicy`
    pub mempolicy: u32,
    /// `task_struct.numa_faults_locality`
    pub numa_faults_locality: u32,
    /// `mm_struct.mm_mt.ma_root`
    pub mm_root: u32,
    /// `mm_struct.mm_lock_seq`
    pub mm_lock_seq: u32,
    /// `mm_struct.pgd`
    pub mm_pgd: u32,
    /// `mm_struct.start_brk`
    pub mm_start_brk: u32,
    /// `mm_struct.brk`
    pub mm_brk: u32,
    /// `mm_struct.start_stack`
    pub mm_start_stack: u32,
    /// `vm_area_struct.vm_start`
    pub vma_start: u32,
    /// `vm_area_struct.vm_end`
    pub vma_end: u32,
    /// `vm_area_struct.vm_flags`
    pub vma_flags: u32,
    /// `vm_area_struct.vm_file`
    pub vma_file: u32,
    /// `vm_area_struct.vm_policy`
    pub vma_policy: u32,
    /// `mempolicy.mode`
    pub policy_mode: u32,
    /// `mempolicy.nodes`
    pub policy_nodes: u32,
    /// `bpf_perf_event_data_kern.data`
    pub event_data: u32,
    /// `perf_sample_data.addr`
    pub sample_addr: u32,
    /// `perf_sample_data.phys_addr`
    pub sample_phys_addr: u32,
    /// `perf_sample_data.data_page_size`
    pub sample_page_size: u32,
    /// `pt_regs.ip (x86) or pt_regs.pc (arm64)`
    pub regs_ip: u32,
    /// `cfs_rq.tg`
    pub cfs_rq_tg: u32,
    /// `task_group.cfs_rq`
    pub tg_cfs_rq: u32,
    /// `task_struct.throttled`
    pub task_throttled: u32,
    /// `cfs_rq.throttled_clock_self`
    pub throttled_self: u32,
    /// `cfs_rq.throttled_clock_self_time`
    pub throttled_self_time: u32,
    /// `cfs_rq.throttled_clock_pelt`
    pub throttled_pelt: u32,
    /// `cfs_rq.throttled_clock_pelt_time`
    pub throttled_pelt_time: u32,
    /// `cfs_rq.throttle_count`
    pub throttle_count: u32,
    /// `rq.clock_pelt`
    pub rq_clock_pelt: u32,
    /// `rq.lost_idle_time`
    pub rq_lost_idle: u32,
    /// Always 0.
    pub reserved: u32,
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
        mm: MISSING,
        mempolicy: MISSING,
        numa_faults_locality: MISSING,
        mm_root: MISSING,
        mm_lock_seq: MISSING,
        mm_pgd: MISSING,
        mm_start_brk: MISSING,
        mm_brk: MISSING,
        mm_start_stack: MISSING,
        vma_start: MISSING,
        vma_end: MISSING,
        vma_flags: MISSING,
        vma_file: MISSING,
        vma_policy: MISSING,
        policy_mode: MISSING,
        policy_nodes: MISSING,
        event_data: MISSING,
        sample_addr: MISSING,
        sample_phys_addr: MISSING,
        sample_page_size: MISSING,
        regs_ip: MISSING,
        cfs_rq_tg: MISSING,
        tg_cfs_rq: MISSING,
        task_throttled: MISSING,
        throttled_self: MISSING,
        throttled_self_time: MISSING,
        throttled_pelt: MISSING,
        throttled_pelt_time: MISSING,
        throttle_count: MISSING,
        rq_clock_pelt: MISSING,
        rq_lost_idle: MISSING,
        reserved: 0,
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
    /// One of [`resolve`]: how the page of a touch is found.
    pub resolve: u32,
    /// One of [`hints`]: how hint faults are told from other faults.
    pub hints: u32,
    /// Nodes of the machine.
    pub nodes: u32,
    /// Not 0: samples have callers.
    pub stacks: u32,
    /// `migrate_reason` of a page that NUMA balancing moves.
    pub numa_misplaced: u32,
    /// Pages of at least so many bytes are huge ones: what a page middle directory maps.
    pub huge_page_bytes: u64,
    /// Where the kernel's linear map begins, as an address of the variable that says so; 0 where it is not known.
    pub page_offset_base: u64,
    /// Not 0: page tables have five levels.
    pub five_levels: u32,
    /// One of [`throttle`]: how the throttled part of a wait is told.
    pub throttle: u32,
    /// Address of the variable that holds the frame of the huge zero page; 0 where it is not known.
    pub huge_zero_pfn: u64,
    /// Address of the variable that holds the bits of page-table entries that say that memory is encrypted; 0: none.
    pub encryption_mask: u64,
    /// Not 0: a read of fresh anonymous memory that ends with a huge page ends with the huge zero page.
    pub huge_zero_reads: u32,
    /// Not 0: the time in hint faults is summed up.
    pub hint_time: u32,
    /// One of [`counting`](crate::sums::counting): not 0 where the probes sum up instead of writing records.
    pub counting: u32,
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
        resolve: resolve::OFF,
        hints: hints::OFF,
        nodes: 1,
        stacks: 0,
        numa_misplaced: 0,
        huge_page_bytes: 0,
        page_offset_base: 0,
        five_levels: 0,
        throttle: throttle::OFF,
        huge_zero_pfn: 0,
        encryption_mask: 0,
        huge_zero_reads: 0,
        hint_time: 0,
        counting: 0,
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
    /// Turns that ended without a record because user space asked for fewer: they are not wanted.
    pub shed: u64,
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
        shed: 0,
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
    /// Turns that found no room in it.
    pub lost: u64,
    /// Fills the cache line.
    pub probes_line: [u64; 5],
    /// Turns that user space has copied. User space writes it.
    pub taken: u64,
    /// Which turns get a record: the mask of [`keeps`](crate::shed::keeps). User space writes it.
    pub shed_mask: u64,
    /// Fills the cache line.
    pub reader_line: [u64; 6],
}

/// What the probes write and the loader reads back: the whole of the object's `.bss`.
#[repr(C)]
pub struct Shared {
    /// One entry a CPU.
    pub counters: [CpuCounters; MAX_CPUS],
    /// How the scheduler's clock of each CPU stands to `CLOCK_MONOTONIC`.
    pub clocks: [Clock; MAX_CPUS],
    /// Page touches of each CPU.
    pub touches: [TouchCounters; MAX_CPUS],
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
        touches: [TouchCounters::ZERO; MAX_CPUS],
        tracked: 0,
        reserved: [0; 7],
    };
}

const _: () = {
    assert!(core::mem::size_of::<Shared>() == MAX_CPUS * (64 + 64 + 64) + 64);
    assert!(core::mem::size_of::<CpuCounters>() == 64);
    assert!(core::mem::size_of::<LaneEnds>() == 128);
    assert!(core::mem::size_of::<Config>() == 60 * 4 + 12 * 4 + 8 + 8 + 2 * 4 + 8 + 8 + 4 * 4 + 8 + 8 + 16);
    assert!(core::mem::size_of::<TouchCounters>() == 64 && core::mem::size_of::<Sampling>() == 64);
    assert!(core::mem::size_of::<CellKey>() == 16 && core::mem::size_of::<CellCount>() == 16);
    assert!(core::mem::size_of::<NodeMap>() == MAX_STEPS * 9);
    assert!(core::mem::size_of::<TaskState>() <= 256);
};
