//! The machine that was recorded, as the header of a perf.data file describes it (`process_*` and `write_*` in
//! tools/perf/util/header.c). What is not there is not made up: it is named in [`Machine::missing`].

use std::collections::{BTreeSet, HashMap};

use super::bytes::Cursor;
use super::header::{Attr, Header, section};
use crate::snapshot::HostNode;
use crate::text::display_str;
use crate::topology::{Cpu, Topology, list};
use crate::units::NodeId;

/// CPUs at most: records carry a CPU in 16 bits.
const MOST_CPUS: u32 = 1 << 16;
/// CPUs in lists at most, all lists together: many times what the largest machines tell.
const MOST_LISTED: usize = 1 << 20;
/// Nodes at most, as in Linux (`MAX_NUMNODES`).
const MOST_NODES: usize = 1_024;
/// What Linux takes for distances where nobody tells them.
const DISTANCES: [u32; 2] = [10, 20];

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Machine {
    pub(super) topology: Topology,
    pub(super) kernel: String,
    pub(super) arch: String,
    pub(super) hostname: Option<String>,
    /// What of it the file does not tell, each with what stands instead.
    pub(super) missing: Vec<&'static str>,
}

impl Machine {
    pub(super) fn of(header: &Header) -> Machine {
        let mut missing = Vec::new();
        let topology = topology(header, &mut missing);
        let mut text = |number, what| {
            let text = header.text(number).map(|text| display_str(&text));
            if text.is_none() {
                missing.push(what);
            }
            text.unwrap_or_else(|| "unknown".into())
        };
        let kernel = text(section::OSRELEASE, "the kernel's release is not told");
        let arch = text(section::ARCH, "the architecture is not told");
        let hostname = header.text(section::HOSTNAME).map(|name| display_str(&name));
        Machine { topology, kernel, arch, hostname, missing }
    }
}

fn topology(header: &Header, missing: &mut Vec<&'static str>) -> Topology {
    let shared = header.section(section::CPU_TOPOLOGY).and_then(shared_lists);
    if shared.is_none() {
        missing.push("cores are not told: each CPU is taken for a core of its own");
    }
    let (packages, cores) = shared.unwrap_or_default();
    let caches = header.section(section::CACHE).and_then(caches);
    match (&caches, packages.is_empty()) {
        (None, true) => missing.push("caches are not told: the CPUs of a node are taken to share one"),
        (None, false) => missing.push("caches are not told: the CPUs of a package are taken to share one"),
        _ => {}
    }
    let caches = caches.unwrap_or(packages);
    let listed = header.section(section::NUMA_TOPOLOGY).and_then(nodes).filter(|nodes| !nodes.is_empty());
    let possible = possible(header, missing);
    let online: BTreeSet<u32> = match (cores.is_empty(), &listed) {
        (false, _) => cores.keys().copied().filter(|cpu| *cpu < possible).collect(),
        (true, Some(nodes)) => nodes.iter().flat_map(|node| node.cpus.iter().copied()).collect(),
        (true, None) => (0..possible).collect(),
    };
    let nodes = listed.unwrap_or_else(|| {
        missing.push("nodes are not told: all CPUs are taken for one node");
        let memory = header.section(section::TOTAL_MEM).and_then(|mut bytes| bytes.u64()).unwrap_or_default();
        vec![HostNode {
            id: NodeId(0),
            cpus: online.iter().copied().collect(),
            memory_bytes: memory.saturating_mul(1024),
        }]
    });
    if nodes.len() > 1 {
        missing.push("distances between nodes are not told: they are taken to be equal");
    }
    let node_of: HashMap<u32, usize> =
        nodes.iter().enumerate().flat_map(|(at, node)| node.cpus.iter().map(move |cpu| (*cpu, at))).collect();
    let mut first_of_node: HashMap<Option<usize>, u32> = HashMap::new();
    let cpus = (0..possible).map(|id| {
        let node = node_of.get(&id).copied();
        let online = online.contains(&id);
        let of_node = if online { *first_of_node.entry(node).or_insert(id) } else { id };
        let core = cores.get(&id).copied().unwrap_or(id);
        let llc = caches.get(&id).copied().unwrap_or(if caches.is_empty() { of_node } else { id });
        Cpu { id, online, node, core, llc }
    });
    let distance = |from: usize, to: usize| DISTANCES[usize::from(from != to)];
    let rows = (0..nodes.len()).map(|from| (0..nodes.len()).map(|to| distance(from, to)).collect());
    Topology { cpus: cpus.collect(), distances: rows.collect(), nodes }
}

/// How many CPUs there can be.
fn possible(header: &Header, missing: &mut Vec<&'static str>) -> u32 {
    let told = header.section(section::NRCPUS).and_then(|mut bytes| bytes.u32()).filter(|cpus| *cpus > 0);
    let count = told.unwrap_or_else(|| {
        missing.push("the number of CPUs is not told: it is taken from its events");
        // An event of the whole machine has an id for each CPU.
        let ids = header.attrs.iter().filter(|attr| attr.tracepoint().is_some()).map(|attr: &Attr| attr.ids.len());
        u32::try_from(ids.max().unwrap_or(1)).unwrap_or(MOST_CPUS)
    });
    count.clamp(1, MOST_CPUS)
}

/// By CPU the lowest of those in the same list.
type Lowest = HashMap<u32, u32>;

/// Packages and cores: two lists of lists of CPUs.
fn shared_lists(mut bytes: Cursor<'_>) -> Option<(Lowest, Lowest)> {
    let mut listed = Listed::default();
    let mut read = || {
        let mut lowest = Lowest::new();
        for _ in 0..bytes.u32()? {
            let cpus = listed.next(&mut bytes)?;
            if let Some(first) = cpus.first() {
                lowest.extend(cpus.iter().map(|cpu| (*cpu, *first)));
            }
        }
        Some(lowest)
    };
    Some((read()?, read()?)).filter(|(_, cores)| !cores.is_empty())
}

/// Lists of CPUs, of which there are not too many.
#[derive(Default)]
struct Listed(usize);

impl Listed {
    fn next(&mut self, bytes: &mut Cursor<'_>) -> Option<Vec<u32>> {
        let cpus = list::parse(&bytes.text()?)?;
        self.0 += cpus.len();
        Some(cpus).filter(|_| self.0 <= MOST_LISTED)
    }
}

/// The last-level caches: of each CPU the one with the highest level.
fn caches(mut bytes: Cursor<'_>) -> Option<Lowest> {
    let (_version, count) = (bytes.u32()?, bytes.u32()?);
    let mut best: HashMap<u32, (u32, u32)> = HashMap::new();
    let mut listed = Listed::default();
    for _ in 0..count {
        let level = bytes.u32()?;
        // Line size, sets and ways.
        bytes.take(12)?;
        let (kind, _size, cpus) = (bytes.text()?, bytes.text()?, listed.next(&mut bytes)?);
        let Some(first) = cpus.first().filter(|_| kind != "Instruction") else { continue };
        for cpu in &cpus {
            let of = best.entry(*cpu).or_insert((level, *first));
            if level > of.0 {
                *of = (level, *first);
            }
        }
    }
    Some(best.into_iter().map(|(cpu, (_, first))| (cpu, first)).collect()).filter(|lowest: &Lowest| !lowest.is_empty())
}

fn nodes(mut bytes: Cursor<'_>) -> Option<Vec<HostNode>> {
    let count = usize::try_from(bytes.u32()?).ok().filter(|count| *count <= MOST_NODES)?;
    let (mut nodes, mut listed) = (Vec::new(), Listed::default());
    for _ in 0..count {
        let (id, memory, _free) = (bytes.u32()?, bytes.u64()?, bytes.u64()?);
        let cpus = listed.next(&mut bytes)?;
        nodes.push(HostNode { id: NodeId(id), cpus, memory_bytes: memory.saturating_mul(1024) });
    }
    nodes.sort_unstable_by_key(|node| node.id);
    nodes.dedup_by_key(|node| node.id);
    Some(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &mut Vec<u8>, text: &str) {
        let length = (text.len() + 1).next_multiple_of(64);
        bytes.extend((length as u32).to_le_bytes());
        bytes.extend(text.bytes().chain(std::iter::repeat(0)).take(length));
    }

    #[test]
    fn caches_are_those_of_the_highest_level() {
        let mut bytes = Vec::new();
        [1u32, 4].iter().for_each(|number| bytes.extend(number.to_le_bytes()));
        for (level, kind, cpus) in
            [(1u32, "Data", "0-1"), (1, "Instruction", "0-1"), (3, "Unified", "0-3"), (2, "Unified", "0-1")]
        {
            [level, 64, 64, 8].iter().for_each(|number| bytes.extend(number.to_le_bytes()));
            [kind, "32K", cpus].iter().for_each(|word| text(&mut bytes, word));
        }
        let found = caches(Cursor(&bytes)).expect("caches");
        assert_eq!([0, 1, 2, 3, 4].map(|cpu| found.get(&cpu).copied()), [Some(0), Some(0), Some(0), Some(0), None]);
        assert_eq!(caches(Cursor(&bytes[..bytes.len() - 1])), None);
    }

    #[test]
    fn nodes_come_in_order() {
        let mut bytes = 2u32.to_le_bytes().to_vec();
        for (id, kilobytes, cpus) in [(4u32, 8u64, "2-3"), (0, 4, "0-1")] {
            bytes.extend(id.to_le_bytes());
            [kilobytes, 1].iter().for_each(|number| bytes.extend(number.to_le_bytes()));
            text(&mut bytes, cpus);
        }
        let found = nodes(Cursor(&bytes)).expect("nodes");
        assert_eq!(found[0], HostNode { id: NodeId(0), cpus: vec![0, 1], memory_bytes: 4096 });
        assert_eq!((found[1].id, found.len()), (NodeId(4), 2));
    }

    #[test]
    fn what_is_not_told_is_named() {
        let machine = Machine::of(&Header::default());
        assert_eq!((machine.topology.cpus.len(), machine.topology.nodes.len()), (1, 1));
        assert_eq!((machine.kernel.as_str(), machine.missing.len()), ("unknown", 6));
    }
}
