//! A container by the path of its cgroup, and nothing else: no file is read.
//!
//! | who | driver | path |
//! | --- | --- | --- |
//! | Docker (moby `daemon/oci_linux.go`) | cgroupfs | `/docker/ID`, `/PARENT/ID` |
//! | | systemd | `/system.slice/docker-ID.scope` |
//! | | rootless | `/user.slice/user-1000.slice/user@1000.service/user.slice/docker-ID.scope` |
//! | kubelet (`cm/cgroup_manager_linux.go`) | cgroupfs | `/kubepods/podUID`, `/kubepods/burstable/podUID`, `/kubepods/besteffort/podUID` |
//! | | systemd | `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUID.slice`, dashes of the UID as `_` |
//! | | kind | the same behind `/kubelet` or `/kubelet.slice/kubelet-kubepods.slice`, each unit with `kubelet-` before it |
//! | containerd (`internal/cri/server/podsandbox`) | cgroupfs | `POD/ID` |
//! | | systemd | `POD/cri-containerd-ID.scope` |
//! | | cgroupfs below a kubelet with systemd | `/system.slice/containerd.service/POD.slice:cri-containerd:ID` |
//! | nerdctl (`pkg/cmd/container`) | | `/default/ID`, `/system.slice/nerdctl-ID.scope` |
//! | CRI-O (`internal/config/cgmgr`) | cgroupfs | `POD/crio-ID` |
//! | | systemd | `POD/crio-ID.scope`, crun adds `/container`; the monitor is in `crio-conmon-ID.scope` |
//! | Podman (`libpod/container_internal_linux.go`) | cgroupfs | `/libpod_parent/libpod-ID`, the monitor in `/libpod_parent/conmon` |
//! | | systemd | `/machine.slice/libpod-ID.scope`, crun adds `/container`; the monitor is in `libpod-conmon-ID.scope` |
//! | | in a pod | `/machine.slice/machine-libpod_pod_ID.slice/libpod-ID.scope` |
//! | | rootless | `/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope` |
//! | | a unit of its own (`--cgroups=split`) | `/system.slice/web.service/libpod-payload-ID` |
//!
//! falcosecurity/libs (`container_engine/cri.cpp`, `docker`, `podman`), cAdvisor (`container/*/factory.go`) and OpenTelemetry's
//! collectors look for the same. Paths are the same in v1 and v2. Of containers in containers the innermost counts.

use super::Container;

/// Digits of an id behind a word that only runtimes use, at least.
const SHORTEST_ID: usize = 32;
/// Digits of an id that stands for itself.
const ID: usize = 64;
/// Least digits of an id that are taken for the whole.
const SHORTEST_PREFIX: usize = 4;

/// The container whose cgroup has this path, as /proc/PID/cgroup shows it, or is above it. `None` outside of all that are
/// recognised.
pub fn identify(cgroup_path: &[u8]) -> Option<Container> {
    let text = std::str::from_utf8(without_deleted(cgroup_path)).ok()?;
    let mut found = None;
    let mut pod_uid: Option<String> = None;
    let mut before = "";
    for part in text.split('/') {
        if let Some(uid) = pod_of_part(part) {
            pod_uid = Some(uid);
        }
        if let Some((runtime, id)) = container_of_part(part, before) {
            found = Some(Container::new(runtime, id.to_ascii_lowercase(), pod_uid.clone()));
        }
        before = part;
    }
    found
}

/// The UID, with dashes, of the pod whose own cgroup has this path; `None` for a container's and all others.
pub fn pod_uid_of(cgroup_path: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(without_deleted(cgroup_path)).ok()?;
    let last = text.rsplit('/').next()?;
    if last.contains(':') { None } else { pod_of_part(last) }
}

/// Whether two texts are the same UID: systemd's units have underscores for its dashes, and digits may be large.
pub fn same_pod_uid(a: &str, b: &str) -> bool {
    let digits = |text: &str| -> Vec<u8> {
        text.bytes().filter(|byte| !matches!(byte, b'-' | b'_')).map(|byte| byte.to_ascii_lowercase()).collect()
    };
    is_uid(a) && is_uid(b) && digits(a) == digits(b)
}

/// Whether it could be the beginning of an id: at least four hexadecimal digits.
pub fn is_prefix_of_id(text: &str) -> bool {
    (SHORTEST_PREFIX..=ID).contains(&text.len()) && is_hex(text)
}

/// The kernel adds this to the path of a cgroup that was removed.
fn without_deleted(path: &[u8]) -> &[u8] {
    path.strip_suffix(b" (deleted)").unwrap_or(path)
}

/// Runtime and id, of one part of a path and the one before it.
fn container_of_part<'a>(part: &'a str, before: &str) -> Option<(&'static str, &'a str)> {
    // `kubepods-burstable-podUID.slice:cri-containerd:ID`: what systemd's driver would have made units of.
    if let Some((rest, id)) = part.rsplit_once(':')
        && let Some((_, word)) = rest.rsplit_once(':')
    {
        return Some((runtime(word)?, some_id(id)?));
    }
    let name = part.strip_suffix(".scope").unwrap_or(part);
    if is_id(name) {
        return Some((if before == "docker" { "docker" } else { "unknown" }, name));
    }
    // The word may have dashes, the id has none. A monitor's word is another: `crio-conmon`.
    let (word, id) = name.rsplit_once('-')?;
    Some((runtime(word)?, some_id(id)?))
}

fn runtime(word: &str) -> Option<&'static str> {
    match word {
        "docker" => Some("docker"),
        "cri-containerd" | "nerdctl" | "containerd" => Some("containerd"),
        "crio" => Some("crio"),
        "libpod" | "libpod-payload" => Some("podman"),
        _ => None,
    }
}

fn is_id(text: &str) -> bool {
    text.len() == ID && is_hex(text)
}

fn some_id(text: &str) -> Option<&str> {
    ((SHORTEST_ID..=ID).contains(&text.len()) && is_hex(text)).then_some(text)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// `podUID`, `kubepods-podUID.slice`, `kubelet-kubepods-besteffort-podUID.slice`, each also before a colon.
fn pod_of_part(part: &str) -> Option<String> {
    let name = part.split(':').next()?;
    let name = name.strip_suffix(".slice").unwrap_or(name);
    let uid = match name.strip_prefix("pod") {
        Some(uid) if is_uid(uid) => uid,
        // The UID of a unit has no dashes.
        _ => name.rsplit_once("-pod").filter(|(before, _)| before.contains("kubepods"))?.1,
    };
    is_uid(uid).then(|| uid.replace('_', "-").to_ascii_lowercase())
}

/// 8-4-4-4-12 digits with dashes or underscores, or the 32 digits of a static pod.
fn is_uid(text: &str) -> bool {
    const PARTS: [usize; 5] = [8, 4, 4, 4, 12];
    if text.len() == 32 {
        return is_hex(text);
    }
    let parts: Vec<&str> = text.split(['-', '_']).collect();
    parts.len() == PARTS.len() && parts.iter().zip(PARTS).all(|(part, digits)| part.len() == digits && is_hex(part))
}
