//! The test leg `dist`: the packages are made twice and are the same, the crates build alone, and the Debian package is installed, run,
//! upgraded, removed and purged in a bare Debian.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail, ensure};

use super::{Profile, Release, binary, crates, debian_root::DebianRoot, empty_folder, folder, pack};
use crate::shell::{Privilege, command, in_ci, run, say, which, which_for_root};

/// Tests of packages need no fast program.
const PROFILE: Profile = Profile::Dev;
const UNIT: &str = "usr/lib/systemd/system/numatrace.service";
/// What `systemctl enable` makes.
const ENABLED: &str = "/etc/systemd/system/multi-user.target.wants/numatrace.service";

/// Why this machine cannot run the leg.
pub fn cannot_run() -> Option<String> {
    if Privilege::detect() == Privilege::None {
        return Some("the package is installed in a root of its own, which needs root or sudo".to_owned());
    }
    let absent = ["dpkg-deb", "debootstrap", "apt-get", "unshare"]
        .into_iter()
        .find(|program| which_for_root(program).is_none())?;
    Some(format!("there is no {absent} here, which a bare Debian to install in is made with"))
}

/// Runs all of it.
pub fn run_all() -> Result<()> {
    let release = Release::of_checkout(PROFILE)?;
    let program = binary::build(PROFILE)?;
    crates::package()?;
    let out = folder().join("test");
    empty_folder(&out)?;
    let made = pack(&release, &program, &out)?;
    same_bytes_again(&release, &program, &out)?;
    let package = made
        .iter()
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .context("no Debian package was made")?;
    lintian(package)?;
    in_debian(&release, package)?;
    let wanted = format!("numatrace {}", release.version);
    for answer in [crates::verify(&release, PROFILE)?, crates::install(PROFILE)?] {
        ensure!(answer == wanted, "a program that was built from the crates calls itself {answer:?}, not {wanted:?}");
    }
    Ok(())
}

fn same_bytes_again(release: &Release, program: &Path, first: &Path) -> Result<()> {
    let again = folder().join("again");
    empty_folder(&again)?;
    pack(release, program, &again)?;
    let sums = |dir: &Path| fs::read_to_string(dir.join("SHA256SUMS")).context("no checksums were made");
    let (first_sums, sums) = (sums(first)?, sums(&again)?);
    ensure!(first_sums == sums, "packing the same twice gave other bytes:\n{first_sums}\n{sums}");
    run(command("sha256sum").current_dir(&again).args(["--check", "--quiet", "SHA256SUMS"]))?;
    fs::remove_dir_all(&again).context("cannot remove what was packed again")
}

/// Debian's own opinion, where it can be had.
fn lintian(package: &Path) -> Result<()> {
    if which("lintian").is_none() {
        ensure!(!in_ci(), "no lintian here: the package cannot be held against Debian's policy");
        say("no lintian here: the package is not held against Debian's policy");
        return Ok(());
    }
    run(command("lintian").args(["--allow-root", "--fail-on", "error", "--tag-display-limit", "0"]).arg(package))
}

fn in_debian(release: &Release, package: &Path) -> Result<()> {
    let root = DebianRoot::fresh()?;
    say("installing the package in a bare Debian");
    root.put(package, "var/tmp/numatrace.deb")?;
    pretend_systemd(&root)?;
    add_somebody(&root)?;
    let before = root.listing()?;

    let install = ["dpkg", "--install", "/var/tmp/numatrace.deb"];
    root.ok(&install)?;
    asked_of_systemd(&root, &["daemon-reload"])?;
    installed_well(&root)?;
    runs(&root, release)?;
    runs_under_sudo(&root)?;

    // dpkg takes the same version again as an upgrade.
    root.ok(&install)?;
    asked_of_systemd(&root, &["daemon-reload", "try-restart numatrace.service"])?;
    root.ok(&["ln", "-s", &format!("/{UNIT}"), ENABLED])?;
    root.ok(&["dpkg", "--remove", "numatrace"])?;
    asked_of_systemd(&root, &["stop numatrace.service", "daemon-reload"])?;
    root.ok(&["test", "-L", ENABLED]).context("removing the package forgot that its service was enabled")?;
    root.ok(&["dpkg", "--purge", "numatrace"])?;

    root.ok(&["rm", "-f", CALLS])?;
    let after = root.listing()?;
    let left: Vec<&String> = after.iter().filter(|line| !before.contains(line)).collect();
    let gone: Vec<&String> = before.iter().filter(|line| !after.contains(line)).collect();
    ensure!(
        left.is_empty() && gone.is_empty(),
        "after the purge there is more than before: {left:?}, or less: {gone:?}"
    );
    ensure!(root.run(&["dpkg", "--status", "numatrace"])?.code == Some(1), "dpkg still knows the package");
    root.remove()
}

const CALLS: &str = "/var/tmp/systemctl.calls";

/// No systemd runs in the root; what the package asks of it is written down instead.
fn pretend_systemd(root: &DebianRoot) -> Result<()> {
    let script = folder().join("systemctl");
    super::write(&script, format!("#!/bin/sh\necho \"$@\" >>{CALLS}\n").as_bytes())?;
    root.put(&script, "usr/bin/systemctl")?;
    root.ok(&["chmod", "755", "/usr/bin/systemctl"])?;
    root.ok(&["mkdir", "-p", "/run/systemd/system", "/etc/systemd/system/multi-user.target.wants"])?;
    Ok(())
}

/// A user with a second group, on a machine that asks more than files for users: a module that is not there.
fn add_somebody(root: &DebianRoot) -> Result<()> {
    let script = "echo somebody:x:4321:4322::/:/bin/sh >>/etc/passwd
        echo many:x:4323:root,somebody >>/etc/group
        printf 'passwd: nothing files\\ngroup: nothing files\\n' >/etc/nsswitch.conf";
    root.ok(&["sh", "-euc", script]).map(drop)
}

/// The command is run as who called sudo, with all of their groups, and the report is theirs.
fn runs_under_sudo(root: &DebianRoot) -> Result<()> {
    let sudo = ["env", "SUDO_UID=4321", "SUDO_GID=4322", "SUDO_USER=somebody"];
    let tool = ["numatrace", "--quiet", "-d", "30s", "-f", "json", "-o", "/var/tmp/report.json"];
    let told = root.ok(&[&sudo[..], &tool, &["--", "sh", "-c", "id -u; id -G"]].concat())?;
    let owner = root.ok(&["stat", "-c", "%u %g", "/var/tmp/report.json"])?;
    root.ok(&["rm", "/var/tmp/report.json"])?;
    let lines: Vec<&str> = told.lines().chain(owner.lines()).collect();
    ensure!(
        lines == ["4321", "4322 4323", "4321 4322"],
        "a command under sudo has uid, groups, and a report of {lines:?}"
    );
    say("under sudo the command and the report are the invoking user's, with all groups");
    Ok(())
}

/// Compares what was asked since the last time.
fn asked_of_systemd(root: &DebianRoot, wanted: &[&str]) -> Result<()> {
    let calls = root.ok(&["sh", "-c", &format!("cat {CALLS} && rm {CALLS}")])?;
    ensure!(calls.lines().eq(wanted.iter().copied()), "the package asked systemd for {calls:?}, not {wanted:?}");
    Ok(())
}

fn installed_well(root: &DebianRoot) -> Result<()> {
    let files = root.ok(&["dpkg", "--listfiles", "numatrace"])?;
    for wanted in [
        "/usr/bin/numatrace",
        "/usr/share/man/man1/numatrace.1.gz",
        "/usr/share/man/man1/numatrace-record.1.gz",
        "/usr/share/bash-completion/completions/numatrace",
        "/usr/share/zsh/vendor-completions/_numatrace",
        "/usr/share/fish/vendor_completions.d/numatrace.fish",
        "/usr/lib/systemd/system/numatrace.service",
        "/usr/share/doc/numatrace/copyright",
        "/usr/share/doc/numatrace/changelog.Debian.gz",
        "/usr/share/doc/numatrace/THIRD-PARTY.gz",
    ] {
        ensure!(files.lines().any(|file| file == wanted), "the package has no {wanted}");
        root.ok(&["test", "-s", wanted])?;
    }
    let changed = root.ok(&["dpkg", "--verify", "numatrace"])?;
    ensure!(changed.is_empty(), "dpkg finds other files than the package has: {changed}");
    let pages = root.ok(&["man", "-w", "numatrace", "numatrace-record", "numatrace-man"])?;
    ensure!(pages.lines().count() == 3, "man does not find every page: {pages}");
    let page = root.ok(&["man", "--warnings", "-E", "UTF-8", "numatrace-record"])?;
    ensure!(page.contains("--max-size"), "the page of record says nothing of its options: {page}");
    ensure!(root.run(&["test", "-e", ENABLED])?.code == Some(1), "installing the package enabled its service");
    Ok(())
}

fn runs(root: &DebianRoot, release: &Release) -> Result<()> {
    let version = root.ok(&["numatrace", "--version"])?;
    ensure!(version.trim() == format!("numatrace {}", release.version), "the wrong version runs: {version}");
    let doctor = root.ok(&["numatrace", "doctor"])?;
    say(doctor.lines().find(|line| line.starts_with("Can")).unwrap_or("doctor ended well"));
    // Much longer than the command: one that is ended by numatrace returns another exit code than its own.
    let report = root.ok(&["numatrace", "-d", "30s", "-f", "json", "-o", "-", "--", "sleep", "1"])?;
    let report: serde_json::Value = serde_json::from_str(&report).context("the report is not JSON")?;
    let threads = report["threads"].as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(sleep) = threads.iter().find(|thread| thread["comm"] == "sleep") else {
        bail!("the report of `sleep 1` has no thread of that name: {report}");
    };
    let (blocked, waits) = (&sleep["blocked_ns"], &sleep["runq"]["all"]["count"]);
    ensure!(
        blocked.as_u64().is_some_and(|ns| ns > 500_000_000) && waits.as_u64() > Some(0),
        "`sleep 1` was blocked for {blocked} ns and waited {waits} times for a CPU, as the report has it"
    );
    say(format!("traced `sleep 1`: blocked for {blocked} ns, waited {waits} times for a CPU"));
    Ok(())
}
