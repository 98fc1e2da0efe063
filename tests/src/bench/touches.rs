//! What tracing costs a program that does little but take page faults: the worst case for a tracer of page touches.

use std::{
    fmt, fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::{beside::Scratch, table::median};
use crate::{
    live::{PATIENCE, Tracer, Workload, eventually, perf::mount_tracefs},
    workload::os::{allowed_cpus, check, node_of_cpu},
};

/// Pages of a round.
const PAGES: u32 = 4096;

/// What runs beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beside {
    Nothing,
    /// numatrace, with the program as its target.
    Target,
    /// numatrace, with another process as its target.
    Other,
    /// `perf record` of each of its faults.
    PerfRecord,
    /// `perf trace` of each of its faults.
    PerfTrace,
}

const ALL: [Beside; 5] = [Beside::Nothing, Beside::Target, Beside::Other, Beside::PerfRecord, Beside::PerfTrace];

/// Ratios to the bare program that numatrace is to stay below.
const GOALS: [(Beside, f64); 2] = [(Beside::Target, 1.9), (Beside::Other, 1.6)];

/// Nanoseconds a fault, of the thread's time on its CPU: in the best of the rounds of map, touch and unmap that were made
/// in the time, and in the middle one.
#[derive(Clone, Copy, Debug)]
struct Sample {
    best: f64,
    median: f64,
}

/// Measures rounds of all configurations, each of them for so long, and prints a table.
pub fn run(rounds: usize, millis: u32) -> Result<()> {
    println!("## Page faults: map, touch {PAGES} pages and unmap, in rounds on one CPU, {millis} ms\n");
    let mut samples = [const { Vec::new() }; ALL.len()];
    let mut failures = [const { None }; ALL.len()];
    for round in 0..rounds {
        for (index, beside) in ALL.into_iter().enumerate() {
            if failures[index].is_some() {
                continue;
            }
            eprintln!("round {} of {rounds}: {beside}", round + 1);
            match beside.measure(millis) {
                Ok(sample) => samples[index].push(sample),
                Err(error) if beside.is_ours() => return Err(error.context(beside.to_string())),
                Err(error) => failures[index] = Some(format!("{error:#}")),
            }
        }
    }
    print(&samples, &failures);
    Ok(())
}

impl Beside {
    /// Whether a failure is a failure of numatrace.
    fn is_ours(self) -> bool {
        matches!(self, Beside::Nothing | Beside::Target | Beside::Other)
    }

    fn measure(self, millis: u32) -> Result<Sample> {
        // The last CPU: the first has most of a small machine's interrupts.
        let cpu = allowed_cpus()?.last().copied().unwrap_or(0);
        let node = node_of_cpu(cpu)?;
        let (nodes, cpu, pages, millis) =
            (format!("{node},{node}"), cpu.to_string(), PAGES.to_string(), millis.to_string());
        let words = ["touch", &pages, "--kind", "rounds", "--nodes", &nodes, "--cpu", &cpu, "--millis", &millis];
        let mut load = Workload::start(&words)?;
        let pid = load.pid.to_string();
        let scratch = Scratch::new()?;
        match self {
            Beside::Nothing => finish(load),
            Beside::Target => {
                let mut tracer = Tracer::start(&["--pid", &pid])?;
                let done = load.run()?;
                // Not a word of how fast it is where it does not do what it is for.
                let report = tracer.stop()?;
                let ours = report.thread(load.tid("toucher")?)?.all_touches()?.all();
                let truth = done.facts["toucher"]["touches"].as_u64();
                ensure!(truth == Some(ours), "it has {ours} of {truth:?} touches");
                load.finish()?;
                sample(&done.facts["toucher"])
            }
            Beside::Other => {
                let sleeper = Workload::start(&["sleeper", "--seconds", "3600"])?;
                let mut tracer = Tracer::start(&["--pid", &sleeper.pid.to_string()])?;
                let sample = finish(load)?;
                tracer.stop()?;
                Ok(sample)
            }
            Beside::PerfRecord => {
                let peer = Peer::start(&["record", "-q", "-e", "page-faults", "-c", "1", "-p", &pid], &scratch.0)?;
                let sample = finish(load)?;
                peer.end().map(|()| sample)
            }
            Beside::PerfTrace => {
                mount_tracefs()?;
                let peer = Peer::start(&["trace", "-F", "all", "--no-syscalls", "-p", &pid], &scratch.0)?;
                let sample = finish(load)?;
                peer.end().map(|()| sample)
            }
        }
    }
}

/// Runs a load that is ready.
fn finish(mut load: Workload) -> Result<Sample> {
    let done = load.run()?;
    load.finish()?;
    sample(&done.facts["toucher"])
}

fn sample(facts: &serde_json::Value) -> Result<Sample> {
    let number =
        |name: &str| facts[name].as_f64().filter(|ns| *ns > 0.0).with_context(|| format!("no {name}: {facts}"));
    Ok(Sample { best: number("best_ns")?, median: number("median_ns")? })
}

/// A perf that runs until it is told to stop; killed when dropped.
struct Peer(Child);

impl Peer {
    /// Starts it, writing to a file in memory, and returns when its events are open and no more come.
    fn start(args: &[&str], scratch: &Path) -> Result<Peer> {
        let mut command = Command::new("perf");
        command.args(args).arg("-o").arg(scratch.join("perf.data")).current_dir(scratch);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut peer = Peer(command.spawn().context("cannot start perf")?);
        let (mut last, mut same) = (0, 0);
        eventually("perf has opened its events", PATIENCE, || {
            ensure!(peer.0.try_wait()?.is_none(), "`perf {}` ended at once", args.join(" "));
            let now = events(peer.0.id());
            same = if now > 0 && now == last { same + 1 } else { 0 };
            last = now;
            // Half a second at 10 ms a look: opening one event and turning it on takes far less.
            Ok(same >= 50)
        })?;
        Ok(peer)
    }

    fn end(mut self) -> Result<()> {
        // It may have ended with its target.
        if self.0.try_wait()?.is_none() {
            // SAFETY: the child has not been waited for, so the id is its own.
            check(unsafe { libc::kill(self.0.id().cast_signed(), libc::SIGINT) })?;
        }
        eventually("perf ends", Duration::from_secs(60), || Ok(self.0.try_wait()?.is_some()))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Perf events that a process has open.
fn events(pid: u32) -> usize {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let links = links.filter_map(|entry| fs::read_link(entry.path()).ok());
    links.filter(|link| link.to_string_lossy().contains("perf_event")).count()
}

fn print(samples: &[Vec<Sample>], failures: &[Option<String>]) {
    let best = |index: usize| samples[index].iter().map(|sample| sample.best).fold(f64::INFINITY, f64::min);
    let middle = |index: usize| median(samples[index].iter().map(|sample| sample.median).collect());
    // Each round has its own bare run: what the machine does meanwhile is in both.
    let ratio = |index: usize| {
        median(samples[index].iter().zip(&samples[0]).map(|(with, bare)| with.median / bare.median).collect())
    };
    println!("| beside the faults | ns a fault, best | ns a fault, median | ratio of best | ratio of medians |");
    println!("|---|---:|---:|---:|---:|");
    for (index, beside) in ALL.iter().enumerate() {
        if let Some(reason) = &failures[index] {
            println!("| {beside} | does not work here: {} |", reason.replace(['|', '\n'], " "));
            continue;
        }
        let (best_ratio, ratio) = (best(index) / best(0), ratio(index));
        println!("| {beside} | {:.0} | {:.0} | {best_ratio:.2} | {ratio:.2} |", best(index), middle(index));
    }
    println!();
    for (beside, goal) in GOALS {
        if let Some(index) = ALL.iter().position(|known| *known == beside) {
            println!("- {beside}: {:.2} times the bare fault (target: at most {goal})", ratio(index));
        }
    }
    println!();
}

impl fmt::Display for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Beside::Nothing => "bare",
            Beside::Target => "numatrace on the program",
            Beside::Other => "numatrace on another process",
            Beside::PerfRecord => "perf record -e page-faults -c 1",
            Beside::PerfTrace => "perf trace -F all",
        })
    }
}
