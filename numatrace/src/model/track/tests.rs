//! Turns in, slots out: times are ns since the start of a trace that began at [`START`].

use super::*;

const START: u64 = 7_777;
const SLOT: u64 = TRACK_SLOT_NS;
const MS: u64 = 1_000_000;

/// A track of turns `(cpu, begin, end)`.
fn track(turns: &[(u16, u64, u64)]) -> Track {
    let mut track = Track::new(START);
    turns.iter().for_each(|(cpu, begin, end)| track.add(*cpu, START + end, end - begin));
    track
}

fn open(cpu: u16, begin: u64, end: u64) -> OpenTurn {
    OpenTurn { cpu, time: START + begin..START + end }
}

/// Number of each slot and what ran in it.
fn slots(track: &Track, duration: u64, open: Option<&OpenTurn>) -> Vec<(u64, Vec<(u32, u64)>)> {
    let slots = track.slots(duration, open);
    assert!(slots.iter().all(|slot| slot.start_ns % SLOT == 0));
    slots.into_iter().map(|slot| (slot.start_ns / SLOT, slot.cpus.to_vec())).collect()
}

/// What a packed slot says of a time.
fn packed(ns: u64) -> u64 {
    (ns.div_ceil(UNIT_NS) * UNIT_NS).min(SLOT)
}

#[test]
fn it_is_as_small_as_the_documents_say() {
    assert_eq!((size_of::<Track>(), size_of::<[Packed; TRACK_SLOTS]>()), (64, 640));
}

#[test]
fn turns_within_a_slot_add_up_by_cpu_and_the_heaviest_comes_first() {
    let track = track(&[(3, 0, 10), (1, 20, 50), (3, 60, 75), (9, 80, 105)]);
    assert_eq!(slots(&track, 200, None), [(0, vec![(1, 30), (3, 25), (9, 25)])]);
    assert!(track.older.is_none(), "the first slot costs nothing more");
}

#[test]
fn a_turn_over_several_slots_is_spread_over_them() {
    let (begin, end) = (SLOT - 10 * MS, 3 * SLOT + 20 * MS);
    let track = track(&[(2, begin, end)]);
    let expected = [(0, packed(10 * MS)), (1, SLOT), (2, SLOT), (3, 20 * MS)];
    assert_eq!(slots(&track, end, None), expected.map(|(number, ns)| (number, vec![(2, ns)])));
    let mut exact = Track::new(START);
    // Up to the very edge, and from it on.
    exact.add(1, START + SLOT, SLOT);
    assert_eq!(exact.number, 0);
    exact.add(1, START + SLOT + 5, 5);
    assert_eq!(slots(&exact, 2 * SLOT, None), [(0, vec![(1, SLOT)]), (1, vec![(1, 5)])]);
}

#[test]
fn only_the_last_ten_seconds_are_shown_and_empty_slots_are_left_out() {
    let turns: Vec<_> = (0..100).filter(|n| n % 3 != 1).map(|n| (5, n * SLOT, n * SLOT + UNIT_NS)).collect();
    let track = track(&turns);
    for duration in [99 * SLOT, 99 * SLOT + 1, 100 * SLOT - 1, 100 * SLOT] {
        let numbers: Vec<u64> = slots(&track, duration, None).iter().map(|(number, _)| *number).collect();
        let shown = |n: &u64| n % 3 != 1 && n * SLOT + 40 * SLOT >= duration && n * SLOT < duration;
        assert_eq!(numbers, (0..100).filter(shown).collect::<Vec<_>>(), "{duration}");
    }
    // It has not run for long.
    assert!(slots(&track, 200 * SLOT, None).is_empty());
    assert_eq!(slots(&track, 139 * SLOT, None), [(99, vec![(5, UNIT_NS)])]);
}

#[test]
fn slots_that_were_skipped_show_nothing_of_what_was_in_their_place_before() {
    for gap in [1, 2, 39, 40, 41, 79, 80, 1000] {
        let mut track = track(&(0..50).map(|n| (1, n * SLOT, n * SLOT + 100)).collect::<Vec<_>>());
        let number = 49 + gap;
        track.add(2, START + number * SLOT + 7, 7);
        let shown = slots(&track, (number + 1) * SLOT, None);
        let kept = (number + 1).saturating_sub(40)..50;
        let mut expected: Vec<_> = kept.map(|n| (n, vec![(1, UNIT_NS)])).collect();
        expected.push((number, vec![(2, 7)]));
        assert_eq!(shown, expected, "a gap of {gap}");
    }
}

#[test]
fn a_slot_after_the_tick_costs_none_of_those_before_it() {
    let track = track(&(0..=60).map(|n| (1, n * SLOT, n * SLOT + 100)).collect::<Vec<_>>());
    let numbers: Vec<u64> = slots(&track, 60 * SLOT - 1, None).iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (20..60).collect::<Vec<_>>());
}

#[test]
fn the_lightest_of_five_cpus_gives_way() {
    let full = [(1, 0, 40), (2, 40, 70), (3, 70, 90), (4, 90, 100)];
    let first = track(&[&full[..], &[(5, 100, 105)]].concat());
    assert_eq!(slots(&first, SLOT, None), [(0, vec![(1, 40), (2, 30), (3, 20), (5, 5)])]);
    // The newcomer took over a rank of 10, so it is heavier than CPU 3 now, and what is shown is what was counted.
    let then = track(&[&full[..], &[(5, 100, 115), (6, 115, 116)]].concat());
    assert_eq!(slots(&then, SLOT, None), [(0, vec![(1, 40), (2, 30), (5, 15), (6, 1)])]);
    // A turn without length takes nobody's place.
    let nothing = track(&[&full[..], &[(5, 100, 100)]].concat());
    assert_eq!(slots(&nothing, SLOT, None).len(), 1);
    assert_eq!(slots(&nothing, SLOT, None)[0].1[3], (4, 10));
}

#[test]
fn a_cpu_with_half_of_the_time_is_kept_however_many_others_come_by() {
    let turns: Vec<_> = (0..1000).map(|n| (if n % 2 == 0 { 7 } else { 100 + n as u16 }, 10 * n, 10 * n + 10)).collect();
    let shown = slots(&track(&turns), SLOT, None);
    assert_eq!((shown[0].1[0], shown[0].1.len()), ((7, 5_000), PLACES));
}

#[test]
fn turns_out_of_order_find_their_slots() {
    let mut track = track(&[(1, 0, 10 * MS), (1, 3 * SLOT, 3 * SLOT + MS)]);
    let mut late = |cpu, begin: u64, end: u64| track.add(cpu, START + end, end - begin);
    // Into an empty slot, a used one, over an edge between both, and into the newest.
    late(2, SLOT + MS, SLOT + 2 * MS);
    late(1, 20 * MS, 30 * MS);
    late(2, SLOT - 4 * MS, SLOT + MS);
    late(2, 3 * SLOT + MS, 3 * SLOT + 3 * MS);
    let expected = [
        (0, vec![(1, 2 * packed(10 * MS)), (2, packed(4 * MS))]),
        (1, vec![(2, 2 * packed(MS))]),
        (3, vec![(2, 2 * MS), (1, MS)]),
    ];
    assert_eq!(slots(&track, 4 * SLOT, None), expected);
    // From before all that is kept, and of before the start.
    let before = slots(&track, 60 * SLOT, None);
    track.add(9, START + 50 * SLOT + 5, 5);
    track.add(8, START + SLOT, 100);
    track.add(8, START - 10, 5);
    assert!(before.is_empty());
    assert_eq!(slots(&track, 51 * SLOT, None), [(50, vec![(9, 5)])]);
}

#[test]
fn a_late_turn_in_a_full_slot_takes_the_place_of_a_lighter_one_only() {
    let at = |nth: u64, ms: u64| (nth as u16, nth * 50 * MS, nth * 50 * MS + ms * MS);
    let mut track = track(&[at(0, 40), at(1, 30), at(2, 20), at(3, 10), (0, SLOT, SLOT + 1)]);
    let cpus = |track: &Track| slots(track, SLOT, None)[0].1.iter().map(|(cpu, _)| *cpu).collect::<Vec<_>>();
    track.add(8, START + 240 * MS, 5 * MS);
    assert_eq!(cpus(&track), [0, 1, 2, 3]);
    track.add(9, START + 240 * MS, 15 * MS);
    assert_eq!(cpus(&track), [0, 1, 2, 9]);
}

#[test]
fn the_open_turn_is_laid_over_and_changes_nothing() {
    let track = track(&[(1, 0, 10), (2, SLOT, SLOT + 30)]);
    let now = 3 * SLOT + 5;
    let running = open(2, SLOT + 40, now);
    let expected = [(0, vec![(1, UNIT_NS)]), (1, vec![(2, SLOT - 40 + 30)]), (2, vec![(2, SLOT)]), (3, vec![(2, 5)])];
    assert_eq!(slots(&track, now, Some(&running)), expected);
    assert_eq!(slots(&track, now, None).len(), 2);
    // It has run for longer than is shown, and before that on another CPU.
    let long = slots(&track, 100 * SLOT, Some(&open(6, 2 * SLOT, 100 * SLOT)));
    assert_eq!(long, (60..100).map(|n| (n, vec![(6, SLOT)])).collect::<Vec<_>>());
    // Nothing but an open turn is known.
    assert_eq!(slots(&Track::new(START), 50, Some(&open(0, 20, 50))), [(0, vec![(0, 30)])]);
}

#[test]
fn an_open_turn_on_a_fifth_cpu_is_one_of_five() {
    let track = track(&[(1, 0, 40), (2, 40, 70), (3, 70, 90), (4, 90, 100)]);
    let shown = |ns: u64| slots(&track, 500, Some(&open(5, 100, 100 + ns)))[0].1.clone();
    assert_eq!(shown(25), [(1, 40), (2, 30), (5, 25), (3, 20)]);
    assert_eq!(shown(9), [(1, 40), (2, 30), (3, 20), (4, 10)]);
}

#[test]
fn no_turn_is_too_wild() {
    let mut track = Track::new(START);
    for (end, ns) in [(0, u64::MAX), (u64::MAX, u64::MAX), (u64::MAX, 1), (START, 0), (5, 3), (u64::MAX / 2, u64::MAX)]
    {
        track.add(1, end, ns);
        for duration in [0, SLOT, u64::MAX] {
            let wild = OpenTurn { cpu: NO_CPU, time: ns..end };
            assert!(track.slots(duration, Some(&wild)).iter().count() <= TRACK_SLOTS);
        }
    }
    // Ever the same time again does not overflow, and is no more than there is.
    for _ in 0..100 {
        track.add(2, START + SLOT, SLOT);
        track.add(2, u64::MAX, SLOT);
    }
    assert!(track.slots(u64::MAX, None).iter().flat_map(|slot| slot.cpus).all(|(_, ns)| ns <= SLOT));
}
