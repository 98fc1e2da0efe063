//! What the Overview says: the target as a whole. Pure text.

use super::cells;
use super::page::{self, Block, Line, Role, bar, column_width, sparkline};
use super::rows::{known_latency, weigh_latency, weigh_share};
use super::{quota, touches};
use crate::snapshot::{Latency, Snapshot, Source, SourceState, Thread, ThreadStats};
use crate::text;
use crate::units::sum;

/// Threads and culprits that are named: so many at least, and one for each so many lines of the terminal.
const NAMED: usize = 5;
const LINES_EACH: usize = 5;

/// What the Overview is made of.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// Numbers of the window.
    pub numbers: &'a Snapshot,
    /// What happened in the stretch of time that rates are over.
    pub rates: &'a Snapshot,
    /// 99th percentile of the waits of each interval, oldest first.
    pub p99s: &'a [Option<u64>],
    /// The window in words.
    pub window: &'a str,
    /// Lines of the terminal.
    pub height: u16,
}

impl Content<'_> {
    fn named(&self) -> usize {
        (usize::from(self.height) / LINES_EACH).max(NAMED)
    }
}

/// The page in lines of at most `width` columns, without the findings, which are above it.
pub fn lines(content: &Content<'_>, width: u16) -> Vec<Line> {
    let columns = column_width(width);
    let mut blocks = vec![latency(content, columns), nodes(content, columns), migrations(content, columns)];
    blocks.push(page_touches(content, columns));
    blocks.extend([waiters(content, columns), culprits(content, columns)]);
    blocks.push(quota::block(content.numbers, content.rates, columns));
    blocks.extend(unmeasured(content, columns));
    page::arrange(blocks, width)
}

fn latency(content: &Content<'_>, columns: usize) -> Block {
    let mut block = Block::new("Run-queue latency", content.window);
    let (runq, rates) = (&content.numbers.totals.runq, &content.rates.totals.runq);
    latency_table(&mut block, [&runq.wakeup, &runq.preempted, &runq.all], |at| {
        let counts = [rates.wakeup.count, rates.preempted.count, rates.all.count];
        cells::per_second(counts[at], content.rates)
    });
    // The newest values that fit.
    let room = columns.saturating_sub(16 + 2 + 6);
    let shown = &content.p99s[content.p99s.len().saturating_sub(room)..];
    if let Some(most) = shown.iter().flatten().max() {
        let mut line = Line::default().left("p99 by interval", 16, Role::Plain);
        line.push(sparkline(shown, *most), Role::Bar);
        line.push(format!(" ≤{}", text::duration(*most)), weigh_latency(Some(*most)));
        block.push(line);
    }
    block
}

/// Rows for waits after wakeups, after preemption, and all; shared with Thread detail.
pub(super) fn latency_table(block: &mut Block, rows: [&Latency; 3], rate: impl Fn(usize) -> Option<f64>) {
    let heads = [("waits", 9), ("/s", 7), ("p50", 8), ("p99", 8), ("p99.9", 8), ("max", 8)];
    block.push(Line::default().left("", 10, Role::Head).heads(&heads));
    for (at, (name, row)) in ["wakeup", "preempted", "all"].into_iter().zip(rows).enumerate() {
        let mut line = Line::default()
            .left(name, 10, Role::Plain)
            .right(&text::count_short(row.count), 9, Role::Plain)
            .right(&cells::rate(rate(at)), 7, Role::Plain);
        for ns in [row.p50_ns, row.p99_ns, row.p999_ns, row.max_ns] {
            let ns = known_latency(row, ns);
            line = line.right(&cells::duration(ns), 8, weigh_latency(ns));
        }
        block.push(line);
    }
}

/// What an overview should have, and nothing measures here, or yet.
fn unmeasured(content: &Content<'_>, columns: usize) -> Option<Block> {
    let mut block = Block::default();
    touches::placement_absent(&mut block, content.numbers, columns);
    (!block.lines.is_empty()).then_some(block)
}

fn page_touches(content: &Content<'_>, columns: usize) -> Block {
    let mut block = Block::new("Page touches", "faults, not accesses");
    let (now, rates) = (&content.numbers.totals, &content.rates.totals);
    touches::summary(&mut block, &touches::Of { now, rates, stretch: content.rates }, columns);
    block
}

fn nodes(content: &Content<'_>, columns: usize) -> Block {
    let snapshot = content.numbers;
    let mut block = Block::new("Nodes", "busy: share of the node's CPUs that the target used");
    if snapshot.host.nodes.is_empty() {
        block.push(Line::of("The machine's nodes are not known.", Role::Plain));
        return block;
    }
    // Time gives way to what lies there: its share says the same.
    let memory = [pages(snapshot), touched(snapshot)];
    let extra: usize = memory.iter().flatten().map(|column| column.width).sum();
    let (cpus, time) = if extra == 0 {
        (10, 10)
    } else if columns < NARROW {
        (6, 0)
    } else {
        (6, 9)
    };
    let room = columns.saturating_sub(9 + 7 + 1 + cpus + time + 7 + extra + 9);
    let mut head = Line::default().left("", 9, Role::Head).right("busy", 7, Role::Head).left("", room + 1, Role::Head);
    head = head.heads(&[("CPUs", cpus), ("time", time), ("share", 7)]);
    head = memory.iter().flatten().fold(head, |head, column| head.right(column.title, column.width, Role::Head));
    block.push(head.right("memory", 9, Role::Head));
    let all = sum(&snapshot.totals.residency_ns);
    for (at, node) in snapshot.host.nodes.iter().enumerate() {
        let spent = |snapshot: &Snapshot| snapshot.totals.residency_ns.get(at).copied().unwrap_or(0);
        let capacity = node.cpus.len() as f64 * content.rates.duration_ns as f64;
        let busy = (capacity > 0.0).then(|| spent(content.rates) as f64 / capacity);
        let cpu_count = match node.cpus.len() {
            0 => "no CPU".into(),
            cpus => cpus.to_string(),
        };
        let mut line = Line::default()
            .left(&format!("node {}", node.id), 9, Role::Plain)
            .right(&cells::percent(busy), 7, Role::Plain)
            .with(" ", Role::Plain)
            .with(bar(busy.unwrap_or(0.0), room), Role::Bar)
            .right(&cpu_count, cpus, Role::Dim)
            .right(&text::duration(spent(snapshot)), time, Role::Plain)
            .right(&cells::percent(cells::ratio(spent(snapshot), all)), 7, Role::Plain);
        for column in memory.iter().flatten() {
            let share = cells::ratio(column.by_node.get(at).copied().unwrap_or(0), sum(&column.by_node));
            line = line.right(&cells::percent(share), column.width, Role::Plain);
        }
        block.push(line.right(&text::bytes(node.memory_bytes), 9, Role::Dim));
    }
    if extra > 0 {
        block.say("pages: of the target's; touched: of its page touches", columns, Role::Dim);
    }
    block
}

/// Narrowest page on which time on CPU has room beside what lies on a node.
const NARROW: usize = 70;

/// A column of the nodes that is only there where its source is.
struct Share {
    title: &'static str,
    width: usize,
    by_node: Vec<u64>,
}

fn pages(snapshot: &Snapshot) -> Option<Share> {
    let by_node = snapshot.placement_pages.clone()?;
    Some(Share { title: "pages", width: 7, by_node })
}

/// Page touches by the node of the page.
fn touched(snapshot: &Snapshot) -> Option<Share> {
    let matrix = snapshot.matrices.page_touches.as_ref()?;
    let of = |at: usize| sum(matrix.iter().filter_map(|row| row.get(at)));
    Some(Share { title: "touched", width: 8, by_node: (0..snapshot.host.nodes.len()).map(of).collect() })
}

fn migrations(content: &Content<'_>, columns: usize) -> Block {
    let (now, rates) = (&content.numbers.totals, &content.rates.totals);
    let mut block = Block::new("Migrations", "moves between CPUs");
    migration_table(&mut block, now, columns, content.rates, rates);
    block
}

/// Levels with rate and share, and why; shared with Thread detail.
pub(super) fn migration_table(
    block: &mut Block,
    now: &ThreadStats,
    columns: usize,
    stretch: &Snapshot,
    rates: &ThreadStats,
) {
    let (m, r) = (&now.migrations, &rates.migrations);
    let total = m.total();
    let room = columns.saturating_sub(14 + 10 + 8 + 8 + 1);
    let levels = [
        ("SMT sibling", m.smt, r.smt),
        ("same cache", m.llc, r.llc),
        ("same node", m.node, r.node),
        ("cross-node", m.cross_node, r.cross_node),
        ("unclassified", m.unclassified, r.unclassified),
    ];
    // The last one is for lost records: nothing to see as long as there are none.
    for (at, (name, count, rate)) in levels.into_iter().enumerate().filter(|(at, level)| *at < 4 || level.1 > 0) {
        let role = if at == 3 && count > 0 { Role::Warn } else { Role::Plain };
        block.push(
            Line::default()
                .left(name, 14, role)
                .right(&text::count_short(count), 10, role)
                .right(&format!("{}/s", cells::rate(cells::per_second(rate, stretch))), 8, role)
                .share(cells::ratio(count, total), Role::Plain, room),
        );
    }
    let moves = cells::per_second(rates.node_moves, stretch);
    let moved = format!("{} ({}/s)", text::count_short(now.node_moves), cells::rate(moves));
    let line = Line::default().left("node moves", 16, Role::Plain).with(moved, Role::Plain);
    block.push(line.with("  turns on a new node", Role::Dim));
    let why = causes(now);
    if !why.is_empty() {
        block.say_of(("why", Role::Plain), 16, &why, columns);
    }
}

fn causes(stats: &ThreadStats) -> String {
    let causes = &stats.migrations.causes;
    let mut named = vec![
        ("wakeup", causes.wakeup),
        ("load balance", causes.load_balance),
        ("active balance or affinity", causes.active_balance_or_affinity),
        ("NUMA balancing", causes.numa_balancing),
        ("hotplug", causes.hotplug),
        ("other", causes.other),
    ];
    named.retain(|(_, count)| *count > 0);
    named.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let total = stats.migrations.total();
    let words: Vec<String> =
        named.into_iter().map(|(name, count)| format!("{name} {}", text::share(count, total))).collect();
    words.join(", ")
}

/// The id of a thread, or how many threads a group has.
pub fn id(thread: &Thread) -> String {
    match thread.members {
        0 => thread.tid.to_string(),
        members => format!("×{}", text::count_short(u64::from(members))),
    }
}

fn waiters(content: &Content<'_>, columns: usize) -> Block {
    let mut threads: Vec<&Thread> = content.numbers.threads.iter().filter(|t| t.stats.wait_ns > 0).collect();
    let by_wait = |thread: &&Thread| (std::cmp::Reverse(thread.stats.wait_ns), thread.tid);
    // Of thousands few are named.
    if threads.len() > content.named() {
        threads.select_nth_unstable_by_key(content.named(), by_wait);
        threads.truncate(content.named());
    }
    threads.sort_by_key(by_wait);
    let mut block = Block::new("Who waits most", "by time waiting for a CPU");
    if threads.is_empty() {
        block.push(Line::of("Nobody has waited.", Role::Plain));
        return block;
    }
    let name = columns.saturating_sub(8 + 10 + 8 + 9 + 9);
    block.push(Line::default().right("tid", 7, Role::Head).left(" name", name + 1, Role::Head).heads(&[
        ("waited", 10),
        ("wait%", 8),
        ("p99", 9),
        ("now", 9),
    ]));
    for thread in threads {
        let stats = &thread.stats;
        let share = cells::ratio(stats.wait_ns, stats.life_ns());
        let p99 = known_latency(&stats.runq.all, stats.runq.all.p99_ns);
        block.push(
            Line::default()
                .right(&id(thread), 7, Role::Plain)
                .left(&format!(" {}", thread.comm), name + 1, if thread.exited { Role::Dim } else { Role::Plain })
                .right(&text::duration(stats.wait_ns), 10, Role::Plain)
                .right(&cells::percent(share), 8, weigh_share(share))
                .right(&cells::duration(p99), 9, weigh_latency(p99))
                .right(&cells::duration(stats.waiting_now_ns), 9, weigh_latency(stats.waiting_now_ns)),
        );
    }
    block
}

fn culprits(content: &Content<'_>, columns: usize) -> Block {
    let mut block = Block::new("Who ran instead", "while the target's threads waited");
    quota::parts(&mut block, &content.numbers.totals, columns);
    culprit_table(&mut block, &content.numbers.totals, &content.numbers.sources, content.named(), columns);
    block
}

/// Why a list that a source fills is empty.
pub(super) fn why_empty(sources: &[Source], name: &str, nobody: &str) -> String {
    let source = sources.iter().find(|source| source.name == name || source.name.ends_with(&format!(":{name}")));
    match source.filter(|source| source.state == SourceState::Off) {
        Some(Source { reason: Some(reason), .. }) => format!("Not known: {reason}."),
        Some(_) => format!("Not known: the source {name} is off."),
        None => nobody.into(),
    }
}

/// Who held the CPU, longest first; shared with Thread detail.
pub(super) fn culprit_table(block: &mut Block, stats: &ThreadStats, sources: &[Source], most: usize, columns: usize) {
    if stats.waited_behind.is_empty() {
        let why = why_empty(sources, "rq->curr", "Nobody: no wait has ended.");
        block.say(&why, columns, Role::Plain);
        return;
    }
    let name = columns.saturating_sub(8 + 10 + 9 + 9 + 10).clamp(8, 40);
    let room = columns.saturating_sub(8 + name + 10 + 9 + 9).min(40);
    block.push(Line::default().right("tid", 7, Role::Head).left(" name", name + 1, Role::Head).heads(&[
        ("time", 10),
        ("waits", 9),
        ("share", 8),
    ]));
    for culprit in stats.waited_behind.iter().take(most) {
        block.push(
            Line::default()
                .right(&culprit.tid.to_string(), 7, Role::Plain)
                .left(&format!(" {}", named(culprit.tid.0, &culprit.comm)), name + 1, Role::Plain)
                .right(&text::duration(culprit.total_ns), 10, Role::Plain)
                .right(&text::count_short(culprit.count), 9, Role::Plain)
                .share(cells::ratio(culprit.total_ns, stats.wait_ns), Role::Plain, room),
        );
    }
}

/// The name of somebody who is no target, or why there is none.
pub(super) fn named(tid: u32, comm: &str) -> String {
    match (tid, comm) {
        (0, "" | "idle") => "idle, or an interrupt".into(),
        (_, "") => "(name not known)".into(),
        (_, comm) => comm.into(),
    }
}
