//! The help, in place of the table.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::snapshot::Snapshot;
use crate::tui::help::{self, HelpLine};
use crate::tui::layout;
use crate::tui::state::{Key, UiState};
use crate::tui::theme::Theme;

/// Draws the help from the line on that `state` says.
pub fn render(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot, state: &UiState, theme: &Theme) {
    let lines = state.help_text(snapshot);
    let first = state.help().unwrap_or(0);
    let shown = usize::from(area.height).saturating_sub(1);
    let last = (first + shown).min(lines.len());
    debug_assert_eq!(shown.max(1), layout::help_rows(area.height + layout::HEADER_LINES + layout::FOOTER_LINES));
    let close = state.keymap().name_of(Key::Char('?'));
    let place = if shown < lines.len() {
        format!("Help, lines {}-{last} of {}; up and down scroll, {close} closes", first + 1, lines.len())
    } else {
        format!("Help; {close} closes")
    };
    let mut drawn = vec![Line::styled(place, theme.dim)];
    drawn.extend(lines.into_iter().skip(first).take(shown).map(|line| draw(line, theme)));
    frame.render_widget(Paragraph::new(drawn), area);
}

fn draw(line: HelpLine, theme: &Theme) -> Line<'static> {
    match line {
        HelpLine::Blank => Line::default(),
        HelpLine::Heading(heading) => Line::styled(heading, theme.strong),
        HelpLine::Entry(term, what) => Line::from(vec![
            Span::raw(" "),
            Span::styled(help::padded_term(&term), theme.key),
            Span::raw(" "),
            Span::styled(what, theme.plain),
        ]),
    }
}
