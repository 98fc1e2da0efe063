//! The real loop on a real (pseudo) terminal: whatever ends the dashboard, the terminal is as it was.
//!
//! This program runs itself on a pseudo terminal, as a dashboard that is fed one fixed snapshot.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use numatrace::tui::{self, Exit, Options, UiMessage};
use numatrace_tests::{fixture, tty};

/// Set in the process that is the dashboard: what its feed does.
const ROLE: &str = "NUMATRACE_TEST_DASHBOARD";
/// Longest wait for anything: only a failure takes so long.
const PATIENCE: Duration = Duration::from_secs(20);
const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";

fn main() -> ExitCode {
    if let Ok(role) = std::env::var(ROLE) {
        return dashboard(&role);
    }
    let mut trials = vec![
        trial("q_quits_and_restores", || ends_restored("feed", |t| t.send(b"q"), "end: Quit")),
        trial("ctrl_c_quits_and_restores", || ends_restored("feed", |t| t.send(b"\x03"), "end: Quit")),
        trial("a_failed_feed_is_told_at_the_end", || {
            ends_restored("fail", |t| t.wait_for("FAILED").and_then(|()| t.send(b"q")), "end: Failed(\"no ring\")")
        }),
        trial("a_panic_restores_before_its_message", panic_restores),
        trial("a_lost_terminal_ends_it", lost_terminal),
        trial("ctrl_z_stops_and_fg_goes_on", stop_and_go_on),
        trial("another_size_is_drawn", another_size),
        trial("ctrl_l_draws_every_cell_anew", || {
            ends_restored(
                "feed",
                |t| t.send(b"\x0c").and_then(|()| t.wait_for_again("redis-server")).and_then(|()| t.send(b"q")),
                "end: Quit",
            )
        }),
        trial("y_hands_the_row_to_the_terminal_for_its_clipboard", || {
            ends_restored(
                "feed",
                // `tid` and `name`, as base64 has them.
                |t| t.send(b"2y").and_then(|()| t.wait_for("\x1b]52;c;IHRpZCAgbmFtZ")).and_then(|()| t.send(b"q")),
                "end: Quit",
            )
        }),
    ];
    for (name, signal) in [("sigterm", libc::SIGTERM), ("sigint", libc::SIGINT), ("sighup", libc::SIGHUP)] {
        trials.push(trial(&format!("{name}_restores"), move || {
            ends_restored("feed", |t| t.signal(signal), &format!("end: Signal({signal})"))
        }));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn trial(name: &str, test: impl FnOnce() -> Result<(), String> + Send + 'static) -> Trial {
    Trial::test(name, move || test().map_err(Failed::from))
}

/// The dashboard itself, in a process of its own.
fn dashboard(role: &str) -> ExitCode {
    // Without a buffer: what was sent has been taken by the loop, so the screen is up.
    let (sender, feed) = mpsc::sync_channel(0);
    let role = role.to_owned();
    let engine = std::thread::spawn(move || {
        let numbers = Arc::new(fixture::snapshot_two_nodes());
        let _ = sender.send(UiMessage::Snapshot(numbers));
        match role.as_str() {
            "fail" => _ = sender.send(UiMessage::Failed("no ring".into())),
            "panic" => panic!("this panic is wanted"),
            _ => {}
        }
        sender
    });
    let end = tui::run(&feed, &Options::new("pid 4711"));
    // A lost terminal takes no last words.
    let _ = match &end {
        Ok(exit) => writeln!(std::io::stdout(), "end: {exit:?}"),
        Err(error) => writeln!(std::io::stdout(), "error: {error:#}"),
    };
    drop(engine);
    match end {
        Ok(Exit::Quit | Exit::Failed(_)) => ExitCode::SUCCESS,
        Ok(Exit::Signal(signal)) => ExitCode::from(128 + signal as u8),
        Err(_) => ExitCode::FAILURE,
    }
}

/// A dashboard on a pseudo terminal.
struct Tty {
    master: File,
    child: Child,
    /// Everything it wrote.
    seen: String,
    /// Terminal modes before it started.
    modes: libc::tcflag_t,
}

impl Tty {
    fn start(role: &str) -> Result<Tty, String> {
        let mut command = Command::new(std::env::current_exe().map_err(|e| e.to_string())?);
        command.env(ROLE, role);
        Tty::spawn(command)
    }

    fn spawn(mut command: Command) -> Result<Tty, String> {
        command.env("TERM", "xterm-256color").env("RUST_BACKTRACE", "0");
        let tty = tty::Tty::open(80, 24).map_err(|e| e.to_string())?;
        let modes = modes(&tty.master);
        let (master, child) = tty.spawn(command).map_err(|e| e.to_string())?;
        Ok(Tty { master, child, seen: String::new(), modes })
    }

    /// Reads until the dashboard has written `what`.
    fn wait_for(&mut self, what: &str) -> Result<(), String> {
        self.wait_until(what, |seen| seen.contains(what))
    }

    /// Reads until it has written `what` a second time.
    fn wait_for_again(&mut self, what: &str) -> Result<(), String> {
        self.wait_until(what, |seen| seen.matches(what).count() > 1)
    }

    fn wait_until(&mut self, what: &str, done: impl Fn(&str) -> bool) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while !done(&self.seen) {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut fd = libc::pollfd { fd: self.master.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one pollfd, which lives across the call.
            let ready = unsafe { libc::poll(&raw mut fd, 1, left.as_millis() as i32) };
            let mut bytes = [0; 4096];
            match if ready > 0 { self.master.read(&mut bytes) } else { Ok(0) } {
                Ok(count) if count > 0 => self.seen.push_str(&String::from_utf8_lossy(&bytes[..count])),
                end => return Err(format!("no {what:?} ({end:?}) in {:?}", self.seen)),
            }
        }
        Ok(())
    }

    fn send(&mut self, keys: &[u8]) -> Result<(), String> {
        self.master.write_all(keys).map_err(|e| e.to_string())
    }

    fn signal(&mut self, signal: i32) -> Result<(), String> {
        // SAFETY: the child has not been waited for, so the id is its own.
        let sent = unsafe { libc::kill(self.child.id() as i32, signal) };
        if sent == 0 { Ok(()) } else { Err(std::io::Error::last_os_error().to_string()) }
    }

    fn wait(&mut self) -> Result<ExitStatus, String> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().map_err(|e| e.to_string())? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err("it does not end".into())
    }

    /// The terminal is as it was, and `last` came after the screen was left.
    fn check_restored(&self, last: &str) -> Result<(), String> {
        let (_, after) = self.seen.rsplit_once(LEAVE).ok_or("the alternate screen was not left")?;
        if !after.contains(last) || after.contains(ENTER) {
            return Err(format!("after the screen was left: {after:?}"));
        }
        if !self.seen.contains("\x1b[?25h") || modes(&self.master) != self.modes {
            return Err("cursor or modes were not restored".into());
        }
        Ok(())
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The modes that raw mode changes.
fn modes(terminal: &File) -> libc::tcflag_t {
    // SAFETY: an all-zero termios is valid, and the call fills it in; the descriptor is open.
    let termios = unsafe {
        let mut termios: libc::termios = std::mem::zeroed();
        libc::tcgetattr(terminal.as_raw_fd(), &raw mut termios);
        termios
    };
    termios.c_lflag & (libc::ICANON | libc::ECHO | libc::ISIG)
}

fn ends_restored(role: &str, end: impl FnOnce(&mut Tty) -> Result<(), String>, last_words: &str) -> Result<(), String> {
    let mut tty = Tty::start(role)?;
    tty.wait_for("redis-server")?;
    if modes(&tty.master) == tty.modes {
        return Err("the terminal was never raw, so nothing can be said about restoring it".into());
    }
    end(&mut tty)?;
    tty.wait_for("end: ")?;
    tty.wait_until("the end of the line", |seen| seen.ends_with('\n'))?;
    tty.check_restored(last_words)?;
    tty.wait().map(drop)
}

fn panic_restores() -> Result<(), String> {
    let mut tty = Tty::start("panic")?;
    tty.wait_for("error: ")?;
    tty.wait_until("the end of the line", |seen| seen.ends_with('\n'))?;
    tty.check_restored("this panic is wanted")?;
    let status = tty.wait()?;
    if status.code() == Some(1) { Ok(()) } else { Err(format!("it ended with {status}")) }
}

fn lost_terminal() -> Result<(), String> {
    let mut tty = Tty::start("feed")?;
    tty.wait_for("redis-server")?;
    tty.master = File::open("/dev/null").map_err(|e| e.to_string())?;
    let status = tty.wait()?;
    let wanted = 128 + libc::SIGHUP;
    if status.code() == Some(wanted) { Ok(()) } else { Err(format!("it ended with {status} ({:?})", status.signal())) }
}

/// A shell with job control goes on when the dashboard stops, and brings it back.
fn stop_and_go_on() -> Result<(), String> {
    let me = std::env::current_exe().map_err(|e| e.to_string())?;
    let script = "set -m; \"$0\"; echo shell is back; fg; echo shell ends";
    let mut shell = Command::new("bash");
    shell.args(["-c", script]).arg(me).env(ROLE, "feed");
    let mut tty = Tty::spawn(shell)?;
    tty.wait_for("redis-server")?;
    tty.send(b"\x1a")?;
    tty.wait_for("shell is back")?;
    let stopped = tty.seen.find("shell is back").ok_or("no shell")?;
    if !tty.seen[..stopped].contains(LEAVE) {
        return Err("the screen was not given back before the stop".into());
    }
    tty.wait_until("a second screen", |seen| {
        seen[stopped..].contains(ENTER) && seen[stopped..].contains("Run-queue latency")
    })?;
    tty.send(b"q")?;
    tty.wait_for("shell ends")?;
    tty.check_restored("end: Quit")
}

fn another_size() -> Result<(), String> {
    let mut tty = Tty::start("feed")?;
    tty.wait_for("redis-server")?;
    let size = libc::winsize { ws_row: 60, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the descriptor is open, and the size lives across the call.
    unsafe { libc::ioctl(tty.master.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    // Below the end of a low screen.
    tty.wait_for("Who waits most")?;
    tty.send(b"q")?;
    tty.wait_for("end: Quit")
}
