//! One file a subcommand: wiring only.

pub mod completions;
pub mod config;
pub mod demo;
pub mod diff;
pub mod doctor;
pub mod engine;
pub mod export;
mod flight;
pub mod import;
mod interrupt;
mod keys;
mod launch;
pub mod live;
pub mod man;
mod output;
mod progress;
pub mod record;
pub mod recording;
pub mod replay;
pub mod report;
pub mod serve;
mod session;
mod slow;
mod traced;
