//! One cargo run for the BPF target, and the strip after it.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use super::object_name;
use crate::{
    shell::{root, run, shown},
    toolchain::{Candidate, cargo_home, llvm_strip},
};

const TARGET: &str = "bpfel-unknown-none";

/// Compiles the object for `arch` and strips it of everything that a loader does not read.
pub fn object(candidate: &Candidate, arch: &str, locked: bool) -> Result<PathBuf> {
    // One folder for all: what runs on this machine (macros, build scripts) is the same for each.
    let target_dir = root().join("target/ebpf/build");
    let mut cargo = candidate.cargo();
    cargo.current_dir(root().join("numatrace-ebpf"));
    cargo.args([
        "build",
        "--release",
        "--bins",
        "--target",
        TARGET,
        "--message-format=json-render-diagnostics",
        "--target-dir",
    ]);
    cargo.arg(&target_dir).args(candidate.cargo_args());
    if locked {
        cargo.arg("--locked");
    }
    // The separator of this variable allows spaces in paths.
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags(candidate, arch)?.join("\x1f"));
    let built = executable(&mut cargo)?;

    let strip = llvm_strip().context("llvm-strip 22 is missing: `cargo xtask setup --for build` gets it")?;
    let stripped = target_dir.join(object_name(arch));
    // DWARF and local names are for people; .BTF and .BTF.ext, which the kernel reads, stay.
    run(Command::new(strip).arg("--strip-debug").arg("-o").arg(&stripped).arg(&built))?;
    Ok(stripped)
}

/// aya-build's flags, and those that make the bytes the same wherever the clone lies.
fn flags(candidate: &Candidate, arch: &str) -> Result<Vec<String>> {
    let mut flags = vec![
        format!("--cfg=bpf_target_arch=\"{arch}\""),
        "-Cdebuginfo=2".to_owned(), // BTF is made from it
        "-Clink-arg=--btf".to_owned(),
        "-Ccodegen-units=1".to_owned(),
    ];
    let mut remap = |from: PathBuf, to: &str| flags.push(format!("--remap-path-prefix={}={to}", from.display()));
    // The last match wins: a clone or a cargo home below another is still told apart.
    remap(candidate.sysroot()?.join("lib/rustlib/src/rust"), "/rustc");
    remap(cargo_home(), "/cargo");
    // A registry's folder is named after its address: a mirror's is another.
    let registries = cargo_home().join("registry/src").read_dir().into_iter().flatten().flatten();
    for registry in registries {
        remap(registry.path(), "/cargo/registry");
    }
    remap(root(), "/numatrace");
    Ok(flags)
}

/// Runs the build and returns the one executable it made, from cargo's own messages.
fn executable(cargo: &mut Command) -> Result<PathBuf> {
    let output = cargo
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{}`", shown(cargo)))?;
    if !output.status.success() {
        bail!("the eBPF programs do not compile; the compiler's messages are above");
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let mut executables: Vec<PathBuf> = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| message.get("executable")?.as_str().map(PathBuf::from))
        .collect();
    match (executables.pop(), executables.is_empty()) {
        (Some(executable), true) => Ok(executable),
        (Some(_), false) => bail!("numatrace-ebpf has more than one program: the object must be one"),
        (None, _) => bail!("numatrace-ebpf has no program to build"),
    }
}
