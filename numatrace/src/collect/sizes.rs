//! How many rings, lanes and drain threads a machine gets, and how large they are: from its topology and the size of a ring alone.

use numatrace_common::config::{CpuRings, MAX_CPUS, MAX_RINGS, NO_RING};

use super::lanes;
use crate::topology::Topology;

/// CPUs that share a ring and a drain thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// All of them, whether online or not: the drain thread runs on these.
    pub cpus: Vec<u32>,
    /// Those that get a lane: the ones that are online. One that comes later writes its turns into the ring.
    pub online: Vec<u32>,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// One ring and one drain thread each.
    pub groups: Vec<Group>,
    /// Bytes of a ring.
    pub ring_bytes: u32,
    /// Turns that a lane holds: the same in all lanes.
    pub lane_slots: u32,
}

impl Sizes {
    /// For a machine whose rings have `ring_bytes` each. Lanes share as much where most CPUs share a ring.
    pub fn of(topology: &Topology, ring_bytes: u32) -> Sizes {
        let groups = groups(topology);
        let most = groups.iter().map(|group| group.online.len()).max().unwrap_or(1);
        Sizes { groups, ring_bytes, lane_slots: lanes::slots(ring_bytes, most) }
    }

    /// Lanes in all.
    pub fn lanes(&self) -> usize {
        self.groups.iter().map(|group| group.online.len()).sum()
    }

    /// Kernel memory of rings and lanes in bytes, but for a few pages that each has for itself.
    pub fn bytes(&self) -> u64 {
        let lane = u64::from(self.lane_slots) * lanes::SLOT as u64;
        self.groups.len() as u64 * u64::from(self.ring_bytes) + self.lanes() as u64 * lane
    }
}

/// The groups of CPUs, at most [`MAX_RINGS`]: beyond that, neighbours share.
fn groups(topology: &Topology) -> Vec<Group> {
    let mut groups = topology.ring_groups();
    while groups.len() > MAX_RINGS {
        let Some(last) = groups.pop() else { break };
        if let Some(into) = groups.last_mut() {
            into.extend(last);
        }
    }
    let lives = |cpu: &u32| (*cpu as usize) < MAX_CPUS && topology.cpu(*cpu).is_some_and(|cpu| cpu.online);
    groups.into_iter().map(|cpus| Group { online: cpus.iter().copied().filter(lives).collect(), cpus }).collect()
}

/// The ring that each CPU writes to.
pub(super) fn cpu_rings(groups: &[Group]) -> CpuRings {
    let mut rings = [NO_RING; MAX_CPUS];
    for (index, group) in groups.iter().enumerate() {
        for cpu in &group.cpus {
            rings[(*cpu as usize).min(MAX_CPUS - 1)] = index as u8;
        }
    }
    rings
}
