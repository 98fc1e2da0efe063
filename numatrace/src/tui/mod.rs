//! The terminal dashboard: the last stop of the flow, which reads snapshots and keys and draws.
//!
//! ```text
//! UiMessage (snapshots) -> app -> History -> UiState::observe -.
//! terminal -> input -> Key -------> update(UiState, Key) ------+-> view::render -> terminal
//! ```
//!
//! [`history`] keeps what came. [`state`], [`table`], [`filter`], [`rows`], [`overview`], [`detail`], [`nodes`], [`cpus`], [`events`],
//! [`findings`], [`page`], [`cells`], [`help`], [`recording`], [`replay`], [`keymap`], [`preferences`] and [`layout`] are pure and know neither clock nor terminal; [`view`]
//! draws without changing anything, and [`ascii`] takes out of the frame what the terminal cannot show; [`terminal`], [`signals`] and
//! [`input`] alone touch the real terminal; [`app`] is the loop.

pub mod app;
pub mod ascii;
pub mod cells;
pub mod clipboard;
pub mod cpus;
pub mod detail;
pub mod events;
mod explain;
pub mod filter;
pub mod findings;
mod heat;
pub mod help;
pub mod history;
pub mod input;
pub mod keymap;
pub mod layout;
mod mouse;
pub mod nodes;
pub mod overview;
pub mod page;
pub mod picture;
pub mod preferences;
mod quota;
pub mod rates;
pub mod recording;
pub mod replay;
pub mod rows;
pub mod save;
pub mod signals;
pub mod state;
pub mod table;
pub mod tabs;
pub mod terminal;
pub mod theme;
mod touches;
pub mod view;

pub use app::{Exit, Options, Remote, UiMessage, run};
pub use preferences::Preferences;
pub use recording::Recording;
pub use save::Place;
