//! What `serve` knows at one moment: everything that was counted since it began, by process, cgroup, node and thread group.
//! Place in the flow: made by `collect`, written for Prometheus by `exposition`.

use numatrace_common::{
    buckets::BUCKETS,
    sums::{CpuSums, GroupSums, LEVELS, level},
};

use crate::snapshot::Source;

/// Run-queue latencies in buckets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latency {
    /// Waits by [`numatrace_common::buckets::bucket`]: not cumulative.
    pub buckets: Box<[u64; BUCKETS]>,
    /// Their sum, ns.
    pub sum_ns: u64,
}

impl Default for Latency {
    fn default() -> Latency {
        Latency { buckets: Box::new([0; BUCKETS]), sum_ns: 0 }
    }
}

impl Latency {
    /// Waits in all.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// Migrations by level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// Within a core.
    pub smt: u64,
    /// Within a last-level cache.
    pub llc: u64,
    /// Within a node.
    pub node: u64,
    /// To another node.
    pub cross_node: u64,
    /// The topology does not say.
    pub unknown: u64,
}

/// What is counted of anything. Counters, since serving began: none ever falls. What is not measured on this kernel is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Waits for a CPU that have ended, after wakeup and after preemption.
    pub runq: Latency,
    /// Time on CPU, ns. Of nodes that of turns that have ended alone.
    pub cpu_ns: u64,
    /// Part of the waits in which a CPU quota had stopped the thread, ns.
    pub throttled_ns: Option<u64>,
    /// Migrations.
    pub migrations: Option<Levels>,
    /// Page touches: a row for each node of the CPU, a column for each node of the page and one more at the end for pages whose
    /// node is not known. Positions are those of [`Sums::nodes`].
    pub touches: Option<Vec<Vec<u64>>>,
    /// Hint faults of automatic NUMA balancing: local, remote.
    pub hint_faults: Option<(u64, u64)>,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its id, as the /proc that is read has it.
    pub pid: u32,
    /// Its name, as the kernel has it: any bytes but NUL, at most 15.
    pub comm: Vec<u8>,
    /// Position of its cgroup in [`Sums::cgroups`], where that is known.
    pub cgroup: Option<usize>,
    /// What was counted.
    pub numbers: Numbers,
}

/// Threads of one process that have one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadGroup {
    /// Their process.
    pub pid: u32,
    /// Its name.
    pub process: Vec<u8>,
    /// Theirs.
    pub comm: Vec<u8>,
    /// Position of the cgroup in [`Sums::cgroups`], where that is known.
    pub cgroup: Option<usize>,
    /// What was counted.
    pub numbers: Numbers,
}

/// A cgroup: threads that were in it when they were counted, not those of cgroups below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// Its path inside its hierarchy, any bytes: `/system.slice/nginx.service`.
    pub path: Vec<u8>,
    /// What was counted.
    pub numbers: Numbers,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The kernel's number of it.
    pub id: u32,
    /// What happened on its CPUs: waits that ended there, migrations that began there.
    pub numbers: Numbers,
}

/// How many of a kind have series of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// At most.
    pub most: usize,
    /// Without, now: their numbers are in the other kinds alone. Of those beyond what is kept the ones that did anything since
    /// the read before.
    pub hidden: u64,
}

/// What serving itself costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// CPU time of this process, user and system, ns.
    pub cpu_ns: u64,
    /// Resident memory of this process, bytes.
    pub memory_bytes: u64,
    /// Time in the probes, ns: where `kernel.bpf_stats_enabled` is on.
    pub probes_ns: Option<u64>,
    /// Runs of the probes: where `kernel.bpf_stats_enabled` is on.
    pub probes_runs: Option<u64>,
    /// Kernel memory of the maps and of what is kept of threads, bytes.
    pub maps_bytes: Option<u64>,
}

/// What could not be counted as it should.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Threads that found no room to be tracked: nothing of them is counted.
    pub refused_threads: u64,
    /// Sums of threads that found no room for their process: they are in nodes and in the whole alone.
    pub no_group: u64,
    /// Page touches that found no cell: they are in no other number.
    pub no_cell: u64,
    /// Transitions that were not seen: a hook was off, or tracking began in the middle.
    pub unseen_events: u64,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// When serving began, ns since 1970.
    pub started_ns: u64,
    /// The whole machine.
    pub total: Numbers,
    /// Nodes that have CPUs or memory.
    pub nodes: Vec<Node>,
    /// Cgroups that have series.
    pub cgroups: Vec<Cgroup>,
    /// Processes that have series.
    pub processes: Vec<Process>,
    /// Thread groups that have series; empty unless they were asked for.
    pub thread_groups: Vec<ThreadGroup>,
    /// How many processes have series.
    pub process_bound: Bound,
    /// How many cgroups have series.
    pub cgroup_bound: Bound,
    /// How many thread groups have series; `None` unless they were asked for.
    pub thread_group_bound: Option<Bound>,
    /// Threads that are tracked now.
    pub tracked_threads: u64,
    /// What could not be counted.
    pub lost: Lost,
    /// The tool's own cost.
    pub cost: Cost,
    /// What works on this kernel, and what does not.
    pub sources: Vec<Source>,
}

/// What the probes counted of a group or a CPU.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts<'a> {
    buckets: &'a [u64; BUCKETS],
    wait_ns: u64,
    cpu_ns: u64,
    throttled_ns: u64,
    levels: &'a [u64; LEVELS],
}

impl<'a> From<&'a GroupSums> for Counts<'a> {
    fn from(sums: &'a GroupSums) -> Counts<'a> {
        let GroupSums { buckets, wait_ns, cpu_ns, throttled_ns, levels, .. } = sums;
        Counts { buckets, wait_ns: *wait_ns, cpu_ns: *cpu_ns, throttled_ns: *throttled_ns, levels }
    }
}

impl<'a> From<&'a CpuSums> for Counts<'a> {
    fn from(sums: &'a CpuSums) -> Counts<'a> {
        let CpuSums { buckets, wait_ns, cpu_ns, throttled_ns, levels, .. } = sums;
        Counts { buckets, wait_ns: *wait_ns, cpu_ns: *cpu_ns, throttled_ns: *throttled_ns, levels }
    }
}

impl Numbers {
    /// Adds what the probes counted, where it is measured.
    pub(crate) fn add(&mut self, counts: Counts<'_>) {
        self.runq.sum_ns += counts.wait_ns;
        self.runq.buckets.iter_mut().zip(counts.buckets).for_each(|(sum, more)| *sum += more);
        self.cpu_ns += counts.cpu_ns;
        if let Some(throttled) = &mut self.throttled_ns {
            *throttled += counts.throttled_ns;
        }
        if let Some(levels) = &mut self.migrations {
            levels.smt += counts.levels[level::SMT];
            levels.llc += counts.levels[level::LLC];
            levels.node += counts.levels[level::NODE];
            levels.cross_node += counts.levels[level::CROSS_NODE];
            levels.unknown += counts.levels[level::UNKNOWN];
        }
    }

    /// Adds page touches and hint faults of others that are measured alike.
    pub fn add_touches(&mut self, others: &Numbers) {
        if let (Some(own), Some(others)) = (&mut self.touches, &others.touches) {
            let cells = own.iter_mut().flatten().zip(others.iter().flatten());
            cells.for_each(|(count, more)| *count += more);
        }
        if let (Some((local, remote)), Some((more_local, more_remote))) = (&mut self.hint_faults, others.hint_faults) {
            *local += more_local;
            *remote += more_remote;
        }
    }
}
