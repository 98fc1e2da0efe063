//! The project's own tool: `cargo xtask setup|build-ebpf|run|test|fuzz|vm|bench|dist`.
//!
//! A library too, so that the tests boot guests through [`vm`] exactly as `cargo xtask vm` does.

pub mod cli;
pub mod deny;
pub mod dist;
pub mod ebpf;
pub mod fuzz;
pub mod legs;
pub mod run;
pub mod sanitize;
pub mod setup;
pub mod shell;
pub mod source_hash;
#[cfg(test)]
mod source_hash_tests;
pub mod toolchain;
pub mod vm;
