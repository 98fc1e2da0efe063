//! The numbers of a finding as names and words that people read: `wait_ns: 1200000` as `wait 1.20ms`. Pure text.
//!
//! Names say what numbers are, as everywhere in the report's JSON: `_ns` a duration, `_share` a part of a whole, `_bytes` a size.

use serde_json::{Map, Number, Value};

use crate::text;
use crate::tui::cells::ABSENT;

/// Rows that are told of a list.
const MOST: usize = 12;

/// A name and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// In words.
    pub name: String,
    /// In words.
    pub value: String,
}

/// A row for each number; of a list of things one for each of them.
pub(super) fn rows(evidence: &Value) -> Vec<Row> {
    let mut rows = Vec::new();
    match evidence {
        Value::Object(all) => all.iter().for_each(|(name, value)| add(&mut rows, "", name, value)),
        Value::Null => {}
        other => add(&mut rows, "", "value", other),
    }
    rows
}

fn add(rows: &mut Vec<Row>, within: &str, name: &str, value: &Value) {
    let named = || format!("{within}{}", words(name));
    match value {
        Value::Object(all) => {
            let within = format!("{}, ", named());
            all.iter().for_each(|(name, value)| add(rows, &within, name, value));
        }
        Value::Array(all) if all.iter().any(Value::is_object) => {
            for (at, one) in all.iter().take(MOST).enumerate() {
                rows.push(Row { name: if at == 0 { named() } else { String::new() }, value: inline(name, one) });
            }
            if all.len() > MOST {
                let more = text::count((all.len() - MOST) as u64);
                rows.push(Row { name: String::new(), value: format!("... and {more} more") });
            }
        }
        other => rows.push(Row { name: named(), value: inline(name, other) }),
    }
}

/// A value within a line.
fn inline(name: &str, value: &Value) -> String {
    match value {
        Value::Null => ABSENT.into(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::Number(n) => number(name, n),
        Value::String(words) => text::visible(words),
        Value::Array(all) if all.is_empty() => "none".into(),
        Value::Array(all) => {
            let mut words: Vec<String> = all.iter().take(MOST).map(|one| inline(name, one)).collect();
            if all.len() > MOST {
                words.push(format!("... and {} more", text::count((all.len() - MOST) as u64)));
            }
            words.join(", ")
        }
        Value::Object(all) => fields(all),
    }
}

/// `redis (4711), wait 1.20ms`: of a thread, or a process, its name and id come first; of other things their name.
fn fields(all: &Map<String, Value>) -> String {
    let id = ["tid", "pid"].into_iter().find(|id| all.get(*id).is_some_and(Value::is_number));
    let thread = match (all.get("comm"), id.and_then(|id| all.get(id))) {
        (Some(Value::String(comm)), Some(id)) => Some(format!("{} ({id})", text::visible(comm))),
        _ => None,
    };
    let (named, told) = match (thread, all.get("name")) {
        (Some(thread), _) => (Some(thread), ["comm", id.unwrap_or_default()]),
        (None, Some(Value::String(name))) => (Some(text::visible(name)), ["name", "name"]),
        (None, _) => (None, [""; 2]),
    };
    let others = all.iter().filter(|(name, _)| !told.contains(&name.as_str()));
    let words: Vec<String> = others.map(|(name, value)| format!("{} {}", words(name), inline(name, value))).collect();
    named.into_iter().chain(words).collect::<Vec<_>>().join(", ")
}

fn number(name: &str, number: &Number) -> String {
    let float = number.as_f64().unwrap_or(f64::NAN);
    // A float that is too large, or below 0, saturates.
    let whole = number.as_u64().unwrap_or(float.round() as u64);
    let is = |unit: &str| name == unit || name.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_'));
    if is("share") {
        text::percent(float)
    } else if is("ns") {
        text::duration(whole)
    } else if is("bytes") {
        text::bytes(whole)
    } else if is_id(name) {
        number.to_string()
    } else if number.is_u64() {
        text::count(whole)
    } else {
        let rounded = format!("{float:.2}");
        rounded.strip_suffix(".00").map_or(rounded.clone(), str::to_owned)
    }
}

/// Numbers that are names.
fn is_id(name: &str) -> bool {
    let last = name.rsplit('_').next().unwrap_or(name);
    ["tid", "pid", "id", "cpu", "node", "tids", "pids", "ids"].contains(&last)
}

/// `wait_ns` is the wait: its unit is told with it.
fn words(name: &str) -> String {
    let bare = name.strip_suffix("_ns").or_else(|| name.strip_suffix("_bytes")).unwrap_or(name);
    text::visible(&bare.replace('_', " "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(evidence: &Value) -> Vec<String> {
        rows(evidence).into_iter().map(|row| format!("{}: {}", row.name, row.value)).collect()
    }

    #[test]
    fn numbers_are_told_with_their_units() {
        let evidence = json!({
            "wait_ns": 1_230_000, "remote_share": 0.25, "none_share": 0, "memory_bytes": 1_610_612_736u64, "tid": 4711,
            "switches": 12_345, "quota_cpus": 2.5, "threads": 4.0, "cgroup": "/a.slice", "known": null, "bound": true,
            "p99_ns": 4.7e6, "node": 3
        });
        let mut said = told(&evidence);
        said.sort_unstable();
        assert_eq!(
            said,
            [
                "bound: yes",
                "cgroup: /a.slice",
                "known: -",
                "memory: 1.50GiB",
                "node: 3",
                "none share: 0%",
                "p99: 4.70ms",
                "quota cpus: 2.50",
                "remote share: 25.0%",
                "switches: 12,345",
                "threads: 4",
                "tid: 4711",
                "wait: 1.23ms",
            ]
        );
    }

    #[test]
    fn lists_have_a_row_for_each_thing_and_an_end() {
        let thread = |tid: u32| json!({ "tid": tid, "wait_ns": 1_000 * tid });
        assert_eq!(
            told(&json!({ "threads": [thread(1), thread(2)] })),
            ["threads: tid 1, wait 1.00us", ": tid 2, wait 2.00us"]
        );
        assert_eq!(
            told(&json!({ "worst": { "comm": "redis" }, "all": [{ "comm": "a\u{1b}", "tid": 7, "x": 1 }] })),
            ["all: a\\x1b (7), x 1", "worst, comm: redis"]
        );
        assert_eq!(
            told(
                &json!({ "all": [{ "comm": "a", "pid": 7 }, { "comm": "b", "pid": null, "tid": 8 }, { "comm": "c" }, { "name": "cpu.stat", "state": "on" }] })
            ),
            ["all: a (7)", ": b (8), pid -", ": comm c", ": cpu.stat, state on"]
        );
        assert_eq!(
            told(&json!({ "nodes": [0, 1], "waits_ns": [5, 1_000], "none": [] })),
            ["nodes: 0, 1", "none: none", "waits: 5ns, 1.00us"]
        );
        let many = told(&json!({ "threads": (0..40).map(thread).collect::<Vec<_>>() }));
        assert_eq!((many.len(), many[MOST].as_str()), (MOST + 1, ": ... and 28 more"));
        assert_eq!(
            told(&json!({ "migrations": { "cross_node": 7, "why": { "x_ns": 1 } } })),
            ["migrations, cross node: 7", "migrations, why, x: 1ns"]
        );
    }

    #[test]
    fn odd_evidence_is_told_as_far_as_it_goes() {
        assert_eq!((told(&Value::Null), told(&json!({}))), (Vec::new(), Vec::new()));
        assert_eq!(told(&json!(7)), ["value: 7"]);
        assert_eq!(told(&json!({ "x_ns": -3, "y_bytes": 1e300, "\u{1b}": "\u{1b}" })).len(), 3);
        assert!(told(&json!({ "\u{1b}": "\u{1b}" })).iter().all(|row| !row.contains('\u{1b}')));
    }
}
