//! Names as they stand in the source, of Rust and C++.
//!
//! A mangled name of a hundred bytes can stand for one of gigabytes, as it may name parts of itself again and again. So
//! what comes out is bounded, and what is longer is cut.

use std::fmt::{self, Write};

use cpp_demangle::{DemangleOptions, Symbol};

use crate::text::{display_bytes, display_str, fit};

/// Columns of a name that is shown, and bytes of one that is worked on; a longer one is cut.
const LONGEST: usize = 512;
/// Bytes of a name that is worth reading. Longer ones are shown as they are.
const LONGEST_MANGLED: usize = 4_096;

/// A name that is not mangled, safe to show.
pub(super) fn plain(name: &[u8]) -> String {
    fit(&display_bytes(name), LONGEST)
}

/// The name in the source, safe to show. Of C++, without the parameters.
pub(super) fn demangled(name: &str) -> String {
    let read = if name.len() > LONGEST_MANGLED { None } else { rust(name).or_else(|| cpp(name)) };
    read.map_or_else(|| plain(name.as_bytes()), Bounded::shown)
}

fn rust(name: &str) -> Option<Bounded> {
    let read = rustc_demangle::try_demangle(name).ok()?;
    let mut out = Bounded::default();
    // The alternate form leaves out the hash.
    let done = write!(out, "{read:#}");
    (done.is_ok() || out.full).then_some(out)
}

fn cpp(name: &str) -> Option<Bounded> {
    // Anything that begins as a type does would be read as one: `i` as `int`.
    if !name.starts_with("_Z") && !name.starts_with("__Z") {
        return None;
    }
    let read = Symbol::new(name).ok()?;
    let mut out = Bounded::default();
    let done = read.structured_demangle(&mut out, &DemangleOptions::new().no_params().no_return_type());
    (done.is_ok() || out.full).then_some(out)
}

/// Text up to [`LONGEST`]; an error to write more ends what writes.
#[derive(Default)]
struct Bounded {
    text: String,
    full: bool,
}

impl Bounded {
    fn shown(self) -> String {
        let mut shown = display_str(&self.text);
        if self.full {
            shown.push('…');
        }
        fit(&shown, LONGEST)
    }
}

impl Write for Bounded {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let room = LONGEST - self.text.len();
        let fits = more.len().min(room);
        let fits = (0..=fits).rev().find(|end| more.is_char_boundary(*end)).unwrap_or(0);
        self.text.push_str(&more[..fits]);
        self.full |= fits < more.len();
        if self.full { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_as_in_the_source() {
        for (mangled, expected) in [
            ("main", "main"),
            ("i", "i"),
            ("_ZN3foo3bar17h0123456789abcdefE", "foo::bar"),
            ("_RNvC6_123foo3bar", "123foo::bar"),
            ("_ZN5Cache3putERKSsi", "Cache::put"),
            ("_ZNSt6vectorIiSaIiEE9push_backERKi", "std::vector<int, std::allocator<int> >::push_back"),
            ("_Z", "_Z"),
            ("a\x1b[2J", r"a\x1b[2J"),
        ] {
            assert_eq!(demangled(mangled), expected, "{mangled}");
        }
    }

    #[test]
    fn a_name_that_would_take_gigabytes_is_cut() {
        // Each parameter names the one before it twice.
        let mut bomb = String::from("_ZN1aI1b");
        for _ in 0..90 {
            bomb.push_str("1bIS0_S0_E");
        }
        let nested = (0..40).fold(String::from("i"), |inner, _| format!("1pI{inner}S0_S0_S0_E"));
        for name in [
            format!("{bomb}E1fEv"),
            format!("_Z1fI{nested}Evv"),
            "x".repeat(1 << 20),
            format!("_ZN{}", "1a".repeat(3_000)),
        ] {
            let begun = std::time::Instant::now();
            assert!(crate::text::width(&demangled(&name)) <= LONGEST);
            assert!(begun.elapsed().as_secs() < 5, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_name_is_shown(name in "(_ZN?|_R|_ZN3foo|)[A-Z0-9_a-z]{0,40}\\PC{0,3}") {
            let shown = demangled(&name);
            prop_assert_eq!(&crate::text::visible(&shown), &shown);
        }
    }
}
