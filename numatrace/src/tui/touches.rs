//! What pages say of page touches, for the target as a whole or for a thread: shared by Overview, Thread detail and Nodes.
//! Pure text.

use super::cells;
use super::page::{Block, Line, Role};
use super::rows::weigh_remote;
use crate::snapshot::{Location, Snapshot, ThreadStats, sources};
use crate::text;
use crate::units::sum;
use crate::words;

/// Width of the names at the left.
const NAME: usize = 14;

/// Whose page touches these are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Of<'a> {
    /// Numbers of the window.
    pub now: &'a ThreadStats,
    /// The same in the stretch of time that rates are over.
    pub rates: &'a ThreadStats,
    /// The whole of that stretch; sources and nodes are in it.
    pub stretch: &'a Snapshot,
}

/// How many, how many of them remote and what that costs; hint faults. What is not measured has one line that says why.
pub(super) fn summary(block: &mut Block, of: &Of<'_>, columns: usize) {
    match of.now.touches {
        Some(_) => counted(block, of, columns),
        None => absent(block, of.stretch, "", &sources::TOUCHES, columns),
    }
    hint_faults(block, of, columns);
}

/// Why it is not known where pages lie, where that is so.
pub(super) fn placement_absent(block: &mut Block, numbers: &Snapshot, columns: usize) {
    if numbers.placement_pages.is_none() && numbers.why_absent(&sources::PLACEMENT).is_some() {
        let why = words::not_measured(numbers, &sources::PLACEMENT);
        block.say(&format!("Where pages lie is {why}."), columns, Role::Dim);
    }
}

/// Not measured, and why, after a name; nothing where no such source was ever there, as in older recordings, but for the
/// first thing that would be said.
fn absent(block: &mut Block, stretch: &Snapshot, name: &str, of: &[&str], columns: usize) {
    let why = words::not_measured(stretch, of);
    if name.is_empty() {
        let why = why.replacen("not", "Not", 1);
        block.say(&format!("{why}."), columns, Role::Dim);
    } else if stretch.why_absent(of).is_some() {
        block.say_of((name, Role::Plain), NAME, &why, columns);
    }
}

fn counted(block: &mut Block, of: &Of<'_>, columns: usize) {
    let all = |stats: &ThreadStats| stats.touches.map(|touches| touches.total().all());
    let rate = all(of.rates).and_then(|count| cells::per_second(count, of.stretch));
    let count = all(of.now).map_or_else(|| cells::ABSENT.into(), text::count_short);
    let line = Line::default().left("touches", NAME, Role::Plain).right(&count, 7, Role::Plain);
    block.push(line.with(format!("  {}/s", cells::rate(rate)), Role::Plain));
    if let [_] = of.stretch.host.nodes[..] {
        block.say("This machine has one node: all of them are local.", columns, Role::Plain);
        return;
    }
    const ESTIMATE: &str = "  an estimate";
    let bar = columns.saturating_sub(NAME + 8 + 1 + ESTIMATE.len()).min(30);
    let share = |name: &str, share: Option<f64>, role: Role| {
        Line::default().left(name, NAME, Role::Plain).share(share, role, bar)
    };
    let remote = of.now.remote_share;
    block.push(share("remote share", remote, weigh_remote(remote)));
    if of.now.expected_remote_share.is_some() {
        block.push(share("if uniform", of.now.expected_remote_share, Role::Plain).with(ESTIMATE, Role::Dim));
    }
    if let Some(cost) = of.now.cost_factor {
        let line = Line::default().left("cost factor", NAME, Role::Plain).right(&words::factor(cost), 7, Role::Plain);
        block.push(line.with("  mean distance/10: 1.00 is all local", Role::Dim));
    }
}

fn hint_faults(block: &mut Block, of: &Of<'_>, columns: usize) {
    let Some(faults) = of.now.hint_faults else {
        return absent(block, of.stretch, "hint faults", &sources::HINT_FAULTS, columns);
    };
    let all = sum([&faults.local, &faults.remote]);
    let remote = text::share(faults.remote, all);
    let (local, far) = (text::count_short(faults.local), text::count_short(faults.remote));
    let moved = of
        .now
        .pages_migrated
        .map_or_else(String::new, |pages| format!("; {} pages moved by NUMA balancing", text::count_short(pages)));
    let time = of.now.hint_fault_ns.map_or_else(String::new, |ns| format!(", {} in them", text::duration(ns)));
    let line = format!("{local} local, {far} remote ({remote}){time}{moved}");
    block.say_of(("hint faults", Role::Plain), NAME, &line, columns);
}

/// A row for each kind.
pub(super) fn kinds(block: &mut Block, stats: &ThreadStats) {
    let Some(touches) = stats.touches else { return };
    let heads = [("local", 9), ("remote", 9), ("unknown", 9), ("remote%", 9)];
    block.push(Line::default().left("", NAME + 2, Role::Head).heads(&heads));
    let all = if touches.zero.is_some() { "all but zero" } else { "all" };
    let rows = touches.kinds().map(|(name, counts)| (words::kind(name), counts)).chain([(all, touches.total())]);
    for (name, counts) in rows {
        let share = counts.remote_share();
        block.push(
            Line::default()
                .left(name, NAME + 2, Role::Plain)
                .right(&text::count_short(counts.local), 9, Role::Plain)
                .right(&text::count_short(counts.remote), 9, Role::Plain)
                .right(&text::count_short(counts.unknown), 9, Role::Dim)
                .right(&cells::percent(share), 9, weigh_remote(share)),
        );
    }
}

/// From where in the program: mapping and code, with callers below where they are known.
pub(super) fn locations(block: &mut Block, stats: &ThreadStats, stretch: &Snapshot, columns: usize) {
    let all = match &stats.locations {
        Some(all) if !all.is_empty() => all,
        Some(_) => return block.push(Line::of("No page touch was sampled.", Role::Plain)),
        None => return absent(block, stretch, "", &sources::WHERE, columns),
    };
    let room = columns.saturating_sub(8 + 8 + 2 + 1);
    let symbol = (room * 3 / 5).max(10);
    let mapping = room.saturating_sub(symbol);
    let head = Line::default().heads(&[("remote", 8), ("local", 8)]);
    block.push(head.with("  ", Role::Head).left("code", symbol, Role::Head).left(" mapping", mapping + 1, Role::Head));
    for location in all {
        block.push(place(location, symbol, mapping));
        for (depth, caller) in location.stack.iter().enumerate() {
            // Deeper callers stand further right, as far as there is room.
            let indent = 18 + 2 * (depth + 1).min(8);
            let caller = text::fit(&format!("< {caller}"), columns.saturating_sub(indent));
            block.push(Line::of(" ".repeat(indent), Role::Plain).with(caller, Role::Dim));
        }
    }
}

fn place(location: &Location, symbol: usize, mapping: usize) -> Line {
    let role = if location.remote > location.local { Role::Warn } else { Role::Plain };
    Line::default()
        .right(&text::count_short(location.remote), 8, role)
        .right(&text::count_short(location.local), 8, Role::Plain)
        .with("  ", Role::Plain)
        .left(&location.symbol, symbol, Role::Plain)
        .left(&format!(" {}", words::mapping(&location.mapping, mapping)), mapping + 1, Role::Dim)
}
