//! More threads that could run than CPUs that they may use.

use serde_json::json;

use crate::findings::demand::{
    Cpus, Time, Waited, active, allowed, cpus, how_many, ms, ratio, rounded, threads, tightest,
};
use crate::findings::{Case, Conclusion, Limit, Rule, Severity};
use crate::snapshot::Snapshot;
use crate::text::share;

pub(super) const RULE: Rule = Rule {
    id: "oversubscribed",
    about: "With more threads that can run than CPUs that they may use, each of them waits for the others of its own program.",
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
            name: "own-share",
            default: 0.5,
            range: (0.0, 1.0),
            about: "share of the time waited in which threads of the same process ran, below which nothing is said",
        },
        Limit {
            name: "least-ms",
            default: 100.0,
            range: (0.0, 1e6),
            about: "milliseconds waited behind threads of the same process, below which nothing is said",
        },
    ],
    check,
};

fn check(case: &Case<'_>) -> Option<Conclusion> {
    let numbers = case.numbers;
    let (time, waited) = (Time::of(&numbers.totals), Waited::of(&numbers.totals));
    let own_ns = waited.own_ns?;
    let (mask, machine) = (allowed(numbers)?, Cpus::online(numbers));
    let quota = tightest(numbers).filter(|(_, cpus)| *cpus < f64::from(mask.count()));
    let may = quota.map_or(f64::from(mask.count()), |(_, cpus)| cpus);
    let runnable = time.runnable(numbers.duration_ns);
    let behind_own = ratio(own_ns, waited.wait_ns) >= case.limit("own-share") && ms(own_ns) >= case.limit("least-ms");
    if own_ns == 0 || !behind_own || runnable < case.limit("runnable-per-cpu") * may {
        return None;
    }
    let critical = runnable >= case.limit("critical-per-cpu") * may;
    let evidence = json!({
        "runnable_threads": rounded(runnable),
        "allowed_cpus": rounded(may),
        "mask": mask.list(),
        "mask_cpus": mask.count(),
        "machine_cpus": machine.count(),
        "quota_cpus": quota.map(|(_, cpus)| cpus),
        "duration_ns": numbers.duration_ns,
        "cpu_ns": time.cpu_ns,
        "wait_ns": waited.wait_ns,
        "throttled_wait_ns": waited.throttled_ns,
        "behind_own_ns": own_ns,
        "behind_others_ns": waited.others_ns,
        "rest_ns": waited.rest_ns,
    });
    let by = match quota {
        Some((quota, _)) => format!(" (the quota of {})", quota.cgroup),
        None if mask.count() < machine.count() => format!(" ({})", mask.list()),
        None => String::new(),
    };
    let title = format!(
        "{} could run on average, on {} that they may use{by}: {} of their waiting was behind threads of the same process.",
        threads(runnable),
        cpus(may),
        share(own_ns, waited.wait_ns),
    );
    let many = how_many(may.ceil());
    let advice = format!(
        "Let no more than {many} threads work at a time (a smaller pool; for Go GOMAXPROCS={many}), or give the program more CPUs."
    );
    let command = if quota.is_none() { widen(numbers, &mask, &machine) } else { None };
    let severity = if critical { Severity::Critical } else { Severity::Warn };
    Some(Conclusion { severity, title, evidence, advice, command })
}

/// Lets the process use the whole machine, where it is one process that may not.
fn widen(numbers: &Snapshot, mask: &Cpus, machine: &Cpus) -> Option<String> {
    let mut pids = active(numbers).filter(|thread| !thread.exited).map(|thread| thread.pid);
    let pid = pids.next()?;
    let widens = machine.without(mask).count() > 0 && pid.0 > 1 && pids.all(|other| other == pid);
    widens.then(|| format!("taskset -acp {} {pid}", machine.or(mask).list()))
}
