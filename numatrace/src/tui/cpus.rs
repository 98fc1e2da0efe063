//! The map of CPUs: a row each, time to the right, and in each cell a letter for the thread that ran there longest. Pure: the
//! picture is made of the threads' tracks once for each snapshot, and drawing only reads it.
//!
//! The busiest threads have letters, which they keep from one snapshot to the next; all others share `+`. Only threads of
//! the target have tracks: a cell without anybody says that none of them was there, not that the CPU was idle.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::keymap::Keymap;
use super::page::Role;
use super::state::Key;
use crate::snapshot::{Host, Snapshot, TRACK_SLOT_NS, TRACK_SLOTS, Thread, ThreadState, TrackSlot};
use crate::text;
use crate::units::sum;
use crate::window::{ThreadKey, key};

/// Threads that have a letter: a to z, A to Z.
pub const LETTERS: usize = 52;
/// Stands for every thread without a letter.
const OTHER: char = '+';
/// Nobody.
const NOBODY: char = '·';
/// The selected thread, where it is not busy enough for a letter.
const CHOSEN: char = '*';
/// Threads of a cell that are named.
const NAMED: usize = 8;
/// From this width on a cell has a letter and a bar beside it.
const WIDE: u16 = 120;
/// Lines above the rows.
const HEAD_LINES: usize = 2;
/// Columns of the legend beside the map.
const LEGEND: usize = 26;

/// What a row stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fold {
    /// A CPU.
    #[default]
    Cpu,
    /// All CPUs of a node that share a last-level cache.
    Llc,
    /// All CPUs of a node.
    Node,
}

impl Fold {
    /// The next coarser one, round and round.
    const fn next(self) -> Fold {
        match self {
            Fold::Cpu => Fold::Llc,
            Fold::Llc => Fold::Node,
            Fold::Node => Fold::Cpu,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Fold::Cpu => "CPUs",
            Fold::Llc => "Caches",
            Fold::Node => "Nodes",
        }
    }
}

/// What was seen of a row in a slot of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cell {
    /// Time of all threads of the target, ns.
    total: u64,
    /// Time of the one that ran longest.
    longest: u64,
    /// Its position in the snapshot.
    thread: u32,
}

/// A row.
#[derive(Clone, Debug)]
struct Row {
    /// First of its CPUs, which tells it apart.
    id: u32,
    cpus: u32,
    label: String,
    /// Position of the head line above; of none where rows are in no groups.
    group: usize,
    /// Newest last.
    cells: Box<[Cell; TRACK_SLOTS]>,
    total: u64,
}

/// Rows under one head.
#[derive(Clone, Debug, Default)]
struct Group {
    head: String,
    /// Where its rows are, in short.
    place: String,
    cpus: u32,
    total: u64,
}

/// A thread with a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lettered {
    letter: char,
    thread: u32,
    /// CPUs that it used.
    cpus: usize,
    /// Times that it was seen on another CPU than before: at least so many hops.
    hops: usize,
}

/// What there is to draw.
#[derive(Clone, Debug, Default)]
struct Picture {
    rows: Vec<Row>,
    groups: Vec<Group>,
    /// Busiest first.
    lettered: Vec<Lettered>,
    /// Letter by position of the thread, for those that have one.
    letters: HashMap<u32, char>,
    /// The selected thread.
    chosen: Option<u32>,
    /// How far back it reaches, ns.
    reach: u64,
    /// Number of the newest slot that is shown.
    newest: u64,
    /// How much of it has passed, ns.
    newest_ns: u64,
    /// Number of the oldest slot of which is known who ran.
    oldest: u64,
    /// Threads that run, and of which it is not known where.
    unknown: usize,
    /// Position of the row of a CPU, by its number; [`NO_ROW`] where it has none.
    row_of: Vec<u32>,
    /// Time of each thread in the picture, ns.
    times: Vec<u64>,
}

const NO_ROW: u32 = u32::MAX;

/// A line of the map, from top to bottom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Head(usize),
    Row(usize),
}

/// Columns and lines that there are for the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Columns.
    pub width: u16,
    /// Lines between header and footer.
    pub lines: usize,
}

impl Room {
    /// Lines of the map itself: without title, ruler and the line about the cell.
    const fn rows(self) -> usize {
        let rows = self.lines.saturating_sub(3);
        if rows == 0 { 1 } else { rows }
    }

    /// Columns of a cell.
    const fn cell(self) -> usize {
        if self.width >= WIDE { 2 } else { 1 }
    }

    /// Columns of the names of rows.
    const fn label(self) -> usize {
        if self.width < 60 { 5 } else { 9 }
    }

    /// Slots of time that fit; the busy share takes 6 columns.
    fn slots(self) -> usize {
        let left = usize::from(self.width).saturating_sub(self.label() + 6);
        (left / self.cell()).clamp(1, TRACK_SLOTS)
    }

    /// Columns that are left for the legend; none where it does not fit.
    fn legend(self) -> usize {
        let left = usize::from(self.width).saturating_sub(self.label() + self.slots() * self.cell() + 6);
        if left >= LEGEND - 2 { left.min(60) } else { 0 }
    }
}

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

/// What the view asks for after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Nothing: the key means nothing here.
    Nothing,
    /// To be drawn.
    Draw,
    /// The detail of this thread.
    Open(ThreadKey),
}

/// The state of the view.
#[derive(Clone, Debug, Default)]
pub struct Cpus {
    fold: Fold,
    /// Rows without anybody are left out.
    only_used: bool,
    letters: HashMap<ThreadKey, char>,
    picture: Picture,
    items: Vec<Item>,
    /// Rows that are left out.
    hidden: usize,
    /// The row of the cursor, by its id.
    at: u32,
    /// Slots between the cursor and the newest one.
    age: usize,
    /// First item that is shown.
    first: usize,
    /// Threads in the cell under the cursor with their time, longest first, and how many there are.
    under: (Vec<(u32, u64)>, usize),
}

impl Cpus {
    /// Makes the picture anew. `now_ns` is the time since tracing began, `pinned` the selected thread.
    pub fn observe(&mut self, numbers: &Snapshot, now_ns: u64, pinned: Option<ThreadKey>, room: Room) {
        self.picture = picture(numbers, now_ns, self.fold);
        self.picture.chosen = pinned.and_then(|pinned| position(numbers, pinned));
        self.letter(numbers);
        self.resize(numbers, room);
    }

    /// The room is another one.
    pub fn resize(&mut self, numbers: &Snapshot, room: Room) {
        self.picture.sum(room.slots());
        self.list();
        self.show_cursor(room);
        self.look(numbers);
    }

    /// Gives letters to the busiest threads. Who has one keeps it while it is among twice as many, and nobody busier needs it.
    fn letter(&mut self, numbers: &Snapshot) {
        let times = self.picture.times.iter().copied().zip(0..);
        let mut busy: Vec<(u64, u32)> = times.filter(|(ns, _)| *ns > 0).collect();
        let order = |one: &(u64, u32)| (std::cmp::Reverse(one.0), one.1);
        if busy.len() > 2 * LETTERS {
            busy.select_nth_unstable_by_key(2 * LETTERS, order);
            busy.truncate(2 * LETTERS);
        }
        busy.sort_unstable_by_key(order);
        let keys: Vec<ThreadKey> =
            busy.iter().filter_map(|(_, at)| numbers.threads.get(*at as usize)).map(key).collect();
        let stay: HashSet<ThreadKey> = keys.iter().copied().collect();
        self.letters.retain(|key, _| stay.contains(key));
        let used: HashSet<char> = self.letters.values().copied().collect();
        let mut free = ('a'..='z').chain('A'..='Z').filter(|letter| !used.contains(letter));
        // The least busy of those that may lose theirs first.
        let mut spare = keys.iter().skip(LETTERS).rev();
        for key in keys.iter().take(LETTERS) {
            if !self.letters.contains_key(key) {
                let given = free.next().or_else(|| spare.find_map(|spare| self.letters.remove(spare)));
                let Some(letter) = given else { break };
                self.letters.insert(*key, letter);
            }
        }
        let with = busy.iter().zip(&keys).filter_map(|((_, at), key)| Some((*at, *self.letters.get(key)?)));
        let mut lettered: Vec<Lettered> =
            with.filter_map(|(at, letter)| Some(lettered(at, letter, numbers.threads.get(at as usize)?))).collect();
        if let Some(chosen) = self.picture.chosen
            && !lettered.iter().any(|one| one.thread == chosen)
            && let Some(thread) = numbers.threads.get(chosen as usize)
        {
            lettered.push(self::lettered(chosen, CHOSEN, thread));
        }
        // The selected one is always named.
        let time = |one: &Lettered| self.picture.times.get(one.thread as usize).copied().unwrap_or(0);
        lettered.sort_by_key(|one| (one.letter != CHOSEN, std::cmp::Reverse(time(one)), one.thread));
        self.picture.letters = lettered.iter().map(|one| (one.thread, one.letter)).collect();
        self.picture.lettered = lettered;
    }

    /// Lists what is shown, head lines above their rows.
    fn list(&mut self) {
        (self.items, self.hidden) = (Vec::new(), 0);
        let mut group = None;
        for (at, row) in self.picture.rows.iter().enumerate() {
            if self.only_used && row.total == 0 {
                self.hidden += 1;
                continue;
            }
            if group != Some(row.group) && row.group < self.picture.groups.len() {
                self.items.push(Item::Head(row.group));
            }
            group = Some(row.group);
            self.items.push(Item::Row(at));
        }
    }

    fn row(&self, item: usize) -> Option<&Row> {
        match self.items.get(item)? {
            Item::Row(at) => self.picture.rows.get(*at),
            Item::Head(_) => None,
        }
    }

    /// The item with the cursor: its row, or the nearest one that is shown.
    fn cursor(&self) -> Option<usize> {
        let rows = || (0..self.items.len()).filter(|item| self.row(*item).is_some());
        let exactly = rows().find(|item| self.row(*item).is_some_and(|row| row.id == self.at));
        exactly.or_else(|| rows().min_by_key(|item| self.row(*item).map_or(u32::MAX, |row| row.id.abs_diff(self.at))))
    }

    /// Scrolls so that the cursor is shown, with the head line right above it.
    fn show_cursor(&mut self, room: Room) {
        let (rows, items) = (room.rows(), self.items.len());
        self.age = self.age.min(room.slots() - 1);
        let Some(at) = self.cursor() else {
            self.first = 0;
            return;
        };
        self.at = self.row(at).map_or(self.at, |row| row.id);
        let with_head = at - usize::from(at > 0 && rows > 1 && matches!(self.items.get(at - 1), Some(Item::Head(_))));
        self.first = self.first.min(items.saturating_sub(rows)).clamp((at + 1).saturating_sub(rows), with_head);
    }

    /// Finds who ran in the cell under the cursor.
    fn look(&mut self, numbers: &Snapshot) {
        self.under = (Vec::new(), 0);
        let Some(row) = self.cursor().and_then(|at| self.row(at)) else { return };
        let Some(number) = self.picture.newest.checked_sub(self.age as u64) else { return };
        let start_ns = number * TRACK_SLOT_NS;
        let at = self.picture.row_of.get(row.id as usize).copied().unwrap_or(NO_ROW);
        let is_here = |cpu: u32| self.picture.row_of.get(cpu as usize) == Some(&at);
        let mut all: Vec<(u32, u64)> = Vec::new();
        for (at, thread) in (0..).zip(&numbers.threads) {
            let Ok(slot) = thread.track.binary_search_by_key(&start_ns, |slot| slot.start_ns) else { continue };
            let here = thread.track[slot].cpus.iter().filter(|(cpu, _)| is_here(*cpu));
            let ns = sum(here.map(|(_, ns)| ns));
            if ns > 0 {
                all.push((at, ns));
            }
        }
        all.sort_unstable_by_key(|(at, ns)| (std::cmp::Reverse(*ns), *at));
        let threads = all.len();
        all.truncate(NAMED);
        self.under = (all, threads);
    }

    /// Moves the cursor by so many rows.
    fn go(&mut self, by: isize) {
        let rows: Vec<u32> = (0..self.items.len()).filter_map(|item| self.row(item)).map(|row| row.id).collect();
        let Some(cursor) = self.cursor().and_then(|at| self.row(at)).map(|row| row.id) else { return };
        let at = rows.iter().position(|id| *id == cursor).unwrap_or(0);
        let to = at.saturating_add_signed(by).min(rows.len().saturating_sub(1));
        self.at = rows.get(to).copied().unwrap_or(self.at);
    }

    /// A key.
    pub fn press(&mut self, key: Key, numbers: &Snapshot, now_ns: u64, pinned: Option<ThreadKey>, room: Room) -> Asked {
        let page = room.rows() as isize;
        match key {
            Key::Up | Key::Char('k') => self.go(-1),
            Key::Down | Key::Char('j') => self.go(1),
            Key::PageUp => self.go(-page),
            Key::PageDown => self.go(page),
            Key::Home => self.go(isize::MIN),
            Key::End => self.go(isize::MAX),
            Key::Left | Key::Char('h') => self.age = (self.age + 1).min(room.slots() - 1),
            Key::Right | Key::Char('l') => self.age = self.age.saturating_sub(1),
            Key::Char('x') => {
                self.only_used = !self.only_used;
                self.list();
            }
            Key::Char('z') => {
                self.fold = self.fold.next();
                self.observe(numbers, now_ns, pinned, room);
            }
            Key::Enter => {
                let found = self.under.0.first().and_then(|(at, _)| numbers.threads.get(*at as usize));
                return found.map_or(Asked::Nothing, |thread| Asked::Open(self::key(thread)));
            }
            _ => return Asked::Nothing,
        }
        self.show_cursor(room);
        self.look(numbers);
        Asked::Draw
    }

    /// Puts the cursor on what is in this column of this line of the view: a cell, or a row. Says whether it was there;
    /// `None` where neither is.
    pub fn point(&mut self, column: usize, line: usize, numbers: &Snapshot, room: Room) -> Option<bool> {
        let line = line.checked_sub(HEAD_LINES).filter(|line| *line < room.rows())?;
        let id = self.row(self.first + line)?.id;
        let age = match column.checked_sub(room.label()).map(|column| column / room.cell()) {
            Some(slot) if slot < room.slots() => room.slots() - 1 - slot,
            // The busy share is of the row; beside it is the legend.
            Some(_) if column >= room.label() + room.slots() * room.cell() + 6 => return None,
            _ => self.age,
        };
        let before = (self.cursor().and_then(|at| self.row(at)).map(|row| row.id), self.age);
        (self.at, self.age) = (id, age);
        self.show_cursor(room);
        self.look(numbers);
        Some(before == (Some(id), age))
    }

    /// How far back the map reaches, ns; 0 before there are numbers.
    pub const fn reach_ns(&self) -> u64 {
        self.picture.reach
    }

    /// Where the cursor is: the row of how many, and how many slots before the newest; `None` where there are no rows.
    pub fn place(&self) -> Option<(usize, usize, usize)> {
        let rows = self.items.iter().filter(|item| matches!(item, Item::Row(_))).count();
        let cursor = self.cursor()?;
        let before = self.items.iter().take(cursor).filter(|item| matches!(item, Item::Row(_))).count();
        Some((before, rows, self.age))
    }

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

/// Number of a letter, from 0.
fn number(letter: char) -> Option<usize> {
    match letter {
        'a'..='z' => Some(letter as usize - 'a' as usize),
        'A'..='Z' => Some(26 + letter as usize - 'A' as usize),
        _ => None,
    }
}

fn lettered(at: u32, letter: char, thread: &Thread) -> Lettered {
    let mut cpus: Vec<u32> = thread.track.iter().flat_map(|slot| &slot.cpus).map(|(cpu, _)| *cpu).collect();
    cpus.sort_unstable();
    cpus.dedup();
    let within: usize = thread.track.iter().map(|slot| slot.cpus.len().saturating_sub(1)).sum();
    // Where two slots have a CPU in common, it may have stayed there.
    let on = |slot: &TrackSlot, cpu: u32| slot.cpus.iter().any(|(other, _)| *other == cpu);
    let between = thread.track.windows(2).filter(|pair| !pair[0].cpus.iter().any(|(cpu, _)| on(&pair[1], *cpu)));
    Lettered { letter, thread: at, cpus: cpus.len(), hops: within + between.count() }
}

fn position(numbers: &Snapshot, wanted: ThreadKey) -> Option<u32> {
    numbers.threads.iter().position(|thread| key(thread) == wanted).and_then(|at| u32::try_from(at).ok())
}

/// CPUs of each group of a fold: node's number, number of the cache among all.
fn groups(host: &Host, fold: Fold) -> Vec<(u32, Option<usize>, Vec<u32>)> {
    let mut all = Vec::new();
    let llc_of: HashMap<u32, usize> =
        host.llcs.iter().enumerate().flat_map(|(at, cpus)| cpus.iter().map(move |cpu| (*cpu, at))).collect();
    for node in host.nodes.iter().filter(|node| !node.cpus.is_empty()) {
        if fold == Fold::Node || host.llcs.is_empty() {
            all.push((node.id.0, None, node.cpus.clone()));
            continue;
        }
        let mut by_llc: BTreeMap<Option<usize>, Vec<u32>> = BTreeMap::new();
        node.cpus.iter().for_each(|cpu| by_llc.entry(llc_of.get(cpu).copied()).or_default().push(*cpu));
        all.extend(by_llc.into_iter().map(|(llc, cpus)| (node.id.0, llc, cpus)));
    }
    all
}

/// `0-7,16`.
fn list(cpus: &[u32]) -> String {
    let mut parts: Vec<(u32, u32)> = Vec::new();
    for cpu in cpus {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == *cpu => *last = *cpu,
            _ => parts.push((*cpu, *cpu)),
        }
    }
    let words = parts.iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") });
    words.collect::<Vec<_>>().join(",")
}

fn empty_row(id: u32, cpus: u32, label: String, group: usize) -> Row {
    Row { id, cpus, label, group, cells: Box::new([Cell::default(); TRACK_SLOTS]), total: 0 }
}

/// Rows without anything in them, and their groups.
fn frame(host: &Host, fold: Fold) -> Picture {
    let (mut rows, mut heads): (Vec<Row>, Vec<Group>) = (Vec::new(), Vec::new());
    let mut row_of = Vec::new();
    let mut node_before = None;
    for (node, llc, cpus) in groups(host, fold) {
        let count = u32::try_from(cpus.len()).unwrap_or(u32::MAX);
        let first = cpus.first().copied().unwrap_or(0);
        let cache = llc.map_or_else(String::new, |llc| format!("  L3 {llc}"));
        match fold {
            Fold::Cpu => {
                let head = format!("node {node}{cache}  CPUs {}", list(&cpus));
                let place = format!("node {node}{}", cache.replace("  ", ", "));
                heads.push(Group { head, place, cpus: count, total: 0 });
                let group = heads.len() - 1;
                rows.extend(cpus.iter().map(|cpu| empty_row(*cpu, 1, format!("CPU {cpu}"), group)));
            }
            Fold::Llc => {
                if node_before != Some(node) {
                    let head = format!("node {node}");
                    heads.push(Group { place: head.clone(), head, cpus: 0, total: 0 });
                }
                let label = llc.map_or_else(|| format!("node {node}"), |llc| format!("L3 {llc}"));
                let group = heads.len().saturating_sub(1);
                if let Some(head) = heads.last_mut() {
                    head.cpus += count;
                }
                rows.push(empty_row(first, count, label, group));
            }
            Fold::Node => rows.push(empty_row(first, count, format!("node {node}"), usize::MAX)),
        }
        node_before = Some(node);
        let last = rows.len().saturating_sub(1);
        for (nth, cpu) in cpus.iter().enumerate() {
            let row = if fold == Fold::Cpu { rows.len() - cpus.len() + nth } else { last };
            *entry(&mut row_of, *cpu) = row as u32;
        }
    }
    Picture { rows, groups: heads, row_of, ..Picture::default() }
}

/// CPU numbers in records have 16 bits.
fn entry(row_of: &mut Vec<u32>, cpu: u32) -> &mut u32 {
    let at = cpu.min(u32::from(u16::MAX)) as usize;
    if row_of.len() <= at {
        row_of.resize(at + 1, NO_ROW);
    }
    &mut row_of[at]
}

/// Turns the tracks round: by row and slot, who ran there longest.
fn picture(numbers: &Snapshot, now_ns: u64, fold: Fold) -> Picture {
    let mut made = frame(&numbers.host, fold);
    // Numbers come right after a slot has ended: the next one, of which next to nothing has passed, would say that nobody ran.
    let mut newest = now_ns.div_ceil(TRACK_SLOT_NS).saturating_sub(1);
    let mut passed = now_ns - newest * TRACK_SLOT_NS;
    if newest > 0 && passed * 2 < TRACK_SLOT_NS {
        (newest, passed) = (newest - 1, TRACK_SLOT_NS);
    }
    // Tracks have the slots that begin within ten seconds.
    let oldest = now_ns.saturating_sub(TRACK_SLOTS as u64 * TRACK_SLOT_NS).div_ceil(TRACK_SLOT_NS);
    (made.newest, made.newest_ns, made.oldest) = (newest, passed, oldest);
    made.times = vec![0; numbers.threads.len()];
    for (at, thread) in numbers.threads.iter().enumerate() {
        let lost = thread.state == ThreadState::Running && thread.track.is_empty() && thread.members == 0;
        made.unknown += usize::from(lost);
        for slot in &thread.track {
            let number = slot.start_ns / TRACK_SLOT_NS;
            if !(oldest..=newest).contains(&number) {
                continue;
            }
            let column = TRACK_SLOTS - 1 - (newest - number) as usize;
            for (nth, (cpu, ns)) in slot.cpus.iter().enumerate() {
                made.times[at] = made.times[at].saturating_add(*ns);
                let row = made.row(*cpu);
                if slot.cpus[..nth].iter().any(|(other, _)| made.row(*other) == row) {
                    continue;
                }
                // All its CPUs of this row at once: four at most.
                let mut ns = *ns;
                for (other, more) in &slot.cpus[nth + 1..] {
                    if made.row(*other) == row {
                        ns = ns.saturating_add(*more);
                    }
                }
                made.add(row, column, at as u32, ns);
            }
        }
    }
    made
}

impl Picture {
    /// Sums the newest slots, as many as are shown.
    fn sum(&mut self, slots: usize) {
        let oldest = self.oldest.max((self.newest + 1).saturating_sub(slots as u64));
        self.reach = (self.newest * TRACK_SLOT_NS + self.newest_ns).saturating_sub(oldest * TRACK_SLOT_NS);
        self.groups.iter_mut().for_each(|group| group.total = 0);
        for row in &mut self.rows {
            row.total = row.cells.iter().rev().take(slots).map(|cell| cell.total).sum();
            if let Some(group) = self.groups.get_mut(row.group) {
                group.total += row.total;
            }
        }
    }

    /// Position of the row of a CPU. One that is not of the host as it was when tracing began gets a row of its own.
    fn row(&mut self, cpu: u32) -> usize {
        let known = *entry(&mut self.row_of, cpu);
        if known != NO_ROW {
            return known as usize;
        }
        const STRANGERS: &str = "node not known";
        if self.groups.last().is_none_or(|group| group.head != STRANGERS) {
            self.groups.push(Group { head: STRANGERS.into(), ..Group::default() });
        }
        let group = self.groups.len() - 1;
        self.groups[group].cpus += 1;
        let row = self.rows.len();
        self.rows.push(empty_row(cpu, 1, format!("CPU {cpu}"), group));
        *entry(&mut self.row_of, cpu) = row as u32;
        row
    }

    fn add(&mut self, row: usize, column: usize, thread: u32, ns: u64) {
        let Some(row) = self.rows.get_mut(row) else { return };
        let cell = &mut row.cells[column];
        let slot = if column + 1 == TRACK_SLOTS { self.newest_ns } else { TRACK_SLOT_NS };
        let most = slot * u64::from(row.cpus);
        // Rounded up slots can be more than there is.
        let ns = ns.min(most - cell.total.min(most));
        cell.total += ns;
        if ns > cell.longest {
            (cell.longest, cell.thread) = (ns, thread);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::HostNode;
    use crate::units::{NodeId, Tid};

    const ROOM: Room = Room { width: 80, lines: 20 };
    const MS: u64 = 1_000_000;

    /// Two nodes of four CPUs, two caches on the first.
    fn numbers(threads: Vec<Thread>) -> Snapshot {
        let mut numbers = Snapshot::nothing_yet("pid 1");
        let node = |id: u32, cpus| HostNode { id: NodeId(id), cpus, memory_bytes: 0 };
        numbers.host.nodes = vec![node(0, vec![0, 1, 2, 3]), node(1, vec![4, 5, 6, 7])];
        numbers.host.llcs = [vec![0, 1], vec![2, 3], vec![4, 5, 6, 7]].into();
        (numbers.duration_ns, numbers.threads) = (10_250 * MS, threads);
        numbers
    }

    /// Ran in these slots, counted back from the newest one: CPUs and ms.
    fn thread(tid: u32, slots: &[(u64, &[(u32, u64)])]) -> Thread {
        let slot = |(age, cpus): &(u64, &[(u32, u64)])| TrackSlot {
            start_ns: (40 - age) * TRACK_SLOT_NS,
            cpus: cpus.iter().map(|(cpu, ms)| (*cpu, ms * MS)).collect(),
        };
        Thread { tid: Tid(tid), track: slots.iter().map(slot).collect(), ..Thread::default() }
    }

    fn observed(cpus: &mut Cpus, numbers: &Snapshot) {
        cpus.observe(numbers, numbers.duration_ns, None, ROOM);
    }

    fn cell(cpus: &Cpus, id: u32, age: usize) -> (u32, u64, u64) {
        let row = cpus.picture.rows.iter().find(|row| row.id == id).expect("a row");
        let cell = row.cells[TRACK_SLOTS - 1 - age];
        (cell.thread, cell.longest / MS, cell.total / MS)
    }

    #[test]
    fn a_cell_is_of_the_thread_that_ran_there_longest_and_no_cpu_has_more_time_than_there_is() {
        let numbers = numbers(vec![
            thread(1, &[(3, &[(0, 100), (2, 50)]), (0, &[(1, 200)])]),
            thread(2, &[(3, &[(0, 120), (3, 20)]), (0, &[(1, 90)])]),
            thread(3, &[(40, &[(0, 250)]), (3, &[(900, 10)])]),
        ]);
        let mut cpus = Cpus::default();
        observed(&mut cpus, &numbers);
        assert_eq!(
            [cell(&cpus, 0, 3), cell(&cpus, 2, 3), cell(&cpus, 3, 3)],
            [(1, 120, 220), (0, 50, 50), (1, 20, 20)]
        );
        assert_eq!(cell(&cpus, 1, 0), (0, 200, 250));
        // One that was not there when tracing began.
        assert_eq!(cell(&cpus, 900, 3), (2, 10, 10));
        assert_eq!(cpus.picture.groups.last().map(|group| group.head.as_str()), Some("node not known"));
        let total: u64 = cpus.picture.rows.iter().map(|row| row.total / MS).sum();
        assert_eq!(total, 220 + 50 + 20 + 250 + 10, "what is older than the picture is in no cell");
        // A cache, and a node, have the sums of their CPUs, thread by thread.
        _ = cpus.press(Key::Char('z'), &numbers, numbers.duration_ns, None, ROOM);
        assert_eq!([cell(&cpus, 0, 3), cell(&cpus, 2, 3)], [(1, 120, 220), (0, 50, 70)]);
        _ = cpus.press(Key::Char('z'), &numbers, numbers.duration_ns, None, ROOM);
        assert_eq!(cell(&cpus, 0, 3), (0, 150, 290));
        assert_eq!(cpus.picture.rows.len(), 3);
    }

    #[test]
    fn letters_stay_with_their_threads_and_go_to_others_when_these_are_gone() {
        let busy = |tid: u32, ms: u64| thread(tid, &[(1, &[(tid % 8, ms)])]);
        let mut cpus = Cpus::default();
        let letter = |cpus: &Cpus, tid: u32| cpus.letters.iter().find(|(key, _)| key.tid.0 == tid).map(|(_, c)| *c);
        observed(&mut cpus, &numbers(vec![busy(1, 50), busy(2, 90), busy(3, 10)]));
        assert_eq!([1, 2, 3].map(|tid| letter(&cpus, tid)), [Some('b'), Some('a'), Some('c')]);
        observed(&mut cpus, &numbers(vec![busy(1, 200), busy(2, 20), busy(3, 100), busy(4, 220)]));
        assert_eq!([1, 2, 3, 4].map(|tid| letter(&cpus, tid)), ['b', 'a', 'c', 'd'].map(Some));
        observed(&mut cpus, &numbers(vec![busy(1, 200), busy(5, 20)]));
        assert_eq!([1, 2, 5].map(|tid| letter(&cpus, tid)), [Some('b'), None, Some('a')]);
        // Of many the busiest have one; one that has it keeps it while it is not much less busy than they are.
        observed(&mut cpus, &numbers((0..80).map(|n| busy(n + 1, u64::from(n) + 1)).collect()));
        assert_eq!(cpus.letters.len(), LETTERS);
        assert!((29..=80).all(|tid| letter(&cpus, tid).is_some()), "the busiest always have one");
        assert_eq!(letter(&cpus, 1), None, "who is not among them gives it up where there is no other");
        // Among fewer it is kept.
        observed(&mut cpus, &numbers((0..60).map(|n| busy(n + 21, 200 - u64::from(n))).collect()));
        assert!((21..=72).all(|tid| letter(&cpus, tid).is_some()));
        observed(&mut cpus, &numbers((0..300).map(|n| busy(n + 1, u64::from(n) / 2 + 1)).collect()));
        assert_eq!((letter(&cpus, 1), cpus.letters.len()), (None, LETTERS));
    }

    #[test]
    fn unused_rows_are_hidden_and_counted_and_the_cursor_finds_another() {
        let numbers = numbers(vec![thread(1, &[(0, &[(6, 100)]), (1, &[(2, 100)])])]);
        let mut cpus = Cpus::default();
        observed(&mut cpus, &numbers);
        let press = |cpus: &mut Cpus, key| cpus.press(key, &numbers, numbers.duration_ns, None, ROOM);
        assert_eq!(cpus.place(), Some((0, 8, 0)));
        _ = press(&mut cpus, Key::Down);
        _ = press(&mut cpus, Key::Char('x'));
        assert_eq!((cpus.hidden, cpus.place()), (6, Some((0, 2, 0))));
        assert_eq!(cpus.items, [Item::Head(1), Item::Row(2), Item::Head(2), Item::Row(6)]);
        // Nobody in the newest slot; the one before it has the thread, which Enter opens.
        assert_eq!(press(&mut cpus, Key::Enter), Asked::Nothing);
        _ = press(&mut cpus, Key::Left);
        assert_eq!(press(&mut cpus, Key::Enter), Asked::Open(key(&numbers.threads[0])));
        _ = press(&mut cpus, Key::End);
        assert_eq!(cpus.place(), Some((1, 2, 1)));
        _ = press(&mut cpus, Key::Char('x'));
        assert_eq!(cpus.place(), Some((6, 8, 1)));
    }

    #[test]
    fn before_tracing_began_there_is_nothing_instead_of_nobody() {
        let mut numbers = numbers(vec![Thread {
            track: vec![TrackSlot { start_ns: TRACK_SLOT_NS, cpus: vec![(0, 100 * MS)] }],
            ..thread(1, &[])
        }]);
        numbers.duration_ns = 3 * TRACK_SLOT_NS;
        let mut cpus = Cpus::default();
        observed(&mut cpus, &numbers);
        let text = |cpus: &Cpus, line: usize| -> String {
            cpus.lines(&numbers, ROOM)[line].iter().map(|piece| piece.text.as_str()).collect()
        };
        let row = text(&cpus, 3);
        assert_eq!(&row[..9 + 37], &format!(">  CPU 0 {}", " ".repeat(37)));
        // 100 of 750 ms.
        assert!(row[9 + 37..].starts_with("·a· 13.3%"), "{row}");
        for _ in 0..3 {
            _ = cpus.press(Key::Left, &numbers, numbers.duration_ns, None, ROOM);
        }
        assert!(text(&cpus, ROOM.lines - 1).ends_with("before tracing began"));
    }

    #[test]
    fn hops_are_counted_within_slots_and_between_them() {
        let one = thread(1, &[(9, &[(0, 9)]), (8, &[(0, 9), (1, 5)]), (7, &[(1, 9)]), (3, &[(5, 9)])]);
        // From 0 to 1 within a slot, and on to 5 later: at least two.
        assert_eq!((lettered(0, 'a', &one).cpus, lettered(0, 'a', &one).hops), (3, 2));
    }

    #[test]
    fn the_newest_slot_is_left_out_until_half_of_it_has_passed_and_then_is_of_what_has_passed() {
        let mut numbers = numbers(vec![thread(1, &[(1, &[(0, 125)]), (0, &[(0, 250)])])]);
        let mut cpus = Cpus::default();
        // 1 ms after the slot has ended in which it ran all the time.
        numbers.duration_ns = 41 * TRACK_SLOT_NS + MS;
        observed(&mut cpus, &numbers);
        assert_eq!([cell(&cpus, 0, 0), cell(&cpus, 0, 1)], [(0, 250, 250), (0, 125, 125)]);
        let text = |cpus: &Cpus, line: usize| -> String {
            cpus.lines(&numbers, ROOM)[line].iter().map(|piece| piece.text.as_str()).collect()
        };
        // Of the slot at the other end nothing is kept any more.
        assert!(text(&cpus, 0).contains("last 9.75s"), "{}", text(&cpus, 0));
        assert!(
            text(&cpus, 3).starts_with(">  CPU 0  ·") && text(&cpus, 3).contains("·aa  3.8%"),
            "{}",
            text(&cpus, 3)
        );
        assert!(text(&cpus, ROOM.lines - 1).ends_with("now: a  (1) 100%"), "{}", text(&cpus, ROOM.lines - 1));
        (0..39).for_each(|_| _ = cpus.press(Key::Left, &numbers, numbers.duration_ns, None, ROOM));
        assert!(text(&cpus, ROOM.lines - 1).ends_with("no more than ten seconds are kept"));
        // 150 ms into the slot, in 75 of which it ran.
        let mut numbers = super::tests::numbers(vec![thread(1, &[(1, &[(0, 250)]), (0, &[(0, 75)])])]);
        numbers.duration_ns = 40 * TRACK_SLOT_NS + 150 * MS;
        let mut cpus = Cpus::default();
        observed(&mut cpus, &numbers);
        let row: Vec<Piece> = cpus.lines(&numbers, ROOM).swap_remove(3);
        let faint = row.iter().find(|piece| piece.cursor).map(|piece| piece.ink);
        assert_eq!(faint, Some(Ink::Thread(0, false)), "half of the time that has passed");
        let told = cpus.lines(&numbers, ROOM).pop().expect("lines");
        assert!(told.iter().any(|piece| piece.text.ends_with("50.0%")), "{told:?}");
        // 325 of 9,900 ms: slots that begin within ten seconds.
        assert!(row.iter().any(|piece| piece.text.trim() == "3.3%"), "{row:?}");
    }

    #[test]
    fn what_is_summed_is_what_is_shown() {
        let numbers = numbers(vec![thread(1, &[(35, &[(0, 250)]), (1, &[(0, 125), (2, 50)])])]);
        let mut cpus = Cpus::default();
        let narrow = Room { width: 40, lines: 20 };
        cpus.observe(&numbers, numbers.duration_ns, None, narrow);
        let totals = |cpus: &Cpus| [0, 2].map(|at| cpus.picture.rows[at].total / MS);
        assert_eq!((narrow.slots(), cpus.reach_ns(), totals(&cpus)), (29, 29 * TRACK_SLOT_NS, [125, 50]));
        cpus.resize(&numbers, ROOM);
        assert_eq!((cpus.reach_ns(), totals(&cpus)), (40 * TRACK_SLOT_NS, [375, 50]));
    }

    #[test]
    fn the_legend_has_the_busiest_first_and_a_click_finds_its_cell() {
        let mut cpus = Cpus::default();
        observed(&mut cpus, &numbers(vec![thread(1, &[(1, &[(0, 90)])]), thread(2, &[(1, &[(1, 80)])])]));
        let numbers = numbers(vec![thread(1, &[(1, &[(0, 10)])]), thread(2, &[(1, &[(1, 80)])])]);
        observed(&mut cpus, &numbers);
        let letters: String = cpus.picture.lettered.iter().map(|one| one.letter).collect();
        assert_eq!(letters, "ba", "letters stay, places change");
        let point = |cpus: &mut Cpus, column, line| cpus.point(column, line, &numbers, ROOM);
        // The title, the ruler, a head line, the legend.
        for (column, line) in [(12, 0), (12, 1), (12, 2), (60, 3), (12, 19)] {
            assert_eq!(point(&mut cpus, column, line), None, "{column} {line}");
        }
        let second_row = 4;
        assert_eq!(point(&mut cpus, 9 + 38, second_row), Some(false));
        assert_eq!(cpus.place(), Some((1, 8, 1)));
        assert_eq!(point(&mut cpus, 9 + 38, second_row), Some(true));
        assert_eq!(point(&mut cpus, 3, 3), Some(false));
        assert_eq!(cpus.place(), Some((0, 8, 1)), "the name of a row");
    }
}
