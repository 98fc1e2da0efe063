//! Numbers of a finding, by name.

use serde_json::{Map, Value};

use super::nodes;
use crate::snapshot::Snapshot;

/// Numbers by name, in order of their names.
#[derive(Debug, Default)]
pub(super) struct Evidence(Map<String, Value>);

impl Evidence {
    pub(super) fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// Only where it is known.
    pub(super) fn put_known(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }

    /// A number for each node, `NAME_node_ID`; those that are 0 are left out.
    pub(super) fn put_by_node(&mut self, name: &str, by_node: &[u64], numbers: &Snapshot) {
        for (at, number) in by_node.iter().enumerate().filter(|(_, number)| **number > 0) {
            self.put(&format!("{name}_node_{}", nodes::id(numbers, at)), *number);
        }
    }

    /// Page touches of the target, by whether they were local.
    pub(super) fn put_touches(&mut self, numbers: &Snapshot) {
        if let Some(total) = numbers.totals.touches.map(|touches| touches.total()) {
            self.put("local_touches", total.local);
            self.put("remote_touches", total.remote);
            self.put("unknown_touches", total.unknown);
        }
    }

    /// Hint faults of the target and pages moved, where they are measured.
    pub(super) fn put_hints(&mut self, numbers: &Snapshot) {
        self.put_known("local_hint_faults", numbers.totals.hint_faults.map(|hints| hints.local));
        self.put_known("remote_hint_faults", numbers.totals.hint_faults.map(|hints| hints.remote));
        self.put_known("pages_migrated", numbers.totals.pages_migrated);
    }

    /// Where the target ran and where its memory lies.
    pub(super) fn put_places(&mut self, numbers: &Snapshot) {
        self.put_by_node("cpu_ns", &numbers.totals.residency_ns, numbers);
        self.put_by_node("pages", numbers.placement_pages.as_deref().unwrap_or_default(), numbers);
    }

    pub(super) fn done(self) -> Value {
        Value::Object(self.0)
    }
}
