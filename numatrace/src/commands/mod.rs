//! One file a subcommand: wiring only.

pub mod completions;
pub mod config;
pub mod demo;
pub mod diff;
pub mod doctor;
pub mod engine;
mod interrupt;
mod launch;
pub mod live;
mod output;
mod progress;
pub mod record;
pub mod recording;
pub mod replay;
pub mod report;
mod session;
mod slow;
mod traced;
