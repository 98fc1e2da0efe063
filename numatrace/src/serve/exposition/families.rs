//! Which families there are: names, help and labels. `docs/serve.md` has them as a table.
//!
//! Each kind of thing (scope) has families of its own, `numatrace_process_...` beside `numatrace_cgroup_...`, because the same wait
//! is in all of them: within a family sums count nothing twice.

use std::{borrow::Cow, collections::HashSet, rc::Rc};

use super::{
    Family, Kind, Series, Value,
    labels::{Labels, text_value, value},
    merge::{Row, distinct},
};
use crate::{
    container::Container,
    serve::sums::{Bound, Cgroup, Levels, Numbers, Sums},
    snapshot::SourceState,
};

/// What serving knows of itself, beside [`Sums`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// How long collecting took, ns.
    pub collect_ns: u64,
    /// Connections and requests that were refused, by reason.
    pub refused: Vec<(&'static str, u64)>,
}

/// All families. `container` tells the container of a cgroup's path, where it is one.
pub fn families<'a>(
    sums: &'a Sums,
    served: &Served,
    container: &mut dyn FnMut(&[u8]) -> Option<Container>,
) -> Vec<Family<'a>> {
    let mut all = Vec::new();
    for scope in scopes(sums, container) {
        scope.families(&mut all);
    }
    matrix(sums, &mut all);
    bounds(sums, &mut all);
    own(sums, served, &mut all);
    for family in &mut all {
        let mut known = HashSet::new();
        family.series.retain(|series| {
            known.insert(series.labels().map(|(name, value)| (name, value.to_owned())).collect::<Vec<_>>())
        });
    }
    all.retain(|family| !family.series.is_empty());
    all
}

/// Things of a kind.
struct Scope<'a> {
    /// After `numatrace_`.
    prefix: &'static str,
    /// The end of each help: whose numbers these are.
    whose: &'static str,
    cpu_help: &'static str,
    rows: Vec<Row<'a>>,
}

/// CPU time of things that are summed up from threads, which tell of the turn that they are in.
const OF_THREADS: &str = "Time on CPU, also of turns that go on (sched_switch)";
/// CPU time of nodes, which are summed up from CPUs.
const OF_CPUS: &str = "Time on CPU of turns that have ended (sched_switch)";

fn scopes<'a>(sums: &'a Sums, container: &mut dyn FnMut(&[u8]) -> Option<Container>) -> [Scope<'a>; 5] {
    let cgroups: Vec<Labels> = sums.cgroups.iter().map(|cgroup| cgroup_labels(cgroup, container)).collect();
    // Its first label is the path.
    let path = |position: Option<usize>| position.and_then(|at| cgroups.get(at)?.first().cloned());
    let processes = sums.processes.iter().map(|process| {
        let mut labels = vec![("pid", process.pid.to_string()), ("comm", value(&process.comm))];
        labels.extend(path(process.cgroup));
        (labels, &process.numbers)
    });
    let groups = sums.thread_groups.iter().map(|group| {
        let labels =
            vec![("pid", group.pid.to_string()), ("process", value(&group.process)), ("comm", value(&group.comm))];
        (labels, &group.numbers)
    });
    let nodes = sums.nodes.iter().map(|node| (vec![("node", node.id.to_string())], &node.numbers));
    [
        Scope {
            prefix: "",
            whose: "the whole machine",
            cpu_help: OF_THREADS,
            rows: distinct([(Vec::new(), &sums.total)].into_iter()),
        },
        Scope {
            prefix: "node_",
            whose: "what happened on the CPUs of a node",
            cpu_help: OF_CPUS,
            rows: distinct(nodes),
        },
        Scope {
            prefix: "cgroup_",
            whose: "a cgroup, without those below it",
            cpu_help: OF_THREADS,
            rows: distinct(cgroups.iter().cloned().zip(sums.cgroups.iter().map(|cgroup| &cgroup.numbers))),
        },
        Scope {
            prefix: "process_",
            whose: "a process, all its threads",
            cpu_help: OF_THREADS,
            rows: distinct(processes),
        },
        Scope {
            prefix: "thread_group_",
            whose: "the threads of a process that have one name",
            cpu_help: OF_THREADS,
            rows: distinct(groups),
        },
    ]
}

fn cgroup_labels(cgroup: &Cgroup, container: &mut dyn FnMut(&[u8]) -> Option<Container>) -> Labels {
    let mut labels = vec![("cgroup", value(&cgroup.path))];
    if let Some(container) = container(&cgroup.path) {
        let known = [
            ("container", container.name),
            ("pod", container.pod),
            ("namespace", container.namespace),
            ("pod_uid", container.pod_uid),
            ("runtime", Some(container.runtime.to_owned())),
        ];
        let known = known.into_iter().filter_map(|(name, text)| Some((name, text.filter(|text| !text.is_empty())?)));
        labels.extend(known.map(|(name, text)| (name, text_value(&text))));
    }
    labels
}

/// One number of [`Numbers`], in as many series as it has parts.
type Parts = Vec<(Vec<(&'static str, Cow<'static, str>)>, Value<'static>)>;

impl<'a> Scope<'a> {
    fn families(&self, all: &mut Vec<Family<'a>>) {
        let latencies = self.rows.iter().map(|(labels, numbers)| {
            let latency = match numbers {
                Cow::Borrowed(numbers) => Cow::Borrowed(&numbers.runq),
                Cow::Owned(numbers) => Cow::Owned(numbers.runq.clone()),
            };
            Series { scope: Rc::clone(labels), own: Vec::new(), value: Value::Latency(latency) }
        });
        all.push(Family {
            name: format!("numatrace_{}runq_latency_seconds", self.prefix),
            help: self.help("Run-queue latency: waits for a CPU that have ended, after wakeup (sched_wakeup, sched_wakeup_new) and after preemption (sched_switch)"),
            kind: Kind::Histogram,
            unit: Some("seconds"),
            series: latencies.collect(),
        });
        all.push(
            self.counter("cpu_seconds", self.cpu_help, |numbers| vec![(Vec::new(), Value::Seconds(numbers.cpu_ns))]),
        );
        all.push(self.counter(
            "throttled_wait_seconds",
            "Part of the waits in which a CPU quota had stopped the thread (cfs_rq throttled clock)",
            |numbers| numbers.throttled_ns.into_iter().map(|ns| (Vec::new(), Value::Seconds(ns))).collect(),
        ));
        all.push(self.counter(
            "migrations",
            "Migrations by how far apart the CPUs are (sched_migrate_task)",
            |numbers| {
                numbers.migrations.iter().flat_map(levels).map(|(level, count)| one("level", level, count)).collect()
            },
        ));
        all.push(self.counter(
            "page_touches",
            "Page touches by whether the page is on the node of the CPU (page faults)",
            |numbers| {
                numbers
                    .touches
                    .iter()
                    .flat_map(|cells| localities(cells))
                    .map(|(at, n)| one("locality", at, n))
                    .collect()
            },
        ));
        all.push(self.counter(
            "hint_faults",
            "Hint faults of automatic NUMA balancing by where the page is (task_numa_fault)",
            |numbers| {
                let both =
                    numbers.hint_faults.into_iter().flat_map(|(local, remote)| [("local", local), ("remote", remote)]);
                both.map(|(at, count)| one("locality", at, count)).collect()
            },
        ));
    }

    fn counter(&self, name: &str, help: &str, parts: impl Fn(&Numbers) -> Parts) -> Family<'a> {
        let series = self.rows.iter().flat_map(|(labels, numbers)| {
            let parts = parts(numbers).into_iter();
            parts.map(|(own, value)| Series { scope: Rc::clone(labels), own, value })
        });
        Family {
            name: format!("numatrace_{}{name}", self.prefix),
            help: self.help(help),
            kind: Kind::Counter,
            unit: name.ends_with("_seconds").then_some("seconds"),
            series: series.collect(),
        }
    }

    fn help(&self, what: &str) -> String {
        format!("{what}. Of {}.", self.whose)
    }
}

fn one(
    label: &'static str,
    value: &'static str,
    count: u64,
) -> (Vec<(&'static str, Cow<'static, str>)>, Value<'static>) {
    (vec![(label, value.into())], Value::Count(count))
}

fn levels(levels: &Levels) -> [(&'static str, u64); 5] {
    [
        ("smt", levels.smt),
        ("llc", levels.llc),
        ("node", levels.node),
        ("cross_node", levels.cross_node),
        ("unknown", levels.unknown),
    ]
}

/// Local, remote, and of an unknown node: a row for each node of the CPU, a column for each of the page and one more.
fn localities(cells: &[Vec<u64>]) -> [(&'static str, u64); 3] {
    let [mut local, mut remote, mut unknown] = [0_u64; 3];
    for (row, counts) in cells.iter().enumerate() {
        for (column, count) in counts.iter().enumerate() {
            let sum = match locality(row, column, counts.len()) {
                "local" => &mut local,
                "remote" => &mut remote,
                _ => &mut unknown,
            };
            *sum = sum.saturating_add(*count);
        }
    }
    [("local", local), ("remote", remote), ("unknown", unknown)]
}

fn locality(row: usize, column: usize, columns: usize) -> &'static str {
    if column + 1 == columns {
        "unknown"
    } else if row == column {
        "local"
    } else {
        "remote"
    }
}

/// Page touches of the whole machine by both nodes: each cell once, so with many nodes this is the one family that has them.
fn matrix(sums: &Sums, all: &mut Vec<Family<'_>>) {
    let Some(cells) = &sums.total.touches else { return };
    let node = |at: usize| sums.nodes.get(at).map_or(Cow::Borrowed("unknown"), |node| node.id.to_string().into());
    let series = cells.iter().enumerate().flat_map(|(row, counts)| {
        counts.iter().enumerate().map(move |(column, count)| {
            let page = if column + 1 == counts.len() { "unknown".into() } else { node(column) };
            let own = vec![
                ("cpu_node", node(row)),
                ("page_node", page),
                ("locality", locality(row, column, counts.len()).into()),
            ];
            Series { scope: Rc::default(), own, value: Value::Count(*count) }
        })
    });
    let series = series.collect();
    // It says the same as the family of sums by locality, and more.
    if let Some(family) = all.iter_mut().find(|family| family.name == "numatrace_page_touches") {
        family.help = "Page touches by node of the CPU and of the page (page faults). Of the whole machine.".into();
        family.series = series;
    }
}

/// What is of the whole, with labels of its own.
fn plain<'a>(
    name: &str,
    kind: Kind,
    help: &str,
    rows: impl IntoIterator<Item = (Vec<(&'static str, Cow<'static, str>)>, Value<'a>)>,
) -> Family<'a> {
    let unit = ["seconds", "bytes"].into_iter().find(|unit| name.ends_with(unit));
    let series = rows.into_iter().map(|(own, value)| Series { scope: Rc::default(), own, value });
    Family { name: format!("numatrace_{name}"), help: help.into(), kind, unit, series: series.collect() }
}

fn bounds(sums: &Sums, all: &mut Vec<Family<'_>>) {
    let scopes = [
        ("cgroup", Some(sums.cgroup_bound)),
        ("process", Some(sums.process_bound)),
        ("thread_group", sums.thread_group_bound),
    ];
    let of = |value: fn(Bound) -> u64| {
        scopes
            .into_iter()
            .filter_map(move |(scope, bound)| Some(one("scope", scope, value(bound?))))
            .collect::<Vec<_>>()
    };
    all.push(plain(
        "tracked_threads",
        Kind::Gauge,
        "Threads that are counted now.",
        [(Vec::new(), Value::Count(sums.tracked_threads))],
    ));
    all.push(plain(
        "series_limit",
        Kind::Gauge,
        "How many of a kind have series of their own at most (--max-cgroups, --max-processes, --max-thread-groups).",
        of(|bound| bound.most as u64),
    ));
    all.push(plain(
        "series_hidden",
        Kind::Gauge,
        "How many of a kind have no series now: their numbers are in the other kinds alone.",
        of(|bound| bound.hidden),
    ));
    let lost = [
        ("refused_threads", sums.lost.refused_threads),
        ("no_group", sums.lost.no_group),
        ("no_cell", sums.lost.no_cell),
        ("unseen_events", sums.lost.unseen_events),
    ];
    all.push(plain(
        "lost",
        Kind::Counter,
        "What was not counted as it should: threads without room (refused_threads), sums of threads without room for their process (no_group), page touches without a cell (no_cell), transitions that no hook saw (unseen_events).",
        lost.map(|(reason, count)| one("reason", reason, count)),
    ));
}

fn own(sums: &Sums, served: &Served, all: &mut Vec<Family<'_>>) {
    let gauge = |name, help, value: Option<Value<'static>>| {
        plain(name, Kind::Gauge, help, value.map(|value| (Vec::new(), value)))
    };
    let counter = |name, help, value: Option<Value<'static>>| {
        plain(name, Kind::Counter, help, value.map(|value| (Vec::new(), value)))
    };
    let cost = &sums.cost;
    let states = sums.sources.iter().map(|source| {
        let state = match source.state {
            SourceState::On => "on",
            SourceState::Off => "off",
            SourceState::BestEffort => "best_effort",
            SourceState::Sampled => "sampled",
        };
        let mut own = vec![("source", text_value(&source.name).into()), ("state", state.into())];
        own.extend(
            source.reason.as_deref().filter(|text| !text.is_empty()).map(|text| ("reason", text_value(text).into())),
        );
        (own, Value::Count(1))
    });
    all.extend([
        plain(
            "source_state",
            Kind::Gauge,
            "Always 1: whether a source of numbers works on this kernel, and why not. What comes from a source that is off is absent.",
            states,
        ),
        counter("self_cpu_seconds", "CPU time of numatrace itself, without its probes.", Some(Value::Seconds(cost.cpu_ns))),
        gauge("self_memory_bytes", "Resident memory of numatrace itself.", Some(Value::Count(cost.memory_bytes))),
        counter(
            "self_probes_seconds",
            "Time in the probes; absent where kernel.bpf_stats_enabled is off.",
            cost.probes_ns.map(Value::Seconds),
        ),
        counter(
            "self_probes_runs",
            "Runs of the probes; absent where kernel.bpf_stats_enabled is off.",
            cost.probes_runs.map(Value::Count),
        ),
        gauge("self_maps_bytes", "Kernel memory of the probes' maps.", cost.maps_bytes.map(Value::Count)),
        gauge("scrape_collect_seconds", "How long collecting these numbers took.", Some(Value::Seconds(served.collect_ns))),
        plain(
            "connections_refused",
            Kind::Counter,
            "Connections and requests that were refused.",
            served.refused.iter().map(|(reason, count)| one("reason", reason, *count)),
        ),
        plain(
            "build",
            Kind::Info,
            "Always 1: the version of numatrace.",
            [(vec![("version", env!("CARGO_PKG_VERSION").into())], Value::Count(1))],
        ),
        gauge(
            "start_time_seconds",
            "When counting began, since 1970: counters of all families were zero then.",
            Some(Value::Seconds(sums.started_ns)),
        ),
    ]);
}
