//! Every file of `fuzz/corpus`, as its fuzzer reads it: what once went wrong does not again, and seeds stay good.

use std::fs;
use std::path::Path;

use super::{TARGETS, run};

#[test]
fn every_file_of_the_corpora_goes_through_its_target() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let folders = fs::read_dir(&corpora).expect("corpora beside the package");
    let mut names: Vec<String> =
        folders.map(|folder| folder.expect("an entry").file_name().into_string().expect("a name")).collect();
    names.sort();
    assert_eq!(names, TARGETS.map(|(name, _)| name), "a corpus for each target, and a target for each");
    for (name, _) in TARGETS {
        let mut count = 0;
        for file in fs::read_dir(corpora.join(name)).expect("a folder") {
            let path = file.expect("an entry").path();
            let bytes = fs::read(&path).expect("a file");
            assert!(bytes.len() <= 1 << 16, "{} is large for a seed", path.display());
            let done = std::panic::catch_unwind(|| run(name, &bytes));
            assert!(done.is_ok(), "{} is a file on which its target fails", path.display());
            count += 1;
        }
        assert!(count > 0, "{name} has no seeds");
    }
}
