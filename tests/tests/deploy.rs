//! What is in `deploy/` and what docs/fleet.md says, read by those for whom it is written: Prometheus, systemd, Kubernetes' schemas,
//! DuckDB, and numatrace's own command line.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use numatrace_tests::exported::{Wanted, python, query_finds_rows, read_by, recording};
use numatrace_tests::live::program;
use numatrace_tests::prometheus::{dashboard, deployed, parsed, programs, promtool, queries, selectors, series};
use serde_json::{Value, json};
use xtask::setup::readers;
use xtask::shell::which;

const FLEET: &str = include_str!("../../docs/fleet.md");

/// The documents of a YAML file of `deploy/`.
fn documents(python: &Path, name: &str) -> Vec<Value> {
    match read_by(python, "documents.py", &[&deployed(name)]) {
        Value::Array(documents) => documents,
        other => panic!("{other}"),
    }
}

fn rules(python: &Path) -> Vec<Value> {
    let groups = documents(python, "prometheus-rules.yml").remove(0);
    let groups = groups["groups"].as_array().expect("groups").iter();
    groups.flat_map(|group| group["rules"].as_array().expect("rules").clone()).collect()
}

/// Each name in each expression is one that `serve` tells or that a rule records, and each label one that it has.
fn known(expressions: &[String], recorded: &BTreeSet<String>) {
    let series = series();
    for expression in expressions {
        for (name, labels) in selectors(expression) {
            if recorded.contains(&name) {
                continue;
            }
            let Some(has) = series.get(&name) else { panic!("serve has no {name}: {expression}") };
            // Those that Prometheus adds.
            let unknown = labels.iter().find(|label| !has.contains(*label) && *label != "instance" && *label != "job");
            assert_eq!(unknown, None, "a label that {name} does not have: {expression}");
        }
    }
}

/// What a case of the rules' tests checks in this way; it need not.
fn of_case<'a>(case: &'a Value, key: &str) -> &'a [Value] {
    case[key].as_array().map_or(&[], Vec::as_slice)
}

fn recorded(rules: &[Value]) -> BTreeSet<String> {
    rules.iter().filter_map(|rule| Some(rule["record"].as_str()?.to_owned())).collect()
}

#[test]
fn each_alert_is_tested_and_passes() {
    let Some(programs) = programs() else { return };
    promtool(&programs, &["check", "rules"], &deployed("prometheus-rules.yml"));
    promtool(&programs, &["test", "rules"], &deployed("prometheus-rules-test.yml"));
    let Some(python) = python() else { return };
    let tests = documents(&python, "prometheus-rules-test.yml").remove(0);
    for rule in rules(&python) {
        let Some(alert) = rule["alert"].as_str() else { continue };
        let cases = tests["tests"].as_array().expect("tests").iter();
        let checks: Vec<&Value> = cases
            .flat_map(|case| of_case(case, "alert_rule_test"))
            .filter(|check| check["alertname"] == alert)
            .collect();
        let fires = |check: &&&Value| !check["exp_alerts"].as_array().expect("alerts").is_empty();
        assert!(checks.iter().any(|check| fires(&check)), "no test in which {alert} fires");
        assert!(!checks.iter().all(|check| fires(&check)), "no test in which {alert} does not fire");
        for text in ["summary", "description"] {
            assert!(rule["annotations"][text].is_string(), "{alert} has no {text}");
        }
        assert!(FLEET.contains(&format!("`{alert}`")), "docs/fleet.md does not tell of {alert}");
    }
}

#[test]
fn rules_ask_for_what_serve_tells() {
    let Some(python) = python() else { return };
    let rules = rules(&python);
    let expressions: Vec<String> =
        rules.iter().map(|rule| rule["expr"].as_str().expect("an expression").to_owned()).collect();
    assert!(expressions.len() > 15);
    known(&expressions, &recorded(&rules));
}

/// What the tests of the rules expect to be told, with a cgroup whose name has a quote in it.
#[test]
fn commands_of_alerts_are_numatraces_and_quoted_for_a_shell() {
    let Some(python) = python() else { return };
    let tests = documents(&python, "prometheus-rules-test.yml").remove(0);
    let mut commands = 0;
    let cases = tests["tests"].as_array().expect("tests").iter();
    let alerts = cases
        .flat_map(|case| of_case(case, "alert_rule_test"))
        .flat_map(|check| check["exp_alerts"].as_array().expect("alerts"));
    for alert in alerts {
        let text = alert["exp_annotations"]["description"].as_str().expect("a description");
        for command in text.split('`').skip(1).step_by(2).filter(|text| text.starts_with("numatrace ")) {
            let words = shell_words(command);
            accepted(&words);
            if let Some(at) = words.iter().position(|word| word == "--cgroup") {
                assert_eq!(words[at + 1].to_str(), alert["exp_labels"]["cgroup"].as_str(), "{command}");
            }
            commands += 1;
        }
    }
    assert!(commands >= 8, "{commands}");
}

/// The command line takes these words. A command without arguments is merely named: there is one of that name.
fn accepted(words: &[OsString]) {
    let mut words = words.to_vec();
    if words.len() == 2 {
        words.push("-h".into());
    }
    if let Err(error) = numatrace::cli::parse(&words) {
        assert_eq!(error.exit_code(), 0, "{words:?}: {error}");
    }
}

/// A line as a shell splits it.
fn shell_words(line: &str) -> Vec<OsString> {
    use std::os::unix::ffi::OsStringExt as _;
    let output = Command::new("sh").args(["-c", &format!("printf '%s\\0' {line}")]).output().expect("a shell");
    assert!(output.status.success(), "{line}");
    let words = output.stdout.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec()));
    let mut words: Vec<OsString> = words.collect();
    words.pop();
    words
}

#[test]
fn the_dashboard_asks_for_what_serve_tells_and_explains_each_panel() {
    let text = fs::read_to_string(deployed("grafana-dashboard.json")).expect("a dashboard");
    let json: Value = serde_json::from_str(&text).expect("JSON");
    let panels: Vec<&Value> = json["panels"].as_array().expect("panels").iter().collect();
    let mut ids = BTreeSet::new();
    for panel in &panels {
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "an id twice: {}", panel["id"]);
        if panel["type"] == "row" {
            continue;
        }
        let about = panel["description"].as_str().unwrap_or_default();
        assert!(about.len() > 20, "{} is not explained", panel["title"]);
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{} has no unit", panel["title"]);
    }
    for name in ["datasource", "instance", "namespace", "pod", "cgroup"] {
        let variables = json["templating"]["list"].as_array().expect("variables");
        assert!(variables.iter().any(|variable| variable["name"] == name), "no variable {name}");
    }
    let expressions = dashboard();
    assert!(expressions.len() > 30, "{}", expressions.len());
    // Recorded names would be empty where the rules are not.
    known(&expressions, &BTreeSet::new());
    let variables = json["templating"]["list"].as_array().expect("variables").iter();
    let variables: Vec<String> =
        variables.filter_map(|variable| variable["definition"].as_str()).map(str::to_owned).collect();
    assert!(variables.len() > 3);
    known(&variables, &BTreeSet::new());
    let Some(programs) = programs() else { return };
    parsed(&programs, &expressions);
}

#[test]
fn the_questions_to_prometheus_in_the_docs_work() {
    let (Some(programs), Some(python)) = (programs(), python()) else { return };
    let queries: Vec<String> = queries(FLEET).into_iter().map(str::to_owned).collect();
    assert!(queries.len() >= 10, "{}", queries.len());
    parsed(&programs, &queries);
    known(&queries, &recorded(&rules(&python)));
    // Those that the tests of the rules try out are the ones that stand there.
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let written: BTreeSet<String> = queries.iter().map(|query| words(query)).collect();
    let tests = documents(&python, "prometheus-rules-test.yml").remove(0);
    let tried = tests["tests"].as_array().expect("tests").iter();
    let tried: Vec<String> = tried
        .flat_map(|case| of_case(case, "promql_expr_test"))
        .map(|test| words(test["expr"].as_str().expect("an expression")))
        .filter(|expression| expression.contains(' '))
        .collect();
    assert!(tried.len() >= 2, "{tried:?}");
    assert!(tried.iter().all(|query| written.contains(query)), "{tried:?}");
}

/// Over the exports of two machines before a rollout and two after it.
#[test]
fn the_questions_to_parquet_in_the_docs_work() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    recording(Wanted::default(), &folder.join("run.numatrace"));
    let numatrace = program("numatrace").unwrap_or_else(|error| panic!("{error}"));
    for (release, host, part) in [("1.4.0", "web-1", ["--to", "1s"]), ("1.4.1", "web-2", ["--from", "1s"])] {
        let out = format!("fleet/release={release}/host={host}");
        let mut export = Command::new(&numatrace);
        export.args(["export", "run.numatrace", "-f", "parquet", "--label", host, "-o", &out]).args(part);
        fs::create_dir_all(folder.join(&out)).and_then(|()| fs::remove_dir(folder.join(&out))).expect("folders");
        let output = export.current_dir(folder).output().expect("the program runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let queries: Vec<&str> = FLEET.split("```sql\n").skip(1).filter_map(|part| part.split("```").next()).collect();
    assert!(queries.len() >= 6, "{}", queries.len());
    queries.into_iter().for_each(|query| query_finds_rows(&python, folder, query));
}

#[test]
fn the_commands_of_the_docs_are_numatraces() {
    let lines = FLEET.lines().filter_map(|line| line.strip_prefix("    numatrace "));
    let commands = lines.chain(FLEET.split('`').filter_map(|text| text.strip_prefix("numatrace "))).collect::<Vec<_>>();
    assert!(commands.len() > 8, "{commands:?}");
    for command in commands {
        let mut words = vec![OsString::from("numatrace")];
        words.extend(shell_words(command));
        accepted(&words);
    }
}

fn of_kind<'a>(documents: &'a [Value], kind: &str) -> &'a Value {
    documents.iter().find(|document| document["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
}

#[test]
fn kubernetes_takes_it() {
    let Some(python) = python() else { return };
    // With TLS and a password, as the file's head says how.
    let folder = tempfile::tempdir().expect("a folder");
    let protected = folder.path().join("protected.yaml");
    let text = fs::read_to_string(deployed("kubernetes.yaml")).expect("a file");
    assert!(text.contains("sed 's/#: //' deploy/kubernetes.yaml"));
    fs::write(&protected, text.replace("#: ", "")).expect("written");
    let files = [deployed("kubernetes.yaml"), protected.clone()];
    for (file, version) in files.iter().flat_map(|file| ["1.30", "1.37"].map(|version| (file, version))) {
        let mut validate = Command::new(readers::folder().join("bin/kubernetes-validate"));
        validate.args(["--strict", "-k", version]).arg(file);
        let output = validate.output().expect("kubernetes-validate runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{version}: {said}");
        assert_eq!(said.matches(" passed ").count(), 4, "{version}: {said}");
    }
    let Value::Array(protected) = read_by(&python, "documents.py", &[&protected]) else { panic!("no documents") };
    let documents = documents(&python, "kubernetes.yaml");
    for (documents, mounts) in [(&documents, 2), (&protected, 3)] {
        let set = of_kind(documents, "DaemonSet");
        let pod = &set["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        let args = container["args"].as_array().expect("arguments").iter();
        let args = args.map(|arg| OsString::from(arg.as_str().expect("text").replace("$(POD_IP)", "10.0.0.7")));
        accepted(&std::iter::once("numatrace".into()).chain(args).collect::<Vec<_>>());
        assert_eq!(set["spec"]["selector"]["matchLabels"], set["spec"]["template"]["metadata"]["labels"]);
        let mounted = container["volumeMounts"].as_array().expect("mounts");
        assert_eq!(mounted.len(), mounts);
        for mount in mounted {
            assert_eq!(mount["readOnly"], true, "{mount}");
            assert!(pod["volumes"].as_array().expect("volumes").iter().any(|volume| volume["name"] == mount["name"]));
        }
        assert!(container["securityContext"]["privileged"].is_null());
        // Whoever holds its connections must not have it killed.
        assert!(container["livenessProbe"].is_null());
    }
    let set = of_kind(&documents, "DaemonSet");
    let container = &set["spec"]["template"]["spec"]["containers"][0];
    // Nobody reaches it but one namespace, at its port.
    let policy = of_kind(&documents, "NetworkPolicy");
    assert_eq!(policy["metadata"]["namespace"], set["metadata"]["namespace"]);
    assert_eq!(policy["spec"]["podSelector"]["matchLabels"], set["spec"]["template"]["metadata"]["labels"]);
    assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
    let [rule] = policy["spec"]["ingress"].as_array().expect("rules").as_slice() else { panic!("{policy}") };
    assert_eq!(
        rule["from"],
        json!([{ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "monitoring" } } }])
    );
    assert_eq!(rule["ports"], json!([{ "protocol": "TCP", "port": container["ports"][0]["name"] }]));
    let monitor = self::documents(&python, "podmonitor.yaml").remove(0);
    assert_eq!(monitor["spec"]["selector"]["matchLabels"], set["spec"]["selector"]["matchLabels"]);
    assert_eq!(monitor["spec"]["podMetricsEndpoints"][0]["port"], container["ports"][0]["name"]);
}

/// Of the unit's lines, the values by key.
fn unit() -> BTreeMap<String, Vec<String>> {
    let text = fs::read_to_string(deployed("numatrace.service")).expect("a unit");
    let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, value) in text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('=')) {
        keys.entry(key.to_owned()).or_default().push(value.to_owned());
    }
    keys
}

#[test]
fn systemd_takes_the_unit_and_finds_it_hardened() {
    let unit = unit();
    assert_eq!(unit["AmbientCapabilities"], unit["CapabilityBoundingSet"]);
    let command = unit["ExecStart"][0].replace("/usr/bin/numatrace", "numatrace");
    let text = fs::read_to_string(deployed("numatrace.service")).expect("a unit");
    let example = text.lines().find_map(|line| line.strip_prefix("#   NUMATRACE_SERVE_ARGS=")).expect("an example");
    for args in ["", example] {
        accepted(&shell_words(&command.replace("$NUMATRACE_SERVE_ARGS", args)));
    }
    let units = Path::new("/lib/systemd/system");
    if which("systemd-analyze").is_none() || !units.join("sysinit.target").is_file() {
        eprintln!("skipped: there is no systemd-analyze with systemd's own units here (Debian's package systemd)");
        return;
    }
    // A machine on which it is installed, and nothing else.
    let machine = tempfile::tempdir().expect("a folder");
    let machine = machine.path();
    let place = |path: &str| -> PathBuf {
        let path = machine.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        path
    };
    let shipped = place("lib/systemd/system");
    assert!(Command::new("cp").arg("-r").arg(units).arg(&shipped).status().is_ok_and(|status| status.success()));
    let installed = place("etc/systemd/system/numatrace.service");
    fs::copy(deployed("numatrace.service"), &installed).expect("a copy");
    fs::copy("/bin/true", place("usr/bin/numatrace")).expect("a copy");
    let analyze = |args: &[&str]| {
        let output = Command::new("systemd-analyze").args(args).output().expect("systemd-analyze runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), said)
    };
    let root = format!("--root={}", machine.display());
    let verify = || analyze(&[&root, "verify", "--man=no", "numatrace.service"]);
    assert_eq!(verify(), (true, String::new()));
    // So that silence means something.
    let text = fs::read_to_string(&installed).expect("a unit");
    fs::write(&installed, text.replace("ProtectHome=", "ProtectHome_=")).expect("written");
    assert!(verify().1.contains("Unknown key"), "{}", verify().1);
    let path = deployed("numatrace.service");
    let path = path.to_str().expect("a path");
    // A tenth of a point each; the scale ends at 10, and a service without any of this has 9.6.
    let (fine, said) = analyze(&["security", "--offline=yes", "--no-pager", "--threshold=25", path]);
    assert!(fine, "{said}");
}
