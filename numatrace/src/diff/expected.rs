//! What binding the target to a node was to do, by the first recording, beside what the second one measured.

use serde::Serialize;

use super::{Diff, Recorded};
use crate::numa;
use crate::snapshot::Snapshot;
use crate::whatif::{self, Estimate};

/// One node.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Expected {
    /// As in `report --pin-to`, from the first recording.
    pub estimate: Estimate,
    /// What the second recording measured.
    pub measured: Measured,
    /// Time waited in a second of the first recording, ns.
    pub waited_before_ns: f64,
    /// The same with what the estimate adds.
    pub waited_expected_ns: f64,
}

/// What the second recording measured, in the terms of the estimate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// Remote share of page touches.
    pub remote_share: Option<f64>,
    /// Remote share of accesses that is to be expected.
    pub expected_remote_share: Option<f64>,
    /// What accesses are expected to cost, in local ones.
    pub expected_cost: Option<f64>,
    /// Share of its time on CPU that the target spent on the node.
    pub on_node: Option<f64>,
    /// Time waited in a second, ns.
    pub waited_ns: f64,
}

impl Diff {
    /// Says so of the nodes at these positions of the first recording's machine.
    pub fn expect(&mut self, before: &Recorded, after: &Recorded, nodes: &[usize]) {
        let (old, new) = (&before.intervals, &after.intervals.whole);
        let estimates = whatif::what_if(&old.whole, &old.demand, nodes, false).estimates;
        if estimates.is_empty() && !nodes.is_empty() {
            self.warnings
                .push("One node of the first machine has all CPUs: there is nothing to bind the target to.".into());
        }
        self.what_if = estimates.into_iter().map(|estimate| expected(estimate, &old.whole, new)).collect();
    }
}

fn expected(estimate: Estimate, before: &Snapshot, after: &Snapshot) -> Expected {
    let a_second = |ns: u64, of: &Snapshot| ns as f64 * 1e9 / of.duration_ns.max(1) as f64;
    let waited = a_second(before.totals.wait_ns, before);
    let added = estimate.pressure.as_ref().map_or(0, |pressure| pressure.added_wait_ns);
    let totals = &after.totals;
    let at = after.host.nodes.iter().position(|node| node.id == estimate.node);
    let on_node = at.and_then(|at| totals.residency_ns.get(at)).copied().unwrap_or(0);
    let cost = after
        .placement_pages
        .as_deref()
        .and_then(|pages| numa::expected_cost(&totals.residency_ns, pages, &after.host.distances));
    Expected {
        measured: Measured {
            remote_share: totals.remote_share,
            expected_remote_share: totals.expected_remote_share,
            expected_cost: cost,
            on_node: numa::ratio(on_node, crate::units::sum(&totals.residency_ns)),
            waited_ns: a_second(totals.wait_ns, after),
        },
        waited_before_ns: waited,
        waited_expected_ns: waited + a_second(added, before),
        estimate,
    }
}
