#!/usr/bin/env python3
"""The oracle's own eyes, without a broker: every message of every version there and back, the CRC, batches, versions in words."""

from __future__ import annotations

import sys
import unittest

sys.dont_write_bytecode = True

import batch  # noqa: E402 (nothing may be written beside the sources)
import cases  # noqa: E402
import codec  # noqa: E402
import compare  # noqa: E402
import oracle  # noqa: E402
import schema  # noqa: E402


class Tests(unittest.TestCase):
    """See the top."""

    def test_every_message_there_and_back(self) -> None:
        """Defaults, in each version; a byte more or less is refused."""
        for api in schema.keys().values():
            for kind in ("Request", "Response"):
                message = schema.message(api + kind)
                for version in range(message.valid[0], message.valid[1] + 1):
                    with self.subTest(api=api, kind=kind, version=version):
                        coder = codec.Coder(message, version)
                        data = coder.encode({})
                        self.assertEqual(coder.encode(coder.decode(data)), data)
                        with self.assertRaises(codec.Malformed):
                            coder.decode(data + b"\0")
                        if data:
                            with self.assertRaises(codec.Malformed):
                                coder.decode(data[:-1])

    def test_known_bytes(self) -> None:
        """A header and a body, as Kafka's documentation draws them."""
        self.assertEqual(codec.request("ApiVersions", 3, {"ClientSoftwareName": "a", "ClientSoftwareVersion": "b"}, 7, "c").hex(),
                         "00120003" "00000007" "000163" "00" "0261" "0262" "00")
        self.assertEqual(batch.crc32c(b"123456789"), 0xE3069283)

    def test_batch_there_and_back(self) -> None:
        """What is built is what is parsed; a cut is seen."""
        data = batch.batch([batch.Record(None, b"v", ((b"h", None),), ts_delta=-3)], timestamp=9, codec=batch.GZIP)
        found = batch.parse(data + data[:30])
        self.assertEqual(found[1], {"Cut": 30})
        self.assertTrue(found[0]["CrcFits"])
        self.assertEqual(found[0]["Records"], [
            {"TimestampDelta": -3, "OffsetDelta": 0, "Key": None, "Value": "v", "Headers": [["h", None]]}])

    def test_diff(self) -> None:
        """Types count, and so does what is absent."""
        self.assertEqual([(d.path, d.kafka, d.chronos) for d in compare.diff(("1",), {"a": [0], "b": 1}, {"a": [False, 2], "c": 1})],
                         [("1.a[0]", "0", "False"), ("1.a[1]", "<absent>", "2"), ("1.b", "1", "<absent>"), ("1.c", "<absent>", "1")])

    def test_words(self) -> None:
        """Versions in a row are one word; every case has a name of its own and an API that exists."""
        self.assertEqual(oracle.spans([5, 3, 4, 9, 9]), "3-5,9")
        self.assertLessEqual({c.api for c in cases.load()}, set(schema.keys().values()))


if __name__ == "__main__":
    unittest.main()
