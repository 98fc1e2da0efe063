//! The Overview.

use ratatui::Frame;
use ratatui::layout::Rect;

use super::page;
use crate::snapshot::Snapshot;
use crate::tui::state::UiState;
use crate::tui::theme::Theme;

/// Draws the page, or a sentence where there are neither numbers nor findings.
pub fn render(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot, state: &UiState, theme: &Theme) {
    if state.thread_count() == 0 && state.found().current().is_none() {
        page::sentence(frame, area, super::nothing(state), theme);
    } else {
        page::render(frame, area, state.overview(snapshot), state, theme);
    }
}
