//! Texts that are longer than a record: they come in pieces, and records name them by a number. Place in the flow:
//! CgroupPath and Words records in, one text for all that name it out.
//!
//! A text of which a piece is missing, or stands where it cannot, is no text: who names its number names nothing that is
//! known.

use std::collections::HashMap;
use std::sync::Arc;

use numatrace_common::abi::{self, PATH_PIECE};

use crate::text::{display_bytes, visible};

/// Bytes of the longest text that is taken: the kernel's `PATH_MAX`.
pub(super) const LONGEST_TEXT: usize = 4_096;

/// A piece of a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'a> {
    id: u32,
    offset: u16,
    total: u16,
    bytes: &'a [u8; PATH_PIECE],
    /// Escaped already, but for what a stranger put into a file.
    escaped: bool,
}

impl<'a> From<&'a abi::CgroupPath> for Piece<'a> {
    fn from(record: &'a abi::CgroupPath) -> Piece<'a> {
        let (id, offset, total) = (record.cgroup, record.offset, record.total);
        Piece { id, offset, total, bytes: &record.piece, escaped: false }
    }
}

impl<'a> From<&'a abi::Words> for Piece<'a> {
    fn from(record: &'a abi::Words) -> Piece<'a> {
        let (id, offset, total) = (record.id, record.offset, record.total);
        Piece { id, offset, total, bytes: &record.piece, escaped: true }
    }
}

/// Texts by number. Bounded: a number beyond that has no text.
#[derive(Clone, Debug)]
pub(super) struct Texts {
    max: usize,
    texts: HashMap<u32, Arc<str>>,
    coming: Option<Coming>,
}

/// A text of which not all pieces have come.
#[derive(Clone, Debug)]
struct Coming {
    id: u32,
    total: u16,
    bytes: Vec<u8>,
}

impl Coming {
    fn starts_with(piece: &Piece<'_>) -> Option<Coming> {
        let total = usize::from(piece.total);
        (1..=LONGEST_TEXT).contains(&total).then(|| Coming {
            id: piece.id,
            total: piece.total,
            bytes: Vec::with_capacity(total),
        })
    }

    fn goes_on_with(&self, piece: &Piece<'_>) -> bool {
        (piece.id, piece.total, usize::from(piece.offset)) == (self.id, self.total, self.bytes.len())
    }

    /// Takes a piece; says whether it was the last.
    fn take(&mut self, piece: &Piece<'_>) -> bool {
        let left = usize::from(self.total).saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&piece.bytes[..left.min(PATH_PIECE)]);
        left <= PATH_PIECE
    }
}

impl Texts {
    pub(super) fn new(max: usize) -> Texts {
        Texts { max, texts: HashMap::new(), coming: None }
    }

    /// The text with this number, where all of it has come.
    pub(super) fn get(&self, id: u32) -> Option<&Arc<str>> {
        self.texts.get(&id)
    }

    /// A piece: the first of a text, or the next one of the text that is coming.
    pub(super) fn piece<'a>(&mut self, piece: impl Into<Piece<'a>>) {
        let piece = piece.into();
        let coming = self.coming.take();
        let coming = if piece.offset == 0 { Coming::starts_with(&piece) } else { coming };
        let Some(mut coming) = coming.filter(|coming| coming.goes_on_with(&piece)) else { return };
        if coming.take(&piece) {
            self.complete(&coming, piece.escaped);
        } else {
            self.coming = Some(coming);
        }
    }

    /// The same, of a text whose lines are told apart.
    pub(super) fn lines(&mut self, record: &abi::CgroupPath) {
        self.piece(Piece { escaped: true, ..Piece::from(record) });
    }

    /// A text that is told again is the same. With another one the number stands for that from now on; who has the old one
    /// keeps it.
    fn complete(&mut self, coming: &Coming, escaped: bool) {
        let text = match std::str::from_utf8(&coming.bytes) {
            // Lines are between callers.
            Ok(text) if escaped => text.split('\n').map(visible).collect::<Vec<_>>().join("\n"),
            _ => display_bytes(&coming.bytes),
        };
        match self.texts.get(&coming.id) {
            Some(known) if **known == *text => {}
            None if self.texts.len() >= self.max => {}
            _ => drop(self.texts.insert(coming.id, text.into())),
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

    fn told(texts: &mut Texts, pieces: &[abi::CgroupPath]) {
        pieces.iter().for_each(|piece| texts.piece(piece));
    }

    fn text(texts: &Texts, cgroup: u32) -> Option<&str> {
        texts.get(cgroup).map(|path| &**path)
    }

    #[test]
    fn a_path_of_any_length_and_any_bytes_is_put_together() {
        for len in [1, 31, 32, 33, 64, 4_095, LONGEST_TEXT] {
            let mut texts = Texts::new(1);
            let path = vec![b'x'; len];
            told(&mut texts, &pieces(7, &path));
            assert_eq!(text(&texts, 7).map(str::as_bytes), Some(&*path));
        }
        let mut texts = Texts::new(1);
        told(&mut texts, &pieces(7, b"/a\x1b[2J\xff\0"));
        assert_eq!(text(&texts, 7), Some(r"/a\x1b[2J\xff\x00"));
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
            let mut texts = Texts::new(9);
            told(&mut texts, &pieces);
            assert!(texts.texts.is_empty(), "{pieces:?}");
            told(&mut texts, &whole);
            assert_eq!(text(&texts, 7).map(str::len), Some(100));
        }
    }

    #[test]
    fn a_path_that_is_too_long_takes_no_memory() {
        let mut texts = Texts::new(9);
        told(&mut texts, &pieces(7, &[b'x'; LONGEST_TEXT + 1]));
        assert!(texts.texts.is_empty() && texts.coming.is_none());
    }

    #[test]
    fn a_number_that_comes_again_keeps_its_text_or_gets_the_new_one() {
        let mut texts = Texts::new(1);
        told(&mut texts, &pieces(7, b"/a"));
        let first = Arc::clone(texts.get(7).expect("a path"));
        told(&mut texts, &pieces(7, b"/a"));
        assert!(Arc::ptr_eq(&first, texts.get(7).expect("a path")));
        told(&mut texts, &pieces(8, b"/full"));
        assert_eq!(text(&texts, 8), None);
        told(&mut texts, &pieces(7, b"/b"));
        assert_eq!(text(&texts, 7), Some("/b"));
    }
}
