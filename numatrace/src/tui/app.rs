//! The loop: keys and snapshots in, frames out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use jiff::Zoned;
use ratatui::backend::{Backend, TestBackend};
use ratatui::{Frame, Terminal};

use super::ascii;
use super::history::{History, Window};
use super::input::{Found, Input};
use super::picture;
use super::preferences::Preferences;
use super::rates::Rates;
use super::recording::Recording;
use super::save::{self, Place};
use super::signals::Signals;
use super::state::{Action, Key, Notice, Shown, Status, UiState, update};
use super::terminal::Screen;
use super::theme::{Depth, Scheme, Theme};
use super::view;
use crate::findings::Findings;
use crate::replay;
use crate::snapshot::{Finding, Snapshot};

/// Least time between two frames.
const FRAME: Duration = Duration::from_millis(100);
/// Longest wait for a key while nothing is to be drawn: so late a snapshot, a signal or a new size can be seen.
const IDLE: Duration = Duration::from_millis(100);
/// Times between numbers that `+` and `-` go through, in ms.
const INTERVALS: [u64; 9] = [100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000];

/// What the engine tells the dashboard.
#[derive(Clone, Debug)]
pub enum UiMessage {
    /// New numbers.
    Snapshot(Arc<Snapshot>),
    /// In a replay: numbers of another time, and those before them, in place of all that came.
    Jumped(Box<History>),
    /// What a replay is doing.
    Replay(replay::Status),
    /// What there is to say of a recording that is made.
    Recording(Recording),
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
    /// Time between numbers in ns, which the engine looks at and the user changes; `None` where it is fixed.
    pub interval_ns: Option<Arc<AtomicU64>>,
    /// Whether a recording is wanted, which the engine looks at and the user changes; `None` where there can be none.
    pub record: Option<Arc<AtomicBool>>,
    /// The player, where this is a replay.
    pub player: Option<Remote>,
    /// Where files of the screen go.
    pub place: Place,
    /// How the user wants it.
    pub preferences: Preferences,
}

/// How to reach the player of a recording.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Takes what the keys ask for.
    pub commands: Sender<replay::Command>,
    /// When was recorded.
    pub span: replay::Span,
}

impl Options {
    /// For this target, with the colours that the environment asks for; nothing of the configuration.
    pub fn new(target: impl Into<String>) -> Options {
        let theme = Theme::new(Depth::detect(|name| std::env::var(name).ok()));
        Options {
            target: target.into(),
            theme,
            interval_ns: None,
            record: None,
            player: None,
            place: Place::default(),
            preferences: Preferences::default(),
        }
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
    if app.mouse {
        screen.set_mouse(true).context("cannot draw on this terminal")?;
    }
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
                Action::Picture => app.save(&Zoned::now()),
                Action::Mouse => screen.set_mouse(app.mouse).context("cannot draw on this terminal")?,
                Action::Repaint => screen.repaint().context("cannot draw on this terminal")?,
                Action::Copy => screen.copy(app.state().clipboard()).context("cannot write to this terminal")?,
                _ => {}
            }
        }
    }
}

/// The dashboard without terminal and time: what a test can drive.
pub struct App {
    state: UiState,
    theme: Theme,
    /// Draw with ASCII alone.
    ascii: bool,
    interval_ns: Option<Arc<AtomicU64>>,
    record: Option<Arc<AtomicBool>>,
    commands: Option<Sender<replay::Command>>,
    /// What has come.
    history: History,
    /// What is shown.
    shown: Arc<Snapshot>,
    /// Stands in while other numbers are made.
    nothing: Arc<Snapshot>,
    /// What was found in it, in which window; numbers of another window are looked at anew.
    findings: (Findings, Window),
    size: (u16, u16),
    place: Place,
    mouse: bool,
    /// The second in which the screen was written last.
    saved: Option<i64>,
    changed: bool,
    drawn: Option<Instant>,
}

impl App {
    /// A dashboard without data, on a terminal of this size.
    pub fn new(options: &Options, width: u16, height: u16) -> App {
        let nothing = Arc::new(Snapshot::nothing_yet(&options.target));
        let mut app = App {
            state: match &options.player {
                Some(player) => UiState::of_replay(width, height, player.span.clone()),
                None => UiState::new(width, height),
            },
            theme: options.theme,
            ascii: options.preferences.ascii,
            interval_ns: options.interval_ns.clone(),
            record: options.record.clone(),
            commands: options.player.as_ref().map(|player| player.commands.clone()),
            history: History::default(),
            shown: Arc::clone(&nothing),
            nothing,
            findings: (Findings::new(options.preferences.findings.clone()), options.preferences.window),
            size: (width, height),
            place: options.place.clone(),
            mouse: options.preferences.mouse,
            saved: None,
            changed: true,
            drawn: None,
        };
        app.state.prefer(&options.preferences);
        if let Some(interval) = &app.interval_ns {
            app.state.set_interval(interval.load(Ordering::Relaxed));
        }
        app.show();
        app
    }

    /// What is shown.
    pub fn state(&self) -> &UiState {
        &self.state
    }

    /// The numbers that are shown.
    pub fn numbers(&self) -> &Snapshot {
        &self.shown
    }

    /// Takes everything that has come.
    pub fn receive(&mut self, feed: &Receiver<UiMessage>) {
        let mut newer = false;
        loop {
            match feed.try_recv() {
                Ok(message) => newer |= self.take(message),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    // The engine says why before it goes; without that it crashed.
                    if *self.state.status() == Status::Live {
                        self.take(UiMessage::Failed("the engine stopped without saying why".into()));
                    }
                    break;
                }
            }
        }
        // A fast replay sends many at once, of which the last alone is seen.
        if newer {
            self.show();
        }
    }

    /// Takes one message.
    pub fn tell(&mut self, message: UiMessage) {
        if self.take(message) {
            self.show();
        }
    }

    /// Whether there are other numbers to show.
    fn take(&mut self, message: UiMessage) -> bool {
        match message {
            UiMessage::Snapshot(next) => {
                self.history.push(next);
                return !self.state.paused();
            }
            UiMessage::Jumped(history) => {
                self.history = *history;
                self.findings.0.forget();
                return true;
            }
            UiMessage::Replay(status) => {
                self.changed |= self.state.replay().is_some_and(|replay| replay.status() != Some(&status));
                self.state.set_replay(status, &self.shown);
            }
            UiMessage::Recording(recording) => {
                self.state.set_recording(recording);
                self.changed = true;
            }
            UiMessage::Ended(why) => self.end(Status::Ended(why)),
            UiMessage::Failed(why) => self.end(Status::Failed(why)),
        }
        false
    }

    /// Takes a key; says what is left to do.
    pub fn press(&mut self, key: Key) -> Action {
        let Some(key) = self.state.keymap().translate(key, self.state.takes_text()) else { return Action::None };
        let choice = self.state.choice();
        let action = update(&mut self.state, key, &self.shown);
        match action {
            Action::Step(by) => self.step(by),
            Action::Pause => self.pause(),
            Action::Theme => self.theme = self.theme.next(),
            Action::Slower => self.change_interval(1),
            Action::Faster => self.change_interval(-1),
            Action::Record => self.record(),
            Action::Mouse => self.switch_mouse(),
            Action::Player(command) => {
                if let Some(commands) = &self.commands {
                    // The player is gone when it failed, which the last line says.
                    let _ = commands.send(command);
                }
            }
            _ => {}
        }
        self.changed |= action != Action::None;
        if choice != self.state.choice() {
            self.show();
        }
        action
    }

    fn newest(&self) -> Option<u64> {
        self.history.newest().map(|(number, _)| number)
    }

    /// Before the first numbers there is nothing to stand still.
    fn pause(&mut self) {
        self.state.look_at(if self.state.paused() { None } else { self.newest() });
    }

    /// Back from the newest numbers pauses; there is nothing to go forward to from there.
    fn step(&mut self, by: i64) {
        let at = self.state.choice().at;
        if let Some(from) = at.or(self.newest().filter(|_| by < 0)) {
            self.state.look_at(self.history.step(from, by));
        }
    }

    /// Whether clicks and the wheel are wanted.
    pub fn mouse(&self) -> bool {
        self.mouse
    }

    fn switch_mouse(&mut self) {
        self.mouse = !self.mouse;
        let said = if self.mouse {
            let key = self.state.keymap().name_of(Key::Char('M'));
            format!("The mouse is taken: {key} gives it back, with Shift it selects text.")
        } else {
            "The mouse is the terminal's again.".into()
        };
        self.state.notify(Notice::Done(said));
    }

    /// Writes the screen to files, and says so.
    pub fn save(&mut self, now: &Zoned) {
        // A key that is held repeats itself.
        let second = now.timestamp().as_second();
        if self.saved.replace(second) == Some(second) {
            return;
        }
        let (width, height) = self.size;
        let Ok(mut terminal) = Terminal::new(TestBackend::new(width, height));
        let Ok(_) = terminal.draw(|frame| self.render(frame));
        let window = if self.theme.scheme() == Scheme::Light { &picture::LIGHT } else { &picture::DARK };
        self.state.notify(match save::save(terminal.backend().buffer(), window, &self.place, now) {
            Ok(stem) => Notice::Done(format!("Saved {stem}.txt and .svg in {}.", self.place.name())),
            Err(why) => Notice::Failed(format!("The screen is not saved: {why}.")),
        });
        self.changed = true;
    }

    /// The engine does it with its next numbers, and says what came of it. One that has ended does not.
    fn record(&mut self) {
        let Some(record) = self.record.as_ref().filter(|_| *self.state.status() == Status::Live) else { return };
        if !record.fetch_xor(true, Ordering::Relaxed) {
            self.state.set_recording(Recording::Asked);
        }
    }

    fn change_interval(&mut self, by: isize) {
        let Some(interval) = &self.interval_ns else { return };
        let now = interval.load(Ordering::Relaxed) / 1_000_000;
        let longer = INTERVALS.iter().position(|ms| *ms > now).unwrap_or(INTERVALS.len() - 1);
        let shorter = INTERVALS.iter().rposition(|ms| *ms < now).unwrap_or(0);
        let next = INTERVALS[if by > 0 { longer } else { shorter }] * 1_000_000;
        interval.store(next, Ordering::Relaxed);
        self.state.set_interval(next);
    }

    /// The terminal has this size.
    pub fn resize(&mut self, width: u16, height: u16) {
        if self.size != (width, height) {
            self.size = (width, height);
            self.state.resize(width, height, &self.shown);
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
        terminal.draw(|frame| self.render(frame))?;
        self.changed = false;
        self.drawn = Some(now);
        Ok(())
    }

    fn render(&self, frame: &mut Frame<'_>) {
        view::render(frame, frame.area(), &self.shown, &self.state, &self.theme);
        if self.ascii {
            ascii::replace(frame.buffer_mut());
        }
    }

    fn suspend(&mut self, screen: &mut Screen, signals: &Signals) -> anyhow::Result<()> {
        self.changed = true;
        screen.lend(|| signals.stop_self()).context("cannot take the terminal back")
    }

    /// Makes the numbers that were chosen, of the snapshots that there are.
    fn show(&mut self) {
        self.changed = true;
        let choice = self.state.choice();
        self.history.hold(choice.at);
        let number = choice.at.or(self.newest());
        let Some((number, now_ns)) = number.and_then(|number| Some((number, self.history.time(number)?))) else {
            let rates = Rates::Shown(Arc::clone(&self.shown));
            self.state.observe(
                &self.shown,
                Shown {
                    rates,
                    p99s: Vec::new(),
                    now_ns: 0,
                    record_rate: None,
                    events: Vec::new(),
                    events_from: None,
                    findings: Vec::new(),
                    findings_of_ns: None,
                },
            );
            return;
        };
        // Those that were shown are let go before others are made of the same size.
        self.shown = Arc::clone(&self.nothing);
        self.state.forget_rates();
        let Some(found) = self.history.numbers(number, choice.window) else { return };
        self.shown = found.numbers;
        let p99s = self.history.p99s(number);
        let (events, events_from) = (self.history.events(number), self.history.events_from(number));
        let (findings, findings_of_ns) = self.look(number, now_ns, choice.window);
        let (rates, record_rate) = (found.rates, found.record_rate);
        let shown = Shown { rates, p99s, now_ns, record_rate, events, events_from, findings, findings_of_ns };
        self.state.observe(&self.shown, shown);
    }

    /// What the numbers say that are shown, of a window that ends at `now_ns` with the snapshot of this number.
    /// And how long that is, where it is not the window that is shown.
    fn look(&mut self, number: u64, now_ns: u64, window: Window) -> (Vec<Finding>, Option<u64>) {
        let about = window.of_findings(now_ns);
        let other = (about != window).then(|| self.history.numbers(number, about)).flatten();
        let of_ns = other.as_ref().map(|other| other.numbers.duration_ns);
        let numbers = other.map_or_else(|| Arc::clone(&self.shown), |other| other.numbers);
        let (findings, of) = &mut self.findings;
        if std::mem::replace(of, window) != window {
            findings.forget();
        }
        (findings.look(&numbers, now_ns), of_ns)
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
