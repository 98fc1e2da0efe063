//! What exports take beside what turns a perf.data into text or JSON: the same workload, recorded by each.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::{
    super::beside::Scratch,
    mix::Mix,
    reading::Subject,
    tools::{self, Tool, perf_file},
};

/// Formats of `numatrace export`; the first three have a row an event.
const FORMATS: [&str; 4] = ["parquet", "csv", "json", "hlog"];

/// Records the mix with each, and measures who reads it: so many rounds, a pipe of so many round trips.
pub fn run(rounds: usize, loops: u32) -> Result<()> {
    let scratch = Scratch::new()?;
    let mix = Mix::new(loops, &scratch.0)?;
    println!("## Exports: {}\n", mix.describe());
    eprintln!("a recording: numatrace");
    let ours = Tool::Numatrace.record(&mix, &scratch.0)?.file.context("a recording")?;
    let file = tools::numatrace_file(&scratch.0);
    let mut subjects = Vec::new();
    for format in FORMATS {
        subjects.push((ours, Subject::export(format, ours.switches, &file)?));
    }
    eprintln!("a recording: perf");
    match Tool::Perf.record(&mix, &scratch.0) {
        Err(error) => println!("- perf sched record does not work here: {error:#}"),
        Ok(sample) => {
            let theirs = sample.file.context("a recording")?;
            subjects.push((theirs, Subject::perf_script(theirs.switches, &perf_file(&scratch.0))));
            subjects.push((theirs, perf_convert(theirs.switches, &scratch.0)));
        }
    }
    for round in 0..rounds {
        for (at, (_, subject)) in subjects.iter_mut().enumerate().filter(|(_, (_, subject))| subject.failed.is_none()) {
            eprintln!("round {} of {rounds}: {}", round + 1, subject.name);
            match subject.measure() {
                Ok(()) => {}
                Err(error) if at < FORMATS.len() => return Err(error),
                Err(error) => subject.failed = Some(format!("{error:#}")),
            }
        }
    }
    print(&subjects);
    Ok(())
}

fn perf_convert(switches: u64, scratch: &Path) -> Subject {
    Subject::perf_convert(switches, &scratch.join("perf.json"), &perf_file(scratch))
}

fn print(subjects: &[(tools::Contents, Subject)]) {
    println!(
        "| export | events | s | events a second | switches a second | memory at its peak, MB |\n|---|---:|---:|---:|---:|---:|"
    );
    let rate = |count: u64, subject: &Subject| Some(count as f64 / subject.seconds()?);
    for (contents, subject) in subjects {
        let numbers =
            (subject.seconds(), rate(contents.events, subject), rate(contents.switches, subject), subject.peak());
        match (numbers, &subject.failed) {
            ((Some(seconds), Some(events), Some(switches), Some(peak)), None) => println!(
                "| {} | {} | {seconds:.2} | {events:.0} | {switches:.0} | {:.1} |",
                subject.name,
                contents.events,
                peak / 1e6
            ),
            (_, why) => {
                println!("| {} | does not work here: {} |", subject.name, why.as_deref().unwrap_or("not measured"));
            }
        }
    }
    println!(
        "\nAn event is a record of numatrace, or a sample of perf; a record of a turn stands for four to five samples.\n"
    );
    let fastest = |of: fn(&tools::Contents) -> u64| {
        let theirs = subjects.iter().skip(FORMATS.len());
        theirs.filter_map(|(contents, subject)| rate(of(contents), subject)).max_by(f64::total_cmp)
    };
    let (events, switches) = (fastest(|contents| contents.events), fastest(|contents| contents.switches));
    for (contents, subject) in &subjects[..3] {
        let (Some(ours), Some(theirs)) = (rate(contents.events, subject), events) else { continue };
        let times = ours / theirs;
        let per_switch = rate(contents.switches, subject).zip(switches).map_or(0.0, |(ours, theirs)| ours / theirs);
        println!(
            "- {}: {times:.1} times as many events a second as the fastest of perf, {per_switch:.1} times as many switches",
            subject.name
        );
    }
    println!();
}
