//! What hides a part of the truth: lost records, threads that were refused, times that were not seen, sources that are off.

use serde_json::json;

use crate::findings::demand::{ratio, rounded};
use crate::findings::{Case, Conclusion, Limit, Rule, Severity};
use crate::snapshot::{Snapshot, Source, SourceState, sources};
use crate::text::{count, duration, share};
use crate::units::sum;

pub(super) const RULE: Rule = Rule {
    id: "partial",
    about: "What numatrace could not see is in no number: a finding that is missing may be missing because of that.",
    limits: &[
        Limit {
            name: "lost-share",
            default: 0.01,
            range: (0.0, 1.0),
            about: "share of records that were lost, from which on it is a warning; each lost one is told",
        },
        Limit {
            name: "refused-threads",
            default: 1.0,
            range: (1.0, 1e9),
            about: "threads for which there was no place, from which on it is a warning",
        },
        Limit {
            name: "gap-share",
            default: 0.01,
            range: (0.0, 1.0),
            about: "share of the time of all CPUs that a source saw nothing of, from which on it is a warning; each gap is told",
        },
        Limit {
            name: "unseen-share",
            default: 0.01,
            range: (0.0, 1.0),
            about: "switches and wakeups of which the kernel did not tell, as a share of switches, from which on they are told",
        },
    ],
    check,
};

/// Sources that are named in the sentence; all of them are in the evidence.
const NAMED: usize = 2;

fn check(case: &Case<'_>) -> Option<Conclusion> {
    let numbers = case.numbers;
    let hidden: Vec<&Source> = numbers.sources.iter().filter(|source| hides(source, numbers)).collect();
    let loss = &numbers.loss;
    let lost_share = ratio(loss.records_lost.min(loss.records_wanted), loss.records_wanted);
    let gap_ns = gap_ns(numbers);
    let whole_ns = numbers.duration_ns.saturating_mul(u64::from(numbers.host.cpus.max(1)));
    let unseen = numbers.totals.unseen_events;
    let unseen_share = ratio(unseen, numbers.totals.switches.total());
    let tells_unseen = unseen > 0 && unseen_share >= case.limit("unseen-share");
    let refused = numbers.refused_threads > 0 && numbers.refused_threads as f64 >= case.limit("refused-threads");
    let mut parts = Vec::new();
    if loss.records_lost > 0 {
        let (lost, all) = (loss.records_lost, loss.records_wanted);
        parts.push(format!("{} of {} records were lost ({})", count(lost), count(all), share(lost, all)));
    }
    if numbers.refused_threads > 0 {
        parts.push(format!("{} threads could not be tracked", count(numbers.refused_threads)));
    }
    if gap_ns > 0 {
        parts.push(format!("a source saw nothing of a CPU for {}", duration(gap_ns)));
    }
    if tells_unseen {
        parts.push(format!("the kernel did not tell of {} switches or wakeups", count(unseen)));
    }
    if numbers.incomplete.is_some() {
        parts.push("a part of the recording could not be read".to_owned());
    }
    parts.extend(of_sources(&hidden));
    if parts.is_empty() {
        return None;
    }
    let wrong = loss.records_lost > 0 && lost_share >= case.limit("lost-share")
        || refused
        || gap_ns > 0 && ratio(gap_ns, whole_ns) >= case.limit("gap-share");
    let state = |source: &&Source| json!({ "name": source.name, "state": source.state, "reason": source.reason });
    let evidence = json!({
        "records_wanted": loss.records_wanted,
        "records_lost": loss.records_lost,
        "lost_share": rounded(lost_share),
        "refused_threads": numbers.refused_threads,
        "gaps": numbers.gaps.len(),
        "gap_ns": gap_ns,
        "unseen_events": unseen,
        "switches": numbers.totals.switches.total(),
        "incomplete": numbers.incomplete,
        "sources": hidden.iter().map(state).collect::<Vec<_>>(),
    });
    let of_file = |source: &&Source| source.reason.as_deref().is_some_and(|why| why.starts_with(NOT_IN_FILE));
    let is_import = hidden.iter().copied().any(|source| of_file(&source));
    Some(Conclusion {
        severity: if wrong { Severity::Warn } else { Severity::Info },
        title: format!("Not everything was seen: {}.", parts.join("; ")),
        evidence,
        advice: advice(numbers, !hidden.is_empty(), is_import),
        command: (!hidden.is_empty() && !is_import).then(|| "numatrace doctor".into()),
    })
}

/// Whether a number is missing or only nearly right because of the state of a source. One that measures what the machine
/// does not have hides nothing, and samples are what was asked for.
fn hides(source: &Source, numbers: &Snapshot) -> bool {
    let is_less = matches!(source.state, SourceState::Off | SourceState::BestEffort);
    let is_there = !is_of_balancing(source) || balances(numbers);
    let one_node = source.name == NODE_MEMORY && numbers.host.nodes.len() < 2;
    is_less && is_there && !one_node && !approximates_nothing(source, numbers) && !follows(source, numbers)
}

/// How reasons begin of what an imported file lacks.
const NOT_IN_FILE: &str = "not in this file";

/// Name of the source of the nodes' memory.
const NODE_MEMORY: &str = "/sys/devices/system/node";
/// How names of the sources of throttled time begin.
const THROTTLE: &str = "cfs_rq->throttled";

/// It can only tell too much of throttled time, and there is none.
fn approximates_nothing(source: &Source, numbers: &Snapshot) -> bool {
    let is_throttle = source.state == SourceState::BestEffort && source.name.starts_with(THROTTLE);
    is_throttle && numbers.totals.throttled_wait_ns == Some(0)
}

/// What it measures is done by automatic NUMA balancing.
fn is_of_balancing(source: &Source) -> bool {
    let tracepoint = source.name.rsplit(':').next().unwrap_or_default();
    let hook = ["sched_move_numa", "sched_swap_numa"].contains(&tracepoint);
    let pages = [&sources::HINT_FAULTS[..], &sources::HINT_TIME, &sources::MIGRATED].concat();
    hook || pages.contains(&source.name.as_str())
}

/// Whether automatic NUMA balancing could do anything: there is a second node, and nobody says that it is off.
fn balances(numbers: &Snapshot) -> bool {
    let is_off = numbers.why_absent(&sources::HINT_FAULTS).is_some_and(|why| sources::NOT_BALANCING.contains(&why));
    numbers.host.nodes.len() > 1 && !is_off
}

/// It is off because another one is, which is told.
fn follows(source: &Source, numbers: &Snapshot) -> bool {
    let is = |names: &[&str]| names.contains(&source.name.as_str());
    let is_off = |names: &[&str]| {
        let mut known = numbers.sources.iter().filter(|source| names.contains(&source.name.as_str())).peekable();
        known.peek().is_some() && known.all(|source| source.state == SourceState::Off)
    };
    let of_hints = is(&sources::MIGRATED) || is(&sources::HINT_TIME);
    is(&sources::WHERE) && is_off(&sources::TOUCHES) || of_hints && is_off(&sources::HINT_FAULTS)
}

/// Of the sources the first few by name and reason, of the others how many.
fn of_sources(hidden: &[&Source]) -> Vec<String> {
    let one = |source: &&Source| {
        let state = if source.state == SourceState::Off { "off" } else { "best effort" };
        let reason = source.reason.as_deref().map_or_else(String::new, |reason| format!(" ({reason})"));
        format!("{} is {state}{reason}", source.name)
    };
    let mut said: Vec<String> = hidden.iter().take(NAMED).map(one).collect();
    match hidden.len().saturating_sub(NAMED) {
        0 => {}
        1 => said.push("1 more source is not fully on".into()),
        more => said.push(format!("{more} more sources are not fully on")),
    }
    said
}

/// Time that sources did not see, summed over CPUs.
fn gap_ns(numbers: &Snapshot) -> u64 {
    let each: Vec<u64> = numbers.gaps.iter().map(|gap| gap.end_ns.saturating_sub(gap.start_ns)).collect();
    sum(&each)
}

fn advice(numbers: &Snapshot, hidden: bool, is_import: bool) -> String {
    let reasons = &numbers.loss.by_reason;
    let advice = [
        (
            reasons.ring_full > 0,
            "Use a larger --ring-size, or a narrower target; percentiles and lists miss what was lost, sums do not.",
        ),
        (
            numbers.loss.records_lost > 0 && reasons.ring_full == 0,
            "Percentiles and lists miss what was lost, sums do not.",
        ),
        (numbers.refused_threads > 0, "Trace fewer threads: one process, one cgroup."),
        (!numbers.gaps.is_empty(), "Leave CPUs online while tracing."),
        (is_import, "The file that this was made of holds no more: record with numatrace where eBPF is allowed."),
        (hidden && !is_import, "See what this kernel and these rights offer, and what is missing for more."),
    ];
    let said: Vec<&str> = advice.iter().filter(|(is, _)| *is).map(|(_, advice)| *advice).collect();
    if said.is_empty() { "Take the numbers for a part of what happened.".into() } else { said.join(" ") }
}
