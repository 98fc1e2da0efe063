//! Architectures that guests have, as data: QEMU's machine, Debian's name, Rust's target.

use std::path::PathBuf;

/// What a guest's CPUs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Arch {
    #[value(name = "x86_64")]
    X86_64,
    #[value(name = "aarch64")]
    Aarch64,
}

impl Arch {
    pub const ALL: [Arch; 2] = [Arch::X86_64, Arch::Aarch64];

    /// As `uname -m` prints it, and Rust, QEMU and the eBPF objects name it.
    pub const fn name(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64",
            Arch::Aarch64 => "aarch64",
        }
    }

    /// As Debian names it.
    pub const fn debian(self) -> &'static str {
        match self {
            Arch::X86_64 => "amd64",
            Arch::Aarch64 => "arm64",
        }
    }

    /// Whether it is the one that this is compiled for.
    pub fn is_own(self) -> bool {
        self.name() == std::env::consts::ARCH
    }

    /// What the guests' programs are compiled for.
    pub const fn target(self) -> &'static str {
        match self {
            Arch::X86_64 => "x86_64-unknown-linux-gnu",
            Arch::Aarch64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// The compiler and linker that the target needs where it is not the machine's own: some dependencies have parts in C.
    pub const fn cross_compiler(self) -> Option<&'static str> {
        match self {
            Arch::X86_64 => None,
            Arch::Aarch64 => Some("aarch64-linux-gnu-gcc"),
        }
    }

    pub const fn qemu(self) -> &'static str {
        match self {
            Arch::X86_64 => "qemu-system-x86_64",
            Arch::Aarch64 => "qemu-system-aarch64",
        }
    }

    /// QEMU's machine and CPU.
    pub(super) const fn machine(self) -> &'static [&'static str] {
        match self {
            // As an AMD processor, QEMU's default, a guest finds neither SMT siblings nor a cache for each die. As one with fast copying of
            // bytes, its kernel copies and clears by instructions that are emulated byte by byte: a check takes half as long without.
            Arch::X86_64 => &["-cpu", "max,vendor=GenuineIntel,erms=off,fsrm=off"],
            // A server's CPU, whose atomic instructions are those that the kernel compiles BPF's to. 'max' would sign each return
            // address, which takes most of the time where it is emulated.
            Arch::Aarch64 => &["-machine", "virt,gic-version=3", "-cpu", "neoverse-n1"],
        }
    }

    /// The kernel's console: the first serial port.
    pub(super) const fn console(self) -> &'static str {
        match self {
            Arch::X86_64 => "ttyS0",
            Arch::Aarch64 => "ttyAMA0",
        }
    }

    /// The guest's name for the port that has the command's standard output, and QEMU's arguments for it. QEMU's character device is `out`.
    pub(super) const fn output_port(self) -> (&'static str, [&'static str; 2]) {
        match self {
            Arch::X86_64 => ("ttyS1", ["-serial", "chardev:out"]),
            // The machine has one port of its own.
            Arch::Aarch64 => ("ttyS0", ["-device", "pci-serial,chardev=out"]),
        }
    }

    /// `name` in a folder that holds files of several architectures.
    pub(super) fn file(self, name: &str) -> PathBuf {
        match self {
            Arch::X86_64 => PathBuf::from(name),
            Arch::Aarch64 => PathBuf::from(format!("{name}-aarch64")),
        }
    }
}
