//! What `live` and `record` do before they trace: find the target, see that it may be traced, and hold a command that is
//! to be started.

use std::process::ExitCode;

use crate::{
    cli::{FilterArgs, RootArgs, RunArgs, TraceArgs},
    target::{self, Filter, Ids, Machine, TargetSpec, preflight},
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
    machine: Machine,
}

impl Traced {
    /// Finds it. A command waits before its first instruction.
    ///
    /// # Errors
    /// One sentence about what stands in the way.
    pub fn find(filter: &FilterArgs, roots: &RootArgs, stdio: Stdio) -> anyhow::Result<Traced> {
        let machine = machine(roots)?;
        let starts = !filter.command.is_empty();
        if !starts {
            enter(&machine);
        }
        let mut spec = target::resolve(filter, &machine)?;
        preflight::check_privileges(&machine)?;
        preflight::check_kernel(&machine)?;
        preflight::check_access(&spec, &machine)?;
        let command = match &spec.filter {
            Filter::Command(command) => Some(Launched::hold(command, stdio)?),
            _ => None,
        };
        if starts {
            // A command stays in the cgroup namespace that it was started in.
            enter(&machine);
        }
        if let Some(command) = &command {
            spec.ids = vec![command.pid()];
        }
        interrupt::pass_on_to(command.as_ref().map(Launched::pid));
        Ok(Traced { spec, command, machine })
    }

    /// What to trace.
    pub fn setup<'a>(&self, run: &'a RunArgs, trace: &'a TraceArgs) -> Setup<'a> {
        let filter = match &self.command {
            Some(command) => Filter::Processes(vec![command.pid()]),
            None => self.spec.filter.clone(),
        };
        // What we started has an id of our own namespace, what was asked for one of the /proc that was named.
        let filter_ids = if self.command.is_some() { Ids::Own } else { self.machine.ids() };
        Setup {
            target: self.spec.describe(),
            filter,
            filter_ids,
            machine: self.machine.clone(),
            command: self.command.as_ref().map(Launched::pid),
            run,
            trace,
        }
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

/// The machine whose /proc and /sys are there.
///
/// # Errors
/// One sentence, where they are not there.
pub fn machine(roots: &RootArgs) -> anyhow::Result<Machine> {
    Ok(Machine::this().with_roots(roots.proc_root.as_deref(), roots.sys_root.as_deref())?)
}

/// Where another /proc was named, looks at cgroups as its first process does from now on.
pub fn enter(machine: &Machine) {
    if machine.has_given_proc() {
        // Without the right to it, sources say which cgroups are not seen.
        machine.enter_cgroup_namespace();
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        // Before the command, whose id is its own until it is waited for.
        interrupt::pass_on_to(None);
    }
}
