//! Pid namespaces, with the target in one and with numatrace in one, and cgroups that look like those of containers.

use std::{
    collections::HashMap,
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use numatrace_tests::live::{Done, Report, Tracer, Workload, equal_to_proc, eventually, program};
use serde_json::json;

use crate::{Case, Scratch, busy_cpu, filters::Cgroup, rights::refused as refused_by};

pub const CASES: &[Case] = &[
    ("a_target_in_a_pid_namespace_has_both_ids", target_inside),
    ("inside_a_pid_namespace_its_own_ids_are_understood", both_inside),
    ("inside_a_pid_namespace_the_hosts_proc_tells_the_rest", with_proc_root),
    ("inside_a_cgroup_namespace_paths_are_the_hosts", cgroup_namespace),
    ("inside_a_pid_namespace_a_command_is_traced_and_numatrace_is_not", command_inside),
    ("what_is_outside_of_the_pid_namespace_is_refused", outside),
    ("a_container_and_a_pod_are_their_cgroups", container),
    ("roots_that_are_none_are_refused", wrong_roots),
];

/// Enough for a workload that runs for 300 ms, on a busy machine too.
const DURATION: &str = "5s";

/// A pid namespace with its own /proc, and the outer one's beside it; ended when dropped.
struct Namespace {
    unshare: Child,
    /// Its first process.
    first: u32,
    outer_proc: PathBuf,
    _scratch: Scratch,
}

impl Namespace {
    fn new(name: &str) -> Result<Namespace> {
        let scratch = Scratch::new(name)?;
        let outer_proc = scratch.0.join("proc");
        fs::create_dir(&outer_proc)?;
        let script = "mount --bind /proc \"$0\" && mount -t proc proc /proc && exec sleep 600";
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--mount", "--kill-child", "sh", "-c", script]).arg(&outer_proc);
        let mut unshare = command.stdin(Stdio::null()).spawn().context("cannot start unshare")?;
        let mut first = None;
        let ready = eventually("the namespace is there", Duration::from_secs(20), || {
            if let Some(status) = unshare.try_wait()? {
                bail!("unshare ended with {status}");
            }
            first = child_of(unshare.id())?;
            let comm = first.and_then(|first| fs::read_to_string(format!("/proc/{first}/comm")).ok());
            Ok(comm.as_deref() == Some("sleep\n"))
        });
        if ready.is_err() {
            let _ = unshare.kill();
        }
        ready?;
        let first = first.context("it was there just now")?;
        Ok(Namespace { unshare, first, outer_proc, _scratch: scratch })
    }

    /// A program that runs inside.
    fn command(&self, name: &str, args: &[&str]) -> Result<Command> {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.first.to_string(), "--pid", "--mount"]).arg(program(name)?).args(args);
        Ok(command)
    }

    fn workload(&self) -> Result<Workload> {
        let cpu = busy_cpu()?;
        Workload::start_command(self.command("workload", &["switches", "--cpu", &cpu, "--millis", "300"])?)
    }

    /// numatrace inside, attached.
    fn tracer(&self, args: &[&str]) -> Result<Tracer> {
        let flags = ["live", "--format", "json", "--interval", "200ms", "--duration", DURATION];
        let mut tracer = Tracer::spawn(self.command("numatrace", &[&flags, args].concat())?)?;
        tracer.next_report()?;
        Ok(tracer)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
    }
}

/// The first child of a process.
fn child_of(parent: u32) -> Result<Option<u32>> {
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(status) = fs::read_to_string(entry.path().join("status")) else { continue };
        let parent_of = status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse::<u32>().ok());
        if parent_of == Some(parent) {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}

/// The threads of a process by their ids in the innermost namespace.
fn by_inner_id(pid: u32) -> Result<HashMap<u32, u32>> {
    let mut ids = HashMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = fs::read_to_string(entry?.path().join("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("NSpid:")).context("no NSpid")?;
        let all: Vec<u32> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let (Some(outer), Some(inner)) = (all.first(), all.last()) else { bail!("no ids: {line}") };
        ids.insert(*inner, *outer);
    }
    Ok(ids)
}

/// What was done, by the ids that the probes tell.
fn as_outside(mut done: Done, ids: &HashMap<u32, u32>) -> Result<Done> {
    for facts in done.threads.values_mut() {
        facts.tid = *ids.get(&facts.tid).with_context(|| format!("no thread {} in {ids:?}", facts.tid))?;
    }
    Ok(done)
}

/// How a source is.
fn state<'a>(report: &'a Report, name: &str) -> Result<&'a str> {
    let all = report.0["sources"].as_array().into_iter().flatten();
    let found = all.into_iter().find(|source| source["name"] == name).with_context(|| format!("no source {name}"))?;
    found["state"].as_str().context("its state is no text")
}

fn target_inside() -> Result<()> {
    let namespace = Namespace::new("target-inside")?;
    let mut workload = namespace.workload()?;
    let pid = child_of(workload.started())?.context("nsenter has no child")?;
    let ids = by_inner_id(pid)?;
    ensure!(ids.get(&workload.pid) == Some(&pid) && pid != workload.pid, "{pid} is not {ids:?}");
    let mut tracer = Tracer::start(&["--pid", &pid.to_string()])?;
    let done = workload.run()?;
    let report = tracer.stop()?;
    workload.finish()?;
    for (name, facts) in &done.threads {
        let thread = report.threads().find(|thread| thread.0["ns_pid"] == facts.tid);
        let thread = thread.with_context(|| format!("{name} is not in {}", report.0["threads"]))?;
        ensure!(thread.0["tid"] == ids[&facts.tid] && thread.0["pid"] == pid, "{}", thread.0);
    }
    equal_to_proc(&as_outside(done, &ids)?, &report)
}

fn both_inside() -> Result<()> {
    let namespace = Namespace::new("both-inside")?;
    let mut workload = namespace.workload()?;
    let ids = by_inner_id(child_of(workload.started())?.context("nsenter has no child")?)?;
    let mut tracer = namespace.tracer(&["--pid", &workload.pid.to_string()])?;
    let done = workload.run()?;
    let report = tracer.ended()?;
    workload.finish()?;
    for source in ["/proc/PID/cgroup", "sched_getattr"] {
        ensure!(state(&report, source)? == "on", "{source}: {}", report.0["sources"]);
    }
    ensure!(state(&report, "/proc/PID/pagemap")? == "off", "{}", report.0["sources"]);
    for (inner, outer) in &ids {
        let thread = report.thread(*outer)?;
        ensure!(thread.0["ns_pid"] == *inner, "{inner} in {}", thread.0);
        ensure!(thread.0["sched"]["policy"] == "other" && thread.0["cgroup"].is_string(), "{}", thread.0);
    }
    equal_to_proc(&as_outside(done, &ids)?, &report)
}

fn with_proc_root() -> Result<()> {
    let namespace = Namespace::new("proc-root")?;
    let mut workload = namespace.workload()?;
    let pid = child_of(workload.started())?.context("nsenter has no child")?;
    let ids = by_inner_id(pid)?;
    let proc = namespace.outer_proc.to_string_lossy().into_owned();
    let mut tracer = namespace.tracer(&["--proc-root", &proc, "--pid", &pid.to_string()])?;
    let done = workload.run()?;
    let report = tracer.ended()?;
    workload.finish()?;
    for source in ["/proc/PID/cgroup", "sched_getattr"] {
        ensure!(state(&report, source)? == "on", "{source}: {}", report.0["sources"]);
    }
    for (inner, outer) in &ids {
        let thread = report.thread(*outer)?;
        ensure!(thread.0["ns_pid"] == *inner, "{inner} in {}", thread.0);
        ensure!(thread.0["sched"]["policy"] == "other" && thread.0["cgroup"].is_string(), "{}", thread.0);
    }
    equal_to_proc(&as_outside(done, &ids)?, &report)
}

/// In a cgroup namespace that begins at a cgroup of its own, as most containers are.
fn cgroup_namespace() -> Result<()> {
    let cgroup = Cgroup::new()?;
    let namespace = Namespace::new("cgroup-namespace")?;
    let mut workload = namespace.workload()?;
    let pid = child_of(workload.started())?.context("nsenter has no child")?;
    fs::write(cgroup.0.join("below/cgroup.procs"), pid.to_string())?;
    let name = cgroup.0.file_name().context("it has a name")?.to_string_lossy().into_owned();
    let proc = namespace.outer_proc.to_string_lossy().into_owned();
    let numatrace = namespace.command("numatrace", &["live", "--format", "json", "--duration", "1s"])?;
    // A shell goes into the cgroup, and makes the namespace, before it becomes numatrace.
    let script = "echo $$ > \"$0/cgroup.procs\" && exec unshare --cgroup \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(&cgroup.0).arg(numatrace.get_program()).args(numatrace.get_args());
    command.args(["--proc-root", &proc, "--pid", &pid.to_string()]);
    let report = Tracer::spawn(command)?.ended()?;
    workload.run()?;
    fs::write(cgroup.0.parent().context("it has one")?.join("cgroup.procs"), pid.to_string())?;
    workload.finish()?;
    let told = report.thread(pid)?.0["cgroup"].clone();
    ensure!(told == format!("/{name}/below"), "{told}");
    Ok(())
}

fn command_inside() -> Result<()> {
    let namespace = Namespace::new("command-inside")?;
    let flags = ["live", "--format", "json", "--", "sh", "-c", "sleep 0.1; sleep 0.1"];
    let report = Tracer::spawn(namespace.command("numatrace", &flags)?)?.ended()?;
    let sleeps = report.threads().filter(|thread| thread.comm() == "sleep").count();
    ensure!(sleeps >= 2, "{}", report.0["threads"]);
    let mut tracer = namespace.tracer(&["--all"])?;
    let own = child_of(tracer.pid())?.context("nsenter has no child")?;
    let report = tracer.ended()?;
    let traced = report.threads().find(|thread| thread.0["pid"] == own);
    ensure!(traced.is_none(), "it traces itself: {traced:?}");
    ensure!(report.thread(namespace.first).is_ok(), "its first process is not in {}", report.0["threads"]);
    Ok(())
}

fn outside() -> Result<()> {
    let namespace = Namespace::new("outside")?;
    let proc = namespace.outer_proc.to_string_lossy().into_owned();
    let own = std::process::id().to_string();
    let command = namespace.command("numatrace", &["--proc-root", &proc, "--pid", &own, "--duration", "1s"])?;
    refused_by(command, &[&own, "outside of the pid namespace", "--pid=host"])?;
    // The namespace's own /proc is not that of the machine.
    let inner = format!("/proc/{}/root/proc", namespace.first);
    let mut command = Command::new(program("numatrace")?);
    command.args(["--proc-root", &inner, "--pid", "1", "--duration", "1s"]);
    refused_by(command, &["--proc-root", "a pid namespace"])
}

fn wrong_roots() -> Result<()> {
    for (args, words) in [
        (["--proc-root", "/nowhere"], "there is no such folder"),
        (["--proc-root", "/etc"], "there is no /proc there"),
        (["--sys-root", "/etc"], "there is no /sys there"),
    ] {
        let mut command = Command::new(program("numatrace")?);
        command.args(args).args(["--all", "--duration", "1s"]);
        refused_by(command, &[args[0], args[1], words])?;
    }
    Ok(())
}

const ID: &str = "3f4a9c1be07d52846f0a1b2c3d4e5f60718293a4b5c6d7e8f90123456789abcd";
const UID: &str = "2c48913c-b29f-11e7-9350-020968147796";

/// A pod with a container, as kubelet and containerd make them with cgroupfs, in v2 and in the v1 hierarchy of the cpu
/// controller, whichever is mounted; removed when dropped.
struct Pod {
    mounts: Vec<PathBuf>,
}

impl Pod {
    /// `None` where no cgroup can be made.
    fn new() -> Result<Option<Pod>> {
        let told = fs::read_to_string("/proc/self/mountinfo")?;
        let mounts = told.lines().filter_map(|line| {
            let (place, source) = line.split_once(" - ")?;
            let mut fields = source.split(' ');
            let usable = match fields.next()? {
                "cgroup2" => true,
                "cgroup" => fields.nth(1)?.split(',').any(|option| option == "cpu"),
                _ => false,
            };
            usable.then(|| place.split(' ').nth(4)).flatten().map(PathBuf::from)
        });
        let pod = Pod { mounts: mounts.collect() };
        if pod.mounts.is_empty() {
            eprintln!("skipped: no cgroup hierarchy is mounted that could be traced");
            return Ok(None);
        }
        for container in pod.places(true) {
            if let Err(error) = fs::create_dir_all(&container) {
                eprintln!("skipped: {} cannot be made: {error}", container.display());
                return Ok(None);
            }
        }
        Ok(Some(pod))
    }

    fn below() -> PathBuf {
        format!("numatrace-test-{}/kubepods/burstable/pod{UID}/{ID}", std::process::id()).into()
    }

    /// The cgroups of the container, or of the pod.
    fn places(&self, container: bool) -> Vec<PathBuf> {
        let below = Pod::below();
        let below = if container { Some(&*below) } else { below.parent() };
        self.mounts.iter().filter_map(|mount| Some(mount.join(below?))).collect()
    }

    fn put(places: &[PathBuf], pid: u32) -> Result<()> {
        places.iter().try_for_each(|place| Ok(fs::write(place.join("cgroup.procs"), pid.to_string())?))
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        for mount in &self.mounts {
            for below in Pod::below().ancestors().filter(|below| !below.as_os_str().is_empty()) {
                let _ = fs::remove_dir(mount.join(below));
            }
        }
    }
}

fn container() -> Result<()> {
    let Some(pod) = Pod::new()? else { return Ok(()) };
    let cpu = busy_cpu()?;
    let args = ["switches", "--cpu", &cpu, "--millis", "300"];
    for (flags, beside) in [(["--container", &ID[..12]], false), (["--container", ID], false), (["--pod", UID], true)] {
        let mut inside = Workload::start(&args)?;
        let mut in_pod = Workload::start(&args)?;
        let mut outside = Workload::start(&args)?;
        Pod::put(&pod.places(true), inside.pid)?;
        Pod::put(&pod.places(false), in_pod.pid)?;
        let mut tracer = Tracer::start(&flags)?;
        let done = [inside.run()?, in_pod.run()?, outside.run()?];
        let report = tracer.stop()?;
        // Out again, so that the cgroups can be removed.
        [&inside, &in_pod].iter().try_for_each(|workload| Pod::put(&pod.mounts, workload.pid))?;
        [inside, in_pod, outside].into_iter().try_for_each(Workload::finish)?;
        equal_to_proc(&done[0], &report)?;
        for (done, expected) in done[1..].iter().zip([beside, false]) {
            let listed = done.threads.values().filter(|facts| report.thread(facts.tid).is_ok()).count();
            ensure!(listed == if expected { done.threads.len() } else { 0 }, "{flags:?}: {listed} are targets");
        }
        let label = report.0["target"]["label"].as_str().unwrap_or_default();
        ensure!(label.contains(if beside { UID } else { &ID[..12] }), "{label}");
        let told = &report.thread(done[0].threads.values().next().context("a thread")?.tid)?.0["container"];
        ensure!(*told == json!({"runtime": "unknown", "id": ID, "pod_uid": UID}), "{told}");
    }
    Ok(())
}
