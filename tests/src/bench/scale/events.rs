//! Records a second, from the synthetic producer through real lanes, drain threads, merge, decoder and model, up to the ceiling; and
//! what the ceiling is made of.

use std::{
    fs, io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Result, anyhow, ensure};
use numatrace::{
    collect::{live::Live, load, rings, system},
    decode::decode,
    model::{Limits, Meta, Model},
    source::{Source as _, SourceStatus},
    topology::Topology,
};
use numatrace_common::abi::kind;

use super::super::table::median;
use crate::{
    producer::{Produced, Rate, Stop, pace, plan, produce},
    workload::os,
};

/// Millions of records a second, of all CPUs together.
const RATES: [f64; 8] = [0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0];
/// What is to be taken in without loss.
const GOAL: f64 = 2.0;
/// On each CPU.
const THREADS: u32 = 500;
/// As numatrace has it by default, at real-time priority.
const RING_BYTES: u32 = 4 << 20;
const INTERVAL: Duration = Duration::from_secs(1);

/// Who takes the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Nobody: all but the first are refused.
    Nobody,
    /// A thread for each ring that copies lanes, and forgets what it copied.
    Copy,
    /// Drain threads and merge; what is merged is forgotten.
    Merge,
    /// All of it: decoder, model, and a snapshot at each tick.
    Model,
}

/// One run, or the medians of some.
#[derive(Clone, Copy, Debug, Default)]
pub struct Step {
    /// Millions a second that were wanted.
    pub wanted: f64,
    /// Of these, taken.
    pub received: f64,
    /// Lost, of all of it.
    pub lost: u64,
    /// CPU time of the producer's threads, of a core.
    pub producer: f64,
    /// The same of the drain threads, or of what copies.
    pub drain: f64,
    /// The same of the engine.
    pub engine: f64,
}

impl Step {
    /// CPU time for a record, ns.
    fn ns(self, cores: f64) -> f64 {
        if self.received > 0.0 { cores * 1e3 / self.received } else { 0.0 }
    }
}

/// Measures and prints; gives the steps of everything together.
pub fn run(rounds: usize, seconds: u64) -> Result<Vec<Step>> {
    let time = Duration::from_secs(seconds);
    println!("## Records a second, from a synthetic producer on every CPU\n");
    println!("Millions a second; CPU in % of a core; `wanted = received + lost` holds to the record in each run.\n");
    println!(
        "| asked | wanted | received | lost | producer | drain | engine | drain ns a record | engine ns a record |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    let mut steps = Vec::new();
    for asked in RATES.iter().copied().map(Some).chain([None]) {
        let step = medians(rounds, asked, time, Reader::Model)?;
        print(&asked.map_or("all there is".into(), |rate| format!("{rate}")), step);
        steps.push(step);
    }
    let kept = steps.iter().filter(|step| step.lost == 0).map(|step| step.received).fold(0.0, f64::max);
    let met = if kept >= GOAL * 0.98 { "met" } else { "missed" };
    println!("\nWithout loss: {kept:.2} million records a second; the goal is {GOAL}: {met}.\n");
    println!("As many as there can be, by who takes them:\n");
    println!(
        "| reader | wanted | received | lost | producer | drain | engine | drain ns a record | engine ns a record |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|");
    for (name, reader) in [
        ("nobody: refused", Reader::Nobody),
        ("lanes copied, no more", Reader::Copy),
        ("drain threads and merge", Reader::Merge),
        ("all of it", Reader::Model),
    ] {
        let step = medians(rounds, None, time, reader)?;
        print(name, step);
        if reader == Reader::Nobody && step.wanted > 0.0 {
            println!("| (producer, ns a record refused) | {:.0} ||||||||", step.producer * 1e3 / step.wanted);
        }
    }
    println!();
    Ok(steps)
}

fn print(name: &str, step: Step) {
    let Step { wanted, received, lost, producer, drain, engine, .. } = step;
    let percent = |cores: f64| format!("{:.1}", cores * 100.0);
    println!(
        "| {name} | {wanted:.3} | {received:.3} | {lost} | {} | {} | {} | {:.1} | {:.1} |",
        percent(producer),
        percent(drain),
        percent(engine),
        step.ns(drain),
        step.ns(engine),
    );
}

fn medians(rounds: usize, asked: Option<f64>, time: Duration, reader: Reader) -> Result<Step> {
    let runs = (0..rounds).map(|_| one(asked, time, reader)).collect::<Result<Vec<_>>>()?;
    let of = |part: fn(&Step) -> f64| median(runs.iter().map(part).collect());
    Ok(Step {
        wanted: of(|step| step.wanted),
        received: of(|step| step.received),
        lost: runs.iter().map(|step| step.lost).sum(),
        producer: of(|step| step.producer),
        drain: of(|step| step.drain),
        engine: of(|step| step.engine),
    })
}

fn one(asked: Option<f64>, time: Duration, reader: Reader) -> Result<Step> {
    let cpus = os::allowed_cpus()?.len().max(1) as f64;
    let rate = Rate { of_each_cpu: asked.map(|millions| millions * 1e6 / cpus), time, threads: THREADS };
    let topology = Topology::read(Path::new("/sys"))?;
    let (produced, [received, lost], used) = match reader {
        Reader::Nobody | Reader::Copy => bare(&topology, rate, reader == Reader::Copy)?,
        Reader::Merge | Reader::Model => live(topology, rate, reader == Reader::Model)?,
    };
    ensure!(produced.wanted == received + lost, "{produced:?}, but {received} were received and {lost} lost");
    let seconds = produced.time.as_secs_f64();
    let millions = |records: u64| records as f64 / seconds / 1e6;
    let cores = |time: Duration| time.as_secs_f64() / seconds;
    Ok(Step {
        wanted: millions(produced.wanted),
        received: millions(received),
        lost,
        producer: cores(produced.cpu),
        drain: cores(used[0]),
        engine: cores(used[1]),
    })
}

/// What was produced; received and lost; CPU time of what drains, and of the engine.
type Outcome = (Produced, [u64; 2], [Duration; 2]);

/// Without drain threads.
fn bare(topology: &Topology, rate: Rate, copies: bool) -> Result<Outcome> {
    let (mut probes, lanes) = load::load(&plan(RING_BYTES), topology)?;
    let producer = probes.producer()?;
    let stop = Arc::new(AtomicBool::new(false));
    let (produced, [copied, time]) = thread::scope(|scope| {
        let readers: Vec<_> = lanes
            .into_iter()
            .filter(|_| copies)
            .map(|ring| {
                let stop = Arc::clone(&stop);
                scope.spawn(move || copy(ring, &stop))
            })
            .collect();
        let produced = {
            let _stop = Stop(Arc::clone(&stop));
            produce(&producer, rate)
        };
        let mut sums = [0; 2];
        for reader in readers {
            let (copied, time) = reader.join().map_err(|_| anyhow!("a reader panicked"))?;
            sums = [sums[0] + copied, sums[1] + time.as_nanos() as u64];
        }
        anyhow::Ok((produced?, sums))
    })?;
    let counted = probes.counters()?.sum;
    // With nobody there the lanes hold what was not refused.
    let lost = counted.lost_ring_full + counted.lost_no_ring;
    let left = if copies { copied } else { counted.wanted - lost };
    ensure!(counted.wanted == produced.wanted, "{} counted as wanted of {}", counted.wanted, produced.wanted);
    Ok((produced, [left, lost], [Duration::from_nanos(time), Duration::ZERO]))
}

/// What a drain thread does at the least.
fn copy(mut ring: rings::Ring, stop: &AtomicBool) -> (u64, Duration) {
    rings::pin_current_thread(&ring.home);
    system::become_realtime();
    let (mut buffer, mut copied) = (Vec::new(), 0);
    loop {
        let last = stop.load(Ordering::Acquire);
        buffer.clear();
        let taken: u64 = ring.lanes.iter_mut().map(|lane| lane.take(u64::MAX, &mut buffer)).sum();
        copied += taken;
        if last {
            return (copied, os::cpu_time());
        }
        thread::sleep(Duration::from_micros(500));
    }
}

/// As numatrace does it.
fn live(topology: Topology, rate: Rate, models: bool) -> Result<Outcome> {
    let stop = Arc::new(AtomicBool::new(false));
    // An engine is a thread of its own: it raises its priority.
    let engine = thread::Builder::new().name("engine".into());
    let engine = engine.spawn(move || {
        let mut live = Live::start(&plan(RING_BYTES), &topology, pace(INTERVAL), Arc::clone(&stop))?;
        let producer = live.producer()?;
        let own = os::tid();
        let driver = thread::spawn(move || {
            let _stop = Stop(stop);
            // The producers are what is traced: their priority is an ordinary one.
            os::renice(os::tid(), 0)?;
            let before = [of_drains()?, of_thread(own)?];
            let produced = produce(&producer, rate)?;
            let after = [of_drains()?, of_thread(own)?];
            anyhow::Ok((produced, [0, 1].map(|at: usize| after[at].saturating_sub(before[at]))))
        });
        let meta = Meta { host: topology.host("", ""), start_ns: live.start_ns(), ..Meta::default() };
        let mut model = Model::new(meta, topology, Limits::default());
        let mut turns = 0;
        loop {
            let status = live.next_batch(&mut |record| {
                turns += u64::from(record.starts_with(&kind::SLICE.to_le_bytes()));
                // Counters and ticks tell what was lost.
                if (models || record.first_chunk().is_some_and(|kind| u16::from_le_bytes(*kind) >= 0x100))
                    && let Ok(event) = decode(record)
                {
                    model.apply(&event);
                }
            })?;
            std::hint::black_box(model.snapshot());
            if status == SourceStatus::Ended {
                break;
            }
        }
        let (produced, used) = driver.join().map_err(|_| anyhow!("the producer panicked"))??;
        let loss = model.snapshot().loss;
        ensure!(
            loss.records_wanted == produced.wanted && loss.records_received == turns,
            "{turns} turns, {loss:?} of {produced:?}"
        );
        anyhow::Ok((produced, [loss.records_received, loss.records_lost], used))
    })?;
    engine.join().map_err(|_| anyhow!("the engine panicked"))?
}

/// CPU time of a thread of this process.
fn of_thread(tid: u32) -> io::Result<Duration> {
    let text = fs::read_to_string(format!("/proc/self/task/{tid}/schedstat"))?;
    let ns = text.split_whitespace().next().and_then(|word| word.parse().ok());
    ns.map(Duration::from_nanos).ok_or_else(|| io::Error::other("schedstat does not begin with a number"))
}

fn of_drains() -> io::Result<Duration> {
    let mut sum = Duration::ZERO;
    for entry in fs::read_dir("/proc/self/task")? {
        let path = entry?.path();
        let is_drain = fs::read_to_string(path.join("comm")).is_ok_and(|name| name.starts_with("numatrace-drain"));
        let tid = path.file_name().and_then(|name| name.to_str()?.parse().ok());
        if let (true, Some(tid)) = (is_drain, tid) {
            sum += of_thread(tid)?;
        }
    }
    Ok(sum)
}
