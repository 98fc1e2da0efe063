//! Threads in few bytes, for snapshots that are kept and seldom looked at: a thread takes 100 to 1,500 bytes instead of 1,000 to 4,000 and
//! dozens of allocations, and is unpacked in a microsecond or so.
//!
//! Numbers are varints (7 bits a byte): most of a thread's are 0 or small. Texts, containers and scheduling attributes are shared by many
//! threads and by the snapshots before and after: they are kept once, and numbers stand for them.

use std::collections::HashMap;
use std::sync::Arc;

use prost::encoding::{decode_varint, encode_varint};

use super::{
    Behind, Causes, Culprit, Key, Latency, LocalRemote, Location, Migrations, Pairs, PreemptedBy, RunQueue, Sched,
    Switches, Thread, ThreadState, ThreadStats, TouchCount, Touches, Track, Waited, Waker,
};
use crate::container::Container;
use crate::units::{Pid, Tid};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct PackedThreads {
    pieces: Vec<Piece>,
    shared: Shared,
    count: usize,
}

/// Some threads, one after the other.
#[derive(Clone, Debug)]
struct Piece {
    /// Id of the first, and when it was first heard of.
    first: (Tid, u64),
    bytes: Box<[u8]>,
}

/// Bytes of a piece, and what its last thread has more: nothing large is copied, and few threads are gone through to find one.
const PIECE: usize = 1 << 14;

/// What threads share, by number.
#[derive(Clone, Debug, Default)]
struct Shared {
    texts: Vec<Arc<str>>,
    containers: Vec<Arc<Container>>,
    scheds: Vec<Arc<Sched>>,
}

impl PackedThreads {
    /// How many threads there are.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// There are none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes that they take, but for what they share with others.
    pub fn bytes(&self) -> usize {
        let Shared { texts, containers, scheds } = &self.shared;
        let shared = size_of::<Arc<str>>() * texts.len() + size_of::<usize>() * (containers.len() + scheds.len());
        self.pieces.iter().map(|piece| size_of::<Piece>() + piece.bytes.len()).sum::<usize>() + shared
    }

    /// Each of them, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = Thread> + '_ {
        self.pieces.iter().flat_map(|piece| self.threads_of(piece))
    }

    /// The one with this id that was first heard of at this time, where all came in order of both.
    pub fn find(&self, tid: Tid, born_ns: u64) -> Option<Thread> {
        let wanted = (tid, born_ns);
        let at = self.pieces.partition_point(|piece| piece.first <= wanted).checked_sub(1)?;
        self.threads_of(self.pieces.get(at)?).find(|thread| (thread.tid, thread.born_ns) == wanted)
    }

    fn threads_of<'a>(&'a self, piece: &'a Piece) -> impl Iterator<Item = Thread> + 'a {
        let mut from = Unpacker { rest: &piece.bytes, shared: &self.shared };
        std::iter::from_fn(move || (!from.rest.is_empty()).then(|| Thread::unpack(&mut from)))
    }
}

impl<'a> FromIterator<&'a Thread> for PackedThreads {
    fn from_iter<I: IntoIterator<Item = &'a Thread>>(threads: I) -> PackedThreads {
        let mut packing = Packing::default();
        threads.into_iter().for_each(|thread| packing.push(thread));
        packing.done()
    }
}

impl FromIterator<Thread> for PackedThreads {
    fn from_iter<I: IntoIterator<Item = Thread>>(threads: I) -> PackedThreads {
        let mut packing = Packing::default();
        threads.into_iter().for_each(|thread| packing.push(&thread));
        packing.done()
    }
}

#[derive(Default)]
struct Packing {
    pieces: Vec<Piece>,
    /// The first thread of the piece that is being written.
    first: Option<(Tid, u64)>,
    packer: Packer,
    count: usize,
}

impl Packing {
    fn push(&mut self, thread: &Thread) {
        self.first.get_or_insert((thread.tid, thread.born_ns));
        thread.pack(&mut self.packer);
        self.count += 1;
        if self.packer.bytes.len() >= PIECE {
            self.end_piece();
        }
    }

    fn end_piece(&mut self) {
        if let Some(first) = self.first.take() {
            self.pieces.push(Piece { first, bytes: self.packer.bytes.as_slice().into() });
            self.packer.bytes.clear();
        }
    }

    fn done(mut self) -> PackedThreads {
        self.end_piece();
        let mut shared = self.packer.shared;
        shared.texts.shrink_to_fit();
        shared.containers.shrink_to_fit();
        shared.scheds.shrink_to_fit();
        PackedThreads { pieces: self.pieces, shared, count: self.count }
    }
}

#[derive(Default)]
struct Packer {
    bytes: Vec<u8>,
    shared: Shared,
    /// By address: what `shared` keeps stays where it is.
    known: HashMap<usize, u64>,
}

struct Unpacker<'a> {
    rest: &'a [u8],
    shared: &'a Shared,
}

impl Packer {
    fn number(&mut self, number: u64) {
        encode_varint(number, &mut self.bytes);
    }

    /// Writes the number of what is shared, which gets one where it has none.
    fn share<T: ?Sized>(&mut self, what: &Arc<T>, list: fn(&mut Shared) -> &mut Vec<Arc<T>>) {
        let list = list(&mut self.shared);
        let number = *self.known.entry(Arc::as_ptr(what).cast::<()>().addr()).or_insert_with(|| {
            list.push(Arc::clone(what));
            list.len() as u64 - 1
        });
        self.number(number);
    }
}

impl<'a> Unpacker<'a> {
    /// Nobody else writes the bytes: neither this nor what follows can fail.
    fn number(&mut self) -> u64 {
        decode_varint(&mut self.rest).unwrap_or(0)
    }

    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (bytes, rest) = self.rest.split_at_checked(count).unwrap_or_default();
        self.rest = rest;
        bytes
    }
}

/// What can be packed.
trait Pack {
    fn pack(&self, to: &mut Packer);
    fn unpack(from: &mut Unpacker<'_>) -> Self;
}

/// Field by field; a field that is forgotten is an error of the compiler.
macro_rules! pack {
    ($($name:ident { $($field:ident),* $(,)? })*) => {$(
        impl Pack for $name {
            fn pack(&self, to: &mut Packer) {
                let $name { $($field),* } = self;
                $($field.pack(to);)*
            }

            fn unpack(from: &mut Unpacker<'_>) -> $name {
                $name { $($field: Pack::unpack(from)),* }
            }
        }
    )*};
}

pack! {
    Thread { tid, pid, ns_pid, comm, exited, state, cpu, members, born_ns, sched, cgroup, container, track, stats }
    ThreadStats {
        cpu_ns, wait_ns, blocked_ns, waiting_now_ns, switches, unseen_events, runq, throttled_wait_ns, migrations, wakers, node_moves,
        residency_ns, residency_cpu_ns, touches, touches_by_node, hint_faults, hint_fault_ns, pages_migrated, remote_share,
        expected_remote_share, cost_factor, locations, waited_behind, behind, preempted_by,
    }
    Switches { voluntary, involuntary }
    RunQueue { wakeup, preempted, all, unthrottled }
    Latency { count, total_ns, p50_ns, p90_ns, p99_ns, p999_ns, max_ns, buckets }
    Migrations { smt, llc, node, cross_node, unclassified, causes }
    Causes { wakeup, load_balance, active_balance_or_affinity, numa_balancing, hotplug, other }
    Waker { tid, comm, count }
    Culprit { tid, comm, pid, total_ns, count }
    Touches { first_touch, file, cow, huge, zero, other }
    TouchCount { local, remote, unknown }
    LocalRemote { local, remote }
    Location { mapping, symbol, stack, local, remote }
    Behind { own_ns, others_ns }
    PreemptedBy { own, others }
    Waited { count, total_ns }
}

impl Pack for u64 {
    fn pack(&self, to: &mut Packer) {
        to.number(*self);
    }

    fn unpack(from: &mut Unpacker<'_>) -> u64 {
        from.number()
    }
}

impl Pack for u32 {
    fn pack(&self, to: &mut Packer) {
        to.number((*self).into());
    }

    fn unpack(from: &mut Unpacker<'_>) -> u32 {
        from.number() as u32
    }
}

impl Pack for f64 {
    fn pack(&self, to: &mut Packer) {
        to.bytes.extend(self.to_le_bytes());
    }

    fn unpack(from: &mut Unpacker<'_>) -> f64 {
        f64::from_le_bytes(from.bytes(size_of::<f64>()).try_into().unwrap_or_default())
    }
}

impl Pack for bool {
    fn pack(&self, to: &mut Packer) {
        to.number((*self).into());
    }

    fn unpack(from: &mut Unpacker<'_>) -> bool {
        from.number() == 1
    }
}

impl Pack for Tid {
    fn pack(&self, to: &mut Packer) {
        self.0.pack(to);
    }

    fn unpack(from: &mut Unpacker<'_>) -> Tid {
        Tid(Pack::unpack(from))
    }
}

impl Pack for Pid {
    fn pack(&self, to: &mut Packer) {
        self.0.pack(to);
    }

    fn unpack(from: &mut Unpacker<'_>) -> Pid {
        Pid(Pack::unpack(from))
    }
}

impl Pack for ThreadState {
    fn pack(&self, to: &mut Packer) {
        to.number(*self as u64);
    }

    fn unpack(from: &mut Unpacker<'_>) -> ThreadState {
        const ALL: [ThreadState; 5] = [
            ThreadState::Unknown,
            ThreadState::Running,
            ThreadState::Waiting,
            ThreadState::Blocked,
            ThreadState::Exited,
        ];
        ALL.get(from.number() as usize).copied().unwrap_or_default()
    }
}

impl<T: Pack> Pack for Option<T> {
    fn pack(&self, to: &mut Packer) {
        self.is_some().pack(to);
        self.iter().for_each(|some| some.pack(to));
    }

    fn unpack(from: &mut Unpacker<'_>) -> Option<T> {
        bool::unpack(from).then(|| T::unpack(from))
    }
}

impl<T: Pack> Pack for Box<T> {
    fn pack(&self, to: &mut Packer) {
        (**self).pack(to);
    }

    fn unpack(from: &mut Unpacker<'_>) -> Box<T> {
        Box::new(T::unpack(from))
    }
}

impl<T: Pack> Pack for Vec<T> {
    fn pack(&self, to: &mut Packer) {
        to.number(self.len() as u64);
        self.iter().for_each(|one| one.pack(to));
    }

    fn unpack(from: &mut Unpacker<'_>) -> Vec<T> {
        (0..from.number()).map(|_| T::unpack(from)).collect()
    }
}

impl Pack for Box<[u8]> {
    fn pack(&self, to: &mut Packer) {
        to.number(self.len() as u64);
        to.bytes.extend_from_slice(self);
    }

    fn unpack(from: &mut Unpacker<'_>) -> Box<[u8]> {
        let count = from.number() as usize;
        from.bytes(count).into()
    }
}

impl Pack for String {
    fn pack(&self, to: &mut Packer) {
        to.number(self.len() as u64);
        to.bytes.extend_from_slice(self.as_bytes());
    }

    fn unpack(from: &mut Unpacker<'_>) -> String {
        let count = from.number() as usize;
        String::from_utf8_lossy(from.bytes(count)).into_owned()
    }
}

impl<K: Key> Pack for Pairs<K> {
    fn pack(&self, to: &mut Packer) {
        self.bytes.pack(to);
    }

    fn unpack(from: &mut Unpacker<'_>) -> Pairs<K> {
        Pairs { bytes: Pack::unpack(from), kind: Default::default() }
    }
}

impl Pack for Track {
    fn pack(&self, to: &mut Packer) {
        self.0.pack(to);
    }

    fn unpack(from: &mut Unpacker<'_>) -> Track {
        Track(Pack::unpack(from))
    }
}

impl Pack for Arc<str> {
    fn pack(&self, to: &mut Packer) {
        to.share(self, |shared| &mut shared.texts);
    }

    fn unpack(from: &mut Unpacker<'_>) -> Arc<str> {
        let number = from.number() as usize;
        from.shared.texts.get(number).cloned().unwrap_or_default()
    }
}

impl Pack for Arc<Container> {
    fn pack(&self, to: &mut Packer) {
        to.share(self, |shared| &mut shared.containers);
    }

    fn unpack(from: &mut Unpacker<'_>) -> Arc<Container> {
        let number = from.number() as usize;
        from.shared.containers.get(number).cloned().unwrap_or_default()
    }
}

impl Pack for Arc<Sched> {
    fn pack(&self, to: &mut Packer) {
        to.share(self, |shared| &mut shared.scheds);
    }

    fn unpack(from: &mut Unpacker<'_>) -> Arc<Sched> {
        let number = from.number() as usize;
        from.shared.scheds.get(number).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_threads_share_is_kept_once() {
        let (name, sched) = (Arc::<str>::from("worker"), Arc::new(Sched::default()));
        let thread = |tid: u32| Thread {
            tid: Tid(tid),
            comm: Arc::clone(&name),
            sched: Some(Arc::clone(&sched)),
            cgroup: Some("/a".into()),
            ..Thread::default()
        };
        let threads: Vec<Thread> = (0..1_000).map(thread).collect();
        let packed: PackedThreads = threads.iter().collect();
        assert!(packed.iter().eq(threads.iter().cloned()));
        assert_eq!((packed.len(), packed.shared.scheds.len(), packed.shared.texts.len()), (1_000, 1, 1_001));
        assert!(packed.bytes() < 140 * 1_000, "{}", packed.bytes());
        assert!(Arc::ptr_eq(&packed.iter().next().expect("threads").comm, &name));
        for tid in [0, 63, 64, 777, 999] {
            assert_eq!(packed.find(Tid(tid), 0).as_ref(), threads.get(tid as usize));
        }
        assert_eq!((packed.find(Tid(64), 1), packed.find(Tid(5_000), 0)), (None, None));
        assert!(PackedThreads::default().is_empty() && PackedThreads::default().iter().next().is_none());
    }
}
