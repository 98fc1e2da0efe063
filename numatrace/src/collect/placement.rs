//! On which nodes the resident pages of each traced process are, as `numastat -p` counts them.
//!
//! numa_maps tells it too, but goes through all pages of a mapping in one system call with the mappings locked: 20 ms for
//! a GiB, in which the process waits when it maps memory. Here /proc/PID/pagemap tells page frame numbers for a few
//! pages at a time, [`NodeMap`] tells the node of a frame, and the work stops when its share of time is used up, to go on
//! from there the next time. A scan is therefore no picture of one moment: pages that move while it goes on may be
//! counted where they were, where they are, twice or not at all.
//!
//! Counted, in pages of the base size (a huge page is many): pages that page tables map, shared and of files too. Not
//! counted, as in numa_maps: the zero page and the huge zero page, [vdso] and [vvar], what drivers map that is no page
//! of memory, and memory of devices.

mod maps;
mod pages;
mod scan;

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use self::pages::{Kinds, Look, OwnPages, Pagemap, Zero, cpu_ns};
use self::scan::{Running, Tools};
use crate::topology::memory::NodeMap;

/// Most processes that are scanned.
pub const MAX_PROCESSES: usize = 4_096;
/// A process is not scanned more often than this.
pub const INTERVAL: Duration = Duration::from_secs(1);
/// And one that has no memory, as threads of the kernel, or may not be looked at: this is tried less often.
pub const RETRY: Duration = Duration::from_secs(5);

/// Work between two looks at the clock, which takes up to a microsecond itself: a page is 1.
const UNCHECKED: u64 = 1_024;
/// And a system call is as much as this many pages, as is a mapping. A look for present pages may take long: after each
/// the clock is looked at.
const CALL: u64 = 16;
/// And opening the files of a process.
const OPEN: u64 = 256;

/// A complete scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// Thread group id of the process.
    pub tgid: u32,
    /// `CLOCK_MONOTONIC` in nanoseconds when the scan began.
    pub began_ns: u64,
    /// And when it ended.
    pub ended_ns: u64,
    /// Resident pages by position of the node.
    pub pages: Vec<u64>,
    /// Resident pages of which the node is not known.
    pub unknown: u64,
}

/// What was done since the scanner was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// System calls that told of mappings or pages.
    pub calls: u64,
    /// System calls that looked for pages that are present.
    pub looks: u64,
    /// Words of pagemaps that were read: pages that are present, or not.
    pub pages: u64,
    /// Scans that were not completed: the process was gone, had no memory, or might not be looked at.
    pub failed: u64,
}

/// Scans processes in turn.
#[derive(Debug)]
pub struct Scanner {
    proc: PathBuf,
    tools: Tools,
    known: HashSet<u32>,
    left_out: usize,
    /// Not scanned yet.
    fresh: VecDeque<u32>,
    /// Scanned before, with the time from which on they may be again.
    again: BTreeSet<(u64, u32)>,
    /// The last one was fresh: those that were scanned before have the next turn.
    was_fresh: bool,
    running: Option<Running>,
    /// CPU time in nanoseconds that was used beyond budgets: the next ones are smaller by it.
    debt_ns: u64,
    work: Work,
}

impl Scanner {
    /// `proc` is the directory /proc, of the pid namespace in which processes are named; `nodes` is their number.
    ///
    /// # Errors
    /// Why it is off, in a sentence: page frame numbers are for those who have CAP_SYS_ADMIN in the initial user
    /// namespace, and kernels can be built without these files.
    pub fn new(proc: &Path, map: NodeMap, nodes: usize) -> Result<Scanner, String> {
        // SAFETY: sysconf has no preconditions.
        let page_bytes = u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4_096);
        let told = |file: &str, error| format!("{} cannot be read: {error}", proc.join(file).display());
        let pagemap = Pagemap::open(&proc.join("self"), page_bytes).map_err(|e| told("self/pagemap", e))?;
        let own = OwnPages::ask(&pagemap).map_err(|e| told("self/pagemap", e))?;
        if own.written == 0 || own.read == 0 {
            return Err(
                "the kernel tells page frame numbers only with CAP_SYS_ADMIN, as root of the host has it".into()
            );
        }
        let kinds = Kinds::open(proc).map_err(|e| told("kpageflags", e))?;
        // Of the zero page, which stays: the other is gone by now.
        if kinds.of(own.read) & Kinds::ZERO == 0 {
            return Err(format!("{} does not know the zero page", proc.join("kpageflags").display()));
        }
        let finds = pagemap.look(0, 1) != Look::Refused;
        let (zero, buffer) = (Zero::new(own.read, page_bytes), Tools::buffer());
        Ok(Scanner {
            proc: proc.into(),
            tools: Tools { map, nodes, kinds, zero, page_bytes, finds, buffer },
            known: HashSet::new(),
            left_out: 0,
            fresh: VecDeque::new(),
            again: BTreeSet::new(),
            was_fresh: false,
            running: None,
            debt_ns: 0,
            work: Work::default(),
        })
    }

    /// The map of memory changed. A scan that is going on begins again, as it would mix both.
    pub fn set_map(&mut self, map: NodeMap) {
        if map != self.tools.map {
            self.tools.map = map;
            if let Some(running) = self.running.take() {
                self.fresh.push_front(running.tgid);
            }
        }
    }

    /// Does without `PAGEMAP_SCAN`, as on a kernel before 6.7.
    pub fn set_old_kernel(&mut self) {
        self.tools.finds = false;
    }

    /// The processes that are traced now, by thread group id, at most [`MAX_PROCESSES`]; those that are gone are
    /// forgotten.
    pub fn set_processes(&mut self, tgids: &[u32]) {
        let mut traced = HashSet::with_capacity(tgids.len().min(MAX_PROCESSES));
        self.left_out = 0;
        for tgid in tgids {
            if traced.len() >= MAX_PROCESSES {
                self.left_out += usize::from(!traced.contains(tgid));
            } else if traced.insert(*tgid) && !self.known.contains(tgid) {
                self.fresh.push_back(*tgid);
            }
        }
        self.fresh.retain(|tgid| traced.contains(tgid));
        self.again.retain(|(_, tgid)| traced.contains(tgid));
        self.running.take_if(|running| !traced.contains(&running.tgid));
        self.known = traced;
    }

    /// Processes that are not scanned, being more than [`MAX_PROCESSES`].
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// What was done up to now.
    pub fn work(&self) -> Work {
        self.work
    }

    /// Works for `budget` of CPU time at most, and gives each scan that is complete. It notices the end of its budget
    /// after at most about a millisecond; what it used beyond is taken off the next budgets, so that their sum holds.
    ///
    /// `now_ns` is `CLOCK_MONOTONIC`.
    pub fn step(&mut self, now_ns: u64, budget: Duration, done: &mut dyn FnMut(Scan)) {
        let budget_ns = nanos(budget);
        let repaid = self.debt_ns.min(budget_ns);
        self.debt_ns -= repaid;
        if budget_ns == repaid || !self.has_work(now_ns) {
            return;
        }
        let (clock, cpu) = (Instant::now(), cpu_ns());
        let now = || now_ns.saturating_add(nanos(clock.elapsed()));
        let mut unchecked = 0;
        loop {
            let before = self.work;
            let more = match self.running.take() {
                Some(running) => {
                    self.advance(running, &now, done);
                    true
                }
                None => {
                    unchecked += OPEN;
                    self.begin(now())
                }
            };
            unchecked += self.work.weight() - before.weight() + CALL;
            if more && unchecked < UNCHECKED {
                continue;
            }
            unchecked = 0;
            let used = cpu_ns().saturating_sub(cpu);
            if !more || used >= budget_ns - repaid {
                self.debt_ns += used.saturating_sub(budget_ns - repaid);
                return;
            }
        }
    }

    fn has_work(&self, now_ns: u64) -> bool {
        self.running.is_some() || !self.fresh.is_empty() || self.due(now_ns).is_some()
    }

    /// The one that waits longest of those that were scanned before and may be again.
    fn due(&self, now_ns: u64) -> Option<(u64, u32)> {
        self.again.first().copied().filter(|(due, _)| *due <= now_ns)
    }

    /// Begins the next scan; says whether there was one to begin.
    fn begin(&mut self, now_ns: u64) -> bool {
        let due = self.due(now_ns);
        let fresh = if due.is_none() || !self.was_fresh { self.fresh.pop_front() } else { None };
        self.was_fresh = fresh.is_some();
        let due = due.filter(|_| fresh.is_none());
        due.map(|due| self.again.remove(&due));
        let Some(tgid) = fresh.or(due.map(|(_, tgid)| tgid)) else { return false };
        match Running::begin(&self.proc, tgid, now_ns, &self.tools) {
            Ok(running) => self.running = Some(running),
            Err(_) => self.failed(tgid, now_ns, RETRY),
        }
        true
    }

    fn advance(&mut self, mut running: Running, now: &dyn Fn() -> u64, done: &mut dyn FnMut(Scan)) {
        match running.advance(&mut self.tools, &mut self.work) {
            Ok(false) => self.running = Some(running),
            Ok(true) => {
                let Running { tgid, began_ns, pages, unknown, .. } = running;
                self.again.insert((began_ns.saturating_add(nanos(INTERVAL)), tgid));
                done(Scan { tgid, began_ns, ended_ns: now(), pages, unknown });
            }
            // It may have called execve, and another program runs there.
            Err(_) => self.failed(running.tgid, now(), INTERVAL),
        }
    }

    fn failed(&mut self, tgid: u32, now_ns: u64, again_in: Duration) {
        self.work.failed += 1;
        self.again.insert((now_ns.saturating_add(nanos(again_in)), tgid));
    }
}

impl Work {
    /// About how long it took, in pages.
    fn weight(&self) -> u64 {
        self.pages + self.calls * CALL + self.looks * UNCHECKED
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn fuzz(bytes: &[u8]) {
    maps::fuzz(bytes);
}
