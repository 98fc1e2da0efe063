//! The command line of `cargo xtask`, and what each command calls.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::{
    dist, ebpf, fuzz,
    legs::{self, Leg},
    run, sanitize,
    setup::{self, Purpose},
    shell::say,
    vm,
};

/// Sets up, builds, runs and tests numatrace
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, about, long_about = None)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Install what is missing, saying what and why before it does
    ///
    /// Installs nothing that is there, and nothing at the price of removing something else. Guests' kernels and busybox are unpacked below
    /// target/vm, not installed.
    Setup {
        /// What to set this machine up for
        #[arg(long = "for", value_name = "PURPOSE", default_value = "test")]
        purpose: Purpose,
    },
    /// Compile the eBPF object for each architecture, and write its manifest
    BuildEbpf {
        /// Rebuild aside and compare with what is committed
        #[arg(long, conflicts_with = "out")]
        check: bool,
        /// Write to this folder instead of numatrace/ebpf
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Build numatrace and run it as root
    Run {
        /// Arguments of numatrace [default: demo]
        #[arg(last = true, value_name = "ARGS")]
        args: Vec<String>,
    },
    /// Run the tests, leg by leg, and print a table at the end
    Test {
        /// Run this leg only; may be repeated
        #[arg(long = "leg", value_name = "NAME")]
        legs: Vec<Leg>,
    },
    /// Run the fuzz targets with AddressSanitizer, from the corpora in fuzz/corpus
    ///
    /// Needs a nightly toolchain; installs cargo-fuzz where it is missing. What is found is kept below target/fuzz.
    Fuzz {
        /// Seconds for each target
        #[arg(long, value_name = "N", default_value_t = fuzz::SECONDS, value_parser = clap::value_parser!(u32).range(1..))]
        seconds: u32,
        /// Instead, run the unit tests of unsafe code with AddressSanitizer, and with Miri where the toolchain has it
        #[arg(long, conflicts_with_all = ["seconds", "targets"])]
        asan: bool,
        /// Targets [default: all]
        #[arg(value_name = "TARGET")]
        targets: Vec<String>,
    },
    /// Boot a guest with NUMA nodes: a shell in it, or one command
    ///
    /// Leave the shell with `exit`, or at once with Ctrl-A X.
    Vm {
        /// Architecture of the guest's CPUs
        #[arg(long, value_name = "ARCH", default_value = "x86_64")]
        arch: vm::Arch,
        /// Kernel series
        #[arg(long, value_name = "SERIES", default_value = "6.12", value_parser = vm::KERNEL_SERIES)]
        kernel: String,
        /// Machine that the guest sees
        #[arg(long, value_name = "NAME", default_value = "two_nodes", value_parser = vm::ALL.map(|topology| topology.name))]
        topology: String,
        /// Give each of the guest's CPUs a thread of the host: faster, but the guest's kernel may crash when it patches itself
        #[arg(long)]
        multi_thread: bool,
        /// Command to run instead of a shell; its exit code becomes ours
        #[arg(last = true, value_name = "CMD")]
        command: Vec<String>,
    },
    /// Make the pictures of the dashboard in docs/pictures
    Screens {
        /// Compare instead, and name what is stale, missing or made no longer
        #[arg(long)]
        check: bool,
    },
    /// Make what people install, with checksums and release notes, in target/dist
    ///
    /// A static program, a Debian package, a tarball, and the crates. Files in them are as old as the last commit, or as SOURCE_DATE_EPOCH
    /// says; the package's maintainer is DEBFULLNAME and DEBEMAIL, or the last commit's author.
    Dist {
        /// How the program is compiled
        #[arg(long, default_value = "release")]
        profile: dist::Profile,
    },
    /// Measure numatrace beside its peers, as root
    Bench {
        /// Arguments of the benchmark program
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
        args: Vec<String>,
    },
}

impl Cli {
    pub fn run(self) -> Result<ExitCode> {
        match self.command {
            Command::Setup { purpose } => {
                setup::setup(purpose)?;
                say(format!("ready for {}", purpose.name()));
            }
            Command::BuildEbpf { check: true, .. } => ebpf::check()?,
            Command::BuildEbpf { out, .. } => {
                ebpf::build(&out.unwrap_or_else(ebpf::committed_dir))?;
            }
            Command::Run { args } => return run::numatrace(&args),
            Command::Test { legs } => return legs::run(&legs),
            Command::Fuzz { seconds, asan, targets } => {
                setup::setup(Purpose::Fuzz)?;
                if asan { sanitize::run_all()? } else { fuzz::run(&targets, seconds)? }
            }
            Command::Vm { arch, kernel, topology, multi_thread, command } => {
                return run::guest(arch, &kernel, &topology, multi_thread, &command);
            }
            Command::Screens { check } => return run::screens(check),
            Command::Dist { profile } => dist::dist(profile)?,
            Command::Bench { args } => return run::bench(&args),
        }
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
