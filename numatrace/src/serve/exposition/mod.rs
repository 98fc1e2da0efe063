//! What Prometheus reads: [`Sums`](super::sums::Sums) as families of series, and these in three formats. Place in the flow: behind
//! `collect`, before `http`.
//!
//! There is a set of families, not a registry: every number is a sum that the probes keep, nothing is counted here. No crate writes
//! native histograms and both text formats from one such set, so there are three small writers.

mod accept;
mod families;
mod labels;
mod merge;
mod protobuf;
pub mod schema;
mod text;

pub use accept::{Format, wants_gzip};
pub use families::{Served, families};
pub use labels::MAX_LABEL;

use crate::serve::sums::Latency;
use labels::Labels;
use std::{borrow::Cow, rc::Rc};

/// What kind of numbers a family has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Never falls, but to zero when serving begins anew.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Always one: its labels are what it says.
    Info,
    /// Waits in buckets; never falls.
    Histogram,
}

/// Series of one name.
#[derive(Clone, Debug)]
pub struct Family<'a> {
    /// Its name, without the suffixes that series of its kind have (`_total`, `_info`, `_bucket`).
    name: String,
    /// What it counts, and from which hook.
    help: String,
    kind: Kind,
    /// The last word of the name, where that is a unit.
    unit: Option<&'static str>,
    series: Vec<Series<'a>>,
}

/// One series.
#[derive(Clone, Debug)]
struct Series<'a> {
    /// Labels that many families share.
    scope: Rc<Labels>,
    /// Labels of this one.
    own: Vec<(&'static str, Cow<'static, str>)>,
    value: Value<'a>,
}

impl Series<'_> {
    fn labels(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let scope = self.scope.iter().map(|(name, value)| (*name, value.as_str()));
        scope.chain(self.own.iter().map(|(name, value)| (*name, value.as_ref())))
    }
}

#[derive(Clone, Debug)]
enum Value<'a> {
    Count(u64),
    /// Nanoseconds, which are told as seconds.
    Seconds(u64),
    Latency(Cow<'a, Latency>),
}

impl Value<'_> {
    fn number(&self) -> f64 {
        match self {
            Value::Count(count) => *count as f64,
            Value::Seconds(ns) => seconds(*ns),
            Value::Latency(latency) => latency.count() as f64,
        }
    }
}

/// Nanoseconds as seconds.
fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// Families in a format. `created_ns` is when counting began, ns since 1970.
pub fn encode(families: &[Family<'_>], format: Format, created_ns: u64) -> Vec<u8> {
    match format {
        Format::OpenMetrics | Format::Text => text::encode(families, format),
        Format::Protobuf => protobuf::encode(families, created_ns),
    }
}
