//! `chronosctl top`: a live view of a node.

mod metrics;
mod screen;

use std::{
    io::{IsTerminal, Write, stdout},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Args;
use proto::admin::v1::{self as pb, schedule_service_client::ScheduleServiceClient};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};
use tonic::transport::Channel;

use self::{
    metrics::Page,
    screen::{Moment, draw},
};
use crate::{grpc, time::span};

const PATIENCE: Duration = Duration::from_secs(10);
/// The terminal's second screen, and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
const CLEAR: &str = "\x1b[H\x1b[J";

/// How to show a node.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// Where the node serves its metrics
    #[arg(
        long,
        env = "CHRONOS_HTTP",
        default_value = "127.0.0.1:9644",
        value_name = "HOST:PORT"
    )]
    http: String,
    /// Between two screens
    #[arg(short, long, default_value = "1s", value_name = "SPAN")]
    interval: String,
    /// Stop after so many screens
    #[arg(short = 'n', long)]
    limit: Option<usize>,
}

pub(super) async fn run(admin: &str, args: TopArgs) -> anyhow::Result<ExitCode> {
    let interval = span(&args.interval)?.max(Duration::from_millis(100));
    // Without it, all but the due times is shown.
    let channel = grpc::connect(admin, Some(PATIENCE)).await.ok();
    let mut client = channel.map(ScheduleServiceClient::new);
    let mut before = moment(&args.http, client.as_mut()).await?;
    let mut since = Instant::now();
    let is_live = stdout().is_terminal();
    if is_live {
        show(ENTER)?;
    }
    let mut shown = 0;
    let ended = loop {
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            _ = tokio::signal::ctrl_c() => break Ok(()),
        }
        let now = match moment(&args.http, client.as_mut()).await {
            Ok(now) => now,
            Err(error) => break Err(error),
        };
        let text = draw(&args.http, &now, &before, since.elapsed().as_secs_f64());
        let clear = if is_live { CLEAR } else { "" };
        if let Err(error) = show(&format!("{clear}{text}\n")) {
            break Err(error);
        }
        (before, since) = (now, Instant::now());
        shown += 1;
        if args.limit.is_some_and(|limit| shown >= limit) {
            break Ok(());
        }
    };
    if is_live {
        show(LEAVE)?;
    }
    ended.map(|()| ExitCode::SUCCESS)
}

fn show(text: &str) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

async fn moment(
    http: &str,
    client: Option<&mut ScheduleServiceClient<Channel>>,
) -> anyhow::Result<Moment> {
    let page = timeout(PATIENCE, get(http, "/metrics")).await;
    let page = page.with_context(|| format!("no metrics from {http} within {PATIENCE:?}"))??;
    let page = Page::read(&page);
    let stats = match client {
        None => None,
        Some(client) => {
            let stats = client.get_schedule_stats(pb::GetScheduleStatsRequest::default());
            stats.await.ok().map(tonic::Response::into_inner)
        }
    };
    let groups = page.by("chronos_group_lag_offsets", "group", None);
    let mut lags: Vec<(String, f64)> = groups.into_iter().filter(|(_, lag)| *lag > 0.0).collect();
    lags.sort_by(|a, b| b.1.total_cmp(&a.1));
    Ok(Moment { page, stats, lags })
}

/// A page of the node, by the least of HTTP/1.1.
async fn get(address: &str, path: &str) -> anyhow::Result<String> {
    let connected = TcpStream::connect(address).await;
    let mut stream = connected.with_context(|| {
        format!(
            "connecting to {address}: is the node running? its http.listen is what --http takes"
        )
    })?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        bail!("{address} does not answer in HTTP");
    };
    let status = head.split_whitespace().nth(1).unwrap_or("nothing");
    if status != "200" {
        bail!("{address}{path} answers {status}");
    }
    let is_chunked = head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked");
    if is_chunked {
        return Ok(unchunked(body));
    }
    Ok(body.to_owned())
}

fn unchunked(mut body: &str) -> String {
    let mut text = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        let Some(chunk) = rest.get(..size).filter(|chunk| !chunk.is_empty()) else {
            break;
        };
        text.push_str(chunk);
        body = rest.get(size + 2..).unwrap_or_default();
    }
    text
}
