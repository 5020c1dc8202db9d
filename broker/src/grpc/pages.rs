//! Pages of lists that are in the order of a name.

use tonic::Status;

use super::errors::invalid;

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
        Some(parse::<P>(token, request)?)
    };
    let is_before = |entry: &E| from.as_ref().is_some_and(|from| place_of(entry) < *from);
    let mut entries = entries.skip_while(is_before);
    let page: Vec<E> = entries.by_ref().take(size).collect();
    let next = entries.next();
    let next = next.map_or_else(String::new, |next| written(&place_of(&next), request));
    Ok((page, next))
}

fn written(place: &impl Place, request: &[u8]) -> String {
    let place = place.write();
    format!("{:08x}.{place}", checksum(&place, request))
}

fn parse<P: Place>(token: &str, request: &[u8]) -> Result<P, Status> {
    let parse = || {
        let (sum, place) = token.split_once('.')?;
        let fits = u32::from_str_radix(sum, 16).ok()? == checksum(place, request);
        fits.then(|| P::read(place))?
    };
    parse().ok_or_else(|| invalid("page_token", "it belongs to another request, or is damaged"))
}

fn checksum(place: &str, request: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(place.as_bytes()), request)
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
}
