//! Threads that are moved between nodes: how often, which, and by what.

use super::evidence::Evidence;
use super::nodes::{self, Process};
use crate::findings::{Case, Conclusion, Limit, Rule, Severity};
use crate::numa;
use crate::snapshot::{Causes, Snapshot, Thread};
use crate::text::{count, share, visible};

pub(super) const RULE: Rule = Rule {
    id: "cross-node-hops",
    about: "A thread that goes on on another node leaves its caches behind, and all memory that it used there is remote from then on.",
    limits: &[
        Limit {
            name: "moves",
            default: 50.0,
            range: (1.0, 1e12),
            about: "turns on another node than the turn before, below which nothing is said",
        },
        Limit {
            name: "per-second",
            default: 10.0,
            range: (0.0, 1e9),
            about: "such turns a second, of all threads together, from which on they are many",
        },
        Limit {
            name: "per-cpu-second",
            default: 20.0,
            range: (0.0, 1e9),
            about: "such turns for each second on a CPU from which on they are many: at 0.5 ms to fill caches anew, 20 cost 1% of the time",
        },
        Limit {
            name: "cpus",
            default: 0.05,
            range: (0.0, 1e6),
            about: "CPUs in use on average, below which nothing is said",
        },
        Limit {
            name: "critical-per-cpu-second",
            default: 500.0,
            range: (0.0, 1e9),
            about: "such turns for each second on a CPU from which on it is critical: a fifth of the time at 0.5 ms each",
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

/// Threads that are named.
const NAMED: usize = 3;

fn check(case: &Case<'_>) -> Option<Conclusion> {
    let numbers = case.numbers;
    let totals = &numbers.totals;
    if nodes::with_cpus(numbers) < 2 {
        return None;
    }
    let per_second = nodes::per_second(totals.node_moves, numbers.duration_ns)?;
    let per_cpu_second = nodes::per_second(totals.node_moves, totals.cpu_ns)?;
    let cpus = nodes::cpus_used(numbers);
    let many = totals.node_moves as f64 >= case.limit("moves")
        && cpus >= case.limit("cpus")
        && per_second >= case.limit("per-second")
        && per_cpu_second >= case.limit("per-cpu-second");
    if !many {
        return None;
    }
    let hoppers = hoppers(numbers);
    let cause = main_cause(&hoppers, &totals.migrations.causes);
    let critical = per_cpu_second >= case.limit("critical-per-cpu-second") && cpus >= case.limit("critical-cpus");
    let processes = nodes::processes(numbers, |thread| thread.stats.node_moves);
    let process = processes.first();
    let home = process.and_then(|process| process.home(numbers));
    Some(Conclusion {
        severity: if critical { Severity::Critical } else { Severity::Warn },
        title: title(numbers, per_second, per_cpu_second, &hoppers, cause),
        evidence: evidence(numbers, per_second, per_cpu_second, &hoppers),
        advice: advice(numbers, cause, &hoppers, process, home),
        // What the program sets, it sets again.
        command: process
            .zip(home)
            .filter(|_| cause != Some(Cause::Affinity))
            .and_then(|(process, home)| process.bind_all(numbers, home)),
    })
}

/// What moved threads, as far as advice goes apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Wakeup,
    LoadBalance,
    Affinity,
    NumaBalancing,
    Hotplug,
    Other,
}

impl Cause {
    const fn words(self) -> &'static str {
        match self {
            Cause::Wakeup => "wakeups",
            Cause::LoadBalance => "the load balancer",
            Cause::Affinity => "active balance or a change of allowed CPUs",
            Cause::NumaBalancing => "automatic NUMA balancing",
            Cause::Hotplug => "CPUs going offline",
            Cause::Other => "what the kernel does not tell",
        }
    }
}

fn by_cause(causes: &Causes) -> [(Cause, u64); 6] {
    [
        (Cause::Wakeup, causes.wakeup),
        (Cause::LoadBalance, causes.load_balance),
        (Cause::Affinity, causes.active_balance_or_affinity),
        (Cause::NumaBalancing, causes.numa_balancing),
        (Cause::Hotplug, causes.hotplug),
        (Cause::Other, causes.other),
    ]
}

/// Threads that moved, most often first.
fn hoppers(numbers: &Snapshot) -> Vec<&Thread> {
    let mut all: Vec<&Thread> = numbers.threads.iter().filter(|thread| thread.stats.node_moves > 0).collect();
    all.sort_by_key(|thread| (std::cmp::Reverse(thread.stats.node_moves), thread.tid));
    all
}

/// Causes are known of all migrations of a thread together: each counts as far as the thread's migrations were between
/// nodes. `None` where no migration was seen.
fn main_cause(hoppers: &[&Thread], all: &Causes) -> Option<Cause> {
    let mut weights = [0.0; 6];
    for migrations in hoppers.iter().map(|thread| &thread.stats.migrations) {
        let crossed = numa::ratio(migrations.cross_node, migrations.total()).unwrap_or(0.0);
        let causes = by_cause(&migrations.causes);
        weights.iter_mut().zip(causes).for_each(|(weight, (_, count))| *weight += crossed * count as f64);
    }
    let known = weights.iter().any(|weight| *weight > 0.0);
    let of_all = by_cause(all);
    let weighed =
        of_all.iter().zip(weights).map(|((cause, count), weight)| (*cause, if known { weight } else { *count as f64 }));
    // The first of equals.
    let largest = weighed.fold(None, |largest: Option<(Cause, f64)>, (cause, weight)| match largest {
        Some((_, most)) if weight <= most => largest,
        _ => (weight > 0.0).then_some((cause, weight)).or(largest),
    });
    largest.map(|(cause, _)| cause)
}

fn title(
    numbers: &Snapshot,
    per_second: f64,
    per_cpu_second: f64,
    hoppers: &[&Thread],
    cause: Option<Cause>,
) -> String {
    let totals = &numbers.totals;
    let named = hoppers.iter().take(NAMED);
    let named: Vec<String> =
        named.map(|thread| format!("{} {} times", nodes::name(thread), count(thread.stats.node_moves))).collect();
    let mut title = format!(
        "Threads went on on another node {} times a second, {} times for each second on a CPU ({} of {} turns, {})",
        nodes::rate(per_second),
        nodes::rate(per_cpu_second),
        count(totals.node_moves),
        count(totals.switches.total()),
        share(totals.node_moves, totals.switches.total()),
    );
    if !named.is_empty() {
        title.push_str(&format!(": {}", named.join(", ")));
    }
    if let Some(cause) = cause {
        title.push_str(&format!("; moved mostly by {}", cause.words()));
    }
    title + "."
}

fn evidence(numbers: &Snapshot, per_second: f64, per_cpu_second: f64, hoppers: &[&Thread]) -> serde_json::Value {
    let totals = &numbers.totals;
    let migrations = &totals.migrations;
    let mut evidence = Evidence::default();
    evidence.put("node_moves", totals.node_moves);
    evidence.put("node_moves_per_second", per_second);
    evidence.put("node_moves_per_cpu_second", per_cpu_second);
    evidence.put("turns", totals.switches.total());
    evidence.put_known("share_of_turns", numa::ratio(totals.node_moves, totals.switches.total()));
    evidence.put("cross_node_migrations", migrations.cross_node);
    evidence.put("migrations", migrations.total());
    evidence.put("unclassified_migrations", migrations.unclassified);
    evidence.put_known("cross_node_share", numa::ratio(migrations.cross_node, migrations.total()));
    let causes = &migrations.causes;
    evidence.put("migrations_by_wakeup", causes.wakeup);
    evidence.put("migrations_by_load_balance", causes.load_balance);
    evidence.put("migrations_by_active_balance_or_affinity", causes.active_balance_or_affinity);
    evidence.put("migrations_by_numa_balancing", causes.numa_balancing);
    evidence.put("migrations_by_hotplug", causes.hotplug);
    evidence.put("migrations_by_other", causes.other);
    for thread in hoppers.iter().take(NAMED) {
        evidence.put(&format!("node_moves_of_thread_{}", thread.tid), thread.stats.node_moves);
    }
    evidence.put("threads_that_moved", hoppers.len() as u64);
    evidence.put_by_node("cpu_ns", &totals.residency_ns, numbers);
    evidence.done()
}

fn advice(
    numbers: &Snapshot,
    cause: Option<Cause>,
    hoppers: &[&Thread],
    process: Option<&Process<'_>>,
    home: Option<usize>,
) -> String {
    let waker = hoppers.first().and_then(|thread| thread.stats.wakers.iter().find(|waker| waker.tid.0 != 0));
    let first = match cause {
        Some(Cause::Wakeup) => {
            let who = waker.map_or_else(String::new, |waker| {
                format!(" (the first is woken most by {} (tid {}))", visible(&waker.comm), waker.tid)
            });
            format!("A wakeup places a thread near its waker or on an idle CPU: bind threads that wake each other to one node{who}.")
        }
        Some(Cause::LoadBalance) => {
            "The load balancer evens out queues over all allowed CPUs: allow each process the CPUs of one node, with taskset or a cpuset.".into()
        }
        Some(Cause::Affinity) => {
            "The program, or somebody for it, changes allowed CPUs, or the balancer pushed a running thread away: look for calls of sched_setaffinity, and set the CPUs of one node once.".into()
        }
        Some(Cause::NumaBalancing) => {
            "NUMA balancing follows the memory and does not settle: bind the process and its memory to one node, then there is nothing to balance.".into()
        }
        _ => "Allow each process the CPUs of one node.".to_owned(),
    };
    let second = match (process, home) {
        (Some(process), Some(home)) => format!(
            " {} wants {:.1} CPUs on average, which node {} has.",
            process.who(),
            process.wanted_cpus(),
            nodes::id(numbers, home)
        ),
        (Some(process), None) => format!(
            " {} wants {:.1} CPUs on average, more than it may use on any of its nodes: run one process a node, or bind groups of its threads.",
            process.who(),
            process.wanted_cpus()
        ),
        _ => String::new(),
    };
    first + &second
}
