//! Frames one after the other. Any bytes can be there: what is no undamaged frame is passed over, to where the next one
//! begins, and how many records are missing is told by what comes after.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use zerocopy::IntoBytes;

use super::columns::{Damaged, Decoder};
use super::format::{FRAME_HEADER, FRAME_TAG, FrameFields, Part};

/// Bytes that are searched at once.
const SEARCHED: usize = 256 << 10;

/// What comes next.
#[derive(Debug)]
pub(super) enum Item {
    /// Records.
    Frame {
        /// Number of the frame.
        seq: u64,
        /// The records, one after the other.
        raw: Vec<u8>,
    },
    /// Records that cannot be read, as many as is known.
    Missing {
        /// Records before them.
        after: u64,
        /// How many.
        records: u64,
    },
}

/// See the module.
pub(super) struct Frames {
    file: Arc<File>,
    at: u64,
    /// Where frames end.
    end: u64,
    /// Records in the file, where it says so.
    total: Option<u64>,
    /// Number of the next record.
    next_record: u64,
    packed: Vec<u8>,
    plain: Vec<u8>,
    zstd: zstd::bulk::Decompressor<'static>,
    decoder: Decoder,
}

impl Frames {
    /// From the frame at `at` on, which has `first_record` records before it.
    pub(super) fn new(
        file: Arc<File>,
        (at, first_record): (u64, u64),
        end: u64,
        total: Option<u64>,
    ) -> io::Result<Frames> {
        let zstd = zstd::bulk::Decompressor::new()?;
        let decoder = Decoder::default();
        let (packed, plain) = (Vec::new(), Vec::new());
        Ok(Frames { file, at, end, total, next_record: first_record, packed, plain, zstd, decoder })
    }

    /// How far it has come, in bytes of the file.
    pub(super) const fn at(&self) -> u64 {
        self.at
    }

    /// The next frame; its records take the place of what is in `raw`. `None` at the end.
    pub(super) fn next(&mut self, mut raw: Vec<u8>) -> io::Result<Option<Item>> {
        raw.clear();
        if self.at >= self.end {
            return Ok(self.missing_until(self.total.unwrap_or(0)));
        }
        let Some(fields) = header_at(&self.file, self.at, self.end)? else {
            let found = find_header(&self.file, self.at + 1, self.end)?;
            self.at = found.map_or(self.end, |(at, _)| at);
            // How many is told by the next frame, or by the end; where there is neither, that something is missing.
            let known = found.is_some() || self.total.is_some();
            let unknown = Item::Missing { after: self.next_record, records: 0 };
            return if known { self.next(raw) } else { Ok(Some(unknown)) };
        };
        if let Some(missing) = self.missing_until(fields.first_record) {
            return Ok(Some(missing));
        }
        let after = self.next_record;
        // Records that were there already are none of this recording.
        let whole = fields.first_record == after && self.read(&fields, &mut raw)?;
        self.at += fields.len();
        if whole {
            self.next_record += u64::from(fields.records);
            return Ok(Some(Item::Frame { seq: fields.seq, raw }));
        }
        let next = fields.first_record.saturating_add(fields.records.into()).max(after);
        Ok(Some(self.missing_until(next).unwrap_or(Item::Missing { after, records: 0 })))
    }

    fn missing_until(&mut self, record: u64) -> Option<Item> {
        let records = record.checked_sub(self.next_record).filter(|records| *records > 0)?;
        let after = std::mem::replace(&mut self.next_record, record);
        Some(Item::Missing { after, records })
    }

    /// Whether it is as its header says.
    fn read(&mut self, fields: &FrameFields, raw: &mut Vec<u8>) -> io::Result<bool> {
        let Frames { file, packed, plain, zstd, decoder, .. } = self;
        packed.resize(fields.packed_len as usize, 0);
        file.read_exact_at(packed, self.at + FRAME_HEADER as u64)?;
        if crc32c::crc32c(packed) != fields.packed_crc {
            return Ok(false);
        }
        plain.clear();
        plain.reserve(fields.plain_len as usize);
        let unpacked = zstd.decompress_to_buffer(packed.as_slice(), plain);
        if !unpacked.is_ok_and(|len| len == fields.plain_len as usize) {
            return Ok(false);
        }
        raw.reserve(fields.raw_len as usize);
        Ok(decoder.unpack(plain, fields.records, fields.raw_len as usize, raw) != Err(Damaged))
    }
}

/// The header of the frame there, if there is a whole frame up to `end`.
pub(super) fn header_at(file: &File, at: u64, end: u64) -> io::Result<Option<FrameFields>> {
    let mut bytes = [0; FRAME_HEADER];
    if end.saturating_sub(at) < bytes.len() as u64 {
        return Ok(None);
    }
    file.read_exact_at(&mut bytes, at)?;
    Ok(FrameFields::read(&bytes).filter(|fields| fields.len() <= end - at))
}

/// The first whole frame from `at` on.
pub(super) fn find_header(file: &File, mut at: u64, end: u64) -> io::Result<Option<(u64, FrameFields)>> {
    let rest = [0; FRAME_HEADER - Part::SIZE];
    let start = Part::before(FRAME_TAG, &rest);
    // All but the checksum is the same in each.
    let same = &start.as_bytes()[..Part::SIZE - size_of::<u32>()];
    let mut bytes = vec![0; SEARCHED];
    while end.saturating_sub(at) >= FRAME_HEADER as u64 {
        let len = usize::try_from(end - at).map_or(SEARCHED, |left| left.min(SEARCHED));
        file.read_exact_at(&mut bytes[..len], at)?;
        for found in bytes[..len].windows(same.len()).enumerate().filter(|(_, window)| *window == same).map(|(i, _)| i)
        {
            let found = at + found as u64;
            if let Some(fields) = header_at(file, found, end)? {
                return Ok(Some((found, fields)));
            }
        }
        // One that begins in the last bytes is seen whole the next time.
        at += (len - (same.len() - 1)) as u64;
    }
    Ok(None)
}
