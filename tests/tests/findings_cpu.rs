//! Rules about the CPU, and the one about what was not seen: each fires where it should, with the right evidence, and stays
//! silent where it almost does.

use std::sync::Arc;

use numatrace::findings::{Settings, look_once};
use numatrace::snapshot::{
    Finding, Gap, HostNode, LossReasons, Snapshot, Source, SourceState, Thread, Throttle, sources,
};
use numatrace::units::{Pid, Tid};
use numatrace_tests::fixture::{Spent, snapshot_healthy, snapshot_spent, thread_spent};
use serde_json::json;

const MS: u64 = 1_000_000;
const S: u64 = 1_000 * MS;
const UNIT: &str = "/system.slice/api.service";

fn find(snapshot: &Snapshot, rule: &str) -> Option<Finding> {
    look_once(snapshot, &Settings::default()).into_iter().find(|finding| finding.id == rule)
}

fn found(snapshot: &Snapshot, rule: &str) -> Finding {
    let all = look_once(snapshot, &Settings::default());
    let ids: Vec<String> = all.iter().map(|finding| finding.id.clone()).collect();
    all.into_iter().find(|finding| finding.id == rule).unwrap_or_else(|| panic!("no {rule}, only {ids:?}"))
}

/// So many threads that may use these CPUs, each with this time.
fn service(threads: u32, cpus: &str, spent: Spent) -> Snapshot {
    snapshot_spent((0..threads).map(|at| thread_spent(4711 + at, cpus, spent)).collect())
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    assert_eq!(look_once(&snapshot_healthy(), &Settings::default()), []);
    assert_eq!(look_once(&Snapshot::nothing_yet("pid 1"), &Settings::default()), []);
}

/// Four threads want a CPU each, and a quota of one stops them for six of ten seconds.
fn throttled() -> Snapshot {
    let spent = Spent { cpu_ns: 5 * S / 2, throttled_ns: 6 * S, own_ns: 3 * S / 2, others_ns: 0 };
    let mut snapshot = service(4, "0-7", spent);
    snapshot.throttle = Some(vec![quota(UNIT, 1.0, 98)]);
    snapshot.totals.runq.all.p99_ns = 81 * MS;
    snapshot.totals.runq.all.max_ns = 95 * MS;
    snapshot
}

fn quota(cgroup: &str, cpus: f64, throttled_periods: u64) -> Throttle {
    Throttle {
        cgroup: cgroup.into(),
        periods: 100,
        throttled_periods,
        throttled_ns: throttled_periods * 240 * MS,
        quota_cpus: Some(cpus),
        threads: 4,
    }
}

#[test]
fn a_quota_that_stops_threads() {
    let finding = found(&throttled(), "throttled");
    assert_eq!(finding.severity, "critical");
    assert_eq!(
        finding.title,
        "The quota of /system.slice/api.service, 1 CPU, was used up in 98 of 100 periods and stopped threads for 60.0% of the \
         time in which they could run (80.0% of their waiting); 4 of them could run on average; p99 of run-queue latency is \
         81.0ms, and would be 90.0us without."
    );
    assert_eq!(
        finding.evidence,
        json!({
            "cgroup": UNIT, "quota_cpus": 1.0, "periods": 100, "throttled_periods": 98,
            "cgroup_throttled_ns": 98 * 240 * MS, "duration_ns": 10 * S, "cpu_ns": 10 * S, "wait_ns": 30 * S,
            "throttled_wait_ns": 24 * S, "throttled_share": 0.6, "runnable_threads": 4.0, "p99_ns": 81 * MS,
            "p99_without_quota_ns": 90_000,
        })
    );
    let command = "systemctl set-property --runtime api.service CPUQuota=400%";
    assert_eq!(finding.command.as_deref(), Some(command));
}

#[test]
fn a_quota_that_almost_stops_them() {
    let with = |throttled_ms: u64, p99_ms: u64| {
        let spent = Spent { cpu_ns: 2 * S, throttled_ns: throttled_ms * MS, own_ns: 100 * MS, others_ns: 0 };
        let mut snapshot = service(4, "0-7", spent);
        snapshot.throttle = Some(vec![quota(UNIT, 1.0, 30)]);
        snapshot.totals.runq.all.p99_ns = 90_000 + p99_ms * MS;
        find(&snapshot, "throttled").map(|finding| finding.severity)
    };
    // 110 of 2,210 ms are just less than 5%, 111 of 2,211 just more.
    assert_eq!(with(110, 4), None);
    assert_eq!(with(111, 4).as_deref(), Some("warn"));
    // Rarely, but where it hurts: in the slowest of a hundred waits.
    assert_eq!(with(20, 5).as_deref(), Some("warn"));
    assert_eq!(with(20, 50).as_deref(), Some("critical"));
    assert_eq!(with(4, 50), None, "too little to speak of");
    // Of few waits the 99th percentile is any one of them.
    let mut few = throttled();
    few.totals.throttled_wait_ns = Some(30 * MS);
    few.totals.runq.all.count = 99;
    assert_eq!(find(&few, "throttled"), None);
    few.totals.runq.all.count = 100;
    assert_eq!(found(&few, "throttled").severity, "critical");
}

/// Where a kernel does not tell which waits a quota caused, the cgroup's own counts speak, and say what is not known.
#[test]
fn a_quota_of_which_only_the_periods_are_known() {
    let with = |throttled_periods| {
        let mut snapshot = throttled();
        snapshot.totals.throttled_wait_ns = None;
        snapshot.totals.runq.unthrottled = None;
        snapshot.threads.iter_mut().for_each(|thread| thread.stats.throttled_wait_ns = None);
        snapshot.throttle = Some(vec![quota(UNIT, 1.0, throttled_periods)]);
        find(&snapshot, "throttled")
    };
    assert_eq!(with(9), None);
    let finding = with(10).expect("a tenth of the periods");
    assert_eq!((finding.severity.as_str(), &finding.evidence["throttled_wait_ns"]), ("warn", &json!(null)));
    assert!(finding.title.ends_with("how long they were stopped is not known."), "{}", finding.title);
    assert!(finding.advice.contains("does not tell which waits"), "{}", finding.advice);
    assert_eq!(with(50).map(|finding| finding.severity), Some("critical".into()));
}

/// Of a whole machine the cgroup that is stopped is told, not the sum in which it drowns.
#[test]
fn a_quota_of_some_of_the_threads() {
    let calm = Spent { cpu_ns: 9 * S, throttled_ns: 0, own_ns: 10 * MS, others_ns: 10 * MS };
    let stopped = Spent { cpu_ns: S, throttled_ns: S, own_ns: 0, others_ns: 0 };
    let mut threads: Vec<Thread> = (0..4).map(|at| thread_spent(4711 + at, "0-7", calm)).collect();
    threads.push(Thread { cgroup: Some("/batch.slice/job".into()), ..thread_spent(5000, "0-7", stopped) });
    let mut snapshot = snapshot_spent(threads);
    snapshot.throttle = Some(vec![quota(UNIT, 8.0, 0), quota("/batch.slice", 0.5, 40)]);
    let finding = found(&snapshot, "throttled");
    assert_eq!((finding.severity.as_str(), &finding.evidence["cgroup"]), ("critical", &json!("/batch.slice")));
    assert_eq!((&finding.evidence["cpu_ns"], &finding.evidence["wait_ns"]), (&json!(S), &json!(S)));
    assert_eq!(finding.evidence["p99_ns"], json!(null), "that is of all threads");
    // Its neighbour by name is not in it.
    snapshot.throttle = Some(vec![quota("/batch", 0.5, 40)]);
    assert_eq!(find(&snapshot, "throttled"), None);
}

#[test]
fn a_quota_is_raised_by_who_set_it_and_nothing_foreign_reaches_a_shell() {
    let command = |cgroup: &str| {
        let mut snapshot = throttled();
        snapshot.threads.iter_mut().for_each(|thread| thread.cgroup = Some(cgroup.into()));
        snapshot.throttle = Some(vec![quota(cgroup, 1.0, 98)]);
        found(&snapshot, "throttled").command
    };
    let id = "0123456789abcdef".repeat(4);
    let file = |path: &str| {
        Some(format!(
            "g={path}; if [ -e \"/sys/fs/cgroup$g/cpu.max\" ]; then echo \"400000 100000\" > \"/sys/fs/cgroup$g/cpu.max\"; \
             else g=/sys/fs/cgroup/cpu$g; echo $((4 * $(cat \"$g/cpu.cfs_period_us\"))) > \"$g/cpu.cfs_quota_us\"; fi"
        ))
    };
    let unit = |unit: &str| Some(format!("systemctl set-property --runtime {unit} CPUQuota=400%"));
    for (cgroup, wanted) in [
        ("/a.slice", unit("a.slice")),
        ("/a.slice/b\\\\x2dc.scope", unit("'b\\x2dc.scope'")),
        ("/user.slice/user-0.slice/user@0.service", unit("user@0.service")),
        ("/user.slice/user@0.service/app.slice/x.service", file("/user.slice/user@0.service/app.slice/x.service")),
        ("/system.slice/-x.service", None),
        (&format!("/system.slice/docker-{id}.scope"), Some("docker update --cpus 4 0123456789ab".into())),
        (&format!("/machine.slice/libpod-{id}.scope"), Some("podman update --cpus 4 0123456789ab".into())),
        (&format!("/docker/{id}"), Some("docker update --cpus 4 0123456789ab".into())),
        ("/docker/x;reboot", file("'/docker/x;reboot'")),
        ("/kubepods.slice/kubepods-pod1.slice", None),
        ("/jobs/a b'$(reboot)", file("'/jobs/a b'\\''$(reboot)'")),
        ("/jobs/a\\x0areboot", None),
        ("/..", None),
        // It leaves its hierarchy, or is a unit of another machine's manager.
        ("/../../../tmp/x", None),
        ("/lxc.payload.web/system.slice/nginx.service", file("/lxc.payload.web/system.slice/nginx.service")),
        (&format!("/user.slice/user-0.slice/user@0.service/user.slice/libpod-{id}.scope"), {
            file(&format!("/user.slice/user-0.slice/user@0.service/user.slice/libpod-{id}.scope"))
        }),
        ("relative", None),
    ] {
        assert_eq!(command(cgroup), wanted, "{cgroup}");
    }
}

/// Twelve threads that always could run, on eight CPUs.
fn oversubscribed(threads: u32, own: u64) -> Snapshot {
    let each = 10 * S / u64::from(threads) * 8;
    let wait = 10 * S - each;
    let own_ns = wait * own / 100;
    let mut snapshot =
        service(threads, "0-7", Spent { cpu_ns: each, throttled_ns: 0, own_ns, others_ns: wait - own_ns });
    snapshot.throttle = None;
    snapshot
}

#[test]
fn more_threads_than_cpus() {
    let finding = found(&oversubscribed(12, 90), "oversubscribed");
    assert_eq!(finding.severity, "warn");
    assert_eq!(
        finding.title,
        "12 threads could run on average, on 8 CPUs that they may use: 90.0% of their waiting was behind threads of the same \
         process."
    );
    let evidence = &finding.evidence;
    assert_eq!((&evidence["runnable_threads"], &evidence["allowed_cpus"]), (&json!(12.0), &json!(8.0)));
    let ns = |name: &str| evidence[name].as_u64().unwrap_or_else(|| panic!("{name}: {evidence}"));
    let parts = ns("throttled_wait_ns") + ns("behind_own_ns") + ns("behind_others_ns") + ns("rest_ns");
    assert_eq!(parts, ns("wait_ns"));
    assert!(finding.advice.contains("GOMAXPROCS=8"), "{}", finding.advice);
    assert_eq!(finding.command, None, "there are no more CPUs");
    assert_eq!(found(&oversubscribed(24, 90), "oversubscribed").severity, "critical");
}

#[test]
fn almost_more_threads_than_cpus() {
    assert!(find(&oversubscribed(10, 90), "oversubscribed").is_some());
    assert_eq!(find(&oversubscribed(9, 90), "oversubscribed"), None);
    assert_eq!(find(&oversubscribed(12, 49), "oversubscribed"), None, "it is strangers that they wait for");
    let mut unknown = oversubscribed(12, 90);
    unknown.totals.behind = None;
    assert_eq!(find(&unknown, "oversubscribed"), None);
}

#[test]
fn cpus_are_those_of_the_mask_and_of_the_tightest_quota() {
    let spent = Spent { cpu_ns: 5 * S, throttled_ns: 0, own_ns: 5 * S, others_ns: 0 };
    let mut snapshot = service(4, "2-3", spent);
    let finding = found(&snapshot, "oversubscribed");
    assert!(finding.title.contains("on 2 CPUs that they may use (2-3)"), "{}", finding.title);
    assert_eq!(finding.command.as_deref(), Some("taskset -acp 0-7 4711"));
    snapshot.throttle = Some(vec![quota(UNIT, 1.5, 0), quota("/", 1.75, 0), quota("/elsewhere", 1.0, 0)]);
    let finding = found(&snapshot, "oversubscribed");
    assert_eq!((&finding.evidence["allowed_cpus"], finding.command), (&json!(1.5), None));
    assert!(finding.title.contains("1.5 CPUs that they may use (the quota of /system.slice/api.service)"));
    // Of a thread of which it is not known it may be all of the machine.
    snapshot.throttle = None;
    snapshot.threads[0].sched = None;
    assert_eq!(find(&snapshot, "oversubscribed"), None);
}

/// Six threads of which each waits this long behind a stranger.
fn noisy(others_ms: u64, own_ms: u64) -> Snapshot {
    let spent = Spent { cpu_ns: 4 * S, throttled_ns: 0, own_ns: own_ms * MS, others_ns: others_ms * MS };
    let mut snapshot = service(6, "0-3", spent);
    snapshot.totals.runq.all.p99_ns = 4 * MS;
    snapshot
}

#[test]
fn a_neighbour_that_runs_instead() {
    let finding = found(&noisy(1_000, 10), "noisy-neighbour");
    assert_eq!(finding.severity, "warn");
    assert_eq!(
        finding.title,
        "Others ran for 20.0% of the time in which its threads could run, 99.0% of their waiting: most of all \
         stress-ng-cpu/977 (6.00s)."
    );
    let neighbours = json!([{ "tid": 977, "comm": "stress-ng-cpu", "pid": null, "total_ns": 6 * S, "count": 6_000 }]);
    assert_eq!(finding.evidence["neighbours"], neighbours);
    assert_eq!(finding.evidence["behind_others_ns"], json!(6 * S));
    assert_eq!(finding.command.as_deref(), Some("taskset -acp 4-7 977"));
    assert_eq!(found(&noisy(2_000, 10), "noisy-neighbour").severity, "critical");
}

#[test]
fn a_neighbour_that_hardly_does() {
    // 210 of 4,210 ms are just less than 5%, 211 of 4,211 just more.
    assert_eq!(find(&noisy(210, 0), "noisy-neighbour"), None);
    assert!(find(&noisy(211, 0), "noisy-neighbour").is_some());
    assert_eq!(find(&noisy(300, 1_000), "noisy-neighbour"), None, "it is their own threads that they wait for");
    // Many short waits are how threads share a machine, also where a thread hardly does anything else.
    let short = |others_ms| {
        let mut short = noisy(others_ms, 0);
        short.totals.runq.all.p99_ns = 999_999;
        find(&short, "noisy-neighbour").map(|finding| finding.severity)
    };
    assert_eq!((short(1_000), short(2_000)), (None, None));
    let mut unknown = noisy(1_000, 0);
    unknown.totals.behind = None;
    assert_eq!(find(&unknown, "noisy-neighbour"), None);
}

#[test]
fn who_cannot_be_moved_is_explained_and_not_moved() {
    let named = |comm: &str, tid: u32| {
        let mut snapshot = noisy(1_000, 10);
        for culprit in snapshot.threads.iter_mut().flat_map(|thread| &mut thread.stats.waited_behind) {
            if culprit.pid.is_none() {
                (culprit.comm, culprit.tid) = (comm.into(), Tid(tid));
            }
        }
        let finding = found(&snapshot, "noisy-neighbour");
        (finding.command, finding.advice)
    };
    for (comm, words) in [
        ("ksoftirqd/2", "packets"),
        ("kworker/2:1", "workqueue"),
        ("migration/2", "load balancing"),
        ("kswapd0", "memory is short"),
        ("numatrace-drain", "numatrace itself"),
    ] {
        let (command, advice) = named(comm, 20);
        assert!(command.is_none() && advice.contains(words) && !advice.contains("taskset"), "{comm}: {advice}");
    }
    assert_eq!(named("systemd", 1).0, None, "all others get their CPUs from it");
    // Without CPUs to move it to: weight, and where there is no unit a nice value.
    let mut snapshot = noisy(1_000, 10);
    snapshot.threads.iter_mut().filter_map(|thread| thread.sched.as_mut()).for_each(|sched| {
        Arc::make_mut(sched).allowed_cpus = "0-7".into();
    });
    let weight = "systemctl set-property --runtime api.service CPUWeight=1000";
    assert_eq!(found(&snapshot, "noisy-neighbour").command.as_deref(), Some(weight));
    snapshot.threads.iter_mut().for_each(|thread| thread.cgroup = Some("/x".into()));
    assert_eq!(found(&snapshot, "noisy-neighbour").command.as_deref(), Some("renice -n 10 -p 977"));
}

/// Of a whole machine all are targets: then processes are told apart.
#[test]
fn processes_that_wait_for_each_other() {
    let mut snapshot = noisy(1_000, 10);
    let batch = Spent { cpu_ns: 9 * S, throttled_ns: 0, own_ns: 0, others_ns: 200 * MS };
    let mut other = thread_spent(5001, "0-3", batch);
    (other.pid, other.comm) = (Pid(5000), "batch-worker".into());
    let leader = Thread { tid: Tid(5000), comm: "batch".into(), ..other.clone() };
    for culprit in snapshot.threads.iter_mut().flat_map(|thread| &mut thread.stats.waited_behind) {
        if culprit.pid.is_none() {
            (culprit.comm, culprit.tid, culprit.pid) = ("batch-worker".into(), Tid(5001), Some(Pid(5000)));
        }
    }
    let mut threads = snapshot.threads.clone();
    threads.extend([leader, other]);
    let mut all = snapshot_spent(threads);
    all.totals.runq.all.p99_ns = 4 * MS;
    all.target.kind = "all".into();
    let finding = found(&all, "noisy-neighbour");
    assert!(finding.title.contains("batch-worker/5001 of batch/5000 (6.00s)"), "{}", finding.title);
    assert!(finding.title.contains("worker/4711 waited most, 6.00s"), "{}", finding.title);
    assert_eq!(finding.evidence["victims"][0], json!({ "pid": 4711, "comm": "worker", "behind_others_ns": 6 * S }));
    assert_eq!(finding.command, None, "both are traced: which of them is to give way is not known");
    // Of a target that is several processes, each is a part of what is to be fast.
    all.target.kind = "command".into();
    assert_eq!(find(&all, "noisy-neighbour"), None);
}

/// Three threads on CPU 3 alone, of a process that may use eight.
fn pinned(cpu_ms: u64, wait_ms: u64) -> Snapshot {
    let spent = Spent { cpu_ns: cpu_ms * MS, throttled_ns: 0, own_ns: wait_ms * MS, others_ns: 0 };
    let calm = Spent { cpu_ns: S, throttled_ns: 0, own_ns: 0, others_ns: MS };
    let crowd = (0..3).map(|at| thread_spent(4711 + 4 * at, "3", spent));
    let others = (0..3).map(|at| thread_spent(4712 + 4 * at, "0-7", calm));
    snapshot_spent(crowd.chain(others).collect())
}

#[test]
fn threads_that_may_use_too_few_cpus() {
    let finding = found(&pinned(3_300, 6_600), "affinity");
    assert_eq!(finding.severity, "warn");
    assert_eq!(
        finding.title,
        "3 threads may use nothing but 1 CPU (3), where 3 could run on average, while the target leaves 6.7 CPUs idle that others \
         of its threads may use."
    );
    assert_eq!(
        finding.evidence,
        json!({
            "mask": "3", "mask_cpus": 1, "threads": 3, "runnable_threads": 2.97, "idle_cpus_elsewhere": 6.7,
            "elsewhere": "0-2,4-7", "duration_ns": 10 * S, "cpu_ns": 9_900 * MS, "wait_ns": 19_800 * MS,
            "throttled_wait_ns": 0,
        })
    );
    assert!(finding.advice.contains("What other programs use of these CPUs is not known"), "{}", finding.advice);
    let command = "for tid in 4711 4715 4719; do taskset -cp 0-7 $tid; done";
    assert_eq!(finding.command.as_deref(), Some(command));
    assert_eq!(found(&pinned(3_333, 6_700), "affinity").severity, "critical");
}

/// A command that was traced has ended by the time of its report: what it did is told, and nobody is there to be moved.
#[test]
fn threads_that_have_ended() {
    let ended = |mut snapshot: Snapshot| {
        snapshot.threads.iter_mut().for_each(|thread| thread.exited = true);
        snapshot
    };
    let finding = found(&ended(pinned(3_300, 6_600)), "affinity");
    assert_eq!((finding.evidence["mask"].as_str(), finding.command), (Some("3"), None));
    let spent = Spent { cpu_ns: 5 * S, throttled_ns: 0, own_ns: 5 * S, others_ns: 0 };
    let finding = found(&ended(service(4, "2-3", spent)), "oversubscribed");
    assert_eq!((&finding.evidence["mask_cpus"], finding.command), (&json!(2), None));
    let mut gone = ended(throttled());
    gone.throttle.iter_mut().flatten().for_each(|quota| quota.threads = 0);
    assert_eq!(found(&gone, "throttled").evidence, found(&throttled(), "throttled").evidence);
    // Those that ended before others do not count for the ones that live.
    let mut mixed = pinned(3_300, 6_600);
    mixed.threads[0].exited = true;
    mixed.threads[1].exited = true;
    mixed.threads[2].exited = true;
    assert_eq!(find(&mixed, "affinity"), None);
}

#[test]
fn threads_that_may_use_just_enough() {
    // 12.45 seconds wanted of the ten that the CPU has, then 12.6.
    assert_eq!(find(&pinned(3_300, 850), "affinity"), None);
    assert!(find(&pinned(3_300, 900), "affinity").is_some());
    // Everybody is pinned to a CPU of their own.
    let spent = Spent { cpu_ns: 9 * S, throttled_ns: 0, own_ns: 0, others_ns: S };
    let own = (0..4).map(|at| thread_spent(4711 + at, &at.to_string(), spent)).collect();
    assert_eq!(find(&snapshot_spent(own), "affinity"), None);
    // What a quota stops wants no CPU of another place.
    let stopped = Spent { cpu_ns: 3_000 * MS, throttled_ns: 6 * S, own_ns: 0, others_ns: 0 };
    let crowd = (0..3).map(|at| thread_spent(4711 + at, "3", stopped));
    let calm = thread_spent(4720, "0-7", Spent { cpu_ns: S, ..Spent::default() });
    assert_eq!(find(&snapshot_spent(crowd.chain([calm]).collect()), "affinity"), None);
    // No CPU is idle.
    let mut full = pinned(3_300, 6_600);
    full.totals.residency_cpu_ns = (0..8).map(|cpu| (cpu, 9_900 * MS)).collect();
    assert_eq!(find(&full, "affinity"), None);
}

/// All threads on few CPUs of a larger machine: somebody chose that, so it is for the other rule to warn of.
#[test]
fn a_process_that_may_use_less_than_the_machine() {
    let spent = Spent { cpu_ns: 5 * S, throttled_ns: 0, own_ns: 5 * S, others_ns: 0 };
    let finding = found(&service(4, "2-3", spent), "affinity");
    assert_eq!((finding.severity.as_str(), finding.command.as_deref()), ("info", Some("taskset -acp 0-7 4711")));
    assert!(finding.title.contains("CPUs of the machine idle"), "{}", finding.title);
}

fn one_node(spent: Spent) -> Snapshot {
    let mut snapshot = service(4, "0-7", spent);
    snapshot.host.nodes = vec![HostNode { cpus: (0..8).collect(), ..HostNode::default() }];
    snapshot.host.distances = vec![vec![10]];
    snapshot
}

#[test]
fn one_node_is_not_the_problem_and_what_is() {
    let says = |spent| {
        let finding = found(&one_node(spent), "single-node");
        assert_eq!(finding.severity, "info");
        (finding.title, finding.advice)
    };
    let (title, advice) = says(Spent { cpu_ns: 8 * S, throttled_ns: 0, own_ns: 0, others_ns: 100 * MS });
    assert_eq!(
        title,
        "This machine has one NUMA node, so NUMA is not the problem, and threads hardly wait for a CPU: 19.0% of their life \
         they are blocked (sleep, I/O, locks), the rest they run."
    );
    assert!(advice.contains("locks, disks"), "{advice}");
    let (title, advice) = says(Spent { cpu_ns: 6 * S, throttled_ns: S, own_ns: 2 * S, others_ns: S / 2 });
    assert_eq!(
        title,
        "This machine has one NUMA node, so NUMA is not the problem: waiting for a CPU is, 36.8% of the time in which threads \
         could run: 21.1% behind threads of the same process, 10.5% because of a CPU quota, 5.3% behind other programs and \
         the kernel."
    );
    assert!(advice.contains("fewer threads"), "{advice}");
    let (_, advice) = says(Spent { cpu_ns: 6 * S, throttled_ns: 2 * S, own_ns: S, others_ns: 0 });
    assert!(advice.starts_with("Raise the CPU quota"), "{advice}");
    // What it is not known of is not told apart.
    let mut unknown = one_node(Spent { cpu_ns: 6 * S, throttled_ns: 0, own_ns: 2 * S, others_ns: 0 });
    (unknown.totals.behind, unknown.totals.throttled_wait_ns) = (None, None);
    let finding = found(&unknown, "single-node");
    assert!(finding.title.ends_with("25.0% of the time in which threads could run."), "{}", finding.title);
    assert_eq!((&finding.evidence["behind_own_ns"], &finding.evidence["rest_ns"]), (&json!(null), &json!(8 * S)));
}

#[test]
fn one_node_says_nothing_of_nothing() {
    assert_eq!(find(&one_node(Spent { cpu_ns: 2 * MS, ..Spent::default() }), "single-node"), None);
    assert_eq!(find(&snapshot_healthy(), "single-node"), None, "it has two nodes");
}

fn source(name: &str, state: SourceState, reason: &str) -> Source {
    Source { name: name.into(), state, reason: Some(reason.into()) }
}

/// A healthy service with these sources in the place of those of the same name, or beside the others.
fn with_sources(changed: &[Source]) -> Snapshot {
    let mut snapshot = snapshot_healthy();
    let is_changed = |source: &Source| changed.iter().any(|other| other.name == source.name);
    snapshot.sources.retain(|source| !is_changed(source));
    snapshot.sources.extend_from_slice(changed);
    snapshot
}

#[test]
fn what_hides_a_part_is_told() {
    let off =
        source("tp_btf:sched_waking", SourceState::Off, "this kernel has no such tracepoint: wakers are not known");
    let late = source("drain:SCHED_FIFO", SourceState::BestEffort, "real-time priority was not granted");
    let touches = source(sources::TOUCHES[0], SourceState::Off, "no rights");
    let places = source(sources::WHERE[0], SourceState::Off, "there is no source of page touches");
    let finding = found(&with_sources(&[off, late, touches, places]), "partial");
    assert_eq!((finding.severity.as_str(), finding.command.as_deref()), ("info", Some("numatrace doctor")));
    assert_eq!(
        finding.title,
        "Not everything was seen: tp_btf:sched_waking is off (this kernel has no such tracepoint: wakers are not known); \
         drain:SCHED_FIFO is best effort (real-time priority was not granted); 1 more source is not fully on."
    );
    let named: Vec<&str> =
        finding.evidence["sources"].as_array().expect("a list").iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(named, ["tp_btf:sched_waking", "drain:SCHED_FIFO", sources::TOUCHES[0]], "places follow from touches");
}

#[test]
fn numbers_that_are_wrong_are_a_warning() {
    let severity = |change: &dyn Fn(&mut Snapshot)| {
        let mut snapshot = snapshot_healthy();
        change(&mut snapshot);
        find(&snapshot, "partial").map(|finding| finding.severity)
    };
    let lost = |lost| {
        move |snapshot: &mut Snapshot| {
            snapshot.loss.records_lost = lost;
            snapshot.loss.by_reason = LossReasons { ring_full: lost, ..LossReasons::default() };
        }
    };
    // Of 12,000.
    assert_eq!(severity(&lost(0)), None);
    assert_eq!(severity(&lost(119)).as_deref(), Some("info"));
    assert_eq!(severity(&lost(120)).as_deref(), Some("warn"));
    assert_eq!(severity(&|snapshot| snapshot.refused_threads = 1).as_deref(), Some("warn"));
    // Of eight CPUs for ten seconds.
    let gap = |ms| {
        move |snapshot: &mut Snapshot| {
            snapshot.gaps = vec![Gap { source: sources::TOUCHES[0].into(), cpu: 3, start_ns: S, end_ns: S + ms * MS }];
        }
    };
    assert_eq!(severity(&gap(799)).as_deref(), Some("info"));
    assert_eq!(severity(&gap(800)).as_deref(), Some("warn"));
    // Of 6,000 switches.
    assert_eq!(severity(&|snapshot| snapshot.totals.unseen_events = 59), None);
    assert_eq!(severity(&|snapshot| snapshot.totals.unseen_events = 60).as_deref(), Some("info"));
    assert_eq!(severity(&|snapshot| snapshot.incomplete = Some("it ends".into())).as_deref(), Some("info"));
    let mut snapshot = snapshot_healthy();
    lost(1)(&mut snapshot);
    let finding = found(&snapshot, "partial");
    assert!(finding.title.contains("1 of 12,000 records were lost (<0.1%)"), "{}", finding.title);
    assert!(finding.advice.contains("--ring-size") && finding.command.is_none(), "{}", finding.advice);
}

/// What a machine does not have, nobody could see.
#[test]
fn sources_of_what_is_not_there_hide_nothing() {
    let off = |name: &str, reason: &str| source(name, SourceState::Off, reason);
    for why in sources::NOT_BALANCING {
        let names = [sources::HINT_FAULTS[0], sources::HINT_TIME[0], sources::MIGRATED[0]];
        let all = names.map(|name| off(name, why));
        assert_eq!(find(&with_sources(&all), "partial"), None, "{why}");
    }
    let refused = "task_numa_fault cannot be hooked (denied)";
    let missing = [
        off(sources::HINT_FAULTS[0], refused),
        off(sources::MIGRATED[0], refused),
        off(sources::HINT_TIME[0], refused),
        off("tp_btf:sched_move_numa", "this kernel has no such tracepoint"),
    ];
    let two = found(&with_sources(&missing), "partial");
    assert_eq!(two.evidence["sources"].as_array().map(Vec::len), Some(2), "pages are not told without hint faults");
    assert_eq!(two.command.as_deref(), Some("numatrace doctor"));
    let imported = found(&with_sources(&[off("sched_wakeup", "not in this file: nobody asked for it")]), "partial");
    assert!(imported.command.is_none() && imported.advice.contains("holds no more"), "{}", imported.advice);
    // On one node no page can be on the wrong one, and the node's memory is that of the machine.
    let memory = off("/sys/devices/system/node", "this kernel shows no memory of nodes");
    assert!(find(&with_sources(std::slice::from_ref(&memory)), "partial").is_some());
    let mut one = with_sources(&[&missing[..], &[memory]].concat());
    one.host.nodes.truncate(1);
    assert_eq!(find(&one, "partial"), None);
    // An approximation of nothing is nothing.
    let throttle =
        source("cfs_rq->throttled_clock_pelt_time", SourceState::BestEffort, "approximate, and can be too large");
    let mut none = with_sources(&[throttle]);
    assert_eq!(find(&none, "partial"), None);
    none.totals.throttled_wait_ns = Some(1);
    assert!(find(&none, "partial").is_some());
}

/// Numbers on which each rule of this file speaks.
fn all_wrong() -> Vec<Snapshot> {
    let mut lossy = snapshot_healthy();
    lossy.refused_threads = 3;
    let one = one_node(Spent { cpu_ns: S, ..Spent::default() });
    vec![throttled(), oversubscribed(12, 90), noisy(1_000, 10), pinned(3_300, 6_600), one, lossy]
}

const RULES_HERE: [&str; 6] = ["throttled", "noisy-neighbour", "affinity", "oversubscribed", "single-node", "partial"];

#[test]
fn a_rule_that_is_off_says_nothing() {
    let mut spoke = Vec::new();
    for snapshot in all_wrong() {
        for finding in look_once(&snapshot, &Settings::default()) {
            let mut settings = Settings::default();
            settings.switch_off(&finding.id).expect("a rule that spoke");
            let without = look_once(&snapshot, &settings);
            assert!(without.iter().all(|other| other.id != finding.id));
            spoke.push(finding.id);
        }
    }
    for rule in RULES_HERE {
        assert!(spoke.iter().any(|id| id == rule), "{rule}");
    }
}

/// Scripts read evidence by its names.
#[test]
fn the_documentation_has_every_name_in_the_evidence() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/findings.md");
    let text = std::fs::read_to_string(path).expect("the documentation");
    for rule in RULES_HERE {
        let (_, section) = text.split_once(&format!("### `{rule}`\n")).unwrap_or_else(|| panic!("no section {rule}"));
        let (section, _) = section.split_once("\n##").unwrap_or((section, ""));
        let findings: Vec<Finding> = all_wrong().iter().filter_map(|snapshot| find(snapshot, rule)).collect();
        for name in findings.iter().filter_map(|finding| finding.evidence.as_object()).flat_map(|all| all.keys()) {
            assert!(section.contains(&format!("`{name}`")), "{rule} does not tell of {name}");
        }
    }
}
