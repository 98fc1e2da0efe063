//! What is recorded: a pair over a pipe, many processes that send messages to each other, and a compiler at work.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

/// Groups of `perf bench sched messaging`, of 40 processes each.
const GROUPS: u32 = 10;
/// Compilers at once.
const COMPILERS: usize = 4;
/// Modules of what each of them compiles.
const MODULES: usize = 6;

/// The three, so large that each takes some seconds.
pub struct Mix {
    loops: u32,
    folder: PathBuf,
    sources: Vec<PathBuf>,
}

/// The names of the parts, in their order.
pub const PARTS: [&str; 3] = ["pipe", "messaging", "compiler"];

impl Mix {
    /// With so many round trips over the pipe, and as much of the rest. Writes into the folder what is compiled.
    pub fn new(loops: u32, scratch: &Path) -> Result<Mix> {
        let folder = scratch.join("build");
        fs::create_dir_all(&folder)?;
        let sources = (0..COMPILERS)
            .map(|at| {
                let path = folder.join(format!("part{at}.rs"));
                fs::write(&path, source(MODULES)).map(|()| path)
            })
            .collect::<std::io::Result<_>>()?;
        Ok(Mix { loops, folder, sources })
    }

    /// In words.
    pub fn describe(&self) -> String {
        format!(
            "`perf bench sched pipe -l {}`, `perf bench sched messaging -g {GROUPS} -l {}`, and {COMPILERS} rustc at once",
            self.loops,
            self.messages()
        )
    }

    /// About as many switches as the pipe makes.
    fn messages(&self) -> u32 {
        (self.loops / 400).max(1)
    }

    /// Runs one part after the other. Returns how long each took.
    pub fn run(&self) -> Result<[Duration; PARTS.len()]> {
        let (loops, messages) = (self.loops.to_string(), self.messages().to_string());
        let bench = |args: &[&str]| {
            timed(vec![quiet(Command::new("perf").args(["bench", "-f", "simple", "sched"]).args(args))])
        };
        let pipe = bench(&["pipe", "-l", &loops])?;
        let messaging = bench(&["messaging", "-g", &GROUPS.to_string(), "-l", &messages])?;
        Ok([pipe, messaging, self.build()?])
    }

    fn build(&self) -> Result<Duration> {
        let compile = |source: &PathBuf| {
            let mut command = Command::new("rustc");
            command.args(["--edition", "2021", "--crate-type", "rlib", "-C", "opt-level=1", "--out-dir"]);
            quiet(command.arg(&self.folder).arg(source))
        };
        timed(self.sources.iter().map(compile).collect())
    }
}

/// Starts it with nothing to read and nothing to say.
fn quiet(command: &mut Command) -> Result<Child> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().with_context(|| format!("cannot start {name}"))
}

/// Until all have ended.
fn timed(children: Vec<Result<Child>>) -> Result<Duration> {
    let started = Instant::now();
    for child in children {
        let status = child?.wait()?;
        ensure!(status.success(), "a part of the workload ended with {status}");
    }
    Ok(started.elapsed())
}

/// Something to compile that needs nothing but the standard library.
fn source(modules: usize) -> String {
    let mut text = String::new();
    for at in 0..modules {
        let _ = write!(
            text,
            "pub mod m{at} {{
    use std::collections::BTreeMap;
    #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub struct Item {{ pub id: u64, pub name: String, pub tags: Vec<String>, pub next: Option<Box<Item>> }}
    pub fn index(items: &[Item]) -> BTreeMap<String, Vec<Item>> {{
        let mut map: BTreeMap<String, Vec<Item>> = BTreeMap::new();
        for item in items {{
            map.entry(format!(\"{{}}-{{}}\", item.name, item.id % ({at} + 2))).or_default().push(item.clone());
        }}
        map.values_mut().for_each(|items| items.sort());
        map
    }}
}}
"
        );
    }
    text
}
