//! A configuration as a file that would come to the same, each value with where it comes from.

use std::fmt::Write;

use toml::Value;

use super::{Ascii, Colours, Config, Origin, Setting};
use crate::findings::{RULES, Rule, To};
use crate::text;
use crate::tui::keymap::key_name;
use crate::tui::state::Key;

/// The file.
pub fn toml(config: &Config) -> String {
    let mut file = Lines::default();
    match (&config.path, config.found) {
        (Some(path), found) => {
            let path = text::display_str(&path.to_string_lossy());
            file.line(&format!("# {path}{}", if found { "" } else { " (is not there)" }));
        }
        (None, _) => file.line("# No file: neither XDG_CONFIG_HOME nor HOME says where it would be."),
    }
    file.line("");
    file.word("theme", config.theme.value.name(), &origin(config.theme.origin));
    let here = Colours::Depth(config.depth).name();
    let colours = match config.colours.value {
        Colours::Auto => format!("{}; {} here, from TERM and COLORTERM", origin(config.colours.origin), here),
        Colours::Depth(_) => origin(config.colours.origin),
    };
    file.word("colours", config.colours.value.name(), &colours);
    file.set("ascii", &ascii(config.ascii.value), &ascii_origin(config));
    file.line("\n[dashboard]");
    file.word("tab", &config.tab.value.name().to_lowercase(), &origin(config.tab.origin));
    file.word("window", config.window.value.name(), &origin(config.window.origin));
    let interval = humantime::format_duration(config.interval.value).to_string();
    file.word("interval", &interval, &origin(config.interval.origin));
    file.word("sort", config.sort.value.key(), &origin(config.sort.origin));
    let columns = config.columns.value.iter().map(|column| Value::String(column.key().into())).collect();
    let fitting = if config.columns.value.is_empty() { "; those that fit" } else { "" };
    file.set("columns", &Value::Array(columns), &format!("{}{fitting}", origin(config.columns.origin)));
    let Setting { value: mouse, origin: from } = config.mouse;
    file.set("mouse", &Value::Boolean(mouse), &origin(from));
    file.line("\n[findings]");
    RULES.iter().for_each(|rule| findings(config, rule, &mut file));
    file.line("\n[keys]");
    for (binding, keys) in config.keymap.bindings() {
        let from = if config.bound.contains(&binding.name) { Origin::File } else { Origin::Default };
        let mut names = keys.iter().map(|key| Value::String(in_file(*key)));
        let value = match (names.next(), keys.len()) {
            (Some(name), 1) => name,
            (first, _) => Value::Array(first.into_iter().chain(names).collect()),
        };
        file.set(binding.name, &value, &format!("{}; {}", origin(from), binding.what));
    }
    file.0
}

/// What is set of a rule: that it is off, or all its limits.
fn findings(config: &Config, rule: &Rule, file: &mut Lines) {
    let settings = config.findings();
    // Who said it last.
    let from = |said: &dyn Fn(To) -> bool| {
        let found = config.changes.iter().rev().find(|change| change.value.rule == rule.id && said(change.value.to));
        origin(found.map_or(Origin::Default, |change| change.origin))
    };
    if !settings.is_on(rule.id) {
        file.word(rule.id, "off", &from(&|to| to == To::Off));
        return;
    }
    for limit in rule.limits {
        let number = settings.limit(rule.id, limit.name).unwrap_or(limit.default);
        let from = from(&|to| matches!(to, To::Limit(name, _) if name == limit.name));
        let about = format!("{from}; {}", limit.about);
        file.set(&format!("{}.{}", rule.id, limit.name), &Value::Float(number), &about);
    }
}

/// A key as a file has it.
fn in_file(key: Key) -> String {
    let name = key_name(key);
    if matches!(key, Key::Char(_)) { name } else { name.to_lowercase() }
}

fn ascii(value: Ascii) -> Value {
    match value {
        Ascii::Auto => Value::String(value.name().into()),
        Ascii::Always => Value::Boolean(true),
        Ascii::Never => Value::Boolean(false),
    }
}

fn ascii_origin(config: &Config) -> String {
    let from = origin(config.ascii.origin);
    if config.ascii.value != Ascii::Auto {
        return from;
    }
    let why = match &config.locale {
        Some((name, value)) => format!("{name} is {}", text::display_str(value)),
        None => "no LC_ALL, LC_CTYPE or LANG".into(),
    };
    format!("{from}; {} here, {why}", config.is_ascii)
}

fn origin(origin: Origin) -> String {
    match origin {
        Origin::Default => "default".into(),
        Origin::File => "file".into(),
        Origin::Environment(name) => format!("environment, {name}"),
        Origin::CommandLine => "command line".into(),
    }
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    fn word(&mut self, name: &str, value: &str, comment: &str) {
        self.set(name, &Value::String(value.into()), comment);
    }

    fn set(&mut self, name: &str, value: &Value, comment: &str) {
        // Writing to a text cannot fail.
        let _ = writeln!(self.0, "{name} = {value}  # {comment}");
    }
}
