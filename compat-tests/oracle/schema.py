"""Kafka's own message schemas, read at run time from the jar of the Kafka that is asked.

Why from the jar: the schema and the broker then are always of one version, and nothing of Kafka's is copied into this tree.
"""

from __future__ import annotations

import functools
import json
import os
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NEVER = (1, 0)
PRIMITIVES = {
    "bool", "int8", "int16", "uint16", "int32", "uint32", "int64", "float64", "string", "uuid", "bytes", "records",
}


def libs() -> Path:
    """The folder that `kafka-peer` fills with the jars."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(os.environ.get("KAFKA_PEER_LIBS") or f"{cache}/kafka-peer-4.3.1")


def parse_range(text: str | None) -> tuple[int, int]:
    """`"3+"`, `"0-2"`, `"4"` or `"none"` as an inclusive pair."""
    if text is None or text == "none":
        return NEVER
    if text.endswith("+"):
        return int(text[:-1]), 32767
    low, _, high = text.partition("-")
    return int(low), int(high or low)


def within(version: int, bounds: tuple[int, int]) -> bool:
    """Whether a version lies in an inclusive pair."""
    return bounds[0] <= version <= bounds[1]


@dataclass(frozen=True)
class Field:
    """One field of a struct, with everything the wire depends on."""

    name: str
    kind: str  # a primitive, a struct's name, or "[]" and one of them
    versions: tuple[int, int]
    nullable: tuple[int, int]
    tagged: tuple[int, int]
    tag: int | None
    default: Any
    map_key: bool

    @property
    def is_array(self) -> bool:
        """Whether this is an array."""
        return self.kind.startswith("[]")

    @property
    def element(self) -> str:
        """The type of an element, or of the field itself."""
        return self.kind.removeprefix("[]")


@dataclass
class Message:
    """A request or a response."""

    name: str
    key: int
    valid: tuple[int, int]
    flexible: tuple[int, int]
    fields: list[Field]
    structs: dict[str, list[Field]] = field(default_factory=dict)


def _default(spec: dict[str, Any], kind: str) -> Any:
    """The value that Kafka's generated code gives a field that nobody set."""
    raw = spec.get("default")
    if kind.startswith("[]"):
        return None if raw == "null" else []
    if raw == "null":
        return None
    if kind == "bool":
        return str(raw).lower() == "true"
    if kind == "float64":
        return float(raw or 0)
    if kind in ("string",):
        return raw or ""
    if kind == "uuid":
        return "0" * 32
    if kind in ("bytes", "records"):
        return None if raw == "null" else b""
    if kind in PRIMITIVES:
        return int(str(raw), 0) if raw not in (None, "") else 0
    return {}


def _fields(specs: list[dict[str, Any]], structs: dict[str, list[Field]]) -> list[Field]:
    """Fields, and as a side effect the structs that they hold."""
    made = []
    for spec in specs:
        kind = spec["type"]
        element = kind.removeprefix("[]")
        if "fields" in spec:
            structs[element] = _fields(spec.get("fields", []), structs)
        name = spec["name"]
        made.append(Field(
            name=name[0].upper() + name[1:],
            kind=kind,
            versions=parse_range(spec.get("versions")),
            nullable=parse_range(spec.get("nullableVersions")),
            tagged=parse_range(spec.get("taggedVersions")),
            tag=spec.get("tag"),
            default=_default(spec, kind),
            map_key=bool(spec.get("mapKey")),
        ))
    return made


def _strip(text: str) -> str:
    """JSON without the `//` comments; no schema has `//` inside a string except in prose, where the cut would break the JSON."""
    lines = []
    for line in text.splitlines():
        if line.lstrip().startswith("//"):
            continue
        lines.append(line)
    return "\n".join(lines)


@functools.cache
def _jar() -> zipfile.ZipFile:
    found = sorted(libs().glob("kafka-clients-*.jar"))
    if not found:
        raise SystemExit(f"no kafka-clients jar in {libs()}: run compat-tests/peers/kafka-peer libs")
    return zipfile.ZipFile(found[-1])


@functools.cache
def message(name: str) -> Message:
    """The schema of `ProduceRequest`, `ProduceResponse` and so on."""
    spec = json.loads(_strip(_jar().read(f"common/message/{name}.json").decode()))
    structs: dict[str, list[Field]] = {}
    for common in spec.get("commonStructs", []):
        structs[common["name"]] = _fields(common["fields"], structs)
    fields = _fields(spec.get("fields", []), structs)
    return Message(
        name=spec["name"],
        key=spec.get("apiKey", -1),
        valid=parse_range(spec["validVersions"]),
        flexible=parse_range(spec.get("flexibleVersions")),
        fields=fields,
        structs=structs,
    )


@functools.cache
def keys() -> dict[int, str]:
    """Every API key with its name."""
    names = [n.removeprefix("common/message/").removesuffix("Request.json")
             for n in _jar().namelist() if n.startswith("common/message/") and n.endswith("Request.json")]
    return {message(f"{n}Request").key: n for n in names}
