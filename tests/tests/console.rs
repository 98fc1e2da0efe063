//! The real program on the console of a guest with four nodes, seen through tmux: a person's view of what `numa` counts.
//! `cargo xtask test --leg numa` prepares what the guest boots from.
//!
//! The pane runs this program again, which becomes QEMU with the guest's serial console on it. Emulation is slow, so
//! nothing here depends on how long anything takes.

use std::{env, process::ExitCode, time::Duration};

use anyhow::{Result, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use numatrace_tests::{
    dashboard::{Dashboard, cell, sorted_by},
    tmux::{self, PROMPT, Screen, Tmux},
};
use xtask::{
    shell::in_ci,
    vm::{Arch, FOUR_NODES, VmDir},
};

/// Set in the process that is the guest.
const GUEST: &str = "NUMATRACE_TEST_GUEST";
/// One is enough: kernels differ in what `numa` tests, not in how a console works.
const SERIES: &str = "6.12";
const SIZE: (u16, u16) = (120, 36);
/// Longest wait for anything: only a failure takes so long.
const PATIENCE: Duration = Duration::from_secs(300);
/// A thread that moves between the nodes for as long as the guest is up.
const WORKLOAD: &str = "workload --now bounce 1000000000 --nodes 0,1";

fn main() -> ExitCode {
    if env::var_os(GUEST).is_some() {
        return guest();
    }
    let dir = VmDir::open();
    let reason = tmux::cannot_run().or_else(|| dir.qemu(Arch::X86_64).err().map(|error| error.to_string()));
    let reason = reason.or_else(|| {
        let error = dir.guest(SERIES, &FOUR_NODES).err().map(|error| error.to_string());
        error.or_else(|| {
            (!dir.initramfs(Arch::X86_64).is_file())
                .then(|| format!("there is no {}", dir.initramfs(Arch::X86_64).display()))
        })
    });
    // Continuous integration that tests less than it should must not be green.
    let skip = reason.is_some() && !in_ci();
    if let Some(reason) = reason.as_ref().filter(|_| skip) {
        eprintln!("the dashboard on a guest's console is not tested: {reason}");
    }
    let test = move || match reason {
        Some(reason) => Err(Failed::from(reason)),
        None => console().map_err(|error| Failed::from(format!("{error:#}"))),
    };
    let trial = Trial::test(format!("dashboard_on_a_console::four_nodes::linux_{SERIES}"), test);
    libtest_mimic::run(&Arguments::from_args(), vec![trial.with_ignored_flag(skip)]).exit_code()
}

/// A guest with a shell on this terminal, until it is switched off.
fn guest() -> ExitCode {
    match VmDir::open().guest(SERIES, &FOUR_NODES).and_then(|guest| guest.interact()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A pane with a guest in it; switched off when dropped.
struct Console(Tmux);

impl Console {
    /// Boots, and returns when the guest's shell is ready for a dashboard.
    fn boot() -> Result<Console> {
        let me =
            env::current_exe()?.into_os_string().into_string().map_err(|_| anyhow::anyhow!("a path of letters"))?;
        let dir = VmDir::open().path().to_string_lossy().into_owned();
        // Two words, or tmux would have a shell read the first.
        let console =
            Console(Tmux::start(SIZE, &[&me, "--exact"], &[(GUEST, "1"), ("NUMATRACE_VM_DIR", &dir)], PATIENCE)?);
        console
            .0
            .wait_for("the guest's shell", |screen| screen.has("NUMATRACE-GUEST-BEGIN") && at_prompt(screen, "#"))?;
        // A serial line knows neither size nor type of what is behind it, and kernel messages belong to no dashboard.
        let (width, height) = SIZE;
        console.0.type_line(&format!(
            "stty rows {height} cols {width}; export TERM=xterm-256color LC_ALL=C.UTF-8; dmesg -n 1"
        ))?;
        // The BIOS has switched wrapping off.
        console.0.type_line(&format!("PS1='{PROMPT} '; printf '\\033[?7h'; clear"))?;
        console.0.wait_for_prompt()?;
        Ok(console)
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // Ctrl-A X ends QEMU, and so the program around it, which removes its files. Nothing to do where it is over.
        let _ = self.0.press(&["C-a", "x"]);
        let _ = self.0.wait_until_over();
    }
}

/// Whether the last line is a prompt that ends so.
fn at_prompt(screen: &Screen, end: &str) -> bool {
    screen.0.iter().rfind(|line| !line.is_empty()).is_some_and(|line| line.ends_with(end))
}

fn console() -> Result<()> {
    let console = Console::boot()?;
    console.0.type_line(&format!("{WORKLOAD} > /dev/null & stty -a > /tmp/before"))?;
    let line = "numatrace --pid $!; echo \"exit code $?\"";
    let dashboard = Dashboard::start(&console.0, line, "(workload)")?;
    dashboard.to_threads()?;
    crosses_nodes(&console.0)?;
    let pressed = dashboard.press_every_key()?;
    println!("{pressed} keys pressed");
    // It has not only survived: it still traces.
    dashboard.resume()?;
    dashboard.goes_on()?;
    dashboard.press("q")?;
    let screen = dashboard.restored()?;
    ensure!(screen.0.iter().any(|line| line == "exit code 0"), "it did not end with 0:\n{screen}");
    // The pane's own modes are QEMU's; those of the guest's console are the guest's to tell.
    console.0.type_line("stty -a | cmp - /tmp/before && echo same")?;
    console.0.wait_for("the same modes", |screen| screen.0.iter().any(|line| line == "same")).map(drop)
}

/// The hopper has been on both nodes, and goes on moving from one to the other.
fn crosses_nodes(pane: &Tmux) -> Result<()> {
    let number = |screen: &Screen, head: &str| cell(screen, "hopper", head).and_then(leading_number);
    let screen = pane.wait_for("migrations between nodes", |screen| {
        let crossing = number(screen, "cross/s").is_some_and(|rate| rate > 0.0);
        crossing && screen.line_with("hopper").is_some_and(|row| row.contains("0:") && row.contains("1:"))
    })?;
    ensure!(
        sorted_by(&screen).is_some() && cell(&screen, "hopper", "on nodes").is_some(),
        "no column of nodes:\n{screen}"
    );
    ensure!(screen.first().contains("lost 0"), "records were lost:\n{screen}");
    Ok(())
}

/// `61.5` of `61.5k`.
fn leading_number(cell: &str) -> Option<f64> {
    cell.split(|c: char| !c.is_ascii_digit() && c != '.').next()?.parse().ok()
}
