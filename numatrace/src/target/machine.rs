//! Where the machine's /proc and /sys are, and what ids of threads mean there.

use std::fs;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::text::display_bytes;

/// Where /proc and /sys are.
///
/// `/proc/self` is always that of this process; all other files of /proc are those of the machine that is traced, which in a
/// container can be mounted elsewhere.
#[derive(Clone, Debug)]
pub struct Machine {
    root: PathBuf,
    proc: PathBuf,
    sys: PathBuf,
    /// What was given is not what this process has itself.
    given_proc: bool,
    given_sys: bool,
}

/// What the ids that the probes tell are good for here. The probes know threads by their ids in the first pid namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// Files of /proc and system calls have the same.
    Same,
    /// Files of /proc have the same, system calls do not: this process is in a pid namespace of its own.
    Files,
    /// Neither has: this process is in a pid namespace of its own, and so is its /proc.
    Own,
}

/// Why a folder is not the /proc or /sys of a machine.
#[derive(Debug, Error)]
pub enum RootError {
    /// There is no such folder.
    #[error(
        "{option} {path}: there is no such folder; mount the host's {what} there, as with docker run -v {what}:{path}:ro"
    )]
    NoFolder {
        /// The option.
        option: &'static str,
        /// What was given, safe to show.
        path: String,
        /// `/proc` or `/sys`.
        what: &'static str,
    },
    /// It is another folder.
    #[error(
        "{option} {path}: there is no {what} there, but another folder; give the folder on which the host's {what} is mounted"
    )]
    Another {
        /// The option.
        option: &'static str,
        /// What was given, safe to show.
        path: String,
        /// `/proc` or `/sys`.
        what: &'static str,
    },
    /// It shows a part of the machine's processes.
    #[error(
        "--proc-root {0}: it shows the processes of a pid namespace, not those of the whole machine: give the /proc of the host"
    )]
    Namespace(String),
}

/// Why nothing can be looked up by id, with [`Ids::Own`], and what to do.
pub const OWN_IDS: &str = "numatrace runs in a pid namespace of its own, where ids are not the kernel's (mount the host's /proc and name it with --proc-root)";

/// Why no system call can be asked, with [`Ids::Files`].
pub const FILE_IDS: &str =
    "numatrace runs in a pid namespace of its own, where system calls know other ids than the kernel's";

/// Inode number of the first pid namespace, which is fixed (`PROC_PID_INIT_INO`).
const FIRST: &str = "pid:[4026531836]";

impl Machine {
    /// This machine.
    pub fn this() -> Machine {
        Machine::at("/")
    }

    /// A tree of files that looks like one.
    pub fn at(root: impl Into<PathBuf>) -> Machine {
        let root = root.into();
        let (proc, sys) = (root.join("proc"), root.join("sys"));
        Machine { root, proc, sys, given_proc: false, given_sys: false }
    }

    /// The same with another /proc or /sys.
    ///
    /// # Errors
    /// [`RootError`] where they are not there, or something else is.
    pub fn with_roots(mut self, proc: Option<&Path>, sys: Option<&Path>) -> Result<Machine, RootError> {
        let shown = |path: &Path| display_bytes(path.as_os_str().as_encoded_bytes());
        let check = |option, what, path: &Path, holds: &[&str]| {
            if !path.is_dir() {
                return Err(RootError::NoFolder { option, path: shown(path), what });
            }
            match holds.iter().all(|file| path.join(file).exists()) {
                true => Ok(path.to_owned()),
                false => Err(RootError::Another { option, path: shown(path), what }),
            }
        };
        if let Some(path) = proc {
            self.proc = check("--proc-root", "/proc", path, &["1/stat", "stat", "sys/kernel"])?;
            self.given_proc = true;
            if !self.proc_is_the_hosts() {
                return Err(RootError::Namespace(shown(path)));
            }
        }
        if let Some(path) = sys {
            self.sys = check("--sys-root", "/sys", path, &["devices/system/cpu"])?;
            self.given_sys = true;
        }
        Ok(self)
    }

    /// An absolute path of the machine as a path that can be opened here.
    pub fn path(&self, absolute: impl AsRef<Path>) -> PathBuf {
        let path = absolute.as_ref();
        let inside = |root: &str| path.strip_prefix(root).ok();
        if inside("/proc/self").is_none() && inside("/proc/thread-self").is_none() {
            if let Some(inside) = inside("/proc") {
                return self.proc.join(inside);
            }
            if let Some(inside) = inside("/sys").filter(|_| !self.given_sys || !path.starts_with(&self.sys)) {
                return self.sys.join(inside);
            }
        }
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Where processes are.
    pub fn proc(&self) -> &Path {
        &self.proc
    }

    /// Where devices and cgroups are.
    pub fn sys(&self) -> &Path {
        &self.sys
    }

    /// Where something else than this process's own /sys was named.
    pub(super) fn given_sys(&self) -> Option<&Path> {
        self.given_sys.then_some(self.sys.as_path())
    }

    /// Something else than this process's own /proc was named.
    pub fn has_given_proc(&self) -> bool {
        self.given_proc
    }

    /// The root folder of the machine, as its first process sees it.
    pub fn host_root(&self) -> PathBuf {
        let of_first = self.proc.join("1/root");
        // Without the right to look there it is that of this process.
        if of_first.join("proc").exists() { of_first } else { self.root.clone() }
    }

    /// What the ids that the probes tell are good for.
    pub fn ids(&self) -> Ids {
        if !self.in_pid_namespace() {
            Ids::Same
        } else if self.given_proc {
            Ids::Files
        } else {
            Ids::Own
        }
    }

    /// Whether this process is in another pid namespace than the first: then the ids that the probes tell mean nothing, or
    /// somebody else, to system calls.
    pub fn in_pid_namespace(&self) -> bool {
        fs::read_link(self.path("/proc/self/ns/pid")).is_ok_and(|link| link.to_str() != Some(FIRST))
    }

    /// Whether [`Machine::proc`] shows all processes: the first of them is in the first namespace. Where that may not be looked
    /// at: the second is the kernel's own.
    fn proc_is_the_hosts(&self) -> bool {
        match fs::read_link(self.proc.join("1/ns/pid")) {
            Ok(link) => link.to_str() == Some(FIRST),
            Err(_) => fs::read(self.proc.join("2/comm")).is_ok_and(|comm| comm == b"kthreadd\n"),
        }
    }

    /// This process by its id in the machine's /proc, where that is known.
    pub fn own_id(&self) -> Option<u32> {
        fs::read_link(self.proc.join("self")).ok()?.to_str()?.parse().ok()
    }

    /// Looks at cgroups as the host does: their paths in /proc and in the list of mounts then begin at the root of the
    /// hierarchy, not at the cgroup of this container. For the calling thread and those it makes from now on; to be asked for
    /// where another /proc was named, whose cgroups these are. Says whether that is so now.
    pub fn enter_cgroup_namespace(&self) -> bool {
        // Where the first process may not be looked at: the second is the kernel's own, in the first of all namespaces.
        let first = ["1/ns/cgroup", "2/ns/cgroup"].map(|file| self.proc.join(file));
        let Some(first) = first.into_iter().find(|file| fs::read_link(file).is_ok()) else { return false };
        if fs::read_link(self.path("/proc/self/ns/cgroup")).ok() == fs::read_link(&first).ok() {
            return true;
        }
        use std::os::fd::AsRawFd;
        let Ok(namespace) = fs::File::open(first) else { return false };
        // SAFETY: an open file descriptor and a flag; only the calling thread's view of cgroups changes.
        unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWCGROUP) == 0 }
    }
}
