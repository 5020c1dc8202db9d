//! Resume tokens: where each partition goes on and ends, how much was streamed, and for which request. They hold no state of the
//! node, so they outlive it.
//!
//! `<streamed>.<start>-<end or nothing>,….<checksum>`, numbers in hexadecimal; of a replay with a future, `;<due>-<partition>-<id>`
//! behind the places, or `;` where that is at its end.

use storage::units::{DueTime, Offset, ScheduleId};

use super::Span;
use crate::{schedule::firing_order::Position, token};

/// What a token says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) streamed: u64,
    pub(super) places: Vec<Span>,
    /// Where the future goes on; `None` at its end, or without one.
    pub(super) future: Option<Position>,
}

pub(super) fn of(
    streamed: u64,
    places: impl Iterator<Item = Span>,
    future: Option<Position>,
    request: &[u8],
) -> String {
    let places: Vec<_> = places
        .map(|Span { start, end }| {
            let end = end.map(|end| format!("{:x}", end.0)).unwrap_or_default();
            format!("{:x}-{end}", start.0)
        })
        .collect();
    let future = future.map_or_else(String::new, |at| {
        format!("{:x}-{:x}-{:x}", at.due.0, at.partition, at.id.0)
    });
    let text = format!("{streamed:x}.{};{future}", places.join(","));
    token::seal(&text, request)
}

pub(super) fn parse(token: &str, request: &[u8]) -> Option<Token> {
    let (streamed, places) = token::open(token, request)?.split_once('.')?;
    let (places, future) = places.split_once(';')?;
    let number = |text| i64::from_str_radix(text, 16).ok();
    let places = places.split(',').map(|place| {
        let (start, end) = place.split_once('-')?;
        let end = if end.is_empty() {
            None
        } else {
            Some(Offset(number(end)?))
        };
        Some(Span {
            start: Offset(number(start)?),
            end,
        })
    });
    let position = || {
        let mut parts = future.split('-').map(number);
        let mut part = || parts.next()?;
        Some(Position {
            due: DueTime(part()?),
            partition: part()?.try_into().ok()?,
            id: ScheduleId(part()?),
        })
    };
    Some(Token {
        streamed: u64::from_str_radix(streamed, 16).ok()?,
        places: places.collect::<Option<_>>()?,
        future: if future.is_empty() {
            None
        } else {
            Some(position()?)
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_for_the_same_request_only() {
        let spans = [
            Span {
                start: Offset(0),
                end: Some(Offset(255)),
            },
            Span {
                start: Offset(1 << 40),
                end: None,
            },
        ];
        let future = Position {
            due: DueTime(1 << 41),
            partition: 3,
            id: ScheduleId(99),
        };
        for future in [None, Some(future)] {
            let token = of(17, spans.into_iter(), future, b"request");
            let expected = Token {
                streamed: 17,
                places: spans.to_vec(),
                future,
            };
            assert_eq!(parse(&token, b"request"), Some(expected));
        }
        let token = of(17, spans.into_iter(), None, b"request");
        assert_eq!(parse(&token, b"another"), None);
        for wrong in ["", ".", "0.0-.", "x", &token[1..], &format!("{token}0")] {
            assert_eq!(parse(wrong, b"request"), None, "{wrong}");
        }
    }
}
