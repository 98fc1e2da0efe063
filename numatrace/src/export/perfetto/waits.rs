//! Waits, on the tracks of their threads and as what makes threads runnable.

use numatrace_common::abi::{NO_CPU, NO_TID, slice_flags};

use super::cpus::{Cpus, Waking};
use super::packets::Packets;
use super::schema::{TYPE_SLICE_BEGIN, TYPE_SLICE_END};
use super::threads::{Known, with_track};
use super::tracks::{Category, Key, Name, Tracks};
use crate::model::Model;

/// A wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    pub(super) began: u64,
    /// `None` where it goes on.
    pub(super) ended: Option<u64>,
    pub(super) flags: u16,
    pub(super) cpu: u16,
    pub(super) queued_cpu: u16,
    pub(super) waker: u32,
    pub(super) holder: u32,
    /// Who ran right before, and for how long at that moment.
    pub(super) prev: (u32, u64),
    pub(super) throttled_ns: u64,
}

impl Wait {
    /// Tells it; `false` where there was none.
    pub(super) fn tell(
        &self,
        tid: u32,
        known: &mut Known,
        model: &Model,
        cpus: &mut Cpus,
        tracks: &mut Tracks,
        packets: &mut Packets<'_>,
    ) -> bool {
        let kind = self.flags & slice_flags::WAIT_MASK;
        let name = match kind {
            slice_flags::WAIT_NONE => return false,
            slice_flags::WAIT_WAKEUP => Name::WaitWakeup,
            slice_flags::WAIT_PREEMPTED => Name::WaitPreempted,
            _ => Name::WaitNew,
        };
        // Perfetto makes a new thread runnable by itself, and one that was preempted.
        if kind == slice_flags::WAIT_WAKEUP || (kind == slice_flags::WAIT_NEW && !known.made) {
            // At the same moment it would be told as awake before it fell asleep.
            let after = if known.last_end == self.began { self.began.saturating_add(1) } else { self.began };
            let ts = after.min(self.ended.unwrap_or(after));
            let cpu = if Cpus::has(self.queued_cpu) { self.queued_cpu } else { self.cpu };
            let waker = if self.waker == NO_TID { 0 } else { self.waker };
            let comm = model.name_of(tid).unwrap_or_default();
            cpus.waking(&Waking { ts, cpu, tid, comm, waker }, packets);
        }
        let uuid = with_track(tid, known, packets);
        let began = known.wait_begins((self.began, self.ended.unwrap_or(u64::MAX)));
        tracks.named(began, TYPE_SLICE_BEGIN, uuid, name, Category::Wait);
        self.annotate(model, tracks);
        tracks.push(packets);
        if let Some(ended) = self.ended.map(|ended| ended.max(began)) {
            if ended >= known.waited.1 {
                known.waited = (began, ended);
            }
            tracks.event(ended, TYPE_SLICE_END, uuid);
            tracks.push(packets);
        }
        true
    }

    fn annotate(&self, model: &Model, tracks: &mut Tracks) {
        tell_who(tracks, model, (Key::Waker, Key::WakerTid), self.waker);
        if self.queued_cpu != NO_CPU {
            tracks.number(Key::QueuedCpu, self.queued_cpu.into());
        }
        if self.ended.is_some() && self.cpu != NO_CPU {
            tracks.number(Key::Cpu, self.cpu.into());
        }
        tell_who(tracks, model, (Key::Holder, Key::HolderTid), self.holder);
        let (prev, ran_ns) = self.prev;
        if prev != NO_TID {
            tell_who(tracks, model, (Key::Prev, Key::PrevTid), prev);
            tracks.number(Key::PrevRan, ran_ns);
        }
        if self.throttled_ns > 0 {
            tracks.number(Key::Throttled, self.throttled_ns);
        }
    }
}

/// Name and id of another thread, as far as they are known.
pub(super) fn tell_who(tracks: &mut Tracks, model: &Model, (name, id): (Key, Key), tid: u32) {
    if tid == NO_TID {
        return;
    }
    if let Some(comm) = model.name_of(tid) {
        tracks.text(name, comm);
    }
    tracks.number(id, tid.into());
}
