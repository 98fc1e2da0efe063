//! The Enter key of a terminal on which nothing is drawn. The terminal's own settings stay as they are: it hands over lines,
//! and an empty one is the key.

use std::io::{self, IsTerminal};
use std::os::fd::AsRawFd;

/// Standard input, while it is a terminal and has not ended.
pub struct Enter {
    fd: libc::c_int,
    ended: bool,
}

impl Enter {
    /// Nothing where standard input is no terminal.
    pub fn of_terminal() -> Option<Enter> {
        let input = io::stdin();
        input.is_terminal().then(|| Enter { fd: input.as_raw_fd(), ended: false })
    }

    /// Whether it was pressed since the last call. Never waits, and reads nothing while this process is in the background of
    /// the terminal, which would stop it.
    pub fn pressed(&mut self) -> bool {
        let mut found = false;
        while !self.ended && self.is_ready() {
            let mut bytes = [0u8; 256];
            // SAFETY: as much room as it is told, and the descriptor is open as long as the process lives.
            let count = unsafe { libc::read(self.fd, bytes.as_mut_ptr().cast(), bytes.len()) };
            let Ok(count @ 1..) = usize::try_from(count) else {
                self.ended = true;
                break;
            };
            found |= bytes.iter().take(count).any(|byte| *byte == b'\n');
        }
        found
    }

    fn is_ready(&self) -> bool {
        let mut asked = libc::pollfd { fd: self.fd, events: libc::POLLIN, revents: 0 };
        // SAFETY: no preconditions for the first two; one entry, as it is told.
        unsafe {
            libc::tcgetpgrp(self.fd) == libc::getpgrp()
                && libc::poll(&raw mut asked, 1, 0) == 1
                && asked.revents & libc::POLLIN != 0
        }
    }
}
