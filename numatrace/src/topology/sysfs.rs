//! Reads a sysfs tree into a [`Topology`].

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::{Cpu, Topology, TopologyError, list};
use crate::snapshot::HostNode;

/// `LOCAL_DISTANCE` and `REMOTE_DISTANCE` of the kernel (include/linux/topology.h).
const LOCAL_DISTANCE: u32 = 10;
const REMOTE_DISTANCE: u32 = 20;

/// What CPUs with a common last-level cache have in common, best knowledge first.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum LlcKey {
    /// Level of the cache and the lowest CPU that shares it.
    Cache(u32, u32),
    /// `physical_package_id`, without any cache information.
    Package(u32),
    /// Without that either.
    Node(Option<usize>),
    /// An offline CPU shares nothing that is known.
    Alone(u32),
}

/// Reads the tree under `root`.
pub fn read(root: &Path) -> Result<Topology, TopologyError> {
    let cpu_dir = root.join("devices/system/cpu");
    let possible = required_list(&cpu_dir.join("possible"), "a list of CPUs")?;
    let online = required_list(&cpu_dir.join("online"), "a list of CPUs")?;
    let nodes = read_nodes(root, &online)?;
    let node_at: HashMap<u32, usize> =
        nodes.listed.iter().enumerate().flat_map(|(at, cpus)| cpus.iter().map(move |cpu| (*cpu, at))).collect();

    let mut cpus = Vec::with_capacity(possible.len());
    let mut llc_of = HashMap::new();
    for id in possible {
        let dir = cpu_dir.join(format!("cpu{id}"));
        let online = online.binary_search(&id).is_ok();
        let node = match node_at.get(&id) {
            Some(at) => Some(*at),
            None if nodes.numa => nodes.hosts.iter().position(|host| dir.join(format!("node{}", host.id)).exists()),
            None => Some(0),
        };
        let (core, key) =
            if online { (read_core(&dir)?.unwrap_or(id), read_llc(&dir, node)?) } else { (id, LlcKey::Alone(id)) };
        // CPUs come in order, so the first with a key is the lowest that has it.
        let llc = *llc_of.entry(key).or_insert(id);
        cpus.push(Cpu { id, online, node, core, llc });
    }
    let distances = read_distances(root, &nodes)?;
    Ok(Topology { cpus, nodes: nodes.hosts, distances })
}

/// The nodes before CPUs are known.
struct Nodes {
    /// The kernel has nodes; else the one node is made up.
    numa: bool,
    /// As the host shows them.
    hosts: Vec<HostNode>,
    /// `cpulist` of each.
    listed: Vec<Vec<u32>>,
}

fn read_nodes(root: &Path, online: &[u32]) -> Result<Nodes, TopologyError> {
    let dir = root.join("devices/system/node");
    let path = dir.join("online");
    let proc_meminfo = root.parent().unwrap_or(Path::new("/")).join("proc/meminfo");
    let Some(text) = optional(&path)? else {
        let node =
            HostNode { cpus: online.to_vec(), memory_bytes: required_memory(&proc_meminfo)?, ..Default::default() };
        return Ok(Nodes { numa: false, hosts: vec![node], listed: vec![online.to_vec()] });
    };
    let ids = match list::parse(&text) {
        Some(ids) if !ids.is_empty() => ids,
        _ => return Err(malformed(&path, "a list of nodes", &text)),
    };
    let mut nodes = Nodes { numa: true, hosts: Vec::new(), listed: Vec::new() };
    for id in &ids {
        let node = dir.join(format!("node{id}"));
        let path = node.join("cpulist");
        let cpus = match optional(&path)? {
            Some(text) => list::parse(&text).ok_or_else(|| malformed(&path, "a list of CPUs", &text))?,
            None => Vec::new(),
        };
        let path = node.join("meminfo");
        let memory_bytes = match optional(&path)? {
            Some(text) => list::mem_total(&text).ok_or_else(|| malformed(&path, "MemTotal in kB", &text))?,
            // With one node the machine's memory is the node's; with more, a guess would be a lie.
            None if ids.len() == 1 => required_memory(&proc_meminfo)?,
            None => return Err(TopologyError::Read { path: shown(&path), source: ErrorKind::NotFound.into() }),
        };
        let of_node = cpus.iter().copied().filter(|cpu| online.binary_search(cpu).is_ok()).collect();
        nodes.hosts.push(HostNode { id: crate::units::NodeId(*id), cpus: of_node, memory_bytes });
        nodes.listed.push(cpus);
    }
    Ok(nodes)
}

/// The kernel writes one row a node, with a column for each online node. A node that comes or goes between two
/// reads makes a row too short or too long: then the kernel's default fills it.
fn read_distances(root: &Path, nodes: &Nodes) -> Result<Vec<Vec<u32>>, TopologyError> {
    let default = |from: usize, to: usize| if from == to { LOCAL_DISTANCE } else { REMOTE_DISTANCE };
    let count = nodes.hosts.len();
    let mut rows = Vec::with_capacity(count);
    for (from, host) in nodes.hosts.iter().enumerate() {
        let path = root.join(format!("devices/system/node/node{}/distance", host.id));
        let told = match optional(&path)? {
            Some(text) => list::row(&text).ok_or_else(|| malformed(&path, "a row of distances", &text))?,
            None => Vec::new(),
        };
        rows.push((0..count).map(|to| told.get(to).copied().unwrap_or_else(|| default(from, to))).collect());
    }
    Ok(rows)
}

/// The lowest CPU of the core; `None` when the kernel does not tell.
fn read_core(cpu: &Path) -> Result<Option<u32>, TopologyError> {
    // `thread_siblings_list` is the older name of the same.
    for name in ["topology/core_cpus_list", "topology/thread_siblings_list"] {
        let path = cpu.join(name);
        if let Some(text) = optional(&path)? {
            let siblings = list::parse(&text).ok_or_else(|| malformed(&path, "a list of CPUs", &text))?;
            return Ok(siblings.first().copied());
        }
    }
    Ok(None)
}

fn read_llc(cpu: &Path, node: Option<usize>) -> Result<LlcKey, TopologyError> {
    let mut best: Option<(u32, u32)> = None;
    for index in 0.. {
        let dir = cpu.join(format!("cache/index{index}"));
        let path = dir.join("level");
        let Some(text) = optional(&path)? else { break };
        let level = list::number(&text).ok_or_else(|| malformed(&path, "a cache level", &text))?;
        if optional(&dir.join("type"))?.is_some_and(|kind| kind.trim() == "Instruction") {
            continue;
        }
        let path = dir.join("shared_cpu_list");
        let Some(text) = optional(&path)? else { continue };
        let shared = list::parse(&text).ok_or_else(|| malformed(&path, "a list of CPUs", &text))?;
        if let Some(lowest) = shared.first()
            && best.is_none_or(|(of, _)| level > of)
        {
            best = Some((level, *lowest));
        }
    }
    if let Some((level, lowest)) = best {
        return Ok(LlcKey::Cache(level, lowest));
    }
    let path = cpu.join("topology/physical_package_id");
    match optional(&path)? {
        // arm64 and riscv say -1 when the firmware does not tell.
        Some(text) if text.trim() != "-1" => {
            let package = list::number(&text).ok_or_else(|| malformed(&path, "a package number", &text))?;
            Ok(LlcKey::Package(package))
        }
        _ => Ok(LlcKey::Node(node)),
    }
}

fn required_list(path: &Path, what: &'static str) -> Result<Vec<u32>, TopologyError> {
    let text = required(path)?;
    match list::parse(&text) {
        Some(numbers) if !numbers.is_empty() => Ok(numbers),
        _ => Err(malformed(path, what, &text)),
    }
}

fn required_memory(path: &Path) -> Result<u64, TopologyError> {
    let text = required(path)?;
    list::mem_total(&text).ok_or_else(|| malformed(path, "MemTotal in kB", &text))
}

fn required(path: &Path) -> Result<String, TopologyError> {
    optional(path)?.ok_or_else(|| TopologyError::Read { path: shown(path), source: ErrorKind::NotFound.into() })
}

/// The text of a file, `None` when there is none. A CPU or node that goes away while it is read answers `ENODEV`.
pub(super) fn optional(path: &Path) -> Result<Option<String>, TopologyError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(e) if e.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        Err(source) => Err(TopologyError::Read { path: shown(path), source }),
    }
}

pub(super) fn malformed(path: &Path, what: &'static str, text: &str) -> TopologyError {
    TopologyError::Parse { path: shown(path), what, text: text.trim_end().chars().take(60).collect() }
}

pub(super) fn shown(path: &Path) -> String {
    path.display().to_string()
}
