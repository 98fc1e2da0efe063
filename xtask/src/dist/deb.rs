//! The Debian package. dpkg-deb alone makes it: there is nothing that debhelper would have to find out.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::{
    Profile, Release,
    archive::completion,
    bytes_of,
    contents::{Contents, FILE, PROGRAM, Tree},
    folder, write,
};
use crate::shell::{command, output, run};

/// The package's own revision of a version.
const REVISION: u32 = 1;
const DOC: &str = "usr/share/doc/numatrace";

const DESCRIPTION: &str = "\
Description: which threads wait for a CPU, hop between NUMA nodes, or touch remote memory
 numatrace traces a running program with eBPF, and tells for each of its threads
 how long it was runnable without a CPU, who ran instead, how often and why it
 moved between CPUs, caches and NUMA nodes, and which memory it touches on
 another node than its own. It has a dashboard for the terminal, recordings with
 reports, replay and comparison, and numbers for Prometheus.
 .
 It needs no performance counters, and Linux 5.18 or later with type information
 (/sys/kernel/btf/vmlinux). The service numatrace.service is not enabled by
 installing the package.
";

/// Makes `numatrace_VERSION_ARCH.deb` in `out`.
pub(super) fn build(release: &Release, contents: &Contents, out: &Path) -> Result<PathBuf> {
    let version = format!("{}-{REVISION}", release.version);
    let arch = architecture(release.arch)?;
    let mut tree = Tree::new(folder().join("deb"))?;
    fill(&mut tree, release, &version, contents)?;
    let installed: Vec<String> = tree.files().to_vec();
    let sums = bytes_of(command("md5sum").current_dir(tree.path()).arg("--").args(&installed))?;
    let size = installed_size(tree.path(), &installed)?;
    let control = control(&version, arch, &release.maintainer, size);
    tree.add("DEBIAN/control", control.as_bytes(), FILE)?;
    tree.add("DEBIAN/md5sums", &sums, FILE)?;
    tree.add("DEBIAN/postinst", include_bytes!("debian/postinst"), PROGRAM)?;
    tree.add("DEBIAN/prerm", include_bytes!("debian/prerm"), PROGRAM)?;
    tree.add("DEBIAN/postrm", include_bytes!("debian/postrm"), PROGRAM)?;
    let path = out.join(format!("numatrace_{version}_{arch}.deb"));
    let mut dpkg = command("dpkg-deb");
    // Files are as old as the last commit, and whoever builds the package does not own them.
    dpkg.env("SOURCE_DATE_EPOCH", release.epoch.to_string());
    // What is only tried need not be small; and never the distribution's own choice, which older ones cannot unpack.
    let level = if release.profile == Profile::Dev { "-z1" } else { "-z6" };
    dpkg.args(["-Zxz", level, "--root-owner-group", "--build"]).arg(tree.path()).arg(&path);
    output(&mut dpkg)?;
    Ok(path)
}

/// Everything that is installed, where Debian's policy wants it.
fn fill(tree: &mut Tree, release: &Release, version: &str, contents: &Contents) -> Result<()> {
    tree.add("usr/bin/numatrace", &contents.program, PROGRAM)?;
    for (page, bytes) in &contents.pages {
        tree.add(format!("usr/share/man/man1/{page}.gz"), &packed(bytes)?, FILE)?;
    }
    for (shell, script) in &contents.completions {
        let place = match *shell {
            "bash" => "usr/share/bash-completion/completions",
            "zsh" => "usr/share/zsh/vendor-completions",
            "fish" => "usr/share/fish/vendor_completions.d",
            other => bail!("Debian has no place for completions of {other}"),
        };
        tree.add(format!("{place}/{}", completion(shell)), script, FILE)?;
    }
    tree.add("usr/lib/systemd/system/numatrace.service", &contents.unit, FILE)?;
    for (document, bytes) in &contents.documents {
        match document.as_str() {
            "CHANGELOG.md" => tree.add(format!("{DOC}/changelog.gz"), &packed(bytes)?, FILE)?,
            // The file `copyright` stands for both.
            "LICENSE-MIT" | "LICENSE-APACHE" => {}
            _ => tree.add(format!("{DOC}/{document}"), bytes, FILE)?,
        }
    }
    tree.add(format!("{DOC}/changelog.Debian.gz"), &packed(changelog(release, version)?.as_bytes())?, FILE)?;
    tree.add(format!("{DOC}/copyright"), include_bytes!("debian/copyright"), FILE)?;
    tree.add(format!("{DOC}/THIRD-PARTY.gz"), &packed(&contents.third_party)?, FILE)?;
    tree.add("usr/share/lintian/overrides/numatrace", include_bytes!("debian/lintian-overrides"), FILE)
}

fn control(version: &str, arch: &str, maintainer: &str, installed_kib: u64) -> String {
    format!(
        "Package: numatrace\nVersion: {version}\nArchitecture: {arch}\nMaintainer: {maintainer}\n\
         Installed-Size: {installed_kib}\nSection: utils\nPriority: optional\n{DESCRIPTION}"
    )
}

/// The package's changelog; what changed in the program stands in its own.
fn changelog(release: &Release, version: &str) -> Result<String> {
    let date = output(command("date").env("LC_ALL", "C").args(["-u", "-R", "-d"]).arg(format!("@{}", release.epoch)))?;
    Ok(format!(
        "numatrace ({version}) stable; urgency=medium\n\n  * Version {} of numatrace: see changelog.gz.\n\n -- {}  {date}",
        release.version, release.maintainer
    ))
}

/// Debian's name of an architecture.
fn architecture(rust: &str) -> Result<&'static str> {
    match rust {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("numatrace has no eBPF object for {other}"),
    }
}

/// Sum in KiB, each file rounded up, as Debian counts.
fn installed_size(root: &Path, files: &[String]) -> Result<u64> {
    let sizes = files.iter().map(|file| {
        let path = root.join(file);
        let meta = path.metadata().with_context(|| format!("cannot look at {}", path.display()))?;
        Ok(meta.len().div_ceil(1024))
    });
    sizes.sum()
}

/// gzip's bytes, without a name or a time in them.
fn packed(bytes: &[u8]) -> Result<Vec<u8>> {
    let path = folder().join("packing");
    write(&path, bytes)?;
    run(command("gzip").args(["-9", "--no-name", "--force"]).arg(&path))?;
    let packed = path.with_extension("gz");
    let bytes = std::fs::read(&packed).with_context(|| format!("cannot read {}", packed.display()))?;
    std::fs::remove_file(&packed).with_context(|| format!("cannot remove {}", packed.display()))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_has_each_field_on_a_line_of_its_own_and_short_lines_of_text() {
        let control = control("0.1.0-1", "amd64", "A B <a@b.example>", 42);
        let fields: Vec<&str> = control
            .lines()
            .filter(|line| !line.starts_with(' '))
            .filter_map(|line| Some(line.split_once(": ")?.0))
            .collect();
        let wanted = [
            "Package",
            "Version",
            "Architecture",
            "Maintainer",
            "Installed-Size",
            "Section",
            "Priority",
            "Description",
        ];
        assert_eq!(fields, wanted);
        assert!(control.lines().all(|line| line.len() <= 90 && !line.is_empty()), "{control}");
        assert!(control.ends_with('\n'));
    }

    #[test]
    fn a_package_is_made_only_for_what_has_an_object() {
        assert_eq!(architecture("aarch64").unwrap(), "arm64");
        assert!(architecture("riscv64").is_err());
    }
}
