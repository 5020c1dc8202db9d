//! `bench txn`: transactions of a few records over a few partitions, as a client of Kafka 2.5 to 3.9 does them: partitions are
//! added, records are produced, the coordinator is told to commit.

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    error::ResponseError as Kafka,
    messages::{
        AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest, ProduceRequest,
        add_partitions_to_txn_request::AddPartitionsToTxnTopic,
        produce_request::{PartitionProduceData, TopicProduceData},
    },
    records::{Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType},
};
use serde::Serialize;
use tokio::{task::JoinSet, time::sleep};

use super::{
    clock::Clock,
    groups::{self, Cost, TxnArgs, Watch},
    numbers::{Latencies, Quantiles},
    report,
};
use crate::{
    output::Format,
    time,
    wire::{self, Code, Connection, CoordinatorKind},
};

/// The coordinator still ends the transaction before: clients wait 20 ms, which is not what is measured here.
const AGAIN_AFTER: Duration = Duration::from_millis(1);
const TIMEOUT_MS: i32 = 60_000;
/// The last versions before a transaction is begun by its first record.
const PRODUCE_MAX: i16 = 9;
const ADD_MAX: i16 = 3;
const END_MAX: i16 = 3;
const INIT_MAX: i16 = 4;

#[derive(Serialize)]
struct Outcome<'a> {
    bench: &'static str,
    #[serde(flatten)]
    args: &'a TxnArgs,
    #[serde(flatten)]
    cost: Cost,
    /// From the first request of a transaction to the answer of its last.
    transaction: Quantiles,
    /// From the commit to its answer.
    commit: Quantiles,
    /// How often the transaction before was not ended yet.
    waits: u64,
}

/// What the producers share.
#[derive(Debug)]
struct Work {
    next: AtomicU64,
    waits: AtomicU64,
    transactions: u64,
    topic: String,
    records: i32,
    over: i32,
    value: Bytes,
    clock: Clock,
}

#[derive(Debug)]
struct Producer {
    connection: Connection,
    transactional: String,
    id: i64,
    epoch: i16,
    /// Records written to each partition.
    sequences: Vec<i32>,
}

pub(super) async fn run(
    bootstrap: &str,
    format: Format,
    args: &TxnArgs,
) -> anyhow::Result<ExitCode> {
    let partitions = groups::make_topic(bootstrap, &args.subject).await?;
    anyhow::ensure!(
        args.over <= partitions,
        "--over is above the topic's {partitions} partitions"
    );
    let run = time::now_ms();
    let mut producers = Vec::new();
    for number in 0..args.producers {
        let transactional = format!("bench-txn-{run}-{number}");
        producers.push(Producer::start(bootstrap, transactional, args.over).await?);
    }
    let work = Arc::new(Work {
        next: AtomicU64::new(0),
        waits: AtomicU64::new(0),
        transactions: args.transactions,
        topic: args.subject.topic.clone(),
        records: args.records,
        over: args.over,
        value: vec![b'x'; args.value_bytes].into(),
        clock: Clock::start(),
    });
    let watch = Watch::start(args.subject.broker_pid)?;
    let mut tasks = JoinSet::new();
    for producer in producers {
        tasks.spawn(producer.work(Arc::clone(&work)));
    }
    let (mut transactions, mut commits) = (Latencies::new()?, Latencies::new()?);
    while let Some(done) = tasks.join_next().await {
        let (whole, commit) = done??;
        transactions.merge(&whole)?;
        commits.merge(&commit)?;
    }
    let outcome = Outcome {
        bench: "txn",
        args,
        cost: watch.end(args.transactions)?,
        transaction: transactions.quantiles(),
        commit: commits.quantiles(),
        waits: work.waits.load(Ordering::Relaxed),
    };
    report::print(format, &outcome)?;
    Ok(ExitCode::SUCCESS)
}

impl Producer {
    async fn start(bootstrap: &str, transactional: String, over: i32) -> anyhow::Result<Self> {
        let kind = CoordinatorKind::Transaction;
        let address = groups::coordinator(bootstrap, kind, &transactional).await?;
        let mut connection = Connection::open(&address, groups::CLIENT_ID).await?;
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(wire::transactional(&transactional)))
            .with_transaction_timeout_ms(TIMEOUT_MS)
            .with_producer_id((-1).into())
            .with_producer_epoch(-1);
        let answer = loop {
            let answer = connection.ask_up_to(&request, INIT_MAX).await?;
            let code = Code(answer.error_code);
            if !code.is_coordinator_on_its_way() {
                code.ok()?;
                break answer;
            }
            sleep(AGAIN_AFTER).await;
        };
        Ok(Self {
            connection,
            transactional,
            id: answer.producer_id.0,
            epoch: answer.producer_epoch,
            sequences: vec![0; usize::try_from(over)?],
        })
    }

    /// Until no transaction is left: how long each took, and its commit.
    async fn work(mut self, work: Arc<Work>) -> anyhow::Result<(Latencies, Latencies)> {
        let (mut whole, mut commits) = (Latencies::new()?, Latencies::new()?);
        while work.next.fetch_add(1, Ordering::Relaxed) < work.transactions {
            let began = work.clock.nanos();
            self.add(&work).await?;
            self.produce(&work).await?;
            let committing = work.clock.nanos();
            self.end().await?;
            let ended = work.clock.nanos();
            commits.record_nanos(ended.saturating_sub(committing));
            whole.record_nanos(ended.saturating_sub(began));
        }
        Ok((whole, commits))
    }

    async fn add(&mut self, work: &Work) -> anyhow::Result<()> {
        let topic = AddPartitionsToTxnTopic::default()
            .with_name(wire::topic(&work.topic))
            .with_partitions((0..work.over).collect());
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(wire::transactional(&self.transactional))
            .with_v3_and_below_producer_id(self.id.into())
            .with_v3_and_below_producer_epoch(self.epoch)
            .with_v3_and_below_topics(vec![topic]);
        loop {
            let answer = self.connection.ask_up_to(&request, ADD_MAX).await?;
            let topics = answer.results_by_topic_v3_and_below.iter();
            let mut codes = topics
                .flat_map(|topic| &topic.results_by_partition)
                .map(|partition| Code(partition.partition_error_code));
            let Some(wrong) = codes.find(|code| !code.is_ok()) else {
                return Ok(());
            };
            if wrong.error() != Some(Kafka::ConcurrentTransactions) {
                wrong.ok()?;
            }
            work.waits.fetch_add(1, Ordering::Relaxed);
            sleep(AGAIN_AFTER).await;
        }
    }

    async fn produce(&mut self, work: &Work) -> anyhow::Result<()> {
        let mut partitions = Vec::new();
        for (index, sequence) in (0..work.over).zip(&mut self.sequences) {
            let count = (work.records - index + work.over - 1) / work.over;
            if count <= 0 {
                continue;
            }
            let batch = batch((self.id, self.epoch), *sequence, count, &work.value)?;
            *sequence = sequence.wrapping_add(count) & i32::MAX;
            partitions.push(
                PartitionProduceData::default()
                    .with_index(index)
                    .with_records(Some(batch)),
            );
        }
        let topic = TopicProduceData::default()
            .with_name(wire::topic(&work.topic))
            .with_partition_data(partitions);
        let request = ProduceRequest::default()
            .with_transactional_id(Some(wire::transactional(&self.transactional)))
            .with_acks(-1)
            .with_timeout_ms(TIMEOUT_MS)
            .with_topic_data(vec![topic]);
        let answer = self.connection.ask_up_to(&request, PRODUCE_MAX).await?;
        let topics = answer.responses.iter();
        for partition in topics.flat_map(|topic| &topic.partition_responses) {
            Code(partition.error_code).ok()?;
        }
        Ok(())
    }

    async fn end(&mut self) -> anyhow::Result<()> {
        let request = EndTxnRequest::default()
            .with_transactional_id(wire::transactional(&self.transactional))
            .with_producer_id(self.id.into())
            .with_producer_epoch(self.epoch)
            .with_committed(true);
        let answer = self.connection.ask_up_to(&request, END_MAX).await?;
        Code(answer.error_code).ok()
    }
}

fn batch(
    (producer_id, producer_epoch): (i64, i16),
    sequence: i32,
    count: i32,
    value: &Bytes,
) -> anyhow::Result<Bytes> {
    let now = time::now_ms();
    let records: Vec<Record> = (0..count)
        .map(|number| Record {
            transactional: true,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: -1,
            producer_id,
            producer_epoch,
            timestamp_type: TimestampType::Creation,
            offset: i64::from(number),
            sequence: sequence.wrapping_add(number) & i32::MAX,
            timestamp: now,
            key: None,
            value: Some(value.clone()),
            headers: kafka_protocol::indexmap::IndexMap::new(),
        })
        .collect();
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions {
        version: 2,
        compression: Compression::None,
    };
    RecordBatchEncoder::encode(&mut bytes, &records, &options)?;
    Ok(bytes.freeze())
}
