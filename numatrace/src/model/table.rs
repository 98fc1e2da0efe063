//! Which thread a record speaks of: thread ids are reused, records come late, and memory is bounded.
//!
//! A thread id leads to the entry of the thread that has it now. When the id gets a new owner (another start time,
//! or a record from after the death of the old one) the old entry stays among the ended ones, found by time. Ended
//! entries are evicted oldest first; their numbers go into [`Table::gone`].

use std::collections::VecDeque;

use numatrace_common::abi::{Task, task_event};
use numatrace_common::wait::phase;

use super::names::Comm;
use super::numbers::{Cpus, Numbers};
use super::slots::Slots;
use super::thread::{End, Tracked};
use crate::units::TidMap;

/// All threads.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    by_tid: TidMap<u32>,
    slots: Slots,
    free: Vec<u32>,
    /// Ended, oldest first.
    ended: VecDeque<u32>,
    /// Dead by their last turn; the EXIT record has not come yet.
    dying: Vec<(u32, u32)>,
    live: usize,
    max_live: usize,
    max_ended: usize,
    /// When tracing began.
    start_ns: u64,
    /// Numbers of evicted threads.
    pub(super) gone: Numbers,
    /// How many those are.
    pub(super) dropped: u64,
    /// Threads that found no place.
    pub(super) refused: u64,
}

impl Table {
    pub(super) fn new(max_live: usize, max_ended: usize, start_ns: u64) -> Table {
        Table { max_live, max_ended, start_ns, ..Table::default() }
    }

    /// Everybody, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Tracked> {
        self.slots.iter()
    }

    /// Everybody who has not ended, in no order.
    pub(super) fn iter_live(&mut self) -> impl Iterator<Item = &mut Tracked> {
        self.slots.iter_mut().filter(|thread| thread.end.is_none())
    }

    /// The thread that had this id at `ts` and has it still; nobody is made.
    pub(super) fn living(&mut self, tid: u32, ts: u64) -> Option<&mut Tracked> {
        let slot = *self.by_tid.get(&tid)?;
        self.slot(slot).filter(|thread| thread.end.is_none() && thread.born_ns <= ts)
    }

    /// The same, whenever it got the id.
    pub(super) fn living_now(&mut self, tid: u32) -> Option<&mut Tracked> {
        self.living(tid, u64::MAX)
    }

    /// The thread that has this id now.
    pub(super) fn current(&self, tid: u32) -> Option<&Tracked> {
        self.slots.get(*self.by_tid.get(&tid)?)
    }

    /// The thread that had this id at `ts`, made when it is new; `None` when there is no place for it.
    #[inline]
    pub(super) fn at(&mut self, tid: u32, tgid: u32, ts: u64) -> Option<&mut Tracked> {
        let slot = match self.by_tid.get(&tid) {
            Some(&slot) if self.slots.get(slot).is_some_and(Tracked::is_plain) => slot,
            found => {
                let found = found.copied();
                self.find(found, tid, tgid, ts)?
            }
        };
        self.slots.get_mut(slot)
    }

    /// As [`Table::at`], for records that also come right after a thread's last turn: until its EXIT record came,
    /// they are the dead one's.
    pub(super) fn last_words(&mut self, tid: u32, tgid: u32, ts: u64) -> Option<&mut Tracked> {
        match self.by_tid.get(&tid).copied() {
            Some(slot) if self.slots.get(slot).is_some_and(|thread| thread.end.is_some() && !thread.listed) => {
                self.slot(slot)
            }
            _ => self.at(tid, tgid, ts),
        }
    }

    /// The thread that touched pages before `ts`: user space reads of it when a tick comes, when it may have ended. `start_ns`
    /// tells owners of an id apart; 0 where it is not known. `None` where it is not kept any more, or never was: what comes
    /// after a thread's end must not make one.
    pub(super) fn touching(&mut self, tid: u32, tgid: u32, start_ns: u64) -> Option<&mut Tracked> {
        let is_it = |thread: &Tracked| {
            thread.tgid == tgid && (start_ns == 0 || thread.start_ns == 0 || thread.start_ns == start_ns)
        };
        let slot = *self.by_tid.get(&tid)?;
        if self.slots.get(slot).is_some_and(is_it) {
            return self.slot(slot);
        }
        // One that had the id before, as far as it is kept.
        self.slots.iter_mut().find(|thread| thread.tid == tid && is_it(thread))
    }

    /// The rare cases of [`Table::at`].
    #[cold]
    fn find(&mut self, found: Option<u32>, tid: u32, tgid: u32, ts: u64) -> Option<u32> {
        let Some(slot) = found else { return self.insert(tid, tgid, ts) };
        let thread = self.slot(slot)?;
        match thread.end {
            Some((End::Exited, at)) if ts > at => {
                self.retire(slot);
                let new = self.insert(tid, tgid, ts)?;
                self.slot(new)?.reused = true;
                Some(new)
            }
            _ if thread.reused && ts < thread.born_ns => self.older(tid, slot),
            _ => Some(slot),
        }
    }

    /// The newest ended thread that had this id before `current` got it.
    fn older(&self, tid: u32, current: u32) -> Option<u32> {
        let had_it = |slot: &&u32| **slot != current && self.slots.get(**slot).is_some_and(|thread| thread.tid == tid);
        self.ended.iter().rev().find(had_it).copied()
    }

    fn slot(&mut self, slot: u32) -> Option<&mut Tracked> {
        self.slots.get_mut(slot)
    }

    fn insert(&mut self, tid: u32, tgid: u32, ts: u64) -> Option<u32> {
        if self.live >= self.max_live {
            return None;
        }
        let thread = Tracked::new(tid, tgid, ts, self.start_ns);
        let slot = match self.free.pop() {
            Some(slot) => self.slots.put(slot, thread).then_some(slot)?,
            None => self.slots.push(thread)?,
        };
        self.by_tid.insert(tid, slot);
        self.live += 1;
        Some(slot)
    }

    /// A thread's last turn was seen: if its EXIT record is lost, it ends two ticks later.
    pub(super) fn note_dead(&mut self, tid: u32) {
        if let Some(&slot) = self.by_tid.get(&tid) {
            self.dying.push((slot, tid));
        }
    }

    /// Puts an entry among the ended ones, and evicts the oldest of them.
    fn retire(&mut self, slot: u32) {
        match self.slot(slot) {
            Some(thread) if !thread.listed => thread.listed = true,
            _ => return,
        }
        self.live = self.live.saturating_sub(1);
        self.ended.push_back(slot);
        while self.ended.len() > self.max_ended {
            let Some(oldest) = self.ended.pop_front() else { return };
            self.evict(oldest);
        }
    }

    fn evict(&mut self, slot: u32) {
        let Some(thread) = self.slots.take(slot) else { return };
        thread.numbers.merge_into(&mut self.gone);
        self.dropped += 1;
        if self.by_tid.get(&thread.tid) == Some(&slot) {
            self.by_tid.remove(&thread.tid);
        }
        self.free.push(slot);
    }

    /// Time passes: threads that died before the tick before this one, and whose EXIT record must have been lost,
    /// are put among the ended ones.
    pub(super) fn tick(&mut self, before: u64) {
        let mut dying = std::mem::take(&mut self.dying);
        dying.retain(|&(slot, tid)| match self.slot(slot) {
            Some(thread) if thread.tid == tid && !thread.listed => match thread.end {
                Some((End::Exited, at)) if at < before => {
                    self.retire(slot);
                    false
                }
                Some(_) => true,
                None => false,
            },
            _ => false,
        });
        self.dying = dying;
    }

    /// A record of a thread's life.
    pub(super) fn task(&mut self, record: &Task, machine: &mut Cpus) {
        let ts = record.header.ts;
        match record.event {
            task_event::SEEN | task_event::NEW => self.born(record),
            task_event::EXEC => self.exec(record),
            task_event::RENAME => {
                if let Some(thread) = self.at(record.tid, record.tgid, ts) {
                    introduce(thread, record);
                }
            }
            task_event::EXIT => self.exit(record),
            task_event::UNTRACKED => self.untrack(record, machine),
            _ => {}
        }
    }

    fn exit(&mut self, record: &Task) {
        let ts = record.header.ts;
        let Some(thread) = self.last_words(record.tid, record.tgid, ts) else { return };
        if thread.comm.shown().is_empty() {
            introduce(thread, record);
        }
        // Otherwise it is a late record of the id's earlier owner, who has ended.
        if !thread.listed {
            thread.ended(End::Exited, ts);
            self.retire_current(record.tid);
        }
    }

    fn untrack(&mut self, record: &Task, machine: &mut Cpus) {
        let ts = record.header.ts;
        let Some(thread) = self.at(record.tid, record.tgid, ts) else { return };
        if thread.end.is_none() {
            thread.untracked(ts, machine);
            self.retire_current(record.tid);
        }
    }

    fn retire_current(&mut self, tid: u32) {
        if let Some(&slot) = self.by_tid.get(&tid) {
            self.retire(slot);
        }
    }

    /// A program was changed. After an exec by a thread that was not the leader, the leader's id, whose owner has
    /// ended, belongs to that thread, which is running.
    fn exec(&mut self, record: &Task) {
        if let Some(thread) = self.at(record.tid, record.tgid, record.header.ts) {
            thread.begins(phase::RUNNING, record.header.ts);
            introduce(thread, record);
        }
    }

    fn born(&mut self, record: &Task) {
        let ts = record.header.ts;
        let Some(&slot) = self.by_tid.get(&record.tid) else { return self.insert_born(record, false) };
        let Some(thread) = self.slot(slot) else { return };
        let owner = owner(thread, record);
        match owner {
            Owner::Same => {
                if matches!(thread.end, Some((End::Untracked, _))) {
                    thread.tracked_again();
                    thread.listed = false;
                    self.ended.retain(|ended| *ended != slot);
                    self.live += 1;
                }
                if let Some(thread) = self.slot(slot) {
                    introduce(thread, record);
                }
            }
            Owner::Earlier => {}
            Owner::Next => {
                if thread.end.is_none() {
                    thread.ended(End::Exited, ts);
                }
                self.retire(slot);
                self.insert_born(record, true);
            }
        }
    }

    fn insert_born(&mut self, record: &Task, reused: bool) {
        let ts = record.header.ts;
        let Some(slot) = self.insert(record.tid, record.tgid, ts) else {
            self.refused += 1;
            return;
        };
        if let Some(thread) = self.slot(slot) {
            thread.reused = reused;
            introduce(thread, record);
            if record.event == task_event::NEW {
                // As the probe seeds it: not runnable until its first wakeup.
                thread.begins(phase::BLOCKED, ts);
            }
        }
    }
}

/// Whom a SEEN or NEW record speaks of, beside the thread that has the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// The same thread.
    Same,
    /// One that had the id before.
    Earlier,
    /// One that has the id from now on.
    Next,
}

fn owner(thread: &Tracked, record: &Task) -> Owner {
    let ts = record.header.ts;
    let known = thread.start_ns != 0 && record.start_ns != 0;
    match thread.end {
        // The same start time does not make a dead thread live: exec hands it on from the leader.
        Some((End::Exited, at)) if ts > at => Owner::Next,
        Some((End::Untracked, _)) if known && thread.start_ns == record.start_ns => Owner::Same,
        _ if known && thread.start_ns == record.start_ns => Owner::Same,
        _ if known && ts < thread.born_ns => Owner::Earlier,
        _ if known => Owner::Next,
        // Start times are not known. Of a live id, NEW is a birth that came after the records of an earlier owner,
        // unless those records came before their own NEW.
        None if record.event == task_event::NEW && ts > thread.born_ns => Owner::Next,
        _ => Owner::Same,
    }
}

/// Takes over what a record says about who the thread is.
fn introduce(thread: &mut Tracked, record: &Task) {
    thread.tgid = record.tgid;
    if record.start_ns != 0 && record.event != task_event::EXIT {
        thread.start_ns = record.start_ns;
    }
    thread.comm = Comm::new(record.comm);
}
