//! The live source: probes, drain threads and merge behind [`Source`].
//!
//! Everything that the model reads becomes a record first: on each tick the task iterator writes totals into the
//! rings, and counters, names, attributes, cgroups and the tick itself are records of a ring of our own, so that they are merged (and
//! recorded) like all others.

use std::{
    collections::HashMap,
    fs,
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use numatrace_common::abi::{Attributes, COMM_LEN, Counters, Task, Tick, kind, task_event};
use zerocopy::IntoBytes;

use super::{
    attributes,
    cgroups::{self, Cgroups},
    drain::Drains,
    load::{self, LoadError, Plan, Probes},
    namespace_ids::NamespaceIds,
    node_memory::NodeMemories,
    own::Own,
    pages::Pages,
    quotas::Quotas,
    synthetic::Producer,
    system::{self, monotonic_ns, realtime_ns},
};
use crate::{
    merge::Merger,
    snapshot::{Source as SourceInfo, SourceState, sources},
    source::{Source, SourceError, SourceStatus},
    target::{FILE_IDS, Filter, Ids, Machine, QuotaHierarchy},
    topology::Topology,
};

/// How far apart records of one moment can reach user space: between reading the clock and reserving a place in
/// the ring a virtual CPU can be away for this long.
const REORDER_WINDOW_NS: u64 = 2_000_000;
/// Bytes that may wait for their turn.
const MERGE_BYTES: usize = 64 << 20;
/// Longest time between two looks at the drained chunks.
const CYCLE: Duration = Duration::from_millis(50);
/// The same while a tick is on its way through the merge, so that its snapshot is not late.
const TICK_CYCLE: Duration = Duration::from_millis(4);
/// How often it is asked whether targets are left: an eighth of the time so far, within these bounds, so that the
/// report of a short command is not mostly about the time after it.
const LOOK_FOR_TARGETS_NS: (u64, u64) = (1_000_000, 100_000_000);
/// After detaching, the last running probes get this many looks of [`SETTLE`] to end.
const SETTLE_LOOKS: u32 = 50;
const SETTLE: Duration = Duration::from_millis(2);
/// Visits at the end, at most.
const LAST_VISITS: u32 = 500;

/// When a run ends by itself.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Time between ticks in ns, which can change meanwhile.
    pub interval_ns: Arc<AtomicU64>,
    /// End after this time.
    pub duration: Option<Duration>,
    /// End when no target is left.
    pub end_with_targets: bool,
    /// When it is told to stop, go on for at most this time until no target is left: a command that we started is
    /// asked to end as well, and its end belongs to the run.
    pub linger: Option<Duration>,
}

impl Pace {
    fn interval(&self) -> u64 {
        self.interval_ns.load(Ordering::Relaxed).clamp(1, u64::MAX / 4)
    }
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was told to.
    Stopped,
    /// Its time was over.
    Duration,
    /// Every target has exited.
    TargetsGone,
}

/// A thread as the probes know it, and as files and system calls here do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thread {
    /// In records.
    pub(super) tid: u32,
    /// In /proc.
    pub(super) here: u32,
}

/// A running trace.
pub struct Live {
    probes: Probes,
    drains: Drains,
    merger: Merger,
    /// The lane of our own records.
    own_lane: usize,
    pace: Pace,
    stop: Arc<AtomicBool>,
    /// As `stop`, and nothing is waited for.
    halt: Arc<AtomicBool>,
    start_ns: u64,
    next_tick: u64,
    next_look: u64,
    /// Ticks that are in the merge.
    pending_ticks: u32,
    /// When it was told to stop.
    stopping: Option<u64>,
    /// Why it ends: everything is detached, and what is left is given out.
    ending: Option<End>,
    /// The last records are in the merge.
    last_words_said: bool,
    end: Option<End>,
    /// What the ids that the probes tell are good for here.
    ids: Ids,
    machine: Machine,
    namespace_ids: NamespaceIds,
    cgroups: Cgroups,
    quotas: Option<Quotas>,
    node_memories: Option<NodeMemories>,
    /// Threads that the last visit could not begin to track.
    refused: u64,
    own: Own,
    sources: Vec<SourceInfo>,
}

impl Live {
    /// Loads, attaches, starts the drain threads and begins to track the threads that exist. Setting `stop` ends
    /// the run.
    ///
    /// # Errors
    /// [`LoadError`]; nothing stays attached.
    pub fn start(plan: &Plan, topology: &Topology, pace: Pace, stop: Arc<AtomicBool>) -> Result<Live, LoadError> {
        let (mut probes, rings) = load::load(plan, topology)?;
        system::raise_priority();
        let lanes = rings.len() + 1;
        let drains = Drains::start(rings, plan.ring_bytes).map_err(LoadError::Threads)?;
        let mut sources = probes.sources.clone();
        sources.push(drain_source(drains.realtime()));
        let first = first_targets(plan);
        let LookedUp { ids, mut quotas, node_memories, sources: looked_up } =
            LookedUp::find(topology, &plan.machine, &first);
        sources.extend(looked_up);
        let mut cgroups = Cgroups::new(plan.machine.proc(), plan.machine.host_root());
        if let Some(quotas) = &mut quotas {
            first.iter().for_each(|tid| quotas.begin(*tid, &mut cgroups));
        }
        let start_ns = monotonic_ns();
        let (own, first, source) = Own::start(start_ns, plan, topology, &probes);
        sources.push(source);
        probes.visit_tasks()?;
        let next_tick = start_ns + pace.interval();
        let mut merger = Merger::new(lanes, REORDER_WINDOW_NS, MERGE_BYTES);
        merger.push(lanes - 1, first.as_bytes());
        Ok(Live {
            probes,
            drains,
            merger,
            own_lane: lanes - 1,
            pace,
            stop,
            halt: Arc::default(),
            start_ns,
            next_tick,
            next_look: start_ns,
            pending_ticks: 0,
            stopping: None,
            ending: None,
            last_words_said: false,
            end: None,
            ids,
            machine: plan.machine.clone(),
            namespace_ids: NamespaceIds::new(plan.machine.proc()),
            cgroups,
            quotas,
            node_memories,
            refused: 0,
            own,
            sources,
        })
    }

    /// What works here, and what does not.
    pub fn sources(&self) -> &[SourceInfo] {
        &self.sources
    }

    /// What is measured of page touches.
    pub fn pages(&self) -> crate::model::Pages {
        self.probes.pages.measured
    }

    /// What is measured of waits.
    pub fn waits(&self) -> crate::model::Waiting {
        let on = |names: &[&str]| {
            self.sources.iter().any(|source| names.contains(&source.name.as_str()) && source.state != SourceState::Off)
        };
        crate::model::Waiting {
            throttled: on(&sources::THROTTLE),
            owners: on(&["rq->curr"]),
            quotas: self.quotas.is_some(),
            node_memory: self.node_memories.is_some(),
        }
    }

    /// When tracing began, ns of `CLOCK_MONOTONIC`.
    pub fn start_ns(&self) -> u64 {
        self.start_ns
    }

    /// Setting it ends the run without waiting for a command to end.
    pub fn halt(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.halt)
    }

    /// Threads that are targets now.
    ///
    /// # Errors
    /// When the counters cannot be read.
    pub fn targets(&self) -> Result<u64, LoadError> {
        Ok(self.probes.counters()?.tracked)
    }

    /// The benchmarks' producer.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn producer(&mut self) -> Result<Producer, LoadError> {
        self.probes.producer()
    }

    /// Why the run ended, once it has, with its last tick.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// Records that came too late to be put in order, and were taken all the same.
    pub fn late(&self) -> u64 {
        self.merger.late()
    }

    /// Threads by the ids with which they can be looked up here, in /proc and, but for [`Ids::Files`], by system calls. Those
    /// that cannot be are left out.
    fn here(&mut self, tids: impl Iterator<Item = u32>) -> Vec<Thread> {
        match self.probes.pids.as_mut().filter(|_| self.ids == Ids::Own) {
            Some(pids) => {
                pids.renew();
                tids.filter_map(|tid| Some(Thread { tid, here: pids.here(tid)? })).collect()
            }
            None => tids.map(|tid| Thread { tid, here: tid }).collect(),
        }
    }

    /// Looks up the names of threads that are no targets, as records like any other, which are given out at once. A
    /// thread that is gone stays without a name.
    pub fn look_up_names(&mut self, tids: &[u32], sink: &mut dyn FnMut(&[u8])) {
        for Thread { tid, here } in self.here(tids.iter().copied()) {
            let Ok(name) = fs::read(self.machine.path(format!("/proc/{here}/comm"))) else { continue };
            let mut comm = [0; COMM_LEN];
            let len = name.iter().position(|b| *b == b'\n').unwrap_or(name.len()).min(COMM_LEN - 1);
            comm[..len].copy_from_slice(&name[..len]);
            let record = Task {
                header: Task::header(monotonic_ns(), 0, 0),
                tid,
                event: task_event::NAME,
                comm,
                ..Task::default()
            };
            sink(record.as_bytes());
        }
    }

    /// Asks the kernel how it may schedule these threads, two system calls or files each, as records like any other, which are
    /// given out at once. A thread that is gone gives none.
    pub fn read_attributes(&mut self, tids: &[u32], sink: &mut dyn FnMut(&[u8])) {
        if self.ids == Ids::Files {
            attributes::read(&self.machine, tids, &mut |record| sink(record.as_bytes()));
            return;
        }
        for Thread { tid, here } in self.here(tids.iter().copied()) {
            if let Some(record) = system::attributes(here) {
                sink(Attributes { tid, ..record }.as_bytes());
            }
        }
    }

    /// Reads the cgroups of these threads, which are `Model::cgroups_due`, one file each, and once for each thread what it is called
    /// in its own pid namespace, and tells those that are news, as records like any other, which are given out at once. A thread that
    /// is gone gives none.
    pub fn read_cgroups(&mut self, threads: &[(u32, u64)], sink: &mut dyn FnMut(&[u8])) {
        let born: HashMap<u32, u64> = threads.iter().copied().collect();
        for thread in self.here(threads.iter().map(|(tid, _)| *tid)) {
            let born_ns = born.get(&thread.tid).copied().unwrap_or_default();
            self.cgroups.read(thread, born_ns, sink);
            self.namespace_ids.read(thread, born_ns, sink);
        }
    }

    /// Reads CPU quotas and what they counted, and the nodes' memory, and tells what is news, as records like any other, which
    /// are given out at once.
    pub fn read_quotas(&mut self, sink: &mut dyn FnMut(&[u8])) {
        let last = self.end.is_some();
        if let Some(quotas) = &mut self.quotas {
            quotas.tick(last, &mut self.cgroups, sink);
        }
        if let Some(memories) = &mut self.node_memories {
            memories.tick(sink);
        }
    }

    /// From now on everything that is told once is told again: a recording that begins now hears all of it.
    pub fn forget_told(&mut self) {
        self.cgroups.forget_told();
        self.namespace_ids.forget_told();
        if let Some(quotas) = &mut self.quotas {
            quotas.forget_told();
        }
        if let Some(memories) = &mut self.node_memories {
            memories.forget_told();
        }
        self.probes.pages.forget_told();
    }

    /// Sleeps for `pause`, then takes the chunks that are there. Not woken by the first one: under load chunks come
    /// a thousand times a second, and each wakeup would take a CPU from the traced.
    fn gather(&mut self, pause: Duration) {
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
        while let Some(chunk) = self.drains.next() {
            self.merger.push(chunk.ring, &chunk.bytes);
            self.drains.recycle(chunk);
            if self.merger.held_bytes() > MERGE_BYTES {
                // The rest waits with the drain threads, whose room is limited, and then in the rings.
                break;
            }
        }
    }

    /// Counters first: the model counts what is open up to the moment before the totals are read.
    fn tick(&mut self) -> Result<(), LoadError> {
        self.push_counters()?;
        self.visit_tasks()?;
        self.push_pages(false)?;
        self.push_own(true)?;
        self.push_tick()
    }

    /// What numatrace itself takes, and leaves out from now on, as a record; with `decide` that is decided anew where it is due.
    fn push_own(&mut self, decide: bool) -> Result<(), LoadError> {
        let record = self.own.look(&mut self.probes, self.drains.fullest(), decide)?;
        self.merger.push(self.own_lane, record.as_bytes());
        Ok(())
    }

    /// What was counted and sampled of page touches, as records.
    fn push_pages(&mut self, last: bool) -> Result<(), LoadError> {
        let Live { probes, merger, own_lane, .. } = self;
        let no_cell = probes.counters()?.no_cell;
        probes.pages.tick(last, no_cell, &mut |record| merger.push(*own_lane, record))
    }

    /// Lets the iterator tell totals. It meets each thread that cannot be tracked once, which is how many there are.
    fn visit_tasks(&mut self) -> Result<(), LoadError> {
        let before = self.probes.counters()?.sum.tasks_refused;
        self.probes.visit_tasks()?;
        self.refused = self.probes.counters()?.sum.tasks_refused - before;
        Ok(())
    }

    /// The kernel side's counters, as a record. Returns its time.
    fn push_counters(&mut self) -> Result<u64, LoadError> {
        let counters = self.probes.counters()?.sum;
        let now = monotonic_ns();
        let record = Counters {
            header: Counters::header(now, 0, 0),
            wanted: counters.wanted,
            lost_ring_full: counters.lost_ring_full,
            lost_no_ring: counters.lost_no_ring,
            tasks_refused: self.refused,
            slices: counters.slices,
            waits: counters.waits,
            wait_ns: counters.wait_ns,
            received: self.drains.records(),
        };
        self.merger.push(self.own_lane, record.as_bytes());
        Ok(now)
    }

    /// Counters and a tick, as records.
    fn push_tick(&mut self) -> Result<(), LoadError> {
        let now = self.push_counters()?;
        let tick = Tick { header: Tick::header(now, 0, 0), wall_ns: realtime_ns() };
        self.merger.push(self.own_lane, tick.as_bytes());
        self.pending_ticks += 1;
        Ok(())
    }

    /// Visits all threads until the totals of each found room in its ring: in a small ring a visit fills it, and those
    /// that were told are not told again.
    fn tell_everything(&mut self) -> Result<(), LoadError> {
        for _ in 0..LAST_VISITS {
            let before = self.probes.counters()?.sum;
            self.visit_tasks()?;
            let after = self.probes.counters()?.sum;
            if after.lost_ring_full == before.lost_ring_full {
                return Ok(());
            }
            let given = after.wanted - after.lost_ring_full - after.lost_no_ring;
            for _ in 0..SETTLE_LOOKS {
                if self.drains.records() >= given {
                    break;
                }
                self.drains.look();
                self.gather(SETTLE);
            }
        }
        Ok(())
    }

    /// Why to end now, if so.
    fn wants_to_end(&mut self, now: u64) -> Result<Option<End>, LoadError> {
        if self.halt.load(Ordering::Relaxed) {
            return Ok(Some(End::Stopped));
        }
        if self.stop.load(Ordering::Relaxed) {
            let since = *self.stopping.get_or_insert(now);
            if now >= since + self.pace.linger.map_or(0, as_ns) {
                return Ok(Some(End::Stopped));
            }
        }
        if self.pace.duration.is_some_and(|limit| now >= self.start_ns + as_ns(limit)) {
            return Ok(Some(End::Duration));
        }
        if self.pace.end_with_targets && now >= self.next_look {
            let pause = (now - self.start_ns) / 8;
            self.next_look = now + pause.clamp(LOOK_FOR_TARGETS_NS.0, LOOK_FOR_TARGETS_NS.1);
            if self.probes.counters()?.tracked == 0 {
                return Ok(Some(End::TargetsGone));
            }
        }
        Ok(None)
    }

    /// Detaches, takes everything that is left, and says it all: from here on nothing is written any more, so that
    /// what was wanted is what was received and what was lost.
    fn finish(&mut self, sink: &mut dyn FnMut(&[u8])) -> Result<(), LoadError> {
        // The last thing that is known of open turns and waits is what they were before this.
        self.push_counters()?;
        let Live { probes, merger, own_lane, .. } = self;
        probes.pages.end_gaps(&mut |record| merger.push(*own_lane, record));
        self.probes.detach();
        // Where the kernel has no such call (nohz_full), that the counters stand still has to do.
        system::wait_for_probes();
        let mut wanted = self.probes.counters()?.sum.wanted;
        for _ in 0..SETTLE_LOOKS {
            std::thread::sleep(SETTLE);
            let again = self.probes.counters()?.sum.wanted;
            if again == wanted {
                break;
            }
            wanted = again;
        }
        self.tell_everything()?;
        self.drains.stop();
        loop {
            self.gather(Duration::ZERO);
            if self.merger.held_bytes() <= MERGE_BYTES {
                break;
            }
            let Live { probes, merger, .. } = self;
            merger.drain_until(u64::MAX, |record| {
                if !probes.pages.take(record) {
                    sink(record);
                }
            });
        }
        Ok(())
    }

    /// Gives out what is left, tick by tick. When all of it was given out, the last that is to be said follows: what was
    /// sampled until then, and a tick. Says whether there was a tick.
    fn give_rest(&mut self, end: End, sink: &mut dyn FnMut(&[u8])) -> Result<bool, LoadError> {
        let Live { probes, merger, .. } = self;
        let ticked = merger.flush_while(to_tick(&mut probes.pages, sink)).is_break();
        if !ticked && !self.last_words_said {
            self.last_words_said = true;
            self.push_pages(true)?;
            self.push_own(false)?;
            self.push_tick()?;
        } else if self.last_words_said && self.merger.held_bytes() == 0 {
            self.end = Some(end);
        }
        Ok(ticked || self.end.is_some())
    }

    /// How long to wait for chunks: until the next thing that is due.
    fn patience(&self, now: u64) -> Duration {
        let longest = if self.pending_ticks > 0 { TICK_CYCLE } else { CYCLE };
        let mut due = self.next_tick;
        if let Some(limit) = self.pace.duration {
            due = due.min(self.start_ns + as_ns(limit));
        }
        if self.pace.end_with_targets {
            due = due.min(self.next_look);
        }
        longest.min(Duration::from_nanos(due.saturating_sub(now)))
    }

    fn cycle(&mut self, sink: &mut dyn FnMut(&[u8])) -> Result<bool, LoadError> {
        if let Some(end) = self.ending {
            return self.give_rest(end, sink);
        }
        let now = monotonic_ns();
        if let Some(end) = self.wants_to_end(now)? {
            self.finish(sink)?;
            self.ending = Some(end);
            return Ok(false);
        }
        // An interval that was made shorter counts from now on.
        self.next_tick = self.next_tick.min(now.saturating_add(self.pace.interval()));
        if now >= self.next_tick {
            self.tick()?;
            let interval = self.pace.interval();
            // Ticks that could not be made in time are left out, not made up.
            self.next_tick += interval * (1 + (now - self.next_tick) / interval);
        }
        if self.pending_ticks > 0 {
            // A snapshot waits until every ring was looked at after its tick.
            self.drains.look();
        }
        self.own.meter.cycle(now, &self.probes);
        if self.own.is_due(now) {
            self.push_own(true)?;
        }
        self.gather(self.patience(now));
        let Live { probes, merger, drains, own_lane, .. } = self;
        let ticked = merger.drain_while(drains.seen_until(), to_tick(&mut probes.pages, sink)).is_break();
        probes.pages.cycle(&mut |record| merger.push(*own_lane, record));
        self.pending_ticks -= u32::from(ticked).min(self.pending_ticks);
        Ok(ticked)
    }
}

/// Takes records up to the next tick; samples of page touches are for their places alone.
fn to_tick(pages: &mut Pages, sink: &mut dyn FnMut(&[u8])) -> impl FnMut(&[u8]) -> ControlFlow<()> {
    |record| {
        if pages.take(record) {
            return ControlFlow::Continue(());
        }
        sink(record);
        if record.starts_with(&kind::TICK.to_le_bytes()) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl Source for Live {
    fn next_batch(&mut self, sink: &mut dyn FnMut(&[u8])) -> Result<SourceStatus, SourceError> {
        if self.end.is_some() {
            return Ok(SourceStatus::Ended);
        }
        loop {
            let ticked = self
                .cycle(sink)
                .map_err(|cause| SourceError { operation: "go on tracing".into(), cause: Box::new(cause) })?;
            if ticked {
                return Ok(SourceStatus::More);
            }
        }
    }

    fn undecodable(&self) -> u64 {
        self.merger.undecodable()
    }
}

fn as_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 4).clamp(1, u64::MAX / 4)
}

fn drain_source(realtime: bool) -> SourceInfo {
    if realtime {
        SourceInfo { name: "drain:SCHED_FIFO".into(), state: SourceState::On, reason: None }
    } else {
        SourceInfo {
            name: "drain:SCHED_FIFO".into(),
            state: SourceState::BestEffort,
            reason: Some(
                "real-time priority was not granted (CAP_SYS_NICE): when every CPU is busy, records are likely to be lost"
                    .into(),
            ),
        }
    }
}

fn attributes_source(ids: Ids) -> SourceInfo {
    let reason = (ids == Ids::Files).then(|| format!("{FILE_IDS}: they are read from /proc/TID/status and stat"));
    SourceInfo { name: "sched_getattr".into(), state: SourceState::On, reason }
}

fn cgroups_source() -> SourceInfo {
    let reason = (!cgroups::are_shown()).then_some(
        "/proc/PID/cgroup names neither a cgroup of v2 nor one of the v1 cpu controller: the cgroups of threads are not known",
    );
    let state = if reason.is_none() { SourceState::On } else { SourceState::Off };
    SourceInfo { name: "/proc/PID/cgroup".into(), state, reason: reason.map(Into::into) }
}

/// What is read from files of this machine, not told by hooks.
struct LookedUp {
    ids: Ids,
    quotas: Option<Quotas>,
    node_memories: Option<NodeMemories>,
    sources: Vec<SourceInfo>,
}

impl LookedUp {
    fn find(topology: &Topology, machine: &Machine, targets: &[u32]) -> LookedUp {
        let ids = machine.ids();
        let mounted = QuotaHierarchy::find(machine);
        let is_mounted = mounted.is_some();
        // Whoever the targets are, the first process is in the root of all cgroups, or of what is shown here.
        let targets: Vec<u32> = targets.iter().copied().chain([1]).collect();
        let quotas = mounted.map(Quotas::new);
        let quotas =
            quotas.filter(|quotas| quotas.shows(&targets, &mut Cgroups::new(machine.proc(), machine.host_root())));
        let node_memories = NodeMemories::new(machine.sys(), topology);
        let sources = vec![
            attributes_source(ids),
            cgroups_source(),
            quota_source(quotas.is_some(), is_mounted),
            node_memory_source(node_memories.is_some()),
        ];
        LookedUp { ids, quotas, node_memories, sources }
    }
}

/// Sources that are files of this machine, and whether each works.
pub fn looked_up_sources(topology: &Topology, machine: &Machine) -> Vec<SourceInfo> {
    LookedUp::find(topology, machine, &[]).sources
}

/// Threads that are targets from the start, as far as the filter names them: one that is started is in our own cgroup. Of
/// all others it is known later.
fn first_targets(plan: &Plan) -> Vec<u32> {
    match &plan.filter {
        // What we started is in our own cgroup; its id is not of the /proc that was named.
        Filter::Processes(_) if plan.filter_ids == Ids::Own && plan.machine.ids() == Ids::Files => {
            plan.machine.own_id().into_iter().collect()
        }
        Filter::Processes(ids) | Filter::Threads(ids) => ids.clone(),
        Filter::Command(_) => vec![plan.machine.own_id().unwrap_or_else(std::process::id)],
        Filter::All | Filter::Comm(_) | Filter::Cgroup { .. } => Vec::new(),
    }
}

fn quota_source(shown: bool, is_mounted: bool) -> SourceInfo {
    let reason = match (shown, is_mounted) {
        (true, _) => None,
        (_, true) => Some(
            "numatrace runs in a cgroup namespace of its own, or sees a part of the hierarchy: CPU quotas of targets outside of it, and what they count, are not known",
        ),
        _ => {
            Some("neither cgroup v2 nor the v1 cpu controller is mounted: CPU quotas and what they count are not known")
        }
    };
    let state = if shown { SourceState::On } else { SourceState::Off };
    SourceInfo { name: sources::QUOTA[0].into(), state, reason: reason.map(Into::into) }
}

fn node_memory_source(shown: bool) -> SourceInfo {
    let reason =
        "this kernel shows no memory of nodes (CONFIG_NUMA): free memory and allocations on other nodes are not known";
    SourceInfo {
        name: sources::NODE_MEMORY[0].into(),
        state: if shown { SourceState::On } else { SourceState::Off },
        reason: (!shown).then(|| reason.into()),
    }
}
