//! One traced run, whatever the target: probes, model, and where the numbers go. Shared by `live` and `demo`.

use std::{
    io::{self, IsTerminal, Write},
    path::Path,
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
    cli::{Format, Hooks, OutputArgs, RunArgs, TraceArgs},
    collect::{
        hooks::Flavour,
        live::{End, Live, Pace},
        load::{DEFAULT_MAX_TASKS, Plan},
        system,
    },
    decode::decode,
    model::{Limits, Meta, Model},
    report::{self, text::TextOptions},
    snapshot::{Snapshot, SourceState, Target},
    source::{Source, SourceStatus},
    target::Filter,
    text,
    topology::Topology,
    tui::{self, UiMessage},
};

use super::{output::OutputFile, slow::SlowWaits};

/// Bytes of a ring when the drain threads run at real-time priority, and when they do not.
const RING_BYTES: (u32, u32) = (4 << 20, 32 << 20);
/// How long a command may take to end by itself once the run was told to stop.
const LINGER: Duration = Duration::from_secs(10);
/// Names of threads that are no targets, looked up on each tick at most.
const NAMES_PER_TICK: usize = 64;
/// Threads whose policy, priority and allowed CPUs are read on each tick at most. With more, each has its turn.
const ATTRIBUTES_PER_TICK: usize = 256;

/// Threads whose cgroup is read on each tick at most. With more, each has its turn.
const CGROUPS_PER_TICK: usize = 64;

/// A run that is set up: what to trace and where to tell it.
pub struct Session<'a> {
    /// The target as reports show it.
    pub target: Target,
    /// What the probes take.
    pub filter: Filter,
    /// The target is a command that we started: when told to stop, see it end first.
    pub linger: bool,
    /// How long and how often.
    pub run: &'a RunArgs,
    /// What to write, and where.
    pub output: &'a OutputArgs,
    /// How to trace.
    pub trace: &'a TraceArgs,
    /// Called once the probes are attached; the `Vec` of threads it may fill is none of ours.
    pub started: &'a mut dyn FnMut() -> anyhow::Result<()>,
    /// For a run without dashboard that was given no end.
    pub default_duration: Option<Duration>,
    /// Without a dashboard, print one report when the run ends and none before.
    pub one_report: bool,
}

/// The engine: source and model, advanced from tick to tick.
struct Engine {
    live: Live,
    model: Model,
    slow: Option<SlowWaits>,
    undecodable: u64,
}

impl Engine {
    /// Goes on to the next tick. `Some(end)` with the last one.
    fn step(&mut self, lines: &mut dyn FnMut(&str)) -> anyhow::Result<Option<End>> {
        let Engine { live, model, slow, undecodable } = self;
        let status = live.next_batch(&mut |record| match decode(record) {
            Ok(event) => {
                model.apply(&event);
                if let Some(slow) = slow {
                    slow.apply(&event, model, lines);
                }
            }
            Err(_) => model.note_undecodable(1),
        })?;
        let pieces = live.undecodable();
        model.note_undecodable(pieces - *undecodable);
        *undecodable = pieces;
        let unnamed = model.unnamed_tids(NAMES_PER_TICK);
        live.look_up_names(&unnamed, &mut |record| crate::source::apply(record, model));
        let due = model.attributes_due(ATTRIBUTES_PER_TICK);
        live.read_attributes(&due, &mut |record| crate::source::apply(record, model));
        let due = model.cgroups_due(CGROUPS_PER_TICK);
        live.read_cgroups(&due, &mut |record| crate::source::apply(record, model));
        match status {
            SourceStatus::More => Ok(live.end()),
            SourceStatus::Ended => Ok(live.end().or(Some(End::Stopped))),
        }
    }
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
        let topology = Topology::read(Path::new("/sys")).context("cannot learn the machine's CPUs and nodes")?;
        let stop = if interactive { Arc::default() } else { super::interrupt::catch()? };
        let interval_ns = Arc::new(AtomicU64::new(u64::try_from(self.run.interval.as_nanos()).unwrap_or(u64::MAX)));
        let engine = self.start(&topology, &stop, &interval_ns, interactive)?;
        (self.started)()?;
        if interactive { self.draw(engine, &stop, interval_ns) } else { self.print(engine, file) }
    }

    fn start(
        &self,
        topology: &Topology,
        stop: &Arc<AtomicBool>,
        interval_ns: &Arc<AtomicU64>,
        interactive: bool,
    ) -> anyhow::Result<Engine> {
        let ring_bytes = match self.trace.ring_size {
            Some(bytes) => bytes,
            None if system::realtime_allowed() => RING_BYTES.0,
            None => RING_BYTES.1,
        };
        let plan = Plan {
            filter: self.filter.clone(),
            ring_bytes,
            max_tasks: DEFAULT_MAX_TASKS,
            wakers: !self.trace.no_wakers,
            culprits: true,
            flavour: match self.trace.hooks {
                Hooks::Auto => None,
                Hooks::TpBtf => Some(Flavour::TpBtf),
                Hooks::RawTp => Some(Flavour::RawTp),
            },
        };
        let pace = Pace {
            interval_ns: Arc::clone(interval_ns),
            duration: self.run.duration.or(if interactive { None } else { self.default_duration }),
            end_with_targets: self.filter.ends(),
            linger: (self.linger && !interactive).then_some(LINGER),
        };
        let live = Live::start(&plan, topology, pace, Arc::clone(stop))?;
        if self.filter.ends() && live.targets()? == 0 {
            return Err(self.nothing_found());
        }
        let (release, machine) = system::uname();
        let elapsed = system::monotonic_ns() - live.start_ns();
        let meta = Meta {
            host: topology.host(&release, &machine),
            target: self.target.clone(),
            sources: live.sources().to_vec(),
            start_ns: live.start_ns(),
            start_wall_ns: system::realtime_ns() - elapsed,
        };
        let model = Model::new(meta, topology.clone(), Limits::default());
        let json = self.output.format == Some(Format::Json);
        let slow = self.output.slower_than.map(|threshold| SlowWaits::new(threshold, json));
        Ok(Engine { live, model, slow, undecodable: 0 })
    }

    /// The target was there, and the probes found no thread of it.
    fn nothing_found(&self) -> anyhow::Error {
        let label = &self.target.label;
        if self.target.ids.iter().any(|id| Path::new(&format!("/proc/{id}/stat")).exists()) {
            anyhow!(
                "the kernel does not show {label} to BPF (some virtual machines protect their own agents): trace another target"
            )
        } else {
            anyhow!("{label} exited before it could be traced")
        }
    }

    /// Without a dashboard: a report each interval, or one into a file at the end, or a line for each slow wait.
    fn print(&self, mut engine: Engine, file: OutputFile) -> anyhow::Result<()> {
        if !self.output.quiet {
            self.note(&engine);
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

    /// What is traced, and what is missing, on standard error.
    fn note(&self, engine: &Engine) {
        let missing: Vec<&str> = engine
            .live
            .sources()
            .iter()
            .filter(|source| source.state != SourceState::On)
            .map(|source| source.name.as_str())
            .collect();
        let rest = if missing.is_empty() {
            String::new()
        } else {
            format!("; not fully on: {} (numatrace doctor says why)", missing.join(", "))
        };
        // Notes are a courtesy: a closed standard error is no failure.
        let _ = writeln!(io::stderr(), "numatrace: tracing {}{rest}", self.target.label);
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
        let options = tui::Options { interval_ns: Some(interval_ns), ..tui::Options::new(self.target.label.clone()) };
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
