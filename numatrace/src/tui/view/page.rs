//! A page of lines, scrolled as the state says.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};

use crate::tui::page;
use crate::tui::state::UiState;
use crate::tui::theme::Theme;

/// Draws the lines that are in view.
pub fn render(frame: &mut Frame<'_>, area: Rect, lines: Vec<page::Line>, state: &UiState, theme: &Theme) {
    let (first, _) = state.page();
    let shown = lines.into_iter().skip(first).take(usize::from(area.height));
    let drawn: Vec<Line<'_>> = shown.map(|line| draw(line.cut(usize::from(area.width)), theme)).collect();
    frame.render_widget(Paragraph::new(drawn), area);
}

/// A line in the styles of the theme.
pub(super) fn draw(line: page::Line, theme: &Theme) -> Line<'static> {
    Line::from_iter(line.pieces.into_iter().map(|(piece, role)| Span::styled(piece, theme.of(role))))
}

/// Draws a sentence instead of a page.
pub fn sentence(frame: &mut Frame<'_>, area: Rect, sentence: &str, theme: &Theme) {
    let lines = vec![Line::default(), Line::styled(sentence.to_owned(), theme.plain)];
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }), area);
}
