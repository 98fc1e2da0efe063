//! Colours, by what the terminal can show. Nothing is told by colour alone: what stands out is worded so as well.

use ratatui::style::{Color, Modifier, Style};

use super::page::Role;

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

/// A set of colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variant {
    /// Muted, for dark and light backgrounds.
    Standard,
    /// The terminal's own bright colours.
    Bright,
    /// None.
    Plain,
}

/// The style of each kind of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    depth: Depth,
    variant: Variant,
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
    /// A bar.
    pub bar: Style,
    /// Worth a look.
    pub warn: Style,
    /// Bad.
    pub bad: Style,
}

impl Theme {
    /// The theme for a terminal of this depth. Backgrounds are left alone (light terminals exist), but for the
    /// selected row, which is reversed.
    pub fn new(depth: Depth) -> Theme {
        Theme::variant(depth, Variant::Standard)
    }

    /// The next set of colours that such a terminal can show, round and round.
    #[must_use]
    pub fn next(self) -> Theme {
        let next = match self.variant {
            Variant::Standard => Variant::Bright,
            Variant::Bright => Variant::Plain,
            Variant::Plain => Variant::Standard,
        };
        Theme::variant(self.depth, next)
    }

    fn variant(depth: Depth, variant: Variant) -> Theme {
        let (dim, accent, bar, warn, bad) = match (variant, depth) {
            (Variant::Plain, _) | (_, Depth::Mono) => return Theme::mono(depth, variant),
            (Variant::Bright, _) => {
                (Color::Gray, Color::LightCyan, Color::LightBlue, Color::LightYellow, Color::LightRed)
            }
            (_, Depth::Ansi) => (Color::DarkGray, Color::Cyan, Color::Blue, Color::Yellow, Color::Red),
            (_, Depth::Indexed) => {
                let [dim, accent, bar, warn, bad] = [245, 37, 67, 172, 167].map(Color::Indexed);
                (dim, accent, bar, warn, bad)
            }
            (_, Depth::True) => (
                Color::Rgb(0x8a, 0x8a, 0x8a),
                Color::Rgb(0x1f, 0xa3, 0xa3),
                Color::Rgb(0x4f, 0x86, 0xc0),
                Color::Rgb(0xd0, 0x87, 0x10),
                Color::Rgb(0xdd, 0x4b, 0x4b),
            ),
        };
        let plain = Style::new();
        let bold = plain.add_modifier(Modifier::BOLD);
        Theme {
            depth,
            variant,
            plain,
            dim: plain.fg(dim),
            strong: bold,
            head: plain.fg(accent),
            sorted: bold.fg(accent),
            selected: plain.add_modifier(Modifier::REVERSED),
            key: plain.fg(accent),
            bar: plain.fg(bar),
            warn: plain.fg(warn),
            bad: bold.fg(bad),
        }
    }

    fn mono(depth: Depth, variant: Variant) -> Theme {
        let plain = Style::new();
        let bold = plain.add_modifier(Modifier::BOLD);
        Theme {
            depth,
            variant,
            plain,
            dim: plain.add_modifier(Modifier::DIM),
            strong: bold,
            head: plain.add_modifier(Modifier::UNDERLINED),
            sorted: plain.add_modifier(Modifier::UNDERLINED | Modifier::REVERSED),
            selected: plain.add_modifier(Modifier::REVERSED),
            key: bold,
            bar: plain,
            warn: bold,
            bad: bold.add_modifier(Modifier::UNDERLINED),
        }
    }

    /// The style of the thread with this letter on the map of CPUs: neighbours in the alphabet differ, where there are
    /// colours; what tells them apart is the letter.
    pub fn thread(&self, letter: usize) -> Style {
        const ANSI: [Color; 6] = [Color::Cyan, Color::Yellow, Color::Green, Color::Magenta, Color::Blue, Color::Red];
        const BRIGHT: [Color; 6] = [
            Color::LightCyan,
            Color::LightYellow,
            Color::LightGreen,
            Color::LightMagenta,
            Color::LightBlue,
            Color::LightRed,
        ];
        // Of one brightness, on dark and light backgrounds.
        const RGB: [(u8, u8, u8); 10] = [
            (0x1f, 0xa3, 0xa3),
            (0xd0, 0x87, 0x10),
            (0x5f, 0x9f, 0x3f),
            (0xb0, 0x6a, 0xc8),
            (0x4f, 0x86, 0xc0),
            (0xd8, 0x5f, 0x5f),
            (0x9a, 0x8a, 0x30),
            (0x3f, 0x9f, 0x77),
            (0xc8, 0x62, 0x98),
            (0x7a, 0x7a, 0xd0),
        ];
        const INDEXED: [u8; 10] = [37, 172, 71, 133, 67, 167, 136, 72, 168, 104];
        let color = match (self.variant, self.depth) {
            (Variant::Plain, _) | (_, Depth::Mono) => return self.plain,
            (Variant::Bright, _) => BRIGHT[letter % BRIGHT.len()],
            (_, Depth::Ansi) => ANSI[letter % ANSI.len()],
            (_, Depth::Indexed) => Color::Indexed(INDEXED[letter % INDEXED.len()]),
            (_, Depth::True) => {
                let (r, g, b) = RGB[letter % RGB.len()];
                Color::Rgb(r, g, b)
            }
        };
        self.plain.fg(color)
    }

    /// The style of a role.
    pub fn of(&self, role: Role) -> Style {
        match role {
            Role::Plain => self.plain,
            Role::Dim => self.dim,
            Role::Strong => self.strong,
            Role::Head => self.head,
            Role::Bar => self.bar,
            Role::Warn => self.warn,
            Role::Bad => self.bad,
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

    #[test]
    fn themes_go_round_and_all_differ_where_there_are_colours() {
        for depth in [Depth::Ansi, Depth::Indexed, Depth::True] {
            let first = Theme::new(depth);
            let (second, third) = (first.next(), first.next().next());
            assert!(first.warn != second.warn && second.warn != third.warn && first.bad != second.bad);
            assert_eq!(third.next(), first);
        }
        assert_eq!(Theme::new(Depth::Mono).next().bad, Theme::new(Depth::Mono).bad);
    }
}
