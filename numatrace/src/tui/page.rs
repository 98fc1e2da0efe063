//! Pages of text with roles instead of styles: what Overview and Thread detail are made of. Pure, free of ratatui, so
//! that scrolling can be clamped by what a page really holds.

use super::cells;
use super::help::wrap;
use crate::text;

/// What a piece of text is, for the theme to style.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Ordinary.
    Plain,
    /// Of little weight.
    Dim,
    /// Of weight.
    Strong,
    /// Head of a column.
    Head,
    /// A bar.
    Bar,
    /// Worth a look.
    Warn,
    /// Bad.
    Bad,
}

/// One line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Its pieces, from left to right.
    pub pieces: Vec<(String, Role)>,
    width: usize,
}

impl Line {
    /// A line of one piece.
    pub fn of(piece: impl Into<String>, role: Role) -> Line {
        Line::default().with(piece, role)
    }

    /// Adds a piece.
    pub fn push(&mut self, piece: impl Into<String>, role: Role) {
        let piece = piece.into();
        self.width += text::width(&piece);
        self.pieces.push((piece, role));
    }

    /// As [`Line::push`].
    #[must_use]
    pub fn with(mut self, piece: impl Into<String>, role: Role) -> Line {
        self.push(piece, role);
        self
    }

    /// Adds a piece that fills `columns`, at their left.
    #[must_use]
    pub fn left(self, piece: &str, columns: usize, role: Role) -> Line {
        self.with(text::left(piece, columns), role)
    }

    /// Adds a piece that fills `columns`, at their right.
    #[must_use]
    pub fn right(self, piece: &str, columns: usize, role: Role) -> Line {
        self.with(text::right(piece, columns), role)
    }

    /// Adds heads of columns, each at the right of its width.
    #[must_use]
    pub fn heads(self, heads: &[(&str, usize)]) -> Line {
        heads.iter().fold(self, |line, (title, width)| line.right(title, *width, Role::Head))
    }

    /// Adds a share in percent and as a bar of `room`; the percentage takes 8 columns, a blank follows.
    #[must_use]
    pub fn share(self, share: Option<f64>, role: Role, room: usize) -> Line {
        self.right(&cells::percent(share), 8, role)
            .with(" ", Role::Plain)
            .with(bar(share.unwrap_or(0.0), room), Role::Bar)
    }

    /// Columns that it takes.
    pub const fn width(&self) -> usize {
        self.width
    }

    /// Cut to `columns`; what is cut off leaves a mark, so that no part of a number passes for a number.
    #[must_use]
    pub fn cut(self, columns: usize) -> Line {
        if self.width <= columns {
            return self;
        }
        let mut line = Line::default();
        for (piece, role) in self.pieces {
            let room = columns.saturating_sub(1 + line.width);
            let whole = text::width(&piece) <= room;
            let end = piece.char_indices().map(|(at, c)| at + c.len_utf8());
            let fits = end.take_while(|end| text::width(&piece[..*end]) <= room).last().unwrap_or(0);
            line.push(&piece[..fits], role);
            if !whole {
                break;
            }
        }
        if columns > 0 { line.with("…", Role::Dim) } else { line }
    }

    /// Cut or filled to `columns`.
    fn fill(self, columns: usize) -> Line {
        let line = self.cut(columns);
        let room = columns.saturating_sub(line.width);
        line.with(" ".repeat(room), Role::Plain)
    }
}

/// Lines that belong together, under a heading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// Heading and what it holds.
    pub lines: Vec<Line>,
}

impl Block {
    /// An empty block with this heading, and what is said beside it.
    pub fn new(heading: &str, beside: &str) -> Block {
        let heading = Line::of(heading, Role::Strong);
        let heading = if beside.is_empty() { heading } else { heading.with(format!("  {beside}"), Role::Dim) };
        Block { lines: vec![heading] }
    }

    /// Adds a sentence, in as many lines of `columns` as it takes.
    pub fn say(&mut self, sentence: &str, columns: usize, role: Role) {
        let parts = wrap(sentence, columns.max(1)).into_iter();
        self.lines.extend(parts.map(|part| Line::of(part, role)));
    }

    /// Adds a sentence with its name beside the first line, in `width` columns.
    pub fn say_of(&mut self, name: (&str, Role), width: usize, sentence: &str, columns: usize) {
        let (mut name, role) = name;
        for part in wrap(sentence, columns.saturating_sub(width).max(1)) {
            self.lines.push(Line::default().left(name, width, role).with(part, Role::Plain));
            name = "";
        }
    }

    /// Adds a line.
    pub fn push(&mut self, line: Line) {
        self.lines.push(line);
    }

    /// Columns that it takes.
    pub fn width(&self) -> usize {
        self.lines.iter().map(Line::width).max().unwrap_or(0)
    }

    /// Takes so many columns, or more.
    #[must_use]
    pub fn at_least(mut self, columns: usize) -> Block {
        if let Some(heading) = self.lines.first_mut().filter(|heading| heading.width() < columns) {
            *heading = std::mem::take(heading).fill(columns);
        }
        self
    }
}

/// Narrowest page that has two columns.
pub const TWO_COLUMNS: u16 = 120;
/// Columns between what stands side by side.
pub(super) const GAP: usize = 3;

/// Width of a column of a page.
pub const fn column_width(width: u16) -> usize {
    if width >= TWO_COLUMNS { (width as usize - GAP) / 2 } else { width as usize }
}

/// The blocks one below the other, an empty line between; on wide pages in two columns. The order is kept down the
/// first column, and the second column goes on where that is about half of all.
pub fn arrange(blocks: Vec<Block>, width: u16) -> Vec<Line> {
    if width < TWO_COLUMNS {
        return stack(blocks);
    }
    let total: usize = blocks.iter().map(|block| block.lines.len() + 1).sum();
    let mut left = Vec::new();
    let mut right = Vec::new();
    let mut used = 0;
    for block in blocks {
        let lines = block.lines.len() + 1;
        // In the first column as long as at least half of the block is in the first half.
        if right.is_empty() && (used + lines / 2) * 2 <= total {
            left.push(block);
        } else {
            right.push(block);
        }
        used += lines;
    }
    beside(stack(left), stack(right), column_width(width))
}

/// Blocks side by side, row by row, an empty line between rows.
pub fn rows(rows: impl Iterator<Item = Vec<Block>>) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for row in rows {
        if !lines.is_empty() {
            lines.push(Line::default());
        }
        let all = row.into_iter().map(|block| (block.width(), block.lines));
        let row = all
            .reduce(|(left_width, left), (width, right)| (left_width + GAP + width, beside(left, right, left_width)));
        lines.extend(row.map(|(_, lines)| lines).unwrap_or_default());
    }
    lines
}

fn stack(blocks: Vec<Block>) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for block in blocks {
        if !lines.is_empty() {
            lines.push(Line::default());
        }
        lines.extend(block.lines);
    }
    lines
}

fn beside(left: Vec<Line>, right: Vec<Line>, columns: usize) -> Vec<Line> {
    let height = left.len().max(right.len());
    let padded = |lines: Vec<Line>| lines.into_iter().chain(std::iter::repeat_with(Line::default)).take(height);
    let lines = padded(left).zip(padded(right)).map(|(left, right)| {
        let mut line = left.fill(columns).with(" ".repeat(GAP), Role::Plain);
        right.pieces.into_iter().for_each(|(piece, role)| line.push(piece, role));
        line
    });
    lines.collect()
}

/// A bar of `share` of `columns`, in eighths, filled up with blanks. What is something is never nothing.
pub fn bar(share: f64, columns: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    let mut eighths = (share * columns as f64 * 8.0).round() as usize;
    if share > 0.0 {
        eighths = eighths.max(1);
    }
    let mut bar = "█".repeat(eighths / 8);
    bar.push_str(EIGHTHS[eighths % 8]);
    text::left(&bar, columns)
}

/// One column for each value, as high as its share of `most`; a blank where there is none.
pub fn sparkline(values: &[Option<u64>], most: u64) -> String {
    const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let height = |value: u64| {
        let at = (value as f64 / most.max(1) as f64 * 8.0).ceil() as usize;
        HEIGHTS[at.clamp(1, 8) - 1]
    };
    values.iter().map(|value| value.map_or(' ', height)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_tells_a_little_from_nothing_and_never_overflows() {
        assert_eq!(bar(0.0, 4), "    ");
        assert_eq!(bar(0.0001, 4), "▏   ");
        assert_eq!(bar(0.5, 4), "██  ");
        assert_eq!(bar(0.53125, 4), "██▏ ");
        assert_eq!([bar(1.0, 4), bar(9.0, 4), bar(f64::INFINITY, 4)], ["████", "████", "    "]);
        assert_eq!(bar(0.5, 0), "");
    }

    #[test]
    fn a_sparkline_has_a_column_for_each_value() {
        assert_eq!(sparkline(&[Some(0), None, Some(1), Some(50), Some(100)], 100), "▁ ▁▄█");
        assert_eq!(sparkline(&[Some(7)], 0), "█");
    }

    fn block(name: &str, lines: usize) -> Block {
        let mut block = Block::new(name, "");
        (1..lines).for_each(|n| block.push(Line::of(format!("{name}{n}"), Role::Plain)));
        block
    }

    fn text_of(lines: &[Line]) -> Vec<String> {
        let all = lines.iter().map(|line| line.pieces.iter().map(|(piece, _)| piece.as_str()).collect::<String>());
        all.map(|line| line.trim_end().to_owned()).collect()
    }

    #[test]
    fn narrow_pages_are_one_column_and_wide_ones_two() {
        let blocks = || vec![block("a", 2), block("b", 2), block("c", 3)];
        assert_eq!(text_of(&arrange(blocks(), 119)), ["a", "a1", "", "b", "b1", "", "c", "c1", "c2"]);
        let wide = arrange(blocks(), 120);
        assert_eq!(text_of(&wide).len(), 5);
        assert!(wide[0].width() <= 120 && text_of(&wide)[0].ends_with('c'));
        assert_eq!(arrange(Vec::new(), 200), []);
    }
}
