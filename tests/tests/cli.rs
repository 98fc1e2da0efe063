//! The program from outside: exit codes, streams and sentences of everything that ends before a probe is attached.
//! What needs probes is in `live`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use clap_complete::Shell;
use numatrace::decode::{Event, decode};
use numatrace::recording::writer::{Options, Recorder};
use numatrace::recording::{Reason, Timeline};
use numatrace::source::script::{Comm, Doing, KernelEvent};
use numatrace_common::abi::Attributes;
use numatrace_tests::timeline::Memory;
use numatrace_tests::{golden, live::program};
use zerocopy::IntoBytes;

fn numatrace() -> PathBuf {
    program("numatrace").unwrap_or_else(|error| panic!("{error}"))
}

/// A recording of three seconds, from the folder in which tests run.
const RECORDING: &str = "fixtures/recordings/version-1.numatrace";

fn run(args: &[&str]) -> Output {
    Command::new(numatrace())
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{} cannot be run: {error}", numatrace().display()))
}

/// Runs what must fail, and returns the first line of what it says: one sentence, nothing raw, nothing on standard
/// output.
fn sentence(args: &[&str], code: i32) -> String {
    let output = run(args);
    let stderr = String::from_utf8(output.stderr).expect("messages are text");
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
    assert!(output.stdout.is_empty(), "{args:?} printed {}", String::from_utf8_lossy(&output.stdout));
    assert!(!stderr.contains("panicked") && !stderr.contains("RUST_BACKTRACE"), "{stderr}");
    let raw = |c: char| c.is_control() && c != '\n' || matches!(c, '\u{202a}'..='\u{202e}');
    assert!(!stderr.contains(raw), "{args:?} reached the terminal raw: {stderr:?}");
    let first = stderr.lines().next().unwrap_or_default().to_owned();
    assert!(first.to_lowercase().starts_with("error: ") || first.starts_with("numatrace: "), "{args:?}: {stderr}");
    first
}

#[test]
fn wrong_usage_is_one_sentence_and_code_2() {
    let cases: &[(&[&str], &str)] = &[
        (&[], "no target was given"),
        (&["live"], "no target was given"),
        (&["--pid", "0"], "a process id is a number from 1"),
        (&["--pid", "-3"], "a process id is a number from 1"),
        (&["-a", "--interval", "0"], "must be between 50ms and 1h"),
        (&["-a", "--duration", "1y"], "must be between 10ms and 30d"),
        (&["-a", "--top", "x"], "must be a number from 0"),
        (&["-a", "--ring-size", "3"], "must be between 4K and 1G"),
        (&["-a", "--pid", "1"], "cannot be used with"),
        (&["--comm", "a-name-that-is-too-long"], "use --comm 'a-name-that-is-'"),
        (&["sleep", "1"], "unexpected argument 'sleep'"),
        (&["doctor", "--pid", "1"], "unexpected argument '--pid'"),
        (&["completions"], "required arguments"),
        (&["man", "lives"], "there is no subcommand lives; there are live, record, "),
        (&["man", "\u{1b}[31m"], "there is no subcommand "),
        (&["man", "record", "--dir", "pages"], "cannot be used with"),
        (&["replay"], "required arguments"),
        (&["replay", "file", "--speed", "0"], "a speed is a number from 0.1 to 100"),
        (&["replay", "file", "--from", "soon"], "a time is 12s, 1m 30s, plain seconds, 10:21:46 or"),
        (&["replay", "file"], "standard output is none: use numatrace report"),
        (&["record", "--all"], "required arguments"),
        (&["record", "-o", "file"], "no target was given"),
        (&["record", "-o", "file", "--all", "--max-size", "1K"], "must be between 256K and 1024T"),
        (&["report"], "required arguments"),
        (&["report", "file", "--format", "xml"], "invalid value 'xml'"),
        (&["report", "file", "--by", "tid"], "invalid value 'tid'"),
        (
            &["report", "file", "--findings", "-f", "csv"],
            "findings are no table: --findings is for --format text and json",
        ),
        (&["report", "file", "--findings", "--thread", "7"], "'--findings' cannot be used with '--thread <TID>'"),
        (&["report", "file", "--findings", "--comm", "x"], "'--findings' cannot be used with '--comm <NAME>'"),
        (
            &["report", "file", "--limit", "partial"],
            "what is set is RULE=off, RULE=on or RULE.LIMIT=NUMBER, not 'partial'",
        ),
        (&["-a", "--limit", "part=off"], "there is no rule 'part': they are throttled, "),
        (&["demo", "--limit", "partial.lost=1"], "the rule partial has no limit 'lost': it has lost-share, "),
        (&["replay", "file", "--limit", "partial.lost-share=7"], "partial.lost-share is from 0 to 1, not 7"),
        (&["report", "file", "--to", "soon"], "a time is 12s, 1m 30s, plain seconds, 10:21:46 or"),
        (&["report", "file", "--pin-to", "first"], "a node is its number, as in numactl --hardware, or all"),
        (&["report", "file", "--pin-to", "0", "--thread", "7"], "cannot be used with"),
        (&["report", RECORDING, "--pin-to", "0,7"], "the machine of the recording has no node 7: it has 0-1"),
        (&["report", RECORDING, "--pin-to", "all", "-f", "csv"], "--pin-to is told in text and JSON, not in CSV"),
        (&["report", RECORDING, "--to", "5m"], "--to is not in the recording: the recording is "),
        (&["report", RECORDING, "--from", "2s", "--to", "1s"], "--from must be earlier than --to"),
    ];
    for (args, words) in cases {
        let said = sentence(args, 2);
        assert!(said.contains(words), "{args:?} said: {said}");
    }
}

#[test]
fn files_that_are_no_recordings_are_one_sentence_and_code_1() {
    let cases = [
        (&["report", "no/such/file"][..], "cannot read no/such/file: No such file or directory"),
        (&["report", "Cargo.toml"], "Cargo.toml is no numatrace recording"),
        (&["report", "src"], "src is a directory: name a recording in it"),
        (&["report", RECORDING, "--thread", "7"], "no thread of the recording was selected: it has 10, 11, 12, 20"),
        (&["report", RECORDING, "-c", "nobody"], "no thread of the recording was selected: it has spins, waits-0, "),
        (&["report", RECORDING, "--to", "10ms"], "the recording has no tick up to then"),
        (&["report", RECORDING, "-o", "/no/such/folder/x"], "cannot create /no/such/folder/x"),
    ];
    for (args, words) in cases {
        let said = sentence(args, 1);
        assert!(said.contains(words), "{args:?} said: {said}");
    }
}

/// What a report prints, which says nothing else.
fn report(args: &[&str]) -> String {
    let output = run(&[&["report", RECORDING], args].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{args:?}: {stderr}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn reports_of_a_recording_are_as_expected() {
    golden::check("recordings/report.txt", &report(&[]));
    golden::check("recordings/by-comm.txt", &report(&["--by", "comm", "--sort", "comm"]));
    golden::check("recordings/one-thread.txt", &report(&["-c", "spins", "--thread", "11", "--to", "2s"]));
    golden::check("recordings/threads.csv", &report(&["-f", "csv", "--sort", "tid"]));
    golden::check("recordings/by-cgroup.csv", &report(&["-f", "csv", "--by", "cgroup", "--top", "1"]));
    golden::check("recordings/stretch.json", &report(&["-f", "json", "--from", "1s", "--to", "2s", "--by", "cgroup"]));
}

/// Three threads that always want CPU 0 and may use no other, and one that hardly uses CPU 1.
fn crowded(folder: &Path) -> PathBuf {
    let attach = |tid: u32, state, cpu| KernelEvent::Attach {
        at: 0,
        tid,
        tgid: Some(4711),
        comm: Some(Comm::Text(format!("worker-{tid}"))),
        state,
        cpu,
        queued_for: 0,
        start: None,
    };
    let switch = |at, cpu, prev, next, prev_state| KernelEvent::Switch {
        at,
        cpu,
        prev,
        next,
        prev_state,
        state_now: None,
        preempt: prev_state == 0,
    };
    let mut events = vec![
        attach(10, Doing::Running, 0),
        attach(11, Doing::Queued, 0),
        attach(12, Doing::Queued, 0),
        attach(20, Doing::Running, 1),
    ];
    for nth in 0..30 {
        let at = 100_000_000 * (u64::from(nth) + 1);
        events.push(switch(at, 0, 10 + nth % 3, 10 + (nth + 1) % 3, 0));
        if nth == 0 {
            events.push(switch(at, 1, 20, 0, 1));
        }
        if nth % 10 == 9 {
            events.push(KernelEvent::Tick { at: at + 1, totals: true });
        }
    }
    let memory = Memory::new(events, 1_000);
    let path = folder.join("crowded.numatrace");
    let file = File::create(&path).expect("a file");
    let mut recorder = Recorder::new(file, memory.head(), Options::default()).expect("a recorder");
    for record in memory.records() {
        recorder.push(record);
        let Ok(Event::Tick(tick)) = decode(record) else { continue };
        for (tid, cpus) in [(10, 1), (11, 1), (12, 1), (20, 3)] {
            let mut allowed = [0; 16];
            allowed[0] = cpus;
            let header = Attributes::header(tick.header.ts + 1, 0, 0);
            recorder.push(Attributes { header, tid, policy: 0, nice: 0, rt_priority: 0, allowed }.as_bytes());
        }
        recorder.up_to(tick.header.ts + 1);
    }
    recorder.finish(Reason::Stopped).map_err(|(error, _)| error).expect("a recording");
    path
}

/// The exit code says whether one is critical; what is printed is the findings alone.
#[test]
fn findings_by_themselves() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = crowded(folder.path());
    let path = path.to_str().expect("a path in UTF-8");
    let told = |args: &[&str]| {
        let output = run(&[&["report", path, "--findings", "--config", "/dev/null"], args].concat());
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        (output.status.code(), String::from_utf8(output.stdout).expect("text"))
    };
    let idle = ["--limit", "affinity.idle-cpus=0.5"];
    let (code, text) = told(&idle);
    assert_eq!(code, Some(3), "{text}");
    golden::check("recordings/findings.txt", &text);
    let (code, json) = told(&[&idle[..], &["-f", "json"]].concat());
    let found: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((code, json.lines().count(), found.as_array().map(Vec::len)), (Some(3), 1, Some(1)), "{json}");
    assert_eq!((&found[0]["id"], &found[0]["severity"]), (&"affinity".into(), &"critical".into()));
    // A whole report has the same one.
    let whole = run(&[&["report", path, "-f", "json", "--config", "/dev/null"], &idle[..]].concat());
    let whole: serde_json::Value = serde_json::from_slice(&whole.stdout).expect("JSON");
    assert_eq!(whole["findings"], found);
    // Groups leave them, and a selection has none.
    for (args, kept) in [(["--by", "comm"], true), (["--thread", "10"], false), (["--comm", "worker-10"], false)] {
        let part = run(&[&["report", path, "-f", "json", "--config", "/dev/null"], &idle[..], &args].concat());
        let part: serde_json::Value = serde_json::from_slice(&part.stdout).expect("JSON");
        assert_eq!(part["findings"] == found, kept, "{args:?}: {}", part["findings"]);
    }
    let (code, text) = told(&[&idle[..], &["--limit", "affinity.critical-per-cpu=4"]].concat());
    assert!(code == Some(0) && text.starts_with("warn "), "{text}");
    assert_eq!(told(&["--limit", "affinity=off"]), (Some(0), "No rule found anything in these numbers.\n".into()));
    assert_eq!(told(&["--limit", "affinity=off", "-f", "json"]), (Some(0), "[]\n".into()));
    // Of a part of the recording: its numbers. Nobody had been asked about CPUs before its first tick.
    assert_eq!(told(&[&idle[..], &["--to", "1100ms"]].concat()).0, Some(3));
    let file = folder.path().join("findings.json");
    let (code, text) = told(&[&idle[..], &["-f", "json", "-o", file.to_str().expect("a path")]].concat());
    assert_eq!((code, text.as_str()), (Some(3), ""));
    assert_eq!(fs::read_to_string(&file).expect("a file"), json);
}

#[test]
fn parts_of_a_recording_add_up() {
    let number = |args: &[&str], pointer: &str| {
        let text = report(&[args, &["-f", "json"]].concat());
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        json.pointer(pointer).and_then(serde_json::Value::as_u64).unwrap_or_else(|| panic!("{args:?}: {pointer}"))
    };
    for pointer in
        ["/duration_ns", "/totals/cpu_ns", "/totals/wait_ns", "/totals/runq/all/count", "/loss/records_wanted"]
    {
        let parts = [&["--to", "1s"][..], &["--from", "1s", "--to", "2s"], &["--from", "2s"]];
        let sum: u64 = parts.iter().map(|part| number(part, pointer)).sum();
        assert_eq!(sum, number(&[], pointer), "{pointer}");
    }
    let of_threads: u64 = ["10", "11", "12", "20"].iter().map(|tid| number(&["--thread", tid], "/totals/cpu_ns")).sum();
    assert_eq!(of_threads, number(&[], "/totals/cpu_ns"));
    assert_eq!(number(&["--thread", "10,11,12", "--thread", "20"], "/totals/cpu_ns"), of_threads);
}

#[test]
fn what_is_missing_of_a_recording_is_told_everywhere() {
    let whole = std::fs::read(RECORDING).expect("a recording");
    let path = std::env::temp_dir().join(format!("numatrace-cut-{}.numatrace", std::process::id()));
    std::fs::write(&path, &whole[..whole.len() - 100]).expect("a file");
    let file = path.to_str().expect("a path in UTF-8");
    let sentence = "the recording was cut short: it reaches to ";
    for (format, quiet) in [("text", false), ("json", true)] {
        let args = ["report", file, "-f", format, if quiet { "-q" } else { "--top=3" }];
        let output = run(&args);
        assert!(output.status.success());
        for stream in [&output.stdout, &output.stderr] {
            let said = String::from_utf8_lossy(stream);
            assert!(said.contains(sentence), "{args:?}: {said}");
        }
    }
    std::fs::remove_file(&path).expect("it is there");
}

#[test]
fn arguments_are_not_echoed_raw() {
    for args in [
        &["--pid", "\x1b[2J\u{202e}"][..],
        &["\x1b]0;x\x07"],
        &["--\x1b[2J"],
        &["-a", "--sort", "\u{9b}31m"],
        &["--comm", "\x1b[2J and more than 15"],
        &["--cgroup"],
    ] {
        sentence(args, 2);
    }
    sentence(&["--cgroup", "\x1b[2J\u{202e}"], 1);
}

#[test]
fn a_target_that_is_none_is_one_sentence_and_code_1() {
    let gone = Command::new("true").spawn().and_then(|mut child| child.wait().map(|_| child.id())).expect("it runs");
    let gone = gone.to_string();
    for args in [&["--pid", &gone][..], &["live", "-p", &gone, "-f", "json"], &["-p", &gone, "--tree"]] {
        assert!(sentence(args, 1).contains(&format!("no process with pid {gone}")), "{args:?}");
    }
    assert!(sentence(&["--tid", &gone], 1).contains(&format!("no thread with tid {gone}")));
    for path in ["/no/such/cgroup", "/etc", "/etc/passwd", "no-such-slice"] {
        let said = sentence(&["--cgroup", path], 1);
        assert!(said.contains(&format!("{path} is no cgroup")), "{said}");
    }
}

#[test]
fn a_thread_given_as_a_process_is_told_so() {
    let said = std::thread::spawn(|| {
        // SAFETY: gettid has no argument and cannot fail.
        let tid = unsafe { libc::gettid() }.to_string();
        (sentence(&["--pid", &tid], 1), tid)
    });
    let (said, tid) = said.join().expect("the thread ends");
    let process = std::process::id();
    assert!(said.contains(&format!("{tid} is a thread of process {process} (")), "{said}");
    assert!(said.contains(&format!("--tid {tid}")) && said.contains(&format!("--pid {process}")), "{said}");
}

#[test]
fn help_and_version_go_to_standard_output() {
    for args in [&["--help"][..], &["-h"], &["--version"], &["help"], &["live", "--help"], &["doctor", "-h"]] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(output.stderr.is_empty() && !output.stdout.is_empty(), "{args:?}");
    }
    let version = String::from_utf8(run(&["--version"]).stdout).expect("text");
    assert_eq!(version, format!("numatrace {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn completions_are_scripts_that_the_shell_can_read() {
    for shell in [Shell::Bash, Shell::Elvish, Shell::Fish, Shell::PowerShell, Shell::Zsh] {
        let output = run(&["completions", &shell.to_string()]);
        assert_eq!(output.status.code(), Some(0), "{shell}");
        assert!(output.stderr.is_empty());
        let script = String::from_utf8(output.stdout).expect("a script is text");
        assert!(script.contains("numatrace") && script.contains("slower-than"), "{shell}");
        if shell == Shell::Bash {
            let status = Command::new("bash").args(["-n", "-c", &script]).status().expect("bash runs");
            assert!(status.success(), "bash cannot read its script");
        }
    }
}

#[test]
fn manual_pages_are_what_man_can_read_and_one_a_subcommand() {
    let dir = tempfile::tempdir().expect("a folder");
    let pages = dir.path().join("new/pages");
    let output = run(&["man", "--dir", &pages.to_string_lossy()]);
    assert_eq!((output.status.code(), output.stdout.len(), output.stderr.len()), (Some(0), 0, 0));
    for (args, file) in [(&["man"][..], "numatrace.1"), (&["man", "record"], "numatrace-record.1")] {
        let printed = run(args);
        assert_eq!(printed.status.code(), Some(0), "{args:?}");
        assert_eq!(printed.stdout, std::fs::read(pages.join(file)).expect("the page was written"), "{file}");
    }
    let help = String::from_utf8(run(&["--help"]).stdout).expect("text");
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names: Vec<&str> = commands
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(names.contains(&"record") && names.contains(&"man"), "{names:?}");
    for name in names {
        assert!(pages.join(format!("numatrace-{name}.1")).is_file(), "{name} has no page");
    }
    let groff = Command::new("groff").args(["-man", "-Tutf8", "-ww", "-z"]).arg(pages.join("numatrace.1")).output();
    match groff {
        Ok(output) => assert_eq!(String::from_utf8_lossy(&output.stderr), "", "groff warns of the page"),
        Err(error) => println!("skipped: what groff says of the page ({error})"),
    }
}

#[test]
fn a_folder_that_cannot_be_made_for_pages_is_named() {
    let said = sentence(&["man", "--dir", "Cargo.toml/pages"], 1);
    assert!(said.contains("cannot make the folder Cargo.toml/pages: "), "{said}");
}

#[test]
fn a_closed_standard_output_ends_quietly() {
    for args in [&["completions", "bash"][..], &["man"], &["--help"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = Command::new(numatrace())
            .args(args)
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .and_then(std::process::Child::wait_with_output)
            .expect("it runs");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{args:?}");
        assert_eq!(output.status.code(), Some(0), "{args:?}");
    }
}
