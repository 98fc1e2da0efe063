//! docs/unsafe.md lists every file with unsafe code, as often as it has some: the sources are held against it.

use std::{collections::BTreeMap, fs, path::Path};

use xtask::shell::root;

/// Where sources are.
const SOURCES: [&str; 9] = [
    "fuzz/fuzz_targets",
    "numatrace/build.rs",
    "numatrace/src",
    "numatrace-common/src",
    "numatrace-ebpf/src",
    "tests/src",
    "tests/tests",
    "xtask/src",
    "xtask/tests",
];

/// How often the word stands in code: not in comments, not in texts.
fn count(source: &str) -> usize {
    let in_line = |line: &str| {
        let code = line.split("//").next().unwrap_or_default();
        let word = |(at, _): &(usize, &str)| {
            let is_part = |c: char| c.is_alphanumeric() || c == '_';
            let apart = !code[..*at].ends_with(is_part) && !code[at + "unsafe".len()..].starts_with(is_part);
            apart && code[..*at].matches('"').count().is_multiple_of(2)
        };
        code.match_indices("unsafe").filter(word).count()
    };
    source.lines().map(in_line).sum()
}

fn look(path: &Path, found: &mut BTreeMap<String, usize>) {
    if path.is_dir() {
        let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        entries.for_each(|entry| look(&entry.expect("an entry").path(), found));
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        let count = count(&fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())));
        if count > 0 {
            let name = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
            found.insert(name, count);
        }
    }
}

/// From rows such as ``| `file` | 3 | why |``.
fn listed(text: &str) -> BTreeMap<String, usize> {
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let (file, count, why) = (cells.next()?.trim_end_matches('`'), cells.next()?, cells.next()?);
        assert!(why.trim_end_matches(" |").len() > 4, "{file}: no reason");
        Some((file.to_owned(), count.trim().parse().expect("a number")))
    };
    text.lines().filter_map(row).collect()
}

#[test]
fn every_file_with_unsafe_code_is_listed_with_as_much_as_it_has() {
    let mut found = BTreeMap::new();
    SOURCES.iter().for_each(|path| look(&root().join(path), &mut found));
    assert!(found.len() > 40, "{found:?}");
    let listed = listed(&fs::read_to_string(root().join("docs/unsafe.md")).expect("docs/unsafe.md"));
    let wrong: Vec<String> = found
        .keys()
        .chain(listed.keys().filter(|file| !found.contains_key(*file)))
        .filter(|file| found.get(*file) != listed.get(*file))
        .map(|file| {
            let times = |of: &BTreeMap<String, usize>| of.get(file).copied().unwrap_or_default();
            format!("{file}: {} in the source, {} in docs/unsafe.md", times(&found), times(&listed))
        })
        .collect();
    assert!(wrong.is_empty(), "docs/unsafe.md is stale:\n{}", wrong.join("\n"));
}

#[test]
fn the_word_is_counted_in_code_alone() {
    let code = "// unsafe\nlet a = unsafe { f() }; // unsafe\nlet b = \"unsafe\";\nunsafe_code();\n#[unsafe(no_mangle)]\nunsafe fn g() {}\n";
    assert_eq!(count(code), 3);
}
