//! Moments as text: RFC 3339 with nanoseconds, UTC. Events come in order of time, so all but the fraction of a second is
//! mostly that of the one before.

use std::fmt::Write;

use jiff::Timestamp;

const SECOND: i64 = 1_000_000_000;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Rfc3339 {
    second: Option<i64>,
    /// `2026-11-21T08:21:46.`
    whole: String,
    text: String,
}

impl Rfc3339 {
    /// ns since the epoch in words; empty for none.
    pub(super) fn text(&mut self, ns: Option<i64>) -> &str {
        self.text.clear();
        let Some(ns) = ns else { return &self.text };
        let second = ns.div_euclid(SECOND);
        if self.second != Some(second) {
            self.second = Some(second);
            self.whole.clear();
            let at = Timestamp::from_second(second).unwrap_or_default();
            // A string takes everything.
            let _ = write!(self.whole, "{}", at.strftime("%Y-%m-%dT%H:%M:%S."));
        }
        self.text.push_str(&self.whole);
        let _ = write!(self.text, "{:09}Z", ns.rem_euclid(SECOND));
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_to_the_nanosecond() {
        let mut time = Rfc3339::default();
        let mut text = |ns| time.text(ns).to_owned();
        assert_eq!(text(Some(1_795_249_306_000_000_007)), "2026-11-21T08:21:46.000000007Z");
        assert_eq!(text(Some(1_795_249_306_500_000_000)), "2026-11-21T08:21:46.500000000Z");
        assert_eq!((text(None), text(Some(0))), (String::new(), "1970-01-01T00:00:00.000000000Z".into()));
        assert_eq!(text(Some(i64::MAX)), "2262-04-11T23:47:16.854775807Z");
        assert_eq!(text(Some(-1)), "1969-12-31T23:59:59.999999999Z");
    }
}
