//! Ids of threads in two pid namespaces: the first, which the probes see, and that of numatrace itself.

use crate::config::MISSING;

/// Byte offsets of the members that tell ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct PidOffsets {
    /// `task_struct.pid`
    pub pid: u32,
    /// `task_struct.tgid`
    pub tgid: u32,
    /// `task_struct.group_leader`
    pub group_leader: u32,
    /// `task_struct.thread_pid`
    pub thread_pid: u32,
    /// `pid.level`
    pub level: u32,
    /// `pid.numbers`
    pub numbers: u32,
    /// Always 0.
    pub reserved: [u32; 2],
}

impl PidOffsets {
    /// Nothing known.
    pub const NONE: PidOffsets = PidOffsets {
        pid: MISSING,
        tgid: MISSING,
        group_leader: MISSING,
        thread_pid: MISSING,
        level: MISSING,
        numbers: MISSING,
        reserved: [0; 2],
    };
}

/// Bytes of a `struct upid`, which begins with the number; `pid.numbers` has one for each namespace, the first one first.
pub const UPID_SIZE: u32 = 16;

/// One thread, as the iterator writes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct PidPair {
    /// In the first namespace.
    pub tid: u32,
    /// Its process.
    pub tgid: u32,
    /// In the namespace of who reads.
    pub own_tid: u32,
    /// Its process.
    pub own_tgid: u32,
}

const _: () = assert!(size_of::<PidOffsets>() == 32 && size_of::<PidPair>() == 16);
