//! The list of columns, in place of the table.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::Pieces;
use crate::text;
use crate::tui::layout::{COLUMNS, TABLE_HEAD_LINES};
use crate::tui::table::{Chooser, Table};
use crate::tui::theme::Theme;

/// Widest terminal on which the heads leave their place to the meanings.
const NARROW: u16 = 64;
/// Widths of the name of a column, and of its head.
const KEY: usize = 13;
const HEAD: usize = 9;

/// Draws the columns from the one on that `chooser` says.
pub fn render(frame: &mut Frame<'_>, area: Rect, table: &Table, chooser: &Chooser, theme: &Theme) {
    let mut title = Pieces::new(area.width);
    title.push("Columns ", theme.strong);
    match table.own_columns() {
        Some(own) => title.push(&format!("{} of {}, in your order", own.len(), COLUMNS.len()), theme.plain),
        None => title.push(&format!("{} of {}: what fits", table.columns().len(), COLUMNS.len()), theme.plain),
    }
    let room = usize::from(area.height.saturating_sub(TABLE_HEAD_LINES));
    let (first, all) = (chooser.first(), chooser.entries().len());
    if room < all {
        title.push_whole(&format!("  lines {}-{} of {all}", first + 1, (first + room).min(all)), theme.dim);
    }
    let mut lines = vec![Line::from(title.spans), heads(area.width, theme)];
    for (at, (column, on)) in chooser.entries().iter().enumerate().skip(first).take(room) {
        let spec = column.spec();
        let selected = at == chooser.at();
        let mut line = Pieces::new(area.width);
        line.push(if selected { ">" } else { " " }, theme.strong);
        line.push(if *on { "[x] " } else { "[ ] " }, theme.key);
        line.push(&text::left(spec.key, KEY), if *on { theme.strong } else { theme.plain });
        line.push(" ", theme.plain);
        if area.width > NARROW {
            line.push(&text::left(spec.title, HEAD + 1), theme.head);
        }
        line.push(spec.meaning, theme.plain);
        line.fill_to(0);
        let line = Line::from(line.spans);
        lines.push(if selected { line.patch_style(theme.selected) } else { line });
    }
    frame.render_widget(Paragraph::new(lines), area);
}

fn heads(width: u16, theme: &Theme) -> Line<'static> {
    let mut line = Pieces::new(width);
    line.push(&format!("     {} ", text::left("name", KEY)), theme.head);
    if width > NARROW {
        line.push(&text::left("head", HEAD + 1), theme.head);
    }
    line.push("what it says", theme.head);
    Line::from(vec![Span::raw(""), Span::raw("")].into_iter().chain(line.spans).collect::<Vec<_>>())
}
