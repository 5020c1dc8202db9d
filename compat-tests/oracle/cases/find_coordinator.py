"""FindCoordinator 0-6."""

from __future__ import annotations

from cases import add, case, simple, spoiled
from cases.group_helpers import find, group
from talk import Talk

API = "FindCoordinator"


def named(label: str, name: str) -> None:
    """A case of a group of this name."""
    def run(t: Talk) -> None:
        group(t)
        t.ask(find(name))
    add(API, label, run)


named("group", "g")
named("group-empty-name", "")
named("group-space", "a b")
named("group-umlaut", "ä")
named("group-long-name", "x" * 300)


@case(API, (4, 6))
def groups_in_one_request(t: Talk) -> None:
    """Answered in the order of the question; a name that comes twice is answered twice or once."""
    group(t)
    t.ask(find("b", "a", "c"))
    t.ask(find("a", "a"))
    t.ask(find("a", "", "b"))


simple(API, "type-unknown", lambda t: find("x", kind=9), (1, 6))
simple(API, "type-negative", lambda t: find("x", kind=-1), (1, 6))
simple(API, "type-unknown-no-keys", lambda t: find(kind=9), (4, 6))
simple(API, "share-bad-key", lambda t: find("x", kind=2), (1, 6))
simple(API, "share-bad-keys", lambda t: find("x", "", "a:b:c", kind=2), (4, 6))
simple(API, "no-keys", lambda t: find(), (4, 6))
spoiled(API, lambda t: find("x", kind=9))
