//! Keys from the terminal.
//!
//! crossterm reads and parses them on a thread of its own: in the middle of a sequence, or of a character, it waits
//! for the rest without limit, and on a terminal that has hung up it never returns. The dashboard waits for what the
//! thread sends, sees signals and the end of the terminal meanwhile, and leaves the thread behind when it ends.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use crossterm::event::{
    self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};

use super::state::Key;

/// Where keys come from: stdin, or the controlling terminal when stdin is something else, as crossterm chooses.
pub struct Input {
    terminal: OwnedFd,
    events: Receiver<io::Result<Event>>,
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
    /// Opens the terminal and begins to read it.
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
        let (sender, events) = channel();
        thread::Builder::new().name("numatrace-keys".into()).spawn(move || {
            loop {
                let event = event::read();
                let failed = event.is_err();
                if sender.send(event).is_err() || failed {
                    return;
                }
            }
        })?;
        Ok(Input { terminal, events })
    }

    /// Waits at most `timeout` for keys.
    ///
    /// # Errors
    /// When the terminal cannot be read.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<Found> {
        if self.hung_up()? {
            return Ok(Found::HungUp);
        }
        let mut keys = Vec::new();
        let mut next = self.events.recv_timeout(timeout);
        loop {
            match next {
                Ok(event) => match event? {
                    Event::Key(key) => keys.extend(translate(key)),
                    Event::Mouse(mouse) => keys.extend(pointed(mouse)),
                    _ => {}
                },
                Err(RecvTimeoutError::Timeout) => return Ok(Found::Keys(keys)),
                Err(RecvTimeoutError::Disconnected) => return Ok(Found::HungUp),
            }
            next = self.events.recv_timeout(Duration::ZERO);
        }
    }

    /// Whether the terminal is gone.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn hung_up(&self) -> io::Result<bool> {
        // The end of a terminal is told whatever is asked for.
        let mut fd = libc::pollfd { fd: self.terminal.as_raw_fd(), events: 0, revents: 0 };
        // SAFETY: one pollfd, which lives across the call.
        if unsafe { libc::poll(&raw mut fd, 1, 0) } < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(false) } else { Err(error) };
        }
        Ok(fd.revents & (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0)
    }
}

/// The same for the mouse: a button counts where it is pressed.
fn pointed(event: MouseEvent) -> Option<Key> {
    match event.kind {
        MouseEventKind::Down(MouseButton::Left) => Some(Key::Click { column: event.column, row: event.row }),
        MouseEventKind::ScrollUp => Some(Key::WheelUp),
        MouseEventKind::ScrollDown => Some(Key::WheelDown),
        _ => None,
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
            KeyCode::Char(letter) if letter.is_ascii_alphabetic() => Some(Key::Ctrl(letter.to_ascii_lowercase())),
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
        KeyCode::BackTab => Key::BackTab,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::F(n) => Key::Function(n),
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
        assert_eq!(key(KeyCode::F(1), KeyModifiers::NONE), Some(Key::Function(1)));
        assert_eq!(key(KeyCode::Char('x'), KeyModifiers::CONTROL), Some(Key::Ctrl('x')));
        assert_eq!(key(KeyCode::Char('4'), KeyModifiers::CONTROL), None);
        assert_eq!(key(KeyCode::Insert, KeyModifiers::NONE), None);
        let mouse = |kind| pointed(MouseEvent { kind, column: 7, row: 3, modifiers: KeyModifiers::NONE });
        let click = Key::Click { column: 7, row: 3 };
        assert_eq!(mouse(MouseEventKind::Down(MouseButton::Left)), Some(click));
        assert_eq!(mouse(MouseEventKind::Up(MouseButton::Left)), None);
        assert_eq!(mouse(MouseEventKind::ScrollDown), Some(Key::WheelDown));
        let release = KeyEvent::new_with_kind(KeyCode::Up, KeyModifiers::NONE, KeyEventKind::Release);
        assert_eq!(translate(release), None);
    }
}
