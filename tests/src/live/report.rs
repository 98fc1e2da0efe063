//! Reading a report as a script would: by the names of schema 1.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// A whole report.
#[derive(Clone, Debug)]
pub struct Report(pub Value);

/// A thread's part of it.
#[derive(Clone, Copy, Debug)]
pub struct ThreadReport<'a>(pub &'a Value);

/// A number at a JSON pointer.
fn number(value: &Value, pointer: &str) -> Result<u64> {
    let found = value.pointer(pointer).with_context(|| format!("the report has no {pointer}"))?;
    found.as_u64().with_context(|| format!("{pointer} is {found}, not a number"))
}

impl Report {
    /// A number by its JSON pointer.
    pub fn number(&self, pointer: &str) -> Result<u64> {
        number(&self.0, pointer)
    }

    /// All threads that are listed.
    pub fn threads(&self) -> impl Iterator<Item = ThreadReport<'_>> {
        self.0["threads"].as_array().into_iter().flatten().map(ThreadReport)
    }

    /// A thread by its id; its last owner, where it had several.
    pub fn thread(&self, tid: u32) -> Result<ThreadReport<'_>> {
        let found = self.threads().filter(|thread| thread.0["tid"] == tid).last();
        found.with_context(|| format!("thread {tid} is not in the report: {}", self.0["threads"]))
    }

    /// The node by node counts of migrations.
    pub fn migration_matrix(&self) -> Result<Vec<Vec<u64>>> {
        serde_json::from_value(self.0["matrices"]["migrations"].clone()).context("the matrix is not one of numbers")
    }
}

impl<'a> ThreadReport<'a> {
    /// A number by its JSON pointer.
    pub fn number(&self, pointer: &str) -> Result<u64> {
        number(self.0, pointer).with_context(|| format!("thread {}", self.0["tid"]))
    }

    /// Its name.
    pub fn comm(&self) -> &'a str {
        self.0["comm"].as_str().unwrap_or_default()
    }

    /// Migrations of all levels.
    pub fn migrations(&self) -> Result<u64> {
        ["smt", "llc", "node", "cross_node"].iter().map(|level| self.number(&format!("/migrations/{level}"))).sum()
    }

    /// A count that must be `truth`. Fewer by what the kernel is known not to have told is right, too: some virtual
    /// machines' kernels hide switches of their own agents from every tracer, and the report says how many.
    pub fn counts(&self, what: &str, ours: u64, truth: u64) -> Result<()> {
        let unseen = self.number("/unseen_events")?;
        let fits = ours <= truth && truth - ours <= unseen;
        ensure!(fits, "{what} of {}: {ours} instead of {truth}, with {unseen} unseen", self.comm());
        Ok(())
    }

    /// All of these migrations came from changes of the allowed CPUs. How that shows depends on the kernel's
    /// preemption: the CPU's stopper moves the thread, or the thread has gone to sleep to wait for the stopper first,
    /// and is moved when that wakes it. One that happens to be queued at that moment is moved as by a load balancer.
    pub fn caused_by_affinity(&self, migrations: u64) -> Result<()> {
        let cause = |name: &str| self.number(&format!("/migrations/causes/{name}"));
        let known = cause("active_balance_or_affinity")? + cause("wakeup")? + cause("load_balance")?;
        ensure!(known == migrations, "{migrations} migrations have the causes {}", self.0["migrations"]["causes"]);
        Ok(())
    }

    /// Time on CPU by node.
    pub fn residency(&self) -> Result<Vec<u64>> {
        serde_json::from_value(self.0["residency_ns"].clone()).context("residency_ns is not a list of numbers")
    }
}
