//! Keys and values of `__transaction_state`, as Apache Kafka 4.3 writes them: `TransactionLogKey`, `TransactionLogValue`.
//!
//! ```text
//! key    i16 0 | transactional id string
//! value  i16 1 | producer id i64 | epoch i16 | timeout i32 | state i8 | partitions compact array (null where Empty), each
//!        topic compact string, indexes compact array of i32, tags | updated, started i64
//!        | tags: 0 previous producer id, 1 next producer id i64 (each unless -1), 2 client version i16 (unless 0)
//! ```
//! Version 0 of the value is read too: without tags, of the inflexible form.

use bytes::{Buf, BufMut, Bytes};

use super::state::{NO_ID, Partitions, State, Transaction};
use crate::coordinator::{KeyValue, Reader, Writer};

const KEY_VERSION: i16 = 0;
const FLEXIBLE: i16 = 1;
const PREVIOUS_ID: usize = 0;
const NEXT_ID: usize = 1;
const CLIENT_VERSION: usize = 2;

/// What a transactional id is now; `None` where it is forgotten.
pub(super) fn of(id: &str, transaction: Option<&Transaction>) -> KeyValue {
    KeyValue {
        key: Writer::default().i16(KEY_VERSION).string(id).finish(),
        value: transaction.map(value),
    }
}

fn value(t: &Transaction) -> Bytes {
    let mut out = Vec::with_capacity(96);
    out.put_i16(FLEXIBLE);
    out.put_i64(t.producer_id);
    out.put_i16(t.epoch);
    out.put_i32(t.timeout_ms);
    out.put_i8(number(t.state));
    if t.state == State::Empty {
        varint(&mut out, 0);
    } else {
        varint(&mut out, t.partitions.len() + 1);
        for (topic, indexes) in &t.partitions {
            varint(&mut out, topic.len() + 1);
            out.put_slice(topic.as_bytes());
            varint(&mut out, indexes.len() + 1);
            for index in indexes {
                out.put_i32(*index);
            }
            varint(&mut out, 0);
        }
    }
    out.put_i64(t.updated_ms);
    out.put_i64(t.started_ms);
    let ids = [
        (PREVIOUS_ID, t.previous_producer_id),
        (NEXT_ID, t.next_producer_id),
    ];
    let ids = ids.into_iter().filter(|(_, id)| *id != NO_ID);
    let has_version = t.client_version != 0;
    varint(&mut out, ids.clone().count() + usize::from(has_version));
    for (tag, id) in ids {
        varint(&mut out, tag);
        varint(&mut out, size_of::<i64>());
        out.put_i64(id);
    }
    if has_version {
        varint(&mut out, CLIENT_VERSION);
        varint(&mut out, size_of::<i16>());
        out.put_i16(t.client_version);
    }
    out.into()
}

/// The id that a record speaks of, and what it says; `None` where it is of no known kind.
pub(super) fn read(record: &KeyValue) -> Option<(String, Option<Transaction>)> {
    let mut key = Reader::new(record.key.clone());
    if key.i16()? != KEY_VERSION {
        return None;
    }
    let id = key.string()?;
    match &record.value {
        None => Some((id, None)),
        Some(value) => Some((id, Some(read_value(value.clone())?))),
    }
}

fn read_value(mut from: Bytes) -> Option<Transaction> {
    let version = from.try_get_i16().ok()?;
    if !(0..=FLEXIBLE).contains(&version) {
        return None;
    }
    let flexible = version >= FLEXIBLE;
    let producer_id = from.try_get_i64().ok()?;
    let epoch = from.try_get_i16().ok()?;
    let timeout_ms = from.try_get_i32().ok()?;
    let state = state(from.try_get_i8().ok()?)?;
    let partitions = read_partitions(&mut from, flexible)?;
    let mut read = Transaction {
        producer_id,
        previous_producer_id: NO_ID,
        next_producer_id: NO_ID,
        epoch,
        last_epoch: -1,
        timeout_ms,
        state,
        partitions,
        updated_ms: from.try_get_i64().ok()?,
        started_ms: from.try_get_i64().ok()?,
        client_version: 0,
    };
    if flexible {
        for _ in 0..read_varint(&mut from)? {
            let tag = read_varint(&mut from)?;
            let len = read_varint(&mut from)?;
            if len > from.len() {
                return None;
            }
            let mut field = from.split_to(len);
            match tag {
                PREVIOUS_ID => read.previous_producer_id = field.try_get_i64().ok()?,
                NEXT_ID => read.next_producer_id = field.try_get_i64().ok()?,
                CLIENT_VERSION => read.client_version = field.try_get_i16().ok()?,
                _ => {}
            }
        }
    }
    Some(read)
}

fn read_partitions(from: &mut Bytes, flexible: bool) -> Option<Partitions> {
    let mut partitions = Partitions::new();
    for _ in 0..read_count(from, flexible)? {
        let len = if flexible {
            read_varint(from)?.checked_sub(1)?
        } else {
            usize::try_from(from.try_get_i16().ok()?).ok()?
        };
        if len > from.len() {
            return None;
        }
        let topic = String::from_utf8(from.split_to(len).to_vec()).ok()?;
        let of_topic = partitions.entry(topic).or_default();
        for _ in 0..read_count(from, flexible)? {
            of_topic.insert(from.try_get_i32().ok()?);
        }
        if flexible {
            for _ in 0..read_varint(from)? {
                read_varint(from)?;
                let len = read_varint(from)?;
                if len > from.len() {
                    return None;
                }
                from.advance(len);
            }
        }
    }
    Some(partitions)
}

/// Of an array; none where it is null.
fn read_count(from: &mut Bytes, flexible: bool) -> Option<usize> {
    if flexible {
        Some(read_varint(from)?.saturating_sub(1))
    } else {
        Some(usize::try_from(from.try_get_i32().ok()?).unwrap_or(0))
    }
}

fn varint(out: &mut Vec<u8>, mut n: usize) {
    while n >= 0x80 {
        out.put_u8(u8::try_from(n & 0x7f).unwrap_or(0) | 0x80);
        n >>= 7;
    }
    out.put_u8(u8::try_from(n).unwrap_or(0));
}

fn read_varint(from: &mut Bytes) -> Option<usize> {
    let mut n = 0usize;
    for shift in (0..35).step_by(7) {
        let byte = from.try_get_u8().ok()?;
        n |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(n);
        }
    }
    None
}

fn number(state: State) -> i8 {
    match state {
        State::Empty => 0,
        State::Ongoing => 1,
        State::PrepareCommit => 2,
        State::PrepareAbort => 3,
        State::CompleteCommit => 4,
        State::CompleteAbort => 5,
    }
}

fn state(number_of: i8) -> Option<State> {
    let mut states = super::state::STATES.into_iter();
    states.find(|state| number(*state) == number_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transaction() -> Transaction {
        Transaction {
            producer_id: 1_001,
            previous_producer_id: 1_001,
            next_producer_id: NO_ID,
            epoch: 3,
            last_epoch: -1,
            timeout_ms: 60_000,
            state: State::Ongoing,
            partitions: [("t".to_owned(), [0, 5].into())].into(),
            started_ms: 10,
            updated_ms: 20,
            client_version: 2,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for state in super::super::state::STATES {
            for next in [NO_ID, 9] {
                let mut t = Transaction {
                    state,
                    next_producer_id: next,
                    ..transaction()
                };
                if state == State::Empty {
                    t.partitions.clear();
                }
                let record = of("tx", Some(&t));
                assert_eq!(read(&record), Some(("tx".into(), Some(t))));
                // Any byte that is missing is noticed.
                let value = record.value.unwrap();
                for len in 0..value.len() {
                    assert_eq!(read_value(value.slice(..len)), None, "{len}");
                }
            }
        }
        assert_eq!(read(&of("tx", None)), Some(("tx".into(), None)));
    }

    /// Read from a log of Apache Kafka 4.3.1 would be the same bytes as these, put down by hand from its schema.
    #[test]
    fn the_bytes_are_kafkas() {
        let bytes = of("tx", Some(&transaction()));
        assert_eq!(&bytes.key[..], b"\0\0\0\x02tx");
        let expected = [
            &b"\0\x01"[..],
            &1_001i64.to_be_bytes(),
            &3i16.to_be_bytes(),
            &60_000i32.to_be_bytes(),
            b"\x01\x02\x02t\x03\0\0\0\0\0\0\0\x05\0",
            &20i64.to_be_bytes(),
            &10i64.to_be_bytes(),
            b"\x02\0\x08",
            &1_001i64.to_be_bytes(),
            b"\x02\x02\0\x02",
        ];
        assert_eq!(bytes.value.unwrap(), expected.concat());
    }

    #[test]
    fn the_first_version_is_read() {
        let value = [
            &b"\0\0"[..],
            &7i64.to_be_bytes(),
            &1i16.to_be_bytes(),
            &500i32.to_be_bytes(),
            b"\x02\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\x03",
            &20i64.to_be_bytes(),
            &10i64.to_be_bytes(),
        ];
        let read = read_value(Bytes::from(value.concat())).unwrap();
        assert_eq!((read.producer_id, read.state), (7, State::PrepareCommit));
        assert_eq!(read.partitions, [("t".to_owned(), [3].into())].into());
    }
}
