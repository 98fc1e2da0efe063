//! What reports and dashboard say in the same words: kinds of page touches, numbers that are absent and why, gaps. Place in
//! the flow: between a snapshot and what shows it.

use crate::snapshot::{Gap, Snapshot};
use crate::text::{duration, fit, width};

/// What every list of page touches says of them.
pub const FAULTS: &str = "page touches are faults, not accesses";

/// A kind of page touches, as people call it; `name` as in JSON.
pub fn kind(name: &str) -> &str {
    match name {
        "first_touch" => "first touch",
        "file" => "file or shared",
        "cow" => "copy-on-write",
        "huge" => "huge page",
        "zero" => "zero page",
        other => other,
    }
}

/// That a number of these sources is absent, and why.
pub fn not_measured(snapshot: &Snapshot, sources: &[&str]) -> String {
    match snapshot.why_absent(sources) {
        Some(reason) => format!("not measured: {reason}"),
        None => "not measured".into(),
    }
}

/// Where and when a source saw nothing: `nothing of CPU 3 from 4.00s to 4.50s`.
pub fn gap(gap: &Gap) -> String {
    format!("nothing of CPU {} from {} to {}", gap.cpu, duration(gap.start_ns), duration(gap.end_ns))
}

/// A mapping in at most `columns`: of a path that is longer the end, for that has the name of the file.
pub fn mapping(mapping: &str, columns: usize) -> String {
    let name = mapping.starts_with('/').then(|| mapping.rfind('/')).flatten().map(|at| &mapping[at..]);
    match name {
        Some(name) if width(mapping) > columns && width(name) < columns => format!("…{name}"),
        _ => fit(mapping, columns),
    }
}

/// A cost factor: `1.22`.
pub fn factor(cost: f64) -> String {
    if cost.is_finite() { format!("{cost:.2}") } else { "-".into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Source, SourceState, Touches, sources};

    #[test]
    fn every_kind_has_a_name_without_underscores() {
        let touches = Touches { cow: Some(Default::default()), ..Touches::default() };
        assert!(touches.kinds().all(|(name, _)| !kind(name).contains('_')));
    }

    #[test]
    fn of_a_long_path_the_name_of_the_file_is_left() {
        assert_eq!(mapping("/usr/lib/libc.so.6", 18), "/usr/lib/libc.so.6");
        assert_eq!(mapping("/usr/lib/libc.so.6", 12), "…/libc.so.6");
        assert_eq!(mapping("/usr/lib/libc.so.6", 8), "/usr/li…");
        assert_eq!(mapping("anon 7f31c0000000", 8), "anon 7f…");
    }

    #[test]
    fn what_is_absent_has_a_reason_where_there_is_one() {
        let mut snapshot = Snapshot::nothing_yet("pid 1");
        assert_eq!(not_measured(&snapshot, &sources::TOUCHES), "not measured");
        snapshot.sources.push(Source {
            name: sources::TOUCHES[0].into(),
            state: SourceState::Off,
            reason: Some("no perf here".into()),
        });
        assert_eq!(not_measured(&snapshot, &sources::TOUCHES), "not measured: no perf here");
    }
}
