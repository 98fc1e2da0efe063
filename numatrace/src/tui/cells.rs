//! Numbers of the dashboard as text, where [`crate::text`] has no word for them.

use crate::snapshot::Snapshot;
use crate::text;

/// Stands for a number that is not known.
pub const ABSENT: &str = "-";

/// Something a second: `0`, `<0.1`, `3.4`, `120`, `12.3k`; [`ABSENT`] when not known.
pub fn rate(per_second: Option<f64>) -> String {
    match per_second {
        Some(0.0) => "0".into(),
        Some(rate) if rate > 0.0 && rate < 0.05 => "<0.1".into(),
        Some(rate) if rate > 0.0 && rate < 9.95 => format!("{rate:.1}"),
        // Saturates above 2^64, where nothing is counted.
        Some(rate) if rate > 0.0 => text::count_short(rate.round() as u64),
        _ => ABSENT.into(),
    }
}

/// The part of a whole; `None` where there is no whole.
pub fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// How often a second something happened that was counted over `stretch`; `None` for a stretch without length.
pub fn per_second(count: u64, stretch: &Snapshot) -> Option<f64> {
    (stretch.duration_ns > 0).then(|| count as f64 / (stretch.duration_ns as f64 / 1e9))
}

/// A ratio in percent, [`ABSENT`] when not known.
pub fn percent(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| ABSENT.into(), text::percent)
}

/// A duration, [`ABSENT`] when there is none.
pub fn duration(ns: Option<u64>) -> String {
    ns.map_or_else(|| ABSENT.into(), text::duration)
}

/// Time by node as `0:73% 1:27%`, largest share first, in at most `width` columns: nodes that find no room are
/// counted at the end, as `+2`. `times` holds node numbers and times.
pub fn residency(times: &[(u32, u64)], width: usize) -> String {
    let total: u128 = times.iter().map(|(_, ns)| u128::from(*ns)).sum();
    let mut used: Vec<(u32, u64)> = times.iter().copied().filter(|(_, ns)| *ns > 0).collect();
    if total == 0 {
        return ABSENT.into();
    }
    used.sort_by_key(|(node, ns)| (std::cmp::Reverse(*ns), *node));
    let words: Vec<String> = used.iter().map(|(node, ns)| format!("{node}:{}", whole_percent(*ns, total))).collect();
    for shown in (1..=words.len()).rev() {
        let mut line = words[..shown].join(" ");
        if shown < words.len() {
            line.push_str(&format!(" +{}", words.len() - shown));
        }
        if line.len() <= width {
            return line;
        }
    }
    text::fit(&words[0], width)
}

/// Percent without decimals; what is not all is never `100%`, what is something never `0%`.
fn whole_percent(part: u64, total: u128) -> String {
    let part = u128::from(part);
    let percent = (part * 200 + total) / (total * 2);
    match percent {
        0 => "<1%".into(),
        100 if part < total => ">99%".into(),
        _ => format!("{percent}%"),
    }
}

/// The end of a path that is too long: what tells it from others.
pub fn end_of(path: &str, columns: usize) -> String {
    let path = text::visible(path);
    if text::width(&path) <= columns {
        return path;
    }
    let mut end = path.as_str();
    while text::width(end) + 1 > columns {
        let mut chars = end.chars();
        if chars.next().is_none() {
            break;
        }
        end = chars.as_str();
    }
    format!("…{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_fit_five_columns_and_tell_nothing_from_a_little() {
        let table = [(0.0, "0"), (0.01, "<0.1"), (0.06, "0.1"), (3.44, "3.4"), (9.96, "10"), (12_345.0, "12.3k")];
        for (value, shown) in table {
            assert_eq!(rate(Some(value)), shown);
        }
        assert_eq!([rate(None), rate(Some(f64::NAN)), rate(Some(-1.0))], [ABSENT; 3]);
        assert!(rate(Some(f64::INFINITY)).len() <= 5);
    }

    #[test]
    fn residency_names_the_largest_nodes_first_and_counts_the_rest() {
        assert_eq!(residency(&[(0, 27), (1, 73)], 13), "1:73% 0:27%");
        assert_eq!(residency(&[(0, 0), (3, 5)], 13), "3:100%");
        assert_eq!(residency(&[(0, 999), (1, 1)], 13), "0:>99% 1:<1%");
        assert_eq!(
            residency(&[(0, 40), (1, 30), (2, 20), (3, 10)], 13),
            "0:40% 1:30% +2".split_at(5).0.to_owned() + " +3"
        );
        assert_eq!(residency(&[(0, 40), (1, 30), (2, 20), (3, 10)], 14), "0:40% 1:30% +2");
        assert_eq!(residency(&[(0, 0)], 13), ABSENT);
        assert_eq!(residency(&[], 13), ABSENT);
        assert_eq!(residency(&[(0, u64::MAX), (1, u64::MAX)], 20), "0:50% 1:50%");
        assert_eq!(residency(&[(12, 1)], 3), "12…");
    }

    #[test]
    fn of_a_long_path_the_end_is_seen() {
        assert_eq!(end_of("/web.slice/api.service", 12), "…api.service");
        assert_eq!(end_of("/web.slice", 10), "/web.slice");
        assert_eq!((end_of("/ä漢字", 4), end_of("/ab", 1)), ("…字".to_owned(), "…".to_owned()));
    }
}
