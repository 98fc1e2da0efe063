//! Guests with NUMA nodes on a machine that has none: QEMU with emulated CPUs, a distribution's kernel, and an initramfs of our own.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use std::time::Duration;
//! let guest = xtask::vm::VmDir::open().guest("6.12", &xtask::vm::TWO_NODES)?;
//! let output = guest.boot("numatrace doctor", Duration::from_secs(60))?;
//! println!("{}", output.success()?);
//! # Ok(())
//! # }
//! ```
//!
//! `cargo xtask test --leg numa` and `cargo xtask vm` prepare the folder; what is missing from it is an error that says so. CPUs are
//! emulated (TCG), not virtualised: it works without /dev/kvm, on any machine, and places pages exactly; its clock is no measure of speed.

mod apt;
mod arch;
mod boot;
pub mod cpio;
pub mod fetch;
pub mod guest_files;
pub mod initramfs;
mod topology;

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

pub use self::{
    arch::Arch,
    boot::GuestOutput,
    topology::{ALL, FOUR_NODES, Node, ONE_NODE, SMT_LLC, TWO_NODES, Topology},
};
use crate::shell::{root, which};

/// Kernel series that guests run. The oldest that a supported distribution ships, and the newest of that distribution's backports.
pub const KERNEL_SERIES: [&str; 2] = ["6.1", "6.12"];

/// The folder that holds what guests boot from; see [`VmDir::open`].
#[derive(Clone, Debug)]
pub struct VmDir {
    path: PathBuf,
}

/// A kernel that a guest can boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelImage {
    pub arch: Arch,
    /// One of [`KERNEL_SERIES`].
    pub series: String,
    /// As `uname -r` prints it.
    pub release: String,
    pub vmlinuz: PathBuf,
}

/// A guest ready to boot. The public fields may be changed before [`Guest::boot`].
#[derive(Clone, Debug)]
pub struct Guest {
    pub kernel: KernelImage,
    pub topology: &'static Topology,
    pub initramfs: PathBuf,
    /// A host thread for each CPU: about twice as fast with all CPUs busy, and wrong, see [`Guest::boot`].
    pub multi_thread: bool,
    /// More words of the kernel command line, such as `numa_balancing=enable`.
    pub kernel_args: Vec<String>,
    /// Show everything while it runs. The command's standard output then is part of the console.
    pub echo: bool,
    dir: VmDir,
}

impl VmDir {
    /// `$NUMATRACE_VM_DIR`, or `target/vm` of the repository.
    pub fn open() -> Self {
        let path = env::var_os("NUMATRACE_VM_DIR").map_or_else(|| root().join("target/vm"), PathBuf::from);
        Self { path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The initramfs with numatrace and the test programs in it.
    pub fn initramfs(&self, arch: Arch) -> PathBuf {
        self.path.join(arch.file("initramfs")).with_extension("cpio")
    }

    /// Where busybox's package is unpacked.
    pub(super) fn busybox_folder(&self, arch: Arch) -> PathBuf {
        self.path.join(arch.file("busybox"))
    }

    pub fn busybox(&self, arch: Arch) -> PathBuf {
        self.busybox_folder(arch).join("bin/busybox")
    }

    /// Where kernels of that architecture are, a folder for each series.
    pub fn kernels_folder(&self, arch: Arch) -> PathBuf {
        self.path.join(arch.file("kernels"))
    }

    /// x86-64 programs of numactl, their loader and their libraries, each with its place in a guest; `None` unless all are there.
    pub fn numactl(&self) -> Option<Vec<(PathBuf, String)>> {
        let unpacked = self.path.join("numactl");
        let library = |name: &str| (format!("lib/x86_64-linux-gnu/{name}"), format!("lib/{name}"));
        let programs =
            ["numastat", "numactl", "migratepages"].map(|name| (format!("bin/{name}"), format!("bin/{name}")));
        let libraries = ["libc.so.6", "libnuma.so.1"].map(library);
        // The name that programs have for their loader.
        let loader = (library("ld-linux-x86-64.so.2").0, "lib64/ld-linux-x86-64.so.2".to_owned());
        let files = programs.into_iter().chain(libraries).chain([loader]);
        // Newer distributions have all of it in /usr.
        let find = |place: String| {
            [unpacked.join(&place), unpacked.join("usr").join(&place)].into_iter().find(|path| path.is_file())
        };
        files.map(|(place, guest)| Some((find(place)?, guest))).collect()
    }

    /// Kernels that are there, oldest series first.
    pub fn kernels(&self, arch: Arch) -> Vec<KernelImage> {
        kernels(arch, &self.kernels_folder(arch))
    }

    /// An x86-64 guest of that kernel series and topology.
    pub fn guest(&self, series: &str, topology: &'static Topology) -> Result<Guest> {
        self.guest_of(Arch::X86_64, series, topology)
    }

    /// A guest of that architecture, kernel series and topology.
    pub fn guest_of(&self, arch: Arch, series: &str, topology: &'static Topology) -> Result<Guest> {
        let Some(kernel) = self.kernels(arch).into_iter().find(|kernel| kernel.series == series) else {
            bail!(
                "no {series} kernel for {} in {}: `cargo xtask setup --for test` fetches it",
                arch.name(),
                self.path.display()
            );
        };
        if !topology.runs_on(arch) {
            bail!("an {} guest cannot be a machine like {}", arch.name(), topology.name);
        }
        Ok(Guest {
            kernel,
            topology,
            initramfs: self.initramfs(arch),
            multi_thread: false,
            kernel_args: Vec::new(),
            echo: false,
            dir: self.clone(),
        })
    }

    /// Why guests of this architecture cannot be booted here, if so: QEMU or a kernel is missing.
    pub fn cannot_boot(&self, arch: Arch) -> Option<String> {
        let kernels = self.kernels(arch);
        let missing = KERNEL_SERIES.iter().find(|series| kernels.iter().all(|kernel| kernel.series != **series));
        let missing =
            missing.map(|series| format!("there is no {series} kernel for {} in {}", arch.name(), self.path.display()));
        self.qemu(arch).err().map(|error| error.to_string()).or(missing)
    }

    /// QEMU: the machine's own, or the one that setup unpacked into this folder.
    pub fn qemu(&self, arch: Arch) -> Result<Command> {
        let name = arch.qemu();
        if let Some(qemu) = which(name) {
            return Ok(Command::new(qemu));
        }
        let unpacked = self.path.join("qemu");
        let binary = unpacked.join("usr/bin").join(name);
        if !binary.is_file() {
            bail!("{name} is not installed: `cargo xtask setup --for test` installs it");
        }
        // It finds its firmware relative to itself, and its libraries here.
        let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map(|dir| unpacked.join(dir));
        let mut qemu = Command::new(binary);
        qemu.env("LD_LIBRARY_PATH", env::join_paths(libraries).context("the path of the vm folder has a colon in it")?);
        Ok(qemu)
    }
}

/// Kernels below `dir`, laid out as `<series>/boot/vmlinuz-<release>`.
pub fn kernels(arch: Arch, dir: &Path) -> Vec<KernelImage> {
    let image = |series: &str| {
        let entries = dir.join(series).join("boot").read_dir().ok()?;
        entries.flatten().find_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let release = name.strip_prefix("vmlinuz-")?.to_owned();
            Some(KernelImage { arch, series: series.to_owned(), release, vmlinuz: entry.path() })
        })
    };
    KERNEL_SERIES.into_iter().filter_map(image).collect()
}
