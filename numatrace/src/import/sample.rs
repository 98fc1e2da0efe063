//! Where the parts of a sample lie, and the parts that other records end with: both follow from `sample_type`
//! (`PERF_RECORD_SAMPLE` and `struct sample_id` in include/uapi/linux/perf_event.h).

use super::bytes::{u32_at, u64_at};
use super::header::Attr;

/// Bits of `sample_type`.
mod bit {
    pub(super) const IP: u64 = 1 << 0;
    pub(super) const TID: u64 = 1 << 1;
    pub(super) const TIME: u64 = 1 << 2;
    pub(super) const ADDR: u64 = 1 << 3;
    pub(super) const READ: u64 = 1 << 4;
    pub(super) const CALLCHAIN: u64 = 1 << 5;
    pub(super) const ID: u64 = 1 << 6;
    pub(super) const CPU: u64 = 1 << 7;
    pub(super) const PERIOD: u64 = 1 << 8;
    pub(super) const STREAM_ID: u64 = 1 << 9;
    pub(super) const RAW: u64 = 1 << 10;
    pub(super) const IDENTIFIER: u64 = 1 << 16;
}

/// Bits of `read_format`.
mod read {
    pub(super) const GROUP: u64 = 1 << 3;
    /// Once for all: for how long the event was enabled and running.
    pub(super) const TIMES: [u64; 2] = [1 << 0, 1 << 1];
    /// With each value: its id, and how many samples are lost.
    pub(super) const WITH_VALUE: [u64; 2] = [1 << 2, 1 << 4];
}

/// In a sample these come first, in this order, 8 bytes each.
const FIXED: [u64; 9] =
    [bit::IDENTIFIER, bit::IP, bit::TID, bit::TIME, bit::ADDR, bit::ID, bit::STREAM_ID, bit::CPU, bit::PERIOD];
/// Other records end with these.
const TRAILER: [u64; 6] = [bit::TID, bit::TIME, bit::ID, bit::STREAM_ID, bit::CPU, bit::IDENTIFIER];

/// What is in a record beside what it is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Common {
    /// The process of the thread that was current; all ones when it has ended.
    pub(super) tgid: u32,
    pub(super) tid: u32,
    pub(super) time: u64,
    pub(super) cpu: u16,
}

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Layout {
    sample_type: u64,
    read_format: u64,
    tid: usize,
    time: usize,
    cpu: usize,
    /// Behind all that have a fixed place.
    rest: usize,
}

impl Layout {
    /// Of an event's samples. An error names what they lack.
    pub(super) fn of(attr: &Attr) -> Result<Layout, &'static str> {
        let has = attr.sample_type;
        let place = |of: u64| {
            let before = FIXED.iter().take_while(|bit| **bit != of).filter(|bit| has & **bit != 0).count();
            before * 8
        };
        for (bit, what) in [
            (bit::TID, "thread ids"),
            (bit::TIME, "times"),
            (bit::CPU, "CPUs"),
            (bit::RAW, "the fields of their tracepoints"),
        ] {
            if has & bit == 0 {
                return Err(what);
            }
        }
        Ok(Layout {
            sample_type: has,
            read_format: attr.read_format,
            tid: place(bit::TID),
            time: place(bit::TIME),
            cpu: place(bit::CPU),
            rest: place(0),
        })
    }

    /// Ids of events stand first in a sample.
    pub(super) const fn begins_with_id(&self) -> bool {
        self.sample_type & bit::IDENTIFIER != 0
    }

    /// What a sample says, and the bytes of its tracepoint.
    #[inline]
    pub(super) fn sample<'a>(&self, body: &'a [u8]) -> Option<(Common, &'a [u8])> {
        let mut at = self.rest;
        if self.sample_type & bit::READ != 0 {
            at = self.behind_values(body, at)?;
        }
        if self.sample_type & bit::CALLCHAIN != 0 {
            let callers = usize::try_from(u64_at(body, at)?).ok()?;
            at = callers.checked_mul(8)?.checked_add(at)?.checked_add(8)?;
        }
        let length = u32_at(body, at)? as usize;
        let raw = body.get(at.checked_add(4)?..)?.get(..length)?;
        Some((Common::read(body, self.tid, self.time, self.cpu)?, raw))
    }

    fn behind_values(&self, body: &[u8], at: usize) -> Option<usize> {
        let has = |bits: &[u64]| bits.iter().filter(|bit| self.read_format & **bit != 0).count();
        let (times, with_value) = (has(&read::TIMES), has(&read::WITH_VALUE));
        let words = if self.read_format & read::GROUP != 0 {
            let values = usize::try_from(u64_at(body, at)?).ok()?;
            values.checked_mul(1 + with_value)?.checked_add(1 + times)?
        } else {
            1 + times + with_value
        };
        words.checked_mul(8)?.checked_add(at)
    }
}

impl Common {
    #[inline]
    fn read(body: &[u8], tid: usize, time: usize, cpu: usize) -> Option<Common> {
        Some(Common {
            tgid: u32_at(body, tid)?,
            tid: u32_at(body, tid + 4)?,
            time: u64_at(body, time)?,
            // A CPU beyond 16 bits is none that a record can hold.
            cpu: u16::try_from(u32_at(body, cpu)?).ok()?,
        })
    }

    /// Of a record that is no sample; `None` where it does not tell.
    pub(super) fn at_end(attr: &Attr, body: &[u8]) -> Option<Common> {
        let has = attr.sample_type;
        if !attr.sample_id_all() || has & bit::TID == 0 || has & bit::TIME == 0 || has & bit::CPU == 0 {
            return None;
        }
        let words = |bits: &[u64]| bits.iter().filter(|bit| has & **bit != 0).count() * 8;
        let start = body.len().checked_sub(words(&TRAILER))?;
        Common::read(body, start, start + words(&TRAILER[..1]), start + words(&TRAILER[..4]))
    }
}
