//! Page touches: how many of which kind, how many of them remote and what that costs, where the pages lie, and from where in
//! the program the remote ones come. What is not measured has one line that says why.

use super::page::{Page, Tone};
use crate::snapshot::{LocalRemote, Location, Snapshot, ThreadStats, TouchCount, Touches, sources};
use crate::text::{count, duration, left, percent, right, share};
use crate::units::sum;
use crate::words;

/// Locations shown of the whole.
const LOCATIONS: usize = 8;

pub(super) fn write(page: &mut Page, snapshot: &Snapshot) {
    page.heading("Page touches", "");
    match &snapshot.totals.touches {
        Some(touches) => {
            page.paragraph("  ", words::FAULTS);
            kinds(page, touches);
            remote(page, snapshot, &touches.total());
        }
        None => page.entry("touches", &words::not_measured(snapshot, &sources::TOUCHES), Tone::Plain),
    }
    let hints = snapshot.totals.hint_faults.map(|faults| hint_faults(faults, &snapshot.totals));
    entry(page, snapshot, "hint faults", hints, &sources::HINT_FAULTS);
    let moved = snapshot.totals.pages_migrated.map(|pages| format!("{} pages, by NUMA balancing", count(pages)));
    entry(page, snapshot, "moved", moved, &sources::MIGRATED);
    let lies = snapshot.placement_pages.as_ref().map(|pages| placement(snapshot, pages));
    entry(page, snapshot, "placement", lies, &sources::PLACEMENT);
    locations(page, snapshot);
}

/// A number, or why there is none; nothing where no such source was ever there, as in older recordings.
fn entry(page: &mut Page, snapshot: &Snapshot, label: &str, number: Option<String>, sources: &[&str]) {
    match number {
        Some(number) => page.entry(label, &number, Tone::Plain),
        None if snapshot.why_absent(sources).is_none() => {}
        None => page.entry(label, &words::not_measured(snapshot, sources), Tone::Plain),
    }
}

fn kinds(page: &mut Page, touches: &Touches) {
    let columns = ["local", "remote", "unknown", "remote%"];
    page.line(&row("", &columns.map(str::to_owned)), Tone::Plain);
    for (name, counts) in touches.kinds() {
        page.line(&row(&format!("  {}", words::kind(name)), &cells(&counts)), Tone::Plain);
    }
    let all = if touches.zero.is_some() { "  all but zero page" } else { "  all" };
    page.line(&row(all, &cells(&touches.total())), Tone::Plain);
}

fn cells(counts: &TouchCount) -> [String; 4] {
    let share = counts.remote_share().map_or_else(|| "-".into(), percent);
    [count(counts.local), count(counts.remote), count(counts.unknown), share]
}

fn row(name: &str, cells: &[String; 4]) -> String {
    let cells: String = cells.iter().zip([14, 14, 14, 8]).map(|(cell, columns)| right(cell, columns)).collect();
    format!("{}{cells}", left(name, 19))
}

/// What the counts come to, and what they would come to by chance.
fn remote(page: &mut Page, snapshot: &Snapshot, total: &TouchCount) {
    let totals = &snapshot.totals;
    if let [_] = snapshot.host.nodes[..] {
        page.entry("remote", "none can be: the machine has one node", Tone::Plain);
        return;
    }
    let share = totals.remote_share.map_or_else(
        || "not known: no page touch whose node is known".into(),
        |share| format!("{} of the {} whose node is known", percent(share), count(sum([&total.local, &total.remote]))),
    );
    page.entry("remote", &share, Tone::Plain);
    if let Some(expected) = totals.expected_remote_share {
        let what = "if accesses were uniform: an estimate from where threads ran and where pages lie";
        page.entry("expected", &format!("{} {what}", percent(expected)), Tone::Plain);
    }
    if let Some(cost) = totals.cost_factor {
        let what = "mean distance of page touches / 10: 1.00 is all local";
        page.entry("cost factor", &format!("{}, {what}", words::factor(cost)), Tone::Plain);
    }
}

fn hint_faults(faults: LocalRemote, totals: &ThreadStats) -> String {
    let all = sum([&faults.local, &faults.remote]);
    let time = totals.hint_fault_ns.map_or_else(String::new, |ns| {
        format!("; {} in them, {} of the time on CPU", duration(ns), share(ns, totals.cpu_ns))
    });
    format!("{} local, {} remote ({}){time}", count(faults.local), count(faults.remote), share(faults.remote, all))
}

fn placement(snapshot: &Snapshot, pages: &[u64]) -> String {
    let all = sum(pages);
    let by_node = snapshot.host.nodes.iter().zip(pages);
    let parts: Vec<String> = by_node
        .filter(|(_, pages)| **pages > 0)
        .map(|(node, pages)| format!("node {} {} ({})", node.id, count(*pages), share(*pages, all)))
        .collect();
    let pages = if parts.is_empty() { "no pages".into() } else { format!("pages on {}", parts.join(", ")) };
    match snapshot.placement_age_ns {
        Some(age) => format!("{pages}; as of {} ago", duration(age)),
        None => pages,
    }
}

fn locations(page: &mut Page, snapshot: &Snapshot) {
    let Some(all) = &snapshot.totals.locations else {
        // Without touches there are none to tell the origin of.
        if snapshot.totals.touches.is_some() {
            entry(page, snapshot, "from where", None, &sources::WHERE);
        }
        return;
    };
    if all.is_empty() {
        return;
    }
    page.heading("Where page touches come from, most remote ones first", "estimates from samples");
    let room = page.width.saturating_sub(2 + 2 * 11 + 2);
    let mapping = (room / 2).min(40);
    let line = |remote: &str, local: &str, from: &str, symbol: &str| {
        let cells = format!("  {}{}", right(remote, 11), right(local, 11));
        format!(
            "{cells}  {} {}",
            left(&words::mapping(from, mapping), mapping),
            left(symbol, room.saturating_sub(mapping + 1))
        )
    };
    page.line(&line("REMOTE", "LOCAL", "MAPPING", "CODE"), Tone::Strong);
    for location in all.iter().take(LOCATIONS) {
        let counts = (count(location.remote), count(location.local));
        page.line(&line(&counts.0, &counts.1, &location.mapping, &location.symbol), Tone::Plain);
        if !location.stack.is_empty() {
            page.paragraph(&" ".repeat(26), &format!("called by {}", location.stack.join(", by ")));
        }
    }
    if all.len() > LOCATIONS {
        page.paragraph("  ", &format!("... and {} more", all.len() - LOCATIONS));
    }
}

/// For a thread: `main in [heap] 20 remote, 3 local`.
pub(super) fn location(location: &Location) -> String {
    let Location { symbol, mapping, remote, local, .. } = location;
    format!("{symbol} in {mapping} ({} remote, {} local)", count(*remote), count(*local))
}
