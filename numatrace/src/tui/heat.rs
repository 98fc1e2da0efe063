//! Matrices of counts from node to node as maps: each cell has a shade beside its number, so that colour only repeats what
//! is written. Pure text, and the arithmetic of how much fits.

use super::page::{Block, GAP, Line, Role};
use crate::text;
use crate::units::sum;

/// A matrix.
#[derive(Clone, Copy, Debug)]
pub(super) struct Map<'a> {
    pub title: &'a str,
    /// What a row is, and what a column.
    pub order: [&'a str; 2],
    /// The kernel's numbers of the nodes.
    pub ids: &'a [u32],
    pub cells: &'a [Vec<u64>],
}

/// How much of a cell is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    /// Two columns of shade, and the count.
    Large,
    /// One column of shade, and the count.
    Medium,
    /// One column of shade, and the percentage of the row.
    Small,
}

impl Size {
    /// Columns of a cell, the blank before it included.
    const fn cell(self) -> usize {
        match self {
            Size::Large => 9,
            Size::Medium => 7,
            Size::Small => 4,
        }
    }

    /// Columns of the names of rows.
    const fn label(self) -> usize {
        match self {
            Size::Large | Size::Medium => 8,
            Size::Small => 4,
        }
    }

    const fn width(self, nodes: usize) -> usize {
        self.label() + self.cell() * nodes
    }
}

/// Columns of a distance.
const DISTANCE: usize = 4;
/// Pairs that are named where no map fits.
const PAIRS: usize = 12;

/// The maps in rows of blocks that fit side by side: as large as they can be in as few rows as possible, distances right
/// after the first. Where not even small ones fit, the busiest pairs of nodes stand for a map.
pub(super) fn arrange(
    maps: &[Map<'_>],
    distances: Option<&Map<'_>>,
    far: &[Vec<u32>],
    width: usize,
) -> Vec<Vec<Block>> {
    let nodes = maps.iter().chain(distances).map(|map| map.ids.len()).max().unwrap_or(0);
    let fitting = [Size::Large, Size::Medium, Size::Small].into_iter().filter(|size| size.width(nodes) <= width);
    let arranged = fitting.map(|size| {
        let mut blocks: Vec<Block> = maps.iter().map(|map| shaded(map, size)).collect();
        if let Some(distances) = distances {
            blocks.insert(blocks.len().min(1), plain(distances, size));
        }
        flow(blocks, width)
    });
    // Of those with as few rows the first, which is the largest.
    let best = arranged.min_by_key(Vec::len);
    best.unwrap_or_else(|| maps.iter().map(|map| vec![pairs(map, far, width)]).collect())
}

/// As many blocks side by side as fit.
fn flow(blocks: Vec<Block>, width: usize) -> Vec<Vec<Block>> {
    let mut rows: Vec<Vec<Block>> = Vec::new();
    let mut used = 0;
    for block in blocks {
        let needed = block.width();
        match rows.last_mut() {
            Some(row) if used + GAP + needed <= width => {
                used += GAP + needed;
                row.push(block);
            }
            _ => {
                used = needed;
                rows.push(vec![block]);
            }
        }
    }
    rows
}

fn shaded(map: &Map<'_>, size: Size) -> Block {
    let [row_is, column_is] = map.order;
    let beside =
        if size == Size::Small { format!("% of row; {row_is} in row, {column_is} in column") } else { String::new() };
    let mut block = Block::new(map.title, &beside);
    block.push(heads(map, size, size.cell()));
    let shown = |row: &[u64], at: usize| match size {
        Size::Small => row[at] as f64 / sum(row).max(1) as f64,
        _ => row[at] as f64,
    };
    let all = map.cells.iter().flat_map(|row| (0..row.len()).map(move |at| shown(row, at)));
    let most = all.fold(0.0, f64::max);
    for (from, row) in map.cells.iter().enumerate() {
        let mut line = label(map, size, from);
        for (to, count) in row.iter().enumerate() {
            let text = match size {
                Size::Small => whole_percent(*count, sum(row)),
                _ => text::count_short(*count),
            };
            // What is between nodes is what one looks for.
            let role = match (*count, from == to) {
                (0, _) => Role::Dim,
                (_, true) => Role::Bar,
                _ => Role::Warn,
            };
            let shade = shade(shown(row, to), most);
            let shade = shade.to_string().repeat(if size == Size::Large { 2 } else { 1 });
            // Where there is just room for two digits, three take the blank.
            let room = size.cell() - text::width(&shade) - 1;
            let (blank, room) = if text.len() > room { ("", room + 1) } else { (" ", room) };
            line.push(format!("{blank}{shade}"), role);
            line = line.right(&text, room, if *count == 0 { Role::Dim } else { Role::Plain });
        }
        block.push(line);
    }
    block
}

/// Numbers alone.
fn plain(map: &Map<'_>, size: Size) -> Block {
    let mut block = Block::new(map.title, "10 is local");
    block.push(heads(map, size, DISTANCE));
    for (from, row) in map.cells.iter().enumerate() {
        let near = row.iter().min();
        let mut line = label(map, size, from);
        for cell in row {
            let role = if Some(cell) == near { Role::Dim } else { Role::Plain };
            line = line.right(&cell.to_string(), DISTANCE, role);
        }
        block.push(line);
    }
    block
}

fn heads(map: &Map<'_>, size: Size, cell: usize) -> Line {
    let [row_is, column_is] = map.order;
    let corner = if size == Size::Small { String::new() } else { format!("{row_is}\\{column_is}") };
    let line = Line::default().left(&corner, size.label(), Role::Head);
    map.ids.iter().fold(line, |line, id| line.right(&id.to_string(), cell, Role::Head))
}

fn label(map: &Map<'_>, size: Size, at: usize) -> Line {
    let id = map.ids.get(at).map_or_else(|| "?".into(), u32::to_string);
    match size {
        Size::Small => Line::default().right(&id, size.label() - 1, Role::Head).with(" ", Role::Plain),
        _ => Line::default().left(&format!("node {id}"), size.label(), Role::Plain),
    }
}

/// The darker the more; only what is nothing is blank. Little has a dot: else a large map were all one shade.
fn shade(value: f64, most: f64) -> char {
    const SHADES: [char; 4] = ['░', '▒', '▓', '█'];
    const LITTLE: f64 = 1.0 / 16.0;
    match value / most {
        share if share > LITTLE => SHADES[((share * 4.0).ceil() as usize).clamp(1, 4) - 1],
        share if share > 0.0 => '·',
        _ => ' ',
    }
}

/// What is something is never 0, and only all is 100.
fn whole_percent(part: u64, all: u64) -> String {
    match (part as f64 / all.max(1) as f64 * 100.0).round() as u64 {
        0 if part > 0 => "<1".into(),
        _ if part > 0 && part == all => "100".into(),
        percent => percent.min(99).to_string(),
    }
}

/// The busiest pairs of nodes, where the map does not fit.
fn pairs(map: &Map<'_>, distances: &[Vec<u32>], columns: usize) -> Block {
    let [row_is, column_is] = map.order;
    let mut block = Block::new(map.title, &format!("{row_is} > {column_is}, most first"));
    let mut cells = Vec::new();
    for (from, row) in map.cells.iter().enumerate() {
        cells.extend(row.iter().enumerate().filter(|(_, n)| **n > 0).map(|(to, n)| (*n, from, to)));
    }
    cells.sort_by_key(|(n, ..)| std::cmp::Reverse(*n));
    let all = sum(cells.iter().map(|(n, ..)| n));
    let id = |at: usize| map.ids.get(at).map_or_else(|| "?".into(), u32::to_string);
    for (n, from, to) in cells.iter().take(PAIRS) {
        let far = distances.get(*from).and_then(|row| row.get(*to));
        let role = if from == to { Role::Plain } else { Role::Warn };
        let line = Line::default()
            .left(&format!("{} > {}", id(*from), id(*to)), 10, Role::Plain)
            .right(&text::count_short(*n), 7, role)
            .right(&text::share(*n, all), 8, Role::Plain);
        block.push(far.map_or_else(|| line.clone(), |far| line.clone().with(format!("  distance {far}"), Role::Dim)));
    }
    if cells.len() > PAIRS {
        let rest = sum(cells.iter().skip(PAIRS).map(|(n, ..)| n));
        let more = format!("... and {} in {} more pairs", text::count(rest), cells.len() - PAIRS);
        block.say(&more, columns, Role::Dim);
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_little_has_a_dot_and_nothing_is_blank() {
        assert_eq!([0.0, 1.0, 7.0, 25.0, 26.0, 100.0].map(|n| shade(n, 100.0)), [' ', '·', '░', '░', '▒', '█']);
        assert_eq!(shade(0.0, 0.0), ' ');
    }

    #[test]
    fn percentages_of_a_row_fit_two_columns_but_for_all() {
        let all = [(0, 0), (0, 9), (1, 1_000), (995, 1_000), (9, 9), (2, 4)].map(|(n, all)| whole_percent(n, all));
        assert_eq!(all, ["0", "0", "<1", "99", "100", "50"]);
    }

    fn arranged(nodes: usize, width: usize) -> Vec<Vec<Block>> {
        let ids: Vec<u32> = (0..nodes as u32).collect();
        let cells = vec![vec![1_234_567; nodes]; nodes];
        let map = |title| Map { title, order: ["CPU", "page"], ids: &ids, cells: &cells };
        arrange(&[map("A"), map("B")], Some(&map("Distances")), &vec![vec![10; nodes]; nodes], width)
    }

    #[test]
    fn maps_are_as_large_as_fit_and_never_wider_than_the_page() {
        for width in (40..=220).step_by(5) {
            for nodes in [2, 3, 4, 8, 9, 16, 19, 32, 64] {
                for row in arranged(nodes, width) {
                    let used: usize = row.iter().map(|block| block.width() + GAP).sum();
                    assert!(used <= width + GAP, "{nodes} nodes in {width}");
                }
            }
        }
        // Two nodes side by side on the smallest usual terminal; sixteen in rows, with counts from 120 columns on.
        assert_eq!(arranged(2, 80).len(), 1);
        assert_eq!([arranged(16, 80).len(), arranged(16, 120).len(), arranged(16, 200).len()], [3, 3, 2]);
        let first =
            |width| arranged(16, width)[0][0].lines[2].pieces.iter().map(|(text, _)| text.as_str()).collect::<String>();
        assert!(first(80).contains("6") && !first(80).contains('M') && first(120).contains("1.23M"));
    }
}
