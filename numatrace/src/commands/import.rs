//! `numatrace import`: a recording out of what `perf sched record` wrote.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::anyhow;

use crate::{
    cli::ImportArgs,
    collect::live::End,
    decode::decode,
    import::Import,
    model::Meta,
    recording::{
        Head,
        roster::{Roster, Tally},
        writer::{Options, Written},
    },
    snapshot::{SourceState, Target},
    source::{Source, SourceError, SourceStatus},
    text,
};

use super::{
    interrupt,
    progress::Progress,
    recording::{Recording, new_file},
};

/// Imports the file that the arguments name.
///
/// # Errors
/// One sentence about what is wrong with it, or how far it came.
pub fn run(args: &ImportArgs) -> anyhow::Result<ExitCode> {
    let shown = text::display_str(&args.input.to_string_lossy());
    let interval_ns = u64::try_from(args.interval.as_nanos()).unwrap_or(u64::MAX);
    let mut import = Import::open(&args.input, interval_ns).map_err(|error| anyhow!("{shown} {error}"))?;
    let file = new_file(&args.file.output, args.file.force)?;
    let stop = interrupt::catch()?;
    let meta = if args.file.anonymize { without_names(import.meta()) } else { import.meta().clone() };
    let head = Head::new(meta, import.topology().clone(), args.file.anonymize);
    let options = Options::up_to(args.file.max_size, stop.clone());
    let mut recording = Recording::begin(file, &args.file.output, &head, options)?;
    recording.keep()?;
    let mut roster = Roster::new(import.meta().start_ns);
    let read = copy(&mut import, &mut recording, &mut roster, &stop, Progress::new(args.file.quiet));
    let is_whole = matches!(read, Ok(SourceStatus::Ended));
    let written = recording.finish(read.as_ref().ok().map(|_| End::Stopped));
    let path = text::display_str(&args.file.output.to_string_lossy());
    let (_, written) = written?;
    read.map_err(|error| {
        let reached = text::duration(roster.tally().duration_ns);
        anyhow!("{shown} {}; what came before that, {reached}, is in {path}", error.cause)
    })?;
    tell(args, &import, &roster.tally(), written, is_whole);
    Ok(ExitCode::SUCCESS)
}

/// Until the file ends, or it is time to stop.
fn copy(
    import: &mut Import,
    recording: &mut Recording,
    roster: &mut Roster,
    stop: &AtomicBool,
    mut progress: Progress,
) -> Result<SourceStatus, SourceError> {
    let mut pieces = 0;
    let result = loop {
        let status = import.next_batch(&mut |record| {
            recording.push(record);
            if let Ok(event) = decode(record) {
                roster.apply(&event);
            }
        });
        let more = import.undecodable() - pieces;
        pieces += more;
        roster.note_undecodable(more);
        recording.push_pieces(more, roster.now_ns());
        recording.up_to(roster.now_ns());
        let (all, read) = import.bytes();
        progress.show_bytes(read, all);
        match status {
            Ok(SourceStatus::More) if !stop.load(Ordering::Relaxed) => {}
            status => break status,
        }
    };
    progress.end();
    result
}

/// The name of the file, and that of the machine, are names, too.
fn without_names(meta: &Meta) -> Meta {
    let label = "all threads, imported".into();
    Meta { target: Target { label, ..meta.target.clone() }, ..meta.clone() }
}

/// What came of it, on standard error.
fn tell(args: &ImportArgs, import: &Import, tally: &Tally, written: Written, is_whole: bool) {
    let path = text::display_str(&args.file.output.to_string_lossy());
    let mut lines = Vec::new();
    if !args.file.quiet || tally.lost > 0 || tally.refused > 0 || !is_whole {
        let until = if is_whole { "" } else { "stopped before the end: " };
        let refused = match tally.refused {
            0 => String::new(),
            threads => format!(", {} threads could not be tracked", text::count(threads)),
        };
        lines.push(format!(
            "{until}{path} has {} records of {} events in {}, {} lost{refused}, {}",
            text::count(written.records),
            text::count(import.events()),
            text::duration(tally.duration_ns),
            text::count(tally.lost),
            text::bytes(written.bytes)
        ));
    }
    if import.late() > 0 {
        let late = text::count(import.late());
        lines.push(format!("{late} events stand in the file after newer ones: they count as of the time of those"));
    }
    if !args.file.quiet {
        lines.push(format!("not fully on: {} (report -f json says why)", not_on(import.meta())));
    }
    for line in lines {
        // Notes are a courtesy: a closed standard error is no failure.
        let _ = writeln!(io::stderr(), "numatrace: {line}");
    }
}

fn not_on(meta: &Meta) -> String {
    let missing = meta.sources.iter().filter(|source| source.state != SourceState::On);
    missing.map(|source| source.name.as_str()).collect::<Vec<_>>().join(", ")
}
