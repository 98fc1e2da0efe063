//! The last events.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::page;
use crate::snapshot::Snapshot;
use crate::tui::state::UiState;
use crate::tui::theme::Theme;

/// Draws the events, or a sentence where nothing has been seen.
pub fn render(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot, state: &UiState, theme: &Theme) {
    if state.thread_count() == 0 && state.events_place().0 == 0 && state.events_filter().is_empty() {
        return page::sentence(frame, area, super::nothing(state), theme);
    }
    let (lines, selected) = state.event_lines(snapshot);
    let drawn = lines.into_iter().enumerate().map(|(at, line)| {
        let line = page::draw(line.cut(usize::from(area.width)), theme);
        if selected != Some(at) {
            return line;
        }
        // Colours would become backgrounds, piece by piece.
        let spans = line.spans.into_iter().map(|mut span| {
            span.style.fg = None;
            span
        });
        Line::from_iter(spans).patch_style(theme.selected)
    });
    frame.render_widget(Paragraph::new(drawn.collect::<Vec<_>>()), area);
}
