//! What each kernel takes of the probes: results as files, how they are compared, and the page of the documentation that is made of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use numatrace::{
    collect::compatibility::{self, Compatibility},
    snapshot::SourceState,
    target::Machine,
    topology::Topology,
};

use crate::golden::blessing;

/// Begins the line with which a guest tells its result, as JSON.
pub const MARK: &str = "NUMATRACE-COMPATIBILITY";

/// Loads and attaches everything here; every program that the kernel took must be compiled by it.
///
/// # Errors
/// When nothing can be tried, or a program is interpreted.
pub fn examine() -> Result<Compatibility> {
    let machine = Machine::this();
    let topology = Topology::read(machine.sys())?;
    let found = compatibility::examine(&topology, &machine)?;
    let interpreted: Vec<_> = found.attached().into_iter().filter(|(_, verified)| !verified.compiled).collect();
    ensure!(interpreted.is_empty(), "not compiled by this kernel: {interpreted:?}");
    Ok(found)
}

/// As [`examine`], in a guest: the result goes to standard output, in one line.
///
/// # Errors
/// As there.
pub fn tell() -> Result<()> {
    println!("{MARK} {}", serde_json::to_string(&examine()?)?);
    Ok(())
}

/// Holds what a guest told against what is expected of its kernel.
///
/// # Errors
/// When it told nothing, or something else.
pub fn check_told(output: &str) -> Result<()> {
    let line = output.lines().find_map(|line| line.trim().strip_prefix(MARK)).context("the guest told no result")?;
    check(&serde_json::from_str(line).context("the guest's result is not whole")?)
}

/// Holds a result against the file of its kernel; with `NUMATRACE_BLESS=1` it becomes that file.
///
/// # Errors
/// When they differ, with every difference.
pub fn check(found: &Compatibility) -> Result<()> {
    let path = folder().join(file_name(found));
    if blessing() {
        let text = serde_json::to_string_pretty(found)? + "\n";
        return fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()));
    }
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let expected: Compatibility = serde_json::from_str(&text).with_context(|| format!("{}", path.display()))?;
    let differences = differences(&expected, found);
    ensure!(differences.is_empty(), "{} says otherwise:\n{}", path.display(), differences.join("\n"));
    Ok(())
}

/// The result that is expected under the conditions of `found`; `None` where there is none.
///
/// # Errors
/// When the files cannot be read.
pub fn expected_like(found: &Compatibility) -> Result<Option<Compatibility>> {
    Ok(all()?.into_iter().find(|expected| expected.conditions() == found.conditions()))
}

/// Every result that is expected, by architecture and kernel.
///
/// # Errors
/// When the files cannot be read.
pub fn all() -> Result<Vec<Compatibility>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder()).with_context(|| format!("cannot list {}", folder().display()))? {
        let path = entry?.path();
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        all.push(serde_json::from_str::<Compatibility>(&text).with_context(|| format!("{}", path.display()))?);
    }
    if all.is_empty() {
        bail!("there are no results in {}", folder().display());
    }
    all.sort_by_key(|found| (std::cmp::Reverse(found.arch.clone()), numbers(&found.kernel)));
    Ok(all)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/compatibility")
}

fn numbers(release: &str) -> Vec<u64> {
    release.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

/// Major and minor number.
fn series(release: &str) -> String {
    numbers(release).iter().take(2).map(u64::to_string).collect::<Vec<_>>().join(".")
}

fn file_name(found: &Compatibility) -> String {
    format!("{}-{}.json", series(&found.kernel), found.arch)
}

/// What differs, in a line each. How much there was to verify is no difference.
pub fn differences(expected: &Compatibility, found: &Compatibility) -> Vec<String> {
    let (expected, found) = (expected.comparable(), found.comparable());
    let mut lines = Vec::new();
    if expected.conditions() != found.conditions() {
        lines.push(format!("conditions: {} instead of {}", found.conditions(), expected.conditions()));
    }
    let by_name = |of: &Compatibility| -> BTreeMap<String, compatibility::Case> {
        of.cases.iter().map(|case| (format!("{} ({})", case.name, case.flavour), case.clone())).collect()
    };
    let (old, new) = (by_name(&expected), by_name(&found));
    for name in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        match (old.get(name), new.get(name)) {
            (Some(old), Some(new)) => case_differences(name, old, new, &mut lines),
            (old, _) => lines.push(format!("{name}: {}", if old.is_some() { "not tried" } else { "not expected" })),
        }
    }
    for name in expected.unused.keys().chain(found.unused.keys()).collect::<BTreeSet<_>>() {
        let (old, new) = (expected.unused.get(name), found.unused.get(name));
        if old != new {
            let say = |why: Option<&String>| why.map_or("used".to_owned(), Clone::clone);
            lines.push(format!("{name}: {} instead of {}", say(new), say(old)));
        }
    }
    lines
}

fn case_differences(name: &str, old: &compatibility::Case, new: &compatibility::Case, lines: &mut Vec<String>) {
    if old.refused != new.refused {
        lines.push(format!("{name}: refused: {:?} instead of {:?}", new.refused, old.refused));
    }
    for program in old.programs.keys().chain(new.programs.keys()).collect::<BTreeSet<_>>() {
        match (old.programs.get(program), new.programs.get(program)) {
            (Some(_), None) => lines.push(format!("{name}: {program} is attached no more")),
            (None, Some(_)) => lines.push(format!("{name}: {program} is attached, which was not expected")),
            (old, new) if old != new => lines.push(format!("{name}: {program} is {new:?} instead of {old:?}")),
            _ => {}
        }
    }
    for source in &old.sources {
        match new.sources.iter().find(|other| other.name == source.name) {
            Some(other) if other == source => {}
            other => lines.push(format!("{name}: {other:?} instead of {source:?}")),
        }
    }
    for source in new.sources.iter().filter(|new| old.sources.iter().all(|old| old.name != new.name)) {
        lines.push(format!("{name}: {source:?} was not expected"));
    }
}

/// The page of the documentation.
pub fn page(all: &[Compatibility]) -> String {
    let mut text = String::from(HEAD);
    let heads: Vec<String> = all.iter().map(|found| format!("{} {}", series(&found.kernel), found.arch)).collect();
    text += "\n## Kernels\n\n| kernel | release | conditions |\n| --- | --- | --- |\n";
    for (head, found) in heads.iter().zip(all) {
        let _ = writeln!(text, "| {head} | {} | {} |", found.kernel, found.conditions());
    }
    let mut notes = Notes::default();
    text += "\n## Sources of numbers\n\n";
    text += SOURCES;
    text += &row("source", &heads);
    text += &row("---", &vec!["---".to_owned(); heads.len()]);
    let names = in_order(all.iter().map(|found| found.cases.first().map(|case| &case.sources[..]).unwrap_or_default()));
    for name in names {
        let cells = all.iter().map(|found| match found.source(name) {
            None => "–".to_owned(),
            Some(source) => {
                let state = match source.state {
                    SourceState::On => "on",
                    SourceState::Off => "off",
                    SourceState::BestEffort => "best effort",
                    SourceState::Sampled => "sampled",
                };
                notes.cell(state, source.reason.as_deref().filter(|_| source.state != SourceState::On))
            }
        });
        text += &row(&format!("`{name}`"), &cells.collect::<Vec<_>>());
    }
    text += "\n## Programs\n\n";
    text += PROGRAMS;
    text += &row("program", &heads);
    text += &row("---", &vec!["---".to_owned(); heads.len()]);
    let attached: Vec<_> = all.iter().map(Compatibility::attached).collect();
    let programs: BTreeSet<&str> = attached
        .iter()
        .flat_map(BTreeMap::keys)
        .copied()
        .chain(all.iter().flat_map(|found| found.unused.keys().map(String::as_str)))
        .collect();
    for name in programs {
        let cells =
            all.iter().zip(&attached).map(|(found, attached)| match (attached.get(name), found.unused.get(name)) {
                (Some(verified), _) => verified.instructions.map_or("works".to_owned(), |count| count.to_string()),
                (None, Some(why)) => notes.cell("–", Some(why)),
                (None, None) => "–".to_owned(),
            });
        text += &row(&format!("`{name}`"), &cells.collect::<Vec<_>>());
    }
    text += "\n## Configurations\n\n";
    text += CONFIGURATIONS;
    text += &row("configuration", &heads);
    text += &row("---", &vec!["---".to_owned(); heads.len()]);
    let cases = all.first().map(|found| &found.cases[..]).unwrap_or_default();
    for case in cases {
        let cells = all.iter().map(|found| {
            let same = found.cases.iter().find(|other| (&other.name, &other.flavour) == (&case.name, &case.flavour));
            match same {
                Some(same) if same.refused.is_none() => same.programs.len().to_string(),
                Some(same) => notes.cell("refused", same.refused.as_deref()),
                None => "–".to_owned(),
            }
        });
        text += &row(&format!("{} ({})", case.name, case.flavour), &cells.collect::<Vec<_>>());
    }
    text += "\n## Notes\n\n";
    for (number, note) in notes.0.iter().enumerate() {
        // The test asks for one sample a second, which is not what people get.
        let note = note.replace("at most 1 page touches", "at most 2000 page touches");
        let _ = writeln!(text, "{}. {note}", number + 1);
    }
    text
}

/// Names of all sources, each once, as they come.
fn in_order<'a>(lists: impl Iterator<Item = &'a [numatrace::snapshot::Source]>) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for source in lists.flatten() {
        if !names.contains(&source.name.as_str()) {
            names.push(&source.name);
        }
    }
    names
}

fn row(first: &str, cells: &[String]) -> String {
    format!("| {first} | {} |\n", cells.join(" | "))
}

/// Sentences that several cells share, by number.
#[derive(Default)]
struct Notes(Vec<String>);

impl Notes {
    fn cell(&mut self, text: &str, note: Option<&str>) -> String {
        let Some(note) = note else { return text.to_owned() };
        let at = self.0.iter().position(|known| known == note).unwrap_or_else(|| {
            self.0.push(note.to_owned());
            self.0.len() - 1
        });
        format!("{text} ({})", at + 1)
    }
}

const HEAD: &str = "\
# Kernels

What works on which kernel, as tests found it out: every program of the eBPF object was loaded there, and those that numatrace would run there were attached, in
each configuration between which it chooses (programs of benchmarks were loaded alone). The kernels are Debian's, in emulated machines with two NUMA nodes, on x86-64 and on arm64; beside them
stands one kernel of a virtual machine on real CPUs. `numatrace doctor` tells the same of yours. This page is made of the results in
`tests/fixtures/compatibility/`; a test fails where one of these kernels takes less or more than they say.
";

const SOURCES: &str = "\
With everything asked for, as `numatrace doctor` lists it. Numbers in brackets are notes, below.

";

const PROGRAMS: &str = "\
The number is how many instructions the verifier went through, along all paths, in the configuration with most; it allows 1,000,000. All of
them were compiled by the kernel. `raw_` programs are those for kernels that refuse BTF-enabled tracepoints.

";

const CONFIGURATIONS: &str = "\
A configuration is constants to the verifier, which leaves out what they exclude: each is verified. The number is how many programs were
attached.

";

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> Compatibility {
        all().unwrap().remove(0)
    }

    #[test]
    fn a_program_that_is_gone_is_a_difference_and_a_longer_verification_is_none() {
        let expected = found();
        let mut other = expected.clone();
        other.kernel += "-newer";
        let first = other.cases[0].programs.keys().next().unwrap().clone();
        other.cases[0].programs.get_mut(&first).unwrap().instructions = Some(999_999);
        assert_eq!(differences(&expected, &other), Vec::<String>::new());
        other.cases[0].programs.remove(&first);
        let lines = differences(&expected, &other);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains(&format!("{first} is attached no more")), "{lines:?}");
    }

    #[test]
    fn a_source_that_went_off_is_a_difference() {
        let expected = found();
        let mut other = expected.clone();
        other.cases[0].sources[0].state = SourceState::Off;
        assert_eq!(differences(&expected, &other).len(), 1);
    }
}
