//! The topology of machines that are not here, from fixture trees.

use numatrace::topology::{Level, MAX_RING_CPUS, Topology, TopologyError};
use numatrace_tests::sysfs::FakeSys;

fn topology(name: &str) -> Topology {
    read(&FakeSys::fixture(name))
}

fn read(sys: &FakeSys) -> Topology {
    let topology = Topology::read(&sys.root()).expect("a readable tree");
    check_shape(&topology);
    topology
}

/// What holds on every machine.
fn check_shape(t: &Topology) {
    assert!(!t.nodes.is_empty());
    assert_eq!(t.distances.len(), t.nodes.len());
    assert!(t.distances.iter().all(|row| row.len() == t.nodes.len()));
    assert!(t.cpus.is_sorted_by_key(|cpu| cpu.id) && t.nodes.is_sorted_by_key(|node| node.id));
    for cpu in &t.cpus {
        assert_eq!(t.cpu(cpu.id), Some(cpu));
        assert_eq!(t.level(cpu.id, cpu.id), Some(Level::Smt));
        for other in &t.cpus {
            assert_eq!(t.level(cpu.id, other.id), t.level(other.id, cpu.id));
        }
    }
    let groups = t.ring_groups();
    assert!(groups.iter().all(|group| !group.is_empty()));
    let mut grouped = groups.concat();
    grouped.sort_unstable();
    assert_eq!(grouped, t.cpus.iter().map(|cpu| cpu.id).collect::<Vec<_>>(), "every CPU is in one group");
    for group in &groups {
        let mut nodes: Vec<usize> = group.iter().filter_map(|cpu| t.node_of(*cpu)).collect();
        assert!(nodes.len() <= MAX_RING_CPUS, "{group:?}");
        nodes.dedup();
        assert!(nodes.len() <= 1, "{group:?} spans nodes {nodes:?}");
    }
}

fn error(sys: &FakeSys) -> String {
    Topology::read(&sys.root()).expect_err("this tree is malformed").to_string()
}

#[test]
fn a_virtual_machine_has_one_node_and_no_neighbours() {
    let t = topology("one-node-vm");
    let host = t.host("6.12.0", "x86_64");
    assert_eq!((host.cpus, host.nodes.len(), host.distances), (2, 1, vec![vec![10]]));
    assert_eq!((host.nodes[0].cpus.clone(), host.nodes[0].memory_bytes), (vec![0, 1], 2 << 30));
    assert_eq!((host.kernel.as_str(), host.arch.as_str()), ("6.12.0", "x86_64"));
    assert_eq!(t.level(0, 1), Some(Level::Llc));
    assert_eq!(t.level(0, 2), None, "there is no CPU 2");
    assert_eq!(t.ring_groups(), [[0, 1]]);
}

#[test]
fn siblings_caches_and_nodes_are_told_apart() {
    let t = topology("two-nodes-smt");
    assert_eq!(t.level(0, 4), Some(Level::Smt));
    assert_eq!(t.level(0, 1), Some(Level::Node), "two caches on one node");
    assert_eq!(t.level(0, 2), Some(Level::CrossNode));
    assert_eq!(t.level(5, 1), Some(Level::Smt));
    assert_eq!(t.node_of(6), Some(1));
    assert_eq!(t.distances, [[10, 21], [21, 10]]);
    assert_eq!(t.ring_groups(), [[0, 1, 4, 5], [2, 3, 6, 7]]);
    let cpu = t.cpu(7).expect("it exists");
    assert_eq!((cpu.core, cpu.llc, cpu.node, cpu.online), (3, 3, Some(1), true));
}

#[test]
fn distances_need_not_be_equal_and_a_node_may_be_memory_alone() {
    let t = topology("four-nodes-unequal");
    assert_eq!(t.distances, [[10, 16, 32, 28], [16, 10, 28, 32], [32, 28, 10, 24], [28, 32, 24, 10]]);
    assert_eq!((t.nodes[3].cpus.len(), t.nodes[3].memory_bytes), (0, 64 << 30));
    assert_eq!([t.level(0, 1), t.level(0, 2), t.level(0, 3)], [Level::Smt, Level::Llc, Level::CrossNode].map(Some));
    assert_eq!(t.ring_groups().len(), 3, "no ring for a node without CPUs");
}

#[test]
fn an_offline_cpu_stays_with_its_node_and_has_a_ring() {
    let t = topology("offline");
    assert_eq!(t.host("", "").cpus, 2);
    assert_eq!((0..6).map(|cpu| t.node_of(cpu)).collect::<Vec<_>>(), [Some(0), Some(0), Some(1), Some(1), None, None]);
    assert_eq!((t.nodes[1].cpus.clone(), t.cpus[3].online), (vec![2], false), "a node shows its online CPUs");
    assert_eq!(t.level(0, 2), Some(Level::CrossNode));
    assert_eq!(t.level(1, 3), Some(Level::CrossNode), "the node is known of both");
    assert_eq!(t.level(0, 1), None, "on one node, but nothing is known of its core and cache");
    assert_eq!(t.level(0, 4), None);
    assert_eq!(t.ring_groups(), vec![vec![0, 1, 4, 5], vec![2, 3]]);
}

#[test]
fn numbers_may_have_holes() {
    let t = topology("holes");
    assert_eq!(t.nodes.iter().map(|node| node.id.0).collect::<Vec<_>>(), [0, 2, 7]);
    assert_eq!((t.node_of(9), t.node_of(40), t.node_of(2)), (Some(1), Some(2), None));
    assert_eq!(t.level(8, 9), Some(Level::Llc));
    assert_eq!(t.distances[1], [12, 10, 31]);
    assert_eq!(t.ring_groups(), vec![vec![0, 1], vec![8, 9], vec![40]]);
}

#[test]
fn a_kernel_without_numa_is_one_node_with_all_memory() {
    let sys = FakeSys::fixture("no-numa");
    let t = read(&sys);
    assert_eq!((t.nodes.len(), t.nodes[0].id.0, t.nodes[0].memory_bytes), (1, 0, 4 << 20));
    assert_eq!((t.nodes[0].cpus.clone(), t.distances.clone()), (vec![0, 1, 2], vec![vec![10]]));
    assert_eq!((t.node_of(3), t.ring_groups()), (Some(0), vec![vec![0, 1, 2, 3]]));
    sys.remove("proc/meminfo");
    assert!(error(&sys).contains("proc/meminfo"), "memory of unknown size is not 0 bytes");
}

#[test]
fn a_cache_that_spans_nodes_does_not_hide_the_node_boundary() {
    let t = topology("sub-numa-clusters");
    assert_eq!(t.cpus[0].llc, t.cpus[3].llc);
    assert_eq!((t.level(0, 1), t.level(1, 2)), (Some(Level::Llc), Some(Level::CrossNode)));
}

#[test]
fn without_caches_the_package_stands_in_and_without_that_the_node() {
    let t = topology("no-cache");
    assert_eq!(t.cpus.iter().map(|cpu| cpu.llc).collect::<Vec<_>>(), [0, 0, 2, 2, 4, 4]);
    assert_eq!((t.level(0, 1), t.level(1, 2), t.level(4, 5)), (Some(Level::Llc), Some(Level::Node), Some(Level::Llc)));
}

/// 16 nodes, each with 32 CPUs: two caches of eight cores with two siblings.
fn big_machine() -> String {
    let mut text = String::from("cpu/possible: 0-511\ncpu/online: 0-511\nnode/online: 0-15\n");
    for node in 0..16 {
        let first = node * 32;
        let row: Vec<&str> = (0..16).map(|to| if to == node { "10" } else { "32" }).collect();
        text += &format!("node/node{node}/cpulist: {first}-{}\n", first + 31);
        text += &format!("node/node{node}/distance: {}\n", row.join(" "));
        text += &format!("node/node{node}/meminfo: Node {node} MemTotal: 268435456 kB\n");
    }
    for cpu in 0..512 {
        let (core, llc) = (cpu / 2 * 2, cpu / 16 * 16);
        text += &format!("cpu/cpu{cpu}/topology/core_cpus_list: {core}-{}\n", core + 1);
        text += &format!("cpu/cpu{cpu}/cache/index0/level: 3\ncpu/cpu{cpu}/cache/index0/type: Unified\n");
        text += &format!("cpu/cpu{cpu}/cache/index0/shared_cpu_list: {llc}-{}\n", llc + 15);
    }
    text
}

#[test]
fn a_machine_of_512_cpus_on_16_nodes() {
    let t = read(&FakeSys::new(&big_machine()));
    assert_eq!((t.cpus.len(), t.nodes.len(), t.nodes[15].memory_bytes), (512, 16, 256 << 30));
    let levels = [t.level(510, 511), t.level(496, 511), t.level(480, 511), t.level(0, 511)];
    assert_eq!(levels, [Level::Smt, Level::Llc, Level::Node, Level::CrossNode].map(Some));
    let groups = t.ring_groups();
    assert_eq!((groups.len(), groups[1].clone()), (32, (16..32).collect::<Vec<u32>>()));
}

#[test]
fn a_node_slightly_above_the_limit_is_split_evenly() {
    let t = read(&FakeSys::new("cpu/possible: 0-17\ncpu/online: 0-17\nproc/meminfo: MemTotal: 1 kB\n"));
    assert_eq!(t.ring_groups().iter().map(Vec::len).collect::<Vec<_>>(), [9, 9]);
}

#[test]
fn short_long_and_missing_distance_rows_are_filled_with_the_kernels_default() {
    let sys = FakeSys::fixture("four-nodes-unequal");
    sys.write("node/node0/distance", "10\n");
    sys.write("node/node1/distance", "16 10 28 32 99 99\n");
    sys.write("node/node2/distance", "\n");
    sys.remove("node/node3/distance");
    assert_eq!(read(&sys).distances, [[10, 20, 20, 20], [16, 10, 28, 32], [20, 20, 10, 20], [20, 20, 20, 10]]);
}

#[test]
fn missing_core_and_cache_files_are_tolerated() {
    let t = read(&FakeSys::new("cpu/possible: 0-1\ncpu/online: 0-1\nproc/meminfo: MemTotal: 1 kB\n"));
    assert_eq!((t.cpus[1].core, t.cpus[1].llc, t.level(0, 1)), (1, 0, Some(Level::Llc)));
}

#[test]
fn garbage_is_an_error_that_names_the_file_and_what_it_held() {
    for (path, bad) in [
        ("cpu/possible", "zero"),
        ("cpu/possible", ""),
        ("cpu/online", "3-1"),
        ("cpu/online", "0-4294967295"),
        ("node/online", ""),
        ("node/online", "0,,1"),
        ("node/node1/cpulist", "4-"),
        ("node/node1/distance", "10 far"),
        ("node/node1/distance", "-1 10"),
        ("node/node1/meminfo", "Node 1 MemFree: 5 kB"),
        ("cpu/cpu1/topology/core_cpus_list", "\u{1b}[2J"),
        ("cpu/cpu1/cache/index3/level", "three"),
        ("cpu/cpu1/cache/index3/shared_cpu_list", "1;2"),
    ] {
        let sys = FakeSys::fixture("two-nodes-smt");
        sys.write(path, bad);
        let told = error(&sys);
        assert!(told.contains(path) && told.contains(&format!("{bad:?}")), "{path} with {bad:?}: {told}");
        assert!(!told.contains('\u{1b}'));
    }
    let sys = FakeSys::fixture("no-cache");
    sys.write("cpu/cpu1/topology/physical_package_id", "one");
    assert!(error(&sys).contains("physical_package_id"));
}

#[test]
fn missing_lists_of_cpus_and_sizes_of_memory_are_errors_with_a_path() {
    for path in ["cpu/possible", "cpu/online", "node/node1/meminfo"] {
        let sys = FakeSys::fixture("two-nodes-smt");
        sys.remove(path);
        let read = Topology::read(&sys.root());
        assert!(matches!(&read, Err(TopologyError::Read { path: p, .. }) if p.ends_with(path)), "{path}: {read:?}");
    }
}

#[test]
fn this_machine_can_be_read() {
    let t = Topology::read(std::path::Path::new("/sys")).expect("sysfs of this machine");
    check_shape(&t);
    let online = t.cpus.iter().filter(|cpu| cpu.online).count();
    let allowed = std::thread::available_parallelism().expect("a number of CPUs").get();
    assert!(online >= allowed, "{online} online, {allowed} to run on");
}
