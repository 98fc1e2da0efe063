//! What an import takes, beside what perf takes to print or convert the same file.

use std::path::Path;

use anyhow::Result;

use super::reading::Subject;

/// Prints a table: so many rounds over what perf recorded, a file of so many events.
pub fn run(rounds: usize, events: u64, scratch: &Path) -> Result<()> {
    println!("## Imports: a perf.data of {events} events\n");
    let ours = Subject::import(events, scratch)?;
    let mut subjects: Vec<Subject> = std::iter::once(ours).chain(Subject::perf_readers(events, scratch)).collect();
    for round in 0..rounds {
        for (at, subject) in subjects.iter_mut().enumerate().filter(|(_, subject)| subject.failed.is_none()) {
            eprintln!("round {} of {rounds}: {}", round + 1, subject.name);
            match subject.measure() {
                Ok(()) => {}
                Err(error) if at == 0 => return Err(error),
                Err(error) => subject.failed = Some(format!("{error:#}")),
            }
        }
    }
    print(events, &subjects);
    Ok(())
}

fn print(events: u64, subjects: &[Subject]) {
    println!("| reader | s | s of CPU | events a second | memory at its peak, MB |\n|---|---:|---:|---:|---:|");
    let rate = |subject: &Subject| Some(events as f64 / subject.seconds()?.max(1e-9));
    for subject in subjects {
        let name = &subject.name;
        match (subject.seconds(), subject.cpu_seconds(), rate(subject), subject.peak()) {
            (Some(seconds), Some(cpu), Some(rate), Some(peak)) => {
                println!("| {name} | {seconds:.2} | {cpu:.2} | {rate:.0} | {:.1} |", peak / 1e6);
            }
            _ => {
                let why = subject.failed.as_deref().unwrap_or("not measured");
                println!("| {name} | does not work here: {} |", why.replace(['|', '\n'], " "));
            }
        }
    }
    println!();
    let ours = &subjects[0];
    for other in &subjects[1..] {
        if let (Some(mine), Some(theirs)) = (rate(ours), rate(other)) {
            println!("- times as fast as {}: {:.1}", other.name, mine / theirs);
        }
    }
    println!();
}
