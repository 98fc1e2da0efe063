//! numatrace starts no shell, and makes no file in a folder that everybody writes to: its sources are held against that.

use std::{fs, path::Path};

use xtask::shell::root;

/// What such code has in it.
const FORBIDDEN: [&str; 11] = [
    "\"sh\"",
    "\"bash\"",
    "/bin/sh",
    "/bin/bash",
    "libc::system",
    "libc::popen",
    "\"/tmp",
    "\"/var/tmp",
    "\"/dev/shm",
    "temp_dir()",
    "tempfile",
];

/// Places that name one of them all the same, and why that is right.
const ALLOWED: [(&str, &str, &str); 1] =
    [("numatrace/src/collect/placement/maps.rs", "\"/dev/shm", "files that others have mapped, which count as memory")];

/// Files that start programs: the command of `-- CMD`, and this program once more for `demo`.
const STARTS: [&str; 2] = ["numatrace/src/commands/launch.rs", "numatrace/src/demo.rs"];

/// Code without its tests, which stand at the end of a file, or in files of their own.
fn without_tests(source: &str) -> impl Iterator<Item = &str> {
    let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//"))
}

fn look(path: &Path, see: &mut dyn FnMut(&str, &str)) {
    if path.is_dir() {
        let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        entries.for_each(|entry| look(&entry.expect("an entry").path(), see));
    } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
        let name = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
        let source = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        without_tests(&source).for_each(|line| see(&name, line));
    }
}

#[test]
fn no_shell_is_started_and_no_shared_folder_written_to() {
    let (mut lines, mut wrong, mut starts) = (0, Vec::new(), Vec::new());
    look(&root().join("numatrace/src"), &mut |file, line| {
        lines += 1;
        for word in FORBIDDEN.iter().filter(|word| line.contains(**word)) {
            if !ALLOWED.iter().any(|(place, what, _)| file == *place && word == what) {
                wrong.push(format!("{file} has {word}: {}", line.trim()));
            }
        }
        if line.contains("Command::new(") && !line.contains("clap") {
            starts.push(file.to_owned());
        }
    });
    assert!(lines > 10_000, "only {lines} lines were seen");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    starts.sort();
    assert_eq!(starts, STARTS, "files that start programs");
}

#[test]
fn tests_and_comments_are_left_out() {
    let source = "// \"/tmp\nlet a = 1;\n#[cfg(test)]\nmod tests {\n    let b = temp_dir();\n}\n";
    assert_eq!(without_tests(source).collect::<Vec<_>>(), ["let a = 1;"]);
}
