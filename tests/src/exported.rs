//! A recording with some of everything, as a file, for tests of what is made of recordings: waits of every kind, migrations of
//! every level, a CPU quota, page touches with and without callers, names that nobody would choose.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use numatrace::decode::{Event, decode};
use numatrace::model::{Meta, Pages, Waiting};
use numatrace::recording::writer::{Options, Recorder};
use numatrace::recording::{Head, Reason};
use numatrace::snapshot::{Host, HostNode, Target};
use numatrace::source::script::{Comm, Doing, KernelEvent, Script, Setup};
use numatrace::source::{Source, SourceStatus};
use numatrace::topology::{Cpu, Topology};
use numatrace::units::NodeId;
use numatrace_common::abi::{PATH_PIECE, Touches, Where, Words, touch};
use xtask::setup::readers;
use xtask::shell::in_ci;
use zerocopy::IntoBytes;

use crate::timeline::{START_NS, START_WALL_NS};

/// Names of threads: what a program can call them.
pub const NAMES: [&[u8]; 8] = [
    b"worker",
    b"=1+1",
    b"a,b;\"c\"",
    b"two\nlines\r\t",
    b"\x1b]0;x\x07",
    &[0xff, 0xfe, 0xc3, 0x28, 0x80, 0x81, 0xf0, 0x9f, 0x92, 0xa9, 0xe2, 0x80, 0xae, 0x41, 0x42],
    b"",
    b"worker",
];
/// The first of the threads that are there from the beginning.
pub const FIRST_TID: u32 = 100;
const CPUS: u16 = 4;
const TICK_NS: u64 = 250_000_000;

/// What is to be in a recording.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Ticks of 250 ms.
    pub ticks: u64,
    /// Steps of the kernel between two ticks.
    pub steps: u64,
    /// Callers of places.
    pub stacks: bool,
    /// Page touches and where they come from.
    pub pages: bool,
}

impl Default for Wanted {
    fn default() -> Wanted {
        Wanted { ticks: 12, steps: 400, stacks: true, pages: true }
    }
}

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// Four CPUs on two nodes (0 and 2): two siblings of a core, and two cores that share a cache.
pub fn head(wanted: Wanted) -> Head {
    let cpu = |id: u32| Cpu {
        id,
        online: true,
        node: Some(id as usize / 2),
        core: if id < 2 { 0 } else { id },
        llc: id / 2 * 2,
    };
    let node = |id: u32| HostNode { id: NodeId(id), cpus: vec![id, id + 1], memory_bytes: 1 << 30 };
    let topology = Topology {
        cpus: (0..u32::from(CPUS)).map(cpu).collect(),
        nodes: vec![node(0), node(2)],
        distances: vec![vec![10, 21], vec![21, 10]],
    };
    let target = Target { kind: "pid".into(), label: "pid 4711 (scripted)".into(), ids: vec![4711] };
    let host = Host {
        kernel: "6.12.0".into(),
        arch: "x86_64".into(),
        cpus: 4,
        nodes: topology.nodes.clone(),
        distances: topology.distances.clone(),
        ..Host::default()
    };
    let pages = if wanted.pages { Pages::ALL } else { Pages::default() };
    let (start_ns, start_wall_ns) = (START_NS, START_WALL_NS);
    let meta = Meta { host, target, start_ns, start_wall_ns, pages, waits: Waiting::ALL, ..Meta::default() };
    Head { tool: "test".into(), meta, topology, ..Head::default() }
}

/// What happens. At the end every CPU is idle and nobody waits, so that sums over turns are all there is.
pub fn script(wanted: Wanted) -> Vec<KernelEvent> {
    script_named(wanted, &NAMES)
}

/// The same with other names of threads, whose ids begin with [`FIRST_TID`].
fn script_named(wanted: Wanted, names: &[&[u8]]) -> Vec<KernelEvent> {
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    let mut events = Vec::new();
    let tids: Vec<u32> = (0..names.len() as u32).map(|nth| FIRST_TID + nth).collect();
    for (tid, name) in tids.iter().zip(names) {
        let comm = Some(Comm::Bytes(name.to_vec()));
        let tgid = Some(4711 + tid % 2);
        let (state, cpu, queued_for) = (Doing::Blocked, 0, 0);
        events.push(KernelEvent::Attach { at: 0, tid: *tid, tgid, comm, state, cpu, queued_for, start: None });
    }
    let mut kernel = Kernel { alive: tids.into_iter().collect(), ..Kernel::default() };
    for tick in 0..wanted.ticks {
        let step_ns = TICK_NS / (wanted.steps + 2);
        for step in 0..wanted.steps {
            kernel.step(tick * TICK_NS + (step + 1) * step_ns, &mut dice, &mut events);
        }
        let end = (tick + 1) * TICK_NS;
        if tick + 1 == wanted.ticks {
            kernel.comes_to_rest(end - step_ns, &mut events);
        }
        events.push(KernelEvent::Tick { at: end, totals: true });
    }
    events
}

#[derive(Default)]
struct Kernel {
    alive: BTreeSet<u32>,
    queued: Vec<u32>,
    current: [u32; CPUS as usize],
    forked: u32,
}

impl Kernel {
    fn step(&mut self, at: u64, dice: &mut Dice, events: &mut Vec<KernelEvent>) {
        let cpu = dice.below(CPUS.into()) as u16;
        let of = |dice: &mut Dice, alive: &BTreeSet<u32>| {
            let nth = dice.below(alive.len() as u64) as usize;
            alive.iter().nth(nth).copied().expect("somebody is alive")
        };
        match dice.below(20) {
            0..6 => {
                let tid = of(dice, &self.alive);
                if !self.queued.contains(&tid) && !self.current.contains(&tid) {
                    self.queued.push(tid);
                    events.push(KernelEvent::Waking { at, tid, by: self.current[usize::from(cpu)] });
                    events.push(KernelEvent::Wakeup { at, tid, cpu });
                }
            }
            6..16 => self.switch(at, cpu, dice, events),
            16 | 17 => {
                let (tid, from) = (of(dice, &self.alive), dice.below(CPUS.into()) as u16);
                let (state, on_rq) = if dice.below(2) == 0 { (0x200, 0) } else { (0, 2) };
                let (by, stopper, offline) = (100, dice.below(4) == 0, false);
                events.push(KernelEvent::Migrate {
                    at,
                    tid,
                    from,
                    to: cpu,
                    state,
                    on_rq,
                    by,
                    by_cpu: cpu,
                    stopper,
                    offline,
                });
            }
            18 => events.push(KernelEvent::Stop { at, cpu, stopped: dice.below(2) == 0 }),
            _ if self.forked < 20 => {
                self.forked += 1;
                let (parent, tid) = (100, 1_000 + self.forked);
                events.push(KernelEvent::Fork { at, parent, tid, tgid: Some(4711), comm: None, start: None });
                self.alive.insert(tid);
                self.queued.push(tid);
                events.push(KernelEvent::WakeupNew { at, tid, cpu });
            }
            _ => {}
        }
    }

    fn switch(&mut self, at: u64, cpu: u16, dice: &mut Dice, events: &mut Vec<KernelEvent>) {
        let prev = self.current[usize::from(cpu)];
        let next = if self.queued.is_empty() { 0 } else { self.queued.remove(0) };
        if prev == next {
            return;
        }
        let how = dice.below(8);
        let prev_state = match how {
            0..3 => 0,
            // Those that were there at the beginning stay.
            7 if prev >= 1_000 => 0x80,
            _ => 1,
        };
        match prev_state {
            0 if prev != 0 => self.queued.push(prev),
            0x80 => drop(self.alive.remove(&prev)),
            _ => {}
        }
        self.current[usize::from(cpu)] = next;
        let preempt = how == 0;
        events.push(KernelEvent::Switch { at, cpu, prev, next, prev_state, state_now: None, preempt });
    }

    /// Who waits has a short turn, and everybody sleeps.
    fn comes_to_rest(&mut self, at: u64, events: &mut Vec<KernelEvent>) {
        let mut switch = |at, cpu: u16, prev, next| {
            let (prev_state, state_now, preempt) = (u32::from(prev != 0), None, false);
            events.push(KernelEvent::Switch { at, cpu, prev, next, prev_state, state_now, preempt });
        };
        let mut at = at;
        for tid in self.queued.drain(..) {
            switch(at, 0, self.current[0], tid);
            self.current[0] = tid;
            at += 1_000;
        }
        for (cpu, tid) in (0..).zip(self.current).filter(|(_, tid)| *tid != 0) {
            switch(at, cpu, tid, 0);
        }
    }
}

/// The script's records, and after those of each tick what is measured of pages.
pub fn records(wanted: Wanted) -> Vec<Vec<u8>> {
    records_named(wanted, &NAMES)
}

/// The same with other names of threads.
pub fn records_named(wanted: Wanted, names: &[&[u8]]) -> Vec<Vec<u8>> {
    let setup =
        Setup { rings: vec![(0..CPUS).collect()], ring_bytes: None, start_ns: START_NS, start_wall_ns: START_WALL_NS };
    let mut script = Script::new(setup, script_named(wanted, names));
    let mut records = Vec::new();
    let mut ticks = 0;
    let mut take = |record: &[u8]| {
        if let Ok(Event::Tick(tick)) = decode(record) {
            ticks += 1;
            if wanted.pages {
                page_touches(tick.header.ts, ticks, wanted.stacks, &mut |record| records.push(record.to_vec()));
            }
        }
        records.push(record.to_vec());
    };
    while script.next_batch(&mut take).expect("a possible script") == SourceStatus::More {}
    records
}

/// Some of every kind, from some places; the texts are told with the first of them.
fn page_touches(ts: u64, nth: u64, stacks: bool, sink: &mut dyn FnMut(&[u8])) {
    for tid in 100..104 {
        for (cpu_node, page_node) in [(0, 0), (0, 1), (1, 0), (1, u16::MAX)] {
            let counts = std::array::from_fn(|kind| {
                let count = u64::from(tid) + nth * kind as u64;
                // Hint faults and moved pages have a page.
                if kind >= touch::KINDS && page_node == u16::MAX { 0 } else { count % 7 }
            });
            let header = Touches::header(ts, 0, 0);
            let (tgid, start_ns) = (4711 + tid % 2, u64::from(tid));
            sink(Touches { header, tid, tgid, start_ns, cpu_node, page_node, hint_units: 0, counts }.as_bytes());
        }
    }
    let words = [(1, "heap; bound to 1"), (2, "/usr/lib/lib c.so"), (3, "table::fill(int, char)"), (4, "copy")];
    let callers = [(5, "caller of; it\nmain"), (6, "loop\nmain")];
    if nth == 1 {
        words.iter().chain(&callers).for_each(|(id, text)| tell(ts, *id, text.as_bytes(), sink));
    }
    for tid in 100..104 {
        for (mapping, symbol, stack) in [(1, 3, 5), (1, 3, 6), (2, 4, 6)] {
            let (local, remote) = (u64::from(tid) * u64::from(mapping), nth * u64::from(symbol + stack));
            let stack = if stacks { stack } else { 0 };
            let (header, tgid) = (Where::header(ts, 0, 0), 4711 + tid % 2);
            sink(Where { header, tid, tgid, mapping, symbol, stack, reserved: 0, local, remote }.as_bytes());
        }
    }
}

/// Tells a text, as the program does, in pieces.
pub fn tell(ts: u64, id: u32, text: &[u8], sink: &mut dyn FnMut(&[u8])) {
    for (nth, bytes) in text.chunks(PATH_PIECE).enumerate() {
        let mut piece = [0; PATH_PIECE];
        piece[..bytes.len()].copy_from_slice(bytes);
        let (offset, total) = ((nth * PATH_PIECE) as u16, text.len() as u16);
        sink(Words { header: Words::header(ts, 0, 0), id, offset, total, piece }.as_bytes());
    }
}

/// Writes records to a file, in small frames.
pub fn save(head: &Head, records: &[Vec<u8>], path: &Path) {
    let options = Options { frame_bytes: 20_000, ..Options::default() };
    let mut recorder = Recorder::new(File::create(path).expect("a file"), head, options).expect("a recorder");
    for record in records {
        recorder.push(record);
        if let Ok(Event::Tick(tick)) = decode(record) {
            recorder.up_to(tick.header.ts);
        }
    }
    recorder.finish(Reason::Stopped).expect("written");
}

/// The recording as a file.
pub fn recording(wanted: Wanted, path: &Path) {
    save(&head(wanted), &records(wanted), path);
}

/// The interpreter of Python that has other programs' readers; `None`, with a word about it, where it is not there.
///
/// # Panics
/// In continuous integration, where it has to be there.
pub fn python() -> Option<PathBuf> {
    if readers::are_there() {
        return Some(readers::python());
    }
    let why = "the readers of exported files are not installed: cargo xtask setup installs them";
    assert!(!in_ci(), "{why}");
    eprintln!("skipped: {why}");
    None
}

/// What a program of `fixtures/readers` prints.
///
/// # Panics
/// When it fails, with what it says.
pub fn read_by(python: &Path, program: &str, args: &[&Path]) -> serde_json::Value {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/readers").join(program);
    let output = Command::new(python).arg(program).args(args).output().expect("Python runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// Asks DuckDB a query in `folder`. It must be understood and find rows.
///
/// # Panics
/// When it does not.
pub fn query_finds_rows(python: &Path, folder: &Path, query: &str) {
    let file = folder.join("query.sql");
    std::fs::write(&file, query).expect("a file");
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/readers/query.py");
    let output = Command::new(python).arg(program).arg(&file).current_dir(folder).output().expect("Python runs");
    assert!(output.status.success(), "{query}\n{}", String::from_utf8_lossy(&output.stderr));
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(!rows.as_array().expect("rows").is_empty(), "{query}");
}
