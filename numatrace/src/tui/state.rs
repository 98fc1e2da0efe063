//! What the dashboard is showing, and how keys change it. Pure: no clock, no terminal.

use std::borrow::Cow;
use std::sync::Arc;

use super::history::Window;
use super::keymap::Keymap;
use super::layout::{self, Column};
use super::page::Line;
use super::preferences::Preferences;
use super::rates::Rates;
use super::recording::Recording;
use super::replay::{self, Replay};
use super::rows::{Row, Sort};
use super::table::{Asked, Table};
use super::{cpus, detail, events, findings, help, mouse, nodes, overview};
use crate::replay::{Command, Span, Status as ReplayStatus};
use crate::snapshot::{Finding, GroupBy, Interval, Snapshot, Thread};
use crate::text;
use crate::window::ThreadKey;

/// How many snapshots `<` and `>` go at once.
const STRIDE: i64 = 10;

/// A key, as far as the dashboard tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A character.
    Char(char),
    /// Arrow up.
    Up,
    /// Arrow down.
    Down,
    /// Arrow left.
    Left,
    /// Arrow right.
    Right,
    /// Page up.
    PageUp,
    /// Page down.
    PageDown,
    /// Home.
    Home,
    /// End.
    End,
    /// Enter.
    Enter,
    /// Escape.
    Esc,
    /// Tab.
    Tab,
    /// Tab with Shift.
    BackTab,
    /// Backspace.
    Backspace,
    /// Ctrl-C, which arrives as a key in raw mode.
    Interrupt,
    /// Ctrl-Z.
    Suspend,
    /// Ctrl-L.
    Repaint,
    /// Ctrl with another letter.
    Ctrl(char),
    /// A function key.
    Function(u8),
    /// The left button of the mouse.
    Click {
        /// From the left, 0 is the first.
        column: u16,
        /// From the top, 0 is the first.
        row: u16,
    },
    /// The wheel of the mouse, away from the user.
    WheelUp,
    /// The wheel of the mouse, towards the user.
    WheelDown,
}

/// What the loop has to do after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing: the key means nothing here.
    None,
    /// Draw.
    Draw,
    /// Draw every cell anew: something else wrote on the terminal.
    Repaint,
    /// Give the terminal back and stop the process.
    Suspend,
    /// Look at the numbers so many snapshots after the ones shown (before them: negative).
    Step(i64),
    /// Stop following the newest numbers, or go on.
    Pause,
    /// The next set of colours.
    Theme,
    /// A longer interval between numbers.
    Slower,
    /// A shorter one.
    Faster,
    /// Begin a recording, or end it.
    Record,
    /// Write the screen to files.
    Picture,
    /// Take clicks and the wheel from the terminal, or leave them to it.
    Mouse,
    /// Put [`UiState::clipboard`] on the clipboard.
    Copy,
    /// Tell the player of the recording.
    Player(Command),
    /// End.
    Quit,
}

/// Whether more numbers will come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// Yes.
    #[default]
    Live,
    /// No, tracing has ended; why.
    Ended(String),
    /// No, tracing has failed; why.
    Failed(String),
}

/// What came of a key, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// It is done.
    Done(String),
    /// It could not be done; why.
    Failed(String),
}

impl Notice {
    /// The words alone.
    pub fn words(&self) -> &str {
        match self {
            Notice::Done(words) | Notice::Failed(words) => words,
        }
    }
}

/// Where the numbers come from: keys that have no meaning there do nothing, and the help does not name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A target that is traced now.
    Live,
    /// A recording.
    Replay,
}

/// A view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tab {
    /// The target as a whole.
    #[default]
    Overview,
    /// One row a thread.
    Threads,
    /// Everything about one thread.
    Thread,
    /// Node by node.
    Nodes,
    /// Who ran where, lately.
    Cpus,
    /// The last events.
    Events,
}

impl Tab {
    /// All of them, in the order of their digits.
    pub const ALL: [Tab; 6] = [Tab::Overview, Tab::Threads, Tab::Thread, Tab::Nodes, Tab::Cpus, Tab::Events];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Tab::Overview => "Overview",
            Tab::Threads => "Threads",
            Tab::Thread => "Thread",
            Tab::Nodes => "Nodes",
            Tab::Cpus => "CPUs",
            Tab::Events => "Events",
        }
    }

    fn step(self, by: usize) -> Tab {
        let at = Tab::ALL.iter().position(|tab| *tab == self).unwrap_or(0);
        Tab::ALL[(at + by) % Tab::ALL.len()]
    }
}

/// Which of all numbers are shown: when it changes, they are made anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Which stretch of time.
    pub window: Window,
    /// In which groups threads are listed, if in any.
    pub grouping: Option<GroupBy>,
    /// The snapshot that is looked at, by its number; `None` follows the newest.
    pub at: Option<u64>,
}

/// The numbers that are shown, beside the snapshot itself.
#[derive(Clone, Debug)]
pub struct Shown {
    /// What happened in the stretch of time that rates are over.
    pub rates: Rates,
    /// 99th percentile of the waits of each interval, oldest first.
    pub p99s: Vec<Option<u64>>,
    /// Time from the start of tracing to these numbers.
    pub now_ns: u64,
    /// Records a second that the probes wanted to write, in that stretch.
    pub record_rate: Option<f64>,
    /// The last events up to these numbers, by interval, oldest first.
    pub events: Vec<Arc<Interval>>,
    /// Where earlier events were, and are not kept any more: time of the oldest one that is, ns.
    pub events_from: Option<u64>,
    /// What was found in these numbers, worst first.
    pub findings: Vec<Finding>,
    /// Length of the stretch of time that they are of, where it is not the window that is shown.
    pub findings_of_ns: Option<u64>,
}

/// What is shown.
#[derive(Clone, Debug)]
pub struct UiState {
    /// Columns of the terminal.
    width: u16,
    /// Lines of the terminal.
    height: u16,
    tab: Tab,
    choice: Choice,
    shown: Shown,
    /// The table of threads.
    table: Table,
    /// The thread whose detail is shown.
    opened: Option<ThreadKey>,
    /// The view that it was opened in.
    opened_in: Tab,
    help: bool,
    help_first: usize,
    help_lines: usize,
    /// First line shown of a page, which is any view but the table, and how many there are.
    page_first: usize,
    page_lines: usize,
    status: Status,
    interval_ns: Option<u64>,
    /// The recording that is shown, where there is one.
    replay: Option<Replay>,
    /// The recording that is made.
    recording: Option<Recording>,
    /// What came of the last key, until the next one.
    notice: Option<Notice>,
    /// What was copied last.
    clipboard: String,
    keymap: Arc<Keymap>,
    cpus: cpus::Cpus,
    events: events::Events,
    found: findings::Found,
}

impl UiState {
    /// The state of a dashboard on a terminal of this size, before any data.
    pub fn new(width: u16, height: u16) -> UiState {
        UiState {
            width,
            height,
            tab: Tab::default(),
            choice: Choice::default(),
            shown: Shown {
                rates: Snapshot::nothing_yet("").into(),
                p99s: Vec::new(),
                now_ns: 0,
                record_rate: None,
                events: Vec::new(),
                events_from: None,
                findings: Vec::new(),
                findings_of_ns: None,
            },
            table: Table::new(width, height),
            opened: None,
            opened_in: Tab::Threads,
            help: false,
            help_first: 0,
            help_lines: 0,
            page_first: 0,
            page_lines: 0,
            status: Status::Live,
            interval_ns: None,
            replay: None,
            recording: None,
            notice: None,
            clipboard: String::new(),
            keymap: Arc::default(),
            cpus: cpus::Cpus::default(),
            events: events::Events::default(),
            found: findings::Found::default(),
        }
    }

    /// The same for a dashboard over a recording.
    pub fn of_replay(width: u16, height: u16, span: Span) -> UiState {
        UiState { replay: Some(Replay::new(span)), ..UiState::new(width, height) }
    }

    /// Begins as the user wants it.
    pub fn prefer(&mut self, preferences: &Preferences) {
        self.keymap = Arc::clone(&preferences.keymap);
        self.tab = preferences.tab;
        self.choice.window = preferences.window;
        self.table.sort_first_by(preferences.sort);
        self.table.set_columns(preferences.columns.clone());
    }

    /// Which keys do what.
    pub fn keymap(&self) -> &Keymap {
        &self.keymap
    }

    /// Text is typed: keys are what they are.
    pub fn takes_text(&self) -> bool {
        self.editing() || self.replay.as_ref().is_some_and(|replay| replay.prompt().is_some())
    }

    /// `numbers` are shown from here on.
    pub fn observe(&mut self, numbers: &Snapshot, mut shown: Shown) {
        self.table.observe(numbers, &shown.rates, self.choice.grouping);
        self.found.observe(std::mem::take(&mut shown.findings), shown.now_ns);
        self.shown = shown;
        self.measure(numbers);
        self.follow(numbers);
    }

    /// Lets the rates go that are shown: others are made.
    pub(super) fn forget_rates(&mut self) {
        self.shown.rates = Snapshot::nothing_yet("").into();
    }

    /// Makes anew what only its own view shows.
    fn follow(&mut self, numbers: &Snapshot) {
        let (room, lines) = (self.map_room(), layout::page_rows(self.height));
        match self.tab {
            Tab::Cpus => self.cpus.observe(numbers, self.shown.now_ns, self.table.chosen_thread(), room),
            Tab::Events => {
                self.events.observe(self.shown.events.clone(), self.shown.events_from, numbers, lines);
            }
            _ => {}
        }
    }

    /// Looks at the snapshot with this number; `None` follows the newest.
    pub fn look_at(&mut self, number: Option<u64>) {
        self.choice.at = number;
    }

    /// The terminal has another size; `now` is the snapshot that was observed last.
    pub fn resize(&mut self, width: u16, height: u16, now: &Snapshot) {
        (self.width, self.height) = (width, height);
        self.table.resize(width, height);
        self.measure(now);
        self.events.show_selected(layout::page_rows(height));
        if self.tab == Tab::Cpus {
            self.cpus.resize(now, self.map_room());
        }
    }

    /// No more numbers will come, or they will.
    pub fn set_status(&mut self, status: Status) {
        self.status = status;
    }

    /// The player does this; `now` is the snapshot that was observed last.
    pub fn set_replay(&mut self, status: ReplayStatus, now: &Snapshot) {
        if let Some(replay) = &mut self.replay {
            // The help has what of the recording is missing.
            if replay.set_status(status) {
                self.measure(now);
            }
        }
    }

    /// The recording; `None` where numbers are live.
    pub fn replay(&self) -> Option<&Replay> {
        self.replay.as_ref()
    }

    /// What there is to say of a recording that is made.
    pub fn set_recording(&mut self, recording: Recording) {
        self.recording = Some(recording);
    }

    /// The recording that is made, or was.
    pub fn recording(&self) -> Option<&Recording> {
        self.recording.as_ref()
    }

    /// Says what came of a key, until the next one.
    pub fn notify(&mut self, notice: Notice) {
        self.notice = Some(notice);
    }

    /// What came of the last key, where there is something to say.
    pub fn notice(&self) -> Option<&Notice> {
        self.notice.as_ref()
    }

    /// Where the numbers come from.
    pub fn mode(&self) -> Mode {
        if self.replay.is_some() { Mode::Replay } else { Mode::Live }
    }

    /// Numbers come this often.
    pub fn set_interval(&mut self, ns: u64) {
        self.interval_ns = Some(ns);
    }

    /// Time between numbers, where it is known.
    pub fn interval_ns(&self) -> Option<u64> {
        self.interval_ns
    }

    /// The view that is shown.
    pub fn tab(&self) -> Tab {
        self.tab
    }

    /// Which numbers are shown.
    pub fn choice(&self) -> Choice {
        self.choice
    }

    /// The numbers that are shown, beside the snapshot itself.
    pub fn shown(&self) -> &Shown {
        &self.shown
    }

    /// What was found in the numbers that are shown.
    pub fn found(&self) -> &findings::Found {
        &self.found
    }

    /// The same, to be changed.
    pub(super) fn table_mut(&mut self) -> &mut Table {
        &mut self.table
    }

    /// The table of threads.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Positions of what the table lists, in order: threads have those of `Snapshot::threads`, groups the ones that follow.
    pub fn order(&self) -> &[usize] {
        self.table.order()
    }

    /// The rates of the thread or the group at this position.
    pub fn row(&self, at: usize) -> Option<&Row> {
        self.table.row(at)
    }

    /// How many threads the snapshot has.
    pub fn thread_count(&self) -> usize {
        self.table.thread_count()
    }

    /// Position in [`UiState::order`] of the selected row; `None` when nothing is listed.
    pub fn selected(&self) -> Option<usize> {
        self.table.selected()
    }

    /// Position in [`UiState::order`] of the first row that is shown.
    pub fn first(&self) -> usize {
        self.table.first()
    }

    /// The columns that are shown.
    pub fn columns(&self) -> Vec<layout::Placed> {
        self.table.columns()
    }

    /// Shows these columns in this order; those that fit where there are none.
    pub fn set_columns(&mut self, columns: Vec<Column>) {
        self.table.set_columns(columns);
    }

    /// The user's own choice of columns; `None` for those that fit.
    pub fn own_columns(&self) -> Option<&[Column]> {
        self.table.own_columns()
    }

    /// How the list is sorted.
    pub fn sort(&self) -> Sort {
        self.table.sort()
    }

    /// The filter that is in force, as it was typed; empty for all.
    pub fn filter(&self) -> &str {
        self.table.filter_text()
    }

    /// The filter is being typed.
    pub fn editing(&self) -> bool {
        self.typed().is_some()
    }

    /// The filter that is being typed, and what is wrong with it.
    pub fn typed(&self) -> Option<(&str, Option<&str>)> {
        if self.events.editing() { Some((self.events.filter(), self.events.wrong())) } else { self.table.typed() }
    }

    /// What was copied last.
    pub fn clipboard(&self) -> &str {
        &self.clipboard
    }

    /// The help is shown, from this line on.
    pub fn help(&self) -> Option<usize> {
        self.help.then_some(self.help_first)
    }

    /// The help in lines.
    pub fn help_text(&self, numbers: &Snapshot) -> Vec<help::HelpLine> {
        let incomplete = self.replay.as_ref().and_then(Replay::incomplete);
        let about = match self.tab {
            Tab::Threads => help::About::Table(self.table.sort().column),
            Tab::Cpus | Tab::Events => help::About::Lists,
            _ => help::About::All,
        };
        help::lines_with(&self.keymap, self.mode(), incomplete, about, numbers, self.width)
    }

    /// Columns of the terminal.
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Lines of the terminal.
    pub fn height(&self) -> u16 {
        self.height
    }

    /// The first line shown of a page, which is any view but the table, and how many lines there are.
    pub fn page(&self) -> (usize, usize) {
        (self.page_first, self.page_lines)
    }

    /// New snapshots are kept back.
    pub fn paused(&self) -> bool {
        self.choice.at.is_some()
    }

    /// Whether more numbers will come.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Records a second, in the stretch of time that rates are over.
    pub fn record_rate(&self) -> Option<f64> {
        self.shown.record_rate
    }

    /// The window in words: `since the start`, `last 10.0s`.
    pub fn window_name(&self, numbers: &Snapshot) -> String {
        match self.choice.window {
            Window::Start => "since the start".into(),
            _ => format!("last {}", text::duration(numbers.duration_ns)),
        }
    }

    /// The window that findings are of, where it is not the one that is shown.
    fn findings_of(&self) -> Option<String> {
        self.shown.findings_of_ns.map(|ns| format!("of the last {}", text::duration(ns)))
    }

    /// The Overview in lines, or the page of a finding that is opened there.
    pub fn overview(&self, numbers: &Snapshot) -> Vec<Line> {
        let window = self.window_name(numbers);
        if let Some(page) = self.found.page(self.findings_of().as_deref().unwrap_or(&window), self.width.into()) {
            return page;
        }
        let listed = self.found.list(self.findings_of().as_deref(), self.width.into(), self.finding_rows());
        let content = overview::Content {
            numbers,
            rates: self.shown.rates.head(),
            p99s: &self.shown.p99s,
            window: &window,
            height: self.height,
        };
        let mut lines: Vec<Line> = listed.into_iter().map(|listed| listed.line).collect();
        lines.extend(overview::lines(&content, self.width));
        lines
    }

    /// Lines that the list of findings may take: numbers are on the first page too, where that has the room.
    fn finding_rows(&self) -> usize {
        const LEAST: usize = 6;
        let rows = layout::page_rows(self.height);
        (rows / 2).max(rows.min(LEAST))
    }

    /// The detail of the opened thread in lines; `None` when it is not there (any more).
    pub fn detail(&self, numbers: &Snapshot) -> Option<Vec<Line>> {
        let (thread, rates) = match self.opened.and_then(|key| self.table.group(key)) {
            Some(group) => (&group.thread, Cow::Borrowed(&group.rates)),
            None => {
                let rates = self.opened.and_then(|key| self.shown.rates.of(key)).unwrap_or_default();
                (self.opened_thread(numbers)?, rates)
            }
        };
        let window = self.window_name(numbers);
        let content = detail::Content {
            thread,
            rates: &rates,
            stretch: self.shown.rates.head(),
            host: &numbers.host,
            now_ns: self.shown.now_ns,
            window: &window,
        };
        Some(detail::lines(&content, self.width))
    }

    /// The nodes in lines.
    pub fn nodes(&self, numbers: &Snapshot) -> Vec<Line> {
        let window = self.window_name(numbers);
        nodes::lines(&nodes::Content { numbers, rates: self.shown.rates.head(), window: &window }, self.width)
    }

    /// The map of CPUs in lines, or a sentence that says why there is none.
    ///
    /// # Errors
    /// The sentence.
    pub fn cpus(&self, numbers: &Snapshot) -> Result<Vec<Vec<cpus::Piece>>, String> {
        match self.cpus.why_not(numbers, &self.keymap) {
            Some(why) => Err(why),
            None => Ok(self.cpus.lines(numbers, self.map_room())),
        }
    }

    /// Where the cursor of the map is.
    pub fn cpus_place(&self) -> Option<(usize, usize, usize)> {
        self.cpus.place()
    }

    /// The events in lines, and which of these is selected.
    pub fn event_lines(&self, numbers: &Snapshot) -> (Vec<Line>, Option<usize>) {
        self.events.lines(numbers, self.width, layout::page_rows(self.height), &self.keymap)
    }

    /// How many events are listed, which one is selected, and the first that is shown.
    pub fn events_place(&self) -> (usize, usize, usize) {
        self.events.place()
    }

    /// What listed events match; empty for all.
    pub fn events_filter(&self) -> &str {
        self.events.filter()
    }

    /// How far back the map reaches, ns.
    pub fn cpus_reach_ns(&self) -> u64 {
        self.cpus.reach_ns()
    }

    /// Puts the cursor of the map, of the events, or of the findings, there: see [`cpus::Cpus::point`].
    pub(super) fn point(&mut self, column: usize, line: usize, numbers: &Snapshot) -> Option<bool> {
        let room = self.map_room();
        match self.tab {
            Tab::Cpus if self.cpus(numbers).is_ok() => self.cpus.point(column, line, numbers, room),
            Tab::Events => self.events.point(line, room.lines),
            Tab::Overview if self.found.opened().is_none() && line < room.lines => {
                let listed = self.found.list(self.findings_of().as_deref(), self.width.into(), self.finding_rows());
                let at = listed.get(self.page_first + line)?.at?;
                let again = self.found.selected() == Some(at);
                self.found.select(at);
                self.measure(numbers);
                Some(again)
            }
            _ => None,
        }
    }

    fn map_room(&self) -> cpus::Room {
        cpus::Room { width: self.width, lines: layout::page_rows(self.height) }
    }

    /// The thread that was opened, or would be.
    pub fn opened(&self) -> Option<ThreadKey> {
        self.opened
    }

    fn opened_thread<'a>(&self, snapshot: &'a Snapshot) -> Option<&'a Thread> {
        let opened = self.opened?;
        crate::window::keyed(&snapshot.threads).find(|(key, _)| *key == opened).map(|(_, thread)| thread)
    }

    /// Shows a view. The detail is that of the selected thread, which then stays selected.
    pub(super) fn open(&mut self, tab: Tab, snapshot: &Snapshot) {
        if tab == Tab::Thread {
            if self.tab != Tab::Thread {
                self.opened_in = Tab::Threads;
            }
            self.table.pin();
            self.opened = self.table.selected_key();
        }
        self.found.close();
        (self.tab, self.page_first) = (tab, 0);
        self.measure(snapshot);
        self.follow(snapshot);
    }

    /// Shows the detail of a thread, whichever is selected in the list, and selects it there.
    fn open_thread(&mut self, key: ThreadKey, snapshot: &Snapshot) {
        self.table.pin_to(key, snapshot);
        (self.opened, self.opened_in) = (Some(key), self.tab);
        (self.tab, self.page_first) = (Tab::Thread, 0);
        self.measure(snapshot);
    }

    /// Counts the lines of what can be scrolled, and scrolls back what has become too long.
    fn measure(&mut self, numbers: &Snapshot) {
        self.help_lines = self.help_text(numbers).len();
        self.page_lines = match self.tab {
            Tab::Overview => self.overview(numbers).len(),
            Tab::Thread => self.detail(numbers).map_or(0, |lines| lines.len()),
            Tab::Nodes => self.nodes(numbers).len(),
            Tab::Threads | Tab::Cpus | Tab::Events => 0,
        };
        self.scroll_help(0);
        self.scroll_page(0);
    }

    fn scroll_help(&mut self, lines: isize) {
        let most = self.help_lines.saturating_sub(layout::help_rows(self.height));
        self.help_first = self.help_first.saturating_add_signed(lines).min(most);
    }

    fn scroll_page(&mut self, lines: isize) {
        let most = self.page_lines.saturating_sub(layout::page_rows(self.height));
        self.page_first = self.page_first.saturating_add_signed(lines).min(most);
    }
}

/// Changes `state` as `key` asks; `snapshot` is the one that was observed last.
pub fn update(state: &mut UiState, key: Key, snapshot: &Snapshot) -> Action {
    let noticed = state.notice.take().is_some();
    match dispatch(state, key, snapshot) {
        // What was said goes.
        Action::None if noticed => Action::Draw,
        action => action,
    }
}

fn dispatch(state: &mut UiState, key: Key, snapshot: &Snapshot) -> Action {
    match key {
        Key::Interrupt => Action::Quit,
        Key::Suspend => Action::Suspend,
        Key::Repaint => Action::Repaint,
        Key::Click { column, row } => mouse::click(state, column, row, snapshot),
        Key::WheelUp => mouse::wheel(state, Key::Up, snapshot),
        Key::WheelDown => mouse::wheel(state, Key::Down, snapshot),
        // The list of columns is no place to type: it can be left for good.
        Key::Char('q') if state.table.chooser().is_some() => Action::Quit,
        _ if state.table.takes_all_keys() => in_table(state, key, snapshot),
        _ if state.events.editing() => in_events(state, key, snapshot),
        _ if state.replay.as_ref().is_some_and(|replay| replay.prompt().is_some()) => in_prompt(state, key),
        _ if state.help => in_help(state, key),
        _ => match everywhere(state, key, snapshot) {
            Some(action) => action,
            None if state.tab == Tab::Threads => in_table(state, key, snapshot),
            None if state.tab == Tab::Cpus => in_cpus(state, key, snapshot),
            None if state.tab == Tab::Events => in_events(state, key, snapshot),
            None => in_page(state, key, snapshot),
        },
    }
}

fn in_help(state: &mut UiState, key: Key) -> Action {
    let page = layout::help_rows(state.height) as isize;
    match key {
        Key::Char('q') => return Action::Quit,
        Key::Char('?') | Key::Esc | Key::Enter => state.help = false,
        Key::Up | Key::Char('k') => state.scroll_help(-1),
        Key::Down | Key::Char('j') => state.scroll_help(1),
        Key::PageUp => state.scroll_help(-page),
        Key::PageDown | Key::Char(' ') => state.scroll_help(page),
        Key::Home => state.help_first = 0,
        Key::End => state.scroll_help(isize::MAX),
        _ => return Action::None,
    }
    Action::Draw
}

fn in_prompt(state: &mut UiState, key: Key) -> Action {
    state.replay.as_mut().map_or(Action::None, |replay| replay.edit(key))
}

/// Keys about time.
fn about_time(state: &mut UiState, key: Key) -> Option<Action> {
    if let Some(replay) = &mut state.replay {
        return replay::key(replay, key);
    }
    Some(match key {
        Key::Char('+') => Action::Slower,
        Key::Char('-') => Action::Faster,
        Key::Char('r') => Action::Record,
        Key::Char(' ') => Action::Pause,
        Key::Char(',') => Action::Step(-1),
        Key::Char('.') => Action::Step(1),
        Key::Char('<') => Action::Step(-STRIDE),
        Key::Char('>') => Action::Step(STRIDE),
        _ => return None,
    })
}

/// Keys that mean the same in every view.
fn everywhere(state: &mut UiState, key: Key, snapshot: &Snapshot) -> Option<Action> {
    if let Some(action) = about_time(state, key) {
        return Some(action);
    }
    match key {
        Key::Char('q') => return Some(Action::Quit),
        Key::Char('t') => return Some(Action::Theme),
        Key::Char('p') => return Some(Action::Picture),
        Key::Char('M') => return Some(Action::Mouse),
        Key::Char('?') => (state.help, state.help_first) = (true, 0),
        Key::Char('i') => state.choice.window = state.choice.window.next(),
        Key::Char('g') => {
            state.choice.grouping = match state.choice.grouping {
                None => Some(GroupBy::Comm),
                Some(GroupBy::Comm) => Some(GroupBy::Cgroup),
                Some(GroupBy::Cgroup) => None,
            };
            // A group is no row of another list.
            if !state.table.regroup(state.opened) {
                state.opened = None;
                if state.tab == Tab::Thread {
                    state.tab = Tab::Threads;
                }
            }
        }
        Key::Tab => state.open(state.tab.step(1), snapshot),
        Key::BackTab => state.open(state.tab.step(Tab::ALL.len() - 1), snapshot),
        Key::Char(digit @ '1'..='6') => state.open(Tab::ALL[digit as usize - '1' as usize], snapshot),
        _ => return None,
    }
    Some(Action::Draw)
}

fn in_table(state: &mut UiState, key: Key, snapshot: &Snapshot) -> Action {
    match state.table.press(key, snapshot) {
        Asked::Nothing => Action::None,
        Asked::Draw => Action::Draw,
        Asked::Open => {
            state.open(Tab::Thread, snapshot);
            Action::Draw
        }
        Asked::Copy => {
            let copied = state.table.copied(snapshot);
            let rows =
                |count: usize| if count == 1 { "1 row".into() } else { format!("{} rows", text::count(count as u64)) };
            state.notice = Some(Notice::Done(if copied.rows == copied.of {
                format!("sent {} to the terminal's clipboard", rows(copied.rows))
            } else {
                let sent = text::count(copied.rows as u64);
                format!("sent {sent} of {} to the terminal's clipboard", rows(copied.of))
            }));
            state.clipboard = copied.text;
            Action::Copy
        }
    }
}

fn in_cpus(state: &mut UiState, key: Key, snapshot: &Snapshot) -> Action {
    let (room, now_ns) = (state.map_room(), state.shown.now_ns);
    match state.cpus.press(key, snapshot, now_ns, state.table.chosen_thread(), room) {
        cpus::Asked::Nothing => return Action::None,
        cpus::Asked::Draw => {}
        cpus::Asked::Open(thread) => state.open_thread(thread, snapshot),
    }
    Action::Draw
}

fn in_events(state: &mut UiState, key: Key, snapshot: &Snapshot) -> Action {
    match state.events.press(key, snapshot, layout::page_rows(state.height)) {
        events::Asked::Nothing => return Action::None,
        events::Asked::Draw => {}
        events::Asked::Open(thread) => state.open_thread(thread, snapshot),
    }
    Action::Draw
}

/// Keys of findings, in the Overview; `None` for one that means there what it means in every page.
fn in_findings(state: &mut UiState, key: Key, snapshot: &Snapshot) -> Option<Action> {
    if key == Key::Char('y') {
        return copy_command(state);
    }
    if state.found.opened().is_some() {
        match key {
            Key::Enter => return Some(Action::None),
            Key::Esc => state.found.close(),
            Key::Left | Key::Char('h') => open_finding(state, -1),
            Key::Right | Key::Char('l') => open_finding(state, 1),
            _ => return None,
        }
        state.page_first = 0;
    } else {
        match key {
            // The list is at the top: below it the keys scroll, and they come back to it.
            Key::Up | Key::Char('k') if state.page_first == 0 && state.found.step(-1) => {}
            Key::Down | Key::Char('j') if state.page_first == 0 && state.found.step(1) => {}
            Key::Enter if state.found.open(state.shown.now_ns) => state.page_first = 0,
            _ => return None,
        }
    }
    state.measure(snapshot);
    Some(Action::Draw)
}

/// The page of the finding that is so many further down in the list.
fn open_finding(state: &mut UiState, by: isize) {
    state.found.step(by);
    state.found.open(state.shown.now_ns);
}

fn copy_command(state: &mut UiState) -> Option<Action> {
    let Some(command) = state.found.current()?.command.clone() else {
        state.notice = Some(Notice::Failed("this finding has no command to copy".into()));
        return Some(Action::Draw);
    };
    state.notice = Some(Notice::Done("sent the command to the terminal's clipboard".into()));
    // Without a newline: it is pasted, and not yet run.
    state.clipboard = command;
    Some(Action::Copy)
}

/// In the Overview, in the detail and in the nodes.
fn in_page(state: &mut UiState, key: Key, snapshot: &Snapshot) -> Action {
    if state.tab == Tab::Overview
        && let Some(action) = in_findings(state, key, snapshot)
    {
        return action;
    }
    let page = layout::page_rows(state.height) as isize;
    match key {
        Key::Up | Key::Char('k') => state.scroll_page(-1),
        Key::Down | Key::Char('j') => state.scroll_page(1),
        Key::PageUp => state.scroll_page(-page),
        Key::PageDown => state.scroll_page(page),
        Key::Home => {
            state.page_first = 0;
            if state.tab == Tab::Overview && state.found.opened().is_none() {
                state.found.select_first();
                state.measure(snapshot);
            }
        }
        Key::End => state.scroll_page(isize::MAX),
        Key::Enter if state.tab == Tab::Overview => state.open(Tab::Threads, snapshot),
        Key::Esc if state.tab == Tab::Thread => state.open(state.opened_in, snapshot),
        Key::Left | Key::Char('h') if state.tab == Tab::Thread => open_neighbour(state, -1, snapshot),
        Key::Right | Key::Char('l') if state.tab == Tab::Thread => open_neighbour(state, 1, snapshot),
        _ => return Action::None,
    }
    Action::Draw
}

/// The detail of the thread above or below in the list.
fn open_neighbour(state: &mut UiState, by: isize, snapshot: &Snapshot) {
    let first = state.page_first;
    state.table.step(by);
    state.open(Tab::Thread, snapshot);
    state.scroll_page(first as isize);
}
