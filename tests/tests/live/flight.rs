//! The flight recorder: what it writes has the numbers of the last seconds, and holds the moment for which it was written.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use numatrace::{
    cli::{RunArgs, TraceArgs},
    collect::live::Pace,
    commands::engine::{Engine, Setup},
    recording::{Reason, flight::Flight},
    snapshot::{Snapshot, Target, Thread},
    target::{Filter, Ids, Machine},
    window,
};
use numatrace_tests::live::{
    PATIENCE, Workload, eventually,
    memory::{Tmpfs, resident},
    program, within,
};

use crate::{
    Case, Scratch, busy_cpu,
    recordings::{ended, replay, signal},
};

pub const CASES: &[Case] = &[
    ("a_file_of_the_last_seconds_has_their_numbers", numbers),
    ("a_trigger_writes_the_moment_that_fired_it_and_memory_stays_flat", trigger),
    ("a_flight_recorder_writes_when_it_is_asked_and_when_the_run_ends", asked),
    ("a_flight_recorder_goes_on_when_the_disk_is_full_and_fails_in_the_end", full_disk),
];

/// The program's own engine, which keeps the last second, held against all that it saw.
fn numbers() -> Result<()> {
    const LAST: u64 = 1_000_000_000;
    let scratch = Scratch::new("flight")?;
    let path = scratch.0.join("cut.numatrace");
    let mut workload = Workload::start(&["pipes", "2", "--millis", "3000"])?;
    let run = RunArgs { duration: None, interval: Some(Duration::from_millis(100)) };
    let trace = TraceArgs::default();
    let target = Target { kind: "all".into(), label: "all threads".into(), ids: Vec::new() };
    let setup = Setup {
        target,
        filter: Filter::All,
        filter_ids: Ids::Same,
        machine: Machine::this(),
        command: None,
        run: &run,
        trace: &trace,
    };
    let pace = Pace { interval_ns: setup.interval_ns(), duration: run.duration, end_with_targets: false, linger: None };
    let stop = Arc::new(AtomicBool::new(false));
    let mut engine: Engine = Engine::start(&setup, pace, &stop)?;
    let head = engine.head(false);
    engine.flight = Some(Flight::begin(LAST, &head.meta, false)?);
    workload.go()?;
    let mut live: Vec<Snapshot> = Vec::new();
    let end = loop {
        let end = engine.to_tick(&mut |_| {})?;
        engine.look_up();
        let flight = engine.flight.as_mut().context("it flies")?;
        flight.tick(&engine.model);
        live.push(engine.model.snapshot());
        if let Some(end) = end {
            break end;
        }
        if live.len() == 25 {
            stop.store(true, Ordering::Relaxed);
        }
    };
    let flight = engine.flight.as_mut().context("it flies")?;
    let file = fs::File::create_new(&path)?;
    flight.write(file, head.clone());
    let written = flight.wait().context("a file was asked for")??;
    workload.done()?;
    workload.finish()?;
    ensure!(written.bytes == fs::metadata(&path)?.len(), "{written:?}");

    let cut = replay(&path)?;
    ensure!(cut.incomplete.is_none() && cut.undecodable == 0, "{:?}, ended by {end:?}", cut.incomplete);
    ensure!(cut.reason == Some(Reason::Cut), "{:?}", cut.reason);
    let (now, ours) = (live.last().context("a tick")?, cut.last()?);
    let began_ns = now.duration_ns - ours.duration_ns;
    ensure!(ours.duration_ns >= LAST && ours.duration_ns < 2 * LAST, "it holds {} ns", ours.duration_ns);
    let before = live.iter().find(|tick| tick.duration_ns == began_ns).context("it begins at no tick")?;
    let truth = window::since(now, before);
    compare(ours, &truth)?;
    ensure!(ours.node_memory.is_some() && ours.node_memory == truth.node_memory, "{:?}", ours.node_memory);
    ensure!(ours.throttle == truth.throttle, "{:?} and {:?}", ours.throttle, truth.throttle);
    // What was told before it began is in it all the same.
    for what in [|thread: &Thread| thread.sched.is_some(), |thread: &Thread| thread.cgroup.is_some()] {
        let known = |all: &Snapshot| all.threads.iter().filter(|thread| !thread.exited && what(thread)).count();
        ensure!(known(ours) > 0 && known(ours) == known(now), "{} of {}", known(ours), known(now));
    }
    Ok(())
}

/// Sums are equal, but for a turn or a wait that was open when it began.
fn compare(ours: &Snapshot, truth: &Snapshot) -> Result<()> {
    ensure!(truth.totals.runq.all.count > 1_000, "no load: {:?}", truth.totals.runq.all);
    within(0.001, "waits", ours.totals.runq.all.count, truth.totals.runq.all.count)?;
    // A wait that was open when it began counts from its own start: so do ended ones of both, unlike `wait_ns`.
    within(0.001, "time in ended waits", ours.totals.runq.all.total_ns, truth.totals.runq.all.total_ns)?;
    within(0.01, "time on CPU", ours.totals.cpu_ns, truth.totals.cpu_ns)?;
    for thread in truth.threads.iter().filter(|thread| thread.stats.runq.all.count > 0) {
        let here = ours.threads.iter().find(|ours| ours.tid == thread.tid && ours.comm == thread.comm);
        let here = here.with_context(|| format!("{} {} is missing", thread.tid, thread.comm))?;
        let (ours, theirs) = (here.stats.runq.all.count, thread.stats.runq.all.count);
        ensure!(ours.abs_diff(theirs) <= 1, "{}: {ours} waits instead of {theirs}", thread.comm);
    }
    Ok(())
}

/// Starts `record --last`, and waits until it is attached.
fn start(scratch: &Path, args: &[&str]) -> Result<(Child, PathBuf)> {
    let notes = scratch.join("notes");
    let mut command = Command::new(program("numatrace")?);
    command.args(["record", "-o"]).arg(scratch.join("slow.numatrace")).args(args);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&notes)?).spawn()?;
    eventually("it keeps the last seconds", PATIENCE, || {
        let text = fs::read_to_string(&notes)?;
        ensure!(child.try_wait()?.is_none(), "it ended: {text}");
        Ok(text.contains("keeping the last"))
    })?;
    Ok((child, notes))
}

fn files(scratch: &Path) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = fs::read_dir(scratch)?.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "numatrace"));
    files.sort();
    Ok(files)
}

fn trigger() -> Result<()> {
    let scratch = Scratch::new("trigger")?;
    let cpu = busy_cpu()?;
    // As many switches a second all the time, however fast the machine is just then: what is held is of two seconds.
    let mut load = Workload::start(&["pipes", "4", "--millis", "15000", "--pause", "100"])?;
    let mut long = Workload::start(&["wait-long", "--cpu", &cpu, "--millis", "1500"])?;
    let (pids, victim) = ([load.pid.to_string(), long.pid.to_string()], long.tid("victim")?);
    let flags = ["--last", "2s", "-i", "250ms", "-p", &pids[0], "-p", &pids[1], "--trigger", "runq.max>1s"];
    let (child, notes) = start(&scratch.0, &flags)?;
    load.go()?;
    // More than twice what it keeps has gone by: from now on memory must not grow.
    std::thread::sleep(Duration::from_secs(6));
    let before = resident(child.id())?;
    ensure!(files(&scratch.0)?.is_empty(), "{}", fs::read_to_string(&notes)?);
    long.run()?;
    long.finish()?;
    eventually("the long wait is written", PATIENCE, || Ok(fs::read_to_string(&notes)?.contains("runq.max>1s (")))?;
    load.done()?;
    let after = resident(child.id())?;
    load.finish()?;
    let ended = ended(child)?;
    let text = fs::read_to_string(&notes)?;
    ensure!(ended.status.success(), "{}: {text}", ended.status);
    ensure!(after < before + (16 << 20), "memory grew from {before} to {after} bytes");
    let [file] = &files(&scratch.0)?[..] else { anyhow::bail!("one trigger, one file: {text}") };
    let cut = replay(file)?;
    let last = cut.last()?;
    let thread = last.threads.iter().find(|thread| thread.tid.0 == victim).context("the victim is not in it")?;
    ensure!(thread.stats.runq.all.max_ns > 1_000_000_000, "its longest wait: {:?}", thread.stats.runq.all);
    ensure!(cut.incomplete.is_none() && last.duration_ns >= 2_000_000_000, "{:?}", last.duration_ns);
    // It is the last interval that fired it.
    let before = cut.ticks.iter().rev().nth(1).context("a tick before")?;
    let at_last = window::since(last, before);
    let thread = at_last.threads.iter().find(|thread| thread.tid.0 == victim).context("the victim is not in it")?;
    ensure!(thread.stats.runq.all.max_ns > 1_000_000_000, "in the last interval: {:?}", thread.stats.runq.all);
    Ok(())
}

fn asked() -> Result<()> {
    let scratch = Scratch::new("asked")?;
    let mut load = Workload::start(&["pipes", "1", "--millis", "60000"])?;
    let pid = load.pid.to_string();
    let flags = ["--last", "1s", "-i", "100ms", "-p", &pid, "--trigger", "end"];
    let (child, notes) = start(&scratch.0, &flags)?;
    load.go()?;
    let says = |what: &str| Ok(fs::read_to_string(&notes)?.contains(what));
    signal(&child, libc::SIGUSR1)?;
    eventually("it is written", PATIENCE, || says("SIGUSR1 came: "))?;
    signal(&child, libc::SIGINT)?;
    let ended = ended(child)?;
    let text = fs::read_to_string(&notes)?;
    ensure!(ended.status.success() && text.contains("the run ended (stopped): "), "{}: {text}", ended.status);
    ensure!(text.contains("2 files were written"), "{text}");
    let files = files(&scratch.0)?;
    ensure!(files.len() == 2, "{files:?}: {text}");
    for file in files {
        let cut = replay(&file)?;
        ensure!(cut.incomplete.is_none() && cut.last()?.totals.runq.all.count > 0, "{}", file.display());
    }
    Ok(())
}

/// The disk has room when it begins and none when a file is wanted; later there is some again.
fn full_disk() -> Result<()> {
    let scratch = Scratch::new("flight-full")?;
    let disk = Tmpfs::mount(scratch.0.join("disk"), "8M")?;
    let mut load = Workload::start(&["pipes", "2", "--millis", "60000"])?;
    let pid = load.pid.to_string();
    let notes = scratch.0.join("notes");
    let mut command = Command::new(program("numatrace")?);
    command.args(["record", "--last", "1s", "-i", "100ms", "-p", &pid, "-o"]).arg(disk.0.join("slow.numatrace"));
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&notes)?).spawn()?;
    let says = |what: &str| Ok(fs::read_to_string(&notes)?.contains(what));
    eventually("it keeps the last second", PATIENCE, || says("keeping the last"))?;
    load.go()?;
    fs::write(disk.0.join("filler"), vec![1; 9 << 20]).err().context("the disk is larger than it was made")?;
    signal(&child, libc::SIGUSR1)?;
    eventually("it says that there is no room", PATIENCE, || says("No space left on device"))?;
    ensure!(files(&disk.0)?.is_empty(), "a part of a file stays: {:?}", files(&disk.0)?);
    fs::remove_file(disk.0.join("filler"))?;
    signal(&child, libc::SIGUSR1)?;
    eventually("it writes where there is room", PATIENCE, || says("SIGUSR1 came: "))?;
    signal(&child, libc::SIGINT)?;
    let ended = ended(child)?;
    let text = fs::read_to_string(&notes)?;
    ensure!(ended.status.code() == Some(1), "{}: {text}", ended.status);
    ensure!(text.contains("1 file was written, 1 could not be"), "{text}");
    let [file] = &files(&disk.0)?[..] else { anyhow::bail!("one file: {text}") };
    ensure!(replay(file)?.incomplete.is_none(), "{text}");
    Ok(())
}
