//! `export` without other programs: formats that are made of anything a recording can hold, what is refused, and the docs.
//! What other programs read of it is in `export_readers`.

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use numatrace::export::folded::Metric;
use numatrace::export::parquet::Parquet;
use numatrace::export::table::{Column, Rows};
use numatrace::export::{ExportError, Part, Subject, csv::Csv, events, folded, hlog, json::Json, threads};
use numatrace::recording::reader::Reader;
use numatrace::report::offline::{Stretch, numbers};
use numatrace::snapshot::Snapshot;
use numatrace_common::abi::{Migrate, NO_TID, Slice, Task, Tick, Touches, Where, Words, task_event};
use numatrace_tests::exported::{Wanted, head, recording, records, save};
use numatrace_tests::live::program;
use parquet::file::reader::{FileReader, SerializedFileReader};
use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;
use zerocopy::IntoBytes;

fn folder(wanted: Wanted) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    recording(wanted, &folder.path().join("run.numatrace"));
    folder
}

fn run(folder: &Path, args: &[&str]) -> Output {
    let program = program("numatrace").unwrap_or_else(|error| panic!("{error}"));
    let mut command = Command::new(program);
    command.arg("export").args(args).current_dir(folder).stdin(Stdio::null());
    command.output().expect("the program runs")
}

fn done(folder: &Path, args: &[&str]) -> (String, String) {
    let output = run(folder, args);
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{args:?}: {err}");
    (out, err)
}

/// What must fail says so in one sentence.
fn refused(folder: &Path, args: &[&str], code: i32, sentence: &str) {
    let output = run(folder, args);
    let err = String::from_utf8(output.stderr).expect("text");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(code), 0), "{args:?}: {err}");
    assert!(err.contains(sentence) && !err.contains("panicked"), "{args:?}: {err}");
}

fn read_csv(bytes: &[u8]) -> (Vec<String>, Vec<Vec<String>>) {
    let mut reader = csv::Reader::from_reader(bytes);
    let columns = reader.headers().expect("a header").iter().map(str::to_owned).collect();
    let row =
        |row: csv::Result<csv::StringRecord>| row.expect("as long as the others").iter().map(str::to_owned).collect();
    (columns, reader.records().map(row).collect())
}

fn of(path: &Path, part: &Part) -> (Subject, Reader) {
    (Subject { part: part.clone(), label: "x".into() }, Reader::open(path).expect("a recording"))
}

/// Every format of it, as bytes.
struct All {
    csv: Vec<u8>,
    json: Vec<u8>,
    parquet: File,
    hlog: Vec<u8>,
    folded: Vec<u8>,
    threads: Vec<u8>,
    rows: u64,
}

fn all(path: &Path, part: &Part) -> Result<All, ExportError> {
    let columns = events::columns();
    let events_to = |rows: &mut dyn FnMut() -> Box<dyn Rows + 'static>| {
        let (subject, reader) = of(path, part);
        events::write(reader, &subject, rows(), &mut |_| ())
    };
    let files = [(); 3].map(|()| tempfile::tempfile().expect("a file"));
    let again = |file: &File| file.try_clone().expect("a file");
    let [csv, json, parquet] = &files;
    let summary = events_to(&mut || Box::new(Csv::new(&columns, again(csv)).expect("a header")))?;
    events_to(&mut || Box::new(Json::new(&columns, again(json))))?;
    events_to(&mut || Box::new(Parquet::new(&columns, &[], again(parquet)).expect("a head")))?;
    let (mut hlog_bytes, mut folded_bytes, mut threads_bytes) = (Vec::new(), Vec::new(), Vec::new());
    let (subject, reader) = of(path, part);
    hlog::write(reader, &subject, &mut hlog_bytes, &mut |_| ())?;
    let (subject, reader) = of(path, part);
    folded::write(reader, &subject, Metric::All, &mut folded_bytes, &mut |_| ())?;
    let snapshot = snapshot(path, part);
    let columns: Vec<Column> = threads::columns(&snapshot);
    threads::write(&snapshot, &subject, Box::new(Csv::new(&columns, &mut threads_bytes)?))?;
    let bytes = |mut file: File| {
        let mut bytes = Vec::new();
        file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("a file");
        bytes
    };
    let [csv, json, parquet] = files;
    let (csv, json) = (bytes(csv), bytes(json));
    Ok(All { csv, json, parquet, hlog: hlog_bytes, folded: folded_bytes, threads: threads_bytes, rows: summary.rows })
}

fn snapshot(path: &Path, part: &Part) -> Snapshot {
    let reader = Reader::open(path).expect("a recording");
    numbers(reader, part.stretch, &mut |_| ()).expect("readable").expect("a tick")
}

/// Each is what it says it is, with a row for each event.
fn valid(all: &All) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let rows = all.rows as usize;
    let (columns, csv) = read_csv(&all.csv);
    assert_eq!((columns.len(), csv.len()), (events::COLUMNS.len(), rows));
    read_csv(&all.threads);
    let json = text(&all.json);
    assert_eq!(json.lines().count(), rows);
    for line in json.lines() {
        let object: serde_json::Value = serde_json::from_str(line).expect("an object");
        assert!(object.get("event").is_some_and(serde_json::Value::is_string), "{line}");
    }
    let parquet = SerializedFileReader::new(all.parquet.try_clone().expect("a file")).expect("Parquet");
    let mut read = 0;
    parquet.get_row_iter(None).expect("rows").for_each(|row| read += usize::from(row.is_ok()));
    assert_eq!(read, rows);
    for line in text(&all.folded).lines() {
        let (frames, count) = line.rsplit_once(' ').expect("a count");
        assert!(count.parse::<u64>().is_ok() && frames.split(';').all(|frame| !frame.is_empty()), "{line:?}");
    }
    let hlog = text(&all.hlog);
    let interval = |line: &&str| !line.starts_with('#');
    for line in hlog.lines().filter(interval) {
        let fields = line.strip_prefix("Tag=").map_or(line, |line| line.split_once(',').expect("a tag").1);
        let fields: Vec<&str> = fields.split(',').collect();
        assert!(fields.len() == 4 && fields[..3].iter().all(|field| field.parse::<f64>().is_ok()), "{line}");
    }
    for byte in [&all.csv, &all.json, &all.folded, &all.hlog].into_iter().flatten() {
        assert!(*byte >= b' ' || *byte == b'\n', "a control character");
    }
}

#[test]
fn every_format_is_made_of_a_recording_with_hostile_names() {
    let folder = folder(Wanted::default());
    let path = folder.path().join("run.numatrace");
    let whole = all(&path, &Part::default()).expect("an export");
    valid(&whole);
    assert!(whole.rows > 1_000, "{}", whole.rows);
    let (columns, rows) = read_csv(&whole.csv);
    let at = columns.iter().position(|name| name == "comm").expect("names");
    for name in ["worker", "'=1+1", "a,b;\"c\"", "two\\x0alines\\x0d\\x09", "\\x1b]0;x\\x07"] {
        assert!(rows.iter().any(|row| row[at] == name), "{name}");
    }
    let json = String::from_utf8(whole.json).expect("text");
    assert!(json.contains(r#""comm":"a,b;\"c\"""#) && json.contains(r#""comm":"=1+1""#));
}

#[test]
fn parts_are_those_of_a_report_and_threads_are_selected() {
    let folder = folder(Wanted::default());
    let path = folder.path().join("run.numatrace");
    let column = |all: &All, wanted: &str| -> Vec<String> {
        let (columns, rows) = read_csv(&all.csv);
        let at = columns.iter().position(|name| name == wanted).expect("a column");
        rows.into_iter().map(|mut row| row.swap_remove(at)).collect()
    };
    let waited = |all: &All| column(all, "wait_ns").iter().filter_map(|cell| cell.parse::<u64>().ok()).sum::<u64>();
    let stretch = |from_ns, to_ns| Stretch { from_ns, to_ns };
    let ms = |ms: u64| Some(ms * 1_000_000);
    let mut sum = 0;
    for stretch in [stretch(None, ms(500)), stretch(ms(500), ms(1_750)), stretch(ms(1_750), None)] {
        let part = Part { stretch, ..Part::default() };
        let all = all(&path, &part).expect("an export");
        valid(&all);
        assert_eq!(waited(&all), snapshot(&path, &part).totals.runq.all.total_ns, "{stretch:?}");
        sum += waited(&all);
    }
    assert_eq!(sum, snapshot(&path, &Part::default()).totals.runq.all.total_ns);
    let some = all(&path, &Part { tids: vec![101, 103], ..Part::default() }).expect("an export");
    assert!(column(&some, "tid").iter().all(|tid| tid == "101" || tid == "103") && some.rows > 100);
    let named = all(&path, &Part { comms: vec!["worker".into()], ..Part::default() }).expect("an export");
    assert!(column(&named, "comm").iter().all(|name| name == "worker") && named.rows > 100);
    let nobody = Part { tids: vec![77], ..Part::default() };
    assert!(matches!(all(&path, &nobody), Err(ExportError::Nobody)));
    let before = Part { stretch: stretch(None, Some(1)), ..Part::default() };
    assert!(matches!(all(&path, &before), Err(ExportError::NoTick)));
}

#[test]
fn folded_stacks_are_the_estimates_of_the_report() {
    let stacks = folder(Wanted::default());
    let (out, err) = done(stacks.path(), &["run.numatrace", "-f", "folded"]);
    let lines: Vec<(&str, u64)> = out
        .lines()
        .map(|line| line.rsplit_once(' ').expect("a count"))
        .map(|(line, count)| (line, count.parse().expect("a number")))
        .collect();
    let snapshot = snapshot(&stacks.path().join("run.numatrace"), &Part::default());
    for thread in &snapshot.threads {
        let places = thread.stats.locations.as_deref().unwrap_or_default();
        let expected: u64 = places.iter().map(|place| place.remote).sum();
        let comm = thread.comm.replace(';', ":");
        // Two threads are called worker; one of them touches nothing.
        let is: u64 = lines.iter().filter(|(line, _)| line.split(';').next() == Some(&comm)).map(|(_, n)| n).sum();
        assert!(is == expected || comm.is_empty() || (comm == "worker" && expected == 0), "{comm}: {is}, {expected}");
    }
    assert!(lines.iter().any(|(line, _)| *line == "worker;main;caller of: it;table::fill(int, char)"), "{out}");
    assert!(err.contains(" stacks to standard output, "), "{err}");
    let flat = folder(Wanted { stacks: false, ..Wanted::default() });
    let (out, err) = done(flat.path(), &["run.numatrace", "-f", "folded", "--metric", "local"]);
    assert!(out.lines().any(|line| line.starts_with("worker;heap: bound to 1;table::fill(int, char) ")), "{out}");
    assert!(err.contains("callers were not recorded") && err.contains("record with --stacks"), "{err}");
    let none = folder(Wanted { pages: false, ..Wanted::default() });
    refused(none.path(), &["run.numatrace", "-f", "folded"], 1, "record with page touches and --fault-samples above 0");
}

#[test]
fn what_cannot_be_is_refused_in_a_sentence() {
    let folder = folder(Wanted { ticks: 2, ..Wanted::default() });
    let folder = folder.path();
    refused(folder, &["run.numatrace"], 2, "in which form?");
    refused(folder, &["run.numatrace", "-o", "x.txt"], 2, "in which form?");
    refused(folder, &["run.numatrace", "-f", "hlog", "--table", "threads"], 2, "--table is for");
    refused(folder, &["run.numatrace", "-f", "csv", "--metric", "all"], 2, "--metric is for");
    refused(folder, &["run.numatrace", "-f", "csv", "--from", "1h"], 2, "--from is not in the recording");
    refused(folder, &["nowhere", "-f", "csv"], 1, "cannot read nowhere");
    refused(folder, &["run.numatrace", "-f", "json", "-t", "77"], 1, "the selected threads have nothing to export");
    refused(folder, &["run.numatrace", "-f", "perfetto", "--from", "1s", "-o", "x"], 2, "for the other formats");
    // Of a folder nothing is left either.
    refused(
        folder,
        &["run.numatrace", "-f", "parquet", "-o", "deep/both", "-t", "77"],
        1,
        "no thread of the recording",
    );
    assert!(!folder.join("deep/both").exists());
    refused(folder, &["run.numatrace", "-f", "csv", "--table", "threads", "-t", "77"], 1, "no thread of the recording");
    fs::write(folder.join("old.csv"), "mine").expect("a file");
    refused(folder, &["run.numatrace", "-o", "old.csv"], 1, "old.csv exists already");
    assert_eq!(fs::read_to_string(folder.join("old.csv")).expect("a file"), "mine");
    symlink("old.csv", folder.join("link.csv")).expect("a link");
    refused(folder, &["run.numatrace", "--force", "-o", "link.csv"], 1, "link.csv is a symbolic link");
    refused(folder, &["run.numatrace", "-f", "parquet", "-o", "old.csv"], 1, "cannot make the folder old.csv");
    // What failed leaves nothing.
    refused(folder, &["run.numatrace", "-o", "new.csv", "-t", "77"], 1, "nothing to export");
    assert!(!folder.join("new.csv").exists());
    done(folder, &["run.numatrace", "--force", "-o", "old.csv"]);
    assert!(fs::read_to_string(folder.join("old.csv")).expect("a file").starts_with("recording,time,"));
    let (out, _) = done(folder, &["run.numatrace", "-q", "-f", "csv", "-o", "-"]);
    assert_eq!(out, fs::read_to_string(folder.join("old.csv")).expect("a file"));
}

#[test]
fn both_tables_go_into_a_folder_that_others_cannot_read() {
    let folder = folder(Wanted { ticks: 2, ..Wanted::default() });
    let folder = folder.path();
    let (out, err) = done(folder, &["run.numatrace", "-f", "parquet", "-o", "both"]);
    assert_eq!(out, "");
    let lines: Vec<&str> = err.lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("numatrace: wrote "), "{err}");
    assert!(
        lines[0].contains(" threads to both/threads.parquet, ")
            && lines[1].contains(" events to both/events.parquet, ")
    );
    for (name, mode) in [("both", 0o700), ("both/events.parquet", 0o600), ("both/threads.parquet", 0o600)] {
        let found = fs::metadata(folder.join(name)).expect("it is there").permissions().mode();
        assert_eq!(found & 0o777, mode, "{name}");
    }
    refused(folder, &["run.numatrace", "-f", "parquet", "-o", "both"], 1, "both/threads.parquet exists already");
    let (_, err) = done(folder, &["run.numatrace", "-q", "--force", "-f", "parquet", "-o", "both"]);
    assert_eq!(err, "");
    // Parquet goes through a pipe as well.
    let output = run(folder, &["run.numatrace", "-f", "parquet", "--table", "threads"]);
    assert!(output.stdout.starts_with(b"PAR1") && output.stdout.ends_with(b"PAR1"));
}

#[test]
fn of_a_recording_that_was_cut_it_is_said_how_far_it_goes() {
    let folder = folder(Wanted::default());
    let folder = folder.path();
    let bytes = fs::read(folder.join("run.numatrace")).expect("a file");
    fs::write(folder.join("cut.numatrace"), &bytes[..bytes.len() * 2 / 3]).expect("a file");
    for format in ["csv", "json", "hlog", "folded"] {
        let (out, err) = done(folder, &["cut.numatrace", "-q", "-f", format]);
        assert!(err.starts_with("numatrace: the recording was cut short: it reaches to "), "{format}: {err}");
        assert!(!out.is_empty());
        assert_eq!(out.contains("the recording was cut short"), format == "hlog");
    }
    let (_, err) = done(folder, &["cut.numatrace", "-q", "-f", "parquet", "-o", "cut"]);
    assert_eq!(err.matches("the recording was cut short").count(), 1, "{err}");
    for file in ["cut/events.parquet", "cut/threads.parquet"] {
        let file = SerializedFileReader::new(File::open(folder.join(file)).expect("a file")).expect("Parquet");
        let about = file.metadata().file_metadata().key_value_metadata().expect("metadata").clone();
        let incomplete = about.iter().find(|about| about.key == "numatrace.incomplete").expect("a word about it");
        assert!(incomplete.value.as_deref().is_some_and(|why| why.starts_with("the recording was cut short")));
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure_and_a_full_disk_is_one() {
    let folder = folder(Wanted::default());
    let program = program("numatrace").unwrap_or_else(|error| panic!("{error}"));
    for format in ["csv", "json", "hlog", "folded", "parquet"] {
        let to = |target: &str| {
            let command = format!("set -o pipefail; \"$0\" export run.numatrace -q -f {format} {target}");
            let mut shell = Command::new("bash");
            shell.args(["-c", &command]).arg(&program).current_dir(folder.path());
            shell.output().expect("a shell")
        };
        let gone = to("| head -c 1");
        assert!(gone.status.success() && gone.stderr.is_empty(), "{}", String::from_utf8_lossy(&gone.stderr));
        let full = to("> /dev/full");
        let said = String::from_utf8_lossy(&full.stderr).into_owned();
        assert_eq!(full.status.code(), Some(1), "{format}: {said}");
        assert!(said.starts_with("numatrace: ") && said.contains("No space left on device"), "{format}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

/// docs/export.md has every column, with its type and what it says.
#[test]
fn the_docs_have_the_columns() {
    let row = |column: &events::EventColumn| {
        format!("| `{}` | {} | {} |\n", column.name, column.holds().name(), column.about)
    };
    let table: String = events::COLUMNS.iter().map(row).collect();
    assert!(include_str!("../../docs/export.md").contains(&table), "docs/export.md lacks this table:\n{table}");
}

/// Numbers that somebody made up.
fn any_number() -> impl Strategy<Value = u64> {
    prop_oneof![3 => 0..10u64, 1 => any::<u64>(), 1 => Just(u64::MAX), 1 => Just(1u64 << 63)]
}

fn any_ts() -> impl Strategy<Value = u64> {
    prop_oneof![6 => 5_000_000_000u64..9_000_000_000, 1 => any::<u64>(), 1 => Just(u64::MAX), 1 => Just(0)]
}

prop_compose! {
    /// A record of any kind that an export tells of, with any numbers.
    fn any_record()(
        kind in 0..7u8,
        ts in any_ts(),
        n in vec(any_number(), 4),
        cpu in vec(any::<u16>().prop_map(|cpu| if cpu % 2 == 0 { cpu % 6 } else { cpu }), 4),
        tid in prop_oneof![3 => 100..105u32, 1 => any::<u32>(), 1 => Just(NO_TID)],
        text in prop_oneof![vec(any::<u8>(), 32), Just(vec![b'\n'; 32]), Just(vec![b';'; 32])],
    ) -> Vec<u8> {
        let small = |at: usize| n[at] as u32;
        let piece: [u8; 32] = text.try_into().expect("32 bytes");
        match kind {
            0 => Slice {
                header: Slice::header(ts, cpu[0], cpu[1]),
                wait_ns: n[0],
                slice_ns: n[1],
                tid,
                tgid: small(0),
                waker: small(1),
                seq: small(2),
                holder: small(3),
                prev: small(0),
                prev_ran: small(1),
                queued_cpu: cpu[2],
                flags: cpu[3],
            }.as_bytes().to_vec(),
            1 => Migrate {
                header: Migrate::header(ts, cpu[0], cpu[1]),
                tid,
                tgid: small(0),
                by: small(1),
                seq: small(2),
                cause: cpu[2],
                by_cpu: cpu[3],
                reserved: 0,
            }.as_bytes().to_vec(),
            2 => Task {
                header: Task::header(ts, cpu[0], 0),
                tid,
                tgid: small(0),
                parent: small(1),
                event: [task_event::SEEN, task_event::RENAME, task_event::NAME, task_event::EXIT, cpu[1]][usize::from(cpu[2] % 5)],
                comm: std::array::from_fn(|at| piece[at]),
                ..Task::default()
            }.as_bytes().to_vec(),
            3 => Touches {
                header: Touches::header(ts, 0, 0),
                tid,
                tgid: small(0),
                cpu_node: cpu[0],
                page_node: cpu[1],
                counts: std::array::from_fn(|at| n[at % 4]),
                ..Touches::default()
            }.as_bytes().to_vec(),
            4 => {
                let (id, total) = (small(0) % 4, cpu[0] % 40);
                Words { header: Words::header(ts, 0, 0), id, offset: 0, total, piece }.as_bytes().to_vec()
            }
            5 => Where {
                header: Where::header(ts, 0, 0),
                tid,
                tgid: small(0),
                mapping: small(1) % 4,
                symbol: small(2) % 4,
                stack: small(3) % 4,
                local: n[0],
                remote: n[1],
                ..Where::default()
            }.as_bytes().to_vec(),
            _ => Tick { header: Tick::header(ts, 0, 0), wall_ns: n[0] }.as_bytes().to_vec(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever a file says: no panic, and every format is valid.
    #[test]
    fn recordings_that_are_made_up_are_exported(
        made_up in vec(any_record(), 1..60),
        wall in prop_oneof![any::<u64>(), Just(u64::MAX), Just(0)],
        from in proptest::option::of(0..4_000_000_000u64),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("run.numatrace");
        let wanted = Wanted { ticks: 2, steps: 10, ..Wanted::default() };
        let mut head = head(wanted);
        head.meta.start_wall_ns = wall;
        let mut all_records = records(wanted);
        all_records.extend(made_up);
        save(&head, &all_records, &path);
        for stretch in [Stretch::default(), Stretch { from_ns: from, to_ns: None }] {
            valid(&all(&path, &Part { stretch, ..Part::default() }).expect("an export"));
        }
    }
}
