//! Gets kernels, busybox, numactl, Prometheus and, where it cannot be installed, QEMU from the distribution's packages, unpacked below `target` and never
//! installed: a guest's kernel is none of the machine's business, busybox-static would push out an installed busybox, and
//! Prometheus would start to listen.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::{Arch, VmDir, apt::Apt};
use crate::shell::{command, output, run};

/// The newest package of the kernel `series` for `arch` in the output of `apt-cache search`. Cloud kernels are small, and have what guests
/// need built in.
pub fn newest_kernel_package(search: &str, arch: Arch, series: &str) -> Option<String> {
    let suffix = format!("-cloud-{}", arch.debian());
    let prefix = format!("linux-image-{series}.");
    let names = search.lines().filter_map(|line| line.split_whitespace().next());
    let fitting =
        names.filter(|name| name.starts_with(&prefix) && name.trim_end_matches("-unsigned").ends_with(&suffix));
    // The unsigned variant holds the same kernel, and may be the only one of the newest version.
    fitting
        .max_by_key(|name| (numbers(name.trim_end_matches("-unsigned")), !name.ends_with("-unsigned")))
        .map(ToOwned::to_owned)
}

/// The numbers in a name, so that 6.12.9 comes before 6.12.10.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

/// Fetches the kernel of that series into `<series>/boot` of the folder of kernels.
pub fn kernel(dir: &VmDir, arch: Arch, series: &str) -> Result<()> {
    let apt = Apt::of(arch, dir)?;
    let name = format!("^linux-image-.*-cloud-{}", arch.debian());
    let search = output(apt.command("apt-cache").args(["search", "--names-only", &name]))?;
    let Some(package) = newest_kernel_package(&search, arch, series) else {
        bail!(
            "the package lists have no linux-image-{series}.*-cloud-{}: put a kernel at {}/{series}/boot/vmlinuz-VERSION",
            arch.debian(),
            dir.kernels_folder(arch).display()
        );
    };
    unpack(&apt, &[package], &dir.kernels_folder(arch).join(series), &["boot"])
}

/// Fetches a static busybox.
pub fn busybox(dir: &VmDir, arch: Arch) -> Result<()> {
    let folder = dir.busybox_folder(arch);
    unpack(&Apt::of(arch, dir)?, &["busybox-static".to_owned()], &folder, &["bin", "usr"])?;
    let wanted = dir.busybox(arch);
    // Newer distributions keep it in /usr/bin.
    let merged = folder.join("usr/bin/busybox");
    if !wanted.exists() && merged.exists() {
        fs::create_dir_all(wanted.with_file_name(""))
            .and_then(|()| fs::copy(&merged, &wanted))
            .context("cannot copy busybox")?;
    }
    Ok(())
}

/// Fetches numactl's programs with the libraries they are linked to.
pub fn numactl(dir: &VmDir) -> Result<()> {
    let packages = ["numactl", "libnuma1", "libc6"].map(str::to_owned);
    unpack(&Apt::own(), &packages, &dir.path().join("numactl"), &["lib", "lib64", "usr"])
}

/// QEMU for every [`Arch`].
pub const QEMU_PACKAGES: [&str; 2] = ["qemu-system-x86", "qemu-system-arm"];

/// Unpacks QEMU with those of its libraries that this machine lacks: runs from there, and changes nothing outside.
pub fn qemu(dir: &VmDir) -> Result<()> {
    let simulate = ["install", "-s", "--no-install-recommends"];
    let simulated = output(command("apt-get").args(simulate).args(QEMU_PACKAGES))?;
    unpack(&Apt::own(), &packages_to_install(&simulated), &dir.path().join("qemu"), &["usr", "lib"])
}

/// Unpacks the programs of Prometheus to `to`; they need the C library alone.
pub fn prometheus(to: &Path) -> Result<()> {
    unpack(&Apt::own(), &["prometheus".to_owned()], to, &["usr"])
}

/// Packages that an `apt-get install -s` would install or upgrade.
pub fn packages_to_install(simulated: &str) -> Vec<String> {
    lines_of(simulated, "Inst ")
}

/// Packages that an `apt-get install -s` would remove.
pub fn packages_to_remove(simulated: &str) -> Vec<String> {
    lines_of(simulated, "Remv ")
}

fn lines_of(simulated: &str, action: &str) -> Vec<String> {
    let rest = simulated.lines().filter_map(|line| line.strip_prefix(action));
    rest.filter_map(|line| line.split_whitespace().next()).map(ToOwned::to_owned).collect()
}

/// Downloads `packages` and unpacks the folders `keep` of them to `to`, all or nothing.
fn unpack(apt: &Apt, packages: &[String], to: &Path, keep: &[&str]) -> Result<()> {
    let partial = with_suffix(to, ".partial");
    let debs = partial.join("debs");
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&debs).with_context(|| format!("cannot create {}", debs.display()))?;
    run(apt.command("apt-get").current_dir(&debs).args(["download", "-qq"]).args(packages))?;
    for entry in debs.read_dir().context("cannot list what apt-get downloaded")? {
        run(command("dpkg-deb").arg("-x").arg(entry?.path()).arg(&partial))?;
    }
    for entry in partial.read_dir().context("cannot list what dpkg-deb unpacked")? {
        let entry = entry?;
        if !keep.iter().any(|name| entry.file_name() == *name) {
            let path = entry.path();
            // A package may hold a symlink to a folder here, which must be removed as a file.
            let removed = if entry.file_type()?.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    let _ = fs::remove_dir_all(to);
    fs::rename(&partial, to).with_context(|| format!("cannot move what was unpacked to {}", to.display()))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEARCH: &str = "\
linux-image-6.1.0-9-cloud-amd64 - Linux 6.1 for x86-64 cloud (signed)
linux-image-6.1.0-56-cloud-amd64-dbg - Debug symbols
linux-image-6.1.0-56-cloud-amd64-unsigned - Linux 6.1 for x86-64 cloud
linux-image-6.1.0-56-cloud-amd64 - Linux 6.1 for x86-64 cloud (signed)
linux-image-6.1.0-57-cloud-arm64 - Linux 6.1 for arm64 cloud (signed)
linux-image-6.12.117+deb12-cloud-amd64 - Linux 6.12 for x86-64 cloud (signed)
linux-image-6.12.119+deb12-cloud-amd64-unsigned - Linux 6.12 for x86-64 cloud
";

    #[test]
    fn newest_kernel_is_by_number_and_signed_where_it_can_be() {
        assert_eq!(
            newest_kernel_package(SEARCH, Arch::X86_64, "6.1").as_deref(),
            Some("linux-image-6.1.0-56-cloud-amd64")
        );
        assert_eq!(
            newest_kernel_package(SEARCH, Arch::X86_64, "6.12").as_deref(),
            Some("linux-image-6.12.119+deb12-cloud-amd64-unsigned")
        );
        assert_eq!(newest_kernel_package(SEARCH, Arch::X86_64, "6.18"), None);
        assert_eq!(
            newest_kernel_package(SEARCH, Arch::Aarch64, "6.1").as_deref(),
            Some("linux-image-6.1.0-57-cloud-arm64")
        );
        assert_eq!(newest_kernel_package(SEARCH, Arch::Aarch64, "6.12"), None);
    }

    #[test]
    fn simulation_is_read() {
        let simulated = "Reading package lists...\nRemv qemu-utils [1:10.0]\nInst seabios (1.16 Debian [all])\nInst linux-perf [6.1.1] (6.1.2 Debian)\nConf seabios\n";
        assert_eq!(packages_to_install(simulated), ["seabios", "linux-perf"]);
        assert_eq!(packages_to_remove(simulated), ["qemu-utils"]);
    }
}
