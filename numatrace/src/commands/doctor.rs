//! `numatrace doctor`: what this kernel and machine offer, hook by hook, found out by attaching for a moment.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    process::ExitCode,
};

use serde::Serialize;

use numatrace_common::sums::counting;

use crate::{
    cli::{DoctorArgs, DoctorFormat},
    collect::{
        MaxOverhead,
        hooks::{Flavour, HOOKS, ITERATOR, ITERATOR_WITHOUT},
        live,
        load::{self, Plan},
        pages::{HintSource, PagePlan, PageSource},
        system,
    },
    rights::{self, Needs, ROLES},
    snapshot::{Host, Source, SourceState},
    target::{Filter, Machine, preflight},
    text,
    topology::Topology,
};

/// A ring that is enough for a look.
const RING_BYTES: u32 = 64 << 10;

/// What was found.
#[derive(Debug, Serialize)]
struct Diagnosis {
    host: Option<Host>,
    /// Why nothing can be traced; `None` when something can.
    problem: Option<String>,
    /// How hooks are attached.
    flavour: Option<&'static str>,
    rights: Rights,
    sources: Vec<Source>,
}

/// What remains of rights while something is traced.
#[derive(Debug, Serialize)]
struct Rights {
    /// Whom numatrace becomes; `None` where it stays who it is.
    becomes: Option<u32>,
    /// Their name, where it is known.
    becomes_name: Option<String>,
    /// Capabilities by thread.
    keeps: BTreeMap<&'static str, Vec<String>>,
}

impl Rights {
    fn of_a_usual_run() -> Rights {
        let user = rights::who();
        let needs = Needs { frames: true, ..Needs::default() };
        Rights {
            becomes: user.as_ref().map(|user| user.uid),
            becomes_name: user.and_then(|user| user.name),
            keeps: ROLES.iter().map(|role| (role.name(), rights::kept(*role, needs))).collect(),
        }
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let who = match (self.becomes, &self.becomes_name) {
            (Some(uid), Some(name)) => format!("becomes user {} ({uid})", text::display_str(name)),
            (Some(uid), None) => format!("becomes user id {uid}"),
            (None, _) => "stays the user that it is".to_owned(),
        };
        writeln!(out, "Once attached, numatrace {who}, and its threads keep")?;
        let (keep, nothing): (Vec<_>, Vec<_>) = self.keeps.iter().partition(|(_, keeps)| !keeps.is_empty());
        for (name, keeps) in keep {
            writeln!(out, "  {name}: {}", keeps.join(", "))?;
        }
        let names: Vec<&str> = nothing.iter().map(|(name, _)| **name).collect();
        writeln!(out, "  {}: no capabilities", names.join(", "))
    }
}

/// Looks, and prints what it found. The exit code is 0 when tracing works, 1 when it does not.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let machine = super::traced::machine(&args.roots)?;
    super::traced::enter(&machine);
    let diagnosis = examine(&machine);
    let mut out = io::stdout().lock();
    match args.format {
        DoctorFormat::Json => {
            serde_json::to_writer(&mut out, &diagnosis)?;
            writeln!(out)?;
        }
        DoctorFormat::Text => write_text(&diagnosis, &mut out)?,
    }
    out.flush()?;
    Ok(if diagnosis.problem.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn examine(machine: &Machine) -> Diagnosis {
    let (release, machine_name) = system::uname();
    let topology = Topology::read(machine.sys());
    let host = topology.as_ref().ok().map(|topology| topology.host(&release, &machine_name));
    let rights = Rights::of_a_usual_run();
    let mut diagnosis = Diagnosis { host, problem: None, flavour: None, rights, sources: Vec::new() };
    let ready = preflight::check_kernel(machine)
        .map_err(|error| error.to_string())
        .and_then(|()| preflight::check_privileges(machine).map_err(|error| error.to_string()));
    let topology = match (ready, topology) {
        (Err(problem), _) => return diagnosis.failed(problem),
        (_, Err(error)) => return diagnosis.failed(error.to_string()),
        (Ok(()), Ok(topology)) => topology,
    };
    match attach(&topology, machine) {
        Ok((flavour, sources)) => {
            diagnosis.flavour = Some(flavour.name());
            diagnosis.sources = sources;
            diagnosis.sources.extend(live::looked_up_sources(&topology, machine));
            diagnosis.sources.push(drain());
            diagnosis.sources.push(seccomp());
            diagnosis.sources.push(balancing(machine));
            diagnosis
        }
        Err(problem) => diagnosis.failed(problem),
    }
}

impl Diagnosis {
    /// Nothing can be traced: every hook is off.
    fn failed(mut self, problem: String) -> Diagnosis {
        let lost = HOOKS.iter().map(|hook| (hook.tracepoint, hook.without)).chain([(ITERATOR, ITERATOR_WITHOUT)]);
        self.sources = lost
            .map(|(name, without)| Source {
                name: name.into(),
                state: SourceState::Off,
                reason: Some(format!("not tried: {without}")),
            })
            .collect();
        self.problem = Some(problem);
        self
    }
}

/// Attaches all hooks to no target and detaches them again.
fn attach(topology: &Topology, machine: &Machine) -> Result<(Flavour, Vec<Source>), String> {
    let mut first = None;
    for flavour in [Flavour::TpBtf, Flavour::RawTp] {
        let plan = Plan {
            filter: Filter::Threads(Vec::new()),
            filter_ids: machine.ids(),
            machine: machine.clone(),
            ring_bytes: RING_BYTES,
            max_tasks: 1,
            max_overhead: MaxOverhead::Off,
            statistics: false,
            wakers: true,
            culprits: true,
            pages: PagePlan {
                source: PageSource::Auto,
                hints: HintSource::Auto,
                samples_per_second: 1,
                stacks: false,
                counts_only: false,
            },
            counting: counting::OFF,
            cgroups_v1: false,
            flavour: Some(flavour),
        };
        match load::load(&plan, topology) {
            Ok((mut probes, _rings)) => {
                probes.visit_tasks().map_err(|error| error.to_string())?;
                return Ok((flavour, probes.sources.clone()));
            }
            Err(error) => {
                first.get_or_insert(error.to_string());
            }
        }
    }
    Err(first.unwrap_or_default())
}

fn drain() -> Source {
    let granted = system::realtime_allowed();
    Source {
        name: "drain:SCHED_FIFO".into(),
        state: if granted { SourceState::On } else { SourceState::BestEffort },
        reason: (!granted).then(|| {
            "real-time priority is not granted (CAP_SYS_NICE): records are likely to be lost when every CPU is busy"
                .into()
        }),
    }
}

fn seccomp() -> Source {
    let refused = rights::filters_allowed().err();
    Source {
        name: "seccomp".into(),
        state: if refused.is_none() { SourceState::On } else { SourceState::Off },
        reason: refused.map(|why| {
            format!("the kernel takes no filters of system calls ({why}): drain and dashboard threads run without")
        }),
    }
}

fn balancing(machine: &Machine) -> Source {
    let path = machine.path("/proc/sys/kernel/numa_balancing");
    let (state, reason) = match std::fs::read_to_string(&path).ok().as_deref().map(str::trim) {
        Some("0") => (SourceState::Off, Some("kernel.numa_balancing=0: the kernel moves nothing by itself")),
        Some(_) => (SourceState::On, None),
        None => (SourceState::Off, Some("this kernel has no automatic NUMA balancing, or only one node")),
    };
    Source { name: "numa_balancing".into(), state, reason: reason.map(Into::into) }
}

fn write_text(diagnosis: &Diagnosis, out: &mut impl Write) -> io::Result<()> {
    if let Some(host) = &diagnosis.host {
        writeln!(
            out,
            "Linux {} on {}, {} CPUs, {} {}",
            text::display_str(&host.kernel),
            text::display_str(&host.arch),
            host.cpus,
            host.nodes.len(),
            if host.nodes.len() == 1 { "node" } else { "nodes" }
        )?;
        for (index, node) in host.nodes.iter().enumerate() {
            let distances: Vec<String> =
                host.distances.get(index).into_iter().flatten().map(ToString::to_string).collect();
            writeln!(
                out,
                "  node {}: {} CPUs, {}, distances {}",
                node.id,
                node.cpus.len(),
                text::bytes(node.memory_bytes),
                distances.join(" ")
            )?;
        }
    }
    match (&diagnosis.problem, diagnosis.flavour) {
        (Some(problem), _) => writeln!(out, "Cannot trace: {problem}")?,
        (None, Some(flavour)) => writeln!(out, "Can trace, with {flavour} programs.")?,
        (None, None) => {}
    }
    if diagnosis.problem.is_none() {
        diagnosis.rights.write(out)?;
    }
    writeln!(out)?;
    let longest = diagnosis.sources.iter().map(|source| source.name.len()).max().unwrap_or(0);
    for source in &diagnosis.sources {
        let state = match source.state {
            SourceState::On => "on",
            SourceState::Off => "off",
            SourceState::BestEffort => "best effort",
            SourceState::Sampled => "sampled",
        };
        let reason = source.reason.as_deref().unwrap_or_default();
        let line = format!("  {:<longest$}  {state:<12} {reason}", source.name);
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}
