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
}

/// How a column looks, and what it means.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Which.
    pub column: Column,
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
    /// Columns with greater numbers are dropped first.
    rank: u8,
    /// What it means, for the help.
    pub meaning: &'static str,
}

const fn number(column: Column, title: &'static str, width: u16, rank: u8, meaning: &'static str) -> Spec {
    Spec { column, title, width, most: width, right: true, descending: true, rank, meaning }
}

/// Every column, in the order of display.
pub const COLUMNS: [Spec; 20] = [
    Spec { descending: false, ..number(Column::Tid, "tid", 7, 0, "thread id") },
    Spec {
        right: false,
        descending: false,
        most: 20,
        ..number(Column::Name, "name", 15, 1, "command name of the thread")
    },
    Spec {
        right: false,
        descending: false,
        ..number(Column::State, "state", 8, 7, "running, waiting for a CPU, blocked, or exited")
    },
    number(Column::Cpu, "CPU%", 6, 2, "share of a CPU"),
    number(Column::P50, "rq p50", 7, 13, "run-queue latency, median"),
    number(Column::P99, "rq p99", 7, 3, "run-queue latency, 99th percentile"),
    number(Column::Max, "rq max", 7, 12, "run-queue latency, largest"),
    number(Column::Wait, "wait%", 6, 4, "share of its time waiting for a CPU"),
    number(Column::Voluntary, "vol/s", 6, 15, "voluntary switches a second"),
    number(Column::Involuntary, "invol/s", 8, 14, "involuntary switches a second"),
    number(Column::Migrations, "migr/s", 7, 9, "moves between CPUs a second"),
    number(Column::CrossNode, "cross/s", 8, 5, "moves between nodes a second"),
    number(Column::NodeMoves, "moves", 6, 16, "turns on another node than the turn before"),
    number(Column::Touches, "touch/s", 8, 10, "page touches a second: faults, not accesses"),
    number(Column::Remote, "rem%", 5, 8, "share of page touches that were remote"),
    number(Column::WaitingNow, "waiting", 8, 6, "how long it has been waiting right now"),
    number(Column::Running, "ran", 8, 17, "time on CPU"),
    number(Column::Waited, "waited", 8, 18, "time waiting for a CPU"),
    number(Column::Blocked, "blocked", 8, 19, "time neither running nor runnable"),
    Spec {
        right: false,
        descending: false,
        most: 60,
        ..number(Column::Residency, "on nodes", 13, 11, "time on CPU by node (sorts by the largest share)")
    },
];

/// How many columns never scroll away: tid and name.
const FIXED: usize = 2;

impl Column {
    /// How it looks, and what it means.
    pub fn spec(self) -> &'static Spec {
        // Every column is in the table (a test holds that); the first one is as good as any other answer.
        COLUMNS.iter().find(|spec| spec.column == self).unwrap_or(&COLUMNS[0])
    }

    /// Its name in the configuration: its head, in small letters.
    pub fn name(self) -> String {
        self.spec().title.to_lowercase()
    }

    /// The column of this name.
    pub fn named(name: &str) -> Option<Column> {
        COLUMNS.iter().map(|spec| spec.column).find(|column| column.name() == name.to_lowercase())
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

/// The columns that fit into `width`, in order of display.
///
/// With `scroll` 0 the least important ones are dropped, before all others those of page touches where these are not
/// measured (`touches`): they have nothing to tell. Else tid and name stay, and the others follow in order,
/// beginning with number `scroll` of them, counted from 1.
pub fn columns(width: u16, scroll: usize, touches: bool) -> Vec<Placed> {
    let mut shown = if scroll == 0 { most_important(width, touches) } else { from(width, scroll) };
    let mut spare = usize::from(width).saturating_sub(taken(&shown));
    for spec in &mut shown {
        let more = usize::from(spec.most - spec.width).min(spare);
        spare -= more;
        spec.width += more as u16;
    }
    shown.iter().map(|spec| Placed { column: spec.column, width: spec.width }).collect()
}

/// The column at this place of the terminal; the mark of the selected row stands before the first one.
pub fn column_at(columns: &[Placed], at: u16) -> Option<Column> {
    let mut left = 1;
    let found = columns.iter().find(|placed| {
        let right = left + placed.width;
        let hit = (left..=right).contains(&at);
        left = right + 1;
        hit
    });
    found.map(|placed| placed.column)
}

/// The greatest useful `scroll` for [`columns`]: the last column is shown. 0 when all fit.
pub fn max_scroll(width: u16) -> usize {
    if most_important(width, true).len() == COLUMNS.len() {
        return 0;
    }
    let last = |scroll: &usize| from(width, *scroll).last().is_some_and(|spec| spec.column == Column::Residency);
    (1..=COLUMNS.len() - FIXED).find(last).unwrap_or(COLUMNS.len() - FIXED)
}

fn most_important(width: u16, touches: bool) -> Vec<Spec> {
    let rank = |spec: &Spec| {
        let idle = !touches && matches!(spec.column, Column::Touches | Column::Remote);
        (idle, spec.rank)
    };
    let mut by_rank = COLUMNS;
    by_rank.sort_by_key(rank);
    let mut count = 0;
    while count < by_rank.len() && taken(&by_rank[..=count]) <= usize::from(width) {
        count += 1;
    }
    let least = by_rank[..count].iter().map(rank).max();
    COLUMNS.iter().filter(|spec| least.is_some_and(|least| rank(spec) <= least)).copied().collect()
}

fn from(width: u16, scroll: usize) -> Vec<Spec> {
    let mut shown = Vec::new();
    for spec in COLUMNS.iter().take(FIXED).chain(COLUMNS.iter().skip(FIXED + scroll.saturating_sub(1))) {
        shown.push(*spec);
        if taken(&shown) > usize::from(width) {
            shown.pop();
            break;
        }
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

    #[test]
    fn every_column_is_in_the_table_once_with_a_rank_of_its_own() {
        let mut ranks: Vec<u8> = COLUMNS.iter().map(|spec| spec.rank).collect();
        ranks.sort_unstable();
        assert_eq!(ranks, (0..COLUMNS.len() as u8).collect::<Vec<_>>());
        for spec in COLUMNS {
            assert_eq!(spec.column.spec().title, spec.title);
            assert!(spec.title.len() < usize::from(spec.width), "{} has no room for the sort mark", spec.title);
            assert!(spec.most >= spec.width);
        }
    }

    #[test]
    fn columns_never_stick_out_and_keep_their_order() {
        for width in 0..=300 {
            for scroll in 0..=COLUMNS.len() {
                let shown = columns(width, scroll, width % 2 == 0);
                let used: usize = shown.iter().map(|placed| usize::from(placed.width) + 1).sum();
                assert!(used <= usize::from(width) + 1, "{width} {scroll}");
                let order = |c: Column| COLUMNS.iter().position(|spec| spec.column == c);
                assert!(shown.is_sorted_by_key(|placed| order(placed.column)));
            }
        }
    }

    #[test]
    fn the_smallest_terminal_shows_who_waits_and_scrolling_reaches_the_rest() {
        let first: Vec<Column> = columns(MIN_WIDTH - 1, 0, true).iter().map(|placed| placed.column).collect();
        assert_eq!(first, [Column::Tid, Column::Name, Column::Cpu, Column::P99]);
        for (width, touches) in (MIN_WIDTH - 1..200).flat_map(|width| [(width, true), (width, false)]) {
            let mut seen: Vec<Column> = Vec::new();
            for scroll in 0..=max_scroll(width) {
                seen.extend(columns(width, scroll, touches).iter().map(|placed| placed.column));
            }
            assert!(COLUMNS.iter().all(|spec| seen.contains(&spec.column)), "{width}");
        }
        assert_eq!(max_scroll(200), 0);
    }

    #[test]
    fn every_place_of_a_row_but_that_of_the_mark_is_some_columns() {
        let shown = columns(79, 0, true);
        assert_eq!((column_at(&shown, 0), column_at(&shown, 1)), (None, Some(Column::Tid)));
        let (mut left, widths) = (1, shown.iter().map(|placed| (placed.column, placed.width)));
        for (column, width) in widths {
            assert!((left..=left + width).all(|at| column_at(&shown, at) == Some(column)), "{column:?}");
            left += width + 1;
        }
        assert_eq!(column_at(&shown, left), None);
    }

    #[test]
    fn columns_of_page_touches_take_no_room_from_others_where_there_are_none() {
        let has = |width, touches| columns(width, 0, touches).iter().any(|placed| placed.column == Column::Remote);
        assert_eq!([has(79, true), has(79, false), has(160, false), has(199, false)], [true, false, false, true]);
    }
}
