//! Scenarios: kernel events in, expected numbers out, through the wait state machine that the probes inline, rings
//! that can lose and reorder, merge, decode and the model. One file of `fixtures/scenarios`, one test.
//!
//! Every snapshot of every scenario is held against `invariants.rs` as well.

mod compare;
mod file;
mod invariants;

use std::path::Path;

use libtest_mimic::{Arguments, Failed, Trial};
use numatrace::model::{Limits, Meta, Model, Waiting};
use numatrace::snapshot::Snapshot;
use numatrace::source::script::{Script, Setup};
use numatrace::source::{Source, SourceStatus, apply};
use numatrace_tests::middle;

use file::Scenario;

/// `CLOCK_MONOTONIC` at the start of every scenario: not 0, so that a time and a duration are never the same number.
const START_NS: u64 = 1_000_000_000_000;
/// 2026-01-02T03:04:05Z.
const START_WALL_NS: u64 = 1_767_323_045_000_000_000;

fn main() {
    let arguments = Arguments::from_args();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scenarios");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("the scenarios are in the tree")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    assert!(files.len() >= 30, "{} scenarios in {}", files.len(), folder.display());
    let trials = files
        .into_iter()
        .map(|path| {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            Trial::test(name, move || run(&path).map_err(Failed::from))
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit();
}

fn run(path: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let scenario = Scenario::parse(&text)?;
    let mut wrong = Vec::new();
    let mut expected = scenario.expect.iter().peekable();
    let mut before: Option<Snapshot> = None;
    play(&scenario, |model, late, undecodable| {
        let snapshot = model.snapshot();
        let at = snapshot.duration_ns;
        invariants::check(&snapshot, before.as_ref(), &scenario.machine, &mut wrong);
        while let Some(expect) = expected.next_if(|expect| expect.at <= at) {
            if expect.at < at {
                wrong.push(format!("expectation at {}: there is no tick", expect.at));
                continue;
            }
            compare::check(expect, &snapshot, late, undecodable, &mut wrong);
        }
        before = Some(snapshot);
    })?;
    wrong.extend(from_the_middle(&scenario)?);
    wrong.extend(expected.map(|expect| format!("expectation at {}: there is no tick", expect.at)));
    if scenario.expect.is_empty() {
        wrong.push("nothing is expected".into());
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// Plays a scenario and shows the model after each tick, and once more at the end.
fn play(scenario: &Scenario, mut at_tick: impl FnMut(&Model, u64, u64)) -> Result<(), String> {
    let mut model = Model::new(meta(scenario), scenario.machine.topology(), limits(scenario));
    let mut script = script(scenario);
    let mut undecodable = 0;
    loop {
        let mut batch: Vec<Vec<u8>> = Vec::new();
        let status = script
            .next_batch(&mut |record| batch.push(record.to_vec()))
            .map_err(|error| format!("{error}: {}", error.cause))?;
        // Before the tick at the end of the batch, so that they belong to its interval.
        model.note_undecodable(script.undecodable() - undecodable);
        undecodable = script.undecodable();
        batch.iter().for_each(|record| apply(record, &mut model));
        at_tick(&model, script.late(), undecodable);
        if status == SourceStatus::Ended {
            return Ok(());
        }
    }
}

/// The same in recordings that begin at each tick.
fn from_the_middle(scenario: &Scenario) -> Result<Vec<String>, String> {
    let batches = middle::batches(script(scenario)).map_err(|error| format!("{error}: {}", error.cause))?;
    Ok(middle::check(&batches, &meta(scenario), &scenario.machine.topology(), limits(scenario)))
}

fn meta(scenario: &Scenario) -> Meta {
    let host = scenario.machine.topology().host("6.12.0", "x86_64");
    let waits = Waiting { throttled: true, owners: true, ..Waiting::default() };
    Meta { host, start_ns: START_NS, start_wall_ns: START_WALL_NS, waits, ..Meta::default() }
}

fn limits(scenario: &Scenario) -> Limits {
    Limits { max_exited: scenario.max_exited.unwrap_or(4096), ..Limits::default() }
}

fn script(scenario: &Scenario) -> Script {
    let setup = Setup {
        rings: scenario.machine.rings(),
        ring_bytes: scenario.machine.ring_bytes,
        start_ns: START_NS,
        start_wall_ns: START_WALL_NS,
    };
    Script::new(setup, scenario.events.clone())
}
