//! A machine that is larger than most: 16 nodes of 32 CPUs, two threads to a core, a cache for each eight CPUs, as a sysfs tree.

use std::fmt::Write as _;

use numatrace::topology::Topology;

use crate::sysfs::FakeSys;

/// See the module.
pub struct Machine512;

impl Machine512 {
    /// CPUs.
    pub const CPUS: u32 = 512;
    /// Nodes.
    pub const NODES: u32 = 16;
    /// CPUs of a node: one after the other.
    pub const OF_NODE: u32 = Self::CPUS / Self::NODES;
    /// CPUs that share a last-level cache.
    pub const OF_LLC: u32 = 8;
    /// Nodes of a socket: closer to each other than to others.
    pub const OF_SOCKET: u32 = 4;

    /// Its sysfs tree.
    ///
    /// # Panics
    /// When the disk is full.
    pub fn sysfs() -> FakeSys {
        let mut text =
            format!("cpu/possible: 0-{0}\ncpu/online: 0-{0}\nnode/online: 0-{1}\n", Self::CPUS - 1, Self::NODES - 1);
        let mut line = |line: std::fmt::Arguments<'_>| text.write_fmt(line).expect("a text takes everything");
        for node in 0..Self::NODES {
            let first = node * Self::OF_NODE;
            line(format_args!("node/node{node}/cpulist: {first}-{}\n", first + Self::OF_NODE - 1));
            let distance = |to: u32| match (to == node, to / Self::OF_SOCKET == node / Self::OF_SOCKET) {
                (true, _) => "10",
                (_, true) => "12",
                _ => "32",
            };
            let distances: Vec<&str> = (0..Self::NODES).map(distance).collect();
            line(format_args!("node/node{node}/distance: {}\n", distances.join(" ")));
            line(format_args!("node/node{node}/meminfo: Node {node} MemTotal: 268435456 kB\n"));
        }
        for cpu in 0..Self::CPUS {
            let (core, llc) = (cpu / 2 * 2, cpu / Self::OF_LLC * Self::OF_LLC);
            line(format_args!("cpu/cpu{cpu}/topology/core_cpus_list: {core}-{}\n", core + 1));
            line(format_args!(
                "cpu/cpu{cpu}/topology/physical_package_id: {}\n",
                cpu / Self::OF_NODE / Self::OF_SOCKET
            ));
            line(format_args!("cpu/cpu{cpu}/cache/index0/level: 3\n"));
            line(format_args!("cpu/cpu{cpu}/cache/index0/type: Unified\n"));
            line(format_args!("cpu/cpu{cpu}/cache/index0/shared_cpu_list: {llc}-{}\n", llc + Self::OF_LLC - 1));
        }
        FakeSys::new(&text)
    }

    /// What numatrace reads of it.
    ///
    /// # Panics
    /// When the disk is full, or it cannot be read.
    pub fn topology() -> Topology {
        Topology::read(&Self::sysfs().root()).expect("a whole machine")
    }
}
