//! What a scenario file holds. Unknown fields are refused everywhere.

use numatrace::snapshot::HostNode;
use numatrace::source::script::KernelEvent;
use numatrace::topology::{Cpu, Topology};
use numatrace::units::NodeId;
use serde::Deserialize;
use toml::Value;

/// One file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it shows, in a sentence.
    #[serde(rename = "about")]
    _about: String,
    #[serde(default)]
    pub machine: Machine,
    /// Ended threads that the model keeps.
    pub max_exited: Option<usize>,
    /// In order of time.
    pub events: Vec<KernelEvent>,
    /// In order of time; each names a tick.
    #[serde(default)]
    pub expect: Vec<Expect>,
}

/// Events that happen `times` times, each `every` ns, with thread `tid`, where given, becoming `tid + 1` and so on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Repeat {
    times: i64,
    every: i64,
    tid: Option<i64>,
    events: Vec<Value>,
}

impl Scenario {
    /// Reads a file; `repeat` is written out and its events sorted in among the others.
    pub fn parse(text: &str) -> Result<Scenario, String> {
        let mut file: toml::Table = toml::from_str(text).map_err(|error| error.to_string())?;
        if let Some(repeats) = file.remove("repeat") {
            let repeats: Vec<Repeat> = repeats.try_into().map_err(|error: toml::de::Error| error.to_string())?;
            let Some(Value::Array(events)) = file.get_mut("events") else { return Err("no events".into()) };
            for repeat in &repeats {
                for nth in 0..repeat.times {
                    events.extend(repeat.events.iter().map(|event| nth_of(event, repeat, nth)));
                }
            }
            events.sort_by_key(|event| event.get("at").and_then(Value::as_integer));
        }
        Value::Table(file).try_into().map_err(|error: toml::de::Error| error.to_string())
    }
}

fn nth_of(event: &Value, repeat: &Repeat, nth: i64) -> Value {
    let mut event = event.clone();
    for (key, value) in event.as_table_mut().into_iter().flatten() {
        let Value::Integer(number) = value else { continue };
        match key.as_str() {
            "at" => *number += nth * repeat.every,
            "tid" | "prev" | "next" | "by" if Some(*number) == repeat.tid => *number += nth,
            _ => {}
        }
    }
    event
}

/// CPUs, caches, nodes and rings. By default 4 CPUs on one node that share a cache.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Machine {
    /// CPUs of each node.
    nodes: Vec<Vec<u32>>,
    /// Numbers of the nodes, where they have holes.
    node_ids: Vec<u32>,
    /// SMT siblings; a CPU in none is a core of its own.
    cores: Vec<Vec<u32>>,
    /// CPUs that share a cache; those in none share one with their node.
    llcs: Vec<Vec<u32>>,
    /// CPUs of each ring; by default a ring for each node with CPUs.
    rings: Option<Vec<Vec<u16>>>,
    pub ring_bytes: Option<usize>,
}

impl Default for Machine {
    fn default() -> Self {
        Machine {
            nodes: vec![vec![0, 1, 2, 3]],
            node_ids: Vec::new(),
            cores: Vec::new(),
            llcs: Vec::new(),
            rings: None,
            ring_bytes: None,
        }
    }
}

impl Machine {
    pub fn topology(&self) -> Topology {
        let lowest = |groups: &[Vec<u32>], cpu: u32| {
            groups.iter().find(|group| group.contains(&cpu)).and_then(|group| group.iter().min().copied())
        };
        let mut cpus: Vec<Cpu> = Vec::new();
        for (node, members) in self.nodes.iter().enumerate() {
            for &id in members {
                cpus.push(Cpu {
                    id,
                    online: true,
                    node: Some(node),
                    core: lowest(&self.cores, id).unwrap_or(id),
                    llc: lowest(&self.llcs, id).or_else(|| members.iter().min().copied()).unwrap_or(id),
                });
            }
        }
        cpus.sort_by_key(|cpu| cpu.id);
        let nodes: Vec<HostNode> = self
            .nodes
            .iter()
            .enumerate()
            .map(|(at, cpus)| HostNode {
                id: NodeId(self.node_ids.get(at).copied().unwrap_or(at as u32)),
                cpus: cpus.clone(),
                memory_bytes: 1 << 30,
            })
            .collect();
        let distances =
            (0..nodes.len()).map(|a| (0..nodes.len()).map(|b| if a == b { 10 } else { 21 }).collect()).collect();
        Topology { cpus, nodes, distances }
    }

    pub fn rings(&self) -> Vec<Vec<u16>> {
        let by_node = || {
            let with_cpus = self.nodes.iter().filter(|cpus| !cpus.is_empty());
            with_cpus.map(|cpus| cpus.iter().map(|cpu| *cpu as u16).collect()).collect()
        };
        self.rings.clone().unwrap_or_else(by_node)
    }
}

/// What is expected at one tick. What is not named is not compared.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// The tick, ns since the start.
    pub at: u64,
    pub start: Option<String>,
    /// Number of entries.
    pub threads: Option<usize>,
    pub dropped_threads: Option<u64>,
    /// Records given out after newer ones.
    pub late: Option<u64>,
    pub totals: Option<Numbers>,
    #[serde(default)]
    pub thread: Vec<Numbers>,
    pub loss: Option<LossNumbers>,
    pub matrix: Option<Vec<Vec<u64>>>,
}

/// Numbers of a thread, or of all. Lists are compared whole.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Numbers {
    /// Not for totals.
    #[serde(default)]
    pub tid: u32,
    /// Which of the entries with this id, the earliest first.
    #[serde(default)]
    pub nth: usize,
    pub pid: Option<u32>,
    pub comm: Option<String>,
    pub exited: Option<bool>,
    /// `unknown`, `running`, `waiting`, `blocked`, `exited`.
    pub state: Option<String>,
    pub cpu: Option<u32>,
    pub cpu_ns: Option<u64>,
    pub wait_ns: Option<u64>,
    pub blocked_ns: Option<u64>,
    /// cpu + wait + blocked.
    pub lifetime_ns: Option<u64>,
    pub waiting_now_ns: Option<u64>,
    /// `false`: it does not wait now.
    pub waiting: Option<bool>,
    pub voluntary: Option<u64>,
    pub involuntary: Option<u64>,
    pub wakeup: Option<Waits>,
    pub preempted: Option<Waits>,
    pub all: Option<Waits>,
    pub migrations: Option<MigrationNumbers>,
    pub node_moves: Option<u64>,
    pub residency_ns: Option<Vec<u64>>,
    pub residency_cpu: Option<Vec<(u32, u64)>>,
    /// `[tid, count]`
    pub wakers: Option<Vec<(u32, u64)>>,
    pub waker_names: Option<Vec<String>>,
    /// `[tid, ns, count]`
    pub waited_behind: Option<Vec<(u32, u64, u64)>>,
    pub throttled_wait_ns: Option<u64>,
    /// All waits without their throttled part.
    pub unthrottled: Option<Waits>,
    /// Own process, others.
    pub behind: Option<(u64, u64)>,
    /// `[count, ns]` of waits after a thread of the same process took the CPU, and another.
    pub preempted_by: Option<((u64, u64), (u64, u64))>,
}

/// Waits of one kind.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waits {
    pub count: Option<u64>,
    pub total_ns: Option<u64>,
    pub max_ns: Option<u64>,
    /// Waits in the histogram.
    pub recorded: Option<u64>,
    /// The true value; the bucket's upper edge may lie above it by a 14th or 1 us.
    pub p50_ns: Option<u64>,
    /// As `p50_ns`.
    pub p99_ns: Option<u64>,
}

/// Every level and cause that is not named is expected to be 0.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MigrationNumbers {
    pub smt: u64,
    pub llc: u64,
    pub node: u64,
    pub cross_node: u64,
    pub unclassified: u64,
    pub wakeup: u64,
    pub load_balance: u64,
    pub active_balance_or_affinity: u64,
    pub numa_balancing: u64,
    pub hotplug: u64,
    pub other: u64,
}

/// Every reason that is not named is expected to be 0.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossNumbers {
    pub wanted: u64,
    pub received: u64,
    #[serde(default)]
    pub ring_full: u64,
    #[serde(default)]
    pub no_ring: u64,
    #[serde(default)]
    pub undecodable: u64,
    /// `[start, end, lost]`
    pub intervals: Vec<(u64, u64, u64)>,
}
