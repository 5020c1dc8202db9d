//! The headers with which a producer asks for time.
//!
//! | header | value |
//! |---|---|
//! | `chronos-deliver-at` | epoch milliseconds in ASCII decimal, or RFC 3339 with offset (rounded up), or 8 bytes big-endian |
//! | `chronos-deliver-after` | milliseconds in ASCII decimal, or `1h30m`, or ISO 8601 `PT15M`; counted from arrival |
//! | `chronos-cancel` | a schedule id in ASCII decimal: the offset that was answered for a held record of the same partition |
//! | `chronos-schedule-key` | 1 to 256 bytes: takes the place of the record of that key that waits in the same partition |
//! | `chronos-message-id` | 1 to 256 bytes |
//!
//! A repeated header: the last one counts. Both times: refused. Anything that is not clearly a time is refused, never delivered
//! at once.

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use storage::{
    record::Record,
    units::{DueTime, ScheduleId},
};

/// What every header of ours starts with: a batch without it anywhere is not parsed.
pub const PREFIX: &str = "chronos-";
/// When to deliver.
pub const DELIVER_AT: &str = "chronos-deliver-at";
/// How long to wait.
pub const DELIVER_AFTER: &str = "chronos-deliver-after";
/// The dedup id.
pub const MESSAGE_ID: &str = "chronos-message-id";
/// Names a held record of the same partition that is not to be delivered; the record that carries it is consumed by the broker.
pub const CANCEL: &str = "chronos-cancel";
/// Of the records with one key, the last one waits (debounce).
pub const SCHEDULE_KEY: &str = "chronos-schedule-key";
/// Below this an integer is taken for seconds: 1973 in milliseconds, the year 5138 in seconds.
const MILLIS_MIN: i64 = 100_000_000_000;
const ID_LEN_MAX: usize = 256;

/// A header by which another scheduler's clients say when: `schedule.header.aliases`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// The header's name.
    pub name: String,
    /// What its value counts.
    pub unit: AliasUnit,
}

/// What an alias's value is, in ASCII decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AliasUnit {
    /// `s`: epoch seconds.
    Seconds,
    /// `ms`: epoch milliseconds.
    Millis,
    /// `after-s`: seconds from arrival.
    AfterSeconds,
    /// `after-ms`: milliseconds from arrival.
    AfterMillis,
}

impl Alias {
    /// Reads `name:unit,…`; the error names what is wrong.
    pub fn list(text: &str) -> Result<Vec<Self>, String> {
        let items = text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty());
        items
            .map(|item| {
                let (name, unit) = item.rsplit_once(':').unwrap_or((item, ""));
                let unit = match unit {
                    "s" => AliasUnit::Seconds,
                    "ms" => AliasUnit::Millis,
                    "after-s" => AliasUnit::AfterSeconds,
                    "after-ms" => AliasUnit::AfterMillis,
                    _ => {
                        return Err(format!(
                            "'{item}' is no header name and :s, :ms, :after-s or :after-ms"
                        ));
                    }
                };
                if name.is_empty() || name.starts_with(PREFIX) {
                    return Err(format!("'{item}' does not name another scheduler's header"));
                }
                let name = name.to_owned();
                Ok(Self { name, unit })
            })
            .collect()
    }

    fn due(&self, value: &Bytes, now_ms: i64) -> Result<i64, HeaderRefused> {
        let malformed =
            || HeaderRefused::Malformed(format!("header {} is no such number", self.name));
        let number = decimal(value).and_then(Result::ok).ok_or_else(malformed)?;
        Ok(match self.unit {
            AliasUnit::Seconds => number.saturating_mul(1_000),
            AliasUnit::Millis => number,
            AliasUnit::AfterSeconds => now_ms.saturating_add(number.saturating_mul(1_000)),
            AliasUnit::AfterMillis => now_ms.saturating_add(number),
        })
    }
}

/// Why a record is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderRefused {
    /// The header's value is not what its name asks for.
    Malformed(String),
    /// Later than `schedule.max.delay.ms` allows.
    TooFar(String),
}

/// When a record wants to be delivered; `None` where it does not say.
pub fn due_time(
    record: &Record,
    aliases: &[Alias],
    now_ms: i64,
    max_delay_ms: i64,
) -> Result<Option<DueTime>, HeaderRefused> {
    identifier(record, MESSAGE_ID)?;
    identifier(record, SCHEDULE_KEY)?;
    let due = match (
        record.last_header(DELIVER_AT),
        record.last_header(DELIVER_AFTER),
    ) {
        (None, None) => {
            let alias = aliases
                .iter()
                .find_map(|a| Some((a, record.last_header(&a.name)?)));
            let Some((alias, at)) = alias else {
                return Ok(None);
            };
            alias.due(value(&alias.name, at.as_ref())?, now_ms)?
        }
        (Some(_), Some(_)) => {
            let why = format!("headers {DELIVER_AT} and {DELIVER_AFTER} exclude each other");
            return Err(HeaderRefused::Malformed(why));
        }
        (Some(at), None) => deliver_at(value(DELIVER_AT, at.as_ref())?)?,
        (None, Some(after)) => {
            now_ms.saturating_add(deliver_after(value(DELIVER_AFTER, after.as_ref())?)?)
        }
    };
    if due.saturating_sub(now_ms) > max_delay_ms {
        let why = format!(
            "due at {due} is more than schedule.max.delay.ms {max_delay_ms} after {now_ms}"
        );
        return Err(HeaderRefused::TooFar(why));
    }
    Ok(Some(DueTime(due)))
}

/// The key of which the record is the newest; `None` where it has none.
pub fn schedule_key(record: &Record) -> Result<Option<Bytes>, HeaderRefused> {
    identifier(record, SCHEDULE_KEY)
}

fn identifier(record: &Record, name: &str) -> Result<Option<Bytes>, HeaderRefused> {
    let Some(id) = record.last_header(name) else {
        return Ok(None);
    };
    let len = id.as_ref().map_or(0, Bytes::len);
    if (1..=ID_LEN_MAX).contains(&len) {
        return Ok(id.clone());
    }
    let why = format!("header {name} has {len} bytes, allowed are 1 to {ID_LEN_MAX}");
    Err(HeaderRefused::Malformed(why))
}

/// The held record that a record cancels; `None` where it does not.
pub fn cancelled(record: &Record) -> Result<Option<ScheduleId>, HeaderRefused> {
    let Some(id) = record.last_header(CANCEL) else {
        return Ok(None);
    };
    let asks_for_time = [DELIVER_AT, DELIVER_AFTER, SCHEDULE_KEY]
        .iter()
        .find(|name| record.last_header(name).is_some());
    if let Some(name) = asks_for_time {
        let why = format!("headers {CANCEL} and {name} exclude each other");
        return Err(HeaderRefused::Malformed(why));
    }
    match decimal(value(CANCEL, id.as_ref())?) {
        Some(Ok(id)) => Ok(Some(ScheduleId(id))),
        _ => Err(HeaderRefused::Malformed(format!(
            "header {CANCEL} is no schedule id"
        ))),
    }
}

fn value<'a>(name: &str, value: Option<&'a Bytes>) -> Result<&'a Bytes, HeaderRefused> {
    value.ok_or_else(|| HeaderRefused::Malformed(format!("header {name} has no value")))
}

fn deliver_at(value: &Bytes) -> Result<i64, HeaderRefused> {
    let malformed = |why: &str| {
        let shown = String::from_utf8_lossy(value.get(..40).unwrap_or(value)).into_owned();
        HeaderRefused::Malformed(format!("header {DELIVER_AT} '{shown}' {why}"))
    };
    let millis = if let Some(number) = decimal(value) {
        number.map_err(|()| malformed("is too large"))?
    } else if let Some(at) = rfc3339(value) {
        return Ok(at);
    } else if let Some(millis) = binary(value) {
        millis
    } else {
        return Err(malformed(
            "is neither epoch milliseconds, nor RFC 3339 with offset, nor 8 bytes",
        ));
    };
    if millis < MILLIS_MIN {
        return Err(malformed("is no time in milliseconds (is it in seconds?)"));
    }
    Ok(millis)
}

/// 8 bytes big-endian. The first byte of any time before the year 2,000,000 is 0, so that a word of eight letters is none.
fn binary(value: &[u8]) -> Option<i64> {
    let bytes = <[u8; 8]>::try_from(value).ok()?;
    bytes.starts_with(&[0]).then(|| i64::from_be_bytes(bytes))
}

fn deliver_after(value: &Bytes) -> Result<i64, HeaderRefused> {
    let malformed = || {
        let shown = String::from_utf8_lossy(value.get(..40).unwrap_or(value)).into_owned();
        HeaderRefused::Malformed(format!(
            "header {DELIVER_AFTER} '{shown}' is neither milliseconds, nor like 1h30m, nor like PT15M"
        ))
    };
    if let Some(number) = decimal(value) {
        return number.map_err(|()| malformed());
    }
    let text = std::str::from_utf8(value).map_err(|_| malformed())?;
    let span: SignedDuration = text.trim().parse().map_err(|_| malformed())?;
    if span.is_negative() {
        return Err(malformed());
    }
    let millis = span.as_millis() + i128::from(span.subsec_nanos() % 1_000_000 != 0);
    i64::try_from(millis).map_err(|_| malformed())
}

/// ASCII decimal: `None` where there is another character, an error where it does not fit.
fn decimal(value: &[u8]) -> Option<Result<i64, ()>> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let text = std::str::from_utf8(value).ok()?;
    Some(text.parse().map_err(|_| ()))
}

fn rfc3339(value: &[u8]) -> Option<i64> {
    let at: Timestamp = std::str::from_utf8(value).ok()?.parse().ok()?;
    let millis = at.as_millisecond();
    // Rounded up: never early. `as_millisecond` rounds towards zero.
    let exact = at.as_nanosecond().rem_euclid(1_000_000) == 0;
    Some(if exact || millis < 0 {
        millis
    } else {
        millis + 1
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000;
    const MAX: i64 = 366 * 24 * 3_600_000;

    fn due(headers: &[(&'static str, &'static [u8])]) -> Result<Option<i64>, String> {
        let headers = headers
            .iter()
            .map(|(k, v)| {
                (
                    Bytes::from_static(k.as_bytes()),
                    Some(Bytes::from_static(v)),
                )
            })
            .collect();
        let record = Record {
            headers,
            ..Record::default()
        };
        match due_time(&record, &[], NOW, MAX) {
            Ok(due) => Ok(due.map(|d| d.0)),
            Err(HeaderRefused::Malformed(why)) => Err(format!("malformed: {why}")),
            Err(HeaderRefused::TooFar(why)) => Err(format!("too far: {why}")),
        }
    }

    #[test]
    fn a_cancel_names_one_record_and_nothing_else() {
        let cancel = |headers: &[(&'static str, &'static str)]| {
            let headers = headers
                .iter()
                .map(|(k, v)| (Bytes::from(*k), Some(Bytes::from(*v))));
            cancelled(&Record {
                headers: headers.collect(),
                ..Record::default()
            })
        };
        assert_eq!(cancel(&[("k", "v")]), Ok(None));
        assert_eq!(cancel(&[(CANCEL, "7")]), Ok(Some(ScheduleId(7))));
        for wrong in ["", "-7", "x", "99999999999999999999"] {
            assert!(cancel(&[(CANCEL, wrong)]).is_err(), "{wrong}");
        }
        for name in [DELIVER_AT, DELIVER_AFTER] {
            assert!(cancel(&[(CANCEL, "7"), (name, "1")]).is_err(), "{name}");
        }
    }

    #[test]
    fn aliases_are_read_and_followed() {
        let aliases = Alias::list("scheduler-epoch:s, x-at:ms,x-delay:after-s,y:after-ms").unwrap();
        for (name, value, expected) in [
            ("scheduler-epoch", "1800000010", Ok(Some(NOW + 10_000))),
            ("x-at", "1800000000005", Ok(Some(NOW + 5))),
            ("x-delay", "3", Ok(Some(NOW + 3_000))),
            ("y", "3", Ok(Some(NOW + 3))),
            ("y", "soon", Err(())),
            ("z", "3", Ok(None)),
        ] {
            let header = (Bytes::from(name), Some(Bytes::from(value)));
            let record = Record {
                headers: vec![header],
                ..Record::default()
            };
            let due = due_time(&record, &aliases, NOW, MAX)
                .map(|d| d.map(|d| d.0))
                .map_err(|_| ());
            assert_eq!(due, expected, "{name}");
        }
        for wrong in ["x", "x:h", ":s", "chronos-x:s"] {
            assert!(Alias::list(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Alias::list(""), Ok(Vec::new()));
    }

    #[test]
    fn every_form_of_a_time_is_understood() {
        let at = |v| due(&[(DELIVER_AT, v)]);
        assert_eq!(at(b"1800000005000"), Ok(Some(NOW + 5_000)));
        assert_eq!(at(b"2027-01-15T08:00:05Z"), Ok(Some(NOW + 5_000)));
        assert_eq!(
            at(b"2027-01-15T09:00:05.0001+01:00"),
            Ok(Some(NOW + 5_001)),
            "rounded up"
        );
        assert_eq!(
            at(&[0, 0, 1, 0xa3, 0x18, 0x5c, 0x63, 0x88]),
            Ok(Some(NOW + 5_000))
        );
        let after = |v| due(&[(DELIVER_AFTER, v)]);
        assert_eq!(after(b"250"), Ok(Some(NOW + 250)));
        assert_eq!(after(b"1h30m"), Ok(Some(NOW + 5_400_000)));
        assert_eq!(after(b"PT15M"), Ok(Some(NOW + 900_000)));
        assert_eq!(due(&[("other", b"x")]), Ok(None));
        assert_eq!(
            due(&[(DELIVER_AT, b"junk"), (DELIVER_AT, b"1800000000001")]),
            Ok(Some(NOW + 1))
        );
    }

    #[test]
    fn what_is_not_clearly_a_time_is_refused() {
        let refused: [&[(&'static str, &'static [u8])]; 11] = [
            &[(DELIVER_AT, b"tomorrow")],
            &[(DELIVER_AT, b"")],
            &[(DELIVER_AT, b"1800000005")],
            &[(DELIVER_AT, b"-5")],
            &[(DELIVER_AT, b"99999999999999999999")],
            &[(DELIVER_AT, b"2027-01-15T08:00:05")],
            &[(DELIVER_AFTER, b"soon")],
            &[(DELIVER_AFTER, b"-1h")],
            &[(DELIVER_AT, b"1800000005000"), (DELIVER_AFTER, b"5")],
            &[(MESSAGE_ID, b"")],
            &[(SCHEDULE_KEY, b"")],
        ];
        for headers in refused {
            let why = due(headers).unwrap_err();
            assert!(why.starts_with("malformed: header"), "{headers:?}: {why}");
        }
        assert!(due(&[(DELIVER_AFTER, b"400d")]).is_err());
        assert!(
            due(&[(DELIVER_AT, b"1900000000000")])
                .unwrap_err()
                .starts_with("too far")
        );
        assert!(
            due(&[(DELIVER_AFTER, b"31622400001")])
                .unwrap_err()
                .starts_with("too far")
        );
        assert_eq!(due(&[(DELIVER_AFTER, b"31622400000")]), Ok(Some(NOW + MAX)));
    }
}
