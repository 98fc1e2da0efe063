//! The test's side of a running numatrace.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{PATIENCE, Report, program};

/// A numatrace that prints JSON documents; killed when dropped.
#[derive(Debug)]
pub struct Tracer {
    child: Child,
    documents: mpsc::Receiver<String>,
    errors: Option<thread::JoinHandle<String>>,
    last: Option<Report>,
}

/// A program that has ended.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Tracer {
    /// Starts `numatrace live` with a target and flags, and returns when it is attached.
    ///
    /// # Errors
    /// When it ends instead, with what it said.
    pub fn start(args: &[&str]) -> Result<Tracer> {
        let mut command = Command::new(program("numatrace")?);
        command.args(["live", "--format", "json", "--interval", "200ms"]).args(args);
        let mut tracer = Self::spawn(command)?;
        tracer.next_report()?;
        Ok(tracer)
    }

    /// Starts a command that prints documents as numatrace does, without waiting for the first.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(mut command: Command) -> Result<Tracer> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        let stdout = child.stdout.take().context("stdout is a pipe")?;
        let mut stderr = child.stderr.take().context("stderr is a pipe")?;
        let (tell, documents) = mpsc::channel();
        thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| tell.send(line))
        });
        let errors = thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        Ok(Tracer { child, documents, errors: Some(errors), last: None })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next document.
    ///
    /// # Errors
    /// When it ends instead, with what it said.
    pub fn next_report(&mut self) -> Result<&Report> {
        let Ok(line) = self.documents.recv_timeout(PATIENCE) else {
            let status = self.end_within(Duration::from_secs(5))?;
            bail!("numatrace ended with {status} instead of telling more: {}", self.stderr());
        };
        let report = Report(serde_json::from_str(&line).with_context(|| format!("this is not JSON: {line}"))?);
        Ok(self.last.insert(report))
    }

    /// The document that came last.
    pub fn last_report(&self) -> Option<&Report> {
        self.last.as_ref()
    }

    /// Interrupts it as Ctrl-C does, and returns the last document.
    ///
    /// # Errors
    /// When it does not end with success.
    pub fn stop(&mut self) -> Result<Report> {
        self.signal(libc::SIGINT)?;
        self.ended()
    }

    /// Waits for its end, and returns the last document.
    ///
    /// # Errors
    /// When it does not end with success.
    pub fn ended(&mut self) -> Result<Report> {
        while let Ok(line) = self.documents.recv_timeout(PATIENCE) {
            self.last = Some(Report(serde_json::from_str(&line).with_context(|| format!("this is not JSON: {line}"))?));
        }
        let status = self.end_within(PATIENCE)?;
        ensure!(status.success(), "numatrace ended with {status}: {}", self.stderr());
        self.last.take().context("numatrace ended without a document")
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, signal: libc::c_int) -> Result<()> {
        // SAFETY: kill has no memory effect here; the child has not been waited for, so the id is its own.
        crate::workload::os::check(unsafe { libc::kill(self.pid() as libc::pid_t, signal) })
            .context("numatrace is gone")?;
        Ok(())
    }

    /// Waits for its end, whatever its status.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn end_within(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(Instant::now() < deadline, "numatrace still runs after {} s", limit.as_secs());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// What it said on standard error; once, after its end.
    pub fn stderr(&mut self) -> String {
        self.errors.take().and_then(|reader| reader.join().ok()).unwrap_or_default()
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs numatrace to its end.
///
/// # Errors
/// When it cannot be started.
pub fn numatrace(args: &[&str]) -> Result<Ended> {
    let output = Command::new(program("numatrace")?).args(args).stdin(Stdio::null()).output()?;
    Ok(Ended {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
