//! `chronosctl schedule list|get|cancel|reschedule|fire|stats|watch`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use proto::admin::v1::{self as pb, schedule_service_client::ScheduleServiceClient};
use serde::Serialize;
use tonic::transport::Channel;

use crate::{
    cli::key_value,
    grpc,
    output::{self, Format},
    time::{self, millis, moment, span, spoken, timestamp},
};

/// A call that reads much, as a histogram of a hundred million does.
const PATIENCE: Duration = Duration::from_mins(2);
/// Ids in one request.
const IDS_AT_ONCE: usize = 10_000;
/// Characters of the longest bar.
const BAR: usize = 40;
/// Characters of a value in a list.
const COLUMN: usize = 32;
/// Eighths of a character.
const BLOCKS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
const FULL: char = '█';

/// A command about held records.
#[derive(Debug, Subcommand)]
pub enum ScheduleCommand {
    /// List what waits, in firing order
    List {
        /// Which ones
        #[command(flatten)]
        filter: Filter,
        /// How many at most
        #[arg(short = 'n', long, default_value_t = 100)]
        limit: usize,
    },
    /// Show one
    Get {
        /// Which
        #[command(flatten)]
        place: Place,
    },
    /// Cancel some by id, or all that fit a filter
    Cancel {
        /// Which ones
        #[command(flatten)]
        filter: Filter,
        /// Ids, of one partition
        ids: Vec<i64>,
        /// Ids, one a line, of this file (- for the standard input): tells how many had which outcome
        #[arg(long, value_name = "FILE", conflicts_with = "ids")]
        ids_from: Option<PathBuf>,
        /// Only count them
        #[arg(long, conflicts_with = "ids")]
        dry_run: bool,
        /// Cancel all of the topic that fit; without it, a filter that names nothing but the topic is refused
        #[arg(long, conflicts_with = "ids")]
        all: bool,
    },
    /// Move one to another time
    Reschedule {
        /// Which
        #[command(flatten)]
        place: Place,
        /// Epoch milliseconds, RFC 3339 with offset, or +1h30m from now
        #[arg(allow_hyphen_values = true)]
        to: String,
        /// Only if it is due then
        #[arg(long, value_name = "TIME")]
        expected: Option<String>,
    },
    /// Deliver one now
    Fire {
        /// Which
        #[command(flatten)]
        place: Place,
    },
    /// Count what waits, and draw when it is due
    Stats {
        /// The topic [default: all]
        #[arg(short, long)]
        topic: Option<String>,
        /// Spans of one length, as 1h, instead of growing ones
        #[arg(long, value_name = "SPAN")]
        width: Option<String>,
        /// How many spans of that length
        #[arg(long, default_value_t = 24, requires = "width")]
        buckets: i32,
    },
    /// Tell again and again how many wait, and when the next is due
    Watch {
        /// The topic [default: all]
        #[arg(short, long)]
        topic: Option<String>,
        /// Between two lines
        #[arg(short, long, default_value = "1s", value_name = "SPAN")]
        interval: String,
        /// Stop after so many lines
        #[arg(short = 'n', long)]
        limit: Option<usize>,
    },
}

/// Which held records.
#[derive(Debug, Args)]
pub struct Filter {
    /// The topic
    #[arg(short, long)]
    topic: String,
    /// A partition; may be given several times
    #[arg(short, long)]
    partition: Vec<i32>,
    /// Due then or later: epoch milliseconds, RFC 3339, or +1h from now
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    after: Option<String>,
    /// Due before then
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    before: Option<String>,
    /// With this key
    #[arg(short, long)]
    key: Option<String>,
    /// With this header
    #[arg(short = 'H', long, value_name = "NAME=VALUE", value_parser = key_value)]
    header: Option<(String, String)>,
}

/// One held record.
#[derive(Debug, Args)]
pub struct Place {
    /// The topic
    #[arg(short, long)]
    topic: String,
    /// The partition
    #[arg(short, long, default_value_t = 0)]
    partition: i32,
    /// Its schedule id: the offset that was answered when it was produced
    id: i64,
}

impl Place {
    fn name(&self) -> String {
        let Self {
            topic,
            partition,
            id,
        } = self;
        format!("topics/{topic}/partitions/{partition}/scheduledMessages/{id}")
    }
}

impl Filter {
    fn names_more_than_a_topic(&self) -> bool {
        !self.partition.is_empty()
            || self.after.is_some()
            || self.before.is_some()
            || self.key.is_some()
            || self.header.is_some()
    }

    fn into_message(self) -> anyhow::Result<pb::ScheduleFilter> {
        let at = |text: Option<String>| text.map(|text| moment(&text).map(timestamp)).transpose();
        Ok(pb::ScheduleFilter {
            topic: self.topic,
            partitions: self.partition,
            deliver_after: at(self.after)?,
            deliver_before: at(self.before)?,
            key: self.key.map(Into::into),
            header: self.header.map(|(key, value)| pb::Header {
                key,
                value: Some(value.into()),
            }),
        })
    }
}

#[derive(Serialize)]
struct Row {
    partition: i32,
    schedule_id: i64,
    due: String,
    due_in: String,
    key: Option<String>,
    value_bytes: i64,
    value: Option<String>,
}

#[derive(Serialize)]
struct Full {
    name: String,
    due: String,
    due_ms: i64,
    due_in: String,
    created: String,
    key: Option<String>,
    value: Option<String>,
    headers: Vec<String>,
}

#[derive(Serialize)]
struct CancelRow {
    schedule_id: i64,
    result: &'static str,
    delivered_offset: Option<i64>,
}

#[derive(Serialize)]
struct CountRow {
    result: &'static str,
    records: u64,
}

#[derive(Serialize)]
struct Counted {
    matched: i64,
    cancelled: i64,
    dry_run: bool,
}

#[derive(Serialize)]
struct Moved {
    name: String,
    due: String,
    due_in: String,
}

#[derive(Serialize)]
struct Span {
    due_from: Option<String>,
    due_before: Option<String>,
    count: i64,
}

#[derive(Serialize)]
struct Counts {
    time: String,
    pending: i64,
    next_due: Option<String>,
    next_due_in: Option<String>,
}

pub(super) async fn run(
    admin: &str,
    format: Format,
    command: ScheduleCommand,
) -> anyhow::Result<ExitCode> {
    let watches = matches!(command, ScheduleCommand::Watch { .. });
    let channel = grpc::connect(admin, (!watches).then_some(PATIENCE)).await?;
    let client = ScheduleServiceClient::new(channel).max_decoding_message_size(16 << 20);
    match command {
        ScheduleCommand::List { filter, limit } => list(client, format, filter, limit).await,
        ScheduleCommand::Get { place } => get(client, format, &place).await,
        ScheduleCommand::Cancel {
            filter,
            ids,
            dry_run,
            all,
            ids_from: None,
        } if ids.is_empty() => bulk_cancel(client, format, filter, dry_run, all).await,
        ScheduleCommand::Cancel {
            filter,
            ids_from: Some(file),
            ..
        } => cancel_those_of(client, format, &filter, &file).await,
        ScheduleCommand::Cancel { filter, ids, .. } => cancel(client, format, &filter, ids).await,
        ScheduleCommand::Reschedule {
            place,
            to,
            expected,
        } => reschedule(client, format, &place, &to, expected).await,
        ScheduleCommand::Fire { place } => fire(client, format, &place).await,
        ScheduleCommand::Stats {
            topic,
            width,
            buckets,
        } => stats(client, format, topic, width, buckets).await,
        ScheduleCommand::Watch {
            topic,
            interval,
            limit,
        } => watch(client, format, topic, &interval, limit).await,
    }
}

type Client = ScheduleServiceClient<Channel>;

async fn list(
    mut client: Client,
    format: Format,
    filter: Filter,
    limit: usize,
) -> anyhow::Result<ExitCode> {
    let filter = filter.into_message()?;
    let mut rows = Vec::new();
    let mut page_token = String::new();
    while rows.len() < limit {
        let request = pb::ListScheduledMessagesRequest {
            filter: Some(filter.clone()),
            page_size: i32::try_from(limit - rows.len()).unwrap_or(i32::MAX),
            page_token,
            with_values: true,
        };
        let page = client
            .list_scheduled_messages(request)
            .await
            .map_err(grpc::told)?;
        let page = page.into_inner();
        rows.extend(page.messages.iter().map(|message| Row {
            partition: message.partition,
            schedule_id: message.schedule_id,
            due: time::local(millis(message.deliver_time.as_ref())),
            due_in: relative(millis(message.deliver_time.as_ref())),
            key: message.key.as_deref().map(|key| short(format, key)),
            value_bytes: message.value_bytes,
            value: message.value.as_deref().map(|value| short(format, value)),
        }));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    output::rows(format, &rows)?;
    if !page_token.is_empty() {
        output::note(format, "there are more: -n shows them");
    }
    Ok(ExitCode::SUCCESS)
}

async fn get(mut client: Client, format: Format, place: &Place) -> anyhow::Result<ExitCode> {
    let request = pb::GetScheduledMessageRequest { name: place.name() };
    let answer = client
        .get_scheduled_message(request)
        .await
        .map_err(grpc::told)?;
    let message = answer.into_inner().message.context("an empty answer")?;
    let due_ms = millis(message.deliver_time.as_ref());
    let headers = message.headers.iter().map(|header| {
        let value = header.value.as_deref().map_or_else(|| "-".to_owned(), text);
        format!("{}={value}", header.key)
    });
    let row = Full {
        due: time::local(due_ms),
        due_ms,
        due_in: relative(due_ms),
        created: time::local(millis(message.create_time.as_ref())),
        key: message.key.as_deref().map(text),
        value: message.value.as_deref().map(text),
        headers: headers.collect(),
        name: message.name,
    };
    output::rows(format, &[row])?;
    Ok(ExitCode::SUCCESS)
}

async fn cancel(
    mut client: Client,
    format: Format,
    filter: &Filter,
    ids: Vec<i64>,
) -> anyhow::Result<ExitCode> {
    let outcomes = cancel_some(&mut client, filter, ids).await?;
    let rows: Vec<CancelRow> = outcomes
        .iter()
        .map(|outcome| CancelRow {
            schedule_id: outcome.schedule_id,
            result: result_text(outcome.result()),
            delivered_offset: outcome.delivered_offset,
        })
        .collect();
    let all = rows.iter().all(|row| row.result == "cancelled");
    output::rows(format, &rows)?;
    Ok(exit_code(all))
}

/// Failure where not all that was asked for were cancelled.
fn exit_code(all: bool) -> ExitCode {
    if all {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn result_text(result: pb::CancelResult) -> &'static str {
    match result {
        pb::CancelResult::Cancelled => "cancelled",
        pb::CancelResult::AlreadyDelivered => "already delivered",
        pb::CancelResult::NotFound => "not found",
        pb::CancelResult::Unspecified => "unknown",
    }
}

/// Asks for ids of one partition.
async fn cancel_some(
    client: &mut Client,
    filter: &Filter,
    schedule_ids: Vec<i64>,
) -> anyhow::Result<Vec<pb::CancelOutcome>> {
    let partition = match filter.partition.as_slice() {
        [] => 0,
        [one] => *one,
        _ => bail!("ids are of one partition: name it with -p"),
    };
    let request = pb::CancelScheduledMessagesRequest {
        topic: filter.topic.clone(),
        partition,
        schedule_ids,
        request_id: String::new(),
    };
    let answer = client.cancel_scheduled_messages(request).await;
    Ok(answer.map_err(grpc::told)?.into_inner().outcomes)
}

async fn cancel_those_of(
    mut client: Client,
    format: Format,
    filter: &Filter,
    file: &Path,
) -> anyhow::Result<ExitCode> {
    let text = if file == Path::new("-") {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(file)
    };
    let text = text.with_context(|| format!("reading {}", file.display()))?;
    let ids = text.split_whitespace().map(|id| {
        let parsed = id.parse::<i64>();
        parsed.with_context(|| format!("'{id}' is no schedule id"))
    });
    let ids: Vec<i64> = ids.collect::<anyhow::Result<_>>()?;
    let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
    for some in ids.chunks(IDS_AT_ONCE) {
        for outcome in cancel_some(&mut client, filter, some.to_vec()).await? {
            *counts.entry(result_text(outcome.result())).or_default() += 1;
        }
    }
    let all = counts.keys().all(|result| *result == "cancelled");
    let rows: Vec<_> = counts
        .into_iter()
        .map(|(result, records)| CountRow { result, records })
        .collect();
    output::rows(format, &rows)?;
    Ok(exit_code(all))
}

async fn bulk_cancel(
    mut client: Client,
    format: Format,
    filter: Filter,
    dry_run: bool,
    all: bool,
) -> anyhow::Result<ExitCode> {
    if !(all || dry_run || filter.names_more_than_a_topic()) {
        bail!("this would cancel all of the topic: say --all, or --dry-run to count them");
    }
    let request = pb::BatchCancelScheduledMessagesRequest {
        filter: Some(filter.into_message()?),
        dry_run,
    };
    let answer = client
        .batch_cancel_scheduled_messages(request)
        .await
        .map_err(grpc::told)?;
    let answer = answer.into_inner();
    let row = Counted {
        matched: answer.matched,
        cancelled: answer.cancelled,
        dry_run,
    };
    output::rows(format, &[row])?;
    Ok(ExitCode::SUCCESS)
}

async fn reschedule(
    mut client: Client,
    format: Format,
    place: &Place,
    to: &str,
    expected: Option<String>,
) -> anyhow::Result<ExitCode> {
    let expected = expected.map(|text| moment(&text)).transpose()?;
    let request = pb::RescheduleScheduledMessageRequest {
        name: place.name(),
        deliver_time: Some(timestamp(moment(to)?)),
        expected_deliver_time: expected.map(timestamp),
        request_id: String::new(),
    };
    let answer = client
        .reschedule_scheduled_message(request)
        .await
        .map_err(grpc::told)?;
    moved(format, place, answer.into_inner().deliver_time)
}

async fn fire(mut client: Client, format: Format, place: &Place) -> anyhow::Result<ExitCode> {
    let request = pb::DeliverScheduledMessageNowRequest {
        name: place.name(),
        request_id: String::new(),
    };
    let answer = client
        .deliver_scheduled_message_now(request)
        .await
        .map_err(grpc::told)?;
    moved(format, place, answer.into_inner().deliver_time)
}

fn moved(
    format: Format,
    place: &Place,
    to: Option<prost_types::Timestamp>,
) -> anyhow::Result<ExitCode> {
    let due = millis(to.as_ref());
    let row = Moved {
        name: place.name(),
        due: time::local(due),
        due_in: relative(due),
    };
    output::rows(format, &[row])?;
    Ok(ExitCode::SUCCESS)
}

async fn stats(
    mut client: Client,
    format: Format,
    topic: Option<String>,
    width: Option<String>,
    buckets: i32,
) -> anyhow::Result<ExitCode> {
    let width = width.map(|text| span(&text)).transpose()?;
    let request = pb::GetScheduleStatsRequest {
        topic: topic.unwrap_or_default(),
        buckets: if width.is_some() { buckets } else { 0 },
        bucket_width: width.and_then(|span| prost_types::Duration::try_from(span).ok()),
    };
    let answer = client
        .get_schedule_stats(request)
        .await
        .map_err(grpc::told)?;
    let stats = answer.into_inner();
    if !format.is_for_people() {
        let spans = stats.buckets.iter().map(|bucket| Span {
            due_from: bucket
                .start_time
                .as_ref()
                .map(|at| time::local(millis(Some(at)))),
            due_before: bucket
                .end_time
                .as_ref()
                .map(|at| time::local(millis(Some(at)))),
            count: bucket.count,
        });
        output::rows(format, &spans.collect::<Vec<_>>())?;
        return Ok(ExitCode::SUCCESS);
    }
    output::note(
        format,
        &format!("pending {}  overdue {}", stats.pending, stats.overdue),
    );
    if stats.unavailable_partitions > 0 {
        let offline = stats.unavailable_partitions;
        output::note(
            format,
            &format!("{offline} partitions are offline, and not counted"),
        );
    }
    let now = millis(stats.buckets.first().and_then(|b| b.end_time.as_ref()));
    let most = stats
        .buckets
        .iter()
        .map(|bucket| bucket.count)
        .max()
        .unwrap_or(0);
    for bucket in &stats.buckets {
        let until = match bucket.end_time.as_ref() {
            Some(_) if bucket.start_time.is_none() => "overdue".to_owned(),
            // From the node's now, at which the first span ends.
            Some(end) => format!("within {}", spoken(millis(Some(end)).saturating_sub(now))),
            None => "later".to_owned(),
        };
        let line = format!(
            "{until:>16} {:>12} {}",
            bucket.count,
            bar(bucket.count, most)
        );
        output::note(format, line.trim_end());
    }
    Ok(ExitCode::SUCCESS)
}

async fn watch(
    mut client: Client,
    format: Format,
    topic: Option<String>,
    interval: &str,
    limit: Option<usize>,
) -> anyhow::Result<ExitCode> {
    let request = pb::WatchScheduleRequest {
        topic: topic.unwrap_or_default(),
        interval: prost_types::Duration::try_from(span(interval)?).ok(),
    };
    let mut answers = client
        .watch_schedule(request)
        .await
        .map_err(grpc::told)?
        .into_inner();
    let mut shown = 0;
    while limit.is_none_or(|limit| shown < limit) {
        let Some(answer) = answers.message().await.map_err(grpc::told)? else {
            break;
        };
        let next = answer.next_deliver_time.as_ref().map(|at| millis(Some(at)));
        let row = Counts {
            time: time::local(millis(answer.time.as_ref())),
            pending: answer.pending,
            next_due: next.map(time::local),
            next_due_in: next.map(relative),
        };
        let next = row.next_due_in.as_deref().unwrap_or("-");
        let text = format!("{}  pending {}  next due in {next}", row.time, row.pending);
        output::row(format, &row, &text)?;
        shown += 1;
    }
    Ok(ExitCode::SUCCESS)
}

/// A bar in eighths of a character; what is not nothing is seen.
fn bar(count: i64, most: i64) -> String {
    let (Ok(count), Ok(most)) = (u128::try_from(count), u128::try_from(most.max(1))) else {
        return String::new();
    };
    let eighths = (count * (BAR as u128) * 8).div_ceil(most);
    let eighths = usize::try_from(eighths).unwrap_or(0);
    let mut bar: String = std::iter::repeat_n(FULL, eighths / 8).collect();
    if let Some(part) = BLOCKS.get(eighths % 8).filter(|_| eighths % 8 > 0) {
        bar.push(*part);
    }
    bar
}

/// From now.
fn relative(ms: i64) -> String {
    let left = ms.saturating_sub(time::now_ms());
    let shown = spoken(left.saturating_abs());
    if left < 0 { format!("-{shown}") } else { shown }
}

/// As it is where people can read it, else in hex.
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => bytes
            .iter()
            .fold("0x".to_owned(), |hex, byte| format!("{hex}{byte:02x}")),
    }
}

/// For a column: the beginning of what is long.
fn short(format: Format, bytes: &[u8]) -> String {
    let text = text(bytes);
    if format != Format::Table || text.chars().count() <= COLUMN {
        return text;
    }
    let start: String = text.chars().take(COLUMN).collect();
    format!("{start}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_from_now_show_their_largest_units() {
        let shown = |ahead: i64| relative(time::now_ms() + ahead);
        assert_eq!(shown(3 * 86_400_000 + 5 * 3_600_000 + 500), "3d 5h");
        assert_eq!(shown(3_600_000 + 120_500), "1h 2m");
        assert_eq!(shown(-62_500), "-1m 2s");
    }

    #[test]
    fn bars_are_in_proportion_and_nothing_is_hidden() {
        assert_eq!(bar(100, 100).chars().count(), BAR);
        assert_eq!(bar(50, 100).chars().count(), BAR / 2);
        assert_eq!(bar(0, 100), "");
        assert_eq!(bar(1, 1_000_000), "▏");
    }
}
