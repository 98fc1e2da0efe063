//! Bytes at places: a file that is read piece by piece, or memory.
//!
//! Files of traced programs are never mapped into memory: who shortens a file that is mapped kills who reads it.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// What can be read at any place.
pub(super) trait Bytes {
    /// Fills `into`, or tells that there is not so much.
    fn read(&self, at: u64, into: &mut [u8]) -> Option<()>;

    fn u32(&self, at: u64) -> Option<u32> {
        let mut bytes = [0; 4];
        self.read(at, &mut bytes)?;
        Some(u32::from_ne_bytes(bytes))
    }

    fn u64(&self, at: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.read(at, &mut bytes)?;
        Some(u64::from_ne_bytes(bytes))
    }
}

impl Bytes for File {
    fn read(&self, at: u64, into: &mut [u8]) -> Option<()> {
        self.read_exact_at(into, at).ok()
    }
}

impl Bytes for [u8] {
    fn read(&self, at: u64, into: &mut [u8]) -> Option<()> {
        let from = usize::try_from(at).ok()?;
        into.copy_from_slice(self.get(from..from.checked_add(into.len())?)?);
        Some(())
    }
}
