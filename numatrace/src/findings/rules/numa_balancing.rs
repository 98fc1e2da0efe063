//! Automatic NUMA balancing that does not come to rest: pages that go back and forth, faults that change nothing, threads
//! that follow their memory and leave it again.

use super::evidence::Evidence;
use super::nodes;
use crate::findings::{Case, Conclusion, Limit, Rule, Severity};
use crate::numa;
use crate::snapshot::Snapshot;
use crate::text::{count, duration, percent};
use crate::units::sum;

pub(super) const RULE: Rule = Rule {
    id: "numa-balancing",
    about: "Automatic NUMA balancing makes pages fault to see who uses them, and moves pages and threads together: where several nodes use the same memory it never comes to rest, and every fault and every copy costs time.",
    limits: &[
        Limit {
            name: "seconds",
            default: 3.0,
            range: (0.0, 1e9),
            about: "time below which nothing is said, seconds: at first balancing has much to do everywhere",
        },
        Limit {
            name: "cpu-seconds",
            default: 0.5,
            range: (0.0, 1e9),
            about: "time on CPU below which nothing is said, seconds",
        },
        Limit {
            name: "moved-times",
            default: 1.5,
            range: (0.0, 1e6),
            about: "pages moved for each resident page, from which on they go back and forth",
        },
        Limit {
            name: "moved-per-second",
            default: 1_000.0,
            range: (0.0, 1e12),
            about: "pages moved a second, from which on going back and forth is worth a word",
        },
        Limit {
            name: "faults-per-cpu-second",
            default: 5_000.0,
            range: (0.0, 1e12),
            about: "hint faults for each second on a CPU, from which on they are many where the time in them is not measured: 1% of the time at 2 us each",
        },
        Limit {
            name: "fault-time-share",
            default: 0.01,
            range: (0.0, 1e6),
            about: "time in hint faults for each second on a CPU, from which on they are many",
        },
        Limit {
            name: "idle-remote-share",
            default: 0.3,
            range: (0.0, 1.0),
            about: "remote share of hint faults, from which on many of them that move little are said to change nothing",
        },
        Limit {
            name: "moved-share",
            default: 0.25,
            range: (0.0, 1e6),
            about: "pages moved for each remote hint fault, up to which they are said to move little; eased, it is larger",
        },
        Limit {
            name: "thread-moves-per-cpu-second",
            default: 5.0,
            range: (0.0, 1e9),
            about: "threads moved by balancing for each second on a CPU, from which on they are many",
        },
        Limit {
            name: "critical-moved-per-cpu-second",
            default: 20_000.0,
            range: (0.0, 1e12),
            about: "pages moved for each second on a CPU, while they go back and forth, from which on it is critical where the time in hint faults is not measured: a tenth of the time at 5 us each",
        },
        Limit {
            name: "critical-fault-time-share",
            default: 0.1,
            range: (0.0, 1e6),
            about: "time in hint faults for each second on a CPU, while pages go back and forth, from which on it is critical",
        },
    ],
    check,
};

/// What it does in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Vain {
    /// Pages were moved more often than there are pages.
    BackAndForth,
    /// Faults that lead to nothing.
    Faults,
    /// Threads are moved again and again.
    Threads,
}

fn check(case: &Case<'_>) -> Option<Conclusion> {
    let numbers = case.numbers;
    let totals = &numbers.totals;
    let long = numbers.duration_ns as f64 / 1e9 >= case.limit("seconds");
    let busy = totals.cpu_ns as f64 / 1e9 >= case.limit("cpu-seconds");
    if nodes::with_cpus(numbers) < 2 || !long || !busy {
        return None;
    }
    let vain = vain(case)?;
    let much = match time_share(numbers) {
        Some(share) => share >= case.limit("critical-fault-time-share"),
        None => {
            let moved = totals.pages_migrated.unwrap_or(0);
            nodes::per_second(moved, totals.cpu_ns)? >= case.limit("critical-moved-per-cpu-second")
        }
    };
    let critical = vain == Vain::BackAndForth && much;
    let (advice, command) = remedy(numbers);
    // Faults and copies are not what is wrong: switching them off for the whole machine is no remedy.
    let command = command.filter(|command| vain != Vain::Threads || !command.starts_with("sysctl"));
    Some(Conclusion {
        severity: if critical { Severity::Critical } else { Severity::Warn },
        title: title(numbers, vain),
        evidence: evidence(numbers),
        advice,
        command,
    })
}

fn vain(case: &Case<'_>) -> Option<Vain> {
    let numbers = case.numbers;
    let totals = &numbers.totals;
    let moved = totals.pages_migrated.unwrap_or(0);
    if let Some(times) = moved_times(numbers)
        && times >= case.limit("moved-times")
        && nodes::per_second(moved, numbers.duration_ns)? >= case.limit("moved-per-second")
    {
        return Some(Vain::BackAndForth);
    }
    let hints = totals.hint_faults.unwrap_or_default();
    let all = sum([&hints.local, &hints.remote]);
    // Without a count of pages moved, nothing is known of what the faults led to.
    let little = totals
        .pages_migrated
        .is_some_and(|moved| moved as f64 <= nodes::at_most(case, "moved-share") * hints.remote as f64);
    let many = match time_share(numbers) {
        Some(share) => share >= case.limit("fault-time-share"),
        None => nodes::per_second(all, totals.cpu_ns)? >= case.limit("faults-per-cpu-second"),
    };
    if all > 0 && little && many && numa::ratio(hints.remote, all)? >= case.limit("idle-remote-share") {
        return Some(Vain::Faults);
    }
    let threads = nodes::per_second(totals.migrations.causes.numa_balancing, totals.cpu_ns)?;
    (threads > 0.0 && threads >= case.limit("thread-moves-per-cpu-second")).then_some(Vain::Threads)
}

/// Time in hint faults for each second on a CPU: more than 1 where threads wait in them. `None` where it is not measured.
fn time_share(numbers: &Snapshot) -> Option<f64> {
    numa::ratio(numbers.totals.hint_fault_ns?, numbers.totals.cpu_ns)
}

/// The same in words, to be put behind a number of faults or pages.
fn time_spent(numbers: &Snapshot) -> String {
    match (numbers.totals.hint_fault_ns, time_share(numbers)) {
        (Some(ns), Some(share)) => {
            format!(" {} were spent in hint faults, {} of the time on CPU.", duration(ns), percent(share))
        }
        _ => String::new(),
    }
}

/// Pages moved for each resident page; `None` where one of them is not known.
fn moved_times(numbers: &Snapshot) -> Option<f64> {
    numa::ratio(numbers.totals.pages_migrated?, sum(numbers.placement_pages.as_deref()?))
}

fn title(numbers: &Snapshot, vain: Vain) -> String {
    let totals = &numbers.totals;
    let a_second = |count: u64| nodes::rate(nodes::per_second(count, numbers.duration_ns).unwrap_or(0.0));
    let hints = totals.hint_faults.unwrap_or_default();
    let all = sum([&hints.local, &hints.remote]);
    let moved = totals.pages_migrated.unwrap_or(0);
    match vain {
        Vain::BackAndForth => format!(
            "NUMA balancing moves pages back and forth: {} pages, {} a second, {} times as many as there are resident.{}",
            count(moved),
            a_second(moved),
            nodes::rate(moved_times(numbers).unwrap_or(0.0)),
            time_spent(numbers)
        ),
        Vain::Faults => format!(
            "NUMA balancing makes {} faults a second and settles nothing: {} of them are remote, and {} pages were moved for {} remote faults.{}",
            a_second(all),
            percent(numa::ratio(hints.remote, all).unwrap_or(0.0)),
            count(moved),
            count(hints.remote),
            time_spent(numbers)
        ),
        Vain::Threads => format!(
            "NUMA balancing moves threads {} times a second, {} times in all.",
            a_second(totals.migrations.causes.numa_balancing),
            count(totals.migrations.causes.numa_balancing)
        ),
    }
}

fn evidence(numbers: &Snapshot) -> serde_json::Value {
    let totals = &numbers.totals;
    let mut evidence = Evidence::default();
    evidence.put_hints(numbers);
    if let Some(hints) = totals.hint_faults {
        let all = sum([&hints.local, &hints.remote]);
        evidence.put("hint_faults", all);
        evidence.put_known("hint_faults_per_second", nodes::per_second(all, numbers.duration_ns));
        evidence.put_known("hint_faults_per_cpu_second", nodes::per_second(all, totals.cpu_ns));
        evidence.put_known("remote_share", numa::ratio(hints.remote, all));
        evidence.put_known(
            "moved_for_each_remote_fault",
            totals.pages_migrated.and_then(|moved| numa::ratio(moved, hints.remote)),
        );
    }
    evidence.put_known("hint_fault_ns", totals.hint_fault_ns);
    evidence.put_known("hint_fault_time_share", time_share(numbers));
    let moved = totals.pages_migrated;
    evidence
        .put_known("pages_migrated_per_second", moved.and_then(|moved| nodes::per_second(moved, numbers.duration_ns)));
    evidence.put_known("moved_for_each_resident_page", moved_times(numbers));
    evidence.put_known("resident_pages", numbers.placement_pages.as_deref().map(sum));
    evidence.put("threads_moved", totals.migrations.causes.numa_balancing);
    evidence.put_known(
        "threads_moved_per_second",
        nodes::per_second(totals.migrations.causes.numa_balancing, numbers.duration_ns),
    );
    evidence.put_places(numbers);
    evidence.done()
}

fn remedy(numbers: &Snapshot) -> (String, Option<String>) {
    let processes = nodes::processes(numbers, |thread| thread.stats.hint_faults.map_or(0, |hints| hints.remote));
    let bound = processes.first().and_then(|process| {
        let home = process.home(numbers)?;
        Some((process, home, process.bind(numbers, home)?))
    });
    match bound {
        Some((process, home, command)) => {
            let (id, who) = (nodes::id(numbers, home), process.who());
            let advice = format!(
                "{who} wants {:.1} CPUs on average, which node {id} has: on one node there is nothing to balance. Else switch balancing off (sysctl kernel.numa_balancing=0): no faults and no copies any more, for the whole machine, and memory stays where it is.",
                process.wanted_cpus()
            );
            (
                advice,
                Some(
                    process.move_pages(numbers, home).map_or(command.clone(), |moves| format!("{command} && {moves}")),
                ),
            )
        }
        None => {
            let advice = "Bind each process, or groups of its threads with their memory, to a node. Else switch balancing off: no faults and no copies any more, but for the whole machine, and memory stays where it is, also that of programs which balancing helps.";
            (advice.into(), Some("sysctl kernel.numa_balancing=0".into()))
        }
    }
}
