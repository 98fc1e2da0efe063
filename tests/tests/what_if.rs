//! What binding to a node would do, from recordings as files, through the program.

mod arbitrary;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use numatrace::decode::{Event, decode};
use numatrace::model::{Active, Limits, Meta, Model, Pages};
use numatrace::recording::writer::{Options, Recorder};
use numatrace::recording::{Head, Reason, Timeline};
use numatrace::report::offline::{Stretch, numbers_and_demand};
use numatrace::report::{self as reports, text::TextOptions};
use numatrace::snapshot::{Host, HostNode};
use numatrace::source::apply;
use numatrace::units::NodeId;
use numatrace::whatif::{self, Demand, Interval as Wanted};
use numatrace_common::abi::Placement;
use numatrace_tests::timeline::{Interval, Memory, scripted};
use numatrace_tests::{golden, live::program};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;
use zerocopy::IntoBytes;

use arbitrary::any_snapshot;

const S: u64 = 1_000_000_000;
/// Seconds of the run.
const SECONDS: u64 = 6;
/// Resident pages by node.
const PAGES: [u64; 2] = [20_000, 80_000];

/// Two CPUs on two nodes: three threads share the first, each wait there 30% of the time there is for it; one keeps the second
/// busy.
fn run() -> Memory {
    let second = Interval { ms: 1_000, waits: 40, share: 30 };
    Memory::new(scripted(&vec![second; SECONDS as usize]), 1_000)
}

/// The same on this machine, with a scan of where memory lies after each tick, as a file.
fn recorded(folder: &Path, change: impl Fn(&mut Host)) -> PathBuf {
    let memory = run();
    let head = memory.head().clone();
    let pages = Pages { placement: true, ..Pages::default() };
    let mut host = Host { arch: "x86_64".into(), ..head.meta.host.clone() };
    change(&mut host);
    let mut topology = head.topology.clone();
    (topology.nodes, topology.distances) = (host.nodes.clone(), host.distances.clone());
    let head = Head { meta: Meta { pages, host, ..head.meta }, topology, ..head };
    let path = folder.join("run.numatrace");
    let mut recorder =
        Recorder::new(File::create(&path).expect("a file"), &head, Options::default()).expect("a recorder");
    let nodes = head.meta.host.nodes.len() as u16;
    let mut scans = Vec::new();
    for record in memory.records() {
        recorder.push(record);
        if let Ok(Event::Tick(tick)) = decode(record) {
            let ts = tick.header.ts;
            recorder.up_to(ts);
            scans = (0..nodes).map(|node| scan(ts, node, nodes)).collect();
        }
        // Right after the tick, for the next one to see.
        for scan in scans.drain(..) {
            recorder.push(scan.as_bytes());
        }
    }
    recorder.finish(Reason::Stopped).expect("written");
    path
}

fn scan(ts: u64, node: u16, nodes: u16) -> Placement {
    let pages = PAGES.get(usize::from(node)).copied().unwrap_or(0);
    let header = Placement::header(ts, 0, 0);
    Placement { header, tgid: 4711, node, nodes, pages, unknown: 0, began_ns: ts - 1_000 }
}

/// What the program prints.
fn report(file: &Path, args: &[&str]) -> String {
    let program = program("numatrace").unwrap_or_else(|error| panic!("{error}"));
    let output = Command::new(program).arg("report").arg(file).args(args).output().expect("it runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{args:?}: {stderr}");
    String::from_utf8(output.stdout).expect("text")
}

fn json(file: &Path, args: &[&str]) -> Value {
    serde_json::from_str(&report(file, &[args, &["-f", "json"]].concat())).expect("JSON")
}

fn close(found: &Value, expected: f64) {
    let number = found.as_f64().unwrap_or_else(|| panic!("{found} is not {expected}"));
    assert!((number - expected).abs() < 1e-3 * expected.abs().max(1e-3), "{number} is not {expected}");
}

#[test]
fn estimates_follow_from_what_was_recorded() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = recorded(folder.path(), |_| ());
    let document = json(&file, &["--pin-to", "all"]);
    let [first, second] = &document["what_if"].as_array().expect("an array")[..] else { panic!("{document}") };
    assert_eq!((&first["node"], &second["node"]), (&Value::from(0), &Value::from(1)));
    // Of 41 parts of a second 40 have a wait of 30% and a turn of 70%; and there is the one that never sleeps.
    let (turns, waits) = (40.0 / 41.0 * 0.7, 40.0 / 41.0 * 0.3);
    let expected = (turns * 0.8 + 0.2) / (turns + 1.0);
    for (node, bound) in [(first, 0.8), (second, 0.2)] {
        let access = &node["access"];
        close(&access["expected_remote_share"], expected);
        assert_eq!(access["expected_remote_share"], document["totals"]["expected_remote_share"]);
        close(&access["expected_cost"], 1.0 + expected * 1.1);
        close(&access["bound_remote_share"], bound);
        close(&access["bound_change"], (1.0 + bound * 1.1) / (1.0 + expected * 1.1) - 1.0);
        close(&access["moved_change"], 1.0 / (1.0 + expected * 1.1) - 1.0);
        assert!(access["remote_share"].is_null() && access["hint_remote_share"].is_null());
        let pressure = &node["pressure"];
        close(&pressure["average_cpus"], 1.0 + turns + waits);
        close(&pressure["utilisation"], 1.0 + turns);
        close(&pressure["above_share"], 1.0);
        // On one CPU all but one wait, and no more than there are.
        close(&pressure["model_wait_ns"], (turns + waits) * (SECONDS * S) as f64);
        close(&pressure["undone_ns"], turns * (SECONDS * S) as f64);
        assert_eq!(pressure["model_wait_all_ns"], 0);
        assert_eq!(pressure["waited_ns"], document["totals"]["wait_ns"]);
        assert_eq!(node["room"]["pages"], 100_000);
        assert_eq!(node["room"]["fits"], true);
    }
    assert_eq!(first["room"]["pages_there"], 20_000);
    // Everything else is the document without it.
    let mut rest = document;
    rest.as_object_mut().expect("an object").remove("what_if");
    assert_eq!(rest, json(&file, &[]));
}

#[test]
fn the_text_says_what_would_change_and_what_is_taken_for_granted() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = recorded(folder.path(), |_| ());
    let section = |args: &[&str]| {
        let text = report(&file, args);
        let from = text.find("What if pinned").expect("the section");
        text[from..].to_owned()
    };
    golden::check("report/what-if-one.txt", &section(&["--pin-to", "1"]));
    golden::check("report/what-if-all.txt", &section(&["--pin-to", "all"]));
    // Both, each once, in the order in which they were asked for.
    let both = section(&["--pin-to", "1,0", "--pin-to", "1"]);
    let at = |what: &str| both.match_indices(what).map(|(at, _)| at).collect::<Vec<_>>();
    let (first, second) = (at("\nnode 1 "), at("\nnode 0 "));
    assert!(first.len() == 1 && second.len() == 1 && first < second, "{both}");
    assert!(!report(&file, &[]).contains("What if pinned"));
}

#[test]
fn a_part_of_a_recording_has_the_demand_of_its_time() {
    let demand = |stretch: Stretch| -> Vec<Wanted> {
        let mut demand = Demand::default();
        let found = numbers_and_demand(run(), stretch, &mut |_| (), Some(&mut demand)).expect("readable");
        let snapshot = found.expect("numbers");
        let sum = |of: fn(&Wanted) -> u64| demand.intervals().iter().map(of).sum::<u64>();
        assert_eq!(sum(|interval| interval.length_ns), snapshot.duration_ns, "{stretch:?}");
        assert_eq!(sum(|interval| interval.cpu_ns), snapshot.totals.cpu_ns, "{stretch:?}");
        assert_eq!(sum(|interval| interval.wait_ns), snapshot.totals.wait_ns, "{stretch:?}");
        demand.intervals().to_vec()
    };
    let all = demand(Stretch::default());
    assert_eq!(all.len(), SECONDS as usize);
    let (from_ns, to_ns) = (Some(2 * S), Some(5 * S));
    assert_eq!(demand(Stretch { from_ns, to_ns }), all[2..5]);
    assert_eq!(demand(Stretch { from_ns, to_ns: None }), all[2..]);
    assert_eq!(demand(Stretch { from_ns: None, to_ns }), all[..5]);
}

#[test]
fn what_the_model_says_at_each_tick_is_what_its_snapshot_says() {
    let memory = run();
    let meta = memory.head().meta.clone();
    let mut model = Model::new(meta, memory.head().topology.clone(), Limits::default());
    for record in memory.records() {
        apply(record, &mut model);
        if matches!(decode(record), Ok(Event::Tick(_))) {
            let (active, totals) = (model.active(), model.snapshot().totals);
            assert_eq!((active.cpu_ns, active.wait_ns), (totals.cpu_ns, totals.wait_ns));
        }
    }
    assert!(model.active().wait_ns > S, "nobody waited");
}

#[test]
fn with_one_node_there_is_nothing_to_choose() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory_only = |host: &mut Host| {
        host.nodes[0].cpus = vec![0, 1];
        host.nodes[1] = HostNode { id: NodeId(4), cpus: Vec::new(), memory_bytes: 1 << 30 };
    };
    let file = recorded(folder.path(), memory_only);
    for args in [["--pin-to", "all"], ["--pin-to", "0"]] {
        let text = report(&file, &args);
        assert!(text.contains("This machine has one node with CPUs: there is nothing to choose."), "{text}");
        assert_eq!(json(&file, &args)["what_if"], Value::Array(Vec::new()));
    }
    let program = program("numatrace").unwrap_or_else(|error| panic!("{error}"));
    let output = Command::new(program).args(["report", "--pin-to", "4"]).arg(&file).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(said, "numatrace: node 4 has no CPUs: nothing can be bound to it\n");
    assert!(fs::metadata(&file).is_ok_and(|file| file.len() > 0));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the numbers are: no panic, and what is written can be read.
    #[test]
    fn no_snapshot_makes_an_estimate_panic(
        snapshot in any_snapshot(),
        ticks in vec((any::<u64>(), any::<u64>(), any::<u64>()), 0..6),
        compared in any::<bool>(),
    ) {
        let mut demand = Demand::default();
        for (at, cpu_ns, wait_ns) in ticks {
            demand.tick(at, Active { cpu_ns, wait_ns });
        }
        let nodes: Vec<usize> = (0..snapshot.host.nodes.len() + 1).collect();
        let made = whatif::what_if(&snapshot, &demand, &nodes, compared);
        let choices = whatif::choices(&snapshot);
        prop_assert_eq!(made.estimates.len(), if choices.len() > 1 { choices.len() } else { 0 });
        for estimate in &made.estimates {
            let shares = [estimate.access.bound_remote_share, estimate.access.moved_remote_share];
            prop_assert!(shares.into_iter().flatten().all(|share| (-1e-9..=1.0 + 1e-9).contains(&share)));
            if let Some(pressure) = &estimate.pressure {
                prop_assert!((0.0..=1.0 + 1e-9).contains(&pressure.above_share));
                prop_assert!(pressure.model_wait_all_ns <= pressure.model_wait_ns, "fewer CPUs, less waiting");
            }
        }
        let mut text = Vec::new();
        reports::text::write_what_if(&snapshot, &made, &TextOptions::default(), &mut text).expect("text");
        let mut json = Vec::new();
        reports::json::write_with_what_if(&snapshot, &made.estimates, &mut json).expect("JSON");
        let read: Value = serde_json::from_slice(&json).expect("JSON");
        prop_assert_eq!(read["what_if"].as_array().map(Vec::len), Some(made.estimates.len()));
    }
}
