//! Tells in which cgroup a thread is, and each path once.
//!
//! Nothing tells user space that a thread changed its cgroup, so the file is read again and again, and what is told is
//! what differs from what was told before.

use std::{collections::HashMap, fs, path::PathBuf, sync::Arc};

use numatrace_common::abi::{Cgroup, CgroupPath, PATH_PIECE, kind};
use zerocopy::IntoBytes;

use super::live::Thread;
use super::system::monotonic_ns;
use crate::container::{identify, names::Names};
use crate::target::quota_path;

/// Paths that are told. Threads of further cgroups are told to be in none that is known.
const MAX_PATHS: usize = 4_096;
/// Bytes of a path.
const LONGEST_PATH: usize = 4_096;
/// Threads of which is remembered what was told. When there are more, all is forgotten and told again.
const MAX_THREADS: usize = 131_072;
/// The number of no path.
const NOT_KNOWN: u32 = 0;

/// What was told.
#[derive(Debug)]
pub(super) struct Cgroups {
    proc: PathBuf,
    paths: HashMap<Arc<[u8]>, Path>,
    /// The path with the number `n` is at `n - 1`.
    in_order: Vec<Arc<[u8]>>,
    threads: HashMap<u32, Told>,
    names: Names,
}

#[derive(Debug)]
struct Path {
    number: u32,
    told: bool,
    called: Called,
}

/// What is known of the names of the container that a cgroup belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Called {
    /// It was not asked yet, or nothing was found: not before this time.
    From(u64),
    /// All of it, or there is no container.
    Known,
}

/// Containers without a name are looked for again after this time.
const NAMES_AGAIN_NS: u64 = 61_000_000_000;

#[derive(Debug)]
struct Told {
    /// Tells owners of a thread id apart.
    born_ns: u64,
    cgroup: u32,
}

impl Default for Cgroups {
    fn default() -> Self {
        Cgroups::new("/proc", "/")
    }
}

impl Cgroups {
    /// Of the threads that this folder has, with names of containers below this root.
    pub(super) fn new(proc: impl Into<PathBuf>, root: impl Into<PathBuf>) -> Cgroups {
        Cgroups {
            proc: proc.into(),
            paths: HashMap::new(),
            in_order: Vec::new(),
            threads: HashMap::new(),
            names: Names::new(root),
        }
    }

    /// Reads the cgroup of a thread and tells it where it is news. The file says nothing of a thread that is gone.
    pub(super) fn read(&mut self, Thread { tid, here }: Thread, born_ns: u64, sink: &mut dyn FnMut(&[u8])) {
        let Ok(lines) = fs::read(self.proc.join(format!("{here}/cgroup"))) else { return };
        let Some((path, v1)) = quota_path(&lines) else { return };
        let cgroup = self.number(path);
        if self.knows(tid, born_ns, cgroup) {
            self.tell_names(path, sink);
            return;
        }
        // v1 shows a thread that is about to end in the root.
        if v1 && path == b"/" && !fs::read(self.proc.join(format!("{here}/stat"))).is_ok_and(|stat| goes_on(&stat)) {
            return;
        }
        self.tell(path, (tid, born_ns), cgroup, sink);
        self.tell_names(path, sink);
    }

    /// Tells what the container in a cgroup that was told is called, once that is known: it is looked for once, and again after
    /// a minute.
    fn tell_names(&mut self, path: &[u8], sink: &mut dyn FnMut(&[u8])) {
        let Some(known) = self.paths.get_mut(path).filter(|known| known.told) else { return };
        let now = monotonic_ns();
        if !matches!(known.called, Called::From(then) if now >= then) {
            return;
        }
        let Some(mut container) = identify(path) else {
            known.called = Called::Known;
            return;
        };
        self.names.look_up(&mut container, path);
        known.called = if container.name.is_some() { Called::Known } else { Called::From(now + NAMES_AGAIN_NS) };
        let all = [container.name, container.pod, container.namespace, container.pod_uid];
        if all[..3].iter().all(Option::is_none) {
            return;
        }
        let text = all.map(Option::unwrap_or_default).join("\n");
        tell_text(now, known.number, text.as_bytes(), &mut |mut piece| {
            piece.header.kind = kind::CONTAINER_NAMES;
            sink(piece.as_bytes());
        });
    }

    /// Everything is told again.
    pub(super) fn forget_told(&mut self) {
        self.threads.clear();
        self.paths.values_mut().for_each(|path| (path.told, path.called) = (false, Called::From(0)));
    }

    pub(super) fn number(&mut self, path: &[u8]) -> u32 {
        if let Some(known) = self.paths.get(path) {
            return known.number;
        }
        if self.paths.len() >= MAX_PATHS || path.is_empty() || path.len() > LONGEST_PATH {
            return NOT_KNOWN;
        }
        // At most `MAX_PATHS`.
        let number = self.paths.len() as u32 + 1;
        let path: Arc<[u8]> = path.into();
        self.in_order.push(Arc::clone(&path));
        self.paths.insert(path, Path { number, told: false, called: Called::From(0) });
        number
    }

    /// How many there are: their numbers go from 1 to this.
    pub(super) fn count(&self) -> usize {
        self.in_order.len()
    }

    /// Path of a cgroup by its number.
    pub(super) fn path(&self, number: u32) -> Option<&[u8]> {
        self.in_order.get((number as usize).checked_sub(1)?).map(|path| &path[..])
    }

    /// The cgroup above one; `None` for the root, and beyond the bound.
    pub(super) fn parent(&mut self, number: u32) -> Option<u32> {
        let path = Arc::clone(self.in_order.get((number as usize).checked_sub(1)?)?);
        // Outside of our own cgroup namespace: what is above it is not known here.
        if path.split(|byte| *byte == b'/').any(|part| part == b"..") {
            return None;
        }
        let cut = path.iter().rposition(|byte| *byte == b'/')?;
        let parent = if cut == 0 { &path[..1] } else { &path[..cut] };
        let number = if parent.len() < path.len() { self.number(parent) } else { NOT_KNOWN };
        (number != NOT_KNOWN).then_some(number)
    }

    /// The cgroup of a thread now.
    pub(super) fn number_of(&mut self, tid: u32) -> Option<u32> {
        let lines = fs::read(self.proc.join(format!("{tid}/cgroup"))).ok()?;
        let number = self.number(quota_path(&lines)?.0);
        (number != NOT_KNOWN).then_some(number)
    }

    /// Tells the path of a cgroup, where it was not told yet.
    pub(super) fn tell_path(&mut self, number: u32, sink: &mut dyn FnMut(&[u8])) {
        let Some(path) = self.path(number).map(<[u8]>::to_vec) else { return };
        if let Some(known) = self.paths.get_mut(&path[..]).filter(|known| !known.told) {
            known.told = true;
            tell_path(monotonic_ns(), number, &path, sink);
        }
    }

    /// Of a thread of which nothing was told, it is known that its cgroup is not known.
    fn knows(&self, tid: u32, born_ns: u64, cgroup: u32) -> bool {
        let told = self.threads.get(&tid).filter(|told| told.born_ns == born_ns);
        told.map_or(NOT_KNOWN, |told| told.cgroup) == cgroup
    }

    fn tell(&mut self, path: &[u8], (tid, born_ns): (u32, u64), cgroup: u32, sink: &mut dyn FnMut(&[u8])) {
        // After the file was read: see `abi::Cgroup`.
        let ts = monotonic_ns();
        if let Some(known) = self.paths.get_mut(path).filter(|known| !known.told) {
            known.told = true;
            tell_path(ts, cgroup, path, sink);
        }
        if self.threads.len() >= MAX_THREADS {
            self.threads.clear();
        }
        self.threads.insert(tid, Told { born_ns, cgroup });
        sink(Cgroup { header: Cgroup::header(ts, 0, 0), tid, cgroup }.as_bytes());
    }
}

/// Whether the kernel shows this process a cgroup that could hold a CPU quota.
pub(super) fn are_shown() -> bool {
    fs::read("/proc/self/cgroup").is_ok_and(|lines| quota_path(&lines).is_some())
}

fn tell_path(ts: u64, cgroup: u32, path: &[u8], sink: &mut dyn FnMut(&[u8])) {
    tell_text(ts, cgroup, path, &mut |piece| sink(piece.as_bytes()));
}

fn tell_text(ts: u64, cgroup: u32, path: &[u8], sink: &mut dyn FnMut(CgroupPath)) {
    for (nth, bytes) in path.chunks(PATH_PIECE).enumerate() {
        let mut piece = [0; PATH_PIECE];
        piece[..bytes.len()].copy_from_slice(bytes);
        // A path has at most `LONGEST_PATH` bytes.
        let (offset, total) = ((nth * PATH_PIECE) as u16, path.len() as u16);
        sink(CgroupPath { header: CgroupPath::header(ts, 0, 0), cgroup, offset, total, piece });
    }
}

/// From /proc/PID/stat: the kernel has not begun to take the thread down (`PF_EXITING` in its flags).
fn goes_on(stat: &[u8]) -> bool {
    const EXITING: u32 = 0x4;
    // The name in parentheses may hold anything; the flags are the seventh field behind it.
    let Some(end) = stat.iter().rposition(|byte| *byte == b')') else { return false };
    let flags = std::str::from_utf8(&stat[end + 1..]).ok().and_then(|rest| rest.split_ascii_whitespace().nth(6));
    flags.and_then(|flags| flags.parse::<u32>().ok()).is_some_and(|flags| flags & EXITING == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Event, decode};

    /// What is told of a thread in the cgroup at `path`: bytes of the path, and the number of the cgroup.
    fn told(cgroups: &mut Cgroups, thread: (u32, u64), path: &[u8]) -> (Vec<u8>, Option<u32>) {
        let (mut text, mut number) = (Vec::new(), None);
        let cgroup = cgroups.number(path);
        if !cgroups.knows(thread.0, thread.1, cgroup) {
            cgroups.tell(path, thread, cgroup, &mut |record| match decode(record).expect("a record") {
                Event::CgroupPath(piece) => {
                    assert_eq!((piece.offset as usize, piece.total as usize), (text.len(), path.len()));
                    text.extend_from_slice(&piece.piece);
                }
                Event::Cgroup(record) => number = Some(record.cgroup),
                other => panic!("{other:?}"),
            });
        }
        text.truncate(path.len());
        (text, number)
    }

    #[test]
    fn a_path_is_told_once_and_a_thread_when_it_changes() {
        let long = [b'/'; 70];
        let mut cgroups = Cgroups::default();
        assert_eq!(told(&mut cgroups, (1, 10), &long), (long.to_vec(), Some(1)));
        assert_eq!(told(&mut cgroups, (1, 10), &long), (vec![], None));
        assert_eq!(told(&mut cgroups, (2, 10), &long), (vec![], Some(1)));
        assert_eq!(told(&mut cgroups, (1, 10), b"/b"), (b"/b".to_vec(), Some(2)));
        // The next owner of the id.
        assert_eq!(told(&mut cgroups, (1, 11), b"/b"), (vec![], Some(2)));
        cgroups.forget_told();
        assert_eq!(told(&mut cgroups, (2, 10), &long), (long.to_vec(), Some(1)));
    }

    #[test]
    fn the_cgroups_above_one_have_numbers_too() {
        let mut cgroups = Cgroups::default();
        let deep = cgroups.number(b"/a/b");
        let above = cgroups.parent(deep).expect("it has one");
        let root = cgroups.parent(above).expect("it has one");
        assert_eq!((cgroups.path(above), cgroups.path(root)), (Some(&b"/a"[..]), Some(&b"/"[..])));
        assert_eq!((cgroups.parent(root), cgroups.parent(99), cgroups.path(0), cgroups.count()), (None, None, None, 3));
        let outside = cgroups.number(b"/../x");
        assert_eq!(cgroups.parent(outside), None);
        let mut told = 0;
        (0..2).for_each(|_| cgroups.tell_path(above, &mut |_| told += 1));
        assert_eq!(told, 1);
    }

    #[test]
    fn beyond_the_bound_a_thread_is_told_to_be_in_no_cgroup_that_is_known() {
        let mut cgroups = Cgroups::default();
        for nth in 1..=MAX_PATHS as u32 {
            assert_eq!(told(&mut cgroups, (1, 1), format!("/{nth}").as_bytes()).1, Some(nth));
        }
        assert_eq!(told(&mut cgroups, (1, 1), b"/more"), (vec![], Some(NOT_KNOWN)));
        assert_eq!(told(&mut cgroups, (2, 1), b"/more"), (vec![], None));
        assert_eq!(told(&mut cgroups, (1, 1), b"/7"), (vec![], Some(7)));
        assert_eq!(told(&mut Cgroups::default(), (1, 1), &[b'/'; LONGEST_PATH + 1]).1, None);
    }

    #[test]
    fn a_thread_that_is_being_taken_down_is_known_by_its_flags() {
        let stat = |flags: u32| format!("7 (a) b) S 1 1 1 0 -1 {flags} 0 0").into_bytes();
        assert!(goes_on(&stat(0x40_0040)) && !goes_on(&stat(0x40_0044)));
        assert!(!goes_on(b"") && !goes_on(b"7 (a) S 1"));
        assert!(fs::read("/proc/thread-self/stat").is_ok_and(|stat| goes_on(&stat)));
    }
}
