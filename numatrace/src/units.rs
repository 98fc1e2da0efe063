//! Ids and units as types of their own, so that a CPU is never taken for a node.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($ty:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $ty);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A thread id, as the kernel's `task_struct.pid`.
    Tid(u32)
);
id!(
    /// A process id, as the kernel's `task_struct.tgid`.
    Pid(u32)
);
id!(
    /// A CPU number.
    CpuId(u32)
);
id!(
    /// A NUMA node number.
    NodeId(u32)
);
id!(
    /// A duration or a point in time in nanoseconds.
    Nanos(u64)
);

/// Thread ids are small numbers that the kernel hands out in order: one multiplication spreads them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TidHasher(u64);

impl Hasher for TidHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    #[inline]
    fn write_u32(&mut self, id: u32) {
        let spread = (self.0 ^ u64::from(id)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = spread ^ (spread >> 32);
    }
}

/// A map by thread id.
pub(crate) type TidMap<T> = HashMap<u32, T, BuildHasherDefault<TidHasher>>;

/// The sum of numbers that may come from a recording that somebody made up: as much as can be told, where it is more.
pub fn sum<'a>(numbers: impl IntoIterator<Item = &'a u64>) -> u64 {
    numbers.into_iter().fold(0, |sum, number| sum.saturating_add(*number))
}
