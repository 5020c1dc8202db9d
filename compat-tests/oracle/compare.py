"""Two conversations side by side."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

ABSENT = "<absent>"
TEXTS = ("ErrorMessage", "BatchIndexErrorMessage", "Documentation")
ERROR = ("ErrorCode", "ErrorMessage")


@dataclass(frozen=True)
class Diff:
    """One place where the answers differ."""

    parts: tuple[str, ...]
    kafka: str
    chronos: str

    @property
    def path(self) -> str:
        """The parts as one word: `1.Topics.~.t.ErrorCode`."""
        return ".".join(self.parts).replace(".[", "[")

    @property
    def anywhere(self) -> tuple[str, str, str]:
        """The same without the step and without names and numbers of elements, to find what differs everywhere."""
        parts = ["*" if re.match(r"~|\[|\d|shared|<", p) else p for p in self.parts[1:]]
        return ".".join(parts), self.kafka, self.chronos

    @property
    def is_text(self) -> bool:
        """Both have a message for people, and only the words differ."""
        return self.parts[-1] in TEXTS and all(v[0] in "'\"" for v in (self.kafka, self.chronos))


def show(value: Any) -> str:
    """A value, short enough to read."""
    text = value if value == ABSENT else repr(value)
    return text if len(text) <= 400 else f"{text[:400]}… ({len(text)})"


def diff(path: tuple[str, ...], kafka: Any, chronos: Any) -> list[Diff]:
    """Where two masked values differ, down to the leaves."""
    if isinstance(kafka, dict) and isinstance(chronos, dict):
        found = []
        if kafka.get("ErrorCode") != chronos.get("ErrorCode"):  # the other fields follow from the error: shown once it agrees
            kafka, chronos = ({k: v for k, v in side.items() if k in ERROR} for side in (kafka, chronos))
        for key in list(kafka) + [k for k in chronos if k not in kafka]:
            found += diff((*path, str(key)), kafka.get(key, ABSENT), chronos.get(key, ABSENT))
        return found
    if isinstance(kafka, list) and isinstance(chronos, list):
        found = []
        for i in range(max(len(kafka), len(chronos))):
            found += diff((*path, f"[{i}]"), kafka[i] if i < len(kafka) else ABSENT, chronos[i] if i < len(chronos) else ABSENT)
        return found
    if kafka == chronos and type(kafka) is type(chronos):
        return []
    return [Diff(path, show(kafka), show(chronos))]


def conversations(kafka: list[tuple[str, Any]], chronos: list[tuple[str, Any]]) -> list[Diff]:
    """Step by step; a conversation that stops early differs in the step that is missing."""
    found = []
    for i in range(max(len(kafka), len(chronos))):
        label = (kafka[i] if i < len(kafka) else chronos[i])[0]
        left = kafka[i][1] if i < len(kafka) else ABSENT
        right = chronos[i][1] if i < len(chronos) else ABSENT
        found += diff((label,), left, right)
    return found
