//! The dashboard's help as keys to press: each entry of it, or an error for one that is not understood, so that no key
//! that the help names goes untested.

use anyhow::{Context as _, Result, bail};
use numatrace::tui::{help, state::Mode};

/// What a key of the help is for, as far as a test has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ends the dashboard.
    Quits,
    /// Stops it until the shell brings it back.
    Suspends,
    /// Goes on.
    Stays,
}

/// One key of the help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelpKey {
    /// As tmux calls it.
    pub tmux: String,
    /// What the help says of it.
    pub meaning: &'static str,
    /// What it is for.
    pub kind: Kind,
}

/// Every key of the help, in its order.
///
/// # Errors
/// When an entry is not understood.
pub fn of_help(mode: Mode) -> Result<Vec<HelpKey>> {
    let mut keys = Vec::new();
    for (entry, meaning) in help::keys(mode) {
        let kind = match meaning {
            "quit" => Kind::Quits,
            _ if meaning.starts_with("back to the shell") => Kind::Suspends,
            _ => Kind::Stays,
        };
        keys.extend(parse(entry)?.into_iter().map(|tmux| HelpKey { tmux, meaning, kind }));
    }
    Ok(keys)
}

/// Keys of one kind.
///
/// # Errors
/// When an entry of the help is not understood, or there is none of the kind.
pub fn of_kind(mode: Mode, kind: Kind) -> Result<Vec<HelpKey>> {
    let keys: Vec<HelpKey> = of_help(mode)?.into_iter().filter(|key| key.kind == kind).collect();
    if keys.is_empty() {
        bail!("the help names no key that {kind:?}");
    }
    Ok(keys)
}

/// The keys of an entry such as `up/down, k/j` or `Tab, 1 2 3`, as tmux calls them.
fn parse(entry: &str) -> Result<Vec<String>> {
    let words = entry.split(", ").flat_map(|group| group.split(' '));
    let keys = words.flat_map(|word| if is_one(word) { vec![word] } else { word.split('/').collect() });
    keys.map(|key| name(key).with_context(|| format!("the help's entry '{entry}'"))).collect()
}

/// `/` and `,` are keys too.
fn is_one(word: &str) -> bool {
    word.chars().count() == 1
}

fn name(key: &str) -> Result<String> {
    let name = match key {
        "up" => "Up",
        "down" => "Down",
        "left" => "Left",
        "right" => "Right",
        "PgUp" => "PPage",
        "PgDn" => "NPage",
        "Home" => "Home",
        "End" => "End",
        "Enter" => "Enter",
        "Esc" => "Escape",
        "Tab" => "Tab",
        "Shift-Tab" => "BTab",
        "Backspace" => "BSpace",
        "space" => "Space",
        // A lone one ends a command of tmux.
        ";" => "\\;",
        _ if is_one(key) && key.is_ascii() => key,
        _ => match key.strip_prefix("Ctrl-") {
            Some(letter) if is_one(letter) && letter.is_ascii() => return Ok(format!("C-{}", letter.to_lowercase())),
            _ => bail!("'{key}' is no key that this test knows how to press: teach it"),
        },
    };
    Ok(name.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_of_the_help_is_understood() {
        for mode in [Mode::Live, Mode::Replay] {
            let keys = of_help(mode).unwrap();
            assert!(keys.len() >= help::keys(mode).count());
            let quit: Vec<String> = of_kind(mode, Kind::Quits).unwrap().into_iter().map(|key| key.tmux).collect();
            assert_eq!(quit, ["q", "C-c"]);
            assert_eq!(of_kind(mode, Kind::Suspends).unwrap()[0].tmux, "C-z");
        }
    }

    #[test]
    fn each_mode_names_its_own_keys_about_time() {
        let of = |mode| of_help(mode).unwrap().into_iter().map(|key| key.tmux).collect::<Vec<_>>();
        let (live, replay) = (of(Mode::Live), of(Mode::Replay));
        let only = |these: &[String], others: &[String]| -> Vec<String> {
            these.iter().filter(|key| !others.contains(key)).cloned().collect()
        };
        assert_eq!(only(&live, &replay), ["+", "-", "r"]);
        assert_eq!(only(&replay, &live), ["[", "]", ":", "w"]);
    }

    #[test]
    fn entries_are_taken_apart() {
        let parsed = |entry| parse(entry).unwrap().join(" ");
        assert_eq!(parsed("q, Ctrl-C"), "q C-c");
        assert_eq!(parsed("up/down, k/j"), "Up Down k j");
        assert_eq!(parsed("Tab, 1 2 3"), "Tab 1 2 3");
        assert_eq!(parsed("+/-"), "+ -");
        assert_eq!(parsed("PgUp/PgDn"), "PPage NPage");
        assert_eq!(["/", ",", ".", "<", "?", "space"].map(parsed), ["/", ",", ".", "<", "?", "Space"]);
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for entry in ["F5", "any digit", "Alt-x", "1-3", "", "up/"] {
            assert!(parse(entry).is_err(), "{entry}");
        }
    }
}
