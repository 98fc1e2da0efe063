//! How costs grow: with events, threads and CPUs. Events come from the synthetic producer through the real lanes; threads and CPUs
//! that this machine does not have are simulated.

mod cpus;
mod events;
mod plot;
mod threads;

use anyhow::Result;

/// Measures all three, and draws them with `plot`.
pub fn run(rounds: usize, seconds: u64, plot: bool) -> Result<()> {
    let events = events::run(rounds, seconds)?;
    let threads = threads::run(rounds);
    let cpus = cpus::run(rounds);
    if plot {
        plot::draw(&events, &threads, &cpus)?;
    }
    Ok(())
}
