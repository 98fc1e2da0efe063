//! The mappings of a process, from /proc/PID/maps as it is read: a page of text at a time, so that a process with very
//! many takes neither much memory nor a long system call.
//!
//! The kernel goes on from the address where the text before ended. What is mapped and unmapped meanwhile is told or not,
//! and nothing twice.

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result};
use std::path::Path;

/// Bytes that are asked for at once: the kernel gives no more than about a page of text at a time.
const PIECE: usize = 4_096;
/// Longest text without an end of line: every byte of the longest path may be written as four.
const LONGEST_LINE: usize = 4 * 4_096 + 256;
/// Mappings whose pages numa_maps does not count: they are the kernel's own.
const KERNELS_OWN: [&[u8]; 3] = [b"[vvar", b"[vdso]", b"[vsyscall]"];
/// Below these are no files but what drivers map: their pages need a look.
const PSEUDO: [&[u8]; 3] = [b"/dev/", b"/sys/", b"/proc/"];
/// And these are memory all the same.
const MEMORY: [&[u8]; 3] = [b"/dev/shm/", b"/dev/zero", b"/dev/hugepages/"];

/// A mapping, or a piece of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    /// Number of the first page: its address by the size of a page.
    pub start: u64,
    /// Number behind the last page.
    pub end: u64,
    /// What the pages may be.
    pub kind: Kind,
}

/// What is known of a mapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kind {
    /// Nothing may be done there (`PROT_NONE`): most likely only reserved.
    pub reserved: bool,
    /// Writes go to what is mapped (`MAP_SHARED`).
    pub shared: bool,
    /// A driver mapped it: a page there may be none that the kernel counts.
    pub driver: bool,
}

/// What came of asking for the next mapping.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It is this.
    Mapping(Range),
    /// Text was read: ask again.
    Read,
    /// There is none, or the process is gone.
    End,
}

/// Reads mappings in order of address.
#[derive(Debug)]
pub(super) struct Maps<R = File> {
    file: R,
    page_bytes: u64,
    text: Vec<u8>,
    /// Bytes of `text` that were told.
    told: usize,
    /// Pages before this one were told.
    next: u64,
    ended: bool,
}

impl Maps {
    /// Of the process or thread whose directory in /proc this is.
    pub(super) fn open(dir: &Path, page_bytes: u64) -> Result<Maps> {
        Ok(Maps::new(File::open(dir.join("maps"))?, page_bytes))
    }
}

impl<R: Read> Maps<R> {
    fn new(file: R, page_bytes: u64) -> Maps<R> {
        Maps { file, page_bytes, text: Vec::new(), told: 0, next: 0, ended: false }
    }

    /// The next mapping that can have pages which count. At most one system call.
    pub(super) fn next(&mut self) -> Result<Next> {
        while let Some(length) = self.text[self.told..].iter().position(|byte| *byte == b'\n') {
            let line = &self.text[self.told..self.told + length];
            self.told += length + 1;
            let range = parse(line, self.page_bytes).ok_or_else(|| Error::from(ErrorKind::InvalidData))?;
            // A mapping that grew or was put where another one was: of that, only what is behind.
            let range = range.map(|range| Range { start: range.start.max(self.next), ..range });
            if let Some(range) = range.filter(|range| range.start < range.end) {
                self.next = range.end;
                return Ok(Next::Mapping(range));
            }
        }
        if self.ended {
            return Ok(Next::End);
        }
        self.text.drain(..self.told);
        self.told = 0;
        let held = self.text.len();
        if held > LONGEST_LINE {
            return Err(ErrorKind::InvalidData.into());
        }
        self.text.resize(held + PIECE, 0);
        let read = self.file.read(&mut self.text[held..]);
        self.text.truncate(held + read.as_ref().copied().unwrap_or(0));
        self.ended = read? == 0;
        Ok(Next::Read)
    }
}

/// A line such as `7f00-7f08 rw-p 00000000 08:01 42    /path`; `None` inside for the kernel's own, outside for garbage.
fn parse(line: &[u8], page_bytes: u64) -> Option<Option<Range>> {
    let mut words = line.splitn(6, |byte| *byte == b' ');
    let addresses = std::str::from_utf8(words.next()?).ok()?;
    let (start, end) = addresses.split_once('-')?;
    let page = |address| u64::from_str_radix(address, 16).ok().map(|address| address / page_bytes);
    let (start, end) = (page(start)?, page(end)?);
    let permissions = words.next().filter(|permissions| permissions.len() >= 4)?;
    let name = words.nth(3).unwrap_or_default().trim_ascii_start();
    let begins = |with: &&[u8]| name.starts_with(with);
    if KERNELS_OWN.iter().any(begins) {
        return Some(None);
    }
    let file = name.first().is_some_and(|first| *first == b'/');
    // `anon_inode:...`, `socket:...`: no file either.
    let pseudo = !name.is_empty() && !file && name[0] != b'[' || PSEUDO.iter().any(begins);
    let kind = Kind {
        reserved: permissions.starts_with(b"---"),
        shared: permissions[3] == b's',
        driver: pseudo && !MEMORY.iter().any(begins),
    };
    Some(Some(Range { start, end, kind }))
}

#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn fuzz(bytes: &[u8]) {
    let mut maps = Maps::new(bytes, 4_096);
    let mut told = 0;
    while let Ok(next @ (Next::Read | Next::Mapping(_))) = maps.next() {
        if let Next::Mapping(Range { start, end, .. }) = next {
            assert!(told <= start && start < end, "twice, or backwards");
            told = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time.
    struct Drops<'a>(&'a [u8], usize);

    impl Read for Drops<'_> {
        fn read(&mut self, into: &mut [u8]) -> Result<usize> {
            let length = self.1.min(self.0.len()).min(into.len());
            into[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }

    fn told(text: &[u8], at_once: usize) -> Result<Vec<Range>> {
        let mut maps = Maps::new(Drops(text, at_once), 4_096);
        let mut ranges = Vec::new();
        loop {
            match maps.next()? {
                Next::Mapping(range) => ranges.push(range),
                Next::Read => {}
                Next::End => return Ok(ranges),
            }
        }
    }

    #[test]
    fn mappings_are_told_whatever_pieces_the_text_comes_in() {
        let text = b"1000-3000 r--p 00000000 08:01 42                         /usr/bin/a b\n\
            3000-4000 ---p 00000000 00:00 0 \n\
            5000-6000 rw-s 00000000 00:05 9                          /dev/dri/card0\n\
            6000-7000 rw-s 00000000 00:0f 9                          anon_inode:[perf_event]\n\
            7000-8000 rw-s 00000000 00:01 9                          /dev/zero (deleted)\n\
            8000-9000 rw-p 00000000 00:00 0                          [heap]\n\
            9000-a000 r--p 00000000 00:00 0                          [vvar_vclock]\n\
            a000-b000 r-xp 00000000 00:00 0                          [vdso]\n\
            ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n";
        let plain = Kind::default();
        let shared = Kind { shared: true, ..plain };
        let expected = [
            (1, 3, plain),
            (3, 4, Kind { reserved: true, ..plain }),
            (5, 6, Kind { driver: true, ..shared }),
            (6, 7, Kind { driver: true, ..shared }),
            (7, 8, shared),
            (8, 9, plain),
        ];
        let expected = expected.map(|(start, end, kind)| Range { start, end, kind });
        for at_once in [1, 7, 100, 5_000] {
            assert_eq!(told(text, at_once).expect("mappings"), expected);
        }
    }

    #[test]
    fn no_page_is_told_twice() {
        let text = b"1000-4000 rw-p 0 00:00 0 \n1000-5000 rw-p 0 00:00 0 \n2000-3000 rw-p 0 00:00 0 \n";
        let ranges = told(text, 4_096).expect("mappings");
        assert_eq!(ranges.iter().map(|range| (range.start, range.end)).collect::<Vec<_>>(), [(1, 4), (4, 5)]);
    }

    #[test]
    fn garbage_is_an_error_and_not_kept() {
        for bad in [&b"\n"[..], b"1000 rw-p\n", b"x-y rw-p 0 0 0\n", b"1000-2000 rw\n", &[b'a'; 40_000]] {
            assert!(told(bad, 4_096).is_err(), "{:?}", String::from_utf8_lossy(bad));
        }
    }
}
