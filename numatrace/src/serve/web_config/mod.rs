//! TLS and basic authentication, from a file in the format that Prometheus' exporters share: `web-configuration.md` of
//! `prometheus/exporter-toolkit`. What of it is not supported is refused, never ignored.
//!
//! The files are read again when they change, so that certificates can be renewed. A new file that cannot be used leaves the old one in
//! force, and so does one without the protection that the old one had: a half-written file opens nothing.

mod file;
mod tls;

use std::{
    fs, io,
    io::Write,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use hyper::header::{HeaderName, HeaderValue};

use super::auth::Auth;
use crate::text::{display_str, visible};

/// Between two looks at whether files have changed.
const LOOK: Duration = Duration::from_secs(1);
/// Bytes of a file at most.
const LARGEST: u64 = 1 << 20;

/// Why a web configuration cannot be used, in a sentence with its path.
#[derive(Debug, thiserror::Error)]
#[error("web configuration {path}: {what}")]
pub struct WebConfigError {
    path: String,
    what: String,
}

/// What is in force.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// `None`: plain HTTP.
    pub(super) tls: Option<tls::Tls>,
    /// `None`: anyone may ask.
    pub(super) auth: Option<Arc<Auth>>,
    /// Headers that each answer has.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
}

/// A web configuration, and the files that it came from.
#[derive(Debug, Default)]
pub struct WebConfig {
    /// `None`: neither TLS nor authentication.
    path: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    loaded: Arc<Loaded>,
    /// The files as they were when they were last read, readable or not.
    stamps: Stamps,
    looked: Option<Instant>,
}

/// By what a file is known to be as it was.
type Stamp = (u64, u64, u64, i64, i64, i64, i64);

/// Files as they were; `None`: there was none that could be read.
type Stamps = Vec<(PathBuf, Option<Stamp>)>;

impl WebConfig {
    /// Reads the file and those that it names.
    ///
    /// # Errors
    /// When one cannot be read, or says what is not known or not supported.
    pub fn open(path: &Path) -> Result<WebConfig, WebConfigError> {
        let (outcome, stamps) = load(path, None);
        let loaded = Arc::new(outcome.map_err(|what| error(path, &what))?);
        let state = State { loaded, stamps, looked: Some(Instant::now()) };
        Ok(WebConfig { path: Some(path.to_owned()), state: Mutex::new(state) })
    }

    /// Whether it is HTTPS that is spoken.
    pub fn has_tls(&self) -> bool {
        self.current().tls.is_some()
    }

    /// What is in force now.
    pub(super) fn current(&self) -> Arc<Loaded> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = &self.path
            && state.looked.is_none_or(|at| at.elapsed() >= LOOK)
        {
            state.looked = Some(Instant::now());
            if state.stamps.iter().any(|(path, before)| stamp(path) != *before) {
                state.read_again(path);
            }
        }
        Arc::clone(&state.loaded)
    }
}

impl State {
    fn read_again(&mut self, path: &Path) {
        let (outcome, stamps) = load(path, self.loaded.auth.as_ref());
        let outcome = outcome.and_then(|new| match (&*self.loaded, &new) {
            (Loaded { tls: Some(_), .. }, Loaded { tls: None, .. }) => Err("tls_server_config is gone".to_owned()),
            (Loaded { tls: Some(old), .. }, Loaded { tls: Some(new), .. }) if new.client_auth < old.client_auth => {
                Err(format!("client_auth_type asks for less than {:?}", old.client_auth))
            }
            (Loaded { auth: Some(_), .. }, Loaded { auth: None, .. }) => Err("basic_auth_users is gone".to_owned()),
            _ => Ok(new),
        });
        // Also when it cannot be used: that is said once for each state of the files.
        self.stamps = stamps;
        match outcome {
            Ok(loaded) => self.loaded = Arc::new(loaded),
            Err(what) => {
                let error = error(path, &what);
                // A closed standard error is no reason to end.
                let _ = writeln!(
                    io::stderr(),
                    "numatrace: {error}; what was read before stays in force until it is mended or serve is started anew"
                );
            }
        }
    }
}

fn error(path: &Path, what: &str) -> WebConfigError {
    // What YAML's and TLS's errors say is one line each, and repeats what is in the files.
    let what = visible(&what.split_whitespace().collect::<Vec<_>>().join(" "));
    WebConfigError { path: display_str(&path.to_string_lossy()), what }
}

/// What the files say, and how they were before they were read. `old` is kept where its users are the same: so it still knows who
/// was right and how many were wrong, though a certificate was renewed.
fn load(path: &Path, old: Option<&Arc<Auth>>) -> (Result<Loaded, String>, Stamps) {
    let mut stamps = vec![(path.to_owned(), stamp(path))];
    let parsed = read(path).map_err(|why| format!("it {why}")).and_then(|bytes| file::parse(&bytes));
    let outcome = parsed.and_then(|parsed| {
        let folder = path.parent().unwrap_or(Path::new(""));
        stamps.extend(parsed.files().map(|file| folder.join(file)).map(|file| (file.clone(), stamp(&file))));
        parsed.load(folder, old)
    });
    (outcome, stamps)
}

fn stamp(path: &Path) -> Option<Stamp> {
    let of = fs::metadata(path).ok()?;
    Some((of.dev(), of.ino(), of.len(), of.mtime(), of.mtime_nsec(), of.ctime(), of.ctime_nsec()))
}

/// A file's bytes, or why not: the end of a sentence that begins with its name.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let cannot = |error: io::Error| format!("cannot be read: {error}");
    let of = fs::metadata(path).map_err(cannot)?;
    if !of.is_file() {
        return Err("is no file".into());
    }
    if of.len() > LARGEST {
        return Err(format!("is larger than {LARGEST} bytes"));
    }
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(fs::File::open(path).map_err(cannot)?, LARGEST), &mut bytes)
        .map_err(cannot)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_users_are_known_after_another_look() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.yml");
        let hashes = ["a", "b"].map(|password| bcrypt::hash(password, 4).unwrap());
        let write =
            |more: &str, hash: &str| fs::write(&path, format!("{more}basic_auth_users:\n  alice: {hash}\n")).unwrap();
        write("", &hashes[0]);
        let config = WebConfig::open(&path).unwrap();
        let again = || {
            let mut state = config.state.lock().unwrap();
            state.read_again(&path);
            (state.loaded.auth.clone().unwrap(), state.loaded.headers.len())
        };
        let first = config.current().auth.clone().unwrap();
        write("http_server_config: {headers: {X-Frame-Options: deny}}\n", &hashes[0]);
        let (same, headers) = again();
        assert!(Arc::ptr_eq(&first, &same));
        assert_eq!(headers, 1);
        write("", &hashes[1]);
        assert!(!Arc::ptr_eq(&first, &again().0));
    }
}
