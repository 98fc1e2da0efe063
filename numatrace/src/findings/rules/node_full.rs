//! A node without free memory: what is wanted there is placed elsewhere, also for the target.

use super::evidence::Evidence;
use super::nodes;
use crate::findings::{Case, Conclusion, Limit, Rule, Severity};
use crate::numa;
use crate::snapshot::{NodeMemory, Snapshot};
use crate::text::{bytes, count, percent, share};
use crate::units::sum;

pub(super) const RULE: Rule = Rule {
    id: "node-full",
    about: "A node that has no free memory places what is wanted there on other nodes: new memory is remote from its first use on, whatever the program does.",
    limits: &[
        Limit {
            name: "free-share",
            default: 0.03,
            range: (0.0, 1.0),
            about: "free memory of a node as a share of all, up to which it is full, whatever could be reclaimed; eased, it is larger",
        },
        Limit {
            name: "left-share",
            default: 0.1,
            range: (0.0, 1.0),
            about: "free memory and pages of files together, up to which it is full; eased, it is larger",
        },
        Limit {
            name: "spilled-pages",
            default: 1_000.0,
            range: (1.0, 1e15),
            about: "pages of the whole machine that were wanted there and placed elsewhere, below which nothing is said",
        },
        Limit {
            name: "spilled-share",
            default: 0.05,
            range: (0.0, 1.0),
            about: "share of the pages wanted there that were placed elsewhere",
        },
        Limit {
            name: "touches",
            default: 200.0,
            range: (1.0, 1e12),
            about: "remote page touches of the target from this node, below which it is not hit",
        },
        Limit {
            name: "touches-share",
            default: 0.1,
            range: (0.0, 1.0),
            about: "remote share of the target's page touches from this node, from which on it is hit",
        },
        Limit {
            name: "critical-share",
            default: 0.5,
            range: (0.0, 1.0),
            about: "remote share of the target's page touches from this node, if it runs there most, from which on it is critical",
        },
    ],
    check,
};

fn check(case: &Case<'_>) -> Option<Conclusion> {
    let numbers = case.numbers;
    if numbers.host.nodes.len() < 2 {
        return None;
    }
    let memory = numbers.node_memory.as_deref()?;
    let touches = numbers.totals.touches_by_node.as_deref()?;
    let full = memory.iter().enumerate().filter_map(|(at, memory)| {
        let row = touches.get(at)?;
        let remote = sum(row.iter().enumerate().filter(|(to, _)| *to != at).map(|(_, n)| n));
        let found = Full { at, memory, remote, all: sum(row) };
        found.told(case)?.then_some(found)
    });
    // The one that hits the target most; the first of equals.
    let worst = full.min_by_key(|found| std::cmp::Reverse(found.remote))?;
    let share = numa::ratio(worst.remote, worst.all)?;
    let runs_there = numa::most(&numbers.totals.residency_ns) == Some(worst.at);
    let (advice, command) = worst.remedy(numbers);
    Some(Conclusion {
        severity: if runs_there && share >= case.limit("critical-share") { Severity::Critical } else { Severity::Warn },
        title: worst.title(numbers),
        evidence: worst.evidence(numbers),
        advice,
        command,
    })
}

/// A node, and the target's touches from its CPUs.
struct Full<'a> {
    at: usize,
    memory: &'a NodeMemory,
    remote: u64,
    all: u64,
}

impl Full<'_> {
    fn left(&self) -> u64 {
        sum([&self.memory.free_bytes, &self.memory.file_bytes])
    }

    /// Pages that were wanted here.
    fn wanted(&self) -> u64 {
        sum([&self.memory.hit, &self.memory.foreign])
    }

    fn told(&self, case: &Case<'_>) -> Option<bool> {
        let memory = self.memory;
        let free = numa::ratio(memory.free_bytes, memory.total_bytes)?;
        let left = numa::ratio(self.left(), memory.total_bytes)?;
        let full = free <= nodes::at_most(case, "free-share") || left <= nodes::at_most(case, "left-share");
        let spills = memory.foreign as f64 >= case.limit("spilled-pages")
            && numa::ratio(memory.foreign, self.wanted())? >= case.limit("spilled-share");
        let hit = self.remote as f64 >= case.limit("touches")
            && numa::ratio(self.remote, self.all)? >= case.limit("touches-share");
        Some(full && spills && hit)
    }

    /// It has much that the kernel could give away, and rather goes elsewhere.
    fn is_full_of_files(&self) -> bool {
        self.memory.file_bytes > self.memory.total_bytes / 5
    }

    fn title(&self, numbers: &Snapshot) -> String {
        let memory = self.memory;
        format!(
            "Node {} is full, {} of {} free and {} of files: {} of the pages that anybody wanted there, {}, were placed on other nodes, and {} of the target's page touches from its CPUs were remote.",
            nodes::id(numbers, self.at),
            bytes(memory.free_bytes),
            bytes(memory.total_bytes),
            bytes(memory.file_bytes),
            share(memory.foreign, self.wanted()),
            count(memory.foreign),
            percent(numa::ratio(self.remote, self.all).unwrap_or(0.0))
        )
    }

    fn evidence(&self, numbers: &Snapshot) -> serde_json::Value {
        let memory = self.memory;
        let mut evidence = Evidence::default();
        evidence.put_known("node", numbers.host.nodes.get(self.at).map(|node| node.id.0));
        evidence.put("total_bytes", memory.total_bytes);
        evidence.put("free_bytes", memory.free_bytes);
        evidence.put("file_bytes", memory.file_bytes);
        evidence.put_known("free_share", numa::ratio(memory.free_bytes, memory.total_bytes));
        evidence.put_known("left_share", numa::ratio(self.left(), memory.total_bytes));
        evidence.put("pages_as_wanted_of_machine", memory.hit);
        evidence.put("pages_spilled_of_machine", memory.foreign);
        evidence.put("pages_for_others_of_machine", memory.miss);
        evidence.put_known("spilled_share", numa::ratio(memory.foreign, self.wanted()));
        evidence.put("local_touches_from_node", self.all.saturating_sub(self.remote));
        evidence.put("remote_touches_from_node", self.remote);
        evidence.put("touches_from_node", self.all);
        evidence.put_known("remote_share", numa::ratio(self.remote, self.all));
        evidence.put_touches(numbers);
        evidence.put_by_node("cpu_ns", &numbers.totals.residency_ns, numbers);
        evidence.done()
    }

    fn remedy(&self, numbers: &Snapshot) -> (String, Option<String>) {
        let id = nodes::id(numbers, self.at);
        let room = numbers.node_memory.iter().flatten().enumerate().filter(|(at, _)| *at != self.at);
        let most = room.max_by_key(|(at, memory)| (memory.free_bytes, std::cmp::Reverse(*at)));
        let elsewhere = most.map_or_else(String::new, |(at, memory)| {
            format!(" Node {} has most free memory, {}.", nodes::id(numbers, at), bytes(memory.free_bytes))
        });
        if self.is_full_of_files() {
            let advice = format!(
                "Much of node {id} is cached files: let the kernel reclaim there before it goes elsewhere (vm.zone_reclaim_mode=1; reading files again costs time, on the whole machine), or start the process on another node.{elsewhere}"
            );
            return (advice, Some("sysctl vm.zone_reclaim_mode=1".into()));
        }
        let advice = format!(
            "See who holds the memory of node {id} (numastat -p PATTERN, huge pages that are set aside), and move one of them, or start the process on another node.{elsewhere}"
        );
        (advice, None)
    }
}
