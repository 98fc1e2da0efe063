//! `--pin-to`: which nodes are meant, and what binding to them would do.

use crate::{
    cli::{PinTo, ReportArgs, ReportFormat},
    snapshot::{Host, Snapshot},
    topology::list,
    whatif::{self, Demand, WhatIf},
};

/// Positions of the nodes that are asked for, each once, in the order of the machine for all and else as they were asked for;
/// `None` where none is.
///
/// # Errors
/// One sentence about what is wrong.
pub(super) fn nodes(args: &ReportArgs, host: &Host) -> Result<Option<Vec<usize>>, String> {
    if args.pin_to.is_empty() {
        return Ok(None);
    }
    if args.format == ReportFormat::Csv {
        return Err("--pin-to is told in text and JSON, not in CSV".into());
    }
    positions(&args.pin_to, host).map(Some)
}

/// The same where it is known that some are, or that none is no matter.
///
/// # Errors
/// One sentence about what is wrong.
pub(in crate::commands) fn positions(pin_to: &[PinTo], host: &Host) -> Result<Vec<usize>, String> {
    let mut nodes: Vec<usize> = Vec::new();
    for asked in pin_to {
        match asked {
            PinTo::All => nodes.extend((0..host.nodes.len()).filter(|at| has_cpus(host, *at))),
            PinTo::Node(id) => nodes.push(position(host, *id)?),
        }
    }
    if pin_to.contains(&PinTo::All) {
        nodes.sort_unstable();
    }
    let mut once: Vec<usize> = Vec::new();
    for node in nodes {
        if !once.contains(&node) {
            once.push(node);
        }
    }
    Ok(once)
}

fn has_cpus(host: &Host, at: usize) -> bool {
    host.nodes.get(at).is_some_and(|node| !node.cpus.is_empty())
}

fn position(host: &Host, id: u32) -> Result<usize, String> {
    let Some(at) = host.nodes.iter().position(|node| node.id.0 == id) else {
        let known = list::format(host.nodes.iter().map(|node| node.id.0));
        return Err(format!("the machine of the recording has no node {id}: it has {known}"));
    };
    if has_cpus(host, at) { Ok(at) } else { Err(format!("node {id} has no CPUs: nothing can be bound to it")) }
}

pub(super) fn what_if(args: &ReportArgs, snapshot: &Snapshot, demand: &Demand, nodes: &[usize]) -> WhatIf {
    whatif::what_if(snapshot, demand, nodes, args.pin_to.contains(&PinTo::All))
}
