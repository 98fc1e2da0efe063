//! `numatrace diff`: two recordings side by side.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context, bail};

use crate::{
    cli::{DiffArgs, Format},
    diff::{
        Diff, MOST_RESAMPLES, Options, Recorded,
        intervals::{self, Grouping},
    },
    recording::{Timeline, reader::Reader},
    replay::Moment,
    report::{self, SortKey, offline::Stretch},
    text,
};

use super::{
    output::{OutputFile, text_options},
    progress::Progress,
    replay::{refuse, span},
    report::pinned,
};

/// Tells what changed.
///
/// # Errors
/// One sentence about why a file cannot be read, or has no numbers.
pub fn run(args: &DiffArgs) -> anyhow::Result<ExitCode> {
    let settings = match super::config::findings(args.config.as_deref(), &args.limits) {
        Ok(settings) => settings,
        Err(refused) => return Ok(refuse(&refused.to_string())),
    };
    let (before, after) = (Reader::open(&args.before)?, Reader::open(&args.after)?);
    let (old_part, new_part) = match (part(args, &args.before, &before), part(args, &args.after, &after)) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(why), _) | (_, Err(why)) => return Ok(refuse(&why)),
    };
    let nodes = match pinned::positions(&args.pin_to, &before.head().meta.host) {
        Ok(nodes) => nodes,
        Err(why) => return Ok(refuse(&why)),
    };
    let out = OutputFile::open(args.output.as_deref())?;
    let out = if out.is_none() { OutputFile::Stdout } else { out };
    let before = read(args, &args.before, before, old_part)?;
    let after = read(args, &args.after, after, new_part)?;
    let options = Options {
        grouping: grouping(args),
        top: args.top,
        confidence: args.confidence,
        min_change: args.min_change,
        seed: args.seed,
        resamples: MOST_RESAMPLES,
    };
    let mut diff = crate::diff::diff(&before, &after, &options, &settings);
    diff.expect(&before, &after, &nodes);
    out.finish(|out| write(&diff, args, out))?;
    Ok(ExitCode::SUCCESS)
}

fn grouping(args: &DiffArgs) -> Grouping {
    Grouping { by: args.by, exact: args.exact }
}

fn shown(path: &Path) -> String {
    text::display_str(&path.to_string_lossy())
}

fn part(args: &DiffArgs, path: &Path, reader: &Reader) -> Result<Stretch, String> {
    let span = span(reader);
    let time = |name: &str, moment: &Option<Moment>| {
        let found = moment.as_ref().map(|moment| moment.in_recording(&span)).transpose();
        found.map_err(|why| format!("--{name} is not in {}: {why}", shown(path)))
    };
    let stretch = Stretch { from_ns: time("from", &args.from)?, to_ns: time("to", &args.to)? };
    match (stretch.from_ns, stretch.to_ns) {
        (Some(from), Some(to)) if from >= to => Err("--from must be earlier than --to".into()),
        _ => Ok(stretch),
    }
}

fn read(args: &DiffArgs, path: &Path, reader: Reader, stretch: Stretch) -> anyhow::Result<Recorded> {
    let anonymized = reader.head().anonymized;
    let mut progress = Progress::new(args.quiet);
    let made = intervals::read(reader, stretch, grouping(args), &mut |reader: &Reader| progress.show(reader))
        .with_context(|| format!("cannot read {}", shown(path)))?;
    progress.end();
    let Some(intervals) = made else {
        bail!("there are no two ticks in this part of {}, so no numbers: compare a longer one", shown(path));
    };
    if let Some(sentence) = &intervals.whole.incomplete {
        // Told in the report as well: a closed standard error is no failure.
        let _ = writeln!(io::stderr(), "numatrace: {}: {sentence}", shown(path));
    }
    Ok(Recorded { file: shown(path), anonymized, intervals })
}

fn write(diff: &Diff, args: &DiffArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    // In one piece, so that a reader that stops in the middle costs one write.
    let mut buffer = Vec::new();
    match args.format {
        Format::Json => report::json::write_diff(diff, &mut buffer)?,
        Format::Text => {
            let options = text_options(args.color, SortKey::default(), 0, args.output.is_none());
            report::text::write_diff(diff, &options, &mut buffer)?;
        }
    }
    out.write_all(&buffer).and_then(|()| out.flush()).context("cannot write the comparison")
}
