//! Arguments of `diff`.

use std::path::PathBuf;

use clap::{Args, ColorChoice};

use super::{FindingArgs, Format, PinTo, values};
use crate::replay::Moment;
use crate::snapshot::GroupBy;

/// Arguments of `diff`.
#[derive(Args, Clone, Debug)]
pub struct DiffArgs {
    /// The recording that is compared with
    #[arg(value_name = "BEFORE")]
    pub before: PathBuf,
    /// The recording of what changed since
    #[arg(value_name = "AFTER")]
    pub after: PathBuf,
    /// Of each recording from this time on, to leave out how a program starts: 12s, 1m 30s or plain seconds since its start
    /// [default: its start]
    #[arg(long, value_name = "TIME", value_parser = clap::value_parser!(Moment), allow_hyphen_values = true)]
    #[arg(help_heading = "Part of the recordings")]
    pub from: Option<Moment>,
    /// Of each up to this time [default: its end]
    #[arg(long, value_name = "TIME", value_parser = clap::value_parser!(Moment), allow_hyphen_values = true)]
    #[arg(help_heading = "Part of the recordings")]
    pub to: Option<Moment>,
    /// Compare threads of one name, or of one cgroup, as one; numbers in names count as one: worker-N
    #[arg(long, value_enum, default_value = "comm", value_name = "WHAT", help_heading = "Threads")]
    pub by: GroupBy,
    /// Names that differ in numbers alone are different
    #[arg(long, help_heading = "Threads")]
    pub exact: bool,
    /// Compare this many groups, those that ran and waited most; 0 is all, 128 at most
    #[arg(long, default_value = "10", value_name = "N", value_parser = values::groups, allow_hyphen_values = true)]
    #[arg(help_heading = "Threads")]
    pub top: usize,
    /// Of intervals; and of all changes that are claimed at most the rest may be noise
    #[arg(long, default_value = "0.95", value_name = "SHARE", value_parser = confidence, help_heading = "Noise")]
    #[arg(allow_hyphen_values = true)]
    pub confidence: f64,
    /// Claim no change that is smaller than this many percent, however sure
    #[arg(long, default_value = "20", value_name = "PERCENT", value_parser = percent, help_heading = "Noise")]
    #[arg(allow_hyphen_values = true)]
    pub min_change: f64,
    /// Of the random draws: the same seed gives the same result
    #[arg(long, default_value = "1", value_name = "N", value_parser = values::seed, help_heading = "Noise")]
    #[arg(allow_hyphen_values = true)]
    pub seed: u64,
    /// Tell what binding the target to this node was to do by the first recording, beside what the second measured; all
    /// compares all nodes (repeatable, or 0,1)
    #[arg(long, value_name = "NODE", value_parser = values::pin_to, value_delimiter = ',', help_heading = "What if")]
    #[arg(allow_hyphen_values = true)]
    pub pin_to: Vec<PinTo>,
    /// Text for people or JSON for programs
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT", help_heading = "Output")]
    pub format: Format,
    /// Write into this file [- is standard output]
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub output: Option<PathBuf>,
    /// When to use colour; auto: on a terminal, unless NO_COLOR is set
    #[arg(long, value_enum, default_value_t, value_name = "WHEN", help_heading = "Output")]
    pub color: ColorChoice,
    /// No progress on standard error; errors, and what is missing, are still told
    #[arg(short, long, help_heading = "Output")]
    pub quiet: bool,
    /// From which numbers on there are findings.
    #[command(flatten)]
    pub limits: FindingArgs,
    /// The configuration with limits of findings [default: as in numatrace --help]
    #[arg(long, value_name = "FILE", help_heading = "Findings")]
    pub config: Option<PathBuf>,
}

fn confidence(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.5..=0.9999).contains(&share) => Ok(share),
        _ => Err("must be a number from 0.5 to 0.9999, such as 0.95".into()),
    }
}

/// As a part of 1.
fn percent(text: &str) -> Result<f64, String> {
    match text.strip_suffix('%').unwrap_or(text).parse::<f64>() {
        Ok(percent) if (0.0..=1_000.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err("must be a number of percent from 0 to 1000, such as 20".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_percents_are_within_bounds() {
        assert_eq!((confidence("0.95"), confidence("0.5")), (Ok(0.95), Ok(0.5)));
        assert_eq!((percent("10"), percent("2.5%"), percent("0")), (Ok(0.1), Ok(0.025), Ok(0.0)));
        for bad in ["", "x", "NaN", "inf", "1", "0.49", "-0.95"] {
            assert!(confidence(bad).is_err(), "{bad}");
        }
        for bad in ["", "%", "x", "NaN", "inf", "-1", "1001", "10%%"] {
            assert!(percent(bad).is_err(), "{bad}");
        }
    }
}
