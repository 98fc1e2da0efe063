//! The snapshots that came, so that numbers of the last seconds can be shown, and what was shown can be looked at
//! again. Pure: time is that of the snapshots.
//!
//! Memory: at most [`MAX_POINTS`] snapshots, and of large ones as many as fit into [`MAX_BYTES`], but three at least.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::snapshot::{Latency, Snapshot, Thread, ThreadStats};
use crate::window;

/// Most snapshots that are kept: ten minutes at one a second.
const MAX_POINTS: usize = 600;
/// Most bytes of snapshots, as far as that can be estimated.
const MAX_BYTES: usize = 12 << 20;
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
    snapshot: Arc<Snapshot>,
    bytes: usize,
    /// 99th percentile of the waits since the point before.
    p99_ns: Option<u64>,
}

/// The numbers of a window, and rates.
#[derive(Clone, Debug)]
pub struct Numbers {
    /// What happened in the window; its duration is that of the window.
    pub numbers: Arc<Snapshot>,
    /// What happened in the stretch of time that rates are over.
    pub rates: Arc<Snapshot>,
    /// Records a second that the probes wanted to write, last interval.
    pub record_rate: Option<f64>,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct History {
    points: VecDeque<Point>,
    /// Number of the first point among all that ever came.
    first: u64,
    bytes: usize,
}

impl History {
    /// Takes a snapshot in. One right after the newest takes its place.
    pub fn push(&mut self, next: Arc<Snapshot>) {
        let replaces = self
            .points
            .back()
            .is_some_and(|newest| next.duration_ns < newest.snapshot.duration_ns.saturating_add(MIN_INTERVAL_NS));
        if replaces && let Some(old) = self.points.pop_back() {
            self.bytes -= old.bytes;
        }
        let p99_ns = match self.points.back() {
            Some(before) => p99(&window::latency_since(&next.totals.runq.all, &before.snapshot.totals.runq.all)),
            None => p99(&next.totals.runq.all),
        };
        let bytes = weight(&next);
        self.bytes += bytes;
        self.points.push_back(Point { snapshot: next, bytes, p99_ns });
        while self.points.len() > MAX_POINTS || (self.bytes > MAX_BYTES && self.points.len() > 3) {
            let Some(old) = self.points.pop_front() else { break };
            self.bytes -= old.bytes;
            self.first += 1;
        }
    }

    /// Numbers of the oldest and the newest point; `None` before the first one.
    pub fn range(&self) -> Option<(u64, u64)> {
        let last = self.first + self.points.len().checked_sub(1)? as u64;
        Some((self.first, last))
    }

    fn position(&self, number: u64) -> Option<usize> {
        let newest = self.points.len().checked_sub(1)?;
        Some((number.saturating_sub(self.first) as usize).min(newest))
    }

    /// The snapshot with this number, or the one nearest to it.
    pub fn at(&self, number: u64) -> Option<&Arc<Snapshot>> {
        self.points.get(self.position(number)?).map(|point| &point.snapshot)
    }

    /// The numbers of a window that ends at the point with this number.
    pub fn numbers(&self, number: u64, window: Window) -> Option<Numbers> {
        let at = self.position(number)?;
        let now = &self.points[at].snapshot;
        let before = at.checked_sub(1).and_then(|before| self.points.get(before)).map(|before| &before.snapshot);
        let interval = match before {
            Some(before) => Arc::new(window::since(now, before)),
            None => Arc::clone(now),
        };
        let old = before.map_or((0, 0), |before| (before.loss.records_wanted, before.duration_ns));
        let seconds = now.duration_ns.saturating_sub(old.1) as f64 / 1e9;
        let records = now.loss.records_wanted.saturating_sub(old.0) as f64;
        let record_rate = (seconds > 0.0).then(|| records / seconds);
        let numbers = match (window, window.reach_ns()) {
            (Window::Start, _) => return Some(Numbers { numbers: Arc::clone(now), rates: interval, record_rate }),
            (_, None) => interval,
            (_, Some(reach)) => match self.reaching_back(at, reach) {
                Some(before) => Arc::new(window::since(now, before)),
                None => Arc::clone(now),
            },
        };
        Some(Numbers { rates: Arc::clone(&numbers), numbers, record_rate })
    }

    /// The newest point that is at least `reach` older than the one at `at`; the oldest where none is, unless it
    /// is from the start anyway.
    fn reaching_back(&self, at: usize, reach: u64) -> Option<&Snapshot> {
        let wanted = self.points[at].snapshot.duration_ns.checked_sub(reach)?;
        let older = self.points.iter().take(at);
        let found = older.clone().rev().find(|point| point.snapshot.duration_ns <= wanted);
        found.or(self.points.front().filter(|_| at > 0)).map(|point| &*point.snapshot)
    }

    /// 99th percentiles of the waits of each interval up to the point with this number, oldest first, at most `most`.
    pub fn p99s(&self, number: u64, most: usize) -> Vec<Option<u64>> {
        let Some(at) = self.position(number) else { return Vec::new() };
        self.points.iter().take(at + 1).skip((at + 1).saturating_sub(most)).map(|point| point.p99_ns).collect()
    }
}

fn p99(waits: &Latency) -> Option<u64> {
    (waits.max_ns > 0).then_some(waits.p99_ns)
}

/// Bytes of a snapshot, near enough: threads and their lists.
fn weight(snapshot: &Snapshot) -> usize {
    let threads: usize = snapshot.threads.iter().map(|thread| size_of::<Thread>() + lists(&thread.stats)).sum();
    size_of::<Snapshot>() + lists(&snapshot.totals) + threads
}

fn lists(stats: &ThreadStats) -> usize {
    let runq = &stats.runq;
    let buckets = runq.wakeup.buckets.len() + runq.preempted.buckets.len() + runq.all.buckets.len();
    let pairs = buckets + stats.residency_cpu_ns.len() + 3 * (stats.wakers.len() + stats.waited_behind.len());
    16 * pairs + 8 * stats.residency_ns.len() + 128
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

    fn seconds(snapshot: &Snapshot) -> f64 {
        snapshot.duration_ns as f64 / 1e9
    }

    #[test]
    fn windows_end_at_the_point_and_reach_back_as_far_as_they_say() {
        let mut history = History::default();
        assert_eq!((history.range(), history.numbers(0, Window::Minute).is_none()), (None, true));
        (1..=90).for_each(|second| history.push(at(f64::from(second))));
        let (_, last) = history.range().expect("points");
        let durations = |number| {
            [Window::Start, Window::Interval, Window::TenSeconds, Window::Minute].map(|window| {
                let found = history.numbers(number, window).expect("points");
                (seconds(&found.numbers), seconds(&found.rates))
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
        assert_eq!(history.range(), Some((0, 1)));
        assert!((seconds(&history.numbers(1, Window::Interval).expect("points").numbers) - 1.01).abs() < 1e-6);
    }

    #[test]
    fn what_is_kept_is_bounded_and_numbers_stay_those_of_the_point() {
        let mut history = History::default();
        (1..=2_000).for_each(|second| history.push(at(f64::from(second))));
        let (first, last) = history.range().expect("points");
        assert_eq!((last, last - first + 1), (1_999, MAX_POINTS as u64));
        assert_eq!(seconds(history.at(last - 5).expect("a point")), 1_995.0);
        // One that is gone: the oldest there is.
        assert_eq!(seconds(history.at(3).expect("a point")), first as f64 + 1.0);

        let mut large = Snapshot::nothing_yet("pid 1");
        large.threads = vec![Thread::default(); MAX_BYTES / 2 / size_of::<Thread>()];
        for second in 1..20 {
            large.duration_ns = second * 1_000_000_000;
            history.push(Arc::new(large.clone()));
        }
        assert!(history.bytes <= 4 * MAX_BYTES && history.points.len() >= 3, "{}", history.points.len());
    }
}
