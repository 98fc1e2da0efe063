//! What can be wrong with a perf.data file, each in a sentence that follows the name of the file.

use std::io;

use thiserror::Error;

/// Why a file cannot be imported, or no further.
#[derive(Debug, Error)]
pub enum ImportError {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A folder, as `perf record --threads` writes.
    #[error("is a folder: record into one file, without --threads")]
    Folder,
    /// Something else.
    #[error("is no perf.data file: record one with 'perf sched record -a -o FILE'")]
    NotPerf,
    /// `PERFILE2` the other way round.
    #[error("was recorded on a big-endian machine, whose perf.data files cannot be imported")]
    BigEndian,
    /// What `perf record -o -` writes.
    #[error("was written to a pipe, and such perf.data files cannot be imported: record with -o FILE")]
    Pipe,
    /// perf was killed.
    #[error("was not closed, so perf was killed before it ended: end 'perf sched record' with Ctrl-C")]
    NotClosed,
    /// The end is missing.
    #[error("is cut off: it should have {expected} bytes, and has {bytes}")]
    Truncated {
        /// As its header says.
        expected: u64,
        /// As it is.
        bytes: u64,
    },
    /// A part of the header makes no sense.
    #[error("is damaged: {0} cannot be read")]
    Header(&'static str),
    /// A record makes no sense.
    #[error("is damaged at byte {at}: {what}")]
    Record {
        /// Where.
        at: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// No `sched_switch`.
    #[error("has no events of sched_switch: record with 'perf sched record -a -o FILE'")]
    NoSwitches,
    /// They lack what is needed.
    #[error("has scheduler events without {0}: record with 'perf sched record -a -o FILE'")]
    Lacks(&'static str),
    /// Ids of a pid namespace.
    #[error(
        "was recorded in a container whose thread ids are not those of the machine: record outside of it, or with the \
         machine's pid namespace (--pid=host)"
    )]
    OtherIds,
    /// No event at all.
    #[error("has no scheduler events, though they were asked for: nothing happened, or perf could not record them")]
    Empty,
}
