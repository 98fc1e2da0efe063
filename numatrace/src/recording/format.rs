//! The bytes of a recording around the columns: head, frames, index and end, each in a skippable frame of zstd. Integers
//! are little-endian. docs/recording-format.md says what each means.

use std::mem::offset_of;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Version of the format. Readers read all versions up to their own.
pub const VERSION: u16 = 3;

/// A skippable frame of zstd, which its decompressors read past.
pub(super) const SKIPPABLE: u32 = 0x184D_2A5E;
/// Stands in the head, so that people see what the file is.
pub(super) const NAME: [u8; 8] = *b"NUMATRCE";
/// Names were replaced.
pub(super) const ANONYMIZED: u32 = 1;

/// Bytes of the JSON in a head, at most.
pub(super) const LONGEST_JSON: usize = 16 << 20;
/// Records of a frame, at most.
pub(super) const MOST_RECORDS: u32 = 65_536;
/// Bytes of a frame's records, at most.
pub(super) const MOST_RAW: usize = 8 << 20;
/// Bytes of a frame's columns, at most: no record needs more in columns than twice what it is.
pub(super) const MOST_PLAIN: usize = 2 * MOST_RAW;
/// Bytes of a frame's columns in zstd, at most.
pub(super) const MOST_PACKED: usize = MOST_PLAIN + (1 << 20);
/// Entries of an index, at most.
pub(super) const MOST_ENTRIES: usize = 16_384;

pub(super) const HEAD_TAG: [u8; 4] = *b"NTHD";
pub(super) const FRAME_TAG: [u8; 4] = *b"NTFR";
pub(super) const INDEX_TAG: [u8; 4] = *b"NTIX";
pub(super) const END_TAG: [u8; 4] = *b"NTEN";

/// What each part begins with.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Part {
    pub(super) skippable: u32,
    /// Bytes after this field.
    pub(super) len: u32,
    pub(super) tag: [u8; 4],
    /// CRC-32C of all bytes of the part after this field.
    pub(super) crc: u32,
}

/// Bytes before those that count for [`Part::len`].
const UNCOUNTED: usize = offset_of!(Part, tag);

impl Part {
    pub(super) const SIZE: usize = size_of::<Part>();

    /// The start of a part with this rest.
    pub(super) fn before(tag: [u8; 4], rest: &[u8]) -> Part {
        let len = (Part::SIZE - UNCOUNTED + rest.len()) as u32;
        Part { skippable: SKIPPABLE, len, tag, crc: crc32c::crc32c(rest) }
    }

    /// Bytes of the part after this start; `None` when this is none of ours.
    pub(super) fn rest(&self) -> Option<usize> {
        let counted = Part::SIZE - UNCOUNTED;
        if self.skippable == SKIPPABLE { usize::try_from(self.len).ok()?.checked_sub(counted) } else { None }
    }
}

/// The fields of a part that has nothing else, where `bytes` begin with an undamaged one of this kind.
fn fields_of<T: FromBytes>(bytes: &[u8], tag: [u8; 4]) -> Option<T> {
    let (part, rest) = Part::read_from_prefix(bytes).ok()?;
    let fields = rest.get(..size_of::<T>())?;
    let whole = part.rest()? == fields.len() && part.tag == tag && part.crc == crc32c::crc32c(fields);
    if whole { T::read_from_bytes(fields).ok() } else { None }
}

/// What follows the [`Part`] of a head; then comes the JSON of [`Head`](super::Head).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct HeadFields {
    pub(super) name: [u8; 8],
    pub(super) version: u16,
    pub(super) abi: u16,
    pub(super) flags: u32,
    pub(super) json_len: u32,
    pub(super) reserved: u32,
}

/// What follows the [`Part`] of a frame; then come the columns, in a frame of zstd.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct FrameFields {
    /// Number of the frame, from 0.
    pub(super) seq: u64,
    /// Records in all frames before.
    pub(super) first_record: u64,
    /// Least time of its records.
    pub(super) first_ts: u64,
    /// Greatest time of its records.
    pub(super) last_ts: u64,
    pub(super) worst_wait_ns: u64,
    pub(super) worst_ts: u64,
    pub(super) records: u32,
    /// Bytes of its records.
    pub(super) raw_len: u32,
    /// Bytes of its columns.
    pub(super) plain_len: u32,
    /// Bytes of its columns in zstd.
    pub(super) packed_len: u32,
    /// CRC-32C of these.
    pub(super) packed_crc: u32,
    pub(super) reserved: u32,
}

/// Bytes of a frame before its columns.
pub(super) const FRAME_HEADER: usize = Part::SIZE + size_of::<FrameFields>();

impl FrameFields {
    /// The fields, where `bytes` begin with an undamaged header of a frame.
    pub(super) fn read(bytes: &[u8]) -> Option<FrameFields> {
        let fields: FrameFields = fields_of(bytes, FRAME_TAG)?;
        let bounded = fields.records <= MOST_RECORDS
            && fields.raw_len as usize <= MOST_RAW
            && fields.plain_len as usize <= MOST_PLAIN
            && fields.packed_len as usize <= MOST_PACKED;
        bounded.then_some(fields)
    }

    /// Bytes of the whole frame.
    pub(super) const fn len(&self) -> u64 {
        FRAME_HEADER as u64 + self.packed_len as u64
    }
}

/// One frame, or some that follow each other, in the index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Entry {
    /// Where the first of them begins, in the file.
    pub(super) offset: u64,
    /// Number of the first.
    pub(super) seq: u64,
    /// Records in all frames before.
    pub(super) first_record: u64,
    pub(super) first_ts: u64,
    pub(super) last_ts: u64,
    pub(super) worst_wait_ns: u64,
    pub(super) worst_ts: u64,
}

impl Entry {
    pub(super) const fn of(frame: &FrameFields, offset: u64) -> Entry {
        Entry {
            offset,
            seq: frame.seq,
            first_record: frame.first_record,
            first_ts: frame.first_ts,
            last_ts: frame.last_ts,
            worst_wait_ns: frame.worst_wait_ns,
            worst_ts: frame.worst_ts,
        }
    }

    fn and(&self, next: &Entry) -> Entry {
        let worst = if next.worst_wait_ns > self.worst_wait_ns { next } else { self };
        Entry {
            last_ts: self.last_ts.max(next.last_ts),
            first_ts: self.first_ts.min(next.first_ts),
            worst_wait_ns: worst.worst_wait_ns,
            worst_ts: worst.worst_ts,
            ..*self
        }
    }
}

/// Entries in order; when there are too many, two that follow each other become one.
#[derive(Clone, Debug)]
pub(super) struct Index {
    entries: Vec<Entry>,
    /// Frames of an entry.
    stride: u64,
    /// Frames of the last entry.
    filled: u64,
}

impl Default for Index {
    fn default() -> Self {
        Index { entries: Vec::new(), stride: 1, filled: 0 }
    }
}

impl Index {
    pub(super) fn push(&mut self, frame: Entry) {
        if self.filled < self.stride
            && let Some(last) = self.entries.last_mut()
        {
            *last = last.and(&frame);
            self.filled += 1;
            return;
        }
        if self.entries.len() == MOST_ENTRIES {
            self.entries =
                self.entries.chunks(2).map(|pair| pair.iter().skip(1).fold(pair[0], |a, b| a.and(b))).collect();
            self.stride *= 2;
        }
        self.entries.push(frame);
        self.filled = 1;
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn into_entries(self) -> Vec<Entry> {
        self.entries
    }

    /// Bytes of the part that it makes.
    pub(super) const fn len(&self) -> u64 {
        (Part::SIZE + self.entries.len() * size_of::<Entry>()) as u64
    }
}

/// What follows the [`Part`] at the end of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct EndFields {
    /// Where the index begins.
    pub(super) index_offset: u64,
    pub(super) frames: u64,
    pub(super) records: u64,
    /// Greatest time of all records.
    pub(super) last_ts: u64,
    /// One of [`Reason`], as its number.
    pub(super) reason: u32,
    pub(super) reserved: u32,
}

/// Bytes of the end.
pub(super) const END: usize = Part::SIZE + size_of::<EndFields>();

impl EndFields {
    /// The fields, where `bytes` are an undamaged end.
    pub(super) fn read(bytes: &[u8]) -> Option<EndFields> {
        fields_of(bytes, END_TAG)
    }
}

/// Why a recording ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It was told to.
    Stopped,
    /// Its time was over.
    Duration,
    /// Every target had exited.
    TargetsGone,
    /// The file had reached its largest size.
    MaxSize,
    /// No more could be written.
    WriteFailed,
    /// Tracing failed.
    TraceFailed,
    /// The run went on: it is a part of it that was kept in memory.
    Cut,
}

impl Reason {
    const ALL: [Reason; 7] = [
        Reason::Stopped,
        Reason::Duration,
        Reason::TargetsGone,
        Reason::MaxSize,
        Reason::WriteFailed,
        Reason::TraceFailed,
        Reason::Cut,
    ];

    pub(super) const fn code(self) -> u32 {
        self as u32
    }

    pub(super) fn of_code(code: u32) -> Option<Reason> {
        Reason::ALL.get(code as usize).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_document() {
        let head = Part::SIZE + size_of::<HeadFields>();
        assert_eq!((Part::SIZE, head, FRAME_HEADER, size_of::<Entry>(), END), (16, 40, 88, 56, 56));
        for (at, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!((reason.code(), Reason::of_code(at as u32)), (at as u32, Some(reason)));
        }
        assert_eq!(Reason::of_code(7), None);
    }

    #[test]
    fn an_index_stays_bounded_and_covers_everything() {
        let mut index = Index::default();
        let frames = 5 * MOST_ENTRIES as u64 + 3;
        for seq in 0..frames {
            let worst = if seq == 40_000 { 9_999 } else { seq % 7 };
            index.push(Entry {
                offset: seq * 100,
                seq,
                first_record: seq * 10,
                first_ts: seq * 10,
                last_ts: seq * 10 + 9,
                worst_wait_ns: worst,
                worst_ts: seq,
            });
        }
        let entries = index.entries();
        assert!(entries.len() <= MOST_ENTRIES && entries.len() > MOST_ENTRIES / 2, "{}", entries.len());
        assert_eq!((entries[0].seq, entries[0].first_ts), (0, 0));
        for pair in entries.windows(2) {
            assert_eq!(pair[0].last_ts + 1, pair[1].first_ts);
            assert_eq!(pair[1].offset, pair[1].seq * 100);
        }
        assert_eq!(entries[entries.len() - 1].last_ts, frames * 10 - 1);
        let worst = entries.iter().max_by_key(|entry| entry.worst_wait_ns).expect("entries");
        assert_eq!((worst.worst_wait_ns, worst.worst_ts), (9_999, 40_000));
    }
}
