//! How much a number of a recording would differ if the same run were recorded again: the circular block bootstrap (Politis and
//! Romano 1992; the moving block bootstrap of Künsch 1989 with the ends joined). Intervals are drawn anew, with replacement, in
//! blocks of neighbours, because neighbouring intervals are alike; the numbers of many such draws spread as those of many runs
//! would. The standard deviation of that spread is the number's standard error (Efron and Tibshirani 1993). Where intervals are
//! alike for longer than a block, a jackknife that knows it has the larger one, and that counts.

use super::intervals::Series;
use super::metric::{Known, METRICS, Metric};
use super::part::{Sum, Tally};

/// Fewer intervals than this tell nothing.
pub const FEWEST: usize = 8;
/// Draws, unless there are so many intervals and groups that they would take long.
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

/// How many draws there is time for, and not more than `most`.
pub fn affordable(intervals: usize, groups: usize, most: usize) -> usize {
    (WORK / (intervals * (groups + 1)).max(1)).max(LEAST_RESAMPLES).min(most)
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
    let alike = memory(&deviations(&waited.collect::<Vec<f64>>()));
    ((n as f64).cbrt().max(alike).ceil() as usize).min(n / 4).max(1)
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
        /// The number in each half of the recording, where there were enough events.
        halves: [Option<f64>; 2],
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
    let mut weights = vec![1; n];
    sum.fill(lengths, &series.parts, &weights);
    let known: Vec<Known> = METRICS.iter().map(|metric| metric.of(&sum)).collect();
    let mut all: Vec<Draws> = METRICS.iter().map(|_| Draws::default()).collect();
    let mut take = |sum: &Sum, into: fn(&mut Draws, f64)| {
        for ((metric, known), draws) in METRICS.iter().zip(&known).zip(&mut all) {
            // What is not known of all is not asked of a part.
            if let Known::Value(..) = known
                && let Known::Value(value, _) = metric.of(sum)
            {
                into(draws, scaled(metric, value));
            }
        }
    };
    if n >= FEWEST {
        for weights in &resamples.weights {
            sum.fill(lengths, &series.parts, weights);
            take(&sum, |draws, value| draws.spread.add(value));
        }
        for at in 0..n {
            weights[at] = 0;
            sum.fill(lengths, &series.parts, &weights);
            take(&sum, |draws, value| draws.without.push(value));
            weights[at] = 1;
        }
    }
    let mut half = |first: bool| -> Vec<Option<f64>> {
        weights.iter_mut().enumerate().for_each(|(at, weight)| *weight = u32::from((at < n / 2) == first));
        sum.fill(lengths, &series.parts, &weights);
        let value = |metric: &Metric| if let Known::Value(value, _) = metric.of(&sum) { Some(value) } else { None };
        METRICS.iter().map(value).collect()
    };
    let halves: Vec<[Option<f64>; 2]> = half(true).into_iter().zip(half(false)).map(|(a, b)| [a, b]).collect();
    let estimate = |((known, draws), halves): ((&Known, &Draws), &[Option<f64>; 2])| match known {
        Known::Nothing => Estimate::Nothing,
        Known::TooFew => Estimate::TooFew,
        Known::Value(value, _) if n < FEWEST => Estimate::TooShort(*value),
        Known::Value(..) if !draws.are_enough(n, resamples.weights.len()) => Estimate::TooFew,
        Known::Value(value, least) => {
            let (error, df) = draws.error(n, resamples.block);
            Estimate::Value { value: *value, error: error.max(*least), df, halves: *halves }
        }
    };
    known.iter().zip(&all).zip(&halves).map(estimate).collect()
}

/// A number of many draws.
#[derive(Clone, Debug, Default)]
struct Draws {
    spread: Spread,
    /// Without each interval in turn.
    without: Vec<f64>,
}

impl Draws {
    fn are_enough(&self, n: usize, draws: usize) -> bool {
        self.without.len() == n && self.spread.count >= draws as f64 * DEFINED
    }

    /// The standard error, and its degrees of freedom. The bootstrap does not see that intervals are alike for longer than a
    /// block: where they are, the variance of the jackknife, times how many neighbours count as one, is larger and stands for it.
    fn error(&self, n: usize, block: usize) -> (f64, f64) {
        let (away, n) = (deviations(&self.without), n as f64);
        let alike = memory(&away);
        let jackknife = away.iter().map(|away| away * away).sum::<f64>() * (n - 1.0) / n * alike;
        let df = (n / alike.max(block as f64) - 1.0).max(1.0);
        (self.spread.deviation().max(jackknife.sqrt()), df)
    }
}

fn deviations(series: &[f64]) -> Vec<f64> {
    let mean = series.iter().sum::<f64>() / series.len().max(1) as f64;
    series.iter().map(|value| value - mean).collect()
}

/// How many neighbours of a series count as one, 1 where they have nothing in common: the sum of its autocorrelations, up to where
/// noise begins by the initial monotone sequence (Geyer 1992). Those of a short series are too small, by their sum over its
/// length: that is put back, twice. A third of the series at most. Takes deviations from the mean.
fn memory(away: &[f64]) -> f64 {
    let n = away.len();
    let all: f64 = away.iter().map(|value| value * value).sum();
    if n < 3 || !(all > 0.0 && all.is_finite()) {
        return 1.0;
    }
    let lags: Vec<f64> =
        (0..n / 3 + 2).map(|lag| away.iter().zip(&away[lag..]).map(|(a, b)| a * b).sum::<f64>() / all).collect();
    let mut alike = 0.0;
    for _ in 0..3 {
        let bias = |lag: usize| if lag == 0 { 0.0 } else { alike / n as f64 * (1.0 - lag as f64 / n as f64) };
        let raised: Vec<f64> = lags.iter().enumerate().map(|(lag, value)| value + bias(lag)).collect();
        let (mut sum, mut before) = (-1.0, f64::INFINITY);
        for pair in raised.chunks_exact(2) {
            let both = pair[0] + pair[1];
            if both <= 0.0 {
                break;
            }
            before = both.min(before);
            sum += 2.0 * before;
        }
        alike = sum.clamp(1.0, n as f64 / 3.0);
    }
    alike
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
        let (alone, alike) = (memory(&deviations(&alone)), memory(&deviations(&alike)));
        // Of 0.9 from each to the next (1 + 0.9) / (1 - 0.9) = 19.
        assert!((1.0..2.0).contains(&alone) && (10.0..40.0).contains(&alike), "{alone} {alike}");
        assert_eq!((memory(&[0.0; 40]), memory(&[]), memory(&[f64::INFINITY; 9])), (1.0, 1.0, 1.0));
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
        let of = |intervals, groups| affordable(intervals, groups, MOST_RESAMPLES);
        assert_eq!((of(60, 5), of(512, 50), of(512, 128), of(512, 999)), (1_000, 957, 378, LEAST_RESAMPLES));
    }
}
