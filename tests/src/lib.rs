//! Shared parts of the tests.

pub mod fixture;
pub mod golden;
pub mod bench;
pub mod guest;
pub mod live;
pub mod sysfs;
pub mod workload;
