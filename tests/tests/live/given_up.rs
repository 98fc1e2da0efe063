//! What numatrace gives up once it is attached: it becomes the user who called sudo, each thread keeps what its work needs, and
//! all that was measured before still is.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        process::CommandExt as _,
    },
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use numatrace::snapshot::sources::{PLACEMENT, WHERE as WHERE_FROM};
use numatrace_tests::{
    live::{
        PATIENCE, Report, Tracer, Workload, bpf,
        credentials::{
            BPF, CHECKPOINT_RESTORE, Credentials, DAC_READ_SEARCH, PERFMON, SYS_ADMIN, SYS_PTRACE, set, threads_of,
        },
        eventually, program,
        serve::{Server, get, value},
        touches::{Touched, start},
    },
    tty::Tty,
    workload::Kind,
};

use crate::{Case, Scratch, rights::as_nobody};

pub const CASES: &[Case] = &[
    ("under_sudo_every_thread_is_the_user_and_keeps_what_it_needs", under_sudo),
    ("without_sudo_root_keeps_the_same_and_no_more", as_root),
    ("without_scans_of_pages_nothing_may_administer", without_frames),
    ("a_command_gets_none_of_it_and_is_ended_all_the_same", command),
    ("the_dashboard_is_filtered_and_saves_as_the_user", dashboard),
    ("a_terminal_that_goes_away_ends_it_and_leaves_nothing_attached", terminal_gone),
    ("files_in_roots_folders_are_written_all_the_same", files),
    ("a_flight_recorder_says_at_once_where_the_user_cannot_write", flight),
    ("serve_reads_keys_that_are_for_root_alone_again", serve),
    ("recordings_need_no_rights_at_all", no_rights),
];

/// An ordinary user.
const USER: &str = "65534";
/// What the thread keeps that reads maps of the kernel and files of /proc.
const ENGINE: [u32; 5] = [BPF, PERFMON, SYS_PTRACE, DAC_READ_SEARCH, SYS_ADMIN];
/// And the one that names places.
const WHERE: [u32; 3] = [SYS_PTRACE, DAC_READ_SEARCH, CHECKPOINT_RESTORE];

/// numatrace as sudo starts it for nobody.
fn sudo() -> Result<Command> {
    let mut command = Command::new(program("numatrace")?);
    command.env("SUDO_UID", USER).env("SUDO_GID", USER).env("SUDO_USER", "nobody");
    Ok(command)
}

/// A thread by the beginning of its name has these capabilities, no others, and a filter or none.
fn has(threads: &[Credentials], name: &str, capabilities: &[u32], filtered: bool) -> Result<()> {
    let mut found = threads.iter().filter(|thread| thread.name.starts_with(name)).peekable();
    ensure!(found.peek().is_some(), "there is no thread {name} in {threads:#?}");
    for thread in found {
        for field in ["CapPrm", "CapEff"] {
            let has = thread.word(field);
            ensure!(has == set(capabilities), "{}: {field} is {has}, not {}", thread.name, set(capabilities));
        }
        let seccomp = thread.word("Seccomp");
        ensure!(seccomp == if filtered { "2" } else { "0" }, "{}: Seccomp {seccomp}", thread.name);
    }
    Ok(())
}

/// What is true of each thread.
fn all(threads: &[Credentials], user: &str) -> Result<()> {
    ensure!(threads.len() >= 2, "{threads:#?}");
    for thread in threads {
        for field in ["Uid", "Gid"] {
            let ids = thread.field(field);
            ensure!(ids.iter().all(|id| id == user) && ids.len() == 4, "{}: {field} {ids:?}", thread.name);
        }
        for field in ["CapInh", "CapBnd", "CapAmb"] {
            ensure!(thread.word(field) == set(&[]), "{}: {field} is {}", thread.name, thread.word(field));
        }
        ensure!(thread.word("NoNewPrivs") == "1", "{}: NoNewPrivs {}", thread.name, thread.word("NoNewPrivs"));
    }
    Ok(())
}

/// Names of sources that work.
fn on(report: &Report) -> Vec<&str> {
    let sources = report.0["sources"].as_array().map(Vec::as_slice).unwrap_or_default();
    sources.iter().filter(|source| source["state"] != "off").filter_map(|source| source["name"].as_str()).collect()
}

/// Another user's process, touched pages and all, traced by this command with these capabilities left.
fn traces(mut command: Command, user: &str) -> Result<()> {
    let mut workload = start(Kind::Anon, 256, (0, 0))?;
    let pid = workload.pid.to_string();
    command.args(["live", "-f", "json", "--interval", "200ms", "--pid", &pid]);
    let mut tracer = Tracer::spawn(command)?;
    tracer.next_report()?;
    let threads = threads_of(tracer.pid())?;
    all(&threads, user)?;
    has(&threads, "numatrace-drain", &[], true)?;
    has(&threads, "numatrace-where", &WHERE, false)?;
    let main: Vec<_> = threads.iter().filter(|thread| thread.name == "numatrace").cloned().collect();
    has(&main, "numatrace", &ENGINE, false)?;
    ensure!(threads.iter().all(|thread| thread.name != "numatrace-spawn"), "{threads:#?}");
    let done = workload.run()?;
    // Scans of where its memory lies go on, of another user's process.
    eventually("pages of the process are placed", PATIENCE, || {
        Ok(!tracer.next_report()?.0["placement_pages"].is_null())
    })?;
    let report = tracer.stop()?;
    let tid = workload.tid("toucher")?;
    workload.finish()?;
    Touched::new(Kind::Anon, (0, 0), done, tid).is_exact(&report)?;
    let places = report.thread(tid)?.0["where"].to_string();
    ensure!(places.contains("workload::") || places.contains("touch"), "its code has no names: {places}");
    for source in [PLACEMENT[0], WHERE_FROM[0]] {
        ensure!(on(&report).contains(&source), "{source} is not on: {}", report.0["sources"]);
    }
    Ok(())
}

fn under_sudo() -> Result<()> {
    traces(sudo()?, USER)
}

fn as_root() -> Result<()> {
    let mut command = Command::new(program("numatrace")?);
    // Whoever runs this may have called sudo.
    ["SUDO_UID", "SUDO_GID", "SUDO_USER", "DOAS_USER", "PKEXEC_UID"].iter().for_each(|name| {
        command.env_remove(name);
    });
    traces(command, "0")
}

fn without_frames() -> Result<()> {
    let mut command = sudo()?;
    command.args(["live", "-f", "json", "--interval", "100ms", "--all", "--page-source", "off"]);
    let mut tracer = Tracer::spawn(command)?;
    tracer.next_report()?;
    let threads = threads_of(tracer.pid())?;
    all(&threads, USER)?;
    let main: Vec<_> = threads.iter().filter(|thread| thread.name == "numatrace").cloned().collect();
    has(&main, "numatrace", &[BPF, PERFMON, SYS_PTRACE, DAC_READ_SEARCH], false)?;
    tracer.stop()?;
    Ok(())
}

fn command() -> Result<()> {
    let scratch = Scratch::new("given-up-command")?;
    let report = scratch.0.join("report.json");
    let run = |line: &[&str]| -> Result<std::process::Output> {
        let mut command = sudo()?;
        command.args(["live", "-f", "json", "-d", "2s", "-o"]).arg(&report).arg("--").args(line);
        Ok(command.stdin(Stdio::null()).output()?)
    };
    let output = run(&["cat", "/proc/self/status"])?;
    ensure!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    let traced = Credentials::parse(&String::from_utf8_lossy(&output.stdout));
    ensure!(traced.field("Uid") == [USER; 4] && traced.field("Gid") == [USER; 4], "{traced:?}");
    ensure!(traced.field("Groups") == [USER], "{traced:?}");
    ensure!(traced.word("NoNewPrivs") == "0" && traced.word("Seccomp") == "0", "{traced:?}");
    ensure!(traced.word("CapBnd") != set(&[]), "what it executes could have no capabilities: {traced:?}");
    let output = run(&["sleep", "1000"])?;
    ensure!(output.status.code() == Some(128 + libc::SIGTERM), "{}", output.status);
    ensure!(fs::metadata(&report)?.uid().to_string() == USER, "the report belongs to another");
    Ok(())
}

fn dashboard() -> Result<()> {
    use std::io::{Read as _, Write as _};
    let scratch = Scratch::new("given-up-dashboard")?;
    let workload = Workload::start(&["sleeper", "--seconds", "600"])?;
    let mut command = sudo()?;
    command.args(["--pid", &workload.pid.to_string()]).env("TERM", "xterm-256color").current_dir(&scratch.0);
    let (mut terminal, mut child) = Tty::open(120, 40)?.spawn(command)?;
    let mut screen = terminal.try_clone()?;
    // Somebody has to read, or it could not write any more.
    let reader = std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while screen.read(&mut bytes).is_ok_and(|read| read > 0) {}
    });
    let threads = || threads_of(child.id());
    eventually("keys are read", PATIENCE, || {
        Ok(threads()?.iter().any(|thread| thread.name.starts_with("numatrace-keys")))
    })?;
    let with = |suffix: &str| -> Result<Vec<u32>> {
        let names = fs::read_dir(&scratch.0)?.flatten();
        let names = names.filter(|entry| entry.path().extension().is_some_and(|found| found == suffix));
        Ok(names.filter_map(|entry| Some(entry.metadata().ok()?.uid())).collect())
    };
    terminal.write_all(b"p")?;
    eventually("the screen is saved", PATIENCE, || Ok(with("svg")?.len() == 1))?;
    terminal.write_all(b"r")?;
    eventually("it records", PATIENCE, || Ok(with("numatrace")?.len() == 1))?;
    ensure!(with("svg")? == [65_534] && with("numatrace")? == [65_534], "files are another's");
    // It begins as the thread that made it.
    eventually("the thread that writes has settled", PATIENCE, || {
        Ok(has(&threads()?, "numatrace-write", &[], false).is_ok())
    })?;
    let now = threads()?;
    all(&now, USER)?;
    let main: Vec<_> = now.iter().filter(|thread| thread.name == "numatrace").cloned().collect();
    has(&main, "numatrace", &[], true)?;
    has(&now, "numatrace-keys", &[], true)?;
    has(&now, "numatrace-drain", &[], true)?;
    has(&now, "numatrace-write", &[], false)?;
    has(&now, "numatrace-engin", &ENGINE, false)?;
    // Other programs of the user cannot look into it, though they may look into each other.
    let looks = |pid: u32| {
        let mut looks = Command::new("cat");
        looks.arg(format!("/proc/{pid}/environ")).uid(65_534).gid(65_534).stdout(Stdio::null()).stderr(Stdio::null());
        looks.status().map(|status| status.success())
    };
    let mut other = Command::new("sleep").arg("600").uid(65_534).gid(65_534).spawn()?;
    let (into_other, into_it) = (looks(other.id()), looks(child.id()));
    other.kill()?;
    other.wait()?;
    ensure!(into_other? && !into_it?, "another program of the user can look into it, or into none");
    terminal.write_all(b"q")?;
    ends_well(&mut child)?;
    drop(terminal);
    reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))?;
    Ok(())
}

/// The terminal is closed under the dashboard, as when a connection breaks.
fn terminal_gone() -> Result<()> {
    use std::{
        io::Read as _,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
    };
    let workload = Workload::start(&["sleeper", "--seconds", "600"])?;
    let before = bpf::programs()?;
    let mut command = sudo()?;
    command.args(["-i", "100ms", "--pid", &workload.pid.to_string()]).env("TERM", "xterm-256color");
    let (terminal, mut child) = Tty::open(120, 40)?.spawn(command)?;
    let gone = Arc::new(AtomicBool::new(false));
    let (mut screen, goes) = (terminal.try_clone()?, Arc::clone(&gone));
    // Somebody has to read, or it could not write any more; it draws several times a second, so this ends.
    let reader = std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while screen.read(&mut bytes).is_ok_and(|read| read > 0) && !goes.load(Ordering::Relaxed) {}
    });
    eventually("keys are read", PATIENCE, || {
        Ok(threads_of(child.id())?.iter().any(|thread| thread.name.starts_with("numatrace-keys")))
    })?;
    ensure!(!bpf::held_by(child.id())?.is_empty(), "it holds no programs: how would one see that they are gone?");
    gone.store(true, Ordering::Relaxed);
    drop(terminal);
    reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))?;
    ends_well(&mut child)?;
    bpf::nothing_left(&before)
}

/// A folder that only root may enter.
fn roots_folder(scratch: &Scratch) -> Result<std::path::PathBuf> {
    let folder = scratch.0.join("roots");
    fs::create_dir_all(&folder)?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
    Ok(folder)
}

fn files() -> Result<()> {
    let scratch = Scratch::new("given-up-files")?;
    let folder = roots_folder(&scratch)?;
    let succeeds = |args: &[&str], path: &Path| -> Result<()> {
        let mut command = sudo()?;
        command.args(args).args(["--all", "-d", "200ms", "-o"]).arg(path);
        let output = command.stdin(Stdio::null()).output()?;
        ensure!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    };
    for inside in [&folder, &scratch.0] {
        let (recording, report) = (inside.join("run.numatrace"), inside.join("report.json"));
        succeeds(&["record", "-q"], &recording)?;
        succeeds(&["record", "-q", "--force"], &recording)?;
        // A longer one was there before: nothing of it is left.
        fs::write(&report, "x".repeat(1 << 20))?;
        succeeds(&["live", "-q", "-f", "json"], &report)?;
        let document: serde_json::Value = serde_json::from_slice(&fs::read(&report)?)?;
        ensure!(document["totals"].is_object(), "no report: {document}");
        let new = inside.join("new.json");
        succeeds(&["live", "-q", "-f", "json"], &new)?;
        for path in [&recording, &new] {
            let uid = fs::metadata(path)?.uid();
            ensure!(uid == 65_534, "{} belongs to {uid}", path.display());
        }
        let left = fs::read_dir(inside)?.flatten().filter(|entry| entry.path().is_file()).count();
        ensure!(left == 3, "{left} files in {}", inside.display());
    }
    Ok(())
}

fn flight() -> Result<()> {
    let scratch = Scratch::new("given-up-flight")?;
    let folder = roots_folder(&scratch)?;
    let run = |path: &Path| -> Result<std::process::Output> {
        let mut command = sudo()?;
        command.args(["record", "--last", "1s", "--trigger", "end", "--all", "-d", "300ms", "-o"]).arg(path);
        Ok(command.stdin(Stdio::null()).output()?)
    };
    let output = run(&folder.join("slow.numatrace"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(1) && said.contains("as user id 65534, who called sudo"), "{said}");
    let output = run(&scratch.0.join("slow.numatrace"))?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found = fs::read_dir(&scratch.0)?.flatten().find(|entry| entry.path().extension().is_some());
    let uid = found.context("no file was written")?.metadata()?.uid();
    ensure!(uid == 65_534, "it belongs to {uid}");
    Ok(())
}

fn serve() -> Result<()> {
    let scratch = Scratch::new("given-up-serve")?;
    let folder = roots_folder(&scratch)?;
    let web = folder.join("web.yml");
    fs::write(&web, "http_server_config: {headers: {X-Frame-Options: deny}}\n")?;
    let mut command = sudo()?;
    command.args(["serve", "--listen", "127.0.0.1:0", "--web-config"]).arg(&web);
    let server = Server::spawn(command)?;
    let metrics = server.metrics()?;
    let threads = threads_of(server.pid())?;
    all(&threads, USER)?;
    let main: Vec<_> = threads.iter().filter(|thread| thread.name == "numatrace").cloned().collect();
    has(&main, "numatrace", &[DAC_READ_SEARCH], false)?;
    for reader in ["numatrace-count", "numatrace-sums"] {
        has(&threads, reader, &[BPF, PERFMON, SYS_PTRACE, DAC_READ_SEARCH], false)?;
    }
    ensure!(value(&metrics, "numatrace_tracked_threads").is_some_and(|threads| threads > 3.0), "{metrics}");
    // It asks for a password from then on.
    fs::write(&web, format!("basic_auth_users:\n  alice: {}\n", bcrypt::hash("secret", 4)?))?;
    eventually("the file was read again", Duration::from_secs(30), || {
        Ok(get(server.address, "/metrics").is_ok_and(|(status, _)| status == 401))
    })?;
    server.stop()
}

fn no_rights() -> Result<()> {
    let scratch = Scratch::new("given-up-none")?;
    let mut command = Command::new(program("numatrace")?);
    let recording = scratch.0.join("run.numatrace");
    command.args(["record", "-q", "--all", "-d", "500ms", "-o"]).arg(&recording);
    ensure!(command.status()?.success(), "no recording");
    fs::set_permissions(&recording, fs::Permissions::from_mode(0o644))?;
    let path = recording.to_string_lossy().into_owned();
    let out = scratch.0.join("out").to_string_lossy().into_owned();
    let perf = scratch.0.join("perf.data");
    let packed = xtask::shell::root().join("tests/fixtures/perf/wakeups.data.zst");
    fs::write(&perf, zstd::decode_all(fs::File::open(packed)?)?)?;
    let perf = perf.to_string_lossy().into_owned();
    for args in [
        &["report", &path][..],
        &["diff", &path, &path],
        &["export", &path, "-f", "csv", "-o", &format!("{out}.csv")],
        &["import", &perf, "-o", &format!("{out}.numatrace")],
        &["config"],
        &["man"],
        &["completions", "bash"],
    ] {
        let output = as_nobody(&scratch, &[])?.args(args).stdin(Stdio::null()).output()?;
        ensure!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let mut command = as_nobody(&scratch, &[])?;
    command.args(["replay", &path]).env("TERM", "xterm-256color").current_dir(&scratch.0);
    let (mut terminal, mut child) = Tty::open(120, 40)?.spawn(command)?;
    let mut screen = terminal.try_clone()?;
    let reader = std::thread::spawn(move || {
        use std::io::Read as _;
        let mut bytes = [0; 4096];
        while screen.read(&mut bytes).is_ok_and(|read| read > 0) {}
    });
    eventually("keys are read", PATIENCE, || {
        let threads = threads_of(child.id())?;
        Ok(threads.iter().any(|thread| thread.name.starts_with("numatrace-keys")))
    })?;
    let threads = threads_of(child.id())?;
    has(&threads, "numatrace-keys", &[], true)?;
    let main: Vec<_> = threads.iter().filter(|thread| thread.name == "numatrace").cloned().collect();
    has(&main, "numatrace", &[], true)?;
    std::io::Write::write_all(&mut terminal, b"q")?;
    ends_well(&mut child)?;
    drop(terminal);
    reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))?;
    Ok(())
}

fn ends_well(child: &mut std::process::Child) -> Result<()> {
    let mut status = None;
    eventually("it has ended", PATIENCE, || {
        status = child.try_wait()?;
        Ok(status.is_some())
    })?;
    ensure!(status.is_some_and(|status| status.success()), "{status:?}");
    Ok(())
}
