//! Page touches on this machine, which may have one node: how many, of which kind, and where in a program.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use numatrace::snapshot::sources::TOUCHES;
use numatrace_tests::{
    live::{
        Report, Tracer, Workload, bpf, numatrace, program,
        touches::{BY_CHILD, EXACT, Touched, each, exact, start, touch_all},
    },
    workload::{Kind, memory, os},
};
use serde_json::Value;

use crate::{Case, Scratch};

pub const CASES: &[Case] = &[
    ("the_workload_takes_the_faults_that_it_says", workload_is_true),
    ("touches_of_each_kind_are_local_on_the_own_node", kinds),
    ("touches_of_children_that_exit_at_once", children),
    ("touches_seen_at_entry", entry),
    ("without_a_page_source_there_is_no_number_but_a_reason", off),
    ("where_names_the_function_that_touches", function),
    ("where_says_why_it_has_no_name", stripped),
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

/// The function of [`SOURCE`] that touches.
const FUNCTION: &str = "touches_on_purpose";

/// A program with one function that touches; it speaks as workloads do.
const SOURCE: &str = r#"
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGES = 2048, ROUNDS = 20 };

__attribute__((noinline)) void touches_on_purpose(volatile char *memory, long size) {
    for (long page = 0; page < PAGES; page++)
        memory[page * size] = 1;
}

int main(void) {
    char line[16];
    long size = sysconf(_SC_PAGESIZE);
    printf("{\"ready\":true,\"pid\":%d,\"tids\":{\"toucher\":%d}}\n", getpid(), getpid());
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin))
        return 1;
    for (int round = 0; round < ROUNDS; round++) {
        char *memory = mmap(0, PAGES * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED || madvise(memory, PAGES * size, MADV_NOHUGEPAGE))
            return 2;
        touches_on_purpose(memory, size);
        munmap(memory, PAGES * size);
    }
    printf("{\"done\":true,\"threads\":{},\"facts\":{\"touches\":%d}}\n", PAGES * ROUNDS);
    fflush(stdout);
    return fgets(line, sizeof line, stdin) ? 0 : 3;
}
"#;

/// Compiles it, with these flags more; `None`, which is said, where there is no compiler.
fn compiled(scratch: &Path, flags: &[&str]) -> Result<Option<PathBuf>> {
    let (source, program) = (scratch.join("touches.c"), scratch.join("touches-of-c"));
    fs::write(&source, SOURCE)?;
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-o"]).arg(&program).arg(&source).args(flags);
    let output = match cc.stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) => {
            println!("not tested: there is no C compiler here (cc: {error})");
            return Ok(None);
        }
    };
    ensure!(output.status.success(), "cc: {}", String::from_utf8_lossy(&output.stderr));
    Ok(Some(program))
}

/// Where its touches come from, the most frequent first; they must be most of those that it made.
fn places_of(program: &Path) -> Result<Vec<Value>> {
    let mut workload = Workload::start_command(Command::new(program))?;
    let tid = workload.tid("toucher")?;
    let mut tracer = Tracer::start(&["--pid", &workload.pid.to_string()])?;
    let done = workload.run()?;
    // Symbols are looked up while it lives.
    let report = tracer.stop()?;
    workload.finish()?;
    let truth = done.facts["touches"].as_u64().context("no touches")?;
    let thread = report.thread(tid)?;
    let ours = thread.touches("first_touch")?.unwrap_or_default();
    ensure!(ours.local + ours.remote >= truth, "{ours:?} of {truth} touches");
    let places = thread.0["where"].as_array().with_context(|| format!("no places: {}", report.reasons()))?;
    let sum: u64 = places.iter().map(count).sum();
    ensure!(sum * 10 >= truth * 9 && sum * 10 <= truth * 12, "places have {sum} of {truth} touches: {places:?}");
    Ok(places.clone())
}

/// Touches at a place.
fn count(place: &Value) -> u64 {
    ["local", "remote"].iter().filter_map(|part| place[*part].as_u64()).sum()
}

fn function() -> Result<()> {
    let scratch = Scratch::new("where")?;
    let Some(program) = compiled(&scratch.0, &[])? else { return Ok(()) };
    let places = places_of(&program)?;
    let first = places.iter().max_by_key(|place| count(place)).context("no place at all")?;
    let symbol = first["symbol"].as_str().unwrap_or_default();
    ensure!(symbol.contains(FUNCTION), "most touches are at {first}, not in {FUNCTION}");
    ensure!(first["mapping"].as_str().is_some_and(|mapping| mapping.contains("anon")), "the mapping is {first}");
    Ok(())
}

fn stripped() -> Result<()> {
    let scratch = Scratch::new("where-stripped")?;
    let Some(program) = compiled(&scratch.0, &["-s"])? else { return Ok(()) };
    let places = places_of(&program)?;
    let first = places.iter().max_by_key(|place| count(place)).context("no place at all")?;
    let symbol = first["symbol"].as_str().unwrap_or_default();
    ensure!(symbol.contains("touches-of-c") && symbol.contains("0x"), "no file and offset: {first}");
    ensure!(symbol.ends_with(')'), "it is not said why there is no name: {first}");
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
