//! One program without shared libraries, so that it runs on any distribution of its architecture.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::{Profile, folder};
use crate::{
    shell::{command, output, root, run, say, shown, which},
    toolchain::cargo_home,
};

/// Builds the program and returns where it is.
pub(super) fn build(profile: Profile) -> Result<PathBuf> {
    let target = target();
    let mut cargo = cargo(profile, &target, &["build", "--locked", "--package", "numatrace"]);
    say(format!("running `{}`", shown(&cargo)));
    run(&mut cargo)?;
    let program = program(profile, &target);
    let bytes = fs::read(&program).with_context(|| format!("cannot read {}", program.display()))?;
    if wants_interpreter(&bytes)? {
        bail!("{} is not static: it asks for a dynamic loader", program.display());
    }
    Ok(program)
}

/// Where cargo puts the program.
pub(super) fn program(profile: Profile, target: &str) -> PathBuf {
    target_dir().join(target).join(profile.folder()).join("numatrace")
}

/// Its own folder: other flags than those of everyday builds would throw their work away.
pub(super) fn target_dir() -> PathBuf {
    folder().join("build")
}

/// A cargo command that compiles as all of `dist` does, so that what it compiles once is there for the next.
pub(super) fn cargo(profile: Profile, target: &str, words: &[&str]) -> Command {
    let mut cargo = command("cargo");
    cargo.args(words).args(["--target", target]);
    // A packaged crate has no profiles: what the workspace says of them is said here again.
    let settings: &[&str] = match profile {
        Profile::Release => &[
            "profile.release.strip=true",
            "profile.release.lto='thin'",
            "profile.release.codegen-units=4",
            "profile.release.panic='unwind'",
        ],
        Profile::Dev => &[
            "profile.dev.strip=true",
            "profile.dev.debug=false",
            "profile.dev.opt-level=0",
            "profile.dev.package.'*'.opt-level=1",
            "profile.dev.package.'*'.debug=false",
        ],
    };
    cargo.args(settings.iter().flat_map(|setting| ["--config", setting]));
    if profile == Profile::Release && words.first() == Some(&"build") {
        cargo.arg("--release");
    }
    // Where it was built is nobody's business, and would make other bytes elsewhere.
    let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    let flags = ["-Ctarget-feature=+crt-static".to_owned(), remap(&root(), "numatrace"), remap(&cargo_home(), "cargo")];
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    cargo.env("CARGO_TARGET_DIR", target_dir());
    // The committed object, whatever a shell or a leg before this one says.
    cargo.env_remove("NUMATRACE_EBPF_OBJECT");
    cargo
}

/// musl where rustc and a C compiler for it are there, else glibc.
pub(super) fn target() -> String {
    let arch = env::consts::ARCH;
    let musl = format!("{arch}-unknown-linux-musl");
    let libdir = output(command("rustc").args(["--print", "target-libdir", "--target", &musl]));
    let has_std = libdir.is_ok_and(|dir| Path::new(dir.trim()).is_dir());
    if has_std && which("musl-gcc").is_some() { musl } else { format!("{arch}-unknown-linux-gnu") }
}

impl Profile {
    fn folder(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Dev => "debug",
        }
    }
}

/// True where a 64-bit little-endian ELF file names a dynamic loader.
fn wants_interpreter(elf: &[u8]) -> Result<bool> {
    const INTERPRETER: u32 = 3;
    if elf.get(..6) != Some(b"\x7fELF\x02\x01") {
        bail!("not a 64-bit little-endian ELF file");
    }
    let table = number(elf, 32, 8)?;
    let (size, count) = (number(elf, 54, 2)?, number(elf, 56, 2)?);
    for index in 0..count {
        if number(elf, table + index * size, 4)? == INTERPRETER as usize {
            return Ok(true);
        }
    }
    Ok(false)
}

fn number(elf: &[u8], at: usize, len: usize) -> Result<usize> {
    let bytes = at.checked_add(len).and_then(|end| elf.get(at..end)).context("the ELF file ends early")?;
    let value = bytes.iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    Ok(usize::try_from(value)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_asks_for_a_loader() {
        // This test is one: cargo links tests dynamically unless told otherwise.
        let this = fs::read(env::current_exe().unwrap()).unwrap();
        assert_eq!(wants_interpreter(&this).unwrap(), !cfg!(target_feature = "crt-static"));
    }

    #[test]
    fn what_is_no_elf_file_or_ends_early_is_refused() {
        assert!(wants_interpreter(b"#!/bin/sh\n").is_err());
        let this = fs::read(env::current_exe().unwrap()).unwrap();
        assert!(wants_interpreter(&this[..70]).is_err());
    }
}
