//! MANIFEST.json beside the objects: what they were built from and by. Pretty-printed with fixed keys, so that a diff shows what changed.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::object_name;
use crate::source_hash::sha256_hex;

const FILE: &str = "MANIFEST.json";

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`crate::source_hash::source_hash`] of the sources. numatrace's build script compares it.
    pub sources_sha256: String,
    pub toolchain: Toolchain,
    /// By architecture.
    pub objects: BTreeMap<String, Object>,
}

/// Two builds with the same one give the same bytes.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Toolchain {
    /// What `rustc -vV` prints.
    pub rustc: String,
    pub bpf_linker: String,
    /// The LLVM beside it.
    pub llvm: String,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    pub file: String,
    pub bytes: usize,
    pub sha256: String,
}

impl Manifest {
    pub fn new(sources_sha256: String, toolchain: Toolchain) -> Self {
        Self { sources_sha256, toolchain, objects: BTreeMap::new() }
    }

    pub fn add_object(&mut self, arch: &str, bytes: &[u8]) {
        let object = Object { file: object_name(arch), bytes: bytes.len(), sha256: sha256_hex(bytes) };
        self.objects.insert(arch.to_owned(), object);
    }

    pub fn object_sha256(&self, arch: &str) -> Option<&String> {
        self.objects.get(arch).map(|object| &object.sha256)
    }

    pub fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join(FILE);
        let text = serde_json::to_string_pretty(self).context("cannot write the manifest as JSON")?;
        fs::write(&path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
    }

    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        let text = fs::read_to_string(&path)
            .with_context(|| format!("cannot read {} (`cargo xtask build-ebpf` writes it)", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is not a manifest", path.display()))
    }
}

impl Toolchain {
    /// One line for people.
    pub fn summary(&self) -> String {
        let first = self.rustc.lines().next().unwrap_or_default();
        format!("{first}, bpf-linker {}, LLVM {}", self.bpf_linker, self.llvm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_manifest_reads_back() {
        let dir = std::env::temp_dir().join(format!("numatrace-manifest-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let toolchain = Toolchain {
            rustc: "rustc 1.95.0\nbinary: rustc".into(),
            bpf_linker: "0.13.0".into(),
            llvm: "22.1.8".into(),
        };
        assert_eq!(toolchain.summary(), "rustc 1.95.0, bpf-linker 0.13.0, LLVM 22.1.8");
        let mut manifest = Manifest::new("ab".into(), toolchain);
        manifest.add_object("x86_64", b"object");
        manifest.write(&dir).unwrap();
        assert_eq!(Manifest::read(&dir).unwrap(), manifest);
        fs::remove_dir_all(&dir).unwrap();
        assert!(Manifest::read(&dir).unwrap_err().to_string().contains("build-ebpf"));
    }
}
