//! Shared parts of the tests.

pub mod sysfs;
pub mod workload;
