//! `bench held`: records that are due over a window, and how late each came. A broker that knows nothing of `chronos-deliver-at`
//! delivers all at once: they count as early.

use std::{process::ExitCode, thread, time::Duration};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use rdkafka::{
    Message,
    consumer::BaseConsumer,
    message::{Header, OwnedHeaders},
};
use serde::Serialize;

use super::{
    HeldArgs,
    broker::{self, Topic},
    client::{self, Producer, Record, Told},
    clock::Clock,
    e2e, load,
    monitor::{Done, End, Monitor},
    numbers::{Latencies, Quantiles, round},
    report::{self, Cost, Rates, Subject},
    stamp::{STAMP_BYTES, Seen, Stamp, WARM_UP},
};
use crate::output::Format;

const TURN: Duration = Duration::from_millis(100);
/// When all have come, duplicates still have this long.
const AFTERWARDS: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct Outcome<'a> {
    #[serde(flatten)]
    subject: Subject<'a, HeldArgs>,
    #[serde(flatten)]
    rates: Rates,
    /// Sending all and having all acked.
    send_seconds: f64,
    errors: u64,
    first_error: Option<String>,
    /// Was due before it was acked: how late it came says little.
    acked_after_due: u64,
    early: u64,
    max_early_us: u64,
    missing: u64,
    duplicates: u64,
    /// Arrival less due time.
    #[serde(flatten)]
    lateness: Quantiles,
    #[serde(flatten)]
    cost: Cost,
}

pub(super) async fn run(
    bootstrap: &str,
    format: Format,
    args: HeldArgs,
) -> anyhow::Result<ExitCode> {
    ensure!(
        args.value_bytes >= STAMP_BYTES,
        "--size must be {STAMP_BYTES} at least"
    );
    let topic = broker::topic(bootstrap, &args.common).await?;
    let clock = Clock::start();
    let done = Done::default();
    let set = &args.common.set;
    let own = [("socket.nagle.disable", "true".to_owned())];
    let producer = client::producer(bootstrap, clock, Done::default(), "all", &own, set)?;
    let consumer = e2e::at_the_end(bootstrap, &topic, set)?;
    let run = load::seed();
    e2e::open(&producer, &consumer, &topic, run)?;

    let plan = Plan::new(&args, &topic, clock, run);
    let monitor = Monitor {
        name: "held",
        done: done.clone(),
        end: End::Records(args.records),
        broker_pid: args.common.broker_pid,
    };
    let ((send_seconds, arrivals), usage) = monitor.watch(|| {
        thread::scope(|scope| {
            let arriving = scope.spawn(|| plan.receive(&consumer, &done));
            let send_seconds = client::served(&producer, || plan.send(&producer))?;
            let arrivals = arriving.join().ok().context("a thread failed")??;
            Ok((send_seconds, arrivals))
        })
    })?;
    let told = Told::sum([&producer])?;
    let seen = &arrivals.seen;
    let bytes = seen.distinct * args.value_bytes as u64;
    let result = Outcome {
        subject: Subject::new("held", bootstrap, &topic, &args),
        rates: Rates::new(seen.distinct, bytes, &usage),
        send_seconds: round(send_seconds),
        errors: told.errors,
        first_error: told.first_error,
        acked_after_due: told.behind,
        early: arrivals.early,
        max_early_us: arrivals.max_early_us,
        missing: args.records - seen.distinct,
        duplicates: seen.duplicates,
        lateness: arrivals.lateness.quantiles(),
        cost: Cost::new(seen.distinct, bytes, &usage),
    };
    report::print(format, &result)?;
    let wrong = result.errors + result.early + result.missing + result.duplicates;
    Ok(if wrong == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Which record is due when.
struct Plan<'a> {
    args: &'a HeldArgs,
    topic: &'a Topic,
    clock: Clock,
    run: u64,
    first_due_ms: i64,
    /// The wall's microseconds when the clock was at 0.
    clock_zero_us: i64,
}

struct Arrivals {
    seen: Seen,
    lateness: Latencies,
    early: u64,
    max_early_us: u64,
}

impl<'a> Plan<'a> {
    fn new(args: &'a HeldArgs, topic: &'a Topic, clock: Clock, run: u64) -> Self {
        let now_us = Timestamp::now().as_microsecond();
        let after_ms = i64::try_from(args.after.as_millis()).unwrap_or(0);
        Self {
            args,
            topic,
            clock,
            run,
            first_due_ms: now_us / 1_000 + after_ms,
            clock_zero_us: now_us - micros(clock.elapsed()),
        }
    }

    fn due_ms(&self, number: u64) -> i64 {
        self.first_due_ms + spread_ms(self.args.window, number, self.args.records)
    }

    /// As fast as it goes; the seconds it took.
    fn send(&self, producer: &Producer) -> anyhow::Result<f64> {
        let started = self.clock.seconds();
        let mut value = vec![0; self.args.value_bytes];
        for number in 0..self.args.records {
            let due_ms = self.due_ms(number);
            Stamp {
                run: self.run,
                number,
                time: due_ms.unsigned_abs(),
            }
            .write(&mut value);
            let text = due_ms.to_string();
            let headers = OwnedHeaders::new().insert(Header {
                key: "chronos-deliver-at",
                value: Some(&text),
            });
            let due_nanos = (due_ms * 1_000 - self.clock_zero_us).max(0).unsigned_abs() * 1_000;
            let partition = number % u64::from(self.topic.partitions.unsigned_abs());
            let record = Record::with_opaque_to(&self.topic.name, client::opaque(due_nanos))
                .partition(i32::try_from(partition)?)
                .headers(headers)
                .payload(&value);
            client::send(producer, record)?;
        }
        client::drain(producer)?;
        Ok(self.clock.seconds() - started)
    }

    /// Until all have come and a moment more, or the patience is at its end.
    fn receive(&self, consumer: &BaseConsumer, done: &Done) -> anyhow::Result<Arrivals> {
        let mut arrivals = Arrivals {
            seen: Seen::of(self.args.records)?,
            lateness: Latencies::new()?,
            early: 0,
            max_early_us: 0,
        };
        let last_due_us = self.due_ms(self.args.records) * 1_000;
        let mut until_us = last_due_us + micros(self.args.patience);
        let mut complete = false;
        loop {
            let message = consumer.poll(TURN);
            let now_us = Timestamp::now().as_microsecond();
            if now_us > until_us {
                return Ok(arrivals);
            }
            let Some(message) = message else {
                continue;
            };
            let message = message.context("consuming")?;
            let payload = message.payload().unwrap_or_default();
            if let Some(stamp) = Stamp::read(payload, self.run)
                && stamp.number != WARM_UP
            {
                arrivals.add(stamp, now_us);
                done.set(arrivals.seen.distinct);
            }
            if !complete && arrivals.seen.distinct == self.args.records {
                complete = true;
                until_us = until_us.min(now_us + micros(AFTERWARDS));
            }
        }
    }
}

impl Arrivals {
    fn add(&mut self, stamp: Stamp, now_us: i64) {
        if !self.seen.add(stamp.number) {
            return;
        }
        let due_us = i64::try_from(stamp.time)
            .unwrap_or(i64::MAX)
            .saturating_mul(1_000);
        let late_us = now_us - due_us;
        if late_us < 0 {
            self.early += 1;
            self.max_early_us = self.max_early_us.max(late_us.unsigned_abs());
        }
        self.lateness.record_us(late_us.max(0).unsigned_abs());
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX / 4)
}

/// Where in the window a record's time is, to the millisecond.
fn spread_ms(window: Duration, number: u64, records: u64) -> i64 {
    let at = window.as_millis() * u128::from(number) / u128::from(records.max(1));
    i64::try_from(at).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_times_fill_the_window() {
        let window = Duration::from_secs(10);
        assert_eq!(spread_ms(window, 0, 1_000), 0);
        assert_eq!(spread_ms(window, 500, 1_000), 5_000);
        assert_eq!(spread_ms(window, 999, 1_000), 9_990);
    }

    #[test]
    fn early_late_and_double_are_told_apart() {
        let mut arrivals = Arrivals {
            seen: Seen::of(3).unwrap(),
            lateness: Latencies::new().unwrap(),
            early: 0,
            max_early_us: 0,
        };
        let stamp = |number| Stamp {
            run: 1,
            number,
            time: 5_000,
        };
        arrivals.add(stamp(0), 5_002_000);
        arrivals.add(stamp(1), 4_999_000);
        arrivals.add(stamp(1), 5_000_000);
        assert_eq!((arrivals.early, arrivals.max_early_us), (1, 1_000));
        assert_eq!((arrivals.seen.distinct, arrivals.seen.duplicates), (2, 1));
        assert_eq!(arrivals.lateness.quantiles().max_us, Some(2_000));
    }
}
