//! A cgroup by its path: in which hierarchy, and with which id.
//!
//! A machine can have v1 hierarchies, cgroup v2, or both. The probes can follow a task's cgroup in v2 and in the v1
//! hierarchy of the cpu controller; both are memberships of tasks, whichever of them holds the cpu controller.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::{Machine, TargetError};
use crate::text::display_bytes;

/// A cgroup that exists.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Inode number of its directory, which the kernel uses as its id.
    pub(super) id: u64,
    /// In the v1 hierarchy of the cpu controller.
    pub(super) v1: bool,
    /// Its directory.
    pub(super) path: PathBuf,
    /// Its path inside the hierarchy, as in /proc/PID/cgroup.
    pub(super) name: PathBuf,
}

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    /// Its directory.
    at: PathBuf,
    /// Which cgroup is mounted there: `/`, or the container's own.
    root: PathBuf,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    V2,
    V1Cpu,
    /// Another v1 hierarchy: its controllers.
    V1Other(String),
}

/// Finds the cgroup at `path`: a directory of a mounted hierarchy, or a path inside one, as /proc/PID/cgroup shows
/// it. Inside both v2 and v1 of a hybrid machine, v2 is taken: all processes are in their place there, while v1 places
/// them only where the cpu controller was asked for.
pub(super) fn resolve(path: &Path, machine: &Machine) -> Result<Found, TargetError> {
    let no = |why: String| TargetError::NoCgroup { path: shown(path), why };
    let mounts = mounts(machine)?;
    if !mounts.iter().any(|mount| matches!(mount.kind, Kind::V2 | Kind::V1Cpu)) {
        return Err(no("neither cgroup v2 nor the v1 cpu controller is mounted on this machine".into()));
    }
    if path.components().any(|part| part == Component::ParentDir) || path.as_os_str().is_empty() {
        return Err(no("give its path without '..', as in /proc/PID/cgroup".into()));
    }
    if path.is_absolute()
        && let Some(found) = in_mount(path, &mounts, machine)?
    {
        return Ok(found);
    }
    let usable = |kind: Kind| mounts.iter().find(move |mount| mount.kind == kind);
    for mount in [usable(Kind::V2), usable(Kind::V1Cpu)].into_iter().flatten() {
        let inside = path.strip_prefix("/").unwrap_or(path);
        let inside =
            mount.root.strip_prefix("/").ok().and_then(|root| inside.strip_prefix(root).ok()).unwrap_or(inside);
        let directory = mount.at.join(inside);
        if is_cgroup(&machine.path(&directory)) {
            return found(mount, &directory, machine);
        }
    }
    let tried: Vec<String> =
        mounts.iter().filter(|mount| !matches!(mount.kind, Kind::V1Other(_))).map(|mount| shown(&mount.at)).collect();
    Err(no(format!(
        "no such cgroup under {}; the last column of /proc/PID/cgroup names that of a process",
        tried.join(" or ")
    )))
}

/// A path that lies in a mounted hierarchy. `None` when it lies in none, and is one inside a hierarchy then.
fn in_mount(path: &Path, mounts: &[Mount], machine: &Machine) -> Result<Option<Found>, TargetError> {
    // /sys/fs/cgroup/cpu is often a link to cpu,cpuacct.
    let real = fs::canonicalize(machine.path(path)).unwrap_or_else(|_| machine.path(path));
    let deepest =
        mounts.iter().filter(|m| real.starts_with(real_mount(m, machine))).max_by_key(|m| m.at.as_os_str().len());
    let Some(mount) = deepest else { return Ok(None) };
    let no = |why: String| TargetError::NoCgroup { path: shown(path), why };
    let inside = real.strip_prefix(real_mount(mount, machine)).unwrap_or(Path::new("")).to_owned();
    if let Kind::V1Other(controllers) = &mount.kind {
        return Err(no(format!(
            "it belongs to the v1 hierarchy of {controllers}, and scheduling is grouped by the cpu controller or by cgroup v2: give its path there"
        )));
    }
    if !real.exists() {
        return Err(no("there is no such directory; 'cat /proc/PID/cgroup' names the cgroup of a process".into()));
    }
    if !is_cgroup(&real) {
        return Err(no("it is a file of a cgroup: give the directory".into()));
    }
    found(mount, &mount.at.join(inside), machine).map(Some)
}

fn real_mount(mount: &Mount, machine: &Machine) -> PathBuf {
    let path = machine.path(&mount.at);
    fs::canonicalize(&path).unwrap_or(path)
}

fn found(mount: &Mount, directory: &Path, machine: &Machine) -> Result<Found, TargetError> {
    let path = machine.path(directory);
    let meta = fs::metadata(&path).map_err(|source| TargetError::Read { path: path.clone(), source })?;
    let inside = directory.strip_prefix(&mount.at).unwrap_or(Path::new(""));
    // Rebuilt from its parts, so that no '.' and no doubled or trailing slash is shown.
    let name: PathBuf = mount.root.join(inside).components().collect();
    Ok(Found { id: meta.ino(), v1: mount.kind == Kind::V1Cpu, path: directory.components().collect(), name })
}

/// Every cgroup of either version has this file.
fn is_cgroup(directory: &Path) -> bool {
    directory.join("cgroup.procs").is_file()
}

/// The cgroup hierarchies that are mounted, from /proc/self/mountinfo:
/// `32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct`.
fn mounts(machine: &Machine) -> Result<Vec<Mount>, TargetError> {
    let path = machine.path("/proc/self/mountinfo");
    let text = fs::read_to_string(&path).map_err(|source| TargetError::Read { path, source })?;
    let all: Vec<Mount> = text.lines().filter_map(mount).collect();
    // Of the host's and our own, where its /sys is mounted as well, those of the host.
    let hosts: Vec<Mount> = match machine.given_sys() {
        Some(sys) => all.iter().filter(|mount| mount.at.starts_with(sys)).cloned().collect(),
        None => Vec::new(),
    };
    Ok(if hosts.is_empty() { all } else { hosts })
}

fn mount(line: &str) -> Option<Mount> {
    let (place, source) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (root, at) = (unescape(place.next()?), unescape(place.next()?));
    let mut source = source.split(' ');
    let kind = match source.next()? {
        "cgroup2" => Kind::V2,
        "cgroup" => {
            let options = source.nth(1)?;
            let controllers: Vec<&str> = options.split(',').filter(|o| !matches!(*o, "rw" | "ro" | "xattr")).collect();
            if controllers.contains(&"cpu") { Kind::V1Cpu } else { Kind::V1Other(controllers.join(",")) }
        }
        _ => return None,
    };
    Some(Mount { at, root, kind })
}

/// The path of a thread's cgroup in the hierarchy that holds its CPU quota, from the lines of its /proc/PID/cgroup, and
/// whether that is the v1 hierarchy of the cpu controller; else it is cgroup v2. `None` where it names neither.
///
/// A controller is in one hierarchy at a time, so where a line has `cpu`, v2 has not: `1:cpu,cpuacct:/a`, `0::/b`.
pub(crate) fn quota_path(lines: &[u8]) -> Option<(&[u8], bool)> {
    let mut v2 = None;
    for line in lines.split(|byte| *byte == b'\n') {
        let mut fields = line.splitn(3, |byte| *byte == b':');
        let (Some(number), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        if controllers.split(|byte| *byte == b',').any(|controller| controller == b"cpu") {
            return Some((path, true));
        }
        if number == b"0" && controllers.is_empty() {
            v2 = Some((path, false));
        }
    }
    v2
}

/// Where the cgroups that can have a CPU quota are shown as folders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QuotaHierarchy {
    /// Where it is mounted.
    at: PathBuf,
    /// Which cgroup is mounted there: `/`, or the container's own.
    root: PathBuf,
    v1: bool,
}

impl QuotaHierarchy {
    /// The v1 hierarchy of the cpu controller where there is one, else cgroup v2: a controller is in one hierarchy at a time.
    pub(crate) fn find(machine: &Machine) -> Option<QuotaHierarchy> {
        let mounts = mounts(machine).ok()?;
        let of = |kind: &Kind| mounts.iter().find(|mount| mount.kind == *kind);
        let mount = of(&Kind::V1Cpu).or_else(|| of(&Kind::V2))?;
        Some(QuotaHierarchy { at: machine.path(&mount.at), root: mount.root.clone(), v1: mount.kind == Kind::V1Cpu })
    }

    /// One whose root is mounted there.
    #[cfg(test)]
    pub(crate) fn at(path: &Path, v1: bool) -> QuotaHierarchy {
        QuotaHierarchy { at: path.to_owned(), root: "/".into(), v1 }
    }

    /// Files are those of v1.
    pub(crate) const fn is_v1(&self) -> bool {
        self.v1
    }

    /// The folder of the cgroup that is mounted, and its path as in /proc/PID/cgroup.
    pub(crate) fn top(&self) -> (PathBuf, PathBuf) {
        (self.at.clone(), self.root.clone())
    }

    /// The folder of a cgroup, by its path as in /proc/PID/cgroup; `None` for one that is not shown here.
    pub(crate) fn directory(&self, path: &[u8]) -> Option<PathBuf> {
        use std::os::unix::ffi::OsStrExt;
        let inside = Path::new(std::ffi::OsStr::from_bytes(path)).strip_prefix(&self.root).ok()?;
        let plain = inside.components().all(|part| matches!(part, Component::Normal(_)));
        plain.then(|| self.at.join(inside))
    }
}

/// mountinfo writes space, tab, newline and backslash as three octal digits.
fn unescape(field: &str) -> PathBuf {
    let mut out = Vec::new();
    let mut rest = field.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => out.push(*first),
        }
    }
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec(out).into()
}

/// Cgroups of a hierarchy that are looked at, and how deep.
const MAX_WALKED: usize = 131_072;
const MAX_DEPTH: usize = 32;

/// Goes through the cgroups of each hierarchy that the probes can follow, v2 first: `visit` gets each one's path, as in
/// /proc/PID/cgroup, those above one before it, and whether it is one of v1. When it wants no more hierarchies, no other follows.
pub(super) fn walk(
    machine: &Machine,
    visit: &mut dyn FnMut(&Path, bool),
    enough: &mut dyn FnMut() -> bool,
) -> Result<(), TargetError> {
    let mounts = mounts(machine)?;
    for kind in [Kind::V2, Kind::V1Cpu] {
        let Some(mount) = mounts.iter().find(|mount| mount.kind == kind) else { continue };
        let mut todo = vec![(PathBuf::new(), 0)];
        let mut walked = 0;
        while let Some((inside, depth)) = todo.pop() {
            visit(&mount.root.join(&inside), kind == Kind::V1Cpu);
            walked += 1;
            if depth == MAX_DEPTH || walked + todo.len() >= MAX_WALKED {
                continue;
            }
            // A cgroup that was removed meanwhile has none below it.
            let below = fs::read_dir(machine.path(mount.at.join(&inside))).into_iter().flatten().flatten();
            let below = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            todo.extend(below.map(|entry| (inside.join(entry.file_name()), depth + 1)));
        }
        if enough() {
            break;
        }
    }
    Ok(())
}

/// The cgroup with this path inside its hierarchy, as [`walk`] told it.
pub(super) fn at(name: &Path, v1: bool, machine: &Machine) -> Result<Found, TargetError> {
    let kind = if v1 { Kind::V1Cpu } else { Kind::V2 };
    let gone = || TargetError::NoCgroup { path: shown(name), why: "it was removed just now: try again".into() };
    let mounts = mounts(machine)?;
    let mount = mounts.iter().find(|mount| mount.kind == kind).ok_or_else(gone)?;
    let inside = name.strip_prefix(&mount.root).map_err(|_| gone())?;
    found(mount, &mount.at.join(inside), machine).map_err(|_| gone())
}

fn shown(path: &Path) -> String {
    display_bytes(path.as_os_str().as_encoded_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_cpu_controller_is_taken_before_that_of_v2() {
        let hybrid = b"9:name=systemd:/s\n4:memory:/m\n2:cpuacct:/no\n1:cpuset,cpu:/a:b c\n0::/two\n";
        assert_eq!(quota_path(hybrid), Some((&b"/a:b c"[..], true)));
        assert_eq!(quota_path(b"4:memory:/m\n0::/two\n"), Some((&b"/two"[..], false)));
        assert_eq!(quota_path(b"0::/\n"), Some((&b"/"[..], false)));
    }

    #[test]
    fn without_such_a_line_there_is_no_path() {
        for lines in [&b""[..], b"4:memory:/m\n", b"0:name=x:/a\n", b"0::", b"1:cpu\n", b"\xff:\n::\n"] {
            assert_eq!(quota_path(lines).filter(|(path, _)| !path.is_empty()), None, "{lines:?}");
        }
    }
}
