//! `-o FILE`, and how text looks. The report at the end of a run: Opened before anything is attached, so that a wrong path fails at once;
//! written beside the file and renamed, so that a run that fails leaves what was there. Whoever we become when tracing begins has to be
//! able to do that: where they are not, the file is opened before.

use std::{
    fs::{self, File},
    io::{self, BufWriter, IsTerminal, Write},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::ColorChoice;

use crate::{
    report::{SortKey, text::TextOptions},
    rights::{self, Role},
    text,
};

/// How a text report looks: as wide as the terminal, where it goes to one.
pub fn text_options(color: ColorChoice, sort: SortKey, top: usize, to_stdout: bool) -> TextOptions {
    let to_terminal = to_stdout && io::stdout().is_terminal();
    let color = match color {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => to_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    };
    let width = if to_terminal { crossterm::terminal::size().map_or(120, |(columns, _)| columns) } else { 120 };
    TextOptions { top, sort, width: usize::from(width), color }
}

/// Where the report goes.
pub enum OutputFile {
    /// Nowhere: `-o` was not given.
    None,
    /// `-o -`.
    Stdout,
    /// A device, a pipe: written as it is.
    InPlace(PathBuf, File),
    /// A regular file, new or replaced.
    Beside(Beside),
    /// A regular file that is written where it is, because who we become may make no other in its place.
    Over(Over),
}

/// A file that is open and written at the end; dropping it before removes it if it is new.
pub struct Over {
    path: PathBuf,
    file: File,
    new: bool,
}

impl Drop for Over {
    fn drop(&mut self) {
        if self.new {
            // Nothing more can be done about a file that cannot be removed.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A file that is not yet what it will be; dropping it removes it.
pub struct Beside {
    path: PathBuf,
    temporary: PathBuf,
    file: Option<File>,
}

impl Drop for Beside {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // Nothing more can be done about a file that cannot be removed.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

impl OutputFile {
    /// Opens it.
    ///
    /// # Errors
    /// One sentence that names the path.
    pub fn open(path: Option<&Path>) -> anyhow::Result<OutputFile> {
        let Some(path) = path else { return Ok(OutputFile::None) };
        if path == Path::new("-") {
            return Ok(OutputFile::Stdout);
        }
        let failed = || format!("cannot create {}", shown(path));
        match fs::metadata(path) {
            Ok(found) if !found.is_file() => {
                let file = File::options().write(true).open(path).with_context(failed)?;
                Ok(OutputFile::InPlace(path.to_owned(), file))
            }
            _ => {
                // A link is followed, so that it stays one.
                let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
                let mut name = path.file_name().unwrap_or_default().to_owned();
                name.push(format!(".{}.tmp", std::process::id()));
                let temporary = path.with_file_name(name);
                match create(&path, &temporary).with_context(failed)? {
                    Some(file) => Ok(OutputFile::Beside(Beside { path, temporary, file: Some(file) })),
                    None => Ok(OutputFile::Over(over(path).with_context(failed)?)),
                }
            }
        }
    }

    /// No file was asked for.
    pub fn is_none(&self) -> bool {
        matches!(self, OutputFile::None)
    }

    /// Writes what `write` writes, and puts it in place.
    ///
    /// # Errors
    /// One sentence that names the path; then what was there before still is.
    pub fn finish(self, write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>) -> anyhow::Result<()> {
        match self {
            OutputFile::None => Ok(()),
            OutputFile::Stdout => write(&mut io::stdout().lock()).context("cannot write to standard output"),
            OutputFile::InPlace(path, mut file) => write(&mut file).with_context(|| cannot_write(&path)),
            OutputFile::Beside(mut beside) => {
                let file = beside.file.as_ref().context("the file was written already")?;
                let mut out = BufWriter::new(file);
                write(&mut out)
                    .and_then(|()| Ok(out.flush()?))
                    .and_then(|()| Ok(file.sync_all()?))
                    .and_then(|()| Ok(fs::rename(&beside.temporary, &beside.path)?))
                    .with_context(|| cannot_write(&beside.path))?;
                drop(out);
                // In place: nothing to remove any more.
                beside.file = None;
                Ok(())
            }
            OutputFile::Over(mut over) => {
                // First all of it, so that what was there is lost to no half report.
                let mut text = Vec::new();
                write(&mut text)
                    .and_then(|()| Ok(over.file.write_all(&text)?))
                    .and_then(|()| Ok(over.file.set_len(text.len() as u64)?))
                    .and_then(|()| Ok(over.file.sync_all()?))
                    .with_context(|| cannot_write(&over.path))?;
                over.new = false;
                Ok(())
            }
        }
    }
}

/// A new file, made by whom we become, so that it is theirs and they can put it in place of `path`. `None` where they may not.
fn create(path: &Path, temporary: &Path) -> io::Result<Option<File>> {
    // SAFETY: no preconditions.
    let uid = rights::who().map_or_else(|| unsafe { libc::geteuid() }, |user| user.uid);
    if is_anothers(path, uid) {
        return Ok(None);
    }
    let temporary = temporary.to_owned();
    match rights::with_those_of(Role::Write, move || File::options().write(true).create_new(true).open(temporary))? {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
        other => other.map(Some),
    }
}

/// A file of another user in another's folder where everybody replaces their own files alone, such as /tmp.
fn is_anothers(path: &Path, uid: u32) -> bool {
    const STICKY: u32 = 0o1000;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (Ok(file), Ok(folder)) = (fs::symlink_metadata(path), fs::metadata(folder)) else { return false };
    folder.mode() & STICKY != 0 && folder.uid() != uid && file.uid() != uid
}

/// Opened while we are root. Not through a link, and nothing but a regular file: somebody may have put that there since.
fn over(path: PathBuf) -> io::Result<Over> {
    let open = |options: &mut fs::OpenOptions| {
        options.write(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(&path)
    };
    let (file, new) = match open(File::options().create_new(true)) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => (open(&mut File::options())?, false),
        other => (other?, true),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    if let Some(user) = rights::who().filter(|_| new) {
        // Some file systems know no owners: then it is whose they say.
        let _ = std::os::unix::fs::fchown(&file, Some(user.uid), Some(user.gid));
    }
    Ok(Over { path, file, new })
}

fn shown(path: &Path) -> String {
    text::display_str(&path.to_string_lossy())
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write {}", shown(path))
}
