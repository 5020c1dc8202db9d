//! Keys and values of `__transaction_state`, as Apache Kafka 4.3 writes them: `TransactionLogKey`, `TransactionLogValue`.
//!
//! ```text
//! key    i16 0 | transactional id string
//! value  i16 1 | producer id i64 | epoch i16 | timeout i32 | state i8 | partitions compact array (null where Empty), each
//!        topic compact string, indexes compact array of i32, tags | updated, started i64
//!        | tags: 0 previous producer id, 1 next producer id i64 (each unless -1), 2 client version i16 (unless 0)
//! ```
//! Version 0 of the value is read too: without tags, of the inflexible form.

use bytes::{Buf, Bytes};

use super::state::{NO_ID, Partitions, State, Transaction};
use crate::coordinator::{FlexReader, FlexWriter, KeyValue, Reader, Writer};

const KEY_VERSION: i16 = 0;
const INFLEXIBLE: i16 = 0;
const FLEXIBLE: i16 = 1;
const PREVIOUS_ID: u32 = 0;
const NEXT_ID: u32 = 1;
const CLIENT_VERSION: u32 = 2;

/// What a transactional id is now; `None` where it is forgotten.
pub(super) fn of(id: &str, transaction: Option<&Transaction>) -> KeyValue {
    KeyValue {
        key: Writer::default().i16(KEY_VERSION).string(id).finish(),
        value: transaction.map(value),
    }
}

fn value(t: &Transaction) -> Bytes {
    let out = FlexWriter::default()
        .i16(FLEXIBLE)
        .i64(t.producer_id)
        .i16(t.epoch)
        .i32(t.timeout_ms)
        .i8(number(t.state));
    let out = if t.state == State::Empty {
        // Null.
        out.varint(0)
    } else {
        out.array(t.partitions.iter(), |out, (topic, indexes)| {
            let indexes = indexes.iter();
            let out = out.string(topic);
            out.array(indexes, |out, index| out.i32(*index)).tags(None)
        })
    };
    let id = |tag, id: i64| (id != NO_ID).then(|| (tag, of_bytes(&id.to_be_bytes())));
    let version = t.client_version;
    let tags = [
        id(PREVIOUS_ID, t.previous_producer_id),
        id(NEXT_ID, t.next_producer_id),
        (version != 0).then(|| (CLIENT_VERSION, of_bytes(&version.to_be_bytes()))),
    ];
    out.i64(t.updated_ms)
        .i64(t.started_ms)
        .tags(tags.into_iter().flatten())
        .finish()
}

fn of_bytes(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
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

fn read_value(value: Bytes) -> Option<Transaction> {
    match Reader::new(value.clone()).i16()? {
        INFLEXIBLE => read_inflexible(Reader::new(value)),
        FLEXIBLE => read_flexible(FlexReader::new(value)),
        _ => None,
    }
}

/// As both forms begin; what follows is read next.
fn opening(producer_id: i64, epoch: i16, timeout_ms: i32, state: State) -> Transaction {
    Transaction {
        producer_id,
        previous_producer_id: NO_ID,
        next_producer_id: NO_ID,
        epoch,
        last_epoch: -1,
        timeout_ms,
        state,
        partitions: Partitions::new(),
        updated_ms: 0,
        started_ms: 0,
        client_version: 0,
    }
}

fn read_flexible(mut from: FlexReader) -> Option<Transaction> {
    from.i16()?;
    let mut read = opening(from.i64()?, from.i16()?, from.i32()?, state(from.i8()?)?);
    let topics = from.array(|from| {
        let topic = (from.string()?, from.array(FlexReader::i32)?);
        from.all_tags()?;
        Some(topic)
    });
    read.partitions = by_topic(topics?);
    read.updated_ms = from.i64()?;
    read.started_ms = from.i64()?;
    for (tag, mut field) in from.all_tags()? {
        match tag {
            PREVIOUS_ID => read.previous_producer_id = field.try_get_i64().ok()?,
            NEXT_ID => read.next_producer_id = field.try_get_i64().ok()?,
            CLIENT_VERSION => read.client_version = field.try_get_i16().ok()?,
            _ => {}
        }
    }
    Some(read)
}

fn read_inflexible(mut from: Reader) -> Option<Transaction> {
    from.i16()?;
    let (id, epoch, timeout_ms) = (from.i64()?, from.i16()?, from.i32()?);
    let mut read = opening(id, epoch, timeout_ms, state(from.u8()?.cast_signed())?);
    // Null is -1.
    let topics = (0..from.i32()?).map(|_| {
        let topic = from.string()?;
        let indexes = (0..from.i32()?).map(|_| from.i32());
        Some((topic, indexes.collect::<Option<_>>()?))
    });
    read.partitions = by_topic(topics.collect::<Option<_>>()?);
    read.updated_ms = from.i64()?;
    read.started_ms = from.i64()?;
    Some(read)
}

fn by_topic(topics: Vec<(String, Vec<i32>)>) -> Partitions {
    let mut partitions = Partitions::new();
    for (topic, indexes) in topics {
        partitions.entry(topic).or_default().extend(indexes);
    }
    partitions
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
