//! `-- CMD`: starts a command that waits before its first instruction until the probes are attached.

use std::{
    ffi::OsString,
    io::{self, PipeReader, PipeWriter, Read, Write},
    os::{
        fd::AsRawFd,
        unix::process::{CommandExt, ExitStatusExt},
    },
    process::{Child, Command, ExitStatus},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};

use crate::{
    rights::user::{invoking_user, unknown_invoking_user},
    text::display_bytes,
};

/// How long a command may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(3);

/// Where the command's output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stdio {
    /// Where ours goes.
    Inherited,
    /// Its standard output to our standard error: ours holds reports.
    OutputToStderr,
    /// Nowhere, and its input is empty: the dashboard has the terminal.
    Null,
}

/// A command that is held before exec, or runs.
pub struct Launched {
    pid: u32,
    name: String,
    gate: Option<PipeWriter>,
    spawned: Receiver<io::Result<Child>>,
    child: Option<Child>,
}

impl Launched {
    /// Forks, and holds the child before exec. Under sudo it will run as the user who called sudo.
    ///
    /// # Errors
    /// When there can be no more processes, or it cannot be told as whom it should run.
    pub fn hold(command: &[OsString], stdio: Stdio) -> anyhow::Result<Launched> {
        use std::os::unix::ffi::OsStrExt;
        let (program, arguments) = command.split_first().context("no command was given")?;
        if let Some(user) = unknown_invoking_user() {
            bail!(
                "the command would run as root: whoever called {user} is not among the users that this program can look up; \
                 call numatrace with sudo, or start the command first and trace it with --pid"
            );
        }
        let (pid_reader, pid_writer) = io::pipe().context("cannot make a pipe")?;
        let (gate_reader, gate) = io::pipe().context("cannot make a pipe")?;
        let mut child = Command::new(program);
        child.args(arguments);
        redirect(&mut child, stdio)?;
        become_invoking_user(&mut child);
        wait_before_exec(&mut child, pid_writer, gate_reader);
        let (sender, spawned) = channel();
        // `spawn` returns after exec, so it waits on a thread of its own while the child waits for us.
        thread::Builder::new()
            .name("numatrace-spawn".into())
            .spawn(move || {
                let result = child.spawn();
                // Closes our ends of the pipes that the closure holds, so that a failed fork ends the wait below.
                drop(child);
                // Nobody to tell is no reason to fail.
                let _ = sender.send(result);
            })
            .context("cannot start a thread")?;
        let name = display_bytes(program.as_bytes());
        let pid = match read_pid(pid_reader) {
            Some(pid) => pid,
            None => match spawned.recv_timeout(Duration::from_secs(5)) {
                Ok(Err(error)) => return Err(anyhow!(error).context(format!("cannot start {name}"))),
                _ => bail!("cannot start {name}: it did not say its process id"),
            },
        };
        Ok(Launched { pid, name, gate: Some(gate), spawned, child: None })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Lets it go.
    ///
    /// # Errors
    /// When there is no such program, or it may not be run.
    pub fn release(&mut self) -> anyhow::Result<()> {
        if let Some(mut gate) = self.gate.take() {
            gate.write_all(&[1]).with_context(|| format!("{} ended before it was started", self.name))?;
        }
        let child = self.spawned.recv().map_err(|_| anyhow!("cannot start {}", self.name))?;
        self.child = Some(child.with_context(|| format!("cannot run {}", self.name))?);
        Ok(())
    }

    /// Ends it if it still runs (SIGTERM, and SIGKILL after [`GRACE`]), and returns the exit code that a shell would: its own, or 128 and the signal.
    pub fn end(&mut self) -> u8 {
        let Some(mut child) = self.child.take() else { return 1 };
        if let Ok(Some(status)) = child.try_wait() {
            return code_of(status);
        }
        // SAFETY: no preconditions; the child was not waited for, so its id is still its own.
        unsafe {
            libc::kill(self.pid.cast_signed(), libc::SIGTERM);
            // One that is stopped sees it only when it goes on.
            libc::kill(self.pid.cast_signed(), libc::SIGCONT);
        }
        let asked = Instant::now();
        while asked.elapsed() < GRACE {
            if let Ok(Some(status)) = child.try_wait() {
                return code_of(status);
            }
            thread::sleep(Duration::from_millis(5));
        }
        // It may have ended since; then there is nothing to kill.
        let _ = child.kill();
        child.wait().map_or(1, code_of)
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        if self.gate.take().is_some() {
            // Never released: closing the gate makes it end before exec.
            if let Ok(Ok(mut child)) = self.spawned.recv_timeout(GRACE) {
                let _ = child.wait();
            }
        } else {
            // The run failed: what it started ends with it.
            self.end();
        }
    }
}

fn code_of(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => code as u8,
        (None, Some(signal)) => 128 + signal as u8,
        (None, None) => 1,
    }
}

fn redirect(child: &mut Command, stdio: Stdio) -> anyhow::Result<()> {
    use std::{os::fd::AsFd, process::Stdio as To};
    match stdio {
        Stdio::Inherited => {}
        Stdio::OutputToStderr => {
            let stderr = io::stderr().as_fd().try_clone_to_owned().context("cannot pass standard error on")?;
            child.stdout(stderr);
        }
        Stdio::Null => {
            child.stdin(To::null()).stdout(To::null()).stderr(To::null());
        }
    }
    Ok(())
}

fn become_invoking_user(child: &mut Command) {
    let Some(user) = invoking_user() else { return };
    if let Some(name) = &user.name {
        child.env("USER", name).env("LOGNAME", name);
    }
    // SAFETY: between fork and exec only system calls, on numbers and a list that are there.
    unsafe {
        child.pre_exec(move || {
            // Without the right to change groups there are none to shed.
            if libc::setgroups(user.groups.len(), user.groups.as_ptr()) != 0
                && io::Error::last_os_error().raw_os_error() != Some(libc::EPERM)
            {
                return Err(io::Error::last_os_error());
            }
            if libc::setresgid(user.gid, user.gid, user.gid) != 0 || libc::setresuid(user.uid, user.uid, user.uid) != 0
            {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
}

/// Makes the child say its id and then wait for a byte.
fn wait_before_exec(child: &mut Command, pid_writer: PipeWriter, gate_reader: PipeReader) {
    // SAFETY: getpid, write and read are async-signal-safe, and nothing allocates.
    unsafe {
        child.pre_exec(move || {
            let pid = libc::getpid().to_le_bytes();
            if libc::write(pid_writer.as_raw_fd(), pid.as_ptr().cast(), pid.len()) != pid.len() as isize {
                return Err(io::Error::last_os_error());
            }
            let mut byte = 0u8;
            loop {
                match libc::read(gate_reader.as_raw_fd(), (&raw mut byte).cast(), 1) {
                    1 => return Ok(()),
                    0 => return Err(io::Error::from_raw_os_error(libc::ECANCELED)),
                    _ if io::Error::last_os_error().raw_os_error() == Some(libc::EINTR) => {}
                    _ => return Err(io::Error::last_os_error()),
                }
            }
        });
    }
}

fn read_pid(mut reader: PipeReader) -> Option<u32> {
    let mut bytes = [0; 4];
    reader.read_exact(&mut bytes).ok()?;
    Some(u32::from_le_bytes(bytes))
}
