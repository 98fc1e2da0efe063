//! What `record` takes to keep the last seconds in memory.

use std::time::Duration;

use clap::Args;

use super::values;
use crate::trigger::Trigger;

/// A flight recorder.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Flight recorder")]
pub struct FlightArgs {
    /// Keep the last seconds in memory (64 MiB at most) instead of recording all, and write them on SIGUSR1, when Enter is
    /// pressed, or when a trigger fires; the time of each file is put into its name: 30s, 5m
    #[arg(long, value_name = "TIME", value_parser = values::last, allow_hyphen_values = true, conflicts_with_all = ["force", "max_size"])]
    pub last: Option<Duration>,
    /// Write when a number of the last interval is beyond a limit, such as runq.p99>50ms or remote_share>0.3, or, with end,
    /// when the run ends; can be given several times
    #[arg(long = "trigger", value_name = "CONDITION", value_parser = trigger, requires = "last")]
    pub triggers: Vec<Trigger>,
    /// After a trigger has fired, none fires for this long
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = values::cooldown, allow_hyphen_values = true, requires = "last")]
    pub cooldown: Duration,
    /// End the run when this many files are written, 1 to 10000
    #[arg(long, value_name = "N", default_value = "10", value_parser = values::max_files, allow_hyphen_values = true, requires = "last")]
    pub max_files: u32,
}

fn trigger(text: &str) -> Result<Trigger, String> {
    text.parse().map_err(|bad: crate::trigger::Bad| bad.to_string())
}
