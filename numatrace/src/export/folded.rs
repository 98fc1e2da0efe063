//! Stacks of page touches in one line each, as flamegraph.pl, inferno and speedscope read them:
//! `name;caller;...;function count`. The count is an estimate from samples.
//!
//! Where callers were not recorded the mapping stands in their place: `name;mapping;function count`. Memory: at most
//! [`MOST_STACKS`] different lines, each of at most about 8 KiB.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write;

use numatrace_common::abi::Where;

use crate::decode::Event;
use crate::model::Model;
use crate::recording::Timeline;
use crate::snapshot::{SourceState, sources};

use super::walk::{Step, walk};
use super::{ExportError, Progress, Subject, Summary};

/// Different lines that are kept; of more there is a sum in a line of their own.
pub const MOST_STACKS: usize = 65_536;
const MORE: &str = "(more stacks than are told apart)";
const NOT_KNOWN: &str = "(not known)";

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Metric {
    /// Touches of pages on another node.
    #[default]
    Remote,
    /// Of pages on the CPU's own node.
    Local,
    /// Both.
    All,
}

impl Metric {
    /// All of them.
    pub const ALL: [Metric; 3] = [Metric::Remote, Metric::Local, Metric::All];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Metric::Remote => "remote",
            Metric::Local => "local",
            Metric::All => "all",
        }
    }

    const fn of(self, place: &Where) -> u64 {
        match self {
            Metric::Remote => place.remote,
            Metric::Local => place.local,
            Metric::All => place.local.saturating_add(place.remote),
        }
    }
}

/// Writes the lines, in order of their text.
///
/// # Errors
/// When no places were recorded, the recording cannot be read, or `out` cannot be written.
pub fn write<T: Timeline>(
    timeline: T,
    subject: &Subject,
    metric: Metric,
    out: &mut dyn Write,
    progress: Progress<'_, T>,
) -> Result<Summary, ExportError> {
    if let Some(why) = not_recorded(&timeline) {
        return Err(ExportError::NoPlaces(why));
    }
    let mut stacks = Stacks::default();
    let mut summary = walk(timeline, &subject.part, progress, &mut |model, step| {
        if let Step::Event(Event::Where(place)) = step {
            stacks.add(place, metric.of(place), model);
        }
        Ok(())
    })?;
    if subject.part.is_selective() && !stacks.places {
        return Err(ExportError::Nobody);
    }
    let lines = stacks.sorted();
    for (line, count) in &lines {
        writeln!(out, "{line} {count}")?;
    }
    out.flush()?;
    summary.rows = lines.len() as u64;
    if !stacks.places {
        summary.notes.push("no page touch was sampled in this part of the recording".into());
    } else if lines.is_empty() {
        summary.notes.push(format!(
            "no {} page touch was sampled in this part of the recording: --metric all counts local and remote ones",
            metric.name()
        ));
    }
    if stacks.places && !stacks.callers {
        summary.notes.push(
            "callers were not recorded, so lines have the mapping instead: record with --stacks to have them".into(),
        );
    }
    if stacks.more > 0 {
        summary.notes.push(format!("there are more than {MOST_STACKS} stacks: the rest is in one line, {MORE}"));
    }
    Ok(summary)
}

/// Why there is nothing to tell, in a sentence.
fn not_recorded(timeline: &impl Timeline) -> Option<String> {
    let meta = &timeline.head().meta;
    if meta.pages.places {
        return None;
    }
    let of = |source: &&crate::snapshot::Source| {
        (sources::WHERE.contains(&source.name.as_str()) || sources::TOUCHES.contains(&source.name.as_str()))
            && source.state == SourceState::Off
    };
    let why = meta.sources.iter().find(of).and_then(|source| source.reason.as_deref());
    let why = why.map_or_else(String::new, |why| format!(" ({why})"));
    Some(format!(
        "the recording does not say where page touches come from{why}: record with page touches and --fault-samples above 0, \
         and with --stacks to have callers"
    ))
}

/// See the module.
#[derive(Default)]
struct Stacks {
    counts: HashMap<String, u64>,
    more: u64,
    /// There were places, whatever they count.
    places: bool,
    /// There were callers.
    callers: bool,
    line: String,
}

impl Stacks {
    fn add(&mut self, place: &Where, count: u64, model: &Model) {
        self.places = true;
        let callers = model.words(place.stack);
        self.callers |= callers.is_some();
        if count == 0 {
            return;
        }
        self.line.clear();
        push_frame(&mut self.line, model.name_of(place.tid));
        match callers {
            Some(callers) => callers.lines().rev().for_each(|frame| push_frame(&mut self.line, Some(frame))),
            None => push_frame(&mut self.line, model.words(place.mapping)),
        }
        push_frame(&mut self.line, model.words(place.symbol));
        let room = self.counts.len() < MOST_STACKS;
        match self.counts.get_mut(&self.line) {
            Some(sum) => *sum = sum.saturating_add(count),
            None if room => drop(self.counts.insert(self.line.clone(), count)),
            None => self.more = self.more.saturating_add(count),
        }
    }

    fn sorted(&self) -> Vec<(&str, u64)> {
        let mut lines: Vec<(&str, u64)> = self.counts.iter().map(|(line, count)| (line.as_str(), *count)).collect();
        if self.more > 0 {
            lines.push((MORE, self.more));
        }
        lines.sort_unstable();
        lines
    }
}

/// One more frame. A `;` in a name would be two frames.
fn push_frame(line: &mut String, frame: Option<&str>) {
    if !line.is_empty() {
        line.push(';');
    }
    let frame = frame.filter(|frame| !frame.is_empty()).unwrap_or(NOT_KNOWN);
    for c in frame.chars() {
        match c {
            ';' => line.push(':'),
            // Texts are safe to show; a line must stay one whatever comes.
            c if c.is_control() => drop(write!(line, "{}", c.escape_default())),
            c => line.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_one_frame_whatever_its_name() {
        let mut line = String::new();
        for frame in [Some("a;b"), None, Some(""), Some("two\nlines 7"), Some("f(int, char)")] {
            push_frame(&mut line, frame);
        }
        assert_eq!(line, "a:b;(not known);(not known);two\\nlines 7;f(int, char)");
    }
}
