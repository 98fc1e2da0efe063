//! How keys change the table.

use std::collections::HashSet;

use super::{Asked, Chooser, Table};
use crate::snapshot::Snapshot;
use crate::tui::filter::Filter;
use crate::tui::layout::{COLUMNS, Column};
use crate::tui::rows::Sort;
use crate::tui::state::Key;
use crate::window::ThreadKey;

/// Longest filter.
const MAX_FILTER: usize = 200;
/// Marks and unfolded groups that are kept, of threads and groups that may come back; beyond, those that are there.
pub(super) const MAX_KEPT: usize = 100_000;

impl Table {
    /// Whether keys are for the filter that is typed, or for the list of columns, and for nothing else.
    pub fn takes_all_keys(&self) -> bool {
        self.typed.is_some() || self.chooser.is_some()
    }

    /// Takes a key; `numbers` is the snapshot that was observed last.
    pub fn press(&mut self, key: Key, numbers: &Snapshot) -> Asked {
        if let Some(typed) = self.typed.take() {
            return self.edit_filter(typed, key, numbers);
        }
        if let Some(chooser) = self.chooser.take() {
            return self.choose(chooser, key);
        }
        match key {
            Key::Char('/') => (self.typed, self.wrong) = (Some(self.filter_text.clone()), None),
            Key::Esc if !self.filter_text.is_empty() => self.set_filter("", numbers),
            Key::Enter if self.selected_group().is_some() => self.fold(numbers),
            Key::Enter | Key::Char('d') if self.selected().is_some() => return Asked::Open,
            Key::Char('z') if self.tree.is_some() => self.fold(numbers),
            Key::Char('Z') if self.tree.is_some() => self.fold_all(numbers),
            Key::Char('m') if self.selected().is_some() => self.mark(numbers),
            Key::Char('u') if !self.marks.is_empty() => {
                self.marks.clear();
                self.list(numbers);
            }
            Key::Char('y') if self.selected().is_some() || self.marked > 0 => return Asked::Copy,
            Key::Char('c') => {
                let shown: Vec<Column> = self.columns().iter().map(|placed| placed.column).collect();
                self.chooser = Some(Chooser::new(self.own.as_deref(), &shown));
            }
            Key::Char('s') => {
                self.sort_by_next();
                self.list(numbers);
            }
            Key::Char('S') => {
                self.sort.descending = !self.sort.descending;
                self.list(numbers);
            }
            Key::Left | Key::Char('h') => self.scroll = self.scroll.saturating_sub(1),
            Key::Right | Key::Char('l') => {
                self.scroll += 1;
                self.fit_columns();
            }
            _ => return self.move_selection(key),
        }
        Asked::Draw
    }

    /// Puts a filter in force; says what is wrong with one that is none, and then changes nothing.
    fn set_filter(&mut self, text: &str, numbers: &Snapshot) {
        match Filter::parse(text) {
            Ok(filter) => {
                (self.filter, self.filter_text, self.wrong) = (filter, text.trim().into(), None);
                self.list(numbers);
            }
            Err(wrong) => self.wrong = Some(wrong.to_string()),
        }
    }

    /// What is typed is in force while it is typed. The word at its end is left out as long as it is wrong, or is no more than
    /// the beginning of a column's name with which nothing would be listed.
    fn try_filter(&mut self, typed: &str, numbers: &Snapshot) {
        self.set_filter(typed, numbers);
        let wrong = self.wrong.take();
        let (before, last) = typed.rsplit_once(char::is_whitespace).unwrap_or(("", typed));
        let names = || COLUMNS.iter().any(|spec| spec.key.starts_with(last.trim_start_matches('!')));
        if wrong.is_some() || (self.order.is_empty() && !last.is_empty() && names()) {
            self.set_filter(before, numbers);
        }
        self.wrong = wrong;
    }

    fn edit_filter(&mut self, mut typed: String, key: Key, numbers: &Snapshot) -> Asked {
        match key {
            Key::Char(c) if !c.is_control() && typed.chars().count() < MAX_FILTER => typed.push(c),
            Key::Backspace if typed.is_empty() => return Asked::Draw,
            Key::Backspace => _ = typed.pop(),
            // What is wrong is not kept: it is still to be mended.
            Key::Enter if self.wrong.is_none() => {
                self.set_filter(&typed, numbers);
                return Asked::Draw;
            }
            Key::Esc => {
                self.set_filter("", numbers);
                return Asked::Draw;
            }
            _ => {
                let moves = matches!(key, Key::Up | Key::Down | Key::PageUp | Key::PageDown);
                self.typed = Some(typed);
                return if moves { self.move_selection(key) } else { Asked::Nothing };
            }
        }
        self.try_filter(&typed, numbers);
        self.typed = Some(typed);
        Asked::Draw
    }

    fn choose(&mut self, mut chooser: Chooser, key: Key) -> Asked {
        let lines = self.page();
        let page = lines as isize;
        let changed = match key {
            Key::Enter | Key::Esc | Key::Char('c') => return Asked::Draw,
            Key::Char(' ') => chooser.toggle(),
            Key::Char('J') => chooser.carry(1, lines),
            Key::Char('K') => chooser.carry(-1, lines),
            Key::Char('0') => {
                self.set_columns(Vec::new());
                let shown: Vec<Column> = self.columns().iter().map(|placed| placed.column).collect();
                self.chooser = Some(Chooser::new(None, &shown));
                return Asked::Draw;
            }
            _ => {
                match key {
                    Key::Up | Key::Char('k') => chooser.go(-1, lines),
                    Key::Down | Key::Char('j') => chooser.go(1, lines),
                    Key::PageUp => chooser.go(-page, lines),
                    Key::PageDown => chooser.go(page, lines),
                    Key::Home => chooser.go(isize::MIN, lines),
                    Key::End => chooser.go(isize::MAX, lines),
                    _ => {
                        self.chooser = Some(chooser);
                        return Asked::Nothing;
                    }
                }
                false
            }
        };
        if changed {
            self.set_columns(chooser.chosen());
        }
        self.chooser = Some(chooser);
        Asked::Draw
    }

    /// The position of the selected row, where it is a group.
    fn selected_group(&self) -> Option<usize> {
        self.order.get(self.selected).copied().filter(|at| *at >= self.thread_count)
    }

    /// Folds or unfolds the selected group; that of the selected thread is folded.
    fn fold(&mut self, numbers: &Snapshot) {
        let Some(at) = self.order.get(self.selected).copied() else { return };
        let group = match (&self.tree, self.selected_group()) {
            (_, Some(group)) => group,
            (Some(tree), None) => self.thread_count + tree.group_of.get(at).copied().unwrap_or(0),
            (None, None) => return,
        };
        let key = self.rows[group].key;
        if !self.unfolded.remove(&key) {
            self.unfolded.insert(key);
        }
        self.pinned = Some(key);
        self.forget_far_ones();
        self.list(numbers);
    }

    /// Unfolds all groups, or folds them where none is folded.
    fn fold_all(&mut self, numbers: &Snapshot) {
        let keys = || self.rows.iter().skip(self.thread_count).map(|row| row.key);
        if keys().all(|key| self.unfolded.contains(&key)) {
            self.unfolded.clear();
        } else {
            let all: Vec<ThreadKey> = keys().collect();
            self.unfolded.extend(all);
        }
        self.pin();
        self.forget_far_ones();
        self.list(numbers);
    }

    /// Marks the selected thread or takes its mark away; of a group all threads that match the filter.
    fn mark(&mut self, numbers: &Snapshot) {
        let Some(at) = self.order.get(self.selected).copied() else { return };
        let threads = match (&self.tree, self.selected_group()) {
            (Some(tree), Some(group)) => tree.threads(group - self.thread_count),
            _ => vec![at],
        };
        let matching = |at: &usize| {
            self.find(*at, numbers)
                .is_some_and(|(thread, row)| self.filter.matches(thread, row, self.marks.contains(&row.key)))
        };
        let keys: Vec<ThreadKey> = threads.into_iter().filter(matching).map(|at| self.rows[at].key).collect();
        if keys.iter().all(|key| self.marks.contains(key)) {
            keys.iter().for_each(|key| _ = self.marks.remove(key));
        } else {
            self.marks.extend(keys);
        }
        self.pin();
        self.forget_far_ones();
        self.list(numbers);
    }

    /// Keeps memory bounded: of very many, those that are not there now are forgotten.
    fn forget_far_ones(&mut self) {
        if self.marks.len().max(self.unfolded.len()) > MAX_KEPT {
            let there: HashSet<ThreadKey> = self.rows.iter().map(|row| row.key).collect();
            self.marks.retain(|key| there.contains(key));
            self.unfolded.retain(|key| there.contains(key));
        }
    }

    /// The next of the columns that are shown; the first one when the current one is not.
    fn sort_by_next(&mut self) {
        let columns = self.columns();
        let at = columns.iter().position(|placed| placed.column == self.sort.column);
        let next = at.map_or(0, |at| at + 1);
        if let Some(placed) = columns.get(next).or(columns.first()) {
            self.sort = Sort { column: placed.column, descending: placed.column.spec().descending };
        }
    }

    fn move_selection(&mut self, key: Key) -> Asked {
        let (at, page) = (self.selected, self.page());
        match key {
            Key::Up | Key::Char('k') => self.select(at.saturating_sub(1)),
            Key::Down | Key::Char('j') => self.select(at.saturating_add(1)),
            Key::PageUp => self.select(at.saturating_sub(page)),
            Key::PageDown => self.select(at.saturating_add(page)),
            Key::End => self.select(usize::MAX),
            Key::Home => {
                self.select(0);
                self.pinned = None;
            }
            _ => return Asked::Nothing,
        }
        Asked::Draw
    }
}
