"""Metadata 0-13."""

from cases import case, simple, spoiled
from talk import UNKNOWN_ID, ZERO_ID, Talk

API = "Metadata"


def one(t: Talk, name: str | None, create: bool = False) -> dict:
    """A question for one topic by name."""
    return {"Topics": [{"Name": name}], "AllowAutoTopicCreation": create}


@case(API, alone=True)
def no_topic_at_all(t: Talk) -> None:
    """Null (v0: empty) asks for all topics; other cases' topics are left out, so that this can be asked again on an old broker."""
    t.ask({"Topics": [] if t.version == 0 else None, "AllowAutoTopicCreation": False})


@case(API)
def all_topics(t: Talk) -> None:
    """All topics: those of the case are compared."""
    t.topic("a")
    t.topic("b", 3)
    answer = t.setup(API, {"Topics": [] if t.version == 0 else None, "AllowAutoTopicCreation": False}, t.version)
    t.note("own", sorted((x["Name"], x["ErrorCode"], len(x["Partitions"])) for x in answer["Topics"] if x["Name"].startswith(t.prefix)))


@case(API)
def one_topic(t: Talk) -> None:
    """A topic that exists."""
    t.ask(one(t, t.topic("t", 3).name))


@case(API)
def one_topic_twice_in_one_request(t: Talk) -> None:
    """Kafka makes a set of the names."""
    name = t.topic().name
    t.ask({"Topics": [{"Name": name}, {"Name": name}], "AllowAutoTopicCreation": False})


@case(API)
def one_known_one_not(t: Talk) -> None:
    """An error of one topic does not touch the other."""
    t.ask({"Topics": [{"Name": t.topic().name}, {"Name": t.name("missing")}], "AllowAutoTopicCreation": False})


@case(API)
def auto_creation(t: Talk) -> None:
    """The first answer, and that the topic is there afterwards."""
    t.ask(one(t, t.name(), True))
    t.await_topic(t.name(), 4)
    t.ask(one(t, t.name(), True))


@case(API, versions=(10, 13))
def by_id(t: Talk) -> None:
    """A topic by its id; Kafka takes ids from v12 on (names null)."""
    topic = t.topic()
    t.ask({"Topics": [{"TopicId": topic.id, "Name": None}], "AllowAutoTopicCreation": False})


@case(API, versions=(10, 13))
def by_id_and_name(t: Talk) -> None:
    """Both given."""
    topic = t.topic()
    t.ask({"Topics": [{"TopicId": topic.id, "Name": topic.name}], "AllowAutoTopicCreation": False})


@case(API, versions=(10, 13))
def by_ids_known_and_unknown(t: Talk) -> None:
    """Two ids."""
    topic = t.topic()
    t.ask({"Topics": [{"TopicId": topic.id, "Name": None}, {"TopicId": UNKNOWN_ID, "Name": None}], "AllowAutoTopicCreation": False})


@case(API, versions=(10, 13))
def by_id_of_a_deleted_topic(t: Talk) -> None:
    """An id of the past."""
    topic = t.topic()
    t.setup("DeleteTopics", {"Topics": [{"Name": topic.name}], "TopicNames": [topic.name], "TimeoutMs": 5000})
    for _ in range(500):
        seen = t.setup(API, {"Topics": [{"Name": topic.name}], "AllowAutoTopicCreation": False})
        if seen["Topics"][0]["ErrorCode"] == 3:
            break
    t.ask({"Topics": [{"TopicId": topic.id, "Name": None}], "AllowAutoTopicCreation": False})


simple(API, "no-topics", lambda t: {"Topics": [], "AllowAutoTopicCreation": False}, (1, 13))
simple(API, "unknown-topic", lambda t: one(t, t.name()))
simple(API, "unknown-topic-v0-default", lambda t: {"Topics": [{"Name": t.name("x:y")}]})
simple(API, "unknown-id", lambda t: {"Topics": [{"TopicId": UNKNOWN_ID, "Name": None}], "AllowAutoTopicCreation": False}, (10, 13))
simple(API, "zero-id-null-name", lambda t: {"Topics": [{"TopicId": ZERO_ID, "Name": None}], "AllowAutoTopicCreation": False}, (10, 13))
for label, name in {
    "empty": "", "dot": ".", "dots": "..", "space": "a b", "slash": "a/b", "umlaut": "ä", "249": "x" * 249, "250": "x" * 250,
    "nul": "a\0b", "cluster-metadata": "__cluster_metadata",
}.items():
    for create in (False, True):
        if label in ("249",) and create:
            continue
        simple(API, f"name-{label}{'-create' if create else ''}", lambda t, n=name, c=create: one(t, n, c), (4, 13))
spoiled(API, lambda t: one(t, t.name()))


@case(API, versions=(8, 13))
def authorized_operations(t: Talk) -> None:
    """What the asker may do: all, where nobody is asked who he is. v11 took the cluster's flag away."""
    body = {**one(t, t.topic().name), "IncludeTopicAuthorizedOperations": True}
    t.ask({**body, "IncludeClusterAuthorizedOperations": True})
    t.ask(body)
