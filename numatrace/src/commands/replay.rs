//! `numatrace replay`: the dashboard over a recording.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    sync::mpsc::channel,
};

use anyhow::{Context, anyhow};
use jiff::tz::TimeZone;

use crate::{
    cli::ReplayArgs,
    recording::{Timeline, reader::Reader},
    replay::{Player, Span, Start, engine},
    rights::{self, Role},
    tui,
};

/// Plays the file until the user quits.
///
/// # Errors
/// One sentence about why it cannot be read, or why there is no dashboard.
pub fn run(args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    if !io::stdout().is_terminal() {
        return Ok(refuse("replay draws on a terminal, and standard output is none: use numatrace report"));
    }
    let config = match super::config::load(&args.look, &args.findings, None, None) {
        Ok(config) => config,
        Err(refused) => return Ok(refuse(&refused.to_string())),
    };
    let timeline = Reader::open(&args.file)?;
    let span = span(&timeline);
    let from_ns = match args.from.as_ref().map(|moment| moment.in_recording(&span)).transpose() {
        Ok(ns) => ns.unwrap_or(0),
        Err(why) => return Ok(refuse(&format!("cannot begin there: {why}"))),
    };
    let label = timeline.head().meta.target.label.clone();
    let start = Start { from_ns, speed: args.speed, paused: args.paused };
    play(timeline, span, start, config.options(label))?;
    Ok(ExitCode::SUCCESS)
}

/// Wrong usage, in a sentence.
pub fn refuse(sentence: &str) -> ExitCode {
    // A closed standard error is no reason to panic.
    let _ = writeln!(io::stderr(), "numatrace: {sentence}");
    ExitCode::from(2)
}

/// When it was recorded; times of day are meant in the zone of this machine.
pub fn span(timeline: &impl Timeline) -> Span {
    let meta = &timeline.head().meta;
    let end = timeline.places().iter().map(|place| place.last_ts).max().unwrap_or(meta.start_ns);
    Span { start_wall_ns: meta.start_wall_ns, length_ns: end.saturating_sub(meta.start_ns), zone: TimeZone::system() }
}

/// The dashboard over this recording until the user quits: the player works on a thread of its own, the terminal on this
/// one.
///
/// # Errors
/// When there is no terminal, or the recording cannot be read any further.
pub fn play(timeline: impl Timeline + Send, span: Span, start: Start, options: tui::Options) -> anyhow::Result<()> {
    let (to_dashboard, feed) = channel();
    let (to_player, commands) = channel();
    let player = Some(tui::Remote { commands: to_player, span });
    let place = tui::Place { owner: super::recording::owner(), ..tui::Place::default() };
    let options = tui::Options { player, place, ..options };
    std::thread::scope(|scope| {
        let worker = std::thread::Builder::new()
            .name("numatrace-engine".into())
            .spawn_scoped(scope, move || engine::run(Player::new(timeline, start), &commands, &to_dashboard))
            .context("cannot start a thread")?;
        let confined = rights::confine(Role::Render).map_err(anyhow::Error::new);
        let result = confined.and_then(|()| tui::run(&feed, &options));
        // The player ends when nobody listens and nobody commands any more.
        drop((feed, options));
        if let Err(panic) = worker.join() {
            std::panic::resume_unwind(panic);
        }
        match result? {
            tui::Exit::Quit | tui::Exit::Signal(_) => Ok(()),
            tui::Exit::Failed(why) => Err(anyhow!(why)),
        }
    })
}
