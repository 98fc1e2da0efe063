//! Which cgroup a thread is in. Place in the flow: CgroupPath and Cgroup records in, one text for all threads of a cgroup
//! out.
//!
//! A path is longer than a record, so it comes in pieces, and its threads name it by a number. A path of which a piece is
//! missing, or stands where it cannot, is no path: threads with its number are in no cgroup that is known.

use std::collections::HashMap;
use std::sync::Arc;

use numatrace_common::abi::{self, PATH_PIECE};

use crate::text::display_bytes;

/// Bytes of the longest path that is taken: the kernel's `PATH_MAX`.
pub(super) const LONGEST_PATH: usize = 4_096;

/// A thread's cgroup, as it was told last.
#[derive(Clone, Debug)]
pub(super) struct Membership {
    /// Display-safe, shared by all threads of the cgroup.
    pub(super) path: Arc<str>,
    /// The first record that said so.
    since_ns: u64,
}

impl Membership {
    pub(super) const fn new(path: Arc<str>, since_ns: u64) -> Membership {
        Membership { path, since_ns }
    }

    /// It was told before `end`, when the thread ended, so it is its own, as for attributes.
    pub(super) const fn is_from_before(&self, end: u64) -> bool {
        self.since_ns <= end
    }
}

/// Paths by number. Bounded: a number beyond that has no path.
#[derive(Clone, Debug)]
pub(super) struct Cgroups {
    max: usize,
    paths: HashMap<u32, Arc<str>>,
    coming: Option<Coming>,
}

/// A path of which not all pieces have come.
#[derive(Clone, Debug)]
struct Coming {
    cgroup: u32,
    total: u16,
    bytes: Vec<u8>,
}

impl Coming {
    fn starts_with(piece: &abi::CgroupPath) -> Option<Coming> {
        let total = usize::from(piece.total);
        (1..=LONGEST_PATH).contains(&total).then(|| Coming {
            cgroup: piece.cgroup,
            total: piece.total,
            bytes: Vec::with_capacity(total),
        })
    }

    fn goes_on_with(&self, piece: &abi::CgroupPath) -> bool {
        (piece.cgroup, piece.total, usize::from(piece.offset)) == (self.cgroup, self.total, self.bytes.len())
    }

    /// Takes a piece; says whether it was the last.
    fn take(&mut self, piece: &abi::CgroupPath) -> bool {
        let left = usize::from(self.total).saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&piece.piece[..left.min(PATH_PIECE)]);
        left <= PATH_PIECE
    }
}

impl Cgroups {
    pub(super) fn new(max: usize) -> Cgroups {
        Cgroups { max, paths: HashMap::new(), coming: None }
    }

    /// The path with this number, where all of it has come.
    pub(super) fn path(&self, cgroup: u32) -> Option<&Arc<str>> {
        self.paths.get(&cgroup)
    }

    /// A piece: the first of a path, or the next one of the path that is coming.
    pub(super) fn piece(&mut self, piece: &abi::CgroupPath) {
        let coming = self.coming.take();
        let coming = if piece.offset == 0 { Coming::starts_with(piece) } else { coming };
        let Some(mut coming) = coming.filter(|coming| coming.goes_on_with(piece)) else { return };
        if coming.take(piece) {
            self.complete(&coming);
        } else {
            self.coming = Some(coming);
        }
    }

    /// A path that is told again is the same text. With another one the number stands for that from now on; threads that
    /// have the text of the old one keep it.
    fn complete(&mut self, coming: &Coming) {
        let path = display_bytes(&coming.bytes);
        match self.paths.get(&coming.cgroup) {
            Some(known) if **known == *path => {}
            None if self.paths.len() >= self.max => {}
            _ => drop(self.paths.insert(coming.cgroup, path.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(cgroup: u32, path: &[u8]) -> Vec<abi::CgroupPath> {
        let total = path.len() as u16;
        let piece = |(nth, bytes): (usize, &[u8])| {
            let mut piece = [0; PATH_PIECE];
            piece[..bytes.len()].copy_from_slice(bytes);
            let header = abi::CgroupPath::header(1, 0, 0);
            abi::CgroupPath { header, cgroup, offset: (nth * PATH_PIECE) as u16, total, piece }
        };
        path.chunks(PATH_PIECE).enumerate().map(piece).collect()
    }

    fn told(cgroups: &mut Cgroups, pieces: &[abi::CgroupPath]) {
        pieces.iter().for_each(|piece| cgroups.piece(piece));
    }

    fn text(cgroups: &Cgroups, cgroup: u32) -> Option<&str> {
        cgroups.path(cgroup).map(|path| &**path)
    }

    #[test]
    fn a_path_of_any_length_and_any_bytes_is_put_together() {
        for len in [1, 31, 32, 33, 64, 4_095, LONGEST_PATH] {
            let mut cgroups = Cgroups::new(1);
            let path = vec![b'x'; len];
            told(&mut cgroups, &pieces(7, &path));
            assert_eq!(text(&cgroups, 7).map(str::as_bytes), Some(&*path));
        }
        let mut cgroups = Cgroups::new(1);
        told(&mut cgroups, &pieces(7, b"/a\x1b[2J\xff\0"));
        assert_eq!(text(&cgroups, 7), Some(r"/a\x1b[2J\xff\x00"));
    }

    #[test]
    fn pieces_that_do_not_fit_make_no_path() {
        let whole = pieces(7, &[b'x'; 100]);
        let of = |order: &[usize]| order.iter().map(|nth| whole[*nth]).collect::<Vec<_>>();
        let with = |nth: usize, piece| {
            let mut pieces = whole.clone();
            pieces[nth] = piece;
            pieces
        };
        let broken = [
            of(&[1, 2, 3]),
            of(&[0, 2, 3]),
            of(&[0, 1, 2]),
            of(&[0, 2, 1, 3]),
            of(&[0, 0, 3]),
            with(1, abi::CgroupPath { offset: 33, ..whole[1] }),
            with(2, abi::CgroupPath { total: 99, ..whole[2] }),
            with(1, abi::CgroupPath { cgroup: 8, ..whole[1] }),
            with(0, abi::CgroupPath { total: 0, ..whole[0] }),
        ];
        for pieces in broken {
            let mut cgroups = Cgroups::new(9);
            told(&mut cgroups, &pieces);
            assert!(cgroups.paths.is_empty(), "{pieces:?}");
            told(&mut cgroups, &whole);
            assert_eq!(text(&cgroups, 7).map(str::len), Some(100));
        }
    }

    #[test]
    fn a_path_that_is_too_long_takes_no_memory() {
        let mut cgroups = Cgroups::new(9);
        told(&mut cgroups, &pieces(7, &[b'x'; LONGEST_PATH + 1]));
        assert!(cgroups.paths.is_empty() && cgroups.coming.is_none());
    }

    #[test]
    fn a_number_that_comes_again_keeps_its_text_or_gets_the_new_one() {
        let mut cgroups = Cgroups::new(1);
        told(&mut cgroups, &pieces(7, b"/a"));
        let first = Arc::clone(cgroups.path(7).expect("a path"));
        told(&mut cgroups, &pieces(7, b"/a"));
        assert!(Arc::ptr_eq(&first, cgroups.path(7).expect("a path")));
        told(&mut cgroups, &pieces(8, b"/full"));
        assert_eq!(text(&cgroups, 8), None);
        told(&mut cgroups, &pieces(7, b"/b"));
        assert_eq!(text(&cgroups, 7), Some("/b"));
    }
}
