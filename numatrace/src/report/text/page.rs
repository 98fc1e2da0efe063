//! Lines of a known width: wrapping, headings, colour. Everything that is shown passes the last guard of
//! [`crate::text::visible`] here, so that even a snapshot that was not made by our model cannot drive a terminal.

use std::fmt::Write as _;

use crate::text::{left, visible, width};

/// Width of the label column of an entry.
pub(super) const LABEL: usize = 12;

/// How something stands out; only ever beside words that say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// As the terminal writes.
    Plain,
    /// Bold.
    Strong,
    /// Bold red.
    Bad,
}

/// A text that grows line by line.
pub(super) struct Page {
    /// Columns of a line.
    pub(super) width: usize,
    color: bool,
    text: String,
}

impl Page {
    pub(super) fn new(width: usize, color: bool) -> Page {
        Page { width, color, text: String::new() }
    }

    pub(super) fn finish(self) -> String {
        self.text
    }

    /// One line, without the spaces at its end.
    pub(super) fn line(&mut self, line: &str, tone: Tone) {
        let line = visible(line);
        let line = line.trim_end();
        let code = match tone {
            Tone::Plain => "",
            Tone::Strong => "1",
            Tone::Bad => "1;31",
        };
        // Writing to a String cannot fail.
        let _ = if self.color && !code.is_empty() && !line.is_empty() {
            writeln!(self.text, "\x1b[{code}m{line}\x1b[0m")
        } else {
            writeln!(self.text, "{line}")
        };
    }

    /// An empty line, a title, and what is to be known about it.
    pub(super) fn heading(&mut self, title: &str, note: &str) {
        self.line("", Tone::Plain);
        self.line(title, Tone::Strong);
        if !note.is_empty() {
            self.paragraph("  ", note);
        }
    }

    /// A label and a text that wraps beside it.
    pub(super) fn entry(&mut self, label: &str, text: &str, tone: Tone) {
        let mut label = format!("{} ", left(label, LABEL - 1));
        for line in wrap(text, self.width - LABEL) {
            self.line(&format!("{label}{line}"), tone);
            label = " ".repeat(LABEL);
        }
    }

    /// A text that wraps; lines after the first are indented two columns further.
    pub(super) fn paragraph(&mut self, indent: &str, text: &str) {
        let mut indent = indent.to_owned();
        for (i, line) in wrap(text, self.width - indent.len() - 2).iter().enumerate() {
            self.line(&format!("{indent}{line}"), Tone::Plain);
            if i == 0 {
                indent.push_str("  ");
            }
        }
    }
}

/// Breaks at spaces; a word longer than a line stands alone and is not cut, so that it can be copied.
fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let text = visible(text);
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let full = lines.last().is_some_and(|line| !line.is_empty() && width(line) + 1 + width(word) > columns);
        if full {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_wrap_and_long_ones_stand_alone() {
        assert_eq!(wrap("aa bb cc", 5), ["aa bb", "cc"]);
        assert_eq!(wrap("aa bbbbbbbb cc", 5), ["aa", "bbbbbbbb", "cc"]);
        assert_eq!(wrap("", 5), [""]);
    }

    #[test]
    fn colour_is_the_only_escape_there_is() {
        let mut page = Page::new(80, true);
        page.line("\x1b[2Jx", Tone::Bad);
        page.line("", Tone::Bad);
        assert_eq!(page.finish(), "\x1b[1;31m\\x1b[2Jx\x1b[0m\n\n");
    }
}
