//! What is checked inside guests with NUMA nodes: the lists that `guest-check` runs and that the host expects.
//!
//! A guest runs one suite and prints a line for each check, [`MARK`], its name, `ok` or `FAIL`, and why. The host boots
//! each guest once and makes a test of each check, so that a line that never came is a failure too. Only counts and
//! shares are compared: time passes unevenly in an emulated machine.

mod checks;
mod diff;
mod faults;
mod findings;
mod placement;
mod quota;
mod touches;

use std::{io::Write as _, time::Instant};

use anyhow::Result;

use xtask::vm::{Arch, KERNEL_SERIES};

use crate::{compatibility, live::counting};

use self::{
    checks::{WITHOUT_PAGES, attach, doctor, forks, nothing_left, ping_pong, switches, topology_is},
    placement::{bounce, hop, pinned},
    quota::throttled_here,
    touches::{
        balancing_on, by_entry, children, cpu_off_and_on, hint_faults, memory_off_and_on, no_hint_faults, placement,
        touches, touches_without_writes,
    },
};

/// Begins each line with a result.
pub const MARK: &str = "NUMATRACE-TEST";

/// The check whose result the host compares: see [`compatibility`].
pub const EVERY_PROGRAM: &str = "every_program_in_every_configuration";

/// One check.
#[derive(Clone, Copy)]
pub struct Check {
    /// Its name, without spaces.
    pub name: &'static str,
    /// Of the newest kernel alone: what is concluded from numbers that other checks hold against every kernel.
    pub newest: bool,
    run: fn() -> Result<()>,
}

/// What is checked in guests of one topology and architecture.
pub struct Suite {
    /// Its name.
    pub name: &'static str,
    /// What the guest's CPUs are.
    pub arch: Arch,
    /// The topology's name.
    pub topology: &'static str,
    /// The checks, in their order.
    pub checks: &'static [Check],
}

const fn check(name: &'static str, run: fn() -> Result<()>) -> Check {
    Check { name, newest: false, run }
}

const fn of_newest(name: &'static str, run: fn() -> Result<()>) -> Check {
    Check { name, newest: true, run }
}

/// Every suite.
pub static SUITES: [Suite; 4] = [
    Suite {
        name: "two_nodes",
        arch: Arch::X86_64,
        topology: "two_nodes",
        checks: &[
            check("attaches_and_detaches", attach),
            check("bounce_between_nodes_0_and_1", || bounce(0, 1, &[])),
            check("bounce_by_raw_tracepoints", || bounce(0, 1, &["--hooks", "raw_tp"])),
            check("bounce_from_the_other_side", || bounce(1, 0, &WITHOUT_PAGES)),
            check("counting_children_that_end", counting::children_that_end),
            check("counting_hops_between_nodes", || counting::hop("cross_node", 1, 2)),
            check("counting_ping_pong", || counting::ping_pong(1)),
            check("counting_touches_from_node_0_on_node_1", || counting::touches(0, 1)),
            check("clock_steps_change_no_time_that_is_told", faults::clock_steps),
            check("cpu_hotplug_moves_threads_and_loses_nothing", faults::cpu_hotplug),
            check("cpu_that_comes_after_the_beginning_is_counted", faults::cpu_comes_later),
            of_newest("diff_of_hopping_and_pinned", diff::hopping_and_pinned),
            of_newest("diff_of_remote_and_local_touches", diff::remote_and_local),
            check("doctor_names_every_hook", doctor),
            check(EVERY_PROGRAM, compatibility::tell),
            of_newest("finding_remote_memory_and_its_command", findings::remote_memory),
            of_newest("finding_first_touch_by_another_thread", findings::first_touch),
            of_newest("finding_memory_policy", findings::memory_policy),
            of_newest("finding_node_full", findings::node_full),
            of_newest("finding_cross_node_hops_and_its_command", findings::cross_node_hops),
            check("finding_numa_balancing_and_its_command", findings::numa_balancing),
            check("forks_are_followed", forks),
            check("hops_within_a_cache_are_llc", || hop("llc", 0, 1)),
            check("hops_between_nodes_are_cross_node", || hop("cross_node", 1, 2)),
            check("nothing_is_left_after_sigkill", nothing_left),
            check("ping_pong_of_n_round_trips_is_n_waits_a_side", || ping_pong(&[])),
            check("ping_pong_by_raw_tracepoints", || ping_pong(&["--hooks", "raw_tp"])),
            check("residency_of_a_thread_pinned_to_node_0", || pinned(0)),
            check("residency_of_a_thread_pinned_to_node_1", || pinned(1)),
            check("switches_equal_those_of_proc", switches),
            check("topology_is_that_of_the_machine", || topology_is("two_nodes")),
            check("touches_from_node_0_on_node_1", || touches(0, 1)),
            check("touches_from_node_1_on_node_0", || touches(1, 0)),
            check("touches_on_the_own_node", || touches(1, 1)),
            check("touches_by_children_on_the_other_node", || children(0, 1)),
            check("touches_by_children_on_the_own_node", || children(0, 0)),
            check("touches_seen_at_entry", || by_entry(0, 1)),
            check("touches_with_balancing_on", || balancing_on(0, 1)),
            check("hint_faults_are_those_of_vmstat", || hint_faults("auto", "fentry:task_numa_fault")),
            check("hint_faults_by_kprobe", || hint_faults("kprobe", "kprobe:task_numa_fault")),
            check("hint_faults_by_the_kernels_counts", || hint_faults("counts", "task->numa_faults_locality")),
            check("hint_faults_are_absent_without_balancing", no_hint_faults),
            check("placement_is_that_of_numa_maps_and_numastat", placement),
            check("throttled_by_the_quota_of_the_cgroup_above", throttled_here),
            check("touches_of_memory_that_comes_while_tracing", memory_off_and_on),
            check("touches_are_counted_when_a_cpu_comes_back", cpu_off_and_on),
        ],
    },
    Suite {
        name: "four_nodes",
        arch: Arch::X86_64,
        topology: "four_nodes",
        checks: &[
            check("attaches_and_detaches", attach),
            check("bounce_between_nodes_0_and_1", || bounce(0, 1, &[])),
            check("bounce_between_nodes_0_and_2", || bounce(0, 2, &WITHOUT_PAGES)),
            check("bounce_between_nodes_2_and_1", || bounce(2, 1, &WITHOUT_PAGES)),
            check("residency_of_a_thread_pinned_to_node_2", || pinned(2)),
            check("topology_is_that_of_the_machine", || topology_is("four_nodes")),
            check("touches_from_node_0_on_node_2", || touches(0, 2)),
            check("touches_from_node_2_on_node_1", || touches(2, 1)),
            check("touches_of_a_node_without_cpus", || touches(1, 3)),
            check("touches_on_the_own_node", || touches(2, 2)),
            check("touches_by_children_on_a_node_without_cpus", || children(0, 3)),
        ],
    },
    Suite {
        name: "smt_llc",
        arch: Arch::X86_64,
        topology: "smt_llc",
        checks: &[
            check("attaches_and_detaches", attach),
            check("bounce_between_nodes_0_and_1", || bounce(0, 1, &[])),
            check("counting_hops_between_siblings", || counting::hop("smt", 0, 1)),
            check("counting_hops_between_caches", || counting::hop("node", 1, 2)),
            check("hops_between_siblings_are_smt", || hop("smt", 0, 1)),
            check("hops_between_siblings_of_the_other_node_are_smt", || hop("smt", 6, 7)),
            check("hops_between_caches_of_a_node_are_node", || hop("node", 1, 2)),
            check("hops_between_nodes_are_cross_node", || hop("cross_node", 3, 4)),
            check("topology_is_that_of_the_machine", || topology_is("smt_llc")),
        ],
    },
    Suite {
        name: "arm64",
        arch: Arch::Aarch64,
        topology: "two_nodes",
        checks: &[
            check("attaches_and_detaches", attach),
            check("counting_ping_pong", || counting::ping_pong(1)),
            check("doctor_names_every_hook", doctor),
            check(EVERY_PROGRAM, compatibility::tell),
            check("hops_between_nodes_are_cross_node", || hop("cross_node", 1, 2)),
            check("ping_pong_of_n_round_trips_is_n_waits_a_side", || ping_pong(&[])),
            check("topology_is_that_of_the_machine", || topology_is("two_nodes")),
            check("touches_from_node_0_on_node_1", || touches_without_writes(0, 1)),
        ],
    },
];

/// The suite of that name.
pub fn suite(name: &str) -> Option<&'static Suite> {
    SUITES.iter().find(|suite| suite.name == name)
}

impl Suite {
    /// What is checked on a kernel of that series.
    pub fn checks_on(&self, series: &str) -> impl Iterator<Item = &'static Check> {
        let newest = KERNEL_SERIES.last().is_some_and(|newest| *newest == series);
        self.checks.iter().filter(move |check| newest || !check.newest)
    }

    /// Runs every check of this kernel with `part` in its name and prints its line; `false` when one failed.
    pub fn run(&self, part: &str) -> bool {
        let mut passed = true;
        // `6.12.90+deb13-cloud-amd64`
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let series = release.match_indices('.').nth(1).map_or(&*release, |(end, _)| &release[..end]);
        for check in self.checks_on(series).filter(|check| check.name.contains(part)) {
            let started = Instant::now();
            let result = (check.run)();
            passed &= result.is_ok();
            // For who wonders where the time of a guest goes.
            println!("{} took {:.0} s", check.name, started.elapsed().as_secs_f64());
            let line = match result {
                Ok(()) => format!("{MARK} {} ok", check.name),
                Err(error) => format!("{MARK} {} FAIL {}", check.name, format!("{error:#}").replace('\n', " | ")),
            };
            println!("{line}");
            // A guest that dies in the next check has told this one.
            let _ = std::io::stdout().flush();
        }
        passed
    }
}

/// What a guest's output says of a check: passed, failed with its reason, or nothing.
pub fn result_of(check: &str, output: &str) -> Option<Result<(), String>> {
    output.lines().find_map(|line| {
        let rest = line.trim().strip_prefix(MARK)?.trim_start().strip_prefix(check)?.strip_prefix(' ')?;
        match rest.strip_prefix("FAIL") {
            Some(reason) => Some(Err(reason.trim().to_owned())),
            None => (rest == "ok").then_some(Ok(())),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_suite_has_a_machine_and_no_name_twice() {
        for suite in &SUITES {
            assert!(xtask::vm::Topology::by_name(suite.topology).unwrap().runs_on(suite.arch), "{}", suite.name);
            let names: HashSet<_> = suite.checks.iter().map(|check| check.name).collect();
            assert_eq!(names.len(), suite.checks.len(), "{}", suite.name);
            assert!(names.iter().all(|name| !name.contains(' ')));
        }
    }

    #[test]
    fn a_line_is_a_result_and_no_line_is_none() {
        let output = "noise\nNUMATRACE-TEST one ok\r\nNUMATRACE-TEST two FAIL 3 of 4\nNUMATRACE-TEST three";
        assert_eq!(result_of("one", output), Some(Ok(())));
        assert_eq!(result_of("two", output), Some(Err("3 of 4".into())));
        assert_eq!(result_of("three", output), None);
        assert_eq!(result_of("on", output), None);
    }
}
