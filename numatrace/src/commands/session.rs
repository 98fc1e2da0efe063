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

use crate::{
    cli::{FindingArgs, Format, LookArgs, OutputArgs, RunArgs},
    collect::live::{End, Pace},
    config::{Config, Refused},
    findings::{self, Settings},
    report,
    rights::{self, Needs, Role},
    snapshot::Snapshot,
    text,
    tui::{self, Recording, UiMessage},
};

use super::{
    engine::{Engine, Setup},
    output::{OutputFile, text_options},
    slow::SlowWaits,
};

/// A run that is set up: what to trace and where to tell it.
pub struct Session<'a> {
    /// What to trace, and how.
    pub setup: Setup<'a>,
    /// What the run needs once it is attached.
    pub needs: Needs,
    /// What to write, and where.
    pub output: &'a OutputArgs,
    /// Called once the probes are attached; the `Vec` of threads it may fill is none of ours.
    pub started: &'a mut dyn FnMut() -> anyhow::Result<()>,
    /// For a run without dashboard that was given no end.
    pub default_duration: Option<Duration>,
    /// Without a dashboard, print one report when the run ends and none before.
    pub one_report: bool,
    /// How the dashboard is wanted; `None` where none is drawn.
    pub config: Option<Config>,
    /// From which numbers on a report has findings.
    pub findings: Settings,
}

/// The configuration of a run that draws a dashboard, and for all the limits of findings. A file that was named is to be right
/// in any case.
///
/// # Errors
/// When its file cannot be used.
pub fn config(
    look: &LookArgs,
    findings: &FindingArgs,
    run: &RunArgs,
    output: &OutputArgs,
) -> Result<(Option<Config>, Settings), Refused> {
    if !is_interactive(output) {
        return Ok((None, super::config::findings(look.config.as_deref(), findings)?));
    }
    let config = super::config::load(look, findings, run.interval, output.sort)?;
    let findings = config.findings();
    Ok((Some(config), findings))
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
        let interactive = self.config.is_some();
        rights::begin(self.needs);
        let file = OutputFile::open(self.output.output.as_deref())?;
        let stop = if interactive { Arc::default() } else { super::interrupt::catch()? };
        let duration = self.setup.run.duration.or(if interactive { None } else { self.default_duration });
        let mut pace = Pace { interval_ns: self.interval_ns(), ..self.setup.pace(duration) };
        if interactive {
            pace.linger = None;
        }
        let interval_ns = Arc::clone(&pace.interval_ns);
        let json = self.output.format == Some(Format::Json);
        let slow = self.output.slower_than.map(|threshold| SlowWaits::new(threshold, json, &self.setup.machine));
        let mut engine: Engine = Engine::start(&self.setup, pace, &stop)?;
        engine.slow = slow;
        (self.started)()?;
        rights::settle(Role::Engine)?;
        match &self.config {
            Some(config) => self.draw(engine, &stop, interval_ns, config),
            None => self.print(engine, file),
        }
    }

    /// Time between numbers.
    fn interval_ns(&self) -> Arc<AtomicU64> {
        let run = self.setup.interval_ns();
        if let Some(config) = &self.config {
            let ns = u64::try_from(config.interval.value.as_nanos()).unwrap_or(u64::MAX);
            run.store(ns, Ordering::Relaxed);
        }
        run
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
                self.write(&self.told(&engine), &mut io::stdout().lock()).context("cannot write to standard output")?;
            }
            if end.is_some() {
                break;
            }
        }
        let last = self.told(&engine);
        file.finish(|out| self.write(&last, out))?;
        if !self.output.quiet || last.loss.records_lost > 0 {
            self.closing_note(&last, &engine);
        }
        Ok(())
    }

    /// The numbers since the start, and what they say.
    fn told(&self, engine: &Engine) -> Snapshot {
        let mut snapshot = engine.model.snapshot();
        snapshot.findings = findings::look_once(&snapshot, &self.findings);
        snapshot
    }

    fn write(&self, snapshot: &Snapshot, out: &mut dyn Write) -> anyhow::Result<()> {
        // In one piece, so that a reader that stops in the middle costs one write.
        let mut buffer = Vec::new();
        match self.output.format.unwrap_or_default() {
            Format::Json => report::json::write(snapshot, &mut buffer)?,
            Format::Text => report::text::write(
                snapshot,
                &text_options(
                    self.output.color,
                    self.output.sort.unwrap_or_default(),
                    self.output.top,
                    self.output.output.is_none(),
                ),
                &mut buffer,
            )?,
        }
        out.write_all(&buffer)?;
        out.flush()?;
        Ok(())
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
    fn draw(
        &self,
        engine: Engine,
        stop: &Arc<AtomicBool>,
        interval_ns: Arc<AtomicU64>,
        config: &Config,
    ) -> anyhow::Result<()> {
        let (sender, feed) = channel();
        let record = Arc::new(AtomicBool::new(false));
        let options = tui::Options {
            interval_ns: Some(interval_ns),
            record: Some(Arc::clone(&record)),
            place: tui::Place { owner: super::recording::owner(), ..tui::Place::default() },
            ..config.options(self.setup.target.label.clone())
        };
        std::thread::scope(|scope| {
            let worker = std::thread::Builder::new()
                .name("numatrace-engine".into())
                .spawn_scoped(scope, move || Advance { engine, record, sender, ended: None }.run())
                .context("cannot start a thread")?;
            // The engine is on its way with what it needs.
            let confined = rights::settle(Role::Render).map_err(anyhow::Error::new);
            let result = confined.and_then(|()| tui::run(&feed, &options));
            stop.store(true, Ordering::Relaxed);
            let recorded = match worker.join() {
                Ok(recorded) => recorded,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            // The terminal is the user's again.
            match recorded {
                Some(Recording::Ended { path, bytes }) => {
                    let bytes = text::bytes(bytes);
                    let _ = writeln!(io::stderr(), "numatrace: recorded {bytes} into {path}: numatrace report {path}");
                }
                Some(Recording::Failed(why)) => return Err(anyhow!(why)),
                _ => {}
            }
            match result? {
                tui::Exit::Quit | tui::Exit::Signal(_) => Ok(()),
                tui::Exit::Failed(why) => Err(anyhow!(why)),
            }
        })
    }
}

/// What feeds the dashboard.
struct Advance {
    engine: Engine,
    /// A recording is wanted.
    record: Arc<AtomicBool>,
    sender: Sender<UiMessage>,
    /// The last recording, once it has ended.
    ended: Option<Recording>,
}

impl Advance {
    /// Until the run ends or the dashboard is gone. What the last recording came to, if there was one.
    fn run(mut self) -> Option<Recording> {
        let last = loop {
            match self.step() {
                Ok(None) => {}
                Ok(Some(End::TargetsGone)) => break Some(UiMessage::Ended("every target has exited".into())),
                Ok(Some(End::Duration)) => break Some(UiMessage::Ended("the time is over".into())),
                Ok(Some(End::Stopped)) => break None,
                Err(error) => {
                    self.end_recording(None);
                    break Some(UiMessage::Failed(format!("{error:#}")));
                }
            }
        };
        // The dashboard may be gone already.
        last.map(|message| self.sender.send(message));
        self.ended
    }

    /// Goes on to the next tick, at which a recording can begin or end, and tells.
    fn step(&mut self) -> anyhow::Result<Option<End>> {
        let end = self.engine.to_tick(&mut |_| {})?;
        let wanted = self.record.load(Ordering::Relaxed) && end.is_none();
        if wanted && self.engine.recording.is_none() {
            self.begin_recording();
        }
        self.engine.look_up();
        let failed = self.engine.recording.as_ref().is_some_and(super::recording::Recording::has_failed);
        if failed || !wanted {
            self.end_recording(Some(end.unwrap_or(End::Stopped)));
        } else if let Some(recording) = &self.engine.recording {
            let (bytes, _) = recording.written();
            self.tell(UiMessage::Recording(Recording::On { path: recording.path().into(), bytes }));
        }
        let snapshot = Arc::new(self.engine.model.snapshot());
        let gone = self.sender.send(UiMessage::Snapshot(snapshot)).is_err();
        if gone && end.is_none() {
            self.end_recording(Some(End::Stopped));
            return Ok(Some(End::Stopped));
        }
        Ok(end)
    }

    fn begin_recording(&mut self) {
        self.ended = None;
        if let Err(error) = self.engine.begin_recording() {
            self.record.store(false, Ordering::Relaxed);
            self.tell(UiMessage::Recording(Recording::Failed(format!("{error:#}"))));
        }
    }

    /// Ends the recording, where there is one, because the run ended in this way, or failed.
    fn end_recording(&mut self, end: Option<End>) {
        let Some(recording) = self.engine.recording.take() else { return };
        self.record.store(false, Ordering::Relaxed);
        let path = recording.path().to_owned();
        let ended = match recording.finish(end) {
            Ok((_, written)) => Recording::Ended { path, bytes: written.bytes },
            Err(error) => Recording::Failed(format!("{error:#}")),
        };
        self.ended = Some(ended.clone());
        self.tell(UiMessage::Recording(ended));
    }

    /// The dashboard may be gone already.
    fn tell(&self, message: UiMessage) {
        let _ = self.sender.send(message);
    }
}
