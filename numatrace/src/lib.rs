//! numatrace tells why a service is slow on a big machine: which threads wait for a CPU, hop between NUMA nodes,
//! or touch memory on the wrong node.
//!
//! Data flows one way:
//!
//! ```text
//! kernel hook -> record -> ring -> collect -> decode -> Model -> Snapshot -> { tui | report | export }
//! ```
//!
//! Only [`collect`] knows aya, only [`tui`] knows the terminal, and [`model`] knows neither clock nor I/O.

pub mod cli;
pub mod collect;
pub mod commands;
pub mod config;
pub mod container;
pub mod decode;
pub mod demo;
pub mod diff;
pub mod export;
pub mod findings;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzz;
pub mod import;
pub mod mempolicy;
pub mod merge;
pub mod model;
pub(crate) mod numa;
pub mod recording;
pub mod replay;
pub mod report;
pub mod rights;
pub mod serve;
pub mod snapshot;
pub mod source;
pub mod symbols;
pub mod target;
pub mod text;
pub mod topology;
pub mod trigger;
pub mod tui;
pub mod units;
pub mod whatif;
pub mod window;
pub mod words;
