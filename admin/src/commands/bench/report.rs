//! The result of a benchmark: names and units stay as they are, scripts read them.

use serde::Serialize;
use serde_json::Value;

use super::{
    broker::Topic,
    monitor::Usage,
    numbers::{float, per, round},
};
use crate::output::{self, Format};

/// What was benchmarked.
#[derive(Debug, Serialize)]
pub(super) struct Subject<'a, A: Serialize> {
    bench: &'static str,
    bootstrap: &'a str,
    topic: &'a str,
    partitions: i32,
    #[serde(flatten)]
    args: &'a A,
}

impl<'a, A: Serialize> Subject<'a, A> {
    pub(super) fn new(
        bench: &'static str,
        bootstrap: &'a str,
        topic: &'a Topic,
        args: &'a A,
    ) -> Self {
        Self {
            bench,
            bootstrap,
            topic: &topic.name,
            partitions: topic.partitions,
            args,
        }
    }
}

/// How fast it was.
#[derive(Debug, Serialize)]
pub(super) struct Rates {
    elapsed_seconds: f64,
    records_total: u64,
    value_bytes_total: u64,
    records_per_second: Option<f64>,
    megabytes_per_second: Option<f64>,
}

impl Rates {
    pub(super) fn new(records: u64, bytes: u64, usage: &Usage) -> Self {
        Self {
            elapsed_seconds: round(usage.seconds),
            records_total: records,
            value_bytes_total: bytes,
            records_per_second: per(float(records), usage.seconds),
            megabytes_per_second: per(float(bytes) / 1e6, usage.seconds),
        }
    }
}

/// What it cost; the broker's part where its process is known.
#[derive(Debug, Serialize)]
pub(super) struct Cost {
    client_cpu_seconds: f64,
    broker_cpu_seconds: Option<f64>,
    broker_cpu_user_seconds: Option<f64>,
    broker_cpu_system_seconds: Option<f64>,
    cpu_seconds_per_gb: Option<f64>,
    cpu_seconds_per_million_records: Option<f64>,
    rss_start_bytes: Option<u64>,
    rss_peak_bytes: Option<u64>,
    rss_end_bytes: Option<u64>,
}

impl Cost {
    pub(super) fn new(records: u64, bytes: u64, usage: &Usage) -> Self {
        let broker = usage.broker.as_ref();
        let cpu = broker.map(|b| b.cpu);
        let each = |whole: f64| cpu.and_then(|cpu| per(cpu.seconds(), whole));
        Self {
            client_cpu_seconds: round(usage.client.seconds()),
            broker_cpu_seconds: cpu.map(|cpu| round(cpu.seconds())),
            broker_cpu_user_seconds: cpu.map(|cpu| round(cpu.user_seconds)),
            broker_cpu_system_seconds: cpu.map(|cpu| round(cpu.system_seconds)),
            cpu_seconds_per_gb: each(float(bytes) / 1e9),
            cpu_seconds_per_million_records: each(float(records) / 1e6),
            rss_start_bytes: broker.map(|b| b.rss_start),
            rss_peak_bytes: broker.map(|b| b.rss_peak),
            rss_end_bytes: broker.map(|b| b.rss_end),
        }
    }
}

/// A line of the table for people.
#[derive(Serialize)]
struct Line {
    measure: String,
    value: Value,
}

/// Prints a result: one object, or a line for each of its fields.
pub(super) fn print<T: Serialize>(format: Format, result: &T) -> anyhow::Result<()> {
    match format {
        Format::Json | Format::Yaml => output::row(format, result, ""),
        Format::Table | Format::Wide => output::rows(format, &lines(serde_json::to_value(result)?)),
    }
}

fn lines(result: Value) -> Vec<Line> {
    let Value::Object(fields) = result else {
        return Vec::new();
    };
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    fields
        .into_iter()
        .filter(|(_, value)| !empty(value))
        .map(|(name, value)| Line {
            measure: name.replace('_', " "),
            value,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::bench::{monitor::BrokerUsage, proc::Cpu};

    fn usage(broker: bool) -> Usage {
        let cpu = Cpu {
            user_seconds: 2.0,
            system_seconds: 1.0,
        };
        Usage {
            seconds: 4.0,
            client: cpu,
            broker: broker.then_some(BrokerUsage {
                cpu,
                rss_start: 1,
                rss_peak: 3,
                rss_end: 2,
            }),
        }
    }

    #[test]
    fn cost_is_by_the_gb_of_values_and_the_million() {
        let cost = Cost::new(2_000_000, 2_000_000_000, &usage(true));
        assert_eq!(cost.cpu_seconds_per_gb, Some(1.5));
        assert_eq!(cost.cpu_seconds_per_million_records, Some(1.5));
        let rates = Rates::new(2_000_000, 2_000_000_000, &usage(true));
        assert_eq!(rates.megabytes_per_second, Some(500.0));
        let unknown = Cost::new(1, 1, &usage(false));
        assert_eq!(unknown.broker_cpu_seconds, None);
        assert_eq!(Cost::new(0, 0, &usage(true)).cpu_seconds_per_gb, None);
    }

    #[test]
    fn people_see_what_there_is() {
        let shown = lines(serde_json::json!({"p99_us": 7, "rss": null, "set": {}}));
        let shown: Vec<&str> = shown.iter().map(|l| l.measure.as_str()).collect();
        assert_eq!(shown, ["p99 us"]);
    }
}
