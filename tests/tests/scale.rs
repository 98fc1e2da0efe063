//! A machine of 512 CPUs and 16 nodes, and 50,000 threads on it: what numatrace would make for it, what it shows, and the memory that it
//! takes.

use std::sync::Arc;

use numatrace::{
    collect::sizes::Sizes,
    model::{Limits, Meta, Model, Pages, Waiting},
    report,
    snapshot::{Snapshot, Target},
    source::{
        Source as _, SourceStatus, apply,
        script::{Comm, Doing, KernelEvent as E, Script, Setup},
    },
    topology::Topology,
    tui::{UiMessage, history::Window, state::Key},
};
use numatrace_common::{
    abi::{self, Slice, Task, Tick, Touches, Where, Words, slice_flags, task_event},
    config::MAX_RINGS,
};
use numatrace_tests::{
    heap::{self, Counting},
    machine512::Machine512,
    screens::{app, screen, show},
};
use zerocopy::IntoBytes as _;

#[global_allocator]
static HEAP: Counting = Counting;

const MIB: usize = 1 << 20;
/// Least room between two things that happen.
const STEP: u64 = 100;
const FIRST: u32 = 100_000;

#[test]
fn rings_lanes_and_drain_threads_are_those_of_the_machine() {
    let topology = Machine512::topology();
    let sizes = Sizes::of(&topology, 4 << 20);
    // Two for each node of 32 CPUs, with the CPUs of that node alone at home.
    assert_eq!((sizes.groups.len(), sizes.lanes()), (32, 512));
    assert!(sizes.groups.len() <= MAX_RINGS);
    let mut all = Vec::new();
    for group in &sizes.groups {
        assert_eq!((group.cpus.len(), &group.cpus), (16, &group.online));
        let node = topology.node_of(group.cpus[0]);
        assert!(node.is_some() && group.cpus.iter().all(|cpu| topology.node_of(*cpu) == node), "{group:?}");
        all.extend_from_slice(&group.cpus);
    }
    all.sort_unstable();
    assert_eq!(all, (0..512).collect::<Vec<u32>>(), "each CPU is in one");
    // 512 KiB a lane: 8 ms of a CPU that does nothing but switch. 384 MiB in all, and 2 GiB without real-time priority.
    assert_eq!((sizes.lane_slots, sizes.bytes()), (8_192, 384 << 20));
    assert_eq!(Sizes::of(&topology, 32 << 20).bytes(), 2 << 30);
}

/// Every thread is woken, waits, runs on a CPU of its own choice, is preempted, waits, runs on and sleeps; every tenth moves to the
/// next node.
struct Machine {
    topology: Topology,
    threads: u32,
    at: u64,
    turn: u32,
}

impl Machine {
    fn new(threads: u32) -> Machine {
        Machine { topology: Machine512::topology(), threads, at: 0, turn: 0 }
    }

    fn setup(&self) -> Setup {
        let groups = Sizes::of(&self.topology, 4 << 20).groups;
        let rings = groups.into_iter().map(|group| group.cpus.into_iter().map(|cpu| cpu as u16).collect()).collect();
        Setup { rings, ring_bytes: None, start_ns: 1_000_000, start_wall_ns: 1_700_000_000_000_000_000 }
    }

    fn model(&self) -> Model {
        let meta = Meta {
            host: self.topology.host("6.12.9", "x86_64"),
            target: Target { kind: "all".into(), label: "the machine".into(), ..Target::default() },
            start_ns: 1_000_000,
            start_wall_ns: 1_700_000_000_000_000_000,
            pages: Pages::ALL,
            waits: Waiting::ALL,
            ..Meta::default()
        };
        Model::new(meta, self.topology.clone(), Limits::default())
    }

    fn next(&mut self) -> u64 {
        self.at += STEP;
        self.at
    }

    fn attach(&mut self, events: &mut Vec<E>) {
        for n in 0..self.threads {
            let comm = Some(Comm::Text(format!("worker-{}", n % 1_000)));
            let (tid, tgid) = (FIRST + n, Some(FIRST + n / 64 * 64));
            let (state, at) = (Doing::Blocked, self.next());
            events.push(E::Attach { at, tid, tgid, comm, state, cpu: 0, queued_for: 0, start: None });
        }
        self.tick(events);
    }

    fn tick(&mut self, events: &mut Vec<E>) {
        let at = self.next();
        events.push(E::Tick { at, totals: true });
    }

    /// One turn of everybody, and a tick.
    fn round(&mut self, events: &mut Vec<E>) {
        self.turn += 1;
        for n in 0..self.threads {
            let tid = FIRST + n;
            let home = |turn: u32| {
                let moves = if n % 10 == 0 { turn } else { 0 };
                ((n + moves * Machine512::OF_NODE) % Machine512::CPUS) as u16
            };
            let (before, cpu) = (home(self.turn - 1), home(self.turn));
            if before != cpu && self.turn > 1 {
                let at = self.next();
                let (by, by_cpu) = (0, before);
                let (state, on_rq) = (0x200, 0);
                events.push(E::Migrate {
                    at,
                    tid,
                    from: before,
                    to: cpu,
                    state,
                    on_rq,
                    by,
                    by_cpu,
                    stopper: false,
                    offline: false,
                });
            }
            let switch = |at, prev, next, prev_state, preempt| E::Switch {
                at,
                cpu,
                prev,
                next,
                prev_state,
                state_now: None,
                preempt,
            };
            events.push(E::Waking { at: self.next(), tid, by: FIRST + (n + 7) % self.threads });
            events.push(E::Wakeup { at: self.next(), tid, cpu });
            self.at += u64::from(n % 50) * 1_000;
            events.push(switch(self.next(), 0, tid, 0, false));
            events.push(switch(self.next(), tid, 0, 0, true));
            self.at += u64::from(n % 30) * 2_000;
            events.push(switch(self.next(), 0, tid, 0, false));
            events.push(switch(self.next(), tid, 0, 1, false));
        }
        self.tick(events);
    }
}

/// Plays so many rounds; `each` sees every tick.
fn play(machine: &mut Machine, rounds: u32, mut each: impl FnMut(&Model)) -> Model {
    let mut events = Vec::new();
    machine.attach(&mut events);
    (0..rounds).for_each(|_| machine.round(&mut events));
    let mut script = Script::new(machine.setup(), events);
    let mut model = machine.model();
    while script.next_batch(&mut |record| apply(record, &mut model)).expect("a possible script") == SourceStatus::More {
        each(&model);
    }
    model
}

#[test]
fn fifty_thousand_threads_are_reported_and_shown() {
    const THREADS: u32 = 50_000;
    let mut machine = Machine::new(THREADS);
    let mut snapshots: Vec<Snapshot> = Vec::new();
    play(&mut machine, 2, |model| snapshots.push(model.snapshot()));
    let last = snapshots.last().expect("ticks");
    assert_eq!((last.threads.len(), last.refused_threads, last.dropped_threads), (THREADS as usize, 0, 0));
    assert_eq!((last.host.cpus, last.host.nodes.len()), (512, 16));
    let rounds = 2 * u64::from(THREADS);
    assert_eq!((last.totals.runq.wakeup.count, last.totals.runq.preempted.count), (rounds, rounds));
    assert_eq!((last.totals.switches.voluntary, last.totals.switches.involuntary), (rounds, rounds));
    // Every tenth went to the next node, once.
    let moved = u64::from(THREADS / 10);
    let matrix = &last.matrices.migrations;
    assert!(matrix.len() == 16 && matrix.iter().all(|row| row.len() == 16));
    for (from, row) in matrix.iter().enumerate() {
        for (to, count) in row.iter().enumerate() {
            assert_eq!(*count > 0, to == (from + 1) % 16, "{from} to {to}: {count}");
        }
    }
    assert_eq!((matrix.iter().flatten().sum::<u64>(), last.totals.migrations.cross_node), (moved, moved));
    let mut json = Vec::new();
    report::json::write(last, &mut json).expect("memory");
    let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(json["threads"].as_array().map(Vec::len), Some(THREADS as usize));
    assert_eq!(json["matrices"]["migrations"].as_array().map(Vec::len), Some(16));
    // Of the first size it sees them come, of the second they are there.
    for (width, height, ticks) in [(200, 60, snapshots.len()), (80, 24, 1)] {
        let mut app = app(width, height);
        snapshots[snapshots.len() - ticks..].iter().for_each(|snapshot| show(&mut app, snapshot.clone()));
        for key in ['1', '2', '4', '5', '6'] {
            app.press(Key::Char(key));
            let text = screen(&mut app, width, height);
            assert_eq!(text.lines().count(), usize::from(height), "{width}x{height}, tab {key}");
            assert!(
                text.lines().filter(|line| !line.trim().is_empty()).count() > 8,
                "{width}x{height}, tab {key}:\n{text}"
            );
            if key == '2' {
                assert!(text.contains("worker-"), "{text}");
            }
        }
        app.press(Key::Char('2'));
        app.press(Key::Enter);
        assert!(screen(&mut app, width, height).contains("worker-"), "one thread");
    }
}

/// Records, some at a time: those of a second, and the tick that ends it.
type Batches<'a> = &'a mut dyn FnMut(&mut Vec<u8>) -> bool;

/// Heap at its peak, bytes, of the model and the snapshot that is made of it at each tick, with the dashboard where it is wanted: its
/// history, the numbers of this window, its rows. Not of the records, which stand for the kernel and are there before.
fn peak(mut model: Model, next: Batches<'_>, dashboard: Option<Window>) -> usize {
    let mut app = app(200, 60);
    while dashboard.is_some_and(|window| app.state().choice().window != window) {
        app.press(Key::Char('i'));
    }
    let (mut peak, mut ours) = (0, 0);
    let mut records = Vec::new();
    loop {
        // What the model takes of them stays; what they take themselves is not its.
        records.clear();
        let more = next(&mut records);
        let before = heap::mark();
        let mut rest = &records[..];
        while let Some(size) = rest.get(2..4) {
            let (record, after) = rest.split_at(usize::from(u16::from_le_bytes([size[0], size[1]])));
            apply(record, &mut model);
            rest = after;
        }
        let snapshot = Arc::new(model.snapshot());
        if dashboard.is_some() {
            app.tell(UiMessage::Snapshot(snapshot));
            screen(&mut app, 200, 60);
        } else {
            drop(snapshot);
        }
        peak = peak.max(ours + heap::peak() - before);
        ours = (ours + heap::now()).saturating_sub(before);
        if !more {
            return peak;
        }
    }
}

/// The same where each thread has its CPU, and some move; with `places`, each touches pages of two nodes from so many.
fn peak_at_home(threads: u32, places: u32, dashboard: Option<Window>) -> usize {
    let mut machine = Machine::new(threads);
    let mut events = Vec::new();
    machine.attach(&mut events);
    (0..2).for_each(|_| machine.round(&mut events));
    let model = machine.model();
    let mut script = Script::new(machine.setup(), events);
    let mut touched = places == 0;
    let mut next = |records: &mut Vec<u8>| {
        let status = script.next_batch(&mut |record| records.extend_from_slice(record)).expect("a possible script");
        if status == SourceStatus::Ended && !touched {
            touched = true;
            touches(&machine, places, records);
            return true;
        }
        status != SourceStatus::Ended
    };
    peak(model, &mut next, dashboard)
}

/// Records of page touches of every thread, and a tick.
fn touches(machine: &Machine, places: u32, records: &mut Vec<u8>) {
    /// Different texts: mappings and functions of one program.
    const TEXTS: u32 = 256;
    let at = machine.at + STEP;
    for id in 1..=TEXTS {
        let text = format!("program::function_{id:03}");
        let mut piece = [0; abi::PATH_PIECE];
        piece[..text.len()].copy_from_slice(text.as_bytes());
        let header = Words::header(at, 0, 0);
        records.extend(Words { header, id, offset: 0, total: text.len() as u16, piece }.as_bytes());
    }
    for n in 0..machine.threads {
        let (tid, tgid) = (FIRST + n, FIRST + n / 64 * 64);
        let home = (n % Machine512::CPUS / Machine512::OF_NODE) as u16;
        for page_node in [home, (home + 1) % 16] {
            let header = Touches::header(at, 0, 0);
            let counts = [1_000 + u64::from(n); abi::touch::COUNTS];
            let of_thread = Touches { header, tid, tgid, cpu_node: home, page_node, counts, ..Touches::default() };
            records.extend(of_thread.as_bytes());
        }
        for place in 0..places {
            let (mapping, symbol) = (1 + place % 4, 1 + (n + place) % TEXTS);
            let header = Where::header(at, 0, 0);
            let (local, remote) = (100 + u64::from(place), 10);
            let one = Where { header, tid, tgid, mapping, symbol, local, remote, ..Where::default() };
            records.extend(one.as_bytes());
        }
    }
    records.extend(Tick { header: Tick::header(at, 0, 0), wall_ns: at }.as_bytes());
}

/// The same where threads run everywhere for some seconds: four turns of each in a second, each on another CPU than the one before, woken by
/// another thread and behind a third; waits of all lengths, half of them after preemption.
fn peak_everywhere(threads: u32, seconds: u64, dashboard: Option<Window>) -> usize {
    const TURNS: u64 = 4;
    let model = Machine::new(threads).model();
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut below = move |limit: u32| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % u64::from(limit)) as u32
    };
    let mut second = 0;
    let mut next = |records: &mut Vec<u8>| {
        let begin = 1_000_000 + second * 1_000_000_000;
        for turn in 0..TURNS {
            for n in 0..threads {
                let at = begin + turn * 1_000_000_000 / TURNS + u64::from(n) * 10_000;
                let (cpu, other) = (below(Machine512::CPUS) as u16, below(Machine512::CPUS) as u16);
                let preempted = below(2) == 0;
                let woken = slice_flags::WAIT_WAKEUP | slice_flags::OUT_VOLUNTARY;
                let slice = Slice {
                    header: Slice::header(at, cpu, other),
                    wait_ns: (1_000 << below(13)) + u64::from(below(1_000)),
                    slice_ns: below(100_000_000).into(),
                    tid: FIRST + n,
                    tgid: FIRST,
                    waker: FIRST + below(threads),
                    seq: (second * TURNS + turn) as u32 + 1,
                    holder: FIRST + below(threads),
                    prev: FIRST + below(threads),
                    prev_ran: below(1_000),
                    queued_cpu: cpu,
                    flags: if preempted { slice_flags::WAIT_PREEMPTED } else { woken },
                };
                records.extend(slice.as_bytes());
            }
        }
        second += 1;
        let end = begin + 1_000_000_000;
        records.extend(Tick { header: Tick::header(end, 0, 0), wall_ns: end }.as_bytes());
        second < seconds
    };
    peak(model, &mut next, dashboard)
}

#[test]
fn memory_is_bounded_however_many_threads() {
    const THREADS: u32 = 10_000;
    /// Longer than a track, and on more CPUs than are kept of a thread.
    const SECONDS: u64 = 12;
    let check = |what: &str, bytes: usize, most: usize| {
        println!("{what}: {:.1} MiB, {:.1} MB", bytes as f64 / MIB as f64, bytes as f64 / 1e6);
        assert!(bytes <= most, "{what}: more than {} MiB", most / MIB);
    };
    // One after the other: the allocator counts for all threads of this program. 64 MB, not MiB.
    let goal = 64_000_000;
    check("10,000 threads, each on its CPU", peak_at_home(THREADS, 0, None), goal);
    check("10,000 threads everywhere", peak_everywhere(THREADS, SECONDS, None), goal);
    for window in [Window::Start, Window::Interval, Window::TenSeconds] {
        let what = format!("10,000 threads, each on its CPU, with the dashboard, window {}", window.name());
        check(&what, peak_at_home(THREADS, 0, Some(window)), goal);
    }
    // 64 places are the most that are kept of a thread.
    for (places, most, with_dashboard) in [(8, goal, goal * 3 / 2), (64, goal * 2, goal * 5 / 2)] {
        let what = format!("10,000 threads, each on its CPU, that touch pages from {places} places");
        check(&what, peak_at_home(THREADS, places, None), most);
        check(
            &format!("{what}, with the dashboard"),
            peak_at_home(THREADS, places, Some(Window::Start)),
            with_dashboard,
        );
    }
    // It shows one snapshot while the next is made.
    let everywhere = peak_everywhere(THREADS, SECONDS, Some(Window::Start));
    check("10,000 threads everywhere, with the dashboard", everywhere, 2 * goal);
    check("50,000 threads, each on its CPU", peak_at_home(50_000, 0, None), 5 * goal / 2);
}

/// A turn of a thread.
fn turn(tid: u32, seq: u32, cpu: u16, before: u16, slice_ns: u64) -> Slice {
    Slice {
        header: Slice::header(1_000_000 + u64::from(seq) * 1_000_000, cpu, before),
        slice_ns,
        tid,
        tgid: tid,
        seq,
        flags: slice_flags::OUT_VOLUNTARY,
        ..Slice::default()
    }
}

#[test]
fn of_a_thread_on_many_cpus_few_are_kept_and_sums_by_node_and_by_cpu_stay_exact() {
    let mut model = Machine::new(1).model();
    let (mut by_cpu, mut by_node) = (vec![0u64; Machine512::CPUS as usize], vec![0u64; 16]);
    let mut run = |model: &mut Model, tid: u32, turns: std::ops::Range<u32>| {
        for seq in turns {
            // Half of the turns are on one CPU.
            let cpu = if seq % 2 == 0 { 77 } else { seq * 7 % Machine512::CPUS };
            let ns = 1_000 + u64::from(seq);
            apply(turn(tid, seq, cpu as u16, 0, ns).as_bytes(), model);
            by_cpu[cpu as usize] += ns;
            by_node[(cpu / Machine512::OF_NODE) as usize] += ns;
        }
    };
    run(&mut model, 7, 1..1_000);
    // One that ends, and is in the sums alone once others have ended after it.
    let ended = Limits::default().max_exited as u32 + 1;
    (1_000..1_000 + ended).for_each(|tid| {
        run(&mut model, tid, 1..2);
        let header = Task::header(2_000_000_000, 0, 0);
        apply(Task { header, tid, tgid: tid, event: task_event::EXIT, ..Task::default() }.as_bytes(), &mut model);
    });
    let end = 3_000_000_000;
    apply(Tick { header: Tick::header(end, 0, 0), wall_ns: end }.as_bytes(), &mut model);
    let snapshot = model.snapshot();
    assert_eq!((snapshot.dropped_threads, snapshot.threads[0].tid.0), (1, 7));
    let stats = &snapshot.threads[0].stats;
    let kept: Vec<(u32, u64)> = stats.residency_cpu_ns.iter().collect();
    assert_eq!(kept.len(), 32);
    let heavy = kept.iter().find(|(cpu, _)| *cpu == 77).expect("it ran there half of its time");
    assert_eq!((heavy.1, stats.residency_ns.iter().sum::<u64>()), (by_cpu[77], stats.cpu_ns));
    let told: Vec<(u32, u64)> = snapshot.totals.residency_cpu_ns.iter().collect();
    let wanted: Vec<(u32, u64)> = (0..).zip(by_cpu).filter(|(_, ns)| *ns > 0).collect();
    assert_eq!((told, &snapshot.totals.residency_ns), (wanted, &by_node));
}

#[test]
fn threads_beyond_the_limit_are_refused_and_counted() {
    let most = Limits::default().max_threads as u32;
    let mut machine = Machine::new(most + 1_000);
    let model = play(&mut machine, 0, |_| {});
    let snapshot = model.snapshot();
    assert_eq!((snapshot.threads.len(), snapshot.refused_threads), (most as usize, 1_000));
}
