//! Page touches on this machine, which may have one node: how many, of which kind, and where in a program.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use numatrace::snapshot::sources::TOUCHES;
use numatrace_tests::{
    live::{
        Report, Tracer, bpf, numatrace, program,
        touches::{BY_CHILD, EXACT, Touched, each, exact, start, touch_all},
    },
    workload::{Kind, memory, os},
};

use crate::{Case, Scratch};

pub const CASES: &[Case] = &[
    ("the_workload_takes_the_faults_that_it_says", workload_is_true),
    ("touches_of_each_kind_are_local_on_the_own_node", kinds),
    ("touches_of_children_that_exit_at_once", children),
    ("touches_seen_at_entry", entry),
    ("without_a_page_source_there_is_no_number_but_a_reason", off),
    ("a_recording_has_the_same_touches", recorded),
];

/// The node that everything is on.
const HERE: (usize, usize) = (0, 0);

/// The truth itself, without numatrace: what the kernel counts for a thread is what the other tests compare with.
fn workload_is_true() -> Result<()> {
    let (mut touched, balancing) = (Vec::new(), memory::balancing());
    for (kind, count) in EXACT.into_iter().chain(BY_CHILD) {
        let mut workload = start(kind, count, HERE)?;
        let done = workload.run().with_context(|| kind.name())?;
        let tid = workload.tid("toucher")?;
        workload.finish()?;
        touched.push(Touched::new(kind, HERE, done, tid));
    }
    for touched in &touched {
        println!("{}", touched.done.facts["toucher"]);
    }
    // Planted faults can come between the two moments at which the kernel is asked.
    if balancing {
        return Ok(());
    }
    each(&touched, Touched::is_true)
}

fn kinds() -> Result<()> {
    exact(&EXACT, HERE, &[])
}

fn children() -> Result<()> {
    let (touched, report) = touch_all(&BY_CHILD, HERE, &[])?;
    each(&touched, |touched| touched.is_exact(&report)).with_context(|| report.reasons())
}

fn entry() -> Result<()> {
    let (touched, report) = touch_all(&EXACT, HERE, &["--page-source", "entry"])?;
    each(&touched, |touched| touched.is_there(&report)).with_context(|| report.reasons())?;
    ensure!(
        report.sources(&TOUCHES).any(|source| source["state"] == "best_effort"),
        "it is not said to be best effort: {}",
        report.0["sources"]
    );
    Ok(())
}

fn off() -> Result<()> {
    let (touched, report) = touch_all(&[(Kind::Anon, 64)], HERE, &["--page-source", "off"])?;
    let thread = report.thread(touched[0].tid)?;
    for field in ["touches", "touches_by_node", "remote_share", "cost_factor", "where"] {
        ensure!(thread.0[field].is_null(), "{field} is {}", thread.0[field]);
    }
    ensure!(report.0["matrices"]["page_touches"].is_null(), "{}", report.0["matrices"]);
    let said = report.sources(&TOUCHES).any(|source| {
        source["state"] == "off" && source["reason"].as_str().is_some_and(|reason| reason.contains("--page-source"))
    });
    ensure!(said, "no source says why: {}", report.0["sources"]);
    Ok(())
}

fn recorded() -> Result<()> {
    let scratch = Scratch::new("recorded-touches")?;
    let file = scratch.0.join("run.numatrace");
    let path = file.to_string_lossy().into_owned();
    let mut workload = start(Kind::Anon, 300, HERE)?;
    let (pid, tid) = (workload.pid.to_string(), workload.tid("toucher")?);
    let mut tracer = Tracer::start(&["--pid", &pid])?;
    let mut command = Command::new(program("numatrace")?);
    command.args(["record", "--quiet", "-o", &path, "--pid", &pid]);
    let mut recorder = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    bpf::wait_until_attached(recorder.id())?;
    workload.run()?;
    let live = tracer.stop()?;
    // SAFETY: the recorder has not been waited for, so the id is its own.
    os::check(unsafe { libc::kill(recorder.id().cast_signed(), libc::SIGINT) })?;
    let status = recorder.wait()?;
    ensure!(status.success(), "the recorder ended with {status}");
    workload.finish()?;
    let report = numatrace(&["report", &path, "-f", "json", "--quiet"])?;
    ensure!(report.status.success(), "{}: {}", report.status, report.stderr);
    let report = Report(serde_json::from_str(&report.stdout)?);
    let (ours, theirs) = (report.thread(tid)?, live.thread(tid)?);
    for field in ["touches", "touches_by_node", "remote_share", "cost_factor", "hint_faults", "pages_migrated"] {
        ensure!(ours.0[field] == theirs.0[field], "{field}: {} live, {} recorded", theirs.0[field], ours.0[field]);
    }
    let all = ours.all_touches()?;
    ensure!(all.local == 300 && all.all() == 300, "{all:?} of 300");
    // The place of a touch is looked up while the program is there, so the file must hold it.
    ensure!(ours.0["where"].is_null() == theirs.0["where"].is_null(), "{} recorded", ours.0["where"]);
    ensure!(report.0["gaps"].is_array(), "gaps are {}", report.0["gaps"]);
    Ok(())
}
