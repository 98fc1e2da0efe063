//! What is told once and holds from then on: policies, cgroups, texts. A recording that begins in the middle has to begin
//! with it.

use std::collections::BTreeMap;

use numatrace_common::abi::{
    Attributes, Cgroup, CgroupPath, Header, NamespaceIds, NodeMemory, Quota, SelfCost, Task, Words, kind, task_event,
};
use zerocopy::FromBytes;

use crate::recording::columns::first_record;

/// Records of these kinds are kept, in this order: paths come before who names them.
const KINDS: [u16; 9] = [
    kind::SELF_COST,
    kind::CGROUP_PATH,
    kind::CONTAINER_NAMES,
    kind::WORDS,
    kind::QUOTA,
    kind::NODE_MEMORY,
    kind::ATTRIBUTES,
    kind::CGROUP,
    kind::NAMESPACE_IDS,
];

/// Kinds that speak of a thread, which are of no use after it.
const OF_THREADS: [u16; 3] = [kind::ATTRIBUTES, kind::CGROUP, kind::NAMESPACE_IDS];

/// Records of threads, beyond which all are forgotten: threads whose end was not heard of, for its record was lost.
const MOST_OF_THREADS: usize = 4 * 131_072;
/// What an entry takes beside its records.
const ENTRY: u64 = 96;

/// What a record is about, of those that hold from then on.
enum About {
    /// The newest of its kind and number counts.
    Newest { kind: u16, key: u32 },
    /// One piece of several, from 0 on.
    Piece { kind: u16, key: u32, offset: u16 },
    /// A thread is gone.
    Gone { tid: u32 },
}

fn about(record: &[u8]) -> Option<About> {
    let kind = u16::from_le_bytes(*record.first_chunk()?);
    let newest = |key| Some(About::Newest { kind, key });
    match kind {
        kind::CGROUP_PATH | kind::CONTAINER_NAMES => {
            let path = CgroupPath::read_from_bytes(record).ok()?;
            Some(About::Piece { kind, key: path.cgroup, offset: path.offset })
        }
        kind::WORDS => {
            let words = Words::read_from_bytes(record).ok()?;
            Some(About::Piece { kind, key: words.id, offset: words.offset })
        }
        kind::SELF_COST => SelfCost::read_from_bytes(record).ok().and_then(|_| newest(0)),
        kind::QUOTA => newest(Quota::read_from_bytes(record).ok()?.cgroup),
        kind::NODE_MEMORY => newest(u32::from(NodeMemory::read_from_bytes(record).ok()?.node)),
        kind::ATTRIBUTES => newest(Attributes::read_from_bytes(record).ok()?.tid),
        kind::CGROUP => newest(Cgroup::read_from_bytes(record).ok()?.tid),
        kind::NAMESPACE_IDS => newest(NamespaceIds::read_from_bytes(record).ok()?.tid),
        kind::TASK => {
            let task = Task::read_from_bytes(record).ok()?;
            // One that is no target any more can become one again, and is not told again.
            (task.event == task_event::EXIT).then_some(About::Gone { tid: task.tid })
        }
        _ => None,
    }
}

/// Whether a record holds from then on, or ends what held.
pub(super) fn is_told(record: &[u8]) -> bool {
    about(record).is_some()
}

/// Each record of a row of them.
pub(super) fn each(mut records: &[u8], mut take: impl FnMut(&[u8])) {
    while let Some(record) = first_record(records) {
        take(record);
        records = &records[record.len()..];
    }
}

/// What holds at one moment. Bounded by how many threads and texts the source tells of.
#[derive(Debug, Default)]
pub(super) struct Told {
    known: BTreeMap<(u16, u32), Vec<u8>>,
    bytes: u64,
}

impl Told {
    /// Records that came after those so far.
    pub(super) fn fold(&mut self, records: &[u8]) {
        each(records, |record| self.take(record));
    }

    pub(super) fn take(&mut self, record: &[u8]) {
        match about(record) {
            Some(About::Newest { kind, key }) => self.put((kind, key), record, false),
            Some(About::Piece { kind, key, offset }) => self.put((kind, key), record, offset > 0),
            Some(About::Gone { tid }) => OF_THREADS.iter().for_each(|kind| self.remove((*kind, tid))),
            None => {}
        }
    }

    fn put(&mut self, key: (u16, u32), record: &[u8], more: bool) {
        if self.known.len() >= MOST_OF_THREADS {
            let Told { known, bytes } = self;
            known.retain(|(kind, _), records| {
                let stays = !OF_THREADS.contains(kind);
                *bytes -= if stays { 0 } else { ENTRY + records.len() as u64 };
                stays
            });
        }
        let is_new = !self.known.contains_key(&key);
        self.bytes += if is_new { ENTRY } else { 0 };
        let known = self.known.entry(key).or_default();
        if !more {
            self.bytes -= known.len() as u64;
            known.clear();
        }
        known.extend_from_slice(record);
        self.bytes += record.len() as u64;
    }

    fn remove(&mut self, key: (u16, u32)) {
        if let Some(known) = self.known.remove(&key) {
            self.bytes -= ENTRY + known.len() as u64;
        }
    }

    /// Bytes of all that is kept.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// All of it, as of this time, texts before who names them.
    pub(super) fn records(&self, ts: u64, mut sink: impl FnMut(&[u8])) {
        let mut made = Vec::new();
        for kind in KINDS {
            for (_, records) in self.known.range((kind, 0)..=(kind, u32::MAX)) {
                each(records, |record| {
                    made.clear();
                    made.extend_from_slice(record);
                    if let Ok((header, _)) = Header::mut_from_prefix(&mut made) {
                        header.ts = ts;
                    }
                    sink(&made);
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use numatrace_common::abi::PATH_PIECE;
    use zerocopy::IntoBytes;

    fn path(cgroup: u32, offset: u16, byte: u8) -> CgroupPath {
        let header = CgroupPath::header(5, 0, 0);
        CgroupPath { header, cgroup, offset, total: 40, piece: [byte; PATH_PIECE] }
    }

    fn cgroup(tid: u32, cgroup: u32) -> Cgroup {
        Cgroup { header: Cgroup::header(6, 0, 0), tid, cgroup }
    }

    fn kinds(told: &Told) -> Vec<u16> {
        let mut kinds = Vec::new();
        told.records(99, |record| {
            assert_eq!(u64::from_le_bytes(record[8..16].try_into().unwrap()), 99);
            kinds.push(u16::from_le_bytes([record[0], record[1]]));
        });
        kinds
    }

    #[test]
    fn the_newest_counts_and_texts_come_first() {
        let mut told = Told::default();
        told.take(cgroup(7, 1).as_bytes());
        told.take(cgroup(7, 2).as_bytes());
        told.take(path(2, 0, b'a').as_bytes());
        told.take(path(2, 32, b'b').as_bytes());
        assert_eq!(kinds(&told), [kind::CGROUP_PATH, kind::CGROUP_PATH, kind::CGROUP]);
        // The path is told once more.
        told.take(path(2, 0, b'c').as_bytes());
        assert_eq!(kinds(&told), [kind::CGROUP_PATH, kind::CGROUP]);
        assert_eq!(told.bytes(), (CgroupPath::SIZE + Cgroup::SIZE) as u64 + 2 * ENTRY);
    }

    #[test]
    fn of_threads_that_are_gone_nothing_is_kept() {
        let mut told = Told::default();
        told.take(cgroup(7, 1).as_bytes());
        let header = Task::header(8, 0, 0);
        for event in [task_event::RENAME, task_event::UNTRACKED] {
            told.take(Task { header, tid: 7, event, ..Task::default() }.as_bytes());
        }
        assert_eq!(kinds(&told), [kind::CGROUP]);
        let gone = Task { header, tid: 7, event: task_event::EXIT, ..Task::default() };
        assert!(is_told(gone.as_bytes()));
        told.fold(gone.as_bytes());
        assert_eq!((kinds(&told), told.bytes()), (vec![], 0));
    }
}
