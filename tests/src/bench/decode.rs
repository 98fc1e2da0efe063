//! How many records a second the decoder and the model take, on one core.

use std::{path::Path, time::Duration};

use numatrace::{
    decode::decode,
    model::{Limits, Meta, Model},
    topology::Topology,
};
use numatrace_common::{
    abi::{Header, Migrate, Slice, Tick, slice_flags},
    cause::Cause,
};
use zerocopy::IntoBytes as _;

use crate::workload::os::cpu_time;

/// Threads that the records speak of.
const THREADS: u32 = 1_000;
/// CPUs that they run on.
const CPUS: u32 = 64;
/// Records made at a time.
const BATCH: usize = 1 << 16;

/// Records a second: of decoding and applying alone, not of making the records.
pub fn records_per_second(records: usize) -> f64 {
    let topology = Topology::read(Path::new("/sys")).unwrap_or_default();
    let mut model = Model::new(Meta::default(), topology, Limits::default());
    let mut server = Server::new(THREADS, CPUS);
    let (mut done, mut time, mut bytes) = (0, Duration::ZERO, Vec::new());
    while done < records {
        server.fill(&mut bytes);
        let start = cpu_time();
        done += apply(&bytes, &mut model);
        time += cpu_time() - start;
    }
    // The work has a result.
    assert_eq!(model.snapshot().threads.len(), THREADS as usize);
    done as f64 / time.as_secs_f64()
}

/// Takes in records that stand back to back. Returns how many.
pub fn apply(bytes: &[u8], model: &mut Model) -> usize {
    let (mut rest, mut done) = (bytes, 0);
    while rest.len() >= 4 {
        // Every record says its size behind its kind.
        let size = usize::from(u16::from_le_bytes([rest[2], rest[3]]));
        if let Ok(event) = decode(rest) {
            model.apply(&event);
        }
        rest = &rest[size..];
        done += 1;
    }
    done
}

/// Makes what a busy server makes: turns of all threads in no order, one in twenty a migration, a tick now and then.
/// Times and numbers go on from batch to batch, as a model expects them to.
pub struct Server {
    random: u64,
    cpus: u32,
    /// Time of the newest record.
    pub now: u64,
    seq: Vec<u32>,
}

impl Server {
    /// So many threads on so many CPUs.
    pub fn new(threads: u32, cpus: u32) -> Server {
        Server { random: 0x9e37_79b9_7f4a_7c15, cpus, now: 1_000_000_000, seq: vec![0; threads as usize] }
    }

    /// Number of the newest turn of a thread; ids begin with 1.
    pub fn seq(&self, tid: u32) -> u32 {
        self.seq[tid as usize - 1]
    }

    fn threads(&self) -> u32 {
        self.seq.len() as u32
    }

    /// A number below `limit` (xorshift: the same numbers in every run).
    fn below(&mut self, limit: u32) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % u64::from(limit)) as u32
    }

    /// The next records, in place of what is there.
    pub fn fill(&mut self, bytes: &mut Vec<u8>) {
        bytes.clear();
        let (threads, cpus) = (self.threads(), self.cpus);
        for record in 0..BATCH {
            self.now += u64::from(self.below(2_000));
            let (now, tid) = (self.now, self.below(threads));
            let (cpu, other) = (self.below(cpus) as u16, self.below(cpus) as u16);
            if record % 20_000 == 0 {
                bytes.extend(Tick { header: Tick::header(now, 0, 0), wall_ns: now }.as_bytes());
            } else if record % 20 == 0 {
                let header = Migrate::header(now, cpu, other);
                let cause = Cause::LoadBalance as u16;
                bytes.extend(Migrate { header, tid: tid + 1, tgid: 1, by: 2, cause, ..Migrate::default() }.as_bytes());
            } else {
                bytes.extend(self.slice(Slice::header(now, cpu, other), tid).as_bytes());
            }
        }
    }

    fn slice(&mut self, header: Header, thread: u32) -> Slice {
        self.seq[thread as usize] += 1;
        let threads = self.threads();
        let woken = slice_flags::WAIT_WAKEUP | slice_flags::OUT_VOLUNTARY;
        Slice {
            header,
            // From a microsecond to some milliseconds.
            wait_ns: 1_000 << self.below(13),
            slice_ns: self.below(200_000).into(),
            tid: thread + 1,
            tgid: 1,
            waker: self.below(threads) + 1,
            seq: self.seq[thread as usize],
            holder: self.below(threads) + 1,
            prev: self.below(threads) + 1,
            prev_ran: self.below(1_000),
            queued_cpu: header.cpu,
            flags: if self.below(4) == 0 { slice_flags::WAIT_PREEMPTED } else { woken },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_of_a_batch_is_decoded() {
        let mut bytes = Vec::new();
        Server::new(THREADS, CPUS).fill(&mut bytes);
        let (mut rest, mut count) = (&bytes[..], 0);
        while !rest.is_empty() {
            decode(rest).unwrap();
            rest = &rest[usize::from(u16::from_le_bytes([rest[2], rest[3]]))..];
            count += 1;
        }
        assert_eq!(count, BATCH);
    }
}
