//! Ctrl-C and its kin, for runs without a dashboard: the first one ends the run in order, the second one at once.

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();

extern "C" fn note(_: libc::c_int) {
    // A load and a store to atomics are all that happens here, which is safe in a signal handler.
    if let Some(stop) = STOP.get() {
        stop.store(true, Ordering::Relaxed);
    }
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
