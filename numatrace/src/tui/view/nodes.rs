//! The Nodes tab.

use ratatui::Frame;
use ratatui::layout::Rect;

use super::page;
use crate::snapshot::Snapshot;
use crate::tui::state::UiState;
use crate::tui::theme::Theme;

/// Draws the page, or a sentence where there are no numbers.
pub fn render(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot, state: &UiState, theme: &Theme) {
    if state.thread_count() == 0 {
        page::sentence(frame, area, super::nothing(state), theme);
    } else {
        page::render(frame, area, state.nodes(snapshot), state, theme);
    }
}
