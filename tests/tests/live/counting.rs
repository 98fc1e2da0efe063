//! Counting in the kernel, as `serve` does.

use anyhow::Result;
use numatrace_tests::live::{Case, counting};

use super::{busy_cpu, two_cpus};

pub const CASES: &[Case] = &[
    ("counting::children_that_end", counting::children_that_end),
    ("counting::ping_pong", || counting::ping_pong(busy_cpu()?.parse()?)),
    ("counting::busy", || counting::busy(busy_cpu()?.parse()?)),
    ("counting::hops", hops),
    ("counting::touches", || counting::touches(0, 0)),
];

fn hops() -> Result<()> {
    let Some(cpus) = two_cpus()? else {
        println!("skipped: hops need two CPUs");
        return Ok(());
    };
    let (from, to) = cpus.split_once(',').unwrap_or_default();
    let (from, to): (u32, u32) = (from.parse()?, to.parse()?);
    let topology = numatrace::topology::Topology::read(std::path::Path::new("/sys"))?;
    let level = topology.level(from, to).map_or("unknown", |level| level.name());
    counting::hop(level, from as usize, to as usize)
}
