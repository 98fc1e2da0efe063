//! `numatrace serve` as a fleet has it: scraped by Prometheus, with TLS, as the unit of `deploy/` starts it, and in a storm of
//! connections.

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    net::TcpStream,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result, bail, ensure};
use numatrace_common::buckets::{PER_OCTAVE, bucket};
use numatrace_tests::{
    live::{
        Done, Workload,
        bpf::wait_until_attached,
        eventually, numatrace, program,
        serve::{Prometheus, Server, get, value},
        within,
    },
    prometheus::{Programs, dashboard, deployed, programs, queries},
};
use serde_json::{Value, json};

use crate::{Case, Scratch, busy_cpu, rights};

pub const CASES: &[Case] = &[
    ("prometheus_scrapes_for_a_minute_and_agrees_with_a_recording", scraped),
    ("tls_and_a_password_let_those_in_who_have_them", tls),
    ("the_rights_of_the_unit_are_enough_to_serve", rights_of_the_unit),
    ("a_thousand_connections_stop_no_counting_and_take_no_memory", storm),
];

/// How long the workload of the long run works.
const LOAD: Duration = Duration::from_secs(55);

/// How Prometheus scrapes `server` as one job.
fn scrape_config(job: &str, server: &Server, more: &Value) -> Value {
    let mut config = json!({
        "job_name": job,
        "honor_labels": true,
        "static_configs": [{ "targets": [server.address.to_string()] }],
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        config[key] = value.clone();
    }
    config
}

fn scraped() -> Result<()> {
    let Some(programs) = programs() else { return Ok(()) };
    let scratch = Scratch::new("serve")?;
    let mut workload =
        Workload::start(&["beats", "6", "--cpu", &busy_cpu()?, "--millis", &LOAD.as_millis().to_string()])?;
    let server = Server::start(&[])?;
    listens_only_where_asked(&server)?;
    let configuration = json!({
        "global": { "scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "5s" },
        "rule_files": [deployed("prometheus-rules.yml")],
        "scrape_configs": [scrape_config("numatrace", &server, &Value::Null)],
    });
    let classic = Prometheus::start(&programs, &scratch.0.join("classic"), &configuration, &[])?;
    let native = ["--enable-feature=native-histograms"];
    let native = Prometheus::start(&programs, &scratch.0.join("native"), &configuration, &native)?;
    let file = scratch.0.join("run.numatrace");
    let mut recorder = recorder(&file, workload.pid)?;
    let load = PerfLoad::start();
    workload.run()?;
    load.end()?;
    for prometheus in [&classic, &native] {
        scraped_since(prometheus, SystemTime::now())?;
    }
    recorder.end()?;
    let report = report(&file)?;

    for prometheus in [&classic, &native] {
        let scrapes = prometheus.number("count_over_time(up[5m])")?;
        ensure!(scrapes > LOAD.as_secs_f64() / 2.0 - 5.0, "only {scrapes} scrapes");
        let slowest = prometheus.number("max_over_time(scrape_duration_seconds[5m])")?;
        let up = prometheus.query("up[5m]")?;
        let collecting = prometheus.number("max_over_time(numatrace_scrape_collect_seconds[5m])")?;
        println!("{scrapes} scrapes, {slowest} s at most, of which collecting {collecting} s at most");
        ensure!(
            prometheus.number("min_over_time(up[5m])")? == 1.0,
            "a scrape failed, the slowest took {slowest} s: {up:?}"
        );
        rules_work(prometheus)?;
        dashboard_works(prometheus)?;
    }
    let waits = report["totals"]["runq"]["all"]["count"].as_u64().context("waits")?;
    let series = format!("numatrace_process_runq_latency_seconds_count{{pid=\"{}\"}}", workload.pid);
    // Each has some at its beginning and end that the other has not.
    within(0.01, "waits of the process", classic.number(&series)? as u64, waits)?;
    let series = format!("numatrace_process_runq_latency_seconds{{pid=\"{}\"}}", workload.pid);
    within(0.01, "waits of the process", native.number(&format!("histogram_count({series})"))? as u64, waits)?;
    for (quantile, field) in [("0.5", "p50_ns"), ("0.9", "p90_ns"), ("0.99", "p99_ns")] {
        let ours = report["totals"]["runq"]["all"][field].as_u64().context("a percentile")?;
        let ask = |prometheus: &Prometheus, series: &str| -> Result<u64> {
            let seconds = prometheus.number(&format!("histogram_quantile({quantile}, {series})"))?;
            Ok((seconds * 1e9).round() as u64)
        };
        let by_bucket = ask(&classic, &series.replace('{', "_bucket{"))?;
        let by_native = ask(&native, &series)?;
        println!("{quantile}: recording {ours} ns, classic {by_bucket} ns, native {by_native} ns");
        // A classic bucket is four native ones wide.
        ensure!(
            bucket(by_bucket).abs_diff(bucket(ours)) <= PER_OCTAVE,
            "{quantile}: {by_bucket} by classic buckets, {ours} in the recording"
        );
        ensure!(
            bucket(by_native).abs_diff(bucket(ours)) <= 1,
            "{quantile}: {by_native} by native buckets, {ours} in the recording"
        );
    }
    exposition_is_clean(&programs, &server, &scratch)?;
    workload.finish()?;
    server.stop()
}

/// Waits for a scrape that has all that was counted until `moment`: answers are up to a second old.
fn scraped_since(prometheus: &Prometheus, moment: SystemTime) -> Result<()> {
    let moment = moment.duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64() + 1.0;
    eventually("Prometheus has scraped once more", Duration::from_secs(30), || {
        Ok(prometheus.number("timestamp(up)")? > moment)
    })
}

/// One socket, at the address that was asked for.
fn listens_only_where_asked(server: &Server) -> Result<()> {
    let expected = [format!("tcp 0100007F:{:04X}", server.address.port())];
    let found = server.listeners()?;
    ensure!(found == expected, "it listens at {found:?} instead of {expected:?}");
    Ok(())
}

/// A recorder beside the server, attached.
fn recorder(file: &Path, pid: u32) -> Result<Recorder> {
    let mut command = Command::new(program("numatrace")?);
    command.args(["record", "--quiet", "--pid", &pid.to_string(), "-o"]).arg(file).stdin(Stdio::null());
    let recorder = Recorder(command.spawn()?);
    wait_until_attached(recorder.0.id())?;
    Ok(recorder)
}

struct Recorder(Child);

impl Recorder {
    fn end(&mut self) -> Result<()> {
        // SAFETY: kill has no memory effect here; the child has not been waited for, so the id is its own.
        numatrace_tests::workload::os::check(unsafe { libc::kill(self.0.id() as libc::pid_t, libc::SIGINT) })?;
        let status = self.0.wait()?;
        ensure!(status.success(), "numatrace record ended with {status}");
        Ok(())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn report(file: &Path) -> Result<Value> {
    let ended = numatrace(&["report", file.to_str().context("a path")?, "-f", "json"])?;
    ensure!(ended.status.success(), "{}", ended.stderr);
    Ok(serde_json::from_str(&ended.stdout)?)
}

/// `perf bench sched pipe` until it is dropped: a context switch every few microseconds.
struct PerfLoad(Option<Child>);

impl PerfLoad {
    fn start() -> PerfLoad {
        let mut command = Command::new("perf");
        command.args(["bench", "-r", "1", "sched", "pipe", "-T", "-l", "1000000000"]).process_group(0);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        if child.is_err() {
            println!("there is no perf here: the workload is all the load");
        }
        PerfLoad(child.ok())
    }
}

impl PerfLoad {
    /// It was a load all the time, where there is perf.
    fn end(mut self) -> Result<()> {
        let Some(child) = &mut self.0 else { return Ok(()) };
        let status = child.try_wait()?;
        ensure!(status.is_none(), "perf bench ended early: {status:?}");
        Ok(())
    }
}

impl Drop for PerfLoad {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Every rule was evaluated, and none failed.
fn rules_work(prometheus: &Prometheus) -> Result<()> {
    let groups = prometheus.api("/api/v1/rules")?;
    let rules: Vec<&Value> = groups["groups"]
        .as_array()
        .context("groups")?
        .iter()
        .flat_map(|group| group["rules"].as_array())
        .flatten()
        .collect();
    ensure!(rules.len() > 15, "{} rules", rules.len());
    let failed: Vec<_> = rules.iter().filter(|rule| rule["health"] != "ok").collect();
    ensure!(failed.is_empty(), "{failed:?}");
    for recorded in ["instance:numatrace_wait_share:ratio_5m", "cgroup:numatrace_runq_latency_seconds:p99_5m"] {
        ensure!(!prometheus.query(recorded)?.is_empty(), "{recorded} has no series");
    }
    Ok(())
}

/// Prometheus can evaluate every expression of the dashboard and of the documents, and most of them have series on any machine.
fn dashboard_works(prometheus: &Prometheus) -> Result<()> {
    for query in queries(include_str!("../../../docs/fleet.md")) {
        prometheus.query(query)?;
    }
    let mut empty = Vec::new();
    let expressions = dashboard();
    for expression in &expressions {
        if prometheus.query(expression)?.is_empty() {
            empty.push(expression.as_str());
        }
    }
    println!("{} of {} expressions have no series here:\n{}", empty.len(), expressions.len(), empty.join("\n"));
    // Without pods, quotas, several nodes and the kernel's statistics of programs.
    let may_be = [
        "pod!=",
        "namespace!=",
        "throttled",
        "remote",
        "hint_faults",
        "probes",
        "page_touches",
        "state=\"off\"",
        "refused",
    ];
    let missing: Vec<_> =
        empty.iter().filter(|expression| !may_be.iter().any(|part| expression.contains(part))).collect();
    ensure!(missing.is_empty(), "no series on this machine: {missing:?}");
    Ok(())
}

/// promtool finds nothing to complain about.
fn exposition_is_clean(programs: &Programs, server: &Server, scratch: &Scratch) -> Result<()> {
    let file = scratch.0.join("metrics");
    fs::write(&file, server.metrics()?)?;
    let output = Command::new(&programs.promtool).args(["check", "metrics"]).stdin(fs::File::open(&file)?).output()?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    ensure!(output.status.success() && said.trim().is_empty(), "promtool check metrics: {said}");
    Ok(())
}

fn tls() -> Result<()> {
    let Some(programs) = programs() else { return Ok(()) };
    let scratch = Scratch::new("serve-tls")?;
    let place = |name: &str| scratch.0.join(name);
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    fs::write(place("cert.pem"), made.cert.pem())?;
    fs::write(place("key.pem"), made.signing_key.serialize_pem())?;
    let hash = bcrypt::hash("right", 4)?;
    let web = json!({
        "tls_server_config": { "cert_file": place("cert.pem"), "key_file": place("key.pem") },
        "basic_auth_users": { "prometheus": hash },
    });
    fs::write(place("web.yml"), web.to_string())?;
    let server = Server::start(&["--web-config", place("web.yml").to_str().context("a path")?])?;
    let trusting = json!({ "ca_file": place("cert.pem") });
    let job = |name: &str, password: Option<&str>, tls: Option<&Value>| {
        let mut more = json!({ "scheme": "https" });
        if let Some(tls) = tls {
            more["tls_config"] = tls.clone();
        }
        if let Some(password) = password {
            more["basic_auth"] = json!({ "username": "prometheus", "password": password });
        }
        scrape_config(name, &server, &more)
    };
    let configuration = json!({
        "global": { "scrape_interval": "1s", "scrape_timeout": "1s" },
        "scrape_configs": [
            job("right", Some("right"), Some(&trusting)),
            job("wrong", Some("wrong"), Some(&trusting)),
            job("none", None, Some(&trusting)),
            job("stranger", Some("right"), None),
            scrape_config("plain", &server, &Value::Null),
        ],
    });
    let prometheus = Prometheus::start(&programs, &place("prometheus"), &configuration, &[])?;
    eventually("each of five has scraped", Duration::from_secs(30), || {
        Ok(prometheus.query("count_over_time(up[1m]) >= 3")?.len() == 5)
    })?;
    for series in prometheus.query("max_over_time(up[1m])")? {
        let lets_in = series["metric"]["job"] == "right";
        ensure!(series["value"][1] == if lets_in { "1" } else { "0" }, "{series}");
    }
    ensure!(prometheus.number("min_over_time(up{job=\"right\"}[1m])")? == 1.0, "a right scrape failed");
    let targets = prometheus.api("/api/v1/targets")?;
    for (job, why) in [("wrong", "401"), ("none", "401"), ("stranger", "certificate"), ("plain", "")] {
        let mut of_job = targets["activeTargets"].as_array().context("targets")?.iter();
        let target = of_job.find(|target| target["labels"]["job"] == job).context("a target")?;
        let said = target["lastError"].as_str().unwrap_or_default();
        ensure!(!said.is_empty() && said.contains(why), "{job}: {said}");
    }
    server.stop()
}

/// As `deploy/numatrace.service` starts it: a user without rights but three capabilities, whatever it executes.
fn rights_of_the_unit() -> Result<()> {
    // From include/uapi/linux/capability.h, in the order of the unit.
    const RIGHTS: [(&str, u32); 3] = [("CAP_BPF", 39), ("CAP_PERFMON", 38), ("CAP_SYSLOG", 34)];
    static NUMBERS: [u32; 3] = [RIGHTS[0].1, RIGHTS[1].1, RIGHTS[2].1];
    let unit = fs::read_to_string(deployed("numatrace.service"))?;
    let line = format!("\nAmbientCapabilities={}\n", RIGHTS.map(|(name, _)| name).join(" "));
    ensure!(unit.contains(&line), "the unit has other rights than {line}");
    let off = |server: &Server| -> Result<BTreeSet<String>> {
        let metrics = server.metrics()?;
        ensure!(value(&metrics, "numatrace_cpu_seconds_total").is_some_and(|seconds| seconds > 0.0), "{metrics}");
        ensure!(metrics.contains("\nnumatrace_process_cpu_seconds_total{"), "no process: {metrics}");
        ensure!(metrics.contains("\nnumatrace_cgroup_cpu_seconds_total{"), "no cgroup: {metrics}");
        let off = metrics
            .lines()
            .filter(|line| line.starts_with("numatrace_source_state{") && line.contains("state=\"off\""));
        Ok(off.map(str::to_owned).collect())
    };
    let root = Server::start(&[])?;
    let expected = off(&root)?;
    root.stop()?;
    let scratch = Scratch::new("serve-rights")?;
    let mut command = rights::as_nobody(&scratch, &NUMBERS)?;
    command.args(["serve", "--listen", "127.0.0.1:0"]);
    let server = Server::spawn(command)?;
    let found = off(&server)?;
    ensure!(found == expected, "off as root: {expected:?}, with the rights of the unit: {found:?}");
    server.stop()
}

fn storm() -> Result<()> {
    /// What 64 connections with their buffers may take, and the allocator's slack.
    const GROWTH: u64 = 48 << 20;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a valid place for the limit.
    numatrace_tests::workload::os::check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    limit.rlim_cur = limit.rlim_max.min(limit.rlim_cur.max(4_096));
    // SAFETY: a valid limit, of this process alone.
    numatrace_tests::workload::os::check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })?;
    let mut workload = Workload::start(&["pipes", "2", "--millis", "8000"])?;
    let server = Server::start(&[])?;
    let before = server.metrics()?;
    let (resident, mut most) = (server.resident()?, 0);
    workload.go()?;
    let mut connections = Vec::new();
    for nth in 0..1_000 {
        let Ok(mut stream) = TcpStream::connect_timeout(&server.address, Duration::from_secs(2)) else { continue };
        let begun: &[u8] = match nth % 4 {
            0 => b"",
            1 => b"GET /metrics HT",
            2 => b"GET /metrics HTTP/1.1\r\nHost: x\r\n",
            _ => b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
        };
        // It may have been refused by now.
        let _ = stream.write_all(begun);
        connections.push(stream);
        most = most.max(server.resident()?);
    }
    ensure!(connections.len() > 900, "only {} connections", connections.len());
    let until = Instant::now() + Duration::from_secs(4);
    while Instant::now() < until {
        for stream in &mut connections {
            let _ = stream.write_all(b"x");
        }
        most = most.max(server.resident()?);
        thread::sleep(Duration::from_millis(100));
    }
    let done = workload.done()?;
    drop(connections);
    let pid = workload.pid;
    let mut after = String::new();
    eventually("it answers again", Duration::from_secs(30), || {
        let answer = get(server.address, "/metrics");
        after = match answer {
            Ok((200, body)) => body,
            _ => return Ok(false),
        };
        Ok(true)
    })?;
    let counted = |metrics: &str| {
        let start = format!("numatrace_process_runq_latency_seconds_count{{pid=\"{pid}\"");
        metrics
            .lines()
            .find(|line| line.starts_with(&start))
            .and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
    };
    let counted = counted(&after).context("the workload has no series")? - counted(&before).unwrap_or(0);
    within(0.01, "waits of the workload", counted, turns(&done))?;
    most = most.max(server.resident()?);
    println!("resident {resident} before, {most} at most; {counted} waits counted meanwhile");
    ensure!(most < resident + GROWTH, "{resident} bytes resident before, {most} in the storm");
    let refused: f64 = after
        .lines()
        .filter(|line| line.starts_with("numatrace_connections_refused_total{"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum();
    ensure!(refused > 0.0, "nothing was refused of 1,000 connections");
    if value(&after, "numatrace_lost_total{reason=\"refused_threads\"}") != Some(0.0) {
        bail!("threads were refused: {after}");
    }
    workload.finish()?;
    server.stop()
}

/// Turns on a CPU of all of the workload's threads, as the kernel counted them: each began with a wait.
fn turns(done: &Done) -> u64 {
    let switches = done.threads.values().map(|facts| facts.after.since(&facts.before));
    switches.map(|facts| facts.voluntary + facts.involuntary).sum()
}
