//! Page touches as a report tells them, against what the workload `touch` says and the kernel counts.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Done, Report, ThreadReport, Tracer, Workload};
use crate::workload::Kind;

/// Kinds of page touches in a report.
pub const KINDS: [&str; 6] = ["first_touch", "file", "cow", "huge", "zero", "other"];

/// Kinds whose touches the thread makes itself, all of them of one sort: each with how many to make.
pub const EXACT: [(Kind, usize); 13] = [
    (Kind::Anon, 256),
    (Kind::AnonReadZero, 200),
    (Kind::File, 64),
    (Kind::FileAround, 256),
    (Kind::Shared, 130),
    (Kind::SharedFile, 140),
    (Kind::Cow, 150),
    (Kind::CowFile, 160),
    (Kind::Huge, 6),
    (Kind::Short, 170),
    (Kind::Kernel, 180),
    (Kind::Retouch, 256),
    (Kind::Populate, 256),
];

/// Kinds whose touches a child makes.
pub const BY_CHILD: [(Kind, usize); 2] = [(Kind::CowChild, 220), (Kind::Exiting, 230)];

/// Touches of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// On the CPU's node.
    pub local: u64,
    /// On another.
    pub remote: u64,
    /// Nobody knows.
    pub unknown: u64,
}

impl Count {
    /// All of them.
    pub fn all(&self) -> u64 {
        self.local + self.remote + self.unknown
    }
}

impl ThreadReport<'_> {
    /// Page touches of a kind; `None` where the source in use does not tell this one apart.
    ///
    /// # Errors
    /// When the report has no page touches at all.
    pub fn touches(&self, kind: &str) -> Result<Option<Count>> {
        ensure!(self.0["touches"].is_object(), "{} has no touches: {}", self.comm(), self.0["touches"]);
        if self.0["touches"][kind].is_null() {
            return Ok(None);
        }
        let part = |name: &str| self.number(&format!("/touches/{kind}/{name}"));
        Ok(Some(Count { local: part("local")?, remote: part("remote")?, unknown: part("unknown")? }))
    }

    /// Page touches of every kind together, the page of zeros included.
    ///
    /// # Errors
    /// When the report has no page touches at all.
    pub fn all_touches(&self) -> Result<Count> {
        let mut sum = Count::default();
        for kind in KINDS {
            let part = self.touches(kind)?.unwrap_or_default();
            sum.local += part.local;
            sum.remote += part.remote;
            sum.unknown += part.unknown;
        }
        Ok(sum)
    }

    /// Page touches, `[cpu node][page node]` by position.
    ///
    /// # Errors
    /// When there are none.
    pub fn touches_by_node(&self) -> Result<Vec<Vec<u64>>> {
        matrix(&self.0["touches_by_node"])
    }
}

/// A matrix of counts.
fn matrix(value: &Value) -> Result<Vec<Vec<u64>>> {
    serde_json::from_value(value.clone()).with_context(|| format!("{value} is no matrix"))
}

impl Report {
    /// The position of a node by its id.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn position(&self, node: usize) -> Result<usize> {
        let nodes = self.0["host"]["nodes"].as_array().context("no nodes")?;
        nodes.iter().position(|known| known["id"] == node).with_context(|| format!("there is no node {node}"))
    }

    /// Sources of these names, as `numatrace::snapshot::sources` has them.
    pub fn sources<'a>(&'a self, names: &'a [&str]) -> impl Iterator<Item = &'a Value> {
        let named = |source: &&Value| source["name"].as_str().is_some_and(|name| names.contains(&name));
        self.0["sources"].as_array().into_iter().flatten().filter(named)
    }

    /// Every reason that a source gives, for a message or to look for words.
    pub fn reasons(&self) -> String {
        let sources = self.0["sources"].as_array().into_iter().flatten();
        let reasons = sources.filter(|source| !source["reason"].is_null());
        let said = reasons.map(|source| format!("{} is {}: {}", source["name"], source["state"], source["reason"]));
        let said = said.collect::<Vec<_>>().join("; ");
        if said.is_empty() { "every source is on".into() } else { said }
    }
}

/// One workload that has touched.
#[derive(Debug)]
pub struct Touched {
    kind: Kind,
    nodes: (usize, usize),
    /// What it says.
    pub done: Done,
    /// The thread that made the touches.
    pub tid: u32,
}

/// Runs workloads of these kinds one after another beside one numatrace, which is told of all of them.
///
/// # Errors
/// When a workload takes other faults than its kind promises, or numatrace fails.
pub fn touch_all(kinds: &[(Kind, usize)], nodes: (usize, usize), flags: &[&str]) -> Result<(Vec<Touched>, Report)> {
    let mut workloads = kinds.iter().map(|(kind, count)| start(*kind, *count, nodes)).collect::<Result<Vec<_>>>()?;
    let by_child = kinds.iter().any(|(kind, _)| kind.by_child());
    let ids = workloads.iter().map(|workload| if by_child { Ok(workload.pid) } else { workload.tid("toucher") });
    let ids: Vec<String> = ids.map(|id| id.map(|id| id.to_string())).collect::<Result<_>>()?;
    // A single thread each: nothing else then is in the matrix.
    let mut tracer = Tracer::start(&[&[if by_child { "--pid" } else { "--tid" }, &ids.join(",")], flags].concat())?;
    let mut touched = Vec::new();
    for (workload, (kind, _)) in workloads.iter_mut().zip(kinds) {
        let done = workload.run().with_context(|| kind.name())?;
        let tid = if kind.by_child() {
            let child = done.facts["toucher"]["child"].as_u64().context("there is no child")?;
            u32::try_from(child)?
        } else {
            workload.tid("toucher")?
        };
        touched.push(Touched::new(*kind, nodes, done, tid));
    }
    let report = tracer.stop()?;
    workloads.into_iter().try_for_each(Workload::finish)?;
    Ok((touched, report))
}

/// Starts a workload that touches.
///
/// # Errors
/// When it fails.
pub fn start(kind: Kind, count: usize, nodes: (usize, usize)) -> Result<Workload> {
    let nodes = format!("{},{}", nodes.0, nodes.1);
    let workload = Workload::start(&["touch", &count.to_string(), "--kind", kind.name(), "--nodes", &nodes]);
    workload.with_context(|| kind.name())
}

/// A cell of a matrix in which rows without touches can be missing.
fn at(matrix: &[Vec<u64>], (row, column): (usize, usize)) -> u64 {
    matrix.get(row).and_then(|row| row.get(column)).copied().unwrap_or(0)
}

impl Touched {
    /// A workload that has run.
    pub fn new(kind: Kind, nodes: (usize, usize), done: Done, tid: u32) -> Touched {
        Touched { kind, nodes, done, tid }
    }

    /// A number among its facts.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn fact(&self, name: &str) -> Result<u64> {
        let fact = &self.done.facts["toucher"][name];
        fact.as_u64().with_context(|| format!("the workload says {fact} of {name}"))
    }

    /// The workload itself is right: from one gate to the other the kernel counted for the thread what it says, and the
    /// pages are where they were to be.
    ///
    /// # Errors
    /// When not, saying how.
    pub fn is_true(&self) -> Result<()> {
        let facts = &self.done.threads["toucher"];
        let (ours, kernel) = (self.fact("faults")?, facts.after.since(&facts.before).faults());
        if !self.kind.by_child() {
            ensure!(ours == kernel, "{ours} faults around the touches, {kernel} from gate to gate");
        }
        let on: BTreeMap<String, u64> = match &self.done.facts["toucher"]["pages_on"] {
            Value::Null => return Ok(()),
            on => serde_json::from_value(on.clone())?,
        };
        let place = match self.kind {
            Kind::AnonReadZero => "none".to_owned(),
            // The parent's own are where they were.
            Kind::CowChild => self.nodes.0.to_string(),
            _ => self.nodes.1.to_string(),
        };
        ensure!(on.get(&place).copied() == Some(self.fact("pages")?), "pages are on {on:?}, not all on {place}");
        if self.kind == Kind::Huge {
            let huge = self.fact("huge_pages")?;
            ensure!(huge == self.fact("pages")?, "{huge} huge pages instead of {}", self.fact("pages")?);
        }
        Ok(())
    }

    /// A report has exactly its touches: in its kind and no other, in its cell and no other, and none unknown.
    ///
    /// # Errors
    /// When not, saying how.
    pub fn is_exact(&self, report: &Report) -> Result<()> {
        if self.kind.by_child() {
            return self.has_child(report);
        }
        let (touches, thread) = (self.fact("touches")?, report.thread(self.tid)?);
        for kind in KINDS {
            let ours = thread.touches(kind)?;
            let mut truth = Count::default();
            if kind == self.kind.counted_as() {
                // The page of zeros is on no node that matters.
                match (kind, self.nodes.0 == self.nodes.1) {
                    ("zero", _) => truth.unknown = touches,
                    (_, true) => truth.local = touches,
                    (_, false) => truth.remote = touches,
                }
            }
            ensure!(ours.unwrap_or_default() == truth, "{kind} is {ours:?} instead of {truth:?}");
        }
        let cell = (report.position(self.nodes.0)?, report.position(self.nodes.1)?);
        let by_node = thread.touches_by_node()?;
        let in_cell = if matches!(self.kind.counted_as(), "zero" | "none") { 0 } else { touches };
        for (row, counts) in by_node.iter().enumerate() {
            for (column, count) in counts.iter().enumerate() {
                let truth = if (row, column) == cell { in_cell } else { 0 };
                ensure!(*count == truth, "({row}, {column}) is {count} instead of {truth}: {by_node:?}");
            }
        }
        ensure!(at(&by_node, cell) == in_cell, "{cell:?} is not {in_cell}: {by_node:?}");
        let share = &thread.0["remote_share"];
        let truth = if self.nodes.0 == self.nodes.1 { 0.0 } else { 1.0 };
        let right = if in_cell == 0 { share.is_null() } else { share.as_f64() == Some(truth) };
        ensure!(right, "remote_share is {share}");
        Ok(())
    }

    /// As [`Self::is_exact`], while automatic NUMA balancing is on: after a hint fault that was a read, the kernel has the
    /// page mapped for reading, and the next write is a fault of its own on a page that is there, which is a copy-on-write.
    /// So many there can be besides, and nothing else.
    ///
    /// # Errors
    /// When not, saying how.
    pub fn is_exact_under_balancing(&self, report: &Report) -> Result<()> {
        let thread = report.thread(self.tid)?;
        let hints = &thread.0["hint_faults"];
        let planted = hints["local"].as_u64().unwrap_or(0) + hints["remote"].as_u64().unwrap_or(0);
        let own = if self.kind.counted_as() == "none" { 0 } else { self.fact("touches")? };
        for kind in KINDS {
            let ours = thread.touches(kind)?.unwrap_or_default();
            let truth = if kind == self.kind.counted_as() { own } else { 0 };
            let more = if kind == "cow" { planted } else { 0 };
            ensure!(
                (truth..=truth + more).contains(&ours.all()),
                "{kind} is {ours:?}, not {truth}; {planted} hint faults"
            );
            ensure!(kind == "zero" || ours.unknown == 0, "some of {kind} are unknown: {ours:?}");
        }
        let cell = (report.position(self.nodes.0)?, report.position(self.nodes.1)?);
        let in_cell = if self.kind.counted_as() == "zero" { 0 } else { own };
        let counted = at(&thread.touches_by_node()?, cell);
        ensure!((in_cell..=in_cell + planted).contains(&counted), "{cell:?} is {counted}, not {in_cell}");
        Ok(())
    }

    /// A child has what the kernel counted for it in all, and among that exactly the touches of its kind. Besides these
    /// it faults on its stack and on code: of that only the sum is known.
    fn has_child(&self, report: &Report) -> Result<()> {
        let (touches, faults) = (self.fact("child_touches")?, self.fact("child_faults")?);
        let child = report.thread(self.tid)?;
        ensure!(child.0["exited"] == true, "the child is gone but not said to be");
        let all = child.all_touches()?;
        ensure!(all.all() == faults, "{all:?} of {faults} faults: {}", child.0["touches"]);
        ensure!(all.unknown == 0, "some are unknown: {}", child.0["touches"]);
        let ours = child.touches(self.kind.counted_as())?.unwrap_or_default();
        if self.nodes.0 == self.nodes.1 {
            let possible = touches..=faults;
            ensure!(possible.contains(&ours.local), "{ours:?} instead of {touches} and at most {faults}");
        } else {
            // What a child faults on besides is local to it.
            ensure!(ours.remote == touches, "{ours:?} instead of {touches} remote ones");
            let cell = at(&child.touches_by_node()?, (report.position(self.nodes.0)?, report.position(self.nodes.1)?));
            ensure!(cell >= touches, "the cell has {cell} of {touches}");
        }
        Ok(())
    }

    /// A report that only knows where a page was when the fault began has them all, resolved or not.
    ///
    /// # Errors
    /// When not, saying how.
    pub fn is_there(&self, report: &Report) -> Result<()> {
        let (thread, all) = (report.thread(self.tid)?, report.thread(self.tid)?.all_touches()?);
        let truth = self.fact(if self.kind.by_child() { "child_faults" } else { "touches" })?;
        ensure!(all.all() == truth, "{all:?} instead of {truth}: {}", thread.0["touches"]);
        Ok(())
    }
}

/// Checks every one of them, so that one failure does not hide the others.
///
/// # Errors
/// All failures, by kind.
pub fn each(touched: &[Touched], check: impl Fn(&Touched) -> Result<()>) -> Result<()> {
    let failure = |touched: &Touched| {
        let error = check(touched).err()?;
        let (cpu, page) = touched.nodes;
        Some(format!("{} from node {cpu} on node {page}: {error:#}", touched.kind.name()))
    };
    let failures: Vec<String> = touched.iter().filter_map(failure).collect();
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

/// Touches of every kind are counted exactly, each workload is right itself, and the matrix is the sum of threads.
///
/// # Errors
/// All failures, by kind.
pub fn exact(kinds: &[(Kind, usize)], nodes: (usize, usize), flags: &[&str]) -> Result<()> {
    let (touched, report) = touch_all(kinds, nodes, flags)?;
    each(&touched, Touched::is_true)?;
    each(&touched, |touched| touched.is_exact(&report)).with_context(|| report.reasons())?;
    let mut sum = matrix(&report.0["matrices"]["page_touches"]).context("page_touches")?;
    for thread in report.threads() {
        for (left, row) in sum.iter_mut().zip(thread.touches_by_node()?) {
            left.iter_mut().zip(row).for_each(|(left, count)| *left = left.wrapping_sub(count));
        }
    }
    ensure!(sum.iter().flatten().all(|left| *left == 0), "the matrix is not the sum of threads: it has {sum:?} more");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn touched(kind: Kind, nodes: (usize, usize), touches: u64) -> Touched {
        let none = json!({ "cpu_ns": 0, "run_delay_ns": 0, "turns": 0, "voluntary": 0, "involuntary": 0,
            "minor_faults": 3, "major_faults": 0 });
        let mut after = none.clone();
        after["minor_faults"] = (3 + touches).into();
        let done = json!({
            "threads": { "toucher": { "tid": 7, "before": none, "after": after } },
            "facts": { "toucher": { "touches": touches, "faults": touches, "pages": touches,
                "child_touches": touches, "child_faults": touches + 5, "pages_on": { "1": touches } } },
        });
        Touched::new(kind, nodes, serde_json::from_value(done).unwrap(), 7)
    }

    /// A report of one thread on a machine with two nodes.
    fn report(kind: &str, local: u64, remote: u64, cells: [[u64; 2]; 2]) -> Report {
        let count =
            |local: u64, remote: u64, unknown: u64| json!({ "local": local, "remote": remote, "unknown": unknown });
        let mut touches: Value = KINDS.iter().map(|kind| ((*kind).to_owned(), count(0, 0, 0))).collect();
        touches[kind] = if kind == "zero" { count(0, 0, local) } else { count(local, remote, 0) };
        let known = cells.iter().flatten().sum::<u64>();
        let share = (known > 0).then(|| remote as f64 / known as f64);
        Report(json!({
            "host": { "nodes": [{ "id": 0 }, { "id": 1 }] },
            "threads": [{ "tid": 7, "comm": "toucher", "exited": true, "touches": touches,
                "touches_by_node": cells, "remote_share": share }],
        }))
    }

    #[test]
    fn exact_is_the_right_kind_in_the_right_cell_and_nothing_else() {
        let anon = touched(Kind::Anon, (0, 1), 9);
        anon.is_true().unwrap();
        let fits = |report: Report| anon.is_exact(&report).is_ok();
        assert!(fits(report("first_touch", 0, 9, [[0, 9], [0, 0]])));
        assert!(!fits(report("first_touch", 0, 8, [[0, 8], [0, 0]])), "one is missing");
        assert!(!fits(report("first_touch", 9, 0, [[0, 9], [0, 0]])), "not remote");
        assert!(!fits(report("cow", 0, 9, [[0, 9], [0, 0]])), "another kind");
        assert!(!fits(report("first_touch", 0, 9, [[0, 0], [9, 0]])), "another cell");
        assert!(!fits(report("first_touch", 0, 9, [[0, 9], [1, 0]])), "one more");
    }

    #[test]
    fn the_page_of_zeros_and_pages_that_are_mapped_are_in_no_cell() {
        let zero = touched(Kind::AnonReadZero, (0, 1), 9);
        zero.is_exact(&report("zero", 9, 0, [[0; 2]; 2])).unwrap();
        assert!(zero.is_exact(&report("zero", 9, 0, [[0, 9], [0, 0]])).is_err());
        let retouch = touched(Kind::Retouch, (0, 1), 0);
        retouch.is_exact(&report("first_touch", 0, 0, [[0; 2]; 2])).unwrap();
        assert!(retouch.is_exact(&report("first_touch", 0, 1, [[0, 1], [0, 0]])).is_err());
    }

    #[test]
    fn a_child_has_its_touches_among_faults_of_its_own() {
        let child = touched(Kind::Exiting, (0, 1), 9);
        let mut with_stack = report("first_touch", 0, 9, [[5, 9], [0, 0]]);
        with_stack.0["threads"][0]["touches"]["cow"]["local"] = 5.into();
        child.is_exact(&with_stack).unwrap();
        let lacks_some = report("first_touch", 0, 9, [[0, 9], [0, 0]]);
        assert!(child.is_exact(&lacks_some).is_err());
        child.is_there(&with_stack).unwrap();
        assert!(child.is_there(&lacks_some).is_err());
    }

    #[test]
    fn a_report_without_touches_is_no_report_of_zero() {
        let mut none = report("first_touch", 0, 0, [[0; 2]; 2]);
        none.0["threads"][0]["touches"] = Value::Null;
        assert!(touched(Kind::Retouch, (0, 1), 0).is_exact(&none).is_err());
    }
}
