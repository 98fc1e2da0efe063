//! Counters: what happened between two ticks, as steps. A value stands from the start of its interval on, so that the step
//! covers the interval it tells of.
//!
//! A percentile of no waits and a share of no touches are no numbers: such an interval has no value, and in Perfetto, which
//! knows no gaps in counters, the one before it goes on. The counters of how many there were tell these intervals apart.

use hdrhistogram::Histogram;
use numatrace_common::abi::{NO_NODE, Slice, Touches, slice_flags, touch};

use super::packets::Packets;
use super::schema::{TYPE_COUNTER, UNIT_TIME_NS};
use super::tracks::{Tracks, counter, describe, push_description, track};
use crate::model::Meta;

/// Longest wait with a bucket of its own, as in the model: 137 s.
const LONGEST_NS: u64 = 1 << 37;

/// What is counted: position, name, unit.
const P99: Of = Of(0, "run-queue latency, p99", Unit::Ns);
const MAX: Of = Of(1, "run-queue latency, longest", Unit::Ns);
const WAITS: Of = Of(2, "waits that ended", Unit::PerSecond);
const MIGRATIONS: Of = Of(3, "migrations", Unit::PerSecond);
const CROSS_NODE: Of = Of(4, "cross-node migrations", Unit::PerSecond);
const THROTTLED: Of = Of(5, "throttled waiting", Unit::MsPerSecond);
const TOUCHES: Of = Of(6, "page touches", Unit::PerSecond);
const REMOTE: Of = Of(7, "remote share of page touches", Unit::Percent);

/// One counter.
#[derive(Clone, Copy, Debug)]
struct Of(u64, &'static str, Unit);

#[derive(Clone, Copy, Debug)]
enum Unit {
    Ns,
    PerSecond,
    MsPerSecond,
    Percent,
}

/// See the module.
pub(super) struct Counters {
    begun_ns: u64,
    throttled: bool,
    touches: bool,
    nodes: usize,
    /// `None` where there is no memory for it.
    waits: Option<Histogram<u64>>,
    now: Interval,
}

/// What is counted until the next tick.
#[derive(Clone, Copy, Debug, Default)]
struct Interval {
    waits: u64,
    longest_ns: u64,
    throttled_ns: u64,
    migrations: u64,
    cross_node: u64,
    local: u64,
    remote: u64,
    touches: u64,
}

impl Counters {
    pub(super) fn new(meta: &Meta, nodes: usize) -> Counters {
        Counters {
            begun_ns: meta.start_ns,
            throttled: meta.waits.throttled,
            touches: meta.pages.touches,
            nodes,
            // The bounds are constants that hdrhistogram accepts.
            waits: Histogram::new_with_bounds(1, LONGEST_NS, 3).ok(),
            now: Interval::default(),
        }
    }

    fn all(&self) -> impl Iterator<Item = Of> {
        let throttled = self.throttled.then_some(THROTTLED);
        let touches = self.touches.then_some([TOUCHES, REMOTE]);
        [P99, MAX, WAITS, MIGRATIONS, CROSS_NODE].into_iter().chain(throttled).chain(touches.into_iter().flatten())
    }

    /// Describes the counters there are: those whose source is off are not there.
    pub(super) fn describe(&self, packets: &mut Packets<'_>) {
        for Of(number, name, unit) in self.all() {
            let track = describe(track::counter(number), Some(track::ROOT), name, number as i32);
            let (unit, unit_name) = match unit {
                Unit::Ns => (Some(UNIT_TIME_NS), None),
                Unit::PerSecond => (None, Some("per s")),
                Unit::MsPerSecond => (None, Some("ms per s")),
                Unit::Percent => (None, Some("%")),
            };
            push_description(counter(track, unit, unit_name), packets);
        }
    }

    /// A turn ended, and with it a wait.
    pub(super) fn slice(&mut self, slice: &Slice) {
        if slice.flags & slice_flags::WAIT_MASK == slice_flags::WAIT_NONE {
            return;
        }
        self.now.waits += 1;
        self.now.longest_ns = self.now.longest_ns.max(slice.wait_ns);
        let throttled_ns = slice_flags::throttled_ns(slice.flags, slice.wait_ns);
        self.now.throttled_ns = self.now.throttled_ns.saturating_add(throttled_ns);
        if let Some(waits) = &mut self.waits {
            waits.saturating_record(slice.wait_ns);
        }
    }

    /// A thread was moved.
    pub(super) fn migrate(&mut self, cross_node: bool) {
        self.now.migrations += 1;
        self.now.cross_node += u64::from(cross_node);
    }

    /// The zero page is on no node that matters, and hint faults are no touches: as in reports.
    pub(super) fn touches(&mut self, record: &Touches) {
        let counted = (0..touch::KINDS).filter(|kind| *kind != usize::from(touch::ZERO));
        let count = counted.fold(0u64, |sum, kind| sum.saturating_add(record.counts[kind]));
        let known = |node: u16| node != NO_NODE && usize::from(node) < self.nodes;
        let now = &mut self.now;
        now.touches = now.touches.saturating_add(count);
        if known(record.cpu_node) && known(record.page_node) {
            let side = if record.cpu_node == record.page_node { &mut now.local } else { &mut now.remote };
            *side = side.saturating_add(count);
        }
    }

    /// An interval ends.
    pub(super) fn tick(&mut self, ts: u64, tracks: &mut Tracks, packets: &mut Packets<'_>) {
        let ns = ts.saturating_sub(self.begun_ns);
        if ns == 0 {
            return;
        }
        let (begun, now) = (self.begun_ns, std::mem::take(&mut self.now));
        self.begun_ns = ts;
        let mut tell = |of: Of, value: f64| {
            tracks.event(begun, TYPE_COUNTER, track::counter(of.0)).double_counter_value = Some(value);
            tracks.push(packets);
        };
        let seconds = ns as f64 / 1e9;
        let rate = |count: u64| count as f64 / seconds;
        if let Some(waits) = self.waits.as_mut().filter(|_| now.waits > 0) {
            // The upper edge of the last bucket can lie above the longest wait there was.
            tell(P99, waits.value_at_quantile(0.99).min(now.longest_ns) as f64);
            tell(MAX, now.longest_ns as f64);
            waits.reset();
        }
        tell(WAITS, rate(now.waits));
        tell(MIGRATIONS, rate(now.migrations));
        tell(CROSS_NODE, rate(now.cross_node));
        if self.throttled {
            tell(THROTTLED, now.throttled_ns as f64 / 1e6 / seconds);
        }
        if self.touches {
            tell(TOUCHES, rate(now.touches));
            let known = now.local.saturating_add(now.remote);
            if known > 0 {
                tell(REMOTE, 100.0 * now.remote as f64 / known as f64);
            }
        }
    }
}
