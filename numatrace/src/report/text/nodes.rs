//! Migrations node by node, on machines that have more than one.

use super::page::{Page, Tone};
use crate::snapshot::Snapshot;
use crate::text::{count, left, right};
use crate::units::sum;

/// Pairs shown where the matrix is too wide.
const PAIRS: usize = 16;

pub(super) fn write(page: &mut Page, snapshot: &Snapshot) {
    let matrix = &snapshot.matrices.migrations;
    if snapshot.host.nodes.len() < 2 || matrix.iter().flatten().all(|n| *n == 0) {
        return;
    }
    let names: Vec<String> = snapshot.host.nodes.iter().map(|node| format!("node {}", node.id)).collect();
    let widest = matrix.iter().flatten().map(|n| count(*n).len()).chain(names.iter().map(String::len)).max();
    let column = widest.unwrap_or(0) + 2;
    if 10 + column * names.len() > page.width {
        pairs(page, matrix, &names);
        return;
    }
    page.heading("Migrations by node, from row to column", "");
    let cells: String = names.iter().map(|name| right(name, column)).collect();
    page.line(&format!("{}{cells}", left("", 10)), Tone::Plain);
    for (name, row) in names.iter().zip(matrix) {
        let cells: String = row.iter().map(|n| right(&count(*n), column)).collect();
        page.line(&format!("{}{cells}", left(&format!("  {name}"), 10)), Tone::Plain);
    }
}

/// The busiest cells as a list.
fn pairs(page: &mut Page, matrix: &[Vec<u64>], names: &[String]) {
    let mut cells = Vec::new();
    for (from, row) in names.iter().zip(matrix) {
        cells.extend(names.iter().zip(row).filter(|(_, n)| **n > 0).map(|(to, n)| (*n, from, to)));
    }
    cells.sort_by_key(|(n, ..)| std::cmp::Reverse(*n));
    page.heading("Migrations by node, most first", "");
    for (n, from, to) in cells.iter().take(PAIRS) {
        page.line(&format!("  {from} to {to}: {}", count(*n)), Tone::Plain);
    }
    if cells.len() > PAIRS {
        let more = (cells.len() - PAIRS) as u64;
        let sum = sum(cells.iter().skip(PAIRS).map(|(n, ..)| n));
        page.paragraph("  ", &format!("... and {} in {} more pairs", count(sum), count(more)));
    }
}
