//! Runs one suite of checks inside a guest: see `numatrace_tests::guest`.

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    let name = env::args().nth(1).unwrap_or_default();
    let Some(suite) = numatrace_tests::guest::suite(&name) else {
        eprintln!("guest-check: there is no suite '{name}'");
        return ExitCode::from(2);
    };
    if suite.run() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
