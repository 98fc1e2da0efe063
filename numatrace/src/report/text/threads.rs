//! The table of threads: as many columns as fit, the most telling ones first.

use super::TextOptions;
use super::page::{Page, Tone};
use super::totals::percentile;
use crate::report::{sorted, sorted_threads};
use crate::snapshot::{Groups, Snapshot, Thread, ThreadState};
use crate::text::{count, count_short, duration, left, percent, right, width};
use crate::units::sum;

struct Column {
    title: &'static str,
    width: usize,
    /// Columns of a low rank stay when not all fit.
    rank: u8,
    /// When it is of interest.
    when: When,
    cell: fn(&Thread, &Snapshot) -> String,
}

/// When a column is of interest.
#[derive(Clone, Copy)]
enum When {
    Always,
    /// On machines with more than one node.
    Nodes,
    /// Where page touches are measured.
    Touches,
    /// Both.
    Remote,
}

impl When {
    fn holds(self, snapshot: &Snapshot) -> bool {
        let (nodes, touches) = (snapshot.host.nodes.len() > 1, snapshot.totals.touches.is_some());
        match self {
            When::Always => true,
            When::Nodes => nodes,
            When::Touches => touches,
            When::Remote => nodes && touches,
        }
    }
}

const NAME: &str = "NAME";

/// In the order in which they are shown.
const COLUMNS: &[Column] = &[
    Column { title: "TID", width: 7, rank: 0, when: When::Always, cell: |t, _| t.tid.to_string() },
    Column { title: NAME, width: 15, rank: 1, when: When::Always, cell: |t, _| t.comm.to_string() },
    Column { title: "STATE", width: 5, rank: 9, when: When::Always, cell: |t, _| state(t).into() },
    Column { title: "CPU%", width: 5, rank: 2, when: When::Always, cell: |t, s| of_time(t.stats.cpu_ns, s) },
    Column { title: "WAIT%", width: 5, rank: 3, when: When::Always, cell: |t, s| of_time(t.stats.wait_ns, s) },
    Column { title: "P50", width: 6, rank: 8, when: When::Always, cell: |t, _| runq(t, t.stats.runq.all.p50_ns) },
    Column { title: "P99", width: 6, rank: 4, when: When::Always, cell: |t, _| runq(t, t.stats.runq.all.p99_ns) },
    Column { title: "MAX", width: 6, rank: 5, when: When::Always, cell: |t, _| runq(t, t.stats.runq.all.max_ns) },
    Column {
        title: "VOL",
        width: 5,
        rank: 12,
        when: When::Always,
        cell: |t, _| count_short(t.stats.switches.voluntary),
    },
    Column {
        title: "INVOL",
        width: 5,
        rank: 10,
        when: When::Always,
        cell: |t, _| count_short(t.stats.switches.involuntary),
    },
    Column {
        title: "MIGR",
        width: 5,
        rank: 7,
        when: When::Always,
        cell: |t, _| count_short(t.stats.migrations.total()),
    },
    Column {
        title: "XNODE",
        width: 5,
        rank: 7,
        when: When::Nodes,
        cell: |t, _| count_short(t.stats.migrations.cross_node),
    },
    Column { title: "TOUCHES", width: 7, rank: 7, when: When::Touches, cell: |t, _| touches(t) },
    Column { title: "REMOTE%", width: 7, rank: 6, when: When::Remote, cell: |t, _| remote(t) },
    Column { title: "RAN ON", width: 20, rank: 11, when: When::Nodes, cell: |t, s| ran_on(t, s, 20) },
    Column { title: "PID", width: 7, rank: 13, when: When::Always, cell: |t, _| t.pid.to_string() },
];

pub(super) fn write(page: &mut Page, snapshot: &Snapshot, options: &TextOptions) {
    let threads = sorted(snapshot, options.sort);
    let shown = if options.top == 0 { threads.len() } else { options.top.min(threads.len()) };
    let note = format!(
        "CPU% and WAIT% are shares of the {} traced; P50, P99 and MAX are run-queue latency",
        duration(snapshot.duration_ns)
    );
    page.heading(&format!("Threads by {}", options.sort.help()), if threads.is_empty() { "" } else { &note });
    if threads.is_empty() {
        page.paragraph("  ", "none was seen");
    } else {
        let columns = choose(page.width, snapshot);
        page.line(&row(&columns, |column| column.title.into()), Tone::Strong);
        for thread in threads.iter().take(shown) {
            page.line(&row(&columns, |column| (column.cell)(thread, snapshot)), Tone::Plain);
        }
    }
    hidden(page, threads.len() - shown, snapshot);
}

/// Groups in place of threads.
pub(super) fn write_groups(page: &mut Page, groups: &Groups, snapshot: &Snapshot, options: &TextOptions) {
    let all = sorted_threads(&groups.all, options.sort);
    let shown = if options.top == 0 { all.len() } else { options.top.min(all.len()) };
    let note = "CPU% and WAIT% are sums of shares of the time traced, so 200 is two threads all the time";
    page.heading(&format!("Threads by {}, by {}", groups.by.name(), options.sort.help()), note);
    if all.is_empty() {
        page.paragraph("  ", "none was seen");
    } else {
        let kept = ["CPU%", "WAIT%", "P50", "P99", "MAX", "VOL", "INVOL", "MIGR", "XNODE", "TOUCHES", "REMOTE%"];
        let columns = choose(page.width, snapshot);
        let columns: Vec<&Column> = columns.into_iter().filter(|column| kept.contains(&column.title)).collect();
        let used: usize = columns.iter().map(|column| column.width + 1).sum();
        let room = page.width.saturating_sub(used + 9).clamp(15, 60);
        let line = |count: &str, cells: &str, name: &str| format!("{} {cells}  {}", right(count, 7), left(name, room));
        page.line(line("THREADS", &row(&columns, |column| column.title.into()), "GROUP").trim_end(), Tone::Strong);
        for group in all.iter().take(shown) {
            let cells = row(&columns, |column| (column.cell)(group, snapshot));
            let name = groups.name(group);
            page.line(line(&count(group.members.into()), &cells, name).trim_end(), Tone::Plain);
        }
    }
    let more = (all.len() - shown) as u64;
    if more > 0 {
        page.paragraph("", &format!("... and {} more (--top 0 shows all)", count(more)));
    }
    hidden(page, 0, snapshot);
}

/// Says what the table does not show.
fn hidden(page: &mut Page, more: usize, snapshot: &Snapshot) {
    let threads = |n: u64| if n == 1 { "thread" } else { "threads" };
    if more > 0 {
        let more = more as u64;
        page.paragraph("", &format!("... and {} more {} (--top 0 shows all)", count(more), threads(more)));
    }
    let dropped = snapshot.dropped_threads;
    if dropped > 0 {
        let what = threads(dropped);
        page.paragraph("", &format!("... and {} {what} that ended earlier, in the totals only", count(dropped)));
    }
}

/// The columns that fit, in the order in which they are shown.
fn choose(width: usize, snapshot: &Snapshot) -> Vec<&'static Column> {
    let mut by_rank: Vec<&Column> = COLUMNS.iter().filter(|column| column.when.holds(snapshot)).collect();
    by_rank.sort_by_key(|column| column.rank);
    let mut used = 0;
    let limit = by_rank
        .iter()
        .take_while(|column| {
            used += column.width + usize::from(used > 0);
            used <= width
        })
        .count();
    let kept = &by_rank[..limit];
    COLUMNS.iter().filter(|column| kept.iter().any(|kept| std::ptr::eq(*kept, *column))).collect()
}

fn row(columns: &[&Column], cell: impl Fn(&Column) -> String) -> String {
    let cells: Vec<String> = columns
        .iter()
        .map(|column| {
            let text = cell(column);
            let words = column.title == NAME || column.title == "STATE" || column.title == "RAN ON";
            if words { left(&text, column.width) } else { right(&text, column.width) }
        })
        .collect();
    cells.join(" ")
}

fn state(thread: &Thread) -> &'static str {
    match thread.state {
        _ if thread.exited => "ended",
        ThreadState::Unknown => "-",
        ThreadState::Running => "run",
        ThreadState::Waiting => "wait",
        ThreadState::Blocked => "block",
        ThreadState::Exited => "ended",
    }
}

/// A share of the time traced, with at most five columns.
fn of_time(ns: u64, snapshot: &Snapshot) -> String {
    if snapshot.duration_ns == 0 {
        return "-".into();
    }
    percent(ns as f64 / snapshot.duration_ns as f64)
}

fn runq(thread: &Thread, ns: u64) -> String {
    percentile(&thread.stats.runq.all, ns)
}

/// Page touches, `-` where they are not measured.
fn touches(thread: &Thread) -> String {
    thread.stats.touches.map_or_else(|| "-".into(), |touches| count_short(touches.total().all()))
}

/// The share of remote ones, `-` also where there are none.
fn remote(thread: &Thread) -> String {
    thread.stats.remote_share.map_or_else(|| "-".into(), percent)
}

/// Nodes by time, longest first: `0:62% 1:38%`, and `...` for those that do not fit.
fn ran_on(thread: &Thread, snapshot: &Snapshot, columns: usize) -> String {
    let residency = &thread.stats.residency_ns;
    let whole = sum(residency);
    if whole == 0 {
        return "-".into();
    }
    let mut nodes: Vec<(u64, u32)> = residency
        .iter()
        .zip(&snapshot.host.nodes)
        .map(|(ns, node)| (*ns, node.id.0))
        .filter(|(ns, _)| *ns > 0)
        .collect();
    nodes.sort_by_key(|(ns, id)| (std::cmp::Reverse(*ns), *id));
    let mut out = String::new();
    for (i, (ns, id)) in nodes.iter().enumerate() {
        let part = format!("{id}:{}", whole_percent(*ns as f64 / whole as f64, nodes.len() == 1));
        let reserve = if i + 1 < nodes.len() { 4 } else { 0 };
        if width(&out) + 1 + width(&part) + reserve > columns && !out.is_empty() {
            out += " ...";
            break;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        out += &part;
    }
    out
}

/// Whole percents in which only what is all is 100%, and only what is nothing is 0%.
fn whole_percent(ratio: f64, all: bool) -> String {
    let percent = (ratio * 100.0).round();
    if all {
        "100%".into()
    } else if percent < 1.0 {
        "<1%".into()
    } else if percent > 99.0 {
        ">99%".into()
    } else {
        format!("{percent:.0}%")
    }
}
