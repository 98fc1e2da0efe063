//! Turns on a CPU: what can be expected of the next one. Writer and reader expect the same from the same turns before,
//! and only what turned out otherwise is told, each in a column of its own; bits say what that is.
//!
//! What is expected: a turn begins when the last one on its CPU ended, and follows whom it followed before; a thread has
//! the waker and the flags of its last turn, stays on its CPU, and where it was preempted its wait began when its last
//! turn ended; who held the CPU when it was queued is who ran there at that time, as far back as turns are known, and may
//! have woken it.

use numatrace_common::abi::{NO_TID, Slice, slice_flags};

use super::threads::{Ids, Number, Numbering};
use super::varint::{Column, Damaged, SPLIT, put, put_signed, put_signed_split, put_split, split_number, split_signed};

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

/// Columns of turns.
pub(super) const COLUMNS: usize = ONCE + 2 * SPLIT;
const ONCE: usize = 11;

/// The columns of turns, in their order; in a frame come those of `gap`, then those of `wait`, and then the others.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Columns<T> {
    /// Time between the last turn on the CPU and this one.
    pub(super) gap: [T; SPLIT],
    pub(super) wait: [T; SPLIT],
    pub(super) cpu: T,
    pub(super) shape: T,
    pub(super) flags: T,
    pub(super) prev: T,
    pub(super) prev_ran: T,
    pub(super) tgid: T,
    pub(super) seq: T,
    pub(super) waker: T,
    pub(super) holder: T,
    pub(super) last_cpu: T,
    pub(super) queued_cpu: T,
}

impl<T> Columns<T> {
    /// All of them in order.
    pub(super) fn all(&self) -> impl Iterator<Item = &T> {
        let Columns { gap, wait, cpu, shape, flags, prev, prev_ran, tgid, seq, waker, holder, last_cpu, queued_cpu } =
            self;
        let once = [cpu, shape, flags, prev, prev_ran, tgid, seq, waker, holder, last_cpu, queued_cpu];
        gap.iter().chain(wait).chain(once)
    }

    /// All of them in order.
    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let Columns { gap, wait, cpu, shape, flags, prev, prev_ran, tgid, seq, waker, holder, last_cpu, queued_cpu } =
            self;
        let once: [&mut T; ONCE] = [cpu, shape, flags, prev, prev_ran, tgid, seq, waker, holder, last_cpu, queued_cpu];
        gap.iter_mut().chain(wait).chain(once)
    }
}

/// Turns on a CPU that are known.
const KNOWN: usize = 64;
/// CPUs that are told apart: beyond, some are taken for one, and less comes as expected.
const CPUS: usize = 1024;

/// A turn on a CPU.
#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    ended: u64,
    tid: u32,
    thread: Number,
}

/// The last turns on a CPU.
#[derive(Clone, Debug)]
struct OnCpu {
    /// The one with the number `n` is at `n % KNOWN`.
    turns: [Turn; KNOWN],
    /// How many there were.
    count: usize,
    /// How long the last one was.
    slice_ns: u64,
}

impl OnCpu {
    const NONE: OnCpu = OnCpu { turns: [Turn { ended: 0, tid: 0, thread: 0 }; KNOWN], count: 0, slice_ns: 0 };

    #[inline]
    fn last(&self) -> Turn {
        self.turns[self.count.wrapping_sub(1) % KNOWN]
    }

    #[inline]
    fn push(&mut self, turn: Turn, slice_ns: u64) {
        self.turns[self.count % KNOWN] = turn;
        self.count = self.count.wrapping_add(1);
        self.slice_ns = slice_ns;
    }

    /// The first of the known turns that ended after this time, where the last one did.
    #[inline]
    fn at(&self, ts: u64) -> Option<Turn> {
        let mut found = None;
        for back in 1..=self.count.min(KNOWN) {
            let turn = self.turns[(self.count - back) % KNOWN];
            if turn.ended <= ts {
                break;
            }
            found = Some(turn);
        }
        found
    }
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
    last: Turn,
    last_slice_ns: u64,
    thread: OfThread,
}

impl Before {
    #[inline]
    const fn prev(&self, gap: u64) -> (u32, u32) {
        if gap == 0 { (self.last.tid, units_of(self.last_slice_ns)) } else { (0, 0) }
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
    fn holder(&self, gap: u64, then: Option<Turn>) -> u32 {
        match then {
            Some(turn) => turn.tid,
            None if gap != 0 => 0,
            None => self.thread.holder,
        }
    }
}

#[inline]
fn place(cpu: u16) -> usize {
    usize::from(cpu) % CPUS
}

/// As in [`Slice::prev_ran`].
#[inline]
const fn units_of(ns: u64) -> u32 {
    let units = ns >> 10;
    if units > u32::MAX as u64 { u32::MAX } else { units as u32 }
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
        let on_cpu = self.cpus.get(place(cpu)).filter(|on_cpu| on_cpu.count > 0)?;
        self.threads.get(on_cpu.last().thread as usize)?.next
    }

    #[inline]
    fn before(&mut self, cpu: u16, thread: Number) -> Before {
        let (at_cpu, at_thread) = (place(cpu), thread as usize);
        if self.cpus.len() <= at_cpu {
            self.cpus.resize(at_cpu + 1, OnCpu::NONE);
        }
        if self.threads.len() <= at_thread {
            self.threads.resize(at_thread + 1, OfThread::default());
        }
        let on_cpu = &self.cpus[at_cpu];
        Before { last: on_cpu.last(), last_slice_ns: on_cpu.slice_ns, thread: self.threads[at_thread] }
    }

    /// `before` was asked for this CPU and this thread.
    #[inline]
    fn note(&mut self, turn: &Slice, thread: Number) {
        let on_cpu = &mut self.cpus[place(turn.header.cpu)];
        if on_cpu.count > 0 {
            self.threads[on_cpu.last().thread as usize].next = Some(thread);
        }
        let ended = turn.header.ts;
        on_cpu.push(Turn { ended, tid: turn.tid, thread }, turn.slice_ns);
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
        columns: &mut Columns<Vec<u8>>,
    ) {
        let cpu = turn.header.cpu;
        put_signed(&mut columns.cpu, u64::from(cpu).wrapping_sub(self.cpu.into()));
        let thread = numbering.put(turn.tid, self.expected(cpu), tids, new_ids);
        let before = self.before(cpu, thread);
        let start = turn.header.ts.wrapping_sub(turn.slice_ns);
        let gap = start.wrapping_sub(before.last.ended);
        let mut shape = 0;
        let mut check = |bit: u8, holds: bool| {
            shape |= if holds { bit } else { 0 };
            holds
        };
        if !check(as_expected::FLAGS, turn.flags == before.thread.flags) {
            put(&mut columns.flags, turn.flags.into());
        }
        if !check(as_expected::START, gap == 0) {
            put_signed_split(&mut columns.gap, gap);
        }
        if !check(as_expected::WAIT, turn.wait_ns == before.wait(turn.flags, start)) {
            put_split(&mut columns.wait, turn.wait_ns);
        }
        let then = self.cpus[place(cpu)].at(start.wrapping_sub(turn.wait_ns));
        let (prev, prev_ran) = before.prev(gap);
        if !check(as_expected::PREV, (turn.prev, turn.prev_ran) == (prev, prev_ran)) {
            numbering.put(turn.prev, None, &mut columns.prev, new_ids);
            let more = u64::from(turn.prev_ran).wrapping_sub(prev_ran.into());
            put_signed(&mut columns.prev_ran, more);
        }
        let next_seq = before.thread.seq.wrapping_add(1);
        if !check(as_expected::SEQ, (turn.tgid, turn.seq) == (before.thread.tgid, next_seq)) {
            put_signed(&mut columns.tgid, u64::from(turn.tgid).wrapping_sub(turn.tid.into()));
            put_signed(&mut columns.seq, u64::from(turn.seq).wrapping_sub(next_seq.into()));
        }
        if !check(as_expected::WAKER, turn.waker == before.waker(turn.flags)) {
            numbering.put(turn.waker, then.map(|turn| turn.thread), &mut columns.waker, new_ids);
        }
        if !check(as_expected::HOLDER, turn.holder == before.holder(gap, then)) {
            numbering.put(turn.holder, None, &mut columns.holder, new_ids);
        }
        if !check(as_expected::CPUS, (turn.header.cpu2, turn.queued_cpu) == (before.thread.cpu, cpu)) {
            put_signed(&mut columns.last_cpu, u64::from(turn.header.cpu2).wrapping_sub(cpu.into()));
            put_signed(&mut columns.queued_cpu, u64::from(turn.queued_cpu).wrapping_sub(cpu.into()));
        }
        columns.shape.push(shape);
        self.note(turn, thread);
    }

    /// The next turn, which ended at `ts`.
    #[inline]
    pub(super) fn get(
        &mut self,
        ts: u64,
        ids: &mut Ids,
        (tids, new_ids): (&mut Column<'_>, &mut Column<'_>),
        columns: &mut Columns<Column<'_>>,
    ) -> Result<Slice, Damaged> {
        let cpu = short(u64::from(self.cpu), columns.cpu.signed()?)?;
        let (thread, tid) = ids.get(self.expected(cpu), tids, new_ids)?;
        let before = self.before(cpu, thread);
        let shape = columns.shape.byte()?;
        let holds = |bit: u8| shape & bit != 0;
        let flags = if holds(as_expected::FLAGS) { before.thread.flags } else { columns.flags.short()? };
        let gap = if holds(as_expected::START) { 0 } else { split_signed(&mut columns.gap)? };
        let start = before.last.ended.wrapping_add(gap);
        let wait_ns =
            if holds(as_expected::WAIT) { before.wait(flags, start) } else { split_number(&mut columns.wait)? };
        let then = self.cpus[place(cpu)].at(start.wrapping_sub(wait_ns));
        let (mut prev, mut prev_ran) = before.prev(gap);
        if !holds(as_expected::PREV) {
            prev = ids.get(None, &mut columns.prev, new_ids)?.1;
            prev_ran = word(prev_ran.into(), columns.prev_ran.signed()?)?;
        }
        let (mut tgid, mut seq) = (before.thread.tgid, before.thread.seq.wrapping_add(1));
        if !holds(as_expected::SEQ) {
            tgid = word(tid.into(), columns.tgid.signed()?)?;
            seq = word(seq.into(), columns.seq.signed()?)?;
        }
        let waker = if holds(as_expected::WAKER) {
            before.waker(flags)
        } else {
            ids.get(then.map(|turn| turn.thread), &mut columns.waker, new_ids)?.1
        };
        let holder = if holds(as_expected::HOLDER) {
            before.holder(gap, then)
        } else {
            ids.get(None, &mut columns.holder, new_ids)?.1
        };
        let (mut last_cpu, mut queued_cpu) = (before.thread.cpu, cpu);
        if !holds(as_expected::CPUS) {
            last_cpu = short(cpu.into(), columns.last_cpu.signed()?)?;
            queued_cpu = short(cpu.into(), columns.queued_cpu.signed()?)?;
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
