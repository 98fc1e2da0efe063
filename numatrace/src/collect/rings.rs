//! Rings and lanes: for each group of CPUs of a node one BPF ring, and for each CPU of it a lane for its turns, their
//! memory on that node.

use std::{io, mem, thread};

use aya::maps::{Map, MapData, RingBuf};
use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_RINGBUF;
use thiserror::Error;

use super::{
    lanes::{self, Lane},
    load,
};

/// What one drain thread empties, and where.
pub struct Ring {
    /// The reader's end of the ring.
    pub buffer: RingBuf<MapData>,
    /// The reader's ends of the lanes.
    pub lanes: Vec<Lane>,
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
    /// The kernel did not let this process see the memory.
    #[error("the kernel refused to show the memory of a ring ({0})")]
    Show(io::Error),
    /// The thread that makes it could not be started.
    #[error("cannot start a thread to make a ring: {0}")]
    Thread(io::Error),
}

/// The maps of a group.
pub struct Maps {
    /// The ring.
    pub ring: MapData,
    /// One lane for each of the group's CPUs that are online.
    pub lanes: Vec<MapData>,
}

/// Makes the maps of one group, with `lanes` lanes of `slots`, on one of the CPUs of `home`, so that the kernel takes
/// their pages from that CPU's node: with no node named it allocates where the calling thread runs.
///
/// # Errors
/// [`RingError`] when the kernel refuses the memory.
pub fn create(home: &[u32], bytes: u32, lanes: usize, slots: u32) -> Result<Maps, RingError> {
    let home: Vec<u32> = home.to_vec();
    let make = move || {
        // Best effort: an offline group gets its memory anywhere.
        pin_current_thread(&home);
        let definition = aya_obj::Map::new_from_params(BPF_MAP_TYPE_RINGBUF as u32, 0, 0, bytes, 0);
        let refused = |bytes| move |cause| RingError::Create { bytes, cause };
        let ring = MapData::create(definition, "numatrace_ring", None).map_err(refused(bytes))?;
        let lane = || lanes::create(slots).map_err(refused(slots * lanes::SLOT as u32));
        let lanes = (0..lanes).map(|_| lane()).collect::<Result<_, _>>()?;
        Ok(Maps { ring, lanes })
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
