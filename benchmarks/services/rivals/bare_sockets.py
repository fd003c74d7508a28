"""Passes bytes on as a broker and a handler would, and reads none: the floor of the machine.

`python -m benchmarks.services.rivals.bare_sockets` prints its ports: of the device, and of the
subscriber. One process stands for the gateway, the other for the handler; a Unix socket joins them.
With the argument "asyncio", Python's event loop and its transports do it: the floor of any program
that is written for asyncio.
"""

import asyncio
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import cast

from benchmarks.brokers import ROOT
from benchmarks.errors import PeerError

READ_BYTES = 65_536
PROBE_BYTES = 110  # about those of the message
ANSWER_S = 20.0
ASYNCIO = "asyncio"


def probe_bare_sockets(count: int, pause_s: float, *, with_asyncio: bool = False) -> list[float]:
    """Send one message after the other; return the seconds until each came back."""
    times = []
    with _running(with_asyncio=with_asyncio) as (device, subscriber):
        for _ in range(count):
            time.sleep(pause_s)
            began = time.perf_counter()
            device.sendall(b"x" * PROBE_BYTES)
            got = 0
            while got < PROBE_BYTES:
                got += len(subscriber.recv(READ_BYTES)) or _fail()
            times.append(time.perf_counter() - began)
    return times


@contextmanager
def _running(*, with_asyncio: bool) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Run both processes; yield the sockets of a device and of a subscriber."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "benchmarks.services.rivals.bare_sockets",
            *([ASYNCIO] if with_asyncio else []),
        ],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        ports = process.stdout.readline().split()
        if len(ports) != 2:
            raise PeerError("cannot start the bare sockets")
        with _connect(int(ports[0])) as device, _connect(int(ports[1])) as subscriber:
            yield device, subscriber
    finally:
        process.kill()  # its handler ends with it: the socket between them closes
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), ANSWER_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _fail() -> int:
    raise PeerError("cannot measure: the bare sockets hung up")


def _pass_on(ways: Mapping[socket.socket, socket.socket]) -> None:
    """Write what comes from one socket to another, until one is closed."""
    selector = selectors.DefaultSelector()
    for source, target in ways.items():
        selector.register(source, selectors.EVENT_READ, target)
    while True:
        for key, _ in selector.select():
            assert isinstance(key.fileobj, socket.socket)
            data = key.fileobj.recv(READ_BYTES)
            if not data:
                return
            key.data.sendall(data)


class _Passing(asyncio.Protocol):
    """Writes what comes to another socket."""

    def __init__(self, ended: asyncio.Event) -> None:
        self._ended = ended
        self._source: asyncio.Transport | None = None
        self._target: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._source = cast("asyncio.Transport", transport)
        self._source.pause_reading()

    def lead_to(self, target: asyncio.Transport) -> None:
        assert self._source is not None
        self._target = target
        self._source.resume_reading()

    def data_received(self, data: bytes) -> None:
        assert self._target is not None
        self._target.write(data)

    def connection_lost(self, _: Exception | None) -> None:
        self._ended.set()


async def _pass_on_by_asyncio(ways: Mapping[socket.socket, socket.socket]) -> None:
    """Do what _pass_on() does."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    ends: dict[socket.socket, tuple[asyncio.Transport, _Passing]] = {}
    for sock in {*ways, *ways.values()}:
        sock.setblocking(False)
        ends[sock] = await loop.connect_accepted_socket(lambda: _Passing(ended), sock)
    for source, target in ways.items():
        ends[source][1].lead_to(ends[target][0])
    await ended.wait()


def _run(ways: Mapping[socket.socket, socket.socket]) -> None:
    with suppress(KeyboardInterrupt, OSError):
        if ASYNCIO in sys.argv:
            asyncio.run(_pass_on_by_asyncio(ways))
        else:
            _pass_on(ways)


def main() -> None:
    """Run until a client hangs up."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        for listener in listeners:
            listener.close()
        _run({theirs: theirs})
        os._exit(0)
    theirs.close()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    sys.stdout.write(" ".join(str(each.getsockname()[1]) for each in listeners) + "\n")
    sys.stdout.flush()
    device, subscriber = (listener.accept()[0] for listener in listeners)
    subscriber.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    _run({device: ours, ours: subscriber})


if __name__ == "__main__":
    main()
