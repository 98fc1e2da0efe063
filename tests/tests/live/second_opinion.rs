//! The same run seen by `perf sched`, where it works here.

use std::env;

use anyhow::{Result, ensure};
use numatrace_tests::live::{Tracer, Workload, perf::Recorder, within};

use crate::{Case, Scratch, busy_cpu};

pub const CASES: &[Case] = &[("perf_sched_timehist_agrees", timehist)];

fn timehist() -> Result<()> {
    let cpu = busy_cpu()?;
    let scratch = Scratch::new("perf")?;
    let mut workload = Workload::start(&["switches", "--cpu", &cpu, "--millis", "1000"])?;
    let mut tracer = Tracer::start(&["--pid", &workload.pid.to_string()])?;
    let recorder = match Recorder::start(&scratch.0, &[]) {
        Ok(recorder) => recorder,
        Err(reason) => {
            // A second opinion, not the truth: that is /proc in the other tests. So it may be missing.
            eprintln!("not compared with perf sched, which does not work here: {reason:#}");
            let required = env::var_os("NUMATRACE_REQUIRE_PERF").is_some();
            ensure!(!required, "perf is required: {reason:#}");
            return Ok(());
        }
    };
    workload.run()?;
    let report = tracer.stop()?;
    let sleeper = workload.tid("sleeper")?;
    let theirs = recorder.stop(sleeper)?;
    workload.finish()?;
    let ours = report.thread(sleeper)?;
    let turns = ours.number("/switches/voluntary")? + ours.number("/switches/involuntary")?;
    println!("perf: {theirs:?}; numatrace: {turns} turns, {} of waits", ours.0["runq"]["wakeup"]);
    // Both see the same, also where the kernel hides something.
    ensure!(turns == theirs.turns, "{turns} turns, perf says {}", theirs.turns);
    // Between perf's stamps and ours lies perf's own work, at both ends of each wait: 7 us of it on a slow machine.
    const OF_PERF_NS: u64 = 10_000;
    let (total, waits) = (ours.number("/runq/wakeup/total_ns")?, ours.number("/runq/wakeup/count")?);
    let nearest = total.max(theirs.delay_ns.min(total + waits * OF_PERF_NS));
    within(0.1, "run-queue latency after wakeups", nearest, theirs.delay_ns)
}
