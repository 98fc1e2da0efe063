//! What this kernel takes of the probes: every program of the object, loaded and attached as the loader does it, in the configurations
//! between which it chooses. The verifier sees a configuration as constants, so each is a program of its own to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use aya::{
    Btf, Ebpf, Endianness,
    programs::{FEntry, Program, ProgramError, ProgramInfo, loaded_links},
};
use numatrace_common::sums::counting;
use serde::{Deserialize, Serialize};

use super::{
    MaxOverhead,
    btf::{self, KernelBtf},
    hooks::Flavour,
    load::{self, LoadError, Plan, Probes, chain, refusal},
    pages::{HintSource, PagePlan, PageSource},
    pids::{self, Pids},
    synthetic, system,
};
use crate::{
    snapshot::{Source, SourceState},
    target::{Filter, Machine},
    topology::Topology,
};

/// Rings that nobody reads.
const RING_BYTES: u32 = 64 << 10;

/// What one kernel takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compatibility {
    /// As `uname -r` prints it.
    pub kernel: String,
    /// As `uname -m` prints it.
    pub arch: String,
    /// The probes take the scheduler's clock for the kernel's.
    pub steady_clock: bool,
    /// The kernel balances NUMA nodes; `None` where it cannot.
    pub balancing: Option<bool>,
    /// By what is configured, and by the way in which hooks are attached.
    pub cases: Vec<Case>,
    /// Programs of the object that are attached in no case, and why not.
    pub unused: BTreeMap<String, String>,
}

/// What came of one configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// What is configured.
    pub name: String,
    /// How hooks are attached.
    pub flavour: String,
    /// Why nothing was loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Programs that were attached.
    pub programs: BTreeMap<String, Verified>,
    /// What works with it, and what does not.
    pub sources: Vec<Source>,
}

/// A program that the kernel has verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// Instructions that the verifier went through, along all paths; it allows 1,000,000. `None` where the kernel does not tell.
    pub instructions: Option<u32>,
    /// The kernel has compiled it.
    pub compiled: bool,
}

impl Verified {
    fn of(info: &ProgramInfo) -> Verified {
        Verified { instructions: info.verified_instruction_count(), compiled: info.size_jitted() > 0 }
    }
}

/// Loads and attaches everything in each configuration, for a moment, and says what the kernel took. Needs root.
///
/// # Errors
/// When the kernel has no type information, or does not take the object at all.
pub fn examine(topology: &Topology, machine: &Machine) -> Result<Compatibility, LoadError> {
    let kernel = KernelBtf::load(Path::new(btf::VMLINUX))?;
    let (release, arch) = system::uname();
    let mut cases: Vec<Case> =
        plans(machine).into_iter().map(|(name, plan)| case(name, &plan, topology)).collect::<Result<_, _>>()?;
    cases.push(ids(&kernel)?);
    let attached: BTreeSet<&String> = cases.iter().flat_map(|case| case.programs.keys()).collect();
    let unused = unused(&kernel, &attached)?;
    Ok(Compatibility {
        kernel: release,
        arch,
        steady_clock: system::clock_is_steady(),
        balancing: std::fs::read_to_string(machine.path("/proc/sys/kernel/numa_balancing"))
            .ok()
            .map(|on| on.trim() != "0"),
        cases,
        unused,
    })
}

/// Configurations that reach every value of those constants of which programs depend, but for the steadiness of the clock, which is
/// this machine's, and every source that can be asked for.
fn plans(machine: &Machine) -> Vec<(&'static str, Plan)> {
    let pages = |source, hints| PagePlan { source, hints, samples_per_second: 1, stacks: true, counts_only: false };
    let cgroup = |v1| Filter::Cgroup { id: 1, v1, path: "/".into() };
    let base = Plan {
        max_overhead: MaxOverhead::Off,
        statistics: false,
        filter: Filter::Processes(Vec::new()),
        filter_ids: machine.ids(),
        machine: machine.clone(),
        ring_bytes: RING_BYTES,
        max_tasks: 1,
        wakers: true,
        culprits: true,
        pages: pages(PageSource::Auto, HintSource::Auto),
        counting: counting::OFF,
        cgroups_v1: false,
        flavour: None,
    };
    let mut all = Vec::new();
    for flavour in [Flavour::TpBtf, Flavour::RawTp] {
        let base = Plan { flavour: Some(flavour), ..base.clone() };
        let entry = pages(PageSource::Entry, HintSource::Fentry);
        let kprobe = PagePlan { stacks: false, ..pages(PageSource::Exit, HintSource::Kprobe) };
        let counts = pages(PageSource::Auto, HintSource::Counts);
        let scheduler =
            Plan { filter: Filter::All, wakers: false, culprits: false, pages: PagePlan::OFF, ..base.clone() };
        all.extend([
            ("processes", base.clone()),
            (
                "threads by name, page faults at entry, hint faults by fentry",
                Plan { filter: Filter::Comm(*b"nobody\0\0\0\0\0\0\0\0\0\0"), pages: entry, ..base.clone() },
            ),
            ("cgroup, hint faults by kprobe", Plan { filter: cgroup(false), pages: kprobe, ..base.clone() }),
            ("cgroup v1, hint faults by counts", Plan { filter: cgroup(true), pages: counts, ..base.clone() }),
            ("threads, no wakers", Plan { filter: Filter::Threads(Vec::new()), wakers: false, ..base }),
            ("all, scheduler alone", scheduler),
        ]);
    }
    let sums = |source, how| Plan {
        filter: Filter::All,
        pages: PagePlan { samples_per_second: 0, stacks: false, counts_only: true, ..pages(source, HintSource::Auto) },
        counting: how,
        flavour: Some(Flavour::TpBtf),
        ..base.clone()
    };
    let v1 = Plan { cgroups_v1: true, ..sums(PageSource::Entry, counting::PROCESSES) };
    all.extend([
        ("sums", sums(PageSource::Auto, counting::PROCESSES)),
        ("sums by thread group", sums(PageSource::Auto, counting::THREAD_GROUPS)),
        ("sums, page faults at entry, cgroups v1", v1),
        ("sums, scheduler alone", sums(PageSource::Off, counting::PROCESSES)),
    ]);
    all
}

fn case(name: &str, plan: &Plan, topology: &Topology) -> Result<Case, LoadError> {
    let flavour = plan.flavour.map_or("any", Flavour::name);
    let mut case = Case {
        name: name.into(),
        flavour: flavour.into(),
        refused: None,
        programs: BTreeMap::new(),
        sources: Vec::new(),
    };
    match load::load(plan, topology) {
        Ok((mut probes, _rings)) => {
            probes.visit_tasks()?;
            case.programs = probes.attached();
            case.sources.clone_from(&probes.sources);
        }
        Err(error @ (LoadError::Program { .. } | LoadError::NoCgroups)) => case.refused = Some(error.to_string()),
        Err(other) => return Err(other),
    }
    Ok(case)
}

/// The iterator that tells ids to a numatrace in a pid namespace of its own.
fn ids(kernel: &KernelBtf) -> Result<Case, LoadError> {
    let mut case = Case {
        name: "ids of a pid namespace".into(),
        flavour: Flavour::TpBtf.name().into(),
        refused: None,
        programs: BTreeMap::new(),
        sources: Vec::new(),
    };
    match Pids::begin(kernel, &types_of(kernel)?) {
        Ok(pids) => {
            let info = pids.program_info().map_err(|error| failed(pids::PROGRAM, refusal(&error)))?;
            case.programs.insert(pids::PROGRAM.into(), Verified::of(&info));
        }
        Err(error) => case.refused = Some(error.to_string()),
    }
    Ok(case)
}

fn types_of(kernel: &KernelBtf) -> Result<Btf, LoadError> {
    Btf::parse(kernel.bytes(), Endianness::default()).map_err(|error| failed("vmlinux", chain(&error)))
}

fn failed(hook: &str, reason: String) -> LoadError {
    LoadError::Program { hook: hook.into(), reason }
}

impl Probes {
    /// Programs that can run now, as the kernel says.
    fn attached(&self) -> BTreeMap<String, Verified> {
        // A link that went meanwhile is another program's.
        let linked: BTreeSet<u32> = loaded_links().flatten().map(|link| link.program_id()).collect();
        let attached = |program: &Program, info: &ProgramInfo| match program {
            // Its events are no links.
            Program::PerfEvent(_) => self.pages.has_events(),
            // It is attached for each visit.
            Program::Iter(_) => true,
            _ => linked.contains(&info.id()),
        };
        let loaded = self.ebpf.programs().filter_map(|(name, program)| Some((name, program, program.info().ok()?)));
        let attached = loaded.filter(|(_, program, info)| attached(program, info));
        attached.map(|(name, _, info)| (name.to_owned(), Verified::of(&info))).collect()
    }
}

/// Programs that are none of `attached`, and why.
fn unused(kernel: &KernelBtf, attached: &BTreeSet<&String>) -> Result<BTreeMap<String, String>, LoadError> {
    let mut ebpf = load::bare()?;
    let types = types_of(kernel)?;
    let names: Vec<String> = ebpf.programs().map(|(name, _)| name.to_owned()).collect();
    let left = names.into_iter().filter(|name| !attached.contains(name));
    Ok(left.map(|name| (name.clone(), why_unused(&mut ebpf, &name, kernel, &types))).collect())
}

fn why_unused(ebpf: &mut Ebpf, name: &str, kernel: &KernelBtf, types: &Btf) -> String {
    let for_benchmarks = name.starts_with("empty_") || name == synthetic::NAME;
    let plain = name.trim_start_matches("kprobe_").trim_start_matches("raw_").trim_start_matches("empty_");
    // Of a tracepoint whose arguments changed there is a program for each number of them.
    let (hook, arguments) = match plain.rsplit_once('_').map(|(hook, number)| (hook, number.parse::<usize>())) {
        Some((hook, Ok(number))) => (hook, Some(number)),
        _ => (plain, None),
    };
    let there = kernel.tracepoint_args(hook);
    match (there, arguments) {
        (Some(have), Some(wants)) if have != wants => {
            return format!("not for this kernel: its tracepoint has {have} arguments");
        }
        _ => {}
    }
    let Some(program) = ebpf.program_mut(name) else { return "not in the object".into() };
    let loaded = match program {
        Program::BtfTracePoint(_) | Program::RawTracePoint(_) if there.is_none() && name != synthetic::NAME => {
            return "this kernel has no such tracepoint".into();
        }
        Program::BtfTracePoint(program) => program.load(hook, types),
        Program::RawTracePoint(program) => program.load(),
        Program::FEntry(program) => try_fentry(program, hook, types),
        Program::KProbe(program) => program.load().and_then(|()| program.attach(hook, 0).map(|_| ())),
        Program::PerfEvent(program) => program.load(),
        Program::Iter(program) => program.load("task", types),
        _ => return "of a kind that is not known".into(),
    };
    match loaded {
        Ok(()) if for_benchmarks => "for benchmarks alone".into(),
        Ok(()) => "not needed: this kernel has a better source".into(),
        Err(error) => format!("refused: {}", refusal(&error)),
    }
}

fn try_fentry(program: &mut FEntry, function: &str, types: &Btf) -> Result<(), ProgramError> {
    program.load(function, types).and_then(|()| program.attach().map(|_| ()))
}

impl Compatibility {
    /// What would have to be the same for two runs to have the same result, apart from the kernel's patch level.
    pub fn conditions(&self) -> String {
        let series: Vec<&str> = self.kernel.split(['.', '-', '+']).take(2).collect();
        let balancing = match self.balancing {
            None => "without NUMA balancing",
            Some(false) => "NUMA balancing off",
            Some(true) => "NUMA balancing on",
        };
        format!("Linux {} on {}, {balancing}", series.join("."), self.arch)
    }

    /// The same without what differs between two builds of one kernel series: its release, and how much there was to verify.
    pub fn comparable(&self) -> Compatibility {
        let mut plain = self.clone();
        plain.kernel = String::new();
        // An emulated one is steady in some boots, in others not.
        plain.steady_clock = false;
        for reason in plain.unused.values_mut() {
            // The kernel's words, and those of the library that asked it, change.
            if let Some(end) = reason.find("refused: ") {
                reason.truncate(end + "refused".len());
            }
        }
        for program in plain.cases.iter_mut().flat_map(|case| case.programs.values_mut()) {
            program.instructions = None;
        }
        plain
    }

    /// Whether a source is on in the case that has most.
    pub fn source(&self, name: &str) -> Option<&Source> {
        self.cases.first()?.sources.iter().find(|source| source.name == name)
    }

    /// Names of programs that were attached in some case, and the most instructions that the verifier went through.
    pub fn attached(&self) -> BTreeMap<&str, Verified> {
        let mut all: BTreeMap<&str, Verified> = BTreeMap::new();
        for (name, verified) in self.cases.iter().flat_map(|case| &case.programs) {
            let most = all.entry(name).or_insert(*verified);
            most.instructions = most.instructions.max(verified.instructions);
            most.compiled &= verified.compiled;
        }
        all
    }

    /// Sources of all cases that are not on, with their reasons.
    pub fn limits(&self) -> BTreeMap<&str, &str> {
        let sources = self.cases.first().into_iter().flat_map(|case| &case.sources);
        let limited = sources.filter(|source| source.state != SourceState::On);
        limited.map(|source| (source.name.as_str(), source.reason.as_deref().unwrap_or_default())).collect()
    }
}
