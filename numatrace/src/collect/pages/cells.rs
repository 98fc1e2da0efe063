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
        let crowded = self.told.len() > CROWDED;
        let mut looks = 0;
        let proc = self.proc.clone();
        self.each(|key, tgid, more, told| {
            let mut over = dead.get(&key.tid).is_some_and(|ended| key.start_ns <= *ended);
            if more > 0 {
                grown(key, tgid, more);
            } else if let Some(proc) = &proc
                && crowded
                && told.idle >= IDLE_READS
                && looks < MOST_LOOKS
            {
                // Its end was not heard of: the record was lost, or it was no target any more.
                looks += 1;
                over |= !proc.join(format!("{tgid}/task/{}", key.tid)).exists();
                told.idle = 0;
            }
            over
        })
    }

    /// As [`Cells::read`], where cells are of processes, whose ends nobody tells: those that did not grow are looked for, the less
    /// often the longer they are idle.
    pub(super) fn read_of_processes(&mut self, mut grown: impl FnMut(&CellKey, u64)) -> Result<(), LoadError> {
        let Some(proc) = self.proc.clone() else { return Ok(()) };
        let mut lives: HashMap<u32, bool> = HashMap::new();
        self.each(|key, tgid, more, told| {
            if more > 0 {
                grown(key, more);
                return false;
            }
            let is_due = told.idle.is_power_of_two() || told.idle.is_multiple_of(IDLE_READS);
            is_due && !*lives.entry(tgid).or_insert_with(|| proc.join(tgid.to_string()).exists())
        })
    }

    /// Gives `visit` each cell with its process and by how much it has grown; it says whether the cell can go.
    fn each(&mut self, mut visit: impl FnMut(&CellKey, u32, u64, &mut Told) -> bool) -> Result<(), LoadError> {
        let access = |error: io::Error| LoadError::MapAccess { map: "CELLS", cause: MapError::IoError(error) };
        self.keys.resize(BATCH, PodKey(CellKey::default()));
        self.values.resize(BATCH, PodCount(CellCount::default()));
        let mut over = Vec::new();
        let mut place = Place::default();
        loop {
            let read = maps::read_many(&self.map, &mut place, &mut self.keys, &mut self.values);
            let (count, ended) = read.map_err(access)?;
            for (PodKey(key), PodCount(value)) in self.keys.iter().zip(&self.values).take(count) {
                let told = self.told.entry(*key).or_default();
                let more = value.count.saturating_sub(told.count);
                told.count = value.count;
                told.idle = if more > 0 { 0 } else { told.idle.saturating_add(1) };
                if visit(key, value.tgid, more, told) {
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
