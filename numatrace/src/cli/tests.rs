//! What the command line accepts, and the sentence for what it does not.

use super::*;
use crate::tui::theme::Depth;

fn live(args: &[&str]) -> LiveArgs {
    match parse(std::iter::once("numatrace").chain(args.iter().copied())) {
        Ok(Command::Live(args)) => *args,
        other => panic!("{args:?} gave {other:?}"),
    }
}

/// The message of a refusal, without colours.
fn refused(args: &[&str]) -> String {
    match parse(std::iter::once("numatrace").chain(args.iter().copied())) {
        Ok(command) => panic!("{args:?} was taken as {command:?}"),
        Err(error) => {
            assert_eq!(error.exit_code(), 2, "{args:?}");
            assert!(error.use_stderr());
            error.to_string()
        }
    }
}

#[test]
fn the_definition_is_consistent() {
    command().debug_assert();
}

#[test]
fn limits_of_findings_come_in_their_order() {
    let live = live(&["-p1", "--limit", "partial=off", "--limit=throttled.p99-ms=3", "--limit", "partial=on"]);
    let settings = crate::findings::Settings::with(&live.findings.limit);
    assert_eq!((settings.is_on("partial"), settings.limit("throttled", "p99-ms")), (true, Some(3.0)));
    let sentence = refused(&["-p1", "--limit", "throttled.p99-ms=long"]);
    assert!(sentence.contains("throttled.p99-ms is a number, not 'long'"), "{sentence}");
}

#[test]
fn live_is_the_default() {
    for args in [&["--pid", "1", "-d", "1s"][..], &["live", "--pid", "1", "-d", "1s"], &["-p1", "-d1"]] {
        let live = live(args);
        assert_eq!(live.filter.pid, [1]);
        assert_eq!(live.run.duration, Some(Duration::from_secs(1)));
        assert_eq!(live.run.interval, None);
        assert_eq!((live.output.sort, live.output.top), (None, 20));
        assert_eq!((live.output.format, live.trace.ring_size), (None, None));
    }
}

#[test]
fn a_command_follows_two_dashes_whatever_its_words() {
    for args in [
        &["--", "sleep", "1"][..],
        &["live", "--", "sleep", "1"],
        &["-d", "3", "--", "sleep", "1"],
        &["live", "-d", "3", "--", "sleep", "1"],
    ] {
        assert_eq!(live(args).filter.command, ["sleep", "1"], "{args:?}");
    }
    assert_eq!(live(&["--", "doctor"]).filter.command, ["doctor"]);
    assert_eq!(live(&["--", "live", "--pid", "3"]).filter.command, ["live", "--pid", "3"]);
    assert_eq!(live(&["--", "sh", "-c", "--", "x"]).filter.command, ["sh", "-c", "--", "x"]);
}

#[test]
fn the_other_commands_need_no_target() {
    assert!(matches!(parse(["numatrace", "doctor"]), Ok(Command::Doctor(_))));
    assert!(matches!(parse(["numatrace", "demo", "-d", "2s", "-f", "json"]), Ok(Command::Demo(_))));
    assert!(matches!(parse(["numatrace", "completions", "zsh"]), Ok(Command::Completions(_))));
    assert!(matches!(parse(["numatrace", "man", "record"]), Ok(Command::Man(_))));
}

#[test]
fn ids_repeat_and_lists_split() {
    assert_eq!(live(&["-p", "1", "--pid", "2,3"]).filter.pid, [1, 2, 3]);
    assert_eq!(live(&["-t", "7", "-t", "8"]).filter.tid, [7, 8]);
}

#[test]
fn a_target_is_needed_and_one_kind_only() {
    for args in [&[][..], &["live"], &["-d", "3"], &["--"], &["live", "--"]] {
        let message = refused(args);
        assert!(message.contains("no target was given: name one with --pid"), "{args:?}: {message}");
    }
    for args in [
        &["-p", "1", "-t", "2"][..],
        &["-a", "-p", "1"],
        &["-c", "x", "--cgroup", "/"],
        &["-p", "1", "--", "ls"],
        &["live", "-a", "--", "ls"],
    ] {
        assert!(refused(args).contains("cannot be used with"), "{args:?}");
    }
    assert!(refused(&["-a", "--tree"]).contains("cannot be used with"), "--tree speaks of processes");
    assert!(refused(&["--tree"]).contains("--pid <PID>"));
    let late = refused(&["-p", "1", "doctor"]);
    assert!(late.contains("options come after the subcommand: numatrace doctor"), "{late}");
}

#[test]
fn a_forgotten_double_dash_is_recognised() {
    for args in [&["sleep", "1"][..], &["live", "sleep", "1"]] {
        let message = refused(args);
        assert!(message.contains("put -- before it"), "{args:?}: {message}");
    }
    assert!(refused(&["reprot", "x"]).contains("there is a subcommand 'report'"));
    // Of a subcommand that starts nothing there is one word too many.
    for args in [&["report", "a", "b"][..], &["diff", "a", "b", "c"], &["doctor", "x"], &["serve", "x"]] {
        assert!(!refused(args).contains("tip:"), "{args:?}: {}", refused(args));
    }
    let record = refused(&["record", "-o", "x"]);
    assert!(record.contains("numatrace record [OPTIONS]"), "{record}");
    // An option is no command: clap's own advice would start one of that name.
    for option in ["--bogus", "--intervall"] {
        assert!(!refused(&["-a", option]).contains("-- --"), "{option}");
    }
}

#[test]
fn nonsense_is_refused_with_what_would_do() {
    let cases: &[(&[&str], &str)] = &[
        (&["--pid", "0"], "a process id is a number from 1 to 4194304"),
        (&["--pid", "-3"], "a process id is a number"),
        (&["-p", "-3"], "a process id is a number"),
        (&["--pid", "redis"], "a process id is a number"),
        (&["--pid", "4194305"], "a process id is a number"),
        (&["--pid", "99999999999999999999"], "a process id is a number"),
        (&["--pid", ""], "a process id is a number"),
        (&["--pid", "1,,2"], "a process id is a number"),
        (&["--tid", "0"], "a thread id is a number"),
        (&["-a", "--interval", "0"], "must be between 50ms and 1h"),
        (&["-a", "--interval", "-1s"], "a time is a number with a unit"),
        (&["-a", "--interval", "2h"], "must be between 50ms and 1h"),
        (&["-a", "--interval", "fast"], "a time is a number with a unit"),
        (&["-a", "--duration", "0"], "must be between 10ms and 30d"),
        (&["-a", "--duration", "1y"], "must be between 10ms and 30d"),
        (&["-a", "--duration", ""], "a time is a number with a unit"),
        (&["-a", "--duration", "."], "a time is a number with a unit"),
        (&["-a", "--duration", "inf"], "a time is a number with a unit"),
        (&["-a", "--duration", "1e400"], "a time is a number with a unit"),
        (&["-a", "--duration", "9999999999999999999999s"], "a time is a number with a unit"),
        (&["-a", "--slower-than", "0"], "must be between 1us and 1h"),
        (&["-a", "--top", "x"], "must be a number from 0 (all)"),
        (&["-a", "--top", "-1"], "must be a number from 0 (all)"),
        (&["-a", "--ring-size", "3"], "must be between 4K and 1G"),
        (&["-a", "--ring-size", "2G"], "must be between 4K and 1G"),
        (&["-a", "--ring-size", "99999999999999999999G"], "starts with a whole number"),
        (&["-a", "--ring-size", "18014398509481984K"], "must be between 4K and 1G"),
        (&["-a", "--ring-size", "M"], "starts with a whole number"),
        (&["-a", "--ring-size", "8X"], "such as 65536, 512K, 8M or 1G"),
        (&["-a", "--ring-size", "8\u{b5}"], "such as 65536, 512K, 8M or 1G"),
        (&["-a", "--sort", "best"], "cross-node"),
        (&["-a", "--format", "xml"], "possible values: text, json"),
        (&["-a", "--hooks", "kprobe"], "possible values: auto, tp_btf, raw_tp"),
        (&["-c", ""], "--comm needs a command name"),
        (&["-c", "a-rather-long-name"], "use --comm 'a-rather-long-n'"),
        (&["completions", "tcsh"], "possible values"),
        (&["-a", "--bogus"], "unexpected argument '--bogus'"),
        (&["-a", "--intervall", "1s"], "a similar argument exists: '--interval'"),
    ];
    for (args, sentence) in cases {
        let message = refused(args);
        assert!(message.contains(sentence), "{args:?} gave: {message}");
        assert!(message.starts_with("error: "), "{args:?} gave: {message}");
    }
}

#[test]
fn sizes_times_and_names_are_taken_in_their_usual_forms() {
    for (text, bytes) in
        [("4096", 4_096), ("4K", 4_096), ("5k", 8_192), ("8M", 8 << 20), ("8MiB", 8 << 20), ("1G", 1 << 30)]
    {
        assert_eq!(live(&["-a", "--ring-size", text]).trace.ring_size, Some(bytes), "{text}");
    }
    for (text, ms) in [("50ms", 50), ("0.25", 250), ("2", 2_000), ("1h", 3_600_000), ("1m 30s", 90_000)] {
        assert_eq!(live(&["-a", "-i", text]).run.interval, Some(Duration::from_millis(ms)), "{text}");
    }
    assert_eq!(live(&["-a", "--slower-than", "250us"]).output.slower_than, Some(Duration::from_micros(250)));
    assert_eq!(live(&["-c", "exactly-15-byte"]).filter.comm, Some(Comm(*b"exactly-15-byte\0")));
    assert_eq!(live(&["-a", "--hooks", "raw_tp"]).trace.hooks, Hooks::RawTp);
    for key in SortKey::ALL {
        assert_eq!(live(&["-a", "--sort", key.name()]).output.sort, Some(key));
    }
}

#[test]
fn a_name_that_is_not_utf8_is_taken() {
    use std::os::unix::ffi::OsStrExt;
    let name = std::ffi::OsStr::from_bytes(b"\xff\x1b").to_owned();
    let Ok(Command::Live(args)) = parse(["numatrace".into(), OsString::from("--comm"), name]) else {
        panic!("any bytes are a command name");
    };
    assert_eq!(args.filter.comm.map(|comm| comm.0[..3].to_vec()), Some(b"\xff\x1b\0".to_vec()));
}

#[test]
fn the_help_is_a_manual() {
    let error = parse(["numatrace", "--help"]).expect_err("help is told as an error");
    assert_eq!(error.exit_code(), 0);
    let help = error.to_string();
    for word in [
        "--pid",
        "--tree",
        "--slower-than",
        "--ring-size",
        "doctor",
        "completions",
        "Examples:",
        "Exit codes:",
        "CAP_BPF",
    ] {
        assert!(help.contains(word), "{word} is not in the help");
    }
    for command in ["live", "demo", "doctor", "completions"] {
        let error = parse(["numatrace", command, "--help"]).expect_err("help is told as an error");
        assert_eq!((error.exit_code(), error.use_stderr()), (0, false));
    }
}

#[test]
fn a_replay_takes_a_file_a_time_and_a_speed() {
    let replay = |args: &[&str]| match parse(["numatrace", "replay"].iter().chain(args)) {
        Ok(Command::Replay(args)) => args,
        other => panic!("{args:?} gave {other:?}"),
    };
    let plain = replay(&["file"]);
    assert_eq!(
        (plain.file.to_str(), plain.from, plain.speed, plain.paused),
        (Some("file"), None, Speed::default(), false)
    );
    let all = replay(&["file", "--from", "1m 30s", "--speed", "0.5", "--paused"]);
    assert_eq!(
        (all.from, all.speed.to_string(), all.paused),
        (Some(Moment::Since(Duration::from_secs(90))), "0.5x".into(), true)
    );
    for (args, words) in [(["--speed", "-1"], "a speed is a number"), (["--from", "-1s"], "a time is 12s")] {
        assert!(refused(&["replay", "file", args[0], args[1]]).contains(words), "{args:?}");
    }
}

#[test]
fn how_the_dashboard_looks_is_asked_for_where_there_is_one() {
    let look = live(&["-a", "--theme", "colour-blind", "--colors", "256", "--ascii", "--config", "x"]).look;
    assert_eq!((look.theme, look.colours), (Some(Scheme::ColourBlind), Some(Colours::Depth(Depth::Indexed))));
    assert_eq!((look.ascii, look.config), (Some(Ascii::Always), Some("x".into())));
    assert_eq!(live(&["--ascii=false", "--", "sleep"]).look.ascii, Some(Ascii::Never));
    // The command is no value of --ascii.
    assert_eq!(live(&["--ascii", "--", "auto"]).filter.command, ["auto"]);
    assert_eq!(live(&["-a"]).look.theme, None);
    for args in [&["replay", "file", "--theme", "light"][..], &["demo", "--ascii"], &["config", "--path"]] {
        assert!(parse(std::iter::once("numatrace").chain(args.iter().copied())).is_ok(), "{args:?}");
    }
    assert!(
        refused(&["-a", "--theme", "drak"])
            .contains("[possible values: dark, light, high-contrast, colour-blind, none]")
    );
    assert!(refused(&["record", "-o", "x", "-a", "--theme", "dark"]).contains("unexpected argument '--theme'"));
}
