//! What both packages hold: the program, its pages, its completions, the unit and the documents.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::{bytes_of, empty_folder, make_folder, third_party, write};
use crate::shell::{command, output, root};

/// Read once, packed twice.
pub(super) struct Contents {
    pub program: Vec<u8>,
    /// File names and contents: `numatrace-record.1`.
    pub pages: Vec<(String, Vec<u8>)>,
    /// Shell and script.
    pub completions: Vec<(&'static str, Vec<u8>)>,
    pub unit: Vec<u8>,
    /// Paths in the repository and contents: README, changelog, licences, docs/, deploy/.
    pub documents: Vec<(String, Vec<u8>)>,
    /// Licences of what is linked into the program.
    pub third_party: Vec<u8>,
}

const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];
/// What of the repository is for people who have no checkout.
const DOCUMENTS: [&str; 8] =
    ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "SECURITY.md", "LICENSE-MIT", "LICENSE-APACHE", "deploy", "docs"];

impl Contents {
    /// Asks `program` itself for pages and completions, so that they are of this very version.
    pub(super) fn of(program: &Path) -> Result<Self> {
        let dir = super::folder().join("pages");
        empty_folder(&dir)?;
        output(command(program).arg("man").arg("--dir").arg(&dir))?;
        let completions =
            SHELLS.map(|shell| bytes_of(command(program).args(["completions", shell])).map(|script| (shell, script)));
        Ok(Self {
            program: read(program)?,
            pages: pages(&dir)?,
            completions: completions.into_iter().collect::<Result<_>>()?,
            unit: read(&root().join("deploy/numatrace.service"))?,
            documents: documents()?,
            third_party: third_party::notices()?,
        })
    }
}

fn pages(dir: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut pages = Vec::new();
    for entry in dir.read_dir().with_context(|| format!("cannot list {}", dir.display()))? {
        let entry = entry?;
        pages.push((entry.file_name().to_string_lossy().into_owned(), read(&entry.path())?));
    }
    pages.sort();
    if !pages.iter().any(|(name, _)| name == "numatrace.1") {
        bail!("numatrace wrote no page numatrace.1 into {}", dir.display());
    }
    Ok(pages)
}

/// Only what git knows: an editor's leftovers are no documents.
fn documents() -> Result<Vec<(String, Vec<u8>)>> {
    let names = output(command("git").args(["ls-files", "-z", "--"]).args(DOCUMENTS))?;
    let names = names.split('\0').filter(|name| !name.is_empty());
    names.map(|name| Ok((name.to_owned(), read(&root().join(name))?))).collect()
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// A folder that is filled and then packed. Modes are set, whatever the umask.
pub(super) struct Tree {
    root: PathBuf,
    files: Vec<String>,
}

pub(super) const FILE: u32 = 0o644;
pub(super) const PROGRAM: u32 = 0o755;

impl Tree {
    pub(super) fn new(root: PathBuf) -> Result<Self> {
        empty_folder(&root)?;
        mode(&root, PROGRAM)?;
        Ok(Self { root, files: Vec::new() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.root
    }

    /// Files in the order in which they came.
    pub(super) fn files(&self) -> &[String] {
        &self.files
    }

    /// Adds a file, and the folders that lead to it.
    pub(super) fn add(&mut self, name: impl Into<String>, bytes: &[u8], file_mode: u32) -> Result<()> {
        let name = name.into();
        let path = self.root.join(&name);
        let folders: Vec<&Path> = path.ancestors().skip(1).take_while(|folder| **folder != self.root).collect();
        for folder in folders.into_iter().rev() {
            make_folder(folder)?;
            mode(folder, PROGRAM)?;
        }
        write(&path, bytes)?;
        mode(&path, file_mode)?;
        self.files.push(name);
        Ok(())
    }
}

fn mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .with_context(|| format!("cannot set the mode of {}", path.display()))
}
