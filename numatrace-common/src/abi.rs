//! Records that travel through the rings, and into recordings, byte for byte.
//!
//! Every record is little-endian, `#[repr(C)]`, made of integers without implicit padding, a multiple of 8 bytes
//! long, and starts with [`Header`]: its kind, its size and its timestamp. Readers skip kinds they do not know by
//! the size, and count them. Durations and timestamps are nanoseconds of `CLOCK_MONOTONIC`
//! (`bpf_ktime_get_ns`).

/// Version of this ABI: it changes when a record changes shape, not when a kind is added: readers skip kinds that they
/// do not know. Written into every recording.
pub const ABI_VERSION: u16 = 1;

/// Length of a kernel command name, with its terminating NUL (`TASK_COMM_LEN`).
pub const COMM_LEN: usize = 16;

/// No CPU: a thread that has not run since tracking began, or a queue that was not seen.
pub const NO_CPU: u16 = u16::MAX;

/// No such thread is known. Thread id 0 is the idle task (or an interrupt that came while idle).
pub const NO_TID: u32 = u32::MAX;

/// Words of the set of CPUs in [`Attributes`]: 1,024 CPUs.
pub const CPU_WORDS: usize = 16;

/// Kinds of record. Kernel-made kinds are below 0x100, user-made ones above.
pub mod kind {
    /// [`super::Slice`]
    pub const SLICE: u16 = 1;
    /// [`super::Migrate`]
    pub const MIGRATE: u16 = 2;
    /// [`super::Task`]
    pub const TASK: u16 = 3;
    /// [`super::Totals`]
    pub const TOTALS: u16 = 4;
    /// [`super::TouchSample`]
    pub const TOUCH_SAMPLE: u16 = 5;
    /// [`super::TouchStack`]
    pub const TOUCH_STACK: u16 = 6;
    /// [`super::Throttled`]
    pub const THROTTLED: u16 = 7;
    /// [`super::Tick`]
    pub const TICK: u16 = 0x100;
    /// [`super::Counters`]
    pub const COUNTERS: u16 = 0x101;
    /// [`super::Attributes`]
    pub const ATTRIBUTES: u16 = 0x102;
    /// [`super::Cgroup`]
    pub const CGROUP: u16 = 0x103;
    /// [`super::CgroupPath`]
    pub const CGROUP_PATH: u16 = 0x104;
    /// A [`super::Totals`] of a moment in the middle of a trace, at which a recording begins: what it counts is not of the
    /// recording, and is taken off whatever later [`TOTALS`] of the thread say.
    pub const TOTALS_BASE: u16 = 0x105;
    /// A [`super::Counters`] of the same moment, to the same end.
    pub const COUNTERS_BASE: u16 = 0x106;
    /// [`super::Touches`]
    pub const TOUCHES: u16 = 0x107;
    /// [`super::Words`]
    pub const WORDS: u16 = 0x108;
    /// [`super::Where`]
    pub const WHERE: u16 = 0x109;
    /// [`super::Placement`]
    pub const PLACEMENT: u16 = 0x10a;
    /// [`super::Gap`]
    pub const GAP: u16 = 0x10b;
    /// [`super::Quota`]
    pub const QUOTA: u16 = 0x10c;
    /// [`super::NodeMemory`]
    pub const NODE_MEMORY: u16 = 0x10d;
    /// A [`super::Throttled`] that belongs to a [`TOTALS_BASE`].
    pub const THROTTLED_BASE: u16 = 0x10e;
    /// A [`super::CgroupPath`] whose text is not the path of the cgroup but what the container in it is called: its name, its pod,
    /// the pod's namespace and UID, one a line, each empty where it is not known.
    pub const CONTAINER_NAMES: u16 = 0x10f;
    /// [`super::NamespaceIds`]
    pub const NAMESPACE_IDS: u16 = 0x110;
    /// [`super::SelfCost`]
    pub const SELF_COST: u16 = 0x111;
}

/// Kinds of page touches, and what is counted beside them in the same way: positions in [`Touches::counts`].
pub mod touch {
    /// First touch of anonymous memory.
    pub const FIRST: u8 = 0;
    /// A page of a file, or of shared memory.
    pub const FILE: u8 = 1;
    /// A write to a page that was mapped for reading, or the first write to a private mapping of a file.
    pub const COW: u8 = 2;
    /// A huge page.
    pub const HUGE: u8 = 3;
    /// The zero page.
    pub const ZERO: u8 = 4;
    /// None of these.
    pub const OTHER: u8 = 5;
    /// A NUMA hint fault, the page on the node of the CPU.
    pub const HINT_LOCAL: u8 = 6;
    /// A NUMA hint fault, the page on another node.
    pub const HINT_REMOTE: u8 = 7;
    /// Pages that NUMA balancing moved in a hint fault.
    pub const MIGRATED: u8 = 8;
    /// Kinds of page touches: those before this.
    pub const KINDS: usize = 6;
    /// All that is counted.
    pub const COUNTS: usize = 9;
    /// Time in hint faults, ns: summed up by the probes in the same cells, in [`Touches::hint_units`](super::Touches::hint_units)
    /// of records.
    pub const HINT_TIME: u8 = 9;
}

/// What is known of a sampled page touch, beside its numbers.
pub mod sample_flags {
    /// The page lies in the heap that `brk` grows.
    pub const HEAP: u16 = 1;
    /// It lies in the stack of the process's first thread.
    pub const STACK: u16 = 2;
    /// It is of a file or of shared memory.
    pub const FILE: u16 = 4;
    /// The mapping was found.
    pub const MAPPING: u16 = 8;
    /// Seen when the fault began: the page's node is to be asked for.
    pub const ENTRY: u16 = 16;
}

/// No node, or one that is not known, in records of page touches.
pub const NO_NODE: u16 = u16::MAX;

/// Callers in a [`TouchStack`].
pub const STACK_DEPTH: usize = 16;

/// Bytes of a path in one [`CgroupPath`].
pub const PATH_PIECE: usize = 32;

/// The start of every record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)
)]
#[repr(C)]
pub struct Header {
    /// One of [`kind`].
    pub kind: u16,
    /// Size of the whole record in bytes, this header included.
    pub size: u16,
    /// The CPU the record speaks of (see each record).
    pub cpu: u16,
    /// A second CPU (see each record), or 0.
    pub cpu2: u16,
    /// When it happened, in nanoseconds of `CLOCK_MONOTONIC`.
    pub ts: u64,
}

macro_rules! record {
    ($(#[$doc:meta])* $name:ident, $kind:expr, $size:literal, { $($(#[$fdoc:meta])* $field:ident : $ty:ty),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[cfg_attr(
            feature = "user",
            derive(
                zerocopy::FromBytes,
                zerocopy::IntoBytes,
                zerocopy::Immutable,
                zerocopy::KnownLayout
            )
        )]
        #[repr(C)]
        pub struct $name {
            /// Kind, size, CPUs and time.
            pub header: Header,
            $($(#[$fdoc])* pub $field: $ty,)+
        }

        impl $name {
            /// This record's kind.
            pub const KIND: u16 = $kind;
            /// This record's size in bytes.
            pub const SIZE: usize = $size;

            /// A header for this kind of record.
            #[inline(always)]
            pub const fn header(ts: u64, cpu: u16, cpu2: u16) -> Header {
                Header { kind: $kind, size: $size, cpu, cpu2, ts }
            }
        }

        const _: () = assert!(core::mem::size_of::<$name>() == $size && $size % 8 == 0);
    };
}

record! {
    /// One turn of a thread on a CPU, and the wait that led to it. Made at switch-out.
    ///
    /// `header.cpu` is the CPU it ran on, `header.cpu2` the CPU of its previous turn ([`NO_CPU`] when unknown),
    /// `header.ts` the switch-out. It ran from `ts - slice_ns` and became runnable at `ts - slice_ns - wait_ns`.
    Slice, kind::SLICE, 64, {
        /// Run-queue latency of this turn: from runnable until switched in. 0 when `flags` names no wait.
        wait_ns: u64,
        /// Time on the CPU.
        slice_ns: u64,
        /// The thread.
        tid: u32,
        /// Its process.
        tgid: u32,
        /// Who woke it, from `sched_waking` ([`NO_TID`] when it was not woken or the hook is off).
        waker: u32,
        /// Number of this record among all slice records wanted for this thread, from 1. A gap is a lost record.
        seq: u32,
        /// The thread that held the CPU when this one was queued there ([`NO_TID`]: not known, 0: idle).
        holder: u32,
        /// The thread that ran right before this one was switched in ([`NO_TID`]: not known, 0: idle).
        prev: u32,
        /// How long `prev` had been on the CPU at the switch, in units of 1,024 ns, saturating.
        prev_ran: u32,
        /// The CPU on which it was queued when the wait began ([`NO_CPU`] when not known).
        queued_cpu: u16,
        /// [`slice_flags`].
        flags: u16,
    }
}

/// Bits of [`Slice::flags`] and [`Totals::flags`].
pub mod slice_flags {
    /// Mask of the two bits that say how the wait began.
    pub const WAIT_MASK: u16 = 0b11;
    /// No wait is known: the thread was already running, or its queueing was not seen.
    pub const WAIT_NONE: u16 = 0;
    /// It waited after `sched_wakeup`.
    pub const WAIT_WAKEUP: u16 = 1;
    /// It waited after it was switched out while still runnable.
    pub const WAIT_PREEMPTED: u16 = 2;
    /// It waited after `sched_wakeup_new` (its first wait).
    pub const WAIT_NEW: u16 = 3;
    /// Switched out while still runnable.
    pub const OUT_RUNNABLE: u16 = 1 << 2;
    /// Switched out by preemption (the hook's `preempt` argument).
    pub const OUT_PREEMPT: u16 = 1 << 3;
    /// Its last switch-out: the thread is dead.
    pub const OUT_DEAD: u16 = 1 << 4;
    /// The switch counts as voluntary, as in `voluntary_ctxt_switches`.
    pub const OUT_VOLUNTARY: u16 = 1 << 5;
    /// The wait began before tracking did; its start is the kernel's `sched_info.last_queued`.
    pub const WAIT_SEEDED: u16 = 1 << 6;
    /// The turn began before tracking did: its length counts from then on only.
    pub const SLICE_CLIPPED: u16 = 1 << 7;
    /// [`Slice::holder`](super::Slice::holder) is a thread of the same process.
    pub const HOLDER_OWN: u16 = 1 << 8;
    /// [`Slice::prev`](super::Slice::prev) is a thread of the same process.
    pub const PREV_OWN: u16 = 1 << 9;
    /// Where the throttled part of the wait begins: six bits, in units of 1/63 of the wait, rounded down, but at least 1.
    pub const THROTTLED_SHIFT: u32 = 10;
    /// All of the wait.
    pub const THROTTLED_ALL: u16 = 63;

    /// The bits that say that a CPU quota caused `throttled_ns` of a wait of `wait_ns`.
    #[inline(always)]
    pub const fn throttled(throttled_ns: u64, wait_ns: u64) -> u16 {
        if throttled_ns == 0 {
            return 0;
        }
        if throttled_ns >= wait_ns {
            return THROTTLED_ALL << THROTTLED_SHIFT;
        }
        // Less than nine years, which 63 times do not overflow.
        if wait_ns >> 58 != 0 {
            return 1 << THROTTLED_SHIFT;
        }
        // Rounded down: what is told of single waits is no more than the kernel's exact sums.
        let share = throttled_ns * THROTTLED_ALL as u64 / wait_ns;
        (if share == 0 { 1 } else { share as u16 }) << THROTTLED_SHIFT
    }

    /// How much of a wait of `wait_ns` a CPU quota caused, to within 1/63 of the wait.
    #[inline]
    pub const fn throttled_ns(flags: u16, wait_ns: u64) -> u64 {
        let share = (flags >> THROTTLED_SHIFT) as u64;
        if share >= THROTTLED_ALL as u64 {
            return wait_ns;
        }
        (wait_ns / THROTTLED_ALL as u64).saturating_mul(share)
    }
}

record! {
    /// One `sched_migrate_task`. `header.cpu` is the CPU it left, `header.cpu2` the CPU it goes to.
    Migrate, kind::MIGRATE, 40, {
        /// The thread that is moved.
        tid: u32,
        /// Its process.
        tgid: u32,
        /// The thread that was current on the CPU that moved it.
        by: u32,
        /// Number of this record among all migrations of this thread, from 1. A gap is a lost record.
        seq: u32,
        /// One of [`crate::cause::Cause`], as its number.
        cause: u16,
        /// The CPU that moved it.
        by_cpu: u16,
        /// Always 0.
        reserved: u32,
    }
}

record! {
    /// A thread's life: seen at attach, born, renamed, dead. `header.cpu` is where it was noticed.
    Task, kind::TASK, 64, {
        /// The thread.
        tid: u32,
        /// Its process.
        tgid: u32,
        /// The process that made it.
        parent: u32,
        /// One of [`task_event`].
        event: u16,
        /// Scheduling policy (`SCHED_OTHER` 0, `SCHED_FIFO` 1, ...).
        policy: u16,
        /// When the thread started (`task_struct.start_time`, `CLOCK_MONOTONIC`), which tells a reused id apart; 0 when not known.
        start_ns: u64,
        /// Static priority of the kernel: nice + 120 for ordinary threads.
        static_prio: u32,
        /// Always 0.
        reserved: u32,
        /// Command name, NUL-padded, any bytes.
        comm: [u8; COMM_LEN],
    }
}

/// Values of [`Task::event`].
pub mod task_event {
    /// It existed when tracking began, or came to match the filter later.
    pub const SEEN: u16 = 1;
    /// Forked while tracked.
    pub const NEW: u16 = 2;
    /// It changed its program.
    pub const EXEC: u16 = 3;
    /// It changed its command name.
    pub const RENAME: u16 = 4;
    /// It is gone; its last slice and totals come before this.
    pub const EXIT: u16 = 5;
    /// It no longer matches the filter.
    pub const UNTRACKED: u16 = 6;
    /// Name of a thread that is not a target but is spoken of (user-made).
    pub const NAME: u16 = 7;
}

record! {
    /// Everything counted in the kernel for one thread, and what it is doing now. Made on a tick for threads that
    /// changed, at the thread's end, and when tracing ends: exact whatever records were lost.
    ///
    /// The counters cover exactly the slice records with a number up to `seq`. `header.cpu` is the CPU of the
    /// current or last turn.
    Totals, kind::TOTALS, 152, {
        /// The thread.
        tid: u32,
        /// Its process.
        tgid: u32,
        /// Number of the last slice record that the counters include.
        seq: u32,
        /// One of [`crate::wait::phase`]: what it is doing now.
        phase: u16,
        /// How the open wait began ([`slice_flags::WAIT_MASK`] and [`slice_flags::WAIT_SEEDED`]).
        flags: u16,
        /// When the current phase began.
        since: u64,
        /// While running: the wait that led to the current turn. Not yet in the counters.
        open_wait_ns: u64,
        /// Blocked time before the current wait or turn. Not yet in the counters.
        open_blocked_ns: u64,
        /// As in [`Slice`], for the open wait.
        waker: u32,
        /// As in [`Slice`], for the open wait.
        holder: u32,
        /// As in [`Slice`], for the open wait.
        prev: u32,
        /// As in [`Slice`], for the open wait.
        prev_ran: u32,
        /// Time on CPU.
        cpu_ns: u64,
        /// Time neither running nor runnable.
        blocked_ns: u64,
        /// Run-queue latency after wakeups, sum.
        wakeup_ns: u64,
        /// Run-queue latency after wakeups, number of waits.
        wakeup_count: u64,
        /// Run-queue latency after preemption, sum.
        preempted_ns: u64,
        /// Run-queue latency after preemption, number of waits.
        preempted_count: u64,
        /// Voluntary switches.
        voluntary: u64,
        /// Involuntary switches.
        involuntary: u64,
        /// Migrations.
        migrations: u32,
        /// Records of this thread that did not fit into a ring.
        lost: u32,
        /// Times a hook came in a state that should not be possible, and the state was taken anew.
        resyncs: u32,
        /// CPU of the turn before the current one.
        last_cpu: u16,
        /// The CPU on which it was queued when the open wait began.
        queued_cpu: u16,
    }
}

record! {
    /// How much of its waits a CPU quota caused, of a thread of which that is not nothing. Follows the [`Totals`] with the same
    /// `seq` and covers the same turns. `header.cpu` is as there.
    Throttled, kind::THROTTLED, 48, {
        /// The thread.
        tid: u32,
        /// Its process.
        tgid: u32,
        /// Number of the last slice record that `throttled_ns` includes.
        seq: u32,
        /// Always 0.
        reserved: u32,
        /// Throttled part of waits that ended with an ended turn.
        throttled_ns: u64,
        /// Throttled part of the open wait, or of the wait that led to the current turn. Not yet in `throttled_ns`.
        open_ns: u64,
    }
}

record! {
    /// Time passes: the model's only clock. Made by user space at each interval.
    Tick, kind::TICK, 24, {
        /// `CLOCK_REALTIME` at the same moment, nanoseconds since the epoch.
        wall_ns: u64,
    }
}

record! {
    /// The kernel side's own counters, summed over all CPUs, since tracing began. Made by user space at each tick.
    Counters, kind::COUNTERS, 80, {
        /// Records the probes wanted to write.
        wanted: u64,
        /// Of these, how many did not fit because the ring was full (or busy).
        lost_ring_full: u64,
        /// Of these, how many had no ring on their CPU.
        lost_no_ring: u64,
        /// Threads that matched the filter at the last visit of all threads and could not be tracked (limit
        /// reached, or no memory).
        tasks_refused: u64,
        /// Turns on a CPU that ended, of all tracked threads.
        slices: u64,
        /// Waits that ended.
        waits: u64,
        /// Sum of these waits.
        wait_ns: u64,
        /// Records that user space has taken from the rings so far.
        received: u64,
    }
}

record! {
    /// What numatrace itself takes, and what it leaves out for that: from now on the turns that come with a record stand for
    /// `every` turns each. Made by user space before a tick, and whenever that changes.
    ///
    /// All numbers but `ring_fill`, `every`, `overhead_ppm` and `flags` are sums since tracing began.
    SelfCost, kind::SELF_COST, 80, {
        /// CPU time of numatrace's threads, in user mode and in the kernel.
        cpu_ns: u64,
        /// Time in its programs, on whatever CPU and in whatever thread they ran, estimated from `window_ns`.
        probes_ns: u64,
        /// Time in which the kernel kept statistics of programs; 0 where it never did, and `probes_ns` is not known.
        window_ns: u64,
        /// Resident memory, in bytes.
        memory_bytes: u64,
        /// Turns that ended without a record for the sake of `every`.
        shed: u64,
        /// How full the fullest ring or lane was since the last such record, in 1,024ths of it.
        ring_fill: u32,
        /// Turns for which one record stands: a power of two.
        every: u32,
        /// Share of the machine's CPU time that numatrace and its programs took lately, in millionths.
        overhead_ppm: u32,
        /// What `overhead_ppm` is to stay below; 0 where nothing was said.
        max_overhead_ppm: u32,
        /// Bits of [`shed_flags`].
        flags: u64,
    }
}

/// What is left out: bits of [`SelfCost::flags`].
pub mod shed_flags {
    /// Samples of page touches, and scans of placement.
    pub const SAMPLES: u64 = 1 << 0;
    /// Who wakes whom.
    pub const WAKERS: u64 = 1 << 1;
    /// Page touches.
    pub const TOUCHES: u64 = 1 << 2;
    /// Everything that can be left out is, and it is still too much.
    pub const NOT_HELD: u64 = 1 << 3;
    /// Records were lost: that is why.
    pub const FOR_LOSS: u64 = 1 << 4;
}

record! {
    /// How the kernel may schedule a thread, as it answered to `sched_getattr` and `sched_getaffinity`. Made by user
    /// space after a tick.
    ///
    /// `header.ts` is taken after both answers: a thread that ended before it may not be the one they speak of, since
    /// its id can have been given to another in between.
    Attributes, kind::ATTRIBUTES, 160, {
        /// The thread.
        tid: u32,
        /// Scheduling policy (`SCHED_OTHER` 0, `SCHED_FIFO` 1, ...).
        policy: u32,
        /// Nice value, -20 to 19; of meaning for `SCHED_OTHER` and `SCHED_BATCH`.
        nice: i32,
        /// Real-time priority, 1 to 99; of meaning for `SCHED_FIFO` and `SCHED_RR`.
        rt_priority: u32,
        /// CPUs that it may use, those that are offline left out: bit `n % 64` of word `n / 64` is CPU `n`.
        allowed: [u64; CPU_WORDS],
    }
}

record! {
    /// Which cgroup a thread is in. Made by user space after a tick, when it is first seen there.
    ///
    /// `header.ts` is taken after it was read, as in [`Attributes`].
    Cgroup, kind::CGROUP, 24, {
        /// The thread.
        tid: u32,
        /// A number of user space's own that stands for the cgroup: its path came before, in [`CgroupPath`] records.
        cgroup: u32,
    }
}

record! {
    /// A piece of the path of a cgroup. Made by user space, all pieces of a path one after the other.
    CgroupPath, kind::CGROUP_PATH, 56, {
        /// The number that stands for the cgroup.
        cgroup: u32,
        /// Where in the path this piece begins, in bytes.
        offset: u16,
        /// Bytes of the whole path; those of this piece beyond it are 0.
        total: u16,
        /// Any bytes.
        piece: [u8; PATH_PIECE],
    }
}

record! {
    /// What a thread is called in its own pid namespace, where that is not the one whose ids records have. Made by user space
    /// after a tick.
    NamespaceIds, kind::NAMESPACE_IDS, 32, {
        /// The thread.
        tid: u32,
        /// Its id in its namespace.
        own_tid: u32,
        /// The id of its process there.
        own_tgid: u32,
        /// Always 0.
        reserved: u32,
    }
}

record! {
    /// One page touch of many, with its address: `weight` says of how many. Never in a recording: what comes of it is in
    /// [`Where`].
    ///
    /// `header.cpu` is the CPU it was made on, `header.cpu2` the position of the page's node ([`NO_NODE`]: not known).
    TouchSample, kind::TOUCH_SAMPLE, 80, {
        /// The thread.
        tid: u32,
        /// Its process.
        tgid: u32,
        /// The address.
        address: u64,
        /// Where the program was: its own instruction pointer, also when the kernel touched the page for it.
        ip: u64,
        /// First address of the mapping.
        map_start: u64,
        /// The address behind it.
        map_end: u64,
        /// Touches of the same CPU and the same locality for which it stands.
        weight: u32,
        /// One of [`touch`].
        kind: u16,
        /// [`sample_flags`].
        flags: u16,
        /// The memory policy that holds there, as `set_mempolicy` numbers it.
        policy: u16,
        /// Position of the node of the CPU.
        cpu_node: u16,
        /// Always 0.
        reserved: u32,
        /// Nodes of the policy, by the kernel's numbers, the first 64.
        policy_nodes: u64,
    }
}

record! {
    /// The callers at the [`TouchSample`] that comes before it from the same CPU, with the same thread and time.
    TouchStack, kind::TOUCH_STACK, 160, {
        /// The thread.
        tid: u32,
        /// Its process.
        tgid: u32,
        /// How many of `frames` there are.
        depth: u32,
        /// Always 0.
        reserved: u32,
        /// Return addresses, innermost first.
        frames: [u64; STACK_DEPTH],
    }
}

record! {
    /// What a thread touched from one node on another since the record before it: counted by the probes, read by user space
    /// at each tick. Nothing of it can be lost on the way.
    Touches, kind::TOUCHES, 112, {
        /// The thread; 0 where it is not known.
        tid: u32,
        /// Its process.
        tgid: u32,
        /// The kernel's start time of the thread.
        start_ns: u64,
        /// Position of the node of the CPU.
        cpu_node: u16,
        /// Position of the node of the page, or [`NO_NODE`].
        page_node: u16,
        /// Time in hint faults, in units of 1,024 ns, rounded down, saturating. Where it is told, `page_node` is [`NO_NODE`].
        hint_units: u32,
        /// By [`touch`].
        counts: [u64; touch::COUNTS],
    }
}

record! {
    /// A piece of a text that [`Where`] records name by its number. Made by user space, all pieces of a text one after the
    /// other, before it is named.
    Words, kind::WORDS, 56, {
        /// The number that stands for the text, from 1.
        id: u32,
        /// Where in the text this piece begins, in bytes.
        offset: u16,
        /// Bytes of the whole text; those of this piece beyond it are 0.
        total: u16,
        /// UTF-8 in pieces.
        piece: [u8; PATH_PIECE],
    }
}

record! {
    /// Page touches of a thread in one mapping from one place in the code since the record before it, estimated from samples.
    /// Made by user space.
    Where, kind::WHERE, 56, {
        /// The thread.
        tid: u32,
        /// Its process.
        tgid: u32,
        /// [`Words`] for the mapping.
        mapping: u32,
        /// [`Words`] for the place in the code.
        symbol: u32,
        /// [`Words`] for its callers, a line each, innermost first; 0 where they were not asked for.
        stack: u32,
        /// Always 0.
        reserved: u32,
        /// Local touches.
        local: u64,
        /// Remote touches.
        remote: u64,
    }
}

record! {
    /// Resident pages of a process on one node, as a scan found them. Made by user space, one for each node, the last node's
    /// last.
    Placement, kind::PLACEMENT, 48, {
        /// The process.
        tgid: u32,
        /// Position of the node.
        node: u16,
        /// How many nodes there are.
        nodes: u16,
        /// Pages on it.
        pages: u64,
        /// Pages of the process whose node is not known.
        unknown: u64,
        /// When the scan began.
        began_ns: u64,
    }
}

record! {
    /// A time in which the page touches of a CPU (`header.cpu`) were not seen. Made by user space.
    Gap, kind::GAP, 32, {
        /// Its start, at the earliest.
        start_ns: u64,
        /// Its end.
        end_ns: u64,
    }
}

record! {
    /// What the cpu.stat of a cgroup with a CPU quota says, since the cgroup was made. Made by user space after a tick.
    Quota, kind::QUOTA, 64, {
        /// The number that stands for the cgroup: its path came before, in [`CgroupPath`] records.
        cgroup: u32,
        /// Always 0.
        reserved: u32,
        /// Enforcement periods in which it had something to run.
        periods: u64,
        /// Of these, throttled.
        throttled_periods: u64,
        /// Time throttled, summed over CPUs.
        throttled_ns: u64,
        /// CPU time that it may use in a period; 0 when it has no quota (any more).
        quota_us: u64,
        /// Length of a period.
        period_us: u64,
    }
}

record! {
    /// Memory of a node. Made by user space after a tick.
    NodeMemory, kind::NODE_MEMORY, 72, {
        /// Position of the node.
        node: u16,
        /// How many nodes there are.
        nodes: u16,
        /// Always 0.
        reserved: u32,
        /// Memory that the kernel manages.
        total_bytes: u64,
        /// Free.
        free_bytes: u64,
        /// Pages of files.
        file_bytes: u64,
        /// Pages allocated here as wanted, since the machine started.
        hit: u64,
        /// Pages allocated here although another node was wanted.
        miss: u64,
        /// Pages wanted here and allocated elsewhere.
        foreign: u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_throttled_part_of_a_wait_is_known_to_a_63rd_of_it() {
        for wait in [1u64, 62, 63, 1_000, 1 << 20, 99_999_999, 1 << 40, 1 << 57] {
            assert_eq!(slice_flags::throttled_ns(slice_flags::throttled(0, wait), wait), 0);
            assert_eq!(slice_flags::throttled_ns(slice_flags::throttled(wait, wait), wait), wait);
            for part in (0..63).map(|n| wait / 63 * n) {
                let told = slice_flags::throttled_ns(slice_flags::throttled(part, wait), wait);
                assert!(told.abs_diff(part) <= wait / 63 + 63, "{part} of {wait} is told as {told}");
            }
        }
        assert_eq!(slice_flags::throttled(9, 5), slice_flags::throttled(5, 5));
        assert_eq!(slice_flags::throttled(5, 5) & 0x3ff, 0);
    }

    #[test]
    fn records_start_with_kind_size_and_time_at_fixed_offsets() {
        assert_eq!(core::mem::offset_of!(Header, kind), 0);
        assert_eq!(core::mem::offset_of!(Header, size), 2);
        assert_eq!(core::mem::offset_of!(Header, ts), 8);
        assert_eq!(core::mem::size_of::<Header>(), 16);
        assert_eq!(Slice::header(7, 1, 2).size as usize, Slice::SIZE);
    }

    #[test]
    fn the_record_of_attributes_has_room_for_every_cpu_that_has_counters() {
        assert_eq!(64 * CPU_WORDS, crate::config::MAX_CPUS);
        assert_eq!(core::mem::offset_of!(Attributes, allowed), 32);
        assert_eq!(Attributes::header(7, 0, 0), Header { kind: 0x102, size: 160, ts: 7, ..Header::default() });
    }
}
