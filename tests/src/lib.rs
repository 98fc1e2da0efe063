//! Shared parts of the tests.

pub mod bench;
pub mod dashboard;
pub mod exported;
pub mod fixture;
pub mod found;
pub mod gallery;
pub mod golden;
pub mod guest;
pub mod heap;
pub mod keys;
pub mod live;
pub mod machine512;
pub mod made_sums;
pub mod middle;
pub mod perf_script;
pub mod producer;
pub mod prometheus;
pub mod screens;
pub mod service;
pub mod serving;
pub mod sysfs;
pub mod timeline;
pub mod tmux;
pub mod tty;
pub mod workload;
