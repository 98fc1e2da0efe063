//! A CPU quota that stops threads which could run.

use serde_json::json;

use crate::findings::demand::{Time, cpus, holds_all, how_many, is_in, ms, ratio, rounded, tightest};
use crate::findings::{Case, Conclusion, Limit, Rule, Severity, shell};
use crate::snapshot::{Snapshot, Throttle};
use crate::text::{count, duration, percent, share};

pub(super) const RULE: Rule = Rule {
    id: "throttled",
    about: "A cgroup that has used up its CPU quota is stopped until the next period begins, all its threads at once, however many CPUs are idle.",
    limits: &[
        Limit {
            name: "throttled-share",
            default: 0.05,
            range: (0.0, 1.0),
            about: "share of the time in which threads could run that a quota stopped them, from which on it is a warning",
        },
        Limit {
            name: "critical-share",
            default: 0.25,
            range: (0.0, 1.0),
            about: "the same, from which on it is critical",
        },
        Limit {
            name: "p99-ms",
            default: 5.0,
            range: (0.0, 1e6),
            about: "milliseconds by which a quota makes the 99th percentile of run-queue latency longer, from which on it is a warning",
        },
        Limit {
            name: "critical-p99-ms",
            default: 50.0,
            range: (0.0, 1e6),
            about: "the same, from which on it is critical",
        },
        Limit {
            name: "periods-share",
            default: 0.1,
            range: (0.0, 1.0),
            about: "where it is not known which waits a quota caused: share of periods that were throttled, from which on it is a warning",
        },
        Limit {
            name: "critical-periods-share",
            default: 0.5,
            range: (0.0, 1.0),
            about: "the same, from which on it is critical",
        },
        Limit {
            name: "least-waits",
            default: 100.0,
            range: (1.0, 1e9),
            about: "waits below which nothing is said of their 99th percentile",
        },
        Limit {
            name: "least-ms",
            default: 20.0,
            range: (0.0, 1e6),
            about: "milliseconds that threads were stopped, or a cgroup was, below which nothing is said",
        },
    ],
    check,
};

fn check(case: &Case<'_>) -> Option<Conclusion> {
    let numbers = case.numbers;
    match numbers.totals.throttled_wait_ns {
        Some(_) => by_waits(case),
        None => by_counts(case),
    }
}

/// Some threads and the quota that stopped them.
#[derive(Clone, Copy)]
struct Stopped<'a> {
    quota: Option<&'a Throttle>,
    time: Time,
    /// They are all threads.
    all: bool,
}

impl Stopped<'_> {
    /// Of the time that they could run.
    fn share(&self) -> f64 {
        ratio(self.time.throttled_ns, self.time.runnable_ns())
    }
}

/// Waits that a quota caused are known. All threads together, and those of each cgroup whose quota is not for all: of these
/// the ones that are stopped for the greatest share of their time.
fn by_waits(case: &Case<'_>) -> Option<Conclusion> {
    let numbers = case.numbers;
    let p99_ns = p99_gain(numbers).filter(|_| numbers.totals.runq.all.count as f64 >= case.limit("least-waits"));
    // Where a quota holds some of the threads alone, what it did to these says more than its share in all.
    let whole = throttling(numbers).all(|quota| holds_all(numbers, quota));
    let whole =
        whole.then(|| Stopped { quota: throttling(numbers).next(), time: Time::of(&numbers.totals), all: true });
    let least = |ns: u64| ns > 0 && ms(ns) >= case.limit("least-ms");
    let enough = |stopped: &Stopped<'_>| least(stopped.time.throttled_ns);
    let parts = throttling(numbers).filter(|quota| !holds_all(numbers, quota)).map(|quota| Stopped {
        quota: Some(quota),
        time: time_in(numbers, quota),
        all: false,
    });
    let says = |stopped: &Stopped<'_>| {
        let p99 = if stopped.all { p99_ns.map_or(0.0, |(gain, _, _)| ms(gain)) } else { 0.0 };
        severity(case, stopped.share(), ["throttled-share", "critical-share"])
            .max(severity(case, p99, ["p99-ms", "critical-p99-ms"]).filter(|_| p99 > 0.0))
    };
    let holders = throttling(numbers).filter(|quota| whole.is_none() && holds_all(numbers, quota));
    let holders = holders.map(|quota| Stopped { quota: Some(quota), time: Time::of(&numbers.totals), all: true });
    let found = whole.iter().copied().chain(holders).chain(parts).filter(enough);
    let (severity, stopped) = found
        .filter_map(|stopped| says(&stopped).map(|severity| (severity, stopped)))
        .max_by(|(a, one), (b, other)| (a, one.all).cmp(&(b, other.all)).then(one.share().total_cmp(&other.share())))?;
    Some(told(numbers, severity, &stopped, p99_ns.filter(|_| stopped.all)))
}

/// Only what cgroups count is known.
fn by_counts(case: &Case<'_>) -> Option<Conclusion> {
    let numbers = case.numbers;
    let quota = throttling(numbers).next()?;
    if quota.throttled_ns == 0 || ms(quota.throttled_ns) < case.limit("least-ms") {
        return None;
    }
    let periods = ratio(quota.throttled_periods.min(quota.periods), quota.periods);
    let severity = severity(case, periods, ["periods-share", "critical-periods-share"])?;
    let all = holds_all(numbers, quota);
    let time = if all { Time::of(&numbers.totals) } else { time_in(numbers, quota) };
    Some(told(numbers, severity, &Stopped { quota: Some(quota), time, all }, None))
}

fn severity(case: &Case<'_>, number: f64, [warn, critical]: [&str; 2]) -> Option<Severity> {
    if number >= case.limit(critical) {
        Some(Severity::Critical)
    } else {
        (number >= case.limit(warn)).then_some(Severity::Warn)
    }
}

/// Cgroups that are looked at: more are not worth the time that it takes to find their threads.
const LOOKED_AT: usize = 16;

/// Cgroups with a quota that stopped them, the one that was stopped for longest first.
fn throttling(numbers: &Snapshot) -> impl Iterator<Item = &Throttle> {
    let has_quota = |quota: &&Throttle| quota.quota_cpus.is_some_and(|cpus| cpus.is_finite() && cpus > 0.0);
    let all = numbers.throttle.iter().flatten().filter(has_quota);
    let mut all: Vec<&Throttle> = all.filter(|quota| quota.throttled_periods > 0).collect();
    all.sort_by_key(|quota| std::cmp::Reverse((quota.throttled_ns, quota.throttled_periods)));
    all.into_iter().take(LOOKED_AT)
}

/// Time of the threads of a cgroup, as far as their cgroup is known.
fn time_in(numbers: &Snapshot, quota: &Throttle) -> Time {
    let threads = numbers.threads.iter().filter(|thread| is_in(thread, &quota.cgroup));
    threads.map(|thread| Time::of(&thread.stats)).fold(Time::default(), Time::add)
}

/// By how much a quota makes the 99th percentile longer, with it and without.
fn p99_gain(numbers: &Snapshot) -> Option<(u64, u64, u64)> {
    let runq = &numbers.totals.runq;
    let (with, without) = (runq.all.p99_ns, runq.unthrottled.as_ref()?.p99_ns);
    Some((with.saturating_sub(without), with, without))
}

fn told(numbers: &Snapshot, severity: Severity, stopped: &Stopped<'_>, p99_ns: Option<(u64, u64, u64)>) -> Conclusion {
    let Stopped { quota, time, .. } = stopped;
    let quota_cpus = quota.and_then(|quota| quota.quota_cpus);
    let runnable = time.runnable(numbers.duration_ns);
    let known = numbers.totals.throttled_wait_ns.is_some();
    let evidence = json!({
        "cgroup": quota.map(|quota| &quota.cgroup),
        "quota_cpus": quota_cpus,
        "periods": quota.map(|quota| quota.periods),
        "throttled_periods": quota.map(|quota| quota.throttled_periods),
        "cgroup_throttled_ns": quota.map(|quota| quota.throttled_ns),
        "duration_ns": numbers.duration_ns,
        "cpu_ns": time.cpu_ns,
        "wait_ns": time.wait_ns,
        "throttled_wait_ns": known.then_some(time.throttled_ns),
        "throttled_share": known.then(|| rounded(stopped.share())),
        "runnable_threads": rounded(runnable),
        "p99_ns": p99_ns.map(|(_, with, _)| with),
        "p99_without_quota_ns": p99_ns.map(|(_, _, without)| without),
    });
    Conclusion {
        severity,
        title: title(stopped, runnable, known, p99_ns),
        evidence,
        advice: advice(quota.map(|quota| quota.cgroup.as_str()), known),
        command: quota.and_then(|quota| command(numbers, quota, runnable)),
    }
}

fn title(stopped: &Stopped<'_>, runnable: f64, known: bool, p99_ns: Option<(u64, u64, u64)>) -> String {
    let whose = match stopped.quota {
        Some(quota) => {
            let cpus = cpus(quota.quota_cpus.unwrap_or(0.0));
            let (throttled, periods) = (count(quota.throttled_periods), count(quota.periods));
            format!("The quota of {}, {cpus}, was used up in {throttled} of {periods} periods", quota.cgroup)
        }
        None => "A CPU quota was used up".into(),
    };
    let wanted = how_many(runnable);
    if !known {
        return format!(
            "{whose}: {wanted} of its threads could run on average, and how long they were stopped is not known."
        );
    }
    let took = percent(stopped.share());
    let of_wait = share(stopped.time.throttled_ns, stopped.time.wait_ns);
    let p99 = p99_ns.filter(|(gain, _, _)| *gain > 0).map_or_else(String::new, |(_, with, without)| {
        format!("; p99 of run-queue latency is {}, and would be {} without", duration(with), duration(without))
    });
    format!(
        "{whose} and stopped threads for {took} of the time in which they could run ({of_wait} of their waiting); {wanted} of \
         them could run on average{p99}."
    )
}

fn advice(cgroup: Option<&str>, known: bool) -> String {
    let whose = match cgroup {
        Some(path) if path.contains("kubepods") => {
            "Raise limits.cpu of its pod, or leave it out: what is written into the cgroup itself is set anew. "
        }
        Some(_) => "Raise the quota, or take it away. ",
        None => "Find the cgroup whose cpu.stat counts throttled periods, and raise its quota. ",
    };
    let fewer = "With fewer threads at work at a time (for Go: GOMAXPROCS as large as the quota) it lasts longer into each period.";
    let unknown = if known { "" } else { " This kernel does not tell which waits were the quota's: see the sources." };
    format!("{whose}{fewer}{unknown}")
}

/// What raises the quota to what the threads want, as far as the machine has it. None for what somebody else sets anew, and
/// where a quota above it is tighter.
fn command(numbers: &Snapshot, quota: &Throttle, runnable: f64) -> Option<String> {
    if quota.cgroup.contains("kubepods") || tightest(numbers).is_some_and(|(tighter, _)| tighter.cgroup != quota.cgroup)
    {
        return None;
    }
    let machine = f64::from(numbers.host.cpus.max(1));
    let wanted = runnable.ceil().max(quota.quota_cpus?.ceil() + 1.0).min(machine);
    if wanted <= quota.quota_cpus? {
        return None;
    }
    let wanted = wanted as u64;
    let name = quota.cgroup.rsplit('/').next().unwrap_or_default();
    // A path that leaves its hierarchy is none that is known here, and one of a user's own manager or container is not the
    // system's.
    let parts = || quota.cgroup.split('/');
    if !quota.cgroup.starts_with('/') || parts().any(|part| part == "..") {
        return None;
    }
    let of_user = parts().any(|part| part.starts_with("user@") && part != name);
    if let Some((tool, id)) = container(name, &quota.cgroup).filter(|_| !of_user) {
        return Some(format!("{tool} update --cpus {wanted} {id}"));
    }
    if is_system_unit(&quota.cgroup) {
        let unit = shell::word(name)?;
        return Some(format!("systemctl set-property --runtime {unit} CPUQuota={}%", wanted * 100));
    }
    let path = shell::word(&quota.cgroup)?;
    // Which hierarchy has the quota is for the shell to see; in v1 the period stays as it is.
    let us = wanted * 100_000;
    Some(format!(
        "g={path}; if [ -e \"/sys/fs/cgroup$g/cpu.max\" ]; then echo \"{us} 100000\" > \"/sys/fs/cgroup$g/cpu.max\"; \
         else g=/sys/fs/cgroup/cpu$g; echo $(({wanted} * $(cat \"$g/cpu.cfs_period_us\"))) > \"$g/cpu.cfs_quota_us\"; fi"
    ))
}

/// A unit of the system's own manager: all above it are slices. One below a container, or a user's manager, is another's.
pub(super) fn is_system_unit(cgroup: &str) -> bool {
    let Some((above, name)) = cgroup.rsplit_once('/') else { return false };
    let is_unit = [".service", ".scope", ".slice"].iter().any(|kind| name.ends_with(kind));
    is_unit && above.split('/').skip(1).all(|part| part.ends_with(".slice"))
}

/// The tool and the id of a container, by the name of its cgroup: `docker-ID.scope`, `libpod-ID.scope`, `/docker/ID`.
fn container<'a>(name: &'a str, path: &str) -> Option<(&'static str, &'a str)> {
    let scope = name.strip_suffix(".scope");
    let (tool, id) = if let Some(id) = scope.and_then(|name| name.strip_prefix("docker-")) {
        ("docker", id)
    } else if let Some(id) = scope.and_then(|name| name.strip_prefix("libpod-")) {
        ("podman", id)
    } else {
        ("docker", path.strip_suffix(name).filter(|above| above.ends_with("/docker/")).map(|_| name)?)
    };
    let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| (tool, id.get(..12).unwrap_or(id)))
}
