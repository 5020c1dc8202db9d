//! Making metrics and registering them in one step.

use std::cell::RefCell;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

/// A metric as it is told of: what a page about it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Its name.
    pub name: String,
    /// counter, gauge or histogram.
    pub kind: &'static str,
    /// Names of its labels.
    pub labels: Vec<String>,
    /// What it counts, in which unit.
    pub help: String,
}

pub(super) struct Register<'a> {
    registry: &'a Registry,
    described: RefCell<Vec<Described>>,
}

impl<'a> Register<'a> {
    pub(super) fn new(registry: &'a Registry) -> Self {
        Self {
            registry,
            described: RefCell::default(),
        }
    }

    /// All that was registered, by name.
    pub(super) fn described(self) -> Vec<Described> {
        let mut described = self.described.into_inner();
        described.sort_by(|a, b| a.name.cmp(&b.name));
        described
    }

    fn add<C: prometheus::core::Collector + Clone + 'static>(
        &self,
        kind: &'static str,
        metric: Result<C, prometheus::Error>,
    ) -> Result<C, prometheus::Error> {
        let metric = metric?;
        self.registry.register(Box::new(metric.clone()))?;
        let described = metric.desc().into_iter().map(|desc| Described {
            name: desc.fq_name.clone(),
            kind,
            labels: desc.variable_labels.clone(),
            help: desc.help.clone(),
        });
        self.described.borrow_mut().extend(described);
        Ok(metric)
    }

    pub(super) fn float(
        &self,
        name: &str,
        help: &str,
    ) -> Result<prometheus::Gauge, prometheus::Error> {
        self.add("gauge", prometheus::Gauge::new(name, help))
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.add("gauge", IntGauge::new(name, help))
    }

    pub(super) fn float_counter(
        &self,
        name: &str,
        help: &str,
    ) -> Result<prometheus::Counter, prometheus::Error> {
        self.add("counter", prometheus::Counter::new(name, help))
    }

    pub(super) fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.add("counter", IntCounter::new(name, help))
    }

    pub(super) fn gauges(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntGaugeVec, prometheus::Error> {
        self.add("gauge", IntGaugeVec::new(Opts::new(name, help), labels))
    }

    pub(super) fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, prometheus::Error> {
        self.add("counter", IntCounterVec::new(Opts::new(name, help), labels))
    }

    pub(super) fn histogram(
        &self,
        name: &str,
        help: &str,
        buckets: Vec<f64>,
    ) -> Result<Histogram, prometheus::Error> {
        self.add(
            "histogram",
            Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets)),
        )
    }

    pub(super) fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: Vec<f64>,
    ) -> Result<HistogramVec, prometheus::Error> {
        self.add(
            "histogram",
            HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), labels),
        )
    }
}

/// Buckets from `first` on, each twice the one before.
pub(super) fn doubling(first: f64, count: usize) -> Vec<f64> {
    std::iter::successors(Some(first), |b| Some(b * 2.0))
        .take(count)
        .collect()
}
