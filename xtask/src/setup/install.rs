//! Gets one missing thing, the first way that works on this machine, and never at the price of removing something else.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};

use super::{needs::Need, prometheus, readers};
use crate::{
    shell::{Privilege, command, output, run, say, shown, which},
    toolchain::{BPF_LINKER_VERSION, LLVM_MAJOR, LLVM_PREFIX},
    vm::{
        Arch, VmDir,
        fetch::{self, packages_to_remove},
    },
};

/// rustc with LLVM 22 and prebuilt `core` for BPF, as Debian has it.
const DEBIAN_BPF_COMPILER: [&str; 3] = ["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf"];

/// The ways this machine has of getting things.
pub struct Machine {
    privilege: Privilege,
    apt: bool,
}

impl Machine {
    pub fn detect() -> Self {
        Self { privilege: Privilege::detect(), apt: which("apt-get").is_some() && which("dpkg-deb").is_some() }
    }

    /// `apt-get update`, once, where something comes through apt. A list that is too old names packages that are gone.
    pub fn refresh_package_lists(&self, missing: &[Need]) -> Result<()> {
        if !self.apt || !missing.iter().any(Need::wants_apt) {
            return Ok(());
        }
        if self.privilege == Privilege::None {
            say("cannot renew the package lists without root; using those that are here");
            return Ok(());
        }
        let mut update = self.apt_get()?;
        update.args(["update", "-qq"]);
        say(format!("running `{}`", shown(&update)));
        run(&mut update).context("the package lists could not be renewed (is there a network?)")
    }

    /// Gets `need`, saying how before it does.
    pub fn install(&self, need: &Need, dir: &VmDir) -> Result<()> {
        match need {
            Need::Llvm => self.apt_install(&[&format!("llvm-{LLVM_MAJOR}"), &format!("llvm-{LLVM_MAJOR}-dev")]),
            Need::BpfCompiler { rustup } => self.bpf_compiler(rustup.as_deref()),
            Need::BpfLinker { .. } => {
                let mut install = cargo_install(&[
                    "bpf-linker",
                    "--version",
                    BPF_LINKER_VERSION,
                    "--no-default-features",
                    "--features",
                ]);
                install.arg(format!("llvm-{LLVM_MAJOR}")).arg("--force");
                if Path::new(LLVM_PREFIX).is_dir() {
                    // Without it the build takes whatever llvm-config comes first.
                    install.env("LLVM_PREFIX", LLVM_PREFIX);
                }
                say_and_run(install)
            }
            Need::Nextest => say_and_run(cargo_install(&["cargo-nextest"])),
            Need::Nightly => {
                let mut install = command("rustup");
                install.args(["toolchain", "install", "nightly", "--profile", "minimal"]);
                say_and_run(install)
            }
            Need::CargoFuzz => say_and_run(cargo_install(&["cargo-fuzz"])),
            Need::CargoDeny => say_and_run(cargo_install(&["cargo-deny"])),
            Need::Tmux => self.apt_install(&["tmux"]),
            Need::Qemu => self.qemu(dir),
            Need::Busybox(arch) => {
                self.fetch(&format!("busybox-static of {}", arch.debian()), || fetch::busybox(dir, *arch))
            }
            // Its C library is a mere recommendation of it.
            Need::CrossCompiler => self.apt_install(&["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"]),
            Need::CrossLibrary => {
                let mut add = command("rustup");
                add.args(["target", "add", Arch::Aarch64.target()]);
                say_and_run(add)
            }
            Need::Numactl => self.fetch("numactl and its libraries", || fetch::numactl(dir)),
            Need::Go => self.apt_install(&["golang-go"]),
            Need::Debootstrap => self.apt_install(&["debootstrap"]),
            Need::Lintian => self.apt_install(&["lintian"]),
            Need::Readers => self.readers(),
            Need::Perf => self.apt_install(&["linux-perf"]),
            Need::Prometheus => self.fetch("prometheus", || fetch::prometheus(&prometheus::folder())),
            Need::Kernel(arch, series) => {
                let what = format!("the newest {series} cloud kernel of {}", arch.debian());
                self.fetch(&what, || fetch::kernel(dir, *arch, series))
            }
            Need::Peer(peer) => self.apt_install(&[peer.package]),
        }
    }

    /// Debian's packages where apt has them, else rust-src for a rustup toolchain that fits.
    fn bpf_compiler(&self, rustup: Option<&str>) -> Result<()> {
        if self.apt && DEBIAN_BPF_COMPILER.iter().all(|package| apt_has(package)) {
            return self.apt_install(&DEBIAN_BPF_COMPILER);
        }
        let Some(toolchain) = rustup else {
            bail!("no compiler with LLVM {LLVM_MAJOR} can be had through apt, and no rustup toolchain has it");
        };
        let mut add = command("rustup");
        add.args(["component", "add", "rust-src", "--toolchain", toolchain]);
        say_and_run(add)
    }

    /// Installed where that removes nothing, else unpacked for ourselves alone.
    fn qemu(&self, dir: &VmDir) -> Result<()> {
        if self.apt && self.privilege != Privilege::None {
            match self.apt_install(&fetch::QEMU_PACKAGES) {
                Ok(()) => return Ok(()),
                Err(error) => say(format!("{error:#}; unpacking it below target/vm instead")),
            }
        }
        self.fetch("QEMU and the libraries it lacks", || fetch::qemu(dir))
    }

    /// An environment of Python's own, so that nothing of the machine's Python changes.
    fn readers(&self) -> Result<()> {
        if !readers::python_makes_environments() {
            self.apt_install(&["python3-venv"])?;
        }
        for step in readers::steps() {
            say_and_run(step)?;
        }
        Ok(())
    }

    fn fetch(&self, what: &str, fetch: impl FnOnce() -> Result<()>) -> Result<()> {
        self.need_apt()?;
        say(format!("downloading {what} and unpacking it below target"));
        fetch()
    }

    fn apt_install(&self, packages: &[&str]) -> Result<()> {
        self.need_apt()?;
        if let Some(absent) = packages.iter().find(|package| !apt_has(package)) {
            bail!("this distribution has no package {absent}");
        }
        let simulated = output(command("apt-get").args(["install", "-s", "--no-install-recommends"]).args(packages))?;
        let removed = packages_to_remove(&simulated);
        if !removed.is_empty() {
            bail!("installing {} would remove {}", packages.join(" "), removed.join(", "));
        }
        let mut install = self.apt_get()?;
        install.args(["install", "-y", "-qq", "--no-install-recommends", "--no-remove"]).args(packages);
        // dpkg's lines for each package are noise; what goes wrong is on the other output.
        install.stdout(std::process::Stdio::null());
        say_and_run(install)
    }

    fn need_apt(&self) -> Result<()> {
        if self.apt { Ok(()) } else { Err(anyhow!("setup knows only distributions with apt-get")) }
    }

    fn apt_get(&self) -> Result<std::process::Command> {
        // `env` because sudo drops variables.
        let mut apt = self.privilege.command("env")?;
        // Waits for another apt instead of failing beside it.
        apt.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=300"]);
        Ok(apt)
    }
}

/// True where the package lists have a package of that name.
fn apt_has(package: &str) -> bool {
    output(command("apt-cache").args(["policy", package])).is_ok_and(|policy| has_candidate(&policy))
}

/// Reads `apt-cache policy`, which exits with 0 for any name.
fn has_candidate(policy: &str) -> bool {
    policy.lines().filter_map(|line| line.trim().strip_prefix("Candidate:")).any(|version| version.trim() != "(none)")
}

fn cargo_install(args: &[&str]) -> std::process::Command {
    let mut install = command("cargo");
    // A program of the user's home is no part of this build.
    install.args(["install", "--locked"]).args(args).env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS");
    // They run for seconds: what would make them faster takes minutes.
    for (name, value) in [("OPT_LEVEL", "1"), ("LTO", "off"), ("CODEGEN_UNITS", "16"), ("DEBUG", "false")] {
        install.env(format!("CARGO_PROFILE_RELEASE_{name}"), value);
    }
    install
}

fn say_and_run(mut command: std::process::Command) -> Result<()> {
    say(format!("running `{}`", shown(&command)));
    run(&mut command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_tells_a_package_from_a_mere_name() {
        assert!(has_candidate("llvm-22-dev:\n  Installed: (none)\n  Candidate: 1:22.1\n"));
        assert!(!has_candidate("qemu-kvm:\n  Installed: (none)\n  Candidate: (none)\n"));
        assert!(!has_candidate(""));
    }
}
