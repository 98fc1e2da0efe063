//! Turns on a CPU: what can be expected of the next one. Writer and reader expect the same from the same turns before,
//! and only what turned out otherwise is told, each in a column of its own; bits say what that is.
//!
//! What is expected: a turn begins when the last one on its CPU ended, and follows whom it followed before; a thread has
//! the waker and the flags of its last turn, stays on its CPU, and where it was preempted its wait began when its last
//! turn ended; who held the CPU when it was queued is who ran until it was switched in, if that turn is longer than the
//! wait.

use numatrace_common::abi::{NO_TID, Slice, slice_flags};

use super::threads::{Ids, Number, Numbering};
use super::varint::{Column, Damaged, put, put_signed};

/// Bits of the column of shapes: each says that something came as expected.
mod as_expected {
    /// The turn began when the last one on this CPU ended.
    pub(super) const START: u8 = 1 << 0;
    /// Who ran before, and for how long.
    pub(super) const PREV: u8 = 1 << 1;
    /// The process, and the number of the record.
    pub(super) const SEQ: u8 = 1 << 2;
    /// Who woke it.
    pub(super) const WAKER: u8 = 1 << 3;
    /// Who held the CPU.
    pub(super) const HOLDER: u8 = 1 << 4;
    /// The CPU of the last turn, and the one where it was queued.
    pub(super) const CPUS: u8 = 1 << 5;
    /// The wait.
    pub(super) const WAIT: u8 = 1 << 6;
    /// The flags.
    pub(super) const FLAGS: u8 = 1 << 7;
}

/// Positions of columns within those of turns.
pub(super) mod column {
    pub(in super::super) const CPU: usize = 0;
    pub(in super::super) const SHAPE: usize = 1;
    pub(in super::super) const FLAGS: usize = 2;
    pub(in super::super) const GAP: usize = 3;
    pub(in super::super) const WAIT: usize = 4;
    pub(in super::super) const PREV: usize = 5;
    pub(in super::super) const PREV_RAN: usize = 6;
    pub(in super::super) const TGID: usize = 7;
    pub(in super::super) const SEQ: usize = 8;
    pub(in super::super) const WAKER: usize = 9;
    pub(in super::super) const HOLDER: usize = 10;
    pub(in super::super) const LAST_CPU: usize = 11;
    pub(in super::super) const QUEUED_CPU: usize = 12;
}

/// Columns of turns.
pub(super) const COLUMNS: usize = 13;

/// The last turn on a CPU.
#[derive(Clone, Copy, Debug, Default)]
struct OnCpu {
    thread: Option<Number>,
    tid: u32,
    slice_ns: u64,
    ended: u64,
}

/// The last turn of a thread.
#[derive(Clone, Copy, Debug)]
struct OfThread {
    ended: u64,
    tgid: u32,
    seq: u32,
    waker: u32,
    holder: u32,
    cpu: u16,
    flags: u16,
    /// Who ran after it.
    next: Option<Number>,
}

impl Default for OfThread {
    fn default() -> Self {
        OfThread { ended: 0, tgid: 0, seq: 0, waker: NO_TID, holder: NO_TID, cpu: 0, flags: 0, next: None }
    }
}

/// The turns so far in a frame, as far as the next one can be expected from them.
#[derive(Debug, Default)]
pub(super) struct Turns {
    cpus: Vec<OnCpu>,
    threads: Vec<OfThread>,
    cpu: u16,
}

/// What is expected once it is known who runs where.
#[derive(Clone, Copy)]
struct Before {
    cpu: OnCpu,
    thread: OfThread,
}

impl Before {
    /// Time between the last turn on this CPU and one that began at `start`.
    #[inline]
    const fn gap(&self, start: u64) -> u64 {
        start.wrapping_sub(self.cpu.ended)
    }

    #[inline]
    fn prev(&self, gap: u64) -> (u32, u32) {
        if gap == 0 { (self.cpu.tid, units_of(self.cpu.slice_ns)) } else { (0, units_of(gap)) }
    }

    #[inline]
    const fn waker(&self, flags: u16) -> u32 {
        match flags & slice_flags::WAIT_MASK {
            slice_flags::WAIT_WAKEUP | slice_flags::WAIT_NEW => self.thread.waker,
            _ => NO_TID,
        }
    }

    #[inline]
    const fn wait(&self, flags: u16, start: u64) -> u64 {
        match flags & slice_flags::WAIT_MASK {
            slice_flags::WAIT_PREEMPTED => start.wrapping_sub(self.thread.ended),
            _ => 0,
        }
    }

    #[inline]
    const fn holder(&self, gap: u64, wait_ns: u64) -> u32 {
        if gap != 0 {
            0
        } else if wait_ns <= self.cpu.slice_ns {
            self.cpu.tid
        } else {
            self.thread.holder
        }
    }
}

/// As in [`Slice::prev_ran`].
#[inline]
fn units_of(ns: u64) -> u32 {
    u32::try_from(ns >> 10).unwrap_or(u32::MAX)
}

impl Turns {
    pub(super) fn clear(&mut self) {
        self.cpus.clear();
        self.threads.clear();
        self.cpu = 0;
    }

    /// Who is expected on this CPU.
    #[inline]
    fn expected(&self, cpu: u16) -> Option<Number> {
        let last = self.cpus.get(usize::from(cpu))?.thread?;
        self.threads.get(last as usize)?.next
    }

    #[inline]
    fn before(&mut self, cpu: u16, thread: Number) -> Before {
        let (at_cpu, at_thread) = (usize::from(cpu), thread as usize);
        if self.cpus.len() <= at_cpu {
            self.cpus.resize(at_cpu + 1, OnCpu::default());
        }
        if self.threads.len() <= at_thread {
            self.threads.resize(at_thread + 1, OfThread::default());
        }
        Before { cpu: self.cpus[at_cpu], thread: self.threads[at_thread] }
    }

    /// `before` was asked for this CPU and this thread.
    #[inline]
    fn note(&mut self, turn: &Slice, thread: Number) {
        let cpu = &mut self.cpus[usize::from(turn.header.cpu)];
        let last = cpu.thread;
        let ended = turn.header.ts;
        *cpu = OnCpu { thread: Some(thread), tid: turn.tid, slice_ns: turn.slice_ns, ended };
        if let Some(last) = last {
            self.threads[last as usize].next = Some(thread);
        }
        let known = &mut self.threads[thread as usize];
        let waker = if turn.waker == NO_TID { known.waker } else { turn.waker };
        let Slice { tgid, seq, holder, flags, .. } = *turn;
        *known = OfThread { ended, tgid, seq, waker, holder, flags, cpu: turn.header.cpu, next: known.next };
        self.cpu = turn.header.cpu;
    }

    /// Tells a turn, its time apart.
    pub(super) fn put(
        &mut self,
        turn: &Slice,
        numbering: &mut Numbering,
        (tids, new_ids): (&mut Vec<u8>, &mut Vec<u8>),
        columns: &mut [Vec<u8>; COLUMNS],
    ) {
        let cpu = turn.header.cpu;
        put_signed(&mut columns[column::CPU], u64::from(cpu).wrapping_sub(self.cpu.into()));
        let thread = numbering.put(turn.tid, self.expected(cpu), tids, new_ids);
        let before = self.before(cpu, thread);
        let start = turn.header.ts.wrapping_sub(turn.slice_ns);
        let gap = before.gap(start);
        let mut shape = 0;
        let mut check = |bit: u8, holds: bool| {
            shape |= if holds { bit } else { 0 };
            holds
        };
        if !check(as_expected::FLAGS, turn.flags == before.thread.flags) {
            put(&mut columns[column::FLAGS], turn.flags.into());
        }
        if !check(as_expected::START, gap == 0) {
            put_signed(&mut columns[column::GAP], gap);
        }
        if !check(as_expected::WAIT, turn.wait_ns == before.wait(turn.flags, start)) {
            put(&mut columns[column::WAIT], turn.wait_ns);
        }
        let (prev, prev_ran) = before.prev(gap);
        if !check(as_expected::PREV, (turn.prev, turn.prev_ran) == (prev, prev_ran)) {
            numbering.put(turn.prev, None, &mut columns[column::PREV], new_ids);
            let more = u64::from(turn.prev_ran).wrapping_sub(prev_ran.into());
            put_signed(&mut columns[column::PREV_RAN], more);
        }
        let next_seq = before.thread.seq.wrapping_add(1);
        if !check(as_expected::SEQ, (turn.tgid, turn.seq) == (before.thread.tgid, next_seq)) {
            put_signed(&mut columns[column::TGID], u64::from(turn.tgid).wrapping_sub(turn.tid.into()));
            put_signed(&mut columns[column::SEQ], u64::from(turn.seq).wrapping_sub(next_seq.into()));
        }
        if !check(as_expected::WAKER, turn.waker == before.waker(turn.flags)) {
            numbering.put(turn.waker, None, &mut columns[column::WAKER], new_ids);
        }
        if !check(as_expected::HOLDER, turn.holder == before.holder(gap, turn.wait_ns)) {
            numbering.put(turn.holder, None, &mut columns[column::HOLDER], new_ids);
        }
        if !check(as_expected::CPUS, (turn.header.cpu2, turn.queued_cpu) == (before.thread.cpu, cpu)) {
            put_signed(&mut columns[column::LAST_CPU], u64::from(turn.header.cpu2).wrapping_sub(cpu.into()));
            put_signed(&mut columns[column::QUEUED_CPU], u64::from(turn.queued_cpu).wrapping_sub(cpu.into()));
        }
        columns[column::SHAPE].push(shape);
        self.note(turn, thread);
    }

    /// The next turn, which ended at `ts`.
    #[inline]
    pub(super) fn get(
        &mut self,
        ts: u64,
        ids: &mut Ids,
        (tids, new_ids): (&mut Column<'_>, &mut Column<'_>),
        columns: &mut [Column<'_>; COLUMNS],
    ) -> Result<Slice, Damaged> {
        let cpu = short(u64::from(self.cpu), columns[column::CPU].signed()?)?;
        let (thread, tid) = ids.get(self.expected(cpu), tids, new_ids)?;
        let before = self.before(cpu, thread);
        let shape = columns[column::SHAPE].byte()?;
        let holds = |bit: u8| shape & bit != 0;
        let flags = if holds(as_expected::FLAGS) { before.thread.flags } else { columns[column::FLAGS].short()? };
        let gap = if holds(as_expected::START) { 0 } else { columns[column::GAP].signed()? };
        let start = before.cpu.ended.wrapping_add(gap);
        let wait_ns =
            if holds(as_expected::WAIT) { before.wait(flags, start) } else { columns[column::WAIT].number()? };
        let (mut prev, mut prev_ran) = before.prev(gap);
        if !holds(as_expected::PREV) {
            prev = ids.get(None, &mut columns[column::PREV], new_ids)?.1;
            prev_ran = word(prev_ran.into(), columns[column::PREV_RAN].signed()?)?;
        }
        let (mut tgid, mut seq) = (before.thread.tgid, before.thread.seq.wrapping_add(1));
        if !holds(as_expected::SEQ) {
            tgid = word(tid.into(), columns[column::TGID].signed()?)?;
            seq = word(seq.into(), columns[column::SEQ].signed()?)?;
        }
        let waker = if holds(as_expected::WAKER) {
            before.waker(flags)
        } else {
            ids.get(None, &mut columns[column::WAKER], new_ids)?.1
        };
        let holder = if holds(as_expected::HOLDER) {
            before.holder(gap, wait_ns)
        } else {
            ids.get(None, &mut columns[column::HOLDER], new_ids)?.1
        };
        let (mut last_cpu, mut queued_cpu) = (before.thread.cpu, cpu);
        if !holds(as_expected::CPUS) {
            last_cpu = short(cpu.into(), columns[column::LAST_CPU].signed()?)?;
            queued_cpu = short(cpu.into(), columns[column::QUEUED_CPU].signed()?)?;
        }
        let slice_ns = ts.wrapping_sub(start);
        let header = Slice::header(ts, cpu, last_cpu);
        let turn =
            Slice { header, wait_ns, slice_ns, tid, tgid, waker, seq, holder, prev, prev_ran, queued_cpu, flags };
        self.note(&turn, thread);
        Ok(turn)
    }
}

#[inline]
fn short(base: u64, difference: u64) -> Result<u16, Damaged> {
    u16::try_from(base.wrapping_add(difference)).map_err(|_| Damaged)
}

#[inline]
fn word(base: u64, difference: u64) -> Result<u32, Damaged> {
    u32::try_from(base.wrapping_add(difference)).map_err(|_| Damaged)
}
