//! Makes foreign text safe to show, and numbers short to read.
//!
//! A thread chooses its own name, so a command name is hostile input: escape sequences that move the cursor,
//! invalid UTF-8, characters that reorder or hide what stands beside them. [`display_comm`] and [`display_str`] are
//! where such bytes enter; what they return is safe on a terminal, in a table and in JSON. Everything downstream
//! (model, snapshot, reports, dashboard) holds only such strings, and never escapes a second time.
//!
//! The same module formats numbers, so that reports and dashboard write them alike.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The kernel's command name, up to its NUL, safe to show. See [`display_str`].
pub fn display_comm(comm: &[u8]) -> String {
    let end = comm.iter().position(|byte| *byte == 0).unwrap_or(comm.len());
    display_bytes(&comm[..end])
}

/// Any bytes, NULs included, safe to show: bytes that are not UTF-8 become `\xNN`. See [`display_str`].
pub fn display_bytes(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        push_display(&mut out, chunk.valid());
        for byte in chunk.invalid() {
            push_hex(&mut out, *byte);
        }
    }
    out
}

/// Text, safe to show: every character that would not be seen as itself is written as an escape, `\x1b` in ASCII
/// and `\u{202e}` beyond, and a backslash is doubled, so that two different inputs never look the same.
pub fn display_str(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    push_display(&mut out, text);
    out
}

fn push_display(out: &mut String, text: &str) {
    for c in text.chars() {
        if c == '\\' {
            out.push_str("\\\\");
        } else {
            push_visible(out, c);
        }
    }
}

/// The last guard before output: like [`display_str`], but leaves backslashes alone, so that text which is already
/// safe is returned as it is.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        push_visible(&mut out, c);
    }
    out
}

fn push_visible(out: &mut String, c: char) {
    if is_plain(c) {
        out.push(c);
    } else if c.is_ascii() {
        push_hex(out, c as u8);
    } else {
        out.extend(c.escape_unicode());
    }
}

fn push_hex(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push_str("\\x");
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// Whether a character is seen as itself, in one or two columns, and leaves its neighbours where they are.
fn is_plain(c: char) -> bool {
    if c.is_ascii() {
        return c == ' ' || c.is_ascii_graphic();
    }
    // No width: combining marks, variation selectors, joiners. They change or hide what stands before them.
    matches!(c.width(), Some(1 | 2)) && !is_blank(c) && !is_right_to_left(c) && is_printable(c)
}

/// Neither control, format, private use, surrogate nor unassigned, and no separator: what the standard library
/// prints as itself in a debug string.
fn is_printable(c: char) -> bool {
    c.escape_debug().next() == Some(c)
}

/// Assigned and printable by category, but drawn as nothing: Hangul fillers and the empty braille pattern.
fn is_blank(c: char) -> bool {
    matches!(c, '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{2800}')
}

/// Blocks whose letters run from right to left: beside one, a terminal that knows the bidirectional algorithm moves
/// the digits of the next column, so a name could change which number is seen where.
fn is_right_to_left(c: char) -> bool {
    matches!(u32::from(c),
        0x0590..=0x08ff | 0xfb1d..=0xfdff | 0xfe70..=0xfeff | 0x1_0800..=0x1_0fff | 0x1_e800..=0x1_efff)
}

/// Columns that `text` takes on a terminal.
pub fn width(text: &str) -> usize {
    text.width()
}

/// `text` cut to at most `columns`, with `…` where something was cut off. An escape is never cut in half, and
/// a wide character that would stick out is left away.
pub fn fit(text: &str, columns: usize) -> String {
    let text = visible(text);
    if width(&text) <= columns {
        return text;
    }
    if columns == 0 {
        return String::new();
    }
    let mut out = String::new();
    let mut used = 0;
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (unit, tail) = rest.split_at(unit_len(rest));
        if used + width(unit) > columns - 1 {
            break;
        }
        used += width(unit);
        out.push_str(unit);
        rest = tail;
    }
    out.push('…');
    out
}

/// `text` cut or padded with spaces on the right to exactly `columns`.
pub fn left(text: &str, columns: usize) -> String {
    let mut out = fit(text, columns);
    let used = width(&out);
    out.extend(std::iter::repeat_n(' ', columns.saturating_sub(used)));
    out
}

/// `text` cut or padded with spaces on the left to exactly `columns`.
pub fn right(text: &str, columns: usize) -> String {
    let fitted = fit(text, columns);
    let mut out = " ".repeat(columns.saturating_sub(width(&fitted)));
    out.push_str(&fitted);
    out
}

/// Bytes of the first character or escape of `text`, which is not empty.
pub(crate) fn unit_len(text: &str) -> usize {
    let escape = match text.as_bytes() {
        [b'\\', b'\\', ..] => 2,
        [b'\\', b'x', ..] => 4,
        [b'\\', b'u', b'{', ..] => text.find('}').map_or(1, |end| end + 1),
        _ => 0,
    };
    let first = text.chars().next().map_or(0, char::len_utf8);
    // Only what is written whole and in ASCII counts as an escape; anything else goes character by character.
    if text.get(..escape).is_some_and(str::is_ascii) { escape.max(first) } else { first }
}

/// A duration in nanoseconds with three significant digits: `0ns`, `1.23ms`, `45.6s`, `16m40s`, `3h05m`, `2d04h`.
pub fn duration(ns: u64) -> String {
    const S: u64 = 1_000_000_000;
    match ns {
        0..1_000 => format!("{ns}ns"),
        _ if ns < 999_500 => format!("{}us", three_digits(ns, 1_000)),
        _ if ns < 999_500_000 => format!("{}ms", three_digits(ns, 1_000_000)),
        _ if ns < 1_000 * S - S / 2 => format!("{}s", three_digits(ns, S)),
        _ => long_duration(ns / S + u64::from(ns % S >= S / 2)),
    }
}

fn long_duration(s: u64) -> String {
    match s {
        0..3_600 => format!("{}m{:02}s", s / 60, s % 60),
        3_600..86_400 => format!("{}h{:02}m", s / 3_600, s % 3_600 / 60),
        _ => format!("{}d{:02}h", s / 86_400, s % 86_400 / 3_600),
    }
}

/// `value / unit` with three significant digits, for quotients from 1 to below 999.5, rounded to nearest.
fn three_digits(value: u64, unit: u64) -> String {
    let scaled = |factor: u64| (u128::from(value) * u128::from(factor) + u128::from(unit / 2)) / u128::from(unit);
    let hundredths = scaled(100);
    if hundredths < 1_000 {
        return format!("{}.{:02}", hundredths / 100, hundredths % 100);
    }
    let tenths = scaled(10);
    if tenths < 1_000 {
        return format!("{}.{}", tenths / 10, tenths % 10);
    }
    scaled(1).to_string()
}

/// An exact count, thousands apart: `12,345`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count in at most five columns, for tables: `9999`, `12.3k`, `4.56M`.
pub fn count_short(n: u64) -> String {
    const UNITS: [(u64, &str); 5] =
        [(1_000, "k"), (1_000_000, "M"), (1_000_000_000, "G"), (1_000_000_000_000, "T"), (1_000_000_000_000_000, "P")];
    if n < 10_000 {
        return n.to_string();
    }
    for (unit, name) in UNITS {
        if n < unit * 1_000 - unit / 2 {
            return format!("{}{name}", three_digits(n, unit));
        }
    }
    format!("{}E", three_digits(n, 1_000_000_000_000_000_000))
}

/// `part` of `whole` in percent: `12.3%`, `-` when `whole` is 0. What rounds to nothing but is not nothing is `<0.1%`.
pub fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".into();
    }
    percent(part as f64 / whole as f64)
}

/// A ratio in percent: `0%`, `<0.1%`, `12.3%`, `100%`, `1234%`; `-` for what is no number.
pub fn percent(ratio: f64) -> String {
    let percent = ratio * 100.0;
    if !percent.is_finite() {
        "-".into()
    } else if percent == 0.0 {
        "0%".into()
    } else if percent > 0.0 && percent < 0.05 {
        "<0.1%".into()
    } else if percent < 99.95 {
        format!("{percent:.1}%")
    } else {
        format!("{percent:.0}%")
    }
}

/// A size in bytes with three significant digits: `512B`, `4.00KiB`, `1.50GiB`.
pub fn bytes(n: u64) -> String {
    const UNITS: [(u32, &str); 6] = [(10, "KiB"), (20, "MiB"), (30, "GiB"), (40, "TiB"), (50, "PiB"), (60, "EiB")];
    if n < 1_000 {
        return format!("{n}B");
    }
    for (shift, name) in UNITS {
        let unit = 1u64 << shift;
        // Below one unit (1,000 to 1,023 of the smaller one) it still reads best as `0.98`.
        if u128::from(n) * 2 < u128::from(unit) * 1_999 {
            return format!("{}{name}", three_digits(n, unit));
        }
    }
    format!("{}EiB", n >> 60)
}

#[cfg(test)]
mod tests;
