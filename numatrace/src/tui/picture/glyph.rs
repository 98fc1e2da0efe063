//! Blocks and lines as rectangles: characters that fill their cell to its edges, where fonts leave gaps.

use super::CELL;

/// What a character looks like.
#[derive(Debug, PartialEq, Eq)]
pub struct Shape {
    /// Left, top, width and height, in pixels of the cell.
    pub rects: Vec<[u32; 4]>,
    /// How far on the way from its colour to the background: shades are even.
    pub lightness: (u16, u16),
}

/// The middle of a cell: where lines cross.
const MIDDLE: (u32, u32) = (CELL.0 / 2, CELL.1 / 2 - 1);

/// Lines: for each arm (up, right, down, left) none, a thin or a thick one.
const LINES: [(char, [u8; 4]); 34] = [
    ('─', [0, 1, 0, 1]),
    ('━', [0, 2, 0, 2]),
    ('│', [1, 0, 1, 0]),
    ('┃', [2, 0, 2, 0]),
    ('┌', [0, 1, 1, 0]),
    ('┏', [0, 2, 2, 0]),
    ('┐', [0, 0, 1, 1]),
    ('┓', [0, 0, 2, 2]),
    ('└', [1, 1, 0, 0]),
    ('┗', [2, 2, 0, 0]),
    ('┘', [1, 0, 0, 1]),
    ('┛', [2, 0, 0, 2]),
    ('├', [1, 1, 1, 0]),
    ('┣', [2, 2, 2, 0]),
    ('┤', [1, 0, 1, 1]),
    ('┫', [2, 0, 2, 2]),
    ('┬', [0, 1, 1, 1]),
    ('┳', [0, 2, 2, 2]),
    ('┴', [1, 1, 0, 1]),
    ('┻', [2, 2, 0, 2]),
    ('┼', [1, 1, 1, 1]),
    ('╋', [2, 2, 2, 2]),
    ('╭', [0, 1, 1, 0]),
    ('╮', [0, 0, 1, 1]),
    ('╯', [1, 0, 0, 1]),
    ('╰', [1, 1, 0, 0]),
    ('╴', [0, 0, 0, 1]),
    ('╵', [1, 0, 0, 0]),
    ('╶', [0, 1, 0, 0]),
    ('╷', [0, 0, 1, 0]),
    ('╸', [0, 0, 0, 2]),
    ('╹', [2, 0, 0, 0]),
    ('╺', [0, 2, 0, 0]),
    ('╻', [0, 0, 2, 0]),
];

/// Quadrants of each of `▖` to `▟`: upper left 1, upper right 2, lower left 4, lower right 8.
const QUADRANTS: [u8; 10] = [4, 8, 1, 1 + 4 + 8, 1 + 8, 1 + 2 + 4, 1 + 2 + 8, 2, 2 + 4, 2 + 4 + 8];

/// How `symbol` is drawn; `None` for what is text.
pub fn shape(symbol: &str) -> Option<Shape> {
    let mut chars = symbol.chars();
    let (c, None) = (chars.next()?, chars.next()) else { return None };
    let (width, height) = CELL;
    let code = u32::from(c);
    let one = |rect| Some(Shape { rects: vec![rect], lightness: (0, 1) });
    let shade = |part| Some(Shape { rects: vec![[0, 0, width, height]], lightness: (part, 4) });
    match c {
        '▀' => one([0, 0, width, height / 2]),
        '▁'..='█' => {
            let filled = part(height, code - 0x2580);
            one([0, height - filled, width, filled])
        }
        '▉'..='▏' => one([0, 0, part(width, 0x2590 - code), height]),
        '▐' => one([width - part(width, 4), 0, part(width, 4), height]),
        '░' => shade(3),
        '▒' => shade(2),
        '▓' => shade(1),
        '▔' => one([0, 0, width, part(height, 1)]),
        '▕' => one([width - part(width, 1), 0, part(width, 1), height]),
        '▖'..='▟' => Some(Shape { rects: quadrants(QUADRANTS[(code - 0x2596) as usize]), lightness: (0, 1) }),
        _ => {
            let (_, arms) = LINES.iter().find(|(line, _)| *line == c)?;
            Some(Shape { rects: line(*arms), lightness: (0, 1) })
        }
    }
}

/// So many eighths of a length, in whole pixels.
fn part(length: u32, eighths: u32) -> u32 {
    (length * eighths + 4) / 8
}

fn quadrants(wanted: u8) -> Vec<[u32; 4]> {
    let (left, top) = (part(CELL.0, 4), CELL.1 / 2);
    let all = [
        [0, 0, left, top],
        [left, 0, CELL.0 - left, top],
        [0, top, left, CELL.1 - top],
        [left, top, CELL.0 - left, CELL.1 - top],
    ];
    all.into_iter().enumerate().filter(|(bit, _)| wanted & 1 << bit != 0).map(|(_, rect)| rect).collect()
}

/// Thin arms are one pixel, thick ones three; all reach over the middle, so that corners are whole.
fn line([up, right, down, left]: [u8; 4]) -> Vec<[u32; 4]> {
    let half = |weight: u8| u32::from(weight) - 1;
    let thick = |weight: u8| 2 * half(weight) + 1;
    let ((x, y), (width, height)) = (MIDDLE, CELL);
    let mut rects = Vec::new();
    if up == down && up > 0 {
        rects.push([x - half(up), 0, thick(up), height]);
    } else if up > 0 {
        rects.push([x - half(up), 0, thick(up), y + half(up) + 1]);
    } else if down > 0 {
        rects.push([x - half(down), y - half(down), thick(down), height - y + half(down)]);
    }
    if left == right && left > 0 {
        rects.push([0, y - half(left), width, thick(left)]);
    } else if left > 0 {
        rects.push([0, y - half(left), x + half(left) + 1, thick(left)]);
    } else if right > 0 {
        rects.push([x - half(right), y - half(right), width - x + half(right), thick(right)]);
    }
    rects
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rects(symbol: &str) -> Vec<[u32; 4]> {
        shape(symbol).map_or_else(Vec::new, |shape| shape.rects)
    }

    #[test]
    fn eighths_grow_from_below_and_from_the_left_to_the_whole_cell() {
        let heights = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"].map(|symbol| rects(symbol)[0]);
        assert!(heights.windows(2).all(|pair| pair[0][3] < pair[1][3] && pair[0][1] + pair[0][3] == CELL.1));
        assert_eq!(heights[7], [0, 0, CELL.0, CELL.1]);
        let widths = ["▏", "▎", "▍", "▌", "▋", "▊", "▉"].map(|symbol| rects(symbol)[0]);
        assert!(widths.windows(2).all(|pair| pair[0][2] < pair[1][2] && pair[1][2] < CELL.0));
    }

    #[test]
    fn quadrants_lie_where_their_names_say() {
        assert_eq!(rects("▘"), [[0, 0, 5, 9]]);
        assert_eq!(rects("▗"), [[5, 9, 4, 9]]);
        assert_eq!(rects("▞"), [[5, 0, 4, 9], [0, 9, 5, 9]]);
    }

    #[test]
    fn lines_meet_in_the_middle_and_at_the_edges() {
        assert_eq!(rects("┼"), [[4, 0, 1, 18], [0, 8, 9, 1]]);
        assert_eq!(rects("┌"), [[4, 8, 1, 10], [4, 8, 5, 1]]);
        assert_eq!(rects("┘"), [[4, 0, 1, 9], [0, 8, 5, 1]]);
        assert_eq!(rects("┏"), [[3, 7, 3, 11], [3, 7, 6, 3]]);
    }

    #[test]
    fn shades_are_between_the_colours_and_text_is_no_shape() {
        assert_eq!(
            ["░", "▒", "▓"].map(|symbol| shape(symbol).map(|shape| shape.lightness)),
            [3, 2, 1].map(|n| Some((n, 4)))
        );
        assert!(["a", "", "e\u{301}", "▶", "═"].iter().all(|symbol| shape(symbol).is_none()));
    }
}
