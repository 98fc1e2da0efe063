//! Keys pressed on a terminal while nothing is drawn on it.

use std::io::{self, IsTerminal, Read};
use std::os::fd::AsRawFd;

/// Standard input gives single keys, unseen, while this lives; dropping it puts back what was there before. Ctrl-C and its
/// kin stay what they are.
pub struct Keys {
    before: libc::termios,
}

impl Keys {
    /// Nothing where standard input is no terminal, or this process is in its background.
    pub fn begin() -> Option<Keys> {
        let input = io::stdin();
        if !input.is_terminal() {
            return None;
        }
        let fd = input.as_raw_fd();
        // SAFETY: no preconditions; a terminal's settings are plain data, and the descriptor is open.
        let mut before: libc::termios = unsafe {
            if libc::tcgetpgrp(fd) != libc::getpgrp() {
                return None;
            }
            let mut settings = std::mem::zeroed();
            if libc::tcgetattr(fd, &raw mut settings) != 0 {
                return None;
            }
            settings
        };
        let keys = Keys { before };
        before.c_lflag &= !(libc::ICANON | libc::ECHO);
        (before.c_cc[libc::VMIN], before.c_cc[libc::VTIME]) = (0, 0);
        // SAFETY: as above.
        (unsafe { libc::tcsetattr(fd, libc::TCSANOW, &raw const before) } == 0).then_some(keys)
    }

    /// Whether one of these was pressed since the last call; all others are forgotten.
    pub fn pressed(&self, wanted: &[u8]) -> bool {
        let mut bytes = [0; 64];
        let mut found = false;
        // A read returns at once, with nothing where nothing was pressed.
        while let Ok(count @ 1..) = io::stdin().lock().read(&mut bytes) {
            found |= bytes[..count].iter().any(|key| wanted.contains(key));
        }
        found
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        // SAFETY: as in `begin`. A terminal that is gone needs nothing.
        let _ = unsafe { libc::tcsetattr(io::stdin().as_raw_fd(), libc::TCSANOW, &raw const self.before) };
    }
}
