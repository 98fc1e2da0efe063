//! Pictures of screens: what the dashboard drew into a buffer, as the SVG of a terminal window.
//!
//! The same buffer gives the same bytes. Text is text, one element for each stretch of one style, placed at its exact
//! column and stretched to its exact width, so that columns stay columns in whatever monospaced font the viewer has.
//! Blocks and lines are drawn as shapes, for fonts leave gaps between them.

mod color;
mod glyph;

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use ratatui::{
    buffer::{Buffer, Cell},
    style::Modifier,
};
use unicode_width::UnicodeWidthStr as _;

use self::color::Rgb;
pub use self::color::{DARK, LIGHT, Window};

/// Pixels of a cell, and of its font: 0.6 of its size is the width that most monospaced fonts have.
const CELL: (u32, u32) = (9, 18);
const FONT_SIZE: u32 = 15;
/// From the top of a cell to the line on which letters stand.
const BASELINE: u32 = 14;
/// Pixels around the screen, and above it for the window's bar.
const PADDING: u32 = 12;
const BAR: u32 = 30;
const FONTS: &str = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono','Liberation Mono',monospace";
const DOTS: [&str; 3] = ["#ff5f57", "#febc2e", "#28c840"];

/// What `buffer` shows, in a window of this look with this title.
pub fn svg(buffer: &Buffer, title: &str, window: &Window) -> String {
    let (columns, rows) = (u32::from(buffer.area.width), u32::from(buffer.area.height));
    let (width, height) = (columns * CELL.0 + 2 * PADDING, rows * CELL.1 + BAR + PADDING);
    let title = escaped(title);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         role=\"img\" aria-label=\"{title}\">\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"{background}\"/>\n",
        background = window.background
    );
    for (dot, fill) in DOTS.iter().enumerate() {
        put(&mut out, format_args!("<circle cx=\"{}\" cy=\"16\" r=\"5.5\" fill=\"{fill}\"/>\n", 20 + 18 * dot));
    }
    put(
        &mut out,
        format_args!(
            "<g font-family=\"{FONTS}\" font-size=\"{FONT_SIZE}\" fill=\"{}\">\n\
             <text x=\"{}\" y=\"21\" text-anchor=\"middle\" fill=\"{}\">{title}</text>\n",
            window.foreground,
            width / 2,
            window.title
        ),
    );
    put(&mut out, format_args!("<g transform=\"translate({PADDING} {BAR})\">\n"));
    let cells: Vec<Shown<'_>> = shown(buffer, window);
    shapes(&mut out, &cells, window);
    runs(&cells).iter().for_each(|run| run.write(&mut out, window));
    out.push_str("</g>\n</g>\n</svg>\n");
    out
}

/// Writing to a string cannot fail.
fn put(out: &mut String, text: fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

/// One character as it is seen: colours are what they come to, and the cell that a wide one covers is not there.
#[derive(Debug)]
struct Shown<'a> {
    symbol: &'a str,
    column: u32,
    row: u32,
    /// In cells.
    width: u32,
    look: Look,
    background: Rgb,
}

/// What text of one run has in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    color: Rgb,
    bold: bool,
    italic: bool,
    underlined: bool,
    crossed_out: bool,
}

fn shown<'a>(buffer: &'a Buffer, window: &Window) -> Vec<Shown<'a>> {
    let width = usize::from(buffer.area.width.max(1));
    let mut cells = Vec::with_capacity(buffer.content.len());
    for (row, line) in buffer.content.chunks(width).enumerate() {
        let mut column = 0;
        while let Some(cell) = line.get(column) {
            let wide = cell.symbol().width().clamp(1, line.len() - column);
            cells.push(see(cell, column as u32, row as u32, wide as u32, window));
            column += wide;
        }
    }
    cells
}

fn see<'a>(cell: &'a Cell, column: u32, row: u32, width: u32, window: &Window) -> Shown<'a> {
    let has = |modifier| cell.modifier.contains(modifier);
    let (mut color, mut background) = (window.rgb(cell.fg, window.foreground), window.rgb(cell.bg, window.background));
    if has(Modifier::REVERSED) {
        (color, background) = (background, color);
    }
    if has(Modifier::DIM) {
        color = color.towards(background, 2, 5);
    }
    let look = Look {
        color,
        bold: has(Modifier::BOLD),
        italic: has(Modifier::ITALIC),
        underlined: has(Modifier::UNDERLINED),
        crossed_out: has(Modifier::CROSSED_OUT),
    };
    let symbol = if has(Modifier::HIDDEN) { " " } else { cell.symbol() };
    Shown { symbol, column, row, width, look, background }
}

/// Backgrounds, lines through and below text, and the characters that are drawn: one path for each colour.
fn shapes(out: &mut String, cells: &[Shown<'_>], window: &Window) {
    let (mut below, mut above) = (BTreeMap::<Rgb, Path>::new(), BTreeMap::<Rgb, Path>::new());
    for cell in cells {
        let (x, y, width) = (cell.column * CELL.0, cell.row * CELL.1, cell.width * CELL.0);
        if cell.background != window.background {
            below.entry(cell.background).or_default().rect(x, y, width, CELL.1);
        }
        let lines = above.entry(cell.look.color).or_default();
        if cell.look.underlined {
            lines.rect(x, y + BASELINE + 2, width, 1);
        }
        if cell.look.crossed_out {
            lines.rect(x, y + BASELINE - 5, width, 1);
        }
        if let Some(shape) = glyph::shape(cell.symbol) {
            let color = cell.look.color.towards(cell.background, shape.lightness.0, shape.lightness.1);
            let path = above.entry(color).or_default();
            shape.rects.iter().for_each(|[left, top, width, height]| path.rect(x + left, y + top, *width, *height));
        }
    }
    for (color, path) in below.iter().chain(&above).filter(|(_, path)| !path.rects.is_empty()) {
        put(out, format_args!("<path fill=\"{color}\" shape-rendering=\"crispEdges\" d=\"{path}\"/>\n"));
    }
}

/// Rectangles of one colour.
#[derive(Debug, Default)]
struct Path {
    rects: Vec<[u32; 4]>,
}

impl Path {
    /// One more, or the last one longer.
    fn rect(&mut self, x: u32, y: u32, width: u32, height: u32) {
        match self.rects.last_mut() {
            Some([left, top, long, high]) if (*left + *long, *top, *high) == (x, y, height) => *long += width,
            _ => self.rects.push([x, y, width, height]),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rects.iter().try_for_each(|[x, y, width, height]| write!(f, "M{x} {y}h{width}v{height}h-{width}z"))
    }
}

/// Text of one style in one row, without gaps of more than one cell.
#[derive(Debug)]
struct Run {
    text: String,
    column: u32,
    row: u32,
    /// In cells.
    length: u32,
    /// Cells of each of its characters: wide ones rarely have exactly twice the width in a font.
    wide: u32,
    look: Look,
}

fn runs(cells: &[Shown<'_>]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for cell in cells.iter().filter(|cell| !cell.symbol.trim().is_empty() && glyph::shape(cell.symbol).is_none()) {
        let next_to = runs.last_mut().filter(|run| {
            let end = run.column + run.length;
            (run.row, run.look, run.wide) == (cell.row, cell.look, cell.width) && cell.column <= end + 1
        });
        match next_to {
            Some(run) => {
                let gap = cell.column - run.column - run.length;
                run.text.extend((0..gap).map(|_| ' '));
                run.text.push_str(cell.symbol);
                run.length += gap + cell.width;
            }
            None => runs.push(Run {
                text: cell.symbol.to_owned(),
                column: cell.column,
                row: cell.row,
                length: cell.width,
                wide: cell.width,
                look: cell.look,
            }),
        }
    }
    runs
}

impl Run {
    fn write(&self, out: &mut String, window: &Window) {
        put(out, format_args!("<text x=\"{}\" y=\"{}\"", self.column * CELL.0, self.row * CELL.1 + BASELINE));
        // A single character has nothing between which to stretch.
        if self.length > self.wide {
            put(out, format_args!(" textLength=\"{}\"", self.length * CELL.0));
        }
        if self.look.color != window.foreground {
            put(out, format_args!(" fill=\"{}\"", self.look.color));
        }
        if self.look.bold {
            out.push_str(" font-weight=\"bold\"");
        }
        if self.look.italic {
            out.push_str(" font-style=\"italic\"");
        }
        put(out, format_args!(">{}</text>\n", escaped(&self.text)));
    }
}

/// As XML has it; what XML cannot have is told as U+FFFD.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\0'..' ' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use ratatui::{
        layout::Rect,
        style::{Color, Style},
    };

    use super::*;

    /// A screen of one row.
    fn row(width: u16, spans: &[(&str, Style)]) -> Buffer {
        let mut buffer = Buffer::empty(Rect::new(0, 0, width, 1));
        let mut x = 0;
        for (text, style) in spans {
            (x, _) = buffer.set_stringn(x, 0, text, usize::from(width), *style);
        }
        buffer
    }

    /// The picture of a row, without window and title.
    fn drawn(width: u16, spans: &[(&str, Style)]) -> String {
        let svg = svg(&row(width, spans), "", &DARK);
        let document = roxmltree::Document::parse(&svg).unwrap_or_else(|e| panic!("{e} in {svg}"));
        assert_eq!(document.root_element().tag_name().name(), "svg");
        let screen = svg.lines().skip_while(|line| !line.contains("translate")).skip(1);
        screen.filter(|line| *line != "</g>" && *line != "</svg>").map(|line| line.to_owned() + "\n").collect()
    }

    const PLAIN: Style = Style::new();

    #[test]
    fn markup_and_what_xml_cannot_have_are_told_and_parse() {
        assert_eq!(
            drawn(6, &[("a<b>&\"", PLAIN)]),
            "<text x=\"0\" y=\"14\" textLength=\"54\">a&lt;b&gt;&amp;&quot;</text>\n"
        );
        assert_eq!(escaped("\u{1b}[2J\u{0}\u{ffff}é"), "\u{fffd}[2J\u{fffd}\u{fffd}é");
        let titled = svg(&row(1, &[]), "<\"&\u{1}>", &DARK);
        let parsed = roxmltree::Document::parse(&titled).unwrap();
        assert_eq!(parsed.root_element().attribute("aria-label"), Some("<\"&\u{fffd}>"));
    }

    #[test]
    fn wide_characters_take_their_columns_and_a_run_of_their_own() {
        let wide = drawn(8, &[("a日本b", PLAIN)]);
        let wanted = "<text x=\"0\" y=\"14\">a</text>\n\
                      <text x=\"9\" y=\"14\" textLength=\"36\">日本</text>\n\
                      <text x=\"45\" y=\"14\">b</text>\n";
        assert_eq!(wide, wanted);
    }

    #[test]
    fn a_run_ends_where_the_style_does_and_at_a_gap() {
        let red = PLAIN.fg(Color::Rgb(255, 0, 0)).add_modifier(Modifier::BOLD | Modifier::ITALIC);
        let drawn = drawn(12, &[("a b  c", PLAIN), ("d", red)]);
        let wanted = "<text x=\"0\" y=\"14\" textLength=\"27\">a b</text>\n\
                      <text x=\"45\" y=\"14\">c</text>\n\
                      <text x=\"54\" y=\"14\" fill=\"#ff0000\" font-weight=\"bold\" font-style=\"italic\">d</text>\n";
        assert_eq!(drawn, wanted);
    }

    #[test]
    fn reversed_text_has_its_colour_behind_it_also_where_it_is_blank() {
        let drawn = drawn(4, &[(" x ", PLAIN.fg(Color::Indexed(196)).add_modifier(Modifier::REVERSED))]);
        let wanted = format!(
            "<path fill=\"#ff0000\" shape-rendering=\"crispEdges\" d=\"M0 0h27v18h-27z\"/>\n\
             <text x=\"9\" y=\"14\" fill=\"{}\">x</text>\n",
            DARK.background
        );
        assert_eq!(drawn, wanted);
    }

    #[test]
    fn dim_is_nearer_to_what_is_behind_and_lines_are_drawn() {
        let style = PLAIN.fg(Color::Rgb(100, 100, 100)).bg(Color::Rgb(0, 0, 0));
        let dim = drawn(1, &[("x", style.add_modifier(Modifier::DIM))]);
        assert!(dim.contains("fill=\"#3c3c3c\">x<"), "{dim}");
        let underlined = drawn(3, &[("x y", style.add_modifier(Modifier::UNDERLINED))]);
        assert!(
            underlined.contains("<path fill=\"#646464\" shape-rendering=\"crispEdges\" d=\"M0 16h27v1h-27z\"/>"),
            "{underlined}"
        );
        let crossed_out = drawn(1, &[("x", style.add_modifier(Modifier::CROSSED_OUT))]);
        assert!(crossed_out.contains("M0 9h9v1h-9z"), "{crossed_out}");
        let hidden = drawn(1, &[("x", style.add_modifier(Modifier::HIDDEN))]);
        assert!(!hidden.contains("<text"), "{hidden}");
    }

    #[test]
    fn blocks_are_shapes_and_neighbours_are_one() {
        let drawn = drawn(6, &[("██▄─┘x", PLAIN.fg(Color::Rgb(1, 2, 3)))]);
        let wanted = "<path fill=\"#010203\" shape-rendering=\"crispEdges\" \
                      d=\"M0 0h18v18h-18zM18 9h9v9h-9zM27 8h9v1h-9zM40 0h1v9h-1zM36 8h5v1h-5z\"/>\n\
                      <text x=\"45\" y=\"14\" fill=\"#010203\">x</text>\n";
        assert_eq!(drawn, wanted);
    }

    #[test]
    fn a_light_window_has_dark_text_and_colours_that_show_on_it() {
        let light = svg(&row(9, &[("a", PLAIN), ("b", PLAIN.fg(Color::Yellow))]), "", &LIGHT);
        let yellow = LIGHT.rgb(Color::Yellow, LIGHT.foreground);
        assert!(light.contains(&format!("rx=\"8\" fill=\"{}\"", LIGHT.background)), "{light}");
        assert!(light.contains(&format!("fill=\"{yellow}\">b<")) && yellow != DARK.rgb(Color::Yellow, DARK.foreground));
    }
}
