//! The test's side of a workload.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    thread,
};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use super::{PATIENCE, program};
use crate::workload::ThreadFacts;

/// A running workload; killed when dropped.
#[derive(Debug)]
pub struct Workload {
    child: Child,
    stdin: ChildStdin,
    lines: mpsc::Receiver<String>,
    /// Its process id.
    pub pid: u32,
    /// Its threads by name.
    pub tids: HashMap<String, u32>,
}

/// What it says at the end of the counted part.
#[derive(Debug, Deserialize)]
pub struct Done {
    /// What the kernel counted, by the thread's name.
    pub threads: HashMap<String, ThreadFacts>,
    /// What each worker says it did, and more.
    pub facts: Value,
}

#[derive(Deserialize)]
struct Ready {
    pid: u32,
    tids: HashMap<String, u32>,
}

impl Workload {
    /// Starts it, and returns when it is ready.
    ///
    /// # Errors
    /// When it fails.
    pub fn start(args: &[&str]) -> Result<Workload> {
        let mut command = Command::new(program("workload")?);
        command.args(args);
        Self::start_command(command)
    }

    /// The same, from a command that ends up in a workload.
    ///
    /// # Errors
    /// When it fails.
    pub fn start_command(mut command: Command) -> Result<Workload> {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cannot start a workload")?;
        let stdin = child.stdin.take().context("stdin is a pipe")?;
        let stdout = child.stdout.take().context("stdout is a pipe")?;
        let (tell, lines) = mpsc::channel();
        thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| tell.send(line))
        });
        let mut workload = Workload { child, stdin, lines, pid: 0, tids: HashMap::new() };
        let ready: Ready = serde_json::from_str(&workload.line()?)?;
        (workload.pid, workload.tids) = (ready.pid, ready.tids);
        Ok(workload)
    }

    /// The process that was started, which can be another than the workload.
    pub fn started(&self) -> u32 {
        self.child.id()
    }

    /// A thread's id by its name.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn tid(&self, name: &str) -> Result<u32> {
        self.tids.get(name).copied().with_context(|| format!("the workload has no thread {name}"))
    }

    /// Lets it begin.
    ///
    /// # Errors
    /// When it is gone.
    pub fn go(&mut self) -> Result<()> {
        self.stdin.write_all(b"go\n").context("the workload is gone")
    }

    /// Waits for the end of the counted part.
    ///
    /// # Errors
    /// When it fails.
    pub fn done(&mut self) -> Result<Done> {
        Ok(serde_json::from_str(&self.line()?)?)
    }

    /// The counted part.
    ///
    /// # Errors
    /// When it fails.
    pub fn run(&mut self) -> Result<Done> {
        self.go()?;
        self.done()
    }

    /// Lets it exit, and waits for that.
    ///
    /// # Errors
    /// When it exits with anything but success.
    pub fn finish(mut self) -> Result<()> {
        self.go()?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the workload ended with {status}");
        Ok(())
    }

    fn line(&mut self) -> Result<String> {
        self.lines.recv_timeout(PATIENCE).context("the workload says nothing (did it fail?)")
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        // After `finish` there is nothing left to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
