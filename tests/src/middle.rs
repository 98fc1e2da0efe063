//! A recording that begins in the middle of a trace, held against the trace itself: what it counts is what the trace had
//! counted then less what it had counted when the recording began.

use std::collections::{HashMap, HashSet};

use numatrace::decode::{Event, decode};
use numatrace::model::{Limits, Meta, Model, Waiting};
use numatrace::snapshot::{Snapshot, Thread, ThreadState, ThreadStats};
use numatrace::source::script::Script;
use numatrace::source::{Source, SourceError, SourceStatus, apply};
use numatrace::topology::Topology;
use numatrace::window::{ThreadKey, key};
use numatrace_common::abi::task_event;

/// What came up to one tick.
#[derive(Debug)]
pub struct Batch {
    records: Vec<Vec<u8>>,
    /// Pieces of input that were none.
    undecodable: u64,
}

/// Plays a script to its end.
pub fn batches(mut script: Script) -> Result<Vec<Batch>, SourceError> {
    let (mut batches, mut undecodable) = (Vec::new(), 0);
    loop {
        let mut records = Vec::new();
        let status = script.next_batch(&mut |record| records.push(record.to_vec()))?;
        let before = std::mem::replace(&mut undecodable, script.undecodable());
        batches.push(Batch { records, undecodable: undecodable - before });
        if status == SourceStatus::Ended {
            return Ok(batches);
        }
    }
}

fn feed(model: &mut Model, batch: &Batch) {
    model.note_undecodable(batch.undecodable);
    batch.records.iter().for_each(|record| apply(record, model));
}

/// Begins a recording at every tick of a trace, and one at every tick of each of the first few recordings; says what they
/// count otherwise than the trace. All numbers have to be the same while no record is lost; with losses the sums, of threads
/// of which the kernel's own arrived both at the beginning and at the tick.
pub fn check(batches: &[Batch], meta: &Meta, topology: &Topology, limits: Limits) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut trace = Trace::new(Model::new(meta.clone(), topology.clone(), limits));
    let mut recordings: Vec<Recording> = Vec::new();
    for (nth, batch) in batches.iter().enumerate() {
        trace.feed(batch);
        for recording in &mut recordings {
            feed(&mut recording.model, batch);
            recording.compare(&trace, nth, &mut wrong);
        }
        if wrong.len() > 20 {
            return wrong;
        }
        // A recording of a recording begins as one of the trace, and knows no thread better than that recording did.
        let again: Vec<Recording> = recordings
            .iter()
            .take(2)
            .map(|recording| {
                let name = format!("{} > {nth}", recording.name);
                let mut again = Recording::begin(name, &recording.model, &trace, topology, limits);
                again.known.retain(|tid| recording.knew(*tid));
                again
            })
            .collect();
        recordings.push(Recording::begin(nth.to_string(), &trace.model, &trace, topology, limits));
        recordings.extend(again);
    }
    wrong
}

/// The whole of it.
struct Trace {
    model: Model,
    now: Snapshot,
    /// Threads of which the kernel's own sums came with the last tick, and nothing after them. One that sleeps is not told, and
    /// cannot be told from one whose sums were lost.
    told: HashSet<u32>,
    /// Threads that ceased to be targets.
    left: HashSet<u32>,
    whole: bool,
}

impl Trace {
    fn new(model: Model) -> Trace {
        Trace { now: model.snapshot(), model, told: HashSet::new(), left: HashSet::new(), whole: true }
    }

    fn feed(&mut self, batch: &Batch) {
        feed(&mut self.model, batch);
        self.now = self.model.snapshot();
        let loss = &self.now.loss;
        self.told.clear();
        let mut newest = 0;
        for event in batch.records.iter().filter_map(|record| decode(record).ok()) {
            // What comes out of order is as good as lost.
            self.whole &= event.ts() >= newest;
            newest = newest.max(event.ts());
            match event {
                Event::Totals(totals) => drop(self.told.insert(totals.tid)),
                Event::Slice(slice) => drop(self.told.remove(&slice.tid)),
                Event::Migrate(migrate) => drop(self.told.remove(&migrate.tid)),
                Event::Task(task) if task.event == task_event::UNTRACKED => drop(self.left.insert(task.tid)),
                _ => {}
            }
        }
        self.whole &= loss.records_lost == 0 && loss.records_received == loss.records_wanted;
    }

    /// Numbers of this thread are exact.
    fn knows(&self, thread: &Thread) -> bool {
        self.whole || (self.told.contains(&thread.tid.0) && thread.state != ThreadState::Unknown)
    }
}

struct Recording {
    name: String,
    model: Model,
    before: HashMap<ThreadKey, Thread>,
    beginning: Snapshot,
    /// Threads whose numbers were exact when it began.
    known: HashSet<u32>,
    seen: HashSet<u32>,
}

impl Recording {
    fn begin(name: String, of: &Model, trace: &Trace, topology: &Topology, limits: Limits) -> Recording {
        let start_ns = of.now_ns();
        let meta = Meta { start_ns, start_wall_ns: of.wall_ns(start_ns), waits: Waiting::ALL, ..Meta::default() };
        let mut model = Model::new(meta, topology.clone(), limits);
        let mut seen = HashSet::new();
        of.opening(&mut |record| {
            match decode(record).expect("a record") {
                Event::Task(task) if task.event == task_event::SEEN => drop(seen.insert(task.tid)),
                _ => {}
            }
            apply(record, &mut model);
        });
        assert_eq!(opening(&model), opening(of), "a recording that has just begun begins like the trace");
        let threads = || trace.now.threads.iter();
        Recording {
            name,
            model,
            before: threads().map(|thread| (key(thread), thread.clone())).collect(),
            beginning: trace.now.clone(),
            known: threads().filter(|thread| trace.knows(thread)).map(|thread| thread.tid.0).collect(),
            seen,
        }
    }

    /// This thread's numbers were exact when it began, or it was not there.
    fn knew(&self, tid: u32) -> bool {
        self.known.contains(&tid) || !self.before.keys().any(|key| key.tid.0 == tid)
    }

    fn compare(&self, trace: &Trace, tick: usize, wrong: &mut Vec<String>) {
        let snapshot = self.model.snapshot();
        let mut fail = |what: String| wrong.push(format!("begun at {}, at tick {tick}: {what}", self.name));
        let mut ours: HashMap<u32, Vec<&Thread>> = HashMap::new();
        snapshot.threads.iter().for_each(|thread| ours.entry(thread.tid.0).or_default().push(thread));
        let mut theirs: HashMap<u32, Vec<&Thread>> = HashMap::new();
        trace.now.threads.iter().for_each(|thread| theirs.entry(thread.tid.0).or_default().push(thread));
        for (tid, theirs) in &theirs {
            let ours = ours.remove(tid).unwrap_or_default();
            let expected = theirs.iter().filter(|thread| !self.before.contains_key(&key(thread))).count()
                + usize::from(
                    self.seen.contains(tid) && theirs.iter().any(|thread| self.before.contains_key(&key(thread))),
                );
            if trace.whole && ours.len() < expected {
                fail(format!("thread {tid}: {} entries, expected {expected}", ours.len()));
            }
            for (ours, theirs) in ours.iter().rev().zip(theirs.iter().rev()) {
                for what in self.compare_thread(ours, theirs, trace) {
                    fail(format!("thread {tid}: {what}"));
                }
            }
        }
        if trace.whole {
            let less = |now: &ThreadStats, before: &ThreadStats| difference(&counted(now), &counted(before));
            let (now, before) = (&trace.now.totals, &self.beginning.totals);
            for (name, expected, is) in together(&less(now, before), &counted(&snapshot.totals)) {
                fail(format!("totals: {name} is {is}, expected {expected}"));
            }
            let (now, before) = (&trace.now.matrices.migrations, &self.beginning.matrices.migrations);
            let cells = |matrix: &[Vec<u64>]| matrix.iter().flatten().copied().collect::<Vec<_>>();
            let expected: Vec<u64> = cells(now).iter().zip(cells(before)).map(|(now, before)| now - before).collect();
            if cells(&snapshot.matrices.migrations) != expected {
                fail(format!("{:?} instead of {expected:?}", snapshot.matrices.migrations));
            }
        }
        let losses = |loss: &numatrace::snapshot::Loss| {
            let reasons = loss.by_reason;
            [loss.records_wanted, loss.records_received, reasons.ring_full, reasons.no_ring, reasons.undecodable]
        };
        let (now, before) = (losses(&trace.now.loss), losses(&self.beginning.loss));
        let expected: Vec<u64> = now.iter().zip(before).map(|(now, before)| now - before).collect();
        if losses(&snapshot.loss)[..] != expected {
            fail(format!("loss is {:?}, expected {expected:?}", losses(&snapshot.loss)));
        }
    }

    fn compare_thread(&self, ours: &Thread, theirs: &Thread, trace: &Trace) -> Vec<String> {
        let nothing = ThreadStats { residency_ns: vec![0; ours.stats.residency_ns.len()], ..ThreadStats::default() };
        let before = self.before.get(&key(theirs));
        let known = before.is_none() || self.known.contains(&ours.tid.0);
        if !known || !trace.knows(theirs) {
            return Vec::new();
        }
        let stats = before.map_or(&nothing, |thread| &thread.stats);
        let expected = difference(&counted(&theirs.stats), &counted(stats));
        let mut wrong: Vec<String> = together(&expected, &counted(&ours.stats))
            .filter(|(name, ..)| trace.whole || !FROM_RECORDS.contains(name))
            .map(|(name, expected, is)| format!("{name} is {is}, expected {expected}"))
            .collect();
        let doing = |thread: &Thread| (thread.state, thread.stats.waiting_now_ns, thread.exited, thread.comm.clone());
        if doing(ours) != doing(theirs) {
            wrong.push(format!("is {:?}, expected {:?}", doing(ours), doing(theirs)));
        }
        // A wait that was open counts as a whole. One that was cut off when a thread left is in no latency.
        let left = trace.left.contains(&ours.tid.0);
        let waited = theirs.stats.wait_ns - stats.runq.all.total_ns;
        if !left && trace.whole && ours.stats.wait_ns != waited {
            wrong.push(format!("wait is {}, expected {waited}", ours.stats.wait_ns));
        }
        // The same of its throttled part.
        if !left && trace.whole {
            let throttled = |stats: &ThreadStats| stats.throttled_wait_ns.unwrap_or_default();
            let (is, most) = (throttled(&ours.stats), throttled(&theirs.stats));
            let least = most.saturating_sub(throttled(stats));
            let waited_then = before.is_some_and(|thread| thread.state != ThreadState::Blocked);
            if is < least || is > if waited_then { most } else { least } {
                wrong.push(format!("throttled is {is}, expected {least} to {most}"));
            }
        }
        wrong
    }
}

fn opening(model: &Model) -> Vec<Event> {
    let mut events = Vec::new();
    model.opening(&mut |record| events.extend(decode(record)));
    events
}

/// Numbers that come from records alone.
const FROM_RECORDS: [&str; 8] = [
    "residency",
    "recorded",
    "node moves",
    "cross-node",
    "behind own",
    "behind others",
    "preempted by own",
    "preempted by others",
];

/// Everything that is counted, by name.
fn counted(stats: &ThreadStats) -> Vec<(&'static str, u64)> {
    let (runq, migrations) = (&stats.runq, &stats.migrations);
    let (behind, by) = (stats.behind.unwrap_or_default(), stats.preempted_by.unwrap_or_default());
    let causes = migrations.causes;
    let recorded = |latency: &numatrace::snapshot::Latency| latency.buckets.iter().map(|(_, count)| count).sum::<u64>();
    let mut all = vec![
        ("cpu", stats.cpu_ns),
        ("blocked", stats.blocked_ns),
        ("voluntary", stats.switches.voluntary),
        ("involuntary", stats.switches.involuntary),
        ("unseen", stats.unseen_events),
        ("wakeup count", runq.wakeup.count),
        ("wakeup total", runq.wakeup.total_ns),
        ("preempted count", runq.preempted.count),
        ("preempted total", runq.preempted.total_ns),
        ("recorded", recorded(&runq.wakeup)),
        ("recorded", recorded(&runq.preempted)),
        ("migrations", migrations.total()),
        ("smt", migrations.smt),
        ("llc", migrations.llc),
        ("node", migrations.node),
        ("cross-node", migrations.cross_node),
        ("by wakeup", causes.wakeup),
        ("by load balance", causes.load_balance),
        ("by active balance", causes.active_balance_or_affinity),
        ("by NUMA balancing", causes.numa_balancing),
        ("by hotplug", causes.hotplug),
        ("by other", causes.other),
        ("node moves", stats.node_moves),
        ("behind own", behind.own_ns),
        ("behind others", behind.others_ns),
        ("preempted by own", by.own.count),
        ("preempted by others", by.others.count),
    ];
    all.extend(stats.residency_ns.iter().map(|ns| ("residency", *ns)));
    all
}

fn difference(now: &[(&'static str, u64)], before: &[(&'static str, u64)]) -> Vec<(&'static str, u64)> {
    now.iter().zip(before).map(|((name, now), (_, before))| (*name, now.saturating_sub(*before))).collect()
}

/// Name, expected and real value where they differ.
fn together<'a>(
    expected: &'a [(&'static str, u64)],
    is: &'a [(&'static str, u64)],
) -> impl Iterator<Item = (&'static str, u64, u64)> + use<'a> {
    expected.iter().zip(is).filter(|(a, b)| a != b).map(|((name, expected), (_, is))| (*name, *expected, *is))
}
