//! `export --format perfetto`: what is in a trace is what is in its recording. Traces are read by Perfetto's own schema
//! and Python's protobuf, in `fixtures/readers/read_perfetto.py`, which makes slices of them as Perfetto does.

#[path = "scenarios/file.rs"]
#[expect(dead_code, reason = "what scenarios expect of snapshots is compared elsewhere")]
mod file;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use numatrace::decode::{Event, decode};
use numatrace::export::perfetto::{self, ExportError, Summary};
use numatrace::model::{Limits, Meta, Model, Pages, Waiting};
use numatrace::recording::reader::Reader;
use numatrace::recording::writer::{Options, Recorder};
use numatrace::recording::{Head, Place, Reason, Timeline};
use numatrace::snapshot::{Snapshot, Source as Measured, SourceState, Target};
use numatrace::source::script::{Comm, Doing, KernelEvent, Script, Setup};
use numatrace::source::{Source, SourceError, SourceStatus, apply};
use numatrace::window;
use numatrace_common::abi::{NO_NODE, Slice, Touches, kind, slice_flags};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;
use zerocopy::IntoBytes;

use file::Scenario;

const START_NS: u64 = 1_000_000_000_000;
const START_WALL_NS: u64 = 1_767_323_045_000_000_000;

/// The records of a run in memory.
#[derive(Clone)]
struct Run {
    head: Head,
    records: Vec<Vec<u8>>,
    next: usize,
}

impl Run {
    fn new(machine: &file::Machine, events: Vec<KernelEvent>) -> Run {
        let topology = machine.topology();
        let setup = Setup {
            rings: machine.rings(),
            ring_bytes: machine.ring_bytes,
            start_ns: START_NS,
            start_wall_ns: START_WALL_NS,
        };
        let mut script = Script::new(setup, events);
        let mut records = Vec::new();
        while script.next_batch(&mut |record| records.push(record.to_vec())).expect("a script") == SourceStatus::More {}
        let off =
            Measured { name: "cpu.stat".into(), state: SourceState::Off, reason: Some("no \"cgroup\" here".into()) };
        let meta = Meta {
            host: topology.host("6.12.9", "x86_64"),
            target: Target { kind: "pid".into(), label: "pid 10 (漢字)".into(), ids: vec![10] },
            sources: vec![off],
            start_ns: START_NS,
            start_wall_ns: START_WALL_NS,
            pages: Pages::ALL,
            waits: Waiting::ALL,
        };
        Run { head: Head::new(meta, topology, false), records, next: 0 }
    }

    fn events(&self) -> impl Iterator<Item = Event> {
        self.records.iter().filter_map(|record| decode(record).ok())
    }

    fn slices(&self) -> impl Iterator<Item = Slice> {
        self.events().filter_map(|event| if let Event::Slice(slice) = event { Some(slice) } else { None })
    }

    /// What was known at each tick, and at the end.
    fn snapshots(&self) -> Vec<Snapshot> {
        let mut model = Model::new(self.head.meta.clone(), self.head.topology.clone(), Limits::default());
        let mut all = vec![model.snapshot()];
        for record in &self.records {
            apply(record, &mut model);
            if record.starts_with(&kind::TICK.to_le_bytes()) {
                all.push(model.snapshot());
            }
        }
        all.push(model.snapshot());
        all
    }

    /// As a file, read again.
    fn reader(&self, folder: &Path) -> Reader {
        let path = folder.join("run.numatrace");
        let options = Options { frame_bytes: 20_000, ..Options::default() };
        let mut recorder =
            Recorder::new(File::create(&path).expect("a file"), &self.head, options).expect("a recorder");
        for record in &self.records {
            recorder.push(record);
            if let Ok(Event::Tick(tick)) = decode(record) {
                recorder.up_to(tick.header.ts);
            }
        }
        recorder.finish(Reason::Stopped).map_err(|(error, _)| error).expect("written");
        Reader::open(&path).expect("a recording")
    }
}

impl Source for Run {
    fn next_batch(&mut self, sink: &mut dyn FnMut(&[u8])) -> Result<SourceStatus, SourceError> {
        while let Some(record) = self.records.get(self.next) {
            self.next += 1;
            sink(record);
            if record.starts_with(&kind::TICK.to_le_bytes()) {
                return Ok(SourceStatus::More);
            }
        }
        Ok(SourceStatus::Ended)
    }

    fn undecodable(&self) -> u64 {
        0
    }
}

impl Timeline for Run {
    fn head(&self) -> &Head {
        &self.head
    }

    fn places(&self) -> &[Place] {
        &[]
    }

    fn go_to(&mut self, _: usize) -> Result<(), SourceError> {
        unreachable!("nobody goes anywhere")
    }

    fn at(&self) -> (usize, u64) {
        (0, self.next as u64)
    }

    fn incomplete(&self) -> Option<String> {
        None
    }
}

/// Python with Perfetto's schema; `None`, with a word about it, where it is not installed.
fn python() -> Option<PathBuf> {
    if xtask::setup::readers::are_there() {
        return Some(xtask::setup::readers::python());
    }
    assert!(!xtask::shell::in_ci(), "programs that read exports are not installed: cargo xtask setup");
    eprintln!("skipped: programs that read exports are not installed (cargo xtask setup)");
    None
}

fn ask(python: &Path, how: &str, paths: &[PathBuf]) -> Vec<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/readers/read_perfetto.py");
    let said = Command::new(python).arg(script).arg(how).args(paths).output().expect("Python runs");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let lines = String::from_utf8(said.stdout).expect("UTF-8");
    lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn export<T: Timeline>(timeline: T) -> (Vec<u8>, Summary) {
    let mut trace = Vec::new();
    let summary = perfetto::write(timeline, &mut trace, &mut |_| ()).expect("a trace");
    assert_eq!(summary.bytes, trace.len() as u64);
    (trace, summary)
}

/// Exports runs by way of files, and reads what came of them.
fn read(python: &Path, runs: &[Run]) -> Vec<(Value, Summary)> {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut paths, mut summaries) = (Vec::new(), Vec::new());
    for (nth, run) in runs.iter().enumerate() {
        let (trace, summary) = export(run.reader(folder.path()));
        assert_eq!(export(run.clone()), (trace.clone(), summary.clone()), "the same from memory");
        let path = folder.path().join(format!("{nth}.pftrace"));
        fs::write(&path, trace).expect("a file");
        paths.push(path);
        summaries.push(summary);
    }
    ask(python, "read", &paths).into_iter().zip(summaries).collect()
}

/// The same of one.
fn read_one(python: &Path, run: &Run) -> (Value, Summary) {
    read(python, std::slice::from_ref(run)).pop().expect("a trace")
}

/// Numbers by thread id.
type ByTid<T> = BTreeMap<u32, T>;

fn add(to: &mut ByTid<(u64, u64)>, tid: u32, ns: u64) {
    let entry = to.entry(tid).or_default();
    *entry = (entry.0 + 1, entry.1 + ns);
}

fn object(value: &Value) -> impl Iterator<Item = (u32, &Value)> {
    value.as_object().into_iter().flatten().map(|(tid, value)| (tid.parse().expect("an id"), value))
}

/// What kinds of waits are called.
const NAMES: [(u16, &str); 3] = [
    (slice_flags::WAIT_WAKEUP, "waiting after wakeup"),
    (slice_flags::WAIT_PREEMPTED, "waiting after preemption"),
    (slice_flags::WAIT_NEW, "waiting, new thread"),
];

/// Waits of the trace that ended, by thread and kind.
fn waits(trace: &Value, name: &str) -> ByTid<(u64, u64)> {
    let mut waits = ByTid::new();
    for (tid, tracks) in object(&trace["events"]["threads"]) {
        for wait in tracks[name].as_array().into_iter().flatten() {
            if let Some(ns) = wait["dur"].as_u64() {
                add(&mut waits, tid, ns);
            }
        }
    }
    waits
}

/// What every trace is: turns and waits of each thread are those of the records, and nothing contradicts itself.
fn compare(run: &Run, trace: &Value, summary: &Summary) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut expected = ByTid::new();
    let threads: Vec<u32> = run.slices().map(|slice| slice.tid).collect();
    for slice in run.slices() {
        let start = (slice.header.ts - slice.slice_ns).max(run.head.meta.start_ns);
        add(&mut expected, slice.tid, slice.header.ts - start);
    }
    let mut found = ByTid::new();
    for (tid, slices) in object(&trace["sched"]["slices"]).filter(|(tid, _)| threads.contains(tid)) {
        let number = |key: &str| slices[key].as_u64().unwrap_or_default();
        if number("count") > 0 {
            found.insert(tid, (number("count"), number("ns")));
        }
    }
    if found != expected {
        wrong.push(format!("turns are {found:?}, expected {expected:?}"));
    }
    for (how, flags) in [("dead", slice_flags::OUT_DEAD), ("runnable", slice_flags::OUT_RUNNABLE)] {
        let left = |slice: &Slice| match how {
            "dead" => slice.flags & slice_flags::OUT_DEAD != 0,
            _ => slice.flags & (flags | slice_flags::OUT_DEAD) == flags,
        };
        let mut expected = ByTid::<u64>::new();
        run.slices().filter(left).for_each(|slice| *expected.entry(slice.tid).or_default() += 1);
        let found = object(&trace["sched"]["left"][how]).filter(|(tid, _)| threads.contains(tid));
        let found: ByTid<u64> = found.map(|(tid, count)| (tid, count.as_u64().unwrap_or_default())).collect();
        if found != expected {
            wrong.push(format!("{how} at the end of turns: {found:?}, expected {expected:?}"));
        }
    }
    let mut all = 0;
    for (flag, name) in NAMES {
        let mut expected = ByTid::new();
        let of_kind = |slice: &Slice| slice.flags & slice_flags::WAIT_MASK == flag;
        run.slices().filter(of_kind).for_each(|slice| add(&mut expected, slice.tid, slice.wait_ns));
        let found = waits(trace, name);
        all += found.values().map(|(count, _)| count).sum::<u64>();
        for (tid, expected) in expected {
            // One more can have led to a turn that had not ended.
            let (count, ns) = found.get(&tid).copied().unwrap_or_default();
            if (count, ns) != expected && !(count == expected.0 + 1 && ns >= expected.1) {
                wrong.push(format!("{name} of {tid}: {count} of {ns}, expected {expected:?}"));
            }
        }
    }
    if all != summary.waits || summary.turns != run.slices().count() as u64 {
        wrong.push(format!("{all} waits, and {summary:?}"));
    }
    for (what, count) in [
        ("impossible ids", &trace["sched"]["impossible_ids"]),
        ("mismatched", &trace["sched"]["mismatched"]),
        ("backwards", &trace["sched"]["backwards"]),
        ("ends without begin", &trace["events"]["ends_without_begin"]),
        ("nested", &trace["events"]["nested"]),
    ] {
        if count != 0 {
            wrong.push(format!("{what}: {count}"));
        }
    }
    let migrations = run.events().filter(|event| matches!(event, Event::Migrate(_))).count() as u64;
    let moves = run.snapshots().last().map_or(0, |snapshot| snapshot.totals.node_moves);
    if (summary.migrations, summary.node_moves) != (migrations, moves) {
        wrong.push(format!("{migrations} migrations, {moves} moves, and {summary:?}"));
    }
    wrong
}

const S: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;
const US: u64 = 1_000;

fn comm(bytes: &[u8]) -> Option<Comm> {
    Some(Comm::Bytes(bytes.to_vec()))
}

/// Four seconds on two nodes: hostile names, wakeups by a thread and by an interrupt, preemption between threads and by a
/// foreign one, migrations within and between nodes, a quota, a thread that is made, ends and whose id is used again, one
/// that never leaves its CPU.
fn known_run() -> Run {
    let attach = |tid: u32, comm: Option<Comm>, state, cpu| KernelEvent::Attach {
        at: 0,
        tid,
        tgid: Some(10),
        comm,
        state,
        cpu,
        queued_for: 0,
        start: None,
    };
    let switch = |at, cpu, prev, next, prev_state, preempt| KernelEvent::Switch {
        at,
        cpu,
        prev,
        next,
        prev_state,
        state_now: None,
        preempt,
    };
    let mut events = vec![
        KernelEvent::Stop { at: 0, cpu: 0, stopped: false },
        attach(10, comm("main 漢字é".as_bytes()), Doing::Blocked, 0),
        attach(11, comm(b"\x1b[31m\xff\"\n\\{x"), Doing::Blocked, 0),
        attach(
            12,
            comm(&[0x9d, 0x01, 0xe2, 0x80, 0xae, 0x7f, 0xc3, 0x28, b'\'', b'<', 0xf0, 0x9f, 0x92, 0xa9, 0x80]),
            Doing::Blocked,
            1,
        ),
        attach(20, comm(b"spins"), Doing::Running, 3),
        KernelEvent::Name { at: 1, tid: 999, comm: Comm::Text("foreign".into()) },
    ];
    let migrate = |at, tid, from, to, on_rq| KernelEvent::Migrate {
        at,
        tid,
        from,
        to,
        state: if on_rq == 0 { 0x200 } else { 0 },
        on_rq,
        by: 20,
        by_cpu: 3,
        stopper: false,
        offline: false,
    };
    for second in 0..4 {
        let s = second * S;
        for n in 0..50 {
            let at = s + 10 * MS + n * 10 * MS;
            let (first, then) = (at + 2 * US + n * US * (second + 1), at + 3 * MS + n * US);
            events.extend([
                KernelEvent::Waking { at, tid: 10, by: if n % 2 == 0 { 20 } else { 0 } },
                KernelEvent::Wakeup { at, tid: 10, cpu: 0 },
                switch(first, 0, 0, 10, 0, false),
                KernelEvent::Waking { at: first + 5 * US, tid: 11, by: 10 },
                KernelEvent::Wakeup { at: first + 5 * US, tid: 11, cpu: 0 },
                // 10 is preempted by 11, and runs on when that sleeps.
                switch(then, 0, 10, 11, 0, true),
                switch(then + MS, 0, 11, 10, 1, false),
                switch(then + 2 * MS, 0, 10, 999, 0, true),
                switch(then + 3 * MS, 0, 999, 10, 1, false),
                switch(then + 4 * MS, 0, 10, 0, 1, false),
            ]);
        }
        // 12 wanders: within its node, and to the other and back.
        let (mut at, mut cpu) = (s + 600 * MS, 1);
        for to in [0, 2, 1, 2, 2] {
            if to != cpu {
                events.push(migrate(at, 12, cpu, to, 0));
            }
            cpu = to;
            events.extend([
                KernelEvent::Waking { at, tid: 12, by: 20 },
                KernelEvent::Wakeup { at, tid: 12, cpu },
                switch(at + 50 * US, cpu, 0, 12, 0, false),
                switch(at + 20 * MS, cpu, 12, 0, 1, false),
            ]);
            at += 30 * MS;
        }
        events.push(migrate(at, 12, cpu, 1, 0));
        // A thread of the process and one of its own, both with ids that are used again.
        for (tid, tgid, at) in [(13, Some(10), s + 800 * MS), (40, Some(40), s + 850 * MS)] {
            let start = Some(100 + second);
            let comm = comm(format!("life-{second} of {tid}").as_bytes());
            events.extend([
                KernelEvent::Fork { at, parent: 10, tid, tgid, comm, start },
                KernelEvent::WakeupNew { at: at + 10 * US, tid, cpu: 1 },
                switch(at + 40 * US, 1, 0, tid, 0, false),
                switch(at + MS, 1, tid, 0, 0x80, false),
            ]);
        }
        events.extend([
            KernelEvent::Waking { at: s + 900 * MS, tid: 11, by: 20 },
            KernelEvent::Wakeup { at: s + 900 * MS, tid: 11, cpu: 0 },
            KernelEvent::Stop { at: s + 910 * MS, cpu: 0, stopped: true },
            KernelEvent::Stop { at: s + 950 * MS, cpu: 0, stopped: false },
            switch(s + 960 * MS, 0, 0, 11, 0, false),
            switch(s + 970 * MS, 0, 11, 0, 1, false),
            KernelEvent::Tick { at: s + S, totals: true },
        ]);
    }
    let machine: file::Machine = toml::from_str("nodes = [[0, 1], [2, 3]]").expect("a machine");
    let mut run = Run::new(&machine, events);
    run.records = with_touches(std::mem::take(&mut run.records));
    run
}

/// Page touches before every tick but the third: 3 of 4 remote in the first interval, then none, then 1 of 4.
fn with_touches(records: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let (mut all, mut ticks) = (Vec::new(), 0);
    for record in records {
        if record.starts_with(&kind::TICK.to_le_bytes()) {
            let ts = u64::from_le_bytes(record[8..16].try_into().expect("8 bytes"));
            let touches = |page_node: u16, count: u64| {
                // Of the zero page, and hint faults: neither counts.
                let counts = [count, 0, 0, 0, 1_000, 0, 1_000, 1_000, 7];
                let header = Touches::header(ts, 0, 0);
                Touches { header, tid: 10, tgid: 10, cpu_node: 0, page_node, counts, ..Touches::default() }
            };
            let told = [[100, 300, 50], [0, 0, 40], [0, 0, 0], [300, 100, 0]][ticks];
            ticks += 1;
            for (node, count) in [0, 1, NO_NODE].into_iter().zip(told) {
                all.push(touches(node, count).as_bytes().to_vec());
            }
        }
        all.push(record);
    }
    all
}

#[test]
fn slices_waits_and_migrations_are_those_of_the_recording() {
    let Some(python) = python() else { return };
    let run = known_run();
    let (trace, summary) = read_one(&python, &run);
    assert_eq!(compare(&run, &trace, &summary), Vec::<String>::new());
    let last = run.snapshots().pop().expect("a snapshot");
    assert!(last.totals.node_moves >= 8 && last.totals.runq.preempted.count >= 400, "{:?}", last.totals);
    assert_eq!((summary.cut, summary.without_cpu, summary.refused, summary.threads), (0, 0, 0, 4 + 8));
    // Threads of the snapshot: time on CPU, waits, migrations. One that has an id several times is summed up.
    let of = |tid: u32, number: &dyn Fn(&numatrace::snapshot::ThreadStats) -> u64| -> u64 {
        last.threads.iter().filter(|thread| thread.tid.0 == tid).map(|thread| number(&thread.stats)).sum()
    };
    let [wakeup, preempted, new] = NAMES.map(|(_, name)| waits(&trace, name));
    for tid in [10, 11, 12, 13, 40] {
        let slices = &trace["sched"]["slices"][tid.to_string()];
        assert_eq!(slices["ns"], of(tid, &|stats| stats.cpu_ns), "{tid}");
        assert_eq!(slices["count"], of(tid, &|s| s.switches.voluntary + s.switches.involuntary), "{tid}");
        let sum = |waits: &ByTid<(u64, u64)>| waits.get(&tid).copied().unwrap_or_default();
        let ((woken, woken_ns), (made, made_ns)) = (sum(&wakeup), sum(&new));
        let runq = |of: &dyn Fn(&numatrace::snapshot::RunQueue) -> u64, number| {
            assert_eq!(number, self::sum(&last, tid, of), "{tid}");
        };
        runq(&|runq| runq.wakeup.count, woken + made);
        runq(&|runq| runq.wakeup.total_ns, woken_ns + made_ns);
        runq(&|runq| runq.preempted.count, sum(&preempted).0);
        runq(&|runq| runq.preempted.total_ns, sum(&preempted).1);
        // States of threads, which Perfetto makes of scheduler events, tell the same, up to the moment between fork and wakeup.
        let runnable = &trace["sched"]["runnable"][tid.to_string()];
        let waited = woken_ns + sum(&preempted).1 + made_ns + made * 10 * US;
        assert_eq!((&runnable[0], &runnable[1]), (&(woken + made + sum(&preempted).0).into(), &waited.into()), "{tid}");
        let tracks = &trace["events"]["threads"][tid.to_string()];
        let moved = |name: &str| tracks[name].as_array().map_or(0, Vec::len) as u64;
        assert_eq!(moved("cross-node migration"), of(tid, &|stats| stats.migrations.cross_node), "{tid}");
        assert_eq!(
            moved("migration"),
            of(tid, &|stats| stats.migrations.total() - stats.migrations.cross_node),
            "{tid}"
        );
    }
    // It never left its CPU: a slice without an end.
    let spins = &trace["sched"]["slices"]["20"];
    assert_eq!((&spins["count"], &spins["open"]), (&0.into(), &1.into()));
    // What ran between two turns of ours, as long as it is known to.
    let foreign = &trace["sched"]["slices"]["999"];
    assert_eq!(foreign["count"], 200);
    let ns = foreign["ns"].as_u64().expect("a time");
    assert!((200 * MS - 200 * 1024..=200 * MS).contains(&ns), "{ns}");
}

fn sum(snapshot: &Snapshot, tid: u32, of: &dyn Fn(&numatrace::snapshot::RunQueue) -> u64) -> u64 {
    snapshot.threads.iter().filter(|thread| thread.tid.0 == tid).map(|thread| of(&thread.stats.runq)).sum()
}

#[test]
fn names_details_and_arrows_are_those_of_the_recording() {
    let Some(python) = python() else { return };
    let run = known_run();
    let (trace, summary) = read_one(&python, &run);
    let last = run.snapshots().pop().expect("a snapshot");
    for thread in &last.threads {
        let told = &trace["names"][thread.tid.to_string()];
        assert_eq!(told[0], thread.pid.0);
        let current = last.threads.iter().rfind(|other| other.tid == thread.tid).expect("itself");
        assert_eq!(told[1], *current.comm, "the name that was told last");
        let comms = trace["sched"]["comms"][thread.tid.to_string()].as_array().expect("names of switches");
        assert!(comms.iter().any(|name| *name == *thread.comm), "{comms:?} of {thread:?}");
    }
    assert_eq!(trace["processes"]["10"], serde_json::json!(["main 漢字é", ""]));
    assert_eq!(trace["processes"]["40"][0], "life-3 of 40");
    assert_eq!((&trace["sched"]["lives"]["13"], &trace["sched"]["lives"]["40"]), (&4.into(), &4.into()));
    assert_eq!(trace["sched"]["comms"]["999"][0], "foreign");
    // Wakers, by scheduler events and beside waits.
    assert_eq!(trace["sched"]["wakers"]["10"]["20"], 100);
    assert_eq!(trace["sched"]["wakers"]["10"]["0"], 100);
    assert_eq!(trace["sched"]["wakers"]["11"]["10"], 200);
    let waits = &trace["events"]["threads"]["11"]["waiting after wakeup"];
    let args = |n: usize| &waits[n]["args"];
    assert_eq!((&args(0)["waker"], &args(0)["waker_tid"]), (&"main 漢字é".into(), &10.into()));
    assert_eq!((&args(0)["held_by_tid"], &args(0)["ran_before_tid"]), (&10.into(), &10.into()));
    assert_eq!((&args(0)["cpu"], &args(0)["queued_cpu"]), (&0.into(), &0.into()));
    // The last wait of each second was stopped by a quota for 40 of 60 ms.
    let throttled = args(50)["throttled_ns"].as_u64().expect("a throttled part");
    assert!((39 * MS..=40 * MS).contains(&throttled), "{throttled}");
    assert_eq!(args(0)["throttled_ns"], Value::Null);
    let migration = &trace["events"]["threads"]["12"]["cross-node migration"][0];
    let expected = serde_json::json!({
        "cause": "wakeup", "level": "cross_node", "from_cpu": 0, "to_cpu": 2, "from_node": 0, "to_node": 1,
        "by": "spins", "by_tid": 20,
    });
    assert_eq!((&migration["args"], &migration["category"][0]), (&expected, &"migration".into()));
    // Each arrow: from the end of a turn on one node, by its migrations, to the start of a turn on the other.
    let flows = trace["events"]["flows"].as_object().expect("flows");
    let moves = flows.values().filter(|steps| steps.as_array().is_some_and(|steps| steps.len() == 3)).count();
    assert!(moves as u64 >= summary.node_moves - 4, "{moves} of {}", summary.node_moves);
    let steps = flows.values().next().and_then(Value::as_array).expect("steps");
    let names: Vec<&Value> = steps.iter().map(|step| &step[1]).collect();
    assert_eq!(names, [&Value::from("node 0"), &12.into(), &"node 1".into()]);
    assert!(steps.is_sorted_by_key(|step| step[0].as_u64()));
    let parents = &trace["events"]["parents"];
    assert_eq!(
        (&parents["node 1"], &parents["moves between nodes"]),
        (&"moves between nodes".into(), &"numatrace".into())
    );
    let head = &trace["head"];
    assert_eq!(head["clocks"], serde_json::json!({ "1": START_WALL_NS, "3": START_NS, "6": START_NS }));
    assert_eq!(head["system"], serde_json::json!(["Linux", "6.12.9", 4, run.head.tool]));
    let told = &trace["events"]["tracks"]["numatrace"][0]["args"];
    assert_eq!((&told["target"], &told["cpu.stat"]), (&"pid 10 (漢字)".into(), &"off: no \"cgroup\" here".into()));
}

#[test]
fn counters_are_what_happened_between_two_ticks() {
    let Some(python) = python() else { return };
    let run = known_run();
    let (trace, _) = read_one(&python, &run);
    let counters = &trace["events"]["counters"];
    let value = |name: &str, ts: u64| -> Option<f64> {
        let values = counters[name].as_array().unwrap_or_else(|| panic!("no {name}: {counters}"));
        values.iter().find(|value| value[0] == ts).and_then(|value| value[1].as_f64())
    };
    let snapshots = run.snapshots();
    let ticks: Vec<u64> = run.events().filter(|event| matches!(event, Event::Tick(_))).map(|tick| tick.ts()).collect();
    assert_eq!(ticks.len(), 4);
    let mut begun = START_NS;
    for (ts, pair) in ticks.into_iter().zip(snapshots.windows(2)) {
        let totals = window::since(&pair[1], &pair[0]).totals;
        let seconds = (ts - begun) as f64 / 1e9;
        let close = |name: &str, expected: f64| {
            let found = value(name, begun).unwrap_or_else(|| panic!("{name} at {begun}"));
            assert!(
                (found - expected).abs() <= expected.abs() * 1e-9,
                "{name} at {begun}: {found}, expected {expected}"
            );
        };
        close("run-queue latency, p99", totals.runq.all.p99_ns as f64);
        close("waits that ended", totals.runq.all.count as f64 / seconds);
        close("migrations", totals.migrations.total() as f64 / seconds);
        close("cross-node migrations", totals.migrations.cross_node as f64 / seconds);
        assert_eq!(value("remote share of page touches", begun), totals.remote_share.map(|share| 100.0 * share));
        let throttled = value("throttled waiting", begun).expect("a value");
        assert!((39.0..=40.0).contains(&throttled), "{throttled} ms of 40");
        begun = ts;
    }
    let shares = [Some(75.0), None, None, Some(25.0)];
    let found = (0..4).map(|second| value("remote share of page touches", START_NS + second * S));
    assert_eq!(found.collect::<Vec<_>>(), shares);
    let touches = (0..4).map(|second| value("page touches", START_NS + second * S));
    assert_eq!(touches.collect::<Vec<_>>(), [450.0, 40.0, 0.0, 400.0].map(Some));
}

/// Files of every version that there was, made by kernels.
#[test]
fn recordings_of_kernels_become_traces_that_tell_the_same() {
    let Some(python) = python() else { return };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/recordings");
    let (mut names, mut runs) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder).expect("recordings") {
        let path = entry.expect("a readable folder").path();
        if path.extension().is_some_and(|extension| extension == "numatrace") {
            let mut reader = Reader::open(&path).expect("a recording");
            let (head, mut records) = (reader.head().clone(), Vec::new());
            while reader.next_batch(&mut |record| records.push(record.to_vec())).expect("readable")
                == SourceStatus::More
            {}
            names.push(path.display().to_string());
            runs.push(Run { head, records, next: 0 });
        }
    }
    assert!(!names.is_empty());
    let mut wrong = Vec::new();
    for ((name, run), (trace, summary)) in names.iter().zip(&runs).zip(read(&python, &runs)) {
        wrong.extend(compare(run, &trace, &summary).into_iter().map(|what| format!("{name}: {what}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// All that is known to be hard: equal times, lost records, late records, ids that are used again, waits that go on.
#[test]
fn every_scenario_becomes_a_trace_that_tells_the_same() {
    let Some(python) = python() else { return };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scenarios");
    let (mut names, mut runs) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder).expect("scenarios") {
        let path = entry.expect("a readable folder").path();
        let scenario = Scenario::parse(&fs::read_to_string(&path).expect("a file")).expect("a scenario");
        names.push(path.file_stem().unwrap_or_default().to_string_lossy().into_owned());
        runs.push(Run::new(&scenario.machine, scenario.events));
    }
    assert!(names.len() >= 30, "{names:?}");
    let mut wrong = Vec::new();
    for ((name, run), (trace, summary)) in names.iter().zip(&runs).zip(read(&python, &runs)) {
        wrong.extend(compare(run, &trace, &summary).into_iter().map(|what| format!("{name}: {what}")));
        let last = run.snapshots().pop().expect("a snapshot");
        let lost: Vec<u64> = last.loss.intervals.iter().map(|interval| interval.lost).collect();
        let told = trace["events"]["tracks"]["records lost"].as_array();
        let told: Vec<u64> = told.into_iter().flatten().filter_map(|slice| slice["args"]["records"].as_u64()).collect();
        if told != lost {
            wrong.push(format!("{name}: lost {told:?}, expected {lost:?}"));
        }
        for thread in last.threads.iter().filter(|thread| !thread.exited) {
            let open = trace["sched"]["slices"][thread.tid.0.to_string()]["open"] == 1;
            let runs = thread.state == numatrace::snapshot::ThreadState::Running;
            if open != runs {
                wrong.push(format!("{name}: {} is {:?}, and its slice is open: {open}", thread.tid.0, thread.state));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_written_of_the_schema_is_as_in_perfettos_own() {
    let text = include_str!("../../numatrace/src/export/perfetto/schema.proto");
    let rust = include_str!("../../numatrace/src/export/perfetto/schema.rs");
    // Both as lines `message.field = number`.
    let mut proto = Vec::new();
    let mut messages: Vec<&str> = Vec::new();
    for line in text.lines().map(str::trim) {
        let words: Vec<&str> = line.trim_end_matches([';', '{', ' ']).split(' ').collect();
        match words.as_slice() {
            ["message" | "enum", name] => messages.push(name),
            ["}"] => drop(messages.pop()),
            ["optional" | "repeated", _, name, "=", number] => {
                proto.push(format!("{}.{name} = {number}", messages.last().expect("a message")));
            }
            _ => {}
        }
    }
    // These are put together byte by byte: `packets.rs`.
    proto.retain(|line| !line.starts_with("Trace.") && !line.starts_with("FtraceEventBundle."));
    proto.retain(|line| line != "TracePacket.ftrace_events = 1");
    let (mut fields, mut message, mut tag) = (Vec::new(), "", "");
    for line in rust.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("pub struct ") {
            message = name.trim_end_matches(" {");
        } else if line.starts_with("#[prost(") {
            tag = line.split("tag = \"").nth(1).and_then(|rest| rest.split('"').next()).expect("a tag");
        } else if let Some((name, _)) = line.strip_prefix("pub ").and_then(|rest| rest.split_once(':'))
            && !line.starts_with("pub const")
        {
            fields.push(format!("{message}.{} = {tag}", name.trim_start_matches("r#")));
        }
    }
    proto.sort();
    fields.sort();
    assert_eq!(proto, fields);
    assert!(fields.len() > 80, "{}", fields.len());
    let Some(python) = python() else { return };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../numatrace/src/export/perfetto/schema.proto");
    let checked = ask(&python, "schema", &[path]).pop().expect("an answer");
    assert_eq!(checked["wrong"], serde_json::json!([]));
    assert!(checked["fields"].as_u64() > Some(100), "{checked}");
}

#[test]
fn the_document_names_all_that_is_in_a_trace() {
    let Some(python) = python() else { return };
    let (trace, _) = read_one(&python, &known_run());
    let text = include_str!("../../docs/perfetto.md");
    let events = &trace["events"];
    let mut names: Vec<&str> = events["counters"].as_object().into_iter().flatten().map(|(name, _)| &**name).collect();
    for slices in object(&events["threads"]).flat_map(|(_, tracks)| tracks.as_object().into_iter().flatten()) {
        names.push(slices.0);
        for slice in slices.1.as_array().into_iter().flatten() {
            names.extend(slice["category"].as_array().into_iter().flatten().filter_map(Value::as_str));
            names.extend(slice["args"].as_object().into_iter().flatten().map(|(key, _)| &**key));
        }
    }
    names.sort_unstable();
    names.dedup();
    assert!(names.len() >= 30, "{names:?}");
    for name in names {
        assert!(text.contains(&format!("`{name}`")), "docs/perfetto.md says nothing of `{name}`");
    }
}

/// A disk that is full after so many bytes.
struct Full(usize);

impl std::io::Write for Full {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 =
            self.0.checked_sub(bytes.len()).ok_or_else(|| std::io::Error::from(std::io::ErrorKind::StorageFull))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_ends_it_with_a_reason() {
    let run = known_run();
    for room in [0, 10, 100_000] {
        let failed = perfetto::write(run.clone(), &mut Full(room), &mut |_| ()).expect_err("no room");
        assert_eq!(failed.to_string(), "cannot write the Perfetto trace");
        let ExportError::Write(why) = failed else { panic!("{failed}") };
        assert_eq!(why.kind(), std::io::ErrorKind::StorageFull);
    }
}

/// Records of the known run with some bytes changed, and bytes that are nothing.
fn made_up() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let all = known_run().records;
    let change = (0..all.len(), vec((16..200usize, any::<u8>()), 0..6), any::<bool>(), any::<u64>());
    let record = change.prop_map(move |(which, bytes, timed, ts)| {
        let mut record = all[which].clone();
        for (at, byte) in bytes {
            if let Some(to) = record.get_mut(at) {
                *to = byte;
            }
        }
        if timed {
            record[8..16].copy_from_slice(&ts.to_le_bytes());
        }
        record
    });
    vec(prop_oneof![20 => record, 1 => vec(any::<u8>(), 0..80)], 0..150)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn made_up_records_become_a_trace_or_nothing(records in made_up(), start_ns in prop_oneof![Just(START_NS), any::<u64>()]) {
        let mut run = known_run();
        run.records = records;
        run.head.meta.start_ns = start_ns;
        let (trace, _) = export(run);
        // Every packet is whole.
        let mut rest = &trace[..];
        while !rest.is_empty() {
            prop_assert_eq!(rest[0], 0x0a);
            let (mut length, mut shift, mut at) = (0usize, 0, 1);
            loop {
                let byte = rest[at];
                length |= usize::from(byte & 0x7f) << shift;
                (shift, at) = (shift + 7, at + 1);
                if byte & 0x80 == 0 {
                    break;
                }
            }
            rest = &rest[at + length..];
        }
    }
}
