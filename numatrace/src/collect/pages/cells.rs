//! Reads what the probes counted: the hash of cells, many at a time, and how much each has grown.

use std::{collections::HashMap, io, path::PathBuf};

use aya::{
    Pod,
    maps::{MapData, MapError},
};
use numatrace_common::config::{CellCount, CellKey, MAX_CELLS};

use crate::collect::{
    load::LoadError,
    maps::{self, Place},
};

/// Cells in one call: 128 KiB.
const BATCH: usize = 4_096;

#[derive(Clone, Copy)]
#[repr(transparent)]
struct PodKey(CellKey);
// SAFETY: plain integers without padding, any bytes are valid.
unsafe impl Pod for PodKey {}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct PodCount(CellCount);
// SAFETY: plain integers without padding, any bytes are valid.
unsafe impl Pod for PodCount {}

/// From so many cells on, it is looked for some of threads that are gone.
const CROWDED: usize = MAX_CELLS as usize / 2;
/// A cell that did not grow for so many reads may be of one.
const IDLE_READS: u32 = 16;
/// Threads that are looked for at one read.
const MOST_LOOKS: usize = 512;

/// What is remembered of a cell.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    count: u64,
    /// Reads since it grew.
    idle: u32,
}

/// See the module.
pub(super) struct Cells {
    map: MapData,
    told: HashMap<CellKey, Told>,
    keys: Vec<PodKey>,
    values: Vec<PodCount>,
    /// Where threads are by the ids that the probes tell, if anywhere.
    proc: Option<PathBuf>,
}

impl Cells {
    pub(super) fn new(map: MapData, proc: Option<PathBuf>) -> Cells {
        Cells { map, told: HashMap::new(), keys: Vec::new(), values: Vec::new(), proc }
    }

    /// Gives `grown` each cell that grew since the last time: key, process, and by how much. Cells of threads that are
    /// `dead`, by id and when they ended, are read for the last time: they make room for others.
    pub(super) fn read(
        &mut self,
        dead: &HashMap<u32, u64>,
        mut grown: impl FnMut(&CellKey, u32, u64),
    ) -> Result<(), LoadError> {
        let access = |error: io::Error| LoadError::MapAccess { map: "CELLS", cause: MapError::IoError(error) };
        self.keys.resize(BATCH, PodKey(CellKey::default()));
        self.values.resize(BATCH, PodCount(CellCount::default()));
        let mut over = Vec::new();
        let mut place = Place::default();
        let crowded = self.told.len() > CROWDED;
        let mut looks = 0;
        loop {
            let read = maps::read_many(&self.map, &mut place, &mut self.keys, &mut self.values);
            let (count, ended) = read.map_err(access)?;
            for (PodKey(key), PodCount(value)) in self.keys.iter().zip(&self.values).take(count) {
                let told = self.told.entry(*key).or_default();
                let more = value.count.saturating_sub(told.count);
                told.count = value.count;
                told.idle = if more > 0 { 0 } else { told.idle.saturating_add(1) };
                if more > 0 {
                    grown(key, value.tgid, more);
                } else if let Some(proc) = &self.proc
                    && crowded
                    && told.idle >= IDLE_READS
                    && looks < MOST_LOOKS
                {
                    // Its end was not heard of: the record was lost, or it was no target any more.
                    looks += 1;
                    if !proc.join(format!("{}/task/{}", value.tgid, key.tid)).exists() {
                        over.push(*key);
                    }
                    told.idle = 0;
                }
                if dead.get(&key.tid).is_some_and(|ended| key.start_ns <= *ended) {
                    over.push(*key);
                }
            }
            if ended {
                break;
            }
        }
        for key in over {
            self.told.remove(&key);
            maps::delete(&self.map, &PodKey(key));
        }
        Ok(())
    }
}
