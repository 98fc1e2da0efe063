//! What flags, environment and file come to, and the sentence for a file that cannot be used.

use super::*;
use crate::findings::RULES;
use crate::tui::keymap::BINDINGS;
use crate::tui::state::Key;

fn settled(flags: &Flags, env: &[(&str, &str)], text: &str) -> Config {
    let var = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    Config::settle(flags, &var, File::parse(text).unwrap_or_else(|wrong| panic!("{wrong:?}")))
}

const XTERM: (&str, &str) = ("TERM", "xterm-256color");

/// All that can be said.
const ALL: &str = r#"
theme = "light"
colours = "16"
ascii = true

[dashboard]
tab = "threads"
window = "10s"
interval = "250ms"
sort = "runq.p99"
columns = ["tid", "runq.p99", "cgroup"]
mouse = true

[findings]
throttled.throttled-share = 0.1
throttled.least-ms = 30
partial = "off"

[keys]
quit = "n"
record = []
up = ["e", "up", "f1"]
theme = "ctrl-t"
pause = "b"
redraw = " "
"#;

#[test]
fn a_file_says_how_the_dashboard_begins() {
    let config = settled(&Flags::default(), &[XTERM], ALL);
    assert_eq!(config.theme(), Theme::of_scheme(Scheme::Light, Depth::Ansi));
    let preferences = config.preferences();
    assert!(preferences.ascii && preferences.mouse);
    assert_eq!((preferences.tab, preferences.window), (Tab::Threads, Window::TenSeconds));
    assert_eq!(preferences.sort, Sort { column: Column::P99, descending: true });
    assert_eq!(preferences.columns, [Column::Tid, Column::P99, Column::Cgroup]);
    assert_eq!(config.interval.value, Duration::from_millis(250));
    let pressed = |key| preferences.keymap.translate(key, false);
    assert_eq!([pressed(Key::Char('n')), pressed(Key::Char('q'))], [Some(Key::Char('q')), None]);
    assert_eq!([pressed(Key::Function(1)), pressed(Key::Char('k'))], [Some(Key::Up), None]);
    assert_eq!([pressed(Key::Char('r')), pressed(Key::Char(' '))], [None, Some(Key::Repaint)]);
    assert_eq!(config.bound, ["quit", "record", "up", "theme", "pause", "redraw"]);
    assert!(config.bound.iter().all(|name| BINDINGS.iter().any(|binding| binding.name == *name)));
}

/// The command line over the file, one limit at a time; whoever sets a limit wants to hear of it.
#[test]
fn findings_are_as_the_file_and_then_the_command_line_say() {
    let change = |text: &str| text.parse::<Change>().unwrap_or_else(|bad| panic!("{bad}"));
    let config = settled(&Flags::default(), &[XTERM], ALL);
    let findings = config.preferences().findings;
    assert!(!findings.is_on("partial") && findings.is_on("affinity"));
    let limit = |settings: &Settings, name| settings.limit("throttled", name);
    assert_eq!((limit(&findings, "throttled-share"), limit(&findings, "least-ms")), (Some(0.1), Some(30.0)));
    assert_eq!(limit(&findings, "p99-ms"), limit(&Settings::default(), "p99-ms"));
    let flags = Flags {
        findings: ["throttled.least-ms=40", "partial=on", "affinity=off", "affinity.idle-cpus=2", "single-node=off"]
            .map(change)
            .into(),
        ..Flags::default()
    };
    let config = settled(&flags, &[XTERM], ALL);
    let findings = config.findings();
    assert_eq!((limit(&findings, "throttled-share"), limit(&findings, "least-ms")), (Some(0.1), Some(40.0)));
    assert!(findings.is_on("partial") && findings.is_on("affinity") && !findings.is_on("single-node"));
    let printed = print::toml(&config);
    for line in [
        "throttled.throttled-share = 0.1  # file; ",
        "throttled.least-ms = 40.0  # command line; ",
        "throttled.p99-ms = 5.0  # default; ",
        "affinity.idle-cpus = 2.0  # command line; ",
        "single-node = \"off\"  # command line",
    ] {
        assert!(printed.lines().any(|printed| printed.starts_with(line)), "{line} is not in\n{printed}");
    }
}

#[test]
fn an_empty_file_is_as_good_as_none() {
    for text in ["", "# nothing\n", "[dashboard]\n[keys]\n"] {
        let config = settled(&Flags::default(), &[XTERM, ("LANG", "C.UTF-8")], text);
        assert_eq!(config.theme(), Theme::new(Depth::Indexed));
        let preferences = config.preferences();
        assert_eq!((preferences.ascii, preferences.tab, preferences.window), (false, Tab::Overview, Window::Start));
        assert_eq!((preferences.sort, config.interval.value), (Sort::default(), Duration::from_secs(1)));
        assert_eq!(*preferences.keymap, Keymap::default());
        assert!(config.theme.origin == Origin::Default && config.interval.origin == Origin::Default);
    }
}

/// Command line, then NO_COLOR, then file, then what the terminal says.
#[test]
fn who_is_nearer_wins() {
    let flags = |theme, colours| Flags { theme, colours, ..Flags::default() };
    let file = "theme = 'light'\ncolours = '16'";
    let none = &[XTERM, ("NO_COLOR", "1")][..];
    let (dark, mono) = (Some(Scheme::Dark), Depth::Mono);
    let deep = Some(Colours::Depth(Depth::True));
    type Case<'a> = (Flags, &'a [(&'a str, &'a str)], &'a str, Scheme, Depth);
    let table: [Case<'_>; 12] = [
        (flags(None, None), &[XTERM], "", Scheme::Dark, Depth::Indexed),
        (flags(None, None), &[XTERM], file, Scheme::Light, Depth::Ansi),
        (flags(dark, None), &[XTERM], file, Scheme::Dark, Depth::Ansi),
        (flags(None, deep), &[XTERM], file, Scheme::Light, Depth::True),
        (flags(None, Some(Colours::Auto)), &[XTERM], file, Scheme::Light, Depth::Indexed),
        (flags(None, None), none, file, Scheme::Light, mono),
        (flags(None, None), none, "", Scheme::Dark, mono),
        (flags(None, Some(Colours::Auto)), none, file, Scheme::Light, mono),
        (flags(dark, None), none, file, Scheme::Dark, Depth::Ansi),
        (flags(dark, None), none, "", Scheme::Dark, Depth::Indexed),
        (flags(None, deep), none, file, Scheme::Light, Depth::True),
        (flags(None, None), &[XTERM, ("NO_COLOR", "")], "", Scheme::Dark, Depth::Indexed),
    ];
    for (flags, env, text, scheme, depth) in table {
        let config = settled(&flags, env, text);
        assert_eq!((config.theme.value, config.depth), (scheme, depth), "{flags:?} {env:?} {text}");
    }
    // A theme does not give a terminal colours that it lacks.
    assert_eq!(settled(&flags(dark, None), &[("TERM", "dumb")], "").depth, Depth::Mono);
    let config = settled(&flags(None, None), none, file);
    assert_eq!(config.colours.origin, Origin::Environment("NO_COLOR"));
    let flags = Flags {
        ascii: Some(Ascii::Never),
        interval: Some(Duration::from_secs(9)),
        sort: Some(Column::Tid),
        ..Flags::default()
    };
    let config = settled(&flags, &[XTERM], ALL);
    assert_eq!(
        (config.is_ascii, config.interval.value, config.sort.value),
        (false, Duration::from_secs(9), Column::Tid)
    );
    assert_eq!(config.preferences().sort, Sort { column: Column::Tid, descending: false });
}

#[test]
fn the_locale_decides_where_nobody_else_does() {
    let ascii = |env: &[(&str, &str)], text| settled(&Flags::default(), env, text).is_ascii;
    assert!(ascii(&[], "") && ascii(&[("LANG", "C")], "ascii = 'auto'"));
    assert!(!ascii(&[("LANG", "C.UTF-8")], "") && ascii(&[("LANG", "C.UTF-8")], "ascii = true"));
    assert!(!ascii(&[], "ascii = false"));
}

#[test]
fn a_wrong_file_is_refused_with_its_line_and_a_reason() {
    let cases: &[(&str, usize, &str)] = &[
        ("theme = 'drak'", 1, "there is no theme 'drak': it is one of \"dark\", \"light\", \"high-contrast\""),
        ("\n\ntheme = 3", 3, "there is no theme 3: it is one of"),
        ("theme = ['dark']", 1, "there is no theme a list"),
        ("# x\ncolours = 256", 2, "there is no set of colours 256: it is one of \"auto\", \"none\", \"16\", \"256\""),
        ("ascii = 'yes'", 1, "ascii is \"auto\", true or false, not 'yes'"),
        ("ascii = 1", 1, "not 1"),
        ("theme = 'dark'\nthme = 'dark'", 2, "there is no key `thme`: it is one of `theme`, `colours`, `ascii`"),
        ("[dashbord]\ntab = 'nodes'", 1, "there is no key `dashbord`"),
        ("[dashboard]\ntabs = 'nodes'", 2, "there is no key `tabs`: it is one of `tab`, `window`, `interval`"),
        ("[dashboard]\ntab = 'thread'", 2, "there is no view to begin with 'thread': it is one of \"overview\""),
        ("[dashboard]\nwindow = '20s'", 2, "there is no window '20s': it is one of \"start\", \"interval\", \"10s\""),
        ("[dashboard]\ninterval = 1", 2, "interval is a time in quotes, such as \"500ms\", not 1"),
        ("[dashboard]\ninterval = '2h'", 2, "interval cannot be '2h': must be between 50ms and 1h"),
        ("[dashboard]\ninterval = 'soon'", 2, "interval cannot be 'soon': a time is a number with a unit"),
        ("[dashboard]\ncolumns = 'tid'", 2, "columns is a list, such as [\"name\", \"runq.p99\"], not 'tid'"),
        ("[dashboard]\ncolumns = ['tid', 'age']", 2, "there is no column 'age': it is one of \"tid\", \"name\""),
        ("[dashboard]\ncolumns = ['tid', 'tid']", 2, "columns has 'tid' twice"),
        ("[dashboard]\nsort = 'age'", 2, "there is no column 'age': it is one of \"tid\", \"name\""),
        ("[dashboard]\nmouse = 'on'", 2, "mouse is true or false, not 'on'"),
        ("dashboard = 'threads'", 1, "invalid type: string \"threads\", expected a table"),
        ("findings = 1", 1, "invalid type: integer `1`, expected a table"),
        ("[findings]\nthrotled = 'off'", 2, "there is no rule 'throtled': they are throttled, "),
        ("[findings]\n\nthrotled.least-ms = 1", 3, "there is no rule 'throtled': they are throttled, "),
        ("[findings]\nthrottled = 'never'", 2, "the rule throttled is set to on or off, not to 'never'"),
        (
            "[findings]\nthrottled = false",
            2,
            "invalid type: boolean `false`, expected \"off\", \"on\" or a table of limits",
        ),
        (
            "[findings.throttled]\nleast-ms = 1\nleast = 1",
            3,
            "the rule throttled has no limit 'least': it has throttled-share",
        ),
        ("[findings]\nthrottled.least-ms = '1'", 2, "a limit is a number, not '1'"),
        ("[findings]\n\nthrottled.throttled-share = 2", 3, "throttled.throttled-share is from 0 to 1, not 2"),
        ("[findings]\nthrottled.throttled-share = nan", 2, "throttled.throttled-share is from 0 to 1, not NaN"),
        ("[findings]\npartial = 'off'\npartial.gap-share = 0.5", 3, "dotted key"),
        ("[findings]\n'\u{202e}' = 'off'", 2, "there is no rule '\\u{202e}'"),
        ("keys = 1", 1, "invalid type: integer `1`, expected a table"),
        ("[keys]\nexit = 'n'", 2, "nothing is called 'exit' that a key can do: it is one of quit, help"),
        ("[keys]\nquit = 'n'\nexit = 'n'", 3, "nothing is called 'exit'"),
        ("[keys]\nquit = 'alt-x'", 2, "there is no key 'alt-x': a key is one character, f1 to f12"),
        ("[keys]\n\nquit = ['n', 'F13']", 3, "there is no key 'F13'"),
        ("[keys]\nquit = ['n', 7]", 2, "a key is a word in quotes, such as \"x\", not 7"),
        ("[keys]\nquit = true", 2, "a key is a word in quotes, such as \"x\", not true"),
        ("[keys]\nquit = 'ctrl-c'", 2, "ctrl-c always quits"),
        ("[keys]\nhelp = 'ctrl-i'", 2, "ctrl-i is tab to a terminal"),
        (
            "[keys]\nquit = 'n'\ntheme = 's'",
            3,
            "s is the key of both theme and sort: give one of them another key, or none",
        ),
        ("[keys]\nquit = 'n'\nsort = 'n'", 3, "n is the key of both sort and quit"),
        ("[keys]\nsort = 'n'\nquit = 'n'", 3, "n is the key of both quit and sort"),
        ("[keys]\npause = 'K'\nsort = 'k'", 3, "k is the key of both sort and up"),
        ("[keys]\nquit = 'n'\nquit = 'y'", 3, "duplicate key"),
        ("theme", 1, "key with no value"),
        ("theme = ", 1, ""),
        ("theme = 'dark\nascii = true", 1, "invalid literal string"),
        ("[keys\n", 1, ""),
        ("theme = \"\u{202e}\"", 1, "there is no theme '\\u{202e}'"),
        ("'\u{1b}[2J' = 1", 1, ""),
        ("\u{202e} = 1", 1, ""),
    ];
    for (text, line, why) in cases {
        let wrong = File::parse(text).expect_err(text);
        assert_eq!(wrong.line, *line, "{text}: {}", wrong.why);
        assert!(wrong.why.contains(why) && !wrong.why.is_empty(), "{text}: {}", wrong.why);
        assert!(!wrong.why.contains(|c: char| c.is_control() || c == '\u{202e}'), "{text}: {:?}", wrong.why);
    }
    let refused = Refused { path: "/a/b.toml".into(), line: Some(3), why: "it is so".into() };
    assert_eq!(refused.to_string(), "/a/b.toml, line 3: it is so");
}

#[test]
fn a_key_that_was_given_up_can_be_given_to_another() {
    let config = settled(&Flags::default(), &[], "[keys]\ntheme = 's'\nsort = 't'\nup = 'up'\ngroup = ['k', 'g']");
    let pressed = |key| config.keymap.translate(Key::Char(key), false);
    assert_eq!([pressed('s'), pressed('t'), pressed('k')], ['t', 's', 'g'].map(|key| Some(Key::Char(key))));
}

/// What is printed is a file that comes to the same.
#[test]
fn what_is_printed_can_be_the_file() {
    let env = [XTERM, ("LANG", "de_DE.UTF-8")];
    for text in ["", ALL, "[keys]\nsort = ['\"', '\\', \"'\", '#', 'ö']\nsuspend = ['ctrl-z', 'f12']"] {
        let config = settled(&Flags::default(), &env, text);
        let printed = print::toml(&config);
        let again = settled(&Flags::default(), &env, &printed);
        assert_eq!(again.theme(), config.theme(), "{printed}");
        let [before, after] = [&config, &again].map(Config::preferences);
        assert_eq!(before.keymap, after.keymap, "{printed}");
        assert_eq!(
            (before.ascii, before.tab, before.window, before.sort, &before.columns),
            (after.ascii, after.tab, after.window, after.sort, &after.columns)
        );
        assert_eq!(before.findings, after.findings, "{printed}");
        assert_eq!((config.interval.value, config.mouse.value), (again.interval.value, again.mouse.value));
        // And then all of it comes from the file.
        let lines = print::toml(&again);
        let values = lines.lines().filter(|line| line.contains(" = "));
        let limits: usize =
            RULES.iter().map(|rule| if after.findings.is_on(rule.id) { rule.limits.len() } else { 1 }).sum();
        assert!(values.clone().all(|line| line.contains("# file")), "{lines}");
        assert_eq!(values.count(), 9 + limits + BINDINGS.len(), "{lines}");
    }
}

#[test]
fn each_value_says_where_it_comes_from() {
    let flags = Flags { theme: None, interval: Some(Duration::from_millis(1_500)), ..Flags::default() };
    let env = [XTERM, ("NO_COLOR", "1"), ("LC_CTYPE", "C")];
    let printed = print::toml(&settled(&flags, &env, "theme = 'light'\n[keys]\nrecord = []"));
    for line in [
        "theme = \"light\"  # file",
        "colours = \"none\"  # environment, NO_COLOR",
        "ascii = \"auto\"  # default; true here, LC_CTYPE is C",
        "interval = \"1s 500ms\"  # command line",
        "tab = \"overview\"  # default",
        "record = []  # file; record, on and off",
        "up = [\"up\", \"k\"]  # default; one line up",
        "pause = \"space\"  # default; pause, and go on",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line} is not in\n{printed}");
    }
}
