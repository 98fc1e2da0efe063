//! What the screen shows, as files: text, and a picture.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use jiff::Zoned;
use ratatui::buffer::{Buffer, Cell};

use super::picture::{self, Window};
use crate::recording::create::{CreateError, NewFile};

/// Files that one second can have.
const MOST: u32 = 99;

/// Where files go, and whose they are.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// The folder.
    pub folder: PathBuf,
    /// User and group, where they are not those of this process.
    pub owner: Option<(u32, u32)>,
}

impl Place {
    /// The whole path of the folder, as far as it can be told.
    pub fn name(&self) -> String {
        let folder = if self.folder.as_os_str().is_empty() { Path::new(".") } else { &self.folder };
        let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        crate::text::display_str(&whole.to_string_lossy())
    }
}

/// Writes `screen` as text and as the SVG of a window, named by the time; returns what the two names have in common. New files always: another one is never
/// replaced, and neither is written through a link.
///
/// # Errors
/// Why they cannot be written, as a part of a sentence.
pub fn save(screen: &Buffer, window: &Window, place: &Place, now: &Zoned) -> Result<String, String> {
    let time = now.strftime("numatrace-%Y%m%d-%H%M%S").to_string();
    let contents = [("txt", text(screen)), ("svg", picture::svg(screen, "numatrace", window))];
    for more in 1..=MOST {
        let stem = if more == 1 { time.clone() } else { format!("{time}-{more}") };
        let [text, svg] = contents.each_ref().map(|(extension, _)| place.folder.join(format!("{stem}.{extension}")));
        let texts = NewFile::create(&text, false, place.owner);
        let pictures = NewFile::create(&svg, false, place.owner);
        let (mut texts, mut pictures) = match (texts, pictures) {
            (Ok(texts), Ok(pictures)) => (texts, pictures),
            (Err(CreateError::Exists(_)), _) | (_, Err(CreateError::Exists(_))) if more < MOST => continue,
            (Err(error), _) | (_, Err(error)) => return Err(why(error)),
        };
        fill(&texts, &text, &contents[0].1)?;
        fill(&pictures, &svg, &contents[1].1)?;
        texts.keep().and_then(|()| pictures.keep()).map_err(why)?;
        return Ok(stem);
    }
    Err(format!("{time} and {MOST} more names are taken"))
}

/// As a recording says it, but for what a screen has no flags for.
fn why(error: CreateError) -> String {
    match error {
        CreateError::Exists(path) => format!("{path} exists already"),
        CreateError::Link(path) => format!("{path} is a symbolic link"),
        CreateError::NoFile(path) => format!("{path} is no regular file"),
        error => format!("{:#}", anyhow::Error::new(error)),
    }
}

fn fill(file: &NewFile, path: &Path, content: &str) -> Result<(), String> {
    let written = file.file().and_then(|mut file| file.write_all(content.as_bytes()));
    written.map_err(|source| format!("cannot write {}: {source}", crate::text::display_str(&path.to_string_lossy())))
}

/// Lines without the blanks at their ends.
pub fn text(screen: &Buffer) -> String {
    let width = usize::from(screen.area.width.max(1));
    let mut out = String::with_capacity(screen.content.len() * 2);
    for line in screen.content.chunks(width) {
        let mut at = 0;
        let start = out.len();
        while let Some(cell) = line.get(at) {
            out.push_str(cell.symbol());
            // What a wide character covers has a cell, but nothing in it.
            at += columns(cell);
        }
        let end = start + out[start..].trim_end().len();
        out.truncate(end);
        out.push('\n');
    }
    out
}

fn columns(cell: &Cell) -> usize {
    crate::text::width(cell.symbol()).max(1)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use ratatui::layout::Rect;
    use ratatui::style::Style;

    use super::*;

    fn screen() -> Buffer {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 8, 2));
        buffer.set_string(0, 0, "a日b", Style::new());
        buffer.set_string(1, 1, "<&>", Style::new());
        buffer
    }

    fn now() -> Zoned {
        "2026-11-21T10:21:46+02:00[+02:00]".parse().expect("a time")
    }

    #[test]
    fn text_has_the_characters_and_no_blanks_at_its_ends() {
        assert_eq!(text(&screen()), "a日b\n <&>\n");
    }

    #[test]
    fn files_are_new_private_and_never_in_place_of_another() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let place = Place { folder: folder.path().to_owned(), owner: None };
        let first = save(&screen(), &picture::DARK, &place, &now()).expect("files");
        assert_eq!(first, "numatrace-20261121-102146");
        fs::remove_file(folder.path().join(first + ".svg")).expect("a file");
        let second = save(&screen(), &picture::DARK, &place, &now()).expect("files");
        assert_eq!(second, "numatrace-20261121-102146-2");
        let path = folder.path().join(second + ".svg");
        assert!(fs::read_to_string(&path).expect("a file").starts_with("<svg"));
        assert_eq!(fs::metadata(path).expect("a file").permissions().mode() & 0o777, 0o600);
        assert_eq!(
            fs::read_dir(folder.path()).expect("a folder").count(),
            3,
            "of the attempt that failed nothing is left"
        );
    }

    #[test]
    fn a_folder_that_is_not_there_is_one_sentence() {
        let place = Place { folder: "/nowhere/at/all".into(), owner: None };
        let error = save(&screen(), &picture::DARK, &place, &now()).expect_err("no folder");
        assert!(error.contains("cannot create /nowhere/at/all/numatrace-2026"), "{error}");
    }
}
