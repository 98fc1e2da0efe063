//! What tracing costs: numatrace beside its peers in one run, interleaved rounds, medians.
//!
//! Absolute times of a machine mean little and change from hour to hour, so each round measures every configuration
//! once, and what is told are medians of rounds and their ratios. A peer that does not work here is named with the
//! reason. The output is Markdown, for docs/performance.md.

mod beside;
mod dashboard;
mod decode;
pub mod floor;
mod frame;
mod ftrace;
mod load;
mod recording;
mod scale;
mod serve;
mod table;
mod touches;
mod usage;

use anyhow::{Result, bail};

use self::{
    beside::Beside,
    load::Load,
    table::{Rows, print_added, print_saturated},
};

/// What to measure, and how long.
#[derive(Clone, Copy, Debug)]
struct Options {
    rounds: usize,
    loops: u32,
    millis: u32,
    records: usize,
    seconds: u64,
    switches: u64,
    plot: bool,
}

const USAGE: &str = "\
usage: bench [--rounds N] [--loops N] [--millis T] [--records N] [--seconds T] [--plot] [SECTION]...
sections: pipe, costs, saturated, touches, decode, frame, dashboard, recording, export, serve, scale [all]
  --rounds N    rounds of each configuration [7]
  --loops N     round trips of the pipe benchmark [200000]
  --millis T    length of a run under full load [3000]
  --records N   records of the decoder's benchmark [4000000]
  --seconds T   how long the dashboard is looked at [20]
  --switches N  least switches that reports of recordings are over [2000000]
  --plot        the section scale draws its curves: docs/pictures/scale-*.svg";

/// Runs what `args` ask for; everything without.
///
/// # Errors
/// When the arguments make no sense or numatrace itself cannot be measured.
pub fn main(args: impl Iterator<Item = String>) -> Result<()> {
    let mut args = args.peekable();
    if args.next_if(|word| word == usage::TELL).is_some() {
        return usage::run_and_tell(args);
    }
    let mut options = Options {
        rounds: 7,
        loops: 200_000,
        millis: 3_000,
        records: 4_000_000,
        seconds: 20,
        switches: 2_000_000,
        plot: false,
    };
    let mut sections = Vec::new();
    while let Some(arg) = args.next() {
        if arg == "--plot" {
            options.plot = true;
            continue;
        }
        let mut number = || args.next().and_then(|value| value.parse::<u32>().ok()).filter(|value| *value > 0);
        match (arg.as_str(), arg.starts_with("--").then(&mut number).flatten()) {
            ("--rounds", Some(value)) => options.rounds = value as usize,
            ("--loops", Some(value)) => options.loops = value,
            ("--millis", Some(value)) => options.millis = value,
            ("--records", Some(value)) => options.records = value as usize,
            ("--seconds", Some(value)) => options.seconds = value.into(),
            ("--switches", Some(value)) => options.switches = value.into(),
            (
                "pipe" | "costs" | "saturated" | "touches" | "decode" | "frame" | "dashboard" | "recording" | "export"
                | "serve" | "scale",
                _,
            ) => {
                sections.push(arg);
            }
            _ => bail!("'{arg}' makes no sense\n{USAGE}"),
        }
    }
    let wanted = |name: &str| sections.is_empty() && !options.plot || sections.iter().any(|section| section == name);
    println!("{}\n", machine());
    if wanted("pipe") {
        pipe(&options)?;
    }
    if wanted("costs") {
        costs(&options)?;
    }
    if wanted("saturated") {
        saturated(&options)?;
    }
    if wanted("touches") {
        touches::run(options.rounds, options.millis.div_ceil(2))?;
    }
    if wanted("decode") {
        println!("## Decoder and model\n");
        let rates = (0..options.rounds).map(|_| decode::records_per_second(options.records)).collect();
        println!("{:.1} million records a second on one core, 1,000 threads.\n", table::median(rates) / 1e6);
    }
    if wanted("frame") {
        frame::run(options.rounds)?;
    }
    if wanted("dashboard") {
        dashboard::run(options.seconds)?;
    }
    if wanted("recording") {
        // Each of these rounds is as long as a dozen of the others.
        recording::run(options.rounds.div_ceil(2), options.loops, options.switches)?;
    }
    if wanted("export") {
        recording::export::run(options.rounds.div_ceil(2), options.loops)?;
    }
    if wanted("scale") || options.plot {
        scale::run(options.rounds.div_ceil(2), u64::from(options.millis).div_ceil(1_000), options.plot)?;
    }
    if wanted("serve") {
        serve(&options)?;
        serve::threads()?;
    }
    Ok(())
}

/// Counting in the kernel without records, beside the tool that does the same for one histogram.
fn serve(options: &Options) -> Result<()> {
    let configurations =
        [Beside::Nothing, Beside::Serve(&[]), Beside::Serve(&["--page-source", "off"]), Beside::Runqlat];
    for load in [Load::pipe(options.loops), Load::PerfMessaging(options.loops / 200)] {
        println!("## Serving numbers: {load}\n");
        print_added(&measure(&configurations, &load, options.rounds)?);
    }
    Ok(())
}

/// Kernel, CPUs, and what they are called.
pub(super) fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown CPU", |(_, name)| name);
    let cpus = crate::workload::os::allowed_cpus().map_or(0, |cpus| cpus.len());
    format!("Linux {}, {cpus} CPUs, {model}.", read("/proc/sys/kernel/osrelease").trim())
}

/// Two processes that wake each other all the time: the worst case for a tracer of the scheduler.
fn pipe(options: &Options) -> Result<()> {
    let load = Load::pipe(options.loops);
    println!("## One pair: {load}\n");
    let configurations = [
        Beside::Nothing,
        Beside::Target(&[]),
        Beside::Other,
        Beside::Floor,
        Beside::Runqlat,
        Beside::Perf { realtime: false },
    ];
    print_added(&measure(&configurations, &load, options.rounds)?);
    Ok(())
}

/// What each source that can be switched off costs.
fn costs(options: &Options) -> Result<()> {
    let load = Load::pipe(options.loops);
    println!("## What sources cost: {load}\n");
    let configurations = [
        Beside::Nothing,
        Beside::Target(&[]),
        Beside::Target(&["--no-wakers"]),
        Beside::Target(&["--hooks", "raw_tp"]),
        Beside::Floor,
    ];
    print_added(&measure(&configurations, &load, options.rounds)?);
    Ok(())
}

/// Every CPU busy with switches.
fn saturated(options: &Options) -> Result<()> {
    let load = Load::Pairs { pairs: 16, millis: options.millis };
    println!("## Every CPU saturated: {load}\n");
    let configurations = [
        Beside::Nothing,
        Beside::Target(&[]),
        Beside::Perf { realtime: false },
        Beside::Perf { realtime: true },
        Beside::TraceCmd { realtime: false },
        Beside::TraceCmd { realtime: true },
        Beside::Ftrace { realtime: false },
        Beside::Ftrace { realtime: true },
    ];
    // Each of these runs is as long as a dozen of the others.
    print_saturated(&measure(&configurations, &load, options.rounds.div_ceil(2))?);
    Ok(())
}

/// Rounds of all configurations. One that fails is left out from then on, with its reason; numatrace must not fail.
fn measure(configurations: &[Beside], load: &Load, rounds: usize) -> Result<Rows> {
    let mut rows = Rows::new(configurations);
    for round in 0..rounds {
        for (index, configuration) in configurations.iter().enumerate() {
            if rows.failed(index) {
                continue;
            }
            eprintln!("round {} of {rounds}: {configuration}", round + 1);
            match configuration.run(load) {
                Ok(sample) => rows.add(index, sample),
                Err(error) if configuration.is_ours() => return Err(error.context(configuration.to_string())),
                Err(error) => rows.fail(index, format!("{error:#}")),
            }
        }
    }
    Ok(rows)
}
