//! A writer for the 'newc' cpio format, the one an initramfs is made of (kernel: Documentation/driver-api/early-userspace/buffer-format.rst).
//!
//! Archives may follow one another in one initramfs, each padded to 4 bytes; later files win. That is how a boot adds its command to a
//! prepared archive without rewriting it.

use std::io::{self, Write};

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// Writes entries in the order given; parents must come before what is in them.
pub struct Writer<W> {
    out: W,
    written: usize,
    inode: u32,
}

impl<W: Write> Writer<W> {
    pub fn new(out: W) -> Self {
        Self { out, written: 0, inode: 0 }
    }

    pub fn directory(&mut self, path: &str) -> io::Result<()> {
        self.entry(path, DIRECTORY | 0o755, (0, 0), &[])
    }

    /// A regular file, executable where `mode` says so.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        self.entry(path, REGULAR | mode, (0, 0), content)
    }

    pub fn symlink(&mut self, path: &str, to: &str) -> io::Result<()> {
        self.entry(path, SYMLINK | 0o777, (0, 0), to.as_bytes())
    }

    pub fn character_device(&mut self, path: &str, major: u32, minor: u32) -> io::Result<()> {
        self.entry(path, CHARACTER_DEVICE | 0o600, (major, minor), &[])
    }

    /// Ends the archive and hands the output back.
    pub fn finish(mut self) -> io::Result<W> {
        self.entry("TRAILER!!!", 0, (0, 0), &[])?;
        Ok(self.out)
    }

    fn entry(&mut self, path: &str, mode: u32, (major, minor): (u32, u32), content: &[u8]) -> io::Result<()> {
        let size = u32::try_from(content.len())
            .map_err(|_| io::Error::other(format!("{path} is too large for an initramfs")))?;
        let name = path.trim_start_matches('/');
        self.inode += 1;
        let fields = [
            self.inode,
            mode,
            0, // uid
            0, // gid
            1, // links
            0, // mtime: the same input gives the same bytes
            size,
            0, // device of the file itself
            0,
            major,
            minor,
            u32::try_from(name.len() + 1).map_err(io::Error::other)?,
            0, // checksum, unused in this variant
        ];
        self.put(b"070701")?;
        for field in fields {
            self.put(format!("{field:08x}").as_bytes())?;
        }
        self.put(name.as_bytes())?;
        self.put(&[0])?;
        self.pad()?;
        self.put(content)?;
        self.pad()
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len();
        self.out.write_all(bytes)
    }

    fn pad(&mut self) -> io::Result<()> {
        let missing = self.written.next_multiple_of(4) - self.written;
        self.put(&[0; 3][..missing])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_is_110_bytes_of_hex_then_name_and_content_padded() {
        let mut writer = Writer::new(Vec::new());
        writer.file("/init", 0o755, b"hello").unwrap();
        let bytes = writer.out;
        assert_eq!(&bytes[..6], b"070701");
        assert_eq!(&bytes[14..22], b"000081ed", "mode of an executable regular file");
        assert_eq!(&bytes[54..62], b"00000005", "size");
        assert_eq!(&bytes[94..102], b"00000005", "length of 'init' and its NUL");
        assert_eq!(&bytes[110..115], b"init\0");
        // 110 + 5 is padded to 116, content 5 to 124.
        assert_eq!(&bytes[116..121], b"hello");
        assert_eq!(bytes.len(), 124);
    }

    #[test]
    fn archive_ends_with_the_trailer_on_a_4_byte_border() {
        let mut writer = Writer::new(Vec::new());
        writer.directory("dev").unwrap();
        writer.character_device("dev/console", 5, 1).unwrap();
        writer.symlink("bin", "usr/bin").unwrap();
        let bytes = writer.finish().unwrap();
        assert_eq!(bytes.len() % 4, 0);
        assert!(bytes.windows(10).any(|window| window == b"TRAILER!!!"));
    }

    #[test]
    fn same_entries_same_bytes() {
        let archive = || {
            let mut writer = Writer::new(Vec::new());
            writer.file("a", 0o644, b"1").unwrap();
            writer.finish().unwrap()
        };
        assert_eq!(archive(), archive());
    }
}
