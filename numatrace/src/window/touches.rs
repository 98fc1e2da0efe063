//! Page touches of a stretch of time, and of several threads together. A number whose source is off stays absent; one whose
//! source came on within the stretch counts from there.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::{had_before, matrix_since};
use crate::snapshot::{LocalRemote, Location, MAX_LOCATIONS, ThreadStats, TouchCount, Touches};
use crate::units::sum;

/// Counts of page touches after `before` and up to `now`, and what follows from them. The expected share stays that of now:
/// where the pages of a process were before is not kept. Locations are left empty unless `lists`.
pub(super) fn since(
    now: &ThreadStats,
    before: &ThreadStats,
    distances: &[Vec<u32>],
    lists: bool,
    made: ThreadStats,
) -> ThreadStats {
    let touches = now.touches.map(|now| touches_since(&now, &before.touches.unwrap_or_default()));
    let by_node = |now: &Vec<Vec<u64>>| matrix_since(now, before.touches_by_node.as_deref().unwrap_or_default());
    let nothing = LocalRemote::default();
    let locations = |now: &Vec<Location>| {
        let old = before.locations.as_deref().unwrap_or_default();
        if lists { locations_since(now, old) } else { Vec::new() }
    };
    with_ratios(
        ThreadStats {
            touches,
            touches_by_node: now.touches_by_node.as_ref().map(by_node),
            hint_faults: now.hint_faults.map(|now| pair_since(now, before.hint_faults.unwrap_or(nothing))),
            hint_fault_ns: now.hint_fault_ns.map(|now| now.saturating_sub(before.hint_fault_ns.unwrap_or(0))),
            pages_migrated: now.pages_migrated.map(|now| now.saturating_sub(before.pages_migrated.unwrap_or(0))),
            expected_remote_share: now.expected_remote_share,
            locations: now.locations.as_ref().map(locations),
            ..made
        },
        distances,
    )
}

/// Fills in what follows from the counts.
fn with_ratios(stats: ThreadStats, distances: &[Vec<u32>]) -> ThreadStats {
    ThreadStats {
        remote_share: stats.touches.and_then(|touches| touches.total().remote_share()),
        cost_factor: stats.touches_by_node.as_ref().and_then(|touches| cost_factor(touches, distances)),
        ..stats
    }
}

/// Mean of distance/10 over page touches; those between nodes whose distance is not known are left out. `None` where none is
/// left.
pub(crate) fn cost_factor(touches: &[Vec<u64>], distances: &[Vec<u32>]) -> Option<f64> {
    let (mut all, mut cost) = (0.0, 0.0);
    for (touches, distances) in touches.iter().zip(distances) {
        for (touches, distance) in touches.iter().zip(distances) {
            all += *touches as f64;
            cost += *touches as f64 * f64::from(*distance) / 10.0;
        }
    }
    (all > 0.0).then(|| cost / all)
}

/// The page touches of these threads together, in `made`.
pub(super) fn add<'a>(
    parts: impl Iterator<Item = &'a ThreadStats>,
    distances: &[Vec<u32>],
    made: ThreadStats,
) -> ThreadStats {
    let mut made = made;
    let mut locations: Option<HashMap<Place<'a>, Location>> = None;
    // Time on CPU is what the threads of a process have in the sum over nodes that the estimate is.
    let (mut expected, mut time) = (0.0, 0.0);
    for part in parts {
        made.touches = both(made.touches, part.touches, touches_and);
        made.hint_faults = both(made.hint_faults, part.hint_faults, |a, b| LocalRemote {
            local: a.local.saturating_add(b.local),
            remote: a.remote.saturating_add(b.remote),
        });
        made.hint_fault_ns = both(made.hint_fault_ns, part.hint_fault_ns, u64::saturating_add);
        made.pages_migrated = both(made.pages_migrated, part.pages_migrated, u64::saturating_add);
        if let Some(matrix) = &part.touches_by_node {
            add_matrix(made.touches_by_node.get_or_insert_default(), matrix);
        }
        if let Some(share) = part.expected_remote_share {
            let ran = sum(&part.residency_ns) as f64;
            (expected, time) = (expected + share * ran, time + ran);
        }
        for location in part.locations.iter().flatten() {
            let known = locations.get_or_insert_default().entry(place(location));
            let known = known.or_insert_with(|| Location { local: 0, remote: 0, ..location.clone() });
            known.local = known.local.saturating_add(location.local);
            known.remote = known.remote.saturating_add(location.remote);
        }
        if part.locations.is_some() {
            locations.get_or_insert_default();
        }
    }
    made.expected_remote_share = (time > 0.0).then(|| expected / time);
    made.locations = locations.map(|all| in_order(all.into_values().collect()));
    with_ratios(made, distances)
}

/// The sum of two matrices; of the larger size.
fn add_matrix(sum: &mut Vec<Vec<u64>>, part: &[Vec<u64>]) {
    sum.resize(sum.len().max(part.len()), Vec::new());
    for (sum, part) in sum.iter_mut().zip(part) {
        sum.resize(sum.len().max(part.len()), 0);
        sum.iter_mut().zip(part).for_each(|(sum, part)| *sum = sum.saturating_add(*part));
    }
}

fn both<T>(a: Option<T>, b: Option<T>, add: impl Fn(T, T) -> T) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(add(a, b)),
        (a, b) => a.or(b),
    }
}

fn counts(a: TouchCount, b: TouchCount, of: fn(u64, u64) -> u64) -> TouchCount {
    TouchCount { local: of(a.local, b.local), remote: of(a.remote, b.remote), unknown: of(a.unknown, b.unknown) }
}

fn touches_and(a: Touches, b: Touches) -> Touches {
    let add = |a, b| counts(a, b, u64::saturating_add);
    Touches {
        first_touch: add(a.first_touch, b.first_touch),
        file: add(a.file, b.file),
        cow: both(a.cow, b.cow, add),
        huge: both(a.huge, b.huge, add),
        zero: both(a.zero, b.zero, add),
        other: add(a.other, b.other),
    }
}

fn touches_since(now: &Touches, before: &Touches) -> Touches {
    let less = |now, before| counts(now, before, u64::saturating_sub);
    let less_of =
        |now: Option<TouchCount>, before: Option<TouchCount>| now.map(|now| less(now, before.unwrap_or_default()));
    Touches {
        first_touch: less(now.first_touch, before.first_touch),
        file: less(now.file, before.file),
        cow: less_of(now.cow, before.cow),
        huge: less_of(now.huge, before.huge),
        zero: less_of(now.zero, before.zero),
        other: less(now.other, before.other),
    }
}

fn pair_since(now: LocalRemote, before: LocalRemote) -> LocalRemote {
    LocalRemote { local: now.local.saturating_sub(before.local), remote: now.remote.saturating_sub(before.remote) }
}

/// What tells a location from all others.
type Place<'a> = (&'a str, &'a str, &'a [String]);

fn place(location: &Location) -> Place<'_> {
    (&location.mapping, &location.symbol, &location.stack)
}

/// A full list has those with most remote touches: of one that was not on it nothing is known of its local ones.
fn locations_since(now: &[Location], before: &[Location]) -> Vec<Location> {
    let full = before.len() >= MAX_LOCATIONS;
    let gained = |location: &Location| {
        let old = before.iter().find(|old| place(old) == place(location));
        let had = had_before(before, MAX_LOCATIONS, old.map(|old| old.remote), |old| old.remote);
        let remote = location.remote.saturating_sub(had);
        let local = match old {
            None if full => 0,
            _ => location.local.saturating_sub(old.map_or(0, |old| old.local)),
        };
        (local > 0 || remote > 0).then(|| Location { local, remote, ..location.clone() })
    };
    in_order(now.iter().filter_map(gained).collect())
}

fn in_order(mut locations: Vec<Location>) -> Vec<Location> {
    locations.sort_by(|a, b| {
        let key = |location: &Location| (Reverse(location.remote), Reverse(location.local));
        key(a).cmp(&key(b)).then_with(|| place(a).cmp(&place(b)))
    });
    locations.truncate(MAX_LOCATIONS);
    locations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(local: u64, remote: u64, unknown: u64) -> TouchCount {
        TouchCount { local, remote, unknown }
    }

    fn location(symbol: &str, remote: u64, local: u64) -> Location {
        Location { mapping: "[heap]".into(), symbol: symbol.into(), stack: Vec::new(), local, remote }
    }

    fn stats(local: u64, remote: u64) -> ThreadStats {
        ThreadStats {
            touches: Some(Touches { first_touch: count(local, remote, 1), ..Touches::default() }),
            touches_by_node: Some(vec![vec![local, remote], vec![0, 0]]),
            hint_faults: Some(LocalRemote { local, remote }),
            hint_fault_ns: Some(remote.rotate_left(9)),
            pages_migrated: Some(remote),
            locations: Some(vec![location("main", remote, local)]),
            ..ThreadStats::default()
        }
    }

    const DISTANCES: [[u32; 2]; 2] = [[10, 20], [20, 10]];

    fn distances() -> Vec<Vec<u32>> {
        DISTANCES.iter().map(|row| row.to_vec()).collect()
    }

    fn since_of(now: &ThreadStats, before: &ThreadStats, lists: bool) -> ThreadStats {
        since(now, before, &distances(), lists, ThreadStats::default())
    }

    #[test]
    fn a_stretch_has_the_touches_of_its_time_and_shares_of_its_own() {
        let now = ThreadStats { expected_remote_share: Some(0.5), ..stats(100, 60) };
        let made = since_of(&now, &stats(90, 30), true);
        assert_eq!(made.touches.map(|touches| touches.first_touch), Some(count(10, 30, 0)));
        assert_eq!(made.touches_by_node, Some(vec![vec![10, 30], vec![0, 0]]));
        assert_eq!((made.hint_faults, made.pages_migrated), (Some(LocalRemote { local: 10, remote: 30 }), Some(30)));
        assert_eq!((made.remote_share, made.cost_factor), (Some(0.75), Some(1.75)));
        assert_eq!(made.expected_remote_share, Some(0.5), "placement of before is not kept");
        assert_eq!(made.locations, Some(vec![location("main", 30, 10)]));
        assert_eq!(since_of(&now, &stats(90, 30), false).locations, Some(Vec::new()));
        // Nothing happened: no share of nothing.
        let made = since_of(&now, &now, true);
        assert_eq!((made.remote_share, made.cost_factor, made.locations), (None, None, Some(Vec::new())));
    }

    #[test]
    fn what_is_off_stays_absent_and_what_came_on_counts_from_there() {
        let made = since_of(&ThreadStats::default(), &stats(90, 30), true);
        assert_eq!(made, ThreadStats::default());
        let made = since_of(&stats(90, 30), &ThreadStats::default(), true);
        assert_eq!((made.remote_share, made.pages_migrated), (Some(0.25), Some(30)));
        assert_eq!(made.locations, Some(vec![location("main", 30, 90)]));
    }

    #[test]
    fn of_a_kind_that_is_not_told_apart_nothing_is_told() {
        let touches = Touches { cow: Some(count(5, 5, 0)), ..Touches::default() };
        let made = touches_since(&touches, &Touches { huge: Some(count(9, 9, 9)), ..Touches::default() });
        assert_eq!((made.cow, made.huge), (Some(count(5, 5, 0)), None));
        assert_eq!(touches_and(touches, Touches::default()).cow, Some(count(5, 5, 0)));
    }

    #[test]
    fn a_location_that_is_new_on_a_full_list_has_what_is_certain() {
        let full: Vec<Location> = (0..MAX_LOCATIONS).map(|at| location(&format!("f{at}"), 100, 7)).collect();
        assert_eq!(locations_since(&[location("new", 130, 90)], &full), [location("new", 30, 0)]);
        // Callers tell two apart.
        let called = Location { stack: vec!["caller".into()], ..location("f", 9, 0) };
        let made = locations_since(&[location("f", 5, 2), called.clone()], &[location("f", 4, 2)]);
        assert_eq!(made, [called, location("f", 1, 0)]);
    }

    #[test]
    fn threads_together_have_the_touches_of_all_and_the_estimate_goes_by_time_on_cpu() {
        let part = |residency: u64, expected: Option<f64>, stats: ThreadStats| ThreadStats {
            residency_ns: vec![residency, 0],
            expected_remote_share: expected,
            ..stats
        };
        let parts =
            [part(30, Some(0.2), stats(10, 0)), part(10, Some(1.0), stats(0, 30)), part(500, None, stats(0, 0))];
        let made = add(parts.iter(), &distances(), ThreadStats::default());
        assert_eq!(made.touches.map(|touches| touches.total()), Some(count(10, 30, 3)));
        assert_eq!((made.remote_share, made.cost_factor), (Some(0.75), Some(1.75)));
        assert_eq!(made.locations, Some(vec![location("main", 30, 10)]));
        assert!(made.expected_remote_share.is_some_and(|share| (share - 0.4).abs() < 1e-9));
        let nobody = add([ThreadStats::default()].iter(), &distances(), ThreadStats::default());
        assert_eq!(nobody, ThreadStats::default(), "no source, no numbers");
    }

    #[test]
    fn made_up_numbers_do_not_overflow_and_unknown_distances_are_left_out() {
        let parts = [stats(u64::MAX, u64::MAX), stats(u64::MAX, 1)];
        let made = add(parts.iter(), &distances(), ThreadStats::default());
        assert_eq!(made.touches_by_node, Some(vec![vec![u64::MAX, u64::MAX], vec![0, 0]]));
        assert_eq!(cost_factor(&[vec![1, 1]], &[]), None);
        assert_eq!(cost_factor(&[vec![3, 9], vec![1, 9]], &[vec![10], vec![30]]), Some(1.5));
    }
}
