//! A cgroup with a CPU quota, and one below it without: in the v1 hierarchy of the cpu controller where there is one, else
//! in cgroup v2.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{Report, Workload, eventually};

const V1: &str = "/sys/fs/cgroup/cpu";
const V2: &str = "/sys/fs/cgroup";

/// Enforcement period, us: the kernel's default.
const PERIOD_US: u64 = 100_000;

/// See the module; removed when dropped, once nobody is in it.
#[derive(Debug)]
pub struct Limited {
    /// The cgroup with the quota.
    pub with_quota: PathBuf,
    /// The one below it.
    below: PathBuf,
    v1: bool,
}

/// Threads that are always busy for a time, each on one of these CPUs, all in a cgroup, and the flags that name them.
///
/// # Errors
/// When one of them cannot be started.
pub fn busy_in(cgroup: &Path, cpus: &[usize], millis: &str) -> Result<(Vec<Workload>, Vec<String>)> {
    let (mut workloads, mut flags) = (Vec::new(), Vec::new());
    for cpu in cpus {
        let workload = Workload::start(&["pin", "--cpu", &cpu.to_string(), "--millis", millis])?;
        fs::write(cgroup.join("cgroup.procs"), workload.pid.to_string())?;
        flags.extend(["--pid".to_owned(), workload.pid.to_string()]);
        workloads.push(workload);
    }
    Ok((workloads, flags))
}

/// What cpu.stat says: periods, throttled ones, and ns throttled.
pub type Stat = (u64, u64, u64);

impl Limited {
    /// A cgroup that may use this share of one CPU.
    ///
    /// # Errors
    /// When it cannot be made here.
    pub fn new(cpus: f64) -> Result<Limited> {
        let v1 = Path::new(V1).join("cpu.cfs_quota_us").exists();
        let root = if v1 { V1 } else { V2 };
        if !v1 {
            mount_v2()?;
        }
        let with_quota = Path::new(root).join(format!("numatrace-quota-{}", std::process::id()));
        let limited = Limited { below: with_quota.join("below"), with_quota, v1 };
        fs::create_dir_all(&limited.with_quota).context("cannot make a cgroup")?;
        let quota_us = (PERIOD_US as f64 * cpus) as u64;
        if v1 {
            limited.write("cpu.cfs_period_us", &PERIOD_US.to_string())?;
            limited.write("cpu.cfs_quota_us", &quota_us.to_string())?;
        } else {
            limited.write("cpu.max", &format!("{quota_us} {PERIOD_US}"))?;
        }
        // Whatever else runs gets next to nothing beside it: what it waits for is the quota.
        if v1 { limited.write("cpu.shares", "262144") } else { limited.write("cpu.weight", "10000") }?;
        fs::create_dir_all(&limited.below).context("cannot make a cgroup")?;
        Ok(limited)
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        fs::write(self.with_quota.join(name), text).with_context(|| format!("cannot write {text} to {name}"))
    }

    /// The cgroup below as one of its own: in v2 the controller has to be switched on for it, and then no process may be in the
    /// one above.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn below(&self) -> Result<&Path> {
        if !self.v1 {
            self.write("cgroup.subtree_control", "+cpu")?;
            ensure!(self.below.join("cpu.max").exists(), "{} has no cpu controller", self.below.display());
        }
        Ok(&self.below)
    }

    /// Takes the quota away.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn lift(&self) -> Result<()> {
        if self.v1 { self.write("cpu.cfs_quota_us", "-1") } else { self.write("cpu.max", "max") }
    }

    /// What its cpu.stat says now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn stat(&self) -> Result<Stat> {
        let text = fs::read_to_string(self.with_quota.join("cpu.stat"))?;
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.trim().parse::<u64>().ok()).with_context(|| format!("{name} is not in: {text}"))
        };
        let ns = if self.v1 { value("throttled_time")? } else { 1_000 * value("throttled_usec")? };
        Ok((value("nr_periods")?, value("nr_throttled")?, ns))
    }

    /// What came since numatrace began, between `before` and `after`, is what the report has of it.
    ///
    /// # Errors
    /// When a number differs.
    pub fn equals(&self, report: &Report, before: Stat, after: Stat) -> Result<()> {
        let now = self.stat()?;
        let since = |then: Stat| [now.0 - then.0, now.1 - then.1, now.2 - then.2];
        let (most, least) = (since(before), since(after));
        let entries = report.0["throttle"].as_array().context("no quotas in the report")?;
        let name = self.with_quota.file_name().and_then(|name| name.to_str()).context("a name")?;
        let mine = entries.iter().find(|entry| entry["cgroup"].as_str().is_some_and(|path| path.ends_with(name)));
        let mine = mine.with_context(|| format!("{name} is not in {entries:?}"))?;
        let ours =
            ["periods", "throttled_periods", "throttled_ns"].map(|field| mine[field].as_u64().unwrap_or(u64::MAX));
        let between = ours.iter().zip(least).zip(most).all(|((ours, least), most)| (least..=most).contains(ours));
        ensure!(between, "[periods, throttled ones, ns throttled] are {ours:?}, cpu.stat says {least:?} to {most:?}");
        Ok(())
    }

    /// Waits until its cpu.stat stands still, as it does when all its threads sleep: an enforcement timer that was set still
    /// fires.
    ///
    /// # Errors
    /// When it does not.
    pub fn settle(&self) -> Result<()> {
        eventually("cpu.stat stands still", super::PATIENCE, || {
            let before = self.stat()?;
            std::thread::sleep(std::time::Duration::from_micros(3 * PERIOD_US));
            Ok(self.stat()? == before)
        })
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        for path in [&self.below, &self.with_quota] {
            // Processes that are being reaped hold a cgroup for a moment; what is left is empty, and harmless.
            let _ =
                eventually("a cgroup is empty", std::time::Duration::from_secs(5), || Ok(fs::remove_dir(path).is_ok()));
        }
    }
}

/// Mounts cgroup v2 where it is not yet, and lets cgroups below its root have quotas.
fn mount_v2() -> Result<()> {
    let control = Path::new(V2).join("cgroup.subtree_control");
    if !control.exists() {
        let mounted = Command::new("mount").args(["-t", "cgroup2", "none", V2]).status()?;
        ensure!(mounted.success(), "cannot mount cgroup v2 on {V2}");
    }
    let controllers = fs::read_to_string(Path::new(V2).join("cgroup.controllers"))?;
    if !controllers.split_whitespace().any(|name| name == "cpu") {
        bail!("neither cgroup v1 nor v2 has the cpu controller here: v2 has {controllers:?}");
    }
    fs::write(control, "+cpu").context("cannot switch the cpu controller on")
}
