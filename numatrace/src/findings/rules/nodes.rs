//! What rules about nodes have in common: processes, where they run and where their memory lies, and what would bind them.

use std::collections::{BTreeMap, BTreeSet};

use crate::findings::{Case, EASE};
use crate::numa;
use crate::snapshot::{Snapshot, Thread};
use crate::text::{count, visible};
use crate::topology::list;
use crate::units::{Pid, sum};

/// Pages elsewhere than on its node, as a share of all, from which on it is worth to move them.
const WORTH_MOVING: f64 = 0.1;
/// Share of a node's CPUs that a process may want on average to be bound there: its peaks, and others, need the rest.
const HEADROOM: f64 = 0.7;
/// Share of its time on CPU on one node from which on a process runs there.
const AT_HOME: f64 = 0.8;
/// Threads that one command binds one by one.
const MOST_TIDS: usize = 16;

/// How many nodes have CPUs.
pub(super) fn with_cpus(numbers: &Snapshot) -> usize {
    numbers.host.nodes.iter().filter(|node| !node.cpus.is_empty()).count()
}

/// So many a second of this time; `None` where there is none.
pub(super) fn per_second(count: u64, ns: u64) -> Option<f64> {
    (ns > 0).then(|| count as f64 / (ns as f64 / 1e9))
}

/// A rate for people: `0.4`, `47.7`, `1,234`.
pub(super) fn rate(rate: f64) -> String {
    if rate < 100.0 { format!("{rate:.1}") } else { count(rate.round() as u64) }
}

/// CPUs that the target had on average, its time on CPU by its length.
pub(super) fn cpus_used(numbers: &Snapshot) -> f64 {
    numa::ratio(numbers.totals.cpu_ns, numbers.duration_ns).unwrap_or(0.0)
}

/// A limit of the rule that is an upper one: eased, it is larger.
pub(super) fn at_most(case: &Case<'_>, name: &str) -> f64 {
    let limit = case.limit(name);
    if case.shown { limit / EASE / EASE } else { limit }
}

/// The kernel's number of the node at a position, as people and commands write it.
pub(super) fn id(numbers: &Snapshot, at: usize) -> String {
    numbers.host.nodes.get(at).map_or_else(|| "?".into(), |node| node.id.to_string())
}

/// A thread as people know it: `io_thd_1 (tid 4713)`.
pub(super) fn name(thread: &Thread) -> String {
    let comm = if thread.comm.is_empty() { "a thread without a name" } else { &thread.comm };
    format!("{} (tid {})", visible(comm), thread.tid)
}

/// The threads of one process.
#[derive(Debug)]
pub(super) struct Process<'a> {
    pub(super) pid: Pid,
    pub(super) threads: Vec<&'a Thread>,
    /// Time on CPU by position of the node.
    pub(super) residency_ns: Vec<u64>,
    /// Pages by position of the node; `None` where they are not known, or not known apart from those of other processes.
    pub(super) pages: Option<&'a [u64]>,
    cpu_ns: u64,
    wait_ns: u64,
    duration_ns: u64,
    /// All its threads are traced.
    whole: bool,
}

/// Processes of the target, those with most of something first.
pub(super) fn processes<'a>(numbers: &'a Snapshot, of: impl Fn(&Thread) -> u64) -> Vec<Process<'a>> {
    let mut by_pid: BTreeMap<Pid, Vec<&Thread>> = BTreeMap::new();
    numbers.threads.iter().for_each(|thread| by_pid.entry(thread.pid).or_default().push(thread));
    let owner = owner_of_pages(numbers);
    let pages = numbers.placement_pages.as_deref().filter(|pages| sum(*pages) > 0);
    let nodes = numbers.host.nodes.len();
    let whole = !["tid", "comm"].contains(&numbers.target.kind.as_str());
    let process = |(pid, threads): (Pid, Vec<&'a Thread>)| {
        let mut residency_ns = vec![0u64; nodes];
        for thread in &threads {
            let by_node = residency_ns.iter_mut().zip(&thread.stats.residency_ns);
            by_node.for_each(|(sum, ns)| *sum = sum.saturating_add(*ns));
        }
        let cpu_ns = sum(threads.iter().map(|thread| &thread.stats.cpu_ns));
        let wait_ns = sum(threads.iter().map(|thread| &thread.stats.wait_ns));
        let pages = pages.filter(|_| owner == Some(pid));
        Process { pid, threads, residency_ns, pages, cpu_ns, wait_ns, duration_ns: numbers.duration_ns, whole }
    };
    let mut all: Vec<Process<'a>> = by_pid.into_iter().map(process).collect();
    let weight =
        |process: &Process<'_>| process.threads.iter().fold(0u64, |sum, thread| sum.saturating_add(of(thread)));
    all.sort_by_key(|process| std::cmp::Reverse((weight(process), process.cpu_ns)));
    all
}

/// Placement is the sum over processes that live, or over all where none does: the process whose pages it is, where it is one.
fn owner_of_pages(numbers: &Snapshot) -> Option<Pid> {
    let pids = |all: bool| -> BTreeSet<Pid> {
        numbers.threads.iter().filter(|thread| all || !thread.exited).map(|thread| thread.pid).collect()
    };
    let living = pids(false);
    let alone = |pids: BTreeSet<Pid>| if pids.len() == 1 { pids.first().copied() } else { None };
    if !living.is_empty() {
        return alone(living);
    }
    // Those that were evicted may have been others.
    if numbers.dropped_threads == 0 { alone(pids(true)) } else { None }
}

impl Process<'_> {
    fn living(&self) -> impl Iterator<Item = &Thread> {
        self.threads.iter().copied().filter(|thread| !thread.exited)
    }

    fn lives(&self) -> bool {
        self.living().next().is_some()
    }

    /// The node that it ran on most, and which share of its time on CPU that was.
    pub(super) fn main_node(&self) -> Option<(usize, f64)> {
        let at = numa::most(&self.residency_ns)?;
        Some((at, numa::ratio(*self.residency_ns.get(at)?, sum(&self.residency_ns))?))
    }

    /// Threads that ran or waited at one time, on average.
    pub(super) fn wanted_cpus(&self) -> f64 {
        numa::ratio(self.cpu_ns.saturating_add(self.wait_ns), self.duration_ns).unwrap_or(0.0)
    }

    /// `Process 4711`, or those of its threads that are traced.
    pub(super) fn who(&self) -> String {
        if self.whole { format!("Process {}", self.pid) } else { format!("What is traced of process {}", self.pid) }
    }

    /// CPUs of a node that its threads may use, as far as that is known.
    fn cpus_on(&self, numbers: &Snapshot, at: usize) -> Vec<u32> {
        let mut cpus = numbers.host.nodes.get(at).map(|node| node.cpus.clone()).unwrap_or_default();
        let mut allowed: Vec<Vec<u32>> = Vec::new();
        for sched in self.living().filter_map(|thread| thread.sched.as_ref()) {
            allowed.extend(list::parse(&sched.allowed_cpus));
        }
        if !allowed.is_empty() {
            cpus.retain(|cpu| allowed.iter().any(|some| some.binary_search(cpu).is_ok()));
        }
        cpus
    }

    /// The CPUs that it may use there are enough for what it wants on average, with [`HEADROOM`] for its peaks and for others;
    /// or it runs there already.
    pub(super) fn has_room_on(&self, numbers: &Snapshot, at: usize) -> bool {
        let cpus = self.cpus_on(numbers, at).len();
        let is_there = self.main_node().is_some_and(|(main, share)| main == at && share >= AT_HOME);
        cpus > 0 && (is_there || self.wanted_cpus() <= HEADROOM * cpus as f64)
    }

    /// All its living threads may use the same CPUs: none of them was bound by itself.
    fn is_bound_as_one(&self) -> bool {
        let mut masks = self.living().filter_map(|thread| thread.sched.as_ref()).map(|sched| &sched.allowed_cpus);
        let first = masks.next();
        masks.all(|mask| Some(mask) == first)
    }

    /// The node to bind it to: of those that have memory of it or on which it ran, and have enough CPUs for it, the one with
    /// most of its memory, else on which it ran most.
    pub(super) fn home(&self, numbers: &Snapshot) -> Option<usize> {
        let pages = self.pages.unwrap_or_default();
        let of = |at: usize| (pages.get(at).copied().unwrap_or(0), self.residency_ns.get(at).copied().unwrap_or(0));
        let nodes = (0..numbers.host.nodes.len()).filter(|at| of(*at) > (0, 0) && self.has_room_on(numbers, *at));
        // The first of equals.
        nodes.min_by_key(|at| std::cmp::Reverse(of(*at)))
    }

    /// Binds all its threads to CPUs of a node, those that it may use already; `None` for one that has ended, or may use none
    /// of them. Where not all its threads are traced, those that are; `None` for more than a command has room for.
    pub(super) fn bind(&self, numbers: &Snapshot, at: usize) -> Option<String> {
        let cpus = Some(self.cpus_on(numbers, at)).filter(|cpus| !cpus.is_empty() && self.lives())?;
        let cpus = list::format(cpus);
        if self.whole && !self.is_bound_as_one() {
            // Who bound its threads one by one is to bind them anew.
            return None;
        }
        if self.whole {
            return Some(format!("taskset -acp {cpus} {}", self.pid));
        }
        let tids: Vec<String> = self.living().map(|thread| thread.tid.to_string()).collect();
        match &tids[..] {
            [tid] => Some(format!("taskset -cp {cpus} {tid}")),
            some if some.len() <= MOST_TIDS => {
                Some(format!("for t in {}; do taskset -cp {cpus} $t; done", some.join(" ")))
            }
            _ => None,
        }
    }

    /// Moves its memory to a node; `None` where little of it lies elsewhere, it is known that there is no room, or threads
    /// that are not traced use it, too.
    pub(super) fn move_pages(&self, numbers: &Snapshot, at: usize) -> Option<String> {
        let pages = self.pages.filter(|_| self.lives() && self.whole)?;
        let elsewhere = sum(pages.iter().enumerate().filter(|(node, _)| *node != at).map(|(_, pages)| pages));
        if numa::ratio(elsewhere, sum(pages))? < WORTH_MOVING || !has_room_for(numbers, at, elsewhere) {
            return None;
        }
        let nodes = numbers.host.nodes.iter().zip(pages).enumerate();
        let from = nodes.filter(|(node, (_, pages))| *node != at && **pages > 0).map(|(_, (node, _))| node.id.0);
        Some(format!("migratepages {} {} {}", self.pid, list::format(from), numbers.host.nodes.get(at)?.id))
    }

    /// Binds it and its memory to a node: while it lives with what it has, else when it is started again.
    pub(super) fn bind_all(&self, numbers: &Snapshot, at: usize) -> Option<String> {
        if !self.lives() {
            return Some(format!("{} CMD", self.start_on(numbers, at)));
        }
        let bound = self.bind(numbers, at)?;
        Some(match self.move_pages(numbers, at) {
            Some(moves) => format!("{bound} && {moves}"),
            None => bound,
        })
    }

    /// Starts a program like it on one node: with its memory there alone, or there first where it is known that not all of it
    /// has room there, since a bound program that finds none is killed.
    pub(super) fn start_on(&self, numbers: &Snapshot, at: usize) -> String {
        let pages = self.pages.unwrap_or_default();
        let elsewhere = sum(pages.iter().enumerate().filter(|(node, _)| *node != at).map(|(_, pages)| pages));
        let memory = if has_room_for(numbers, at, elsewhere) { "membind" } else { "preferred" };
        let id = id(numbers, at);
        format!("numactl --cpunodebind={id} --{memory}={id}")
    }
}

/// So many pages would find room on a node, as far as that is known.
fn has_room_for(numbers: &Snapshot, at: usize, pages: u64) -> bool {
    let memory = numbers.node_memory.as_ref().and_then(|all| all.get(at));
    match (memory, numa::page_bytes(&numbers.host)) {
        (Some(memory), Some(bytes)) => {
            pages.saturating_mul(bytes) <= memory.free_bytes.saturating_add(memory.file_bytes)
        }
        _ => true,
    }
}

/// The pair of different nodes with most touches: node of the CPU, node of the page, and how many.
pub(super) fn worst_pair(touches: &[Vec<u64>]) -> Option<(usize, usize, u64)> {
    let cells =
        touches.iter().enumerate().flat_map(|(from, row)| row.iter().enumerate().map(move |(to, n)| (from, to, *n)));
    // The first of equals.
    cells.filter(|(from, to, n)| from != to && *n > 0).min_by_key(|(.., n)| std::cmp::Reverse(*n))
}
