//! What there is to draw: the tracks of all threads turned round, by row and slot of time.

use std::collections::{BTreeMap, HashMap};

use crate::snapshot::{Host, Snapshot, TRACK_SLOT_NS, TRACK_SLOTS, ThreadState};

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
    pub(super) const fn next(self) -> Fold {
        match self {
            Fold::Cpu => Fold::Llc,
            Fold::Llc => Fold::Node,
            Fold::Node => Fold::Cpu,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Fold::Cpu => "CPUs",
            Fold::Llc => "Caches",
            Fold::Node => "Nodes",
        }
    }
}

/// What was seen of a row in a slot of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    /// Time of all threads of the target, ns.
    pub(super) total: u64,
    /// Time of the one that ran longest.
    pub(super) longest: u64,
    /// Its position in the snapshot.
    pub(super) thread: u32,
}

/// A row.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// First of its CPUs, which tells it apart.
    pub(super) id: u32,
    pub(super) cpus: u32,
    pub(super) label: String,
    /// Position of the head line above; of none where rows are in no groups.
    pub(super) group: usize,
    /// Newest last.
    pub(super) cells: Box<[Cell; TRACK_SLOTS]>,
    pub(super) total: u64,
}

/// Rows under one head.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    pub(super) head: String,
    /// Where its rows are, in short.
    pub(super) place: String,
    pub(super) cpus: u32,
    pub(super) total: u64,
}

/// A thread with a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lettered {
    pub(super) letter: char,
    pub(super) thread: u32,
    /// CPUs that it used.
    pub(super) cpus: usize,
    /// Times that it was seen on another CPU than before: at least so many hops.
    pub(super) hops: usize,
}

/// What there is to draw.
#[derive(Clone, Debug, Default)]
pub(super) struct Picture {
    pub(super) rows: Vec<Row>,
    pub(super) groups: Vec<Group>,
    /// Busiest first.
    pub(super) lettered: Vec<Lettered>,
    /// Letter by position of the thread, for those that have one.
    pub(super) letters: HashMap<u32, char>,
    /// The selected thread.
    pub(super) chosen: Option<u32>,
    /// How far back it reaches, ns.
    pub(super) reach: u64,
    /// Number of the newest slot that is shown.
    pub(super) newest: u64,
    /// How much of it has passed, ns.
    pub(super) newest_ns: u64,
    /// Number of the oldest slot of which is known who ran.
    pub(super) oldest: u64,
    /// Threads that run, and of which it is not known where.
    pub(super) unknown: usize,
    /// Position of the row of a CPU, by its number; [`NO_ROW`] where it has none.
    pub(super) row_of: Vec<u32>,
    /// Time of each thread in the picture, ns.
    pub(super) times: Vec<u64>,
}

pub(super) const NO_ROW: u32 = u32::MAX;

/// CPUs of each group of a fold: node's number, number of the cache among all.
pub(super) fn groups(host: &Host, fold: Fold) -> Vec<(u32, Option<usize>, Vec<u32>)> {
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
pub(super) fn list(cpus: &[u32]) -> String {
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

pub(super) fn empty_row(id: u32, cpus: u32, label: String, group: usize) -> Row {
    Row { id, cpus, label, group, cells: Box::new([Cell::default(); TRACK_SLOTS]), total: 0 }
}

/// Rows without anything in them, and their groups.
pub(super) fn frame(host: &Host, fold: Fold) -> Picture {
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
pub(super) fn entry(row_of: &mut Vec<u32>, cpu: u32) -> &mut u32 {
    let at = cpu.min(u32::from(u16::MAX)) as usize;
    if row_of.len() <= at {
        row_of.resize(at + 1, NO_ROW);
    }
    &mut row_of[at]
}

/// Turns the tracks round: by row and slot, who ran there longest.
pub(super) fn picture(numbers: &Snapshot, now_ns: u64, fold: Fold) -> Picture {
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
    pub(super) fn sum(&mut self, slots: usize) {
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
    pub(super) fn row(&mut self, cpu: u32) -> usize {
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

    pub(super) fn add(&mut self, row: usize, column: usize, thread: u32, ns: u64) {
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
