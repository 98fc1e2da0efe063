//! The list in which the user chooses columns and their order. Pure.

use crate::tui::layout::{COLUMNS, Column};

/// Which columns the user wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chooser {
    /// Every column, and whether it is to be shown; those of an own choice first, in its order.
    entries: Vec<(Column, bool)>,
    at: usize,
    first: usize,
}

impl Chooser {
    /// With the columns of an own choice, or those that are shown without one.
    pub fn new(own: Option<&[Column]>, shown: &[Column]) -> Chooser {
        let rest = |chosen: &[Column]| -> Vec<(Column, bool)> {
            let others = COLUMNS.iter().map(|spec| spec.column).filter(|column| !chosen.contains(column));
            others.map(|column| (column, false)).collect()
        };
        let entries = match own {
            Some(own) => own.iter().map(|column| (*column, true)).chain(rest(own)).collect(),
            None => COLUMNS.iter().map(|spec| (spec.column, shown.contains(&spec.column))).collect(),
        };
        Chooser { entries, at: 0, first: 0 }
    }

    /// Every column in order, and whether it is to be shown.
    pub fn entries(&self) -> &[(Column, bool)] {
        &self.entries
    }

    /// Position of the column that keys act on.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Position of the first one that is shown.
    pub fn first(&self) -> usize {
        self.first
    }

    /// The columns that were chosen, in order.
    pub fn chosen(&self) -> Vec<Column> {
        self.entries.iter().filter(|(_, on)| *on).map(|(column, _)| *column).collect()
    }

    /// Goes up or down, on a list of which so many lines are shown.
    pub fn go(&mut self, by: isize, lines: usize) {
        self.at = self.at.saturating_add_signed(by).min(self.entries.len().saturating_sub(1));
        self.show(lines);
    }

    /// Scrolls so that the column that keys act on is shown.
    pub fn show(&mut self, lines: usize) {
        self.first = self.first.min(self.entries.len().saturating_sub(lines));
        self.first = self.first.clamp((self.at + 1).saturating_sub(lines), self.at);
    }

    /// Chooses the column, or leaves it out; says whether anything changed: the last one stays, as there is no table
    /// without columns.
    pub fn toggle(&mut self) -> bool {
        let last = self.chosen().len() == 1;
        match self.entries.get_mut(self.at) {
            Some((_, on)) if !*on || !last => {
                *on = !*on;
                true
            }
            _ => false,
        }
    }

    /// Moves the column up or down; says whether anything changed.
    pub fn carry(&mut self, by: isize, lines: usize) -> bool {
        let to = self.at.saturating_add_signed(by).min(self.entries.len().saturating_sub(1));
        let moved = to != self.at;
        if moved {
            self.entries.swap(self.at, to);
            self.go(by, lines);
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_chosen_and_carried_and_the_last_one_stays() {
        let mine = [Column::P99, Column::Tid];
        let mut chooser = Chooser::new(Some(&mine), &[]);
        assert_eq!((chooser.chosen(), chooser.entries().len()), (mine.to_vec(), COLUMNS.len()));
        assert!(!chooser.carry(-1, 5) && chooser.carry(1, 5));
        assert_eq!((chooser.chosen(), chooser.at()), (vec![Column::Tid, Column::P99], 1));
        assert!(chooser.toggle());
        chooser.go(-9, 5);
        assert!(!chooser.toggle(), "the last one");
        chooser.go(isize::MAX, 5);
        assert_eq!((chooser.at(), chooser.first()), (COLUMNS.len() - 1, COLUMNS.len() - 5));
        assert!(chooser.toggle() && !chooser.carry(1, 5));
        assert_eq!(chooser.chosen(), [Column::Tid, chooser.entries()[chooser.at()].0]);
    }
}
