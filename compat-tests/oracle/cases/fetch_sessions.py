"""Fetch sessions (KIP-227), v7 and up."""

from __future__ import annotations

from typing import Any

from cases import case
from cases.helpers import fetch_body, filled, some
from talk import Talk, Topic

API = "Fetch"
SINCE = (7, 18)


def opened(t: Talk, *asked: tuple[Topic, int, int]) -> int:
    """A new session, its first answer compared; its id."""
    answer = t.ask(fetch_body(*asked, SessionId=0, SessionEpoch=0), label="open")
    return answer["SessionId"] if answer else 0


def again(t: Talk, session: int, epoch: int, *asked: tuple[Topic, int, int], forget: tuple[Topic, int] | None = None, **more: Any) -> None:
    """An incremental question."""
    body = fetch_body(*asked, SessionId=session, SessionEpoch=epoch, **more)
    if forget:
        body["ForgottenTopicsData"] = [{"Topic": forget[0].name, "TopicId": forget[0].id, "Partitions": [forget[1]]}]
    t.ask(body)


@case(API, SINCE)
def session_open_and_nothing_new(t: Talk) -> None:
    """Unchanged partitions are left out; with the offset moved on there is nothing to tell."""
    topic = t.shared("fetch", filled)
    session = opened(t, (topic, 0, 6), (topic, 1, 0))
    again(t, session, 1)
    again(t, session, 2)


@case(API, SINCE)
def session_same_data_again(t: Talk) -> None:
    """Partitions with data are told again until the offset moves."""
    topic = t.shared("fetch", filled)
    session = opened(t, (topic, 0, 0))
    again(t, session, 1)
    again(t, session, 2, (topic, 0, 3))
    again(t, session, 3, (topic, 0, 6))
    again(t, session, 4)


@case(API, SINCE)
def session_sees_new_records(t: Talk) -> None:
    """A partition that grows is told."""
    topic = t.topic(partitions=2)
    session = opened(t, (topic, 0, 0), (topic, 1, 0))
    t.produce(topic, some(t), 1)
    again(t, session, 1, MinBytes=1, MaxWaitMs=3000)
    again(t, session, 2, (topic, 1, 1))
    again(t, session, 3)


@case(API, SINCE)
def session_adds_and_forgets(t: Talk) -> None:
    """Partitions come and go."""
    topic = t.shared("fetch", filled)
    session = opened(t, (topic, 1, 0))
    again(t, session, 1, (topic, 0, 5))
    again(t, session, 2, forget=(topic, 0))
    again(t, session, 3, forget=(topic, 1))
    again(t, session, 4)


@case(API, SINCE)
def session_forgets_what_it_has_not(t: Talk) -> None:
    """Kafka does not mind."""
    topic = t.shared("fetch", filled)
    session = opened(t, (topic, 1, 0))
    again(t, session, 1, forget=(topic, 7))


@case(API, SINCE)
def session_wrong_epoch(t: Talk) -> None:
    """Neither ahead nor twice; the session lives on."""
    topic = t.shared("fetch", filled)
    session = opened(t, (topic, 0, 5))
    again(t, session, 5)
    again(t, session, 1)
    again(t, session, 1)
    again(t, session, 2)


@case(API, SINCE)
def session_unknown(t: Talk) -> None:
    """An id that nobody was given."""
    topic = t.shared("fetch", filled)
    again(t, 123_456, 1, (topic, 0, 5))
    again(t, 123_456, 0, (topic, 0, 5))
    again(t, 123_456, -1, (topic, 0, 5))


@case(API, SINCE)
def session_zero_with_epoch(t: Talk) -> None:
    """Session 0 with epoch 1 is no session."""
    again(t, 0, 1, (t.shared("fetch", filled), 0, 5))


@case(API, SINCE)
def session_epoch_below_minus_one(t: Talk) -> None:
    """No such epoch."""
    again(t, 0, -7, (t.shared("fetch", filled), 0, 5))


@case(API, SINCE)
def session_closed(t: Talk) -> None:
    """Epoch -1 closes; what follows is unknown."""
    topic = t.shared("fetch", filled)
    session = opened(t, (topic, 0, 5))
    again(t, session, -1)
    again(t, session, 1)


@case(API, SINCE)
def session_opened_anew(t: Talk) -> None:
    """Epoch 0 with an id replaces the session."""
    topic = t.shared("fetch", filled)
    session = opened(t, (topic, 0, 5))
    again(t, session, 0, (topic, 1, 0))
    again(t, session, 1)


@case(API, SINCE)
def session_open_empty(t: Talk) -> None:
    """A session of nothing."""
    session = opened(t)
    again(t, session, 1)


@case(API, SINCE)
def session_with_errors(t: Talk) -> None:
    """Unknown partitions and offsets out of range are told every time."""
    topic = t.shared("fetch", filled)
    session = opened(t, (topic, 9, 0), (topic, 0, 99))
    again(t, session, 1)
    again(t, session, 2, (topic, 0, 6))


@case(API, SINCE)
def session_with_unknown_topic(t: Talk) -> None:
    """An unknown topic in a session."""
    topic = t.shared("fetch", filled)
    session = opened(t, (t.missing(), 0, 0), (topic, 0, 5))
    again(t, session, 1)


@case(API, SINCE)
def session_on_another_connection(t: Talk) -> None:
    """A session belongs to the client, not to its connection."""
    topic = t.shared("fetch", filled)
    session = opened(t, (topic, 0, 5))
    t.reconnect()
    again(t, session, 1)


@case(API, SINCE)
def session_sees_deletion(t: Talk) -> None:
    """A topic that goes away under a session."""
    topic = t.topic()
    session = opened(t, (topic, 0, 0))
    t.setup("DeleteTopics", {"Topics": [{"Name": topic.name}], "TopicNames": [topic.name], "TimeoutMs": 5000})
    for _ in range(500):
        if t.setup("Metadata", {"Topics": [{"Name": topic.name}], "AllowAutoTopicCreation": False})["Topics"][0]["ErrorCode"] == 3:
            break
    again(t, session, 1, MinBytes=1, MaxWaitMs=2000)
