//! What `top` shows. Pure.

use std::fmt::Write as _;

use proto::admin::v1 as pb;

use super::metrics::Page;
use crate::time::{millis, spoken};

const TOPICS: usize = 12;
const GROUPS: usize = 6;
const BAR: usize = 30;

/// A moment of a node.
#[derive(Debug, Default)]
pub(super) struct Moment {
    pub(super) page: Page,
    /// When held records are due, where the admin API says so.
    pub(super) stats: Option<pb::GetScheduleStatsResponse>,
    /// Groups that lag: group, records.
    pub(super) lags: Vec<(String, f64)>,
}

/// The screen, from two moments so many seconds apart.
pub(super) fn draw(address: &str, now: &Moment, before: &Moment, seconds: f64) -> String {
    let (page, old) = (&now.page, &before.page);
    let rate = |name: &str| (page.sum(name) - old.sum(name)) / seconds.max(1e-3);
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "ChronosDB {} at {address}   up {}   {} partitions ({} offline)   {} connections",
        page.label("chronos_build_info", "version")
            .unwrap_or_default(),
        spoken(whole(page.sum("chronos_uptime_seconds") * 1e3)),
        page.sum("chronos_partitions"),
        page.by("chronos_partitions", "state", None)
            .get("offline")
            .copied()
            .unwrap_or(0.0),
        page.sum("chronos_connections"),
    );
    let _ = writeln!(
        out,
        "cpu {:.0} %   memory {}   logs {}   requests {}/s   syncs {}/s, p99 {}",
        rate("process_cpu_seconds_total") * 100.0,
        bytes(page.sum("process_resident_memory_bytes")),
        bytes(page.sum("chronos_log_size_bytes")),
        count(rate("chronos_kafka_requests_total")),
        count(rate("chronos_log_fsync_duration_seconds_count")),
        ms(page.quantile("chronos_log_fsync_duration_seconds", old, 0.99)),
    );
    let _ = writeln!(
        out,
        "held {}   delivered {}/s   lateness p50 {} p99 {}   overdue {}   copies {}/s of {} ids\n",
        count(page.sum("chronos_schedule_pending_messages")),
        count(rate("chronos_schedule_delivered_total")),
        ms(page.quantile("chronos_schedule_delivery_lateness_seconds", old, 0.5)),
        ms(page.quantile("chronos_schedule_delivery_lateness_seconds", old, 0.99)),
        count(page.sum("chronos_schedule_overdue_messages")),
        count(hits(page) / seconds.max(1e-3) - hits(old) / seconds.max(1e-3)),
        count(page.sum("chronos_dedup_window_entries")),
    );
    topics(&mut out, page, old, seconds);
    due(&mut out, now);
    lags(&mut out, now);
    out
}

fn hits(page: &Page) -> f64 {
    let by = page.by("chronos_dedup_checks_total", "result", None);
    by.get("hit").copied().unwrap_or(0.0)
}

fn topics(out: &mut String, page: &Page, old: &Page, seconds: f64) {
    let rates = |name: &str, only: Option<(&str, &str)>| {
        let before = old.by(name, "topic", only);
        let now = page.by(name, "topic", only).into_iter();
        now.map(move |(topic, value)| {
            let rate = (value - before.get(&topic).copied().unwrap_or(0.0)) / seconds.max(1e-3);
            (topic, rate)
        })
        .collect::<std::collections::BTreeMap<_, _>>()
    };
    let records = rates("chronos_topic_records_total", None);
    let bytes_in = rates("chronos_topic_bytes_total", Some(("direction", "in")));
    let bytes_out = rates("chronos_topic_bytes_total", Some(("direction", "out")));
    let delivered = rates("chronos_schedule_delivered_total", None);
    let copies = rates("chronos_dedup_checks_total", Some(("result", "hit")));
    let pending = page.by("chronos_schedule_pending_messages", "topic", None);
    let of = |map: &std::collections::BTreeMap<String, f64>, topic: &String| {
        map.get(topic).copied().unwrap_or(0.0)
    };
    let busy = |topic: &String| of(&bytes_in, topic) + of(&bytes_out, topic);
    let shows = |topic: &&String| {
        busy(topic) + of(&pending, topic) + of(&delivered, topic) + of(&copies, topic) > 0.0
    };
    let mut names: Vec<&String> = records.keys().filter(shows).collect();
    names.sort_by(|a, b| {
        busy(b)
            .total_cmp(&busy(a))
            .then(of(&pending, b).total_cmp(&of(&pending, a)))
    });
    let _ = writeln!(
        out,
        "{:<28} {:>12} {:>10} {:>10} {:>12} {:>12} {:>10}",
        "TOPIC", "records/s", "in/s", "out/s", "held", "delivered/s", "copies/s"
    );
    if names.is_empty() {
        let _ = writeln!(out, "(nothing moves, and nothing is held)");
    }
    for topic in names.into_iter().take(TOPICS) {
        let _ = writeln!(
            out,
            "{:<28} {:>12} {:>10} {:>10} {:>12} {:>12} {:>10}",
            cut(topic, 28),
            count(of(&records, topic)),
            bytes(of(&bytes_in, topic)),
            bytes(of(&bytes_out, topic)),
            count(of(&pending, topic)),
            count(of(&delivered, topic)),
            count(of(&copies, topic)),
        );
    }
}

fn due(out: &mut String, now: &Moment) {
    let Some(stats) = now.stats.as_ref().filter(|stats| stats.pending > 0) else {
        return;
    };
    let _ = writeln!(out, "\nDUE");
    let at = millis(
        stats
            .buckets
            .first()
            .and_then(|bucket| bucket.end_time.as_ref()),
    );
    let most = stats
        .buckets
        .iter()
        .map(|bucket| bucket.count)
        .max()
        .unwrap_or(1);
    for bucket in stats.buckets.iter().filter(|bucket| bucket.count > 0) {
        let until = match &bucket.end_time {
            Some(_) if bucket.start_time.is_none() => "overdue".to_owned(),
            Some(end) => format!("within {}", spoken(millis(Some(end)).saturating_sub(at))),
            None => "later".to_owned(),
        };
        let full = usize::try_from(bucket.count * i64::try_from(BAR).unwrap_or(1) / most.max(1));
        let bar = "█".repeat(full.unwrap_or(0).clamp(1, BAR));
        let _ = writeln!(out, "{until:>16} {:>12} {bar}", bucket.count);
    }
}

fn lags(out: &mut String, now: &Moment) {
    if now.lags.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{:<48} {:>12}", "GROUP", "lag");
    for (name, lag) in now.lags.iter().take(GROUPS) {
        let _ = writeln!(out, "{:<48} {:>12}", cut(name, 48), count(*lag));
    }
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most - 1).collect();
    format!("{kept}…")
}

#[expect(clippy::cast_possible_truncation, reason = "for people")]
fn whole(number: f64) -> i64 {
    number as i64
}

fn count(number: f64) -> String {
    scaled(number, 1e3, &["", "k", "M", "G"])
}

fn bytes(number: f64) -> String {
    scaled(number, 1e3, &["B", "kB", "MB", "GB", "TB"])
}

fn scaled(mut number: f64, step: f64, units: &[&str]) -> String {
    let mut units = units.iter().peekable();
    let mut unit = units.next().copied().unwrap_or("");
    while number >= 10.0 * step && units.peek().is_some() {
        number /= step;
        unit = units.next().copied().unwrap_or("");
    }
    // A sum of nothing is -0.
    format!("{:.0}{unit}", number.max(0.0) + 0.0)
}

fn ms(seconds: Option<f64>) -> String {
    match seconds {
        None => "-".to_owned(),
        Some(seconds) if seconds.is_infinite() => "over the last bucket".to_owned(),
        Some(seconds) => format!("≤{} ms", (seconds * 1e4).round() / 10.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_has_rates_and_bars() {
        let moment = |records: u32, hits: u32| Moment {
            page: Page::read(&format!(
                "chronos_build_info{{version=\"9\"}} 1\nchronos_topic_records_total{{topic=\"orders\"}} {records}\n\
                 chronos_topic_bytes_total{{topic=\"orders\",direction=\"in\"}} {}\n\
                 chronos_dedup_checks_total{{topic=\"orders\",result=\"hit\"}} {hits}\n",
                records * 1_000
            )),
            stats: Some(pb::GetScheduleStatsResponse {
                pending: 3,
                buckets: vec![pb::ScheduleBucket {
                    count: 3,
                    ..pb::ScheduleBucket::default()
                }],
                ..pb::GetScheduleStatsResponse::default()
            }),
            lags: vec![("billing orders".to_owned(), 12_345.0)],
        };
        let shown = draw("here", &moment(50_000, 40), &moment(10_000, 20), 2.0);
        for text in [
            "ChronosDB 9 at here",
            "orders",
            "20k",
            "20MB",
            "later",
            "12k",
            "copies 10/s",
        ] {
            assert!(shown.contains(text), "{text}: {shown}");
        }
    }
}
