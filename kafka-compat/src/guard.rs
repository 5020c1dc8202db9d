//! Walks a request against its schema before the codec decodes it.
//!
//! The codec (kafka-protocol 0.18) allocates as many elements as an array announces: 8 bytes can ask for gigabytes. Here every
//! announced length is held against the bytes that are there, and all elements of a request are counted.

use bytes::{Buf, Bytes};
use thiserror::Error;

use crate::schema::{self, Field, Kind};

/// Elements of all arrays of one request: what they become in memory stays below a few hundred megabytes.
const ELEMENTS_MAX: usize = 1_000_000;
/// Structs nest this deep at most; Kafka's deepest has five levels.
const DEPTH_MAX: usize = 16;

/// Why a body is not decoded.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Refused {
    /// It ends before the schema does.
    #[error("the request is cut off")]
    Cut,
    /// An array, string or tag announces more than is there, or null where it may not be.
    #[error("a field announces a length of {0}")]
    Length(i64),
    /// A varint of more than 5 bytes.
    #[error("a varint is too long")]
    Varint,
    /// A string that is not UTF-8.
    #[error("a string is not UTF-8")]
    Utf8,
    /// More array elements than any client sends.
    #[error("the request has more than {ELEMENTS_MAX} elements")]
    Elements,
    /// Bytes after the end of a tagged field.
    #[error("{0} bytes follow a tagged field")]
    Trailing(usize),
    /// No schema, or structs nested too deep.
    #[error("the request has no known schema")]
    Schema,
}

/// Checks a request's body. Bytes after its end are let be, as Kafka does: librdkafka 2.12 sends three of them after a Metadata
/// request for all topics.
pub fn check(api_key: i16, version: i16, body: &Bytes) -> Result<(), Refused> {
    let schema = schema::find(api_key).ok_or(Refused::Schema)?;
    let mut walk = Walk {
        rest: body,
        version,
        flexible: schema.is_flexible(version),
        elements: 0,
    };
    walk.fields(&schema.fields, 0)
}

/// Takes tagged fields off, unread: those of a request header.
pub fn skip_tags(from: &mut Bytes) -> Result<(), Refused> {
    let before = from.len();
    let mut walk = Walk {
        rest: from,
        version: 0,
        flexible: true,
        elements: 0,
    };
    walk.tags(&[], 0)?;
    let taken = before - walk.rest.len();
    from.advance(taken);
    Ok(())
}

struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
    elements: usize,
}

impl<'a> Walk<'a> {
    fn fields(&mut self, fields: &[Field], depth: usize) -> Result<(), Refused> {
        if depth > DEPTH_MAX {
            return Err(Refused::Schema);
        }
        for field in fields {
            let tagged = self.flexible && field.tagged.has(self.version);
            if field.versions.has(self.version) && !tagged {
                self.value(&field.kind, field.nullable.has(self.version), depth)?;
            }
        }
        if self.flexible {
            self.tags(fields, depth)
        } else {
            Ok(())
        }
    }

    fn value(&mut self, kind: &Kind, nullable: bool, depth: usize) -> Result<(), Refused> {
        match kind {
            Kind::Fixed(len) => self.skip(*len).map(|_| ()),
            Kind::String => match self.length(nullable, 2)? {
                None => Ok(()),
                Some(len) => {
                    let bytes = self.skip(len)?;
                    std::str::from_utf8(bytes)
                        .map(|_| ())
                        .map_err(|_| Refused::Utf8)
                }
            },
            Kind::Bytes => match self.length(nullable, 4)? {
                None => Ok(()),
                Some(len) => self.skip(len).map(|_| ()),
            },
            Kind::Array(element) => {
                let Some(count) = self.length(nullable, 4)? else {
                    return Ok(());
                };
                self.elements = self.elements.saturating_add(count);
                if self.elements > ELEMENTS_MAX {
                    return Err(Refused::Elements);
                }
                for _ in 0..count {
                    self.value(element, false, depth)?;
                }
                Ok(())
            }
            Kind::Struct(fields) => {
                if nullable && self.skip(1)? == [0xff] {
                    return Ok(());
                }
                self.fields(fields, depth + 1)
            }
        }
    }

    /// A length that fits what is there; `None` for null. `fixed` is its width where the version is not flexible.
    fn length(&mut self, nullable: bool, fixed: usize) -> Result<Option<usize>, Refused> {
        let len = if self.flexible {
            i64::from(self.varint()?) - 1
        } else {
            let mut bytes = self.skip(fixed)?;
            if fixed == 2 {
                i64::from(bytes.get_i16())
            } else {
                i64::from(bytes.get_i32())
            }
        };
        if len == -1 && nullable {
            return Ok(None);
        }
        match usize::try_from(len) {
            Ok(n) if n <= self.rest.len() => Ok(Some(n)),
            _ => Err(Refused::Length(len)),
        }
    }

    fn tags(&mut self, fields: &[Field], depth: usize) -> Result<(), Refused> {
        let count = self.varint()?;
        if count as usize > self.rest.len() {
            return Err(Refused::Length(i64::from(count)));
        }
        self.elements = self.elements.saturating_add(count as usize);
        if self.elements > ELEMENTS_MAX {
            return Err(Refused::Elements);
        }
        for _ in 0..count {
            let tag = self.varint()?;
            let len = self.varint()? as usize;
            let bytes = self.skip(len)?;
            let known = fields
                .iter()
                .find(|f| f.tag == Some(tag) && f.tagged.has(self.version));
            if let Some(field) = known {
                let mut inner = Walk {
                    rest: bytes,
                    elements: self.elements,
                    ..*self
                };
                inner.value(&field.kind, field.nullable.has(self.version), depth + 1)?;
                self.elements = inner.elements;
                if !inner.rest.is_empty() {
                    return Err(Refused::Trailing(inner.rest.len()));
                }
            }
        }
        Ok(())
    }

    fn varint(&mut self) -> Result<u32, Refused> {
        let mut value = 0u64;
        for i in 0..5 {
            let byte = self.skip(1)?.first().copied().unwrap_or(0);
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| Refused::Varint);
            }
        }
        Err(Refused::Varint)
    }

    fn skip(&mut self, len: usize) -> Result<&'a [u8], Refused> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Refused::Cut)?;
        self.rest = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api_table::APIS, request::RequestBody};
    use kafka_protocol::{
        messages::{MetadataRequest, TopicName, metadata_request::MetadataRequestTopic},
        protocol::Encodable,
    };
    use proptest::prelude::*;

    #[test]
    fn what_the_codec_encodes_passes() {
        for version in 0..=13 {
            let topic = MetadataRequestTopic::default().with_name(Some(TopicName("t".into())));
            let topic = if version >= 12 {
                topic
            } else {
                topic.with_topic_id(uuid::Uuid::nil())
            };
            let request = MetadataRequest::default().with_topics(Some(vec![topic]));
            let mut body = bytes::BytesMut::new();
            if request.encode(&mut body, version).is_err() {
                continue;
            }
            assert_eq!(
                check(3, version, &body.freeze()),
                Ok(()),
                "version {version}"
            );
        }
    }

    #[test]
    fn a_lying_array_is_refused_in_both_encodings() {
        let plain = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 0, 0]);
        assert_eq!(
            check(3, 4, &plain),
            Err(Refused::Length(i64::from(i32::MAX)))
        );
        let compact = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0]);
        assert_eq!(
            check(3, 9, &compact),
            Err(Refused::Length(i64::from(u32::MAX) - 1))
        );
    }

    proptest! {
        /// Whatever passes the guard is decoded without a panic and without allocating more than it holds.
        #[test]
        fn any_bytes_are_refused_or_decoded(
            at in 0..APIS.len(),
            version in 0i16..20,
            body in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let api = APIS[at];
            if (api.min..=api.max).contains(&version) {
                let _ = RequestBody::decode(api.key, version, body.into());
            }
        }
    }
}
