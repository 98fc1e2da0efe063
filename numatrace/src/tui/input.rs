//! Keys from the terminal.
//!
//! crossterm reads and parses them, but only after this module has seen that there is something to read: on a terminal
//! that has hung up, crossterm's own wait never returns.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::state::Key;

/// Where keys come from: stdin, or the controlling terminal when stdin is something else, as crossterm chooses.
pub struct Input {
    terminal: OwnedFd,
    /// Bytes were there, but no key: half of a sequence. Waiting again would return at once.
    half: bool,
}

/// What a wait found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Keys, perhaps none.
    Keys(Vec<Key>),
    /// The terminal is gone.
    HungUp,
}

impl Input {
    /// Opens the terminal for waiting.
    ///
    /// # Errors
    /// When there is none.
    pub fn open() -> io::Result<Input> {
        let stdin = io::stdin();
        let terminal = if stdin.is_terminal() {
            stdin.as_fd().try_clone_to_owned()?
        } else {
            File::options().read(true).write(true).open("/dev/tty")?.into()
        };
        Ok(Input { terminal, half: false })
    }

    /// Waits at most `timeout` for keys. A signal ends the wait early.
    ///
    /// # Errors
    /// When the terminal cannot be read.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<Found> {
        if self.half {
            std::thread::sleep(timeout.min(Duration::from_millis(20)));
        }
        let mut fd = libc::pollfd { fd: self.terminal.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let wait = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: one pollfd, which lives across the call.
        if unsafe { libc::poll(&raw mut fd, 1, wait) } < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(Found::Keys(Vec::new())) } else { Err(error) };
        }
        if fd.revents & (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0 {
            return Ok(Found::HungUp);
        }
        if fd.revents & libc::POLLIN == 0 {
            self.half = false;
            return Ok(Found::Keys(Vec::new()));
        }
        let (mut keys, mut events) = (Vec::new(), 0);
        while event::poll(Duration::ZERO)? {
            events += 1;
            if let Event::Key(key) = event::read()? {
                keys.extend(translate(key));
            }
        }
        self.half = events == 0;
        Ok(Found::Keys(keys))
    }
}

/// The key as the dashboard knows it; `None` for one that it has no use for.
fn translate(event: KeyEvent) -> Option<Key> {
    if event.kind == KeyEventKind::Release {
        return None;
    }
    if event.modifiers.contains(KeyModifiers::CONTROL) {
        return match event.code {
            KeyCode::Char('c') => Some(Key::Interrupt),
            KeyCode::Char('z') => Some(Key::Suspend),
            KeyCode::Char('l') => Some(Key::Repaint),
            KeyCode::Char('h') => Some(Key::Backspace),
            _ => None,
        };
    }
    if event.modifiers.contains(KeyModifiers::ALT) {
        return None;
    }
    Some(match event.code {
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Esc,
        KeyCode::Tab => Key::Tab,
        KeyCode::Backspace => Key::Backspace,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart_by_modifier_and_releases_are_none() {
        let key = |code, modifiers| translate(KeyEvent::new(code, modifiers));
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Key::Interrupt));
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::NONE), Some(Key::Char('c')));
        assert_eq!(key(KeyCode::Char('S'), KeyModifiers::SHIFT), Some(Key::Char('S')));
        assert_eq!(key(KeyCode::Char('q'), KeyModifiers::ALT), None);
        assert_eq!(key(KeyCode::F(1), KeyModifiers::NONE), None);
        let release = KeyEvent::new_with_kind(KeyCode::Up, KeyModifiers::NONE, KeyEventKind::Release);
        assert_eq!(translate(release), None);
    }
}
