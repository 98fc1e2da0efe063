//! Arguments of `import`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{RecordFileArgs, interval};

/// Arguments of `import`.
#[derive(Args, Clone, Debug)]
pub struct ImportArgs {
    /// What `perf sched record -a` wrote
    #[arg(value_name = "PERF.DATA")]
    pub input: PathBuf,
    /// Time between ticks of the recording, by which replay steps, 50ms to 1h
    #[arg(short, long, value_name = "TIME", value_parser = interval, default_value = "1s", allow_hyphen_values = true)]
    pub interval: Duration,
    /// The file to record into.
    #[command(flatten)]
    pub file: RecordFileArgs,
}
