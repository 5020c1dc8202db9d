//! Resume tokens: where each partition goes on and ends, how much was streamed, and for which request. They hold no state of the
//! node, so they outlive it.
//!
//! `<streamed>.<start>-<end or nothing>,….<checksum>`, numbers in hexadecimal.

use storage::units::Offset;

use super::Span;

pub(super) fn of(streamed: u64, places: impl Iterator<Item = Span>, request: &[u8]) -> String {
    let places: Vec<_> = places
        .map(|Span { start, end }| {
            let end = end.map(|end| format!("{:x}", end.0)).unwrap_or_default();
            format!("{:x}-{end}", start.0)
        })
        .collect();
    let text = format!("{streamed:x}.{}", places.join(","));
    let sum = checksum(&text, request);
    format!("{text}.{sum:08x}")
}

pub(super) fn parse(token: &str, request: &[u8]) -> Option<(u64, Vec<Span>)> {
    let (text, sum) = token.rsplit_once('.')?;
    if u32::from_str_radix(sum, 16).ok()? != checksum(text, request) {
        return None;
    }
    let (streamed, places) = text.split_once('.')?;
    let places = places.split(',').map(|place| {
        let (start, end) = place.split_once('-')?;
        let offset = |text| i64::from_str_radix(text, 16).ok().map(Offset);
        let end = if end.is_empty() {
            None
        } else {
            Some(offset(end)?)
        };
        Some(Span {
            start: offset(start)?,
            end,
        })
    });
    Some((
        u64::from_str_radix(streamed, 16).ok()?,
        places.collect::<Option<_>>()?,
    ))
}

fn checksum(text: &str, request: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(text.as_bytes()), request)
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
        let token = of(17, spans.into_iter(), b"request");
        assert_eq!(parse(&token, b"request"), Some((17, spans.to_vec())));
        assert_eq!(parse(&token, b"another"), None);
        for wrong in ["", ".", "0.0-.", "x", &token[1..], &format!("{token}0")] {
            assert_eq!(parse(wrong, b"request"), None, "{wrong}");
        }
    }
}
