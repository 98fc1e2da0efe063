//! The threads table: title, column heads, one row a thread.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};

use super::Pieces;
use crate::snapshot::{Snapshot, Thread};
use crate::text;
use crate::tui::layout::{COLUMNS, Column, Placed, TABLE_HEAD_LINES};
use crate::tui::rows::{Row, known_latency, state_name, weigh_hops, weigh_latency, weigh_remote, weigh_share};
use crate::tui::state::{Key, UiState};
use crate::tui::theme::Theme;
use crate::tui::{cells, overview};

/// Draws the table, or a sentence where it would be empty.
pub fn render(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot, state: &UiState, theme: &Theme) {
    let columns = state.columns();
    let mut lines = vec![title(area.width, snapshot, state, &columns, theme)];
    if let Some(sentence) = empty(state) {
        lines.extend([Line::default(), Line::styled(sentence, theme.plain)]);
        frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }), area);
        return;
    }
    lines.push(heads(&columns, state, theme));
    let room = usize::from(area.height.saturating_sub(TABLE_HEAD_LINES));
    for (at, thread) in state.order().iter().enumerate().skip(state.first()).take(room) {
        if let (Some(thread), Some(row)) = (snapshot.threads.get(*thread), state.row(*thread)) {
            let selected = state.selected() == Some(at);
            lines.push(thread_line(&columns, snapshot, thread, row, selected, theme));
        }
    }
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

fn title(width: u16, snapshot: &Snapshot, state: &UiState, columns: &[Placed], theme: &Theme) -> Line<'static> {
    let mut line = Pieces::new(width);
    let (listed, all) = (state.order().len() as u64, state.thread_count() as u64);
    line.push(if state.choice().grouped { "Threads by name " } else { "Threads " }, theme.strong);
    if listed == all {
        line.push(&text::count(all), theme.plain);
    } else {
        line.push(&format!("{} of {}", text::count(listed), text::count(all)), theme.plain);
    }
    if !state.filter().is_empty() {
        line.push(&format!("  filter '{}'", text::fit(state.filter(), 24)), theme.warn);
    }
    if snapshot.refused_threads > 0 {
        line.push(&format!("  ! {} not tracked (limit reached)", text::count(snapshot.refused_threads)), theme.bad);
    }
    let exited = snapshot.threads.iter().filter(|thread| thread.exited).count() as u64;
    let mut more = vec![format!("  sorted by {} {}", state.sort().column.spec().title, mark(state.sort().descending))];
    if exited > 0 {
        more.push(format!("  {} exited", text::count(exited)));
    }
    if snapshot.dropped_threads > 0 {
        more.push(format!("  {} more exited, in totals only", text::count(snapshot.dropped_threads)));
    }
    if columns.len() < COLUMNS.len() {
        more.push(format!("  {} columns hidden", COLUMNS.len() - columns.len()));
    }
    for part in more {
        line.push_whole(&part, theme.dim);
    }
    Line::from(line.spans)
}

const fn mark(descending: bool) -> &'static str {
    if descending { "▼" } else { "▲" }
}

fn heads(columns: &[Placed], state: &UiState, theme: &Theme) -> Line<'static> {
    let mut spans = vec![Span::raw(" ")];
    for placed in columns {
        let spec = placed.column.spec();
        let sorted = state.sort().column == placed.column;
        let head = if sorted { format!("{}{}", spec.title, mark(state.sort().descending)) } else { spec.title.into() };
        let style = if sorted { theme.sorted } else { theme.head };
        spans.push(Span::styled(align(&head, *placed), style));
        spans.push(Span::raw(" "));
    }
    Line::from(spans)
}

fn thread_line(
    columns: &[Placed],
    snapshot: &Snapshot,
    thread: &Thread,
    row: &Row,
    selected: bool,
    theme: &Theme,
) -> Line<'static> {
    let mut spans = vec![Span::styled(if selected { ">" } else { " " }, theme.strong)];
    for placed in columns {
        let (cell, style) = cell(*placed, snapshot, thread, row, theme);
        spans.push(Span::styled(align(&cell, *placed), if thread.exited { theme.dim } else { style }));
        spans.push(Span::raw(" "));
    }
    spans.pop();
    if selected {
        // Colours would become backgrounds, cell by cell.
        spans.iter_mut().for_each(|span| span.style.fg = None);
    }
    let line = Line::from(spans);
    if selected { line.patch_style(theme.selected) } else { line }
}

fn align(cell: &str, placed: Placed) -> String {
    let width = usize::from(placed.width);
    if placed.column.spec().right { text::right(cell, width) } else { text::left(cell, width) }
}

fn cell(placed: Placed, snapshot: &Snapshot, thread: &Thread, row: &Row, theme: &Theme) -> (String, Style) {
    let stats = &thread.stats;
    let all = &stats.runq.all;
    let latency = |ns| {
        let ns = known_latency(all, ns);
        (cells::duration(ns), theme.of(weigh_latency(ns)))
    };
    let plain = |cell: String| (cell, theme.plain);
    match placed.column {
        Column::Tid => plain(overview::id(thread)),
        Column::Name => plain(thread.comm.clone()),
        Column::State => plain(state_name(thread).into()),
        Column::Cpu => plain(cells::percent(row.cpu)),
        Column::P50 => latency(all.p50_ns),
        Column::P99 => latency(all.p99_ns),
        Column::Max => latency(all.max_ns),
        Column::Wait => (cells::percent(row.wait), theme.of(weigh_share(row.wait))),
        Column::Voluntary => plain(cells::rate(row.voluntary)),
        Column::Involuntary => plain(cells::rate(row.involuntary)),
        Column::Migrations => plain(cells::rate(row.migrations)),
        Column::CrossNode => (cells::rate(row.cross_node), theme.of(weigh_hops(row.cross_node))),
        Column::NodeMoves => plain(text::count_short(stats.node_moves)),
        Column::Touches => plain(cells::rate(row.touches)),
        Column::Remote => (cells::percent(stats.remote_share), theme.of(weigh_remote(stats.remote_share))),
        Column::Running => plain(text::duration(stats.cpu_ns)),
        Column::Waited => plain(text::duration(stats.wait_ns)),
        Column::Blocked => plain(text::duration(stats.blocked_ns)),
        Column::WaitingNow => (cells::duration(stats.waiting_now_ns), theme.of(weigh_latency(stats.waiting_now_ns))),
        Column::Residency => plain(cells::residency(&by_node(snapshot, thread), usize::from(placed.width))),
    }
}

/// Time on CPU with the kernel's number of the node.
fn by_node(snapshot: &Snapshot, thread: &Thread) -> Vec<(u32, u64)> {
    snapshot.host.nodes.iter().zip(&thread.stats.residency_ns).map(|(node, ns)| (node.id.0, *ns)).collect()
}
