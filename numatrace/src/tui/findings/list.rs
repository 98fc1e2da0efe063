//! The list of findings: a heading, and an entry each, as far as they fit. Pure text.

use super::role;
use crate::findings::Severity;
use crate::snapshot::Finding;
use crate::text;
use crate::tui::help::wrap;
use crate::tui::page::{Line, Role};

/// Narrower lists have no column of their own for how bad something is.
const NARROW: usize = 64;
/// Columns of that, with the mark of the selected one before it.
const SEVERITY: usize = 11;

/// A line of the list, and which finding it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::tui) struct Listed {
    /// The line.
    pub line: Line,
    /// Position of its finding; `None` for the heading and for the line below the list.
    pub at: Option<usize>,
}

/// The list in at most `rows` lines, three at least; none where nothing was found. Of more findings than fit those around the
/// selected one are there, and the heading says which; a title that does not fit by itself is cut, its page has all of it.
/// `of` says what stretch of time they are of, where that is not the one of the numbers below.
pub(super) fn lines(all: &[Finding], selected: usize, of: Option<&str>, columns: usize, rows: usize) -> Vec<Listed> {
    if all.is_empty() {
        return Vec::new();
    }
    let room = rows.saturating_sub(2).max(1);
    let entries: Vec<Vec<Line>> =
        all.iter().enumerate().map(|(at, one)| entry(one, at == selected, columns, room)).collect();
    let (first, end) = shown(&entries, selected, room);
    let mut lines = vec![Listed { line: heading(all, of, first, end), at: None }];
    for (at, entry) in entries.into_iter().enumerate().take(end).skip(first) {
        lines.extend(entry.into_iter().map(|line| Listed { line, at: Some(at) }));
    }
    lines.push(Listed { line: Line::default(), at: None });
    lines
}

/// The first entry that is shown, and the one after the last: the first one of all, if the selected one fits with it.
fn shown(entries: &[Vec<Line>], selected: usize, room: usize) -> (usize, usize) {
    let taken = |from: usize, to: usize| entries.iter().take(to).skip(from).map(Vec::len).sum::<usize>();
    let selected = selected.min(entries.len().saturating_sub(1));
    let first = (0..selected).find(|first| taken(*first, selected + 1) <= room).unwrap_or(selected);
    let end = (selected + 1..=entries.len()).rev().find(|end| taken(first, *end) <= room);
    (first, end.unwrap_or(selected + 1))
}

fn heading(all: &[Finding], of: Option<&str>, first: usize, end: usize) -> Line {
    let about = of.map_or_else(String::new, |of| format!(" {of}"));
    let of = |wanted: Severity| all.iter().filter(|one| Severity::of(one) == wanted).count();
    let counts = [Severity::Critical, Severity::Warn, Severity::Info].map(|one| (of(one), one.name()));
    let counts: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}")).collect();
    let place = match end - first {
        shown if shown == all.len() => String::new(),
        1 => format!("{} of {}: ", first + 1, all.len()),
        _ => format!("{}-{end} of {}: ", first + 1, all.len()),
    };
    Line::of("Findings", Role::Strong).with(about, Role::Dim).with(format!("  {place}{}", counts.join(", ")), Role::Dim)
}

/// How bad it is, and its title, in at most `room` lines.
fn entry(finding: &Finding, selected: bool, columns: usize, room: usize) -> Vec<Line> {
    let mark = if selected { ">" } else { " " };
    let weight = if selected { Role::Strong } else { Role::Plain };
    let name = Severity::of(finding).name();
    let wide = columns >= NARROW;
    let title = text::visible(&finding.title);
    let lines = if wide {
        wrap(&title, columns.saturating_sub(SEVERITY).max(1))
    } else {
        wrap(&format!("{name}: {title}"), columns.saturating_sub(1).max(1))
    };
    let cut = lines.len() > room;
    let mut entry: Vec<Line> = Vec::new();
    for (at, line) in lines.into_iter().enumerate().take(room) {
        let begun = Line::of(if at == 0 { mark } else { " " }, Role::Strong);
        let line = match (wide, at) {
            (true, 0) => begun.left(name, SEVERITY - 1, role(finding)).with(line, weight),
            (true, _) => begun.left("", SEVERITY - 1, weight).with(line, weight),
            // A word is never cut where it has room for itself, so the name is at the beginning.
            (false, 0) => match line.strip_prefix(name) {
                Some(rest) => begun.with(name, role(finding)).with(rest, weight),
                None => begun.with(line, weight),
            },
            (false, _) => begun.with(line, weight),
        };
        entry.push(line);
    }
    if let Some(last) = entry.last_mut().filter(|_| cut) {
        let full = std::mem::take(last).with(" …", Role::Dim);
        *last = full.cut(columns);
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn findings(titles: &[(&str, &str)]) -> Vec<Finding> {
        let one = |(severity, title): &(&str, &str)| Finding {
            id: (*title).into(),
            severity: (*severity).into(),
            title: (*title).into(),
            about: String::new(),
            evidence: Value::Null,
            advice: String::new(),
            command: None,
        };
        titles.iter().map(one).collect()
    }

    fn text_of(lines: &[Listed]) -> Vec<String> {
        let words = |one: &Listed| one.line.pieces.iter().map(|(piece, _)| piece.as_str()).collect::<String>();
        lines.iter().map(|one| words(one).trim_end().to_owned()).collect()
    }

    #[test]
    fn nothing_found_is_no_list() {
        assert_eq!(lines(&[], 0, None, 80, 10), []);
    }

    #[test]
    fn those_around_the_selected_one_are_shown_and_the_heading_says_which() {
        let all = findings(&[("critical", "one two three"), ("warn", "four"), ("what?", "five"), ("info", "six")]);
        assert_eq!(
            text_of(&lines(&all, 0, None, 80, 10)),
            [
                "Findings  1 critical, 1 warn, 2 info",
                ">critical  one two three",
                " warn      four",
                " info      five",
                " info      six",
                ""
            ]
        );
        let minute = lines(&all, 0, Some("of the last 1m 2s"), 80, 10);
        assert_eq!(text_of(&minute)[0], "Findings of the last 1m 2s  1 critical, 1 warn, 2 info");
        let few = lines(&all, 2, None, 80, 4);
        assert_eq!(
            text_of(&few),
            ["Findings  2-3 of 4: 1 critical, 1 warn, 2 info", " warn      four", ">info      five", ""]
        );
        assert_eq!(few.iter().map(|one| one.at).collect::<Vec<_>>(), [None, Some(1), Some(2), None]);
        assert_eq!(text_of(&lines(&all, 3, None, 80, 3))[1..], [">info      six", ""]);
    }

    #[test]
    fn narrow_lists_wrap_and_cut_what_is_too_long_for_them() {
        let all = findings(&[("critical", "one two three four five six seven eight"), ("warn", "nine")]);
        assert_eq!(
            text_of(&lines(&all, 0, None, 20, 5)),
            ["Findings  1 of 2: 1 critical, 1 warn", ">critical: one two", " three four five six", " seven eight", ""]
                .map(str::to_owned)
        );
        assert_eq!(text_of(&lines(&all, 0, None, 20, 3))[1], ">critical: one two …");
        for (columns, rows) in (1..80).flat_map(|columns| (0..9).map(move |rows| (columns, rows))) {
            let shown = lines(&all, 1, None, columns, rows);
            assert!(shown.len() <= rows.max(3), "{columns} {rows}");
            assert!(shown.iter().any(|one| one.at == Some(1)), "{columns} {rows}");
        }
    }
}
