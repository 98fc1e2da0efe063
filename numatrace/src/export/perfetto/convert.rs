//! Records to packets, one after the other.

use std::borrow::Cow;
use std::io::{self, Write};

use numatrace_common::abi::{Migrate, NO_TID, Slice, Task, Totals, slice_flags, task_event};
use numatrace_common::cause::Cause;

use super::Summary;
use super::counters::Counters;
use super::cpus::{Cpus, Turn, state};
use super::head;
use super::packets::Packets;
use super::schema::TYPE_INSTANT;
use super::threads::{Threads, name_task, with_track};
use super::tracks::{Category, Key, Name, Tracks, track};
use super::waits::{Wait, tell_who};
use crate::decode::{Event, decode};
use crate::model::{Limits, Model};
use crate::recording::Head;
use crate::topology::{Level, Topology};
use crate::words;

/// Ties together what belongs to one move between nodes: these numbers are none of another trace in the same file.
const FIRST_FLOW: u64 = 0x4e75_6d61 << 32;

/// See the module.
pub(super) struct Converter<'a> {
    pub(super) model: Model,
    pub(super) topology: Topology,
    pub(super) start_ns: u64,
    /// What a thread is told to be that was switched out although it could go on.
    preempted: i64,
    pub(super) packets: Packets<'a>,
    pub(super) cpus: Cpus,
    pub(super) threads: Threads,
    pub(super) tracks: Tracks,
    counters: Counters,
    flows: u64,
    pub(super) ticks: u64,
    pub(super) last_ts: u64,
    pub(super) summary: Summary,
}

impl<'a> Converter<'a> {
    pub(super) fn new(head: &Head, out: &'a mut dyn Write) -> Converter<'a> {
        let mut packets = Packets::new(out);
        let mut tracks = Tracks::new();
        head::write(head, &mut tracks, &mut packets);
        let counters = Counters::new(&head.meta, head.topology.nodes.len());
        counters.describe(&mut packets);
        Converter {
            model: Model::new(head.meta.clone(), head.topology.clone(), Limits::default()),
            topology: head.topology.clone(),
            start_ns: head.meta.start_ns,
            preempted: state::preempted(&head.meta.host.kernel),
            packets,
            cpus: Cpus::new(),
            threads: Threads::default(),
            tracks,
            counters,
            flows: 0,
            ticks: 0,
            last_ts: head.meta.start_ns,
            summary: Summary::default(),
        }
    }

    /// Takes in a record.
    pub(super) fn record(&mut self, record: &[u8]) {
        let Ok(event) = decode(record) else {
            self.model.note_undecodable(1);
            return;
        };
        // First, so that it knows names.
        self.model.apply(&event);
        match &event {
            Event::Slice(slice) => self.slice(slice),
            Event::Migrate(migrate) => self.migrate(migrate),
            Event::Task(task) => self.task(task),
            Event::Totals(totals) => self.totals(totals),
            Event::Touches(touches) => self.counters.touches(touches),
            Event::Tick(tick) => {
                self.ticks += 1;
                self.last_ts = self.last_ts.max(tick.header.ts);
                self.counters.tick(tick.header.ts, &mut self.tracks, &mut self.packets);
            }
            _ => {}
        }
    }

    /// Counts pieces that were no records.
    pub(super) fn undecodable(&mut self, pieces: u64) {
        self.model.note_undecodable(pieces);
    }

    /// Fails when something could not be written.
    pub(super) fn check(&mut self) -> io::Result<()> {
        self.packets.check()
    }

    fn slice(&mut self, slice: &Slice) {
        let end = slice.header.ts;
        let began = end.saturating_sub(slice.slice_ns);
        self.last_ts = self.last_ts.max(end);
        self.counters.slice(slice);
        let comm = self.model.name_of(slice.tid).unwrap_or_default();
        let known = self.threads.get((slice.tid, slice.tgid), end, comm, &mut self.packets);
        if let Some(known) = known {
            let wait = Wait {
                began: began.saturating_sub(slice.wait_ns),
                ended: Some(began),
                flags: slice.flags,
                cpu: slice.header.cpu,
                queued_cpu: slice.queued_cpu,
                waker: slice.waker,
                holder: slice.holder,
                prev: (slice.prev, u64::from(slice.prev_ran) << 10),
                throttled_ns: slice_flags::throttled_ns(slice.flags, slice.wait_ns),
            };
            let told = wait.tell(slice.tid, known, &self.model, &mut self.cpus, &mut self.tracks, &mut self.packets);
            self.summary.waits += u64::from(told);
            known.made = false;
        }
        self.turn(slice, began.max(self.start_ns.min(end)));
        self.moved(slice, began);
        if let Some(known) = self.threads.known(slice.tid)
            && known.is_newer(slice.seq)
        {
            (known.last_end, known.last_seq, known.last_cpu) = (end, slice.seq, slice.header.cpu);
            known.open = None;
        }
    }

    /// The turn, on the track of its CPU.
    fn turn(&mut self, slice: &Slice, start: u64) {
        self.summary.turns += 1;
        if !Cpus::has(slice.header.cpu) {
            self.summary.without_cpu += 1;
            return;
        }
        let before = (slice.prev != NO_TID)
            .then(|| (slice.prev, self.model.name_of(slice.prev).unwrap_or_default(), u64::from(slice.prev_ran) << 10));
        let left = match slice.flags {
            flags if flags & slice_flags::OUT_DEAD != 0 => state::DEAD,
            flags if flags & slice_flags::OUT_RUNNABLE == 0 => state::SLEEPING,
            flags if flags & slice_flags::OUT_PREEMPT != 0 => self.preempted,
            _ => state::RUNNABLE,
        };
        let turn = Turn {
            cpu: slice.header.cpu,
            tid: slice.tid,
            comm: self.model.name_of(slice.tid).unwrap_or_default(),
            start,
            end: Some(slice.header.ts),
            left,
            before,
        };
        self.summary.cut += u64::from(self.cpus.turn(&turn, &mut self.packets));
    }

    /// Position of a CPU's node, as the model takes it.
    fn node(&self, cpu: u16) -> Option<usize> {
        self.topology.node_of(cpu.into()).filter(|node| *node < self.topology.nodes.len())
    }

    /// A turn on another node than the turn before: an arrow between the nodes, from the end of the one to the start of the
    /// other.
    fn moved(&mut self, slice: &Slice, began: u64) {
        let (cpu, before) = (slice.header.cpu, slice.header.cpu2);
        let nodes = (cpu != before).then(|| self.node(before).zip(self.node(cpu))).flatten();
        let known = self.threads.known(slice.tid);
        let flow = known.as_ref().map_or(0, |known| known.flow);
        let left = known.as_ref().filter(|known| known.last_end > 0 && known.last_seq.wrapping_add(1) == slice.seq);
        let left = left.map(|known| known.last_end);
        if let Some(known) = known {
            known.flow = 0;
        }
        let Some((from, to)) = nodes.filter(|(from, to)| from != to) else { return };
        self.summary.node_moves += 1;
        let flow = if flow == 0 { next_flow(&mut self.flows) } else { flow };
        let comm = self.model.name_of(slice.tid).unwrap_or_default();
        let name = if comm.is_empty() { Cow::Owned(format!("thread {}", slice.tid)) } else { Cow::Borrowed(comm) };
        let ends = left.map(|ts| (ts, from)).into_iter().chain([(began, to)]);
        for (ts, node) in ends {
            let event = self.tracks.called(ts, TYPE_INSTANT, track::node(node), &name, Category::NodeMove);
            event.flow_ids.push(flow);
            self.tracks.number(Key::Tid, slice.tid.into());
            self.tracks.number(Key::FromCpu, before.into());
            self.tracks.number(Key::ToCpu, cpu.into());
            if let Some(left) = left {
                self.tracks.number(Key::Away, began.saturating_sub(left));
            }
            self.tracks.push(&mut self.packets);
        }
    }

    fn migrate(&mut self, migrate: &Migrate) {
        let ts = migrate.header.ts;
        self.last_ts = self.last_ts.max(ts);
        let (from, to) = (migrate.header.cpu, migrate.header.cpu2);
        let level = self.topology.level(from.into(), to.into());
        let crosses = level == Some(Level::CrossNode);
        self.counters.migrate(crosses);
        let nodes = [self.node(from), self.node(to)];
        let comm = self.model.name_of(migrate.tid).unwrap_or_default();
        let Some(known) = self.threads.get((migrate.tid, migrate.tgid), ts, comm, &mut self.packets) else { return };
        let uuid = with_track(migrate.tid, known, &mut self.packets);
        let name = if crosses { Name::CrossNode } else { Name::Migration };
        let event = self.tracks.named(ts, TYPE_INSTANT, uuid, name, Category::Migration);
        if crosses {
            if known.flow == 0 {
                known.flow = next_flow(&mut self.flows);
            }
            event.flow_ids.push(known.flow);
        }
        self.tracks.text(Key::Cause, words::cause(Cause::from_number(migrate.cause)));
        if let Some(level) = level {
            self.tracks.text(Key::Level, level.name());
        }
        self.tracks.number(Key::FromCpu, from.into());
        self.tracks.number(Key::ToCpu, to.into());
        for (key, node) in [Key::FromNode, Key::ToNode].into_iter().zip(nodes) {
            if let Some(node) = node.and_then(|position| self.topology.nodes.get(position)) {
                self.tracks.number(key, node.id.0.into());
            }
        }
        tell_who(&mut self.tracks, &self.model, (Key::By, Key::ByTid), migrate.by);
        self.tracks.push(&mut self.packets);
        self.summary.migrations += 1;
    }

    fn task(&mut self, task: &Task) {
        let (ts, tid) = (task.header.ts, task.tid);
        let comm = crate::text::display_comm(&task.comm);
        match task.event {
            task_event::EXIT => {
                let gone = self.threads.remove(tid);
                // Behind its last switch.
                let ts = ts.max(gone.as_ref().map_or(0, |known| known.last_end.saturating_add(1)));
                let cpu = gone.map_or(task.header.cpu, |known| known.last_cpu);
                // The end of a first thread is that of its process for Perfetto, and the kernel frees it last.
                if tid != task.tgid || !self.threads.has_others(tid) {
                    self.cpus.freed(cpu, ts, tid, &comm, &mut self.packets);
                }
            }
            task_event::NEW => {
                // One whose end was not seen.
                self.threads.remove(tid);
                let maker = if task.parent == NO_TID { 0 } else { task.parent };
                let ids = (tid, task.tgid, maker);
                self.cpus.newtask(task.header.cpu, ts, ids, &comm, &mut self.packets);
                if let Some(known) = self.threads.meet(tid, task.tgid) {
                    known.made = true;
                }
                // Not at the same moment: it could be told first, and then it would be of whoever had the id before.
                name_task(ts.saturating_add(1), task, &comm, &mut self.packets);
            }
            task_event::SEEN | task_event::EXEC | task_event::RENAME => {
                self.threads.meet(tid, task.tgid);
                name_task(ts, task, &comm, &mut self.packets);
            }
            task_event::UNTRACKED => {
                // What it does is not known from here on; when it is tracked again, its turns are numbered anew.
                if let Some(known) = self.threads.known(tid) {
                    (known.last_seq, known.open) = (0, None);
                }
            }
            _ => {}
        }
    }

    fn totals(&mut self, totals: &Totals) {
        let ticks = self.ticks;
        let comm = self.model.name_of(totals.tid).unwrap_or_default();
        let ids = (totals.tid, totals.tgid);
        let Some(known) = self.threads.get(ids, totals.header.ts, comm, &mut self.packets) else { return };
        // Older than a turn that came since.
        if (totals.seq.wrapping_sub(known.last_seq) as i32) < 0 && known.last_seq != 0 {
            return;
        }
        match &mut known.open {
            Some((open, tick)) => (**open, *tick) = (*totals, ticks),
            None => known.open = Some((Box::new(*totals), ticks)),
        }
    }
}

fn next_flow(flows: &mut u64) -> u64 {
    *flows += 1;
    FIRST_FLOW + *flows
}
