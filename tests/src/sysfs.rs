//! Machines that are not here: expands `fixtures/sysfs/NAME.txt` into a directory tree that looks like `/sys`.
//!
//! A fixture has one `path: content` a line; a path that ends with `/` is an empty directory. `cpu/` and `node/`
//! are below `sys/devices/system/`, `proc/` is beside `sys/`.

use std::fs;
use std::path::{Path, PathBuf};

/// A machine as a directory, removed when dropped.
pub struct FakeSys {
    dir: tempfile::TempDir,
}

impl FakeSys {
    /// The machine of `fixtures/sysfs/NAME.txt`.
    ///
    /// # Panics
    /// When the fixture is missing or malformed.
    pub fn fixture(name: &str) -> FakeSys {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/sysfs/{name}.txt"));
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        FakeSys::new(&text)
    }

    /// The machine that `text` describes.
    ///
    /// # Panics
    /// When a line is malformed or the disk is full.
    pub fn new(text: &str) -> FakeSys {
        let sys = FakeSys { dir: tempfile::tempdir().expect("a temporary directory") };
        fs::create_dir_all(sys.root()).expect("a directory");
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
            if let Some(path) = line.strip_suffix('/') {
                fs::create_dir_all(sys.path(path)).expect("a directory");
            } else {
                let (path, content) = line.split_once(':').unwrap_or_else(|| panic!("no ':' in {line:?}"));
                sys.write(path, &format!("{}\n", content.trim_start()));
            }
        }
        sys
    }

    /// Writes one file, as named in a fixture, over what is there.
    ///
    /// # Panics
    /// When it cannot.
    pub fn write(&self, path: &str, content: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("a directory");
        fs::write(&path, content).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }

    /// Removes one file, as named in a fixture.
    ///
    /// # Panics
    /// When it is not there.
    pub fn remove(&self, path: &str) {
        fs::remove_file(self.path(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    }

    /// What stands for `/sys`.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("sys")
    }

    fn path(&self, path: &str) -> PathBuf {
        if path.starts_with("proc/") {
            self.dir.path().join(path)
        } else {
            self.root().join("devices/system").join(path)
        }
    }
}
