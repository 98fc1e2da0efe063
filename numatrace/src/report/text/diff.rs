//! Two recordings side by side: what each is, what makes them hard to compare, what changed in sum, in each group of threads, and
//! of what is wrong.

use super::page::{Page, Tone};
use crate::diff::metric::Unit;
use crate::diff::{Change, Diff, Expected, Group, Side, Size, Status, Verdict, changed};
use crate::text::{count, duration, left, percent, right};
use crate::words;

pub(super) fn write(page: &mut Page, diff: &Diff) {
    side(page, "before", &diff.before);
    side(page, "after", &diff.after);
    diff.warnings.iter().for_each(|sentence| page.entry("note", sentence, Tone::Bad));
    page.entry("verdict", &summary(diff), Tone::Strong);
    page.heading("All threads", "");
    table(page, &diff.totals);
    for group in &diff.groups {
        one_group(page, group);
    }
    if diff.groups_left_out > 0 {
        let n = count(diff.groups_left_out);
        page.line("", Tone::Plain);
        page.paragraph(
            "",
            &format!("{n} more groups are in the sums of all threads alone (--top 0 compares them, too)."),
        );
    }
    findings(page, diff);
    diff.what_if.iter().for_each(|expected| what_if(page, expected));
    method(page, diff);
}

fn side(page: &mut Page, label: &str, side: &Side) {
    let lost = if side.records_lost > 0 {
        format!(", lost {} of {} records", count(side.records_lost), count(side.records_wanted))
    } else {
        String::new()
    };
    let intervals = format!("{} intervals", count(side.intervals));
    let text = format!(
        "{}: {}, {} from {}, {intervals}{lost}",
        side.file,
        side.target,
        duration(side.duration_ns),
        side.start
    );
    page.entry(label, &text, Tone::Plain);
}

fn summary(diff: &Diff) -> String {
    let method = &diff.method;
    if method.comparisons == 0 {
        let short = diff.totals.iter().any(|change| change.verdict == Verdict::TooShort);
        return if short {
            "too short to tell: record for longer, or with shorter intervals (record --interval 200ms)".into()
        } else {
            "too few events to tell: record for longer, or under load".into()
        };
    }
    let numbers = if method.comparisons == 1 { "number" } else { "numbers" };
    match method.changes {
        0 => format!("no change beyond noise in any of {} {numbers}", count(method.comparisons)),
        changes => format!(
            "{} of {} {numbers} changed beyond noise: {} in all threads together, {} in groups of threads",
            count(changes),
            count(method.comparisons),
            changed(&diff.totals),
            diff.groups.iter().map(Group::changed).sum::<usize>(),
        ),
    }
}

/// Columns behind the name: before, after, change, interval, verdict.
const WIDTHS: [usize; 4] = [9, 9, 9, 19];
const NAME: usize = 18;

fn table(page: &mut Page, metrics: &[Change]) {
    let heads = ["BEFORE", "AFTER", "CHANGE", "INTERVAL"];
    let heads: String = heads.iter().zip(WIDTHS).map(|(head, width)| right(head, width)).collect();
    page.line(&format!("  {}{heads}  VERDICT", left("", NAME)), Tone::Strong);
    for change in metrics.iter().filter(|change| is_shown(change)) {
        row(page, change);
    }
    let of = |verdict| metrics.iter().filter(move |change| change.verdict == verdict);
    let few: Vec<&str> = of(Verdict::TooFew).map(|change| change.about.title.trim_start()).collect();
    if !few.is_empty() {
        page.paragraph("  ", &format!("too few events: {}", few.join("; ")));
    }
    for change in of(Verdict::Absent) {
        let why = change.reason.as_deref().unwrap_or("not measured");
        page.paragraph("  ", &format!("{}: {why}", change.about.title.trim_start()));
    }
}

/// What never happened is not told, and what is not known is told apart.
fn is_shown(change: &Change) -> bool {
    !matches!(change.verdict, Verdict::Nothing | Verdict::Absent | Verdict::TooFew)
}

fn row(page: &mut Page, change: &Change) {
    let unit = change.about.unit;
    let shown = |value: Option<f64>| value.map_or_else(|| "-".into(), |value| number(unit, value));
    let cells = [
        shown(change.before),
        shown(change.after),
        change.change.map_or_else(|| "-".into(), |change| signed(unit, change)),
        change.interval.map_or_else(|| "-".into(), |interval| between(unit, interval)),
    ];
    let cells: String = cells.iter().zip(WIDTHS).map(|(cell, width)| right(cell, width)).collect();
    let tone = if change.verdict.is_change() { Tone::Strong } else { Tone::Plain };
    page.line(&format!("  {}{cells}  {}", left(change.about.title, NAME), change.verdict.words()), tone);
}

/// A number in at most eight columns.
fn number(unit: Unit, value: f64) -> String {
    match unit {
        // A time that no 64 bits hold is as long as they can tell.
        Unit::Time => duration(value as u64),
        Unit::Share => percent(value),
        Unit::Rate => format!("{}/s", short(value)),
        Unit::Cpus => short(value),
    }
}

/// A change in at most eight columns, its sign before it: `-41.7%`, `+12.3pt`, `+4.50/s`.
fn signed(unit: Unit, change: f64) -> String {
    let sign = if change > 0.0 { "+" } else { "-" };
    let size = change.abs();
    if !size.is_finite() {
        return format!("{sign}inf");
    }
    let told = match unit {
        Unit::Time if size < 9.995 => format!("{:.1}%", size * 100.0),
        Unit::Time => format!("{}x", short(size + 1.0)),
        Unit::Share => format!("{:.1}pt", size * 100.0),
        Unit::Rate => format!("{}/s", short(size)),
        Unit::Cpus => short(size),
    };
    // What rounds to nothing has no sign.
    if told.bytes().any(|byte| matches!(byte, b'1'..=b'9')) { format!("{sign}{told}") } else { told }
}

/// `-41.7% .. -12.3%`; units that are long stand once.
fn between(unit: Unit, [low, high]: [f64; 2]) -> String {
    let low = signed(unit, low);
    let low = low.strip_suffix("pt").or_else(|| low.strip_suffix("/s")).unwrap_or(&low);
    format!("{low} .. {}", signed(unit, high))
}

/// Three digits or so: `0.05`, `12.3`, `4567`, `12.3k`.
fn short(value: f64) -> String {
    match value {
        _ if value < 9.995 => format!("{value:.2}"),
        _ if value < 99.95 => format!("{value:.1}"),
        _ => crate::text::count_short(value.round() as u64),
    }
}

fn one_group(page: &mut Page, group: &Group) {
    page.line("", Tone::Plain);
    let size = |size: &Size| {
        let threads = if size.threads == 1 { "thread" } else { "threads" };
        format!("{} {threads}", count(size.threads))
    };
    let (title, tone) = match (&group.before, &group.after) {
        (Some(old), Some(new)) if old.threads == new.threads => {
            (format!("{}: {}", group.name, size(old)), Tone::Strong)
        }
        (Some(old), Some(new)) => (format!("{}: {} before, {} after", group.name, size(old), size(new)), Tone::Strong),
        (Some(old), None) => (format!("{}: {} before, none after", group.name, size(old)), Tone::Strong),
        (None, Some(new)) => (format!("{}: none before, {} after", group.name, size(new)), Tone::Strong),
        (None, None) => return,
    };
    page.line(&title, tone);
    if group.metrics.is_empty() {
        page.paragraph("  ", "in one recording alone: there is nothing to compare");
    } else if group.changed() > 0 {
        table(page, &group.metrics);
    } else {
        let numbers = group.metrics.iter().filter(|change| is_shown(change)).count();
        page.paragraph("  ", &unchanged(group, numbers));
    }
}

/// A group of which nothing changed, in a sentence with the numbers that are asked for first.
fn unchanged(group: &Group, numbers: usize) -> String {
    let told = ["runq.p99", "wait_share", "migrations.cross_node", "remote_share"];
    let find = |name: &&str| group.metrics.iter().find(|change| change.metric == *name && is_shown(change));
    let words = told.iter().filter_map(find).filter_map(|change| {
        let unit = change.about.unit;
        let (old, new) = change.before.zip(change.after)?;
        Some(format!("{} {} -> {}", change.about.title.trim_start(), number(unit, old), number(unit, new)))
    });
    let words: Vec<String> = words.collect();
    let numbers = format!("{numbers} {}", if numbers == 1 { "number" } else { "numbers" });
    let why = match group.metrics.iter().any(|change| change.verdict == Verdict::NoChange) {
        true => format!("no change beyond noise in {numbers}"),
        false => format!("too short or too few events to tell in {numbers}"),
    };
    if words.is_empty() { why } else { format!("{why} ({})", words.join(", ")) }
}

fn findings(page: &mut Page, diff: &Diff) {
    page.heading("Findings", "");
    if diff.findings.is_empty() {
        page.paragraph("  ", "No rule found anything, neither before nor after.");
    }
    for finding in &diff.findings {
        let label = match finding.status {
            Status::Gone => "gone",
            Status::StillThere => "still there",
            Status::New => "new",
        };
        let tone = if finding.status == Status::New { Tone::Bad } else { Tone::Plain };
        let told = [("before", &finding.before), ("after", &finding.after)];
        let told = told.into_iter().filter_map(|(side, severe)| Some((side, severe.as_ref()?)));
        for (nth, (side, severe)) in told.enumerate() {
            // Where it is only in one, the label says in which.
            let side = if finding.status == Status::StillThere { format!("{side}, ") } else { String::new() };
            page.entry(
                if nth == 0 { label } else { "" },
                &format!("{side}{}: {}", severe.severity, severe.title),
                tone,
            );
        }
    }
}

fn what_if(page: &mut Page, expected: &Expected) {
    let (estimate, measured) = (&expected.estimate, &expected.measured);
    let note = "what was estimated from the first recording, and what the second measured";
    page.heading(&format!("Bound to node {}", estimate.node), note);
    let share = |share: Option<f64>| share.map_or_else(|| "-".into(), percent);
    let cost = |cost: Option<f64>| cost.map_or_else(|| "-".into(), words::factor);
    let access = &estimate.access;
    let on_node = match measured.on_node {
        Some(on_node) => format!("{} of the time on CPU was on node {} after", percent(on_node), estimate.node),
        None => "no time on CPU after".into(),
    };
    page.entry("on node", &on_node, Tone::Plain);
    let remote = format!(
        "of accesses expected {} before; estimated {} bound, {} moved too; expected {} after",
        share(access.expected_remote_share),
        share(access.bound_remote_share),
        share(access.moved_remote_share),
        share(measured.expected_remote_share),
    );
    page.entry("remote", &remote, Tone::Plain);
    let costs = format!(
        "{} local accesses before; estimated {} bound, {} moved too; {} after",
        cost(access.expected_cost),
        cost(access.bound_cost),
        cost(access.moved_cost),
        cost(measured.expected_cost),
    );
    page.entry("access", &costs, Tone::Plain);
    let waited = |ns: f64| duration(ns as u64);
    let waits = format!(
        "{} a second before; estimated {} at least; {} after",
        waited(expected.waited_before_ns),
        waited(expected.waited_expected_ns),
        waited(measured.waited_ns)
    );
    page.entry("waiting", &waits, Tone::Plain);
}

fn method(page: &mut Page, diff: &Diff) {
    let method = &diff.method;
    page.heading("Method", "");
    let blocks = match (diff.before.block, diff.after.block) {
        (old, new) if old == new => format!("{old}"),
        (old, new) => format!("{old} and {new}"),
    };
    let text = format!(
        "Intervals hold a change with {} confidence: circular block bootstrap, {} draws of blocks of {blocks} intervals, seed {}. A change is told where it is {} or more, and more than noise by Benjamini and Hochberg over all numbers. Within noise: no change beyond it. What differs between two runs of the same, and not within one, no interval holds: record each twice to see it.",
        percent(method.confidence),
        count(method.resamples),
        method.seed,
        percent(method.min_change),
    );
    page.paragraph("  ", &text);
}
