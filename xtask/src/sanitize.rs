//! `cargo xtask fuzz --asan`: the unit tests of what has unsafe code, with AddressSanitizer; and with Miri where the nightly has it.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use crate::{
    fuzz::nightly,
    shell::{command, output, root, run, say, shown, target_dir},
};

/// Tests of unsafe code that stand in a file without any.
const MORE: [&str; 2] = ["symbols::", "fuzz::"];

/// Runs both.
///
/// # Errors
/// When a test fails, or cannot be built.
pub fn run_all() -> Result<()> {
    let mut modules = modules(&root().join("numatrace/src"))?;
    modules.extend(MORE.map(ToOwned::to_owned));
    let version = output(nightly("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc does not tell its host")?;
    let asan = |arguments: &[&str]| {
        let mut test = nightly("cargo");
        // Built once and run once: nothing is won by optimizing.
        test.args([
            "--config",
            "profile.dev.package.\"*\".opt-level=0",
            "--config",
            "profile.dev.debug=\"line-tables-only\"",
        ]);
        // Named, so that build scripts and macros are built without it.
        test.args(["test", "--lib", "--target", host, "--target-dir"]).arg(target_dir().join("asan")).args(arguments);
        test.env("RUSTFLAGS", "-Zsanitizer=address");
        say(format!("RUSTFLAGS=-Zsanitizer=address `{}`", shown(&test)));
        run(&mut test)
    };
    asan(&["--package", "numatrace-common", "--features", "user"])?;
    let mut arguments = vec!["--package", "numatrace", "--no-default-features", "--"];
    arguments.extend(modules.iter().map(String::as_str));
    asan(&arguments)?;
    miri()
}

/// Miri interprets the state machine, which the probes share; it knows no system calls of the rest.
fn miri() -> Result<()> {
    let is_there = || output(nightly("cargo").args(["miri", "--version"])).is_ok();
    if !is_there() {
        let mut add = command("rustup");
        add.args(["component", "add", "miri", "rust-src", "--toolchain", "nightly"]);
        say(format!("Miri interprets unsafe code and finds what is undefined in it: `{}`", shown(&add)));
        if let Err(error) = output(&mut add) {
            say(format!("Miri: skipped: this nightly toolchain has none ({error})"));
            return Ok(());
        }
    }
    let mut miri = nightly("cargo");
    miri.args(["miri", "test", "--package", "numatrace-common", "--lib", "--target-dir"])
        .arg(target_dir().join("miri"))
        // Statistics over millions of turns, without unsafe code.
        .args(["--", "--skip", "shed::"]);
    say(format!("`{}`", shown(&miri)));
    run(&mut miri)
}

/// Modules below `sources` with unsafe code, as the names of their tests begin.
fn modules(sources: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut folders = vec![sources.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            if !text.lines().any(|line| !line.trim_start().starts_with("//") && line.contains("unsafe ")) {
                continue;
            }
            let module = path.strip_prefix(sources).unwrap_or(&path).with_extension("");
            let module = module.to_string_lossy().replace('/', "::");
            found.push(format!("{}::", module.trim_end_matches("::mod")));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_with_unsafe_code_are_found() {
        let modules = modules(&root().join("numatrace/src")).unwrap();
        for known in ["collect::lanes::", "collect::maps::", "collect::counting::groups::"] {
            assert!(modules.contains(&known.to_owned()), "{modules:?}");
        }
        assert!(!modules.contains(&"decode::".to_owned()));
    }
}
