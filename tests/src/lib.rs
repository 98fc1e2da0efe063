//! Shared parts of the tests.

pub mod bench;
pub mod fixture;
pub mod golden;
pub mod guest;
pub mod live;
pub mod picture;
pub mod sysfs;
pub mod tty;
pub mod workload;
