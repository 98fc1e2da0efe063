//! `numatrace record`: traces into a file.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    cli::RecordArgs,
    collect::live::End,
    recording::{
        Reason,
        roster::{Roster, Tally},
        writer::{Options, Written},
    },
    rights::{self, Role},
    text,
};

use super::{
    engine::Engine,
    flight, interrupt,
    launch::Stdio,
    recording::{Recording, new_file},
    traced::Traced,
};

/// Records what the arguments name.
///
/// # Errors
/// One sentence about what stands in the way, or how far the recording came.
pub fn run(args: &RecordArgs) -> anyhow::Result<ExitCode> {
    if let Some(last) = args.flight.last {
        return flight::run(args, last);
    }
    // A file that is in the way is found before a command is started, and rights are looked at before a file is made.
    let mut traced = Traced::find(&args.filter, &args.roots, Stdio::Inherited)?;
    let file = new_file(&args.file.output, args.file.force)?;
    let stop = interrupt::catch()?;
    let setup = traced.setup(&args.run, &args.trace);
    let pace = setup.pace(args.run.duration);
    rights::begin(setup.needs());
    let mut engine: Engine<Roster> = Engine::start(&setup, pace, &stop)?;
    let head = engine.head(args.file.anonymize);
    let options = Options::up_to(args.file.max_size, engine.live.halt());
    let mut recording = Recording::begin(file, &args.file.output, &head, options)?;
    traced.release()?;
    recording.keep()?;
    // The file may stand where the user could not have put it.
    rights::settle(Role::Engine)?;
    engine.recording = Some(recording);
    let label = &setup.target.label;
    if !args.file.quiet {
        engine.note(&format!("recording {label}"));
    }
    let (reason, written) = record(&mut engine, args.file.quiet)?;
    let last = engine.model.tally();
    if !args.file.quiet || last.lost > 0 || last.refused > 0 {
        let refused = match last.refused {
            0 => String::new(),
            n => format!(", {} threads could not be tracked", text::count(n)),
        };
        let path = text::display_str(&args.file.output.to_string_lossy());
        let _ = writeln!(
            io::stderr(),
            "numatrace: {} after {}: {path} has {} records, {} lost{refused}, {}",
            why(reason),
            text::duration(last.duration_ns),
            text::count(written.records),
            text::count(last.lost),
            text::bytes(written.bytes),
        );
    }
    Ok(traced.end())
}

const fn why(reason: Reason) -> &'static str {
    match reason {
        Reason::Stopped => "stopped",
        Reason::Duration => "the time is over",
        Reason::TargetsGone => "every target has exited",
        Reason::MaxSize => "the file has its largest size",
        Reason::WriteFailed => "writing failed",
        Reason::TraceFailed => "tracing failed",
        Reason::Cut => "it was asked for",
    }
}

/// Why a run ended.
pub(super) const fn why_ended(end: End) -> &'static str {
    why(match end {
        End::Stopped => Reason::Stopped,
        End::Duration => Reason::Duration,
        End::TargetsGone => Reason::TargetsGone,
    })
}

/// Until the run ends.
fn record(engine: &mut Engine<Roster>, quiet: bool) -> anyhow::Result<(Reason, Written)> {
    let line = line(quiet);
    let ended = loop {
        match engine.step(&mut |_| {}) {
            Ok(Some(end)) => break Ok(end),
            Ok(None) => {}
            Err(error) => break Err(error),
        }
        if let Some(recording) = &engine.recording
            && !line.is_hidden()
        {
            line.set_message(progress_text(&engine.model.tally(), recording.written()));
        }
    };
    line.finish_and_clear();
    let finished = engine.recording.take().map(|recording| recording.finish(ended.as_ref().ok().copied()));
    // What went wrong first comes first.
    ended?;
    // It is there: `run` has just begun it.
    finished.unwrap_or_else(|| Err(anyhow::anyhow!("the recording was not begun")))
}

/// A line that is drawn on a terminal alone.
pub(super) fn line(quiet: bool) -> ProgressBar {
    if quiet || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let line = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
        line.set_style(style);
    }
    line
}

fn progress_text(now: &Tally, (bytes, _): (u64, u64)) -> String {
    let lost = match now.lost {
        0 => "none lost".to_owned(),
        n => format!("{} lost ({})", text::count(n), text::share(n, now.wanted)),
    };
    format!(
        "{}: {} records, {lost}, {} written; Ctrl-C ends it",
        text::duration(now.duration_ns),
        text::count(now.wanted),
        text::bytes(bytes)
    )
}
