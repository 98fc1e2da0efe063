//! See [`crate::fuzz`].

use super::Filter;
use crate::snapshot::Thread;
use crate::tui::rows;

/// What is printed is understood again as the same filter, and a word matches or its opposite does.
pub(crate) fn filter(text: &str) {
    let Ok(filter) = Filter::parse(text) else { return };
    let printed = filter.to_string();
    assert_eq!(Filter::parse(&printed).as_ref(), Ok(&filter), "{printed:?}");
    let thread = Thread { comm: "worker-\u{e4}\u{130} 3".into(), cpu: Some(3), ..Thread::default() };
    let row = rows::row(crate::window::key(&thread), &thread.stats, None, 1_000);
    let matches = filter.matches(&thread, &row, true);
    let mut other = filter;
    if let [word] = &mut other.words[..] {
        word.negated = !word.negated;
        assert_ne!(other.matches(&thread, &row, true), matches);
    }
}
