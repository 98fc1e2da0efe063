//! Which keys do what: the table of everything that a key can do, and the user's own keys in place of the usual ones.
//! Pure.
//!
//! The rest of the dashboard knows the usual keys alone, the first of each [`Binding`]. A [`Keymap`] stands before it: it
//! turns the key that was pressed into the usual one of what it does, and the usual keys in what is shown into the user's.

use std::borrow::Cow;

use super::state::Key;

/// Something that a key can do.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// Its name in the configuration.
    pub name: &'static str,
    /// Its usual keys. The first is the one that the dashboard knows it by.
    pub keys: &'static [Key],
    /// What it does.
    pub what: &'static str,
}

const fn to(name: &'static str, keys: &'static [Key], what: &'static str) -> Binding {
    Binding { name, keys, what }
}

/// Everything that a key can do. Ctrl-C is not among it: it always quits.
pub const BINDINGS: &[Binding] = &[
    to("quit", &[Key::Char('q')], "quit; Ctrl-C does as well, always"),
    to("help", &[Key::Char('?')], "the help, on and off"),
    to("next-tab", &[Key::Tab], "the next view"),
    to("previous-tab", &[Key::BackTab], "the view before"),
    to("overview", &[Key::Char('1')], "the Overview"),
    to("threads", &[Key::Char('2')], "the Threads"),
    to("thread", &[Key::Char('3')], "the selected thread"),
    to("nodes", &[Key::Char('4')], "the Nodes"),
    to("cpus", &[Key::Char('5')], "the CPUs"),
    to("events", &[Key::Char('6')], "the Events"),
    to("open", &[Key::Enter], "the selected finding, the threads, the selected thread"),
    to("back", &[Key::Esc], "back to where the detail, or the finding, was opened; no filter; no help"),
    to("up", &[Key::Up, Key::Char('k')], "one line up"),
    to("down", &[Key::Down, Key::Char('j')], "one line down"),
    to("left", &[Key::Left, Key::Char('h')], "columns to the left; the thread, or finding, above"),
    to("right", &[Key::Right, Key::Char('l')], "columns to the right; the thread, or finding, below"),
    to("page-up", &[Key::PageUp], "a page up"),
    to("page-down", &[Key::PageDown], "a page down"),
    to("top", &[Key::Home], "the first line"),
    to("bottom", &[Key::End], "the last line"),
    to("sort", &[Key::Char('s')], "sort by the next column"),
    to("reverse", &[Key::Char('S')], "the other order"),
    to("filter", &[Key::Char('/')], "type a filter"),
    to("group", &[Key::Char('g')], "threads by name, by cgroup, and one by one"),
    to("window", &[Key::Char('i')], "the next window of the numbers"),
    to("theme", &[Key::Char('t')], "the next theme"),
    to("pause", &[Key::Char(' ')], "pause, and go on"),
    to("step-back", &[Key::Char(',')], "the numbers before"),
    to("step-forward", &[Key::Char('.')], "the numbers after"),
    to("skip-back", &[Key::Char('<')], "ten numbers back; 10 seconds in a replay"),
    to("skip-forward", &[Key::Char('>')], "ten numbers forward; 10 seconds in a replay"),
    to("less-often", &[Key::Char('+')], "a longer interval"),
    to("more-often", &[Key::Char('-')], "a shorter interval"),
    to("record", &[Key::Char('r')], "record, on and off"),
    to("slower", &[Key::Char('[')], "replay slower"),
    to("faster", &[Key::Char(']')], "replay faster"),
    to("go-to", &[Key::Char(':')], "type a time of the replay to go to"),
    to("worst", &[Key::Char('w')], "the longest wait of the replay, then the next"),
    to("columns", &[Key::Char('c')], "choose and order columns"),
    to("column-down", &[Key::Char('J')], "in the list of columns: the column further right"),
    to("column-up", &[Key::Char('K')], "in the list of columns: the column further left"),
    to("columns-auto", &[Key::Char('0')], "in the list of columns: those that fit"),
    to("mark", &[Key::Char('m')], "mark the thread, and take the mark away"),
    to("unmark-all", &[Key::Char('u')], "take all marks away"),
    to("copy", &[Key::Char('y')], "copy the row, or the marked ones, as text; the command of a finding"),
    to("fold", &[Key::Char('z')], "fold the group; the map of CPUs by caches, by nodes, by CPUs"),
    to("fold-all", &[Key::Char('Z')], "fold all groups, and unfold them"),
    to("detail", &[Key::Char('d')], "the detail of a group"),
    to("hide-idle", &[Key::Char('x')], "hide CPUs that the target did not use, on and off"),
    to("save-screen", &[Key::Char('p')], "write the screen to two files of this folder"),
    to("mouse", &[Key::Char('M')], "take clicks and the wheel from the terminal, and give them back"),
    to("redraw", &[Key::Repaint], "draw the screen anew"),
    to("suspend", &[Key::Suspend], "back to the shell until fg"),
];

/// Keys that are no character, as the help has them; a file may have them in small letters.
const NAMED: [(&str, Key); 15] = [
    ("space", Key::Char(' ')),
    ("Enter", Key::Enter),
    ("Esc", Key::Esc),
    ("Tab", Key::Tab),
    ("Shift-Tab", Key::BackTab),
    ("Backspace", Key::Backspace),
    ("up", Key::Up),
    ("down", Key::Down),
    ("left", Key::Left),
    ("right", Key::Right),
    ("PgUp", Key::PageUp),
    ("PgDn", Key::PageDown),
    ("Home", Key::Home),
    ("End", Key::End),
    ("Ctrl-C", Key::Interrupt),
];

/// What a key is called, as in `Ctrl-L`, `PgUp`, `space`, `x`.
pub fn key_name(key: Key) -> String {
    if let Some((name, _)) = NAMED.iter().find(|(_, named)| *named == key) {
        return (*name).into();
    }
    match key {
        Key::Char(c) => c.into(),
        Key::Function(n) => format!("F{n}"),
        Key::Ctrl(c) => format!("Ctrl-{}", c.to_ascii_uppercase()),
        Key::Repaint => "Ctrl-L".into(),
        Key::Suspend => "Ctrl-Z".into(),
        // All others are named.
        _ => String::new(),
    }
}

/// The key of this name, in small letters or as [`key_name`] has it.
///
/// # Errors
/// A sentence that says what would do, where there is none, or it cannot have another meaning.
pub fn key_named(name: &str) -> Result<Key, String> {
    let mut chars = name.chars();
    if let (Some(c), None) = (chars.next(), chars.next())
        && !c.is_control()
    {
        return Ok(Key::Char(c));
    }
    if let Some((_, key)) = NAMED.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
        return if *key == Key::Interrupt { Err("ctrl-c always quits".into()) } else { Ok(*key) };
    }
    let small = name.to_ascii_lowercase();
    if let Some(Ok(n @ 1..=12)) = small.strip_prefix('f').map(str::parse) {
        return Ok(Key::Function(n));
    }
    match small.strip_prefix("ctrl-").map(str::as_bytes) {
        Some([b'l']) => Ok(Key::Repaint),
        Some([b'z']) => Ok(Key::Suspend),
        Some([b'h']) => Err("ctrl-h is backspace to a terminal".into()),
        Some([b'i']) => Err("ctrl-i is tab to a terminal".into()),
        Some([b'm']) => Err("ctrl-m is enter to a terminal".into()),
        Some([c @ b'a'..=b'z']) => Ok(Key::Ctrl(char::from(*c))),
        _ => Err(format!(
            "there is no key '{}': a key is one character, f1 to f12, ctrl-a to ctrl-z, or one of {}",
            crate::text::display_str(name),
            // The last one has no other meaning.
            NAMED[..NAMED.len() - 1].iter().map(|(name, _)| name.to_lowercase()).collect::<Vec<_>>().join(", ")
        )),
    }
}

/// Stands for a key where there is none.
pub const NO_KEY: &str = "(no key)";

/// Which keys do what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keymap {
    /// The keys of each binding, in the order of [`BINDINGS`].
    keys: Vec<Vec<Key>>,
    /// Some are not the usual ones.
    changed: bool,
}

impl Default for Keymap {
    fn default() -> Keymap {
        Keymap { keys: BINDINGS.iter().map(|binding| binding.keys.to_vec()).collect(), changed: false }
    }
}

impl Keymap {
    /// Gives a binding other keys, none or several, in place of those that it has; false where there is no such binding.
    pub fn bind(&mut self, name: &str, keys: &[Key]) -> bool {
        let Some(at) = BINDINGS.iter().position(|binding| binding.name == name) else { return false };
        self.keys[at] = Vec::new();
        for key in keys {
            if !self.keys[at].contains(key) {
                self.keys[at].push(*key);
            }
        }
        self.changed = self.keys.iter().zip(BINDINGS).any(|(keys, binding)| keys != binding.keys);
        true
    }

    /// Each binding with its keys.
    pub fn bindings(&self) -> impl Iterator<Item = (&'static Binding, &[Key])> {
        BINDINGS.iter().zip(self.keys.iter().map(Vec::as_slice))
    }

    /// Which bindings have this key; more than one cannot be meant.
    pub fn of_key(&self, key: Key) -> impl Iterator<Item = &'static Binding> {
        self.bindings().filter(move |(_, keys)| keys.contains(&key)).map(|(binding, _)| binding)
    }

    /// The usual key of what `pressed` does; `None` where it does nothing any more. While text is typed a key is itself,
    /// but for what can be neither typed nor used to edit.
    pub fn translate(&self, pressed: Key, typing: bool) -> Option<Key> {
        if !self.changed {
            // The dashboard knows all usual keys, `k` as well as the arrow.
            return Some(pressed);
        }
        let usual = match self.of_key(pressed).next() {
            Some(binding) => binding.keys.first().copied(),
            None if usual(pressed).is_some() => None,
            // Has no other meaning, such as Ctrl-C.
            None => Some(pressed),
        };
        if !typing {
            return usual;
        }
        match pressed {
            Key::Repaint | Key::Suspend | Key::Ctrl(_) | Key::Function(_) => {
                usual.filter(|usual| matches!(usual, Key::Repaint | Key::Suspend))
            }
            _ => Some(pressed),
        }
    }

    /// The first of the keys for what is usually done with `usual_key`.
    pub fn first(&self, usual_key: Key) -> Option<Key> {
        match usual(usual_key) {
            Some((at, _)) => self.keys[at].first().copied(),
            None => Some(usual_key),
        }
    }

    /// What that key is called, for a sentence.
    pub fn name_of(&self, usual_key: Key) -> Cow<'static, str> {
        self.first(usual_key).map_or(NO_KEY.into(), |key| key_name(key).into())
    }

    /// Usual keys as the help has them (`up/down, k/j`), with the user's in their place: each key for one that does the
    /// same, further ones behind. Empty where there is none left.
    pub fn shown(&self, entry: &'static str) -> Cow<'static, str> {
        if self.changed { self.replaced(entry, true).into() } else { entry.into() }
    }

    /// The same as the last line has them (`, .`), which has no room for further ones.
    pub fn shown_briefly(&self, entry: &'static str) -> Cow<'static, str> {
        if self.changed { self.replaced(entry, false).into() } else { entry.into() }
    }

    fn replaced(&self, entry: &'static str, all: bool) -> String {
        let mut shown = String::new();
        let mut more: Vec<String> = Vec::new();
        let mut seen: Vec<usize> = Vec::new();
        let mut between = "";
        for word in words(entry) {
            let mut parts: Vec<String> = Vec::new();
            for token in word.keys {
                let Some((at, nth)) = token_key(token).and_then(usual) else {
                    parts.push(token.into());
                    continue;
                };
                parts.extend(self.keys[at].get(nth).map(|key| key_name(*key)));
                if all && !seen.contains(&at) {
                    seen.push(at);
                    let rest = self.keys[at].iter().skip(BINDINGS[at].keys.len());
                    more.extend(rest.map(|key| key_name(*key)));
                }
            }
            if !parts.is_empty() {
                shown.push_str(if shown.is_empty() { "" } else { between });
                shown.push_str(&parts.join("/"));
                between = word.after;
            }
        }
        for key in more {
            shown.push_str(if shown.is_empty() { "" } else { ", " });
            shown.push_str(&key);
        }
        shown
    }
}

/// Which binding usually has this key, and as its how many-th.
fn usual(key: Key) -> Option<(usize, usize)> {
    let found = |(at, binding): (usize, &Binding)| Some((at, binding.keys.iter().position(|known| *known == key)?));
    BINDINGS.iter().enumerate().find_map(found)
}

fn token_key(token: &str) -> Option<Key> {
    key_named(token).ok()
}

/// Keys with a slash between them, and what stands after them where another word follows.
struct Word {
    keys: Vec<&'static str>,
    after: &'static str,
}

/// `/` and `,` are keys too, where they stand alone.
fn words(entry: &'static str) -> impl Iterator<Item = Word> {
    entry.split(' ').map(|word| {
        let alone = |word: &str| word.chars().count() == 1;
        let (word, after) = match word.strip_suffix(',') {
            Some(rest) if !alone(word) => (rest, ", "),
            _ => (word, " "),
        };
        Word { keys: if alone(word) { vec![word] } else { word.split('/').collect() }, after }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::help;
    use crate::tui::state::{Mode, Tab};

    fn with(all: &[(&str, &[Key])]) -> Keymap {
        let mut map = Keymap::default();
        all.iter().for_each(|(name, keys)| assert!(map.bind(name, keys), "{name}"));
        map
    }

    #[test]
    fn names_and_usual_keys_are_each_there_once() {
        for (at, binding) in BINDINGS.iter().enumerate() {
            assert!(binding.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{}", binding.name);
            assert!(!binding.keys.is_empty(), "{}", binding.name);
            assert!(!binding.what.is_empty(), "{}", binding.name);
            for other in &BINDINGS[..at] {
                assert_ne!(binding.name, other.name);
                assert!(binding.keys.iter().all(|key| !other.keys.contains(key)), "{}, {}", binding.name, other.name);
            }
        }
    }

    /// A key that the help names can be moved: it has its line in [`BINDINGS`].
    #[test]
    fn every_key_of_the_help_and_every_view_has_a_binding() {
        for (entry, _) in [Mode::Live, Mode::Replay].into_iter().flat_map(help::keys) {
            for token in words(entry).flat_map(|word| word.keys).filter(|token| *token != "Ctrl-C") {
                let key = key_named(token).unwrap_or_else(|why| panic!("{entry}: {why}"));
                assert!(usual(key).is_some(), "{token} of the help's '{entry}' is in no line of BINDINGS");
            }
        }
        for (digit, tab) in ('1'..).zip(Tab::ALL) {
            let (at, _) = usual(Key::Char(digit)).unwrap_or_else(|| panic!("{} is in no line", tab.name()));
            assert_eq!(BINDINGS[at].name, tab.name().to_lowercase());
        }
    }

    #[test]
    fn every_key_has_a_name_that_is_understood() {
        for key in BINDINGS.iter().flat_map(|binding| binding.keys) {
            for name in [key_name(*key), key_name(*key).to_lowercase()] {
                let same = key_named(&name).is_ok_and(|named| named == *key || matches!(key, Key::Char(_)));
                assert!(same, "{name} is not {key:?}");
            }
        }
        for (name, key) in [
            ("x", Key::Char('x')),
            ("X", Key::Char('X')),
            ("ö", Key::Char('ö')),
            ("space", Key::Char(' ')),
            (" ", Key::Char(' ')),
            ("f", Key::Char('f')),
            ("f12", Key::Function(12)),
            ("Ctrl-X", Key::Ctrl('x')),
            ("ctrl-l", Key::Repaint),
            ("pgup", Key::PageUp),
        ] {
            assert_eq!(key_named(name), Ok(key), "{name}");
        }
        for (name, why) in [
            ("ctrl-c", "always quits"),
            ("ctrl-i", "is tab"),
            ("ctrl-m", "is enter"),
            ("ctrl-h", "is backspace"),
            ("f0", "no key 'f0'"),
            ("f13", "f1 to f12"),
            ("", "no key ''"),
            ("alt-x", "ctrl-a to ctrl-z"),
            ("ctrl-ö", "no key"),
            ("\u{1b}", "no key"),
            ("spacebar", "space, enter, esc, tab, shift-tab"),
        ] {
            let said = key_named(name).expect_err(name);
            assert!(said.contains(why) && !said.contains('\u{1b}'), "{name}: {said}");
        }
    }

    #[test]
    fn the_usual_keys_are_themselves() {
        let map = Keymap::default();
        for key in BINDINGS.iter().flat_map(|binding| binding.keys).chain(&[Key::Interrupt, Key::Char('5')]) {
            assert_eq!([map.translate(*key, false), map.translate(*key, true)], [Some(*key); 2]);
        }
        assert_eq!(map.shown("up/down, k/j"), "up/down, k/j");
    }

    #[test]
    fn a_key_that_was_given_up_does_nothing_or_something_else() {
        let map = with(&[
            ("theme", &[Key::Function(2)]),
            ("sort", &[Key::Char('t'), Key::Ctrl('t')]),
            ("up", &[Key::Char('w')]),
            ("worst", &[]),
        ]);
        let pressed = |key| map.translate(key, false);
        assert_eq!(pressed(Key::Function(2)), Some(Key::Char('t')));
        assert_eq!([pressed(Key::Char('t')), pressed(Key::Ctrl('t'))], [Some(Key::Char('s')); 2]);
        assert_eq!([pressed(Key::Char('s')), pressed(Key::Up), pressed(Key::Char('k'))], [None; 3]);
        assert_eq!(pressed(Key::Char('w')), Some(Key::Up));
        // What nobody changed, and what no line of the table has.
        for key in [Key::Down, Key::Interrupt, Key::Char('%'), Key::Function(1)] {
            assert_eq!(pressed(key), Some(key));
        }
        assert_eq!(pressed(Key::Char('j')), Some(Key::Down));
    }

    #[test]
    fn while_text_is_typed_keys_are_themselves() {
        let map = with(&[
            ("sort", &[Key::Char('x')]),
            ("open", &[Key::Ctrl('o')]),
            ("suspend", &[Key::Function(9)]),
            ("redraw", &[Key::Char('Z')]),
        ]);
        let typed = |key| map.translate(key, true);
        for key in [Key::Char('x'), Key::Char('s'), Key::Enter, Key::Esc, Key::Up, Key::Backspace, Key::Char('Z')] {
            assert_eq!(typed(key), Some(key));
        }
        assert_eq!(
            [typed(Key::Function(9)), typed(Key::Suspend), typed(Key::Ctrl('o'))],
            [Some(Key::Suspend), None, None]
        );
        assert_eq!(typed(Key::Interrupt), Some(Key::Interrupt));
    }

    #[test]
    fn what_is_shown_has_the_keys_of_the_user() {
        let map = with(&[
            ("quit", &[Key::Char('x'), Key::Function(10)]),
            ("up", &[Key::Char('w')]),
            ("step-back", &[Key::Char('a')]),
            ("record", &[]),
            ("threads", &[Key::Function(2)]),
        ]);
        for (entry, shown) in [
            ("q, Ctrl-C", "x, Ctrl-C, F10"),
            ("up/down, k/j", "w/down, j"),
            ("up/down", "w/down"),
            (", .", "a ."),
            (",", "a"),
            ("r", ""),
            ("Tab, 1 2 3 4", "Tab, 1 F2 3 4"),
            ("+/-", "+/-"),
            ("/", "/"),
            ("space", "space"),
        ] {
            assert_eq!(map.shown(entry), shown, "{entry}");
        }
        assert_eq!([map.shown_briefly("q"), map.shown_briefly("up/down")], ["x", "w/down"]);
        assert_eq!(map.name_of(Key::Char('q')), "x");
        assert_eq!(map.name_of(Key::Char('r')), "(no key)");
        assert_eq!(map.name_of(Key::Esc), "Esc");
    }

    #[test]
    fn bindings_that_are_as_usual_change_nothing() {
        let map = with(&[("up", &[Key::Up, Key::Char('k'), Key::Up])]);
        assert_eq!(map, Keymap::default());
        assert!(!Keymap::default().bind("no-such-thing", &[]));
    }
}
