//! How a thread may be scheduled, against what /proc says about it, before and after it changes.

use std::{fs, sync::mpsc, thread};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use numatrace_tests::{
    live::{Tracer, Workload},
    workload::os,
};
use serde_json::{Value, json};

use crate::Case;

pub const CASES: &[Case] = &[
    ("nice_value_and_allowed_cpus_are_those_of_proc", nice_and_cpus),
    ("a_change_of_policy_shows", policies),
    ("a_thread_that_is_born_while_tracing_is_asked_about", born),
];

/// The documents that are read until a change shows: at least one is made after it, but some may have been made before
/// and wait to be read. There is no limit of time.
const DOCUMENTS: usize = 200;

/// The nice value of `stat` and the CPUs of `status`.
fn truth(pid: u32, tid: u32) -> Result<(i64, String)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/task/{tid}/stat"))?;
    let fields = stat.rsplit_once(") ").context("stat has no name")?.1;
    // Field 19 of the file; the state behind the name is field 3.
    let nice = fields.split(' ').nth(16).context("stat is too short")?.parse()?;
    let status = fs::read_to_string(format!("/proc/{pid}/task/{tid}/status"))?;
    let cpus = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).context("status has no CPUs")?;
    Ok((nice, cpus.trim().to_owned()))
}

/// Threads are bound: of one that is not, /proc lists CPUs that are offline as well.
fn one_cpu() -> Result<usize> {
    os::allowed_cpus()?.last().copied().context("there is a CPU")
}

fn ordinary(policy: &str, (nice, cpus): (i64, String)) -> Value {
    json!({ "policy": policy, "nice": nice, "rt_priority": null, "allowed_cpus": cpus })
}

/// Reads on until a document says this about a thread.
fn until(tracer: &mut Tracer, tid: u32, expected: &Value) -> Result<()> {
    let mut told = Value::Null;
    for _ in 0..DOCUMENTS {
        // A thread that was just born may not be in it.
        told = tracer.next_report()?.thread(tid).map_or(Value::Null, |thread| thread.0["sched"].clone());
        if told == *expected {
            return Ok(());
        }
    }
    bail!("{told} instead of {expected}")
}

fn nice_and_cpus() -> Result<()> {
    let last = one_cpu()?;
    let workload = Workload::start(&["sleeper", "--seconds", "1"])?;
    let (pid, tid) = (workload.pid, workload.tid("sleeper")?);
    os::allow(tid, &[last])?;
    os::renice(tid, 7)?;
    let mut tracer = Tracer::start(&["--pid", &pid.to_string()])?;
    let before = truth(pid, tid)?;
    ensure!(before == (7, last.to_string()), "/proc says {before:?}");
    // The first document has it already.
    let first = tracer.last_report().context("it is attached")?.thread(tid)?.0["sched"].clone();
    ensure!(first == ordinary("other", before), "the first document says {first}");
    // All that are there: on a machine with one CPU the same as before.
    os::allow(tid, &os::allowed_cpus()?)?;
    os::renice(tid, -3)?;
    until(&mut tracer, tid, &ordinary("other", truth(pid, tid)?))?;
    let report = tracer.stop()?;
    let source = report.0["sources"].as_array().into_iter().flatten().find(|source| source["name"] == "sched_getattr");
    ensure!(source.is_some_and(|source| source["state"] == "on"), "{}", report.0["sources"]);
    Ok(())
}

fn policies() -> Result<()> {
    let workload = Workload::start(&["sleeper", "--seconds", "1"])?;
    let (pid, tid) = (workload.pid, workload.tid("sleeper")?);
    os::allow(tid, &[one_cpu()?])?;
    let mut tracer = Tracer::start(&["--tid", &tid.to_string()])?;
    os::set_policy_of(tid, libc::SCHED_BATCH, 0)?;
    until(&mut tracer, tid, &ordinary("batch", truth(pid, tid)?))?;
    let cpus = truth(pid, tid)?.1;
    os::set_policy_of(tid, libc::SCHED_IDLE, 0)?;
    until(&mut tracer, tid, &json!({ "policy": "idle", "nice": null, "rt_priority": null, "allowed_cpus": cpus }))?;
    // A machine may have no realtime for us.
    if os::set_policy_of(tid, libc::SCHED_FIFO, 3).is_ok() {
        until(&mut tracer, tid, &json!({ "policy": "fifo", "nice": null, "rt_priority": 3, "allowed_cpus": cpus }))?;
    }
    tracer.stop().map(drop)
}

/// This process is the target, so that it knows when the thread is there.
fn born() -> Result<()> {
    let (pid, cpu) = (std::process::id(), one_cpu()?);
    let mut tracer = Tracer::start(&["--pid", &pid.to_string()])?;
    let ((tell, told), (end, ended)) = (mpsc::channel(), mpsc::channel::<()>());
    let thread = thread::spawn(move || {
        let _ = tell.send(os::pin(cpu).and_then(|()| os::renice(os::tid(), 11)).map(|()| os::tid()));
        // Until the other end is dropped.
        let _ = ended.recv();
    });
    let tid = told.recv()??;
    let expected = truth(pid, tid)?;
    ensure!(expected == (11, cpu.to_string()), "/proc says {expected:?}");
    let expected = ordinary("other", expected);
    let found = until(&mut tracer, tid, &expected);
    drop(end);
    thread.join().map_err(|_| anyhow!("the thread panicked"))?;
    found?;
    // It ended, and what was known of it stays.
    let last = tracer.stop()?.thread(tid)?.0.clone();
    ensure!(last["exited"] == true && last["sched"] == expected, "{last}");
    Ok(())
}
