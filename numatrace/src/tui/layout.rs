//! Where things go: column and line arithmetic, free of ratatui.

/// Narrowest terminal that is drawn on.
pub const MIN_WIDTH: u16 = 40;
/// Lowest terminal that is drawn on: header, title, column heads, footer and three rows.
pub const MIN_HEIGHT: u16 = 9;
/// Lines of the header: the target, the sources, the tabs.
pub const HEADER_LINES: u16 = 3;
/// Lines of the table above its rows: its title and the column heads.
pub const TABLE_HEAD_LINES: u16 = 2;
/// Lines of the footer.
pub const FOOTER_LINES: u16 = 1;

/// Whether a terminal is large enough to draw on.
pub const fn fits(width: u16, height: u16) -> bool {
    width >= MIN_WIDTH && height >= MIN_HEIGHT
}

/// Rows of the table that a terminal of this height shows; at least 1, so that paging always moves.
pub const fn table_rows(height: u16) -> usize {
    let rows = height.saturating_sub(HEADER_LINES + TABLE_HEAD_LINES + FOOTER_LINES);
    if rows == 0 { 1 } else { rows as usize }
}

/// Lines of a page that a terminal of this height shows; at least 1.
pub const fn page_rows(height: u16) -> usize {
    let rows = height.saturating_sub(HEADER_LINES + FOOTER_LINES);
    if rows == 0 { 1 } else { rows as usize }
}

/// Lines of the help that a terminal of this height shows; at least 1.
pub const fn help_rows(height: u16) -> usize {
    let rows = height.saturating_sub(HEADER_LINES + FOOTER_LINES + 1);
    if rows == 0 { 1 } else { rows as usize }
}

/// A column of the threads table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Column {
    /// Thread id.
    Tid,
    /// Command name.
    Name,
    /// What it is doing.
    State,
    /// Share of a CPU.
    Cpu,
    /// Median run-queue latency.
    P50,
    /// 99th percentile.
    P99,
    /// Largest.
    Max,
    /// Share of its time spent waiting for a CPU.
    Wait,
    /// Voluntary switches a second.
    Voluntary,
    /// Involuntary switches a second.
    Involuntary,
    /// Migrations a second.
    Migrations,
    /// Cross-node migrations a second.
    CrossNode,
    /// Turns on another node than the turn before.
    NodeMoves,
    /// Page touches a second.
    Touches,
    /// Share of page touches that were remote.
    Remote,
    /// How long it has been waiting right now.
    WaitingNow,
    /// Time on CPU.
    Running,
    /// Time waiting for a CPU.
    Waited,
    /// Time neither running nor runnable.
    Blocked,
    /// On-CPU time by node.
    Residency,
    /// Process id.
    Pid,
    /// 90th percentile of run-queue latency.
    P90,
    /// 99.9th percentile.
    P999,
    /// 99th percentile of the waits after wakeups.
    WakeupP99,
    /// 99th percentile of the waits after preemption.
    PreemptedP99,
    /// Waits that ended, a second.
    Waits,
    /// NUMA hint faults a second.
    HintFaults,
    /// Share of hint faults that were remote.
    HintRemote,
    /// Pages that NUMA balancing moved for it.
    PagesMoved,
    /// The remote share if accesses were uniform.
    Expected,
    /// Mean distance of page touches / 10.
    Cost,
    /// The CPU of its current or last turn.
    LastCpu,
    /// The node of that CPU.
    Node,
    /// Scheduling policy.
    Policy,
    /// Nice value.
    Nice,
    /// CPUs that it may use.
    Allowed,
    /// Path of its cgroup.
    Cgroup,
    Container,
    /// Share of its time that a CPU quota kept it waiting.
    Throttled,
    /// Share of its time that it waited while others than its own process ran.
    Strangers,
}

/// What a column tells, as far as a filter has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// The number of something.
    Id,
    /// A time, ns.
    Time,
    /// A part of a whole, 1.0 is all of it.
    Share,
    /// A count, a rate or a ratio.
    Number,
}

/// How a column looks, and what it means.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Which.
    pub column: Column,
    /// Its name in filters and in the configuration; never changes.
    pub key: &'static str,
    /// Its head: one less than `width` at most, as the sort mark stands beside it.
    pub title: &'static str,
    /// Least width.
    pub width: u16,
    /// Most width, when there is room.
    pub most: u16,
    /// Its text stands at the right.
    pub right: bool,
    /// Sorted downwards when first chosen.
    pub descending: bool,
    /// What it tells.
    pub kind: Kind,
    /// Columns with greater numbers are dropped first. From [`EXTRA`] on they come only where all others are as wide as they
    /// can be.
    rank: u8,
    /// What it means, for the help.
    pub meaning: &'static str,
}

const fn spec(
    column: Column,
    key: &'static str,
    title: &'static str,
    width: u16,
    rank: u8,
    meaning: &'static str,
) -> Spec {
    Spec { column, key, title, width, most: width, right: true, descending: true, kind: Kind::Number, rank, meaning }
}

const fn time(
    column: Column,
    key: &'static str,
    title: &'static str,
    width: u16,
    rank: u8,
    meaning: &'static str,
) -> Spec {
    Spec { kind: Kind::Time, ..spec(column, key, title, width, rank, meaning) }
}

const fn share(
    column: Column,
    key: &'static str,
    title: &'static str,
    width: u16,
    rank: u8,
    meaning: &'static str,
) -> Spec {
    Spec { kind: Kind::Share, ..spec(column, key, title, width, rank, meaning) }
}

const fn id(
    column: Column,
    key: &'static str,
    title: &'static str,
    width: u16,
    rank: u8,
    meaning: &'static str,
) -> Spec {
    Spec { kind: Kind::Id, descending: false, ..spec(column, key, title, width, rank, meaning) }
}

const fn words(
    column: Column,
    key: &'static str,
    title: &'static str,
    [width, most]: [u16; 2],
    rank: u8,
    meaning: &'static str,
) -> Spec {
    Spec { kind: Kind::Text, right: false, descending: false, most, ..spec(column, key, title, width, rank, meaning) }
}

/// Columns of this rank and greater ones are extra: who wants them chooses them, and very wide terminals have them.
const EXTRA: u8 = 20;

/// Every column, in the order of display.
pub const COLUMNS: [Spec; 40] = [
    id(Column::Tid, "tid", "tid", 7, 0, "thread id"),
    words(Column::Name, "name", "name", [15, 20], 1, "command name of the thread"),
    words(Column::State, "state", "state", [8, 8], 7, "running, waiting for a CPU, blocked, or exited"),
    share(Column::Cpu, "cpu", "CPU%", 6, 2, "share of a CPU"),
    time(Column::P50, "runq.p50", "rq p50", 7, 13, "run-queue latency, median"),
    time(Column::P99, "runq.p99", "rq p99", 7, 3, "run-queue latency, 99th percentile"),
    time(Column::Max, "runq.max", "rq max", 7, 12, "run-queue latency, largest"),
    share(Column::Wait, "wait", "wait%", 6, 4, "share of its time waiting for a CPU"),
    spec(Column::Voluntary, "voluntary", "vol/s", 6, 15, "voluntary switches a second"),
    spec(Column::Involuntary, "involuntary", "invol/s", 8, 14, "involuntary switches a second"),
    spec(Column::Migrations, "migrations", "migr/s", 7, 9, "moves between CPUs a second"),
    spec(Column::CrossNode, "cross_node", "cross/s", 8, 5, "moves between nodes a second"),
    spec(Column::NodeMoves, "node_moves", "moves", 6, 16, "turns on another node than the turn before"),
    spec(Column::Touches, "touches", "touch/s", 8, 10, "page touches a second: faults, not accesses"),
    share(Column::Remote, "remote", "rem%", 5, 8, "share of page touches that were remote"),
    time(Column::WaitingNow, "waiting", "waiting", 8, 6, "how long it has been waiting right now"),
    time(Column::Running, "ran", "ran", 8, 17, "time on CPU"),
    time(Column::Waited, "waited", "waited", 8, 18, "time waiting for a CPU"),
    time(Column::Blocked, "blocked", "blocked", 8, 19, "time neither running nor runnable"),
    Spec {
        right: false,
        descending: false,
        most: 60,
        ..share(Column::Residency, "nodes", "on nodes", 13, 11, "time on CPU by node (sorts by the largest share)")
    },
    time(Column::WakeupP99, "wakeup.p99", "wk p99", 7, 20, "run-queue latency after wakeups, 99th percentile"),
    time(
        Column::PreemptedP99,
        "preempted.p99",
        "pre p99",
        8,
        21,
        "run-queue latency after preemption, 99th percentile",
    ),
    time(Column::P90, "runq.p90", "rq p90", 7, 27, "run-queue latency, 90th percentile"),
    time(Column::P999, "runq.p999", "rq p99.9", 9, 26, "run-queue latency, 99.9th percentile"),
    spec(Column::Waits, "waits", "waits/s", 8, 25, "waits for a CPU that ended, a second"),
    id(Column::LastCpu, "last_cpu", "CPU", 4, 22, "CPU of its current or last turn"),
    id(Column::Node, "node", "node", 5, 23, "node of that CPU"),
    spec(Column::HintFaults, "hint_faults", "hint/s", 7, 30, "NUMA hint faults a second"),
    share(Column::HintRemote, "hint_remote", "hint rem%", 10, 31, "share of NUMA hint faults that were remote"),
    spec(Column::PagesMoved, "pages_moved", "pages mv", 9, 32, "pages that NUMA balancing moved for it"),
    share(Column::Expected, "expected", "uniform", 8, 33, "remote share if accesses were uniform: an estimate"),
    spec(Column::Cost, "cost", "cost", 5, 29, "mean distance of page touches / 10: 1.00 is local"),
    words(Column::Policy, "policy", "policy", [9, 9], 34, "scheduling policy, and its real-time priority"),
    Spec {
        descending: false,
        ..spec(Column::Nice, "nice", "nice", 5, 35, "nice value, -20 to 19: lower ones get more CPU")
    },
    words(Column::Allowed, "allowed", "allowed", [12, 24], 36, "CPUs that it may use"),
    id(Column::Pid, "pid", "pid", 7, 28, "process id"),
    words(Column::Cgroup, "cgroup", "cgroup", [14, 60], 24, "path of its cgroup; the end of a long one"),
    words(
        Column::Container,
        "container",
        "container",
        [14, 40],
        39,
        "container: its name with that of its pod, or its id",
    ),
    share(Column::Throttled, "throttled", "throttl%", 9, 37, "share of its time that a CPU quota kept it waiting"),
    share(Column::Strangers, "strangers", "strang%", 8, 38, "share of its time waiting while strangers ran"),
];

impl Column {
    /// How it looks, and what it means.
    pub fn spec(self) -> &'static Spec {
        // Every column is in the table (a test holds that); the first one is as good as any other answer.
        COLUMNS.iter().find(|spec| spec.column == self).unwrap_or(&COLUMNS[0])
    }

    /// Its name in filters and in the configuration.
    pub fn key(self) -> &'static str {
        self.spec().key
    }

    /// The column of this name.
    pub fn parse(key: &str) -> Option<Column> {
        COLUMNS.iter().find(|spec| spec.key == key).map(|spec| spec.column)
    }

    /// What it tells.
    pub fn kind(self) -> Kind {
        self.spec().kind
    }

    /// Whether it never scrolls away where it stands at the left.
    const fn stays(self) -> bool {
        matches!(self, Column::Tid | Column::Name)
    }
}

/// A column that is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Which.
    pub column: Column,
    /// Its width; one blank stands between columns.
    pub width: u16,
}

/// The columns that fit into `width`: those of `own` in its order, or, without one, the most important ones in order of
/// display.
///
/// With `scroll` 0 and no `own` choice the least important ones are dropped, before all others those of page touches where these are not
/// measured (`touches`): they have nothing to tell. Else tid and name stay where they stand at the left, and the others follow in order,
/// beginning with number `scroll` of them, counted from 1, or from 0 in an `own` choice.
pub fn columns(own: Option<&[Column]>, width: u16, scroll: usize, touches: bool) -> Vec<Placed> {
    let mut shown = match own {
        Some(own) => from(&specs(own), width, scroll),
        None if scroll == 0 => most_important(width, touches),
        None => from(&usual(), width, scroll - 1),
    };
    let mut spare = usize::from(width).saturating_sub(taken(&shown));
    for spec in &mut shown {
        let more = usize::from(spec.most - spec.width).min(spare);
        spare -= more;
        spec.width += more as u16;
    }
    shown.iter().map(|spec| Placed { column: spec.column, width: spec.width }).collect()
}

/// The column at this place of the terminal; marks of this width stand before the first one.
pub fn column_at(columns: &[Placed], marks: u16, at: u16) -> Option<Column> {
    let mut left = marks;
    let found = columns.iter().find(|placed| {
        let right = left + placed.width;
        let hit = (left..=right).contains(&at);
        left = right + 1;
        hit
    });
    found.map(|placed| placed.column)
}

/// The greatest useful `scroll` for [`columns`]: the last column is shown. 0 when all fit.
pub fn max_scroll(own: Option<&[Column]>, width: u16) -> usize {
    let (all, first): (Vec<Spec>, usize) = match own {
        Some(own) => (specs(own), 0),
        None if most_important(width, true).len() >= usual().len() => return 0,
        None => (usual(), 1),
    };
    let fixed = all.iter().take_while(|spec| spec.column.stays()).count();
    let most = all.len().saturating_sub(fixed + 1);
    let last = all.last().map(|spec| spec.column);
    let reaches = |scroll: &usize| from(&all, width, *scroll).last().map(|spec| spec.column) == last;
    first + (0..most).find(reaches).unwrap_or(most)
}

fn specs(own: &[Column]) -> Vec<Spec> {
    own.iter().map(|column| *column.spec()).collect()
}

/// Columns that are there without having been chosen.
fn usual() -> Vec<Spec> {
    COLUMNS.iter().filter(|spec| spec.rank < EXTRA).copied().collect()
}

/// How many columns there are to show: those of `own`, or those that are there without having been chosen.
pub fn all_columns(own: Option<&[Column]>) -> usize {
    own.map_or(usize::from(EXTRA), <[Column]>::len)
}

fn most_important(width: u16, touches: bool) -> Vec<Spec> {
    let rank = |spec: &Spec| {
        let idle = !touches && matches!(spec.column, Column::Touches | Column::Remote);
        (idle, spec.rank)
    };
    let room = usize::from(width);
    let mut by_rank = usual();
    by_rank.sort_by_key(rank);
    let mut shown: Vec<Spec> = Vec::new();
    for spec in by_rank {
        shown.push(spec);
        if taken(&shown) > room {
            shown.pop();
            return in_order(&shown);
        }
    }
    let mut extra: Vec<Spec> = COLUMNS.iter().filter(|spec| spec.rank >= EXTRA).copied().collect();
    extra.sort_by_key(|spec| spec.rank);
    for spec in extra {
        shown.push(spec);
        let most: usize = shown.iter().map(|spec| usize::from(spec.most) + 1).sum();
        if most > room + 1 {
            shown.pop();
            break;
        }
    }
    in_order(&shown)
}

fn in_order(shown: &[Spec]) -> Vec<Spec> {
    COLUMNS.iter().filter(|spec| shown.iter().any(|other| other.column == spec.column)).copied().collect()
}

/// Those that stay, and as many of the others from number `scroll` on as fit.
fn from(all: &[Spec], width: u16, scroll: usize) -> Vec<Spec> {
    let fixed = all.iter().take_while(|spec| spec.column.stays()).count();
    let mut shown = Vec::new();
    for spec in all.iter().take(fixed).chain(all.iter().skip(fixed + scroll)) {
        shown.push(*spec);
        if taken(&shown) > usize::from(width) {
            shown.pop();
            break;
        }
    }
    // A column that is wider than the terminal is cut: better than none.
    if shown.is_empty()
        && let Some(spec) = all.get(scroll.min(all.len().saturating_sub(1)))
    {
        shown.push(Spec { width, most: width, ..*spec });
    }
    shown
}

/// Width of these columns with a blank between them.
fn taken(specs: &[Spec]) -> usize {
    specs.iter().map(|spec| usize::from(spec.width) + 1).sum::<usize>().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(placed: &[Placed]) -> Vec<Column> {
        placed.iter().map(|placed| placed.column).collect()
    }

    #[test]
    fn every_column_is_in_the_table_once_with_a_rank_and_a_name_of_its_own() {
        let mut ranks: Vec<u8> = COLUMNS.iter().map(|spec| spec.rank).collect();
        ranks.sort_unstable();
        assert_eq!(ranks, (0..COLUMNS.len() as u8).collect::<Vec<_>>());
        for spec in COLUMNS {
            assert_eq!(spec.column.spec().title, spec.title);
            assert_eq!(Column::parse(spec.column.key()), Some(spec.column));
            assert!(spec.key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._".contains(c)));
            assert!(spec.title.len() < usize::from(spec.width), "{} has no room for the sort mark", spec.title);
            assert!(spec.most >= spec.width);
            assert!(spec.meaning.len() <= 51, "{} is cut in the list of columns at 80 columns", spec.meaning);
        }
        assert_eq!(Column::parse("runq.p98"), None);
    }

    #[test]
    fn columns_never_stick_out_and_keep_their_order() {
        let mine = [Column::Cgroup, Column::Tid, Column::P99, Column::Name];
        for width in 1..=400 {
            for scroll in 0..=COLUMNS.len() {
                let auto = columns(None, width, scroll, width % 2 == 0);
                let own = columns(Some(&mine), width, scroll, true);
                for shown in [&auto, &own] {
                    let used: usize = shown.iter().map(|placed| usize::from(placed.width) + 1).sum();
                    assert!(used <= usize::from(width) + 1, "{width} {scroll}");
                }
                let order = |c: Column| COLUMNS.iter().position(|spec| spec.column == c);
                assert!(auto.is_sorted_by_key(|placed| order(placed.column)));
                let order = |c: Column| mine.iter().position(|column| *column == c);
                assert!(own.is_sorted_by_key(|placed| order(placed.column)) && !own.is_empty());
            }
        }
    }

    #[test]
    fn the_smallest_terminal_shows_who_waits_and_scrolling_reaches_the_rest() {
        let first = names(&columns(None, MIN_WIDTH - 1, 0, true));
        assert_eq!(first, [Column::Tid, Column::Name, Column::Cpu, Column::P99]);
        for (width, touches) in (MIN_WIDTH - 1..200).flat_map(|width| [(width, true), (width, false)]) {
            let mut seen: Vec<Column> = Vec::new();
            for scroll in 0..=max_scroll(None, width) {
                seen.extend(names(&columns(None, width, scroll, touches)));
            }
            assert!(usual().iter().all(|spec| seen.contains(&spec.column)), "{width}");
        }
        assert_eq!((max_scroll(None, 200), usual().len()), (0, all_columns(None)));
    }

    #[test]
    fn extra_columns_take_no_room_from_those_that_are_always_there() {
        let shown = columns(None, 227, 0, true);
        assert!(shown.iter().all(|placed| placed.width == placed.column.spec().most), "{shown:?}");
        assert_eq!((names(&columns(None, 199, 0, true)).len(), shown.len()), (20, 20));
        assert!(names(&columns(None, 240, 0, true)).contains(&Column::WakeupP99));
    }

    #[test]
    fn an_own_choice_keeps_its_order_and_what_does_not_fit_is_reached() {
        let mine = [Column::Name, Column::Max, Column::Cgroup, Column::Tid, Column::Cpu];
        assert_eq!((names(&columns(Some(&mine), 200, 0, true)), max_scroll(Some(&mine), 200)), (mine.to_vec(), 0));
        assert_eq!(names(&columns(Some(&mine), 44, 0, true)), [Column::Name, Column::Max, Column::Cgroup]);
        let last = max_scroll(Some(&mine), 44);
        assert_eq!(
            (last, names(&columns(Some(&mine), 44, last, true))),
            (2, vec![Column::Name, Column::Tid, Column::Cpu])
        );
        // One that is wider than the terminal is cut.
        assert_eq!(columns(Some(&[Column::Cgroup]), 9, 0, true), [Placed { column: Column::Cgroup, width: 9 }]);
    }

    #[test]
    fn every_place_of_a_row_but_that_of_the_mark_is_some_columns() {
        let shown = columns(None, 79, 0, true);
        assert_eq!((column_at(&shown, 1, 0), column_at(&shown, 1, 1)), (None, Some(Column::Tid)));
        let (mut left, widths) = (1, shown.iter().map(|placed| (placed.column, placed.width)));
        for (column, width) in widths {
            assert!((left..=left + width).all(|at| column_at(&shown, 1, at) == Some(column)), "{column:?}");
            left += width + 1;
        }
        assert_eq!(column_at(&shown, 1, left), None);
    }

    #[test]
    fn columns_of_page_touches_take_no_room_from_others_where_there_are_none() {
        let has = |width, touches| names(&columns(None, width, 0, touches)).contains(&Column::Remote);
        assert_eq!([has(79, true), has(79, false), has(160, false), has(199, false)], [true, false, false, true]);
    }
}
