//! Thread detail.

use ratatui::Frame;
use ratatui::layout::Rect;

use super::page;
use crate::snapshot::Snapshot;
use crate::tui::state::{Key, UiState};
use crate::tui::theme::Theme;

/// Draws the page of the opened thread, or a sentence where there is none.
pub fn render(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot, state: &UiState, theme: &Theme) {
    if let Some(lines) = state.detail(snapshot) {
        return page::render(frame, area, lines, state, theme);
    }
    match state.opened() {
        Some(key) => {
            let back = state.keymap().name_of(Key::Esc);
            let gone = format!("Thread {} is not among these numbers: {back} goes back to the list.", key.tid);
            page::sentence(frame, area, &gone, theme);
        }
        None if state.thread_count() > 0 => {
            let [list, open] = [Key::Char('2'), Key::Enter].map(|key| state.keymap().name_of(key));
            let none = format!("No thread is selected: {list} goes to the list, {open} opens a thread.");
            page::sentence(frame, area, &none, theme);
        }
        None => page::sentence(frame, area, super::nothing(state), theme),
    }
}
