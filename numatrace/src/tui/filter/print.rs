//! From a filter to text, which is understood as the same filter.

use std::fmt::{self, Display, Formatter};

use super::{Comparison, Filter, List, Test, Word};
use crate::tui::layout::{Column, Kind};

impl Display for Filter {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (at, word) in self.words.iter().enumerate() {
            let apart = if at > 0 { " " } else { "" };
            write!(f, "{apart}{word}")?;
        }
        Ok(())
    }
}

impl Display for Word {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.negated {
            f.write_str("!")?;
        }
        match &self.test {
            Test::Any(needle) => {
                let plain = needle.0 != "marked" && !needle.0.contains([':', '<', '>', '=', '!']);
                quoted(&needle.0, plain, f)
            }
            Test::Marked => f.write_str("marked"),
            Test::Text(column, needle) => {
                write!(f, "{}:", column.key())?;
                quoted(&needle.0, true, f)
            }
            Test::List(list, ranges) => {
                let name = List::ALL.iter().find(|(_, known)| known == list).map_or("", |(name, _)| name);
                write!(f, "{name}:")?;
                for (at, (from, to)) in ranges.iter().enumerate() {
                    let apart = if at > 0 { "," } else { "" };
                    if from == to { write!(f, "{apart}{from}")? } else { write!(f, "{apart}{from}-{to}")? }
                }
                Ok(())
            }
            Test::Number(column, comparison, number) => {
                let sign = Comparison::ALL.iter().find(|(_, known)| known == comparison).map_or("", |(sign, _)| sign);
                write!(f, "{}{sign}", column.key())?;
                quantity(*column, *number, f)
            }
        }
    }
}

/// In quotes where it would be no word, or another one.
fn quoted(text: &str, plain: bool, f: &mut Formatter<'_>) -> fmt::Result {
    if plain && !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == '"') {
        return f.write_str(text);
    }
    write!(f, "\"{}\"", text.replace('"', "\"\""))
}

/// In the largest unit in which it has no more digits than it needs.
fn quantity(column: Column, number: f64, f: &mut Formatter<'_>) -> fmt::Result {
    match column.kind() {
        Kind::Share => write!(f, "{number}%"),
        Kind::Time => {
            let units = [(1e9, "s"), (1e6, "ms"), (1e3, "us")];
            let exact = |scale: f64| number / scale >= 1.0 && (number / scale).fract() == 0.0 && number < 1e15;
            match units.into_iter().find(|(scale, _)| exact(*scale)) {
                Some((scale, unit)) => write!(f, "{}{unit}", number / scale),
                None => write!(f, "{number}ns"),
            }
        }
        _ => write!(f, "{number}"),
    }
}
