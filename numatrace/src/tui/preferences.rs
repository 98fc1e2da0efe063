//! How the user wants the dashboard, beside its colours: what [`crate::config`] settles and the dashboard begins with.

use std::sync::Arc;

use super::history::Window;
use super::keymap::Keymap;
use super::layout::Column;
use super::rows::Sort;
use super::state::Tab;
use crate::findings::Settings;

/// See the module. The default is what a user gets who has asked for nothing.
#[derive(Clone, Debug, Default)]
pub struct Preferences {
    /// Which keys do what.
    pub keymap: Arc<Keymap>,
    /// Draw with ASCII alone.
    pub ascii: bool,
    /// The view that is shown first.
    pub tab: Tab,
    /// The stretch of time that numbers are about at first.
    pub window: Window,
    /// How the threads are sorted at first.
    pub sort: Sort,
    /// Columns of threads in their order; none for those that fit.
    pub columns: Vec<Column>,
    /// Take clicks and the wheel from the terminal.
    pub mouse: bool,
    /// From which numbers on findings are shown.
    pub findings: Settings,
}
