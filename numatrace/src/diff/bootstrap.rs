//! How much a number of a recording would differ if the same run were recorded again: the circular block bootstrap (Politis and
//! Romano 1992; the moving block bootstrap of Künsch 1989 with the ends joined). Intervals are drawn anew, with replacement, in
//! blocks of neighbours, because neighbouring intervals are alike; the numbers of many such draws spread as those of many runs
//! would. The standard deviation of that spread is the number's standard error (Efron and Tibshirani 1993).

use super::metric::{Known, METRICS, Metric};
use super::part::{Sum, Tally};
use super::intervals::Series;

/// Fewer intervals than this tell nothing.
pub const FEWEST: usize = 8;
/// Draws.
pub const MOST_RESAMPLES: usize = 1_000;
/// Draws at least, however large the recordings are: enough for a standard error.
pub const LEAST_RESAMPLES: usize = 200;
/// Intervals of groups, over all draws, that are worth the time.
const WORK: usize = 25_000_000;
/// Of all draws at least this share must give a number.
const DEFINED: f64 = 0.9;

/// A random number generator of 64 bits (splitmix64, Steele et al. 2014): small, fast, the same everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The same seed gives the same numbers.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next one.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// One below `bound`, each as likely but for less than one in 2^32.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }
}

/// How often each interval was drawn, in each of many draws.
#[derive(Clone, Debug)]
pub struct Resamples {
    /// Intervals that are drawn together.
    pub block: usize,
    weights: Vec<Vec<u32>>,
}

/// How many draws there is time for.
pub fn affordable(intervals: usize, groups: usize) -> usize {
    (WORK / (intervals * (groups + 1)).max(1)).clamp(LEAST_RESAMPLES, MOST_RESAMPLES)
}

impl Resamples {
    /// Draws as many intervals as there are, in blocks, so many times.
    pub fn draw(intervals: usize, block: usize, times: usize, seed: u64) -> Resamples {
        let (block, mut random) = (block.clamp(1, intervals.max(1)), Random::new(seed));
        let weights = (0..times).map(|_| {
            let mut weights = vec![0; intervals];
            let mut drawn = 0;
            while drawn < intervals {
                let first = random.below(intervals);
                for at in 0..block.min(intervals - drawn) {
                    weights[(first + at) % intervals] += 1;
                }
                drawn += block;
            }
            weights
        });
        Resamples { block, weights: weights.collect() }
    }
}

/// Length of a block: the cube root of the number of intervals (Hall, Horowitz and Jing 1995), more where what was waited in
/// neighbouring intervals is alike for longer, and at most a quarter of them, so that there are some blocks.
pub fn block_length(series: &Series) -> usize {
    let n = series.parts.len();
    let waited = series.parts.iter().map(|part| {
        let waited = part.as_ref().map_or(0.0, |part| part.tally(Tally::Wait));
        (waited + 1.0).ln()
    });
    let memory = 2 * memory(&waited.collect::<Vec<f64>>()) + 1;
    ((n as f64).cbrt().ceil() as usize).max(memory).min(n / 4).max(1)
}

/// The last lag from the first on at which a series is still like itself: more than chance would make it, 2 / sqrt(n).
fn memory(series: &[f64]) -> usize {
    let n = series.len();
    let mean = series.iter().sum::<f64>() / n.max(1) as f64;
    let away: Vec<f64> = series.iter().map(|value| value - mean).collect();
    let all: f64 = away.iter().map(|value| value * value).sum();
    let limit = 2.0 / (n.max(1) as f64).sqrt();
    let alike = |lag: &usize| away.iter().zip(&away[*lag..]).map(|(a, b)| a * b).sum::<f64>() > limit * all;
    if all > 0.0 { (1..n / 4).take_while(alike).count() } else { 0 }
}

/// A number, and how far it may be off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Estimate {
    /// The number; its standard error, of its logarithm where changes are relative; and from how many independent pieces that
    /// comes, less one.
    Value {
        /// The number.
        value: f64,
        /// Its standard error.
        error: f64,
        /// Degrees of freedom.
        df: f64,
    },
    /// The number is known, but there are too few intervals to tell how far it may be off.
    TooShort(f64),
    /// Too few events.
    TooFew,
    /// No events.
    Nothing,
}

/// The estimate of every metric, in their order.
pub fn estimates(lengths: &[f64], series: &Series, resamples: &Resamples) -> Vec<Estimate> {
    let n = lengths.len();
    let mut sum = Sum::for_all(&series.parts);
    sum.fill(lengths, &series.parts, &vec![1; n]);
    let known: Vec<Known> = METRICS.iter().map(|metric| metric.of(&sum)).collect();
    let mut spread = vec![Spread::default(); METRICS.len()];
    if n >= FEWEST {
        for weights in &resamples.weights {
            sum.fill(lengths, &series.parts, weights);
            for ((metric, known), spread) in METRICS.iter().zip(&known).zip(&mut spread) {
                // What is not known of all is not asked of a part.
                if let Known::Value(..) = known
                    && let Known::Value(value, _) = metric.of(&sum)
                {
                    spread.add(scaled(metric, value));
                }
            }
        }
    }
    let df = (n as f64 / resamples.block as f64 - 1.0).max(1.0);
    let draws = resamples.weights.len() as f64;
    let estimate = |(known, spread): (&Known, &Spread)| match known {
        Known::Nothing => Estimate::Nothing,
        Known::TooFew => Estimate::TooFew,
        Known::Value(value, _) if n < FEWEST => Estimate::TooShort(*value),
        Known::Value(..) if spread.count < draws * DEFINED => Estimate::TooFew,
        Known::Value(value, least) => Estimate::Value { value: *value, error: spread.deviation().max(*least), df },
    };
    known.iter().zip(&spread).map(estimate).collect()
}

/// On the scale on which changes are looked at.
pub fn scaled(metric: &Metric, value: f64) -> f64 {
    if metric.is_relative() { value.max(1.0).ln() } else { value }
}

/// Mean and deviation of numbers that come one after the other (Welford 1962).
#[derive(Clone, Copy, Debug, Default)]
struct Spread {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Spread {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let away = value - self.mean;
        self.mean += away / self.count;
        self.squares += away * (value - self.mean);
    }

    fn deviation(&self) -> f64 {
        if self.count > 1.0 { (self.squares / (self.count - 1.0)).max(0.0).sqrt() } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_draw_has_as_many_intervals_as_there_are() {
        for (n, block) in [(8, 1), (10, 3), (60, 7), (9, 40), (1, 1)] {
            let drawn = Resamples::draw(n, block, 50, 7);
            assert!(drawn.weights.iter().all(|weights| weights.iter().sum::<u32>() as usize == n), "{n} {block}");
            assert_eq!(drawn.weights, Resamples::draw(n, block, 50, 7).weights, "the same seed");
        }
        assert_ne!(Resamples::draw(10, 2, 5, 1).weights, Resamples::draw(10, 2, 5, 2).weights);
    }

    #[test]
    fn a_series_that_is_like_itself_for_longer_is_drawn_in_longer_blocks() {
        let mut random = Random::new(3);
        let mut noise = || random.next() as f64 / u64::MAX as f64 - 0.5;
        let alone: Vec<f64> = (0..400).map(|_| noise()).collect();
        let mut level = 0.0;
        let alike: Vec<f64> = (0..400)
            .map(|_| {
                level = 0.9 * level + noise();
                level
            })
            .collect();
        assert!(memory(&alone) <= 2, "{}", memory(&alone));
        assert!((4..60).contains(&memory(&alike)), "{}", memory(&alike));
        assert_eq!((memory(&[5.0; 40]), memory(&[])), (0, 0));
    }

    #[test]
    fn the_spread_of_numbers_is_their_deviation() {
        let mut spread = Spread::default();
        [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0].into_iter().for_each(|value| spread.add(value));
        assert!((spread.deviation() - (32.0f64 / 7.0).sqrt()).abs() < 1e-12);
        assert_eq!(Spread::default().deviation(), 0.0);
    }

    #[test]
    fn time_is_bounded() {
        assert_eq!((affordable(60, 5), affordable(512, 50), affordable(512, 200)), (1_000, 957, LEAST_RESAMPLES + 43));
    }
}
