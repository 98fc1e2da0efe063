//! What has to be known of a run that is recorded and not looked at: whom to ask the system about, and how much was lost.
//! Much less than a [`Model`](crate::model::Model), and much cheaper: a bit and a comparison for each thread that a turn
//! names.
//!
//! Memory: 1 MB for bits by thread id, and 40 bytes for each target that lives, up to [`MOST_TARGETS`].

use std::collections::VecDeque;

use numatrace_common::abi::{Counters, NO_TID, Slice, Task, Totals, slice_flags, task_event};

use crate::decode::Event;
use crate::units::TidMap;

/// Targets that are asked about; the kernel side has no place for more.
const MOST_TARGETS: usize = 131_072;
/// Threads whose names are to be looked up.
const MOST_UNNAMED: usize = 16_384;
/// Thread ids are smaller than this (`PID_MAX_LIMIT`).
const IDS: usize = 1 << 22;

/// A set of thread ids.
#[derive(Debug)]
struct Ids(Vec<u64>);

impl Default for Ids {
    fn default() -> Self {
        Ids(vec![0; IDS / 64])
    }
}

impl Ids {
    #[inline]
    fn has(&self, tid: u32) -> bool {
        self.0.get(tid as usize / 64).is_some_and(|word| word >> (tid % 64) & 1 != 0)
    }

    #[inline]
    fn set(&mut self, tid: u32, is_in: bool) {
        if let Some(word) = self.0.get_mut(tid as usize / 64) {
            *word = *word & !(1 << (tid % 64)) | u64::from(is_in) << (tid % 64);
        }
    }
}

/// A target that lives.
#[derive(Clone, Copy, Debug)]
struct Target {
    born_ns: u64,
    /// When it was asked about last, in rounds: attributes, cgroup.
    asked: [u32; 2],
}

/// How much came and how much did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Time from the start to the last tick, ns.
    pub duration_ns: u64,
    /// Records that the probes wanted to write.
    pub wanted: u64,
    /// Of these, how many are lost.
    pub lost: u64,
    /// Threads that could not be tracked, at most at one time.
    pub refused: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Roster {
    start_ns: u64,
    now_ns: u64,
    targets: TidMap<Target>,
    is_target: Ids,
    /// Its name is known, or was asked for.
    is_named: Ids,
    unnamed: VecDeque<u32>,
    rounds: u32,
    tally: Tally,
    undecodable: u64,
}

impl Roster {
    /// Knows nobody yet.
    pub fn new(start_ns: u64) -> Roster {
        Roster { start_ns, now_ns: start_ns, ..Roster::default() }
    }

    /// Takes in one event.
    #[inline]
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Slice(turn) => self.turn(turn),
            Event::Totals(totals) => self.totals(totals),
            Event::Task(task) => self.task(task),
            Event::Tick(tick) => {
                self.now_ns = self.now_ns.max(tick.header.ts);
                self.tally.duration_ns = self.now_ns - self.start_ns;
            }
            Event::Counters(counters) => self.counters(counters),
            _ => {}
        }
    }

    #[inline]
    fn turn(&mut self, turn: &Slice) {
        if turn.flags & slice_flags::OUT_DEAD != 0 {
            return self.forget(turn.tid);
        }
        self.target(turn.tid, turn.header.ts);
        [turn.waker, turn.holder, turn.prev].into_iter().for_each(|tid| self.spoken_of(tid));
    }

    fn totals(&mut self, totals: &Totals) {
        [totals.waker, totals.holder, totals.prev].into_iter().for_each(|tid| self.spoken_of(tid));
    }

    fn task(&mut self, task: &Task) {
        self.is_named.set(task.tid, true);
        match task.event {
            task_event::NAME => {}
            task_event::EXIT | task_event::UNTRACKED => self.forget(task.tid),
            event => {
                if event == task_event::NEW {
                    // Another owner of the id.
                    self.forget(task.tid);
                }
                self.target(task.tid, task.header.ts);
            }
        }
    }

    fn counters(&mut self, counters: &Counters) {
        let lost = counters.lost_ring_full.saturating_add(counters.lost_no_ring);
        self.tally.wanted = self.tally.wanted.max(counters.wanted);
        self.tally.lost = self.tally.lost.max(lost.saturating_add(self.undecodable));
        self.tally.refused = self.tally.refused.max(counters.tasks_refused);
    }

    #[inline]
    fn target(&mut self, tid: u32, ts: u64) {
        if !self.is_target.has(tid) && self.targets.len() < MOST_TARGETS {
            self.is_target.set(tid, true);
            self.targets.insert(tid, Target { born_ns: ts, asked: [0; 2] });
        }
    }

    fn forget(&mut self, tid: u32) {
        self.is_target.set(tid, false);
        self.targets.remove(&tid);
    }

    #[inline]
    fn spoken_of(&mut self, tid: u32) {
        if tid != 0 && tid != NO_TID && !self.is_named.has(tid) && self.unnamed.len() < MOST_UNNAMED {
            self.is_named.set(tid, true);
            self.unnamed.push_back(tid);
        }
    }

    /// Counts records that arrived but could not be decoded.
    pub fn note_undecodable(&mut self, records: u64) {
        self.undecodable = self.undecodable.saturating_add(records);
    }

    /// Time of the last tick, ns of `CLOCK_MONOTONIC`.
    pub const fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// How much came so far.
    pub const fn tally(&self) -> Tally {
        self.tally
    }

    /// At most `max` threads that were spoken of and whose names are not known. Each is told once.
    pub fn unnamed(&mut self, max: usize) -> Vec<u32> {
        self.unnamed.drain(..max.min(self.unnamed.len())).collect()
    }

    /// At most `max` targets whose attributes were asked for longest ago.
    pub fn attributes_due(&mut self, max: usize) -> Vec<u32> {
        self.due(max, 0).into_iter().map(|(tid, _)| tid).collect()
    }

    /// As [`Roster::attributes_due`], for cgroups; also when each was first heard of, which tells owners of an id apart.
    pub fn cgroups_due(&mut self, max: usize) -> Vec<(u32, u64)> {
        self.due(max, 1)
    }

    fn due(&mut self, max: usize, question: usize) -> Vec<(u32, u64)> {
        self.rounds = self.rounds.saturating_add(1);
        let mut due: Vec<(u32, &mut Target)> = self.targets.iter_mut().map(|(tid, target)| (*tid, target)).collect();
        if due.len() > max {
            due.select_nth_unstable_by_key(max, |(_, target)| target.asked[question]);
            due.truncate(max);
        }
        due.iter_mut().for_each(|(_, target)| target.asked[question] = self.rounds);
        due.into_iter().map(|(tid, target)| (tid, target.born_ns)).collect()
    }
}

#[cfg(test)]
mod tests {
    use numatrace_common::abi::Tick;

    use super::*;

    fn task(tid: u32, event: u16, ts: u64) -> Event {
        Event::Task(Task { header: Task::header(ts, 0, 0), tid, event, ..Task::default() })
    }

    fn turn(tid: u32, flags: u16, [waker, holder, prev]: [u32; 3]) -> Event {
        let header = Slice::header(900, 0, 0);
        Event::Slice(Slice { header, tid, flags, waker, holder, prev, ..Slice::default() })
    }

    #[test]
    fn names_are_asked_for_once_and_not_of_targets() {
        let mut roster = Roster::new(100);
        roster.apply(&task(1, task_event::SEEN, 200));
        roster.apply(&task(2, task_event::NAME, 200));
        roster.apply(&turn(1, 0, [1, 2, 30]));
        roster.apply(&turn(1, 0, [NO_TID, 0, 31]));
        roster.apply(&turn(1, 0, [30, 31, u32::MAX - 1]));
        assert_eq!(
            (roster.unnamed(1), roster.unnamed(9), roster.unnamed(9)),
            (vec![30], vec![31, u32::MAX - 1], vec![])
        );
    }

    #[test]
    fn each_target_has_its_turn_and_the_dead_have_none() {
        let mut roster = Roster::new(100);
        (1..=10).for_each(|tid| roster.apply(&task(tid, task_event::NEW, 200 + u64::from(tid))));
        let mut asked: Vec<u32> = (0..5).flat_map(|_| roster.attributes_due(2)).collect();
        asked.sort_unstable();
        assert_eq!(asked, (1..=10).collect::<Vec<_>>());
        roster.apply(&task(4, task_event::EXIT, 300));
        roster.apply(&turn(5, slice_flags::OUT_DEAD, [0; 3]));
        // The next owner, and one whose birth was lost.
        roster.apply(&task(5, task_event::NEW, 400));
        roster.apply(&turn(77, 0, [0; 3]));
        let mut due = roster.cgroups_due(99);
        due.sort_unstable();
        let born = |tid: u32| (tid, 200 + u64::from(tid));
        assert_eq!(due, [born(1), born(2), born(3), (5, 400), born(6), born(7), born(8), born(9), born(10), (77, 900)]);
    }

    #[test]
    fn what_was_lost_is_known() {
        let mut roster = Roster::new(100);
        let counters =
            Counters { wanted: 50, lost_ring_full: 3, lost_no_ring: 1, tasks_refused: 2, ..Counters::default() };
        roster.note_undecodable(5);
        roster.apply(&Event::Counters(counters));
        roster.apply(&Event::Tick(Tick { header: Tick::header(700, 0, 0), wall_ns: 0 }));
        assert_eq!(roster.tally(), Tally { duration_ns: 600, wanted: 50, lost: 9, refused: 2 });
        assert_eq!(roster.now_ns(), 700);
    }
}
