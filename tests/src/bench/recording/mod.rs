//! What a recording costs beside those of perf and trace-cmd: bytes for each switch, the recorder's own CPU time, and the
//! time and memory that a report takes.

pub mod export;
mod imports;
mod mix;
mod reading;
mod tools;

use std::path::Path;

use anyhow::{Context as _, Result};

use self::{
    mix::{Mix, PARTS},
    reading::{LONGER, Subject},
    tools::{Contents, Sample, Tool},
};
use super::{beside::Scratch, table::median};

const TOOLS: [Tool; 5] = [Tool::Nobody, Tool::Numatrace, Tool::NumatraceSched, Tool::Perf, Tool::TraceBuffers];
/// At most: bytes a switch to those of perf.data and of trace.dat, CPU time an event to that of perf, memory to the least.
const GOALS: (f64, f64, f64, f64) = (1.0 / 50.0, 1.0 / 4.0, 1.0 / 4.0, 1.0 / 10.0);
/// At least: how many times as fast as the fastest.
const FASTER: f64 = 3.0;

/// Runs all of it and prints tables: so many rounds, a pipe of so many round trips, reports over so many switches.
pub fn run(rounds: usize, loops: u32, switches: u64) -> Result<()> {
    let scratch = Scratch::new()?;
    let mix = Mix::new(loops, &scratch.0)?;
    println!("## Recordings: {}\n", mix.describe());
    let samples = record(&mix, rounds, &scratch.0)?;
    print_rates(&samples);
    print_bytes(&samples);
    print_cpu(&samples);
    let of_mix = samples.median(Tool::Numatrace, |sample| Some(sample.file?.switches as f64)).unwrap_or(1.0);
    // Some more, so that no run has fewer.
    let times = (switches as f64 * 1.1 / of_mix).ceil().max(1.0);
    read(&Mix::new((f64::from(loops) * times) as u32, &scratch.0)?, rounds, &scratch.0)
}

/// Samples of each tool, and why one does not work here.
struct Samples(Vec<(Tool, Vec<Sample>, Option<String>)>);

impl Samples {
    /// The median over rounds, where there is one.
    fn median(&self, tool: Tool, value: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
        let (_, samples, _) = self.0.iter().find(|(known, _, failed)| *known == tool && failed.is_none())?;
        let values: Option<Vec<f64>> = samples.iter().map(value).collect();
        values.filter(|values| !values.is_empty()).map(median)
    }

    fn rows(&self, cells: impl Fn(Tool) -> Option<String>) {
        for (tool, _, failed) in &self.0 {
            match (failed, cells(*tool)) {
                (Some(why), _) => {
                    println!("| {} | does not work here: {} |", tool.name(), why.replace(['|', '\n'], " "));
                }
                (None, Some(cells)) => println!("| {} | {cells} |", tool.name()),
                (None, None) => {}
            }
        }
        println!();
    }
}

/// Each tool once in each round. numatrace must not fail.
fn record(mix: &Mix, rounds: usize, scratch: &Path) -> Result<Samples> {
    let mut all = Samples(TOOLS.map(|tool| (tool, Vec::new(), None)).into());
    for round in 0..rounds {
        for (tool, samples, failed) in &mut all.0 {
            if failed.is_some() {
                continue;
            }
            eprintln!("round {} of {rounds}: {}", round + 1, tool.name());
            match tool.record(mix, scratch) {
                Ok(sample) => samples.push(sample),
                Err(error) if matches!(tool, Tool::Nobody | Tool::Numatrace | Tool::NumatraceSched) => {
                    return Err(error.context(tool.name()));
                }
                Err(error) => *failed = Some(format!("{error:#}")),
            }
        }
    }
    Ok(all)
}

fn print_rates(samples: &Samples) {
    println!("The workload's own time, s, and its ratio to that with nobody beside it:\n");
    println!("| recorder | {} |\n|---|{}", PARTS.join(" | "), "---:|".repeat(PARTS.len()));
    samples.rows(|tool| {
        let cells = (0..PARTS.len()).map(|part| {
            let seconds = |tool| samples.median(tool, |sample| Some(sample.times[part].as_secs_f64()));
            let (time, bare) = (seconds(tool)?, seconds(Tool::Nobody)?);
            Some(format!("{time:.2} ({:.2})", time / bare))
        });
        Some(cells.collect::<Option<Vec<_>>>()?.join(" | "))
    });
}

/// Bytes for each switch that the file holds.
fn per_switch(samples: &Samples, tool: Tool, bytes: impl Fn(&Contents) -> Option<u64>) -> Option<f64> {
    samples.median(tool, |sample| {
        let file = sample.file.as_ref()?;
        Some(bytes(file)? as f64 / file.switches.max(1) as f64)
    })
}

fn print_bytes(samples: &Samples) {
    println!(
        "| file | switches | events | lost | bytes | bytes a switch | in zstd |\n|---|---:|---:|---:|---:|---:|---:|"
    );
    let whole = |tool| per_switch(samples, tool, |file| Some(file.bytes));
    let packed = |tool| per_switch(samples, tool, |file| file.packed);
    samples.rows(|tool| {
        let number = |of: fn(&Contents) -> u64| samples.median(tool, |sample| Some(of(sample.file.as_ref()?) as f64));
        Some(format!(
            "{} | {} | {} | {} | {:.2} | {}",
            number(|file| file.switches)?,
            number(|file| file.events)?,
            number(|file| file.lost)?,
            number(|file| file.bytes)?,
            whole(tool)?,
            packed(tool).map_or("-".into(), |bytes| format!("{bytes:.2}"))
        ))
    });
    println!(
        "A switch is a sched_switch, from or to an idle CPU too; numatrace holds those of all threads but its own. \
         Of the trace buffers only pages count, not the head of a trace.dat.\n"
    );
    let ours = whole(Tool::Numatrace);
    at_most("bytes a switch, to perf.data", ours, whole(Tool::Perf), GOALS.0);
    at_most("bytes a switch, to pages of trace buffers", ours, whole(Tool::TraceBuffers), GOALS.1);
    at_most("bytes a switch, to these pages in zstd", ours, packed(Tool::TraceBuffers), GOALS.1);
    println!();
}

fn print_cpu(samples: &Samples) {
    println!(
        "| recorder | CPU ms until it recorded | CPU ms from then on | ns an event | ns a switch |\n|---|---:|---:|---:|---:|"
    );
    let each = |tool, of: fn(&Contents) -> u64| {
        samples.median(tool, |sample| {
            let (cpu, file) = (sample.cpu?, sample.file?);
            Some(cpu.run.as_nanos() as f64 / of(&file).max(1) as f64)
        })
    };
    samples.rows(|tool| {
        let start = samples.median(tool, |sample| Some(sample.cpu?.start.as_secs_f64() * 1e3))?;
        let run = samples.median(tool, |sample| Some(sample.cpu?.run.as_secs_f64() * 1e3))?;
        let (event, switch) = (each(tool, |file| file.events)?, each(tool, |file| file.switches)?);
        Some(format!("{start:.0} | {run:.0} | {event:.0} | {switch:.0}"))
    });
    println!(
        "numatrace's record of a turn stands for what are four to five events of perf: wakeup, switches, run time.\n"
    );
    // perf sched records no page faults.
    let both = |of: fn(&Contents) -> u64| (each(Tool::NumatraceSched, of), each(Tool::Perf, of));
    let ((ours, theirs), (our_switch, their_switch)) = (both(|file| file.events), both(|file| file.switches));
    at_most(
        "without page touches, the recorder's CPU time an event, each its own, to perf sched record",
        ours,
        theirs,
        GOALS.2,
    );
    at_most(
        "without page touches, the recorder's CPU time a switch, to perf sched record",
        our_switch,
        their_switch,
        GOALS.2,
    );
    println!();
}

/// Reports over many switches.
fn read(mix: &Mix, rounds: usize, scratch: &Path) -> Result<()> {
    println!("## Reports: {}\n", mix.describe());
    let mut subjects = Vec::new();
    eprintln!("a long recording: numatrace");
    let file = tools::numatrace_file(scratch);
    let ours = Tool::Numatrace.record(mix, scratch)?.file.context("a recording")?;
    subjects.push(Subject::numatrace("numatrace report", ours.switches, &file)?);
    let longer = reading::lengthen(&file)?;
    subjects.push(Subject::numatrace(
        &format!("the same, of {LONGER} times as much"),
        ours.switches * LONGER,
        &longer,
    )?);
    for tool in [Tool::Perf, Tool::TraceBuffers] {
        eprintln!("a long recording: {}", tool.name());
        match tool.record(mix, scratch) {
            Err(error) => println!("- {} does not work here: {error:#}", tool.name()),
            Ok(sample) => {
                let switches = sample.file.map_or(0, |file| file.switches);
                if tool == Tool::Perf {
                    imports::run(rounds, sample.file.map_or(0, |file| file.events), scratch)?;
                    subjects.extend(["latency", "timehist"].map(|what| Subject::perf(what, switches, scratch)));
                } else {
                    subjects.push(Subject::trace_cmd(switches, scratch));
                }
            }
        }
    }
    for round in 0..rounds {
        for (at, subject) in subjects.iter_mut().enumerate().filter(|(_, subject)| subject.failed.is_none()) {
            eprintln!("round {} of {rounds}: {}", round + 1, subject.name);
            match subject.measure() {
                Ok(()) => {}
                Err(error) if at < 2 => return Err(error),
                Err(error) => subject.failed = Some(format!("{error:#}")),
            }
        }
    }
    print_reports(&subjects);
    Ok(())
}

fn print_reports(subjects: &[Subject]) {
    println!(
        "| report | switches | s | s of CPU | s a million switches | memory at its peak, MB |\n|---|---:|---:|---:|---:|---:|"
    );
    for subject in subjects {
        let (name, switches) = (&subject.name, subject.switches);
        let numbers = (subject.seconds(), subject.cpu_seconds(), subject.pace(), subject.peak());
        match (numbers, &subject.failed) {
            ((Some(seconds), Some(cpu), Some(pace), Some(peak)), None) => {
                println!("| {name} | {switches} | {seconds:.2} | {cpu:.2} | {pace:.2} | {:.1} |", peak / 1e6);
            }
            (_, why) => println!("| {name} | does not work here: {} |", why.as_deref().unwrap_or("not measured")),
        }
    }
    println!();
    let least = |of: fn(&Subject) -> Option<f64>| subjects.iter().skip(2).filter_map(of).min_by(f64::total_cmp);
    let (ours, longer) = (&subjects[0], &subjects[1]);
    if let (Some(ours), Some(theirs)) = (ours.pace(), least(Subject::pace)) {
        let times = theirs / ours;
        println!("- times as fast as the fastest: {times:.1} (goal: at least {FASTER}: {})", met(times >= FASTER));
    }
    at_most("memory, to the least", ours.peak(), least(Subject::peak), GOALS.3);
    if let (Some(longer), Some(ours)) = (longer.peak(), ours.peak()) {
        let ratio = longer / ours;
        println!("- memory for {LONGER} times as much, to that for once: {ratio:.2} (goal: it does not grow)");
    }
    println!();
}

/// A ratio and its goal.
fn at_most(what: &str, ours: Option<f64>, theirs: Option<f64>, goal: f64) {
    let (Some(ours), Some(theirs)) = (ours, theirs) else { return };
    let ratio = ours / theirs;
    println!("- {what}: {ratio:.4}, 1/{:.1} (goal: at most 1/{:.0}: {})", 1.0 / ratio, 1.0 / goal, met(ratio <= goal));
}

const fn met(yes: bool) -> &'static str {
    if yes { "met" } else { "not met" }
}
