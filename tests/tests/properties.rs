//! Properties of merge, decode and model, over generated input.

use std::collections::BTreeSet;

use numatrace::merge::Merger;
use numatrace::model::{Limits, Meta, Model, Pages, Waiting};
use numatrace::snapshot::{HostNode, Snapshot, TRACK_SLOT_NS, TRACK_SLOTS, ThreadStats};
use numatrace::source::script::{Comm, Doing, KernelEvent, Script, Setup};
use numatrace::source::{Source, SourceStatus, apply};
use numatrace::topology::{Cpu, Topology};
use numatrace::units::NodeId;
use numatrace::window::{self, Packed};
use numatrace_common::abi::{
    Attributes, Cgroup, CgroupPath, Counters, Gap, Header, Migrate, NodeMemory, Placement, Quota, SelfCost, Slice,
    Task, Throttled, Tick, Totals, Touches, Where, Words, kind,
};
use numatrace_tests::middle;
use proptest::collection::vec;
use proptest::prelude::*;
use zerocopy::{FromBytes, Immutable, IntoBytes};

const START_NS: u64 = 1_000_000;
const CPUS: u16 = 4;

/// Two nodes of two CPUs.
fn topology() -> Topology {
    let cpu = |id: u32| Cpu { id, online: true, node: Some(id as usize / 2), core: id, llc: id / 2 * 2 };
    let node = |id: u32| HostNode { id: NodeId(id), cpus: vec![2 * id, 2 * id + 1], memory_bytes: 1 << 30 };
    Topology {
        cpus: (0..u32::from(CPUS)).map(cpu).collect(),
        nodes: vec![node(0), node(1)],
        distances: vec![vec![10, 21], vec![21, 10]],
    }
}

/// Everything is measured.
fn meta() -> Meta {
    Meta { start_ns: START_NS, pages: Pages::ALL, waits: Waiting::ALL, ..Meta::default() }
}

fn model(limits: Limits) -> Model {
    Model::new(meta(), topology(), limits)
}

/// One step of a generated kernel; ids are small, so that they are reused.
#[derive(Clone, Copy, Debug)]
enum Step {
    Fork(u32),
    Wake(u32, u16),
    /// The CPU takes the first thread that is queued and not on a CPU; what it leaves preempted, asleep or dead.
    Switch(u16, u8),
    Migrate(u32, u16, u16),
    /// A CPU quota stops the queue of the CPU, or lets it go on.
    Stop(u16, bool),
    Rename(u32),
    Untrack(u32),
    Tick,
}

fn step() -> impl Strategy<Value = Step> {
    let (tid, cpu) = (2..10u32, 0..CPUS);
    prop_oneof![
        2 => tid.clone().prop_map(Step::Fork),
        6 => (tid.clone(), cpu.clone()).prop_map(|(tid, cpu)| Step::Wake(tid, cpu)),
        12 => (cpu.clone(), 0..8u8).prop_map(|(cpu, how)| Step::Switch(cpu, how)),
        2 => (tid.clone(), cpu.clone(), cpu).prop_map(|(tid, from, to)| Step::Migrate(tid, from, to)),
        2 => (0..CPUS, any::<bool>()).prop_map(|(cpu, stopped)| Step::Stop(cpu, stopped)),
        1 => tid.clone().prop_map(Step::Rename),
        1 => tid.prop_map(Step::Untrack),
        2 => Just(Step::Tick),
    ]
}

/// Turns steps into a script that a kernel could follow: nobody runs twice, the dead do not wake.
fn script(steps: &[(u64, Step)]) -> Vec<KernelEvent> {
    let mut events = vec![KernelEvent::Attach {
        at: 0,
        tid: 1,
        tgid: None,
        comm: Some(Comm::Text("parent".into())),
        state: Doing::Blocked,
        cpu: 0,
        queued_for: 0,
        start: None,
    }];
    let (mut alive, mut queued, mut current, mut at) = (BTreeSet::new(), Vec::new(), [0u32; CPUS as usize], 0);
    for &(later, step) in steps {
        at += later;
        match step {
            Step::Fork(tid) if alive.insert(tid) => {
                events.push(KernelEvent::Fork { at, parent: 1, tid, tgid: None, comm: None, start: None });
            }
            Step::Wake(tid, cpu) if alive.contains(&tid) && !current.contains(&tid) && !queued.contains(&tid) => {
                queued.push(tid);
                events.push(KernelEvent::Waking { at, tid, by: current[usize::from(cpu)] });
                events.push(KernelEvent::Wakeup { at, tid, cpu });
            }
            Step::Switch(cpu, how) => {
                let prev = current[usize::from(cpu)];
                let next = if queued.is_empty() { 0 } else { queued.remove(0) };
                if prev == next {
                    continue;
                }
                let prev_state = [0, 1, 1, 1, 2, 0, 1, 0x80][usize::from(how)];
                match prev_state {
                    0 if prev != 0 => queued.push(prev),
                    0x80 => {
                        alive.remove(&prev);
                    }
                    _ => {}
                }
                current[usize::from(cpu)] = next;
                let preempt = how == 5;
                events.push(KernelEvent::Switch { at, cpu, prev, next, prev_state, state_now: None, preempt });
            }
            Step::Migrate(tid, from, to) => {
                let (state, on_rq, by, by_cpu) = (0, 2, 1, to);
                events.push(KernelEvent::Migrate {
                    at,
                    tid,
                    from,
                    to,
                    state,
                    on_rq,
                    by,
                    by_cpu,
                    stopper: false,
                    offline: false,
                });
            }
            Step::Stop(cpu, stopped) => events.push(KernelEvent::Stop { at, cpu, stopped }),
            Step::Rename(tid) => events.push(KernelEvent::Rename { at, tid, comm: Comm::Bytes(vec![27, 255]) }),
            Step::Untrack(tid) => events.push(KernelEvent::Untrack { at, tid }),
            Step::Tick => events.push(KernelEvent::Tick { at, totals: true }),
            _ => {}
        }
    }
    events.push(KernelEvent::Tick { at: at + 1, totals: true });
    events
}

fn setup(rings: Vec<Vec<u16>>) -> Setup {
    Setup { rings, ring_bytes: None, start_ns: START_NS, start_wall_ns: 0 }
}

/// Plays a script; `at_tick` sees each snapshot.
fn play(setup: Setup, events: Vec<KernelEvent>, limits: Limits, mut at_tick: impl FnMut(Snapshot)) {
    let mut script = Script::new(setup, events);
    let mut model = model(limits);
    loop {
        let status = script.next_batch(&mut |record| apply(record, &mut model)).expect("a possible script");
        let (snapshot, active) = (model.snapshot(), model.active());
        assert_eq!((active.cpu_ns, active.wait_ns), (snapshot.totals.cpu_ns, snapshot.totals.wait_ns));
        at_tick(snapshot);
        if status == SourceStatus::Ended {
            return;
        }
    }
}

/// Everything that is summed, by name.
fn summed(stats: &ThreadStats) -> [(&'static str, u64); 17] {
    let behind = stats.behind.unwrap_or_default();
    [
        ("cpu", stats.cpu_ns),
        ("wait", stats.wait_ns),
        ("blocked", stats.blocked_ns),
        ("voluntary", stats.switches.voluntary),
        ("involuntary", stats.switches.involuntary),
        ("wakeup count", stats.runq.wakeup.count),
        ("wakeup total", stats.runq.wakeup.total_ns),
        ("preempted count", stats.runq.preempted.count),
        ("preempted total", stats.runq.preempted.total_ns),
        ("cross-node", stats.migrations.cross_node),
        ("migrations", stats.migrations.total()),
        ("node moves", stats.node_moves),
        ("residency of node 0", stats.residency_ns[0]),
        ("residency of node 1", stats.residency_ns[1]),
        ("throttled", stats.throttled_wait_ns.unwrap_or_default()),
        ("behind own", behind.own_ns),
        ("behind others", behind.others_ns),
    ]
}

fn sums(snapshot: &Snapshot) -> [(&'static str, u64); 17] {
    let mut sums = summed(&ThreadStats { residency_ns: vec![0, 0], ..ThreadStats::default() });
    for thread in &snapshot.threads {
        for (sum, (_, value)) in sums.iter_mut().zip(summed(&thread.stats)) {
            sum.1 += value;
        }
    }
    sums
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn totals_are_the_sum_of_all_threads(steps in vec((0..50u64, step()), 1..200)) {
        play(setup(vec![vec![0, 1], vec![2, 3]]), script(&steps), Limits::default(), |snapshot| {
            assert_eq!(sums(&snapshot), summed(&snapshot.totals));
        });
    }

    #[test]
    fn eviction_changes_no_total(steps in vec((0..50u64, step()), 1..200), max_exited in 0..3usize) {
        let mut totals = Vec::new();
        for limits in [Limits::default(), Limits { max_exited, ..Limits::default() }] {
            let mut all = Vec::new();
            play(setup(vec![vec![0, 1, 2, 3]]), script(&steps), limits, |snapshot| {
                assert!(snapshot.threads.iter().filter(|t| t.exited).count() <= limits.max_exited);
                all.push(snapshot.totals);
            });
            totals.push(all);
        }
        let without = |mut all: Vec<ThreadStats>| {
            // Top lists are bounded, so merging them can leave out the light ones; 9 threads fit.
            all.iter_mut().for_each(|stats| stats.wakers.sort_by_key(|waker| waker.tid));
            // Names go with their threads.
            for stats in &mut all {
                stats.wakers.iter_mut().for_each(|waker| waker.comm = "".into());
                for culprit in &mut stats.waited_behind {
                    (culprit.comm, culprit.pid) = ("".into(), None);
                }
            }
            all
        };
        let evicting = without(totals.pop().expect("two runs"));
        prop_assert_eq!(without(totals.pop().expect("two runs")), evicting);
    }

    /// How CPUs share rings decides in what order records arrive; it does not matter.
    #[test]
    fn the_order_across_rings_does_not_matter(steps in vec((1..50u64, step()), 1..200)) {
        let mut shapes = Vec::new();
        for rings in [vec![vec![0, 1, 2, 3]], vec![vec![3], vec![2], vec![1], vec![0]], vec![vec![1, 3], vec![0, 2]]] {
            let mut all = Vec::new();
            play(setup(rings), script(&steps), Limits::default(), |snapshot| all.push(snapshot));
            shapes.push(all);
        }
        prop_assert_eq!(&shapes[0], &shapes[1]);
        prop_assert_eq!(&shapes[0], &shapes[2]);
    }

    /// Without loss: no number that only grows goes back, all time is accounted for, nothing counts twice.
    #[test]
    fn time_adds_up_and_never_runs_backwards(steps in vec((0..50u64, step()), 1..200)) {
        let steps: Vec<_> = steps.into_iter().filter(|(_, step)| !matches!(step, Step::Untrack(_))).collect();
        let events = script(&steps);
        let born = |tid, until| {
            let mut forks = events.iter().filter_map(|event| match event {
                KernelEvent::Fork { at, tid: forked, .. } if *forked == tid && *at <= until => Some(*at),
                _ => None,
            });
            forks.next_back()
        };
        let mut before: Option<Snapshot> = None;
        play(setup(vec![vec![0, 1], vec![2, 3]]), events.clone(), Limits::default(), |snapshot| {
            for thread in &snapshot.threads {
                let stats = &thread.stats;
                assert_eq!(stats.residency_ns.iter().sum::<u64>(), stats.cpu_ns, "{thread:?}");
                assert_eq!(stats.residency_cpu_ns.iter().map(|(_, ns)| ns).sum::<u64>(), stats.cpu_ns);
                let recorded: u64 = stats.runq.all.buckets.iter().map(|(_, count)| count).sum();
                assert_eq!(recorded, stats.runq.all.count);
                let lifetime = stats.cpu_ns + stats.wait_ns + stats.blocked_ns;
                let since = born(thread.tid.0, snapshot.duration_ns).unwrap_or(0);
                assert!(thread.exited || lifetime == snapshot.duration_ns - since, "born at {since}: {thread:?}");
            }
            if let Some(before) = &before {
                for (was, is) in summed(&before.totals).iter().zip(summed(&snapshot.totals)) {
                    assert!(was.1 <= is.1, "{was:?} -> {is:?}");
                }
            }
            before = Some(snapshot);
        });
        // Thread 1 was there from the start and never did anything.
        let last = before.expect("a tick");
        prop_assert_eq!(last.threads[0].stats.blocked_ns, last.duration_ns);
    }

    /// A snapshot that was packed is what it was, and differences from it are those from the snapshot itself.
    #[test]
    fn packing_loses_nothing(steps in vec((0..60_000_000u64, step()), 1..200)) {
        let mut before: Option<Snapshot> = None;
        play(setup(vec![vec![0, 1], vec![2, 3]]), script(&steps), Limits::default(), |snapshot| {
            // The history keeps events apart.
            let now = Snapshot { events: Vec::new(), ..snapshot.clone() };
            let packed = Packed::of(&now);
            assert_eq!(packed.whole(), now);
            for thread in &now.threads {
                assert_eq!(packed.thread(window::key(thread)).as_ref(), Some(thread));
            }
            if let Some(before) = before.replace(now.clone()) {
                let packed = Packed::of(&before);
                assert_eq!(packed.until(&now), window::since(&now, &before));
                assert_eq!(Packed::counts_since(&now, &packed).whole(), window::counts_since(&now, &before));
            }
        });
    }

    /// Of the last ten seconds a track has what residency has, CPU by CPU, up to its rounding.
    #[test]
    fn tracks_are_residency_in_slots(steps in vec((0..60_000_000u64, step()), 1..300)) {
        play(setup(vec![vec![0, 1], vec![2, 3]]), script(&steps), Limits::default(), |snapshot| {
            let oldest = snapshot.duration_ns.saturating_sub(TRACK_SLOT_NS * TRACK_SLOTS as u64);
            for thread in &snapshot.threads {
                let track = &thread.track;
                assert!(track.iter().count() <= TRACK_SLOTS && track.iter().is_sorted_by(|a, b| a.start_ns < b.start_ns), "{track:?}");
                let mut sums = [0; CPUS as usize];
                for slot in track {
                    assert!(slot.start_ns.is_multiple_of(TRACK_SLOT_NS) && slot.start_ns >= oldest, "{slot:?}");
                    assert!(!slot.cpus.is_empty() && slot.cpus.is_sorted_by(|a, b| a.1 >= b.1), "{slot:?}");
                    assert!(slot.cpus.iter().map(|(_, ns)| ns).sum::<u64>() <= TRACK_SLOT_NS + 4 * 4096, "{slot:?}");
                    slot.cpus.iter().for_each(|(cpu, ns)| sums[*cpu as usize] += ns);
                }
                let rounding = 4096 * track.iter().count() as u64;
                for (cpu, sum) in sums.into_iter().enumerate() {
                    let known = thread.stats.residency_cpu_ns.iter().find(|(known, _)| *known as usize == cpu);
                    let residency = known.map_or(0, |(_, ns)| ns);
                    assert!(sum <= residency + rounding, "{sum} of {residency} on CPU {cpu}: {thread:?}");
                    assert!(oldest > 0 || sum >= residency, "{sum} of {residency} on CPU {cpu}: {thread:?}");
                }
            }
        });
    }

    /// With any loss of slices, the counters of the last snapshot are what they are without.
    #[test]
    fn counters_are_exact_whatever_slices_are_lost(
        steps in vec((1..50u64, step()), 1..200),
        lost in vec((0..200usize, 1..3u32), 0..20),
    ) {
        let steps: Vec<_> = steps.into_iter().filter(|(_, step)| !matches!(step, Step::Switch(_, 7))).collect();
        let whole = script(&steps);
        let mut holes = whole.clone();
        for (nth, records) in lost {
            // Only in front of a switch, of which one event makes one slice.
            if let Some(KernelEvent::Switch { at, .. }) = holes.get(nth)
                && !matches!(holes.get(nth + 1), None | Some(KernelEvent::Lose { .. }))
            {
                let lose = KernelEvent::Lose { at: *at, records: records.min(1), skip: 0 };
                let after = KernelEvent::Lose { at: *at, records: 0, skip: 0 };
                holes.splice(nth..nth, [lose]);
                holes.splice(nth + 2..nth + 2, [after]);
            }
        }
        let mut results = Vec::new();
        for events in [whole, holes] {
            let mut last = None;
            play(setup(vec![vec![0, 1, 2, 3]]), events, Limits::default(), |snapshot| last = Some(snapshot));
            results.push(last.expect("a tick"));
        }
        for (a, b) in results[0].threads.iter().zip(&results[1].threads) {
            // Node moves and residency come from slices alone.
            prop_assert_eq!(&summed(&a.stats)[..9], &summed(&b.stats)[..9], "thread {}", a.tid);
            prop_assert!(b.stats.residency_ns.iter().sum::<u64>() <= b.stats.cpu_ns);
        }
        prop_assert_eq!(results[0].threads.len(), results[1].threads.len());
        prop_assert_eq!(results[1].loss.records_wanted, results[1].loss.records_received + results[1].loss.records_lost);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever turns are left without a record, nothing is lost, counters are what they are with all of them, and each turn that
    /// has none is counted.
    #[test]
    fn counters_are_exact_whatever_is_left_out(
        steps in vec((1..50u64, step()), 1..300),
        kept in vec((0..300usize, 0..7u32), 1..6),
    ) {
        let whole = script(&steps);
        let mut thinned = whole.clone();
        for (nth, power) in kept {
            let nth = nth.min(thinned.len() - 1);
            let at = thinned[nth].at();
            thinned.insert(nth, KernelEvent::Keep { at, every: 1 << power });
        }
        let mut results = Vec::new();
        for events in [whole, thinned] {
            let mut last = None;
            play(setup(vec![vec![0, 1], vec![2, 3]]), events, Limits::default(), |snapshot| last = Some(snapshot));
            results.push(last.expect("a tick"));
        }
        let [whole, thinned] = &results[..] else { panic!("two runs") };
        prop_assert_eq!(whole.threads.len(), thinned.threads.len());
        for (a, b) in whole.threads.iter().zip(&thinned.threads) {
            prop_assert_eq!(&summed(&a.stats)[..9], &summed(&b.stats)[..9], "thread {}", a.tid);
        }
        let shed = thinned.self_cost.as_ref().map_or(0, |cost| cost.shed.turns);
        let loss = &thinned.loss;
        prop_assert_eq!((loss.records_lost, loss.records_wanted), (0, loss.records_received));
        prop_assert_eq!(whole.loss.records_wanted, thinned.loss.records_wanted + shed);
        if let Some(cost) = &thinned.self_cost {
            prop_assert_eq!(cost.shed.intervals.iter().map(|interval| interval.turns).sum::<u64>(), shed);
        }
    }

    /// Begun at any tick, a recording counts what comes after it, whole numbers without loss and what the kernel sums with.
    #[test]
    fn a_recording_from_the_middle_counts_what_comes_after(
        steps in vec((0..50u64, step()), 1..150),
        ring_bytes in prop_oneof![Just(None), (300..2_000usize).prop_map(Some)],
        lost in vec((0..150usize, 0..3u32, 1..4u32), 0..4),
    ) {
        let mut events = script(&steps);
        if ring_bytes.is_some() {
            for (nth, skip, records) in lost {
                let at = events.get(nth).map(KernelEvent::at);
                events.splice(nth.min(events.len())..nth.min(events.len()), at.map(|at| KernelEvent::Lose { at, records, skip }));
            }
        }
        let setup = Setup { ring_bytes, ..setup(vec![vec![0, 1], vec![2, 3]]) };
        let batches = middle::batches(Script::new(setup, events)).expect("a possible script");
        let wrong = middle::check(&batches, &meta(), &topology(), Limits::default());
        prop_assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

/// A record of a known kind and the right size whose other bytes are anything.
fn hostile_record() -> impl Strategy<Value = Vec<u8>> {
    fn sized<T: FromBytes + IntoBytes + Immutable>(bytes: &[u8], kind: u16, small: bool) -> Vec<u8> {
        let mut record = bytes[..size_of::<T>()].to_vec();
        record[0..2].copy_from_slice(&kind.to_le_bytes());
        record[2..4].copy_from_slice(&(size_of::<T>() as u16).to_le_bytes());
        if small {
            // Few ids, CPUs and numbers, so that records meet; the rest stays wild.
            record[4] &= 3;
            record[5..8].fill(0);
            let tid = if kind == kind::SLICE { 32 } else { 16 };
            if record.len() > tid + 4 {
                record[tid] &= 3;
                record[tid + 1..tid + 4].fill(0);
            }
        }
        record
    }
    (vec(any::<u8>(), 256), 0..21u8, any::<bool>()).prop_map(|(bytes, which, small)| match which {
        0 => sized::<Slice>(&bytes, kind::SLICE, small),
        1 => sized::<Migrate>(&bytes, kind::MIGRATE, small),
        2 => {
            let mut record = sized::<Task>(&bytes, kind::TASK, small);
            record[28] &= 7;
            record[29] = 0;
            record
        }
        3 => sized::<Totals>(&bytes, kind::TOTALS, small),
        4 => sized::<Tick>(&bytes, kind::TICK, small),
        5 => sized::<Attributes>(&bytes, kind::ATTRIBUTES, small),
        6 => sized::<Counters>(&bytes, kind::COUNTERS, small),
        7 => sized::<Totals>(&bytes, kind::TOTALS_BASE, small),
        8 => sized::<Counters>(&bytes, kind::COUNTERS_BASE, small),
        11 => {
            let mut record = sized::<Touches>(&bytes, kind::TOUCHES, small);
            record[32..36].copy_from_slice(&[bytes[32] & 3, 0, bytes[34] & 3, 0]);
            record
        }
        12 => {
            let mut record = sized::<Words>(&bytes, kind::WORDS, small);
            record[16..24].copy_from_slice(&[bytes[16] & 3, 0, 0, 0, 0, 0, bytes[22] & 63, 0]);
            record
        }
        13 => {
            let mut record = sized::<Where>(&bytes, kind::WHERE, small);
            for at in [24, 28, 32] {
                record[at..at + 4].copy_from_slice(&[bytes[at] & 3, 0, 0, 0]);
            }
            record
        }
        14 => {
            let mut record = sized::<Placement>(&bytes, kind::PLACEMENT, small);
            record[20..24].copy_from_slice(&[bytes[20] & 1, 0, 2, 0]);
            record
        }
        15 => sized::<Gap>(&bytes, kind::GAP, small),
        16 => sized::<Throttled>(&bytes, kind::THROTTLED, small),
        17 => sized::<Throttled>(&bytes, kind::THROTTLED_BASE, small),
        18 => sized::<Quota>(&bytes, kind::QUOTA, small),
        19 => {
            let mut record = sized::<NodeMemory>(&bytes, kind::NODE_MEMORY, small);
            record[16..20].copy_from_slice(&[bytes[16] & 3, 0, 2, 0]);
            record
        }
        20 => {
            let mut record = sized::<SelfCost>(&bytes, kind::SELF_COST, small);
            record[60..64].copy_from_slice(&[bytes[60] & 7, 0, 0, 0]);
            record
        }
        9 => {
            let mut record = sized::<Cgroup>(&bytes, kind::CGROUP, small);
            record[20] &= 3;
            record[21..24].fill(0);
            record
        }
        _ => {
            // A path of one piece, more often than not.
            let mut record = sized::<CgroupPath>(&bytes, kind::CGROUP_PATH, small);
            record[20..24].copy_from_slice(&[0, 0, bytes[22] & 63, 0]);
            record
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_records_panics(
        records in vec(hostile_record(), 0..120),
        max_threads in 0..6usize,
        max_exited in 0..3usize,
    ) {
        let mut model = model(Limits {
            max_threads,
            max_exited,
            max_names: 2,
            max_loss_intervals: 2,
            max_cgroups: 1,
            max_words: 2,
            max_placements: 1,
            max_quotas: 3,
            max_gaps: 2,
        });
        for (nth, record) in records.iter().enumerate() {
            apply(record, &mut model);
            if nth % 16 == 0 || nth + 1 == records.len() {
                let snapshot = model.snapshot();
                prop_assert!(snapshot.threads.len() <= max_threads + max_exited);
                prop_assert!(snapshot.loss.intervals.len() <= 2);
                let cgroups: BTreeSet<_> = snapshot.threads.iter().filter_map(|thread| thread.cgroup.as_ref()).collect();
                prop_assert!(cgroups.iter().all(|path| path.len() <= 4 * 63));
            }
        }
        let unnamed = model.unnamed_tids(3);
        let due = model.attributes_due(2);
        // One that ceased to be a target and is one again keeps its place among those that ended.
        prop_assert!(due.len() <= 2.min(max_threads + max_exited));
        prop_assert!(unnamed.len() <= 3 && unnamed.iter().all(|tid| model.name_of(*tid).is_none()));
    }

    #[test]
    fn hostile_chunks_go_through_merge_and_decode(
        chunks in vec((0..4usize, vec(any::<u8>(), 0..400), vec(hostile_record(), 0..4), any::<u64>()), 0..30),
    ) {
        let (mut merger, mut model) = (Merger::new(3, 10, 1000), model(Limits::default()));
        for (ring, garbage, records, watermark) in &chunks {
            let mut bytes: Vec<u8> = records.concat();
            bytes.extend_from_slice(garbage);
            merger.push(*ring, &bytes);
            merger.drain_until(*watermark, |record| apply(record, &mut model));
            prop_assert!(merger.held_bytes() <= 1000);
        }
        let mut left = 0;
        merger.flush(|record| {
            left += 1;
            apply(record, &mut model);
        });
        prop_assert!(left <= 1000 / size_of::<Header>());
        prop_assert_eq!(merger.held_bytes(), 0);
        prop_assert_eq!(model.snapshot().matrices.migrations.len(), 2);
    }

    /// Whatever is pushed in whatever pieces comes out once; in order, where nothing was late.
    #[test]
    fn the_merge_gives_out_every_record_once(
        pushes in vec((0..3usize, vec(0..1000u64, 0..20), 0..1200u64), 0..40),
        window in 0..200u64,
    ) {
        let mut merger = Merger::new(3, window, 1 << 20);
        let (mut number, mut out, mut times) = (0u64, Vec::new(), Vec::new());
        let mut take = |record: &[u8]| {
            let tick = Tick::read_from_bytes(record).expect("a tick");
            out.push(tick.wall_ns);
            times.push(tick.header.ts);
        };
        for (ring, stamps, watermark) in &pushes {
            let mut chunk = Vec::new();
            for ts in stamps {
                chunk.extend_from_slice(Tick { header: Tick::header(*ts, 0, 0), wall_ns: number }.as_bytes());
                number += 1;
            }
            merger.push(*ring, &chunk);
            merger.drain_until(*watermark, &mut take);
        }
        merger.flush(&mut take);
        let mut newest = 0;
        let late = times.iter().filter(|ts| { let late = **ts < newest; newest = newest.max(**ts); late }).count();
        prop_assert_eq!(merger.late(), late as u64);
        out.sort_unstable();
        prop_assert_eq!(out, (0..number).collect::<Vec<_>>());
    }
}
