//! The map of CPUs.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::{Pieces, page};
use crate::snapshot::Snapshot;
use crate::tui::cpus::{Ink, Piece};
use crate::tui::state::UiState;
use crate::tui::theme::Theme;

/// Draws the map, or a sentence where there is none.
pub fn render(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot, state: &UiState, theme: &Theme) {
    if state.thread_count() == 0 {
        return page::sentence(frame, area, super::nothing(state), theme);
    }
    match state.cpus(snapshot) {
        Ok(lines) => {
            let drawn: Vec<Line<'_>> = lines.iter().map(|line| draw(line, area.width, theme)).collect();
            frame.render_widget(Paragraph::new(drawn), area);
        }
        Err(why) => page::sentence(frame, area, &why, theme),
    }
}

fn draw(line: &[Piece], width: u16, theme: &Theme) -> Line<'static> {
    let mut drawn = Pieces::new(width);
    for piece in line.iter().filter(|piece| !piece.text.is_empty()) {
        if drawn.left == 0 {
            break;
        }
        drawn.push(&piece.text, style(piece, theme));
    }
    Line::from(drawn.spans)
}

fn style(piece: &Piece, theme: &Theme) -> Style {
    let faint = |style: Style, faint| if faint { style.add_modifier(Modifier::DIM) } else { style };
    let style = match piece.ink {
        Ink::Text(role) => theme.of(role),
        Ink::Thread(letter, is_faint) => faint(theme.thread(letter), is_faint),
        Ink::Other(is_faint) => faint(theme.plain, is_faint),
    };
    let style = if piece.chosen { style.add_modifier(Modifier::BOLD | Modifier::UNDERLINED) } else { style };
    if piece.cursor { Style { fg: None, ..style }.patch(theme.selected) } else { style }
}
