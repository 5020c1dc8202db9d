//! Wall time, for people.

use std::time::Duration;

use anyhow::Context;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

/// Now, in milliseconds since the epoch.
pub fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// A time in the local zone, to the millisecond; the number itself where it is no time.
pub fn local(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(
        |_| ms.to_string(),
        |at| {
            at.to_zoned(TimeZone::system())
                .strftime("%Y-%m-%d %H:%M:%S%.3f %Z")
                .to_string()
        },
    )
}

/// Epoch milliseconds, RFC 3339, or a span from now: `+1h30m` ahead, `-1h30m` back.
pub fn moment(text: &str) -> anyhow::Result<i64> {
    if let Some(after) = text.strip_prefix('+') {
        let after = i64::try_from(span(after)?.as_millis())?;
        return Ok(now_ms().saturating_add(after));
    }
    if let Ok(ms) = text.parse() {
        return Ok(ms);
    }
    if let Some(before) = text.strip_prefix('-') {
        let before = i64::try_from(span(before)?.as_millis())?;
        return Ok(now_ms().saturating_sub(before));
    }
    let at: Timestamp = text.parse().with_context(|| {
        format!("'{text}' is neither epoch milliseconds, nor RFC 3339, nor +1h30m or -1h30m")
    })?;
    Ok(at.as_millisecond())
}

/// A span of time, `1h30m`.
pub fn span(text: &str) -> anyhow::Result<Duration> {
    let span: SignedDuration = text
        .parse()
        .with_context(|| format!("'{text}' is no span of time like 1h30m"))?;
    Duration::try_from(span).with_context(|| format!("'{text}' is negative"))
}

/// A span's two largest units, without those that are nothing.
pub fn spoken(ms: i64) -> String {
    // Up to a millisecond less is meant as the whole.
    let seconds = (ms + 1) / 1_000;
    let units = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
    ];
    let mut shown: Vec<String> = units
        .iter()
        .skip_while(|(n, _)| *n == 0)
        .take(2)
        .filter(|(n, _)| *n > 0)
        .map(|(n, unit)| format!("{n}{unit}"))
        .collect();
    if shown.is_empty() {
        shown.push(format!("{ms}ms"));
    }
    shown.join(" ")
}

/// A message's time in milliseconds; 0 where it is absent.
pub fn millis(at: Option<&prost_types::Timestamp>) -> i64 {
    at.map_or(0, |at| {
        at.seconds
            .saturating_mul(1_000)
            .saturating_add(i64::from(at.nanos / 1_000_000))
    })
}

/// A message's span in milliseconds.
pub fn duration_ms(span: &prost_types::Duration) -> i64 {
    let seconds = span.seconds.saturating_mul(1_000);
    seconds.saturating_add(i64::from(span.nanos / 1_000_000))
}

/// Milliseconds as messages have them.
pub fn timestamp(ms: i64) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: ms.div_euclid(1_000),
        nanos: i32::try_from(ms.rem_euclid(1_000) * 1_000_000).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_understood_or_refused() {
        assert_eq!(moment("1800000000000").unwrap(), 1_800_000_000_000);
        assert_eq!(moment("2027-01-15T08:00:00Z").unwrap(), 1_800_000_000_000);
        let ahead = moment("+1h30m").unwrap() - now_ms();
        assert!((5_390_000..=5_400_000).contains(&ahead), "{ahead}");
        let back = moment("-1h30m").unwrap() - now_ms();
        assert!((-5_410_000..=-5_390_000).contains(&back), "{back}");
        assert!(moment("tomorrow").is_err() && moment("-").is_err());
        assert!(span("-1h").is_err());
    }

    #[test]
    fn spans_show_their_largest_units() {
        assert_eq!([999, 59_999, 3_600_000].map(spoken), ["1s", "1m", "1h"]);
        assert_eq!(spoken(72), "72ms");
    }
}
