//! Two recordings side by side, from end to end: a thread that hops between nodes or touches memory of the other one, and the same
//! kept to one node. Only the sign of changes is looked at, and whose they are: time passes unevenly in a guest.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::touches::Tuned;
use crate::live::{Workload, numatrace};

/// Records a workload for some seconds, as somebody at a shell does.
fn record(folder: &Path, name: &str, workload: &[&str]) -> Result<PathBuf> {
    let path = folder.join(name);
    let mut workload = Workload::start(workload)?;
    workload.go()?;
    let (file, pid) = (path.to_str().context("a path")?, workload.pid.to_string());
    let args = ["record", "-o", file, "--force", "--pid", &pid, "--duration", "10s", "-i", "200ms", "--quiet"];
    let ended = numatrace(&args)?;
    ensure!(ended.status.success(), "record: {}: {}", ended.status, ended.stderr);
    Ok(path)
}

fn compare(before: &Path, after: &Path) -> Result<Value> {
    let [before, after] = [before, after].map(|path| path.to_str().context("a path"));
    let (before, after) = (before?, after?);
    // What it says to people belongs into the guest's output.
    let ended = numatrace(&["diff", before, after, "--pin-to", "0"])?;
    ensure!(ended.status.success(), "diff: {}: {}", ended.status, ended.stderr);
    println!("{}", ended.stdout);
    let ended = numatrace(&["diff", before, after, "--format", "json"])?;
    ensure!(ended.status.success(), "diff: {}: {}", ended.status, ended.stderr);
    Ok(serde_json::from_str(&ended.stdout)?)
}

/// A number of a group of threads.
fn metric<'a>(document: &'a Value, group: &str, name: &str) -> Result<&'a Value> {
    let of = |list: &'a Value, key: &str, name: &str| {
        list.as_array()
            .and_then(|all| all.iter().find(|one| one[key] == name))
            .with_context(|| format!("no {name} in {list}"))
    };
    of(&of(&document["groups"], "name", group)?["metrics"], "metric", name)
}

/// Crossings of nodes are gone where the thread may not leave its node, and it is that thread's.
pub fn hopping_and_pinned() -> Result<()> {
    let _off = Tuned::balancing(false)?;
    let folder = std::env::temp_dir();
    let before = record(&folder, "hopping.numatrace", &["bounce", "100000000", "--nodes", "0,1"])?;
    let after = record(&folder, "pinned.numatrace", &["hops", "100000000", "--cpus", "0,1"])?;
    let document = compare(&before, &after)?;
    let crossings = metric(&document, "hopper", "migrations.cross_node")?;
    ensure!(crossings["verdict"] == "lower" && crossings["after"] == 0.0, "{crossings}");
    let moves = metric(&document, "hopper", "node_moves")?;
    ensure!(moves["verdict"] == "lower", "{moves}");
    let within = metric(&document, "hopper", "migrations.llc")?;
    let hops = within["after"].as_f64().unwrap_or(0.0);
    ensure!(within["verdict"] != "lower" && within["before"] == 0.0 && hops > 0.0, "{within}");
    let back = compare(&after, &before)?;
    let crossings = metric(&back, "hopper", "migrations.cross_node")?;
    ensure!(crossings["verdict"] == "higher" && crossings["before"] == 0.0, "{crossings}");
    let itself = compare(&before, &before)?;
    ensure!(itself["method"]["changes"] == 0, "{itself}");
    Ok(())
}

/// Remote touches are gone where memory lies beside its thread, and it is that thread's.
pub fn remote_and_local() -> Result<()> {
    let _off = Tuned::balancing(false)?;
    let folder = std::env::temp_dir();
    let rounds = |nodes| ["touch", "200", "--kind", "rounds", "--nodes", nodes, "--millis", "600000"];
    let before = record(&folder, "remote.numatrace", &rounds("0,1"))?;
    let after = record(&folder, "local.numatrace", &rounds("0,0"))?;
    let document = compare(&before, &after)?;
    let share = metric(&document, "toucher", "remote_share")?;
    ensure!(share["verdict"] == "lower", "{share}");
    let crossings = metric(&document, "toucher", "migrations.cross_node")?;
    ensure!(crossings["verdict"] == "nothing", "{crossings}");
    Ok(())
}
