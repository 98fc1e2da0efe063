//! Numbers of a thread as cells with a name and a type. Place in the flow: between a snapshot and tables, which are CSV
//! ([`csv`](super::csv)) and the table of threads of `export`.

use std::borrow::Cow;

use crate::snapshot::{Latency, Snapshot, Thread, ThreadStats};

/// What stands in a cell. It has a type also where it is absent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Text, safe to show.
    Text(Option<&'a str>),
    /// A number of an id's size.
    Small(Option<u32>),
    /// A count, a duration in ns.
    Number(Option<u64>),
    /// A number that can be below 0.
    Signed(Option<i32>),
    /// A ratio; what is no number is absent.
    Ratio(Option<f64>),
    /// Yes or no.
    Flag(Option<bool>),
    /// A moment, ns since the epoch.
    Time(Option<i64>),
}

impl Value<'_> {
    /// Nothing stands there.
    pub const fn is_absent(&self) -> bool {
        matches!(
            self,
            Value::Text(None)
                | Value::Small(None)
                | Value::Number(None)
                | Value::Signed(None)
                | Value::Ratio(None)
                | Value::Flag(None)
                | Value::Time(None)
        )
    }
}

/// Names, with dots, and values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cells<'a>(pub Vec<(Cow<'static, str>, Value<'a>)>);

impl<'a> Cells<'a> {
    /// One more.
    pub fn push(&mut self, name: impl Into<Cow<'static, str>>, value: Value<'a>) {
        self.0.push((name.into(), value));
    }

    fn number(&mut self, name: impl Into<Cow<'static, str>>, number: u64) {
        self.push(name, Value::Number(Some(number)));
    }

    fn perhaps(&mut self, name: &'static str, number: Option<u64>) {
        self.push(name, Value::Number(number));
    }

    fn latency(&mut self, name: &str, latency: &Latency) {
        let all = [
            ("count", latency.count),
            ("total_ns", latency.total_ns),
            ("p50_ns", latency.p50_ns),
            ("p90_ns", latency.p90_ns),
            ("p99_ns", latency.p99_ns),
            ("p999_ns", latency.p999_ns),
            ("max_ns", latency.max_ns),
        ];
        all.into_iter().for_each(|(field, number)| self.number(format!("runq.{name}.{field}"), number));
    }

    /// Page touches of all kinds together, the zero page left out, and what else is measured of pages.
    fn touches(&mut self, stats: &ThreadStats) {
        let touches = stats.touches.map(|touches| touches.total());
        self.perhaps("touches.local", touches.map(|touches| touches.local));
        self.perhaps("touches.remote", touches.map(|touches| touches.remote));
        self.perhaps("touches.unknown", touches.map(|touches| touches.unknown));
        // What is no number is absent, as in JSON.
        let ratio = |ratio: Option<f64>| Value::Ratio(ratio.filter(|ratio| ratio.is_finite()));
        self.push("remote_share", ratio(stats.remote_share));
        self.push("expected_remote_share", ratio(stats.expected_remote_share));
        self.push("cost_factor", ratio(stats.cost_factor));
        self.perhaps("hint_faults.local", stats.hint_faults.map(|faults| faults.local));
        self.perhaps("hint_faults.remote", stats.hint_faults.map(|faults| faults.remote));
        self.perhaps("hint_fault_ns", stats.hint_fault_ns);
        self.perhaps("pages_migrated", stats.pages_migrated);
    }

    /// What threads and groups have in common.
    pub fn stats(&mut self, thread: &Thread, snapshot: &Snapshot) {
        let stats = &thread.stats;
        self.push("exited", Value::Flag(Some(thread.exited)));
        self.number("cpu_ns", stats.cpu_ns);
        self.number("wait_ns", stats.wait_ns);
        self.number("blocked_ns", stats.blocked_ns);
        self.perhaps("waiting_now_ns", stats.waiting_now_ns);
        self.perhaps("throttled_wait_ns", stats.throttled_wait_ns);
        self.perhaps("behind_own_ns", stats.behind.map(|behind| behind.own_ns));
        self.perhaps("behind_others_ns", stats.behind.map(|behind| behind.others_ns));
        self.number("switches.voluntary", stats.switches.voluntary);
        self.number("switches.involuntary", stats.switches.involuntary);
        self.latency("wakeup", &stats.runq.wakeup);
        self.latency("preempted", &stats.runq.preempted);
        self.latency("all", &stats.runq.all);
        let migrations = &stats.migrations;
        let causes = &migrations.causes;
        for (field, number) in [
            ("migrations.smt", migrations.smt),
            ("migrations.llc", migrations.llc),
            ("migrations.node", migrations.node),
            ("migrations.cross_node", migrations.cross_node),
            ("migrations.unclassified", migrations.unclassified),
            ("migrations.causes.wakeup", causes.wakeup),
            ("migrations.causes.load_balance", causes.load_balance),
            ("migrations.causes.active_balance_or_affinity", causes.active_balance_or_affinity),
            ("migrations.causes.numa_balancing", causes.numa_balancing),
            ("migrations.causes.hotplug", causes.hotplug),
            ("migrations.causes.other", causes.other),
        ] {
            self.number(field, number);
        }
        self.number("node_moves", stats.node_moves);
        self.number("unseen_events", stats.unseen_events);
        self.touches(stats);
        for (at, node) in snapshot.host.nodes.iter().enumerate() {
            self.number(format!("residency_ns.{}", node.id), stats.residency_ns.get(at).copied().unwrap_or(0));
        }
    }

    /// Who a thread is, and its numbers.
    pub fn thread(&mut self, thread: &'a Thread, snapshot: &Snapshot) {
        self.push("tid", Value::Small(Some(thread.tid.0)));
        self.push("pid", Value::Small(Some(thread.pid.0)));
        self.push("comm", Value::Text(Some(&thread.comm)));
        self.push("cgroup", Value::Text(thread.cgroup.as_deref()));
        let sched = thread.sched.as_ref();
        self.push("sched.policy", Value::Text(sched.map(|sched| &*sched.policy)));
        self.push("sched.nice", Value::Signed(sched.and_then(|sched| sched.nice)));
        self.push("sched.rt_priority", Value::Small(sched.and_then(|sched| sched.rt_priority)));
        self.push("sched.allowed_cpus", Value::Text(sched.map(|sched| &*sched.allowed_cpus)));
        let container = thread.container.as_deref();
        self.push("container_id", Value::Text(container.map(|container| &*container.id)));
        self.push("container", Value::Text(container.and_then(|container| container.name.as_deref())));
        self.push("pod", Value::Text(container.and_then(|container| container.pod.as_deref())));
        self.push("namespace", Value::Text(container.and_then(|container| container.namespace.as_deref())));
        self.stats(thread, snapshot);
    }
}
