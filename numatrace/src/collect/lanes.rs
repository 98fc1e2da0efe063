//! The reader's end of the lanes: turns that a CPU wrote, in memory that it and this program see at once.

use std::{
    io, mem,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    ptr::{self, NonNull},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use aya::maps::{MapData, MapError};
use aya_obj::generated::{BPF_F_INNER_MAP, BPF_F_MMAPABLE, bpf_map_type::BPF_MAP_TYPE_ARRAY};
use numatrace_common::{
    abi::Slice,
    config::{LaneEnds, MAX_CPUS},
};

/// Bytes of a slot.
pub const SLOT: usize = Slice::SIZE;
/// Fewest slots: what a page holds.
const MIN_SLOTS: u32 = 4096 / SLOT as u32;

/// What a lane has at least, where a ring has as much: about 8 ms of a CPU that does nothing but switch.
const MIN_BYTES: u32 = 512 << 10;

/// Slots of each lane where the lanes of `cpus` CPUs share `bytes`, a power of two.
pub fn slots(bytes: u32, cpus: usize) -> u32 {
    let share = (bytes / cpus.max(1) as u32).max(bytes.min(MIN_BYTES));
    (share / SLOT as u32).next_power_of_two().max(MIN_SLOTS)
}

/// Memory of a map that the probes write and this program sees.
struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the mapping is owned, and every access is by atomics or ordered by them.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(map: BorrowedFd<'_>, bytes: usize) -> io::Result<Mapping> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let start = unsafe { libc::mmap(ptr::null_mut(), bytes, protection, libc::MAP_SHARED, map.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Mapping { start, bytes })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

/// How far every lane is written and read.
#[derive(Clone)]
pub struct Ends(Arc<Mapping>);

impl Ends {
    /// Maps the ends of all lanes.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn open(map: &MapData) -> io::Result<Ends> {
        Mapping::new(map.fd().as_fd(), MAX_CPUS * size_of::<LaneEnds>()).map(|mapping| Ends(Arc::new(mapping)))
    }

    /// From now on one turn in `every`, a power of two, gets a record.
    pub fn keep_one_in(&self, every: u32) {
        let mask = u64::from(every.max(1)) - 1;
        for cpu in 0..MAX_CPUS as u32 {
            self.count(cpu, mem::offset_of!(LaneEnds, shed_mask)).store(mask, Ordering::Release);
        }
    }

    /// Turns that found no room in the lane of their CPU.
    pub fn lost(&self) -> u64 {
        (0..MAX_CPUS as u32).map(|cpu| self.count(cpu, mem::offset_of!(LaneEnds, lost)).load(Ordering::Relaxed)).sum()
    }

    fn count(&self, cpu: u32, offset: usize) -> &AtomicU64 {
        let place = (cpu as usize).min(MAX_CPUS - 1) * size_of::<LaneEnds>() + offset;
        // SAFETY: in bounds of the mapping and aligned to 8; the probes and this program write whole words.
        unsafe { &*self.0.start.as_ptr().add(place).cast::<AtomicU64>() }
    }
}

/// One CPU's lane.
pub struct Lane {
    cpu: u32,
    slots: u64,
    memory: Mapping,
    ends: Ends,
    taken: u64,
}

/// Makes the map of a lane where the calling thread's memory comes from.
///
/// # Errors
/// When the kernel refuses the memory.
pub fn create(slots: u32) -> Result<MapData, MapError> {
    let flags = BPF_F_MMAPABLE | BPF_F_INNER_MAP;
    let key = mem::size_of::<u32>() as u32;
    let definition = aya_obj::Map::new_from_params(BPF_MAP_TYPE_ARRAY as u32, key, SLOT as u32, slots, flags);
    MapData::create(definition, "numatrace_lane", None)
}

impl Lane {
    /// The reader's end of the lane of `cpu`, whose map has `slots`.
    ///
    /// # Errors
    /// When its memory cannot be mapped.
    pub fn open(cpu: u32, slots: u32, map: &MapData, ends: &Ends) -> io::Result<Lane> {
        let memory = Mapping::new(map.fd().as_fd(), slots as usize * SLOT)?;
        Ok(Lane { cpu, slots: u64::from(slots), memory, ends: ends.clone(), taken: 0 })
    }

    /// Turns that it holds.
    pub fn slots(&self) -> u64 {
        self.slots
    }

    fn written(&self) -> u64 {
        self.ends.count(self.cpu, mem::offset_of!(LaneEnds, written)).load(Ordering::Acquire)
    }

    /// How much of it is filled, in 1,024ths.
    pub fn fullness(&self) -> u64 {
        self.written().wrapping_sub(self.taken) * 1024 / self.slots
    }

    /// Appends what was written to `buffer`, at most `most` turns, and frees their slots. Returns how many.
    pub fn take(&mut self, most: u64, buffer: &mut Vec<u8>) -> u64 {
        let count = self.written().wrapping_sub(self.taken).min(self.slots).min(most);
        let first = (self.taken & (self.slots - 1)) as usize;
        // The lane goes round: up to two pieces.
        let before_end = (count as usize).min(self.slots as usize - first);
        self.copy(first, before_end, buffer);
        self.copy(0, count as usize - before_end, buffer);
        self.taken = self.taken.wrapping_add(count);
        // After the copies: from here on the probes may write there.
        self.ends.count(self.cpu, mem::offset_of!(LaneEnds, taken)).store(self.taken, Ordering::Release);
        count
    }

    fn copy(&self, first: usize, slots: usize, buffer: &mut Vec<u8>) {
        // SAFETY: in bounds of the mapping; the probes wrote these slots before `written`, which was read with
        // acquire order, and leave them alone until `taken` says that they were read.
        let bytes = unsafe { std::slice::from_raw_parts(self.memory.start.as_ptr().add(first * SLOT), slots * SLOT) };
        buffer.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lanes_of_a_group_share_what_a_ring_has() {
        assert_eq!(slots(4 << 20, 4), 16 << 10);
        // But no less than it takes to outlast a nap.
        assert_eq!(slots(4 << 20, 16), 8 << 10);
        assert_eq!(slots(4 << 20, 2), 32 << 10);
        // Rounded up to a power of two, and to a page.
        assert_eq!(slots(4 << 20, 3), 32 << 10);
        assert_eq!([slots(4096, 16), slots(4096, 1), slots(4096, 0)], [64; 3]);
        assert_eq!(slots(64 << 10, 16), 1 << 10);
    }
}
