//! Signals as a flag that the loop looks at.

use std::io;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicI32, Ordering};

/// The last signal that came and was not taken yet; 0 for none.
static RECEIVED: AtomicI32 = AtomicI32::new(0);

/// What ends the dashboard, and what stops it for a while.
const CAUGHT: [libc::c_int; 5] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGTSTP];

/// Signals are caught while this lives; dropping it puts back what was there before.
pub struct Signals {
    before: Vec<(libc::c_int, libc::sigaction)>,
}

extern "C" fn note(signal: libc::c_int) {
    // A store to an atomic is all that is safe here. A request to end is not overwritten by one to stop.
    if signal != libc::SIGTSTP || RECEIVED.load(Ordering::Relaxed) == 0 {
        RECEIVED.store(signal, Ordering::Relaxed);
    }
}

impl Signals {
    /// Catches signals from here on. The second one of a kind has its default effect, so that a process that hangs
    /// on a blocked terminal can be ended.
    ///
    /// # Errors
    /// When the kernel refuses, which it does not for these signals.
    pub fn catch() -> io::Result<Signals> {
        RECEIVED.store(0, Ordering::Relaxed);
        let mut signals = Signals { before: Vec::new() };
        for signal in CAUGHT {
            // `nohup` and job-less shells have these ignored on purpose.
            let before = change(signal, None)?;
            if before.sa_sigaction != libc::SIG_IGN {
                signals.before.push((signal, before));
                change(signal, Some(note as *const () as libc::sighandler_t))?;
            }
        }
        Ok(signals)
    }

    /// The signal that came since the last call.
    pub fn take(&self) -> Option<i32> {
        match RECEIVED.swap(0, Ordering::Relaxed) {
            0 => None,
            signal => Some(signal),
        }
    }

    /// Stops the process as Ctrl-Z does, and returns when it goes on.
    ///
    /// # Errors
    /// When the kernel refuses, which it does not for this signal.
    pub fn stop_self(&self) -> io::Result<()> {
        change(libc::SIGTSTP, Some(libc::SIG_DFL))?;
        // Not raise(3), which with musl is a call that the thread's filter refuses: it can name threads of other processes.
        // SAFETY: numbers alone; with the default action the call returns after SIGCONT.
        let sent = unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), libc::gettid(), libc::SIGTSTP) };
        let refused = (sent != 0).then(io::Error::last_os_error);
        if self.before.iter().any(|(signal, _)| *signal == libc::SIGTSTP) {
            change(libc::SIGTSTP, Some(note as *const () as libc::sighandler_t))?;
        }
        refused.map_or(Ok(()), Err)
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for (signal, before) in &self.before {
            // SAFETY: `before` was filled in by sigaction for this very signal.
            unsafe { libc::sigaction(*signal, before, std::ptr::null_mut()) };
        }
    }
}

/// Sets a handler, if there is one to set; returns what was there before.
fn change(signal: libc::c_int, handler: Option<libc::sighandler_t>) -> io::Result<libc::sigaction> {
    let mut before = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: an all-zero sigaction is valid: no flags, empty mask, default action.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_flags = libc::SA_RESETHAND;
    let new = match handler {
        Some(handler) => {
            action.sa_sigaction = handler;
            std::ptr::from_ref(&action)
        }
        None => std::ptr::null(),
    };
    // SAFETY: both pointers are null or point to a sigaction that lives across the call; `note` only stores to an
    // atomic, which is safe in a handler.
    if unsafe { libc::sigaction(signal, new, before.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was zeroed, which is valid, and filled in by the call.
    Ok(unsafe { before.assume_init() })
}
