//! Builds the programs that guests run, linked statically since a guest has no libraries, and packs them into the initramfs.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use super::{Arch, VmDir, initramfs};
use crate::shell::{command, root, run, say};

/// What guests run.
const PROGRAMS: [&str; 3] = ["numatrace", "guest-check", "workload"];

/// Builds the programs that guests run and writes the initramfs. cargo and a rewrite of some MB are all it costs when
/// nothing changed.
pub fn prepare(dir: &VmDir, arch: Arch, ebpf_object: Option<&std::path::Path>) -> Result<()> {
    let (target_dir, profile) = match arch {
        // Other flags than the host's build: without a folder of its own each would throw the other's work away.
        Arch::X86_64 => (root().join("target/guest"), "release"),
        // Has a folder in it by itself, and shares what is compiled for this machine, such as macros.
        Arch::Aarch64 => (root().join("target"), "debug"),
    };
    let mut cargo = command("cargo");
    cargo.args([
        "build",
        "--quiet",
        "--target",
        arch.target(),
        "--package",
        "numatrace",
        "--package",
        "numatrace-tests",
    ]);
    cargo.args(PROGRAMS.iter().flat_map(|program| ["--bin", program]));
    cargo.env("CARGO_TARGET_DIR", &target_dir).env_remove("RUSTFLAGS");
    let target = arch.target().replace('-', "_");
    cargo.env(format!("CARGO_TARGET_{}_RUSTFLAGS", target.to_uppercase()), "-C target-feature=+crt-static");
    // Guests measure nothing: what the last few percent of speed cost in time of compilation is not worth it.
    let profile_values: &[(&str, &str)] = match arch {
        Arch::X86_64 => &[("RELEASE_LTO", "off"), ("RELEASE_CODEGEN_UNITS", "16"), ("RELEASE_OPT_LEVEL", "2")],
        Arch::Aarch64 => &[("DEV_DEBUG", "false")],
    };
    for (name, value) in profile_values {
        cargo.env(format!("CARGO_PROFILE_{name}"), value);
    }
    cargo.args((profile == "release").then_some("--release"));
    if let Some(compiler) = arch.cross_compiler() {
        cargo.env(format!("CARGO_TARGET_{}_LINKER", target.to_uppercase()), compiler);
        cargo.env(format!("CC_{target}"), compiler);
    }
    if let Some(object) = ebpf_object {
        cargo.env("NUMATRACE_EBPF_OBJECT", object);
    }
    say(format!("building the programs of {} guests", arch.name()));
    run(&mut cargo)?;
    let programs = programs(&target_dir.join(arch.target()).join(profile))?;
    let mut files: Vec<_> = programs.into_iter().map(|(name, path)| (path, format!("bin/{name}"))).collect();
    if !files.iter().any(|(_, guest)| guest == "bin/numatrace") {
        bail!("the build for guests made no numatrace in {}", target_dir.display());
    }
    if arch == Arch::X86_64 {
        files.extend(dir.numactl().into_iter().flatten());
    }
    initramfs::build(&dir.initramfs(arch), &dir.busybox(arch), &files, initramfs::INIT)
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
