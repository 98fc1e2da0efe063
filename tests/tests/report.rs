//! Reports for people and for programs, from fixed snapshots.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::Arc;

use numatrace::report::text::TextOptions;
use numatrace::report::{self, SortKey, is_broken_pipe};
use numatrace::snapshot::{
    Behind, Finding, Gap, HostNode, LocalRemote, Location, LossInterval, NodeMemory, PreemptedBy, Snapshot, Source,
    SourceState, Thread, ThreadStats, Throttle, TouchCount, Touches, Waited, sources,
};
use numatrace::text::width;
use numatrace::units::{NodeId, Pid, Tid};
use numatrace_tests::fixture::{
    snapshot_many_nodes, snapshot_of_threads, snapshot_throttled, snapshot_two_nodes, snapshot_with_gaps,
    snapshot_with_loss, snapshot_with_memory, snapshot_without_memory, snapshot_without_quota,
    snapshot_without_threads,
};
use numatrace_tests::golden;
use serde_json::{Value, json};

fn text(snapshot: &Snapshot, options: &TextOptions) -> String {
    let mut out = Vec::new();
    report::text::write(snapshot, options, &mut out).expect("memory takes every write");
    String::from_utf8(out).expect("a report is text")
}

fn json_line(snapshot: &Snapshot) -> String {
    let mut out = Vec::new();
    report::json::write(snapshot, &mut out).expect("memory takes every write");
    String::from_utf8(out).expect("JSON is text")
}

fn narrow() -> TextOptions {
    TextOptions { width: 80, ..TextOptions::default() }
}

/// A snapshot in which every source is on: no field is `null` or left out.
fn everything() -> Snapshot {
    fn fill(stats: &mut ThreadStats) {
        let touches = TouchCount { local: 8, remote: 2, unknown: 1 };
        stats.waiting_now_ns = Some(5);
        stats.throttled_wait_ns = Some(7);
        stats.behind = Some(Behind { own_ns: 5, others_ns: 6 });
        let waits = |count| Waited { count, total_ns: 100 * count };
        stats.preempted_by = Some(PreemptedBy { own: waits(2), others: waits(3) });
        stats.runq.unthrottled = Some(Box::new(stats.runq.all.clone()));
        stats.waited_behind.iter_mut().for_each(|culprit| culprit.pid = Some(Pid(970)));
        let (cow, huge, zero) = (Some(touches), Some(touches), Some(touches));
        stats.touches = Some(Touches { first_touch: touches, cow, huge, zero, ..Touches::default() });
        stats.touches_by_node = Some(vec![vec![20, 4], vec![4, 4]]);
        stats.hint_faults = Some(LocalRemote { local: 3, remote: 4 });
        stats.hint_fault_ns = Some(5);
        stats.pages_migrated = Some(9);
        stats.remote_share = Some(0.2);
        stats.expected_remote_share = Some(0.25);
        stats.cost_factor = Some(1.22);
        let mapping = "[heap]".into();
        let stack = vec!["caller".into()];
        stats.locations = Some(vec![Location { mapping, symbol: "main".into(), stack, local: 1, remote: 2 }]);
    }
    let mut snapshot = snapshot_with_loss();
    snapshot.threads.truncate(1);
    fill(&mut snapshot.totals);
    for thread in &mut snapshot.threads {
        thread.ns_pid = Some(12);
        // No thread has both, but each has its place.
        Arc::make_mut(thread.sched.as_mut().expect("the fixture's first thread has one")).rt_priority = Some(50);
        fill(&mut thread.stats);
    }
    snapshot.matrices.page_touches = Some(vec![vec![8, 1], vec![1, 0]]);
    snapshot.placement_pages = Some(vec![100, 200]);
    snapshot.placement_age_ns = Some(1_500_000_000);
    snapshot.gaps = vec![Gap { source: sources::TOUCHES[0].into(), cpu: 3, start_ns: 5, end_ns: 9 }];
    let cgroup = String::from("/app");
    snapshot.throttle = Some(vec![Throttle {
        cgroup,
        periods: 10,
        throttled_periods: 3,
        throttled_ns: 40,
        quota_cpus: Some(1.5),
        threads: 4,
    }]);
    let memory = NodeMemory { total_bytes: 9, free_bytes: 8, file_bytes: 7, hit: 6, miss: 5, foreign: 4 };
    snapshot.node_memory = Some(vec![memory; 2]);
    snapshot.findings = vec![Finding {
        id: "cross-node-hops".into(),
        severity: "warn".into(),
        title: "Threads hop between nodes 48 times a second".into(),
        about: "Each hop leaves the caches behind".into(),
        evidence: json!({ "hops": 480 }),
        advice: "Bind the process to one node if its memory fits there".into(),
        command: Some("numactl --cpunodebind=0 --membind=0 -- CMD".into()),
    }];
    snapshot
}

#[test]
fn the_text_is_what_a_person_should_read() {
    golden::check("report/two-nodes-80.txt", &text(&snapshot_two_nodes(), &narrow()));
    let wide = TextOptions { width: 160, ..TextOptions::default() };
    golden::check("report/two-nodes-160.txt", &text(&snapshot_two_nodes(), &wide));
    golden::check("report/everything-120.txt", &text(&everything(), &TextOptions::default()));
    golden::check("report/memory-80.txt", &text(&snapshot_with_gaps(), &narrow()));
    golden::check("report/memory-160.txt", &text(&snapshot_with_memory(), &wide));
    golden::check("report/throttled-80.txt", &text(&snapshot_throttled(), &narrow()));
    golden::check("report/no-quota-120.txt", &text(&snapshot_without_quota(), &TextOptions::default()));
    golden::check("report/sixteen-nodes-120.txt", &text(&snapshot_many_nodes(16), &TextOptions::default()));
    golden::check("report/memory-off-120.txt", &text(&snapshot_without_memory(), &TextOptions::default()));
    golden::check("report/no-threads-80.txt", &text(&snapshot_without_threads(), &narrow()));
}

#[test]
fn the_json_is_byte_for_byte_the_same() {
    golden::check("report/two-nodes.json", &json_line(&snapshot_two_nodes()));
    golden::check("report/everything.json", &json_line(&everything()));
}

/// The fields of schema 1, copied from its contract: a path for each, `[]` for a list's items, in order.
const SCHEMA_1: &str = "
schema tool.name tool.version
host.kernel host.arch host.cpus host.nodes[].id host.nodes[].cpus[] host.nodes[].memory_bytes host.distances[][]
target.kind target.label target.ids[] start duration_ns sources[].name sources[].state sources[].reason
loss.records_wanted loss.records_lost loss.by_reason.ring_full loss.by_reason.no_ring loss.by_reason.undecodable
loss.intervals[].start_ns loss.intervals[].end_ns loss.intervals[].lost
totals.THREAD threads[].tid threads[].pid threads[].ns_pid threads[].comm threads[].exited threads[].THREAD
dropped_threads matrices.migrations[][] matrices.page_touches[][] placement_pages[]
throttle[].cgroup throttle[].periods throttle[].throttled_periods throttle[].throttled_ns throttle[].quota_cpus
findings[].id findings[].severity findings[].title findings[].evidence.hops findings[].advice findings[].command";

const SCHEMA_1_THREAD: &str = "
cpu_ns wait_ns blocked_ns waiting_now_ns switches.voluntary switches.involuntary
runq.wakeup.LAT runq.preempted.LAT runq.all.LAT throttled_wait_ns
migrations.smt migrations.llc migrations.node migrations.cross_node migrations.causes.wakeup
migrations.causes.load_balance migrations.causes.active_balance_or_affinity migrations.causes.numa_balancing
migrations.causes.hotplug migrations.causes.other wakers[].tid wakers[].comm wakers[].count
node_moves residency_ns[] touches.first_touch.TOUCH touches.file.TOUCH touches.cow.TOUCH touches.huge.TOUCH
touches.zero.TOUCH touches.other.TOUCH hint_faults.local hint_faults.remote hint_fault_ns pages_migrated remote_share
expected_remote_share cost_factor where[].mapping where[].symbol where[].local where[].remote
waited_behind[].tid waited_behind[].comm waited_behind[].total_ns waited_behind[].count";

/// Added within schema 1: allowed, and fixed from then on.
const ADDED: &str = "refused_threads loss.records_received incomplete threads[].cgroup
threads[].sched.policy threads[].sched.nice threads[].sched.rt_priority threads[].sched.allowed_cpus
placement_age_ns gaps[].source gaps[].cpu gaps[].start_ns gaps[].end_ns
throttle[].threads findings[].about
node_memory[].total_bytes node_memory[].free_bytes node_memory[].file_bytes node_memory[].hit node_memory[].miss
node_memory[].foreign";
const ADDED_THREAD: &str = "migrations.unclassified unseen_events touches_by_node[][] where[].stack[]
behind.own_ns behind.others_ns preempted_by.own.count preempted_by.own.total_ns preempted_by.others.count
preempted_by.others.total_ns waited_behind[].pid runq.unthrottled.LAT";

fn contract() -> BTreeSet<String> {
    let lat = "count total_ns p50_ns p90_ns p99_ns p999_ns max_ns";
    let expand = |paths: Vec<String>, name: &str, parts: &[String]| -> Vec<String> {
        let expand_one = |path: String| match path.strip_suffix(name) {
            Some(stem) => parts.iter().map(|part| format!("{stem}{part}")).collect(),
            None => vec![path],
        };
        paths.into_iter().flat_map(expand_one).collect()
    };
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<String>>();
    let thread = expand(words(SCHEMA_1_THREAD), "LAT", &words(lat));
    let mut thread = expand(thread, "TOUCH", &words("local remote unknown"));
    thread.extend(expand(words(ADDED_THREAD), "LAT", &words(lat)));
    let mut all = expand(words(SCHEMA_1), "THREAD", &thread);
    all.extend(words(ADDED));
    all.into_iter().collect()
}

fn paths(value: &Value, path: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                paths(field, &format!("{path}{dot}{name}"), into);
            }
        }
        Value::Array(items) => {
            assert!(!items.is_empty(), "{path} is empty: the walk would not see its items");
            items.iter().for_each(|item| paths(item, &format!("{path}[]"), into));
        }
        _ => {
            into.insert(path.to_owned());
        }
    }
}

#[test]
fn the_json_has_exactly_the_fields_of_the_contract() {
    let mut snapshot = everything();
    snapshot.totals.wakers = snapshot.threads[0].stats.wakers.clone();
    snapshot.totals.waited_behind = snapshot.threads[0].stats.waited_behind.clone();
    let value: Value = serde_json::from_str(&json_line(&snapshot)).expect("it is JSON");
    let mut found = BTreeSet::new();
    paths(&value, "", &mut found);
    let contract = contract();
    let missing: Vec<_> = contract.difference(&found).collect();
    let extra: Vec<_> = found.difference(&contract).collect();
    assert!(missing.is_empty() && extra.is_empty(), "missing: {missing:?}\nnot in the contract: {extra:?}");
}

#[test]
fn a_source_that_is_off_is_null_and_never_zero() {
    let value: Value = serde_json::from_str(&json_line(&snapshot_two_nodes())).expect("it is JSON");
    for field in ["placement_pages", "throttle"] {
        assert_eq!(value.get(field), Some(&Value::Null), "{field}");
    }
    assert_eq!(value["matrices"].get("page_touches"), Some(&Value::Null));
    let fields = ["throttled_wait_ns", "touches", "hint_faults", "pages_migrated", "remote_share", "where"];
    for stats in [&value["totals"], &value["threads"][0]] {
        for field in fields.iter().chain(&["expected_remote_share", "cost_factor"]) {
            assert_eq!(stats.get(field), Some(&Value::Null), "{field}");
        }
    }
    assert_eq!(value["threads"][0].get("ns_pid"), None, "only there where it differs");
    assert_eq!(value["threads"][5].get("sched"), Some(&Value::Null), "nobody could ask about the one that ended");
    assert_eq!(value["threads"][0]["sched"].get("rt_priority"), Some(&Value::Null));
}

#[test]
fn a_ratio_that_is_no_number_becomes_null() {
    let mut snapshot = snapshot_two_nodes();
    snapshot.totals.remote_share = Some(f64::NAN);
    snapshot.totals.cost_factor = Some(f64::INFINITY);
    let value: Value = serde_json::from_str(&json_line(&snapshot)).expect("it is JSON");
    assert!(value["totals"]["remote_share"].is_null() && value["totals"]["cost_factor"].is_null());
}

#[test]
fn a_document_is_one_line_in_one_write() {
    struct Count(Vec<usize>);
    impl Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(bytes.len());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let line = json_line(&everything());
    assert_eq!(line.find('\n'), Some(line.len() - 1));
    let mut out = Count(Vec::new());
    report::json::write(&everything(), &mut out).expect("it takes every write");
    assert_eq!(out.0, [line.len()]);
}

/// Strings that the model would have escaped, raw, in every place that holds one.
fn hostile() -> Snapshot {
    const EVIL: &str = "\x1b[2J\x1b]0;x\x07\u{202e}\u{9b}31m\r\nrow";
    let mut snapshot = everything();
    snapshot.target.label = EVIL.into();
    snapshot.start = EVIL.into();
    snapshot.host.kernel = EVIL.into();
    snapshot.sources.push(Source { name: EVIL.into(), state: SourceState::Off, reason: Some(EVIL.into()) });
    for finding in &mut snapshot.findings {
        (finding.severity, finding.title, finding.advice) = (EVIL.into(), EVIL.into(), EVIL.into());
        finding.command = Some(EVIL.into());
    }
    snapshot.gaps.iter_mut().for_each(|gap| gap.source = EVIL.into());
    let stats = snapshot.threads.iter_mut().map(|thread| &mut thread.stats).chain([&mut snapshot.totals]);
    for location in stats.flat_map(|stats| stats.locations.iter_mut().flatten()) {
        (location.mapping, location.symbol, location.stack) = (EVIL.into(), EVIL.into(), vec![EVIL.into()]);
    }
    for thread in &mut snapshot.threads {
        thread.comm = EVIL.into();
        thread.stats.wakers.iter_mut().for_each(|waker| (waker.tid, waker.comm) = (Tid(1), EVIL.into()));
        thread.stats.waited_behind.iter_mut().for_each(|culprit| culprit.comm = EVIL.into());
    }
    snapshot
}

#[test]
fn no_string_of_a_snapshot_reaches_the_terminal_raw() {
    let plain = text(&hostile(), &narrow());
    for c in plain.chars() {
        assert!(c == '\n' || !c.is_control(), "{:x} in {plain:?}", u32::from(c));
        assert!(!matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'), "{:x}", u32::from(c));
    }
    assert_eq!(plain.matches("\\x1b[2J").count(), 19, "each place shows it:\n{plain}");
    assert!(json_line(&hostile()).bytes().filter(u8::is_ascii_control).eq([b'\n']));
    let coloured = text(&hostile(), &TextOptions { color: true, ..narrow() });
    for part in coloured.split('\x1b').skip(1) {
        assert!(["[1m", "[1;31m", "[0m"].iter().any(|code| part.starts_with(code)), "{part:?}");
    }
    assert_eq!(strip_colour(&coloured), plain, "colour adds nothing but colour");
}

fn strip_colour(text: &str) -> String {
    text.replace("\x1b[1m", "").replace("\x1b[1;31m", "").replace("\x1b[0m", "")
}

#[test]
fn every_table_line_fits_the_width() {
    let machines = [snapshot_two_nodes(), snapshot_with_loss(), everything(), snapshot_of_threads(40), many_nodes(16)];
    let more = [snapshot_with_gaps(), snapshot_without_memory(), snapshot_many_nodes(16), snapshot_many_nodes(1)];
    for snapshot in machines.iter().chain(&more) {
        for columns in [80, 81, 100, 120, 137, 200] {
            for line in text(snapshot, &TextOptions { width: columns, ..TextOptions::default() }).lines() {
                assert!(width(line) <= columns, "{} of {columns} columns: {line}", width(line));
                assert_eq!(line.trim_end(), line, "no spaces at the end");
            }
        }
    }
    assert_eq!(text(&machines[0], &TextOptions { width: 1, ..TextOptions::default() }), text(&machines[0], &narrow()));
}

/// A machine with this many nodes, ids with holes, between all of which threads moved.
fn many_nodes(count: u32) -> Snapshot {
    let mut snapshot = snapshot_two_nodes();
    let nodes = count as usize;
    snapshot.host.nodes =
        (0..count).map(|n| HostNode { id: NodeId(n * 3), cpus: vec![n], memory_bytes: 1 << 30 }).collect();
    snapshot.matrices.migrations =
        (0..nodes).map(|from| (0..nodes).map(|to| (from * 1_000_000 + to) as u64).collect()).collect();
    let spread: Vec<u64> = (0..nodes as u64).map(|n| 1_000_000 * (n + 1)).collect();
    snapshot.totals.residency_ns.clone_from(&spread);
    snapshot.threads.iter_mut().for_each(|thread| thread.stats.residency_ns.clone_from(&spread));
    snapshot
}

#[test]
fn a_matrix_that_does_not_fit_becomes_a_list_that_says_what_it_leaves_out() {
    let small = text(&many_nodes(4), &narrow());
    assert!(small.contains("Migrations by node, from row to column"), "{small}");
    assert!(small.contains("  node 9    3,000,000  3,000,001  3,000,002  3,000,003"), "{small}");
    let large = text(&many_nodes(16), &narrow());
    assert!(large.contains("Migrations by node, most first"), "{large}");
    assert!(large.contains("  node 45 to node 45: 15,000,015"), "{large}");
    assert!(large.contains("in 239 more pairs"), "{large}");
    let wide = text(&many_nodes(16), &TextOptions::default());
    assert!(wide.contains(" 45:12% 42:11% ...   "), "a thread on many nodes: {wide}");
}

#[test]
fn one_node_has_no_columns_of_nodes() {
    let mut snapshot = many_nodes(1);
    snapshot.matrices.migrations = vec![vec![100]];
    let shown = text(&snapshot, &TextOptions::default());
    for word in ["XNODE", "RAN ON", "node moves", "by node"] {
        assert!(!shown.contains(word), "{word} in {shown}");
    }
    assert!(shown.contains("8 CPUs, 1 node\n"), "{shown}");
}

#[test]
fn what_is_hidden_is_said() {
    let mut snapshot = snapshot_of_threads(40);
    let shown = text(&snapshot, &TextOptions { top: 3, ..narrow() });
    assert!(shown.contains("... and 37 more threads (--top 0 shows all)"), "{shown}");
    let all = text(&snapshot, &TextOptions { top: 0, ..narrow() });
    assert!(!all.contains("more thread"), "{all}");
    assert_eq!(all.lines().filter(|line| line.contains(" worker-") && line.contains("block")).count(), 40);
    snapshot.dropped_threads = 1;
    snapshot.refused_threads = 2_500;
    let shown = text(&snapshot, &TextOptions { top: 39, ..narrow() });
    assert!(shown.contains("... and 1 more thread ("), "{shown}");
    assert!(shown.contains("... and 1 thread that ended earlier, in the totals only"), "{shown}");
    assert!(shown.contains("Totals of 41 threads"), "{shown}");
    assert!(shown.contains("2,500 threads could not be tracked"), "{shown}");
}

#[test]
fn loss_is_always_told() {
    assert!(text(&snapshot_two_nodes(), &narrow()).contains("lost 0 of 615,000 records\n"));
    assert!(text(&snapshot_without_threads(), &narrow()).contains("lost 0 of 0 records\n"));
    let mut snapshot = snapshot_with_loss();
    let interval = LossInterval { start_ns: 1_000_000_000, end_ns: 2_000_000_000, lost: 7 };
    snapshot.loss.intervals = vec![interval; 5];
    let shown = text(&snapshot, &TextOptions::default());
    assert!(shown.contains("lost 12,345 of 615,000 records (2.0%): 12,340 ring full"), "{shown}");
    assert!(shown.contains("5 not decodable") && !shown.contains("no ring for"), "{shown}");
    assert!(shown.contains("7 at 1.00s to 2.00s") && shown.contains("... and in 2 more intervals"), "{shown}");
}

#[test]
fn what_numatrace_takes_and_leaves_out_is_told() {
    let mut snapshot = numatrace_tests::fixture::snapshot_two_nodes();
    assert!(!text(&snapshot, &narrow()).contains("left out"), "nothing is known of it");
    snapshot.self_cost = Some(numatrace_tests::fixture::self_cost());
    let told = text(&snapshot, &narrow()).split_whitespace().collect::<Vec<_>>().join(" ");
    for wanted in [
        "self 0.6% (limit 2.0%) of the machine's CPU time lately",
        "rings at most 12.0% full",
        "left out one record for 4 turns",
        "now one record for 8 turns, without wakers",
        "to stay below 2.0% of the machine's CPU time",
        "12,345 turns have no record",
    ] {
        assert!(told.contains(wanted), "{wanted}: {told}");
    }
    let shed = &mut snapshot.self_cost.as_mut().expect("set above").shed;
    (shed.for_loss, shed.not_held) = (true, true);
    let told = text(&snapshot, &narrow()).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains("because records were lost; it is not enough"), "{told}");
}

#[test]
fn percentiles_without_records_are_a_dash_while_counts_stay() {
    let mut snapshot = snapshot_two_nodes();
    let wakeup = &mut snapshot.totals.runq.wakeup;
    (wakeup.p50_ns, wakeup.p90_ns, wakeup.p99_ns, wakeup.p999_ns, wakeup.max_ns) = (0, 0, 0, 0, 0);
    let shown = text(&snapshot, &narrow());
    let line = shown.lines().find(|line| line.contains("after wakeup")).expect("its line");
    assert!(line.contains("33,981") && line.split_whitespace().filter(|cell| *cell == "-").count() == 5, "{line}");
}

#[test]
fn threads_are_in_the_order_asked_for() {
    let mut snapshot = snapshot_of_threads(50);
    snapshot.threads[7].stats.waiting_now_ns = Some(u64::MAX);
    snapshot.threads[9].comm = "a".into();
    for key in SortKey::ALL {
        let order = report::sorted(&snapshot, key);
        let value = |t: &Thread| -> u64 {
            let s = &t.stats;
            match key {
                SortKey::Cpu => s.cpu_ns,
                SortKey::Wait => s.wait_ns,
                SortKey::P99 => s.runq.all.p99_ns,
                SortKey::Max => s.runq.all.max_ns.max(s.waiting_now_ns.unwrap_or(0)),
                SortKey::Switches => s.switches.voluntary + s.switches.involuntary,
                SortKey::Migrations => {
                    s.migrations.smt + s.migrations.llc + s.migrations.node + s.migrations.cross_node
                }
                SortKey::CrossNode => s.migrations.cross_node,
                SortKey::Touches => s.touches.map_or(0, |touches| touches.total().all()),
                SortKey::Remote => s.touches.map_or(0, |touches| touches.total().remote),
                SortKey::Tid | SortKey::Comm => 0,
            }
        };
        for pair in order.windows(2) {
            let (a, b) = (value(pair[0]), value(pair[1]));
            assert!(a > b || (a == b && (key == SortKey::Comm || pair[0].tid < pair[1].tid)), "{key:?}");
        }
    }
    assert_eq!(report::sorted(&snapshot, SortKey::Max)[0].tid, Tid(1007));
    assert_eq!(report::sorted(&snapshot, SortKey::Comm)[0].tid, Tid(1009));
    let shown = text(&snapshot, &TextOptions { sort: SortKey::Comm, ..narrow() });
    assert!(shown.contains("Threads by command name"), "{shown}");
}

/// Every write fails as it does when nobody reads, or when the disk is full.
struct Refuses(io::ErrorKind);

impl Write for Refuses {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Err(self.0.into())
    }
}

#[test]
fn a_reader_that_went_away_is_told_apart_from_a_full_disk() {
    let options = TextOptions::default();
    for (kind, broken) in [(io::ErrorKind::BrokenPipe, true), (io::ErrorKind::StorageFull, false)] {
        let text = report::text::write(&everything(), &options, &mut Refuses(kind)).expect_err("it refuses");
        let json = report::json::write(&everything(), &mut Refuses(kind)).expect_err("it refuses");
        for error in [anyhow::Error::new(text), anyhow::Error::new(json)] {
            assert_eq!(is_broken_pipe(&error), broken);
            assert_eq!(is_broken_pipe(&error.context("cannot write the report")), broken);
        }
        let direct = serde_json::to_writer(Refuses(kind), &1).expect_err("it refuses");
        assert_eq!(is_broken_pipe(&anyhow::Error::new(direct)), broken);
    }
    assert!(!is_broken_pipe(&anyhow::anyhow!("broken pipe")), "a word is no error of a pipe");
}

/// A command may be longer than a line: it is broken where a shell reads on, and nothing but blanks stands beside it.
#[test]
fn findings_fit_and_their_commands_can_be_copied() {
    let mut finding = everything().findings.remove(0);
    let command = "g='/jobs/a b'; if [ -e \"/sys/fs/cgroup$g/cpu.max\" ]; then echo \"400000 100000\" > \
                   \"/sys/fs/cgroup$g/cpu.max\"; else echo 400000 > \"/sys/fs/cgroup/cpu$g/cpu.cfs_quota_us\"; fi";
    finding.command = Some(command.into());
    let calm = Finding { severity: "info".into(), command: None, ..finding.clone() };
    let told = |all: &[Finding], options: &TextOptions| {
        let mut out = Vec::new();
        report::text::write_findings(all, options, &mut out).expect("memory takes every write");
        String::from_utf8(out).expect("a report is text")
    };
    let text = told(&[finding.clone(), calm], &narrow());
    assert!(text.lines().all(|line| width(line) <= 80 && line == line.trim_end()), "{text}");
    let lines =
        text.lines().skip_while(|line| !line.trim_start().starts_with("$ ")).take_while(|line| !line.is_empty());
    let copied: Vec<&str> =
        lines.map(|line| line.trim_start().trim_start_matches("$ ").trim_end_matches(" \\")).collect();
    assert!(copied.len() > 1 && copied.join(" ") == command, "{text}");
    for words in [&finding.title, &finding.about, &finding.advice] {
        let found = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(found.matches(words.as_str()).count(), 2, "{words}: {text}");
    }
    assert!(text.starts_with(&finding.severity) && text.contains("\n\ninfo "), "one below the other: {text}");
    assert_eq!(told(&[], &narrow()), "No rule found anything in these numbers.\n");
    // The same in JSON: an array of what a document has.
    let mut out = Vec::new();
    report::json::write_findings(&everything().findings, &mut out).expect("memory takes every write");
    let document: Value = serde_json::from_str(&json_line(&everything())).expect("JSON");
    assert_eq!(serde_json::from_slice::<Value>(&out).expect("JSON"), document["findings"]);
}
