//! The threads table: title, column heads, one row a thread or a group of threads.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};

use super::Pieces;
use crate::snapshot::{GroupBy, Host, Snapshot};
use crate::text;
use crate::tui::layout::{Placed, TABLE_HEAD_LINES};
use crate::tui::state::{Key, UiState};
use crate::tui::table::{Entry, Marked, Table, cell};
use crate::tui::theme::Theme;

/// Narrower terminals have what is wrong with a filter above the table: beside what is typed there is no room.
pub(super) const NARROW: u16 = 64;

/// Draws the table, or a sentence where it would be empty.
pub fn render(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot, state: &UiState, theme: &Theme) {
    let table = state.table();
    let columns = table.columns();
    let mut lines = vec![title(area.width, snapshot, state, theme)];
    if let Some(sentence) = empty(state) {
        lines.extend([Line::default(), Line::styled(sentence, theme.plain)]);
        frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }), area);
        return;
    }
    lines.push(heads(&columns, table, theme));
    let room = usize::from(area.height.saturating_sub(TABLE_HEAD_LINES));
    let entries = (table.first()..).take(room).map_while(|place| table.entry(place, snapshot));
    lines.extend(entries.map(|entry| line(&columns, &snapshot.host, table, &entry, theme)));
    frame.render_widget(Paragraph::new(lines), area);
}

/// Why there is no row, in a sentence.
fn empty(state: &UiState) -> Option<String> {
    if !state.order().is_empty() {
        None
    } else if state.thread_count() > 0 {
        let clear = state.keymap().name_of(Key::Esc);
        Some(format!("No thread matches '{}': {clear} clears the filter.", text::fit(state.filter(), 64)))
    } else {
        Some(super::nothing(state).into())
    }
}

fn title(width: u16, snapshot: &Snapshot, state: &UiState, theme: &Theme) -> Line<'static> {
    let table = state.table();
    let mut line = Pieces::new(width);
    if let Some((_, Some(wrong))) = table.typed().filter(|_| width < NARROW) {
        line.push(&format!("! {wrong}"), theme.bad);
        return Line::from(line.spans);
    }
    let name = match state.choice().grouping {
        None => "Threads ",
        Some(GroupBy::Comm) => "Threads by name ",
        Some(GroupBy::Cgroup) => "Threads by cgroup ",
    };
    line.push(name, theme.strong);
    line.push(&counts(table), theme.plain);
    if table.marked() > 0 {
        line.push(&format!("  {} marked", text::count(table.marked() as u64)), theme.strong);
    }
    if !state.filter().is_empty() {
        line.push(&format!("  filter '{}'", text::fit(state.filter(), 24)), theme.warn);
    }
    if snapshot.refused_threads > 0 {
        line.push(&format!("  ! {} not tracked (limit reached)", text::count(snapshot.refused_threads)), theme.bad);
    }
    let mut more = vec![format!("  sorted by {} {}", state.sort().column.spec().title, mark(state.sort().descending))];
    if table.ended() > 0 {
        more.push(format!("  {} exited", text::count(table.ended() as u64)));
    }
    if snapshot.dropped_threads > 0 {
        more.push(format!("  {} more exited, in totals only", text::count(snapshot.dropped_threads)));
    }
    if table.hidden_columns() > 0 {
        more.push(format!("  {} columns hidden", table.hidden_columns()));
    }
    for part in more {
        line.push_whole(&part, theme.dim);
    }
    Line::from(line.spans)
}

/// `12`, `3 of 12`, `3 of 12 in 2 groups`.
fn counts(table: &Table) -> String {
    let (listed, all) = (table.matching() as u64, table.thread_count() as u64);
    let threads =
        if listed == all { text::count(all) } else { format!("{} of {}", text::count(listed), text::count(all)) };
    if table.tree().is_none() {
        return threads;
    }
    let groups = table.matching_groups() as u64;
    format!("{threads} in {} {}", text::count(groups), if groups == 1 { "group" } else { "groups" })
}

const fn mark(descending: bool) -> &'static str {
    if descending { "▼" } else { "▲" }
}

fn heads(columns: &[Placed], table: &Table, theme: &Theme) -> Line<'static> {
    let mut spans = vec![Span::raw(" ".repeat(usize::from(table.mark_width())))];
    let sort = table.sort();
    for placed in columns {
        let spec = placed.column.spec();
        let sorted = sort.column == placed.column;
        let head = if sorted { format!("{}{}", spec.title, mark(sort.descending)) } else { spec.title.into() };
        let style = if sorted { theme.sorted } else { theme.head };
        spans.push(Span::styled(align(&head, *placed), style));
        spans.push(Span::raw(" "));
    }
    Line::from(spans)
}

fn line(columns: &[Placed], host: &Host, table: &Table, entry: &Entry<'_>, theme: &Theme) -> Line<'static> {
    let mut spans = vec![Span::styled(if entry.selected { ">" } else { " " }, theme.strong)];
    if table.mark_width() > 1 {
        spans.push(Span::styled(entry.marked.sign(), theme.strong));
    }
    for placed in columns {
        let (cell, role) = cell(*placed, host, entry);
        let style = if entry.thread.exited { theme.dim } else { theme.of(role) };
        spans.push(Span::styled(align(&cell, *placed), style));
        spans.push(Span::raw(" "));
    }
    spans.pop();
    if entry.selected {
        // Colours would become backgrounds, cell by cell.
        spans.iter_mut().for_each(|span| span.style.fg = None);
    }
    if entry.marked == Marked::All {
        spans.iter_mut().for_each(|span| span.style = span.style.patch(theme.strong));
    }
    let line = Line::from(spans);
    if entry.selected { line.patch_style(theme.selected) } else { line }
}

fn align(cell: &str, placed: Placed) -> String {
    let width = usize::from(placed.width);
    if placed.column.spec().right { text::right(cell, width) } else { text::left(cell, width) }
}
