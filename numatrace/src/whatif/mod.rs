//! What binding the target to one node would do, estimated from a recording: to the remote share of its accesses, to its waits
//! for a CPU, and whether its memory has room there. Place in the flow: from a [`Snapshot`] and a series of [`Demand`] to
//! reports. Every assumption is in docs/what-if.md, and the text report says them again.

mod demand;
mod queue;

use serde::Serialize;

pub use self::demand::{Demand, Interval, MOST_INTERVALS};
use self::queue::{Queue, queue};
use crate::numa;
use crate::snapshot::{Snapshot, Throttle};
use crate::units::{NodeId, sum};

/// What was asked for, and what came of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WhatIf {
    /// One for each node that was asked for; none where there is nothing to choose.
    pub estimates: Vec<Estimate>,
    /// Nodes are to be compared with each other, not looked at one by one.
    pub compared: bool,
    /// What the estimates take for granted.
    pub assumptions: Vec<String>,
}

/// Estimates for the nodes at these positions; none where only one node of the machine has CPUs.
pub fn what_if(snapshot: &Snapshot, demand: &Demand, nodes: &[usize], compared: bool) -> WhatIf {
    let some = if choices(snapshot).len() > 1 { nodes } else { &[] };
    let estimates = some.iter().filter_map(|at| estimate(snapshot, demand, *at)).collect();
    WhatIf { estimates, compared, assumptions: assumptions(snapshot, demand) }
}

/// The estimate for one node. `None` is a number whose source is off, or that follows from one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The kernel's number of the node.
    pub node: NodeId,
    /// Its CPUs.
    pub cpus: u64,
    /// Accesses to memory.
    pub access: Access,
    /// Waits for a CPU; `None` of no time.
    pub pressure: Option<Pressure>,
    /// Memory there.
    pub room: Option<Room>,
}

/// Remote shares, and the mean time of an access against a local one by the distances. *Bound*: its threads run on the node
/// alone, and memory stays where it is. *Moved*: its memory is bound there and moved as well.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Access {
    /// Of page touches, measured now.
    pub remote_share: Option<f64>,
    /// Of hint faults, measured now.
    pub hint_remote_share: Option<f64>,
    /// Expected now, if accesses are uniform.
    pub expected_remote_share: Option<f64>,
    /// Expected when bound.
    pub bound_remote_share: Option<f64>,
    /// Expected when moved, of what moves.
    pub moved_remote_share: Option<f64>,
    /// Mean distance/10 of page touches, measured now.
    pub cost_factor: Option<f64>,
    /// The same of accesses, expected now.
    pub expected_cost: Option<f64>,
    /// Expected when bound.
    pub bound_cost: Option<f64>,
    /// Expected when moved, of what moves.
    pub moved_cost: Option<f64>,
    /// Change of access time when bound, as a share of that expected now.
    pub bound_change: Option<f64>,
    /// Change when moved.
    pub moved_change: Option<f64>,
}

/// CPUs that the target wanted against those of the node.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Pressure {
    /// Intervals that were looked at.
    pub intervals: u64,
    /// The longest of them: what happens within one is not seen.
    pub longest_interval_ns: u64,
    /// A CPU quota that holds all of the target, in CPUs.
    pub quota_cpus: Option<f64>,
    /// CPUs that its threads wanted on average: those that ran and those that waited.
    pub average_cpus: f64,
    /// The most in an interval.
    pub peak_cpus: f64,
    /// Time on CPU against the time of the node's CPUs; above 1 it is more than they have.
    pub utilisation: f64,
    /// Time in which more was wanted than the node has.
    pub above_ns: u64,
    /// The same as a share.
    pub above_share: f64,
    /// Time waited, measured now.
    pub waited_ns: u64,
    /// Time waited for want of CPUs by the model, on all CPUs of the machine.
    pub model_wait_all_ns: u64,
    /// The same on the node's.
    pub model_wait_ns: u64,
    /// Their difference.
    pub added_wait_ns: u64,
    /// Time on CPU that is not done when the recording ends.
    pub undone_ns: u64,
}

/// Resident pages against the memory of the node.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Room {
    /// Resident pages of the target.
    pub pages: u64,
    /// Of these, there already.
    pub pages_there: u64,
    /// Bytes of a page; `None` where the machine's architecture has several sizes.
    pub page_bytes: Option<u64>,
    /// Memory of the node.
    pub node_bytes: u64,
    /// Free there now, or of files; `None` where that is not measured.
    pub left_bytes: Option<u64>,
    /// All of it fits into the node.
    pub fits: Option<bool>,
    /// What lies elsewhere fits into what is left now.
    pub fits_now: Option<bool>,
}

/// Nodes that can be chosen: those with CPUs, by position. With less than two there is nothing to choose.
pub fn choices(snapshot: &Snapshot) -> Vec<usize> {
    let nodes = snapshot.host.nodes.iter().enumerate();
    nodes.filter(|(_, node)| !node.cpus.is_empty()).map(|(at, _)| at).collect()
}

/// The estimate for the node at a position; `None` where there is none, or it has no CPUs.
pub fn estimate(snapshot: &Snapshot, demand: &Demand, at: usize) -> Option<Estimate> {
    let node = snapshot.host.nodes.get(at).filter(|node| !node.cpus.is_empty())?;
    Some(Estimate {
        node: node.id,
        cpus: node.cpus.len() as u64,
        access: access(snapshot, at),
        pressure: pressure(snapshot, demand, node.cpus.len()),
        room: room(snapshot, at),
    })
}

fn access(snapshot: &Snapshot, at: usize) -> Access {
    let totals = &snapshot.totals;
    let distances = &snapshot.host.distances;
    let pages = snapshot.placement_pages.as_deref().unwrap_or_default();
    // All time on this node.
    let there: Vec<u64> = (0..snapshot.host.nodes.len()).map(|node| u64::from(node == at)).collect();
    let hints = totals.hint_faults.unwrap_or_default();
    let expected_cost = numa::expected_cost(&totals.residency_ns, pages, distances);
    let bound_cost = numa::expected_cost(&there, pages, distances);
    let moved_cost = bound_cost.and_then(|_| numa::expected_cost(&there, &there, distances));
    let change = |after: Option<f64>| Some(after? / expected_cost.filter(|cost| *cost > 0.0)? - 1.0);
    Access {
        remote_share: totals.remote_share,
        hint_remote_share: numa::ratio(hints.remote, sum([&hints.local, &hints.remote])),
        expected_remote_share: totals.expected_remote_share,
        bound_remote_share: numa::expected_remote(&there, pages),
        moved_remote_share: numa::expected_remote(&there, pages).map(|_| 0.0),
        cost_factor: totals.cost_factor,
        expected_cost,
        bound_cost,
        moved_cost,
        bound_change: change(bound_cost),
        moved_change: change(moved_cost),
    }
}

fn pressure(snapshot: &Snapshot, demand: &Demand, cpus: usize) -> Option<Pressure> {
    let intervals = demand.intervals();
    let length_ns = sum(intervals.iter().map(|interval| &interval.length_ns));
    let quota_cpus = quota(snapshot);
    let all_cpus: usize = snapshot.host.nodes.iter().map(|node| node.cpus.len()).sum();
    let capacity = |cpus: usize| quota_cpus.map_or(cpus as f64, |quota| quota.min(cpus as f64));
    let wanted = |interval: &Interval| interval.wanted(quota_cpus);
    let all: Queue = queue(intervals, quota_cpus, capacity(all_cpus));
    let there: Queue = queue(intervals, quota_cpus, capacity(cpus));
    let weighted: f64 = intervals.iter().map(|interval| wanted(interval) * interval.length_ns as f64).sum();
    let cpu_ns = sum(intervals.iter().map(|interval| &interval.cpu_ns));
    (length_ns > 0).then(|| Pressure {
        intervals: intervals.len() as u64,
        longest_interval_ns: intervals.iter().map(|interval| interval.length_ns).max().unwrap_or(0),
        quota_cpus,
        average_cpus: weighted / length_ns as f64,
        peak_cpus: intervals.iter().map(wanted).fold(0.0, f64::max),
        utilisation: cpu_ns as f64 / (length_ns as f64 * cpus as f64),
        above_ns: there.above_ns,
        above_share: there.above_ns as f64 / length_ns as f64,
        waited_ns: snapshot.totals.wait_ns,
        model_wait_all_ns: all.wait_ns,
        model_wait_ns: there.wait_ns,
        added_wait_ns: there.wait_ns.saturating_sub(all.wait_ns),
        undone_ns: there.undone_ns,
    })
}

/// The tightest quota that holds every thread whose cgroup is known.
fn quota(snapshot: &Snapshot) -> Option<f64> {
    let cgroups: Vec<&str> = snapshot.threads.iter().filter_map(|thread| thread.cgroup.as_deref()).collect();
    let within = |path: &str, of: &str| {
        let rest = path.strip_prefix(of.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let holds_all =
        |throttle: &&Throttle| !cgroups.is_empty() && cgroups.iter().all(|path| within(path, &throttle.cgroup));
    let quotas = snapshot.throttle.iter().flatten().filter(holds_all).filter_map(|throttle| throttle.quota_cpus);
    quotas.filter(|quota| quota.is_finite() && *quota > 0.0).min_by(f64::total_cmp)
}

fn room(snapshot: &Snapshot, at: usize) -> Option<Room> {
    let placed = snapshot.placement_pages.as_deref()?;
    let node = snapshot.host.nodes.get(at)?;
    let (pages, pages_there) = (sum(placed), placed.get(at).copied().unwrap_or(0));
    let page_bytes = numa::page_bytes(&snapshot.host);
    let memory = snapshot.node_memory.as_ref().and_then(|all| all.get(at));
    let left_bytes = memory.map(|memory| sum([&memory.free_bytes, &memory.file_bytes]));
    let bytes = |pages: u64| page_bytes.map(|bytes| pages.saturating_mul(bytes));
    Some(Room {
        pages,
        pages_there,
        page_bytes,
        node_bytes: node.memory_bytes,
        left_bytes,
        fits: bytes(pages).map(|bytes| bytes <= node.memory_bytes),
        fits_now: bytes(pages.saturating_sub(pages_there)).zip(left_bytes).map(|(bytes, left)| bytes <= left),
    })
}

/// What the estimate takes for granted, for people.
pub fn assumptions(snapshot: &Snapshot, demand: &Demand) -> Vec<String> {
    let intervals = demand.intervals();
    let longest = intervals.iter().map(|interval| interval.length_ns).max().unwrap_or(0);
    let several = snapshot.threads.windows(2).any(|pair| pair.first().map(|t| t.pid) != pair.last().map(|t| t.pid));
    let quota = match (quota(snapshot), snapshot.throttle.is_some()) {
        (Some(quota), _) => format!("A CPU quota of {quota:.2} CPUs holds all of the target, here and there."),
        (None, true) => "No CPU quota holds all of the target.".to_owned(),
        (None, false) => "Whether a CPU quota holds the target is not known: none is taken into account.".to_owned(),
    };
    let mut all = vec![
        "Accesses are uniform: every resident page is used alike, by threads in proportion to their time on CPU.".to_owned(),
        "An access takes as long as the distance says (T = N x ((1 - r) x local + r x remote)); caches and crowded links are left out.".to_owned(),
        "Moved memory is local, all of it. Pages of files and shared memory that others use may stay or come back elsewhere: how many those are is not known.".to_owned(),
        "The target wants CPUs as it did: what ran faster or slower, or waited, for its new place does not change that. Work that finds no CPU is done later.".to_owned(),
        "The node's CPUs are the target's alone: what others run there is not known.".to_owned(),
        format!("Within an interval, up to {}, demand is even: shorter bursts wait longer than this says.", crate::text::duration(longest)),
        quota,
    ];
    if several {
        all.push(
            "The target has several processes: all of them are bound, and their pages count as one memory.".to_owned(),
        );
    }
    all
}

#[cfg(test)]
mod tests;
