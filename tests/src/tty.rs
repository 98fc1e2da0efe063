//! Pseudo terminals, for programs that draw.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    process::{Child, Command, Stdio},
};

use crate::workload::os::check;

/// A pseudo terminal on which nothing runs yet.
#[derive(Debug)]
pub struct Tty {
    /// The side of who looks at it and types.
    pub master: File,
    slave: OwnedFd,
}

impl Tty {
    /// One of this size.
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn open(columns: u16, rows: u16) -> io::Result<Tty> {
        let (mut master, mut slave) = (0, 0);
        let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let (nameless, modeless) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: two valid places for the descriptors; name and modes may be null.
        check(unsafe {
            libc::openpty(&raw mut master, &raw mut slave, nameless, modeless, &raw const size as *mut _)
        })?;
        // SAFETY: both were just opened and belong to nobody else.
        let (master, slave) = unsafe { (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
        // Else what runs on the terminal would hold its other side open.
        // SAFETY: fcntl on a descriptor that is open.
        check(unsafe { libc::fcntl(master.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) })?;
        Ok(Tty { master, slave })
    }

    /// Starts `command` on it, as the leader of a session of its own. The command is used up: what it holds of the
    /// terminal would keep that from ending with the program.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(self, mut command: Command) -> io::Result<(File, Child)> {
        let stdio = || self.slave.try_clone().map(Stdio::from);
        command.stdin(stdio()?).stdout(stdio()?).stderr(stdio()?);
        // SAFETY: setsid and ioctl are safe between fork and exec; the terminal is the child's stdin.
        unsafe {
            command.pre_exec(|| {
                check(libc::setsid())?;
                check(libc::ioctl(0, libc::TIOCSCTTY, 0))?;
                Ok(())
            });
        }
        let child = command.spawn()?;
        Ok((self.master, child))
    }
}
