//! The notes of a release: its section of CHANGELOG.md.

use anyhow::{Result, bail};

/// The section of `version`, or that of what is not released yet, with a title of its own.
pub(super) fn cut(changelog: &str, version: &str) -> Result<String> {
    let (title, section) = if let Some(section) = section(changelog, version) {
        (format!("# numatrace {version}"), section)
    } else if let Some(section) = section(changelog, "Unreleased") {
        (format!("# numatrace {version}, not released yet"), section)
    } else {
        bail!("CHANGELOG.md has neither a section [{version}] nor [Unreleased]");
    };
    if section.is_empty() {
        bail!("CHANGELOG.md says nothing about {version}");
    }
    Ok(format!("{title}\n\n{section}\n"))
}

/// What stands below `## [name]` up to the next heading of that kind.
fn section(changelog: &str, name: &str) -> Option<String> {
    let heading = format!("## [{name}]");
    let mut lines = changelog.lines().skip_while(|line| !line.starts_with(&heading));
    lines.next()?;
    let body: Vec<&str> = lines.take_while(|line| !line.starts_with("## ")).collect();
    Some(body.join("\n").trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGELOG: &str = "# Changelog\n\nFormat.\n\n## [Unreleased]\n\n### Added\n\n- New.\n\n## [0.1.0] - 2026-11-29\n\n### Fixed\n\n- Old.\n\n## [0.0.9]\n";

    #[test]
    fn a_version_gets_its_section_alone() {
        assert_eq!(cut(CHANGELOG, "0.1.0").unwrap(), "# numatrace 0.1.0\n\n### Fixed\n\n- Old.\n");
    }

    #[test]
    fn what_has_no_section_yet_is_told_as_not_released() {
        let notes = cut(CHANGELOG, "0.2.0").unwrap();
        assert_eq!(notes, "# numatrace 0.2.0, not released yet\n\n### Added\n\n- New.\n");
    }

    #[test]
    fn nothing_to_say_is_an_error_and_no_empty_file() {
        assert!(cut(CHANGELOG, "0.0.9").is_err());
        assert!(cut("# Changelog\n", "0.1.0").is_err());
    }
}
