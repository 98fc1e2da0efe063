use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::snapshot::{Latency, RunQueue, Sched, ThreadState, ThreadStats};
use crate::tui::layout::COLUMNS;
use crate::tui::rows;
use crate::units::{Pid, Tid};

fn parse(text: &str) -> Filter {
    Filter::parse(text).unwrap_or_else(|wrong| panic!("{text}: {wrong}"))
}

fn wrong(text: &str) -> String {
    Filter::parse(text).expect_err(text).to_string()
}

fn thread() -> Thread {
    let latency = Latency { count: 10, p99_ns: 1_000_000, max_ns: 2_000_000, ..Latency::default() };
    Thread {
        tid: Tid(4713),
        pid: Pid(4711),
        comm: "Worker-Ä 3".into(),
        state: ThreadState::Waiting,
        cpu: Some(5),
        cgroup: Some("/web.slice/api.service".into()),
        sched: Some(Arc::new(Sched {
            policy: "fifo".into(),
            nice: Some(-5),
            allowed_cpus: "0-7".into(),
            ..Sched::default()
        })),
        stats: ThreadStats {
            cpu_ns: 600,
            wait_ns: 300,
            blocked_ns: 100,
            runq: RunQueue { all: latency, ..RunQueue::default() },
            ..ThreadStats::default()
        },
        ..Thread::default()
    }
}

fn matches(text: &str) -> bool {
    let thread = thread();
    let row = rows::row(crate::window::key(&thread), &thread.stats, Some(&thread.stats), 1_000);
    parse(text).matches(&thread, &rows::Row { node: Some(1), ..row }, false)
}

#[test]
fn words_that_all_must_match() {
    for text in [
        "",
        "  ",
        "worker",
        "WORKER 471",
        "4713",
        "ä",
        "\"worker-ä 3\"",
        "!redis",
        "!marked",
        "name:work",
        "name:\"ä 3\"",
        "tid:12,4700-4800",
        "pid:4711",
        "node:1",
        "!node:0",
        "node:0-3",
        "cpu:5",
        "last_cpu:4-6",
        "cgroup:API",
        "state:wait",
        "policy:fifo",
        "allowed:0-7",
        "runq.p99>0.9ms",
        "runq.p99>=1ms",
        "runq.p99=1000us",
        "RUNQ.P99<2s",
        "runq.max<=2ms",
        "wait>29%",
        "wait<0.5",
        "cpu>50%",
        "cpu<1",
        "nice<0",
        "nice=-5",
        "tid>4k",
        "node>0",
        "node_moves=0",
        "!waiting>0",
        "!remote<=100%",
        "name:worker runq.p99>0.5ms node:1",
        "\"\"",
        "cgroup:web.slice/",
    ] {
        assert!(matches(text), "{text} does not match");
    }
    for text in [
        "redis",
        "worker redis",
        "!worker",
        "marked",
        "\"marked\"",
        "name:4713",
        "tid:4712",
        "node:0",
        "cpu:6",
        "cgroup:db",
        "state:running",
        "runq.p99>1ms",
        "runq.p99<1ms",
        "wait>31%",
        "nice>0",
        "wakeup.p99>0",
        "wakeup.p99<1h",
        "waiting>0",
        "remote<=100%",
        "hint_faults>=0",
        "\"worker  3\"",
    ] {
        assert!(!matches(text), "{text} matches");
    }
}

#[test]
fn what_is_wrong_is_said_with_what_would_be_right() {
    for (text, sentence) in [
        ("runq.p98>1ms", "runq.p98 is no column: runq.p50, runq.p99, runq.max, ..."),
        ("runq>1ms", "runq is no column: runq.p50, runq.p99, runq.max, ..."),
        ("zzz:1", "zzz is no column: name, state, runq.p99, ..."),
        ("nam:x", "nam is no column: name"),
        ("runq.p99>1mz", "1mz is no time: 1ms, 30us"),
        ("runq.p99>1", "1 is no time: 1ms, 30us"),
        ("runq.p99>", "runq.p99> needs a time: 1ms, 30us"),
        ("runq.p99>=", "runq.p99>= needs a time: 1ms, 30us"),
        ("runq.p99:1ms", "runq.p99 is a time: runq.p99>1ms"),
        ("wait>50", "50 is no share: 50%, 0.5"),
        ("migrations>1ms", "1ms is no number: 100, 1k"),
        ("migrations>-1", "-1 is no number: 100, 1k"),
        ("migrations>.", ". is no number: 100, 1k"),
        ("name>x", "name is text: name:worker"),
        ("state=waiting", "state is text: state:waiting"),
        ("name:", "name: needs a text: name:worker"),
        ("node:", "node: needs a number or a list: node:1,4-7"),
        ("tid:12,", "12, is no list of numbers: tid:1,4-7"),
        ("tid:9-3", "9-3 is no list of numbers: tid:1,4-7"),
        ("tid:99999999999", "99999999999 is no list of numbers: tid:1,4-7"),
        ("!", "! needs a word: !worker"),
        ("\"two words", "the quotes are not closed: \"two words\""),
    ] {
        assert_eq!(wrong(text), sentence, "{text}");
    }
}

#[test]
fn names_of_threads_with_signs_are_found_as_they_are() {
    let thread = Thread { comm: "kworker/0:1-ev".into(), ..Thread::default() };
    let row = rows::row(crate::window::key(&thread), &thread.stats, None, 0);
    for text in ["kworker/0:1", "0:1", "\"0:1-ev\"", "!\"a:b\"", "\"\"", "name:0:1"] {
        assert!(parse(text).matches(&thread, &row, false), "{text}");
    }
    assert!(parse("marked kworker").matches(&thread, &row, true));
}

#[test]
fn filters_are_printed_as_they_are_understood() {
    for (text, printed) in [
        ("  name:Worker   runq.p99>1000us !state:exited ", "name:worker runq.p99>1ms !state:exited"),
        ("wait>=0.5 cpu:1-1,2-4 marked", "wait>=50% cpu:1,2-4 marked"),
        ("\"marked\" \"a b\" !\"!x\" ran>1.5s tid>4k", "\"marked\" \"a b\" !\"!x\" ran>1500ms tid>4000"),
        ("\"say \"\"hi\"\"\" ran<0.5ns waiting>0", "\"say \"\"hi\"\"\" ran<0.5ns waiting>0ns"),
        ("", ""),
    ] {
        assert_eq!(parse(text).to_string(), printed);
    }
}

/// Texts that are nearly filters.
fn nearly() -> impl Strategy<Value = String> {
    let keys: Vec<&str> = COLUMNS.iter().map(|spec| spec.key).collect();
    let word = (
        prop::sample::select(vec!["", "!", "\"", "!\""]),
        prop_oneof![4 => prop::sample::select(keys).prop_map(str::to_owned), 1 => "[a-z.:\" Ä]{0,6}"],
        prop::sample::select(vec![":", ">", "<", ">=", "<=", "=", "", "\"", "=="]),
        prop_oneof![
            "[0-9]{1,4}(\\.[0-9]{1,3})?(ns|us|ms|s|m|h|%|k|M|G)?",
            "[0-9]{1,3}(-[0-9]{1,3})?(,[0-9]{1,3})?",
            ".{0,5}"
        ],
    );
    let word = word.prop_map(|(before, name, sign, operand)| format!("{before}{name}{sign}{operand}"));
    prop::collection::vec(word, 0..4).prop_map(|words| words.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_a_filter_or_a_short_sentence_and_what_is_printed_is_the_same_filter(
        text in prop_oneof![nearly(), any::<String>()],
        marked in any::<bool>(),
    ) {
        match Filter::parse(&text) {
            Ok(filter) => {
                let printed = filter.to_string();
                prop_assert_eq!(Filter::parse(&printed), Ok(filter.clone()), "{} as {}", text, printed);
                let thread = thread();
                let row = rows::row(crate::window::key(&thread), &thread.stats, None, 0);
                let opposite = filter.matches(&thread, &row, marked);
                if let [only] = filter.words.as_slice() {
                    let other = Filter { words: vec![Word { negated: !only.negated, test: only.test.clone() }] };
                    prop_assert_ne!(other.matches(&thread, &row, marked), opposite);
                }
            }
            Err(wrong) => prop_assert!(!wrong.to_string().is_empty()),
        }
    }
}
