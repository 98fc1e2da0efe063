//! The tarball, and the checksums of everything. Sorted, one time for all files, owned by root: the same contents give the same bytes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{
    Release,
    contents::{Contents, FILE, PROGRAM, Tree},
    folder, write,
};
use crate::{
    shell::{command, run},
    source_hash::sha256_hex,
};

/// Makes `numatrace-VERSION-ARCH.tar.gz` in `out`.
pub(super) fn tarball(release: &Release, contents: &Contents, out: &Path) -> Result<PathBuf> {
    let name = release.name();
    let parent = folder().join("tar");
    let mut tree = Tree::new(parent.join(&name))?;
    tree.add("numatrace", &contents.program, PROGRAM)?;
    for (page, bytes) in &contents.pages {
        tree.add(format!("man/{page}"), bytes, FILE)?;
    }
    for (shell, script) in &contents.completions {
        tree.add(format!("completions/{}", completion(shell)), script, FILE)?;
    }
    tree.add("numatrace.service", &contents.unit, FILE)?;
    for (document, bytes) in &contents.documents {
        tree.add(document.as_str(), bytes, FILE)?;
    }
    tree.add("THIRD-PARTY", &contents.third_party, FILE)?;
    let path = out.join(format!("{name}.tar.gz"));
    let mut tar = command("tar");
    tar.args(["--sort=name", "--format=ustar", "--owner=root:0", "--group=root:0"]);
    tar.arg(format!("--mtime=@{}", release.epoch)).args(["--use-compress-program=gzip -9n", "--create", "--file"]);
    run(tar.arg(&path).arg("--directory").arg(&parent).arg(&name))?;
    Ok(path)
}

/// What a completion script is called where its shell looks for it.
pub(super) fn completion(shell: &str) -> &'static str {
    match shell {
        "bash" => "numatrace",
        "zsh" => "_numatrace",
        _ => "numatrace.fish",
    }
}

/// Writes SHA256SUMS of `files`, all of which are in `out`, for `sha256sum --check`.
pub(super) fn checksums(files: &[PathBuf], out: &Path) -> Result<PathBuf> {
    let mut lines = Vec::new();
    for file in files {
        let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        lines.push(format!("{}  {name}\n", sha256_hex(&bytes)));
    }
    let path = out.join("SHA256SUMS");
    write(&path, lines.concat().as_bytes())?;
    Ok(path)
}
