//! The filter of the threads table: words that all must match. Pure. `docs/filter.md` is its reference.
//!
//! ```text
//! name:worker runq.p99>1ms node:1 !state:exited
//! ```
//!
//! A filter is parsed once, by [`Filter::parse`]; to match a thread takes no memory. What is printed is understood again as the
//! same filter.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
pub(super) mod parse;
mod print;

use super::layout::{Column, Kind};
use super::rows::{Row, state_name, value};
use crate::container::Container;
use crate::snapshot::Thread;

/// What threads must have to be listed. The empty one matches all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    words: Vec<Word>,
}

/// Why a text is no filter, and what would be one, in a short sentence without a full stop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Wrong(String);

/// One word: a test, or its opposite.
#[derive(Clone, Debug, PartialEq)]
struct Word {
    negated: bool,
    test: Test,
}

#[derive(Clone, Debug, PartialEq)]
enum Test {
    /// The name or the thread id contains it.
    Any(Needle),
    /// The user marked it.
    Marked,
    /// A column of text contains it.
    Text(Column, Needle),
    /// A number is in one of these ranges, both ends included.
    List(List, Vec<(u32, u32)>),
    /// A column compares so with a number: ns for times, percent for shares.
    Number(Column, Comparison, f64),
}

/// Something with a number of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    Tid,
    Pid,
    /// The CPU of the current or last turn; the column `cpu` is a share.
    Cpu,
    LastCpu,
    Node,
}

impl List {
    const ALL: [(&'static str, List); 5] =
        [("tid", List::Tid), ("pid", List::Pid), ("cpu", List::Cpu), ("last_cpu", List::LastCpu), ("node", List::Node)];

    fn of(self, thread: &Thread, row: &Row) -> Option<u32> {
        match self {
            List::Tid => Some(thread.tid.0),
            List::Pid => Some(thread.pid.0),
            List::Cpu | List::LastCpu => thread.cpu,
            List::Node => row.node,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Greater,
    AtLeast,
    Less,
    AtMost,
    /// As it is shown: to half a percent.
    Equal,
}

impl Comparison {
    const ALL: [(&'static str, Comparison); 5] = [
        (">=", Comparison::AtLeast),
        ("<=", Comparison::AtMost),
        (">", Comparison::Greater),
        ("<", Comparison::Less),
        ("=", Comparison::Equal),
    ];

    fn holds(self, value: f64, other: f64) -> bool {
        match self {
            Comparison::Greater => value > other,
            Comparison::AtLeast => value >= other,
            Comparison::Less => value < other,
            Comparison::AtMost => value <= other,
            Comparison::Equal => (value - other).abs() <= 0.005 * other.abs(),
        }
    }
}

/// A text that is looked for, in small letters.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Needle(String);

impl Needle {
    fn new(text: &str) -> Needle {
        Needle(text.chars().flat_map(char::to_lowercase).collect())
    }

    /// Whether `text` contains it, whatever the case.
    fn is_in(&self, text: &str) -> bool {
        let needle = self.0.as_str();
        if text.is_ascii() {
            let (text, needle) = (text.as_bytes(), needle.as_bytes());
            return needle.is_empty() || text.windows(needle.len()).any(|part| part.eq_ignore_ascii_case(needle));
        }
        let starts = text.char_indices().map(|(at, _)| at).chain([text.len()]);
        let begins = |at: usize| {
            let mut small = text[at..].chars().flat_map(char::to_lowercase);
            needle.chars().all(|wanted| small.next() == Some(wanted))
        };
        starts.into_iter().any(begins)
    }

    /// Whether the digits of `number` contain it.
    fn is_in_number(&self, mut number: u32) -> bool {
        let mut digits = [b'0'; 10];
        let mut first = digits.len();
        loop {
            first -= 1;
            digits[first] = b'0' + (number % 10) as u8;
            number /= 10;
            // Ten digits hold the greatest u32.
            if number == 0 || first == 0 {
                break;
            }
        }
        let (digits, needle) = (&digits[first..], self.0.as_bytes());
        needle.is_empty() || digits.windows(needle.len()).any(|part| part == needle)
    }
}

impl Filter {
    /// Understands what was typed.
    ///
    /// # Errors
    /// Says what is no filter.
    pub fn parse(text: &str) -> Result<Filter, Wrong> {
        parse::filter(text)
    }

    /// It matches all threads.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Whether a thread matches, which has this row and which the user marked or not.
    pub fn matches(&self, thread: &Thread, row: &Row, marked: bool) -> bool {
        self.words.iter().all(|word| word.negated != word.test.holds(thread, row, marked))
    }
}

impl Test {
    fn holds(&self, thread: &Thread, row: &Row, marked: bool) -> bool {
        match self {
            Test::Any(needle) => needle.is_in(&thread.comm) || needle.is_in_number(thread.tid.0),
            Test::Marked => marked,
            Test::Text(column, needle) => text_of(*column, thread).is_some_and(|text| needle.is_in(text)),
            Test::List(list, ranges) => list
                .of(thread, row)
                .is_some_and(|number| ranges.iter().any(|(from, to)| (*from..=*to).contains(&number))),
            Test::Number(column, comparison, other) => {
                let factor = if column.kind() == Kind::Share { 100.0 } else { 1.0 };
                // What is absent compares with nothing.
                value(*column, thread, row).number().is_some_and(|value| comparison.holds(value * factor, *other))
            }
        }
    }
}

/// What a column of text has; `None` where it is not known.
fn text_of(column: Column, thread: &Thread) -> Option<&str> {
    let sched = || thread.sched.as_ref();
    match column {
        Column::Name => Some(&thread.comm),
        Column::State => Some(state_name(thread)),
        Column::Cgroup => thread.cgroup.as_deref(),
        Column::Container => thread.container.as_deref().map(Container::title),
        Column::Policy => sched().map(|sched| &*sched.policy),
        Column::Allowed => sched().map(|sched| &*sched.allowed_cpus),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
