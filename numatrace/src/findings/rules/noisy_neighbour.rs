//! Threads that are none of the process's own and ran while its threads waited.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::findings::demand::{Cpus, Time, Waited, active, allowed, ms, named, ratio, rounded};
use crate::findings::kernel_threads::{Kind, kind};
use crate::findings::{Case, Conclusion, Limit, Rule, Severity, shell};
use crate::snapshot::{Culprit, Snapshot, Waited as Waits};
use crate::text::{duration, percent, share};
use crate::units::{Pid, Tid, sum};

pub(super) const RULE: Rule = Rule {
    id: "noisy-neighbour",
    about: "Threads of other programs, or of the kernel, run on the CPUs that the target's threads wait for.",
    limits: &[
        Limit {
            name: "stolen-share",
            default: 0.05,
            range: (0.0, 1.0),
            about: "share of the time in which threads could run that others ran instead, from which on it is a warning",
        },
        Limit {
            name: "critical-share",
            default: 0.25,
            range: (0.0, 1.0),
            about: "the same, from which on it is critical",
        },
        Limit {
            name: "of-wait",
            default: 0.25,
            range: (0.0, 1.0),
            about: "share of the time waited in which others ran, below which nothing is said",
        },
        Limit {
            name: "p99-ms",
            default: 1.0,
            range: (0.0, 1e6),
            about: "99th percentile of run-queue latency in milliseconds, below which nothing is said: many short waits hurt little",
        },
        Limit {
            name: "least-ms",
            default: 50.0,
            range: (0.0, 1e6),
            about: "milliseconds waited behind others, below which nothing is said",
        },
    ],
    check,
};

/// Neighbours that are named in evidence, and in the sentence.
const LISTED: usize = 8;
const NAMED: usize = 3;

fn check(case: &Case<'_>) -> Option<Conclusion> {
    let numbers = case.numbers;
    let (time, waited) = (Time::of(&numbers.totals), Waited::of(&numbers.totals));
    let (own_ns, others_ns) = (waited.own_ns?, waited.others_ns?);
    let stolen = ratio(others_ns, time.runnable_ns());
    if are_its_own(numbers) {
        return None;
    }
    let enough = ms(others_ns) >= case.limit("least-ms") && ratio(others_ns, waited.wait_ns) >= case.limit("of-wait");
    if others_ns == 0 || !enough || stolen < case.limit("stolen-share") {
        return None;
    }
    let severity = if stolen >= case.limit("critical-share") { Severity::Critical } else { Severity::Warn };
    let runq = &numbers.totals.runq.all;
    // Without a record of a wait no percentile is known.
    let hurts = runq.max_ns == 0 || ms(runq.p99_ns) >= case.limit("p99-ms");
    if !hurts {
        return None;
    }
    let neighbours = neighbours(numbers, others_ns);
    let victims = victims(numbers, others_ns);
    let waits = |waits: Waits| json!({ "count": waits.count, "total_ns": waits.total_ns });
    let evidence = json!({
        "cpu_ns": time.cpu_ns,
        "wait_ns": waited.wait_ns,
        "throttled_wait_ns": waited.throttled_ns,
        "behind_own_ns": own_ns,
        "behind_others_ns": others_ns,
        "rest_ns": waited.rest_ns,
        "p99_ns": (runq.max_ns > 0).then_some(runq.p99_ns),
        "stolen_share": rounded(stolen),
        "preempted_by_own": numbers.totals.preempted_by.map(|by| waits(by.own)),
        "preempted_by_others": numbers.totals.preempted_by.map(|by| waits(by.others)),
        "victims": victims.iter().map(Victim::json).collect::<Vec<_>>(),
        "neighbours": neighbours.iter().map(Neighbour::json).collect::<Vec<_>>(),
    });
    let who: Vec<String> = neighbours.iter().take(NAMED).map(Neighbour::words).collect();
    let who =
        if who.is_empty() { "who they are is not known".into() } else { format!("most of all {}", who.join(", ")) };
    let hit = victims.first().map_or_else(String::new, |victim| {
        format!("; {} waited most, {}", named(&victim.program, victim.pid), duration(victim.others_ns))
    });
    let title = format!(
        "Others ran for {} of the time in which its threads could run, {} of their waiting: {who}{hit}.",
        percent(stolen),
        share(others_ns, waited.wait_ns),
    );
    Some(Conclusion { severity, title, evidence, advice: advice(&neighbours), command: command(numbers, &neighbours) })
}

/// Somebody who ran instead.
struct Neighbour {
    tid: Tid,
    comm: Arc<str>,
    /// Where it is a target itself.
    pid: Option<Pid>,
    /// The program of that process.
    program: Option<Arc<str>>,
    total_ns: u64,
    count: u64,
}

impl Neighbour {
    fn json(&self) -> Value {
        json!({ "tid": self.tid, "comm": self.comm, "pid": self.pid, "total_ns": self.total_ns, "count": self.count })
    }

    fn words(&self) -> String {
        let of = match (&self.program, self.pid) {
            (Some(program), Some(pid)) if *program != self.comm => format!(" of {}", named(program, pid)),
            (None, Some(pid)) => format!(" of process {pid}"),
            _ => String::new(),
        };
        format!("{}{of} ({})", named(&self.comm, self.tid), duration(self.total_ns))
    }

    fn kind(&self) -> Option<Kind> {
        if self.pid.is_some() { None } else { kind(&self.comm) }
    }
}

/// Those with most of the time, at most so many; together they have no more than all others together.
fn neighbours(numbers: &Snapshot, others_ns: u64) -> Vec<Neighbour> {
    let mut found: HashMap<Tid, Neighbour> = HashMap::new();
    let mut add = |culprit: &Culprit| {
        let known = found.entry(culprit.tid).or_insert_with(|| Neighbour {
            tid: culprit.tid,
            comm: Arc::clone(&culprit.comm),
            pid: culprit.pid,
            program: None,
            total_ns: 0,
            count: 0,
        });
        known.total_ns = sum([&known.total_ns, &culprit.total_ns]);
        known.count = sum([&known.count, &culprit.count]);
    };
    for thread in &numbers.threads {
        thread.stats.waited_behind.iter().filter(|culprit| culprit.pid != Some(thread.pid)).for_each(&mut add);
    }
    let mut all: Vec<Neighbour> = found.into_values().filter(|neighbour| neighbour.total_ns > 0).collect();
    all.sort_by_key(|neighbour| (std::cmp::Reverse(neighbour.total_ns), neighbour.tid));
    all.truncate(LISTED);
    let mut left_ns = others_ns;
    for neighbour in &mut all {
        neighbour.total_ns = neighbour.total_ns.min(left_ns);
        left_ns -= neighbour.total_ns;
        let leader = neighbour.pid.and_then(|pid| numbers.threads.iter().find(|thread| thread.tid.0 == pid.0));
        neighbour.program = leader.map(|thread| Arc::clone(&thread.comm)).filter(|comm| !comm.is_empty());
    }
    all.retain(|neighbour| neighbour.total_ns > 0);
    all
}

/// A process that waited for others, where several are traced.
struct Victim {
    pid: Pid,
    program: Arc<str>,
    others_ns: u64,
}

impl Victim {
    fn json(&self) -> Value {
        json!({ "pid": self.pid, "comm": self.program, "behind_others_ns": self.others_ns })
    }
}

/// Those who waited most, at most so many; together they have no more than all together. None where one process is traced.
fn victims(numbers: &Snapshot, others_ns: u64) -> Vec<Victim> {
    let mut by_pid: HashMap<Pid, Victim> = HashMap::new();
    for thread in &numbers.threads {
        let nobody = || Victim { pid: thread.pid, program: Arc::clone(&thread.comm), others_ns: 0 };
        let victim = by_pid.entry(thread.pid).or_insert_with(nobody);
        victim.others_ns = sum([&victim.others_ns, &thread.stats.behind.map_or(0, |behind| behind.others_ns)]);
        if thread.tid.0 == thread.pid.0 {
            victim.program = Arc::clone(&thread.comm);
        }
    }
    if by_pid.len() < 2 {
        return Vec::new();
    }
    let mut all: Vec<Victim> = by_pid.into_values().collect();
    all.sort_by_key(|victim| (std::cmp::Reverse(victim.others_ns), victim.pid));
    all.truncate(NAMED);
    let mut left_ns = others_ns;
    for victim in &mut all {
        victim.others_ns = victim.others_ns.min(left_ns);
        left_ns -= victim.others_ns;
    }
    all.retain(|victim| victim.others_ns > 0);
    all
}

fn advice(neighbours: &[Neighbour]) -> String {
    let mut sentences = Vec::new();
    if neighbours.iter().any(|neighbour| neighbour.kind().is_none()) {
        sentences.push(
            "Keep the neighbours off these CPUs (taskset, or a cpuset for each), or give the target a greater CPU weight or a lower nice value than theirs.",
        );
    }
    let mut kinds: Vec<Kind> = neighbours.iter().filter_map(Neighbour::kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    sentences.extend(kinds.iter().map(|kind| kind.meaning()));
    if sentences.is_empty() {
        sentences.push("Trace the whole machine (numatrace --all) to see who runs on these CPUs.");
    }
    sentences.join(" ")
}

/// What moves the first of them that is a program away: to CPUs that the target may not use. Where there are none, what gives
/// the target's unit more weight, or the neighbour less.
fn command(numbers: &Snapshot, neighbours: &[Neighbour]) -> Option<String> {
    // 1 is init, from which all others get their CPUs.
    let neighbour = neighbours.iter().find(|neighbour| neighbour.kind().is_none() && neighbour.tid.0 > 1)?;
    let mask = allowed(numbers)?;
    let elsewhere = Cpus::online(numbers).without(&mask);
    if neighbour.pid.is_none() && elsewhere.count() > 0 {
        return Some(format!("taskset -acp {} {}", elsewhere.list(), neighbour.tid));
    }
    // One that is traced itself is a part of what is to be fast.
    if neighbour.pid.is_some() {
        return None;
    }
    match unit(numbers) {
        Some(unit) => Some(format!("systemctl set-property --runtime {unit} CPUWeight=1000")),
        None => Some(format!("renice -n 10 -p {}", neighbour.tid)),
    }
}

/// Where several processes are the target: most of the time that others ran was theirs, as far as those who ran are listed.
/// Of a whole machine everybody is, and each may be the other's neighbour.
fn are_its_own(numbers: &Snapshot) -> bool {
    if numbers.target.kind == "all" {
        return false;
    }
    let (mut traced, mut strangers) = (0u64, 0u64);
    for thread in &numbers.threads {
        for culprit in thread.stats.waited_behind.iter().filter(|culprit| culprit.pid != Some(thread.pid)) {
            let sum = if culprit.pid.is_some() { &mut traced } else { &mut strangers };
            *sum = sum.saturating_add(culprit.total_ns);
        }
    }
    traced > strangers
}

/// The systemd unit of the system's manager that all threads of the target are in, as a shell has it.
fn unit(numbers: &Snapshot) -> Option<String> {
    let mut cgroups = active(numbers).map(|thread| thread.cgroup.as_deref());
    let cgroup = cgroups.next()??;
    // A scope that is no container's is a session's, which the neighbour may well be in.
    let is_container = |name: &str| ["docker-", "libpod-", "cri-containerd-"].iter().any(|tool| name.starts_with(tool));
    let is_unit = |name: &&str| name.ends_with(".service") || name.ends_with(".scope") && is_container(name);
    let name = cgroup.rsplit('/').next().filter(is_unit)?;
    if !super::throttled::is_system_unit(cgroup) || !cgroups.all(|other| other == Some(cgroup)) {
        return None;
    }
    shell::word(name)
}
