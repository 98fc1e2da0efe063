//! The crates as crates.io would get them, and whether they build alone: without the repository around them, with stable Rust, and without
//! any of LLVM's tools.

use std::{
    env, fs,
    os::unix::fs::{DirBuilderExt as _, symlink},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::{Profile, Release, binary, empty_folder, folder};
use crate::shell::{command, output, run, say, shown, which};

/// In the order in which they would be published.
const CRATES: [&str; 2] = ["numatrace-common", "numatrace"];
/// What building takes beside cargo and rustc: a C compiler and its helpers, for zstd and ring.
const TOOLS: [&str; 10] = ["cargo", "rustc", "cc", "gcc", "as", "ld", "ar", "ranlib", "sh", "env"];

/// Makes the `.crate` files, for [`copy_to`].
pub(super) fn package() -> Result<()> {
    let mut cargo = command("cargo");
    // Dirty files are told of before; whether the crates build is `verify`'s.
    cargo.args(["package", "--locked", "--no-verify", "--allow-dirty", "--quiet"]);
    cargo.args(CRATES.iter().flat_map(|name| ["--package", name])).env("CARGO_TARGET_DIR", binary::target_dir());
    say(format!("running `{}`", shown(&cargo)));
    run(&mut cargo)
}

/// Copies the crates into `out`.
pub(super) fn copy_to(release: &Release, out: &Path) -> Result<Vec<PathBuf>> {
    let copies = CRATES.iter().map(|name| {
        let (from, to) = (packaged(name, release), out.join(file_name(name, release)));
        fs::copy(&from, &to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
        Ok(to)
    });
    copies.collect()
}

fn file_name(name: &str, release: &Release) -> String {
    format!("{name}-{}.crate", release.version)
}

fn packaged(name: &str, release: &Release) -> PathBuf {
    binary::target_dir().join("package").join(file_name(name, release))
}

/// Builds numatrace from the crates alone, and says what the program that came of it answers to `--version`.
pub(super) fn verify(release: &Release, profile: Profile) -> Result<String> {
    let alone = Folder::new()?;
    for name in CRATES {
        output(command("tar").arg("-xzf").arg(packaged(name, release)).arg("-C").arg(&alone.0))?;
    }
    let unpacked = |name: &str| alone.0.join(format!("{name}-{}", release.version));
    let target = binary::target();
    let mut cargo = binary::cargo(profile, &target, &["build"]);
    // The one thing that crates.io would have: the other crate, as packaged.
    cargo.arg("--config").arg(format!("patch.crates-io.numatrace-common.path='{}'", unpacked(CRATES[0]).display()));
    cargo
        .current_dir(unpacked("numatrace"))
        .env("PATH", tools()?)
        .env_remove("LLVM_PREFIX")
        .env_remove("RUSTC_BOOTSTRAP");
    say(format!("running `{}` in the unpacked crate", shown(&cargo)));
    run(&mut cargo)?;
    answer(&binary::program(profile, &target))
}

/// `cargo install --path numatrace`, and what the program that came of it answers to `--version`.
pub(super) fn install(profile: Profile) -> Result<String> {
    let place = folder().join("installed");
    empty_folder(&place)?;
    let mut cargo = binary::cargo(profile, &binary::target(), &["install", "--locked", "--path", "numatrace"]);
    cargo.arg("--root").arg(&place).args((profile == Profile::Dev).then_some("--debug"));
    cargo.env("PATH", tools()?);
    say(format!("running `{}`", shown(&cargo)));
    run(&mut cargo)?;
    answer(&place.join("bin/numatrace"))
}

fn answer(program: &Path) -> Result<String> {
    Ok(output(command(program).arg("--version"))?.trim().to_owned())
}

/// A folder with nothing but links to [`TOOLS`], to be the whole PATH: LLVM's tools cannot be found, wherever they are installed.
fn tools() -> Result<PathBuf> {
    let place = folder().join("tools");
    empty_folder(&place)?;
    for tool in TOOLS {
        let path = which(tool).with_context(|| format!("there is no `{tool}` here, which building needs"))?;
        symlink(&path, place.join(tool)).with_context(|| format!("cannot link to {}", path.display()))?;
    }
    Ok(place)
}

/// A folder outside of the repository, so that nothing of it is found by going up; gone when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        let path = env::temp_dir().join(format!("numatrace-crates-{}", std::process::id()));
        // Fails where something is there already, such as another's link.
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("cannot make {}", path.display()))?;
        let folder = Self(path);
        if folder.0.ancestors().skip(1).any(|above| above.join("Cargo.toml").exists()) {
            bail!("{} lies in somebody's cargo package: set TMPDIR to another folder", folder.0.display());
        }
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
