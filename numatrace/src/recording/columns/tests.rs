use numatrace_common::abi::{
    Attributes, CgroupPath, Counters, Gap, Migrate, NO_CPU, NO_NODE, NO_TID, NodeMemory, Placement, Quota, Slice, Task,
    Throttled, Tick, Totals, Touches, Where, Words, kind, slice_flags,
};
use proptest::prelude::*;

use super::*;

fn pack(raw: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    Encoder::default().pack(raw, &mut plain);
    plain
}

fn unpack(plain: &[u8], records: u32, raw_len: usize) -> Result<Vec<u8>, Damaged> {
    let mut raw = Vec::new();
    Decoder::default().unpack(plain, records, raw_len, &mut raw).map(|()| raw)
}

/// Bytes of records, and how many they are.
#[derive(Clone, Debug, Default)]
struct Records {
    raw: Vec<u8>,
    count: u32,
}

impl Records {
    fn push(&mut self, record: &[u8]) {
        self.raw.extend_from_slice(record);
        self.count += 1;
    }

    fn survive(&self) {
        let plain = pack(&self.raw);
        assert_eq!(unpack(&plain, self.count, self.raw.len()).as_ref(), Ok(&self.raw));
    }
}

/// Two threads that take turns on a CPU, as on a pipe.
fn turns(n: u32) -> Records {
    let mut records = Records::default();
    let mut ts = 1_000_000_000;
    for turn in 0..n {
        let slice_ns = 1500 + u64::from(turn * 37 % 400);
        ts += slice_ns;
        let (tid, other) = if turn % 2 == 0 { (4711, 4712) } else { (4712, 4711) };
        let flags = slice_flags::WAIT_WAKEUP | slice_flags::OUT_VOLUNTARY;
        let header = Slice::header(ts, 3, 3);
        let (wait_ns, prev_ran) = (700 + u64::from(turn % 7), 1);
        let seq = turn / 2 + 1;
        let turn = Slice {
            header,
            wait_ns,
            slice_ns,
            tid,
            tgid: 4711,
            waker: other,
            seq,
            holder: other,
            prev: other,
            prev_ran,
            queued_cpu: 3,
            flags,
        };
        records.push(turn.as_bytes());
    }
    records
}

#[test]
fn columns_are_numbered_as_in_the_document() {
    let mut first = FIRST_LAYOUT;
    let ranges = LAYOUTS.map(|layout| {
        let range = (first, first + layout.columns() - 1);
        first += layout.columns();
        range
    });
    let version_1 =
        [(25, 32), (33, 42), (43, 68), (69, 71), (72, 81), (82, 87), (88, 90), (91, 96), (97, 122), (123, 132)];
    let version_2 = [(133, 148), (149, 154), (155, 163), (164, 171), (172, 175)];
    let version_3 = [(176, 182), (183, 189), (190, 198), (199, 209)];
    let all = [&version_1[..], &version_2, &version_3].concat();
    assert_eq!((ranges.as_slice(), first, COLUMNS), (all.as_slice(), 210, 210));
    // The shared ones and those of turns, each filled with its number.
    let mut columns: Columns<usize> = Columns::default();
    columns.all_mut().enumerate().for_each(|(at, column)| *column = at);
    let Columns { shared, of_turns, .. } = columns;
    assert_eq!((shared.time, shared.kind, shared.runs, shared.thread), ([0, 1, 2], 3, 4, 5));
    assert_eq!((shared.new_ids, shared.other, of_turns.gap, of_turns.wait), (6, 7, [8, 9, 10], [11, 12, 13]));
    assert_eq!((of_turns.cpu, of_turns.shape, of_turns.flags, of_turns.prev, of_turns.prev_ran), (14, 15, 16, 17, 18));
    assert_eq!((of_turns.tgid, of_turns.seq, of_turns.waker, of_turns.holder), (19, 20, 21, 22));
    assert_eq!((of_turns.last_cpu, of_turns.queued_cpu), (23, 24));
}

#[test]
fn regular_turns_need_few_bytes() {
    let records = turns(10_000);
    records.survive();
    let plain = pack(&records.raw);
    assert!(plain.len() < 10 * records.count as usize, "{} bytes", plain.len());
}

#[test]
fn every_kind_survives_and_so_do_unknown_ones() {
    let mut records = Records::default();
    for round in 0..3u32 {
        let ts = 5_000 + u64::from(round) * 1_000;
        let tid = 100 + round % 2;
        records.push(
            Migrate {
                header: Migrate::header(ts, 1, 2),
                tid,
                tgid: 100,
                by: 7,
                seq: round,
                cause: 2,
                by_cpu: 1,
                reserved: 0,
            }
            .as_bytes(),
        );
        let comm = *b"worker-1\0\xff\0\0\0\0\0\0";
        records.push(
            Task { header: Task::header(ts - 9, 0, NO_CPU), tid, start_ns: 77, comm, ..Task::default() }.as_bytes(),
        );
        let totals =
            Totals { header: Totals::header(ts, 1, 0), tid, cpu_ns: ts * 3, waker: NO_TID, ..Totals::default() };
        records.push(totals.as_bytes());
        let mut base = totals;
        base.header.kind = kind::TOTALS_BASE;
        records.push(base.as_bytes());
        records.push(Tick { header: Tick::header(ts, 0, 0), wall_ns: u64::MAX - ts }.as_bytes());
        let counters = Counters { header: Counters::header(ts, 0, 0), wanted: ts, ..Counters::default() };
        records.push(counters.as_bytes());
        let header = Attributes::header(ts, 0, 0);
        records.push(Attributes { header, tid, nice: -20, policy: 0, rt_priority: 0, allowed: [3; 16] }.as_bytes());
        let header = CgroupPath::header(ts, 0, 0);
        records.push(CgroupPath { header, cgroup: 9, offset: 32, total: 70, piece: [b'x'; 32] }.as_bytes());
        let counts = [ts, 0, 1, 0, 0, 2, 3, 4, 512];
        let header = Touches::header(ts, 0, 0);
        let touches =
            Touches { header, tid, tgid: 100, start_ns: 77, cpu_node: 1, page_node: NO_NODE, hint_units: 9, counts };
        records.push(touches.as_bytes());
        records
            .push(Words { header: Words::header(ts, 0, 0), id: 1, offset: 0, total: 4, piece: [b'y'; 32] }.as_bytes());
        let place =
            Where { header: Where::header(ts, 0, 0), tid, mapping: 1, symbol: 2, remote: ts, ..Where::default() };
        records.push(place.as_bytes());
        let header = Placement::header(ts - 9, 0, 0);
        let placement = Placement { header, tgid: 100, node: 1, nodes: 2, pages: ts, unknown: 1, began_ns: ts - 99 };
        records.push(placement.as_bytes());
        records.push(Gap { header: Gap::header(ts, 3, 0), start_ns: ts - 50, end_ns: ts - 20 }.as_bytes());
        let header = Throttled::header(ts, 1, 0);
        let mut throttled = Throttled { header, tid, tgid: 100, seq: round, reserved: 0, throttled_ns: ts, open_ns: 5 };
        records.push(throttled.as_bytes());
        throttled.header.kind = kind::THROTTLED_BASE;
        records.push(throttled.as_bytes());
        let header = Quota::header(ts, 0, 0);
        records.push(Quota { header, cgroup: 9, periods: ts, quota_us: u64::MAX, ..Quota::default() }.as_bytes());
        let header = NodeMemory::header(ts, 0, 0);
        let memory = NodeMemory { header, node: 1, nodes: 2, free_bytes: ts << 12, ..NodeMemory::default() };
        records.push(memory.as_bytes());
        // A kind that nobody knows, and one of a size that it does not have.
        let mut unknown = [round as u8; 40];
        unknown[..4].copy_from_slice(&[0xee, 0, 40, 0]);
        records.push(&unknown);
        unknown[..2].copy_from_slice(&Slice::KIND.to_le_bytes());
        records.push(&unknown);
    }
    records.survive();
    turns(3).survive();
    Records::default().survive();
}

#[test]
fn a_frame_of_a_version_with_fewer_columns_reads() {
    let records = turns(4);
    let plain = pack(&records.raw);
    // The same without the last column, which is empty.
    let mut column = Column(&plain);
    let count = column.number().expect("a count");
    let mut fewer = Vec::new();
    put(&mut fewer, count - 1);
    for _ in 0..count - 1 {
        put(&mut fewer, column.number().expect("a length"));
    }
    assert_eq!(column.number(), Ok(0));
    fewer.extend_from_slice(column.0);
    assert_eq!(unpack(&fewer, records.count, records.raw.len()), Ok(records.raw));
}

fn any_slice() -> impl Strategy<Value = Slice> {
    let ids = || prop_oneof![0u32..6, Just(NO_TID), any::<u32>()];
    let cpus = || prop_oneof![0u16..3, Just(NO_CPU)];
    let ns = || prop_oneof![0u64..3000, any::<u64>()];
    ((ns(), ns(), ns(), ids(), ids(), ids()), (0u32..9, ids(), ids(), any::<u32>()), (cpus(), cpus(), cpus(), 0u16..40))
        .prop_map(
            |(
                (ts, wait_ns, slice_ns, tid, tgid, waker),
                (seq, holder, prev, prev_ran),
                (cpu, cpu2, queued_cpu, flags),
            )| {
                let header = Slice::header(ts, cpu, cpu2);
                Slice { header, wait_ns, slice_ns, tid, tgid, waker, seq, holder, prev, prev_ran, queued_cpu, flags }
            },
        )
}

proptest! {
    #[test]
    fn any_turns_survive(all in prop::collection::vec(any_slice(), 0..60)) {
        let mut records = Records::default();
        all.iter().for_each(|turn| records.push(turn.as_bytes()));
        records.survive();
    }

    #[test]
    fn any_records_survive(all in prop::collection::vec((0usize..=11, any::<[u8; 160]>()), 0..40)) {
        let mut records = Records::default();
        for (which, mut bytes) in all {
            let (kind, size) = match which.checked_sub(1) {
                None => (Slice::KIND, Slice::SIZE),
                Some(at) => LAYOUTS.get(at).map_or((0x777, 48), |layout| (layout.kind, layout.size)),
            };
            bytes[..2].copy_from_slice(&kind.to_le_bytes());
            bytes[2..4].copy_from_slice(&(size as u16).to_le_bytes());
            records.push(&bytes[..size]);
        }
        records.survive();
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        records in 0u32..50,
        raw_len in 0usize..5000,
    ) {
        let _ = unpack(&bytes, records, raw_len);
    }

    #[test]
    fn changed_columns_are_read_or_refused(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let records = turns(50);
        let mut plain = pack(&records.raw);
        let at = at.index(plain.len());
        plain[at] = to;
        if let Ok(raw) = unpack(&plain, records.count, records.raw.len()) {
            prop_assert_eq!(raw.len(), records.raw.len());
        }
    }
}
