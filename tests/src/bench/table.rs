//! Medians and Markdown.

use super::beside::{Beside, Sample};

/// Samples of each configuration.
pub struct Rows {
    configurations: Vec<Beside>,
    samples: Vec<Vec<Sample>>,
    failures: Vec<Option<String>>,
}

impl Rows {
    pub fn new(configurations: &[Beside]) -> Rows {
        let count = configurations.len();
        Rows { configurations: configurations.to_vec(), samples: vec![Vec::new(); count], failures: vec![None; count] }
    }

    pub fn add(&mut self, index: usize, sample: Sample) {
        self.samples[index].push(sample);
    }

    pub fn fail(&mut self, index: usize, reason: String) {
        self.failures[index] = Some(reason);
    }

    pub fn failed(&self, index: usize) -> bool {
        self.failures[index].is_some()
    }

    /// Median time of a configuration, if it was measured.
    fn ns(&self, wanted: Beside) -> Option<f64> {
        let index = self.configurations.iter().position(|configuration| *configuration == wanted)?;
        let times: Vec<f64> = self.samples[index].iter().map(|sample| sample.ns).collect();
        (!times.is_empty() && !self.failed(index)).then(|| median(times))
    }

    /// What it adds to the bare time.
    fn added(&self, wanted: Beside) -> Option<f64> {
        Some(self.ns(wanted)? - self.ns(Beside::Nothing)?)
    }

    /// Records of all rounds: wanted and lost.
    fn records(&self, index: usize) -> Option<(u64, u64)> {
        self.samples[index].iter().map(|sample| sample.records).try_fold((0, 0), |sum, records| {
            let (wanted, lost) = records?;
            Some((sum.0 + wanted, sum.1 + lost))
        })
    }

    fn print(&self, head: &str, cells: impl Fn(Beside) -> Option<String>) {
        println!("{head}");
        println!("|---|{}", "---:|".repeat(head.matches('|').count() - 2));
        for (index, configuration) in self.configurations.iter().enumerate() {
            let loss = match self.records(index).filter(|_| !self.samples[index].is_empty()) {
                Some((wanted, lost)) => {
                    format!("{wanted} | {lost} ({:.1}%)", lost as f64 * 100.0 / (wanted as f64).max(1.0))
                }
                None => "- | -".into(),
            };
            match (&self.failures[index], cells(*configuration)) {
                (None, Some(cells)) => println!("| {configuration} | {cells} | {loss} |"),
                (reason, _) => {
                    let reason = reason.as_deref().unwrap_or("not measured").replace(['|', '\n'], " ");
                    println!("| {configuration} | does not work here: {reason} |");
                }
            }
        }
        println!();
    }
}

/// The middle one, or the mean of the two in the middle; 0 of none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match (values.len(), values.len() / 2) {
        (0, _) => 0.0,
        (count, middle) if count % 2 == 1 => values[middle],
        (_, middle) => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// Times, what is added, and the ratios of what is added.
pub fn print_added(rows: &Rows) {
    rows.print("| beside the load | us a round trip | added us | ratio to bare | records | lost |", |configuration| {
        let (ns, added) = (rows.ns(configuration)?, rows.added(configuration)?);
        Some(format!("{:.2} | {:.2} | {:.2}", ns / 1e3, added / 1e3, ns / rows.ns(Beside::Nothing)?))
    });
    let ratios = [
        ("added by numatrace on the load / by runqlat", Beside::Target(&[]), Beside::Runqlat, "0.6"),
        (
            "added by numatrace on the load / by perf sched record",
            Beside::Target(&[]),
            Beside::Perf { realtime: false },
            "0.2",
        ),
        ("added by numatrace serve / by runqlat", Beside::Serve(&[]), Beside::Runqlat, "0.8"),
        ("added by numatrace on another process / by empty programs", Beside::Other, Beside::Floor, "2"),
    ];
    for (what, ours, theirs, target) in ratios {
        let (Some(ours), Some(theirs)) = (rows.added(ours), rows.added(theirs)) else { continue };
        let ratio = if theirs > 0.0 { format!("{:.2}", ours / theirs) } else { "drowned in noise".into() };
        println!("- {what}: {ratio} (target: at most {target})");
    }
    println!();
}

/// Rates kept, and losses.
pub fn print_saturated(rows: &Rows) {
    rows.print(
        "| beside the load | thousand round trips/s | share of the bare rate | records | lost |",
        |configuration| {
            let ns = rows.ns(configuration)?;
            Some(format!("{:.0} | {:.2}", 1e6 / ns, rows.ns(Beside::Nothing)? / ns))
        },
    );
    if let (Some(ours), Some(bare)) = (rows.ns(Beside::Target(&[])), rows.ns(Beside::Nothing)) {
        println!("- numatrace keeps {:.2} of the rate (target: at least 0.83, nothing lost)\n", bare / ours);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(Vec::new()), 0.0);
    }

    #[test]
    fn what_is_added_is_counted_from_bare_and_a_failure_has_no_number() {
        let mut rows = Rows::new(&[Beside::Nothing, Beside::Floor, Beside::Runqlat]);
        for ns in [10.0, 12.0, 11.0] {
            rows.add(0, Sample { ns, records: None });
            rows.add(1, Sample { ns: ns + 5.0, records: Some((10, 1)) });
        }
        rows.add(2, Sample { ns: 99.0, records: None });
        rows.fail(2, "gone".into());
        assert_eq!(rows.added(Beside::Floor), Some(5.0));
        assert_eq!(rows.added(Beside::Runqlat), None);
        assert_eq!((rows.records(1), rows.records(0)), (Some((30, 3)), None));
    }
}
