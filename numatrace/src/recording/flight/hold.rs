//! What a flight recorder holds: segments of packed frames, the oldest given away as time goes on.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::told::{Told, each, is_told};
use crate::recording::format::FrameFields;
use crate::recording::pack::{Buffer, Packing, time_of};

/// Bytes of records in a frame that is made when a file is written.
const FRAME_BYTES: usize = 2 << 20;

/// A frame as it is written, but for its place in a file.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) fields: FrameFields,
    pub(super) packed: Vec<u8>,
}

/// A stretch of time from which on a recording can begin.
#[derive(Debug, Default)]
struct Segment {
    /// When it begins, ns of `CLOCK_MONOTONIC`, and the same moment since the epoch.
    start: (u64, u64),
    /// What was known then, unless it is where the run began.
    opening: Vec<Arc<Frame>>,
    frames: Vec<Arc<Frame>>,
    /// Records that hold from then on.
    told: Vec<u8>,
    bytes: u64,
    /// Of these, of what was known when it began.
    opening_bytes: u64,
}

/// What is held, to be written: frames in order, and when they begin.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) start: (u64, u64),
    pub(super) frames: Vec<Arc<Frame>>,
}

/// See the module.
pub(super) struct Hold {
    last_ns: u64,
    /// Bytes, at most.
    most: u64,
    packing: Packing,
    segments: VecDeque<Segment>,
    /// What held when the oldest segment began.
    before: Told,
    bytes: u64,
}

impl Hold {
    pub(super) fn new(last_ns: u64, most: u64) -> io::Result<Hold> {
        let (packing, segments, before) = (Packing::new()?, VecDeque::new(), Told::default());
        Ok(Hold { last_ns, most, packing, segments, before, bytes: 0 })
    }

    /// A segment begins at this time.
    pub(super) fn begin(&mut self, start: (u64, u64)) {
        if let Some(last) = self.segments.back_mut() {
            last.told.shrink_to_fit();
        }
        self.segments.push_back(Segment { start, ..Segment::default() });
        let old = |segments: &VecDeque<Segment>, last_ns: u64| {
            segments.get(1).is_some_and(|next| next.start.0.saturating_add(last_ns) <= start.0)
        };
        while old(&self.segments, self.last_ns) {
            self.give_away();
        }
    }

    /// Takes what came since, or what was known when the segment began.
    pub(super) fn take(&mut self, buffer: &Buffer, is_opening: bool) -> io::Result<()> {
        let Some(segment) = self.segments.back_mut() else {
            // Too much came at once: it begins anew with the next segment.
            self.before.fold(&buffer.raw);
            return Ok(());
        };
        let mut packed = Vec::new();
        let fields = self.packing.pack(buffer, &mut packed)?;
        // Kept for long: no more than it needs.
        packed.shrink_to_fit();
        let mut bytes = fields.len();
        if !is_opening {
            let before = segment.told.len();
            each(&buffer.raw, |record| {
                if is_told(record) {
                    segment.told.extend_from_slice(record);
                }
            });
            bytes += (segment.told.len() - before) as u64;
        }
        let frame = Arc::new(Frame { fields, packed });
        if is_opening { &mut segment.opening } else { &mut segment.frames }.push(frame);
        segment.bytes += bytes;
        segment.opening_bytes += if is_opening { bytes } else { 0 };
        self.bytes += bytes;
        while self.bytes() > self.most && !self.segments.is_empty() {
            self.give_away();
        }
        Ok(())
    }

    /// The oldest segment; what was told in it holds on.
    fn give_away(&mut self) {
        if let Some(segment) = self.segments.pop_front() {
            self.bytes -= segment.bytes;
            self.before.fold(&segment.told);
        }
    }

    /// Bytes of all that is held.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.saturating_add(self.before.bytes())
    }

    /// Bytes of what came in the newest segment.
    pub(super) fn newest_bytes(&self) -> u64 {
        self.segments.back().map_or(0, |segment| segment.bytes - segment.opening_bytes)
    }

    /// From when on something is held, ns of `CLOCK_MONOTONIC`.
    pub(super) fn since(&self) -> Option<u64> {
        self.segments.front().map(|segment| segment.start.0)
    }

    /// All that is held, as frames of one recording.
    pub(super) fn cut(&mut self) -> io::Result<Option<Cut>> {
        let Some(start) = self.segments.front().map(|segment| segment.start) else { return Ok(None) };
        let mut frames = self.segments[0].opening.clone();
        frames.extend(self.told(start.0)?.into_iter().map(Arc::new));
        frames.extend(self.segments.iter().flat_map(|segment| segment.frames.iter().map(Arc::clone)));
        Ok(Some(Cut { start, frames }))
    }

    fn told(&mut self, ts: u64) -> io::Result<Vec<Frame>> {
        let Hold { before, packing, .. } = self;
        let (mut frames, mut buffer, mut failed) = (Vec::new(), Buffer::default(), None);
        buffer.clear();
        let mut pack = |buffer: &mut Buffer| {
            let mut packed = Vec::new();
            match packing.pack(buffer, &mut packed) {
                Ok(fields) => frames.push(Frame { fields, packed }),
                Err(error) => failed = Some(error),
            }
            buffer.clear();
        };
        before.records(ts, |record| {
            if let Some(ts) = time_of(record) {
                buffer.push(record, ts);
            }
            if buffer.is_full(FRAME_BYTES) {
                pack(&mut buffer);
            }
        });
        if buffer.fields.records > 0 {
            pack(&mut buffer);
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(frames),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use numatrace_common::abi::{Cgroup, Slice};
    use zerocopy::IntoBytes;

    /// Turns of one second from `second` on that do not pack well, and in which cgroup thread 7 is.
    fn records(second: u64) -> Buffer {
        let mut buffer = Buffer::default();
        buffer.clear();
        let mut any = second.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        for nth in 0..1_000 {
            any ^= any << 13;
            any ^= any >> 7;
            any ^= any << 17;
            let ts = second * 1_000 + nth;
            let turn = Slice { header: Slice::header(ts, 0, 0), wait_ns: any, slice_ns: any >> 3, ..Slice::default() };
            buffer.push(turn.as_bytes(), ts);
        }
        let ts = second * 1_000;
        buffer.push(Cgroup { header: Cgroup::header(ts, 0, 0), tid: 7, cgroup: second as u32 }.as_bytes(), ts);
        buffer
    }

    fn second(hold: &mut Hold, second: u64) {
        hold.begin((second * 1_000, 0));
        hold.take(&records(second), false).expect("it packs");
    }

    #[test]
    fn at_least_the_time_that_was_asked_for_is_held_and_not_much_more() {
        let mut hold = Hold::new(3_000, u64::MAX).expect("memory");
        assert!(hold.cut().expect("memory").is_none());
        for now in 1..20 {
            second(&mut hold, now);
            let since = hold.since().expect("something");
            let end = now * 1_000 + 999;
            assert!(end - since >= 3_000.min(end - 1_000) && end - since < 5_000, "second {now}: since {since}");
        }
        // What was told before is told at its beginning, in a frame of its own.
        let cut = hold.cut().expect("memory").expect("something");
        assert_eq!((cut.start.0, cut.frames.len()), (16_000, 1 + 4));
        assert_eq!((cut.frames[0].fields.records, cut.frames[0].fields.first_ts), (1, 16_000));
    }

    #[test]
    fn memory_has_a_bound_whatever_comes() {
        let one = {
            let mut hold = Hold::new(u64::MAX, u64::MAX).expect("memory");
            second(&mut hold, 1);
            hold.bytes()
        };
        let most = 5 * one;
        let mut hold = Hold::new(u64::MAX, most).expect("memory");
        for now in 1..50 {
            second(&mut hold, now);
            assert!(hold.bytes() <= most, "{} of {most}", hold.bytes());
        }
        assert!(hold.bytes() > most / 2, "{} of {most}", hold.bytes());
        // All of it in one segment: it begins anew with the next one.
        for _ in 0..20 {
            hold.take(&records(50), false).expect("it packs");
            assert!(hold.bytes() <= most);
        }
        assert_eq!(hold.since(), None);
        second(&mut hold, 51);
        assert_eq!(hold.since(), Some(51_000));
        let cut = hold.cut().expect("memory").expect("something");
        assert_eq!((cut.frames.len(), cut.frames[0].fields.records), (2, 1), "what was told is known all the same");
    }
}
