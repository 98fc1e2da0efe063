//! Races and limits that no script can play: records made by hand.

use numatrace_common::abi::{self, CPU_WORDS, Counters, NO_CPU, NO_TID, PATH_PIECE, Tick};
use numatrace_common::wait::phase;

use super::*;
use crate::snapshot::{HostNode, Thread};
use crate::topology::Cpu;

pub(super) fn model(limits: Limits) -> Model {
    let cpu = |id| Cpu { id, online: true, node: Some(0), core: id, llc: 0 };
    let topology = Topology { cpus: vec![cpu(0), cpu(1)], nodes: vec![HostNode::default()], distances: vec![vec![10]] };
    Model::new(Meta { start_ns: 1000, ..Meta::default() }, topology, limits)
}

/// Turn number `seq` of thread 7: woken 10 before it ran for 30, asleep from `ts` on.
pub(super) fn slice(seq: u32, ts: u64) -> Slice {
    Slice {
        header: Slice::header(ts, 0, NO_CPU),
        wait_ns: 10,
        slice_ns: 30,
        tid: 7,
        tgid: 7,
        waker: NO_TID,
        seq,
        holder: NO_TID,
        prev: NO_TID,
        flags: slice_flags::WAIT_WAKEUP | slice_flags::OUT_VOLUNTARY,
        ..Slice::default()
    }
}

/// Totals of thread 7 after `turns` turns as in [`slice`], blocked 60 before each, numbered up to `seq`.
pub(super) fn totals(seq: u32, turns: u64, ts: u64, phase: u16, since: u64) -> Totals {
    Totals {
        header: Totals::header(ts, 0, 0),
        tid: 7,
        tgid: 7,
        seq,
        phase,
        since,
        cpu_ns: 30 * turns,
        blocked_ns: 60 * turns,
        wakeup_ns: 10 * turns,
        wakeup_count: turns,
        voluntary: turns,
        last_cpu: NO_CPU,
        ..Totals::default()
    }
}

pub(super) fn task(event: u16, tid: u32, ts: u64, start_ns: u64) -> Event {
    Event::Task(Task { header: Task::header(ts, 0, 0), tid, tgid: 7, event, start_ns, ..Task::default() })
}

pub(super) fn tick(ts: u64) -> Event {
    Event::Tick(Tick { header: Tick::header(ts, 0, 0), wall_ns: ts })
}

pub(super) fn only(model: &Model) -> Thread {
    let mut threads = model.snapshot().threads;
    assert_eq!(threads.len(), 1, "{threads:?}");
    threads.remove(0)
}

/// Counted waits, waits in the histogram, and time on CPU.
fn waits(thread: &Thread) -> (u64, u64, u64) {
    let wakeup = &thread.stats.runq.wakeup;
    (wakeup.count, wakeup.buckets.iter().map(|b| b.1).sum(), thread.stats.cpu_ns)
}

#[test]
fn totals_read_just_before_a_turn_ended_do_not_take_it_back() {
    let mut model = model(Limits::default());
    for (seq, ts) in [(1, 1100), (2, 1200), (3, 1300)] {
        model.apply(&Event::Slice(slice(seq, ts)));
    }
    // Read with two turns, stamped behind the third.
    model.apply(&Event::Totals(totals(2, 2, 1305, phase::RUNNING, 1270)));
    assert_eq!(waits(&only(&model)), (3, 3, 90));
    // It is blocked since 1300, whatever the older totals say.
    model.apply(&tick(1350));
    let thread = only(&model);
    assert_eq!((thread.stats.cpu_ns, thread.stats.blocked_ns), (90, 60 * 2 + 60 + 50));
}

#[test]
fn totals_read_before_a_loss_repair_what_they_can_with_the_last_turn_on_top() {
    let mut model = model(Limits::default());
    // The first turn is lost; totals cover it, but were read before the second turn, which came first.
    model.apply(&Event::Slice(slice(2, 1200)));
    assert_eq!(waits(&only(&model)), (1, 1, 30));
    model.apply(&Event::Totals(totals(1, 1, 1201, phase::RUNNING, 1170)));
    assert_eq!(waits(&only(&model)), (2, 1, 60));
    // The same turns once more from newer totals: still two.
    model.apply(&Event::Totals(totals(2, 2, 1250, phase::BLOCKED, 1200)));
    assert_eq!(waits(&only(&model)), (2, 1, 60));
}

#[test]
fn totals_much_older_than_what_is_known_are_left_out() {
    let mut model = model(Limits::default());
    for (seq, ts) in [(1, 1100), (2, 1200), (3, 1300), (4, 1400)] {
        model.apply(&Event::Slice(slice(seq, ts)));
    }
    model.apply(&Event::Totals(totals(1, 1, 1401, phase::RUNNING, 1170)));
    assert_eq!(waits(&only(&model)), (4, 4, 120));
}

#[test]
fn older_totals_do_not_undo_newer_ones() {
    let mut model = model(Limits::default());
    model.apply(&Event::Totals(totals(3, 3, 1305, phase::BLOCKED, 1300)));
    model.apply(&Event::Totals(totals(2, 2, 1250, phase::BLOCKED, 1200)));
    // Of the same turn, but read earlier.
    model.apply(&Event::Totals(totals(3, 3, 1301, phase::RUNNING, 1260)));
    model.apply(&tick(1400));
    let thread = only(&model);
    assert_eq!((waits(&thread), thread.stats.blocked_ns), ((3, 0, 90), 280));
}

#[test]
fn across_a_lost_turn_no_blocked_time_is_guessed() {
    let mut model = model(Limits::default());
    model.apply(&task(task_event::NEW, 7, 1000, 5));
    model.apply(&Event::Slice(slice(1, 1100)));
    model.apply(&Event::Slice(slice(3, 1300)));
    assert_eq!(only(&model).stats.blocked_ns, 60);
    model.apply(&Event::Totals(totals(3, 3, 1300, phase::BLOCKED, 1300)));
    assert_eq!(only(&model).stats.blocked_ns, 180);
}

#[test]
fn turns_that_totals_cover_already_only_fill_distributions() {
    let mut model = model(Limits::default());
    model.apply(&Event::Totals(totals(3, 3, 1300, phase::BLOCKED, 1300)));
    for (seq, ts) in [(1, 1100), (3, 1300), (2, 1200)] {
        model.apply(&Event::Slice(slice(seq, ts)));
    }
    assert_eq!(waits(&only(&model)), (3, 3, 90));
    model.apply(&tick(1400));
    assert_eq!(only(&model).stats.blocked_ns, 280);
    // The next one is news again.
    model.apply(&Event::Slice(slice(4, 1450)));
    assert_eq!(waits(&only(&model)), (4, 4, 120));
}

#[test]
fn the_number_of_a_turn_wraps() {
    let mut model = model(Limits::default());
    model.apply(&Event::Totals(totals(u32::MAX - 1, 10, 1100, phase::BLOCKED, 1100)));
    model.apply(&Event::Slice(slice(u32::MAX, 1200)));
    model.apply(&Event::Slice(slice(0, 1300)));
    assert_eq!(waits(&only(&model)), (12, 2, 360));
    model.apply(&Event::Totals(totals(1, 13, 1350, phase::RUNNING, 1320)));
    model.apply(&Event::Slice(slice(1, 1350)));
    assert_eq!(waits(&only(&model)), (13, 3, 390));
    model.apply(&Event::Slice(slice(2, 1400)));
    assert_eq!(waits(&only(&model)), (14, 4, 420));
}

#[test]
fn turns_out_of_order_count_once_each_and_the_newest_says_what_is_open() {
    let mut model = model(Limits::default());
    for (seq, ts) in [(1, 1100), (3, 1300), (2, 1200)] {
        model.apply(&Event::Slice(slice(seq, ts)));
    }
    assert_eq!(waits(&only(&model)), (3, 3, 90));
    model.apply(&Event::Totals(totals(3, 3, 1310, phase::BLOCKED, 1300)));
    model.apply(&tick(1400));
    assert_eq!((waits(&only(&model)), only(&model).stats.blocked_ns), ((3, 3, 90), 280));
}

#[test]
fn what_is_open_counts_up_to_where_reading_the_totals_began() {
    let mut model = model(Limits::default());
    let counters = |ts| Event::Counters(Counters { header: Counters::header(ts, 0, 0), ..Counters::default() });
    // Told blocked at 1205, woken at 1206; the tick ends at 1210.
    model.apply(&counters(1200));
    model.apply(&Event::Totals(totals(0, 0, 1205, phase::BLOCKED, 1100)));
    model.apply(&counters(1210));
    model.apply(&tick(1210));
    assert_eq!((only(&model).stats.blocked_ns, model.now_ns()), (100, 1200));
    // It waits since then: blocked time is 106, not less than what was shown.
    let waiting = Totals { open_blocked_ns: 106, ..totals(0, 0, 1301, phase::QUEUED, 1206) };
    model.apply(&counters(1300));
    model.apply(&Event::Totals(waiting));
    model.apply(&counters(1310));
    model.apply(&tick(1310));
    let stats = only(&model).stats;
    assert_eq!((stats.blocked_ns, stats.wait_ns, stats.waiting_now_ns), (106, 94, Some(94)));
}

#[test]
fn a_new_thread_without_its_birth_or_the_end_of_the_old_one() {
    let mut model = model(Limits::default());
    model.apply(&Event::Slice(Slice { flags: slice_flags::OUT_DEAD, ..slice(2, 1100) }));
    // The EXIT record and the NEW record are lost: time tells them apart.
    model.apply(&Event::Slice(slice(1, 1200)));
    // A late turn of the first one.
    model.apply(&Event::Slice(slice(1, 1050)));
    let threads = model.snapshot().threads;
    assert_eq!(threads.iter().map(|t| (t.exited, t.stats.cpu_ns)).collect::<Vec<_>>(), [(true, 60), (false, 30)]);
    let residency: Vec<_> = threads.iter().map(|t| t.stats.residency_ns.clone()).collect();
    assert_eq!(residency, [[60], [30]]);
}

#[test]
fn last_words_with_a_later_time_than_the_last_turn_are_still_the_dead_threads() {
    let mut model = model(Limits { max_exited: 0, ..Limits::default() });
    model.apply(&Event::Slice(Slice { flags: slice_flags::OUT_DEAD | slice_flags::WAIT_WAKEUP, ..slice(1, 1100) }));
    model.apply(&Event::Totals(totals(1, 1, 1101, phase::BLOCKED, 1100)));
    model.apply(&task(task_event::EXIT, 7, 1102, 5));
    let snapshot = model.snapshot();
    assert_eq!((snapshot.threads.len(), snapshot.dropped_threads), (0, 1));
    assert_eq!((snapshot.totals.cpu_ns, snapshot.totals.runq.wakeup.count), (30, 1));
}

#[test]
fn more_live_threads_than_the_limit_are_refused_and_taken_in_whole_when_there_is_place() {
    let mut model = model(Limits { max_threads: 2, ..Limits::default() });
    for tid in 1..=5 {
        model.apply(&task(task_event::NEW, tid, 1000, u64::from(tid)));
        model.apply(&Event::Slice(Slice { tid, ..slice(1, 1100) }));
    }
    let snapshot = model.snapshot();
    assert_eq!((snapshot.threads.len(), snapshot.refused_threads, snapshot.totals.cpu_ns), (2, 3, 60));
    assert_eq!((snapshot.dropped_threads, snapshot.totals.runq.wakeup.buckets.len()), (0, 1));
    // A death makes place for the next that does something; its Totals hold what was not taken in.
    model.apply(&task(task_event::EXIT, 1, 1200, 1));
    model.apply(&Event::Slice(Slice { tid: 4, ..slice(2, 1300) }));
    model.apply(&Event::Totals(Totals { tid: 4, ..totals(2, 2, 1310, phase::BLOCKED, 1300) }));
    let snapshot = model.snapshot();
    let cpu: Vec<_> = snapshot.threads.iter().map(|t| (t.tid.0, t.stats.cpu_ns)).collect();
    assert_eq!((cpu.as_slice(), snapshot.totals.cpu_ns), ([(1, 30), (2, 30), (4, 60)].as_slice(), 120));
}

#[test]
fn names_are_asked_for_once() {
    let mut model = model(Limits::default());
    let turn = Slice { waker: 42, holder: 43, prev: 0, ..slice(1, 1100) };
    model.apply(&Event::Slice(turn));
    assert_eq!(model.unnamed_tids(10), [42, 43]);
    assert_eq!(model.unnamed_tids(1), [42]);
    let name = |tid, comm: &[u8; 3]| {
        let mut task = Task { tid, event: task_event::NAME, ..Task::default() };
        task.comm[..3].copy_from_slice(comm);
        Event::Task(task)
    };
    model.apply(&name(42, b"abc"));
    // Nobody was found.
    model.apply(&name(43, &[0; 3]));
    assert_eq!((model.name_of(42), model.name_of(43), model.name_of(0)), (Some("abc"), None, Some("idle")));
    assert!(model.unnamed_tids(10).is_empty());
}

#[test]
fn seen_again_after_its_last_totals_of_the_first_time() {
    let mut model = model(Limits::default());
    model.apply(&task(task_event::SEEN, 7, 1000, 5));
    model.apply(&Event::Slice(slice(1, 1100)));
    model.apply(&Event::Totals(totals(1, 1, 1150, phase::BLOCKED, 1100)));
    model.apply(&task(task_event::UNTRACKED, 7, 1150, 5));
    model.apply(&task(task_event::SEEN, 7, 1500, 5));
    model.apply(&Event::Totals(totals(0, 0, 1500, phase::BLOCKED, 1500)));
    model.apply(&Event::Slice(slice(1, 1600)));
    model.apply(&tick(1600));
    assert_eq!(waits(&only(&model)), (2, 2, 60));
    model.apply(&Event::Totals(totals(1, 1, 1650, phase::BLOCKED, 1600)));
    assert_eq!(waits(&only(&model)), (2, 2, 60));
    // 60 and 50 before it was left, 60 and nothing since.
    assert_eq!(only(&model).stats.blocked_ns, 170);
}

/// Thread `tid` may use CPUs `0..cpus`, with a nice value.
fn attributes(tid: u32, ts: u64, nice: i32, cpus: u32) -> Event {
    let mut allowed = [0; CPU_WORDS];
    allowed[0] = (1 << cpus) - 1;
    let header = abi::Attributes::header(ts, 0, 0);
    Event::Attributes(abi::Attributes { header, tid, policy: 0, nice, rt_priority: 0, allowed })
}

/// Nice value and allowed CPUs of each thread.
fn sched(model: &Model) -> Vec<Option<(i32, String)>> {
    let of = |thread: Thread| {
        thread.sched.map(|sched| (sched.nice.expect("an ordinary thread"), sched.allowed_cpus.to_string()))
    };
    model.snapshot().threads.into_iter().map(of).collect()
}

#[test]
fn attributes_arrive_and_change() {
    let mut model = model(Limits::default());
    model.apply(&task(task_event::SEEN, 7, 1000, 5));
    assert_eq!(sched(&model), [None]);
    model.apply(&attributes(7, 1100, 0, 2));
    assert_eq!(sched(&model), [Some((0, "0-1".into()))]);
    model.apply(&attributes(7, 1300, 5, 1));
    // From before that, and late.
    model.apply(&attributes(7, 1200, -5, 2));
    assert_eq!(sched(&model), [Some((5, "0".into()))]);
    assert_eq!(only(&model).sched.map(|sched| (sched.policy.clone(), sched.rt_priority)), Some(("other".into(), None)));
}

#[test]
fn attributes_of_strangers_and_of_the_dead_are_ignored() {
    let mut model = model(Limits::default());
    model.apply(&attributes(9, 1000, 0, 1));
    assert!(model.snapshot().threads.is_empty());
    model.apply(&task(task_event::SEEN, 7, 1100, 5));
    // Asked before the model heard of this thread: of whoever had the id.
    model.apply(&attributes(7, 1050, 1, 1));
    assert_eq!(sched(&model), [None]);
    model.apply(&attributes(7, 1150, 2, 1));
    model.apply(&task(task_event::EXIT, 7, 1200, 5));
    model.apply(&attributes(7, 1250, 3, 2));
    assert_eq!(sched(&model), [Some((2, "0".into()))]);
}

#[test]
fn attributes_stay_with_the_owner_of_a_reused_id() {
    let mut model = model(Limits::default());
    model.apply(&task(task_event::SEEN, 7, 1000, 5));
    model.apply(&attributes(7, 1100, 1, 1));
    // Told of the next owner, before it is known that there is one: the old one keeps nothing that may not be its own.
    model.apply(&attributes(7, 1250, 2, 2));
    model.apply(&task(task_event::EXIT, 7, 1200, 5));
    model.apply(&task(task_event::NEW, 7, 1220, 6));
    assert_eq!(sched(&model), [None, None]);
    model.apply(&attributes(7, 1300, 2, 2));
    assert_eq!(sched(&model), [None, Some((2, "0-1".into()))]);
}

#[test]
fn attributes_that_did_not_change_outlive_a_late_answer() {
    let mut model = model(Limits::default());
    model.apply(&task(task_event::SEEN, 7, 1000, 5));
    model.apply(&attributes(7, 1100, 1, 1));
    model.apply(&attributes(7, 1250, 1, 1));
    model.apply(&Event::Slice(Slice { flags: slice_flags::OUT_DEAD, ..slice(1, 1200) }));
    // The end is lost, and so is the birth of the next.
    model.apply(&Event::Slice(slice(1, 1400)));
    assert_eq!(sched(&model), [Some((1, "0".into())), None]);
}

#[test]
fn new_threads_are_asked_about_first_and_then_those_asked_about_longest_ago() {
    let mut model = model(Limits::default());
    let sorted = |mut tids: Vec<u32>| {
        tids.sort_unstable();
        tids
    };
    (1..=4).for_each(|tid| model.apply(&task(task_event::SEEN, tid, 1000, u64::from(tid))));
    assert_eq!(sorted(model.attributes_due(9)), [1, 2, 3, 4]);
    // Nobody answered; with room for all of them they are asked about each time.
    assert_eq!(sorted(model.attributes_due(4)), [1, 2, 3, 4]);
    (5..=6).for_each(|tid| model.apply(&task(task_event::NEW, tid, 1100, u64::from(tid))));
    model.apply(&task(task_event::EXIT, 1, 1200, 1));
    let first = sorted(model.attributes_due(3));
    assert!(first.ends_with(&[5, 6]) && first[0] < 5, "{first:?}");
    let rest = sorted(model.attributes_due(2));
    assert_eq!(sorted([&first[..1], &rest].concat()), [2, 3, 4]);
    assert!(model.attributes_due(0).is_empty());
}

/// A path of at most 32 bytes.
fn path(cgroup: u32, path: &[u8]) -> Event {
    let mut piece = [0; PATH_PIECE];
    piece[..path.len()].copy_from_slice(path);
    let (header, total) = (abi::CgroupPath::header(1000, 0, 0), path.len() as u16);
    Event::CgroupPath(abi::CgroupPath { header, cgroup, offset: 0, total, piece })
}

fn member(tid: u32, ts: u64, cgroup: u32) -> Event {
    Event::Cgroup(abi::Cgroup { header: abi::Cgroup::header(ts, 0, 0), tid, cgroup })
}

pub(super) fn cgroups(model: &Model) -> Vec<Option<String>> {
    model.snapshot().threads.into_iter().map(|thread| thread.cgroup.map(|path| path.to_string())).collect()
}

#[test]
fn a_thread_is_in_the_cgroup_that_was_told_last() {
    let mut model = model(Limits::default());
    [path(1, b"/a"), path(2, b"/b")].iter().for_each(|path| model.apply(path));
    // Nobody is made by it.
    model.apply(&member(7, 1000, 1));
    model.apply(&task(task_event::SEEN, 7, 1000, 5));
    assert_eq!(cgroups(&model), [None]);
    model.apply(&member(7, 1100, 1));
    model.apply(&task(task_event::SEEN, 8, 1000, 6));
    model.apply(&member(8, 1100, 1));
    assert_eq!(cgroups(&model), [Some("/a".into()), Some("/a".into())]);
    model.apply(&member(7, 1200, 2));
    // A number without a path.
    model.apply(&member(8, 1200, 0));
    assert_eq!(cgroups(&model), [Some("/b".into()), None]);
}

#[test]
fn a_thread_that_ended_keeps_the_cgroup_that_was_told_before_its_end() {
    let mut model = model(Limits::default());
    [path(1, b"/a"), path(2, b"/b")].iter().for_each(|path| model.apply(path));
    for tid in [7, 8] {
        model.apply(&task(task_event::SEEN, tid, 1000, 5));
        model.apply(&member(tid, 1100, 1));
    }
    // Told again, as for a recording that begins; the other is the cgroup of the next thread with that id.
    model.apply(&member(7, 1250, 1));
    model.apply(&member(8, 1250, 2));
    [7, 8].iter().for_each(|tid| model.apply(&task(task_event::EXIT, *tid, 1200, 5)));
    model.apply(&member(7, 1300, 2));
    assert_eq!(cgroups(&model), [Some("/a".into()), None]);
}

#[test]
fn who_is_due_for_a_cgroup_does_not_depend_on_who_was_asked_about_attributes() {
    let mut model = model(Limits::default());
    (1..=4).for_each(|tid| model.apply(&task(task_event::SEEN, tid, 1000 + u64::from(tid), u64::from(tid))));
    let mut seen = Vec::new();
    for _ in 0..2 {
        model.attributes_due(4);
        seen.extend(model.cgroups_due(2));
    }
    seen.sort_unstable();
    assert_eq!(seen, [(1, 1001), (2, 1002), (3, 1003), (4, 1004)]);
}

#[test]
fn time_on_the_cpu_with_the_largest_number_is_counted() {
    const LAST: u16 = NO_CPU - 1;
    let cpu = Cpu { id: LAST.into(), online: true, node: Some(0), core: 0, llc: 0 };
    let topology = Topology { cpus: vec![cpu], nodes: vec![HostNode::default()], distances: vec![vec![10]] };
    let mut model = Model::new(Meta { start_ns: 1000, ..Meta::default() }, topology, Limits::default());
    model.apply(&Event::Slice(Slice { header: Slice::header(1100, LAST, NO_CPU), ..slice(1, 0) }));
    model.apply(&tick(1200));
    let totals = model.snapshot().totals;
    assert_eq!((totals.residency_cpu_ns, totals.residency_ns), (vec![(u32::from(LAST), 30)].into(), vec![30]));
}

/// CPUs and times of each slot of thread 7.
fn track(model: &Model) -> Vec<Vec<(u32, u64)>> {
    only(model).track.iter().map(|slot| slot.cpus.to_vec()).collect()
}

#[test]
fn the_track_has_the_open_turn_up_to_the_tick_and_the_whole_turn_once_it_ended() {
    let mut model = model(Limits::default());
    model.apply(&Event::Slice(slice(1, 1100)));
    model.apply(&Event::Totals(Totals { header: Totals::header(1310, 1, 0), ..totals(1, 1, 0, phase::RUNNING, 1250) }));
    model.apply(&tick(1310));
    assert_eq!(track(&model), [[(1, 60), (0, 30)]]);
    model.apply(&Event::Slice(Slice { header: Slice::header(1400, 1, 0), slice_ns: 150, ..slice(2, 0) }));
    model.apply(&tick(1450));
    assert_eq!(track(&model), [[(1, 150), (0, 30)]]);
}

#[test]
fn a_turn_of_seconds_that_goes_on_is_in_every_slot() {
    const SLOT: u64 = crate::snapshot::TRACK_SLOT_NS;
    let mut model = model(Limits::default());
    for second in 1..=20 {
        let now = 1000 + second * 4 * SLOT;
        model.apply(&Event::Totals(totals(0, 0, now, phase::RUNNING, 1000)));
        model.apply(&tick(now));
    }
    let track = only(&model).track;
    assert!(track.iter().all(|slot| *slot.cpus == [(0, SLOT)]), "{track:?}");
    let starts: Vec<u64> = track.iter().map(|slot| slot.start_ns).collect();
    assert_eq!(starts, (40..80).map(|slot| slot * SLOT).collect::<Vec<_>>());
}

#[test]
fn the_track_has_the_turns_that_arrived_each_once() {
    let mut model = model(Limits::default());
    // The second is lost, the third comes before the first, and totals have them all.
    model.apply(&Event::Slice(slice(3, 1300)));
    model.apply(&Event::Totals(totals(3, 3, 1310, phase::BLOCKED, 1300)));
    model.apply(&Event::Slice(slice(1, 1100)));
    model.apply(&tick(1400));
    assert_eq!((track(&model), only(&model).stats.cpu_ns), (vec![vec![(0, 60)]], 90));
    // Of a CPU that the machine does not have.
    model.apply(&Event::Slice(Slice { header: Slice::header(1500, 9, 0), ..slice(4, 0) }));
    model.apply(&tick(1600));
    assert_eq!(track(&model), [[(0, 60)]]);
}

#[test]
fn the_track_keeps_what_was_open_when_a_thread_was_left_and_goes_on_when_it_is_seen_again() {
    let mut model = model(Limits::default());
    model.apply(&task(task_event::SEEN, 7, 1000, 5));
    model.apply(&Event::Totals(totals(0, 0, 1010, phase::RUNNING, 1010)));
    model.apply(&task(task_event::UNTRACKED, 7, 1050, 5));
    model.apply(&tick(1100));
    assert_eq!(track(&model), [[(0, 40)]]);
    model.apply(&task(task_event::SEEN, 7, 1500, 5));
    model.apply(&Event::Slice(slice(1, 1600)));
    model.apply(&tick(1700));
    assert_eq!(track(&model), [[(0, 70)]]);
}

/// A machine of two nodes with a CPU each, 21 apart, where everything is measured.
fn two_nodes() -> Model {
    let cpu = |id: u32| Cpu { id, online: true, node: Some(id as usize), core: id, llc: id };
    let topology = Topology {
        cpus: vec![cpu(0), cpu(1)],
        nodes: vec![HostNode::default(), HostNode::default()],
        distances: vec![vec![10, 21], vec![21, 10]],
    };
    let meta = Meta { start_ns: 1000, pages: Pages::ALL, ..Meta::default() };
    Model::new(meta, topology, Limits::default())
}

fn touches(cpu_node: u16, page_node: u16, ts: u64, counts: [u64; 9]) -> Event {
    let header = abi::Touches::header(ts, 0, 0);
    Event::Touches(abi::Touches {
        header,
        tid: 7,
        tgid: 7,
        start_ns: 5,
        cpu_node,
        page_node,
        counts,
        ..abi::Touches::default()
    })
}

#[test]
fn page_touches_are_by_node_and_kind_and_the_zero_page_is_on_none() {
    let mut model = two_nodes();
    model.apply(&task(task_event::SEEN, 7, 1000, 5));
    // First touches, of a file, copies, huge ones, of the zero page, others, hint faults, moved pages.
    model.apply(&touches(0, 1, 1090, [6, 0, 1, 0, 0, 0, 0, 3, 0]));
    model.apply(&touches(0, 0, 1090, [2, 1, 0, 0, 0, 0, 4, 0, 0]));
    model.apply(&touches(0, abi::NO_NODE, 1090, [0, 0, 0, 0, 9, 1, 0, 0, 512]));
    model.apply(&tick(1100));
    model.apply(&touches(0, 1, 1190, [1, 0, 0, 0, 0, 0, 0, 0, 0]));
    for hint_units in [3, 4] {
        let header = abi::Touches::header(1190, 0, 0);
        model.apply(&Event::Touches(abi::Touches {
            header,
            tid: 7,
            tgid: 7,
            start_ns: 5,
            hint_units,
            ..abi::Touches::default()
        }));
    }
    model.apply(&tick(1200));
    let snapshot = model.snapshot();
    let stats = &snapshot.threads[0].stats;
    let told = stats.touches.expect("it is measured");
    let count = |local, remote, unknown| crate::snapshot::TouchCount { local, remote, unknown };
    assert_eq!((told.first_touch, told.file, told.other), (count(2, 7, 0), count(1, 0, 0), count(0, 0, 1)));
    assert_eq!((told.cow, told.huge, told.zero), (Some(count(0, 1, 0)), Some(count(0, 0, 0)), Some(count(0, 0, 9))));
    // A thread has rows for the nodes that it touched from, the whole all of them.
    assert_eq!(stats.touches_by_node, Some(vec![vec![3, 8]]));
    assert_eq!(snapshot.totals.touches_by_node, Some(vec![vec![3, 8], vec![0, 0]]));
    assert_eq!(stats.hint_faults.map(|hints| (hints.local, hints.remote)), Some((4, 3)));
    assert_eq!((stats.hint_fault_ns, snapshot.totals.hint_fault_ns), (Some(7 * 1_024), Some(7 * 1_024)));
    assert_eq!((stats.pages_migrated, stats.remote_share), (Some(512), Some(8.0 / 11.0)));
    assert_eq!(stats.cost_factor, Some((3.0 + 8.0 * 2.1) / 11.0));
    assert_eq!(snapshot.matrices.page_touches, snapshot.totals.touches_by_node);
}

#[test]
fn touches_that_are_told_after_a_threads_end_are_its_own_and_not_of_the_next_with_its_id() {
    let mut model = two_nodes();
    model.apply(&task(task_event::SEEN, 7, 1000, 5));
    model.apply(&task(task_event::EXIT, 7, 1050, 5));
    model.apply(&task(task_event::NEW, 7, 1060, 1060));
    model.apply(&touches(1, 1, 1090, [3, 0, 0, 0, 0, 0, 0, 0, 0]));
    // Whose these are nobody knows.
    let mut homeless = touches(1, 0, 1090, [0, 0, 0, 0, 0, 4, 0, 0, 0]);
    if let Event::Touches(record) = &mut homeless {
        record.tid = 0;
    }
    model.apply(&homeless);
    model.apply(&tick(1100));
    let snapshot = model.snapshot();
    let of = |nth: usize| snapshot.threads[nth].stats.touches.map(|touches| touches.first_touch.local);
    assert_eq!((of(0), of(1), snapshot.threads.len()), (Some(3), Some(0), 2));
    assert_eq!(snapshot.totals.touches.map(|touches| touches.total().all()), Some(7));
}

#[test]
fn places_come_with_their_texts_and_those_without_are_left_out() {
    let mut model = two_nodes();
    model.apply(&task(task_event::SEEN, 7, 1000, 5));
    for (id, text) in [(1, "heap\x1b"), (2, "fill"), (3, "main\nstart")] {
        let mut piece = [0; PATH_PIECE];
        piece[..text.len()].copy_from_slice(text.as_bytes());
        let header = abi::Words::header(1090, 0, 0);
        model.apply(&Event::Words(abi::Words { header, id, offset: 0, total: text.len() as u16, piece }));
    }
    let place = |symbol, stack, remote| {
        let header = abi::Where::header(1090, 0, 0);
        let place = abi::Where { header, tid: 7, tgid: 7, mapping: 1, symbol, stack, local: 1, remote, reserved: 0 };
        Event::Where(place)
    };
    [place(2, 0, 3), place(2, 3, 9), place(2, 0, 4), place(99, 0, 50)].iter().for_each(|event| model.apply(event));
    model.apply(&tick(1100));
    let told = only(&model).stats.locations.expect("it is measured");
    let told: Vec<_> =
        told.iter().map(|at| (&*at.mapping, &*at.symbol, at.stack.join("<"), at.local, at.remote)).collect();
    assert_eq!(told, [("heap\\x1b", "fill", "main<start".into(), 1, 9), ("heap\\x1b", "fill", String::new(), 2, 7)]);
}

#[test]
fn the_expected_remote_share_is_where_it_ran_against_where_memory_lies() {
    let mut model = two_nodes();
    model.apply(&task(task_event::SEEN, 7, 1000, 5));
    for (node, pages) in [(0, 25), (1, 75)] {
        let header = abi::Placement::header(1040, 0, 0);
        let part = abi::Placement { header, tgid: 7, node, nodes: 2, pages, unknown: 0, began_ns: 1010 };
        model.apply(&Event::Placement(part));
    }
    // 30 on CPU 0.
    model.apply(&Event::Slice(slice(1, 1050)));
    model.apply(&Event::Gap(abi::Gap { header: abi::Gap::header(1060, 1, 0), start_ns: 1020, end_ns: 1060 }));
    model.apply(&tick(1100));
    let snapshot = model.snapshot();
    assert_eq!(snapshot.threads[0].stats.expected_remote_share, Some(0.75));
    assert_eq!(snapshot.totals.expected_remote_share, Some(0.75));
    assert_eq!((snapshot.placement_pages, snapshot.placement_age_ns), (Some(vec![25, 75]), Some(60)));
    let gaps: Vec<_> = snapshot.gaps.iter().map(|gap| (gap.cpu, gap.start_ns, gap.end_ns)).collect();
    assert_eq!(gaps, [(1, 20, 60)]);
}

/// Everything that comes from records counts for the turns that have none; sums and counts are what the kernel's totals say.
#[test]
fn a_record_stands_for_as_many_turns_as_was_said() {
    let cost = |ts, every, shed| {
        let header = abi::SelfCost::header(ts, 0, 0);
        Event::SelfCost(abi::SelfCost { header, every, shed, ..abi::SelfCost::default() })
    };
    let mut model = model(Limits::default());
    model.apply(&task(task_event::SEEN, 7, 1000, 5));
    model.apply(&cost(1000, 1, 0));
    let woken = |seq, ts| Slice { waker: 3, prev: 9, prev_ran: 1, wait_ns: 2048, ..slice(seq, ts) };
    model.apply(&Event::Slice(woken(1, 1100)));
    model.apply(&cost(1200, 8, 0));
    model.apply(&Event::Slice(woken(4, 1300)));
    // The last turn of a thread always has a record of its own.
    let last = Slice { flags: slice_flags::WAIT_WAKEUP | slice_flags::OUT_DEAD, ..woken(10, 1400) };
    model.apply(&Event::Slice(last));
    model.apply(&Event::Totals(Totals { wakeup_ns: 20_480, ..totals(10, 10, 1400, phase::BLOCKED, 1400) }));
    model.apply(&cost(1500, 8, 8));
    model.apply(&tick(1500));
    let snapshot = model.snapshot();
    let stats = &snapshot.threads[0].stats;
    let counted = |latency: &crate::snapshot::Latency| latency.buckets.iter().map(|(_, count)| count).sum::<u64>();
    assert_eq!((stats.wakers[0].count, stats.waited_behind[0].count), (10, 10));
    assert_eq!((counted(&stats.runq.wakeup), counted(&snapshot.totals.runq.all)), (10, 10));
    assert_eq!((stats.runq.wakeup.count, stats.cpu_ns), (10, 300));
    // Held to what is known.
    assert_eq!((stats.residency_ns.iter().sum::<u64>(), stats.waited_behind[0].total_ns), (300, 10 * 2048));
    assert_eq!(snapshot.self_cost.map(|cost| (cost.shed.every, cost.shed.turns)), Some((8, 8)));
}
