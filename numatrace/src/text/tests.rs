//! Hostile text and numbers at their edges.

use std::collections::HashMap;

use super::*;

/// Ways to move a cursor, hide or reorder text, each with what must be seen instead.
const HOSTILE: &[(&[u8], &str)] = &[
    (b"redis-server", "redis-server"),
    (b"kworker/0:1-ev", "kworker/0:1-ev"),
    (b"a\0rest", "a"),
    (b"", ""),
    (b"\x1b[2J\x1b[31mred", "\\x1b[2J\\x1b[31mred"),
    (b"\x1b]0;title\x07", "\\x1b]0;title\\x07"),
    (b"a\r\nb\tc\x08", "a\\x0d\\x0ab\\x09c\\x08"),
    (b"\x7f", "\\x7f"),
    (b"C:\\x1b", "C:\\\\x1b"),
    (b"\xff\xfeok", "\\xff\\xfeok"),
    (b"cut \xe2\x82", "cut \\xe2\\x82"),
    (b"overlong \xc0\x9b", "overlong \\xc0\\x9b"),
    (b"surrogate \xed\xa0\x80", "surrogate \\xed\\xa0\\x80"),
    ("\u{9b}31m".as_bytes(), "\\u{9b}31m"),
    ("a\u{202e}b".as_bytes(), "a\\u{202e}b"),
    ("a\u{2066}b\u{2069}".as_bytes(), "a\\u{2066}b\\u{2069}"),
    ("a\u{200b}\u{200d}b".as_bytes(), "a\\u{200b}\\u{200d}b"),
    ("\u{feff}bom".as_bytes(), "\\u{feff}bom"),
    ("\u{2028}\u{2029}".as_bytes(), "\\u{2028}\\u{2029}"),
    ("\u{85}".as_bytes(), "\\u{85}"),
    ("\u{a0}".as_bytes(), "\\u{a0}"),
    ("e\u{301}".as_bytes(), "e\\u{301}"),
    ("\u{e000}\u{10ffff}".as_bytes(), "\\u{e000}\\u{10ffff}"),
    ("\u{0378}".as_bytes(), "\\u{378}"),
    ("\u{e0041}".as_bytes(), "\\u{e0041}"),
    ("שלום 12".as_bytes(), "\\u{5e9}\\u{5dc}\\u{5d5}\\u{5dd} 12"),
    ("\u{3164}".as_bytes(), "\\u{3164}"),
    ("größe 日本".as_bytes(), "größe 日本"),
];

#[test]
fn hostile_names_are_shown_as_escapes() {
    for (input, shown) in HOSTILE {
        assert_eq!(display_comm(input), *shown, "{input:x?}");
    }
}

#[test]
fn a_comm_without_nul_is_taken_whole() {
    assert_eq!(display_comm(&[b'x'; 16]), "x".repeat(16));
    assert_eq!(display_bytes(b"a\0b"), "a\\x00b");
}

/// What must never be in a result, spelt by code point and apart from the rules in the code under test.
fn is_dangerous(c: char) -> bool {
    c.is_control()
        || matches!(u32::from(c),
            0xad | 0x61c | 0x180e | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfe00..=0xfe0f
            | 0xfeff | 0xfff0..=0xfffb | 0x1d173..=0x1d17a | 0xe000..=0xf8ff | 0xe0000..=0x10ffff
            | 0x300..=0x36f | 0x591..=0x5f4 | 0x608..=0x6ff)
        || (c.is_whitespace() && c != ' ')
}

#[test]
fn no_character_at_all_gets_through_as_something_that_moves_hides_or_reorders() {
    for c in '\0'..=char::MAX {
        let shown = display_str(&c.to_string());
        assert!(!shown.chars().any(is_dangerous), "{:x} gave {shown:?}", u32::from(c));
        if c != '\\' && shown.chars().count() == 1 {
            assert_eq!(shown.chars().next(), Some(c));
            assert!((1..=2).contains(&width(&shown)), "{:x} has {} columns", u32::from(c), width(&shown));
        } else {
            assert!(shown.is_ascii() && shown.starts_with('\\') && shown.len() >= 2, "{:x}", u32::from(c));
        }
        assert_eq!(visible(&shown), shown, "safe text must stay as it is");
    }
}

#[test]
fn all_printable_ascii_but_the_backslash_is_left_alone() {
    let plain: String = (' '..='~').filter(|c| *c != '\\').collect();
    assert_eq!(display_str(&plain), plain);
}

#[test]
fn two_different_names_never_look_the_same() {
    let mut seen: HashMap<String, Vec<u8>> = HashMap::new();
    let mut check = |bytes: Vec<u8>| {
        let shown = display_bytes(&bytes);
        assert!(shown.chars().all(|c| !is_dangerous(c)), "{bytes:x?}");
        if let Some(other) = seen.insert(shown.clone(), bytes.clone()) {
            assert_eq!(other, bytes, "both are shown as {shown}");
        }
    };
    for a in 0..=255u8 {
        check(vec![a]);
        for b in 0..=255u8 {
            check(vec![a, b]);
        }
    }
    for text in ["\\x1b", "\x1b", "\\\\x1b", "\\u{202e}", "\u{202e}", "\\\\u{202e}"] {
        check(text.as_bytes().to_vec());
    }
    // A fixed pseudo-random walk through longer names.
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for _ in 0..50_000 {
        let bytes: Vec<u8> = (0..15)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect();
        check(bytes);
    }
}

#[test]
fn fit_cuts_by_columns_and_never_through_an_escape() {
    let cases = [
        ("short", 5, "short"),
        ("longer", 5, "long…"),
        ("longer", 1, "…"),
        ("longer", 0, ""),
        ("日本語", 6, "日本語"),
        ("日本語", 5, "日本…"),
        ("日本語", 4, "日…"),
        ("ab\\x1b[2J", 6, "ab…"),
        ("ab\\x1b[2J", 7, "ab\\x1b…"),
        ("\\u{202e}abc", 9, "\\u{202e}…"),
        ("\\u{202e}abc", 8, "…"),
        ("\\\\\\\\", 3, "\\\\…"),
        ("a\x1bb", 6, "a\\x1bb"),
        ("\\xé12345", 5, "\\xé1…"),
        ("\\u{", 2, "\\…"),
    ];
    for (text, columns, cut) in cases {
        assert_eq!(fit(text, columns), cut, "{text} in {columns}");
    }
}

#[test]
fn padding_gives_exactly_the_columns_asked_for() {
    for text in ["", "a", "日", "日本語", "ab\\x1b[2Jcd", "a\u{202e}", "longer than all of them"] {
        for columns in 0..12 {
            assert_eq!(width(&left(text, columns)), columns, "{text:?}");
            assert_eq!(width(&right(text, columns)), columns, "{text:?}");
        }
    }
    assert_eq!((left("ab", 4), right("ab", 4)), ("ab  ".into(), "  ab".into()));
}

#[test]
fn durations_have_three_digits_and_carry_into_the_next_unit() {
    let cases = [
        (0, "0ns"),
        (999, "999ns"),
        (1_000, "1.00us"),
        (1_234, "1.23us"),
        (9_994, "9.99us"),
        (9_995, "10.0us"),
        (99_949, "99.9us"),
        (99_950, "100us"),
        (999_499, "999us"),
        (999_500, "1.00ms"),
        (1_234_567, "1.23ms"),
        (999_499_999, "999ms"),
        (999_500_000, "1.00s"),
        (45_600_000_000, "45.6s"),
        (999_499_999_999, "999s"),
        (999_500_000_000, "16m40s"),
        (3_599_499_999_999, "59m59s"),
        (3_600_000_000_000, "1h00m"),
        (86_399_000_000_000, "23h59m"),
        (86_400_000_000_000, "1d00h"),
        (u64::MAX, "213503d23h"),
    ];
    for (ns, text) in cases {
        assert_eq!(duration(ns), text, "{ns}");
    }
}

#[test]
fn counts_are_exact_or_short() {
    for (n, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345, "12,345"), (1_234_567, "1,234,567")] {
        assert_eq!(count(n), text);
    }
    assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
    let short = [
        (0, "0"),
        (9_999, "9999"),
        (10_000, "10.0k"),
        (12_345, "12.3k"),
        (999_499, "999k"),
        (999_500, "1.00M"),
        (4_560_000, "4.56M"),
        (u64::MAX, "18.4E"),
    ];
    for (n, text) in short {
        assert_eq!(count_short(n), text, "{n}");
    }
    for shift in 0..64 {
        assert!(count_short(u64::MAX >> shift).len() <= 5, "{shift}");
    }
}

#[test]
fn shares_tell_nothing_from_almost_nothing_and_from_not_known() {
    assert_eq!(share(1, 0), "-");
    assert_eq!(share(0, 7), "0%");
    assert_eq!(share(1, 1_000_000), "<0.1%");
    assert_eq!(share(123, 1_000), "12.3%");
    assert_eq!(share(1, 1), "100%");
    assert_eq!(percent(f64::NAN), "-");
    assert_eq!(percent(f64::INFINITY), "-");
    assert_eq!(percent(12.34), "1234%");
}

#[test]
fn sizes_have_binary_units() {
    let cases = [
        (0, "0B"),
        (999, "999B"),
        (1_000, "0.98KiB"),
        (1_024, "1.00KiB"),
        (8 << 20, "8.00MiB"),
        (3 << 29, "1.50GiB"),
        (u64::MAX, "16.0EiB"),
    ];
    for (n, text) in cases {
        assert_eq!(bytes(n), text, "{n}");
    }
}
