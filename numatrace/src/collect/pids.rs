//! Ids of threads where numatrace is in a pid namespace of its own: what the probes call a thread, and what it is called here.
//!
//! A task iterator of the object writes both; it visits what the kernel shows this process: threads of its own namespace and of
//! those below it.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

use aya::{
    Btf, Ebpf, EbpfLoader, VerifierLogLevel,
    programs::{Iter, ProgramError, ProgramInfo},
};
use numatrace_common::pids::{PidOffsets, PidPair};

use super::{
    btf::KernelBtf,
    load::{LoadError, OBJECT, chain},
};
use crate::target::{Filter, Ids, Machine};

/// Name of the iterator.
pub(super) const PROGRAM: &str = "iter_pids";
/// Threads that are told of, at most: as many as there can be ids.
const MAX_PAIRS: usize = 1 << 22;

/// See [`PidOffsets`].
#[derive(Clone, Copy)]
#[repr(transparent)]
struct PodOffsets(PidOffsets);
// SAFETY: plain integers without padding (the size is asserted beside the type), any bytes are valid.
unsafe impl aya::Pod for PodOffsets {}

/// What was asked is asked again after this time, where somebody wants to know.
const AGAIN: Duration = Duration::from_millis(500);

/// What threads are called, and the iterator that tells it again.
#[derive(Debug)]
pub(super) struct Pids {
    ebpf: Ebpf,
    known: Known,
    asked: Instant,
}

/// What threads are called.
#[derive(Debug, Default)]
struct Known {
    /// Ids of here by those of the probes.
    here: HashMap<u32, u32>,
    /// Ids of the probes by those of here.
    threads: HashMap<u32, u32>,
    processes: HashMap<u32, u32>,
}

impl Pids {
    /// Asks the kernel.
    ///
    /// # Errors
    /// When the iterator is refused.
    pub(super) fn begin(kernel: &KernelBtf, types: &Btf) -> Result<Pids, LoadError> {
        let failed = |reason: String| LoadError::Program { hook: "iter/task of ids".into(), reason };
        let offset = |ty: &str, member: &str| {
            kernel.offset_of(ty, member).ok_or_else(|| failed(format!("this kernel's {ty} has no member {member}")))
        };
        let offsets = PidOffsets {
            pid: offset("task_struct", "pid")?,
            tgid: offset("task_struct", "tgid")?,
            group_leader: offset("task_struct", "group_leader")?,
            thread_pid: offset("task_struct", "thread_pid")?,
            level: offset("pid", "level")?,
            numbers: offset("pid", "numbers")?,
            reserved: [0; 2],
        };
        let mut ebpf = EbpfLoader::new()
            .verifier_log_level(VerifierLogLevel::DISABLE)
            .allow_unsupported_maps()
            .override_global("PID_OFFSETS", &PodOffsets(offsets), true)
            .map_max_entries("RAW_TASKS", 1)
            .map_max_entries("CELLS", 1)
            .load(OBJECT)
            .map_err(|error| LoadError::Object(Box::new(error)))?;
        iterator(&mut ebpf)
            .and_then(|program| program.load("task", types).map_err(|error| Failed(chain(&error))))
            .map_err(|error| failed(error.to_string()))?;
        let bytes = run(&mut ebpf).map_err(|error| failed(error.to_string()))?;
        Ok(Pids { ebpf, known: Known::of(pairs(&bytes)), asked: Instant::now() })
    }

    /// What the kernel says of the iterator.
    pub(super) fn program_info(&self) -> Result<ProgramInfo, ProgramError> {
        let program = self.ebpf.program(PROGRAM).ok_or(ProgramError::NotLoaded)?;
        program.info()
    }

    /// This process as the probes know it.
    pub(super) fn own(&self) -> Option<u32> {
        self.known.processes.get(&std::process::id()).copied()
    }

    /// The filter with the ids that the probes know. `given` says whose ids it has.
    ///
    /// # Errors
    /// When the kernel shows one of its threads to nobody here.
    pub(super) fn translate(&self, filter: &Filter, given: Ids, machine: &Machine) -> Result<Filter, LoadError> {
        let proc = if given == Ids::Own { Path::new("/proc") } else { machine.proc() };
        self.known.translate(filter, given, &|id| proc.join(id.to_string()).exists())
    }

    /// Asks again, where it was asked long ago: ids are given anew.
    pub(super) fn renew(&mut self) {
        // What is refused now was granted before; what was known then has to do.
        if self.asked.elapsed() >= AGAIN
            && let Ok(bytes) = run(&mut self.ebpf)
        {
            self.known = Known::of(pairs(&bytes));
            self.asked = Instant::now();
        }
    }

    /// What a thread is called here.
    pub(super) fn here(&self, tid: u32) -> Option<u32> {
        self.known.here.get(&tid).copied()
    }
}

impl Known {
    fn of(pairs: impl Iterator<Item = PidPair>) -> Known {
        let mut known = Known::default();
        for pair in pairs.take(MAX_PAIRS) {
            known.here.insert(pair.tid, pair.own_tid);
            known.threads.insert(pair.own_tid, pair.tid);
            known.processes.insert(pair.own_tgid, pair.tgid);
        }
        known
    }

    /// Those that have ended meanwhile are left out, as long as one is left.
    fn translate(&self, filter: &Filter, given: Ids, lives: &dyn Fn(u32) -> bool) -> Result<Filter, LoadError> {
        let own = |ids: &[u32], map: &HashMap<u32, u32>| {
            let mut found = Vec::with_capacity(ids.len());
            for id in ids {
                let known = match given {
                    Ids::Own => map.get(id).copied(),
                    Ids::Same | Ids::Files => self.here.contains_key(id).then_some(*id),
                };
                match known {
                    Some(known) => found.push(known),
                    None if lives(*id) => return Err(LoadError::Outside(*id)),
                    None => {}
                }
            }
            match (ids.first(), found.is_empty()) {
                (Some(first), true) => Err(LoadError::Outside(*first)),
                _ => Ok(found),
            }
        };
        Ok(match filter {
            Filter::Processes(ids) => Filter::Processes(own(ids, &self.processes)?),
            Filter::Threads(ids) => Filter::Threads(own(ids, &self.threads)?),
            other => other.clone(),
        })
    }
}

fn iterator(ebpf: &mut Ebpf) -> Result<&mut Iter, Failed> {
    let program = ebpf.program_mut(PROGRAM).ok_or_else(|| Failed(format!("the eBPF object has no {PROGRAM}")))?;
    program.try_into().map_err(|error: ProgramError| Failed(chain(&error)))
}

/// Runs the iterator. What it writes.
fn run(ebpf: &mut Ebpf) -> Result<Vec<u8>, Failed> {
    let refused = |error: &dyn std::error::Error| Failed(chain(error));
    let program = iterator(ebpf)?;
    let id = program.attach().map_err(|error| refused(&error))?;
    let link = program.take_link(id).map_err(|error| refused(&error))?;
    let mut file = link.into_file().map_err(|error| refused(&error))?;
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    while bytes.len() < MAX_PAIRS * size_of::<PidPair>() {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
            // The kernel pauses very long iterations.
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(refused(&error)),
        }
    }
    Ok(bytes)
}

/// Why the iterator did not run.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failed(String);

fn pairs(bytes: &[u8]) -> impl Iterator<Item = PidPair> {
    bytes.chunks_exact(size_of::<PidPair>()).map(|chunk| {
        let number = |at: usize| chunk[at * 4..][..4].iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
        PidPair { tid: number(0), tgid: number(1), own_tid: number(2), own_tgid: number(3) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        let pair = |tid, tgid, own_tid, own_tgid| PidPair { tid, tgid, own_tid, own_tgid };
        Known::of([pair(700, 700, 1, 1), pair(701, 700, 2, 1), pair(1, 900, 5, 4)].into_iter())
    }

    #[test]
    fn ids_of_here_become_those_of_the_probes() {
        let processes =
            known().translate(&Filter::Processes(vec![1, 4]), Ids::Own, &|id| id < 1_000).expect("both are there");
        assert_eq!(processes, Filter::Processes(vec![700, 900]));
        let threads = known().translate(&Filter::Threads(vec![2]), Ids::Own, &|id| id < 1_000).expect("it is there");
        assert_eq!(threads, Filter::Threads(vec![701]));
        assert!(matches!(
            known().translate(&Filter::Threads(vec![700]), Ids::Own, &|id| id < 1_000),
            Err(LoadError::Outside(700))
        ));
    }

    #[test]
    fn what_has_ended_meanwhile_is_left_out() {
        let some = known().translate(&Filter::Processes(vec![1, 5_000]), Ids::Own, &|id| id < 1_000);
        assert_eq!(some.expect("one is there"), Filter::Processes(vec![700]));
        let none = known().translate(&Filter::Processes(vec![5_000]), Ids::Own, &|_| false);
        assert!(matches!(none, Err(LoadError::Outside(5_000))));
    }

    #[test]
    fn ids_of_the_probes_stay_where_the_kernel_shows_their_threads() {
        let filter = Filter::Processes(vec![700]);
        assert_eq!(known().translate(&filter, Ids::Files, &|id| id < 1_000).expect("it is there"), filter);
        assert!(matches!(
            known().translate(&Filter::Processes(vec![7]), Ids::Files, &|id| id < 1_000),
            Err(LoadError::Outside(7))
        ));
    }

    #[test]
    fn a_pair_is_four_numbers_and_what_is_shorter_is_none() {
        let bytes: Vec<u8> = [700u32, 699, 2, 1].iter().flat_map(|n| n.to_le_bytes()).chain([1, 2, 3]).collect();
        let all: Vec<PidPair> = pairs(&bytes).collect();
        assert_eq!(all, [PidPair { tid: 700, tgid: 699, own_tid: 2, own_tgid: 1 }]);
    }
}
