//! Tests of [`crate::source_hash`], apart from it because numatrace's build script includes that file whole.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::source_hash::{source_files, source_hash};

struct Repository(PathBuf);

impl Repository {
    fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("numatrace-hash-{name}-{}", std::process::id()));
        let repository = Self(root);
        for (path, content) in [
            ("numatrace-ebpf/Cargo.toml", "[package]"),
            ("numatrace-ebpf/Cargo.lock", "version = 4"),
            ("numatrace-ebpf/src/main.rs", "fn main() {}"),
            ("numatrace-ebpf/src/probes/switch.rs", "// switch"),
            ("numatrace-common/Cargo.toml", "[package]"),
            ("numatrace-common/src/lib.rs", "#![no_std]"),
        ] {
            repository.write(path, content);
        }
        repository
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        fs::write(path, content).unwrap();
    }

    fn hash(&self) -> Option<String> {
        source_hash(&self.0).unwrap()
    }
}

impl Drop for Repository {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn hash_does_not_depend_on_where_the_clone_is() {
    let (one, other) = (Repository::new("one"), Repository::new("other"));
    assert_eq!(one.hash(), other.hash());
    // Fixed: a change of the scheme makes every committed object stale, and should be meant.
    assert_eq!(one.hash().unwrap(), "fe92b137322bccf6222344c12e7134bef635eab9ff85ac48e2eb83b47f05bcb3");
}

#[test]
fn files_are_listed_sorted_with_slashes() {
    let files = source_files(&Repository::new("list").0).unwrap();
    assert_eq!(
        files,
        [
            "numatrace-common/Cargo.toml",
            "numatrace-common/src/lib.rs",
            "numatrace-ebpf/Cargo.lock",
            "numatrace-ebpf/Cargo.toml",
            "numatrace-ebpf/src/main.rs",
            "numatrace-ebpf/src/probes/switch.rs",
        ]
    );
}

#[test]
fn every_source_counts() {
    for path in [
        "numatrace-ebpf/Cargo.lock",
        "numatrace-ebpf/src/probes/switch.rs",
        "numatrace-common/src/lib.rs",
        "numatrace-ebpf/src/new.rs",
    ] {
        let repository = Repository::new("counts");
        let before = repository.hash();
        repository.write(path, "changed");
        assert_ne!(repository.hash(), before, "{path}");
    }
}

#[test]
fn output_and_tests_do_not_count() {
    for path in
        ["numatrace-ebpf/target/x.rs", "numatrace-ebpf/.idea/x.rs", "numatrace-common/tests/x.rs", "numatrace/src/x.rs"]
    {
        let repository = Repository::new("ignores");
        let before = repository.hash();
        repository.write(path, "changed");
        assert_eq!(repository.hash(), before, "{path}");
    }
}

#[test]
fn a_packaged_crate_has_no_hash() {
    let repository = Repository::new("packaged");
    fs::remove_dir_all(repository.0.join("numatrace-ebpf")).unwrap();
    assert_eq!(repository.hash(), None);
}
