//! A process that does a known number of things: see `numatrace_tests::workload`.

fn main() -> std::process::ExitCode {
    match numatrace_tests::workload::main(std::env::args().skip(1)) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("workload: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
