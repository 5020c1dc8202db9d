"""Any Kafka message to bytes and back, driven by the schema.

Why not a library: the two sides must be read by the same eyes, and those eyes must not be the codec that ChronosDB uses. The decoder
insists on the last byte, and keeps apart what other decoders blur: a tag that is absent and a tag that holds its default.
"""

from __future__ import annotations

import struct
import uuid
from typing import Any

from schema import Field, Message, message, within  # noqa: F401 (message is used by talk.py)

_FIXED = {"int8": ">b", "int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I", "int64": ">q", "float64": ">d"}


class Malformed(Exception):
    """Bytes that are not the message they should be."""


def uvarint(value: int) -> bytes:
    """An unsigned varint."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class Reader:
    """A cursor that never reads past the end."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        """The next bytes."""
        if count < 0 or self.at + count > len(self.data):
            raise Malformed(f"{count} bytes wanted at {self.at} of {len(self.data)}")
        self.at += count
        return self.data[self.at - count:self.at]

    def fixed(self, kind: str) -> Any:
        """A number of fixed width."""
        form = _FIXED[kind]
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def uvarint(self) -> int:
        """An unsigned varint."""
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise Malformed("a varint without end")

    @property
    def left(self) -> int:
        """How many bytes remain."""
        return len(self.data) - self.at


class Coder:
    """One message in one version."""

    def __init__(self, schema: Message, version: int) -> None:
        self.schema, self.version = schema, version
        self.flexible = within(version, schema.flexible)

    # Encoding

    def encode(self, value: dict[str, Any]) -> bytes:
        """The body; a key that no version of the schema knows is a typing error and refused."""
        return self._put_struct(self.schema.fields, value, self.schema.name)

    def _put_struct(self, fields: list[Field], value: dict[str, Any], where: str) -> bytes:
        unknown = set(value) - {f.name for f in fields} - {"_tags"}
        if unknown:
            raise KeyError(f"{where} has no {sorted(unknown)}")
        out, tags = bytearray(), dict(value.get("_tags", {}))
        for f in fields:
            if not within(self.version, f.versions):
                continue
            if f.tag is not None and within(self.version, f.tagged):
                if f.name in value:
                    tags[f.tag] = self._put(f, value[f.name], where)
                continue
            out += self._put(f, value.get(f.name, f.default), where)
        if self.flexible:
            out += uvarint(len(tags))
            for tag, data in sorted(tags.items()):
                out += uvarint(tag) + uvarint(len(data)) + data
        return bytes(out)

    def _put(self, f: Field, value: Any, where: str) -> bytes:
        if f.is_array:
            if value is None:
                return b"\0" if self.flexible else struct.pack(">i", -1)
            head = uvarint(len(value) + 1) if self.flexible else struct.pack(">i", len(value))
            return head + b"".join(self._put_one(f, f.element, v, where) for v in value)
        return self._put_one(f, f.kind, value, where)

    def _put_one(self, f: Field, kind: str, value: Any, where: str) -> bytes:
        if kind == "bool":
            return bytes([1 if value else 0])
        if kind in _FIXED:
            return struct.pack(_FIXED[kind], value)
        if kind == "uuid":
            return bytes.fromhex(value)
        if kind in ("string", "bytes", "records"):
            data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
            if self.flexible:
                return b"\0" if data is None else uvarint(len(data) + 1) + data
            form = ">h" if kind == "string" else ">i"
            return struct.pack(form, -1) if data is None else struct.pack(form, len(data)) + data
        if value is None:
            return b"\xff"
        mark = b"\x01" if not f.is_array and within(self.version, f.nullable) else b""
        return mark + self._put_struct(self.schema.structs[kind], value, f"{where}.{f.name}")

    # Decoding

    def decode(self, data: bytes) -> dict[str, Any]:
        """The body, which must be all of the bytes."""
        reader = Reader(data)
        value = self._get_struct(reader, self.schema.fields)
        if reader.left:
            raise Malformed(f"{reader.left} bytes left over after {self.schema.name} v{self.version}")
        return value

    def _get_struct(self, reader: Reader, fields: list[Field]) -> dict[str, Any]:
        value: dict[str, Any] = {}
        tagged = {}
        for f in fields:
            if not within(self.version, f.versions):
                continue
            if f.tag is not None and within(self.version, f.tagged):
                tagged[f.tag] = f
                continue
            value[f.name] = self._get(reader, f)
        if self.flexible:
            last = -1
            for _ in range(reader.uvarint()):
                tag, size = reader.uvarint(), reader.uvarint()
                if tag <= last:
                    raise Malformed(f"tag {tag} after {last}")
                last = tag
                inner = Reader(reader.take(size))
                if tag in tagged:
                    value[tagged[tag].name] = self._get(inner, tagged[tag])
                    if inner.left:
                        raise Malformed(f"tag {tag}: {inner.left} bytes left over")
                else:
                    value.setdefault("_tags", {})[tag] = inner.data
        return value

    def _get(self, reader: Reader, f: Field) -> Any:
        if not f.is_array:
            return self._get_one(reader, f, f.kind)
        count = reader.uvarint() - 1 if self.flexible else reader.fixed("int32")
        if count < 0:
            if not within(self.version, f.nullable):
                raise Malformed(f"{f.name} is null")
            return None
        if count > reader.left:
            raise Malformed(f"{f.name} announces {count} elements in {reader.left} bytes")
        return [self._get_one(reader, f, f.element) for _ in range(count)]

    def _get_one(self, reader: Reader, f: Field, kind: str) -> Any:
        if kind == "bool":
            return reader.take(1)[0] != 0
        if kind in _FIXED:
            return reader.fixed(kind)
        if kind == "uuid":
            return reader.take(16).hex()
        if kind in ("string", "bytes", "records"):
            if self.flexible:
                size = reader.uvarint() - 1
            else:
                size = reader.fixed("int16" if kind == "string" else "int32")
            if size < 0:
                if f.is_array or not within(self.version, f.nullable):
                    raise Malformed(f"{f.name} is null")
                return None
            data = reader.take(size)
            return data.decode() if kind == "string" else data
        if not f.is_array and within(self.version, f.nullable) and reader.fixed("int8") < 0:
            return None
        return self._get_struct(reader, self.schema.structs[kind])


def request(api: str, version: int, body: dict[str, Any], correlation: int, client: str | None = "oracle") -> bytes:
    """Header and body, without the frame's length; header v2 in flexible versions, else v1."""
    coder = Coder(message(f"{api}Request"), version)
    return header(coder.schema.key, version, correlation, coder.flexible, client) + coder.encode(body)


def header(key: int, version: int, correlation: int, flexible: bool, client: str | None = "oracle") -> bytes:
    """A request header."""
    name = b"\xff\xff" if client is None else struct.pack(">h", len(client)) + client.encode()
    return struct.pack(">hhi", key, version, correlation) + name + (b"\0" if flexible else b"")


def response(api: str, version: int, data: bytes) -> tuple[int, dict[str, Any]]:
    """The correlation id and the body. ApiVersions always has header v0, so that a client can read it before it knows the broker."""
    coder = Coder(message(f"{api}Response"), version)
    reader = Reader(data)
    correlation = reader.fixed("int32")
    if coder.flexible and api != "ApiVersions":
        for _ in range(reader.uvarint()):
            reader.uvarint()
            reader.take(reader.uvarint())
    return correlation, coder.decode(data[reader.at:])


def random_uuid() -> str:
    """A uuid as the codec shows it."""
    return uuid.uuid4().hex
