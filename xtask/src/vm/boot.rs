//! Boots one guest, runs one command in it, and brings back what it printed.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{
    Guest,
    initramfs::{BEGIN_MARKER, EXIT_MARKER, with_command},
};
use crate::shell::{run, say, shown};

/// What a guest's command did.
#[derive(Clone, Debug)]
pub struct GuestOutput {
    /// The command's standard output, alone.
    pub stdout: String,
    /// Everything else: kernel messages and the command's standard error.
    pub console: String,
    /// `None` when the guest ended without saying: a panic, or the time limit.
    pub exit_code: Option<i32>,
    pub timed_out: bool,
    /// Guest clock when the command began.
    pub booted_after: Option<Duration>,
    /// Host clock, start of QEMU to its end.
    pub elapsed: Duration,
}

impl GuestOutput {
    /// The command's standard output if it exited with 0; else an error that shows how it ended.
    pub fn success(&self) -> Result<&str> {
        if self.exit_code == Some(0) {
            return Ok(&self.stdout);
        }
        let how = match self.exit_code {
            Some(code) => format!("exited with {code}"),
            None if self.timed_out => format!("was stopped after {:.0} s, its time limit", self.elapsed.as_secs_f32()),
            None => "ended without an exit code (did the kernel panic?)".to_owned(),
        };
        bail!("the guest's command {how}\n--- stdout\n{}\n--- console\n{}", tail(&self.stdout), tail(&self.console));
    }
}

/// The last lines of a text, for an error message.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

/// A folder for one boot's files, removed at the end.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process that does not outlive its owner.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Guest {
    /// Boots, runs `command` by the guest's `sh`, waits for the end, at most `timeout`.
    ///
    /// The guest's CPUs take turns in one host thread. With a thread each, QEMU (7.2) goes on executing instructions that another CPU has
    /// already replaced, and a kernel that patches itself (a static key that flips, as attaching a probe or setting a CPU quota makes it)
    /// dies of 'Oops: int3': 6.12 at the first few flips under load, and now and then in its boot.
    ///
    /// A kernel that ends before it came up is booted once more, and that is said: QEMU's emulation of x86-64 kills 6.12 so in one boot of
    /// many, in whatever it does at that moment. What is tested has not begun then.
    pub fn boot(&self, command: &str, timeout: Duration) -> Result<GuestOutput> {
        let first = self.boot_once(command, timeout)?;
        if first.exit_code.is_some() || first.booted_after.is_some() || first.timed_out {
            return Ok(first);
        }
        say(format!("the guest's kernel ended before it came up, and is booted once more:\n{}", tail(&first.console)));
        self.boot_once(command, timeout)
    }

    fn boot_once(&self, command: &str, timeout: Duration) -> Result<GuestOutput> {
        let scratch = self.scratch()?;
        let initramfs = scratch.0.join("initramfs.cpio");
        with_command(&self.initramfs, &initramfs, command)?;
        let stdout_file = scratch.0.join("stdout");
        let (port, device) = self.kernel.arch.output_port();
        let split = format!("NUMATRACE_SPLIT={port}");
        let mut qemu = self.qemu(&initramfs, if self.echo { "" } else { &split })?;
        qemu.args(["-serial", "stdio", "-chardev"]).arg(format!("file,id=out,path={}", stdout_file.display()));
        qemu.args(device);
        qemu.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());

        let started = Instant::now();
        let mut child = Killed(qemu.spawn().with_context(|| format!("cannot start `{}`", shown(&qemu)))?);
        let console = child.0.stdout.take().map(|pipe| self.collect(pipe));
        let errors = child.0.stderr.take().map(|pipe| self.collect(pipe));
        let status = wait(&mut child.0, started + timeout)?;
        drop(child);
        let elapsed = started.elapsed();
        let text = |reader: Option<thread::JoinHandle<String>>| {
            reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
        };
        let (console, errors) = (text(console), text(errors));
        if let Some(status) = status.filter(|status| !status.success()) {
            bail!("QEMU failed ({status}): {}", errors.trim());
        }
        let stdout = fs::read(&stdout_file).unwrap_or_default();
        Ok(GuestOutput {
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            exit_code: marker(&console, EXIT_MARKER),
            booted_after: marker(&console, BEGIN_MARKER).map(Duration::from_secs_f32),
            console,
            timed_out: status.is_none(),
            elapsed,
        })
    }

    /// Boots to a shell on this terminal and waits for its end.
    pub fn interact(&self) -> Result<()> {
        let scratch = self.scratch()?;
        let initramfs = scratch.0.join("initramfs.cpio");
        with_command(&self.initramfs, &initramfs, "")?;
        let mut qemu = self.qemu(&initramfs, "NUMATRACE_SHELL=1")?;
        // mon: gives Ctrl-C to the guest, and Ctrl-A X to leave.
        qemu.args(["-serial", "mon:stdio"]);
        run(&mut qemu)
    }

    fn scratch(&self) -> Result<Scratch> {
        // Tests boot guests side by side, in one process or in several.
        static BOOTS: AtomicU32 = AtomicU32::new(0);
        let number = BOOTS.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.path().join(format!("run/{}-{number}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        if !self.initramfs.is_file() {
            bail!(
                "{} is missing: `cargo xtask test --leg numa` or `cargo xtask vm` makes it",
                self.initramfs.display()
            );
        }
        Ok(Scratch(path))
    }

    fn qemu(&self, initramfs: &Path, word: &str) -> Result<Command> {
        let threads = if self.multi_thread { "multi" } else { "single" };
        let arch = self.kernel.arch;
        let mut qemu = self.dir.qemu(arch)?;
        qemu.args(["-accel", &format!("tcg,thread={threads}")]).args(arch.machine());
        qemu.args(self.topology.qemu_args());
        qemu.arg("-kernel").arg(&self.kernel.vmlinuz).arg("-initrd").arg(initramfs);
        let console = format!("console={}", arch.console());
        // Page tables of its own for the kernel and guarded indirect branches protect nobody here, and cost emulation most of its time.
        let mut words = vec![&console, "quiet", "panic=-1", "mitigations=off", word];
        words.extend(self.kernel_args.iter().map(String::as_str));
        qemu.args(["-append", words.join(" ").trim()]);
        qemu.args(["-nographic", "-no-reboot", "-nodefaults"]);
        Ok(qemu)
    }

    fn collect(&self, pipe: impl io::Read + Send + 'static) -> thread::JoinHandle<String> {
        let echo = self.echo;
        thread::spawn(move || {
            let mut text = String::new();
            let mut reader = BufReader::new(pipe);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                let clean = String::from_utf8_lossy(&line).replace('\r', "");
                if echo {
                    let _ = io::stdout().write_all(clean.as_bytes());
                }
                text.push_str(&clean);
                line.clear();
            }
            text
        })
    }
}

/// Waits for the end, `None` when `deadline` comes first.
fn wait(child: &mut Child, deadline: Instant) -> Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for QEMU")? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// The value after the last `name` in the console's text.
fn marker<T: std::str::FromStr>(console: &str, name: &str) -> Option<T> {
    let (_, rest) = console.rsplit_once(name)?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(exit_code: Option<i32>, timed_out: bool) -> GuestOutput {
        let elapsed = Duration::from_secs(7);
        GuestOutput { stdout: "1".into(), console: "oops".into(), exit_code, timed_out, booted_after: None, elapsed }
    }

    #[test]
    fn markers_are_found_behind_kernel_messages() {
        let console = "[    1.2] hello\nNUMATRACE-GUEST-BEGIN 2.50\nx\n[ 3.4] late NUMATRACE-GUEST-EXIT 3\n[ 3.5] reboot: Power down\n";
        assert_eq!(marker::<i32>(console, EXIT_MARKER), Some(3));
        assert_eq!(marker::<f32>(console, BEGIN_MARKER), Some(2.5));
        assert_eq!(marker::<i32>("Kernel panic", EXIT_MARKER), None);
    }

    #[test]
    fn only_exit_code_0_is_success_and_errors_say_how_it_ended() {
        assert_eq!(output(Some(0), false).success().unwrap(), "1");
        let error = |code, timed_out| output(code, timed_out).success().unwrap_err().to_string();
        assert!(error(Some(2), false).contains("exited with 2"));
        assert!(error(None, true).contains("7 s, its time limit"));
        assert!(error(None, false).contains("oops"));
    }
}
