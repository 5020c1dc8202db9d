//! Latencies and rates.

use hdrhistogram::Histogram;
use serde::Serialize;

/// An hour; what takes longer counts as this.
const LONGEST_US: u64 = 3_600_000_000;

/// Latencies in microseconds, to three digits.
#[derive(Clone, Debug)]
pub(super) struct Latencies(Histogram<u64>);

/// What is said of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Quantiles {
    pub(super) latency_samples: u64,
    pub(super) mean_us: Option<f64>,
    pub(super) p50_us: Option<u64>,
    pub(super) p90_us: Option<u64>,
    pub(super) p99_us: Option<u64>,
    pub(super) p999_us: Option<u64>,
    pub(super) max_us: Option<u64>,
}

impl Latencies {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self(Histogram::new_with_bounds(1, LONGEST_US, 3)?))
    }

    pub(super) fn record_nanos(&mut self, nanos: u64) {
        self.record_us(nanos / 1_000);
    }

    pub(super) fn record_us(&mut self, us: u64) {
        self.0.saturating_record(us);
    }

    pub(super) fn merge(&mut self, other: &Self) -> anyhow::Result<()> {
        Ok(self.0.add(&other.0)?)
    }

    pub(super) fn quantiles(&self) -> Quantiles {
        if self.0.is_empty() {
            return Quantiles::default();
        }
        let at = |quantile| Some(self.0.value_at_quantile(quantile));
        Quantiles {
            latency_samples: self.0.len(),
            mean_us: Some(round(self.0.mean())),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: Some(self.0.max()),
        }
    }
}

/// For arithmetic whose result people read.
#[expect(
    clippy::cast_precision_loss,
    reason = "exact to 2^53, and a figure for people"
)]
pub(super) fn float(number: u64) -> f64 {
    number as f64
}

/// To six digits or three decimals, whichever is more, so that results stay readable.
pub(super) fn round(number: f64) -> f64 {
    let decimals = if number.abs() < 1.0 { 1e6 } else { 1e3 };
    (number * decimals).round() / decimals
}

/// A part over a whole; nothing over nothing.
pub(super) fn per(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| round(part / whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_what_was_recorded() {
        let (mut low, mut high) = (Latencies::new().unwrap(), Latencies::new().unwrap());
        (1..=500).for_each(|us| low.record_us(us));
        (501..=1000).for_each(|us| high.record_nanos(us * 1_000 + 999));
        low.merge(&high).unwrap();
        let quantiles = low.quantiles();
        assert_eq!(quantiles.latency_samples, 1_000);
        assert_eq!(quantiles.p50_us, Some(500));
        assert_eq!(quantiles.p99_us, Some(990));
        assert_eq!(quantiles.p999_us, Some(999));
        assert_eq!(quantiles.max_us, Some(1_000));
        assert_eq!(quantiles.mean_us, Some(500.5));
    }

    #[test]
    fn nothing_recorded_says_nothing() {
        assert_eq!(Latencies::new().unwrap().quantiles(), Quantiles::default());
    }

    #[test]
    fn what_takes_too_long_is_still_counted() {
        let mut latencies = Latencies::new().unwrap();
        latencies.record_us(u64::MAX);
        let max = latencies.quantiles().max_us.unwrap();
        assert!(max >= LONGEST_US, "{max}");
    }

    #[test]
    fn rates_need_time() {
        assert_eq!(per(10.0, 4.0), Some(2.5));
        assert_eq!(per(1.0, 3_000.0), Some(0.000_333));
        assert_eq!(per(1.0, 0.0), None);
    }
}
