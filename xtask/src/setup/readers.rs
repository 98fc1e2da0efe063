//! Programs of others that read what `numatrace export` writes, and what is in `deploy/`: an environment of Python with fixed versions, below `target/`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::shell::{command, output, root};

/// What is in the environment: DuckDB reads Parquet, hdrhistogram `.hlog` files, perfetto and protobuf traces, kubernetes-validate
/// has Kubernetes' schemas and reads YAML.
pub const PACKAGES: [&str; 5] =
    ["duckdb==2.0.1", "hdrhistogram==0.10.8", "perfetto==0.59.1", "protobuf==7.36.2", "kubernetes_validate==1.37.0"];

/// Where the environment is.
pub fn folder() -> PathBuf {
    root().join("target/readers")
}

/// The interpreter that has [`PACKAGES`].
pub fn python() -> PathBuf {
    folder().join("bin/python")
}

/// True where the environment has every package in its version.
pub fn are_there() -> bool {
    has_all(&folder())
}

fn has_all(folder: &Path) -> bool {
    let installed = std::fs::read_dir(folder.join("lib"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|python| std::fs::read_dir(python.path().join("site-packages")).ok())
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect::<Vec<_>>();
    PACKAGES.iter().all(|package| installed.contains(&format!("{}.dist-info", package.replace("==", "-"))))
}

/// Debian's Python lacks `ensurepip` until its package python3-venv is there.
pub fn python_makes_environments() -> bool {
    output(command("python3").args(["-c", "import ensurepip, venv"])).is_ok()
}

/// The commands that make the environment.
pub fn steps() -> [Command; 2] {
    let mut make = command("python3");
    make.args(["-m", "venv", "--clear"]).arg(folder());
    let mut install = command(folder().join("bin/pip"));
    install.args(["install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]).args(PACKAGES);
    [make, install]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_counts_only_with_every_package_in_its_version() {
        let folder = tempfile::tempdir().unwrap();
        let packages = folder.path().join("lib/python3.11/site-packages");
        std::fs::create_dir_all(&packages).unwrap();
        assert!(!has_all(folder.path()));
        for package in PACKAGES {
            std::fs::create_dir(packages.join(format!("{}.dist-info", package.replace("==", "-")))).unwrap();
        }
        assert!(has_all(folder.path()));
        std::fs::rename(packages.join("duckdb-2.0.1.dist-info"), packages.join("duckdb-1.0.0.dist-info")).unwrap();
        assert!(!has_all(folder.path()));
    }
}
