//! What threads cost: records of so many in no order, a tick, the dashboard's numbers, and memory.

use std::{hint::black_box, sync::Arc, time::Duration};

use numatrace::{
    model::{Limits, Meta, Model},
    topology::Topology,
    tui::{Options, UiMessage, app::App, state::Key},
};
use numatrace_common::abi::{Counters, Tick, Totals};
use zerocopy::IntoBytes as _;

use super::super::{decode, table::median};
use crate::{heap, machine512::Machine512, workload::os::cpu_time};

const COUNTS: [u32; 6] = [10, 100, 1_000, 10_000, 25_000, 50_000];
/// What user space may take at [`GOAL_THREADS`].
const GOAL: (u32, usize) = (10_000, 64_000_000);
/// CPUs that the threads run on: of 512.
const CPUS: u32 = 512;
/// Records that a thread has on average before anything is measured, and that each tick brings at least.
const RECORDS_EACH: usize = 40;
const RECORDS: usize = 1 << 18;

/// Medians of rounds.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub threads: u32,
    /// CPU time of decoder and model, ns a record.
    pub record_ns: f64,
    /// To take in totals of all threads, as the iterator tells them.
    pub totals_ms: f64,
    /// The snapshot at a tick.
    pub snapshot_ms: f64,
    /// Copying that snapshot: what it costs to write so much down.
    pub copy_ms: f64,
    /// The dashboard taking it in: window, rates, rows, sorting.
    pub dashboard_ms: f64,
    /// Heap: the model alone.
    pub model_mb: f64,
    /// Model and snapshot, at the peak of a tick.
    pub tick_mb: f64,
    /// With the dashboard, at its peak after ten ticks.
    pub dashboard_mb: f64,
}

/// Measures and prints.
pub fn run(rounds: usize) -> Vec<Cost> {
    println!("## Threads, on a machine of 512 CPUs and 16 nodes (simulated)\n");
    println!(
        "| threads | ns a record | totals ms | snapshot ms | copying it ms | snapshot / copy | dashboard ms | model MB | at a tick MB | with dashboard MB |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    let topology = Machine512::topology();
    let mut costs = Vec::new();
    for threads in COUNTS {
        let cost = measure(threads, &topology, rounds.max(1));
        let Cost { record_ns, totals_ms, snapshot_ms, copy_ms, dashboard_ms, model_mb, tick_mb, dashboard_mb, .. } =
            cost;
        println!(
            "| {threads} | {record_ns:.0} | {totals_ms:.2} | {snapshot_ms:.2} | {copy_ms:.2} | {:.1} | {dashboard_ms:.2} | {model_mb:.1} | {tick_mb:.1} | {dashboard_mb:.1} |",
            snapshot_ms / copy_ms
        );
        costs.push(cost);
    }
    if let Some(cost) = costs.iter().find(|cost| cost.threads == GOAL.0) {
        let goal = mb(GOAL.1);
        let verdict = |mb: f64| if mb <= goal { "met" } else { "missed" };
        println!(
            "\nHeap at {} threads, all of which run everywhere: {:.1} MB at a tick, {:.1} MB with the dashboard; the goal of {goal:.1} is {} and {}.\n",
            GOAL.0,
            cost.tick_mb,
            cost.dashboard_mb,
            verdict(cost.tick_mb),
            verdict(cost.dashboard_mb)
        );
    }
    costs
}

fn mb(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}

fn millis(work: impl FnOnce()) -> f64 {
    let start = cpu_time();
    work();
    (cpu_time() - start).as_secs_f64() * 1e3
}

fn measure(threads: u32, topology: &Topology, rounds: usize) -> Cost {
    let mut server = decode::Server::new(threads, CPUS);
    let mut bytes = Vec::new();
    server.fill(&mut bytes);
    let meta = Meta { host: topology.host("6.12.9", "x86_64"), start_ns: 1_000_000_000, ..Meta::default() };
    let ours = heap::now();
    let mut model = Model::new(meta, topology.clone(), Limits::default());
    let (mut time, mut done) = (Duration::ZERO, 0);
    while done < RECORDS.max(RECORDS_EACH * threads as usize) {
        server.fill(&mut bytes);
        let start = cpu_time();
        done += decode::apply(&bytes, &mut model);
        time += cpu_time() - start;
    }
    let model_mb = mb(heap::now() - ours);
    let mut app = App::new(&Options::new("pid 1 (server)"), 200, 60);
    app.press(Key::Char('2'));
    let mut parts: [Vec<f64>; 4] = [const { Vec::new() }; 4];
    let (mut tick_mb, mut dashboard_mb) = (0.0, 0.0);
    for round in 0..rounds.max(10) {
        server.fill(&mut bytes);
        decode::apply(&bytes, &mut model);
        let totals = totals(&server, threads);
        parts[0].push(millis(|| _ = decode::apply(&totals, &mut model)));
        drop(totals);
        heap::mark();
        let mut snapshot = None;
        parts[1].push(millis(|| snapshot = Some(model.snapshot())));
        if round == 0 {
            // The dashboard has nothing yet.
            tick_mb = mb(heap::peak() - ours);
        }
        let Some(snapshot) = snapshot else { continue };
        parts[2].push(millis(|| drop(black_box(snapshot.clone()))));
        heap::mark();
        parts[3].push(millis(|| app.tell(UiMessage::Snapshot(Arc::new(snapshot)))));
        dashboard_mb = f64::max(dashboard_mb, mb(heap::peak() - ours));
    }
    let [totals_ms, snapshot_ms, copy_ms, dashboard_ms] = parts.map(median);
    let record_ns = time.as_secs_f64() * 1e9 / done as f64;
    Cost { threads, record_ns, totals_ms, snapshot_ms, copy_ms, dashboard_ms, model_mb, tick_mb, dashboard_mb }
}

/// A tick at which every thread did something: counters, totals of all, counters, tick.
fn totals(server: &decode::Server, threads: u32) -> Vec<u8> {
    let now = server.now;
    let counters = Counters { header: Counters::header(now, 0, 0), ..Counters::default() };
    let mut bytes = counters.as_bytes().to_vec();
    for tid in 1..=threads {
        let totals = Totals {
            header: Totals::header(now, 0, 0),
            tid,
            tgid: 1,
            cpu_ns: now / 100,
            seq: server.seq(tid),
            ..Totals::default()
        };
        bytes.extend_from_slice(totals.as_bytes());
    }
    bytes.extend_from_slice(counters.as_bytes());
    bytes.extend_from_slice(Tick { header: Tick::header(now, 0, 0), wall_ns: now }.as_bytes());
    bytes
}
