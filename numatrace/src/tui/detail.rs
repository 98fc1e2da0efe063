//! What Thread detail says of one thread, or of a group of threads. Pure text.

use super::cells;
use super::overview::{culprit_table, latency_table, migration_table, named, why_empty};
use super::page::{self, Block, Line, Role, bar, column_width};
use super::rows::{self, state_name, weigh_latency, weigh_share};
use super::{quota, touches};
use crate::snapshot::{Host, Latency, Snapshot, TRACK_SLOT_NS, TRACK_SLOTS, Thread, ThreadStats};
use crate::text;
use crate::units::sum;

/// What the page is made of.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// The thread, with the numbers of the window.
    pub thread: &'a Thread,
    /// The same thread in the stretch of time that rates are over.
    pub rates: &'a ThreadStats,
    /// The whole of that stretch.
    pub stretch: &'a Snapshot,
    /// The machine.
    pub host: &'a Host,
    /// Time from the start of tracing to these numbers.
    pub now_ns: u64,
    /// The window in words.
    pub window: &'a str,
}

/// The page in lines of at most `width` columns.
pub fn lines(content: &Content<'_>, width: u16) -> Vec<Line> {
    let columns = column_width(width);
    let mut blocks = vec![identity(content, columns), latency(content), histogram(content, columns)];
    blocks.push(waited_behind(content, columns));
    blocks.push(wakers(content, columns));
    blocks.push(migrations(content, columns));
    blocks.push(page_touches(content, columns));
    blocks.extend(origins(content, columns));
    blocks.push(nodes(content, columns));
    blocks.push(track(content));
    page::arrange(blocks, width)
}

fn identity(content: &Content<'_>, columns: usize) -> Block {
    let (thread, stats) = (content.thread, &content.thread.stats);
    let beside = if thread.members > 0 {
        let threads = if thread.members == 1 { "thread" } else { "threads" };
        let common = if thread.cgroup.is_some() { "cgroup and those below it" } else { "name" };
        format!("{} {threads} of this {common}", text::count(u64::from(thread.members)))
    } else {
        format!("tid {}, pid {}", thread.tid, thread.pid)
    };
    let name = match rows::name(thread) {
        "" if thread.members > 0 => "(not known)",
        name => name,
    };
    let mut block = Block::new(name, &beside);
    let field = |name: &str| Line::default().left(name, 12, Role::Dim);
    let state = state_name(thread);
    let now = match (stats.waiting_now_ns, thread.cpu) {
        (Some(ns), _) => format!("{state} for {} now", text::duration(ns)),
        (None, Some(cpu)) => format!("{state}, last on CPU {cpu}{}", node_of(content.host, cpu)),
        (None, None) => state.to_owned(),
    };
    block.push(field("state").with(now, weigh_latency(stats.waiting_now_ns)));
    block.say_of(("scheduling", Role::Dim), 12, &scheduling(thread), columns);
    let life = stats.life_ns();
    let phases = [
        ("running", Some(stats.cpu_ns)),
        ("waiting", Some(stats.wait_ns)),
        // A part of the wait.
        ("  throttled", stats.throttled_wait_ns),
        ("blocked", Some(stats.blocked_ns)),
    ];
    for (name, ns) in phases.into_iter().filter_map(|(name, ns)| Some((name, ns?))) {
        let share = cells::ratio(ns, life);
        let role = if ["running", "blocked"].contains(&name) { Role::Plain } else { weigh_share(share) };
        block.push(field(name).right(&text::duration(ns), 9, Role::Plain).share(share, role, 24));
    }
    let rate = |count| cells::rate(cells::per_second(count, content.stretch));
    let switches = &content.rates.switches;
    let line = format!("{}/s voluntary, {}/s involuntary", rate(switches.voluntary), rate(switches.involuntary));
    block.push(field("switches").with(line, Role::Plain));
    block
}

fn scheduling(thread: &Thread) -> String {
    if thread.members > 0 {
        return "of each thread: unfold the group with z, then Enter on it".into();
    }
    let Some(sched) = &thread.sched else {
        let gone = "not known: the thread ended before it could be asked for";
        return if thread.exited { gone } else { "not known yet" }.into();
    };
    let mut line = format!("policy {}", sched.policy);
    if let Some(nice) = sched.nice {
        line.push_str(&format!(", nice {nice}"));
    }
    if let Some(priority) = sched.rt_priority {
        line.push_str(&format!(", priority {priority}"));
    }
    line + &format!(", allowed CPUs {}", sched.allowed_cpus)
}

/// ` (node 1)`, where the machine has several.
fn node_of(host: &Host, cpu: u32) -> String {
    let node = host.nodes.iter().find(|node| node.cpus.contains(&cpu));
    node.filter(|_| host.nodes.len() > 1).map_or_else(String::new, |node| format!(" (node {})", node.id))
}

fn latency(content: &Content<'_>) -> Block {
    let mut block = Block::new("Run-queue latency", content.window);
    let (runq, rates) = (&content.thread.stats.runq, &content.rates.runq);
    latency_table(&mut block, [&runq.wakeup, &runq.preempted, &runq.all], |at| {
        cells::per_second([rates.wakeup.count, rates.preempted.count, rates.all.count][at], content.stretch)
    });
    block
}

fn histogram(content: &Content<'_>, columns: usize) -> Block {
    let mut block = Block::new("Histogram", "how many waits were how long");
    let runq = &content.thread.stats.runq;
    let (wakeup, preempted) = (powers(&runq.wakeup), powers(&runq.preempted));
    let used = |counts: &[u64; POWERS]| counts.iter().any(|count| *count > 0);
    if !used(&wakeup) && !used(&preempted) {
        block.push(Line::of("No wait has ended.", Role::Plain));
        return block;
    }
    let all: Vec<usize> = (0..POWERS).filter(|at| wakeup[*at] + preempted[*at] > 0).collect();
    let (first, last) = (all[0], all[all.len() - 1]);
    let most = wakeup.iter().chain(&preempted).copied().max().unwrap_or(1).max(1);
    let room = (columns.saturating_sub(16 + 8 + 8 + 2) / 2).min(40);
    block.push(
        Line::default().left("", 16, Role::Head).right("wakeup", 8, Role::Head).left("", room + 1, Role::Head).right(
            "preempted",
            8 + 1,
            Role::Head,
        ),
    );
    for at in first..=last {
        let cell = |line: Line, count: u64| {
            let number = if count == 0 { String::new() } else { text::count_short(count) };
            line.right(&number, 8, Role::Plain)
                .with(" ", Role::Plain)
                .with(bar(count as f64 / most as f64, room), Role::Bar)
        };
        let line = Line::default().left(&range(at), 16, Role::Dim);
        block.push(cell(cell(line, wakeup[at]), preempted[at]));
    }
    block
}

/// Ranges of the histogram: each twice as long as the one before; the first up to 1 us.
const POWERS: usize = 28;

fn powers(latency: &Latency) -> [u64; POWERS] {
    let mut counts = [0u64; POWERS];
    for (edge, count) in &latency.buckets {
        let us = edge / 1_000;
        let at = if us == 0 { 0 } else { us.ilog2() as usize + 1 };
        let sum = &mut counts[at.min(POWERS - 1)];
        *sum = sum.saturating_add(count);
    }
    counts
}

fn range(at: usize) -> String {
    let edge = |power: usize| text::duration(1_000u64 << power);
    match at {
        0 => "        <1us".into(),
        _ if at == POWERS - 1 => format!("{:>6}..", edge(at - 1)),
        _ => format!("{:>6}..{}", edge(at - 1), edge(at)),
    }
}

fn waited_behind(content: &Content<'_>, columns: usize) -> Block {
    let mut block = Block::new("Who ran instead", "while it waited");
    quota::parts(&mut block, &content.thread.stats, columns);
    quota::preempted(&mut block, &content.thread.stats, columns);
    culprit_table(&mut block, &content.thread.stats, &content.stretch.sources, usize::MAX, columns);
    block
}

fn wakers(content: &Content<'_>, columns: usize) -> Block {
    let mut block = Block::new("Who woke it", "");
    let stats = &content.thread.stats;
    if stats.wakers.is_empty() {
        let why = why_empty(&content.stretch.sources, "sched_waking", "Nobody has woken it.");
        block.say(&why, columns, Role::Plain);
        return block;
    }
    let all = stats.runq.wakeup.count;
    let name = columns.saturating_sub(8 + 10 + 9 + 10).clamp(8, 40);
    let room = columns.saturating_sub(8 + name + 10 + 9).min(40);
    for waker in &stats.wakers {
        let share = cells::ratio(waker.count.min(all), all);
        block.push(
            Line::default()
                .right(&waker.tid.to_string(), 7, Role::Plain)
                .left(&format!(" {}", named(waker.tid.0, &waker.comm)), name + 1, Role::Plain)
                .right(&text::count_short(waker.count), 10, Role::Plain)
                .share(share, Role::Plain, room),
        );
    }
    block
}

fn migrations(content: &Content<'_>, columns: usize) -> Block {
    let mut block = Block::new("Migrations", "");
    migration_table(&mut block, &content.thread.stats, columns, content.stretch, content.rates);
    block
}

fn page_touches(content: &Content<'_>, columns: usize) -> Block {
    let mut block = Block::new("Page touches", "faults, not accesses");
    let (now, rates) = (&content.thread.stats, content.rates);
    touches::summary(&mut block, &touches::Of { now, rates, stretch: content.stretch }, columns);
    touches::kinds(&mut block, now);
    block
}

/// Nothing where no page touches are measured: the block above says why.
fn origins(content: &Content<'_>, columns: usize) -> Option<Block> {
    let stats = &content.thread.stats;
    stats.touches?;
    let mut block = Block::new("Where its page touches come from", "estimated from samples");
    touches::locations(&mut block, stats, content.stretch, columns);
    Some(block)
}

fn nodes(content: &Content<'_>, columns: usize) -> Block {
    let mut block = Block::new("Nodes", "where it ran");
    let times = &content.thread.stats.residency_ns;
    let total = sum(times);
    let room = columns.saturating_sub(12 + 10 + 8 + 1).min(60);
    for (node, ns) in content.host.nodes.iter().zip(times) {
        block.push(
            Line::default()
                .left(&format!("node {}", node.id), 12, Role::Plain)
                .right(&text::duration(*ns), 10, Role::Plain)
                .share(cells::ratio(*ns, total), Role::Plain, room),
        );
    }
    block
}

/// A row for each CPU it ran on lately, a column for each slot of time, the darker the longer.
fn track(content: &Content<'_>) -> Block {
    const SHADES: [char; 5] = ['·', '░', '▒', '▓', '█'];
    let seconds = TRACK_SLOT_NS * TRACK_SLOTS as u64 / 1_000_000_000;
    let mut block = Block::new("CPU track", &format!("last {seconds} seconds, one column each 250ms"));
    let track = &content.thread.track;
    if content.thread.members > 0 {
        block.push(Line::of("Of each thread: unfold the group with z, then Enter on it.", Role::Plain));
        return block;
    }
    // CPUs in the order of their nodes: a hop between nodes crosses a gap that one within a node does not.
    let place = |cpu: u32| (content.host.nodes.iter().position(|node| node.cpus.contains(&cpu)), cpu);
    let mut cpus: Vec<u32> = track.iter().flat_map(|slot| slot.cpus).map(|(cpu, _)| cpu).collect();
    cpus.sort_by_key(|cpu| place(*cpu));
    cpus.dedup();
    if cpus.is_empty() {
        block.push(Line::of("It did not run.", Role::Plain));
        return block;
    }
    // A slot that begins right now is still empty.
    let newest = content.now_ns.div_ceil(TRACK_SLOT_NS).saturating_sub(1);
    for cpu in cpus {
        let mut cells = [SHADES[0]; TRACK_SLOTS];
        for slot in track {
            let age = newest.saturating_sub(slot.start_ns / TRACK_SLOT_NS) as usize;
            let spent = slot.cpus.iter().find(|(other, _)| *other == cpu).map_or(0, |(_, ns)| *ns);
            if age < TRACK_SLOTS && spent > 0 {
                let shade = (spent as f64 / TRACK_SLOT_NS as f64 * 4.0).ceil() as usize;
                cells[TRACK_SLOTS - 1 - age] = SHADES[shade.clamp(1, 4)];
            }
        }
        let name = format!("CPU {cpu}{}", node_of(content.host, cpu));
        block.push(Line::default().left(&name, 18, Role::Plain).with(cells.iter().collect::<String>(), Role::Bar));
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_histogram_has_a_range_for_every_wait() {
        let latency = |edge| Latency { buckets: vec![(edge, 3)].into(), ..Latency::default() };
        let at = |edge| powers(&latency(edge)).iter().position(|count| *count == 3);
        assert_eq!([at(0), at(999), at(1_000), at(1_999), at(2_000)], [0, 0, 1, 1, 2].map(Some));
        assert_eq!(at(u64::MAX), Some(POWERS - 1));
        assert_eq!(
            [range(0), range(1), range(2)],
            ["        <1us", "1.00us..2.00us", "2.00us..4.00us"].map(str::to_owned)
        );
        assert!((0..POWERS).all(|at| range(at).len() <= 16));
    }
}
