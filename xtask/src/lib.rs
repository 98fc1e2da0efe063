//! The project's own tool: `cargo xtask setup|build-ebpf|run|test|vm|bench|dist`.
//!
//! A library too, so that the tests boot guests through [`vm`] exactly as `cargo xtask vm` does.

pub mod cli;
pub mod dist;
pub mod ebpf;
pub mod legs;
pub mod run;
pub mod setup;
pub mod shell;
pub mod source_hash;
#[cfg(test)]
mod source_hash_tests;
pub mod toolchain;
pub mod vm;
