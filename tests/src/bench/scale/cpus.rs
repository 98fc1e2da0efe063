//! What CPUs cost: to merge the lanes of so many, and a tick of threads that ran on all of them.

use std::hint::black_box;

use numatrace::{
    collect::sizes::Sizes,
    merge::Merger,
    model::{Limits, Meta, Model},
    topology::Topology,
};
use numatrace_common::abi::Slice;
use zerocopy::IntoBytes as _;

use super::super::{decode, table::median};
use crate::{machine512::Machine512, workload::os::cpu_time};

const COUNTS: [u32; 5] = [2, 8, 32, 128, 512];
/// Turns of each CPU in a piece of its lane, as a look finds them.
const RUN: u64 = 64;
const RECORDS: u64 = 1 << 20;
const THREADS: u32 = 1_000;
const RING_BYTES: u32 = 4 << 20;

/// Medians of rounds.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub cpus: u32,
    /// Rings, and drain threads.
    pub rings: usize,
    /// Kernel memory of rings and lanes.
    pub lanes_mb: f64,
    /// CPU time of the merge, ns a record.
    pub merge_ns: f64,
    /// Of copying the same records.
    pub copy_ns: f64,
    /// The snapshot of 1,000 threads that ran on all CPUs.
    pub snapshot_ms: f64,
}

/// Measures and prints.
pub fn run(rounds: usize) -> Vec<Cost> {
    println!("## CPUs, simulated: 32 to a node, {THREADS} threads that run on all of them\n");
    println!("| CPUs | rings | rings and lanes MB | merge ns a record | copying ns a record | ratio | snapshot ms |");
    println!("|---:|---:|---:|---:|---:|---:|---:|");
    let whole = Machine512::topology();
    let costs: Vec<Cost> = COUNTS.iter().map(|cpus| measure(*cpus, &whole, rounds.max(1))).collect();
    for Cost { cpus, rings, lanes_mb, merge_ns, copy_ns, snapshot_ms } in &costs {
        let ratio = merge_ns / copy_ns;
        println!("| {cpus} | {rings} | {lanes_mb:.0} | {merge_ns:.1} | {copy_ns:.1} | {ratio:.1} | {snapshot_ms:.2} |");
    }
    println!();
    costs
}

/// The first CPUs of a machine, and their nodes.
fn part(whole: &Topology, cpus: u32) -> Topology {
    let nodes = cpus.div_ceil(Machine512::OF_NODE) as usize;
    let mut part = whole.clone();
    part.cpus.truncate(cpus as usize);
    part.nodes.truncate(nodes);
    part.distances.truncate(nodes);
    part.distances.iter_mut().for_each(|row| row.truncate(nodes));
    part
}

fn measure(cpus: u32, whole: &Topology, rounds: usize) -> Cost {
    let topology = part(whole, cpus);
    let sizes = Sizes::of(&topology, RING_BYTES);
    let (mut merges, mut copies) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (merge, copy) = merge(&sizes);
        merges.push(merge);
        copies.push(copy);
    }
    let (merge_ns, copy_ns) = (median(merges), median(copies));
    let meta = Meta { host: topology.host("6.12.9", "x86_64"), start_ns: 1_000_000_000, ..Meta::default() };
    let mut model = Model::new(meta, topology, Limits::default());
    let (mut server, mut bytes) = (decode::Server::new(THREADS, cpus), Vec::new());
    for _ in 0..8 {
        server.fill(&mut bytes);
        decode::apply(&bytes, &mut model);
    }
    let snapshot = || {
        let start = cpu_time();
        drop(black_box(model.snapshot()));
        (cpu_time() - start).as_secs_f64() * 1e3
    };
    let snapshot_ms = median((0..rounds.max(5)).map(|_| snapshot()).collect());
    Cost { cpus, rings: sizes.groups.len(), lanes_mb: sizes.bytes() as f64 / 1e6, merge_ns, copy_ns, snapshot_ms }
}

/// Chunks as drain threads hand them over, one for each ring, of runs of each of its lanes; ns a record to merge them, and to copy
/// them.
fn merge(sizes: &Sizes) -> (f64, f64) {
    let mut merger = Merger::new(sizes.groups.len(), 2_000_000, 64 << 20);
    let (mut merged, mut made, mut now) = (0u64, 0u64, 1_000_000_000u64);
    let (mut merging, mut copying) = (0.0, 0.0);
    let mut copied: Vec<u8> = Vec::new();
    while made < RECORDS {
        let mut chunks: Vec<Vec<u8>> = vec![Vec::new(); sizes.groups.len()];
        for (group, chunk) in sizes.groups.iter().zip(&mut chunks) {
            for cpu in &group.online {
                for turn in 0..RUN {
                    // All CPUs at the same time, none at the same moment.
                    let ts = now + turn * 1_000 + u64::from(*cpu);
                    let header = Slice::header(ts, *cpu as u16, *cpu as u16);
                    chunk.extend_from_slice(Slice { header, tid: cpu + 1, ..Slice::default() }.as_bytes());
                    made += 1;
                }
            }
        }
        now += RUN * 1_000;
        let start = cpu_time();
        copied.clear();
        chunks.iter().for_each(|chunk| copied.extend_from_slice(chunk));
        black_box(&copied);
        let between = cpu_time();
        chunks.iter().enumerate().for_each(|(ring, chunk)| merger.push(ring, chunk));
        merger.drain_until(now, |record| merged += u64::from(!black_box(record).is_empty()));
        merging += (cpu_time() - between).as_secs_f64() * 1e9;
        copying += (between - start).as_secs_f64() * 1e9;
    }
    merger.flush(|_| merged += 1);
    assert_eq!((merged, merger.late()), (made, 0), "the work has a result");
    (merging / made as f64, copying / made as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_machine_has_its_rings_and_all_is_merged() {
        let whole = Machine512::topology();
        for (cpus, rings) in [(2, 1), (32, 2), (512, 32)] {
            let part = part(&whole, cpus);
            let sizes = Sizes::of(&part, RING_BYTES);
            assert_eq!((sizes.groups.len(), sizes.lanes()), (rings, cpus as usize));
        }
    }
}
