"""Copies bytes from publishers to all subscribers and does nothing else: the fastest broker.

It parses no packet beyond the handshake and the size of the first PUBLISH, so its rate is what
the generator, the loopback and one core allow: the ceiling of a scenario.
"""

import selectors
import socket
import sys
from collections.abc import Callable

from benchmarks.packets import (
    CONNACK_ACCEPTED,
    PUBLISH_QOS_1,
    READ_BYTES,
    Ring,
    encode_pubacks,
    encode_suback,
)

SUBSCRIBE = 0x82

Role = Callable[[socket.socket, bytes], None]


class Mirror:
    """Accepts clients; what a client's next bytes mean is its role."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._roles: dict[socket.socket, Role] = {}
        self._subscribers: list[socket.socket] = []
        self._held: dict[socket.socket, bytearray] = {}

    def run(self) -> None:
        """Serve until the process is ended."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket):
                    self._serve(key.fileobj)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._roles[client] = self._greet
        self._selector.register(client, selectors.EVENT_READ)

    def _serve(self, client: socket.socket) -> None:
        try:
            received = client.recv(READ_BYTES)
            if received:
                self._roles[client](client, received)
                return
        except OSError:
            pass  # a client that is gone, as a run's clients are in the end
        self._close(client)

    def _greet(self, client: socket.socket, _connect: bytes) -> None:
        client.sendall(CONNACK_ACCEPTED)
        self._roles[client] = self._choose

    def _choose(self, client: socket.socket, received: bytes) -> None:
        if received[0] == SUBSCRIBE:
            client.sendall(encode_suback(received[-1]))
            self._subscribers.append(client)
            self._roles[client] = self._ignore
            return
        self._held[client] = bytearray()
        acknowledges = received[0] == PUBLISH_QOS_1
        self._roles[client] = self._copy_and_acknowledge if acknowledges else self._copy
        self._roles[client](client, received)

    def _ignore(self, client: socket.socket, received: bytes) -> None:
        """Take a subscriber's acknowledgements."""

    def _copy(self, _client: socket.socket, received: bytes) -> None:
        for subscriber in self._subscribers:
            subscriber.sendall(received)

    def _copy_and_acknowledge(self, client: socket.socket, received: bytes) -> None:
        held = self._held[client]
        held += received
        ring = _shape_of(held)
        whole = len(held) // ring.packet_bytes * ring.packet_bytes
        self._copy(client, bytes(held[:whole]))
        client.sendall(encode_pubacks(held[:whole], ring))
        del held[:whole]

    def _close(self, client: socket.socket) -> None:
        self._selector.unregister(client)
        self._roles.pop(client)
        self._held.pop(client, None)
        if client in self._subscribers:
            self._subscribers.remove(client)
        client.close()


def _shape_of(publish: bytearray) -> Ring:
    """Return where the packet id is; all packets are of the first one's size, below 130 bytes."""
    topic_bytes = int.from_bytes(publish[2:4], "big")
    return Ring(b"", (0, publish[1] + 2), topic_bytes + 6, topic_bytes + 4)


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=1024) as server:
        Mirror(server).run()
