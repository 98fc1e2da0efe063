//! Machines that guests pretend to be, as data: the QEMU arguments come from it, and tests compare what they measure with it.

use anyhow::{Result, bail};

use super::Arch;

/// A machine with NUMA nodes.
#[derive(Debug, PartialEq, Eq)]
pub struct Topology {
    pub name: &'static str,
    /// What it is for, in a few words.
    pub about: &'static str,
    pub cpus: u32,
    /// The rest of QEMU's `-smp`.
    pub smp: &'static str,
    pub nodes: &'static [Node],
    /// Distances between different nodes, each pair once; a node is 10 from itself.
    pub distances: &'static [(usize, usize, u32)],
}

/// One NUMA node.
#[derive(Debug, PartialEq, Eq)]
pub struct Node {
    /// As the kernel prints cpulist; empty for a node that has memory only.
    pub cpus: &'static str,
    pub memory_mib: u32,
}

const fn node(cpus: &'static str, memory_mib: u32) -> Node {
    Node { cpus, memory_mib }
}

/// Two sockets of two CPUs: the ordinary server, small.
pub const TWO_NODES: Topology = Topology {
    name: "two_nodes",
    about: "two nodes of two CPUs, distance 21",
    cpus: 4,
    smp: "sockets=2,cores=2,threads=1",
    nodes: &[node("0-1", 1024), node("2-3", 1024)],
    distances: &[(0, 1, 21)],
};

/// Unequal distances, and memory without CPUs as CXL and persistent memory have it.
pub const FOUR_NODES: Topology = Topology {
    name: "four_nodes",
    about: "three nodes of two CPUs and one with memory only, unequal distances",
    cpus: 6,
    smp: "sockets=3,cores=2,threads=1",
    nodes: &[node("0-1", 768), node("2-3", 512), node("4-5", 512), node("", 512)],
    distances: &[(0, 1, 16), (0, 2, 28), (0, 3, 31), (1, 2, 28), (1, 3, 24), (2, 3, 22)],
};

/// Siblings and two last-level caches a node, so that all four levels of migration exist.
pub const SMT_LLC: Topology = Topology {
    name: "smt_llc",
    about: "two nodes of four CPUs, each two dies (an LLC each) of two SMT siblings",
    cpus: 8,
    smp: "sockets=2,dies=2,cores=1,threads=2",
    nodes: &[node("0-3", 1024), node("4-7", 1024)],
    distances: &[(0, 1, 21)],
};

/// One node: what most laptops and small guests are.
pub const ONE_NODE: Topology = Topology {
    name: "one_node",
    about: "one node of two CPUs: nothing is ever remote",
    cpus: 2,
    smp: "sockets=1,cores=2,threads=1",
    nodes: &[node("0-1", 1024)],
    distances: &[],
};

/// All of them.
pub const ALL: [&Topology; 4] = [&TWO_NODES, &FOUR_NODES, &SMT_LLC, &ONE_NODE];

impl Topology {
    pub fn by_name(name: &str) -> Result<&'static Self> {
        match ALL.into_iter().find(|topology| topology.name == name) {
            Some(topology) => Ok(topology),
            None => bail!("no topology is named '{name}': there are {}", ALL.map(|topology| topology.name).join(", ")),
        }
    }

    /// Distance as the kernel reports it.
    pub fn distance(&self, from: usize, to: usize) -> u32 {
        let pair = (from.min(to), from.max(to));
        let listed = self.distances.iter().find(|(a, b, _)| (*a, *b) == pair);
        if from == to { 10 } else { listed.map_or(20, |(_, _, distance)| *distance) }
    }

    /// QEMU's arm64 machine knows no dies.
    pub fn runs_on(&self, arch: Arch) -> bool {
        arch == Arch::X86_64 || !self.smp.contains("dies=")
    }

    pub fn memory_mib(&self) -> u32 {
        self.nodes.iter().map(|node| node.memory_mib).sum()
    }

    /// `-smp`, `-m`, `-object`, `-numa`.
    pub fn qemu_args(&self) -> Vec<String> {
        let mut args = vec![
            "-smp".to_owned(),
            format!("{},{}", self.cpus, self.smp),
            "-m".to_owned(),
            format!("{}M", self.memory_mib()),
        ];
        let mut push = |flag: &str, value: String| args.extend([flag.to_owned(), value]);
        for (id, node) in self.nodes.iter().enumerate() {
            push("-object", format!("memory-backend-ram,id=m{id},size={}M", node.memory_mib));
            let cpus = if node.cpus.is_empty() { String::new() } else { format!("cpus={},", node.cpus) };
            push("-numa", format!("node,nodeid={id},{cpus}memdev=m{id}"));
        }
        for (from, to, distance) in self.distances {
            push("-numa", format!("dist,src={from},dst={to},val={distance}"));
        }
        args
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_nodes_has_a_distance() {
        for topology in ALL {
            let nodes = topology.nodes.len();
            assert_eq!(topology.distances.len(), nodes * (nodes - 1) / 2, "{}", topology.name);
            assert!(topology.distances.iter().all(|(from, to, distance)| from < to && *to < nodes && *distance > 10));
        }
    }

    #[test]
    fn distance_is_symmetric_and_10_to_itself() {
        assert_eq!(FOUR_NODES.distance(3, 1), 24);
        assert_eq!(FOUR_NODES.distance(1, 3), 24);
        assert_eq!(FOUR_NODES.distance(2, 2), 10);
    }

    #[test]
    fn a_node_without_cpus_names_none() {
        let args = FOUR_NODES.qemu_args();
        assert!(args.contains(&"node,nodeid=3,memdev=m3".to_owned()), "{args:?}");
        assert!(args.contains(&"2304M".to_owned()), "{args:?}");
    }

    #[test]
    fn unknown_name_lists_the_known() {
        let error = Topology::by_name("ring").unwrap_err().to_string();
        assert!(error.contains("two_nodes, four_nodes, smt_llc"), "{error}");
    }
}
