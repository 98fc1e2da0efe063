//! Records by column: what is alike lies side by side, and is told as its difference to what was expected, so that zstd
//! makes little of it. Place in the flow: between raw records and the packed bytes of a frame.
//!
//! A frame's columns stand for themselves: nothing is expected from another frame. [`unpack`](Decoder::unpack) takes any bytes:
//! each number is checked, and memory is bounded by what the frame's header says, which is bounded in turn.

mod layout;
mod threads;
mod turns;
mod varint;

use numatrace_common::abi::{Header, Slice};
use zerocopy::{FromBytes, IntoBytes};

use self::layout::{Field, HEADER, LAYOUT_COLUMNS, LAYOUTS, Layout, TID};
use self::threads::{Ids, Numbering};
use self::turns::Turns;
pub(super) use self::varint::Damaged;
use self::varint::{Column, SPLIT, put, put_signed, put_signed_split, split_signed};

/// The columns that all records share, in their order; in a frame come those of `time` first, then the others, then those
/// of turns, and then those of the layouts.
#[derive(Clone, Copy, Debug, Default)]
struct Shared<T> {
    /// Difference to the time of the record before.
    time: [T; SPLIT],
    /// A byte for each record: 0 is a turn, then come the layouts, and [`OTHER`].
    kind: T,
    /// Threads of turns.
    runs: T,
    /// Threads of all other records.
    thread: T,
    /// Ids of threads, in the order in which they were first spoken of.
    new_ids: T,
    /// Records of kinds that have no columns, whole but for their time.
    other: T,
}

const SHARED: usize = 5 + SPLIT;
const FIRST_LAYOUT: usize = SHARED + turns::COLUMNS;
/// Columns of a frame in this version.
pub(super) const COLUMNS: usize = FIRST_LAYOUT + LAYOUT_COLUMNS;

/// All columns of a frame.
#[derive(Debug)]
struct Columns<T> {
    shared: Shared<T>,
    of_turns: turns::Columns<T>,
    of_layouts: [T; LAYOUT_COLUMNS],
}

impl<T: Default> Default for Columns<T> {
    fn default() -> Self {
        Columns {
            shared: Shared::default(),
            of_turns: turns::Columns::default(),
            of_layouts: std::array::from_fn(|_| T::default()),
        }
    }
}

impl<T> Columns<T> {
    /// All of them in order.
    fn all(&self) -> impl Iterator<Item = &T> {
        let Shared { time, kind, runs, thread, new_ids, other } = &self.shared;
        let shared = time.iter().chain([kind, runs, thread, new_ids, other]);
        shared.chain(self.of_turns.all()).chain(&self.of_layouts)
    }

    /// All of them in order.
    fn all_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let Shared { time, kind, runs, thread, new_ids, other } = &mut self.shared;
        let shared = time.iter_mut().chain([kind, runs, thread, new_ids, other]);
        shared.chain(self.of_turns.all_mut()).chain(&mut self.of_layouts)
    }
}

const TURN: u8 = 0;
const OTHER: u8 = 255;
/// Where the time lies.
const TIME: std::ops::Range<usize> = 8..HEADER;

/// The record at the start of `bytes`, as long as its header says.
#[inline]
pub(super) fn first_record(bytes: &[u8]) -> Option<&[u8]> {
    let size = usize::from(u16::from_le_bytes([*bytes.get(2)?, *bytes.get(3)?]));
    if size < size_of::<Header>() { None } else { bytes.get(..size) }
}

/// Number of a layout, and where its columns begin among those of layouts.
fn layout_of(record: &[u8]) -> Option<(usize, &'static Layout, usize)> {
    let kind = u16::from_le_bytes([record[0], record[1]]);
    let mut first = 0;
    for (at, layout) in LAYOUTS.iter().enumerate() {
        if layout.kind == kind {
            return (layout.size == record.len()).then_some((at, layout, first));
        }
        first += layout.columns();
    }
    None
}

/// Where the last record of each layout and thread lies among the raw bytes.
#[derive(Debug, Default)]
struct Places([Vec<Option<u32>>; LAYOUTS.len()]);

impl Places {
    fn clear(&mut self) {
        self.0.iter_mut().for_each(Vec::clear);
    }

    /// The last one, where there is one; from now on it is the one at `now`.
    fn replace(&mut self, layout: usize, thread: usize, now: usize) -> Option<usize> {
        let places = &mut self.0[layout];
        if places.len() <= thread {
            places.resize(thread + 1, None);
        }
        // Raw bytes of a frame are bounded far below 4 GiB.
        places[thread].replace(now as u32).map(|at| at as usize)
    }
}

/// An integer of up to eight bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// Records to columns.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    columns: Columns<Vec<u8>>,
    numbering: Numbering,
    turns: Turns,
    places: Places,
}

impl Encoder {
    /// Appends the columns of these records to `plain`. Each record is as long as its header says.
    pub(super) fn pack(&mut self, raw: &[u8], plain: &mut Vec<u8>) {
        self.columns.all_mut().for_each(Vec::clear);
        self.numbering.clear();
        self.turns.clear();
        self.places.clear();
        let (mut at, mut time) = (0, 0);
        while let Some(record) = first_record(&raw[at..]) {
            let ts = number(&record[TIME]);
            put_signed_split(&mut self.columns.shared.time, ts.wrapping_sub(time));
            time = ts;
            self.record(raw, at, record);
            at += record.len();
        }
        self.join(plain);
    }

    fn record(&mut self, raw: &[u8], at: usize, record: &[u8]) {
        let Columns { shared, of_turns, of_layouts } = &mut self.columns;
        if let Ok(turn) = Slice::read_from_bytes(record)
            && turn.header.kind == Slice::KIND
        {
            shared.kind.push(TURN);
            let tids = (&mut shared.runs, &mut shared.new_ids);
            return self.turns.put(&turn, &mut self.numbering, tids, of_turns);
        }
        let Some((code, layout, first)) = layout_of(record) else {
            shared.kind.push(OTHER);
            put(&mut shared.other, record.len() as u64);
            shared.other.extend_from_slice(&record[..2]);
            shared.other.extend_from_slice(&record[4..TIME.start]);
            shared.other.extend_from_slice(&record[TIME.end..]);
            return;
        };
        shared.kind.push(code as u8 + 1);
        let thread = if layout.of_thread {
            let tid = number(&record[TID..TID + 4]) as u32;
            self.numbering.put(tid, None, &mut shared.thread, &mut shared.new_ids) as usize
        } else {
            0
        };
        let before = self.places.replace(code, thread, at).map(|at| &raw[at..at + layout.size]);
        for (column, (from, field)) in of_layouts[first..].iter_mut().zip(layout.all_fields()) {
            let value = &record[from..from + field.len()];
            match field {
                Field::Bytes(_) => column.extend_from_slice(value),
                Field::Number(_) => {
                    let before = before.map_or(0, |record| number(&record[from..from + field.len()]));
                    put_signed(column, number(value).wrapping_sub(before));
                }
            }
        }
    }

    /// All columns in one: how many, how long each is, and what is in them.
    fn join(&self, plain: &mut Vec<u8>) {
        put(plain, COLUMNS as u64);
        self.columns.all().for_each(|column| put(plain, column.len() as u64));
        self.columns.all().for_each(|column| plain.extend_from_slice(column));
    }
}

/// Columns to records.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    ids: Ids,
    turns: Turns,
    places: Places,
}

impl Decoder {
    /// Appends to `raw`, which is empty, as many records as the frame's header says, with as many bytes as it says.
    ///
    /// # Errors
    /// [`Damaged`] when the columns hold anything else. What was appended so far is of no use.
    pub(super) fn unpack(
        &mut self,
        plain: &[u8],
        records: u32,
        raw_len: usize,
        raw: &mut Vec<u8>,
    ) -> Result<(), Damaged> {
        self.ids.clear();
        self.turns.clear();
        self.places.clear();
        let mut columns = split(plain)?;
        let Columns { shared, of_turns, of_layouts } = &mut columns;
        let mut ts = 0u64;
        for _ in 0..records {
            ts = ts.wrapping_add(split_signed(&mut shared.time)?);
            match shared.kind.byte()? {
                TURN => {
                    let tids = (&mut shared.runs, &mut shared.new_ids);
                    let turn = self.turns.get(ts, &mut self.ids, tids, of_turns)?;
                    raw.extend_from_slice(turn.as_bytes());
                }
                OTHER => other_record(ts, &mut shared.other, raw)?,
                code => self.record(code, ts, (&mut shared.thread, &mut shared.new_ids), of_layouts, raw)?,
            }
            if raw.len() > raw_len {
                return Err(Damaged);
            }
        }
        let all_told = columns.all().all(|column| column.0.is_empty());
        if all_told && raw.len() == raw_len { Ok(()) } else { Err(Damaged) }
    }

    fn record(
        &mut self,
        code: u8,
        ts: u64,
        (threads, new_ids): (&mut Column<'_>, &mut Column<'_>),
        columns: &mut [Column<'_>],
        raw: &mut Vec<u8>,
    ) -> Result<(), Damaged> {
        let code = usize::from(code) - 1;
        let layout = LAYOUTS.get(code).ok_or(Damaged)?;
        let first: usize = LAYOUTS[..code].iter().map(Layout::columns).sum();
        let at = raw.len();
        raw.extend_from_slice(&layout.kind.to_le_bytes());
        raw.extend_from_slice(&(layout.size as u16).to_le_bytes());
        raw.resize(at + layout.size, 0);
        raw[at..][TIME].copy_from_slice(&ts.to_le_bytes());
        let mut thread = 0;
        if layout.of_thread {
            let (number, tid) = self.ids.get(None, threads, new_ids)?;
            raw[at + TID..at + TID + 4].copy_from_slice(&tid.to_le_bytes());
            thread = number as usize;
        }
        let before = self.places.replace(code, thread, at);
        for (column, (from, field)) in columns[first..].iter_mut().zip(layout.all_fields()) {
            let len = field.len();
            match field {
                Field::Bytes(_) => raw[at + from..at + from + len].copy_from_slice(column.bytes(len)?),
                Field::Number(_) => {
                    let before = before.map_or(0, |before| number(&raw[before + from..before + from + len]));
                    let value = before.wrapping_add(column.signed()?).to_le_bytes();
                    let (told, beyond) = value.split_at(len);
                    if beyond.iter().any(|byte| *byte != 0) {
                        return Err(Damaged);
                    }
                    raw[at + from..at + from + len].copy_from_slice(told);
                }
            }
        }
        Ok(())
    }
}

fn other_record(ts: u64, other: &mut Column<'_>, raw: &mut Vec<u8>) -> Result<(), Damaged> {
    let size = other.short()?;
    let rest = usize::from(size).checked_sub(HEADER).ok_or(Damaged)?;
    raw.extend_from_slice(other.bytes(2)?);
    raw.extend_from_slice(&size.to_le_bytes());
    raw.extend_from_slice(other.bytes(4)?);
    raw.extend_from_slice(&ts.to_le_bytes());
    raw.extend_from_slice(other.bytes(rest)?);
    Ok(())
}

/// The columns of a frame, which may be fewer than this version has: those of kinds that came later are empty.
fn split(plain: &[u8]) -> Result<Columns<Column<'_>>, Damaged> {
    let mut rest = Column(plain);
    let told = usize::try_from(rest.number()?).map_err(|_| Damaged)?;
    if !(FIRST_LAYOUT..=COLUMNS).contains(&told) {
        return Err(Damaged);
    }
    let mut lens = [0; COLUMNS];
    for len in &mut lens[..told] {
        *len = usize::try_from(rest.number()?).map_err(|_| Damaged)?;
    }
    let mut columns = Columns::default();
    for (column, len) in columns.all_mut().zip(lens) {
        *column = Column(rest.bytes(len)?);
    }
    if rest.0.is_empty() { Ok(columns) } else { Err(Damaged) }
}

#[cfg(test)]
mod tests;
