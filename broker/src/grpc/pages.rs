//! Pages of lists, and their tokens: where the next page starts, and for which request.

use storage::units::{DueTime, ScheduleId};
use tonic::Status;

use super::errors::invalid;
use crate::{schedule::firing_order::Position, token};

const SIZE_DEFAULT: usize = 100;
const SIZE_MAX: usize = 1_000;

/// How many entries a page has.
pub(super) fn size(asked: i32) -> Result<usize, Status> {
    match usize::try_from(asked) {
        Err(_) => Err(invalid("page_size", "it is negative")),
        Ok(0) => Ok(SIZE_DEFAULT),
        Ok(size) => Ok(size.min(SIZE_MAX)),
    }
}

/// What a page starts with.
pub(super) trait Place: Ord + Sized {
    /// As text.
    fn write(&self) -> String;
    /// From such a text.
    fn read(text: &str) -> Option<Self>;
}

impl Place for String {
    fn write(&self) -> String {
        self.clone()
    }

    fn read(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl Place for i32 {
    fn write(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// A topic's name has no slash.
impl Place for (String, i32) {
    fn write(&self) -> String {
        format!("{}/{}", self.0, self.1)
    }

    fn read(text: &str) -> Option<Self> {
        let (topic, partition) = text.rsplit_once('/')?;
        Some((topic.to_owned(), partition.parse().ok()?))
    }
}

impl Place for Position {
    fn write(&self) -> String {
        format!("{:x}.{:x}.{:x}", self.due.0, self.partition, self.id.0)
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let due = i64::from_str_radix(parts.next()?, 16).ok()?;
        let partition = i32::from_str_radix(parts.next()?, 16).ok()?;
        let id = i64::from_str_radix(parts.next()?, 16).ok()?;
        parts.next().is_none().then_some(Self {
            due: DueTime(due),
            partition,
            id: ScheduleId(id),
        })
    }
}

/// A page of entries that come in the order of their places, and the token of the next one. `request` is what a token must not
/// cross; tokens hold no state of the node, so they outlive it.
pub(super) fn page<E, P: Place>(
    entries: impl Iterator<Item = E>,
    place_of: impl Fn(&E) -> P,
    (size_asked, token): (i32, &str),
    request: &[u8],
) -> Result<(Vec<E>, String), Status> {
    let size = size(size_asked)?;
    let from = if token.is_empty() {
        None
    } else {
        Some(first::<P>(token, request)?)
    };
    let is_before = |entry: &E| from.as_ref().is_some_and(|from| place_of(entry) < *from);
    let mut entries = entries.skip_while(is_before);
    let page: Vec<E> = entries.by_ref().take(size).collect();
    let next = entries.next();
    let next = next.map_or_else(String::new, |next| self::token(&place_of(&next), request));
    Ok((page, next))
}

/// The token of the page that starts there.
pub(super) fn token(first: &impl Place, request: &[u8]) -> String {
    token::seal(&first.write(), request)
}

/// Where the page of a token of the same request starts.
pub(super) fn first<P: Place>(token: &str, request: &[u8]) -> Result<P, Status> {
    let place = token::open(token, request).and_then(P::read);
    place.ok_or_else(|| invalid("page_token", "it belongs to another request, or is damaged"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_also_where_what_was_next_is_gone() {
        let names: Vec<String> = (0..5).map(|i| format!("t{i}")).collect();
        let all = || names.iter().cloned();
        let (first, token) = page(all(), String::clone, (2, ""), b"r").unwrap();
        assert_eq!(first, ["t0", "t1"]);
        let without = all().filter(|name| name != "t2");
        let (second, token) = page(without, String::clone, (2, &token), b"r").unwrap();
        assert_eq!(second, ["t3", "t4"]);
        assert_eq!(token, "");
    }

    #[test]
    fn a_token_of_another_request_or_a_damaged_one_is_refused() {
        let numbers = || (0..9).map(|i| ("t".to_owned(), i));
        let place = <(String, i32)>::clone;
        let (_, token) = page(numbers(), place, (4, ""), b"r").unwrap();
        let (second, _) = page(numbers(), place, (4, &token), b"r").unwrap();
        assert_eq!(second.first(), Some(&("t".to_owned(), 4)));
        let damaged = [
            &token[1..],
            &token[..token.len() - 1],
            "x",
            ".",
            "é.0",
            "0.0",
        ];
        for wrong in damaged {
            let refused = page(numbers(), place, (4, wrong), b"r");
            assert!(refused.is_err(), "{wrong}");
        }
        assert!(page(numbers(), place, (4, &token), b"s").is_err());
        assert!(page(numbers(), place, (-1, ""), b"r").is_err());
    }

    #[test]
    fn a_token_is_read_back_for_the_same_request_only() {
        let at = Position {
            due: DueTime(1_800_000_000_000),
            partition: 12,
            id: ScheduleId(99),
        };
        let token = token(&at, b"filter");
        assert_eq!(first::<Position>(&token, b"filter").unwrap(), at);
        assert!(first::<Position>(&token, b"another").is_err());
        for wrong in ["", "1.2.3", "x", &token[1..], &format!("{token}.0")] {
            assert!(first::<Position>(wrong, b"filter").is_err(), "{wrong}");
        }
    }
}
