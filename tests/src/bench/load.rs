//! The loads that are measured, and how their results are read.

use std::{fmt, process::Command};

use anyhow::{Context as _, Result};

use crate::{live::program, workload::os::allowed_cpus};

/// Something that switches a lot and says how fast it went.
#[derive(Clone, Copy, Debug)]
pub enum Load {
    /// `perf bench sched pipe`: two processes, this many round trips. On one CPU: on two, the time to wake an idle CPU
    /// is most of what is measured, and where the processes are put is chance. At the highest ordinary priority, so that
    /// what else runs on the machine takes little of it.
    PerfPipe(u32),
    /// The same by a workload of ours, where there is no perf.
    OwnPipe(u32),
    /// `perf bench sched messaging`: ten groups of twenty senders and twenty receivers, so many messages from each sender to
    /// each receiver of its group, on every CPU.
    PerfMessaging(u32),
    /// Pairs of threads of a workload of ours, for a time.
    Pairs {
        /// How many.
        pairs: u32,
        /// For how long.
        millis: u32,
    },
}

/// Groups of [`Load::PerfMessaging`].
const GROUPS: u32 = 10;

impl Load {
    /// One pair.
    pub fn pipe(loops: u32) -> Load {
        let has_perf = Command::new("perf").arg("--version").output().is_ok_and(|output| output.status.success());
        if has_perf { Load::PerfPipe(loops) } else { Load::OwnPipe(loops) }
    }

    /// Program and arguments.
    pub fn command(&self) -> Result<Vec<String>> {
        // The last CPU: the first has most of a small machine's interrupts.
        let cpu = allowed_cpus()?.last().copied().unwrap_or(0);
        let line = match self {
            Load::PerfPipe(loops) => format!("nice -n -20 taskset -c {cpu} perf bench -f simple sched pipe -l {loops}"),
            Load::PerfMessaging(loops) => format!("perf bench -f simple sched messaging -g {GROUPS} -l {loops}"),
            Load::OwnPipe(loops) => {
                // About the time that so many round trips take.
                let millis = loops.div_ceil(100);
                format!(
                    "nice -n -20 taskset -c {cpu} {} --now pipes 1 --millis {millis}",
                    program("workload")?.display()
                )
            }
            Load::Pairs { pairs, millis } => {
                format!("{} --now pipes {pairs} --millis {millis}", program("workload")?.display())
            }
        };
        Ok(line.split(' ').map(ToOwned::to_owned).collect())
    }

    /// Nanoseconds a round trip, from what the load printed (other lines may be there too).
    pub fn ns_per_round(&self, stdout: &str) -> Result<f64> {
        let found = match self {
            Load::PerfPipe(loops) => {
                let seconds = stdout.lines().find_map(|line| line.trim().parse::<f64>().ok());
                seconds.map(|seconds| seconds * 1e9 / f64::from(*loops))
            }
            Load::PerfMessaging(loops) => {
                let seconds = stdout.lines().find_map(|line| line.trim().parse::<f64>().ok());
                seconds.map(|seconds| seconds * 1e9 / f64::from(GROUPS * 20 * 20 * *loops))
            }
            Load::OwnPipe(loops) => rounds(stdout).map(|rounds| f64::from(loops.div_ceil(100)) * 1e6 / rounds),
            Load::Pairs { millis, .. } => rounds(stdout).map(|rounds| f64::from(*millis) * 1e6 / rounds),
        };
        found.with_context(|| format!("the load did not say how fast it was: {stdout}"))
    }

    /// Runs it with nothing else done about it.
    pub fn run(&self) -> Result<f64> {
        let words = self.command()?;
        let output = Command::new(&words[0]).args(&words[1..]).output().with_context(|| words[0].clone())?;
        self.ns_per_round(&String::from_utf8_lossy(&output.stdout))
    }
}

/// Round trips of all pairs.
fn rounds(stdout: &str) -> Option<f64> {
    let done = stdout.lines().find(|line| line.contains("\"done\":true"))?;
    let done: serde_json::Value = serde_json::from_str(done).ok()?;
    let sum: u64 = done["facts"].as_object()?.values().filter_map(|facts| facts["rounds"].as_u64()).sum();
    (sum > 0).then_some(sum as f64)
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Load::PerfPipe(loops) => write!(f, "`perf bench sched pipe -l {loops}` on one CPU"),
            Load::PerfMessaging(loops) => write!(f, "`perf bench sched messaging -g {GROUPS} -l {loops}`"),
            Load::OwnPipe(_) => write!(f, "`workload pipes 1` on one CPU (no perf here)"),
            Load::Pairs { pairs, millis } => write!(f, "{pairs} pairs of threads over pipes, {millis} ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_read_among_other_lines() {
        assert_eq!(Load::PerfMessaging(100).ns_per_round("2.000\n").unwrap(), 5_000.0);
        assert_eq!(Load::PerfPipe(100_000).ns_per_round("noise\n0.500\n").unwrap(), 5_000.0);
        let done =
            "{\"ready\":true}\n{\"done\":true,\"facts\":{\"a0\":{\"rounds\":30},\"a1\":{\"rounds\":20},\"b0\":{}}}";
        assert_eq!(Load::Pairs { pairs: 2, millis: 1 }.ns_per_round(done).unwrap(), 20_000.0);
        assert!(Load::PerfPipe(1).ns_per_round("nothing").is_err());
        assert!(Load::Pairs { pairs: 1, millis: 1 }.ns_per_round("{}").is_err());
    }
}
