//! Memory that one thread filled on its node, and that others use on another.

use super::evidence::Evidence;
use super::nodes::{self, Process};
use crate::findings::{Case, Conclusion, Limit, Rule, Severity};
use crate::numa;
use crate::snapshot::{Location, Snapshot, Thread, ThreadStats};
use crate::text::{count, percent};
use crate::units::sum;

pub(super) const RULE: Rule = Rule {
    id: "first-touch",
    about: "Linux places a page on the node of the thread that touches it first: memory that one thread fills for others lies on its node alone.",
    limits: &[
        Limit {
            name: "pages",
            default: 4_096.0,
            range: (1.0, 1e12),
            about: "pages that the thread touched first, a huge page counted as 512, below which nothing is said (16 MiB in pages of 4 KiB)",
        },
        Limit {
            name: "share",
            default: 0.6,
            range: (0.0, 1.0),
            about: "share of the first touches of its process that one thread made on its own node",
        },
        Limit {
            name: "elsewhere-share",
            default: 0.5,
            range: (0.0, 1.0),
            about: "share of their time on CPU that the other threads of the process spent on other nodes",
        },
        Limit {
            name: "remote-share",
            default: 0.3,
            range: (0.0, 1.0),
            about: "remote share of hint faults, or, where there are too few, expected remote share, from which on it hurts",
        },
        Limit {
            name: "hint-faults",
            default: 200.0,
            range: (1.0, 1e12),
            about: "hint faults below which they prove nothing",
        },
        Limit {
            name: "cpu-seconds",
            default: 0.5,
            range: (0.0, 1e9),
            about: "time on CPU of the other threads, below which nothing is said, seconds",
        },
    ],
    check,
};

/// Base pages of a huge page, as most machines have them.
const HUGE: u64 = 512;
/// So much of the process's memory lies on the node of the thread that filled it, as far as that is known.
const LIES_THERE: f64 = 0.5;

fn check(case: &Case<'_>) -> Option<Conclusion> {
    let numbers = case.numbers;
    if nodes::with_cpus(numbers) < 2 {
        return None;
    }
    let processes = nodes::processes(numbers, |thread| filled(&thread.stats).local);
    let process = processes.first()?;
    let filler =
        *process.threads.iter().max_by_key(|thread| (filled(&thread.stats).local, std::cmp::Reverse(thread.tid)))?;
    let (own, all) = (filled(&filler.stats), all_filled(process));
    let at = home_of(filler)?;
    let others = others(process, filler);
    let elsewhere = sum(others.iter().enumerate().filter(|(node, _)| *node != at).map(|(_, ns)| ns));
    let away = numa::ratio(elsewhere, sum(&others))?;
    let lies_there = process.pages.is_none_or(|pages| {
        pages.get(at).and_then(|here| numa::ratio(*here, sum(pages))).is_some_and(|share| share >= LIES_THERE)
    });
    let remote = remote_share(case)?;
    let told = own.local as f64 >= case.limit("pages")
        && numa::ratio(own.local, all)? >= case.limit("share")
        && sum(&others) as f64 / 1e9 >= case.limit("cpu-seconds")
        // Else it is the thread itself that went away from its memory.
        && sum(&others) >= filler.stats.cpu_ns
        && away >= case.limit("elsewhere-share")
        && lies_there
        && remote >= case.limit("remote-share");
    told.then(|| {
        let found = Found { filler, process, at, all, away, remote, others };
        Conclusion {
            severity: Severity::Warn,
            title: found.title(numbers),
            evidence: found.evidence(numbers),
            advice: found.advice(numbers),
            command: found.command(numbers),
        }
    })
}

/// First touches of memory without a file, by where they were.
#[derive(Clone, Copy, Default)]
struct Filled {
    local: u64,
    all: u64,
}

fn filled(stats: &ThreadStats) -> Filled {
    let Some(touches) = stats.touches else { return Filled::default() };
    let huge = touches.huge.unwrap_or_default();
    let pages = |small: u64, huge: u64| small.saturating_add(huge.saturating_mul(HUGE));
    Filled { local: pages(touches.first_touch.local, huge.local), all: pages(touches.first_touch.all(), huge.all()) }
}

fn all_filled(process: &Process<'_>) -> u64 {
    process.threads.iter().fold(0u64, |sum, thread| sum.saturating_add(filled(&thread.stats).all))
}

/// The node on which it made most of its local touches.
fn home_of(thread: &Thread) -> Option<usize> {
    let rows = thread.stats.touches_by_node.as_deref()?.iter().enumerate();
    let local: Vec<u64> = rows.map(|(node, row)| row.get(node).copied().unwrap_or(0)).collect();
    numa::most(&local)
}

/// Time on CPU by node of the threads that are not this one.
fn others(process: &Process<'_>, filler: &Thread) -> Vec<u64> {
    let own = filler.stats.residency_ns.iter().copied().chain(std::iter::repeat(0));
    process.residency_ns.iter().zip(own).map(|(all, own)| all.saturating_sub(own)).collect()
}

fn remote_share(case: &Case<'_>) -> Option<f64> {
    let totals = &case.numbers.totals;
    let hints = totals.hint_faults.unwrap_or_default();
    let all = sum([&hints.local, &hints.remote]);
    if all as f64 >= case.limit("hint-faults") { numa::ratio(hints.remote, all) } else { totals.expected_remote_share }
}

struct Found<'a> {
    filler: &'a Thread,
    process: &'a Process<'a>,
    at: usize,
    all: u64,
    away: f64,
    remote: f64,
    others: Vec<u64>,
}

impl Found<'_> {
    fn title(&self, numbers: &Snapshot) -> String {
        let place =
            self.place().map_or_else(String::new, |place| format!(", in {}, by {}", place.mapping, place.symbol));
        format!(
            "{} touched {} of {} pages first, on node {}{place}, and the other threads of process {} use them from other nodes, where they spend {} of their time on CPU.",
            nodes::name(self.filler),
            count(filled(&self.filler.stats).local),
            count(self.all),
            nodes::id(numbers, self.at),
            self.process.pid,
            percent(self.away)
        )
    }

    /// Where it touched most.
    fn place(&self) -> Option<&Location> {
        let places = self.filler.stats.locations.as_deref().unwrap_or_default();
        places.iter().filter(|place| place.local > 0).min_by_key(|place| std::cmp::Reverse(place.local))
    }

    fn evidence(&self, numbers: &Snapshot) -> serde_json::Value {
        let stats = &self.filler.stats;
        let mut evidence = Evidence::default();
        evidence.put("thread", self.filler.tid.0);
        evidence.put("process", self.process.pid.0);
        evidence.put_known("node", numbers.host.nodes.get(self.at).map(|node| node.id.0));
        evidence.put("pages_of_thread", filled(stats).local);
        evidence.put("pages_of_process", self.all);
        evidence.put_known("share", numa::ratio(filled(stats).local, self.all));
        if let Some(touches) = stats.touches {
            evidence.put("local_first_touches_of_thread", touches.first_touch.local);
            evidence.put("remote_first_touches_of_thread", touches.first_touch.remote);
            evidence.put_known("local_huge_touches_of_thread", touches.huge.map(|huge| huge.local));
        }
        evidence.put("elsewhere_share", self.away);
        evidence.put("remote_share", self.remote);
        evidence.put_by_node("cpu_ns_of_others", &self.others, numbers);
        evidence.put_by_node("cpu_ns_of_thread", &stats.residency_ns, numbers);
        evidence.put_hints(numbers);
        evidence.put_known("expected_remote_share", numbers.totals.expected_remote_share);
        evidence.put_by_node("pages", self.process.pages.unwrap_or_default(), numbers);
        if let Some(place) = self.place() {
            evidence.put("mapping", &*place.mapping);
            evidence.put("code", &*place.symbol);
        }
        evidence.done()
    }

    /// The node on which the others run, where that is one.
    fn node_of_others(&self) -> Option<usize> {
        let at = numa::most(&self.others).filter(|at| *at != self.at)?;
        (numa::ratio(*self.others.get(at)?, sum(&self.others))? >= 0.8).then_some(at)
    }

    fn advice(&self, numbers: &Snapshot) -> String {
        let general = "Let each thread touch its own part of the memory first, where it will use it; what all use alike is best interleaved (numactl --interleave, mbind).";
        match self.node_of_others() {
            Some(at) => {
                let id = nodes::id(numbers, at);
                format!("{general} Here all others run on node {id}: let the memory be filled there, or move it.")
            }
            None => general.to_owned(),
        }
    }

    fn command(&self, numbers: &Snapshot) -> Option<String> {
        self.process.move_pages(numbers, self.node_of_others()?)
    }
}
