//! A frame in ASCII, for terminals whose locale is not UTF-8: each character of a finished frame gives way to one of the
//! same width, so that nothing moves. What is told by how high, wide or dark a character is stays told apart.

use ratatui::buffer::Buffer;

use crate::text;

/// Stands for a character that has no likeness.
const UNKNOWN: char = '?';

/// Replaces all of the frame that is not ASCII.
pub fn replace(buffer: &mut Buffer) {
    let width = usize::from(buffer.area.width).max(1);
    for line in buffer.content.chunks_mut(width) {
        let mut at = 0;
        while at < line.len() {
            let symbol = line[at].symbol();
            if symbol.is_ascii() {
                at += 1;
                continue;
            }
            // A wide character hides the cell behind it, which is seen again now.
            let columns = text::width(symbol).max(1);
            let mut chars = symbol.chars();
            let like = match (chars.next(), chars.next()) {
                (Some(c), None) => like(c).unwrap_or(UNKNOWN),
                _ => UNKNOWN,
            };
            let style = line[at].style();
            for cell in line.iter_mut().skip(at).take(columns) {
                cell.set_char(like).set_style(style);
            }
            at += columns;
        }
    }
}

/// What looks like it in ASCII.
fn like(c: char) -> Option<char> {
    Some(match c {
        // The end of what was cut off.
        '…' => '~',
        // Heights, and bars: full, more than half, less.
        '▁' => '_',
        '▂' => ':',
        '▃' => '-',
        '▄' => '=',
        '▅' => '+',
        '▆' => '*',
        '▇' => '%',
        '█' => '#',
        '▏' | '▎' | '▍' => '-',
        '▌' | '▋' | '▊' | '▉' => '=',
        // Shades.
        '·' => '.',
        '░' => ':',
        '▒' => '+',
        '▓' => '%',
        '▀' => '"',
        '▐' => '|',
        '▖' | '▗' => '.',
        '▘' | '▝' => '\'',
        '▔' => '-',
        '▕' => '|',
        // Arrows and marks.
        '▲' | '△' | '▴' | '▵' | '↑' => '^',
        '▼' | '▽' | '▾' | '▿' | '↓' => 'v',
        '▶' | '▷' | '▸' | '▹' | '►' | '→' | '›' | '»' | '≥' => '>',
        '◀' | '◁' | '◂' | '◃' | '◄' | '←' | '‹' | '«' | '≤' => '<',
        '↔' | '–' | '—' | '−' | '‐' | '‑' => '-',
        '●' | '•' | '★' | '◆' | '■' | '∗' => '*',
        '○' | '◦' | '☆' | '◇' | '□' => 'o',
        '×' | '✗' | '✘' => 'x',
        '✓' | '✔' => 'v',
        '≈' => '~',
        'µ' | 'μ' => 'u',
        '‘' | '’' => '\'',
        '“' | '”' => '"',
        '\u{a0}' => ' ',
        // Lines of boxes: across, down, and all that meet.
        '─' | '━' | '┄' | '┅' | '┈' | '┉' | '╌' | '╍' | '╴' | '╶' | '╸' | '╺' | '╼' | '╾' => {
            '-'
        }
        '═' => '=',
        '│' | '┃' | '┆' | '┇' | '┊' | '┋' | '╎' | '╏' | '║' | '╵' | '╷' | '╹' | '╻' | '╽' | '╿' => {
            '|'
        }
        '╱' => '/',
        '╲' => '\\',
        '\u{2500}'..='\u{257f}' => '+',
        // Other blocks, and dots of Braille by how many there are.
        '\u{2580}'..='\u{259f}' => '#',
        '\u{2800}'..='\u{28ff}' => [' ', '.', '.', ':', ':', '+', '+', '#', '#'][(c as u8).count_ones() as usize],
        _ => return None,
    })
}

/// Whether the locale that the environment names, through `var`, is one of UTF-8. Where none is named it is not: then it
/// is the plain `C`.
pub fn utf8_locale(var: impl Fn(&str) -> Option<String>) -> bool {
    locale(var).is_some_and(|(_, name)| {
        let name = name.to_ascii_lowercase();
        name.contains("utf-8") || name.contains("utf8")
    })
}

/// The variable that names the locale of characters, and what it says.
pub fn locale(var: impl Fn(&str) -> Option<String>) -> Option<(&'static str, String)> {
    let set = |name: &'static str| Some((name, var(name).filter(|value| !value.is_empty())?));
    ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use ratatui::buffer::Cell;
    use ratatui::layout::Rect;
    use ratatui::style::{Color, Style};

    use super::*;

    fn replaced(text: &str, width: u16) -> String {
        let mut buffer = Buffer::empty(Rect::new(0, 0, width, 1));
        buffer.set_string(0, 0, text, Style::new().fg(Color::Red));
        replace(&mut buffer);
        buffer.content.iter().map(Cell::symbol).collect()
    }

    #[test]
    fn each_character_gives_way_to_one_of_its_width() {
        for (text, shown) in [
            ("plain", "plain "),
            ("cut…", "cut~  "),
            ("│┌─┐", "|+-+  "),
            ("漢字x", "????x "),
            ("e\u{301}x", "?x    "),
            ("über", "?ber  "),
            ("filt█", "filt# "),
            ("1×≤2", "1x<2  "),
        ] {
            assert_eq!(replaced(text, 6), shown, "{text}");
        }
        // A wide character at the edge.
        assert_eq!(replaced("漢", 2), "??");
        let mut buffer = Buffer::empty(Rect::new(0, 0, 2, 1));
        buffer.set_string(0, 0, "漢", Style::new().fg(Color::Red));
        replace(&mut buffer);
        assert!(buffer.content.iter().all(|cell| cell.fg == Color::Red));
    }

    #[test]
    fn heights_and_shades_stay_apart() {
        for ladder in ["▁▂▃▄▅▆▇█", " ·░▒▓█", "▏▌█"] {
            let shown: Vec<char> = ladder.chars().map(|c| if c == ' ' { c } else { like(c).unwrap() }).collect();
            for (at, c) in shown.iter().enumerate() {
                assert!(c.is_ascii() && !shown[..at].contains(c), "{ladder} became {shown:?}");
            }
        }
        assert!(('\u{2500}'..='\u{28ff}').filter_map(like).all(|c| c.is_ascii() && !c.is_control()));
    }

    /// What the dashboard draws with has a likeness: a new character needs its line above.
    #[test]
    fn all_that_the_dashboard_writes_has_a_likeness() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = vec![root.join("text.rs"), root.join("words.rs")];
        let mut folders = vec![root.join("tui")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { files.push(path) }
            }
        }
        for file in files.iter().filter(|file| file.file_name().is_none_or(|name| name != "tests.rs")) {
            let source = fs::read_to_string(file).unwrap();
            let own = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            for c in own.chars().filter(|c| !c.is_ascii()) {
                assert!(like(c).is_some(), "{c} of {} has no likeness in ASCII", file.display());
            }
        }
    }

    #[test]
    fn the_first_variable_that_says_something_names_the_locale() {
        let table: [(&[(&str, &str)], bool); 9] = [
            (&[], false),
            (&[("LANG", "C")], false),
            (&[("LANG", "C.UTF-8")], true),
            (&[("LANG", "de_DE.utf8")], true),
            (&[("LANG", "de_DE.UTF-8@euro")], true),
            (&[("LANG", "en_US.ISO-8859-1")], false),
            (&[("LC_ALL", "C"), ("LANG", "en_US.UTF-8")], false),
            (&[("LC_ALL", ""), ("LC_CTYPE", "en_US.UTF-8"), ("LANG", "C")], true),
            (&[("LC_CTYPE", "POSIX"), ("LANG", "en_US.UTF-8")], false),
        ];
        for (env, utf8) in table {
            let var = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            assert_eq!(utf8_locale(var), utf8, "{env:?}");
        }
    }
}
