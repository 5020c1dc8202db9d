//! The headers with which a producer asks for time.
//!
//! | header | value |
//! |---|---|
//! | `chronos-deliver-at` | epoch milliseconds in ASCII decimal, or RFC 3339 with offset (rounded up), or 8 bytes big-endian |
//! | `chronos-deliver-after` | milliseconds in ASCII decimal, or `1h30m`, or ISO 8601 `PT15M`; counted from arrival |
//! | `chronos-cancel` | a schedule id in ASCII decimal: the offset that was answered for a held record of the same partition |
//! | `chronos-schedule-key` | 1 to 256 bytes: takes the place of the record of that key that waits in the same partition |
//! | `chronos-message-id` | 1 to 256 bytes: the record is appended once, see [`crate::records::MessageIds`] |
//!
//! A repeated header: the last one counts. Both times: refused. Anything that is not clearly a time is refused, never delivered
//! at once.

use jiff::{SignedDuration, Timestamp};
use storage::{
    record::{HeaderRef, RecordError, RecordRef},
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
const BROKERS_OWN: [&str; 3] = [
    "chronos-due-at",
    "chronos-schedule-id",
    "chronos-created-at",
];
/// Below this an integer is taken for seconds: 1973 in milliseconds, the year 5138 in seconds.
const MILLIS_MIN: i64 = 100_000_000_000;
/// Bytes of a message id or a schedule key.
pub const ID_LEN_MAX: usize = 256;

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

    fn due(&self, value: &[u8], now_ms: i64) -> Result<i64, HeaderRefused> {
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

/// What the headers of a record ask of us; of repeated ones, the last.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    deliver_at: Header<'a>,
    deliver_after: Header<'a>,
    cancel: Header<'a>,
    schedule_key: Header<'a>,
    message_id: Header<'a>,
    /// The first of the aliases, in their order, that the record has.
    alias: Option<(usize, Option<&'a [u8]>)>,
    /// It has headers that only the broker may write.
    pub has_brokers_own: bool,
}

/// A header's value, which may be null, where the header is there.
type Header<'a> = Option<Option<&'a [u8]>>;

impl<'a> Asked<'a> {
    /// Looks at each header of a record once.
    pub fn read(record: &RecordRef<'a>, aliases: &[Alias]) -> Result<Self, RecordError> {
        let mut asked = Self::default();
        for header in record.headers() {
            let HeaderRef { name, value, .. } = header?;
            if name.starts_with(PREFIX.as_bytes()) {
                asked.has_brokers_own |= is_brokers_own(name);
                if let Some(field) = asked.field(name) {
                    *field = Some(value);
                }
            } else if !aliases.is_empty() {
                let at = aliases.iter().position(|a| a.name.as_bytes() == name);
                if let Some(at) = at.filter(|at| asked.alias.is_none_or(|(best, _)| *at <= best)) {
                    asked.alias = Some((at, value));
                }
            }
        }
        Ok(asked)
    }

    fn field(&mut self, name: &[u8]) -> Option<&mut Header<'a>> {
        [
            (DELIVER_AT, &mut self.deliver_at),
            (DELIVER_AFTER, &mut self.deliver_after),
            (CANCEL, &mut self.cancel),
            (SCHEDULE_KEY, &mut self.schedule_key),
            (MESSAGE_ID, &mut self.message_id),
        ]
        .into_iter()
        .find_map(|(known, field)| (known.as_bytes() == name).then_some(field))
    }

    /// When the record wants to be delivered; `None` where it does not say. `aliases` are those that it was read with.
    pub fn due_time(
        &self,
        aliases: &[Alias],
        now_ms: i64,
        max_delay_ms: i64,
    ) -> Result<Option<DueTime>, HeaderRefused> {
        let due = match (self.deliver_at, self.deliver_after) {
            (None, None) => {
                let alias = self
                    .alias
                    .and_then(|(at, value)| Some((aliases.get(at)?, value)));
                let Some((alias, at)) = alias else {
                    return Ok(None);
                };
                alias.due(value(&alias.name, at)?, now_ms)?
            }
            (Some(_), Some(_)) => {
                let why = format!("headers {DELIVER_AT} and {DELIVER_AFTER} exclude each other");
                return Err(HeaderRefused::Malformed(why));
            }
            (Some(at), None) => deliver_at(value(DELIVER_AT, at)?)?,
            (None, Some(after)) => {
                now_ms.saturating_add(deliver_after(value(DELIVER_AFTER, after)?)?)
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

    /// The id under which it is appended once; `None` where it has none.
    pub fn message_id(&self) -> Result<Option<&'a [u8]>, HeaderRefused> {
        identifier(self.message_id, MESSAGE_ID)
    }

    /// The key of which the record is the newest; `None` where it has none.
    pub fn schedule_key(&self) -> Result<Option<&'a [u8]>, HeaderRefused> {
        identifier(self.schedule_key, SCHEDULE_KEY)
    }

    /// The held record that the record cancels; `None` where it does not.
    pub fn cancelled(&self) -> Result<Option<ScheduleId>, HeaderRefused> {
        let Some(id) = self.cancel else {
            return Ok(None);
        };
        let others = [
            (DELIVER_AT, self.deliver_at),
            (DELIVER_AFTER, self.deliver_after),
            (SCHEDULE_KEY, self.schedule_key),
        ];
        if let Some((name, _)) = others.iter().find(|(_, header)| header.is_some()) {
            let why = format!("headers {CANCEL} and {name} exclude each other");
            return Err(HeaderRefused::Malformed(why));
        }
        match decimal(value(CANCEL, id)?) {
            Some(Ok(id)) => Ok(Some(ScheduleId(id))),
            _ => Err(HeaderRefused::Malformed(format!(
                "header {CANCEL} is no schedule id"
            ))),
        }
    }
}

/// Whether a header is one that only the broker may write: taken off a record that is being held, so that a consumer can
/// republish what it got with a new delay.
pub(crate) fn is_brokers_own(name: &[u8]) -> bool {
    BROKERS_OWN.iter().any(|own| own.as_bytes() == name)
}

fn identifier<'a>(header: Header<'a>, name: &str) -> Result<Option<&'a [u8]>, HeaderRefused> {
    let Some(id) = header else {
        return Ok(None);
    };
    let len = id.map_or(0, <[u8]>::len);
    if (1..=ID_LEN_MAX).contains(&len) {
        return Ok(id);
    }
    let why = format!("header {name} has {len} bytes, allowed are 1 to {ID_LEN_MAX}");
    Err(HeaderRefused::Malformed(why))
}

fn value<'a>(name: &str, value: Option<&'a [u8]>) -> Result<&'a [u8], HeaderRefused> {
    value.ok_or_else(|| HeaderRefused::Malformed(format!("header {name} has no value")))
}

fn deliver_at(value: &[u8]) -> Result<i64, HeaderRefused> {
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

fn deliver_after(value: &[u8]) -> Result<i64, HeaderRefused> {
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
    let number = value.iter().try_fold(0i64, |number, digit| {
        let digit = i64::from(digit - b'0');
        number.checked_mul(10)?.checked_add(digit)
    });
    Some(number.ok_or(()))
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
    use storage::record::Record;

    use super::*;

    const NOW: i64 = 1_800_000_000_000;
    const MAX: i64 = 366 * 24 * 3_600_000;

    /// What a record with these headers asks, as `ask` reads it.
    fn asked<T>(headers: &[(&str, &[u8])], aliases: &[Alias], ask: impl Fn(Asked<'_>) -> T) -> T {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.as_bytes().to_vec().into(), Some(value.to_vec().into())));
        let record = Record {
            headers: headers.collect(),
            ..Record::default()
        };
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        ask(Asked::read(&RecordRef::read(&bytes).unwrap(), aliases).unwrap())
    }

    fn due(headers: &[(&'static str, &'static [u8])]) -> Result<Option<i64>, String> {
        let due = |asked: Asked<'_>| {
            asked.schedule_key()?;
            asked.message_id()?;
            asked.due_time(&[], NOW, MAX)
        };
        match asked(headers, &[], due) {
            Ok(due) => Ok(due.map(|d| d.0)),
            Err(HeaderRefused::Malformed(why)) => Err(format!("malformed: {why}")),
            Err(HeaderRefused::TooFar(why)) => Err(format!("too far: {why}")),
        }
    }

    #[test]
    fn a_cancel_names_one_record_and_nothing_else() {
        let cancel = |headers: &[(&str, &str)]| {
            let headers: Vec<_> = headers.iter().map(|(k, v)| (*k, v.as_bytes())).collect();
            asked(&headers, &[], |asked| asked.cancelled())
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
            let due = asked(&[(name, value.as_bytes())], &aliases, |asked| {
                asked.due_time(&aliases, NOW, MAX)
            });
            let due = due.map(|d| d.map(|d| d.0)).map_err(|_| ());
            assert_eq!(due, expected, "{name}");
        }
        for wrong in ["x", "x:h", ":s", "chronos-x:s"] {
            assert!(Alias::list(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Alias::list(""), Ok(Vec::new()));
        // The first in the order of the setting counts; of one that is repeated, the last.
        let both: [(&str, &[u8]); 3] = [("y", b"3"), ("x-delay", b"1"), ("x-delay", b"2")];
        let due = asked(&both, &aliases, |asked| asked.due_time(&aliases, NOW, MAX));
        assert_eq!(due, Ok(Some(DueTime(NOW + 2_000))));
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
