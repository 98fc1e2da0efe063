//! All rules over any numbers: none panics, evidence is finite and is that of the snapshot. And the document that tells of them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use numatrace::findings::{Findings, Limit, RULES, Rule, Settings, look_once};
use numatrace::snapshot::{
    Behind, Culprit, Finding, Gap, HostNode, LocalRemote, Location, NodeMemory, PreemptedBy, Sched, Snapshot, Source,
    SourceState, Thread, ThreadStats, Throttle, TouchCount, Touches, Waited, sources,
};
use numatrace::units::{NodeId, Pid, Tid};
use numatrace_tests::golden;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;

/// Numbers of which a snapshot is made, one after the other; 0 when there are no more.
struct Dice<'a>(&'a [u64]);

impl Dice<'_> {
    fn any(&mut self) -> u64 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn below(&mut self, most: u64) -> u64 {
        self.any() % most
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.below(4) != 0).then(|| make(self))
    }

    fn some<T>(&mut self, most: u64, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| make(self)).collect()
    }

    fn share(&mut self) -> f64 {
        [0.0, 0.3, 1.0, 7.5, f64::MAX, -1.0][self.below(6) as usize]
    }

    fn text(&mut self) -> String {
        let all =
            ["", "worker", "ksoftirqd/3", "/a", "/a/b", "/system.slice/x.service", "/", "a'b $(x)", "\\x1b", "heap"];
        all[self.below(all.len() as u64) as usize].into()
    }

    fn cpus(&mut self) -> String {
        let all = ["0", "0-1", "2-3", "0-3", "3", "0-1023", "65535", "", "x", "0-7"];
        all[self.below(all.len() as u64) as usize].into()
    }

    fn matrix(&mut self) -> Vec<Vec<u64>> {
        self.some(3, |dice| dice.some(3, Self::any))
    }

    fn touches(&mut self) -> TouchCount {
        TouchCount { local: self.any(), remote: self.any(), unknown: self.any() }
    }

    fn waits(&mut self) -> Waited {
        Waited { count: self.any(), total_ns: self.any() }
    }

    fn stats(&mut self) -> ThreadStats {
        let mut stats = ThreadStats {
            cpu_ns: self.any(),
            wait_ns: self.any(),
            blocked_ns: self.any(),
            unseen_events: self.any(),
            throttled_wait_ns: self.maybe(Self::any),
            behind: self.maybe(|dice| Behind { own_ns: dice.any(), others_ns: dice.any() }),
            preempted_by: self.maybe(|dice| PreemptedBy { own: dice.waits(), others: dice.waits() }),
            node_moves: self.any(),
            residency_ns: self.some(4, Self::any),
            residency_cpu_ns: BTreeMap::from_iter(self.some(5, |dice| (dice.any() as u32, dice.any())))
                .into_iter()
                .collect(),
            touches_by_node: self.maybe(Self::matrix),
            hint_faults: self.maybe(|dice| LocalRemote { local: dice.any(), remote: dice.any() }),
            hint_fault_ns: self.maybe(Self::any),
            pages_migrated: self.maybe(Self::any),
            remote_share: self.maybe(Self::share),
            expected_remote_share: self.maybe(Self::share),
            cost_factor: self.maybe(Self::share),
            ..ThreadStats::default()
        };
        stats.switches.voluntary = self.any();
        stats.switches.involuntary = self.any();
        for latency in [&mut stats.runq.all, &mut stats.runq.wakeup, &mut stats.runq.preempted] {
            (latency.count, latency.total_ns, latency.p99_ns, latency.max_ns) =
                (self.any(), self.any(), self.any(), self.any());
        }
        stats.runq.unthrottled = self.maybe(|dice| {
            let mut latency = stats.runq.all.clone();
            latency.p99_ns = dice.any();
            Box::new(latency)
        });
        let migrations = &mut stats.migrations;
        (migrations.cross_node, migrations.node, migrations.llc) = (self.any(), self.any(), self.any());
        let causes = &mut migrations.causes;
        for cause in [
            &mut causes.wakeup,
            &mut causes.load_balance,
            &mut causes.active_balance_or_affinity,
            &mut causes.numa_balancing,
        ] {
            *cause = self.any();
        }
        stats.touches = self.maybe(|dice| Touches {
            first_touch: dice.touches(),
            file: dice.touches(),
            cow: dice.maybe(Self::touches),
            huge: dice.maybe(Self::touches),
            zero: dice.maybe(Self::touches),
            other: dice.touches(),
        });
        stats.locations = self.maybe(|dice| {
            dice.some(2, |dice| Location {
                mapping: dice.text().into(),
                symbol: dice.text().into(),
                stack: Vec::new(),
                local: dice.any(),
                remote: dice.any(),
            })
        });
        stats.waited_behind = self.some(3, |dice| Culprit {
            tid: Tid(dice.any() as u32),
            comm: dice.text().into(),
            pid: dice.maybe(|dice| Pid(dice.below(3) as u32)),
            total_ns: dice.any(),
            count: dice.any(),
        });
        stats
    }

    fn thread(&mut self) -> Thread {
        Thread {
            tid: Tid(self.any() as u32),
            pid: Pid(self.below(3) as u32),
            comm: self.text().into(),
            exited: self.below(4) == 0,
            sched: self.maybe(|dice| Sched { allowed_cpus: dice.cpus().into(), ..Sched::default() }.into()),
            cgroup: self.maybe(|dice| dice.text().into()),
            stats: self.stats(),
            ..Thread::default()
        }
    }

    fn source(&mut self) -> Source {
        let names = [sources::TOUCHES[0], sources::HINT_FAULTS[0], sources::MIGRATED[0], "tp_btf:sched_waking", "x"];
        let states = [SourceState::On, SourceState::Off, SourceState::BestEffort, SourceState::Sampled];
        Source {
            name: names[self.below(5) as usize].into(),
            state: states[self.below(4) as usize],
            reason: self.maybe(Self::text),
        }
    }

    fn snapshot(&mut self) -> Snapshot {
        let mut snapshot = Snapshot::nothing_yet("pid 1");
        snapshot.duration_ns = self.any();
        snapshot.host.cpus = self.any() as u32;
        snapshot.host.nodes = self.some(4, |dice| HostNode {
            id: NodeId(dice.below(9) as u32),
            cpus: dice.some(4, |dice| dice.below(2_000) as u32),
            memory_bytes: dice.any(),
        });
        snapshot.host.distances = self.some(3, |dice| dice.some(3, |dice| dice.any() as u32));
        snapshot.target.kind = ["pid", "all", "cgroup", ""][self.below(4) as usize].into();
        snapshot.totals = self.stats();
        snapshot.threads = self.some(4, Self::thread);
        snapshot.throttle = self.maybe(|dice| {
            dice.some(3, |dice| Throttle {
                cgroup: dice.text(),
                periods: dice.any(),
                throttled_periods: dice.any(),
                throttled_ns: dice.any(),
                quota_cpus: dice.maybe(Self::share),
                threads: dice.any(),
            })
        });
        snapshot.node_memory = self.maybe(|dice| {
            dice.some(4, |dice| NodeMemory {
                total_bytes: dice.any(),
                free_bytes: dice.any(),
                file_bytes: dice.any(),
                hit: dice.any(),
                miss: dice.any(),
                foreign: dice.any(),
            })
        });
        snapshot.matrices.migrations = self.matrix();
        snapshot.matrices.page_touches = self.maybe(Self::matrix);
        snapshot.placement_pages = self.maybe(|dice| dice.some(4, Self::any));
        snapshot.sources = self.some(4, Self::source);
        (snapshot.loss.records_wanted, snapshot.loss.records_lost) = (self.any(), self.any());
        snapshot.refused_threads = self.any();
        snapshot.gaps = self.some(2, |dice| Gap {
            source: dice.text(),
            cpu: dice.any() as u32,
            start_ns: dice.any(),
            end_ns: dice.any(),
        });
        snapshot
    }
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        3 => 0..10u64,
        3 => 1_000_000_000..20_000_000_000u64,
        1 => Just(u64::MAX),
        1 => any::<u64>(),
    ]
}

/// The usual limits, and those from which on every rule speaks that can.
fn settings() -> [Settings; 2] {
    let mut least = Settings::default();
    for rule in RULES {
        for limit in rule.limits {
            least.set(rule.id, limit.name, limit.range.0).expect("its least value");
        }
    }
    [Settings::default(), least]
}

/// Every number in it.
fn numbers(evidence: &Value, into: &mut Vec<f64>) {
    match evidence {
        Value::Number(number) => into.push(number.as_f64().expect("a number")),
        Value::Array(all) => all.iter().for_each(|one| numbers(one, into)),
        Value::Object(all) => all.values().for_each(|one| numbers(one, into)),
        _ => {}
    }
}

fn sentence(text: &str) -> bool {
    !text.is_empty() && !text.contains("NaN") && !text.contains("inf ") && !text.contains('\n')
}

/// What holds of every finding.
fn whole(finding: &Finding) {
    let mut all = Vec::new();
    numbers(&finding.evidence, &mut all);
    assert!(!all.is_empty() && all.iter().all(|number| number.is_finite()), "{finding:?}");
    assert!(finding.evidence.is_object(), "{finding:?}");
    assert!(sentence(&finding.title) && sentence(&finding.advice), "{finding:?}");
    // What reaches a shell is one line, and what was escaped for display is not in it.
    let command = finding.command.as_deref().unwrap_or("-");
    assert!(!command.is_empty() && !command.contains(|c: char| c.is_control()), "{finding:?}");
    assert!(!command.contains("\\x1b"), "{finding:?}");
}

/// A number of the evidence; `None` where it is absent.
fn ns(finding: &Finding, name: &str) -> Option<u64> {
    let value = finding.evidence.get(name).unwrap_or_else(|| panic!("no {name}: {finding:?}"));
    assert!(value.is_null() || value.is_u64(), "{name}: {finding:?}");
    value.as_u64()
}

fn is_share(finding: &Finding, share: &str, part: u64, parts: [u64; 2]) {
    let whole = parts[0].saturating_add(parts[1]);
    let told = finding.evidence[share].as_f64().unwrap_or_else(|| panic!("{share}: {finding:?}"));
    assert!((told - part as f64 / whole as f64).abs() <= 0.000_51, "{share}: {finding:?}");
}

/// Evidence of the rules about the CPU is that of the snapshot, and its parts sum to it.
fn adds_up(finding: &Finding, snapshot: &Snapshot) {
    let totals = &snapshot.totals;
    let get = |name: &str| ns(finding, name).unwrap_or(0);
    let parts_of_wait = || {
        let parts = ["throttled_wait_ns", "behind_own_ns", "behind_others_ns", "rest_ns"].map(get);
        let sum: u128 = parts.iter().map(|part| u128::from(*part)).sum();
        assert_eq!((sum, get("wait_ns")), (u128::from(totals.wait_ns), totals.wait_ns), "{finding:?}");
        assert_eq!(get("cpu_ns"), totals.cpu_ns);
        let behind = totals.behind.unwrap_or_default();
        assert!(get("behind_own_ns") <= behind.own_ns && get("behind_others_ns") <= behind.others_ns, "{finding:?}");
    };
    match finding.id.as_str() {
        "throttled" => {
            assert!(get("throttled_wait_ns") <= get("wait_ns"), "{finding:?}");
            if ns(finding, "throttled_wait_ns").is_some() {
                is_share(finding, "throttled_share", get("throttled_wait_ns"), [get("cpu_ns"), get("wait_ns")]);
            }
            if let Some(cgroup) = finding.evidence["cgroup"].as_str() {
                let known = snapshot.throttle.iter().flatten().any(|quota| {
                    let counts = (quota.periods, quota.throttled_periods, quota.throttled_ns);
                    let told = (get("periods"), get("throttled_periods"), get("cgroup_throttled_ns"));
                    quota.cgroup == cgroup && counts == told
                });
                assert!(known, "{finding:?}");
            }
        }
        "oversubscribed" | "single-node" => parts_of_wait(),
        "noisy-neighbour" => {
            parts_of_wait();
            is_share(finding, "stolen_share", get("behind_others_ns"), [get("cpu_ns"), get("wait_ns")]);
            for (list, name) in [("neighbours", "total_ns"), ("victims", "behind_others_ns")] {
                let all = finding.evidence[list].as_array().expect("a list");
                let sum: u128 = all.iter().map(|one| u128::from(one[name].as_u64().expect("a time"))).sum();
                assert!(sum <= u128::from(get("behind_others_ns")), "{finding:?}");
            }
        }
        "affinity" => {
            let wanted = get("cpu_ns").saturating_add(get("wait_ns")).saturating_sub(get("throttled_wait_ns"));
            let told = finding.evidence["runnable_threads"].as_f64().expect("a number");
            let exact = wanted as f64 / snapshot.duration_ns as f64;
            assert!((told - exact).abs() <= exact * 1e-9 + 0.000_51, "{finding:?}");
            assert!(get("threads") as usize <= snapshot.threads.len(), "{finding:?}");
        }
        "partial" => {
            let loss = &snapshot.loss;
            assert_eq!((get("records_wanted"), get("records_lost")), (loss.records_wanted, loss.records_lost));
            assert_eq!(get("refused_threads"), snapshot.refused_threads);
            assert!(finding.evidence["sources"].as_array().expect("a list").len() <= snapshot.sources.len());
        }
        _ => {}
    }
}

/// The rules whose evidence is looked at here.
const CPU: [&str; 6] = ["throttled", "noisy-neighbour", "affinity", "oversubscribed", "single-node", "partial"];

/// Not a property of each case alone: over all of them these rules must have spoken, or they were not tried at all.
#[test]
fn no_snapshot_makes_a_rule_panic_and_evidence_adds_up() {
    let spoke: RefCell<BTreeSet<String>> = RefCell::default();
    let mut runner = TestRunner::new(Config { cases: 1_024, failure_persistence: None, ..Config::default() });
    let settings = settings();
    let ran = runner.run(&(vec(number(), 0..700), vec(number(), 0..700)), |(first, then)| {
        let all = [Dice(&first).snapshot(), Dice(&then).snapshot()];
        for settings in &settings {
            let mut kept = Findings::new(settings.clone());
            for snapshot in &all {
                let once = look_once(snapshot, settings);
                for finding in &once {
                    whole(finding);
                    adds_up(finding, snapshot);
                    spoke.borrow_mut().insert(finding.id.clone());
                }
                // Those that are held are of the snapshot before.
                kept.look(snapshot, snapshot.duration_ns).iter().for_each(whole);
            }
        }
        Ok(())
    });
    ran.unwrap_or_else(|error| panic!("{error}"));
    let silent: Vec<&str> = CPU.into_iter().filter(|id| !spoke.borrow().contains(*id)).collect();
    assert_eq!(silent, [""; 0], "never spoke");
}

/// Each rule has a section in docs/findings.md, with a row for each limit that begins with its name and default. Sentence and
/// rows of the rules that are looked at here are the program's own: `NUMATRACE_BLESS=1` writes them anew.
#[test]
fn the_documentation_has_every_rule_and_limit() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/findings.md");
    let mut text = fs::read_to_string(&path).expect("the documentation");
    for rule in RULES {
        let head = format!("### `{}`\n", rule.id);
        let (before, after) = text.split_once(&head).unwrap_or_else(|| panic!("no section {head}"));
        let own = &after[..end_of_section(after)];
        for Limit { name, default, .. } in rule.limits {
            let row = format!("| `{name}` | {default} |");
            assert!(golden::blessing() || own.lines().any(|line| line.starts_with(&row)), "{head} has no row {row}");
        }
        if !CPU.contains(&rule.id) {
            continue;
        }
        let wanted = section(rule);
        if golden::blessing() {
            text = format!("{before}{head}{wanted}{}", after_limits(after));
        } else {
            assert!(after.starts_with(&wanted), "{head} does not begin with{wanted}");
        }
    }
    if golden::blessing() {
        fs::write(&path, text).expect("a writable tree");
    }
    // And no rule that there is none of.
    let text = fs::read_to_string(&path).expect("the documentation");
    let sections = text.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'));
    let strangers: Vec<&str> = sections.filter(|id| RULES.iter().all(|rule| rule.id != *id)).collect();
    assert_eq!(strangers, [""; 0]);
}

const HEAD: &str = "| limit | default | from to | what it is |\n| --- | --- | --- | --- |\n";

/// What the section of a rule begins with.
fn section(rule: &Rule) -> String {
    let row = |limit: &Limit| {
        let Limit { name, default, range: (least, most), about } = limit;
        format!("| `{name}` | {default} | {least} to {most} | {about} |\n")
    };
    let rows: String = rule.limits.iter().map(row).collect();
    format!("\n{}\n\n{}{rows}", rule.about, if rows.is_empty() { "" } else { HEAD })
}

fn end_of_section(section: &str) -> usize {
    ["\n## ", "\n### "].into_iter().filter_map(|head| section.find(head)).min().unwrap_or(section.len())
}

/// What follows the limits in a section, and all sections after it.
fn after_limits(section: &str) -> &str {
    let end = end_of_section(section);
    match section[..end].split_once(HEAD) {
        Some((before, rows)) => {
            let table: usize = rows.split_inclusive('\n').take_while(|row| row.starts_with("| ")).map(str::len).sum();
            &section[before.len() + HEAD.len() + table..]
        }
        None => &section[end..],
    }
}
