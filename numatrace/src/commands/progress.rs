//! How far a recording, or what is imported, was read, on standard error.

use std::{
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::recording::reader::Reader;

/// How long reading takes before there is a progress bar.
const LONG: Duration = Duration::from_secs(1);

/// A bar on a terminal, once reading has taken a while.
pub struct Progress {
    begun: Instant,
    bar: Option<ProgressBar>,
    wanted: bool,
}

impl Progress {
    /// Shown on a terminal alone, and not where it should be quiet.
    pub fn new(quiet: bool) -> Progress {
        Progress { begun: Instant::now(), bar: None, wanted: !quiet && io::stderr().is_terminal() }
    }

    /// So much was read.
    pub fn show(&mut self, reader: &Reader) {
        self.show_bytes(reader.bytes_read(), reader.bytes());
    }

    /// So many bytes of so many.
    pub fn show_bytes(&mut self, read: u64, all: u64) {
        if !self.wanted || self.begun.elapsed() < LONG {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(Some(all), ProgressDrawTarget::stderr());
            match ProgressStyle::with_template("reading {wide_bar} {bytes} of {total_bytes}, {eta} left") {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        bar.set_position(read);
    }

    /// Nothing of it stays on the terminal.
    pub fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
