//! Counting without records, for `serve`: the probes sum up, and this reads the sums. Place in the flow: where `live` stands
//! otherwise; gives [`Sums`].
//!
//! ```text
//! threads -> (the task iterator visits them) -> GROUPS_0 or GROUPS_1 -> Table
//! CPUs    -> CPU_SUMS                        -> nodes, the whole
//! faults  -> CELLS                           -> Table, nodes, the whole
//! ```

mod groups;

use std::time::{Duration, Instant};

use aya::maps::{Map, MapData, MapError};
use numatrace_common::{
    abi::touch,
    config::{CellKey, NO_NODE_BYTE},
    sums::{CpuSums, counting},
};

use self::groups::Groups;
use super::{
    MaxOverhead,
    load::{self, DEFAULT_MAX_TASKS, LoadError, Plan, Probes},
    maps,
    pages::PagePlan,
    system::{self, realtime_ns},
};
use crate::{
    serve::{
        sums::{Cost, Lost, Node, Numbers, Sums},
        table::{Delta, Id, Limits, Look, Shape, Table},
    },
    snapshot::{Source, SourceState, sources},
    target::{Filter, Ids, Machine},
    topology::Topology,
};

/// Kernel memory of a tracked thread: what is kept of it, and the kernel's own bookkeeping, in a block of 1 KiB.
const THREAD_BYTES: u64 = 1_024;
/// Cells that wait for the next read, at most.
const MOST_EARLY: usize = 65_536;

/// How to count.
#[derive(Clone, Debug)]
pub struct CountPlan {
    /// What has series, at most.
    pub limits: Limits,
    /// Page touches.
    pub pages: PagePlan,
    /// Cgroups are those of the v1 hierarchy of the cpu controller, else of v2.
    pub cgroups_v1: bool,
    /// Where /proc and /sys are.
    pub machine: Machine,
}

/// Counts since it was started; dropping it detaches and frees everything.
pub struct Counting {
    probes: Probes,
    groups: Groups,
    cpus: MapData,
    cpu_sums: Vec<CpuSums>,
    table: Table,
    look: Box<dyn Look + Send>,
    topology: Topology,
    shape: Shape,
    /// Page touches and hint faults of all processes: those of the nodes of their CPUs.
    touched: Vec<Numbers>,
    unseen: u64,
    /// Threads that found no room, but for those that a visit meets again and again.
    refused: u64,
    refused_seen: u64,
    /// Cells of processes that nothing else is known of yet: they began between the two halves of a read.
    early: Vec<(CellKey, u64)>,
    /// Time on CPU of all groups, ns.
    cpu_ns: u64,
    started_ns: u64,
    sources: Vec<Source>,
    began: Instant,
}

impl Counting {
    /// Loads, attaches, and begins to track the threads that exist. `look` tells what processes and cgroups are called.
    ///
    /// # Errors
    /// [`LoadError`]; nothing stays attached.
    pub fn start(plan: &CountPlan, topology: &Topology, look: Box<dyn Look + Send>) -> Result<Counting, LoadError> {
        let grouped = plan.limits.thread_groups.is_some();
        let plan_of_probes = Plan {
            filter: Filter::All,
            filter_ids: Ids::Same,
            machine: plan.machine.clone(),
            ring_bytes: 4_096,
            max_tasks: DEFAULT_MAX_TASKS,
            max_overhead: MaxOverhead::Off,
            statistics: false,
            wakers: false,
            culprits: false,
            pages: PagePlan { samples_per_second: 0, stacks: false, counts_only: true, ..plan.pages },
            counting: if grouped { counting::THREAD_GROUPS } else { counting::PROCESSES },
            cgroups_v1: plan.cgroups_v1,
            flavour: None,
        };
        let (mut probes, _) = load::load(&plan_of_probes, topology)?;
        let groups = Groups::open(&mut probes)?;
        let Map::Array(cpus) = probes.take_map("CPU_SUMS")? else { return Err(LoadError::Map("CPU_SUMS")) };
        let slots = load::cpu_slots(topology) as usize;
        let sources = known_sources(&probes.sources);
        let on = |names: &[&str]| {
            sources.iter().any(|source| names.contains(&source.name.as_str()) && source.state != SourceState::Off)
        };
        let shape = Shape {
            nodes: topology.nodes.len(),
            throttled: on(&sources::THROTTLE),
            migrations: on(&sources::MIGRATIONS),
            touches: probes.pages.measured.touches,
            hints: probes.pages.measured.hints,
        };
        probes.visit_tasks()?;
        Ok(Counting {
            probes,
            groups,
            cpus,
            cpu_sums: vec![CpuSums::ZERO; slots],
            table: Table::new(plan.limits, shape),
            look,
            topology: topology.clone(),
            shape,
            touched: vec![shape.numbers(); topology.nodes.len()],
            unseen: 0,
            refused: 0,
            refused_seen: 0,
            early: Vec::new(),
            cpu_ns: 0,
            started_ns: realtime_ns(),
            sources,
            began: Instant::now(),
        })
    }

    /// What works here, and what does not.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// Reads everything that was counted up to now. To be called once a minute at least: a thread has room for 4,294,967,295
    /// waits of a bucket until then.
    ///
    /// # Errors
    /// When the kernel's maps or its tasks cannot be read.
    pub fn collect(&mut self) -> Result<Sums, LoadError> {
        let now = self.began.elapsed();
        let before = self.probes.counters()?.sum.tasks_refused;
        self.refused += before - self.refused_seen;
        self.refused_seen = before;
        self.probes.visit_tasks()?;
        self.refused_seen = self.probes.counters()?.sum.tasks_refused;
        self.take_groups(now)?;
        self.take_touches(now)?;
        self.read_cpus()?;
        self.table.settle(now, &mut *self.look);
        self.sums()
    }

    fn take_groups(&mut self, now: Duration) -> Result<(), LoadError> {
        let Counting { groups, table, look, unseen, cpu_ns, .. } = self;
        groups.take(|key, sums| {
            *unseen += sums.unseen;
            *cpu_ns += sums.cpu_ns;
            if key.tgid == 0 && key.start_ns == 0 && key.cgroup == 0 {
                // What found no group is in the sums of CPUs.
                return;
            }
            table.add(now, &mut **look, &Delta { key, sums });
        })
    }

    fn take_touches(&mut self, now: Duration) -> Result<(), LoadError> {
        let Counting { probes, table, touched, early, .. } = self;
        let mut add = |key: &CellKey, more: u64, last: bool| {
            let id = Id { start_ns: key.start_ns, tgid: key.tid };
            table.touch(now, id, last, |numbers| add_touches(numbers, key, more))
        };
        // A read later it is known what they are, or they are gone.
        early.drain(..).for_each(|(key, more)| {
            add(&key, more, true);
        });
        probes.pages.counts(|key, more| {
            let (_, cpu_node, _) = key.parts();
            if let Some(place) = touched.get_mut(usize::from(cpu_node)) {
                add_touches(place, key, more);
            }
            let keep = early.len() < MOST_EARLY;
            if !add(key, more, !keep) {
                early.push((*key, more));
            }
        })
    }

    fn read_cpus(&mut self) -> Result<(), LoadError> {
        let access = |error| LoadError::MapAccess { map: "CPU_SUMS", cause: MapError::IoError(error) };
        for (cpu, sums) in (0..).zip(&mut self.cpu_sums) {
            let mut read = groups::PodCpu(CpuSums::ZERO);
            maps::read(&self.cpus, cpu, &mut read).map_err(access)?;
            *sums = read.0;
        }
        Ok(())
    }

    fn sums(&self) -> Result<Sums, LoadError> {
        let counters = self.probes.counters()?;
        let mut total = self.shape.numbers();
        let mut nodes: Vec<Node> =
            self.topology.nodes.iter().map(|node| Node { id: node.id.0, numbers: self.shape.numbers() }).collect();
        let mut no_group = 0;
        for (cpu, sums) in (0..).zip(&self.cpu_sums) {
            no_group += sums.no_group;
            total.add(sums.into());
            if let Some(node) = self.topology.node_of(cpu).and_then(|at| nodes.get_mut(at)) {
                node.numbers.add(sums.into());
            }
        }
        // That of turns that go on is in these.
        total.cpu_ns = self.cpu_ns;
        for (at, numbers) in self.touched.iter().enumerate() {
            total.add_touches(numbers);
            if let Some(node) = nodes.get_mut(at) {
                node.numbers.add_touches(numbers);
            }
        }
        let lost =
            Lost { refused_threads: self.refused, no_group, no_cell: counters.no_cell, unseen_events: self.unseen };
        let mut sums = self.table.sums();
        sums.started_ns = self.started_ns;
        sums.total = total;
        sums.nodes = nodes;
        sums.tracked_threads = counters.tracked;
        sums.lost = lost;
        sums.cost = self.cost(counters.tracked);
        sums.sources = self.sources.clone();
        Ok(sums)
    }

    fn cost(&self, tracked: u64) -> Cost {
        let (time, runs) = self.probes.run_stats();
        let stats = system::bpf_stats_on();
        Cost {
            cpu_ns: system::own_cpu_ns(),
            memory_bytes: system::resident_bytes().unwrap_or(0),
            probes_ns: stats.then(|| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
            probes_runs: stats.then_some(runs),
            maps_bytes: maps::memory_of_all().map(|maps| maps + tracked * THREAD_BYTES),
        }
    }
}

/// Sources that counting has a use for.
fn known_sources(all: &[Source]) -> Vec<Source> {
    let unused =
        [sources::WHERE[0], sources::PLACEMENT[0], sources::BEHIND[0], sources::HINT_TIME[0], sources::MIGRATED[0]];
    all.iter().filter(|source| !unused.contains(&source.name.as_str())).cloned().collect()
}

fn add_touches(numbers: &mut Numbers, key: &CellKey, more: u64) {
    let (kind, cpu_node, page_node) = key.parts();
    match kind {
        touch::HINT_LOCAL | touch::HINT_REMOTE => {
            if let Some((local, remote)) = &mut numbers.hint_faults {
                *(if kind == touch::HINT_LOCAL { local } else { remote }) += more;
            }
        }
        kind if usize::from(kind) < touch::KINDS => {
            let Some(touches) = &mut numbers.touches else { return };
            let Some(row) = touches.get_mut(usize::from(cpu_node)) else { return };
            let last = row.len().saturating_sub(1);
            let column = if page_node == NO_NODE_BYTE { last } else { usize::from(page_node).min(last) };
            if let Some(count) = row.get_mut(column) {
                *count += more;
            }
        }
        _ => {}
    }
}
