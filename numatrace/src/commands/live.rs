//! `numatrace live`, the default: finds the target and traces it.

use std::process::ExitCode;

use crate::cli::LiveArgs;

use super::{
    launch::Stdio,
    replay::refuse,
    session::{self, Session},
    traced::Traced,
};

/// Where a command's output goes, so that it and ours do not mix.
fn stdio(args: &LiveArgs) -> Stdio {
    if session::is_interactive(&args.output) {
        Stdio::Null
    } else if args.output.output.as_deref().is_some_and(|path| path != std::path::Path::new("-")) {
        Stdio::Inherited
    } else {
        Stdio::OutputToStderr
    }
}

/// Traces what the arguments name.
///
/// # Errors
/// One sentence about what stands in the way.
pub fn run(args: &LiveArgs) -> anyhow::Result<ExitCode> {
    let (config, findings) = match session::config(&args.look, &args.findings, &args.run, &args.output) {
        Ok(found) => found,
        Err(refused) => return Ok(refuse(&refused.to_string())),
    };
    let mut traced = Traced::find(&args.filter, &args.roots, stdio(args))?;
    let setup = traced.setup(&args.run, &args.trace);
    let session = Session {
        needs: setup.needs(),
        setup,
        output: &args.output,
        started: &mut || traced.release(),
        default_duration: None,
        one_report: false,
        config,
        findings,
    };
    session.run()?;
    Ok(traced.end())
}
