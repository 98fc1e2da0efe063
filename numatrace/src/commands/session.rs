//! One traced run, whatever the target: probes, model, and where the numbers go. Shared by `live` and `demo`.

use std::{
    io::{self, IsTerminal, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Sender, channel},
    },
    time::Duration,
};

use anyhow::{Context, anyhow};
use clap::ColorChoice;

use crate::{
    cli::{Format, OutputArgs},
    collect::live::{End, Pace},
    report::{self, text::TextOptions},
    snapshot::Snapshot,
    text,
    tui::{self, UiMessage},
};

use super::{
    engine::{Engine, LINGER, Setup},
    output::OutputFile,
    slow::SlowWaits,
};

/// A run that is set up: what to trace and where to tell it.
pub struct Session<'a> {
    /// What to trace, and how.
    pub setup: Setup<'a>,
    /// What to write, and where.
    pub output: &'a OutputArgs,
    /// Called once the probes are attached; the `Vec` of threads it may fill is none of ours.
    pub started: &'a mut dyn FnMut() -> anyhow::Result<()>,
    /// For a run without dashboard that was given no end.
    pub default_duration: Option<Duration>,
    /// Without a dashboard, print one report when the run ends and none before.
    pub one_report: bool,
}

/// Whether such a run draws a dashboard: on a terminal, and nothing else was asked for.
pub fn is_interactive(output: &OutputArgs) -> bool {
    let plain = output.format.is_some() || output.output.is_some() || output.slower_than.is_some();
    !plain && io::stdout().is_terminal() && io::stdin().is_terminal()
}

impl Session<'_> {
    /// Traces until the run ends, and tells what it found.
    ///
    /// # Errors
    /// One sentence about what could not be done; nothing stays attached.
    pub fn run(self) -> anyhow::Result<()> {
        let interactive = is_interactive(self.output);
        let file = OutputFile::open(self.output.output.as_deref())?;
        let stop = if interactive { Arc::default() } else { super::interrupt::catch()? };
        let pace = Pace {
            interval_ns: self.setup.interval_ns(),
            duration: self.setup.run.duration.or(if interactive { None } else { self.default_duration }),
            end_with_targets: self.setup.filter.ends(),
            linger: (self.setup.linger && !interactive).then_some(LINGER),
        };
        let interval_ns = Arc::clone(&pace.interval_ns);
        let json = self.output.format == Some(Format::Json);
        let slow = self.output.slower_than.map(|threshold| SlowWaits::new(threshold, json));
        let mut engine = Engine::start(&self.setup, pace, &stop)?;
        engine.slow = slow;
        (self.started)()?;
        if interactive { self.draw(engine, &stop, interval_ns) } else { self.print(engine, file) }
    }

    /// Without a dashboard: a report each interval, or one into a file at the end, or a line for each slow wait.
    fn print(&self, mut engine: Engine, file: OutputFile) -> anyhow::Result<()> {
        if !self.output.quiet {
            engine.note(&format!("tracing {}", self.setup.target.label));
        }
        let to_stdout = file.is_none() && self.output.slower_than.is_none();
        let mut failed = None;
        if let Some(slow) = &engine.slow {
            slow.write_header(&mut io::stdout().lock())?;
        }
        loop {
            let end = engine.step(&mut |line| {
                let mut out = io::stdout().lock();
                if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush()) {
                    failed.get_or_insert(error);
                }
            })?;
            if let Some(error) = failed {
                return Err(anyhow!(error).context("cannot write to standard output"));
            }
            if to_stdout && (end.is_some() || !self.one_report) {
                self.write(&engine.model.snapshot(), &mut io::stdout().lock())
                    .context("cannot write to standard output")?;
            }
            if end.is_some() {
                break;
            }
        }
        let last = engine.model.snapshot();
        file.finish(|out| self.write(&last, out))?;
        if !self.output.quiet || last.loss.records_lost > 0 {
            self.closing_note(&last, &engine);
        }
        Ok(())
    }

    fn write(&self, snapshot: &Snapshot, out: &mut dyn Write) -> anyhow::Result<()> {
        // In one piece, so that a reader that stops in the middle costs one write.
        let mut buffer = Vec::new();
        match self.output.format.unwrap_or_default() {
            Format::Json => report::json::write(snapshot, &mut buffer)?,
            Format::Text => report::text::write(snapshot, &self.text_options(), &mut buffer)?,
        }
        out.write_all(&buffer)?;
        out.flush()?;
        Ok(())
    }

    fn text_options(&self) -> TextOptions {
        let to_terminal = self.output.output.is_none() && io::stdout().is_terminal();
        let color = match self.output.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => to_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        };
        let width = if to_terminal { crossterm::terminal::size().map_or(120, |(columns, _)| columns) } else { 120 };
        TextOptions { top: self.output.top, sort: self.output.sort, width: usize::from(width), color }
    }

    fn closing_note(&self, last: &Snapshot, engine: &Engine) {
        let why = match engine.live.end() {
            Some(End::TargetsGone) => "every target has exited",
            Some(End::Duration) => "the time is over",
            _ => "stopped",
        };
        let late = match engine.live.late() {
            0 => String::new(),
            n => format!(", {} out of order", text::count(n)),
        };
        let refused = match last.refused_threads {
            0 => String::new(),
            n => format!(", {} threads could not be tracked", text::count(n)),
        };
        let _ = writeln!(
            io::stderr(),
            "numatrace: {why} after {}: {} records, {} lost{late}{refused}",
            text::duration(last.duration_ns),
            text::count(last.loss.records_wanted),
            text::count(last.loss.records_lost),
        );
    }

    /// The dashboard: the engine works on a thread of its own, the terminal on this one.
    fn draw(&self, engine: Engine, stop: &Arc<AtomicBool>, interval_ns: Arc<AtomicU64>) -> anyhow::Result<()> {
        let (sender, feed) = channel();
        let options =
            tui::Options { interval_ns: Some(interval_ns), ..tui::Options::new(self.setup.target.label.clone()) };
        std::thread::scope(|scope| {
            let worker = std::thread::Builder::new()
                .name("numatrace-engine".into())
                .spawn_scoped(scope, move || advance(engine, &sender))
                .context("cannot start a thread")?;
            let result = tui::run(&feed, &options);
            stop.store(true, Ordering::Relaxed);
            if let Err(panic) = worker.join() {
                std::panic::resume_unwind(panic);
            }
            match result? {
                tui::Exit::Quit | tui::Exit::Signal(_) => Ok(()),
                tui::Exit::Failed(why) => Err(anyhow!(why)),
            }
        })
    }
}

/// Feeds the dashboard until the run ends or the dashboard is gone.
fn advance(mut engine: Engine, sender: &Sender<UiMessage>) {
    loop {
        let message = match engine.step(&mut |_| {}) {
            Ok(end) => {
                let snapshot = UiMessage::Snapshot(Arc::new(engine.model.snapshot()));
                if sender.send(snapshot).is_err() {
                    return;
                }
                match end {
                    None => continue,
                    Some(End::TargetsGone) => UiMessage::Ended("every target has exited".into()),
                    Some(End::Duration) => UiMessage::Ended("the time is over".into()),
                    Some(End::Stopped) => return,
                }
            }
            Err(error) => UiMessage::Failed(format!("{error:#}")),
        };
        // The dashboard may be gone already.
        let _ = sender.send(message);
        return;
    }
}
