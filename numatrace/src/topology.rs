//! CPUs, caches and nodes of a machine, from sysfs.

use std::path::Path;

use thiserror::Error;

use crate::snapshot::{Host, HostNode};

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

/// One possible CPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// Its number.
    pub id: u32,
    /// It is online.
    pub online: bool,
    /// Position of its node in [`Topology::nodes`].
    pub node: usize,
    /// Number of its core, unique on the machine (position of the lowest sibling).
    pub core: u32,
    /// Number of its last-level cache, unique on the machine (lowest CPU that shares it).
    pub llc: u32,
}

/// The machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// Possible CPUs in order of number; numbers can have holes.
    pub cpus: Vec<Cpu>,
    /// Nodes in order of id; ids can have holes, nodes can have no CPU. Never empty.
    pub nodes: Vec<HostNode>,
    /// `distances[i][j]` from `nodes[i]` to `nodes[j]`.
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
        /// What was there.
        text: String,
    },
}

impl Topology {
    /// Reads `root`, which is `/sys` or a fixture tree.
    ///
    /// # Errors
    /// When the list of CPUs is missing or a file is malformed; missing cache or node files are tolerated.
    pub fn read(_root: &Path) -> Result<Topology, TopologyError> {
        Ok(Topology::default())
    }

    /// The CPU with this number.
    pub fn cpu(&self, _id: u32) -> Option<&Cpu> {
        None
    }

    /// Position of the node of this CPU in [`Topology::nodes`].
    pub fn node_of(&self, _cpu: u32) -> Option<usize> {
        None
    }

    /// The closest thing that two CPUs share; `None` when one is not known.
    pub fn level(&self, _a: u32, _b: u32) -> Option<Level> {
        None
    }

    /// The machine as reports show it.
    pub fn host(&self, kernel: &str, arch: &str) -> Host {
        Host {
            kernel: kernel.into(),
            arch: arch.into(),
            cpus: 0,
            nodes: self.nodes.clone(),
            distances: self.distances.clone(),
        }
    }

    /// Groups of CPUs that share a ring: one for each node, split where a node has more than 16 CPUs; CPUs of
    /// nodes without memory are with their node as any other.
    pub fn ring_groups(&self) -> Vec<Vec<u32>> {
        Vec::new()
    }
}
