//! `cargo xtask fuzz`: builds the fuzz targets with AddressSanitizer, runs each for some seconds from its corpus, and says how to
//! see again what one found.
//!
//! What a target finds out in a longer run is kept below target/fuzz/found, and the next run goes on from it; `fuzz/corpus` is read,
//! never written.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{
    shell::{command, output, root, say, shown, target_dir},
    toolchain::path_with_cargo_bin,
};

/// Seconds of each target in the tests.
pub const SECONDS: u32 = 20;
/// Seconds that one input may take: a loaded machine and AddressSanitizer make all of them slow.
const LONGEST_INPUT: u32 = 10;
/// MiB of memory in all, and of one allocation: what any input may cost. The recording reader's bounds are the largest.
const MOST_MEMORY: u32 = 2_048;
const MOST_AT_ONCE: u32 = 256;
/// Lines that are shown of the output of a target that failed.
const SHOWN: usize = 25;

/// Why nothing can be fuzzed here; `None` where it can.
pub fn cannot_run() -> Option<String> {
    if !has_nightly() {
        return Some("libFuzzer needs a nightly compiler: `rustup toolchain install nightly`".to_owned());
    }
    let fuzz = output(nightly("cargo").args(["fuzz", "--version"]));
    fuzz.is_err().then(|| "there is no cargo-fuzz: `cargo install cargo-fuzz --locked`".to_owned())
}

/// Whether rustup has a toolchain called `nightly`.
pub fn has_nightly() -> bool {
    output(command("rustup").args(["run", "nightly", "rustc", "--version"])).is_ok()
}

/// A program of the nightly toolchain, which a person's settings for their own builds do not reach.
pub(crate) fn nightly(program: &str) -> Command {
    let mut command = command("rustup");
    command.args(["run", "nightly", program]).env("PATH", path_with_cargo_bin());
    for name in
        ["RUSTFLAGS", "RUSTC", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CARGO_BUILD_TARGET", "CARGO_TARGET_DIR"]
    {
        command.env_remove(name);
    }
    command
}

/// The targets: each has a file in fuzz/fuzz_targets.
///
/// # Errors
/// When the folder cannot be read.
pub fn targets() -> Result<Vec<String>> {
    let dir = root().join("fuzz/fuzz_targets");
    let files = fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut names: Vec<String> = files
        .flatten()
        .filter_map(|file| file.file_name().to_str()?.strip_suffix(".rs").map(ToOwned::to_owned))
        .collect();
    names.sort();
    Ok(names)
}

/// Runs `wanted` (all where empty) for `seconds` each, as many at once as there are CPUs.
///
/// # Errors
/// When one is no target, when they cannot be built, and when one of them found something.
pub fn run(wanted: &[String], seconds: u32) -> Result<()> {
    let all = targets()?;
    if let Some(unknown) = wanted.iter().find(|name| !all.contains(name)) {
        bail!("there is no fuzz target {unknown}: there are {}", all.join(", "));
    }
    if let Some(reason) = cannot_run() {
        bail!("{reason}");
    }
    let wanted = if wanted.is_empty() { &all } else { wanted };
    let programs = build()?;
    let at_once = thread::available_parallelism().map_or(1, usize::from);
    say(format!("{} targets, {seconds} s each, {at_once} at once", wanted.len()));
    let mut failed = Vec::new();
    for some in wanted.chunks(at_once) {
        let running: Vec<_> = some
            .iter()
            .map(|name| {
                let (program, name) = (programs.join(name), name.clone());
                thread::spawn(move || one(&program, &name, seconds))
            })
            .collect();
        for (name, running) in some.iter().zip(running) {
            let done = running.join().unwrap_or_else(|_| Err(anyhow!("its thread panicked")));
            match done {
                Ok(told) => say(format!("  {name:<10} {told}")),
                Err(error) => {
                    say(format!("  {name:<10} FAILED: {error:#}"));
                    failed.push(name.clone());
                }
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(anyhow!("fuzzing found something in {}: see above", failed.join(", "))) }
}

fn folder() -> PathBuf {
    target_dir().join("fuzz")
}

/// Builds all of them with AddressSanitizer, and says where they are.
fn build() -> Result<PathBuf> {
    let mut build = nightly("cargo");
    // cargo-fuzz would have each crate compiled in one piece, by one CPU.
    build.args(["fuzz", "build", "--codegen-units", "16", "--target-dir"]).arg(folder());
    say(format!("`{}`", shown(&build)));
    crate::shell::run(&mut build)?;
    let version = output(nightly("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc does not tell its host")?;
    Ok(folder().join(host).join("release"))
}

/// Runs a target; what it did in a few words.
fn one(program: &Path, name: &str, seconds: u32) -> Result<String> {
    let [found, wrong, logs] =
        [format!("found/{name}"), format!("wrong/{name}"), "logs".to_owned()].map(|dir| folder().join(dir));
    for dir in [&found, &wrong, &logs] {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    let log = logs.join(format!("{name}.txt"));
    let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut fuzzer = command(program);
    // The first folder takes what is new.
    fuzzer.arg(&found).arg(root().join("fuzz/corpus").join(name));
    fuzzer.arg(format!("-artifact_prefix={}/", wrong.display()));
    fuzzer.args([
        format!("-max_total_time={seconds}"),
        format!("-timeout={LONGEST_INPUT}"),
        format!("-rss_limit_mb={MOST_MEMORY}"),
        format!("-malloc_limit_mb={MOST_AT_ONCE}"),
        "-print_final_stats=1".to_owned(),
    ]);
    fuzzer.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
    let status = fuzzer.status().with_context(|| format!("cannot start {}", program.display()))?;
    let text = String::from_utf8_lossy(&fs::read(&log).with_context(|| format!("cannot read {}", log.display()))?)
        .into_owned();
    if status.success() {
        return told(&text).with_context(|| format!("it did not say what it did: see {}", log.display()));
    }
    let lines: Vec<&str> = text.lines().collect();
    println!("{}", lines[lines.len().saturating_sub(SHOWN)..].join("\n"));
    match input(&text) {
        Some(input) => bail!(
            "{input} is a file on which it fails ({status}); see it again with `cargo +nightly fuzz run --target-dir {} {name} {input}`, and \
             keep the file in fuzz/corpus/{name} once it is mended",
            folder().display()
        ),
        None => bail!("{status}: see {}", log.display()),
    }
}

/// The file that libFuzzer wrote an input to that failed.
fn input(log: &str) -> Option<&str> {
    log.lines().find_map(|line| line.split_once("Test unit written to ")).map(|(_, path)| path.trim())
}

/// Runs and coverage, from what libFuzzer prints at the end.
fn told(log: &str) -> Option<String> {
    let number = |name: &str| log.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let runs = number("stat::number_of_executed_units:")?;
    let done = log.lines().rev().find(|line| line.starts_with('#') && line.contains(" cov: "))?;
    let after = |name: &str| done.split_once(name)?.1.split_whitespace().next();
    let (edges, features) = (after(" cov: ")?, after(" ft: ")?);
    let memory = number("stat::peak_rss_mb:")?;
    Some(format!("{runs:>9} runs, {edges:>6} edges and {features:>6} features covered, {memory} MiB at most"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_a_corpus() {
        let targets = targets().unwrap();
        assert!(targets.len() >= 9, "{targets:?}");
        for name in targets {
            let corpus = root().join("fuzz/corpus").join(&name);
            assert!(fs::read_dir(&corpus).is_ok_and(|mut files| files.next().is_some()), "{}", corpus.display());
        }
    }

    #[test]
    fn a_target_that_does_not_exist_is_told_with_those_that_do() {
        let error = run(&["nonsense".to_owned()], 1).unwrap_err().to_string();
        assert!(error.starts_with("there is no fuzz target nonsense: there are btf, decode"), "{error}");
    }

    #[test]
    fn what_libfuzzer_says_at_the_end_is_read() {
        let log = "INFO: seed\n#2\tINITED cov: 7 ft: 8 corp: 1/1b\n#9000\tDONE   cov: 321 ft: 987 corp: 33/1kb lim: 4 exec/s: 9 rss: 60Mb\nstat::number_of_executed_units: 9000\nstat::peak_rss_mb:              61\n";
        assert_eq!(
            told(log).as_deref(),
            Some("     9000 runs,    321 edges and    987 features covered, 61 MiB at most")
        );
        assert_eq!(told("INFO: seed\n"), None);
        assert_eq!(input("x\nartifact_prefix='a/'; Test unit written to a/crash-1\nBase64: AA==\n"), Some("a/crash-1"));
    }
}
