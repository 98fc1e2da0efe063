//! What is a target: by name, by cgroup, by tree, all.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use numatrace_tests::live::{Tracer, Workload, equal_to_proc};

use crate::{Case, busy_cpu};

pub const CASES: &[Case] = &[
    ("comm_traces_threads_of_that_name_alone", comm),
    ("all_traces_everything_but_numatrace", all),
    ("tree_adds_the_children_that_are_there", tree),
    ("cgroup_traces_its_members_and_descendants", cgroup),
];

fn comm() -> Result<()> {
    let cpu = busy_cpu()?;
    let mut workload = Workload::start(&["switches", "--cpu", &cpu, "--millis", "500"])?;
    let mut tracer = Tracer::start(&["--comm", "yielder"])?;
    let done = workload.run()?;
    let report = tracer.stop()?;
    workload.finish()?;
    let others: Vec<&str> = report.threads().map(|thread| thread.comm()).filter(|comm| *comm != "yielder").collect();
    ensure!(others.is_empty(), "these are no targets: {others:?}");
    let facts = &done.threads["yielder"];
    let ours = report.thread(facts.tid)?.number("/switches/involuntary")?;
    let truth = facts.after.since(&facts.before).involuntary;
    ensure!(ours == truth, "{ours} involuntary switches, the kernel says {truth}");
    Ok(())
}

fn all() -> Result<()> {
    let cpu = busy_cpu()?;
    let mut workload = Workload::start(&["switches", "--cpu", &cpu, "--millis", "500"])?;
    let mut tracer = Tracer::start(&["--all"])?;
    let done = workload.run()?;
    let (report, own) = (tracer.stop()?, tracer.pid());
    workload.finish()?;
    equal_to_proc(&done, &report)?;
    let traced: Vec<&str> =
        report.threads().filter(|thread| thread.0["pid"] == own).map(|thread| thread.comm()).collect();
    ensure!(traced.is_empty(), "it traces itself: {traced:?}");
    let idle = report.threads().find(|thread| thread.0["tid"] == 0);
    ensure!(idle.is_none(), "the idle task is no thread: {idle:?}");
    Ok(())
}

/// A shell that has a workload as its child, and does not become it.
fn in_shell(args: &str) -> Result<(Workload, u32)> {
    let workload = numatrace_tests::live::program("workload")?;
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &format!("\"$0\" {args}; exit $?")]).arg(workload);
    let workload = Workload::start_command(shell)?;
    let stat = fs::read_to_string(format!("/proc/{}/stat", workload.pid))?;
    let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
    Ok((workload, parent.context("stat has no parent")?))
}

fn tree() -> Result<()> {
    let cpu = busy_cpu()?;
    for (flags, expected) in [(&["--tree"][..], true), (&[][..], false)] {
        let (mut workload, shell) = in_shell(&format!("switches --cpu {cpu} --millis 300"))?;
        let hog = workload.tid("hog")?;
        let mut tracer = Tracer::start(&[&["--pid", &shell.to_string()], flags].concat())?;
        workload.run()?;
        let report = tracer.stop()?;
        workload.finish()?;
        ensure!(report.thread(hog).is_ok() == expected, "with {flags:?}: {}", report.0["threads"]);
    }
    Ok(())
}

/// A cgroup of the hierarchy that schedules CPUs, with one below it; removed at the end.
pub struct Cgroup(pub std::path::PathBuf);

impl Cgroup {
    pub fn new() -> Result<Cgroup> {
        let v1 = Path::new("/sys/fs/cgroup/cpu");
        let root = if v1.join("cgroup.procs").exists() { v1 } else { Path::new("/sys/fs/cgroup") };
        let cgroup = Cgroup(root.join(format!("numatrace-test-{}", std::process::id())));
        fs::create_dir_all(cgroup.0.join("below")).with_context(|| format!("cannot make {}", cgroup.0.display()))?;
        Ok(cgroup)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(self.0.join("below"));
        let _ = fs::remove_dir(&self.0);
    }
}

fn cgroup() -> Result<()> {
    let cpu = busy_cpu()?;
    let cgroup = Cgroup::new()?;
    let args = ["switches", "--cpu", &cpu, "--millis", "300"];
    let mut outside = Workload::start(&args)?;
    let mut inside = Workload::start(&args)?;
    let mut below = Workload::start(&args)?;
    fs::write(cgroup.0.join("cgroup.procs"), inside.pid.to_string())?;
    fs::write(cgroup.0.join("below/cgroup.procs"), below.pid.to_string())?;
    let mut tracer = Tracer::start(&["--cgroup", &cgroup.0.to_string_lossy()])?;
    let done = [outside.run()?, inside.run()?, below.run()?];
    let report = tracer.stop()?;
    for workload in [outside, inside, below] {
        workload.finish()?;
    }
    for (done, expected) in done.iter().zip([false, true, true]) {
        let listed = done.threads.values().filter(|facts| report.thread(facts.tid).is_ok()).count();
        ensure!(listed == if expected { done.threads.len() } else { 0 }, "{listed} threads are targets");
        if expected {
            equal_to_proc(done, &report)?;
        }
    }
    Ok(())
}
