//! Held records over gRPC and with the command line, on a live node.

use std::time::Duration;

use anyhow::Context;
use compat_tests::{cluster::Broker, ctl};
use proto::admin::v1::{
    self as pb, schedule_service_client::ScheduleServiceClient,
    schedule_service_server::SERVICE_NAME,
};
use tonic::{Code, transport::Channel};
use tonic_types::StatusExt;

const TOPIC: &str = "later";

/// Holds a record for a day and more; its schedule id.
fn hold(broker: &Broker, value: &str, hours: i64) -> anyhow::Result<i64> {
    let after = format!("{hours}h");
    let args = [
        "produce",
        TOPIC,
        "-v",
        value,
        "-p",
        "0",
        "-k",
        value,
        "--deliver-after",
        &after,
    ];
    let rows = ctl::rows(broker, &args)?;
    rows.first()
        .and_then(|row| row["offset"].as_i64())
        .context("no offset")
}

fn name(id: i64) -> String {
    format!("topics/{TOPIC}/partitions/0/scheduledMessages/{id}")
}

fn filter() -> pb::ScheduleFilter {
    pb::ScheduleFilter {
        topic: TOPIC.into(),
        ..pb::ScheduleFilter::default()
    }
}

async fn connect(broker: &Broker) -> anyhow::Result<Channel> {
    Ok(Channel::from_shared(format!("http://{}", broker.grpc))?
        .connect()
        .await?)
}

#[expect(clippy::too_many_lines, reason = "one node, one history")]
#[tokio::test]
async fn every_call_of_the_schedule_service() -> anyhow::Result<()> {
    let mut broker = Broker::start(&[])?;
    ctl::rows(&broker, &["topic", "create", TOPIC, "-p", "2"])?;
    let ids: Vec<i64> = (0..12)
        .map(|n| hold(&broker, &format!("v{n}"), 24 + n))
        .collect::<anyhow::Result<_>>()?;
    let channel = connect(&broker).await?;
    let mut client = ScheduleServiceClient::new(channel.clone());

    // Pages, in firing order; a token is for its own request only.
    let mut request = pb::ListScheduledMessagesRequest {
        filter: Some(filter()),
        page_size: 5,
        with_values: true,
        ..pb::ListScheduledMessagesRequest::default()
    };
    let mut listed = Vec::new();
    let mut pages = 0;
    loop {
        let page = client
            .list_scheduled_messages(request.clone())
            .await?
            .into_inner();
        listed.extend(page.messages.iter().map(|m| m.schedule_id));
        pages += 1;
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
        let mut other = request.clone();
        other.filter.as_mut().unwrap().partitions = vec![0];
        let refused = client.list_scheduled_messages(other).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    assert_eq!((listed, pages), (ids.clone(), 3));

    let get = |id| pb::GetScheduledMessageRequest { name: name(id) };
    let found = client
        .get_scheduled_message(get(ids[3]))
        .await?
        .into_inner()
        .message
        .unwrap();
    assert_eq!(found.value.as_deref(), Some(b"v3".as_slice()));
    assert_eq!(found.key.as_deref(), Some(b"v3".as_slice()));
    assert!(
        found
            .headers
            .iter()
            .any(|h| h.key == "chronos-deliver-after")
    );
    let missing = client.get_scheduled_message(get(77)).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    let info = missing.get_details_error_info().unwrap();
    assert_eq!(
        (info.domain.as_str(), info.reason.as_str()),
        ("chronos", "NOT_FOUND")
    );
    let wrong = pb::GetScheduledMessageRequest { name: "x".into() };
    let wrong = client.get_scheduled_message(wrong).await.unwrap_err();
    assert_eq!(
        wrong.get_details_bad_request().unwrap().field_violations[0].field,
        "name"
    );

    // Cancelled twice by the same request, then by another one.
    let cancel = |request_id: &str| pb::CancelScheduledMessagesRequest {
        topic: TOPIC.into(),
        partition: 0,
        schedule_ids: vec![ids[0], 999],
        request_id: request_id.into(),
    };
    let expected = [pb::CancelResult::Cancelled, pb::CancelResult::NotFound];
    for _ in 0..2 {
        let answer = client
            .cancel_scheduled_messages(cancel("r1"))
            .await?
            .into_inner();
        let results: Vec<_> = answer
            .outcomes
            .iter()
            .map(pb::CancelOutcome::result)
            .collect();
        assert_eq!(results, expected);
    }
    let answer = client
        .cancel_scheduled_messages(cancel("r2"))
        .await?
        .into_inner();
    assert_eq!(answer.outcomes[0].result(), pb::CancelResult::NotFound);

    // Moved only from where it was expected; then delivered now.
    let mut moved = pb::RescheduleScheduledMessageRequest {
        name: name(ids[1]),
        deliver_time: found.deliver_time,
        expected_deliver_time: found.deliver_time,
        ..pb::RescheduleScheduledMessageRequest::default()
    };
    let differs = client
        .reschedule_scheduled_message(moved.clone())
        .await
        .unwrap_err();
    assert_eq!(differs.code(), Code::Aborted);
    moved.expected_deliver_time = None;
    client.reschedule_scheduled_message(moved.clone()).await?;
    let there = client
        .get_scheduled_message(get(ids[1]))
        .await?
        .into_inner()
        .message
        .unwrap();
    assert_eq!(there.deliver_time, found.deliver_time);
    moved.deliver_time.as_mut().unwrap().seconds += 3_000 * 86_400;
    let too_far = client
        .reschedule_scheduled_message(moved)
        .await
        .unwrap_err();
    assert_eq!(too_far.get_details_error_info().unwrap().reason, "TOO_FAR");
    let now = pb::DeliverScheduledMessageNowRequest {
        name: name(ids[2]),
        ..pb::DeliverScheduledMessageNowRequest::default()
    };
    client.deliver_scheduled_message_now(now.clone()).await?;
    let read = ctl::rows(&broker, &["consume", TOPIC, "-p", "0", "-n", "1", "-F"])?;
    assert_eq!(read[0]["value"], "v2");
    let fired = client.deliver_scheduled_message_now(now).await.unwrap_err();
    assert_eq!(fired.code(), Code::FailedPrecondition);
    let info = fired.get_details_error_info().unwrap();
    assert_eq!(info.metadata["offset"], read[0]["offset"].to_string());

    // By filter: counted, then cancelled.
    let mut bulk = pb::BatchCancelScheduledMessagesRequest {
        filter: Some(filter()),
        dry_run: true,
    };
    bulk.filter.as_mut().unwrap().key = Some("v5".into());
    let counted = client
        .batch_cancel_scheduled_messages(bulk.clone())
        .await?
        .into_inner();
    assert_eq!((counted.matched, counted.cancelled), (1, 0));
    bulk.dry_run = false;
    let cancelled = client
        .batch_cancel_scheduled_messages(bulk)
        .await?
        .into_inner();
    assert_eq!((cancelled.matched, cancelled.cancelled), (1, 1));

    let stats = pb::GetScheduleStatsRequest::default();
    let stats = client.get_schedule_stats(stats).await?.into_inner();
    assert_eq!((stats.pending, stats.overdue), (9, 0));
    assert_eq!(stats.buckets.iter().map(|b| b.count).sum::<i64>(), 9);
    let watch = pb::WatchScheduleRequest {
        interval: Some(Duration::from_millis(100).try_into()?),
        ..pb::WatchScheduleRequest::default()
    };
    let mut counts = client.watch_schedule(watch).await?.into_inner();
    for _ in 0..3 {
        let now = counts.message().await?.context("the stream ended")?;
        assert_eq!(now.pending, 9);
        assert!(now.next_deliver_time.is_some());
    }

    // Health by service; then all of it again after a kill.
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    let asked = tonic_health::pb::HealthCheckRequest {
        service: SERVICE_NAME.into(),
    };
    let answer = health.check(asked).await?.into_inner();
    assert_eq!(
        answer.status(),
        tonic_health::pb::health_check_response::ServingStatus::Serving
    );
    broker.kill()?;
    broker.restart()?;
    let mut client = ScheduleServiceClient::new(connect(&broker).await?);
    request.page_token = String::new();
    request.page_size = 0;
    let page = client.list_scheduled_messages(request).await?.into_inner();
    let left: Vec<_> = page.messages.iter().map(|m| m.schedule_id).collect();
    let expected = [&ids[1..2], &ids[3..5], &ids[6..]].concat();
    let mut sorted = left.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, expected);
    Ok(())
}

#[test]
fn the_command_line_on_held_records() -> anyhow::Result<()> {
    let broker = Broker::start(&[])?;
    ctl::rows(&broker, &["topic", "create", TOPIC, "-p", "1"])?;
    let ids: Vec<i64> = (0..3)
        .map(|n| hold(&broker, &format!("v{n}"), 1 + n))
        .collect::<anyhow::Result<_>>()?;
    let id: Vec<String> = ids.iter().map(i64::to_string).collect();
    let listed = ctl::rows(&broker, &["schedule", "list", "-t", TOPIC])?;
    assert_eq!(listed.len(), 3);
    assert_eq!(listed[0]["value"], "v0");
    let got = ctl::rows(&broker, &["schedule", "get", "-t", TOPIC, &id[1]])?;
    assert_eq!(got[0]["name"], name(ids[1]));
    ctl::rows(
        &broker,
        &["schedule", "reschedule", "-t", TOPIC, &id[1], "+30m"],
    )?;
    let listed = ctl::rows(&broker, &["schedule", "list", "-t", TOPIC, "-n", "1"])?;
    assert_eq!(listed[0]["schedule_id"], ids[1]);
    ctl::rows(&broker, &["schedule", "fire", "-t", TOPIC, &id[2]])?;
    let refused = ctl::rows(&broker, &["schedule", "cancel", "-t", TOPIC]).unwrap_err();
    assert!(refused.to_string().contains("--all"), "{refused}");
    let counted = ctl::rows(&broker, &["schedule", "cancel", "-t", TOPIC, "--dry-run"])?;
    assert_eq!(counted[0]["matched"], 2);
    let cancelled = ctl::rows(&broker, &["schedule", "cancel", "-t", TOPIC, &id[0]])?;
    assert_eq!(cancelled[0]["result"], "cancelled");
    let watched = ctl::rows(&broker, &["schedule", "watch", "-n", "2", "-i", "100ms"])?;
    assert_eq!(watched[1]["pending"], 1);
    let spans = ctl::rows(&broker, &["schedule", "stats", "-t", TOPIC])?;
    let sum: i64 = spans.iter().filter_map(|span| span["count"].as_i64()).sum();
    assert_eq!(sum, 1);
    Ok(())
}
