//! The page of one finding: what is wrong, why that hurts, what to do, and the numbers behind it. Pure text.

use super::{evidence, role};
use crate::findings::Severity;
use crate::snapshot::Finding;
use crate::text;
use crate::tui::page::{Block, Line, Role};

/// What the page is made of.
pub(super) struct Page<'a> {
    /// The finding.
    pub finding: &'a Finding,
    /// The how many-th it is, of how many; `None` where it is gone.
    pub place: Option<(usize, usize)>,
    /// Where it is gone: the time of the numbers that it was found in last.
    pub as_of_ns: Option<u64>,
    /// The window in words.
    pub window: &'a str,
}

impl Page<'_> {
    /// The page in lines of at most `columns`.
    pub(super) fn lines(&self, columns: usize) -> Vec<Line> {
        let finding = self.finding;
        let mut blocks = vec![self.head(columns)];
        let of = match self.as_of_ns {
            Some(ns) => format!("as of {}", text::duration(ns)),
            None => self.window.to_owned(),
        };
        let mut numbers = Block::new("Evidence", &of);
        let rows = evidence::rows(&finding.evidence);
        if rows.is_empty() {
            numbers.push(Line::of("It has no numbers.", Role::Plain));
        }
        let name = rows.iter().map(|row| text::width(&row.name)).max().unwrap_or(0).min(columns / 2).min(32) + 2;
        for row in rows {
            numbers.say_of((&row.name, Role::Dim), name, &row.value, columns);
        }
        // What to do comes first: it is short, and nobody should have to scroll for it.
        let mut advice = Block::new("What to do", "");
        advice.say(&text::visible(&finding.advice), columns, Role::Plain);
        if let Some(command) = &finding.command {
            advice.say_of(("$", Role::Strong), 2, &text::visible(command), columns);
        }
        blocks.extend([advice, numbers]);
        let mut lines = Vec::new();
        for block in blocks {
            if !lines.is_empty() {
                lines.push(Line::default());
            }
            lines.extend(block.lines);
        }
        lines
    }

    fn head(&self, columns: usize) -> Block {
        let finding = self.finding;
        let mut head = Block::default();
        let place = self.place.map_or_else(String::new, |(at, of)| format!("  {at} of {of}"));
        let what = Line::of(format!("Finding{place}  "), Role::Strong);
        let what = what.with(Severity::of(finding).name(), role(finding));
        head.push(what.with(format!("  {}", text::visible(&finding.id)), Role::Dim));
        if let Some(ns) = self.as_of_ns {
            let gone = format!("! Gone: the numbers do not say it any more. This is as of {}.", text::duration(ns));
            head.say(&gone, columns, Role::Warn);
        }
        head.say(&text::visible(&finding.title), columns, Role::Strong);
        head.say(&text::visible(&finding.about), columns, Role::Plain);
        head
    }
}
