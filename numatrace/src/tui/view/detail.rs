//! Thread detail.

use ratatui::Frame;
use ratatui::layout::Rect;

use super::page;
use crate::snapshot::Snapshot;
use crate::tui::state::UiState;
use crate::tui::theme::Theme;

/// Draws the page of the opened thread, or a sentence where there is none.
pub fn render(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot, state: &UiState, theme: &Theme) {
    if let Some(lines) = state.detail(snapshot) {
        return page::render(frame, area, lines, state, theme);
    }
    match state.opened() {
        Some(key) => {
            let gone = format!("Thread {} is not among these numbers: Esc goes back to the list.", key.tid);
            page::sentence(frame, area, &gone, theme);
        }
        None if state.thread_count() > 0 => {
            page::sentence(frame, area, "No thread is selected: 2 goes to the list, Enter opens a thread.", theme);
        }
        None => page::sentence(frame, area, super::nothing(state), theme),
    }
}
