//! How many records a second the decoder and the model take, on one core.

use std::{path::Path, time::Instant};

use numatrace::{
    decode::decode,
    model::{Limits, Meta, Model},
    topology::Topology,
};
use numatrace_common::{
    abi::{Migrate, Slice, Tick, slice_flags},
    cause::Cause,
};
use zerocopy::IntoBytes as _;

/// Threads that the records speak of.
const THREADS: u32 = 1_000;
/// CPUs that they run on.
const CPUS: u32 = 64;
/// Records of one pass; they are applied again and again.
const BATCH: usize = 1 << 16;

/// Records a second.
pub fn records_per_second(records: usize) -> f64 {
    let bytes = batch();
    let topology = Topology::read(Path::new("/sys")).unwrap_or_default();
    let mut model = Model::new(Meta::default(), topology, Limits::default());
    let (mut done, start) = (0, Instant::now());
    while done < records {
        let mut rest = &bytes[..];
        while rest.len() >= 4 {
            // Every record says its size behind its kind.
            let size = usize::from(u16::from_le_bytes([rest[2], rest[3]]));
            if let Ok(event) = decode(rest) {
                model.apply(&event);
            }
            rest = &rest[size..];
            done += 1;
        }
    }
    let rate = done as f64 / start.elapsed().as_secs_f64();
    // The work has a result.
    assert_eq!(model.snapshot().threads.len(), THREADS as usize);
    rate
}

/// What a busy server makes: turns of all threads in no order, one in twenty a migration, a tick now and then.
fn batch() -> Vec<u8> {
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut below = |limit: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % limit
    };
    let mut seq = vec![0u32; THREADS as usize];
    let (mut bytes, mut now) = (Vec::new(), 1_000_000_000);
    for record in 0..BATCH {
        now += below(2_000);
        let tid = below(THREADS.into()) as u32;
        let (cpu, other) = (below(CPUS.into()) as u16, below(CPUS.into()) as u16);
        if record % 20_000 == 0 {
            bytes.extend(Tick { header: Tick::header(now, 0, 0), wall_ns: now }.as_bytes());
        } else if record % 20 == 0 {
            let header = Migrate::header(now, cpu, other);
            let cause = Cause::LoadBalance as u16;
            bytes.extend(Migrate { header, tid: tid + 1, tgid: 1, by: 2, cause, ..Migrate::default() }.as_bytes());
        } else {
            seq[tid as usize] += 1;
            let slice = Slice {
                header: Slice::header(now, cpu, other),
                // From a microsecond to some milliseconds, short ones most often.
                wait_ns: 1_000 << below(13),
                slice_ns: below(200_000),
                tid: tid + 1,
                tgid: 1,
                waker: below(THREADS.into()) as u32 + 1,
                seq: seq[tid as usize],
                holder: below(THREADS.into()) as u32 + 1,
                prev: below(THREADS.into()) as u32 + 1,
                prev_ran: below(1_000) as u32,
                queued_cpu: cpu,
                flags: if below(4) == 0 {
                    slice_flags::WAIT_PREEMPTED
                } else {
                    slice_flags::WAIT_WAKEUP | slice_flags::OUT_VOLUNTARY
                },
            };
            bytes.extend(slice.as_bytes());
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_of_the_batch_is_decoded() {
        let bytes = batch();
        let (mut rest, mut count) = (&bytes[..], 0);
        while !rest.is_empty() {
            decode(rest).unwrap();
            rest = &rest[usize::from(u16::from_le_bytes([rest[2], rest[3]]))..];
            count += 1;
        }
        assert_eq!(count, BATCH);
    }
}
