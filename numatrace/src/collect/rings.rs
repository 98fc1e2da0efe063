//! Ring buffers: one for each group of CPUs of a node, its memory on that node.

use std::{mem, thread};

use aya::maps::{Map, MapData, RingBuf};
use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_RINGBUF;
use thiserror::Error;

use super::load;

/// A ring, and where it is emptied.
pub struct Ring {
    /// The reader's end.
    pub buffer: RingBuf<MapData>,
    /// The CPUs that its drain thread may run on: its node's.
    pub home: Vec<u32>,
}

/// Why a ring cannot be made.
#[derive(Debug, Error)]
pub enum RingError {
    /// The kernel refused.
    #[error("the kernel refused {} for a ring ({})", crate::text::bytes(u64::from(*.bytes)), load::root(.cause))]
    Create {
        /// Bytes asked for.
        bytes: u32,
        /// Why.
        cause: aya::maps::MapError,
    },
    /// The thread that makes it could not be started.
    #[error("cannot start a thread to make a ring: {0}")]
    Thread(std::io::Error),
}

/// Makes the map of one ring on a CPU of the group, so that the kernel takes its pages from that CPU's node: with
/// no node named it allocates where the calling thread runs.
///
/// # Errors
/// [`RingError`] when the kernel refuses the memory.
pub fn create(cpus: &[u32], bytes: u32) -> Result<MapData, RingError> {
    let online: Vec<u32> = cpus.to_vec();
    let make = move || {
        // Best effort: an offline group gets its memory anywhere.
        pin_current_thread(&online);
        let definition = aya_obj::Map::new_from_params(BPF_MAP_TYPE_RINGBUF as u32, 0, 0, bytes, 0);
        MapData::create(definition, "numatrace_ring", None).map_err(|cause| RingError::Create { bytes, cause })
    };
    let handle = thread::Builder::new().name("numatrace-alloc".into()).spawn(make).map_err(RingError::Thread)?;
    match handle.join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// The reader's end of a ring map.
///
/// # Errors
/// When its memory cannot be mapped.
pub fn open(map: MapData, bytes: u32) -> Result<RingBuf<MapData>, RingError> {
    RingBuf::try_from(Map::RingBuf(map)).map_err(|cause| RingError::Create { bytes, cause })
}

/// Lets the calling thread run on these CPUs only; says whether the kernel agreed.
pub fn pin_current_thread(cpus: &[u32]) -> bool {
    // SAFETY: an all-zero set is a valid value of this plain C struct.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    let capacity = mem::size_of::<libc::cpu_set_t>() * 8;
    for cpu in cpus.iter().map(|cpu| *cpu as usize).filter(|cpu| *cpu < capacity) {
        // SAFETY: the CPU number is below the capacity of the set.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    // SAFETY: the set is valid and of the size that is passed; 0 is the calling thread.
    unsafe { libc::sched_setaffinity(0, mem::size_of::<libc::cpu_set_t>(), &raw const set) == 0 }
}
