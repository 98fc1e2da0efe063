//! `cargo xtask bench`: see `numatrace_tests::bench`.

use std::process::ExitCode;

fn main() -> ExitCode {
    match numatrace_tests::bench::main(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
