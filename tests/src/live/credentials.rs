//! Who the threads of a process are and what they may do, as /proc/PID/task/TID/status tells it.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result};

/// Numbers of capabilities (include/uapi/linux/capability.h).
pub const DAC_READ_SEARCH: u32 = 2;
/// See above.
pub const KILL: u32 = 5;
/// See above.
pub const SYS_PTRACE: u32 = 19;
/// See above.
pub const SYS_ADMIN: u32 = 21;
/// See above.
pub const SYS_NICE: u32 = 23;
/// See above.
pub const PERFMON: u32 = 38;
/// See above.
pub const BPF: u32 = 39;
/// See above.
pub const CHECKPOINT_RESTORE: u32 = 40;

/// A set of capabilities, as /proc writes it.
pub fn set(capabilities: &[u32]) -> String {
    format!("{:016x}", capabilities.iter().fold(0u64, |set, one| set | 1 << one))
}

/// One thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Its name.
    pub name: String,
    fields: BTreeMap<String, Vec<String>>,
}

impl Credentials {
    /// From the text of a status file.
    pub fn parse(status: &str) -> Credentials {
        let field = |line: &str| {
            let (name, rest) = line.split_once(':')?;
            Some((name.to_owned(), rest.split_whitespace().map(str::to_owned).collect()))
        };
        let fields: BTreeMap<String, Vec<String>> = status.lines().filter_map(field).collect();
        Credentials { name: fields.get("Name").map(|words| words.join(" ")).unwrap_or_default(), fields }
    }

    /// The words of a field such as `Uid`.
    pub fn field(&self, name: &str) -> &[String] {
        self.fields.get(name).map_or(&[], Vec::as_slice)
    }

    /// The only word of a field.
    pub fn word(&self, name: &str) -> &str {
        self.field(name).first().map_or("", String::as_str)
    }
}

/// All threads of a process that are there.
///
/// # Errors
/// When it is gone.
pub fn threads_of(pid: u32) -> Result<Vec<Credentials>> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("process {pid} is gone"))?;
    // One that has ended meanwhile is not there.
    let status = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("status")).ok();
    Ok(threads.flatten().filter_map(status).map(|status| Credentials::parse(&status)).collect())
}
