//! What `serve` tells of made-up sums, in each format.

use std::collections::{HashMap, HashSet};

use numatrace::{
    container::Container,
    serve::{
        exposition::{Format, MAX_LABEL, Served, encode, families, schema},
        sums::{Numbers, Sums},
    },
};
use numatrace_tests::{golden, made_sums};
use prost::Message;

fn told(sums: &Sums, format: Format, container: fn(&[u8]) -> Option<Container>) -> Vec<u8> {
    let served = Served { collect_ns: 12_000_000, refused: vec![("limit", 3), ("slow", 0)] };
    encode(&families(sums, &served, &mut { container }), format, sums.started_ns)
}

fn text(sums: &Sums, format: Format) -> String {
    String::from_utf8(told(sums, format, made_sums::container)).expect("UTF-8")
}

fn messages(sums: &Sums) -> HashMap<String, schema::MetricFamily> {
    let bytes = told(sums, Format::Protobuf, made_sums::container);
    let mut rest = bytes.as_slice();
    let mut all = HashMap::new();
    while !rest.is_empty() {
        let family = schema::MetricFamily::decode_length_delimited(&mut rest).expect("a family");
        assert!(all.insert(family.name.clone().expect("a name"), family).is_none());
    }
    all
}

/// Names, labels and values of the samples.
fn samples(text: &str) -> HashMap<String, f64> {
    let mut all = HashMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        assert!(all.insert(series.to_owned(), value.parse().expect("a number")).is_none(), "twice: {series}");
    }
    all
}

/// Version numbers change; the golden files do not.
fn versionless(text: &str) -> String {
    text.replace(env!("CARGO_PKG_VERSION"), "VERSION")
}

#[test]
fn both_texts_are_as_they_should_be() {
    let sums = made_sums::sums();
    golden::check("serve/metrics.openmetrics", &versionless(&text(&sums, Format::OpenMetrics)));
    golden::check("serve/metrics.txt", &versionless(&text(&sums, Format::Text)));
}

#[test]
fn all_formats_tell_the_same() {
    let sums = made_sums::sums();
    let open = samples(&text(&sums, Format::OpenMetrics));
    assert_eq!(open, samples(&text(&sums, Format::Text)));
    let mut compared = 0;
    for (name, family) in messages(&sums) {
        for metric in family.metric {
            let labels = metric.label.iter().map(|label| {
                let value = label.value.as_deref().expect("a value").replace('\\', r"\\").replace('"', "\\\"");
                format!("{}=\"{value}\"", label.name.as_deref().expect("a name"))
            });
            let labels: Vec<String> = labels.collect();
            let series = |suffix: &str| match labels.as_slice() {
                [] => format!("{name}{suffix}"),
                labels => format!("{name}{suffix}{{{}}}", labels.join(",")),
            };
            if let Some(histogram) = metric.histogram {
                assert_eq!(open[&series("_count")], histogram.sample_count.expect("a count") as f64);
                assert_eq!(open[&series("_sum")], histogram.sample_sum.expect("a sum"));
                compared += 28 + histogram.bucket.len() - 25;
            } else {
                let value = metric.counter.map(|counter| counter.value).or(metric.gauge.map(|gauge| gauge.value));
                assert_eq!(open[&series("")], value.flatten().expect("a value"), "{}", series(""));
                compared += 1;
            }
        }
    }
    assert_eq!(compared, open.len());
}

#[test]
fn classic_buckets_of_both_are_the_same_and_native_ones_add_up() {
    let sums = made_sums::sums();
    let open = samples(&text(&sums, Format::OpenMetrics));
    let family = &messages(&sums)["numatrace_runq_latency_seconds"];
    let histogram = family.metric[0].histogram.as_ref().expect("a histogram");
    for bucket in &histogram.bucket {
        let bound = bucket.upper_bound.expect("a bound");
        let told = open.iter().find(|(series, _)| {
            let le = series.strip_prefix("numatrace_runq_latency_seconds_bucket{le=\"");
            le.is_some_and(|le| le.trim_end_matches("\"}").parse() == Ok(bound))
        });
        assert_eq!(told.expect("the bucket").1, &(bucket.cumulative_count.expect("a count") as f64));
    }
    assert_eq!(open["numatrace_runq_latency_seconds_bucket{le=\"32.0\"}"], 3.0);
    assert_eq!(open["numatrace_runq_latency_seconds_bucket{le=\"+Inf\"}"], 4.0);
    let mut count = 0;
    let mut sum = histogram.zero_count.expect("a count").cast_signed();
    for delta in &histogram.positive_delta {
        count += delta;
        sum += count;
    }
    assert_eq!(sum.cast_unsigned(), histogram.sample_count.expect("a count"));
    let length: u32 = histogram.positive_span.iter().filter_map(|span| span.length).sum();
    assert_eq!(length as usize, histogram.positive_delta.len());
    let created = histogram.created_timestamp.expect("a time");
    assert_eq!((created.seconds, created.nanos), (1_700_000_000, 500_000_000));
}

#[test]
fn what_is_not_measured_is_absent() {
    let mut sums = made_sums::sums();
    sums.total = Numbers { runq: sums.total.runq, ..Numbers::default() };
    sums.thread_group_bound = None;
    sums.thread_groups.clear();
    sums.cost.probes_ns = None;
    let text = text(&sums, Format::OpenMetrics);
    for absent in [
        "numatrace_migrations",
        "numatrace_page_touches",
        "numatrace_hint_faults",
        "numatrace_throttled_wait",
        "numatrace_thread_group",
        "numatrace_self_probes_seconds",
    ] {
        assert!(!text.contains(absent), "{absent}");
    }
    assert!(text.contains("numatrace_node_hint_faults_total{node=\"0\",locality=\"local\"} 10\n"));
    assert!(!text.contains("numatrace_node_hint_faults_total{node=\"1\""));
    assert!(!text.contains("scope=\"thread_group\""));
}

#[test]
fn labels_that_become_equal_are_one_series() {
    // The container's name, which the path does not tell, is not part of what makes two cgroups different.
    let mut sums = made_sums::sums();
    let twin = sums.cgroups[0].clone();
    sums.cgroups.push(twin);
    let twin = sums.processes[0].clone();
    sums.processes.push(twin);
    sums.sources.push(sums.sources[0].clone());
    let samples = samples(&text(&sums, Format::OpenMetrics));
    let series =
        r#"numatrace_cgroup_migrations_total{cgroup="/system.slice/system-serial\\x2dgetty.slice",level="smt"}"#;
    assert_eq!(samples[series], 6.0);
}

#[test]
fn hostile_names_stay_in_their_labels() {
    let mut sums = made_sums::sums();
    let names: [&[u8]; 7] =
        [b"\"} 1\nfake 2", b"\xff\xfe", b"", b"\\", b"\\\"", "\u{202e}gnp".as_bytes(), &[b'/'; 4_096]];
    sums.cgroups.clear();
    for (at, name) in names.iter().enumerate() {
        let mut process = sums.processes[0].clone();
        process.comm = name[..name.len().min(15)].to_vec();
        process.cgroup = Some(at);
        sums.processes.push(process);
        sums.cgroups.push(numatrace::serve::sums::Cgroup { path: name.to_vec(), numbers: made_sums::numbers(1) });
    }
    sums.sources[0].name = "a\nb".into();
    sums.sources[0].reason = Some("\x1b]0;title\x07".repeat(1_000));
    fn hostile(_: &[u8]) -> Option<Container> {
        Some(Container::new("docker", "", None).called(Some("x\ny\"".into()), Some("p".repeat(9_999)), None))
    }
    let text = String::from_utf8(told(&sums, Format::OpenMetrics, hostile)).expect("UTF-8");
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'));
    assert!(!text.contains("\nfake"));
    let names: HashSet<&str> = text.lines().filter_map(|line| line.split(['{', ' ']).next()).collect();
    assert!(names.iter().all(|name| *name == "#" || name.starts_with("numatrace_")), "{names:?}");
    // Three labels of the greatest length, escaped, and the rest of a line.
    assert!(text.lines().all(|line| line.len() < 3 * 2 * MAX_LABEL + 300));
    samples(&text);
}
