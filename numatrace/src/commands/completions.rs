//! `numatrace completions SHELL`.

use std::io::{self, Write};

use crate::cli::{self, CompletionsArgs};

/// Writes the completion script of a shell to standard output.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(args: &CompletionsArgs) -> anyhow::Result<()> {
    write(args, &mut io::stdout().lock())?;
    Ok(())
}

/// Writes the script to `out`. It is made in memory first, since clap's generator panics where a write fails.
fn write(args: &CompletionsArgs, out: &mut impl Write) -> io::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut cli::command(), "numatrace", &mut script);
    out.write_all(&script)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;
    use clap_complete::Shell;

    #[test]
    fn every_shell_gets_a_script_that_knows_the_commands_and_flags() {
        for shell in Shell::value_variants() {
            let mut script = Vec::new();
            write(&CompletionsArgs { shell: *shell }, &mut script).expect("memory takes every write");
            let script = String::from_utf8(script).expect("a script is text");
            for word in ["live", "doctor", "slower-than", "ring-size"] {
                assert!(script.contains(word), "{word} is missing for {shell}");
            }
        }
    }

    #[test]
    fn a_closed_pipe_is_an_error_and_no_panic() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let error = write(&CompletionsArgs { shell: Shell::Bash }, &mut Closed).expect_err("the pipe is closed");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
