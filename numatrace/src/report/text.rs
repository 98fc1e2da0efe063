//! The report for people. The header says what was traced and what was lost, always; then conclusions, totals, page touches,
//! threads, nodes, and last the sources that are off. What does not fit is left out and said to be.

mod details;
mod diff;
mod findings;
mod nodes;
mod page;
mod quota;
mod threads;
mod totals;
mod touches;
mod what_if;

use std::io::{self, Write};

use super::SortKey;
use crate::diff::Diff;
use crate::snapshot::{Finding, Gap, Loss, Selection, SelfCost, Snapshot, Source, SourceState};
use crate::text::{count, duration, share};
use crate::whatif::WhatIf;
use crate::words;
use page::{Page, Tone};

/// Narrowest report: a terminal that is narrower wraps the lines itself.
pub const MIN_WIDTH: usize = 80;

/// How a text report looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextOptions {
    /// Show at most this many threads; 0 shows all.
    pub top: usize,
    /// Order of threads.
    pub sort: SortKey,
    /// Columns, at least [`MIN_WIDTH`].
    pub width: usize,
    /// Use colour. Nothing is told by colour alone.
    pub color: bool,
}

impl Default for TextOptions {
    fn default() -> TextOptions {
        TextOptions { top: 20, sort: SortKey::default(), width: 120, color: false }
    }
}

/// Writes the report, which ends with a newline, in one piece.
///
/// # Errors
/// When `out` cannot be written.
pub fn write(snapshot: &Snapshot, options: &TextOptions, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
    let mut page = Page::new(options.width.max(MIN_WIDTH), options.color);
    header(&mut page, snapshot);
    findings::write(&mut page, &snapshot.findings);
    totals::write(&mut page, snapshot);
    quota::write(&mut page, snapshot);
    touches::write(&mut page, snapshot);
    match &snapshot.groups {
        Some(groups) => threads::write_groups(&mut page, groups, snapshot, options),
        None => threads::write(&mut page, snapshot, options),
    }
    details::write(&mut page, snapshot, options);
    nodes::write(&mut page, snapshot);
    sources(&mut page, &snapshot.sources);
    out.write_all(page.finish().as_bytes())
}

/// Writes what binding to nodes would do, as a section behind the report: each node in some lines, or as a row of a table.
///
/// # Errors
/// When `out` cannot be written.
pub fn write_what_if(
    snapshot: &Snapshot,
    what_if: &WhatIf,
    options: &TextOptions,
    out: &mut (impl Write + ?Sized),
) -> io::Result<()> {
    let mut page = Page::new(options.width.max(MIN_WIDTH), options.color);
    what_if::write(&mut page, snapshot, what_if);
    out.write_all(page.finish().as_bytes())
}

/// Writes findings alone, or one sentence where there are none.
///
/// # Errors
/// When `out` cannot be written.
pub fn write_findings(findings: &[Finding], options: &TextOptions, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
    let mut page = Page::new(options.width.max(MIN_WIDTH), options.color);
    findings::list(&mut page, findings);
    out.write_all(page.finish().as_bytes())
}

/// Writes a comparison of two recordings.
///
/// # Errors
/// When `out` cannot be written.
pub fn write_diff(diff: &Diff, options: &TextOptions, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
    let mut page = Page::new(options.width.max(MIN_WIDTH), options.color);
    diff::write(&mut page, diff);
    out.write_all(page.finish().as_bytes())
}

fn header(page: &mut Page, snapshot: &Snapshot) {
    let host = &snapshot.host;
    let plural = |n: usize, one: &str| format!("{} {one}{}", count(n as u64), if n == 1 { "" } else { "s" });
    page.entry("target", &snapshot.target.label, Tone::Strong);
    page.entry("time", &format!("{} from {}", duration(snapshot.duration_ns), snapshot.start), Tone::Plain);
    if let Some(selection) = &snapshot.selection {
        page.entry("threads", &selected(selection, snapshot.threads.len() as u64), Tone::Strong);
    }
    if let Some(sentence) = &snapshot.incomplete {
        page.entry("missing", sentence, Tone::Bad);
    }
    let cpus = plural(host.cpus as usize, "CPU");
    let nodes = plural(host.nodes.len(), "node");
    page.entry("host", &format!("Linux {} {}, {cpus}, {nodes}", host.kernel, host.arch), Tone::Plain);
    loss(page, &snapshot.loss);
    gaps(page, &snapshot.gaps);
    if let Some(cost) = &snapshot.self_cost {
        self_cost(page, cost);
    }
    if snapshot.refused_threads > 0 {
        let n = count(snapshot.refused_threads);
        page.entry("missing", &format!("{n} threads could not be tracked: their numbers are nowhere here"), Tone::Bad);
    }
    page.entry("tool", &format!("{} {}", snapshot.tool.name, snapshot.tool.version), Tone::Plain);
}

/// Which threads this is about.
fn selected(selection: &Selection, threads: u64) -> String {
    let ids = selection.tids.iter().map(|tid| format!("id {tid}"));
    let names = selection.comms.iter().map(|comm| format!("name {comm}"));
    let wanted: Vec<String> = ids.chain(names).collect();
    let mut line = format!("{} of {}: {}", count(threads), count(selection.of_threads), wanted.join(", "));
    if selection.dropped_threads > 0 {
        let gone = count(selection.dropped_threads);
        line.push_str(&format!("; {gone} that ended earlier are in no number here, whatever their names"));
    }
    line + "; records and sources are those of all"
}

fn loss(page: &mut Page, loss: &Loss) {
    let sum = format!("lost {} of {} records", count(loss.records_lost), count(loss.records_wanted));
    if loss.records_lost == 0 {
        page.entry("records", &sum, Tone::Plain);
        return;
    }
    let reasons = [
        (loss.by_reason.ring_full, "ring full: a larger --ring-size helps"),
        (loss.by_reason.no_ring, "no ring for their CPU"),
        (loss.by_reason.undecodable, "not decodable"),
    ];
    let reasons: Vec<String> =
        reasons.iter().filter(|(n, _)| *n > 0).map(|(n, why)| format!("{} {why}", count(*n))).collect();
    let line = format!("{sum} ({}): {}", share(loss.records_lost, loss.records_wanted), reasons.join("; "));
    page.entry("records", &line, Tone::Bad);
    const SHOWN: usize = 3;
    let mut when: Vec<String> = loss
        .intervals
        .iter()
        .take(SHOWN)
        .map(|i| format!("{} at {} to {}", count(i.lost), duration(i.start_ns), duration(i.end_ns)))
        .collect();
    if loss.intervals.len() > SHOWN {
        when.push(format!("... and in {} more intervals", loss.intervals.len() - SHOWN));
    }
    if !when.is_empty() {
        page.entry("", &when.join(", "), Tone::Plain);
    }
    let meaning = "time, waits and switches stay exact; percentiles, migrations, residency, wakers and who ran instead miss the lost ones";
    page.entry("", meaning, Tone::Plain);
}

/// What numatrace itself took, and left out.
fn self_cost(page: &mut Page, cost: &SelfCost) {
    let tone = if cost.shed.not_held { Tone::Bad } else { Tone::Plain };
    page.entry("self", &words::self_cost(cost), tone);
    if let Some(sentence) = words::shed(cost) {
        page.entry("left out", &sentence, Tone::Bad);
    }
}

/// Times in which a source saw nothing of a CPU.
fn gaps(page: &mut Page, gaps: &[Gap]) {
    const SHOWN: usize = 3;
    let mut sources: Vec<&str> = gaps.iter().map(|gap| gap.source.as_str()).collect();
    sources.sort_unstable();
    sources.dedup();
    for source in sources {
        let all: Vec<&Gap> = gaps.iter().filter(|gap| gap.source == source).collect();
        let mut when: Vec<String> = all.iter().take(SHOWN).map(|gap| words::gap(gap)).collect();
        if all.len() > SHOWN {
            when.push(format!("... and {} more times", all.len() - SHOWN));
        }
        let line = format!("{source} saw {}: what it counts is too low by what happened then", when.join(", "));
        page.entry("gaps", &line, Tone::Bad);
    }
}

fn sources(page: &mut Page, sources: &[Source]) {
    page.heading("Sources", "");
    let on = sources.iter().filter(|s| s.state == SourceState::On).count();
    page.paragraph("  ", &format!("{on} of {} fully on", sources.len()));
    for source in sources.iter().filter(|s| s.state != SourceState::On) {
        let state = match source.state {
            SourceState::On => "on",
            SourceState::Off => "off",
            SourceState::BestEffort => "best effort",
            SourceState::Sampled => "sampled",
        };
        let reason = source.reason.as_deref().unwrap_or("no reason known");
        page.paragraph("  ", &format!("{}: {state}; {reason}", source.name));
    }
}
