//! Tells how much memory each node has left, and where the kernel's page allocator had to go to another node than was wanted.

use std::fs;
use std::path::PathBuf;

use numatrace_common::abi::NodeMemory;
use zerocopy::IntoBytes;

use super::system::monotonic_ns;
use crate::topology::Topology;

/// It is read this often at most, two files a node, about 40 us each.
const EVERY_NS: u64 = 1_000_000_000;

/// Where to read, and what was told.
#[derive(Debug)]
pub(super) struct NodeMemories {
    directories: Vec<PathBuf>,
    told: Vec<Option<NodeMemory>>,
    /// What was counted when tracing began.
    begun: Vec<Option<NodeMemory>>,
    next_ns: u64,
}

impl NodeMemories {
    /// Of a machine whose sysfs is at `root`. `None` where it shows no memory of nodes.
    pub(super) fn new(root: &std::path::Path, topology: &Topology) -> Option<NodeMemories> {
        let directory = |node: &crate::snapshot::HostNode| root.join(format!("devices/system/node/node{}", node.id));
        let directories: Vec<PathBuf> = topology.nodes.iter().map(directory).collect();
        let mut memories =
            NodeMemories { told: vec![None; directories.len()], begun: Vec::new(), directories, next_ns: 0 };
        memories.begun = memories.read();
        memories.begun.iter().any(Option::is_some).then_some(memories)
    }

    /// Everything is told again.
    pub(super) fn forget_told(&mut self) {
        self.told.fill(None);
        self.begun.fill(None);
        self.next_ns = 0;
    }

    /// Tells nodes whose numbers are news.
    pub(super) fn tick(&mut self, sink: &mut dyn FnMut(&[u8])) {
        let now = monotonic_ns();
        if now < self.next_ns {
            return;
        }
        self.next_ns = now.saturating_add(EVERY_NS);
        let mut tell =
            |memory: NodeMemory| sink(NodeMemory { header: NodeMemory::header(now, 0, 0), ..memory }.as_bytes());
        for (at, memory) in self.read().into_iter().enumerate() {
            let (Some(memory), Some(told)) = (memory, self.told.get_mut(at)) else { continue };
            if let Some(begun) = self.begun.get_mut(at).and_then(Option::take) {
                tell(begun);
            }
            if *told != Some(memory) {
                tell(memory);
                *told = Some(memory);
            }
        }
    }

    fn read(&self) -> Vec<Option<NodeMemory>> {
        let nodes = u16::try_from(self.directories.len()).unwrap_or(u16::MAX);
        let read = |(node, directory): (u16, &PathBuf)| {
            let text = |name: &str| fs::read_to_string(directory.join(name)).ok();
            let memory = memory(&text("meminfo")?)?;
            Some(counted(&text("numastat")?, NodeMemory { node, nodes, ..memory }))
        };
        (0..nodes).zip(&self.directories).map(read).collect()
    }
}

/// `Node 0 MemTotal:       18966304 kB`
fn memory(text: &str) -> Option<NodeMemory> {
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.split_once(name).filter(|(node, _)| node.starts_with("Node ")))?;
        let kib = line.1.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?;
        Some(kib.saturating_mul(1024))
    };
    Some(NodeMemory {
        total_bytes: bytes(" MemTotal:")?,
        free_bytes: bytes(" MemFree:")?,
        file_bytes: bytes(" FilePages:")?.saturating_sub(bytes(" Shmem:").unwrap_or(0)),
        ..NodeMemory::default()
    })
}

/// `numa_hit 424636286`
fn counted(text: &str, memory: NodeMemory) -> NodeMemory {
    let count = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        value.and_then(|value| value.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    NodeMemory { hit: count("numa_hit "), miss: count("numa_miss "), foreign: count("numa_foreign "), ..memory }
}

#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn fuzz(text: &str) {
    if let Some(memory) = memory(text) {
        let _ = counted(text, memory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Event, decode};
    use crate::snapshot::HostNode;
    use crate::units::NodeId;

    fn write(root: &std::path::Path, node: u32, free_kib: u64, hit: u64) {
        let at = root.join(format!("devices/system/node/node{node}"));
        fs::create_dir_all(&at).expect("folders");
        let memory = format!(
            "Node {node} MemTotal:  1000 kB\nNode {node} MemFree: {free_kib} kB\nNode {node} FilePages: 70 kB\nNode {node} Shmem: 20 kB\n"
        );
        fs::write(at.join("meminfo"), memory).expect("a file");
        fs::write(at.join("numastat"), format!("numa_hit {hit}\nnuma_miss 3\nnuma_foreign 4\n")).expect("a file");
    }

    fn told(memories: &mut NodeMemories) -> Vec<NodeMemory> {
        let mut all = Vec::new();
        memories.next_ns = 0;
        memories.tick(&mut |record| match decode(record).expect("a record") {
            Event::NodeMemory(memory) => all.push(memory),
            other => panic!("{other:?}"),
        });
        all
    }

    #[test]
    fn the_memory_of_each_node_is_told_from_when_tracing_began() {
        let root = tempfile::tempdir().expect("a folder");
        let node = |id| HostNode { id: NodeId(id), ..HostNode::default() };
        let topology = Topology { cpus: Vec::new(), nodes: vec![node(0), node(2)], distances: Vec::new() };
        assert!(NodeMemories::new(root.path(), &topology).is_none());
        write(root.path(), 0, 600, 10);
        write(root.path(), 2, 500, 20);
        let mut memories = NodeMemories::new(root.path(), &topology).expect("they are shown");
        write(root.path(), 2, 400, 25);
        let all: Vec<(u16, u16, u64, u64)> =
            told(&mut memories).iter().map(|m| (m.node, m.nodes, m.free_bytes / 1024, m.hit)).collect();
        assert_eq!(all, [(0, 2, 600, 10), (0, 2, 600, 10), (1, 2, 500, 20), (1, 2, 400, 25)]);
        assert_eq!(told(&mut memories), [], "nothing is new");
        memories.forget_told();
        let all = told(&mut memories);
        assert_eq!(all.len(), 2);
        let NodeMemory { total_bytes, file_bytes, miss, foreign, .. } = all[1];
        assert_eq!((total_bytes, file_bytes, miss, foreign), (1000 * 1024, 50 * 1024, 3, 4));
    }
}
