//! What a terminal's colours come to in a picture.

use std::fmt;

use ratatui::style::Color;

/// A colour as pictures have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rgb(pub u8, pub u8, pub u8);

impl Rgb {
    /// On the way to `other`, this part of it.
    pub fn towards(self, other: Rgb, part: u16, of: u16) -> Rgb {
        let mix = |from: u8, to: u8| ((u16::from(from) * (of - part) + u16::from(to) * part) / of) as u8;
        Rgb(mix(self.0, other.0), mix(self.1, other.1), mix(self.2, other.2))
    }
}

impl fmt::Display for Rgb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:02x}{:02x}{:02x}", self.0, self.1, self.2)
    }
}

/// Colours of the window.
#[derive(Clone, Debug)]
pub struct Window {
    /// Of what has no colour of its own.
    pub foreground: Rgb,
    /// Behind it.
    pub background: Rgb,
    /// The title.
    pub title: Rgb,
    /// The 16 colours that terminals choose themselves.
    ansi: [Rgb; 16],
}

/// A dark terminal.
pub static DARK: Window = Window {
    foreground: Rgb(0xd4, 0xd7, 0xdd),
    background: Rgb(0x16, 0x18, 0x1d),
    title: Rgb(0x8b, 0x90, 0x9b),
    ansi: ON_DARK,
};

/// A light terminal.
pub static LIGHT: Window = Window {
    foreground: Rgb(0x24, 0x29, 0x2f),
    background: Rgb(0xff, 0xff, 0xff),
    title: Rgb(0x6e, 0x77, 0x81),
    ansi: ON_LIGHT,
};

const ON_LIGHT: [Rgb; 16] = [
    Rgb(0x24, 0x29, 0x2f),
    Rgb(0xb6, 0x23, 0x24),
    Rgb(0x11, 0x63, 0x29),
    Rgb(0x7d, 0x4e, 0x00),
    Rgb(0x09, 0x50, 0xae),
    Rgb(0x6f, 0x42, 0xc1),
    Rgb(0x1b, 0x6a, 0x76),
    Rgb(0x6e, 0x77, 0x81),
    Rgb(0x57, 0x60, 0x6a),
    Rgb(0xa4, 0x0e, 0x26),
    Rgb(0x1a, 0x7f, 0x37),
    Rgb(0x63, 0x3c, 0x01),
    Rgb(0x21, 0x8b, 0xff),
    Rgb(0x82, 0x50, 0xdf),
    Rgb(0x31, 0x92, 0xaa),
    Rgb(0x1f, 0x23, 0x28),
];

const ON_DARK: [Rgb; 16] = [
    Rgb(0x2b, 0x2f, 0x38),
    Rgb(0xd9, 0x5c, 0x5c),
    Rgb(0x7f, 0xb0, 0x5f),
    Rgb(0xd2, 0xa2, 0x4c),
    Rgb(0x5b, 0x8f, 0xd6),
    Rgb(0xb0, 0x78, 0xcc),
    Rgb(0x46, 0xac, 0xb3),
    Rgb(0xc3, 0xc7, 0xcf),
    Rgb(0x6b, 0x72, 0x80),
    Rgb(0xf0, 0x80, 0x80),
    Rgb(0xa3, 0xd0, 0x83),
    Rgb(0xee, 0xc3, 0x70),
    Rgb(0x86, 0xb2, 0xee),
    Rgb(0xce, 0x9d, 0xe6),
    Rgb(0x72, 0xce, 0xd4),
    Rgb(0xf5, 0xf6, 0xf8),
];

impl Window {
    /// What a terminal's colour comes to, `plain` where it is the terminal's own.
    pub fn rgb(&self, color: Color, plain: Rgb) -> Rgb {
        let ansi = |index: usize| self.ansi[index];
        match color {
            Color::Reset => plain,
            Color::Black => ansi(0),
            Color::Red => ansi(1),
            Color::Green => ansi(2),
            Color::Yellow => ansi(3),
            Color::Blue => ansi(4),
            Color::Magenta => ansi(5),
            Color::Cyan => ansi(6),
            Color::Gray => ansi(7),
            Color::DarkGray => ansi(8),
            Color::LightRed => ansi(9),
            Color::LightGreen => ansi(10),
            Color::LightYellow => ansi(11),
            Color::LightBlue => ansi(12),
            Color::LightMagenta => ansi(13),
            Color::LightCyan => ansi(14),
            Color::White => ansi(15),
            Color::Indexed(index) => self.indexed(index),
            Color::Rgb(r, g, b) => Rgb(r, g, b),
        }
    }

    /// The 256 colours of xterm: the 16, a cube of 6 steps, and 24 greys.
    fn indexed(&self, index: u8) -> Rgb {
        let step = |step: u8| if step == 0 { 0 } else { 55 + 40 * step };
        match index {
            0..16 => self.ansi[usize::from(index)],
            16..232 => Rgb(step((index - 16) / 36), step((index - 16) / 6 % 6), step((index - 16) % 6)),
            232.. => Rgb(8 + 10 * (index - 232), 8 + 10 * (index - 232), 8 + 10 * (index - 232)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_256_colours_are_those_of_xterm() {
        let shown =
            [16, 21, 67, 196, 231, 232, 255].map(|index| DARK.rgb(Color::Indexed(index), ON_DARK[0]).to_string());
        assert_eq!(shown, ["#000000", "#0000ff", "#5f87af", "#ff0000", "#ffffff", "#080808", "#eeeeee"]);
    }

    #[test]
    fn names_and_the_first_16_numbers_are_the_same_colours() {
        let names = [
            Color::Black,
            Color::Red,
            Color::Green,
            Color::Yellow,
            Color::Blue,
            Color::Magenta,
            Color::Cyan,
            Color::Gray,
            Color::DarkGray,
            Color::LightRed,
            Color::LightGreen,
            Color::LightYellow,
            Color::LightBlue,
            Color::LightMagenta,
            Color::LightCyan,
            Color::White,
        ];
        for (index, name) in names.into_iter().enumerate() {
            assert_eq!(DARK.rgb(name, DARK.title), DARK.rgb(Color::Indexed(index as u8), DARK.title));
        }
        assert_eq!(DARK.rgb(Color::Reset, DARK.title), DARK.title);
        assert_eq!(DARK.rgb(Color::Rgb(1, 2, 3), DARK.title), Rgb(1, 2, 3));
    }
}
