//! What binding the target to nodes would do: numbers now, with its CPUs bound, and with its memory moved too.

use super::page::{Page, Tone};
use crate::snapshot::{Snapshot, sources};
use crate::text::{bytes, count, duration, left, percent, right};
use crate::whatif::{Access, Estimate, Pressure, Room, WhatIf};
use crate::words;

pub(super) fn write(page: &mut Page, snapshot: &Snapshot, what_if: &WhatIf) {
    page.heading("What if pinned", "estimates, not measurements, of binding the target to one node");
    if what_if.estimates.is_empty() {
        page.paragraph("  ", "This machine has one node with CPUs: there is nothing to choose.");
        return;
    }
    if what_if.compared {
        table(page, snapshot, what_if);
    } else {
        what_if.estimates.iter().for_each(|made| detail(page, snapshot, made));
    }
    page.line("", Tone::Plain);
    page.line("  Taken for granted:", Tone::Plain);
    what_if.assumptions.iter().for_each(|sentence| page.paragraph("  ", &format!("- {sentence}")));
}

fn detail(page: &mut Page, snapshot: &Snapshot, made: &Estimate) {
    page.line("", Tone::Plain);
    page.entry(&format!("node {}", made.node), &plural(made.cpus, "CPU"), Tone::Strong);
    page.entry("remote", &remote(snapshot, &made.access), Tone::Plain);
    page.entry("access", &cost(snapshot, &made.access), Tone::Plain);
    match &made.pressure {
        Some(pressure) => {
            page.entry("CPUs", &cpus(made, pressure), Tone::Plain);
            page.entry("waiting", &waiting(snapshot, pressure), Tone::Plain);
        }
        None => page.entry("CPUs", "no time was recorded", Tone::Plain),
    }
    let memory = match &made.room {
        Some(room) => memory(made, room),
        None => words::not_measured(snapshot, &sources::PLACEMENT),
    };
    page.entry("memory", &memory, Tone::Plain);
}

fn plural(n: u64, one: &str) -> String {
    format!("{} {one}{}", count(n), if n == 1 { "" } else { "s" })
}

/// A share, or that it is not there and why.
fn known(snapshot: &Snapshot, share: Option<f64>, of: &str, sources: &[&str], measured: bool) -> String {
    match share {
        Some(share) => format!("{} {of}", percent(share)),
        None if measured => format!("- {of} (there were none)"),
        None => format!("- {of} ({})", words::not_measured(snapshot, sources)),
    }
}

fn remote(snapshot: &Snapshot, access: &Access) -> String {
    let totals = &snapshot.totals;
    let touches = known(snapshot, access.remote_share, "of page touches", &sources::TOUCHES, totals.touches.is_some());
    let hints = known(
        snapshot,
        access.hint_remote_share,
        "of hint faults",
        &sources::HINT_FAULTS,
        totals.hint_faults.is_some(),
    );
    let placed = snapshot.placement_pages.is_some();
    let expected = known(snapshot, access.expected_remote_share, "of accesses expected", &sources::PLACEMENT, placed);
    let after = match (access.bound_remote_share, access.moved_remote_share) {
        (Some(bound), Some(moved)) => {
            format!("; {} expected with its CPUs bound, {} with its memory moved too", percent(bound), percent(moved))
        }
        _ => String::new(),
    };
    format!("now {touches}, {hints}, {expected}{after}")
}

fn cost(snapshot: &Snapshot, access: &Access) -> String {
    let (Some(now), Some(bound), Some(moved)) = (access.expected_cost, access.bound_cost, access.moved_cost) else {
        return words::not_measured(snapshot, &sources::PLACEMENT);
    };
    format!(
        "{} times a local access expected now; {}{} with its CPUs bound, {}{} with its memory moved too",
        words::factor(now),
        words::factor(bound),
        change(access.bound_change).map_or_else(String::new, |change| format!(" ({change})")),
        words::factor(moved),
        change(access.moved_change).map_or_else(String::new, |change| format!(" ({change})")),
    )
}

/// `+9.6%`, `-41.7%`, `0%`.
fn change(change: Option<f64>) -> Option<String> {
    let change = change?;
    let sign = if change > 0.0 { "+" } else { "-" };
    let size = percent(change.abs());
    Some(if change == 0.0 { size } else { format!("{sign}{size}") })
}

fn cpus(made: &Estimate, pressure: &Pressure) -> String {
    let above = match pressure.above_ns {
        0 => "never more wanted than there are".to_owned(),
        ns => {
            format!("more wanted than there are for {} of the time ({})", percent(pressure.above_share), duration(ns))
        }
    };
    format!(
        "{:.2} wanted on average, {:.2} at most in one of {}, and node {} has {}: {} of their time in use, {above}",
        pressure.average_cpus,
        pressure.peak_cpus,
        plural(pressure.intervals, "interval"),
        made.node,
        count(made.cpus),
        percent(pressure.utilisation),
    )
}

fn waiting(snapshot: &Snapshot, pressure: &Pressure) -> String {
    let undone = match pressure.undone_ns {
        0 => String::new(),
        ns => format!("; at the end {} of work on a CPU are left to do", duration(ns)),
    };
    format!(
        "{} was waited; for want of CPUs the model has {} on all {} CPUs and {} on this node: {} more{undone}",
        duration(pressure.waited_ns),
        duration(pressure.model_wait_all_ns),
        count(u64::from(snapshot.host.cpus)),
        duration(pressure.model_wait_ns),
        duration(pressure.added_wait_ns),
    )
}

fn memory(made: &Estimate, room: &Room) -> String {
    let Some(page) = room.page_bytes else {
        return format!(
            "{} pages resident, {} of them there already; how large a page is is not known on this architecture",
            count(room.pages),
            count(room.pages_there)
        );
    };
    let size = |pages: u64| bytes(pages.saturating_mul(page));
    let fits = if room.fits == Some(true) { "it fits" } else { "it does not fit" };
    let now = match (room.left_bytes, room.fits_now) {
        (Some(left), Some(fits)) => format!(
            "; {} there is free or of files, {} for what would move",
            bytes(left),
            if fits { "enough" } else { "too little" }
        ),
        _ => "; how much of that is free is not known".into(),
    };
    format!(
        "{} resident, {} of it there already, and node {} has {}: {fits}{now}",
        size(room.pages),
        size(room.pages_there),
        made.node,
        bytes(room.node_bytes)
    )
}

/// Head and width of each column behind the node.
const COLUMNS: [(&str, usize); 9] = [
    ("CPUS", 6),
    ("REMOTE", 8),
    ("ACCESS", 8),
    ("CHANGE", 8),
    ("MOVED", 8),
    ("USED", 8),
    ("ABOVE", 8),
    ("WAIT+", 8),
    ("MEMORY", 10),
];

fn table(page: &mut Page, snapshot: &Snapshot, what_if: &WhatIf) {
    if let Some(first) = what_if.estimates.first() {
        page.entry("now", &remote_now(snapshot, &first.access), Tone::Plain);
        if let Some(pressure) = &first.pressure {
            let wanted = format!(
                "{:.2} CPUs wanted on average, {:.2} at most in an interval; {} was waited",
                pressure.average_cpus,
                pressure.peak_cpus,
                duration(pressure.waited_ns)
            );
            page.entry("", &wanted, Tone::Plain);
        }
    }
    page.line("", Tone::Plain);
    let heads: String = COLUMNS.iter().map(|(head, width)| right(head, *width)).collect();
    page.line(&format!("  {}{heads}", left("NODE", 6)), Tone::Strong);
    what_if.estimates.iter().for_each(|made| page.line(&row(made), Tone::Plain));
    for node in snapshot.host.nodes.iter().filter(|node| node.cpus.is_empty()) {
        page.line(&format!("  {}  no CPUs: nothing can be bound to it", left(&node.id.to_string(), 6)), Tone::Plain);
    }
    page.paragraph(
        "  ",
        "REMOTE, ACCESS and CHANGE: remote share of accesses, their time against local ones and its change with the CPUs bound; MOVED: the change with memory moved too. USED: of the CPUs' time; ABOVE: time in which more is wanted; WAIT+: waiting added by the model. - is not measured.",
    );
}

fn remote_now(snapshot: &Snapshot, access: &Access) -> String {
    let before = Access { bound_remote_share: None, moved_remote_share: None, ..access.clone() };
    let cost = access
        .expected_cost
        .map_or_else(String::new, |cost| format!("; {} times a local access expected", words::factor(cost)));
    remote(snapshot, &before).trim_start_matches("now ").to_owned() + &cost
}

fn row(made: &Estimate) -> String {
    let (access, pressure) = (&made.access, made.pressure.as_ref());
    let shown = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let memory = match made.room.as_ref().map(|room| (room.fits, room.fits_now)) {
        Some((Some(false), _)) => "too large",
        Some((Some(true), Some(false))) => "not now",
        Some((Some(true), _)) => "fits",
        _ => "-",
    };
    let cells = [
        count(made.cpus),
        shown(access.bound_remote_share.map(percent)),
        shown(access.bound_cost.map(words::factor)),
        shown(change(access.bound_change)),
        shown(change(access.moved_change)),
        shown(pressure.map(|pressure| percent(pressure.utilisation))),
        shown(pressure.map(|pressure| percent(pressure.above_share))),
        shown(pressure.map(|pressure| duration(pressure.added_wait_ns))),
        memory.to_owned(),
    ];
    let cells: String = cells.iter().zip(COLUMNS).map(|(cell, (_, width))| right(cell, width)).collect();
    format!("  {}{cells}", left(&made.node.to_string(), 6))
}
