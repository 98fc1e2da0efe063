//! The real dashboard in a pane: pressing its keys, and what must be true of its screen whatever is pressed.
//!
//! The same on this host and on a guest's console, so nothing here looks at processes.

use anyhow::{Context as _, Result, ensure};

use numatrace::tui::state::Mode;

use crate::{
    keys::{self, HelpKey, Kind},
    tmux::{self, Screen, TerminalState, Tmux},
};

/// The views by their digits, as the header names the one that is shown.
const VIEWS: [(&str, &str); 6] =
    [("1", "[Overview]"), ("2", "[Threads]"), ("3", "[Thread]"), ("4", "[Nodes]"), ("5", "[CPUs]"), ("6", "[Events]")];
/// The mark of the column that the table is sorted by.
const SORT_MARKS: [char; 2] = ['▼', '▲'];

/// A dashboard that was started from a shell in a pane.
#[derive(Debug)]
pub struct Dashboard<'a> {
    /// Its pane.
    pub pane: &'a Tmux,
    /// What the header calls the target.
    label: String,
    /// Which keys it has.
    mode: Mode,
    /// The terminal before it was started.
    before: TerminalState,
}

impl<'a> Dashboard<'a> {
    /// Types `line` at the prompt, and returns when the dashboard shows the target.
    ///
    /// # Errors
    /// When it does not.
    pub fn start(pane: &'a Tmux, line: &str, label: &str) -> Result<Dashboard<'a>> {
        Dashboard::start_in(Mode::Live, pane, line, label)
    }

    /// As [`Dashboard::start`], for a line that plays a recording.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start_replay(pane: &'a Tmux, line: &str, label: &str) -> Result<Dashboard<'a>> {
        Dashboard::start_in(Mode::Replay, pane, line, label)
    }

    fn start_in(mode: Mode, pane: &'a Tmux, line: &str, label: &str) -> Result<Dashboard<'a>> {
        let before = pane.terminal_state()?;
        ensure!(
            before.flags.starts_with("alternate=0 cursor=1 wrap=1 "),
            "this is no terminal to begin with: {before:?}"
        );
        pane.type_line(line)?;
        let dashboard = Dashboard { pane, label: label.into(), mode, before };
        dashboard.up()?;
        Ok(dashboard)
    }

    /// Waits until the dashboard has the terminal, and shows all of itself.
    ///
    /// # Errors
    /// When it does not.
    pub fn up(&self) -> Result<Screen> {
        let screen =
            self.pane.wait_for(&format!("the dashboard of '{}'", self.label), |screen| self.is_whole(screen))?;
        let state = self.pane.terminal_state()?;
        ensure!(state.flags.starts_with("alternate=1 cursor=0 "), "a dashboard with {}:\n{screen}", state.flags);
        ensure!(state.stty.contains("-icanon") && state.stty.contains("-echo"), "a dashboard with {}", state.stty);
        Ok(screen)
    }

    /// From the header on the first line to the footer on the last. It is drawn in this order.
    fn is_whole(&self, screen: &Screen) -> bool {
        // A paused or ended one says so before the target.
        screen.first().contains(&self.label)
            && screen.first().contains("lost 0")
            && (screen.last().contains("q quit") || is_editing(screen))
    }

    /// Presses a key.
    ///
    /// # Errors
    /// When the pane is gone.
    pub fn press(&self, key: &str) -> Result<()> {
        self.pane.press(&[key])
    }

    /// Presses a key and waits for what it does.
    ///
    /// # Errors
    /// When it does not.
    pub fn press_for(&self, key: &str, what: &str, shown: impl Fn(&Screen) -> bool) -> Result<Screen> {
        self.press(key)?;
        self.pane
            .wait_for(what, |screen| self.is_whole(screen) && shown(screen))
            .with_context(|| format!("after the key {key}"))
    }

    /// Waits until every key that was pressed has had its effect, and the screen was drawn anew.
    ///
    /// # Errors
    /// When the dashboard has ended, or its screen is not as it should be.
    pub fn settled(&self) -> Result<Screen> {
        self.pane.repaint()?;
        let screen = self.up()?;
        let odd = screen.0.iter().find(|line| line.contains(['\u{fffd}', '\x1b']) || line.contains("^["));
        ensure!(odd.is_none(), "{odd:?} in\n{screen}");
        Ok(screen)
    }

    /// Presses every key of the help that does not end or stop the dashboard, in every view; says how many times.
    ///
    /// # Errors
    /// When the dashboard does not live through it.
    pub fn press_every_key(&self) -> Result<usize> {
        let keys = keys::of_kind(self.mode, Kind::Stays)?;
        let mut pressed = 0;
        for view in views()? {
            for HelpKey { tmux: key, meaning, .. } in &keys {
                self.to_view(view)?;
                if key == "Escape" {
                    // On its own it does nothing, and a terminal takes it and the key after it for one.
                    self.press_for("?", "the help", is_help)?;
                    self.press_for(key, "the end of the help", |screen| !is_help(screen))?;
                } else {
                    self.press(key)?;
                }
                self.settled().with_context(|| format!("after '{key}' ({meaning}) in view '{view}'"))?;
                pressed += 1;
            }
        }
        Ok(pressed)
    }

    /// Goes to the view of that digit, from whatever is shown.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn to_view(&self, digit: &str) -> Result<Screen> {
        let screen = self.pane.screen()?;
        if is_editing(&screen) {
            // What is typed halfway is no filter, which Enter would not keep.
            self.press_for("Escape", "the end of typing", |screen| !is_editing(screen))?;
        } else if is_choosing(&screen) {
            self.press_for("Enter", "the end of the list of columns", |screen| !is_choosing(screen))?;
        } else if is_help(&screen) {
            self.press_for("?", "the end of the help", |screen| !is_help(screen))?;
        }
        let view = VIEWS.iter().find(|(of, _)| *of == digit);
        let (_, name) = view.with_context(|| format!("there is no view {digit}"))?;
        self.press_for(digit, name, |screen| screen.has(name))
    }

    /// Goes to the table of threads.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn to_threads(&self) -> Result<Screen> {
        self.to_view("2")?;
        self.pane.wait_for("a table of threads", |screen| self.is_whole(screen) && sorted_by(screen).is_some())
    }

    /// Gives the terminal another size, and waits until the dashboard fills it.
    ///
    /// # Errors
    /// When it does not.
    pub fn resize(&self, width: u16, height: u16) -> Result<Screen> {
        self.pane.resize(width, height)?;
        // From the first column of the first line, where the target is, to the last one, where loss is.
        let fills = |screen: &Screen| {
            let size = (screen.first().chars().count(), screen.0.len());
            self.is_whole(screen) && size == (width.into(), height.into())
        };
        self.pane.wait_for(&format!("a dashboard of {width}x{height}"), fills)
    }

    /// Ends a pause, if there is one.
    ///
    /// # Errors
    /// When it does not end.
    pub fn resume(&self) -> Result<()> {
        if self.pane.screen()?.has("PAUSED") {
            self.press_for("Space", "the end of the pause", |screen| !screen.has("PAUSED"))?;
        }
        Ok(())
    }

    /// Waits until the header says that time has passed.
    ///
    /// # Errors
    /// When it does not.
    pub fn goes_on(&self) -> Result<()> {
        let header = self.pane.screen()?.first().to_owned();
        self.pane.wait_for("another time in the header", |screen| self.is_whole(screen) && screen.first() != header)?;
        Ok(())
    }

    /// Waits for the prompt, which must stand in a terminal as it was before the dashboard, below the same lines.
    ///
    /// # Errors
    /// When something is not as it was.
    pub fn restored(&self) -> Result<Screen> {
        let screen = self.pane.wait_for_prompt()?;
        let after = self.pane.terminal_state()?;
        ensure!(after == self.before, "the terminal was\n{:?}\nand is\n{after:?}\n{screen}", self.before);
        ensure!(!screen.has("lost 0"), "the dashboard is still there:\n{screen}");
        // What a person sees: what is typed is there, and so is the answer, at the left and without colours.
        self.pane.type_line("echo plain; echo words")?;
        self.pane.wait_for("the answer of the shell", is_answered)?;
        let styled = self.pane.styled_screen()?;
        ensure!(styled.0.iter().any(|line| line == "plain"), "the shell answers in colours:\n{styled}");
        Ok(screen)
    }
}

/// Whether the last lines are the answer to what [`Dashboard::restored`] types, and a prompt.
fn is_answered(screen: &Screen) -> bool {
    let mut lines = screen.0.iter().rev().filter(|line| !line.is_empty());
    [tmux::PROMPT, "words", "plain"].iter().all(|wanted| lines.next().is_some_and(|line| line == wanted))
}

/// Digits of the views.
///
/// # Errors
/// When the help names others than are known here.
pub fn views() -> Result<[&'static str; 6]> {
    let keys = keys::of_help(Mode::Live)?;
    let digits: Vec<&str> =
        keys.iter().map(|key| key.tmux.as_str()).filter(|key| key.chars().all(|c| c.is_ascii_digit())).collect();
    let known = VIEWS.map(|(digit, _)| digit);
    ensure!(digits == known, "the help has the views {digits:?}, this test knows {known:?}");
    Ok(known)
}

/// Whether the help is shown.
pub fn is_help(screen: &Screen) -> bool {
    screen.0.iter().any(|line| line.starts_with("Help"))
}

/// Whether columns are being chosen.
pub fn is_choosing(screen: &Screen) -> bool {
    screen.0.iter().any(|line| line.starts_with("Columns "))
}

/// Whether a filter or a time is being typed.
pub fn is_editing(screen: &Screen) -> bool {
    screen.last().starts_with("filter:") || screen.last().starts_with("go to:")
}

/// Seconds from the start of tracing to the numbers that are shown.
pub fn seconds(screen: &Screen) -> Option<f64> {
    let (before, _) = screen.first().split_once(" records/s")?;
    before.split_whitespace().rev().nth(1)?.strip_suffix('s')?.parse().ok()
}

/// The head of the column that the table is sorted by, with its mark.
pub fn sorted_by(screen: &Screen) -> Option<String> {
    heads(screen)?.split_whitespace().find(|head| head.ends_with(SORT_MARKS)).map(ToOwned::to_owned)
}

/// The line of column heads: the one that has a thread's id and its name.
fn heads(screen: &Screen) -> Option<&str> {
    let has = |line: &str, head: &str| line.split_whitespace().any(|word| word.trim_end_matches(SORT_MARKS) == head);
    screen.0.iter().map(String::as_str).find(|line| has(line, "tid") && has(line, "name"))
}

/// Rows of the table, from the top.
pub fn rows(screen: &Screen) -> Vec<&str> {
    let lines = screen.0.iter().map(String::as_str);
    let below = lines.skip_while(|line| Some(*line) != heads(screen)).skip(1);
    below.take_while(|line| !line.is_empty() && !line.contains("q quit")).collect()
}

/// The row of the selected thread.
pub fn selected(screen: &Screen) -> Option<usize> {
    rows(screen).iter().position(|row| row.starts_with('>'))
}

/// What a thread's row has below a head: the text that begins or ends where the head does.
pub fn cell<'a>(screen: &'a Screen, thread: &str, head: &str) -> Option<&'a str> {
    let heads = heads(screen)?;
    let row = rows(screen).into_iter().find(|row| row.split_whitespace().any(|word| word == thread))?;
    // Columns, not bytes: marks are characters of several bytes.
    let start = heads[..heads.find(head)?].chars().count();
    let end = start + head.chars().count();
    let mut at = 0;
    row.split(' ').find(|word| {
        let (from, to) = (at, at + word.chars().count());
        at = to + 1;
        !word.is_empty() && from < end && to > start
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Screen {
        let text = include_str!("../fixtures/screens/threads-120x40.txt");
        Screen(text.lines().map(ToOwned::to_owned).collect())
    }

    #[test]
    fn cells_are_found_below_their_heads() {
        let screen = table();
        assert_eq!(cell(&screen, "io_thd_1", "cross/s"), Some("24"));
        assert_eq!(cell(&screen, "io_thd_1", "wait%"), Some("37.3%"));
        assert_eq!(cell(&screen, "redis-server", "on nodes"), Some("0:77%"));
        assert_eq!(cell(&screen, "redis-server", "waiting"), Some("-"));
        assert_eq!(cell(&screen, "nobody", "wait%"), None);
    }

    #[test]
    fn the_table_is_read() {
        let screen = table();
        assert_eq!(sorted_by(&screen).as_deref(), Some("wait%▼"));
        assert_eq!((rows(&screen).len(), selected(&screen)), (6, Some(0)));
        assert_eq!(seconds(&screen), Some(11.0));
        assert!(!is_help(&screen) && !is_editing(&screen));
    }
}
