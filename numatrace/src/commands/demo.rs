//! `numatrace demo`: traces a built-in workload.

use std::{process::ExitCode, time::Duration};

use anyhow::Context;

use crate::{
    cli::DemoArgs,
    demo,
    rights::Needs,
    snapshot::Target,
    target::{Filter, Ids, Machine, preflight},
};

use super::{
    engine::Setup,
    replay::refuse,
    session::{self, Session},
};

/// How long it runs where it is not drawn.
const DURATION: Duration = Duration::from_secs(10);

/// Starts the workload and traces it.
///
/// # Errors
/// One sentence about what stands in the way.
pub fn run(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let (config, findings) = match session::config(&args.look, &args.findings, &args.run, &args.output) {
        Ok(found) => found,
        Err(refused) => return Ok(refuse(&refused.to_string())),
    };
    let machine = Machine::this();
    preflight::check_privileges(&machine)?;
    preflight::check_kernel(&machine)?;
    let workload = demo::spawn().context("cannot start the demo's workload")?;
    let pid = workload.pid();
    let setup = Setup {
        target: Target { kind: "pid".into(), label: format!("pid {pid} (numatrace-demo)"), ids: vec![pid] },
        filter: Filter::Processes(vec![pid]),
        filter_ids: Ids::Own,
        machine,
        command: None,
        run: &args.run,
        trace: &args.trace,
    };
    let session = Session {
        // The workload is ended in any case.
        needs: Needs { command: Some(pid), ..setup.needs() },
        setup,
        output: &args.output,
        started: &mut || Ok(()),
        default_duration: Some(DURATION),
        one_report: true,
        config,
        findings,
    };
    session.run()?;
    Ok(ExitCode::SUCCESS)
}
