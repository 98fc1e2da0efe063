//! Memory that lies on another node than the threads that use it: how much, which, and what brings them together.

mod stands;

use self::stands::{AT_HOME, On, Stands, misplaced, stands};
use super::evidence::Evidence;
use super::nodes::{self, Process};
use crate::findings::{Case, Conclusion, Limit, Rule, Severity};
use crate::snapshot::{Location, Snapshot};
use crate::text::{count, percent};
use crate::units::sum;
use crate::words;

pub(super) const RULE: Rule = Rule {
    id: "remote-memory",
    about: "Memory on another node than the CPU takes two to three times as long to reach, and the links between nodes are shared by all.",
    limits: &[
        Limit {
            name: "share",
            default: 0.3,
            range: (0.0, 1.0),
            about: "remote share of what it stands on, hint faults, expected accesses or page touches, from which on it is much",
        },
        Limit {
            name: "misplaced-share",
            default: 0.3,
            range: (0.0, 1.0),
            about: "where it stands on placement: part that is remote even if each thread uses memory of its own node as far as there is any",
        },
        Limit {
            name: "hint-faults",
            default: 200.0,
            range: (1.0, 1e12),
            about: "hint faults below which they prove nothing",
        },
        Limit {
            name: "pages",
            default: 8_192.0,
            range: (1.0, 1e12),
            about: "resident pages below which placement is not worth a word (32 MiB in pages of 4 KiB: about what caches hold)",
        },
        Limit {
            name: "touches",
            default: 2_000.0,
            range: (1.0, 1e12),
            about: "page touches, those of files and shared memory left out, below which they prove nothing",
        },
        Limit {
            name: "cpu-seconds",
            default: 0.5,
            range: (0.0, 1e9),
            about: "time on CPU below which nothing is said, seconds",
        },
        Limit {
            name: "cpus",
            default: 0.1,
            range: (0.0, 1e6),
            about: "CPUs in use on average, below which memory slows nobody down",
        },
        Limit {
            name: "critical-cost",
            default: 1.5,
            range: (1.0, 100.0),
            about: "time of a memory access against a local one, by the distances, from which on it is critical; page touches alone never are",
        },
        Limit {
            name: "critical-cpus",
            default: 0.5,
            range: (0.0, 1e6),
            about: "CPUs in use on average, below which it is not critical",
        },
    ],
    check,
};

fn check(case: &Case<'_>) -> Option<Conclusion> {
    let numbers = case.numbers;
    let totals = &numbers.totals;
    let cpus = nodes::cpus_used(numbers);
    let runs = totals.cpu_ns as f64 / 1e9 >= case.limit("cpu-seconds") && cpus >= case.limit("cpus");
    if numbers.host.nodes.len() < 2 || !runs {
        return None;
    }
    let stands = stands(case)?;
    let cost = stands.cost(numbers);
    let critical = stands.on != On::Touches
        && cost.is_some_and(|cost| cost >= case.limit("critical-cost"))
        && cpus >= case.limit("critical-cpus");
    let remote = |stats: &crate::snapshot::ThreadStats| {
        let hints = stats.hint_faults.map_or(0, |hints| hints.remote);
        hints.saturating_add(stats.touches.map_or(0, |touches| touches.total().remote))
    };
    let processes = nodes::processes(numbers, |thread| remote(&thread.stats));
    let (advice, command) = remedy(numbers, processes.first());
    Some(Conclusion {
        severity: if critical { Severity::Critical } else { Severity::Warn },
        title: title(numbers, &stands, cost),
        evidence: evidence(numbers, &stands, cost),
        advice,
        command,
    })
}

fn title(numbers: &Snapshot, stands: &Stands, cost: Option<f64>) -> String {
    let totals = &numbers.totals;
    let what = match stands.on {
        On::HintFaults => {
            let hints = totals.hint_faults.unwrap_or_default();
            let all = sum([&hints.local, &hints.remote]);
            format!(
                "Memory in use lies on the wrong node: {} of {} NUMA hint faults were remote",
                percent(stands.share),
                count(all)
            )
        }
        On::Placement => format!(
            "Memory lies where its threads do not run: {} of accesses are expected to be remote, {} at least",
            percent(stands.share),
            percent(stands.certain)
        ),
        On::Touches => format!(
            "Memory is placed on the wrong node: {} of page touches outside of files were remote when pages were first used",
            percent(stands.share)
        ),
    };
    let cost = cost.map_or_else(String::new, |cost| {
        format!(", {} times the time of local ones by the distances", words::factor(cost))
    });
    let pair = totals.touches_by_node.as_deref().and_then(nodes::worst_pair);
    let pair = pair.map_or_else(String::new, |(from, to, _)| {
        format!("; touched mostly from node {} on node {}", nodes::id(numbers, from), nodes::id(numbers, to))
    });
    let place =
        top_place(numbers).map_or_else(String::new, |place| format!(", in {}, by {}", place.mapping, place.symbol));
    format!("{what}{cost}{pair}{place}.")
}

fn top_place(numbers: &Snapshot) -> Option<&Location> {
    numbers.totals.locations.iter().flatten().find(|place| place.remote > 0)
}

fn evidence(numbers: &Snapshot, stands: &Stands, cost: Option<f64>) -> serde_json::Value {
    let totals = &numbers.totals;
    let mut evidence = Evidence::default();
    evidence.put(
        "stands_on",
        match stands.on {
            On::HintFaults => "hint faults: samples of steady use",
            On::Placement => "placement: an estimate, as if all pages were used alike",
            On::Touches => "page touches: first uses alone",
        },
    );
    evidence.put("share", stands.share);
    evidence.put("certain_share", stands.certain);
    evidence.put_known("estimated_cost", cost);
    evidence.put_hints(numbers);
    evidence.put_touches(numbers);
    evidence.put_known("remote_share_of_touches", totals.remote_share);
    evidence.put_known("cost_factor_of_touches", totals.cost_factor);
    evidence.put_known("expected_remote_share", totals.expected_remote_share);
    evidence.put_known("misplaced_share", misplaced(numbers));
    evidence.put_places(numbers);
    if let Some((from, to, touches)) = totals.touches_by_node.as_deref().and_then(nodes::worst_pair) {
        evidence
            .put("worst_pair", format!("from node {} on node {}", nodes::id(numbers, from), nodes::id(numbers, to)));
        evidence.put("worst_pair_touches", touches);
    }
    if let Some(place) = top_place(numbers) {
        evidence.put("mapping", &*place.mapping);
        evidence.put("code", &*place.symbol);
        evidence.put("sampled_remote_touches_there", place.remote);
        let all = totals.locations.iter().flatten().map(|place| &place.remote);
        evidence.put("sampled_remote_touches", sum(all));
    }
    evidence.done()
}

/// What brings the process with most remote memory and its memory together.
fn remedy(numbers: &Snapshot, process: Option<&Process<'_>>) -> (String, Option<String>) {
    let Some((process, (main, share))) = process.and_then(|process| Some((process, process.main_node()?))) else {
        return ("Run the threads on the node where their memory lies, or let them fill it themselves.".into(), None);
    };
    let (who, main_id) = (process.who(), nodes::id(numbers, main));
    if share >= AT_HOME
        && let Some(command) = process.move_pages(numbers, main)
    {
        let advice = format!(
            "{who} runs on node {main_id} for {} of its time: move its memory there, and start it with {}.",
            percent(share),
            process.start_on(numbers, main)
        );
        return (advice, Some(command));
    }
    match process.home(numbers) {
        Some(home) => {
            let id = nodes::id(numbers, home);
            let advice = format!(
                "{who} wants {:.1} CPUs on average, which node {id} has: bind it there with its memory, and start it with {}.",
                process.wanted_cpus(),
                process.start_on(numbers, home)
            );
            (advice, process.bind_all(numbers, home))
        }
        None => {
            let advice = format!(
                "{who} wants {:.1} CPUs on average, more than it may use on any of its nodes: run one process a node, or let each thread fill the memory that it uses; what all use alike is best interleaved.",
                process.wanted_cpus()
            );
            (advice, None)
        }
    }
}
