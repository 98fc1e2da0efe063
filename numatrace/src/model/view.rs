//! Builds the [`Snapshot`]: sums, what is open laid over them, percentiles, names.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use numatrace_common::abi::{NO_CPU, NO_NODE, touch};
use numatrace_common::cause::Cause;
use numatrace_common::wait::phase;

use super::Model;
use super::latency::{FINE, Waits};
use super::numbers::{Numbers, Sums};
use super::pages::{Cell, Place, TopPlaces, Touched};
use super::quotas::tally;
use super::residency::Residency;
use super::thread::{End, OpenTime, Tracked};
use super::topk::{Heavy, heaviest};
use crate::snapshot::{
    Behind, Causes, Culprit, Latency, LocalRemote, Location, MAX_CULPRITS, MAX_LOCATIONS, MAX_WAKERS, Matrices,
    Migrations, RunQueue, SCHEMA, Snapshot, Switches, Thread, ThreadState, ThreadStats, Tool, TouchCount, Touches,
    Track, Waker,
};
use crate::units::{Pid, Tid};
use crate::window::cost_factor;

/// On-CPU time of a thread, or of all.
#[derive(Clone, Debug, Default)]
struct Spent {
    /// In order of CPU; of a thread the heaviest.
    by_cpu: Vec<(u16, u64)>,
    /// By position of the node.
    by_node: Vec<u64>,
    /// What records tell of, wherever it was.
    all_ns: u64,
}

impl Model {
    pub(super) fn view(&self) -> Snapshot {
        // Large ones, and many: no more room than they need.
        let mut threads: Vec<Thread> = Vec::with_capacity(self.table.iter().count());
        let mut sum = Sum::new(&self.table.gone);
        let mut spent = Spent::default();
        for thread in self.table.iter() {
            let open = thread.open_at(self.now_ns, self.before_ns);
            sum.add(thread, &open);
            threads.push(self.thread(thread, &open, &mut spent));
        }
        // An id that was reused has several entries: the earlier owner first.
        threads.sort_unstable_by_key(|thread| (thread.tid, thread.born_ns));
        let living: HashSet<u32> =
            self.table.iter().filter(|thread| thread.end.is_none()).map(|thread| thread.tgid).collect();
        let placement = self.placements.sum(&living);
        let mut totals = self.totals_of(sum);
        let nodes = self.topology.nodes.len();
        if let Some(matrix) = &mut totals.touches_by_node {
            // All of it, also where there was nothing.
            matrix.resize(nodes, Vec::new());
            matrix.iter_mut().for_each(|row| row.resize(nodes, 0));
        }
        let touches_by_node = totals.touches_by_node.clone();
        Snapshot {
            schema: SCHEMA,
            tool: Tool { name: "numatrace".into(), version: env!("CARGO_PKG_VERSION").into() },
            host: self.meta.host.clone(),
            target: self.meta.target.clone(),
            selection: None,
            start: rfc3339(self.meta.start_wall_ns),
            duration_ns: self.now_ns.saturating_sub(self.meta.start_ns),
            sources: self.meta.sources.clone(),
            loss: self.loss.snapshot(),
            self_cost: self.self_costs.view(),
            totals,
            threads,
            groups: None,
            dropped_threads: self.table.dropped,
            refused_threads: self.loss.refused().saturating_add(self.table.refused),
            matrices: Matrices { migrations: self.matrix(), page_touches: touches_by_node },
            placement_pages: placement.as_ref().map(|(pages, _)| pages.clone()),
            placement_age_ns: placement.map(|(_, oldest)| self.now_ns.saturating_sub(oldest)),
            gaps: self.gaps.iter().cloned().collect(),
            events: self.notable.recent(),
            throttle: self.meta.waits.quotas.then(|| self.quotas.view(&self.cgroup_sizes())),
            node_memory: self.node_memories.view().filter(|_| self.meta.waits.node_memory),
            findings: Vec::new(),
            incomplete: None,
        }
    }

    fn thread(&self, thread: &Tracked, open: &OpenTime, spent: &mut Spent) -> Thread {
        let numbers = &thread.numbers;
        self.spent_by(spent, numbers.residency.cpus(), &numbers.residency);
        self.add_open_turn(spent, thread, open);
        self.hold_to(spent, numbers.sums.cpu_ns.saturating_add(open.cpu_ns));
        let sums = numbers.sums;
        let stats = ThreadStats {
            runq: run_queue_of(thread, &sums),
            wakers: self.wakers(numbers.wakers.iter()),
            waited_behind: self.culprits(numbers.culprits.iter()),
            ..self.stats(numbers, &sums, open, spent)
        };
        let expected = self.expected_remote(thread.tgid, &stats.residency_ns).map(|(remote, all)| remote / all);
        let stats = ThreadStats { expected_remote_share: expected, ..stats };
        Thread {
            tid: Tid(thread.tid),
            pid: Pid(thread.tgid),
            ns_pid: thread.ns_pid,
            comm: Arc::clone(thread.comm.shown()),
            exited: matches!(thread.end, Some((End::Exited, _))),
            cgroup: thread.cgroup.as_ref().map(|cgroup| Arc::clone(&cgroup.path)),
            container: thread.cgroup.as_ref().and_then(|cgroup| self.containers.get(&cgroup.path)),
            sched: thread.attributes.as_ref().map(|attributes| Arc::clone(attributes.view())),
            state: state(thread, self.now_ns, self.before_ns),
            members: 0,
            born_ns: thread.born_ns,
            cpu: (thread.cpu != NO_CPU).then(|| u32::from(thread.cpu)),
            track: self.track(thread, open),
            stats,
        }
    }

    fn totals_of(&self, sum: Sum) -> ThreadStats {
        let mut spent = Spent::default();
        self.spent_by(&mut spent, self.cpus.spent(), &sum.numbers.residency);
        // Of each thread with the placement of its process, weighted by its time on CPU.
        let (mut remote, mut all) = (0.0, 0.0);
        let mut own = Spent::default();
        for thread in self.table.iter() {
            let open = thread.open_at(self.now_ns, self.before_ns);
            self.add_open_turn(&mut spent, thread, &open);
            self.spent_by(&mut own, std::iter::empty(), &thread.numbers.residency);
            self.add_open_turn(&mut own, thread, &open);
            if let Some(parts) = self.expected_remote(thread.tgid, &own.by_node) {
                (remote, all) = (remote + parts.0, all + parts.1);
            }
        }
        self.hold_to(&mut spent, sum.numbers.sums.cpu_ns.saturating_add(sum.open.cpu_ns));
        let mut both = Waits::new(FINE);
        both.add(&self.wakeup);
        both.add(&self.preempted);
        let whole = both.clone();
        let flat = |heavy: Heavy| heavy.into_iter().map(|(tid, (weight, count))| (tid, weight, count));
        let sums = sum.numbers.sums;
        let mut runq = run_queue(&sums, &self.wakeup, &self.preempted, &both);
        if let Some((count, total_ns)) = self.loss.waits_under_loss() {
            // Threads can be missing, all of whose last records were lost: the kernel's own sums have their waits.
            runq.all.count = runq.all.count.max(count);
            runq.all.total_ns = runq.all.total_ns.max(total_ns);
        }
        runq.unthrottled = self.meta.waits.throttled.then(|| Box::new(self.unthrottled(whole, &runq.all, &sum)));
        ThreadStats {
            runq,
            wakers: self.wakers(flat(sum.wakers)),
            waited_behind: self.culprits(flat(sum.culprits)),
            expected_remote_share: (all > 0.0).then(|| remote / all),
            ..self.stats(&sum.numbers, &sums, &sum.open, &spent)
        }
    }

    /// All waits, each without its throttled part: those without any are as they are.
    fn unthrottled(&self, mut waits: Waits<u64>, all: &Latency, sum: &Sum) -> Latency {
        waits.take_off(&self.throttled);
        waits.add(&self.unthrottled);
        let Sums { throttled_ns, cut_throttled_ns, .. } = sum.numbers.sums;
        waits.latency(all.count, all.total_ns.saturating_sub(throttled_ns.saturating_sub(cut_throttled_ns)))
    }

    /// The cgroups of threads that live, and how many there are in each.
    fn cgroup_sizes(&self) -> Vec<(&str, u64)> {
        let living = self.table.iter().filter(|thread| thread.end.is_none());
        tally(living.filter_map(|thread| thread.cgroup.as_ref()).map(|cgroup| &cgroup.path))
    }

    /// What a thread and the totals have in common.
    fn stats(&self, numbers: &Numbers, sums: &Sums, open: &OpenTime, spent: &Spent) -> ThreadStats {
        let wait_ns = sums.latency_ns().saturating_add(sums.cut_wait_ns).saturating_add(open.wait_ns);
        let measured = self.meta.waits;
        ThreadStats {
            cpu_ns: sums.cpu_ns.saturating_add(open.cpu_ns),
            wait_ns,
            throttled_wait_ns: measured
                .throttled
                .then(|| sums.throttled_ns.saturating_add(open.throttled_ns).min(wait_ns)),
            behind: measured.owners.then(|| self.at_most(numbers.behind, sums, open)),
            preempted_by: measured.owners.then_some(numbers.preempted_by),
            blocked_ns: sums.blocked_ns.saturating_add(open.blocked_ns),
            waiting_now_ns: open.waiting_now_ns,
            switches: Switches { voluntary: sums.voluntary, involuntary: sums.involuntary },
            unseen_events: numbers.unseen,
            migrations: migrations(numbers),
            node_moves: numbers.node_moves,
            residency_ns: spent.by_node.clone(),
            residency_cpu_ns: spent.by_cpu.iter().map(|(cpu, ns)| (u32::from(*cpu), *ns)).collect(),
            ..self.pages(numbers.touched.as_deref())
        }
    }

    /// Turns that ended, by CPU and by node, in place of what is there.
    fn spent_by(&self, spent: &mut Spent, by_cpu: impl Iterator<Item = (u16, u64)>, residency: &Residency) {
        spent.by_cpu.clear();
        spent.by_cpu.extend(by_cpu);
        spent.by_node.clear();
        spent.by_node.extend_from_slice(residency.nodes());
        spent.by_node.resize(self.topology.nodes.len(), 0);
        spent.all_ns = residency.all_ns();
    }

    /// Time on CPU, and how much of it would be remote accesses if a thread that ran so long on each node accessed all pages
    /// of its process alike; `None` where the placement of the process is not known, or it did not run.
    fn expected_remote(&self, tgid: u32, residency_ns: &[u64]) -> Option<(f64, f64)> {
        let placed = self.placements.of(tgid)?;
        let (mut remote, mut all) = (0.0, 0.0);
        for (node, ns) in residency_ns.iter().enumerate() {
            remote += *ns as f64 * placed.share_elsewhere(node)?;
            all += *ns as f64;
        }
        (all > 0.0).then_some((remote, all))
    }

    /// What is measured of page touches: all of it, also where there were none.
    fn pages(&self, touched: Option<&Touched>) -> ThreadStats {
        let measured = self.meta.pages;
        let nothing = Touched::default();
        let touched = touched.unwrap_or(&nothing);
        let nodes = self.topology.nodes.len();
        let mut kinds = [TouchCount::default(); touch::KINDS];
        let mut matrix: Vec<Vec<u64>> = Vec::new();
        let mut hints = LocalRemote::default();
        let mut migrated = 0u64;
        for (cell, counts) in &touched.cells {
            let known = cell.cpu_node != NO_NODE && cell.page_node != NO_NODE;
            for (kind, (sum, count)) in kinds.iter_mut().zip(counts.iter()).enumerate() {
                let part = match () {
                    () if !known => &mut sum.unknown,
                    () if cell.cpu_node == cell.page_node => &mut sum.local,
                    () => &mut sum.remote,
                };
                *part = part.saturating_add(*count);
                if known && kind != usize::from(touch::ZERO) && *count > 0 {
                    add_at(&mut matrix, cell, nodes, *count);
                }
            }
            let of = |kind: u8| counts.get(usize::from(kind)).copied().unwrap_or(0);
            hints.local = hints.local.saturating_add(of(touch::HINT_LOCAL));
            hints.remote = hints.remote.saturating_add(of(touch::HINT_REMOTE));
            migrated = migrated.saturating_add(of(touch::MIGRATED));
        }
        let [first_touch, file, cow, huge, zero, other] = kinds;
        let touches = Touches {
            first_touch,
            file,
            cow: measured.cow.then_some(cow),
            huge: measured.huge.then_some(huge),
            zero: measured.zero.then_some(zero),
            other,
        };
        ThreadStats {
            remote_share: touches.total().remote_share().filter(|_| measured.touches),
            cost_factor: cost_factor(&matrix, &self.topology.distances).filter(|_| measured.touches),
            touches: measured.touches.then_some(touches),
            touches_by_node: measured.touches.then_some(matrix),
            hint_faults: measured.hints.then_some(hints),
            hint_fault_ns: measured.hint_time.then_some(touched.hint_ns),
            pages_migrated: measured.migrated.then_some(migrated),
            locations: measured.places.then(|| locations(&touched.places)),
            ..ThreadStats::default()
        }
    }

    fn add_open_turn(&self, spent: &mut Spent, thread: &Tracked, open: &OpenTime) {
        if open.cpu_ns == 0 || !self.cpus.has(thread.cpu) {
            return;
        }
        spent.all_ns = spent.all_ns.saturating_add(open.cpu_ns);
        if let Some(ns) = self.cpus.node(thread.cpu).and_then(|node| spent.by_node.get_mut(usize::from(node))) {
            *ns = ns.saturating_add(open.cpu_ns);
        }
        match spent.by_cpu.binary_search_by_key(&thread.cpu, |(cpu, _)| *cpu) {
            Ok(at) => spent.by_cpu[at].1 = spent.by_cpu[at].1.saturating_add(open.cpu_ns),
            Err(at) => spent.by_cpu.insert(at, (thread.cpu, open.cpu_ns)),
        }
    }

    /// Where turns have no record, where a thread ran is an estimate: it is held to the time that is known, as far as there are records at all.
    fn hold_to(&self, spent: &mut Spent, cpu_ns: u64) {
        let estimated = spent.all_ns;
        if estimated == 0 || !self.self_costs.has_left_out() {
            return;
        }
        let scaled = |ns: u64| {
            let scaled = u128::from(ns) * u128::from(cpu_ns) / u128::from(estimated);
            u64::try_from(scaled).unwrap_or(u64::MAX)
        };
        spent.by_cpu.iter_mut().for_each(|(_, ns)| *ns = scaled(*ns));
        spent.by_node.iter_mut().for_each(|ns| *ns = scaled(*ns));
    }

    /// The same of time that was waited while others ran: no more than was waited.
    fn at_most(&self, behind: Behind, sums: &Sums, open: &OpenTime) -> Behind {
        let waited = sums.latency_ns().saturating_add(sums.cut_wait_ns).saturating_add(open.wait_ns);
        let estimated = behind.own_ns.saturating_add(behind.others_ns);
        if estimated <= waited || !self.self_costs.has_left_out() {
            return behind;
        }
        let scaled = |ns: u64| (u128::from(ns) * u128::from(waited) / u128::from(estimated)) as u64;
        Behind { own_ns: scaled(behind.own_ns), others_ns: scaled(behind.others_ns) }
    }

    fn track(&self, thread: &Tracked, open: &OpenTime) -> Track {
        let open_turn = thread.open_turn(open).filter(|turn| self.cpus.has(turn.cpu));
        thread.track.slots(self.now_ns.saturating_sub(self.meta.start_ns), open_turn.as_ref())
    }

    /// Empty where it is not known.
    fn name(&self, tid: u32) -> Arc<str> {
        Arc::clone(self.shared_name_of(tid).unwrap_or(self.names.nobody()))
    }

    fn wakers(&self, all: impl Iterator<Item = (u32, u64, u64)>) -> Vec<Waker> {
        heaviest(all, MAX_WAKERS)
            .into_iter()
            .map(|(tid, _, count)| Waker { tid: Tid(tid), comm: self.name(tid), count })
            .collect()
    }

    fn culprits(&self, all: impl Iterator<Item = (u32, u64, u64)>) -> Vec<Culprit> {
        heaviest(all, MAX_CULPRITS)
            .into_iter()
            .map(|(tid, total_ns, count)| Culprit {
                tid: Tid(tid),
                comm: self.name(tid),
                pid: self.table.current(tid).map(|thread| Pid(thread.tgid)),
                total_ns,
                count,
            })
            .collect()
    }

    fn matrix(&self) -> Vec<Vec<u64>> {
        // `max(1)`: a machine without nodes has an empty matrix, and chunks of nothing are not allowed.
        self.migrations.chunks(self.topology.nodes.len().max(1)).map(<[u64]>::to_vec).collect()
    }

    pub(super) fn unnamed(&self, max: usize) -> Vec<u32> {
        let mut unnamed = BTreeSet::new();
        let all = self.table.iter().map(|thread| &thread.numbers).chain([&self.table.gone]);
        for numbers in all {
            let shown = heaviest(numbers.wakers.iter(), MAX_WAKERS)
                .into_iter()
                .chain(heaviest(numbers.culprits.iter(), MAX_CULPRITS));
            for (tid, ..) in shown {
                if unnamed.len() >= max {
                    return unnamed.into_iter().collect();
                }
                if tid != 0 && self.names.get(tid).is_none() && self.name_of(tid).is_none() {
                    unnamed.insert(tid);
                }
            }
        }
        unnamed.into_iter().collect()
    }
}

/// Sums over all threads.
struct Sum {
    numbers: Numbers,
    open: OpenTime,
    wakers: Heavy,
    culprits: Heavy,
}

impl Sum {
    /// Begins with those that have no entry any more.
    fn new(gone: &Numbers) -> Sum {
        let mut sum = Sum {
            numbers: Numbers::default(),
            open: OpenTime::default(),
            wakers: Heavy::new(),
            culprits: Heavy::new(),
        };
        sum.add_numbers(gone);
        sum
    }

    fn add_numbers(&mut self, numbers: &Numbers) {
        numbers.add_counts_to(&mut self.numbers);
        numbers.wakers.add_to(&mut self.wakers);
        numbers.culprits.add_to(&mut self.culprits);
    }

    fn add(&mut self, thread: &Tracked, open: &OpenTime) {
        self.add_numbers(&thread.numbers);
        self.open.cpu_ns = self.open.cpu_ns.saturating_add(open.cpu_ns);
        self.open.wait_ns = self.open.wait_ns.saturating_add(open.wait_ns);
        self.open.blocked_ns = self.open.blocked_ns.saturating_add(open.blocked_ns);
        self.open.throttled_ns = self.open.throttled_ns.saturating_add(open.throttled_ns);
        // `None` is less than any wait.
        self.open.waiting_now_ns = self.open.waiting_now_ns.max(open.waiting_now_ns);
    }
}

/// Adds to a cell. Rows come with their first touch: most threads touch from one node.
fn add_at(matrix: &mut Vec<Vec<u64>>, cell: &Cell, nodes: usize, count: u64) {
    let (row, column) = (usize::from(cell.cpu_node), usize::from(cell.page_node));
    matrix.resize(matrix.len().max(row + 1), Vec::new());
    matrix[row].resize(nodes, 0);
    if let Some(sum) = matrix[row].get_mut(column) {
        *sum = sum.saturating_add(count);
    }
}

/// Most remote touches first.
fn locations(places: &TopPlaces) -> Vec<Location> {
    let mut all: Vec<&Place> = places.0.iter().collect();
    all.sort_by(|a, b| {
        b.weight()
            .cmp(&a.weight())
            .then_with(|| (&a.mapping, &a.symbol, &a.stack).cmp(&(&b.mapping, &b.symbol, &b.stack)))
    });
    all.truncate(MAX_LOCATIONS);
    let lines = |stack: &Option<Arc<str>>| stack.iter().flat_map(|text| text.split('\n')).map(str::to_owned).collect();
    let told = all.into_iter().map(|place| Location {
        mapping: Arc::clone(&place.mapping),
        symbol: Arc::clone(&place.symbol),
        stack: lines(&place.stack),
        local: place.counts[0],
        remote: place.counts[1],
    });
    told.collect()
}

/// Of one thread.
fn run_queue_of(thread: &Tracked, sums: &Sums) -> RunQueue {
    let wakeup = thread.wakeup.latency(sums.wakeup_count, sums.wakeup_ns);
    let preempted = thread.preempted.latency(sums.preempted_count, sums.preempted_ns);
    let count = sums.wakeup_count.saturating_add(sums.preempted_count);
    let all = thread.wakeup.latency_of_both(&thread.preempted, count, sums.latency_ns());
    RunQueue { wakeup, preempted, all, unthrottled: None }
}

fn run_queue(sums: &Sums, wakeup: &Waits<u64>, preempted: &Waits<u64>, both: &Waits<u64>) -> RunQueue {
    RunQueue {
        wakeup: wakeup.latency(sums.wakeup_count, sums.wakeup_ns),
        preempted: preempted.latency(sums.preempted_count, sums.preempted_ns),
        all: both.latency(sums.wakeup_count.saturating_add(sums.preempted_count), sums.latency_ns()),
        unthrottled: None,
    }
}

fn migrations(numbers: &Numbers) -> Migrations {
    let classified = numbers.levels.iter().fold(0u64, |sum, n| sum.saturating_add(*n));
    let [smt, llc, node, cross_node] = numbers.levels;
    let cause = |cause: Cause| numbers.causes[cause as usize];
    Migrations {
        smt,
        llc,
        node,
        cross_node,
        unclassified: numbers.migrations.saturating_sub(classified),
        causes: Causes {
            wakeup: cause(Cause::Wakeup),
            load_balance: cause(Cause::LoadBalance),
            active_balance_or_affinity: cause(Cause::ActiveBalanceOrAffinity),
            numa_balancing: cause(Cause::NumaBalancing),
            hotplug: cause(Cause::Hotplug),
            other: cause(Cause::Other),
        },
    }
}

fn state(thread: &Tracked, now_ns: u64, before_ns: u64) -> ThreadState {
    if matches!(thread.end, Some((End::Exited, _))) {
        return ThreadState::Exited;
    }
    match thread.phase_at(now_ns) {
        _ if thread.is_stale(before_ns) => ThreadState::Unknown,
        phase::RUNNING => ThreadState::Running,
        phase::QUEUED => ThreadState::Waiting,
        phase::BLOCKED => ThreadState::Blocked,
        _ => ThreadState::Unknown,
    }
}

/// UTC. Empty for a time that no calendar has.
fn rfc3339(wall_ns: u64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(wall_ns)).map(|time| time.to_string()).unwrap_or_default()
}
