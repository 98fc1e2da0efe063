//! The guest's whole file system: busybox, our static programs, numactl's, and an init that runs one command and powers off.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::cpio::Writer;

/// Printed by init before and after the command. The host looks for the second.
pub const BEGIN_MARKER: &str = "NUMATRACE-GUEST-BEGIN";
pub const EXIT_MARKER: &str = "NUMATRACE-GUEST-EXIT";

/// The file that holds the command; a kernel command line is too short, and would mangle quotes.
pub const COMMAND_FILE: &str = "numatrace-command";

/// Mounts what numatrace reads, runs [`COMMAND_FILE`] by `sh` and powers off. `NUMATRACE_SPLIT` arrives from the kernel command line, whose
/// unknown words become init's environment: it names the serial port to which alone the command's standard output then goes, so that JSON stays
/// clean of kernel messages.
pub const INIT: &str = r#"#!/bin/busybox sh
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/root TERM="${TERM:-linux}"
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
mount -t tracefs tracefs /sys/kernel/tracing
mount -t debugfs debugfs /sys/kernel/debug
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mkdir -p /dev/shm /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t devpts devpts /dev/pts
ln -sf /proc/self/fd /dev/fd
# The kernel creates a cgroup's cpu and memory files only where its parent allows them.
echo "+cpu +cpuset +memory" > /sys/fs/cgroup/cgroup.subtree_control 2>/dev/null
hostname guest
ip link set lo up 2>/dev/null
cd /root
echo "NUMATRACE-GUEST-BEGIN $(cut -d' ' -f1 /proc/uptime)"
if [ -n "$NUMATRACE_SPLIT" ] && [ -c /dev/$NUMATRACE_SPLIT ]; then
    stty raw -echo < /dev/$NUMATRACE_SPLIT
    sh /numatrace-command > /dev/$NUMATRACE_SPLIT
    code=$?
    # Returns when the port has sent everything.
    stty -F /dev/$NUMATRACE_SPLIT raw 2>/dev/null
    sleep 0.2
elif [ -n "$NUMATRACE_SHELL" ]; then
    setsid cttyhack sh -l
    code=$?
else
    sh /numatrace-command
    code=$?
fi
echo "NUMATRACE-GUEST-EXIT $code"
sync
poweroff -f
"#;

/// Writes an initramfs of `busybox`, `files` (host path, guest path) and `init` to `to`. Uncompressed: QEMU copies it to memory in no time.
pub fn build(to: &Path, busybox: &Path, files: &[(PathBuf, String)], init: &str) -> Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    }
    let failed = || format!("cannot write the initramfs {}", to.display());
    // Written beside and renamed, so that a guest never boots from half a file.
    let partial = to.with_extension(format!("{}.partial", std::process::id()));
    let mut cpio = Writer::new(BufWriter::new(File::create(&partial).with_context(failed)?));
    for dir in ["bin", "lib", "lib64", "dev", "proc", "sys", "tmp", "root", "etc", "run"] {
        cpio.directory(dir).with_context(failed)?;
    }
    // Without it init has no standard output until devtmpfs is mounted.
    cpio.character_device("dev/console", 5, 1).with_context(failed)?;
    let mut add = |host: &Path, guest: &str| -> Result<()> {
        let content = fs::read(host).with_context(|| format!("cannot read {} for the initramfs", host.display()))?;
        cpio.file(guest, 0o755, &content).with_context(failed)
    };
    add(busybox, "bin/busybox")?;
    for (host, guest) in files {
        add(host, guest)?;
    }
    cpio.symlink("bin/sh", "busybox").with_context(failed)?;
    cpio.file("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n")
        .with_context(failed)?;
    cpio.file("etc/group", 0o644, b"root:x:0:\nnogroup:x:65534:\n").with_context(failed)?;
    cpio.file("init", 0o755, init.as_bytes()).with_context(failed)?;
    cpio.finish().and_then(|mut out| out.flush()).with_context(failed)?;
    fs::rename(&partial, to).with_context(failed)
}

/// `base` followed by a second archive with the command, at `to`.
pub fn with_command(base: &Path, to: &Path, command: &str) -> Result<()> {
    fs::copy(base, to).with_context(|| format!("cannot copy the initramfs {}", base.display()))?;
    let failed = || format!("cannot write the initramfs {}", to.display());
    let mut out = File::options().append(true).open(to).with_context(failed)?;
    let mut cpio = Writer::new(Vec::new());
    cpio.file(COMMAND_FILE, 0o755, command.as_bytes()).with_context(failed)?;
    let archive = cpio.finish().with_context(failed)?;
    out.write_all(&archive).with_context(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn init_prints_the_markers_that_the_host_looks_for() {
        assert!(INIT.contains(BEGIN_MARKER) && INIT.contains(EXIT_MARKER) && INIT.contains(COMMAND_FILE));
    }
}
