"""The registry of cases, and the small words that they share. One module per API; importing it registers its cases."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from talk import Talk

Run = Callable[[Talk], None]


@dataclass(frozen=True)
class Case:
    """One case; it runs once for each version that Kafka answers, unless `versions` narrows that."""

    api: str
    name: str
    run: Run
    versions: tuple[int, int] | None = None
    alone: bool = False  # looks at the whole cluster: runs first, and with nothing beside it


REGISTRY: list[Case] = []


def add(api: str, name: str, run: Run, versions: tuple[int, int] | None = None, alone: bool = False) -> None:
    """Registers a case; names are unique in an API."""
    assert not any(c.api == api and c.name == name for c in REGISTRY), f"{api}: {name} twice"
    REGISTRY.append(Case(api, name, run, versions, alone))


def case(api: str, versions: tuple[int, int] | None = None, alone: bool = False) -> Callable[[Run], Run]:
    """Registers a function under its own name."""
    def register(run: Run) -> Run:
        add(api, run.__name__.strip("_").replace("_", "-"), run, versions, alone)
        return run
    return register


def simple(api: str, name: str, make: Callable[[Talk], dict[str, Any]], versions: tuple[int, int] | None = None) -> None:
    """A case of one question."""
    add(api, name, lambda t: t.ask(make(t)) and None, versions)


def spoiled(api: str, make: Callable[[Talk], dict[str, Any]], trim: Callable[[Talk, Any], None] = lambda _, __: None) -> None:
    """What every API must withstand: a body that is cut, one with bytes left over, an empty one, and unknown tags. `trim` takes out of
    an answer what others did."""
    add(api, "body-cut-by-one", lambda t: trim(t, t.ask_bytes(t.encode(make(t))[:-1])))
    add(api, "body-with-bytes-left-over", lambda t: trim(t, t.ask_bytes(t.encode(make(t)) + b"\0\0\0")))
    add(api, "body-empty", lambda t: trim(t, t.ask_bytes(b"")))
    add(api, "body-with-unknown-tag", lambda t: trim(t, t.ask({**make(t), "_tags": {99: b"??"}})))


def load() -> list[Case]:
    """Every case there is."""
    for module in sorted(m.name for m in pkgutil.iter_modules(__path__)):
        importlib.import_module(f"cases.{module}")
    return REGISTRY
