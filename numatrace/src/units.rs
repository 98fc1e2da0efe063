//! Ids and units as types of their own, so that a CPU is never taken for a node.

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
