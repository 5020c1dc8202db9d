"""Members of groups: what the scenarios about groups ask of them."""

from contextlib import contextmanager
from typing import NamedTuple

from checks import PATIENCE_S, wait_until
from driver import Reader

# Longer than any scenario.
SESSION_MS = 45_000
# Often enough that a rebalance is noticed at once, and a partition that was added.
HEARTBEAT_MS = 200
METADATA_MS = 500


class Committed(NamedTuple):
    offset: int
    metadata: str = ""


class Described(NamedTuple):
    """A member as the broker describes it; its partitions are of one topic."""

    id: str
    client_id: str
    partitions: list


class Group(NamedTuple):
    state: str
    protocol: str
    members: list


class Member(Reader):
    """
    Reads as a member of a group. A subclass has `poll(seconds)`, `commit({partition: offset})` and `close()`, which leaves the
    group unless the member is static, and it calls `gave` and `took` when partitions are given to it or taken from it.
    """

    def __init__(self):
        self.given, self.taken = [], []
        self.partitions = set()
        self._left_group = False

    def __exit__(self, *_):
        self.leave()

    def leave(self):
        if not self._left_group:
            self._left_group = True
            self.close()

    def gave(self, partitions):
        self.given.append(sorted(partitions))
        self.partitions = self.partitions.union(self.given[-1])

    def took(self, partitions):
        self.taken.append(sorted(partitions))
        self.partitions = self.partitions.difference(self.taken[-1])

    def gather(self):
        """What is there for `take`, with what a poll gives now."""
        self._left.extend(self.poll(0.02))
        return self._left


def gather(members):
    """Clients rebalance in their polls, so all members are polled in turn. True, to be part of a condition."""
    for member in members:
        member.gather()
    return True


def settle(members, count, seconds=PATIENCE_S):
    """Waits until each of a topic's `count` partitions belongs to one of the members, and each has its share."""

    def shared():
        gather(members)
        all_owned = sorted(p for m in members for p in m.partitions) == list(range(count))
        return all_owned and {len(m.partitions) for m in members} == {count // len(members)}

    try:
        wait_until(f"{count} partitions are shared evenly by {len(members)} members", shared, seconds)
    except AssertionError as error:
        raise AssertionError(f"{error}, they have {[sorted(m.partitions) for m in members]}") from None


@contextmanager
def sharing(driver, topic, group, count, **options):
    """Two members that have half of the topic's `count` partitions each."""
    with driver.join(topic, group, **options) as one, driver.join(topic, group, **options) as other:
        settle([one, other], count)
        yield one, other
