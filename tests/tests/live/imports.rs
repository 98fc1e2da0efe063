//! Files of `perf sched record` that are made here, imported, and held against what perf itself prints of them.

use std::env;

use anyhow::{Context as _, Result, bail, ensure};
use numatrace_tests::live::{Report, Workload, numatrace, perf::Printed, perf::Recorder, within};
use numatrace_tests::perf_script::{Counts, count};

use crate::{Case, Scratch, busy_cpu};

pub const CASES: &[Case] =
    &[("an_import_of_switches_agrees_with_perf", switches), ("an_import_of_ping_pong_agrees_with_perf", ping_pong)];

/// A recording without loss is tried so often. Other programs run here, too.
const TRIES: usize = 3;

fn switches() -> Result<()> {
    agrees(&["switches", "--cpu", &busy_cpu()?, "--millis", "500"], &["sleeper", "hog"])
}

fn ping_pong() -> Result<()> {
    agrees(&["pingpong", "3000", "--cpu", &busy_cpu()?], &["a", "b"])
}

/// Runs a workload while perf records, imports the file, and compares every thread of the machine.
fn agrees(workload: &[&str], threads: &[&str]) -> Result<()> {
    for _ in 0..TRIES {
        let scratch = Scratch::new("import")?;
        let mut workload = Workload::start(workload)?;
        let recorder = match Recorder::start(&scratch.0, &[]) {
            Ok(recorder) => recorder,
            Err(reason) => {
                eprintln!("nothing is imported, for perf sched does not work here: {reason:#}");
                ensure!(env::var_os("NUMATRACE_REQUIRE_PERF").is_none(), "perf is required: {reason:#}");
                return Ok(());
            }
        };
        workload.run()?;
        let perf = recorder.print()?;
        let tids: Vec<u32> = threads.iter().map(|name| workload.tid(name)).collect::<Result<_>>()?;
        workload.finish()?;
        if perf.lost == 0 {
            return compare(&perf, &import(&scratch)?, &tids);
        }
        eprintln!("perf lost {} events, so it is tried again", perf.lost);
    }
    bail!("perf lost events {TRIES} times")
}

fn import(scratch: &Scratch) -> Result<Report> {
    let path = |name: &str| scratch.0.join(name).to_string_lossy().into_owned();
    let imported = numatrace(&["import", &path("perf.data"), "-o", &path("run.numatrace")])?;
    ensure!(imported.status.success(), "the import failed: {}", imported.stderr);
    println!("{}", imported.stderr.trim_end());
    let told = numatrace(&["report", &path("run.numatrace"), "-f", "json"])?;
    ensure!(told.status.success(), "the report failed: {}", told.stderr);
    Ok(Report(serde_json::from_str(&told.stdout).context("the report is no JSON")?))
}

fn compare(perf: &Printed, report: &Report, workload: &[u32]) -> Result<()> {
    ensure!(report.number("/loss/records_lost")? == 0, "records were lost: {}", report.0["loss"]);
    let truth = count(&perf.script);
    let mut switches = 0;
    for (tid, theirs) in &truth {
        let (mut ours, mut exited) = (Counts::default(), false);
        for thread in report.threads().filter(|thread| thread.0["tid"] == *tid) {
            let number = |pointer: &str| thread.number(pointer);
            ours.switches += number("/switches/voluntary")? + number("/switches/involuntary")?;
            ours.wakeup.0 += number("/runq/wakeup/count")?;
            ours.wakeup.1 += number("/runq/wakeup/total_ns")?;
            ours.preempted.0 += number("/runq/preempted/count")?;
            ours.preempted.1 += number("/runq/preempted/total_ns")?;
            ours.migrations += thread.migrations()?;
            exited |= thread.0["exited"] == true;
        }
        // The last switches of a thread that has ended have no id any more where timehist looks for it.
        let turns = perf.turns(*tid);
        let fits = ours.switches == turns || exited && ours.switches > turns;
        ensure!(fits, "thread {tid}: {} switches, timehist says {turns}", ours.switches);
        ensure!(ours.switches == theirs.switches, "thread {tid}: {ours:?}, perf script says {theirs:?}");
        switches += ours.switches;
        ensure!(ours.migrations == theirs.migrations, "thread {tid}: {ours:?}, perf script says {theirs:?}");
        for (what, ours, theirs) in
            [("wakeups", ours.wakeup, theirs.wakeup), ("preemption", ours.preempted, theirs.preempted)]
        {
            within(0.02, &format!("thread {tid}: waits after {what}"), ours.0, theirs.0)?;
            within(0.02, &format!("thread {tid}: time of waits after {what}"), ours.1, theirs.1)?;
        }
    }
    ensure!(switches == perf.all_turns(), "{switches} switches, timehist says {}", perf.all_turns());
    for tid in workload {
        let counts = truth.get(tid).with_context(|| format!("perf saw nothing of thread {tid}"))?;
        ensure!(
            counts.switches > 10 && counts.wakeup.0 + counts.preempted.0 > 10,
            "thread {tid} did little: {counts:?}"
        );
    }
    println!("{} threads agree, those of the workload with {:?}", truth.len(), truth.get(&workload[0]));
    Ok(())
}
