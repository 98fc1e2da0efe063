//! Plays a recording. Place in the flow: between a [`Timeline`](crate::recording::Timeline) and the dashboard, where the
//! live engine stands for a live source.
//!
//! ```text
//! Timeline -> Tape (model, look-ahead, checkpoints) -> Player (play, step, seek) -> engine -> UiMessage
//!                                        Command (keys) ------^
//! ```
//!
//! A position is a tick: the state at a time T is that of all records up to the last tick that is not later than T, and of
//! none after it. A tick that is up to [`LATE_NS`] later still is that of T. `report --to T` has the same rule. [`tape`] moves the model from tick to tick, [`checkpoints`] makes going
//! back cheap, [`player`] decides what to show when; they know neither clock nor terminal. [`engine`] gives them a clock.

pub mod checkpoints;
pub mod clock;
pub mod engine;
pub mod moment;
pub mod player;
pub mod speed;
pub mod tape;

pub use moment::{Moment, Span};
pub use player::{Motion, Player, Start, Status, Worst};
pub use speed::Speed;

/// A tick that is due at some time comes this much later at most, unless the machine is very busy.
pub const LATE_NS: u64 = 20_000_000;

/// The time of the newest tick that belongs to a time, `ns` since the start of a recording.
pub const fn up_to(start_ts: u64, ns: u64) -> u64 {
    start_ts.saturating_add(ns).saturating_add(LATE_NS)
}

/// What a user can ask of a player.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Play, or stand still.
    Toggle,
    /// Stand still, so many ticks after this one (before it: negative).
    Step(i64),
    /// So many seconds later (earlier: negative).
    Skip(i64),
    /// To a time, ns since the start of the recording.
    Jump(u64),
    /// Stand still where somebody waited longest; again: where somebody waited second longest, and so on.
    Worst,
    /// The next greater speed.
    Faster,
    /// The next smaller one.
    Slower,
}
