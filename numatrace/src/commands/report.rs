//! `numatrace report`: the numbers of a recording.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    process::ExitCode,
};

use anyhow::{Context, bail};

use crate::{
    cli::{PartArgs, ReportArgs, ReportFormat},
    findings::{self, Severity},
    recording::{Timeline, reader::Reader},
    replay::Span,
    report::{
        self,
        offline::{Stretch, numbers_and_demand},
    },
    snapshot::{Finding, Snapshot},
    text,
    units::Tid,
    whatif::{Demand, WhatIf},
    window,
};

pub(super) mod pinned;

use super::{
    output::{OutputFile, text_options},
    progress::Progress,
    replay::{refuse, span},
};

/// Threads or names that are listed when nobody was selected.
const LISTED: usize = 8;
/// Exit code of `--findings` when one of them is critical.
const CRITICAL: u8 = 3;
/// Threads of a text report, unless it is said otherwise.
const TOP: usize = 20;

/// Tells what the arguments ask for.
///
/// # Errors
/// One sentence about why the file cannot be read, or nothing of it was selected.
pub fn run(args: &ReportArgs) -> anyhow::Result<ExitCode> {
    if args.findings && args.format == ReportFormat::Csv {
        return Ok(refuse("findings are no table: --findings is for --format text and json"));
    }
    let settings = match super::config::findings(args.config.as_deref(), &args.limits) {
        Ok(settings) => settings,
        Err(refused) => return Ok(refuse(&refused.to_string())),
    };
    let reader = Reader::open(&args.file)?;
    if let Some(cause) = &reader.head().cause
        && !args.quiet
    {
        let _ = writeln!(io::stderr(), "numatrace: a flight recorder wrote this file: {}", text::visible(cause));
    }
    let stretch = match stretch(&args.part, &span(&reader)) {
        Ok(stretch) => stretch,
        Err(why) => return Ok(refuse(&why)),
    };
    let nodes = match pinned::nodes(args, &reader.head().meta.host) {
        Ok(nodes) => nodes,
        Err(why) => return Ok(refuse(&why)),
    };
    let out = OutputFile::open(args.output.as_deref())?;
    let out = if out.is_none() { OutputFile::Stdout } else { out };
    let start_ns = reader.head().meta.start_ns;
    let first_ts = reader.places().first().map(|place| place.first_ts);
    let mut progress = Progress::new(args.quiet);
    let mut demand = Demand::default();
    let wanted = nodes.is_some().then_some(&mut demand);
    let found = numbers_and_demand(reader, stretch, &mut |reader: &Reader| progress.show(reader), wanted)?;
    progress.end();
    let Some(mut snapshot) = found else {
        let first = first_ts.map_or_else(String::new, |ts| {
            format!(" (its first record is of {})", text::duration(ts.saturating_sub(start_ns)))
        });
        bail!("the recording has no tick up to then, so no numbers: give --to a later time{first}");
    };
    if let Some(sentence) = &snapshot.incomplete {
        // Told in the report as well: a closed standard error is no failure.
        let _ = writeln!(io::stderr(), "numatrace: {sentence}");
    }
    snapshot.findings = findings::look_once(&snapshot, &settings);
    if args.findings {
        out.finish(|out| write_findings(&snapshot.findings, args, out))?;
        let critical = snapshot.findings.iter().any(|finding| Severity::of(finding) == Severity::Critical);
        return Ok(if critical { ExitCode::from(CRITICAL) } else { ExitCode::SUCCESS });
    }
    let what_if = nodes.map(|nodes| pinned::what_if(args, &snapshot, &demand, &nodes));
    let snapshot = select(snapshot, &args.part)?;
    let snapshot = match args.by {
        Some(by) => window::grouped(snapshot, by),
        None => snapshot,
    };
    out.finish(|out| write(&snapshot, what_if.as_ref(), args, out))?;
    Ok(ExitCode::SUCCESS)
}

/// Which time is meant.
///
/// # Errors
/// When it is none of the recording, in a sentence.
pub(super) fn stretch(part: &PartArgs, span: &Span) -> Result<Stretch, String> {
    let time = |name: &str, moment: &Option<crate::replay::Moment>| {
        let found = moment.as_ref().map(|moment| moment.in_recording(span)).transpose();
        found.map_err(|why| format!("--{name} is not in the recording: {why}"))
    };
    let stretch = Stretch { from_ns: time("from", &part.from)?, to_ns: time("to", &part.to)? };
    match (stretch.from_ns, stretch.to_ns) {
        (Some(from), Some(to)) if from >= to => Err("--from must be earlier than --to".into()),
        _ => Ok(stretch),
    }
}

/// Those threads that are asked for, with their sums.
///
/// # Errors
/// When there are none, in a sentence that says who is there.
pub(super) fn select(snapshot: Snapshot, part: &PartArgs) -> anyhow::Result<Snapshot> {
    let tids: Vec<Tid> = part.thread.iter().map(|tid| Tid(*tid)).collect();
    let all = |of: fn(&crate::snapshot::Thread) -> String| {
        let all: BTreeSet<String> = snapshot.threads.iter().map(of).collect();
        let mut shown: Vec<String> = all.iter().take(LISTED).cloned().collect();
        if all.len() > LISTED {
            shown.push(format!("and {} more", all.len() - LISTED));
        }
        shown.join(", ")
    };
    let (ids, names) = (all(|thread| thread.tid.to_string()), all(|thread| thread.comm.to_string()));
    let nobody = snapshot.threads.is_empty();
    let selected = window::select(snapshot, &tids, &part.comm);
    if selected.selection.is_some() && selected.threads.is_empty() {
        if nobody {
            bail!("there is no thread in this part of the recording");
        }
        let what = if part.comm.is_empty() { ids } else { names };
        bail!("no thread of the recording was selected: it has {what}");
    }
    Ok(selected)
}

fn write(snapshot: &Snapshot, what_if: Option<&WhatIf>, args: &ReportArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    // In one piece, so that a reader that stops in the middle costs one write.
    let mut buffer = Vec::new();
    match args.format {
        ReportFormat::Json => match what_if {
            Some(what_if) => report::json::write_with_what_if(snapshot, &what_if.estimates, &mut buffer)?,
            None => report::json::write(snapshot, &mut buffer)?,
        },
        ReportFormat::Csv => report::csv::write(snapshot, args.sort, args.top.unwrap_or(0), &mut buffer)?,
        ReportFormat::Text => {
            let options = text_options(args.color, args.sort, args.top.unwrap_or(TOP), args.output.is_none());
            report::text::write(snapshot, &options, &mut buffer)?;
            if let Some(what_if) = what_if {
                report::text::write_what_if(snapshot, what_if, &options, &mut buffer)?;
            }
        }
    }
    out.write_all(&buffer).and_then(|()| out.flush()).context("cannot write the report")
}

fn write_findings(findings: &[Finding], args: &ReportArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut buffer = Vec::new();
    match args.format {
        ReportFormat::Json => report::json::write_findings(findings, &mut buffer)?,
        ReportFormat::Text | ReportFormat::Csv => {
            let options = text_options(args.color, args.sort, 0, args.output.is_none());
            report::text::write_findings(findings, &options, &mut buffer)?;
        }
    }
    out.write_all(&buffer).and_then(|()| out.flush()).context("cannot write the findings")
}
