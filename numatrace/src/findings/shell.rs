//! Commands that a reader will paste into a shell, as root: what is not ours in them is quoted, or the command is left out.

use crate::text::{visible, width};

/// Text from outside that was made safe to show (see [`crate::text`]), as one word of a shell that means what it was before.
/// `None` where it cannot be said so: what was escaped was no plain text.
pub fn word(shown: &str) -> Option<String> {
    let text = original(shown)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./:@%+,-".contains(c);
    // A word that begins with a dash would be taken for an option.
    if text.is_empty() || text.starts_with('-') {
        return None;
    }
    if text.chars().all(plain) {
        return Some(text);
    }
    Some(format!("'{}'", text.replace('\'', r"'\''")))
}

/// What was escaped, as it was: a doubled backslash is one, all other escapes stand for what is no plain text.
fn original(shown: &str) -> Option<String> {
    let mut text = String::with_capacity(shown.len());
    let mut chars = shown.chars();
    while let Some(c) = chars.next() {
        if c == '\\' && chars.next() != Some('\\') {
            return None;
        }
        text.push(c);
    }
    // A snapshot that was not made by our model can hold anything.
    (visible(&text) == text).then_some(text)
}

/// A command in lines of at most so many columns that a shell reads as one: broken at spaces that are not quoted, with a
/// backslash at the end. A word that is longer stands alone and is not cut.
pub fn lines(command: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in words(command) {
        // Room for the space and the backslash at the end.
        let full = lines.last().is_some_and(|line| !line.is_empty() && width(line) + width(word) + 3 > columns);
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
    let last = lines.len() - 1;
    lines.iter_mut().take(last).for_each(|line| line.push_str(" \\"));
    lines
}

/// The words of a command, quotes and all.
fn words(command: &str) -> Vec<&str> {
    let (mut words, mut begun, mut quote, mut escaped) = (Vec::new(), 0, None, false);
    for (at, c) in command.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (None | Some('"'), '\\') => escaped = true,
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            (None, ' ') => {
                words.push(&command[begun..at]);
                begun = at + 1;
            }
            _ => {}
        }
    }
    words.push(&command[begun..]);
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn sh(script: &str) -> String {
        let output = Command::new("sh").arg("-c").arg(script).output().expect("a shell");
        String::from_utf8(output.stdout).expect("text")
    }

    #[test]
    fn what_is_not_ours_is_one_word_or_nothing() {
        for (shown, quoted) in [
            ("/system.slice/nginx.service", Some("/system.slice/nginx.service")),
            ("/a b", Some("'/a b'")),
            ("/a;reboot", Some("'/a;reboot'")),
            ("/a'$(reboot)'", Some(r"'/a'\''$(reboot)'\'''")),
            (r"/dev-disk\\x2did.service", Some(r"'/dev-disk\x2did.service'")),
            (r"/a\x0areboot", None),
            (r"/a\", None),
            ("/a\nreboot", None),
            ("/a\u{202e}b", None),
            ("--help", None),
            ("", None),
        ] {
            assert_eq!(word(shown).as_deref(), quoted, "{shown}");
        }
    }

    /// The shell of the machine is the judge.
    #[test]
    fn a_shell_reads_the_word_that_was_meant() {
        for text in ["/a b", "/a'$(echo x)'", r"/a\b", r#"/a"`echo x`""#, "*", "/ö ~"] {
            let quoted = word(&crate::text::display_str(text)).expect("it can be quoted");
            assert_eq!(sh(&format!("printf %s {quoted}")), text);
        }
    }

    #[test]
    fn a_command_breaks_where_a_shell_goes_on() {
        let command = r#"echo "a b" 'c  d' e\ f g; echo h"#;
        for columns in [1, 8, 12, 20, 80] {
            let lines = lines(command, columns);
            assert_eq!(sh(&lines.join("\n")), "a b c  d e f g\nh\n", "{lines:?}");
            assert!(lines.iter().all(|line| line.len() <= columns.max(8)), "{lines:?}");
        }
        assert_eq!(lines(command, 80), [command]);
    }
}
