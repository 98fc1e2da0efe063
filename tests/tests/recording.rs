//! Recordings as files: what was written is read, and of a file that is damaged, cut or made up everything that can be read
//! is, with a word about the rest.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use numatrace::model::{Limits, Model, Pages, Waiting};
use numatrace::recording::reader::{Reader, RecordingError};
use numatrace::recording::writer::{Options, Recorder};
use numatrace::recording::{Head, Reason, Timeline};
use numatrace::report::{self, text::TextOptions};
use numatrace::snapshot::Snapshot;
use numatrace::source::{Source, SourceStatus, apply};
use numatrace_common::abi::{
    Attributes, Cgroup, CgroupPath, Gap, Header, Migrate, NodeMemory, PATH_PIECE, Placement, Quota, Throttled, Touches,
    Where, Words, kind,
};
use numatrace_tests::golden;
use numatrace_tests::timeline::{Interval, Memory, scripted};
use proptest::prelude::*;
use tempfile::TempDir;
use zerocopy::IntoBytes;

/// A run of some seconds, each with some waits.
fn memory(seconds: usize, waits: u64) -> Memory {
    Memory::new(scripted(&vec![Interval { ms: 1_000, waits, share: 30 }; seconds]), 1_000)
}

fn small_frames() -> Options {
    Options { frame_bytes: 2_000, ..Options::default() }
}

/// A folder for one test's files.
struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).expect("a file");
        path
    }

    fn save(&self, memory: &Memory, options: Options) -> PathBuf {
        let path = self.path("run.numatrace");
        let written = memory.save(File::create(&path).expect("a file"), options).expect("written");
        assert_eq!(written.bytes, fs::metadata(&path).expect("a file").len());
        assert_eq!(written.records, memory.records().len() as u64);
        path
    }

    fn bytes(&self, memory: &Memory, options: Options) -> Vec<u8> {
        fs::read(self.save(memory, options)).expect("a file")
    }
}

/// Everything that a file gives.
#[derive(Debug)]
struct Read {
    records: Vec<Vec<u8>>,
    undecodable: u64,
    incomplete: Option<String>,
    last: Snapshot,
}

fn model_of(reader: &Reader) -> Model {
    Model::new(reader.head().meta.clone(), reader.head().topology.clone(), Limits::default())
}

fn read(path: &Path) -> Result<Read, RecordingError> {
    let mut reader = Reader::open(path)?;
    let mut model = model_of(&reader);
    let mut records = Vec::new();
    loop {
        let before = reader.undecodable();
        let status = reader.next_batch(&mut |record| {
            records.push(record.to_vec());
            apply(record, &mut model);
        });
        model.note_undecodable(reader.undecodable() - before);
        if status.expect("a readable file") == SourceStatus::Ended {
            break;
        }
    }
    let (undecodable, incomplete) = (reader.undecodable(), reader.incomplete());
    Ok(Read { records, undecodable, incomplete, last: model.snapshot() })
}

#[test]
fn what_was_written_is_read_in_the_same_batches() {
    let memory = memory(12, 40);
    let folder = Folder::new();
    for options in [Options::default(), small_frames()] {
        let path = folder.save(&memory, options);
        let mut reader = Reader::open(&path).expect("a recording");
        assert_eq!(reader.head(), memory.head());
        assert_eq!((reader.reason(), reader.incomplete()), (Some(Reason::Stopped), None));
        let mut model = model_of(&reader);
        let mut by_tick = memory.by_tick().into_iter();
        let mut records = memory.records().iter();
        loop {
            let status = reader.next_batch(&mut |record| {
                assert_eq!(Some(record), records.next().map(Vec::as_slice));
                apply(record, &mut model);
            });
            let Some((_, snapshot)) = by_tick.next() else { break };
            assert_eq!(model.snapshot(), snapshot);
            status.expect("a readable file");
        }
        assert_eq!((records.next(), reader.undecodable(), reader.incomplete()), (None, 0, None));
        assert_eq!(reader.next_batch(&mut |_| panic!("a record behind the end")).expect("ended"), SourceStatus::Ended);
    }
}

#[test]
fn every_place_can_be_gone_to() {
    let memory = memory(12, 40);
    let folder = Folder::new();
    let mut reader = Reader::open(&folder.save(&memory, small_frames())).expect("a recording");
    let places = reader.places().to_vec();
    assert!(places.len() > 20, "{}", places.len());
    let all = memory.records();
    let mut first = Vec::new();
    for place in (0..places.len()).rev() {
        reader.go_to(place).expect("a place");
        assert_eq!(reader.at(), (place, 0));
        let mut rest = Vec::new();
        while reader.next_batch(&mut |record| rest.push(record.to_vec())).expect("readable") == SourceStatus::More {}
        assert!(all.ends_with(&rest), "{place}");
        first.push(all.len() - rest.len());
    }
    first.reverse();
    assert!(first.is_sorted() && first[0] == 0);
    let ts = |record: &Vec<u8>| u64::from_le_bytes(record[8..16].try_into().expect("8 bytes"));
    for (place, from) in places.iter().zip(&first) {
        assert_eq!(place.first_ts, ts(&all[*from]));
    }
    // In the middle of a place: what was given out of it, and the rest.
    reader.go_to(3).expect("a place");
    reader.next_batch(&mut |_| ()).expect("readable");
    let (place, given) = reader.at();
    let mut rest = 0;
    while reader.next_batch(&mut |_| rest += 1).expect("readable") == SourceStatus::More {}
    assert_eq!(first[place] + given as usize + rest, all.len());
}

#[test]
fn the_worst_wait_of_each_place_is_told() {
    let mut intervals = vec![Interval { ms: 500, waits: 30, share: 10 }; 10];
    intervals[7] = Interval { ms: 2_000, waits: 1, share: 90 };
    let folder = Folder::new();
    let reader =
        Reader::open(&folder.save(&Memory::new(scripted(&intervals), 100), small_frames())).expect("a recording");
    let worst = reader.places().iter().max_by_key(|place| place.worst_wait_ns).expect("places");
    assert!((800_000_000..1_000_000_000).contains(&worst.worst_wait_ns), "{worst:?}");
    assert!((worst.first_ts..=worst.last_ts).contains(&worst.worst_ts));
}

/// Where each frame begins and ends, and how many records are before its end.
fn frames(bytes: &[u8]) -> Vec<(usize, usize, usize)> {
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes")) as usize;
    let (mut at, mut records, mut frames) = (8 + number(4), 0, Vec::new());
    while &bytes[at + 8..at + 12] == b"NTFR" {
        let (count, packed) = (number(at + 64), number(at + 76));
        records += count;
        frames.push((at, at + 88 + packed, records));
        at += 88 + packed;
    }
    assert_eq!(&bytes[at + 8..at + 12], b"NTIX");
    frames
}

#[test]
fn cut_at_every_byte_every_complete_frame_is_read() {
    let memory = memory(4, 25);
    let folder = Folder::new();
    let bytes = folder.bytes(&memory, small_frames());
    let frames = frames(&bytes);
    assert!(frames.len() > 3, "{}", frames.len());
    let path = folder.file("cut.numatrace", &bytes);
    let file = File::options().write(true).open(&path).expect("a file");
    for len in (0..bytes.len()).rev() {
        file.set_len(len as u64).expect("a shorter file");
        let whole = frames.iter().filter(|(_, end, _)| *end <= len).map(|(_, _, records)| *records).max();
        match read(&path) {
            Ok(read) => {
                assert_eq!(read.records, memory.records()[..whole.unwrap_or(0)], "cut at {len}");
                let why = read.incomplete.unwrap_or_else(|| panic!("cut at {len}, and nothing is said"));
                assert!(why.starts_with("the recording was cut short: it reaches to "), "{why}");
                assert!(len >= frames[0].0);
            }
            Err(why) => {
                assert!(len < frames[0].0, "cut at {len}: {why}");
                let expected = if len == 0 { "cut.numatrace is empty" } else { "cut off within its head" };
                assert!(why.to_string().contains(expected), "cut at {len}: {why}");
            }
        }
    }
}

#[test]
fn a_damaged_frame_costs_its_own_records_alone_and_is_told() {
    let memory = memory(8, 40);
    let folder = Folder::new();
    let bytes = folder.bytes(&memory, small_frames());
    let frames = frames(&bytes);
    let all = memory.records();
    for (nth, (start, end, until)) in frames.iter().copied().enumerate() {
        let from = if nth == 0 { 0 } else { frames[nth - 1].2 };
        // In its magic, its header, and its columns.
        for at in [start, start + 30, end - 1] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x55;
            let read = read(&folder.file("damaged.numatrace", &damaged)).expect("a recording");
            assert_eq!(read.records, [&all[..from], &all[until..]].concat(), "frame {nth}, byte {at}");
            assert_eq!(read.undecodable, (until - from) as u64);
            assert_eq!(read.last.loss.by_reason.undecodable, (until - from) as u64);
            let why = read.incomplete.expect("a word about it");
            assert!(why.starts_with("the file is damaged in 1 place: "), "{why}");
        }
    }
}

#[test]
fn an_index_that_is_damaged_is_made_anew() {
    let memory = memory(8, 40);
    let folder = Folder::new();
    let bytes = folder.bytes(&memory, small_frames());
    let places = Reader::open(&folder.file("whole.numatrace", &bytes)).expect("a recording").places().to_vec();
    let index = frames(&bytes).last().expect("frames").1;
    let mut damaged = bytes.clone();
    damaged[index + 30] ^= 1;
    let reader = Reader::open(&folder.file("damaged.numatrace", &damaged)).expect("a recording");
    assert_eq!((reader.places(), reader.reason()), (places.as_slice(), Some(Reason::Stopped)));
    // And so is one whose end has something behind it.
    let mut longer = bytes;
    longer.extend_from_slice(b"something else");
    let reader = Reader::open(&folder.file("longer.numatrace", &longer)).expect("a recording");
    assert_eq!((reader.places(), reader.reason()), (places.as_slice(), Some(Reason::Stopped)));
}

#[test]
fn what_is_no_recording_is_said_in_a_sentence() {
    let folder = Folder::new();
    let whole = folder.bytes(&memory(1, 3), Options::default());
    let with = |at: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[at] = byte;
        folder.file("x.numatrace", &bytes)
    };
    let why = |path: PathBuf| Reader::open(&path).expect_err("no recording").to_string();
    assert!(
        why(folder.file("x.numatrace", b"PERFILE2 and so on, for more than forty bytes in all"))
            .ends_with("is no numatrace recording")
    );
    assert!(why(with(8, b'X')).ends_with("is no numatrace recording"));
    assert!(why(with(24, 4)).contains("a newer numatrace (format 4, records 1; this one reads up to 3 and 1)"));
    assert!(why(with(26, 9)).contains("a newer numatrace (format 3, records 9;"));
    assert!(why(with(60, b'#')).ends_with("has a damaged head"));
    assert!(why(folder.0.path().to_owned()).ends_with("is a directory: name a recording in it"));
    assert!(why("/dev/null".into()).contains("is no regular file"));
    assert!(why(folder.path("nowhere")).ends_with("nowhere"));
    assert!(why(folder.path("bell\x07")).ends_with("bell\\x07"));
}

/// A head that says what it likes, with a checksum that fits.
fn with_head(json: &str) -> Vec<u8> {
    let fields = [&b"NUMATRCE"[..], &[1, 0, 1, 0], &[0; 4], &(json.len() as u32).to_le_bytes(), &[0; 4]].concat();
    let rest = [&fields, json.as_bytes()].concat();
    let len = (rest.len() as u32 + 8).to_le_bytes();
    [&0x184D_2A5E_u32.to_le_bytes()[..], &len, b"NTHD", &crc32c::crc32c(&rest).to_le_bytes(), &rest].concat()
}

#[test]
fn heads_that_are_made_up_are_bounded_and_safe_to_show() {
    let folder = Folder::new();
    let head = serde_json::to_value(memory(1, 1).head()).expect("JSON");
    let opened = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut head = head.clone();
        change(&mut head);
        Reader::open(&folder.file("x.numatrace", &with_head(&head.to_string())))
    };
    assert_eq!(opened(&|_| ()).expect("a head").head(), memory(1, 1).head());
    let hostile = opened(&|head| head["meta"]["target"]["label"] = "\u{1b}]0;x\u{7}\u{202e}".into()).expect("a head");
    assert_eq!(hostile.head().meta.target.label, "\\x1b]0;x\\x07\\u{202e}");
    let many = serde_json::json!(vec![head["topology"]["nodes"][0].clone(); 1025]);
    let why = opened(&|head| head["topology"]["nodes"] = many.clone()).expect_err("too many nodes").to_string();
    assert!(why.contains("larger than Linux supports"), "{why}");
    let why = opened(&|head| head["meta"] = 7.into()).expect_err("no meta").to_string();
    assert!(why.contains("has a head that cannot be understood (invalid type"), "{why}");
    // Times that cannot be.
    for ns in [0, u64::MAX] {
        let strange = opened(&|head| {
            head["meta"]["start_ns"] = ns.into();
            head["meta"]["start_wall_ns"] = (u64::MAX - ns).into();
        });
        let reader = strange.expect("a head");
        model_of(&reader).snapshot();
        assert!(reader.incomplete().is_some());
    }
}

#[test]
fn a_recording_stays_within_its_largest_size_and_says_when() {
    let folder = Folder::new();
    let path = folder.path("run.numatrace");
    let max_size = 256 << 10;
    let halt = Arc::new(AtomicBool::new(false));
    let memory = memory(200, 400);
    let options = Options::up_to(Some(max_size), Arc::clone(&halt));
    let file = File::create(&path).expect("a file");
    let mut recorder = Recorder::new(file, memory.head(), options).expect("a recorder");
    let mut pushed = 0;
    for record in memory.records().iter().cycle() {
        recorder.push(record);
        pushed += 1;
        if halt.load(Ordering::Relaxed) {
            break;
        }
    }
    assert!(recorder.is_full());
    let written = recorder.finish(Reason::MaxSize).expect("written");
    assert_eq!(written.records, pushed, "what was under way when it was full has room");
    assert!((max_size / 2..=max_size).contains(&written.bytes), "{}", written.bytes);
    assert_eq!(Reader::open(&path).expect("a recording").reason(), Some(Reason::MaxSize));

    // Who does not end when told so loses what has no room, and no more than that.
    let file = File::create(&path).expect("a file");
    let mut recorder =
        Recorder::new(file, memory.head(), Options::up_to(Some(max_size), Arc::default())).expect("a recorder");
    memory.records().iter().cycle().take(3_000_000).for_each(|record| recorder.push(record));
    let written = recorder.finish(Reason::MaxSize).expect("written");
    assert!(written.bytes <= max_size && written.records < 3_000_000);
    assert_eq!(read(&path).expect("a recording").records.len() as u64, written.records);
}

#[test]
fn a_file_that_cannot_be_written_any_further_ends_with_its_last_frame() {
    // The device takes nothing: not even a head.
    let full = File::options().write(true).open("/dev/full").expect("a device");
    let memory = memory(3, 5);
    let error = Recorder::new(full, memory.head(), Options::default()).expect_err("a full device");
    assert!(error.to_string().contains("No space left on device"), "{error}");
}

#[test]
fn pieces_that_are_no_records_count_when_they_are_read() {
    let folder = Folder::new();
    let memory = memory(2, 2);
    let path = folder.path("run.numatrace");
    let file = File::create(&path).expect("a file");
    let mut recorder = Recorder::new(file, memory.head(), Options::default()).expect("a recorder");
    memory.records().iter().for_each(|record| recorder.push(record));
    recorder.push_pieces(3, 9_000_000_000);
    recorder.finish(Reason::Stopped).expect("written");
    let read = read(&path).expect("a recording");
    assert_eq!((read.last.loss.by_reason.undecodable, read.undecodable, read.incomplete), (3, 0, None));
}

#[test]
fn names_are_dropped_when_asked() {
    let folder = Folder::new();
    let memory = memory(2, 2);
    let path = folder.path("run.numatrace");
    let mut head: Head = memory.head().clone();
    head.meta.target.label = "pid 4711 (scripted)".into();
    let head = Head::new(head.meta, head.topology, true);
    let mut recorder =
        Recorder::new(File::create(&path).expect("a file"), &head, Options::default()).expect("a recorder");
    memory.records().iter().for_each(|record| recorder.push(record));
    recorder.finish(Reason::Stopped).expect("written");
    let read = read(&path).expect("a recording");
    let mut names: Vec<&str> = read.last.threads.iter().map(|thread| &*thread.comm).collect();
    names.sort_unstable();
    assert_eq!(names, ["thread-1", "thread-2", "thread-3", "thread-4"]);
    let json = serde_json::to_string(&read.last).expect("JSON");
    for name in ["waits-", "spins", "scripted"] {
        assert!(!json.contains(name), "{name}");
    }
    let holds_name = |bytes: &[u8]| bytes.windows(8).any(|bytes| bytes == b"scripted");
    assert!(!holds_name(&fs::read(&path).expect("a file")));
    assert!(holds_name(&folder.bytes(&memory, Options::default())));
}

/// Records about page touches of thread 10.
fn page_touches(ts: u64, count: u64, sink: &mut dyn FnMut(&[u8])) {
    for (page_node, counts) in [(0, [9, 1, 0, 0, 0, 0, 5, 0, 0]), (1, [count, 0, 2, 1, 0, 0, 0, 3, 512])] {
        let header = Touches::header(ts, 0, 0);
        let touches = Touches { header, tid: 10, tgid: 4711, page_node, counts, ..Touches::default() };
        sink(touches.as_bytes());
    }
    for (id, text) in [(1, "anon 0x7f00-0x7f10, bound to 1"), (2, "fill_the_table"), (3, "main")] {
        let mut piece = [0; PATH_PIECE];
        piece[..text.len()].copy_from_slice(text.as_bytes());
        sink(Words { header: Words::header(ts, 0, 0), id, offset: 0, total: text.len() as u16, piece }.as_bytes());
    }
    let header = Where::header(ts, 0, 0);
    let place =
        Where { header, tid: 10, tgid: 4711, mapping: 1, symbol: 2, stack: 3, remote: count, ..Where::default() };
    sink(place.as_bytes());
    for (node, pages) in [(0, 1_000), (1, 3_000 + count)] {
        let header = Placement::header(ts, 0, 0);
        let scan = Placement { header, tgid: 4711, node, nodes: 2, pages, unknown: 0, began_ns: ts - 1_000 };
        sink(scan.as_bytes());
    }
    sink(Gap { header: Gap::header(ts, 1, 0), start_ns: ts - 500, end_ns: ts - 100 }.as_bytes());
}

/// What a quota did to a cgroup, and to the one wait that thread 10 is in; memory of both nodes.
fn waits(ts: u64, count: u64, cgroup: u32, sink: &mut dyn FnMut(&[u8])) {
    let quota = Quota {
        header: Quota::header(ts, 0, 0),
        cgroup,
        reserved: 0,
        periods: 10 * count,
        throttled_periods: count,
        throttled_ns: 1_000 * count,
        quota_us: 150_000,
        period_us: 100_000,
    };
    sink(quota.as_bytes());
    for node in 0..2 {
        let memory = NodeMemory {
            header: NodeMemory::header(ts, 0, 0),
            node,
            nodes: 2,
            total_bytes: 1 << 30,
            free_bytes: (1 << 29) - count,
            hit: 100 * count,
            miss: count,
            ..NodeMemory::default()
        };
        sink(memory.as_bytes());
    }
    // It covers no turn that is known, and changes nothing.
    let header = Throttled::header(ts, 0, 0);
    let throttled =
        Throttled { header, tid: 10, tgid: 4711, seq: u32::MAX / 2, reserved: 0, throttled_ns: 9, open_ns: 9 };
    sink(throttled.as_bytes());
}

/// A run with records of every kind that there is, and of one that nobody knows.
fn write_every_kind(path: &Path) {
    let memory = memory(3, 20);
    let file = File::create(path).expect("a file");
    let mut head = memory.head().clone();
    head.meta.pages = Pages::ALL;
    head.meta.waits = Waiting::ALL;
    let mut recorder = Recorder::new(file, &head, small_frames()).expect("a recorder");
    let (cgroup, path) = (1, b"/system.slice/scripted.service/workers");
    for (nth, record) in memory.records().iter().enumerate() {
        recorder.push(record);
        let ts = u64::from_le_bytes(record[8..16].try_into().expect("8 bytes"));
        if !record.starts_with(&kind::TICK.to_le_bytes()) {
            continue;
        }
        for (offset, part) in path.chunks(PATH_PIECE).enumerate() {
            let mut piece = [0; PATH_PIECE];
            piece[..part.len()].copy_from_slice(part);
            let (offset, total) = ((offset * PATH_PIECE) as u16, path.len() as u16);
            recorder.push(CgroupPath { header: CgroupPath::header(ts, 0, 0), cgroup, offset, total, piece }.as_bytes());
        }
        recorder.push(Cgroup { header: Cgroup::header(ts, 0, 0), tid: 10, cgroup }.as_bytes());
        page_touches(ts, nth as u64, &mut |record| recorder.push(record));
        waits(ts, nth as u64, cgroup, &mut |record| recorder.push(record));
        let header = Attributes::header(ts, 0, 0);
        let allowed = std::array::from_fn(|word| if word == 0 { 3 } else { 0 });
        recorder.push(Attributes { header, tid: 20, policy: 0, nice: -5, rt_priority: 0, allowed }.as_bytes());
        recorder.push(
            Migrate {
                header: Migrate::header(ts, 0, 1),
                tid: 11,
                tgid: 4711,
                by: 20,
                seq: 1,
                cause: 2,
                by_cpu: 1,
                reserved: 0,
            }
            .as_bytes(),
        );
        recorder.push(Header { kind: 0x7777, size: 16, cpu: 1, cpu2: 2, ts: ts + nth as u64 }.as_bytes());
    }
    recorder.push_pieces(1, 9_000_000_000);
    recorder.finish(Reason::Duration).expect("written");
}

/// One file of each version that there was, and what it says.
#[test]
fn files_of_every_version_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/recordings");
    let newest = folder.join(format!("version-{}.numatrace", numatrace::recording::VERSION));
    if golden::blessing() && !newest.exists() {
        write_every_kind(&newest);
    }
    for version in 1..=numatrace::recording::VERSION {
        let read = read(&folder.join(format!("version-{version}.numatrace"))).expect("a recording");
        assert_eq!((read.undecodable, &read.incomplete), (0, &None));
        let mut json = Vec::new();
        report::json::write(&read.last, &mut json).expect("JSON");
        golden::check(&format!("recordings/version-{version}.json"), &String::from_utf8(json).expect("text"));
    }
}

/// What may be done to a file.
#[derive(Clone, Debug)]
enum Change {
    Set(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Remove(prop::sample::Index, usize),
    Repeat(prop::sample::Index, usize),
    Insert(prop::sample::Index, Vec<u8>),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        match self {
            Change::Set(at, to) => {
                let at = at.index(bytes.len());
                bytes[at] = *to;
            }
            Change::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Change::Remove(at, len) => {
                let at = at.index(bytes.len());
                bytes.drain(at..bytes.len().min(at + len));
            }
            Change::Repeat(at, len) => {
                let at = at.index(bytes.len());
                let part = bytes[at..bytes.len().min(at + len)].to_vec();
                bytes.splice(at..at, part);
            }
            Change::Insert(at, part) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, part.iter().copied());
            }
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        4 => (at(), any::<u8>()).prop_map(|(at, to)| Change::Set(at, to)),
        1 => at().prop_map(Change::Cut),
        2 => (at(), 1usize..3_000).prop_map(|(at, len)| Change::Remove(at, len)),
        2 => (at(), 1usize..3_000).prop_map(|(at, len)| Change::Repeat(at, len)),
        1 => (at(), prop::collection::vec(any::<u8>(), 1..200)).prop_map(|(at, part)| Change::Insert(at, part)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever is done to a file: no panic, and where other records come out there is a word about it.
    #[test]
    fn changed_files_are_read_or_refused(changes in prop::collection::vec(change(), 1..5)) {
        let memory = memory(4, 25);
        let folder = Folder::new();
        let whole = folder.bytes(&memory, small_frames());
        let mut bytes = whole.clone();
        changes.iter().for_each(|change| change.apply(&mut bytes));
        if let Ok(read) = read(&folder.file("changed.numatrace", &bytes)) {
            let mut text = Vec::new();
            report::text::write(&read.last, &TextOptions::default(), &mut text).expect("text");
            if read.records != memory.records() {
                prop_assert!(read.incomplete.is_some(), "other records, and nothing is said");
            }
            // Whole frames, in order, or nothing of them.
            let mut expected = memory.records().iter();
            prop_assert!(read.records.iter().all(|record| expected.any(|known| known == record)));
        }
    }

    /// The same with a part whose checksum fits what is in it: only who makes a file up can do that.
    #[test]
    fn frames_that_are_made_up_are_read_or_refused(
        at in 88usize..4_000,
        to in any::<u8>(),
        field in 0usize..72,
        value in any::<u8>(),
        frame in 0usize..4,
    ) {
        let folder = Folder::new();
        let mut bytes = folder.bytes(&memory(4, 25), small_frames());
        let (start, end, _) = frames(&bytes)[frame];
        let packed = &bytes[start + 88..end];
        let mut plain = zstd::bulk::decompress(packed, 1 << 20).expect("columns");
        let at = at % plain.len();
        plain[at] = to;
        let packed = zstd::bulk::compress(&plain, 3).expect("packed");
        let mut header = bytes[start..start + 88].to_vec();
        header[76..80].copy_from_slice(&(packed.len() as u32).to_le_bytes());
        header[80..84].copy_from_slice(&crc32c::crc32c(&packed).to_le_bytes());
        if value % 4 == 0 {
            header[16 + field] = value;
        }
        let crc = crc32c::crc32c(&header[16..]);
        header[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes.splice(start..end, [header, packed].concat());
        let read = read(&folder.file("made-up.numatrace", &bytes)).expect("a recording");
        let mut text = Vec::new();
        report::text::write(&read.last, &TextOptions::default(), &mut text).expect("text");
    }
}

#[test]
fn a_frame_that_unpacks_to_more_than_it_says_is_refused() {
    let folder = Folder::new();
    let mut bytes = folder.bytes(&memory(4, 25), small_frames());
    let (start, end, records) = frames(&bytes)[0];
    let packed = zstd::bulk::compress(&vec![0u8; 200 << 20], 3).expect("packed");
    let mut header = bytes[start..start + 88].to_vec();
    header[76..80].copy_from_slice(&(packed.len() as u32).to_le_bytes());
    header[80..84].copy_from_slice(&crc32c::crc32c(&packed).to_le_bytes());
    let crc = crc32c::crc32c(&header[16..]);
    header[12..16].copy_from_slice(&crc.to_le_bytes());
    bytes.splice(start..end, [header, packed].concat());
    let read = read(&folder.file("bomb.numatrace", &bytes)).expect("a recording");
    assert_eq!(read.undecodable, records as u64);
}

#[test]
fn a_record_that_is_shorter_than_a_header_never_gets_in() {
    let folder = Folder::new();
    let memory = memory(1, 1);
    let path = folder.path("run.numatrace");
    let mut recorder =
        Recorder::new(File::create(&path).expect("a file"), memory.head(), Options::default()).expect("a recorder");
    let header = Header { kind: kind::TICK, size: 4, ..Header::default() };
    for record in [&[][..], &[1, 2, 3], header.as_bytes()] {
        recorder.push(record);
    }
    recorder.finish(Reason::Stopped).expect("written");
    assert!(read(&path).expect("a recording").records.is_empty());
}
