//! `numatrace serve`: numbers of the whole machine for Prometheus.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::bail;

use super::{interrupt, replay::refuse};
use crate::{
    cli::ServeArgs,
    serve::{
        Collect,
        http::{Config, Limits, Server},
        web_config::WebConfig,
    },
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
fn collector(_args: &ServeArgs) -> anyhow::Result<Box<dyn Collect>> {
    bail!("serve is not built in yet: nothing collects the sums of the probes")
}
