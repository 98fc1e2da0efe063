//! Merges the records of several rings by time. Place in the flow: between the rings and `decode`.
//!
//! Records of one ring and its lanes come as runs in order of time, records of different rings are in no order. What was
//! pushed is held back for a window, then given out in order of time; equal times in order of ring number, and within a ring in order of arrival. A record that is older than
//! one already given out is still delivered, at once, and counted as late.
//!
//! Memory: what is held, at most `max_bytes` after each drain (beyond, the oldest records go out before their
//! window ends), plus what is pushed between two drains, plus an equal share for compaction.

use std::ops::ControlFlow;

use numatrace_common::abi::Header;

/// Where one held record lies.
#[derive(Clone, Copy, Debug)]
struct Entry {
    ts: u64,
    start: usize,
    len: usize,
}

/// Held records of one ring.
#[derive(Debug, Default)]
struct Lane {
    bytes: Vec<u8>,
    /// In order of time from `next` on, unless `unsorted`.
    entries: Vec<Entry>,
    next: usize,
    /// Bytes of the entries before `next`.
    given: usize,
    unsorted: bool,
    spare: Vec<u8>,
}

impl Lane {
    fn head(&self) -> Option<u64> {
        self.entries.get(self.next).map(|entry| entry.ts)
    }

    /// Bytes of records that were not given out.
    fn held(&self) -> usize {
        self.bytes.len() - self.given
    }

    fn push(&mut self, record: &[u8], ts: u64) {
        self.unsorted |= self.entries.get(self.next..).and_then(<[Entry]>::last).is_some_and(|last| last.ts > ts);
        self.entries.push(Entry { ts, start: self.bytes.len(), len: record.len() });
        self.bytes.extend_from_slice(record);
    }

    /// Equal times stay in order of arrival. A sort that merges runs: each lane is one.
    fn sort(&mut self) {
        if std::mem::take(&mut self.unsorted)
            && let Some(held) = self.entries.get_mut(self.next..)
        {
            held.sort_by_key(|entry| entry.ts);
        }
    }

    fn give(&mut self, sink: &mut impl FnMut(&[u8]) -> ControlFlow<()>) -> ControlFlow<()> {
        let Some(entry) = self.entries.get(self.next) else { return ControlFlow::Continue(()) };
        self.given += entry.len;
        self.next += 1;
        sink(self.bytes.get(entry.start..entry.start + entry.len).unwrap_or_default())
    }

    /// Frees what was given out, once that is at least half: each byte is moved once on average.
    fn compact(&mut self) {
        if self.given * 2 < self.bytes.len() || self.next == 0 {
            return;
        }
        self.spare.clear();
        self.entries.drain(..self.next);
        for entry in &mut self.entries {
            let start = self.spare.len();
            self.spare.extend_from_slice(self.bytes.get(entry.start..entry.start + entry.len).unwrap_or_default());
            entry.start = start;
        }
        std::mem::swap(&mut self.bytes, &mut self.spare);
        (self.next, self.given) = (0, 0);
    }
}

/// See the module.
#[derive(Debug)]
pub struct Merger {
    lanes: Vec<Lane>,
    window_ns: u64,
    max_bytes: usize,
    newest_given: u64,
    late: u64,
    undecodable: u64,
}

impl Merger {
    /// Merges `rings` rings, holding each record back for `window_ns`, and at most `max_bytes` in all.
    pub fn new(rings: usize, window_ns: u64, max_bytes: usize) -> Merger {
        Merger {
            lanes: (0..rings).map(|_| Lane::default()).collect(),
            window_ns,
            max_bytes,
            newest_given: 0,
            late: 0,
            undecodable: 0,
        }
    }

    /// Takes whole records back to back, each padded to 8 bytes. A chunk that ends in something else is taken up to
    /// there, and the rest counts as one undecodable record; so does a chunk for a ring that there is none of.
    pub fn push(&mut self, ring: usize, mut chunk: &[u8]) {
        let Some(lane) = self.lanes.get_mut(ring) else {
            self.undecodable += 1;
            return;
        };
        while !chunk.is_empty() {
            let Some((record, ts)) = first_record(chunk) else {
                self.undecodable += 1;
                return;
            };
            lane.push(record, ts);
            chunk = chunk.get(record.len().next_multiple_of(8)..).unwrap_or_default();
        }
    }

    /// Gives out everything that is older than `watermark_ts` by the window or more, in order of time. The watermark
    /// is a moment up to which every ring was drained.
    pub fn drain_until(&mut self, watermark_ts: u64, mut sink: impl FnMut(&[u8])) {
        // Never broken off.
        let _ = self.drain_while(watermark_ts, |record| {
            sink(record);
            ControlFlow::Continue(())
        });
    }

    /// As [`Merger::drain_until`], but no further than the record at which `sink` breaks; says whether it did.
    pub fn drain_while(
        &mut self,
        watermark_ts: u64,
        mut sink: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut flow = self.give_until(watermark_ts.saturating_sub(self.window_ns), &mut sink);
        let held = self.held_bytes();
        if flow.is_continue() && held > self.max_bytes {
            flow = self.give_bytes(held - self.max_bytes, &mut sink);
        }
        self.lanes.iter_mut().for_each(Lane::compact);
        flow
    }

    /// Gives out everything.
    pub fn flush(&mut self, mut sink: impl FnMut(&[u8])) {
        // Never broken off.
        let _ = self.flush_while(|record| {
            sink(record);
            ControlFlow::Continue(())
        });
    }

    /// As [`Merger::flush`], but no further than the record at which `sink` breaks; says whether it did.
    pub fn flush_while(&mut self, mut sink: impl FnMut(&[u8]) -> ControlFlow<()>) -> ControlFlow<()> {
        let flow = self.give_until(u64::MAX, &mut sink);
        self.lanes.iter_mut().for_each(Lane::compact);
        flow
    }

    /// Records that came out after a newer one.
    pub const fn late(&self) -> u64 {
        self.late
    }

    /// Pieces of chunks that are no records.
    pub const fn undecodable(&self) -> u64 {
        self.undecodable
    }

    /// Bytes held back now.
    pub fn held_bytes(&self) -> usize {
        self.lanes.iter().map(Lane::held).sum()
    }

    fn give_until(&mut self, limit: u64, sink: &mut impl FnMut(&[u8]) -> ControlFlow<()>) -> ControlFlow<()> {
        self.lanes.iter_mut().for_each(Lane::sort);
        while let Some((lane, bound)) = self.first_lane() {
            if self.lanes[lane].head().is_none_or(|ts| ts > limit) {
                break;
            }
            // As long as this ring stays ahead of all others there is nothing to compare but its own head.
            while let Some(ts) = self.lanes[lane].head()
                && ts <= limit
                && (ts, lane) < bound
            {
                self.give(lane, ts, sink)?;
            }
        }
        ControlFlow::Continue(())
    }

    fn give_bytes(&mut self, bytes: usize, sink: &mut impl FnMut(&[u8]) -> ControlFlow<()>) -> ControlFlow<()> {
        let mut left = bytes;
        while left > 0
            && let Some((lane, _)) = self.first_lane()
            && let Some(ts) = self.lanes[lane].head()
        {
            let before = self.lanes[lane].held();
            self.give(lane, ts, sink)?;
            left = left.saturating_sub(before - self.lanes[lane].held());
        }
        ControlFlow::Continue(())
    }

    fn give(&mut self, lane: usize, ts: u64, sink: &mut impl FnMut(&[u8]) -> ControlFlow<()>) -> ControlFlow<()> {
        if ts < self.newest_given {
            self.late += 1;
        } else {
            self.newest_given = ts;
        }
        self.lanes[lane].give(sink)
    }

    /// The ring whose oldest record goes next, and that of the ring after it.
    fn first_lane(&self) -> Option<(usize, (u64, usize))> {
        let mut first = None;
        let mut second = (u64::MAX, usize::MAX);
        for (at, lane) in self.lanes.iter().enumerate() {
            let Some(ts) = lane.head() else { continue };
            let key = (ts, at);
            match first {
                Some(best) if key > best => second = second.min(key),
                Some(best) => {
                    second = best;
                    first = Some(key);
                }
                None => first = Some(key),
            }
        }
        first.map(|(_, at)| (at, second))
    }
}

/// The record at the start of a chunk, without padding, and its time.
fn first_record(chunk: &[u8]) -> Option<(&[u8], u64)> {
    let header = chunk.get(..size_of::<Header>())?;
    let size = usize::from(u16::from_le_bytes([header[2], header[3]]));
    if size < size_of::<Header>() {
        return None;
    }
    let ts = header.get(8..16)?.try_into().map(u64::from_le_bytes).ok()?;
    Some((chunk.get(..size)?, ts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use numatrace_common::abi::Tick;
    use zerocopy::IntoBytes;

    /// A tick at `ts` that carries a number.
    fn record(ts: u64, number: u64) -> Vec<u8> {
        Tick { header: Tick::header(ts, 0, 0), wall_ns: number }.as_bytes().to_vec()
    }

    fn read(bytes: &[u8]) -> (u64, u64) {
        let at = |range: std::ops::Range<usize>| u64::from_le_bytes(bytes[range].try_into().expect("8 bytes"));
        (at(8..16), at(16..24))
    }

    fn chunk(records: &[(u64, u64)]) -> Vec<u8> {
        records.iter().flat_map(|(ts, number)| record(*ts, *number)).collect()
    }

    #[test]
    fn rings_are_merged_by_time_and_the_window_is_held_back() {
        let mut merger = Merger::new(2, 10, 1 << 20);
        merger.push(0, &chunk(&[(1, 1), (5, 2), (30, 3)]));
        merger.push(1, &chunk(&[(2, 4), (4, 5), (21, 6)]));
        let mut out = Vec::new();
        merger.drain_until(30, |r| out.push(read(r)));
        assert_eq!(out, [(1, 1), (2, 4), (4, 5), (5, 2)]);
        out.clear();
        merger.push(1, &chunk(&[(25, 7)]));
        merger.drain_until(40, |r| out.push(read(r)));
        assert_eq!(out, [(21, 6), (25, 7), (30, 3)]);
        assert_eq!((merger.late(), merger.held_bytes()), (0, 0));
    }

    #[test]
    fn equal_times_go_by_ring_then_by_arrival() {
        let mut merger = Merger::new(3, 0, 1 << 20);
        merger.push(2, &chunk(&[(7, 1), (7, 2)]));
        merger.push(0, &chunk(&[(7, 3), (6, 4), (7, 5)]));
        merger.push(1, &chunk(&[(7, 6)]));
        let mut out = Vec::new();
        merger.flush(|r| out.push(read(r).1));
        assert_eq!(out, [4, 3, 5, 6, 1, 2]);
    }

    #[test]
    fn a_late_record_is_delivered_and_counted() {
        let mut merger = Merger::new(1, 0, 1 << 20);
        merger.push(0, &record(100, 1));
        let mut out = Vec::new();
        merger.drain_until(100, |r| out.push(read(r)));
        merger.push(0, &chunk(&[(50, 2), (100, 3)]));
        merger.drain_until(100, |r| out.push(read(r)));
        assert_eq!(out, [(100, 1), (50, 2), (100, 3)]);
        assert_eq!(merger.late(), 1);
    }

    #[test]
    fn more_than_fits_goes_out_oldest_first_before_its_window_ends() {
        let mut merger = Merger::new(2, 1_000_000, 3 * 24);
        merger.push(0, &chunk(&[(1, 1), (3, 3), (5, 5)]));
        merger.push(1, &chunk(&[(2, 2), (4, 4)]));
        let mut out = Vec::new();
        merger.drain_until(5, |r| out.push(read(r).1));
        assert_eq!((out.as_slice(), merger.held_bytes()), ([1, 2].as_slice(), 72));
    }

    #[test]
    fn a_malformed_tail_is_counted_once_and_what_came_before_it_stays() {
        for tail in
            [&[0u8; 24][..], &[1, 0, 255, 255, 0, 0, 0, 0], &[9], &[1, 0, 15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]]
        {
            let mut merger = Merger::new(1, 0, 1 << 20);
            let mut bytes = record(1, 1);
            bytes.extend_from_slice(tail);
            merger.push(0, &bytes);
            let mut out = Vec::new();
            merger.flush(|r| out.push(read(r)));
            assert_eq!((out.as_slice(), merger.undecodable()), ([(1, 1)].as_slice(), 1), "{tail:?}");
        }
        let mut merger = Merger::new(1, 0, 1 << 20);
        merger.push(1, &record(1, 1));
        assert_eq!(merger.undecodable(), 1);
    }

    #[test]
    fn a_record_of_odd_size_is_followed_by_its_padding() {
        let mut odd = vec![9, 0, 18, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 42, 43, 0, 0, 0, 0, 0, 0];
        odd.extend_from_slice(&record(1, 1));
        let mut merger = Merger::new(1, 0, 1 << 20);
        merger.push(0, &odd);
        let mut sizes = Vec::new();
        merger.flush(|r| sizes.push(r.len()));
        assert_eq!((sizes.as_slice(), merger.undecodable()), ([24, 18].as_slice(), 0));
    }

    #[test]
    fn in_steady_state_memory_stays_and_nothing_is_lost() {
        let mut merger = Merger::new(2, 50, 1 << 20);
        let (mut given, mut pushed, mut capacity) = (0u64, 0u64, 0);
        for round in 0..1000u64 {
            for ring in 0..2u64 {
                let ts = round * 10 + ring;
                merger.push(ring as usize, &chunk(&[(ts + 1, pushed), (ts, pushed + 1)]));
                pushed += 2;
            }
            merger.drain_until(round * 10, |_| given += 1);
            let now: usize = merger.lanes.iter().map(|l| l.bytes.capacity() + l.spare.capacity()).sum();
            if round == 100 {
                capacity = now;
            }
            assert!(round <= 100 || now == capacity, "round {round}: {now} bytes after {capacity}");
        }
        merger.flush(|_| given += 1);
        assert_eq!((given, merger.late()), (pushed, 0));
    }
}
