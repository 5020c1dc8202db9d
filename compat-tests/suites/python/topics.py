"""Topics through the admin client."""

from confluent_kafka import TopicCollection
from confluent_kafka.admin import ConfigResource, NewPartitions, ResourceType

from cluster import PATIENCE_S, check, equal, equal_lists, wait_until


def created(cluster):
    topic = cluster.new_topic(partitions=3)
    equal("partitions", cluster.partitions(topic), 3)


def listed(cluster):
    topics = {cluster.new_topic(), cluster.new_topic()}
    check(topics <= cluster.admin.list_topics(timeout=PATIENCE_S).topics.keys(), "a new topic is not listed")


def described(cluster):
    topic = cluster.new_topic(partitions=3)
    answers = cluster.admin.describe_topics(TopicCollection([topic]), request_timeout=PATIENCE_S)
    description = answers[topic].result(PATIENCE_S)
    equal("name", description.name, topic)
    equal("partitions", [p.id for p in description.partitions], [0, 1, 2])
    for partition in description.partitions:
        check(partition.leader and partition.leader.host, f"partition {partition.id} has no leader")
        equal("replicas", [n.id for n in partition.replicas], [partition.leader.id])
        equal("in-sync replicas", [n.id for n in partition.isr], [partition.leader.id])


def configs_described(cluster):
    resource = ConfigResource(ResourceType.TOPIC, cluster.new_topic())
    answers = cluster.admin.describe_configs([resource], request_timeout=PATIENCE_S)
    configs = answers[resource].result(PATIENCE_S)
    check("retention.ms" in configs, f"no retention.ms among {sorted(configs)}")
    int(configs["retention.ms"].value)


def created_by_producing(cluster):
    topic = cluster.new_name()
    writer = cluster.writer(topic)
    writer.send(b"first")
    equal_lists("offsets", writer.offsets(), [0])
    partitions = wait_until("the topic is listed", lambda: cluster.partitions(topic))
    equal_lists("values", [a.value for a in cluster.read_all(topic, partitions)], [b"first"])


def grown(cluster):
    topic = cluster.new_topic(partitions=3)
    writer = cluster.writer(topic)
    writer.send(b"before", partition=0)
    writer.offsets()
    grown = cluster.admin.create_partitions([NewPartitions(topic, 5)], request_timeout=PATIENCE_S)
    grown[topic].result(PATIENCE_S)
    wait_until("5 partitions", lambda: cluster.partitions(topic) == 5)
    # A new producer: the old one would learn of the new partitions only at its next metadata refresh.
    writer = cluster.writer(topic)
    writer.send(b"after", partition=4)
    equal_lists("offsets", writer.offsets(), [0])
    found = {(a.partition, a.value) for a in cluster.read_all(topic, partitions=5)}
    equal("records", found, {(0, b"before"), (4, b"after")})


def created_again(cluster):
    topic = cluster.new_topic()
    writer = cluster.writer(topic)
    writer.send(b"old")
    writer.offsets()
    cluster.admin.delete_topics([topic], request_timeout=PATIENCE_S)[topic].result(PATIENCE_S)
    wait_until("the topic is gone", lambda: cluster.partitions(topic) == 0)
    cluster.create(topic, 1)
    with cluster.reader(topic) as reader:
        equal("watermarks", reader.watermarks(), (0, 0))
        equal_lists("records", reader.take_all(), [])
    writer = cluster.writer(topic)
    writer.send(b"new")
    equal_lists("offsets", writer.offsets(), [0])
    equal_lists("values", [a.value for a in cluster.read_all(topic)], [b"new"])


SCENARIOS = {
    "a topic is created with 3 partitions": created,
    "topics are listed": listed,
    "a topic is described": described,
    "a topic's configs are described": configs_described,
    "producing creates a topic": created_by_producing,
    "partitions grow from 3 to 5": grown,
    "a topic deleted and created again starts empty": created_again,
}
