//! Findings in the dashboard: what was found in the numbers that are shown, which of it is selected, and which is opened. Pure.
//!
//! The list stands above the numbers of the Overview. What it finds, the rules of [`crate::findings`] have concluded before:
//! once for each snapshot, never while something is drawn.

mod evidence;
mod list;
mod one;

use super::page::{Line, Role};
use crate::findings::Severity;
use crate::snapshot::Finding;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Worst first.
    all: Vec<Finding>,
    /// Position of the one that is selected.
    at: usize,
    /// Whether the user selected it. Else it is the worst one, whichever that is.
    chosen: bool,
    opened: Option<Opened>,
}

/// The finding whose page is shown.
#[derive(Clone, Debug)]
struct Opened {
    /// As it was found last.
    finding: Finding,
    /// Time of the target up to which the numbers went that it was found in.
    as_of_ns: u64,
    /// It is not in the numbers any more.
    gone: bool,
}

impl Found {
    /// This was found in numbers up to `now_ns` of the target's time. The same finding stays selected; where it is gone, the
    /// one in its place is.
    pub(super) fn observe(&mut self, all: Vec<Finding>, now_ns: u64) {
        let selected = self.all.get(self.at).filter(|_| self.chosen).map(|finding| &finding.id);
        let same = selected.and_then(|id| all.iter().position(|finding| finding.id == *id));
        self.chosen &= !all.is_empty();
        self.at = if self.chosen { same.unwrap_or(self.at).min(all.len().saturating_sub(1)) } else { 0 };
        if let Some(opened) = &mut self.opened {
            match all.iter().enumerate().find(|(_, finding)| finding.id == opened.finding.id) {
                Some((at, finding)) => {
                    *opened = Opened { finding: finding.clone(), as_of_ns: now_ns, gone: false };
                    // It can have been gone meanwhile.
                    (self.at, self.chosen) = (at, true);
                }
                None => opened.gone = true,
            }
        }
        self.all = all;
    }

    /// All of them, worst first.
    pub fn all(&self) -> &[Finding] {
        &self.all
    }

    /// Position of the selected one; `None` where nothing was found.
    pub fn selected(&self) -> Option<usize> {
        (self.at < self.all.len()).then_some(self.at)
    }

    /// The one whose page is shown.
    pub fn opened(&self) -> Option<&Finding> {
        self.opened.as_ref().map(|opened| &opened.finding)
    }

    /// The page is shown of one that is not in the numbers any more.
    pub fn is_gone(&self) -> bool {
        self.opened.as_ref().is_some_and(|opened| opened.gone)
    }

    /// Selects this one.
    pub(super) fn select(&mut self, at: usize) {
        if at < self.all.len() {
            (self.at, self.chosen) = (at, true);
        }
    }

    /// Selects the worst one, whichever that will be.
    pub(super) fn select_first(&mut self) {
        (self.at, self.chosen) = (0, false);
    }

    /// Selects one further down (up: negative); false where there is none.
    pub(super) fn step(&mut self, by: isize) -> bool {
        let to = self.at.checked_add_signed(by).filter(|to| *to < self.all.len());
        to.inspect(|to| self.select(*to)).is_some()
    }

    /// Shows the page of the selected one; false where there is none.
    pub(super) fn open(&mut self, now_ns: u64) -> bool {
        let Some(finding) = self.all.get(self.at) else { return false };
        self.opened = Some(Opened { finding: finding.clone(), as_of_ns: now_ns, gone: false });
        self.chosen = true;
        true
    }

    /// Shows the list again.
    pub(super) fn close(&mut self) {
        self.opened = None;
    }

    /// The opened one, else the selected one.
    pub fn current(&self) -> Option<&Finding> {
        self.opened().or_else(|| self.all.get(self.at))
    }

    /// The list in at most `rows` lines: see [`list::lines`].
    pub(super) fn list(&self, of: Option<&str>, columns: usize, rows: usize) -> Vec<list::Listed> {
        list::lines(&self.all, self.at, of, columns, rows)
    }

    /// The page of the opened one.
    pub(super) fn page(&self, window: &str, columns: usize) -> Option<Vec<Line>> {
        let opened = self.opened.as_ref()?;
        let place = self.all.iter().position(|finding| finding.id == opened.finding.id);
        let page = one::Page {
            finding: &opened.finding,
            place: place.map(|at| (at + 1, self.all.len())),
            as_of_ns: opened.gone.then_some(opened.as_of_ns),
            window,
        };
        Some(page.lines(columns))
    }

    /// How many are critical and how many a warning.
    pub fn counts(&self) -> (usize, usize) {
        let of = |wanted| self.all.iter().filter(|finding| Severity::of(finding) == wanted).count();
        (of(Severity::Critical), of(Severity::Warn))
    }
}

/// How a finding stands out.
fn role(finding: &Finding) -> Role {
    match Severity::of(finding) {
        Severity::Critical => Role::Bad,
        Severity::Warn => Role::Warn,
        Severity::Info => Role::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn finding(id: &str) -> Finding {
        Finding {
            id: id.into(),
            severity: "warn".into(),
            title: format!("the title of {id}"),
            about: String::new(),
            evidence: Value::Null,
            advice: String::new(),
            command: None,
        }
    }

    fn all(ids: &[&str]) -> Vec<Finding> {
        ids.iter().map(|id| finding(id)).collect()
    }

    fn selected(found: &Found) -> Option<&str> {
        found.selected().map(|at| found.all()[at].id.as_str())
    }

    #[test]
    fn the_worst_one_is_selected_until_another_is_chosen_which_then_stays() {
        let mut found = Found::default();
        assert!(!found.step(1) && !found.open(0) && selected(&found).is_none());
        found.observe(all(&["b", "c"]), 1);
        assert_eq!(selected(&found), Some("b"));
        found.observe(all(&["a", "b", "c"]), 2);
        assert_eq!(selected(&found), Some("a"));
        assert!(found.step(1) && found.step(1) && !found.step(1));
        assert_eq!(selected(&found), Some("c"));
        found.observe(all(&["c", "a"]), 3);
        assert_eq!(selected(&found), Some("c"));
        // The one in its place, or the last one.
        found.observe(all(&["a", "b"]), 4);
        assert_eq!(selected(&found), Some("a"));
        found.step(1);
        found.observe(all(&["a"]), 5);
        assert!(!found.step(-1) && selected(&found) == Some("a"));
        found.observe(Vec::new(), 6);
        assert_eq!((selected(&found), found.current()), (None, None));
        found.observe(all(&["x", "a"]), 7);
        assert_eq!(selected(&found), Some("x"));
    }

    #[test]
    fn an_opened_one_stays_with_what_was_found_last_when_it_is_gone() {
        let mut found = Found::default();
        found.observe(all(&["a", "b"]), 1);
        found.step(1);
        assert!(found.open(1));
        let mut newer = all(&["b"]);
        newer[0].title = "newer".into();
        found.observe(newer, 2);
        assert_eq!((found.opened().map(|one| one.title.as_str()), found.is_gone()), (Some("newer"), false));
        found.observe(all(&["a"]), 3);
        assert_eq!((found.opened().map(|one| one.id.as_str()), found.is_gone()), (Some("b"), true));
        found.observe(all(&["a", "b"]), 4);
        assert!(!found.is_gone());
        found.close();
        assert_eq!((found.opened(), found.current().map(|one| one.id.as_str())), (None, Some("b")));
    }
}
