//! Drawing: one panel a file, each `render(frame, area, &Snapshot, &UiState, &Theme)`, which changes nothing.

pub mod chooser;
pub mod cpus;
pub mod detail;
pub mod events;
pub mod footer;
pub mod header;
pub mod help;
pub mod nodes;
pub mod overview;
mod page;
pub mod threads;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::Span;
use ratatui::widgets::{Paragraph, Wrap};

use super::layout;
use super::state::{Key, Mode, Status, Tab, UiState};
use super::theme::Theme;
use crate::snapshot::Snapshot;
use crate::text;

/// Draws the whole dashboard.
pub fn render(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot, state: &UiState, theme: &Theme) {
    if theme.screen != Style::new() {
        frame.buffer_mut().set_style(area, theme.screen);
    }
    if !layout::fits(area.width, area.height) {
        let sentence = format!(
            "Terminal too small: {}x{}, numatrace needs {}x{}. {} quits.",
            area.width,
            area.height,
            layout::MIN_WIDTH,
            layout::MIN_HEIGHT,
            state.keymap().name_of(Key::Char('q'))
        );
        frame.render_widget(Paragraph::new(sentence).wrap(Wrap { trim: true }), area);
        return;
    }
    let [head, body, foot] = Layout::vertical([
        Constraint::Length(layout::HEADER_LINES),
        Constraint::Min(0),
        Constraint::Length(layout::FOOTER_LINES),
    ])
    .areas(area);
    header::render(frame, head, snapshot, state, theme);
    if state.help().is_some() {
        help::render(frame, body, snapshot, state, theme);
    } else if let Some(chooser) = state.table().chooser() {
        chooser::render(frame, body, state.table(), chooser, theme);
    } else {
        match state.tab() {
            Tab::Overview => overview::render(frame, body, snapshot, state, theme),
            Tab::Threads => threads::render(frame, body, snapshot, state, theme),
            Tab::Thread => detail::render(frame, body, snapshot, state, theme),
            Tab::Nodes => nodes::render(frame, body, snapshot, state, theme),
            Tab::Cpus => cpus::render(frame, body, snapshot, state, theme),
            Tab::Events => events::render(frame, body, snapshot, state, theme),
        }
    }
    footer::render(frame, foot, snapshot, state, theme);
}

/// Why there is nothing to show, in a sentence.
fn nothing(state: &UiState) -> &'static str {
    match state.status() {
        Status::Live if state.mode() == Mode::Replay => "No thread of the target has been seen up to here.",
        Status::Failed(_) if state.mode() == Mode::Replay => {
            "The replay failed before any thread of the target was seen."
        }
        Status::Live => "Waiting for data: no thread of the target has been seen yet.",
        Status::Ended(_) => "Tracing ended before any thread of the target was seen.",
        Status::Failed(_) => "Tracing failed before any thread of the target was seen.",
    }
}

/// A line made of styled pieces, which never grows wider than its area.
struct Pieces {
    spans: Vec<Span<'static>>,
    left: usize,
}

impl Pieces {
    fn new(width: u16) -> Pieces {
        Pieces { spans: Vec::new(), left: usize::from(width) }
    }

    /// Adds text, cut to what is left.
    fn push(&mut self, piece: &str, style: Style) {
        let piece = text::fit(piece, self.left);
        self.left -= text::width(&piece).min(self.left);
        self.spans.push(Span::styled(piece, style));
    }

    /// Adds text if all of it fits.
    fn push_whole(&mut self, piece: &str, style: Style) -> bool {
        let fits = text::width(piece) <= self.left;
        if fits {
            self.push(piece, style);
        }
        fits
    }

    /// Adds blanks until only `reserve` columns are left.
    fn fill_to(&mut self, reserve: usize) {
        self.push(&" ".repeat(self.left.saturating_sub(reserve)), Style::new());
    }
}
