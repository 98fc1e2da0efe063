//! Builds the programs that guests run and packs them into the initramfs: those of this machine's own architecture with the libraries that
//! they ask for, as they are built for all other tests; those of another one linked statically.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::{Arch, VmDir, initramfs};
use crate::shell::{command, output, run, say, target_dir};

/// What guests run.
const PROGRAMS: [&str; 3] = ["numatrace", "guest-check", "workload"];

/// Builds the programs that guests run and writes the initramfs. cargo and a rewrite of some MB are all it costs when
/// nothing changed.
pub fn prepare(dir: &VmDir, arch: Arch, ebpf_object: Option<&std::path::Path>) -> Result<()> {
    let target_dir = target_dir();
    let mut cargo = command("cargo");
    cargo
        .args(["build", "--quiet", "--package", "numatrace", "--package", "numatrace-tests"])
        .env("CARGO_TARGET_DIR", &target_dir);
    let built = if arch.is_own() {
        // What the tests on this machine were built with too: nothing is compiled again.
        cargo.arg("--bins");
        target_dir.join("debug")
    } else {
        cargo.args(["--target", arch.target()]).args(PROGRAMS.iter().flat_map(|program| ["--bin", program]));
        let target = arch.target().replace('-', "_");
        cargo.env_remove("RUSTFLAGS");
        cargo.env(format!("CARGO_TARGET_{}_RUSTFLAGS", target.to_uppercase()), "-C target-feature=+crt-static");
        cargo.env("CARGO_PROFILE_DEV_DEBUG", "false");
        if let Some(compiler) = arch.cross_compiler() {
            cargo.env(format!("CARGO_TARGET_{}_LINKER", target.to_uppercase()), compiler);
            cargo.env(format!("CC_{target}"), compiler);
        }
        target_dir.join(arch.target()).join("debug")
    };
    if let Some(object) = ebpf_object {
        cargo.env("NUMATRACE_EBPF_OBJECT", object);
    }
    say(format!("building the programs of {} guests", arch.name()));
    run(&mut cargo)?;
    let mut files = Vec::new();
    for program in PROGRAMS {
        let path = built.join(program);
        if !path.is_file() {
            bail!("the build for guests made no {}", path.display());
        }
        if arch.is_own() {
            for (library, guest) in libraries(&path)? {
                if !files.iter().any(|(_, other)| *other == guest) {
                    files.push((library, guest));
                }
            }
        }
        files.push((path, format!("bin/{program}")));
    }
    if arch == Arch::X86_64 {
        // Libraries that are there already are those of this machine, as these are.
        let numactl = dir.numactl().into_iter().flatten();
        let more: Vec<_> = numactl.filter(|(_, guest)| !files.iter().any(|(_, other)| other == guest)).collect();
        files.extend(more);
    }
    initramfs::build(&dir.initramfs(arch), &dir.busybox(arch), &files, initramfs::INIT)
}

/// The libraries and the loader that a program asks for, as (host path, guest path): a guest's loader looks in /lib, and is where the
/// program says.
fn libraries(program: &Path) -> Result<Vec<(PathBuf, String)>> {
    let told = output(command("ldd").arg(program))
        .with_context(|| format!("cannot list the libraries of {}", program.display()))?;
    let library = |line: &str| {
        let mut words = line.split_whitespace();
        let (name, next) = (words.next()?, words.next()?);
        match next {
            "=>" => Some((PathBuf::from(words.next()?), format!("lib/{name}"))),
            // The loader, by its path; the kernel's own page has none.
            _ => name.strip_prefix('/').map(|guest| (PathBuf::from(name), guest.to_owned())),
        }
    };
    Ok(told.lines().filter_map(library).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_asks_for_the_c_library_and_a_loader() {
        // This test is one that cargo links dynamically.
        let files = libraries(&std::env::current_exe().unwrap()).unwrap();
        for wanted in ["lib/libc.so.6", "ld-linux"] {
            assert!(files.iter().any(|(host, guest)| guest.contains(wanted) && host.is_file()), "{wanted}: {files:?}");
        }
    }
}
