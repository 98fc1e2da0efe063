//! Bytes to events: total, no transmute. Place in the flow: after `collect`, before `model`.

use numatrace_common::abi::{
    Attributes, Cgroup, CgroupPath, Counters, Gap, Header, Migrate, NamespaceIds, NodeMemory, Placement, Quota,
    SelfCost, Slice, Task, Throttled, Tick, Totals, Touches, Where, Words, kind,
};
use thiserror::Error;
use zerocopy::FromBytes;

/// One record, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A turn on a CPU and the wait before it.
    Slice(Slice),
    /// A migration.
    Migrate(Migrate),
    /// A thread's life.
    Task(Task),
    /// A thread's exact counters.
    Totals(Totals),
    /// Time passes.
    Tick(Tick),
    /// The kernel side's own counters.
    Counters(Counters),
    /// How a thread may be scheduled.
    Attributes(Attributes),
    /// Which cgroup a thread is in.
    Cgroup(Cgroup),
    /// A piece of the path of a cgroup.
    CgroupPath(CgroupPath),
    /// What a thread had counted when a recording began in the middle of a trace.
    TotalsBase(Totals),
    /// What the kernel side had counted then.
    CountersBase(Counters),
    /// Page touches.
    Touches(Touches),
    /// A piece of a text.
    Words(Words),
    /// Where page touches come from.
    Where(Where),
    /// Resident pages of a process on a node.
    Placement(Placement),
    /// A time in which page touches of a CPU were not seen.
    Gap(Gap),
    /// How much of a thread's waits a CPU quota caused.
    Throttled(Throttled),
    /// The same, when a recording began in the middle of a trace.
    ThrottledBase(Throttled),
    /// What a cgroup with a CPU quota counted.
    Quota(Quota),
    /// Memory of a node.
    NodeMemory(NodeMemory),
    /// A piece of what the container in a cgroup is called.
    ContainerNames(CgroupPath),
    /// What a thread is called in its own pid namespace.
    NamespaceIds(NamespaceIds),
    /// What numatrace itself takes, and leaves out.
    SelfCost(SelfCost),
}

impl Event {
    /// When it happened, ns of `CLOCK_MONOTONIC`.
    pub const fn ts(&self) -> u64 {
        match self {
            Event::Slice(r) => r.header.ts,
            Event::Migrate(r) => r.header.ts,
            Event::Task(r) => r.header.ts,
            Event::Totals(r) => r.header.ts,
            Event::Tick(r) => r.header.ts,
            Event::Counters(r) => r.header.ts,
            Event::Attributes(r) => r.header.ts,
            Event::Cgroup(r) => r.header.ts,
            Event::CgroupPath(r) | Event::ContainerNames(r) => r.header.ts,
            Event::NamespaceIds(r) => r.header.ts,
            Event::SelfCost(r) => r.header.ts,
            Event::TotalsBase(r) => r.header.ts,
            Event::CountersBase(r) => r.header.ts,
            Event::Touches(r) => r.header.ts,
            Event::Words(r) => r.header.ts,
            Event::Where(r) => r.header.ts,
            Event::Placement(r) => r.header.ts,
            Event::Gap(r) => r.header.ts,
            Event::Throttled(r) | Event::ThrottledBase(r) => r.header.ts,
            Event::Quota(r) => r.header.ts,
            Event::NodeMemory(r) => r.header.ts,
        }
    }
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// Fewer bytes than a header, or than the header says.
    #[error("record cut short: {have} bytes of {want}")]
    Short {
        /// Bytes there.
        have: usize,
        /// Bytes needed.
        want: usize,
    },
    /// The size does not fit the kind (another ABI version).
    #[error("record of kind {kind} has {size} bytes, expected {expected}")]
    Size {
        /// Its kind.
        kind: u16,
        /// Its size field.
        size: u16,
        /// What the kind has in this version.
        expected: u16,
    },
    /// A kind this version does not know: skip it and count it.
    #[error("record of unknown kind {kind}")]
    UnknownKind {
        /// Its kind.
        kind: u16,
    },
}

/// Decodes one record from the start of `bytes`; bytes behind the record's size are ignored.
///
/// # Errors
/// [`DecodeError`] says what is wrong; nothing panics, whatever the bytes are.
#[inline]
pub fn decode(bytes: &[u8]) -> Result<Event, DecodeError> {
    const HEADER: usize = size_of::<Header>();
    let short = |want| DecodeError::Short { have: bytes.len(), want };
    let Some((kind, size)) =
        bytes.get(..4).map(|b| (u16::from_le_bytes([b[0], b[1]]), u16::from_le_bytes([b[2], b[3]])))
    else {
        return Err(short(HEADER));
    };
    macro_rules! read {
        ($variant:ident, $ty:ty) => {{
            if usize::from(size) != <$ty>::SIZE {
                return Err(DecodeError::Size { kind, size, expected: <$ty>::SIZE as u16 });
            }
            match <$ty>::read_from_prefix(bytes) {
                Ok((record, _)) => Ok(Event::$variant(record)),
                Err(_) => Err(short(<$ty>::SIZE)),
            }
        }};
    }
    match kind {
        Slice::KIND => read!(Slice, Slice),
        Migrate::KIND => read!(Migrate, Migrate),
        Task::KIND => read!(Task, Task),
        Totals::KIND => read!(Totals, Totals),
        Tick::KIND => read!(Tick, Tick),
        Counters::KIND => read!(Counters, Counters),
        Attributes::KIND => read!(Attributes, Attributes),
        Cgroup::KIND => read!(Cgroup, Cgroup),
        CgroupPath::KIND => read!(CgroupPath, CgroupPath),
        kind::TOTALS_BASE => read!(TotalsBase, Totals),
        kind::COUNTERS_BASE => read!(CountersBase, Counters),
        Touches::KIND => read!(Touches, Touches),
        Words::KIND => read!(Words, Words),
        Where::KIND => read!(Where, Where),
        Placement::KIND => read!(Placement, Placement),
        Gap::KIND => read!(Gap, Gap),
        Throttled::KIND => read!(Throttled, Throttled),
        kind::THROTTLED_BASE => read!(ThrottledBase, Throttled),
        Quota::KIND => read!(Quota, Quota),
        NodeMemory::KIND => read!(NodeMemory, NodeMemory),
        kind::CONTAINER_NAMES => read!(ContainerNames, CgroupPath),
        NamespaceIds::KIND => read!(NamespaceIds, NamespaceIds),
        SelfCost::KIND => read!(SelfCost, SelfCost),
        _ => Err(DecodeError::UnknownKind { kind }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use numatrace_common::abi::CPU_WORDS;
    use zerocopy::IntoBytes;

    #[test]
    fn a_record_survives_the_trip() {
        let slice = Slice { header: Slice::header(9, 1, 2), wait_ns: 5, tid: 3, ..Slice::default() };
        assert_eq!(decode(slice.as_bytes()), Ok(Event::Slice(slice)));
        let mut allowed = [0; CPU_WORDS];
        (allowed[0], allowed[CPU_WORDS - 1]) = (0b1010, 1 << 63);
        let header = Attributes::header(11, 0, 0);
        let attributes = Attributes { header, tid: 3, policy: 1, nice: -20, rt_priority: 99, allowed };
        assert_eq!(decode(attributes.as_bytes()), Ok(Event::Attributes(attributes)));
        assert_eq!(Event::Attributes(attributes).ts(), 11);
    }

    #[test]
    fn every_truncation_and_every_wrong_size_is_an_error() {
        let totals = Totals { header: Totals::header(9, 1, 2), ..Totals::default() };
        let bytes = totals.as_bytes();
        for len in 0..bytes.len() {
            assert!(matches!(decode(&bytes[..len]), Err(DecodeError::Short { .. })), "{len}");
        }
        for size in (0..=u16::MAX).filter(|s| usize::from(*s) != Totals::SIZE) {
            let mut wrong = bytes.to_vec();
            wrong[2..4].copy_from_slice(&size.to_le_bytes());
            assert!(matches!(decode(&wrong), Err(DecodeError::Size { .. })), "{size}");
        }
    }

    #[test]
    fn every_kind_of_hostile_bytes_is_decoded_or_refused() {
        for kind in 0..=u16::MAX {
            let mut bytes = [0xffu8; 200];
            bytes[0..2].copy_from_slice(&kind.to_le_bytes());
            bytes[2..4].copy_from_slice(&64u16.to_le_bytes());
            let _ = decode(&bytes);
        }
    }
}
