//! What must hold before the first BPF call, so that a refusal is one sentence and not an error number: rights,
//! kernel version, BTF, lockdown.

use std::fs;
use std::path::PathBuf;

use thiserror::Error;

use super::{Filter, Machine, TargetSpec};

/// Oldest kernel on which the hooks have what the probes read (`prev_state` of `sched_switch`).
pub const MIN_KERNEL: (u32, u32) = (5, 18);

const CAP_SYS_PTRACE: u32 = 19;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// Which rights are missing.
#[derive(Debug, Error)]
pub enum PrivilegeError {
    /// Not root, and not the capabilities.
    #[error(
        "numatrace may not use BPF here: it lacks {missing}; run it with sudo, or grant the capabilities once with: sudo setcap cap_bpf,cap_perfmon,cap_sys_ptrace,cap_sys_nice+ep {program}",
        program = .program.display()
    )]
    Capabilities {
        /// `CAP_BPF and CAP_PERFMON`.
        missing: String,
        /// Path of this program.
        program: PathBuf,
    },
    /// Capabilities inside a user namespace do not count for BPF.
    #[error(
        "numatrace runs in a user namespace, and the kernel allows BPF tracing only outside: run it as root on the host, or in a container without user namespace remapping, or record with 'perf sched record -a -o FILE' and use 'numatrace import FILE'"
    )]
    UserNamespace,
    /// The process belongs to somebody else.
    #[error(
        "process {pid} ({comm}) belongs to user id {owner}, and numatrace, as user id {own}, may watch only its own processes: run it with sudo, or grant CAP_SYS_PTRACE with: sudo setcap cap_bpf,cap_perfmon,cap_sys_ptrace,cap_sys_nice+ep {program}",
        program = .program.display()
    )]
    NotYours {
        /// The process or thread.
        pid: u32,
        /// Its name.
        comm: String,
        /// Whose it is.
        owner: u32,
        /// Whose numatrace is.
        own: u32,
        /// Path of this program.
        program: PathBuf,
    },
}

/// Checks the rights to load and attach programs. CAP_SYS_ADMIN, which root has, includes both others. (CAP_SYS_RESOURCE
/// is not asked for: kernels account BPF memory to cgroups instead of a limit since 5.11.)
///
/// # Errors
/// [`PrivilegeError`] names what is missing and how to grant it. Where /proc does not tell, nothing is refused here.
pub fn check_privileges(machine: &Machine) -> Result<(), PrivilegeError> {
    let Some(own) = Own::read(machine) else { return Ok(()) };
    let missing: Vec<&str> = [(CAP_BPF, "CAP_BPF"), (CAP_PERFMON, "CAP_PERFMON")]
        .into_iter()
        .filter(|(cap, _)| !own.has(*cap) && !own.has(CAP_SYS_ADMIN))
        .map(|(_, name)| name)
        .collect();
    if !missing.is_empty() {
        return Err(PrivilegeError::Capabilities { missing: missing.join(" and "), program: program() });
    }
    let uid_map = fs::read_to_string(machine.path("/proc/self/uid_map")).unwrap_or_default();
    if is_mapped(&uid_map) {
        return Err(PrivilegeError::UserNamespace);
    }
    Ok(())
}

/// Checks that the target may be watched: one's own processes, or any with CAP_SYS_PTRACE, as for a debugger.
///
/// # Errors
/// [`PrivilegeError::NotYours`] for the first process that may not.
pub fn check_access(target: &TargetSpec, machine: &Machine) -> Result<(), PrivilegeError> {
    let ids = match &target.filter {
        Filter::Processes(ids) | Filter::Threads(ids) => ids.as_slice(),
        Filter::Command(_) => &[],
        Filter::All | Filter::Comm(_) | Filter::Cgroup { .. } => return Ok(()),
    };
    let Some(own) = Own::read(machine) else { return Ok(()) };
    if own.has(CAP_SYS_PTRACE) {
        return Ok(());
    }
    for pid in ids {
        if let Some(task) = machine.task(*pid)
            && let Some(owner) = task.uid
            && owner != own.uid
        {
            return Err(PrivilegeError::NotYours {
                pid: *pid,
                comm: task.comm,
                owner,
                own: own.uid,
                program: program(),
            });
        }
    }
    Ok(())
}

/// Whether every process may be looked at, whoever owns it. Where /proc does not tell, it may.
pub(super) fn may_look_into_all(machine: &Machine) -> bool {
    Own::read(machine).is_none_or(|own| own.has(CAP_SYS_PTRACE))
}

/// Path of this program, for `setcap`.
fn program() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| "numatrace".into())
}

/// User and effective capabilities of this process.
struct Own {
    uid: u32,
    caps: u64,
}

impl Own {
    fn read(machine: &Machine) -> Option<Own> {
        let status = fs::read_to_string(machine.path("/proc/self/status")).ok()?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        Some(Own {
            uid: field("Uid:")?.split_whitespace().next()?.parse().ok()?,
            caps: u64::from_str_radix(field("CapEff:")?, 16).ok()?,
        })
    }

    const fn has(&self, cap: u32) -> bool {
        self.caps & (1 << cap) != 0
    }
}

/// Whether user ids are mapped: `         0          0 4294967295` is the map of the first user namespace.
fn is_mapped(uid_map: &str) -> bool {
    let fields: Vec<&str> = uid_map.split_whitespace().collect();
    !fields.is_empty() && fields != ["0", "0", "4294967295"]
}

/// Why this kernel cannot be traced.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum KernelError {
    /// Older than [`MIN_KERNEL`].
    #[error(
        "this kernel is {0}, and numatrace needs Linux 5.18 or later: older ones do not tell the probes why a thread was switched out: boot a newer one, or record with 'perf sched record -a -o FILE' and use 'numatrace import FILE'"
    )]
    TooOld(String),
    /// No type information.
    #[error(
        "this kernel has no /sys/kernel/btf/vmlinux, from which numatrace learns where kernel structures lie: boot one that was built with CONFIG_DEBUG_INFO_BTF=y, as distributions do, or record with 'perf sched record -a -o FILE' and use 'numatrace import FILE'"
    )]
    NoBtf,
    /// Locked down.
    #[error(
        "this kernel is locked down in confidentiality mode, which forbids BPF to read kernel memory: boot without lockdown=confidentiality ('integrity' is fine), or record with 'perf sched record -a -o FILE' and use 'numatrace import FILE'"
    )]
    LockedDown,
}

/// Checks the running kernel.
///
/// # Errors
/// [`KernelError`] says what it lacks.
pub fn check_kernel(machine: &Machine) -> Result<(), KernelError> {
    let release = fs::read_to_string(machine.path("/proc/sys/kernel/osrelease")).unwrap_or_default();
    let btf = machine.path("/sys/kernel/btf/vmlinux").exists();
    let lockdown = fs::read_to_string(machine.path("/sys/kernel/security/lockdown")).unwrap_or_default();
    kernel_can(release.trim(), btf, &lockdown)
}

/// The decision of [`check_kernel`], from `uname -r`, whether there is BTF, and the text of the lockdown file (empty where
/// there is none). A release that is no version is let through: only the kernel itself can tell then.
///
/// # Errors
/// [`KernelError`] says what is lacking.
pub fn kernel_can(release: &str, btf: bool, lockdown: &str) -> Result<(), KernelError> {
    if version(release).is_some_and(|version| version < MIN_KERNEL) {
        return Err(KernelError::TooOld(crate::text::display_str(release)));
    }
    if lockdown.contains("[confidentiality]") {
        return Err(KernelError::LockedDown);
    }
    if !btf {
        return Err(KernelError::NoBtf);
    }
    Ok(())
}

/// `6.1.0-32-cloud-amd64` is (6, 1).
fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}
