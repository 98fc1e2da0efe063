//! Reads what the probes counted: the hash of cells, many at a time, and how much each has grown.

use std::{
    collections::HashMap,
    io, mem,
    os::fd::{AsFd as _, AsRawFd as _},
};

use aya::maps::{MapData, MapError};
use numatrace_common::config::{CellCount, CellKey};

use crate::collect::load::LoadError;

/// Cells in one call: 128 KiB.
const BATCH: usize = 4_096;

/// Commands of `bpf(2)`.
const DELETE_ELEM: libc::c_int = 3;
const LOOKUP_BATCH: libc::c_int = 24;

/// The part of `union bpf_attr` for batches.
#[repr(C)]
#[derive(Default)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// The part of `union bpf_attr` for one element.
#[repr(C)]
#[derive(Default)]
struct ElemAttr {
    map_fd: u32,
    fill: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// See the module. Remembers a number for each cell.
pub(super) struct Cells {
    map: MapData,
    told: HashMap<CellKey, u64>,
    keys: Vec<CellKey>,
    values: Vec<CellCount>,
}

impl Cells {
    pub(super) fn new(map: MapData) -> Cells {
        Cells { map, told: HashMap::new(), keys: Vec::new(), values: Vec::new() }
    }

    /// Gives `grown` each cell that grew since the last time: key, process, and by how much. Cells of threads that are
    /// `dead`, by id and when they ended, are read for the last time: they make room for others.
    pub(super) fn read(
        &mut self,
        dead: &HashMap<u32, u64>,
        mut grown: impl FnMut(&CellKey, u32, u64),
    ) -> Result<(), LoadError> {
        self.keys.resize(BATCH, CellKey::default());
        self.values.resize(BATCH, CellCount::default());
        let mut over = Vec::new();
        // A place in the hash, which only the kernel understands.
        let (mut from, mut next) = (0u32, 0u32);
        let mut first = true;
        loop {
            let mut attr = BatchAttr {
                in_batch: if first { 0 } else { &raw const from as u64 },
                out_batch: &raw mut next as u64,
                keys: self.keys.as_mut_ptr() as u64,
                values: self.values.as_mut_ptr() as u64,
                count: BATCH as u32,
                map_fd: self.map.fd().as_fd().as_raw_fd() as u32,
                ..BatchAttr::default()
            };
            // SAFETY: keys and values have room for `count` of their kind, whose sizes the loader declared.
            let done =
                unsafe { libc::syscall(libc::SYS_bpf, LOOKUP_BATCH, &raw mut attr, mem::size_of::<BatchAttr>()) };
            let error = (done != 0).then(io::Error::last_os_error);
            let ended = error.as_ref().is_some_and(|error| error.raw_os_error() == Some(libc::ENOENT));
            if let Some(error) = error.filter(|_| !ended) {
                return Err(access(error));
            }
            let count = (attr.count as usize).min(BATCH);
            for (key, value) in self.keys.iter().zip(&self.values).take(count) {
                let told = self.told.entry(*key).or_default();
                let more = value.count.saturating_sub(*told);
                *told = value.count;
                if more > 0 {
                    grown(key, value.tgid, more);
                }
                if dead.get(&key.tid).is_some_and(|ended| key.start_ns <= *ended) {
                    over.push(*key);
                }
            }
            if ended {
                break;
            }
            from = next;
            first = false;
        }
        for key in over {
            self.told.remove(&key);
            self.delete(&key);
        }
        Ok(())
    }

    /// One that is not there any more is as well.
    fn delete(&self, key: &CellKey) {
        let map_fd = self.map.fd().as_fd().as_raw_fd() as u32;
        let attr = ElemAttr { map_fd, key: &raw const *key as u64, ..ElemAttr::default() };
        // SAFETY: a key of the map's size.
        unsafe { libc::syscall(libc::SYS_bpf, DELETE_ELEM, &raw const attr, mem::size_of::<ElemAttr>()) };
    }
}

fn access(error: io::Error) -> LoadError {
    LoadError::MapAccess { map: "CELLS", cause: MapError::IoError(error) }
}
