//! Expected outputs as files, that a person can read and review.

use std::{env, fs, path::Path};

/// Whether expected outputs are to be written, not compared.
pub fn blessing() -> bool {
    env::var_os("NUMATRACE_BLESS").is_some()
}

/// Compares with `tests/fixtures/NAME`. With `NUMATRACE_BLESS=1` writes the file instead: look at the change before
/// you commit it.
///
/// # Panics
/// When they differ, with the first line that does.
pub fn check(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    if blessing() {
        fs::write(&path, actual).unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
    if expected == actual {
        return;
    }
    let same = expected.lines().zip(actual.lines()).take_while(|(a, b)| a == b).count();
    let line = |text: &str| text.lines().nth(same).unwrap_or("(end)").to_owned();
    panic!(
        "{name} differs at line {}\nexpected: {}\n  actual: {}\n\nThe whole of it:\n{actual}\n\
         If this is how it should be: NUMATRACE_BLESS=1 cargo test -p numatrace-tests",
        same + 1,
        line(&expected),
        line(actual)
    );
}
