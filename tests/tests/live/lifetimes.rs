//! Threads and processes that come, go, and become others.

use std::{collections::HashSet, process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use numatrace_tests::live::{Tracer, Workload, eventually, numatrace, program, trace};

use crate::{Case, Scratch, busy_cpu};

pub const CASES: &[Case] = &[
    ("forks_are_followed", forks),
    ("a_tid_target_follows_no_forks", tid_alone),
    ("exec_is_followed", exec),
    ("threads_by_the_thousand_are_all_counted", churn),
    ("the_run_ends_when_the_target_exits", target_exits),
    ("a_command_is_traced_from_its_first_instruction", command),
    ("a_command_returns_its_exit_code", exit_code),
    ("a_command_may_end_in_its_own_way", own_end),
    ("the_demo_runs_and_leaves_nothing", demo),
];

fn forks() -> Result<()> {
    const CHILDREN: usize = 300;
    let (done, report) = trace(&["forkstorm", &CHILDREN.to_string()], &[])?;
    let children: HashSet<u32> = serde_json::from_value(done.facts["forker"]["children"].clone())?;
    ensure!(children.len() == CHILDREN, "ids were reused within the test");
    let dropped = report.number("/dropped_threads")? as usize;
    let mut listed = 0;
    for thread in
        report.threads().filter(|thread| thread.number("/pid").is_ok_and(|pid| children.contains(&(pid as u32))))
    {
        listed += 1;
        ensure!(thread.0["exited"] == true, "a child that is gone is not: {}", thread.0);
        let (ran, waited) = (thread.number("/cpu_ns")? > 0, thread.number("/runq/wakeup/count")? >= 1);
        let told = thread.number("/unseen_events")? == 0;
        ensure!((ran && waited) || !told, "a child has not run, or not waited once: {}", thread.0);
        ensure!(thread.comm() == "forker", "a child is named '{}'", thread.comm());
    }
    ensure!(listed + dropped == CHILDREN, "{listed} children are listed and {dropped} were dropped, of {CHILDREN}");
    Ok(())
}

fn tid_alone() -> Result<()> {
    let mut workload = Workload::start(&["forkstorm", "20"])?;
    let forker = workload.tid("forker")?;
    let mut tracer = Tracer::start(&["--tid", &forker.to_string()])?;
    workload.run()?;
    let report = tracer.stop()?;
    workload.finish()?;
    let tids: Vec<u64> = report.threads().map(|thread| thread.number("/tid")).collect::<Result<_>>()?;
    ensure!(tids == [u64::from(forker)], "threads {tids:?} of the target {forker}");
    Ok(())
}

fn exec() -> Result<()> {
    let (done, report) = trace(&["exec"], &[])?;
    for (which, name) in [("first", "exec-first"), ("second", "exec-second")] {
        let pid = done.facts["execer"][which].as_u64().context("the child's id is missing")? as u32;
        // The id of the process's first thread is that of the thread that changed its program, whichever it was.
        let thread = report.thread(pid)?;
        ensure!(thread.comm() == name, "process {pid} is named '{}', not '{name}'", thread.comm());
        ensure!(thread.number("/cpu_ns")? > 0, "{name} has not run");
        ensure!(thread.0["exited"] == true, "{name} is gone but not said to be");
        let sleeper = report.threads().find(|thread| thread.0["pid"] == pid && thread.comm() == "sleeper");
        ensure!(sleeper.is_some(), "the thread that {name} started is missing");
    }
    Ok(())
}

fn churn() -> Result<()> {
    const THREADS: u64 = 3_000;
    let (_, report) = trace(&["threads", &THREADS.to_string()], &[])?;
    let short = report.threads().filter(|thread| thread.comm() == "short");
    let listed = short.inspect(|thread| assert!(thread.0["exited"] == true, "{}", thread.0)).count() as u64;
    let dropped = report.number("/dropped_threads")?;
    ensure!(listed + dropped == THREADS, "{listed} listed and {dropped} dropped of {THREADS} threads");
    ensure!(report.number("/refused_threads")? == 0, "threads were refused");
    // Each waited at least twice: when it was born and after its sleep.
    let waits = report.number("/totals/runq/wakeup/count")?;
    ensure!(waits >= 2 * THREADS, "{waits} waits after wakeups of {THREADS} threads");
    Ok(())
}

fn target_exits() -> Result<()> {
    let mut workload = Workload::start(&["sleeper", "--seconds", "1"])?;
    let sleeper = workload.tid("sleeper")?;
    let mut tracer = Tracer::start(&["--pid", &workload.pid.to_string()])?;
    workload.run()?;
    workload.finish()?;
    let report = tracer.ended()?;
    let thread = report.thread(sleeper)?;
    ensure!(thread.0["exited"] == true, "{}", thread.0);
    // Woken by its first gate, by its clock, by its last gate.
    thread.counts("waits", thread.number("/runq/wakeup/count")?, 3)?;
    ensure!(thread.number("/blocked_ns")? >= 1_000_000_000, "blocked for {}", thread.0["blocked_ns"]);
    Ok(())
}

fn command() -> Result<()> {
    const ROUNDS: u64 = 300;
    let scratch = Scratch::new("command")?;
    let out = scratch.0.join("report.json");
    let workload = program("workload")?;
    let (workload, rounds, cpu) = (workload.to_string_lossy(), ROUNDS.to_string(), busy_cpu()?);
    let out_text = out.to_string_lossy();
    let args = ["live", "-f", "json", "-o", &out_text, "--", &workload, "--now", "pingpong", &rounds, "--cpu", &cpu];
    let ended = numatrace(&args)?;
    ensure!(ended.status.success(), "{}: {}", ended.status, ended.stderr);
    let report = numatrace_tests::live::Report(serde_json::from_slice(&std::fs::read(&out)?)?);
    ensure!(report.0["target"]["kind"] == "command", "target: {}", report.0["target"]);
    for (side, other) in [("a", "b"), ("b", "a")] {
        let named = |name: &str| report.threads().find(|thread| thread.comm() == name);
        let thread = named(side).with_context(|| format!("thread {side} is missing"))?;
        let other = named(other).with_context(|| format!("thread {other} is missing"))?;
        // Born, set up, first gate, and a wait each round trip; it exits without a second gate's wait being certain.
        let waits = thread.number("/runq/wakeup/count")?;
        ensure!(waits >= ROUNDS + 2, "{side}: {waits} waits");
        let woken = thread.0["wakers"].as_array().into_iter().flatten().any(|waker| waker["tid"] == other.0["tid"]);
        ensure!(woken, "{side} was never woken by its other side: {}", thread.0["wakers"]);
    }
    let main = report.threads().find(|thread| thread.0["tid"] == thread.0["pid"]).context("no first thread")?;
    ensure!(main.comm() == "workload", "the first thread is named '{}'", main.comm());
    Ok(())
}

fn exit_code() -> Result<()> {
    let scratch = Scratch::new("code")?;
    let out = scratch.0.join("report.json");
    let out = out.to_string_lossy();
    let code = |command: &[&str]| -> Result<Option<i32>> {
        Ok(numatrace(&[&["live", "-f", "json", "-o", &out, "--"], command].concat())?.status.code())
    };
    ensure!(code(&["true"])? == Some(0));
    ensure!(code(&["sh", "-c", "exit 7"])? == Some(7));
    ensure!(code(&["sh", "-c", "kill -TERM $$"])? == Some(128 + libc::SIGTERM));
    let missing = numatrace(&["live", "--", "/no/such/program"])?;
    ensure!(missing.status.code() == Some(1), "{}", missing.status);
    ensure!(missing.stderr.contains("/no/such/program"), "{}", missing.stderr);
    Ok(())
}

/// Told to stop, numatrace tells the command, waits for it, and returns its code; a command that will not end is ended.
fn own_end() -> Result<()> {
    let scratch = Scratch::new("own-end")?;
    let (out, ready) = (scratch.0.join("report.json"), scratch.0.join("ready"));
    let script = format!("trap 'exit 4' TERM; touch {}; while :; do sleep 0.02; done", ready.display());
    let mut tracer = Command::new(program("numatrace")?)
        .args(["live", "-q", "-f", "json", "-o"])
        .arg(&out)
        .args(["--", "sh", "-c", &script])
        .spawn()?;
    eventually("the command waits for its signal", Duration::from_secs(20), || Ok(ready.exists()))?;
    // SAFETY: no preconditions; the process was not waited for, so its id is its own.
    unsafe { libc::kill(tracer.id().cast_signed(), libc::SIGTERM) };
    let status = tracer.wait()?;
    ensure!(status.code() == Some(4), "it ended with {status}");
    let report = numatrace_tests::live::Report(serde_json::from_slice(&std::fs::read(&out)?)?);
    ensure!(report.threads().count() >= 1, "no thread in the report");
    let stubborn =
        ["live", "-q", "-o", "/dev/null", "-d", "300ms", "--", "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"];
    let ended = numatrace(&stubborn)?;
    ensure!(ended.status.code() == Some(128 + libc::SIGKILL), "{}: {}", ended.status, ended.stderr);
    Ok(())
}

fn demo() -> Result<()> {
    let ended = numatrace(&["demo", "--duration", "3s", "--interval", "1s", "-f", "json"])?;
    ensure!(ended.status.success(), "{}: {}", ended.status, ended.stderr);
    let last = ended.stdout.lines().last().context("it printed nothing")?;
    let report = numatrace_tests::live::Report(serde_json::from_str(last)?);
    let named =
        |name: &str| report.threads().find(|thread| thread.comm() == name).with_context(|| format!("no {name}"));
    for name in ["hog-0", "hog-1", "victim", "hopper", "ping", "pong", "toucher"] {
        ensure!(named(name)?.number("/cpu_ns")? > 0, "{name} has not run");
    }
    ensure!(named("victim")?.number("/runq/wakeup/total_ns")? > 10_000_000, "victim: {}", named("victim")?.0["runq"]);
    if crate::two_cpus()?.is_some() {
        ensure!(named("hopper")?.migrations()? > 10, "hopper: {}", named("hopper")?.0["migrations"]);
    }
    let pid = named("victim")?.number("/pid")?;
    numatrace_tests::live::eventually("the demo's workload is gone", Duration::from_secs(5), || {
        Ok(!std::path::Path::new(&format!("/proc/{pid}")).exists())
    })
}
