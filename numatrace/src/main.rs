//! The `numatrace` program: parse, run, exit code.

use std::{io::Write, process::ExitCode};

use numatrace::{
    cli::{self, Command},
    commands, demo, report,
};

fn main() -> ExitCode {
    // The demo's workload is this program once more; it is no command for people.
    if std::env::args_os().nth(1).is_some_and(|first| first == demo::COMMAND) {
        return outcome(demo::run_workload().map(|()| ExitCode::SUCCESS).map_err(Into::into));
    }
    let command = match cli::parse(std::env::args_os()) {
        Ok(command) => command,
        Err(error) => error.exit(),
    };
    outcome(match command {
        Command::Live(args) => commands::live::run(&args),
        Command::Record(args) => commands::record::run(&args),
        Command::Import(args) => commands::import::run(&args),
        Command::Demo(args) => commands::demo::run(&args),
        Command::Report(args) => commands::report::run(&args),
        Command::Export(args) => commands::export::run(&args),
        Command::Diff(args) => commands::diff::run(&args),
        Command::Replay(args) => commands::replay::run(&args),
        Command::Serve(args) => commands::serve::run(&args),
        Command::Doctor(args) => commands::doctor::run(&args),
        Command::Config(args) => commands::config::run(&args),
        Command::Completions(args) => commands::completions::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Man(args) => commands::man::run(&args).map(|()| ExitCode::SUCCESS),
    })
}

fn outcome(result: anyhow::Result<ExitCode>) -> ExitCode {
    match result {
        Ok(code) => code,
        // A reader that went away (`| head`) is no failure.
        Err(error) if report::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // A closed standard error is no reason to panic.
            let _ = writeln!(std::io::stderr(), "numatrace: {}", sentence(&error));
            ExitCode::FAILURE
        }
    }
}

/// The error and its causes in one sentence; a cause that the error tells already is not repeated.
fn sentence(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| {
        if text.is_empty() {
            cause
        } else if text.contains(&cause) {
            text
        } else {
            format!("{text}: {cause}")
        }
    })
}
