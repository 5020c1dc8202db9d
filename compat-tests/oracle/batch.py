"""Record batches of format v2: built by hand, so that they can also be built wrong, and parsed for comparison."""

from __future__ import annotations

import gzip
import struct
from dataclasses import dataclass
from typing import Any

from codec import Malformed, Reader, uvarint

HEADER_SIZE = 61
NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
LOG_APPEND_TIME, TRANSACTIONAL, CONTROL, DELETE_HORIZON = 0x08, 0x10, 0x20, 0x40


def _table() -> list[int]:
    table = []
    for i in range(256):
        for _ in range(8):
            i = i >> 1 ^ (0x82F63B78 if i & 1 else 0)
        table.append(i)
    return table


_CRC = _table()


def crc32c(data: bytes) -> int:
    """Castagnoli's checksum, as the batch header wants it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def varint(value: int) -> bytes:
    """A signed (zigzag) varint."""
    return uvarint((value << 1) ^ (value >> 63) if value < 0 else value << 1)


def _blob(data: bytes | None) -> bytes:
    return varint(-1) if data is None else varint(len(data)) + data


@dataclass(frozen=True)
class Record:
    """One record; `delta` overrides its place in the batch, `size` lies about its length."""

    key: bytes | None = b"k"
    value: bytes | None = b"v"
    headers: tuple[tuple[bytes, bytes | None], ...] = ()
    ts_delta: int = 0
    delta: int | None = None
    attributes: int = 0
    size: int | None = None

    def encode(self, place: int) -> bytes:
        """The record at a place of its batch."""
        body = bytes([self.attributes]) + varint(self.ts_delta) + varint(place if self.delta is None else self.delta)
        body += _blob(self.key) + _blob(self.value) + varint(len(self.headers))
        for name, value in self.headers:
            body += _blob(name) + _blob(value)
        return varint(len(body) if self.size is None else self.size) + body


def batch(
    records: list[Record],
    *,
    timestamp: int,
    max_timestamp: int | None = None,
    base_offset: int = 0,
    leader_epoch: int = -1,
    magic: int = 2,
    codec: int = NONE,
    flags: int = 0,
    last_offset_delta: int | None = None,
    count: int | None = None,
    producer_id: int = -1,
    producer_epoch: int = -1,
    sequence: int = -1,
    length: int | None = None,
    crc: int | None = None,
    payload: bytes | None = None,
    tail: bytes = b"",
) -> bytes:
    """A batch; every header field can be set to something that does not fit. The CRC is right unless given."""
    body = payload
    if body is None:
        body = b"".join(r.encode(i) for i, r in enumerate(records))
        if codec == GZIP:
            body = gzip.compress(body, mtime=0)
    if max_timestamp is None:
        max_timestamp = timestamp + max((r.ts_delta for r in records), default=0)
    covered = struct.pack(
        ">hiqqqhii", codec | flags, len(records) - 1 if last_offset_delta is None else last_offset_delta, timestamp, max_timestamp,
        producer_id, producer_epoch, sequence, len(records) if count is None else count,
    ) + body + tail
    checksum = crc32c(covered) if crc is None else crc
    size = 9 + len(covered) if length is None else length
    return struct.pack(">qiibI", base_offset, size, leader_epoch, magic, checksum) + covered


def legacy(magic: int, timestamp: int, key: bytes = b"k", value: bytes = b"v") -> bytes:
    """A message of format 0 or 1, which Kafka has not taken from producers since 4.0."""
    import zlib

    body = struct.pack(">bb", magic, 0) + (struct.pack(">q", timestamp) if magic else b"")
    body += struct.pack(">i", len(key)) + key + struct.pack(">i", len(value)) + value
    message = struct.pack(">I", zlib.crc32(body)) + body
    return struct.pack(">qi", 0, len(message)) + message


def _varint(reader: Reader) -> int:
    raw = reader.uvarint()
    return raw >> 1 ^ -(raw & 1)


def _get_blob(reader: Reader) -> str | None:
    size = _varint(reader)
    return None if size < 0 else reader.take(size).decode("latin-1")


def _records(data: bytes, count: int) -> list[dict[str, Any]]:
    reader, found = Reader(data), []
    for _ in range(count):
        size = _varint(reader)
        inner = Reader(reader.take(size))
        inner.take(1)
        found.append({
            "TimestampDelta": _varint(inner), "OffsetDelta": _varint(inner), "Key": _get_blob(inner), "Value": _get_blob(inner),
            "Headers": [[_get_blob(inner), _get_blob(inner)] for _ in range(_varint(inner))],
        })
        if inner.left:
            raise Malformed("bytes left over in a record")
    if reader.left:
        raise Malformed("bytes left over after the records")
    return found


def parse(data: bytes) -> list[dict[str, Any]]:
    """What a fetched byte string holds, a batch each; a batch that is cut is shown as such, with its size."""
    found: list[dict[str, Any]] = []
    at = 0
    while at < len(data):
        left = data[at:]
        if len(left) < 12 or len(left) < 12 + struct.unpack_from(">i", left, 8)[0]:
            found.append({"Cut": len(left)})
            break
        base, size, epoch, magic, crc = struct.unpack_from(">qiibI", left)
        whole = left[:12 + size]
        attributes, last, first_ts, max_ts, pid, pepoch, seq, count = struct.unpack_from(">hiqqqhii", whole, 21)
        one: dict[str, Any] = {
            "BaseOffset": base, "PartitionLeaderEpoch": epoch, "Magic": magic, "CrcFits": crc == crc32c(whole[21:]),
            "Attributes": attributes, "LastOffsetDelta": last, "BaseTimestamp": first_ts, "MaxTimestamp": max_ts,
            "ProducerId": pid, "ProducerEpoch": pepoch, "BaseSequence": seq, "Count": count,
        }
        codec = attributes & 7
        body = whole[HEADER_SIZE:]
        if codec == GZIP:
            body = gzip.decompress(body)
        one["Records"] = _records(body, count) if codec in (NONE, GZIP) else body.hex()
        found.append(one)
        at += 12 + size
    return found
