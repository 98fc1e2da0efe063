//! Imports of `perf sched record` files: their numbers against those that `perf script` of the same files gives, and what
//! becomes of files that are damaged, cut or made up.
//!
//! `fixtures/perf/pipe.data` is 0.07 s of `perf bench sched pipe`, recorded with `perf sched record -a`, which has no
//! sched_wakeup; `wakeups.data` is 0.06 s of `perf bench sched messaging`, recorded with `perf record -k CLOCK_MONOTONIC -e`
//! and all of sched_switch, sched_waking, sched_wakeup, sched_wakeup_new and sched_migrate_task. Names of other programs of
//! that machine were replaced in both. `*.script` is what perf 6.1 prints of them: see `numatrace_tests::perf_script`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use linux_perf_data::{PerfFileReader, PerfFileRecord, linux_perf_event_reader::RecordType};
use numatrace::decode::{Event, decode};
use numatrace::import::{Import, ImportError};
use numatrace::model::{Limits, Model};
use numatrace::snapshot::{Snapshot, SourceState};
use numatrace::source::{Source, SourceStatus, apply};
use numatrace_tests::perf_script::{Counts, count};
use proptest::prelude::*;
use proptest::sample::Index;

const SECOND: u64 = 1_000_000_000;
/// Where the header says how many bytes of records there are, and where they begin.
const DATA: usize = 40;

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/perf").join(format!("{name}.zst"));
    zstd::decode_all(fs::File::open(path).expect("a fixture")).expect("packed with zstd")
}

fn script(name: &str) -> String {
    String::from_utf8(fixture(name)).expect("text")
}

/// All that comes of a file, and what it ended with.
struct Imported {
    import: Import,
    snapshot: Snapshot,
    events: Vec<Event>,
    error: Option<String>,
}

fn import(bytes: &[u8], interval_ns: u64) -> Result<Imported, ImportError> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), bytes).expect("written");
    let mut import = Import::open(file.path(), interval_ns)?;
    let mut model = Model::new(import.meta().clone(), import.topology().clone(), Limits::default());
    let (mut events, mut undecodable) = (Vec::new(), 0);
    let error = loop {
        let status = import.next_batch(&mut |record| {
            events.push(decode(record).expect("a record"));
            apply(record, &mut model);
        });
        model.note_undecodable(import.undecodable() - undecodable);
        undecodable = import.undecodable();
        match status {
            Ok(SourceStatus::More) => {}
            Ok(SourceStatus::Ended) => break None,
            Err(error) => break Some(error.cause.to_string()),
        }
    };
    Ok(Imported { snapshot: model.snapshot(), import, events, error })
}

fn whole(name: &str) -> Imported {
    let imported = import(&fixture(name), SECOND).expect("an import");
    assert_eq!(imported.error, None);
    imported
}

fn refused(bytes: &[u8]) -> String {
    match import(bytes, SECOND) {
        Err(error) => error.to_string(),
        Ok(imported) => imported.error.expect("something is wrong with it"),
    }
}

/// By thread id, as `perf_script` counts.
fn counts(snapshot: &Snapshot) -> BTreeMap<u32, Counts> {
    let mut all: BTreeMap<u32, Counts> = BTreeMap::new();
    for thread in &snapshot.threads {
        let (of, stats) = (all.entry(thread.tid.0).or_default(), &thread.stats);
        of.switches += stats.switches.voluntary + stats.switches.involuntary;
        for (sum, latency) in [(&mut of.wakeup, &stats.runq.wakeup), (&mut of.preempted, &stats.runq.preempted)] {
            *sum = (sum.0 + latency.count, sum.1 + latency.total_ns);
        }
        of.migrations += stats.migrations.total();
    }
    all.retain(|_, counts| *counts != Counts::default());
    all
}

fn of_script(name: &str) -> BTreeMap<u32, Counts> {
    let mut counts = count(&script(name));
    counts.retain(|_, counts| *counts != Counts::default());
    counts
}

#[test]
fn every_thread_has_the_switches_waits_and_migrations_of_perf_script() {
    for name in ["pipe", "wakeups"] {
        let (ours, theirs) = (counts(&whole(&format!("{name}.data")).snapshot), of_script(&format!("{name}.script")));
        let sum = |counts: &BTreeMap<u32, Counts>| counts.values().map(|of| of.wakeup.0 + of.preempted.0).sum::<u64>();
        assert!(sum(&theirs) > 150 && theirs.len() > 10, "{name}: {theirs:?}");
        assert_eq!(ours, theirs, "{name}");
    }
}

#[test]
fn what_is_known_of_the_machine_is_what_the_header_says() {
    let Imported { snapshot, .. } = whole("wakeups.data");
    let host = &snapshot.host;
    assert_eq!((host.kernel.as_str(), host.arch.as_str(), host.cpus), ("6.18.44-fc-v669", "x86_64", 2));
    assert_eq!((host.nodes.len(), &host.nodes[0].cpus), (1, &vec![0, 1]));
    assert_eq!(*host.llcs, [vec![0, 1]]);
    // `perf report --header-only`: reference time, less the monotonic time of it, plus the time of the first event.
    assert!(snapshot.start.starts_with("2026-11-29T01:23:17.34"), "{}", snapshot.start);
    assert!((50_000_000..70_000_000).contains(&snapshot.duration_ns), "{}", snapshot.duration_ns);
    assert!(snapshot.target.label.starts_with("all threads of vm, from "), "{}", snapshot.target.label);
}

#[test]
fn what_a_file_lacks_is_off_with_the_reason() {
    let state = |snapshot: &Snapshot, name: &str| {
        let source = snapshot.sources.iter().find(|source| source.name == name).expect("a source");
        (source.state, source.reason.clone().unwrap_or_default())
    };
    let pipe = whole("pipe.data").snapshot;
    let (wakeup, why) = state(&pipe, "sched_wakeup");
    assert_eq!(wakeup, SourceState::Off);
    assert!(why.contains("begin at sched_waking"), "{why}");
    for name in ["perf:page-faults", "cpu.stat", "/proc/PID/pagemap", "fentry:task_numa_fault"] {
        assert_eq!(state(&pipe, name), (SourceState::Off, "not in a perf.data file".into()), "{name}");
    }
    assert_eq!(state(&pipe, "CLOCK_MONOTONIC").0, SourceState::Off);
    assert_eq!(state(&pipe, "wall-clock time").0, SourceState::BestEffort);
    assert!(pipe.totals.touches.is_none() && pipe.throttle.is_none() && pipe.node_memory.is_none());
    let wakeups = whole("wakeups.data").snapshot;
    for name in ["sched_wakeup", "CLOCK_MONOTONIC", "wall-clock time", "header of perf.data", "rq->curr"] {
        assert_eq!(state(&wakeups, name), (SourceState::On, String::new()), "{name}");
    }
}

#[test]
fn threads_have_names_processes_and_who_woke_them() {
    let Imported { snapshot, events, .. } = whole("wakeups.data");
    let named = |name: &str| snapshot.threads.iter().filter(|thread| &*thread.comm == name).count();
    assert!(named("sched-messaging") >= 40, "{}", named("sched-messaging"));
    assert_eq!(named("migration/0"), 1);
    assert!(snapshot.threads.iter().all(|thread| thread.tid.0 != 0 && !thread.comm.starts_with("swapper")));
    let bench = snapshot.threads.iter().filter(|thread| &*thread.comm == "sched-messaging");
    assert!(bench.clone().all(|thread| thread.exited) && bench.clone().any(|thread| !thread.stats.wakers.is_empty()));
    assert_eq!(snapshot.totals.migrations.causes.other, 0);
    assert!(events.windows(2).all(|pair| pair[0].ts() <= pair[1].ts()), "in order of time");
}

#[test]
fn ticks_come_by_the_time_of_events() {
    let ticks = |interval_ns| {
        let Imported { import: file, events, .. } = import(&fixture("pipe.data"), interval_ns).expect("an import");
        let start = file.meta().start_ns;
        let ticks = events.iter().filter_map(|event| match event {
            Event::Tick(tick) => Some(tick.header.ts - start),
            _ => None,
        });
        ticks.collect::<Vec<u64>>()
    };
    assert_eq!(ticks(SECOND).len(), 1);
    let fine = ticks(10_000_000);
    assert!(fine.len() > 5 && fine[..fine.len() - 1].iter().all(|tick| tick % 10_000_000 == 0), "{fine:?}");
}

/// The file's records, from `at` on.
fn data(bytes: &[u8]) -> (usize, usize) {
    let field = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes")) as usize;
    (field(DATA), field(DATA + 8))
}

/// Each record: where it is, its type and its size.
fn records(bytes: &[u8]) -> Vec<(usize, u32, usize)> {
    let (mut at, length) = data(bytes);
    let (end, mut all) = (at + length, Vec::new());
    while at < end {
        let kind = u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        let size = usize::from(u16::from_le_bytes([bytes[at + 6], bytes[at + 7]]));
        all.push((at, kind, size));
        at += size;
    }
    all
}

/// The same file with other records. What follows them moves, and the table of sections says so.
fn with_data(bytes: &[u8], new: &[u8]) -> Vec<u8> {
    let (at, length) = data(bytes);
    let moved = new.len() as u64;
    let mut out = [&bytes[..at], new, &bytes[at + length..]].concat();
    out[DATA + 8..DATA + 16].copy_from_slice(&moved.to_le_bytes());
    let features = bytes[72..104].iter().map(|byte| byte.count_ones() as usize).sum::<usize>();
    for entry in 0..features {
        let place = at + new.len() + entry * 16;
        let offset = u64::from_le_bytes(out[place..place + 8].try_into().expect("8 bytes")) + moved - length as u64;
        out[place..place + 8].copy_from_slice(&offset.to_le_bytes());
    }
    out
}

#[test]
fn records_packed_with_zstd_are_the_same_records() {
    let plain = fixture("pipe.data");
    let (at, length) = data(&plain);
    let packed = zstd::encode_all(&plain[at..at + length], 3).expect("packed");
    for (kind, with_size) in [(81u32, false), (83, true)] {
        let mut new = Vec::new();
        // One stream, cut anywhere.
        for piece in packed.chunks(1_001) {
            let size = 8 + if with_size { 8 } else { 0 } + piece.len();
            new.extend(kind.to_le_bytes().into_iter().chain([0, 0]).chain((size as u16).to_le_bytes()));
            if with_size {
                new.extend((piece.len() as u64).to_le_bytes());
            }
            new.extend(piece);
        }
        let imported = import(&with_data(&plain, &new), SECOND).expect("an import");
        assert_eq!((imported.error, counts(&imported.snapshot)), (None, of_script("pipe.script")));
        let mut damaged = with_data(&plain, &new);
        damaged[at + 40] ^= 0x55;
        assert!(refused(&damaged).contains("zstd"));
    }
}

#[test]
fn a_packed_record_that_unpacks_without_end_is_refused() {
    let plain = fixture("pipe.data");
    // 64 MiB of small records that say that nothing was lost.
    let mut record = [0u8; 16];
    (record[0], record[6]) = (13, 16);
    let packed = zstd::encode_all(&*record.repeat(4 << 20), 19).expect("packed");
    let size = (8 + packed.len()) as u16;
    assert!(packed.len() < 60_000, "it is {} bytes, too many for a record", packed.len());
    let new = [&81u32.to_le_bytes()[..], &[0, 0], &size.to_le_bytes(), &packed].concat();
    assert!(refused(&with_data(&plain, &new)).contains("unpacks to more than perf writes"));
}

#[test]
fn ids_of_a_container_are_refused() {
    let mut bytes = fixture("pipe.data");
    // Samples begin with: id, address, process and thread. In a namespace of its own all of these were 17.
    for (at, ..) in records(&bytes.clone()).into_iter().filter(|(_, kind, _)| *kind == 9) {
        bytes[at + 24..at + 32].copy_from_slice(&[17, 0, 0, 0, 17, 0, 0, 0]);
    }
    assert!(refused(&bytes).contains("--pid=host"));
}

#[test]
fn lost_events_are_counted_and_nothing_is_guessed_over_the_gap() {
    let mut bytes = fixture("pipe.data");
    // In place of a sample in the middle, which begins with: id, address, thread, time, CPU.
    let samples: Vec<(usize, u32, usize)> = records(&bytes).into_iter().filter(|(_, kind, _)| *kind == 9).collect();
    let (at, _, size) = samples[samples.len() / 2];
    let sample: Vec<u8> = bytes[at + 8..at + 48].to_vec();
    let record = &mut bytes[at..at + size];
    record[..4].copy_from_slice(&2u32.to_le_bytes());
    record[16..24].copy_from_slice(&5u64.to_le_bytes());
    // At its end: thread, time, CPU, id.
    let end = &mut record[size - 32..];
    end[..24].copy_from_slice(&sample[16..40]);
    end[24..].copy_from_slice(&sample[..8]);
    let Imported { snapshot, error, .. } = import(&bytes, SECOND).expect("an import");
    let loss = &snapshot.loss;
    assert_eq!((error, loss.records_lost, loss.by_reason.ring_full, loss.intervals.len()), (None, 5, 5, 1));
    assert_eq!(loss.records_wanted, loss.records_received + 5);
    let waits = |counts: &BTreeMap<u32, Counts>| counts.values().map(|of| of.wakeup.0 + of.preempted.0).sum::<u64>();
    let (ours, all) = (waits(&counts(&snapshot)), waits(&of_script("pipe.script")));
    assert!(ours < all && ours + 10 > all, "{ours} of {all} waits");
}

#[test]
fn another_reader_finds_the_same_records() {
    for name in ["pipe.data", "wakeups.data"] {
        let bytes = fixture(name);
        let PerfFileReader { mut perf_file, mut record_iter } =
            PerfFileReader::parse_file(std::io::Cursor::new(&bytes)).expect("a perf.data file");
        let mut theirs: BTreeMap<u32, usize> = BTreeMap::new();
        while let Some(record) = record_iter.next_record(&mut perf_file).expect("a record") {
            if let PerfFileRecord::EventRecord { record, .. } = record {
                *theirs.entry(record.record_type.0).or_default() += 1;
            }
        }
        let script = script(&name.replace(".data", ".script"));
        assert_eq!(theirs[&RecordType::SAMPLE.0], script.lines().count());
        let passed_over = script.matches("sched:sched_stat_runtime: ").count()
            + if name == "pipe.data" { script.matches("sched:sched_process_fork: ").count() } else { 0 };
        let Imported { import, .. } = whole(name);
        assert!(import.events() >= (script.lines().count() - passed_over) as u64);
        assert_eq!((import.undecodable(), import.late()), (0, 0));
    }
}

#[test]
fn files_that_are_no_recordings_of_the_scheduler_are_refused_in_a_sentence() {
    let whole = fixture("pipe.data");
    let with = |at: usize, new: &[u8]| {
        let mut bytes = whole.clone();
        bytes[at..at + new.len()].copy_from_slice(new);
        bytes
    };
    let (at, length) = data(&whole);
    for (bytes, expected) in [
        (Vec::new(), "is no perf.data file"),
        (b"PERFILE".to_vec(), "is no perf.data file"),
        (with(0, b"2ELIFREP"), "big-endian"),
        (with(8, &16u64.to_le_bytes()), "written to a pipe"),
        (with(DATA + 8, &[0; 8]), "was not closed"),
        (with(DATA + 8, &[0xff; 8]), "is cut off"),
        (with(16, &[0; 8]), "the list of its events"),
        (with(72, &[0; 32]), "has no events of sched_switch"),
        (whole[..100].to_vec(), "is cut off"),
        (whole[..at + length / 2].to_vec(), "is cut off"),
        (whole[..whole.len() - 1].to_vec(), "is cut off"),
        (with(at + 6, &[0; 2]), "shorter than its header"),
    ] {
        let sentence = refused(&bytes);
        assert!(sentence.contains(expected) && !sentence.contains('\n'), "{sentence}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let error = Import::open(folder.path(), SECOND).err().expect("a folder is no file");
    assert!(error.to_string().contains("is a folder"));
}

#[test]
fn damage_in_the_middle_ends_it_there() {
    let mut bytes = fixture("pipe.data");
    let samples: Vec<(usize, u32, usize)> = records(&bytes).into_iter().filter(|(_, kind, _)| *kind == 9).collect();
    let (at, ..) = samples[samples.len() / 2];
    bytes[at + 6..at + 8].copy_from_slice(&3u16.to_le_bytes());
    let Imported { snapshot, error, .. } = import(&bytes, SECOND).expect("an import");
    assert_eq!(error, Some(format!("is damaged at byte {at}: a record is shorter than its header")));
    assert!(snapshot.totals.switches.voluntary > 50, "what came before counts");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_an_import_or_an_error(
        which in any::<bool>(),
        changes in proptest::collection::vec((any::<Index>(), any::<u8>()), 1..40),
        in_front in any::<bool>(),
        length in proptest::option::weighted(0.2, any::<Index>()),
        interval in prop_oneof![Just(1u64), Just(SECOND), Just(u64::MAX)],
    ) {
        let mut bytes = fixture(if which { "pipe.data" } else { "wakeups.data" });
        let most = if in_front { 1_400 } else { bytes.len() };
        for (at, byte) in changes {
            bytes[at.index(most)] = byte;
        }
        if let Some(length) = length {
            bytes.truncate(length.index(bytes.len()));
        }
        if let Ok(imported) = import(&bytes, interval) {
            let json = serde_json::to_string(&imported.snapshot).expect("JSON");
            prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
        }
    }

    /// Samples whose numbers are made up: the machine, threads and times of a hostile file.
    #[test]
    fn any_samples_are_taken_in(
        changes in proptest::collection::vec((any::<Index>(), 0usize..120, any::<[u8; 4]>()), 1..200),
    ) {
        let mut bytes = fixture("wakeups.data");
        let all = records(&bytes);
        for (which, offset, new) in changes {
            let (at, _, size) = all[which.index(all.len())];
            let to = 8 + offset % size.saturating_sub(8).max(1);
            let end = (to + 4).min(size);
            if to < end {
                bytes[at + to..at + end].copy_from_slice(&new[..end - to]);
            }
        }
        let imported = import(&bytes, 10_000_000).expect("its header is whole");
        prop_assert_eq!(imported.error, None);
    }
}
