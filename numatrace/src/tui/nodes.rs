//! What the Nodes tab says: between which nodes threads move and pages are touched, beside how far these are from each other;
//! where pages lie and where threads ran. Pure text.

use super::cells;
use super::heat::{self, Map};
use super::page::{self, Block, Line, Role, column_width};
use super::rows::weigh_remote;
use super::touches;
use crate::snapshot::{Snapshot, sources};
use crate::text;
use crate::units::sum;
use crate::words;

/// Narrower pages leave out what tells least.
const NARROW: usize = 48;

/// What the page is made of.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// Numbers of the window.
    pub numbers: &'a Snapshot,
    /// What happened in the stretch of time that rates are over.
    pub rates: &'a Snapshot,
    /// The window in words.
    pub window: &'a str,
}

/// The page in lines of at most `width` columns.
pub fn lines(content: &Content<'_>, width: u16) -> Vec<Line> {
    if content.numbers.host.nodes.is_empty() {
        return vec![Line::of("The machine's nodes are not known.", Role::Plain)];
    }
    let columns = column_width(width);
    let summary = summary(content, columns);
    let mut by_node = by_node(content, columns);
    if let Some(memory) = memory(content, columns) {
        by_node.push(Line::default());
        by_node.lines.extend(memory.lines);
    }
    let maps = maps(content.numbers, usize::from(width));
    if width >= page::TWO_COLUMNS {
        // Not as wide as it happens to be: what stands beside would jump.
        let first = vec![summary.at_least(columns), by_node];
        return page::rows([first].into_iter().chain(maps));
    }
    page::rows([vec![summary]].into_iter().chain(maps).chain([vec![by_node]]))
}

fn summary(content: &Content<'_>, columns: usize) -> Block {
    let beside = format!("{}; faults, not accesses", content.window);
    let mut block = Block::new("Page touches", &beside);
    let (now, rates) = (&content.numbers.totals, &content.rates.totals);
    touches::summary(&mut block, &touches::Of { now, rates, stretch: content.rates }, columns);
    block
}

/// The matrices, as many in a row as fit. One node has none: nothing can be between nodes.
fn maps(numbers: &Snapshot, width: usize) -> Vec<Vec<Block>> {
    let host = &numbers.host;
    if host.nodes.len() < 2 {
        return Vec::new();
    }
    let ids: Vec<u32> = host.nodes.iter().map(|node| node.id.0).collect();
    let distances: Vec<Vec<u64>> =
        host.distances.iter().map(|row| row.iter().copied().map(u64::from).collect()).collect();
    let map = |title, order, cells| Map { title, order, ids: &ids, cells };
    let mut all = Vec::new();
    if let Some(touches) = &numbers.matrices.page_touches {
        all.push(map("Page touches by node", ["CPU", "page"], touches.as_slice()));
    }
    if !numbers.matrices.migrations.is_empty() {
        all.push(map("Migrations by node", ["from", "to"], &numbers.matrices.migrations));
    }
    let distances = (!distances.is_empty()).then(|| map("Distances", ["from", "to"], &distances));
    heat::arrange(&all, distances.as_ref(), &host.distances, width)
}

/// A row for each node: what ran there, what lies there, who touched what.
fn by_node(content: &Content<'_>, columns: usize) -> Block {
    let numbers = content.numbers;
    let totals = &numbers.totals;
    let mut block = Block::new("By node", &placed(numbers));
    let heads = [("ran", 8), ("share", 7), ("pages", 8), ("share", 7), ("touches", 9), ("remote%", 8)];
    block.push(Line::default().left("", 8, Role::Head).heads(&heads));
    let ran_in_all = sum(&totals.residency_ns);
    let pages_in_all = numbers.placement_pages.as_ref().map_or(0, sum);
    for (at, node) in numbers.host.nodes.iter().enumerate() {
        let ran = totals.residency_ns.get(at).copied().unwrap_or(0);
        let pages = numbers.placement_pages.as_ref().and_then(|pages| pages.get(at)).copied();
        let (touched, remote) = of_row(numbers, at);
        let count = |count: Option<u64>| count.map_or_else(|| cells::ABSENT.into(), text::count_short);
        let ran_here = if node.cpus.is_empty() { "no CPU".into() } else { text::duration(ran) };
        block.push(
            Line::default()
                .left(&format!("node {}", node.id), 8, Role::Plain)
                .right(&ran_here, 8, Role::Plain)
                .right(&cells::percent(cells::ratio(ran, ran_in_all)), 7, Role::Plain)
                .right(&count(pages), 8, Role::Plain)
                .right(&cells::percent(pages.and_then(|pages| cells::ratio(pages, pages_in_all))), 7, Role::Plain)
                .right(&count(touched), 9, Role::Plain)
                .right(&cells::percent(remote), 8, weigh_remote(remote)),
        );
    }
    block.say("touches: by threads on CPUs of the node", columns, Role::Dim);
    touches::placement_absent(&mut block, numbers, columns);
    block
}

/// A row for each node: how much of its memory is free, and how often its allocator could not give what was wanted. `None`
/// where no source was ever there for it, as in older recordings.
fn memory(content: &Content<'_>, columns: usize) -> Option<Block> {
    let numbers = content.numbers;
    let mut block = Block::new("Memory by node", "of the whole machine");
    let Some(all) = words::node_memory(numbers) else {
        numbers.why_absent(&sources::NODE_MEMORY)?;
        let why = words::not_measured(numbers, &sources::NODE_MEMORY).replacen("not", "Not", 1);
        block.say(&format!("{why}."), columns, Role::Dim);
        return Some(block);
    };
    // A narrow page has no room for what tells least.
    let files = if columns < NARROW { 0 } else { 9 };
    let head = Line::default().left("", 8, Role::Head).heads(&[("free", 9), ("share", 7)]);
    let head = if files > 0 { head.right("files", files, Role::Head) } else { head };
    block.push(head.heads(&[("miss", 7), ("foreign", 8)]));
    for (at, memory) in all {
        let id = numbers.host.nodes.get(at).map_or(0, |node| node.id.0);
        let line = Line::default()
            .left(&format!("node {id}"), 8, Role::Plain)
            .right(&text::bytes(memory.free_bytes), 9, Role::Plain)
            .right(&text::share(memory.free_bytes, memory.total_bytes), 7, Role::Plain);
        let line = if files > 0 { line.right(&text::bytes(memory.file_bytes), files, Role::Plain) } else { line };
        let line = line.right(&text::count_short(memory.miss), 7, Role::Plain);
        block.push(line.right(&text::count_short(memory.foreign), 8, Role::Plain));
    }
    block.say("miss: pages put here that were wanted elsewhere; foreign: the opposite", columns, Role::Dim);
    Some(block)
}

/// How old the numbers of pages are.
fn placed(numbers: &Snapshot) -> String {
    match (&numbers.placement_pages, numbers.placement_age_ns) {
        (Some(_), Some(age)) => format!("pages as of {} ago", text::duration(age)),
        _ => String::new(),
    }
}

/// Page touches by the CPUs of a node, and the share of remote ones.
fn of_row(numbers: &Snapshot, at: usize) -> (Option<u64>, Option<f64>) {
    let Some(row) = numbers.matrices.page_touches.as_ref().and_then(|matrix| matrix.get(at)) else {
        return (None, None);
    };
    let all = sum(row);
    let remote = all - row.get(at).copied().unwrap_or(0).min(all);
    (Some(all), cells::ratio(remote, all))
}
