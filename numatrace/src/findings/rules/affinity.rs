//! Threads that may use too few CPUs while others are idle.

use std::collections::HashMap;

use serde_json::json;

use crate::findings::demand::{Cpus, Time, active, cpus, how_many, ms, ratio, rounded};
use crate::findings::kernel_threads::kind;
use crate::findings::{Case, Conclusion, Limit, Rule, Severity};
use crate::snapshot::{Snapshot, Thread};
use crate::text::{count, share};

pub(super) const RULE: Rule = Rule {
    id: "affinity",
    about: "Threads wait for the few CPUs that they may use while CPUs that they may not use are idle: the scheduler cannot move them there.",
    limits: &[
        Limit {
            name: "runnable-per-cpu",
            default: 1.25,
            range: (1.0, 1e6),
            about: "threads that could run on average for each CPU that they may use, from which on it is a warning",
        },
        Limit {
            name: "critical-per-cpu",
            default: 3.0,
            range: (1.0, 1e6),
            about: "the same, from which on it is critical",
        },
        Limit {
            name: "idle-cpus",
            default: 1.0,
            range: (0.0, 65_536.0),
            about: "CPUs elsewhere that the target did not use, below which nothing is said",
        },
        Limit {
            name: "least-ms",
            default: 100.0,
            range: (0.0, 1e6),
            about: "milliseconds that these threads waited, below which nothing is said",
        },
    ],
    check,
};

/// Different masks that are looked at, those whose threads want most.
const MASKS: usize = 512;
/// Threads that a command names.
const NAMED: usize = 16;

fn check(case: &Case<'_>) -> Option<Conclusion> {
    let numbers = case.numbers;
    let groups = groups(numbers);
    let union = groups.iter().fold(Cpus::default(), |all, (mask, _)| all.or(mask));
    let machine = Cpus::online(numbers).or(&union);
    let used = Used::of(numbers);
    let found = groups.iter().filter_map(|(mask, _)| {
        let crowded = Crowded::of(*mask, &groups, numbers.duration_ns);
        let waited_ns = crowded.time.wait_ns.saturating_sub(crowded.time.throttled_ns);
        let enough = waited_ns > 0 && ms(waited_ns) >= case.limit("least-ms");
        if !enough || crowded.per_cpu() < case.limit("runnable-per-cpu") {
            return None;
        }
        // Where others of the target may run, else where only the machine has CPUs.
        let places = [(union, true), (machine, false)];
        let places = places.into_iter().filter(|(all, _)| !all.is_within(mask));
        let mut idle = places.map(|(all, within)| (all, within, used.idle(&all.without(mask))));
        let (all, within, idle) = idle.find(|(_, _, idle)| *idle >= case.limit("idle-cpus"))?;
        Some((crowded, all, within, idle))
    });
    let (crowded, all, within, idle) = found.max_by(|a, b| {
        (a.0.excess(), b.0.mask.count())
            .partial_cmp(&(b.0.excess(), a.0.mask.count()))
            .unwrap_or(std::cmp::Ordering::Equal)
    })?;
    let critical = crowded.per_cpu() >= case.limit("critical-per-cpu");
    let severity = match (mask_is_all(&crowded.mask, &union), critical) {
        // That all threads together have few CPUs is a choice that somebody made.
        (true, _) => Severity::Info,
        (false, true) => Severity::Critical,
        (false, false) => Severity::Warn,
    };
    Some(told(numbers, severity, &crowded, &all, within, idle))
}

fn mask_is_all(mask: &Cpus, union: &Cpus) -> bool {
    union.is_within(mask)
}

/// Time of the threads that live, by the CPUs that they may use.
fn groups(numbers: &Snapshot) -> Vec<(Cpus, Time)> {
    let mut by_list: HashMap<&str, Time> = HashMap::new();
    for thread in active(numbers) {
        if let Some(sched) = &thread.sched {
            let time = by_list.entry(&*sched.allowed_cpus).or_default();
            *time = time.add(Time::of(&thread.stats));
        }
    }
    let parsed = by_list.into_iter().filter_map(|(list, time)| Some((Cpus::parse(list)?, time)));
    let mut groups: Vec<(Cpus, Time)> = parsed.collect();
    groups.sort_by_key(|(mask, time)| (std::cmp::Reverse(time.runnable_ns()), *mask));
    groups.truncate(MASKS);
    groups
}

/// Threads that may use nothing but some CPUs.
struct Crowded {
    mask: Cpus,
    time: Time,
    /// So many of them could run on average.
    runnable: f64,
}

impl Crowded {
    fn of(mask: Cpus, groups: &[(Cpus, Time)], duration_ns: u64) -> Crowded {
        let within = groups.iter().filter(|(other, _)| other.is_within(&mask));
        let time = within.map(|(_, time)| *time).fold(Time::default(), Time::add);
        Crowded { mask, time, runnable: time.wanted(duration_ns) }
    }

    fn per_cpu(&self) -> f64 {
        self.runnable / f64::from(self.mask.count().max(1))
    }

    /// Threads that could run and had no CPU.
    fn excess(&self) -> f64 {
        self.runnable - f64::from(self.mask.count())
    }
}

/// How much of each CPU the target used.
struct Used {
    by_cpu: HashMap<u32, f64>,
}

impl Used {
    fn of(numbers: &Snapshot) -> Used {
        let used = numbers.totals.residency_cpu_ns.iter();
        Used { by_cpu: used.map(|(cpu, ns)| (cpu, ratio(ns, numbers.duration_ns).min(1.0))).collect() }
    }

    /// So much of these CPUs it did not use.
    fn idle(&self, cpus: &Cpus) -> f64 {
        cpus.iter().map(|cpu| 1.0 - self.by_cpu.get(&cpu).copied().unwrap_or(0.0)).sum()
    }
}

fn told(numbers: &Snapshot, severity: Severity, crowded: &Crowded, all: &Cpus, within: bool, idle: f64) -> Conclusion {
    let Crowded { mask, time, runnable } = crowded;
    let threads = crowd(numbers, mask);
    let evidence = json!({
        "mask": mask.list(),
        "mask_cpus": mask.count(),
        "threads": threads.len(),
        "runnable_threads": rounded(*runnable),
        "idle_cpus_elsewhere": rounded(idle),
        "elsewhere": all.without(mask).list(),
        "duration_ns": numbers.duration_ns,
        "cpu_ns": time.cpu_ns,
        "wait_ns": time.wait_ns,
        "throttled_wait_ns": threads.iter().any(|thread| thread.stats.throttled_wait_ns.is_some()).then_some(time.throttled_ns),
    });
    let where_idle = if within { "idle that others of its threads may use" } else { "of the machine idle" };
    let n = threads.len() as u64;
    let title = format!(
        "{} thread{} may use nothing but {} ({}), where {} could run on average, while the target leaves {} {where_idle}.",
        count(n),
        if n == 1 { "" } else { "s" },
        cpus(f64::from(mask.count())),
        mask.list(),
        how_many(*runnable),
        cpus(idle),
    );
    let waited = share(time.wait_ns, time.runnable_ns());
    let others =
        if numbers.target.kind == "all" { "" } else { " What other programs use of these CPUs is not known here." };
    let advice = format!(
        "They waited {waited} of the time in which they could run: let them use more CPUs, best those that share a cache or a node with the ones that they have.{others}"
    );
    Conclusion { severity, title, evidence, advice, command: command(numbers, &threads, all) }
}

/// The threads that live, may use nothing but these CPUs and want them.
fn crowd<'a>(numbers: &'a Snapshot, mask: &Cpus) -> Vec<&'a Thread> {
    let mut known: HashMap<&'a str, bool> = HashMap::new();
    let within = |thread: &&'a Thread| {
        let Some(list) = thread.sched.as_ref().map(|sched| &*sched.allowed_cpus) else { return false };
        *known.entry(list).or_insert_with(|| Cpus::parse(list).is_some_and(|cpus| cpus.is_within(mask)))
    };
    active(numbers).filter(within).collect()
}

/// Lets the threads use all these CPUs: each of them, or their process where they are many or all of it. None where they have
/// ended, or the kernel's own threads are among them.
fn command(numbers: &Snapshot, threads: &[&Thread], all: &Cpus) -> Option<String> {
    let pid = threads.first()?.pid;
    if threads.iter().any(|thread| thread.exited || kind(&thread.comm).is_some() || thread.tid.0 <= 1) {
        return None;
    }
    let list = all.list();
    let living = numbers.threads.iter().filter(|thread| !thread.exited && thread.pid == pid).count();
    let one_process = pid.0 > 1 && threads.iter().all(|thread| thread.pid == pid);
    if one_process && (threads.len() == living || threads.len() > NAMED) {
        return Some(format!("taskset -acp {list} {pid}"));
    }
    match threads {
        [one] => Some(format!("taskset -cp {list} {}", one.tid)),
        _ if threads.len() > NAMED => None,
        _ => {
            let tids: Vec<String> = threads.iter().map(|thread| thread.tid.to_string()).collect();
            Some(format!("for tid in {}; do taskset -cp {list} $tid; done", tids.join(" ")))
        }
    }
}
