//! Ctrl-C and its kin, for runs without a dashboard: the first one ends the run in order, the second one at once.

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicI32, Ordering},
    },
};

static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// The command that we started, which is told as well; 0 for none.
static COMMAND: AtomicI32 = AtomicI32::new(0);

extern "C" fn note(signal: libc::c_int) {
    // Atomics and kill(2) are safe in a signal handler.
    if let Some(stop) = STOP.get() {
        stop.store(true, Ordering::Relaxed);
    }
    let command = COMMAND.load(Ordering::Relaxed);
    // Ctrl-C reaches the command by itself: the terminal sends it to all in the foreground.
    if command > 0 && signal != libc::SIGINT {
        // SAFETY: no preconditions; the command is not waited for while this is set, so its id is its own.
        unsafe { libc::kill(command, signal) };
    }
}

static WANTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

extern "C" fn note_usr1(_: libc::c_int) {
    if let Some(wanted) = WANTED.get() {
        wanted.store(true, Ordering::Relaxed);
    }
}

/// A flag that SIGUSR1 sets, each time.
///
/// # Errors
/// When the kernel refuses, which it does not for this signal.
pub fn catch_usr1() -> io::Result<Arc<AtomicBool>> {
    let wanted = Arc::clone(WANTED.get_or_init(Arc::default));
    // SAFETY: all zeroes is a valid sigaction; the handler only touches an atomic.
    let result = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = note_usr1 as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut())
    };
    if result == 0 { Ok(wanted) } else { Err(io::Error::last_os_error()) }
}

/// Passes SIGTERM and SIGHUP on to this process from now on; `None` ends that.
pub fn pass_on_to(command: Option<u32>) {
    COMMAND.store(command.map_or(0, u32::cast_signed), Ordering::Relaxed);
}

/// A flag that SIGINT, SIGTERM and SIGHUP set. Signals that are ignored (`nohup`) stay ignored.
///
/// # Errors
/// When the kernel refuses, which it does not for these signals.
pub fn catch() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::clone(STOP.get_or_init(Arc::default));
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: all zeroes is a valid sigaction; the handler only touches atomics. SA_RESETHAND makes the second
        // signal end the process.
        let result = unsafe {
            let mut before: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, std::ptr::null(), &raw mut before);
            if before.sa_sigaction == libc::SIG_IGN {
                continue;
            }
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = note as *const () as libc::sighandler_t;
            action.sa_flags = libc::SA_RESETHAND | libc::SA_RESTART;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut())
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(stop)
}
