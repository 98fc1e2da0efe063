//! Running other programs: said before it happens, failing with one sentence that names the command.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

/// The repository's root folder.
pub fn root() -> PathBuf {
    // cargo sets it for `cargo xtask` and for tests; the fallback is where this crate was compiled.
    let manifest_dir = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest_dir.parent().map_or(manifest_dir.clone(), Path::to_path_buf)
}

/// Where cargo puts what it builds.
pub fn target_dir() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// Prints one line about what is happening.
pub fn say(message: impl AsRef<str>) {
    println!("xtask: {}", message.as_ref());
}

/// A command in the repository's root.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    if in_ci() {
        // Nothing is compiled twice there: what would make that fast only takes time.
        command.env("CARGO_INCREMENTAL", "0");
    }
    command
}

/// The command as a person would type it.
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Runs to the end, output to the terminal; an exit code other than 0 is an error.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start `{}`", shown(command)))?;
    if !status.success() {
        bail!("`{}` failed ({status})", shown(command));
    }
    Ok(())
}

/// Runs to the end and returns what it printed on standard output; an exit code other than 0 is an error with its error output.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{}`", shown(command)))?;
    if !output.status.success() {
        bail!("`{}` failed ({}): {}", shown(command), output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The first executable file of that name on PATH.
pub fn which(program: &str) -> Option<PathBuf> {
    executable_in(env::split_paths(&env::var_os("PATH")?), program)
}

/// As [`which`], and where programs for root are, which not everybody has on PATH.
pub fn which_for_root(program: &str) -> Option<PathBuf> {
    which(program).or_else(|| executable_in(["/usr/sbin", "/sbin"].map(PathBuf::from).into_iter(), program))
}

fn executable_in(mut dirs: impl Iterator<Item = PathBuf>, program: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    dirs.find_map(|dir| {
        let path = dir.join(program);
        let found = path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
        found.then_some(path)
    })
}

/// How this process gets things done that need root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    Root,
    Sudo,
    None,
}

impl Privilege {
    pub fn detect() -> Self {
        let root = output(Command::new("id").arg("-u")).is_ok_and(|uid| uid.trim() == "0");
        match (root, which("sudo")) {
            (true, _) => Self::Root,
            (false, Some(_)) => Self::Sudo,
            (false, None) => Self::None,
        }
    }

    /// `program` as root, by sudo where we are not; an error where there is neither.
    pub fn command(self, program: impl AsRef<OsStr>) -> Result<Command> {
        match self {
            Self::Root => Ok(command(program)),
            Self::Sudo => {
                let mut sudo = command("sudo");
                sudo.arg("--").arg(program);
                Ok(sudo)
            }
            Self::None => bail!(
                "`{}` needs root: become root, or install sudo, and try again",
                program.as_ref().to_string_lossy()
            ),
        }
    }
}

/// True in continuous integration, where nothing that should run may be skipped.
pub fn in_ci() -> bool {
    env::var("CI").is_ok_and(|value| !value.is_empty() && value != "false" && value != "0")
}
