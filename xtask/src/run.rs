//! `cargo xtask run|bench|screens|vm`: what people start by hand.

use std::{ffi::OsStr, os::unix::process::CommandExt as _, path::Path, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};

use crate::{
    setup::{Purpose, setup},
    shell::{Privilege, command, run, say, shown, target_dir},
    vm::{Arch, Topology, VmDir, guest_files},
};

/// Builds numatrace and becomes it, as root.
pub fn numatrace(args: &[String]) -> Result<ExitCode> {
    setup(Purpose::Run)?;
    run(command("cargo").args(["build", "--release", "--package", "numatrace"]))?;
    let demo = ["demo".to_owned()];
    become_root(&target_dir().join("release/numatrace"), if args.is_empty() { &demo } else { args })
}

/// Builds numatrace and the benchmark program and becomes the latter, as root.
pub fn bench(args: &[String]) -> Result<ExitCode> {
    setup(Purpose::Bench)?;
    // Built by the user: cargo run by root would leave root's files in the target folder.
    run(command("cargo").args([
        "build",
        "--release",
        "--package",
        "numatrace",
        "--package",
        "numatrace-tests",
        "--bins",
    ]))?;
    become_root(&target_dir().join("release/bench"), args)
}

/// Makes the dashboard's pictures, or compares them with what is there.
pub fn screens(check: bool) -> Result<ExitCode> {
    setup(Purpose::Run)?;
    let mut screens = command("cargo");
    screens.args(["run", "--quiet", "--package", "numatrace-tests", "--bin", "screens", "--"]);
    screens.args(check.then_some("--check"));
    // It says itself what is wrong: another sentence about its exit code would say less.
    let status = screens.status().with_context(|| format!("cannot start `{}`", shown(&screens)))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Replaces this process, so that signals, the terminal and the exit code are the program's own.
fn become_root(program: &Path, args: &[impl AsRef<OsStr>]) -> Result<ExitCode> {
    let mut root = Privilege::detect().command(program)?;
    root.args(args);
    // People expect paths on their command line to mean what they mean in their own folder.
    root.current_dir(std::env::current_dir().context("the current folder is gone")?);
    Err(root.exec()).with_context(|| format!("cannot start `{}`", shown(&root)))
}

/// Boots a guest for a person.
pub fn guest(arch: Arch, series: &str, topology: &str, multi_thread: bool, words: &[String]) -> Result<ExitCode> {
    setup(Purpose::Test)?;
    let dir = VmDir::open();
    guest_files::prepare(&dir, arch, None)?;
    let mut guest = dir.guest_of(arch, series, Topology::by_name(topology)?)?;
    guest.multi_thread = multi_thread;
    say(format!("booting {}, {}: {}", guest.kernel.release, guest.topology.name, guest.topology.about));
    if words.is_empty() {
        guest.interact()?;
        return Ok(ExitCode::SUCCESS);
    }
    guest.echo = true;
    // One word is a shell's line; several are one command, whatever is in them.
    let line = if let [line] = words {
        line.clone()
    } else {
        words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
    };
    let output = guest.boot(&line, Duration::from_secs(24 * 3600))?;
    let code = output.exit_code.and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// `word` as one word of a shell's line.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_words_survive_a_shell() {
        let output = crate::shell::output(command("sh").args(["-c", &format!("printf %s {}", quoted("it's $HOME"))]));
        assert_eq!(output.unwrap(), "it's $HOME");
    }
}
