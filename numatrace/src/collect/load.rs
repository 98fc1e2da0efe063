//! Loads the probes, gives them their configuration and rings, attaches them, and says what works.

use std::{cell::RefCell, io::Read as _, path::Path};

use aya::{
    Btf, Ebpf, EbpfLoader, Endianness, Pod, VerifierLogLevel,
    maps::{ArrayOfMaps, HashMap, Map, MapData, MapError},
    programs::{
        BtfTracePoint, Iter, Program, ProgramError, RawTracePoint, raw_trace_point::RawTracePointLink,
        tp_btf::BtfTracePointLink,
    },
};
use numatrace_common::clock::Clock;
use numatrace_common::config::{Config, CpuCounters, MAX_CELLS, MAX_CPUS, TouchCounters, filter, throttle};
use numatrace_common::sums::{CpuPlace, MAX_GROUPS, NO_PLACE, counting};
use thiserror::Error;

use super::{
    btf::{self, BtfError, KernelBtf},
    hooks::{Flavour, HOOKS, Hook, ITERATOR, WAKING},
    lanes::{Ends, Lane},
    maps, offsets,
    pages::{self, PagePlan, Pages},
    pids::Pids,
    rings::{self, Ring, RingError},
    shedder::MaxOverhead,
    sizes::{self, Group, Sizes},
    synthetic::Producer,
    system,
};
use crate::{
    snapshot::{Source, SourceState, sources},
    target::{Filter, Ids, Machine},
    topology::Topology,
};

/// The object of this architecture: the committed one, or what `NUMATRACE_EBPF_OBJECT` named at build time.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/numatrace.bpf.o"));

/// The filter as the probes know it. A command is the process that it was started as: by itself it names none.
const fn kind(filter: &Filter) -> u32 {
    match filter {
        Filter::All => filter::ALL,
        Filter::Processes(_) | Filter::Command(_) => filter::PROCESS,
        Filter::Threads(_) => filter::THREAD,
        Filter::Comm(_) => filter::COMM,
        Filter::Cgroup { .. } => filter::CGROUP,
    }
}

/// What to load.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Targets.
    pub filter: Filter,
    /// Whose ids the filter has: [`Ids::Own`] for those of this process's own pid namespace.
    pub filter_ids: Ids,
    /// Where /proc and /sys are.
    pub machine: Machine,
    /// Bytes of each ring, a power of two and a multiple of the page size.
    pub ring_bytes: u32,
    /// Most threads tracked at one time.
    pub max_tasks: u32,
    /// What the cost of tracing is to stay below.
    pub max_overhead: MaxOverhead,
    /// The right to switch the kernel's statistics of programs on is kept for as long as it runs.
    pub statistics: bool,
    /// Find out who wakes whom.
    pub wakers: bool,
    /// Find out who ran instead.
    pub culprits: bool,
    /// Page touches.
    pub pages: PagePlan,
    /// One of [`counting`]: not 0 where the probes sum up and write no records.
    pub counting: u32,
    /// Where they do: cgroups are those of the v1 hierarchy of the cpu controller.
    pub cgroups_v1: bool,
    /// Only this flavour; `None` takes `tp_btf`, and `raw_tp` where that is refused.
    pub flavour: Option<Flavour>,
}

/// Most threads tracked by default: about 32 MB of kernel memory if all are there, 128 MB where the probes count.
pub const DEFAULT_MAX_TASKS: u32 = 131_072;

/// Why the probes cannot be loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// No usable type information.
    #[error(transparent)]
    Btf(#[from] BtfError),
    /// A struct member that every supported kernel has is not there.
    #[error("this kernel's task_struct has no member {0}: numatrace does not know this kernel version")]
    Member(&'static str),
    /// The cgroup filter needs members that are not there.
    #[error("this kernel shows no cgroup membership to BPF: use --pid or --comm instead of --cgroup")]
    NoCgroups,
    /// A ring could not be made.
    #[error(
        "{0}: ask for smaller rings with --ring-size, or raise the memory limit of the cgroup that numatrace runs in"
    )]
    Ring(RingError),
    /// The kernel refused the object or one of its maps.
    #[error(
        "the kernel refused the eBPF object ({}): {}",
        root(.0),
        advice(.0)
    )]
    Object(Box<aya::EbpfError>),
    /// A program that nothing works without was refused.
    #[error("the kernel refused the eBPF program for {hook}: {reason}")]
    Program {
        /// Its hook.
        hook: String,
        /// Why.
        reason: String,
    },
    /// A map is not what it should be: the object does not belong to this program.
    #[error("the eBPF object has no usable map {0}: it does not belong to this build of numatrace")]
    Map(&'static str),
    /// The kernel shows the iterator only threads of this process's own pid namespace.
    #[error(
        "process or thread {0} has ended, or is outside of the pid namespace that numatrace runs in, where the kernel lets no iterator go: run numatrace on the host, or in a container with --pid=host (hostPID: true in Kubernetes)"
    )]
    Outside(u32),
    /// A map could not be filled or read.
    #[error("cannot use the eBPF map {map}: {}", chain(.cause))]
    MapAccess {
        /// Which.
        map: &'static str,
        /// Why.
        cause: aya::maps::MapError,
    },
    /// The drain threads could not be started.
    #[error("cannot start the threads that drain the rings: {0}")]
    Threads(#[source] std::io::Error),
    /// The task iterator could not run.
    #[error("cannot visit the machine's threads: {0}")]
    Iterate(#[source] std::io::Error),
}

/// The last cause of an error: what the kernel said.
pub(super) fn root(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}

/// What to do where the kernel refuses an object: it may forbid it, or have no memory for its maps.
fn advice(error: &(dyn std::error::Error + 'static)) -> &'static str {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut system = causes.filter_map(|error| error.downcast_ref::<std::io::Error>());
    match system.find_map(std::io::Error::raw_os_error) {
        Some(libc::ENOMEM) => "raise the memory limit of the cgroup that numatrace runs in",
        _ => "look for a seccomp filter, a security module or a container that forbids BPF",
    }
}

/// An error and all its causes in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let next = inner.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = inner.source();
    }
    text
}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct PodConfig(Config);
// SAFETY: plain integers without padding (the size is asserted beside the type), any bytes are valid.
unsafe impl Pod for PodConfig {}

/// [`numatrace_common::config::Shared`], as words.
#[derive(Clone, Copy)]
#[repr(C)]
struct PodShared {
    counters: [CpuCounters; MAX_CPUS],
    clocks: [Clock; MAX_CPUS],
    touches: [TouchCounters; MAX_CPUS],
    tracked: u64,
    reserved: [u64; 7],
}
// SAFETY: plain integers without padding, any bytes are valid.
unsafe impl Pod for PodShared {}

/// Probes that are attached; dropping this detaches and frees everything.
pub struct Probes {
    links: Links,
    pub(super) ebpf: Ebpf,
    shared: MapData,
    /// Where it is read to: too large for a stack.
    counted: RefCell<Box<PodShared>>,
    iterator: &'static str,
    flavour: Flavour,
    /// The probes' side of the lanes; none where there are no records.
    ends: Option<Ends>,
    /// What tells ids, where those of the probes are others than ours.
    pub(super) pids: Option<Pids>,
    /// Page touches.
    pub pages: Pages,
    /// What works, and what does not.
    pub sources: Vec<Source>,
}

/// The kernel side's counters, summed over CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelCounters {
    /// Sums of the counters.
    pub sum: CpuCounters,
    /// Threads tracked now.
    pub tracked: u64,
    /// Page touches that found no cell.
    pub no_cell: u64,
}

/// Loads and attaches. The rings are returned apart, for the drain threads.
///
/// # Errors
/// [`LoadError`]; whatever was attached by then is detached.
pub fn load(plan: &Plan, topology: &Topology) -> Result<(Probes, Vec<Ring>), LoadError> {
    let kernel = KernelBtf::load(Path::new(btf::VMLINUX))?;
    let known = known_to_probes(plan, &kernel)?;
    // Sums are kept in task storage alone.
    let flavour = if plan.counting == counting::OFF { plan.flavour } else { Some(Flavour::TpBtf) };
    let (mut probes, rings) = match flavour {
        Some(flavour) => with_hints(&known, topology, &kernel, flavour)?,
        None => with_hints(&known, topology, &kernel, Flavour::TpBtf).or_else(|first| match first {
            LoadError::Program { .. } => with_hints(&known, topology, &kernel, Flavour::RawTp).map_err(|_| first),
            other => Err(other),
        })?,
    };
    probes.pids = known.pids;
    Ok((probes, rings))
}

/// The plan with ids as the probes know them, and this process's own.
fn known_to_probes(plan: &Plan, kernel: &KernelBtf) -> Result<Known, LoadError> {
    if plan.machine.ids() == Ids::Same {
        return Ok(Known { plan: plan.clone(), own_tgid: std::process::id(), pids: None });
    }
    let types = Btf::parse(kernel.bytes(), Endianness::default())
        .map_err(|error| LoadError::Program { hook: ITERATOR.into(), reason: chain(&error) })?;
    let pids = Pids::begin(kernel, &types)?;
    let own_tgid = pids.own().ok_or(LoadError::Outside(std::process::id()))?;
    let filter = pids.translate(&plan.filter, plan.filter_ids, &plan.machine)?;
    Ok(Known { plan: Plan { filter, ..plan.clone() }, own_tgid, pids: Some(pids) })
}

/// A plan in the probes' terms.
struct Known {
    plan: Plan,
    /// This process, as the probes know it.
    own_tgid: u32,
    /// What tells ids, where those of the probes are others than ours.
    pids: Option<Pids>,
}

impl std::ops::Deref for Known {
    type Target = Plan;

    fn deref(&self) -> &Plan {
        &self.plan
    }
}

/// Where the hook for hint faults is refused, the probes have to know: they are loaded anew.
fn with_hints(
    plan: &Known,
    topology: &Topology,
    kernel: &KernelBtf,
    flavour: Flavour,
) -> Result<(Probes, Vec<Ring>), LoadError> {
    let (probes, rings) = attempt(plan, topology, kernel, flavour, None)?;
    match probes.pages.hints_refused().filter(|_| probes.pages.wants_deltas()) {
        Some(refused) => {
            let refused = refused.to_owned();
            drop((probes, rings));
            attempt(plan, topology, kernel, flavour, Some(refused))
        }
        None => Ok((probes, rings)),
    }
}

fn attempt(
    plan: &Known,
    topology: &Topology,
    kernel: &KernelBtf,
    flavour: Flavour,
    hints_refused: Option<String>,
) -> Result<(Probes, Vec<Ring>), LoadError> {
    let Sizes { groups, lane_slots, .. } = Sizes::of(topology, plan.ring_bytes);
    let (mut config, features) = configuration(plan, kernel, lane_slots)?;
    let choice = pages::Choice::make(plan.pages, kernel, &config.offsets, hints_refused);
    choice.configure(&mut config, topology);
    let places = pages::Globals::of(topology);
    let cpu_rings = sizes::cpu_rings(&groups);
    let raw_tasks = if flavour == Flavour::RawTp { plan.max_tasks } else { 1 };
    let counts = plan.counting != counting::OFF;
    let (groups_most, cpus) = if counts { (MAX_GROUPS, cpu_slots(topology)) } else { (1, 1) };
    let cpu_places = cpu_places(topology);
    let mut ebpf = EbpfLoader::new()
        .verifier_log_level(VerifierLogLevel::DISABLE)
        .allow_unsupported_maps()
        .override_global("CONFIG", &PodConfig(config), true)
        .override_global("CPU_RINGS", cpu_rings.as_slice(), true)
        .override_global("CPU_NODES", places.cpu_nodes.as_slice(), true)
        .override_global("NODE_POSITIONS", places.node_positions.as_slice(), true)
        .override_global("CPU_PLACES", cpu_places.as_slice(), true)
        .map_max_entries("RAW_TASKS", raw_tasks)
        .map_max_entries("GROUPS_0", groups_most)
        .map_max_entries("GROUPS_1", groups_most)
        .map_max_entries("CPU_SUMS", cpus)
        .map_max_entries("CELLS", if choice.needs_cells() { MAX_CELLS } else { 1 })
        .load(OBJECT)
        .map_err(|error| LoadError::Object(Box::new(error)))?;
    fill_targets(&mut ebpf, &plan.filter)?;
    let (rings, ends) = if counts {
        (Vec::new(), None)
    } else {
        let ends = lane_ends(&ebpf)?;
        (make_rings(&mut ebpf, groups, plan.ring_bytes, lane_slots, &ends)?, Some(ends))
    };
    let Some(Map::Array(shared)) = ebpf.take_map(".bss") else { return Err(LoadError::Map(".bss")) };
    // SAFETY: integers, of which all zeroes are some.
    let counted = RefCell::new(unsafe { Box::<PodShared>::new_zeroed().assume_init() });
    // The bytes that are there already: reading them again would be the moment at which memory is at its peak.
    let types = Btf::parse(kernel.bytes(), Endianness::default())
        .map_err(|error| LoadError::Program { hook: ITERATOR.into(), reason: chain(&error) })?;
    let (mut sources, links) = attach_hooks(&mut ebpf, plan, kernel, flavour, &types)?;
    let iterator = match flavour {
        Flavour::TpBtf => "iter_task",
        Flavour::RawTp => "raw_iter_task",
    };
    load_iterator(&mut ebpf, iterator, &types)?;
    sources.push(iterator_source(plan));
    sources.extend(feature_sources(plan, features));
    let pages = Pages::attach(&mut ebpf, choice, flavour, &types, topology, &plan.machine)?;
    sources.extend(pages.sources.iter().cloned());
    Ok((Probes { ebpf, links, shared, counted, iterator, flavour, ends, pids: None, pages, sources }, rings))
}

/// The object with an empty configuration, which records nothing: to try single programs.
pub(super) fn bare() -> Result<Ebpf, LoadError> {
    EbpfLoader::new()
        .verifier_log_level(VerifierLogLevel::DISABLE)
        .allow_unsupported_maps()
        .map_max_entries("RAW_TASKS", 1)
        .map_max_entries("CELLS", 1)
        .map_max_entries("GROUPS_0", 1)
        .map_max_entries("GROUPS_1", 1)
        .map_max_entries("CPU_SUMS", 1)
        .load(OBJECT)
        .map_err(|error| LoadError::Object(Box::new(error)))
}

fn configuration(plan: &Known, kernel: &KernelBtf, lane_slots: u32) -> Result<(Config, offsets::Features), LoadError> {
    let v1 = matches!(plan.filter, Filter::Cgroup { v1: true, .. }) || plan.cgroups_v1;
    let (found, features) = offsets::find(kernel, v1).map_err(LoadError::Member)?;
    let (cgroup, comm) = match &plan.filter {
        Filter::Cgroup { id, .. } if features.cgroups => (*id, [0; 16]),
        Filter::Cgroup { .. } => return Err(LoadError::NoCgroups),
        Filter::Comm(comm) => (0, *comm),
        _ => (0, [0; 16]),
    };
    let config = Config {
        offsets: found,
        filter: kind(&plan.filter),
        own_tgid: plan.own_tgid,
        max_tasks: plan.max_tasks,
        culprits: u32::from(plan.culprits && features.culprits),
        cgroup_v1: u32::from(v1),
        lane_slots,
        throttle: features.throttle,
        counting: plan.counting,
        steady_clock: u32::from(system::clock_is_steady()),
        began: system::monotonic_ns(),
        cgroup,
        comm,
        ..Config::EMPTY
    };
    Ok((config, features))
}

/// Entries of arrays that have one for each possible CPU, by its number.
pub(super) fn cpu_slots(topology: &Topology) -> u32 {
    topology.cpus.last().map_or(1, |last| last.id + 1).min(MAX_CPUS as u32)
}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct PodPlace(CpuPlace);
// SAFETY: plain integers without padding, any bytes are valid.
unsafe impl Pod for PodPlace {}

/// Where each CPU is. Of one that is offline neither core nor cache is known.
fn cpu_places(topology: &Topology) -> Vec<PodPlace> {
    let mut places = vec![PodPlace(CpuPlace { core: NO_PLACE, llc: NO_PLACE }); MAX_CPUS];
    for cpu in topology.cpus.iter().filter(|cpu| cpu.online) {
        if let (Some(place), Ok(core), Ok(llc)) =
            (places.get_mut(cpu.id as usize), u16::try_from(cpu.core), u16::try_from(cpu.llc))
        {
            place.0 = CpuPlace { core, llc };
        }
    }
    places
}

fn fill_targets(ebpf: &mut Ebpf, filter: &Filter) -> Result<(), LoadError> {
    let (Filter::Processes(ids) | Filter::Threads(ids)) = filter else { return Ok(()) };
    let access = |cause| LoadError::MapAccess { map: "TARGETS", cause };
    let map = ebpf.map_mut("TARGETS").ok_or(LoadError::Map("TARGETS"))?;
    let mut targets: HashMap<&mut MapData, u32, u8> = HashMap::try_from(map).map_err(access)?;
    for id in ids {
        targets.insert(id, 1, 0).map_err(access)?;
    }
    Ok(())
}

/// An array of maps of the object, to put maps into.
fn outer<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<ArrayOfMaps<&'a mut MapData, MapData>, LoadError> {
    let map = ebpf.map_mut(name).ok_or(LoadError::Map(name))?;
    match map {
        Map::ArrayOfMaps(_) => ArrayOfMaps::try_from(map).map_err(|cause| LoadError::MapAccess { map: name, cause }),
        _ => Err(LoadError::Map(name)),
    }
}

fn lane_ends(ebpf: &Ebpf) -> Result<Ends, LoadError> {
    match ebpf.map("LANE_ENDS") {
        Some(Map::Array(map)) => Ends::open(map).map_err(|error| LoadError::Ring(RingError::Show(error))),
        _ => Err(LoadError::Map("LANE_ENDS")),
    }
}

fn make_rings(
    ebpf: &mut Ebpf,
    groups: Vec<Group>,
    bytes: u32,
    slots: u32,
    ends: &Ends,
) -> Result<Vec<Ring>, LoadError> {
    let access = |map| move |cause| LoadError::MapAccess { map, cause };
    let mut made = Vec::with_capacity(groups.len());
    for (index, group) in groups.into_iter().enumerate() {
        let maps = rings::create(&group.cpus, bytes, group.online.len(), slots).map_err(LoadError::Ring)?;
        outer(ebpf, "RINGS")?.set(index as u32, &maps.ring, 0).map_err(access("RINGS"))?;
        let mut lanes = Vec::with_capacity(maps.lanes.len());
        for (cpu, map) in group.online.into_iter().zip(&maps.lanes) {
            outer(ebpf, "LANES")?.set(cpu, map, 0).map_err(access("LANES"))?;
            let lane = Lane::open(cpu, slots, map, ends);
            lanes.push(lane.map_err(|error| LoadError::Ring(RingError::Show(error)))?);
        }
        let buffer = rings::open(maps.ring, bytes).map_err(LoadError::Ring)?;
        made.push(Ring { buffer, lanes, home: group.cpus });
    }
    Ok(made)
}

fn attach_hooks(
    ebpf: &mut Ebpf,
    plan: &Plan,
    kernel: &KernelBtf,
    flavour: Flavour,
    types: &Btf,
) -> Result<(Vec<Source>, Links), LoadError> {
    let (mut sources, mut links) = (Vec::new(), Links::default());
    for hook in HOOKS.iter().filter(|hook| plan.counting == counting::OFF || hook.counts) {
        let name = format!("{}:{}", flavour.name(), hook.tracepoint);
        if hook.tracepoint == WAKING && !plan.wakers {
            sources.push(off(&name, "switched off with --no-wakers: who wakes a thread is not known"));
            continue;
        }
        let result = if kernel.tracepoint_args(hook.tracepoint).is_none() {
            Err("this kernel has no such tracepoint".to_owned())
        } else {
            load_hook(ebpf, hook, flavour, types).and_then(|()| attach(ebpf, hook, flavour))
        };
        match result {
            Ok(link) => {
                sources.push(on(&name));
                links.0.push((hook.tracepoint, link));
            }
            Err(reason) if hook.required => return Err(LoadError::Program { hook: name, reason }),
            Err(reason) => sources.push(off(&name, &format!("{reason}: {}", hook.without))),
        }
    }
    Ok((sources, links))
}

fn program<'a>(ebpf: &'a mut Ebpf, hook: &Hook, flavour: Flavour) -> Result<&'a mut Program, String> {
    let name = hook.program(flavour);
    ebpf.program_mut(&name).ok_or_else(|| format!("the eBPF object has no program {name}"))
}

fn load_hook(ebpf: &mut Ebpf, hook: &Hook, flavour: Flavour, types: &Btf) -> Result<(), String> {
    let program = program(ebpf, hook, flavour)?;
    let done = match flavour {
        Flavour::TpBtf => {
            <&mut BtfTracePoint>::try_from(program).and_then(|program| program.load(hook.tracepoint, types))
        }
        Flavour::RawTp => <&mut RawTracePoint>::try_from(program).and_then(RawTracePoint::load),
    };
    done.map_err(|error| refusal(&error))
}

fn attach(ebpf: &mut Ebpf, hook: &Hook, flavour: Flavour) -> Result<Attached, String> {
    let program = program(ebpf, hook, flavour)?;
    let done = match flavour {
        Flavour::TpBtf => <&mut BtfTracePoint>::try_from(program).and_then(|program| {
            let id = program.attach()?;
            Ok(Attached::TpBtf(program.take_link(id)?))
        }),
        Flavour::RawTp => <&mut RawTracePoint>::try_from(program).and_then(|program| {
            let id = program.attach(hook.tracepoint)?;
            Ok(Attached::RawTp(program.take_link(id)?))
        }),
    };
    done.map_err(|error| refusal(&error))
}

/// A hook that is attached, until this is dropped.
enum Attached {
    TpBtf(#[expect(dead_code, reason = "held")] BtfTracePointLink),
    RawTp(#[expect(dead_code, reason = "held")] RawTracePointLink),
}

/// Hooks that are attached, in the order in which they were. They go in that order: once no switch is seen, no turn ends whose
/// wakeup was not seen.
#[derive(Default)]
struct Links(Vec<(&'static str, Attached)>);

/// A program error in one line: the verifier's last word instead of its whole log.
pub(super) fn refusal(error: &ProgramError) -> String {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = verifier_log.to_string();
            let last = log.lines().rev().find(|line| !line.trim().is_empty() && !line.starts_with("processed"));
            match last {
                Some(line) => format!("{io_error} ({})", crate::text::display_str(line.trim())),
                None => io_error.to_string(),
            }
        }
        other => chain(other),
    }
}

fn load_iterator(ebpf: &mut Ebpf, name: &str, types: &Btf) -> Result<(), LoadError> {
    let failed = |reason: String| LoadError::Program { hook: ITERATOR.into(), reason };
    let program = ebpf.program_mut(name).ok_or_else(|| failed(format!("the eBPF object has no program {name}")))?;
    let program: &mut Iter = program.try_into().map_err(|error| failed(refusal(&error)))?;
    program.load("task", types).map_err(|error| failed(refusal(&error)))
}

fn iterator_source(plan: &Plan) -> Source {
    let reason = "numatrace runs in a pid namespace of its own, and the kernel lets the iterator visit only what is inside: threads outside of it that were there before are not traced; run numatrace with --pid=host";
    let state = if plan.machine.ids() == Ids::Same { SourceState::On } else { SourceState::BestEffort };
    Source { name: ITERATOR.into(), state, reason: (state != SourceState::On).then(|| reason.into()) }
}

fn on(name: &str) -> Source {
    Source { name: name.into(), state: SourceState::On, reason: None }
}

fn off(name: &str, reason: &str) -> Source {
    Source { name: name.into(), state: SourceState::Off, reason: Some(reason.into()) }
}

fn feature_sources(plan: &Plan, features: offsets::Features) -> Vec<Source> {
    let mut sources = Vec::new();
    sources.push(if !plan.culprits {
        off("rq->curr", "switched off: who held the CPU while a thread waited is not known")
    } else if features.culprits {
        on("rq->curr")
    } else {
        off("rq->curr", "not readable on this kernel: who held the CPU while a thread waited is not known")
    });
    sources.push(if features.sched_info {
        on("sched_info")
    } else {
        off("sched_info", "not kept by this kernel (CONFIG_SCHED_INFO): waits that began before attach are not known")
    });
    sources.push(throttle_source(features.throttle));
    sources
}

fn throttle_source(how: u32) -> Source {
    let [by_queue, by_load] = sources::THROTTLE;
    match how {
        throttle::QUEUE | throttle::THREAD => on(by_queue),
        throttle::LOAD => Source {
            name: by_load.into(),
            state: SourceState::BestEffort,
            reason: Some(
                "this kernel (before 6.6) does not count for how long threads waited on a stopped queue: the throttled part of a wait is approximate, too large or too small"
                    .into(),
            ),
        },
        _ => off(
            by_queue,
            "this kernel has no CPU quotas (CONFIG_CFS_BANDWIDTH), or does not show when they stop a queue: throttled time is not told apart",
        ),
    }
}

impl Probes {
    /// Visits every thread: begins and ends tracking, and writes totals of those that changed into the rings.
    ///
    /// # Errors
    /// When the iterator cannot be made or read.
    pub fn visit_tasks(&mut self) -> Result<(), LoadError> {
        let failed = |reason: String| LoadError::Program { hook: ITERATOR.into(), reason };
        let program = self.ebpf.program_mut(self.iterator).ok_or(LoadError::Map("iter/task"))?;
        let program: &mut Iter = program.try_into().map_err(|error| failed(refusal(&error)))?;
        let id = program.attach().map_err(|error| failed(refusal(&error)))?;
        let link = program.take_link(id).map_err(|error| failed(refusal(&error)))?;
        let mut file = link.into_file().map_err(|error| failed(chain(&error)))?;
        let mut nothing = [0u8; 64];
        loop {
            match file.read(&mut nothing) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                // The kernel pauses very long iterations.
                Err(error)
                    if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted) => {}
                Err(error) => return Err(LoadError::Iterate(error)),
            }
        }
    }

    /// Reads the kernel side's counters.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn counters(&self) -> Result<KernelCounters, LoadError> {
        let access = |error| LoadError::MapAccess { map: ".bss", cause: MapError::IoError(error) };
        let mut shared = self.counted.borrow_mut();
        maps::read(&self.shared, 0, &mut **shared).map_err(access)?;
        let mut sum = CpuCounters::default();
        for cpu in &shared.counters {
            sum.wanted += cpu.wanted;
            sum.lost_ring_full += cpu.lost_ring_full;
            sum.lost_no_ring += cpu.lost_no_ring;
            sum.tasks_refused += cpu.tasks_refused;
            sum.slices += cpu.slices;
            sum.waits += cpu.waits;
            sum.wait_ns += cpu.wait_ns;
            sum.shed += cpu.shed;
        }
        let no_cell = shared.touches.iter().map(|of_cpu| of_cpu.no_cell).sum();
        Ok(KernelCounters { sum, tracked: shared.tracked, no_cell })
    }

    /// Loads the benchmarks' producer.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn producer(&mut self) -> Result<Producer, LoadError> {
        Producer::load(&mut self.ebpf)
    }

    /// Takes a map out of the object, to be read without it.
    pub(super) fn take_map(&mut self, name: &'static str) -> Result<Map, LoadError> {
        self.ebpf.take_map(name).ok_or(LoadError::Map(name))
    }

    /// Time in the programs and how often they ran, where `kernel.bpf_stats_enabled` is on; for each, what the kernel says.
    pub(super) fn run_stats(&self) -> (std::time::Duration, u64) {
        let infos = self.ebpf.programs().filter_map(|(_, program)| program.info().ok());
        infos.fold((std::time::Duration::ZERO, 0), |(time, runs), info| {
            (time + info.run_time(), runs + info.run_count())
        })
    }

    /// Time in the programs that run in whatever thread is traced, and not for this one, so far: 0 while the kernel keeps no
    /// statistics of programs.
    pub(super) fn probes_ns(&self) -> u64 {
        let traced = self.ebpf.programs().filter(|(_, program)| !matches!(program, Program::Iter(_)));
        let times = traced.filter_map(|(_, program)| program.info().ok()).map(|info| info.run_time().as_nanos());
        u64::try_from(times.sum::<u128>()).unwrap_or(u64::MAX)
    }

    /// Turns that found no room in the lane of their CPU.
    pub(super) fn turns_lost(&self) -> u64 {
        self.ends.as_ref().map_or(0, Ends::lost)
    }

    /// From now on one turn in `every`, a power of two, gets a record.
    pub(super) fn keep_one_in(&self, every: u32) {
        if let Some(ends) = &self.ends {
            ends.keep_one_in(every);
        }
    }

    /// The hook that finds out who wakes whom is attached.
    pub(super) fn has_wakers(&self) -> bool {
        self.links.0.iter().any(|(tracepoint, _)| *tracepoint == WAKING)
    }

    /// Detaches the hook that finds out who wakes whom, or attaches it again where it was attached when tracing began. Says
    /// whether it is attached now.
    pub(super) fn watch_wakers(&mut self, watch: bool) -> bool {
        if !watch {
            self.links.0.retain(|(tracepoint, _)| *tracepoint != WAKING);
        } else if !self.has_wakers()
            && let Some(hook) = HOOKS.iter().find(|hook| hook.tracepoint == WAKING)
            && let Ok(link) = attach(&mut self.ebpf, hook, self.flavour)
        {
            self.links.0.push((hook.tracepoint, link));
        }
        self.has_wakers()
    }

    /// Detaches every hook; the task iterator and the counters still work.
    pub fn detach(&mut self) {
        self.pages.detach(&mut self.ebpf, self.flavour);
        self.links.0.drain(..).for_each(drop);
        for hook in &HOOKS {
            let Some(program) = self.ebpf.program_mut(&hook.program(self.flavour)) else { continue };
            // A program that was never loaded has nothing to unload.
            let _ = match program {
                Program::BtfTracePoint(program) => program.unload(),
                Program::RawTracePoint(program) => program.unload(),
                _ => Ok(()),
            };
        }
    }
}
