//! What the help says: keys, columns, and the sources that are not simply on. Pure text.

use super::explain::explain;
use super::keymap::{Keymap, NO_KEY};
use super::layout::{COLUMNS, Column, Spec};
use super::state::Mode;
use crate::snapshot::{Gap, SelfCost, Snapshot, Source, SourceState};
use crate::text;
use crate::words;

/// Keys of every dashboard, and what they do.
const ALWAYS: [Entry; 22] = [
    ("q, Ctrl-C", "quit"),
    ("?", "this help, on and off"),
    ("Tab, 1 2 3 4 5 6", "the next view; Overview, Threads, Thread, Nodes, CPUs, Events"),
    (
        "Enter",
        "from the Overview to the selected finding, or to the threads where there is none; from a thread, a cell or an event to the thread's detail; fold or unfold a group",
    ),
    ("Esc", "back to where the detail or the finding was opened; clear the filter, close the help"),
    ("up/down, k/j", "select a thread or a finding, which stays selected when the order changes; scroll a page"),
    ("PgUp/PgDn", "a page up or down"),
    ("Home", "back to the top row, whichever thread that is; top of the page"),
    ("End", "the last thread; end of the page"),
    (
        "left/right, h/l",
        "scroll the columns that did not fit; in the detail: the thread above or below; the finding before or after",
    ),
    ("s", "sort by the next column"),
    ("S", "reverse the order"),
    ("/", "filter: name:worker runq.p99>1ms node:1 !state:exited; a word alone is looked for in names and ids"),
    ("g", "group threads by name, by cgroup, not at all"),
    ("z", "fold or unfold the group, or that of the thread"),
    ("Z", "unfold all groups, or fold them"),
    ("d", "the detail of the selected thread or group"),
    ("m", "mark the thread, or all threads of the group; again: unmark. The filter word 'marked' lists them"),
    ("u", "unmark all"),
    ("y", "send the row, or all marked ones, to the terminal's clipboard (OSC 52), as text; of a finding its command"),
    ("c", "choose the columns and their order"),
    ("i", "window of the numbers: since the start, last interval, last 10 s, last minute"),
];

/// Those about time, where a target is traced.
const LIVE: [Entry; 7] = [
    ("space", "pause, and go on: the numbers stand still, tracing goes on"),
    (",", "pause, and back to the numbers before"),
    (".", "forward to the numbers after"),
    ("<", "ten back"),
    (">", "ten forward"),
    ("+/-", "numbers less often, more often"),
    ("r", "record into a new file of this folder, on and off"),
];

/// Those about time, where a recording is played.
const REPLAY: [Entry; 9] = [
    ("space", "pause, and play on"),
    (",", "pause, and back to the recorded tick before"),
    (".", "pause, and forward to the next recorded tick"),
    ("<", "10 s back"),
    (">", "10 s forward"),
    ("[", "slower, down to 0.1x"),
    ("]", "faster, up to 100x"),
    (":", "go to a time: 12s, 1m 30s, plain seconds, 10:21:46 or RFC 3339"),
    ("w", "pause where a thread waited longest for a CPU; again: second longest, and so on"),
];

/// Those of the map of CPUs.
const MAP: [Entry; 2] = [
    ("z", "in CPUs: a row for each cache, for each node, for each CPU again"),
    ("x", "in CPUs: hide the rows that the target did not use, and show them"),
];

/// What the map of CPUs and the list of events show.
const LISTS: [Entry; 7] = [
    (
        "CPUs: a-z A-Z",
        "the busiest threads of the last ten seconds, each where it ran longest of all; a letter stays with its thread",
    ),
    ("+", "any other thread of the target"),
    ("·", "nobody of the target: others may have run"),
    ("faint", "the thread had less than half of the 250ms; hops are at least so many"),
    (
        "Events",
        "of each interval between numbers the 256 longest waits, all losses and gaps, the 16 places with the most remote page touches; \
         of migrations between nodes 96, of others 32, of starts and ends 64, evenly over all there were",
    ),
    (
        "their filter",
        "words that the line must have, !word that it must not; kind:wait (migration, start, exit, ...), slower:1ms, cpu:3, node:0-1, tid:12, name:worker",
    ),
    ("behind", "the thread that had the CPU for most of the wait, as far as two samples tell"),
];

/// What is left.
const LAST: [Entry; 5] = [
    ("t", "next theme: dark, light, high contrast, colour-blind, none"),
    ("p", "write the screen to two files of this folder, as text and as a picture (SVG)"),
    ("M", "take clicks and the wheel from the terminal, and give them back"),
    ("Ctrl-L", "draw the screen anew"),
    ("Ctrl-Z", "back to the shell; everything stands still until fg"),
];

/// A key, or several, and what it does.
pub type Entry = (&'static str, &'static str);

/// Every key that has a meaning in this mode.
pub fn keys(mode: Mode) -> impl Iterator<Item = Entry> {
    let about_time: &'static [Entry] = match mode {
        Mode::Live => &LIVE,
        Mode::Replay => &REPLAY,
    };
    ALWAYS.iter().chain(&MAP).chain(about_time).chain(&LAST).copied()
}

/// Width of the left column of entries.
const TERM_WIDTH: usize = 17;

/// One line of the help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HelpLine {
    /// Nothing.
    Blank,
    /// A heading.
    Heading(&'static str),
    /// What is explained (empty where the explanation goes on), and the explanation.
    Entry(String, String),
}

/// The help in lines of at most `width` columns, with the usual keys and no view in particular. `incomplete` says what of a
/// recording could not be read.
pub fn lines(mode: Mode, incomplete: Option<&str>, snapshot: &Snapshot, width: u16) -> Vec<HelpLine> {
    lines_with(&Keymap::default(), mode, incomplete, About::All, snapshot, width)
}

/// What the help is asked for in, which then comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// Nothing in particular.
    All,
    /// The table, sorted by this column.
    Table(Column),
    /// The map of CPUs, or the events.
    Lists,
}

/// The same with the user's keys.
pub fn lines_with(
    keymap: &Keymap,
    mode: Mode,
    incomplete: Option<&str>,
    about: About,
    snapshot: &Snapshot,
    width: u16,
) -> Vec<HelpLine> {
    let mut lines = Vec::new();
    if let Some(sentence) = incomplete {
        lines.push(HelpLine::Heading("Recording"));
        entry(&mut lines, "incomplete", sentence, width);
        lines.push(HelpLine::Blank);
    }
    match about {
        About::All => {}
        About::Table(column) => {
            lines.push(HelpLine::Heading("The column that the table is sorted by"));
            explained(&mut lines, column.spec(), snapshot, width);
            lines.push(HelpLine::Blank);
        }
        About::Lists => {
            lists(&mut lines, width);
            lines.push(HelpLine::Blank);
        }
    }
    lines.push(HelpLine::Heading("Keys"));
    for (key, what) in keys(mode) {
        let key = keymap.shown(key);
        entry(&mut lines, if key.is_empty() { NO_KEY } else { &key }, what, width);
    }
    lines.extend([
        HelpLine::Blank,
        HelpLine::Heading("Columns: what they count, from which hook, and what they do not tell"),
    ]);
    for spec in &COLUMNS {
        explained(&mut lines, spec, snapshot, width);
    }
    if about != About::Lists {
        lines.push(HelpLine::Blank);
        lists(&mut lines, width);
    }
    gaps(&mut lines, &snapshot.gaps, width);
    if let Some(cost) = &snapshot.self_cost {
        own(&mut lines, cost, width);
    }
    lines.extend([HelpLine::Blank, HelpLine::Heading("Sources of numbers")]);
    if snapshot.sources.is_empty() {
        entry(&mut lines, "", "Not known yet.", width);
    }
    for source in &snapshot.sources {
        entry(&mut lines, &source.name, &describe(source), width);
    }
    lines
}

/// What the map and the events show.
fn lists(lines: &mut Vec<HelpLine>, width: u16) {
    lines.push(HelpLine::Heading("CPUs and Events"));
    for (term, what) in LISTS {
        entry(lines, term, what, width);
    }
}

/// What a column counts, where that comes from, and its limits; and why there is nothing in it, where its sources are off.
fn explained(lines: &mut Vec<HelpLine>, spec: &Spec, snapshot: &Snapshot, width: u16) {
    let long = explain(spec.column);
    entry(lines, spec.title, long.counts, width);
    entry(lines, "", &format!("From {}. {}", long.from, long.limits), width);
    let known: Vec<&Source> =
        snapshot.sources.iter().filter(|source| long.sources.contains(&source.name.as_str())).collect();
    if known.iter().all(|source| source.state == SourceState::Off) {
        for source in known {
            entry(lines, "", &format!("Empty now: {} is {}.", source.name, describe(source)), width);
        }
    }
}

/// What numatrace itself takes and leaves out.
fn own(lines: &mut Vec<HelpLine>, cost: &SelfCost, width: u16) {
    lines.extend([HelpLine::Blank, HelpLine::Heading("What numatrace itself takes")]);
    entry(lines, "", &words::self_cost(cost), width);
    if let Some(sentence) = words::shed(cost) {
        entry(lines, "left out", &sentence, width);
    }
}

/// Times in which a source saw nothing, the last ones.
fn gaps(lines: &mut Vec<HelpLine>, gaps: &[Gap], width: u16) {
    const SHOWN: usize = 8;
    if gaps.is_empty() {
        return;
    }
    lines.extend([HelpLine::Blank, HelpLine::Heading("Gaps: what happened then is in no number of the source")]);
    for gap in gaps.iter().rev().take(SHOWN) {
        entry(lines, &gap.source, &format!("saw {}", words::gap(gap)), width);
    }
    if gaps.len() > SHOWN {
        entry(lines, "", &format!("... and {} before", gaps.len() - SHOWN), width);
    }
}

fn describe(source: &Source) -> String {
    let state = state_name(source.state);
    match &source.reason {
        Some(reason) => format!("{state}: {reason}"),
        None => state.into(),
    }
}

/// The state of a source in words.
pub const fn state_name(state: SourceState) -> &'static str {
    match state {
        SourceState::On => "on",
        SourceState::Off => "off",
        SourceState::BestEffort => "best effort",
        SourceState::Sampled => "sampled",
    }
}

fn entry(lines: &mut Vec<HelpLine>, term: &str, what: &str, width: u16) {
    let room = usize::from(width).saturating_sub(TERM_WIDTH + 3).max(1);
    let mut term = if text::width(term) > TERM_WIDTH {
        lines.push(HelpLine::Entry(text::fit(term, usize::from(width)), String::new()));
        String::new()
    } else {
        term.to_owned()
    };
    for part in wrap(what, room) {
        lines.push(HelpLine::Entry(std::mem::take(&mut term), part));
    }
}

/// The left column of an entry, padded.
pub fn padded_term(term: &str) -> String {
    text::left(term, TERM_WIDTH.max(text::width(term)))
}

/// Breaks at blanks; a word that is too long is cut into pieces, so that nothing is lost.
pub(super) fn wrap(what: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in what.split_whitespace() {
        let needed = text::width(word);
        if used > 0 && used + 1 + needed > room {
            lines.push(String::new());
            used = 0;
        }
        if used > 0 {
            push(&mut lines, ' ');
            used += 1;
        }
        for c in word.chars() {
            let columns = text::width(c.encode_utf8(&mut [0; 4]));
            if used > 0 && used + columns > room {
                lines.push(String::new());
                used = 0;
            }
            push(&mut lines, c);
            used += columns;
        }
    }
    lines
}

fn push(lines: &mut [String], c: char) {
    if let Some(line) = lines.last_mut() {
        line.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapping_breaks_at_blanks_and_loses_nothing() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap("a bcdefg", 4), ["a", "bcde", "fg"]);
        assert_eq!(wrap("", 4), [""]);
        assert_eq!(wrap("漢字漢", 4), ["漢字", "漢"]);
    }
}
