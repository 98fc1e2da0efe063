//! The file of a recording: new, readable by its owner alone, never through a symbolic link, and never in place of another
//! file unless that is asked for.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::text::display_str;

/// Why there is no file.
#[derive(Debug, Error)]
pub enum CreateError {
    /// Standard output was asked for.
    #[error("a recording cannot go to standard output, for it is written at more than its end: name a file after -o")]
    StandardOutput,
    /// There is one, and it was not to be replaced.
    #[error("{0} exists already: name another file, or replace it with --force")]
    Exists(String),
    /// There is a symbolic link.
    #[error("{0} is a symbolic link, and a recording is never written through one: name the file that is meant")]
    Link(String),
    /// There is a directory, a device or the like.
    #[error("{0} is no regular file, and cannot be replaced by one: name another file")]
    NoFile(String),
    /// The system refuses.
    #[error("cannot create {path}")]
    Io {
        /// Which file.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// A file that is not yet kept: dropping it removes it.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    path: PathBuf,
    /// It replaces the file at `path` when it is kept, and stands here until then.
    temporary: Option<PathBuf>,
    kept: bool,
}

impl NewFile {
    /// Creates it. `owner` is the user and the group that it is given to, where the file system knows such.
    ///
    /// # Errors
    /// [`CreateError`], one sentence.
    pub fn create(path: &Path, force: bool, owner: Option<(u32, u32)>) -> Result<NewFile, CreateError> {
        if path == Path::new("-") {
            return Err(CreateError::StandardOutput);
        }
        let shown = display_str(&path.to_string_lossy());
        let failed = |source| CreateError::Io { path: shown.clone(), source };
        let found = match fs::symlink_metadata(path) {
            Ok(found) => Some(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        let temporary = match found {
            None => None,
            Some(found) if found.is_symlink() => return Err(CreateError::Link(shown)),
            Some(found) if !found.is_file() => return Err(CreateError::NoFile(shown)),
            Some(_) if !force => return Err(CreateError::Exists(shown)),
            Some(_) => {
                let mut name = std::ffi::OsString::from(".");
                name.push(path.file_name().unwrap_or_default());
                name.push(format!(".{}.tmp", std::process::id()));
                Some(path.with_file_name(name))
            }
        };
        // `create_new` is O_EXCL: not through a link either that came since.
        let mut options = File::options();
        options.write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        let file = options.open(temporary.as_deref().unwrap_or(path)).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists if temporary.is_none() => CreateError::Exists(shown.clone()),
            _ => failed(error),
        })?;
        if let Some((user, group)) = owner {
            // SAFETY: the descriptor is open. Some file systems know no owners: then it is whose they say.
            let _ = unsafe { libc::fchown(file.as_raw_fd(), user, group) };
        }
        Ok(NewFile { file, path: path.to_owned(), temporary, kept: false })
    }

    /// The same file once more, to be written.
    ///
    /// # Errors
    /// When there can be no more open files.
    pub fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// It still stands under its name.
    pub fn is_there(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        let place = self.temporary.as_deref().unwrap_or(&self.path);
        match (self.file.metadata(), fs::symlink_metadata(place)) {
            (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
            _ => false,
        }
    }

    /// From now on it stays, in place of what was there.
    ///
    /// # Errors
    /// When it cannot take the place of the other file.
    pub fn keep(&mut self) -> Result<(), CreateError> {
        if let Some(temporary) = &self.temporary {
            let path = display_str(&self.path.to_string_lossy());
            fs::rename(temporary, &self.path).map_err(|source| CreateError::Io { path, source })?;
        }
        self.temporary = None;
        self.kept = true;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.kept {
            // Nothing more can be done about a file that cannot be removed.
            let _ = fs::remove_file(self.temporary.as_deref().unwrap_or(&self.path));
        }
    }
}
