//! What each purpose needs, and which of it is missing: a pure decision over [`Facts`].

use super::{prometheus, readers};
use crate::{
    shell::{command, output, which, which_for_root},
    toolchain::{self, BPF_LINKER_VERSION, LLVM_MAJOR, LLVM_PREFIX},
    vm::{Arch, KERNEL_SERIES, VmDir},
};

/// What a machine is set up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Purpose {
    /// Compile the eBPF object from its sources
    Build,
    /// Compile and run numatrace, from the committed eBPF object
    Run,
    /// Everything that `cargo xtask test` uses
    Test,
    /// The tools that benchmarks compare with
    Bench,
    /// What `cargo xtask test --leg dist` uses
    #[value(skip)]
    Packages,
    /// The test runner, and readers of what is exported: all that `cargo xtask test --leg unit` uses
    #[value(skip)]
    Runner,
    /// What `cargo xtask test --leg lint` uses
    #[value(skip)]
    Lint,
    /// What `cargo xtask fuzz` uses
    #[value(skip)]
    Fuzz,
    /// What `cargo xtask test --leg live` uses
    #[value(skip)]
    Live,
}

impl Purpose {
    pub fn name(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Run => "run",
            Self::Test => "test",
            Self::Bench => "bench",
            Self::Packages => "tests of packages",
            Self::Runner => "unit tests",
            Self::Lint => "lint",
            Self::Fuzz => "fuzzing",
            Self::Live => "tests on this kernel",
        }
    }
}

/// One thing that a purpose needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// The LLVM that bpf-linker is compiled against, and llvm-strip.
    Llvm,
    /// rustc with that LLVM and `core` for BPF. Names a rustup toolchain that would do if it had rust-src.
    BpfCompiler {
        rustup: Option<String>,
    },
    BpfLinker {
        found: Option<String>,
    },
    Nextest,
    /// The compiler that libFuzzer and sanitizers need.
    Nightly,
    CargoFuzz,
    CargoDeny,
    Tmux,
    Qemu,
    Busybox(Arch),
    Numactl,
    Kernel(Arch, &'static str),
    /// A C compiler for another architecture.
    CrossCompiler,
    /// Rust's library for another architecture.
    CrossLibrary,
    Go,
    /// Makes the bare Debian in which packages are tried.
    Debootstrap,
    /// Holds the package against Debian's policy.
    Lintian,
    /// Programs of others that read what numatrace exports.
    Readers,
    /// perf, which makes the files that `numatrace import` reads.
    Perf,
    /// Prometheus and promtool.
    Prometheus,
    /// A tool to compare with.
    Peer(&'static Peer),
}

/// A tool that benchmarks run beside numatrace.
#[derive(Debug, PartialEq, Eq)]
pub struct Peer {
    pub program: &'static str,
    pub package: &'static str,
    pub why: &'static str,
}

pub const PEERS: [Peer; 3] = [
    Peer {
        program: "perf",
        package: "linux-perf",
        why: "benchmarks compare with perf sched, and load the machine with perf bench",
    },
    Peer { program: "runqlat", package: "libbpf-tools", why: "benchmarks compare with runqlat and runqslower" },
    Peer { program: "trace-cmd", package: "trace-cmd", why: "benchmarks compare with trace-cmd" },
];

/// What is there.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub bpf_compiler: bool,
    pub lacks_rust_src: Option<String>,
    pub bpf_linker: Option<String>,
    pub llvm_dev: bool,
    pub llvm_strip: bool,
    pub nextest: bool,
    pub nightly: bool,
    pub cargo_fuzz: bool,
    pub cargo_deny: bool,
    pub tmux: bool,
    /// Guests are x86-64, and run what this machine compiles.
    pub can_build_for_guests: bool,
    pub qemu: bool,
    pub busybox: Vec<Arch>,
    pub numactl: bool,
    pub cross_compiler: bool,
    pub cross_library: bool,
    pub go: bool,
    pub debootstrap: bool,
    pub lintian: bool,
    pub readers: bool,
    pub perf: bool,
    pub prometheus: bool,
    pub kernels: Vec<(Arch, String)>,
    /// Packages of [`PEERS`] that are there.
    pub peers: Vec<&'static str>,
}

impl Facts {
    pub fn detect(dir: &VmDir) -> Self {
        let candidates = toolchain::candidates();
        let peer_there = |peer: &&Peer| which(peer.program).is_some() || is_installed(peer.package);
        Self {
            bpf_compiler: toolchain::choose(&candidates).is_some(),
            lacks_rust_src: toolchain::lacks_rust_src(&candidates).map(ToOwned::to_owned),
            bpf_linker: toolchain::bpf_linker_version(),
            llvm_dev: std::path::Path::new(LLVM_PREFIX).join("bin/llvm-config").is_file(),
            llvm_strip: toolchain::llvm_strip().is_some(),
            nextest: has_cargo_program("cargo-nextest"),
            nightly: crate::fuzz::has_nightly(),
            cargo_fuzz: has_cargo_program("cargo-fuzz"),
            cargo_deny: has_cargo_program("cargo-deny"),
            tmux: which("tmux").is_some(),
            can_build_for_guests: cfg!(target_arch = "x86_64"),
            qemu: Arch::ALL.into_iter().all(|arch| dir.qemu(arch).is_ok()),
            busybox: Arch::ALL.into_iter().filter(|arch| dir.busybox(*arch).is_file()).collect(),
            numactl: dir.numactl().is_some(),
            cross_compiler: Arch::ALL.into_iter().filter_map(Arch::cross_compiler).all(|name| which(name).is_some()),
            cross_library: Arch::ALL.into_iter().all(|arch| toolchain::has_library(arch.target())),
            go: which("go").is_some(),
            debootstrap: which_for_root("debootstrap").is_some(),
            lintian: which("lintian").is_some(),
            readers: readers::are_there(),
            perf: which("perf").is_some(),
            prometheus: prometheus::programs().is_some(),
            kernels: Arch::ALL
                .into_iter()
                .flat_map(|arch| dir.kernels(arch).into_iter().map(move |kernel| (arch, kernel.series)))
                .collect(),
            peers: PEERS.iter().filter(peer_there).map(|peer| peer.package).collect(),
        }
    }
}

/// Whether a program that cargo installs is there, on PATH or not.
fn has_cargo_program(name: &str) -> bool {
    which(name).is_some() || toolchain::cargo_home().join("bin").join(name).is_file()
}

fn is_installed(package: &str) -> bool {
    output(command("dpkg-query").args(["-W", "-f=${db:Status-Status}", package]))
        .is_ok_and(|status| status == "installed")
}

/// What `purpose` needs and `facts` lack, in the order in which to install it.
pub fn missing(purpose: Purpose, facts: &Facts) -> Vec<Need> {
    let mut needs = Vec::new();
    let mut need = |missing: bool, need: Need| {
        if missing {
            needs.push(need);
        }
    };
    if matches!(purpose, Purpose::Build | Purpose::Test) {
        let linker = facts.bpf_linker.as_deref() == Some(BPF_LINKER_VERSION);
        need(!facts.llvm_strip || (!linker && !facts.llvm_dev), Need::Llvm);
        need(!facts.bpf_compiler, Need::BpfCompiler { rustup: facts.lacks_rust_src.clone() });
        need(!linker, Need::BpfLinker { found: facts.bpf_linker.clone() });
    }
    if matches!(purpose, Purpose::Runner | Purpose::Live | Purpose::Test) {
        need(!facts.nextest, Need::Nextest);
        need(!facts.readers, Need::Readers);
        need(!facts.prometheus, Need::Prometheus);
    }
    if matches!(purpose, Purpose::Lint | Purpose::Test) {
        need(!facts.cargo_deny, Need::CargoDeny);
    }
    if matches!(purpose, Purpose::Fuzz | Purpose::Test) {
        need(!facts.nightly, Need::Nightly);
        need(!facts.cargo_fuzz, Need::CargoFuzz);
    }
    if matches!(purpose, Purpose::Live | Purpose::Test) {
        need(!facts.tmux, Need::Tmux);
        need(!facts.perf, Need::Perf);
        need(!facts.go, Need::Go);
    }
    if matches!(purpose, Purpose::Packages | Purpose::Test) {
        need(!facts.debootstrap, Need::Debootstrap);
        need(!facts.lintian, Need::Lintian);
    }
    if purpose == Purpose::Test && facts.can_build_for_guests {
        need(!facts.qemu, Need::Qemu);
        need(!facts.numactl, Need::Numactl);
        need(!facts.cross_compiler, Need::CrossCompiler);
        need(!facts.cross_library, Need::CrossLibrary);
        for arch in Arch::ALL {
            need(!facts.busybox.contains(&arch), Need::Busybox(arch));
            for series in KERNEL_SERIES {
                let there = facts.kernels.iter().any(|(of, there)| *of == arch && there == series);
                need(!there, Need::Kernel(arch, series));
            }
        }
    }
    if purpose == Purpose::Bench {
        for peer in &PEERS {
            need(!facts.peers.contains(&peer.package), Need::Peer(peer));
        }
    }
    needs
}

impl Need {
    /// What it is, in a few words.
    pub fn what(&self) -> String {
        match self {
            Self::Llvm => format!("LLVM {LLVM_MAJOR} with its headers"),
            Self::BpfCompiler { .. } => format!("a rustc with LLVM {LLVM_MAJOR} and core for BPF"),
            Self::BpfLinker { found: None } => format!("bpf-linker {BPF_LINKER_VERSION}"),
            Self::BpfLinker { found: Some(other) } => format!("bpf-linker {BPF_LINKER_VERSION} (instead of {other})"),
            Self::Nextest => "cargo-nextest".to_owned(),
            Self::Nightly => "a nightly Rust toolchain".to_owned(),
            Self::CargoFuzz => "cargo-fuzz".to_owned(),
            Self::CargoDeny => "cargo-deny".to_owned(),
            Self::Tmux => "tmux".to_owned(),
            Self::Qemu => Arch::ALL.map(Arch::qemu).join(" and "),
            Self::Busybox(arch) => format!("a static busybox for {}", arch.name()),
            Self::CrossCompiler => "a C compiler for aarch64".to_owned(),
            Self::CrossLibrary => "Rust's library for aarch64".to_owned(),
            Self::Numactl => "numastat and its libraries".to_owned(),
            Self::Go => "Go".to_owned(),
            Self::Debootstrap => "debootstrap".to_owned(),
            Self::Lintian => "lintian".to_owned(),
            Self::Readers => {
                "readers of exported files (DuckDB, HdrHistogram, Perfetto's schema) and Kubernetes' schemas".to_owned()
            }
            Self::Perf => "perf".to_owned(),
            Self::Prometheus => "Prometheus and promtool".to_owned(),
            Self::Kernel(arch, series) => format!("a {series} kernel for {} guests", arch.name()),
            Self::Peer(peer) => peer.package.to_owned(),
        }
    }

    /// Why numatrace wants it.
    pub fn why(&self) -> &'static str {
        match self {
            Self::Llvm => "bpf-linker is compiled against it, and llvm-strip makes the eBPF object small",
            Self::BpfCompiler { .. } => "compiles the eBPF object; bpf-linker reads no other LLVM's bitcode",
            Self::BpfLinker { .. } => "links the eBPF object; another version would give other bytes",
            Self::Nextest => "runs the tests",
            Self::Nightly => "compiles fuzz targets and sanitized tests, nothing else",
            Self::CargoFuzz => "builds the fuzz targets",
            Self::CargoDeny => "checks licences and sources of dependencies",
            Self::Tmux => "is the terminal in which tests drive the dashboard and read its screen",
            Self::Qemu => "boots the guests with NUMA nodes that tests run in",
            Self::CrossCompiler => {
                "links the programs of arm64 guests, and compiles those of their dependencies that are in C"
            }
            Self::CrossLibrary => "is what the programs of arm64 guests are compiled against",
            Self::Busybox(_) => "is the guests' userland; unpacked below target/vm, not installed",
            Self::Numactl => "is what guests compare placement with; unpacked below target/vm, not installed",
            Self::Go => "compiles the program in which a test looks for Go's functions",
            Self::Debootstrap => "makes the bare Debian below target/dist in which the package is installed and purged",
            Self::Lintian => "holds the package against Debian's policy",
            Self::Readers => {
                "read what numatrace exports and what is in deploy/, in tests; an environment of Python below target/readers"
            }
            Self::Perf => "records the files that tests import, and tells what is in them",
            Self::Prometheus => {
                "scrapes numatrace serve and reads rules, in tests; unpacked below target/prometheus, not installed"
            }
            Self::Kernel(..) => "guests boot it; unpacked below target/vm, not installed",
            Self::Peer(peer) => peer.why,
        }
    }

    /// What a person does where setup cannot.
    pub fn by_hand(&self) -> String {
        match self {
            Self::Llvm => format!("your distribution's llvm-{LLVM_MAJOR}-dev, or apt.llvm.org's, at {LLVM_PREFIX}"),
            Self::BpfCompiler { .. } => {
                "`rustup toolchain install 1.95.0 --component rust-src` (1.95 to 1.98 have LLVM 22)".to_owned()
            }
            Self::BpfLinker { .. } => format!(
                "`LLVM_PREFIX=<LLVM {LLVM_MAJOR}> cargo install bpf-linker --version {BPF_LINKER_VERSION} --locked --no-default-features --features llvm-{LLVM_MAJOR}`"
            ),
            Self::Nextest => "`cargo install cargo-nextest --locked`".to_owned(),
            Self::Nightly => "`rustup toolchain install nightly --profile minimal`".to_owned(),
            Self::CargoFuzz => "`cargo install cargo-fuzz --locked`".to_owned(),
            Self::CargoDeny => "`cargo install cargo-deny --locked`".to_owned(),
            Self::Tmux => "your distribution's package `tmux`".to_owned(),
            Self::Qemu => format!("your distribution's packages with {}", self.what()),
            Self::CrossCompiler => "your distribution's aarch64-linux-gnu-gcc, with a C library for it".to_owned(),
            Self::CrossLibrary => format!("`rustup target add {}`", Arch::Aarch64.target()),
            Self::Busybox(arch) => {
                format!("a statically linked busybox at {}", VmDir::open().busybox(*arch).display())
            }
            Self::Numactl => format!(
                "your distribution's numactl, libnuma and libc, unpacked at {}/numactl",
                VmDir::open().path().display()
            ),
            Self::Go => "your distribution's package with `go`".to_owned(),
            Self::Debootstrap => "your distribution's package `debootstrap`".to_owned(),
            Self::Lintian => "your distribution's package `lintian`".to_owned(),
            Self::Readers => format!(
                "`python3 -m venv {0} && {0}/bin/pip install {1}`",
                readers::folder().display(),
                readers::PACKAGES.join(" ")
            ),
            Self::Perf => "your distribution's package with `perf`".to_owned(),
            Self::Prometheus => {
                "your distribution's package with `prometheus` and `promtool`, 2.40 or later".to_owned()
            }
            Self::Kernel(arch, series) => format!(
                "a distribution's vmlinuz at {}/{series}/boot/vmlinuz-VERSION",
                VmDir::open().kernels_folder(*arch).display()
            ),
            Self::Peer(peer) => format!("your distribution's package with `{}`", peer.program),
        }
    }

    /// True where setup goes on without it.
    pub fn optional(&self) -> bool {
        matches!(self, Self::Peer(_) | Self::Go | Self::Debootstrap | Self::Lintian)
    }

    /// True where it comes through apt, whose package lists must then be there and new.
    pub fn wants_apt(&self) -> bool {
        !matches!(
            self,
            Self::BpfLinker { .. }
                | Self::Nextest
                | Self::Nightly
                | Self::CargoFuzz
                | Self::CargoDeny
                | Self::CrossLibrary
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> Facts {
        Facts {
            bpf_compiler: true,
            lacks_rust_src: None,
            bpf_linker: Some(BPF_LINKER_VERSION.to_owned()),
            llvm_dev: true,
            llvm_strip: true,
            nextest: true,
            nightly: true,
            cargo_fuzz: true,
            cargo_deny: true,
            tmux: true,
            can_build_for_guests: true,
            qemu: true,
            busybox: Arch::ALL.to_vec(),
            numactl: true,
            cross_compiler: true,
            cross_library: true,
            go: true,
            debootstrap: true,
            lintian: true,
            readers: true,
            perf: true,
            prometheus: true,
            kernels: Arch::ALL
                .into_iter()
                .flat_map(|arch| KERNEL_SERIES.map(|series| (arch, series.to_owned())))
                .collect(),
            peers: PEERS.iter().map(|peer| peer.package).collect(),
        }
    }

    #[test]
    fn a_complete_machine_needs_nothing() {
        let all = [
            Purpose::Build,
            Purpose::Run,
            Purpose::Test,
            Purpose::Bench,
            Purpose::Lint,
            Purpose::Fuzz,
            Purpose::Live,
            Purpose::Packages,
        ];
        for purpose in all {
            assert_eq!(missing(purpose, &complete()), []);
        }
    }

    #[test]
    fn running_needs_nothing_but_cargo() {
        assert_eq!(missing(Purpose::Run, &Facts::default()), []);
    }

    #[test]
    fn a_fresh_machine_gets_llvm_before_the_linker_that_is_compiled_against_it() {
        let needs = missing(Purpose::Build, &Facts::default());
        assert_eq!(needs, [Need::Llvm, Need::BpfCompiler { rustup: None }, Need::BpfLinker { found: None }]);
    }

    #[test]
    fn another_linker_is_replaced_and_llvm_headers_are_asked_for_only_then() {
        let facts = Facts { bpf_linker: Some("0.9.0".into()), ..complete() };
        assert_eq!(missing(Purpose::Build, &facts), [Need::BpfLinker { found: Some("0.9.0".into()) }]);
        assert_eq!(missing(Purpose::Build, &Facts { llvm_dev: false, ..complete() }), []);
        assert_eq!(missing(Purpose::Build, &Facts { llvm_dev: false, ..facts })[0], Need::Llvm);
    }

    #[test]
    fn only_the_kernel_that_is_missing_is_fetched() {
        let mut facts = complete();
        facts.kernels.retain(|there| *there != (Arch::Aarch64, "6.1".to_owned()));
        assert_eq!(missing(Purpose::Test, &facts), [Need::Kernel(Arch::Aarch64, "6.1")]);
    }

    #[test]
    fn unit_tests_need_the_runner_and_who_reads_what_is_written() {
        assert_eq!(missing(Purpose::Runner, &Facts::default()), [Need::Nextest, Need::Readers, Need::Prometheus]);
    }

    #[test]
    fn fuzzing_needs_its_compiler_before_its_program_and_unit_tests_need_neither() {
        assert_eq!(missing(Purpose::Fuzz, &Facts::default()), [Need::Nightly, Need::CargoFuzz]);
        assert_eq!(missing(Purpose::Test, &Facts { cargo_fuzz: false, ..complete() }), [Need::CargoFuzz]);
    }

    #[test]
    fn tests_of_the_dashboard_need_tmux_on_this_kernel_and_in_guests() {
        assert_eq!(missing(Purpose::Live, &Facts { tmux: false, ..complete() }), [Need::Tmux]);
        assert_eq!(missing(Purpose::Test, &Facts { tmux: false, ..complete() }), [Need::Tmux]);
    }

    #[test]
    fn guests_are_prepared_only_where_their_programs_can_be_built() {
        let with = |can_build_for_guests| {
            let facts = Facts { can_build_for_guests, ..Facts::default() };
            missing(Purpose::Test, &facts).contains(&Need::Qemu)
        };
        assert!(with(true) && !with(false));
    }

    #[test]
    fn only_tools_to_compare_with_go_and_debians_are_optional() {
        let needs = missing(Purpose::Bench, &Facts::default());
        assert_eq!(needs.len(), PEERS.len());
        assert!(needs.iter().all(Need::optional));
        let optional: Vec<_> = missing(Purpose::Test, &Facts::default()).into_iter().filter(Need::optional).collect();
        assert_eq!(optional, [Need::Go, Need::Debootstrap, Need::Lintian]);
    }
}
