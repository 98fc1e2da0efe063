//! The kernel side from user space: what this kernel offers, loading and attaching the probes, draining the rings.
//! The only code that imports aya. Place in the flow: between the rings and `merge`.

mod attributes;
pub mod btf;
mod cgroups;
pub mod compatibility;
pub mod counting;
pub mod drain;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
pub mod hooks;
pub mod lanes;
pub mod live;
pub mod load;
mod maps;
mod namespace_ids;
mod node_memory;
pub mod offsets;
mod own;
pub mod pages;
mod pids;
pub mod placement;
mod quotas;
pub mod rings;
mod self_cost;
mod shedder;
pub mod sizes;
pub mod synthetic;
pub mod system;

pub use shedder::MaxOverhead;
