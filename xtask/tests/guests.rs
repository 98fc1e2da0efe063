//! Guests are the machines that [`xtask::vm`] says they are: the tests of numatrace compare with that, so it is tested first.
//!
//! Ignored by default, since each boots an emulated machine; `cargo xtask test --leg numa` runs them.

use std::{path::PathBuf, sync::OnceLock, time::Duration};

use xtask::vm::{ALL, Arch, GuestOutput, KERNEL_SERIES, SMT_LLC, TWO_NODES, Topology, VmDir, initramfs};

const LIMIT: Duration = Duration::from_secs(120);

/// Boots `topology` on each kernel with busybox alone, runs `command`, and hands each output to `check`.
fn on_each_kernel(topology: &'static Topology, command: &str, check: impl Fn(&GuestOutput)) {
    on_each_kernel_of(Arch::X86_64, topology, command, check);
}

fn on_each_kernel_of(arch: Arch, topology: &'static Topology, command: &str, check: impl Fn(&GuestOutput)) {
    for series in KERNEL_SERIES {
        let mut guest = VmDir::open().guest_of(arch, series, topology).unwrap();
        guest.initramfs = initramfs_of_busybox(arch);
        let output = guest.boot(command, LIMIT).unwrap();
        let up = output.booted_after.unwrap_or_default().as_secs_f32();
        println!(
            "{series} {} {}: up after {up:.1} s, off after {:.1} s",
            arch.name(),
            topology.name,
            output.elapsed.as_secs_f32()
        );
        check(&output);
    }
}

/// numatrace's own programs are not needed here.
fn initramfs_of_busybox(arch: Arch) -> PathBuf {
    static PACKED: [OnceLock<PathBuf>; Arch::ALL.len()] = [const { OnceLock::new() }; Arch::ALL.len()];
    let pack = || {
        let path = VmDir::open().path().join(format!("busybox-{}.cpio", arch.name()));
        initramfs::build(&path, &VmDir::open().busybox(arch), &[], initramfs::INIT).unwrap();
        path
    };
    PACKED[arch as usize].get_or_init(pack).clone()
}

fn nodes_are_as_described(arch: Arch, topology: &'static Topology) {
    let command =
        "cd /sys/devices/system/node; for n in node[0-9]*; do echo $n:$(cat $n/cpulist):$(cat $n/distance); done";
    on_each_kernel_of(arch, topology, command, |output| {
        let nodes = topology.nodes.iter().enumerate().map(|(id, node)| {
            let distances: Vec<_> = (0..topology.nodes.len()).map(|to| topology.distance(id, to).to_string()).collect();
            format!("node{id}:{}:{}\n", node.cpus, distances.join(" "))
        });
        assert_eq!(output.success().unwrap(), nodes.collect::<String>(), "{}", output.console);
    });
}

#[test]
#[ignore = "boots guests"]
fn two_nodes() {
    nodes_are_as_described(Arch::X86_64, ALL[0]);
}

#[test]
#[ignore = "boots guests"]
fn two_nodes_of_arm64() {
    nodes_are_as_described(Arch::Aarch64, ALL[0]);
}

#[test]
#[ignore = "boots guests"]
fn four_nodes() {
    nodes_are_as_described(Arch::X86_64, ALL[1]);
}

#[test]
#[ignore = "boots guests"]
fn smt_llc() {
    nodes_are_as_described(Arch::X86_64, ALL[2]);
}

#[test]
#[ignore = "boots guests"]
fn one_node() {
    nodes_are_as_described(Arch::X86_64, ALL[3]);
}

/// Two siblings a core, two last-level caches a node.
#[test]
#[ignore = "boots guests"]
fn smt_llc_has_siblings_and_two_caches_a_node() {
    let command = "cd /sys/devices/system/cpu; for c in cpu[0-9]*; do \
                   echo $c:$(cat $c/topology/thread_siblings_list):$(cat $c/cache/index3/shared_cpu_list); done";
    on_each_kernel(&SMT_LLC, command, |output| {
        let expected = (0..8).map(|cpu| {
            let pair = format!("{}-{}", cpu / 2 * 2, cpu / 2 * 2 + 1);
            format!("cpu{cpu}:{pair}:{pair}\n")
        });
        assert_eq!(output.success().unwrap(), expected.collect::<String>(), "{}", output.console);
    });
}

/// What numatrace reads is mounted, and what it attaches to is there.
#[test]
#[ignore = "boots guests"]
fn kernel_interfaces_are_there() {
    let command = "set -e; test -s /sys/kernel/btf/vmlinux; test -d /sys/kernel/tracing/events/sched; test -f /sys/fs/cgroup/cgroup.procs; \
                   mkdir /sys/fs/cgroup/t; test -f /sys/fs/cgroup/t/cpu.max; test -d /sys/fs/bpf; test -c /dev/null; \
                   test -f /proc/sys/kernel/numa_balancing; echo ok";
    on_each_kernel(&TWO_NODES, command, |output| assert_eq!(output.success().unwrap(), "ok\n"));
}

/// The exit code, both outputs and quotes arrive as they were.
#[test]
#[ignore = "boots guests"]
fn outputs_and_exit_code_come_back() {
    on_each_kernel(&TWO_NODES, "echo \"it's\" '{\"a\": 1}'; echo aside >&2; exit 7", |output| {
        assert_eq!(output.stdout, "it's {\"a\": 1}\n");
        assert!(output.console.contains("aside"));
        assert_eq!(output.exit_code, Some(7));
    });
}

/// Flipping static keys under load patches hot code: what attaching probes and setting quotas do too.
#[test]
#[ignore = "boots guests"]
fn kernel_survives_patching_itself() {
    let command = "for i in 1 2 3 4 5 6; do (while :; do sleep 0; done) & done
        for i in $(seq 60); do echo 1 > /proc/sys/kernel/sched_schedstats; echo 0 > /proc/sys/kernel/sched_schedstats; done
        mkdir /sys/fs/cgroup/q
        for i in $(seq 10); do echo '20000 100000' > /sys/fs/cgroup/q/cpu.max; echo max > /sys/fs/cgroup/q/cpu.max; done
        echo survived";
    on_each_kernel(&TWO_NODES, command, |output| assert_eq!(output.success().unwrap(), "survived\n"));
}

/// Output of some size arrives whole.
#[test]
#[ignore = "boots guests"]
fn large_output_arrives_whole() {
    on_each_kernel(&TWO_NODES, "seq 1 40000", |output| {
        let expected: String = (1..=40_000).map(|line| format!("{line}\n")).collect();
        assert!(output.success().unwrap() == expected, "{} bytes instead of {}", output.stdout.len(), expected.len());
    });
}

/// A guest that hangs is stopped.
#[test]
#[ignore = "boots guests"]
fn hanging_guest_is_stopped() {
    let mut guest = VmDir::open().guest(KERNEL_SERIES[0], &TWO_NODES).unwrap();
    guest.initramfs = initramfs_of_busybox(Arch::X86_64);
    let output = guest.boot("sleep 1000", Duration::from_secs(6)).unwrap();
    assert!(output.timed_out && output.exit_code.is_none());
    assert!(output.success().unwrap_err().to_string().contains("time limit"));
}
