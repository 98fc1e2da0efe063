//! Which node physical memory belongs to, from memory blocks and zones.
//!
//! The kernel tells no user of a page's frame number on which node the page is. It tells of what each node is made: of
//! memory blocks in sysfs, which are exact but for blocks that two nodes share, and of zones in /proc/zoneinfo, whose
//! spans have holes that may be another node's. What is in two spans is left out: a page there has no known node.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use thiserror::Error;

use super::sysfs::{malformed, optional, shown};
use super::{Topology, TopologyError};

/// Most entries of [`NodeMap::starts`].
pub const MAX_STARTS: usize = 1_024;
/// Stands for a node where none is known, in [`NodeMap::starts`].
pub const NO_NODE: u16 = u16::MAX;

/// Which node each page frame belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeMap {
    /// In order of page frame number, not overlapping, neighbours of one node merged. What is in none has no known node.
    pub segments: Vec<Segment>,
}

/// Page frames that follow each other on one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Number of the first page frame.
    pub start_pfn: u64,
    /// Number behind the last one.
    pub end_pfn: u64,
    /// Position in [`Topology::nodes`].
    pub node: u16,
}

/// Why it is not known which node memory belongs to.
#[derive(Debug, Error)]
pub enum NodeMapError {
    /// A file could not be read, or does not hold what it should.
    #[error(transparent)]
    File(#[from] TopologyError),
    /// Several nodes, and nothing that tells their memory apart.
    #[error("neither the memory blocks below {blocks} nor {zones} tell which node memory belongs to")]
    NotTold {
        /// The directory of the nodes.
        blocks: String,
        /// The file of the zones.
        zones: String,
    },
    /// More than [`MAX_STARTS`].
    #[error("the memory of nodes is interleaved in {0} pieces, more than the {MAX_STARTS} that are looked up")]
    TooMany(usize),
}

impl NodeMap {
    /// Reads `sys` and `proc` below `root`, which is `/` or a fixture tree: the memory blocks of each node where the
    /// kernel has them, else the zones. Page frames are of this machine's page size.
    ///
    /// Left out, as not known: blocks that are offline, blocks of two nodes and zones of two nodes where they overlap,
    /// and memory of nodes that `topology` does not have. With one node and neither blocks nor zones everything is
    /// that node's.
    ///
    /// # Errors
    /// When a file is malformed, when several nodes have neither blocks nor zones, and beyond [`MAX_STARTS`].
    pub fn read(root: &Path, topology: &Topology) -> Result<NodeMap, NodeMapError> {
        NodeMap::read_from(&root.join("sys"), &root.join("proc"), topology)
    }

    /// The same where /sys and /proc are in these folders.
    ///
    /// # Errors
    /// As [`NodeMap::read`].
    pub fn read_from(sys: &Path, proc: &Path, topology: &Topology) -> Result<NodeMap, NodeMapError> {
        let nodes = sys.join("devices/system/node");
        let zoneinfo = proc.join("zoneinfo");
        let mut spans = read_blocks(sys, &nodes)?;
        if spans.iter().any(|span| span.node.is_none()) {
            let zones = disjoint(&read_zones(&zoneinfo)?);
            spans = spans.iter().flat_map(|span| settle(span, &zones)).collect();
        } else if spans.is_empty() {
            spans = disjoint(&read_zones(&zoneinfo)?);
        }
        let mut map = NodeMap::default();
        for span in spans {
            let at = topology.nodes.iter().position(|node| Some(node.id.0) == span.node);
            if let Some(node) = at.and_then(|at| u16::try_from(at).ok()).filter(|node| *node != NO_NODE) {
                map.push(Segment { start_pfn: span.start, end_pfn: span.end, node });
            }
        }
        if map.segments.is_empty() {
            if topology.nodes.len() != 1 {
                return Err(NodeMapError::NotTold { blocks: shown(&nodes), zones: shown(&zoneinfo) });
            }
            map.push(Segment { start_pfn: 0, end_pfn: u64::MAX, node: 0 });
        }
        match map.starts().len() {
            many if many > MAX_STARTS => Err(NodeMapError::TooMany(many)),
            _ => Ok(map),
        }
    }

    /// Position in [`Topology::nodes`] of the node that a page frame belongs to, `None` where that is not known.
    pub fn node_of(&self, pfn: u64) -> Option<u16> {
        self.segment_of(pfn).map(|segment| segment.node)
    }

    /// The segment that a page frame is in: its neighbours are likely in the same.
    pub fn segment_of(&self, pfn: u64) -> Option<Segment> {
        let behind = self.segments.partition_point(|segment| segment.start_pfn <= pfn);
        self.segments[..behind].last().copied().filter(|segment| pfn < segment.end_pfn)
    }

    /// As a step function: from each page frame number on memory is of that node, or of none that is known
    /// ([`NO_NODE`]). In order, the first is 0, and at most [`MAX_STARTS`] after [`NodeMap::read`].
    pub fn starts(&self) -> Vec<(u64, u16)> {
        let mut starts = Vec::with_capacity(self.segments.len() * 2 + 1);
        let mut told = 0;
        for segment in &self.segments {
            if segment.start_pfn > told {
                starts.push((told, NO_NODE));
            }
            starts.push((segment.start_pfn, segment.node));
            told = segment.end_pfn;
        }
        if told < u64::MAX {
            starts.push((told, NO_NODE));
        }
        starts
    }

    /// Adds what lies behind everything that is there.
    fn push(&mut self, new: Segment) {
        match self.segments.last_mut() {
            Some(last) if last.end_pfn == new.start_pfn && last.node == new.node => last.end_pfn = new.end_pfn,
            _ => self.segments.push(new),
        }
    }
}

/// Page frames from `start` to before `end`, of the node with this number; `None` when several claim them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    start: u64,
    end: u64,
    node: Option<u32>,
}

/// The memory blocks that are online, in order. None where the kernel has no memory hotplug.
fn read_blocks(sys: &Path, nodes: &Path) -> Result<Vec<Span>, TopologyError> {
    let memory = sys.join("devices/system/memory");
    let path = memory.join("block_size_bytes");
    let Some(text) = optional(&path)? else { return Ok(Vec::new()) };
    let wrong = || malformed(&path, "a block size in hexadecimal", &text);
    let bytes = u64::from_str_radix(text.trim(), 16).map_err(|_| wrong())?;
    let frames = bytes / page_bytes();
    if frames == 0 {
        return Err(wrong());
    }
    let mut blocks: BTreeMap<u64, Option<u32>> = BTreeMap::new();
    // All nodes, not only those of the topology: a block of another one is that node's too.
    for node in numbered(nodes, "node")? {
        for block in numbered(&nodes.join(format!("node{node}")), "memory")? {
            blocks.entry(block).and_modify(|claimed| *claimed = None).or_insert(u32::try_from(node).ok());
        }
    }
    let mut spans = Vec::with_capacity(blocks.len());
    for (block, node) in blocks {
        // Offline, its page frames are nobody's. On the way there (`going-offline`) some are still in use.
        let state = optional(&memory.join(format!("memory{block}/state")))?;
        if state.is_some_and(|state| state.trim() == "offline") {
            continue;
        }
        let start = block.checked_mul(frames);
        let Some((start, end)) = start.and_then(|start| Some((start, start.checked_add(frames)?))) else {
            return Err(malformed(&memory, "memory blocks", &format!("memory{block}")));
        };
        spans.push(Span { start, end, node });
    }
    Ok(spans)
}

/// N of the entries `{prefix}N` of a directory, in order; of none that is not there.
fn numbered(dir: &Path, prefix: &str) -> Result<Vec<u64>, TopologyError> {
    let failed = |source| TopologyError::Read { path: shown(dir), source };
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(Vec::new()),
        Err(e) => return Err(failed(e)),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        let digits = name.to_str().and_then(|name| name.strip_prefix(prefix));
        if let Some(digits) = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit())) {
            numbers.extend(digits.parse::<u64>().ok());
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Spans of zones that have memory, as they come; none where the file is not there.
fn read_zones(path: &Path) -> Result<Vec<Span>, TopologyError> {
    let Some(text) = optional(path)? else { return Ok(Vec::new()) };
    let mut zones = Vec::new();
    let mut zone: Option<Zone> = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("Node ") {
            zones.extend(zone.take().and_then(|zone| zone.span()));
            let node = rest.split_once(',').and_then(|(node, _)| node.trim().parse().ok());
            let node = node.ok_or_else(|| malformed(path, "a node and zone", line))?;
            zone = Some(Zone { node, ..Default::default() });
            continue;
        }
        let mut words = line.split_ascii_whitespace();
        let (Some(key), Some(value), Some(zone)) = (words.next(), words.next(), zone.as_mut()) else { continue };
        let field = match key {
            "spanned" => &mut zone.spanned,
            "present" => &mut zone.present,
            "start_pfn:" => &mut zone.start,
            _ => continue,
        };
        *field = Some(value.parse().map_err(|_| malformed(path, "page frames of a zone", line))?);
    }
    zones.extend(zone.and_then(|zone| zone.span()));
    Ok(zones)
}

/// What /proc/zoneinfo says of a zone, in page frames.
#[derive(Default)]
struct Zone {
    node: u32,
    spanned: Option<u64>,
    present: Option<u64>,
    start: Option<u64>,
}

impl Zone {
    /// Nothing for a zone without memory: of such, the kernel does not tell where it starts.
    fn span(&self) -> Option<Span> {
        let (start, spanned) = (self.start?, self.spanned?);
        let end = start.checked_add(spanned)?;
        (self.present? > 0 && spanned > 0).then_some(Span { start, end, node: Some(self.node) })
    }
}

/// The same in order and without what spans of two nodes have in common.
fn disjoint(spans: &[Span]) -> Vec<Span> {
    let mut edges: Vec<u64> = spans.iter().flat_map(|span| [span.start, span.end]).collect();
    edges.sort_unstable();
    edges.dedup();
    let mut pieces = Vec::new();
    for (start, end) in edges.iter().zip(edges.iter().skip(1)) {
        let mut owners = spans.iter().filter(|span| span.start <= *start && *end <= span.end).map(|span| span.node);
        if let Some(node) = owners.next()
            && owners.all(|other| other == node)
        {
            pieces.push(Span { start: *start, end: *end, node });
        }
    }
    pieces
}

/// What the zones say of a block that several nodes claim; any other as it is.
fn settle(block: &Span, zones: &[Span]) -> Vec<Span> {
    if block.node.is_some() {
        return vec![*block];
    }
    let cut = |zone: &Span| Span { start: zone.start.max(block.start), end: zone.end.min(block.end), ..*zone };
    zones.iter().map(cut).filter(|piece| piece.start < piece.end).collect()
}

/// Bytes of a page.
fn page_bytes() -> u64 {
    // SAFETY: sysconf has no preconditions.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    // Linux always tells it.
    u64::try_from(bytes).ok().filter(|bytes| *bytes > 0).unwrap_or(4_096)
}
