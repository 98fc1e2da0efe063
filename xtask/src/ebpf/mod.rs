//! `cargo xtask build-ebpf`: sources -> one stripped object an architecture, and a manifest that says what they came from.
//!
//! The objects are committed, so that people build numatrace with plain stable Rust and no LLVM. Three things keep them honest: numatrace's
//! build script refuses objects whose sources have changed, `--check` rebuilds them, and `cargo xtask test` runs everything on the rebuilt one.

mod compile;
mod elf;
mod manifest;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

pub use self::manifest::{Manifest, Toolchain};
use crate::{
    shell::{root, say},
    source_hash::{sha256_hex, source_hash},
    toolchain::{self, BPF_LINKER_VERSION, Candidate},
};

/// Architectures that get an object. It differs between them only where a program reads registers.
pub const ARCHES: [&str; 2] = ["x86_64", "aarch64"];

/// File name of an architecture's object.
pub fn object_name(arch: &str) -> String {
    format!("numatrace-{arch}.bpf.o")
}

/// Where the committed objects are.
pub fn committed_dir() -> PathBuf {
    root().join("numatrace/ebpf")
}

/// Where a check leaves what it rebuilt; the tests then use it.
pub fn rebuilt_dir() -> PathBuf {
    root().join("target/ebpf/rebuilt")
}

/// Builds the objects and their manifest to `out`.
pub fn build(out: &Path) -> Result<Manifest> {
    build_with(out, false)
}

fn build_with(out: &Path, locked: bool) -> Result<Manifest> {
    let candidate = compiler()?;
    // Held to the end of this function: the architectures are built in one folder, and a second run must not change it in between.
    let _lock = lock()?;
    say(format!("eBPF: {}, bpf-linker {BPF_LINKER_VERSION}", candidate.describe()));
    let Some(sources) = source_hash(&root()).context("cannot hash the eBPF sources")? else {
        bail!("this folder has no eBPF sources: build-ebpf works in the repository, not in a packaged crate");
    };
    let toolchain = Toolchain {
        rustc: candidate.rustc.text.clone(),
        bpf_linker: BPF_LINKER_VERSION.to_owned(),
        llvm: toolchain::llvm_version(),
    };
    let mut manifest = Manifest::new(sources.clone(), toolchain);
    let mut objects = Vec::new();
    for arch in ARCHES {
        let object = compile::object(&candidate, arch, locked)?;
        let bytes = fs::read(&object).with_context(|| format!("cannot read {}", object.display()))?;
        let sections =
            elf::check(&bytes).with_context(|| format!("the {arch} object is not what a BPF loader takes"))?;
        say(format!("eBPF: {arch}: {} bytes, {sections} sections with programs", bytes.len()));
        manifest.add_object(arch, &bytes);
        objects.push((out.join(object_name(arch)), bytes));
    }
    if source_hash(&root()).context("cannot hash the eBPF sources again")? != Some(sources) {
        bail!("the eBPF sources changed while they were compiled: try again");
    }
    // All at once, at the end: a build of numatrace that runs beside this one refuses objects and a manifest that do not fit.
    fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    for (path, bytes) in objects {
        fs::write(&path, &bytes).with_context(|| format!("cannot write {}", path.display()))?;
    }
    manifest.write(out)?;
    Ok(manifest)
}

fn lock() -> Result<fs::File> {
    let path = root().join("target/ebpf/lock");
    let open = || {
        fs::create_dir_all(root().join("target/ebpf"))?;
        let file = fs::File::create(&path)?;
        file.lock()?;
        Ok::<_, std::io::Error>(file)
    };
    open().with_context(|| format!("cannot lock {}", path.display()))
}

/// Rebuilds to [`rebuilt_dir`] and compares with what is committed.
pub fn check() -> Result<()> {
    let committed = Manifest::read(&committed_dir())?;
    let rebuilt = build_with(&rebuilt_dir(), true)?;
    for arch in ARCHES {
        let path = committed_dir().join(object_name(arch));
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        elf::check(&bytes).with_context(|| format!("{} is not what a BPF loader takes", path.display()))?;
        if committed.object_sha256(arch) != Some(&sha256_hex(&bytes)) {
            bail!(
                "{} is not the file that its manifest describes: run `cargo xtask build-ebpf` and commit both",
                path.display()
            );
        }
    }
    for line in verdict(&committed, &rebuilt)? {
        say(line);
    }
    Ok(())
}

/// Compares two manifests: an error where the committed one is wrong, else what could be said about it.
fn verdict(committed: &Manifest, rebuilt: &Manifest) -> Result<Vec<String>> {
    if committed.sources_sha256 != rebuilt.sources_sha256 {
        bail!(
            "the committed eBPF objects are older than their sources: run `cargo xtask build-ebpf` and commit numatrace/ebpf"
        );
    }
    if committed.toolchain != rebuilt.toolchain {
        return Ok(vec![
            "eBPF: sources match; bytes not compared, since the toolchain here is not the one of the committed objects"
                .to_owned(),
            format!("eBPF: committed by {}", committed.toolchain.summary()),
            format!("eBPF: rebuilt by {}", rebuilt.toolchain.summary()),
        ]);
    }
    for arch in ARCHES {
        if committed.object_sha256(arch) != rebuilt.object_sha256(arch) {
            bail!(
                "the same sources and toolchain gave another {arch} object than the committed one: run `cargo xtask build-ebpf`, and find out what differs before you commit it"
            );
        }
    }
    Ok(vec!["eBPF: the rebuilt objects are the committed ones, byte by byte".to_owned()])
}

/// The compiler to use, or what to do about having none.
fn compiler() -> Result<Candidate> {
    let candidates = toolchain::candidates();
    let Some(candidate) = toolchain::choose(&candidates) else {
        bail!(
            "no compiler here can build the eBPF object ({}): `cargo xtask setup --for build` gets one",
            toolchain::describe_all(&candidates)
        );
    };
    match toolchain::bpf_linker_version() {
        Some(version) if version == BPF_LINKER_VERSION => Ok(candidate.clone()),
        Some(version) => {
            bail!("bpf-linker is {version}, not {BPF_LINKER_VERSION}: `cargo xtask setup --for build` gets it")
        }
        None => bail!("bpf-linker is missing: `cargo xtask setup --for build` gets it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(sources: &str, rustc: &str, object: &[u8]) -> Manifest {
        let mut manifest = Manifest::new(
            sources.into(),
            Toolchain { rustc: rustc.into(), bpf_linker: "0.13.0".into(), llvm: "22.1.8".into() },
        );
        for arch in ARCHES {
            manifest.add_object(arch, object);
        }
        manifest
    }

    #[test]
    fn stale_sources_fail_whatever_the_toolchain() {
        let error = verdict(&manifest("a", "1", b"x"), &manifest("b", "2", b"x")).unwrap_err();
        assert!(error.to_string().contains("older than their sources"), "{error}");
    }

    #[test]
    fn bytes_are_compared_only_for_the_same_toolchain() {
        assert!(verdict(&manifest("a", "1", b"x"), &manifest("a", "1", b"x")).is_ok());
        assert!(verdict(&manifest("a", "1", b"x"), &manifest("a", "1", b"y")).is_err());
        let lines = verdict(&manifest("a", "1", b"x"), &manifest("a", "2", b"y")).unwrap();
        assert!(lines[0].contains("not compared"), "{lines:?}");
    }
}
