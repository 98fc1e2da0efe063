//! The snapshots that came, so that numbers of the last seconds can be shown, and what was shown can be looked at
//! again. Pure: time is that of the snapshots.
//!
//! Memory is bounded by [`Limits`]. Beyond them points go from the middle, the ones that are missed least for their
//! age, so that what is left reaches back to the start, coarser the older it is. Three always stay: the first, the
//! newest and the one before; and so does what is held. All but the newest are packed ([`Packed`]): for the numbers of a window
//! they are unpacked a thread at a time, and as a whole where they are looked at.

use std::collections::VecDeque;
use std::sync::Arc;

use super::rates::Rates;
use crate::snapshot::{Interval, Latency, Location, Snapshot, Thread, ThreadStats};
use crate::window::{self, Packed};

/// What is kept at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Snapshots.
    pub points: usize,
    /// Bytes of snapshots, as far as that can be estimated.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { points: 600, bytes: 12 << 20 }
    }
}

/// Events that are kept, but for those of the newest interval and of what is looked at: less than 2 MB.
const EVENTS: usize = 16_384;
/// Events that are shown, but for those of the newest interval.
const SHOWN_EVENTS: usize = 2_000;
/// Values of the line of bars that are kept.
const SERIES: usize = 600;
/// Snapshots that are closer together than this (the last one comes right after the one before) are taken as one
/// interval, for rates over less mean nothing.
const MIN_INTERVAL_NS: u64 = 50_000_000;

/// Which stretch of time numbers are about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Window {
    /// From the start of tracing; rates are of the last interval.
    #[default]
    Start,
    /// The last interval.
    Interval,
    /// The last ten seconds.
    TenSeconds,
    /// The last minute.
    Minute,
}

impl Window {
    /// The one after this, round and round.
    pub const fn next(self) -> Window {
        match self {
            Window::Start => Window::Interval,
            Window::Interval => Window::TenSeconds,
            Window::TenSeconds => Window::Minute,
            Window::Minute => Window::Start,
        }
    }

    /// All of them, in the order in which they follow each other.
    pub const ALL: [Window; 4] = [Window::Start, Window::Interval, Window::TenSeconds, Window::Minute];

    /// Its name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Window::Start => "start",
            Window::Interval => "interval",
            Window::TenSeconds => "10s",
            Window::Minute => "1m",
        }
    }

    /// The window that findings are of while this one is shown: of a long run they are about its last minute, for what is
    /// over is no reason to act.
    pub const fn of_findings(self, now_ns: u64) -> Window {
        match (self, Window::Minute.reach_ns()) {
            (Window::Start, Some(reach)) if now_ns > reach => Window::Minute,
            _ => self,
        }
    }

    /// How far back it reaches, where that is a matter of time.
    const fn reach_ns(self) -> Option<u64> {
        match self {
            Window::Start | Window::Interval => None,
            Window::TenSeconds => Some(10_000_000_000),
            Window::Minute => Some(60_000_000_000),
        }
    }
}

/// A snapshot that came.
#[derive(Clone, Debug)]
struct Point {
    /// Its number among all that ever came.
    number: u64,
    kept: Kept,
    bytes: usize,
}

/// The newest one is shown; of the others numbers are taken off, and now and then one is looked at.
#[derive(Clone, Debug)]
enum Kept {
    Whole(Arc<Snapshot>),
    Packed(Box<Packed>),
}

impl Point {
    fn new(number: u64, snapshot: Arc<Snapshot>) -> Point {
        Point { number, bytes: weight(&snapshot), kept: Kept::Whole(snapshot) }
    }

    fn pack(&mut self) {
        if let Kept::Whole(snapshot) = &self.kept {
            let packed = Packed::of(snapshot);
            self.bytes = size_of::<Snapshot>() + lists(&packed.head().totals) + packed.bytes();
            self.kept = Kept::Packed(Box::new(packed));
        }
    }

    /// All but the threads.
    fn head(&self) -> &Snapshot {
        match &self.kept {
            Kept::Whole(snapshot) => snapshot,
            Kept::Packed(packed) => packed.head(),
        }
    }

    fn whole(&self) -> Arc<Snapshot> {
        match &self.kept {
            Kept::Whole(snapshot) => Arc::clone(snapshot),
            Kept::Packed(packed) => Arc::new(packed.whole()),
        }
    }

    fn time(&self) -> u64 {
        self.head().duration_ns
    }

    /// What happened from here up to `now`.
    fn until(&self, now: &Snapshot) -> Snapshot {
        match &self.kept {
            Kept::Whole(snapshot) => window::since(now, snapshot),
            Kept::Packed(packed) => packed.until(now),
        }
    }

    /// The counts of it.
    fn counts_until(&self, now: &Snapshot) -> Packed {
        match &self.kept {
            Kept::Whole(snapshot) => Packed::of(&window::counts_since(now, snapshot)),
            Kept::Packed(packed) => Packed::counts_since(now, packed),
        }
    }
}

/// The numbers of a window, and rates.
#[derive(Clone, Debug)]
pub struct Numbers {
    /// What happened in the window; its duration is that of the window.
    pub numbers: Arc<Snapshot>,
    /// What happened in the stretch of time that rates are over: counts alone, no distributions and no lists.
    pub rates: Rates,
    /// Records a second that the probes wanted to write, last interval.
    pub record_rate: Option<f64>,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct History {
    limits: Limits,
    points: VecDeque<Point>,
    came: u64,
    bytes: usize,
    /// Its first snapshot is not the first one there was.
    continued: bool,
    /// What is looked at.
    held: Option<u64>,
    /// Number of a point, and the 99th percentile of the waits since the one before.
    p99s: VecDeque<(u64, Option<u64>)>,
    /// Intervals with events, oldest first: apart from the snapshots, which share them.
    events: VecDeque<Arc<Interval>>,
    /// End of the first interval whose events were let go, ns.
    events_gone: Option<u64>,
    /// Events up to what is looked at, which stay with it.
    held_events: Vec<Arc<Interval>>,
}

impl History {
    /// A history that keeps at most this.
    pub fn new(limits: Limits) -> History {
        History { limits, ..History::default() }
    }

    /// A history that begins in the middle: what happened before its first snapshot was no interval.
    pub fn continued() -> History {
        History { continued: true, ..History::default() }
    }

    /// Takes a snapshot in. One right after the newest takes its place.
    pub fn push(&mut self, mut next: Arc<Snapshot>) {
        coarsen(&mut next);
        self.gather(&mut next);
        let newest = self.points.back().map(Point::time);
        if newest.is_some_and(|time| next.duration_ns < time.saturating_add(MIN_INTERVAL_NS))
            && let Some(old) = self.points.pop_back()
        {
            self.bytes -= old.bytes;
            self.p99s.pop_back_if(|(number, _)| *number == old.number);
        }
        let waits = &next.totals.runq.all;
        match self.points.back() {
            Some(before) => {
                let waits = window::latency_since(waits, &before.head().totals.runq.all);
                self.p99s.push_back((self.came, p99(&waits)));
            }
            None if self.continued => {}
            None => self.p99s.push_back((self.came, p99(waits))),
        }
        if self.p99s.len() > SERIES {
            self.p99s.pop_front();
        }
        if let Some(before) = self.points.back_mut() {
            self.bytes -= before.bytes;
            before.pack();
            self.bytes += before.bytes;
        }
        let point = Point::new(self.came, next);
        self.bytes += point.bytes;
        self.points.push_back(point);
        self.came += 1;
        while self.points.len() > self.limits.points.max(3) || self.bytes > self.limits.bytes {
            let Some(old) = self.least_missed().and_then(|at| self.points.remove(at)) else { break };
            self.bytes -= old.bytes;
        }
    }

    /// The point whose neighbours are closest together for its age; `None` when none may go.
    fn least_missed(&self) -> Option<usize> {
        let now = self.points.back()?.time();
        let time = |at: usize| self.points[at].time();
        let may_go = |at: &usize| self.held.is_none_or(|held| !self.beside(*at, held));
        let gap = |at: usize| {
            let age = now.saturating_sub(time(at)).max(1);
            (time(at + 1) - time(at - 1)) as f64 / age as f64
        };
        let last = self.points.len().checked_sub(2)?;
        (1..last).filter(may_go).min_by(|a, b| gap(*a).total_cmp(&gap(*b)))
    }

    /// Whether the point at `at` is the one with this number, or the one before it.
    fn beside(&self, at: usize, number: u64) -> bool {
        self.points[at].number == number || self.points.get(at + 1).is_some_and(|next| next.number == number)
    }

    /// Keeps the point with this number, and the one before it, from now on; `None` lets it go.
    pub fn hold(&mut self, number: Option<u64>) {
        if self.held != number {
            self.held_events = number.map(|number| self.events(number)).unwrap_or_default();
            self.held = number;
        }
    }

    /// Takes the events that are new out of a snapshot.
    fn gather(&mut self, next: &mut Arc<Snapshot>) {
        if next.events.is_empty() {
            return;
        }
        let known = self.events.back().map_or(0, |interval| interval.number);
        // No copy where the engine has handed it over.
        let events = std::mem::take(&mut Arc::make_mut(next).events);
        self.events.extend(events.into_iter().filter(|interval| interval.number > known));
        let mut kept: usize = self.events.iter().map(|interval| interval.events.len()).sum();
        while self.events.len() > 1 && kept > EVENTS {
            let Some(oldest) = self.events.pop_front() else { break };
            kept -= oldest.events.len();
            self.events_gone = self.events_gone.or(Some(oldest.end_ns));
        }
    }

    /// Intervals with events up to the point with this number, oldest first: the last ones, 2,000 events or so.
    pub fn events(&self, number: u64) -> Vec<Arc<Interval>> {
        if self.held == Some(number) {
            return self.held_events.clone();
        }
        let Some(time) = self.time(number) else { return Vec::new() };
        // Those before what is looked at can have been let go since.
        let kept = self.events.front().map_or(u64::MAX, |oldest| oldest.number);
        let is_before = self.held.is_some_and(|held| number < held);
        let held = self.held_events.iter().filter(|one| is_before && one.number < kept && one.end_ns <= time);
        let until = self.events.partition_point(|interval| interval.end_ns <= time);
        let mut shown = 0;
        let fits = |interval: &&Arc<Interval>| {
            let first = shown == 0;
            shown += interval.events.len();
            first || shown <= SHOWN_EVENTS
        };
        let mut last: Vec<Arc<Interval>> =
            held.chain(self.events.iter().take(until)).rev().take_while(fits).cloned().collect();
        last.reverse();
        last
    }

    /// Time of the oldest event that is kept, where there were others before the point with this number, ns.
    pub fn events_from(&self, number: u64) -> Option<u64> {
        let (time, gone) = (self.time(number)?, self.events_gone?);
        let oldest = self.events.front()?;
        (gone <= time).then(|| oldest.events.first().map_or(oldest.start_ns, |event| event.time_ns))
    }

    /// Number and time of the newest point.
    pub fn newest(&self) -> Option<(u64, u64)> {
        self.points.back().map(|point| (point.number, point.time()))
    }

    /// The number of the point that is so many points after the one with this number (before it: negative), as far as
    /// there are any.
    pub fn step(&self, number: u64, by: i64) -> Option<u64> {
        let newest = self.points.len().checked_sub(1)?;
        let at = self.position(number)?.saturating_add_signed(by as isize).min(newest);
        self.points.get(at).map(|point| point.number)
    }

    /// Position of the newest point that is not newer than this number; of the oldest where there is none.
    fn position(&self, number: u64) -> Option<usize> {
        let after = self.points.partition_point(|point| point.number <= number);
        (!self.points.is_empty()).then(|| after.saturating_sub(1))
    }

    /// Time of the point with this number, or of the one that is nearest before it.
    pub fn time(&self, number: u64) -> Option<u64> {
        self.points.get(self.position(number)?).map(Point::time)
    }

    /// The numbers of a window that ends at the point with this number.
    pub fn numbers(&self, number: u64, window: Window) -> Option<Numbers> {
        let at = self.position(number)?;
        let now = self.points[at].whole();
        let before = at.checked_sub(1).and_then(|before| self.points.get(before));
        let record_rate = record_rate(&now, before.map(Point::head));
        let base = match window.reach_ns() {
            Some(reach) => self.reaching_back(at, reach),
            None => before,
        };
        let (numbers, rates) = match window {
            Window::Start => {
                let counts = before.map(|before| Rates::Counts(Arc::new(before.counts_until(&now))));
                let rates = counts.unwrap_or_else(|| Rates::Shown(Arc::clone(&now)));
                (now, rates)
            }
            _ => {
                let numbers = base.map_or_else(|| Arc::clone(&now), |base| Arc::new(base.until(&now)));
                (Arc::clone(&numbers), Rates::Shown(numbers))
            }
        };
        Some(Numbers { numbers, rates, record_rate })
    }

    /// The newest point that is at least `reach` older than the one at `at`; `None` where that is before the start.
    fn reaching_back(&self, at: usize, reach: u64) -> Option<&Point> {
        let wanted = self.points[at].time().checked_sub(reach)?;
        let older = self.points.partition_point(|point| point.time() <= wanted);
        // The first one stands for all that is older.
        self.points.get(older.saturating_sub(1)).filter(|_| at > 0)
    }

    /// 99th percentiles of the waits of each interval up to the point with this number, oldest first.
    pub fn p99s(&self, number: u64) -> Vec<Option<u64>> {
        self.p99s.iter().take_while(|(at, _)| *at <= number).map(|(_, p99)| *p99).collect()
    }
}

/// The totals' histograms have thousands of buckets, more than all else in a snapshot: windows make do with buckets of
/// 3 to 6 %, as threads have. The percentiles since the start were taken before and stay.
fn coarsen(snapshot: &mut Arc<Snapshot>) {
    const FEW: usize = 256;
    let runq = &snapshot.totals.runq;
    let all = [&runq.wakeup, &runq.preempted, &runq.all].into_iter().chain(runq.unthrottled.as_deref());
    if all.into_iter().all(|latency| latency.buckets.len() <= FEW) {
        return;
    }
    // No copy where the engine has handed it over.
    let runq = &mut Arc::make_mut(snapshot).totals.runq;
    for latency in
        [&mut runq.wakeup, &mut runq.preempted, &mut runq.all].into_iter().chain(runq.unthrottled.as_deref_mut())
    {
        let mut coarse: Vec<(u64, u64)> = Vec::new();
        for (edge, count) in &latency.buckets {
            // The five leading bits stay.
            let low = edge.checked_ilog2().unwrap_or(0).saturating_sub(4);
            let edge = edge | ((1 << low) - 1);
            match coarse.last_mut() {
                Some((last, sum)) if *last == edge => *sum = sum.saturating_add(count),
                _ => coarse.push((edge, count)),
            }
        }
        latency.buckets = coarse.into();
    }
}

fn record_rate(now: &Snapshot, before: Option<&Snapshot>) -> Option<f64> {
    let (records, time) = before.map_or((0, 0), |before| (before.loss.records_wanted, before.duration_ns));
    let seconds = now.duration_ns.saturating_sub(time) as f64 / 1e9;
    (seconds > 0.0).then(|| now.loss.records_wanted.saturating_sub(records) as f64 / seconds)
}

fn p99(waits: &Latency) -> Option<u64> {
    (waits.max_ns > 0).then_some(waits.p99_ns)
}

/// Bytes of a snapshot, near enough: threads and their lists.
fn weight(snapshot: &Snapshot) -> usize {
    let of = |thread: &Thread| size_of::<Thread>() + lists(&thread.stats) + thread.track.bytes();
    size_of::<Snapshot>() + lists(&snapshot.totals) + snapshot.threads.iter().map(of).sum::<usize>()
}

fn lists(stats: &ThreadStats) -> usize {
    let runq = &stats.runq;
    let all = [&runq.wakeup, &runq.preempted, &runq.all].into_iter().chain(runq.unthrottled.as_deref());
    let packed = all.map(|latency| latency.buckets.bytes()).sum::<usize>() + stats.residency_cpu_ns.bytes();
    let others = size_of_val(&*stats.wakers) + size_of_val(&*stats.waited_behind);
    let cells: usize = stats.touches_by_node.iter().flatten().map(|row| 3 + row.len()).sum();
    let of = |location: &Location| {
        let callers: usize = location.stack.iter().map(|caller| size_of::<String>() + caller.len()).sum();
        size_of::<Location>() + callers
    };
    let locations: usize = stats.locations.iter().flatten().map(of).sum();
    packed + others + 8 * (stats.residency_ns.len() + cells) + locations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Arc<Snapshot> {
        let ns = (seconds * 1e9) as u64;
        let mut snapshot = Snapshot::nothing_yet("pid 1");
        (snapshot.duration_ns, snapshot.totals.cpu_ns) = (ns, ns / 2);
        Arc::new(snapshot)
    }

    /// A snapshot that ends interval number `seconds`, which has so many events, and has those before it too.
    fn with_events(seconds: u64, each: usize) -> Arc<Snapshot> {
        let event = |number: u64| crate::snapshot::Event {
            time_ns: number * 1_000_000_000,
            thread: None,
            born_ns: 0,
            cpu: None,
            what: crate::snapshot::What::Lost { records: 1 },
        };
        let interval = |number: u64| Interval {
            number,
            end_ns: number * 1_000_000_000,
            events: std::iter::repeat_with(|| event(number)).take(each).collect(),
            ..Interval::default()
        };
        let mut snapshot = Snapshot::nothing_yet("pid 1");
        snapshot.duration_ns = seconds * 1_000_000_000;
        snapshot.events =
            (seconds.saturating_sub(3)..=seconds).filter(|n| *n > 0).map(interval).map(Arc::new).collect();
        Arc::new(snapshot)
    }

    #[test]
    fn findings_of_a_long_run_are_of_its_last_minute() {
        let of = |window: Window, seconds: u64| window.of_findings(seconds * 1_000_000_000);
        assert_eq!((of(Window::Start, 60), of(Window::Start, 61)), (Window::Start, Window::Minute));
        for window in [Window::Interval, Window::TenSeconds, Window::Minute] {
            assert_eq!(of(window, 1_000), window);
        }
        let mut history = History::default();
        (1..=200).for_each(|second| history.push(at(f64::from(second))));
        let numbers = history.numbers(199, of(Window::Start, 200)).expect("numbers").numbers;
        assert_eq!(numbers.duration_ns, 60_000_000_000);
    }

    #[test]
    fn events_are_gathered_once_bounded_and_stay_with_what_is_looked_at() {
        let mut history = History::default();
        let numbers = |events: &[Arc<Interval>]| events.iter().map(|one| one.number).collect::<Vec<_>>();
        (1..=6).for_each(|second| history.push(with_events(second, 400)));
        assert!(history.points.iter().all(|point| point.head().events.is_empty()), "they are kept apart");
        assert_eq!(numbers(&history.events(5)), [2, 3, 4, 5, 6]);
        assert_eq!(numbers(&history.events(1)), [1, 2]);
        history.hold(Some(3));
        (7..=200).for_each(|second| history.push(with_events(second, 400)));
        let kept: usize = history.events.iter().map(|interval| interval.events.len()).sum();
        assert!(kept <= EVENTS && kept > EVENTS - 401, "{kept}");
        assert_eq!(numbers(&history.events(3)), [1, 2, 3, 4]);
        // A step back from there has what was kept with it; a step forward has nothing, and says so.
        history.hold(Some(1));
        assert_eq!(numbers(&history.events(1)), [1, 2]);
        history.hold(Some(0));
        assert_eq!((numbers(&history.events(0)), history.events_from(0)), (vec![1], Some(161_000_000_000)));
        history.hold(None);
        assert_eq!((history.events(3), history.events_from(3)), (vec![], Some(161_000_000_000)));
        // One interval is shown, however large.
        history.push(with_events(201, 3_000));
        let (last, _) = history.newest().expect("points");
        assert_eq!(numbers(&history.events(last)), [201]);
    }

    fn seconds(snapshot: &Snapshot) -> f64 {
        snapshot.duration_ns as f64 / 1e9
    }

    fn times(history: &History) -> Vec<u64> {
        history.points.iter().map(|point| point.time() / 1_000_000_000).collect()
    }

    #[test]
    fn windows_end_at_the_point_and_reach_back_as_far_as_they_say() {
        let mut history = History::default();
        assert_eq!((history.newest(), history.numbers(0, Window::Minute).is_none()), (None, true));
        (1..=90).for_each(|second| history.push(at(f64::from(second))));
        let (last, _) = history.newest().expect("points");
        let durations = |number| {
            [Window::Start, Window::Interval, Window::TenSeconds, Window::Minute].map(|window| {
                let found = history.numbers(number, window).expect("points");
                (seconds(&found.numbers), seconds(found.rates.head()))
            })
        };
        assert_eq!(durations(last), [(90.0, 1.0), (1.0, 1.0), (10.0, 10.0), (60.0, 60.0)]);
        // Early on a window is as long as there is time.
        assert_eq!(durations(4), [(5.0, 1.0), (1.0, 1.0), (5.0, 5.0), (5.0, 5.0)]);
        assert_eq!(durations(0), [(1.0, 1.0); 4]);
    }

    #[test]
    fn a_point_right_after_another_takes_its_place() {
        let mut history = History::default();
        [1.0, 2.0, 2.01].into_iter().for_each(|time| history.push(at(time)));
        assert_eq!((history.points.len(), history.p99s.len()), (2, 2));
        assert!((seconds(&history.numbers(2, Window::Interval).expect("points").numbers) - 1.01).abs() < 1e-6);
    }

    #[test]
    fn what_is_kept_reaches_back_to_the_start_coarser_the_older() {
        let mut history = History::new(Limits { points: 60, bytes: usize::MAX });
        (1..=4_000).for_each(|second| history.push(at(f64::from(second))));
        let times = times(&history);
        assert_eq!((times.len(), times[0], times[59]), (60, 1, 4_000));
        let gaps: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps[58] <= 2 && gaps[..20].iter().all(|gap| *gap > 10), "{gaps:?}");
        // A minute can still be told, to within a few seconds.
        let (last, _) = history.newest().expect("points");
        let minute = seconds(&history.numbers(last, Window::Minute).expect("points").numbers);
        assert!((60.0..70.0).contains(&minute), "{minute}");
    }

    #[test]
    fn what_is_looked_at_stays_with_its_interval_and_steps_go_where_there_is_something() {
        let mut history = History::new(Limits { points: 10, bytes: usize::MAX });
        (1..=5).for_each(|second| history.push(at(f64::from(second))));
        history.hold(Some(3));
        (6..=500).for_each(|second| history.push(at(f64::from(second))));
        assert_eq!(history.time(3), Some(4_000_000_000));
        assert_eq!(seconds(&history.numbers(3, Window::Interval).expect("held").numbers), 1.0);
        let back = history.step(3, -1).expect("points");
        assert_eq!(history.time(back), Some(3_000_000_000));
        let forward = history.step(3, 1).expect("points");
        assert!(forward > 3 && history.step(forward, -1) == Some(3));
        assert_eq!(history.step(3, -50).and_then(|first| history.time(first)), Some(1_000_000_000));
        assert_eq!(history.step(3, 50), history.newest().map(|(number, _)| number));
    }

    #[test]
    fn histograms_of_the_totals_are_kept_in_buckets_of_three_percent() {
        let mut fine = Snapshot::nothing_yet("pid 1");
        fine.totals.runq.all.buckets = (1_000..200_000).step_by(7).map(|edge| (edge, 2)).collect();
        (fine.totals.runq.all.p99_ns, fine.totals.runq.all.max_ns) = (123_456, 199_999);
        let before = fine.totals.runq.all.clone();
        let mut history = History::default();
        history.push(Arc::new(fine));
        let all = &history.points[0].head().totals.runq.all;
        let edges: Vec<u64> = all.buckets.iter().map(|(edge, _)| edge).collect();
        assert!((50..256).contains(&edges.len()) && edges.is_sorted(), "{}", edges.len());
        let count = |latency: &Latency| latency.buckets.iter().map(|(_, count)| count).sum::<u64>();
        assert_eq!((count(all), all.p99_ns), (count(&before), 123_456));
        for pair in edges.windows(2) {
            assert!(pair[1] as f64 / pair[0] as f64 <= 1.07, "{pair:?}");
        }
    }

    #[test]
    fn large_snapshots_are_few() {
        let mut history = History::new(Limits { points: 600, bytes: 1 << 20 });
        let mut large = Snapshot::nothing_yet("pid 1");
        large.threads = vec![Thread::default(); (1 << 18) / size_of::<Thread>()];
        for second in 1..60 {
            large.duration_ns = second * 1_000_000_000;
            history.push(Arc::new(large.clone()));
            assert!(history.bytes <= 1 << 20, "{}", history.bytes);
        }
        // The newest takes a quarter of it; those before are packed.
        let packed = history.points[0].bytes;
        assert!(packed < (1 << 18) / 5, "{packed}");
        let room = ((1 << 20) - (1 << 18)) / packed;
        assert!((room - 2..=room + 2).contains(&history.points.len()), "{} of {room}", history.points.len());
        // Three stay however large they are.
        let mut history = History::new(Limits { points: 600, bytes: 1 });
        (1..40).for_each(|second| history.push(at(f64::from(second))));
        assert_eq!(times(&history), [1, 38, 39]);
    }
}
