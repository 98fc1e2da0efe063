//! Probes and what follows them, advanced from tick to tick. Shared by everything that traces.

use std::{
    io::{self, Write},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
    },
    time::Duration,
};

use anyhow::{Context, anyhow};

use numatrace_common::sums::counting;

use crate::{
    cli::{self, Hooks, RunArgs, TraceArgs},
    collect::{
        MaxOverhead,
        hooks::Flavour,
        live::{End, Live, Pace},
        load::{DEFAULT_MAX_TASKS, Plan},
        pages::{HintSource, PagePlan, PageSource},
        system,
    },
    config::INTERVAL,
    decode::{Event, decode},
    model::{Limits, Meta, Model},
    recording::{Head, flight::Flight, roster::Roster, writer::Options},
    rights::Needs,
    snapshot::{SourceState, Target},
    source::{Source, SourceStatus},
    target::{Filter, Ids, Machine},
    topology::Topology,
};

use super::{
    recording::{Recording, new_file},
    slow::SlowWaits,
};

/// Bytes of a ring when the drain threads run at real-time priority, and when they do not.
const RING_BYTES: (u32, u32) = (4 << 20, 32 << 20);
/// How long a command may take to end by itself once the run was told to stop.
const LINGER: Duration = Duration::from_secs(10);
/// Names of threads that are no targets, looked up on each tick at most.
const NAMES_PER_TICK: usize = 64;
/// Threads whose policy, priority and allowed CPUs are read on each tick at most. With more, each has its turn.
const ATTRIBUTES_PER_TICK: usize = 256;
/// Threads whose cgroup is read on each tick at most. With more, each has its turn.
const CGROUPS_PER_TICK: usize = 64;

/// What to trace, and how.
pub struct Setup<'a> {
    /// The target as reports show it.
    pub target: Target,
    /// What the probes take.
    pub filter: Filter,
    /// Whose ids the filter has.
    pub filter_ids: Ids,
    /// Where /proc and /sys are.
    pub machine: Machine,
    /// The target is a command that we started: when told to stop, see it end first.
    pub command: Option<u32>,
    /// How long and how often.
    pub run: &'a RunArgs,
    /// How to trace.
    pub trace: &'a TraceArgs,
}

impl Setup<'_> {
    /// Time between ticks as the engine takes it.
    pub fn interval_ns(&self) -> Arc<AtomicU64> {
        Arc::new(AtomicU64::new(u64::try_from(self.run.interval.unwrap_or(INTERVAL).as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How long a run without a dashboard lasts, and how often there is a tick.
    pub fn pace(&self, duration: Option<Duration>) -> Pace {
        Pace {
            interval_ns: self.interval_ns(),
            duration,
            end_with_targets: self.filter.ends(),
            linger: self.command.map(|_| LINGER),
        }
    }

    /// What this run needs once it is attached.
    pub fn needs(&self) -> Needs {
        Needs {
            frames: self.trace.page_source != cli::PageSource::Off,
            statistics: matches!(self.trace.max_overhead, Some(MaxOverhead::Share(_))),
            command: self.command,
            ..Needs::default()
        }
    }

    fn plan(&self) -> Plan {
        let ring_bytes = match self.trace.ring_size {
            Some(bytes) => bytes,
            None if system::realtime_allowed() => RING_BYTES.0,
            None => RING_BYTES.1,
        };
        Plan {
            filter: self.filter.clone(),
            filter_ids: self.filter_ids,
            machine: self.machine.clone(),
            ring_bytes,
            max_tasks: DEFAULT_MAX_TASKS,
            max_overhead: self.trace.max_overhead.unwrap_or_default(),
            statistics: self.needs().administers(),
            wakers: !self.trace.no_wakers,
            culprits: true,
            pages: PagePlan {
                source: self.trace.page_source.into(),
                hints: match self.trace.hint_source {
                    cli::HintSource::Auto => HintSource::Auto,
                    cli::HintSource::Fentry => HintSource::Fentry,
                    cli::HintSource::Kprobe => HintSource::Kprobe,
                    cli::HintSource::Counts => HintSource::Counts,
                },
                samples_per_second: self.trace.fault_samples,
                stacks: self.trace.stacks,
                counts_only: false,
            },
            counting: counting::OFF,
            cgroups_v1: false,
            flavour: match self.trace.hooks {
                Hooks::Auto => None,
                Hooks::TpBtf => Some(Flavour::TpBtf),
                Hooks::RawTp => Some(Flavour::RawTp),
            },
        }
    }

    /// The target was there, and the probes found no thread of it.
    fn nothing_found(&self) -> anyhow::Error {
        let label = &self.target.label;
        if self.target.ids.iter().any(|id| self.machine.path(format!("/proc/{id}/stat")).exists()) {
            anyhow!(
                "the kernel does not show {label} to BPF (some virtual machines protect their own agents): trace another target"
            )
        } else {
            anyhow!("{label} exited before it could be traced")
        }
    }
}

/// What follows a run: all of it, or as much as has to be known to record it.
pub trait Follower {
    /// Knows nothing yet.
    fn begin(meta: &Meta, topology: &Topology) -> Self;

    /// Takes in one event.
    fn apply(&mut self, event: &Event);

    /// Counts records that arrived but could not be decoded.
    fn note_undecodable(&mut self, records: u64);

    /// Up to when something is known, ns of `CLOCK_MONOTONIC`.
    fn now_ns(&self) -> u64;

    /// At most `max` threads whose names are to be looked up.
    fn unnamed(&mut self, max: usize) -> Vec<u32>;

    /// At most `max` threads that the kernel is to be asked about now.
    fn attributes_due(&mut self, max: usize) -> Vec<u32>;

    /// At most `max` threads whose cgroups are to be read now, and when each was first heard of.
    fn cgroups_due(&mut self, max: usize) -> Vec<(u32, u64)>;

    /// The model, where there is one.
    fn model(&self) -> Option<&Model>;
}

impl Follower for Model {
    fn begin(meta: &Meta, topology: &Topology) -> Self {
        Model::new(meta.clone(), topology.clone(), Limits::default())
    }

    #[inline]
    fn apply(&mut self, event: &Event) {
        self.apply(event);
    }

    fn note_undecodable(&mut self, records: u64) {
        self.note_undecodable(records);
    }

    fn now_ns(&self) -> u64 {
        self.now_ns()
    }

    fn unnamed(&mut self, max: usize) -> Vec<u32> {
        self.unnamed_tids(max)
    }

    fn attributes_due(&mut self, max: usize) -> Vec<u32> {
        self.attributes_due(max)
    }

    fn cgroups_due(&mut self, max: usize) -> Vec<(u32, u64)> {
        self.cgroups_due(max)
    }

    #[inline]
    fn model(&self) -> Option<&Model> {
        Some(self)
    }
}

impl Follower for Roster {
    fn begin(meta: &Meta, _: &Topology) -> Self {
        Roster::new(meta.start_ns)
    }

    #[inline]
    fn apply(&mut self, event: &Event) {
        self.apply(event);
    }

    fn note_undecodable(&mut self, records: u64) {
        self.note_undecodable(records);
    }

    fn now_ns(&self) -> u64 {
        self.now_ns()
    }

    fn unnamed(&mut self, max: usize) -> Vec<u32> {
        self.unnamed(max)
    }

    fn attributes_due(&mut self, max: usize) -> Vec<u32> {
        self.attributes_due(max)
    }

    fn cgroups_due(&mut self, max: usize) -> Vec<(u32, u64)> {
        self.cgroups_due(max)
    }

    #[inline]
    fn model(&self) -> Option<&Model> {
        None
    }
}

impl From<cli::PageSource> for PageSource {
    fn from(asked: cli::PageSource) -> PageSource {
        match asked {
            cli::PageSource::Auto => PageSource::Auto,
            cli::PageSource::Exit => PageSource::Exit,
            cli::PageSource::Entry => PageSource::Entry,
            cli::PageSource::Off => PageSource::Off,
        }
    }
}

/// See the module.
pub struct Engine<F = Model> {
    /// Where records come from.
    pub live: Live,
    /// What they add up to.
    pub model: F,
    /// What is asked for of single waits.
    pub slow: Option<SlowWaits>,
    /// Where records go as well.
    pub recording: Option<Recording>,
    /// What keeps the last records.
    pub flight: Option<Flight>,
    meta: Meta,
    topology: Topology,
    undecodable: u64,
}

impl<F: Follower> Engine<F> {
    /// Attaches. Setting `stop` ends the run.
    ///
    /// # Errors
    /// One sentence about what could not be done; nothing stays attached.
    pub fn start(setup: &Setup<'_>, pace: Pace, stop: &Arc<AtomicBool>) -> anyhow::Result<Engine<F>> {
        let topology = Topology::read(setup.machine.sys()).context("cannot learn the machine's CPUs and nodes")?;
        let live = Live::start(&setup.plan(), &topology, pace, Arc::clone(stop))?;
        if setup.filter.ends() && live.targets()? == 0 {
            return Err(setup.nothing_found());
        }
        let (release, machine) = system::uname();
        let elapsed = system::monotonic_ns() - live.start_ns();
        let meta = Meta {
            host: topology.host(&release, &machine),
            target: setup.target.clone(),
            sources: live.sources().to_vec(),
            start_ns: live.start_ns(),
            start_wall_ns: system::realtime_ns() - elapsed,
            pages: live.pages(),
            waits: live.waits(),
        };
        let model = F::begin(&meta, &topology);
        Ok(Engine { live, model, slow: None, recording: None, flight: None, meta, topology, undecodable: 0 })
    }

    /// Goes on to the next tick. `Some(end)` with the last one.
    ///
    /// # Errors
    /// When tracing cannot go on.
    pub fn step(&mut self, lines: &mut dyn FnMut(&str)) -> anyhow::Result<Option<End>> {
        let end = self.to_tick(lines)?;
        self.look_up();
        Ok(end)
    }

    /// The first half of a step: everything up to the next tick. A recording can begin after it.
    ///
    /// # Errors
    /// When tracing cannot go on.
    pub fn to_tick(&mut self, lines: &mut dyn FnMut(&str)) -> anyhow::Result<Option<End>> {
        let Engine { live, model, slow, recording, flight, undecodable, .. } = self;
        let status = live.next_batch(&mut |record| {
            if let Some(recording) = recording {
                recording.push(record);
            }
            if let Some(flight) = flight {
                flight.push(record);
            }
            match decode(record) {
                Ok(event) => {
                    model.apply(&event);
                    if let (Some(slow), Some(model)) = (&mut *slow, model.model()) {
                        slow.apply(&event, model, lines);
                    }
                }
                Err(_) => model.note_undecodable(1),
            }
        })?;
        let pieces = live.undecodable() - *undecodable;
        *undecodable += pieces;
        model.note_undecodable(pieces);
        if let Some(recording) = recording {
            recording.push_pieces(pieces, model.now_ns());
        }
        if let Some(flight) = flight {
            flight.push_pieces(pieces, model.now_ns());
        }
        match status {
            SourceStatus::More => Ok(self.live.end()),
            SourceStatus::Ended => Ok(self.live.end().or(Some(End::Stopped))),
        }
    }

    /// The second half: asks the system what no hook tells.
    pub fn look_up(&mut self) {
        let Engine { live, model, recording, flight, .. } = self;
        let unnamed = model.unnamed(NAMES_PER_TICK);
        let attributes_due = model.attributes_due(ATTRIBUTES_PER_TICK);
        let cgroups_due = model.cgroups_due(CGROUPS_PER_TICK);
        let mut take = |record: &[u8]| {
            if let Some(recording) = recording {
                recording.push(record);
            }
            if let Some(flight) = flight {
                flight.push(record);
            }
            match decode(record) {
                Ok(event) => model.apply(&event),
                Err(_) => model.note_undecodable(1),
            }
        };
        live.look_up_names(&unnamed, &mut take);
        live.read_attributes(&attributes_due, &mut take);
        live.read_cgroups(&cgroups_due, &mut take);
        live.read_quotas(&mut take);
        if let Some(recording) = recording {
            recording.up_to(model.now_ns());
        }
    }

    /// What a recording of all of it is to know beside records.
    pub fn head(&self, anonymized: bool) -> Head {
        Head::new(self.meta.clone(), self.topology.clone(), anonymized)
    }

    /// Says what is done, and what is missing, on standard error.
    pub fn note(&self, what: &str) {
        let missing: Vec<&str> = self
            .live
            .sources()
            .iter()
            .filter(|source| matches!(source.state, SourceState::Off | SourceState::BestEffort))
            .map(|source| source.name.as_str())
            .collect();
        let rest = if missing.is_empty() {
            String::new()
        } else {
            format!("; not fully on: {} (numatrace doctor says why)", missing.join(", "))
        };
        // Notes are a courtesy: a closed standard error is no failure.
        let _ = writeln!(io::stderr(), "numatrace: {what}{rest}");
    }
}

impl Engine<Model> {
    /// Begins a recording of what comes after this tick, in a new file of the current folder. To be called between the two
    /// halves of a step.
    ///
    /// # Errors
    /// One sentence about why there is none.
    pub fn begin_recording(&mut self) -> anyhow::Result<()> {
        let start_ns = self.model.now_ns();
        let start_wall_ns = self.model.wall_ns(start_ns);
        let time = jiff::Timestamp::from_nanosecond(start_wall_ns.into())?.to_zoned(jiff::tz::TimeZone::system());
        let path = PathBuf::from(time.strftime("numatrace-%Y%m%d-%H%M%S.numatrace").to_string());
        let head = Head::new(Meta { start_ns, start_wall_ns, ..self.meta.clone() }, self.topology.clone(), false);
        let mut recording = Recording::begin(new_file(&path, false)?, &path, &head, Options::default())?;
        self.live.forget_told();
        self.model.opening(&mut |record| recording.push(record));
        recording.keep()?;
        self.recording = Some(recording);
        Ok(())
    }
}
