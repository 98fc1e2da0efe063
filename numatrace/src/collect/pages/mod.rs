//! Page touches, from the kernel's side of user space: which source there is, its events and maps, and what it counted, as
//! records. Place in the flow: beside the drain threads; `live` asks it at each tick.
//!
//! ```text
//! perf event or tracepoint -> CELLS (a hash in the kernel) -> cells.rs, at each tick -> Touches records
//!                          -> samples, through the rings   -> places.rs, on a thread -> Words and Where records
//! ```

mod cells;
mod choice;
mod events;
mod kallsyms;
mod places;
mod shares;
mod unresolved;

use std::{
    collections::HashMap as StdMap,
    fs,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd},
    time::Duration,
};

use aya::{
    Btf, Ebpf, Pod,
    maps::{Array, Map, MapData},
    programs::{BtfTracePoint, FEntry, KProbe, PerfEvent, Program, RawTracePoint},
};
use numatrace_common::{
    abi::{self, NO_NODE, Task, TouchSample, TouchStack, Touches, kind, task_event, touch},
    config::{
        CellKey, CpuNodes, MAX_CPUS, MAX_NODE_IDS, MAX_STEPS, NO_NODE_BYTE, NodeMap as Steps, NodePositions,
        SAMPLE_STRETCH_SHIFT, Sampling, hints, resolve,
    },
};
use zerocopy::{FromBytes as _, IntoBytes as _};

pub use self::choice::{Choice, HintSource, PagePlan, PageSource};
use self::{
    cells::Cells,
    events::{Events, Lapse},
    places::Places,
    shares::Shares,
    unresolved::Unresolved,
};
use super::{
    hooks::Flavour,
    load::{LoadError, refusal},
    placement::Scanner,
    system::monotonic_ns,
};
use crate::{
    model::Pages as Measured,
    snapshot::{Source, SourceState, sources},
    target::{Ids, Machine, OWN_IDS},
    topology::{Topology, memory::NodeMap},
};

/// How often the machine's memory is looked at again where the kernel does not say that it changed: a file for each block.
const MEMORY_LOOK_NS: u64 = 60_000_000_000;
/// Time between two parts of a scan: in less than its share of this, a part can do little but begin.
const SCAN_PAUSE_NS: u64 = 100_000_000;
/// Share of one core that scans of placement may take: one in so many.
const PLACEMENT_SHARE: u64 = 200;
/// Longest that the end of a run waits for names of places.
const LAST_PLACES: Duration = Duration::from_secs(5);
/// What cells sum up: counts, and time in hint faults.
const SUMS: usize = touch::HINT_TIME as usize + 1;
/// Threads that ended between two ticks and are remembered.
const MOST_DEAD: usize = 65_536;
/// Processes that are traced and remembered, for their placement.
const MOST_PROCESSES: usize = 4_096;

#[derive(Clone, Copy)]
#[repr(transparent)]
struct PodSampling(Sampling);
// SAFETY: plain integers without padding, any bytes are valid.
unsafe impl Pod for PodSampling {}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct PodSteps(Steps);
// SAFETY: plain integers without padding (its size is asserted beside the type), any bytes are valid.
unsafe impl Pod for PodSteps {}

/// What the loader writes into the object before it is loaded.
pub(super) struct Globals {
    pub(super) cpu_nodes: CpuNodes,
    pub(super) node_positions: NodePositions,
}

impl Globals {
    pub(super) fn of(topology: &Topology) -> Globals {
        let mut cpu_nodes = [NO_NODE_BYTE; MAX_CPUS];
        for cpu in &topology.cpus {
            let node = cpu.node.filter(|node| *node < topology.nodes.len()).map(byte);
            if let (Some(place), Some(node)) = (cpu_nodes.get_mut(cpu.id as usize), node) {
                *place = node;
            }
        }
        let mut node_positions = [NO_NODE_BYTE; MAX_NODE_IDS];
        for (position, node) in topology.nodes.iter().enumerate() {
            if let Some(place) = node_positions.get_mut(node.id.0 as usize) {
                *place = byte(position);
            }
        }
        Globals { cpu_nodes, node_positions }
    }
}

/// A position as the probes have it: the last byte stands for a node that is not known.
fn byte(position: usize) -> u8 {
    u8::try_from(position).unwrap_or(NO_NODE_BYTE)
}

/// Programs of page touches, by their hook, and what they are.
fn programs(flavour: Flavour) -> [String; 9] {
    let raw = match flavour {
        Flavour::TpBtf => "",
        Flavour::RawTp => "raw_",
    };
    [
        format!("{raw}page_faults_min"),
        format!("{raw}page_faults_maj"),
        format!("{raw}page_faults_entry"),
        format!("{raw}page_fault_user"),
        format!("{raw}page_fault_kernel"),
        format!("{raw}mm_migrate_pages_7"),
        format!("{raw}mm_migrate_pages_8"),
        format!("{raw}task_numa_fault"),
        format!("kprobe_{raw}task_numa_fault"),
    ]
}

/// Attached.
pub struct Pages {
    choice: Choice,
    events: Option<Events>,
    cells: Cells,
    sampling: Array<MapData, PodSampling>,
    steps: Array<MapData, PodSteps>,
    memory: NodeMap,
    topology: Topology,
    machine: Machine,
    memory_looked_ns: u64,
    places: Option<Places>,
    unresolved: Unresolved,
    shares: Shares,
    scanner: Option<Scanner>,
    scanned_ns: u64,
    /// Nothing is sampled, and nothing is scanned.
    lean: bool,
    processes: StdMap<u32, ()>,
    dead: StdMap<u32, u64>,
    /// Processes whose first thread has ended.
    leaders_gone: Vec<u32>,
    /// Touches without a cell that were told.
    no_cell: u64,
    ticked_ns: u64,
    /// What works, and what does not.
    pub sources: Vec<Source>,
    /// What is measured.
    pub measured: Measured,
}

fn tell_lapse(lapse: Lapse, sink: &mut dyn FnMut(&[u8])) {
    let Lapse { cpu, start_ns, end_ns } = lapse;
    let cpu = u16::try_from(cpu).unwrap_or(u16::MAX);
    let header = abi::Gap::header(monotonic_ns(), cpu, 0);
    sink(abi::Gap { header, start_ns, end_ns }.as_bytes());
}

/// Why nothing came of it: nothing else is affected.
struct Refused(String);

fn on(name: &str, state: SourceState, reason: Option<String>) -> Source {
    Source { name: name.into(), state, reason }
}

impl Pages {
    /// Attaches what was chosen. What is refused is off, with its reason; the rest goes on.
    ///
    /// # Errors
    /// When a map of the object is not there.
    pub(super) fn attach(
        ebpf: &mut Ebpf,
        mut choice: Choice,
        flavour: Flavour,
        types: &Btf,
        topology: &Topology,
        machine: &Machine,
    ) -> Result<Pages, LoadError> {
        let ids = machine.ids();
        let memory = NodeMap::read_from(machine.sys(), machine.proc(), topology).map_err(|error| error.to_string());
        let cells = match ebpf.take_map("CELLS") {
            Some(Map::HashMap(map)) => Cells::new(map, (ids != Ids::Own).then(|| machine.proc().to_owned())),
            _ => return Err(LoadError::Map("CELLS")),
        };
        let access = |map| move |cause| LoadError::MapAccess { map, cause };
        let sampling = ebpf.take_map("SAMPLING").ok_or(LoadError::Map("SAMPLING"))?;
        let sampling = Array::try_from(sampling).map_err(access("SAMPLING"))?;
        let steps = ebpf.take_map("NODE_MAP").ok_or(LoadError::Map("NODE_MAP"))?;
        let steps = Array::try_from(steps).map_err(access("NODE_MAP"))?;
        let mut sources = Vec::new();
        let mut events = None;
        choice.know_ids(ids);
        if choice.plan.counts_only {
            choice.leave_out_unresolved();
        }
        let memory = match memory {
            Ok(memory) => memory,
            Err(error) => {
                choice.give_up(format!("which node memory belongs to is not known ({error})"));
                NodeMap { segments: Vec::new() }
            }
        };
        if choice.resolve == resolve::PHYS_ADDR || choice.resolve == resolve::WALK {
            match attach_exit(ebpf, &choice, flavour) {
                Ok(opened) => {
                    events = Some(opened);
                    if let Err(reason) = attach_begin(ebpf, flavour, types) {
                        choice.merge_copies(&reason.0);
                    }
                }
                Err(reason) => choice.refuse(&reason.0),
            }
        } else if choice.resolve == resolve::ENTRY {
            match attach_begin(ebpf, flavour, types) {
                Ok(()) => {}
                Err(refused) => match attach_entry_event(ebpf, flavour) {
                    Ok(opened) => {
                        events = Some(opened);
                        choice.entry_by_event(&refused.0);
                    }
                    Err(reason) => choice.refuse(&reason.0),
                },
            }
        }
        if choice.hints == hints::HOOK
            && let Err(reason) = attach_hints(ebpf, flavour, types, &mut choice)
        {
            choice.refuse_hints(reason.0);
        }
        let migrated = if !choice.has_hints() {
            Err(Refused(choice.why_no_hints().to_owned()))
        } else {
            let program = format!("mm_migrate_pages_{}", choice.migrate_args);
            attach_tracepoint(ebpf, flavour, "mm_migrate_pages", &program, types)
        };
        let touches = choice.is_on();
        let samples = touches && choice.names_places();
        sources.push(choice.source());
        sources.push(choice.hints_source());
        sources.push(match &migrated {
            Ok(()) => on(sources::MIGRATED[0], SourceState::On, None),
            Err(Refused(reason)) => on(sources::MIGRATED[0], SourceState::Off, Some(reason.clone())),
        });
        let hint_time = choice.why_no_hint_time();
        let state = if hint_time.is_none() { SourceState::On } else { SourceState::Off };
        sources.push(on(sources::HINT_TIME[0], state, hint_time.clone()));
        sources.push(choice.samples_source());
        let scanner = if choice.plan.source == PageSource::Off {
            Err("switched off with --page-source off".to_owned())
        } else if choice.plan.counts_only {
            Err("not asked for".to_owned())
        } else if ids == Ids::Own {
            Err(OWN_IDS.to_owned())
        } else {
            Scanner::new(machine.proc(), memory.clone(), topology.nodes.len())
        };
        sources.push(match &scanner {
            Ok(_) => on(sources::PLACEMENT[0], SourceState::On, None),
            Err(reason) => on(sources::PLACEMENT[0], SourceState::Off, Some(reason.clone())),
        });
        let measured = Measured {
            touches,
            cow: touches && choice.copies,
            huge: touches && choice.huge,
            zero: touches && choice.zero,
            hints: choice.has_hints(),
            hint_time: hint_time.is_none(),
            migrated: migrated.is_ok(),
            places: samples,
            placement: scanner.is_ok(),
        };
        let needs_places = samples || ids == Ids::Same && choice.resolve == resolve::ENTRY;
        let places =
            needs_places.then(|| Places::start(machine.proc(), choice.plan.samples_per_second, topology.nodes.clone()));
        let mut pages = Pages {
            choice,
            events,
            cells,
            sampling,
            steps,
            memory,
            topology: topology.clone(),
            machine: machine.clone(),
            memory_looked_ns: monotonic_ns(),
            places: places.transpose().map_err(LoadError::Threads)?,
            unresolved: Unresolved::default(),
            shares: Shares::default(),
            scanner: scanner.ok(),
            scanned_ns: monotonic_ns(),
            lean: false,
            processes: StdMap::new(),
            dead: StdMap::new(),
            leaders_gone: Vec::new(),
            no_cell: 0,
            ticked_ns: monotonic_ns(),
            sources,
            measured,
        };
        pages.write_steps()?;
        pages.sample_every([1, 1])?;
        Ok(pages)
    }

    /// Perf events are open, and their programs set to them.
    pub(super) const fn has_events(&self) -> bool {
        self.events.is_some()
    }

    /// The hook for hint faults was refused, and the kernel's own counts can stand in.
    pub(super) fn wants_deltas(&self) -> bool {
        self.choice.hints_refused.is_some() && self.choice.can_use_deltas
    }

    /// Why the hook for hint faults was refused.
    pub(super) fn hints_refused(&self) -> Option<&str> {
        self.choice.hints_refused.as_deref()
    }

    fn write_steps(&mut self) -> Result<(), LoadError> {
        let mut steps = Steps { starts: [u64::MAX; MAX_STEPS], nodes: [NO_NODE_BYTE; MAX_STEPS] };
        // Probes count frames of 4 KiB.
        let scale = (page_bytes() >> 12).max(1);
        let mut all = self.memory.starts();
        if all.first().is_none_or(|(start, _)| *start != 0) {
            all.insert(0, (0, NO_NODE));
        }
        for ((place, node), (start, position)) in steps.starts.iter_mut().zip(&mut steps.nodes).zip(all) {
            *place = start.saturating_mul(scale);
            *node = u8::try_from(position).unwrap_or(NO_NODE_BYTE);
        }
        let access = |cause| LoadError::MapAccess { map: "NODE_MAP", cause };
        self.steps.set(0, PodSteps(steps), 0).map_err(access)
    }

    /// One in so many touches is sampled: local ones, remote ones.
    fn sample_every(&mut self, every: [u32; 2]) -> Result<(), LoadError> {
        let rate = self.choice.plan.samples_per_second;
        let every = if self.choice.names_places() && !self.lean { every } else { [0; 2] };
        let access = |cause| LoadError::MapAccess { map: "SAMPLING", cause };
        // What was taken in this stretch of time stays taken.
        let before = self.sampling.get(&0, 0).map_err(access)?.0;
        // At least one remote one in each stretch.
        let most = ((u64::from(rate) << SAMPLE_STRETCH_SHIFT) / 1_000_000_000).max(1) as u32;
        let sampling = Sampling { every, most, ..before };
        self.sampling.set(0, PodSampling(sampling), 0).map_err(access)
    }

    /// Looks at a record before anybody else. `true` where it was for this alone.
    pub(super) fn take(&mut self, record: &[u8]) -> bool {
        let Some(bytes) = record.first_chunk::<2>() else { return false };
        match u16::from_le_bytes(*bytes) {
            kind::TASK => {
                if let Ok((task, _)) = Task::read_from_prefix(record) {
                    self.life(&task);
                }
                false
            }
            kind::TOUCH_SAMPLE => {
                if let (Some(places), Ok((sample, _))) = (&mut self.places, TouchSample::read_from_prefix(record)) {
                    places.sample(sample);
                }
                true
            }
            kind::TOUCH_STACK => {
                if let (Some(places), Ok((stack, _))) = (&mut self.places, TouchStack::read_from_prefix(record)) {
                    places.stack(&stack);
                }
                true
            }
            _ => false,
        }
    }

    fn life(&mut self, task: &Task) {
        match task.event {
            task_event::EXIT => {
                if self.dead.len() < MOST_DEAD {
                    self.dead.insert(task.tid, task.header.ts);
                }
                if task.tid == task.tgid && self.leaders_gone.len() < MOST_PROCESSES {
                    // Other threads of it may live on.
                    self.leaders_gone.push(task.tgid);
                }
            }
            task_event::NAME => {}
            task_event::UNTRACKED if task.tid == task.tgid => {
                self.processes.remove(&task.tgid);
            }
            event => {
                let is_new = self.processes.len() < MOST_PROCESSES && self.processes.insert(task.tgid, ()).is_none();
                if let Some(places) = self.places.as_mut().filter(|_| is_new || event == task_event::EXEC) {
                    places.meet(task.tgid);
                }
            }
        }
    }

    /// Between ticks: hands samples on, and looks for CPUs that came or went. `sink` takes records.
    pub(super) fn cycle(&mut self, sink: &mut dyn FnMut(&[u8])) {
        if let Some(places) = &mut self.places {
            places.hand_over();
        }
        self.look_at_cpus(sink);
        self.scan(sink);
    }

    fn look_at_cpus(&mut self, sink: &mut dyn FnMut(&[u8])) {
        let Some(events) = &mut self.events else { return };
        events.look(&mut |lapse| tell_lapse(lapse, sink));
    }

    /// From now on nothing is sampled and nothing is scanned, or everything again.
    ///
    /// # Errors
    /// When the map of how densely to sample cannot be written.
    pub(super) fn set_lean(&mut self, lean: bool) -> Result<(), LoadError> {
        self.lean = lean;
        // No scan makes up for the time without.
        self.scanned_ns = monotonic_ns();
        self.sample_every([1, 1])
    }

    /// Closes the events of page faults, or opens them again: the time between is a gap of every CPU.
    pub(super) fn pause_touches(&mut self, pause: bool) {
        if let Some(events) = &mut self.events {
            events.pause(pause);
        }
    }

    /// Page faults are looked at by events that can be closed for a while.
    pub(super) fn can_pause_touches(&self) -> bool {
        self.events.is_some()
    }

    /// There is something that can be left out: samples, or scans.
    pub(super) fn can_be_lean(&self) -> bool {
        self.choice.names_places() || self.scanner.is_some()
    }

    /// The gaps that last still, up to now: tracing ends.
    pub(super) fn end_gaps(&mut self, sink: &mut dyn FnMut(&[u8])) {
        if let Some(events) = &mut self.events {
            events.end_gaps(&mut |lapse| tell_lapse(lapse, sink));
        }
    }

    /// Goes on with the scan of placement, for its share of the time that has gone by.
    fn scan(&mut self, sink: &mut dyn FnMut(&[u8])) {
        let Some(scanner) = self.scanner.as_mut().filter(|_| !self.lean) else { return };
        let now = monotonic_ns();
        if now.saturating_sub(self.scanned_ns) < SCAN_PAUSE_NS {
            return;
        }
        let budget = Duration::from_nanos(now.saturating_sub(self.scanned_ns) / PLACEMENT_SHARE);
        self.scanned_ns = now;
        let processes: Vec<u32> = self.processes.keys().copied().collect();
        scanner.set_processes(&processes);
        scanner.step(now, budget, &mut |scan| {
            let nodes = u16::try_from(scan.pages.len()).unwrap_or(u16::MAX);
            for (node, pages) in (0..nodes).zip(&scan.pages) {
                let record = abi::Placement {
                    header: abi::Placement::header(scan.ended_ns, 0, 0),
                    tgid: scan.tgid,
                    node,
                    nodes,
                    pages: *pages,
                    unknown: scan.unknown,
                    began_ns: scan.began_ns,
                };
                sink(record.as_bytes());
            }
        });
    }

    /// What was counted and sampled since the last tick, as records. `no_cell` touches found no cell so far: of these neither
    /// thread nor kind is known.
    ///
    /// # Errors
    /// When a map of the probes cannot be read.
    pub(super) fn tick(&mut self, last: bool, no_cell: u64, sink: &mut dyn FnMut(&[u8])) -> Result<(), LoadError> {
        self.cycle(sink);
        if !self.choice.is_on() && !self.measured.hints {
            return Ok(());
        }
        let (processes, proc) = (&mut self.processes, self.machine.proc());
        self.leaders_gone.retain(|tgid| {
            let lives = proc.join(tgid.to_string()).exists();
            if !lives {
                processes.remove(tgid);
            }
            lives
        });
        let now = monotonic_ns();
        let told = self.events.as_mut().is_some_and(Events::memory_changed);
        if told || now.saturating_sub(self.memory_looked_ns) > MEMORY_LOOK_NS {
            self.memory_looked_ns = now;
            self.look_at_memory()?;
        }
        let mut answer = self.places.as_mut().map(|places| places.tick(last.then_some(LAST_PLACES)));
        if let Some(answer) = &answer {
            self.unresolved.found(&answer.resolved);
        }
        let mut grown: StdMap<(u64, u32, u32, u8, u8), [u64; SUMS]> = StdMap::new();
        let (mut local, mut remote) = (0u64, 0u64);
        let unresolved = &mut self.unresolved;
        let entry = self.choice.resolve == resolve::ENTRY;
        self.cells.read(&self.dead, |key, tgid, more| {
            let (what, cpu_node, page_node) = key.parts();
            if usize::from(what) < touch::KINDS {
                // As the probes tell them apart, which sample no others.
                match page_node {
                    NO_NODE_BYTE => {}
                    node if node == cpu_node => local += more,
                    _ => remote += more,
                }
            }
            if entry && usize::from(what) < touch::KINDS {
                unresolved.counted(key, tgid, more);
            } else if let Some(count) =
                grown.entry((key.start_ns, key.tid, tgid, cpu_node, page_node)).or_default().get_mut(usize::from(what))
            {
                *count += more;
            }
        })?;
        unresolved.settle(last, |key, tgid, page_node, more| {
            let (what, cpu_node, _) = key.parts();
            let counts = grown.entry((key.start_ns, key.tid, tgid, cpu_node, page_node)).or_default();
            if let Some(count) = counts.get_mut(usize::from(what)) {
                *count += more;
            }
        });
        if let Some(answer) = &mut answer {
            for ((_, tid, _, cpu_node, page_node), counts) in &grown {
                let touches =
                    counts[..usize::from(touch::ZERO)].iter().sum::<u64>() + counts[usize::from(touch::OTHER)];
                if *page_node != NO_NODE_BYTE && touches > 0 {
                    self.shares.touched(*tid, page_node != cpu_node, touches);
                }
            }
            self.shares.settle(&mut answer.places, |tid| self.dead.contains_key(&tid), last);
        }
        self.dead.clear();
        let homeless = no_cell - std::mem::replace(&mut self.no_cell, no_cell).min(no_cell);
        if homeless > 0 {
            grown.entry((0, 0, 0, NO_NODE_BYTE, NO_NODE_BYTE)).or_default()[usize::from(touch::OTHER)] += homeless;
        }
        let mut all: Vec<_> = grown.into_iter().collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        let ts = monotonic_ns();
        for ((start_ns, tid, tgid, cpu_node, page_node), sums) in all {
            let mut counts = [0; touch::COUNTS];
            counts.iter_mut().zip(sums).for_each(|(count, sum)| *count = sum);
            let hint_units = u32::try_from(sums[usize::from(touch::HINT_TIME)] >> 10).unwrap_or(u32::MAX);
            let wide = |node| if node == NO_NODE_BYTE { NO_NODE } else { u16::from(node) };
            let record = Touches {
                header: Touches::header(ts, 0, 0),
                tid,
                tgid,
                start_ns,
                cpu_node: wide(cpu_node),
                page_node: wide(page_node),
                hint_units,
                counts,
            };
            sink(record.as_bytes());
        }
        if let Some(answer) = answer {
            answer.tell(ts, sink);
        }
        let passed = now.saturating_sub(self.ticked_ns).max(1);
        self.ticked_ns = now;
        self.sample_every([self.one_in(local, passed), self.one_in(remote, passed)])
    }

    /// Where only processes are counted: gives `grown` each cell that grew since the last time, and looks whether CPUs or memory
    /// came or went.
    ///
    /// # Errors
    /// When a map of the probes cannot be read.
    pub(super) fn counts(&mut self, grown: impl FnMut(&CellKey, u64)) -> Result<(), LoadError> {
        self.look_at_cpus(&mut |_| {});
        let now = monotonic_ns();
        let told = self.events.as_mut().is_some_and(Events::memory_changed);
        if told || now.saturating_sub(self.memory_looked_ns) > MEMORY_LOOK_NS {
            self.memory_looked_ns = now;
            self.look_at_memory()?;
        }
        if !self.choice.needs_cells() {
            return Ok(());
        }
        self.cells.read_of_processes(grown)
    }

    /// One in how many of `touches` in `passed` ns gives half of the samples that are allowed.
    fn one_in(&self, touches: u64, passed: u64) -> u32 {
        let half = u64::from(self.choice.plan.samples_per_second / 2).max(1);
        let a_second = u128::from(touches) * 1_000_000_000 / u128::from(passed);
        u32::try_from(a_second.div_ceil(u128::from(half))).unwrap_or(u32::MAX).max(1)
    }

    /// Memory may have come or gone.
    fn look_at_memory(&mut self) -> Result<(), LoadError> {
        match NodeMap::read_from(self.machine.sys(), self.machine.proc(), &self.topology) {
            Ok(memory) if memory != self.memory => {
                if let Some(scanner) = &mut self.scanner {
                    scanner.set_map(memory.clone());
                }
                self.memory = memory;
                self.write_steps()
            }
            // What was known stays.
            _ => Ok(()),
        }
    }

    /// From now on what is told once is told again.
    pub(super) fn forget_told(&mut self) {
        if let Some(places) = &mut self.places {
            places.forget_told();
        }
    }

    /// Detaches; what was counted can still be read.
    pub(super) fn detach(&mut self, ebpf: &mut Ebpf, flavour: Flavour) {
        self.events = None;
        for name in programs(flavour) {
            // Unloading drops the links. A program that was never loaded has nothing to drop.
            let _ = match ebpf.program_mut(&name) {
                Some(Program::BtfTracePoint(program)) => program.unload(),
                Some(Program::RawTracePoint(program)) => program.unload(),
                Some(Program::FEntry(program)) => program.unload(),
                Some(Program::KProbe(program)) => program.unload(),
                Some(Program::PerfEvent(program)) => program.unload(),
                _ => Ok(()),
            };
        }
    }
}

/// Bytes of a base page.
fn page_bytes() -> u64 {
    // SAFETY: no preconditions.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// Loads a program for a perf event; gives what the event is set to.
fn perf_program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<BorrowedFd<'a>, Refused> {
    let program = ebpf.program_mut(name).ok_or_else(|| Refused(format!("the eBPF object has no program {name}")))?;
    let program: &mut PerfEvent = program.try_into().map_err(|error| Refused(refusal(&error)))?;
    program.load().map_err(|error| Refused(refusal(&error)))?;
    Ok(program.fd().map_err(|error| Refused(refusal(&error)))?.as_fd())
}

/// Events at the end of a page fault, one pair a CPU.
fn attach_exit(ebpf: &mut Ebpf, choice: &Choice, flavour: Flavour) -> Result<Events, Refused> {
    let [min, maj, ..] = programs(flavour);
    let min = perf_program(ebpf, &min)?.as_raw_fd();
    let maj = perf_program(ebpf, &maj)?.as_raw_fd();
    let asked = choice.resolve == resolve::PHYS_ADDR;
    Events::open(&[(events::MIN, min), (events::MAJ, maj)], asked).map_err(Refused)
}

/// An event at the beginning of a page fault, one a CPU.
fn attach_entry_event(ebpf: &mut Ebpf, flavour: Flavour) -> Result<Events, Refused> {
    let [_, _, entry, ..] = programs(flavour);
    let entry = perf_program(ebpf, &entry)?.as_raw_fd();
    Events::open(&[(events::ALL, entry)], false).map_err(Refused)
}

/// The tracepoints at the beginning of a page fault.
fn attach_begin(ebpf: &mut Ebpf, flavour: Flavour, types: &Btf) -> Result<(), Refused> {
    attach_tracepoint(ebpf, flavour, "page_fault_user", "page_fault_user", types)?;
    attach_tracepoint(ebpf, flavour, "page_fault_kernel", "page_fault_kernel", types)
}

fn attach_tracepoint(ebpf: &mut Ebpf, flavour: Flavour, name: &str, program: &str, types: &Btf) -> Result<(), Refused> {
    let program = match flavour {
        Flavour::TpBtf => program.to_owned(),
        Flavour::RawTp => format!("raw_{program}"),
    };
    let missing = || Refused(format!("the eBPF object has no program {program}"));
    let program = ebpf.program_mut(&program).ok_or_else(missing)?;
    let done = match flavour {
        Flavour::TpBtf => <&mut BtfTracePoint>::try_from(program)
            .and_then(|program| program.load(name, types).and_then(|()| program.attach().map(|_| ()))),
        Flavour::RawTp => <&mut RawTracePoint>::try_from(program)
            .and_then(|program| program.load().and_then(|()| program.attach(name).map(|_| ()))),
    };
    done.map_err(|error| Refused(refusal(&error)))
}

/// By fentry, else by kprobe, as far as these are wanted.
fn attach_hints(ebpf: &mut Ebpf, flavour: Flavour, types: &Btf, choice: &mut Choice) -> Result<(), Refused> {
    const FUNCTION: &str = "task_numa_fault";
    let [.., fentry, kprobe] = programs(flavour);
    let asked = choice.plan.hints;
    let missing = |name: &str| format!("the eBPF object has no program {name}");
    let mut by_fentry = || {
        asked.rules_out(HintSource::Fentry).map_or(Ok(()), Err)?;
        let program = ebpf.program_mut(&fentry).ok_or_else(|| missing(&fentry))?;
        let done = <&mut FEntry>::try_from(program)
            .and_then(|program| program.load(FUNCTION, types).and_then(|()| program.attach().map(|_| ())));
        done.map_err(|error| refusal(&error))
    };
    let Err(first) = by_fentry() else { return Ok(()) };
    let mut by_kprobe = || {
        asked.rules_out(HintSource::Kprobe).map_or(Ok(()), Err)?;
        let program = ebpf.program_mut(&kprobe).ok_or_else(|| missing(&kprobe))?;
        let done = <&mut KProbe>::try_from(program)
            .and_then(|program| program.load().and_then(|()| program.attach(FUNCTION, 0).map(|_| ())));
        done.map_err(|error| refusal(&error))
    };
    match by_kprobe() {
        Ok(()) => {
            choice.hints_by_kprobe = true;
            Ok(())
        }
        Err(second) => Err(Refused(format!("fentry: {first}; kprobe: {second}"))),
    }
}

/// What /proc/sys/kernel/numa_balancing says; `None` where the kernel has no such thing.
fn numa_balancing() -> Option<u32> {
    fs::read_to_string("/proc/sys/kernel/numa_balancing").ok()?.trim().parse().ok()
}

#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn fuzz(bytes: &[u8]) {
    kallsyms::fuzz(bytes);
    events::fuzz(bytes);
}
