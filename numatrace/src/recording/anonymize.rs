//! Records without names: what people chose (names of threads, paths of cgroups, names of files and functions) is replaced, and what the kernel numbers
//! stays. The same name becomes the same word throughout a recording, so that threads of one name can still be told as
//! one.

use std::collections::HashMap;

use numatrace_common::abi::{COMM_LEN, CgroupPath, PATH_PIECE, Task, Words, kind};
use zerocopy::{FromBytes, IntoBytes};

use crate::snapshot::Target;

/// Names that are told apart; all further ones are one.
const MOST_NAMES: usize = 65_536;

/// Words for names.
#[derive(Debug, Default)]
pub(super) struct Anonymizer {
    names: HashMap<[u8; COMM_LEN], usize>,
}

impl Anonymizer {
    /// Gives `sink` the record, or one that stands for it, or none.
    #[inline]
    pub(super) fn without_names(&mut self, record: &[u8], sink: impl FnOnce(&[u8])) {
        let Some(bytes) = record.get(..2) else { return };
        match u16::from_le_bytes([bytes[0], bytes[1]]) {
            kind::TASK => {
                if let Ok(task) = Task::read_from_bytes(record) {
                    sink(Task { comm: self.word(task.comm), ..task }.as_bytes());
                }
            }
            kind::CGROUP_PATH => {
                // The first piece stands for the whole path.
                if let Ok(path) = CgroupPath::read_from_bytes(record)
                    && path.offset == 0
                {
                    let (piece, total) = text(&format!("/cgroup-{}", path.cgroup));
                    sink(CgroupPath { piece, total, ..path }.as_bytes());
                }
            }
            // A container has no other word than that of its cgroup.
            kind::CONTAINER_NAMES => {}
            kind::WORDS => {
                // Mappings and places in the code, as one short piece.
                if let Ok(words) = Words::read_from_bytes(record)
                    && words.offset == 0
                {
                    let (piece, total) = text(&format!("place-{}", words.id));
                    sink(Words { piece, total, ..words }.as_bytes());
                }
            }
            _ => sink(record),
        }
    }

    /// No name stays none.
    fn word(&mut self, comm: [u8; COMM_LEN]) -> [u8; COMM_LEN] {
        if comm[0] == 0 {
            return comm;
        }
        let next = self.names.len() + 1;
        let word = match self.names.get(&comm) {
            Some(number) => format!("thread-{number}"),
            None if next > MOST_NAMES => "thread".to_owned(),
            None => {
                self.names.insert(comm, next);
                format!("thread-{next}")
            }
        };
        text(&word).0
    }
}

/// A text in so many bytes, cut where it is longer.
fn text<const N: usize>(text: &str) -> ([u8; N], u16) {
    let mut bytes = [0; N];
    let len = text.len().min(N);
    bytes[..len].copy_from_slice(&text.as_bytes()[..len]);
    (bytes, len as u16)
}

const _: () = assert!("thread-65536".len() < COMM_LEN && "/cgroup-4294967295".len() <= PATH_PIECE);

/// The target without what people named it by.
pub fn without_names(target: &Target) -> Target {
    let ids: Vec<String> = target.ids.iter().map(ToString::to_string).collect();
    let label = match (target.kind.as_str(), ids.as_slice()) {
        ("all", _) => target.label.clone(),
        (kind, []) => format!("{kind} (anonymized)"),
        (kind, ids) => format!("{kind} {} (anonymized)", ids.join(", ")),
    };
    Target { kind: target.kind.clone(), label, ids: target.ids.clone() }
}

#[cfg(test)]
mod tests {
    use numatrace_common::abi::task_event;

    use super::*;

    fn comm(name: &str) -> [u8; COMM_LEN] {
        text(name).0
    }

    fn names(anonymizer: &mut Anonymizer, name: &str) -> String {
        let task = Task { header: Task::header(9, 0, 0), event: task_event::NAME, comm: comm(name), ..Task::default() };
        let mut word = String::new();
        anonymizer.without_names(task.as_bytes(), |record| {
            let other = Task::read_from_bytes(record).expect("a record of its size");
            assert_eq!(Task { comm: task.comm, ..other }, task);
            word = String::from_utf8_lossy(&other.comm).trim_end_matches('\0').to_owned();
        });
        word
    }

    #[test]
    fn the_same_name_is_the_same_word() {
        let mut anonymizer = Anonymizer::default();
        let words = ["secret", "other", "secret", "", "0123456789abcde"].map(|name| names(&mut anonymizer, name));
        assert_eq!(words, ["thread-1", "thread-2", "thread-1", "", "thread-3"]);
        for number in 0..MOST_NAMES + 10 {
            names(&mut anonymizer, &format!("n{number}"));
        }
        assert_eq!(anonymizer.names.len(), MOST_NAMES);
        assert_eq!(names(&mut anonymizer, "secret"), "thread-1");
        assert_eq!(names(&mut anonymizer, "one more"), "thread");
    }

    #[test]
    fn a_path_becomes_one_short_piece() {
        let piece = |offset| CgroupPath {
            header: CgroupPath::header(9, 0, 0),
            cgroup: 12,
            offset,
            total: 60,
            piece: *b"/customers/secret.slice/abcdefgh",
        };
        let mut all = Vec::new();
        let mut anonymizer = Anonymizer::default();
        for offset in [0, 32] {
            anonymizer.without_names(piece(offset).as_bytes(), |record| {
                all.push(CgroupPath::read_from_bytes(record).expect("a record of its size"));
            });
        }
        let [only] = all[..] else { panic!("{all:?}") };
        assert_eq!((only.offset, only.total, &only.piece[..11]), (0, 10, &b"/cgroup-12\0"[..]));
        assert!(only.piece[10..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_target_keeps_its_ids() {
        let target =
            |kind: &str, label: &str, ids: &[u32]| Target { kind: kind.into(), label: label.into(), ids: ids.into() };
        let label = |kind, label, ids: &[u32]| without_names(&target(kind, label, ids)).label;
        assert_eq!(label("pid", "pid 7 (secret)", &[7]), "pid 7 (anonymized)");
        assert_eq!(label("comm", "threads named secret", &[]), "comm (anonymized)");
        assert_eq!(label("all", "all threads", &[]), "all threads");
    }
}
