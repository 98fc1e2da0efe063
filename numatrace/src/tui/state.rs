//! What the dashboard is showing, and how keys change it. Pure: no clock, no terminal.

use super::help;
use super::layout::{self, Column};
use super::rows::{self, Row, Sort, ThreadKey};
use crate::snapshot::Snapshot;

/// Longest filter; command names have 15 bytes, escaped they are longer.
const MAX_FILTER: usize = 64;

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
    /// Tab: views come later.
    Tab,
    /// Backspace.
    Backspace,
    /// Ctrl-C, which arrives as a key in raw mode.
    Interrupt,
    /// Ctrl-Z.
    Suspend,
    /// Ctrl-L.
    Repaint,
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

/// What is shown.
#[derive(Clone, Debug)]
pub struct UiState {
    /// Columns of the terminal.
    width: u16,
    /// Lines of the terminal.
    height: u16,
    /// One for each thread of the snapshot, in its order.
    rows: Vec<Row>,
    /// Positions of the threads that are listed, in order.
    order: Vec<usize>,
    /// Position in `order` of the selected thread; 0 when there is none.
    selected: usize,
    /// The thread that stays selected across sorting; `None` until the user chooses one: then the top row is.
    pinned: Option<ThreadKey>,
    /// Position in `order` of the first row shown.
    first: usize,
    /// How far the columns are scrolled.
    scroll: usize,
    sort: Sort,
    filter: String,
    editing: bool,
    help: bool,
    help_first: usize,
    help_lines: usize,
    paused: bool,
    status: Status,
    record_rate: Option<f64>,
}

impl UiState {
    /// The state of a dashboard on a terminal of this size, before any data.
    pub fn new(width: u16, height: u16) -> UiState {
        UiState {
            width,
            height,
            rows: Vec::new(),
            order: Vec::new(),
            selected: 0,
            pinned: None,
            first: 0,
            scroll: 0,
            sort: Sort { column: Column::Wait, descending: true },
            filter: String::new(),
            editing: false,
            help: false,
            help_first: 0,
            help_lines: 0,
            paused: false,
            status: Status::Live,
            record_rate: None,
        }
    }

    /// `now` is shown from here on; rates are over the time since `before`.
    pub fn observe(&mut self, now: &Snapshot, before: Option<&Snapshot>) {
        self.rows = rows::rows(now, before);
        self.record_rate = rows::record_rate(now, before);
        self.list(now);
        self.measure_help(now);
    }

    /// The terminal has another size; `now` is the snapshot that was observed last.
    pub fn resize(&mut self, width: u16, height: u16, now: &Snapshot) {
        (self.width, self.height) = (width, height);
        self.scroll = self.scroll.min(layout::max_scroll(self.table_width()));
        self.show_selected();
        self.measure_help(now);
    }

    /// No more numbers will come, or they will.
    pub fn set_status(&mut self, status: Status) {
        self.status = status;
    }

    /// Positions in `Snapshot::threads` of the listed threads, in order.
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// The rates of the thread at this position of `Snapshot::threads`.
    pub fn row(&self, thread: usize) -> Option<&Row> {
        self.rows.get(thread)
    }

    /// How many threads the snapshot has.
    pub fn thread_count(&self) -> usize {
        self.rows.len()
    }

    /// Position in [`UiState::order`] of the selected thread; `None` when none is listed.
    pub fn selected(&self) -> Option<usize> {
        (!self.order.is_empty()).then_some(self.selected)
    }

    /// Position in [`UiState::order`] of the first thread that is shown.
    pub fn first(&self) -> usize {
        self.first
    }

    /// The columns that are shown.
    pub fn columns(&self) -> Vec<layout::Placed> {
        layout::columns(self.table_width(), self.scroll)
    }

    /// How the list is sorted.
    pub fn sort(&self) -> Sort {
        self.sort
    }

    /// What names or thread ids must contain; empty for all.
    pub fn filter(&self) -> &str {
        &self.filter
    }

    /// The filter is being typed.
    pub fn editing(&self) -> bool {
        self.editing
    }

    /// The help is shown, from this line on.
    pub fn help(&self) -> Option<usize> {
        self.help.then_some(self.help_first)
    }

    /// New snapshots are kept back.
    pub fn paused(&self) -> bool {
        self.paused
    }

    /// Whether more numbers will come.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Records a second, last interval.
    pub fn record_rate(&self) -> Option<f64> {
        self.record_rate
    }

    /// Width of the table without the mark of the selected row.
    fn table_width(&self) -> u16 {
        self.width.saturating_sub(1)
    }

    fn page(&self) -> usize {
        layout::table_rows(self.height)
    }

    /// Filters and sorts anew, and finds the selected thread again.
    fn list(&mut self, snapshot: &Snapshot) {
        self.order = rows::order(snapshot, &self.rows, self.sort, &self.filter);
        match self.pinned {
            // A thread that is filtered away is found again when the filter goes.
            Some(key) => {
                if let Some(at) = self.order.iter().position(|row| self.rows[*row].key == key) {
                    self.selected = at;
                }
            }
            None => (self.selected, self.first) = (0, 0),
        }
        self.show_selected();
    }

    /// Clamps the selection, and scrolls so that it is shown.
    fn show_selected(&mut self) {
        let page = self.page();
        self.selected = self.selected.min(self.order.len().saturating_sub(1));
        self.first = self.first.min(self.order.len().saturating_sub(page));
        self.first = self.first.clamp((self.selected + 1).saturating_sub(page), self.selected);
    }

    fn select(&mut self, position: usize) {
        self.selected = position;
        self.show_selected();
        self.pinned = self.order.get(self.selected).map(|row| self.rows[*row].key);
    }

    fn measure_help(&mut self, now: &Snapshot) {
        self.help_lines = help::lines(now, self.width).len();
        self.scroll_help(0);
    }

    fn scroll_help(&mut self, lines: isize) {
        let most = self.help_lines.saturating_sub(layout::help_rows(self.height));
        self.help_first = self.help_first.saturating_add_signed(lines).min(most);
    }
}

/// Changes `state` as `key` asks; `snapshot` is the one that was observed last.
pub fn update(state: &mut UiState, key: Key, snapshot: &Snapshot) -> Action {
    match key {
        Key::Interrupt => Action::Quit,
        Key::Suspend => Action::Suspend,
        Key::Repaint => Action::Repaint,
        _ if state.editing => edit_filter(state, key, snapshot),
        _ if state.help => in_help(state, key),
        _ => in_table(state, key, snapshot),
    }
}

fn edit_filter(state: &mut UiState, key: Key, snapshot: &Snapshot) -> Action {
    match key {
        Key::Char(c) if !c.is_control() && state.filter.chars().count() < MAX_FILTER => state.filter.push(c),
        Key::Backspace if state.filter.is_empty() => state.editing = false,
        Key::Backspace => _ = state.filter.pop(),
        Key::Enter => state.editing = false,
        Key::Esc => {
            state.editing = false;
            state.filter.clear();
        }
        Key::Up | Key::Down | Key::PageUp | Key::PageDown => return move_selection(state, key),
        _ => return Action::None,
    }
    state.list(snapshot);
    Action::Draw
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

fn in_table(state: &mut UiState, key: Key, snapshot: &Snapshot) -> Action {
    match key {
        Key::Char('q') => return Action::Quit,
        Key::Char('?') => (state.help, state.help_first) = (true, 0),
        Key::Char('/') => state.editing = true,
        Key::Char(' ') => state.paused = !state.paused,
        Key::Esc if !state.filter.is_empty() => {
            state.filter.clear();
            state.list(snapshot);
        }
        Key::Char('s') => {
            sort_by_next(state);
            state.list(snapshot);
        }
        Key::Char('S') => {
            state.sort.descending = !state.sort.descending;
            state.list(snapshot);
        }
        Key::Left | Key::Char('h') => state.scroll = state.scroll.saturating_sub(1),
        Key::Right | Key::Char('l') => state.scroll = (state.scroll + 1).min(layout::max_scroll(state.table_width())),
        _ => return move_selection(state, key),
    }
    Action::Draw
}

/// The next of the columns that are shown; the first one when the current one is not.
fn sort_by_next(state: &mut UiState) {
    let columns = state.columns();
    let at = columns.iter().position(|placed| placed.column == state.sort.column);
    let next = at.map_or(0, |at| at + 1);
    if let Some(placed) = columns.get(next).or(columns.first()) {
        state.sort = Sort { column: placed.column, descending: placed.column.spec().descending };
    }
}

fn move_selection(state: &mut UiState, key: Key) -> Action {
    let (at, page) = (state.selected, state.page());
    match key {
        Key::Up | Key::Char('k') => state.select(at.saturating_sub(1)),
        Key::Down | Key::Char('j') => state.select(at.saturating_add(1)),
        Key::PageUp => state.select(at.saturating_sub(page)),
        Key::PageDown => state.select(at.saturating_add(page)),
        Key::End => state.select(usize::MAX),
        Key::Home => {
            state.select(0);
            state.pinned = None;
        }
        _ => return Action::None,
    }
    Action::Draw
}
