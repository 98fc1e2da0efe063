//! apt for packages of another architecture: the machine's sources, with package lists of their own, so that the machine's dpkg never hears
//! of that architecture.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};

use super::{Arch, VmDir};
use crate::shell::{command, run};

/// apt as it is, or with another architecture.
pub struct Apt {
    options: Vec<String>,
}

impl Apt {
    /// The machine's own.
    pub fn own() -> Self {
        Self { options: with_flags(["APT::Sandbox::User=root".to_owned()]) }
    }

    /// Of that architecture. Another one's package lists are fetched when they are not there yet, or a day old.
    pub fn of(arch: Arch, dir: &VmDir) -> Result<Self> {
        if arch.name() == std::env::consts::ARCH {
            return Ok(Self::own());
        }
        let folder = dir.path().join(arch.file("apt"));
        for inner in ["lists/partial", "cache/archives/partial"] {
            let path = folder.join(inner);
            fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        }
        // No package of that architecture is installed.
        let status = folder.join("status");
        fs::write(&status, "").with_context(|| format!("cannot write {}", status.display()))?;
        let name = arch.debian();
        let place = |option: &str, path: &Path| format!("{option}={}", path.display());
        let apt = Self {
            options: with_flags([
                "APT::Sandbox::User=root".to_owned(),
                format!("APT::Architecture={name}"),
                format!("APT::Architectures={name}"),
                "Acquire::Languages=none".to_owned(),
                place("Dir::State::lists", &folder.join("lists")),
                place("Dir::State::status", &status),
                place("Dir::Cache", &folder.join("cache")),
            ]),
        };
        let fetched = folder.join("fetched");
        if !is_of_today(&fetched) {
            run(apt.command("apt-get").args(["update", "-qq"]))
                .with_context(|| format!("the package lists of {name} could not be fetched (is there a network?)"))?;
            fs::write(&fetched, "").with_context(|| format!("cannot write {}", fetched.display()))?;
        }
        Ok(apt)
    }

    pub fn command(&self, program: &str) -> Command {
        let mut apt = command(program);
        apt.args(&self.options);
        apt
    }
}

fn with_flags(options: impl IntoIterator<Item = String>) -> Vec<String> {
    options.into_iter().flat_map(|option| ["-o".to_owned(), option]).collect()
}

fn is_of_today(file: &Path) -> bool {
    const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 3600);
    let written = fs::metadata(file).and_then(|meta| meta.modified()).ok();
    written.and_then(|time| time.elapsed().ok()).is_some_and(|age| age < DAY)
}
