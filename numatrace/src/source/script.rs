//! A scripted kernel: scheduler events in, the records out that the probes would have written.
//!
//! It keeps the same [`TaskState`](numatrace_common::wait::TaskState) for each tracked thread as the probes and
//! drives it as they do, hook by hook; records go into rings that can be full, are drained on ticks and merged by
//! time like real ones. So loss, reordering and late records are real here, and whoever reads a script sees what
//! the kernel side and the user side make of it together.

mod kernel;

use serde::Deserialize;
use thiserror::Error;

use self::kernel::Kernel;
use super::{Source, SourceError, SourceStatus};

/// The machine that a script runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// CPUs of each ring. A CPU in none has no ring: its records are lost.
    pub rings: Vec<Vec<u16>>,
    /// Room in each ring; `None` is as much as is needed.
    pub ring_bytes: Option<usize>,
    /// When tracing begins, ns of `CLOCK_MONOTONIC`.
    pub start_ns: u64,
    /// The same moment, ns since the epoch.
    pub start_wall_ns: u64,
}

/// A command name: text, or any bytes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Comm {
    /// Readable.
    Text(String),
    /// Anything.
    Bytes(Vec<u8>),
}

impl Comm {
    fn bytes(&self) -> [u8; 16] {
        let bytes = match self {
            Comm::Text(text) => text.as_bytes(),
            Comm::Bytes(bytes) => bytes,
        };
        let mut comm = [0; 16];
        // The kernel keeps 15 bytes and a NUL.
        for (to, from) in comm.iter_mut().take(15).zip(bytes) {
            *to = *from;
        }
        comm
    }
}

/// What a thread is doing when tracking begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doing {
    /// On a CPU.
    Running,
    /// Runnable.
    Queued,
    /// Neither.
    Blocked,
}

/// Something happens. `at` is ns since the start; events are in order of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum KernelEvent {
    /// The task iterator begins to track an existing thread.
    Attach {
        at: u64,
        tid: u32,
        tgid: Option<u32>,
        comm: Option<Comm>,
        state: Doing,
        /// Where it runs or is queued.
        #[serde(default)]
        cpu: u16,
        /// How long it has been queued already, by the kernel's own stamp.
        #[serde(default)]
        queued_for: u64,
        /// Start time of the thread; by default its id, so that every id has one of its own.
        start: Option<u64>,
    },
    /// `sched_process_fork`. Tracked when the parent is.
    Fork { at: u64, parent: u32, tid: u32, tgid: Option<u32>, comm: Option<Comm>, start: Option<u64> },
    /// `sched_waking`: `by` is current on the CPU that wakes.
    Waking { at: u64, tid: u32, by: u32 },
    /// `sched_wakeup`, which queues the thread on `cpu`. Whether it is still on a CPU is known from the switches.
    Wakeup { at: u64, tid: u32, cpu: u16 },
    /// `sched_wakeup_new`.
    WakeupNew { at: u64, tid: u32, cpu: u16 },
    /// `sched_switch`. States are the kernel's: 0 running, 1 sleeping, 2 uninterruptible, 0x80 dead.
    Switch {
        at: u64,
        cpu: u16,
        prev: u32,
        next: u32,
        #[serde(default)]
        prev_state: u32,
        /// `__state` at the hook, where it differs from `prev_state`.
        state_now: Option<u32>,
        #[serde(default)]
        preempt: bool,
    },
    /// A CPU quota stops the queue of all threads on this CPU, or lets it go on.
    Stop { at: u64, cpu: u16, stopped: bool },
    /// `sched_move_numa` or `sched_swap_numa`.
    MoveNuma { at: u64, tid: u32 },
    /// `sched_migrate_task`, by `by` on `by_cpu`.
    Migrate {
        at: u64,
        tid: u32,
        from: u16,
        to: u16,
        /// `__state` of the thread.
        #[serde(default)]
        state: u32,
        #[serde(default)]
        on_rq: u32,
        #[serde(default)]
        by: u32,
        #[serde(default)]
        by_cpu: u16,
        /// `by` is `migration/N`.
        #[serde(default)]
        stopper: bool,
        /// The CPU it leaves goes offline.
        #[serde(default)]
        offline: bool,
    },
    /// `sched_process_exec`; `old_tid` when a thread that was not the leader became it.
    Exec { at: u64, tid: u32, comm: Comm, old_tid: Option<u32> },
    /// `task_rename`.
    Rename { at: u64, tid: u32, comm: Comm },
    /// The iterator finds that the filter no longer names the thread.
    Untrack { at: u64, tid: u32 },
    /// User space looked up a name.
    Name { at: u64, tid: u32, comm: Comm },
    /// An interval ends: counters, totals of what changed, counters, tick.
    Tick {
        at: u64,
        /// `false`: the totals of this interval are lost.
        #[serde(default = "yes")]
        totals: bool,
    },
    /// The rings take `skip` more records, then refuse `records`.
    Lose {
        at: u64,
        records: u32,
        #[serde(default)]
        skip: u32,
    },
    /// From now on one turn in `every`, a power of two, gets a record.
    Keep { at: u64, every: u32 },
    /// The reader of this ring stops, or comes back.
    Stall { at: u64, ring: usize, stalled: bool },
    /// The last two records of a ring stand in the other order: two CPUs reserved at the same moment.
    Swap { at: u64, ring: usize },
    /// These bytes appear in a ring.
    Garbage { at: u64, ring: usize, bytes: Vec<u8> },
}

const fn yes() -> bool {
    true
}

impl KernelEvent {
    /// When, ns since the start.
    pub const fn at(&self) -> u64 {
        use KernelEvent as E;
        match self {
            E::Attach { at, .. }
            | E::Fork { at, .. }
            | E::Waking { at, .. }
            | E::Wakeup { at, .. }
            | E::WakeupNew { at, .. }
            | E::Switch { at, .. }
            | E::Stop { at, .. }
            | E::MoveNuma { at, .. }
            | E::Migrate { at, .. }
            | E::Exec { at, .. }
            | E::Rename { at, .. }
            | E::Untrack { at, .. }
            | E::Name { at, .. }
            | E::Tick { at, .. }
            | E::Lose { at, .. }
            | E::Keep { at, .. }
            | E::Stall { at, .. }
            | E::Swap { at, .. }
            | E::Garbage { at, .. } => *at,
        }
    }
}

/// A script that no kernel could follow.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ScriptError {
    /// Time runs backwards.
    #[error("the event at {at} comes after one at {before}")]
    Order {
        /// Time of the event.
        at: u64,
        /// Time of the one before.
        before: u64,
    },
    /// A switch away from a thread that is not there.
    #[error("at {at}, CPU {cpu} switches away from {prev}, but runs {runs}")]
    NotThere {
        /// Time of the event.
        at: u64,
        /// The CPU.
        cpu: u16,
        /// Whom the script switches away from.
        prev: u32,
        /// Who is there.
        runs: u32,
    },
    /// There is no such ring.
    #[error("at {at}, there is no ring {ring}")]
    NoRing {
        /// Time of the event.
        at: u64,
        /// The ring.
        ring: usize,
    },
}

/// A [`Source`] that plays a script: one batch up to each tick, one more for what comes after the last.
#[derive(Debug)]
pub struct Script {
    kernel: Kernel,
    events: std::vec::IntoIter<KernelEvent>,
    before: u64,
}

impl Script {
    /// A script on a machine.
    pub fn new(setup: Setup, events: Vec<KernelEvent>) -> Script {
        Script { kernel: Kernel::new(setup), events: events.into_iter(), before: 0 }
    }

    /// Records that were given out after newer ones.
    pub const fn late(&self) -> u64 {
        self.kernel.merger().late()
    }
}

impl Source for Script {
    fn next_batch(&mut self, sink: &mut dyn FnMut(&[u8])) -> Result<SourceStatus, SourceError> {
        for event in self.events.by_ref() {
            let at = event.at();
            let before = std::mem::replace(&mut self.before, at);
            let done = if at < before { Err(ScriptError::Order { at, before }) } else { self.kernel.run(&event) };
            done.map_err(|cause| SourceError { operation: "play the script".into(), cause: cause.into() })?;
            if matches!(event, KernelEvent::Tick { .. }) {
                self.kernel.deliver(at, sink);
                return Ok(SourceStatus::More);
            }
        }
        self.kernel.finish(sink);
        Ok(SourceStatus::Ended)
    }

    fn undecodable(&self) -> u64 {
        self.kernel.merger().undecodable()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Event, decode};

    fn setup() -> Setup {
        Setup { rings: vec![vec![0], vec![1]], ring_bytes: None, start_ns: 1000, start_wall_ns: 0 }
    }

    fn play(events: Vec<KernelEvent>) -> Result<Vec<Event>, SourceError> {
        let mut script = Script::new(setup(), events);
        let mut out = Vec::new();
        while script.next_batch(&mut |record| out.push(decode(record).expect("a record")))? == SourceStatus::More {}
        Ok(out)
    }

    fn switch(at: u64, cpu: u16, prev: u32, next: u32, prev_state: u32) -> KernelEvent {
        KernelEvent::Switch { at, cpu, prev, next, prev_state, state_now: None, preempt: false }
    }

    #[test]
    fn records_come_in_the_order_of_the_probes() {
        let events = vec![
            KernelEvent::Attach {
                at: 0,
                tid: 7,
                tgid: None,
                comm: None,
                state: Doing::Blocked,
                cpu: 0,
                queued_for: 0,
                start: None,
            },
            KernelEvent::Wakeup { at: 10, tid: 7, cpu: 1 },
            switch(20, 1, 0, 7, 0),
            switch(50, 1, 7, 0, 0x80),
            KernelEvent::Tick { at: 60, totals: true },
        ];
        let kinds: Vec<String> = play(events)
            .expect("a possible script")
            .iter()
            .map(|event| format!("{event:?}").split('(').next().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(kinds, ["Task", "Totals", "Slice", "Totals", "Task", "Counters", "Counters", "Tick"]);
    }

    #[test]
    fn impossible_scripts_are_refused() {
        let cause = |events| play(events).expect_err("impossible").cause.to_string();
        assert_eq!(cause(vec![switch(5, 0, 9, 7, 0)]), "at 5, CPU 0 switches away from 9, but runs 0");
        let backwards = vec![switch(5, 0, 0, 7, 0), switch(4, 0, 7, 0, 0)];
        assert_eq!(cause(backwards), "the event at 4 comes after one at 5");
        assert_eq!(cause(vec![KernelEvent::Swap { at: 1, ring: 2 }]), "at 1, there is no ring 2");
    }
}
