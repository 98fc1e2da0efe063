//! A snapshot for people ([`text`]), for programs ([`json`]) and for spreadsheets ([`csv`]); a recording as a snapshot
//! ([`offline`]). Place in the flow: behind the model, no knowledge
//! of where the numbers came from.

pub mod cells;
pub mod csv;
pub mod json;
pub mod offline;
pub mod text;

use std::cmp::{Ordering, Reverse};
use std::io;

use crate::snapshot::{Snapshot, Thread};

/// By what threads are put in order; numbers with the largest first, names and ids with the smallest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortKey {
    /// Time on CPU.
    Cpu,
    /// Time runnable without a CPU.
    #[default]
    Wait,
    /// 99th percentile of run-queue latency.
    P99,
    /// Longest wait, the open one included.
    Max,
    /// Context switches.
    Switches,
    /// Migrations.
    Migrations,
    /// Migrations between nodes.
    CrossNode,
    /// Page touches.
    Touches,
    /// Remote ones of these.
    Remote,
    /// Thread id.
    Tid,
    /// Command name.
    Comm,
}

impl SortKey {
    /// All of them, as they are listed.
    pub const ALL: [SortKey; 11] = [
        SortKey::Cpu,
        SortKey::Wait,
        SortKey::P99,
        SortKey::Max,
        SortKey::Switches,
        SortKey::Migrations,
        SortKey::CrossNode,
        SortKey::Touches,
        SortKey::Remote,
        SortKey::Tid,
        SortKey::Comm,
    ];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            SortKey::Cpu => "cpu",
            SortKey::Wait => "wait",
            SortKey::P99 => "p99",
            SortKey::Max => "max",
            SortKey::Switches => "switches",
            SortKey::Migrations => "migrations",
            SortKey::CrossNode => "cross-node",
            SortKey::Touches => "touches",
            SortKey::Remote => "remote",
            SortKey::Tid => "tid",
            SortKey::Comm => "comm",
        }
    }

    /// What it orders by, for the help text.
    pub const fn help(self) -> &'static str {
        match self {
            SortKey::Cpu => "time on CPU",
            SortKey::Wait => "time runnable without a CPU",
            SortKey::P99 => "99th percentile of run-queue latency",
            SortKey::Max => "longest wait, one that still lasts included",
            SortKey::Switches => "context switches",
            SortKey::Migrations => "migrations",
            SortKey::CrossNode => "migrations between nodes",
            SortKey::Touches => "page touches",
            SortKey::Remote => "remote page touches",
            SortKey::Tid => "thread id",
            SortKey::Comm => "command name",
        }
    }

    /// Compares two threads in this order; equal ones go by thread id, so that an order never flickers.
    pub fn compare(self, a: &Thread, b: &Thread) -> Ordering {
        let by = |key: fn(&Thread) -> u64| Reverse(key(a)).cmp(&Reverse(key(b)));
        let order = match self {
            SortKey::Cpu => by(|t| t.stats.cpu_ns),
            SortKey::Wait => by(|t| t.stats.wait_ns),
            SortKey::P99 => by(|t| t.stats.runq.all.p99_ns),
            SortKey::Max => by(|t| t.stats.runq.all.max_ns.max(t.stats.waiting_now_ns.unwrap_or(0))),
            SortKey::Switches => by(|t| t.stats.switches.total()),
            SortKey::Migrations => by(|t| t.stats.migrations.total()),
            SortKey::CrossNode => by(|t| t.stats.migrations.cross_node),
            SortKey::Touches => by(|t| t.stats.touches.map_or(0, |touches| touches.total().all())),
            SortKey::Remote => by(|t| t.stats.touches.map_or(0, |touches| touches.total().remote)),
            SortKey::Tid => Ordering::Equal,
            SortKey::Comm => a.comm.cmp(&b.comm),
        };
        order.then(a.tid.cmp(&b.tid))
    }
}

/// The threads of a snapshot in order.
pub fn sorted(snapshot: &Snapshot, key: SortKey) -> Vec<&Thread> {
    sorted_threads(&snapshot.threads, key)
}

/// Threads in order.
pub fn sorted_threads(threads: &[Thread], key: SortKey) -> Vec<&Thread> {
    let mut threads: Vec<&Thread> = threads.iter().collect();
    threads.sort_by(|a, b| key.compare(a, b));
    threads
}

/// Whether an error is, at its root, a reader that went away (`numatrace ... | head`): a reason to end quietly, not
/// to complain.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
            || cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind)
                == Some(io::ErrorKind::BrokenPipe)
    })
}
