//! What numatrace knows at one moment: the only thing that views, reports and exports read.
//!
//! [`Snapshot`] serializes to the report JSON of schema 1 as it stands: field names are a contract. Durations are
//! nanoseconds. `None` means that the source of a number is off, and is `null` in JSON: never a false zero.
//! Strings are display-safe: hostile bytes were escaped when they entered the model (see [`crate::text`]).

mod events;
mod packed;
mod pairs;
mod self_cost;
mod track;

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

pub use self::events::{Event, Interval, MAX_EVENTS, Seen, What, Who};
pub use self::packed::PackedThreads;
pub use self::pairs::{Key, Pairs, PairsIter};
pub use self::self_cost::{SelfCost, Shed, ShedInterval};
pub use self::track::{TRACK_CPUS, TRACK_SLOT_NS, TRACK_SLOTS, TRACK_UNIT_NS, Track, TrackSlot};
use crate::container::Container;
use crate::units::{NodeId, Pid, Tid, sum};

/// Version of the report JSON.
pub const SCHEMA: u32 = 1;

/// Everything at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Snapshot {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Who made this.
    pub tool: Tool,
    /// The machine.
    pub host: Host,
    /// What is traced.
    pub target: Target,
    /// Which of its threads this tells of; `None` for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selection: Option<Selection>,
    /// When tracing began, RFC 3339, UTC; of a stretch of a recording, when that begins.
    pub start: String,
    /// Time from the start to the last tick.
    pub duration_ns: u64,
    /// Every source of numbers, and whether it is on.
    pub sources: Vec<Source>,
    /// Records that were lost, exactly.
    pub loss: Loss,
    /// What numatrace itself took, and left out; absent where nobody measured it, as in imports and old recordings.
    #[serde(rename = "self", skip_serializing_if = "Option::is_none")]
    pub self_cost: Option<SelfCost>,
    /// Sums over all threads, those that ended and those evicted included.
    pub totals: ThreadStats,
    /// One entry a thread, in order of thread id.
    pub threads: Vec<Thread>,
    /// The same threads in groups; `None` where nobody asked for groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Groups>,
    /// Threads that ended and were evicted from `threads`; their numbers stay in `totals`.
    pub dropped_threads: u64,
    /// Threads that matched the filter but could not be tracked (limit reached): their numbers are nowhere.
    pub refused_threads: u64,
    /// Node by node counts; an index is a position in `host.nodes`.
    pub matrices: Matrices,
    /// Resident pages of the traced processes by node, by position in `host.nodes`; `None` where no source measures them,
    /// or before the first scan ended.
    pub placement_pages: Option<Vec<u64>>,
    /// How old the oldest scan in `placement_pages` is.
    pub placement_age_ns: Option<u64>,
    /// Times in which a source saw nothing of a CPU; bounded, the oldest are left out.
    pub gaps: Vec<Gap>,
    /// The last events that are worth a line, by interval between ticks, oldest first; intervals without any are left out.
    /// Not part of schema 1, and none where this is the difference of two snapshots.
    #[serde(skip)]
    pub events: Vec<Arc<Interval>>,
    /// CPU quota of the target's cgroups and of every cgroup above them that has one, the deepest first, then those with most
    /// threads; `None` until a source measures it.
    pub throttle: Option<Vec<Throttle>>,
    /// Memory of each node and what its allocator counted, by position in `host.nodes`; `None` until a source measures it.
    pub node_memory: Option<Vec<NodeMemory>>,
    /// Conclusions, worst first.
    pub findings: Vec<Finding>,
    /// Of a recording: what of it could not be read, in a sentence; `None` where all of it was, and for live numbers.
    pub incomplete: Option<String>,
}

impl Snapshot {
    /// Stands in until the first numbers of a target come.
    pub fn nothing_yet(target: &str) -> Snapshot {
        Snapshot {
            schema: SCHEMA,
            tool: Tool { name: env!("CARGO_PKG_NAME").into(), version: env!("CARGO_PKG_VERSION").into() },
            host: Host::default(),
            target: Target { label: target.into(), ..Target::default() },
            selection: None,
            start: String::new(),
            duration_ns: 0,
            sources: Vec::new(),
            loss: Loss::default(),
            self_cost: None,
            totals: ThreadStats::default(),
            threads: Vec::new(),
            groups: None,
            dropped_threads: 0,
            refused_threads: 0,
            matrices: Matrices::default(),
            placement_pages: None,
            placement_age_ns: None,
            gaps: Vec::new(),
            events: Vec::new(),
            throttle: None,
            node_memory: None,
            findings: Vec::new(),
            incomplete: None,
        }
    }

    /// A source of these is there, and off.
    pub fn is_off(&self, sources: &[&str]) -> bool {
        self.sources.iter().any(|source| source.state == SourceState::Off && sources.contains(&source.name.as_str()))
    }

    /// Why a number of one of these sources is absent: the reason of the first that is not on.
    pub fn why_absent(&self, sources: &[&str]) -> Option<&str> {
        let of_these = |source: &&Source| sources.contains(&source.name.as_str());
        self.sources.iter().filter(of_these).find_map(|source| source.reason.as_deref())
    }
}

/// Names of sources, by what they measure; the first of each is the one that is preferred.
pub mod sources {
    /// Page touches.
    pub const TOUCHES: [&str; 3] = ["perf:page-faults", "exceptions:page_fault", "perf:page-faults (entry)"];
    /// NUMA hint faults.
    pub const HINT_FAULTS: [&str; 3] =
        ["fentry:task_numa_fault", "kprobe:task_numa_fault", "task->numa_faults_locality"];
    /// Why there are no hint faults where nobody could see any: the kernel plants none.
    pub const NOT_BALANCING: [&str; 2] =
        ["this kernel has no automatic NUMA balancing", "kernel.numa_balancing=0: automatic NUMA balancing is off"];
    /// Time in hint faults.
    pub const HINT_TIME: [&str; 1] = ["hint-fault time"];
    /// Pages that were moved.
    pub const MIGRATED: [&str; 1] = ["mm_migrate_pages"];
    /// Resident pages by node.
    pub const PLACEMENT: [&str; 1] = ["/proc/PID/pagemap"];
    /// Which part of a wait a CPU quota caused.
    pub const THROTTLE: [&str; 2] = ["cfs_rq->throttled_clock_self_time", "cfs_rq->throttled_clock_pelt_time"];
    /// CPU quotas of cgroups, and what they count.
    pub const QUOTA: [&str; 1] = ["cpu.stat"];
    /// Memory of nodes.
    pub const NODE_MEMORY: [&str; 1] = ["/sys/devices/system/node"];
    /// Where in the program page touches come from.
    pub const WHERE: [&str; 1] = ["page-touch samples"];
    /// Moves between CPUs.
    pub const MIGRATIONS: [&str; 3] = ["tp_btf:sched_migrate_task", "raw_tp:sched_migrate_task", "sched_migrate_task"];
    /// Time in numatrace's own eBPF programs.
    pub const SELF: [&str; 1] = ["bpf_stats"];
    /// Who ran while a thread waited.
    pub const BEHIND: [&str; 1] = ["rq->curr"];
}

/// Name and version of this program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tool {
    /// `numatrace`.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// The machine that was traced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Kernel release.
    pub kernel: String,
    /// Machine architecture.
    pub arch: String,
    /// Number of online CPUs.
    pub cpus: u32,
    /// Nodes, in order of id.
    pub nodes: Vec<HostNode>,
    /// `distances[i][j]` from `nodes[i]` to `nodes[j]`, 10 is local.
    pub distances: Vec<Vec<u32>>,
    /// CPUs that share a last-level cache, each in order of number, in order of their first; not part of schema 1. Empty
    /// where the machine is not known that well.
    #[serde(skip)]
    pub llcs: Arc<[Vec<u32>]>,
}

/// One NUMA node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostNode {
    /// The kernel's number of the node.
    pub id: NodeId,
    /// Its online CPUs, none for a memory-only node.
    pub cpus: Vec<u32>,
    /// Its memory.
    pub memory_bytes: u64,
}

/// What is traced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// `pid`, `tid`, `cgroup`, `comm`, `all` or `command`.
    pub kind: String,
    /// In words, as a header shows it: `pid 4711 (redis-server)`.
    pub label: String,
    /// The ids that were asked for, for `pid`, `tid` and `command`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<u32>,
}

/// Which threads were selected, and from how many.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Selection {
    /// Ids that were asked for.
    pub tids: Vec<Tid>,
    /// Names that were asked for.
    pub comms: Vec<String>,
    /// Threads from which they were selected.
    pub of_threads: u64,
    /// Threads that ended and were evicted before: whether they were asked for is not known, and they are in no number.
    pub dropped_threads: u64,
}

/// What threads of a group have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupBy {
    /// Their name.
    Comm,
    /// Their cgroup.
    Cgroup,
}

impl GroupBy {
    /// As in JSON and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            GroupBy::Comm => "comm",
            GroupBy::Cgroup => "cgroup",
        }
    }
}

/// Threads in groups.
#[derive(Clone, Debug, PartialEq)]
pub struct Groups {
    /// What those of a group have in common.
    pub by: GroupBy,
    /// A thread that stands for each group: sums, and how many there are in [`Thread::members`]. Its `comm` or `cgroup` is
    /// the group's, its `tid` that of the first member.
    pub all: Vec<Thread>,
}

impl Groups {
    /// What a group is called.
    pub fn name<'a>(&self, group: &'a Thread) -> &'a str {
        match self.by {
            GroupBy::Comm if group.comm.is_empty() => "(name not known)",
            GroupBy::Comm => &group.comm,
            GroupBy::Cgroup => {
                let Some(path) = group.cgroup.as_deref() else { return "(cgroup not known)" };
                group.container.as_deref().and_then(|container| container.title_of(path)).unwrap_or(path)
            }
        }
    }
}

impl Serialize for Groups {
    /// An array of groups: `comm` or `cgroup` and its container, `threads`, `exited`, and all sums.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "lowercase")]
        enum Common<'a> {
            Comm(&'a str),
            Cgroup(Option<&'a str>),
        }
        #[derive(Serialize)]
        struct Group<'a> {
            #[serde(flatten)]
            common: Common<'a>,
            #[serde(skip_serializing_if = "Option::is_none")]
            container: Option<&'a Container>,
            threads: u32,
            exited: bool,
            #[serde(flatten)]
            stats: &'a ThreadStats,
        }
        serializer.collect_seq(self.all.iter().map(|group| Group {
            common: match self.by {
                GroupBy::Comm => Common::Comm(&group.comm),
                GroupBy::Cgroup => Common::Cgroup(group.cgroup.as_deref()),
            },
            container: group.container.as_deref(),
            threads: group.members,
            exited: group.exited,
            stats: &group.stats,
        }))
    }
}

/// Whether a source of numbers works here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceState {
    /// Exact.
    On,
    /// Not available, or not asked for.
    Off,
    /// On, but it can miss or approximate; the reason says how.
    BestEffort,
    /// On for a known share of the events.
    Sampled,
}

/// One source of numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The hook or file, as the kernel names it.
    pub name: String,
    /// Whether it is on.
    pub state: SourceState,
    /// Why it is not [`SourceState::On`], and what is missing without it.
    pub reason: Option<String>,
}

/// Lost records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// Records the probes wanted to write.
    pub records_wanted: u64,
    /// Of these, taken from the rings and readable. When tracing has ended, wanted = received + lost, exactly.
    pub records_received: u64,
    /// Of these, lost.
    pub records_lost: u64,
    /// The same by reason.
    pub by_reason: LossReasons,
    /// When: one entry for each interval in which something was lost. Bounded; the oldest are merged.
    pub intervals: Vec<LossInterval>,
}

/// Lost records by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LossReasons {
    /// The ring had no room.
    pub ring_full: u64,
    /// The CPU had no ring.
    pub no_ring: u64,
    /// Records that arrived but could not be decoded.
    pub undecodable: u64,
}

/// An interval in which records were lost; times since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LossInterval {
    /// Its start.
    pub start_ns: u64,
    /// Its end.
    pub end_ns: u64,
    /// Records lost in it.
    pub lost: u64,
}

/// A time in which a source saw nothing of a CPU, since the start: what it counts is too low by what happened there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// Name of the source.
    pub source: String,
    /// The CPU.
    pub cpu: u32,
    /// Its start, at the earliest.
    pub start_ns: u64,
    /// Its end.
    pub end_ns: u64,
}

/// One thread.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Thread {
    /// Thread id.
    pub tid: Tid,
    /// Process id.
    pub pid: Pid,
    /// The thread's id inside the target's pid namespace, where that differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ns_pid: Option<u32>,
    /// Command name.
    pub comm: Arc<str>,
    /// It has ended.
    pub exited: bool,
    /// What it is doing at this moment; not part of schema 1.
    #[serde(skip)]
    pub state: ThreadState,
    /// The CPU of its current or last turn; not part of schema 1.
    #[serde(skip)]
    pub cpu: Option<u32>,
    /// How many threads this stands for, where threads are grouped; 0 for one. Not part of schema 1.
    #[serde(skip)]
    pub members: u32,
    /// When it was first heard of, ns of `CLOCK_MONOTONIC`: tells owners of one id apart. Not part of schema 1.
    #[serde(skip)]
    pub born_ns: u64,
    /// How the kernel may schedule it; `None` until it was asked.
    pub sched: Option<Arc<Sched>>,
    /// Path of its cgroup, as in /proc/PID/cgroup; `None` until it was read, or where there is none.
    pub cgroup: Option<Arc<str>>,
    /// The container that the cgroup belongs to; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Arc<Container>>,
    /// On which CPUs it ran in the last ten seconds: slots in order of time, those in which it did not run left out; not
    /// part of schema 1.
    #[serde(skip)]
    pub track: Track,
    /// Its numbers.
    #[serde(flatten)]
    pub stats: ThreadStats,
}

/// How the kernel may schedule a thread, as it said last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sched {
    /// `other`, `fifo`, `rr`, `batch`, `idle`, `deadline`, `ext`, or `policy N` for one that is not known.
    pub policy: Cow<'static, str>,
    /// Nice value, -20 to 19, for `other` and `batch`; `None` for the others.
    pub nice: Option<i32>,
    /// Real-time priority, 1 to 99, for `fifo` and `rr`; `None` for the others.
    pub rt_priority: Option<u32>,
    /// CPUs that it may use and that are online, as a list like `0-3,8`.
    pub allowed_cpus: Arc<str>,
}

/// What a thread is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ThreadState {
    /// Not known yet.
    #[default]
    Unknown,
    /// On a CPU.
    Running,
    /// Runnable, waiting for a CPU.
    Waiting,
    /// Neither.
    Blocked,
    /// It has ended.
    Exited,
}

/// Numbers of one thread, or of all.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ThreadStats {
    /// Time on CPU, the current turn included.
    pub cpu_ns: u64,
    /// Time runnable but not on a CPU, the open wait included.
    pub wait_ns: u64,
    /// Time neither running nor runnable, up to now.
    pub blocked_ns: u64,
    /// For how long it has been waiting right now (the longest, in totals); `None` when it is not.
    pub waiting_now_ns: Option<u64>,
    /// Context switches away from it.
    pub switches: Switches,
    /// Times that the kernel did not tell of a switch or a wakeup (some virtual machines' kernels hide those of
    /// their own agents): as many turns or waits at most are in no other number.
    pub unseen_events: u64,
    /// Run-queue latency: waits that ended.
    pub runq: RunQueue,
    /// The part of `wait_ns` that a CPU quota caused; `None` until a source measures it.
    pub throttled_wait_ns: Option<u64>,
    /// Moves between CPUs.
    pub migrations: Migrations,
    /// Who woke it, most often first, at most [`MAX_WAKERS`].
    pub wakers: Vec<Waker>,
    /// Turns on a node other than that of the turn before.
    pub node_moves: u64,
    /// On-CPU time by node, by position in `host.nodes`, from the turns that were received and the current one.
    pub residency_ns: Vec<u64>,
    /// On-CPU time by CPU number (`(cpu, ns)`, in order of CPU); of a thread the
    /// first 32 that it ran on. Not part of schema 1.
    #[serde(skip)]
    pub residency_cpu_ns: Pairs<u32>,
    /// Page touches by kind; `None` where no source measures them.
    pub touches: Option<Touches>,
    /// Page touches of every kind, `[cpu node][page node]` by position in `host.nodes`; those of the zero page and those whose
    /// node is not known are left out. Of a thread, rows without touches are empty, and those after its last are left out.
    /// `None` where no source measures them.
    pub touches_by_node: Option<Vec<Vec<u64>>>,
    /// NUMA hint faults; `None` where no source measures them, or automatic NUMA balancing is off.
    pub hint_faults: Option<LocalRemote>,
    /// Time in NUMA hint faults, from the exception to the end of `handle_mm_fault`; `None` where no source measures it.
    pub hint_fault_ns: Option<u64>,
    /// Pages that NUMA balancing moved for it.
    pub pages_migrated: Option<u64>,
    /// remote / (local + remote) of page touches; `None` also before the first one.
    pub remote_share: Option<f64>,
    /// The remote share if accesses were uniform: an estimate.
    pub expected_remote_share: Option<f64>,
    /// Mean distance/10 of page touches.
    pub cost_factor: Option<f64>,
    /// Where page touches come from, most remote ones first, at most [`MAX_LOCATIONS`]; `None` where nothing is sampled.
    #[serde(rename = "where")]
    pub locations: Option<Vec<Location>>,
    /// Who ran while it waited, longest first, at most [`MAX_CULPRITS`].
    pub waited_behind: Vec<Culprit>,
    /// Time waited by whose threads ran instead, all of them, not only those of `waited_behind`; `None` where no source tells.
    pub behind: Option<Behind>,
    /// Waits after preemption by whose thread took the CPU; `None` where no source tells.
    pub preempted_by: Option<PreemptedBy>,
}

/// Time waited while others ran: by threads of the same process, and by all others. What is left of the time waited was
/// throttled, idle, or nobody is known to have run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Behind {
    /// Threads of the same process ran.
    pub own_ns: u64,
    /// Threads of other processes ran, and the kernel's own.
    pub others_ns: u64,
}

/// Waits after preemption, of those whose records arrived, by who took the CPU. Where a CPU quota stopped the thread nobody
/// took it, and the wait is in neither.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PreemptedBy {
    /// A thread of the same process.
    pub own: Waited,
    /// A thread of another process, or of the kernel.
    pub others: Waited,
}

/// Some waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Waited {
    /// How many.
    pub count: u64,
    /// Their sum.
    pub total_ns: u64,
}

/// Most wakers kept for a thread.
pub const MAX_WAKERS: usize = 8;
/// Most culprits kept for a thread.
pub const MAX_CULPRITS: usize = 8;
/// Most locations shown for a thread.
pub const MAX_LOCATIONS: usize = 16;

/// Context switches away from a thread, counted as the kernel counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Switches {
    /// It gave the CPU up.
    pub voluntary: u64,
    /// It was made to.
    pub involuntary: u64,
}

impl Switches {
    /// All of them.
    pub fn total(&self) -> u64 {
        sum([&self.voluntary, &self.involuntary])
    }
}

impl ThreadStats {
    /// Running, waiting or blocked.
    pub fn life_ns(&self) -> u64 {
        sum([&self.cpu_ns, &self.wait_ns, &self.blocked_ns])
    }
}

/// Run-queue latency, its two parts apart.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RunQueue {
    /// After wakeups.
    pub wakeup: Latency,
    /// After being switched out while runnable.
    pub preempted: Latency,
    /// Both.
    pub all: Latency,
    /// Both, each wait without the part of it that a CPU quota caused: what they would be without the quota. Of the totals
    /// alone; `None` where no source measures it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unthrottled: Option<Box<Latency>>,
}

/// A distribution of latencies. `count` and `total_ns` come from the kernel's counters and are exact under loss;
/// the percentiles come from the records that arrived, as the upper edge of their histogram bucket.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Number of waits.
    pub count: u64,
    /// Their sum.
    pub total_ns: u64,
    /// Median.
    pub p50_ns: u64,
    /// 90th percentile.
    pub p90_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// 99.9th percentile.
    pub p999_ns: u64,
    /// Largest.
    pub max_ns: u64,
    /// The histogram, `(upper edge in ns, count)`, empty buckets left out; not part of schema 1.
    #[serde(skip)]
    pub buckets: Pairs<u64>,
}

/// Migrations by the closest level that both CPUs share, and by cause. Levels sum to causes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Migrations {
    /// Between SMT siblings of a core.
    pub smt: u64,
    /// Between cores that share a last-level cache.
    pub llc: u64,
    /// Between last-level caches of a node.
    pub node: u64,
    /// Between nodes.
    pub cross_node: u64,
    /// Counted by the kernel side, but in no level and no cause: the record was lost, or the place of a CPU in the
    /// machine is not known.
    pub unclassified: u64,
    /// Why.
    pub causes: Causes,
}

impl Migrations {
    /// All of them.
    pub fn total(&self) -> u64 {
        sum([&self.smt, &self.llc, &self.node, &self.cross_node, &self.unclassified])
    }
}

/// Migrations by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Causes {
    /// Placed by the wakeup.
    pub wakeup: u64,
    /// Load balancing while queued.
    pub load_balance: u64,
    /// Active balance, or a change of allowed CPUs.
    pub active_balance_or_affinity: u64,
    /// Automatic NUMA balancing.
    pub numa_balancing: u64,
    /// The CPU went offline.
    pub hotplug: u64,
    /// None of these.
    pub other: u64,
}

/// Somebody who woke a thread.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Waker {
    /// Who: 0 is the idle task or an interrupt while idle.
    pub tid: Tid,
    /// Its name, where known.
    pub comm: Arc<str>,
    /// How often.
    pub count: u64,
}

/// Somebody who ran while a thread waited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Culprit {
    /// Who.
    pub tid: Tid,
    /// Its name, where known.
    pub comm: Arc<str>,
    /// Its process, where it is one of the traced threads; `None` for all others.
    pub pid: Option<Pid>,
    /// Wait attributed to it.
    pub total_ns: u64,
    /// Waits in which it had a part.
    pub count: u64,
}

/// A count split by whether the page was on the toucher's node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LocalRemote {
    /// Same node.
    pub local: u64,
    /// Another node.
    pub remote: u64,
}

/// Page touches of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TouchCount {
    /// Same node.
    pub local: u64,
    /// Another node.
    pub remote: u64,
    /// Node not known.
    pub unknown: u64,
}

/// Page touches by kind. A kind that this kernel's source cannot tell from another is `None`, and counted as the other: the
/// reason of the source says which.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Touches {
    /// Anonymous memory, first touch.
    pub first_touch: TouchCount,
    /// File or shared memory.
    pub file: TouchCount,
    /// Copy-on-write.
    pub cow: Option<TouchCount>,
    /// Huge pages.
    pub huge: Option<TouchCount>,
    /// The zero page: it is on no node that matters, so all of them are `unknown`.
    pub zero: Option<TouchCount>,
    /// Anything else.
    pub other: TouchCount,
}

impl Touches {
    /// Each kind that is told: its name as in JSON, and its counts.
    pub fn kinds(&self) -> impl Iterator<Item = (&'static str, TouchCount)> {
        let all = [
            ("first_touch", Some(self.first_touch)),
            ("file", Some(self.file)),
            ("cow", self.cow),
            ("huge", self.huge),
            ("zero", self.zero),
            ("other", self.other.into()),
        ];
        all.into_iter().filter_map(|(name, count)| count.map(|count| (name, count)))
    }

    /// All kinds together, the zero page left out.
    pub fn total(&self) -> TouchCount {
        let counted = self.kinds().filter(|(name, _)| *name != "zero");
        counted.fold(TouchCount::default(), |sum, (_, part)| TouchCount {
            local: sum.local.saturating_add(part.local),
            remote: sum.remote.saturating_add(part.remote),
            unknown: sum.unknown.saturating_add(part.unknown),
        })
    }
}

impl TouchCount {
    /// Touches, whatever the node.
    pub fn all(&self) -> u64 {
        sum([&self.local, &self.remote, &self.unknown])
    }

    /// remote / (local + remote); `None` where there are none.
    pub fn remote_share(&self) -> Option<f64> {
        let known = sum([&self.local, &self.remote]);
        (known > 0).then(|| self.remote as f64 / known as f64)
    }
}

/// Where page touches come from: a mapping and a place in the code. Counts are estimates from samples, each of which stands
/// for the touches since the one before it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Location {
    /// The mapping: `heap`, `stack`, a file's path, or `anon` with its address range and memory policy.
    pub mapping: Arc<str>,
    /// The code location: a function, else a file and an offset, with the reason in parentheses where no name is known.
    pub symbol: Arc<str>,
    /// Callers, innermost first; empty where stacks were not asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stack: Vec<String>,
    /// Local touches.
    pub local: u64,
    /// Remote touches.
    pub remote: u64,
}

/// Node by node counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Matrices {
    /// `[from][to]` of migrations, same-node ones on the diagonal. Empty where only some threads were selected: it is not
    /// known thread by thread.
    pub migrations: Vec<Vec<u64>>,
    /// `[cpu node][page node]`; `None` until a source measures them.
    pub page_touches: Option<Vec<Vec<u64>>>,
}

/// CPU quota of one cgroup: what its cpu.stat counted since it was first read, which is when a thread of it was first seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Throttle {
    /// Its path.
    pub cgroup: String,
    /// Enforcement periods in which it had something to run.
    pub periods: u64,
    /// Of these, throttled.
    pub throttled_periods: u64,
    /// Time stopped, summed over CPUs, as the kernel counts it.
    pub throttled_ns: u64,
    /// The quota in CPUs; `None` without one.
    pub quota_cpus: Option<f64>,
    /// Traced threads that it and the cgroups below it hold now.
    pub threads: u64,
}

/// Memory of one node: its state now, and what the kernel's page allocator counted for the whole machine since it was first
/// read (numastat(8), /sys/devices/system/node/nodeN/numastat), in pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NodeMemory {
    /// Memory that the kernel manages.
    pub total_bytes: u64,
    /// Free.
    pub free_bytes: u64,
    /// Pages of files, which the kernel can mostly give away for others.
    pub file_bytes: u64,
    /// Pages that were allocated here as wanted.
    pub hit: u64,
    /// Pages that were allocated here although another node was wanted.
    pub miss: u64,
    /// Pages that were wanted here and were allocated elsewhere.
    pub foreign: u64,
}

/// A conclusion.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// Stable name of the rule.
    pub id: String,
    /// `info`, `warn` or `critical`.
    pub severity: String,
    /// One sentence about this target.
    pub title: String,
    /// One sentence about what this is in general, and why it hurts.
    pub about: String,
    /// Its numbers.
    pub evidence: serde_json::Value,
    /// What to do.
    pub advice: String,
    /// The exact command, where there is one.
    pub command: Option<String>,
}
