//! The terminal dashboard: the last stop of the flow, which reads snapshots and keys and draws.
//!
//! ```text
//! UiMessage (snapshots) -> app -> History -> UiState::observe -.
//! terminal -> input -> Key -------> update(UiState, Key) ------+-> view::render -> terminal
//! ```
//!
//! [`history`] keeps what came. [`state`], [`table`], [`filter`], [`rows`], [`overview`], [`detail`], [`nodes`], [`page`], [`cells`], [`help`],
//! [`recording`], [`replay`] and [`layout`] are pure and know neither clock nor terminal; [`view`] draws without changing anything; [`terminal`], [`signals`] and
//! [`input`] alone touch the real terminal; [`app`] is the loop.

pub mod app;
pub mod cells;
pub mod clipboard;
pub mod detail;
pub mod filter;
mod heat;
pub mod help;
pub mod history;
pub mod input;
pub mod layout;
pub mod nodes;
pub mod overview;
pub mod page;
pub mod recording;
pub mod replay;
pub mod rows;
pub mod signals;
pub mod state;
pub mod table;
pub mod terminal;
pub mod theme;
mod touches;
pub mod view;

pub use app::{Exit, Options, Remote, UiMessage, run};
pub use recording::Recording;
