//! What the kernel side and the user side of numatrace share: the record ABI ([`abi`]), the loader's
//! configuration of the probes ([`config`]) and the wait state machine ([`wait`]).
//!
//! Everything here is `no_std`, allocates nothing and does no I/O: the probes inline it, the scenario tests and
//! the importers run the very same code.
#![cfg_attr(not(test), no_std)]

pub mod abi;
pub mod buckets;
pub mod cause;
pub mod clock;
pub mod config;
pub mod pids;
pub mod shed;
pub mod sums;
pub mod touch;
pub mod wait;
