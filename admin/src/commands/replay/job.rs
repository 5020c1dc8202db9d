//! `chronosctl replay start|list|get|watch|pause|resume|cancel|delete`: jobs.

use std::{
    io::{IsTerminal, Write, stdout},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use proto::admin::v1::{self as pb, replay_service_client::ReplayServiceClient};
use serde::Serialize;
use tonic::transport::Channel;

use super::{
    ReplayCommand,
    range::{Range, header},
};
use crate::{
    grpc,
    output::{self, Format},
    time::{self, duration_ms, millis, moment, spoken},
};

const PATIENCE: Duration = Duration::from_mins(1);
/// Characters of a bar.
const BAR: usize = 30;

/// What to append where.
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
#[derive(Debug, Args)]
pub struct StartArgs {
    /// Which records
    #[command(flatten)]
    range: Range,
    /// The topic that they are appended to
    #[arg(long, value_name = "TOPIC")]
    into: String,
    /// The job's id [default: the topics and the time]
    #[arg(long, value_name = "ID")]
    job: Option<String>,
    /// To the partition that Kafka's producers choose for the key, instead of the one of the same number
    #[arg(long)]
    by_key: bool,
    /// Keep headers that begin with chronos-
    #[arg(long)]
    keep_chronos_headers: bool,
    /// Leave this header out; may be given several times
    #[arg(long, value_name = "NAME")]
    remove_header: Vec<String>,
    /// Set this header; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    set_header: Vec<String>,
    /// Give records the time of their append
    #[arg(long)]
    new_timestamps: bool,
    /// At most so many records a second
    #[arg(long, value_name = "N", default_value_t = 0)]
    records_per_second: u32,
    /// At most so many bytes a second
    #[arg(long, value_name = "N", default_value_t = 0)]
    bytes_per_second: u32,
    /// So many times as fast as it happened, by the records' times [default: as fast as can be]
    #[arg(long, value_name = "TIMES")]
    speed: Option<f64>,
    /// Hold the records: the one of --from is delivered then, the others by their times after it
    #[arg(long, value_name = "TIME")]
    deliver_from: Option<String>,
    /// With --deliver-from: so many times as fast as it happened
    #[arg(long, value_name = "TIMES", requires = "deliver_from")]
    deliver_speed: Option<f64>,
    /// Follow it until it has ended
    #[arg(short, long)]
    watch: bool,
}

impl StartArgs {
    fn into_request(self) -> anyhow::Result<pb::CreateReplayJobRequest> {
        let named = || format!("{}-to-{}-{}", self.range.topic, self.into, time::now_ms());
        let job_id = self.job.clone().unwrap_or_else(named);
        let delivery = self
            .deliver_from
            .as_ref()
            .map(|at| {
                anyhow::Ok(pb::ReplayDelivery {
                    start_time: Some(time::timestamp(moment(at)?)),
                    speed: self.deliver_speed.unwrap_or_default(),
                })
            })
            .transpose()?;
        let partitioning = if self.by_key {
            pb::ReplayPartitioning::Key
        } else {
            pb::ReplayPartitioning::Same
        };
        Ok(pb::CreateReplayJobRequest {
            job_id,
            range: Some(self.range.range()?),
            filter: Some(self.range.filter()),
            topic: self.range.topic,
            partitions: self.range.partition,
            target_topic: self.into,
            partitioning: partitioning.into(),
            keep_chronos_headers: self.keep_chronos_headers,
            remove_headers: self.remove_header,
            set_headers: self.set_header.into_iter().map(header).collect(),
            new_timestamps: self.new_timestamps,
            records_per_second: self.records_per_second.into(),
            bytes_per_second: self.bytes_per_second.into(),
            speed: self.speed.unwrap_or_default(),
            delivery,
        })
    }
}

#[derive(Serialize)]
struct Row {
    job: String,
    topic: String,
    into: String,
    state: &'static str,
    done: String,
    remaining: Option<String>,
    records: i64,
    bytes: i64,
    created_ms: i64,
    failure: Option<String>,
}

fn row(job: &pb::ReplayJob) -> Row {
    let remaining = job.remaining.map(|span| spoken(duration_ms(&span)));
    Row {
        job: job.job_id.clone(),
        topic: job.topic.clone(),
        into: job.target_topic.clone(),
        state: match job.state() {
            pb::ReplayJobState::Unspecified => "unknown",
            pb::ReplayJobState::Running => "running",
            pb::ReplayJobState::Paused => "paused",
            pb::ReplayJobState::Completed => "completed",
            pb::ReplayJobState::Cancelled => "cancelled",
            pb::ReplayJobState::Failed => "failed",
        },
        done: format!("{:.1}%", job.progress * 100.0),
        remaining,
        records: job.records,
        bytes: job.bytes,
        created_ms: millis(job.create_time.as_ref()),
        failure: (!job.failure.is_empty()).then(|| job.failure.clone()),
    }
}

pub(super) async fn run(
    admin: &str,
    format: Format,
    command: ReplayCommand,
) -> anyhow::Result<ExitCode> {
    let watches = matches!(&command, ReplayCommand::Watch { .. })
        || matches!(
            &command,
            ReplayCommand::Start(StartArgs { watch: true, .. })
        );
    let patience = (!watches).then_some(PATIENCE);
    let mut client = ReplayServiceClient::new(grpc::connect(admin, patience).await?);
    let told = call(&mut client, format, command).await;
    let job = match told {
        Ok(Told::One(job)) => job,
        Ok(Told::Many(jobs)) => {
            let rows: Vec<Row> = jobs.iter().map(row).collect();
            output::rows(format, &rows)?;
            return Ok(ExitCode::SUCCESS);
        }
        Ok(Told::Nothing) => return Ok(ExitCode::SUCCESS),
        Err(status) => return Err(grpc::told(status)),
    };
    if !watches {
        output::rows(format, &[row(&job)])?;
    }
    Ok(match job.state() {
        pb::ReplayJobState::Failed => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    })
}

enum Told {
    One(Box<pb::ReplayJob>),
    Many(Vec<pb::ReplayJob>),
    Nothing,
}

impl From<Option<pb::ReplayJob>> for Told {
    fn from(job: Option<pb::ReplayJob>) -> Self {
        Self::One(Box::new(job.unwrap_or_default()))
    }
}

async fn call(
    client: &mut ReplayServiceClient<Channel>,
    format: Format,
    command: ReplayCommand,
) -> Result<Told, tonic::Status> {
    Ok(match command {
        ReplayCommand::Stream(_) => Told::Nothing,
        ReplayCommand::Start(args) => {
            let watches = args.watch;
            let request = args.into_request();
            let request =
                request.map_err(|error| tonic::Status::invalid_argument(error.to_string()))?;
            let job = client.create_replay_job(request).await?.into_inner().job;
            let id = job
                .as_ref()
                .map_or_else(String::new, |job| job.job_id.clone());
            if watches {
                return watch(client, format, id).await;
            }
            job.into()
        }
        ReplayCommand::List => {
            let jobs = client
                .list_replay_jobs(pb::ListReplayJobsRequest {})
                .await?;
            Told::Many(jobs.into_inner().jobs)
        }
        ReplayCommand::Get { job: job_id } => {
            let request = pb::GetReplayJobRequest { job_id };
            client
                .get_replay_job(request)
                .await?
                .into_inner()
                .job
                .into()
        }
        ReplayCommand::Watch { job } => return watch(client, format, job).await,
        ReplayCommand::Pause { job: job_id } => {
            let request = pb::PauseReplayJobRequest { job_id };
            client
                .pause_replay_job(request)
                .await?
                .into_inner()
                .job
                .into()
        }
        ReplayCommand::Resume { job: job_id } => {
            let request = pb::ResumeReplayJobRequest { job_id };
            client
                .resume_replay_job(request)
                .await?
                .into_inner()
                .job
                .into()
        }
        ReplayCommand::Cancel { job: job_id } => {
            let request = pb::CancelReplayJobRequest { job_id };
            client
                .cancel_replay_job(request)
                .await?
                .into_inner()
                .job
                .into()
        }
        ReplayCommand::Delete { job: job_id } => {
            let request = pb::DeleteReplayJobRequest { job_id };
            client.delete_replay_job(request).await?;
            Told::Nothing
        }
    })
}

/// A line for each answer; on a terminal, one line that changes.
async fn watch(
    client: &mut ReplayServiceClient<Channel>,
    format: Format,
    job_id: String,
) -> Result<Told, tonic::Status> {
    let request = pb::WatchReplayJobRequest { job_id };
    let mut answers = client.watch_replay_job(request).await?.into_inner();
    let changes = format.is_for_people() && stdout().is_terminal();
    let mut last = None;
    while let Some(answer) = answers.message().await? {
        let job = answer.job.unwrap_or_default();
        let told = row(&job);
        let text = line(&told, job.progress);
        if changes {
            let _ = write!(stdout(), "\r\x1b[K{text}");
            let _ = stdout().flush();
        } else if let Err(error) = output::row(format, &told, &text) {
            return Err(tonic::Status::internal(error.to_string()));
        }
        last = Some(job);
    }
    if changes {
        let _ = writeln!(stdout());
    }
    Ok(last.into())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "characters of a bar"
)]
fn line(row: &Row, progress: f64) -> String {
    let full = ((progress.clamp(0.0, 1.0) * BAR as f64) as usize).min(BAR);
    let bar = format!("{}{}", "█".repeat(full), "·".repeat(BAR - full));
    let remaining = row.remaining.as_ref().map(|span| format!(", {span} left"));
    let failure = row.failure.as_ref().map(|why| format!(": {why}"));
    format!(
        "{bar} {} {}, {} records{}{}",
        row.done,
        row.state,
        row.records,
        remaining.unwrap_or_default(),
        failure.unwrap_or_default()
    )
}
