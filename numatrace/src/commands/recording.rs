//! A recording that is made beside a run: its file, and what is said of it.

use std::path::Path;

use anyhow::{Context, anyhow};

use crate::{
    collect::live::End,
    recording::{
        Head, Reason,
        create::NewFile,
        writer::{Options, Recorder, WriteError, Written},
    },
    rights::user::invoking_user,
    text,
};

/// See the module.
pub struct Recording {
    recorder: Recorder,
    file: NewFile,
    /// As it is shown.
    path: String,
    start_ns: u64,
}

/// A file for a recording, which is removed again unless a recording begins.
///
/// # Errors
/// One sentence that names it.
pub fn new_file(path: &Path, force: bool) -> anyhow::Result<NewFile> {
    Ok(NewFile::create(path, force, owner())?)
}

/// Whose new files are: under sudo those of the user who called it.
pub fn owner() -> Option<(u32, u32)> {
    invoking_user().map(|user| (user.uid, user.gid))
}

impl Recording {
    /// Begins one, whose file is removed again unless it is kept.
    ///
    /// # Errors
    /// One sentence that names the file.
    pub fn begin(file: NewFile, path: &Path, head: &Head, options: Options) -> anyhow::Result<Recording> {
        let path = text::display_str(&path.to_string_lossy());
        let cannot = || format!("cannot write {path}");
        let recorder = Recorder::new(file.file().with_context(cannot)?, head, options).with_context(cannot)?;
        Ok(Recording { recorder, file, path, start_ns: head.meta.start_ns })
    }

    /// The file stays from now on.
    ///
    /// # Errors
    /// When it cannot take the place of the file that was there.
    pub fn keep(&mut self) -> anyhow::Result<()> {
        Ok(self.file.keep()?)
    }

    /// Takes a record.
    #[inline]
    pub fn push(&mut self, record: &[u8]) {
        self.recorder.push(record);
    }

    /// Takes note of pieces of input that were no records.
    pub fn push_pieces(&mut self, pieces: u64, ts: u64) {
        self.recorder.push_pieces(pieces, ts);
    }

    /// Everything up to this time was taken.
    pub fn up_to(&mut self, ts: u64) {
        self.recorder.up_to(ts);
    }

    /// The file as it is shown.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Bytes and records that are in the file.
    pub fn written(&self) -> (u64, u64) {
        self.recorder.written()
    }

    /// No more can be written.
    pub fn has_failed(&self) -> bool {
        self.recorder.failed().is_some()
    }

    /// Ends it, because the run ended in this way, or because tracing failed.
    ///
    /// # Errors
    /// When not everything is in the file: one sentence that says how far it reaches.
    pub fn finish(self, end: Option<End>) -> anyhow::Result<(Reason, Written)> {
        let Recording { recorder, path, start_ns, .. } = self;
        let reason = match end {
            None => Reason::TraceFailed,
            Some(_) if recorder.is_full() => Reason::MaxSize,
            Some(End::Stopped) => Reason::Stopped,
            Some(End::Duration) => Reason::Duration,
            Some(End::TargetsGone) => Reason::TargetsGone,
        };
        match recorder.finish(reason) {
            Ok(written) => Ok((reason, written)),
            Err((WriteError::Io(error), written)) => {
                let reached = match written.last_ts {
                    0 => "nothing of the run is in it".to_owned(),
                    ts => format!("it holds the first {}", text::duration(ts.saturating_sub(start_ns))),
                };
                Err(anyhow!("cannot write {path} any further: {error}; {reached}"))
            }
            Err((error, _)) => Err(error.into()),
        }
    }
}
