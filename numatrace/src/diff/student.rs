//! Student's t distribution: how likely a change is that is so many standard errors large, and how many standard errors make
//! an interval.

/// The probability of a t at least so far from 0, to either side. 1 for what is no number.
pub fn p_value(t: f64, df: f64) -> f64 {
    if !(t.abs() > 0.0 && df > 0.0) {
        return 1.0;
    }
    if t.is_infinite() {
        return 0.0;
    }
    incomplete_beta(df / (df + t * t), df / 2.0, 0.5).clamp(0.0, 1.0)
}

/// How many standard errors to either side hold this share of the distribution.
pub fn quantile(confidence: f64, df: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1e6);
    // Halved until it is as near as a number can be told.
    for _ in 0..80 {
        let middle = (low + high) / 2.0;
        if p_value(middle, df) > 1.0 - confidence { low = middle } else { high = middle }
    }
    high
}

/// The regularised incomplete beta function, by its continued fraction.
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return if x <= 0.0 { 0.0 } else { 1.0 };
    }
    // The fraction converges fast on this side; the other is its mirror image.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(1.0 - x, b, a);
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (1.0 - x).ln()).exp() / a;
    front * fraction(x, a, b)
}

/// By the method of Lentz.
fn fraction(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let away = |value: f64| if value.abs() < TINY { TINY } else { value };
    let (mut c, mut d) = (1.0, 1.0 / away(1.0 - (a + b) * x / (a + 1.0)));
    let mut value = d;
    for m in 1..500 {
        let m = f64::from(m);
        for term in [
            m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0)),
        ] {
            d = 1.0 / away(1.0 + term * d);
            c = away(1.0 + term / c);
            value *= c * d;
        }
        if (c * d - 1.0).abs() < 1e-14 {
            break;
        }
    }
    value
}

/// By the series of Lanczos, for positive numbers.
fn ln_gamma(x: f64) -> f64 {
    const SERIES: [f64; 6] = [
        76.180_091_729_471_46,
        -86.505_320_329_416_77,
        24.014_098_240_830_91,
        -1.231_739_572_450_155,
        0.120_865_097_386_617_9e-2,
        -0.539_523_938_495_3e-5,
    ];
    let base = x + 5.5;
    let sum = SERIES.iter().zip(1..).fold(1.000_000_000_190_015, |sum, (term, n)| sum + term / (x + f64::from(n)));
    (x + 0.5) * base.ln() - base + (2.506_628_274_631_000_5 * sum / x).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_the_distribution_are_met() {
        // Any textbook's table: 95% and 99.9%, to either side.
        for (confidence, df, expected) in
            [(0.95, 1.0, 12.706), (0.95, 5.0, 2.571), (0.95, 30.0, 2.042), (0.999, 10.0, 4.587), (0.95, 1e6, 1.960)]
        {
            let found = quantile(confidence, df);
            assert!((found - expected).abs() < 2e-3, "{confidence} {df}: {found}");
            assert!((p_value(found, df) - (1.0 - confidence)).abs() < 1e-6);
        }
    }

    #[test]
    fn nothing_is_certain_of_what_is_no_number() {
        assert_eq!([p_value(0.0, 9.0), p_value(f64::NAN, 9.0), p_value(3.0, 0.0), p_value(3.0, f64::NAN)], [1.0; 4]);
        assert_eq!(p_value(f64::INFINITY, 9.0), 0.0);
        assert!(p_value(-50.0, 20.0) < 1e-20);
    }
}
