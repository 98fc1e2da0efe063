//! Frames to a file, with its head, index and end.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use numatrace_common::abi::ABI_VERSION;
use zerocopy::IntoBytes;

use super::Head;
use super::format::{
    self, ANONYMIZED, EndFields, Entry, FRAME_TAG, FrameFields, HEAD_TAG, HeadFields, INDEX_TAG, Index, LONGEST_JSON,
    NAME, Part, Reason, VERSION,
};
use super::writer::{WriteError, Written};

/// See the module.
pub(super) struct FrameFile {
    file: File,
    index: Index,
    frames: u64,
    written: Written,
}

impl FrameFile {
    /// Writes the head into an empty file.
    ///
    /// # Errors
    /// When it cannot be written, or is too large.
    pub(super) fn begin(file: File, head: &Head) -> Result<FrameFile, WriteError> {
        let bytes = head_bytes(head)?;
        file.write_all_at(&bytes, 0)?;
        let written = Written { bytes: bytes.len() as u64, ..Written::default() };
        Ok(FrameFile { file, index: Index::default(), frames: 0, written })
    }

    /// What is in it.
    pub(super) const fn written(&self) -> Written {
        self.written
    }

    /// Bytes that an index takes, with one frame more, and the end.
    pub(super) fn closing(&self) -> u64 {
        self.index.len() + size_of::<Entry>() as u64 + format::END as u64
    }

    /// Writes a frame at the end. Where that fails, the file ends with the frame before.
    pub(super) fn append(&mut self, fields: &FrameFields, packed: &[u8]) -> io::Result<()> {
        let fields = FrameFields { seq: self.frames, first_record: self.written.records, ..*fields };
        let header = part(FRAME_TAG, fields.as_bytes());
        let at = self.written.bytes;
        let done = self
            .file
            .write_all_at(&header, at)
            .and_then(|()| self.file.write_all_at(packed, at.saturating_add(header.len() as u64)));
        if let Err(error) = done {
            // What was written of it is no frame.
            let _ = self.file.set_len(at);
            return Err(error);
        }
        self.index.push(Entry::of(&fields, at));
        self.frames += 1;
        self.written.bytes += fields.len();
        self.written.records += u64::from(fields.records);
        self.written.last_ts = self.written.last_ts.max(fields.last_ts);
        Ok(())
    }

    /// Writes index and end, and waits until all is on the disk.
    pub(super) fn close(&mut self, reason: Reason) -> io::Result<()> {
        let end = EndFields {
            index_offset: self.written.bytes,
            frames: self.frames,
            records: self.written.records,
            last_ts: self.written.last_ts,
            reason: reason.code(),
            reserved: 0,
        };
        let mut bytes = part(INDEX_TAG, self.index.entries().as_bytes());
        bytes.extend_from_slice(&part(format::END_TAG, end.as_bytes()));
        match self.file.write_all_at(&bytes, self.written.bytes) {
            Ok(()) => self.written.bytes += bytes.len() as u64,
            // Half an end is none: the file ends with its last frame.
            Err(error) => {
                self.file.set_len(self.written.bytes)?;
                return Err(error);
            }
        }
        self.file.sync_all()
    }
}

fn head_bytes(head: &Head) -> Result<Vec<u8>, WriteError> {
    let json = serde_json::to_vec(head).map_err(io::Error::from)?;
    if json.len() > LONGEST_JSON {
        return Err(WriteError::Head { bytes: json.len() });
    }
    let flags = if head.anonymized { ANONYMIZED } else { 0 };
    let json_len = json.len() as u32;
    let fields = HeadFields { name: NAME, version: VERSION, abi: ABI_VERSION, flags, json_len, reserved: 0 };
    Ok(part(HEAD_TAG, &[fields.as_bytes(), &json].concat()))
}

fn part(tag: [u8; 4], rest: &[u8]) -> Vec<u8> {
    [Part::before(tag, rest).as_bytes(), rest].concat()
}
