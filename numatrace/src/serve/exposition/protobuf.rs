//! Prometheus' protocol buffers: one message a family, each behind its length. A histogram is a classic and a native one at once; which
//! of them is kept is for Prometheus to say.

use numatrace_common::buckets::{BUCKETS, HIGHEST_EXPONENT, LOWEST_EXPONENT, PER_OCTAVE};
use prost::Message;

use super::{
    Family, Kind, Series, Value,
    schema::{Bucket, BucketSpan, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType, Timestamp},
    seconds,
    text::{classic_bounds, full_name},
};
use crate::serve::sums::Latency;

/// Schema 2: four buckets of a doubling.
const SCHEMA: i32 = PER_OCTAVE.ilog2() as i32;
/// The native index of our bucket 1: its upper bound is 2^(-79/4) s. A bucket with index i ends at 2^(i/4).
const FIRST_INDEX: i32 = LOWEST_EXPONENT * PER_OCTAVE as i32 + 1;
/// The longest run of empty buckets that costs less than a new span.
const BRIDGED: usize = 2;

// What is above the highest bound has no upper bound for us: it goes into the bucket behind it.
const _: () = assert!(FIRST_INDEX + (BUCKETS as i32 - 2) == HIGHEST_EXPONENT * PER_OCTAVE as i32 + 1);

/// The families as messages.
pub(super) fn encode(families: &[Family<'_>], created_ns: u64) -> Vec<u8> {
    let created = Timestamp {
        seconds: i64::try_from(created_ns / 1_000_000_000).unwrap_or(i64::MAX),
        nanos: (created_ns % 1_000_000_000) as i32,
    };
    let mut out = Vec::new();
    for family in families {
        // Encoding into a growing buffer does not fail.
        let _ = message(family, created).encode_length_delimited(&mut out);
    }
    out
}

fn message(family: &Family<'_>, created: Timestamp) -> MetricFamily {
    let kind = match family.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge | Kind::Info => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
    };
    MetricFamily {
        name: Some(full_name(family)),
        help: Some(family.help.clone()),
        r#type: Some(kind.into()),
        metric: family.series.iter().map(|series| metric(series, kind, created)).collect(),
        unit: family.unit.map(Into::into),
    }
}

fn metric(series: &Series<'_>, kind: MetricType, created: Timestamp) -> Metric {
    let label = series.labels();
    let mut metric = Metric {
        label: label.map(|(name, value)| LabelPair { name: Some(name.into()), value: Some(value.into()) }).collect(),
        ..Metric::default()
    };
    let value = Some(series.value.number());
    match (&series.value, kind) {
        (Value::Latency(latency), _) => metric.histogram = Some(histogram(latency, created)),
        (_, MetricType::Counter) => metric.counter = Some(Counter { value, created_timestamp: Some(created) }),
        _ => metric.gauge = Some(Gauge { value }),
    }
    metric
}

fn histogram(latency: &Latency, created: Timestamp) -> Histogram {
    let (positive_span, positive_delta) = native(&latency.buckets[1..]);
    let bucket = classic_bounds().map(|(last, bound)| Bucket {
        cumulative_count: Some(latency.buckets[..=last].iter().sum()),
        upper_bound: Some(bound),
    });
    Histogram {
        sample_count: Some(latency.count()),
        sample_sum: Some(seconds(latency.sum_ns)),
        bucket: bucket.collect(),
        schema: Some(SCHEMA),
        zero_threshold: Some(f64::from(LOWEST_EXPONENT).exp2()),
        zero_count: Some(latency.buckets[0]),
        positive_span,
        positive_delta,
        created_timestamp: Some(created),
    }
}

/// Spans of buckets that are not empty, and each bucket's difference from the one before.
fn native(buckets: &[u64]) -> (Vec<BucketSpan>, Vec<i64>) {
    let mut spans = Vec::new();
    let mut deltas = Vec::new();
    // Where the last span ended, and the count of its last bucket.
    let (mut end, mut before) = (0, 0);
    let mut at = 0;
    while let Some(gap) = buckets[at..].iter().position(|count| *count > 0) {
        let start = at + gap;
        let stop = run(buckets, start);
        let offset = start - end;
        let first = if spans.is_empty() { FIRST_INDEX } else { 0 };
        spans.push(BucketSpan { offset: Some(first + offset as i32), length: Some((stop - start) as u32) });
        for count in &buckets[start..stop] {
            deltas.push(count.wrapping_sub(before).cast_signed());
            before = *count;
        }
        (at, end) = (stop, stop);
    }
    (spans, deltas)
}

/// Where the span that begins at `start` ends; short runs of empty buckets are part of it.
fn run(buckets: &[u64], start: usize) -> usize {
    let mut stop = start + 1;
    for (at, count) in buckets.iter().enumerate().skip(stop) {
        if *count > 0 {
            stop = at + 1;
        } else if at - stop >= BRIDGED {
            break;
        }
    }
    stop
}

#[cfg(test)]
mod tests {
    use super::*;
    use numatrace_common::buckets::bucket;

    /// Upper bound and count of each native bucket that is told, as a reader of the format finds them.
    fn read(histogram: &Histogram) -> Vec<(f64, i64)> {
        let mut index = 0;
        let mut count = 0;
        let mut deltas = histogram.positive_delta.iter();
        let mut told = Vec::new();
        for span in &histogram.positive_span {
            index += span.offset.unwrap();
            for _ in 0..span.length.unwrap() {
                count += deltas.next().unwrap();
                told.push(((f64::from(index) / 4.0).exp2(), count));
                index += 1;
            }
        }
        assert!(deltas.next().is_none());
        told
    }

    #[test]
    fn known_waits_are_between_the_bounds_of_their_native_buckets() {
        let waits =
            [1_000, 5_000, 5_100, 1_000_000, 1_000_001, 250_000_000, 31_000_000_000, 40_000_000_000, 900_000_000_000];
        let mut latency = Latency::default();
        for wait in waits {
            latency.buckets[bucket(wait)] += 1;
            latency.sum_ns += wait;
        }
        latency.buckets[0] += 7;
        let told = histogram(&latency, Timestamp::default());
        assert_eq!((told.schema, told.zero_count, told.sample_count), (Some(2), Some(7), Some(16)));
        assert_eq!(told.zero_threshold, Some(2_f64.powi(-20)));
        let read = read(&told);
        assert_eq!(read.iter().map(|(_, count)| count).sum::<i64>(), 9);
        for wait in &waits[..7] {
            let seconds = *wait as f64 / 1e9;
            let upper = read.iter().find(|(upper, _)| *upper >= seconds).unwrap();
            assert!(upper.1 > 0 && upper.0 / seconds <= 2_f64.powf(0.25), "{wait}: {upper:?}");
        }
        // What is above 32 s is in the bucket behind, and in no classic one but +Inf.
        assert_eq!(read.last(), Some(&(5.25_f64.exp2(), 2)));
        assert_eq!(told.bucket.last().unwrap().cumulative_count, Some(14));
        assert_eq!(told.bucket.len(), 26);
    }

    #[test]
    fn any_buckets_are_read_back() {
        for pattern in [0_u64, 1, 0b1011, 0b1_0000_1001, u64::MAX, 0x8000_0000_0000_0001] {
            let mut latency = Latency::default();
            for at in 1..=64 {
                latency.buckets[at] = (pattern >> (at - 1) & 1) * at as u64 * 1_000;
            }
            let told = histogram(&latency, Timestamp::default());
            let full = read(&told).into_iter().filter(|(_, count)| *count > 0);
            let wanted = (1..=64).filter(|at| latency.buckets[*at] > 0);
            let wanted = wanted.map(|at| ((-20.0 + at as f64 / 4.0).exp2(), latency.buckets[at] as i64));
            assert_eq!(full.collect::<Vec<_>>(), wanted.collect::<Vec<_>>(), "{pattern:b}");
        }
    }
}
