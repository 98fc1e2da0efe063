//! What is mapped in processes, as read the last time.
//!
//! A map changes while its process runs, so it is read again when an address is not in it and when it is old; a process
//! that has exited keeps what was read before.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::maps::{MAX_MAPPINGS, Mapping, Maps};

/// Processes that are kept; beyond, the one that was not asked for the longest is forgotten.
pub(super) const MAX_PROCESSES: usize = 256;
/// Bytes of text of all of them. In memory they take at most some twice as much.
const MAX_TEXT: usize = 64 << 20;
/// A map that is younger is not read again.
const YOUNG: Duration = Duration::from_secs(1);
/// A map that is older is read again before it is trusted.
const OLD: Duration = Duration::from_secs(10);
/// A map that took long to read is not read again before so many times as long have passed: reading holds up the
/// process.
const REST: u32 = 50;

/// Maps by process.
#[derive(Debug)]
pub(super) struct Processes {
    proc: PathBuf,
    known: HashMap<u32, Process>,
    /// Counts what is asked, to know what was not asked for the longest.
    asked: u64,
}

#[derive(Debug)]
struct Process {
    maps: Maps,
    /// When it was tried to read it.
    tried: Instant,
    /// How long what was read then is young.
    young: Duration,
    /// Why nothing was read then.
    why: Option<String>,
    asked: u64,
    /// It was read since this was told.
    news: bool,
}

impl Processes {
    pub(super) fn new(proc: &Path) -> Processes {
        Processes { proc: proc.into(), known: HashMap::new(), asked: 0 }
    }

    /// Reads the map unless it is young.
    pub(super) fn meet(&mut self, tgid: u32, now: Instant) {
        self.asked += 1;
        if let Some(process) = self.known.get_mut(&tgid) {
            process.asked = self.asked;
            if process.is_young(now) {
                return;
            }
        }
        self.read(tgid, now);
    }

    /// The mapping that an address lies in. The error says why none is known.
    pub(super) fn find(&mut self, tgid: u32, addr: u64, now: Instant) -> Result<&Mapping, String> {
        let known = self.known.get(&tgid);
        if known.is_none_or(|process| process.is_old(now) || process.maps.at(addr).is_none()) {
            self.meet(tgid, now);
        }
        self.asked += 1;
        let Some(process) = self.known.get_mut(&tgid) else { return Err("not read".into()) };
        process.asked = self.asked;
        process.maps.at(addr).ok_or_else(|| process.why_not())
    }

    /// The code of a process from files; once for each time that its map was read.
    pub(super) fn news(&mut self, tgid: u32) -> impl Iterator<Item = &Mapping> {
        let process = self.known.get_mut(&tgid).filter(|process| process.news);
        process.into_iter().flat_map(|process| {
            process.news = false;
            process.maps.code()
        })
    }

    pub(super) fn forget(&mut self, tgid: u32) {
        self.known.remove(&tgid);
    }

    fn read(&mut self, tgid: u32, now: Instant) {
        let begun = Instant::now();
        let read = File::open(self.proc.join(format!("{tgid}/maps"))).and_then(Maps::read);
        let young = YOUNG.max(begun.elapsed() * REST);
        let (maps, why) = match read {
            Ok(maps) if maps.is_empty() => (None, Some(EXITED.into())),
            Ok(maps) => (Some(maps), None),
            Err(e) if gone(&e) => (None, Some(EXITED.into())),
            Err(e) => (None, Some(format!("its mappings cannot be read: {e}"))),
        };
        let process = self.known.entry(tgid).or_insert_with(|| Process {
            maps: Maps::default(),
            tried: now,
            young,
            why: None,
            asked: self.asked,
            news: false,
        });
        // What was known of a process that has exited is still true of it.
        if let Some(maps) = maps {
            (process.maps, process.news) = (maps, true);
        }
        (process.tried, process.young, process.why) = (now, young, why);
        self.make_room(tgid);
    }

    /// Forgets what was not asked for the longest, but not `tgid`.
    fn make_room(&mut self, tgid: u32) {
        let mut bytes: usize = self.known.values().map(|process| process.maps.bytes).sum();
        while self.known.len() > MAX_PROCESSES || bytes > MAX_TEXT {
            let others = self.known.iter().filter(|(other, _)| **other != tgid);
            let Some((other, _)) = others.min_by_key(|(_, process)| process.asked) else { return };
            let other = *other;
            bytes -= self.known.remove(&other).map_or(0, |process| process.maps.bytes);
        }
    }
}

const EXITED: &str = "process has exited";

impl Process {
    fn is_young(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.tried) < self.young
    }

    fn is_old(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.tried) >= OLD
    }

    fn why_not(&self) -> String {
        match &self.why {
            Some(why) => why.clone(),
            None if self.maps.cut => format!("beyond the first {MAX_MAPPINGS} mappings"),
            None => "not mapped".into(),
        }
    }
}

fn gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    struct Proc(PathBuf);

    impl Proc {
        fn new(name: &str) -> Proc {
            let path = std::env::temp_dir().join(format!("numatrace-maps-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).expect("a directory");
            Proc(path)
        }

        fn write(&self, tgid: u32, maps: &str) {
            fs::create_dir_all(self.0.join(tgid.to_string())).expect("a directory");
            fs::write(self.0.join(format!("{tgid}/maps")), maps).expect("a file");
        }
    }

    impl Drop for Proc {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const FIRST: &str = "1000-2000 rw-p 0 00:00 0 [heap]\n";
    const SECOND: &str = "3000-4000 rw-p 0 00:00 0 [stack]\n";

    fn words(processes: &mut Processes, addr: u64, now: Instant) -> Result<String, String> {
        processes.find(1, addr, now).map(Mapping::words)
    }

    #[test]
    fn a_map_is_read_again_once_a_second_and_when_it_is_old() {
        let (proc, begin) = (Proc::new("again"), Instant::now());
        let mut processes = Processes::new(&proc.0);
        proc.write(1, FIRST);
        assert_eq!(words(&mut processes, 0x1000, begin), Ok("heap".into()));
        proc.write(1, SECOND);
        // Not found, but read just now.
        assert_eq!(words(&mut processes, 0x3000, begin + YOUNG / 2), Err("not mapped".into()));
        assert_eq!(words(&mut processes, 0x1000, begin + YOUNG * 2), Ok("heap".into()));
        assert_eq!(words(&mut processes, 0x3000, begin + YOUNG * 2), Ok("stack".into()));
        proc.write(1, FIRST);
        // Found, but too long ago.
        assert_eq!(words(&mut processes, 0x3000, begin + YOUNG * 2 + OLD / 2), Ok("stack".into()));
        assert_eq!(words(&mut processes, 0x3000, begin + YOUNG * 2 + OLD), Err("not mapped".into()));
    }

    #[test]
    fn what_was_read_outlives_the_process() {
        let (proc, begin) = (Proc::new("outlives"), Instant::now());
        let mut processes = Processes::new(&proc.0);
        proc.write(1, FIRST);
        processes.meet(1, begin);
        fs::remove_dir_all(proc.0.join("1")).expect("removed");
        assert_eq!(words(&mut processes, 0x1800, begin + OLD), Ok("heap".into()));
        assert_eq!(words(&mut processes, 0x3000, begin + OLD), Err(EXITED.into()));
        processes.forget(1);
        assert_eq!(words(&mut processes, 0x1800, begin + OLD), Err(EXITED.into()));
        // As of a thread of the kernel, or a process that waits for its parent.
        proc.write(1, "");
        assert_eq!(words(&mut processes, 0x1800, begin + OLD * 2), Err(EXITED.into()));
    }

    #[test]
    fn the_one_not_asked_for_the_longest_is_forgotten() {
        let (proc, begin) = (Proc::new("forgotten"), Instant::now());
        let mut processes = Processes::new(&proc.0);
        for tgid in 1..=MAX_PROCESSES as u32 {
            proc.write(tgid, FIRST);
            processes.meet(tgid, begin);
        }
        processes.meet(1, begin);
        proc.write(1_000, FIRST);
        processes.meet(1_000, begin);
        assert_eq!(processes.known.len(), MAX_PROCESSES);
        assert!(processes.known.contains_key(&1) && !processes.known.contains_key(&2));
    }

    #[test]
    fn the_text_of_all_is_bounded() {
        let (proc, begin) = (Proc::new("bounded"), Instant::now());
        let mut processes = Processes::new(&proc.0);
        let long = FIRST.to_string() + &"x".repeat(MAX_TEXT / 6);
        for tgid in 1..=8 {
            proc.write(tgid, &long);
            processes.meet(tgid, begin);
        }
        assert!(processes.known.values().map(|process| process.maps.bytes).sum::<usize>() <= MAX_TEXT);
        assert!(processes.known.contains_key(&8) && processes.known.len() == 5);
    }
}
