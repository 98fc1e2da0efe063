//! `cargo deny` with `deny.toml`, as a part of the lint leg: licences, sources and versions of dependencies; and known
//! vulnerabilities where their database can be had.

use std::process::Command;

use anyhow::{Result, bail};

use crate::{
    shell::{command, output, root, run, say, shown},
    toolchain::path_with_cargo_bin,
};

/// Workspaces that have dependencies of their own.
const WORKSPACES: [&str; 3] = ["Cargo.toml", "numatrace-ebpf/Cargo.toml", "fuzz/Cargo.toml"];
/// Seconds to wait for the database.
const PATIENCE: &str = "30";

/// Whether it is installed.
pub fn is_there() -> bool {
    output(deny().arg("--version")).is_ok()
}

/// Checks every workspace; all of them, so that one run shows everything there is to mend.
///
/// # Errors
/// When one has something that `deny.toml` forbids, and when there is no cargo-deny.
pub fn check() -> Result<()> {
    if !is_there() {
        bail!("there is no cargo-deny: `cargo install cargo-deny --locked`");
    }
    let mut checks = vec!["bans", "licenses", "sources"];
    let mut fetch = command("timeout");
    fetch.args([PATIENCE, "cargo", "deny", "--config"]).arg(root().join("deny.toml")).args(["fetch", "db"]);
    fetch.env("PATH", path_with_cargo_bin());
    match output(&mut fetch) {
        Ok(_) => checks.push("advisories"),
        Err(_) => say("known vulnerabilities: skipped, as the database of advisories cannot be reached from here"),
    }
    let failed: Vec<&str> = WORKSPACES.into_iter().filter(|manifest| one(manifest, &checks).is_err()).collect();
    if failed.is_empty() { Ok(()) } else { bail!("cargo deny refuses dependencies of {}", failed.join(", ")) }
}

fn one(manifest: &str, checks: &[&str]) -> Result<()> {
    let mut check = deny();
    check.args(["--manifest-path", manifest, "--log-level", "error", "--config"]).arg(root().join("deny.toml"));
    check.args(["check", "--hide-inclusion-graph"]).args(checks);
    say(format!("`{}`", shown(&check)));
    run(&mut check)
}

fn deny() -> Command {
    let mut deny = command("cargo");
    deny.arg("deny").env("PATH", path_with_cargo_bin());
    deny
}
