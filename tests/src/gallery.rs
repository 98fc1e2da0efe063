//! The pictures of the documentation: each is a fixture, drawn by the dashboard itself.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use numatrace::{
    snapshot::Snapshot,
    tui::{
        Options, UiMessage,
        app::App,
        state::Key,
        theme::{Depth, Theme},
    },
};
use ratatui::{Terminal, backend::TestBackend};

use crate::fixture;
use numatrace::tui::picture::{DARK, svg};

/// One picture.
struct Picture {
    /// Of the file, without `.svg`.
    name: &'static str,
    columns: u16,
    rows: u16,
    /// What the dashboard is told: the fixture with two nodes and memory after so many seconds, one after the other.
    seconds: std::ops::RangeInclusive<u32>,
    /// What is pressed then.
    keys: &'static [Key],
}

/// All of them.
const PICTURES: &[Picture] = &[
    Picture { name: "overview", columns: 120, rows: 26, seconds: 0..=15, keys: &[] },
    Picture { name: "threads", columns: 120, rows: 16, seconds: 0..=1, keys: &[Key::Char('2')] },
    Picture { name: "thread", columns: 120, rows: 46, seconds: 0..=1, keys: &[Key::Char('2'), Key::Enter] },
    Picture { name: "nodes", columns: 120, rows: 20, seconds: 0..=1, keys: &[Key::Char('4')] },
];

/// What mends pictures that are not as they should be.
pub const REMEDY: &str = "`cargo xtask screens` makes the pictures anew";

/// Where the pictures of this repository are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/pictures")
}

/// Makes all, and removes those that are made no longer. Returns what was written.
///
/// # Errors
/// When the folder cannot be written.
pub fn write(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::create_dir_all(folder)?;
    let made = made();
    for name in there(folder)?.iter().filter(|name| !made.contains_key(*name)) {
        fs::remove_file(folder.join(name))?;
    }
    let write = |(name, svg): (&String, &String)| {
        let path = folder.join(name);
        fs::write(&path, svg).map(|()| path)
    };
    made.iter().map(write).collect()
}

/// A sentence for each picture in `folder` that is not what would be made now.
///
/// # Errors
/// When the folder cannot be read.
pub fn complaints(folder: &Path) -> io::Result<Vec<String>> {
    let (made, there) = (made(), there(folder)?);
    let mut complaints = Vec::new();
    for (name, svg) in &made {
        if !there.contains(name) {
            complaints.push(format!("docs/pictures/{name} is missing"));
        } else if fs::read(folder.join(name))? != svg.as_bytes() {
            complaints.push(format!("docs/pictures/{name} is not what the dashboard draws now"));
        }
    }
    let left = there.iter().filter(|name| !made.contains_key(*name));
    complaints.extend(left.map(|name| format!("docs/pictures/{name} is made no longer")));
    Ok(complaints)
}

/// The pictures of the dashboard that are there; curves (`bench --plot`) are measured, not made.
fn there(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".svg") && !name.starts_with("scale-") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The bytes of each, by the name of its file.
fn made() -> BTreeMap<String, String> {
    PICTURES.iter().map(|picture| (format!("{}.svg", picture.name), picture.draw())).collect()
}

impl Picture {
    fn draw(&self) -> String {
        let numbers: Vec<Snapshot> = self.seconds.clone().map(fixture::snapshot_with_memory_after).collect();
        let target = numbers.first().map(|first| first.target.label.clone()).unwrap_or_default();
        let options = Options { theme: Theme::new(Depth::True), ..Options::new(target) };
        let mut app = App::new(&options, self.columns, self.rows);
        numbers.into_iter().for_each(|numbers| app.tell(UiMessage::Snapshot(Arc::new(numbers))));
        self.keys.iter().for_each(|key| _ = app.press(*key));
        let Ok(mut terminal) = Terminal::new(TestBackend::new(self.columns, self.rows));
        let Ok(()) = app.draw(&mut terminal, Instant::now());
        svg(terminal.backend().buffer(), "numatrace", &DARK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_small_well_formed_and_the_same_each_time() {
        let made = made();
        for (name, svg) in &made {
            assert!(svg.len() < 60_000, "{name} has {} bytes", svg.len());
            assert!(roxmltree::Document::parse(svg).is_ok(), "{name} is no XML");
        }
        assert!(made == super::made());
    }

    #[test]
    fn what_is_stale_missing_or_left_over_is_named() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let folder = folder.path().join("pictures");
        assert_eq!(complaints(&folder)?.len(), PICTURES.len());
        write(&folder)?;
        assert_eq!(complaints(&folder)?, Vec::<String>::new());
        fs::write(folder.join("threads.svg"), "<svg/>")?;
        fs::write(folder.join("tables.svg"), "<svg/>")?;
        let wanted = ["threads.svg is not what the dashboard draws now", "tables.svg is made no longer"];
        assert_eq!(complaints(&folder)?, wanted.map(|what| format!("docs/pictures/{what}")));
        write(&folder)?;
        assert!(complaints(&folder)?.is_empty() && !folder.join("tables.svg").exists());
        Ok(())
    }
}
