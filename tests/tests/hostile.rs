//! Names that somebody chose to do harm, through everything that shows names: every view and dialog of the dashboard, its
//! pictures, every report, every export, metrics, and commands that are to be pasted. The lists are those of the program: a new
//! view, key or format is in here without a word, or does not compile.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use clap::ValueEnum as _;
use numatrace::{
    cli::{ExportFormat, ReportFormat},
    container::Container,
    findings::{Settings, look_once},
    model::{Limits, Model},
    recording::{Timeline as _, reader::Reader},
    serve::exposition::{Format, Served, encode, families},
    snapshot::Snapshot,
    source::{Source as _, SourceStatus, apply},
    text::display_bytes,
    tui::{
        Options, UiMessage,
        app::App,
        picture::{DARK, svg},
        state::{Key, Mode, Tab},
        theme::{Depth, Theme},
    },
};
use numatrace_tests::{
    fixture,
    hostile::{NAMES, is_formula, raw, recording, unquoted},
    keys::{self, Kind},
    live::program,
    made_sums,
    screens::{self, draw},
};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use serde_json::Value;
use tempfile::TempDir;

/// Nothing raw, or where it is.
fn plain(what: &str, text: &str) {
    assert_eq!(raw(text, true), None, "{what}: {text}");
}

fn file() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run.numatrace");
    recording(&path);
    (folder, path)
}

/// What the program prints; it must succeed, and what it says beside is plain.
fn numatrace(folder: &Path, args: &[&str]) -> Vec<u8> {
    let program = program("numatrace").unwrap_or_else(|error| panic!("{error}"));
    let output = Command::new(program).args(args).current_dir(folder).stdin(Stdio::null()).output().expect("it runs");
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    plain("standard error", &said);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{args:?}: {}: {said}", output.status);
    output.stdout
}

fn utf8(what: &str, bytes: Vec<u8>) -> String {
    let text = String::from_utf8(bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
    plain(what, &text);
    text
}

/// Every string of a document.
fn strings(what: &str, value: &Value) {
    match value {
        // The format escapes ends of lines itself; callers of a place are told apart by them.
        Value::String(text) => plain(what, text),
        Value::Array(all) => all.iter().for_each(|value| strings(what, value)),
        Value::Object(all) => all.values().for_each(|value| strings(what, value)),
        _ => {}
    }
}

fn json(what: &str, bytes: Vec<u8>) {
    let text = utf8(what, bytes);
    assert!(!text.is_empty(), "{what} is empty");
    // A document, or one a line.
    for document in serde_json::Deserializer::from_str(&text).into_iter::<Value>() {
        strings(what, &document.unwrap_or_else(|error| panic!("{what}: {error}")));
    }
}

fn csv(what: &str, bytes: Vec<u8>) {
    // RFC 4180 ends its lines with both.
    let text = String::from_utf8(bytes).unwrap_or_else(|error| panic!("{what}: {error}")).replace("\r\n", "\n");
    plain(what, &text);
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let mut rows = 0;
    for row in reader.records() {
        let row = row.unwrap_or_else(|error| panic!("{what}: {error}"));
        rows += 1;
        for cell in &row {
            assert!(!is_formula(cell), "{what}: {cell}");
        }
    }
    assert!(rows > 0, "{what} has no rows");
}

fn parquet(what: &str, path: &Path) {
    let file = fs::File::open(path).unwrap_or_else(|error| panic!("{what}: {error}"));
    let reader = SerializedFileReader::new(file).expect("Parquet");
    let mut rows = 0;
    for row in reader.get_row_iter(None).expect("rows") {
        rows += 1;
        for (column, value) in row.expect("a row").get_column_iter() {
            plain(&format!("{what}, {column}"), &value.to_string());
        }
    }
    assert!(rows > 0, "{what} has no rows");
}

#[test]
fn every_report() {
    let (folder, path) = file();
    let path = path.to_string_lossy();
    for format in ReportFormat::value_variants() {
        let name = format.to_possible_value().expect("a name").get_name().to_owned();
        for more in [&[][..], &["--by", "comm"], &["--by", "cgroup"], &["--pin-to", "0"], &["--findings"]] {
            // Findings and estimates have no rows.
            if matches!(format, ReportFormat::Csv) && more.first().is_some_and(|flag| *flag != "--by") {
                continue;
            }
            let what = format!("report -f {name} {more:?}");
            let out = numatrace(folder.path(), &[&["report", &path, "-f", &name], more].concat());
            match format {
                ReportFormat::Text => drop(utf8(&what, out)),
                ReportFormat::Json => json(&what, out),
                ReportFormat::Csv => csv(&what, out),
            }
        }
    }
    drop(utf8("diff", numatrace(folder.path(), &["diff", &path, &path])));
    json("diff -f json", numatrace(folder.path(), &["diff", &path, &path, "-f", "json"]));
}

#[test]
fn every_export() {
    let (folder, path) = file();
    let path = path.to_string_lossy();
    for format in ExportFormat::value_variants() {
        let name = format.to_possible_value().expect("a name").get_name().to_owned();
        let what = format!("export -f {name}");
        let to_stdout =
            |more: &[&str]| numatrace(folder.path(), &[&["export", &path, "-q", "-f", &name], more].concat());
        match format {
            ExportFormat::Parquet => {
                numatrace(folder.path(), &["export", &path, "-q", "-f", "parquet", "-o", "tables"]);
                for table in ["events", "threads"] {
                    parquet(&what, &folder.path().join(format!("tables/{table}.parquet")));
                }
            }
            ExportFormat::Perfetto => {
                let bytes = to_stdout(&["-o", "-"]);
                assert!(bytes.len() > 1_000, "{what} is empty");
                // Its texts lie in it as they are; what else is in it is numbers.
                for part in
                    [b"\x1b[2J".as_slice(), b"\x1b]0;", "\u{202e}b".as_bytes(), b"x\r\ny", "\u{feff}".as_bytes()]
                {
                    assert!(!bytes.windows(part.len()).any(|window| window == part), "{what}: {part:?}");
                }
            }
            ExportFormat::Hlog => drop(utf8(&what, to_stdout(&[]))),
            ExportFormat::Json => {
                ["events", "threads"].iter().for_each(|table| json(&what, to_stdout(&["--table", table])));
            }
            ExportFormat::Csv => {
                ["events", "threads"].iter().for_each(|table| csv(&what, to_stdout(&["--table", table])));
            }
            ExportFormat::Folded => {
                let text = utf8(&what, to_stdout(&["--metric", "all"]));
                assert!(text.lines().count() >= NAMES.len(), "{what}: {text}");
                for line in text.lines() {
                    let (frames, count) = line.rsplit_once(' ').expect("a count");
                    assert!(count.parse::<u64>().is_ok() && frames.split(';').all(|frame| !frame.is_empty()), "{line}");
                }
            }
        }
    }
}

/// The snapshot of each tick.
fn snapshots(path: &Path) -> Vec<Snapshot> {
    let mut reader = Reader::open(path).expect("a recording");
    let mut model = Model::new(reader.head().meta.clone(), reader.head().topology.clone(), Limits::default());
    let mut all = Vec::new();
    loop {
        let status = reader.next_batch(&mut |record| apply(record, &mut model)).expect("readable");
        all.push(model.snapshot());
        if status == SourceStatus::Ended {
            return all;
        }
    }
}

/// The views, each by its key. A new one does not compile until it is here, and then is tested.
fn digit(tab: Tab) -> (char, Option<Tab>) {
    match tab {
        Tab::Overview => ('1', Some(Tab::Threads)),
        Tab::Threads => ('2', Some(Tab::Thread)),
        Tab::Thread => ('3', Some(Tab::Nodes)),
        Tab::Nodes => ('4', Some(Tab::Cpus)),
        Tab::Cpus => ('5', Some(Tab::Events)),
        Tab::Events => ('6', None),
    }
}

/// A key of the help, as tmux calls it.
fn key(tmux: &str) -> Key {
    match tmux {
        "Up" => Key::Up,
        "Down" => Key::Down,
        "Left" => Key::Left,
        "Right" => Key::Right,
        "PPage" => Key::PageUp,
        "NPage" => Key::PageDown,
        "Home" => Key::Home,
        "End" => Key::End,
        "Enter" => Key::Enter,
        "Escape" => Key::Esc,
        "Tab" => Key::Tab,
        "BTab" => Key::BackTab,
        "BSpace" => Key::Backspace,
        "Space" => Key::Char(' '),
        "C-l" => Key::Repaint,
        "\\;" => Key::Char(';'),
        _ => match tmux.strip_prefix("C-") {
            Some(letter) => Key::Ctrl(letter.chars().next().expect("a letter")),
            None => Key::Char(
                Some(tmux).filter(|key| key.chars().count() == 1).expect("a key").chars().next().expect("one"),
            ),
        },
    }
}

const SIZE: (u16, u16) = (160, 50);

/// What the screen shows is plain, cell by cell, and so is its picture, which has no other elements than any picture.
fn look(app: &mut App, what: &str, allowed: &BTreeSet<String>, shown: &mut String) {
    let (width, height) = SIZE;
    let buffer = draw(app, width, height);
    for cell in &buffer.content {
        assert_eq!(raw(cell.symbol(), false), None, "{what}: {:?}", cell.symbol());
    }
    let screen = screens::text(&buffer);
    // Most keys change little, and a picture takes long.
    if shown.contains(&screen) {
        return;
    }
    shown.push_str(&screen);
    let title = String::from_utf8_lossy(NAMES[7].1).into_owned();
    let picture = svg(&buffer, &title, &DARK);
    assert_eq!(raw(&picture, true), None, "{what}, as a picture");
    let found = elements(&picture);
    assert!(found.is_subset(allowed), "{what}: {found:?}");
}

/// Names of elements and attributes.
fn elements(picture: &str) -> BTreeSet<String> {
    let document = roxmltree::Document::parse(picture).unwrap_or_else(|error| panic!("{error}: {picture}"));
    let nodes = document.descendants().filter(roxmltree::Node::is_element);
    nodes
        .flat_map(|node| {
            [node.tag_name().name().to_owned()].into_iter().chain(node.attributes().map(|of| of.name().to_owned()))
        })
        .collect()
}

fn show(app: &mut App, ticks: &[Snapshot]) {
    ticks.iter().for_each(|snapshot| app.tell(UiMessage::Snapshot(Arc::new(snapshot.clone()))));
}

/// A dashboard of a target that is traced, or of a recording, in that view.
fn dashboard(mode: Mode, ticks: &[Snapshot], tab: Tab) -> App {
    let label = ticks.last().map(|tick| tick.target.label.clone()).unwrap_or_default();
    let options = Options { theme: Theme::new(Depth::Indexed), ..Options::new(label) };
    let mut app = match mode {
        Mode::Live => App::new(&options, SIZE.0, SIZE.1),
        // Nobody plays: what it asks for is never done.
        Mode::Replay => screens::replay(SIZE.0, SIZE.1, screens::standing()).0,
    };
    show(&mut app, ticks);
    app.press(Key::Char(digit(tab).0));
    app
}

#[test]
fn every_view_dialog_and_picture() {
    let (_folder, path) = file();
    let ticks = snapshots(&path);
    // Rates need two.
    let ticks = &ticks[ticks.len() - 2..];
    // What pictures have in them where nobody means harm.
    let mut allowed = BTreeSet::new();
    let mut harmless = screens::running(200, 60);
    for tab in ['1', '2', '3', '4', '5', '6'] {
        harmless.press(Key::Char(tab));
        allowed.extend(elements(&svg(&draw(&mut harmless, 200, 60), "numatrace", &DARK)));
    }
    let mut shown = String::new();
    let mut tab = Some(Tab::Overview);
    while let Some(now) = tab {
        for mode in [Mode::Live, Mode::Replay] {
            for pressed in keys::of_kind(mode, Kind::Stays).expect("keys") {
                let mut app = dashboard(mode, ticks, now);
                // Twice: what a key opens has keys of its own.
                for times in 1..=2 {
                    app.press(key(&pressed.tmux));
                    let what = format!("{now:?}, {mode:?}, {} {times} times", pressed.tmux);
                    look(&mut app, &what, &allowed, &mut shown);
                }
            }
        }
        tab = digit(now).1;
    }
    // Each thread's own page.
    let mut app = dashboard(Mode::Live, ticks, Tab::Threads);
    app.press(Key::Char('d'));
    for nth in 0..NAMES.len() + 20 {
        look(&mut app, &format!("the detail of thread {nth}"), &allowed, &mut shown);
        app.press(Key::Right);
    }
    for (why, name) in NAMES {
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        let name = display_bytes(&name[..name.len().min(15)]);
        assert!(shown.contains(&name), "'{name}', which {why}, is shown nowhere");
    }
}

#[test]
fn every_command_that_is_advised() {
    let mut commands = 0;
    for (why, name) in NAMES {
        let cgroup = format!("/system.slice/{}.service", display_bytes(name));
        for mut snapshot in
            [fixture::snapshot_throttled(), fixture::snapshot_with_memory(), fixture::snapshot_two_nodes()]
        {
            snapshot.throttle.iter_mut().flatten().for_each(|throttle| throttle.cgroup.clone_from(&cgroup));
            for thread in &mut snapshot.threads {
                (thread.comm, thread.cgroup) = (display_bytes(name).into(), Some((*cgroup).into()));
            }
            for finding in look_once(&snapshot, &Settings::default()) {
                for text in [&finding.title, &finding.advice] {
                    plain(why, text);
                }
                let Some(command) = finding.command else { continue };
                commands += 1;
                plain(why, &command);
                assert!(!unquoted(&command).contains("pwned"), "{why}: {command}");
                let checked = Command::new("sh").args(["-n", "-c", &command]).output().expect("a shell");
                assert!(checked.status.success(), "{why}: {command}: {}", String::from_utf8_lossy(&checked.stderr));
            }
        }
    }
    assert!(commands > 0, "no finding of these numbers has a command");
}

#[test]
fn every_form_of_metrics() {
    fn container(_: &[u8]) -> Option<Container> {
        let evil = || Some(NAMES.map(|(_, name)| String::from_utf8_lossy(name).into_owned()).concat());
        Some(Container::new("docker", "", None).called(evil(), evil(), evil()))
    }
    let mut sums = made_sums::sums();
    sums.cgroups.clear();
    for (at, (_, name)) in NAMES.into_iter().enumerate() {
        let mut process = sums.processes[0].clone();
        process.comm = name[..name.len().min(15)].to_vec();
        process.cgroup = Some(at);
        sums.processes.push(process);
        sums.cgroups.push(numatrace::serve::sums::Cgroup { path: name.to_vec(), numbers: made_sums::numbers(1) });
    }
    let told = |format| {
        let served = Served { collect_ns: 12_000_000, refused: vec![] };
        encode(&families(&sums, &served, &mut { container }), format, sums.started_ns)
    };
    for format in [Format::OpenMetrics, Format::Text, Format::Protobuf] {
        // A new one is to be here.
        match format {
            Format::OpenMetrics | Format::Text => {
                let text = utf8("metrics", told(format));
                let odd = |line: &&str| !line.starts_with("numatrace_") && !line.starts_with("# ");
                assert_eq!(text.lines().find(odd), None);
            }
            Format::Protobuf => {
                let bytes = told(format);
                for part in [b"\x1b[2J".as_slice(), "\u{202e}b".as_bytes(), b"x\r\ny"] {
                    assert!(!bytes.windows(part.len()).any(|window| window == part), "{part:?}");
                }
            }
        }
    }
}
