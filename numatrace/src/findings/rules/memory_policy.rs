//! A memory policy that puts pages where the threads are not: interleaved although the process runs on one node, bound to or
//! preferring a node on which it does not run, or bound to nodes that are full.

use std::collections::BTreeMap;

use super::evidence::Evidence;
use super::nodes::{self, Process};
use crate::findings::{Case, Conclusion, Limit, Rule, Severity};
use crate::mempolicy::{self, Kind, Policy};
use crate::numa;
use crate::snapshot::{Location, Snapshot, Thread};
use crate::text::{count, percent, share};
use crate::units::sum;

pub(super) const RULE: Rule = Rule {
    id: "memory-policy",
    about: "A memory policy decides where new pages lie, whoever uses them: interleaving makes most of them remote for a program that runs on one node, and binding makes all of them remote for one that runs elsewhere.",
    limits: &[
        Limit {
            name: "touches",
            default: 500.0,
            range: (1.0, 1e12),
            about: "remote page touches in memory with such a policy, by samples, below which nothing is said",
        },
        Limit { name: "share", default: 0.3, range: (0.0, 1.0), about: "remote share of page touches in that memory" },
        Limit {
            name: "on-one-node",
            default: 0.8,
            range: (0.0, 1.0),
            about: "share of its time on CPU that the process spends on one node, from which on interleaving does not suit it",
        },
        Limit {
            name: "elsewhere-share",
            default: 0.5,
            range: (0.0, 1.0),
            about: "share of its time on CPU that the process spends off the nodes that its memory is bound to",
        },
        Limit {
            name: "left-share",
            default: 0.05,
            range: (0.0, 1.0),
            about: "free memory and pages of files together, as a share of the memory of the bound nodes, up to which they are full; eased, it is larger",
        },
        Limit {
            name: "cpu-seconds",
            default: 0.2,
            range: (0.0, 1e9),
            about: "time on CPU of the process, below which nothing is said, seconds",
        },
    ],
    check,
};

fn check(case: &Case<'_>) -> Option<Conclusion> {
    let numbers = case.numbers;
    if numbers.host.nodes.len() < 2 {
        return None;
    }
    let processes = nodes::processes(numbers, |thread| thread.stats.cpu_ns);
    let runs = |process: &&Process<'_>| sum(&process.residency_ns) as f64 / 1e9 >= case.limit("cpu-seconds");
    let found = processes.iter().filter(runs).flat_map(|process| found(case, process));
    // Of several the one with most remote touches; the first of equals.
    let worst = found.min_by_key(|found| std::cmp::Reverse((found.remote, found.local)))?;
    let (advice, command) = worst.remedy(numbers);
    Some(Conclusion {
        severity: Severity::Warn,
        title: worst.title(numbers),
        evidence: worst.evidence(numbers),
        advice,
        command,
    })
}

/// Why a policy hurts.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Why {
    /// It spreads what is used on this node alone.
    Spread { node: usize },
    /// So much of the time on CPU is off its nodes.
    Away { share: f64 },
    /// Its nodes are full: so many bytes are left of so many.
    Full { left: u64, total: u64 },
}

struct Found<'a> {
    policy: Policy,
    process: &'a Process<'a>,
    why: Why,
    /// Of all memory with this policy, by samples.
    local: u64,
    remote: u64,
    /// Where most remote ones come from.
    place: &'a Location,
}

/// Memory of a process by policy, as far as it hurts.
fn found<'a>(case: &Case<'a>, process: &'a Process<'a>) -> Vec<Found<'a>> {
    let mut by_policy: BTreeMap<Policy, (u64, u64, &Location)> = BTreeMap::new();
    for place in process.threads.iter().flat_map(|thread: &&Thread| thread.stats.locations.iter().flatten()) {
        let Some(policy) = mempolicy::of_mapping(&place.mapping) else { continue };
        let sums = by_policy.entry(policy).or_insert((0, 0, place));
        let worst = if place.remote > sums.2.remote { place } else { sums.2 };
        *sums = (sums.0.saturating_add(place.local), sums.1.saturating_add(place.remote), worst);
    }
    let hurts = |(policy, (local, remote, place)): (Policy, (u64, u64, &'a Location))| {
        let why = why(case, process, &policy, local, remote)?;
        Some(Found { policy, process, why, local, remote, place })
    };
    by_policy.into_iter().filter_map(hurts).collect()
}

fn why(case: &Case<'_>, process: &Process<'_>, policy: &Policy, local: u64, remote: u64) -> Option<Why> {
    let numbers = case.numbers;
    let touched = sum([&local, &remote]);
    if policy.kind == Kind::Bound
        && touched as f64 >= case.limit("touches")
        && let Some((left, total)) = room(numbers, policy)
        && numa::ratio(left, total)? <= nodes::at_most(case, "left-share")
    {
        return Some(Why::Full { left, total });
    }
    if (remote as f64) < case.limit("touches") || numa::ratio(remote, touched)? < case.limit("share") {
        return None;
    }
    let (node, share) = process.main_node()?;
    if policy.kind == Kind::Interleaved {
        // On one node alone it is as good as bound.
        let spreads = policy.nodes.len() > 1 && share >= case.limit("on-one-node");
        return spreads.then_some(Why::Spread { node });
    }
    let away = numa::ratio(off(numbers, process, policy), sum(&process.residency_ns))?;
    (away >= case.limit("elsewhere-share")).then_some(Why::Away { share: away })
}

/// Positions of the nodes of a policy.
fn positions<'a>(numbers: &'a Snapshot, policy: &'a Policy) -> impl Iterator<Item = usize> + 'a {
    let named = |id: u32| policy.nodes.binary_search(&id).is_ok();
    numbers.host.nodes.iter().enumerate().filter(move |(_, node)| named(node.id.0)).map(|(at, _)| at)
}

/// Time on CPU off the nodes of a policy.
fn off(numbers: &Snapshot, process: &Process<'_>, policy: &Policy) -> u64 {
    let on: Vec<usize> = positions(numbers, policy).collect();
    sum(process.residency_ns.iter().enumerate().filter(|(at, _)| !on.contains(at)).map(|(_, ns)| ns))
}

/// Bytes that are left on the nodes of a policy, and that there are; `None` where that is not measured of all of them.
fn room(numbers: &Snapshot, policy: &Policy) -> Option<(u64, u64)> {
    let memory = numbers.node_memory.as_ref()?;
    let (mut left, mut total) = (0u64, 0u64);
    for at in positions(numbers, policy) {
        let node = memory.get(at)?;
        left = left.saturating_add(node.free_bytes).saturating_add(node.file_bytes);
        total = total.saturating_add(node.total_bytes);
    }
    (total > 0).then_some((left, total))
}

impl Found<'_> {
    fn title(&self, numbers: &Snapshot) -> String {
        let words = self.policy.words();
        let touched = sum([&self.local, &self.remote]);
        let why = match self.why {
            Why::Spread { node } => {
                let share = self.process.main_node().map_or(0.0, |(_, share)| share);
                format!("although it runs on node {} for {} of its time", nodes::id(numbers, node), percent(share))
            }
            Why::Away { share } => {
                format!("although it runs elsewhere for {} of its time", percent(share))
            }
            Why::Full { left, total } => format!("where only {} of the memory is left", share(left, total)),
        };
        format!(
            "Process {} has memory that is placed by the policy '{words}', {why}: {} of {} page touches in it were remote, most of them in {}, by {}.",
            self.process.pid,
            count(self.remote),
            count(touched),
            self.place.mapping,
            self.place.symbol
        )
    }

    fn evidence(&self, numbers: &Snapshot) -> serde_json::Value {
        let mut evidence = Evidence::default();
        evidence.put("policy", self.policy.words());
        evidence.put("process", self.process.pid.0);
        evidence.put("sampled_local_touches", self.local);
        evidence.put("sampled_remote_touches", self.remote);
        evidence.put_known("share", numa::ratio(self.remote, sum([&self.local, &self.remote])));
        evidence.put("mapping", &*self.place.mapping);
        evidence.put("code", &*self.place.symbol);
        evidence.put("sampled_remote_touches_there", self.place.remote);
        evidence.put_by_node("cpu_ns_of_process", &self.process.residency_ns, numbers);
        let off = off(numbers, self.process, &self.policy);
        evidence.put("cpu_ns_off_its_nodes", off);
        evidence.put("cpu_ns_on_its_nodes", sum(&self.process.residency_ns).saturating_sub(off));
        evidence.put_by_node("pages", self.process.pages.unwrap_or_default(), numbers);
        if let Some((left, total)) = room(numbers, &self.policy) {
            evidence.put("bytes_left_on_its_nodes", left);
            evidence.put("bytes_of_its_nodes", total);
        }
        evidence.put_touches(numbers);
        evidence.done()
    }

    fn remedy(&self, numbers: &Snapshot) -> (String, Option<String>) {
        let words = self.policy.words();
        match self.why {
            Why::Spread { node } => {
                let start = self.process.start_on(numbers, node);
                let advice = format!(
                    "Leave the policy out (numactl --interleave, set_mempolicy or mbind in the program), or start it with {start}; the pages that are there can be moved now."
                );
                (advice, self.process.move_pages(numbers, node))
            }
            Why::Away { .. } => {
                let home = positions(numbers, &self.policy).find(|at| self.process.has_room_on(numbers, *at));
                let advice = format!(
                    "Run the process where the policy '{words}' puts its memory, or let the policy name the nodes on which it runs (numactl --membind, set_mempolicy or mbind in the program)."
                );
                (advice, home.and_then(|at| self.process.bind(numbers, at)))
            }
            Why::Full { .. } => {
                let advice = format!(
                    "Let the policy '{words}' name further nodes, or prefer its nodes (numactl --preferred) so that the kernel may go elsewhere; else it reclaims pages there, and at the end kills."
                );
                (advice, None)
            }
        }
    }
}
