//! The table of threads: what it lists, in which order and columns, what is selected, marked and folded, and how keys change
//! that. Pure.
//!
//! A row is a thread or, where threads are in groups, a group. Both have a position: that of a thread is its position in
//! `Snapshot::threads`, those of the groups follow. What takes work for each thread is done once for each snapshot, or when a
//! key changes what is listed; to draw takes work for the rows on the screen alone.

mod cell;
mod chooser;
mod copy;
mod keys;
mod tree;

use std::collections::HashSet;

pub use self::cell::cell;
pub use self::chooser::Chooser;
pub use self::copy::Copied;
pub use self::tree::{Group, Tree};

use super::filter::Filter;
use super::layout::{self, Column, Placed};
use super::rates::Rates;
use super::rows::{self, Row, Sort};
use crate::snapshot::{GroupBy, Snapshot, Thread};
use crate::text;
use crate::window::{self, ThreadKey};

/// What a key asks of whoever has the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Nothing: the key means nothing here.
    Nothing,
    /// Draw.
    Draw,
    /// Show the detail of the selected row.
    Open,
    /// Copy what [`Table::copied`] makes.
    Copy,
}

/// How much of a row is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marked {
    /// Nothing.
    No,
    /// Some threads of the group.
    Some,
    /// The thread, or all threads of the group.
    All,
}

impl Marked {
    /// What stands in front of the row.
    pub const fn sign(self) -> &'static str {
        match self {
            Marked::No => " ",
            Marked::Some => "+",
            Marked::All => "*",
        }
    }
}

/// A row that is listed.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// The thread, or what stands for a group.
    pub thread: &'a Thread,
    /// Its rates.
    pub row: &'a Row,
    /// The thread id, or how many threads a group has.
    pub id: String,
    /// What stands before the name: blanks for its level, and `+` for a group that is folded or `-` for one that is not.
    pub lead: String,
    /// The name.
    pub name: &'a str,
    /// How much of it is marked.
    pub marked: Marked,
    /// It is selected.
    pub selected: bool,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Table {
    width: u16,
    height: u16,
    /// Of each thread, then of each group.
    rows: Vec<Row>,
    thread_count: usize,
    ended: usize,
    tree: Option<Tree>,
    /// Page touches are measured.
    touches: bool,
    /// Positions of what is listed, in order, and on which level of the tree each is.
    order: Vec<usize>,
    levels: Vec<usize>,
    /// Threads that match the filter, those of folded groups included; the same by group.
    matching: usize,
    matching_in: Vec<u32>,
    /// Threads of the snapshot that are marked; the same by group.
    marked: usize,
    marked_in: Vec<u32>,
    marks: HashSet<ThreadKey>,
    unfolded: HashSet<ThreadKey>,
    /// Position in `order` of the selected row; 0 when there is none.
    selected: usize,
    /// What stays selected across sorting; `None` until the user chooses something: then the top row is.
    pinned: Option<ThreadKey>,
    /// Position in `order` of the first row shown.
    first: usize,
    /// How far the columns are scrolled.
    scroll: usize,
    sort: Sort,
    /// The user's own choice of columns.
    own: Option<Vec<Column>>,
    chooser: Option<Chooser>,
    filter: Filter,
    /// The filter as it was typed.
    filter_text: String,
    /// What is being typed, and why it is no filter.
    typed: Option<String>,
    wrong: Option<String>,
}

impl Table {
    /// An empty table on a terminal of this size.
    pub fn new(width: u16, height: u16) -> Table {
        Table {
            width,
            height,
            rows: Vec::new(),
            thread_count: 0,
            ended: 0,
            tree: None,
            touches: false,
            order: Vec::new(),
            levels: Vec::new(),
            matching: 0,
            matching_in: Vec::new(),
            marked: 0,
            marked_in: Vec::new(),
            marks: HashSet::new(),
            unfolded: HashSet::new(),
            selected: 0,
            pinned: None,
            first: 0,
            scroll: 0,
            sort: Sort::default(),
            own: None,
            chooser: None,
            filter: Filter::default(),
            filter_text: String::new(),
            typed: None,
            wrong: None,
        }
    }

    /// `numbers` are listed from here on, in these groups, with the rates of `rates`.
    pub fn observe(&mut self, numbers: &Snapshot, rates: &Rates, by: Option<GroupBy>) {
        self.rows = rows::rows(numbers, rates);
        self.thread_count = self.rows.len();
        self.ended = numbers.threads.iter().filter(|thread| thread.exited).count();
        self.touches = numbers.totals.touches.is_some();
        // What holds groups together is unpacked for as long as they are made.
        self.tree = by.map(|by| Tree::new(numbers, &rates.whole(), by));
        let groups = self.tree.iter().flat_map(|tree| &tree.groups);
        self.rows.extend(groups.map(|group| {
            rows::row(window::key(&group.thread), &group.thread.stats, Some(&group.rates), rates.head().duration_ns)
        }));
        self.list(numbers);
    }

    /// The terminal has another size.
    pub fn resize(&mut self, width: u16, height: u16) {
        (self.width, self.height) = (width, height);
        self.fit_columns();
        self.show_selected();
        let lines = self.page();
        self.chooser.iter_mut().for_each(|chooser| chooser.show(lines));
    }

    /// Positions of what is listed, in order.
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// The rates at this position.
    pub fn row(&self, at: usize) -> Option<&Row> {
        self.rows.get(at)
    }

    /// How many threads there are.
    pub fn thread_count(&self) -> usize {
        self.thread_count
    }

    /// How many of them have ended.
    pub fn ended(&self) -> usize {
        self.ended
    }

    /// How many threads match the filter, those in folded groups included.
    pub fn matching(&self) -> usize {
        self.matching
    }

    /// How many of the threads are marked.
    pub fn marked(&self) -> usize {
        self.marked
    }

    /// The groups, where threads are in groups.
    pub fn tree(&self) -> Option<&Tree> {
        self.tree.as_ref()
    }

    /// How many groups have a thread that matches the filter.
    pub fn matching_groups(&self) -> usize {
        self.matching_in.iter().filter(|count| **count > 0).count()
    }

    /// Position in [`Table::order`] of the selected row; `None` when nothing is listed.
    pub fn selected(&self) -> Option<usize> {
        (!self.order.is_empty()).then_some(self.selected)
    }

    /// What is selected, or would be if it were listed.
    pub fn selected_key(&self) -> Option<ThreadKey> {
        self.order.get(self.selected).map(|at| self.rows[*at].key).or(self.pinned)
    }

    /// Position in [`Table::order`] of the first row that is shown.
    pub fn first(&self) -> usize {
        self.first
    }

    /// How it is sorted.
    pub fn sort(&self) -> Sort {
        self.sort
    }

    /// The filter that is in force as it was typed; empty for all.
    pub fn filter_text(&self) -> &str {
        &self.filter_text
    }

    /// The filter that is being typed, and what is wrong with it.
    pub fn typed(&self) -> Option<(&str, Option<&str>)> {
        self.typed.as_deref().map(|typed| (typed, self.wrong.as_deref()))
    }

    /// The list of columns, while the user chooses.
    pub fn chooser(&self) -> Option<&Chooser> {
        self.chooser.as_ref()
    }

    /// The user's own choice of columns; `None` for those that fit.
    pub fn own_columns(&self) -> Option<&[Column]> {
        self.own.as_deref()
    }

    /// Shows these columns in this order; those that fit where there are none. One that is named twice is shown once.
    pub fn set_columns(&mut self, columns: Vec<Column>) {
        let mut own: Vec<Column> = Vec::with_capacity(columns.len());
        for column in columns {
            if !own.contains(&column) {
                own.push(column);
            }
        }
        self.own = (!own.is_empty()).then_some(own);
        self.scroll = 0;
    }

    /// The columns that are shown.
    pub fn columns(&self) -> Vec<Placed> {
        let own = self.listed_columns();
        let width = self.table_width();
        if self.tree.is_none() {
            return layout::columns(own.as_deref(), width, self.scroll, self.touches);
        }
        // Names of a tree need more room, where there is some.
        let spared = if width < 100 { 0 } else { 10 };
        let mut placed = layout::columns(own.as_deref(), width - spared, self.scroll, self.touches);
        widen_name(&mut placed, width);
        placed
    }

    /// How many columns are not shown that `left` and `right` reach.
    pub fn hidden_columns(&self) -> usize {
        layout::all_columns(self.listed_columns().as_deref()).saturating_sub(self.columns().len())
    }

    /// The own choice of columns. A tree has its shape in the column of names: it is always there.
    fn listed_columns(&self) -> Option<Vec<Column>> {
        let mut own = self.own.clone()?;
        if self.tree.is_some() && !own.contains(&Column::Name) {
            own.insert(0, Column::Name);
        }
        Some(own)
    }

    /// Width of the marks in front of a row: of the selected one, and, where there are any, those of the user.
    pub fn mark_width(&self) -> u16 {
        if self.marks.is_empty() { 1 } else { 2 }
    }

    fn table_width(&self) -> u16 {
        self.width.saturating_sub(self.mark_width())
    }

    fn page(&self) -> usize {
        layout::table_rows(self.height)
    }

    fn fit_columns(&mut self) {
        let own = self.listed_columns();
        self.scroll = self.scroll.min(layout::max_scroll(own.as_deref(), self.table_width()));
    }

    /// The row at this place of [`Table::order`].
    pub fn entry<'a>(&'a self, place: usize, numbers: &'a Snapshot) -> Option<Entry<'a>> {
        let level = self.levels.get(place).copied().unwrap_or(0);
        let entry = self.entry_at(*self.order.get(place)?, level, numbers)?;
        Some(Entry { selected: self.selected() == Some(place), ..entry })
    }

    /// The row of what is at a position.
    fn entry_at<'a>(&'a self, at: usize, level: usize, numbers: &'a Snapshot) -> Option<Entry<'a>> {
        let (thread, row) = self.find(at, numbers)?;
        let group = at.checked_sub(self.thread_count).and_then(|at| Some((at, self.tree.as_ref()?.groups.get(at)?)));
        let indent = " ".repeat(2 * level);
        let (id, lead, name, marked) = match group {
            None => {
                let marked = if self.marks.contains(&row.key) { Marked::All } else { Marked::No };
                (thread.tid.to_string(), indent, &*thread.comm, marked)
            }
            Some((group, Group { label, .. })) => {
                let sign = if self.unfolded.contains(&row.key) { '▾' } else { '▸' };
                let marked = match self.marked_in.get(group) {
                    Some(marked) if *marked == thread.members => Marked::All,
                    Some(marked) if *marked > 0 => Marked::Some,
                    _ => Marked::No,
                };
                (self.group_id(group, thread), format!("{indent}{sign} "), label.as_str(), marked)
            }
        };
        Some(Entry { thread, row, id, lead, name, marked, selected: false })
    }

    /// How many threads a group has, and of how many those are that match the filter: `×12`, `×3/12`.
    fn group_id(&self, group: usize, thread: &Thread) -> String {
        let all = text::count_short(u64::from(thread.members));
        match self.matching_in.get(group) {
            Some(some) if *some != thread.members => format!("×{}/{all}", text::count_short(u64::from(*some))),
            _ => format!("×{all}"),
        }
    }

    /// What is at a position.
    fn find<'a>(&'a self, at: usize, numbers: &'a Snapshot) -> Option<(&'a Thread, &'a Row)> {
        let thread = match at.checked_sub(self.thread_count) {
            None => numbers.threads.get(at)?,
            Some(group) => &self.tree.as_ref()?.groups.get(group)?.thread,
        };
        Some((thread, self.rows.get(at)?))
    }

    /// The group with this key.
    pub fn group(&self, key: ThreadKey) -> Option<&Group> {
        let at = self.rows.get(self.thread_count..)?.iter().position(|row| row.key == key)?;
        self.tree.as_ref()?.groups.get(at)
    }

    fn has_thread(&self, key: ThreadKey) -> bool {
        self.rows.iter().take(self.thread_count).any(|row| row.key == key)
    }

    /// Other groups will come: a group that is selected is no row of them. Says whether this one is there still, which is
    /// so of threads.
    pub fn regroup(&mut self, opened: Option<ThreadKey>) -> bool {
        self.pinned = self.pinned.filter(|key| self.has_thread(*key));
        opened.is_none_or(|key| self.has_thread(key))
    }

    /// Filters and sorts anew, and finds the selected row again.
    fn list(&mut self, numbers: &Snapshot) {
        self.count_marks();
        let matches: Vec<bool> = numbers
            .threads
            .iter()
            .zip(&self.rows)
            .map(|(thread, row)| self.filter.matches(thread, row, self.marks.contains(&row.key)))
            .collect();
        self.matching = matches.iter().filter(|matches| **matches).count();
        (self.order, self.levels) = match &self.tree {
            None => {
                self.matching_in.clear();
                let mut order: Vec<usize> = (0..matches.len()).filter(|at| matches[*at]).collect();
                rows::sort(&mut order, self.sort, |at| self.find(at, numbers));
                (order, Vec::new())
            }
            Some(tree) => {
                self.matching_in = tree.sums(|thread| matches[thread]);
                self.walk(tree, &matches, numbers)
            }
        };
        match self.pinned {
            // What is filtered away is found again when the filter goes.
            Some(key) => self.selected = self.place(key).unwrap_or(self.selected),
            None => (self.selected, self.first) = (0, 0),
        }
        self.fit_columns();
        self.show_selected();
    }

    /// Rows of the tree from the top, and their levels: what is below a folded group is not there.
    fn walk(&self, tree: &Tree, matches: &[bool], numbers: &Snapshot) -> (Vec<usize>, Vec<usize>) {
        let (mut order, mut levels) = (Vec::new(), Vec::new());
        let sorted = |mut rows: Vec<usize>| {
            rows::sort(&mut rows, self.sort, |at| self.find(at, numbers));
            rows
        };
        let there = |group: &usize| self.matching_in[*group] > 0;
        let position = |group: usize| self.thread_count + group;
        let roots = sorted(tree.roots().filter(there).map(position).collect());
        let mut left: Vec<(usize, usize)> = roots.into_iter().rev().map(|at| (at, 0)).collect();
        while let Some((at, level)) = left.pop() {
            order.push(at);
            levels.push(level);
            let Some(group) = at.checked_sub(self.thread_count).and_then(|at| tree.groups.get(at)) else { continue };
            if !self.unfolded.contains(&self.rows[at].key) {
                continue;
            }
            let groups = group.children.iter().copied().filter(there).map(position);
            let below = sorted(groups.chain(group.own.iter().copied().filter(|thread| matches[*thread])).collect());
            left.extend(below.into_iter().rev().map(|at| (at, level + 1)));
        }
        (order, levels)
    }

    /// Where in the list this is; of what a folded group hides, the group.
    fn place(&self, key: ThreadKey) -> Option<usize> {
        let place = |key: ThreadKey| self.order.iter().position(|at| self.rows[*at].key == key);
        place(key).or_else(|| {
            let tree = self.tree.as_ref()?;
            let at = self.rows.iter().position(|row| row.key == key)?;
            let group = at.checked_sub(self.thread_count).or_else(|| tree.group_of.get(at).copied())?;
            tree.upwards(group).find_map(|group| place(self.rows[self.thread_count + group].key))
        })
    }

    /// Selects a thread, or the group that it is in where that is folded.
    pub fn pin_to(&mut self, key: ThreadKey, numbers: &Snapshot) {
        self.pinned = Some(key);
        self.list(numbers);
    }

    /// The thread that was chosen, by a key and not by being the first; `None` where it was a group.
    pub fn chosen_thread(&self) -> Option<ThreadKey> {
        self.pinned.filter(|key| self.has_thread(*key))
    }

    /// Sorts so from the first numbers on.
    pub fn sort_first_by(&mut self, sort: Sort) {
        self.sort = sort;
    }

    /// Sorts by this column, the other way where that is how it is sorted already.
    pub fn sort_by(&mut self, column: Column, numbers: &Snapshot) {
        let usual = Sort::by(column);
        self.sort = Sort { descending: usual.descending != (self.sort == usual), ..usual };
        self.list(numbers);
    }

    fn count_marks(&mut self) {
        if self.marks.is_empty() {
            (self.marked, self.marked_in) = (0, Vec::new());
            return;
        }
        let marked = |thread: usize| self.marks.contains(&self.rows[thread].key);
        let all = (0..self.thread_count).filter(|thread| marked(*thread)).count();
        let by_group = self.tree.as_ref().map(|tree| tree.sums(marked)).unwrap_or_default();
        (self.marked, self.marked_in) = (all, by_group);
    }

    /// Clamps the selection, and scrolls so that it is shown.
    fn show_selected(&mut self) {
        let page = self.page();
        self.selected = self.selected.min(self.order.len().saturating_sub(1));
        self.first = self.first.min(self.order.len().saturating_sub(page));
        self.first = self.first.clamp((self.selected + 1).saturating_sub(page), self.selected);
    }

    /// Chooses the row at this place of the list.
    pub fn select(&mut self, place: usize) {
        self.selected = place;
        self.show_selected();
        self.pin();
    }

    /// The row above or below, as far as there is one.
    pub fn step(&mut self, by: isize) {
        self.select(self.selected.saturating_add_signed(by));
    }

    /// What is selected stays so. What is filtered away stays chosen.
    pub fn pin(&mut self) {
        self.pinned = self.selected_key();
    }

    /// The selected row, or all marked threads, as text.
    pub fn copied(&self, numbers: &Snapshot) -> Copied {
        let columns: Vec<Column> = match self.listed_columns() {
            Some(own) => own,
            None => self.columns().iter().map(|placed| placed.column).collect(),
        };
        let widths: Vec<Placed> =
            columns.iter().map(|column| Placed { column: *column, width: column.spec().most.max(4_096) }).collect();
        let cells = |entry: &Entry<'_>| -> Vec<String> {
            widths.iter().map(|placed| cell(*placed, &numbers.host, entry).0).collect()
        };
        let rows: Vec<Vec<String>> = if self.marked > 0 {
            let mut all: Vec<usize> =
                (0..self.thread_count).filter(|at| self.marks.contains(&self.rows[*at].key)).collect();
            rows::sort(&mut all, self.sort, |at| self.find(at, numbers));
            let entries = all.into_iter().filter_map(|at| self.entry_at(at, 0, numbers));
            entries.map(|entry| cells(&entry)).collect()
        } else {
            let at = self.order.get(self.selected).copied();
            let entry = at.and_then(|at| self.entry_at(at, 0, numbers));
            // Pasted, nothing folds.
            entry.map(|entry| cells(&Entry { lead: String::new(), ..entry })).into_iter().collect()
        };
        copy::rows(&columns, &rows)
    }
}

/// Names of a tree are indented, and those of cgroups are long: they take what is free, and what columns that are wider than they
/// must be can spare.
fn widen_name(placed: &mut [Placed], width: u16) {
    const MOST: u16 = 48;
    let taken: u16 = placed.iter().map(|placed| placed.width + 1).sum();
    let mut spare = (width + 1).saturating_sub(taken);
    let mut wanted =
        placed.iter().find(|placed| placed.column == Column::Name).map_or(0, |name| MOST - name.width.min(MOST));
    for other in placed
        .iter_mut()
        .filter(|placed| matches!(placed.column, Column::Residency | Column::Cgroup | Column::Container))
    {
        let least = other.column.spec().width;
        let given = other.width.saturating_sub(least).min(wanted.saturating_sub(spare));
        other.width -= given;
        spare += given;
    }
    wanted = wanted.min(spare);
    placed.iter_mut().filter(|placed| placed.column == Column::Name).for_each(|name| name.width += wanted);
}

#[cfg(test)]
mod tests;
