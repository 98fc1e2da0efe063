//! Integers and strings out of bytes that may be anything: what is not there is `None`. Little-endian, as the files are.

/// The bytes from `at` on.
#[inline]
fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[inline]
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

#[inline]
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

#[inline]
pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_le_bytes)
}

/// The first bytes of a command name, as the kernel keeps it: 15 bytes at most, then NULs.
pub(super) fn comm(bytes: &[u8]) -> [u8; 16] {
    let mut comm = [0; 16];
    for (to, from) in comm.iter_mut().take(15).zip(bytes.iter().take_while(|byte| **byte != 0)) {
        *to = *from;
    }
    comm
}

/// Reads on from where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take(4).and_then(|bytes| u32_at(bytes, 0))
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.take(8).and_then(|bytes| u64_at(bytes, 0))
    }

    /// So many bytes as a 64-bit number before them says.
    pub(super) fn sized(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u64()?).ok()?;
        self.take(length)
    }

    /// Up to a NUL, which is not part of it.
    pub(super) fn until_nul(&mut self) -> Option<&'a [u8]> {
        let length = self.0.iter().position(|byte| *byte == 0)?;
        let text = self.take(length)?;
        self.take(1)?;
        Some(text)
    }

    /// A `perf_header_string`: a 32-bit length, and so many bytes, of which those up to a NUL count.
    pub(super) fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.u32()?).ok()?;
        let bytes = self.take(length)?;
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_none() {
        assert_eq!((u32_at(&[1, 0, 0, 0, 9], 0), u32_at(&[1, 0, 0, 0, 9], 2)), (Some(1), None));
        assert_eq!((u16_at(&[], usize::MAX), u64_at(&[0; 8], 1)), (None, None));
        let mut cursor = Cursor(b"\x05\0\0\0ab\0..tracing\0");
        assert_eq!((cursor.text().as_deref(), cursor.until_nul()), (Some("ab"), Some(&b"tracing"[..])));
        assert_eq!((cursor.until_nul(), cursor.text()), (None, None));
        assert_eq!(Cursor(&u64::MAX.to_le_bytes()).sized(), None);
    }
}
