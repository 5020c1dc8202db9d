//! Tokens that a client gives back: a text, and a checksum over it and the request that it must not cross. They hold no state of the
//! node, so they outlive it.

/// The text as a token of that request.
pub fn seal(text: &str, request: &[u8]) -> String {
    format!("{text}.{:08x}", checksum(text, request))
}

/// The text of a token of that request; `None` where it belongs to another one, or is damaged.
pub fn open<'a>(token: &'a str, request: &[u8]) -> Option<&'a str> {
    let (text, sum) = token.rsplit_once('.')?;
    let fits = u32::from_str_radix(sum, 16).ok()? == checksum(text, request);
    fits.then_some(text)
}

fn checksum(text: &str, request: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(text.as_bytes()), request)
}
