//! What `export` writes, read by other programs: DuckDB and another implementation of HdrHistogram. Their sums are those of the
//! report of the same recording.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use numatrace_tests::exported::{Wanted, python, query_finds_rows, read_by, recording};
use numatrace_tests::live::program;
use serde_json::Value;

fn numatrace(args: &[&str], folder: &Path) -> String {
    let program = program("numatrace").unwrap_or_else(|error| panic!("{error}"));
    let output = Command::new(program).args(args).current_dir(folder).output().expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}");
    String::from_utf8(output.stdout).expect("text")
}

/// A folder with a recording, and Python with the readers.
fn prepared(wanted: Wanted) -> Option<(tempfile::TempDir, PathBuf)> {
    let python = python()?;
    let folder = tempfile::tempdir().expect("a folder");
    recording(wanted, &folder.path().join("run.numatrace"));
    Some((folder, python))
}

fn report(folder: &Path, args: &[&str]) -> Value {
    let args = [&["report", "run.numatrace", "-f", "json"], args].concat();
    serde_json::from_str(&numatrace(&args, folder)).expect("JSON")
}

fn number(value: &Value, path: &str) -> u64 {
    value.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("no {path} in {value}"))
}

/// Where a sum of `events.py` stands in a report.
const SUMS: [(&str, &str); 19] = [
    ("wakeup_count", "/runq/wakeup/count"),
    ("wakeup_total_ns", "/runq/wakeup/total_ns"),
    ("wakeup_max_ns", "/runq/wakeup/max_ns"),
    ("preempted_count", "/runq/preempted/count"),
    ("preempted_total_ns", "/runq/preempted/total_ns"),
    ("cpu_ns", "/cpu_ns"),
    ("voluntary", "/switches/voluntary"),
    ("involuntary", "/switches/involuntary"),
    ("smt", "/migrations/smt"),
    ("llc", "/migrations/llc"),
    ("node", "/migrations/node"),
    ("cross_node", "/migrations/cross_node"),
    ("cause_wakeup", "/migrations/causes/wakeup"),
    ("cause_load_balance", "/migrations/causes/load_balance"),
    ("cause_active", "/migrations/causes/active_balance_or_affinity"),
    ("residency_0", "/residency_ns/0"),
    ("residency_2", "/residency_ns/1"),
    ("hint_remote", "/hint_faults/remote"),
    ("pages_migrated", "/pages_migrated"),
];

/// Every thread of the report has these sums, and nobody else has any.
fn same_sums(read: &Value, report: &Value) {
    let threads = report["threads"].as_array().expect("threads");
    let rows = read["rows"].as_array().expect("rows");
    let mut waits = 0;
    for thread in threads {
        let tid = &thread["tid"];
        let Some(row) = rows.iter().find(|row| row["tid"] == *tid) else {
            assert_eq!((number(thread, "/cpu_ns"), number(thread, "/runq/all/count")), (0, 0), "{tid} has no rows");
            continue;
        };
        for (name, path) in SUMS {
            assert_eq!(number(row, &format!("/{name}")), number(thread, path), "{name} of {tid}");
        }
        for part in ["local", "remote", "unknown"] {
            let all = thread["touches"].as_object().expect("touches").iter().filter(|(kind, _)| *kind != "zero");
            let sum: u64 = all.map(|(_, count)| number(count, &format!("/{part}"))).sum();
            assert_eq!(number(row, &format!("/{part}")), sum, "{part} touches of {tid}");
        }
        let places = thread["where"].as_array().expect("places").iter();
        assert_eq!(number(row, "/place_remote"), places.map(|place| number(place, "/remote")).sum::<u64>());
        // Of single waits it is told to 1/63, rounded down.
        let (told, exact) = (number(row, "/throttled_ns"), number(thread, "/throttled_wait_ns"));
        assert!(told <= exact && exact - told <= number(thread, "/wait_ns") / 63 + 63, "{told} of {exact}");
        assert_eq!(row["comm"].as_str().unwrap_or_default(), thread["comm"].as_str().expect("a name"), "{tid}");
        waits += number(row, "/wakeup_count") + number(row, "/preempted_count");
    }
    assert_eq!(waits, number(report, "/totals/runq/all/count"));
    assert!(waits > 100, "{waits}");
    for row in rows {
        assert!(threads.iter().any(|thread| thread["tid"] == row["tid"]), "{row} is of nobody");
    }
}

#[test]
fn duckdb_reads_the_events_and_its_sums_are_the_reports() {
    let Some((folder, python)) = prepared(Wanted::default()) else { return };
    let folder = folder.path();
    numatrace(&["export", "run.numatrace", "-o", "out", "-f", "parquet", "--label", "web-17"], folder);
    let read = read_by(&python, "events.py", &[&folder.join("out/events.parquet")]);
    same_sums(&read, &report(folder, &[]));
    let about = &read["about"];
    assert_eq!(about["numatrace.recording"], "web-17");
    assert_eq!(about["numatrace.target"], "pid 4711 (scripted)");
    assert_eq!((&about["numatrace.records_lost"], &about["numatrace.incomplete"]), (&"0".into(), &Value::Null));
    // Clocks go together.
    for row in read["rows"].as_array().expect("rows") {
        let shift = numatrace_tests::timeline::START_WALL_NS - numatrace_tests::timeline::START_NS;
        // Moments are in microseconds.
        assert_eq!(number(row, "/first_wall_ns"), (number(row, "/first_ns") + shift) / 1_000 * 1_000);
    }
    let types = &read["types"];
    for column in numatrace::export::events::COLUMNS {
        let expected = match column.holds().name() {
            "text" => "VARCHAR",
            "u32" => "UINTEGER",
            "u64" => "UBIGINT",
            "bool" => "BOOLEAN",
            "timestamp" => "TIMESTAMP WITH TIME ZONE",
            other => panic!("{other}"),
        };
        let is = types[column.name].as_str().expect("a type");
        // Older ones call every moment so.
        assert!(
            is == expected || (expected == "TIMESTAMP WITH TIME ZONE" && is.starts_with("TIMESTAMP")),
            "{}: {is}",
            column.name
        );
    }
}

#[test]
fn a_part_has_the_sums_of_the_same_part_of_the_report() {
    let Some((folder, python)) = prepared(Wanted::default()) else { return };
    let folder = folder.path();
    for part in [&["--from", "0.5s", "--to", "2.25s"][..], &["--from", "1s"], &["--to", "0.75s"]] {
        let args = [&["export", "run.numatrace", "--force", "-o", "part.parquet"], part].concat();
        numatrace(&args, folder);
        let read = read_by(&python, "events.py", &[&folder.join("part.parquet")]);
        let report = report(folder, part);
        let rows = read["rows"].as_array().expect("rows");
        for (name, path) in [
            ("preempted_count", "/runq/preempted/count"),
            ("wakeup_total_ns", "/runq/wakeup/total_ns"),
            ("involuntary", "/switches/involuntary"),
            ("cross_node", "/migrations/cross_node"),
            ("pages_migrated", "/pages_migrated"),
        ] {
            let sum: u64 = rows.iter().map(|row| number(row, &format!("/{name}"))).sum();
            assert_eq!(sum, number(&report["totals"], path), "{name} of {part:?}");
            assert!(sum > 0, "{name} of {part:?}");
        }
    }
}

#[test]
fn large_tables_have_row_groups_of_a_bounded_size() {
    let wanted = Wanted { ticks: 40, steps: 9_000, ..Wanted::default() };
    let Some((folder, python)) = prepared(wanted) else { return };
    let folder = folder.path();
    numatrace(&["export", "run.numatrace", "-o", "events.parquet"], folder);
    let read = read_by(&python, "events.py", &[&folder.join("events.parquet")]);
    assert!(number(&read, "/row_groups") > 1, "{}", read["row_groups"]);
    assert_eq!(number(&read, "/largest_row_group"), numatrace::export::parquet::GROUP_ROWS as u64);
    same_sums(&read, &report(folder, &[]));
}

#[test]
fn csv_and_json_have_the_cells_of_parquet() {
    let Some((folder, python)) = prepared(Wanted { ticks: 3, ..Wanted::default() }) else { return };
    let folder = folder.path();
    for table in ["events", "threads"] {
        for file in ["x.parquet", "x.csv", "x.json"] {
            numatrace(&["export", "run.numatrace", "--force", "--table", table, "-o", file], folder);
        }
        let parquet = read_by(&python, "rows.py", &[&folder.join("x.parquet")]);
        let csv = read_by(&python, "rows.py", &[&folder.join("x.csv")]);
        assert_eq!(parquet["columns"], csv["columns"]);
        let (columns, rows) = (strings(&parquet["columns"]), parquet["rows"].as_array().expect("rows"));
        let csv = csv["rows"].as_array().expect("rows");
        let json = fs::read_to_string(folder.join("x.json")).expect("a file");
        let json: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
        assert_eq!((rows.len(), csv.len()), (json.len(), json.len()));
        assert!(!rows.is_empty());
        for ((row, csv), json) in rows.iter().zip(csv).zip(&json) {
            let known = json.as_object().expect("an object").len();
            assert_eq!(columns.iter().filter(|name| json.get(name.as_str()).is_some()).count(), known);
            for ((name, cell), csv) in
                columns.iter().zip(row.as_array().expect("cells")).zip(csv.as_array().expect("cells"))
            {
                let told = match &json.get(name.as_str()).unwrap_or(&Value::Null) {
                    Value::String(text) if text.is_empty() => Value::Null,
                    Value::Number(number) => number.to_string().into(),
                    Value::Bool(flag) => flag.to_string().into(),
                    other => (*other).clone(),
                };
                let is_time = matches!(name.as_str(), "time" | "start");
                if !is_time {
                    assert_eq!(told, *cell, "{name}");
                }
                // With its apostrophe before what would be a formula.
                let csv = csv.as_str().map(|text| text.strip_prefix('\'').unwrap_or(text));
                assert_eq!(told.as_str(), csv, "{name}");
            }
        }
    }
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().expect("an array").iter().map(|text| text.as_str().expect("text").to_owned()).collect()
}

#[test]
fn another_implementation_reads_the_histograms() {
    let Some((folder, python)) = prepared(Wanted::default()) else { return };
    let folder = folder.path();
    for part in [&[][..], &["--from", "1s", "--to", "2s"]] {
        let args = [&["export", "run.numatrace", "--force", "-o", "run.hlog"], part].concat();
        numatrace(&args, folder);
        let read = read_by(&python, "hlog.py", &[&folder.join("run.hlog")]);
        let report = report(folder, part);
        for (tag, name) in [("", "all"), ("wakeup", "wakeup"), ("preempted", "preempted")] {
            let (told, expected) = (&read["tags"][tag], &report["totals"]["runq"][name]);
            assert_eq!(number(told, "/count"), number(expected, "/count"));
            let values =
                told["values"].as_array().expect("values").iter().map(|value| value.as_u64().expect("a number"));
            for (value, at) in values.zip(["p50_ns", "p90_ns", "p99_ns", "p999_ns"]) {
                // The same bucket: three digits. Reports tell its upper edge, but no more than the largest wait.
                let expected = number(expected, &format!("/{at}"));
                assert!(value.abs_diff(expected) <= expected / 1_000, "{at} of {name}: {value}, expected {expected}");
            }
        }
        let intervals = read["intervals"].as_array().expect("intervals");
        assert_eq!(intervals.len(), if part.is_empty() { 12 } else { 4 });
        let begin = if part.is_empty() { 0.0 } else { 1_000.0 };
        for (nth, interval) in intervals.iter().enumerate() {
            let [start, end] = [0, 1].map(|at| interval[at].as_f64().expect("a time"));
            let expected = numatrace_tests::timeline::START_WALL_NS as f64 / 1e6 + begin + 250.0 * nth as f64;
            assert!((start - expected).abs() < 2.0 && (end - start - 250.0).abs() < 2.0, "{nth}: {interval}");
        }
    }
}

/// Each query of docs/export.md, over the exports of two machines and one before a change.
#[test]
fn the_queries_of_the_docs_work() {
    let Some((folder, python)) = prepared(Wanted::default()) else { return };
    let folder = folder.path();
    for host in ["web-1", "web-2"] {
        let out = format!("fleet/{host}");
        numatrace(&["export", "run.numatrace", "-f", "parquet", "--label", host, "-o", &out], folder);
    }
    for (name, part) in [("before", ["--to", "1s"]), ("after", ["--from", "2s"])] {
        let args = [&["export", "run.numatrace", "-f", "parquet", "--label", name, "-o", name], &part[..]].concat();
        numatrace(&args, folder);
    }
    let docs = include_str!("../../docs/export.md");
    let queries: Vec<&str> = docs.split("```sql\n").skip(1).filter_map(|part| part.split("```").next()).collect();
    assert!(queries.len() >= 4, "{}", queries.len());
    queries.into_iter().for_each(|query| query_finds_rows(&python, folder, query));
}
