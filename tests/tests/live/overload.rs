//! More records than can be taken, from a producer whose own count is known: what is lost is exact, and timed.

use std::{
    sync::{Arc, atomic::AtomicBool},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use numatrace::{
    collect::{
        MaxOverhead,
        live::Live,
        load::Plan,
        system::{monotonic_ns, uname},
    },
    decode::{Event, decode},
    model::{Limits, Meta, Model},
    snapshot::Snapshot,
    source::{Source as _, SourceStatus},
    topology::Topology,
};
use numatrace_tests::{
    live::Case,
    producer::{Produced, Rate, Stop, pace, plan, produce},
};

pub const CASES: &[Case] = &[
    ("under_overload_what_is_lost_is_exact_and_timed", overload),
    ("records_that_go_on_being_lost_become_fewer_and_it_is_said", fewer),
    ("a_producer_that_is_slow_enough_loses_nothing", no_loss),
];

const INTERVAL: Duration = Duration::from_millis(100);
const THREADS: u32 = 50;

/// What the producer did, when, and what came of it.
struct Run {
    produced: Produced,
    /// Since tracing began, ns.
    window: (u64, u64),
    /// Turns that the model got.
    turns: u64,
    snapshot: Snapshot,
}

/// Produces for a while, with nothing before and after it for some ticks.
fn run(plan: &Plan, rate: Rate) -> Result<Run> {
    let topology = Topology::read(std::path::Path::new("/sys"))?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut live = Live::start(plan, &topology, pace(INTERVAL), Arc::clone(&stop))?;
    let producer = live.producer()?;
    let (release, machine) = uname();
    let start_ns = live.start_ns();
    let meta = Meta { host: topology.host(&release, &machine), start_ns, ..Meta::default() };
    let mut model = Model::new(meta, topology, Limits::default());
    let driver = thread::spawn(move || {
        let _stop = Stop(stop);
        thread::sleep(3 * INTERVAL);
        let began = monotonic_ns();
        let produced = produce(&producer, rate);
        let ended = monotonic_ns();
        thread::sleep(3 * INTERVAL);
        (produced, (began - start_ns, ended - start_ns))
    });
    let mut turns = 0;
    loop {
        let status = live.next_batch(&mut |record| match decode(record) {
            Ok(event) => {
                turns += u64::from(matches!(event, Event::Slice(_)));
                model.apply(&event);
            }
            Err(_) => model.note_undecodable(1),
        })?;
        if status == SourceStatus::Ended {
            break;
        }
    }
    let (produced, window) = driver.join().map_err(|_| anyhow!("the producer panicked"))?;
    Ok(Run { produced: produced?, window, turns, snapshot: model.snapshot() })
}

/// What holds of every run.
fn check(run: &Run) -> Result<()> {
    let (loss, produced) = (&run.snapshot.loss, &run.produced);
    let counted = [loss.records_wanted, loss.records_received, loss.records_lost];
    ensure!(counted[0] == counted[1] + counted[2], "wanted, received, lost: {counted:?}");
    let left_out = run.snapshot.self_cost.as_ref().map_or(0, |cost| cost.shed.turns);
    ensure!(
        counted[0] + left_out == produced.wanted,
        "the producer knows of {}, the report of {counted:?} and {left_out} left out",
        produced.wanted
    );
    ensure!(run.turns == counted[1], "the model got {} of {}", run.turns, counted[1]);
    ensure!(loss.by_reason.ring_full == loss.records_lost, "by reason: {:?}", loss.by_reason);
    let timed: u64 = loss.intervals.iter().map(|interval| interval.lost).sum();
    ensure!(timed == loss.records_lost, "the intervals hold {timed} of {}", loss.records_lost);
    Ok(())
}

fn overload() -> Result<()> {
    // 1,024 turns or so in each lane, and no pause in which they could be taken.
    let run = run(&plan(64 << 10), Rate { of_each_cpu: None, time: Duration::from_millis(600), threads: THREADS })?;
    check(&run)?;
    let loss = &run.snapshot.loss;
    ensure!(loss.records_lost > 0 && loss.records_received > 0, "no overload: {loss:?}");
    let (first, last) = loss.intervals.first().zip(loss.intervals.last()).context("no intervals")?;
    // A loss is known to lie between two ticks: these two are around the time in which it was made, with quiet before and after.
    ensure!(first.end_ns > run.window.0 && last.start_ns < run.window.1, "{loss:?} beside {:?}", run.window);
    // And no further from it than a tick that was late.
    let late = 2 * INTERVAL.as_nanos() as u64;
    ensure!(first.start_ns + late > run.window.0, "{loss:?} long before {:?}", run.window);
    ensure!(last.end_ns < run.window.1 + 2 * late, "{loss:?} long after {:?}", run.window);
    ensure!(loss.intervals.is_sorted_by_key(|interval| interval.start_ns), "{loss:?}");
    Ok(())
}

/// Loss that does not end is answered with one record for several turns, which is counted, timed and told.
fn fewer() -> Result<()> {
    let plan = Plan { max_overhead: MaxOverhead::Unsaid, ..plan(64 << 10) };
    let run = run(&plan, Rate { of_each_cpu: None, time: Duration::from_secs(6), threads: THREADS })?;
    check(&run)?;
    let cost = run.snapshot.self_cost.as_ref().context("what it takes is not measured")?;
    let shed = &cost.shed;
    ensure!(run.snapshot.loss.records_lost > 0, "no overload: {:?}", run.snapshot.loss);
    ensure!(shed.every > 1 && shed.for_loss && shed.left_out.is_empty(), "{shed:?}");
    let timed: u64 = shed.intervals.iter().map(|interval| interval.turns).sum();
    ensure!(shed.turns > 1_000 && timed == shed.turns, "the intervals hold {timed} of {} turns", shed.turns);
    let during = |start: u64, end: u64| end > run.window.0 && start < run.window.1;
    ensure!(shed.intervals.iter().all(|part| during(part.start_ns, part.end_ns)), "{shed:?} beside {:?}", run.window);
    Ok(())
}

fn no_loss() -> Result<()> {
    let run =
        run(&plan(4 << 20), Rate { of_each_cpu: Some(20_000.0), time: Duration::from_secs(1), threads: THREADS })?;
    check(&run)?;
    ensure!(run.produced.wanted > 1_000, "{:?}", run.produced);
    ensure!(run.snapshot.loss.records_lost == 0, "{:?}", run.snapshot.loss);
    // All that was written is in the totals, thread by thread.
    let switches: u64 = run.snapshot.threads.iter().map(|thread| thread.stats.switches.total()).sum();
    ensure!(switches == run.produced.wanted, "{switches} switches of {}", run.produced.wanted);
    Ok(())
}
