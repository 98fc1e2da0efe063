//! The last line: why no more numbers come, the filter while it is typed, or the keys.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::Pieces;
use crate::snapshot::Snapshot;
use crate::text;
use crate::tui::state::{Status, UiState};
use crate::tui::theme::Theme;

const KEYS: [(&str, &str); 7] = [
    ("q", "quit"),
    ("?", "help"),
    ("/", "filter"),
    ("s", "sort"),
    ("S", "reverse"),
    ("space", "pause"),
    ("left/right", "columns"),
];

/// Draws the footer.
pub fn render(frame: &mut Frame<'_>, area: Rect, _snapshot: &Snapshot, state: &UiState, theme: &Theme) {
    let mut line = Pieces::new(area.width);
    if state.editing() {
        // The end of a long filter is what is being typed.
        let room = usize::from(area.width).saturating_sub(10);
        let typed = tail(state.filter(), room);
        line.push("filter: ", theme.key);
        line.push(&format!("{typed}█"), theme.strong);
        line.push_whole("  Enter keeps it, Esc clears it", theme.dim);
        frame.render_widget(Paragraph::new(Line::from(line.spans)), area);
        return;
    }
    let stay = if state.thread_count() > 0 { " Numbers stay." } else { "" };
    match state.status() {
        Status::Failed(why) => line.push(&format!("Tracing failed: {why}.{stay}  "), theme.bad),
        Status::Ended(why) => line.push(&format!("Ended: {why}.{stay}  "), theme.warn),
        Status::Live => {}
    }
    for (key, what) in KEYS {
        if text::width(key) + text::width(what) + 3 > line.left {
            break;
        }
        line.push(key, theme.key);
        line.push(&format!(" {what}  "), theme.dim);
    }
    frame.render_widget(Paragraph::new(Line::from(line.spans)), area);
}

/// The last characters of `typed` that fit into `room` columns.
fn tail(typed: &str, room: usize) -> &str {
    let mut tail = typed;
    while text::width(tail) > room {
        let mut chars = tail.chars();
        chars.next();
        tail = chars.as_str();
    }
    tail
}
