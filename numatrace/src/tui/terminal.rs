//! The terminal, taken and given back: on drop, on a panic of any thread, and around a stop.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::Hide;
use crossterm::execute;
use crossterm::terminal::{EnterAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;

use super::clipboard;

/// The terminal is ours now: raw, on its alternate screen.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// Some thread panicked while the terminal was ours.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// Mouse left alone, colours off, autowrap on, cursor shown, alternate screen left.
const RESTORE: &[u8] = b"\x1b[?1006l\x1b[?1015l\x1b[?1003l\x1b[?1002l\x1b[?1000l\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l";

/// The terminal while it is ours; dropping gives it back.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<Output>>,
    mouse: bool,
}

impl Screen {
    /// Takes the terminal: raw mode, alternate screen, no cursor.
    ///
    /// # Errors
    /// When stdout is no terminal or does not answer.
    pub fn take() -> io::Result<Screen> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                // First, so that the message is seen.
                if restore() {
                    PANICKED.store(true, Ordering::SeqCst);
                }
                before(info);
            }));
        });
        PANICKED.store(false, Ordering::SeqCst);
        let mut output = Output::new()?;
        enter(&mut output)?;
        match Terminal::new(CrosstermBackend::new(output)) {
            Ok(terminal) => Ok(Screen { terminal, mouse: false }),
            Err(e) => {
                restore();
                Err(e)
            }
        }
    }

    /// What to draw with.
    pub fn terminal(&mut self) -> &mut Terminal<CrosstermBackend<Output>> {
        &mut self.terminal
    }

    /// Whether a thread panicked, so that the terminal is ours no more.
    pub fn panicked(&self) -> bool {
        PANICKED.load(Ordering::SeqCst)
    }

    /// Takes clicks and the wheel, or leaves them to the terminal, which selects text and scrolls with them.
    ///
    /// # Errors
    /// When the terminal does not answer any more.
    pub fn set_mouse(&mut self, on: bool) -> io::Result<()> {
        self.mouse = on;
        self.ask_for_mouse()
    }

    fn ask_for_mouse(&mut self) -> io::Result<()> {
        // Presses and the wheel alone: every move of the pointer would be a burst of bytes over a slow line.
        let ask: &[u8] = if self.mouse { b"\x1b[?1000h\x1b[?1006h" } else { b"\x1b[?1006l\x1b[?1000l" };
        let backend = self.terminal.backend_mut();
        backend.write_all(ask)?;
        Write::flush(backend)
    }

    /// Gives the terminal back while `stopped` runs, then takes it again and forgets what was drawn.
    ///
    /// # Errors
    /// When `stopped` fails, or the terminal does not answer any more.
    pub fn lend(&mut self, stopped: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        restore();
        let result = stopped();
        enter(self.terminal.backend_mut())?;
        self.ask_for_mouse()?;
        self.repaint()?;
        result
    }

    /// Asks the terminal to put `text` on the clipboard.
    ///
    /// # Errors
    /// When the terminal does not take it.
    pub fn copy(&mut self, text: &str) -> io::Result<()> {
        let output = self.terminal.backend_mut();
        output.write_all(clipboard::sequence(text).as_bytes())?;
        output.flush()
    }

    /// Clears the screen and forgets what was drawn, so that the next frame draws every cell.
    ///
    /// # Errors
    /// When the terminal does not answer any more.
    pub fn repaint(&mut self) -> io::Result<()> {
        // `Terminal::clear` asks the terminal where its cursor is and waits for the answer, seconds if there is none;
        // a change of size clears without asking.
        let area = self.terminal.size()?.into();
        self.terminal.resize(area)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
        // A thread that panicked may not have been allowed to: nothing happens where it was.
        let _ = disable_raw_mode();
    }
}

fn enter(output: &mut impl Write) -> io::Result<()> {
    enable_raw_mode()?;
    TAKEN.store(true, Ordering::SeqCst);
    if let Err(e) = execute!(output, EnterAlternateScreen, Hide) {
        restore();
        return Err(e);
    }
    Ok(())
}

/// Gives the terminal back if it is ours; says whether it was. Takes no lock of stdout, which the thread that panics
/// may hold; errors are for nobody, as a lost terminal needs no restoring.
fn restore() -> bool {
    let taken = TAKEN.swap(false, Ordering::SeqCst);
    if taken {
        // SAFETY: the bytes are static; a partial or failed write is acceptable.
        unsafe { libc::write(libc::STDOUT_FILENO, RESTORE.as_ptr().cast(), RESTORE.len()) };
        let _ = disable_raw_mode();
    }
    taken
}

/// Gathers a frame and writes it at once on flush. Unlike `BufWriter` it writes nothing when dropped: half a frame of
/// a panic must not follow the restored screen.
pub struct Output {
    stdout: File,
    frame: Vec<u8>,
}

impl Output {
    fn new() -> io::Result<Output> {
        Ok(Output {
            stdout: File::from(io::stdout().as_fd().try_clone_to_owned()?),
            frame: Vec::with_capacity(1 << 14),
        })
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.frame.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = if TAKEN.load(Ordering::SeqCst) { self.stdout.write_all(&self.frame) } else { Ok(()) };
        self.frame.clear();
        result
    }
}
