//! `numatrace record --last`: keeps the last seconds, and writes them when somebody or something asks.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use indicatif::ProgressBar;

use crate::{
    cli::{FlightArgs, RecordArgs},
    collect::live::End,
    model::Model,
    recording::{
        create::NewFile,
        flight::{Done, Flight},
    },
    rights::{self, Role},
    snapshot::Snapshot,
    text,
    trigger::{Interval, Trigger},
    window,
};

use super::{
    engine::Engine,
    interrupt,
    keys::Enter,
    launch::Stdio,
    record::{line, why_ended},
    recording::new_file,
    traced::Traced,
};

/// Keeps the last `last` of what the arguments name.
///
/// # Errors
/// One sentence about what stands in the way.
pub fn run(args: &RecordArgs, last: Duration) -> anyhow::Result<ExitCode> {
    let mut traced = Traced::find(&args.filter, &args.roots, Stdio::Inherited)?;
    let place = Place::of(&args.file.output);
    let setup = traced.setup(&args.run, &args.trace);
    rights::begin(setup.needs());
    try_place(&place)?;
    let stop = interrupt::catch()?;
    let wanted = interrupt::catch_usr1()?;
    let pace = setup.pace(args.run.duration);
    let mut engine: Engine<Model> = Engine::start(&setup, pace, &stop)?;
    let head = engine.head(args.file.anonymize);
    let last_ns = u64::try_from(last.as_nanos()).unwrap_or(u64::MAX);
    engine.flight = Some(Flight::begin(last_ns, &head.meta, args.file.anonymize)?);
    traced.release()?;
    rights::settle(Role::Engine)?;
    let mut recorder = Recorder {
        args,
        place,
        // A command that was started has the terminal.
        enter: if args.file.quiet || setup.command.is_some() { None } else { Enter::of_terminal() },
        wanted,
        asked: None,
        writing: None,
        before: None,
        quiet_until_ns: 0,
        files: 0,
        failed: 0,
    };
    if !args.file.quiet {
        engine.note(&recorder.hello(&setup.target.label, last));
    }
    let ended = recorder.follow(&mut engine);
    recorder.finish(&mut engine, &ended)?;
    let ended = ended?;
    recorder.say_end(&engine, ended);
    let code = traced.end();
    // Who waits for a file must not take this for success.
    Ok(if recorder.failed > 0 { ExitCode::FAILURE } else { code })
}

/// That no file can be made there is better known now than when one is wanted, with the rights that are left then.
fn try_place(place: &Place) -> anyhow::Result<()> {
    let path = place.named(&format!("test-{}", std::process::id()));
    let tried = rights::with_those_of(Role::Write, move || new_file(&path, false))?;
    let whose = rights::who().map(|user| format!("as user id {}, who called sudo", user.uid));
    match (tried, whose) {
        (Err(error), Some(whose)) => Err(error.context(whose)),
        (tried, _) => tried.map(drop),
    }
}

/// Where files go: found out once, for a folder may go away meanwhile.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Folder(PathBuf),
    Beside(PathBuf),
}

impl Place {
    fn of(path: &Path) -> Place {
        if path.is_dir() { Place::Folder(path.to_owned()) } else { Place::Beside(path.to_owned()) }
    }

    /// A file with this in its name.
    fn named(&self, what: &str) -> PathBuf {
        let path = match self {
            Place::Folder(folder) => return folder.join(format!("numatrace-{what}.numatrace")),
            // Which is refused as what it is.
            Place::Beside(path) if path == Path::new("-") => return path.clone(),
            Place::Beside(path) => path,
        };
        let mut name = path.file_stem().unwrap_or_default().to_owned();
        name.push("-");
        name.push(what);
        if let Some(extension) = path.extension() {
            name.push(".");
            name.push(extension);
        }
        path.with_file_name(name)
    }
}

/// A file that is being written.
struct Writing {
    file: NewFile,
    /// As it is shown.
    path: String,
    why: String,
}

struct Recorder<'a> {
    args: &'a RecordArgs,
    place: Place,
    enter: Option<Enter>,
    /// SIGUSR1 came.
    wanted: Arc<AtomicBool>,
    /// Why a file is wanted that is not being written yet.
    asked: Option<String>,
    writing: Option<Writing>,
    /// The numbers at the tick before, where triggers need them.
    before: Option<Arc<Snapshot>>,
    quiet_until_ns: u64,
    files: u32,
    /// Files that were asked for and could not be written.
    failed: u32,
}

impl Recorder<'_> {
    fn flight(&self) -> &FlightArgs {
        &self.args.flight
    }

    fn hello(&self, label: &str, last: Duration) -> String {
        let key = if self.enter.is_some() { "Enter, " } else { "" };
        let triggers: Vec<String> = self.flight().triggers.iter().map(ToString::to_string).collect();
        let triggers = if triggers.is_empty() { String::new() } else { format!(", {}", triggers.join(", ")) };
        format!(
            "keeping the last {} of {label} in memory, to be written on {key}SIGUSR1 (kill -USR1 {}){triggers}",
            text::duration(u64::try_from(last.as_nanos()).unwrap_or(u64::MAX)),
            std::process::id()
        )
    }

    /// Until the run ends, or as many files are written as may be.
    fn follow(&mut self, engine: &mut Engine<Model>) -> anyhow::Result<Option<End>> {
        let progress = line(self.args.file.quiet);
        loop {
            let end = engine.to_tick(&mut |_| {})?;
            let Some(flight) = &mut engine.flight else { bail!("nothing is kept") };
            flight.check().context("the last seconds cannot be kept any further")?;
            engine.look_up();
            // After it: what was read now is what the next records are counted from.
            if let Engine { flight: Some(flight), model, .. } = &mut *engine {
                flight.tick(model);
            }
            self.look(engine);
            if let Some(done) = engine.flight.as_mut().and_then(Flight::done) {
                progress.suspend(|| self.written(done));
            }
            progress.suspend(|| self.write(engine));
            if end.is_some() {
                progress.finish_and_clear();
                return Ok(end);
            }
            if self.files >= self.flight().max_files {
                progress.finish_and_clear();
                return Ok(None);
            }
            self.show(&progress, engine);
        }
    }

    /// Whether somebody or something asks for a file now.
    fn look(&mut self, engine: &Engine<Model>) {
        let signalled = self.wanted.swap(false, Ordering::Relaxed);
        let pressed = self.enter.as_mut().is_some_and(Enter::pressed);
        if signalled || pressed {
            self.asked = Some(if pressed { "Enter was pressed".into() } else { "SIGUSR1 came".into() });
        }
        if self.flight().triggers.iter().all(Trigger::is_end) {
            return;
        }
        let now = engine.model.snapshot();
        let now_ns = engine.model.now_ns();
        let before = self.before.take();
        let fired = before.filter(|_| now_ns >= self.quiet_until_ns).and_then(|before| {
            let numbers = window::since(&now, &before);
            let lost = now.loss.records_lost.saturating_sub(before.loss.records_lost);
            let interval = Interval { numbers: &numbers, lost };
            self.flight().triggers.iter().find_map(|trigger| trigger.fires(&interval))
        });
        if let Some(why) = fired {
            let cooldown = u64::try_from(self.flight().cooldown.as_nanos()).unwrap_or(u64::MAX);
            self.quiet_until_ns = now_ns.saturating_add(cooldown);
            self.asked = Some(why);
        }
        self.before = Some(Arc::new(now));
    }

    /// Begins the file that is asked for, unless one is still being written: then it is asked for again.
    fn write(&mut self, engine: &mut Engine<Model>) {
        if self.writing.is_some() || self.files >= self.flight().max_files {
            return;
        }
        let Some(why) = self.asked.take() else { return };
        if let Err(error) = self.begin(engine, &why) {
            // The run goes on: the next time there may be room.
            self.failed += 1;
            let _ = writeln!(io::stderr(), "numatrace: {why}, but no file was written: {error:#}");
        }
    }

    fn begin(&mut self, engine: &mut Engine<Model>, why: &str) -> anyhow::Result<()> {
        let now_ns = engine.model.now_ns();
        let time = jiff::Timestamp::from_nanosecond(engine.model.wall_ns(now_ns).into())?;
        let time = time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y%m%d-%H%M%S").to_string();
        // Two in one second have a number.
        let names = (1..100).map(|nth| if nth == 1 { time.clone() } else { format!("{time}-{nth}") });
        let mut path = names.map(|name| self.place.named(&name)).skip_while(|path| path.exists());
        let path = path.next().context("there are a hundred files of this second already")?;
        let file = new_file(&path, false)?;
        let mut head = engine.head(self.args.file.anonymize);
        head.cause = Some(why.to_owned());
        let flight = engine.flight.as_mut().context("nothing is kept")?;
        flight.write(file.file()?, head);
        let path = text::display_str(&path.to_string_lossy());
        self.writing = Some(Writing { file, path, why: why.to_owned() });
        Ok(())
    }

    /// A file is written, or is not.
    fn written(&mut self, done: Done) {
        let Some(Writing { mut file, path, why }) = self.writing.take() else { return };
        let kept = done.map_err(anyhow::Error::from).and_then(|written| {
            file.keep()?;
            if file.is_there() { Ok(written) } else { Err(anyhow!("it was removed meanwhile")) }
        });
        match kept {
            Ok(written) => {
                self.files += 1;
                if !self.args.file.quiet {
                    let _ = writeln!(
                        io::stderr(),
                        "numatrace: {why}: {path} has {} records, {}",
                        text::count(written.records),
                        text::bytes(written.bytes)
                    );
                }
            }
            Err(error) => {
                self.failed += 1;
                let _ = writeln!(io::stderr(), "numatrace: {why}, but {path} could not be written: {error:#}");
            }
        }
    }

    /// What is wanted when the run ends is written, and what is being written is awaited.
    fn finish(&mut self, engine: &mut Engine<Model>, ended: &anyhow::Result<Option<End>>) -> anyhow::Result<()> {
        if let Some(done) = engine.flight.as_mut().and_then(Flight::wait) {
            self.written(done);
        }
        if self.wanted.swap(false, Ordering::Relaxed) {
            self.asked.get_or_insert_with(|| "SIGUSR1 came".into());
        }
        if self.flight().triggers.iter().any(Trigger::is_end) {
            let why = match ended {
                Ok(Some(end)) => why_ended(*end),
                Ok(None) => return Ok(()),
                Err(_) => "tracing failed",
            };
            self.asked.get_or_insert_with(|| format!("the run ended ({why})"));
        }
        self.write(engine);
        if let Some(done) = engine.flight.as_mut().and_then(Flight::wait) {
            self.written(done);
        }
        Ok(())
    }

    fn show(&self, progress: &ProgressBar, engine: &Engine<Model>) {
        if progress.is_hidden() {
            return;
        }
        let held = engine.flight.as_ref().map(Flight::held).unwrap_or_default();
        let holds = held.since.map_or(0, |since| engine.model.now_ns().saturating_sub(since));
        let (lost, wanted) = engine.model.lost_of();
        let lost = match lost {
            0 => "none lost".to_owned(),
            n => format!("{} lost ({})", text::count(n), text::share(n, wanted)),
        };
        let files = match self.files {
            0 => String::new(),
            n => format!(", {n} written"),
        };
        let writing = if self.writing.is_some() { ", writing" } else { "" };
        progress.set_message(format!(
            "holds the last {} in {}, {lost}{files}{writing}; Ctrl-C ends it",
            text::duration(holds),
            text::bytes(held.bytes)
        ));
    }

    fn say_end(&self, engine: &Engine<Model>, ended: Option<End>) {
        let (lost, _) = engine.model.lost_of();
        if self.args.file.quiet && lost == 0 && self.failed == 0 {
            return;
        }
        let why = ended.map_or("as many files are written as may be (--max-files)", why_ended);
        let files = match self.files {
            0 => "no file was written".to_owned(),
            1 => "1 file was written".to_owned(),
            n => format!("{n} files were written"),
        };
        let failed = match self.failed {
            0 => String::new(),
            n => format!(", {n} could not be"),
        };
        let lasted = engine.model.now_ns().saturating_sub(engine.live.start_ns());
        let _ = writeln!(
            io::stderr(),
            "numatrace: {why} after {}: {files}{failed}, {} records lost",
            text::duration(lasted),
            text::count(lost)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_goes_before_the_extension() {
        let name = |path: &str| Place::of(Path::new(path)).named("T").to_string_lossy().into_owned();
        assert_eq!(name("/tmp/a.b.numatrace"), "/tmp/a.b-T.numatrace");
        assert_eq!(name("slow"), "slow-T");
        assert_eq!(name("d/.hidden"), "d/.hidden-T");
        assert_eq!(name("-"), "-");
        let folder = tempfile::tempdir().expect("a folder");
        let place = Place::of(folder.path());
        let expected = folder.path().join("numatrace-T.numatrace");
        drop(folder);
        assert_eq!(place.named("T"), expected, "though it is gone");
    }
}
