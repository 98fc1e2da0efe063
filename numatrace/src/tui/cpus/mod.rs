//! The map of CPUs: a row each, time to the right, and in each cell a letter for the thread that ran there longest. Pure: the
//! picture is made of the threads' tracks once for each snapshot, and drawing only reads it.
//!
//! The busiest threads have letters, which they keep from one snapshot to the next; all others share `+`. Only threads of
//! the target have tracks: a cell without anybody says that none of them was there, not that the CPU was idle.

mod lines;
mod picture;

use std::collections::{HashMap, HashSet};

pub use self::lines::{Ink, Piece};
pub use self::picture::Fold;
use self::picture::{Lettered, NO_ROW, Picture, Row, picture};
use super::state::Key;
use crate::snapshot::{Snapshot, TRACK_SLOT_NS, TRACK_SLOTS, Thread, TrackSlot};
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
            let slot = thread.track.iter().find(|slot| slot.start_ns >= start_ns);
            let Some(slot) = slot.filter(|slot| slot.start_ns == start_ns) else { continue };
            let here = slot.cpus.iter().filter(|(cpu, _)| is_here(*cpu));
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
    let mut cpus: Vec<u32> = thread.track.iter().flat_map(|slot| slot.cpus).map(|(cpu, _)| cpu).collect();
    cpus.sort_unstable();
    cpus.dedup();
    let within: usize = thread.track.iter().map(|slot| slot.cpus.len().saturating_sub(1)).sum();
    // Where two slots have a CPU in common, it may have stayed there.
    let on = |slot: &TrackSlot, cpu: u32| slot.cpus.iter().any(|(other, _)| *other == cpu);
    let pairs = thread.track.iter().zip(thread.track.iter().skip(1));
    let between = pairs.filter(|(one, next)| !one.cpus.iter().any(|(cpu, _)| on(next, *cpu)));
    Lettered { letter, thread: at, cpus: cpus.len(), hops: within + between.count() }
}

fn position(numbers: &Snapshot, wanted: ThreadKey) -> Option<u32> {
    numbers.threads.iter().position(|thread| key(thread) == wanted).and_then(|at| u32::try_from(at).ok())
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
        let mut slots: Vec<TrackSlot> = slots.iter().map(slot).collect();
        slots.sort_by_key(|slot| slot.start_ns);
        Thread { tid: Tid(tid), track: slots.into_iter().collect(), ..Thread::default() }
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
            track: [TrackSlot { start_ns: TRACK_SLOT_NS, cpus: vec![(0, 100 * MS)].into() }].into_iter().collect(),
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
