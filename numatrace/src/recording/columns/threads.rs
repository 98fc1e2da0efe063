//! Thread ids of a frame by number, in the order in which they first appear: small numbers for large ids.

use super::varint::{Column, Damaged, put};
use crate::units::TidMap;

/// A thread that was not spoken of in this frame before: its id follows in the column of new ids.
const NEW: u64 = 0;
/// It is the one that was expected.
const EXPECTED: u64 = 1;
/// Numbers are told from here on.
const FIRST: u64 = 2;

/// Number of a thread in a frame.
pub(super) type Number = u32;

/// Ids to numbers, for the writer.
#[derive(Debug, Default)]
pub(super) struct Numbering {
    by_tid: TidMap<Number>,
}

impl Numbering {
    pub(super) fn clear(&mut self) {
        self.by_tid.clear();
    }

    /// Tells a thread.
    #[inline]
    pub(super) fn put(
        &mut self,
        tid: u32,
        expected: Option<Number>,
        column: &mut Vec<u8>,
        new_ids: &mut Vec<u8>,
    ) -> Number {
        let next = self.by_tid.len() as Number;
        let number = *self.by_tid.entry(tid).or_insert(next);
        if number == next {
            put(column, NEW);
            put(new_ids, tid.into());
        } else if Some(number) == expected {
            put(column, EXPECTED);
        } else {
            put(column, FIRST + u64::from(number));
        }
        number
    }
}

/// Numbers to ids, for the reader.
#[derive(Debug, Default)]
pub(super) struct Ids {
    ids: Vec<u32>,
}

impl Ids {
    pub(super) fn clear(&mut self) {
        self.ids.clear();
    }

    /// The thread that is told, and its id.
    #[inline]
    pub(super) fn get(
        &mut self,
        expected: Option<Number>,
        column: &mut Column<'_>,
        new_ids: &mut Column<'_>,
    ) -> Result<(Number, u32), Damaged> {
        let number = match column.number()? {
            NEW => {
                let tid = new_ids.word()?;
                self.ids.push(tid);
                return Ok((self.ids.len() as Number - 1, tid));
            }
            EXPECTED => expected.ok_or(Damaged)?,
            told => Number::try_from(told - FIRST).map_err(|_| Damaged)?,
        };
        Ok((number, *self.ids.get(number as usize).ok_or(Damaged)?))
    }
}
