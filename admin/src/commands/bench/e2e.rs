//! `bench e2e`: from the time at which a record should have been sent to its arrival at a consumer.
//!
//! The intended time, not the real one, so that a broker that stalls the sender does not look better for it.

use std::{process::ExitCode, thread, time::Duration};

use anyhow::{Context, ensure};
use rdkafka::{Message, Offset, consumer::BaseConsumer};
use serde::Serialize;

use super::{
    E2eArgs,
    broker::{self, Topic},
    client::{self, COUNTED, Producer, Record, Told},
    clock::{Clock, Pace, wait_until},
    load,
    monitor::{Done, End, Monitor},
    numbers::{Latencies, Quantiles},
    report::{self, Cost, Rates, Subject},
    stamp::{STAMP_BYTES, Seen, Stamp, WARM_UP},
};
use crate::output::Format;

/// How long the last records may take.
const PATIENCE: Duration = Duration::from_secs(10);
const TURN: Duration = Duration::from_millis(100);

#[derive(Serialize)]
struct Outcome<'a> {
    #[serde(flatten)]
    subject: Subject<'a, E2eArgs>,
    #[serde(flatten)]
    rates: Rates,
    sent: u64,
    errors: u64,
    first_error: Option<String>,
    missing: u64,
    duplicates: u64,
    /// From the intended sending to the arrival.
    #[serde(flatten)]
    latency: Quantiles,
    /// How much later than intended the sender itself was.
    send_lag_p50_us: Option<u64>,
    send_lag_p99_us: Option<u64>,
    send_lag_max_us: Option<u64>,
    #[serde(flatten)]
    cost: Cost,
}

pub(super) async fn run(
    bootstrap: &str,
    format: Format,
    args: E2eArgs,
) -> anyhow::Result<ExitCode> {
    ensure!(
        args.value_bytes >= STAMP_BYTES,
        "--size must be {STAMP_BYTES} at least"
    );
    let topic = broker::topic(bootstrap, &args.common).await?;
    let clock = Clock::start();
    let done = Done::default();
    let own = [
        ("linger.ms", "0".to_owned()),
        ("socket.nagle.disable", "true".to_owned()),
        ("delivery.report.only.error", "true".to_owned()),
    ];
    let set = &args.common.set;
    let producer = client::producer(bootstrap, clock, Done::default(), &args.acks, &own, set)?;
    let consumer = at_the_end(bootstrap, &topic, set)?;
    let flow = Flow::new(&args, &topic, clock, &producer);
    flow.open(&consumer)?;

    let monitor = Monitor {
        name: "e2e",
        done: done.clone(),
        end: End::Seconds(args.seconds + args.warmup_seconds),
        broker_pid: args.common.broker_pid,
    };
    let ((lag, arrivals), usage) = monitor.watch(|| {
        thread::scope(|scope| {
            let arriving = scope.spawn(|| flow.receive(&consumer, &done));
            let lag = client::served(&producer, || flow.send())?;
            let arrivals = arriving.join().ok().context("a thread failed")??;
            Ok((lag.quantiles(), arrivals))
        })
    })?;
    let told = Told::sum([&producer])?;
    let missing = flow.all() - arrivals.seen.distinct;
    let bytes = arrivals.seen.distinct * args.value_bytes as u64;
    let result = Outcome {
        subject: Subject::new("e2e", bootstrap, &topic, &args),
        rates: Rates::new(arrivals.seen.distinct, bytes, &usage),
        sent: flow.all(),
        errors: told.errors,
        first_error: told.first_error,
        missing,
        duplicates: arrivals.seen.duplicates,
        latency: arrivals.latencies.quantiles(),
        send_lag_p50_us: lag.p50_us,
        send_lag_p99_us: lag.p99_us,
        send_lag_max_us: lag.max_us,
        cost: Cost::new(arrivals.seen.distinct, bytes, &usage),
    };
    report::print(format, &result)?;
    Ok(if missing + result.duplicates + result.errors == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A consumer of what comes from now on.
pub(super) fn at_the_end(
    bootstrap: &str,
    topic: &Topic,
    set: client::Settings<'_>,
) -> anyhow::Result<BaseConsumer> {
    let own = [("fetch.min.bytes", "1"), ("socket.nagle.disable", "true")];
    let consumer = client::consumer(bootstrap, &own, set)?;
    let from = broker::ends(&consumer, topic)?;
    let from = from.into_iter().map(|(p, end)| (p, Offset::Offset(end)));
    client::assign(&consumer, topic, from)?;
    Ok(consumer)
}

/// One record to each partition, until all have come: then connections are open and fetches under way.
pub(super) fn open(
    producer: &Producer,
    consumer: &BaseConsumer,
    topic: &Topic,
    run: u64,
) -> anyhow::Result<()> {
    let mut value = [0; STAMP_BYTES];
    let (number, time) = (WARM_UP, 0);
    Stamp { run, number, time }.write(&mut value);
    client::warm_up(producer, topic, &value)?;
    for came in 0..topic.partitions {
        loop {
            let message = consumer
                .poll(PATIENCE)
                .with_context(|| format!("{came} of {} partitions answer", topic.partitions))??;
            if Stamp::read(message.payload().unwrap_or_default(), run).is_some() {
                break;
            }
        }
    }
    Ok(())
}

/// Both ways of a run.
struct Flow<'a> {
    args: &'a E2eArgs,
    topic: &'a Topic,
    clock: Clock,
    producer: &'a Producer,
    run: u64,
}

struct Arrivals {
    seen: Seen,
    latencies: Latencies,
}

impl<'a> Flow<'a> {
    fn new(args: &'a E2eArgs, topic: &'a Topic, clock: Clock, producer: &'a Producer) -> Self {
        Self {
            args,
            topic,
            clock,
            producer,
            run: load::seed(),
        }
    }

    fn open(&self, consumer: &BaseConsumer) -> anyhow::Result<()> {
        open(self.producer, consumer, self.topic, self.run)
    }

    /// Records that are sent, those that warm up included.
    fn all(&self) -> u64 {
        self.count(self.args.seconds) + self.not_counted()
    }

    fn not_counted(&self) -> u64 {
        self.count(self.args.warmup_seconds)
    }

    fn count(&self, seconds: f64) -> u64 {
        let nanos = Duration::from_secs_f64(seconds).as_nanos();
        let count = nanos * u128::from(self.args.target_records_per_second) / 1_000_000_000;
        u64::try_from(count).unwrap_or(u64::MAX)
    }

    /// Sends them all; by how much each was late.
    fn send(&self) -> anyhow::Result<Latencies> {
        let mut lag = Latencies::new()?;
        let mut value = vec![0; self.args.value_bytes];
        let pace = Pace::from(self.clock.nanos(), self.args.target_records_per_second);
        for number in 0..self.all() {
            let due = pace.due_nanos(number);
            let now = wait_until(self.clock, due);
            lag.record_nanos(now - due);
            Stamp {
                run: self.run,
                number,
                time: due,
            }
            .write(&mut value);
            let partition = number % u64::from(self.topic.partitions.unsigned_abs());
            let record = Record::with_opaque_to(&self.topic.name, COUNTED)
                .partition(i32::try_from(partition)?)
                .payload(&value);
            client::send(self.producer, record)?;
        }
        client::drain(self.producer)?;
        Ok(lag)
    }

    /// Until all have come, or nothing comes any more.
    fn receive(&self, consumer: &BaseConsumer, done: &Done) -> anyhow::Result<Arrivals> {
        let mut arrivals = Arrivals {
            seen: Seen::of(self.all())?,
            latencies: Latencies::new()?,
        };
        let mut last = self.clock.elapsed();
        while arrivals.seen.distinct < self.all() && self.clock.elapsed() < last + PATIENCE {
            let Some(message) = consumer.poll(TURN) else {
                continue;
            };
            let now = self.clock.nanos();
            last = Duration::from_nanos(now);
            let message = message.context("consuming")?;
            let Some(stamp) = Stamp::read(message.payload().unwrap_or_default(), self.run) else {
                continue;
            };
            if stamp.number == WARM_UP || !arrivals.seen.add(stamp.number) {
                continue;
            }
            done.set(arrivals.seen.distinct);
            if stamp.number >= self.not_counted() {
                arrivals
                    .latencies
                    .record_nanos(now.saturating_sub(stamp.time));
            }
        }
        Ok(arrivals)
    }
}
