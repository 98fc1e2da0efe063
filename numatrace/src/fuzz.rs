//! What the fuzzers of `fuzz/` call, a function for each kind of input that is not ours: any bytes may come, and each
//! function holds what must be true of whatever was understood. Only there with the feature `fuzzing`, and in the unit
//! tests, which give every file of `fuzz/corpus` to its function.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

use numatrace_common::abi::{
    Attributes, Cgroup, CgroupPath, Counters, Gap, Migrate, NamespaceIds, NodeMemory, Placement, Quota, SelfCost,
    Slice, Task, Throttled, Tick, Totals, Touches, Where, Words, kind,
};

use crate::collect::btf::KernelBtf;
use crate::collect::offsets;
use crate::decode::{DecodeError, decode};
use crate::import::Import;
use crate::model::{Limits, Meta, Model, Pages, Waiting};
use crate::recording::{Head, Timeline as _, reader::Reader};
use crate::report::text::{TextOptions, write};
use crate::snapshot::HostNode;
use crate::source::{Source, SourceStatus, apply};
use crate::topology::{Cpu, Topology};
use crate::units::NodeId;
use crate::{collect, symbols, target, topology, tui};

/// What is done with some bytes.
type Target = fn(&[u8]);

/// Every target, by the name of its fuzzer and of its folder in `fuzz/corpus`.
pub const TARGETS: [(&str, Target); 9] = [
    ("btf", btf),
    ("decode", decoded),
    ("elf", symbols::fuzz::elf),
    ("filter", filters),
    ("frame", frame),
    ("gopclntab", symbols::fuzz::gopclntab),
    ("import", import),
    ("proc", proc),
    ("recording", recording),
];

/// Gives `bytes` to the target of this name.
///
/// # Panics
/// When there is none, and when the target finds what must not be.
pub fn run(name: &str, bytes: &[u8]) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).expect("the name of a target");
    target(bytes);
}

/// A file in memory with these bytes, and a path to it that is good while it is open.
pub(crate) fn file(bytes: &[u8]) -> (File, PathBuf) {
    let mut file = symbols::fuzz::memory();
    file.write_all(bytes).expect("room in memory");
    let path = format!("/proc/self/fd/{}", file.as_raw_fd()).into();
    (file, path)
}

/// Takes the first byte.
pub(crate) fn first(bytes: &[u8]) -> (u8, &[u8]) {
    bytes.split_first().map_or((0, bytes), |(first, rest)| (*first, rest))
}

/// What a recording begins with: a machine of two nodes of two CPUs, of which everything is measured.
fn head() -> Head {
    let cpu = |id: u32| Cpu { id, online: true, node: Some(id as usize / 2), core: id, llc: id / 2 * 2 };
    let node = |id: u32| HostNode { id: NodeId(id), cpus: vec![2 * id, 2 * id + 1], memory_bytes: 1 << 30 };
    let (nodes, distances) = (vec![node(0), node(1)], vec![vec![10, 21], vec![21, 10]]);
    let topology = Topology { cpus: (0..4).map(cpu).collect(), nodes, distances };
    let host = topology.host("", "x86_64");
    let meta = Meta { host, start_ns: 1_000, pages: Pages::ALL, waits: Waiting::ALL, ..Meta::default() };
    Head { meta, topology, ..Head::default() }
}

/// Kinds of records, with their bytes.
const RECORDS: [(u16, usize); 23] = [
    (Slice::KIND, Slice::SIZE),
    (Migrate::KIND, Migrate::SIZE),
    (Task::KIND, Task::SIZE),
    (Totals::KIND, Totals::SIZE),
    (Tick::KIND, Tick::SIZE),
    (Counters::KIND, Counters::SIZE),
    (Attributes::KIND, Attributes::SIZE),
    (Cgroup::KIND, Cgroup::SIZE),
    (CgroupPath::KIND, CgroupPath::SIZE),
    (kind::TOTALS_BASE, Totals::SIZE),
    (kind::COUNTERS_BASE, Counters::SIZE),
    (Touches::KIND, Touches::SIZE),
    (Words::KIND, Words::SIZE),
    (Where::KIND, Where::SIZE),
    (Placement::KIND, Placement::SIZE),
    (Gap::KIND, Gap::SIZE),
    (Throttled::KIND, Throttled::SIZE),
    (kind::THROTTLED_BASE, Throttled::SIZE),
    (Quota::KIND, Quota::SIZE),
    (NodeMemory::KIND, NodeMemory::SIZE),
    (NamespaceIds::KIND, NamespaceIds::SIZE),
    (SelfCost::KIND, SelfCost::SIZE),
    (kind::CONTAINER_NAMES, CgroupPath::SIZE),
];

/// Any bytes as one record; then as several, each a byte that says which kind and the bytes behind its size, through the
/// model.
fn decoded(bytes: &[u8]) {
    match decode(bytes) {
        Ok(_) => assert!(bytes.len() >= 16, "an event of less than a header"),
        Err(DecodeError::Short { have, want }) => assert!(have == bytes.len() && have < want),
        Err(DecodeError::Size { size, expected, .. }) => assert_ne!(size, expected),
        Err(DecodeError::UnknownKind { kind }) => assert!(RECORDS.iter().all(|(known, _)| *known != kind)),
    }
    let Head { meta, topology, .. } = head();
    let mut model = Model::new(meta, topology, Limits::default());
    let mut rest = bytes;
    while let [which, behind @ ..] = rest {
        let (kind, size) = RECORDS[usize::from(*which) % RECORDS.len()];
        let taken = behind.len().min(size - 4);
        let mut record = vec![0; size];
        record[..2].copy_from_slice(&kind.to_le_bytes());
        record[2..4].copy_from_slice(&(size as u16).to_le_bytes());
        record[4..4 + taken].copy_from_slice(&behind[..taken]);
        assert!(decode(&record).is_ok(), "a whole record");
        apply(&record, &mut model);
        rest = &behind[taken..];
    }
    shown(&model);
}

/// What a report does with a model.
fn shown(model: &Model) {
    let snapshot = model.snapshot();
    let mut text = Vec::new();
    write(&snapshot, &TextOptions::default(), &mut text).expect("memory takes everything");
    let text = String::from_utf8(text).expect("a report is UTF-8");
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "a report moves the cursor: {text:?}");
    serde_json::to_vec(&snapshot).expect("a snapshot is JSON");
}

/// Any bytes as a recording.
fn recording(bytes: &[u8]) {
    let (_open, path) = file(bytes);
    let Ok(mut reader) = Reader::open(&path) else { return };
    let mut model = Model::new(reader.head().meta.clone(), reader.head().topology.clone(), Limits::default());
    replayed(&mut reader, &mut model);
    let _ = reader.incomplete();
    shown(&model);
}

/// Any bytes as the columns of a frame in a recording that is whole but for them: their checksums fit.
fn frame(bytes: &[u8]) {
    let Some((sizes, plain)) = bytes.split_at_checked(6) else { return };
    let records = u32::from(u16::from_le_bytes([sizes[0], sizes[1]]));
    let raw_len = u32::from_le_bytes([sizes[2], sizes[3], sizes[4], sizes[5]]) % (1 << 20);
    let Ok(packed) = zstd::bulk::compress(plain, 1) else { return };
    let mut fields = Vec::new();
    [0u64, 0, 1_000, 2_000, 0, 0].iter().for_each(|field| fields.extend_from_slice(&field.to_le_bytes()));
    let lens = [records, raw_len, plain.len() as u32, packed.len() as u32];
    lens.iter().for_each(|field| fields.extend_from_slice(&field.to_le_bytes()));
    fields.extend_from_slice(&crc32c::crc32c(&packed).to_le_bytes());
    fields.extend_from_slice(&[0; 4]);
    let json = serde_json::to_vec(&head()).expect("a head is JSON");
    let mut head = b"NUMATRCE\x01\0\x01\0\0\0\0\0".to_vec();
    head.extend_from_slice(&(json.len() as u32).to_le_bytes());
    head.extend_from_slice(&[0; 4]);
    head.extend_from_slice(&json);
    recording(&[part(b"NTHD", &head), part(b"NTFR", &fields), packed].concat());
}

fn part(tag: &[u8; 4], rest: &[u8]) -> Vec<u8> {
    let len = (rest.len() as u32 + 8).to_le_bytes();
    [&0x184D_2A5E_u32.to_le_bytes()[..], &len, tag, &crc32c::crc32c(rest).to_le_bytes(), rest].concat()
}

/// Any bytes as a perf.data file.
fn import(bytes: &[u8]) {
    let (_open, path) = file(bytes);
    let Ok(mut import) = Import::open(&path, 1_000_000_000) else { return };
    let mut model = Model::new(import.meta().clone(), import.topology().clone(), Limits::default());
    replayed(&mut import, &mut model);
    shown(&model);
}

/// All that a source has, which gives out nothing but records.
fn replayed(source: &mut impl Source, model: &mut Model) {
    let mut take = |record: &[u8]| {
        assert!(!matches!(decode(record), Err(DecodeError::Short { .. })), "half a record");
        apply(record, model);
    };
    while source.next_batch(&mut take).is_ok_and(|status| status == SourceStatus::More) {}
}

/// Any bytes as a kernel's type information, asked for all that numatrace asks.
fn btf(bytes: &[u8]) {
    let Ok(btf) = KernelBtf::parse(bytes.to_vec()) else { return };
    for v1 in [false, true] {
        let _ = offsets::find(&btf, v1);
    }
    for path in ["x", "y", "z.q"] {
        let offset = btf.offset_of("a", path);
        assert!(offset.is_none() || btf.has("a"));
    }
    let _ = (btf.enumerator("e", "e1"), btf.tracepoint_args("sched_switch"));
}

/// Any text as what is typed to filter the table of threads, and the list of events.
fn filters(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    tui::filter::fuzz::filter(text);
    tui::events::fuzz(text);
}

/// Any bytes as a file of /proc or sysfs; the first one says which.
fn proc(bytes: &[u8]) {
    let (which, bytes) = first(bytes);
    let text = String::from_utf8_lossy(bytes);
    match which % 8 {
        0 => topology::fuzz::lists(&text),
        1 => topology::fuzz::zones(&text),
        2 => target::fuzz::cgroups(bytes, &text),
        3 => target::fuzz::processes(bytes),
        4 => symbols::fuzz::maps(bytes),
        5 => collect::fuzz::maps(bytes),
        6 => collect::fuzz::numbers(bytes, &text),
        _ => collect::fuzz::kernel(bytes),
    }
}

#[cfg(test)]
mod tests;
