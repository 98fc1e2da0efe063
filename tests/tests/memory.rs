//! Which node memory belongs to on machines that are not here, from fixture trees, and on this one.

use std::path::Path;

use numatrace::topology::Topology;
use numatrace::topology::memory::{MAX_STARTS, NO_NODE, NodeMap, NodeMapError, Segment};
use numatrace_tests::sysfs::FakeSys;

/// 128 MiB.
const BLOCK: &str = "memory/block_size_bytes: 8000000\n";

/// Page frames of such a block.
fn frames() -> u64 {
    // SAFETY: sysconf has no preconditions.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    0x800_0000 / u64::try_from(page).expect("a page size")
}

/// A machine whose nodes have these numbers, and what else `text` says.
fn machine(nodes: &[u32], text: &str) -> FakeSys {
    let ids: Vec<String> = nodes.iter().map(u32::to_string).collect();
    let mut all = format!("cpu/possible: 0\ncpu/online: 0\nnode/online: {}\n", ids.join(","));
    for node in nodes {
        all += &format!("node/node{node}/meminfo: Node {node} MemTotal: 1048576 kB\n");
    }
    FakeSys::new(&(all + text))
}

fn read(sys: &FakeSys) -> Result<NodeMap, NodeMapError> {
    let root = sys.root();
    let map = NodeMap::read(root.parent().expect("it is below a root"), &Topology::read(&root).expect("a topology"));
    if let Ok(map) = &map {
        check_shape(map);
    }
    map
}

/// What holds of every map.
fn check_shape(map: &NodeMap) {
    assert!(map.segments.iter().all(|segment| segment.start_pfn < segment.end_pfn));
    for pair in map.segments.windows(2) {
        assert!(pair[0].end_pfn <= pair[1].start_pfn, "{pair:?}");
        assert!(pair[0].end_pfn < pair[1].start_pfn || pair[0].node != pair[1].node, "{pair:?} are not merged");
    }
    let starts = map.starts();
    assert!(starts.len() <= MAX_STARTS && starts[0].0 == 0);
    assert!(starts.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 != pair[1].1), "{starts:?}");
    let edges = map.segments.iter().flat_map(|segment| [segment.start_pfn, segment.end_pfn]);
    for pfn in edges.flat_map(|edge| [edge.saturating_sub(1), edge, edge.saturating_add(1)]) {
        let at = starts.partition_point(|(start, _)| *start <= pfn) - 1;
        // Frame numbers end long before the last number there is.
        if pfn < u64::MAX {
            assert_eq!(map.node_of(pfn).unwrap_or(NO_NODE), starts[at].1, "{pfn} in {starts:?}");
        }
    }
}

/// Start, end and node of each segment.
fn pieces(map: &NodeMap) -> Vec<(u64, u64, u16)> {
    map.segments.iter().map(|&Segment { start_pfn, end_pfn, node }| (start_pfn, end_pfn, node)).collect()
}

/// As /proc/zoneinfo has it: node, first page frame, spanned, present.
fn zoneinfo(zones: &[(u32, u64, u64, u64)]) -> String {
    let zone = |&(node, start, spanned, present): &(u32, u64, u64, u64)| {
        format!(
            "Node {node}, zone   Normal\n  pages free     5\n        low      9\n        spanned  {spanned}\n        \
             present  {present}\n        managed  1\n  pagesets\n    cpu: 0\n              count: 3\n  \
             node_unreclaimable:  0\n  start_pfn:           {start}\n"
        )
    };
    zones.iter().map(zone).collect()
}

#[test]
fn blocks_of_interleaved_nodes_are_told_apart_and_neighbours_merged() {
    let links = [(0, "0 1 4"), (2, "2 3 5")];
    let links = links.map(|(node, blocks)| {
        blocks.split(' ').map(|block| format!("node/node{node}/memory{block}/\n")).collect::<String>()
    });
    let map = read(&machine(&[0, 2], &(BLOCK.to_string() + &links.concat()))).expect("a map");
    let b = frames();
    // Node 2 is the second.
    assert_eq!(pieces(&map), [(0, 2 * b, 0), (2 * b, 4 * b, 1), (4 * b, 5 * b, 0), (5 * b, 6 * b, 1)]);
    assert_eq!([0, 2 * b - 1, 2 * b, 6 * b].map(|pfn| map.node_of(pfn)), [Some(0), Some(0), Some(1), None]);
    assert_eq!(map.starts(), [(0, 0), (2 * b, 1), (4 * b, 0), (5 * b, 1), (6 * b, NO_NODE)]);
}

#[test]
fn a_block_that_is_offline_is_a_hole() {
    let text = BLOCK.to_string()
        + "node/node0/memory1/\nnode/node0/memory2/\nnode/node0/memory3/\nmemory/memory1/state: going-offline\n\
           memory/memory2/state: offline\nmemory/memory3/state: online\nnode/node0/memory_failure/\n";
    let map = read(&machine(&[0], &text)).expect("a map");
    let b = frames();
    assert_eq!(pieces(&map), [(b, 2 * b, 0), (3 * b, 4 * b, 0)]);
    assert_eq!(map.starts(), [(0, NO_NODE), (b, 0), (2 * b, NO_NODE), (3 * b, 0), (4 * b, NO_NODE)]);
}

#[test]
fn of_a_block_of_two_nodes_the_zones_tell() {
    let text =
        BLOCK.to_string() + "node/node0/memory0/\nnode/node0/memory1/\nnode/node1/memory1/\nnode/node1/memory2/\n";
    let b = frames();
    let sys = machine(&[0, 1], &text);
    assert_eq!(pieces(&read(&sys).expect("a map")), [(0, b, 0), (2 * b, 3 * b, 1)], "without zones nothing does");
    sys.write("proc/zoneinfo", &zoneinfo(&[(0, 1, b + 9, 7), (1, b + 10, 2 * b, 7)]));
    assert_eq!(pieces(&read(&sys).expect("a map")), [(0, b + 10, 0), (b + 10, 3 * b, 1)]);
    sys.write("proc/zoneinfo", &zoneinfo(&[(0, 1, b + 19, 7), (1, b + 10, 2 * b, 7)]));
    let map = read(&sys).expect("a map");
    assert_eq!(pieces(&map), [(0, b + 10, 0), (b + 20, 3 * b, 1)], "what both span is nobody's");
}

#[test]
fn a_block_of_a_node_that_is_not_known_is_not_another_ones() {
    let text =
        BLOCK.to_string() + "node/node0/memory0/\nnode/node7/memory1/\nnode/node0/memory2/\nnode/node7/memory2/\n";
    assert_eq!(pieces(&read(&machine(&[0], &text)).expect("a map")), [(0, frames(), 0)]);
}

#[test]
fn without_memory_hotplug_zones_tell_and_where_they_overlap_nothing_does() {
    let zones = [(0, 1, 4_095, 4_000), (0, 4_096, 96_000, 90_000), (0, 0, 50, 0), (1, 50_000, 10_000, 10_000)];
    let sys = machine(&[0, 1], "");
    sys.write("proc/zoneinfo", &zoneinfo(&zones));
    let map = read(&sys).expect("a map");
    assert_eq!(pieces(&map), [(1, 50_000, 0), (60_000, 100_096, 0)]);
    assert_eq!((map.node_of(0), map.node_of(55_000), map.node_of(60_000)), (None, None, Some(0)));
    // Nodes that follow each other, and a zone without memory that does not say where it starts.
    let text = zoneinfo(&[(0, 0, 100, 1), (1, 100, 100, 1)]) + "Node 1, zone Movable\n  spanned 0\n  present 0\n";
    sys.write("proc/zoneinfo", &text);
    assert_eq!(pieces(&read(&sys).expect("a map")), [(0, 100, 0), (100, 200, 1)]);
}

#[test]
fn where_nothing_tells_one_node_has_everything_and_of_several_it_is_not_known() {
    let map = read(&machine(&[3], "")).expect("a map");
    assert_eq!((map.node_of(0), map.node_of(1 << 40), map.starts()), (Some(0), Some(0), vec![(0, 0)]));
    let told = read(&machine(&[0, 1], "")).expect_err("two nodes").to_string();
    assert!(told.contains("neither") && told.contains("proc/zoneinfo"), "{told}");
}

#[test]
fn more_pieces_than_are_looked_up_are_an_error() {
    let interleaved = |blocks: usize| {
        let links = (0..blocks).map(|block| format!("node/node{}/memory{block}/\n", block % 2)).collect::<String>();
        read(&machine(&[0, 1], &(BLOCK.to_string() + &links)))
    };
    // One more entry says where memory ends.
    assert_eq!(interleaved(MAX_STARTS - 1).expect("a map").starts().len(), MAX_STARTS);
    assert!(interleaved(MAX_STARTS).expect_err("too many").to_string().contains("1025"));
}

#[test]
fn garbage_is_an_error_that_names_the_file() {
    for (path, bad) in [
        ("memory/block_size_bytes", "0x"),
        ("memory/block_size_bytes", "0"),
        ("memory/block_size_bytes", "-8"),
        ("proc/zoneinfo", "Node x, zone DMA\n"),
        ("proc/zoneinfo", "Node 0, zone DMA\n  spanned many\n"),
    ] {
        let sys = machine(&[0, 1], "");
        sys.write(path, bad);
        let told = read(&sys).expect_err("garbage").to_string();
        assert!(told.contains(path), "{path} with {bad:?}: {told}");
    }
    let sys = machine(&[0], BLOCK);
    sys.write("node/node0/memory18446744073709551615/state", "online");
    assert!(read(&sys).is_err(), "a block behind the end of all numbers");
}

#[test]
fn the_memory_of_this_machine_has_nodes() {
    let topology = Topology::read(Path::new("/sys")).expect("sysfs of this machine");
    let map = NodeMap::read(Path::new("/"), &topology).expect("its memory");
    check_shape(&map);
    assert!(map.segments.iter().all(|segment| usize::from(segment.node) < topology.nodes.len()));
    assert_eq!(map, NodeMap::read(Path::new("/"), &topology).expect("its memory"));
    // Each node with memory has at least that much.
    for (at, node) in topology.nodes.iter().enumerate() {
        let of_node = map.segments.iter().filter(|segment| usize::from(segment.node) == at);
        let bytes = of_node.map(|segment| (segment.end_pfn - segment.start_pfn) as u128).sum::<u128>();
        let page = u128::from(0x800_0000 / frames());
        assert!(bytes * page >= u128::from(node.memory_bytes), "{node:?} in {map:?}");
    }
}
