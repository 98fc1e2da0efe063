//! From text to a filter, or to a sentence that says what is wrong with it.

use super::{Comparison, Filter, List, Needle, Test, Word, Wrong};
use crate::tui::layout::{COLUMNS, Column, Kind};

fn wrong<T>(sentence: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong(sentence.into()))
}

/// Characters, and whether each was in quotes, where it means itself.
pub(in crate::tui) type Chars = [(char, bool)];

/// A word as it was typed.
#[derive(Default)]
pub(in crate::tui) struct Token {
    pub chars: Vec<(char, bool)>,
    /// There were quotes: it is a word even without characters.
    pub quoted: bool,
}

impl Token {
    /// Whether it asks for the opposite, and what it says without that.
    ///
    /// # Errors
    /// Says that there is nothing.
    pub fn negated(&self) -> Result<(bool, &Chars), Wrong> {
        let negated = self.chars.first() == Some(&('!', false));
        let chars = if negated { &self.chars[1..] } else { &self.chars[..] };
        if chars.is_empty() && !self.quoted {
            return wrong("! needs a word: !worker");
        }
        Ok((negated, chars))
    }
}

pub(super) fn filter(text: &str) -> Result<Filter, Wrong> {
    let words = tokens(text)?.iter().map(word).collect::<Result<_, _>>()?;
    Ok(Filter { words })
}

/// Words are apart by blanks outside of quotes. In quotes two quotation marks are one.
pub(in crate::tui) fn tokens(text: &str) -> Result<Vec<Token>, Wrong> {
    let mut tokens = Vec::new();
    let mut token = Token::default();
    let mut inside = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if inside && chars.next_if_eq(&'"').is_some() => token.chars.push(('"', true)),
            '"' => (inside, token.quoted) = (!inside, true),
            _ if inside => token.chars.push((c, true)),
            _ if c.is_whitespace() => take(&mut token, &mut tokens),
            _ => token.chars.push((c, false)),
        }
    }
    if inside {
        return wrong("the quotes are not closed: \"two words\"");
    }
    take(&mut token, &mut tokens);
    Ok(tokens)
}

fn take(token: &mut Token, tokens: &mut Vec<Token>) {
    let token = std::mem::take(token);
    if token.quoted || !token.chars.is_empty() {
        tokens.push(token);
    }
}

fn word(token: &Token) -> Result<Word, Wrong> {
    let (negated, chars) = token.negated()?;
    Ok(Word { negated, test: test(chars, token.quoted)? })
}

/// What can be the name of a column, in small letters, and what follows it; nothing where the text cannot begin with one.
pub(in crate::tui) fn name(chars: &Chars) -> (String, &Chars) {
    let of_name = |(c, quoted): &&(char, bool)| !quoted && (c.is_ascii_alphanumeric() || "._".contains(*c));
    let length = chars.iter().take_while(of_name).count();
    if !chars.first().is_some_and(|(c, _)| c.is_ascii_alphabetic()) {
        return (String::new(), chars);
    }
    (chars[..length].iter().map(|(c, _)| c.to_ascii_lowercase()).collect(), &chars[length..])
}

fn test(chars: &Chars, quoted: bool) -> Result<Test, Wrong> {
    let all = || chars.iter().map(|(c, _)| c).collect::<String>();
    let (name, rest) = name(chars);
    match rest.first() {
        Some((':', false)) if !name.is_empty() => is_in(&name, &rest[1..]),
        Some(('<' | '>' | '=', false)) if !name.is_empty() => {
            let found = Comparison::ALL
                .iter()
                .find(|(sign, _)| sign.chars().enumerate().all(|(at, c)| rest.get(at) == Some(&(c, false))));
            // One of the three signs stands there, and each of them is a comparison.
            let (sign, comparison) = found.unwrap_or(&Comparison::ALL[4]);
            let operand: String = rest[sign.len()..].iter().map(|(c, _)| c).collect();
            compares(&name, sign, *comparison, &operand)
        }
        _ if !quoted && all() == "marked" => Ok(Test::Marked),
        _ => Ok(Test::Any(Needle::new(&all()))),
    }
}

/// `name:text` and `tid:12,14-20`.
fn is_in(name: &str, operand: &Chars) -> Result<Test, Wrong> {
    let text: String = operand.iter().map(|(c, _)| c).collect();
    if let Some((_, list)) = List::ALL.iter().find(|(known, _)| *known == name) {
        return Ok(Test::List(*list, ranges(name, &text)?));
    }
    let Some(column) = Column::parse(name) else { return no_column(name) };
    let (is, like) = match column.kind() {
        Kind::Text if operand.is_empty() => return wrong(format!("{name}: needs a text: {name}:{}", example(column))),
        Kind::Text => return Ok(Test::Text(column, Needle::new(&text))),
        Kind::Time => ("a time", "1ms"),
        Kind::Share => ("a share", "10%"),
        Kind::Number | Kind::Id => ("a number", "100"),
    };
    wrong(format!("{name} is {is}: {name}>{like}"))
}

/// `runq.p99>1ms`.
fn compares(name: &str, sign: &str, comparison: Comparison, operand: &str) -> Result<Test, Wrong> {
    let Some(column) = Column::parse(name) else { return no_column(name) };
    let (is, like) = match column.kind() {
        Kind::Text => return wrong(format!("{name} is text: {name}:{}", example(column))),
        Kind::Time => ("time", "1ms, 30us"),
        Kind::Share => ("share", "50%, 0.5"),
        Kind::Number | Kind::Id => ("number", "100, 1k"),
    };
    if operand.is_empty() {
        return wrong(format!("{name}{sign} needs a {is}: {like}"));
    }
    match number(operand, column) {
        Some(number) => Ok(Test::Number(column, comparison, number)),
        None => wrong(format!("{operand} is no {is}: {like}")),
    }
}

const fn example(column: Column) -> &'static str {
    match column {
        Column::State => "waiting",
        Column::Cgroup => "web.slice",
        Column::Container => "web",
        Column::Policy => "fifo",
        Column::Allowed => "0-3",
        _ => "worker",
    }
}

/// Names that begin as this one does: with the same family where it has one (`runq.`), else with as much as any.
fn no_column<T>(name: &str) -> Result<T, Wrong> {
    const NAMED: usize = 3;
    let same = |key: &str| key.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count();
    let mut keys: Vec<&str> = COLUMNS.iter().map(|spec| spec.key).collect();
    let most = keys.iter().map(|key| same(key)).max().unwrap_or(0);
    let most = name.bytes().take(most).position(|b| b == b'.').map_or(most, |dot| dot + 1);
    if most > 0 {
        keys.retain(|key| same(key) >= most);
    } else {
        keys = vec!["name", "state", "runq.p99"];
    }
    let more = if keys.len() > NAMED || most == 0 { ", ..." } else { "" };
    keys.truncate(NAMED);
    wrong(format!("{name} is no column: {}{more}", keys.join(", ")))
}

/// `12,14-20`.
pub(in crate::tui) fn ranges(name: &str, text: &str) -> Result<Vec<(u32, u32)>, Wrong> {
    if text.is_empty() {
        return wrong(format!("{name}: needs a number or a list: {name}:1,4-7"));
    }
    let range = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let number = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u32>().ok());
        let (from, to) = (number(from).flatten()?, number(to).flatten()?);
        (from <= to).then_some((from, to))
    };
    let all: Option<Vec<(u32, u32)>> = text.split(',').map(range).collect();
    all.map_or_else(|| wrong(format!("{text} is no list of numbers: {name}:1,4-7")), Ok)
}

/// A number with its unit: ns for times, percent for shares.
pub(in crate::tui) fn number(text: &str, column: Column) -> Option<f64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) if column == Column::Nice => (true, rest),
        _ => (false, text),
    };
    let end = digits.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(digits.len());
    let (digits, unit) = digits.split_at(end);
    let value: f64 = digits.parse().ok()?;
    let scale = match (column.kind(), unit) {
        (Kind::Time, "") if value == 0.0 => 1.0,
        (Kind::Time, "ns") => 1.0,
        (Kind::Time, "us" | "µs" | "μs") => 1e3,
        (Kind::Time, "ms") => 1e6,
        (Kind::Time, "s") => 1e9,
        (Kind::Time, "m") => 60e9,
        (Kind::Time, "h") => 3_600e9,
        (Kind::Share, "%") => 1.0,
        // Of CPUs several can be used; of anything else more than all is a forgotten %.
        (Kind::Share, "") if value <= 1.0 || column == Column::Cpu => 100.0,
        (Kind::Number | Kind::Id, "") => 1.0,
        (Kind::Number | Kind::Id, "k") => 1e3,
        (Kind::Number | Kind::Id, "M") => 1e6,
        (Kind::Number | Kind::Id, "G") => 1e9,
        _ => return None,
    };
    let value = value * scale;
    value.is_finite().then_some(if negative { -value } else { value })
}
