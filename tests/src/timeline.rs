//! A recording in memory, made by a script: what a player needs, without a file.

use std::fs::File;

use numatrace::decode::{Event, decode};
use numatrace::model::{Limits, Meta, Model};
use numatrace::recording::writer::{Options, Recorder, WriteError, Written};
use numatrace::recording::{Head, Place, Reason, Timeline};
use numatrace::snapshot::{Host, HostNode, Snapshot, Target};
use numatrace::source::script::{Comm, Doing, KernelEvent, Script, Setup};
use numatrace::source::{Source, SourceError, SourceStatus, apply};
use numatrace::topology::{Cpu, Topology};
use numatrace::units::NodeId;

/// When tracing began, of `CLOCK_MONOTONIC` and since the epoch (2026-11-21T08:21:46Z), ns.
pub const START_NS: u64 = 5_000_000_000;
/// See [`START_NS`].
pub const START_WALL_NS: u64 = 1_795_249_306_000_000_000;

/// See the module.
#[derive(Clone, Debug)]
pub struct Memory {
    head: Head,
    records: Vec<Vec<u8>>,
    places: Vec<Place>,
    /// Records of each place but the last.
    per_place: usize,
    /// Position of the next record.
    next: usize,
    /// What [`Timeline::incomplete`] says.
    pub incomplete: Option<String>,
    /// Pieces that are no records stand behind some ticks.
    pub noisy: bool,
    pieces: u64,
    /// Number of the record that cannot be read.
    pub fails_at: Option<usize>,
}

impl Memory {
    /// Plays a script to its end. A place has so many records, wherever that cuts batches.
    ///
    /// # Panics
    /// When no kernel could follow the script.
    pub fn new(events: Vec<KernelEvent>, per_place: usize) -> Memory {
        let setup =
            Setup { rings: vec![vec![0, 1]], ring_bytes: None, start_ns: START_NS, start_wall_ns: START_WALL_NS };
        let mut script = Script::new(setup, events);
        let mut records = Vec::new();
        let mut take = |record: &[u8]| records.push(record.to_vec());
        while script.next_batch(&mut take).expect("a possible script") == SourceStatus::More {}
        let places = records.chunks(per_place.max(1)).map(place).collect();
        Memory {
            head: head(),
            records,
            places,
            per_place: per_place.max(1),
            next: 0,
            incomplete: None,
            noisy: false,
            pieces: 0,
            fails_at: None,
        }
    }

    /// The same as a file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, file: File, options: Options) -> Result<Written, WriteError> {
        let mut recorder = Recorder::new(file, &self.head, options)?;
        for record in &self.records {
            recorder.push(record);
            if let Ok(Event::Tick(tick)) = decode(record) {
                recorder.up_to(tick.header.ts);
            }
        }
        recorder.finish(Reason::Stopped).map_err(|(error, _)| error)
    }

    /// Its records.
    pub fn records(&self) -> &[Vec<u8>] {
        &self.records
    }

    /// Time of each tick, ns since the start, and everything then, by applying all records from the start.
    pub fn by_tick(&self) -> Vec<(u64, Snapshot)> {
        let mut model = Model::new(self.head.meta.clone(), self.head.topology.clone(), Limits::default());
        let mut all = Vec::new();
        for (at, record) in self.records.iter().enumerate() {
            apply(record, &mut model);
            if let Ok(Event::Tick(tick)) = decode(record) {
                // As the live engine does, once the batch is in.
                model.note_undecodable(self.pieces_behind(at));
                all.push((tick.header.ts - START_NS, model.snapshot()));
            }
        }
        all
    }

    /// How many pieces that are no records stand behind this one, a tick.
    fn pieces_behind(&self, record: usize) -> u64 {
        if self.noisy && record.is_multiple_of(3) { 2 } else { 0 }
    }
}

fn place(records: &[Vec<u8>]) -> Place {
    let mut place = Place::default();
    for event in records.iter().filter_map(|record| decode(record).ok()) {
        if place.first_ts == 0 {
            place.first_ts = event.ts();
        }
        place.last_ts = event.ts();
        if let Event::Slice(slice) = event
            && slice.wait_ns > place.worst_wait_ns
        {
            (place.worst_wait_ns, place.worst_ts) = (slice.wait_ns, event.ts());
        }
    }
    place
}

fn head() -> Head {
    let cpu = |id: u32| Cpu { id, online: true, node: Some(id as usize), core: id, llc: id };
    let node = |id: u32| HostNode { id: NodeId(id), cpus: vec![id], memory_bytes: 1 << 30 };
    let topology = Topology {
        cpus: vec![cpu(0), cpu(1)],
        nodes: vec![node(0), node(1)],
        distances: vec![vec![10, 21], vec![21, 10]],
    };
    let target = Target { kind: "pid".into(), label: "pid 4711 (scripted)".into(), ids: vec![4711] };
    let host =
        Host { cpus: 2, nodes: topology.nodes.clone(), distances: topology.distances.clone(), ..Host::default() };
    let meta = Meta { host, target, start_ns: START_NS, start_wall_ns: START_WALL_NS, ..Meta::default() };
    Head { tool: "test".into(), meta, topology, ..Head::default() }
}

impl Source for Memory {
    fn next_batch(&mut self, sink: &mut dyn FnMut(&[u8])) -> Result<SourceStatus, SourceError> {
        while let Some(record) = self.records.get(self.next) {
            if self.fails_at == Some(self.next) {
                return Err(SourceError { operation: "read frame 7".into(), cause: "it is damaged".into() });
            }
            self.next += 1;
            sink(record);
            if matches!(decode(record), Ok(Event::Tick(_))) {
                self.pieces += self.pieces_behind(self.next - 1);
                if self.next < self.records.len() {
                    return Ok(SourceStatus::More);
                }
            }
        }
        Ok(SourceStatus::Ended)
    }

    fn undecodable(&self) -> u64 {
        self.pieces
    }
}

impl Timeline for Memory {
    fn head(&self) -> &Head {
        &self.head
    }

    fn places(&self) -> &[Place] {
        &self.places
    }

    fn go_to(&mut self, place: usize) -> Result<(), SourceError> {
        self.next = place * self.per_place;
        Ok(())
    }

    fn at(&self) -> (usize, u64) {
        (self.next / self.per_place, (self.next % self.per_place) as u64)
    }

    fn incomplete(&self) -> Option<String> {
        self.incomplete.clone()
    }
}

/// What happens between two ticks of a [`scripted`] run.
#[derive(Clone, Copy, Debug)]
pub struct Interval {
    /// How long it is.
    pub ms: u64,
    /// How many waits of a thread end in it.
    pub waits: u64,
    /// How long each of them is, in percent of the time that there is for each.
    pub share: u64,
}

/// Three threads that wait for CPU 0 in turn, and one that has CPU 1; a tick at the end of each interval.
pub fn scripted(intervals: &[Interval]) -> Vec<KernelEvent> {
    let (queued_for, tgid) = (0, Some(4711));
    let attach = |tid: u32, comm: &str, state, cpu| {
        let comm = Some(Comm::Text(comm.into()));
        KernelEvent::Attach { at: 0, tid, tgid, comm, state, cpu, queued_for, start: None }
    };
    let mut events = vec![
        attach(10, "waits-0", Doing::Blocked, 0),
        attach(11, "waits-1", Doing::Blocked, 0),
        attach(12, "waits-2", Doing::Blocked, 0),
        attach(20, "spins", Doing::Running, 1),
    ];
    let (mut at, mut nth) = (0, 0);
    for interval in intervals {
        let room = interval.ms * 1_000_000 / (interval.waits + 1);
        for wait in 0..interval.waits {
            let (from, tid) = (at + wait * room, 10 + nth % 3);
            let (ran, done) = (from + room * interval.share / 100, from + room - 2);
            nth += 1;
            let switch = |at, prev, next, prev_state| KernelEvent::Switch {
                at,
                cpu: 0,
                prev,
                next,
                prev_state,
                state_now: None,
                preempt: false,
            };
            events.extend([
                KernelEvent::Waking { at: from + 1, tid, by: 20 },
                KernelEvent::Wakeup { at: from + 1, tid, cpu: 0 },
                switch(ran.max(from + 1), 0, tid, 0),
                switch(done.max(ran + 1), tid, 0, 1),
            ]);
        }
        at += interval.ms * 1_000_000;
        events.push(KernelEvent::Tick { at, totals: true });
    }
    events
}
