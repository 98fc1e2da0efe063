//! `numatrace serve`: numbers of the whole machine for Prometheus. The probes sum up in the kernel and write no records.
//!
//! ```text
//! probes -> sums of threads, of processes -> collect/sums -> Sums -> exposition -> http
//! ```

pub mod exposition;
pub mod sums;
