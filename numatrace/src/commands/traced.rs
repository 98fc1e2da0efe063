//! What `live` and `record` do before they trace: find the target, see that it may be traced, and hold a command that is
//! to be started.

use std::process::ExitCode;

use crate::{
    cli::{FilterArgs, RunArgs, TraceArgs},
    target::{self, Filter, Machine, TargetSpec, preflight},
};

use super::{
    engine::Setup,
    interrupt,
    launch::{Launched, Stdio},
};

/// A target that can be traced.
pub struct Traced {
    spec: TargetSpec,
    command: Option<Launched>,
}

impl Traced {
    /// Finds it. A command waits before its first instruction.
    ///
    /// # Errors
    /// One sentence about what stands in the way.
    pub fn find(filter: &FilterArgs, stdio: Stdio) -> anyhow::Result<Traced> {
        let machine = Machine::this();
        let mut spec = target::resolve(filter, &machine)?;
        preflight::check_privileges(&machine)?;
        preflight::check_kernel(&machine)?;
        preflight::check_access(&spec, &machine)?;
        let command = match &spec.filter {
            Filter::Command(command) => Some(Launched::hold(command, stdio)?),
            _ => None,
        };
        if let Some(command) = &command {
            spec.ids = vec![command.pid()];
        }
        interrupt::pass_on_to(command.as_ref().map(Launched::pid));
        Ok(Traced { spec, command })
    }

    /// What to trace.
    pub fn setup<'a>(&self, run: &'a RunArgs, trace: &'a TraceArgs) -> Setup<'a> {
        let filter = match &self.command {
            Some(command) => Filter::Processes(vec![command.pid()]),
            None => self.spec.filter.clone(),
        };
        Setup { target: self.spec.describe(), filter, linger: self.command.is_some(), run, trace }
    }

    /// Lets a command go, now that it is traced.
    ///
    /// # Errors
    /// When there is no such program, or it may not be run.
    pub fn release(&mut self) -> anyhow::Result<()> {
        self.command.as_mut().map_or(Ok(()), Launched::release)
    }

    /// The exit code: that of a command, which ends now.
    pub fn end(mut self) -> ExitCode {
        interrupt::pass_on_to(None);
        self.command.take().map_or(ExitCode::SUCCESS, |mut command| ExitCode::from(command.end()))
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        // Before the command, whose id is its own until it is waited for.
        interrupt::pass_on_to(None);
    }
}
