//! In which cgroup a thread is, against what /proc says about it, before and after it moves.

use std::{fs, sync::mpsc, thread};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use numatrace_tests::{
    live::{Tracer, Workload},
    workload::os,
};
use serde_json::Value;

use crate::{Case, filters::Cgroup};

pub const CASES: &[Case] = &[
    ("the_cgroup_is_that_of_proc_and_a_move_shows", moves),
    ("a_thread_that_is_born_while_tracing_has_its_cgroup_and_keeps_it", born),
];

/// The documents that are read until a change shows, as for attributes.
const DOCUMENTS: usize = 200;

/// The line of the v1 cpu controller, where there is one, else that of v2.
fn truth(pid: u32, tid: u32) -> Result<String> {
    let lines = fs::read_to_string(format!("/proc/{pid}/task/{tid}/cgroup"))?;
    let of = |wanted: fn(&str) -> bool| {
        lines.lines().filter_map(|line| line.split_once(':')?.1.split_once(':')).find(|(names, _)| wanted(names))
    };
    let line = of(|names| names.split(',').any(|name| name == "cpu")).or_else(|| of(str::is_empty));
    Ok(line.context("no line of the cpu controller and none of v2")?.1.to_owned())
}

/// Reads on until a document names this cgroup.
fn until(tracer: &mut Tracer, tid: u32, expected: &str) -> Result<()> {
    let mut told = Value::Null;
    for _ in 0..DOCUMENTS {
        told = tracer.next_report()?.thread(tid).map_or(Value::Null, |thread| thread.0["cgroup"].clone());
        if told == expected {
            return Ok(());
        }
    }
    bail!("{told} instead of {expected}")
}

fn moves() -> Result<()> {
    let cgroup = Cgroup::new()?;
    let workload = Workload::start(&["sleeper", "--seconds", "1"])?;
    let (pid, tid) = (workload.pid, workload.tid("sleeper")?);
    let before = truth(pid, tid)?;
    let mut tracer = Tracer::start(&["--pid", &pid.to_string()])?;
    // The first document has it already.
    let first = tracer.last_report().context("it is attached")?.thread(tid)?.0["cgroup"].clone();
    ensure!(first == *before, "the first document says {first}, /proc {before}");
    fs::write(cgroup.0.join("below/cgroup.procs"), pid.to_string())?;
    let after = truth(pid, tid)?;
    ensure!(after != before && after.ends_with("/below"), "it did not move: {after}");
    until(&mut tracer, tid, &after)?;
    // Out again, so that the cgroup can be removed while the process lives.
    fs::write(cgroup.0.join("cgroup.procs"), pid.to_string())?;
    until(&mut tracer, tid, &truth(pid, tid)?)?;
    let report = tracer.stop()?;
    let source =
        report.0["sources"].as_array().into_iter().flatten().find(|source| source["name"] == "/proc/PID/cgroup");
    ensure!(source.is_some_and(|source| source["state"] == "on"), "{}", report.0["sources"]);
    Ok(())
}

/// This process is the target, so that it knows when the thread is there.
fn born() -> Result<()> {
    let pid = std::process::id();
    let mut tracer = Tracer::start(&["--pid", &pid.to_string()])?;
    let ((tell, told), (end, ended)) = (mpsc::channel(), mpsc::channel::<()>());
    let thread = thread::spawn(move || {
        let _ = tell.send(os::tid());
        // Until the other end is dropped.
        let _ = ended.recv();
    });
    let tid = told.recv()?;
    let expected = truth(pid, tid)?;
    let found = until(&mut tracer, tid, &expected);
    drop(end);
    thread.join().map_err(|_| anyhow!("the thread panicked"))?;
    found?;
    let last = tracer.stop()?.thread(tid)?.0.clone();
    ensure!(last["exited"] == true && last["cgroup"] == *expected, "{last}");
    Ok(())
}
