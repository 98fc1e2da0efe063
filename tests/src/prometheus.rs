//! Prometheus' own programs, and what rules, dashboard and documents ask it: which names are in an expression, and which of them
//! `serve` has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use numatrace::serve::exposition::{Format, Served, encode, families};
use serde_json::{Value, json};
pub use xtask::setup::prometheus::Programs;
use xtask::shell::{in_ci, root};

use crate::made_sums;

/// Both programs; `None`, with a word about it, where they are not there.
///
/// # Panics
/// In continuous integration, where they have to be there.
pub fn programs() -> Option<Programs> {
    let found = xtask::setup::prometheus::programs();
    if found.is_none() {
        let why = "Prometheus is not here: cargo xtask setup fetches it";
        assert!(!in_ci(), "{why}");
        eprintln!("skipped: {why}");
    }
    found
}

/// A file of `deploy/`.
pub fn deployed(name: &str) -> std::path::PathBuf {
    root().join("deploy").join(name)
}

/// Names of all series that `serve` can have, each with its labels. A native histogram has the name of its family.
pub fn series() -> BTreeMap<String, BTreeSet<String>> {
    let served = Served { refused: vec![("limit", 1)], ..Served::default() };
    let sums = made_sums::sums();
    let told = encode(&families(&sums, &served, &mut made_sums::container), Format::Text, 0);
    let told = String::from_utf8(told).expect("text");
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in told.lines().filter(|line| !line.starts_with('#')) {
        let (name, labels) = selectors(line).into_iter().next().expect("a name");
        if let Some(family) = name.strip_suffix("_sum") {
            all.entry(family.to_owned()).or_default().extend(labels.clone());
        }
        all.entry(name).or_default().extend(labels);
    }
    all
}

/// Names of numatrace's series in an expression, recorded ones too, each with the labels that it selects by.
pub fn selectors(expression: &str) -> Vec<(String, BTreeSet<String>)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(start) = rest.find(is_name) {
        let name = rest[start..].split(|c| !is_name(c)).next().unwrap_or_default();
        rest = &rest[start + name.len()..];
        if !name.starts_with("numatrace_") && !name.contains(":numatrace_") {
            continue;
        }
        let mut labels = BTreeSet::new();
        if let Some(mut inside) = rest.strip_prefix('{') {
            while let Some(equals) = inside.find(['=', '!', '}']).filter(|at| !inside[*at..].starts_with('}')) {
                labels.insert(inside[..equals].trim_matches([',', ' ']).to_owned());
                let value = &inside[inside.find('"').expect("a quoted value") + 1..];
                let mut escaped = false;
                let end = value.find(|c| {
                    let ends = c == '"' && !escaped;
                    escaped = c == '\\' && !escaped;
                    ends
                });
                inside = &value[end.expect("a quote") + 1..];
            }
            rest = inside;
        }
        found.push((name.to_owned(), labels));
    }
    found
}

/// Every expression of the dashboard, as Grafana sends it with everything chosen.
pub fn dashboard() -> Vec<String> {
    let text = std::fs::read_to_string(deployed("grafana-dashboard.json")).expect("a dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
    let written = targets.map(|target| target["expr"].as_str().expect("an expression").to_owned());
    written.map(|expression| chosen(&dashboard, &expression)).collect()
}

/// Every variable that the dashboard has stands for everything.
fn chosen(dashboard: &Value, expression: &str) -> String {
    let mut expression = expression.replace("$__rate_interval", "1m");
    for variable in dashboard["templating"]["list"].as_array().expect("variables") {
        let name = variable["name"].as_str().expect("a name");
        expression = expression.replace(&format!("${name}"), ".*");
    }
    assert!(!expression.contains('$'), "a variable that the dashboard does not have: {expression}");
    expression
}

/// The blocks of a document that are marked as PromQL.
pub fn queries(document: &str) -> Vec<&str> {
    document.split("```promql\n").skip(1).filter_map(|part| part.split("```").next()).collect()
}

/// Lets Prometheus' own parser read expressions, as rules.
///
/// # Panics
/// When it refuses one, with what it says.
pub fn parsed(programs: &Programs, expressions: &[String]) {
    let rule = |(nth, expression): (usize, &String)| json!({ "record": format!("check:{nth}"), "expr": expression });
    let rules: Vec<Value> = expressions.iter().enumerate().map(rule).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("rules.yml");
    std::fs::write(&file, json!({ "groups": [{ "name": "check", "rules": rules }] }).to_string()).expect("a file");
    promtool(programs, &["check", "rules"], &file);
}

/// Runs promtool over a file and returns what it says.
///
/// # Panics
/// When it fails, with what it says.
pub fn promtool(programs: &Programs, args: &[&str], file: &Path) -> String {
    let output = Command::new(&programs.promtool).args(args).arg(file).output().expect("promtool runs");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "promtool {args:?}: {said}");
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_with_the_labels_that_select() {
        let expression =
            r#"sum by (le) (rate(numatrace_x_bucket{a="}\"{,b=",c!~"d"}[5m])) / cgroup:numatrace_y:sum + up{job="x"}"#;
        let labels = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let expected = [("numatrace_x_bucket", labels(&["a", "c"])), ("cgroup:numatrace_y:sum", labels(&[]))];
        assert_eq!(selectors(expression), expected.map(|(name, labels)| (name.to_owned(), labels)));
    }
}
