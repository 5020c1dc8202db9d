"""A proxy in front of a broker that keeps the requests that real clients send."""

import collections
import socket
import struct
import threading


class Recorder(threading.Thread):
    """A proxy that keeps each request it passes on, per API and version a few."""

    def __init__(self, target):
        super().__init__(daemon=True)
        self.target, self.frames = target, collections.defaultdict(list)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def run(self):
        while True:
            client, _ = self.listener.accept()
            server = socket.create_connection(("127.0.0.1", self.target))
            threading.Thread(target=self.requests, args=[client, server], daemon=True).start()
            threading.Thread(target=pump, args=[server, client], daemon=True).start()

    def requests(self, client, server):
        stream = client.makefile("rb")
        while len(head := stream.read(4)) == 4:
            body = stream.read(struct.unpack(">i", head)[0])
            kept = self.frames[struct.unpack(">hh", body[:4])]
            if len(kept) < 12 and len(body) < 20_000:
                kept.append(body)
            server.sendall(head + body)
        server.close()


def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    sink.close()
