//! The end of a trace: what threads were doing, and what is known only then: when records were lost and sources saw nothing.

use std::io;

use numatrace_common::abi::{Totals, slice_flags};
use numatrace_common::wait::phase;

use super::Summary;
use super::convert::Converter;
use super::cpus::{Turn, state};
use super::packets::Packets;
use super::schema::{TYPE_INSTANT, TYPE_SLICE_BEGIN, TYPE_SLICE_END};
use super::threads::Known;
use super::tracks::{Category, Key, Name, Tracks, describe, push_description, track};
use super::waits::Wait;
use crate::snapshot::{Gap, LossInterval, Snapshot};

impl Converter<'_> {
    /// Writes what is left. `incomplete` says what of the recording could not be read.
    pub(super) fn finish(mut self, incomplete: Option<String>) -> io::Result<Summary> {
        for (tid, known) in self.threads.take() {
            self.still_open(tid, known);
        }
        self.cpus.finish(&mut self.packets);
        let snapshot = self.model.snapshot();
        self.losses(&snapshot);
        if let Some(sentence) = &incomplete {
            self.tracks.named(self.last_ts, TYPE_INSTANT, track::ROOT, Name::Incomplete, Category::Loss);
            self.tracks.sentence("what", sentence);
            self.tracks.push(&mut self.packets);
        }
        let (threads, refused) = (self.threads.lives(), self.threads.refused);
        let bytes = self.packets.finish()?;
        Ok(Summary { bytes, threads, refused, incomplete, ..self.summary })
    }

    /// What a thread was doing, where the last tick told: it goes on to the end of the trace.
    fn still_open(&mut self, tid: u32, mut known: Known) {
        let Some((totals, tick)) = known.open.take() else { return };
        // Told before the last tick, and not since: what it does is not known.
        if tick.saturating_add(1) < self.ticks {
            return;
        }
        let running = totals.phase == phase::RUNNING;
        if !running && totals.phase != phase::QUEUED {
            return;
        }
        let (began, ended) = match running {
            true => (totals.since.saturating_sub(totals.open_wait_ns), Some(totals.since)),
            false => (totals.since, None),
        };
        if totals.flags & slice_flags::WAIT_MASK != slice_flags::WAIT_NONE {
            let wait = wait(&totals, began, ended);
            let told = wait.tell(tid, &mut known, &self.model, &mut self.cpus, &mut self.tracks, &mut self.packets);
            self.summary.waits += u64::from(told && running);
        }
        if running {
            let turn = Turn {
                cpu: totals.header.cpu,
                tid,
                comm: self.model.name_of(tid).unwrap_or_default(),
                start: totals.since.max(self.start_ns),
                end: None,
                left: state::RUNNABLE,
                before: None,
            };
            self.summary.cut += u64::from(self.cpus.turn(&turn, &mut self.packets));
        }
    }

    fn losses(&mut self, snapshot: &Snapshot) {
        let Converter { tracks, packets, start_ns, .. } = self;
        if !snapshot.loss.intervals.is_empty() {
            push_description(describe(track::LOST, Some(track::ROOT), "records lost", -2), packets);
        }
        for lost in &snapshot.loss.intervals {
            loss(lost, *start_ns, tracks, packets);
        }
        for gap in &snapshot.gaps {
            not_seen(gap, *start_ns, tracks, packets);
        }
    }
}

fn wait(totals: &Totals, began: u64, ended: Option<u64>) -> Wait {
    Wait {
        began,
        ended,
        flags: totals.flags & slice_flags::WAIT_MASK,
        cpu: totals.header.cpu,
        queued_cpu: totals.queued_cpu,
        waker: totals.waker,
        holder: totals.holder,
        prev: (totals.prev, u64::from(totals.prev_ran) << 10),
        throttled_ns: 0,
    }
}

fn loss(lost: &LossInterval, start_ns: u64, tracks: &mut Tracks, packets: &mut Packets<'_>) {
    let (from, to) = (start_ns.saturating_add(lost.start_ns), start_ns.saturating_add(lost.end_ns));
    tracks.named(from, TYPE_SLICE_BEGIN, track::LOST, Name::Lost, Category::Loss);
    tracks.number(Key::Records, lost.lost);
    tracks.push(packets);
    tracks.event(to, TYPE_SLICE_END, track::LOST);
    tracks.push(packets);
}

/// Each CPU has a track for this, since times of two can overlap; Perfetto shows those with the same name as one.
fn not_seen(gap: &Gap, start_ns: u64, tracks: &mut Tracks, packets: &mut Packets<'_>) {
    let uuid = track::gap(gap.cpu);
    push_description(describe(uuid, Some(track::ROOT), "page touches not seen", -1), packets);
    let (from, to) = (start_ns.saturating_add(gap.start_ns), start_ns.saturating_add(gap.end_ns));
    tracks.named(from, TYPE_SLICE_BEGIN, uuid, Name::Gap, Category::Loss);
    tracks.number(Key::Cpu, gap.cpu.into());
    tracks.text(Key::Source, &gap.source);
    tracks.push(packets);
    tracks.event(to.max(from), TYPE_SLICE_END, uuid);
    tracks.push(packets);
}
