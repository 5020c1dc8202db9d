//! The topic under test and where its partitions end.

use anyhow::Context;
use rdkafka::{
    admin::{AdminOptions, NewTopic, TopicReplication},
    consumer::{BaseConsumer, Consumer},
    error::RDKafkaErrorCode,
};

use super::Common;
use crate::{
    kafka::{self, PATIENCE},
    time,
};

/// A topic that exists.
#[derive(Clone, Debug)]
pub(super) struct Topic {
    pub(super) name: String,
    pub(super) partitions: i32,
}

/// The topic that was named, or a new one of a random name; made if it was not there.
pub(super) async fn topic(bootstrap: &str, common: &Common) -> anyhow::Result<Topic> {
    let name = common.topic.clone().unwrap_or_else(random_name);
    let new = common.topic_config.iter().fold(
        NewTopic::new(&name, common.partitions, TopicReplication::Fixed(1)),
        |topic, (key, value)| topic.set(key, value),
    );
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    let created = kafka::admin(bootstrap)?
        .create_topics([&new], &options)
        .await
        .with_context(|| format!("asking {bootstrap}"))?;
    for result in created {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, code)) => anyhow::bail!("creating {name}: {code}"),
        }
    }
    let partitions = partitions(bootstrap, &name)?;
    Ok(Topic { name, partitions })
}

/// How many there are, once each has a leader.
fn partitions(bootstrap: &str, name: &str) -> anyhow::Result<i32> {
    let reader = kafka::reader(bootstrap)?;
    for _ in 0..100 {
        let metadata = reader
            .fetch_metadata(Some(name), PATIENCE)
            .with_context(|| format!("asking {bootstrap}"))?;
        if let Some(topic) = metadata.topics().first()
            && topic.error().is_none()
            && !topic.partitions().is_empty()
            && topic.partitions().iter().all(|p| p.leader() >= 0)
        {
            return Ok(i32::try_from(topic.partitions().len())?);
        }
        std::thread::park_timeout(std::time::Duration::from_millis(100));
    }
    anyhow::bail!("topic {name} has partitions without a leader")
}

/// The offset of the next record of each partition.
pub(super) fn ends(consumer: &BaseConsumer, topic: &Topic) -> anyhow::Result<Vec<(i32, i64)>> {
    (0..topic.partitions)
        .map(|partition| {
            let (_, end) = consumer
                .fetch_watermarks(&topic.name, partition, PATIENCE)
                .with_context(|| format!("asking for the end of {}[{partition}]", topic.name))?;
            Ok((partition, end))
        })
        .collect()
}

fn random_name() -> String {
    let mut state = super::load::seed() ^ time::now_ms().unsigned_abs();
    let letters: String = (0..8)
        .map(|_| {
            let letter = super::load::next_random(&mut state) % 26;
            char::from(b'a' + u8::try_from(letter).unwrap_or(0))
        })
        .collect();
    format!("bench-{letters}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_up_anew() {
        let (a, b) = (random_name(), random_name());
        assert!(a.starts_with("bench-") && a.len() == 14, "{a}");
        assert_ne!(a, b);
    }
}
