//! Recordings of this kernel: the same numbers as live, whatever becomes of the recorder and of its disk.

use std::{
    env, fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
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
    commands::{
        engine::{Engine, Setup},
        recording::{Recording, new_file},
    },
    model::{Limits, Model},
    recording::{Reason, Timeline, reader::Reader, writer::Options},
    snapshot::{Snapshot, Target},
    source::{Source, SourceStatus, apply},
    target::{Filter, Ids, Machine},
};
use numatrace_tests::live::{Ended, PATIENCE, Workload, eventually, memory::Tmpfs, numatrace, perf, program, within};
use serde_json::Value;

use crate::{Case, Scratch, busy_cpu};

pub const CASES: &[Case] = &[
    ("a_recording_has_the_numbers_of_every_tick", every_tick),
    ("killed_at_50_moments_every_complete_frame_is_read", killed),
    ("a_full_disk_ends_a_recording_and_says_how_far_it_came", full_disk),
    ("perf_sched_record_has_the_same_switches", perf_agrees),
    ("a_recording_ends_in_each_way", ends),
    ("a_recording_replaces_nothing_and_follows_no_link", creation),
    ("an_anonymized_recording_has_no_names", anonymized),
];

/// A snapshot of everything, at each tick of a file, and how much is missing.
pub struct Replayed {
    pub ticks: Vec<Snapshot>,
    records: u64,
    pub undecodable: u64,
    pub incomplete: Option<String>,
    pub reason: Option<Reason>,
}

impl Replayed {
    pub fn last(&self) -> Result<&Snapshot> {
        self.ticks.last().context("there is no tick in the recording")
    }
}

pub fn replay(path: &Path) -> Result<Replayed> {
    let mut reader = Reader::open(path)?;
    let (meta, topology) = (reader.head().meta.clone(), reader.head().topology.clone());
    let mut model = Model::new(meta, topology, Limits::default());
    let (mut ticks, mut records) = (Vec::new(), 0);
    loop {
        let before = reader.undecodable();
        let status = reader.next_batch(&mut |record| {
            records += 1;
            apply(record, &mut model);
        })?;
        model.note_undecodable(reader.undecodable() - before);
        ticks.push(model.snapshot());
        if status == SourceStatus::Ended {
            break;
        }
    }
    let (undecodable, incomplete, reason) = (reader.undecodable(), reader.incomplete(), reader.reason());
    Ok(Replayed { ticks, records, undecodable, incomplete, reason })
}

/// The program's own engine, with the file beside its model.
fn every_tick() -> Result<()> {
    let scratch = Scratch::new("every-tick")?;
    let path = scratch.0.join("run.numatrace");
    let mut workload = Workload::start(&["pipes", "2", "--millis", "1500"])?;
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
    let mut recording = Recording::begin(
        new_file(&path, false)?,
        &path,
        &engine.head(false),
        Options::up_to(None, engine.live.halt()),
    )?;
    recording.keep()?;
    engine.recording = Some(recording);
    workload.go()?;
    let mut live = Vec::new();
    let end = loop {
        let end = engine.step(&mut |_| {})?;
        live.push(engine.model.snapshot());
        if let Some(end) = end {
            break end;
        }
        if live.len() == 20 {
            stop.store(true, Ordering::Relaxed);
        }
    };
    engine.recording.take().context("a recording")?.finish(Some(end))?;
    workload.done()?;
    workload.finish()?;

    let replayed = replay(&path)?;
    ensure!(replayed.incomplete.is_none() && replayed.undecodable == 0, "{:?}", replayed.incomplete);
    ensure!(live.len() > 20 && replayed.ticks.len() == live.len(), "{} and {}", live.len(), replayed.ticks.len());
    for (nth, (live, replayed)) in live.iter().zip(&replayed.ticks).enumerate() {
        let (of_live, of_file) = (serde_json::to_value(live)?, serde_json::to_value(replayed)?);
        let differs = difference("", &of_live, &of_file);
        ensure!(live == replayed, "tick {nth}: {}", differs.unwrap_or_else(|| "what JSON does not show".into()));
    }
    // Everything that is looked up is there to be compared.
    let last = replayed.last()?;
    ensure!(last.threads.iter().any(|thread| thread.sched.is_some()), "no policy of any thread");
    ensure!(last.threads.iter().any(|thread| thread.cgroup.is_some()), "no cgroup of any thread");
    ensure!(last.totals.runq.all.count > 1_000, "no load: {:?}", last.totals.runq.all);
    Ok(())
}

/// The first thing that differs.
fn difference(at: &str, live: &Value, replayed: &Value) -> Option<String> {
    match (live, replayed) {
        (Value::Object(a), Value::Object(b)) if a.keys().eq(b.keys()) => {
            a.iter().zip(b.values()).find_map(|((key, a), b)| difference(&format!("{at}.{key}"), a, b))
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().find_map(|(nth, (a, b))| difference(&format!("{at}[{nth}]"), a, b))
        }
        _ if live == replayed => None,
        _ => Some(format!("{at} is {live} live, and {replayed} in the recording")),
    }
}

/// A recorder that records; killed when it does not come to that.
fn start_recorder(path: &Path, args: &[&str]) -> Result<Child> {
    let mut command = Command::new(program("numatrace")?);
    command.args(["record", "-o"]).arg(path).args(args);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    // The head is written when the probes are attached.
    let begun = eventually("it records", PATIENCE, || {
        let ended = child.try_wait()?.is_some();
        Ok(ended || fs::metadata(path).is_ok_and(|about| about.len() > 0))
    });
    if begun.is_err() || child.try_wait()?.is_some() {
        let _ = child.kill();
        let ended = ended(child)?;
        begun?;
        // It may have recorded to its end.
        ensure!(fs::metadata(path).is_ok_and(|about| about.len() > 0), "{}: {}", ended.status, ended.stderr);
        anyhow::bail!("it ended at once: {}: {}", ended.status, ended.stderr);
    }
    Ok(child)
}

pub fn signal(child: &Child, signal: libc::c_int) -> Result<()> {
    // SAFETY: kill has no memory effect; the child was not waited for, so its id is its own.
    numatrace_tests::workload::os::check(unsafe { libc::kill(child.id().cast_signed(), signal) })?;
    Ok(())
}

pub fn ended(child: Child) -> Result<Ended> {
    let output = child.wait_with_output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Ended { status: output.status, stdout: text(&output.stdout), stderr: text(&output.stderr) })
}

/// Numbers that differ from run to run; the seed is printed.
struct Random(u64);

impl Random {
    fn new() -> Result<Random> {
        let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos() as u64;
        println!("seed {seed}");
        Ok(Random(seed | 1))
    }

    fn below(&mut self, bound: u64) -> u64 {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn killed() -> Result<()> {
    const TIMES: usize = 50;
    let scratch = Scratch::new("killed")?;
    let mut random = Random::new()?;
    let mut with_frames = 0;
    for nth in 0..TIMES {
        let mut workload = Workload::start(&["pipes", "4", "--millis", "60000"])?;
        workload.go()?;
        let path = scratch.0.join(format!("run-{nth}.numatrace"));
        let pid = workload.pid.to_string();
        let child = start_recorder(&path, &["--pid", &pid, "-i", "50ms", "--quiet"])?;
        std::thread::sleep(Duration::from_millis(random.below(900)));
        signal(&child, libc::SIGKILL)?;
        ended(child)?;
        let replayed = replay(&path).with_context(|| format!("recording {nth}"))?;
        let why = replayed.incomplete.with_context(|| format!("recording {nth} was cut, and nothing is said"))?;
        ensure!(why.starts_with("the recording was cut short: it reaches to "), "recording {nth}: {why}");
        ensure!(replayed.undecodable == 0, "recording {nth}: {} records are missing", replayed.undecodable);
        let in_frames = records_of_frames(&fs::read(&path)?)?;
        ensure!(replayed.records == in_frames, "recording {nth}: {} of {in_frames} records", replayed.records);
        with_frames += usize::from(in_frames > 0);
        fs::remove_file(&path)?;
    }
    println!("{with_frames} of {TIMES} had frames");
    ensure!(with_frames > TIMES / 4, "only {with_frames} of {TIMES} had frames: too little load");
    Ok(())
}

/// Records of all frames that are whole, by their headers alone: docs/recording-format.md.
fn records_of_frames(bytes: &[u8]) -> Result<u64> {
    let number = |at: usize| -> Result<usize> {
        let bytes = bytes.get(at..at + 4).context("cut")?;
        Ok(u32::from_le_bytes(bytes.try_into()?) as usize)
    };
    let (mut at, mut records) = (8 + number(4)?, 0);
    while bytes.get(at + 8..at + 12) == Some(b"NTFR") && at + 88 <= bytes.len() {
        let (count, len) = (number(at + 64)?, 88 + number(at + 76)?);
        if at + len > bytes.len() {
            break;
        }
        (at, records) = (at + len, records + count as u64);
    }
    Ok(records)
}

fn full_disk() -> Result<()> {
    let scratch = Scratch::new("full-disk")?;
    let disk = Tmpfs::mount(scratch.0.join("disk"), "1M")?;
    let path = disk.0.join("run.numatrace");
    let mut workload = Workload::start(&["pipes", "4", "--millis", "60000"])?;
    workload.go()?;
    let child = start_recorder(&path, &["--pid", &workload.pid.to_string(), "-i", "100ms"])?;
    let ended = ended(child)?;
    ensure!(ended.status.code() == Some(1), "{}: {}", ended.status, ended.stderr);
    let sentence = ended.stderr.lines().last().unwrap_or_default();
    ensure!(
        sentence.starts_with("numatrace: cannot write ")
            && sentence
                .contains("run.numatrace any further: No space left on device (os error 28); it holds the first "),
        "{}",
        ended.stderr
    );
    let replayed = replay(&path)?;
    ensure!(replayed.records > 10_000 && replayed.undecodable == 0, "{} records", replayed.records);
    let why = replayed.incomplete.context("nothing is said")?;
    // With the last frame gone there is most often room for an index.
    match replayed.reason {
        Some(Reason::WriteFailed) => ensure!(why.contains("could not be written any further"), "{why}"),
        None => ensure!(why.contains("was cut short"), "{why}"),
        other => anyhow::bail!("it ended with {other:?}"),
    }
    Ok(())
}

fn perf_agrees() -> Result<()> {
    let scratch = Scratch::new("perf-switches")?;
    let path = scratch.0.join("run.numatrace");
    let cpu = busy_cpu()?;
    let mut workload = Workload::start(&["switches", "--cpu", &cpu, "--millis", "2000"])?;
    let child = start_recorder(&path, &["--pid", &workload.pid.to_string()])?;
    let recorder = match perf::Recorder::start(&scratch.0, &[]) {
        Ok(recorder) => recorder,
        Err(reason) => {
            eprintln!("not compared with perf sched, which does not work here: {reason:#}");
            ensure!(env::var_os("NUMATRACE_REQUIRE_PERF").is_none(), "perf is required: {reason:#}");
            return Ok(());
        }
    };
    let done = workload.run()?;
    signal(&child, libc::SIGINT)?;
    let ended = ended(child)?;
    ensure!(ended.status.success(), "{}", ended.stderr);
    let theirs = recorder.switches()?;
    workload.finish()?;
    let replayed = replay(&path)?;
    let last = replayed.last()?;
    for (name, facts) in &done.threads {
        let ours = last.threads.iter().find(|thread| thread.tid.0 == facts.tid).context("no such thread")?;
        let ours = ours.stats.switches.total();
        let theirs = theirs.get(&facts.tid).copied().unwrap_or_default();
        println!("{name}: {ours} switches, perf has {theirs}");
        ensure!(theirs > 5, "perf has {theirs} switches of {name}");
        // One at either end, and 1 %.
        if ours.abs_diff(theirs) > 1 {
            within(0.01, &format!("switches of {name}"), ours, theirs)?;
        }
    }
    Ok(())
}

fn record(path: &Path, args: &[&str]) -> Result<Ended> {
    let path = path.to_str().context("a path in UTF-8")?;
    numatrace(&[&["record", "-o", path], args].concat())
}

fn ends() -> Result<()> {
    let scratch = Scratch::new("ends")?;
    let at = |name: &str| scratch.0.join(name);
    // The end of its command, whose exit code it has.
    let ended_by_target = record(&at("command"), &["--", "sh", "-c", "sleep 0.3; exit 7"])?;
    ensure!(ended_by_target.status.code() == Some(7), "{}", ended_by_target.stderr);
    ensure!(ended_by_target.stderr.contains("every target has exited after "), "{}", ended_by_target.stderr);
    ensure!(replay(&at("command"))?.reason == Some(Reason::TargetsGone));
    // Time.
    let by_time = record(&at("time"), &["--all", "-d", "300ms"])?;
    ensure!(by_time.status.success() && by_time.stderr.contains("the time is over after "), "{}", by_time.stderr);
    ensure!(replay(&at("time"))?.reason == Some(Reason::Duration));
    // Size.
    let mut workload = Workload::start(&["pipes", "4", "--millis", "60000"])?;
    workload.go()?;
    let pid = workload.pid.to_string();
    let by_size = record(&at("size"), &["--pid", &pid, "--max-size", "256K"])?;
    ensure!(by_size.status.success(), "{}", by_size.stderr);
    ensure!(by_size.stderr.contains("the file has its largest size after "), "{}", by_size.stderr);
    let len = fs::metadata(at("size"))?.len();
    ensure!((128 << 10..=256 << 10).contains(&len), "{len} bytes");
    let replayed = replay(&at("size"))?;
    ensure!(replayed.reason == Some(Reason::MaxSize) && replayed.incomplete.is_none());
    // Signals.
    for (name, number) in [("int", libc::SIGINT), ("term", libc::SIGTERM), ("hup", libc::SIGHUP)] {
        let child = start_recorder(&at(name), &["--pid", &pid])?;
        signal(&child, number)?;
        let ended = ended(child)?;
        ensure!(ended.status.success() && ended.stderr.contains("stopped after "), "{name}: {}", ended.stderr);
        let replayed = replay(&at(name))?;
        ensure!(replayed.reason == Some(Reason::Stopped) && replayed.incomplete.is_none(), "{name}");
        ensure!(replayed.last()?.duration_ns > 0, "{name}: nothing was recorded");
    }
    Ok(())
}

fn creation() -> Result<()> {
    let scratch = Scratch::new("creation")?;
    let at = |name: &str| scratch.0.join(name);
    let refused = |path: &Path, args: &[&str], code: i32, sentence: &str| -> Result<()> {
        let ended = record(path, args)?;
        let said = ended.stderr.contains(sentence);
        ensure!(ended.status.code() == Some(code) && said, "{}: {}", ended.status, ended.stderr);
        Ok(())
    };
    // New, for its owner alone, who is the user that called sudo.
    let mut command = Command::new(program("numatrace")?);
    command.args(["record", "--all", "-d", "100ms", "-o"]).arg(at("new"));
    command.env("SUDO_UID", "1234").env("SUDO_GID", "1235").env("SUDO_USER", "nobody");
    ensure!(command.stdin(Stdio::null()).output()?.status.success());
    let about = fs::metadata(at("new"))?;
    ensure!(about.permissions().mode() & 0o7777 == 0o600, "mode {:o}", about.permissions().mode());
    ensure!((about.uid(), about.gid()) == (1234, 1235), "owner {} {}", about.uid(), about.gid());

    fs::write(at("old"), "old")?;
    refused(
        &at("old"),
        &["--all", "-d", "100ms"],
        1,
        "old exists already: name another file, or replace it with --force",
    )?;
    ensure!(fs::read(at("old"))? == b"old");
    // A run that cannot begin replaces nothing, and leaves nothing.
    refused(&at("old"), &["--force", "--pid", "4194303"], 1, "no process with pid 4194303")?;
    refused(&at("nothing"), &["--", "/no/such/program"], 1, "cannot run")?;
    refused(&at("old"), &["--force", "--", "/no/such/program"], 1, "cannot run")?;
    ensure!(fs::read(at("old"))? == b"old" && !at("nothing").exists());
    let replaced = record(&at("old"), &["--all", "-d", "100ms", "--force"])?;
    ensure!(replaced.status.success(), "{}", replaced.stderr);
    replay(&at("old"))?;

    fs::write(at("precious"), "precious")?;
    std::os::unix::fs::symlink(at("precious"), at("link"))?;
    std::os::unix::fs::symlink(at("missing"), at("dangling"))?;
    for args in [&["--all", "-d", "100ms"][..], &["--all", "-d", "100ms", "--force"]] {
        refused(&at("link"), args, 1, "link is a symbolic link, and a recording is never written through one")?;
        refused(&at("dangling"), args, 1, "dangling is a symbolic link")?;
        refused(Path::new("/dev/null"), args, 1, if args.len() > 3 { "is no regular file" } else { "/dev/null" })?;
        refused(Path::new("-"), args, 1, "a recording cannot go to standard output")?;
    }
    ensure!(fs::read(at("precious"))? == b"precious" && !at("missing").exists());
    refused(&at("no/such/folder"), &["--all"], 1, "cannot create ")?;
    refused(&at("x"), &["--all", "--max-size", "1K"], 2, "must be between 256K and 1024T")?;
    refused(&at("x"), &[], 2, "no target was given")?;
    let left: Vec<_> =
        fs::read_dir(&scratch.0)?.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<_, _>>()?;
    ensure!(left.len() == 5, "{left:?}");
    Ok(())
}

fn anonymized() -> Result<()> {
    let scratch = Scratch::new("anonymized")?;
    let path = scratch.0.join("run.numatrace");
    let mut workload = Workload::start(&["pipes", "1", "--millis", "300"])?;
    let child = start_recorder(&path, &["--all", "--anonymize", "-i", "100ms"])?;
    workload.run()?;
    signal(&child, libc::SIGTERM)?;
    let ended = ended(child)?;
    ensure!(ended.status.success(), "{}", ended.stderr);
    workload.finish()?;
    let replayed = replay(&path)?;
    let last = replayed.last()?;
    let word = |text: &str, start: &str| {
        text.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.parse::<u32>().is_ok())
    };
    for thread in &last.threads {
        ensure!(word(&thread.comm, "thread-"), "{}", thread.comm);
        ensure!(thread.cgroup.as_deref().is_none_or(|path| word(path, "/cgroup-")), "{:?}", thread.cgroup);
        for name in thread.stats.wakers.iter().map(|waker| &waker.comm) {
            ensure!(name.is_empty() || &**name == "idle" || word(name, "thread-"), "{name}");
        }
    }
    ensure!(last.threads.iter().any(|thread| thread.cgroup.is_some()), "no cgroup of any thread");
    Ok(())
}
