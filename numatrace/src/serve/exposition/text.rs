//! The two text formats. They differ in the names of counters and of info, in units, and in the end.
//!
//! OpenMetrics' `_created` series are left out: Prometheus would keep one more series for each counter, and all of ours begin at
//! `numatrace_start_time_seconds`.

use std::io::Write;

use numatrace_common::buckets::{BUCKETS, HIGHEST_EXPONENT, LOWEST_EXPONENT, PER_OCTAVE};

use super::{Family, Format, Kind, Series, Value};

/// Bounds of the classic buckets: the whole powers of two.
pub(super) fn classic_bounds() -> impl Iterator<Item = (usize, f64)> {
    (LOWEST_EXPONENT..=HIGHEST_EXPONENT).enumerate().map(|(at, exponent)| (at * PER_OCTAVE, f64::from(exponent).exp2()))
}

/// The families as text.
pub(super) fn encode(families: &[Family<'_>], format: Format) -> Vec<u8> {
    let bounds: Vec<(usize, String)> = classic_bounds().map(|(bucket, bound)| (bucket, le(bound))).collect();
    let mut out = Vec::new();
    for family in families {
        head(&mut out, family, format);
        for series in &family.series {
            match series.value {
                Value::Latency(_) => histogram(&mut out, family, series, &bounds),
                _ => sample(&mut out, &full_name(family), series),
            }
        }
    }
    if format == Format::OpenMetrics {
        out.extend_from_slice(b"# EOF\n");
    }
    out
}

/// The name of its series, but of a histogram's.
pub(super) fn full_name(family: &Family<'_>) -> String {
    let suffix = match family.kind {
        Kind::Counter => "_total",
        Kind::Info => "_info",
        Kind::Gauge | Kind::Histogram => "",
    };
    format!("{}{suffix}", family.name)
}

fn head(out: &mut Vec<u8>, family: &Family<'_>, format: Format) {
    let open = format == Format::OpenMetrics;
    let name = if open { family.name.clone() } else { full_name(family) };
    let kind = match family.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Info if open => "info",
        Kind::Info => "gauge",
        Kind::Histogram => "histogram",
    };
    put(out, format_args!("# HELP {name} {}\n# TYPE {name} {kind}\n", family.help));
    if let Some(unit) = family.unit.filter(|_| open) {
        put(out, format_args!("# UNIT {name} {unit}\n"));
    }
}

fn sample(out: &mut Vec<u8>, name: &str, series: &Series<'_>) {
    out.extend_from_slice(name.as_bytes());
    labels(out, series, None);
    match &series.value {
        Value::Count(count) => put(out, format_args!(" {count}\n")),
        Value::Seconds(ns) => seconds(out, *ns),
        Value::Latency(latency) => put(out, format_args!(" {}\n", latency.count())),
    }
}

fn histogram(out: &mut Vec<u8>, family: &Family<'_>, series: &Series<'_>, bounds: &[(usize, String)]) {
    let Value::Latency(latency) = &series.value else { return };
    let name = family.name.as_bytes();
    let mut bucket = |le: &str, count: u64| {
        out.extend_from_slice(name);
        out.extend_from_slice(b"_bucket");
        labels(out, series, Some(le));
        put(out, format_args!(" {count}\n"));
    };
    let mut cumulative = 0;
    let mut next = 0;
    for (last, bound) in bounds {
        cumulative += latency.buckets[next..=*last].iter().sum::<u64>();
        next = last + 1;
        bucket(bound, cumulative);
    }
    bucket("+Inf", cumulative + latency.buckets[next..BUCKETS].iter().sum::<u64>());
    put(out, format_args!("{}_count", family.name));
    labels(out, series, None);
    put(out, format_args!(" {}\n{}_sum", latency.count(), family.name));
    labels(out, series, None);
    seconds(out, latency.sum_ns);
}

fn labels(out: &mut Vec<u8>, series: &Series<'_>, le: Option<&str>) {
    let mut open = b'{';
    for (name, value) in series.labels().chain(le.map(|bound| ("le", bound))) {
        out.push(open);
        open = b',';
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"=\"");
        for byte in value.bytes() {
            match byte {
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'"' => out.extend_from_slice(b"\\\""),
                b'\n' => out.extend_from_slice(b"\\n"),
                _ => out.push(byte),
            }
        }
        out.push(b'"');
    }
    if open == b',' {
        out.push(b'}');
    }
}

/// Exactly, as a decimal fraction.
fn seconds(out: &mut Vec<u8>, ns: u64) {
    let text = format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000);
    let text = text.trim_end_matches('0');
    put(out, format_args!(" {}\n", text.strip_suffix('.').unwrap_or(text)));
}

/// A bound as Prometheus writes it when it reads one from protocol buffers: series are the same in whichever format they came.
fn le(bound: f64) -> String {
    if bound >= 1e-4 {
        return format!("{bound:?}");
    }
    let text = format!("{bound:e}");
    match text.split_once("e-") {
        Some((digits, exponent)) => format!("{digits}e-{exponent:0>2}"),
        None => text,
    }
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing into memory does not fail.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_written_as_prometheus_does() {
        let told: Vec<String> = classic_bounds().map(|(_, bound)| le(bound)).collect();
        assert_eq!(told.len(), 26);
        assert_eq!(&told[..2], ["9.5367431640625e-07", "1.9073486328125e-06"]);
        assert_eq!(&told[6..8], ["6.103515625e-05", "0.0001220703125"]);
        assert_eq!(&told[19..], ["0.5", "1.0", "2.0", "4.0", "8.0", "16.0", "32.0"]);
    }

    #[test]
    fn seconds_are_exact() {
        for (ns, told) in [(0, " 0\n"), (1, " 0.000000001\n"), (1_500_000_000, " 1.5\n"), (70_000_000_000, " 70\n")] {
            let mut out = Vec::new();
            seconds(&mut out, ns);
            assert_eq!(out, told.as_bytes());
        }
    }
}
