//! Two recordings side by side: what is the same is told to be so, what changed is found, with its sign and its threads, and the
//! program tells it.

mod arbitrary;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use numatrace::diff::intervals::{Grouping, Intervals, MOST, of_snapshots, read};
use numatrace::diff::metric::METRICS;
use numatrace::diff::{Change, Diff, Options, Recorded, Status, Verdict, diff};
use numatrace::findings::Settings;
use numatrace::recording::writer;
use numatrace::report::{self, offline::Stretch, text::TextOptions};
use numatrace::snapshot::{GroupBy, Snapshot};
use numatrace::window::{self, Packed};
use numatrace_tests::live::program;
use numatrace_tests::service::Service;
use numatrace_tests::timeline::{Interval, Memory, scripted};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

use arbitrary::any_snapshot;

const BY_NAME: Grouping = Grouping { by: GroupBy::Comm, exact: false };

fn options() -> Options {
    Options { grouping: BY_NAME, top: 10, confidence: 0.95, min_change: 0.2, seed: 1, resamples: 200 }
}

fn intervals(service: Service) -> Intervals {
    let made = read(Memory::new(service.events(), 10_000), Stretch::default(), BY_NAME, &mut |_| {});
    made.expect("readable").expect("ticks")
}

fn recorded(intervals: Intervals) -> Recorded {
    Recorded { file: "run.numatrace".into(), anonymized: false, intervals }
}

fn compare(before: Intervals, after: Intervals) -> Diff {
    diff(&recorded(before), &recorded(after), &options(), &Settings::default())
}

fn services(before: Service, after: Service) -> Diff {
    compare(intervals(before), intervals(after))
}

fn all(diff: &Diff) -> impl Iterator<Item = (&str, &Change)> {
    let groups = diff.groups.iter().flat_map(|group| group.metrics.iter().map(|change| (group.name.as_str(), change)));
    diff.totals.iter().map(|change| ("all", change)).chain(groups)
}

fn claimed(diff: &Diff) -> Vec<String> {
    let changes = all(diff).filter(|(_, change)| change.verdict.is_change());
    changes.map(|(group, change)| format!("{group} {} {:?}", change.metric, change.verdict)).collect()
}

fn verdict(diff: &Diff, group: &str, metric: &str) -> Verdict {
    let found = all(diff).find(|(name, change)| *name == group && change.metric == metric);
    found.unwrap_or_else(|| panic!("no {metric} of {group}")).1.verdict
}

#[test]
fn the_same_service_twice_shows_no_change_in_19_of_20_pairs() {
    // Each pair of a kind: load comes and goes within a second, or for longer; waits have a long tail, or a very long one.
    let kinds = [
        Service::default(),
        Service { memory: 0.9, ..Service::default() },
        Service { spread: 2.0, load: 0.1, moves: 0.3, ..Service::default() },
        Service { ticks: 25, ..Service::default() },
    ];
    let mut wrong = Vec::new();
    for pair in 0..40u64 {
        let kind = kinds[pair as usize % kinds.len()];
        let diff = services(Service { seed: 1_000 + pair, ..kind }, Service { seed: 2_000 + pair, ..kind });
        assert!(diff.method.comparisons > 10, "{:?}", diff.method);
        let claimed = claimed(&diff);
        if !claimed.is_empty() {
            wrong.push(format!("pair {pair}: {claimed:?}"));
        }
    }
    println!("{} of 40 pairs show a change", wrong.len());
    assert!(wrong.len() <= 2, "{} of 40: {wrong:#?}", wrong.len());
}

#[test]
fn waits_that_are_30_percent_longer_are_found() {
    let steady = Service { ticks: 150, load: 0.1, memory: 0.5, ..Service::default() };
    let mut found = 0;
    for seed in 0..6 {
        let before = Service { seed: 100 + seed, ..steady };
        let diff = services(before, Service { seed: 200 + seed, wait_ns: before.wait_ns * 1.3, ..steady });
        let p99 = ["all", "worker-N"].map(|group| verdict(&diff, group, "runq.p99"));
        assert!(!p99.contains(&Verdict::Lower));
        found += usize::from(p99 == [Verdict::Higher; 2]);
        assert!(all(&diff).all(|(_, change)| change.verdict != Verdict::Lower), "{:?}", claimed(&diff));
        assert_ne!(verdict(&diff, "all", "migrations.cross_node"), Verdict::Higher);
    }
    assert!(found >= 5, "{found} of 6");
}

#[test]
fn moves_that_are_gone_are_found_and_nothing_else() {
    let before = Service { seed: 5, load: 0.1, ..Service::default() };
    let diff = services(before, Service { seed: 6, moves: 0.0, ..before });
    let names: BTreeSet<String> = claimed(&diff).into_iter().collect();
    let expected = ["all migrations.cross_node Lower", "worker-N migrations.cross_node Lower"].map(str::to_owned);
    assert_eq!(names, expected.into(), "node moves are those of turns, which stay");
    assert_eq!(diff.method.changes, 2);
    assert_eq!(diff.groups[0].before.map(|size| size.threads), Some(2));
}

#[test]
fn a_short_recording_is_too_short_to_tell() {
    let short = Service { ticks: 7, waits: 2_000.0, ..Service::default() };
    let diff = services(short, Service { wait_ns: 1e6, ..short });
    assert_eq!((diff.method.comparisons, diff.method.changes), (0, 0));
    assert_eq!(verdict(&diff, "all", "runq.p99"), Verdict::TooShort);
    assert_eq!(verdict(&diff, "all", "runq.p999"), Verdict::TooFew, "fewer than 10,000 waits");
    assert!(text(&diff).contains("too short to tell: record for longer"));
    let few = Service { waits: 3.0, ..Service::default() };
    let diff = services(few, Service { wait_ns: 1e6, seed: 2, ..few });
    assert_eq!(verdict(&diff, "all", "runq.p99"), Verdict::TooFew);
}

#[test]
fn rates_are_of_a_second_however_long_a_recording_is() {
    let service = Service { load: 0.1, ..Service::default() };
    let diff = services(service, Service { ticks: 180, seed: 7, ..service });
    assert_eq!(claimed(&diff), [""; 0]);
    assert!(diff.warnings.iter().any(|warning| warning.contains("more than twice as long")), "{:?}", diff.warnings);
}

#[test]
fn of_many_ticks_neighbours_are_one_interval_and_nothing_is_lost() {
    let second = Interval { ms: 100, waits: 2, share: 30 };
    for ticks in [400, 700, 1_100] {
        let memory = Memory::new(scripted(&vec![second; ticks]), 10_000);
        let made = read(memory, Stretch::default(), BY_NAME, &mut |_| {}).expect("readable").expect("ticks");
        let (n, whole) = (made.lengths.len(), made.whole.clone());
        assert!(n <= MOST && n >= ticks.min(MOST) / 2, "{ticks} are {n}");
        assert_eq!(made.lengths.iter().sum::<f64>(), whole.duration_ns as f64);
        for (name, series) in made.groups.iter().chain([(&"all".to_owned(), &made.totals)]) {
            assert_eq!(series.parts.len(), n, "{name}");
        }
        let names: Vec<&str> = made.groups.keys().map(String::as_str).collect();
        assert_eq!(names, ["spins", "waits-N"]);
        let diff = compare(made.clone(), made);
        let waits = whole.totals.runq.all.count as f64 * 1e9 / whole.duration_ns as f64;
        let told = diff.totals.iter().find(|change| change.metric == "waits").and_then(|change| change.before);
        assert!((told.expect("waits") - waits).abs() < 1e-6 * waits, "{told:?} is not {waits}");
    }
}

#[test]
fn a_stretch_begins_and_ends_where_it_is_told_to() {
    let fast = Interval { ms: 100, waits: 2, share: 10 };
    let slow = Interval { ms: 100, waits: 2, share: 80 };
    let memory = Memory::new(scripted(&[vec![slow; 20], vec![fast; 30], vec![slow; 10]].concat()), 10_000);
    let stretch = Stretch { from_ns: Some(2_000_000_000), to_ns: Some(5_000_000_000) };
    let of = |stretch| read(memory.clone(), stretch, BY_NAME, &mut |_| {}).expect("readable").expect("ticks");
    let made = of(stretch);
    assert_eq!((made.lengths.len(), made.whole.duration_ns), (30, 3_000_000_000));
    let diff = compare(of(Stretch::default()), made);
    let share = diff.totals.iter().find(|change| change.metric == "wait_share").expect("a metric");
    // Of three threads on a CPU for one that has another; each waits for so much of a third of the time.
    let near = |found: Option<f64>, expected: f64| found.is_some_and(|found| (found - expected).abs() < 1e-3);
    assert!(near(share.before, (0.1 + 0.8) / 2.0 / 6.0) && near(share.after, 0.1 / 6.0), "{share:?}");
    assert_eq!(share.verdict, Verdict::NoChange, "the longer one holds both");
    let none = Stretch { from_ns: Some(6_000_000_000), to_ns: None };
    assert!(read(memory, none, BY_NAME, &mut |_| {}).expect("readable").is_none(), "there is nothing behind the end");
}

fn text(diff: &Diff) -> String {
    let mut out = Vec::new();
    let options = TextOptions { width: 80, ..TextOptions::default() };
    report::text::write_diff(diff, &options, &mut out).expect("written");
    String::from_utf8(out).expect("text")
}

/// A run in which a recording that somebody made up could have led to any of these.
fn made_up(snapshots: &[Snapshot], lengths: &[u64]) -> Option<Recorded> {
    let mut at = 0u64;
    let all = snapshots.iter().zip(lengths).map(|(snapshot, length)| {
        at = at.saturating_add(*length);
        Arc::new(Snapshot { duration_ns: at, ..snapshot.clone() })
    });
    of_snapshots(all, BY_NAME).map(recorded)
}

fn any_run() -> impl Strategy<Value = Recorded> {
    let length = prop_oneof![4 => 1..2_000_000_000u64, 1 => any::<u64>()];
    vec((any_snapshot(), length), 2..24).prop_filter_map("no intervals", |all| {
        let (snapshots, lengths): (Vec<Snapshot>, Vec<u64>) = all.into_iter().unzip();
        made_up(&snapshots, &lengths)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 48, ..ProptestConfig::default() })]

    /// Whatever the numbers are, in whatever order threads are: packed, they say the same.
    #[test]
    fn packed_numbers_are_the_same(before in any_snapshot(), now in any_snapshot()) {
        let text = |snapshot: &Snapshot| format!("{snapshot:?}");
        let packed = Packed::of(&before);
        prop_assert_eq!(text(&packed.whole()), text(&before));
        prop_assert_eq!(text(&packed.until(&now)), text(&window::since(&now, &before)));
        let counts = Packed::counts_since(&now, &packed);
        prop_assert_eq!(text(&counts.whole()), text(&window::counts_since(&now, &before)));
    }

    #[test]
    fn whatever_was_recorded_has_not_changed_from_itself(run in any_run()) {
        let told = diff(&run, &run, &options(), &Settings::default());
        prop_assert_eq!(claimed(&told), Vec::<String>::new());
        prop_assert!(told.findings.iter().all(|finding| finding.status == Status::StillThere));
        prop_assert_eq!(&told.warnings, &diff(&run, &run, &options(), &Settings::default()).warnings);
    }

    #[test]
    fn the_other_way_round_it_is_the_opposite(before in any_run(), after in any_run()) {
        let there = diff(&before, &after, &options(), &Settings::default());
        let back = diff(&after, &before, &options(), &Settings::default());
        prop_assert_eq!((there.method.comparisons, there.method.changes), (back.method.comparisons, back.method.changes));
        for (group, change) in all(&there) {
            let (_, other) = all(&back).find(|(name, other)| *name == group && other.metric == change.metric).expect("it");
            let flipped = match change.verdict {
                Verdict::Lower => Verdict::Higher,
                Verdict::Higher => Verdict::Lower,
                same => same,
            };
            prop_assert_eq!(other.verdict, flipped, "{} {}", group, change.metric);
            prop_assert_eq!((other.before, other.after), (change.after, change.before));
        }
        let lines = text(&there);
        prop_assert!(lines.lines().all(|line| line.chars().all(|c| !c.is_control())));
        let document: Value = serde_json::from_slice(&serde_json::to_vec(&there).expect("JSON")).expect("JSON");
        prop_assert_eq!(&document["schema"], &Value::from(1));
    }
}

#[test]
fn every_number_and_verdict_is_in_the_documentation() {
    let docs = include_str!("../../docs/diff.md");
    for metric in &METRICS {
        let last = metric.name.rsplit_once('.').map_or(metric.name, |(_, last)| last);
        let known = [format!("`{}`", metric.name), format!("`.{last}`")].iter().any(|name| docs.contains(name));
        assert!(known, "{} is not in docs/diff.md", metric.name);
    }
    for verdict in [
        Verdict::Lower,
        Verdict::Higher,
        Verdict::NoChange,
        Verdict::TooShort,
        Verdict::TooFew,
        Verdict::Nothing,
        Verdict::Absent,
    ] {
        let name = serde_json::to_value(verdict).expect("JSON");
        let name = name.as_str().expect("a name");
        assert!(docs.contains(&format!("`{name}`")), "{name} is not in docs/diff.md");
    }
}

/// A service as a file.
fn saved(folder: &Path, name: &str, service: Service) -> PathBuf {
    let path = folder.join(name);
    let memory = Memory::new(service.events(), 10_000);
    memory.save(File::create(&path).expect("a file"), writer::Options::default()).expect("written");
    path
}

fn run(args: &[&str]) -> Output {
    let program = program("numatrace").unwrap_or_else(|error| panic!("{error}"));
    Command::new(program).arg("diff").args(args).output().expect("it runs")
}

fn prints(args: &[&str]) -> String {
    let output = run(args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{args:?}: {stderr}");
    String::from_utf8(output.stdout).expect("text")
}

fn refused(args: &[&str]) -> (Option<i32>, String) {
    let output = run(args);
    assert!(output.stdout.is_empty(), "{args:?}");
    (output.status.code(), String::from_utf8(output.stderr).expect("text"))
}

#[test]
fn the_program_tells_it_in_80_columns_and_as_json() {
    let folder = tempfile::tempdir().expect("a folder");
    let service = Service { load: 0.1, ..Service::default() };
    let before = saved(folder.path(), "before.numatrace", service);
    let after = saved(folder.path(), "after.numatrace", Service { seed: 2, moves: 0.0, wait_ns: 20_000.0, ..service });
    let [before, after] = [&before, &after].map(|path| path.to_str().expect("a path"));
    let text = prints(&[before, after]);
    // What was asked for is not cut, and a path is not either.
    let long = |line: &&str| line.chars().count() > 120;
    assert_eq!(text.lines().find(long), None);
    for words in ["All threads", "worker-N: 2 threads", "wait, p99", "lower", "within noise", "changed beyond noise"] {
        assert!(text.contains(words), "no {words} in:\n{text}");
    }
    assert!(!text.contains('\x1b'));
    assert!(prints(&[before, after, "--color", "always"]).contains('\x1b'));
    assert_eq!(prints(&[before, after]), text, "the same files, the same result");
    let document: Value = serde_json::from_str(&prints(&[before, after, "-f", "json", "--seed", "7"])).expect("JSON");
    assert_eq!(document["method"]["seed"], 7);
    let group = &document["groups"][0];
    assert_eq!((&group["name"], &group["before"]["threads"]), (&Value::from("worker-N"), &Value::from(2)));
    let p99 = group["metrics"].as_array().and_then(|all| all.iter().find(|metric| metric["metric"] == "runq.p99"));
    let p99 = p99.expect("a metric");
    assert_eq!((&p99["verdict"], &p99["unit"]), (&Value::from("lower"), &Value::from("ns")));
    assert!(p99["change"].as_f64().is_some_and(|change| (-0.8..-0.5).contains(&change)), "{p99}");
    let exact: Value = serde_json::from_str(&prints(&[before, after, "-f", "json", "--exact"])).expect("JSON");
    assert_eq!(exact["groups"].as_array().map(Vec::len), Some(2));
    let absent =
        group["metrics"].as_array().and_then(|all| all.iter().find(|metric| metric["metric"] == "remote_share"));
    let absent = absent.expect("a metric");
    assert_eq!((&absent["verdict"], absent["before"].is_null()), (&Value::from("absent"), true));
    assert!(absent["reason"].as_str().is_some_and(|reason| reason.starts_with("not measured")), "{absent}");
    let out = folder.path().join("diff.txt");
    assert_eq!(prints(&[before, after, "-o", out.to_str().expect("a path")]), "");
    assert!(std::fs::read_to_string(out).expect("a file").contains("All threads"));
    let expected = prints(&[before, after, "--pin-to", "1"]);
    assert!(expected.contains("Bound to node 1"), "{expected}");
}

#[test]
fn what_is_wrong_is_said_in_a_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = saved(folder.path(), "run.numatrace", Service::default());
    let file = file.to_str().expect("a path");
    let other = folder.path().join("other.numatrace");
    std::fs::write(&other, b"not one of ours").expect("a file");
    let (code, why) = refused(&[file, other.to_str().expect("a path")]);
    assert!(code == Some(1) && why.contains("other.numatrace") && why.lines().count() == 1, "{why}");
    let (code, why) = refused(&[file, file, "--from", "1h"]);
    assert!(code == Some(2) && why.contains("--from is not in") && why.lines().count() == 1, "{why}");
    let (code, why) = refused(&[file, file, "--from", "3s", "--to", "2s"]);
    assert!(code == Some(2) && why.contains("must be earlier"), "{why}");
    let (code, why) = refused(&[file, file, "--pin-to", "9"]);
    assert!(code == Some(2) && why.contains("no node 9"), "{why}");
    let (code, why) = refused(&[file, file, "--from", "12s"]);
    assert!(code == Some(1) && why.contains("no two ticks"), "{why}");
    for bad in [["--confidence", "2"], ["--min-change", "-1"], ["--top", "x"], ["--by", "x"]] {
        assert_eq!(refused(&[&[file, file], &bad[..]].concat()).0, Some(2), "{bad:?}");
    }
}
