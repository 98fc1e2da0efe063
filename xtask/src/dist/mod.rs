//! `cargo xtask dist`: what people install, made below target/dist: one static program, a Debian package, a tarball, the crates, notes and
//! checksums.
//!
//! [`binary`] compiles, [`contents`] says what goes where, [`deb`] and [`archive`] pack it, [`crates`] makes the crates, [`notes`] cuts the
//! notes out of the changelog. [`check`] is the test leg: it installs, runs and purges the package in a [`debian_root`].

mod archive;
mod binary;
pub mod check;
mod contents;
mod crates;
mod deb;
mod debian_root;
mod notes;
mod third_party;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use self::contents::Contents;
use crate::shell::{command, output, root, say, which};

/// How numatrace is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Profile {
    /// For people: optimized
    Release,
    /// For tests of the packages: compiled sooner, slower
    Dev,
}

/// What all that is made has in common.
#[derive(Clone, Debug)]
struct Release {
    version: String,
    profile: Profile,
    /// As rustc calls it.
    arch: &'static str,
    /// Seconds since 1970 that files in archives are given: those of the last commit.
    epoch: u64,
    /// Name and address, as Debian writes them.
    maintainer: String,
}

/// Makes everything below target/dist.
pub fn dist(profile: Profile) -> Result<()> {
    needed(&["dpkg-deb", "tar", "gzip", "md5sum"])?;
    let release = Release::of_checkout(profile)?;
    let out = folder();
    let program = binary::build(profile)?;
    crates::package()?;
    let made = pack(&release, &program, &out)?;
    for path in &made {
        let size = fs::metadata(path).with_context(|| format!("cannot look at {}", path.display()))?.len();
        say(format!("{} ({size} bytes)", path.display()));
    }
    Ok(())
}

/// Where all of it goes; whatever is only a step on the way has a folder below.
fn folder() -> PathBuf {
    root().join("target/dist")
}

/// Packs what was built into `out`, and returns the files, checksums last. The same input gives the same bytes.
fn pack(release: &Release, program: &Path, out: &Path) -> Result<Vec<PathBuf>> {
    make_folder(out)?;
    let contents = Contents::of(program)?;
    let plain = out.join(release.name());
    fs::copy(program, &plain).with_context(|| format!("cannot copy {} to {}", program.display(), plain.display()))?;
    let notes = out.join("RELEASE_NOTES.md");
    write(&notes, notes::cut(&read_text("CHANGELOG.md")?, &release.version)?.as_bytes())?;
    let mut made = vec![plain, archive::tarball(release, &contents, out)?, deb::build(release, &contents, out)?];
    made.extend(crates::copy_to(release, out)?);
    made.push(notes);
    made.push(archive::checksums(&made, out)?);
    Ok(made)
}

impl Release {
    fn of_checkout(profile: Profile) -> Result<Self> {
        if let Ok(changes) = output(command("git").args(["status", "--porcelain"]))
            && !changes.is_empty()
        {
            say("the working tree has changes that no commit has; they will be in the packages");
        }
        Ok(Self { version: version()?, profile, arch: env::consts::ARCH, epoch: epoch()?, maintainer: maintainer()? })
    }

    /// `numatrace-0.1.0-x86_64`.
    fn name(&self) -> String {
        format!("numatrace-{}-{}", self.version, self.arch)
    }
}

fn version() -> Result<String> {
    let text = output(command("cargo").args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&text).context("cargo's metadata is not JSON")?;
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let numatrace = packages.iter().find(|package| package["name"] == "numatrace");
    let version = numatrace.and_then(|package| package["version"].as_str());
    Ok(version.context("cargo knows no package numatrace here")?.to_owned())
}

/// The time of the last commit, unless SOURCE_DATE_EPOCH names another.
fn epoch() -> Result<u64> {
    let text = match env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text,
        Err(_) => output(command("git").args(["log", "-1", "--format=%ct"]))
            .context("no commit to take the time of files from: set SOURCE_DATE_EPOCH to seconds since 1970")?,
    };
    text.trim().parse().with_context(|| format!("SOURCE_DATE_EPOCH is no number of seconds: {:?}", text.trim()))
}

/// Who makes the package: DEBFULLNAME and DEBEMAIL, as Debian's own tools read them, else the author of the last commit.
fn maintainer() -> Result<String> {
    let given = match (env::var("DEBFULLNAME"), env::var("DEBEMAIL")) {
        (Ok(name), Ok(address)) => format!("{name} <{address}>"),
        _ => output(command("git").args(["log", "-1", "--format=%an <%ae>"]))
            .context("no commit to take the maintainer from: set DEBFULLNAME and DEBEMAIL")?,
    };
    let given = given.trim();
    if given.chars().any(char::is_control) {
        bail!("the maintainer's name has a control character in it: {given:?}");
    }
    Ok(given.to_owned())
}

fn needed(programs: &[&str]) -> Result<()> {
    match programs.iter().find(|program| which(program).is_none()) {
        Some(absent) => bail!("there is no `{absent}` here: install your distribution's package with it"),
        None => Ok(()),
    }
}

fn read_text(name: &str) -> Result<String> {
    fs::read_to_string(root().join(name)).with_context(|| format!("cannot read {name}"))
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

fn make_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))
}

/// An empty folder, whatever was there before.
fn empty_folder(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_dir_all(path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    make_folder(path)
}

/// Runs a command and returns the bytes that it printed.
fn bytes_of(command: &mut Command) -> Result<Vec<u8>> {
    Ok(output(command)?.into_bytes())
}
