//! Events that are worth a line of their own: of each interval between two ticks the longest waits, some of all migrations
//! and of all threads that came and went, what was lost. Place in the flow: records in, [`Interval`]s out, which snapshots
//! share.
//!
//! An event costs a count and a comparison, and where it is kept a store into a list that has been allocated before: threads
//! are ids until the interval ends. Nothing depends on when snapshots are made, so that a replay tells the same events.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use numatrace_common::abi::{self, Migrate, NO_CPU, NO_TID, Slice, Task, task_event};
use numatrace_common::cause::Cause;

use super::Model;
use crate::snapshot::{Event, Interval, MAX_EVENTS, Seen, What, Who};
use crate::units::{Tid, TidMap};

/// The longest waits of an interval.
const WAITS: usize = 256;
/// Migrations between nodes.
const CROSS_NODE: usize = 96;
/// Other migrations.
const MIGRATIONS: usize = 32;
/// Threads that came, went or changed.
const LIVES: usize = 64;
/// Gaps of sources.
const GAPS: usize = 31;
/// Places with the most remote page touches.
const PLACES: usize = 16;
const _: () = assert!(WAITS + CROSS_NODE + MIGRATIONS + LIVES + GAPS + PLACES + 1 == MAX_EVENTS);

/// Events that are kept beyond their interval, but for those of the newest one.
const RECENT_EVENTS: usize = 2_048;
/// Intervals with events that are kept.
const RECENT: usize = 256;

/// The greatest so many of all that come. Of equal ones the first stays.
#[derive(Clone, Debug)]
struct Greatest<T: Ord> {
    most: usize,
    heap: BinaryHeap<Reverse<(u64, T)>>,
    /// Only greater ones come in.
    least: u64,
}

impl<T: Ord> Default for Greatest<T> {
    fn default() -> Self {
        Greatest { most: 0, heap: BinaryHeap::new(), least: u64::MAX }
    }
}

impl<T: Ord> Greatest<T> {
    fn new(most: usize) -> Greatest<T> {
        Greatest { most, heap: BinaryHeap::with_capacity(most), least: 0 }
    }

    #[inline]
    fn offer(&mut self, weight: u64, one: impl FnOnce() -> T) {
        if weight > self.least {
            self.admit(weight, one());
        }
    }

    #[cold]
    fn admit(&mut self, weight: u64, one: T) {
        if self.heap.len() < self.most {
            self.heap.push(Reverse((weight, one)));
        } else if let Some(mut lightest) = self.heap.peek_mut() {
            *lightest = Reverse((weight, one));
        }
        if self.heap.len() >= self.most {
            self.least = self.heap.peek().map_or(0, |Reverse((weight, _))| *weight);
        }
    }

    fn drain(&mut self) -> impl Iterator<Item = (u64, T)> {
        self.least = 0;
        self.heap.drain().map(|Reverse(kept)| kept)
    }
}

/// Some of all that come, evenly over all of them: the first few, then every second, fourth, and so on.
#[derive(Clone, Debug)]
struct Spread<T> {
    most: usize,
    kept: Vec<T>,
    seen: u64,
    /// Every so many-th is kept: a power of two.
    stride: u64,
}

impl<T> Default for Spread<T> {
    fn default() -> Self {
        Spread { most: 0, kept: Vec::new(), seen: 0, stride: 1 }
    }
}

impl<T> Spread<T> {
    fn new(most: usize) -> Spread<T> {
        Spread { most, kept: Vec::with_capacity(most), seen: 0, stride: 1 }
    }

    #[inline]
    fn offer(&mut self, one: impl FnOnce() -> T) {
        if self.seen & (self.stride - 1) == 0 {
            self.admit(one());
        }
        self.seen += 1;
    }

    fn admit(&mut self, one: T) {
        if self.kept.len() >= self.most {
            let mut nth = 0;
            self.kept.retain(|_| {
                nth += 1;
                nth % 2 == 1
            });
            self.stride *= 2;
            if self.seen & (self.stride - 1) != 0 {
                return;
            }
        }
        self.kept.push(one);
    }

    /// How many there were, and those that are kept.
    fn drain(&mut self) -> (u64, impl Iterator<Item = T>) {
        self.stride = 1;
        (std::mem::take(&mut self.seen), self.kept.drain(..))
    }
}

/// A wait, as its record told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Wait {
    ended: u64,
    tid: u32,
    waker: u32,
    behind: u32,
    cpu: u16,
    preempted: bool,
}

#[derive(Clone, Copy, Debug)]
struct Move {
    ts: u64,
    tid: u32,
    from: u16,
    to: u16,
    cause: u16,
}

#[derive(Clone, Copy, Debug)]
struct Life {
    ts: u64,
    tid: u32,
    cpu: u16,
    event: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    ts: u64,
    tid: u32,
    mapping: u32,
    symbol: u32,
    local: u64,
}

/// See the module. The default has no room for anything.
#[derive(Clone, Debug, Default)]
pub(super) struct Notable {
    waits: Greatest<Wait>,
    waits_seen: u64,
    cross_node: Spread<Move>,
    migrations: Spread<Move>,
    lives: Spread<Life>,
    gaps: Spread<(u64, u64, u16)>,
    places: Greatest<Place>,
    places_seen: u64,
    /// Ticks so far.
    number: u64,
    /// Intervals that are over and in which something happened, oldest first.
    recent: VecDeque<Arc<Interval>>,
}

impl Notable {
    pub(super) fn new() -> Notable {
        Notable {
            waits: Greatest::new(WAITS),
            waits_seen: 0,
            cross_node: Spread::new(CROSS_NODE),
            migrations: Spread::new(MIGRATIONS),
            lives: Spread::new(LIVES),
            gaps: Spread::new(GAPS),
            places: Greatest::new(PLACES),
            places_seen: 0,
            number: 0,
            recent: VecDeque::new(),
        }
    }

    /// A turn that a wait led to.
    #[inline]
    pub(super) fn wait(&mut self, turn: &Slice, preempted: bool, times: u64) {
        self.waits_seen += times;
        self.waits.offer(turn.wait_ns, || Wait {
            ended: turn.header.ts.saturating_sub(turn.slice_ns),
            tid: turn.tid,
            waker: turn.waker,
            behind: behind(turn),
            cpu: turn.header.cpu,
            preempted,
        });
    }

    #[inline]
    pub(super) fn migrate(&mut self, migrate: &Migrate, cross_node: bool) {
        let of_kind = if cross_node { &mut self.cross_node } else { &mut self.migrations };
        of_kind.offer(|| Move {
            ts: migrate.header.ts,
            tid: migrate.tid,
            from: migrate.header.cpu,
            to: migrate.header.cpu2,
            cause: migrate.cause,
        });
    }

    pub(super) fn task(&mut self, task: &Task) {
        let (ts, tid, cpu, event) = (task.header.ts, task.tid, task.header.cpu, task.event);
        if matches!(event, task_event::NEW | task_event::EXEC | task_event::EXIT | task_event::UNTRACKED) {
            self.lives.offer(|| Life { ts, tid, cpu, event });
        }
    }

    pub(super) fn gap(&mut self, gap: &abi::Gap) {
        self.gaps.offer(|| (gap.end_ns, gap.end_ns.saturating_sub(gap.start_ns), gap.header.cpu));
    }

    pub(super) fn place(&mut self, place: &abi::Where) {
        self.places_seen += 1;
        self.places.offer(place.remote, || Place {
            ts: place.header.ts,
            tid: place.tid,
            mapping: place.mapping,
            symbol: place.symbol,
            local: place.local,
        });
    }

    /// Intervals with events, oldest first.
    pub(super) fn recent(&self) -> Vec<Arc<Interval>> {
        self.recent.iter().cloned().collect()
    }

    fn keep(&mut self, interval: Interval) {
        if interval.events.is_empty() {
            return;
        }
        self.recent.push_back(Arc::new(interval));
        let mut events: usize = self.recent.iter().map(|interval| interval.events.len()).sum();
        while self.recent.len() > 1 && (self.recent.len() > RECENT || events > RECENT_EVENTS) {
            events -= self.recent.pop_front().map_or(0, |oldest| oldest.events.len());
        }
    }
}

/// Who is to blame for most of a wait, by the rule of [`super::numbers::Numbers::spread`]; [`NO_TID`] where it is nobody.
fn behind(turn: &Slice) -> u32 {
    let named = |tid: u32| tid != NO_TID && tid != turn.tid;
    let last = u64::from(turn.prev_ran) << 10;
    let of_holder = named(turn.holder) && (!named(turn.prev) || turn.wait_ns > last.saturating_mul(2));
    match () {
        () if of_holder => turn.holder,
        () if named(turn.prev) => turn.prev,
        () => NO_TID,
    }
}

/// Each name is made once an interval.
#[derive(Default)]
struct Known {
    by_tid: TidMap<(Arc<str>, u64)>,
}

impl Known {
    fn who(&mut self, tid: u32, model: &Model) -> (Who, u64) {
        let look_up = || {
            let born = model.table.current(tid).map_or(0, |thread| thread.born_ns);
            (model.name_of(tid).unwrap_or_default().into(), born)
        };
        let (name, born) = self.by_tid.entry(tid).or_insert_with(look_up);
        (Who { tid: Tid(tid), name: Arc::clone(name) }, *born)
    }

    fn other(&mut self, tid: u32, model: &Model) -> Option<Who> {
        (tid != NO_TID).then(|| self.who(tid, model).0)
    }

    fn event(&mut self, ts: u64, tid: u32, cpu: u16, what: What, model: &Model) -> Event {
        let (who, born_ns) = self.who(tid, model);
        let time_ns = ts.saturating_sub(model.meta.start_ns);
        let cpu = (cpu != NO_CPU).then_some(u32::from(cpu));
        Event { time_ns, thread: Some(who), born_ns, cpu, what }
    }
}

impl Model {
    /// The interval up to this tick is over; so many records were lost in it.
    pub(super) fn close_interval(&mut self, lost: u64) {
        // Apart, since the rest of the model is read meanwhile.
        let mut notable = std::mem::take(&mut self.notable);
        let interval = self.interval(&mut notable, lost);
        notable.keep(interval);
        self.notable = notable;
    }

    fn interval(&self, notable: &mut Notable, lost: u64) -> Interval {
        notable.number += 1;
        let since = |ts: u64| ts.saturating_sub(self.meta.start_ns);
        let mut known = Known::default();
        let mut events = Vec::new();
        for (ns, wait) in notable.waits.drain() {
            let (waker, behind) = (known.other(wait.waker, self), known.other(wait.behind, self));
            let what = What::Wait { ns, preempted: wait.preempted, waker, behind };
            events.push(known.event(wait.ended, wait.tid, wait.cpu, what, self));
        }
        let mut moved = |moves: &mut Spread<Move>, cross_node| {
            let (seen, kept) = moves.drain();
            events.extend(kept.map(|one| {
                let cause = Cause::from_number(one.cause);
                let what = What::Migration { from: u32::from(one.from), cross_node, cause };
                known.event(one.ts, one.tid, one.to, what, self)
            }));
            seen
        };
        let cross_node = moved(&mut notable.cross_node, true);
        let migrations = moved(&mut notable.migrations, false);
        let (lives, kept) = notable.lives.drain();
        events.extend(kept.map(|life| {
            let what = match life.event {
                task_event::NEW => What::Started,
                task_event::EXEC => What::Exec,
                task_event::EXIT => What::Exited,
                _ => What::Untracked,
            };
            known.event(life.ts, life.tid, life.cpu, what, self)
        }));
        for (remote, place) in notable.places.drain() {
            if let (Some(mapping), Some(symbol)) = (self.words.get(place.mapping), self.words.get(place.symbol)) {
                let (mapping, symbol) = (Arc::clone(mapping), Arc::clone(symbol));
                let what = What::Touched { mapping, symbol, local: place.local, remote };
                events.push(known.event(place.ts, place.tid, NO_CPU, what, self));
            }
        }
        let nobodys = |ts, cpu, what| Event { time_ns: since(ts), thread: None, born_ns: 0, cpu, what };
        let (gaps, kept) = notable.gaps.drain();
        events.extend(kept.map(|(end, ns, cpu)| nobodys(end, Some(u32::from(cpu)), What::Gap { ns })));
        if lost > 0 {
            events.push(nobodys(self.now_ns, None, What::Lost { records: lost }));
        }
        events.sort_by_key(|event| (event.time_ns, event.thread.as_ref().map(|who| who.tid)));
        let seen = Seen {
            waits: std::mem::take(&mut notable.waits_seen),
            cross_node,
            migrations,
            lives,
            gaps,
            losses: u64::from(lost > 0),
            places: std::mem::take(&mut notable.places_seen),
        };
        Interval { number: notable.number, start_ns: since(self.before_ns), end_ns: since(self.now_ns), seen, events }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{model, slice, task, tick};
    use super::*;
    use crate::decode::Event as Record;
    use crate::model::Limits;
    use numatrace_common::abi::{Counters, slice_flags};

    /// A wait of thread 7 that ended at `at`.
    fn waited(seq: u32, at: u64, wait_ns: u64) -> Record {
        let prev_ran = u32::try_from(wait_ns >> 10).unwrap_or(u32::MAX);
        Record::Slice(Slice { wait_ns, waker: 0, prev: 99, prev_ran, ..slice(seq, at + 30) })
    }

    #[test]
    fn of_an_interval_the_longest_waits_are_told_in_order_of_time_with_how_many_there_were() {
        let mut model = model(Limits::default());
        for n in 0..1_000u32 {
            model.apply(&waited(n + 1, 2_000 + u64::from(n), 5_000 + u64::from(n * 7 % 1_000)));
        }
        model.apply(&tick(10_000));
        let [interval] = &model.snapshot().events[..] else { panic!("one interval") };
        assert_eq!((interval.number, interval.seen.waits, interval.events.len()), (1, 1_000, WAITS));
        assert!(interval.events.is_sorted_by_key(|event| event.time_ns));
        let shortest = interval.events.iter().filter_map(|event| match event.what {
            What::Wait { ns, .. } => Some(ns),
            _ => None,
        });
        assert_eq!(shortest.min(), Some(6_000 - WAITS as u64));
        let first = &interval.events[0];
        assert!(
            first.time_ns >= 1_000 && first.cpu == Some(0) && first.thread.as_ref().is_some_and(|who| who.tid.0 == 7)
        );
        let What::Wait { preempted: false, waker: Some(waker), behind: Some(behind), .. } = &first.what else {
            panic!("{first:?}")
        };
        assert_eq!((waker.tid.0, &*waker.name, behind.tid.0, &*behind.name), (0, "idle", 99, ""));
        // Nothing happened: nothing is told, and what was told stays.
        model.apply(&tick(20_000));
        assert_eq!(model.snapshot().events.len(), 1);
    }

    #[test]
    fn everything_else_has_its_share_and_losses_and_gaps_are_told() {
        let mut model = model(Limits::default());
        for n in 0..500u32 {
            model.apply(&task(task_event::NEW, 100 + n, 2_000 + u64::from(n), 1));
            let (header, tid, seq) = (Migrate::header(3_000 + u64::from(n), 0, 1), 7, n + 1);
            model.apply(&Record::Migrate(Migrate { header, tid, tgid: 7, seq, cause: 1, ..Migrate::default() }));
        }
        model.apply(&task(task_event::SEEN, 9, 2_500, 1));
        let gap = abi::Gap { header: abi::Gap::header(4_000, 1, 0), start_ns: 3_500, end_ns: 4_000 };
        model.apply(&Record::Gap(gap));
        model.apply(&Record::Counters(Counters {
            header: Counters::header(5_000, 0, 0),
            wanted: 9,
            lost_ring_full: 3,
            ..Counters::default()
        }));
        model.apply(&tick(5_000));
        let [interval] = &model.snapshot().events[..] else { panic!("one interval") };
        let seen = Seen { migrations: 500, lives: 500, gaps: 1, losses: 1, ..Seen::default() };
        assert_eq!((interval.seen, interval.seen.total()), (seen, 1_002));
        let count = |is: fn(&What) -> bool| interval.events.iter().filter(|event| is(&event.what)).count();
        let moved = count(|what| matches!(what, What::Migration { from: 0, cause: Cause::LoadBalance, .. }));
        assert!((MIGRATIONS / 2..=MIGRATIONS).contains(&moved), "{moved}");
        assert!((LIVES / 2..=LIVES).contains(&count(|what| *what == What::Started)));
        assert_eq!(count(|what| *what == What::Lost { records: 3 }), 1);
        assert_eq!(count(|what| *what == What::Gap { ns: 500 }), 1);
        assert!(interval.events.len() <= MAX_EVENTS);
    }

    #[test]
    fn what_is_kept_is_bounded_and_does_not_depend_on_when_it_is_looked_at() {
        let (mut looked_at, mut left_alone) = (model(Limits::default()), model(Limits::default()));
        let mut at = 2_000;
        for round in 0..600u64 {
            // Many in the first rounds, then one each.
            for n in 0..(if round < 20 { 200 } else { 1 }) {
                at += 10;
                let mut turn = slice((round * 1_000 + n + 1) as u32, at + 30);
                (turn.wait_ns, turn.flags) = (n * 31 % 177 + 1, slice_flags::WAIT_PREEMPTED);
                looked_at.apply(&Record::Slice(turn));
                left_alone.apply(&Record::Slice(turn));
            }
            at += 1_000;
            looked_at.apply(&tick(at));
            left_alone.apply(&tick(at));
            let kept: usize = looked_at.snapshot().events.iter().map(|interval| interval.events.len()).sum();
            assert!(kept <= RECENT_EVENTS && looked_at.snapshot().events.len() <= RECENT);
        }
        let events = looked_at.snapshot().events;
        assert_eq!((events.len(), events.last().map(|last| last.number)), (RECENT, Some(600)));
        assert_eq!(events, left_alone.snapshot().events);
    }

    #[test]
    fn the_greatest_stay_whatever_the_order_and_of_equal_ones_the_first() {
        let mut greatest = Greatest::new(4);
        for n in 0..1_000u64 {
            // Each of 0 to 99 ten times.
            greatest.offer(n * 37 % 100, || n);
        }
        let mut kept: Vec<(u64, u64)> = greatest.drain().collect();
        kept.sort_unstable();
        let of_99: Vec<u64> = (0..1_000u64).filter(|n| n * 37 % 100 == 99).take(4).collect();
        assert_eq!(kept, of_99.iter().map(|n| (99, *n)).collect::<Vec<_>>());
        greatest.offer(0, || 1);
        greatest.offer(1, || 2);
        assert_eq!(greatest.drain().collect::<Vec<_>>(), [(1, 2)]);
    }

    #[test]
    fn a_spread_is_even_bounded_and_begins_anew() {
        let mut spread = Spread::new(32);
        for n in 0..10_000u64 {
            spread.offer(|| n);
        }
        let (seen, kept) = spread.drain();
        let kept: Vec<u64> = kept.collect();
        assert_eq!(seen, 10_000);
        assert!((16..=32).contains(&kept.len()), "{}", kept.len());
        let gaps: Vec<u64> = kept.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(kept[0] == 0 && gaps.iter().all(|gap| *gap == gaps[0]), "{kept:?}");
        for n in 0..5u64 {
            spread.offer(|| n);
        }
        assert_eq!(spread.drain().1.collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    }
}
