//! The header's line of views: what is written there, and which view's name is where. Pure.

use super::history::Window;
use super::keymap::key_name;
use super::layout;
use super::state::{Key, Tab, UiState};
use crate::snapshot::Snapshot;
use crate::text;

/// How a view is named in the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Which view.
    pub tab: Tab,
    /// Its key, a digit unless the user has another one, and a blank.
    pub digit: String,
    /// Its name, in brackets where it is shown; a blank follows. Empty where there is no room.
    pub name: String,
}

impl Label {
    /// Columns that it takes, with the blank behind it.
    fn width(&self) -> usize {
        text::width(&self.digit) + text::width(&self.name) + usize::from(!self.name.is_empty())
    }
}

/// What stands behind the names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beside {
    /// Which lines of a page are shown, where not all are.
    pub scrolled: Option<String>,
    /// Which stretch of time numbers are about; empty where the view says so itself.
    pub window: String,
    /// Which one rates are about, where that is another.
    pub rates: String,
}

/// What stands behind the names of the views.
pub fn beside(state: &UiState, snapshot: &Snapshot) -> Beside {
    let ((first, lines), rows) = (state.page(), layout::page_rows(state.height()));
    let scrolled = (state.tab() != Tab::Threads && lines > rows)
        .then(|| format!("lines {}-{}/{lines} ", first + 1, (first + rows).min(lines)));
    if let Some(window) = own_stretch(state) {
        return Beside { scrolled, window, rates: String::new() };
    }
    let (window, rates) = match (state.choice().window, state.shown().rates.head().duration_ns) {
        (Window::Start, 0) => (" since start".into(), String::new()),
        (Window::Start, ns) => (" since start".into(), format!(", rates {}", text::duration(ns))),
        _ => (format!(" {}", state.window_name(snapshot)), String::new()),
    };
    Beside { scrolled, window, rates }
}

/// Which stretch a view is about that shows the same one in every window; `None` for others, and while there is nothing.
/// That of the events, which differs with every line, is above them.
fn own_stretch(state: &UiState) -> Option<String> {
    match state.tab() {
        Tab::Cpus => Some(state.cpus_reach_ns()).filter(|ns| *ns > 0).map(|ns| format!(" last {}", text::duration(ns))),
        Tab::Events => Some(String::new()),
        _ => None,
    }
}

/// The names, from left to right. Where not all fit beside what matters more, the keys of the others do.
pub fn labels(state: &UiState, beside: &Beside) -> Vec<Label> {
    let key = |digit| state.keymap().first(Key::Char(digit)).map_or_else(String::new, key_name);
    let names: usize = ('1'..).zip(Tab::ALL).map(|(digit, tab)| text::width(&key(digit)) + tab.name().len() + 4).sum();
    // What numbers are about matters more than the names of other views.
    let told = beside.window.len() + beside.scrolled.as_ref().map_or(0, String::len);
    let narrow = names + told > usize::from(state.width()) + 1;
    let name = |tab: Tab| match (tab == state.tab(), narrow) {
        (true, _) => format!("[{}]", tab.name()),
        (false, true) => String::new(),
        (false, false) => format!(" {} ", tab.name()),
    };
    let label = |(digit, tab)| Label { tab, digit: format!("{} ", key(digit)), name: name(tab) };
    ('1'..).zip(Tab::ALL).map(label).collect()
}

/// The view whose name is in this column of the line.
pub fn at(state: &UiState, snapshot: &Snapshot, column: u16) -> Option<Tab> {
    let mut end = 0;
    let mut labels = labels(state, &beside(state, snapshot)).into_iter();
    labels.find_map(|label| {
        end += label.width();
        (usize::from(column) < end).then_some(label.tab)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::state::update;

    #[test]
    fn every_name_is_found_where_it_is_written() {
        let snapshot = Snapshot::nothing_yet("pid 1");
        for (width, digit) in
            [40, 60, 80, 200].into_iter().flat_map(|width| ['1', '2', '4', '5', '6'].map(|digit| (width, digit)))
        {
            let mut state = UiState::new(width, 24);
            update(&mut state, Key::Char(digit), &snapshot);
            let mut column = 0;
            for label in labels(&state, &beside(&state, &snapshot)) {
                let end = column + label.width() as u16;
                let found = |column| at(&state, &snapshot, column) == Some(label.tab);
                assert!((column..end).all(found), "{width} {label:?}");
                column = end;
            }
            assert_eq!(at(&state, &snapshot, column), None);
        }
    }
}
