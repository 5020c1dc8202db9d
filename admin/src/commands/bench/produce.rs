//! `bench produce`: how fast, how long to the ack, at what cost.

use std::{process::ExitCode, thread, time::Duration};

use anyhow::Context;
use rdkafka::{
    message::{Header, OwnedHeaders},
    producer::Producer as _,
};
use serde::Serialize;

use super::{
    ProduceArgs,
    broker::{self, Topic},
    client::{self, COUNTED, Producer, Record, Told},
    clock::{Clock, Pace, wait_until},
    load::{self, Cuts, Ids, Keys, SPREAD},
    monitor::{Done, End, Monitor},
    numbers::{Quantiles, float, per},
    report::{self, Cost, Rates, Subject},
};
use crate::output::Format;

/// As fast as possible, answers are taken after so many records.
const POLL_EVERY: u64 = 64;
const HOUR_MS: i64 = 3_600_000;

#[derive(Serialize)]
struct Outcome<'a> {
    #[serde(flatten)]
    subject: Subject<'a, ProduceArgs>,
    #[serde(flatten)]
    rates: Rates,
    errors: u64,
    first_error: Option<String>,
    /// How full batches really were.
    records_per_request: Option<f64>,
    /// From sending to the ack; with a rate, from the time at which it should have been sent.
    #[serde(flatten)]
    latency: Quantiles,
    #[serde(flatten)]
    cost: Cost,
}

pub(super) async fn run(
    bootstrap: &str,
    format: Format,
    args: ProduceArgs,
) -> anyhow::Result<ExitCode> {
    let topic = broker::topic(bootstrap, &args.common).await?;
    let clock = Clock::start();
    let monitor = Monitor {
        name: "produce",
        done: Done::default(),
        end: match (args.limit(), args.seconds) {
            (Some(records), _) => End::Records(records),
            (None, Some(seconds)) => End::Seconds(seconds),
            (None, None) => End::Unknown,
        },
        broker_pid: args.common.broker_pid,
    };
    let own = [
        ("batch.size", args.batch_bytes.to_string()),
        ("linger.ms", args.linger_ms.to_string()),
        ("compression.codec", args.codec.clone()),
    ];
    let producers = (0..args.producers)
        .map(|_| {
            let done = monitor.done.clone();
            let set = &args.common.set;
            let producer = client::producer(bootstrap, clock, done, &args.acks, &own, set)?;
            client::warm_up(&producer, &topic, b"")?;
            Ok(producer)
        })
        .collect::<anyhow::Result<Vec<Producer>>>()?;
    let mut workers: Vec<Worker<'_>> = (0..args.producers)
        .zip(&producers)
        .map(|(number, producer)| Worker::new(&args, &topic, clock, producer, number))
        .collect();

    let (all_sent, usage) = monitor
        .watch(|| {
            let first_nanos = clock.nanos();
            thread::scope(|scope| {
                let running: Vec<_> = workers
                    .iter_mut()
                    .map(|worker| scope.spawn(|| worker.run(first_nanos)))
                    .collect();
                running
                    .into_iter()
                    .try_for_each(|worker| worker.join().ok().context("a thread failed")?)
            })
        })
        .map(|((), usage)| (workers.iter().map(|w| w.sent).sum::<u64>(), usage))?;

    let told = Told::sum(&producers)?;
    let bytes = told.acked * args.value_bytes as u64;
    let lost = all_sent - told.acked - told.errors;
    let result = Outcome {
        subject: Subject::new("produce", bootstrap, &topic, &args),
        rates: Rates::new(told.acked, bytes, &usage),
        errors: told.errors + lost,
        first_error: told.first_error,
        records_per_request: records_per_request(&producers, &topic),
        latency: told.latencies.quantiles(),
        cost: Cost::new(told.acked, bytes, &usage),
    };
    report::print(format, &result)?;
    Ok(if result.errors == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Warming up took a request for each partition.
fn records_per_request(producers: &[Producer], topic: &Topic) -> Option<f64> {
    let mut sum = (0, 0);
    for producer in producers {
        client::settle(producer);
        let (records, requests) = producer.context().sent();
        let warming = u64::from(topic.partitions.unsigned_abs());
        sum.0 += records.saturating_sub(warming);
        sum.1 += requests.saturating_sub(warming);
    }
    per(float(sum.0), float(sum.1))
}

/// One producer at work.
struct Worker<'a> {
    args: &'a ProduceArgs,
    topic: &'a Topic,
    clock: Clock,
    producer: &'a Producer,
    number: u64,
    values: Cuts,
    keys: Option<Keys>,
    headers: Option<OwnedHeaders>,
    ids: Option<Ids>,
    /// Records to one partition before the next has its turn: a batch.
    run_length: u64,
    sent: u64,
}

impl<'a> Worker<'a> {
    fn new(
        args: &'a ProduceArgs,
        topic: &'a Topic,
        clock: Clock,
        producer: &'a Producer,
        number: u64,
    ) -> Self {
        let seed = load::seed();
        let headers = args
            .header
            .iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| {
                headers.insert(Header {
                    key,
                    value: Some(value),
                })
            });
        Self {
            args,
            topic,
            clock,
            producer,
            number,
            values: Cuts::new(args.payload, args.value_bytes, seed),
            keys: Keys::new(args, !seed),
            headers: (!args.header.is_empty()).then_some(headers),
            ids: args.message_ids.then(|| Ids::new(seed)),
            run_length: (args.batch_bytes / (args.value_bytes + args.key_bytes + 16)).max(1) as u64,
            sent: 0,
        }
    }

    fn run(&mut self, first_nanos: u64) -> anyhow::Result<()> {
        if self.args.target_records_per_second == 0 {
            self.as_fast_as_possible(first_nanos)
        } else {
            let producer = self.producer;
            client::served(producer, || self.at_a_rate(first_nanos))
        }
    }

    fn as_fast_as_possible(&mut self, first_nanos: u64) -> anyhow::Result<()> {
        let (share, until) = (self.share(), self.until(first_nanos));
        let sample = self.args.sample();
        while self.sent < share {
            let timed = self.sent.is_multiple_of(sample);
            let time = if timed {
                client::opaque(self.clock.nanos())
            } else {
                COUNTED
            };
            self.send(time)?;
            if self.sent.is_multiple_of(POLL_EVERY) {
                self.producer.poll(Duration::ZERO);
                if self.clock.nanos() >= until {
                    break;
                }
            }
        }
        client::drain(self.producer)
    }

    /// The producers take turns, so that together they keep the rate.
    fn at_a_rate(&mut self, first_nanos: u64) -> anyhow::Result<()> {
        let (share, until) = (self.share(), self.until(first_nanos));
        let sample = self.args.sample();
        let pace = Pace::from(first_nanos, self.args.target_records_per_second);
        while self.sent < share {
            let due = pace.due_nanos(self.sent * self.args.producers + self.number);
            if due >= until {
                break;
            }
            wait_until(self.clock, due);
            let timed = self.sent.is_multiple_of(sample);
            self.send(if timed { client::opaque(due) } else { COUNTED })?;
        }
        client::drain(self.producer)
    }

    fn share(&self) -> u64 {
        share(self.args.limit(), self.args.producers, self.number)
    }

    fn until(&self, first_nanos: u64) -> u64 {
        self.args.seconds.map_or(u64::MAX, |seconds| {
            let after = Duration::from_secs_f64(seconds).as_nanos();
            first_nanos.saturating_add(u64::try_from(after).unwrap_or(u64::MAX))
        })
    }

    fn send(&mut self, time: usize) -> anyhow::Result<()> {
        let due = self
            .args
            .held_over
            .map(|span| self.due_ms(span).to_string());
        let mut record = Record::with_opaque_to(&self.topic.name, time).payload(self.values.next());
        if let Some(keys) = &mut self.keys {
            record = record.key(keys.next());
        } else {
            let turn = self.sent / self.run_length + self.number;
            let partition = turn % u64::from(self.topic.partitions.unsigned_abs());
            record = record.partition(i32::try_from(partition)?);
        }
        let mut headers = self.headers.clone();
        if let Some(due) = &due {
            headers = Some(headers.unwrap_or_default().insert(Header {
                key: "chronos-deliver-at",
                value: Some(due),
            }));
        }
        if let Some(ids) = &mut self.ids {
            headers = Some(headers.unwrap_or_default().insert(Header {
                key: "chronos-message-id",
                value: Some(ids.next()),
            }));
        }
        if let Some(headers) = headers {
            record = record.headers(headers);
        }
        client::send(self.producer, record)?;
        self.sent += 1;
        Ok(())
    }
}

impl Worker<'_> {
    /// Between one hour from now and `span` later; neighbours lie far apart.
    fn due_ms(&self, span: Duration) -> i64 {
        let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(1);
        let shuffled = (self.sent * self.args.producers + self.number).wrapping_mul(SPREAD) >> 16;
        let ahead = i64::try_from(shuffled % span).unwrap_or(0);
        jiff::Timestamp::now().as_millisecond() + HOUR_MS + ahead
    }
}

/// A producer's part of all records.
fn share(limit: Option<u64>, producers: u64, number: u64) -> u64 {
    limit.map_or(u64::MAX, |all| {
        all / producers + u64::from(number < all % producers)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        for (all, producers) in [(10, 3), (2, 4), (8, 8), (1_000_001, 7)] {
            let sum: u64 = (0..producers).map(|n| share(Some(all), producers, n)).sum();
            assert_eq!(sum, all);
        }
        assert_eq!(share(None, 3, 0), u64::MAX);
    }
}
