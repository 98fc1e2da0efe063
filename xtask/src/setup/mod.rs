//! `cargo xtask setup`: finds out what is missing for a purpose, says what it will install and why, and installs it.
//!
//! [`needs`] decides what is missing (pure), [`install`] gets it. Nothing missing costs a second and touches no network.

mod install;
pub mod needs;
pub mod prometheus;
pub mod readers;

use anyhow::{Result, bail};

pub use self::needs::Purpose;
use self::needs::{Facts, Need, missing};
use crate::{shell::say, vm::VmDir};

/// Installs what is missing for `purpose`. Missing things that are merely nice to have never fail it.
pub fn setup(purpose: Purpose) -> Result<()> {
    let dir = VmDir::open();
    let missing = missing(purpose, &Facts::detect(&dir));
    if missing.is_empty() {
        return Ok(());
    }
    say(format!("setting up for {}; missing here:", purpose.name()));
    for need in &missing {
        say(format!("  {}: {}", need.what(), need.why()));
    }
    let machine = install::Machine::detect();
    machine.refresh_package_lists(&missing)?;
    let mut failed = Vec::new();
    for need in &missing {
        if let Err(error) = machine.install(need, &dir) {
            if need.optional() {
                say(format!("going on without {}: {error:#}", need.what()));
            } else {
                failed.push((need, error));
            }
        }
    }
    // A later need may fail only because an earlier one did, so the first is the one to tell.
    if let Some((need, error)) = failed.into_iter().next() {
        bail!("{error:#}; install {} by hand: {}", need.what(), need.by_hand());
    }
    check(purpose, &dir)
}

/// What was installed has to be found, else a later step would fail less clearly.
fn check(purpose: Purpose, dir: &VmDir) -> Result<()> {
    let still: Vec<Need> = missing(purpose, &Facts::detect(dir)).into_iter().filter(|need| !need.optional()).collect();
    if let Some(need) = still.first() {
        bail!("{} was installed, but still does not do; install it by hand: {}", need.what(), need.by_hand());
    }
    Ok(())
}
