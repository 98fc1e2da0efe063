//! Which fields a record has, kind by kind, for those that are rare enough to be told by a table. Turns on a CPU, which
//! are nearly all records, have code of their own in `turns.rs`.

use numatrace_common::abi::{
    Attributes, COMM_LEN, CPU_WORDS, Cgroup, CgroupPath, Counters, Gap, Migrate, NodeMemory, PATH_PIECE, Placement,
    Quota, Task, Throttled, Tick, Totals, Touches, Where, Words, kind,
};

/// One field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// An integer of so many bytes, told as its difference to the same field of the record before.
    Number(usize),
    /// So many bytes as they are.
    Bytes(usize),
}

use Field::{Bytes, Number};

impl Field {
    pub(super) const fn len(self) -> usize {
        match self {
            Number(len) | Bytes(len) => len,
        }
    }
}

/// A kind of record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) kind: u16,
    /// Bytes of the whole record.
    pub(super) size: usize,
    /// It speaks of a thread, whose id follows the header: the record before is the last one of this thread.
    pub(super) of_thread: bool,
    /// What follows the timestamp, and the thread id where there is one, in order and without gaps; before them come the
    /// two CPUs of the header.
    pub(super) fields: &'static [Field],
}

impl Layout {
    /// How many columns it has: two CPUs and its fields.
    pub(super) const fn columns(&self) -> usize {
        2 + self.fields.len()
    }

    /// Where each field that has a column begins, in the order of the columns.
    pub(super) fn all_fields(&self) -> impl Iterator<Item = (usize, Field)> {
        let mut at = if self.of_thread { TID + 4 } else { TID };
        let fields = self.fields.iter().map(move |field| {
            at += field.len();
            (at - field.len(), *field)
        });
        [(4, Number(2)), (6, Number(2))].into_iter().chain(fields)
    }
}

/// Bytes of the header.
pub(super) const HEADER: usize = 16;
/// Where the thread id lies.
pub(super) const TID: usize = HEADER;

const TOTALS: &[Field] = &[
    Number(4), // tgid
    Number(4), // seq
    Number(2), // phase
    Number(2), // flags
    Number(8), // since
    Number(8), // open_wait_ns
    Number(8), // open_blocked_ns
    Number(4), // waker
    Number(4), // holder
    Number(4), // prev
    Number(4), // prev_ran
    Number(8), // cpu_ns
    Number(8), // blocked_ns
    Number(8), // wakeup_ns
    Number(8), // wakeup_count
    Number(8), // preempted_ns
    Number(8), // preempted_count
    Number(8), // voluntary
    Number(8), // involuntary
    Number(4), // migrations
    Number(4), // lost
    Number(4), // resyncs
    Number(2), // last_cpu
    Number(2), // queued_cpu
];

/// `wanted` to `received`.
const COUNTERS: &[Field] = &[Number(8); 8];

/// tgid, seq, reserved, throttled_ns, open_ns
const THROTTLED: &[Field] = &[Number(4), Number(4), Number(4), Number(8), Number(8)];

/// Kinds in the order of their codes in the column of kinds, from 1. A new kind goes to the end: the order is part of the
/// format.
pub(super) const LAYOUTS: [Layout; 19] = [
    Layout {
        kind: kind::MIGRATE,
        size: Migrate::SIZE,
        of_thread: true,
        // tgid, by, seq, cause, by_cpu, reserved
        fields: &[Number(4), Number(4), Number(4), Number(2), Number(2), Number(4)],
    },
    Layout {
        kind: kind::TASK,
        size: Task::SIZE,
        of_thread: true,
        // tgid, parent, event, policy, start_ns, static_prio, reserved, comm
        fields: &[Number(4), Number(4), Number(2), Number(2), Number(8), Number(4), Number(4), Bytes(COMM_LEN)],
    },
    Layout { kind: kind::TOTALS, size: Totals::SIZE, of_thread: true, fields: TOTALS },
    // wall_ns
    Layout { kind: kind::TICK, size: Tick::SIZE, of_thread: false, fields: &[Number(8)] },
    Layout { kind: kind::COUNTERS, size: Counters::SIZE, of_thread: false, fields: COUNTERS },
    Layout {
        kind: kind::ATTRIBUTES,
        size: Attributes::SIZE,
        of_thread: true,
        // policy, nice, rt_priority, allowed
        fields: &[Number(4), Number(4), Number(4), Bytes(8 * CPU_WORDS)],
    },
    // cgroup
    Layout { kind: kind::CGROUP, size: Cgroup::SIZE, of_thread: true, fields: &[Number(4)] },
    Layout {
        kind: kind::CGROUP_PATH,
        size: CgroupPath::SIZE,
        of_thread: false,
        // cgroup, offset, total, piece
        fields: &[Number(4), Number(2), Number(2), Bytes(PATH_PIECE)],
    },
    Layout { kind: kind::TOTALS_BASE, size: Totals::SIZE, of_thread: true, fields: TOTALS },
    Layout { kind: kind::COUNTERS_BASE, size: Counters::SIZE, of_thread: false, fields: COUNTERS },
    Layout {
        kind: kind::TOUCHES,
        size: Touches::SIZE,
        of_thread: true,
        // tgid, start_ns, cpu_node, page_node, hint_units, counts
        fields: &[
            Number(4),
            Number(8),
            Number(2),
            Number(2),
            Number(4),
            Number(8),
            Number(8),
            Number(8),
            Number(8),
            Number(8),
            Number(8),
            Number(8),
            Number(8),
            Number(8),
        ],
    },
    Layout {
        kind: kind::WORDS,
        size: Words::SIZE,
        of_thread: false,
        // id, offset, total, piece
        fields: &[Number(4), Number(2), Number(2), Bytes(PATH_PIECE)],
    },
    Layout {
        kind: kind::WHERE,
        size: Where::SIZE,
        of_thread: true,
        // tgid, mapping, symbol, stack, reserved, local, remote
        fields: &[Number(4), Number(4), Number(4), Number(4), Number(4), Number(8), Number(8)],
    },
    Layout {
        kind: kind::PLACEMENT,
        size: Placement::SIZE,
        of_thread: false,
        // tgid, node, nodes, pages, unknown, began_ns
        fields: &[Number(4), Number(2), Number(2), Number(8), Number(8), Number(8)],
    },
    // start_ns, end_ns
    Layout { kind: kind::GAP, size: Gap::SIZE, of_thread: false, fields: &[Number(8), Number(8)] },
    Layout { kind: kind::THROTTLED, size: Throttled::SIZE, of_thread: true, fields: THROTTLED },
    Layout { kind: kind::THROTTLED_BASE, size: Throttled::SIZE, of_thread: true, fields: THROTTLED },
    Layout {
        kind: kind::QUOTA,
        size: Quota::SIZE,
        of_thread: false,
        // cgroup, reserved, periods, throttled_periods, throttled_ns, quota_us, period_us
        fields: &[Number(4), Number(4), Number(8), Number(8), Number(8), Number(8), Number(8)],
    },
    Layout {
        kind: kind::NODE_MEMORY,
        size: NodeMemory::SIZE,
        of_thread: false,
        // node, nodes, reserved, total_bytes, free_bytes, file_bytes, hit, miss, foreign
        fields: &[Number(2), Number(2), Number(4), Number(8), Number(8), Number(8), Number(8), Number(8), Number(8)],
    },
];

/// Columns of all layouts: two CPUs and the fields of each.
pub(super) const LAYOUT_COLUMNS: usize = {
    let (mut sum, mut at) = (0, 0);
    while at < LAYOUTS.len() {
        sum += LAYOUTS[at].columns();
        at += 1;
    }
    sum
};

// Fields fill the record, without a gap.
const _: () = {
    let mut at = 0;
    while at < LAYOUTS.len() {
        let layout = &LAYOUTS[at];
        let (mut len, mut field) = (HEADER + if layout.of_thread { 4 } else { 0 }, 0);
        while field < layout.fields.len() {
            len += layout.fields[field].len();
            field += 1;
        }
        assert!(len == layout.size);
        at += 1;
    }
};
