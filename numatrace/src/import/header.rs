//! The header of a perf.data file: events with their attributes, where the records are, and the sections about the machine.
//! Layouts: tools/perf/Documentation/perf.data-file-format.txt and `struct perf_event_attr` of the kernel.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::ImportError;
use super::bytes::{Cursor, u32_at, u64_at};

/// Bytes of a section at most: the largest one, tracing data, can hold all symbols of a kernel.
const LONGEST_SECTION: u64 = 64 << 20;
/// Events at most.
const MOST_EVENTS: u64 = 4_096;
/// Ids of events at most: one for each event and CPU.
const MOST_IDS: u64 = 1 << 20;
/// Bytes of the header of a file that is no pipe.
const HEADER: usize = 104;

/// Numbers of sections (`HEADER_*` in tools/perf/util/header.h).
pub(super) mod section {
    pub(crate) const TRACING_DATA: usize = 1;
    pub(crate) const HOSTNAME: usize = 3;
    pub(crate) const OSRELEASE: usize = 4;
    pub(crate) const ARCH: usize = 6;
    pub(crate) const NRCPUS: usize = 7;
    pub(crate) const TOTAL_MEM: usize = 10;
    pub(crate) const CPU_TOPOLOGY: usize = 13;
    pub(crate) const NUMA_TOPOLOGY: usize = 14;
    pub(crate) const CACHE: usize = 20;
    pub(crate) const SAMPLE_TIME: usize = 21;
    pub(crate) const CLOCK_DATA: usize = 29;
}

/// What is read of them.
const WANTED: [usize; 11] = [
    section::TRACING_DATA,
    section::HOSTNAME,
    section::OSRELEASE,
    section::ARCH,
    section::NRCPUS,
    section::TOTAL_MEM,
    section::CPU_TOPOLOGY,
    section::NUMA_TOPOLOGY,
    section::CACHE,
    section::SAMPLE_TIME,
    section::CLOCK_DATA,
];

/// Bits of [`Attr::flags`].
mod flag {
    pub(super) const TASK: u64 = 1 << 13;
    pub(super) const SAMPLE_ID_ALL: u64 = 1 << 18;
    pub(super) const USE_CLOCKID: u64 = 1 << 25;
}

/// What was asked for of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Attr {
    kind: u32,
    config: u64,
    pub(super) sample_type: u64,
    pub(super) read_format: u64,
    flags: u64,
    clock: i32,
    pub(super) ids: Vec<u64>,
}

impl Attr {
    fn parse(bytes: &[u8]) -> Option<Attr> {
        Some(Attr {
            kind: u32_at(bytes, 0)?,
            config: u64_at(bytes, 8)?,
            sample_type: u64_at(bytes, 24)?,
            read_format: u64_at(bytes, 32)?,
            flags: u64_at(bytes, 40)?,
            // Older ones are shorter.
            clock: u32_at(bytes, 92).unwrap_or_default().cast_signed(),
            ids: Vec::new(),
        })
    }

    /// The number of its tracepoint, where it is one.
    pub(super) const fn tracepoint(&self) -> Option<u64> {
        if self.kind == 2 { Some(self.config) } else { None }
    }

    /// It has no samples: perf adds it for records of mappings and lives.
    pub(super) const fn is_dummy(&self) -> bool {
        self.kind == 1 && self.config == 9
    }

    /// Records of births and ends of threads were asked for.
    pub(super) const fn tells_lives(&self) -> bool {
        self.flags & flag::TASK != 0
    }

    pub(super) const fn sample_id_all(&self) -> bool {
        self.flags & flag::SAMPLE_ID_ALL != 0
    }

    /// The clock that was asked for, as `clock_gettime` numbers it; `None` for perf's own.
    pub(super) const fn clock(&self) -> Option<i32> {
        if self.flags & flag::USE_CLOCKID != 0 { Some(self.clock) } else { None }
    }
}

/// What is known before the first record.
#[derive(Debug, Default)]
pub(super) struct Header {
    pub(super) attrs: Vec<Attr>,
    /// Where the records begin.
    pub(super) data: u64,
    /// Bytes of the records.
    pub(super) data_bytes: u64,
    sections: Vec<(usize, Vec<u8>)>,
}

impl Header {
    pub(super) fn read(file: &File) -> Result<Header, ImportError> {
        let found = file.metadata()?;
        if found.is_dir() {
            return Err(ImportError::Folder);
        }
        let bytes = found.len();
        let mut start = [0; HEADER];
        let there = usize::try_from(bytes).map_or(HEADER, |bytes| bytes.min(HEADER));
        file.read_exact_at(&mut start[..there], 0)?;
        match &start[..8] {
            b"PERFILE2" => {}
            b"2ELIFREP" => return Err(ImportError::BigEndian),
            _ => return Err(ImportError::NotPerf),
        }
        let field = |at: usize| u64_at(&start, at).unwrap_or_default();
        if field(8) == 16 {
            return Err(ImportError::Pipe);
        }
        if there < HEADER {
            return Err(ImportError::Truncated { expected: HEADER as u64, bytes });
        }
        let (data, data_bytes) = (field(40), field(48));
        if data_bytes == 0 {
            return Err(ImportError::NotClosed);
        }
        let source = Part { file, bytes };
        let end = source.end(data, data_bytes)?;
        let attrs = read_attrs(&source, (field(24), field(32)), field(16))?;
        let features: [u64; 4] = [field(72), field(80), field(88), field(96)];
        let sections = read_sections(&source, end, features)?;
        Ok(Header { attrs, data, data_bytes, sections })
    }

    /// The bytes of a section.
    pub(super) fn section(&self, number: usize) -> Option<Cursor<'_>> {
        self.sections.iter().find(|(of, _)| *of == number).map(|(_, bytes)| Cursor(bytes))
    }

    /// The text that is all of a section.
    pub(super) fn text(&self, number: usize) -> Option<String> {
        self.section(number)?.text()
    }
}

/// A file whose parts are looked at before they are read.
struct Part<'a> {
    file: &'a File,
    bytes: u64,
}

impl Part<'_> {
    /// Where this part ends, if it is within the file.
    fn end(&self, at: u64, length: u64) -> Result<u64, ImportError> {
        let expected = at.saturating_add(length);
        if expected > self.bytes { Err(ImportError::Truncated { expected, bytes: self.bytes }) } else { Ok(expected) }
    }

    fn read(&self, at: u64, length: u64, what: &'static str) -> Result<Vec<u8>, ImportError> {
        self.end(at, length)?;
        let length = usize::try_from(length).ok().filter(|_| length <= LONGEST_SECTION);
        let mut bytes = vec![0; length.ok_or(ImportError::Header(what))?];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }
}

/// Each entry has the attributes, and where its ids are.
fn read_attrs(source: &Part<'_>, (at, bytes): (u64, u64), each: u64) -> Result<Vec<Attr>, ImportError> {
    const WHAT: &str = "the list of its events";
    let count = bytes.checked_div(each).unwrap_or_default();
    if each < 64 || count == 0 || count > MOST_EVENTS {
        return Err(ImportError::Header(WHAT));
    }
    let table = source.read(at, bytes, WHAT)?;
    // It fits: a table of `count` entries was read.
    let each = each as usize;
    let (mut attrs, mut ids) = (Vec::new(), 0);
    for entry in table.chunks_exact(each) {
        let (fields, place) = entry.split_at(each - 16);
        let mut attr = Attr::parse(fields).ok_or(ImportError::Header(WHAT))?;
        let (at, length) = (u64_at(place, 0).unwrap_or_default(), u64_at(place, 8).unwrap_or_default());
        ids += length / 8;
        if ids > MOST_IDS {
            return Err(ImportError::Header(WHAT));
        }
        attr.ids = source.read(at, length, WHAT)?.chunks_exact(8).filter_map(|id| u64_at(id, 0)).collect();
        attrs.push(attr);
    }
    Ok(attrs)
}

/// After the records is a table with an entry for each section that there is.
fn read_sections(source: &Part<'_>, at: u64, features: [u64; 4]) -> Result<Vec<(usize, Vec<u8>)>, ImportError> {
    const WHAT: &str = "the list of its sections";
    let there: Vec<usize> = (0..256).filter(|number| features[number / 64] >> (number % 64) & 1 != 0).collect();
    let table = source.read(at, there.len() as u64 * 16, WHAT)?;
    let mut sections = Vec::new();
    for (number, entry) in there.into_iter().zip(table.chunks_exact(16)) {
        let (at, length) = (u64_at(entry, 0).unwrap_or_default(), u64_at(entry, 8).unwrap_or_default());
        source.end(at, length)?;
        if WANTED.contains(&number) {
            sections.push((number, source.read(at, length, "a section about the machine")?));
        }
    }
    Ok(sections)
}
