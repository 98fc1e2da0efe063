//! A recording that begins in the middle of a trace: what a thread had counted by then is not of the recording.
//!
//! The kernel goes on counting from where it was, so what it had counted is taken off whatever it says later. The turn
//! that had not ended then, with the blocked time and the wait before it, is counted by the kernel when it ends: of its
//! time on the CPU and of its blocked time only the part after the beginning is of the recording. Its wait is, as a whole,
//! as that of a thread that waits when tracing begins.
//!
//! ```text
//!            counted          | open: part of turn seq + 1
//!   --- turn seq - 1 --- turn seq ---######.......|---- turn seq + 2 ---
//!                                         ^ the recording begins; # is taken off, . counts
//! ```

use numatrace_common::abi::{Header, NO_CPU, NO_TID, Slice, Throttled, Totals, kind, slice_flags};

use super::{End, Open, OpenTime, Tracked, after};
use crate::model::numbers::Sums;

/// What is not of the recording.
#[derive(Clone, Debug)]
pub(super) struct Base {
    /// The newest turn that had ended.
    seq: u32,
    /// Sums over turns up to that one.
    counted: Sums,
    /// What was open, of the next one: time on the CPU and blocked.
    open: Sums,
    unseen: u64,
}

impl Base {
    /// A turn as far as it is of the recording, with the blocked time before it.
    #[inline]
    pub(super) fn rest_of(&self, turn: &Slice, blocked_ns: u64) -> (Slice, u64) {
        if turn.seq != self.seq.wrapping_add(1) {
            return (*turn, blocked_ns);
        }
        let slice_ns = turn.slice_ns.saturating_sub(self.open.cpu_ns);
        (Slice { slice_ns, ..*turn }, blocked_ns.saturating_sub(self.open.blocked_ns))
    }

    /// The kernel's sums up to the turn `seq`, as far as they are of the recording.
    pub(super) fn rest_of_sums(&self, seq: u32, sums: &Sums) -> Sums {
        let rest = sums.less(&self.counted);
        if after(seq, self.seq) { rest.less(&self.open) } else { rest }
    }

    /// What was open then, where `latest` is the newest turn that ended and it is open still.
    pub(super) fn open_of(&self, latest: u32) -> Option<&Sums> {
        (latest == self.seq).then_some(&self.open)
    }

    /// What is open, as far as it is of the recording.
    pub(super) fn rest_of_open(&self, latest: u32, open: OpenTime) -> OpenTime {
        let Some(not_ours) = self.open_of(latest) else { return open };
        OpenTime {
            cpu_ns: open.cpu_ns.saturating_sub(not_ours.cpu_ns),
            blocked_ns: open.blocked_ns.saturating_sub(not_ours.blocked_ns),
            ..open
        }
    }

    /// The throttled part of waits that had ended.
    pub(super) const fn throttled_ns(&self) -> u64 {
        self.counted.throttled_ns
    }

    /// Transitions that were not seen, out of all of them.
    pub(super) fn rest_of_unseen(&self, unseen: u64) -> u64 {
        unseen.saturating_sub(self.unseen)
    }
}

impl Tracked {
    /// A recording begins with these. They come before everything else that is counted of the thread, or change nothing.
    pub(in crate::model) fn begin_with(&mut self, totals: &Totals) {
        let counted = (self.latest, self.latest_migration) != (0, 0) || self.numbers.sums != Sums::default();
        if counted || self.base.is_some() || self.end.is_some() {
            return;
        }
        (self.covered, self.latest, self.latest_migration) = (totals.seq, totals.seq, totals.migrations);
        self.tell(totals);
        let open = self.open_at(totals.header.ts, 0);
        self.base = Some(Box::new(Base {
            seq: totals.seq,
            counted: Sums::of_totals(totals),
            open: Sums { cpu_ns: open.cpu_ns, blocked_ns: open.blocked_ns, ..Sums::default() },
            unseen: totals.resyncs.into(),
        }));
        if totals.flags & slice_flags::OUT_DEAD != 0 {
            self.ended(End::Exited, totals.header.ts);
        }
    }

    /// What belongs to them.
    pub(in crate::model) fn begin_throttled_with(&mut self, throttled: &Throttled) {
        if let Some(base) = self.base.as_mut().filter(|base| base.seq == throttled.seq && self.latest == base.seq) {
            base.counted.throttled_ns = throttled.throttled_ns;
            if self.end.is_none() {
                self.open.throttled_ns = throttled.open_ns;
            }
        }
    }

    /// What belongs to [`Tracked::base_totals`]; `None` where there is nothing to tell.
    pub(in crate::model) fn base_throttled(&self, totals: &Totals) -> Option<Throttled> {
        let (throttled_ns, open_ns) = (self.kernels_sums().throttled_ns, self.open.throttled_ns);
        (throttled_ns > 0 || open_ns > 0).then(|| Throttled {
            header: Header { kind: kind::THROTTLED_BASE, ..Throttled::header(totals.header.ts, totals.header.cpu, 0) },
            tid: totals.tid,
            tgid: totals.tgid,
            seq: totals.seq,
            reserved: 0,
            throttled_ns,
            open_ns,
        })
    }

    /// The same for a recording that begins at `now`, the last tick; `before` is the tick before it. What the model does
    /// not keep of an open wait (who woke the thread, who runs instead) is not known.
    ///
    /// `header.ts` is the moment up to which it is known what the thread does: earlier than `now` for one whose last records
    /// were lost. For one whose last turn has ended it is the end of that, and `flags` has `OUT_DEAD`.
    pub(in crate::model) fn base_totals(&self, now: u64, before: u64) -> Totals {
        let (ts, dead) = match self.end {
            Some((_, at)) => (at, slice_flags::OUT_DEAD),
            None if self.is_stale(before) => (self.open.told, 0),
            None => (now, 0),
        };
        let Open { phase, since, wait_ns, blocked_ns, preempted, .. } = self.open;
        let sums = self.kernels_sums();
        let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        Totals {
            header: Header { kind: kind::TOTALS_BASE, ..Totals::header(ts, self.cpu, 0) },
            tid: self.tid,
            tgid: self.tgid,
            seq: self.latest,
            phase,
            flags: dead | if preempted { slice_flags::WAIT_PREEMPTED } else { slice_flags::WAIT_NONE },
            since,
            open_wait_ns: wait_ns,
            open_blocked_ns: blocked_ns,
            waker: NO_TID,
            holder: NO_TID,
            prev: NO_TID,
            prev_ran: 0,
            cpu_ns: sums.cpu_ns,
            blocked_ns: sums.blocked_ns,
            wakeup_ns: sums.wakeup_ns,
            wakeup_count: sums.wakeup_count,
            preempted_ns: sums.preempted_ns,
            preempted_count: sums.preempted_count,
            voluntary: sums.voluntary,
            involuntary: sums.involuntary,
            migrations: self.latest_migration,
            lost: 0,
            resyncs: number(self.numbers.unseen.saturating_add(self.base.as_ref().map_or(0, |base| base.unseen))),
            last_cpu: NO_CPU,
            queued_cpu: NO_CPU,
        }
    }

    /// The sums as the kernel has them, as far as is known: since it began to track the thread.
    fn kernels_sums(&self) -> Sums {
        let mut sums = self.carried.as_ref().map_or(self.numbers.sums, |carried| self.numbers.sums.less(carried));
        if let Some(base) = &self.base {
            sums.add(&base.counted);
            if after(self.latest, base.seq) {
                sums.add(&base.open);
            }
        }
        sums
    }
}
