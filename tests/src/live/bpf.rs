//! Which BPF programs the kernel holds, and who holds them: what proves that nothing is left behind.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::eventually;

const BPF_PROG_GET_NEXT_ID: libc::c_long = 11;
const BPF_PROG_GET_FD_BY_ID: libc::c_long = 13;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;

/// Offset and length of `name` in `struct bpf_prog_info` (include/uapi/linux/bpf.h).
const NAME: std::ops::Range<usize> = 64..80;

/// Every program in the kernel: its name by its id.
///
/// # Errors
/// Without the right to list them (CAP_SYS_ADMIN).
pub fn programs() -> Result<BTreeMap<u32, String>> {
    let mut found = BTreeMap::new();
    let mut id = 0;
    while let Some(next) = next_id(id).context("cannot list BPF programs")? {
        // It may be gone by now.
        if let Ok(name) = name(next) {
            found.insert(next, name);
        }
        id = next;
    }
    Ok(found)
}

/// Ids of the programs that a process holds, itself or through a link.
///
/// # Errors
/// When the process is gone.
pub fn held_by(pid: u32) -> Result<BTreeSet<u32>> {
    let mut held = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        let text = entry.and_then(|entry| fs::read_to_string(entry.path())).unwrap_or_default();
        let ids = text.lines().filter_map(|line| line.strip_prefix("prog_id:")?.trim().parse::<u32>().ok());
        held.extend(ids);
    }
    Ok(held)
}

/// Waits until a process holds BPF programs and no more come.
///
/// # Errors
/// When it does not come to that.
pub fn wait_until_attached(pid: u32) -> Result<()> {
    let (mut last, mut same) = (0, 0);
    eventually(&format!("process {pid} has attached its BPF programs"), Duration::from_secs(60), || {
        let now = held_by(pid).unwrap_or_default().len();
        same = if now > 0 && now == last { same + 1 } else { 0 };
        last = now;
        // Half a second at 10 ms a look: loading one program takes far less.
        Ok(same >= 50)
    })
}

/// Programs that no process holds, of those not in `before`: what somebody left behind.
///
/// # Errors
/// As [`programs`].
pub fn orphans(before: &BTreeMap<u32, String>) -> Result<BTreeMap<u32, String>> {
    let now = programs()?;
    let mut held = BTreeSet::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        if let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            // It may be gone by now.
            held.extend(held_by(pid).unwrap_or_default());
        }
    }
    Ok(now.into_iter().filter(|(id, _)| !before.contains_key(id) && !held.contains(id)).collect())
}

/// Waits until no program that was not in `before` is in the kernel without a holder. The kernel frees them some time
/// after the last holder is gone.
///
/// # Errors
/// When one stays.
pub fn nothing_left(before: &BTreeMap<u32, String>) -> Result<()> {
    let mut left = BTreeMap::new();
    let gone = eventually("programs without a holder are gone", Duration::from_secs(60), || {
        left = orphans(before)?;
        Ok(left.is_empty())
    });
    gone.with_context(|| format!("left behind: {left:?}"))
}

fn bpf(command: libc::c_long, attributes: &mut [u8]) -> io::Result<libc::c_long> {
    // SAFETY: `attributes` is as large as the call says; pointers in it refer to memory that outlives it.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_mut_ptr(), attributes.len()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn next_id(id: u32) -> io::Result<Option<u32>> {
    let mut attributes = [0u8; 16];
    attributes[..4].copy_from_slice(&id.to_ne_bytes());
    match bpf(BPF_PROG_GET_NEXT_ID, &mut attributes) {
        Ok(_) => Ok(Some(u32::from_ne_bytes([attributes[4], attributes[5], attributes[6], attributes[7]]))),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

fn name(id: u32) -> io::Result<String> {
    use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
    let mut attributes = [0u8; 16];
    attributes[..4].copy_from_slice(&id.to_ne_bytes());
    let fd = bpf(BPF_PROG_GET_FD_BY_ID, &mut attributes)?;
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel just made it, for nobody else.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut info = [0u8; 256];
    let mut attributes = [0u8; 16];
    attributes[..4].copy_from_slice(&fd.as_raw_fd().to_ne_bytes());
    attributes[4..8].copy_from_slice(&(info.len() as u32).to_ne_bytes());
    attributes[8..].copy_from_slice(&(info.as_mut_ptr() as u64).to_ne_bytes());
    bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attributes)?;
    let name = info[NAME].split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(name).into_owned())
}
