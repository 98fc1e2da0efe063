//! Runs one suite of checks inside a guest, or those of it with a word in their names: see `numatrace_tests::guest`.

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    let name = env::args().nth(1).unwrap_or_default();
    let Some(suite) = numatrace_tests::guest::suite(&name) else {
        eprintln!("guest-check: there is no suite '{name}'");
        return ExitCode::from(2);
    };
    let part = env::args().nth(2).unwrap_or_default();
    if suite.run(&part) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
