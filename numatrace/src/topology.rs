//! CPUs, caches and nodes of a machine, from sysfs.
//!
//! Read once when tracing begins: the model classes migrations with it, the collector groups rings by it, and
//! reports show it. The root can be injected, so that tests read fixture trees.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
pub(crate) mod list;
pub mod memory;
mod sysfs;

use std::path::Path;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::snapshot::{Host, HostNode};

/// Most CPUs that share a ring.
pub const MAX_RING_CPUS: usize = 16;

/// The closest thing that two CPUs share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// A core (SMT siblings).
    Smt,
    /// A last-level cache.
    Llc,
    /// A node.
    Node,
    /// Nothing: they are on different nodes.
    CrossNode,
}

impl Level {
    /// As in the JSON of reports.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Smt => "smt",
            Level::Llc => "llc",
            Level::Node => "node",
            Level::CrossNode => "cross_node",
        }
    }
}

/// One possible CPU.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpu {
    /// Its number.
    pub id: u32,
    /// It is online. Of a CPU that is not, the kernel tells neither core nor cache.
    pub online: bool,
    /// Position of its node in [`Topology::nodes`]; `None` when the kernel does not tell (a CPU that is possible
    /// but not there yet).
    pub node: Option<usize>,
    /// Number of its core, unique on the machine (lowest CPU of the core).
    pub core: u32,
    /// Number of its last-level cache, unique on the machine (lowest CPU that shares it).
    pub llc: u32,
}

/// The machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// Possible CPUs in order of number; numbers can have holes.
    pub cpus: Vec<Cpu>,
    /// Nodes in order of id; ids can have holes, nodes can have no CPU. Never empty after [`Topology::read`].
    pub nodes: Vec<HostNode>,
    /// `distances[i][j]` from `nodes[i]` to `nodes[j]`. Square; where the kernel tells none, its own default stands
    /// (10 on the diagonal, 20 elsewhere).
    pub distances: Vec<Vec<u32>>,
}

/// Why the topology could not be read.
#[derive(Debug, Error)]
pub enum TopologyError {
    /// A file could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path} does not hold {what}: {text:?}")]
    Parse {
        /// Which.
        path: String,
        /// What was expected.
        what: &'static str,
        /// What was there, its start if it is long.
        text: String,
    },
}

impl Topology {
    /// Reads `root`, which is `/sys` or a fixture tree.
    ///
    /// A kernel without NUMA has no node directory: it gets one node 0 with every CPU, whose memory is read from
    /// `proc/meminfo` beside `root`.
    ///
    /// # Errors
    /// When the list of CPUs or the size of a memory is missing, or a file is malformed; missing cache, core and
    /// distance files are tolerated.
    pub fn read(root: &Path) -> Result<Topology, TopologyError> {
        sysfs::read(root)
    }

    /// The CPU with this number.
    pub fn cpu(&self, id: u32) -> Option<&Cpu> {
        // Without holes, which is nearly always, a CPU's number is its position.
        match self.cpus.get(id as usize) {
            Some(cpu) if cpu.id == id => Some(cpu),
            _ => self.cpus.binary_search_by_key(&id, |cpu| cpu.id).ok().and_then(|at| self.cpus.get(at)),
        }
    }

    /// Position of the node of this CPU in [`Topology::nodes`].
    pub fn node_of(&self, cpu: u32) -> Option<usize> {
        self.cpu(cpu)?.node
    }

    /// The closest thing that two CPUs share. A CPU and itself are [`Level::Smt`]. The node comes first: with
    /// sub-NUMA clustering a cache spans nodes, and a move between them is [`Level::CrossNode`] all the same.
    ///
    /// `None` when a CPU or its node is not known, and when both are on one node but one of them was offline when
    /// this topology was read.
    pub fn level(&self, a: u32, b: u32) -> Option<Level> {
        let (first, second) = (self.cpu(a)?, self.cpu(b)?);
        if a == b {
            return Some(Level::Smt);
        }
        if first.node? != second.node? {
            return Some(Level::CrossNode);
        }
        if !first.online || !second.online {
            return None;
        }
        Some(if first.core == second.core {
            Level::Smt
        } else if first.llc == second.llc {
            Level::Llc
        } else {
            Level::Node
        })
    }

    /// The machine as reports show it.
    pub fn host(&self, kernel: &str, arch: &str) -> Host {
        Host {
            kernel: kernel.into(),
            arch: arch.into(),
            cpus: u32::try_from(self.cpus.iter().filter(|cpu| cpu.online).count()).unwrap_or(u32::MAX),
            nodes: self.nodes.clone(),
            distances: self.distances.clone(),
            // Of the topology, not of the host in a recording: the model fills it in.
            llcs: std::sync::Arc::default(),
        }
    }

    /// Online CPUs by last-level cache, in order of the first CPU of each.
    pub fn llcs(&self) -> std::sync::Arc<[Vec<u32>]> {
        let mut groups: std::collections::BTreeMap<u32, Vec<u32>> = std::collections::BTreeMap::new();
        for cpu in self.cpus.iter().filter(|cpu| cpu.online) {
            groups.entry(cpu.llc).or_default().push(cpu.id);
        }
        groups.into_values().collect()
    }

    /// Groups of CPUs that share a ring, in order of node: one group a node, split evenly where a node has more
    /// than [`MAX_RING_CPUS`] CPUs. Never empty, no group is empty, and every possible CPU is in exactly one.
    ///
    /// Offline CPUs are with their node, so that one that comes online later has a ring. CPUs whose node is not
    /// known join the first group beyond the limit: most will never come, and a ring for them would be memory wasted.
    pub fn ring_groups(&self) -> Vec<Vec<u32>> {
        let mut groups: Vec<Vec<u32>> = Vec::new();
        for node in 0..self.nodes.len() {
            let cpus: Vec<u32> = self.cpus.iter().filter(|cpu| cpu.node == Some(node)).map(|cpu| cpu.id).collect();
            let parts = cpus.len().div_ceil(MAX_RING_CPUS);
            if parts > 0 {
                groups.extend(cpus.chunks(cpus.len().div_ceil(parts)).map(<[u32]>::to_vec));
            }
        }
        let homeless = self.cpus.iter().filter(|cpu| cpu.node.is_none_or(|node| node >= self.nodes.len()));
        let homeless = homeless.map(|cpu| cpu.id);
        match groups.first_mut() {
            Some(first) => first.extend(homeless),
            None => groups.push(homeless.collect()),
        }
        groups
    }
}
