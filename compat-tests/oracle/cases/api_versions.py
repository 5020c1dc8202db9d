"""ApiVersions 0-4, and frames and headers that make no sense."""

from __future__ import annotations

import struct
from collections.abc import Callable

import codec
from cases import add, case, simple, spoiled
from talk import Talk

API = "ApiVersions"


def hello(name: str = "oracle", version: str = "1.0") -> dict:
    """A client that introduces itself."""
    return {"ClientSoftwareName": name, "ClientSoftwareVersion": version}


simple(API, "hello", lambda t: hello())
for label, (name, version) in {"empty-name": ("", "1"), "empty-version": ("a", ""), "odd-name": ("a b", "1"), "odd-version": ("a", "1/2"),
                               "dash-first": ("-a", "1"), "dots": ("a.b-c", "1.2-x"), "umlaut": ("ä", "1"), "long": ("a" * 1000, "1")}.items():
    simple(API, f"client-{label}", lambda t, n=name, v=version: hello(n, v), (3, 4))
spoiled(API, lambda t: hello())


@case(API)
def twice_on_one_connection(t: Talk) -> None:
    """Asked again."""
    t.ask(hello())
    t.ask(hello())


for number in (5, 99, -1, 32767):  # answered in v0 (KIP-511)
    add(API, f"version-{number}", lambda t, n=number: t.ask_bytes(t.encode(hello()), version=n, answered_in=0) and None, (0, 0))


def frame(name: str, make: Callable[[Talk], bytes], answered_in: int = 0) -> None:
    """A case: a frame by hand, then whether the connection still lives."""
    def run(t: Talk) -> None:
        t.patience = 3.0
        t.ask_frame(make(t), answered_in)
    run.__name__ = f"frame_{name.replace('-', '_')}"
    case(API, versions=(0, 0))(run)


frame("empty", lambda t: b"")
frame("one-byte", lambda t: b"\0")
frame("key-only", lambda t: struct.pack(">h", 18))
frame("no-client-id", lambda t: struct.pack(">hhi", 18, 0, 7))
frame("null-client-id", lambda t: struct.pack(">hhih", 18, 0, 7, -1))
frame("client-id-too-long", lambda t: struct.pack(">hhih", 18, 0, 7, 100))
frame("client-id-minus-two", lambda t: struct.pack(">hhih", 18, 0, 7, -2))
frame("client-id-not-utf8", lambda t: struct.pack(">hhih", 18, 0, 7, 1) + b"\xff")
frame("unknown-key", lambda t: codec.header(1000, 0, 7, False))
frame("negative-key", lambda t: codec.header(-1, 0, 7, False))
frame("controller-key", lambda t: codec.header(62, 0, 7, True) + b"\0" * 20)
frame("removed-key", lambda t: codec.header(4, 0, 7, False) + b"\0" * 20)
frame("produce-version-2", lambda t: codec.header(0, 2, 7, False) + struct.pack(">hii", -1, 1000, 0))
frame("fetch-version-3", lambda t: codec.header(1, 3, 7, False) + struct.pack(">iiii", -1, 0, 0, 1000) + b"\0" * 4)
frame("metadata-version-too-high", lambda t: codec.header(3, 99, 7, True) + b"\x01\0\0\0")
frame("metadata-version-negative", lambda t: codec.header(3, -1, 7, False) + b"\0" * 8)
frame("header-tags-unknown", lambda t: codec.header(18, 3, 7, True)[:-1] + b"\x01\x63\x02ab" + b"\x02a\x02b\0", answered_in=3)


def raw(name: str, data: bytes) -> None:
    """A case: bytes that are no frame."""
    def run(t: Talk) -> None:
        t.patience = 3.0
        t.raw(data)
    run.__name__ = f"raw_{name.replace('-', '_')}"
    case(API, versions=(0, 0))(run)


raw("size-negative", struct.pack(">i", -1) + b"\0" * 20)
raw("size-huge", struct.pack(">i", 2**31 - 1) + b"\0" * 20)
raw("size-above-limit", struct.pack(">i", 104_857_601) + b"\0" * 20)
raw("http", b"GET / HTTP/1.1\r\nHost: kafka\r\n\r\n")
raw("tls-hello", bytes.fromhex("16030100c8010000c40303") + b"\0" * 200)


@case(API, versions=(0, 0))
def pipelined_answers_in_order(t: Talk) -> None:
    """Five questions at once."""
    t.raw(b"".join(struct.pack(">i", len(f)) + f for f in (codec.request(API, v, hello(), 100 + v) for v in (0, 1, 2, 3, 4))), frames=5)


@case(API, versions=(0, 0))
def closed_after_bad_frame(t: Talk) -> None:
    """A good question before a bad one is answered."""
    good = codec.request(API, 0, {}, 5)
    bad = codec.header(1000, 0, 6, False)
    t.raw(b"".join(struct.pack(">i", len(f)) + f for f in (good, bad, good)), frames=3)
