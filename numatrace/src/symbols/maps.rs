//! The text of /proc/PID/maps.
//!
//! A program chooses the names of its files and of its anonymous memory, so every byte of them is hostile. A line that
//! does not read as the kernel writes it is left out.

use std::io::{self, Read};
use std::sync::Arc;

use crate::text::display_bytes;

/// Mappings of a process. What lies behind them is not known.
pub(super) const MAX_MAPPINGS: usize = 65_536;
/// Bytes that are read of the text of a process. What lies behind them is not known.
pub(super) const MAX_TEXT: u64 = 16 << 20;

/// A file as the kernel tells it apart: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FileId {
    pub(super) major: u32,
    pub(super) minor: u32,
    /// 0: no file.
    pub(super) inode: u64,
}

/// One line.
#[derive(Clone, Debug)]
pub(super) struct Mapping {
    pub(super) start: u64,
    /// The first address behind it.
    pub(super) end: u64,
    /// Where in the file it begins.
    pub(super) offset: u64,
    pub(super) file: FileId,
    pub(super) executable: bool,
    shared: bool,
    /// As the kernel writes it; shared, as most files are mapped in several pieces.
    name: Arc<[u8]>,
}

/// The mappings of a process, by address.
#[derive(Debug, Default)]
pub(super) struct Maps {
    mappings: Vec<Mapping>,
    /// There are more than are known.
    pub(super) cut: bool,
    /// Bytes of the text.
    pub(super) bytes: usize,
}

impl Maps {
    /// Reads the text, within the bounds.
    pub(super) fn read(text: impl Read) -> io::Result<Maps> {
        let mut bytes = Vec::new();
        text.take(MAX_TEXT).read_to_end(&mut bytes)?;
        let mut maps = Maps::parse(&bytes);
        maps.cut |= bytes.len() as u64 == MAX_TEXT;
        Ok(maps)
    }

    fn parse(text: &[u8]) -> Maps {
        let mut maps = Maps { bytes: text.len(), ..Maps::default() };
        let mut last: Arc<[u8]> = Arc::default();
        for line in text.split(|byte| *byte == b'\n') {
            if maps.mappings.len() == MAX_MAPPINGS {
                maps.cut |= !line.is_empty();
                break;
            }
            let Some(mapping) = mapping(line, &mut last) else { continue };
            // The search needs them in order. The kernel writes them so.
            if maps.mappings.last().is_none_or(|before| before.end <= mapping.start) {
                maps.mappings.push(mapping);
            }
        }
        maps.mappings.shrink_to_fit();
        maps
    }

    /// The mapping that an address lies in.
    pub(super) fn at(&self, addr: u64) -> Option<&Mapping> {
        let behind = self.mappings.partition_point(|mapping| mapping.start <= addr);
        self.mappings.get(behind.checked_sub(1)?).filter(|mapping| addr < mapping.end)
    }

    /// Code that is read from files.
    pub(super) fn code(&self) -> impl Iterator<Item = &Mapping> {
        self.mappings.iter().filter(|mapping| mapping.executable && mapping.is_file())
    }

    /// A process without memory is a kernel thread or has exited.
    pub(super) fn is_empty(&self) -> bool {
        self.mappings.is_empty()
    }
}

impl Mapping {
    /// Memory of a file, or of what the kernel keeps as one.
    pub(super) fn is_file(&self) -> bool {
        self.file.inode != 0
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.is_file() && self.name.ends_with(DELETED)
    }

    /// As the kernel tells where the file is, with what stands for a line break undone.
    pub(super) fn name(&self) -> Vec<u8> {
        unescaped(&self.name)
    }

    /// Memory that has no name in any directory, which programs use for code that they write themselves.
    pub(super) fn is_memory_file(&self) -> bool {
        self.is_deleted() && (self.name.starts_with(b"/memfd:") || self.name.starts_with(b"/dev/zero"))
    }

    /// Where the file was when it was mapped, as its process sees it, with what stands for a line break undone.
    pub(super) fn path(&self) -> Vec<u8> {
        unescaped(self.name.strip_suffix(DELETED).filter(|_| self.is_file()).unwrap_or(&self.name))
    }

    /// The last part of the path, safe to show.
    pub(super) fn binary(&self) -> String {
        let path = self.path();
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        display_bytes(name)
    }

    /// Whether it is code of the kernel for user space.
    pub(super) fn is_vdso(&self) -> bool {
        !self.is_file() && matches!(&*self.name, b"[vdso]" | b"[vsyscall]")
    }

    /// What it is, in words that are safe to show.
    pub(super) fn words(&self) -> String {
        let name: &[u8] = &self.name;
        if self.is_file() { self.words_of_file(name) } else { self.words_of_memory(name) }
    }

    fn words_of_file(&self, name: &[u8]) -> String {
        if name == b"/dev/zero (deleted)" {
            "shared anonymous memory".into()
        } else if name == b"/anon_hugepage (deleted)" {
            format!("anon huge pages {}", self.range())
        } else if let Some(chosen) = bracketed(name, b"[anon_shmem:") {
            format!("shared anonymous memory {chosen}")
        } else if name.is_empty() {
            format!("file without a name {}", self.range())
        } else {
            display_bytes(&self.name())
        }
    }

    /// Only memory of no file has a word for a name: a file may be called `[heap]`.
    fn words_of_memory(&self, name: &[u8]) -> String {
        if name.is_empty() {
            let anon = if self.shared { "shared anon" } else { "anon" };
            return format!("{anon} {}", self.range());
        }
        if let Some(chosen) = bracketed(name, b"[anon:") {
            return format!("anon {chosen} {}", self.range());
        }
        // Old kernels tell the thread whose stack it is.
        if name.starts_with(b"[stack") {
            return "stack".into();
        }
        match name.strip_prefix(b"[").and_then(|name| name.strip_suffix(b"]")) {
            Some(word) => display_bytes(word),
            None => display_bytes(&self.name()),
        }
    }

    fn range(&self) -> String {
        format!("{:#x}-{:#x}", self.start, self.end)
    }
}

const DELETED: &[u8] = b" (deleted)";

/// What stands between `head` and a bracket that ends the name, safe to show.
fn bracketed(name: &[u8], head: &[u8]) -> Option<String> {
    name.strip_prefix(head)?.strip_suffix(b"]").map(display_bytes)
}

/// `start-end perms offset major:minor inode name`. The name is behind spaces that align it, and may hold any.
fn mapping(line: &[u8], last: &mut Arc<[u8]>) -> Option<Mapping> {
    let mut rest = line;
    let (start, end) = pair(field(&mut rest)?, b'-')?;
    let perms = field(&mut rest)?;
    let offset = hex(field(&mut rest)?)?;
    let (major, minor) = pair(field(&mut rest)?, b':')?;
    let inode = std::str::from_utf8(field(&mut rest)?).ok()?.parse().ok()?;
    let from = rest.iter().position(|byte| *byte != b' ').unwrap_or(rest.len());
    let name = &rest[from..];
    if start >= end || perms.len() != 4 {
        return None;
    }
    if **last != *name {
        *last = name.into();
    }
    let file = FileId { major: major.try_into().ok()?, minor: minor.try_into().ok()?, inode };
    let (executable, shared) = (perms[2] == b'x', perms[3] == b's');
    Some(Mapping { start, end, offset, file, executable, shared, name: Arc::clone(last) })
}

/// Takes what stands before the next space.
fn field<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let line: &'a [u8] = rest;
    let end = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
    *rest = line.get(end + 1..).unwrap_or_default();
    (end > 0).then(|| &line[..end])
}

fn pair(field: &[u8], between: u8) -> Option<(u64, u64)> {
    let at = field.iter().position(|byte| *byte == between)?;
    Some((hex(&field[..at])?, hex(&field[at + 1..])?))
}

fn hex(digits: &[u8]) -> Option<u64> {
    // `from_str_radix` would take a sign.
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// The kernel writes a line break as `\012`, and a backslash as it is: a name that holds these four characters is
/// mistaken, which nothing can tell.
fn unescaped(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((first, tail)) = rest.split_first() {
        if let Some(behind) = rest.strip_prefix(br"\012") {
            out.push(b'\n');
            rest = behind;
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(line: &[u8]) -> String {
        let maps = Maps::parse(line);
        assert_eq!(maps.mappings.len(), 1, "{}", String::from_utf8_lossy(line));
        maps.mappings[0].words()
    }

    #[test]
    fn what_the_kernel_writes_in_words() {
        let anon = "7f0000000000-7f0000200000 rw-p 00000000 00:00 0";
        let file = "7f0000000000-7f0000200000 r-xp 00001000 fd:00 42";
        for (line, expected) in [
            (format!("{anon} "), "anon 0x7f0000000000-0x7f0000200000"),
            (anon.into(), "anon 0x7f0000000000-0x7f0000200000"),
            (format!("{anon}                  [heap]"), "heap"),
            (format!("{anon}                  [stack]"), "stack"),
            (format!("{anon}                  [stack:77]"), "stack"),
            (format!("{anon}                  [vdso]"), "vdso"),
            (format!("{anon}   [anon:java heap]"), "anon java heap 0x7f0000000000-0x7f0000200000"),
            (format!("{anon}   [anon:a]]"), "anon a] 0x7f0000000000-0x7f0000200000"),
            (format!("{file}   /usr/lib/x.so"), "/usr/lib/x.so"),
            (format!("{file}   /usr/lib/a b (deleted)"), "/usr/lib/a b (deleted)"),
            (format!("{file}   /dev/shm/x"), "/dev/shm/x"),
            (format!("{file}   /memfd:x (deleted)"), "/memfd:x (deleted)"),
            (format!("{file}   /dev/zero (deleted)"), "shared anonymous memory"),
            (format!("{file}   [anon_shmem:ring]"), "shared anonymous memory ring"),
            (format!("{file}   /anon_hugepage (deleted)"), "anon huge pages 0x7f0000000000-0x7f0000200000"),
            // A file is never taken for what only the kernel makes.
            (format!("{file}   [heap]"), "[heap]"),
            (format!(r"{file}   /a\012b\x"), r"/a\x0ab\\x"),
        ] {
            assert_eq!(words(line.as_bytes()), expected, "{line}");
        }
        assert_eq!(words(&[file.as_bytes(), b" /\x1b[2J\xff"].concat()), r"/\x1b[2J\xff");
    }

    #[test]
    fn an_address_is_found_in_its_mapping_and_not_beside_it() {
        let maps =
            Maps::parse(b"1000-2000 r-xp 00000400 08:01 7 /a\n2000-3000 rw-p 0 00:00 0 \n5000-6000 rw-p 0 0:0 0\n");
        let start = |addr| maps.at(addr).map(|mapping| mapping.start);
        assert_eq!([start(0xfff), start(0x1000), start(0x1fff)], [None, Some(0x1000), Some(0x1000)]);
        assert_eq!(
            [start(0x2000), start(0x3000), start(0x5fff), start(0x6000)],
            [Some(0x2000), None, Some(0x5000), None]
        );
        let code = maps.code().next().expect("code");
        assert_eq!((code.offset, code.file), (0x400, FileId { major: 8, minor: 1, inode: 7 }));
    }

    #[test]
    fn lines_that_the_kernel_does_not_write_are_left_out() {
        for line in [
            "",
            "-",
            "x-y rw-p 0 0:0 0",
            "2000-1000 rw-p 0 0:0 0",
            "1000-1000 rw-p 0 0:0 0",
            "1000-2000 rw- 0 0:0 0",
            "1000-2000 rw-p 0 0:0",
            "1000-2000 rw-p 0 00 0",
            "+1000-2000 rw-p 0 0:0 0",
            "1000-2000  rw-p 0 0:0 0",
            "1000-2000 rw-p 0 0:0 -1",
            "11111111111111111-2 rw-p 0 0:0 0",
            "1000-2000 rw-p 0 fffffffff:0 0",
        ] {
            assert!(Maps::parse(line.as_bytes()).is_empty(), "{line}");
        }
        // Out of order.
        assert_eq!(Maps::parse(b"5000-6000 rw-p 0 0:0 0\n1000-2000 rw-p 0 0:0 0\n").mappings.len(), 1);
    }

    #[test]
    fn mappings_beyond_the_bound_are_not_known() {
        let mut text = String::new();
        for nth in 1..=MAX_MAPPINGS + 1 {
            text += &format!("{:x}-{:x} rw-p 0 00:00 0\n", nth << 12, (nth << 12) + 1);
            if nth == MAX_MAPPINGS {
                assert!(!Maps::parse(text.as_bytes()).cut);
            }
        }
        let maps = Maps::parse(text.as_bytes());
        assert!(maps.cut && maps.at((MAX_MAPPINGS as u64) << 12).is_some());
        assert!(maps.at((MAX_MAPPINGS as u64 + 1) << 12).is_none());
        let endless = Maps::read(io::repeat(b'x')).expect("no error");
        assert!(endless.cut && endless.is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_and_shown_safely(
            name in proptest::collection::vec(any::<u8>(), 0..60), noise in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let inode: &[u8] = if noise.len() % 2 == 0 { b"0 " } else { b"7 " };
            let line = [b"1000-2000 r-xp 0 08:01 ", inode, &name[..], b"\n"].concat();
            for text in [line.clone(), [&noise[..], b"\n", &line[..]].concat(), noise] {
                let maps = Maps::parse(&text);
                if let Some(mapping) = maps.at(0x1800) {
                    for shown in [mapping.words(), mapping.binary()] {
                        prop_assert_eq!(&crate::text::visible(&shown), &shown);
                    }
                }
            }
        }
    }
}
