//! One SHA-256 over everything the eBPF object is compiled from.
//!
//! `cargo xtask build-ebpf` writes it into MANIFEST.json beside the objects, and numatrace's build script, which includes this very file,
//! compares: a committed object that no longer belongs to its sources stops the build. Depends on `sha2` alone for that reason.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

/// Files of numatrace-ebpf, beside its Rust sources, that change what is compiled.
const EBPF_FILES: [&str; 4] = [
    "numatrace-ebpf/Cargo.toml",
    "numatrace-ebpf/Cargo.lock",
    "numatrace-ebpf/.cargo/config.toml",
    "numatrace-ebpf/rust-toolchain.toml",
];

/// Sources below these folders are compiled into the object. Tests and benches of the common crate are left out: they cannot change it.
const SOURCE_DIRS: [&str; 2] = ["numatrace-ebpf", "numatrace-common/src"];

/// The rest of the common crate that counts.
const COMMON_FILES: [&str; 2] = ["numatrace-common/Cargo.toml", "numatrace-common/build.rs"];

/// Hash of the eBPF sources below the repository `root`, in hex; `None` where there are none, as in a packaged crate.
pub fn source_hash(root: &Path) -> io::Result<Option<String>> {
    if !root.join("numatrace-ebpf/Cargo.toml").is_file() {
        return Ok(None);
    }
    let mut hasher = Sha256::new();
    for relative in source_files(root)? {
        let content = fs::read(root.join(&relative))?;
        // Length-prefixed, so that moving bytes between a name and a content, or between two files, never collides.
        for part in [relative.as_bytes(), &content] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
    }
    Ok(Some(hex(&hasher.finalize())))
}

/// The hashed files, relative to `root` with `/` as separator, sorted. A build script names them in `rerun-if-changed`.
pub fn source_files(root: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for dir in SOURCE_DIRS {
        collect_rust_files(root, Path::new(dir), &mut found)?;
    }
    let single = EBPF_FILES.iter().chain(&COMMON_FILES).filter(|file| root.join(file).is_file());
    found.extend(single.map(ToString::to_string));
    found.sort();
    found.dedup();
    Ok(found)
}

/// Hex SHA-256 of `bytes`.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn collect_rust_files(root: &Path, dir: &Path, found: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(dir))? {
        let entry = entry?;
        let name = entry.file_name();
        let relative: PathBuf = dir.join(&name);
        if entry.file_type()?.is_dir() {
            // Build output and hidden folders are not sources.
            if name != "target" && !name.to_string_lossy().starts_with('.') {
                collect_rust_files(root, &relative, found)?;
            }
        } else if relative.extension().is_some_and(|extension| extension == "rs") {
            let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
            found.push(parts.join("/"));
        }
    }
    Ok(())
}
