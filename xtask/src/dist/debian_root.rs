//! A bare Debian in a folder, in which the package is tried: made once by debootstrap, copied for each run, entered by chroot.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::folder;
use crate::shell::{Privilege, command, output, run, say, shown, which_for_root};

/// What is mounted in it while something runs there, in a mount namespace that ends with it: nothing is left to unmount.
const ENTER: &str = "\
root=$1; shift
for folder in proc sys dev; do mount --rbind /$folder \"$root/$folder\"; done
exec chroot \"$root\" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive HOME=/root \"$@\"";

/// A copy that may be changed.
pub(super) struct DebianRoot {
    path: PathBuf,
    privilege: Privilege,
}

/// What a program in the root did.
pub(super) struct Done {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl DebianRoot {
    /// Makes the root where there is none yet, and a copy of it.
    pub(super) fn fresh() -> Result<Self> {
        let privilege = Privilege::detect();
        let suite = suite()?;
        let base = folder().join(format!("root-{suite}"));
        if !base.exists() {
            bootstrap(privilege, &suite, &base)?;
        }
        let path = folder().join("root");
        remove(privilege, &path)?;
        run(privilege.command("cp")?.args(["-a", "--reflink=auto"]).arg(&base).arg(&path))?;
        Ok(Self { path, privilege })
    }

    /// Runs a command in it, whatever comes of it.
    pub(super) fn run(&self, words: &[&str]) -> Result<Done> {
        let mut enter = self.privilege.command("unshare")?;
        enter.args(["--mount", "--propagation", "private", "sh", "-euc", ENTER, "sh"]).arg(&self.path).args(words);
        let output = enter.output().with_context(|| format!("cannot start `{}`", shown(&enter)))?;
        Ok(Done {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs a command in it that has to succeed, and returns what it printed.
    pub(super) fn ok(&self, words: &[&str]) -> Result<String> {
        let done = self.run(words)?;
        if done.code != Some(0) {
            bail!(
                "`{}` in Debian's root ended with {:?}: {}{}",
                words.join(" "),
                done.code,
                done.stdout,
                done.stderr.trim()
            );
        }
        Ok(done.stdout)
    }

    /// Copies a file into it.
    pub(super) fn put(&self, file: &Path, place: &str) -> Result<()> {
        run(self.privilege.command("cp")?.arg(file).arg(self.path.join(place)))
    }

    /// Everything in it but what dpkg and man keep for themselves: path, kind, mode, size of files and target of links, a line each.
    pub(super) fn listing(&self) -> Result<Vec<String>> {
        let mut find = self.privilege.command("find")?;
        find.arg(&self.path).args(["-xdev", "-mindepth", "1"]);
        find.args(["(", "-type", "f", "-printf", "%P %y %m %s\\n", "-o", "-printf", "%P %y %m %l\\n", ")"]);
        let own = ["var/lib/dpkg/", "var/log/dpkg.log ", "var/cache/man/"];
        let mut lines: Vec<String> = output(&mut find)?
            .lines()
            .filter(|line| !own.iter().any(|start| line.starts_with(start)))
            .map(ToOwned::to_owned)
            .collect();
        lines.sort();
        Ok(lines)
    }

    /// Removes the copy; the root that it was made of stays for the next run.
    pub(super) fn remove(self) -> Result<()> {
        remove(self.privilege, &self.path)
    }
}

fn remove(privilege: Privilege, path: &Path) -> Result<()> {
    run(privilege.command("rm")?.args(["-rf", "--one-file-system"]).arg(path))
}

/// man-db comes with it, since pages are tried with `man` itself.
fn bootstrap(privilege: Privilege, suite: &str, base: &Path) -> Result<()> {
    let mirror = mirror(suite)?;
    let unfinished = base.with_extension("unfinished");
    remove(privilege, &unfinished)?;
    super::make_folder(&folder())?;
    let mut debootstrap = privilege.command("env")?;
    if let Some(proxy) = proxy() {
        debootstrap.arg(format!("http_proxy={proxy}"));
    }
    let program = which_for_root("debootstrap").context("there is no debootstrap here")?;
    debootstrap.arg(program).args(["--variant=minbase", "--include=man-db", suite]).arg(&unfinished).arg(&mirror);
    say(format!("making a bare Debian {suite} below target/dist, once"));
    output(&mut debootstrap)?;
    run(privilege.command("mv")?.arg(&unfinished).arg(base))
}

/// The release that this machine has, since its archive is the one that apt knows.
fn suite() -> Result<String> {
    let text = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    codename(&text).context("/etc/os-release names no release of Debian or Ubuntu (VERSION_CODENAME)")
}

fn codename(os_release: &str) -> Option<String> {
    let name = os_release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))?.trim().trim_matches('"');
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric());
    plain.then(|| name.to_owned())
}

/// Where apt gets that release from.
fn mirror(suite: &str) -> Result<String> {
    let mut targets = command("apt-get");
    targets.args(["indextargets", "--format", "$(SITE)", "Created-By: Packages", "Component: main"]);
    targets.arg(format!("Codename: {suite}"));
    let sites = output(&mut targets)?;
    let first = sites.lines().next().map(str::trim).filter(|site| !site.is_empty());
    Ok(first.with_context(|| format!("apt has no archive of {suite}: run `apt-get update`"))?.to_owned())
}

/// The proxy that apt uses, which debootstrap does not ask apt for.
fn proxy() -> Option<String> {
    let mut config = Command::new("apt-config");
    let proxy = output(config.args(["dump", "--format", "%v", "Acquire::http::Proxy"])).ok()?;
    let proxy = proxy.trim();
    (!proxy.is_empty() && proxy != "DIRECT").then(|| proxy.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_a_word_and_nothing_else() {
        assert_eq!(codename("ID=debian\nVERSION_CODENAME=bookworm\n").as_deref(), Some("bookworm"));
        assert_eq!(codename("VERSION_CODENAME=\"noble\"\n").as_deref(), Some("noble"));
        for text in ["ID=arch\n", "VERSION_CODENAME=\n", "VERSION_CODENAME=../x\n"] {
            assert_eq!(codename(text), None, "{text}");
        }
    }
}
