//! Which compiler builds the eBPF object.
//!
//! bpf-linker reads the bitcode that rustc writes, so both must carry the same LLVM: 22, which is rustc 1.95 to 1.98. `core` for the BPF
//! target comes from rust-src (built on the fly) or prebuilt from Debian. Both need features that stable refuses; RUSTC_BOOTSTRAP allows
//! them, and is set for that one child process only, so it never reaches a user's build.

use std::{
    collections::BTreeSet,
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::shell::{command, output, which};

/// The LLVM that both sides are built with.
pub const LLVM_MAJOR: u32 = 22;
/// The bpf-linker that the committed objects were linked with.
pub const BPF_LINKER_VERSION: &str = "0.13.0";
/// Where Debian keeps that LLVM; bpf-linker's build looks elsewhere unless told.
pub const LLVM_PREFIX: &str = "/usr/lib/llvm-22";
/// Debian's `core` for the BPF target.
const DEBIAN_BPF_CORE: &str = "/usr/lib/rustlib/bpfel-unknown-none/lib";
/// The only crates that may use unstable features where `core` is prebuilt.
const UNSTABLE_CRATES: &str = "aya_ebpf,aya_ebpf_bindings,aya_ebpf_cty,aya_log_ebpf,numatrace_ebpf,numatrace";

/// What matters of `rustc -vV`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RustcVersion {
    pub release: String,
    pub commit: String,
    pub llvm_major: u32,
    /// The text as rustc printed it.
    pub text: String,
}

impl RustcVersion {
    /// Reads the output of `rustc -vV`.
    pub fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        Some(Self {
            release: field("release:")?.to_owned(),
            commit: field("commit-hash:").unwrap_or("unknown").to_owned(),
            llvm_major: field("LLVM version:")?.split('.').next()?.parse().ok()?,
            text: text.trim().to_owned(),
        })
    }
}

/// A compiler found on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub kind: Kind,
    pub rustc: RustcVersion,
    /// It can provide `core` for the BPF target.
    pub has_core: bool,
}

/// Where a compiler comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A rustup toolchain of that name, `core` built from rust-src.
    Rustup(String),
    /// Debian's rustc-web below /usr, `core` prebuilt.
    Debian,
}

/// The first that fits: rustup's (in the order given), then Debian's.
pub fn choose(candidates: &[Candidate]) -> Option<&Candidate> {
    let usable = |candidate: &&Candidate| candidate.has_core && candidate.rustc.llvm_major == LLVM_MAJOR;
    let rustup = candidates.iter().filter(usable).find(|candidate| candidate.kind != Kind::Debian);
    rustup.or_else(|| candidates.iter().find(usable))
}

/// A rustup toolchain that lacks nothing but rust-src.
pub fn lacks_rust_src(candidates: &[Candidate]) -> Option<&str> {
    candidates.iter().filter(|candidate| candidate.rustc.llvm_major == LLVM_MAJOR && !candidate.has_core).find_map(
        |candidate| match &candidate.kind {
            Kind::Rustup(name) => Some(name.as_str()),
            Kind::Debian => None,
        },
    )
}

/// The compilers on this machine, rustup's active one first.
pub fn candidates() -> Vec<Candidate> {
    let mut found = Vec::new();
    if which("rustup").is_some()
        && let Ok(list) = output(command("rustup").args(["toolchain", "list"]))
    {
        let mut names: Vec<&str> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
        let active = list.lines().find(|line| line.contains("active")).and_then(|line| line.split_whitespace().next());
        names.sort_by_key(|name| Some(*name) != active);
        found.extend(names.into_iter().filter_map(rustup_candidate));
    }
    if let Ok(text) = output(command("/usr/bin/rustc").arg("-vV"))
        && let Some(rustc) = RustcVersion::parse(&text)
    {
        let has_core = Path::new("/usr/bin/cargo").is_file() && has_rlib(Path::new(DEBIAN_BPF_CORE), "libcore-");
        found.push(Candidate { kind: Kind::Debian, rustc, has_core });
    }
    found
}

fn rustup_candidate(name: &str) -> Option<Candidate> {
    let run = |args: &[&str]| output(command("rustup").args(["run", name, "rustc"]).args(args)).ok();
    let rustc = RustcVersion::parse(&run(&["-vV"])?)?;
    let sysroot = run(&["--print", "sysroot"])?;
    let has_core = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file();
    Some(Candidate { kind: Kind::Rustup(name.to_owned()), rustc, has_core })
}

fn has_rlib(dir: &Path, prefix: &str) -> bool {
    let Ok(entries) = dir.read_dir() else { return false };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with(prefix) && name.ends_with(".rlib")
    })
}

/// The compiler that cargo runs has the standard library for `target`.
pub fn has_library(target: &str) -> bool {
    let libraries = output(command("rustc").args(["--print", "target-libdir", "--target", target]));
    libraries.is_ok_and(|folder| has_rlib(Path::new(folder.trim()), "libstd-"))
}

/// cargo's home, where it keeps the sources of dependencies and the programs it installed.
pub fn cargo_home() -> PathBuf {
    if let Some(home) = env::var_os("CARGO_HOME") {
        return PathBuf::from(home);
    }
    PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cargo")
}

/// The installed bpf-linker's version, `None` where there is none.
pub fn bpf_linker_version() -> Option<String> {
    let text = output(command("bpf-linker").env("PATH", path_with_cargo_bin()).arg("--version")).ok()?;
    parse_tool_version(&text)
}

/// llvm-strip of the wanted LLVM.
pub fn llvm_strip() -> Option<PathBuf> {
    let debian = Path::new(LLVM_PREFIX).join("bin/llvm-strip");
    if debian.is_file() {
        return Some(debian);
    }
    which(&format!("llvm-strip-{LLVM_MAJOR}"))
}

/// The version of that LLVM, `unknown` where it does not say.
pub fn llvm_version() -> String {
    let text = llvm_strip().and_then(|strip| output(command(strip).arg("--version")).ok()).unwrap_or_default();
    let line = text.lines().find(|line| line.contains("LLVM version")).unwrap_or_default();
    parse_tool_version(line).unwrap_or_else(|| "unknown".to_owned())
}

/// PATH with cargo's programs first: they are not on it in every shell.
pub fn path_with_cargo_bin() -> std::ffi::OsString {
    let old = env::var_os("PATH").unwrap_or_default();
    let dirs = std::iter::once(cargo_home().join("bin")).chain(env::split_paths(&old));
    env::join_paths(dirs).unwrap_or(old)
}

/// The version in a line such as `bpf-linker 0.13.0`.
pub fn parse_tool_version(text: &str) -> Option<String> {
    text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit())).map(ToOwned::to_owned)
}

impl Candidate {
    /// A cargo of this toolchain, set up to compile for the BPF target.
    pub fn cargo(&self) -> Command {
        let mut cargo = match &self.kind {
            Kind::Rustup(name) => {
                let mut cargo = command("rustup");
                cargo.args(["run", name, "cargo"]).env("RUSTC_BOOTSTRAP", "1").env_remove("RUSTC");
                cargo
            }
            Kind::Debian => {
                let mut cargo = command("/usr/bin/cargo");
                cargo.env("RUSTC_BOOTSTRAP", UNSTABLE_CRATES).env("RUSTC", "/usr/bin/rustc");
                cargo
            }
        };
        // What a person's shell sets for their own builds must not change the object.
        for name in [
            "RUSTFLAGS",
            "RUSTC_WRAPPER",
            "RUSTC_WORKSPACE_WRAPPER",
            "CARGO_BUILD_TARGET",
            "CARGO_TARGET_DIR",
            "CARGO_INCREMENTAL",
        ] {
            cargo.env_remove(name);
        }
        cargo.env("PATH", path_with_cargo_bin());
        cargo
    }

    /// Extra arguments of `cargo build`.
    pub fn cargo_args(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::Rustup(_) => &["-Zbuild-std=core"],
            Kind::Debian => &[],
        }
    }

    /// The folder whose name would otherwise end up in debug info.
    pub fn sysroot(&self) -> Result<PathBuf> {
        let mut rustc = match &self.kind {
            Kind::Rustup(name) => {
                let mut rustc = command("rustup");
                rustc.args(["run", name, "rustc"]);
                rustc
            }
            Kind::Debian => command("/usr/bin/rustc"),
        };
        let text = output(rustc.args(["--print", "sysroot"])).context("cannot find the compiler's own folder")?;
        Ok(PathBuf::from(text.trim()))
    }

    /// One line for people.
    pub fn describe(&self) -> String {
        let origin = match &self.kind {
            Kind::Rustup(name) => format!("rustup toolchain {name}, core from rust-src"),
            Kind::Debian => "Debian's rustc-web, core prebuilt".to_owned(),
        };
        format!("rustc {} with LLVM {} ({origin})", self.rustc.release, self.rustc.llvm_major)
    }
}

/// Names of the toolchains that are there, for an error message.
pub fn describe_all(candidates: &[Candidate]) -> String {
    let each: BTreeSet<String> = candidates
        .iter()
        .map(|candidate| {
            let core = if candidate.has_core { "" } else { ", no core for BPF" };
            format!("{} (LLVM {}{core})", candidate.rustc.release, candidate.rustc.llvm_major)
        })
        .collect();
    if each.is_empty() { "none".to_owned() } else { each.into_iter().collect::<Vec<_>>().join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUSTC: &str = "rustc 1.95.0 (59807616e 2026-04-14)\nbinary: rustc\ncommit-hash: 59807616e1fa\nhost: x86_64-unknown-linux-gnu\nrelease: 1.95.0\nLLVM version: 22.1.2\n";

    fn candidate(kind: Kind, llvm: u32, has_core: bool) -> Candidate {
        let text = RUSTC.replace("22.1.2", &format!("{llvm}.1.2"));
        Candidate { kind, rustc: RustcVersion::parse(&text).unwrap(), has_core }
    }

    #[test]
    fn rustc_version_is_read() {
        let version = RustcVersion::parse(RUSTC).unwrap();
        assert_eq!(
            (version.release.as_str(), version.commit.as_str(), version.llvm_major),
            ("1.95.0", "59807616e1fa", 22)
        );
        assert_eq!(RustcVersion::parse("rustc 1.95.0"), None);
    }

    #[test]
    fn tool_version_is_read() {
        assert_eq!(parse_tool_version("bpf-linker 0.13.0\n").as_deref(), Some("0.13.0"));
        assert_eq!(parse_tool_version("bpf-linker"), None);
    }

    #[test]
    fn rustup_with_sources_comes_before_debian() {
        let debian = candidate(Kind::Debian, 22, true);
        let rustup = candidate(Kind::Rustup("stable".into()), 22, true);
        assert_eq!(choose(&[debian.clone(), rustup.clone()]), Some(&rustup));
        assert_eq!(choose(std::slice::from_ref(&debian)), Some(&debian));
    }

    #[test]
    fn other_llvm_or_missing_core_never_fits() {
        let nightly = candidate(Kind::Rustup("nightly".into()), 23, true);
        let bare = candidate(Kind::Rustup("stable".into()), 22, false);
        assert_eq!(choose(&[nightly.clone(), bare.clone()]), None);
        assert_eq!(lacks_rust_src(&[nightly, bare]), Some("stable"));
    }
}
