//! Colours, by what the terminal can show. Nothing is told by colour alone: what stands out is worded so as well.

use ratatui::style::{Color, Modifier, Style};

/// How many colours a terminal has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// None: bold, dim and reverse only (`NO_COLOR`, a dumb or monochrome terminal).
    Mono,
    /// The 16 of the terminal's own palette.
    Ansi,
    /// 256.
    Indexed,
    /// All.
    True,
}

impl Depth {
    /// What the environment says, through `var` (`|name| std::env::var(name).ok()`). <https://no-color.org> first.
    pub fn detect(var: impl Fn(&str) -> Option<String>) -> Depth {
        let term = var("TERM").unwrap_or_default();
        let colorterm = var("COLORTERM").unwrap_or_default();
        let unwanted = var("NO_COLOR").is_some_and(|value| !value.is_empty());
        let none = ["", "dumb"].contains(&term.as_str()) || term.ends_with("-m") || term.starts_with("vt");
        if unwanted || none {
            Depth::Mono
        } else if colorterm == "truecolor" || colorterm == "24bit" || term.ends_with("-direct") {
            Depth::True
        } else if term.contains("256color") {
            Depth::Indexed
        } else {
            Depth::Ansi
        }
    }
}

/// The style of each kind of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    /// Ordinary text.
    pub plain: Style,
    /// Of little weight: exited threads, explanations.
    pub dim: Style,
    /// Of weight: the target, headings.
    pub strong: Style,
    /// Column heads.
    pub head: Style,
    /// The head of the column that is sorted by.
    pub sorted: Style,
    /// The selected row, on top of what its cells have.
    pub selected: Style,
    /// A key in the footer.
    pub key: Style,
    /// Worth a look.
    pub warn: Style,
    /// Bad.
    pub bad: Style,
}

impl Theme {
    /// The theme for a terminal of this depth. Backgrounds are left alone (light terminals exist), but for the
    /// selected row, which is reversed.
    pub fn new(depth: Depth) -> Theme {
        let (dim, accent, warn, bad) = match depth {
            Depth::Mono => return Theme::mono(),
            Depth::Ansi => (Color::DarkGray, Color::Cyan, Color::Yellow, Color::Red),
            Depth::Indexed => (Color::Indexed(245), Color::Indexed(37), Color::Indexed(172), Color::Indexed(167)),
            Depth::True => (
                Color::Rgb(0x8a, 0x8a, 0x8a),
                Color::Rgb(0x1f, 0xa3, 0xa3),
                Color::Rgb(0xd0, 0x87, 0x10),
                Color::Rgb(0xdd, 0x4b, 0x4b),
            ),
        };
        let plain = Style::new();
        let bold = plain.add_modifier(Modifier::BOLD);
        Theme {
            plain,
            dim: plain.fg(dim),
            strong: bold,
            head: plain.fg(accent),
            sorted: bold.fg(accent),
            selected: plain.add_modifier(Modifier::REVERSED),
            key: plain.fg(accent),
            warn: plain.fg(warn),
            bad: bold.fg(bad),
        }
    }

    fn mono() -> Theme {
        let plain = Style::new();
        let bold = plain.add_modifier(Modifier::BOLD);
        Theme {
            plain,
            dim: plain.add_modifier(Modifier::DIM),
            strong: bold,
            head: plain.add_modifier(Modifier::UNDERLINED),
            sorted: plain.add_modifier(Modifier::UNDERLINED | Modifier::REVERSED),
            selected: plain.add_modifier(Modifier::REVERSED),
            key: bold,
            warn: bold,
            bad: bold.add_modifier(Modifier::UNDERLINED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_tells_the_depth_and_no_color_wins() {
        let table: [(&[(&str, &str)], Depth); 9] = [
            (&[], Depth::Mono),
            (&[("TERM", "dumb")], Depth::Mono),
            (&[("TERM", "vt220")], Depth::Mono),
            (&[("TERM", "linux")], Depth::Ansi),
            (&[("TERM", "screen-256color")], Depth::Indexed),
            (&[("TERM", "xterm"), ("COLORTERM", "24bit")], Depth::True),
            (&[("TERM", "xterm-direct")], Depth::True),
            (&[("TERM", "xterm-256color"), ("COLORTERM", "truecolor"), ("NO_COLOR", "1")], Depth::Mono),
            (&[("TERM", "xterm-256color"), ("NO_COLOR", "")], Depth::Indexed),
        ];
        for (env, depth) in table {
            let var = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            assert_eq!(Depth::detect(var), depth, "{env:?}");
        }
    }

    #[test]
    fn a_theme_without_colour_has_none_and_tells_weights_apart() {
        let theme = Theme::new(Depth::Mono);
        let all = [theme.plain, theme.dim, theme.head, theme.sorted, theme.selected, theme.warn, theme.bad];
        assert!(all.iter().all(|style| style.fg.is_none() && style.bg.is_none()));
        for (i, style) in all.iter().enumerate() {
            assert!(!all[..i].contains(style), "{style:?} is used twice");
        }
    }
}
