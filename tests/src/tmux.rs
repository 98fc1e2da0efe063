//! A private tmux server with one pane: a terminal that a test types into and reads back.
//!
//! What a program wrote is what the pane shows, after a real terminal emulator has made sense of it. Nothing here
//! sleeps and hopes: whoever waits says for what, and only a failure takes as long as the patience.

use std::{
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

use crate::live::eventually;

/// The prompt of shells in a pane.
pub const PROMPT: &str = "ready>";
/// Clears the whole screen: what a dashboard writes before it draws every cell, and at no other time.
const CLEAR: &[u8] = b"\x1b[2J";
/// What of the emulator's state a program can leave behind.
const FLAGS: &str = "alternate=#{alternate_on} cursor=#{cursor_flag} wrap=#{wrap_flag} insert=#{insert_flag} \
                     keypad=#{keypad_flag},#{keypad_cursor_flag} mouse=#{mouse_any_flag} origin=#{origin_flag} \
                     region=#{scroll_region_upper}-#{scroll_region_lower}";

/// The server; killed with all that runs in it when dropped.
#[derive(Debug)]
pub struct Tmux {
    dir: TempDir,
    patience: Duration,
}

/// The text of a pane, line by line, without blanks at the ends of lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Screen(pub Vec<String>);

/// What a program that ran in the pane has to leave as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TerminalState {
    /// The kernel's side: `stty -a`.
    pub stty: String,
    /// The emulator's: screen, cursor and modes.
    pub flags: String,
}

/// Why there can be no pane, if so.
pub fn cannot_run() -> Option<String> {
    let version = Command::new("tmux").arg("-V").stdin(Stdio::null()).output();
    version.err().map(|error| format!("tmux does not start ({error}): `cargo xtask setup` installs it"))
}

impl Tmux {
    /// A pane of that size that runs `command`, which has one argument at least. Waits take `patience` at most.
    ///
    /// # Errors
    /// When tmux does not start.
    pub fn start(size: (u16, u16), command: &[&str], variables: &[(&str, &str)], patience: Duration) -> Result<Tmux> {
        let tmux = Tmux { dir: tempfile::Builder::new().prefix("numatrace-tmux-").tempdir()?, patience };
        let path = env::var_os("PATH").unwrap_or_default();
        let mut server = tmux.client();
        // The pane inherits what the server has: nothing of the terminal that the tests were started from.
        server
            .env_clear()
            .env("PATH", path)
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", tmux.dir.path())
            .env("PS1", "ready> ")
            // What programs write without being told where lands there too.
            .current_dir(tmux.dir.path());
        server.envs(variables.iter().copied());
        // A pane whose program has ended stays: a failed test shows its last screen.
        server.args(["-f", "/dev/null", "start-server", ";", "set-option", "-g", "status", "off", ";"]);
        server.args(["set-option", "-g", "default-terminal", "tmux-256color", ";"]);
        server.args(["set-option", "-g", "remain-on-exit", "on", ";", "new-session", "-d"]);
        server.args(["-x", &size.0.to_string(), "-y", &size.1.to_string()]).args(command);
        run(server)?;
        let log = tmux.log();
        fs::write(&log, "")?;
        tmux.tell(&["pipe-pane", "-O", &format!("exec cat >> '{}'", log.display())])?;
        Ok(tmux)
    }

    /// The folder that shells begin in, which is removed at the end.
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// A pane with an interactive shell at its prompt, which finds programs in `path` first.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn shell(size: (u16, u16), path: &Path, variables: &[(&str, &str)], patience: Duration) -> Result<Tmux> {
        let mut paths = vec![path.to_path_buf()];
        paths.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
        let paths = env::join_paths(paths)?.into_string().map_err(|path| anyhow::anyhow!("PATH is {path:?}"))?;
        // Where sh is dash it never touches the terminal's modes; shells that edit lines would repair what a program
        // left behind, and nobody would notice.
        let tmux = Tmux::start(size, &["sh", "-i"], &[&[("PATH", paths.as_str())], variables].concat(), patience)?;
        tmux.wait_for_prompt()?;
        Ok(tmux)
    }

    /// Presses keys, by tmux's names of them.
    ///
    /// # Errors
    /// When the pane is gone.
    pub fn press(&self, keys: &[&str]) -> Result<()> {
        self.tell(&[&["send-keys", "--"], keys].concat()).map(drop)
    }

    /// Types text as it is.
    ///
    /// # Errors
    /// When the pane is gone.
    pub fn type_text(&self, text: &str) -> Result<()> {
        self.tell(&["send-keys", "-l", "--", text]).map(drop)
    }

    /// Types a line and Enter.
    ///
    /// # Errors
    /// When the pane is gone.
    pub fn type_line(&self, line: &str) -> Result<()> {
        self.type_text(line)?;
        self.press(&["Enter"])
    }

    /// What the pane shows.
    ///
    /// # Errors
    /// When the pane is gone.
    pub fn screen(&self) -> Result<Screen> {
        Ok(Screen(self.tell(&["capture-pane", "-p"])?.lines().map(|line| line.trim_end().to_owned()).collect()))
    }

    /// What the pane shows, with the escape sequences of its colours.
    ///
    /// # Errors
    /// When the pane is gone.
    pub fn styled_screen(&self) -> Result<Screen> {
        Ok(Screen(self.tell(&["capture-pane", "-p", "-e"])?.lines().map(ToOwned::to_owned).collect()))
    }

    /// Waits until the pane shows something, and returns what it shows then.
    ///
    /// # Errors
    /// When it does not come to that, with what it shows instead.
    pub fn wait_for(&self, what: &str, shown: impl Fn(&Screen) -> bool) -> Result<Screen> {
        let deadline = Instant::now() + self.patience;
        loop {
            let screen = self.screen()?;
            if shown(&screen) {
                return Ok(screen);
            }
            ensure!(!self.is_over()?, "the program in the pane ended before {what}; the screen is\n{screen}");
            if Instant::now() > deadline {
                bail!("waited {} s in vain for {what}; the screen is\n{screen}", self.patience.as_secs());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the shell wants a line.
    ///
    /// # Errors
    /// When it does not.
    pub fn wait_for_prompt(&self) -> Result<Screen> {
        self.wait_for("the shell's prompt", |screen| {
            screen.0.iter().rfind(|line| !line.is_empty()).is_some_and(|line| line == PROMPT)
        })
    }

    /// Presses Ctrl-L and waits until the program has cleared the screen for it: it has taken every key before.
    /// What it draws then may still be on its way.
    ///
    /// # Errors
    /// When it does not.
    pub fn repaint(&self) -> Result<()> {
        let before = self.clears()?;
        self.press(&["C-l"])?;
        eventually("the screen is drawn anew after Ctrl-L", self.patience, || Ok(self.clears()? > before)).with_context(
            || format!("the screen is\n{}", self.screen().map_or_else(|e| e.to_string(), |s| s.to_string())),
        )
    }

    /// How often everything that the pane's programs wrote clears the screen.
    fn clears(&self) -> Result<usize> {
        let log = fs::read(self.log())?;
        Ok(log.windows(CLEAR.len()).filter(|bytes| *bytes == CLEAR).count())
    }

    /// Another size.
    ///
    /// # Errors
    /// When the pane is gone.
    pub fn resize(&self, width: u16, height: u16) -> Result<()> {
        self.tell(&["resize-window", "-x", &width.to_string(), "-y", &height.to_string()]).map(drop)
    }

    /// Writes on the terminal behind the back of the program that runs there, at a line and column from 1.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn scribble(&self, line: u16, column: u16, text: &str) -> Result<()> {
        let mut terminal = fs::File::options().write(true).open(self.ask("#{pane_tty}")?)?;
        write!(terminal, "\x1b[{line};{column}H{text}")?;
        Ok(())
    }

    /// What tmux knows of the pane: see FORMATS in its manual.
    ///
    /// # Errors
    /// When the pane is gone.
    pub fn ask(&self, format: &str) -> Result<String> {
        Ok(self.tell(&["display-message", "-p", format])?.trim_end().to_owned())
    }

    /// What has to be the same before and after a program.
    ///
    /// # Errors
    /// When the pane is gone.
    pub fn terminal_state(&self) -> Result<TerminalState> {
        let mut stty = Command::new("stty");
        stty.args(["-a", "-F", &self.ask("#{pane_tty}")?]);
        Ok(TerminalState { stty: run(stty)?, flags: self.ask(FLAGS)? })
    }

    /// Waits until the pane's program has ended.
    ///
    /// # Errors
    /// When it does not.
    pub fn wait_until_over(&self) -> Result<()> {
        eventually("the pane's program has ended", self.patience, || self.is_over())
    }

    fn is_over(&self) -> Result<bool> {
        Ok(self.ask("#{pane_dead}")? == "1")
    }

    /// The process of this name that the pane's shell has started.
    ///
    /// # Errors
    /// When there is none.
    pub fn child(&self, name: &str) -> Result<u32> {
        let shell = self.ask("#{pane_pid}")?;
        for entry in fs::read_dir("/proc")?.flatten() {
            // A process that is gone by now is not the one.
            let stat = fs::read(entry.path().join("stat")).unwrap_or_default();
            let stat = String::from_utf8_lossy(&stat);
            let parent = stat.rsplit_once(") ").and_then(|(_, fields)| fields.split(' ').nth(1));
            if parent == Some(&shell) && stat.contains(&format!("({name})")) {
                return Ok(entry.file_name().to_string_lossy().parse()?);
            }
        }
        bail!("the shell in the pane has started no {name}; the screen is\n{}", self.screen()?)
    }

    fn tell(&self, args: &[&str]) -> Result<String> {
        let mut client = self.client();
        client.args(args);
        run(client)
    }

    fn client(&self) -> Command {
        let mut client = Command::new("tmux");
        client.arg("-u").arg("-S").arg(self.dir.path().join("socket"));
        client
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("written")
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.client().arg("kill-server").stderr(Stdio::null()).status();
    }
}

fn run(mut command: Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {command:?}"))?;
    ensure!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

impl Screen {
    /// Whether any line has this in it.
    pub fn has(&self, what: &str) -> bool {
        self.line_with(what).is_some()
    }

    /// The first line with this in it.
    pub fn line_with(&self, what: &str) -> Option<&str> {
        self.0.iter().map(String::as_str).find(|line| line.contains(what))
    }

    /// The first line.
    pub fn first(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    /// The last line.
    pub fn last(&self) -> &str {
        self.0.last().map_or("", String::as_str)
    }
}

impl std::fmt::Display for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|line| writeln!(f, "| {line}"))
    }
}
