//! `cargo xtask test`: the legs, one after another, each timed; all of them run whatever fails, and a table ends it.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{
    deny, dist,
    ebpf::{self, Manifest},
    fuzz,
    setup::{Purpose, setup},
    shell::{Privilege, command, in_ci, root, say, shown},
    source_hash::source_hash,
    vm::{Arch, VmDir, guest_files},
};

/// A part of the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Leg {
    /// Format, clippy, and cargo-deny
    Lint,
    /// Rebuild the eBPF objects and compare; legs after it use the rebuilt ones
    Ebpf,
    /// Every test that needs neither root nor a guest
    Unit,
    /// Each fuzz target for 20 seconds
    Fuzz,
    /// Tests on this machine's kernel, as root
    Live,
    /// Packages: made, installed and purged in a bare Debian, as root; crates built alone
    Dist,
    /// Tests in guests with NUMA nodes
    Numa,
}

const ALL: [Leg; 7] = [Leg::Lint, Leg::Ebpf, Leg::Unit, Leg::Fuzz, Leg::Live, Leg::Dist, Leg::Numa];

/// Tests that need root or a guest, which legs of their own run. nextest refuses names that nothing has, so a renamed binary is noticed.
const NOT_UNIT: &str =
    "not (package(numatrace-tests) and (binary(live) or binary(dashboard) or binary(numa) or binary(console)))";

#[derive(Debug)]
enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

/// Runs `wanted` (all where empty), in their order, and says how each went.
pub fn run(wanted: &[Leg]) -> Result<ExitCode> {
    for purpose in purposes(wanted) {
        // Not the end: a leg that lacks something says so itself, and the others run.
        if let Err(error) = setup(purpose) {
            say(format!("setup is incomplete: {error:#}"));
        }
    }
    let mut results = Vec::new();
    for leg in ALL.into_iter().filter(|leg| wanted.is_empty() || wanted.contains(leg)) {
        say(format!("leg {}", leg.name()));
        let started = Instant::now();
        let outcome = leg.outcome();
        if let Outcome::Failed(reason) | Outcome::Skipped(reason) = &outcome {
            say(format!("leg {}: {reason}", leg.name()));
        }
        results.push((leg, started.elapsed(), outcome));
    }
    print!("{}", table(&results));
    let failed = results.iter().any(|(_, _, outcome)| matches!(outcome, Outcome::Failed(_)));
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What the wanted legs need set up, and no more: unit tests need neither LLVM nor QEMU.
fn purposes(wanted: &[Leg]) -> Vec<Purpose> {
    if wanted.is_empty() || wanted.contains(&Leg::Numa) {
        return vec![Purpose::Test];
    }
    let build = wanted.contains(&Leg::Ebpf).then_some(Purpose::Build);
    let lint = wanted.contains(&Leg::Lint).then_some(Purpose::Lint);
    let fuzz = wanted.contains(&Leg::Fuzz).then_some(Purpose::Fuzz);
    let packages = wanted.contains(&Leg::Dist).then_some(Purpose::Packages);
    let runner = if wanted.contains(&Leg::Live) { Purpose::Live } else { Purpose::Runner };
    // Packages alone need no runner: no test of Rust's has a part in them.
    let runner = (wanted != [Leg::Dist]).then_some(runner);
    build.into_iter().chain(lint).chain(fuzz).chain(packages).chain(runner).collect()
}

impl Leg {
    fn name(self) -> &'static str {
        match self {
            Self::Lint => "lint",
            Self::Ebpf => "ebpf",
            Self::Unit => "unit",
            Self::Fuzz => "fuzz",
            Self::Live => "live",
            Self::Dist => "dist",
            Self::Numa => "numa",
        }
    }

    fn outcome(self) -> Outcome {
        if let Some(reason) = self.cannot_run() {
            // Continuous integration that tests less than it should must not be green.
            return if in_ci() { Outcome::Failed(reason) } else { Outcome::Skipped(reason) };
        }
        let done = match self {
            Self::Lint => lint(),
            Self::Ebpf => ebpf::check(),
            Self::Unit => unit(),
            Self::Fuzz => fuzz::run(&[], fuzz::SECONDS),
            Self::Live => live(),
            Self::Dist => dist::check::run_all(),
            Self::Numa => numa(),
        };
        match done {
            Ok(()) => Outcome::Passed,
            Err(error) => Outcome::Failed(format!("{error:#}")),
        }
    }

    /// Why this machine cannot run the leg at all.
    fn cannot_run(self) -> Option<String> {
        match self {
            Self::Lint | Self::Ebpf | Self::Unit => None,
            Self::Fuzz => fuzz::cannot_run(),
            Self::Live => {
                (Privilege::detect() == Privilege::None).then(|| "tests on this kernel need root or sudo".to_owned())
            }
            Self::Dist => dist::check::cannot_run(),
            Self::Numa if !cfg!(target_arch = "x86_64") => {
                Some("most guests are x86-64, and run what an x86-64 machine compiles".to_owned())
            }
            Self::Numa => VmDir::open().cannot_boot(Arch::X86_64),
        }
    }
}

fn lint() -> Result<()> {
    let commands = [
        cargo(&["fmt", "--all", "--check"]),
        in_ebpf(cargo(&["fmt", "--check"])),
        cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    ];
    // All of them, so that one run shows everything there is to mend.
    let failed: Vec<String> = commands
        .into_iter()
        .filter_map(|mut command| step(&mut command).err())
        .map(|error| error.to_string())
        .chain(deny::check().err().map(|error| format!("{error:#}")))
        .collect();
    if failed.is_empty() { Ok(()) } else { Err(anyhow::anyhow!(failed.join("; "))) }
}

/// Builds the program itself, which the tests of it run from beside them: cargo builds no other package's binaries for a test.
fn build_program() -> Result<()> {
    step(&mut on_rebuilt(cargo(&["build", "--package", "numatrace", "--package", "numatrace-tests", "--bins"])))
}

fn unit() -> Result<()> {
    build_program()?;
    let tests = step(&mut on_rebuilt(cargo(&["nextest", "run", "--workspace", "--no-fail-fast", "-E", NOT_UNIT])));
    let docs = step(&mut on_rebuilt(cargo(&["test", "--workspace", "--doc"])));
    tests.and(docs)
}

fn live() -> Result<()> {
    build_program()?;
    let mut nextest = on_rebuilt(nextest(&["live", "dashboard"]));
    if Privilege::detect() == Privilege::Sudo {
        // The user builds, root runs: cargo started by root would leave root's files in the target folder.
        let host = format!("CARGO_TARGET_{}_UNKNOWN_LINUX_GNU_RUNNER", env::consts::ARCH.to_uppercase());
        // Nobody called sudo for numatrace itself.
        nextest.env(host, "sudo --preserve-env -- env -u SUDO_UID -u SUDO_GID -u SUDO_USER");
    }
    if in_ci() {
        // It was set up: tests that hold numatrace against it must not skip.
        nextest.env("NUMATRACE_REQUIRE_PERF", "1");
    }
    step(&mut nextest)
}

fn numa() -> Result<()> {
    let dir = VmDir::open();
    // First that the guests are the machines they should be: else every failure after it looks like numatrace's.
    let mut guests =
        cargo(&["nextest", "run", "--package", "xtask", "--test", "guests", "--run-ignored", "all", "--no-fail-fast"]);
    let guests = step(guests.env("NUMATRACE_VM_DIR", dir.path()));
    // What is missing for one architecture takes nothing from the other.
    let mut prepared = Ok(());
    for arch in Arch::ALL {
        if let Err(error) = guest_files::prepare(&dir, arch, rebuilt_object(arch.name()).as_deref()) {
            say(format!("guests of {}: {error:#}", arch.name()));
            prepared = Err(error);
        }
    }
    let mut nextest = on_rebuilt(nextest(&["numa", "console"]));
    let tests = step(nextest.env("NUMATRACE_VM_DIR", dir.path()));
    guests.and(tests).and(if in_ci() { prepared } else { Ok(()) })
}

/// Runs test binaries of numatrace-tests, all of their tests whatever fails.
fn nextest(binaries: &[&str]) -> Command {
    let mut nextest = cargo(&["nextest", "run", "--package", "numatrace-tests", "--no-fail-fast"]);
    nextest.args(binaries.iter().flat_map(|binary| ["--test", binary]));
    nextest
}

fn cargo(args: &[&str]) -> Command {
    let mut cargo = command("cargo");
    cargo.args(args);
    cargo
}

fn in_ebpf(mut command: Command) -> Command {
    command.current_dir(root().join("numatrace-ebpf"));
    command
}

/// The object that the ebpf leg rebuilt, absolute, if it has and the sources are still those.
fn rebuilt_object(arch: &str) -> Option<PathBuf> {
    let dir = ebpf::rebuilt_dir();
    let sources = source_hash(&root()).ok()??;
    let fresh = Manifest::read(&dir).is_ok_and(|manifest| manifest.sources_sha256 == sources);
    fresh.then(|| dir.join(ebpf::object_name(arch)))
}

/// Makes numatrace embed the rebuilt object, so that tests test the sources.
fn on_rebuilt(mut command: Command) -> Command {
    if let Some(object) = rebuilt_object(env::consts::ARCH) {
        command.env("NUMATRACE_EBPF_OBJECT", object);
    }
    command
}

fn step(command: &mut Command) -> Result<()> {
    let place = command.get_current_dir().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
    say(format!("`{}` in {place}", shown(command)));
    crate::shell::run(command)
}

fn table(results: &[(Leg, Duration, Outcome)]) -> String {
    let mut text = format!("\n{:<6} {:>7}  result\n", "leg", "minutes");
    for (leg, elapsed, outcome) in results {
        let result = match outcome {
            Outcome::Passed => "passed".to_owned(),
            Outcome::Failed(reason) => format!("FAILED: {reason}"),
            Outcome::Skipped(reason) => format!("skipped: {reason}"),
        };
        text += &format!("{:<6} {:>7.1}  {result}\n", leg.name(), elapsed.as_secs_f32() / 60.0);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_has_a_line_for_each_leg_with_its_reason() {
        let minute = Duration::from_secs(60);
        let results = [
            (Leg::Lint, minute, Outcome::Passed),
            (Leg::Ebpf, 2 * minute, Outcome::Failed("stale".into())),
            (Leg::Numa, Duration::ZERO, Outcome::Skipped("no QEMU".into())),
        ];
        let text = table(&results);
        assert_eq!(
            text.lines().skip(1).collect::<Vec<_>>(),
            [
                "leg    minutes  result",
                "lint       1.0  passed",
                "ebpf       2.0  FAILED: stale",
                "numa       0.0  skipped: no QEMU"
            ]
        );
    }
}
