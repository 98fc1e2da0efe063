//! What is around numatrace and its target: a /proc that hides or lacks entries, and others that trace the same.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use numatrace::snapshot::sources::PLACEMENT;
use numatrace_tests::{
    bench::floor,
    live::{
        Report, Tracer, Workload, bpf,
        credentials::{BPF as CAP_BPF, PERFMON as CAP_PERFMON},
        equal_to_proc, program,
        touches::{Touched, start},
    },
    workload::Kind,
};

use crate::{Case, Scratch, rights::as_nobody};

pub const CASES: &[Case] = &[
    ("processes_hidden_by_hidepid_are_traced_and_their_absence_is_explained", hidepid),
    ("entries_of_proc_that_cannot_be_read_are_left_out", broken_proc),
    ("files_of_others_that_may_not_be_read_are_left_out_with_a_reason", unreadable),
    ("processes_that_vanish_while_proc_is_read_are_no_failure", vanishing),
    ("two_at_once_count_the_same", two_at_once),
    ("beside_another_tracer_on_the_same_hooks_it_counts_the_same", beside_another),
];

/// Runs a script in a mount namespace of its own; `$NUMATRACE` is the program.
fn in_namespace(script: &str, numatrace: &PathBuf) -> Result<Output> {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).env("NUMATRACE", numatrace).stdin(Stdio::null());
    command.output().context("unshare(1) cannot be started")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Root's processes, seen by nobody with the rights to trace alone, where /proc shows everyone their own.
fn hidepid() -> Result<()> {
    let scratch = Scratch::new("hidepid")?;
    let copy = scratch.0.join("numatrace");
    std::fs::copy(program("numatrace")?, &copy)?;
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755))?;
    let mut workload = Workload::start(&["beats", "2", "--cpu", &crate::busy_cpu()?, "--millis", "60000"])?;
    workload.go()?;
    let as_nobody = |args: &str| {
        let script = format!(
            "mount -t proc -o hidepid=2 proc /proc && exec setpriv --reuid 65534 --regid 65534 --clear-groups \
             --inh-caps=+bpf,+perfmon --ambient-caps=+bpf,+perfmon \"$NUMATRACE\" live {args}"
        );
        in_namespace(&script, &copy)
    };
    let hidden = as_nobody(&format!("-d 1s --pid {}", workload.pid))?;
    let text = said(&hidden);
    ensure!(hidden.status.code() == Some(1) && text.trim().lines().count() == 1, "{}: {text}", hidden.status);
    ensure!(text.contains("hidepid") && text.contains("CAP_SYS_PTRACE"), "{text}");
    let report = scratch.0.join("report.json");
    let all = as_nobody(&format!("-d 1s -f json --all -o {}", report.display()))?;
    ensure!(all.status.success(), "{}: {}", all.status, said(&all));
    let report = Report(serde_json::from_slice(&std::fs::read(&report)?)?);
    // Names come with the records, not from /proc.
    for (name, tid) in &workload.tids {
        let thread = report.thread(*tid)?;
        ensure!(thread.comm() == name && thread.number("/runq/wakeup/count")? > 0, "{name}: {}", thread.0);
    }
    Ok(())
}

/// A process whose folder is there and empty.
fn broken_proc() -> Result<()> {
    let scratch = Scratch::new("broken-proc")?;
    let mut workload = Workload::start(&["beats", "2", "--cpu", &crate::busy_cpu()?, "--millis", "60000"])?;
    workload.go()?;
    let (root, pid) = (scratch.0.join("proc"), workload.pid);
    std::fs::create_dir(&root)?;
    let traced = |args: &str| {
        let root = root.display();
        let script = format!(
            "mount -t proc proc {root} && mount -t tmpfs tmpfs {root}/{pid} && \
             exec \"$NUMATRACE\" live --proc-root {root} -d 1s {args}"
        );
        in_namespace(&script, &program("numatrace")?)
    };
    let gone = traced(&format!("--pid {pid}"))?;
    let text = said(&gone);
    ensure!(gone.status.code() == Some(1) && text.trim().lines().count() == 1, "{}: {text}", gone.status);
    ensure!(text.contains(&format!("no process with pid {pid}")), "{text}");
    let report = scratch.0.join("report.json");
    let all = traced(&format!("-f json --all -o {}", report.display()))?;
    ensure!(all.status.success() && !said(&all).contains("panicked"), "{}: {}", all.status, said(&all));
    let report = Report(serde_json::from_slice(&std::fs::read(&report)?)?);
    for (name, tid) in &workload.tids {
        let thread = report.thread(*tid)?;
        ensure!(thread.comm() == name && thread.number("/runq/wakeup/count")? > 0, "{name}: {}", thread.0);
    }
    Ok(())
}

/// Root's process, seen by nobody with the rights to trace alone: its folder is there, and its mappings, its program and its pages
/// answer with "Permission denied".
fn unreadable() -> Result<()> {
    let scratch = Scratch::new("unreadable")?;
    let mut workload = start(Kind::Anon, 8_192, (0, 0))?;
    let mut command = as_nobody(&scratch, &[CAP_BPF, CAP_PERFMON])?;
    command.args(["live", "-f", "json", "--interval", "200ms", "--comm", "toucher"]);
    let mut tracer = Tracer::spawn(command)?;
    tracer.next_report()?;
    let done = workload.run()?;
    let report = tracer.stop()?;
    let tid = workload.tid("toucher")?;
    workload.finish()?;
    Touched::new(Kind::Anon, (0, 0), done, tid).is_exact(&report)?;
    let thread = report.thread(tid)?;
    ensure!(thread.comm() == "toucher", "{}", thread.0);
    let places = thread.0["where"].to_string();
    ensure!(places.contains("its mappings cannot be read: Permission denied"), "{places}");
    ensure!(report.0["placement_pages"].is_null(), "{}", report.0["placement_pages"]);
    let scans = report.sources(&PLACEMENT).next().context("no scans of pages among the sources")?;
    ensure!(scans["state"] == "off" && scans["reason"].to_string().contains("CAP_SYS_ADMIN"), "{scans}");
    Ok(())
}

/// Every process of /proc is looked at for `--tree`, while they come and go.
fn vanishing() -> Result<()> {
    let mut workload = Workload::start(&["forkstorm", "100000"])?;
    workload.go()?;
    let (pid, before) = (workload.pid.to_string(), bpf::programs()?);
    for _ in 0..3 {
        let mut tracer = Tracer::start(&["--tree", "--pid", &pid])?;
        let report = tracer.stop()?;
        ensure!(report.number("/loss/by_reason/undecodable")? == 0, "{}", report.0["loss"]);
        ensure!(report.threads().any(|thread| thread.comm() == "forker"), "no forker");
    }
    bpf::nothing_left(&before)
}

fn two_at_once() -> Result<()> {
    let mut workload = Workload::start(&["pingpong", "20000", "--cpu", &crate::busy_cpu()?])?;
    let target = workload.pid.to_string();
    let mut tracers = [Tracer::start(&["--pid", &target])?, Tracer::start(&["--pid", &target])?];
    let done = workload.run()?;
    let [one, other] = tracers.each_mut().map(Tracer::stop);
    let (one, other) = (one?, other?);
    workload.finish()?;
    for report in [&one, &other] {
        equal_to_proc(&done, report)?;
    }
    for facts in done.threads.values() {
        let counts = |report: &Report| -> Result<Vec<u64>> {
            let thread = report.thread(facts.tid)?;
            let names = ["/switches/voluntary", "/switches/involuntary", "/runq/wakeup/count", "/runq/preempted/count"];
            names.iter().map(|name| thread.number(name)).collect()
        };
        ensure!(counts(&one)? == counts(&other)?, "{:?} and {:?}", counts(&one)?, counts(&other)?);
    }
    Ok(())
}

/// Programs of somebody else on every hook that numatrace uses, there before it and gone after it, or the other way round.
fn beside_another() -> Result<()> {
    for first in [true, false] {
        let mut workload = Workload::start(&["pingpong", "20000", "--cpu", &crate::busy_cpu()?])?;
        let before = first.then(floor::attach).transpose()?;
        let mut tracer = Tracer::start(&["--pid", &workload.pid.to_string()])?;
        let after = (!first).then(floor::attach).transpose()?;
        let done = workload.run()?;
        drop(before);
        tracer.next_report()?;
        let report = tracer.stop()?;
        drop(after);
        workload.finish()?;
        ensure!(report.number("/loss/records_lost")? == 0, "{}", report.0["loss"]);
        equal_to_proc(&done, &report)?;
    }
    Ok(())
}
