//! Where an export goes: standard output, a new file, or files in a folder.

use std::{
    fs,
    io::{self, BufWriter, IsTerminal, Write},
    os::unix::fs::DirBuilderExt,
    path::Path,
};

use anyhow::Context;

use crate::{
    cli::{ExportArgs, ExportFormat},
    commands::recording::owner,
    recording::create::NewFile,
    text,
};

/// See the module.
pub enum Place {
    /// Standard output.
    Stdout,
    /// A file, which is removed again unless it is kept, and its name as it is shown.
    File(NewFile, String),
}

/// Bytes that are written at once.
const BUFFER: usize = 1 << 16;

impl Place {
    /// Opens it; `None` and `-` are standard output.
    ///
    /// # Errors
    /// One sentence that names the file.
    pub fn open(path: Option<&Path>, force: bool) -> anyhow::Result<Place> {
        match path {
            None => Ok(Place::Stdout),
            Some(path) if path == Path::new("-") => Ok(Place::Stdout),
            Some(path) => {
                Ok(Place::File(NewFile::create(path, force, owner())?, text::display_str(&path.to_string_lossy())))
            }
        }
    }

    /// Somebody would see the bytes.
    pub fn is_terminal(&self) -> bool {
        matches!(self, Place::Stdout) && io::stdout().is_terminal()
    }

    /// As it is called in sentences.
    pub fn name(&self) -> String {
        match self {
            Place::Stdout => "standard output".into(),
            Place::File(_, name) => name.clone(),
        }
    }

    /// To be written to.
    ///
    /// # Errors
    /// When there can be no more open files.
    pub fn writer(&self) -> anyhow::Result<Box<dyn Write + Send>> {
        Ok(match self {
            Place::Stdout => Box::new(BufWriter::with_capacity(BUFFER, io::stdout())),
            Place::File(file, name) => {
                let file = file.file().with_context(|| format!("cannot write {name}"))?;
                Box::new(BufWriter::with_capacity(BUFFER, file))
            }
        })
    }

    /// All is written: the file stays.
    ///
    /// # Errors
    /// When it cannot take the place of the file that was there.
    pub fn keep(self) -> anyhow::Result<()> {
        match self {
            Place::Stdout => Ok(()),
            Place::File(mut file, _) => Ok(file.keep()?),
        }
    }
}

/// The folder that both tables go to, where that is asked for.
pub fn folder(args: &ExportArgs, format: ExportFormat) -> Option<&Path> {
    let path = args.output.as_deref()?;
    let both = format == ExportFormat::Parquet && args.table.is_none() && path != Path::new("-");
    (both && ExportFormat::of_name(path) != Some(ExportFormat::Parquet)).then_some(path)
}

/// Makes a folder, and those above it, unless it is there: as private as the files in it. Says whether it was made.
///
/// # Errors
/// One sentence that names the folder.
pub fn make_folder(folder: &Path) -> anyhow::Result<bool> {
    if folder.is_dir() {
        return Ok(false);
    }
    fs::DirBuilder::new().mode(0o700).recursive(true).create(folder).with_context(|| {
        let shown = text::display_str(&folder.to_string_lossy());
        format!("cannot make the folder {shown} (for one table, name a file that ends with .parquet)")
    })?;
    if let Some((user, group)) = owner() {
        // Some file systems know no owners: then it is whose they say.
        let _ = std::os::unix::fs::chown(folder, Some(user), Some(group));
    }
    Ok(true)
}
