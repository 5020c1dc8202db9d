//! Resource names: `topics/{topic}/partitions/{partition}/scheduledMessages/{schedule_id}`; and names of requests.

use storage::units::ScheduleId;
use tonic::Status;

use super::errors::invalid;

const REQUEST_ID_MAX: usize = 256;

pub(super) fn scheduled_message(topic: &str, partition: i32, id: ScheduleId) -> String {
    format!("topics/{topic}/partitions/{partition}/scheduledMessages/{id}")
}

pub(super) fn parse_scheduled_message(name: &str) -> Result<(&str, i32, ScheduleId), Status> {
    let parse = || {
        let mut parts = name.split('/');
        let mut after = |word: &str| (parts.next()? == word).then(|| parts.next())?;
        let topic = after("topics").filter(|topic| !topic.is_empty())?;
        let partition = after("partitions")?.parse().ok()?;
        let id = after("scheduledMessages")?.parse().ok()?;
        parts
            .next()
            .is_none()
            .then_some((topic, partition, ScheduleId(id)))
    };
    parse().ok_or_else(|| {
        let shape = "topics/{topic}/partitions/{partition}/scheduledMessages/{schedule_id}";
        invalid("name", format!("'{name}' has not the form {shape}"))
    })
}

/// What a request calls itself, to be told from others.
pub(super) fn checked_request_id(request_id: &str) -> Result<&[u8], Status> {
    if request_id.len() > REQUEST_ID_MAX {
        let why = format!("it has more than {REQUEST_ID_MAX} bytes");
        return Err(invalid("request_id", why));
    }
    Ok(request_id.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_and_others_are_refused() {
        let name = scheduled_message("a.b_c-d", 3, ScheduleId(77));
        let parsed = parse_scheduled_message(&name).unwrap();
        assert_eq!(parsed, ("a.b_c-d", 3, ScheduleId(77)));
        for wrong in [
            "",
            "topics/t",
            "topics//partitions/0/scheduledMessages/1",
            "topics/t/partitions/x/scheduledMessages/1",
            "topics/t/partitions/0/scheduledMessages/",
            "topics/t/partitions/0/scheduledMessages/1/",
            "topics/t/partitions/0/messages/1",
        ] {
            assert!(parse_scheduled_message(wrong).is_err(), "{wrong}");
        }
    }
}
