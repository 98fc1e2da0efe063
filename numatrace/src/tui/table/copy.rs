//! Rows as text for the clipboard: a line of heads and aligned rows, which read well wherever they are pasted.

use crate::text;
use crate::tui::layout::Column;

/// Most bytes that are copied: in base64, as terminals take them, they are 64 KiB.
pub const MAX_BYTES: usize = 48 * 1024;

/// What was copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// The text; each line ends with a newline.
    pub text: String,
    /// Rows that are in it.
    pub rows: usize,
    /// Rows that there were.
    pub of: usize,
}

/// The rows below their heads, which have units as on the screen. Rows that find no room in [`MAX_BYTES`] are left out from the
/// end, and a last line says how many.
pub fn rows(columns: &[Column], rows: &[Vec<String>]) -> Copied {
    let heads: Vec<String> = columns.iter().map(|column| column.key().to_owned()).collect();
    let width = |at: usize| {
        let cells = rows.iter().chain([&heads]).filter_map(|row| row.get(at));
        cells.map(|cell| text::width(&text::visible(cell))).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = columns.iter().zip(&widths).zip(row).map(|((column, width), cell)| {
            if column.spec().right { text::right(cell, *width) } else { text::left(cell, *width) }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    /// Bytes for the line that says what is left out.
    const LAST: usize = 64;
    let mut copied = Copied { text: line(&heads), rows: 0, of: rows.len() };
    for row in rows {
        let line = line(row);
        if copied.text.len() + line.len() + LAST > MAX_BYTES {
            copied.text.push_str(&format!("... and {} more rows\n", copied.of - copied.rows));
            break;
        }
        copied.text.push_str(&line);
        copied.rows += 1;
    }
    copied
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_aligned_below_their_heads() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let columns = [Column::Tid, Column::Name, Column::P99];
        let copied = rows(&columns, &[row(["4713", "io_thd_1", "31.0ms"]), row(["7", "漢\x1b", "180us"])]);
        let text = " tid  name      runq.p99\n4713  io_thd_1    31.0ms\n   7  漢\\x1b       180us\n";
        assert_eq!(copied, Copied { text: text.into(), rows: 2, of: 2 });
    }

    #[test]
    fn no_more_is_copied_than_terminals_take_and_what_is_left_out_is_said() {
        let all: Vec<Vec<String>> = (0..10_000).map(|tid| vec![tid.to_string(), "worker".into()]).collect();
        let copied = rows(&[Column::Tid, Column::Name], &all);
        assert!(copied.text.len() <= MAX_BYTES && copied.text.len() > MAX_BYTES - 128);
        let last = format!("... and {} more rows", 10_000 - copied.rows);
        assert_eq!(copied.text.lines().last(), Some(last.as_str()));
        assert_eq!(copied.text.lines().count(), copied.rows + 2);
    }
}
