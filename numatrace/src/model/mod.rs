//! The model: events in, snapshot out. No clock, no terminal, no aya, no I/O.
//!
//! Time is that of the last [`Tick`](numatrace_common::abi::Tick): everything that is open (a turn, a wait, a block)
//! counts up to it. Reading the Totals of a tick takes a while, in which threads go on; so a tick begins with a
//! Counters record, then come the Totals, and what is open counts up to that Counters record: every open phase was
//! known to last at least until then, and no number goes back from one snapshot to the next while no record is lost.
//! Threads that run or wait are told by Totals on every tick; one that is not told any more lost its last records,
//! and what it does is unknown from then on.
//!
//! Memory is bounded by [`Limits`]: a thread costs about 1 KB, 8 bytes for each bucket that a wait of it fell into (see
//! `buckets.rs`), 640 bytes once it ran in a second slot of its track (see `track.rs`), up to 16 times 24 bytes for
//! wakers and for culprits, 8 bytes for each node, 10 bytes for each CPU it ran on, up to 32 (see `residency.rs`), 150 bytes once it touched a page, and 72 for each pair of nodes between which it did,
//! 64 places of 80 bytes that it touched them from (see `pages.rs`), and 160 bytes where it lived when a recording began in
//! the middle (see `thread/base.rs`); the sums over all threads cost 0.5 MB, the paths of cgroups and the names of places
//! 4,096 bytes each at most, escapes apart, and the last events 0.3 MB (see `notable.rs`). Nothing is allocated for an event, except when a thread does something for the first time (is heard of,
//! waits, runs on a CPU, is woken by somebody new) or a cgroup is heard of.

mod active;
mod attributes;
mod buckets;
mod cgroups;
mod containers;
mod latency;
mod loss;
mod names;
mod notable;
mod numbers;
mod opening;
mod pages;
mod placement;
mod quotas;
mod residency;
mod self_cost;
mod slots;
mod table;
mod texts;
mod thread;
mod topk;
mod track;
mod view;

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use numatrace_common::abi::{self, Migrate, Slice, Task, Throttled, Totals, slice_flags, task_event};

pub use self::active::Active;
use self::attributes::{Attributes, Seen};
use self::containers::Containers;
pub use self::latency::LONGEST_NS;
use self::latency::{FINE, WaitKind, Waits};
use self::loss::LossLedger;
use self::names::{Comm, Names};
use self::notable::Notable;
use self::numbers::Cpus;
use self::placement::Placements;
use self::quotas::{NodeMemories, Quotas};
use self::self_cost::SelfCosts;
use self::table::Table;
use self::texts::Texts;
use self::thread::{Question, Tracked};
use crate::decode::Event;
use crate::snapshot::{Gap, Host, Snapshot, Source, Target, sources};
use crate::topology::{Level, Topology};

/// What does not come in records.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// The machine.
    pub host: Host,
    /// What is traced.
    pub target: Target,
    /// Every source of numbers.
    pub sources: Vec<Source>,
    /// When tracing began, ns of `CLOCK_MONOTONIC`.
    pub start_ns: u64,
    /// The same moment, ns since the epoch.
    pub start_wall_ns: u64,
    /// What is measured of page touches.
    #[serde(default)]
    pub pages: Pages,
    /// What is measured of waits.
    #[serde(default)]
    pub waits: Waiting,
}

/// What is measured of waits beside their length: what is not, is absent, never 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Which part of a wait a CPU quota caused.
    pub throttled: bool,
    /// Whether who ran instead is of the same process.
    pub owners: bool,
    /// What the cgroups with a CPU quota count.
    pub quotas: bool,
    /// What the nodes' memory holds.
    pub node_memory: bool,
}

impl Waiting {
    /// All of it.
    pub const ALL: Waiting = Waiting { throttled: true, owners: true, quotas: true, node_memory: true };
}

/// What is measured of page touches and what belongs to them: what is not, is absent, never 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pages {
    /// Page touches.
    pub touches: bool,
    /// Copies on write are told from others.
    pub cow: bool,
    /// Huge pages are.
    pub huge: bool,
    /// The zero page is.
    pub zero: bool,
    /// NUMA hint faults.
    pub hints: bool,
    /// Time in these. Recordings of before it was measured do not say so.
    #[serde(default)]
    pub hint_time: bool,
    /// Pages that NUMA balancing moves.
    pub migrated: bool,
    /// Where touches come from.
    pub places: bool,
    /// Resident pages by node.
    pub placement: bool,
}

impl Pages {
    /// All of it.
    pub const ALL: Pages = Pages {
        touches: true,
        cow: true,
        huge: true,
        zero: true,
        hints: true,
        hint_time: true,
        migrated: true,
        places: true,
        placement: true,
    };
}

/// What the model keeps at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Live threads. Further ones are refused, as those that the kernel side has no place for; one that does
    /// something when there is place again is taken in then, with all that its Totals say.
    pub max_threads: usize,
    /// Threads that ended. Beyond, the one that ended first is evicted; its numbers stay in the totals.
    pub max_exited: usize,
    /// Names of threads that are no targets.
    pub max_names: usize,
    /// Intervals of loss, and those in which something was left out; the oldest are merged.
    pub max_loss_intervals: usize,
    /// Cgroups whose path is kept; threads of further ones are in none that is known.
    pub max_cgroups: usize,
    /// Texts of mappings and of places in the code.
    pub max_words: usize,
    /// Processes whose placement is kept.
    pub max_placements: usize,
    /// Cgroups whose quota is kept.
    pub max_quotas: usize,
    /// Gaps of sources; of more the last ones are kept.
    pub max_gaps: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_threads: 65_536,
            max_exited: 4096,
            max_names: 16_384,
            max_loss_intervals: 256,
            max_cgroups: 4096,
            max_words: 16_384,
            max_placements: 4096,
            max_quotas: 1024,
            max_gaps: 256,
        }
    }
}

/// Everything that is known so far. See the module.
#[derive(Clone, Debug)]
pub struct Model {
    meta: Meta,
    topology: Topology,
    cpus: Cpus,
    now_ns: u64,
    /// The same, of the tick before.
    before_ns: u64,
    /// When the tick that is on its way began: its first Counters record.
    began_ns: Option<u64>,
    table: Table,
    names: Names,
    loss: LossLedger,
    self_costs: SelfCosts,
    wakeup: Waits<u64>,
    preempted: Waits<u64>,
    /// Of waits that have a throttled part: whole, and without it.
    throttled: Waits<u64>,
    unthrottled: Waits<u64>,
    /// `[from][to]`, one row after the other.
    migrations: Vec<u64>,
    attributes_seen: Seen,
    cgroups: Texts,
    containers: Containers,
    words: Texts,
    placements: Placements,
    quotas: Quotas,
    node_memories: NodeMemories,
    gaps: VecDeque<Gap>,
    max_gaps: usize,
    notable: Notable,
    /// Times that it was asked who is due, for attributes or for a cgroup.
    rounds: u32,
}

impl Model {
    /// A model that knows nothing yet.
    pub fn new(mut meta: Meta, topology: Topology, limits: Limits) -> Model {
        // A recording has the topology, but not this part of what follows from it.
        meta.host.llcs = topology.llcs();
        let mut node_of = Vec::new();
        for cpu in &topology.cpus {
            // CPU numbers in records have 16 bits.
            let Ok(id) = u16::try_from(cpu.id) else { continue };
            if node_of.len() <= usize::from(id) {
                node_of.resize(usize::from(id) + 1, None);
            }
            node_of[usize::from(id)] =
                cpu.node.filter(|node| *node < topology.nodes.len()).and_then(|node| u16::try_from(node).ok());
        }
        Model {
            now_ns: meta.start_ns,
            before_ns: meta.start_ns,
            began_ns: None,
            table: Table::new(limits.max_threads, limits.max_exited, meta.start_ns),
            names: Names::new(limits.max_names),
            loss: LossLedger::new(meta.start_ns, limits.max_loss_intervals),
            self_costs: SelfCosts::new(meta.start_ns, limits.max_loss_intervals),
            wakeup: Waits::new(FINE),
            preempted: Waits::new(FINE),
            throttled: Waits::new(FINE),
            unthrottled: Waits::new(FINE),
            migrations: vec![0; topology.nodes.len() * topology.nodes.len()],
            attributes_seen: Seen::default(),
            cgroups: Texts::new(limits.max_cgroups),
            containers: Containers::new(limits.max_cgroups),
            words: Texts::new(limits.max_words),
            placements: Placements::new(limits.max_placements),
            quotas: Quotas::new(limits.max_quotas),
            node_memories: NodeMemories::default(),
            gaps: VecDeque::new(),
            max_gaps: limits.max_gaps,
            notable: Notable::new(),
            rounds: 0,
            cpus: Cpus::new(node_of, topology.nodes.len()),
            meta,
            topology,
        }
    }

    /// Takes in one event. Any event is possible at any time: nothing panics.
    #[inline]
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Slice(slice) => self.slice(slice),
            Event::Migrate(migrate) => self.migrate(migrate),
            Event::Task(task) => self.task(task),
            Event::Totals(totals) => self.totals(totals),
            Event::Tick(tick) => self.tick(tick.header.ts),
            Event::Counters(counters) => {
                self.began_ns.get_or_insert(counters.header.ts);
                self.loss.counters(counters);
            }
            Event::Attributes(attributes) => self.attributes(attributes),
            Event::CgroupPath(piece) => self.cgroups.piece(piece),
            Event::Cgroup(record) => self.cgroup(record),
            Event::ContainerNames(piece) => self.containers.piece(piece, self.cgroups.get(piece.cgroup)),
            Event::NamespaceIds(ids) => {
                if let Some(thread) = self.table.living(ids.tid, ids.header.ts) {
                    thread.ns_pid = Some(ids.own_tid);
                }
            }
            Event::TotalsBase(totals) => {
                if let Some(thread) = self.table.living_now(totals.tid) {
                    thread.begin_with(totals);
                    if thread.end.is_some() {
                        self.table.note_dead(totals.tid);
                    }
                }
            }
            Event::CountersBase(counters) => self.loss.begin_with(counters),
            Event::Touches(touches) => self.touches(touches),
            Event::Words(piece) => self.words.piece(piece),
            Event::Where(place) => self.place(place),
            Event::Placement(part) => self.placements.part(part, self.topology.nodes.len()),
            Event::Gap(gap) => self.gap(gap),
            Event::SelfCost(cost) => self.self_costs.take(cost),
            Event::Throttled(throttled) => self.throttled(throttled, Tracked::throttled),
            // The Totals before it can have told that the thread is dead.
            Event::ThrottledBase(throttled) => self.throttled(throttled, Tracked::begin_throttled_with),
            Event::Quota(quota) => self.quotas.record(quota, self.cgroups.get(quota.cgroup)),
            Event::NodeMemory(node) => self.node_memories.record(node, self.topology.nodes.len()),
        }
    }

    fn tick(&mut self, ts: u64) {
        let now = self.began_ns.take().unwrap_or(ts).min(ts);
        if now > self.now_ns {
            self.before_ns = std::mem::replace(&mut self.now_ns, now);
        }
        let lost = self.loss.settle(ts);
        self.close_interval(lost);
        self.table.tick(self.before_ns);
    }

    #[inline]
    fn slice(&mut self, slice: &Slice) {
        let Some(thread) = self.table.at(slice.tid, slice.tgid, slice.header.ts) else { return };
        // The last turn of a thread always has a record.
        let times = if slice.flags & slice_flags::OUT_DEAD != 0 { 1 } else { self.self_costs.every() };
        thread.turn(slice, &mut self.cpus, times);
        match WaitKind::of(slice.flags) {
            None => {}
            Some(WaitKind::Wakeup) => {
                self.wakeup.record(slice.wait_ns, times);
                self.notable.wait(slice, false, times);
            }
            Some(WaitKind::Preempted) => {
                self.preempted.record(slice.wait_ns, times);
                self.notable.wait(slice, true, times);
            }
        }
        let throttled_ns = slice_flags::throttled_ns(slice.flags, slice.wait_ns);
        if throttled_ns > 0 {
            self.throttled.record(slice.wait_ns, times);
            self.unthrottled.record(slice.wait_ns.saturating_sub(throttled_ns), times);
        }
        if slice.flags & slice_flags::OUT_DEAD != 0 {
            self.table.note_dead(slice.tid);
        }
    }

    fn migrate(&mut self, migrate: &Migrate) {
        let Some(thread) = self.table.at(migrate.tid, migrate.tgid, migrate.header.ts) else { return };
        let (from, to) = (migrate.header.cpu, migrate.header.cpu2);
        let level = self.topology.level(u32::from(from), u32::from(to));
        thread.migrate(migrate, level);
        self.notable.migrate(migrate, level == Some(Level::CrossNode));
        if let (Some(from), Some(to)) = (self.cpus.node(from), self.cpus.node(to)) {
            let cell = usize::from(from) * self.topology.nodes.len() + usize::from(to);
            if let Some(count) = self.migrations.get_mut(cell) {
                *count += 1;
            }
        }
    }

    fn totals(&mut self, totals: &Totals) {
        if let Some(thread) = self.table.last_words(totals.tid, totals.tgid, totals.header.ts) {
            thread.totals(totals);
        }
    }

    fn throttled(&mut self, record: &Throttled, take: fn(&mut Tracked, &Throttled)) {
        if let Some(thread) = self.table.last_words(record.tid, record.tgid, record.header.ts) {
            take(thread, record);
        }
    }

    fn task(&mut self, task: &Task) {
        if task.event == task_event::NAME {
            self.names.insert(task.tid, Comm::new(task.comm));
        } else {
            self.table.task(task, &mut self.cpus);
            self.notable.task(task);
        }
    }

    fn attributes(&mut self, record: &abi::Attributes) {
        if let Some(thread) = self.table.living(record.tid, record.header.ts) {
            thread.attributes(Attributes::new(record, &mut self.attributes_seen));
        }
    }

    fn touches(&mut self, record: &abi::Touches) {
        let numbers = match self.table.touching(record.tid, record.tgid, record.start_ns) {
            Some(thread) => &mut thread.numbers,
            // Whose they are is not known, or not any more: they are in the totals alone.
            None => &mut self.table.gone,
        };
        numbers.touched.get_or_insert_default().take(record, self.topology.nodes.len());
    }

    fn place(&mut self, record: &abi::Where) {
        let (Some(mapping), Some(symbol)) = (self.words.get(record.mapping), self.words.get(record.symbol)) else {
            return;
        };
        let stack = self.words.get(record.stack);
        self.notable.place(record);
        let numbers = match self.table.touching(record.tid, record.tgid, 0) {
            Some(thread) => &mut thread.numbers,
            None => &mut self.table.gone,
        };
        numbers.touched.get_or_insert_default().places.add(mapping, symbol, stack, [record.local, record.remote]);
    }

    fn gap(&mut self, record: &abi::Gap) {
        self.notable.gap(record);
        if self.gaps.len() >= self.max_gaps {
            self.gaps.pop_front();
        }
        let since = |ts: u64| ts.saturating_sub(self.meta.start_ns);
        let names = |source: &&Source| sources::TOUCHES.contains(&source.name.as_str());
        let source = self.meta.sources.iter().find(names).map_or(sources::TOUCHES[0], |source| &source.name);
        self.gaps.push_back(Gap {
            source: source.into(),
            cpu: u32::from(record.header.cpu),
            start_ns: since(record.start_ns),
            end_ns: since(record.end_ns),
        });
    }

    /// A number without a path says that the thread's cgroup is not known any more.
    fn cgroup(&mut self, record: &abi::Cgroup) {
        let path = self.cgroups.get(record.cgroup);
        if let Some(thread) = self.table.living(record.tid, record.header.ts) {
            path.inspect(|path| self.containers.meet(path));
            thread.cgroup(path, record.header.ts);
        }
    }

    /// Counts records that arrived but could not be decoded.
    pub fn note_undecodable(&mut self, records: u64) {
        self.loss.undecodable(records);
    }

    /// Records that were lost, and records that the probes wanted to write.
    pub fn lost_of(&self) -> (u64, u64) {
        self.loss.lost_of()
    }

    /// The moment that numbers count up to: the beginning of the last tick, ns of `CLOCK_MONOTONIC`.
    pub const fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Name of a thread, display-safe: a target's own, else one that was looked up (a NAME record).
    pub fn name_of(&self, tid: u32) -> Option<&str> {
        self.shared_name_of(tid).map(|name| &**name)
    }

    /// The same.
    fn shared_name_of(&self, tid: u32) -> Option<&Arc<str>> {
        if tid == 0 {
            return Some(self.names.idle());
        }
        let own = self.table.current(tid).map(|thread| thread.comm.shown()).filter(|comm| !comm.is_empty());
        own.or_else(|| self.names.get(tid)).filter(|name| !name.is_empty())
    }

    /// A text that records name by this number, display-safe, the lines of callers apart; `None` where it was not told.
    pub fn words(&self, id: u32) -> Option<&str> {
        self.words.get(id).map(|text| &**text)
    }

    /// Records that were lost or could not be read so far.
    pub fn records_lost(&self) -> u64 {
        self.loss.lost()
    }

    /// At most `max` threads that snapshots speak of without knowing their name. Look each one up and answer with a
    /// NAME record, with an empty name where nobody is found, so that it is not asked for again.
    pub fn unnamed_tids(&self, max: usize) -> Vec<u32> {
        self.unnamed(max)
    }

    /// At most `max` living threads that the kernel is to be asked about now: first those it was never asked about, then
    /// those it was asked about longest ago. Answer with an Attributes record for each that is still there. Who was asked
    /// about is in no snapshot, so that replayed records give the same ones although nobody asks.
    pub fn attributes_due(&mut self, max: usize) -> Vec<u32> {
        self.due(max, Question::Attributes).map(|thread| thread.tid).collect()
    }

    /// As [`Model::attributes_due`], for their cgroups: thread id, and when it was first heard of, which tells owners of an
    /// id apart. Answer with a Cgroup record for each whose cgroup is another than was told before.
    pub fn cgroups_due(&mut self, max: usize) -> Vec<(u32, u64)> {
        self.due(max, Question::Cgroup).map(|thread| (thread.tid, thread.born_ns)).collect()
    }

    /// At most `max` living threads, those first of whom this was asked longest ago; it is asked now.
    fn due(&mut self, max: usize, question: Question) -> impl Iterator<Item = &Tracked> {
        self.rounds = self.rounds.saturating_add(1);
        let mut due: Vec<&mut Tracked> = self.table.iter_live().collect();
        if due.len() > max {
            due.select_nth_unstable_by_key(max, |thread| thread.asked[question as usize]);
            due.truncate(max);
        }
        due.iter_mut().for_each(|thread| thread.asked[question as usize] = self.rounds);
        due.into_iter().map(|thread| &*thread)
    }

    /// A moment of `CLOCK_MONOTONIC` as ns since the epoch, by the clocks at the start.
    pub const fn wall_ns(&self, ts: u64) -> u64 {
        self.meta.start_wall_ns.wrapping_add(ts.wrapping_sub(self.meta.start_ns))
    }

    /// Bytes that a copy of it takes, near enough: see the module.
    pub fn weight(&self) -> usize {
        const SUMS: usize = 500_000;
        const THREAD: usize = 7_000;
        SUMS + THREAD * self.table.iter().count()
    }

    /// Everything at the last tick.
    pub fn snapshot(&self) -> Snapshot {
        self.view()
    }
}

#[cfg(test)]
mod tests;
