//! Sums since serving began, by process, cgroup and thread group, from what was counted between two reads.
//!
//! Each kind has places for series and room for candidates. A candidate that does much more than one of those that have
//! series takes its place; one that has ended keeps it for a while, so that its last numbers are scraped.

use std::{collections::HashMap, hash::Hash, time::Duration};

use numatrace_common::sums::{GroupKey, GroupSums};

use super::sums::{Bound, Cgroup, Numbers, Process, Sums, ThreadGroup};

/// What is kept of a kind, with series or without.
const MOST_KEPT: usize = 4_096;
/// For how long something that has ended keeps its series: a scrape each minute sees it.
const LINGER: Duration = Duration::from_secs(150);
/// Something without series has to do so many times as much as one that has, to take its place.
const HEAVIER: f64 = 4.0;
/// For how long one that got series keeps them at least.
const SETTLED: Duration = Duration::from_secs(120);
/// What was done a minute ago weighs half.
const HALF_LIFE: Duration = Duration::from_secs(60);
/// The cgroup of threads whose cgroup was gone before anybody could look what it is called.
const GONE: u64 = 0;

/// How many have series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Processes.
    pub processes: usize,
    /// Cgroups.
    pub cgroups: usize,
    /// Thread groups, where they are counted.
    pub thread_groups: Option<usize>,
}

/// What is measured on this kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Nodes of the machine.
    pub nodes: usize,
    /// Throttled part of waits.
    pub throttled: bool,
    /// Migrations.
    pub migrations: bool,
    /// Page touches.
    pub touches: bool,
    /// Hint faults.
    pub hints: bool,
}

impl Shape {
    /// Nothing counted yet.
    pub fn numbers(&self) -> Numbers {
        Numbers {
            throttled_ns: self.throttled.then_some(0),
            migrations: self.migrations.then(Default::default),
            touches: self.touches.then(|| vec![vec![0; self.nodes + 1]; self.nodes]),
            hint_faults: self.hints.then_some((0, 0)),
            ..Numbers::default()
        }
    }
}

/// A process: ids come again, with another start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id {
    /// The kernel's start time.
    pub start_ns: u64,
    /// Its id.
    pub tgid: u32,
}

/// What a group counted since it was read last.
#[derive(Clone, Copy, Debug)]
pub struct Delta<'a> {
    /// Which.
    pub key: &'a GroupKey,
    /// What.
    pub sums: &'a GroupSums,
}

/// What is asked about the machine.
pub trait Look {
    /// Whether the process is there.
    fn lives(&mut self, pid: u32) -> bool;

    /// Path of a cgroup inside its hierarchy, by its id; `pid` is a process that is, or was, in it. `None` where it is gone.
    fn cgroup_path(&mut self, id: u64, pid: u32) -> Option<Vec<u8>>;

    /// Whether a cgroup is there.
    fn cgroup_lives(&mut self, id: u64) -> bool;
}

#[derive(Debug)]
struct Entry<T> {
    what: T,
    numbers: Numbers,
    /// It has series, since then.
    shown: Option<Duration>,
    /// It had series once: it keeps its numbers for when it has them again.
    was_shown: bool,
    /// When it last did anything.
    active: Duration,
    gone: Option<Duration>,
    /// Time waited and run since the last [`Kept::settle`], ns.
    done: f64,
    /// The same, a second and smoothed.
    weight: f64,
}

/// Things of a kind.
#[derive(Debug)]
struct Kept<K, T> {
    entries: HashMap<K, Entry<T>>,
    most_shown: usize,
    settled: Duration,
    /// When room was last looked for: once a read.
    searched: Option<Duration>,
    /// Those without room, since the last [`Kept::settle`] and before it.
    turned_away: (u64, u64),
}

impl<K: Copy + Eq + Hash + Ord, T> Kept<K, T> {
    fn new(most_shown: usize) -> Kept<K, T> {
        Kept { entries: HashMap::new(), most_shown, settled: Duration::ZERO, searched: None, turned_away: (0, 0) }
    }

    /// The entry of `key`; `None` where there is no room for it.
    fn entry(&mut self, now: Duration, key: K, make: impl FnOnce() -> (T, Numbers)) -> Option<&mut Entry<T>> {
        let most = MOST_KEPT.max(2 * self.most_shown);
        if !self.entries.contains_key(&key) {
            if self.entries.len() >= most && self.searched != Some(now) {
                self.searched = Some(now);
                self.make_room(now);
            }
            if self.entries.len() >= most {
                self.turned_away.0 += 1;
                return None;
            }
        }
        Some(self.entries.entry(key).or_insert_with(|| {
            let (what, numbers) = make();
            Entry { what, numbers, shown: None, was_shown: false, active: now, gone: None, done: 0.0, weight: 0.0 }
        }))
    }

    /// Forgets candidates: those that are gone, else those that did nothing since the last reads.
    fn make_room(&mut self, now: Duration) {
        let settled = self.settled;
        let before = self.entries.len();
        self.entries.retain(|_, entry| entry.shown.is_some() || entry.gone.is_none());
        if self.entries.len() == before {
            self.entries.retain(|_, entry| entry.was_shown || entry.active >= settled || entry.active == now);
        }
    }

    /// Looks which are gone, and gives series to those that do most.
    fn settle(&mut self, now: Duration, mut lives: impl FnMut(&K, &T) -> bool) {
        let passed = now.saturating_sub(self.settled).as_secs_f64().max(1e-3);
        let keep = 0.5_f64.powf(passed / HALF_LIFE.as_secs_f64());
        for (key, entry) in &mut self.entries {
            entry.weight = entry.weight * keep + entry.done / passed * (1.0 - keep);
            entry.done = 0.0;
            // What was active since the last look may all the same be gone: it is looked at when it did nothing.
            if entry.gone.is_none() && entry.active < now && !lives(key, &entry.what) {
                entry.gone = Some(now);
            }
        }
        self.entries.retain(|_, entry| match entry.gone {
            Some(since) => entry.shown.is_some() && now.saturating_sub(since) < LINGER,
            None => true,
        });
        self.give_series(now);
        self.settled = now;
        self.turned_away = (0, self.turned_away.0);
    }

    fn give_series(&mut self, now: Duration) {
        let shown = self.entries.values().filter(|entry| entry.shown.is_some()).count();
        let mut candidates: Vec<(f64, K)> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.shown.is_none())
            .map(|(key, entry)| (entry.weight, *key))
            .collect();
        if candidates.is_empty() {
            return;
        }
        candidates.sort_unstable_by(|(a, key), (b, other)| b.total_cmp(a).then_with(|| key.cmp(other)));
        let mut candidates = candidates.into_iter();
        for (_, key) in candidates.by_ref().take(self.most_shown.saturating_sub(shown)) {
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.shown = Some(now);
                entry.was_shown = true;
            }
        }
        let mut settled: Vec<(f64, K)> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.shown.is_some_and(|since| now.saturating_sub(since) >= SETTLED))
            .map(|(key, entry)| (entry.weight, *key))
            .collect();
        settled.sort_unstable_by(|(a, key), (b, other)| a.total_cmp(b).then_with(|| key.cmp(other)));
        for ((light, out), (heavy, into)) in settled.into_iter().zip(candidates) {
            if heavy <= HEAVIER * light || heavy <= 0.0 {
                break;
            }
            if let Some(entry) = self.entries.get_mut(&out) {
                entry.shown = None;
            }
            if let Some(entry) = self.entries.get_mut(&into) {
                entry.shown = Some(now);
                entry.was_shown = true;
            }
        }
    }

    fn bound(&self) -> Bound {
        let hidden = self.entries.values().filter(|entry| entry.shown.is_none()).count();
        Bound { most: self.most_shown, hidden: hidden as u64 + self.turned_away.1 }
    }

    /// Those that have series, in order.
    fn shown(&self) -> Vec<(&K, &Entry<T>)> {
        let mut shown: Vec<_> = self.entries.iter().filter(|(_, entry)| entry.shown.is_some()).collect();
        shown.sort_unstable_by_key(|(key, _)| **key);
        shown
    }
}

impl<T> Entry<T> {
    fn add(&mut self, now: Duration, sums: &GroupSums) {
        self.active = now;
        self.gone = None;
        self.done += (sums.wait_ns + sums.cpu_ns) as f64;
        self.numbers.add(sums.into());
    }
}

#[derive(Debug)]
struct OfProcess {
    comm: Vec<u8>,
    /// Where it was counted last.
    cgroup: u64,
}

#[derive(Debug)]
struct OfGroup {
    process: Vec<u8>,
    cgroup: u64,
}

#[derive(Debug)]
struct OfCgroup {
    path: Vec<u8>,
    /// Its id now: one that is made again at the same path goes on where the one before it ended.
    id: u64,
}

/// Name of the threads of a group, in an order.
type Name = [u8; 16];

impl PartialOrd for Id {
    fn partial_cmp(&self, other: &Id) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Id {
    fn cmp(&self, other: &Id) -> std::cmp::Ordering {
        (self.tgid, self.start_ns).cmp(&(other.tgid, other.start_ns))
    }
}

/// See the module.
#[derive(Debug)]
pub struct Table {
    shape: Shape,
    processes: Kept<Id, OfProcess>,
    /// By the id of the first cgroup at a path.
    cgroups: Kept<u64, OfCgroup>,
    /// Ids of cgroups, and under which they are kept.
    ids: HashMap<u64, u64>,
    groups: Option<Kept<(Id, Name), OfGroup>>,
    /// Cgroups of all processes that were added since the last [`Table::settle`], with room for them or without.
    added: HashMap<Id, u64>,
}

impl Table {
    /// Nothing counted yet.
    pub fn new(limits: Limits, shape: Shape) -> Table {
        Table {
            shape,
            processes: Kept::new(limits.processes),
            cgroups: Kept::new(limits.cgroups),
            ids: HashMap::new(),
            groups: limits.thread_groups.map(Kept::new),
            added: HashMap::new(),
        }
    }

    /// Adds what a group counted. `now` is the time of this read, since serving began.
    pub fn add(&mut self, now: Duration, look: &mut dyn Look, delta: &Delta<'_>) {
        let Delta { key, sums } = *delta;
        let id = Id { start_ns: key.start_ns, tgid: key.tgid };
        let shape = self.shape;
        let cgroup = self.cgroup(now, look, key);
        if let Some(entry) =
            self.cgroups.entry(now, cgroup, || (OfCgroup { path: Vec::new(), id: GONE }, shape.numbers()))
        {
            entry.add(now, sums);
        }
        self.added.insert(id, cgroup);
        let comm = name(&sums.comm);
        let process = self.processes.entry(now, id, || (OfProcess { comm: comm.to_vec(), cgroup }, shape.numbers()));
        if let Some(entry) = process {
            entry.add(now, sums);
            entry.what.cgroup = cgroup;
            if entry.what.comm != comm && !comm.is_empty() {
                entry.what.comm = comm.to_vec();
            }
        }
        let Some(groups) = &mut self.groups else { return };
        let group = groups.entry(now, (id, key.comm), || (OfGroup { process: comm.to_vec(), cgroup }, shape.numbers()));
        if let Some(entry) = group {
            entry.add(now, sums);
            entry.what.cgroup = cgroup;
            if entry.what.process != comm && !comm.is_empty() {
                entry.what.process = comm.to_vec();
            }
        }
    }

    /// The id under which a cgroup is kept; its path is looked up once.
    fn cgroup(&mut self, now: Duration, look: &mut dyn Look, key: &GroupKey) -> u64 {
        if let Some(kept) = self.ids.get(&key.cgroup)
            && self.cgroups.entries.contains_key(kept)
        {
            return *kept;
        }
        let path = if key.cgroup == GONE { None } else { look.cgroup_path(key.cgroup, key.tgid) };
        let Some(path) = path else { return GONE };
        let before = self.cgroups.entries.iter_mut().find(|(id, entry)| **id != GONE && entry.what.path == path);
        let kept = match before {
            Some((kept, entry)) => {
                entry.what.id = key.cgroup;
                *kept
            }
            None => key.cgroup,
        };
        let shape = self.shape;
        self.cgroups.entry(now, kept, || (OfCgroup { path, id: key.cgroup }, shape.numbers()));
        self.ids.insert(key.cgroup, kept);
        kept
    }

    /// Adds page touches of a process, and so of the cgroup that it is in. To be called after processes were added: of one that
    /// nothing is known of yet nothing is done, and `false` given, unless this is the `last` time that it is asked.
    pub fn touch(&mut self, now: Duration, id: Id, last: bool, add: impl Fn(&mut Numbers)) -> bool {
        let mut cgroup = self.added.get(&id).copied();
        if let Some(entry) = self.processes.entries.get_mut(&id) {
            entry.active = entry.active.max(now);
            add(&mut entry.numbers);
            cgroup = cgroup.or(Some(entry.what.cgroup));
        }
        if cgroup.is_none() && !last {
            return false;
        }
        let (cgroup, shape) = (cgroup.unwrap_or(GONE), self.shape);
        let entry = self.cgroups.entry(now, cgroup, || (OfCgroup { path: Vec::new(), id: GONE }, shape.numbers()));
        if let Some(entry) = entry {
            add(&mut entry.numbers);
        }
        true
    }

    /// After a read: forgets what is over, and gives series to those that do most.
    pub fn settle(&mut self, now: Duration, look: &mut dyn Look) {
        let mut newest: HashMap<u32, u64> = HashMap::new();
        for id in self.processes.entries.keys() {
            let newest = newest.entry(id.tgid).or_default();
            *newest = id.start_ns.max(*newest);
        }
        // An id that is in use again: the older process is gone, and its series would be the same as those of the newer one.
        let is_newest = |id: &Id| newest.get(&id.tgid).is_none_or(|newest| *newest <= id.start_ns);
        self.processes.entries.retain(|id, _| is_newest(id));
        self.processes.settle(now, |id, _| look.lives(id.tgid));
        if let Some(groups) = &mut self.groups {
            groups.entries.retain(|(id, _), _| is_newest(id));
            groups.settle(now, |(id, _), _| look.lives(id.tgid));
        }
        self.added.clear();
        self.cgroups.settle(now, |id, cgroup| *id == GONE || look.cgroup_lives(cgroup.id));
        let kept = &self.cgroups.entries;
        self.ids.retain(|_, id| kept.contains_key(id));
    }

    /// Processes, cgroups and thread groups that have series. The rest is left as [`Sums::default`] has it.
    pub fn sums(&self) -> Sums {
        let cgroups = self.cgroups.shown();
        let at: HashMap<u64, usize> = cgroups.iter().enumerate().map(|(at, (id, _))| (**id, at)).collect();
        let of_cgroup = |(id, entry): &(&u64, &Entry<OfCgroup>)| Cgroup {
            path: if **id == GONE { b"(gone)".to_vec() } else { entry.what.path.clone() },
            numbers: entry.numbers.clone(),
        };
        let of_process = |(id, entry): (&Id, &Entry<OfProcess>)| Process {
            pid: id.tgid,
            comm: entry.what.comm.clone(),
            cgroup: at.get(&entry.what.cgroup).copied(),
            numbers: entry.numbers.clone(),
        };
        let of_group = |((id, comm), entry): (&(Id, Name), &Entry<OfGroup>)| ThreadGroup {
            pid: id.tgid,
            process: entry.what.process.clone(),
            comm: name(comm).to_vec(),
            cgroup: at.get(&entry.what.cgroup).copied(),
            numbers: entry.numbers.clone(),
        };
        let groups = self.groups.as_ref();
        Sums {
            cgroups: cgroups.iter().map(of_cgroup).collect(),
            processes: self.processes.shown().into_iter().map(of_process).collect(),
            thread_groups: groups.map(|groups| groups.shown().into_iter().map(of_group).collect()).unwrap_or_default(),
            process_bound: self.processes.bound(),
            cgroup_bound: self.cgroups.bound(),
            thread_group_bound: groups.map(Kept::bound),
            ..Sums::default()
        }
    }
}

/// A name without the NULs that fill it.
fn name(comm: &[u8; 16]) -> &[u8] {
    let len = comm.iter().position(|byte| *byte == 0).unwrap_or(comm.len());
    &comm[..len]
}

#[cfg(test)]
mod tests;
