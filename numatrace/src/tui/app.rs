//! The loop: keys and snapshots in, frames out.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use ratatui::Terminal;
use ratatui::backend::Backend;

use super::input::{Found, Input};
use super::signals::Signals;
use super::state::{Action, Key, Status, UiState, update};
use super::terminal::Screen;
use super::theme::{Depth, Theme};
use super::view;
use crate::snapshot::{Host, Loss, Matrices, SCHEMA, Snapshot, Target, ThreadStats, Tool};

/// Least time between two frames.
const FRAME: Duration = Duration::from_millis(100);
/// Longest wait for a key while nothing is to be drawn: so late a snapshot, a signal or a new size can be seen.
const IDLE: Duration = Duration::from_millis(100);
/// Snapshots that are closer together than this (the last one comes right after the one before) are taken as one
/// interval, for rates over less mean nothing.
const MIN_INTERVAL_NS: u64 = 100_000_000;

/// What the engine tells the dashboard.
#[derive(Clone, Debug)]
pub enum UiMessage {
    /// New numbers.
    Snapshot(Arc<Snapshot>),
    /// No more numbers will come; why, as the end of a sentence (`the target has exited`).
    Ended(String),
    /// Tracing failed; why.
    Failed(String),
}

/// Why the dashboard ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The user quit.
    Quit,
    /// A signal asked for it (`SIGHUP` also when the terminal is gone).
    Signal(i32),
    /// The user quit after tracing had failed; why it had.
    Failed(String),
}

/// How to draw, and what to say before the first numbers.
#[derive(Clone, Debug)]
pub struct Options {
    /// The target in words, as in [`Target::label`].
    pub target: String,
    /// Colours.
    pub theme: Theme,
}

impl Options {
    /// For this target, with the colours that the environment asks for.
    pub fn new(target: impl Into<String>) -> Options {
        Options { target: target.into(), theme: Theme::new(Depth::detect(|name| std::env::var(name).ok())) }
    }
}

/// Draws what comes through `feed` until the user quits or a signal comes. When the feed ends the numbers stay.
///
/// # Errors
/// When there is no terminal, or it fails; the screen is restored first.
pub fn run(feed: &Receiver<UiMessage>, options: &Options) -> anyhow::Result<Exit> {
    let mut input = Input::open().context("cannot read keys: no terminal")?;
    match drive(feed, options, &mut input) {
        // Whatever failed first: a terminal that is gone is no failure of ours.
        Err(_) if input.hung_up().unwrap_or(true) => Ok(Exit::Signal(libc::SIGHUP)),
        result => result,
    }
}

fn drive(feed: &Receiver<UiMessage>, options: &Options, input: &mut Input) -> anyhow::Result<Exit> {
    let signals = Signals::catch().context("cannot catch signals")?;
    let mut screen = Screen::take().context("cannot draw on this terminal")?;
    let size = screen.terminal().size().context("cannot tell the size of the terminal")?;
    let mut app = App::new(options, size.width, size.height);
    loop {
        if screen.panicked() {
            bail!("a thread of numatrace panicked");
        }
        match signals.take() {
            Some(libc::SIGTSTP) => app.suspend(&mut screen, &signals)?,
            Some(signal) => return Ok(Exit::Signal(signal)),
            None => {}
        }
        app.receive(feed);
        let now = Instant::now();
        if app.due(now) == Some(Duration::ZERO) {
            app.draw(screen.terminal(), now).context("cannot draw on this terminal")?;
        }
        let keys = match input.wait(app.due(Instant::now()).unwrap_or(IDLE).min(IDLE)) {
            Ok(Found::Keys(keys)) => keys,
            Ok(Found::HungUp) => return Ok(Exit::Signal(libc::SIGHUP)),
            Err(e) => return Err(e).context("cannot read keys"),
        };
        let size = screen.terminal().size().context("cannot tell the size of the terminal")?;
        app.resize(size.width, size.height);
        for key in keys {
            match app.press(key) {
                Action::Quit => return Ok(app.exit()),
                Action::Suspend => app.suspend(&mut screen, &signals)?,
                Action::Repaint => screen.repaint().context("cannot draw on this terminal")?,
                Action::Draw | Action::None => {}
            }
        }
    }
}

/// The last two snapshots: rates are the difference between them.
#[derive(Clone, Debug)]
struct Window {
    before: Option<Arc<Snapshot>>,
    now: Arc<Snapshot>,
}

impl Window {
    fn push(&mut self, next: Arc<Snapshot>) {
        if next.duration_ns >= self.now.duration_ns.saturating_add(MIN_INTERVAL_NS) {
            // The one before the first numbers is made up, and says nothing about a rate.
            let real = self.now.duration_ns > 0;
            self.before = real.then(|| Arc::clone(&self.now));
        }
        self.now = next;
    }
}

/// The dashboard without terminal and time: what a test can drive.
pub struct App {
    state: UiState,
    theme: Theme,
    /// What has come.
    live: Window,
    /// What is shown: the same, or what it was when the user paused.
    shown: Window,
    size: (u16, u16),
    changed: bool,
    drawn: Option<Instant>,
}

impl App {
    /// A dashboard without data, on a terminal of this size.
    pub fn new(options: &Options, width: u16, height: u16) -> App {
        let window = Window { before: None, now: Arc::new(nothing_yet(&options.target)) };
        let mut app = App {
            state: UiState::new(width, height),
            theme: options.theme,
            live: window.clone(),
            shown: window,
            size: (width, height),
            changed: true,
            drawn: None,
        };
        app.show();
        app
    }

    /// What is shown.
    pub fn state(&self) -> &UiState {
        &self.state
    }

    /// Takes everything that has come.
    pub fn receive(&mut self, feed: &Receiver<UiMessage>) {
        loop {
            match feed.try_recv() {
                Ok(message) => self.tell(message),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    // The engine says why before it goes; without that it crashed.
                    if *self.state.status() == Status::Live {
                        self.tell(UiMessage::Failed("the tracer stopped without saying why".into()));
                    }
                    return;
                }
            }
        }
    }

    /// Takes one message.
    pub fn tell(&mut self, message: UiMessage) {
        match message {
            UiMessage::Snapshot(next) => {
                self.live.push(next);
                if !self.state.paused() {
                    self.show();
                }
            }
            UiMessage::Ended(why) => self.end(Status::Ended(why)),
            UiMessage::Failed(why) => self.end(Status::Failed(why)),
        }
    }

    /// Takes a key; says what is left to do.
    pub fn press(&mut self, key: Key) -> Action {
        let paused = self.state.paused();
        let action = update(&mut self.state, key, &self.shown.now);
        self.changed |= action != Action::None;
        if paused && !self.state.paused() {
            self.show();
        }
        action
    }

    /// The terminal has this size.
    pub fn resize(&mut self, width: u16, height: u16) {
        if self.size != (width, height) {
            self.size = (width, height);
            self.state.resize(width, height, &self.shown.now);
            self.changed = true;
        }
    }

    /// How long until a frame is to be drawn; `None` while nothing has changed.
    pub fn due(&self, now: Instant) -> Option<Duration> {
        let since = self.drawn.map(|drawn| now.saturating_duration_since(drawn));
        self.changed.then(|| since.map_or(Duration::ZERO, |since| FRAME.saturating_sub(since)))
    }

    /// Draws a frame.
    ///
    /// # Errors
    /// When the terminal fails.
    pub fn draw<B: Backend>(&mut self, terminal: &mut Terminal<B>, now: Instant) -> Result<(), B::Error> {
        terminal.draw(|frame| view::render(frame, frame.area(), &self.shown.now, &self.state, &self.theme))?;
        self.changed = false;
        self.drawn = Some(now);
        Ok(())
    }

    fn suspend(&mut self, screen: &mut Screen, signals: &Signals) -> anyhow::Result<()> {
        self.changed = true;
        screen.lend(|| signals.stop_self()).context("cannot take the terminal back")
    }

    fn show(&mut self) {
        self.shown = self.live.clone();
        self.state.observe(&self.shown.now, self.shown.before.as_deref());
        self.changed = true;
    }

    fn end(&mut self, status: Status) {
        self.state.set_status(status);
        self.changed = true;
    }

    fn exit(&self) -> Exit {
        match self.state.status() {
            Status::Failed(why) => Exit::Failed(why.clone()),
            Status::Live | Status::Ended(_) => Exit::Quit,
        }
    }
}

/// Stands in until the first snapshot comes.
fn nothing_yet(target: &str) -> Snapshot {
    Snapshot {
        schema: SCHEMA,
        tool: Tool { name: env!("CARGO_PKG_NAME").into(), version: env!("CARGO_PKG_VERSION").into() },
        host: Host::default(),
        target: Target { label: target.into(), ..Target::default() },
        start: String::new(),
        duration_ns: 0,
        sources: Vec::new(),
        loss: Loss::default(),
        totals: ThreadStats::default(),
        threads: Vec::new(),
        dropped_threads: 0,
        refused_threads: 0,
        matrices: Matrices::default(),
        placement_pages: None,
        throttle: None,
        findings: Vec::new(),
    }
}
