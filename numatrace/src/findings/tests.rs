//! The engine: limits that are eased while a finding is shown, how long it stays, order, settings.

use super::*;
use crate::snapshot::{HostNode, Loss};

const S: u64 = 1_000_000_000;

/// A machine with one node, so that `single-node` speaks, and so much of a million records lost, so that `partial` does: as a
/// warning from a hundredth on.
fn numbers(lost: u64, active: bool) -> Snapshot {
    let mut numbers = Snapshot::nothing_yet("pid 1");
    numbers.duration_ns = S;
    numbers.host.nodes = vec![HostNode::default()];
    numbers.totals.cpu_ns = if active { S } else { 0 };
    numbers.loss = Loss { records_wanted: 1_000_000, records_lost: lost, ..Loss::default() };
    numbers
}

fn said(found: &[Finding]) -> Vec<(&str, &str)> {
    found.iter().map(|finding| (finding.id.as_str(), finding.severity.as_str())).collect()
}

#[test]
fn the_worst_comes_first_and_then_the_order_of_rules() {
    let quiet = said_once(&numbers(0, false));
    assert_eq!(quiet, []);
    assert_eq!(said_once(&numbers(1, true)), [("single-node", "info"), ("partial", "info")].map(owned));
    assert_eq!(said_once(&numbers(10_000, true)), [("partial", "warn"), ("single-node", "info")].map(owned));
}

fn owned((id, severity): (&str, &str)) -> (String, String) {
    (id.into(), severity.into())
}

fn said_once(numbers: &Snapshot) -> Vec<(String, String)> {
    said(&look_once(numbers, &Settings::default())).into_iter().map(owned).collect()
}

#[test]
fn a_finding_that_is_shown_has_eased_limits() {
    let (over, below, far_below) = (numbers(10_000, false), numbers(9_000, false), numbers(7_000, false));
    let mut kept = Findings::new(Settings::default());
    // What was never over its limit is not eased.
    assert_eq!(said(&look_once(&below, &Settings::default())), [("partial", "info")]);
    assert_eq!(said(&kept.look(&over, S)), [("partial", "warn")]);
    assert_eq!(said(&kept.look(&below, 2 * S)), [("partial", "warn")]);
    assert_eq!(said(&kept.look(&far_below, 3 * S)), [("partial", "info")]);
    // Eased limits keep a finding as bad as it is; they make none worse.
    assert_eq!(said(&kept.look(&below, 4 * S)), [("partial", "info")]);
    assert_eq!(said(&kept.look(&over, 5 * S)), [("partial", "warn")]);
}

#[test]
fn a_warning_is_critical_from_its_own_limit_on_and_then_for_longer() {
    let numbers = |throttled_ms: u64| {
        let mut numbers = numbers(0, false);
        (numbers.totals.cpu_ns, numbers.totals.wait_ns) = (S / 2, S / 2);
        numbers.host.nodes.clear();
        numbers.totals.throttled_wait_ns = Some(throttled_ms * 1_000_000);
        numbers
    };
    let mut kept = Findings::new(Settings::default());
    let mut severity = |now, throttled_ms| {
        let found = kept.look(&numbers(throttled_ms), now * S);
        found.first().map(|finding| finding.severity.clone()).unwrap_or_default()
    };
    // 5% and 25% of a second, and 0.8 of these.
    let told = [(1, 49), (2, 50), (3, 249), (4, 250), (5, 200), (6, 199), (7, 249), (8, 40), (9, 39)];
    let told = told.map(|(now, ms)| severity(now, ms));
    assert_eq!(told[..6], ["", "warn", "warn", "critical", "critical", "warn"]);
    // What is gone is held as it was.
    assert_eq!(told[6..], ["warn", "warn", "warn"]);
    assert_eq!(severity(12, 39), "");
}

#[test]
fn a_finding_that_is_gone_stays_for_a_while_as_it_was() {
    let mut kept = Findings::new(Settings::default());
    let shown = kept.look(&numbers(20_000, false), S);
    let nothing = numbers(0, false);
    assert_eq!(kept.look(&nothing, S + HOLD_NS), shown);
    assert_eq!(kept.look(&nothing, S + HOLD_NS + 1), []);
    // Each time that it is seen begins the time anew.
    kept.look(&numbers(20_000, false), 10 * S);
    kept.look(&numbers(30_000, false), 12 * S);
    let held = kept.look(&nothing, 12 * S + HOLD_NS);
    assert_eq!(held.first().map(|finding| finding.evidence["records_lost"].as_u64()), Some(Some(30_000)));
    assert_eq!(kept.look(&nothing, u64::MAX), []);
}

#[test]
fn when_time_goes_back_nothing_was_shown() {
    let mut kept = Findings::new(Settings::default());
    kept.look(&numbers(10_000, false), 10 * S);
    assert_eq!(said(&kept.look(&numbers(9_000, false), 9 * S)), [("partial", "info")], "its limits are not eased");
    kept.look(&numbers(10_000, false), 20 * S);
    assert_eq!(kept.look(&numbers(0, false), 19 * S), []);
    // The same moment again is not back.
    kept.look(&numbers(10_000, false), 30 * S);
    assert_eq!(said(&kept.look(&numbers(9_000, false), 30 * S)), [("partial", "warn")]);
}

#[test]
fn settings_move_a_limit_and_switch_rules_off() {
    let mut settings = Settings::default();
    settings.set("partial", "lost-share", 0.5).expect("it can be");
    settings.switch_off("single-node").expect("there is one");
    let look = |settings: &Settings, lost| {
        let found = look_once(&numbers(lost, true), settings);
        said(&found).into_iter().map(owned).collect::<Vec<_>>()
    };
    assert_eq!(look(&settings, 499_999), [("partial", "info")].map(owned));
    assert_eq!(look(&settings, 500_000), [("partial", "warn")].map(owned));
    settings.switch_off("partial").expect("there is one");
    assert_eq!(look(&settings, 500_000), []);
    // Whoever sets a limit wants to hear of it.
    settings.set("partial", "lost-share", 0.25).expect("it can be");
    assert_eq!(look(&settings, 250_000), [("partial", "warn")].map(owned));
    assert!(settings.set("partial", "lost", 1.0).is_err() && settings.set("partial", "lost-share", 2.0).is_err());
    assert_eq!(settings.switch_off("part"), Err(Bad::Rule("part".into())));
    assert_eq!(settings.limit("partial", "lost-share"), Some(0.25), "what cannot be set changes nothing");
}

#[test]
fn severities_are_in_order_and_told_by_their_names() {
    assert!(Severity::Info < Severity::Warn && Severity::Warn < Severity::Critical);
    let mut finding = look_once(&numbers(10_000, false), &Settings::default()).remove(0);
    for severity in [Severity::Info, Severity::Warn, Severity::Critical] {
        finding.severity = severity.name().into();
        assert_eq!(Severity::of(&finding), severity);
    }
    finding.severity = "terrible".into();
    assert_eq!(Severity::of(&finding), Severity::Info);
}
