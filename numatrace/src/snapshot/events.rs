//! Events that are worth a line of their own, interval by interval: what the Events tab lists. Not part of schema 1.

use std::sync::Arc;

use numatrace_common::cause::Cause;

use crate::units::Tid;

/// Most events of an interval: those of each kind have a bound of their own, and these are their sum.
pub const MAX_EVENTS: usize = 496;

/// What happened from one tick to the next, as far as it is told: which events are is written down in docs/metrics.md.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interval {
    /// Number of the tick that ended it, from 1: it tells intervals of a trace apart.
    pub number: u64,
    /// When it began, ns since the start of tracing.
    pub start_ns: u64,
    /// When it ended.
    pub end_ns: u64,
    /// How many events there were.
    pub seen: Seen,
    /// Those that are told, in order of time, at most [`MAX_EVENTS`].
    pub events: Vec<Event>,
}

/// How many events of each kind there were, those that are not told included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Waits for a CPU that ended.
    pub waits: u64,
    /// Migrations between nodes.
    pub cross_node: u64,
    /// All other migrations.
    pub migrations: u64,
    /// Threads that started, ended, changed their program, or ceased to be targets.
    pub lives: u64,
    /// Gaps of sources.
    pub gaps: u64,
    /// Intervals with lost records: 1 or 0.
    pub losses: u64,
    /// Places in the code from which page touches came.
    pub places: u64,
}

impl Seen {
    /// All of them.
    pub fn total(&self) -> u64 {
        let all = [self.waits, self.cross_node, self.migrations, self.lives, self.gaps, self.losses, self.places];
        crate::units::sum(&all)
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When it happened, ns since the start of tracing; of a wait, when it ended.
    pub time_ns: u64,
    /// Whose it is; `None` where it is nobody's.
    pub thread: Option<Who>,
    /// The thread's first record, as in [`super::Thread::born_ns`]: tells owners of an id apart.
    pub born_ns: u64,
    /// The CPU; of a migration, the one that it went to.
    pub cpu: Option<u32>,
    /// What happened.
    pub what: What,
}

/// A thread, by id and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// Its id: 0 is the idle task, or an interrupt while idle.
    pub tid: Tid,
    /// Its name as it was known when the interval ended; empty where it was not.
    pub name: Arc<str>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// It got a CPU after a wait.
    Wait {
        /// How long it had waited.
        ns: u64,
        /// It had been switched out while runnable; else it had been woken.
        preempted: bool,
        /// Who woke it, where that is known.
        waker: Option<Who>,
        /// Who had the CPU for most of the wait, as far as is known.
        behind: Option<Who>,
    },
    /// It was moved to another CPU.
    Migration {
        /// The CPU that it left.
        from: u32,
        /// That is on another node.
        cross_node: bool,
        /// Why.
        cause: Cause,
    },
    /// It started.
    Started,
    /// It ended.
    Exited,
    /// It changed its program.
    Exec,
    /// It is no target any more.
    Untracked,
    /// It touched pages from this place in the code, since the last time that places were told.
    Touched {
        /// The mapping.
        mapping: Arc<str>,
        /// The code location.
        symbol: Arc<str>,
        /// Touches of pages on the node of the CPU, an estimate from samples.
        local: u64,
        /// Touches of pages on other nodes.
        remote: u64,
    },
    /// Records were lost.
    Lost {
        /// How many.
        records: u64,
    },
    /// A source saw nothing of the CPU for a while, up to then.
    Gap {
        /// How long, at most.
        ns: u64,
    },
}
