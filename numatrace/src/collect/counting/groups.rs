//! Takes the sums of groups out of the kernel: of the two hashes, the one that the probes no longer add to.

use std::{io, time::Duration};

use aya::{
    Pod,
    maps::{Map, MapData, MapError},
};
use numatrace_common::sums::{CpuSums, GroupKey, GroupSums};

use crate::collect::{
    load::{LoadError, Probes},
    maps::{self, Place},
    system,
};

/// Groups in one call: about 250 KB.
const BATCH: usize = 256;
/// Where the kernel cannot say when all programs that ran have ended (`nohz_full`): they run for some microseconds, with
/// preemption off.
const SETTLE: Duration = Duration::from_millis(10);

#[derive(Clone, Copy)]
#[repr(transparent)]
struct PodKey(GroupKey);
// SAFETY: plain integers without padding, any bytes are valid.
unsafe impl Pod for PodKey {}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct PodSums(GroupSums);
// SAFETY: plain integers without padding, any bytes are valid.
unsafe impl Pod for PodSums {}

/// The sums of a CPU, as bytes.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct PodCpu(pub(super) CpuSums);
// SAFETY: plain integers without padding, any bytes are valid.
unsafe impl Pod for PodCpu {}

/// See the module.
pub(super) struct Groups {
    maps: [MapData; 2],
    turn: MapData,
    /// Which of the two is added to.
    active: u32,
    keys: Vec<PodKey>,
    sums: Vec<PodSums>,
}

impl Groups {
    /// Takes the maps of the probes, and lets them add to the first.
    pub(super) fn open(probes: &mut Probes) -> Result<Groups, LoadError> {
        let mut hash = |name| match probes.take_map(name)? {
            Map::HashMap(map) => Ok(map),
            _ => Err(LoadError::Map(name)),
        };
        let maps = [hash("GROUPS_0")?, hash("GROUPS_1")?];
        let Map::Array(turn) = probes.take_map("TURN")? else { return Err(LoadError::Map("TURN")) };
        let groups = Groups {
            maps,
            turn,
            active: 0,
            keys: vec![PodKey(GroupKey::default()); BATCH],
            sums: vec![PodSums(GroupSums::ZERO); BATCH],
        };
        groups.make_room_for_others(0)?;
        groups.make_room_for_others(1)?;
        Ok(groups)
    }

    /// The group that stands for those that find no room.
    fn make_room_for_others(&self, map: usize) -> Result<(), LoadError> {
        maps::write(&self.maps[map & 1], &PodKey(GroupKey::default()), &PodSums(GroupSums::ZERO)).map_err(access)
    }

    /// Gives `take` each group that was added to since the last time, with what was added.
    pub(super) fn take(&mut self, mut take: impl FnMut(&GroupKey, &GroupSums)) -> Result<(), LoadError> {
        let resting = self.active as usize;
        self.active ^= 1;
        maps::write(&self.turn, &0u32, &self.active)
            .map_err(|error| LoadError::MapAccess { map: "TURN", cause: MapError::IoError(error) })?;
        if !system::wait_for_probes() {
            std::thread::sleep(SETTLE);
        }
        let mut place = Place::default();
        loop {
            let taken = maps::take_many(&self.maps[resting & 1], &mut place, &mut self.keys, &mut self.sums);
            let (count, ended) = taken.map_err(access)?;
            for (PodKey(key), PodSums(sums)) in self.keys.iter().zip(&self.sums).take(count) {
                take(key, sums);
            }
            if ended {
                break;
            }
        }
        self.make_room_for_others(resting)
    }
}

fn access(error: io::Error) -> LoadError {
    LoadError::MapAccess { map: "GROUPS", cause: MapError::IoError(error) }
}
