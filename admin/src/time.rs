//! Wall time, for people.

use jiff::{Timestamp, tz::TimeZone};

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
