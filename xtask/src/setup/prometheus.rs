//! Prometheus and promtool, which tests scrape `numatrace serve` with: the machine's own, or Debian's package unpacked below
//! `target/`. It is not installed, because an installed one starts a service that listens.

use std::path::{Path, PathBuf};

use crate::shell::{root, which};

/// The server and its tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    pub prometheus: PathBuf,
    pub promtool: PathBuf,
}

/// Where setup unpacks the package.
pub fn folder() -> PathBuf {
    root().join("target/prometheus")
}

/// Both programs: those that setup unpacked, whose version is known, before the machine's.
pub fn programs() -> Option<Programs> {
    below(&folder()).or_else(|| Some(Programs { prometheus: which("prometheus")?, promtool: which("promtool")? }))
}

fn below(folder: &Path) -> Option<Programs> {
    let [prometheus, promtool] = ["prometheus", "promtool"].map(|name| folder.join("usr/bin").join(name));
    (prometheus.is_file() && promtool.is_file()).then_some(Programs { prometheus, promtool })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_program_without_the_other_does_not_do() {
        let folder = tempfile::tempdir().unwrap();
        let programs = folder.path().join("usr/bin");
        std::fs::create_dir_all(&programs).unwrap();
        std::fs::write(programs.join("promtool"), "").unwrap();
        assert_eq!(below(folder.path()), None);
        std::fs::write(programs.join("prometheus"), "").unwrap();
        assert_eq!(below(folder.path()).unwrap().promtool, programs.join("promtool"));
    }
}
