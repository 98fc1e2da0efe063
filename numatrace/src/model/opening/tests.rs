//! What a recording counts that begins in the middle, record by record. That it counts what the trace does is a property
//! (tests/tests/properties.rs) and holds for every scenario.

use numatrace_common::abi::{Counters, Header, Slice, Totals, kind, slice_flags, task_event};
use numatrace_common::wait::phase;

use crate::decode::{Event, decode};
use crate::model::tests::{cgroups, model, only, slice, task, tick, totals};
use crate::model::{Limits, Meta, Model};
use crate::snapshot::ThreadState;

fn opening(model: &Model) -> Vec<Event> {
    let mut records = Vec::new();
    model.opening(&mut |record| records.push(decode(record).expect("a record")));
    records
}

/// A recording of the same machine that begins at the last tick.
fn begun(at: &Model) -> Model {
    let meta = Meta { start_ns: at.now_ns(), ..Meta::default() };
    let mut recording = Model::new(meta, at.topology.clone(), Limits::default());
    opening(at).iter().for_each(|event| recording.apply(event));
    recording
}

/// Thread 7 after a turn up to 1100 and a tick at 1200, up to which it was blocked.
fn blocked() -> Model {
    let mut model = model(Limits::default());
    model.apply(&task(task_event::NEW, 7, 1000, 5));
    model.apply(&Event::Slice(slice(1, 1100)));
    model.apply(&Event::Totals(totals(1, 1, 1199, phase::BLOCKED, 1100)));
    model.apply(&tick(1200));
    model
}

/// The same, on CPU 0 since 1150, after a wait of 20 and 30 blocked.
fn running() -> Model {
    let mut model = blocked();
    let totals = Totals { open_wait_ns: 20, open_blocked_ns: 30, ..totals(1, 1, 1200, phase::RUNNING, 1150) };
    model.apply(&Event::Totals(totals));
    model.apply(&tick(1201));
    model
}

/// Time on CPU, waiting, blocked, and by the records.
fn times(model: &Model) -> (u64, u64, u64, u64) {
    let stats = only(model).stats;
    (stats.cpu_ns, stats.wait_ns, stats.blocked_ns, stats.residency_ns[0])
}

#[test]
fn nothing_is_counted_at_the_beginning_and_what_goes_on_counts_from_there() {
    let mut recording = begun(&blocked());
    assert_eq!(times(&recording), (0, 0, 0, 0));
    recording.apply(&tick(1300));
    assert_eq!((times(&recording), only(&recording).state), ((0, 0, 100, 0), ThreadState::Blocked));
    let mut recording = begun(&running());
    // The wait before the turn, as a whole.
    assert_eq!(times(&recording), (0, 20, 0, 0));
    recording.apply(&tick(1301));
    assert_eq!((times(&recording), only(&recording).state), ((100, 20, 0, 100), ThreadState::Running));
    let track = only(&recording).track;
    assert_eq!(track.iter().map(|slot| (slot.start_ns, slot.cpus.to_vec())).collect::<Vec<_>>(), [(0, vec![(0, 100)])]);
}

#[test]
fn of_the_turn_that_was_open_the_rest_counts_by_its_record() {
    let mut recording = begun(&blocked());
    // Woken at 1360.
    recording.apply(&Event::Slice(slice(2, 1400)));
    assert_eq!(times(&recording), (30, 10, 160, 30));
    // The next one is whole.
    recording.apply(&Event::Slice(slice(3, 1500)));
    assert_eq!(times(&recording), (60, 20, 220, 60));
    let mut recording = begun(&running());
    recording.apply(&Event::Slice(Slice { slice_ns: 150, wait_ns: 20, ..slice(2, 1300) }));
    assert_eq!(times(&recording), (99, 20, 0, 99));
    let track = only(&recording).track;
    assert_eq!(track.iter().next(), None);
    recording.apply(&tick(1301));
    assert_eq!(only(&recording).track.iter().map(|slot| slot.cpus.to_vec()).collect::<Vec<_>>(), [[(0, 99)]]);
    assert_eq!(only(&recording).stats.runq.wakeup.total_ns, 20);
}

#[test]
fn of_the_turn_that_was_open_the_rest_counts_by_the_kernels_sums() {
    let mut recording = begun(&running());
    let after = Totals { cpu_ns: 30 + 150, blocked_ns: 60 + 30, ..totals(2, 2, 1400, phase::BLOCKED, 1300) };
    recording.apply(&Event::Totals(after));
    recording.apply(&tick(1400));
    assert_eq!(times(&recording), (99, 10, 100, 0));
    assert_eq!((only(&recording).stats.switches.voluntary, only(&recording).stats.runq.all.count), (1, 1));
}

#[test]
fn a_thread_that_left_and_came_back_begins_with_what_the_kernel_counts_since() {
    let mut trace = blocked();
    trace.apply(&task(task_event::UNTRACKED, 7, 1250, 5));
    trace.apply(&task(task_event::SEEN, 7, 1300, 5));
    trace.apply(&Event::Slice(slice(1, 1400)));
    trace.apply(&tick(1400));
    let mut recording = begun(&trace);
    recording.apply(&Event::Totals(totals(2, 2, 1500, phase::BLOCKED, 1500)));
    assert_eq!(times(&recording).0, 30);
    // And once more, in the recording: counted from 0 again.
    recording.apply(&task(task_event::UNTRACKED, 7, 1550, 5));
    recording.apply(&task(task_event::SEEN, 7, 1600, 5));
    recording.apply(&Event::Totals(totals(1, 1, 1700, phase::BLOCKED, 1700)));
    assert_eq!(times(&recording).0, 60);
}

#[test]
fn a_thread_of_which_it_is_not_known_what_it_does_stays_so() {
    let mut trace = running();
    // No more is told of it: it ran until 1200 at least.
    trace.apply(&tick(1300));
    assert_eq!((only(&trace).state, times(&trace).0), (ThreadState::Unknown, 30 + 50));
    let mut recording = begun(&trace);
    assert_eq!((only(&recording).state, times(&recording).0), (ThreadState::Unknown, 0));
    recording.apply(&tick(1400));
    assert_eq!((only(&recording).state, times(&recording).0), (ThreadState::Unknown, 0));
    recording.apply(&Event::Slice(Slice { slice_ns: 300, ..slice(2, 1450) }));
    assert_eq!(times(&recording).0, 250);
}

#[test]
fn the_last_words_of_a_thread_that_died_during_the_tick_count_nothing_twice() {
    let mut trace = blocked();
    let last = slice(2, 1290);
    trace.apply(&Event::Slice(Slice { flags: last.flags | slice_flags::OUT_DEAD, ..last }));
    // The tick began before the thread died, and its last sums come after it.
    trace.apply(&Event::Counters(Counters { header: Counters::header(1280, 0, 0), ..Counters::default() }));
    trace.apply(&tick(1300));
    let mut recording = begun(&trace);
    recording.apply(&Event::Totals(totals(2, 2, 1290, phase::BLOCKED, 1290)));
    recording.apply(&task(task_event::EXIT, 7, 1290, 5));
    recording.apply(&tick(1400));
    assert_eq!((times(&recording), only(&recording).exited), ((0, 0, 0, 0), true));
    // Its end has come.
    assert!(begun(&recording).snapshot().threads.is_empty());
    // The EXIT record is lost: it is among the ended ones all the same, as in the trace.
    let mut recording = begun(&trace);
    for now in [1400, 1500] {
        [&mut trace, &mut recording].into_iter().for_each(|model| model.apply(&tick(now)));
        assert_eq!((only(&trace).exited, only(&recording).exited), (true, true));
    }
    assert!(begun(&trace).snapshot().threads.is_empty() && begun(&recording).snapshot().threads.is_empty());
}

#[test]
fn what_was_not_seen_before_is_not_of_the_recording() {
    let mut trace = blocked();
    let unseen = |resyncs, seq| Event::Totals(Totals { resyncs, ..totals(seq, 1, 1300, phase::BLOCKED, 1100) });
    trace.apply(&unseen(3, 1));
    trace.apply(&tick(1300));
    let mut recording = begun(&trace);
    recording.apply(&unseen(5, 2));
    assert_eq!(only(&recording).stats.unseen_events, 2);
}

#[test]
fn names_are_told_as_they_came() {
    let mut trace = model(Limits::default());
    for (event, tid, comm) in
        [(task_event::SEEN, 7, b"a\xff\x1b[2J\\         "), (task_event::NAME, 9, b"b\n              ")]
    {
        let Event::Task(named) = task(event, tid, 1000, 5) else { unreachable!("it makes tasks") };
        trace.apply(&Event::Task(numatrace_common::abi::Task { comm: *comm, ..named }));
    }
    trace.apply(&tick(1100));
    let recording = begun(&trace);
    for tid in [7, 9] {
        assert!(trace.name_of(tid).is_some_and(|name| name.contains('\\')), "{:?}", trace.name_of(tid));
        assert_eq!(recording.name_of(tid), trace.name_of(tid));
    }
    assert_eq!(cgroups(&recording), [None]);
}

#[test]
fn a_base_that_comes_late_twice_or_for_nobody_changes_nothing() {
    let base = |totals: Totals| {
        let header = Header { kind: kind::TOTALS_BASE, ..totals.header };
        Event::TotalsBase(Totals { header, ..totals })
    };
    let mut model = blocked();
    let before = model.snapshot();
    model.apply(&base(totals(1, 1, 1200, phase::BLOCKED, 1100)));
    model.apply(&base(Totals { tid: 8, ..totals(9, 9, 1200, phase::RUNNING, 1100) }));
    assert_eq!(model.snapshot(), before);
    let mut recording = begun(&model);
    recording.apply(&base(totals(5, 5, 1200, phase::RUNNING, 0)));
    recording.apply(&tick(1300));
    assert_eq!(times(&recording), (0, 0, 100, 0));
}

#[test]
fn a_base_of_any_numbers_takes_off_no_more_than_there_is() {
    let mut recording = model(Limits::default());
    recording.apply(&task(task_event::SEEN, 7, 1000, 5));
    let huge = u64::MAX;
    recording.apply(&Event::TotalsBase(Totals {
        cpu_ns: huge,
        blocked_ns: huge,
        wakeup_count: huge,
        resyncs: u32::MAX,
        migrations: u32::MAX,
        open_blocked_ns: huge,
        ..totals(u32::MAX, 0, huge, phase::RUNNING, 0)
    }));
    recording.apply(&Event::Slice(slice(0, 1100)));
    recording.apply(&Event::Totals(totals(1, 2, 1200, phase::BLOCKED, 1150)));
    recording.apply(&tick(1200));
    assert_eq!(times(&recording), (0, 20, 50, 0));
    assert_eq!(only(&recording).stats.unseen_events, 0);
}
