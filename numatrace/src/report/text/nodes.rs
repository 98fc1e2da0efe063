//! Memory of each node; migrations and page touches node by node, on machines that have more than one.

use super::page::{Page, Tone};
use crate::snapshot::Snapshot;
use crate::text::{bytes, count, left, right, share};
use crate::units::sum;
use crate::words;

/// Pairs shown where the matrix is too wide.
const PAIRS: usize = 16;
/// Columns of a distance.
const DISTANCE: usize = 5;

pub(super) fn write(page: &mut Page, snapshot: &Snapshot) {
    memory(page, snapshot);
    if snapshot.host.nodes.len() < 2 {
        return;
    }
    let names: Vec<String> = snapshot.host.nodes.iter().map(|node| format!("node {}", node.id)).collect();
    let migrations = Matrix {
        title: "Migrations by node",
        order: "from row to column",
        cells: &snapshot.matrices.migrations,
        names: &names,
        distances: &[],
    };
    migrations.write(page);
    if let Some(cells) = &snapshot.matrices.page_touches {
        let touches = Matrix {
            title: "Page touches by node",
            order: "CPU in row, page in column",
            cells,
            distances: &snapshot.host.distances,
            ..migrations
        };
        touches.write(page);
    }
}

/// Memory of each node of the machine; nothing where it is not measured.
fn memory(page: &mut Page, snapshot: &Snapshot) {
    let Some(all) = words::node_memory(snapshot) else { return };
    page.heading("Memory by node", "");
    let row = |name: &str, cells: [String; 5]| {
        let cells: String = cells.iter().zip([10, 10, 8, 10, 10]).map(|(cell, width)| right(cell, width)).collect();
        format!("{}{cells}", left(&format!("  {name}"), 12))
    };
    page.line(&row("", ["FREE", "OF", "SHARE", "MISS", "FOREIGN"].map(str::to_owned)), Tone::Plain);
    for (at, memory) in all {
        let name = snapshot.host.nodes.get(at).map_or_else(String::new, |node| format!("node {}", node.id));
        let cells = [
            bytes(memory.free_bytes),
            bytes(memory.total_bytes),
            share(memory.free_bytes, memory.total_bytes),
            count(memory.miss),
            count(memory.foreign),
        ];
        page.line(&row(&name, cells), Tone::Plain);
    }
    let meaning = "MISS: pages put here that were wanted on another node; FOREIGN: wanted here and put elsewhere; by the whole machine";
    page.paragraph("  ", meaning);
}

/// Counts from node to node.
#[derive(Clone, Copy)]
struct Matrix<'a> {
    title: &'a str,
    /// What is a row and what a column.
    order: &'a str,
    cells: &'a [Vec<u64>],
    names: &'a [String],
    /// Shown beside; none where they have no part in it.
    distances: &'a [Vec<u32>],
}

impl Matrix<'_> {
    fn write(&self, page: &mut Page) {
        if self.cells.iter().flatten().all(|n| *n == 0) {
            return;
        }
        let numbers = self.cells.iter().flatten().map(|n| count(*n).len());
        let column = numbers.chain(self.names.iter().map(String::len)).max().unwrap_or(0) + 2;
        let width = 10 + column * self.names.len();
        if width > page.width {
            self.pairs(page);
            return;
        }
        // Beside, or not at all: the pairs of a large machine have theirs.
        let beside = !self.distances.is_empty() && width + 4 + DISTANCE * self.names.len() + 10 <= page.width;
        let order = if beside { format!("{}; distances beside", self.order) } else { self.order.to_owned() };
        page.heading(&format!("{}, {order}", self.title), "");
        let mut heads: String = self.names.iter().map(|name| right(name, column)).collect();
        if beside {
            let ids = self.names.iter().map(|name| name.trim_start_matches("node "));
            heads += &format!("    {}{}", left("distance", 10), ids.map(|id| right(id, DISTANCE)).collect::<String>());
        }
        page.line(&format!("{}{heads}", left("", 10)), Tone::Plain);
        for (at, (name, row)) in self.names.iter().zip(self.cells).enumerate() {
            let mut cells: String = row.iter().map(|n| right(&count(*n), column)).collect();
            if let Some(distances) = self.distances.get(at).filter(|_| beside) {
                let distances: String = distances.iter().map(|n| right(&n.to_string(), DISTANCE)).collect();
                cells += &format!("    {}{distances}", left(name, 10));
            }
            page.line(&format!("{}{cells}", left(&format!("  {name}"), 10)), Tone::Plain);
        }
    }

    /// The busiest cells as a list.
    fn pairs(&self, page: &mut Page) {
        let mut cells = Vec::new();
        for (from, row) in self.cells.iter().enumerate() {
            cells.extend(row.iter().enumerate().filter(|(_, n)| **n > 0).map(|(to, n)| (*n, from, to)));
        }
        cells.sort_by_key(|(n, ..)| std::cmp::Reverse(*n));
        page.heading(&format!("{}, most first", self.title), "");
        let name = |at: usize| self.names.get(at).map_or("?", String::as_str);
        for (n, from, to) in cells.iter().take(PAIRS) {
            let distance = self.distances.get(*from).and_then(|row| row.get(*to));
            let distance = distance.map_or_else(String::new, |distance| format!(" at distance {distance}"));
            page.line(&format!("  {} to {}: {}{distance}", name(*from), name(*to), count(*n)), Tone::Plain);
        }
        if cells.len() > PAIRS {
            let more = (cells.len() - PAIRS) as u64;
            let sum = sum(cells.iter().skip(PAIRS).map(|(n, ..)| n));
            page.paragraph("  ", &format!("... and {} in {} more pairs", count(sum), count(more)));
        }
    }
}
