//! Picks the eBPF object that is embedded: the committed one of this architecture, or the one that
//! `NUMATRACE_EBPF_OBJECT` names (`cargo xtask test` sets it to what it just rebuilt from source).
//!
//! A committed object that was not built from the sources beside it stops the build, so that what is traced is
//! always what the sources say. In a packaged crate the sources are not there, and the manifest vouches for the
//! object's bytes alone.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::exit,
};

#[path = "source_hash.rs"]
mod source_hash;

fn main() {
    if let Err(sentence) = embed() {
        println!("cargo::error={sentence}");
        exit(1);
    }
}

fn embed() -> Result<(), String> {
    let here = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(variable("OUT_DIR")?).join("numatrace.bpf.o");
    println!("cargo::rerun-if-env-changed=NUMATRACE_EBPF_OBJECT");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=source_hash.rs");
    let object = match env::var_os("NUMATRACE_EBPF_OBJECT") {
        Some(path) if !path.is_empty() => PathBuf::from(path),
        _ => committed(&here)?,
    };
    println!("cargo::rerun-if-changed={}", object.display());
    fs::copy(&object, &out)
        .map_err(|error| format!("cannot copy the eBPF object {} to {}: {error}", object.display(), out.display()))?;
    Ok(())
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("cargo did not set {name}: {error}"))
}

/// The committed object of the target's architecture, once it is known to be what the sources say.
fn committed(here: &Path) -> Result<PathBuf, String> {
    let arch = variable("CARGO_CFG_TARGET_ARCH")?;
    let name = format!("numatrace-{arch}.bpf.o");
    let object = here.join("ebpf").join(&name);
    let manifest_path = here.join("ebpf/MANIFEST.json");
    println!("cargo::rerun-if-changed={}", manifest_path.display());
    if !object.is_file() {
        return Err(format!(
            "there is no eBPF object for {arch} ({} is missing): build it with 'cargo xtask build-ebpf'",
            object.display()
        ));
    }
    let text = fs::read_to_string(&manifest_path)
        .map_err(|error| format!("cannot read {}: {error}", manifest_path.display()))?;
    let manifest: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| format!("{} is not JSON: {error}", manifest_path.display()))?;
    let bytes = fs::read(&object).map_err(|error| format!("cannot read {}: {error}", object.display()))?;
    let expected = manifest["objects"][&arch]["sha256"].as_str();
    if expected != Some(source_hash::sha256_hex(&bytes).as_str()) {
        return Err(format!(
            "{} is not the object that its manifest names: rebuild it with 'cargo xtask build-ebpf'",
            object.display()
        ));
    }
    let root = here.parent().unwrap_or(here);
    let sources = source_hash::source_hash(root).map_err(|error| format!("cannot read the eBPF sources: {error}"))?;
    if let Some(now) = sources {
        for file in source_hash::source_files(root).unwrap_or_default() {
            println!("cargo::rerun-if-changed={}", root.join(file).display());
        }
        if manifest["sources_sha256"].as_str() != Some(now.as_str()) {
            return Err(
                "the committed eBPF object is older than its sources: rebuild it with 'cargo xtask build-ebpf'".into(),
            );
        }
    }
    Ok(object)
}
