//! How the dashboard is to look and to answer: what the command line says, else the environment, else the user's file, else
//! what is usual.
//!
//! [`place`] finds the file and reads it no further than the user could; [`file`] takes it apart, and refuses with its line
//! and a reason what would have no effect; [`print`] writes what came of it. `tui` knows nothing of all this: it gets
//! [`Config::options`].

pub mod file;
pub mod place;
pub mod print;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::findings::{Change, Settings};
use crate::text;
use crate::tui::history::Window;
use crate::tui::keymap::Keymap;
use crate::tui::layout::Column;
use crate::tui::rows::Sort;
use crate::tui::state::Tab;
use crate::tui::theme::{Depth, Scheme, Theme};
use crate::tui::{Options, Preferences, ascii};
use file::File;
use place::{Place, Reader};

/// Time between numbers where nothing else is asked for.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// Why a configuration cannot be used, in a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}{}: {why}", text::display_str(&path.to_string_lossy()), line.map_or_else(String::new, |line| format!(", line {line}")))]
pub struct Refused {
    /// The file.
    pub path: PathBuf,
    /// The line that is wrong, from 1, where it is one.
    pub line: Option<usize>,
    /// What is wrong with it, and what would be right.
    pub why: String,
}

/// How many colours are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colours {
    /// As many as the terminal says that it has.
    #[default]
    Auto,
    /// So many.
    Depth(Depth),
}

impl Colours {
    /// All of them.
    pub const ALL: [Colours; 5] = [
        Colours::Auto,
        Colours::Depth(Depth::Mono),
        Colours::Depth(Depth::Ansi),
        Colours::Depth(Depth::Indexed),
        Colours::Depth(Depth::True),
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Colours::Auto => "auto",
            Colours::Depth(Depth::Mono) => "none",
            Colours::Depth(Depth::Ansi) => "16",
            Colours::Depth(Depth::Indexed) => "256",
            Colours::Depth(Depth::True) => "true",
        }
    }
}

/// Whether to draw with ASCII alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ascii {
    /// Where the locale is not UTF-8.
    #[default]
    Auto,
    /// Yes.
    Always,
    /// No.
    Never,
}

impl Ascii {
    /// All of them.
    pub const ALL: [Ascii; 3] = [Ascii::Auto, Ascii::Always, Ascii::Never];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Ascii::Auto => "auto",
            Ascii::Always => "true",
            Ascii::Never => "false",
        }
    }
}

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--config`.
    pub file: Option<PathBuf>,
    /// `--theme`.
    pub theme: Option<Scheme>,
    /// `--colours`.
    pub colours: Option<Colours>,
    /// `--ascii`.
    pub ascii: Option<Ascii>,
    /// `--interval`.
    pub interval: Option<Duration>,
    /// `--sort`, as a column.
    pub sort: Option<Column>,
    /// `--limit`.
    pub findings: Vec<Change>,
}

/// What is around the program.
pub struct Surroundings<'a> {
    /// Variables of the environment.
    pub var: &'a dyn Fn(&str) -> Option<String>,
    /// Whose file it is, where we are root: who called sudo, else root. `None` where we are somebody else, who can read no
    /// more than a user can.
    pub reader: Option<Reader>,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nothing else was said.
    Default,
    /// The file.
    File,
    /// This variable of the environment.
    Environment(&'static str),
    /// The command line.
    CommandLine,
}

/// A value, and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    /// It.
    pub value: T,
    /// Where it comes from.
    pub origin: Origin,
}

impl<T> Setting<T> {
    /// The command line's, else the file's, else the usual one.
    fn of(flag: Option<T>, file: Option<T>, usual: T) -> Setting<T> {
        let flag = flag.map(|value| (value, Origin::CommandLine));
        let file = file.map(|value| (value, Origin::File));
        let (value, origin) = flag.or(file).unwrap_or((usual, Origin::Default));
        Setting { value, origin }
    }
}

/// What all of it comes to.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the file is, or would be; `None` where there is no place for one.
    pub path: Option<PathBuf>,
    /// It is there.
    pub found: bool,
    /// The theme.
    pub theme: Setting<Scheme>,
    /// How many colours are wanted.
    pub colours: Setting<Colours>,
    /// How many the terminal is taken to have.
    pub depth: Depth,
    /// Whether ASCII is wanted.
    pub ascii: Setting<Ascii>,
    /// Whether the frame is ASCII.
    pub is_ascii: bool,
    /// What named the locale, and how.
    pub locale: Option<(&'static str, String)>,
    /// The first view.
    pub tab: Setting<Tab>,
    /// The first window.
    pub window: Setting<Window>,
    /// Time between numbers.
    pub interval: Setting<Duration>,
    /// What threads are sorted by at first.
    pub sort: Setting<Column>,
    /// The columns of threads in their order; none for those that fit.
    pub columns: Setting<Vec<Column>>,
    /// Take clicks and the wheel.
    pub mouse: Setting<bool>,
    /// Which keys do what.
    pub keymap: Arc<Keymap>,
    /// The names of the bindings that the file has.
    pub bound: Vec<&'static str>,
    /// What is set of findings, in the order in which it counts.
    pub changes: Vec<Setting<Change>>,
}

impl Config {
    /// What flags, environment and file come to.
    ///
    /// # Errors
    /// When the file cannot be used. One that is not there is none, unless it was named.
    pub fn load(flags: &Flags, around: &Surroundings<'_>) -> Result<Config, Refused> {
        let place = Place::find(flags.file.as_deref(), around);
        let read = place.as_ref().map(|place| place.read(around.reader.as_ref())).transpose()?.flatten();
        let found = read.is_some();
        let path = place.map(|place| place.path);
        let file = match (&path, &read) {
            (Some(path), Some(text)) => File::parse(text).map_err(|wrong| Refused {
                path: path.clone(),
                line: Some(wrong.line),
                why: wrong.why,
            })?,
            _ => File::default(),
        };
        Ok(Config { path, found, ..Config::settle(flags, around.var, file) })
    }

    /// The same of a file that was read.
    fn settle(flags: &Flags, var: &dyn Fn(&str) -> Option<String>, file: File) -> Config {
        let theme = Setting::of(flags.theme, file.theme, Scheme::default());
        let mut colours = Setting::of(flags.colours, file.colours, Colours::default());
        // Whoever asks for colours on the command line wants them now: <https://no-color.org> says that this goes first.
        let asked = flags.theme.is_some() || flags.colours.is_some_and(|colours| colours != Colours::Auto);
        let unwanted = !asked && var(NO_COLOR).is_some_and(|value| !value.is_empty());
        if unwanted {
            colours = Setting { value: Colours::Depth(Depth::Mono), origin: Origin::Environment(NO_COLOR) };
        }
        let depth = match colours.value {
            Colours::Depth(depth) => depth,
            Colours::Auto => Depth::detect(|name| if name == NO_COLOR { None } else { var(name) }),
        };
        let ascii = Setting::of(flags.ascii, file.ascii, Ascii::default());
        let is_ascii = match ascii.value {
            Ascii::Auto => !ascii::utf8_locale(var),
            Ascii::Always => true,
            Ascii::Never => false,
        };
        let dashboard = file.dashboard;
        Config {
            path: None,
            found: false,
            theme,
            colours,
            depth,
            ascii,
            is_ascii,
            locale: ascii::locale(var),
            tab: Setting::of(None, dashboard.tab, Tab::default()),
            window: Setting::of(None, dashboard.window, Window::default()),
            interval: Setting::of(flags.interval, dashboard.interval, INTERVAL),
            sort: Setting::of(flags.sort, dashboard.sort, Sort::default().column),
            columns: Setting::of(None, dashboard.columns, Vec::new()),
            mouse: Setting::of(None, dashboard.mouse, false),
            keymap: Arc::new(file.keys.map),
            bound: file.keys.bound,
            changes: changes(&file.findings.0, &flags.findings),
        }
    }

    /// From which numbers on there are findings.
    pub fn findings(&self) -> Settings {
        Settings::with(self.changes.iter().map(|change| &change.value))
    }

    /// The theme as the terminal can show it.
    pub fn theme(&self) -> Theme {
        Theme::of_scheme(self.theme.value, self.depth)
    }

    /// All but the colours.
    pub fn preferences(&self) -> Preferences {
        Preferences {
            keymap: Arc::clone(&self.keymap),
            ascii: self.is_ascii,
            tab: self.tab.value,
            window: self.window.value,
            sort: Sort::by(self.sort.value),
            columns: self.columns.value.clone(),
            mouse: self.mouse.value,
            findings: self.findings(),
        }
    }

    /// How to draw for this target.
    pub fn options(&self, target: impl Into<String>) -> Options {
        Options { theme: self.theme(), preferences: self.preferences(), ..Options::new(target) }
    }
}

/// Those of the file, and then those of the command line.
fn changes(file: &[Change], flags: &[Change]) -> Vec<Setting<Change>> {
    let of = |all: &[Change], origin| all.iter().map(|value| Setting { value: *value, origin }).collect::<Vec<_>>();
    [of(file, Origin::File), of(flags, Origin::CommandLine)].concat()
}

/// <https://no-color.org>.
const NO_COLOR: &str = "NO_COLOR";

#[cfg(test)]
mod tests;
