//! `numatrace serve`: numbers of the whole machine for Prometheus. The probes sum up in the kernel and write no records.
//!
//! ```text
//! probes -> sums of threads, of processes -> collect/counting -> table -> Sums -> exposition -> answers -> http
//! ```

mod answers;
mod auth;
pub mod collector;
pub mod exposition;
pub mod http;
pub mod look;
pub mod sums;
pub mod table;
pub mod web_config;

use crate::container::Container;
use sums::Sums;

/// Where [`Sums`] come from.
pub trait Collect: Send {
    /// What is counted at this moment. Called on one thread, for all clients that ask within a second.
    ///
    /// # Errors
    /// When the kernel cannot be read; clients are told why, and the next second it is tried again.
    fn collect(&mut self) -> anyhow::Result<Sums>;

    /// The container whose cgroup has this path, if it is one.
    fn container(&mut self, path: &[u8]) -> Option<Container> {
        let _ = path;
        None
    }
}
