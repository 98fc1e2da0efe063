//! `cargo xtask bench`: see `numatrace_tests::bench`.

use std::process::ExitCode;

use numatrace_tests::heap::Counting;

#[global_allocator]
static HEAP: Counting = Counting;

fn main() -> ExitCode {
    match numatrace_tests::bench::main(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
