//! Builds the programs that guests run, linked statically since a guest has no libraries, and packs them into the initramfs.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use super::{VmDir, initramfs};
use crate::shell::{command, root, run, say};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What guests run.
const PROGRAMS: [&str; 3] = ["numatrace", "guest-check", "workload"];

/// Builds the programs that guests run and writes the initramfs. cargo and a rewrite of some MB are all it costs when
/// nothing changed.
pub fn prepare(dir: &VmDir, ebpf_object: Option<&std::path::Path>) -> Result<()> {
    // Other flags than the host's build: without a folder of its own each would throw the other's work away.
    let target_dir = root().join("target/guest");
    let mut cargo = command("cargo");
    cargo.args([
        "build",
        "--quiet",
        "--release",
        "--target",
        TARGET,
        "--package",
        "numatrace",
        "--package",
        "numatrace-tests",
    ]);
    cargo.args(PROGRAMS.iter().flat_map(|program| ["--bin", program]));
    cargo.env("CARGO_TARGET_DIR", &target_dir).env("RUSTFLAGS", "-C target-feature=+crt-static");
    // Guests measure nothing: what the last few percent of speed cost in time of compilation is not worth it.
    for (name, value) in [("LTO", "off"), ("CODEGEN_UNITS", "16"), ("OPT_LEVEL", "2")] {
        cargo.env(format!("CARGO_PROFILE_RELEASE_{name}"), value);
    }
    if let Some(object) = ebpf_object {
        cargo.env("NUMATRACE_EBPF_OBJECT", object);
    }
    say("building the guest's programs");
    run(&mut cargo)?;
    let programs = programs(&target_dir.join(TARGET).join("release"))?;
    let mut files: Vec<_> = programs.into_iter().map(|(name, path)| (path, format!("bin/{name}"))).collect();
    if !files.iter().any(|(_, guest)| guest == "bin/numatrace") {
        bail!("the build for guests made no numatrace in {}", target_dir.display());
    }
    files.extend(dir.numactl().into_iter().flatten());
    initramfs::build(&dir.initramfs(), &dir.busybox(), &files, initramfs::INIT)
}

/// Executables that cargo left in its output folder, which may hold more than the last build made; a guest with one too many is no worse.
fn programs(dir: &std::path::Path) -> Result<Vec<(String, PathBuf)>> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut found = Vec::new();
    for entry in dir.read_dir().with_context(|| format!("cannot list {}", dir.display()))? {
        let entry = entry?;
        let meta = entry.metadata()?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if meta.is_file() && meta.permissions().mode() & 0o111 != 0 && !name.contains('.') {
            found.push((name, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}
