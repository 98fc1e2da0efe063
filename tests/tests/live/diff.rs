//! Recordings of this kernel side by side. Two that are to be alike are made at the same time, so that whatever else the machine
//! does is done to both.

use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use numatrace_tests::live::{Case, Workload, numatrace, program};
use serde_json::Value;

use super::{Scratch, busy_cpu};

pub const CASES: &[Case] =
    &[("the_same_workload_twice_is_not_different", the_same), ("more_threads_on_a_cpu_wait_longer", crowded)];

/// A workload that goes, and what records it for some seconds.
struct Run {
    _workload: Workload,
    recorder: Child,
    file: String,
}

impl Run {
    fn start(scratch: &Scratch, name: &str, workload: &[&str]) -> Result<Run> {
        let file = scratch.0.join(name).to_str().context("a path")?.to_owned();
        let mut workload = Workload::start(workload)?;
        let mut command = Command::new(program("numatrace")?);
        command.args(["record", "-o", &file, "--force", "-d", "3500ms", "-i", "100ms", "--quiet", "--pid"]);
        command.arg(workload.pid.to_string()).stdin(Stdio::null()).stdout(Stdio::null());
        workload.go()?;
        Ok(Run { _workload: workload, recorder: command.spawn()?, file })
    }

    fn file(mut self) -> Result<String> {
        let status = self.recorder.wait()?;
        ensure!(status.success(), "record ended with {status}");
        Ok(self.file)
    }
}

fn compare(before: &str, after: &str) -> Result<Value> {
    let ended = numatrace(&["diff", before, after, "-f", "json", "--from", "300ms"])?;
    ensure!(ended.status.success(), "{}: {}", ended.status, ended.stderr);
    Ok(serde_json::from_str(&ended.stdout)?)
}

fn the_same() -> Result<()> {
    const PAIRS: usize = 4;
    let scratch = Scratch::new("diff-same")?;
    // Threads that never sleep: which of two that wake at the same pace comes first would differ all the time.
    let hogs = ["hogs", "3", "--cpu", &busy_cpu()?, "--millis", "600000"];
    let mut differ = Vec::new();
    for _ in 0..PAIRS {
        let before = Run::start(&scratch, "before.numatrace", &hogs)?;
        let after = Run::start(&scratch, "after.numatrace", &hogs)?;
        let document = compare(&before.file()?, &after.file()?)?;
        let method = &document["method"];
        ensure!(method["comparisons"].as_u64().is_some_and(|n| n > 5), "too little was compared: {method}");
        if method["changes"] != 0 {
            let told = document["totals"].as_array().into_iter().flatten();
            let changed = told.filter(|one| one["verdict"] == "lower" || one["verdict"] == "higher");
            differ.push(changed.map(ToString::to_string).collect::<Vec<String>>());
        }
    }
    ensure!(differ.len() <= 1, "{} of {PAIRS} pairs differ: {differ:#?}", differ.len());
    Ok(())
}

fn crowded() -> Result<()> {
    let scratch = Scratch::new("diff-crowded")?;
    let cpu = busy_cpu()?;
    let hogs = |count| ["hogs", count, "--cpu", &cpu, "--millis", "600000"];
    let before = Run::start(&scratch, "before.numatrace", &hogs("1"))?.file()?;
    let after = Run::start(&scratch, "after.numatrace", &hogs("5"))?.file()?;
    let document = compare(&before, &after)?;
    let group = document["groups"].as_array().and_then(|all| all.iter().find(|group| group["name"] == "hog-N"));
    let group = group.with_context(|| format!("no hogs in {}", document["groups"]))?;
    let sizes = (&group["before"]["threads"], &group["after"]["threads"]);
    ensure!(sizes == (&Value::from(1), &Value::from(5)), "{sizes:?}");
    let share = group["metrics"].as_array().and_then(|all| all.iter().find(|one| one["metric"] == "wait_share"));
    let share = share.context("no share")?;
    ensure!(share["verdict"] == "higher", "{share}");
    Ok(())
}
