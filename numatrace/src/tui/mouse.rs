//! What clicks and the wheel mean. Pure: they do what keys do, at the place that is pointed at.

use super::layout;
use super::state::{Action, Key, Tab, UiState, update};
use super::tabs;
use crate::snapshot::Snapshot;

/// Lines that the wheel scrolls at once.
const WHEEL: usize = 3;

/// A click: on a view's name shows it, on the head of a column sorts by it (again: the other way), on a row selects it (again:
/// opens it), in the map of CPUs and in the events likewise.
pub(super) fn click(state: &mut UiState, column: u16, row: u16, snapshot: &Snapshot) -> Action {
    if state.takes_text()
        || state.table().chooser().is_some()
        || state.help().is_some()
        || !layout::fits(state.width(), state.height())
    {
        return Action::None;
    }
    if row.saturating_add(1) == layout::HEADER_LINES {
        let Some(tab) = tabs::at(state, snapshot, column) else { return Action::None };
        state.open(tab, snapshot);
        return Action::Draw;
    }
    if state.tab() != Tab::Threads {
        let Some(line) = row.checked_sub(layout::HEADER_LINES) else { return Action::None };
        return match state.point(column.into(), line.into(), snapshot) {
            Some(true) => update(state, Key::Enter, snapshot),
            Some(false) => Action::Draw,
            None => Action::None,
        };
    }
    match row.checked_sub(layout::HEADER_LINES + layout::TABLE_HEAD_LINES) {
        None if row.saturating_add(1) == layout::HEADER_LINES + layout::TABLE_HEAD_LINES => {
            let Some(clicked) = layout::column_at(&state.columns(), state.table().mark_width(), column) else {
                return Action::None;
            };
            state.table_mut().sort_by(clicked, snapshot);
        }
        Some(line) if usize::from(line) < layout::table_rows(state.height()) => {
            let position = state.first() + usize::from(line);
            match state.selected() {
                Some(selected) if selected == position => return update(state, Key::Enter, snapshot),
                Some(_) if position < state.order().len() => state.table_mut().select(position),
                _ => return Action::None,
            }
        }
        _ => return Action::None,
    }
    Action::Draw
}

/// The wheel does what the key `towards` does, some times over.
pub(super) fn wheel(state: &mut UiState, towards: Key, snapshot: &Snapshot) -> Action {
    let mut action = Action::None;
    for _ in 0..WHEEL {
        action = update(state, towards, snapshot);
    }
    action
}
