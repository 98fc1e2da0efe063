//! `numatrace serve`: numbers of the whole machine for Prometheus.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::{Context as _, bail};

use super::{interrupt, replay::refuse};
use crate::{
    cli::ServeArgs,
    collect::{
        counting::{CountPlan, Counting},
        pages::PagePlan,
    },
    container::names::Names,
    rights::{self, Needs, Role},
    serve::{
        Collect,
        collector::Collector,
        http::{Config, Limits, Server},
        look::MachineLook,
        table,
        web_config::WebConfig,
    },
    target::{Ids, preflight},
    topology::Topology,
};

/// Serves until a signal ends it.
///
/// # Errors
/// When there is nothing to collect from, or no address to listen at.
pub fn run(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let web_config = match args.web_config.as_deref().map(WebConfig::open).transpose() {
        Ok(web_config) => web_config.unwrap_or_default(),
        Err(error) => return Ok(refuse(&error.to_string())),
    };
    let stop = interrupt::catch()?;
    let tls = web_config.has_tls();
    // Before anything is loaded into the kernel: a port that is taken is the most likely mistake.
    let server = Server::bind(Config {
        listen: args.listen.iter().map(|listen| listen.addresses()).collect(),
        web_config,
        limits: Limits::default(),
    })?;
    rights::begin(Needs { web_config: args.web_config.is_some(), ..Needs::default() });
    let collector = collector(args)?;
    if !args.quiet {
        for address in server.addresses() {
            let scheme = if tls { "https" } else { "http" };
            // A closed standard error is no reason to end.
            let _ = writeln!(io::stderr(), "numatrace: serving {scheme}://{address}/metrics");
        }
    }
    server.run(collector, &stop)?;
    Ok(ExitCode::SUCCESS)
}

/// What collects from the kernel.
fn collector(args: &ServeArgs) -> anyhow::Result<Box<dyn Collect>> {
    let machine = super::traced::machine(&args.roots)?;
    super::traced::enter(&machine);
    preflight::check_privileges(&machine)?;
    preflight::check_kernel(&machine)?;
    if machine.ids() != Ids::Same {
        bail!(
            "serve counts the whole machine, and inside a pid namespace of its own the kernel shows only the threads in it: run numatrace on the host, or in a container with --pid=host (hostPID: true in Kubernetes)"
        );
    }
    let topology = Topology::read(machine.sys()).context("cannot learn the machine's CPUs and nodes")?;
    let look = MachineLook::new(machine.clone());
    let names = Names::new(machine.host_root());
    let plan = CountPlan {
        limits: table::Limits {
            processes: args.max_processes as usize,
            cgroups: args.max_cgroups as usize,
            thread_groups: args.thread_groups.then_some(args.max_thread_groups as usize),
        },
        pages: PagePlan { source: args.page_source.into(), ..PagePlan::OFF },
        cgroups_v1: look.is_v1(),
        machine,
    };
    let counting = Counting::start(&plan, &topology, Box::new(look))?;
    rights::settle(Role::Engine)?;
    Ok(Box::new(Collector::start(counting, names).context("cannot start a thread")?))
}
