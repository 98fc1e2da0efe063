//! What a configuration file says. All that is not understood is refused: a word that does nothing would be looked for long.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use toml::{Spanned, Value};

use super::{Ascii, Colours};
use crate::cli;
use crate::findings::{Bad, Change};
use crate::text;
use crate::tui::history::Window;
use crate::tui::keymap::{BINDINGS, Keymap, key_name, key_named};
use crate::tui::layout::{COLUMNS, Column};
use crate::tui::state::{Key, Tab};
use crate::tui::theme::Scheme;

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Where, from 1.
    pub line: usize,
    /// What, and what would be right.
    pub why: String,
}

/// A file. What it does not say is `None`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// The theme.
    #[serde(deserialize_with = "theme")]
    pub theme: Option<Scheme>,
    /// How many colours.
    #[serde(deserialize_with = "colours")]
    pub colours: Option<Colours>,
    /// Whether ASCII alone.
    #[serde(deserialize_with = "ascii")]
    pub ascii: Option<Ascii>,
    /// How the dashboard begins.
    pub dashboard: Dashboard,
    #[serde(rename = "findings")]
    rules: BTreeMap<Spanned<String>, Rule>,
    /// From which numbers on there are findings.
    #[serde(skip)]
    pub findings: Findings,
    #[serde(rename = "keys")]
    named: BTreeMap<Spanned<String>, Pressed>,
    /// Which keys do what.
    #[serde(skip)]
    pub keys: Keys,
}

/// How the dashboard begins.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub struct Dashboard {
    /// With this view.
    #[serde(deserialize_with = "tab")]
    pub tab: Option<Tab>,
    /// With this window.
    #[serde(deserialize_with = "window")]
    pub window: Option<Window>,
    /// With numbers this often.
    #[serde(deserialize_with = "interval")]
    pub interval: Option<Duration>,
    /// Sorted by this column.
    #[serde(deserialize_with = "sort")]
    pub sort: Option<Column>,
    /// With these columns in this order; none for those that fit.
    #[serde(deserialize_with = "columns")]
    pub columns: Option<Vec<Column>>,
    /// Taking clicks and the wheel.
    #[serde(deserialize_with = "mouse")]
    pub mouse: Option<bool>,
}

/// Which keys do what.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// The usual ones, and those of the file in the place of some.
    pub map: Keymap,
    /// The bindings that the file has.
    pub bound: Vec<&'static str>,
}

impl File {
    /// Takes the text of a file apart.
    ///
    /// # Errors
    /// For what is not understood, or would have no effect.
    pub fn parse(text: &str) -> Result<File, Wrong> {
        let mut file: File = toml::from_str(text).map_err(|error| {
            // Some of toml's own reasons have more than one line, and all can have what the file has.
            let why = text::visible(&error.message().trim().replace('\n', ", "));
            let why = why
                .replace("unknown field", "there is no key")
                .replace(", expected one of", ": it is one of")
                .replace("expected a map", "expected a table");
            Wrong { line: line(text, error.span()), why }
        })?;
        file.keys = Keys::of(&file.named, text)?;
        file.findings = Findings::of(&file.rules, text)?;
        Ok(file)
    }
}

/// The line of a place; the last one where it is not known.
fn line(text: &str, span: Option<Range<usize>>) -> usize {
    let before = span.map_or(text.len(), |span| span.start.min(text.len()));
    1 + text.bytes().take(before).filter(|byte| *byte == b'\n').count()
}

/// What a value is, in words; never what it says, where it is no single word.
fn kind(value: &Value) -> String {
    match value {
        Value::String(text) => format!("'{}'", text::display_str(text)),
        Value::Integer(n) => n.to_string(),
        Value::Float(n) => n.to_string(),
        Value::Boolean(is) => is.to_string(),
        Value::Datetime(_) => "a time".into(),
        Value::Array(_) => "a list".into(),
        Value::Table(_) => "a table".into(),
    }
}

/// One of some words.
fn word<'de, D: Deserializer<'de>, T: Copy>(
    deserializer: D,
    what: &str,
    words: &[(String, T)],
) -> Result<Option<T>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let found = value.as_str().and_then(|text| words.iter().find(|(word, _)| word == text));
    found.map(|(_, value)| Some(*value)).ok_or_else(|| {
        let known: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        D::Error::custom(format!("there is no {what} {}: it is one of {}", kind(&value), known.join(", ")))
    })
}

fn named<T: Copy>(all: &[T], name: impl Fn(T) -> &'static str) -> Vec<(String, T)> {
    all.iter().map(|one| (name(*one).to_lowercase(), *one)).collect()
}

fn theme<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Scheme>, D::Error> {
    word(deserializer, "theme", &named(&Scheme::ALL, Scheme::name))
}

fn colours<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Colours>, D::Error> {
    word(deserializer, "set of colours", &named(&Colours::ALL, Colours::name))
}

fn ascii<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Ascii>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::String(text) if text == Ascii::Auto.name() => Ok(Some(Ascii::Auto)),
        Value::Boolean(is) => Ok(Some(if is { Ascii::Always } else { Ascii::Never })),
        other => Err(D::Error::custom(format!("ascii is \"auto\", true or false, not {}", kind(&other)))),
    }
}

fn tab<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Tab>, D::Error> {
    // At the beginning no thread is there to show the detail of.
    let all: Vec<Tab> = Tab::ALL.into_iter().filter(|tab| *tab != Tab::Thread).collect();
    word(deserializer, "view to begin with", &named(&all, Tab::name))
}

fn window<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Window>, D::Error> {
    word(deserializer, "window", &named(&Window::ALL, Window::name))
}

fn sort<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Column>, D::Error> {
    let columns: Vec<(String, Column)> = COLUMNS.iter().map(|spec| (spec.key.to_owned(), spec.column)).collect();
    word(deserializer, "column", &columns)
}

fn columns<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Column>>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let Some(names) = value.as_array() else {
        let why = format!("columns is a list, such as [\"name\", \"runq.p99\"], not {}", kind(&value));
        return Err(D::Error::custom(why));
    };
    let mut columns = Vec::with_capacity(names.len());
    for name in names {
        let Some(column) = name.as_str().and_then(Column::parse) else {
            let known: Vec<String> = COLUMNS.iter().map(|spec| format!("\"{}\"", spec.key)).collect();
            let why = format!("there is no column {}: it is one of {}", kind(name), known.join(", "));
            return Err(D::Error::custom(why));
        };
        if columns.contains(&column) {
            return Err(D::Error::custom(format!("columns has {} twice", kind(name))));
        }
        columns.push(column);
    }
    Ok(Some(columns))
}

fn interval<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let Some(text) = value.as_str() else {
        return Err(D::Error::custom(format!("interval is a time in quotes, such as \"500ms\", not {}", kind(&value))));
    };
    let wrong = |why| D::Error::custom(format!("interval cannot be '{}': {why}", text::display_str(text)));
    cli::interval(text).map(Some).map_err(wrong)
}

fn mouse<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Boolean(is) => Ok(Some(is)),
        other => Err(D::Error::custom(format!("mouse is true or false, not {}", kind(&other)))),
    }
}

/// The keys of one binding.
#[derive(Clone, Debug)]
struct Pressed(Vec<Key>);

impl<'de> Deserialize<'de> for Pressed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pressed, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let names = match &value {
            Value::Array(names) => names.as_slice(),
            one => std::slice::from_ref(one),
        };
        let key = |name: &Value| match name {
            Value::String(name) => key_named(name).map_err(D::Error::custom),
            other => Err(D::Error::custom(format!("a key is a word in quotes, such as \"x\", not {}", kind(other)))),
        };
        names.iter().map(key).collect::<Result<_, _>>().map(Pressed)
    }
}

/// What a file sets of findings.
#[derive(Clone, Debug, Default)]
pub struct Findings(pub Vec<Change>);

/// What it sets of one rule.
#[derive(Clone, Debug)]
enum Rule {
    /// `"off"` or `"on"`.
    Word(String),
    /// Some limits.
    Limits(BTreeMap<Spanned<String>, Number>),
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Rule, D::Error> {
        struct Told;
        impl<'de> Visitor<'de> for Told {
            type Value = Rule;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"off\", \"on\" or a table of limits")
            }

            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Rule, E> {
                Ok(Rule::Word(word.into()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Rule, A::Error> {
                BTreeMap::deserialize(MapAccessDeserializer::new(map)).map(Rule::Limits)
            }
        }
        deserializer.deserialize_any(Told)
    }
}

/// A limit, whole or not.
#[derive(Clone, Copy, Debug)]
struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Number, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Integer(whole) => Ok(Number(whole as f64)),
            Value::Float(number) => Ok(Number(number)),
            other => Err(D::Error::custom(format!("a limit is a number, not {}", kind(&other)))),
        }
    }
}

impl Findings {
    /// All of them, as they stand in the file.
    fn of(rules: &BTreeMap<Spanned<String>, Rule>, text: &str) -> Result<Findings, Wrong> {
        let mut found = Vec::new();
        for (rule, told) in rules {
            let id = rule.get_ref();
            let made: Vec<(Range<usize>, Result<Change, Bad>)> = match told {
                Rule::Word(word) => vec![(rule.span(), Change::switch(id, word))],
                Rule::Limits(limits) if limits.is_empty() => vec![(rule.span(), Change::switch(id, "on"))],
                Rule::Limits(limits) => {
                    limits.iter().map(|(name, to)| (name.span(), Change::limit(id, name.get_ref(), to.0))).collect()
                }
            };
            for (at, change) in made {
                match change {
                    Ok(change) => found.push((at.start, change)),
                    // A rule that is not known is wrong where the rule is named.
                    Err(Bad::Rule(name)) => {
                        let why = Bad::Rule(name).to_string();
                        return Err(Wrong { line: line(text, Some(rule.span())), why });
                    }
                    Err(bad) => return Err(Wrong { line: line(text, Some(at)), why: bad.to_string() }),
                }
            }
        }
        found.sort_by_key(|(at, _)| *at);
        Ok(Findings(found.into_iter().map(|(_, change)| change).collect()))
    }
}

impl Keys {
    /// Binds them all, and then looks for keys that could mean two things.
    fn of(named: &BTreeMap<Spanned<String>, Pressed>, text: &str) -> Result<Keys, Wrong> {
        let mut keys = Keys::default();
        let mut places = Vec::new();
        for (name, pressed) in named {
            let at = name.span().start;
            let Some(binding) = BINDINGS.iter().find(|binding| binding.name == name.get_ref()) else {
                return Err(Wrong { line: line(text, Some(name.span())), why: no_binding(name.get_ref()) });
            };
            keys.map.bind(binding.name, &pressed.0);
            places.push((at, binding.name));
        }
        // As they stand in the file.
        places.sort_unstable();
        keys.bound = places.iter().map(|(_, name)| *name).collect();
        for (at, name) in places.iter().rev() {
            let pressed =
                keys.map.bindings().find(|(binding, _)| binding.name == *name).map_or(&[][..], |(_, keys)| keys);
            for key in pressed {
                if let Some(other) = keys.map.of_key(*key).find(|other| other.name != *name) {
                    let why = format!(
                        "{} is the key of both {name} and {}: give one of them another key, or none, which is []",
                        key_name(*key),
                        other.name
                    );
                    return Err(Wrong { line: line(text, Some(*at..*at)), why });
                }
            }
        }
        Ok(keys)
    }
}

fn no_binding(name: &str) -> String {
    let known: Vec<&str> = BINDINGS.iter().map(|binding| binding.name).collect();
    format!("nothing is called '{}' that a key can do: it is one of {}", text::display_str(name), known.join(", "))
}
