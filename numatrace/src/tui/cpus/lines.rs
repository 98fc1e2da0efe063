//! The map in lines: rows with their heads, the ruler, the legend, and what is told of the cell under the cursor.

use std::collections::HashSet;

use super::picture::{Cell, Fold, Row};
use super::{Cpus, HEAD_LINES, Item, NOBODY, OTHER, Room, number};
use crate::snapshot::{Snapshot, TRACK_SLOT_NS, TRACK_SLOTS};
use crate::text;
use crate::tui::keymap::Keymap;
use crate::tui::page::Role;
use crate::tui::state::Key;

/// How a piece of the map looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// As text of any page.
    Text(Role),
    /// Of the thread with this letter, by its number; faint where it had less than half of the time.
    Thread(usize, bool),
    /// Of a thread without a letter; faint as above.
    Other(bool),
}

/// A piece of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// What is written.
    pub text: String,
    /// How.
    pub ink: Ink,
    /// It is of the selected thread.
    pub chosen: bool,
    /// The cursor is on it.
    pub cursor: bool,
}

impl Piece {
    fn new(text: impl Into<String>, role: Role) -> Piece {
        Piece { text: text.into(), ink: Ink::Text(role), chosen: false, cursor: false }
    }
}

impl Cpus {
    /// The view in lines.
    pub fn lines(&self, numbers: &Snapshot, room: Room) -> Vec<Vec<Piece>> {
        let shown = || self.items.iter().enumerate().skip(self.first).take(room.rows());
        let mut lines = vec![self.title(numbers, room), self.ruler(room)];
        let cursor = self.cursor();
        for (at, item) in shown() {
            lines.push(match item {
                Item::Head(group) => self.head(*group),
                Item::Row(row) => self.row_line(*row, cursor == Some(at), room),
            });
        }
        lines.resize(HEAD_LINES + room.rows(), Vec::new());
        if room.legend() > 0 {
            let beside = room.label() + room.slots() * room.cell() + 6;
            let legend = self.legend(numbers, shown().map(|(_, item)| *item), room);
            for (line, entry) in lines.iter_mut().skip(1).zip(legend) {
                let used: usize = line.iter().map(|piece| text::width(&piece.text)).sum();
                // A head line can be longer than the map is wide.
                if used < beside {
                    line.push(Piece::new(" ".repeat(beside - used), Role::Plain));
                } else if used > beside {
                    shorten(line, beside);
                }
                line.extend(entry);
            }
        }
        lines.push(self.told(numbers));
        lines
    }

    fn title(&self, numbers: &Snapshot, room: Room) -> Vec<Piece> {
        let all = self.picture.rows.len();
        let shown: Vec<&Row> =
            (self.first..self.items.len()).take(room.rows()).filter_map(|item| self.row(item)).collect();
        let mut line = vec![Piece::new(format!("{} ", self.fold.name()), Role::Strong)];
        match (shown.first(), shown.last()) {
            (Some(first), Some(last)) if shown.len() < all - self.hidden => {
                let place = format!("{} of {all}, {} to {}", shown.len(), first.label, last.label);
                line.push(Piece::new(place, Role::Warn));
            }
            _ if self.hidden > 0 => line.push(Piece::new(format!("{} of {all}", shown.len()), Role::Plain)),
            _ => line.push(Piece::new(all.to_string(), Role::Plain)),
        }
        if self.hidden > 0 {
            line.push(Piece::new(format!("  {} unused hidden", self.hidden), Role::Warn));
        }
        if numbers.loss.records_lost > 0 {
            line.push(Piece::new("  ! records were lost: cells may be missing", Role::Bad));
        }
        if self.picture.unknown > 0 {
            let threads = if self.picture.unknown == 1 { "thread runs" } else { "threads run" };
            let unknown = format!("  ! {} {threads} where it is not known", self.picture.unknown);
            line.push(Piece::new(unknown, Role::Bad));
        }
        let reach = text::duration(self.picture.reach);
        let bars = if self.fold != Fold::Cpu && room.cell() == 1 { ", bars: share of its CPUs" } else { "" };
        line.push(Piece::new(format!("  last {reach}, a column each 250ms{bars}; the target alone"), Role::Dim));
        line
    }

    /// How long ago, above the cells, and where the cursor is.
    fn ruler(&self, room: Room) -> Vec<Piece> {
        let (slots, cell) = (room.slots(), room.cell());
        let mut marks = vec![' '; slots * cell];
        let mut write = |age: usize, mark: &str| {
            let Some(at) = slots.checked_sub(age + 1).map(|at| at * cell) else { return };
            for (to, c) in marks.iter_mut().skip(at).zip(mark.chars()) {
                *to = c;
            }
        };
        for seconds in [2, 4, 6, 8] {
            write(seconds * 4, &format!("|-{seconds}s"));
        }
        write(TRACK_SLOTS - 1, "|-10s");
        // The cursor before the marks, where they meet.
        write(self.age, "▼");
        vec![
            Piece::new(" ".repeat(room.label()), Role::Plain),
            Piece::new(marks.into_iter().collect::<String>(), Role::Dim),
            Piece::new("  busy", Role::Head),
        ]
    }

    fn head(&self, group: usize) -> Vec<Piece> {
        let Some(group) = self.picture.groups.get(group) else { return Vec::new() };
        let share = self.share(group.total, group.cpus);
        vec![
            Piece::new(group.head.clone(), Role::Head),
            Piece::new(format!("  busy {}", text::percent(share)), Role::Dim),
        ]
    }

    /// The part of the time of so many CPUs.
    fn share(&self, ns: u64, cpus: u32) -> f64 {
        let time = self.picture.reach as f64 * f64::from(cpus);
        if time > 0.0 { (ns as f64 / time).min(1.0) } else { 0.0 }
    }

    fn row_line(&self, at: usize, cursor: bool, room: Room) -> Vec<Piece> {
        let Some(row) = self.picture.rows.get(at) else { return Vec::new() };
        let width = room.label() - 2;
        let label = if room.label() < 9 { row.label.rsplit(' ').next().unwrap_or_default() } else { &row.label };
        let mut line = vec![Piece::new(
            format!("{}{} ", if cursor { ">" } else { " " }, text::right(label, width)),
            if cursor { Role::Strong } else { Role::Plain },
        )];
        let first = TRACK_SLOTS - room.slots();
        for (slot, cell) in row.cells.iter().enumerate().skip(first) {
            let age = TRACK_SLOTS - 1 - slot;
            let here = cursor && age == self.age;
            let piece = if self.is_known(age) {
                self.cell(cell, age, row.cpus, here, room)
            } else {
                Piece { cursor: here, ..Piece::new(" ".repeat(room.cell()), Role::Plain) }
            };
            match line.last_mut() {
                Some(last) if same_look(last, &piece) => last.text.push_str(&piece.text),
                _ => line.push(piece),
            }
        }
        let share = self.share(row.total, row.cpus);
        line.push(Piece::new(
            text::right(&text::percent(share), 6),
            if row.total > 0 { Role::Plain } else { Role::Dim },
        ));
        line
    }

    /// It is known who ran so many slots ago: tracing had begun, and it is not too long ago.
    const fn is_known(&self, age: usize) -> bool {
        self.picture.oldest.saturating_add(age as u64) <= self.picture.newest
    }

    /// Time of so many CPUs in the slot that is so old, ns.
    fn time(&self, age: usize, cpus: u32) -> f64 {
        let slot = if age == 0 { self.picture.newest_ns } else { TRACK_SLOT_NS };
        slot.max(1) as f64 * f64::from(cpus)
    }

    fn cell(&self, cell: &Cell, age: usize, cpus: u32, cursor: bool, room: Room) -> Piece {
        if cell.total == 0 {
            let text = if room.cell() == 2 { format!("{NOBODY} ") } else { NOBODY.to_string() };
            return Piece { cursor, ..Piece::new(text, Role::Dim) };
        }
        let share = cell.total as f64 / self.time(age, cpus);
        let letter = self.picture.letters.get(&cell.thread).copied();
        let faint = (cell.longest as f64) * 2.0 < self.time(age, 1);
        let letter_text = letter.unwrap_or(OTHER);
        let text = match (room.cell(), self.fold) {
            (2, _) => format!("{letter_text}{}", level(share)),
            (_, Fold::Cpu) => letter_text.to_string(),
            _ => level(share).to_string(),
        };
        let ink = match letter.and_then(number) {
            _ if self.fold != Fold::Cpu && room.cell() == 1 => Ink::Text(Role::Bar),
            Some(number) => Ink::Thread(number, faint),
            None => Ink::Other(faint),
        };
        Piece { text, ink, chosen: self.picture.chosen == Some(cell.thread), cursor }
    }

    /// Threads of the rows that are shown, one a line.
    fn legend(&self, numbers: &Snapshot, items: impl Iterator<Item = Item>, room: Room) -> Vec<Vec<Piece>> {
        let first = TRACK_SLOTS - room.slots();
        let (mut here, mut others) = (HashSet::new(), false);
        for item in items {
            let Item::Row(row) = item else { continue };
            let cells = self.picture.rows.get(row).into_iter().flat_map(|row| row.cells.iter().skip(first));
            for cell in cells.filter(|cell| cell.total > 0) {
                match self.picture.letters.contains_key(&cell.thread) {
                    true => _ = here.insert(cell.thread),
                    false => others = true,
                }
            }
        }
        let columns = room.legend();
        let with_id = columns >= 38;
        let name = columns.saturating_sub(4 + 5 + 5 + if with_id { 8 } else { 0 }).clamp(4, 24);
        let id = |id: &str| if with_id { text::right(id, 8) } else { String::new() };
        let heads = format!("    {}{}{:>5}{:>5}", text::left("busiest", name), id("tid"), "CPUs", "hops");
        let mut lines = vec![vec![Piece::new(heads, Role::Head)]];
        let shown = self.picture.lettered.iter().filter(|one| here.contains(&one.thread));
        let count = shown.clone().count();
        let rest = 1 + usize::from(others);
        let room_for = (room.rows() + 1).saturating_sub(1 + rest);
        let named = if count > room_for { room_for.saturating_sub(1) } else { count };
        for one in shown.take(named) {
            let Some(thread) = numbers.threads.get(one.thread as usize) else { continue };
            let chosen = self.picture.chosen == Some(one.thread);
            let ink = number(one.letter).map_or(Ink::Other(false), |number| Ink::Thread(number, false));
            let words = format!(
                " {}{}{:>5}{:>5}",
                text::left(&thread.comm, name),
                id(&thread.tid.to_string()),
                one.cpus,
                text::count_short(one.hops as u64)
            );
            lines.push(vec![
                Piece::new(if chosen { " >" } else { "  " }, Role::Strong),
                Piece { text: one.letter.to_string(), ink, chosen, cursor: false },
                Piece { chosen, ..Piece::new(words, Role::Plain) },
            ]);
        }
        if named < count {
            lines.push(vec![Piece::new(format!("  ... and {} more here", count - named), Role::Warn)]);
        }
        if others {
            lines.push(vec![Piece::new(format!("  {OTHER} another thread"), Role::Dim)]);
        }
        lines.push(vec![Piece::new(format!("  {NOBODY} nobody of the target"), Role::Dim)]);
        lines
    }

    /// Who ran in the cell under the cursor.
    fn told(&self, numbers: &Snapshot) -> Vec<Piece> {
        let Some(row) = self.cursor().and_then(|at| self.row(at)) else { return Vec::new() };
        let ago = match self.age {
            0 => "now".to_owned(),
            age => format!("{} ago", text::duration(age as u64 * TRACK_SLOT_NS)),
        };
        let group = self.picture.groups.get(row.group).map(|group| group.place.as_str()).unwrap_or_default();
        let group = if group.is_empty() { String::new() } else { format!(" ({group})") };
        let mut line = vec![Piece::new(format!("{}{group}, {ago}: ", row.label), Role::Strong)];
        let (named, threads) = (&self.under.0, self.under.1);
        if named.is_empty() {
            let why = if self.is_known(self.age) {
                "no thread of the target ran there"
            } else if self.age as u64 > self.picture.newest {
                "before tracing began"
            } else {
                "no more than ten seconds are kept"
            };
            line.push(Piece::new(why, Role::Plain));
            return line;
        }
        let time = self.time(self.age, row.cpus);
        for (nth, (at, ns)) in named.iter().enumerate() {
            let Some(thread) = numbers.threads.get(*at as usize) else { continue };
            let letter = self.picture.letters.get(at).copied().unwrap_or(OTHER);
            let ink = number(letter).map_or(Ink::Other(false), |number| Ink::Thread(number, false));
            if nth > 0 {
                line.push(Piece::new(", ", Role::Plain));
            }
            let share = text::percent((*ns as f64 / time).min(1.0));
            line.push(Piece { text: letter.to_string(), ink, chosen: false, cursor: false });
            line.push(Piece::new(format!(" {} ({}) {share}", thread.comm, thread.tid), Role::Plain));
        }
        if threads > named.len() {
            line.push(Piece::new(format!(" and {} more", threads - named.len()), Role::Plain));
        }
        line
    }

    /// Why there is no map, in a sentence.
    pub fn why_not(&self, numbers: &Snapshot, keymap: &Keymap) -> Option<String> {
        if self.picture.rows.is_empty() {
            return Some("Which CPUs this machine has is not known yet.".into());
        }
        if numbers.threads.iter().all(|thread| thread.track.is_empty()) {
            let ran = if self.picture.unknown > 0 {
                "Where threads ran in the last ten seconds is not known: no record of them came."
            } else {
                "No thread of the target ran in the last ten seconds."
            };
            return Some(ran.into());
        }
        let all = || keymap.name_of(Key::Char('x'));
        (self.items.is_empty()).then(|| format!("No CPU was used by the target: {} shows all of them.", all()))
    }
}

/// Cut to so many columns.
fn shorten(line: &mut Vec<Piece>, columns: usize) {
    let mut left = columns;
    for piece in line.iter_mut() {
        let cut = text::fit(&piece.text, left);
        left = left.saturating_sub(text::width(&cut));
        piece.text = cut;
    }
    line.push(Piece::new(" ".repeat(left), Role::Plain));
}

fn same_look(a: &Piece, b: &Piece) -> bool {
    (a.ink, a.chosen, a.cursor) == (b.ink, b.chosen, b.cursor)
}

/// A bar of eight heights. What is something is never nothing.
fn level(share: f64) -> char {
    const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    HEIGHTS[((share * 8.0).ceil() as usize).clamp(1, 8) - 1]
}
