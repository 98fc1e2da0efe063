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

/// A theme, whatever the terminal can show of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// For a dark background, which is left alone.
    #[default]
    Dark,
    /// For a light background, which is left alone.
    Light,
    /// White and bright colours on black, whatever the terminal's background is.
    HighContrast,
    /// Colours that people who cannot tell red from green tell apart, on black.
    ColourBlind,
    /// No colours: bold, dim, underlined and reverse.
    None,
}

impl Scheme {
    /// All of them, in the order in which they follow each other.
    pub const ALL: [Scheme; 5] = [Scheme::Dark, Scheme::Light, Scheme::HighContrast, Scheme::ColourBlind, Scheme::None];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Scheme::Dark => "dark",
            Scheme::Light => "light",
            Scheme::HighContrast => "high-contrast",
            Scheme::ColourBlind => "colour-blind",
            Scheme::None => "none",
        }
    }

    /// The one after this, round and round.
    #[must_use]
    pub fn next(self) -> Scheme {
        let at = Scheme::ALL.iter().position(|scheme| *scheme == self).unwrap_or(0);
        Scheme::ALL[(at + 1) % Scheme::ALL.len()]
    }
}

/// The colours of a theme.
#[derive(Clone, Copy, Debug)]
struct Palette {
    /// Text and background of all of the screen; `None` leaves both to the terminal.
    screen: Option<(Color, Color)>,
    dim: Color,
    /// Heads of columns, and keys.
    accent: Color,
    bar: Color,
    warn: Color,
    bad: Color,
}

/// `0xrrggbb`.
const fn rgb(hex: u32) -> Color {
    let [_, r, g, b] = hex.to_be_bytes();
    Color::Rgb(r, g, b)
}

impl Palette {
    const fn indexed([dim, accent, bar, warn, bad]: [u8; 5], screen: Option<(Color, Color)>) -> Palette {
        let [dim, accent, bar, warn, bad] = [
            Color::Indexed(dim),
            Color::Indexed(accent),
            Color::Indexed(bar),
            Color::Indexed(warn),
            Color::Indexed(bad),
        ];
        Palette { screen, dim, accent, bar, warn, bad }
    }

    const fn rgb([dim, accent, bar, warn, bad]: [u32; 5], screen: Option<(Color, Color)>) -> Palette {
        let [dim, accent, bar, warn, bad] = [rgb(dim), rgb(accent), rgb(bar), rgb(warn), rgb(bad)];
        Palette { screen, dim, accent, bar, warn, bad }
    }

    const fn ansi([dim, accent, bar, warn, bad]: [Color; 5], screen: Option<(Color, Color)>) -> Palette {
        Palette { screen, dim, accent, bar, warn, bad }
    }

    /// The colours of a scheme on a terminal of this depth; `None` where there are none.
    ///
    /// Contrast, as WCAG 2 defines it: in true colours and in 256 all text has at least 4.5:1, against `#1c1c1c` where the
    /// background is the terminal's dark one and `#f0f0f0` where it is its light one; in high contrast at least 7:1. The
    /// colours for colour-blind people are those of Okabe and Ito. What the 16 colours are is up to the terminal.
    const fn of(scheme: Scheme, depth: Depth) -> Option<Palette> {
        use Color::{
            Black, Blue, Cyan, DarkGray, Gray, LightBlue, LightCyan, LightRed, LightYellow, Magenta, Red, White, Yellow,
        };
        /// Black of the cube of 256, which terminals leave alone.
        const CUBE_BLACK: Color = Color::Indexed(16);
        Some(match (scheme, depth) {
            (Scheme::None, _) | (_, Depth::Mono) => return None,
            (Scheme::Dark, Depth::Ansi) => Palette::ansi([DarkGray, Cyan, Blue, Yellow, Red], None),
            (Scheme::Dark, Depth::Indexed) => Palette::indexed([245, 37, 67, 172, 167], None),
            (Scheme::Dark, Depth::True) => Palette::rgb([0x8a8a8a, 0x1fa3a3, 0x5289c3, 0xd08710, 0xe35555], None),
            (Scheme::Light, Depth::Ansi) => Palette::ansi([DarkGray, Blue, Cyan, Magenta, Red], None),
            (Scheme::Light, Depth::Indexed) => Palette::indexed([241, 23, 25, 94, 124], None),
            (Scheme::Light, Depth::True) => Palette::rgb([0x6a6a6a, 0x00707a, 0x2a5db0, 0x8f5400, 0xb3261e], None),
            (Scheme::HighContrast, Depth::Ansi) => {
                Palette::ansi([Gray, LightCyan, White, LightYellow, LightRed], Some((White, Black)))
            }
            (Scheme::HighContrast, Depth::Indexed) => {
                Palette::indexed([251, 51, 117, 226, 217], Some((Color::Indexed(231), CUBE_BLACK)))
            }
            (Scheme::HighContrast, Depth::True) => {
                let screen = Some((rgb(0xff_ffff), rgb(0)));
                Palette::rgb([0xc8c8c8, 0x00ffff, 0x8fc7ff, 0xffff00, 0xff9a9a], screen)
            }
            (Scheme::ColourBlind, Depth::Ansi) => {
                Palette::ansi([Gray, LightCyan, LightBlue, LightYellow, LightRed], Some((White, Black)))
            }
            (Scheme::ColourBlind, Depth::Indexed) => {
                Palette::indexed([246, 175, 74, 227, 202], Some((Color::Indexed(254), CUBE_BLACK)))
            }
            (Scheme::ColourBlind, Depth::True) => {
                let screen = Some((rgb(0xe6e6e6), rgb(0)));
                Palette::rgb([0x9a9a9a, 0xcc79a7, 0x56b4e9, 0xf0e442, 0xd55e00], screen)
            }
        })
    }
}

/// The style of each kind of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    depth: Depth,
    scheme: Scheme,
    /// All of the screen, below what is drawn on it.
    pub screen: Style,
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
    /// The dark theme for a terminal of this depth.
    pub fn new(depth: Depth) -> Theme {
        Theme::of_scheme(Scheme::Dark, depth)
    }

    /// What a terminal of this depth shows of a theme. The selected row is reversed in all of them.
    pub fn of_scheme(scheme: Scheme, depth: Depth) -> Theme {
        let Some(palette) = Palette::of(scheme, depth) else { return Theme::mono(scheme, depth) };
        let plain = Style::new();
        let bold = plain.add_modifier(Modifier::BOLD);
        let bad = match scheme {
            // More than a colour, for those who see little.
            Scheme::HighContrast => bold.add_modifier(Modifier::UNDERLINED),
            _ => bold,
        };
        Theme {
            depth,
            scheme,
            screen: palette.screen.map_or(plain, |(text, ground)| plain.fg(text).bg(ground)),
            plain,
            dim: plain.fg(palette.dim),
            strong: bold,
            head: plain.fg(palette.accent),
            sorted: bold.fg(palette.accent),
            selected: plain.add_modifier(Modifier::REVERSED),
            key: plain.fg(palette.accent),
            bar: plain.fg(palette.bar),
            warn: plain.fg(palette.warn),
            bad: bad.fg(palette.bad),
        }
    }

    /// The next theme, as far as such a terminal can show it, round and round.
    #[must_use]
    pub fn next(self) -> Theme {
        Theme::of_scheme(self.scheme.next(), self.depth)
    }

    /// Which theme this is.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// What it was made for.
    pub fn depth(&self) -> Depth {
        self.depth
    }

    fn mono(scheme: Scheme, depth: Depth) -> Theme {
        let plain = Style::new();
        let bold = plain.add_modifier(Modifier::BOLD);
        Theme {
            depth,
            scheme,
            screen: plain,
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
        use Color::{Blue, Cyan, Green, LightCyan, LightGreen, LightMagenta, LightYellow, Magenta, Red, White, Yellow};
        let ansi = |colors: &[Color]| colors[letter % colors.len()];
        let indexed = |colors: &[u8]| Color::Indexed(colors[letter % colors.len()]);
        let of_rgb = |colors: &[u32]| rgb(colors[letter % colors.len()]);
        let color = match (self.scheme, self.depth) {
            (Scheme::None, _) | (_, Depth::Mono) => return self.plain,
            (Scheme::Dark, Depth::Ansi) => ansi(&[Cyan, Yellow, Green, Magenta, Blue, Red]),
            (Scheme::Dark, Depth::Indexed) => indexed(&[37, 172, 71, 133, 67, 167, 136, 72, 168, 104]),
            (Scheme::Dark, Depth::True) => of_rgb(&[
                0x1fa3a3, 0xd08710, 0x5f9f3f, 0xb06ac8, 0x5289c3, 0xd85f5f, 0x9a8a30, 0x3f9f77, 0xc86298, 0x7a7ad0,
            ]),
            (Scheme::Light, Depth::Ansi) => ansi(&[Blue, Magenta, Red, Green, Cyan]),
            (Scheme::Light, Depth::Indexed) => indexed(&[23, 94, 28, 91, 25, 124, 58, 29, 125, 61]),
            (Scheme::Light, Depth::True) => of_rgb(&[
                0x00707a, 0x8f5400, 0x1a7f37, 0x6f42c1, 0x2a5db0, 0xb3261e, 0x6b5d00, 0x006b4f, 0xa02070, 0x5050b0,
            ]),
            (Scheme::ColourBlind, Depth::Indexed) => indexed(&[214, 74, 36, 227, 202, 175]),
            // Okabe and Ito.
            (Scheme::ColourBlind, Depth::True) => of_rgb(&[0xe69f00, 0x56b4e9, 0x009e73, 0xf0e442, 0xd55e00, 0xcc79a7]),
            (Scheme::HighContrast | Scheme::ColourBlind, _) => {
                ansi(&[LightCyan, LightYellow, LightGreen, LightMagenta, White])
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

    const DEPTHS: [Depth; 4] = [Depth::Mono, Depth::Ansi, Depth::Indexed, Depth::True];

    #[test]
    fn themes_go_round_and_all_differ_where_there_are_colours() {
        for depth in DEPTHS {
            let mut themes = vec![Theme::new(depth)];
            (1..Scheme::ALL.len()).for_each(|at| themes.push(themes[at - 1].next()));
            assert_eq!(themes[Scheme::ALL.len() - 1].next(), themes[0]);
            for (at, theme) in themes.iter().enumerate() {
                assert_eq!(theme.scheme(), Scheme::ALL[at]);
                let same = themes[..at].iter().any(|other| (other.bad, other.warn) == (theme.bad, theme.warn));
                assert_eq!(same, depth == Depth::Mono && at > 0, "{depth:?} {:?}", theme.scheme());
            }
        }
    }

    /// Each depth has the colours that it can show and no others.
    #[test]
    fn no_theme_has_colours_that_its_depth_lacks() {
        for (scheme, depth) in Scheme::ALL.into_iter().flat_map(|scheme| DEPTHS.map(|depth| (scheme, depth))) {
            let theme = Theme::of_scheme(scheme, depth);
            let styles = [
                theme.screen,
                theme.plain,
                theme.dim,
                theme.strong,
                theme.head,
                theme.sorted,
                theme.selected,
                theme.key,
                theme.bar,
                theme.warn,
                theme.bad,
            ];
            for color in styles.iter().flat_map(|style| [style.fg, style.bg]).flatten() {
                match (depth, color) {
                    (Depth::True, Color::Rgb(..)) | (Depth::Indexed, Color::Indexed(16..)) => {}
                    (Depth::Ansi, color) => assert!(!matches!(color, Color::Rgb(..) | Color::Indexed(_))),
                    _ => panic!("{scheme:?} {depth:?} has {color:?}"),
                }
            }
        }
    }

    /// Red, green and blue from 0 to 1, in linear light.
    type Light = [f64; 3];

    fn light(color: Color) -> Light {
        let step = |n: u8| if n == 0 { 0 } else { 55 + 40 * n };
        let of = match color {
            Color::Rgb(r, g, b) => [r, g, b],
            Color::Indexed(n @ 16..232) => [step((n - 16) / 36), step((n - 16) / 6 % 6), step((n - 16) % 6)],
            Color::Indexed(n @ 232..) => [8 + 10 * (n - 232); 3],
            _ => panic!("what {color:?} is, is up to the terminal"),
        };
        of.map(|channel| {
            let c = f64::from(channel) / 255.0;
            if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        })
    }

    /// <https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio>.
    fn contrast(a: Color, b: Color) -> f64 {
        let luminance = |color| light(color).iter().zip([0.2126, 0.7152, 0.0722]).map(|(c, weight)| c * weight).sum();
        let (a, b): (f64, f64) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn text_stands_out_from_its_background() {
        assert!((contrast(rgb(0xff_ffff), rgb(0)) - 21.0).abs() < 1e-9);
        for depth in [Depth::Indexed, Depth::True] {
            for (scheme, assumed, least) in [
                (Scheme::Dark, rgb(0x1c_1c1c), 4.5),
                (Scheme::Dark, rgb(0), 4.5),
                (Scheme::Light, rgb(0xf0_f0f0), 4.5),
                (Scheme::Light, rgb(0xff_ffff), 4.5),
                (Scheme::HighContrast, rgb(0), 7.0),
                (Scheme::ColourBlind, rgb(0), 4.5),
            ] {
                let theme = Theme::of_scheme(scheme, depth);
                let ground = theme.screen.bg.unwrap_or(assumed);
                let texts = [theme.screen, theme.dim, theme.head, theme.key, theme.bar, theme.warn, theme.bad];
                for text in texts.iter().filter_map(|style| style.fg) {
                    let ratio = contrast(text, ground);
                    assert!(ratio >= least, "{scheme:?} {depth:?}: {text:?} on {ground:?} has {ratio:.2}:1");
                }
            }
        }
    }

    /// How people see without one kind of cones: Machado, Oliveira and Fernandes, "A Physiologically-based Model for
    /// Simulation of Color Vision Deficiency", IEEE TVCG 15(6), 2009, severity 1.0; for linear light.
    const SIGHTS: [(&str, [Light; 3]); 3] = [
        ("usual", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
        (
            "protanopia",
            [
                [0.152_286, 1.052_583, -0.204_868],
                [0.114_503, 0.786_281, 0.099_216],
                [-0.003_882, -0.048_116, 1.051_998],
            ],
        ),
        (
            "deuteranopia",
            [[0.367_322, 0.860_646, -0.227_968], [0.280_085, 0.672_501, 0.047_413], [-0.011_820, 0.042_940, 0.968_881]],
        ),
    ];

    fn seen(color: Color, sight: &[Light; 3]) -> Light {
        let light = light(color);
        sight.map(|row| row.iter().zip(light).map(|(part, c)| part * c).sum::<f64>().clamp(0.0, 1.0))
    }

    /// Distance in CIE L*a*b* (D65), where 2.3 is just noticeable.
    fn apart(a: Light, b: Light) -> f64 {
        let lab = |[r, g, b]: Light| {
            let f = |t: f64| if t > 216.0 / 24_389.0 { t.cbrt() } else { (24_389.0 / 27.0 * t + 16.0) / 116.0 };
            let x = f((0.412_456_4 * r + 0.357_576_1 * g + 0.180_437_5 * b) / 0.950_47);
            let y = f(0.212_672_9 * r + 0.715_152_2 * g + 0.072_175 * b);
            let z = f((0.019_333_9 * r + 0.119_192 * g + 0.950_304_1 * b) / 1.088_83);
            [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
        };
        lab(a).iter().zip(lab(b)).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
    }

    #[test]
    fn who_cannot_tell_red_from_green_tells_bad_from_warn_from_good() {
        const LEAST: f64 = 30.0;
        for depth in [Depth::Indexed, Depth::True] {
            let theme = Theme::of_scheme(Scheme::ColourBlind, depth);
            // What is good is a bar, or ordinary text.
            let colors = [theme.bad, theme.warn, theme.bar, theme.screen].map(|style| style.fg.unwrap());
            for (name, sight) in &SIGHTS {
                for (at, a) in colors.iter().enumerate() {
                    for b in &colors[..at] {
                        let distance = apart(seen(*a, sight), seen(*b, sight));
                        assert!(distance >= LEAST, "{depth:?}, {name}: {a:?} and {b:?} are {distance:.1} apart");
                    }
                }
            }
        }
        // The measure can tell: red and green of one lightness are none apart for them.
        let (_, deuteranopia) = SIGHTS[2];
        let [red, green] = [rgb(0xa0_4a00), rgb(0x69_6900)];
        assert!(apart(light(red), light(green)) > LEAST);
        assert!(apart(seen(red, &deuteranopia), seen(green, &deuteranopia)) < LEAST / 2.0);
    }
}
