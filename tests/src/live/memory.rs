//! Memory of a process, and limits on it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

/// Resident memory of a process now, bytes.
///
/// # Errors
/// When the process is gone.
pub fn resident(pid: u32) -> Result<u64> {
    status(pid, "VmRSS:")
}

/// The most that was ever resident, since [`forget_peak`], bytes.
///
/// # Errors
/// When the process is gone.
pub fn peak(pid: u32) -> Result<u64> {
    status(pid, "VmHWM:")
}

/// From now on the peak is that of what comes.
///
/// # Errors
/// When the process is gone.
pub fn forget_peak(pid: u32) -> Result<()> {
    Ok(fs::write(format!("/proc/{pid}/clear_refs"), "5")?)
}

fn status(pid: u32, name: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
    Ok(line.split_ascii_whitespace().next().context("no number")?.parse::<u64>()? << 10)
}

/// A memory cgroup of the test's own; gone when dropped.
#[derive(Debug)]
pub struct MemoryLimit(PathBuf);

impl MemoryLimit {
    /// Makes one with this limit.
    ///
    /// # Errors
    /// Where cgroups cannot be made, or there is no memory controller.
    pub fn of(bytes: u64) -> Result<MemoryLimit> {
        let v1 = PathBuf::from("/sys/fs/cgroup/memory");
        let (root, file) =
            if v1.is_dir() { (v1, "memory.limit_in_bytes") } else { (PathBuf::from("/sys/fs/cgroup"), "memory.max") };
        let limit = MemoryLimit(root.join(format!("numatrace-test-{}", std::process::id())));
        fs::create_dir(&limit.0).with_context(|| format!("cannot make {}", limit.0.display()))?;
        fs::write(limit.0.join(file), bytes.to_string()).context("cannot set a memory limit")?;
        Ok(limit)
    }

    /// Leaves room for this much more than is used now, and says how much that was.
    ///
    /// # Errors
    /// Where the kernel does not take the limit.
    pub fn leave(&self, bytes: u64) -> Result<u64> {
        let (used, limit) = match self.0.join("memory.current") {
            used if used.exists() => (used, "memory.max"),
            _ => (self.0.join("memory.usage_in_bytes"), "memory.limit_in_bytes"),
        };
        // What does not fit is not to go elsewhere; where there is no swap, there is no such file.
        let _ = fs::write(self.0.join("memory.swap.max"), "0");
        let _ = fs::write(self.0.join("memory.swappiness"), "0");
        let used: u64 = fs::read_to_string(used)?.trim().parse()?;
        fs::write(self.0.join(limit), (used + bytes).to_string()).context("cannot set a memory limit")?;
        Ok(used)
    }

    /// A command whose memory counts there: a shell enters the cgroup and becomes the program.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("sh");
        command.arg("-c").arg(r#"echo $$ > "$0" && exec "$@""#).arg(self.0.join("cgroup.procs")).arg(program);
        command
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        // A cgroup that cannot be removed is empty, and harmless.
        let _ = fs::remove_dir(&self.0);
    }
}

/// A small file system in memory; unmounted when dropped.
#[derive(Debug)]
pub struct Tmpfs(pub PathBuf);

impl Tmpfs {
    /// Mounts one of that size, as mount(8) writes sizes, at a folder that is made.
    ///
    /// # Errors
    /// Without the right to mount.
    pub fn mount(at: PathBuf, size: &str) -> Result<Tmpfs> {
        fs::create_dir_all(&at)?;
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(&at).status()?;
        ensure!(mounted.success(), "cannot mount a tmpfs");
        Ok(Tmpfs(at))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}
