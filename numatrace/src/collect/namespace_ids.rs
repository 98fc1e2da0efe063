//! Tells what threads are called in their own pid namespace, where that is not the one whose ids the probes tell.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use numatrace_common::abi::NamespaceIds as Record;
use zerocopy::IntoBytes;

use super::live::Thread;
use super::system::monotonic_ns;

/// Threads of which is remembered that they were asked about. When there are more, all is forgotten and told again.
const MAX_THREADS: usize = 131_072;

/// What was asked: a thread keeps its ids, so it is asked about once.
#[derive(Debug)]
pub(super) struct NamespaceIds {
    proc: PathBuf,
    /// When each was first heard of, which tells owners of an id apart.
    asked: HashMap<u32, u64>,
}

impl NamespaceIds {
    /// Of the threads that this folder has, by the ids that the probes tell.
    pub(super) fn new(proc: impl Into<PathBuf>) -> NamespaceIds {
        NamespaceIds { proc: proc.into(), asked: HashMap::new() }
    }

    /// Reads the ids of a thread, one file, unless it was asked before, and tells them where it is in a namespace below.
    pub(super) fn read(&mut self, Thread { tid, here }: Thread, born_ns: u64, sink: &mut dyn FnMut(&[u8])) {
        if self.asked.get(&tid) == Some(&born_ns) {
            return;
        }
        let Ok(status) = fs::read(self.proc.join(format!("{here}/status"))) else { return };
        if self.asked.len() >= MAX_THREADS {
            self.asked.clear();
        }
        self.asked.insert(tid, born_ns);
        if let Some((own_tid, own_tgid)) = innermost(&status, here != tid) {
            let header = Record::header(monotonic_ns(), 0, 0);
            sink(Record { header, tid, own_tid, own_tgid, reserved: 0 }.as_bytes());
        }
    }

    /// Everything is told again.
    pub(super) fn forget_told(&mut self) {
        self.asked.clear();
    }
}

/// The last ids of the thread and of its process, where there is more than one (`NSpid:\t700\t7`), or the only one is of a
/// namespace `below` the first.
fn innermost(status: &[u8], below: bool) -> Option<(u32, u32)> {
    let last = |name: &[u8]| {
        let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name))?;
        let ids: Vec<&str> = std::str::from_utf8(line).ok()?.split_ascii_whitespace().collect();
        (below || ids.len() > 1).then(|| ids.last()?.parse().ok()).flatten()
    };
    Some((last(b"NSpid:")?, last(b"NStgid:")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_several_ids_is_that_of_the_threads_own_namespace() {
        assert_eq!(innermost(b"Name:\ta\nNStgid:\t900\t70\t7\nNSpid:\t901\t71\t8\n", false), Some((8, 7)));
        for text in [&b""[..], b"NStgid:\t9\nNSpid:\t9\n", b"NStgid:\t9\t8\n", b"NStgid:\t9\tx\nNSpid:\t9\tx\n"] {
            assert_eq!(innermost(text, false), None);
        }
        assert_eq!(innermost(b"NStgid:\t9\nNSpid:\t10\n", true), Some((10, 9)));
        assert_eq!(innermost(b"NSpid:\n", true), None);
    }

    #[test]
    fn a_thread_is_asked_about_once_and_the_next_owner_of_its_id_again() {
        let proc = tempfile::tempdir().expect("a folder");
        fs::create_dir(proc.path().join("9")).expect("a folder");
        fs::write(proc.path().join("9/status"), "NStgid:\t9\t1\nNSpid:\t9\t1\n").expect("a file");
        let mut ids = NamespaceIds::new(proc.path());
        let mut told = 0;
        let mut read =
            |ids: &mut NamespaceIds, tid, born| ids.read(Thread { tid, here: tid }, born, &mut |_| told += 1);
        for (tid, born) in [(9, 1), (9, 1), (9, 2), (8, 1)] {
            read(&mut ids, tid, born);
        }
        ids.forget_told();
        read(&mut ids, 9, 2);
        assert_eq!(told, 3);
    }
}
