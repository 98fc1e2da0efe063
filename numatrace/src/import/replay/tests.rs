use numatrace_common::abi::{NO_TID, Slice, Task, slice_flags};
use numatrace_common::wait::TASK_DEAD;

use super::*;
use crate::decode::{Event as Record, decode};

const START: u64 = 1_000;
/// As `perf sched record` asks for.
const HAS: Has = Has { waking: true, wakeup: false, wakeup_new: true, migrate: true, fork: true };

/// Plays events, each at its time on a CPU where a thread is current, and tells what came of them. A tick each 1,000 ns.
fn play(has: Has, events: &[(u64, u16, u32, What)]) -> (Replay, Vec<Record>) {
    let mut replay = Replay::new(START, 0, 1_000, has);
    let mut records = Vec::new();
    let mut keep = |record: &[u8]| records.push(decode(record).expect("a record"));
    for (ts, cpu, tid, what) in events {
        while replay.tick_before(*ts) {}
        replay.take(&Event { ts: *ts, cpu: *cpu, tid: *tid, tgid: 5, what: *what });
        replay.give(&mut keep);
    }
    replay.last_tick();
    replay.give(&mut keep);
    (replay, records)
}

fn slices(records: &[Record], tid: u32) -> Vec<Slice> {
    let of = records.iter().filter_map(|record| match record {
        Record::Slice(slice) if slice.tid == tid => Some(*slice),
        _ => None,
    });
    of.collect()
}

fn lives(records: &[Record], tid: u32) -> Vec<Task> {
    let of = records.iter().filter_map(|record| match record {
        Record::Task(task) if task.tid == tid => Some(*task),
        _ => None,
    });
    of.collect()
}

const fn switch(prev: u32, next: u32, state: u32) -> What {
    What::Switch { prev, next, state, preempt: false }
}

fn named(tid: u32, name: &[u8]) -> What {
    What::Comm { tid, tgid: 5, comm: crate::import::bytes::comm(name), exec: false }
}

// time:      1000......1100......1130......1200......1300
// thread 7:  running   | asleep  | waking  | running | asleep
#[test]
fn a_wait_goes_from_waking_to_the_switch() {
    let events = [
        (1_000, 0, 7, What::Waking { tid: 8, cpu: 1 }),
        (1_100, 0, 7, switch(7, 0, 1)),
        (1_130, 1, 8, What::Waking { tid: 7, cpu: 0 }),
        (1_200, 0, 0, switch(0, 7, 0)),
        (1_300, 0, 7, switch(7, 0, 1)),
    ];
    let (_, records) = play(HAS, &events);
    let turns = slices(&records, 7);
    assert_eq!(turns.len(), 2);
    assert_eq!((turns[0].slice_ns, turns[0].flags & slice_flags::SLICE_CLIPPED), (100, slice_flags::SLICE_CLIPPED));
    assert_eq!((turns[1].wait_ns, turns[1].slice_ns, turns[1].waker), (70, 100, 8));
    // With sched_wakeup in the file the waking alone begins nothing.
    let (_, records) = play(Has { wakeup: true, ..HAS }, &events);
    assert_eq!((slices(&records, 7)[1].wait_ns, slices(&records, 7)[1].waker), (0, NO_TID));
}

#[test]
fn a_waking_on_the_cpu_begins_no_wait() {
    let events = [
        (1_000, 0, 7, What::Waking { tid: 8, cpu: 1 }),
        (1_050, 1, 8, What::Waking { tid: 7, cpu: 0 }),
        (1_100, 0, 7, switch(7, 0, 1)),
        (1_200, 0, 0, switch(0, 7, 0)),
        (1_300, 0, 7, switch(7, 0, 1)),
    ];
    let (replay, records) = play(HAS, &events);
    let turn = slices(&records, 7)[1];
    assert_eq!((turn.wait_ns, turn.flags & slice_flags::WAIT_MASK), (0, slice_flags::WAIT_NONE));
    assert_eq!(replay.late, 0);
}

#[test]
fn causes_of_migrations_are_inferred() {
    let moved = |tid| What::Migrate { tid, from: 0, to: 1 };
    let events = [
        (1_000, 0, 18, named(18, b"migration/0")),
        (1_001, 0, 7, What::Waking { tid: 8, cpu: 0 }),
        (1_002, 0, 7, moved(8)),
        (1_010, 0, 7, switch(7, 18, 0)),
        (1_020, 0, 18, moved(7)),
        (1_030, 0, 18, switch(18, 9, 1)),
        (1_040, 0, 9, moved(7)),
        (1_050, 0, 9, moved(18)),
    ];
    let (_, records) = play(HAS, &events);
    let causes = records.iter().filter_map(|record| match record {
        Record::Migrate(moved) => Some((moved.tid, Cause::from_number(moved.cause), moved.by)),
        _ => None,
    });
    assert_eq!(
        causes.collect::<Vec<_>>(),
        [
            (8, Cause::Wakeup, 7),
            (7, Cause::ActiveBalanceOrAffinity, 18),
            (7, Cause::LoadBalance, 9),
            (18, Cause::Other, 9)
        ]
    );
}

#[test]
fn lives_are_told() {
    let events = [
        (1_000, 0, 7, What::Waking { tid: 8, cpu: 1 }),
        (1_010, 0, 7, What::Fork { tid: 9, tgid: 9, parent: 7 }),
        (1_020, 0, 7, What::Wakeup { tid: 9, cpu: 0, new: true }),
        (1_030, 0, 7, switch(7, 9, 0)),
        (1_040, 0, 9, What::Comm { tid: 9, tgid: 9, comm: crate::import::bytes::comm(b"new"), exec: true }),
        (1_050, 0, 9, switch(9, 7, TASK_DEAD)),
        // Another owner of the id.
        (1_060, 0, 7, What::Fork { tid: 9, tgid: 9, parent: 7 }),
    ];
    let (_, records) = play(HAS, &events);
    let told: Vec<u16> = lives(&records, 9).iter().map(|task| task.event).collect();
    assert_eq!(told, [task_event::NEW, task_event::EXEC, task_event::EXIT, task_event::NEW]);
    assert_eq!(&lives(&records, 9)[1].comm[..4], b"new\0");
    assert_eq!((slices(&records, 9)[0].wait_ns, lives(&records, 7)[0].event), (10, task_event::SEEN));
}

#[test]
fn a_thread_that_takes_its_process_over_by_exec_goes_on_under_the_other_id() {
    let events = [
        (1_000, 0, 7, What::Waking { tid: 8, cpu: 1 }),
        (1_100, 0, 5, What::Comm { tid: 5, tgid: 5, comm: crate::import::bytes::comm(b"new"), exec: true }),
        (1_300, 0, 5, switch(5, 0, 1)),
    ];
    let (_, records) = play(HAS, &events);
    assert_eq!(lives(&records, 7).last().map(|task| task.event), Some(task_event::EXIT));
    assert_eq!((slices(&records, 7)[0].slice_ns, slices(&records, 5)[0].slice_ns), (100, 200));
}

#[test]
fn a_long_time_without_events_has_few_ticks() {
    for ts in [10_500, 1 << 40, u64::MAX] {
        let (_, records) = play(HAS, &[(1_000, 0, 7, switch(7, 0, 1)), (ts, 0, 0, switch(0, 7, 0))]);
        let ticks: Vec<u64> = records
            .iter()
            .filter_map(|record| match record {
                Record::Tick(tick) => Some(tick.header.ts),
                _ => None,
            })
            .collect();
        assert!(ticks.len() <= 3 && ticks[0] == 2_000 && ticks.last() == Some(&ts), "{ticks:?}");
    }
}

#[test]
fn a_thread_without_records_of_names_has_the_name_of_the_tracepoint() {
    let name = What::Name { tid: 7, comm: *b"any\xff bytes\0\0\0\0\0\0" };
    let (_, records) = play(HAS, &[(1_000, 0, 8, name), (1_001, 0, 8, switch(8, 7, 1))]);
    assert_eq!(&lives(&records, 7)[0].comm[..10], b"any\xff bytes");
    assert_eq!(lives(&records, 7)[0].tgid, 7, "of its own process, where no record tells");
}
