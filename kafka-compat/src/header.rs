//! Request headers, versions 1 and 2: read by hand, since an unknown API or version must still be named.
//!
//! ```text
//! apiKey i16 | apiVersion i16 | correlationId i32 | clientId nullable string (i16 length, in v2, too) | v2: tagged fields
//! ```

use bytes::{Buf, Bytes};
use thiserror::Error;

use crate::{
    api_table,
    guard::{self, Refused},
};

/// A client id is kept up to this length, in bytes: enough to name a client in a log line.
const CLIENT_ID_LEN_MAX: usize = 256;

/// A request's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    /// Which API.
    pub api_key: i16,
    /// Which version.
    pub version: i16,
    /// Comes back in the answer.
    pub correlation_id: i32,
    /// Who asks, by its own word.
    pub client_id: Option<String>,
}

/// Why a header cannot be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum HeaderError {
    /// Too few bytes.
    #[error("the request header is cut off")]
    Cut,
    /// The rest of it is malformed.
    #[error("request header: {0}")]
    Malformed(#[from] Refused),
}

impl RequestHeader {
    /// Reads the header; what follows in `frame` is the body.
    pub fn take(frame: &mut Bytes) -> Result<Self, HeaderError> {
        if frame.remaining() < 8 {
            return Err(HeaderError::Cut);
        }
        let api_key = frame.get_i16();
        let version = frame.get_i16();
        let correlation_id = frame.get_i32();
        let client_id = take_client_id(frame)?;
        // Only where the version is known: of any other, no more is read than it takes to name it.
        let flexible = api_table::find(api_key).is_some_and(|row| {
            (row.min..=row.max).contains(&version) && row.key.request_header_version(version) >= 2
        });
        if flexible {
            guard::skip_tags(frame)?;
        }
        Ok(Self {
            api_key,
            version,
            correlation_id,
            client_id,
        })
    }
}

fn take_client_id(frame: &mut Bytes) -> Result<Option<String>, HeaderError> {
    if frame.remaining() < 2 {
        return Err(HeaderError::Cut);
    }
    let len = frame.get_i16();
    let Ok(len) = usize::try_from(len) else {
        return Ok(None);
    };
    if frame.remaining() < len {
        return Err(HeaderError::Cut);
    }
    let mut id = frame.split_to(len);
    id.truncate(CLIENT_ID_LEN_MAX);
    Ok(Some(String::from_utf8_lossy(&id).into_owned()))
}
