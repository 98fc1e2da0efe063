//! The numbers that are compared: what each is, and how it follows from intervals that were added up.

use super::part::{Sum, Tally};
use crate::snapshot::{Snapshot, sources};

const S: f64 = 1e9;
/// So many waits must lie beyond a percentile on either side, or it is not compared.
pub const BEYOND: f64 = 10.0;

/// In what a number is told, and in what its change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A time; its change as a part of what it was before.
    Time,
    /// Events a second; its change likewise a difference.
    Rate,
    /// A share; its change in points.
    Share,
    /// CPUs; its change as a difference.
    Cpus,
}

/// A number of a group of threads.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// As in JSON.
    pub name: &'static str,
    /// For people.
    pub title: &'static str,
    /// In what it is told.
    pub unit: Unit,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    MeanWait,
    /// Of waits of some kind, the percentile of this share.
    Quantile(Waits, f64),
    /// Of the time of threads.
    OfTime(Tally),
    Rate(Tally),
    /// The second as a part of both.
    Remote(Tally, Tally),
    Cpus,
}

#[derive(Clone, Copy, Debug)]
enum Waits {
    All,
    Wakeup,
    Preempted,
}

/// What is known of a number on one side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Known {
    /// The number, and the least standard error that so few events leave.
    Value(f64, f64),
    /// There were too few events for it.
    TooFew,
    /// There were none at all.
    Nothing,
}

const fn metric(name: &'static str, title: &'static str, unit: Unit, kind: Kind) -> Metric {
    Metric { name, title, unit, kind }
}

/// All of them, in the order in which they are told.
pub static METRICS: [Metric; 18] = [
    metric("runq.mean", "wait, mean", Unit::Time, Kind::MeanWait),
    metric("runq.p50", "wait, p50", Unit::Time, Kind::Quantile(Waits::All, 0.5)),
    metric("runq.p90", "wait, p90", Unit::Time, Kind::Quantile(Waits::All, 0.9)),
    metric("runq.p99", "wait, p99", Unit::Time, Kind::Quantile(Waits::All, 0.99)),
    metric("runq.p999", "wait, p99.9", Unit::Time, Kind::Quantile(Waits::All, 0.999)),
    metric("runq.wakeup.p99", "  wakeup, p99", Unit::Time, Kind::Quantile(Waits::Wakeup, 0.99)),
    metric("runq.preempted.p99", "  preempted, p99", Unit::Time, Kind::Quantile(Waits::Preempted, 0.99)),
    metric("wait_share", "time waiting", Unit::Share, Kind::OfTime(Tally::Wait)),
    metric("throttled_share", "time throttled", Unit::Share, Kind::OfTime(Tally::Throttled)),
    metric("cpus", "CPUs used", Unit::Cpus, Kind::Cpus),
    metric("migrations.smt", "moves, SMT", Unit::Rate, Kind::Rate(Tally::Smt)),
    metric("migrations.llc", "moves, cache", Unit::Rate, Kind::Rate(Tally::Llc)),
    metric("migrations.node", "moves, node", Unit::Rate, Kind::Rate(Tally::Node)),
    metric("migrations.cross_node", "moves, cross-node", Unit::Rate, Kind::Rate(Tally::CrossNode)),
    metric("node_moves", "node moves", Unit::Rate, Kind::Rate(Tally::NodeMoves)),
    metric("waits", "waits", Unit::Rate, Kind::Rate(Tally::Waits)),
    metric("remote_share", "touches, remote", Unit::Share, Kind::Remote(Tally::TouchesLocal, Tally::TouchesRemote)),
    metric("hint_remote_share", "hints, remote", Unit::Share, Kind::Remote(Tally::HintsLocal, Tally::HintsRemote)),
];

impl Metric {
    /// Whether its source was on, by what the totals of a recording tell; the names of its sources where it was not.
    pub fn missing(&self, of: &Snapshot) -> Option<&'static [&'static str]> {
        let totals = &of.totals;
        match self.kind {
            // Node moves are told by turns.
            Kind::Rate(Tally::Smt | Tally::Llc | Tally::Node | Tally::CrossNode) if of.is_off(&sources::MIGRATIONS) => {
                Some(&sources::MIGRATIONS)
            }
            Kind::Remote(Tally::TouchesLocal, _) if totals.touches.is_none() => Some(&sources::TOUCHES),
            Kind::Remote(Tally::HintsLocal, _) if totals.hint_faults.is_none() => Some(&sources::HINT_FAULTS),
            Kind::OfTime(Tally::Throttled) if totals.throttled_wait_ns.is_none() => Some(&sources::THROTTLE),
            _ => None,
        }
    }

    /// Whether changes are told as a part of what was before: the difference of the logarithms is looked at.
    pub fn is_relative(&self) -> bool {
        self.unit == Unit::Time
    }

    /// Of the intervals that were added up.
    pub fn of(&self, sum: &Sum) -> Known {
        match self.kind {
            Kind::MeanWait => match (sum.tally(Tally::Waits), sum.tally(Tally::WaitedNs)) {
                (waits, _) if waits <= 0.0 => Known::Nothing,
                (waits, _) if waits < BEYOND => Known::TooFew,
                (waits, ns) => Known::Value(ns / waits, 0.0),
            },
            Kind::Quantile(which, share) => {
                let waits = match which {
                    Waits::All => &sum.all,
                    Waits::Wakeup => &sum.wakeup,
                    Waits::Preempted => &sum.preempted,
                };
                let count = waits.count();
                match waits.quantile(share, count) {
                    None => Known::Nothing,
                    Some(_) if count * (1.0 - share) < BEYOND * (1.0 - 1e-9) => Known::TooFew,
                    Some(ns) => Known::Value(ns, 0.0),
                }
            }
            Kind::OfTime(tally) => {
                let life = [Tally::Cpu, Tally::Wait, Tally::Blocked].map(|tally| sum.tally(tally)).iter().sum::<f64>();
                if life > 0.0 { Known::Value(sum.tally(tally) / life, 0.0) } else { Known::Nothing }
            }
            Kind::Cpus if sum.length_ns > 0.0 => Known::Value(sum.tally(Tally::Cpu) / sum.length_ns, 0.0),
            Kind::Rate(tally) if sum.length_ns > 0.0 => {
                let (count, seconds) = (sum.tally(tally), sum.length_ns / S);
                // Of independent events; of none, as if there had been one.
                Known::Value(count / seconds, count.max(1.0).sqrt() / seconds)
            }
            Kind::Cpus | Kind::Rate(_) => Known::Nothing,
            Kind::Remote(local, remote) => {
                let (remote, all) = (sum.tally(remote), sum.tally(local) + sum.tally(remote));
                // As if there had been one more of each kind.
                let smooth = (remote + 1.0) / (all + 2.0);
                match all {
                    _ if all <= 0.0 => Known::Nothing,
                    _ if all < BEYOND => Known::TooFew,
                    _ => Known::Value(remote / all, (smooth * (1.0 - smooth) / all).sqrt()),
                }
            }
        }
    }
}

impl PartialEq for Metric {
    fn eq(&self, other: &Metric) -> bool {
        self.name == other.name
    }
}
