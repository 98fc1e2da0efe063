//! What is kept of one interval of a recording for one group of threads, or for all: enough for every number that is compared,
//! and such that two intervals can be added up.

use super::buckets::{Dense, Sparse};
use crate::snapshot::{Latency, ThreadStats};

/// What is counted and timed; distributions apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tally {
    /// Time on CPU, ns.
    Cpu,
    /// Time waiting, ns.
    Wait,
    /// Time neither running nor waiting, ns.
    Blocked,
    /// Time throttled, ns.
    Throttled,
    /// Waits that ended, as the kernel counted them.
    Waits,
    /// Their sum, ns.
    WaitedNs,
    /// Migrations between siblings of a core.
    Smt,
    /// Within a cache.
    Llc,
    /// Within a node.
    Node,
    /// Between nodes.
    CrossNode,
    /// Turns on another node than the one before.
    NodeMoves,
    /// Page touches on the own node.
    TouchesLocal,
    /// On another.
    TouchesRemote,
    /// Hint faults of pages on the own node.
    HintsLocal,
    /// On another.
    HintsRemote,
}

/// How many tallies there are.
pub const TALLIES: usize = 15;

/// One interval, of a group or of all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Part {
    tallies: [f64; TALLIES],
    wakeup: Sparse,
    preempted: Sparse,
    /// The longest wait, ns.
    pub max_ns: u64,
}

impl Part {
    /// From the numbers of one interval.
    pub fn of(stats: &ThreadStats) -> Part {
        let touches = stats.touches.map(|touches| touches.total()).unwrap_or_default();
        let hints = stats.hint_faults.unwrap_or_default();
        let runq = &stats.runq;
        let tallies = [
            stats.cpu_ns,
            stats.wait_ns,
            stats.blocked_ns,
            stats.throttled_wait_ns.unwrap_or(0),
            runq.all.count,
            runq.all.total_ns,
            stats.migrations.smt,
            stats.migrations.llc,
            stats.migrations.node,
            stats.migrations.cross_node,
            stats.node_moves,
            touches.local,
            touches.remote,
            hints.local,
            hints.remote,
        ];
        let max_ns = |latency: &Latency| if latency.count > 0 { latency.max_ns } else { 0 };
        Part {
            tallies: tallies.map(|tally| tally as f64),
            wakeup: Sparse::of(&runq.wakeup),
            preempted: Sparse::of(&runq.preempted),
            max_ns: max_ns(&runq.wakeup).max(max_ns(&runq.preempted)).max(max_ns(&runq.all)),
        }
    }

    /// Of one tally.
    pub fn tally(&self, of: Tally) -> f64 {
        self.tallies[of as usize]
    }

    /// Adds the interval after it.
    pub fn add(&mut self, later: &Part) {
        self.tallies.iter_mut().zip(later.tallies).for_each(|(sum, part)| *sum += part);
        self.wakeup.add(&later.wakeup);
        self.preempted.add(&later.preempted);
        self.max_ns = self.max_ns.max(later.max_ns);
    }
}

/// Intervals added up, each so many times.
#[derive(Clone, Debug)]
pub struct Sum {
    /// How long they are together, ns.
    pub length_ns: f64,
    tallies: [f64; TALLIES],
    /// Waits after wakeups.
    pub wakeup: Dense,
    /// After preemption.
    pub preempted: Dense,
    /// Both.
    pub all: Dense,
}

impl Sum {
    /// Of nothing yet, with room for all of these.
    pub fn for_all(parts: &[Option<Part>]) -> Sum {
        let of = |of: fn(&Part) -> &Sparse| Dense::for_all(parts.iter().flatten().map(of));
        let both = parts.iter().flatten().flat_map(|part| [&part.wakeup, &part.preempted]);
        Sum {
            length_ns: 0.0,
            tallies: [0.0; TALLIES],
            wakeup: of(|part| &part.wakeup),
            preempted: of(|part| &part.preempted),
            all: Dense::for_all(both),
        }
    }

    /// Makes it the sum of these, each so many times.
    pub fn fill(&mut self, lengths: &[f64], parts: &[Option<Part>], weights: &[u32]) {
        self.length_ns = 0.0;
        self.tallies = [0.0; TALLIES];
        [&mut self.wakeup, &mut self.preempted, &mut self.all].into_iter().for_each(Dense::clear);
        for ((length, part), weight) in lengths.iter().zip(parts).zip(weights).filter(|(_, weight)| **weight > 0) {
            let weight = f64::from(*weight);
            self.length_ns += length * weight;
            let Some(part) = part else { continue };
            self.tallies.iter_mut().zip(part.tallies).for_each(|(sum, tally)| *sum += tally * weight);
            self.wakeup.add(&part.wakeup, weight);
            self.preempted.add(&part.preempted, weight);
        }
        self.all.add_all(&self.wakeup);
        self.all.add_all(&self.preempted);
    }

    /// Of one tally.
    pub fn tally(&self, of: Tally) -> f64 {
        self.tallies[of as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Migrations, RunQueue};

    fn stats(n: u64) -> ThreadStats {
        let latency = Latency {
            count: n,
            total_ns: n * 1_000,
            max_ns: n,
            buckets: vec![(1_000, n)].into(),
            ..Latency::default()
        };
        ThreadStats {
            cpu_ns: n,
            node_moves: 2 * n,
            migrations: Migrations { cross_node: 3 * n, ..Migrations::default() },
            runq: RunQueue { wakeup: latency.clone(), all: latency, ..RunQueue::default() },
            ..ThreadStats::default()
        }
    }

    #[test]
    fn intervals_count_as_often_as_they_were_drawn() {
        let parts = [Some(Part::of(&stats(1))), None, Some(Part::of(&stats(10)))];
        let mut sum = Sum::for_all(&parts);
        for (weights, cpu, length) in [([1, 1, 1], 11.0, 30.0), ([0, 3, 0], 0.0, 30.0), ([2, 0, 1], 12.0, 30.0)] {
            sum.fill(&[10.0; 3], &parts, &weights);
            assert_eq!((sum.tally(Tally::Cpu), sum.length_ns), (cpu, length));
            assert_eq!((sum.tally(Tally::CrossNode), sum.tally(Tally::NodeMoves)), (3.0 * cpu, 2.0 * cpu));
            assert_eq!((sum.wakeup.count(), sum.preempted.count(), sum.all.count()), (cpu, 0.0, cpu));
        }
    }

    #[test]
    fn two_intervals_are_one_of_both() {
        let mut sum = Part::of(&stats(2));
        sum.add(&Part::of(&stats(5)));
        assert_eq!(Part { max_ns: 7, ..sum }, Part { max_ns: 7, ..Part::of(&stats(7)) });
        let most = ThreadStats { cpu_ns: u64::MAX, wait_ns: u64::MAX, ..ThreadStats::default() };
        let mut sum = Part::of(&most);
        sum.add(&Part::of(&most));
        assert!(sum.tally(Tally::Cpu).is_finite());
    }
}
