//! `numatrace live`, the default: finds the target and traces it.

use std::process::ExitCode;

use crate::{
    cli::LiveArgs,
    target::{self, Filter, Machine, preflight},
};

use super::{
    interrupt,
    launch::{Launched, Stdio},
    session::{self, Session},
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
    let machine = Machine::this();
    let mut spec = target::resolve(&args.filter, &machine)?;
    preflight::check_privileges(&machine)?;
    preflight::check_kernel(&machine)?;
    preflight::check_access(&spec, &machine)?;
    let mut command = match &spec.filter {
        Filter::Command(command) => Some(Launched::hold(command, stdio(args))?),
        _ => None,
    };
    if let Some(command) = &command {
        spec.ids = vec![command.pid()];
    }
    let filter = match &command {
        Some(command) => Filter::Processes(vec![command.pid()]),
        None => spec.filter.clone(),
    };
    interrupt::pass_on_to(command.as_ref().map(Launched::pid));
    let session = Session {
        target: spec.describe(),
        filter,
        linger: command.is_some(),
        run: &args.run,
        output: &args.output,
        trace: &args.trace,
        started: &mut || command.as_mut().map_or(Ok(()), Launched::release),
        default_duration: None,
        one_report: false,
    };
    let result = session.run();
    interrupt::pass_on_to(None);
    result?;
    Ok(command.map_or(ExitCode::SUCCESS, |mut command| ExitCode::from(command.end())))
}
