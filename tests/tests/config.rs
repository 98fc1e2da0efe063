//! The configuration from outside: `numatrace config`, and what every command says to a file that cannot be used.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use numatrace::config::file::File;
use numatrace::tui::keymap::{BINDINGS, Binding, key_name};
use numatrace::tui::state::Key;
use numatrace_tests::live::program;
use numatrace_tests::{golden, tmux, tmux::Tmux};
use tempfile::TempDir;

/// A recording of three seconds, from the folder in which tests run.
const RECORDING: &str = "fixtures/recordings/version-1.numatrace";

/// A home with or without a configuration.
struct Home(TempDir);

impl Home {
    fn empty() -> Home {
        let home = Home(tempfile::tempdir().expect("a folder"));
        // Others are to come in, where a test is root and reads for them.
        fs::set_permissions(home.0.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
        home
    }

    fn with(text: &str) -> Home {
        let home = Home::empty();
        let file = home.file();
        fs::create_dir_all(file.parent().expect("a file is in a folder")).expect("a folder");
        fs::write(&file, text).expect("a file");
        home
    }

    fn file(&self) -> PathBuf {
        self.0.path().join(".config/numatrace/config.toml")
    }

    /// The program with this home and nothing else around it but `env`.
    fn run(&self, args: &[&str], env: &[(&str, &str)]) -> Output {
        let numatrace = program("numatrace").unwrap_or_else(|error| panic!("{error}"));
        let mut command = Command::new(numatrace);
        command.args(args).stdin(Stdio::null()).env_clear();
        command.env("HOME", self.0.path()).env("TERM", "xterm-256color").envs(env.iter().copied());
        command.output().expect("it runs")
    }

    /// What `config` prints.
    fn prints(&self, args: &[&str], env: &[(&str, &str)]) -> String {
        let output = self.run(&[&["config"], args].concat(), env);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && stderr.is_empty(), "{args:?}: {stderr}");
        let text = String::from_utf8(output.stdout).expect("text");
        text.replace(self.0.path().to_str().expect("a path in UTF-8"), "~")
    }

    /// The sentence of a refusal: one line, code 2, nothing on standard output.
    fn refusal(&self, args: &[&str], env: &[(&str, &str)]) -> String {
        let output = self.run(args, env);
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(output.stdout.is_empty() && said.lines().count() == 1, "{args:?}: {said}");
        assert!(!said.contains("panicked") && !said.contains("BACKTRACE"), "{said}");
        said.replace(self.0.path().to_str().expect("a path in UTF-8"), "~")
    }
}

fn is_root() -> bool {
    // SAFETY: no preconditions.
    unsafe { libc::geteuid() == 0 }
}

#[test]
fn without_a_file_all_is_default() {
    let home = Home::empty();
    golden::check("config/default.toml", &home.prints(&[], &[("LANG", "C.UTF-8")]));
    assert_eq!(home.prints(&["--path"], &[]), "~/.config/numatrace/config.toml\n");
    let xdg = home.prints(&["--path"], &[("XDG_CONFIG_HOME", "/somewhere")]);
    assert_eq!(xdg, "/somewhere/numatrace/config.toml\n");
    let nowhere = home.run(&["config", "--path"], &[("HOME", ""), ("SUDO_UID", "4294967000"), ("SUDO_GID", "0")]);
    // Root has a home in any case.
    assert!(is_root() || nowhere.status.code() == Some(1));
}

/// What is printed is a file that can be used, and then comes to the same.
#[test]
fn what_is_printed_can_be_the_file() {
    let mine = "theme = 'colour-blind'\nascii = true\n[dashboard]\ntab = 'threads'\nwindow = '10s'\ninterval = '500ms'\n\
                sort = 'runq.p99'\ncolumns = ['tid', 'name', 'runq.p99']\nmouse = true\n\
                [findings]\npartial = 'off'\nthrottled.throttled-share = 0.1\n[keys]\nquit = ['n', 'f10']\nrecord = []\npause = 'ctrl-p'\n";
    let home = Home::with(mine);
    let printed = home.prints(&[], &[]);
    golden::check("config/mine.toml", &printed);
    let again = Home::with(&printed).prints(&[], &[]);
    let values = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split("  # ").next().unwrap_or_default().to_owned()).skip(1).collect()
    };
    assert_eq!(values(&printed), values(&again));
    assert!(again.lines().filter(|line| line.contains(" = ")).all(|line| line.contains("# file")), "{again}");
}

#[test]
fn the_command_line_wins_over_no_color_and_that_over_the_file() {
    let home = Home::with("theme = 'light'\ncolours = 'true'\nascii = true\n");
    let line = |args: &[&str], env: &[(&str, &str)], name: &str| -> String {
        let text = home.prints(args, env);
        let found = text.lines().find(|line| line.starts_with(name));
        found.unwrap_or_else(|| panic!("{name} is not in\n{text}")).to_owned()
    };
    let none = &[("NO_COLOR", "1")][..];
    assert_eq!(line(&[], none, "colours"), "colours = \"none\"  # environment, NO_COLOR");
    assert_eq!(line(&["--theme", "dark"], none, "colours"), "colours = \"true\"  # file");
    assert_eq!(line(&["--colours", "16"], none, "colours"), "colours = \"16\"  # command line");
    assert_eq!(line(&["--theme", "high-contrast"], &[], "theme"), "theme = \"high-contrast\"  # command line");
    assert_eq!(line(&["--ascii=auto"], &[("LC_ALL", "de_DE.UTF-8")], "ascii"), {
        "ascii = \"auto\"  # command line; false here, LC_ALL is de_DE.UTF-8"
    });
}

#[test]
fn a_wrong_file_is_refused_with_its_line_by_everything_that_needs_it() {
    let home = Home::with("theme = 'dark'\n\n[keys]\nquit = 'spacebar'\n");
    let named = home.file();
    let named = named.to_str().expect("a path in UTF-8");
    let sentence =
        "numatrace: ~/.config/numatrace/config.toml, line 4: there is no key 'spacebar': a key is one character, ";
    for args in
        [&["config"][..], &["config", "--config", named], &["-a", "--config", named], &["demo", "--config", named]]
    {
        let said = home.refusal(args, &[]);
        assert!(said.starts_with(sentence), "{args:?}: {said}");
    }
    // Where no dashboard is drawn and nobody named it, it stands in nobody's way, and is not passed over in silence.
    for (args, notes) in [(&["report", RECORDING][..], 1), (&["report", RECORDING, "--config", "/dev/null"], 0)] {
        let report = home.run(args, &[]);
        let said = String::from_utf8_lossy(&report.stderr).replace(home.0.path().to_str().expect("a path"), "~");
        assert!(report.status.success() && said.lines().count() == notes, "{args:?}: {said}");
        assert!(
            said.lines()
                .all(|line| line.starts_with(sentence) && line.ends_with("; findings go by their usual limits"))
        );
    }
    let said = home.refusal(&["report", RECORDING, "--config", named], &[]);
    assert!(said.starts_with(sentence), "{said}");
    assert!(home.prints(&["--config", "/dev/null"], &[]).contains("quit = \"q\"  # default"));
    // Its place can be asked for, to mend it.
    assert_eq!(home.prints(&["--path"], &[]), "~/.config/numatrace/config.toml\n");
}

#[test]
fn each_kind_of_wrong_file_has_its_sentence() {
    let cases: &[(&str, &str)] = &[
        (
            "theme = 'drak'",
            "line 1: there is no theme 'drak': it is one of \"dark\", \"light\", \"high-contrast\", \"colour-blind\", \"none\"",
        ),
        (
            "\ncolours = 256",
            "line 2: there is no set of colours 256: it is one of \"auto\", \"none\", \"16\", \"256\", \"true\"",
        ),
        ("ascii = 'yes'", "line 1: ascii is \"auto\", true or false, not 'yes'"),
        (
            "colors = '256'",
            "line 1: there is no key `colors`: it is one of `theme`, `colours`, `ascii`, `dashboard`, `findings`, `keys`",
        ),
        (
            "[dashboard]\nwindow = 10",
            "line 2: there is no window 10: it is one of \"start\", \"interval\", \"10s\", \"1m\"",
        ),
        (
            "[keys]\nsort = 'n'\nquit = 'n'",
            "line 3: n is the key of both quit and sort: give one of them another key, or none, which is []",
        ),
        ("[keys]\nhelp = 'ctrl-c'", "line 2: ctrl-c always quits"),
        ("[keys]\n\nexit = 'n'", "line 3: nothing is called 'exit' that a key can do: it is one of quit, help, "),
        ("[findings]\npartial.lost-share = 2", "line 2: partial.lost-share is from 0 to 1, not 2"),
        ("[findings.partial]\nlost = 2", "line 2: the rule partial has no limit 'lost': it has lost-share, "),
        ("theme = dark", "line 1: string values must be quoted, expected literal string"),
        ("[keys", "line 1: unclosed table, expected `]`"),
        ("theme = '\u{1b}[2J'", "line 1: "),
    ];
    for (text, why) in cases {
        let said = Home::with(text).refusal(&["config"], &[]);
        assert!(said.starts_with(&format!("numatrace: ~/.config/numatrace/config.toml, {why}")), "{text}: {said}");
        assert!(!said.contains(|c: char| c.is_control() && c != '\n'), "{said:?}");
    }
}

#[test]
fn what_is_no_file_to_read_is_refused() {
    let home = Home::empty();
    let said = home.refusal(&["config", "--config", "/no/such/file"], &[]);
    assert_eq!(said, "numatrace: /no/such/file: it cannot be read: No such file or directory (os error 2)\n");
    assert!(home.refusal(&["config", "--config", "/etc"], &[]).contains("it is a folder"));
    fs::create_dir_all(home.file()).expect("a folder");
    assert!(home.refusal(&["config"], &[]).contains("it is a folder"));
    let home = Home::with(&"# long\n".repeat(10_000));
    assert!(home.refusal(&["config"], &[]).contains("larger than 64 KiB"));
}

/// As root under sudo: nobody learns by a message what they could not read.
#[test]
fn under_sudo_the_file_is_that_of_the_user_and_no_other_is_read() {
    if !is_root() {
        return;
    }
    let sudo = |home: &Home| -> Vec<(&'static str, String)> {
        let folder = home.0.path().join(".config").to_str().expect("a path in UTF-8").to_owned();
        let ids = [("SUDO_UID", "65534".into()), ("SUDO_GID", "65534".into()), ("SUDO_USER", "nobody".into())];
        ids.into_iter().chain([("XDG_CONFIG_HOME", folder)]).collect()
    };
    let refusal = |home: &Home, args: &[&str]| {
        let env = sudo(home);
        home.refusal(args, &env.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>())
    };
    let give = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
        chown(path, Some(65_534), Some(65_534)).expect("an owner");
    };
    let home = Home::with("theme = 'light'\n");
    give(&home.file(), 0o600);
    let env = sudo(&home);
    let env: Vec<_> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert!(home.prints(&[], &env).contains("theme = \"light\"  # file"));

    let secret = home.0.path().join("secret");
    fs::write(&secret, "root:$6$secret:19000\n").expect("a file");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("a mode");
    let named = secret.to_str().expect("a path in UTF-8");
    let said = refusal(&home, &["config", "--config", named]);
    assert!(said.contains("it cannot be read: Permission denied") && !said.contains("$6$"), "{said}");
    // A link to it, in the place of the file.
    fs::remove_file(home.file()).expect("it is there");
    symlink(&secret, home.file()).expect("a link");
    let said = refusal(&home, &["config"]);
    assert!(said.contains("it cannot be read: Permission denied") && !said.contains("$6$"), "{said}");
    // One to a file that is the user's to read is followed, as those who keep their files elsewhere have it.
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).expect("a mode");
    fs::write(&secret, "theme = 'light'").expect("a file");
    assert!(home.prints(&[], &env).contains("theme = \"light\"  # file"));
    // A link to the folder that it is in.
    let folder = home.0.path().join("closed/numatrace");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("config.toml"), "root:$6$secret:19000\n").expect("a file");
    fs::set_permissions(home.0.path().join("closed"), fs::Permissions::from_mode(0o700)).expect("a mode");
    fs::remove_dir_all(home.0.path().join(".config")).expect("it is there");
    symlink(home.0.path().join("closed"), home.0.path().join(".config")).expect("a link");
    let said = refusal(&home, &["config"]);
    assert!(said.contains("Permission denied") && !said.contains("$6$"), "{said}");
}

/// Of all commands that have findings: what the file says, and over it the command line.
#[test]
fn limits_of_the_file_hold_for_reports() {
    let home = Home::with("[findings]\npartial.lost-share = 0.9\n");
    let severities = |args: &[&str]| -> Vec<String> {
        let output = home.run(&[&["report", RECORDING, "--findings", "-f", "json"], args].concat(), &[]);
        assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        found.as_array().expect("an array").iter().map(|one| one["severity"].as_str().expect("a word").into()).collect()
    };
    assert_eq!(severities(&[]), ["info"]);
    assert_eq!(severities(&["--config", "/dev/null"]), ["warn"]);
    assert_eq!(severities(&["--limit", "partial.lost-share=0.01"]), ["warn"]);
    assert_eq!(severities(&["--limit", "partial=off"]), [""; 0]);
    let line = "partial.lost-share = 0.25  # command line; ";
    let printed = home.prints(&["--limit", "partial.lost-share=0.25"], &[]);
    assert!(printed.lines().any(|printed| printed.starts_with(line)), "{printed}");
}

/// The real dashboard over a recording, in a locale that is not UTF-8.
#[test]
fn a_dashboard_is_as_its_file_says() -> anyhow::Result<()> {
    if let Some(why) = tmux::cannot_run() {
        assert!(std::env::var_os("CI").is_none(), "{why}");
        eprintln!("skipped: {why}");
        return Ok(());
    }
    let home = Home::with("[dashboard]\ntab = 'threads'\nsort = 'tid'\n[keys]\nquit = 'f10'\nhelp = ['ctrl-g', 'n']\n");
    let xdg = home.0.path().join(".config");
    let program = program("numatrace")?;
    let folder = program.parent().expect("a program is in a folder");
    let variables = [("XDG_CONFIG_HOME", xdg.to_str().expect("a path in UTF-8"))];
    let tmux = Tmux::shell((120, 24), folder, &variables, Duration::from_secs(60))?;
    let recording = fs::canonicalize(RECORDING)?;
    let replay = |flags: &str| format!("LC_ALL=C numatrace replay --paused --from 2s {flags} {}", recording.display());

    tmux.type_line(&replay(""))?;
    let screen = tmux.wait_for("the threads", |screen| screen.has("sorted by tid ^") && screen.has("spins"))?;
    assert!(screen.0.iter().all(|line| line.is_ascii()), "{screen}");
    assert!(screen.last().starts_with("F10 quit  Ctrl-G help"), "{screen}");
    // Neither the usual key nor any other ends it or opens the help.
    tmux.press(&["q", "?", "C-x"])?;
    tmux.repaint()?;
    tmux.wait_for("the threads again", |screen| screen.has("sorted by tid ^"))?;
    tmux.press(&["C-g"])?;
    let help = tmux.wait_for("the help", |screen| screen.has("Ctrl-G closes"))?;
    assert!(help.has(" F10, Ctrl-C "), "{help}");
    tmux.press(&["n"])?;
    tmux.wait_for("the threads", |screen| screen.has("sorted by tid ^"))?;
    tmux.press(&["F10"])?;
    tmux.wait_for_prompt()?;

    // The command line over the file, and over the locale.
    tmux.type_line(&replay("--ascii=false --theme high-contrast"))?;
    tmux.wait_for("the threads", |screen| screen.has("sorted by tid ▲"))?;
    let styled = tmux.styled_screen()?;
    assert!(styled.has("48;5;16"), "black behind all: {styled}");
    tmux.press(&["C-c"])?;
    tmux.wait_for_prompt()?;

    fs::write(home.file(), "theme = 'drak'\n")?;
    tmux.type_line(&replay(""))?;
    tmux.wait_for("the refusal", |screen| screen.has("config.toml, line 1: there is no theme 'drak': it is one of "))?;
    tmux.wait_for_prompt()?;
    Ok(())
}

/// The table of keys and the example of the documentation are those of the program; `NUMATRACE_BLESS=1` writes the table
/// anew.
#[test]
fn the_documentation_has_every_key_and_an_example_that_is_right() {
    const HEAD: &str = "| name | default | does |\n| --- | --- | --- |\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let text = fs::read_to_string(&path).expect("the documentation");
    let (before, table) = text.split_once(HEAD).expect("a table of keys");
    let key = |key: &Key| {
        let name = key_name(*key);
        format!("`{}`", if matches!(key, Key::Char(_)) { name } else { name.to_lowercase() })
    };
    let line = |binding: &Binding| {
        let keys: Vec<String> = binding.keys.iter().map(key).collect();
        format!("| `{}` | {} | {} |\n", binding.name, keys.join(" "), binding.what)
    };
    let wanted: String = BINDINGS.iter().map(line).collect();
    if golden::blessing() {
        fs::write(&path, format!("{before}{HEAD}{wanted}")).expect("a writable tree");
    } else {
        assert!(table == wanted, "{} does not have\n{wanted}", path.display());
    }
    let example = before.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let file = File::parse(example).expect("the example is right");
    assert_eq!(file.keys.bound, ["quit", "pause", "record"]);
}
