//! What a file holds, without its records: the head, and where frames are. From the index where there is one, else from
//! the frames themselves: a recording that was cut short has no index.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use zerocopy::{FromBytes, IntoBytes};

use super::Head;
use super::format::{
    ANONYMIZED, END, EndFields, Entry, HEAD_TAG, HeadFields, INDEX_TAG, Index, LONGEST_JSON, MOST_ENTRIES, NAME, Part,
    SKIPPABLE, VERSION,
};
use super::frames::{find_header, header_at};
use crate::text::visible;
use numatrace_common::abi::ABI_VERSION;

/// Nodes and CPUs that a kernel can have (`MAX_NUMNODES`, and what 16 bits in a record can name).
const MOST_NODES: usize = 256;
const MOST_CPUS: usize = 65_536;
/// Entries of any other list in a head, and bytes of a text in it.
const MOST_LISTED: usize = 65_536;
const LONGEST_TEXT: usize = 16_384;

/// Where frames are.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) entries: Vec<Entry>,
    /// Where the frames begin.
    pub(super) start: u64,
    /// Where they end.
    pub(super) end: u64,
    /// How the recording ended; `None` when it was cut short.
    pub(super) closed: Option<EndFields>,
}

/// Why a head cannot be read: a part of a sentence that begins with the name of the file.
#[derive(Debug)]
pub(super) enum HeadError {
    Io(io::Error),
    Unfit(String),
}

impl From<io::Error> for HeadError {
    fn from(error: io::Error) -> Self {
        HeadError::Io(error)
    }
}

fn unfit<T>(why: impl Into<String>) -> Result<T, HeadError> {
    Err(HeadError::Unfit(why.into()))
}

/// Reads the head. Returns it and where it ends.
pub(super) fn head(file: &File, file_len: u64) -> Result<(Head, u64), HeadError> {
    const CUT: &str = "is cut off within its head: nothing of the recording is left";
    let mut start = [0; Part::SIZE + size_of::<HeadFields>()];
    let have = start.len().min(usize::try_from(file_len).unwrap_or(usize::MAX));
    file.read_exact_at(&mut start[..have], 0)?;
    let Ok((part, fields)) = Part::read_from_prefix(&start) else { return unfit(CUT) };
    let known = SKIPPABLE.to_le_bytes();
    if have == 0 {
        return unfit("is empty");
    }
    if start[..have.min(4)] != known[..have.min(4)] {
        return unfit("is no numatrace recording");
    }
    if have < start.len() {
        return unfit(CUT);
    }
    let Ok(fields) = HeadFields::read_from_bytes(fields) else { return unfit(CUT) };
    if part.tag != HEAD_TAG || fields.name != NAME {
        return unfit("is no numatrace recording");
    }
    if fields.version > VERSION || fields.abi > ABI_VERSION {
        let (version, abi) = (fields.version, fields.abi);
        return unfit(format!(
            "was recorded by a newer numatrace (format {version}, records {abi}; this one reads up to {VERSION} and {ABI_VERSION}): install a newer one"
        ));
    }
    let json_len = fields.json_len as usize;
    if json_len > LONGEST_JSON || part.rest() != Some(size_of::<HeadFields>() + json_len) {
        return unfit("has a damaged head");
    }
    let end = (start.len() + json_len) as u64;
    if end > file_len {
        return unfit(CUT);
    }
    let mut rest = start[Part::SIZE..].to_vec();
    rest.resize(size_of::<HeadFields>() + json_len, 0);
    file.read_exact_at(&mut rest[size_of::<HeadFields>()..], start.len() as u64)?;
    if crc32c::crc32c(&rest) != part.crc {
        return unfit("has a damaged head");
    }
    let mut head: Head = match serde_json::from_slice(&rest[size_of::<HeadFields>()..]) {
        Ok(head) => head,
        Err(error) => return unfit(format!("has a head that cannot be understood ({error})")),
    };
    head.anonymized = fields.flags & ANONYMIZED != 0;
    if !is_bounded(&head) {
        return unfit("has a head that speaks of a machine larger than Linux supports");
    }
    make_safe(&mut head);
    Ok((head, end))
}

/// No list in it is longer than a machine can make it.
fn is_bounded(head: &Head) -> bool {
    let nodes = |nodes: &[crate::snapshot::HostNode], distances: &[Vec<u32>]| {
        nodes.len() <= MOST_NODES
            && distances.len() <= MOST_NODES
            && nodes.iter().all(|node| node.cpus.len() <= MOST_CPUS)
            && distances.iter().all(|row| row.len() <= MOST_NODES)
    };
    let meta = &head.meta;
    nodes(&head.topology.nodes, &head.topology.distances)
        && nodes(&meta.host.nodes, &meta.host.distances)
        && head.topology.cpus.len() <= MOST_CPUS
        && meta.target.ids.len() <= MOST_LISTED
        && meta.sources.len() <= MOST_LISTED
}

/// Texts go to terminals: whoever made the file may have written anything.
fn make_safe(head: &mut Head) {
    let meta = &mut head.meta;
    let of_sources =
        meta.sources.iter_mut().flat_map(|source| [Some(&mut source.name), source.reason.as_mut()]).flatten();
    let others =
        [&mut head.tool, &mut meta.host.kernel, &mut meta.host.arch, &mut meta.target.kind, &mut meta.target.label];
    for text in of_sources.chain(others) {
        let mut end = text.len().min(LONGEST_TEXT);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        *text = visible(&text[..end]);
    }
}

/// Finds the frames from `start` on.
pub(super) fn contents(file: &File, start: u64, file_len: u64) -> io::Result<Contents> {
    match indexed(file, start, file_len)? {
        Some(contents) => Ok(contents),
        None => scanned(file, start, file_len),
    }
}

/// As the index says, where there is an undamaged one at the end of the file.
fn indexed(file: &File, start: u64, file_len: u64) -> io::Result<Option<Contents>> {
    let Some(end_at) = file_len.checked_sub(END as u64).filter(|at| *at >= start) else { return Ok(None) };
    let mut bytes = [0; END];
    file.read_exact_at(&mut bytes, end_at)?;
    let Some(closed) = EndFields::read(&bytes) else { return Ok(None) };
    let index_len = end_at.checked_sub(closed.index_offset).and_then(|len| usize::try_from(len).ok());
    let most = Part::SIZE + MOST_ENTRIES * size_of::<Entry>();
    let Some(index_len) = index_len.filter(|len| (Part::SIZE..=most).contains(len)) else { return Ok(None) };
    let mut bytes = vec![0; index_len];
    file.read_exact_at(&mut bytes, closed.index_offset)?;
    let Some(entries) = index_entries(&bytes) else { return Ok(None) };
    let in_order = entries.iter().zip(entries.iter().skip(1)).all(|(a, b)| a.offset < b.offset && a.seq < b.seq);
    let first = entries.first().map_or(closed.index_offset, |entry| entry.offset);
    let inside = entries.last().is_none_or(|entry| entry.offset < closed.index_offset);
    let fits = in_order && inside && first == start;
    Ok(fits.then_some(Contents { entries, start, end: closed.index_offset, closed: Some(closed) }))
}

fn index_entries(bytes: &[u8]) -> Option<Vec<Entry>> {
    let (part, rest) = Part::read_from_prefix(bytes).ok()?;
    if part.tag != INDEX_TAG || part.rest()? != rest.len() || crc32c::crc32c(rest) != part.crc {
        return None;
    }
    // The bytes may lie anywhere, so they are copied to where entries can be.
    let mut entries = vec![Entry::default(); rest.len() / size_of::<Entry>()];
    if entries.as_bytes().len() != rest.len() {
        return None;
    }
    entries.as_mut_bytes().copy_from_slice(rest);
    Some(entries)
}

/// As the headers of the frames say, one after the other.
fn scanned(file: &File, start: u64, file_len: u64) -> io::Result<Contents> {
    let mut index = Index::default();
    let (mut at, mut end, mut closed) = (start, start, None);
    while at < file_len {
        let fields = match header_at(file, at, file_len)? {
            Some(fields) => fields,
            None => {
                closed = end_after(file, at, file_len)?;
                if closed.is_some() {
                    break;
                }
                let Some((found, fields)) = find_header(file, at + 1, file_len)? else { break };
                at = found;
                fields
            }
        };
        index.push(Entry::of(&fields, at));
        at += fields.len();
        end = at;
    }
    Ok(Contents { entries: index.into_entries(), start, end, closed })
}

/// The end of the recording, where it comes here, with an index before it or without.
fn end_after(file: &File, mut at: u64, file_len: u64) -> io::Result<Option<EndFields>> {
    let mut bytes = [0; END];
    for _ in 0..2 {
        let Some(left) = file_len.checked_sub(at).filter(|left| *left >= Part::SIZE as u64) else { break };
        let have = left.min(bytes.len() as u64) as usize;
        file.read_exact_at(&mut bytes[..have], at)?;
        if let Some(end) = EndFields::read(&bytes[..have]) {
            return Ok(Some(end));
        }
        let index = Part::read_from_prefix(&bytes).ok().filter(|(part, _)| part.tag == INDEX_TAG);
        let Some(len) = index.and_then(|(part, _)| part.rest()) else { break };
        at = at.saturating_add(Part::SIZE as u64).saturating_add(len as u64);
    }
    Ok(None)
}
