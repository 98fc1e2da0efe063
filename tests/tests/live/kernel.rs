//! Every program of the object on this kernel.

use anyhow::{Result, bail};
use numatrace_tests::{compatibility, golden::blessing, live::bpf};

use crate::Case;

pub const CASES: &[Case] = &[("every_program_in_every_configuration", every_program)];

/// What is expected of this kernel where there is a result of one like it; else whatever it takes, without a trace.
fn every_program() -> Result<()> {
    let before = bpf::programs()?;
    let found = compatibility::examine()?;
    bpf::nothing_left(&before)?;
    for (name, why) in found.limits() {
        println!("{name}: {why}");
    }
    if blessing() {
        return compatibility::check(&found);
    }
    match compatibility::expected_like(&found)? {
        Some(expected) => {
            let differences = compatibility::differences(&expected, &found);
            if !differences.is_empty() {
                bail!("{} took something else before:\n{}", found.conditions(), differences.join("\n"));
            }
        }
        None => eprintln!("not compared with anything: there is no result of {}", found.conditions()),
    }
    Ok(())
}
