//! Records to a frame: a buffer that fills, and the columns of a full one in zstd.

use std::io;

use numatrace_common::abi::{Header, Slice};
use zerocopy::FromBytes;

use super::columns::{Encoder, first_record};
use super::format::{FrameFields, MOST_RECORDS};

/// Level of zstd.
const LEVEL: i32 = 3;

/// Time of a record that is as long as its header says; nothing of any others.
#[inline]
pub(super) fn time_of(record: &[u8]) -> Option<u64> {
    let (header, _) = Header::read_from_prefix(record).ok()?;
    first_record(record).filter(|whole| whole.len() == record.len()).map(|_| header.ts)
}

/// Records on their way into a frame.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    pub(super) raw: Vec<u8>,
    pub(super) fields: FrameFields,
}

impl Buffer {
    pub(super) fn clear(&mut self) {
        self.raw.clear();
        self.fields = FrameFields { first_ts: u64::MAX, ..FrameFields::default() };
    }

    #[inline]
    pub(super) fn push(&mut self, record: &[u8], ts: u64) {
        let fields = &mut self.fields;
        fields.records += 1;
        (fields.first_ts, fields.last_ts) = (fields.first_ts.min(ts), fields.last_ts.max(ts));
        if let Ok(turn) = Slice::read_from_bytes(record)
            && turn.header.kind == Slice::KIND
            && turn.wait_ns > fields.worst_wait_ns
        {
            (fields.worst_wait_ns, fields.worst_ts) = (turn.wait_ns, ts);
        }
        self.raw.extend_from_slice(record);
    }

    /// There is enough in it for a frame of so many bytes.
    #[inline]
    pub(super) fn is_full(&self, frame_bytes: usize) -> bool {
        self.raw.len() >= frame_bytes || self.fields.records >= MOST_RECORDS
    }
}

/// See the module.
pub(super) struct Packing {
    zstd: zstd::bulk::Compressor<'static>,
    encoder: Encoder,
    plain: Vec<u8>,
}

impl Packing {
    pub(super) fn new() -> io::Result<Packing> {
        Ok(Packing { zstd: zstd::bulk::Compressor::new(LEVEL)?, encoder: Encoder::default(), plain: Vec::new() })
    }

    /// Packs what is in the buffer into `packed`, in place of what was there. Of the fields, those about its place in a file
    /// are left to whoever writes it.
    pub(super) fn pack(&mut self, buffer: &Buffer, packed: &mut Vec<u8>) -> io::Result<FrameFields> {
        self.plain.clear();
        self.encoder.pack(&buffer.raw, &mut self.plain);
        packed.clear();
        packed.resize(zstd::zstd_safe::compress_bound(self.plain.len()), 0);
        let packed_len = self.zstd.compress_to_buffer(&self.plain, packed)?;
        packed.truncate(packed_len);
        Ok(FrameFields {
            raw_len: buffer.raw.len() as u32,
            plain_len: self.plain.len() as u32,
            packed_len: packed_len as u32,
            packed_crc: crc32c::crc32c(packed),
            ..buffer.fields
        })
    }
}
